//! The shape of a model, as its file says it.

use crate::gguf::{Gguf, GgufError};

use super::error::ModelError;

/// The shape of a model. (`heads * head_dim` need not be `hidden`.)
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Transformer layers.
    pub layers: u32,
    /// Elements of the hidden state; a multiple of 128.
    pub hidden: u32,
    /// Elements of the feed-forward network's middle; a multiple of 128.
    pub ffn: u32,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head; even, at most 256.
    pub head_dim: u32,
    /// Tokens.
    pub vocab: u32,
    /// The longest sequence that the model was made for.
    pub context: u32,
    /// Added to the mean square in RMS norms.
    pub eps: f32,
    /// The base of the rotary position embedding.
    pub rope_base: f64,
    /// How positions past those of training are embedded.
    pub yarn: Option<Yarn>,
}

/// YaRN: a context stretched beyond that of training (Peng et al., 2023).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// How many times as long the context is.
    pub factor: f64,
    /// The context of training.
    pub original_context: u32,
}

/// The only architecture that is supported.
const ARCHITECTURE: &str = "qwen3";

/// The largest head that the attention kernel takes.
const MAX_HEAD_DIM: u32 = 256;

impl Config {
    /// Reads the configuration of a file.
    ///
    /// # Errors
    /// What is missing or not supported, by its key.
    pub fn read(gguf: &Gguf) -> Result<Self, ModelError> {
        let architecture = gguf.string("general.architecture")?;
        if architecture != ARCHITECTURE {
            return Err(unsupported("general.architecture", format!("`{architecture}`"), "`qwen3`"));
        }
        let integer = |name: &str| -> Result<u32, ModelError> {
            let key = format!("{ARCHITECTURE}.{name}");
            let value = gguf.integer(&key)?;
            match u32::try_from(value) {
                Ok(number @ 1..) => Ok(number),
                _ => Err(unsupported(&key, value.to_string(), "1 to 2^32 - 1")),
            }
        };
        let float = |name: &str| gguf.float(&format!("{ARCHITECTURE}.{name}"));

        let embedding = gguf.tensor("token_embd.weight")?;
        let vocab = embedding.dimensions.get(1).and_then(|rows| u32::try_from(*rows).ok());
        let vocab = vocab.ok_or_else(|| ModelError::Shape {
            tensor: embedding.name.to_owned(),
            found: embedding.dimensions.to_vec(),
            expected: vec![embedding.dimensions[0], 1],
        })?;
        let config = Self {
            layers: integer("block_count")?,
            hidden: integer("embedding_length")?,
            ffn: integer("feed_forward_length")?,
            heads: integer("attention.head_count")?,
            kv_heads: integer("attention.head_count_kv")?,
            head_dim: integer("attention.key_length")?,
            vocab,
            context: integer("context_length")?,
            eps: float("attention.layer_norm_rms_epsilon")? as f32,
            rope_base: float("rope.freq_base")?,
            yarn: yarn(gguf)?,
        };
        config.check(integer("attention.value_length")?)?;
        Ok(config)
    }

    fn check(&self, value_length: u32) -> Result<(), ModelError> {
        let failed = |name: &str, found: String, supported| {
            Err(unsupported(&format!("{ARCHITECTURE}.{name}"), found, supported))
        };
        if !self.hidden.is_multiple_of(128) {
            return failed("embedding_length", self.hidden.to_string(), "a multiple of 128");
        }
        if !self.ffn.is_multiple_of(128) || self.ffn > u32::MAX / 2 {
            return failed("feed_forward_length", self.ffn.to_string(), "a multiple of 128 under 2^31");
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let found = format!("{} for {} heads", self.kv_heads, self.heads);
            return failed("attention.head_count_kv", found, "a divisor of the heads");
        }
        if !self.head_dim.is_multiple_of(2) || self.head_dim > MAX_HEAD_DIM {
            return failed("attention.key_length", self.head_dim.to_string(), "an even number up to 256");
        }
        if value_length != self.head_dim {
            return failed("attention.value_length", value_length.to_string(), "the same as `attention.key_length`");
        }
        // Query width is the input of a Q1_0 matrix, so it is in whole blocks; and all heads together have to be counted.
        let heads = u64::from(self.heads) + 2 * u64::from(self.kv_heads);
        if heads * u64::from(self.head_dim) > u64::from(u32::MAX) {
            return failed("attention.head_count", self.heads.to_string(), "under 2^32 elements in all heads");
        }
        if !(self.heads * self.head_dim).is_multiple_of(128) {
            let found = format!("{} of {} elements", self.heads, self.head_dim);
            return failed("attention.head_count", found, "a multiple of 128 elements in all heads");
        }
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return failed("attention.layer_norm_rms_epsilon", self.eps.to_string(), "a small positive number");
        }
        if !(self.rope_base > 1.0 && self.rope_base.is_finite()) {
            return failed("rope.freq_base", self.rope_base.to_string(), "a number over 1");
        }
        Ok(())
    }

    /// The rows of queries, keys and values together.
    #[must_use]
    pub fn qkv_rows(&self) -> u32 {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
}

/// How positions are stretched. No scaling is stated by leaving it out, or by `none`.
fn yarn(gguf: &Gguf) -> Result<Option<Yarn>, ModelError> {
    let key = |name: &str| format!("{ARCHITECTURE}.rope.scaling.{name}");
    match gguf.string(&key("type")) {
        Err(GgufError::MissingKey { .. }) | Ok("none") => Ok(None),
        Ok("yarn") => {
            let factor = gguf.float(&key("factor"))?;
            if !(factor >= 1.0 && factor.is_finite()) {
                return Err(unsupported(&key("factor"), factor.to_string(), "a number of at least 1"));
            }
            let original = gguf.integer(&key("original_context_length"))?;
            match u32::try_from(original) {
                Ok(original_context @ 1..) => Ok(Some(Yarn { factor, original_context })),
                _ => Err(unsupported(&key("original_context_length"), original.to_string(), "1 to 2^32 - 1")),
            }
        }
        Ok(other) => Err(unsupported(&key("type"), format!("`{other}`"), "`none` and `yarn`")),
        Err(error) => Err(error.into()),
    }
}

fn unsupported(key: &str, found: String, supported: &'static str) -> ModelError {
    ModelError::Unsupported { key: key.to_owned(), found, supported }
}
