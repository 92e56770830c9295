//! Floating-point arithmetic on whole numbers of any length: what the IEEE says, without anything that rounds.

use num_bigint::BigUint;

/// A format: the bits of its fraction, those of its exponent, and its canonical NaN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Format {
    fraction: u32,
    exponent: u32,
    nan: u64,
}

pub const F16: Format = Format { fraction: 10, exponent: 5, nan: 0x7fff };
pub const BF16: Format = Format { fraction: 7, exponent: 8, nan: 0x7fff };
/// In the upper 19 bits of 32.
pub const TF32: Format = Format { fraction: 10, exponent: 8, nan: 0x3ffff };
pub const F32: Format = Format { fraction: 23, exponent: 8, nan: 0x7fff_ffff };
pub const F64: Format = Format { fraction: 52, exponent: 11, nan: 0x7ff8_0000_0000_0000 };

/// A number taken apart.
#[derive(Clone, PartialEq, Debug)]
pub enum Number {
    Nan,
    /// Negative or not.
    Infinite(bool),
    /// Negative or not, and `magnitude * 2^exponent`.
    Finite(bool, BigUint, i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

use Number::{Finite, Infinite, Nan};

impl Rounding {
    pub fn all() -> [(&'static str, Self); 4] {
        [("rn", Self::Nearest), ("rz", Self::Zero), ("rm", Self::Down), ("rp", Self::Up)]
    }
}

impl Format {
    pub fn of(ty: &str) -> Self {
        match ty {
            "f16" => F16,
            "bf16" => BF16,
            "f32" => F32,
            "f64" => F64,
            _ => panic!("{ty} is not a floating-point type"),
        }
    }

    fn width(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    pub fn sign(self) -> u64 {
        1 << (self.width() - 1)
    }

    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    /// The exponent of the least number above zero.
    fn least(self) -> i32 {
        2 - (1 << (self.exponent - 1)) - self.fraction as i32
    }

    pub fn canonical_nan(self) -> u64 {
        self.nan
    }

    pub fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }

    pub fn is_negative(self, bits: u64) -> bool {
        bits & self.sign() != 0
    }

    pub fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign() - 1);
        magnitude != 0 && magnitude >> self.fraction == 0
    }

    /// `bits`, or a zero of its sign if it is subnormal.
    pub fn flush(self, bits: u64) -> u64 {
        if self.is_subnormal(bits) { bits & self.sign() } else { bits }
    }

    pub fn decode(self, bits: u64) -> Number {
        let negative = self.is_negative(bits);
        let magnitude = bits & (self.sign() - 1);
        let (field, fraction) = (magnitude >> self.fraction, magnitude & ((1 << self.fraction) - 1));
        match magnitude {
            _ if magnitude > self.infinity() => Nan,
            _ if magnitude == self.infinity() => Infinite(negative),
            _ if field == 0 => Finite(negative, fraction.into(), self.least()),
            _ => Finite(negative, (fraction | 1 << self.fraction).into(), self.least() + field as i32 - 1),
        }
    }

    /// The bits of a number, which the format holds or which is rounded once.
    pub fn encode(self, number: &Number, rounding: Rounding) -> u64 {
        match number {
            Nan => self.nan,
            Infinite(negative) => self.infinity() | (u64::from(*negative) * self.sign()),
            Finite(negative, magnitude, exponent) => self.rounded(*negative, magnitude, *exponent, false, rounding),
        }
    }

    /// `magnitude * 2^exponent` rounded once; `more` says that the exact number lies above it by less than one unit of
    /// the magnitude, which then has at least two bits that are rounded away.
    fn rounded(self, negative: bool, magnitude: &BigUint, exponent: i32, more: bool, rounding: Rounding) -> u64 {
        let sign = u64::from(negative) * self.sign();
        if magnitude.bits() == 0 {
            return sign;
        }
        let cut = (magnitude.bits() as i32 - self.fraction as i32 - 1).max(self.least() - exponent);
        assert!(!more || cut >= 2);
        let (mut kept, exponent) = if cut > 0 {
            let kept = magnitude >> cut;
            let rest = magnitude - (&kept << cut);
            let half = BigUint::from(1u32) << (cut - 1);
            let odd = kept.bit(0);
            let exact = rest.bits() == 0 && !more;
            let up = match rounding {
                Rounding::Nearest => rest > half || rest == half && (more || odd),
                Rounding::Zero => false,
                Rounding::Down => negative && !exact,
                Rounding::Up => !negative && !exact,
            };
            (if up { kept + 1u32 } else { kept }, exponent + cut)
        } else {
            (magnitude.clone(), exponent)
        };
        // what is short of a normal number has room below
        let mut exponent = exponent;
        while kept.bits() != 0 && kept.bits() <= u64::from(self.fraction) && exponent > self.least() {
            kept <<= 1;
            exponent -= 1;
        }
        if kept.bits() > u64::from(self.fraction) + 1 {
            kept >>= 1;
            exponent += 1;
        }
        // The implied bit of a normal number adds one to the exponent field.
        let field = BigUint::from((exponent - self.least()) as u32) << self.fraction;
        let bits = u128::try_from(field + kept).expect("an exponent of 32 bits");
        if bits < u128::from(self.infinity()) {
            return sign | bits as u64;
        }
        let to_infinity = match rounding {
            Rounding::Nearest => true,
            Rounding::Zero => false,
            Rounding::Down => negative,
            Rounding::Up => !negative,
        };
        sign | if to_infinity { self.infinity() } else { self.infinity() - 1 }
    }

    /// `a * b + c`.
    pub fn fma(self, a: u64, b: u64, c: u64, rounding: Rounding) -> u64 {
        let product = match (self.decode(a), self.decode(b)) {
            (Nan, _) | (_, Nan) => Nan,
            (Infinite(a), Infinite(b)) => Infinite(a != b),
            (Infinite(a), Finite(b, m, _)) | (Finite(a, m, _), Infinite(b)) => {
                if m.bits() == 0 {
                    Nan
                } else {
                    Infinite(a != b)
                }
            }
            (Finite(a, x, e), Finite(b, y, f)) => Finite(a != b, x * y, e + f),
        };
        self.encode(&sum(product, self.decode(c), rounding), rounding)
    }

    pub fn add(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        self.encode(&sum(self.decode(a), self.decode(b), rounding), rounding)
    }

    pub fn sub(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        self.add(a, if self.is_nan(b) { b } else { b ^ self.sign() }, rounding)
    }

    pub fn mul(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        // A zero of the product's own sign changes nothing.
        let sign = (a ^ b) & self.sign();
        self.fma(a, b, sign, rounding)
    }

    pub fn div(self, a: u64, b: u64, rounding: Rounding) -> u64 {
        let negative = (a ^ b) & self.sign() != 0;
        let zero = Finite(negative, BigUint::ZERO, 0);
        let quotient = match (self.decode(a), self.decode(b)) {
            (Nan, _) | (_, Nan) | (Infinite(_), Infinite(_)) => Nan,
            (Infinite(_), Finite(..)) => Infinite(negative),
            (Finite(..), Infinite(_)) => zero,
            (Finite(_, x, e), Finite(_, y, f)) => match (x.bits(), y.bits()) {
                (0, 0) => Nan,
                (0, _) => zero,
                (_, 0) => Infinite(negative),
                _ => {
                    let places = 2 * self.fraction + 8;
                    let scaled = x << places;
                    let whole = &scaled / &y;
                    let more = &whole * &y != scaled;
                    return self.rounded(negative, &whole, e - f - places as i32, more, rounding);
                }
            },
        };
        self.encode(&quotient, rounding)
    }

    pub fn sqrt(self, a: u64, rounding: Rounding) -> u64 {
        match self.decode(a) {
            Finite(_, x, _) if x.bits() == 0 => a,
            Finite(false, x, e) => {
                // an even exponent, and twice the places that the root is to have
                let places = 2 * self.fraction as i32 + 8 + (e & 1);
                let scaled = x << places;
                let root = scaled.sqrt();
                let more = &root * &root != scaled;
                self.rounded(false, &root, (e - places) / 2, more, rounding)
            }
            Infinite(false) => a,
            _ => self.nan,
        }
    }

    /// The order of two numbers, if neither is NaN.
    pub fn compare(self, a: u64, b: u64) -> Option<std::cmp::Ordering> {
        if self.is_nan(a) || self.is_nan(b) {
            return None;
        }
        // Magnitudes are ordered as their bits are; both zeros are one.
        let place = |bits: u64| {
            let magnitude = i128::from(bits & (self.sign() - 1));
            if self.is_negative(bits) { -magnitude } else { magnitude }
        };
        Some(place(a).cmp(&place(b)))
    }

    /// The larger one; +0 is above -0, and a number wins over NaN.
    pub fn max(self, a: u64, b: u64) -> u64 {
        match (self.is_nan(a), self.is_nan(b)) {
            (true, true) => self.nan,
            (true, false) => b,
            (false, true) => a,
            _ => match self.compare(a, b) {
                Some(std::cmp::Ordering::Greater) => a,
                Some(std::cmp::Ordering::Less) => b,
                _ => a & b,
            },
        }
    }

    pub fn min(self, a: u64, b: u64) -> u64 {
        match (self.is_nan(a), self.is_nan(b)) {
            (false, false) => self.max(a ^ self.sign(), b ^ self.sign()) ^ self.sign(),
            _ => self.max(a, b),
        }
    }

    /// The nearest whole number by a rounding, as an integer, of a finite number.
    pub fn whole(negative: bool, magnitude: &BigUint, exponent: i32, rounding: Rounding) -> BigUint {
        if exponent >= 0 {
            return magnitude << exponent;
        }
        let cut = -exponent;
        let kept = magnitude >> cut;
        let rest = magnitude - (&kept << cut);
        let half = BigUint::from(1u32) << (cut - 1);
        let up = match rounding {
            Rounding::Nearest => rest > half || rest == half && kept.bit(0),
            Rounding::Zero => false,
            Rounding::Down => negative && rest.bits() != 0,
            Rounding::Up => !negative && rest.bits() != 0,
        };
        if up { kept + 1u32 } else { kept }
    }

    /// Clamped to 0..=1; NaN becomes +0.
    pub fn saturate(self, bits: u64) -> u64 {
        let one = ((1 << (self.exponent - 1)) - 1) << self.fraction;
        if self.is_nan(bits) || self.is_negative(bits) { 0 } else { bits.min(one) }
    }

    /// Negative numbers become +0, NaN the canonical one.
    pub fn relu(self, bits: u64) -> u64 {
        match (self.is_nan(bits), self.is_negative(bits)) {
            (true, _) => self.nan,
            (_, true) => 0,
            _ => bits,
        }
    }

    /// The power of two that is the first beyond the format.
    pub fn beyond(self) -> f64 {
        2f64.powi((1 << (self.exponent - 1)) - 1) * 2.0
    }

    /// The value in double precision, which holds every narrower number. Infinity is [`Format::beyond`].
    pub fn approximate(self, bits: u64) -> f64 {
        let (negative, magnitude) = match self.decode(bits) {
            Nan => return f64::NAN,
            Infinite(negative) => (negative, self.beyond()),
            Finite(negative, magnitude, exponent) => {
                let magnitude = u64::try_from(&magnitude).expect("a fraction has up to 53 bits") as f64;
                // in two steps, for the powers of subnormal numbers are subnormal themselves
                (negative, magnitude * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2))
            }
        };
        if negative { -magnitude } else { magnitude }
    }

    /// The distance of the numbers around a value.
    pub fn ulp(self, value: f64) -> f64 {
        let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1075).max(-1074);
        2f64.powi((exponent + 52 - self.fraction as i32).max(self.least()))
    }

    /// 1.0
    pub fn one(self) -> u64 {
        ((1 << (self.exponent - 1)) - 1) << self.fraction
    }
}

/// The exact sum; a sum of zero is positive, but when rounding down, unless both are of one sign.
fn sum(a: Number, b: Number, rounding: Rounding) -> Number {
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite(a), Infinite(b)) => {
            if a == b {
                Infinite(a)
            } else {
                Nan
            }
        }
        (Infinite(a), _) | (_, Infinite(a)) => Infinite(a),
        (Finite(a, x, e), Finite(b, y, f)) => {
            let least = e.min(f);
            let (x, y) = (x << (e - least), y << (f - least));
            let (negative, total) = match (a == b, x.cmp(&y)) {
                (true, _) => (a, x + y),
                (_, std::cmp::Ordering::Greater) => (a, x - y),
                (_, std::cmp::Ordering::Less) => (b, y - x),
                _ => (rounding == Rounding::Down, BigUint::ZERO),
            };
            Finite(negative, total, least)
        }
    }
}

#[test]
fn single_and_double_precision_are_those_of_this_processor() {
    // the one rounding that the processor has, on numbers of every kind
    let mut state = 1u64;
    for n in 0..20_000u64 {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n | 1);
            state ^ state >> 29
        };
        let (a, b, c) = (next(), next(), next());
        let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
        let same = |found: u64, expected: f64| {
            assert!(found == expected.to_bits() || F64.is_nan(found) && expected.is_nan(), "{x:e} {y:e} {z:e}");
        };
        same(F64.fma(a, b, c, Rounding::Nearest), x.mul_add(y, z));
        same(F64.div(a, b, Rounding::Nearest), x / y);
        same(F64.sqrt(a, Rounding::Nearest), x.sqrt());
        let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
        let (a, b) = (a & 0xffff_ffff, b & 0xffff_ffff);
        let same = |found: u64, expected: f32| {
            assert!(found == expected.to_bits().into() || F32.is_nan(found) && expected.is_nan(), "{x:e} {y:e}");
        };
        same(F32.add(a, b, Rounding::Nearest), x + y);
        same(F32.mul(a, b, Rounding::Nearest), x * y);
        same(F32.div(a, b, Rounding::Nearest), x / y);
    }
}
