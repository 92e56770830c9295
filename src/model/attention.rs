//! Attention with grouped-query heads, over a cache of keys and values.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::f16;

use super::config::Config;
use super::error::ModelError;
use super::linear::Linear;
use super::rope::Rope;
use super::{Activations, load_vector, normalise};
use crate::buffer::Buffer;
use crate::gguf::Gguf;
use crate::kernel::Set;
use crate::kernel::attention::AttentionDecode;
use crate::kernel::kv_store::KvStore;
use crate::kernel::rope::HeadNormRope;
use crate::launch::{LaunchError, Target};

/// The keys and values of one layer, for every position of a context.
#[derive(Debug)]
pub struct KvCache {
    /// `[kv_heads, context, head_dim]`
    keys: Buffer<f16>,
    /// `[kv_heads, context, head_dim]`
    values: Buffer<f16>,
    context: u32,
}

impl KvCache {
    /// Memory for the keys and values of a layer.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn new(stream: &Arc<CudaStream>, config: &Config, context: u32) -> Result<Self, ModelError> {
        let heads = (config.kv_heads * config.head_dim) as usize;
        // What does not fit in an address is too large for a buffer as well.
        let elements = heads.saturating_mul(context as usize);
        let (keys, values) = (Buffer::zeroed(stream, elements)?, Buffer::zeroed(stream, elements)?);
        Ok(Self { keys, values, context })
    }
}

/// The attention of a layer: `hidden += Wo · attention(rope(norm(Wq x)), rope(norm(Wk x)), Wv x)` with
/// `x = rms_norm(hidden)`.
#[derive(Debug, Clone)]
pub struct Attention {
    norm: Buffer<f32>,
    /// Queries, keys and values in one matrix.
    qkv: Linear,
    q_norm: Buffer<f32>,
    k_norm: Buffer<f32>,
    rope: Rope,
    output: Linear,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    eps: f32,
}

impl Attention {
    /// Uploads the weights of a layer.
    ///
    /// # Errors
    /// What is missing in the file or has another shape; or what the driver says.
    pub fn load(
        stream: &Arc<CudaStream>,
        gguf: &Gguf,
        layer: u32,
        config: &Config,
        rope: &Rope,
    ) -> Result<Self, ModelError> {
        let &Config { hidden, heads, kv_heads, head_dim, eps, .. } = config;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (q_rows, kv_rows) = (heads * head_dim, kv_heads * head_dim);
        let qkv = [(name("attn_q"), q_rows), (name("attn_k"), kv_rows), (name("attn_v"), kv_rows)];
        let qkv = qkv.each_ref().map(|(name, rows)| (name.as_str(), *rows));
        Ok(Self {
            norm: load_vector(stream, gguf, &name("attn_norm"), hidden)?,
            qkv: Linear::load(stream, gguf, &qkv, hidden)?,
            q_norm: load_vector(stream, gguf, &name("attn_q_norm"), head_dim)?,
            k_norm: load_vector(stream, gguf, &name("attn_k_norm"), head_dim)?,
            rope: rope.clone(),
            output: Linear::load(stream, gguf, &[(&name("attn_output"), hidden)], q_rows)?,
            heads,
            kv_heads,
            head_dim,
            eps,
        })
    }

    /// Adds the attention of the token at `position` to `hidden`, `[hidden]`, and its keys and values to the cache.
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
        let &Self { heads, kv_heads, head_dim, eps, .. } = self;
        let Activations { normed, qkv, mixed, .. } = activations;
        let context = cache.context;
        normalise(onto, hidden, &self.norm, normed, eps)?;
        self.qkv.forward(onto, normed, qkv, 1)?;
        HeadNormRope {
            qkv: &mut *qkv,
            q_norm: &self.q_norm,
            k_norm: &self.k_norm,
            turns: &self.rope.turns,
            position,
            heads,
            kv_heads,
            head_dim,
            eps,
            magnitude: self.rope.magnitude,
        }
        .launch(onto)?;
        KvStore {
            qkv: &*qkv,
            position,
            k_cache: &mut cache.keys,
            v_cache: &mut cache.values,
            heads,
            kv_heads,
            head_dim,
            context,
        }
        .launch(onto)?;
        AttentionDecode {
            qkv: &*qkv,
            k_cache: &cache.keys,
            v_cache: &cache.values,
            position,
            out: &mut *mixed,
            heads,
            kv_heads,
            head_dim,
            context,
            scale: (f64::from(head_dim).sqrt().recip()) as f32,
        }
        .launch(onto)?;
        self.output.forward_add(onto, mixed, hidden, 1)
    }
}
