//! A linear layer with Q1_0 weights.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::f16;

use super::error::{ModelError, check_tensor};
use crate::buffer::Buffer;
use crate::gguf::{Gguf, TensorType};
use crate::kernel::Set;
use crate::kernel::q1_0_gemv::{Q1_0Gemv, Q1_0GemvAdd};
use crate::launch::{LaunchError, Target};
use crate::quant::q1_0::{self, BLOCK};
use crate::types::Uint4;

/// A matrix `[rows, columns]` of Q1_0 weights on a device. Cloning it gives the same weights.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[rows, blocks]`
    signs: Buffer<Uint4>,
    /// `[rows, blocks]`
    scales: Buffer<f16>,
    rows: u32,
    /// Blocks of 128 weights in a row.
    blocks: u32,
}

impl Linear {
    /// Uploads tensors of `columns` inputs as one matrix, the rows of one after those of the other.
    ///
    /// # Errors
    /// A tensor that is missing, or has not this shape or is not Q1_0; or what the driver says.
    pub fn load(
        stream: &Arc<CudaStream>,
        gguf: &Gguf,
        tensors: &[(&str, u32)],
        columns: u32,
    ) -> Result<Self, ModelError> {
        let mut packed = q1_0::Packed { signs: Vec::new(), scales: Vec::new() };
        for (name, rows) in tensors {
            let tensor = gguf.tensor(name)?;
            check_tensor(&tensor, TensorType::Q1_0, &[u64::from(columns), u64::from(*rows)])?;
            let of_tensor = q1_0::pack_for_device(tensor.data);
            packed.signs.extend(of_tensor.signs);
            packed.scales.extend(of_tensor.scales);
        }
        Ok(Self {
            signs: Buffer::from_host(stream, &packed.signs)?,
            scales: Buffer::from_host(stream, &packed.scales)?,
            rows: tensors.iter().map(|(_, rows)| rows).sum(),
            blocks: columns / BLOCK as u32,
        })
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
        let Self { signs, scales, rows, blocks } = self;
        for token in 0..tokens {
            let (x, y) = self.of_token(x, y, token);
            Q1_0Gemv { signs, scales, x: &x, y: &mut { y }, rows: *rows, blocks: *blocks }.launch(onto)?;
        }
        Ok(())
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
        let Self { signs, scales, rows, blocks } = self;
        for token in 0..tokens {
            let (x, y) = self.of_token(x, y, token);
            Q1_0GemvAdd { signs, scales, x: &x, y: &mut { y }, rows: *rows, blocks: *blocks }.launch(onto)?;
        }
        Ok(())
    }

    /// What a token has of `x` and `y`. Where that is not there, all: a launch then fails the check of lengths.
    fn of_token(&self, x: &Buffer<f32>, y: &Buffer<f32>, token: u32) -> (Buffer<f32>, Buffer<f32>) {
        let part = |buffer: &Buffer<f32>, length: u32| {
            let (token, length) = (token as usize, length as usize);
            buffer.slice(token * length..(token + 1) * length).unwrap_or_else(|_| buffer.clone())
        };
        (part(x, self.columns()), part(y, self.rows))
    }

    /// Outputs.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Inputs.
    #[must_use]
    pub fn columns(&self) -> u32 {
        self.blocks * BLOCK as u32
    }

    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    pub(super) fn signs(&self) -> &Buffer<Uint4> {
        &self.signs
    }

    pub(super) fn scales(&self) -> &Buffer<f16> {
        &self.scales
    }
}
