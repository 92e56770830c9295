//! A linear layer with weights in any format.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::f16;

use super::error::ModelError;
use super::norm::Norm;
use super::upload::Upload;
use crate::buffer::{Buffer, BufferError};
use crate::kernel::silu_mul::SiluMul;
use crate::kernel::{Set, embedding, matmul, matmul_prefill, matvec};
use crate::launch::{LaunchError, Target, multiprocessors};
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
    /// Multiprocessors of its device.
    multiprocessors: u32,
}

/// Tiles of 16 rows that a block of `matvec` can have.
const MAX_TILES: u32 = 96;

/// Rows of a matrix that are in one layout.
#[derive(Debug)]
struct Part {
    layout: Layout,
    words: Buffer<u32>,
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
        for &(format, blocks, rows) in matrices {
            let row = (columns as usize).max(1);
            if !row.is_multiple_of(CHUNK) || !row.is_multiple_of(format.block()) {
                return Err(ModelError::Columns { format, columns });
            }
            let expected = u64::from(rows) * (row / format.block() * format.block_bytes()) as u64;
            if blocks.len() as u64 != expected {
                return Err(ModelError::Blocks { format, rows, columns, expected, found: blocks.len() });
            }
        }
        let multiprocessors = multiprocessors(upload.stream().context()).map_err(BufferError::from)?.max(1);
        let mut first = 0;
        let mut uploaded = Vec::new();
        // What follows the other in the same layout is one part.
        for matrices in matrices.chunk_by(|(one, ..), (next, ..)| one.layout() == next.layout()) {
            let rows = matrices.iter().try_fold(0, |rows, (.., more)| total(rows, *more))?;
            let layout = matrices[0].0.layout();
            let mut packed = Packed::new(layout, rows as usize, columns as usize);
            let mut at = 0;
            for (format, blocks, rows) in matrices {
                packed.put(*format, blocks, at)?;
                at += *rows as usize;
            }
            let (words, scales) = (upload.put(packed.words())?, upload.put(packed.scales())?);
            uploaded.push(Part { layout, words, scales, first, rows });
            first = total(first, rows)?;
        }
        Ok(Self { parts: uploaded.into(), rows: first, chunks: columns / CHUNK as u32, multiprocessors })
    }

    /// `y = W x` for each token: `x` is `[tokens, columns]`, `y` is `[tokens, rows]`.
    ///
    /// One token is a product of its own kind, in which the numbers of `x` become integers of 16 bits, with a step for each
    /// 512, if the weights are bits.
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
        self.product(onto, x, y, tokens, false)
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
        self.product(onto, x, y, tokens, true)
    }

    /// `y = W norm(x)` for each token: `x` is `[tokens, columns]`, `y` is `[tokens, rows]`. For one token that is one launch;
    /// for several, `normed`, `[tokens, columns]`, has `norm(x)` then.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn forward_normed<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        norm: &Norm,
        x: &Buffer<f32>,
        normed: &mut Buffer<f32>,
        y: &mut Buffer<f32>,
        tokens: u32,
    ) -> Result<(), LaunchError> {
        if tokens == 1 {
            return self.one(onto, Some(norm), x, y, false);
        }
        norm.forward(onto, x, normed)?;
        self.product(onto, normed, y, tokens, false)
    }

    /// The gated half of a SwiGLU network for each token, `silu(G norm(x)) * (U norm(x))`, where this matrix is `G` and below
    /// it `U`: `x` is `[tokens, columns]`, `y` is `[tokens, rows / 2]`. For one token that is one launch, if both are in one
    /// layout. Otherwise `normed`, `[tokens, columns]`, and `both`, `[tokens, rows]`, have what is computed on the way.
    ///
    /// # Errors
    /// See [`LaunchError`].
    #[allow(clippy::too_many_arguments, reason = "a norm and a product, and room for what each leaves")]
    pub fn forward_gated<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        norm: &Norm,
        x: &Buffer<f32>,
        normed: &mut Buffer<f32>,
        both: &mut Buffer<f32>,
        y: &mut Buffer<f32>,
        tokens: u32,
    ) -> Result<(), LaunchError> {
        let &Self { rows, chunks, .. } = self;
        if let (1, [Part { layout, words, scales, .. }]) = (tokens, &*self.parts) {
            let (eps, norm) = (norm.eps, Some(&norm.weight));
            let blocks = self.blocks(rows / 32, MAX_TILES / 2);
            launch!(onto, layout, [Q1_0: matvec::MatvecGatedQ1_0, T1: matvec::MatvecGatedT1, T2: matvec::MatvecGatedT2,
                T2Halves: matvec::MatvecGatedT2Halves, Q8_0: matvec::MatvecGatedQ8_0, F16: matvec::MatvecGatedF16,
                Bf16: matvec::MatvecGatedBF16, F32: matvec::MatvecGatedF32],
                { words, scales, norm, x, y, rows, chunks, eps, blocks });
            return Ok(());
        }
        self.forward_normed(onto, norm, x, normed, both, tokens)?;
        SiluMul { gate_up: &*both, out: y, rows: tokens, dim: rows / 2 }.launch(onto)?;
        Ok(())
    }

    /// Blocks for `units` of rows, of which a block can have `most`: where each has as many as another, no more than there
    /// are multiprocessors, since each has to make the vector ready.
    fn blocks(&self, units: u32, most: u32) -> u32 {
        let each = units.div_ceil(self.multiprocessors).clamp(1, most);
        units.div_ceil(each).max(1)
    }

    /// One token.
    fn one<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        norm: Option<&Norm>,
        x: &Buffer<f32>,
        y: &mut Buffer<f32>,
        add: bool,
    ) -> Result<(), LaunchError> {
        let &Self { rows: stride, chunks, .. } = self;
        let (eps, norm) = (norm.map_or(0.0, |norm| norm.eps), norm.map(|norm| &norm.weight));
        for Part { layout, words, scales, first, rows } in &*self.parts {
            let (y, rows, offset, norm) = (&mut *y, *rows, *first, norm);
            let blocks = self.blocks(rows.div_ceil(16), MAX_TILES);
            launch!(onto, layout, [Q1_0: matvec::MatvecQ1_0, T1: matvec::MatvecT1, T2: matvec::MatvecT2,
                T2Halves: matvec::MatvecT2Halves, Q8_0: matvec::MatvecQ8_0, F16: matvec::MatvecF16,
                Bf16: matvec::MatvecBF16, F32: matvec::MatvecF32],
                { words, scales, norm, x, y, rows, chunks, stride, offset, add, eps, blocks });
        }
        Ok(())
    }

    /// Without a norm.
    fn product<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        x: &Buffer<f32>,
        y: &mut Buffer<f32>,
        tokens: u32,
        add: bool,
    ) -> Result<(), LaunchError> {
        if tokens == 1 {
            return self.one(onto, None, x, y, add);
        }
        let &Self { rows: stride, chunks, .. } = self;
        for Part { layout, words, scales, first, rows } in &*self.parts {
            let (y, rows, offset) = (&mut *y, *rows, *first);
            launch!(onto, layout, [Q1_0: matmul_prefill::MatmulPrefillQ1_0, T1: matmul_prefill::MatmulPrefillT1,
                T2: matmul_prefill::MatmulPrefillT2, T2Halves: matmul_prefill::MatmulPrefillT2Halves,
                Q8_0: matmul_prefill::MatmulPrefillQ8_0, F16: matmul_prefill::MatmulPrefillF16,
                Bf16: matmul::MatmulBF16, F32: matmul::MatmulF32],
                { words, scales, x, y, rows, chunks, tokens, stride, offset, add });
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
