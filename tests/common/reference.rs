//! The whole model in plain loops over f64, written without a look at the kernels.
//!
//! It shares only the GGUF reader with what it is the measure of. Keys and values are rounded as the cache does it.

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
    interleaved: bool,
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
    /// Of queries, keys and values.
    biases: [Option<Vec<f64>>; 3],
    q_norm: Option<Vec<f64>>,
    k_norm: Option<Vec<f64>>,
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
        let dot = |row: &[f64]| {
            // several sums at a time, which a processor adds side by side
            let mut sums = [0.0; 8];
            for (w, x) in row.chunks(8).zip(x.chunks(8)) {
                sums.iter_mut().zip(w.iter().zip(x)).for_each(|(sum, (w, x))| *sum += w * x);
            }
            sums.iter().sum()
        };
        self.weights.chunks_exact(self.columns).map(dot).collect()
    }
}

fn dequantize(tensor: &Tensor<'_>) -> Vec<f64> {
    weights(&tensor.ty.to_string(), tensor.data)
}

fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + eps).sqrt() * w).collect()
}

/// What the cache of keys and values makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Rounded to 16-bit floating-point numbers.
    F16,
    /// Rounded to 8-bit integers times the largest of a head over 127.
    Q8,
    /// Left as they are.
    Exact,
}

impl Cache {
    fn keep(self, x: &[f64], head_dim: usize) -> Vec<f64> {
        match self {
            Self::F16 => x.iter().map(|x| f16::from_f64(*x).to_f64()).collect(),
            Self::Q8 => {
                let head = |head: &[f64]| {
                    let scale = head.iter().fold(0.0, |largest: f64, x| largest.max(x.abs())) / 127.0;
                    head.iter()
                        .map(|x| if scale == 0.0 { 0.0 } else { (x / scale).round() * scale })
                        .collect::<Vec<f64>>()
                };
                x.chunks_exact(head_dim).flat_map(head).collect()
            }
            Self::Exact => x.to_vec(),
        }
    }
}

impl Reference {
    pub fn new(gguf: &Gguf) -> Self {
        let architecture = gguf.string("general.architecture").expect("the architecture").to_owned();
        let key = |key: &str| format!("{architecture}.{key}");
        let int = |name: &str| gguf.integer(&key(name)).ok().map(|value| value as usize);
        let need = |name: &str| int(name).expect(name);
        let float = |name: &str| gguf.float(&key(name)).ok();
        let vector = |name: &str| gguf.tensor(name).ok().map(|tensor| dequantize(&tensor));
        let need_vector = |name: &str| vector(name).expect(name);
        let matrix = |name: &str| {
            let tensor = gguf.tensor(name).expect(name);
            Matrix { columns: tensor.dimensions[0] as usize, weights: dequantize(&tensor) }
        };
        let (hidden, heads) = (need("embedding_length"), need("attention.head_count"));
        let head_dim = int("attention.key_length").unwrap_or(hidden / heads);
        let rotary_dim = int("rope.dimension_count").unwrap_or(head_dim);
        let base = float("rope.freq_base").unwrap_or(10_000.0);
        let (mut frequencies, mut magnitude) = (Vec::new(), 1.0);
        for pair in 0..rotary_dim / 2 {
            frequencies.push(1.0 / base.powf(2.0 * pair as f64 / rotary_dim as f64));
        }
        let factor = || float("rope.scaling.factor").expect("factor");
        match gguf.string(&key("rope.scaling.type")) {
            Ok("yarn") => {
                let original = need("rope.scaling.original_context_length") as f64;
                let correction = |rotations: f64| {
                    rotary_dim as f64 * (original / (rotations * std::f64::consts::TAU)).ln() / (2.0 * base.ln())
                };
                let low = correction(32.0).floor().max(0.0);
                let high = correction(1.0).ceil().min(rotary_dim as f64 - 1.0);
                for (pair, frequency) in frequencies.iter_mut().enumerate() {
                    let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                    *frequency = *frequency * (1.0 - ramp) + *frequency / factor() * ramp;
                }
                magnitude = 0.1 * factor().ln() + 1.0;
            }
            Ok("linear") => frequencies.iter_mut().for_each(|frequency| *frequency /= factor()),
            _ => {}
        }
        if let Some(factors) = vector("rope_freqs.weight") {
            frequencies.iter_mut().zip(factors).for_each(|(frequency, factor)| *frequency /= factor);
        }
        let layers = (0..need("block_count")).map(|n| {
            let name = |part: &str| format!("blk.{n}.{part}");
            Layer {
                attn_norm: need_vector(&name("attn_norm.weight")),
                q: matrix(&name("attn_q.weight")),
                k: matrix(&name("attn_k.weight")),
                v: matrix(&name("attn_v.weight")),
                biases: ["attn_q.bias", "attn_k.bias", "attn_v.bias"].map(|part| vector(&name(part))),
                q_norm: vector(&name("attn_q_norm.weight")),
                k_norm: vector(&name("attn_k_norm.weight")),
                attn_output: matrix(&name("attn_output.weight")),
                ffn_norm: need_vector(&name("ffn_norm.weight")),
                gate: matrix(&name("ffn_gate.weight")),
                up: matrix(&name("ffn_up.weight")),
                down: matrix(&name("ffn_down.weight")),
            }
        });
        let layers = layers.collect();
        let embedding = matrix("token_embd.weight");
        Self {
            hidden,
            heads,
            kv_heads: int("attention.head_count_kv").unwrap_or(heads),
            head_dim,
            vocab: embedding.weights.len() / embedding.columns,
            eps: float("attention.layer_norm_rms_epsilon").expect("eps"),
            frequencies,
            magnitude,
            interleaved: architecture == "llama",
            embedding,
            layers,
            output_norm: need_vector("output_norm.weight"),
            output: gguf.tensor("output.weight").ok().map(|_| matrix("output.weight")),
        }
    }

    /// RMS norm of a head, if there is one, then its rotation: the elements of a pair are half of what is rotated apart, or
    /// neighbours.
    fn head(&self, x: &[f64], norm: Option<&[f64]>, position: usize) -> Vec<f64> {
        let x = norm.map_or(x.to_vec(), |norm| rms_norm(x, norm, self.eps));
        let half = self.frequencies.len();
        let mut rotated = x.clone();
        for i in 0..half {
            let (a, b) = if self.interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
            let (sin, cos) = (position as f64 * self.frequencies[i]).sin_cos();
            rotated[a] = (x[a] * cos - x[b] * sin) * self.magnitude;
            rotated[b] = (x[b] * cos + x[a] * sin) * self.magnitude;
        }
        rotated
    }

    /// The logits after each token of a sequence, with a cache in f16.
    pub fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let mut run = self.run(Cache::F16);
        tokens.iter().map(|token| run.step(*token)).collect()
    }

    /// A sequence, from its start.
    pub fn run(&self, cache: Cache) -> Run<'_> {
        Run { reference: self, cache, kept: self.layers.iter().map(|_| Vec::new()).collect(), position: 0 }
    }
}

/// A sequence of tokens, as far as it was taken in.
pub struct Run<'r> {
    reference: &'r Reference,
    cache: Cache,
    /// Of each layer, of each position: all key heads, all value heads.
    kept: Vec<Vec<(Vec<f64>, Vec<f64>)>>,
    position: usize,
}

impl Run<'_> {
    /// The logits after one more token.
    pub fn step(&mut self, token: u32) -> Vec<f64> {
        let Self { reference, cache, kept, position } = self;
        let (dim, eps) = (reference.head_dim, reference.eps);
        let mut h = reference.embedding.row(token as usize).to_vec();
        for (layer, kept) in reference.layers.iter().zip(kept) {
            let x = rms_norm(&h, &layer.attn_norm, eps);
            let [q, k, v] = [(&layer.q, 0), (&layer.k, 1), (&layer.v, 2)].map(|(matrix, n)| {
                let product = matrix.times(&x);
                match &layer.biases[n] {
                    Some(bias) => product.iter().zip(bias).map(|(x, b)| x + b).collect(),
                    None => product,
                }
            });
            let heads = |x: &[f64], norm: &Option<Vec<f64>>| -> Vec<f64> {
                x.chunks_exact(dim).flat_map(|head| reference.head(head, norm.as_deref(), *position)).collect()
            };
            let (q, k) = (heads(&q, &layer.q_norm), heads(&k, &layer.k_norm));
            kept.push((cache.keep(&k, dim), cache.keep(&v, dim)));
            let mut mixed = Vec::new();
            for (n, q) in q.chunks_exact(dim).enumerate() {
                let at = n / (reference.heads / reference.kv_heads) * dim;
                let score = |k: &[f64]| -> f64 {
                    q.iter().zip(&k[at..at + dim]).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()
                };
                let scores: Vec<f64> = kept.iter().map(|(k, _)| score(k)).collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..dim {
                    mixed.push(weights.iter().zip(&*kept).map(|(w, (_, v))| w / sum * v[at + i]).sum::<f64>());
                }
            }
            for (h, x) in h.iter_mut().zip(layer.attn_output.times(&mixed)) {
                *h += x;
            }
            let x = rms_norm(&h, &layer.ffn_norm, eps);
            let gate = layer.gate.times(&x).into_iter().map(|g| g / (1.0 + (-g).exp()));
            let gated: Vec<f64> = gate.zip(layer.up.times(&x)).map(|(g, u)| g * u).collect();
            for (h, x) in h.iter_mut().zip(layer.down.times(&gated)) {
                *h += x;
            }
        }
        *position += 1;
        let x = rms_norm(&h, &reference.output_norm, eps);
        reference.output.as_ref().unwrap_or(&reference.embedding).times(&x)
    }
}
