//! Arrays of values: those of a file, and those that are made to be written.

use std::fmt;

use super::reader::Reader;
use super::value::{STRING, Value};
use super::writer::WriteError;

/// An array of values of one type, which is read as it is iterated.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    pub(super) ty: u32,
    pub(super) length: u64,
    pub(super) bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Its elements.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        let ty = self.ty;
        // They were checked when the file was opened, so none is missing.
        (0..self.length).map_while(move |_| Value::read(&mut reader, "", ty).ok())
    }
}

/// An array of values of one type that is made, to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArrayBuf {
    ty: u32,
    length: u64,
    bytes: Vec<u8>,
}

impl ArrayBuf {
    /// An array of values, which have to be of one type. Without any it is an empty array of u8.
    ///
    /// # Errors
    /// [`WriteError::MixedArray`]
    pub fn new<'v>(values: impl IntoIterator<Item = Value<'v>>) -> Result<Self, WriteError> {
        let mut array = Self::default();
        let mut first = None;
        for value in values {
            let (first, found) = (*first.get_or_insert(value.type_name()), value.type_name());
            if first != found {
                return Err(WriteError::MixedArray { first, found });
            }
            array.ty = value.type_id();
            array.length += 1;
            value.write(&mut array.bytes);
        }
        Ok(array)
    }

    /// An array of strings.
    #[must_use]
    pub fn strings<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Self {
        let mut array = Self { ty: STRING, ..Self::default() };
        for string in strings {
            array.length += 1;
            Value::String(string.as_ref()).write(&mut array.bytes);
        }
        array
    }

    /// It as a value.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        Value::Array(Array { ty: self.ty, length: self.length, bytes: &self.bytes })
    }
}

impl fmt::Display for Array<'_> {
    /// The first elements, and how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        f.write_str("[")?;
        for (n, value) in self.iter().take(SHOWN).enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{value}")?;
        }
        if self.length > SHOWN as u64 {
            write!(f, ", … {} in all", self.length)?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
