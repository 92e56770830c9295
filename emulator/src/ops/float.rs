//! Floating-point arithmetic.
//!
//! What the ISA calls correctly rounded is so, to the bit. Approximations are better than the ISA asks: most are
//! computed in double precision and rounded once. A result that is not a number is the canonical one.

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

/// A sum in double precision with one directed rounding.
#[inline(always)]
fn add_toward_f64(a: f64, b: f64, toward: Toward) -> f64 {
    let sum = a + b;
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    if sum == 0.0 {
        let negative = a.is_sign_negative() || b.is_sign_negative();
        return if toward == Toward::Down && negative { -0.0 } else { sum };
    }
    let positive = sum > 0.0;
    let (inward, outward) = match toward {
        Toward::Zero => (true, false),
        Toward::Down => (positive, !positive),
        Toward::Up => (!positive, positive),
    };
    if sum.is_infinite() {
        // Finite numbers whose sum is too large for the type.
        let overflow = a.is_finite() && b.is_finite();
        return if overflow && inward { f64::MAX.copysign(sum) } else { sum };
    }
    // Where the nearest number is too far out or too far in, it is the neighbour.
    let magnitude = if positive { error } else { -error };
    let step = if magnitude < 0.0 && inward { -1 } else { i64::from(magnitude > 0.0 && outward) };
    f64::from_bits(sum.to_bits().wrapping_add_signed(step))
}

/// The upper half of `x`, as the approximations in double precision have it; subnormal numbers are zero.
#[inline(always)]
fn upper_half(x: f64) -> f64 {
    let kept = if x.abs() < f64::MIN_POSITIVE { 1 << 63 } else { !0 << 32 };
    f64::from_bits(x.to_bits() & kept)
}

/// An operation of two sources with all its spellings: rounding stated or not, subnormals kept or flushed.
macro_rules! rounded {
    ($root:literal, |$a:ident, $b:ident| $value:expr) => {
        [
            map!(concat!($root, ".f32"), |$a: f32, $b: f32| -> f32 { canonical($value) }),
            map!(concat!($root, ".rn.f32"), |$a: f32, $b: f32| -> f32 { canonical($value) }),
            map!(concat!($root, ".ftz.f32"), |$a: f32, $b: f32| -> f32 {
                let ($a, $b) = (flush($a), flush($b));
                flush(canonical($value))
            }),
            map!(concat!($root, ".rn.ftz.f32"), |$a: f32, $b: f32| -> f32 {
                let ($a, $b) = (flush($a), flush($b));
                flush(canonical($value))
            }),
            map!(concat!($root, ".f64"), |$a: f64, $b: f64| -> f64 { $value }),
            map!(concat!($root, ".rn.f64"), |$a: f64, $b: f64| -> f64 { $value }),
        ]
    };
}

/// A function of one number, subnormals kept or flushed.
macro_rules! function {
    ($root:literal, |$a:ident| $value:expr) => {
        [
            map!(concat!($root, ".f32"), |$a: f32| -> f32 { $value }),
            map!(concat!($root, ".ftz.f32"), |$a: f32| -> f32 {
                let $a = flush($a);
                flush($value)
            }),
        ]
    };
}

/// A function of two numbers, subnormals kept or flushed.
macro_rules! function_of_two {
    ($root:literal, |$a:ident, $b:ident| $value:expr) => {
        [
            map!(concat!($root, ".f32"), |$a: f32, $b: f32| -> f32 { $value }),
            map!(concat!($root, ".ftz.f32"), |$a: f32, $b: f32| -> f32 {
                let ($a, $b) = (flush($a), flush($b));
                flush($value)
            }),
        ]
    };
}

/// Multiplication and fused multiplication and addition with one directed rounding.
macro_rules! directed {
    ($rounding:literal, $toward:ident) => {
        [
            map!(concat!("fma.", $rounding, ".f32"), |a: f32, b: f32, c: f32| -> f32 {
                fma_toward(a, b, c, Toward::$toward)
            }),
            map!(concat!("fma.", $rounding, ".ftz.f32"), |a: f32, b: f32, c: f32| -> f32 {
                flush(fma_toward(flush(a), flush(b), flush(c), Toward::$toward))
            }),
            map!(concat!("add.", $rounding, ".f32"), |a: f32, b: f32| -> f32 {
                fma_toward(a, 1.0, b, Toward::$toward)
            }),
            map!(concat!("sub.", $rounding, ".f32"), |a: f32, b: f32| -> f32 {
                fma_toward(a, 1.0, -b, Toward::$toward)
            }),
            map!(concat!("add.", $rounding, ".f64"), |a: f64, b: f64| -> f64 { add_toward_f64(a, b, Toward::$toward) }),
            map!(concat!("sub.", $rounding, ".f64"), |a: f64, b: f64| -> f64 {
                add_toward_f64(a, -b, Toward::$toward)
            }),
            map!(concat!("mul.", $rounding, ".f32"), |a: f32, b: f32| -> f32 { mul_toward(a, b, Toward::$toward) }),
            map!(concat!("div.", $rounding, ".f32"), |a: f32, b: f32| -> f32 { div_toward(a, b, Toward::$toward) }),
            map!(concat!("rcp.", $rounding, ".f32"), |a: f32| -> f32 { div_toward(1.0, a, Toward::$toward) }),
            map!(concat!("sqrt.", $rounding, ".f32"), |a: f32| -> f32 { sqrt_toward(a, Toward::$toward) }),
        ]
    };
}

pub(super) const FORMS: &[&[Form]] = &[
    &rounded!("add", |a, b| a + b),
    &rounded!("sub", |a, b| a - b),
    &rounded!("mul", |a, b| a * b),
    &directed!("rz", Zero),
    &directed!("rm", Down),
    &directed!("rp", Up),
    &function_of_two!("div.rn", |a, b| canonical(a / b)),
    &function_of_two!("div.approx", |a, b| canonical(a / b)),
    &function_of_two!("div.full", |a, b| canonical(a / b)),
    &function_of_two!("min", |a, b| min(a, b)),
    &function_of_two!("max", |a, b| max(a, b)),
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
        map!("fma.rn.f32", |a: f32, b: f32, c: f32| -> f32 { canonical(a.mul_add(b, c)) }),
        map!("fma.rn.ftz.f32", |a: f32, b: f32, c: f32| -> f32 {
            flush(canonical(flush(a).mul_add(flush(b), flush(c))))
        }),
        map!("copysign.f32", |a: f32, b: f32| -> f32 { b.copysign(a) }),
        map!("fma.rn.f64", |a: f64, b: f64, c: f64| -> f64 { a.mul_add(b, c) }),
        map!("div.rn.f64", |a: f64, b: f64| -> f64 { a / b }),
        map!("rcp.rn.f64", |a: f64| -> f64 { 1.0 / a }),
        map!("sqrt.rn.f64", |a: f64| -> f64 { a.sqrt() }),
        map!("min.f64", |a: f64, b: f64| -> f64 { min_f64(a, b) }),
        map!("max.f64", |a: f64, b: f64| -> f64 { max_f64(a, b) }),
        map!("neg.f64", |a: f64| -> f64 { -a }),
        map!("abs.f64", |a: f64| -> f64 { a.abs() }),
        map!("rsqrt.approx.f64", |a: f64| -> f64 { 1.0 / a.sqrt() }),
        map!("rcp.approx.ftz.f64", |a: f64| -> f64 { upper_half(1.0 / upper_half(a)) }),
        map!("rsqrt.approx.ftz.f64", |a: f64| -> f64 { upper_half(1.0 / upper_half(a).sqrt()) }),
        map!("min.NaN.f32", |a: f32, b: f32| -> f32 {
            if a.is_nan() || b.is_nan() { canonical(f32::NAN) } else { min(a, b) }
        }),
        map!("max.NaN.f32", |a: f32, b: f32| -> f32 {
            if a.is_nan() || b.is_nan() { canonical(f32::NAN) } else { max(a, b) }
        }),
        map!("copysign.f64", |a: f64, b: f64| -> f64 { b.copysign(a) }),
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp2_is_within_the_isa() {
        // ex2.approx.f32 may err by 2 ulp; this stays under one.
        for n in 0..2_000_000u32 {
            let x = f32::from_bits(n.wrapping_mul(2147));
            let expected = f64::from(x).exp2();
            if x.is_nan() || expected > f64::from(f32::MAX) || expected < f64::from(f32::MIN_POSITIVE) {
                continue;
            }
            let nearest = expected as f32;
            let ulp = f64::from(nearest.next_up()) - f64::from(nearest);
            assert!((f64::from(exp2(x)) - expected).abs() <= 0.51 * ulp, "2^{x}");
        }
        assert_eq!((exp2(f32::INFINITY), exp2(f32::NEG_INFINITY), exp2(0.0)), (f32::INFINITY, 0.0, 1.0));
        assert_eq!((exp2(128.0), exp2(127.0), exp2(-149.0)), (f32::INFINITY, 2f32.powi(127), f32::from_bits(1)));
        assert_eq!(exp2(f32::NAN).to_bits(), 0x7fff_ffff);
    }

    #[test]
    fn directed_rounding_brackets_the_exact_sum() {
        let numbers = [0.0, -0.0, 1.0, -1.0, 1.5e-45, 3.4e38, -3.4e38, 1.000_000_1, 0.1, -12_582_912.5, 252.0, 6e-8];
        for a in numbers {
            for b in numbers {
                for c in numbers {
                    let (down, up) = (fma_toward(a, b, c, Toward::Down), fma_toward(a, b, c, Toward::Up));
                    let nearest = a.mul_add(b, c);
                    assert!(down <= nearest && nearest <= up, "{a} {b} {c}: {down} {nearest} {up}");
                    assert!(up == down || up == down.next_up(), "{a} {b} {c}: {down} {up}");
                    let zero = fma_toward(a, b, c, Toward::Zero);
                    assert!(zero.abs() == down.abs().min(up.abs()), "{a} {b} {c}: {zero}");
                }
            }
        }
        assert_eq!(fma_toward(1.0, 1.0, -1.0, Toward::Down).to_bits(), (-0.0f32).to_bits());
        assert_eq!(fma_toward(3e38, 2.0, 0.0, Toward::Down), f32::MAX);
        assert_eq!(fma_toward(f32::INFINITY, 1.0, 1.0, Toward::Down), f32::INFINITY);
        assert!(fma_toward(f32::INFINITY, 1.0, f32::NEG_INFINITY, Toward::Up).is_nan());
    }

    #[test]
    fn directed_sums_in_double_precision() {
        // Sums of numbers m * 2^e with 53-bit m, exact in 128-bit integers.
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        for n in 0..100_000u32 {
            // 53 bits, shifted: each is a number of the type
            let a = (random() as i128) << (n % 60);
            let b = ((random() as i128) << (random() % 60)) * [1, -1][n as usize % 2];
            let sum = a + b;
            for (toward, fits) in [
                (Toward::Down, (|found, exact| found <= exact) as fn(i128, i128) -> bool),
                (Toward::Up, |found, exact| found >= exact),
                (Toward::Zero, |found, exact| found.abs() <= exact.abs()),
            ] {
                let found = add_toward_f64(a as f64, b as f64, toward);
                assert!(fits(found as i128, sum), "{a} + {b}: {found}");
                // and no number is nearer on that side
                let distance = (found as i128 - sum).unsigned_abs();
                let unit = (found.abs().next_up() - found.abs()) as u128;
                assert!(distance == 0 || distance < unit, "{a} + {b}: {found}");
            }
        }
        assert_eq!(add_toward_f64(f64::MAX, f64::MAX, Toward::Zero), f64::MAX);
        assert_eq!(add_toward_f64(-f64::MAX, -f64::MAX, Toward::Down), f64::NEG_INFINITY);
        assert_eq!(add_toward_f64(1.0, -1.0, Toward::Down).to_bits(), (-0.0f64).to_bits());
        assert_eq!(add_toward_f64(1.0, f64::MIN_POSITIVE, Toward::Up), 1.0f64.next_up());
        assert_eq!(add_toward_f64(1.0, -f64::MIN_POSITIVE, Toward::Zero), 1.0f64.next_down());
        assert_eq!(add_toward_f64(f64::INFINITY, 1.0, Toward::Zero), f64::INFINITY);
        assert!(add_toward_f64(f64::INFINITY, f64::NEG_INFINITY, Toward::Up).is_nan());
    }

    #[test]
    fn min_and_max_order_zeros_and_pass_over_nan() {
        assert_eq!(min(0.0, -0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(max(-0.0, 0.0).to_bits(), 0);
        assert_eq!((min(f32::NAN, 2.0), max(2.0, f32::NAN)), (2.0, 2.0));
        assert_eq!(max(f32::NAN, f32::NAN).to_bits(), 0x7fff_ffff);
    }
}
