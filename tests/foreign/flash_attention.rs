//! References of `flash_attention.cu`: attention of several tokens and of one, in plain loops of f64.

use bytemuck::Pod;

use crate::paged_attention::{BF16, F16, Numbers, attention};
use crate::program::Program;

pub(crate) fn check(program: &Program) {
    flash(program, "flash_f16_64_causal", &F16, 64, true);
    flash(program, "flash_f16_128", &F16, 128, false);
    flash(program, "flash_bf16_64", &BF16, 64, false);
    flash(program, "flash_bf16_128_causal", &BF16, 128, true);
    decode(program, "decode_f16_128", &F16, 128);
    decode(program, "decode_bf16_64", &BF16, 64);
}

/// Tokens and heads, with the positions and heads of keys and values.
struct Shape {
    tokens: usize,
    heads: usize,
    positions: usize,
    kv_heads: usize,
    head_dim: usize,
    causal: bool,
}

/// The result for each token and head: `[tokens, heads, head_dim]`.
fn reference<T: Pod>(numbers: &Numbers<T>, shape: &Shape, [q, k, v]: [&[T]; 3]) -> Vec<f64> {
    let &Shape { tokens, heads, positions, kv_heads, head_dim, causal } = shape;
    let wide = |x: &T| (numbers.wide)(*x);
    (0..tokens * heads)
        .flat_map(|row| {
            let (token, head) = (row / heads, row % heads);
            let at = |position: usize, i: usize| (position * kv_heads + head / (heads / kv_heads)) * head_dim + i;
            let seen = if causal { positions - tokens + token + 1 } else { positions };
            let score = |position: usize| {
                let products = (0..head_dim).map(|i| wide(&q[row * head_dim + i]) * wide(&k[at(position, i)]));
                products.sum::<f64>() / (head_dim as f64).sqrt()
            };
            let scores: Vec<f64> = (0..seen).map(score).collect();
            attention(&scores, |position, i| wide(&v[at(position, i)]), head_dim)
        })
        .collect()
}

fn flash<T: Pod>(program: &Program, kernel: &str, numbers: &Numbers<T>, head_dim: usize, causal: bool) {
    // Tokens, positions, heads, KV heads: one, around a tile of 32 positions and one of 64 rows, and several blocks.
    for (tokens, positions, heads, kv_heads) in
        [(1, 1, 1, 1), (1, 33, 4, 2), (17, 31, 2, 1), (64, 64, 2, 2), (65, 97, 3, 1)]
    {
        let shape = Shape { tokens, heads, positions, kv_heads, head_dim, causal };
        let q = numbers.random(1, tokens * heads * head_dim);
        let [k, v] = [2, 3].map(|seed| numbers.random(seed, positions * kv_heads * head_dim));
        let expected = reference(numbers, &shape, [&q, &k, &v]);
        let shared = (64 + 4 * 32) * (head_dim + 8) * 2;
        let call = program.call(kernel).grid([tokens.div_ceil(64) as u32, heads as u32, 1]).threads(128);
        let call = call.shared(shared as u32).input(&q).input(&k).input(&v).output::<T>(q.len());
        let call = call.value(tokens as i32).value(positions as i32).value(kv_heads as i32);
        call.value(1.0 / (head_dim as f32).sqrt()).run(|results| {
            for (at, (found, expected)) in results.get::<T>(0).into_iter().zip(&expected).enumerate() {
                // Weights are rounded to 16 bits before they are multiplied with values below 1, and so is the result;
                // exp2f is good to 2 ulp, of exponents below 12.
                let bound = numbers.rounding * (1.0 + expected.abs()) + 2e-5;
                let found = (numbers.wide)(found);
                let (token, head) = (at / head_dim / heads, at / head_dim % heads);
                assert!(
                    (found - expected).abs() <= bound,
                    "{kernel}, {tokens} tokens, {positions} positions, [{token}, {head}]: {found} for {expected}"
                );
            }
        });
    }
}

fn decode<T: Pod>(program: &Program, kernel: &str, numbers: &Numbers<T>, head_dim: usize) {
    for (positions, heads, kv_heads) in [(1, 2, 2), (31, 4, 1), (100, 4, 2)] {
        let shape = Shape { tokens: 1, heads, positions, kv_heads, head_dim, causal: false };
        let q = numbers.random(4, heads * head_dim);
        let [k, v] = [5, 6].map(|seed| numbers.random(seed, positions * kv_heads * head_dim));
        let expected = reference(numbers, &shape, [&q, &k, &v]);
        let call = program.call(kernel).blocks(heads as u32 / 2).block([32, 2, 1]).input(&q).input(&k).input(&v);
        let call = call.output::<f32>(q.len()).value(positions as i32).value(kv_heads as i32);
        call.value(1.0 / (head_dim as f32).sqrt()).run(|results| {
            for (found, expected) in results.get::<f32>(0).into_iter().zip(&expected) {
                // Each position scales what was before it by a factor that is off by 4 ulp.
                let bound = (positions as f64 * 4.0 + 100.0) * 2f64.powi(-23);
                let difference = (f64::from(found) - expected).abs();
                assert!(difference <= bound, "{kernel}, {positions} positions: {found} for {expected}");
            }
        });
    }
}
