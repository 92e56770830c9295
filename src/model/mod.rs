//! Transformers of the Qwen3 architecture with Q1_0 weights.
//!
//! A [`Model`] is weights on a device, made of public pieces: [`Linear`], [`Attention`] and [`FeedForward`], which make a
//! [`Layer`]. Each launches its kernels onto a queue, or into a graph, so an engine may take a whole model or one
//! projection. A [`Session`] is a sequence that a model goes on with: its tokens, its cache of keys and values, and the
//! graph of one decode step.

mod attention;
mod config;
mod error;
mod feed_forward;
mod linear;
mod rope;
mod sampling;
mod session;

use std::sync::Arc;

use cudarc::driver::CudaStream;

pub use attention::{Attention, KvCache};
pub use config::{Config, Yarn};
pub use error::ModelError;
pub use feed_forward::FeedForward;
pub use linear::Linear;
pub use rope::Rope;
pub use sampling::{Sampling, SamplingError};
pub use session::Session;

use crate::buffer::Buffer;
use crate::gguf::Gguf;
use crate::kernel::embedding::Q1_0EmbeddingRow;
use crate::kernel::rms_norm::RmsNorm;
use crate::kernel::{Kernels, Set};
use crate::launch::{LaunchError, Target};

/// A transformer layer: attention, then the feed-forward network, each added to the hidden state.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The attention.
    pub attention: Attention,
    /// The feed-forward network.
    pub feed_forward: FeedForward,
}

/// Where a layer keeps what it computes on the way. Layers share one of these.
#[derive(Debug)]
pub struct Activations {
    /// The hidden state, normalised: `[hidden]`.
    normed: Buffer<f32>,
    /// Queries, keys and values: `[heads + 2 * kv_heads, head_dim]`.
    qkv: Buffer<f32>,
    /// What attention mixed: `[heads, head_dim]`.
    mixed: Buffer<f32>,
    /// Gate and what it gates: `[2, ffn]`.
    gate_up: Buffer<f32>,
    /// The gated: `[ffn]`.
    gated: Buffer<f32>,
}

impl Activations {
    /// Memory for the layers of a model.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn new(stream: &Arc<CudaStream>, config: &Config) -> Result<Self, ModelError> {
        let zeroed = |elements: u32| Buffer::zeroed(stream, elements as usize);
        Ok(Self {
            normed: zeroed(config.hidden)?,
            qkv: zeroed(config.qkv_rows())?,
            mixed: zeroed(config.heads * config.head_dim)?,
            gate_up: zeroed(2 * config.ffn)?,
            gated: zeroed(config.ffn)?,
        })
    }
}

impl Layer {
    /// Adds what the layer makes of the token at `position` to `hidden`, `[hidden]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn forward<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        hidden: &mut Buffer<f32>,
        position: &Buffer<u32>,
        cache: &mut KvCache,
        activations: &mut Activations,
    ) -> Result<(), LaunchError> {
        self.attention.forward(onto, hidden, position, cache, activations)?;
        self.feed_forward.forward(onto, hidden, activations)
    }
}

/// A model: its weights on a device.
///
/// Cloning it is cheap, and gives the same weights.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    kernels: Kernels,
    embedding: Linear,
    layers: Arc<[Layer]>,
    output_norm: Buffer<f32>,
    output: Linear,
}

impl Model {
    /// Uploads the weights of a file.
    ///
    /// # Errors
    /// What is wrong with the file, or missing in it; or what the driver says.
    pub fn load(gguf: &Gguf, kernels: &Kernels, stream: &Arc<CudaStream>) -> Result<Self, ModelError> {
        let config = Config::read(gguf)?;
        let (hidden, vocab) = (config.hidden, config.vocab);
        let rope = Rope::new(stream, &config)?;
        let embedding = Linear::load(stream, gguf, &[("token_embd.weight", vocab)], hidden)?;
        let layer = |n: u32| -> Result<Layer, ModelError> {
            Ok(Layer {
                attention: Attention::load(stream, gguf, n, &config, &rope)?,
                feed_forward: FeedForward::load(stream, gguf, n, &config)?,
            })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<Vec<_>, _>>()?;
        // Without an output matrix of its own the model uses that of the embedding.
        let output = match gguf.tensor("output.weight") {
            Ok(_) => Linear::load(stream, gguf, &[("output.weight", vocab)], hidden)?,
            Err(_) => embedding.clone(),
        };
        let output_norm = load_vector(stream, gguf, "output_norm.weight", hidden)?;
        let kernels = kernels.clone();
        Ok(Self { config, kernels, embedding, layers: layers.into(), output_norm, output })
    }

    /// The shape of the model.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The kernels that it runs.
    #[must_use]
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Its layers.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The embedding of the token at `position` of `tokens`, `[context]`, into `hidden`, `[hidden]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn embed<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        tokens: &Buffer<u32>,
        position: &Buffer<u32>,
        hidden: &mut Buffer<f32>,
    ) -> Result<(), LaunchError> {
        Q1_0EmbeddingRow {
            tokens,
            position,
            signs: self.embedding.signs(),
            scales: self.embedding.scales(),
            out: hidden,
            // A buffer longer than 2^32 fails the check of its length.
            context: tokens.len().try_into().unwrap_or(u32::MAX),
            vocab: self.config.vocab,
            blocks: self.embedding.blocks(),
        }
        .launch(onto)?;
        Ok(())
    }

    /// The logits, `[vocab]`, of a hidden state, `[hidden]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn logits<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        hidden: &Buffer<f32>,
        logits: &mut Buffer<f32>,
        activations: &mut Activations,
    ) -> Result<(), LaunchError> {
        normalise(onto, hidden, &self.output_norm, &mut activations.normed, self.config.eps)?;
        self.output.forward(onto, &activations.normed, logits)
    }
}

/// RMS norm of one row.
fn normalise<Q: Target<Set = Set>>(
    onto: &Q,
    x: &Buffer<f32>,
    weight: &Buffer<f32>,
    out: &mut Buffer<f32>,
    eps: f32,
) -> Result<(), LaunchError> {
    // A weight longer than 2^32 fails the check of its length.
    let dim = weight.len().try_into().unwrap_or(u32::MAX);
    RmsNorm { x, weight, out, rows: 1, dim, eps }.launch(onto)?;
    Ok(())
}

/// Uploads a vector, which has to be of 32-bit floating-point numbers.
fn load_vector(stream: &Arc<CudaStream>, gguf: &Gguf, name: &str, length: u32) -> Result<Buffer<f32>, ModelError> {
    let tensor = gguf.tensor(name)?;
    error::check_tensor(&tensor, crate::gguf::TensorType::F32, &[u64::from(length)])?;
    let (numbers, _) = tensor.data.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Buffer::from_host(stream, &numbers)?)
}
