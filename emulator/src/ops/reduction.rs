//! What asynchronous reductions make of a value in memory and one that comes there: `cp.reduce.async.bulk`, `red.async`.

use super::wide::Update;
use crate::memory::Cell;

/// A reduction of elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reduction {
    /// The bytes of an element.
    pub(crate) bytes: usize,
    combine: fn(u64, u64) -> u64,
}

/// Operation and type, the bytes of an element, and the function.
type Named = (&'static str, usize, fn(u64, u64) -> u64);

/// Reductions by their number, which is their place here.
const ALL: &[Named] = &[
    ("add.u32", 4, |a, b| u64::from((a as u32).wrapping_add(b as u32))),
    ("add.s32", 4, |a, b| u64::from((a as u32).wrapping_add(b as u32))),
    ("add.u64", 8, u64::wrapping_add),
    ("min.u32", 4, u64::min),
    ("max.u32", 4, u64::max),
    ("min.s32", 4, |a, b| u64::from((a as i32).min(b as i32) as u32)),
    ("max.s32", 4, |a, b| u64::from((a as i32).max(b as i32) as u32)),
    ("min.u64", 8, u64::min),
    ("max.u64", 8, u64::max),
    ("min.s64", 8, |a, b| (a as i64).min(b as i64) as u64),
    ("max.s64", 8, |a, b| (a as i64).max(b as i64) as u64),
    ("inc.u32", 4, |a, b| if a >= b { 0 } else { a + 1 }),
    ("dec.u32", 4, |a, b| if a == 0 || a > b { b } else { a - 1 }),
    ("and.b32", 4, |a, b| a & b),
    ("or.b32", 4, |a, b| a | b),
    ("xor.b32", 4, |a, b| a ^ b),
    ("and.b64", 8, |a, b| a & b),
    ("or.b64", 8, |a, b| a | b),
    ("xor.b64", 8, |a, b| a ^ b),
    ("add.f32", 4, |a, b| of(Update::AddF32, a, b)),
    ("add.f64", 8, |a, b| (f64::from_bits(a) + f64::from_bits(b)).to_bits()),
    ("add.noftz.f16", 2, |a, b| of(Update::AddF16, a, b)),
    ("min.f16", 2, |a, b| of(Update::MinF16, a, b)),
    ("max.f16", 2, |a, b| of(Update::MaxF16, a, b)),
    ("add.noftz.bf16", 2, |a, b| of(Update::AddBf16, a, b)),
    ("min.bf16", 2, |a, b| of(Update::MinBf16, a, b)),
    ("max.bf16", 2, |a, b| of(Update::MaxBf16, a, b)),
];

fn of(update: Update, old: u64, by: u64) -> u64 {
    u64::from(update.update(old as u32, by as u32))
}

impl Reduction {
    /// The number of the one with a name such as `add.u32`.
    pub(crate) fn number(name: &str) -> Option<u32> {
        ALL.iter().position(|(known, ..)| *known == name).map(|place| place as u32)
    }

    /// The one with a number; none has [`NO_SLOT`](crate::program::NO_SLOT).
    pub(crate) fn numbered(number: u32) -> Option<Self> {
        ALL.get(number as usize).map(|&(_, bytes, combine)| Self { bytes, combine })
    }

    /// Replaces what is in memory by what it and `values`, element by element, make.
    ///
    /// # Safety
    /// `memory` is valid for as many bytes as `values` has, and aligned to an element.
    pub(crate) unsafe fn apply(self, memory: *mut u8, values: &[u8]) {
        for (n, by) in values.chunks_exact(self.bytes).enumerate() {
            let by = by.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            // SAFETY: the caller's word.
            unsafe {
                let at = memory.add(n * self.bytes);
                match self.bytes {
                    2 => drop(u16::update(at, |old| (self.combine)(u64::from(old), by) as u16)),
                    4 => drop(u32::update(at, |old| (self.combine)(u64::from(old), by) as u32)),
                    _ => drop(u64::update(at, |old| (self.combine)(old, by))),
                }
            }
        }
    }
}
