//! References of `paged_attention.cu`: attention over keys and values in blocks, in plain loops of f64.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::program::Program;
use crate::random;

const BLOCK: usize = 16;

/// A type of numbers: how it is made and read, and half an ulp.
pub(crate) struct Numbers<T> {
    pub(crate) narrow: fn(f32) -> T,
    pub(crate) wide: fn(T) -> f64,
    pub(crate) rounding: f64,
}

pub(crate) const F16: Numbers<f16> = Numbers { narrow: f16::from_f32, wide: f16::to_f64, rounding: 1.0 / 2048.0 };
pub(crate) const BF16: Numbers<bf16> = Numbers { narrow: bf16::from_f32, wide: bf16::to_f64, rounding: 1.0 / 256.0 };

impl<T: Pod> Numbers<T> {
    pub(crate) fn random(&self, seed: u64, count: usize) -> Vec<T> {
        random::floats(seed, count).into_iter().map(self.narrow).collect()
    }
}

/// Softmax of the scores of a query, and the values weighted by it.
pub(crate) fn attention(scores: &[f64], value: impl Fn(usize, usize) -> f64, head_dim: usize) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    (0..head_dim).map(|i| weights.iter().enumerate().map(|(at, w)| w * value(at, i)).sum::<f64>() / total).collect()
}

pub(crate) fn check(program: &Program) {
    paged(program, "paged_f16_64", None, &F16, 64);
    paged(program, "paged_f16_128", None, &F16, 128);
    paged(program, "paged_bf16_128", None, &BF16, 128);
    paged(program, "paged_parts_f16_64", Some("combine_f16_64"), &F16, 64);
    paged(program, "paged_parts_bf16_128", Some("combine_bf16_128"), &BF16, 128);
}

fn paged<T: Pod>(program: &Program, kernel: &str, combine: Option<&str>, numbers: &Numbers<T>, head_dim: usize) {
    let (heads, kv_heads) = (4, 2);
    let lengths = [1i32, 15, 16, 17, 63, 64, 65, 150];
    let (sequences, blocks_each) = (lengths.len(), 150usize.div_ceil(BLOCK));
    // Blocks are anywhere, and more than there are sequences for.
    let mut all: Vec<i32> = (0..(sequences * blocks_each + 3) as i32).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut all);
    let tables = all[..sequences * blocks_each].to_vec();
    let query = numbers.random(1, sequences * heads * head_dim);
    let keys = numbers.random(2, all.len() * kv_heads * head_dim * BLOCK);
    let values = numbers.random(3, keys.len());
    let scale = 1.0 / (head_dim as f32).sqrt();
    let partitions = if combine.is_some() { 150usize.div_ceil(64) } else { 1 };
    let wide = |x: &T| (numbers.wide)(*x);

    let block_of = |sequence: usize, at: usize, head: usize| {
        let block = tables[sequence * blocks_each + at / BLOCK] as usize;
        (block * kv_heads + head / (heads / kv_heads)) * head_dim * BLOCK
    };
    let expected: Vec<f64> = (0..sequences * heads)
        .flat_map(|row| {
            let (sequence, head) = (row / heads, row % heads);
            let score = |at: usize| {
                // Eight elements of a key are together, and then those of the next position.
                let key = |i: usize| block_of(sequence, at, head) + (i / 8 * BLOCK + at % BLOCK) * 8 + i % 8;
                let products = (0..head_dim).map(|i| wide(&query[row * head_dim + i]) * wide(&keys[key(i)]));
                products.sum::<f64>() * f64::from(scale)
            };
            let scores: Vec<f64> = (0..lengths[sequence] as usize).map(score).collect();
            let value = |at: usize, i: usize| wide(&values[block_of(sequence, at, head) + i * BLOCK + at % BLOCK]);
            attention(&scores, value, head_dim)
        })
        .collect();

    program.schedules(|schedule| {
        let count = sequences * heads * partitions;
        let (sums, largest) = (program.poisoned::<f32>(count), program.poisoned::<f32>(count));
        let (lengths_at, parts) = (program.upload(&lengths), program.poisoned::<T>(count * head_dim));
        let positions = if combine.is_some() { 64 } else { 160 };
        // Logits, or what two warps have of a head.
        let shared = positions.max(2 * head_dim) * 4;
        let call = program.call(kernel).grid([heads as u32, sequences as u32, partitions as u32]).threads(128);
        let call = call.shared(shared as u32).value(parts).value(sums).value(largest).value(program.upload(&query));
        let call = call.value(program.upload(&keys)).value(program.upload(&values)).value(kv_heads as i32).value(scale);
        call.value(program.upload(&tables)).value(lengths_at).value(blocks_each as i32).launch(schedule);
        let mut out = parts;
        if let Some(combine) = combine {
            out = program.poisoned::<T>(sequences * heads * head_dim);
            let call = program.call(combine).grid([heads as u32, sequences as u32, 1]).threads(128).shared(64);
            let call = call.value(out).value(sums).value(largest).value(parts).value(lengths_at);
            call.value(partitions as i32).launch(schedule);
        }
        let found: Vec<T> = program.read(out, sequences * heads * head_dim);
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Values are below 1. A result is rounded once, and so are those of partitions before. Weights come from
            // __expf, whose error is 2 ulp more than that of a score, which is below 12.
            let of_partitions = if combine.is_some() { numbers.rounding } else { 0.0 };
            let bound = numbers.rounding * expected.abs() + of_partitions + 2e-5;
            let (sequence, head) = (at / head_dim / heads, at / head_dim % heads);
            let difference = (wide(found) - expected).abs();
            assert!(difference <= bound, "{kernel}, sequence {sequence}, head {head}: {} for {expected}", wide(found));
        }
    });
}
