//! How the next token is chosen.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::error::ModelError;
use crate::buffer::Buffer;
use crate::kernel::include;

/// Logits for which there is a block: four for each of its threads.
const LOGITS_OF_BLOCK: u32 = 4 * 1024;

/// Where the blocks that share the logits put what they find.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) parts: Buffer<f32>,
    /// Zero, but while the kernel runs.
    pub(super) arrivals: Buffer<u32>,
    /// Blocks that share the logits. They do not depend on the GPU, so nor does a rounding.
    pub(super) blocks: u32,
}

impl Choice {
    pub(super) fn new(stream: &Arc<CudaStream>, vocab: u32) -> Result<Self, ModelError> {
        let blocks = Self::blocks(vocab);
        Ok(Self {
            parts: Buffer::zeroed(stream, (blocks * include::SAMPLING_PART) as usize)?,
            arrivals: Buffer::zeroed(stream, 1)?,
            blocks,
        })
    }

    fn blocks(vocab: u32) -> u32 {
        vocab.div_ceil(LOGITS_OF_BLOCK).clamp(1, include::SAMPLING_MAX_BLOCKS)
    }

    /// The bytes of device memory that it takes.
    pub(super) fn bytes(vocab: u32) -> u64 {
        4 * u64::from(Self::blocks(vocab) * include::SAMPLING_PART + 1)
    }
}

/// How the next token is chosen, in the order in which it is done: penalty, top-k, top-p, min-p, temperature, draw.
///
/// By default the most likely token is taken, without a penalty.
///
/// ```
/// use warpwright::model::Sampling;
///
/// let sampling = Sampling { temperature: 0.6, top_k: 20, top_p: 0.95, seed: 7, ..Sampling::default() };
/// assert!(sampling.check().is_ok());
/// assert!(Sampling { top_p: 1.5, ..sampling }.check().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides logits before the draw: under 1 likely tokens gain, over 1 they lose; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the fewest of the most likely tokens whose probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keeps what is this many times as likely as the most likely token; 0 keeps all.
    pub min_p: f32,
    /// Positive logits of recent tokens are divided by it, negative ones multiplied; 1 changes nothing.
    pub penalty: f32,
    /// Recent tokens are the last this many, those of the prompt too; [`u32::MAX`] is the whole context.
    pub window: u32,
    /// The numbers drawn follow from this and the position: with the same seed comes the same text.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, penalty: 1.0, window: 64, seed: 0 }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{setting} is {found}, and should be {expected}")]
pub struct SamplingError {
    /// Which.
    pub setting: &'static str,
    /// What it is.
    pub found: f32,
    /// What it may be.
    pub expected: &'static str,
}

impl Sampling {
    /// Whether every setting makes sense.
    ///
    /// # Errors
    /// The first that makes none: a temperature that is negative, a probability outside 0 to 1, a penalty that is not
    /// positive, or any that is not finite.
    pub fn check(&self) -> Result<(), SamplingError> {
        let finite = |number: f32| number.is_finite();
        let probability = |number: f32| (0.0..=1.0).contains(&number);
        let settings = [
            ("the temperature", self.temperature, self.temperature >= 0.0, "a number from 0"),
            ("top-p", self.top_p, probability(self.top_p), "a number from 0 to 1"),
            ("min-p", self.min_p, probability(self.min_p), "a number from 0 to 1"),
            ("the repetition penalty", self.penalty, self.penalty > 0.0, "a number over 0"),
        ];
        match settings.into_iter().find(|(_, found, valid, _)| !(finite(*found) && *valid)) {
            None => Ok(()),
            Some((setting, found, _, expected)) => Err(SamplingError { setting, found, expected }),
        }
    }

    /// Whether the most likely token is always the one.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }

    /// As the kernel [`sample`](crate::kernel::sample) reads it.
    ///
    /// # Errors
    /// See [`check`](Self::check).
    pub fn to_device(&self) -> Result<include::Sampling, SamplingError> {
        self.check()?;
        let Self { temperature, top_k, top_p, min_p, penalty, window, seed } = *self;
        Ok(include::Sampling { temperature, top_p, min_p, penalty, window, top_k, seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let default = Sampling::default();
        assert_eq!(default.check(), Ok(()));
        assert!(default.is_greedy() && !Sampling { temperature: 1.0, ..default }.is_greedy());
        let wrong = [
            (Sampling { temperature: -1.0, ..default }, "the temperature is -1, and should be a number from 0"),
            (Sampling { temperature: f32::NAN, ..default }, "the temperature is NaN"),
            (Sampling { temperature: f32::INFINITY, ..default }, "the temperature is inf"),
            (Sampling { top_p: 1.01, ..default }, "top-p is 1.01, and should be a number from 0 to 1"),
            (Sampling { top_p: -0.1, ..default }, "top-p is -0.1"),
            (Sampling { min_p: f32::NAN, ..default }, "min-p is NaN"),
            (Sampling { penalty: 0.0, ..default }, "the repetition penalty is 0, and should be a number over 0"),
        ];
        for (sampling, message) in wrong {
            let shown = sampling.to_device().map(|_| ()).unwrap_err().to_string();
            assert!(shown.starts_with(message), "{shown}");
        }
    }
}
