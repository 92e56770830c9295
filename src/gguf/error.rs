//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// Why a GGUF file cannot be read, or has not what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file cannot be opened.
    #[error("{}: {message}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// It does not start as a GGUF file does.
    #[error("this is not a GGUF file")]
    NotGguf,
    /// It is of a version that is not read. (Files of big-endian machines show as such.)
    #[error("GGUF version {version} is not supported, only 2 and 3")]
    Version {
        /// The version.
        version: u32,
    },
    /// The file ends too early.
    #[error("the file ends within {what}, at byte {at}: it is truncated")]
    Truncated {
        /// What should be there.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// There cannot be so many.
    #[error("the file claims {count} {what}, and has {bytes} bytes left for them")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The bytes that are left.
        bytes: u64,
    },
    /// A name is too long.
    #[error("{what} at byte {at} is {length} bytes long")]
    NameLength {
        /// What it names.
        what: &'static str,
        /// Where.
        at: u64,
        /// Its length.
        length: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8")]
    Utf8 {
        /// What it is.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// A name stands twice.
    #[error("the {what} `{name}` stands twice")]
    Duplicate {
        /// Key or tensor.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A value has a type that does not exist.
    #[error("the key `{key}` has the unknown type {ty}")]
    ValueType {
        /// The key.
        key: String,
        /// The number of the type.
        ty: u32,
    },
    /// Arrays in arrays in arrays.
    #[error("the key `{key}` has arrays nested too deep")]
    Nesting {
        /// The key.
        key: String,
    },
    /// A key that is needed is not there.
    #[error("the key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value is of another type than it should be.
    #[error("the key `{key}` is {found}, and should be {expected}")]
    KeyType {
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// `general.alignment` is no alignment.
    #[error("the key `general.alignment` is {alignment}, which is no power of two up to 2^20")]
    Alignment {
        /// What it says.
        alignment: u64,
    },
    /// A tensor that is needed is not there.
    #[error("the tensor `{name}` is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has a type that is not known.
    #[error("the tensor `{tensor}` has the type {id}, which is not known")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The number of the type.
        id: u32,
    },
    /// Something else is wrong with a tensor.
    #[error("the tensor `{tensor}`: {problem}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor reaches past the end of the file.
    #[error("the tensor `{tensor}` has {size} bytes at offset {offset}, and the data has {available} bytes")]
    PastEnd {
        /// The tensor.
        tensor: String,
        /// Where it starts.
        offset: u64,
        /// How long it is.
        size: u64,
        /// How much data there is.
        available: u64,
    },
    /// A tensor does not start where it may.
    #[error("the tensor `{tensor}` starts at offset {offset}, which is no multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Where it starts.
        offset: u64,
        /// What that should be a multiple of.
        alignment: u64,
    },
    /// Two tensors share bytes.
    #[error("the tensors `{other}` and `{tensor}` overlap")]
    Overlap {
        /// The tensor that starts later.
        tensor: String,
        /// The one before.
        other: String,
    },
}
