//! Floating-point arithmetic.
//!
//! What the ISA calls correctly rounded is so, to the bit. Approximations are better than the ISA asks: most are
//! computed in double precision and rounded once. A result that is not a number is the canonical one.

use super::convert::saturate;
use super::{Form, map};

/// `x`, or the canonical NaN. On the bits, since what bits a NaN has is not for the compiler to know.
#[inline(always)]
pub(super) fn canonical(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fff_ffff } else { bits })
}

/// `x`, or a zero of its sign if it is subnormal.
#[inline(always)]
pub(super) fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { f32::from_bits(x.to_bits() & 0x8000_0000) } else { x }
}

/// The smaller of two numbers; -0 is below +0, and a number wins over NaN.
#[inline(always)]
pub(super) fn min(a: f32, b: f32) -> f32 {
    let smaller = if a < b { a } else { b };
    let smaller = if a == b { f32::from_bits(a.to_bits() | b.to_bits()) } else { smaller };
    let smaller = if b.is_nan() { a } else { smaller };
    canonical(smaller)
}

/// The larger of two numbers; +0 is above -0, and a number wins over NaN.
#[inline(always)]
pub(super) fn max(a: f32, b: f32) -> f32 {
    let larger = if a > b { a } else { b };
    let larger = if a == b { f32::from_bits(a.to_bits() & b.to_bits()) } else { larger };
    let larger = if b.is_nan() { a } else { larger };
    canonical(larger)
}

#[inline(always)]
fn min_f64(a: f64, b: f64) -> f64 {
    let smaller = if a < b { a } else { b };
    let smaller = if a == b { f64::from_bits(a.to_bits() | b.to_bits()) } else { smaller };
    if b.is_nan() { a } else { smaller }
}

#[inline(always)]
fn max_f64(a: f64, b: f64) -> f64 {
    let larger = if a > b { a } else { b };
    let larger = if a == b { f64::from_bits(a.to_bits() & b.to_bits()) } else { larger };
    if b.is_nan() { a } else { larger }
}

/// 2^x, within half an ulp and a little.
#[inline(always)]
fn exp2(x: f32) -> f32 {
    /// ln(2)^k / k!
    const TAYLOR: [f64; 12] = {
        let mut terms = [1.0; 12];
        let mut k = 1;
        while k < terms.len() {
            terms[k] = terms[k - 1] * std::f64::consts::LN_2 / k as f64;
            k += 1;
        }
        terms
    };
    // Beyond these the result is 0 or infinite; the comparison also takes NaN away.
    let clamped = if x > 130.0 { 130.0 } else { x };
    let clamped = if clamped > -160.0 { clamped } else { -160.0 };
    let x64 = f64::from(clamped);
    let whole = x64.round_ties_even();
    let part = x64 - whole;
    let mut sum = TAYLOR[11];
    for k in (0..11).rev() {
        sum = sum.mul_add(part, TAYLOR[k]);
    }
    let scale = f64::from_bits(((whole as i32 + 1023) as u64) << 52);
    let result = (sum * scale) as f32;
    if x.is_nan() { canonical(x) } else { result }
}

#[inline(always)]
fn rsqrt(x: f32) -> f32 {
    canonical((1.0 / f64::from(x).sqrt()) as f32)
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    canonical(f64::from(x).tanh() as f32)
}

/// A rounding other than to the nearest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Toward {
    Zero,
    Down,
    Up,
}

/// The exact number `value + error` rounded to single precision, where `error` is less than half an ulp of `value`.
#[inline(always)]
pub(super) fn round(value: f64, error: f64, toward: Toward) -> f32 {
    let nearest = value as f32;
    let above = f64::from(nearest) > value || (f64::from(nearest) == value && error < 0.0);
    let below = f64::from(nearest) < value || (f64::from(nearest) == value && error > 0.0);
    let positive = value > 0.0;
    let down = above && (toward == Toward::Down || toward == Toward::Zero && positive);
    let up = below && (toward == Toward::Up || toward == Toward::Zero && !positive);
    let rounded = if down { nearest.next_down() } else { nearest };
    let rounded = if up { nearest.next_up() } else { rounded };
    canonical(if value.is_finite() { rounded } else { nearest })
}

#[inline(always)]
fn fma_toward(a: f32, b: f32, c: f32, toward: Toward) -> f32 {
    // The product is exact in double precision; the rounding error of the sum is exact too (Knuth's two-sum).
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    if sum == 0.0 && toward == Toward::Down && (product.is_sign_negative() || c.is_sign_negative()) {
        return -0.0;
    }
    round(sum, error, toward)
}

#[inline(always)]
fn mul_toward(a: f32, b: f32, toward: Toward) -> f32 {
    round(f64::from(a) * f64::from(b), 0.0, toward)
}

/// A quotient with one rounding: the remainder says on which side of the exact one the computed one is.
#[inline(always)]
fn div_toward(a: f32, b: f32, toward: Toward) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let quotient = a / b;
    let rest = (-quotient).mul_add(b, a);
    let error = if rest.is_finite() { rest * b.signum() } else { 0.0 };
    round(quotient, error, toward)
}

#[inline(always)]
fn sqrt_toward(a: f32, toward: Toward) -> f32 {
    let a = f64::from(a);
    let root = a.sqrt();
    let rest = (-root).mul_add(root, a);
    round(root, if rest.is_finite() { rest } else { 0.0 }, toward)
}

/// `a * (1 / b)`, where the reciprocal of a number over 2^126, which is subnormal, counts as zero.
#[inline(always)]
fn div_approximately(a: f32, b: f32) -> f32 {
    const LARGEST: f32 = 1.0 / f32::MIN_POSITIVE;
    let zero = a * 0f32.copysign(b);
    canonical(if b.abs() > LARGEST { zero } else { a / b })
}

/// The upper half of `x`, as the approximations in double precision have it; subnormal numbers are zero, and there is
/// one NaN.
#[inline(always)]
fn upper_half(x: f64) -> f64 {
    let kept = if x.abs() < f64::MIN_POSITIVE { 1 << 63 } else { !0 << 32 };
    f64::from_bits(if x.is_nan() { 0x7fff_ffff << 32 } else { x.to_bits() & kept })
}

/// `x`, or NaN if `a` or `b` is.
#[inline(always)]
fn unless_nan(a: f32, b: f32, x: f32) -> f32 {
    if a.is_nan() || b.is_nan() { canonical(f32::NAN) } else { x }
}

/// A function of one to three numbers, subnormals kept or flushed.
macro_rules! function {
    ($root:expr, |$($a:ident),+| $value:expr) => {
        [
            map!(concat!($root, ".f32"), |$($a: f32),+| -> f32 { $value }),
            map!(concat!($root, ".ftz.f32"), |$($a: f32),+| -> f32 {
                $(let $a = flush($a);)+
                flush($value)
            }),
        ]
    };
}

/// A function with its result clamped to 0..=1 or not, subnormals kept or flushed.
macro_rules! saturable {
    ($root:expr, |$($a:ident),+| $value:expr) => {
        [
            map!(concat!($root, ".f32"), |$($a: f32),+| -> f32 { $value }),
            map!(concat!($root, ".ftz.f32"), |$($a: f32),+| -> f32 {
                $(let $a = flush($a);)+
                flush($value)
            }),
            map!(concat!($root, ".sat.f32"), |$($a: f32),+| -> f32 { saturate($value) }),
            map!(concat!($root, ".ftz.sat.f32"), |$($a: f32),+| -> f32 {
                $(let $a = flush($a);)+
                saturate(flush($value))
            }),
        ]
    };
}

/// The operations with one directed rounding.
macro_rules! directed {
    ($rounding:literal, $toward:ident) => {
        &[
            &saturable!(concat!("add.", $rounding), |a, b| fma_toward(a, 1.0, b, Toward::$toward)),
            &saturable!(concat!("sub.", $rounding), |a, b| fma_toward(a, 1.0, -b, Toward::$toward)),
            &saturable!(concat!("mul.", $rounding), |a, b| mul_toward(a, b, Toward::$toward)),
            &saturable!(concat!("fma.", $rounding), |a, b, c| fma_toward(a, b, c, Toward::$toward)),
            &function!(concat!("div.", $rounding), |a, b| div_toward(a, b, Toward::$toward)),
            &function!(concat!("rcp.", $rounding), |a| div_toward(1.0, a, Toward::$toward)),
            &function!(concat!("sqrt.", $rounding), |a| sqrt_toward(a, Toward::$toward)),
        ]
    };
}

pub(super) const TOWARD_ZERO: &[&[Form]] = directed!("rz", Zero);
pub(super) const DOWN: &[&[Form]] = directed!("rm", Down);
pub(super) const UP: &[&[Form]] = directed!("rp", Up);

pub(super) const FORMS: &[&[Form]] = &[
    &saturable!("add", |a, b| canonical(a + b)),
    &saturable!("add.rn", |a, b| canonical(a + b)),
    &saturable!("sub", |a, b| canonical(a - b)),
    &saturable!("sub.rn", |a, b| canonical(a - b)),
    &saturable!("mul", |a, b| canonical(a * b)),
    &saturable!("mul.rn", |a, b| canonical(a * b)),
    &saturable!("fma.rn", |a, b, c| canonical(a.mul_add(b, c))),
    &function!("div.rn", |a, b| canonical(a / b)),
    &function!("div.approx", |a, b| div_approximately(a, b)),
    &function!("div.full", |a, b| canonical(a / b)),
    &function!("min", |a, b| min(a, b)),
    &function!("max", |a, b| max(a, b)),
    &function!("neg", |a| -a),
    &function!("abs", |a| a.abs()),
    &function!("rcp.rn", |a| canonical(1.0 / a)),
    &function!("rcp.approx", |a| canonical(1.0 / a)),
    &function!("sqrt.rn", |a| canonical(a.sqrt())),
    &function!("sqrt.approx", |a| canonical(a.sqrt())),
    &function!("rsqrt.approx", |a| rsqrt(a)),
    &function!("ex2.approx", |a| exp2(a)),
    &function!("lg2.approx", |a| canonical(f64::from(a).log2() as f32)),
    &function!("sin.approx", |a| canonical(f64::from(a).sin() as f32)),
    &function!("cos.approx", |a| canonical(f64::from(a).cos() as f32)),
    &[
        map!("tanh.approx.f32", |a: f32| -> f32 { tanh(a) }),
        map!("copysign.f32", |a: f32, b: f32| -> f32 { b.copysign(a) }),
        map!("min.NaN.f32", |a: f32, b: f32| -> f32 { unless_nan(a, b, min(a, b)) }),
        map!("max.NaN.f32", |a: f32, b: f32| -> f32 { unless_nan(a, b, max(a, b)) }),
    ],
    &[
        map!("add.f64", |a: f64, b: f64| -> f64 { a + b }),
        map!("add.rn.f64", |a: f64, b: f64| -> f64 { a + b }),
        map!("sub.f64", |a: f64, b: f64| -> f64 { a - b }),
        map!("sub.rn.f64", |a: f64, b: f64| -> f64 { a - b }),
        map!("mul.f64", |a: f64, b: f64| -> f64 { a * b }),
        map!("mul.rn.f64", |a: f64, b: f64| -> f64 { a * b }),
        map!("fma.rn.f64", |a: f64, b: f64, c: f64| -> f64 { a.mul_add(b, c) }),
        map!("div.rn.f64", |a: f64, b: f64| -> f64 { a / b }),
        map!("rcp.rn.f64", |a: f64| -> f64 { 1.0 / a }),
        map!("sqrt.rn.f64", |a: f64| -> f64 { a.sqrt() }),
        map!("min.f64", |a: f64, b: f64| -> f64 { min_f64(a, b) }),
        map!("max.f64", |a: f64, b: f64| -> f64 { max_f64(a, b) }),
        map!("neg.f64", |a: f64| -> f64 { -a }),
        map!("abs.f64", |a: f64| -> f64 { a.abs() }),
        map!("copysign.f64", |a: f64, b: f64| -> f64 { b.copysign(a) }),
        map!("rsqrt.approx.f64", |a: f64| -> f64 { 1.0 / a.sqrt() }),
        map!("rcp.approx.ftz.f64", |a: f64| -> f64 { upper_half(1.0 / upper_half(a)) }),
        map!("rsqrt.approx.ftz.f64", |a: f64| -> f64 { upper_half(1.0 / upper_half(a).sqrt()) }),
    ],
];
