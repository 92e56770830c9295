//! What can be wrong with a model, or with what it is asked.

use crate::buffer::BufferError;
use crate::gguf::{GgufError, Tensor, TensorType};
use crate::launch::{GraphError, LaunchError};
use crate::model::KvShape;

/// Why a model was not loaded, or did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
        supported: TensorType,
    },
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

/// Checks that a tensor has a type and dimensions.
pub(super) fn check_tensor(tensor: &Tensor<'_>, ty: TensorType, dimensions: &[u64]) -> Result<(), ModelError> {
    if tensor.dimensions != dimensions {
        let (found, expected) = (tensor.dimensions.to_vec(), dimensions.to_vec());
        return Err(ModelError::Shape { tensor: tensor.name.to_owned(), found, expected });
    }
    if tensor.ty != ty {
        return Err(ModelError::Format { tensor: tensor.name.to_owned(), found: tensor.ty, supported: ty });
    }
    Ok(())
}
