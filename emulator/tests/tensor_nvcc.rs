//! What nvcc 13 makes of intrinsics and tensor cores (`nvcc/tensor_*.cu`, compiled with `nvcc -std=c++17 -O3
//! -arch=compute_NN -ptx`), in both of its dialects, against the same computed here.

mod common;

use common::Bench;
use warpwright_emulator::checks::Checks;
use warpwright_emulator::{FaultKind, Launch, LaunchError};

macro_rules! ptx {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("nvcc/tensor_", $name, ".ptx")))),*]
    };
}

/// Modules, each to be run without checks and with all of them, which find nothing in code that is right.
fn checked<const N: usize>(
    modules: [(&'static str, &'static str); N],
) -> impl Iterator<Item = (&'static str, &'static str, Checks)> {
    modules.into_iter().flat_map(|(name, text)| [Checks::NONE, Checks::ALL].map(|checks| (name, text, checks)))
}

/// A launch of one kernel of a module.
fn launch(bench: &Bench, name: &str, blocks: [u32; 3], threads: u32, parameters: &[u8]) {
    let launch = Launch { blocks, threads: [threads, 1, 1], dynamic_shared: 0, parameters };
    bench.device.launch(&bench.module, name, &launch).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn pointers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|pointer| pointer.to_le_bytes()).collect()
}

/// Random words that are the same each time.
fn random(count: usize, mut state: u32) -> Vec<u32> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state ^ state >> 15
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(x: u32) -> [i64; 4] {
    x.to_le_bytes().map(i64::from)
}

fn signed_bytes(x: u32) -> [i64; 4] {
    x.to_le_bytes().map(|byte| i64::from(byte as i8))
}

fn halves(x: u32) -> [i64; 2] {
    [i64::from(x & 0xffff), i64::from(x >> 16)]
}

fn signed_halves(x: u32) -> [i64; 2] {
    halves(x).map(|half| i64::from(half as i16))
}

/// Two values of four, or of two, put together again.
fn join<const N: usize>(values: [i64; N]) -> u32 {
    let width = 32 / N as u32;
    values.iter().rev().fold(0, |all, value| (u64::from(all) << width) as u32 | (value & ((1 << width) - 1)) as u32)
}

fn each<const N: usize>(a: [i64; N], b: [i64; N], f: impl Fn(i64, i64) -> i64) -> [i64; N] {
    std::array::from_fn(|n| f(a[n], b[n]))
}

fn dot<const N: usize>(a: [i64; N], b: [i64; N]) -> i64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The results of the kernel `integers`, as the CUDA documentation defines the intrinsics.
fn integers(x: u32, y: u32, z: u32) -> [u32; 24] {
    let [sx, sy, sz] = [x, y, z].map(|word| i64::from(word as i32));
    let [ux, uy, uz] = [x, y, z].map(u64::from);
    let first_set = |bits: u64, width: u32| (0..width).find(|n| bits >> n & 1 == 1).map_or(0, |n| n + 1);
    let leading = |bits: u64, width: u32| (0..width).take_while(|n| bits >> (width - 1 - n) & 1 == 0).count() as u32;
    let ones = |bits: u64| (0..64).map(|n| (bits >> n & 1) as u32).sum::<u32>();
    let reversed = |bits: u64, width: u32| (0..width).fold(0u64, |all, n| all << 1 | bits >> n & 1);
    let wide = ux << 32 | uy;
    let low_24 = |x: u32| i64::from(x & 0xff_ffff);
    let signed_24 = |x: u32| low_24(x) - if x & 0x80_0000 != 0 { 1 << 24 } else { 0 };
    let (all_x, all_y) = (bytes(x), bytes(y));
    let permuted = [0, 4, 8, 12].map(|shift| {
        let selector = (z >> shift & 15) as usize;
        if selector & 4 == 0 { all_x[selector & 3] } else { all_y[selector & 3] }
    });
    let mask = |holds: bool| if holds { 255 } else { 0 };
    [
        (sz + dot(signed_bytes(x), signed_bytes(y))) as u32,
        (uz as i64 + dot(bytes(x), bytes(y))) as u32,
        (sz + dot(signed_halves(x), [signed_bytes(y)[0], signed_bytes(y)[1]])) as u32,
        (uz as i64 + dot(halves(x), [bytes(y)[2], bytes(y)[3]])) as u32,
        join(permuted),
        ((uy << 32 | ux) << (z & 31) >> 32) as u32,
        ((uy << 32 | ux) >> z.min(32)) as u32,
        (reversed(ux, 32) as u32).wrapping_add(leading(uy, 32)).wrapping_add(ones(uz)).wrapping_add(first_set(ux, 32)),
        ((sx - sy).unsigned_abs() as u32).wrapping_add(z),
        ((ux * uy) >> 32) as u32 ^ ((sy * sz) >> 32) as u32,
        (((sx + sy) >> 1) as u32).wrapping_add(((sx + sz + 1) >> 1) as u32),
        join(each(bytes(x), bytes(y), |a, b| (a - b).abs()))
            .wrapping_add(join(each(bytes(y), bytes(z), |a, b| a + b)))
            .wrapping_add(join(each(signed_bytes(x), signed_bytes(z), |a, b| (a - b).clamp(-128, 127))))
            .wrapping_add(join(each(signed_bytes(x), signed_bytes(y), i64::max)))
            .wrapping_add(join(each(bytes(x), bytes(z), |a, b| mask(a > b)))),
        each(bytes(x), bytes(y), |a, b| (a - b).abs()).iter().sum::<i64>() as u32
            ^ join(each(halves(x), halves(z), |a, b| (a + b + 1) / 2)),
        leading(wide, 64)
            .wrapping_add(ones(wide))
            .wrapping_add(first_set(wide, 64))
            .wrapping_add(((u128::from(wide) * u128::from(wide ^ uz)) >> 64) as u32),
        (reversed(wide, 64) >> 7) as u32,
        ((signed_24(x) * signed_24(y)) as u32).wrapping_add((low_24(y) * low_24(z)) as u32),
        sx.min(sy).max(sz) as u32,
        x.max(y).max(z) - x.min(y).min(z),
        (x & y) | (!x & z),
        (x ^ y) & !z,
        join(each(signed_halves(x), signed_halves(y), |a, b| (a + b).clamp(-32768, 32767))),
        join(each(halves(x), halves(y), i64::min)) ^ join(each(bytes(y), bytes(z), |a, b| i64::from(a >= b))),
        (x % (y | 1)).wrapping_add(x / (z | 1)),
        ((sx * sy) >> 13) as u32,
    ]
}

/// Numbers that are most often got wrong, and random ones.
fn words() -> Vec<u32> {
    let mut words = vec![0, 1, 2, 31, 32, 33, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000];
    words.extend([0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff, 0x0102_0408, 0x80ff_7f01]);
    // of floating-point numbers: ±1, ±0.5, 1.5, 2.5, subnormal, smallest normal, largest, infinities, NaN
    words.extend([0x3f80_0000, 0xbf80_0000, 0x3f00_0000, 0xbf00_0000, 0x3fc0_0000, 0x4020_0000, 0x0000_0003]);
    words.extend([0x8040_0000, 0x0080_0000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x4f00_0000]);
    let mut state = 12345u32;
    while words.len() < 64 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words.push(state ^ state >> 15);
    }
    words
}

#[test]
fn integer_intrinsics() {
    let [mut a, mut b, mut c] = [1, 2, 3].map(|seed| random(256, seed));
    let edges = words();
    for n in 0..64 {
        (a[n], b[n], c[n]) = (edges[n], edges[(n * 7 + 3) % 64], edges[(n * 13 + 5) % 64]);
    }
    for (name, text, checks) in checked(ptx!("intrinsics.75", "intrinsics.80", "intrinsics.90", "intrinsics.100")) {
        let bench = Bench::checked(text, checks);
        let out = bench.upload(&[0xee_u32; 256 * 24]);
        let parameters = pointers(&[bench.upload(&a), bench.upload(&b), bench.upload(&c), out]);
        launch(&bench, "integers", [2, 1, 1], 128, &parameters);
        for (n, found) in bench.read_u32(out, 256 * 24).chunks(24).enumerate() {
            for (at, (found, expected)) in found.iter().zip(integers(a[n], b[n], c[n])).enumerate() {
                assert_eq!(*found, expected, "{name}: o[{at}] of {:#x} {:#x} {:#x}", a[n], b[n], c[n]);
            }
        }
    }
}

/// The value of an f16 or bf16 by the bits of its exponent and fraction.
fn value(bits: u32, exponent_bits: u32, fraction_bits: u32) -> f64 {
    let sign = if bits >> 15 & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = (bits >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1u32 << fraction_bits);
    let bias = (1 << (exponent_bits - 1)) - 1;
    sign * if exponent == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(exponent - bias) }
}

/// The nearest number with so many bits of fraction, ties to even; `x` is not too large or small.
fn rounded(x: f64, fraction_bits: i32) -> f64 {
    if x == 0.0 {
        return x;
    }
    let unit = 2f64.powi(x.abs().log2().floor() as i32 - fraction_bits);
    (x / unit).round_ties_even() * unit
}

/// Numbers of moderate size, in pairs: with sums and products that the format holds as normal numbers.
fn moderate(count: usize, seed: u32, least: u32, fraction_bits: u32) -> Vec<u32> {
    let half = |word: u32| {
        (word & 1) << 15 | (least + (word >> 1) % 5) << fraction_bits | word >> 8 & ((1 << fraction_bits) - 1)
    };
    random(count, seed).into_iter().map(|word| half(word) | half(word >> 16 ^ word << 3) << 16).collect()
}

#[test]
fn half_precision_intrinsics() {
    let [a, b, c] = [4, 5, 6].map(|seed| moderate(128, seed, 13, 10));
    for (name, text, checks) in checked(ptx!("intrinsics.75", "intrinsics.80", "intrinsics.90", "intrinsics.100")) {
        let bench = Bench::checked(text, checks);
        let out = bench.upload(&[0xee_u32; 128 * 16]);
        let parameters = pointers(&[bench.upload(&a), bench.upload(&b), bench.upload(&c), out]);
        launch(&bench, "halves", [1, 1, 1], 128, &parameters);
        for (n, found) in bench.read_u32(out, 128 * 16).chunks(16).enumerate() {
            let f16 = |bits: u32| value(bits & 0xffff, 5, 10);
            let near = |x: f64| rounded(x, 10);
            let [x, y, z] = [a[n], b[n], c[n]].map(|pair| [f16(pair), f16(pair >> 16)]);
            let both = |f: &dyn Fn(f64, f64, f64) -> f64| [0, 1].map(|at| f(x[at], y[at], z[at]));
            let toward_zero = |x: f64| {
                let near = rounded(x, 10);
                if near.abs() > x.abs() {
                    near - near.signum() * 2f64.powi(near.abs().log2().ceil() as i32 - 11)
                } else {
                    near
                }
            };
            let expected = [
                both(&|x, y, _| near(x + y)),
                both(&|x, y, _| near(x - y)),
                both(&|x, y, _| near(x * y)),
                both(&|x, y, z| near(x * y + z)),
                both(&|x, y, z| near(x * y + z).max(0.0)),
                both(&|x, y, _| x.max(y)),
                both(&|x, y, _| x.min(y)),
                both(&|x, y, z| near(x * y + z).clamp(0.0, 1.0)),
                both(&|x, _, _| x.abs()),
                both(&|x, _, _| -x),
                both(&|x, y, _| f64::from(u8::from(x > y))),
                [near(x[0] * 3.0), near(f64::from(y[1] as f32 * 0.1f32))],
                [x[1], x[0]],
                [near(x[0] + y[0]).clamp(0.0, 1.0), x[1].trunc()],
                [x[0].trunc(), y[1].round_ties_even()],
                [toward_zero(f64::from(x[0] as f32 * 1.7f32)), if x[0] == y[0] { x[1] } else { y[1] }],
            ];
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_eq!([f16(*found), f16(*found >> 16)], expected, "{name}: o[{at}] of {x:?} {y:?} {z:?}");
            }
        }
    }
}

#[test]
fn brain_float_intrinsics() {
    let [a, b, c] = [7, 8, 9].map(|seed| moderate(128, seed, 125, 7));
    for (name, text, checks) in checked(ptx!("intrinsics.75", "intrinsics.80", "intrinsics.90", "intrinsics.100")) {
        let bench = Bench::checked(text, checks);
        let out = bench.upload(&[0xee_u32; 128 * 10]);
        let parameters = pointers(&[bench.upload(&a), bench.upload(&b), bench.upload(&c), out]);
        launch(&bench, "brain", [1, 1, 1], 128, &parameters);
        for (n, found) in bench.read_u32(out, 128 * 10).chunks(10).enumerate() {
            let of = |bits: u32| value(bits & 0xffff, 8, 7);
            let near = |x: f64| rounded(x, 7);
            let [x, y, z] = [a[n], b[n], c[n]].map(|pair| [of(pair), of(pair >> 16)]);
            let both = |f: &dyn Fn(f64, f64, f64) -> f64| [0, 1].map(|at| f(x[at], y[at], z[at]));
            let unit = |x: f64| 2f64.powi(x.abs().log2().floor() as i32 - 7);
            let toward_zero = |x: f64| (x / unit(x)).trunc() * unit(x);
            let up = |x: f64| (x / unit(x)).ceil() * unit(x);
            let expected = [
                both(&|x, y, _| near(x + y)),
                both(&|x, y, _| near(x - y)),
                both(&|x, y, _| near(x * y)),
                both(&|x, y, z| if name.ends_with("75") { z } else { near(x * y + z) }),
                both(&|x, y, _| x.max(y)),
                both(&|x, y, _| x.min(y)),
                both(&|x, _, _| x.abs()),
                both(&|x, _, _| -x),
                [near(x[0] * 3.0), near(f64::from(y[1] as f32 * 0.1f32))],
                [toward_zero(f64::from(x[0] as f32 * 1.7f32)), up(f64::from(x[1] as f32 * 1.3f32))],
            ];
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_eq!([of(*found), of(*found >> 16)], expected, "{name}: o[{at}] of {x:?} {y:?} {z:?}");
            }
        }
    }
}

#[test]
fn warp_intrinsics() {
    let a: Vec<u32> =
        random(64, 10).into_iter().enumerate().map(|(n, x)| if n < 32 { x & 0x7fff_ffff } else { x }).collect();
    for (name, text, checks) in checked(ptx!("intrinsics.75", "intrinsics.80", "intrinsics.90", "intrinsics.100")) {
        let bench = Bench::checked(text, checks);
        let out = bench.upload(&[0xee_u32; 640]);
        launch(&bench, "warps", [1, 1, 1], 64, &pointers(&[bench.upload(&a), out]));
        let odd = a.iter().filter(|x| *x & 1 == 1).count() as u32;
        for (n, found) in bench.read_u32(out, 640).chunks(10).enumerate() {
            let warp = &a[n / 32 * 32..][..32];
            let lane = n % 32;
            let of_lanes = |holds: &dyn Fn(u32) -> bool| {
                warp.iter().enumerate().fold(0u32, |all, (lane, x)| all | u32::from(holds(*x)) << lane)
            };
            let same = warp.iter().all(|x| x >> 31 == warp[0] >> 31);
            let reduced = if name.ends_with("75") {
                [0; 3]
            } else {
                [
                    warp.iter().fold(0u32, |all, x| all.wrapping_add(*x)),
                    warp.iter().map(|x| *x as i32).fold(i32::MIN, i32::max) as u32,
                    warp.iter().fold(0, |all, x| all ^ x),
                ]
            };
            let expected = [
                warp[lane ^ 5],
                if lane % 8 >= 3 { warp[lane - 3] } else { warp[lane] },
                of_lanes(&|x| x & 1 == 1),
                of_lanes(&|x| x & 3 == warp[lane] & 3),
                if same { u32::MAX ^ 5 } else { 0 },
                reduced[0],
                reduced[1],
                reduced[2],
                odd + 1000 * u32::from(a.contains(&7)) + 4096 * u32::from(warp.contains(&9)),
                1,
            ];
            assert_eq!(found, expected, "{name}: thread {n}");
        }
    }
}

#[test]
fn loads_and_stores_that_say_how_to_cache() {
    let a: Vec<f32> = (0..256).map(|n| n as f32 * 0.5).collect();
    let b: Vec<f32> = (0..64).map(|n| n as f32).collect();
    for (name, text, checks) in checked(ptx!("intrinsics.75", "intrinsics.80", "intrinsics.90", "intrinsics.100")) {
        let bench = Bench::checked(text, checks);
        let (out, sum) = (bench.upload(&[0xee_u32; 512]), bench.upload(&[0u32; 8]));
        launch(&bench, "caches", [2, 1, 1], 32, &pointers(&[bench.upload(&a), bench.upload(&b), out, sum]));
        for (n, found) in bench.read_u32(out, 512).chunks(8).enumerate() {
            let (x, z) = (&a[4 * n..][..4], 3.0 * b[n]);
            let expected = [x[0] + x[1] + z, x[1], x[2], x[3], z, z, x[2], x[3]].map(f32::to_bits);
            assert_eq!(found, expected, "{name}: thread {n}");
        }
        let found = bench.read_u32(sum, 8);
        // 64 ones; in the pair of halves 64 and 128
        assert_eq!((found[0], found[1]), (64f32.to_bits(), 0x5800_5400), "{name}");
        let vector: [f32; 4] =
            if name.ends_with("90") || name.ends_with("100") { [64.0, 128.0, 192.0, 256.0] } else { [0.0; 4] };
        assert_eq!(found[4..], vector.map(f32::to_bits), "{name}");
    }
}

#[test]
fn numbers_of_8_bits() {
    let mut input: Vec<f32> = (0..256).map(|n| (n as f32 - 128.0) * 0.37).collect();
    input[..8].copy_from_slice(&[0.0, -0.0, 1e9, -1e9, 448.0, 1e-9, 0.001, 57344.0]);
    for (name, text, checks) in checked(ptx!("fp8.75", "fp8.89", "fp8.100")) {
        let bench = Bench::checked(text, checks);
        let out = bench.upload(&[0xee_u32; 128 * 6]);
        launch(&bench, "fp8", [1, 1, 1], 128, &pointers(&[bench.upload(&input), out]));
        for (n, found) in bench.read_u32(out, 128 * 6).chunks(6).enumerate() {
            for at in 0..2 {
                let x = input[2 * n + at];
                // all numbers of the format, by their bits without the sign
                let formats = [(0..=0x7e, 4, 3, 7, 2), (0..=0x7b, 5, 2, 15, 4)];
                for (format, (all, exponent_bits, fraction_bits, bias, values)) in formats.into_iter().enumerate() {
                    let of = |bits: u32| {
                        let (exponent, fraction) =
                            (bits >> fraction_bits, f64::from(bits & ((1 << fraction_bits) - 1)));
                        let fraction = fraction / f64::from(1 << fraction_bits);
                        assert!(exponent < 1 << exponent_bits);
                        match exponent {
                            0 => fraction * 2f64.powi(1 - bias),
                            _ => (1.0 + fraction) * 2f64.powi(exponent as i32 - bias),
                        }
                    };
                    let far = |bits: &u32| (of(*bits) - f64::from(x).abs()).abs();
                    let nearest = all.min_by(|a, b| far(a).total_cmp(&far(b)).then((a & 1).cmp(&(b & 1)))).unwrap();
                    let sign = u32::from(x.is_sign_negative()) << 7;
                    let bits = found[format] >> (8 * at) & 0xff;
                    assert_eq!(bits, nearest | sign, "{name}: {x} in format {format}");
                    let expected = if sign != 0 { -of(nearest) } else { of(nearest) } as f32;
                    assert_eq!(found[values + at], expected.to_bits(), "{name}: {x} in format {format} and back");
                }
            }
        }
    }
}

#[test]
fn a_product_on_tensor_cores() {
    let (m, n, k) = (64usize, 96, 48);
    // exact products whose sums are exact as well: small whole numbers
    let small =
        |count: usize, seed| random(count, seed).into_iter().map(|word| (word % 15) as i32 - 7).collect::<Vec<_>>();
    let f16 = |x: i32| -> u16 {
        let magnitude = x.unsigned_abs();
        let bits = if magnitude == 0 {
            0
        } else {
            (15 + magnitude.ilog2()) << 10 | (magnitude << (10 - magnitude.ilog2())) & 0x3ff
        };
        bits as u16 | if x < 0 { 0x8000 } else { 0 }
    };
    let (a, b) = (small(m * k, 20), small(k * n, 21));
    for (name, text, checks) in checked(ptx!("gemm.80", "gemm.100")) {
        let bench = Bench::checked(text, checks);
        let upload = |matrix: &[i32]| bench.upload(&matrix.iter().map(|x| f16(*x)).collect::<Vec<_>>());
        let out = bench.upload(&vec![f32::NAN; m * n]);
        let mut parameters = pointers(&[upload(&a), upload(&b), out]);
        parameters.extend([n as u32, k as u32].iter().flat_map(|word| word.to_le_bytes()));
        launch(&bench, "gemm", [n as u32 / 32, m as u32 / 32, 1], 128, &parameters);
        let found = bench.read_u32(out, m * n);
        for row in 0..m {
            for column in 0..n {
                let sum: i32 = (0..k).map(|inner| a[row * k + inner] * b[inner * n + column]).sum();
                assert_eq!(f32::from_bits(found[row * n + column]), sum as f32, "{name} [{row}, {column}]");
            }
        }
    }
}

/// The bug that late landing is there to show: without the waits, the tiles are not there yet.
#[test]
fn a_product_that_does_not_wait_is_wrong() {
    for (_, text) in ptx!("gemm.80", "gemm.100") {
        let without = text.replace("cp.async.wait_group", "// cp.async.wait_group");
        assert_ne!(text, without);
        let bench = Bench::new(&without);
        let ones = bench.upload(&[0x3c00u16; 32 * 32]);
        let out = bench.upload(&[0f32; 32 * 32]);
        let mut parameters = pointers(&[ones, ones, out]);
        parameters.extend([32u32, 32].iter().flat_map(|word| word.to_le_bytes()));
        launch(&bench, "gemm", [1, 1, 1], 128, &parameters);
        assert!(bench.read_u32(out, 1024).iter().all(|sum| f32::from_bits(*sum) != 32.0));
        // The checks find the bug too, and nothing without it.
        let bench = Bench::checked(&without, Checks::ALL);
        let memory = bench.upload(&[0u32; 2048]);
        let mut zeros = pointers(&[memory, memory, memory + 4096]);
        zeros.extend([32u32, 32].iter().flat_map(|word| word.to_le_bytes()));
        let launch_checked = Launch { blocks: [1, 1, 1], threads: [128, 1, 1], dynamic_shared: 0, parameters: &zeros };
        match bench.device.launch(&bench.module, "gemm", &launch_checked) {
            Err(LaunchError::Fault(fault)) => assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}"),
            other => panic!("expected a race, got {other:?}"),
        }
        let bench = Bench::checked(text, Checks::ALL);
        let ones = bench.upload(&[0x3c00u16; 32 * 32]);
        let out = bench.upload(&[0f32; 32 * 32]);
        let mut parameters = pointers(&[ones, ones, out]);
        parameters.extend([32u32, 32].iter().flat_map(|word| word.to_le_bytes()));
        launch(&bench, "gemm", [1, 1, 1], 128, &parameters);
        assert!(bench.read_u32(out, 1024).iter().all(|sum| f32::from_bits(*sum) == 32.0));
    }
}

#[test]
fn products_through_wmma() {
    let numbers = |seed| random(256, seed).into_iter().map(|word| (word % 9) as i32 - 4).collect::<Vec<_>>();
    let (a, b) = (numbers(30), numbers(31));
    let f16 = |x: i32| [0xc400u16, 0xc200, 0xc000, 0xbc00, 0, 0x3c00, 0x4000, 0x4200, 0x4400][(x + 4) as usize];
    let c: Vec<f32> = (0..256).map(|n| n as f32).collect();
    for (name, text, checks) in checked(ptx!("wmma.75", "wmma.100")) {
        let bench = Bench::checked(text, checks);
        let of = |matrix: &[i32]| bench.upload(&matrix.iter().map(|x| f16(*x)).collect::<Vec<_>>());
        let out = bench.upload(&[f32::NAN; 256]);
        launch(&bench, "half_product", [1, 1, 1], 32, &pointers(&[of(&a), of(&b), bench.upload(&c), out]));
        let found = bench.read_u32(out, 256);
        let bytes = |matrix: &[i32]| bench.upload(&matrix.iter().map(|x| *x as u8).collect::<Vec<_>>());
        let whole = bench.upload(&[0xeeu32; 256]);
        launch(&bench, "byte_product", [1, 1, 1], 32, &pointers(&[bytes(&a), bytes(&b), whole]));
        let found_whole = bench.read_u32(whole, 256);
        for row in 0..16 {
            for column in 0..16 {
                // b by columns in the first, by rows in the second; the first is stored by columns
                let sum: i32 = (0..16).map(|k| a[16 * row + k] * b[16 * column + k]).sum();
                let expected = 0.5 * c[16 * row + column] + sum as f32;
                assert_eq!(f32::from_bits(found[16 * column + row]), expected, "{name} [{row}, {column}]");
                let sum: i32 = (0..16).map(|k| a[16 * row + k] * b[16 * k + column]).sum();
                assert_eq!(found_whole[16 * row + column] as i32, 7 + sum, "{name} [{row}, {column}]");
            }
        }
    }
}
