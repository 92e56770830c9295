//! Conversions that clamp or cut off: to tf32, to halves in pairs, between integers with saturation, and from single
//! precision with subnormal numbers flushed.

use super::convert::{from_bf16, from_f16, to_bf16, to_bf16_toward, to_f16, to_f16_toward};
use super::float::{Toward, flush, round};
use super::{Form, map};

/// `max(x, 0)`, or NaN.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn kept(x: f32) -> f32 {
    x
}

/// tf32 with ties away from zero: the 19 upper bits of a single-precision number.
#[inline(always)]
fn tf32_away(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fff_ffff } else { bits.wrapping_add(if x.is_infinite() { 0 } else { 0x1000 }) & 0xffff_e000 }
}

/// tf32 with ties to even.
#[inline(always)]
fn tf32_even(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fff_ffff } else { bits.wrapping_add(0xfff + (bits >> 13 & 1)) & 0xffff_e000 }
}

#[inline(always)]
fn tf32_toward_zero(x: f32) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() & 0xffff_e000 }
}

/// The largest number instead of infinity.
#[inline(always)]
fn tf32_finite(bits: u32) -> u32 {
    if bits & 0x7fff_ffff == 0x7f80_0000 { bits & 0x8000_0000 | 0x7f7f_e000 } else { bits }
}

#[inline(always)]
fn f16_finite(bits: u16) -> u16 {
    if bits & 0x7fff == 0x7c00 { bits & 0x8000 | 0x7bff } else { bits }
}

#[inline(always)]
fn bf16_finite(bits: u16) -> u16 {
    if bits & 0x7fff == 0x7f80 { bits & 0x8000 | 0x7f7f } else { bits }
}

#[inline(always)]
fn f16_zero(x: f32) -> u16 {
    to_f16_toward(x, Toward::Zero)
}

#[inline(always)]
fn bf16_zero(x: f32) -> u16 {
    to_bf16_toward(x, Toward::Zero)
}

/// Two numbers to a pair of halves; the first goes to the upper half.
macro_rules! pair {
    ($opcode:literal, $prepare:ident, |$x:ident| $half:expr) => {
        map!($opcode, |a: f32, b: f32| -> u32 {
            let half = |$x: f32| -> u16 { $half };
            u32::from(half($prepare(a))) << 16 | u32::from(half($prepare(b)))
        })
    };
}

/// From one integer type to all, clamped.
macro_rules! clamped {
    ($from:ty, $name:literal) => {
        [
            clamped!(@one "cvt.sat.u8.", u8, $from, $name),
            clamped!(@one "cvt.sat.s8.", i8, $from, $name),
            clamped!(@one "cvt.sat.u16.", u16, $from, $name),
            clamped!(@one "cvt.sat.s16.", i16, $from, $name),
            clamped!(@one "cvt.sat.u32.", u32, $from, $name),
            clamped!(@one "cvt.sat.s32.", i32, $from, $name),
            clamped!(@one "cvt.sat.u64.", u64, $from, $name),
            clamped!(@one "cvt.sat.s64.", i64, $from, $name),
        ]
    };
    (@one $root:literal, $to:ty, $from:ty, $name:literal) => {
        map!(concat!($root, $name), |a: $from| -> $to {
            i128::from(a).clamp(i128::from(<$to>::MIN), i128::from(<$to>::MAX)) as $to
        })
    };
}

/// A 64-bit integer rounded to single precision; what double precision cannot hold is exactly its error.
#[inline(always)]
fn single_from_integer(value: i128, toward: Toward) -> f32 {
    let nearest = value as f64;
    round(nearest, (value - nearest as i128) as f64, toward)
}

/// A 64-bit integer rounded to double precision.
#[inline(always)]
fn double_from_integer(value: i128, toward: Toward) -> f64 {
    let nearest = value as f64;
    let error = value - nearest as i128;
    let down = error < 0 && (toward == Toward::Down || toward == Toward::Zero && value > 0);
    let up = error > 0 && (toward == Toward::Up || toward == Toward::Zero && value < 0);
    let rounded = if down { nearest.next_down() } else { nearest };
    if up { rounded.next_up() } else { rounded }
}

/// From 64-bit integers, with one directed rounding.
macro_rules! from_long {
    ($rounding:literal, $toward:ident) => {
        [
            map!(concat!("cvt.", $rounding, ".f32.s64"), |a: i64| -> f32 {
                single_from_integer(i128::from(a), Toward::$toward)
            }),
            map!(concat!("cvt.", $rounding, ".f32.u64"), |a: u64| -> f32 {
                single_from_integer(i128::from(a), Toward::$toward)
            }),
            map!(concat!("cvt.", $rounding, ".f64.s64"), |a: i64| -> f64 {
                double_from_integer(i128::from(a), Toward::$toward)
            }),
            map!(concat!("cvt.", $rounding, ".f64.u64"), |a: u64| -> f64 {
                double_from_integer(i128::from(a), Toward::$toward)
            }),
        ]
    };
}

pub(super) const FORMS: &[&[Form]] = &[
    &clamped!(u8, "u8"),
    &clamped!(i8, "s8"),
    &clamped!(u16, "u16"),
    &clamped!(i16, "s16"),
    &clamped!(u32, "u32"),
    &clamped!(i32, "s32"),
    &clamped!(u64, "u64"),
    &clamped!(i64, "s64"),
    &from_long!("rz", Zero),
    &from_long!("rm", Down),
    &from_long!("rp", Up),
    &[
        map!("cvt.rna.tf32.f32", |a: f32| -> u32 { tf32_away(a) }),
        map!("cvt.rna.satfinite.tf32.f32", |a: f32| -> u32 { tf32_finite(tf32_away(a)) }),
        map!("cvt.rn.tf32.f32", |a: f32| -> u32 { tf32_even(a) }),
        map!("cvt.rn.relu.tf32.f32", |a: f32| -> u32 { tf32_even(relu(a)) }),
        map!("cvt.rn.satfinite.tf32.f32", |a: f32| -> u32 { tf32_finite(tf32_even(a)) }),
        map!("cvt.rn.satfinite.relu.tf32.f32", |a: f32| -> u32 { tf32_finite(tf32_even(relu(a))) }),
        map!("cvt.rz.tf32.f32", |a: f32| -> u32 { tf32_toward_zero(a) }),
        map!("cvt.rz.relu.tf32.f32", |a: f32| -> u32 { tf32_toward_zero(relu(a)) }),
        pair!("cvt.rn.relu.f16x2.f32", relu, |x| to_f16(x)),
        pair!("cvt.rz.f16x2.f32", kept, |x| f16_zero(x)),
        pair!("cvt.rz.relu.f16x2.f32", relu, |x| f16_zero(x)),
        pair!("cvt.rn.satfinite.f16x2.f32", kept, |x| f16_finite(to_f16(x))),
        pair!("cvt.rn.relu.satfinite.f16x2.f32", relu, |x| f16_finite(to_f16(x))),
        pair!("cvt.rn.relu.bf16x2.f32", relu, |x| to_bf16(x)),
        pair!("cvt.rz.bf16x2.f32", kept, |x| bf16_zero(x)),
        pair!("cvt.rz.relu.bf16x2.f32", relu, |x| bf16_zero(x)),
        pair!("cvt.rn.satfinite.bf16x2.f32", kept, |x| bf16_finite(to_bf16(x))),
        pair!("cvt.rn.relu.satfinite.bf16x2.f32", relu, |x| bf16_finite(to_bf16(x))),
        map!("cvt.rz.relu.f16.f32", |a: f32| -> u16 { f16_zero(relu(a)) }),
        map!("cvt.rz.relu.bf16.f32", |a: f32| -> u16 { bf16_zero(relu(a)) }),
        map!("cvt.rn.satfinite.f16.f32", |a: f32| -> u16 { f16_finite(to_f16(a)) }),
        map!("cvt.rn.satfinite.bf16.f32", |a: f32| -> u16 { bf16_finite(to_bf16(a)) }),
        map!("cvt.rn.relu.satfinite.f16.f32", |a: f32| -> u16 { f16_finite(to_f16(relu(a))) }),
        map!("cvt.rn.relu.satfinite.bf16.f32", |a: f32| -> u16 { bf16_finite(to_bf16(relu(a))) }),
        map!("cvt.rn.ftz.f16.f32", |a: f32| -> u16 { to_f16(flush(a)) }),
        map!("cvt.ftz.f32.f16", |a: u16| -> f32 { from_f16(a) }),
        map!("cvt.sat.f16.f32", |a: f32| -> u16 { to_f16(super::convert::saturate(a)) }),
        map!("cvt.sat.f32.f16", |a: u16| -> f32 { super::convert::saturate(from_f16(a)) }),
        map!("cvt.sat.f32.bf16", |a: u16| -> f32 { super::convert::saturate(from_bf16(a)) }),
        map!("cvt.rn.sat.f16.f32", |a: f32| -> u16 { to_f16(super::convert::saturate(a)) }),
    ],
];
