//! `cvt` between all types, `cvt.pack`ed halves, moves, and the packing and unpacking of registers.

use num_bigint::BigUint;

use super::Check;
use super::exact::{F32, F64, Format, Number, Rounding};
use super::floats::result;
use super::integers::value;
use super::lanewise::{Expected, lanewise, surrounded};

const INTEGERS: [&str; 8] = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"];
const FLOATS: [&str; 4] = ["f16", "bf16", "f32", "f64"];
const TO_WHOLE: [(&str, Rounding); 4] =
    [("rni", Rounding::Nearest), ("rzi", Rounding::Zero), ("rmi", Rounding::Down), ("rpi", Rounding::Up)];

fn width(ty: &str) -> u32 {
    ty[1..].parse().unwrap()
}

/// The least and the largest integer of a type.
fn limits(ty: &str) -> (i128, i128) {
    let values = 1i128 << width(ty);
    if ty.starts_with('s') { (-values / 2, values / 2 - 1) } else { (0, values - 1) }
}

/// The integer nearest to a number by a rounding, clamped to the type. What NaN becomes depends on the types.
fn to_integer(from: &str, to: &str, bits: u64, rounding: Rounding) -> u64 {
    let (least, largest) = limits(to);
    let whole = match Format::of(from).decode(bits) {
        Number::Nan if from == "f64" || width(to) == 64 => return value(to, 1 << (width(to) - 1)) as u64,
        Number::Nan => 0,
        Number::Infinite(negative) => {
            if negative {
                least
            } else {
                largest
            }
        }
        Number::Finite(negative, magnitude, exponent) => {
            // nothing that large fits in any type
            let whole = Format::whole(negative, &magnitude, exponent, rounding);
            let whole = i128::try_from(whole).unwrap_or(i128::MAX);
            if negative { -whole } else { whole }
        }
    };
    whole.clamp(least, largest) as u64
}

fn from_integer(to: &str, exact: i128, rounding: Rounding) -> u64 {
    Format::of(to).encode(&Number::Finite(exact < 0, BigUint::from(exact.unsigned_abs()), 0), rounding)
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for from in INTEGERS {
        for to in INTEGERS {
            // cut off, or extended by the sign of the source; a register wider than the type by that of the result
            checks.push(lanewise(format!("cvt.{to}.{from}"), &format!("{to} {from}"), move |s| {
                value(to, value(from, s[0]) as u64) as u64
            }));
            checks.push(lanewise(format!("cvt.sat.{to}.{from}"), &format!("{to} {from}"), move |s| {
                let (least, largest) = limits(to);
                value(from, s[0]).clamp(least, largest) as u64
            }));
        }
        for to in FLOATS {
            for (name, rounding) in Rounding::all() {
                // what is exact has no rounding but the nearest
                let exact = match to {
                    "f32" => width(from) < 32,
                    "f64" => width(from) < 64,
                    _ => false,
                };
                if name == "rn" || !exact {
                    checks.push(lanewise(format!("cvt.{name}.{to}.{from}"), &format!("{to} {from}"), move |s| {
                        from_integer(to, value(from, s[0]), rounding)
                    }));
                }
            }
        }
    }
    for from in FLOATS {
        for to in INTEGERS {
            // no target converts bf16 to narrow integers
            if from == "bf16" && width(to) < 32 {
                continue;
            }
            for (name, rounding) in TO_WHOLE {
                checks.push(lanewise(format!("cvt.{name}.{to}.{from}"), &format!("{to} {from}"), move |s| {
                    to_integer(from, to, s[0], rounding)
                }));
                // what saturates anyway
                if from != "bf16" {
                    checks.push(lanewise(format!("cvt.{name}.sat.{to}.{from}"), &format!("{to} {from}"), move |s| {
                        to_integer(from, to, s[0], rounding)
                    }));
                }
                if from == "f32" {
                    checks.push(lanewise(format!("cvt.{name}.ftz.sat.{to}.f32"), &format!("{to} f32"), move |s| {
                        to_integer("f32", to, F32.flush(s[0]), rounding)
                    }));
                    checks.push(lanewise(format!("cvt.{name}.ftz.{to}.f32"), &format!("{to} f32"), move |s| {
                        to_integer("f32", to, F32.flush(s[0]), rounding)
                    }));
                }
            }
        }
    }
    checks.extend(between_floats());
    checks.extend(super::narrow_floats::checks());
    checks.extend(whole_numbers());
    checks.extend(moves());
    checks
}

/// A number of one format in another.
pub fn converted(from: &str, to: &str, bits: u64, rounding: Rounding) -> u64 {
    Format::of(to).encode(&Format::of(from).decode(bits), rounding)
}

fn between_floats() -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |opcode: String, to: &str, from: &str, definition: Box<dyn Fn(u64) -> Expected>| {
        checks.push(lanewise(opcode, &format!("{to} {from}"), move |s| definition(s[0])));
    };
    // to wider formats
    for from in ["f16", "bf16"] {
        for to in ["f32", "f64"] {
            add(
                format!("cvt.{to}.{from}"),
                to,
                from,
                Box::new(move |a| match Format::of(from).is_nan(a) {
                    true => Expected::Nan,
                    false => Expected::Bits(converted(from, to, a, Rounding::Nearest)),
                }),
            );
        }
    }
    add("cvt.f64.f32".into(), "f64", "f32", Box::new(|a| result(F64, converted("f32", "f64", a, Rounding::Nearest))));
    add(
        "cvt.ftz.f64.f32".into(),
        "f64",
        "f32",
        Box::new(|a| result(F64, converted("f32", "f64", F32.flush(a), Rounding::Nearest))),
    );
    // to narrower ones
    for (name, rounding) in Rounding::all() {
        for to in ["f16", "bf16"] {
            add(
                format!("cvt.{name}.{to}.f32"),
                to,
                "f32",
                Box::new(move |a| Expected::Bits(converted("f32", to, a, rounding))),
            );
        }
        add(
            format!("cvt.{name}.f32.f64"),
            "f32",
            "f64",
            Box::new(move |a| Expected::Bits(converted("f64", "f32", a, rounding))),
        );
        add(
            format!("cvt.{name}.ftz.f32.f64"),
            "f32",
            "f64",
            Box::new(move |a| Expected::Bits(F32.flush(converted("f64", "f32", a, rounding)))),
        );
    }
    for (from, to) in [("f64", "f16"), ("f64", "bf16"), ("f16", "bf16"), ("bf16", "f16")] {
        add(
            format!("cvt.rn.{to}.{from}"),
            to,
            from,
            Box::new(move |a| Expected::Bits(converted(from, to, a, Rounding::Nearest))),
        );
    }
    for to in ["f16", "bf16"] {
        add(
            format!("cvt.rn.relu.{to}.f32"),
            to,
            "f32",
            Box::new(move |a| Expected::Bits(Format::of(to).relu(converted("f32", to, a, Rounding::Nearest)))),
        );
    }
    for to in ["f16", "bf16"] {
        // the first source is the upper half
        let nearest = move |a: u64| converted("f32", to, a, Rounding::Nearest);
        checks.push(lanewise(format!("cvt.rn.{to}x2.f32"), &format!("{to}x2 f32 f32"), move |s| {
            nearest(s[0]) << 16 | nearest(s[1])
        }));
    }
    checks
}

/// Whole numbers, and numbers saturated, of the same type.
fn whole_numbers() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in FLOATS {
        let format = Format::of(ty);
        for (name, rounding) in TO_WHOLE {
            let whole = move |a: u64| match format.decode(a) {
                Number::Finite(negative, magnitude, exponent) => {
                    let whole = Format::whole(negative, &magnitude, exponent, rounding);
                    format.encode(&Number::Finite(negative, whole, 0), Rounding::Nearest)
                }
                other => format.encode(&other, Rounding::Nearest),
            };
            checks.push(lanewise(format!("cvt.{name}.{ty}.{ty}"), &format!("{ty} {ty}"), move |s| {
                result(format, whole(s[0]))
            }));
            if ty == "f32" {
                checks.push(lanewise(format!("cvt.{name}.ftz.f32.f32"), "f32 f32", move |s| whole(F32.flush(s[0]))));
            }
        }
    }
    checks.push(lanewise("cvt.sat.f32.f32", "f32 f32", |s| F32.saturate(s[0])));
    checks.push(lanewise("cvt.ftz.sat.f32.f32", "f32 f32", |s| F32.saturate(F32.flush(s[0]))));
    checks.push(lanewise("cvt.ftz.f32.f32", "f32 f32", |s| match F32.is_nan(s[0]) {
        true => Expected::Nan,
        false => Expected::Bits(F32.flush(s[0])),
    }));
    checks
}

fn moves() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in ["b16", "u16", "s16", "f16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"] {
        checks.push(lanewise(format!("mov.{ty}"), &format!("{ty} {ty}"), |s| s[0]));
    }
    // global and constant addresses are their own generic ones
    for space in ["global", "const"] {
        checks.push(lanewise(format!("cvta.{space}.u64"), "u64 u64", |s| s[0]));
        checks.push(lanewise(format!("cvta.to.{space}.u64"), "u64 u64", |s| s[0]));
    }
    for (width, part, letters) in [(32, "b16", "hr"), (64, "b32", "rd")] {
        let (narrow, wide) = (&letters[..1], &letters[1..]);
        let half = width / 2;
        let types = format!("b{width} {part} {part}");
        let form = |parts: &str| format!("mov.b{width} {wide}, {{{parts}}}");
        let pack = |low: &str, high: &str| format!("{{g}}mov.b{width} {{d}}, {{{low}, {high}}};");
        let both = form(&format!("{narrow}{narrow}"));
        checks.push(surrounded(&both, &types, &pack("{a}", "{b}"), false, move |s| s[0] | s[1] << half));
        let low_immediate = form(&format!("i{narrow}"));
        checks.push(surrounded(&low_immediate, &types, &pack("-2", "{b}"), false, move |s| {
            ((1 << half) - 2) | s[1] << half
        }));
        let high_immediate = form(&format!("{narrow}i"));
        checks.push(surrounded(&high_immediate, &types, &pack("{a}", "5"), false, move |s| s[0] | 5 << half));
        let form = |parts: &str| format!("mov.b{width} {{{parts}}}, {wide}");
        let unused = if part == "b16" { "%h8" } else { "%r30" };
        for (shape, low, high) in [
            (format!("{narrow}{narrow}"), "{d}", unused),
            (format!("{narrow}{narrow}"), unused, "{d}"),
            (format!("_{narrow}"), "_", "{d}"),
            (format!("{narrow}_"), "{d}", "_"),
        ] {
            let template = format!("{{g}}mov.b{width} {{{low}, {high}}}, {{a}};");
            let upper = high == "{d}";
            checks.push(surrounded(&form(&shape), &format!("{part} b{width}"), &template, false, move |s| {
                if upper { s[0] >> half } else { s[0] & (u64::MAX >> (64 - half)) }
            }));
        }
    }
    checks
}
