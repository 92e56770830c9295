//! The whole model in plain loops over f64, written without a look at the kernels.
//!
//! It shares only the GGUF reader with what it is the measure of. Keys and values are rounded to f16, as the cache does.

use half::f16;
use warpwright::gguf::{Gguf, Tensor};

use super::blocks::weights;

/// A model with its weights dequantized.
pub struct Reference {
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    eps: f64,
    /// Radians from one position to the next, for each pair of a head.
    frequencies: Vec<f64>,
    magnitude: f64,
    embedding: Matrix,
    layers: Vec<Layer>,
    output_norm: Vec<f64>,
    output: Option<Matrix>,
}

struct Layer {
    attn_norm: Vec<f64>,
    q: Matrix,
    k: Matrix,
    v: Matrix,
    q_norm: Vec<f64>,
    k_norm: Vec<f64>,
    attn_output: Matrix,
    ffn_norm: Vec<f64>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// `[rows, columns]`
struct Matrix {
    columns: usize,
    weights: Vec<f64>,
}

impl Matrix {
    fn row(&self, n: usize) -> &[f64] {
        &self.weights[n * self.columns..][..self.columns]
    }

    fn times(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.columns);
        self.weights.chunks_exact(self.columns).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }
}

fn dequantize(tensor: &Tensor<'_>) -> Vec<f64> {
    weights(&tensor.ty.to_string(), tensor.data)
}

fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + eps).sqrt() * w).collect()
}

impl Reference {
    pub fn new(gguf: &Gguf) -> Self {
        let int = |key: &str| gguf.integer(&format!("qwen3.{key}")).expect(key) as usize;
        let vector = |name: &str| dequantize(&gguf.tensor(name).expect(name));
        let matrix = |name: &str| {
            let tensor = gguf.tensor(name).expect(name);
            Matrix { columns: tensor.dimensions[0] as usize, weights: dequantize(&tensor) }
        };
        let head_dim = int("attention.key_length");
        let base = gguf.float("qwen3.rope.freq_base").expect("base");
        let (mut frequencies, mut magnitude) = (Vec::new(), 1.0);
        for pair in 0..head_dim / 2 {
            frequencies.push(1.0 / base.powf(2.0 * pair as f64 / head_dim as f64));
        }
        if gguf.string("qwen3.rope.scaling.type").ok() == Some("yarn") {
            let factor = gguf.float("qwen3.rope.scaling.factor").expect("factor");
            let original = int("rope.scaling.original_context_length") as f64;
            let correction = |rotations: f64| {
                head_dim as f64 * (original / (rotations * std::f64::consts::TAU)).ln() / (2.0 * base.ln())
            };
            let low = correction(32.0).floor().max(0.0);
            let high = correction(1.0).ceil().min(head_dim as f64 - 1.0);
            for (pair, frequency) in frequencies.iter_mut().enumerate() {
                let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                *frequency = *frequency * (1.0 - ramp) + *frequency / factor * ramp;
            }
            magnitude = 0.1 * factor.ln() + 1.0;
        }
        let layers = (0..int("block_count")).map(|n| {
            let name = |part: &str| format!("blk.{n}.{part}.weight");
            Layer {
                attn_norm: vector(&name("attn_norm")),
                q: matrix(&name("attn_q")),
                k: matrix(&name("attn_k")),
                v: matrix(&name("attn_v")),
                q_norm: vector(&name("attn_q_norm")),
                k_norm: vector(&name("attn_k_norm")),
                attn_output: matrix(&name("attn_output")),
                ffn_norm: vector(&name("ffn_norm")),
                gate: matrix(&name("ffn_gate")),
                up: matrix(&name("ffn_up")),
                down: matrix(&name("ffn_down")),
            }
        });
        let layers = layers.collect();
        let embedding = matrix("token_embd.weight");
        Self {
            hidden: int("embedding_length"),
            heads: int("attention.head_count"),
            kv_heads: int("attention.head_count_kv"),
            head_dim,
            vocab: embedding.weights.len() / embedding.columns,
            eps: gguf.float("qwen3.attention.layer_norm_rms_epsilon").expect("eps"),
            frequencies,
            magnitude,
            embedding,
            layers,
            output_norm: vector("output_norm.weight"),
            output: gguf.tensor("output.weight").ok().map(|_| matrix("output.weight")),
        }
    }

    /// RMS norm of a head, then its rotation: pairs are `head_dim / 2` apart.
    fn head(&self, x: &[f64], norm: &[f64], position: usize) -> Vec<f64> {
        let x = rms_norm(x, norm, self.eps);
        let half = self.head_dim / 2;
        let mut rotated = vec![0.0; self.head_dim];
        for i in 0..half {
            let (sin, cos) = (position as f64 * self.frequencies[i]).sin_cos();
            rotated[i] = (x[i] * cos - x[i + half] * sin) * self.magnitude;
            rotated[i + half] = (x[i + half] * cos + x[i] * sin) * self.magnitude;
        }
        rotated
    }

    /// The logits after each token of a sequence.
    pub fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let rounded = |x: &[f64]| x.iter().map(|x| f16::from_f64(*x).to_f64()).collect::<Vec<f64>>();
        let dim = self.head_dim;
        // of each layer, of each position: all key heads, all value heads
        let mut cache: Vec<Vec<(Vec<f64>, Vec<f64>)>> = self.layers.iter().map(|_| Vec::new()).collect();
        let mut all = Vec::new();
        for (position, &token) in tokens.iter().enumerate() {
            let mut h = self.embedding.row(token as usize).to_vec();
            for (layer, cache) in self.layers.iter().zip(&mut cache) {
                let x = rms_norm(&h, &layer.attn_norm, self.eps);
                let (q, k, v) = (layer.q.times(&x), layer.k.times(&x), layer.v.times(&x));
                let heads = |x: &[f64], norm: &[f64]| -> Vec<f64> {
                    x.chunks_exact(dim).flat_map(|head| self.head(head, norm, position)).collect()
                };
                let (q, k) = (heads(&q, &layer.q_norm), heads(&k, &layer.k_norm));
                cache.push((rounded(&k), rounded(&v)));
                let mut mixed = Vec::new();
                for (n, q) in q.chunks_exact(dim).enumerate() {
                    let at = n / (self.heads / self.kv_heads) * dim;
                    let score = |k: &[f64]| -> f64 {
                        q.iter().zip(&k[at..at + dim]).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()
                    };
                    let scores: Vec<f64> = cache.iter().map(|(k, _)| score(k)).collect();
                    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for i in 0..dim {
                        mixed.push(weights.iter().zip(&*cache).map(|(w, (_, v))| w / sum * v[at + i]).sum::<f64>());
                    }
                }
                for (h, x) in h.iter_mut().zip(layer.attn_output.times(&mixed)) {
                    *h += x;
                }
                let x = rms_norm(&h, &layer.ffn_norm, self.eps);
                let gate = layer.gate.times(&x).into_iter().map(|g| g / (1.0 + (-g).exp()));
                let gated: Vec<f64> = gate.zip(layer.up.times(&x)).map(|(g, u)| g * u).collect();
                for (h, x) in h.iter_mut().zip(layer.down.times(&gated)) {
                    *h += x;
                }
            }
            let x = rms_norm(&h, &self.output_norm, self.eps);
            all.push(self.output.as_ref().unwrap_or(&self.embedding).times(&x));
        }
        all
    }
}
