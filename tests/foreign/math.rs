//! Functions of real numbers in `misc.cu`, against those of the C library in double precision, within the error that CUDA's
//! documentation states for each.

use crate::program::Program;
use crate::random;

/// The C library's functions that Rust does not have, or has less exactly.
mod c {
    // SAFETY: these are declared in <math.h> as here, and defined for all arguments. (`lgamma` writes a sign that is nobody's
    // here, and which no other thread reads.)
    unsafe extern "C" {
        pub(super) safe fn acosh(x: f64) -> f64;
        pub(super) safe fn asinh(x: f64) -> f64;
        pub(super) safe fn atanh(x: f64) -> f64;
        pub(super) safe fn erf(x: f64) -> f64;
        pub(super) safe fn erfc(x: f64) -> f64;
        pub(super) safe fn lgamma(x: f64) -> f64;
        pub(super) safe fn tgamma(x: f64) -> f64;
        pub(super) safe fn exp10(x: f64) -> f64;
        pub(super) safe fn remainder(x: f64, y: f64) -> f64;
    }
}

/// A function, and the largest error in units of the last place in double precision and in single.
type OfOne = (&'static str, fn(f64) -> f64, f64, f64);
type OfTwo = (&'static str, fn(f64, f64) -> f64, f64, f64);

const OF_ONE: [OfOne; 32] = [
    ("sin", f64::sin, 2.0, 2.0),
    ("cos", f64::cos, 2.0, 2.0),
    ("tan", f64::tan, 2.0, 4.0),
    ("asin", f64::asin, 2.0, 2.0),
    ("acos", f64::acos, 2.0, 2.0),
    ("atan", f64::atan, 2.0, 2.0),
    ("sinh", f64::sinh, 2.0, 3.0),
    ("cosh", f64::cosh, 1.0, 2.0),
    ("tanh", f64::tanh, 1.0, 2.0),
    ("asinh", |x| c::asinh(x), 3.0, 3.0),
    ("acosh", |x| c::acosh(x), 3.0, 4.0),
    ("atanh", |x| c::atanh(x), 2.0, 3.0),
    ("exp", f64::exp, 1.0, 2.0),
    ("exp2", f64::exp2, 1.0, 2.0),
    ("exp10", |x| c::exp10(x), 1.0, 2.0),
    ("expm1", f64::exp_m1, 1.0, 1.0),
    ("log", f64::ln, 1.0, 1.0),
    ("log2", f64::log2, 1.0, 1.0),
    ("log10", f64::log10, 1.0, 2.0),
    ("log1p", f64::ln_1p, 1.0, 1.0),
    ("sqrt", f64::sqrt, 0.0, 0.0),
    ("rsqrt", |x| 1.0 / x.sqrt(), 1.0, 2.0),
    ("cbrt", f64::cbrt, 1.0, 1.0),
    ("erf", |x| c::erf(x), 2.0, 2.0),
    ("erfc", |x| c::erfc(x), 5.0, 4.0),
    ("lgamma", |x| c::lgamma(x), 4.0, 6.0),
    ("tgamma", |x| c::tgamma(x), 10.0, 5.0),
    ("floor", f64::floor, 0.0, 0.0),
    ("ceil", f64::ceil, 0.0, 0.0),
    ("rint", f64::round_ties_even, 0.0, 0.0),
    ("trunc", f64::trunc, 0.0, 0.0),
    ("round", f64::round, 0.0, 0.0),
];

const OF_TWO: [OfTwo; 7] = [
    ("pow", f64::powf, 2.0, 4.0),
    ("fmod", |x, y| x % y, 0.0, 0.0),
    ("atan2", f64::atan2, 2.0, 3.0),
    ("hypot", f64::hypot, 2.0, 3.0),
    ("remainder", |x, y| c::remainder(x, y), 0.0, 0.0),
    ("fdim", |x, y| if x <= y { 0.0 } else { x - y }, 0.0, 0.0),
    ("copysign", f64::copysign, 0.0, 0.0),
];

/// What else is in doubt of a reference in double precision, in units of its last place.
const OF_REFERENCE: f64 = 3.0;

/// Values of many magnitudes, and edges.
fn arguments(seed: u64) -> Vec<f32> {
    let scales = [1.0, 4.0, 0.01, 30.0, 1e-4, 1000.0];
    let random = random::floats(seed, 180);
    let mut x: Vec<f32> = random.into_iter().enumerate().map(|(at, x)| x * scales[at % scales.len()]).collect();
    x.extend([0.0, -0.0, 0.5, 1.0, -1.0, 1.5, 2.0, 2.5, 3.0, -2.5, 10.0, 1e-30, 1e5, 1e15, f32::MIN_POSITIVE]);
    x.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
    x
}

/// Checks a value against a reference, within so many units of the last place of a type with `digits` bits.
fn compare(what: &str, found: f64, expected: f64, ulps: f64, digits: i32) {
    let (least, largest) = if digits == 24 { (-126, f64::from(f32::MAX)) } else { (-1022, f64::MAX) };
    if expected.is_nan() || found.is_nan() {
        return assert!(expected.is_nan() && found.is_nan(), "{what}: {found} for {expected}");
    }
    if expected.abs() > largest || found.is_infinite() {
        // Close to the largest number either is right.
        return assert!(
            found.abs() >= largest * 0.999 && expected.abs() >= largest * 0.999,
            "{what}: {found} for {expected}"
        );
    }
    let exponent = if expected == 0.0 { least } else { (expected.abs().log2().floor() as i32).max(least) };
    let unit = f64::from(exponent - digits + 1).exp2();
    // Half a unit is that of rounding a reference which has more digits than the result.
    let slack = if digits == 53 { if ulps == 0.0 { 0.0 } else { OF_REFERENCE } } else { 0.5 };
    assert!((found - expected).abs() <= (ulps + slack) * unit, "{what}: {found:e} for {expected:e}, {ulps} ulp");
}

/// Between its zeros below -2 the logarithm of the gamma function has no such bound.
fn bounded(name: &str, x: f64) -> bool {
    name != "lgamma" || x > -2.0
}

pub(crate) fn check(program: &Program) {
    let (x, y) = (arguments(1), arguments(2).into_iter().rev().collect::<Vec<_>>());
    let [dx, dy] = [&x, &y].map(|x| x.iter().map(|&x| f64::from(x) * (1.0 + 1e-9)).collect::<Vec<f64>>());
    let n = x.len();
    let threads = |kernel| program.call(kernel).blocks(n.div_ceil(64) as u32).threads(64);
    threads("double_of_one").input(&dx).output::<f64>(32 * n).value(n as i32).run(|results| {
        for (found, (name, of, ulps, _)) in results.get::<f64>(0).chunks(n).zip(OF_ONE) {
            for (&x, &found) in dx.iter().zip(found).filter(|(x, _)| bounded(name, **x)) {
                compare(&format!("{name}({x:e})"), found, of(x), ulps, 53);
            }
        }
    });
    threads("float_of_one").input(&x).output::<f32>(32 * n).value(n as i32).run(|results| {
        for (found, (name, of, _, ulps)) in results.get::<f32>(0).chunks(n).zip(OF_ONE) {
            for (&x, &found) in x.iter().zip(found).filter(|(x, _)| bounded(name, f64::from(**x))) {
                compare(&format!("{name}f({x:e})"), found.into(), of(x.into()), ulps, 24);
            }
        }
    });
    threads("double_of_two").input(&dx).input(&dy).output::<f64>(7 * n).value(n as i32).run(|results| {
        for (found, (name, of, ulps, _)) in results.get::<f64>(0).chunks(n).zip(OF_TWO) {
            for i in 0..n {
                compare(&format!("{name}({:e}, {:e})", dx[i], dy[i]), found[i], of(dx[i], dy[i]), ulps, 53);
            }
        }
    });
    threads("float_of_two").input(&x).input(&y).output::<f32>(7 * n).value(n as i32).run(|results| {
        for (found, (name, of, _, ulps)) in results.get::<f32>(0).chunks(n).zip(OF_TWO) {
            for i in 0..n {
                let expected = of(x[i].into(), y[i].into());
                compare(&format!("{name}f({:e}, {:e})", x[i], y[i]), found[i].into(), expected, ulps, 24);
            }
        }
    });
}
