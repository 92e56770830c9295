//! The feed-forward network of a layer.

use super::config::Config;
use super::error::ModelError;
use super::linear::Linear;
use super::load::Loader;
use super::norm::Norm;
use super::{Activations, first};
use crate::buffer::Buffer;
use crate::kernel::Set;
use crate::launch::{LaunchError, Target};

/// The feed-forward network of a layer: `hidden += Wdown · (silu(Wgate x) ⊙ (Wup x))` with `x = rms_norm(hidden)`.
#[derive(Debug, Clone)]
pub struct FeedForward {
    norm: Norm,
    /// Gate, and what it gates, in one matrix.
    gate_up: Linear,
    down: Linear,
}

impl FeedForward {
    /// Uploads the weights of a layer.
    ///
    /// # Errors
    /// What is missing in the file or has another shape; or what the driver says.
    pub fn load(loader: &mut Loader<'_, '_>, layer: u32, config: &Config) -> Result<Self, ModelError> {
        let &Config { hidden, ffn, eps, .. } = config;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        Ok(Self {
            norm: Norm::load(loader, &name("ffn_norm"), hidden, eps)?,
            gate_up: loader.linear(&[(name("ffn_gate"), ffn), (name("ffn_up"), ffn)], hidden)?,
            down: loader.linear(&[(name("ffn_down"), hidden)], ffn)?,
        })
    }

    /// The bytes of its weights.
    pub(super) fn bytes(&self) -> u64 {
        (self.gate_up.bytes() + self.down.bytes() + self.norm.weight.bytes()) as u64
    }

    /// Adds what the network makes of `hidden`, `[tokens, hidden]`, to it.
    ///
    /// # Errors
    /// Activations for fewer tokens, and what else [`LaunchError`] has.
    pub fn forward<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        hidden: &mut Buffer<f32>,
        tokens: u32,
        activations: &mut Activations,
    ) -> Result<(), LaunchError> {
        let rows = tokens as usize;
        let normed = &mut first(&activations.normed, rows * self.gate_up.columns() as usize);
        let gate_up = &mut first(&activations.gate_up, rows * self.gate_up.rows() as usize);
        let gated = &mut first(&activations.gated, rows * self.down.columns() as usize);
        self.gate_up.forward_gated(onto, &self.norm, hidden, normed, gate_up, gated, tokens)?;
        self.down.forward_add(onto, gated, hidden, tokens)
    }
}
