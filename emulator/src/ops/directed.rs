//! Double precision rounded toward a direction, and halves made of integers so.
//!
//! Whether the nearest number is above or below the exact result is found with exact arithmetic on whole numbers: an
//! accumulator as wide as the products of any two numbers are apart. That is slow, and seldom wanted.

use super::convert::{to_bf16_toward, to_f16_toward};
use super::float::Toward;
use super::half::odd;
use super::{Form, map};

/// A sum of products, exactly: a whole multiple of 2^-2148 in two's complement.
struct Exact([u64; LIMBS]);

/// The largest product is below 2^2048, and there is room for a few of these and the sign.
const LIMBS: usize = 67;

impl Exact {
    fn new() -> Self {
        Self([0; LIMBS])
    }

    /// Adds the product of two numbers that are finite.
    fn add(mut self, a: f64, b: f64) -> Self {
        let parts = |x: f64| {
            let (exponent, fraction) = (x.to_bits() >> 52 & 0x7ff, x.to_bits() & ((1 << 52) - 1));
            // the number is `whole * 2^(exponent - 1074)`
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) }
        };
        let ((a_whole, a_exponent), (b_whole, b_exponent)) = (parts(a), parts(b));
        let (product, place) = (u128::from(a_whole) * u128::from(b_whole), (a_exponent + b_exponent) as usize);
        let (low, high) = (product << (place % 64), if place % 64 == 0 { 0 } else { product >> (128 - place % 64) });
        let words = [low as u64, (low >> 64) as u64, high as u64];
        let negative = a.is_sign_negative() != b.is_sign_negative();
        let mut carry = false;
        for (n, limb) in self.0.iter_mut().skip(place / 64).enumerate() {
            let word = words.get(n).copied().unwrap_or(0);
            let (sum, first) = if negative { limb.overflowing_sub(word) } else { limb.overflowing_add(word) };
            let carried = u64::from(carry);
            let (sum, second) = if negative { sum.overflowing_sub(carried) } else { sum.overflowing_add(carried) };
            (*limb, carry) = (sum, first || second);
            if n >= words.len() && !carry {
                break;
            }
        }
        self
    }

    /// Whether it is negative, zero or positive: -1, 0 or 1.
    fn sign(&self) -> i32 {
        if self.0[LIMBS - 1] >> 63 == 1 { -1 } else { i32::from(self.0.iter().any(|limb| *limb != 0)) }
    }
}

/// The number that is nearest to an exact one, moved if the exact one is on the other side. `error` is the sign of the
/// exact number less `nearest`, and is asked only if that is finite.
fn toward(nearest: f64, toward: Toward, error: impl Fn() -> i32) -> f64 {
    let error = if nearest.is_finite() { error() } else { 0 };
    let positive = nearest > 0.0 || nearest == 0.0 && error > 0;
    let down = error < 0 && (toward == Toward::Down || toward == Toward::Zero && positive);
    let up = error > 0 && (toward == Toward::Up || toward == Toward::Zero && !positive);
    if down {
        nearest.next_down()
    } else if up {
        nearest.next_up()
    } else {
        nearest
    }
}

/// What too large a result is when rounded: the largest number, or infinity.
fn overflow(nearest: f64, finite: bool, direction: Toward) -> f64 {
    if !nearest.is_infinite() || !finite {
        return nearest;
    }
    match direction {
        Toward::Zero => f64::MAX.copysign(nearest),
        Toward::Down if nearest > 0.0 => f64::MAX,
        Toward::Up if nearest < 0.0 => f64::MIN,
        _ => nearest,
    }
}

fn fma(a: f64, b: f64, c: f64, direction: Toward) -> f64 {
    let nearest = a.mul_add(b, c);
    let finite = a.is_finite() && b.is_finite() && c.is_finite();
    let error = || Exact::new().add(a, b).add(c, 1.0).add(nearest, -1.0).sign();
    if nearest == 0.0 && direction == Toward::Down && error() == 0 {
        // Zero as a sum is negative, unless both parts are positive.
        let negative = a.is_sign_negative() != b.is_sign_negative();
        return if negative || c.is_sign_negative() { -0.0 } else { 0.0 };
    }
    overflow(toward(nearest, direction, error), finite, direction)
}

fn mul(a: f64, b: f64, direction: Toward) -> f64 {
    let nearest = a * b;
    let error = || Exact::new().add(a, b).add(nearest, -1.0).sign();
    overflow(toward(nearest, direction, error), a.is_finite() && b.is_finite(), direction)
}

fn div(a: f64, b: f64, direction: Toward) -> f64 {
    let nearest = a / b;
    if !a.is_finite() || !b.is_finite() || b == 0.0 {
        return nearest;
    }
    // the remainder has the sign of the error, if the divisor is positive
    let error = || Exact::new().add(a, 1.0).add(nearest, -b).sign() * if b > 0.0 { 1 } else { -1 };
    overflow(toward(nearest, direction, error), true, direction)
}

fn sqrt(a: f64, direction: Toward) -> f64 {
    let nearest = a.sqrt();
    toward(nearest, direction, || Exact::new().add(a, 1.0).add(nearest, -nearest).sign())
}

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

macro_rules! directed {
    ($rounding:literal, $toward:ident) => {
        [
            map!(concat!("add.", $rounding, ".f64"), |a: f64, b: f64| -> f64 { fma(a, 1.0, b, Toward::$toward) }),
            map!(concat!("sub.", $rounding, ".f64"), |a: f64, b: f64| -> f64 { fma(a, 1.0, -b, Toward::$toward) }),
            map!(concat!("mul.", $rounding, ".f64"), |a: f64, b: f64| -> f64 { mul(a, b, Toward::$toward) }),
            map!(concat!("fma.", $rounding, ".f64"), |a: f64, b: f64, c: f64| -> f64 { fma(a, b, c, Toward::$toward) }),
            map!(concat!("div.", $rounding, ".f64"), |a: f64, b: f64| -> f64 { div(a, b, Toward::$toward) }),
            map!(concat!("rcp.", $rounding, ".f64"), |a: f64| -> f64 { div(1.0, a, Toward::$toward) }),
            map!(concat!("sqrt.", $rounding, ".f64"), |a: f64| -> f64 { sqrt(a, Toward::$toward) }),
        ]
    };
}

macro_rules! halves {
    ($rounding:literal, $toward:ident) => {
        from_integer!($rounding, $toward:
            u8, "u8"; i8, "s8"; u16, "u16"; i16, "s16"; u32, "u32"; i32, "s32"; u64, "u64"; i64, "s64";)
    };
}

pub(super) const FORMS: &[&[Form]] = &[
    &directed!("rz", Zero),
    &directed!("rm", Down),
    &directed!("rp", Up),
    &halves!("rz", Zero),
    &halves!("rm", Down),
    &halves!("rp", Up),
];
