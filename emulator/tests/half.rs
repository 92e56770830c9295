//! Half precision against exact arithmetic on whole numbers, over edge values and random ones.

mod common;

use common::forms::{again_without_vector_extensions, check_32, check_64, check_known};

/// A format of 16 bits: the bits of its fraction, and the exponent of its least number.
#[derive(Clone, Copy)]
struct Format {
    fraction: u32,
    least: i32,
}

const F16: Format = Format { fraction: 10, least: -24 };
const BF16: Format = Format { fraction: 7, least: -133 };

/// A number taken apart.
#[derive(Clone, Copy, PartialEq)]
enum Number {
    Nan,
    /// Negative or not.
    Infinite(bool),
    /// Negative or not, and `magnitude * 2^exponent`.
    Finite(bool, u128, i32),
}

impl Format {
    fn parts(self, bits: u32) -> Number {
        let bits = bits & 0xffff;
        let (negative, exponent) = (bits >> 15 == 1, (bits & 0x7fff) >> self.fraction);
        let fraction = u128::from(bits & ((1 << self.fraction) - 1));
        match exponent {
            0 => Number::Finite(negative, fraction, self.least),
            _ if exponent == (1 << (15 - self.fraction)) - 1 => {
                if fraction == 0 {
                    Number::Infinite(negative)
                } else {
                    Number::Nan
                }
            }
            _ => Number::Finite(negative, fraction | 1 << self.fraction, self.least + exponent as i32 - 1),
        }
    }

    /// The nearest number to `magnitude * 2^exponent`, ties to even.
    fn rounded(self, negative: bool, mut magnitude: u128, mut exponent: i32) -> u32 {
        let sign = u32::from(negative) << 15;
        let mut rest = 0; // of the bits cut off: 0 none, 1 below half, 2 half, 3 above
        while magnitude >> (self.fraction + 1) != 0 || exponent < self.least {
            let bit = (magnitude & 1) as u32;
            rest = bit << 1 | u32::from(rest != 0);
            magnitude >>= 1;
            exponent += 1;
        }
        if rest == 3 || rest == 2 && magnitude & 1 == 1 {
            magnitude += 1;
        }
        while magnitude != 0 && magnitude >> self.fraction == 0 && exponent > self.least {
            magnitude <<= 1;
            exponent -= 1;
        }
        if magnitude >> (self.fraction + 1) != 0 {
            magnitude >>= 1;
            exponent += 1;
        }
        if magnitude == 0 {
            return sign;
        }
        // The implied bit of a normal number adds one to the exponent field.
        let field = (exponent - self.least) as u32;
        let infinity = ((1 << (15 - self.fraction)) - 1) << self.fraction;
        let bits = u64::from(field) * (1 << self.fraction) + magnitude as u64;
        sign | if bits > u64::from(infinity) { infinity } else { bits as u32 }
    }

    /// `a * b + c`, if whole numbers can hold it.
    fn fma(self, a: u32, b: u32, c: u32) -> Option<u32> {
        let infinity =
            |negative: bool| Some(u32::from(negative) << 15 | ((1 << (15 - self.fraction)) - 1) << self.fraction);
        let (a, b, c) = (self.parts(a), self.parts(b), self.parts(c));
        let product = match (a, b) {
            (Number::Nan, _) | (_, Number::Nan) => Number::Nan,
            (Number::Infinite(_), Number::Finite(_, 0, _)) | (Number::Finite(_, 0, _), Number::Infinite(_)) => {
                Number::Nan
            }
            (Number::Infinite(a), Number::Infinite(b) | Number::Finite(b, ..)) => Number::Infinite(a != b),
            (Number::Finite(a, ..), Number::Infinite(b)) => Number::Infinite(a != b),
            (Number::Finite(a, x, e), Number::Finite(b, y, f)) => Number::Finite(a != b, x * y, e + f),
        };
        match (product, c) {
            (Number::Nan, _) | (_, Number::Nan) => Some(0x7fff),
            (Number::Infinite(a), Number::Infinite(b)) if a != b => Some(0x7fff),
            (Number::Infinite(negative), _) | (_, Number::Infinite(negative)) => infinity(negative),
            (Number::Finite(a, 0, _), Number::Finite(b, 0, _)) => Some(u32::from(a && b) << 15),
            (Number::Finite(negative, x, e), Number::Finite(_, 0, _))
            | (Number::Finite(_, 0, _), Number::Finite(negative, x, e)) => Some(self.rounded(negative, x, e)),
            (Number::Finite(a, x, e), Number::Finite(b, y, f)) => {
                let least = e.min(f);
                let shifted = |x: u128, by: i32| (by <= 90).then(|| x << by);
                let (x, y) = (shifted(x, e - least)? as i128, shifted(y, f - least)? as i128);
                let sum = if a { -x } else { x } + if b { -y } else { y };
                Some(if sum == 0 { 0 } else { self.rounded(sum < 0, sum.unsigned_abs(), least) })
            }
        }
    }

    fn value(self, bits: u32) -> f64 {
        match self.parts(bits) {
            Number::Nan => f64::NAN,
            Number::Infinite(negative) => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Number::Finite(negative, magnitude, exponent) => {
                let value = magnitude as f64 * f64::from(exponent).exp2();
                if negative { -value } else { value }
            }
        }
    }
}

/// Checks a form of two or three halves, alone and in pairs; `expected` has nothing to say of what it cannot compute.
fn check(root: &str, ty: &str, sources: usize, expected: impl Fn(u32, u32, u32) -> Option<u32>) {
    let expected = |a: u32, b: u32, c: u32| expected(a & 0xffff, b & 0xffff, c & 0xffff);
    let halves = |a, b, c| [0, 16].map(|shift| expected(a >> shift, b >> shift, c >> shift));
    let operands = ["%r1", "%r2", "%r3"][..sources].join(", ");
    let form = format!("{root}.{ty}x2 %r1, {operands}; mov.b32");
    check_known(&form, |a, b, c| match halves(a, b, c) {
        [Some(low), Some(high)] => Some(low | high << 16),
        _ => None,
    });
    let operands = ["%rs1", "%rs2", "%rs3"][..sources].join(", ");
    let form = format!(
        "mov.b32 {{%rs1, %rs5}}, %r1; mov.b32 {{%rs2, %rs5}}, %r2; mov.b32 {{%rs3, %rs5}}, %r3;
         {root}.{ty} %rs4, {operands}; mov.u16 %rs5, 0; mov.b32 %r1, {{%rs4, %rs5}}; mov.b32"
    );
    check_known(&form, expected);
}

#[test]
fn half_precision() {
    for (ty, format) in [("f16", F16), ("bf16", BF16)] {
        let one = format.rounded(false, 1, 0);
        check("add", ty, 2, |a, b, _| format.fma(a, one, b));
        check("sub.rn", ty, 2, |a, b, _| format.fma(a, one, b ^ 0x8000));
        check("mul", ty, 2, |a, b, _| format.fma(a, b, 0x8000));
        check("fma.rn", ty, 3, |a, b, c| format.fma(a, b, c));
        check("fma.rn.relu", ty, 3, |a, b, c| {
            let value = format.fma(a, b, c)?;
            Some(if value >> 15 == 1 { 0 } else { value })
        });
        check("neg", ty, 1, |a, _, _| Some(a ^ 0x8000));
        check("abs", ty, 1, |a, _, _| Some(a & 0x7fff));
        let larger = |a: u32, b: u32| match (format.value(a), format.value(b)) {
            (x, y) if x.is_nan() && y.is_nan() => 0x7fff,
            (x, _) if x.is_nan() => b,
            (_, y) if y.is_nan() => a,
            (x, y) if x == y => a & b,
            (x, y) => {
                if x > y {
                    a
                } else {
                    b
                }
            }
        };
        check("max", ty, 2, |a, b, _| Some(larger(a, b)));
        check("min", ty, 2, |a, b, _| {
            let nan = |x: u32| format.value(x).is_nan();
            Some(if nan(a) || nan(b) { larger(a, b) } else { larger(a ^ 0x8000, b ^ 0x8000) ^ 0x8000 })
        });
        check("max.NaN", ty, 2, |a, b, _| {
            let nan = format.value(a).is_nan() || format.value(b).is_nan();
            Some(if nan { 0x7fff } else { larger(a, b) })
        });
        comparisons(ty, format, one);
        conversions(ty, format);
    }
    check("add.sat", "f16", 2, |a, b, _| {
        let sum = F16.fma(a, 0x3c00, b)?;
        Some(if F16.value(sum) > 0.0 { sum.min(0x3c00) } else { 0 })
    });
}

fn comparisons(ty: &str, format: Format, one: u32) {
    type Holds = fn(f64, f64) -> bool;
    let cases: [(&str, Holds); 6] = [
        ("eq", |a, b| a == b),
        ("lt", |a, b| a < b),
        ("ge", |a, b| a >= b),
        ("neu", |a, b| a != b),
        ("gtu", |a, b| a.is_nan() || b.is_nan() || a > b),
        ("nan", |a, b| a.is_nan() || b.is_nan()),
    ];
    for (compare, holds) in cases {
        let each = |a: u32, b: u32| if holds(format.value(a), format.value(b)) { one } else { 0 };
        check_32(&format!("set.{compare}.{ty}x2.{ty}x2"), 2, 0, |a, b, _| each(a, b) | each(a >> 16, b >> 16) << 16);
        let form = format!(
            "mov.b32 {{%rs1, %rs5}}, %r1; mov.b32 {{%rs2, %rs5}}, %r2; setp.{compare}.{ty} %p1, %rs1, %rs2;
             selp.u32 %r1, 1, 0, %p1; mov.b32"
        );
        check_32(&form, 1, 0, |a, b, _| u32::from(holds(format.value(a), format.value(b))));
    }
}

/// To and from other types.
fn conversions(ty: &str, format: Format) {
    let low = "mov.b32 {%rs1, %rs5}, %r1;";
    let exact = |bits: u32| {
        let value = format.value(bits) as f32;
        if value.is_nan() { 0x7fff_ffff } else { value.to_bits() }
    };
    check_32(&format!("{low} cvt.f32.{ty} %f1, %rs1; mov.b32 %r1, %f1; mov.b32"), 1, 0, |a, _, _| exact(a));
    check_32(&format!("{low} cvt.rzi.s32.{ty} %r1, %rs1; mov.b32"), 1, 0, |a, _, _| format.value(a) as i32 as u32);
    check_32(&format!("{low} cvt.rni.u32.{ty} %r1, %rs1; mov.b32"), 1, 0, |a, _, _| {
        format.value(a).round_ties_even() as u32
    });
    let back = "cvt.u32.u16 %r1, %rs1; mov.b32";
    check_32(&format!("cvt.rn.{ty}.s32 %rs1, %r1; {back}"), 1, 0, |a, _, _| {
        format.rounded((a as i32) < 0, u128::from((a as i32).unsigned_abs()), 0)
    });
    check_64(&format!("cvt.rn.{ty}.u64 %rs1, %rd4; cvt.u64.u16 %rd9, %rs1;"), |a, _| {
        u64::from(format.rounded(false, u128::from(a), 0))
    });
    // toward zero: what is left when the bits below are cut off
    check_32(&format!("mov.b32 %f1, %r1; cvt.rz.{ty}.f32 %rs1, %f1; {back}"), 1, 0, |a, _, _| {
        let value = f32::from_bits(a);
        if value.is_nan() {
            return 0x7fff;
        }
        let nearest = match (value.is_infinite(), a & 0x7fff_ffff) {
            (true, _) => return format.rounded(value < 0.0, 1, 1000),
            (_, 0) => return a >> 16,
            (_, magnitude) => {
                let exponent = (magnitude >> 23).max(1) as i32 - 150;
                let fraction = magnitude & 0x7f_ffff | if magnitude >> 23 == 0 { 0 } else { 1 << 23 };
                format.rounded(value < 0.0, u128::from(fraction), exponent)
            }
        };
        if format.value(nearest).abs() > f64::from(value).abs() { nearest - 1 } else { nearest }
    });
}

#[test]
fn half_precision_without_vector_extensions() {
    again_without_vector_extensions("half_precision");
}
