//! `cvt` to and from formats narrower than single precision: saturated, limited to what is finite, without what is
//! negative; tf32, and the formats of 8 bits.

use super::Check;
use super::conversions::converted;
use super::exact::{BF16, F16, F32, Format, Number, Rounding, TF32};
use super::lanewise::{Expected, lanewise};

/// What is done beside the rounding.
#[derive(Clone, Copy)]
struct Finish {
    name: &'static str,
    relu: bool,
    finite: bool,
}

const PLAIN: Finish = Finish { name: "", relu: false, finite: false };
const RELU: Finish = Finish { name: ".relu", relu: true, finite: false };
const FINITE: Finish = Finish { name: ".satfinite", relu: false, finite: true };
const BOTH: Finish = Finish { name: ".relu.satfinite", relu: true, finite: true };

impl Finish {
    fn of(self, format: Format, bits: u64) -> u64 {
        let magnitude = bits & !format.sign();
        let bits = if self.finite && magnitude == format.infinity() { bits - 1 } else { bits };
        if self.relu { format.relu(bits) } else { bits }
    }
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, format) in [("f16", F16), ("bf16", BF16)] {
        for (rounding_name, rounding, finishes) in
            [("rn", Rounding::Nearest, [RELU, FINITE, BOTH]), ("rz", Rounding::Zero, [RELU, PLAIN, RELU])]
        {
            for finish in finishes {
                let one = move |a: u64| finish.of(format, converted("f32", name, a, rounding));
                let start = format!("cvt.{rounding_name}{}", finish.name);
                checks.push(lanewise(format!("{start}.{name}.f32"), &format!("{name} f32"), move |s| one(s[0])));
                // the first source is the upper half
                let types = format!("{name}x2 f32 f32");
                checks.push(lanewise(format!("{start}.{name}x2.f32"), &types, move |s| one(s[0]) << 16 | one(s[1])));
            }
        }
        let to_single = move |a: u64| F32.saturate(converted(name, "f32", a, Rounding::Nearest));
        checks.push(lanewise(format!("cvt.sat.f32.{name}"), &format!("f32 {name}"), move |s| to_single(s[0])));
    }
    for rounding in ["", ".rn"] {
        checks.push(lanewise(format!("cvt{rounding}.sat.f16.f32"), "f16 f32", |s| {
            F16.saturate(converted("f32", "f16", s[0], Rounding::Nearest))
        }));
    }
    checks.push(lanewise("cvt.rn.ftz.f16.f32", "f16 f32", |s| {
        converted("f32", "f16", F32.flush(s[0]), Rounding::Nearest)
    }));
    // no number of half precision is subnormal in single precision
    checks.push(lanewise("cvt.ftz.f32.f16", "f32 f16", |s| match F16.is_nan(s[0]) {
        true => Expected::Nan,
        false => Expected::Bits(converted("f16", "f32", s[0], Rounding::Nearest)),
    }));
    checks.extend(tf32());
    checks.extend(of_8_bits());
    checks
}

/// 19 bits of 32.
fn tf32() -> Vec<Check> {
    let mut checks = Vec::new();
    let limited = |name| Finish { name, ..FINITE };
    let both = Finish { name: ".satfinite.relu", ..BOTH };
    let all: [(&str, Option<Rounding>, &[Finish]); 3] = [
        ("rn", Some(Rounding::Nearest), &[PLAIN, RELU, FINITE, both]),
        ("rz", Some(Rounding::Zero), &[PLAIN, RELU]),
        ("rna", None, &[PLAIN, limited(".satfinite")]),
    ];
    for (name, rounding, finishes) in all {
        for &finish in finishes {
            checks.push(lanewise(format!("cvt.{name}{}.tf32.f32", finish.name), "b32 f32", move |s| {
                if F32.is_nan(s[0]) {
                    return 0x7fff_ffff;
                }
                let bits = match rounding {
                    Some(rounding) => TF32.encode(&F32.decode(s[0]), rounding),
                    // the nearest, and of two that are as near the one away from zero
                    None => {
                        let near = TF32.encode(&F32.decode(s[0]), Rounding::Zero);
                        near + (s[0] >> 12 & 1)
                    }
                };
                finish.of(TF32, bits) << 13
            }));
        }
    }
    checks
}

/// A format of 8 bits: the bits of its exponent, and the largest finite number. Of e4m3, and of no other, the largest
/// exponent is one of numbers, and there is no infinity.
fn value_of_8_bits(bits: u64, exponent_bits: u32) -> f64 {
    let fraction_bits = 7 - exponent_bits;
    let (exponent, fraction) = (bits >> fraction_bits & ((1 << exponent_bits) - 1), bits & ((1 << fraction_bits) - 1));
    let bias = (1 << (exponent_bits - 1)) - 1;
    let part = fraction as f64 / f64::from(1u32 << fraction_bits);
    let magnitude = match exponent {
        _ if bits & 0x7f == 0x7f || exponent_bits == 5 && bits & 0x7f > 0x7c => f64::NAN,
        _ if exponent_bits == 5 && bits & 0x7f == 0x7c => f64::INFINITY,
        0 => part * 2f64.powi(1 - bias),
        _ => (1.0 + part) * 2f64.powi(exponent as i32 - bias),
    };
    if bits & 0x80 != 0 { -magnitude } else { magnitude }
}

/// The nearest number, ties to the even one; what is beyond the largest is the largest.
fn to_8_bits(x: f64, exponent_bits: u32) -> u64 {
    if x.is_nan() {
        return 0x7f;
    }
    let largest = if exponent_bits == 4 { 0x7e } else { 0x7b };
    let of = |bits: u64| value_of_8_bits(bits, exponent_bits);
    let below = (0..=largest).rev().find(|&bits| of(bits) <= x.abs()).unwrap_or(0);
    let above = (below + 1).min(largest);
    let (down, up) = (x.abs() - of(below), of(above) - x.abs());
    let nearest = if below == largest || down < up || down == up && below % 2 == 0 { below } else { above };
    nearest | u64::from(x.is_sign_negative()) << 7
}

/// A number of double precision in half precision, which holds it.
fn to_half(x: f64) -> u64 {
    if x.is_nan() { F16.canonical_nan() } else { F16.encode(&Format::of("f64").decode(x.to_bits()), Rounding::Nearest) }
}

fn of_8_bits() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, exponent_bits) in [("e4m3x2", 4), ("e5m2x2", 5)] {
        for relu in [false, true] {
            let middle = if relu { ".relu" } else { "" };
            let one = move |format: Format, bits: u64| {
                let x = match format.decode(bits) {
                    Number::Infinite(negative) => f64::INFINITY * if negative { -1.0 } else { 1.0 },
                    _ if format.is_nan(bits) => f64::NAN,
                    _ => format.approximate(bits),
                };
                let negative = x.is_sign_negative() && !x.is_nan();
                if relu && negative { 0 } else { to_8_bits(x, exponent_bits) }
            };
            // the first source is the upper byte
            checks.push(lanewise(format!("cvt.rn.satfinite{middle}.{name}.f32"), "b16 f32 f32", move |s| {
                one(F32, s[0]) << 8 | one(F32, s[1])
            }));
            checks.push(lanewise(format!("cvt.rn.satfinite{middle}.{name}.f16x2"), "b16 f16x2", move |s| {
                one(F16, s[0] >> 16) << 8 | one(F16, s[0] & 0xffff)
            }));
            checks.push(lanewise(format!("cvt.rn{middle}.f16x2.{name}"), "f16x2 b16", move |s| {
                [0, 8].into_iter().fold(0, |all, shift| {
                    let half = to_half(value_of_8_bits(s[0] >> shift & 0xff, exponent_bits));
                    all | (if relu { F16.relu(half) } else { half }) << (2 * shift)
                })
            }));
        }
    }
    checks
}
