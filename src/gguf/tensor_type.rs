//! The types of tensors: how elements are packed into blocks.

use std::fmt;
use std::str::FromStr;

use crate::quant::Format;

/// How the elements of a tensor are held.
///
/// Three layouts have been shipped under the number 42 ([`Q2Layout`]); each is a type of its own here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorType(u32);

/// The number under which three layouts have been shipped.
pub(super) const Q2: u32 = 42;
/// A number that has meant two things, neither of which is supported.
pub(super) const NVFP4: u32 = 40;
/// Bits above the number tell apart what has the same number.
const ID_BITS: u32 = 16;
const LEGACY: u32 = 1 << ID_BITS | Q2;
const OXIBONSAI: u32 = 2 << ID_BITS | Q2;

/// Number, name, elements of a block, bytes of a block.
const TYPES: [(u32, &str, u64, u64); 38] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (41, "Q1_0", 128, 18),
    (Q2, "Q2_0", 64, 18),
    (LEGACY, "Q2_0_g128", 128, 34),
    (OXIBONSAI, "TQ2_0_g128", 128, 34),
    (142, "PQ2_0", 128, 34),
    (143, "PTQ1_0", 128, 28),
];

impl TensorType {
    /// 32-bit floating-point numbers.
    pub const F32: Self = Self(0);
    /// 16-bit floating-point numbers.
    pub const F16: Self = Self(1);
    /// The upper half of 32-bit floating-point numbers.
    pub const BF16: Self = Self(30);
    /// 8 bits an element, and a scale for 32.
    pub const Q8_0: Self = Self(8);
    /// One bit an element, and a scale for 128.
    pub const Q1_0: Self = Self(41);
    /// Five ternary elements in a byte, and a scale for 256.
    pub const TQ1_0: Self = Self(34);
    /// Two bits an element, and a scale for 256.
    pub const TQ2_0: Self = Self(35);
    /// Two bits an element, and a scale for 64: what ggml has under the number 42.
    pub const Q2_0: Self = Self(Q2);
    /// Two bits an element, and a scale for 128 before them: what early Prism files have under the number 42.
    pub const Q2_0_G128: Self = Self(LEGACY);
    /// Two bits an element, and a scale for 128 after them: what OxiBonsai has under the number 42.
    pub const TQ2_0_G128: Self = Self(OXIBONSAI);
    /// [`TensorType::Q2_0_G128`] under a number of its own.
    pub const PQ2_0: Self = Self(142);
    /// Five ternary elements in a byte, and a scale for 128.
    pub const PTQ1_0: Self = Self(143);

    /// The type with a number, if that is known and has one meaning (42 has not).
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        (id != Q2 && id >> ID_BITS == 0 && TYPES.iter().any(|(known, ..)| *known == id)).then_some(Self(id))
    }

    /// Its number in files.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0 & ((1 << ID_BITS) - 1)
    }

    /// The format of its weights, if that is one that Warpwright packs and unpacks.
    #[must_use]
    pub fn format(self) -> Option<Format> {
        Format::ALL.into_iter().find(|format| Self::from(*format) == self)
    }

    fn entry(self) -> &'static (u32, &'static str, u64, u64) {
        // Every value is made from the table; the first entry only stands in for what cannot be.
        TYPES.iter().find(|(id, ..)| *id == self.0).unwrap_or(&TYPES[0])
    }

    /// The elements and the bytes of a block.
    #[must_use]
    pub fn block(self) -> (u64, u64) {
        let (_, _, elements, bytes) = *self.entry();
        (elements, bytes)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.entry().1)
    }
}

impl From<Format> for TensorType {
    fn from(format: Format) -> Self {
        match format {
            Format::F32 => Self::F32,
            Format::F16 => Self::F16,
            Format::Bf16 => Self::BF16,
            Format::Q8_0 => Self::Q8_0,
            Format::Q1_0 => Self::Q1_0,
            Format::Tq1_0 => Self::TQ1_0,
            Format::Tq2_0 => Self::TQ2_0,
            Format::Q2_0 => Self::Q2_0,
            Format::Q2_0G128 => Self::Q2_0_G128,
            Format::Tq2_0G128 => Self::TQ2_0_G128,
            Format::Pq2_0 => Self::PQ2_0,
            Format::Ptq1_0 => Self::PTQ1_0,
        }
    }
}

/// What the number 42 means in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Q2Layout {
    /// Blocks of 64 (18 bytes, scale first), as ggml has them: [`TensorType::Q2_0`].
    Q2_0,
    /// Blocks of 128 (34 bytes, scale first), as early Prism files have them: [`TensorType::Q2_0_G128`].
    Q2_0G128,
    /// Blocks of 128 (34 bytes, scale last), as OxiBonsai has them: [`TensorType::TQ2_0_G128`].
    Tq2_0G128,
}

impl Q2Layout {
    /// All layouts.
    pub const ALL: [Self; 3] = [Self::Q2_0, Self::Q2_0G128, Self::Tq2_0G128];

    /// The type of tensors with this layout.
    #[must_use]
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::Q2_0 => TensorType::Q2_0,
            Self::Q2_0G128 => TensorType::Q2_0_G128,
            Self::Tq2_0G128 => TensorType::TQ2_0_G128,
        }
    }
}

impl fmt::Display for Q2Layout {
    /// Its name in options: that of its type, in small letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Q2_0 => "q2_0",
            Self::Q2_0G128 => "q2_0_g128",
            Self::Tq2_0G128 => "tq2_0_g128",
        })
    }
}

impl FromStr for Q2Layout {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|layout| layout.to_string() == name);
        found.ok_or_else(|| format!("`{name}` is none of q2_0, q2_0_g128 and tq2_0_g128"))
    }
}
