//! References of `k_quants.cu`: weights in blocks, as f64, times activations as the kernel quantised them.

use half::f16;

use crate::program::Program;
use crate::random;

/// A block's bytes, and the values that they stand for.
type Format = (&'static str, u32, usize, fn(u64) -> (Vec<u8>, Vec<f64>));

const FORMATS: [Format; 4] = [
    ("multiply_q8_0", 1, 32, q8_0),
    ("multiply_q4_0", 4, 32, q4_0),
    ("multiply_q4_k", 4, 256, q4_k),
    ("multiply_q6_k", 2, 256, q6_k),
];

pub(crate) fn check(program: &Program) {
    for (kernel, warps, values, block) in FORMATS {
        for (rows, columns) in [(1, values), (3, 3 * values), (5, 2048), (2, 2048 + values)] {
            multiply(program, kernel, warps, (rows, columns), values, block);
        }
    }
}

fn multiply(
    program: &Program,
    kernel: &str,
    warps: u32,
    (rows, columns): (usize, usize),
    values: usize,
    block: fn(u64) -> (Vec<u8>, Vec<f64>),
) {
    // One block of activations is all zeros.
    let mut x = random::floats(columns as u64, columns);
    x[..32].fill(0.0);
    let (mut quantised, mut activations) = (Vec::new(), Vec::new());
    let call = program.call("quantize_q8_1").blocks(columns.div_ceil(128) as u32).threads(128).input(&x);
    call.output::<u8>(columns / 32 * 36).value(columns as i32).run(|results| {
        quantised = results.get::<u8>(0);
        activations = quantised.chunks(36).flat_map(of_q8_1).collect();
        for (block, x) in quantised.chunks(36).zip(x.chunks(32)) {
            let most = x.iter().fold(0f32, |most, x| most.max(x.abs()));
            // f16 keeps 11 bits of the step; a value is off by half a step, of which 127 reach the largest.
            let step = f64::from(most) / 127.0;
            let [d, s] = [half(&block[..2]), half(&block[2..4])];
            assert!((d - step).abs() <= step * 2f64.powi(-11) + 1e-9, "{d} for {step}");
            let sum: f64 = block[4..].iter().map(|&q| f64::from(q.cast_signed())).sum::<f64>() * step;
            assert!((s - sum).abs() <= sum.abs() * 2f64.powi(-10) + 1e-6, "{s} for {sum}");
            for (&q, &x) in block[4..].iter().zip(x) {
                let (q, x) = (f64::from(q.cast_signed()), f64::from(x));
                assert!((q * step - x).abs() <= step * 0.5001, "{q} * {step} for {x}");
            }
        }
    });
    let blocks: Vec<_> = (0..rows * columns / values).map(|seed| block(seed as u64)).collect();
    let weights: Vec<f64> = blocks.iter().flat_map(|(_, values)| values.iter().copied()).collect();
    // Blocks of 144 and 210 bytes begin where they begin.
    let bytes: Vec<u8> = blocks.into_iter().flat_map(|(bytes, _)| bytes).collect();
    let call = program.call(kernel).blocks(rows as u32).block([32, warps, 1]).input(&bytes).input(&quantised);
    call.output::<f32>(rows).value(columns as i32).value(rows as i32).run(|results| {
        for (row, found) in results.get::<f32>(0).into_iter().enumerate() {
            let products = weights[row * columns..][..columns].iter().zip(&activations).map(|(w, (x, _))| w * x);
            let expected: f64 = products.sum();
            // Sums of bytes are exact. What is added in f32 is a few dozen parts of a thread, then five steps of a warp; in
            // blocks with an offset the sums of activations are f16, and the offset is a multiple of them.
            let magnitudes = weights[row * columns..][..columns].iter().zip(&activations);
            let magnitude: f64 =
                magnitudes.map(|(w, (x, s))| (w.abs() + 8.0 * w.abs().max(0.05)) * (x.abs() + s)).sum();
            let bound = 2f64.powi(-20) * magnitude + offset_of_sums(kernel) * magnitude;
            let difference = (f64::from(found) - expected).abs();
            assert!(difference <= bound, "{kernel}, {rows} x {columns}, row {row}: {found} for {expected}");
        }
    });
}

/// q4_0 takes its offset from the sum of activations, which is rounded to f16.
fn offset_of_sums(kernel: &str) -> f64 {
    if kernel == "multiply_q4_0" { 2f64.powi(-11) } else { 0.0 }
}

fn half(bytes: &[u8]) -> f64 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f64()
}

/// The values of a block of activations, each with the block's mean magnitude.
fn of_q8_1(block: &[u8]) -> Vec<(f64, f64)> {
    let values: Vec<f64> = block[4..].iter().map(|&q| half(block) * f64::from(q.cast_signed())).collect();
    let mean = values.iter().sum::<f64>().abs() / 32.0;
    values.into_iter().map(|x| (x, mean)).collect()
}

fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    random::words(seed.wrapping_mul(77) + 5, count).into_iter().map(|word| word as u8).collect()
}

/// A scale that f16 has exactly.
fn scale(seed: u64) -> f16 {
    f16::from_f32((random::floats(seed, 1)[0] + 1.5) / 64.0)
}

fn q8_0(seed: u64) -> (Vec<u8>, Vec<f64>) {
    let (d, q) = (scale(seed), random_bytes(seed, 32));
    let values = q.iter().map(|&q| d.to_f64() * f64::from(q.cast_signed())).collect();
    ([&d.to_le_bytes()[..], &q].concat(), values)
}

fn q4_0(seed: u64) -> (Vec<u8>, Vec<f64>) {
    let (d, q) = (scale(seed), random_bytes(seed, 16));
    let nibble = |at: usize| q[at % 16] >> (at / 16 * 4) & 15;
    let values = (0..32).map(|at| d.to_f64() * (f64::from(nibble(at)) - 8.0)).collect();
    ([&d.to_le_bytes()[..], &q].concat(), values)
}

/// The six bits of each scale and each least value are packed as the format says: the first four of either are the low bits
/// of a byte, the rest are nibbles with their high bits above those.
fn q4_k(seed: u64) -> (Vec<u8>, Vec<f64>) {
    let (d, least) = (scale(seed), scale(seed + 1000));
    let six = |seed| -> Vec<u8> { random_bytes(seed, 8).into_iter().map(|x| x & 63).collect() };
    let (scales, mins, q) = (six(seed + 1), six(seed + 2), random_bytes(seed + 3, 128));
    let mut packed = [0u8; 12];
    for group in 0..4 {
        packed[group] = scales[group] | scales[group + 4] >> 4 << 6;
        packed[group + 4] = mins[group] | mins[group + 4] >> 4 << 6;
        packed[group + 8] = scales[group + 4] & 15 | mins[group + 4] << 4;
    }
    let value = |at: usize| {
        let group = at / 32;
        let nibble = q[group / 2 * 32 + at % 32] >> (group % 2 * 4) & 15;
        d.to_f64() * f64::from(scales[group]) * f64::from(nibble) - least.to_f64() * f64::from(mins[group])
    };
    let values = (0..256).map(value).collect();
    ([&d.to_le_bytes()[..], &least.to_le_bytes(), &packed, &q].concat(), values)
}

/// Each half of the block has 64 bytes of low bits and 32 of high ones: a byte of low bits is for two values 64 apart, one of
/// high bits for four values 32 apart.
fn q6_k(seed: u64) -> (Vec<u8>, Vec<f64>) {
    let (d, scales) = (scale(seed), random_bytes(seed + 1, 16));
    let six: Vec<u8> = random_bytes(seed + 2, 256).into_iter().map(|x| x & 63).collect();
    let (mut low, mut high) = ([0u8; 128], [0u8; 64]);
    for (at, value) in six.iter().enumerate() {
        let (half, at) = (at / 128, at % 128);
        low[half * 64 + at % 64] |= (value & 15) << (at / 64 * 4);
        high[half * 32 + at % 32] |= (value >> 4) << (at / 32 * 2);
    }
    let value = |at: usize| d.to_f64() * f64::from(scales[at / 16].cast_signed()) * (f64::from(six[at]) - 32.0);
    let values = (0..256).map(value).collect();
    ([&low[..], &high, &scales, &d.to_le_bytes()].concat(), values)
}
