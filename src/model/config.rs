//! The shape of a model, as its file says it.

use std::fmt;
use std::str::FromStr;

use super::error::ModelError;
use crate::gguf::{Gguf, GgufError};

/// A family of models: decoders that differ in a few points, which the rest of [`Config`] states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Qwen3: normalised query and key heads.
    Qwen3,
    /// Qwen2 and 2.5: queries, keys and values have a bias.
    Qwen2,
    /// Llama and what is built like it: pairs of the rotary embedding stand next to one another.
    Llama,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Qwen3, Self::Qwen2, Self::Llama];

    /// Its name in files, which begins the keys of its configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen3 => "qwen3",
            Self::Qwen2 => "qwen2",
            Self::Llama => "llama",
        }
    }

    /// Whether the elements of a pair that is rotated stand next to one another, and not half of the rotated part apart.
    #[must_use]
    pub fn interleaves_pairs(self) -> bool {
        self == Self::Llama
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|architecture| architecture.name() == name);
        known.ok_or_else(|| format!("`{name}` is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The shape of a model. (`heads * head_dim` need not be `hidden`.)
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
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
    /// The elements of a head that are rotated, the first of it; even.
    pub rotary_dim: u32,
    /// Tokens.
    pub vocab: u32,
    /// The longest sequence that the model was made for.
    pub context: u32,
    /// Added to the mean square in RMS norms.
    pub eps: f32,
    /// The base of the rotary position embedding.
    pub rope_base: f64,
    /// How positions past those of training are embedded.
    pub rope_scaling: RopeScaling,
    /// Whether query and key heads are normalised.
    pub head_norms: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the matrix of the output is that of the embedding.
    pub tied: bool,
}

/// How positions are stretched to a context beyond that of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All by one factor.
    Linear {
        /// How many times as long the context is.
        factor: f64,
    },
    /// YaRN.
    Yarn(Yarn),
}

/// YaRN: slow rotations are stretched, fast ones are not (Peng et al., 2023).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// How many times as long the context is.
    pub factor: f64,
    /// The context of training.
    pub original_context: u32,
    /// Pairs that turn more often than this in the original context are left alone: 32 if not stated.
    pub beta_fast: f64,
    /// Pairs that turn less often than this are stretched by the whole factor: 1 if not stated.
    pub beta_slow: f64,
    /// Multiplies the attention factor, `1 + 0.1 ln(factor)`: 1 if not stated.
    pub attention_factor: f64,
}

/// The largest head that the attention kernels take.
const MAX_HEAD_DIM: u32 = 256;

/// The keys of one architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    architecture: Architecture,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn fail<T>(&self, name: &str, found: impl fmt::Display, supported: &'static str) -> Result<T, ModelError> {
        Err(unsupported(&self.key(name), found.to_string(), supported))
    }

    /// A number from 1.
    fn integer(&self, name: &str) -> Result<u32, ModelError> {
        let value = self.gguf.integer(&self.key(name))?;
        match u32::try_from(value) {
            Ok(number @ 1..) => Ok(number),
            _ => self.fail(name, value, "1 to 2^32 - 1"),
        }
    }

    fn integer_or(&self, name: &str, default: Option<u32>) -> Result<u32, ModelError> {
        match (self.integer(name), default) {
            (Err(ModelError::Gguf(GgufError::MissingKey { .. })), Some(default)) => Ok(default),
            (found, _) => found,
        }
    }

    /// A finite number of at least `least`.
    fn float(&self, name: &str, least: f64, default: Option<f64>) -> Result<f64, ModelError> {
        match (self.gguf.float(&self.key(name)), default) {
            (Err(GgufError::MissingKey { .. }), Some(default)) => Ok(default),
            (Ok(value), _) if value.is_finite() && value >= least => Ok(value),
            (Ok(value), _) => self.fail(name, value, if least == 0.0 { "a number from 0" } else { "a number from 1" }),
            (Err(error), _) => Err(error.into()),
        }
    }

    fn rope_scaling(&self) -> Result<RopeScaling, ModelError> {
        const TYPE: &str = "rope.scaling.type";
        let factor = || self.float("rope.scaling.factor", 1.0, None);
        match self.gguf.string(&self.key(TYPE)) {
            Err(GgufError::MissingKey { .. }) | Ok("none") => Ok(RopeScaling::None),
            Ok("linear") => Ok(RopeScaling::Linear { factor: factor()? }),
            Ok("yarn") => Ok(RopeScaling::Yarn(Yarn {
                factor: factor()?,
                original_context: self.integer("rope.scaling.original_context_length")?,
                beta_fast: self.float("rope.scaling.yarn_beta_fast", 0.0, Some(32.0))?,
                beta_slow: self.float("rope.scaling.yarn_beta_slow", 0.0, Some(1.0))?,
                attention_factor: self.float("rope.scaling.attn_factor", 0.0, Some(1.0))?,
            })),
            Ok(other) => self.fail(TYPE, format!("`{other}`"), "`none`, `linear` and `yarn`"),
            Err(error) => Err(error.into()),
        }
    }
}

impl Config {
    /// Reads the configuration of a file, and checks that it has no tensor that a model of this kind does not use.
    ///
    /// # Errors
    /// What is missing or not supported, by its key.
    pub fn read(gguf: &Gguf) -> Result<Self, ModelError> {
        let name = gguf.string("general.architecture")?;
        let architecture = name
            .parse()
            .map_err(|_| unsupported("general.architecture", format!("`{name}`"), "`qwen3`, `qwen2` and `llama`"))?;
        let keys = Keys { gguf, architecture };

        let embedding = gguf.tensor("token_embd.weight")?;
        let vocab = embedding.dimensions.get(1).and_then(|rows| u32::try_from(*rows).ok());
        let vocab = vocab.ok_or_else(|| ModelError::Shape {
            tensor: embedding.name.to_owned(),
            found: embedding.dimensions.to_vec(),
            expected: vec![embedding.dimensions[0], 1],
        })?;
        let (hidden, heads) = (keys.integer("embedding_length")?, keys.integer("attention.head_count")?);
        let usual = hidden.is_multiple_of(heads).then_some(hidden / heads);
        let head_dim = keys.integer_or("attention.key_length", usual)?;
        let has = |name: &str| gguf.tensor(name).is_ok();
        let config = Self {
            architecture,
            layers: keys.integer("block_count")?,
            hidden,
            ffn: keys.integer("feed_forward_length")?,
            heads,
            kv_heads: keys.integer_or("attention.head_count_kv", Some(heads))?,
            head_dim,
            rotary_dim: keys.integer_or("rope.dimension_count", Some(head_dim))?,
            vocab,
            context: keys.integer("context_length")?,
            eps: keys.float("attention.layer_norm_rms_epsilon", 0.0, None)? as f32,
            rope_base: keys.float("rope.freq_base", 1.0, Some(10_000.0))?,
            rope_scaling: keys.rope_scaling()?,
            head_norms: architecture == Architecture::Qwen3 || has("blk.0.attn_q_norm.weight"),
            qkv_bias: architecture == Architecture::Qwen2 || has("blk.0.attn_q.bias"),
            tied: !has("output.weight"),
        };
        config.check(&keys, keys.integer_or("attention.value_length", Some(head_dim))?)?;
        match gguf.tensors().find(|tensor| !config.uses(tensor.name)) {
            Some(tensor) => Err(ModelError::UnknownTensor { tensor: tensor.name.to_owned(), architecture }),
            None => Ok(config),
        }
    }

    fn check(&self, keys: &Keys<'_>, value_length: u32) -> Result<(), ModelError> {
        if !self.hidden.is_multiple_of(128) {
            return keys.fail("embedding_length", self.hidden, "a multiple of 128");
        }
        if !self.ffn.is_multiple_of(128) || self.ffn > u32::MAX / 2 {
            return keys.fail("feed_forward_length", self.ffn, "a multiple of 128 under 2^31");
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let found = format!("{} for {} heads", self.kv_heads, self.heads);
            return keys.fail("attention.head_count_kv", found, "a divisor of the heads");
        }
        if !self.head_dim.is_multiple_of(2) || self.head_dim > MAX_HEAD_DIM {
            return keys.fail("attention.key_length", self.head_dim, "an even number up to 256");
        }
        if value_length != self.head_dim {
            return keys.fail("attention.value_length", value_length, "the same as `attention.key_length`");
        }
        if !self.rotary_dim.is_multiple_of(2) || self.rotary_dim > self.head_dim {
            return keys.fail("rope.dimension_count", self.rotary_dim, "an even number up to the length of a head");
        }
        // All heads together are the input of a matrix, which is in chunks of 128; and they have to be counted.
        let heads = u64::from(self.heads) + 2 * u64::from(self.kv_heads);
        if heads * u64::from(self.head_dim) > u64::from(u32::MAX) {
            return keys.fail("attention.head_count", self.heads, "under 2^32 elements in all heads");
        }
        if !(self.heads * self.head_dim).is_multiple_of(128) {
            let found = format!("{} of {} elements", self.heads, self.head_dim);
            return keys.fail("attention.head_count", found, "a multiple of 128 elements in all heads");
        }
        if self.rope_base <= 1.0 {
            return keys.fail("rope.freq_base", self.rope_base, "a number over 1");
        }
        if let RopeScaling::Yarn(yarn) = self.rope_scaling
            && (yarn.beta_slow <= 0.0 || yarn.beta_fast <= 0.0)
        {
            return keys.fail("rope.scaling.yarn_beta_slow", yarn.beta_slow, "more than 0, as is `yarn_beta_fast`");
        }
        Ok(())
    }

    /// Whether a model of this configuration has a tensor of that name.
    fn uses(&self, name: &str) -> bool {
        const OF_MODEL: [&str; 4] = ["token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight"];
        const OF_LAYER: [&str; 9] = [
            "attn_norm.weight",
            "attn_q.weight",
            "attn_k.weight",
            "attn_v.weight",
            "attn_output.weight",
            "ffn_norm.weight",
            "ffn_gate.weight",
            "ffn_up.weight",
            "ffn_down.weight",
        ];
        const NORMS: [&str; 2] = ["attn_q_norm.weight", "attn_k_norm.weight"];
        const BIASES: [&str; 3] = ["attn_q.bias", "attn_k.bias", "attn_v.bias"];
        let part = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        match part {
            None => OF_MODEL.contains(&name),
            Some((layer, part)) => {
                layer.parse::<u32>().is_ok_and(|layer| layer < self.layers)
                    && (OF_LAYER.contains(&part)
                        || self.head_norms && NORMS.contains(&part)
                        || self.qkv_bias && BIASES.contains(&part))
            }
        }
    }

    /// The elements of all query heads: the input of the attention's output matrix.
    #[must_use]
    pub fn query_width(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// The elements of all key heads, or of all value heads.
    #[must_use]
    pub fn kv_width(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// The rows of queries, keys and values together.
    #[must_use]
    pub fn qkv_rows(&self) -> u32 {
        self.query_width() + 2 * self.kv_width()
    }
}

fn unsupported(key: &str, found: String, supported: &'static str) -> ModelError {
    ModelError::Unsupported { key: key.to_owned(), found, supported }
}
