//! Half precision made of integers, rounded toward a direction.

use super::convert::{to_bf16_toward, to_f16_toward};
use super::float::Toward;
use super::half::odd;
use super::{Form, map};

/// A half with one directed rounding, from an integer; what is too large for an f16 is so by far.
fn f16_from_integer(value: i128, direction: Toward) -> u16 {
    to_f16_toward(value.clamp(-70_000, 70_000) as f32, direction)
}

/// What double precision cannot hold of 64 bits is remembered in the last bit, so it is on the right side.
fn bf16_from_integer(value: i128, direction: Toward) -> u16 {
    let large = value.unsigned_abs() >> 53 != 0;
    let exact = if large { (value >> 16 | i128::from(value & 0xffff != 0)) as f64 * 65536.0 } else { value as f64 };
    to_bf16_toward(odd(exact), direction)
}

macro_rules! from_integer {
    ($rounding:literal, $toward:ident: $($type:ty, $name:literal;)*) => {
        [$(
            map!(concat!("cvt.", $rounding, ".f16.", $name), |a: $type| -> u16 {
                f16_from_integer(i128::from(a), Toward::$toward)
            }),
            map!(concat!("cvt.", $rounding, ".bf16.", $name), |a: $type| -> u16 {
                bf16_from_integer(i128::from(a), Toward::$toward)
            }),
        )*]
    };
}

macro_rules! halves {
    ($rounding:literal, $toward:ident) => {
        from_integer!($rounding, $toward:
            u8, "u8"; i8, "s8"; u16, "u16"; i16, "s16"; u32, "u32"; i32, "s32"; u64, "u64"; i64, "s64";)
    };
}

pub(super) const FORMS: &[&[Form]] = &[&halves!("rz", Zero), &halves!("rm", Down), &halves!("rp", Up)];
