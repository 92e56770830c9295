//! Numbers of 8 bits: e4m3 and e5m2, and their conversions in pairs.

use super::convert::{from_f16, to_f16};
use super::{Form, map};

/// The value of an e5m2, exactly: the upper half of an f16.
#[inline(always)]
pub(super) fn from_e5m2(bits: u8) -> f32 {
    from_f16(u16::from(bits) << 8)
}

/// The value of an e4m3, exactly. It has no infinities.
#[inline(always)]
pub(super) fn from_e4m3(bits: u8) -> f32 {
    let magnitude = u32::from(bits & 0x7f);
    // The exponent is rebiased by a multiplication, which also makes subnormals normal.
    let value = f32::from_bits(magnitude << 20) * f32::from_bits((254 - 7) << 23);
    let bits = if magnitude == 0x7f { 0x7fff_ffff } else { value.to_bits() | u32::from(bits & 0x80) << 24 };
    f32::from_bits(bits)
}

/// The nearest number with `MANTISSA` bits of fraction and the exponent bias `BIAS`, ties to even. What is larger than
/// the largest, `LARGEST`, becomes that; NaN is 0x7f.
#[inline(always)]
fn round<const MANTISSA: u32, const BIAS: u32, const LARGEST: u32>(x: f32) -> u8 {
    let sign = (x.to_bits() >> 24 & 0x80) as u8;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    let cut = 23 - MANTISSA;
    // Normal: rebias, add just under half a unit of the last place that stays (half, if the last bit is odd).
    let odd = magnitude >> cut & 1;
    let normal = magnitude.wrapping_sub((127 - BIAS) << 23).wrapping_add((1 << (cut - 1)) - 1 + odd) >> cut;
    // Subnormal: the sum with this power of two has the smallest number as its last place; the addition rounds.
    let power = f32::from_bits((127 + 1 - BIAS + cut) << 23);
    let subnormal = (f32::from_bits(magnitude) + power).to_bits().wrapping_sub(power.to_bits());
    let result = if magnitude < (128 - BIAS) << 23 { subnormal } else { normal };
    let result = if magnitude >= 0x7f80_0000 { LARGEST } else { result.min(LARGEST) };
    if magnitude > 0x7f80_0000 { 0x7f } else { result as u8 | sign }
}

#[inline(always)]
fn to_e4m3(x: f32) -> u8 {
    round::<3, 7, 0x7e>(x)
}

#[inline(always)]
fn to_e5m2(x: f32) -> u8 {
    round::<2, 15, 0x7b>(x)
}

/// `max(x, 0)`, or NaN.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

/// The conversions of one type.
macro_rules! conversions {
    ($name:literal, $from:ident, $to:ident) => {
        [
            // the first source goes to the upper byte
            map!(concat!("cvt.rn.satfinite.", $name, ".f32"), |a: f32, b: f32| -> u16 {
                u16::from($to(a)) << 8 | u16::from($to(b))
            }),
            map!(concat!("cvt.rn.satfinite.relu.", $name, ".f32"), |a: f32, b: f32| -> u16 {
                u16::from($to(relu(a))) << 8 | u16::from($to(relu(b)))
            }),
            map!(concat!("cvt.rn.satfinite.", $name, ".f16x2"), |a: u32| -> u16 {
                u16::from($to(from_f16((a >> 16) as u16))) << 8 | u16::from($to(from_f16(a as u16)))
            }),
            map!(concat!("cvt.rn.satfinite.relu.", $name, ".f16x2"), |a: u32| -> u16 {
                u16::from($to(relu(from_f16((a >> 16) as u16)))) << 8 | u16::from($to(relu(from_f16(a as u16))))
            }),
            map!(concat!("cvt.rn.f16x2.", $name), |a: u16| -> u32 {
                u32::from(to_f16($from((a >> 8) as u8))) << 16 | u32::from(to_f16($from(a as u8)))
            }),
            map!(concat!("cvt.rn.relu.f16x2.", $name), |a: u16| -> u32 {
                u32::from(to_f16(relu($from((a >> 8) as u8)))) << 16 | u32::from(to_f16(relu($from(a as u8))))
            }),
        ]
    };
}

pub(super) const FORMS: &[&[Form]] =
    &[&conversions!("e4m3x2", from_e4m3, to_e4m3), &conversions!("e5m2x2", from_e5m2, to_e5m2)];
