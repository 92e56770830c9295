//! GGUF files, versions 2 and 3.
//!
//! A file is input from a stranger. Everything is checked when it is opened (counts against the bytes that are there,
//! lengths, UTF-8, types, offsets, overlaps), before anything of that size is allocated; nothing is copied out of it but
//! a short record of each key and tensor. What is wrong comes as a [`GgufError`] that names it.

mod array;
mod error;
mod q2;
mod reader;
mod tensor_type;
mod value;
mod writer;

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

pub use array::{Array, ArrayBuf};
pub use error::GgufError;
pub use tensor_type::{Q2Layout, TensorType};
pub use value::Value;
pub use writer::{Header, WriteError, Writer};

use reader::Reader;

/// An open GGUF file.
pub struct Gguf {
    bytes: Bytes,
    version: u32,
    /// Where each key starts, sorted by key.
    keys: Vec<u64>,
    /// Sorted by name.
    tensors: Vec<Record>,
    /// Where tensor data starts.
    data: u64,
}

/// The bytes of a file.
enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// What the number 42 means, for files that do not tell it.
    pub q2_0: Option<Q2Layout>,
}

/// What is kept of a tensor.
#[derive(Debug, Clone, Copy)]
struct Record {
    name: (u64, u16),
    dimensions: [u64; 4],
    dimension_count: u8,
    ty: TensorType,
    /// From the start of the data.
    offset: u64,
    size: u64,
}

/// A tensor of a file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions, the one that is contiguous in memory first.
    pub dimensions: &'a [u64],
    /// How its elements are held.
    pub ty: TensorType,
    /// Its bytes.
    pub data: &'a [u8],
}

/// The longest key and the longest name of a tensor.
const MAX_NAME: u64 = 65535;
/// Fewer bytes than these no key and no tensor can have.
const MIN_KEY: u64 = 13;
const MIN_TENSOR: u64 = 32;
/// What data is aligned to if the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;

impl Gguf {
    /// Opens a file, which is mapped into memory.
    ///
    /// While it is open no other program may change it: its bytes are read where they are.
    ///
    /// # Errors
    /// See [`GgufError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// Opens a file as [`Gguf::open`] does, with options.
    ///
    /// # Errors
    /// See [`GgufError`].
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let failed = |error: std::io::Error| GgufError::File { path: path.to_owned(), message: error.to_string() };
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("not a file")));
        }
        // SAFETY: the file is only read. That nobody changes it meanwhile is the condition above, which every program
        // that maps a file has.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        Self::read(Bytes::Mapped(map), options)
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// See [`GgufError`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::from_bytes_with(bytes, &OpenOptions::default())
    }

    /// Reads a file that is in memory, with options.
    ///
    /// # Errors
    /// See [`GgufError`].
    pub fn from_bytes_with(bytes: Vec<u8>, options: &OpenOptions) -> Result<Self, GgufError> {
        Self::read(Bytes::Owned(bytes), options)
    }

    fn read(bytes: Bytes, options: &OpenOptions) -> Result<Self, GgufError> {
        let mut reader = Reader::new(&bytes);
        if reader.take(4, "the magic number").ok() != Some(&b"GGUF"[..]) {
            return Err(GgufError::NotGguf);
        }
        let version = reader.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { version });
        }
        let tensor_count = reader.u64("the number of tensors")?;
        let key_count = reader.u64("the number of keys")?;
        let counts = [("tensors", tensor_count, MIN_TENSOR), ("keys", key_count, MIN_KEY)];
        for (what, count, least) in counts {
            if count > reader.left() / least {
                return Err(GgufError::Count { what, count, bytes: reader.left() });
            }
        }

        let mut keys = Vec::with_capacity(key_count as usize);
        for _ in 0..key_count {
            keys.push(reader.position());
            let name = reader.name("a key", MAX_NAME)?;
            let skipped = reader.u32("the type of the value").and_then(|ty| Value::skip(&mut reader, name, ty, 0));
            skipped.map_err(|error| error.within("key", name))?;
        }
        let key_at = |at: u64| Reader::at(&bytes, at).name("a key", MAX_NAME);
        keys.sort_unstable_by(|a, b| key_at(*a).unwrap_or("").cmp(key_at(*b).unwrap_or("")));
        for pair in keys.windows(2) {
            let (first, second) = (key_at(pair[0])?, key_at(pair[1])?);
            if first == second {
                return Err(GgufError::Duplicate { what: "key", name: first.to_owned() });
            }
        }

        let mut tensors = Vec::with_capacity(tensor_count as usize);
        for _ in 0..tensor_count {
            tensors.push(tensor(&mut reader)?);
        }
        let end_of_head = reader.position();
        let mut gguf = Self { version, keys, tensors, data: 0, bytes };
        gguf.lay_out(end_of_head, options)?;
        Ok(gguf)
    }

    /// Finds the data, and checks that every tensor is in it and none overlaps another.
    fn lay_out(&mut self, end_of_head: u64, options: &OpenOptions) -> Result<(), GgufError> {
        let alignment = match self.value("general.alignment") {
            Ok(_) => self.integer("general.alignment")?,
            Err(_) => DEFAULT_ALIGNMENT,
        };
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(GgufError::Alignment { alignment });
        }
        let length = self.bytes.len() as u64;
        // A file without tensors may end with its head.
        self.data = end_of_head.checked_next_multiple_of(alignment).unwrap_or(length).min(length);
        let available = length - self.data;
        self.tensors.sort_unstable_by_key(|tensor| tensor.offset);
        self.tell_q2(alignment, available, options)?;
        let mut end = 0;
        for (n, record) in self.tensors.iter().enumerate() {
            let name = || self.name_of(record).to_owned();
            let after = record.offset.checked_add(record.size).filter(|after| *after <= available);
            let Some(after) = after else {
                let (offset, size) = (record.offset, record.size);
                return Err(GgufError::PastEnd { tensor: name(), offset, size, available });
            };
            if record.offset % alignment != 0 {
                return Err(GgufError::Misaligned { tensor: name(), offset: record.offset, alignment });
            }
            if record.offset < end {
                let other = self.name_of(&self.tensors[n - 1]).to_owned();
                return Err(GgufError::Overlap { tensor: name(), other });
            }
            end = after;
        }
        let bytes = &self.bytes;
        self.tensors.sort_unstable_by(|a, b| text(bytes, a.name).cmp(text(bytes, b.name)));
        for pair in self.tensors.windows(2) {
            if self.name_of(&pair[0]) == self.name_of(&pair[1]) {
                return Err(GgufError::Duplicate { what: "tensor", name: self.name_of(&pair[0]).to_owned() });
            }
        }
        Ok(())
    }

    /// Finds what the number 42 means, if there are tensors of it. Tensors are sorted by offset.
    fn tell_q2(&mut self, alignment: u64, available: u64, options: &OpenOptions) -> Result<(), GgufError> {
        let is_q2 = |record: &Record| record.ty == TensorType::Q2_0;
        if !self.tensors.iter().any(is_q2) {
            return Ok(());
        }
        let tensors = self.tensors.iter().enumerate().filter(|(_, record)| is_q2(record));
        let tensors = tensors.map(|(n, record)| {
            let next = self.tensors.get(n + 1);
            let end = next.map_or(available, |next| next.offset.min(available));
            q2::Q2Tensor {
                name: self.name_of(record),
                elements: record.dimensions.iter().product(),
                row: record.dimensions[0],
                available: end.saturating_sub(record.offset),
                last: next.is_none(),
                alignment,
            }
        });
        let ty = q2::layout(&tensors, self.value(q2::KEY).ok(), options.q2_0)?.tensor_type();
        for record in self.tensors.iter_mut().filter(|record| is_q2(record)) {
            record.ty = ty;
            let (block, block_bytes) = ty.block();
            // Blocks of 128 take fewer bytes than those of 64, so nothing overflows.
            record.size = record.dimensions.iter().product::<u64>() / block * block_bytes;
        }
        Ok(())
    }

    fn name_of(&self, record: &Record) -> &str {
        text(&self.bytes, record.name)
    }

    /// The version of the format.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// All keys with their values, sorted by key.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        // They were checked when the file was opened, so none is left out here.
        self.keys.iter().filter_map(|&at| self.entry(at).ok())
    }

    fn entry(&self, at: u64) -> Result<(&str, Value<'_>), GgufError> {
        let mut reader = Reader::at(&self.bytes, at);
        let key = reader.name("a key", MAX_NAME)?;
        let ty = reader.u32("the type of the value")?;
        Ok((key, Value::read(&mut reader, key, ty)?))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`]
    pub fn value(&self, key: &str) -> Result<Value<'_>, GgufError> {
        let key_at = |at: &u64| Reader::at(&self.bytes, *at).name("a key", MAX_NAME).unwrap_or("");
        match self.keys.binary_search_by(|at| key_at(at).cmp(key)) {
            Ok(index) => Ok(self.entry(self.keys[index])?.1),
            Err(_) => Err(GgufError::MissingKey { key: key.to_owned() }),
        }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        get: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Result<T, GgufError> {
        let value = self.value(key)?;
        get(&value).ok_or_else(|| GgufError::KeyType { key: key.to_owned(), expected, found: value.type_name() })
    }

    /// The value of a key, a whole number of any width that is not negative.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`] or [`GgufError::KeyType`]
    pub fn integer(&self, key: &str) -> Result<u64, GgufError> {
        self.typed(key, "a whole number", Value::as_integer)
    }

    /// The value of a key, a floating-point number.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`] or [`GgufError::KeyType`]
    pub fn float(&self, key: &str) -> Result<f64, GgufError> {
        self.typed(key, "a floating-point number", Value::as_float)
    }

    /// The value of a key, a string.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`] or [`GgufError::KeyType`]
    pub fn string(&self, key: &str) -> Result<&str, GgufError> {
        self.typed(key, "a string", Value::as_string)
    }

    /// The value of a key, a truth value.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`] or [`GgufError::KeyType`]
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        self.typed(key, "a truth value", Value::as_bool)
    }

    /// The value of a key, an array.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`] or [`GgufError::KeyType`]
    pub fn array(&self, key: &str) -> Result<Array<'_>, GgufError> {
        self.typed(key, "an array", Value::as_array)
    }

    fn tensor_of<'a>(&'a self, record: &'a Record) -> Tensor<'a> {
        let start = (self.data + record.offset) as usize;
        Tensor {
            name: self.name_of(record),
            dimensions: &record.dimensions[..usize::from(record.dimension_count)],
            ty: record.ty,
            data: &self.bytes[start..start + record.size as usize],
        }
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.tensors.iter().map(|record| self.tensor_of(record))
    }

    /// The tensor with a name.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`]
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, GgufError> {
        match self.tensors.binary_search_by(|record| self.name_of(record).cmp(name)) {
            Ok(index) => Ok(self.tensor_of(&self.tensors[index])),
            Err(_) => Err(GgufError::MissingTensor { name: name.to_owned() }),
        }
    }
}

/// A text of the file, which was checked when it was read.
fn text(bytes: &[u8], (start, length): (u64, u16)) -> &str {
    let range: Range<usize> = start as usize..start as usize + usize::from(length);
    std::str::from_utf8(bytes.get(range).unwrap_or_default()).unwrap_or_default()
}

/// Reads the record of one tensor. What has the number 42 is taken for ggml's layout until all is known.
fn tensor(reader: &mut Reader<'_>) -> Result<Record, GgufError> {
    let start = reader.position() + 8;
    let name = reader.name("the name of a tensor", MAX_NAME)?;
    let within = |error: GgufError| error.within("tensor", name);
    let dimension_count = reader.u32("the number of dimensions").map_err(within)?;
    let failed = |problem: String| GgufError::Tensor { tensor: name.to_owned(), problem };
    if !(1..=4).contains(&dimension_count) {
        return Err(failed(format!("it has {dimension_count} dimensions, and may have 1 to 4")));
    }
    let mut dimensions = [1; 4];
    let mut elements = Some(1u64);
    for dimension in &mut dimensions[..dimension_count as usize] {
        *dimension = reader.u64("a dimension").map_err(within)?;
        elements = elements.and_then(|elements| elements.checked_mul(*dimension));
    }
    let id = reader.u32("the type").map_err(within)?;
    let ty = match id {
        tensor_type::Q2 => TensorType::Q2_0,
        tensor_type::NVFP4 => return Err(GgufError::Type40 { tensor: name.to_owned() }),
        _ => TensorType::from_id(id).ok_or_else(|| GgufError::TensorType { tensor: name.to_owned(), id })?,
    };
    let (block, block_bytes) = ty.block();
    let elements = elements.filter(|elements| *elements > 0);
    let elements =
        elements.ok_or_else(|| failed(format!("its dimensions {dimensions:?} make no number of elements")))?;
    if dimensions[0] % block != 0 {
        return Err(failed(format!("its rows of {} elements are no whole blocks of {block} ({ty})", dimensions[0])));
    }
    let size = (elements / block).checked_mul(block_bytes).ok_or_else(|| failed("it is too large".to_owned()))?;
    let offset = reader.u64("the offset").map_err(within)?;
    let name = (start, name.len() as u16);
    Ok(Record { name, dimensions, dimension_count: dimension_count as u8, ty, offset, size })
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.version)
            .field("keys", &self.keys.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
