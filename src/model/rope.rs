//! The frequencies of the rotary position embedding.

use std::f64::consts::TAU;

use super::config::{Config, RopeScaling};
use super::error::ModelError;
use super::load::Loader;
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
    /// The elements of a head that are rotated.
    #[must_use]
    pub fn rotary_dim(&self) -> u32 {
        // Twice the pairs, which were made from such a number.
        2 * self.turns.len() as u32
    }

    /// The frequencies of a model. A file may divide each by a factor of its own (`rope_freqs.weight`, as Llama 3.1 does).
    pub(super) fn load(loader: &mut Loader<'_, '_>, config: &Config) -> Result<Self, ModelError> {
        let mut turns = turns(config);
        if loader.has("rope_freqs.weight") {
            let factors = loader.vector_on_host("rope_freqs.weight", config.rotary_dim / 2)?;
            turns.iter_mut().zip(factors).for_each(|(turns, factor)| *turns /= f64::from(factor));
        }
        let interleaved = config.architecture.interleaves_pairs();
        Ok(Self { turns: loader.put(&turns)?, magnitude: magnitude(config), interleaved })
    }
}

/// The attention factor of YaRN: `1 + 0.1 ln(factor)`, times what the file says.
fn magnitude(config: &Config) -> f32 {
    match config.rope_scaling {
        RopeScaling::Yarn(yarn) => (yarn.attention_factor * (1.0 + 0.1 * yarn.factor.ln())) as f32,
        RopeScaling::None | RopeScaling::Linear { .. } => 1.0,
    }
}

/// Whole turns of each pair from one position to the next. Without scaling that is `base^(-2i / rotary_dim) / 2π`.
///
/// YaRN leaves pairs alone that turn more than `beta_fast` times in the original context, divides by its factor those
/// that turn less than `beta_slow` times, and blends in between.
fn turns(config: &Config) -> Vec<f64> {
    let dim = f64::from(config.rotary_dim);
    let base = config.rope_base;
    let plain = (0..config.rotary_dim / 2).map(|pair| base.powf(-2.0 * f64::from(pair) / dim) / TAU);
    let yarn = match config.rope_scaling {
        RopeScaling::None => return plain.collect(),
        RopeScaling::Linear { factor } => return plain.map(|turns| turns / factor).collect(),
        RopeScaling::Yarn(yarn) => yarn,
    };
    let original = f64::from(yarn.original_context);
    // The pair that turns a number of times in the original context.
    let pair_of = |times: f64| dim * (original / (times * TAU)).ln() / (2.0 * base.ln());
    let low = pair_of(yarn.beta_fast).floor().max(0.0);
    let high = pair_of(yarn.beta_slow).ceil().min(dim - 1.0);
    let width = if high > low { high - low } else { 0.001 };
    let blend = |(pair, turns): (usize, f64)| {
        let stretched = ((pair as f64 - low) / width).clamp(0.0, 1.0);
        turns / yarn.factor * stretched + turns * (1.0 - stretched)
    };
    plain.enumerate().map(blend).collect()
}
