//! Images of device code as `nvcc` writes them: PTX, fat binaries with PTX in them, and what cannot be run.
//!
//! A fat binary is a header of 16 bytes (magic number, version, size of the header, size of all entries), then entries.
//! Each has a header of its own, with the kind of its data, its architecture and flags that say how it is compressed.
//! Its data is padded to a multiple of 8 bytes.

use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::io::Read;

use super::code::Code;
use crate::profile::Profile;

/// The first bytes of a fat binary, and of the structure that points at one in compiled host code.
const FATBIN: [u8; 4] = 0xBA55_ED50u32.to_le_bytes();
const WRAPPER: [u8; 4] = 0x4662_43B1u32.to_le_bytes();
const ELF: [u8; 4] = *b"\x7fELF";

/// Bytes of the header of a fat binary.
const HEADER: usize = 16;
/// Bytes of the header of an entry up to the last field that is used here.
const ENTRY: usize = 64;
/// The kind of an entry that is PTX; another one is compiled code.
const PTX: u16 = 1;
/// Flags of an entry: compressed with LZ4 or with zstd.
const LZ4: u64 = 0x2000;
const ZSTD: u64 = 0x8000;
/// No PTX text is larger than this, so no size in an image makes the driver allocate more.
const MAX_TEXT: usize = 1 << 30;

/// An error code with what was wrong, for the log.
pub(crate) type Refusal = (Code, String);

fn refuse<T>(code: Code, why: impl Into<String>) -> Result<T, Refusal> {
    Err((code, why.into()))
}

/// The PTX text of an image that best fits a device.
///
/// # Safety
/// `image` is null, text that ends in NUL, or the start of a whole image of another kind.
pub(crate) unsafe fn ptx_at<'a>(image: *const c_void, profile: &Profile) -> Result<Cow<'a, str>, Refusal> {
    if image.is_null() {
        return refuse(Code::INVALID_VALUE, "there is no image");
    }
    // SAFETY: the caller's word; text of fewer bytes ends (with NUL) before the others are read.
    let starts_with = |signature: [u8; 4]| unsafe {
        signature.iter().enumerate().all(|(n, byte)| image.cast::<u8>().add(n).read() == *byte)
    };
    if starts_with(WRAPPER) {
        // SAFETY: the wrapper is two numbers of 32 bits and a pointer to the fat binary.
        let inner = unsafe { image.cast::<*const c_void>().add(1).read() };
        if inner.is_null() || inner == image {
            return refuse(Code::INVALID_IMAGE, "the wrapper of a fat binary points at none");
        }
        // SAFETY: the caller's word.
        return unsafe { ptx_at(inner, profile) };
    }
    if starts_with(FATBIN) {
        // SAFETY: the caller's word: the header is there, and as much after it as it says.
        let whole = unsafe {
            let header = std::slice::from_raw_parts(image.cast::<u8>(), HEADER);
            let size = fatbin_size(header).filter(|size| *size <= isize::MAX as usize);
            let size = size.ok_or((Code::INVALID_IMAGE, "the fat binary's header is damaged".to_owned()))?;
            std::slice::from_raw_parts(image.cast::<u8>(), size)
        };
        return best_ptx(whole, profile).map(Cow::Owned);
    }
    if starts_with(ELF) {
        return refuse_elf();
    }
    // SAFETY: the caller's word.
    let text = unsafe { CStr::from_ptr(image.cast()) };
    text.to_str().map(Cow::Borrowed).or_else(|_| refuse(Code::INVALID_IMAGE, "the image is not text"))
}

/// The PTX text of an image in memory of a known size.
pub(crate) fn ptx_in<'a>(image: &'a [u8], profile: &Profile) -> Result<Cow<'a, str>, Refusal> {
    if image.starts_with(&FATBIN) {
        return best_ptx(image, profile).map(Cow::Owned);
    }
    if image.starts_with(&ELF) {
        return refuse_elf();
    }
    let end = image.iter().position(|byte| *byte == 0).unwrap_or(image.len());
    let text = std::str::from_utf8(&image[..end]);
    text.map(Cow::Borrowed).or_else(|_| refuse(Code::INVALID_IMAGE, "the image is not text"))
}

fn refuse_elf<T>() -> Result<T, Refusal> {
    refuse(Code::NO_BINARY_FOR_GPU, "the image is compiled code (a cubin): the emulator runs PTX only")
}

/// A little-endian number at `at`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The size of a fat binary with all its entries.
fn fatbin_size(header: &[u8]) -> Option<usize> {
    let own = u16::from_le_bytes(number(header, 6)?) as usize;
    let entries = usize::try_from(u64::from_le_bytes(number(header, 8)?)).ok()?;
    own.checked_add(entries).filter(|_| own >= HEADER)
}

/// One entry of a fat binary.
struct Entry<'a> {
    kind: u16,
    capability: u32,
    flags: u64,
    data: &'a [u8],
    /// The size of the compressed data, without what pads it.
    compressed: usize,
    /// The size of the text that the data is the compressed form of.
    text: u64,
}

impl<'a> Entry<'a> {
    /// The first entry of `bytes`, and where the next one begins.
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let header = u32::from_le_bytes(number(bytes, 4)?) as usize;
        let size = usize::try_from(u64::from_le_bytes(number(bytes, 8)?)).ok()?;
        let end = header.checked_add(size).filter(|_| header >= ENTRY)?;
        let entry = Self {
            kind: u16::from_le_bytes(number(bytes, 0)?),
            compressed: u32::from_le_bytes(number(bytes, 16)?) as usize,
            capability: u32::from_le_bytes(number(bytes, 28)?),
            flags: u64::from_le_bytes(number(bytes, 40)?),
            text: u64::from_le_bytes(number(bytes, 56)?),
            data: bytes.get(header..end)?,
        };
        Some((entry, end))
    }

    /// The PTX text. The error says what is wrong with the data.
    fn text(&self) -> Result<String, String> {
        let packed = self.data.get(..self.compressed).ok_or("an entry of the fat binary is longer than its data")?;
        let size = usize::try_from(self.text).ok().filter(|size| *size <= MAX_TEXT).ok_or("an entry is too large")?;
        let bytes = if self.flags & LZ4 != 0 {
            lz4_flex::block::decompress(packed, size).map_err(|error| format!("LZ4: {error}"))?
        } else if self.flags & ZSTD != 0 {
            let mut text = Vec::new();
            let decoder = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|error| format!("zstd: {error}"))?;
            decoder.take(size as u64).read_to_end(&mut text).map_err(|error| format!("zstd: {error}"))?;
            text
        } else {
            self.data.to_vec()
        };
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).map(str::to_owned).map_err(|_| "its PTX is not text".to_owned())
    }
}

/// The PTX in a fat binary for the highest architecture that the device has.
fn best_ptx(image: &[u8], profile: &Profile) -> Result<String, Refusal> {
    let damaged = || (Code::INVALID_IMAGE, "the fat binary is damaged".to_owned());
    let size = fatbin_size(image).ok_or_else(damaged)?;
    let mut rest = image.get(HEADER..size).ok_or_else(damaged)?;
    let (mut best, mut others) = (None::<Entry<'_>>, Vec::new());
    while !rest.is_empty() {
        let (entry, end) = Entry::read(rest).ok_or_else(damaged)?;
        rest = &rest[end..];
        if entry.kind != PTX {
            others.push(format!("compiled code for sm_{}", entry.capability));
        } else if entry.capability > profile.target() {
            others.push(format!("PTX for sm_{}", entry.capability));
        } else if best.as_ref().is_none_or(|best| best.capability < entry.capability) {
            best = Some(entry);
        }
    }
    let Some(best) = best else {
        let held = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        let why = format!(
            "the fat binary has no PTX for sm_{} or less, which the emulator needs; it has {held}",
            profile.target()
        );
        return refuse(Code::NO_BINARY_FOR_GPU, why);
    };
    best.text().map_err(|why| (Code::INVALID_IMAGE, format!("the fat binary cannot be unpacked: {why}")))
}
