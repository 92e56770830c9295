//! The memory that a model and a session need, before anything of it is allocated.

use std::fmt;

use super::attention::Splits;
use super::config::Config;
use super::error::ModelError;
use super::load::format_of;
use super::sampling::Choice;
use super::session::SessionOptions;
use crate::gguf::Gguf;

/// The bytes of device memory that a model and one session need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// All weights, as the kernels read them.
    pub weights: u64,
    /// The cache of keys and values, for the whole context.
    pub kv_cache: u64,
    /// What layers compute on the way, logits and tokens.
    pub activations: u64,
}

impl MemoryNeed {
    /// What the model of a file needs with a session of these options.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn of(gguf: &Gguf, options: &SessionOptions) -> Result<Self, ModelError> {
        let config = Config::read(gguf)?;
        let mut weights = 0u64;
        for tensor in gguf.tensors() {
            let bytes = match tensor.dimensions {
                // vectors are of 32-bit numbers on the device
                [length] => length.saturating_mul(4),
                [columns, rows @ ..] => {
                    let rows = rows.iter().fold(1u64, |rows, length| rows.saturating_mul(*length));
                    format_of(&tensor)?.layout().bytes(rows, *columns)
                }
                [] => 0,
            };
            weights = weights.saturating_add(bytes);
        }
        Ok(Self { weights, ..Self::of_session(&config, options) })
    }

    /// What a session needs besides the weights.
    #[must_use]
    pub fn of_session(config: &Config, options: &SessionOptions) -> Self {
        let context = options.context as u64;
        let kv_cache = u64::from(config.layers) * options.kv_format.bytes(config);
        let row = 2 * u64::from(config.hidden)
            + u64::from(config.qkv_rows())
            + u64::from(config.query_width())
            + 3 * u64::from(config.ffn);
        let activations = (options.rows() as u64).saturating_mul(4 * row);
        let (splits, choice) = (Splits::bytes(config), Choice::bytes(config.vocab));
        let rest = 4 * u64::from(config.vocab) + context.saturating_mul(4) + splits + choice;
        Self { weights: 0, kv_cache: kv_cache.saturating_mul(context), activations: activations.saturating_add(rest) }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.activations)
    }

    /// Checks that so many bytes are enough.
    ///
    /// # Errors
    /// [`ModelError::Memory`], with the longest context that would fit.
    pub fn check(&self, config: &Config, options: &SessionOptions, free: u64) -> Result<(), ModelError> {
        if self.total() <= free {
            return Ok(());
        }
        let fits = |context: &u32| {
            let options = SessionOptions { context: *context as usize, ..*options };
            Self { weights: self.weights, ..Self::of_session(config, &options) }.total() <= free
        };
        // the longest by halving: what needs more does not fit either
        let (mut low, mut high) = (0u32, u32::try_from(options.context).unwrap_or(u32::MAX));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(&middle) { low = middle } else { high = middle }
        }
        Err(ModelError::Memory { need: *self, free, context: options.context, fits: (low > 0).then_some(low) })
    }
}

/// Bytes as people read them.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => write!(f, "{:.2} {unit}", self.0 as f64 / *size as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weights, kv_cache, activations } = *self;
        let (weights, kv_cache, activations, total) =
            (Bytes(weights), Bytes(kv_cache), Bytes(activations), Bytes(self.total()));
        write!(f, "{total}: {weights} of weights, {kv_cache} of keys and values, {activations} of activations")
    }
}
