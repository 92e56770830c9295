//! What can be wrong with a GGUF file.

use std::path::PathBuf;

use super::tensor_type::Q2Layout;

fn join(layouts: &[Q2Layout]) -> String {
    layouts.iter().map(Q2Layout::to_string).collect::<Vec<_>>().join(", ")
}

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
    #[error("this is not a GGUF file: it does not begin with the magic number `GGUF`")]
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
    /// Something is wrong within a key or the description of a tensor.
    #[error("the {what} `{name}`: {error}")]
    Within {
        /// Key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        error: Box<GgufError>,
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
    /// A tensor has a type whose number has meant two things, and neither is supported.
    #[error(
        "the tensor `{tensor}` has the type 40: that is NVFP4 today, and was a Q1_0 of blocks of 32 in early Prism files; \
         neither is supported: convert the model to Q1_0 (41) or another format"
    )]
    Type40 {
        /// The tensor.
        tensor: String,
    },
    /// Nothing tells which of the layouts of number 42 the file has.
    #[error(
        "the tensor `{tensor}` has the type 42, under which different layouts have been shipped, and neither sizes nor \
         `general.quantization_version` tell which it is: {} are possible; say which (`OpenOptions::q2_0`, `--q2-layout`)",
        join(choices)
    )]
    Q2Ambiguous {
        /// The first tensor with the number 42.
        tensor: String,
        /// What the file can have.
        choices: Vec<Q2Layout>,
    },
    /// A tensor's bytes are not those of the layout that other tensors, a key or the caller say.
    #[error("the tensor `{tensor}` of type 42 has {available} bytes, which is not {layout}, and {says}")]
    Q2Contradicted {
        /// The tensor.
        tensor: String,
        /// The bytes up to the next tensor or to the end.
        available: u64,
        /// The layout.
        layout: Q2Layout,
        /// Who says that it is this layout.
        says: String,
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

impl GgufError {
    /// Says in which key or tensor something is wrong, unless the error does.
    pub(super) fn within(self, what: &'static str, name: &str) -> Self {
        match self {
            Self::Truncated { .. } | Self::Count { .. } | Self::Utf8 { .. } => {
                Self::Within { what, name: name.to_owned(), error: Box::new(self) }
            }
            named => named,
        }
    }
}
