//! Reads little-endian values from bytes, never past their end.

use super::error::GgufError;

type Result<T> = std::result::Result<T, GgufError>;

#[derive(Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A reader that starts at a position, or at the end if that is before.
    pub(super) fn at(bytes: &'a [u8], at: u64) -> Self {
        Self { bytes, at: usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len())) }
    }

    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    pub(super) fn take(&mut self, length: u64, what: &'static str) -> Result<&'a [u8]> {
        if length > self.left() {
            return Err(GgufError::Truncated { what, at: self.position() });
        }
        let taken = &self.bytes[self.at..self.at + length as usize];
        self.at += length as usize;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string: its length, and as many bytes of UTF-8.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a str> {
        let length = self.u64(what)?;
        let at = self.position();
        std::str::from_utf8(self.take(length, what)?).map_err(|_| GgufError::Utf8 { what, at })
    }

    /// A string that may not be longer than `longest`.
    pub(super) fn name(&mut self, what: &'static str, longest: u64) -> Result<&'a str> {
        let at = self.position();
        let length = self.clone().u64(what)?;
        if length > longest {
            return Err(GgufError::NameLength { what, at, length });
        }
        self.string(what)
    }
}
