//! Attention with grouped-query heads.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::config::Config;
use super::error::ModelError;
use super::kv_cache::{KvCache, with_rows};
use super::linear::Linear;
use super::rope::Rope;
use super::{Activations, first, load_vector, normalise};
use crate::buffer::Buffer;
use crate::gguf::Gguf;
use crate::kernel::Set;
use crate::kernel::attention::AttentionDecode;
use crate::kernel::attention_prefill::AttentionPrefill;
use crate::kernel::qkv_rope_store::QkvRopeStore;
use crate::launch::{LaunchError, Target};

/// The attention of a layer: `hidden += Wo · attention(rope(norm(Wq x + b)), rope(norm(Wk x + b)), Wv x + b)` with
/// `x = rms_norm(hidden)`. Not every model has the biases `b`, and the norms of heads.
#[derive(Debug, Clone)]
pub struct Attention {
    norm: Buffer<f32>,
    /// Queries, keys and values in one matrix.
    qkv: Linear,
    /// That of queries, keys and values.
    bias: Option<Buffer<f32>>,
    q_norm: Option<Buffer<f32>>,
    k_norm: Option<Buffer<f32>>,
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
            // Qwen3, the architecture that is read, has norms of heads and no biases.
            bias: None,
            q_norm: Some(load_vector(stream, gguf, &name("attn_q_norm"), head_dim)?),
            k_norm: Some(load_vector(stream, gguf, &name("attn_k_norm"), head_dim)?),
            rope: rope.clone(),
            output: Linear::load(stream, gguf, &[(&name("attn_output"), hidden)], q_rows)?,
            heads,
            kv_heads,
            head_dim,
            eps,
        })
    }

    /// Adds the attention of `tokens` tokens, the first of which is at `position[0]`, to `hidden`, `[tokens, hidden]`, and
    /// their keys and values to the cache. One token is a step of decoding, several are a prompt, or a part of one.
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
        let &Self { heads, kv_heads, head_dim, eps, .. } = self;
        let rows = tokens as usize;
        let normed = &mut first(&activations.normed, rows * self.qkv.columns() as usize);
        let qkv = &mut first(&activations.qkv, rows * self.qkv.rows() as usize);
        let mixed = &mut first(&activations.mixed, rows * self.output.columns() as usize);
        let context = cache.shape().context;
        normalise(onto, hidden, &self.norm, normed, eps)?;
        self.qkv.forward(onto, normed, qkv, tokens)?;
        with_rows!(cache, |rows| {
            QkvRopeStore {
                qkv: &mut *qkv,
                bias: self.bias.as_ref(),
                q_norm: self.q_norm.as_ref(),
                k_norm: self.k_norm.as_ref(),
                turns: &self.rope.turns,
                position,
                k_cache: &mut rows.keys,
                v_cache: &mut rows.values,
                k_scales: rows.key_scales.as_mut(),
                v_scales: rows.value_scales.as_mut(),
                tokens,
                heads,
                kv_heads,
                head_dim,
                rotary_dim: self.rope.rotary_dim(),
                context,
                interleaved: self.rope.interleaved,
                eps,
                magnitude: self.rope.magnitude,
            }
            .launch(onto)?;
            let (qkv, k_cache, v_cache) = (&*qkv, &rows.keys, &rows.values);
            let (k_scales, v_scales) = (rows.key_scales.as_ref(), rows.value_scales.as_ref());
            let (out, scale) = (&mut *mixed, f64::from(head_dim).sqrt().recip() as f32);
            if tokens == 1 {
                AttentionDecode {
                    qkv,
                    k_cache,
                    v_cache,
                    k_scales,
                    v_scales,
                    position,
                    out,
                    heads,
                    kv_heads,
                    head_dim,
                    context,
                    scale,
                }
                .launch(onto)?;
            } else {
                AttentionPrefill {
                    qkv,
                    k_cache,
                    v_cache,
                    k_scales,
                    v_scales,
                    position,
                    out,
                    tokens,
                    heads,
                    kv_heads,
                    head_dim,
                    context,
                    scale,
                }
                .launch(onto)?;
            }
        });
        self.output.forward_add(onto, mixed, hidden, tokens)
    }
}
