//! Conversions between types.

use super::float::{Toward, canonical, flush, round};
use super::half::{odd, relu};
use super::{Form, map};

/// The value of an f16, exactly.
#[inline(always)]
pub(crate) fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponent is rebiased by a multiplication, which also makes subnormals normal.
    let finite = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
    let special = magnitude | 0x7f80_0000;
    let value = if magnitude >= 0x7c00 << 13 { special } else { finite.to_bits() };
    canonical(f32::from_bits(value | sign))
}

/// The nearest f16, ties to even.
#[inline(always)]
pub(crate) fn to_f16(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Normal: rebias, add just under half a unit of the last place that stays (half, if the last bit is odd).
    let odd = magnitude >> 13 & 1;
    let normal = (magnitude.wrapping_sub((127 - 15) << 23).wrapping_add(0xfff + odd) >> 13) as u16;
    // Subnormal: adding 1/2 puts the unit of the sum at 2^-24, f16's smallest; the addition rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16;
    let result = if magnitude < 113 << 23 { subnormal } else { normal };
    let result = if magnitude >= 0x4780_0000 || result > 0x7c00 { 0x7c00 } else { result };
    if magnitude > 0x7f80_0000 { 0x7fff } else { result | sign }
}

/// The value of a bf16, exactly.
#[inline(always)]
pub(crate) fn from_bf16(bits: u16) -> f32 {
    canonical(f32::from_bits(u32::from(bits) << 16))
}

/// The nearest bf16, ties to even.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { 0x7fff } else { rounded }
}

/// `x` clamped to 0..=1; NaN becomes 0.
#[inline(always)]
pub(super) fn saturate(x: f32) -> f32 {
    let above = if x > 0.0 { x } else { 0.0 };
    if above < 1.0 { above } else { 1.0 }
}

/// From one integer type to all: cut off, or extended by the sign of the source.
macro_rules! from_integer {
    ($from:ty, $name:literal) => {
        [
            map!(concat!("cvt.u8.", $name), |a: $from| -> u8 { a as u8 }),
            map!(concat!("cvt.s8.", $name), |a: $from| -> i8 { a as i8 }),
            map!(concat!("cvt.u16.", $name), |a: $from| -> u16 { a as u16 }),
            map!(concat!("cvt.s16.", $name), |a: $from| -> i16 { a as i16 }),
            map!(concat!("cvt.u32.", $name), |a: $from| -> u32 { a as u32 }),
            map!(concat!("cvt.s32.", $name), |a: $from| -> i32 { a as i32 }),
            map!(concat!("cvt.u64.", $name), |a: $from| -> u64 { a as u64 }),
            map!(concat!("cvt.s64.", $name), |a: $from| -> i64 { a as i64 }),
            map!(concat!("cvt.rn.f32.", $name), |a: $from| -> f32 { a as f32 }),
            map!(concat!("cvt.rn.f64.", $name), |a: $from| -> f64 { a as f64 }),
            map!(concat!("cvt.rn.f16.", $name), |a: $from| -> u16 { to_f16_from_integer(a as i128) }),
            map!(concat!("cvt.rn.bf16.", $name), |a: $from| -> u16 { to_bf16_from_integer(a as i128) }),
        ]
    };
}

/// The f16 nearest to an integer; those that single precision does not hold exactly are beyond f16 anyway.
#[inline(always)]
fn to_f16_from_integer(value: i128) -> u16 {
    to_f16(value.clamp(-70_000, 70_000) as f32)
}

/// The bf16 nearest to an integer.
#[inline(always)]
fn to_bf16_from_integer(value: i128) -> u16 {
    // What double precision cannot hold of 64 bits is remembered in the last bit.
    let large = value.unsigned_abs() >> 53 != 0;
    let exact = if large { (value >> 16 | i128::from(value & 0xffff != 0)) as f64 * 65536.0 } else { value as f64 };
    to_bf16(odd(exact))
}

/// A half-precision number next to `nearest`, which is nearest to `x`, if the rounding wants one.
#[inline(always)]
fn half_toward(x: f32, nearest: u16, value: f32, toward: Toward) -> u16 {
    let down = value > x && (toward == Toward::Down || toward == Toward::Zero && x > 0.0);
    let up = value < x && (toward == Toward::Up || toward == Toward::Zero && x < 0.0);
    // Neighbours are neighbours in their bits; away from zero is up in them.
    match (down, up) {
        (false, false) => nearest,
        (true, _) if nearest == 0 => 0x8001,
        (_, true) if nearest == 0x8000 => 0x0001,
        (true, _) => {
            if nearest & 0x8000 == 0 {
                nearest - 1
            } else {
                nearest + 1
            }
        }
        (_, true) => {
            if nearest & 0x8000 == 0 {
                nearest + 1
            } else {
                nearest - 1
            }
        }
    }
}

#[inline(always)]
pub(super) fn to_f16_toward(x: f32, toward: Toward) -> u16 {
    let nearest = to_f16(x);
    half_toward(x, nearest, from_f16(nearest), toward)
}

#[inline(always)]
pub(super) fn to_bf16_toward(x: f32, toward: Toward) -> u16 {
    let nearest = to_bf16(x);
    half_toward(x, nearest, from_bf16(nearest), toward)
}

/// From single precision with one directed rounding, and from 32-bit integers to single precision.
macro_rules! directed {
    ($rounding:literal, $toward:ident) => {
        [
            map!(concat!("cvt.", $rounding, ".f16.f32"), |a: f32| -> u16 { to_f16_toward(a, Toward::$toward) }),
            map!(concat!("cvt.", $rounding, ".bf16.f32"), |a: f32| -> u16 { to_bf16_toward(a, Toward::$toward) }),
            map!(concat!("cvt.", $rounding, ".f32.s32"), |a: i32| -> f32 { round(f64::from(a), 0.0, Toward::$toward) }),
            map!(concat!("cvt.", $rounding, ".f32.u32"), |a: u32| -> f32 { round(f64::from(a), 0.0, Toward::$toward) }),
            map!(concat!("cvt.", $rounding, ".f32.f64"), |a: f64| -> f32 { round(a, 0.0, Toward::$toward) }),
            map!(concat!("cvt.", $rounding, ".ftz.f32.f64"), |a: f64| -> f32 { flush(round(a, 0.0, Toward::$toward)) }),
        ]
    };
}

/// A converted number; for NaN the highest bit alone, as for all conversions from double precision and to 64 bits.
macro_rules! highest_if_nan {
    ($a:ident, $value:expr, $to:ty) => {
        if $a.is_nan() { 1 << (<$to>::BITS - 1) } else { $value as $to }
    };
}

/// From half precision to all integers and to a whole number, with one rounding.
macro_rules! from_half {
    ($rounding:literal, $round:ident) => {
        [
            map!(concat!("cvt.", $rounding, ".u8.f16"), |a: u16| -> u8 { from_f16(a).$round() as u8 }),
            map!(concat!("cvt.", $rounding, ".s8.f16"), |a: u16| -> i8 { from_f16(a).$round() as i8 }),
            map!(concat!("cvt.", $rounding, ".u16.f16"), |a: u16| -> u16 { from_f16(a).$round() as u16 }),
            map!(concat!("cvt.", $rounding, ".s16.f16"), |a: u16| -> i16 { from_f16(a).$round() as i16 }),
            map!(concat!("cvt.", $rounding, ".u32.f16"), |a: u16| -> u32 { from_f16(a).$round() as u32 }),
            map!(concat!("cvt.", $rounding, ".s32.f16"), |a: u16| -> i32 { from_f16(a).$round() as i32 }),
            map!(concat!("cvt.", $rounding, ".u32.bf16"), |a: u16| -> u32 { from_bf16(a).$round() as u32 }),
            map!(concat!("cvt.", $rounding, ".s32.bf16"), |a: u16| -> i32 { from_bf16(a).$round() as i32 }),
            map!(concat!("cvt.", $rounding, ".u64.f16"), |a: u16| -> u64 {
                let a = from_f16(a);
                highest_if_nan!(a, a.$round(), u64)
            }),
            map!(concat!("cvt.", $rounding, ".s64.f16"), |a: u16| -> i64 {
                let a = from_f16(a);
                highest_if_nan!(a, a.$round(), i64)
            }),
            map!(concat!("cvt.", $rounding, ".u64.bf16"), |a: u16| -> u64 {
                let a = from_bf16(a);
                highest_if_nan!(a, a.$round(), u64)
            }),
            map!(concat!("cvt.", $rounding, ".s64.bf16"), |a: u16| -> i64 {
                let a = from_bf16(a);
                highest_if_nan!(a, a.$round(), i64)
            }),
            map!(concat!("cvt.", $rounding, ".f16.f16"), |a: u16| -> u16 { to_f16(from_f16(a).$round()) }),
            map!(concat!("cvt.", $rounding, ".bf16.bf16"), |a: u16| -> u16 { to_bf16(from_bf16(a).$round()) }),
        ]
    };
}

/// From single precision to all integers, with one rounding. What is out of range becomes the nearest there is.
macro_rules! from_single {
    ($rounding:expr, |$a:ident| $whole:expr) => {
        [
            map!(concat!("cvt.", $rounding, ".u8.f32"), |$a: f32| -> u8 { $whole as u8 }),
            map!(concat!("cvt.", $rounding, ".s8.f32"), |$a: f32| -> i8 { $whole as i8 }),
            map!(concat!("cvt.", $rounding, ".u16.f32"), |$a: f32| -> u16 { $whole as u16 }),
            map!(concat!("cvt.", $rounding, ".s16.f32"), |$a: f32| -> i16 { $whole as i16 }),
            map!(concat!("cvt.", $rounding, ".u32.f32"), |$a: f32| -> u32 { $whole as u32 }),
            map!(concat!("cvt.", $rounding, ".s32.f32"), |$a: f32| -> i32 { $whole as i32 }),
            map!(concat!("cvt.", $rounding, ".u64.f32"), |$a: f32| -> u64 { highest_if_nan!($a, $whole, u64) }),
            map!(concat!("cvt.", $rounding, ".s64.f32"), |$a: f32| -> i64 { highest_if_nan!($a, $whole, i64) }),
        ]
    };
}

/// From double precision to all integers, with one rounding.
macro_rules! from_double {
    ($rounding:literal, $round:ident) => {
        [
            map!(concat!("cvt.", $rounding, ".u8.f64"), |a: f64| -> u8 { highest_if_nan!(a, a.$round(), u8) }),
            map!(concat!("cvt.", $rounding, ".s8.f64"), |a: f64| -> i8 { highest_if_nan!(a, a.$round(), i8) }),
            map!(concat!("cvt.", $rounding, ".u16.f64"), |a: f64| -> u16 { highest_if_nan!(a, a.$round(), u16) }),
            map!(concat!("cvt.", $rounding, ".s16.f64"), |a: f64| -> i16 { highest_if_nan!(a, a.$round(), i16) }),
            map!(concat!("cvt.", $rounding, ".u32.f64"), |a: f64| -> u32 { highest_if_nan!(a, a.$round(), u32) }),
            map!(concat!("cvt.", $rounding, ".s32.f64"), |a: f64| -> i32 { highest_if_nan!(a, a.$round(), i32) }),
            map!(concat!("cvt.", $rounding, ".u64.f64"), |a: f64| -> u64 { highest_if_nan!(a, a.$round(), u64) }),
            map!(concat!("cvt.", $rounding, ".s64.f64"), |a: f64| -> i64 { highest_if_nan!(a, a.$round(), i64) }),
        ]
    };
}

/// To a whole number of the same type.
macro_rules! to_whole {
    ($rounding:literal, $round:ident) => {
        [
            map!(concat!("cvt.", $rounding, ".f32.f32"), |a: f32| -> f32 { canonical(a.$round()) }),
            map!(concat!("cvt.", $rounding, ".ftz.f32.f32"), |a: f32| -> f32 { canonical(flush(a).$round()) }),
            map!(concat!("cvt.", $rounding, ".f64.f64"), |a: f64| -> f64 { a.$round() }),
        ]
    };
}

pub(super) const HALF: &[&[Form]] = &[
    &directed!("rz", Zero),
    &directed!("rm", Down),
    &directed!("rp", Up),
    &from_half!("rni", round_ties_even),
    &from_half!("rzi", trunc),
    &from_half!("rmi", floor),
    &from_half!("rpi", ceil),
    &[
        map!("cvt.rn.f16.f64", |a: f64| -> u16 { to_f16(odd(a)) }),
        map!("cvt.rn.bf16.f64", |a: f64| -> u16 { to_bf16(odd(a)) }),
        map!("cvt.f64.f16", |a: u16| -> f64 { f64::from(from_f16(a)) }),
        map!("cvt.f64.bf16", |a: u16| -> f64 { f64::from(from_bf16(a)) }),
        map!("cvt.rn.bf16.f16", |a: u16| -> u16 { to_bf16(from_f16(a)) }),
        map!("cvt.rn.f16.bf16", |a: u16| -> u16 { to_f16(from_bf16(a)) }),
        map!("cvt.rn.relu.f16.f32", |a: f32| -> u16 { to_f16(relu(a)) }),
        map!("cvt.rn.relu.bf16.f32", |a: f32| -> u16 { to_bf16(relu(a)) }),
    ],
];

pub(super) const FORMS: &[&[Form]] = &[
    &from_integer!(u8, "u8"),
    &from_integer!(i8, "s8"),
    &from_integer!(u16, "u16"),
    &from_integer!(i16, "s16"),
    &from_integer!(u32, "u32"),
    &from_integer!(i32, "s32"),
    &from_integer!(u64, "u64"),
    &from_integer!(i64, "s64"),
    &from_single!("rni", |a| a.round_ties_even()),
    &from_single!("rni.ftz", |a| flush(a).round_ties_even()),
    &from_single!("rzi", |a| a.trunc()),
    &from_single!("rzi.ftz", |a| flush(a).trunc()),
    &from_single!("rmi", |a| a.floor()),
    &from_single!("rmi.ftz", |a| flush(a).floor()),
    &from_single!("rpi", |a| a.ceil()),
    &from_single!("rpi.ftz", |a| flush(a).ceil()),
    &from_double!("rni", round_ties_even),
    &from_double!("rzi", trunc),
    &from_double!("rmi", floor),
    &from_double!("rpi", ceil),
    &to_whole!("rni", round_ties_even),
    &to_whole!("rzi", trunc),
    &to_whole!("rmi", floor),
    &to_whole!("rpi", ceil),
    &[
        map!("cvt.f32.f16", |a: u16| -> f32 { from_f16(a) }),
        map!("cvt.rn.f16.f32", |a: f32| -> u16 { to_f16(a) }),
        map!("cvt.f32.bf16", |a: u16| -> f32 { from_bf16(a) }),
        map!("cvt.rn.bf16.f32", |a: f32| -> u16 { to_bf16(a) }),
        // the first source goes to the upper half
        map!("cvt.rn.f16x2.f32", |a: f32, b: f32| -> u32 { u32::from(to_f16(a)) << 16 | u32::from(to_f16(b)) }),
        map!("cvt.rn.bf16x2.f32", |a: f32, b: f32| -> u32 { u32::from(to_bf16(a)) << 16 | u32::from(to_bf16(b)) }),
        map!("cvt.f64.f32", |a: f32| -> f64 { f64::from(a) }),
        map!("cvt.ftz.f64.f32", |a: f32| -> f64 { f64::from(flush(a)) }),
        map!("cvt.rn.f32.f64", |a: f64| -> f32 { canonical(a as f32) }),
        map!("cvt.rn.ftz.f32.f64", |a: f64| -> f32 { flush(canonical(a as f32)) }),
        map!("cvt.sat.f32.f32", |a: f32| -> f32 { saturate(a) }),
        map!("cvt.ftz.f32.f32", |a: f32| -> f32 { flush(canonical(a)) }),
        map!("cvt.ftz.sat.f32.f32", |a: f32| -> f32 { saturate(flush(a)) }),
    ],
];
