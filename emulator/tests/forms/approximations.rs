//! Approximations: within the bounds of the ISA on every kind of input, and where the ISA names a result, that one.
//!
//! The references are computed in double precision by series of their own. Each is off by a few of its last places, that
//! is by less than 2^-48 of its value, and the tightest bound here is 2^-23: what the references are off by could hide
//! no more than one part in 2^25 of a bound.

use std::f64::consts::{LN_2, PI, TAU};

use super::Check;
use super::common::Bench;
use super::exact::{BF16, F16, F32, F64, Format};
use super::lanewise::{Expected, lanewise};
use Expected::{Anything, Bits, Nan, Within};

/// The sum of a series whose terms soon vanish, where each is made of the one before it.
fn series(first: f64, terms: i32, next: impl Fn(f64, f64) -> f64) -> f64 {
    let (mut sum, mut term) = (first, first);
    for n in 1..terms {
        term = next(term, f64::from(n));
        sum += term;
    }
    sum
}

/// 2^x
fn exp2(x: f64) -> f64 {
    if x.abs() > 2000.0 {
        return if x > 0.0 { f64::INFINITY } else { 0.0 };
    }
    let whole = x.round();
    let part = (x - whole) * LN_2;
    let value = series(1.0, 20, |term, n| term * part / n);
    // in two steps, for the power itself may be subnormal
    let half = (whole / 2.0).floor();
    value * 2f64.powi(half as i32) * 2f64.powi((whole - half) as i32)
}

/// log2(x) of a positive number that is not subnormal in double precision.
fn log2(x: f64) -> f64 {
    let (mut exponent, mut fraction) = ((x.to_bits() >> 52) as i32 - 1023, x);
    fraction /= 2f64.powi(exponent);
    if fraction > 1.5 {
        fraction /= 2.0;
        exponent += 1;
    }
    // ln((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + s^5 / 5 + …)
    let s = (fraction - 1.0) / (fraction + 1.0);
    let (square, mut power, mut sum) = (s * s, s, 0.0);
    for n in 0..22 {
        sum += power / f64::from(2 * n + 1);
        power *= square;
    }
    f64::from(exponent) + 2.0 * sum / LN_2
}

/// sin(x), or cos(x) as the sine a quarter further, of up to 100 π.
fn sine(x: f64, quarters: f64) -> f64 {
    // π/2 in two parts, the first short enough that its multiples here are exact
    const HIGH: f64 = 1.570796325802803;
    const LOW: f64 = 9.920935796805404e-10;
    let turn = (x / (PI / 2.0)).round();
    let part = (x - turn * HIGH) - turn * LOW;
    let square = -part * part;
    let sine = series(part, 14, |term, n| term * square / (2.0 * n * (2.0 * n + 1.0)));
    let cosine = series(1.0, 14, |term, n| term * square / (2.0 * n * (2.0 * n - 1.0)));
    match (turn + quarters).rem_euclid(4.0) as u32 {
        0 => sine,
        1 => cosine,
        2 => -sine,
        _ => -cosine,
    }
}

fn tanh(x: f64) -> f64 {
    if x.abs() < 0.1 {
        // e^2x - 1 as a series, for what is near 1 would lose its last places
        let part = 2.0 * x;
        let less_one = series(part, 16, |term, n| term * part / (n + 1.0));
        return less_one / (less_one + 2.0);
    }
    let power = exp2(2.0 * x.abs() / LN_2);
    (1.0 - 2.0 / (power + 1.0)).copysign(x)
}

/// What a function of one number in single precision is to give. `x` is finite, not zero, and already flushed.
type Definition = fn(x: f64) -> Expected;

/// A value within some of its last places in single precision.
fn ulps(value: f64, count: f64) -> Expected {
    let value = value.clamp(-F32.beyond(), F32.beyond());
    Within(value, count * F32.ulp(if value.abs() < F32.beyond() { value } else { F32.beyond() / 2.0 }))
}

/// A value within a part of it.
fn relative(value: f64, bound: f64) -> Expected {
    Within(value, value.abs() * bound)
}

/// Opcode without `.ftz` and type, the definition, and what the ISA names for -∞, -0, +0 and +∞.
type Function = (&'static str, Definition, [f32; 4]);

const INFINITY: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

fn trigonometric(x: f64, quarters: f64) -> Expected {
    match x.abs() {
        near if near <= TAU => Within(sine(x, quarters), 2f64.powf(-20.5)),
        near if near <= 100.0 * PI => Within(sine(x, quarters), 2f64.powf(-14.7)),
        // nothing is promised beyond, but what a sine may be
        _ => Within(0.0, 1.0),
    }
}

const FUNCTIONS: [Function; 7] = [
    ("rcp.approx", |x| ulps(1.0 / x, 1.0), [-0.0, -INFINITY, INFINITY, 0.0]),
    ("sqrt.approx", |x| if x < 0.0 { Nan } else { relative(x.sqrt(), 2f64.powi(-23)) }, [NAN, -0.0, 0.0, INFINITY]),
    (
        "rsqrt.approx",
        |x| if x < 0.0 { Nan } else { relative(1.0 / x.sqrt(), 2f64.powf(-22.9)) },
        [NAN, -INFINITY, INFINITY, 0.0],
    ),
    ("ex2.approx", |x| ulps(exp2(x), 2.0), [0.0, 1.0, 1.0, INFINITY]),
    (
        "lg2.approx",
        |x| match x {
            ..0.0 => Nan,
            0.5..2.0 => Within(log2(x), 2f64.powi(-22)),
            _ => relative(log2(x), 2f64.powi(-22)),
        },
        [NAN, -INFINITY, -INFINITY, INFINITY],
    ),
    ("sin.approx", |x| trigonometric(x, 0.0), [NAN, -0.0, 0.0, NAN]),
    ("cos.approx", |x| trigonometric(x, 1.0), [NAN, 1.0, 1.0, NAN]),
];

fn named(value: f32) -> Expected {
    if value.is_nan() { Bits(F32.canonical_nan()) } else { Bits(value.to_bits().into()) }
}

/// What a function gives for some bits.
fn single((_, definition, special): Function, bits: u64, ftz: bool) -> Expected {
    let bits = if ftz { F32.flush(bits) } else { bits };
    let x = f32::from_bits(bits as u32);
    match x {
        _ if x.is_nan() => Bits(F32.canonical_nan()),
        _ if x.is_infinite() => named(special[if x < 0.0 { 0 } else { 3 }]),
        0.0 => named(special[if x.is_sign_negative() { 1 } else { 2 }]),
        _ => match definition(x.into()) {
            Nan => Bits(F32.canonical_nan()),
            // A result that is flushed is a zero, and so may be one that is within the bound of being flushed.
            Within(value, tolerance) if ftz && value.abs() - tolerance < f64::from(f32::MIN_POSITIVE) => {
                Within(value, tolerance.max(f64::from(f32::MIN_POSITIVE)))
            }
            other => other,
        },
    }
}

/// Half precision: the bound of `tanh` is absolute, that of `ex2` a part, or half a place of a subnormal number.
fn half(function: &str, format: Format, bits: u64) -> Expected {
    if format.is_nan(bits) {
        return Bits(format.canonical_nan());
    }
    let (x, infinite) = (format.approximate(bits), bits & !format.sign() == format.infinity());
    match (function, x < 0.0) {
        ("tanh", negative) if infinite => Bits(format.one() | (u64::from(negative) * format.sign())),
        ("tanh", _) if x == 0.0 => Bits(bits),
        ("tanh", _) => Within(tanh(x), 2f64.powf(if format == F16 { -10.987 } else { -8.0 })),
        (_, negative) if infinite => Bits(if negative { 0 } else { format.infinity() }),
        _ if x == 0.0 || format == BF16 && format.is_subnormal(bits) => Bits(format.one()),
        _ => {
            let value = exp2(x).min(format.beyond());
            let bound = value * 2f64.powf(if format == F16 { -9.9 } else { -7.0 });
            // what cannot be held within that part is rounded, or flushed
            let least = if format == F16 { format.ulp(0.0) / 2.0 } else { f64::from(f32::MIN_POSITIVE) };
            Within(value, bound.max(least))
        }
    }
}

/// The approximations in double precision look at the upper half of their source and give an upper half.
fn upper_half(bits: u64, definition: fn(f64) -> f64) -> Expected {
    let source = F64.flush(bits >> 32 << 32);
    if F64.is_nan(bits) || definition(f64::from_bits(source)).is_nan() {
        return Bits(0x7fff_ffff_0000_0000);
    }
    let exact = definition(f64::from_bits(source));
    if exact == 0.0 || exact.is_infinite() {
        return Bits(exact.to_bits());
    }
    if exact.abs() < f64::MIN_POSITIVE {
        return Bits(exact.to_bits() & F64.sign());
    }
    // twenty bits of a fraction, cut off
    relative(exact, 2f64.powi(-20))
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for function in FUNCTIONS {
        for (name, ftz) in [("", false), (".ftz", true)] {
            checks.push(lanewise(format!("{}{name}.f32", function.0), "f32 f32", move |s| single(function, s[0], ftz)));
        }
    }
    checks.push(lanewise("tanh.approx.f32", "f32 f32", |s| tanh_single(s[0])));
    for (name, ftz) in [("", false), (".ftz", true)] {
        checks.push(lanewise(format!("div.approx{name}.f32"), "f32 f32 f32", move |s| divided(s, ftz, true)));
        checks.push(lanewise(format!("div.full{name}.f32"), "f32 f32 f32", move |s| divided(s, ftz, false)));
    }
    for (opcode, ty) in
        [("tanh.approx", "f16"), ("ex2.approx", "f16"), ("tanh.approx", "bf16"), ("ex2.approx.ftz", "bf16")]
    {
        let function = &opcode[..opcode.len().min(4)].trim_end_matches('.').to_owned();
        let function = if function == "tanh" { "tanh" } else { "ex2" };
        checks.push(lanewise(format!("{opcode}.{ty}"), &format!("{ty} {ty}"), move |s| {
            half(function, Format::of(ty), s[0])
        }));
        // both halves are looked at one by one
        for (shift, part) in [(0, "%h7"), (16, "%h8")] {
            checks.push(super::lanewise::surrounded(
                &format!("{opcode}.{ty}x2 r, r"),
                &format!("{ty} {ty}x2"),
                &format!("{opcode}.{ty}x2 %r30, {{a}}; mov.b32 {{%h7, %h8}}, %r30; {{g}}mov.b16 {{d}}, {part};"),
                false,
                move |s| half(function, Format::of(ty), s[0] >> shift & 0xffff),
            ));
        }
    }
    checks.push(lanewise("rcp.approx.ftz.f64", "f64 f64", |s| upper_half(s[0], |x| 1.0 / x)));
    checks.push(lanewise("rsqrt.approx.ftz.f64", "f64 f64", |s| upper_half(s[0], |x| 1.0 / x.sqrt())));
    checks.push(lanewise("rsqrt.approx.f64", "f64 f64", |s| {
        let exact = 1.0 / f64::from_bits(s[0]).sqrt();
        match exact {
            _ if exact.is_nan() => Nan,
            _ if exact == 0.0 || exact.is_infinite() => Bits(exact.to_bits()),
            _ => relative(exact, 2f64.powi(-50)),
        }
    }));
    checks
}

fn tanh_single(bits: u64) -> Expected {
    let x = f32::from_bits(bits as u32);
    match x {
        _ if x.is_nan() => Bits(F32.canonical_nan()),
        _ if x.is_infinite() => named(1f32.copysign(x)),
        0.0 => named(x),
        _ => relative(tanh(x.into()), 2f64.powi(-11)),
    }
}

/// `div.approx` and `div.full`: two places, the first only for divisors of some size.
fn divided(s: &[u64], ftz: bool, fast: bool) -> Expected {
    let [a, b] = [s[0], s[1]].map(|bits| f32::from_bits(if ftz { F32.flush(bits) } else { bits } as u32));
    let quotient = f64::from(a) / f64::from(b);
    if a.is_nan() || b.is_nan() || quotient.is_nan() {
        return Bits(F32.canonical_nan());
    }
    let largest = 2f32.powi(126);
    if fast && b.is_finite() && b.abs() > largest {
        let zero = u64::from((a.is_sign_negative() != b.is_sign_negative()) as u32) << 31;
        return Bits(if a.is_infinite() { F32.canonical_nan() } else { zero });
    }
    if fast && b != 0.0 && b.abs() < f32::MIN_POSITIVE {
        return Anything;
    }
    match ulps(quotient, 2.0) {
        _ if a == 0.0 || b == 0.0 || a.is_infinite() || b.is_infinite() => named(quotient as f32),
        Within(value, tolerance) if ftz && value.abs() - tolerance < f64::from(f32::MIN_POSITIVE) => {
            Within(value, tolerance.max(f64::from(f32::MIN_POSITIVE)))
        }
        expected => expected,
    }
}

/// Every so many bit patterns are looked at, of all there are in single precision.
const STRIDE: u32 = 1021;

/// Runs an instruction on `count` patterns from `first`, `stride` apart.
fn sweep(bench: &Bench, first: u32, stride: u32, count: usize, look: &mut impl FnMut(u32, u32)) {
    let out = bench.upload(&vec![0u32; count]);
    let parameters = [out, first.into(), stride.into(), count as u64];
    bench.launch([count.div_ceil(256) as u32, 1, 1], [256, 1, 1], &parameters).unwrap();
    for (n, found) in bench.read_u32(out, count).into_iter().enumerate() {
        look(first.wrapping_add(stride.wrapping_mul(n as u32)), found);
    }
    bench.device.free(out).unwrap();
}

fn whole_range(opcode: &str, expected: impl Fn(u64) -> Expected) {
    let body = format!(
        "ld.param.u64 %rd1, [p0]; ld.param.u32 %r1, [p1]; ld.param.u32 %r2, [p2]; ld.param.u32 %r3, [p3];
         mov.u32 %r4, %ctaid.x; shl.b32 %r4, %r4, 8; mov.u32 %r5, %tid.x; add.u32 %r4, %r4, %r5;
         setp.ge.u32 %p1, %r4, %r3; @%p1 exit; mad.lo.u32 %r6, %r4, %r2, %r1;
         mov.b32 %f1, %r6; {opcode} %f2, %f1; mul.wide.u32 %rd2, %r4, 4; add.u64 %rd2, %rd1, %rd2;
         st.global.f32 [%rd2], %f2; ret;"
    );
    let bench = Bench::new(&super::common::kernel(4, "", &body));
    let mut look = |bits: u32, found: u32| {
        let expected = expected(bits.into());
        assert!(
            expected.allows("f32", found.into()),
            "{opcode} of {bits:#x} ({:e}): {found:#x} ({:e}), expected {expected:x?}",
            f32::from_bits(bits),
            f32::from_bits(found)
        );
    };
    const PATTERNS: u64 = (1 << 32) / STRIDE as u64 + 1;
    const CHUNK: u64 = 1 << 20;
    for first in (0..PATTERNS).step_by(CHUNK as usize) {
        let count = CHUNK.min(PATTERNS - first) as usize;
        sweep(&bench, (first as u32).wrapping_mul(STRIDE), STRIDE, count, &mut look);
    }
    // Around every power of two, and where results overflow, become subnormal or zero, or cross a bound.
    let powers = (0..256u32).flat_map(|field| [field << 23, field << 23 | 1 << 31]);
    let places =
        [128.0, -126.0, -149.0, -150.0, 0.5, 1.0, 2.0, 1.5, TAU as f32, PI as f32, 1.570_796_4, 100.0 * PI as f32];
    let places = places.into_iter().flat_map(|place| [place.to_bits(), (-place).to_bits()]);
    for place in powers.chain(places) {
        sweep(&bench, place.wrapping_sub(200), 1, 400, &mut look);
    }
}

macro_rules! whole_ranges {
    ($($test:ident: $index:expr;)*) => {$(
        #[test]
        fn $test() {
            let function = FUNCTIONS[$index];
            whole_range(&format!("{}.f32", function.0), |bits| single(function, bits, false));
            whole_range(&format!("{}.ftz.f32", function.0), |bits| single(function, bits, true));
        }
    )*};
}
whole_ranges! {
    reciprocals_over_their_range: 0;
    roots_over_their_range: 1;
    reciprocal_roots_over_their_range: 2;
    powers_of_two_over_their_range: 3;
    logarithms_over_their_range: 4;
    sines_over_their_range: 5;
    cosines_over_their_range: 6;
}

#[test]
fn hyperbolic_tangents_over_their_range() {
    whole_range("tanh.approx.f32", tanh_single);
}

#[test]
fn references_know_what_is_known() {
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() <= 1e-14 * expected.abs(), "{found} {expected}");
    near(exp2(0.5), 2f64.sqrt());
    near(exp2(-1.5) * exp2(2.5), 2.0);
    near(log2(1024.0), 10.0);
    near(log2(exp2(0.37)), 0.37);
    near(sine(PI / 6.0, 0.0), 0.5);
    near(sine(300.5, 0.0).powi(2) + sine(300.5, 1.0).powi(2), 1.0);
    near(sine(PI / 3.0, 1.0), 0.5);
    // the sine of a whole number that is famously near a multiple of π
    near(sine(22.0, 0.0), -8.851_309_290_403_876e-3);
    near(tanh(0.5 * 3f64.ln()), 0.5);
    near(tanh(0.05), 0.1f64.exp_m1() / (0.1f64.exp_m1() + 2.0));
}
