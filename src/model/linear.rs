//! A linear layer with weights in any format.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::f16;

use super::error::ModelError;
use super::upload::Upload;
use crate::buffer::Buffer;
use crate::kernel::{Set, embedding, matmul, matmul_prefill};
use crate::launch::{LaunchError, Target};
use crate::quant::{CHUNK, Format, Layout, Packed};

/// A matrix `[rows, columns]` of weights on a device. Cloning it gives the same weights.
///
/// It may be made of several tensors with a common input, in formats of their own.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Rows in one layout, then those in the next.
    parts: Arc<[Part]>,
    rows: u32,
    /// Chunks of 128 weights in a row.
    chunks: u32,
}

/// Rows of a matrix that are in one layout.
#[derive(Debug)]
struct Part {
    layout: Layout,
    /// `[rows, chunks, layout.words()]`
    words: Buffer<u32>,
    /// `[rows, chunks, layout.scales()]`
    scales: Buffer<f16>,
    /// The first of them in the matrix.
    first: u32,
    rows: u32,
}

/// Launches the kernel of a part's layout: of those named, with what all of them are given.
macro_rules! launch {
    ($onto:expr, $layout:expr, [$($of:ident: $module:ident::$kernel:ident),* $(,)?], $arguments:tt) => {
        match $layout {
            $(Layout::$of => { $module::$kernel $arguments.launch($onto)?; })*
        }
    };
}

impl Linear {
    /// Uploads a matrix `[rows, columns]` of blocks, as they are in files: row by row, each of whole blocks.
    ///
    /// # Errors
    /// [`ModelError::Columns`] and [`ModelError::Blocks`] for what is no such matrix, or what the driver says.
    pub fn from_blocks(
        stream: &Arc<CudaStream>,
        format: Format,
        blocks: &[u8],
        rows: u32,
        columns: u32,
    ) -> Result<Self, ModelError> {
        Self::from_parts(stream, &[(format, blocks, rows)], columns)
    }

    /// Uploads matrices of as many columns, one below the other: the format, blocks and rows of each.
    ///
    /// # Errors
    /// As [`from_blocks`](Self::from_blocks).
    pub fn from_parts(
        stream: &Arc<CudaStream>,
        matrices: &[(Format, &[u8], u32)],
        columns: u32,
    ) -> Result<Self, ModelError> {
        Self::upload(&mut Upload::new(stream, &mut |_| {}), matrices, columns)
    }

    pub(super) fn upload(
        upload: &mut Upload<'_>,
        matrices: &[(Format, &[u8], u32)],
        columns: u32,
    ) -> Result<Self, ModelError> {
        // What follows the other in the same layout is one part.
        let mut packed: Vec<(Packed, u32)> = Vec::new();
        for &(format, blocks, rows) in matrices {
            let row = (columns as usize).max(1);
            if !row.is_multiple_of(CHUNK) || !row.is_multiple_of(format.block()) {
                return Err(ModelError::Columns { format, columns });
            }
            let expected = u64::from(rows) * (row / format.block() * format.block_bytes()) as u64;
            if blocks.len() as u64 != expected {
                return Err(ModelError::Blocks { format, rows, columns, expected, found: blocks.len() });
            }
            let next = format.pack(blocks)?;
            match packed.last_mut().filter(|(part, _)| part.layout == next.layout) {
                Some((part, part_rows)) => {
                    part.words.extend(next.words);
                    part.scales.extend(next.scales);
                    *part_rows = total(*part_rows, rows)?;
                }
                None => packed.push((next, rows)),
            }
        }
        let mut first = 0;
        let mut parts = Vec::new();
        for (Packed { layout, words, scales }, rows) in packed {
            let (words, scales) = (upload.put(&words)?, upload.put(&scales)?);
            parts.push(Part { layout, words, scales, first, rows });
            first = total(first, rows)?;
        }
        Ok(Self { parts: parts.into(), rows: first, chunks: columns / CHUNK as u32 })
    }

    /// `y = W x` for each token: `x` is `[tokens, columns]`, `y` is `[tokens, rows]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn forward<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        x: &Buffer<f32>,
        y: &mut Buffer<f32>,
        tokens: u32,
    ) -> Result<(), LaunchError> {
        self.launch(onto, x, y, tokens, false)
    }

    /// `y += W x` for each token: `x` is `[tokens, columns]`, `y` is `[tokens, rows]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn forward_add<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        x: &Buffer<f32>,
        y: &mut Buffer<f32>,
        tokens: u32,
    ) -> Result<(), LaunchError> {
        self.launch(onto, x, y, tokens, true)
    }

    fn launch<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        x: &Buffer<f32>,
        y: &mut Buffer<f32>,
        tokens: u32,
        add: bool,
    ) -> Result<(), LaunchError> {
        let &Self { rows: stride, chunks, .. } = self;
        for Part { layout, words, scales, first, rows } in &*self.parts {
            let (y, rows, offset) = (&mut *y, *rows, *first);
            if tokens == 1 {
                launch!(onto, layout, [Q1_0: matmul::MatmulQ1_0_1, T1: matmul::MatmulT1_1, T2: matmul::MatmulT2_1,
                    T2Halves: matmul::MatmulT2Halves1, Q8_0: matmul::MatmulQ8_0_1, F16: matmul::MatmulF16_1,
                    Bf16: matmul::MatmulBF16_1, F32: matmul::MatmulF32_1],
                    { words, scales, x, y, rows, chunks, tokens, stride, offset, add });
            } else {
                launch!(onto, layout, [Q1_0: matmul_prefill::MatmulPrefillQ1_0, T1: matmul_prefill::MatmulPrefillT1,
                    T2: matmul_prefill::MatmulPrefillT2, T2Halves: matmul_prefill::MatmulPrefillT2Halves,
                    Q8_0: matmul_prefill::MatmulPrefillQ8_0, F16: matmul_prefill::MatmulPrefillF16,
                    Bf16: matmul::MatmulBF16_8, F32: matmul::MatmulF32_8],
                    { words, scales, x, y, rows, chunks, tokens, stride, offset, add });
            }
        }
        Ok(())
    }

    /// Rows as numbers, of an embedding that is one tensor: those of the `rows` tokens from `position` on, `[1]`, of
    /// `tokens`, `[context]`, into `out`, `[rows, columns]`. A position or token that there is not gives NaN.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn embed<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        tokens: &Buffer<u32>,
        position: &Buffer<u32>,
        out: &mut Buffer<f32>,
        rows: u32,
    ) -> Result<(), LaunchError> {
        // A buffer longer than 2^32 fails the check of its length.
        let context = tokens.len().try_into().unwrap_or(u32::MAX);
        let chunks = self.chunks;
        if let Some(Part { layout, words, scales, rows: vocab, .. }) = self.parts.first() {
            let vocab = *vocab;
            launch!(onto, layout, [Q1_0: embedding::EmbeddingRowsQ1_0, T1: embedding::EmbeddingRowsT1,
                T2: embedding::EmbeddingRowsT2, T2Halves: embedding::EmbeddingRowsT2Halves,
                Q8_0: embedding::EmbeddingRowsQ8_0, F16: embedding::EmbeddingRowsF16,
                Bf16: embedding::EmbeddingRowsBF16, F32: embedding::EmbeddingRowsF32],
                { tokens, position, words, scales, out, context, vocab, chunks, rows });
        }
        Ok(())
    }

    /// Outputs.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Inputs.
    #[must_use]
    pub fn columns(&self) -> u32 {
        self.chunks * CHUNK as u32
    }

    /// The memory of its weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.words.bytes() + part.scales.bytes()).sum()
    }
}

/// Rows of two matrices, of which a kernel has to count all.
fn total(rows: u32, more: u32) -> Result<u32, ModelError> {
    rows.checked_add(more).ok_or(ModelError::Rows { rows: u64::from(rows) + u64::from(more) })
}
