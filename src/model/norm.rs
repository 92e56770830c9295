//! RMS norm.

use super::error::ModelError;
use super::load::Loader;
use crate::buffer::Buffer;
use crate::kernel::Set;
use crate::kernel::rms_norm::RmsNorm;
use crate::launch::{LaunchError, Target};

/// RMS norm, `x / sqrt(mean(x²) + eps) * weight` for each token.
#[derive(Debug, Clone)]
pub struct Norm {
    /// `[columns]`
    pub weight: Buffer<f32>,
    /// What is added to the mean.
    pub eps: f32,
}

impl Norm {
    pub(super) fn load(loader: &mut Loader<'_, '_>, name: &str, columns: u32, eps: f32) -> Result<Self, ModelError> {
        Ok(Self { weight: loader.vector(name, columns)?, eps })
    }

    /// Normalises `x` into `out`, both `[tokens, columns]`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn forward<Q: Target<Set = Set>>(
        &self,
        onto: &Q,
        x: &Buffer<f32>,
        out: &mut Buffer<f32>,
    ) -> Result<(), LaunchError> {
        // A weight longer than 2^32, or that many rows, fail the check of lengths.
        let dim = u32::try_from(self.weight.len()).unwrap_or(u32::MAX);
        let rows = out.len().checked_div(self.weight.len()).unwrap_or(0);
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        RmsNorm { x, weight: &self.weight, out, rows, dim, eps: self.eps }.launch(onto)?;
        Ok(())
    }
}
