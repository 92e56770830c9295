//! Arithmetic in half precision: f16 and bf16, alone and in pairs.
//!
//! Every result is rounded once. Sums and products are computed in double precision, and what that cannot hold is
//! remembered in its last bit (rounding to odd), so that rounding again gives the right neighbour.

use super::convert::{from_bf16, from_f16, saturate, to_bf16, to_f16};
use super::float::{flush, max, min};
use super::{Form, map};

/// `x` rounded to single precision such that rounding the result to half precision rounds `x`.
#[inline(always)]
pub(super) fn odd(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) == x || x.is_nan() {
        return nearest;
    }
    let away = f64::from(nearest).abs() > x.abs();
    let toward_zero = nearest.to_bits() - u32::from(away);
    f32::from_bits(toward_zero | 1)
}

/// `a * b + c`, to be rounded to half precision.
#[inline(always)]
pub(super) fn fma(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // What the sum is off by, exactly (Knuth's two-sum).
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    if !sum.is_finite() || error == 0.0 {
        return odd(sum);
    }
    let away = (error > 0.0) != (sum > 0.0);
    let toward_zero = sum.to_bits() - u64::from(away);
    odd(f64::from_bits(toward_zero | 1))
}

#[inline(always)]
pub(super) fn add(a: f32, b: f32) -> f32 {
    fma(a, 1.0, b)
}

#[inline(always)]
pub(super) fn mul(a: f32, b: f32) -> f32 {
    odd(f64::from(a) * f64::from(b))
}

/// `max(x, 0)`; NaN becomes the canonical one.
#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    if x.is_nan() || x > 0.0 { x } else { 0.0 }
}

#[inline(always)]
pub(super) fn add_f16(a: u16, b: u16) -> u16 {
    to_f16(add(from_f16(a), from_f16(b)))
}

#[inline(always)]
pub(super) fn add_bf16(a: u16, b: u16) -> u16 {
    to_bf16(add(from_bf16(a), from_bf16(b)))
}

#[inline(always)]
fn tanh_f16(a: u16) -> u16 {
    to_f16(odd(f64::from(from_f16(a)).tanh()))
}

#[inline(always)]
fn tanh_bf16(a: u16) -> u16 {
    to_bf16(odd(f64::from(from_bf16(a)).tanh()))
}

#[inline(always)]
fn ex2_f16(a: u16) -> u16 {
    to_f16(odd(f64::from(from_f16(a)).exp2()))
}

/// Subnormal results, which bf16 has where single precision does, are flushed.
#[inline(always)]
fn ex2_bf16(a: u16) -> u16 {
    to_bf16(flush(odd(f64::from(from_bf16(a)).exp2())))
}

/// A function of both halves of two pairs.
#[inline(always)]
pub(super) fn each_half(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(f(a as u16, b as u16)) | u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
}

#[inline(always)]
pub(super) fn each_half_of_three(a: u32, b: u32, c: u32, f: impl Fn(u16, u16, u16) -> u16) -> u32 {
    let low = f(a as u16, b as u16, c as u16);
    let high = f((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16);
    u32::from(low) | u32::from(high) << 16
}

/// A function of one number, alone and in pairs, under one name of a type.
macro_rules! one {
    ($root:literal, $type:literal, |$a:ident| $value:expr) => {
        [
            map!(concat!($root, ".", $type), |$a: u16| -> u16 { $value }),
            map!(concat!($root, ".", $type, "x2"), |a: u32| -> u32 { each_half(a, 0, |$a, _| $value) }),
        ]
    };
}

/// A function of two numbers in single precision, alone and in pairs.
macro_rules! two {
    ($root:literal, $type:literal, $from:ident, $to:ident, |$a:ident, $b:ident| $value:expr) => {
        [
            map!(concat!($root, ".", $type), |a: u16, b: u16| -> u16 {
                let ($a, $b) = ($from(a), $from(b));
                $to($value)
            }),
            map!(concat!($root, ".", $type, "x2"), |a: u32, b: u32| -> u32 {
                each_half(a, b, |a, b| {
                    let ($a, $b) = ($from(a), $from(b));
                    $to($value)
                })
            }),
        ]
    };
}

/// `fma` with one finish, alone and in pairs.
macro_rules! three {
    ($root:literal, $type:literal, $from:ident, $to:ident, $finish:ident) => {
        [
            map!(concat!($root, ".", $type), |a: u16, b: u16, c: u16| -> u16 {
                $to($finish(fma($from(a), $from(b), $from(c))))
            }),
            map!(concat!($root, ".", $type, "x2"), |a: u32, b: u32, c: u32| -> u32 {
                each_half_of_three(a, b, c, |a, b, c| $to($finish(fma($from(a), $from(b), $from(c)))))
            }),
        ]
    };
}

/// The smaller or larger number; NaN if either is.
macro_rules! nan_wins {
    ($function:ident, $a:ident, $b:ident) => {
        if $a.is_nan() || $b.is_nan() { f32::NAN } else { $function($a, $b) }
    };
}

/// `x` as it is.
#[inline(always)]
fn kept(x: f32) -> f32 {
    x
}

/// The arithmetic of one type.
macro_rules! arithmetic {
    ($type:literal, $from:ident, $to:ident) => {
        &[
            &two!("add", $type, $from, $to, |a, b| add(a, b)),
            &two!("add.rn", $type, $from, $to, |a, b| add(a, b)),
            &two!("sub", $type, $from, $to, |a, b| add(a, -b)),
            &two!("sub.rn", $type, $from, $to, |a, b| add(a, -b)),
            &two!("mul", $type, $from, $to, |a, b| mul(a, b)),
            &two!("mul.rn", $type, $from, $to, |a, b| mul(a, b)),
            &two!("min", $type, $from, $to, |a, b| min(a, b)),
            &two!("max", $type, $from, $to, |a, b| max(a, b)),
            &two!("min.NaN", $type, $from, $to, |a, b| nan_wins!(min, a, b)),
            &two!("max.NaN", $type, $from, $to, |a, b| nan_wins!(max, a, b)),
            &three!("fma.rn", $type, $from, $to, kept),
            &three!("fma.rn.relu", $type, $from, $to, relu),
            &one!("neg", $type, |a| a ^ 0x8000),
            &one!("abs", $type, |a| a & 0x7fff),
        ]
    };
}

pub(super) const F16: &[&[Form]] = arithmetic!("f16", from_f16, to_f16);
pub(super) const BF16: &[&[Form]] = arithmetic!("bf16", from_bf16, to_bf16);

pub(super) const FORMS: &[&[Form]] = &[
    &two!("add.sat", "f16", from_f16, to_f16, |a, b| saturate(add(a, b))),
    &two!("add.rn.sat", "f16", from_f16, to_f16, |a, b| saturate(add(a, b))),
    &two!("sub.sat", "f16", from_f16, to_f16, |a, b| saturate(add(a, -b))),
    &two!("sub.rn.sat", "f16", from_f16, to_f16, |a, b| saturate(add(a, -b))),
    &two!("mul.sat", "f16", from_f16, to_f16, |a, b| saturate(mul(a, b))),
    &two!("mul.rn.sat", "f16", from_f16, to_f16, |a, b| saturate(mul(a, b))),
    &three!("fma.rn.sat", "f16", from_f16, to_f16, saturate),
    &[
        map!("tanh.approx.f16", |a: u16| -> u16 { tanh_f16(a) }),
        map!("tanh.approx.f16x2", |a: u32| -> u32 { each_half(a, 0, |a, _| tanh_f16(a)) }),
        map!("tanh.approx.bf16", |a: u16| -> u16 { tanh_bf16(a) }),
        map!("tanh.approx.bf16x2", |a: u32| -> u32 { each_half(a, 0, |a, _| tanh_bf16(a)) }),
        map!("ex2.approx.f16", |a: u16| -> u16 { ex2_f16(a) }),
        map!("ex2.approx.f16x2", |a: u32| -> u32 { each_half(a, 0, |a, _| ex2_f16(a)) }),
        map!("ex2.approx.ftz.bf16", |a: u16| -> u16 { ex2_bf16(a) }),
        map!("ex2.approx.ftz.bf16x2", |a: u32| -> u32 { each_half(a, 0, |a, _| ex2_bf16(a)) }),
    ],
];
