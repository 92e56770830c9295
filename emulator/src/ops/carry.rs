//! Integer arithmetic over several registers: `add.cc`, `addc` and their like hand a carry on.
//!
//! The carry flag is a predicate of its own, in [`Op::e`]. After a subtraction it says that nothing was
//! borrowed: the ISA leaves open how a borrow is kept, and what nvcc makes of 128-bit division reads it so.

use super::{Lane, Next, Operation, Variants};
use crate::exec::Warp;
use crate::program::Op;
use crate::ptx::ast::RegisterKind;

/// An instruction that reads or writes the carry flag.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) opcode: &'static str,
    pub(crate) kind: RegisterKind,
    pub(crate) sources: usize,
    pub(crate) exec: Variants,
}

/// One operation with and without a carry in, and with and without a carry out.
macro_rules! carry {
    ($type:ty, $wide:ty, $opcode:expr, $reads:literal, $writes:literal, $sources:literal,
        |$a:ident, $b:ident, $c:ident, $in:ident| $result:expr) => {{
        struct Carry;
        impl Operation for Carry {
            #[inline(always)]
            fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
                let (a, b) = (warp.read::<$type>(op.a), warp.read::<$type>(op.b));
                let c = if $sources == 3 { warp.read::<$type>(op.c) } else { a };
                let flag = if $reads { warp.predicate(op.e) } else { 0 };
                let (mut values, mut carries) = ([0; 32], 0u32);
                for lane in 0..32 {
                    let ($a, $b, $c) = (<$wide>::from(a[lane]), <$wide>::from(b[lane]), <$wide>::from(c[lane]));
                    let $in = <$wide>::from(flag >> lane & 1);
                    let result: $wide = $result;
                    values[lane] = result as $type;
                    // What a sum has above its width is the carry.
                    carries |= ((result >> <$type>::BITS & 1) as u32) << lane;
                }
                warp.write_raw::<$type>(op.d, &values, mask);
                if $writes {
                    warp.write_predicate(op.e, carries, mask);
                }
                Next::Step
            }
        }
        Form { opcode: $opcode, kind: <$type as Lane>::KIND, sources: $sources, exec: Variants::of::<Carry>() }
    }};
}

/// A difference as the sum that it is made by, so that the carry says that nothing was borrowed. Compilers rely on it where
/// they read the flag of a subtraction with an addition.
macro_rules! less {
    ($type:ty, $wide:ty, $a:ident, $b:ident, $carry:expr) => {
        $a + <$wide>::from(!($b as $type)) + $carry
    };
}

/// The lower half of a product.
macro_rules! low {
    ($type:ty, $wide:ty, $a:ident, $b:ident) => {
        <$wide>::from(($a as $type).wrapping_mul($b as $type))
    };
}

/// The upper half of a product; `$product` is the type, wide and signed as it is, in which it is computed.
macro_rules! high {
    ($type:ty, $wide:ty, ($factor:ty, $product:ty), $a:ident, $b:ident) => {
        <$wide>::from(((<$product>::from($a as $factor) * <$product>::from($b as $factor)) >> <$type>::BITS) as $type)
    };
}

/// All operations of one type.
macro_rules! of_type {
    ($type:ty, $wide:ty, $product:tt, $name:literal) => {
        [
            carry!($type, $wide, concat!("add.cc.", $name), false, true, 2, |a, b, _c, _in| a + b),
            carry!($type, $wide, concat!("addc.", $name), true, false, 2, |a, b, _c, carry| a + b + carry),
            carry!($type, $wide, concat!("addc.cc.", $name), true, true, 2, |a, b, _c, carry| a + b + carry),
            carry!($type, $wide, concat!("sub.cc.", $name), false, true, 2, |a, b, _c, _in| {
                less!($type, $wide, a, b, 1)
            }),
            carry!($type, $wide, concat!("subc.", $name), true, false, 2, |a, b, _c, carry| {
                less!($type, $wide, a, b, carry)
            }),
            carry!($type, $wide, concat!("subc.cc.", $name), true, true, 2, |a, b, _c, carry| {
                less!($type, $wide, a, b, carry)
            }),
            carry!($type, $wide, concat!("mad.lo.cc.", $name), false, true, 3, |a, b, c, _in| low!($type, $wide, a, b)
                + c),
            carry!($type, $wide, concat!("madc.lo.", $name), true, false, 3, |a, b, c, carry| {
                low!($type, $wide, a, b) + c + carry
            }),
            carry!($type, $wide, concat!("madc.lo.cc.", $name), true, true, 3, |a, b, c, carry| {
                low!($type, $wide, a, b) + c + carry
            }),
            carry!($type, $wide, concat!("mad.hi.cc.", $name), false, true, 3, |a, b, c, _in| {
                high!($type, $wide, $product, a, b) + c
            }),
            carry!($type, $wide, concat!("madc.hi.", $name), true, false, 3, |a, b, c, carry| {
                high!($type, $wide, $product, a, b) + c + carry
            }),
            carry!($type, $wide, concat!("madc.hi.cc.", $name), true, true, 3, |a, b, c, carry| {
                high!($type, $wide, $product, a, b) + c + carry
            }),
        ]
    };
}

const FORMS: [&[Form]; 4] = [
    &of_type!(u32, u64, (u32, u64), "u32"),
    &of_type!(u32, u64, (i32, i64), "s32"),
    &of_type!(u64, u128, (u64, u128), "u64"),
    &of_type!(u64, u128, (i64, i128), "s64"),
];

/// The instruction with an opcode.
pub(crate) fn carry(opcode: &str) -> Option<Form> {
    FORMS.iter().copied().flatten().find(|form| form.opcode == opcode).copied()
}
