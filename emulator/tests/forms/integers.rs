//! Integer arithmetic, logic, shifts, bit fields, dot products, carries: on integers that hold every result.

use super::Check;
use super::lanewise::{Expected, lanewise, surrounded};

/// The value of bits of a type (`s16`, `u64`, …).
pub fn value(ty: &str, bits: u64) -> i128 {
    let (signed, width) = (ty.starts_with('s'), ty[1..].parse::<u32>().unwrap());
    let bits = i128::from(bits) & ((1 << width) - 1);
    if signed && bits >> (width - 1) == 1 { bits - (1 << width) } else { bits }
}

/// The lowest bits of a result.
fn low(result: i128) -> Expected {
    Expected::Bits(result as u64)
}

const TYPES: [&str; 6] = ["u16", "s16", "u32", "s32", "u64", "s64"];

/// An instruction of up to three sources of one type.
fn of_type(root: &str, ty: &'static str, sources: usize, definition: fn(i128, i128, i128) -> i128) -> Check {
    lanewise(format!("{root}.{ty}"), &[ty; 4][..=sources].join(" "), move |s| {
        let source = |n: usize| s.get(n).map_or(0, |bits| value(ty, *bits));
        low(definition(source(0), source(1), source(2)))
    })
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in TYPES {
        let width: u32 = ty[1..].parse().unwrap();
        checks.extend([
            of_type("add", ty, 2, |a, b, _| a + b),
            of_type("sub", ty, 2, |a, b, _| a - b),
            of_type("mul.lo", ty, 2, i128_low_product),
            of_type("mad.lo", ty, 3, |a, b, c| i128_low_product(a, b, 0).wrapping_add(c)),
            of_type("min", ty, 2, |a, b, _| if a < b { a } else { b }),
            of_type("max", ty, 2, |a, b, _| if a < b { b } else { a }),
            of_type("sad", ty, 3, |a, b, c| c + if a < b { b - a } else { a - b }),
        ]);
        let high = move |s: &[u64]| high_half(ty, s[0], s[1], width);
        checks.push(lanewise(format!("mul.hi.{ty}"), &[ty; 3].join(" "), move |s| low(high(s))));
        checks.push(lanewise(format!("mad.hi.{ty}"), &[ty; 4].join(" "), move |s| low(high(s) + value(ty, s[2]))));
        // What division by zero gives is not said. The one overflow wraps as subtraction does.
        checks.push(lanewise(format!("div.{ty}"), &[ty; 3].join(" "), move |s| match value(ty, s[1]) {
            0 => Expected::Anything,
            b => low(value(ty, s[0]) / b),
        }));
        checks.push(lanewise(format!("rem.{ty}"), &[ty; 3].join(" "), move |s| match value(ty, s[1]) {
            0 => Expected::Anything,
            b => low(value(ty, s[0]) % b),
        }));
        if ty.starts_with('s') {
            checks.push(of_type("neg", ty, 1, |a, _, _| -a));
            checks.push(of_type("abs", ty, 1, |a, _, _| if a < 0 { -a } else { a }));
        }
        if width < 64 {
            let wide = format!("{}{}", &ty[..1], 2 * width);
            checks.push(lanewise(format!("mul.wide.{ty}"), &format!("{wide} {ty} {ty}"), move |s| {
                low(value(ty, s[0]) * value(ty, s[1]))
            }));
            checks.push(lanewise(format!("mad.wide.{ty}"), &format!("{wide} {ty} {ty} {wide}"), move |s| {
                low(value(ty, s[0]) * value(ty, s[1]) + i128::from(s[2]))
            }));
        }
    }
    checks.extend(logic());
    checks.extend(fields());
    checks.extend(products());
    checks.extend(pairs());
    checks.extend(carries());
    checks.extend(super::video::checks());
    checks
}

/// The lower half of a product of factors of up to 64 bits, which 127 bits may not hold.
fn i128_low_product(a: i128, b: i128, _: i128) -> i128 {
    a.wrapping_mul(b)
}

/// The upper half of a product. The product of two unsigned numbers of 64 bits needs all 128.
fn high_half(ty: &str, a: u64, b: u64, width: u32) -> i128 {
    match ty {
        "u64" => ((u128::from(a) * u128::from(b)) >> 64) as i128,
        _ => (value(ty, a) * value(ty, b)) >> width,
    }
}

/// A word made bit by bit.
fn each_bit(width: u32, bit: impl Fn(u32) -> u64) -> u64 {
    (0..width).fold(0, |all, n| all | (bit(n) & 1) << n)
}

fn logic() -> Vec<Check> {
    let mut checks = Vec::new();
    for width in [16, 32, 64u32] {
        let b = format!("b{width}");
        let two = format!("{b} {b} {b}");
        checks
            .push(lanewise(format!("and.{b}"), &two, move |s| each_bit(width, |n| (s[0] >> n & 1) * (s[1] >> n & 1))));
        checks.push(lanewise(format!("or.{b}"), &two, move |s| {
            each_bit(width, |n| u64::from((s[0] >> n & 1) + (s[1] >> n & 1) > 0))
        }));
        checks
            .push(lanewise(format!("xor.{b}"), &two, move |s| each_bit(width, |n| (s[0] >> n & 1) + (s[1] >> n & 1))));
        checks
            .push(lanewise(format!("not.{b}"), &format!("{b} {b}"), move |s| each_bit(width, |n| 1 - (s[0] >> n & 1))));
        checks.push(lanewise(format!("cnot.{b}"), &format!("{b} {b}"), |s| s[0] == 0));
        // Amounts are 32 bits without a sign; those over the width shift everything out.
        let amounts = |ty: &str| format!("{ty} {ty} amount");
        checks.push(lanewise(format!("shl.{b}"), &amounts(&b), move |s| {
            each_bit(width, |n| if u64::from(n) >= s[1] { s[0] >> (u64::from(n) - s[1]) } else { 0 })
        }));
        for ty in ["b", "u", "s"] {
            let ty = format!("{ty}{width}");
            let signed = ty.starts_with('s');
            checks.push(lanewise(format!("shr.{ty}"), &amounts(&ty), move |s| {
                let above = if signed { s[0] >> (width - 1) } else { 0 };
                each_bit(width, |n| match u64::from(n) + s[1] {
                    from if from < u64::from(width) => s[0] >> from,
                    _ => above,
                })
            }));
        }
    }
    checks.push(lanewise("lop3.b32", "b32 b32 b32 b32 table", |s| {
        each_bit(32, |n| s[3] >> ((s[0] >> n & 1) * 4 + (s[1] >> n & 1) * 2 + (s[2] >> n & 1)))
    }));
    for (direction, left) in [("l", true), ("r", false)] {
        for mode in ["wrap", "clamp"] {
            checks.push(lanewise(format!("shf.{direction}.{mode}.b32"), "b32 b32 b32 amount", move |s| {
                let n = if mode == "wrap" { s[2] % 32 } else { s[2].min(32) };
                let both = u128::from(s[1]) << 32 | u128::from(s[0]);
                (if left { both << n >> 32 } else { both >> n }) as u32
            }));
        }
    }
    checks
}

fn fields() -> Vec<Check> {
    let mut checks = Vec::new();
    for width in [32, 64u32] {
        let b = format!("b{width}");
        let at = move |a: u64, n: u32| if n < width { a >> n & 1 } else { 0 };
        checks.push(lanewise(format!("popc.{b}"), &format!("u32 {b}"), move |s| {
            (0..width).map(|n| at(s[0], n)).sum::<u64>()
        }));
        checks.push(lanewise(format!("clz.{b}"), &format!("u32 {b}"), move |s| {
            (0..width).rev().take_while(|n| at(s[0], *n) == 0).count() as u32
        }));
        checks.push(lanewise(format!("brev.{b}"), &format!("{b} {b}"), move |s| {
            each_bit(width, |n| at(s[0], width - 1 - n))
        }));
        for sign in ["u", "s"] {
            let ty = format!("{sign}{width}");
            // The field, above it its last bit if the type has a sign, else zeros.
            checks.push(lanewise(format!("bfe.{ty}"), &format!("{ty} {ty} amount amount"), move |s| {
                let (place, length) = ((s[1] & 0xff) as u32, (s[2] & 0xff) as u32);
                let last = (place + length).saturating_sub(1).min(width - 1);
                let above = if sign == "s" && length > 0 { at(s[0], last) } else { 0 };
                each_bit(width, |n| if n < length && place + n < width { at(s[0], place + n) } else { above })
            }));
            // The highest bit that is not a copy of the sign.
            let highest = move |a: u64| {
                let sign = if sign == "s" { at(a, width - 1) } else { 0 };
                (0..width).rev().find(|n| at(a, *n) != sign)
            };
            checks.push(lanewise(format!("bfind.{ty}"), &format!("u32 {ty}"), move |s| {
                highest(s[0]).unwrap_or(u32::MAX)
            }));
            checks.push(lanewise(format!("bfind.shiftamt.{ty}"), &format!("u32 {ty}"), move |s| {
                highest(s[0]).map_or(u32::MAX, |n| width - 1 - n)
            }));
        }
        checks.push(lanewise(format!("bfi.{b}"), &format!("{b} {b} {b} amount amount"), move |s| {
            let (place, length) = ((s[2] & 0xff) as u32, (s[3] & 0xff) as u32);
            each_bit(width, |n| if n >= place && n < place + length { at(s[0], n - place) } else { at(s[1], n) })
        }));
    }
    for (mode, limit) in [("clamp", false), ("wrap", true)] {
        let amount = move |n: u64| if limit { n % 32 } else { n.min(32) };
        // ones from a place on, so many
        checks.push(lanewise(format!("bmsk.{mode}.b32"), "b32 amount amount", move |s| {
            let (first, length) = (amount(s[0]), amount(s[1]));
            each_bit(32, |n| u64::from(u64::from(n) >= first && u64::from(n) < first + length))
        }));
        for ty in ["u32", "s32"] {
            checks.push(lanewise(format!("szext.{mode}.{ty}"), &format!("{ty} {ty} amount"), move |s| {
                let length = amount(s[1]);
                let above = if ty == "s32" && length > 0 { s[0] >> (length - 1) } else { 0 };
                each_bit(32, |n| if u64::from(n) < length { s[0] >> n } else { above })
            }));
        }
    }
    // the bit that is so many set ones from a place, forwards or backwards
    let body =
        "and.b32 %r30, {b}, 31; and.b32 %r31, {c}, 127; sub.s32 %r31, %r31, 64; {g}fns.b32 {d}, {a}, %r30, %r31;";
    checks.push(surrounded("fns.b32 r, r, r, r", "b32 b32 b32 b32", body, false, |s| {
        let (base, offset) = ((s[1] & 31) as i64, (s[2] & 127) as i64 - 64);
        let is_set = |at: &i64| s[0] >> at & 1 == 1;
        let found = match offset {
            0 => Some(base).filter(is_set),
            1.. => (base..32).filter(is_set).nth(offset as usize - 1),
            _ => (0..=base).rev().filter(is_set).nth(-offset as usize - 1),
        };
        found.map_or(u32::MAX, |at| at as u32)
    }));
    // a table of truth, and whether its result or a predicate, or both, are not zero
    for (join, negated) in [("and", ""), ("and", "!"), ("or", ""), ("or", "!")] {
        for shown in ["%r31", "%r32"] {
            let body = format!(
                "setp.lt.s32 %p8, {{a}}, 0; lop3.{join}.b32 %r31|%p9, {{a}}, {{b}}, {{c}}, 0xca, {negated}%p8;
                 selp.u32 %r32, 1, 0, %p9; {{g}}mov.b32 {{d}}, {shown};"
            );
            let form = format!("lop3.{join}.b32 r|p, r, r, r, i, {negated}p");
            checks.push(surrounded(&form, "b32 b32 b32 b32", &body, false, move |s| {
                let chosen = each_bit(32, |n| if s[0] >> n & 1 == 1 { s[1] >> n } else { s[2] >> n });
                let other = (s[0] >> 31 == 1) == negated.is_empty();
                match (shown, join) {
                    ("%r31", _) => chosen,
                    (_, "and") => u64::from(chosen != 0 && other),
                    _ => u64::from(chosen != 0 || other),
                }
            }));
        }
    }
    checks.push(lanewise("prmt.b32", "b32 b32 b32 b32", |s| {
        permuted(s, |n, selector| {
            let choice = (selector >> (4 * n)) & 15;
            (choice & 7, choice & 8 != 0)
        })
    }));
    // Each mode's choice of bytes for results 0 to 3, by the two lowest bits of the selector.
    type Choice = [[u64; 4]; 4];
    let modes: [(&str, Choice); 6] = [
        ("f4e", [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]),
        ("b4e", [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]]),
        ("rc8", [[0; 4], [1; 4], [2; 4], [3; 4]]),
        ("ecl", [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]]),
        ("ecr", [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]]),
        ("rc16", [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]]),
    ];
    for (mode, choice) in modes {
        checks.push(lanewise(format!("prmt.b32.{mode}"), "b32 b32 b32 b32", move |s| {
            permuted(s, |n, selector| (choice[selector as usize & 3][n as usize], false))
        }));
    }
    checks
}

/// Four bytes of `{b, a}`, each chosen, and its sign repeated or not, by its place and the selector.
fn permuted(s: &[u64], choice: impl Fn(u64, u64) -> (u64, bool)) -> u64 {
    let both = s[1] << 32 | s[0];
    (0..4).fold(0, |all, n| {
        let (byte, repeat_sign) = choice(n, s[2]);
        let byte = both >> (8 * byte) & 0xff;
        all | (if repeat_sign { byte / 128 * 255 } else { byte }) << (8 * n)
    })
}

fn products() -> Vec<Check> {
    let mut checks = Vec::new();
    // part `n` of a word of parts of a width
    let part =
        |ty: &'static str, width: u32, word: u64, n: u32| value(&format!("{}{width}", &ty[..1]), word >> (width * n));
    for a in ["u32", "s32"] {
        for b in ["u32", "s32"] {
            let sum = if a == "s32" || b == "s32" { "s32" } else { "u32" };
            let types = format!("{sum} {a} {b} {sum}");
            checks.push(lanewise(format!("dp4a.{a}.{b}"), &types, move |s| {
                low((0..4).map(|n| part(a, 8, s[0], n) * part(b, 8, s[1], n)).sum::<i128>() + value(sum, s[2]))
            }));
            for (half, first) in [("lo", 0), ("hi", 2)] {
                checks.push(lanewise(format!("dp2a.{half}.{a}.{b}"), &types, move |s| {
                    let products = (0..2).map(|n| part(a, 16, s[0], n) * part(b, 8, s[1], first + n));
                    low(products.sum::<i128>() + value(sum, s[2]))
                }));
            }
        }
    }
    for ty in ["u32", "s32"] {
        for (half, shift) in [("lo", 0), ("hi", 16)] {
            let product = move |s: &[u64]| (part(ty, 24, s[0], 0) * part(ty, 24, s[1], 0)) >> shift;
            checks.push(lanewise(format!("mul24.{half}.{ty}"), &[ty; 3].join(" "), move |s| low(product(s))));
            checks.push(lanewise(format!("mad24.{half}.{ty}"), &[ty; 4].join(" "), move |s| {
                low(product(s) + value(ty, s[2]))
            }));
        }
    }
    let highest = move |s: &[u64], bits: u32, shift: u32, ty: &str| {
        let sum = ((part("s32", bits, s[0], 0) * part("s32", bits, s[1], 0)) >> shift) + value(ty, s[2]);
        low(sum.clamp(i32::MIN.into(), i32::MAX.into()))
    };
    checks.push(lanewise("mad.hi.sat.s32", "s32 s32 s32 s32", move |s| highest(s, 32, 32, "s32")));
    checks.push(lanewise("mad24.hi.sat.s32", "s32 s32 s32 s32", move |s| highest(s, 24, 16, "s32")));
    for (root, sign) in [("add.sat", 1), ("sub.sat", -1)] {
        checks.push(lanewise(format!("{root}.s32"), "s32 s32 s32", move |s| {
            let exact = value("s32", s[0]) + sign * value("s32", s[1]);
            low(exact.clamp(i32::MIN.into(), i32::MAX.into()))
        }));
    }
    checks
}

fn pairs() -> Vec<Check> {
    let mut checks = Vec::new();
    type Definition = fn(i128, i128) -> i128;
    let operations: [(&str, Definition); 3] =
        [("min", |a, b| if a < b { a } else { b }), ("max", |a, b| if a < b { b } else { a }), ("add", |a, b| a + b)];
    // negative results become zero
    for (root, definition) in operations.into_iter().take(2) {
        checks.push(lanewise(format!("{root}.relu.s32"), "s32 s32 s32", move |s| {
            low(definition(value("s32", s[0]), value("s32", s[1])).max(0))
        }));
        checks.push(lanewise(format!("{root}.relu.s16x2"), "s16x2 s16x2 s16x2", move |s| {
            [0, 16].iter().fold(0, |all, shift| {
                let result = definition(value("s16", s[0] >> shift), value("s16", s[1] >> shift)).max(0);
                all | (result as u64 & 0xffff) << shift
            })
        }));
    }
    for half in ["u16", "s16"] {
        for (root, definition) in operations {
            checks.push(lanewise(format!("{root}.{half}x2"), &vec![format!("{half}x2"); 3].join(" "), move |s| {
                [0, 16].iter().fold(0, |all, shift| {
                    let result = definition(value(half, s[0] >> shift), value(half, s[1] >> shift));
                    all | (result as u64 & 0xffff) << shift
                })
            }));
        }
    }
    checks
}

/// Each instruction with a carry in from one before it, and its own carry out beside its result.
fn carries() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in ["u32", "s32", "u64", "s64"] {
        let width: u32 = ty[1..].parse().unwrap();
        let wide = width == 64;
        let unsigned = move |bits: u64| if wide { u128::from(bits) } else { u128::from(bits & 0xffff_ffff) };
        // Only its carry out is looked at of what is 64 bits wide, then only its result: a register holds no more.
        for (root, reads, writes, sources) in [
            ("add.cc", false, true, 2),
            ("addc", true, false, 2),
            ("addc.cc", true, true, 2),
            ("sub.cc", false, true, 2),
            ("subc", true, false, 2),
            ("subc.cc", true, true, 2),
            ("mad.lo.cc", false, true, 3),
            ("madc.lo", true, false, 3),
            ("madc.lo.cc", true, true, 3),
            ("mad.hi.cc", false, true, 3),
            ("madc.hi", true, false, 3),
            ("madc.hi.cc", true, true, 3),
        ] {
            let subtracts = root.starts_with("sub");
            let letter = if wide { "d" } else { "r" };
            let form = format!("{root}.{ty} {}", vec![letter; sources + 1].join(", "));
            // with a carry in, and without
            for carry_in in [0u128, 1] {
                for flag in [false, true] {
                    let (result, operands) =
                        (if wide { "%rd30" } else { "%r30" }, ["{a}", "{b}", "{c}"][..sources].join(", "));
                    let before = match (subtracts, carry_in) {
                        (false, 0) => "add.cc.u32 %r31, 0, 1;".to_owned(),
                        (false, _) => "add.cc.u32 %r31, -1, 1;".to_owned(),
                        (true, n) => format!("sub.cc.u32 %r31, 0, {n};"),
                    };
                    // what the flag is afterwards
                    let after =
                        if subtracts { "subc.u32 %r32, 1, 0; xor.b32 %r32, %r32, 1;" } else { "addc.u32 %r32, 0, 0;" };
                    let shown = match (flag, wide) {
                        (true, _) => "cvt.u64.u32 {d}, %r32;",
                        (false, true) => "mov.b64 {d}, %rd30;",
                        (false, false) => "cvt.u64.u32 {d}, %r30;",
                    };
                    // the guard is on what shows the result
                    let template = format!("{before} {root}.{ty} {result}, {operands}; {after} {{g}}{shown}");
                    let types = ["u64", ty, ty, ty][..=sources].join(" ");
                    checks.push(surrounded(&form, &types, &template, false, move |s| {
                        let (a, b) = (unsigned(s[0]), unsigned(s[1]));
                        let carry = if reads { carry_in } else { 0 };
                        let mask = u128::from(u64::MAX >> (64 - width));
                        let (result, carries) = if subtracts {
                            (a.wrapping_sub(b).wrapping_sub(carry), a < b + carry)
                        } else {
                            let sum = match root {
                                _ if root.contains("lo") => (a.wrapping_mul(b) & mask) + unsigned(s[2]) + carry,
                                _ if root.contains("hi") => {
                                    (high_half(ty, s[0], s[1], width) as u128 & mask) + unsigned(s[2]) + carry
                                }
                                _ => a + b + carry,
                            };
                            (sum, sum >> width != 0)
                        };
                        // who does not write the flag leaves it
                        let carries = if writes { carries } else { carry_in == 1 };
                        if flag { u64::from(carries) } else { (result & mask) as u64 }
                    }));
                }
            }
        }
    }
    checks
}
