//! What is measured.

use warpwright::model::KvFormat;
use warpwright::quant::Format;

/// A case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Case {
    Linear(LinearCase),
    Attention(AttentionCase),
}

/// A matrix times one vector, or several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearCase {
    pub(crate) format: Format,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) tokens: u32,
}

/// The attention of one token after others, without the time that it takes with none before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AttentionCase {
    pub(crate) kv_format: KvFormat,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) head_dim: u32,
    /// Those before the token.
    pub(crate) positions: u32,
}

impl Case {
    /// Such as `gemv Q1_0 4096 x 4096`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Linear(LinearCase { format, rows, columns, tokens: 1 }) => {
                format!("gemv {} {rows} x {columns}", format.name())
            }
            Self::Linear(LinearCase { format, rows, columns, tokens }) => {
                format!("gemm {} {rows} x {columns}, {tokens} tokens", format.name())
            }
            Self::Attention(AttentionCase { kv_format, heads, kv_heads, positions, .. }) => {
                format!("attention {kv_format:?} {heads}/{kv_heads} heads, {positions} positions")
            }
        }
    }
}

/// One for each layout of weights.
const FORMATS: [Format; 6] = [Format::Q1_0, Format::Pq2_0, Format::Q2_0, Format::Ptq1_0, Format::Q8_0, Format::F16];

/// Rows and columns of Bonsai-8B: output of attention, QKV, gate and up, down, logits.
const SHAPES_8B: [(u32, u32); 5] = [(4096, 4096), (6144, 4096), (24_576, 4096), (4096, 12_288), (151_669, 4096)];
/// Those of Bonsai-4B and 1.7B: QKV, output of attention, gate and up, down, logits.
const SHAPES_SMALL: [(u32, u32); 10] = [
    (6144, 2560),
    (2560, 4096),
    (19_456, 2560),
    (2560, 9728),
    (151_669, 2560),
    (4096, 2048),
    (2048, 2048),
    (12_288, 2048),
    (2048, 6144),
    (151_669, 2048),
];

/// The tokens of a prompt that are taken in at once.
const CHUNK: u32 = 512;

const KV_FORMATS: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8];

fn linear(format: Format, (rows, columns): (u32, u32), tokens: u32) -> Case {
    Case::Linear(LinearCase { format, rows, columns, tokens })
}

/// Those of a benchmark: the shapes of the large model in every format, and of the small ones in the format that matters
/// most, or `all` in every format. Logits of a prompt are those of its last token alone, so there is no such product.
pub(crate) fn usual(all: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        let shapes = SHAPES_8B.iter().chain(SHAPES_SMALL.iter().filter(|_| all || format == Format::Q1_0));
        cases.extend(shapes.map(|shape| linear(format, *shape, 1)));
    }
    for format in FORMATS {
        let shapes = SHAPES_8B.iter().filter(|(rows, _)| *rows < 100_000);
        let shapes = shapes.filter(|shape| all || format == Format::Q1_0 || **shape == SHAPES_8B[2]);
        cases.extend(shapes.map(|shape| linear(format, *shape, CHUNK)));
    }
    for kv_format in KV_FORMATS {
        for (heads, positions) in [(32, 4096), (32, 32_768), (16, 4096), (16, 32_768)] {
            cases.push(Case::Attention(AttentionCase { kv_format, heads, kv_heads: 8, head_dim: 128, positions }));
        }
    }
    cases
}

/// Those of a test: all kinds, small and with rows and tokens that do not fill a tile.
pub(crate) fn smoke() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        cases.push(linear(format, (67, 512), 1));
        cases.push(linear(format, (67, 512), 9));
    }
    for kv_format in KV_FORMATS {
        cases.push(Case::Attention(AttentionCase { kv_format, heads: 4, kv_heads: 2, head_dim: 64, positions: 45 }));
    }
    cases
}
