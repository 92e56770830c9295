//! Arithmetic on the four bytes or two halves of registers: `vadd4`, `vabsdiff2` and their like.

use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::program::Op;

/// What is computed of each pair of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Function {
    Add,
    Subtract,
    Average,
    Difference,
    Min,
    Max,
}

/// A video instruction, as [`Op::e`] holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Video {
    pub(crate) function: Function,
    /// Four bytes, or two halves.
    pub(crate) bytes: bool,
    pub(crate) signed: bool,
    pub(crate) signed_a: bool,
    pub(crate) signed_b: bool,
    pub(crate) saturate: bool,
    /// Whether the results are added to the third operand.
    pub(crate) accumulate: bool,
}

impl Video {
    pub(crate) fn to_bits(self) -> u32 {
        [self.bytes, self.signed, self.signed_a, self.signed_b, self.saturate, self.accumulate]
            .into_iter()
            .enumerate()
            .fold(self.function as u32, |bits, (n, flag)| bits | u32::from(flag) << (8 + n))
    }

    fn from_bits(bits: u32) -> Self {
        let flag = |n: u32| bits >> (8 + n) & 1 != 0;
        Self {
            function: match bits & 0xff {
                0 => Function::Add,
                1 => Function::Subtract,
                2 => Function::Average,
                3 => Function::Difference,
                4 => Function::Min,
                _ => Function::Max,
            },
            bytes: flag(0),
            signed: flag(1),
            signed_a: flag(2),
            signed_b: flag(3),
            saturate: flag(4),
            accumulate: flag(5),
        }
    }

    fn compute(self, a: u32, b: u32, c: u32) -> u32 {
        let (width, count) = if self.bytes { (8, 4) } else { (16, 2) };
        let mut result = if self.accumulate { c } else { 0 };
        for n in 0..count {
            let part = |value: u32, signed: bool| {
                let up = value << (32 - width * (n + 1));
                if signed { up as i32 >> (32 - width) } else { (up >> (32 - width)) as i32 }
            };
            let (a, b) = (part(a, self.signed_a), part(b, self.signed_b));
            let value = match self.function {
                Function::Add => a + b,
                Function::Subtract => a - b,
                // halves are rounded away from zero
                Function::Average => (a + b + i32::from(a + b >= 0)) >> 1,
                Function::Difference => (a - b).abs(),
                Function::Min => a.min(b),
                Function::Max => a.max(b),
            };
            let (least, most) =
                if self.signed { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) };
            let value = if self.saturate { value.clamp(least, most) } else { value };
            if self.accumulate {
                result = result.wrapping_add(value as u32);
            } else {
                result |= (value as u32 & (u32::MAX >> (32 - width))) << (width * n);
            }
        }
        result
    }
}

struct EachPart;

impl Operation for EachPart {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let video = Video::from_bits(op.e);
        let (a, b, c) = (warp.read::<u32>(op.a), warp.read::<u32>(op.b), warp.read::<u32>(op.c));
        let mut result = [0; 32];
        for lane in 0..32 {
            result[lane] = video.compute(a[lane], b[lane], c[lane]);
        }
        warp.write_raw::<u32>(op.d, &result, mask);
        Next::Step
    }
}

/// The operation of all video instructions.
pub(crate) const VIDEO: Variants = Variants::of::<EachPart>();
