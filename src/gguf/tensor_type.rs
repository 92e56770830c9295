//! The types of tensors: how elements are packed into blocks.

use std::fmt;

/// How the elements of a tensor are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorType(u32);

/// Number, name, elements of a block, bytes of a block.
///
/// 42 is not here: three layouts of different sizes have been shipped under it.
const TYPES: [(u32, &str, u64, u64); 33] = [
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
];

impl TensorType {
    /// 32-bit floating-point numbers.
    pub const F32: Self = Self(0);
    /// One bit an element, and a scale for 128.
    pub const Q1_0: Self = Self(41);

    /// The type with a number, if it is known.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        TYPES.iter().any(|(known, ..)| *known == id).then_some(Self(id))
    }

    /// Its number in files.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0
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
