//! What can be wrong with a model, or with what it is asked.

use super::config::Architecture;
use super::memory::{Bytes, MemoryNeed};
use super::sampling::SamplingError;
use crate::buffer::BufferError;
use crate::gguf::{GgufError, Tensor, TensorType};
use crate::launch::{GraphError, LaunchError};
use crate::model::KvShape;
use crate::quant::{Format, QuantError};

/// Why a model was not loaded, or did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Something is wrong with the file, or missing in it.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file is of a model that is not supported.
    #[error("the key `{key}` is {found}, and supported is {supported}")]
    Unsupported {
        /// The key that says so.
        key: String,
        /// What it says.
        found: String,
        /// What is supported.
        supported: &'static str,
    },
    /// A tensor that no model of this architecture has: without it the model would compute something else.
    #[error("the tensor `{tensor}` belongs to nothing that is supported of `{architecture}`")]
    UnknownTensor {
        /// The tensor.
        tensor: String,
        /// The architecture.
        architecture: Architecture,
    },
    /// A tensor has another shape than the configuration says.
    #[error("the tensor `{tensor}` is {found:?}, and the configuration makes it {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        found: Vec<u64>,
        /// What they should be.
        expected: Vec<u64>,
    },
    /// A tensor is in a format that is not supported.
    #[error("the tensor `{tensor}` is {found}, and only {supported} is supported here")]
    Format {
        /// The tensor.
        tensor: String,
        /// Its format.
        found: TensorType,
        /// What is supported.
        supported: String,
    },
    /// A row of a matrix is no whole number of blocks, or of the chunks that kernels take.
    #[error("a matrix of {format} has rows of {columns}: they have to be multiples of 128, and of {}", format.block())]
    Columns {
        /// The format.
        format: Format,
        /// The weights of a row.
        columns: u32,
    },
    /// A matrix has other bytes than its shape says.
    #[error("a matrix of {format} with {rows} rows of {columns} is {expected} bytes, and these are {found}")]
    Blocks {
        /// The format.
        format: Format,
        /// The rows.
        rows: u32,
        /// The weights of a row.
        columns: u32,
        /// The bytes that it should have.
        expected: u64,
        /// Those that it has.
        found: usize,
    },
    /// Matrices that are to be one have too many rows.
    #[error("{rows} rows are too many for one matrix: there can be {}", u32::MAX)]
    Rows {
        /// How many there are.
        rows: u64,
    },
    /// Weights.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A token that the model has not.
    #[error("there is no token {token}: the model has {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// How many the model has.
        vocab: u32,
    },
    /// There is no room for as many tokens.
    #[error("{needed} tokens do not fit in a context of {context}")]
    Context {
        /// How many tokens there would be.
        needed: usize,
        /// How many there can be.
        context: usize,
    },
    /// A context that the model cannot have.
    #[error("a context of {context} is outside 1 to {limit}, which is what the model was made for")]
    ContextLength {
        /// What was asked for.
        context: usize,
        /// The most that it can be.
        limit: u32,
    },
    /// There is too little memory.
    #[error(
        "{need} would be needed, which is {} more than the {} of device memory that are free: {}",
        Bytes(need.total().saturating_sub(*free)), Bytes(*free), remedy(*context, *fits)
    )]
    Memory {
        /// What is needed.
        need: MemoryNeed,
        /// Bytes that are free.
        free: u64,
        /// The context that was asked for.
        context: usize,
        /// The longest context that fits, if any does.
        fits: Option<u32>,
    },
    /// A setting of [`Sampling`](super::Sampling).
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// Keys and values cannot be copied from one cache to the other.
    #[error(
        "{positions} positions cannot be copied from a cache of {from} to one of {to}: they may differ in nothing but \
             their positions, and both need as many"
    )]
    Caches {
        /// How many positions were to be copied.
        positions: u32,
        /// The cache that has them.
        from: KvShape,
        /// The cache that was to get them.
        to: KvShape,
    },
    /// There is nothing to go on from.
    #[error("there is no token to go on from: give the sequence at least one")]
    Empty,
    /// Device memory.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A launch.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The graph of a step.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl ModelError {
    /// Whether the context is lost, for whatever was asked: everything in it gives such an error from now on. A model and a
    /// session in a new context work, once all that is of the lost one is dropped.
    #[must_use]
    pub fn is_context_lost(&self) -> bool {
        matches!(
            self,
            Self::Buffer(BufferError::ContextLost(_))
                | Self::Launch(LaunchError::ContextLost { .. })
                | Self::Graph(GraphError::ContextLost(_))
        )
    }
}

/// What to do about too little memory.
fn remedy(context: usize, fits: Option<u32>) -> String {
    match fits {
        Some(fits) => format!("instead of a context of {context} tokens, one of {fits} would fit"),
        None => "the weights alone are too large".to_owned(),
    }
}

/// Checks that a tensor has dimensions.
pub(super) fn check_shape(tensor: &Tensor<'_>, dimensions: &[u64]) -> Result<(), ModelError> {
    if tensor.dimensions == dimensions {
        return Ok(());
    }
    let (found, expected) = (tensor.dimensions.to_vec(), dimensions.to_vec());
    Err(ModelError::Shape { tensor: tensor.name.to_owned(), found, expected })
}
