//! Instruction forms against definitions of their own, over edge values and random ones, on every kind of processor.

mod common;

use std::cmp::Ordering;

use common::forms::{again_without_vector_extensions, check_32, check_64, check_f32};

fn all_forms() {
    // integers
    check_32("add.s32", 2, 0, |a, b, _| a.wrapping_add(b));
    check_32("sub.s32", 2, 0, |a, b, _| a.wrapping_sub(b));
    check_32("mul.lo.s32", 2, 0, |a, b, _| a.wrapping_mul(b));
    check_32("mul.hi.u32", 2, 0, |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check_32("mul.hi.s32", 2, 0, |a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
    check_32("mad.lo.s32", 3, 0, |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check_32("div.u32", 2, 0, |a, b, _| a.checked_div(b).unwrap_or(u32::MAX));
    check_32("rem.u32", 2, 0, |a, b, _| a.checked_rem(b).unwrap_or(a));
    check_32("div.s32", 2, 0, |a, b, _| match (a as i32, b as i32) {
        (_, 0) => u32::MAX,
        (i32::MIN, -1) => a,
        (a, b) => (a / b) as u32,
    });
    check_32("min.s32", 2, 0, |a, b, _| if (a as i32) < (b as i32) { a } else { b });
    check_32("max.u32", 2, 0, |a, b, _| if a > b { a } else { b });
    check_32("neg.s32", 1, 0, |a, _, _| (!a).wrapping_add(1));
    check_32("abs.s32", 1, 0, |a, _, _| if a >> 31 == 1 { (!a).wrapping_add(1) } else { a });
    check_32("and.b32", 2, 0, |a, b, _| a & b);
    check_32("or.b32", 2, 0, |a, b, _| a | b);
    check_32("xor.b32", 2, 0, |a, b, _| a ^ b);
    check_32("not.b32", 1, 0, |a, _, _| u32::MAX - a);
    check_32("shl.b32", 2, 0, |a, b, _| if b > 31 { 0 } else { (u64::from(a) << b) as u32 });
    check_32("shr.u32", 2, 0, |a, b, _| if b > 31 { 0 } else { a >> b });
    check_32("shr.s32", 2, 0, |a, b, _| (i64::from(a as i32) >> b.min(40)) as u32);
    check_32("popc.b32", 1, 0, |a, _, _| (0..32).map(|n| a >> n & 1).sum());
    check_32("clz.b32", 1, 0, |a, _, _| (0..32).take_while(|n| a << n >> 31 == 0).count() as u32);
    check_32("brev.b32", 1, 0, |a, _, _| (0..32).fold(0, |all, n| all << 1 | a >> n & 1));
    // bit by bit, as the ISA defines it
    let bfe = |a: u32, b: u32, c: u32, signed: bool| {
        let (pos, len) = (b & 0xff, c & 0xff);
        let sign = if !signed || len == 0 { 0 } else { a >> (pos + len - 1).min(31) & 1 };
        (0..32).fold(0, |d, i| d | if i < len && pos + i <= 31 { a >> (pos + i) & 1 } else { sign } << i)
    };
    check_32("bfe.u32", 3, 0, |a, b, c| bfe(a, b, c, false));
    check_32("bfe.s32", 3, 0, |a, b, c| bfe(a, b, c, true));
    check_32("prmt.b32", 3, 0, |a, b, c| {
        let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
        u32::from_le_bytes([0, 4, 8, 12].map(|shift| {
            let selector = c >> shift & 15;
            let byte = bytes[selector as usize & 7];
            if selector & 8 == 0 {
                byte
            } else if byte & 0x80 == 0 {
                0
            } else {
                0xff
            }
        }))
    });
    check_32("dp4a.s32.s32", 3, 0, |a, b, c| {
        let bytes = |x: u32| x.to_le_bytes().map(|byte| i64::from(byte as i8));
        (i64::from(c as i32) + bytes(a).iter().zip(bytes(b)).map(|(a, b)| a * b).sum::<i64>()) as u32
    });
    check_32("dp4a.u32.s32", 3, 0, |a, b, c| {
        let b = b.to_le_bytes().map(|byte| i64::from(byte as i8));
        (i64::from(c) + a.to_le_bytes().iter().zip(b).map(|(a, b)| i64::from(*a) * b).sum::<i64>()) as u32
    });
    check_32("shf.l.wrap.b32", 3, 0, |a, b, c| {
        let n = c % 32;
        if n == 0 { b } else { b << n | a >> (32 - n) }
    });
    check_32("cvt.s32.s8", 1, 0, |a, _, _| i32::from(a as i8) as u32);
    check_32("cvt.u32.u16", 1, 0, |a, _, _| a & 0xffff);

    // floating point
    check_f32("add.f32", 2, 0, |a, b, _| a + b);
    check_f32("sub.f32", 2, 0, |a, b, _| a - b);
    check_f32("mul.rn.f32", 2, 0, |a, b, _| a * b);
    check_f32("fma.rn.f32", 3, 0, |a, b, c| a.mul_add(b, c));
    check_f32("div.rn.f32", 2, 0, |a, b, _| a / b);
    check_f32("sqrt.rn.f32", 1, 0, |a, _, _| a.sqrt());
    check_f32("rcp.rn.f32", 1, 0, |a, _, _| a.recip());
    let flushed = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    check_f32("mul.ftz.f32", 2, 0, |a, b, _| flushed(flushed(a) * flushed(b)));
    check_32("neg.f32", 1, 0, |a, _, _| a ^ 0x8000_0000);
    check_32("abs.f32", 1, 0, |a, _, _| a & 0x7fff_ffff);
    check_f32("max.f32", 2, 0, |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == 0.0 && b == 0.0 => {
            if a.is_sign_positive() {
                a
            } else {
                b
            }
        }
        _ => {
            if a > b {
                a
            } else {
                b
            }
        }
    });
    check_f32("ex2.approx.ftz.f32", 1, 2, |a, _, _| flushed(f64::from(flushed(a)).exp2() as f32));
    check_f32("rsqrt.approx.f32", 1, 2, |a, _, _| (1.0 / f64::from(a).sqrt()) as f32);
    check_f32("cvt.sat.f32.f32", 1, 0, |a, _, _| if a.is_nan() { 0.0 } else { a.clamp(0.0, 1.0) + 0.0 });
    check_f32("cvt.rni.f32.f32", 1, 0, |a, _, _| a.round_ties_even());
    check_f32("cvt.rzi.f32.f32", 1, 0, |a, _, _| a.trunc());
    check_32("cvt.rn.f32.u32", 1, 0, |a, _, _| (f64::from(a) as f32).to_bits());
    check_32("cvt.rn.f32.s32", 1, 0, |a, _, _| (f64::from(a as i32) as f32).to_bits());
    check_32("cvt.rzi.s32.f32", 1, 0, |a, _, _| {
        let a = f32::from_bits(a);
        let whole = f64::from(a).trunc();
        if a.is_nan() { 0 } else { whole.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i64 as u32 }
    });
    check_32("mov.b32", 1, 0, |a, _, _| a);

    comparisons();
    fields_and_products();
    carries();
    directed_rounding();
    wide();
}

/// What is left of the integers: 24-bit products, dot products of halves, highest bits, logic by table, pairs.
fn fields_and_products() {
    let low_24 = |x: u32| i64::from(x & 0xff_ffff);
    let low_24_signed = |x: u32| if x & 0x80_0000 == 0 { low_24(x) } else { low_24(x) - (1 << 24) };
    check_32("mul24.lo.u32", 2, 0, |a, b, _| (low_24(a) * low_24(b)) as u32);
    check_32("mul24.hi.u32", 2, 0, |a, b, _| ((low_24(a) * low_24(b)) >> 16) as u32);
    check_32("mul24.lo.s32", 2, 0, |a, b, _| (low_24_signed(a) * low_24_signed(b)) as u32);
    check_32("mad24.hi.s32", 3, 0, |a, b, c| {
        (((low_24_signed(a) * low_24_signed(b)) >> 16) + i64::from(c as i32)) as u32
    });
    check_32("sad.u32", 3, 0, |a, b, c| c.wrapping_add(a.abs_diff(b)));
    check_32("sad.s32", 3, 0, |a, b, c| c.wrapping_add((a as i32).abs_diff(b as i32)));
    let halves = |x: u32| [(x & 0xffff) as u16, (x >> 16) as u16];
    check_32("dp2a.lo.s32.s32", 3, 0, |a, b, c| {
        let a = halves(a).map(|half| i64::from(half as i16));
        let b = b.to_le_bytes().map(|byte| i64::from(byte as i8));
        (i64::from(c as i32) + a[0] * b[0] + a[1] * b[1]) as u32
    });
    check_32("dp2a.hi.u32.u32", 3, 0, |a, b, c| {
        let (a, b) = (halves(a).map(u64::from), b.to_le_bytes().map(u64::from));
        (u64::from(c) + a[0] * b[2] + a[1] * b[3]) as u32
    });
    let highest = |x: u32| (0..32).rev().find(|n| x >> n & 1 == 1);
    check_32("bfind.u32", 1, 0, |a, _, _| highest(a).unwrap_or(u32::MAX));
    check_32("bfind.shiftamt.u32", 1, 0, |a, _, _| highest(a).map_or(u32::MAX, |n| 31 - n));
    check_32("bfind.s32", 1, 0, |a, _, _| highest(if a >> 31 == 1 { !a } else { a }).unwrap_or(u32::MAX));
    check_32("lop3.b32 %r1, %r1, %r2, %r3, 0x96; mov.b32", 1, 0, |a, b, c| a ^ b ^ c);
    check_32("lop3.b32 %r1, %r1, %r2, %r3, 0xb8; mov.b32", 1, 0, |a, b, c| {
        (0..32).fold(0, |d, n| {
            let index = (a >> n & 1) << 2 | (b >> n & 1) << 1 | c >> n & 1;
            d | (0xb8u32 >> index & 1) << n
        })
    });
    check_32("shf.r.wrap.b32", 3, 0, |a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> (c % 32)) as u32);
    check_32("shf.l.clamp.b32", 3, 0, |a, b, c| match c {
        0 => b,
        1..32 => b << c | a >> (32 - c),
        _ => a,
    });
    check_32("shf.r.clamp.b32", 3, 0, |a, b, c| match c {
        0 => a,
        1..32 => a >> c | b << (32 - c),
        _ => b,
    });
    check_32("add.sat.s32", 2, 0, |a, b, _| {
        (i64::from(a as i32) + i64::from(b as i32)).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as u32
    });
    let join = |[low, high]: [u16; 2]| u32::from(low) | u32::from(high) << 16;
    let pairs = |a: u32, b: u32| [(halves(a)[0], halves(b)[0]), (halves(a)[1], halves(b)[1])];
    check_32("max.s16x2", 2, 0, |a, b, _| join(pairs(a, b).map(|(a, b)| if a as i16 > b as i16 { a } else { b })));
    check_32("min.u16x2", 2, 0, |a, b, _| join(pairs(a, b).map(|(a, b)| if a < b { a } else { b })));
    check_32("add.u16x2", 2, 0, |a, b, _| join(pairs(a, b).map(|(a, b)| (u32::from(a) + u32::from(b)) as u16)));
}

/// Sums, differences and products of 64 bits made of 32-bit halves, against those of 128 bits.
fn carries() {
    let split = "cvt.u32.u64 %r1, %rd4; shr.u64 %rd6, %rd4, 32; cvt.u32.u64 %r2, %rd6;
        cvt.u32.u64 %r3, %rd5; shr.u64 %rd6, %rd5, 32; cvt.u32.u64 %r4, %rd6;";
    let low = |x: u128| x as u64;
    let third = |x: u128| (x >> 32) as u64;
    check_64(
        &format!("{split} add.cc.u32 %r6, %r1, %r3; addc.u32 %r7, %r2, %r4; mov.b64 %rd9, {{%r6, %r7}};"),
        u64::wrapping_add,
    );
    check_64(
        &format!(
            "{split} add.cc.s32 %r6, %r1, %r3; addc.cc.u32 %r7, %r2, %r4; addc.u32 %r8, 0, 0;
             mov.b64 %rd9, {{%r7, %r8}};"
        ),
        |a, b| third(u128::from(a) + u128::from(b)),
    );
    check_64(
        &format!("{split} sub.cc.u32 %r6, %r1, %r3; subc.u32 %r7, %r2, %r4; mov.b64 %rd9, {{%r6, %r7}};"),
        u64::wrapping_sub,
    );
    check_64(
        &format!(
            "{split} sub.cc.u32 %r6, %r1, %r3; subc.cc.u32 %r7, %r2, %r4; subc.u32 %r8, 7, 0;
             mov.b64 %rd9, {{%r7, %r8}};"
        ),
        |a, b| (a.wrapping_sub(b) >> 32) | (if a < b { 6 } else { 7 }) << 32,
    );
    // the whole product, as the ISA's own example makes it
    let product = "mul.lo.u32 %r10, %r1, %r3; mul.hi.u32 %r11, %r1, %r3; mad.lo.cc.u32 %r11, %r2, %r3, %r11;
        madc.hi.u32 %r12, %r2, %r3, 0; mad.lo.cc.u32 %r11, %r1, %r4, %r11; madc.hi.cc.u32 %r12, %r1, %r4, %r12;
        addc.u32 %r13, 0, 0; mad.lo.cc.u32 %r12, %r2, %r4, %r12; madc.hi.u32 %r13, %r2, %r4, %r13;";
    let kept = "mov.u32 %r20, %r10; mov.u32 %r21, %r11;"; // the harness keeps its place in %r10
    let saved = "mov.u32 %r25, %r10;";
    let restored = "mov.u32 %r10, %r25;";
    check_64(&format!("{split} {saved} {product} {kept} {restored} mov.b64 %rd9, {{%r20, %r21}};"), |a, b| {
        low(u128::from(a) * u128::from(b))
    });
    check_64(&format!("{split} {saved} {product} {restored} mov.b64 %rd9, {{%r12, %r13}};"), |a, b| {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    });
    check_64("add.cc.u64 %rd6, %rd4, %rd5; addc.u64 %rd9, 0, 0;", |a, b| u64::from(a.checked_add(b).is_none()));
    check_64("sub.cc.u64 %rd6, %rd4, %rd5; subc.u64 %rd9, 1, 0;", |a, b| u64::from(a >= b));
    check_64("mad.hi.cc.s64 %rd6, %rd4, %rd5, %rd5; addc.u64 %rd9, %rd6, 0;", |a, b| {
        let high = ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64;
        let (sum, carry) = high.overflowing_add(b);
        sum.wrapping_add(u64::from(carry))
    });
}

/// The number with a rounding, given the nearest one and how that compares with the exact result.
fn directed(rounding: &str, nearest: f32, compared: Ordering) -> f32 {
    let wants_down = rounding == "rm" || rounding == "rz" && !nearest.is_sign_negative();
    match compared {
        Ordering::Greater if wants_down => nearest.next_down(),
        Ordering::Less if !wants_down => nearest.next_up(),
        _ => nearest,
    }
}

/// Quotients, roots and conversions with directed rounding.
fn directed_rounding() {
    for rounding in ["rz", "rm", "rp"] {
        check_f32(&format!("div.{rounding}.f32"), 2, 0, |a, b, _| {
            let nearest = a / b;
            if nearest.is_nan() || [a, b].iter().any(|x| *x == 0.0 || x.is_infinite()) {
                return nearest; // which is exact
            }
            // As its product with `b`, exact in double precision, compares with `a`; what overflows lies beyond.
            let compared = match (f64::from(nearest) * f64::from(b)).total_cmp(&f64::from(a)) {
                _ if nearest.is_infinite() => nearest.total_cmp(&0.0),
                compared if b < 0.0 => compared.reverse(),
                compared => compared,
            };
            directed(rounding, nearest, compared)
        });
        check_f32(&format!("sqrt.{rounding}.f32"), 1, 0, |a, _, _| {
            let nearest = a.sqrt();
            directed(rounding, nearest, (f64::from(nearest) * f64::from(nearest)).total_cmp(&f64::from(a.abs())))
        });
    }
    check_32("cvt.rz.f32.s32", 1, 0, |a, _, _| {
        let near = a as i32 as f32;
        let exact = f64::from(a as i32);
        (if f64::from(near).abs() > exact.abs() { f32::from_bits(near.to_bits() - 1) } else { near }).to_bits()
    });
    check_32("cvt.rp.f32.u32", 1, 0, |a, _, _| {
        let near = a as f32;
        (if f64::from(near) < f64::from(a) { near.next_up() } else { near }).to_bits()
    });
}

/// `setp` and `selp` together: `a` where the comparison holds, `c` elsewhere.
fn comparisons() {
    type Holds = fn(u32, u32) -> bool;
    let cases: [(&str, Holds); 14] = [
        ("eq.s32", |a, b| a == b),
        ("ne.b32", |a, b| a != b),
        ("lt.u32", |a, b| a < b),
        ("lt.s32", |a, b| (a as i32) < b as i32),
        ("ge.u32", |a, b| a >= b),
        ("le.u32", |a, b| a <= b),
        ("gt.s32", |a, b| a as i32 > b as i32),
        ("lt.f32", |a, b| f32::from_bits(a) < f32::from_bits(b)),
        ("eq.f32", |a, b| f32::from_bits(a) == f32::from_bits(b)),
        // unordered: true with NaN
        ("neu.f32", |a, b| f32::from_bits(a) != f32::from_bits(b)),
        ("leu.f32", |a, b| {
            matches!(f32::from_bits(a).partial_cmp(&f32::from_bits(b)), None | Some(Ordering::Less | Ordering::Equal))
        }),
        // ordered: false with NaN
        ("ne.f32", |a, b| {
            matches!(f32::from_bits(a).partial_cmp(&f32::from_bits(b)), Some(Ordering::Less | Ordering::Greater))
        }),
        ("num.f32", |a, b| !f32::from_bits(a).is_nan() && !f32::from_bits(b).is_nan()),
        ("nan.f32", |a, b| f32::from_bits(a).is_nan() || f32::from_bits(b).is_nan()),
    ];
    for (compare, holds) in cases {
        let form = format!("setp.{compare} %p1, %r1, %r2; not.pred %p2, %p1; @%p2 mov.u32 %r1, %r3; and.b32");
        // the result: what `%r1` is now, and'ed with all ones in `%r2`
        check_32(&form.replace("and.b32", "mov.u32 %r2, -1; and.b32"), 2, 0, |a, b, c| if holds(a, b) { a } else { c });
        let form = format!("setp.{compare} %p1, %r1, %r2; selp.b32 %r1, %r1, %r3, %p1; mov.b32");
        check_32(&form, 1, 0, |a, b, c| if holds(a, b) { a } else { c });
    }
}

/// 64-bit integers, double precision and conversions between widths.
fn wide() {
    check_64("add.s64 %rd9, %rd4, %rd5;", u64::wrapping_add);
    check_64("sub.s64 %rd9, %rd4, %rd5;", u64::wrapping_sub);
    check_64("mul.lo.s64 %rd9, %rd4, %rd5;", u64::wrapping_mul);
    check_64("mul.wide.u32 %rd9, %r5, %r5;", |_, b| (b & 0xffff_ffff).wrapping_mul(b & 0xffff_ffff));
    check_64("mul.wide.s32 %rd9, %r5, %r5;", |_, b| (i64::from(b as i32) * i64::from(b as i32)) as u64);
    check_64("and.b64 %rd9, %rd4, %rd5;", |a, b| a & b);
    check_64("not.b64 %rd9, %rd4;", |a, _| u64::MAX - a);
    check_64("neg.s64 %rd9, %rd4;", |a, _| 0u64.wrapping_sub(a));
    check_64("min.u64 %rd9, %rd4, %rd5;", |a, b| if a < b { a } else { b });
    check_64("max.s64 %rd9, %rd4, %rd5;", |a, b| if a as i64 > b as i64 { a } else { b });
    check_64("shl.b64 %rd9, %rd4, %r5;", |a, b| if b & 0xffff_ffff > 63 { 0 } else { a << (b & 63) });
    check_64("shr.u64 %rd9, %rd4, %r5;", |a, b| if b & 0xffff_ffff > 63 { 0 } else { a >> (b & 63) });
    check_64("div.u64 %rd9, %rd4, %rd5;", |a, b| a.checked_div(b).unwrap_or(u64::MAX));
    check_64("setp.lt.u64 %p1, %rd4, %rd5; selp.b64 %rd9, %rd4, %rd5, %p1;", |a, b| if a < b { a } else { b });
    check_64("setp.ge.s64 %p1, %rd4, %rd5; selp.u64 %rd9, 1, 0, %p1;", |a, b| u64::from(a as i64 >= b as i64));
    check_64("cvt.u64.u32 %rd9, %r5;", |_, b| b & 0xffff_ffff);
    check_64("cvt.s64.s32 %rd9, %r5;", |_, b| i64::from(b as i32) as u64);
    check_64("cvt.u32.u64 %r6, %rd4; mov.b64 %rd9, {%r6, %r5};", |a, b| a & 0xffff_ffff | b << 32);
    let f = |bits: u64| f64::from_bits(bits);
    // NaN is not compared in its bits: the ISA leaves those of double precision open
    let quiet = |x: f64| if x.is_nan() { 0 } else { x.to_bits() };
    let unless_nan =
        "abs.f64 %fd4, %fd3; setp.nan.f64 %p1, %fd4, %fd4; mov.b64 %rd9, %fd3; selp.b64 %rd9, 0, %rd9, %p1;";
    let double = |operation: &str| format!("mov.b64 %fd1, %rd4; mov.b64 %fd2, %rd5; {operation} {unless_nan}");
    check_64(&double("add.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) + f(b)));
    check_64(&double("mul.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) * f(b)));
    check_64(&double("div.rn.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) / f(b)));
    check_64(&double("fma.rn.f64 %fd3, %fd1, %fd2, %fd1;"), |a, b| quiet(f(a).mul_add(f(b), f(a))));
    check_64(&double("cvt.rmi.f64.f64 %fd3, %fd1;"), |a, _| quiet(f(a).floor()));
    check_64(&double("cvt.rn.f64.u32 %fd3, %r5;"), |_, b| f64::from(b as u32).to_bits());
    check_64(&double("cvt.rn.f32.f64 %f1, %fd1; cvt.f64.f32 %fd3, %f1;"), |a, _| quiet(f64::from(f(a) as f32)));
    check_64(&double("sub.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) - f(b)));
    check_64(&double("sqrt.rn.f64 %fd3, %fd1;"), |a, _| quiet(f(a).sqrt()));
    check_64(&double("rcp.rn.f64 %fd3, %fd1;"), |a, _| quiet(1.0 / f(a)));
    check_64(&double("neg.f64 %fd3, %fd1;"), |a, _| quiet(-f(a)));
    check_64(&double("abs.f64 %fd3, %fd1;"), |a, _| quiet(f(a).abs()));
    check_64(&double("cvt.rn.f64.s64 %fd3, %rd4;"), |a, _| quiet(a as i64 as f64));
    check_64("mov.b64 %fd1, %rd4; cvt.rzi.s64.f64 %rd9, %fd1;", |a, _| f(a) as i64 as u64);
    check_64(
        "mov.b64 %fd1, %rd4; mov.b64 %fd2, %rd5; setp.lt.f64 %p1, %fd1, %fd2; selp.u64 %rd9, 1, 0, %p1;",
        |a, b| u64::from(matches!(f(a).partial_cmp(&f(b)), Some(Ordering::Less))),
    );
    check_64(&double("max.f64 %fd3, %fd1, %fd2;"), |a, b| match (f(a).is_nan(), f(b).is_nan()) {
        (true, _) => quiet(f(b)),
        (_, true) => a,
        _ if f(a) == 0.0 && f(b) == 0.0 => a & b,
        _ => {
            if f(a) > f(b) {
                a
            } else {
                b
            }
        }
    });
    // half precision: to f16 and back, rounded to the nearest even
    check_64(
        "mov.b32 %f1, %r5; cvt.rn.f16.f32 %rs1, %f1; cvt.f32.f16 %f2, %rs1; mov.b32 %r6, %f2; cvt.u64.u32 %rd9, %r6;",
        |_, b| u64::from(through_f16(f32::from_bits(b as u32)).to_bits()),
    );
}

/// `x` rounded to half precision by comparing it with the numbers that half precision has.
fn through_f16(x: f32) -> f32 {
    if x.is_nan() {
        return f32::from_bits(0x7fff_ffff);
    }
    if x.is_infinite() {
        return x;
    }
    let magnitude = f64::from(x.abs());
    // The distance of the numbers around it: 2^(e - 10), at least 2^-24.
    let exponent = if magnitude == 0.0 { -14.0 } else { magnitude.log2().floor().max(-14.0) };
    let step = (exponent - 10.0).exp2();
    let rounded = (magnitude / step).round_ties_even() * step;
    let rounded = if rounded > 65504.0 { f32::INFINITY } else { rounded as f32 };
    rounded.copysign(x)
}

#[test]
fn forms_compute_what_they_should() {
    all_forms();
}

/// The same on the code that any processor runs.
#[test]
fn forms_compute_the_same_without_vector_extensions() {
    again_without_vector_extensions("forms_compute_what_they_should");
}
