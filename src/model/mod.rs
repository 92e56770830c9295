//! Decoders of the Qwen3, Qwen2 and Llama architectures, with weights in any [format](crate::quant::Format).
//!
//! A [`Model`] is weights on a device, made of public pieces: [`Linear`], [`Attention`] and [`FeedForward`], which make a
//! [`Layer`]. Each launches its kernels onto a queue, or into a graph, so an engine may take a whole model or one
//! projection. A [`Session`] is a sequence that a model goes on with: its tokens, its cache of keys and values, and the
//! graph of one decode step.

mod attention;
mod config;
mod error;
mod feed_forward;
mod kv_cache;
mod linear;
mod load;
mod memory;
mod norm;
mod rope;
mod sampling;
mod session;
mod upload;

use std::sync::Arc;

use cudarc::driver::CudaStream;

pub use attention::Attention;
use attention::Splits;
pub use config::{Architecture, Config, RopeScaling, Yarn};
pub use error::ModelError;
pub use feed_forward::FeedForward;
pub use kv_cache::{KvCache, KvFormat, KvShape};
pub use linear::Linear;
pub use load::Loader;
pub use memory::MemoryNeed;
pub use norm::Norm;
pub use rope::Rope;
pub use sampling::{Sampling, SamplingError};
pub use session::{Chosen, Session, SessionOptions};

use crate::buffer::Buffer;
use crate::gguf::Gguf;
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

/// Where a layer keeps what it computes on the way, for as many tokens as it takes in at once. Layers share one of these.
#[derive(Debug)]
pub struct Activations {
    /// The hidden state, normalised: `[tokens, hidden]`.
    normed: Buffer<f32>,
    /// Queries, keys and values: `[tokens, heads + 2 * kv_heads, head_dim]`.
    qkv: Buffer<f32>,
    /// What attention mixed: `[tokens, heads, head_dim]`.
    mixed: Buffer<f32>,
    /// Parts of that, of a token.
    splits: Splits,
    /// Gate and what it gates: `[tokens, 2, ffn]`.
    gate_up: Buffer<f32>,
    /// The gated: `[tokens, ffn]`.
    gated: Buffer<f32>,
}

impl Activations {
    /// Memory for the layers of a model, and up to `tokens` tokens at once.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn new(stream: &Arc<CudaStream>, config: &Config, tokens: u32) -> Result<Self, ModelError> {
        // What does not fit in an address is too large for a buffer as well.
        let zeroed = |row: u32| Buffer::zeroed(stream, (row as usize).saturating_mul(tokens as usize));
        Ok(Self {
            normed: zeroed(config.hidden)?,
            qkv: zeroed(config.qkv_rows())?,
            mixed: zeroed(config.heads * config.head_dim)?,
            splits: Splits::new(stream, config)?,
            gate_up: zeroed(2 * config.ffn)?,
            gated: zeroed(config.ffn)?,
        })
    }
}

impl Layer {
    /// Adds what the layer makes of `tokens` tokens, the first of which is at `position[0]`, to `hidden`,
    /// `[tokens, hidden]`.
    ///
    /// # Errors
    /// Activations for fewer tokens, and what else [`LaunchError`] has.
    pub fn forward<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        hidden: &mut Buffer<f32>,
        position: &Buffer<u32>,
        tokens: u32,
        cache: &mut KvCache,
        activations: &mut Activations,
    ) -> Result<(), LaunchError> {
        self.attention.forward(onto, hidden, position, tokens, cache, activations)?;
        self.feed_forward.forward(onto, hidden, tokens, activations)
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
    output_norm: Norm,
    output: Linear,
}

impl Model {
    /// Uploads the weights of a file.
    ///
    /// # Errors
    /// What is wrong with the file, or missing in it; or what the driver says.
    pub fn load(gguf: &Gguf, kernels: &Kernels, stream: &Arc<CudaStream>) -> Result<Self, ModelError> {
        Self::from_loader(&mut Loader::new(gguf, stream, &mut |_| {}), kernels)
    }

    /// Uploads the weights of a loader's file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_loader(loader: &mut Loader<'_, '_>, kernels: &Kernels) -> Result<Self, ModelError> {
        let config = Config::read(loader.gguf())?;
        let (hidden, vocab) = (config.hidden, config.vocab);
        let rope = Rope::load(loader, &config)?;
        let embedding = loader.linear(&[("token_embd.weight".to_owned(), vocab)], hidden)?;
        let layer = |n: u32| -> Result<Layer, ModelError> {
            Ok(Layer {
                attention: Attention::load(loader, n, &config, &rope)?,
                feed_forward: FeedForward::load(loader, n, &config)?,
            })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<Vec<_>, _>>()?;
        let output = if config.tied {
            embedding.clone()
        } else {
            loader.linear(&[("output.weight".to_owned(), vocab)], hidden)?
        };
        let output_norm = Norm::load(loader, "output_norm.weight", hidden, config.eps)?;
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

    /// The embeddings of the `rows` tokens from `position` on of `tokens`, `[context]`, into `hidden`, `[rows, hidden]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn embed<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        tokens: &Buffer<u32>,
        position: &Buffer<u32>,
        hidden: &mut Buffer<f32>,
        rows: u32,
    ) -> Result<(), LaunchError> {
        self.embedding.embed(onto, tokens, position, hidden, rows)
    }

    /// The logits, `[rows, vocab]`, of hidden states, `[rows, hidden]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn logits<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        hidden: &Buffer<f32>,
        logits: &mut Buffer<f32>,
        rows: u32,
        activations: &mut Activations,
    ) -> Result<(), LaunchError> {
        let normed = &mut first(&activations.normed, rows as usize * self.config.hidden as usize);
        self.output.forward_normed(onto, &self.output_norm, hidden, normed, logits, rows)
    }

    /// The bytes of weights that one token takes in: all matrices and norms, and of the embedding one row.
    #[must_use]
    pub fn bytes_per_token(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.attention.bytes() + layer.feed_forward.bytes());
        let row = self.embedding.bytes() / (self.config.vocab as usize).max(1);
        layers.sum::<u64>() + (self.output.bytes() + self.output_norm.weight.bytes() + row) as u64
    }
}

/// The first elements of a buffer. Where it has fewer it is all of them, and a launch fails the check of their number.
fn first(buffer: &Buffer<f32>, elements: usize) -> Buffer<f32> {
    buffer.slice(..elements).unwrap_or_else(|_| buffer.clone())
}
