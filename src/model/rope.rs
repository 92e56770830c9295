//! The frequencies of the rotary position embedding.

use std::f64::consts::TAU;
use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::config::Config;
use super::error::ModelError;
use crate::buffer::Buffer;

/// How far each pair of a head turns from one position to the next, on a device.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Whole turns of each pair: `[rotary_dim / 2]`.
    pub turns: Buffer<f64>,
    /// What rotated heads are scaled by: YaRN's attention factor, 1 without.
    pub magnitude: f32,
    /// Whether the elements of a pair stand next to one another (Llama), and not half of the rotated part apart.
    pub interleaved: bool,
}

impl Rope {
    /// The frequencies of a model.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn new(stream: &Arc<CudaStream>, config: &Config) -> Result<Self, ModelError> {
        let turns = Buffer::from_host(stream, &turns(config))?;
        Ok(Self { turns, magnitude: magnitude(config), interleaved: false })
    }

    /// How many elements of a head are rotated, the first of it.
    #[must_use]
    pub fn rotary_dim(&self) -> u32 {
        // More than 2^32 fail the check of how long a head is.
        u32::try_from(2 * self.turns.len()).unwrap_or(u32::MAX)
    }
}

/// The attention factor of YaRN: `1 + 0.1 ln(factor)`.
fn magnitude(config: &Config) -> f32 {
    config.yarn.map_or(1.0, |yarn| (1.0 + 0.1 * yarn.factor.ln()) as f32)
}

/// Whole turns of each pair from one position to the next. Without scaling that is `base^(-2i / head_dim) / 2π`.
///
/// YaRN leaves pairs alone that turn more than 32 times in the original context, divides by its factor those that turn
/// less than once, and blends in between.
fn turns(config: &Config) -> Vec<f64> {
    let dim = f64::from(config.head_dim);
    let base = config.rope_base;
    let plain = (0..config.head_dim / 2).map(|pair| base.powf(-2.0 * f64::from(pair) / dim) / TAU);
    let Some(yarn) = config.yarn else {
        return plain.collect();
    };
    let original = f64::from(yarn.original_context);
    // The pair that turns a number of times in the original context.
    let pair_of = |times: f64| dim * (original / (times * TAU)).ln() / (2.0 * base.ln());
    let low = pair_of(32.0).floor().max(0.0);
    let high = pair_of(1.0).ceil().min(dim - 1.0);
    let width = if high > low { high - low } else { 0.001 };
    let blend = |(pair, turns): (usize, f64)| {
        let stretched = ((pair as f64 - low) / width).clamp(0.0, 1.0);
        turns / yarn.factor * stretched + turns * (1.0 - stretched)
    };
    plain.enumerate().map(blend).collect()
}
