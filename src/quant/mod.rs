//! Weight formats: how they are packed in files, and how the kernels want them.
//!
//! A [`Format`] packs weights into blocks. Kernels read fewer [`Layout`]s, in tiles of 16 rows and groups of 4 chunks of 128
//! weights: [`Format::pack`] makes one of the other when a model is loaded. A weight is on the device what it is in the file.

mod error;
mod floats;
mod packed;
mod q1_0;
mod q8_0;
#[cfg(test)]
mod tests;
mod trits;
mod two_bit;

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

pub use error::QuantError;
pub use packed::Packed;

/// Weights of a chunk.
pub const CHUNK: usize = 128;

/// How files pack weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floating-point numbers.
    F32,
    /// 16-bit floating-point numbers, IEEE's.
    F16,
    /// The upper halves of 32-bit floating-point numbers.
    Bf16,
    /// 8-bit integers, and a scale for 32 of them.
    Q8_0,
    /// Signs, and a scale for 128 of them.
    Q1_0,
    /// Three values, five of them in a byte, and a scale for 256.
    Tq1_0,
    /// Four values in two bits, of which three are used, and a scale for 256.
    Tq2_0,
    /// Four values in two bits, and a scale for 64: ggml's Q2_0.
    Q2_0,
    /// Four values in two bits, and a scale for 128: what Prism called Q2_0 before ggml had one.
    Q2_0G128,
    /// Three values in two bits, and a scale for 128, after them: OxiBonsai's.
    Tq2_0G128,
    /// As [`Q2_0G128`](Self::Q2_0G128), under the name that Prism gives it now.
    Pq2_0,
    /// Three values, five of them in a byte, and a scale for 128: Prism's.
    Ptq1_0,
}

/// How kernels read weights: the structs of `weights.cuh` and `bit_weights.cuh` in `kernels/include/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Sign bits, set where a weight is negative, and a scale.
    Q1_0,
    /// Trits, four of them in 7 bits, and a scale.
    T1,
    /// Codes of two bits for -1, 0, 1 and 2, and a scale.
    T2,
    /// Codes of two bits for -1, 0, 1 and 2, and a scale for 64.
    T2Halves,
    /// Bytes, and a scale for 32.
    Q8_0,
    /// 16-bit floating-point numbers.
    F16,
    /// The upper halves of 32-bit floating-point numbers.
    Bf16,
    /// 32-bit floating-point numbers.
    F32,
}

impl Layout {
    /// Words and scales of a chunk.
    fn sizes(self) -> (usize, usize) {
        match self {
            Self::Q1_0 => (4, 1),
            Self::T1 => (7, 1),
            Self::T2 => (8, 1),
            Self::T2Halves => (8, 2),
            Self::Q8_0 => (32, 4),
            Self::F16 | Self::Bf16 => (64, 0),
            Self::F32 => (128, 0),
        }
    }

    /// Whether weights are bits, which tensor cores multiply as they are.
    #[must_use]
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Q1_0 | Self::T1 | Self::T2 | Self::T2Halves)
    }

    /// The bytes of a matrix `[rows, columns]`, with those that fill its last tiles and groups.
    #[must_use]
    pub fn bytes(self, rows: u64, columns: u64) -> u64 {
        let chunks = packed::chunks(rows as usize, columns as usize) as u64;
        chunks.saturating_mul((4 * self.words() + 2 * self.scales()) as u64)
    }

    /// Words of 32 bits in a chunk.
    #[must_use]
    pub fn words(self) -> usize {
        self.sizes().0
    }

    /// Scales of a chunk.
    #[must_use]
    pub fn scales(self) -> usize {
        self.sizes().1
    }
}

/// A chunk of weights as it is in a file, but for the order: words whose lowest bits are first, and their scales, as many of
/// each as the format has. Trits are codes of two bits here.
#[derive(Clone, Copy)]
struct Chunk {
    words: [u32; CHUNK],
    scales: [f16; CHUNK / 32],
}

impl Chunk {
    const ZERO: Self = Self { words: [0; CHUNK], scales: [f16::ZERO; CHUNK / 32] };

    fn set_words(&mut self, words: impl Iterator<Item = u32>) {
        self.words.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    }
}

/// The number at the start of some bytes.
fn read_f16(bytes: &[u8]) -> f16 {
    f16::from_le_bytes([bytes[0], bytes[1]])
}

/// Bytes, four of them a word.
fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word))
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 12] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q1_0,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Q2_0,
        Self::Q2_0G128,
        Self::Tq2_0G128,
        Self::Pq2_0,
        Self::Ptq1_0,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q1_0 => "Q1_0",
            Self::Tq1_0 => "TQ1_0",
            Self::Tq2_0 => "TQ2_0",
            Self::Q2_0 => "Q2_0",
            Self::Q2_0G128 => "Q2_0_g128",
            Self::Tq2_0G128 => "TQ2_0_g128",
            Self::Pq2_0 => "PQ2_0",
            Self::Ptq1_0 => "PTQ1_0",
        }
    }

    /// Weights and bytes of a block.
    fn sizes(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q1_0 => (128, 18),
            Self::Tq1_0 => (256, 54),
            Self::Tq2_0 => (256, 66),
            Self::Q2_0 => (64, 18),
            Self::Q2_0G128 | Self::Tq2_0G128 | Self::Pq2_0 => (128, 34),
            Self::Ptq1_0 => (128, 28),
        }
    }

    /// Weights of a block.
    #[must_use]
    pub fn block(self) -> usize {
        self.sizes().0
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.sizes().1
    }

    /// How it is on the device.
    #[must_use]
    pub fn layout(self) -> Layout {
        match self {
            Self::F32 => Layout::F32,
            Self::F16 => Layout::F16,
            Self::Bf16 => Layout::Bf16,
            Self::Q8_0 => Layout::Q8_0,
            Self::Q1_0 => Layout::Q1_0,
            Self::Tq1_0 | Self::Ptq1_0 => Layout::T1,
            Self::Tq2_0 | Self::Q2_0G128 | Self::Tq2_0G128 | Self::Pq2_0 => Layout::T2,
            Self::Q2_0 => Layout::T2Halves,
        }
    }

    /// Whether the format has room for a number of this size.
    fn holds(self, x: f32) -> bool {
        match self {
            Self::F32 => x.is_finite(),
            Self::Bf16 => bf16::from_f32(x).is_finite(),
            // the scale is a fraction of the largest
            Self::Q8_0 => f16::from_f32(x / q8_0::LARGEST).is_finite(),
            _ => f16::from_f32(x).is_finite(),
        }
    }

    /// Packs weights, and puts the blocks after those that are there.
    ///
    /// This is what ggml's reference quantizers do: Q1_0 has the mean of the absolute values for its scale, all others the
    /// largest, and the nearest of -1, 0 and 1 times that for each weight (or of 255 steps, in Q8_0), halves away from zero.
    ///
    /// # Errors
    /// [`QuantError::Weights`] for weights that are no whole blocks, [`QuantError::OutOfRange`] for one that is not finite
    /// or whose scale would not be. Then nothing was added.
    pub fn quantize(self, weights: &[f32], blocks: &mut Vec<u8>) -> Result<(), QuantError> {
        let (block, block_bytes) = self.sizes();
        if !weights.len().is_multiple_of(block) {
            return Err(QuantError::Weights { format: self, weights: weights.len(), block });
        }
        if let Some(at) = weights.iter().position(|x| !self.holds(*x)) {
            return Err(QuantError::OutOfRange { format: self, at, value: weights[at] });
        }
        blocks.reserve(weights.len() / block * block_bytes);
        for weights in weights.chunks_exact(block) {
            match self {
                Self::F32 | Self::F16 | Self::Bf16 => floats::quantize(self, weights[0], blocks),
                Self::Q8_0 => q8_0::quantize(weights, blocks),
                Self::Q1_0 => q1_0::quantize(weights, blocks),
                Self::Tq1_0 | Self::Ptq1_0 => trits::quantize(self, weights, blocks),
                Self::Tq2_0 | Self::Q2_0 | Self::Q2_0G128 | Self::Tq2_0G128 | Self::Pq2_0 => {
                    two_bit::quantize(self, weights, blocks);
                }
            }
        }
        Ok(())
    }

    /// The weights of blocks.
    ///
    /// # Errors
    /// [`QuantError::Bytes`] for bytes that are no whole blocks.
    pub fn dequantize(self, blocks: &[u8]) -> Result<Vec<f32>, QuantError> {
        let (block, block_bytes) = self.sizes();
        self.check_bytes(blocks, block_bytes)?;
        let mut weights = Vec::with_capacity(blocks.len() / block_bytes * block);
        for block in blocks.chunks_exact(block_bytes) {
            match self {
                Self::F32 | Self::F16 | Self::Bf16 => weights.push(floats::dequantize(self, block)),
                Self::Q8_0 => weights.extend(q8_0::dequantize(block)),
                Self::Q1_0 => weights.extend(q1_0::weights(block)),
                Self::Tq1_0 | Self::Ptq1_0 => weights.extend(trits::dequantize(self, block)),
                Self::Tq2_0 | Self::Q2_0 | Self::Q2_0G128 | Self::Tq2_0G128 | Self::Pq2_0 => {
                    weights.extend(two_bit::dequantize(self, block));
                }
            }
        }
        Ok(weights)
    }

    /// The bytes of the fewest blocks that are whole chunks of [`CHUNK`] weights.
    fn chunk_bytes(self) -> usize {
        let (block, block_bytes) = self.sizes();
        CHUNK.div_ceil(block) * block_bytes
    }

    /// A matrix `[rows, columns]` of blocks, as the kernels read it.
    ///
    /// # Errors
    /// [`QuantError::Bytes`] for bytes that are no whole chunks of [`CHUNK`] weights, and [`QuantError::Matrix`] for those
    /// of another matrix.
    pub fn pack(self, blocks: &[u8], rows: usize, columns: usize) -> Result<Packed, QuantError> {
        let mut packed = Packed::new(self.layout(), rows, columns);
        packed.put(self, blocks, 0)?;
        Ok(packed)
    }

    /// The chunks of the fewest blocks that are whole ones: one or two.
    fn unpack(self, blocks: &[u8], chunks: &mut [Chunk]) {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => chunks[0].set_words(words(blocks)),
            Self::Q8_0 => {
                for (n, block) in blocks.chunks_exact(self.block_bytes()).enumerate() {
                    q8_0::unpack(block, n, &mut chunks[0]);
                }
            }
            Self::Q1_0 => q1_0::unpack(blocks, &mut chunks[0]),
            Self::Tq1_0 | Self::Ptq1_0 => trits::unpack(self, blocks, chunks),
            _ => two_bit::unpack(self, blocks, chunks),
        }
    }

    fn check_bytes(self, blocks: &[u8], unit: usize) -> Result<(), QuantError> {
        if blocks.len().is_multiple_of(unit) {
            return Ok(());
        }
        Err(QuantError::Bytes { format: self, bytes: blocks.len(), unit })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = QuantError;

    fn from_str(name: &str) -> Result<Self, QuantError> {
        let known = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| QuantError::Name { name: name.to_owned() })
    }
}
