//! Attention with grouped-query heads.

use super::config::Config;
use super::error::ModelError;
use super::kv_cache::{KvCache, with_rows};
use super::linear::Linear;
use super::load::Loader;
use super::norm::Norm;
use super::rope::Rope;
use super::{Activations, first};
use crate::buffer::Buffer;
use crate::kernel::Set;
use crate::kernel::attention::AttentionDecode;
use crate::kernel::attention_prefill::AttentionPrefill;
use crate::kernel::qkv_rope_store::QkvRopeStore;
use crate::launch::{LaunchError, Target};

/// The attention of a layer: `hidden += Wo · attention(rope(norm(Wq x + b)), rope(norm(Wk x + b)), Wv x + b)` with
/// `x = rms_norm(hidden)`. Not every model has the biases `b`, and the norms of heads.
#[derive(Debug, Clone)]
pub struct Attention {
    norm: Norm,
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
    pub fn load(loader: &mut Loader<'_, '_>, layer: u32, config: &Config, rope: &Rope) -> Result<Self, ModelError> {
        let &Config { hidden, heads, kv_heads, head_dim, eps, head_norms, qkv_bias, .. } = config;
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (q_rows, kv_rows) = (config.query_width(), config.kv_width());
        let qkv = |kind: &str| {
            [("q", q_rows), ("k", kv_rows), ("v", kv_rows)].map(|(n, rows)| (name(&format!("attn_{n}.{kind}")), rows))
        };
        let head_norm = |loader: &mut Loader<'_, '_>, part: &str| {
            head_norms.then(|| loader.vector(&name(part), head_dim)).transpose()
        };
        Ok(Self {
            norm: Norm::load(loader, &name("attn_norm.weight"), hidden, eps)?,
            qkv: loader.linear(&qkv("weight"), hidden)?,
            bias: qkv_bias.then(|| loader.vectors(&qkv("bias"))).transpose()?,
            q_norm: head_norm(loader, "attn_q_norm.weight")?,
            k_norm: head_norm(loader, "attn_k_norm.weight")?,
            rope: rope.clone(),
            output: loader.linear(&[(name("attn_output.weight"), hidden)], q_rows)?,
            heads,
            kv_heads,
            head_dim,
            eps,
        })
    }

    /// The bytes of its weights.
    pub(super) fn bytes(&self) -> u64 {
        let vectors = [Some(&self.norm.weight), self.bias.as_ref(), self.q_norm.as_ref(), self.k_norm.as_ref()];
        let vectors: usize = vectors.into_iter().flatten().map(Buffer::bytes).sum();
        (self.qkv.bytes() + self.output.bytes() + vectors) as u64
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
        self.qkv.forward_normed(onto, &self.norm, hidden, normed, qkv, tokens)?;
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
