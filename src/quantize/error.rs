//! Why the weights of a model cannot be put into another format.

use crate::gguf::{TensorType, WriteError};
use crate::quant::QuantError;

/// Why the weights of a model cannot be put into another format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// A tensor has a type whose weights cannot be read.
    #[error("the tensor `{tensor}` is {ty}, whose weights cannot be read: start from a file in F16, BF16 or F32")]
    Type {
        /// The tensor.
        tensor: String,
        /// Its type.
        ty: TensorType,
    },
    /// A tensor with more or less data than its dimensions say.
    #[error("the tensor `{tensor}` has {found} bytes, and its dimensions make {expected}")]
    Size {
        /// The tensor.
        tensor: String,
        /// What its dimensions make.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// Weights that a format cannot hold.
    #[error("the tensor `{tensor}`, from its element {from} on: {error}")]
    Weights {
        /// The tensor.
        tensor: String,
        /// The element from which `error` counts.
        from: u64,
        /// What is wrong.
        error: QuantError,
    },
    /// The new file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
