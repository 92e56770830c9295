//! A matrix as the kernels read it: where its weights are is what `kernels/include/weights.cuh` says.
//!
//! Rows are in tiles of 16, chunks of 128 weights in groups of 4. A group of a tile has all its words side by side, and all
//! its scales; what is beyond the matrix is 0. In a group of weights that are numbers, chunks follow one another, and in
//! each its rows.
//!
//! Weights that are bits are for tensor cores. A plane has one bit of each weight; of each chunk and row it has four words,
//! t = 0 to 3, with weights 32t to 32t + 31. Row r of a tile is row g = r % 8 of its half r / 8, and word t of it belongs to
//! lane 4g + t: a plane is `[chunk / 2, lane, chunk % 2, half]`, scales are `[of a chunk, g, half, chunk]`.
//!
//! Of trits, four that are at the same place in the four chunks are a fraction of 128 in base 3, `ceil(128 * 0.t0 t1 t2 t3)`:
//! times 3 its first trit comes out on top, and the rest stays. Its seven bits, the lowest first, are in planes: four that
//! are `[half, lane, plane]`, then three that are `[plane, lane, half]`.

use half::f16;

use super::{CHUNK, Chunk, Format, Layout, QuantError};

/// Rows of a tile.
const TILE: usize = 16;
/// Chunks of a group.
const GROUP: usize = 4;

/// A matrix of weights as the kernels read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    layout: Layout,
    rows: usize,
    columns: usize,
    words: Vec<u32>,
    scales: Vec<f16>,
}

impl Packed {
    /// A matrix `[rows, columns]` of zeros.
    #[must_use]
    pub fn new(layout: Layout, rows: usize, columns: usize) -> Self {
        let chunks = chunks(rows, columns);
        let words = vec![0; chunks * layout.words()];
        Self { layout, rows, columns, words, scales: vec![f16::ZERO; chunks * layout.scales()] }
    }

    /// How weights are in it.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// `[tiles, groups, 64 * layout.words()]`
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// `[tiles, groups, 64 * layout.scales()]`
    #[must_use]
    pub fn scales(&self) -> &[f16] {
        &self.scales
    }

    /// Puts whole rows of blocks into it, from a row on.
    ///
    /// # Errors
    /// [`QuantError::Bytes`] for bytes that are no whole chunks of [`CHUNK`] weights, and [`QuantError::Matrix`] for those
    /// of another layout, or that are no rows of this matrix. Then nothing has changed.
    pub fn put(&mut self, format: Format, blocks: &[u8], first: usize) -> Result<(), QuantError> {
        let unit = format.chunk_bytes();
        format.check_bytes(blocks, unit)?;
        let row_bytes = self.columns / format.block() * format.block_bytes();
        let whole = self.columns.is_multiple_of(format.block()) && self.columns.is_multiple_of(CHUNK);
        let rows = blocks.len().checked_div(row_bytes).unwrap_or(0);
        if format.layout() != self.layout || !whole || rows * row_bytes != blocks.len() || first + rows > self.rows {
            let (rows, columns) = (self.rows.saturating_sub(first), self.columns);
            return Err(QuantError::Matrix { format, bytes: blocks.len(), rows, columns });
        }
        let of_unit = unit / format.block_bytes() * format.block() / CHUNK;
        let groups = self.columns.div_ceil(GROUP * CHUNK);
        for (n, row) in blocks.chunks_exact(row_bytes.max(1)).enumerate() {
            let mut group = [Chunk::ZERO; GROUP];
            let mut units = row.chunks_exact(unit);
            let (tile, row) = ((first + n) / TILE, (first + n) % TILE);
            for at in 0..groups {
                for chunks in group.chunks_exact_mut(of_unit) {
                    match units.next() {
                        Some(unit) => format.unpack(unit, chunks),
                        None => chunks.fill(Chunk::ZERO),
                    }
                }
                self.put_group(tile * groups + at, row, &group);
            }
        }
        Ok(())
    }

    /// Puts what a row has of a group there.
    fn put_group(&mut self, group: usize, row: usize, chunks: &[Chunk; GROUP]) {
        let (of_words, of_scales) = (self.layout.words(), self.layout.scales());
        let words = &mut self.words[group * TILE * GROUP * of_words..][..TILE * GROUP * of_words];
        let scales = &mut self.scales[group * TILE * GROUP * of_scales..][..TILE * GROUP * of_scales];
        let (g, half) = (row % 8, row / 8);
        let of_bits = |plane: usize, t: usize, chunk: usize| {
            ((plane * 2 + chunk / 2) * 32 + 4 * g + t) * 4 + chunk % 2 * 2 + half
        };
        for (n, chunk) in chunks.iter().enumerate() {
            match self.layout {
                Layout::Q1_0 => (0..4).for_each(|t| words[of_bits(0, t, n)] = chunk.words[t]),
                Layout::T2 | Layout::T2Halves => {
                    for t in 0..4 {
                        let (low, high) = (chunk.words[2 * t], chunk.words[2 * t + 1]);
                        for plane in 0..2 {
                            words[of_bits(plane, t, n)] = even_bits(low >> plane) | even_bits(high >> plane) << 16;
                        }
                    }
                }
                // all chunks together, below
                Layout::T1 => {}
                Layout::Q8_0 | Layout::F16 | Layout::Bf16 | Layout::F32 => {
                    let at = n * TILE + row;
                    words[at * of_words..][..of_words].copy_from_slice(&chunk.words[..of_words]);
                    scales[at * of_scales..][..of_scales].copy_from_slice(&chunk.scales[..of_scales]);
                }
            }
            if self.layout.is_bits() {
                (0..of_scales).for_each(|of| scales[((of * 8 + g) * 2 + half) * GROUP + n] = chunk.scales[of]);
            }
        }
        if self.layout == Layout::T1 {
            for t in 0..4 {
                let planes = fractions(&chunks.each_ref().map(|chunk| [chunk.words[2 * t], chunk.words[2 * t + 1]]));
                let lane = 4 * g + t;
                for (plane, word) in planes.into_iter().enumerate() {
                    let at = if plane < 4 {
                        (half * 32 + lane) * 4 + plane
                    } else {
                        256 + ((plane - 4) * 32 + lane) * 2 + half
                    };
                    words[at] = word;
                }
            }
        }
    }
}

/// The chunks that a matrix has in tiles and groups, with those that are beyond it.
pub(crate) fn chunks(rows: usize, columns: usize) -> usize {
    let (tiles, groups) = (rows.div_ceil(TILE), columns.div_ceil(CHUNK * GROUP));
    tiles.saturating_mul(TILE * GROUP).saturating_mul(groups)
}

/// Bits 0, 2, 4, … of a word, side by side.
fn even_bits(word: u32) -> u32 {
    let mut bits = word & 0x5555_5555;
    for (shift, mask) in [(1, 0x3333_3333), (2, 0x0f0f_0f0f), (4, 0x00ff_00ff), (8, 0x0000_ffff)] {
        bits = (bits | bits >> shift) & mask;
    }
    bits
}

/// For four codes of two bits, which are trits, the first in the lowest bits: `ceil(128 * 0.t0 t1 t2 t3)`.
const FRACTIONS: [u8; 256] = {
    let mut fractions = [0; 256];
    let mut codes = 0;
    while codes < 256 {
        let (t0, t1, t2, t3) = (codes & 3, codes >> 2 & 3, codes >> 4 & 3, codes >> 6);
        if t0 < 3 && t1 < 3 && t2 < 3 && t3 < 3 {
            fractions[codes] = (128 * (27 * t0 + 9 * t1 + 3 * t2 + t3)).div_ceil(81) as u8;
        }
        codes += 1;
    }
    fractions
};

/// The planes of 32 fractions: of each chunk 32 trits, as codes of two bits in two words.
fn fractions(chunks: &[[u32; 2]; GROUP]) -> [u32; 7] {
    let mut planes = [0; 7];
    for n in 0..32 {
        let code = |chunk: usize| chunks[chunk][n / 16] >> (n % 16 * 2) & 3;
        let codes = code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6;
        let fraction = u32::from(FRACTIONS[codes as usize]);
        for (plane, word) in planes.iter_mut().enumerate() {
            *word |= (fraction >> plane & 1) << n;
        }
    }
    planes
}
