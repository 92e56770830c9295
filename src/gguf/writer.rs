//! Writes GGUF files: first all keys and what the tensors are, then their data, in order and in pieces of any size.

use std::io::{self, Write};

use super::q2;
use super::tensor_type::TensorType;
use super::value::{ARRAY, MAX_DEPTH, Value};
use super::{Array, DEFAULT_ALIGNMENT};

/// The longest name of a tensor that ggml takes, with the zero after it.
const MAX_TENSOR_NAME: usize = 64;
/// The longest key that ggml takes.
const MAX_KEY: usize = 65535;
/// What ggml writes for `general.quantization_version`.
const QUANTIZATION_VERSION: u32 = 2;

/// Why a GGUF file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// What it is written to fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A name is empty or too long for ggml.
    #[error("the {what} `{name}` has {} bytes, and may have 1 to {longest}", name.len())]
    Name {
        /// Key or tensor.
        what: &'static str,
        /// The name.
        name: String,
        /// The most bytes that it may have.
        longest: usize,
    },
    /// There are two tensors of a name.
    #[error("there are two tensors `{tensor}`")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// The elements of an array are of different types.
    #[error("an array that begins with {first} has also {found}")]
    MixedArray {
        /// The type of its first element.
        first: &'static str,
        /// Another type.
        found: &'static str,
    },
    /// Arrays in arrays in arrays, which would not be read.
    #[error("the key `{key}` has arrays nested deeper than {MAX_DEPTH}")]
    Nesting {
        /// The key.
        key: String,
    },
    /// `general.alignment` is no alignment.
    #[error("the alignment {alignment} is no power of two from 1 to 2^20")]
    Alignment {
        /// What it was to be.
        alignment: u32,
    },
    /// A tensor cannot have these dimensions.
    #[error("the tensor `{tensor}` cannot be {dimensions:?} of {ty}: {problem}")]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        dimensions: Vec<u64>,
        /// Its type.
        ty: TensorType,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two layouts of number 42, of which a file has one.
    #[error("the tensor `{tensor}` is {found}, and another is {first}: both have the number 42 in files")]
    MixedQ2 {
        /// The later tensor.
        tensor: String,
        /// The type of the first.
        first: TensorType,
        /// The type of the later.
        found: TensorType,
    },
    /// There is more data than the tensors take.
    #[error("{left} bytes are left over after the last tensor")]
    TooMuch {
        /// How many bytes.
        left: usize,
    },
    /// There is less data than the tensors take.
    #[error("the data ends {missing} bytes before the end of the tensor `{tensor}`")]
    TooLittle {
        /// The tensor that is not whole.
        tensor: String,
        /// What is missing of it.
        missing: u64,
    },
}

/// A tensor that is to be written.
#[derive(Debug, Clone)]
struct Info {
    name: String,
    dimensions: Vec<u64>,
    ty: TensorType,
    size: u64,
}

/// What stands before the data of a file: keys, and what the tensors are.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// Key, and its value with the type before it.
    keys: Vec<(String, Vec<u8>)>,
    tensors: Vec<Info>,
    alignment: Option<u32>,
}

impl Header {
    /// Without keys and tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key, in the place of what it was.
    ///
    /// `general.alignment` aligns the data of this file too, so it has to be a u32 that is a power of two.
    ///
    /// # Errors
    /// [`WriteError::Name`], [`WriteError::Nesting`], [`WriteError::Alignment`]
    pub fn set(&mut self, key: &str, value: Value<'_>) -> Result<(), WriteError> {
        check_name("key", key, MAX_KEY)?;
        if depth(&value) > MAX_DEPTH {
            return Err(WriteError::Nesting { key: key.to_owned() });
        }
        if key == "general.alignment" {
            let found = value.as_integer().and_then(|value| u32::try_from(value).ok());
            let alignment = found.filter(|_| matches!(value, Value::U32(_))).unwrap_or(0);
            if !alignment.is_power_of_two() || alignment > 1 << 20 {
                return Err(WriteError::Alignment { alignment });
            }
            self.alignment = Some(alignment);
        }
        let mut bytes = value.type_id().to_le_bytes().to_vec();
        value.write(&mut bytes);
        match self.keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = bytes,
            None => self.keys.push((key.to_owned(), bytes)),
        }
        Ok(())
    }

    /// Whether a key is set.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(known, _)| known == key)
    }

    /// Adds a tensor; `dimensions` begin with the one that is contiguous in memory. Returns its size in bytes.
    ///
    /// # Errors
    /// [`WriteError::Name`], [`WriteError::Duplicate`], [`WriteError::Dimensions`], [`WriteError::MixedQ2`]
    pub fn tensor(&mut self, name: &str, dimensions: &[u64], ty: TensorType) -> Result<u64, WriteError> {
        check_name("tensor", name, MAX_TENSOR_NAME - 1)?;
        if self.tensors.iter().any(|known| known.name == name) {
            return Err(WriteError::Duplicate { tensor: name.to_owned() });
        }
        let failed = |problem| {
            let (tensor, dimensions) = (name.to_owned(), dimensions.to_vec());
            WriteError::Dimensions { tensor, dimensions, ty, problem }
        };
        if !(1..=4).contains(&dimensions.len()) {
            return Err(failed("a tensor has 1 to 4 dimensions"));
        }
        let (block, bytes) = ty.block();
        let elements = dimensions.iter().try_fold(1u64, |product, dimension| product.checked_mul(*dimension));
        let elements = elements.filter(|elements| *elements > 0);
        let elements = elements.ok_or_else(|| failed("that is no number of elements"))?;
        if !dimensions[0].is_multiple_of(block) {
            return Err(failed("its rows are no whole blocks"));
        }
        let size = (elements / block).checked_mul(bytes).ok_or_else(|| failed("it is too large"))?;
        let q2 = |ty: TensorType| ty.id() == TensorType::Q2_0.id();
        match self.tensors.iter().find(|known| q2(known.ty)) {
            Some(known) if q2(ty) && known.ty != ty => {
                return Err(WriteError::MixedQ2 { tensor: name.to_owned(), first: known.ty, found: ty });
            }
            _ => {}
        }
        self.tensors.push(Info { name: name.to_owned(), dimensions: dimensions.to_vec(), ty, size });
        Ok(size)
    }

    /// The bytes of all tensors, without what is between them.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.size).sum()
    }

    fn alignment(&self) -> u64 {
        self.alignment.map_or(DEFAULT_ALIGNMENT, u64::from)
    }

    /// Writes this, after which data can follow.
    ///
    /// If there are tensors of number 42, `general.quantization_version` is set so that their layout can be told.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Dimensions`] if all tensors together are too large.
    pub fn start<W: Write>(mut self, mut out: W) -> Result<Writer<W>, WriteError> {
        match self.tensors.iter().map(|tensor| tensor.ty).find(|ty| ty.id() == TensorType::Q2_0.id()) {
            Some(TensorType::TQ2_0_G128) => self.set(q2::KEY, Value::String(q2::OXIBONSAI))?,
            Some(_) => self.set(q2::KEY, Value::U32(QUANTIZATION_VERSION))?,
            None => {}
        }
        let alignment = self.alignment();
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            Value::String(key).write(&mut head);
            head.extend(value);
        }
        let mut offset = 0u64;
        for Info { name, dimensions, ty, size } in &self.tensors {
            Value::String(name).write(&mut head);
            head.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|dimension| head.extend(dimension.to_le_bytes()));
            head.extend(ty.id().to_le_bytes());
            head.extend(offset.to_le_bytes());
            let end = offset.checked_add(*size).and_then(|end| end.checked_next_multiple_of(alignment));
            offset = end.ok_or_else(|| WriteError::Dimensions {
                tensor: name.clone(),
                dimensions: dimensions.clone(),
                ty: *ty,
                problem: "it and those before it are too large",
            })?;
        }
        head.resize(head.len().next_multiple_of(alignment as usize), 0);
        out.write_all(&head)?;
        let left = self.tensors.first().map_or(0, |tensor| tensor.size);
        Ok(Writer { out, alignment, tensors: self.tensors, current: 0, left })
    }
}

fn check_name(what: &'static str, name: &str, longest: usize) -> Result<(), WriteError> {
    if name.is_empty() || name.len() > longest {
        return Err(WriteError::Name { what, name: name.to_owned(), longest });
    }
    Ok(())
}

/// How deep arrays are nested in a value.
fn depth(value: &Value<'_>) -> u32 {
    match value {
        Value::Array(array @ Array { ty: ARRAY, .. }) => {
            1 + array.iter().map(|element| depth(&element)).max().unwrap_or(1)
        }
        Value::Array(_) => 1,
        _ => 0,
    }
}

/// A file whose header is written, and whose data is to follow.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    alignment: u64,
    tensors: Vec<Info>,
    /// The tensor that is being written, and what is left of it.
    current: usize,
    left: u64,
}

impl<W: Write> Writer<W> {
    /// Writes data: of the first tensor, then of the next. It may come in pieces that end anywhere.
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::TooMuch`]
    pub fn data(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            if self.current == self.tensors.len() {
                return Err(WriteError::TooMuch { left: bytes.len() });
            }
            let piece = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (now, rest) = bytes.split_at(piece);
            self.out.write_all(now)?;
            self.left -= piece as u64;
            bytes = rest;
            if self.left == 0 {
                let size = self.tensors[self.current].size;
                let padding = size.next_multiple_of(self.alignment) - size;
                self.out.write_all(&vec![0; padding as usize])?;
                self.current += 1;
                self.left = self.tensors.get(self.current).map_or(0, |tensor| tensor.size);
            }
        }
        Ok(())
    }

    /// The tensor whose data comes next, and what is left of it.
    #[must_use]
    pub fn next_tensor(&self) -> Option<(&str, u64)> {
        self.tensors.get(self.current).map(|tensor| (tensor.name.as_str(), self.left))
    }

    /// Ends the file, and gives back what it was written to.
    ///
    /// # Errors
    /// [`WriteError::TooLittle`], [`WriteError::Io`]
    pub fn finish(mut self) -> Result<W, WriteError> {
        if let Some((tensor, missing)) = self.next_tensor() {
            return Err(WriteError::TooLittle { tensor: tensor.to_owned(), missing });
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
