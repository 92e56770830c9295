//! Values of keys.

use std::fmt;

use super::array::Array;
use super::error::GgufError;
use super::reader::Reader;

/// The value of a key.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// Arrays may be nested this deep.
pub(super) const MAX_DEPTH: u32 = 8;

/// What values are called in errors about their bytes.
pub(super) const WHAT: &str = "the value";

/// The size of a value that has always the same.
fn fixed_size(ty: u32) -> Option<u64> {
    Some(match ty {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

impl<'a> Value<'a> {
    /// Checks a value, and moves past it.
    pub(super) fn skip(reader: &mut Reader<'a>, key: &str, ty: u32, depth: u32) -> Result<(), GgufError> {
        if let Some(size) = fixed_size(ty) {
            return reader.take(size, WHAT).map(|_| ());
        }
        match ty {
            STRING => reader.string(WHAT).map(|_| ()),
            ARRAY if depth == MAX_DEPTH => Err(GgufError::Nesting { key: key.to_owned() }),
            ARRAY => {
                let ty = reader.u32("the type of an array")?;
                let length = reader.u64("the length of an array")?;
                Self::skip_elements(reader, key, ty, length, depth)
            }
            _ => Err(GgufError::ValueType { key: key.to_owned(), ty }),
        }
    }

    /// Checks the elements of an array, and moves past them.
    fn skip_elements(reader: &mut Reader<'a>, key: &str, ty: u32, length: u64, depth: u32) -> Result<(), GgufError> {
        // The least that an element can take: a string has a length, an array a type and a length.
        let least = fixed_size(ty).unwrap_or(if ty == ARRAY { 12 } else { 8 });
        if length > reader.left() / least {
            return Err(GgufError::Count { what: "array elements", count: length, bytes: reader.left() });
        }
        match fixed_size(ty) {
            Some(size) => reader.take(size * length, WHAT).map(|_| ()),
            None if ty != STRING && ty != ARRAY => Err(GgufError::ValueType { key: key.to_owned(), ty }),
            None => (0..length).try_for_each(|_| Self::skip(reader, key, ty, depth + 1)),
        }
    }

    /// Reads a value that was checked.
    pub(super) fn read(reader: &mut Reader<'a>, key: &str, ty: u32) -> Result<Self, GgufError> {
        Ok(match ty {
            0 => Self::U8(u8::from_le_bytes(reader.array(WHAT)?)),
            1 => Self::I8(i8::from_le_bytes(reader.array(WHAT)?)),
            2 => Self::U16(u16::from_le_bytes(reader.array(WHAT)?)),
            3 => Self::I16(i16::from_le_bytes(reader.array(WHAT)?)),
            4 => Self::U32(u32::from_le_bytes(reader.array(WHAT)?)),
            5 => Self::I32(i32::from_le_bytes(reader.array(WHAT)?)),
            6 => Self::F32(f32::from_le_bytes(reader.array(WHAT)?)),
            7 => Self::Bool(reader.array::<1>(WHAT)? != [0]),
            STRING => Self::String(reader.string(WHAT)?),
            ARRAY => {
                let ty = reader.u32("the type of an array")?;
                let length = reader.u64("the length of an array")?;
                let (mut from, start) = (reader.clone(), reader.position());
                Self::skip_elements(reader, key, ty, length, 0)?;
                Self::Array(Array { ty, length, bytes: from.take(reader.position() - start, WHAT)? })
            }
            10 => Self::U64(u64::from_le_bytes(reader.array(WHAT)?)),
            11 => Self::I64(i64::from_le_bytes(reader.array(WHAT)?)),
            12 => Self::F64(f64::from_le_bytes(reader.array(WHAT)?)),
            _ => return Err(GgufError::ValueType { key: key.to_owned(), ty }),
        })
    }

    /// The number of its type.
    pub(super) fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => STRING,
            Self::Array(_) => ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// Appends its bytes, as they stand after the type.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::U8(value) => out.push(value),
            Self::I8(value) => out.extend(value.to_le_bytes()),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::I16(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Bool(value) => out.push(value.into()),
            Self::String(value) => {
                out.extend((value.len() as u64).to_le_bytes());
                out.extend(value.as_bytes());
            }
            Self::Array(Array { ty, length, bytes }) => {
                out.extend(ty.to_le_bytes());
                out.extend(length.to_le_bytes());
                out.extend(bytes);
            }
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "a u8",
            Self::I8(_) => "an i8",
            Self::U16(_) => "a u16",
            Self::I16(_) => "an i16",
            Self::U32(_) => "a u32",
            Self::I32(_) => "an i32",
            Self::F32(_) => "an f32",
            Self::Bool(_) => "a bool",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::U64(_) => "a u64",
            Self::I64(_) => "an i64",
            Self::F64(_) => "an f64",
        }
    }

    /// A whole number that is not negative.
    #[must_use]
    pub fn as_integer(&self) -> Option<u64> {
        match *self {
            Self::U8(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::U64(value) => Some(value),
            Self::I8(value) => u64::try_from(value).ok(),
            Self::I16(value) => u64::try_from(value).ok(),
            Self::I32(value) => u64::try_from(value).ok(),
            Self::I64(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// A floating-point number.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }

    /// A string.
    #[must_use]
    pub fn as_string(&self) -> Option<&'a str> {
        match *self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// A truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// An array.
    #[must_use]
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(value) => value.fmt(f),
            Self::I8(value) => value.fmt(f),
            Self::U16(value) => value.fmt(f),
            Self::I16(value) => value.fmt(f),
            Self::U32(value) => value.fmt(f),
            Self::I32(value) => value.fmt(f),
            Self::F32(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Array(value) => value.fmt(f),
            Self::U64(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::F64(value) => value.fmt(f),
        }
    }
}
