//! Shapes of models: those of known ones, and smaller ones in their proportions.

use crate::model::Architecture;

/// The shape of a model. (`heads * head_dim` need not be `hidden`.)
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// How it is made.
    pub architecture: Architecture,
    /// Transformer layers.
    pub layers: u32,
    /// Elements of the hidden state.
    pub hidden: u32,
    /// Elements of the feed-forward network's middle.
    pub ffn: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Tokens.
    pub vocab: u32,
    /// The longest sequence.
    pub context: u32,
    /// Added to the mean square in RMS norms.
    pub eps: f32,
    /// The base of the rotary position embedding.
    pub rope_base: f32,
    /// YaRN: how many times the context is stretched, and what it was.
    pub yarn: Option<(f32, u32)>,
    /// Whether the embedding is the output matrix too.
    pub tied: bool,
}

/// Bonsai-8B.
const BONSAI_8B: Shape = Shape {
    architecture: Architecture::Qwen3,
    layers: 36,
    hidden: 4096,
    ffn: 12288,
    heads: 32,
    kv_heads: 8,
    head_dim: 128,
    vocab: 151_669,
    context: 65_536,
    eps: 1e-6,
    rope_base: 1e6,
    yarn: Some((4.0, 16_384)),
    tied: false,
};

const BONSAI_4B: Shape = Shape { hidden: 2560, ffn: 9728, context: 32_768, yarn: None, tied: true, ..BONSAI_8B };

const BONSAI_1_7B: Shape = Shape { layers: 28, hidden: 2048, ffn: 6144, heads: 16, ..BONSAI_4B };

const QWEN3_0_6B: Shape =
    Shape { layers: 28, hidden: 1024, ffn: 3072, heads: 16, vocab: 151_936, context: 40_960, ..BONSAI_4B };

const QWEN2_5_0_5B: Shape = Shape {
    architecture: Architecture::Qwen2,
    layers: 24,
    hidden: 896,
    ffn: 4864,
    heads: 14,
    kv_heads: 2,
    head_dim: 64,
    vocab: 151_936,
    ..BONSAI_4B
};

const TINYLLAMA_1_1B: Shape = Shape {
    architecture: Architecture::Llama,
    layers: 22,
    hidden: 2048,
    ffn: 5632,
    heads: 32,
    kv_heads: 4,
    head_dim: 64,
    vocab: 32_000,
    context: 2048,
    eps: 1e-5,
    rope_base: 1e4,
    yarn: None,
    tied: false,
};

impl Shape {
    /// Models whose shapes are known, by name.
    pub const KNOWN: [(&'static str, Self); 6] = [
        ("bonsai-8b", BONSAI_8B),
        ("bonsai-4b", BONSAI_4B),
        ("bonsai-1.7b", BONSAI_1_7B),
        ("qwen3-0.6b", QWEN3_0_6B),
        ("qwen2.5-0.5b", QWEN2_5_0_5B),
        ("tinyllama-1.1b", TINYLLAMA_1_1B),
    ];

    /// The shape of a known model.
    #[must_use]
    pub fn like(name: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|(known, _)| *known == name).map(|(_, shape)| shape)
    }

    /// A narrower shape in about the same proportions: widths are divided and made multiples of 256, which suits every
    /// format; heads become fewer, as many queries to a key as before, and stay as long as they are.
    #[must_use]
    pub fn scaled_down(self, factor: u32) -> Self {
        let factor = factor.max(1);
        let width = |of: u32| (of / factor).saturating_add(128).max(256) / 256 * 256;
        let group = (self.heads / self.kv_heads.max(1)).max(1);
        let kv_heads = (self.kv_heads / factor).max(1);
        Self {
            hidden: width(self.hidden),
            ffn: width(self.ffn),
            heads: kv_heads.saturating_mul(group),
            kv_heads,
            ..self
        }
    }
}
