//! What can be wrong with weights, or with blocks of them.

use super::Format;

/// Why weights were not packed or unpacked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The weights do not fill their last block.
    #[error("{weights} weights are no whole blocks of {format}: give it a multiple of {block}")]
    Weights {
        /// The format.
        format: Format,
        /// How many weights there are.
        weights: usize,
        /// How many a block has.
        block: usize,
    },
    /// The bytes do not fill their last block, or the last of the chunks that kernels read.
    #[error(
        "{bytes} bytes of {format} are no multiple of {unit}: part of them is missing, or they are of another format"
    )]
    Bytes {
        /// The format.
        format: Format,
        /// How many bytes there are.
        bytes: usize,
        /// What they should be a multiple of.
        unit: usize,
    },
    /// The bytes are those of another matrix.
    #[error("{bytes} bytes of {format} are no matrix of {rows} rows and {columns} columns")]
    Matrix {
        /// The format.
        format: Format,
        /// How many bytes there are.
        bytes: usize,
        /// Rows of the matrix.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// A weight is not finite, or so large that its scale would not be.
    #[error("weight {at} is {value}, which {format} cannot hold")]
    OutOfRange {
        /// The format.
        format: Format,
        /// Which weight.
        at: usize,
        /// The weight.
        value: f32,
    },
    /// There is no format of this name.
    #[error("there is no weight format `{name}`: there are {}", names())]
    Name {
        /// The name.
        name: String,
    },
}

fn names() -> String {
    Format::ALL.map(Format::name).join(", ")
}
