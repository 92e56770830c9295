//! Double precision with directed rounding, on whole numbers: what is computed is exact, or knows that it is not, until
//! it is rounded once. It is slow, and rare in kernels.

use super::float::Toward;
use super::{Form, map};

/// A finite number: `magnitude * 2^exponent`, where the last bit of a magnitude of more than 64 bits may stand for any
/// that were cut off below it.
#[derive(Clone, Copy)]
struct Exact {
    negative: bool,
    magnitude: u128,
    exponent: i32,
}

/// The exponent of the least number above zero.
const LEAST: i32 = -1074;
/// How many bits a magnitude has here at most: one less than 127, so that the sum of two fits.
const BITS: u32 = 126;

impl Exact {
    fn of(x: f64) -> Self {
        let (field, fraction) = ((x.to_bits() >> 52 & 0x7ff) as i32, x.to_bits() & ((1 << 52) - 1));
        let implied = if field == 0 { 0 } else { 1 << 52 };
        Self {
            negative: x.is_sign_negative(),
            magnitude: u128::from(fraction | implied),
            exponent: LEAST + (field - 1).max(0),
        }
    }

    /// The same number with its highest bit in the highest place, if it is not zero.
    fn normalized(self) -> Self {
        let shift = self.magnitude.leading_zeros() as i32 - (128 - BITS as i32);
        Self { magnitude: self.magnitude << shift, exponent: self.exponent - shift, ..self }
    }

    fn plus(self, other: Self, toward: Toward) -> Self {
        match (self.magnitude, other.magnitude) {
            (0, 0) if self.negative != other.negative => return Self { negative: toward == Toward::Down, ..self },
            (0, _) => return other,
            (_, 0) => return self,
            _ => {}
        }
        let (a, b) = (self.normalized(), other.normalized());
        let (large, small) = if (a.exponent, a.magnitude) >= (b.exponent, b.magnitude) { (a, b) } else { (b, a) };
        // Products have 106 bits, so what nearly cancels loses none here.
        let shift = (large.exponent - small.exponent) as u32;
        let (kept, lost) = match shift {
            BITS.. => (0, true),
            _ => (small.magnitude >> shift, small.magnitude & ((1 << shift) - 1) != 0),
        };
        let small = kept | u128::from(lost);
        if large.negative == b.negative && large.negative == a.negative {
            return Self { magnitude: large.magnitude + small, ..large };
        }
        match large.magnitude - small {
            0 => Self { negative: toward == Toward::Down, magnitude: 0, exponent: 0 },
            magnitude => Self { magnitude, ..large },
        }
    }

    fn round(self, toward: Toward) -> f64 {
        let sign = u64::from(self.negative) << 63;
        if self.magnitude == 0 {
            return f64::from_bits(sign);
        }
        let bits = 128 - self.magnitude.leading_zeros() as i32;
        let cut = (bits - 53).max(LEAST - self.exponent);
        let (kept, inexact) = match cut {
            ..=0 => (self.magnitude << -cut, false),
            1..128 => (self.magnitude >> cut, self.magnitude & ((1 << cut) - 1) != 0),
            _ => (0, true),
        };
        let away = match toward {
            Toward::Zero => false,
            Toward::Down => self.negative,
            Toward::Up => !self.negative,
        };
        let kept = kept as u64 + u64::from(inexact && away);
        // The implied bit of a normal number adds one to the exponent field, and so does a carry out of the fraction.
        let field = (self.exponent + cut - LEAST) as u64;
        let magnitude = (field << 52) + kept;
        let infinity = f64::INFINITY.to_bits();
        if field >= 0x7ff || magnitude >= infinity {
            return f64::from_bits(sign | if away { infinity } else { infinity - 1 });
        }
        f64::from_bits(sign | magnitude)
    }
}

/// `a * b + c`
fn fma(a: f64, b: f64, c: f64, toward: Toward) -> f64 {
    if !(a.is_finite() && b.is_finite() && c.is_finite()) {
        return a.mul_add(b, c);
    }
    let (a, b) = (Exact::of(a), Exact::of(b));
    let product = Exact {
        negative: a.negative != b.negative,
        magnitude: a.magnitude * b.magnitude,
        exponent: a.exponent + b.exponent,
    };
    product.plus(Exact::of(c), toward).round(toward)
}

fn mul(a: f64, b: f64, toward: Toward) -> f64 {
    // a zero of the product's own sign changes nothing
    fma(a, b, if a.is_sign_negative() == b.is_sign_negative() { 0.0 } else { -0.0 }, toward)
}

fn div(a: f64, b: f64, toward: Toward) -> f64 {
    if !(a.is_finite() && b.is_finite()) || a == 0.0 || b == 0.0 {
        return a / b;
    }
    let (a, b) = (Exact::of(a).normalized(), Exact::of(b));
    let (whole, rest) = (a.magnitude / b.magnitude, a.magnitude % b.magnitude);
    // At least 73 bits, so the one that stands for the rest is below those that stay.
    let quotient = Exact {
        negative: a.negative != b.negative,
        magnitude: whole << 1 | u128::from(rest != 0),
        exponent: a.exponent - b.exponent - 1,
    };
    quotient.round(toward)
}

fn sqrt(a: f64, toward: Toward) -> f64 {
    if !a.is_finite() || a <= 0.0 {
        return a.sqrt();
    }
    let mut a = Exact::of(a).normalized();
    if a.exponent & 1 != 0 {
        a = Exact { magnitude: a.magnitude >> 1, exponent: a.exponent + 1, ..a };
    }
    let root = a.magnitude.isqrt();
    let rest = root * root != a.magnitude;
    Exact { negative: false, magnitude: root << 1 | u128::from(rest), exponent: a.exponent / 2 - 1 }.round(toward)
}

/// All operations with one rounding.
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

pub(super) const FORMS: &[&[Form]] = &[&directed!("rz", Zero), &directed!("rm", Down), &directed!("rp", Up)];
