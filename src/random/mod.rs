//! Random models: exact in structure, of any shape and format, for tests and benchmarks.
//!
//! The same seed makes the same bytes. Weights are so large that activations keep their size through the layers. A model
//! is written as it is made, so one of the shape of Bonsai-8B takes little memory.

mod blocks;
mod numbers;
mod shape;
mod vocabulary;

use std::io::Write;

pub use shape::Shape;

use crate::gguf::{Header, Value, WriteError};
use crate::model::Architecture;
use crate::quant::Format;
use crate::quantize::Formats;
use numbers::Numbers;

/// Blocks that are made at a time.
const PIECE: usize = 4096;

/// What a random model is made of.
#[derive(Debug, Clone)]
pub struct RandomModel {
    /// Its shape.
    pub shape: Shape,
    /// The formats of its matrices.
    pub formats: Formats,
    /// What its weights are made from.
    pub seed: u64,
}

/// A tensor of a model.
struct Tensor {
    name: String,
    dimensions: Vec<u64>,
    values: Values,
}

/// What is in a tensor.
#[derive(Clone, Copy)]
enum Values {
    /// Weights with mean 0.
    Weights,
    /// Around 1.
    Norm,
    /// Around 0.
    Bias,
}

impl RandomModel {
    fn tensors(&self) -> Vec<Tensor> {
        let Shape { architecture, layers, hidden, ffn, heads, kv_heads, head_dim, vocab, tied, .. } = self.shape;
        let [hidden, ffn, vocab, head_dim] = [hidden, ffn, vocab, head_dim].map(u64::from);
        let (q, kv) = (u64::from(heads) * head_dim, u64::from(kv_heads) * head_dim);
        let mut tensors = Vec::new();
        let mut add = |name: String, dimensions: &[u64], values| {
            tensors.push(Tensor { name, dimensions: dimensions.to_vec(), values });
        };
        add("token_embd.weight".to_owned(), &[hidden, vocab], Values::Weights);
        add("output_norm.weight".to_owned(), &[hidden], Values::Norm);
        if !tied {
            add("output.weight".to_owned(), &[hidden, vocab], Values::Weights);
        }
        for n in 0..layers {
            let mut part = |part: &str, dimensions: &[u64], values| add(format!("blk.{n}.{part}"), dimensions, values);
            part("attn_norm.weight", &[hidden], Values::Norm);
            part("attn_q.weight", &[hidden, q], Values::Weights);
            part("attn_k.weight", &[hidden, kv], Values::Weights);
            part("attn_v.weight", &[hidden, kv], Values::Weights);
            match architecture {
                Architecture::Qwen3 => {
                    part("attn_q_norm.weight", &[head_dim], Values::Norm);
                    part("attn_k_norm.weight", &[head_dim], Values::Norm);
                }
                Architecture::Qwen2 => {
                    part("attn_q.bias", &[q], Values::Bias);
                    part("attn_k.bias", &[kv], Values::Bias);
                    part("attn_v.bias", &[kv], Values::Bias);
                }
                Architecture::Llama => {}
            }
            part("attn_output.weight", &[q, hidden], Values::Weights);
            part("ffn_norm.weight", &[hidden], Values::Norm);
            part("ffn_gate.weight", &[hidden, ffn], Values::Weights);
            part("ffn_up.weight", &[hidden, ffn], Values::Weights);
            part("ffn_down.weight", &[ffn, hidden], Values::Weights);
        }
        tensors
    }

    /// What stands before the weights in the file; its size says how long the file gets.
    ///
    /// # Errors
    /// A shape whose rows are no whole blocks of the format, by tensor.
    pub fn header(&self) -> Result<Header, WriteError> {
        let shape = &self.shape;
        let mut header = Header::new();
        let architecture = shape.architecture.name();
        header.set("general.architecture", Value::String(architecture))?;
        header.set("general.name", Value::String(&format!("random weights from seed {}", self.seed)))?;
        header.set("general.quantization_version", Value::U32(2))?;
        let key = |name: &str| format!("{architecture}.{name}");
        let integers = [
            ("block_count", shape.layers),
            ("context_length", shape.context),
            ("embedding_length", shape.hidden),
            ("feed_forward_length", shape.ffn),
            ("attention.head_count", shape.heads),
            ("attention.head_count_kv", shape.kv_heads),
            ("attention.key_length", shape.head_dim),
            ("attention.value_length", shape.head_dim),
        ];
        for (name, value) in integers {
            header.set(&key(name), Value::U32(value))?;
        }
        header.set(&key("attention.layer_norm_rms_epsilon"), Value::F32(shape.eps))?;
        header.set(&key("rope.freq_base"), Value::F32(shape.rope_base))?;
        if shape.architecture == Architecture::Llama {
            header.set(&key("rope.dimension_count"), Value::U32(shape.head_dim))?;
            header.set(&key("vocab_size"), Value::U32(shape.vocab))?;
        }
        if let Some((factor, original)) = shape.yarn {
            header.set(&key("rope.scaling.type"), Value::String("yarn"))?;
            header.set(&key("rope.scaling.factor"), Value::F32(factor))?;
            header.set(&key("rope.scaling.original_context_length"), Value::U32(original))?;
        }
        vocabulary::set(&mut header, shape.vocab)?;
        for Tensor { name, dimensions, .. } in self.tensors() {
            header.tensor(&name, &dimensions, self.format(&name, &dimensions).into())?;
        }
        Ok(header)
    }

    fn format(&self, name: &str, dimensions: &[u64]) -> Format {
        self.formats.of(name, dimensions)
    }

    /// Writes the file, and gives back what it was written to.
    ///
    /// # Errors
    /// [`WriteError::Io`], and what [`RandomModel::header`] says.
    pub fn write<W: Write>(&self, out: W) -> Result<W, WriteError> {
        let mut writer = self.header()?.start(out)?;
        let mut piece = Vec::new();
        for Tensor { name, dimensions, values } in self.tensors() {
            let mut numbers = Numbers::new(self.seed, &name);
            let format = self.format(&name, &dimensions);
            let elements: u64 = dimensions.iter().product();
            let deviation = 1.0 / (dimensions[0] as f32).sqrt();
            let mut left = elements / format.block() as u64;
            while left > 0 {
                piece.clear();
                let blocks = left.min(PIECE as u64) as usize;
                match values {
                    Values::Weights => blocks::fill(format, &mut numbers, deviation, blocks, &mut piece),
                    Values::Norm => {
                        piece.extend((0..blocks).flat_map(|_| (1.0 + 0.5 * numbers.uniform()).to_le_bytes()));
                    }
                    Values::Bias => piece.extend((0..blocks).flat_map(|_| (0.5 * numbers.uniform()).to_le_bytes())),
                }
                writer.data(&piece)?;
                left -= blocks as u64;
            }
        }
        writer.finish()
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// What [`RandomModel::header`] says.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        self.write(Vec::new())
    }
}

/// Random blocks of a format, for a matrix by itself: `count` of them, whose weights have mean 0 and about the given deviation.
/// The same seed makes the same bytes.
#[must_use]
pub fn blocks(format: Format, seed: u64, deviation: f32, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count * format.block_bytes());
    blocks::fill(format, &mut Numbers::new(seed, "blocks"), deviation, count, &mut bytes);
    bytes
}
