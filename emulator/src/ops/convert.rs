//! Conversions between types.

use super::float::{Toward, canonical, flush, round};
use super::half::odd;
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
fn saturate(x: f32) -> f32 {
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
        ]
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
            map!(concat!("cvt.", $rounding, ".u64.f16"), |a: u16| -> u64 { from_f16(a).$round() as u64 }),
            map!(concat!("cvt.", $rounding, ".s64.f16"), |a: u16| -> i64 { from_f16(a).$round() as i64 }),
            map!(concat!("cvt.", $rounding, ".u32.bf16"), |a: u16| -> u32 { from_bf16(a).$round() as u32 }),
            map!(concat!("cvt.", $rounding, ".s32.bf16"), |a: u16| -> i32 { from_bf16(a).$round() as i32 }),
            map!(concat!("cvt.", $rounding, ".u64.bf16"), |a: u16| -> u64 { from_bf16(a).$round() as u64 }),
            map!(concat!("cvt.", $rounding, ".s64.bf16"), |a: u16| -> i64 { from_bf16(a).$round() as i64 }),
            map!(concat!("cvt.", $rounding, ".f16.f16"), |a: u16| -> u16 { to_f16(from_f16(a).$round()) }),
            map!(concat!("cvt.", $rounding, ".bf16.bf16"), |a: u16| -> u16 { to_bf16(from_bf16(a).$round()) }),
        ]
    };
}

/// From one floating-point type to all integers, with one rounding. Out of range saturates, NaN gives 0.
macro_rules! to_integer {
    ($rounding:literal, $round:ident, $from:ty, $name:literal) => {
        [
            map!(concat!("cvt.", $rounding, ".u8.", $name), |a: $from| -> u8 { a.$round() as u8 }),
            map!(concat!("cvt.", $rounding, ".s8.", $name), |a: $from| -> i8 { a.$round() as i8 }),
            map!(concat!("cvt.", $rounding, ".u16.", $name), |a: $from| -> u16 { a.$round() as u16 }),
            map!(concat!("cvt.", $rounding, ".s16.", $name), |a: $from| -> i16 { a.$round() as i16 }),
            map!(concat!("cvt.", $rounding, ".u32.", $name), |a: $from| -> u32 { a.$round() as u32 }),
            map!(concat!("cvt.", $rounding, ".s32.", $name), |a: $from| -> i32 { a.$round() as i32 }),
            map!(concat!("cvt.", $rounding, ".u64.", $name), |a: $from| -> u64 { a.$round() as u64 }),
            map!(concat!("cvt.", $rounding, ".s64.", $name), |a: $from| -> i64 { a.$round() as i64 }),
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
        map!("cvt.rn.relu.f16.f32", |a: f32| -> u16 { to_f16(if a < 0.0 { 0.0 } else { a }) }),
        map!("cvt.rn.relu.bf16.f32", |a: f32| -> u16 { to_bf16(if a < 0.0 { 0.0 } else { a }) }),
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
    &to_integer!("rni", round_ties_even, f32, "f32"),
    &to_integer!("rzi", trunc, f32, "f32"),
    &to_integer!("rmi", floor, f32, "f32"),
    &to_integer!("rpi", ceil, f32, "f32"),
    &to_integer!("rni", round_ties_even, f64, "f64"),
    &to_integer!("rzi", trunc, f64, "f64"),
    &to_integer!("rmi", floor, f64, "f64"),
    &to_integer!("rpi", ceil, f64, "f64"),
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
        map!("cvt.rn.f32.f64", |a: f64| -> f32 { canonical(a as f32) }),
        map!("cvt.sat.f32.f32", |a: f32| -> f32 { saturate(a) }),
        map!("cvt.ftz.f32.f32", |a: f32| -> f32 { flush(canonical(a)) }),
        map!("cvt.ftz.sat.f32.f32", |a: f32| -> f32 { saturate(flush(a)) }),
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_survives_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let value = from_f16(bits);
            let nan = bits & 0x7fff > 0x7c00;
            assert_eq!(value.is_nan(), nan);
            assert_eq!(to_f16(value), if nan { 0x7fff } else { bits }, "{value}");
        }
        assert_eq!(
            [0x3c00, 0x0001, 0x0400, 0x7bff, 0xc000].map(from_f16),
            [1.0, 2f32.powi(-24), 2f32.powi(-14), 65504.0, -2.0]
        );
    }

    #[test]
    fn to_f16_rounds_to_the_nearest_even() {
        // between every two neighbours: just below the middle, the middle, just above
        for bits in 0..0x7bffu16 {
            let (low, high) = (from_f16(bits), from_f16(bits + 1));
            let middle = (low + high) / 2.0;
            assert_eq!(to_f16(middle.next_down()), bits, "{middle}");
            assert_eq!(to_f16(middle), bits + (bits & 1), "{middle}");
            assert_eq!(to_f16(middle.next_up()), bits + 1, "{middle}");
            assert_eq!(to_f16(-middle.next_up()), (bits + 1) | 0x8000, "{middle}");
        }
        assert_eq!((to_f16(65519.99), to_f16(65520.0), to_f16(1e30)), (0x7bff, 0x7c00, 0x7c00));
        assert_eq!((to_f16(f32::NEG_INFINITY), to_f16(f32::NAN)), (0xfc00, 0x7fff));
    }

    #[test]
    fn bf16_rounds_to_the_nearest_even() {
        for bits in (0..0x7f7fu16).chain(0x8000..0xff7f) {
            let value = from_bf16(bits);
            assert_eq!(to_bf16(value), bits);
            let middle = f32::from_bits(u32::from(bits) << 16 | 0x8000);
            assert_eq!(to_bf16(middle), bits + (bits & 1));
        }
        assert_eq!((to_bf16(f32::MAX), to_bf16(f32::NAN)), (0x7f80, 0x7fff));
    }

    #[test]
    fn saturation_takes_nan_to_zero() {
        assert_eq!([f32::NAN, -1.0, 0.25, 7.0, -0.0].map(saturate), [0.0, 0.0, 0.25, 1.0, 0.0]);
    }
}
