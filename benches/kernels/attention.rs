//! The attention of a token after many others.
//!
//! It is measured as a model has it, with norm, projections and rotation, of a model so narrow that these are little; and
//! once with no positions before it. The difference is what the positions take.

use half::f16;
use warpwright::Buffer;
use warpwright::gguf::Gguf;
use warpwright::model::{Activations, Attention, Config, KvCache, KvFormat, Model};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

use crate::cases::AttentionCase;
use crate::linear::uniform;
use crate::{Bench, LAUNCHES, Outcome, Result, relative_error};

/// The hidden state that keys and values are made of.
const HIDDEN: u32 = 256;
/// Hidden states that differ; position n has that of n modulo this.
const DISTINCT: usize = 64;
/// Positions that are taken in at once.
const CHUNK: u32 = 512;
/// What a result may be off by, of its norm: keys, values and activations are rounded.
const TOLERANCE: f64 = 1e-2;

/// Attention with its memory.
struct Setup {
    gguf: Gguf,
    config: Config,
    attention: Attention,
    activations: Activations,
    position: Buffer<u32>,
    hidden: Buffer<f32>,
}

pub(crate) fn run(bench: &Bench, case: &AttentionCase) -> Result<Outcome> {
    let mut setup = Setup::new(bench, case)?;
    let config = setup.config.clone();
    let bytes = case.kv_format.bytes(&config) * (u64::from(case.positions) + 1);
    let copies = bench.copies(bytes);
    let cache = || KvCache::new(&bench.stream, &config, case.positions + 1, case.kv_format);
    let mut caches = vec![cache()?];
    setup.fill(bench, case, &mut caches[0])?;
    while caches.len() < copies {
        let mut copy = cache()?;
        copy.copy_from(&caches[0], case.positions)?;
        caches.push(copy);
    }
    let error = bench.check.then(|| setup.check(bench, case, &mut caches[copies - 1])).transpose()?;
    let mut at = |position: u32| -> Result<f64> {
        setup.position.write(&[position])?;
        let Setup { attention, activations, position, hidden, .. } = &mut setup;
        let mut hidden = hidden.slice(..HIDDEN as usize)?;
        bench.measure(copies, LAUNCHES, |graph, n| {
            attention.forward(graph, &mut hidden, position, 1, &mut caches[n], activations)
        })
    };
    let (far, near) = (at(case.positions)?, at(0)?);
    // The emulator's times may be anything.
    let seconds = if bench.smoke { far } else { far - near };
    // A product and a sum for each element of a key, and of a value, in every query head.
    let operations = 4.0 * f64::from(case.heads * case.head_dim) * f64::from(case.positions + 1);
    Ok(Outcome { seconds, bytes, operations, copies, error })
}

impl Setup {
    fn new(bench: &Bench, case: &AttentionCase) -> Result<Self> {
        let &AttentionCase { heads, kv_heads, head_dim, positions, .. } = case;
        let like = Shape::like("bonsai-4b").ok_or("there is no such shape")?;
        let context = positions + 1;
        let shape =
            Shape { layers: 1, hidden: HIDDEN, ffn: HIDDEN, heads, kv_heads, head_dim, vocab: 256, context, ..like };
        let model = RandomModel { shape, formats: Formats::all(Format::F16), seed: 3 };
        let gguf = Gguf::from_bytes(model.to_bytes()?)?;
        let config = Config::read(&gguf)?;
        let model = Model::load(&gguf, &bench.kernels, &bench.stream)?;
        let attention = model.layers()[0].attention.clone();
        let activations = Activations::new(&bench.stream, &config, CHUNK)?;
        let position = Buffer::zeroed(&bench.stream, 1)?;
        let hidden = Buffer::zeroed(&bench.stream, (CHUNK * HIDDEN) as usize)?;
        Ok(Self { gguf, config, attention, activations, position, hidden })
    }

    /// The hidden state of a position.
    fn input(position: usize) -> impl Iterator<Item = f32> {
        (0..HIDDEN).map(move |n| uniform((position % DISTINCT) as u32 * HIDDEN + n))
    }

    /// Puts keys and values of all positions but the last into a cache.
    fn fill(&mut self, bench: &Bench, case: &AttentionCase, cache: &mut KvCache) -> Result<()> {
        let queue = bench.kernels.on(&bench.stream);
        for start in (0..case.positions).step_by(CHUNK as usize) {
            let count = CHUNK.min(case.positions - start);
            let rows: Vec<f32> = (start..start + count).flat_map(|n| Self::input(n as usize)).collect();
            let mut hidden = self.hidden.slice(..rows.len())?;
            hidden.write(&rows)?;
            self.position.write(&[start])?;
            self.attention.forward(&queue, &mut hidden, &self.position, count, cache, &mut self.activations)?;
        }
        Ok(())
    }

    /// Compares the attention of the last position with that in f64.
    fn check(&mut self, bench: &Bench, case: &AttentionCase, cache: &mut KvCache) -> Result<f64> {
        let input: Vec<f32> = Self::input(case.positions as usize).collect();
        let mut hidden = self.hidden.slice(..HIDDEN as usize)?;
        hidden.write(&input)?;
        self.position.write(&[case.positions])?;
        let queue = bench.kernels.on(&bench.stream);
        self.attention.forward(&queue, &mut hidden, &self.position, 1, cache, &mut self.activations)?;
        // What it adds to the hidden state, since that alone would hide much.
        let added = hidden.read()?.iter().zip(&input).map(|(y, x)| f64::from(*y) - f64::from(*x)).collect::<Vec<_>>();
        relative_error(&added, &Reference::new(&self.gguf, &self.config, case)?.added(), TOLERANCE)
    }
}

/// Attention in plain loops over f64. What the cache rounds is rounded.
struct Reference<'a> {
    config: &'a Config,
    case: &'a AttentionCase,
    norm: Vec<f64>,
    q_norm: Vec<f64>,
    k_norm: Vec<f64>,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    output: Vec<f64>,
}

impl<'a> Reference<'a> {
    fn new(gguf: &Gguf, config: &'a Config, case: &'a AttentionCase) -> Result<Self> {
        let tensor = |name: &str| -> Result<Vec<f64>> {
            let tensor = gguf.tensor(&format!("blk.0.{name}.weight"))?;
            let format = tensor.ty.format().ok_or("a tensor without a format of weights")?;
            Ok(format.dequantize(tensor.data)?.into_iter().map(f64::from).collect())
        };
        Ok(Self {
            config,
            case,
            norm: tensor("attn_norm")?,
            q_norm: tensor("attn_q_norm")?,
            k_norm: tensor("attn_k_norm")?,
            q: tensor("attn_q")?,
            k: tensor("attn_k")?,
            v: tensor("attn_v")?,
            output: tensor("attn_output")?,
        })
    }

    fn rms_norm(&self, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = (mean + f64::from(self.config.eps)).sqrt().recip();
        x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
    }

    /// A head that was normalised, turned by its position.
    fn rotate(&self, head: &[f64], position: usize) -> Vec<f64> {
        let half = head.len() / 2;
        let mut turned = head.to_vec();
        for i in 0..half {
            let turn = position as f64 / self.config.rope_base.powf(i as f64 / half as f64);
            let (sin, cos) = turn.sin_cos();
            turned[i] = head[i] * cos - head[i + half] * sin;
            turned[i + half] = head[i + half] * cos + head[i] * sin;
        }
        turned
    }

    fn keep(&self, head: &[f64]) -> Vec<f64> {
        match self.case.kv_format {
            KvFormat::F16 => head.iter().map(|x| f16::from_f64(*x).to_f64()).collect(),
            KvFormat::Q8 => {
                let scale = head.iter().fold(0.0, |most: f64, x| most.max(x.abs())) / 127.0;
                head.iter().map(|x| (x / scale).round() * scale).collect()
            }
        }
    }

    /// What attention adds to the hidden state of the last position.
    fn added(&self) -> Vec<f64> {
        let (dim, last) = (self.case.head_dim as usize, self.case.positions as usize);
        let normed: Vec<Vec<f64>> = (0..DISTINCT.min(last + 1).max(last % DISTINCT + 1))
            .map(|n| self.rms_norm(&Setup::input(n).map(f64::from).collect::<Vec<_>>(), &self.norm))
            .collect();
        let group = (self.case.heads / self.case.kv_heads) as usize;
        let query_input = &normed[last % DISTINCT];
        let keys: Vec<Vec<f64>> = normed.iter().map(|x| times(&self.k, x)).collect();
        let values: Vec<Vec<f64>> = normed.iter().map(|x| times(&self.v, x)).collect();
        let queries = times(&self.q, query_input);
        let mut mixed = Vec::new();
        for kv_head in 0..self.case.kv_heads as usize {
            let part = kv_head * dim..(kv_head + 1) * dim;
            let normed_keys: Vec<Vec<f64>> =
                keys.iter().map(|keys| self.rms_norm(&keys[part.clone()], &self.k_norm)).collect();
            let kept_values: Vec<Vec<f64>> = values.iter().map(|values| self.keep(&values[part.clone()])).collect();
            let kept: Vec<Vec<f64>> =
                (0..=last).map(|n| self.keep(&self.rotate(&normed_keys[n % DISTINCT], n))).collect();
            for head in kv_head * group..(kv_head + 1) * group {
                let query = self.rotate(&self.rms_norm(&queries[head * dim..][..dim], &self.q_norm), last);
                let dot = |key: &Vec<f64>| query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt();
                let scores: Vec<f64> = kept.iter().map(dot).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let mut head = vec![0.0; dim];
                for (n, weight) in weights.iter().enumerate() {
                    let value = &kept_values[n % DISTINCT];
                    head.iter_mut().zip(value).for_each(|(head, value)| *head += weight / sum * value);
                }
                mixed.extend(head);
            }
        }
        times(&self.output, &mixed)
    }
}

/// A matrix times a vector.
fn times(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}
