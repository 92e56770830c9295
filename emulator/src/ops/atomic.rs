//! Atomic operations: `atom`, and `red`, which is `atom` without a result.
//!
//! Each is a compare-and-exchange of the whole value, in sequential order, which is at least what any scope and order of
//! the ISA asks for. The lanes of a warp go one after the other.

use std::marker::PhantomData;

use super::float::{canonical, flush};
use super::half::{add_bf16, add_f16, each_half};
use super::memory::{Generic, Global, Shared, SpaceAccess, Span};
use super::{Lane, Next, Operation, Variants};
use crate::exec::Warp;
use crate::memory::Cell;
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{RegisterKind, Space};

/// What an atomic operation makes of the value that it finds.
trait Update {
    type Cell: Cell;
    type Register: Lane<Raw: From<Self::Cell>>;
    fn cell(raw: <Self::Register as Lane>::Raw) -> Self::Cell;
    /// `global` says whether the value is in global memory.
    fn update(old: Self::Cell, b: Self::Cell, c: Self::Cell, global: bool) -> Self::Cell;
}

struct Atomic<S, U>(PhantomData<(S, U)>);

impl<S: SpaceAccess, U: Update> Operation for Atomic<S, U> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let addresses = warp.addresses(op);
        let span = Span { bytes: size_of::<U::Cell>() as u64, access: S::ATOMIC };
        let Some(hosts) = S::resolve(warp, op, &addresses, mask, span) else {
            return Next::Fault;
        };
        let b = warp.read_raw::<U::Register>(op.b);
        let c = if op.c == NO_SLOT { b } else { warp.read_raw::<U::Register>(op.c) };
        let mut results = [<U::Register as Lane>::Raw::default(); 32];
        for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
            let (b, c, global) = (U::cell(b[lane]), U::cell(c[lane]), S::is_global(addresses[lane]));
            // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
            results[lane] = unsafe { U::Cell::update(hosts[lane], |old| U::update(old, b, c, global)) }.into();
        }
        if op.d != NO_SLOT {
            warp.write_raw::<U::Register>(op.d, &results, mask);
        }
        Next::Step
    }
}

/// Defines operations and the table of them: opcode without space and order, cell, register, and the new value.
macro_rules! operations {
    ($($name:ident: $($opcode:literal)|+, $cell:ty, $register:ty, $kind:ident, $operands:literal,
        |$old:ident, $b:ident, $c:ident, $global:ident| $new:expr;)*) => {
        $(
            struct $name;
            impl Update for $name {
                type Cell = $cell;
                type Register = $register;
                #[inline(always)]
                fn cell(raw: <$register as Lane>::Raw) -> $cell {
                    raw as $cell
                }
                #[inline(always)]
                fn update($old: $cell, $b: $cell, $c: $cell, $global: bool) -> $cell {
                    $new
                }
            }
        )*

        /// The operation with an opcode (`add.u32`) in a state space, the registers it works on, and how many operands
        /// it has besides the address.
        pub(crate) fn atomic(opcode: &str, space: Space) -> Option<(Variants, RegisterKind, usize)> {
            match opcode {
                $($($opcode)|+ => Some((in_space::<$name>(space)?, RegisterKind::$kind, $operands)),)*
                _ => None,
            }
        }
    };
}

fn in_space<U: Update>(space: Space) -> Option<Variants> {
    match space {
        Space::Global => Some(Variants::of::<Atomic<Global, U>>()),
        Space::Shared => Some(Variants::of::<Atomic<Shared, U>>()),
        Space::Generic => Some(Variants::of::<Atomic<Generic, U>>()),
        Space::Constant | Space::Local | Space::Param => None,
    }
}

/// A sum in single precision; global memory flushes subnormal numbers, shared memory does not.
#[inline(always)]
fn add_f32(old: u32, b: u32, global: bool) -> u32 {
    let (old, b) = (f32::from_bits(old), f32::from_bits(b));
    let sum = if global { flush(canonical(flush(old) + flush(b))) } else { canonical(old + b) };
    sum.to_bits()
}

operations! {
    Add32: "add.u32" | "add.s32", u32, u32, Bits32, 1, |old, b, _c, _global| old.wrapping_add(b);
    Add64: "add.u64" | "add.s64", u64, u64, Bits64, 1, |old, b, _c, _global| old.wrapping_add(b);
    AddF32: "add.f32", u32, u32, Bits32, 1, |old, b, _c, global| add_f32(old, b, global);
    AddF64: "add.f64", u64, u64, Bits64, 1,
        |old, b, _c, _global| (f64::from_bits(old) + f64::from_bits(b)).to_bits();
    AddF16: "add.noftz.f16", u16, u32, Bits32, 1, |old, b, _c, _global| add_f16(old, b);
    AddBf16: "add.noftz.bf16", u16, u32, Bits32, 1, |old, b, _c, _global| add_bf16(old, b);
    AddF16x2: "add.noftz.f16x2", u32, u32, Bits32, 1, |old, b, _c, _global| each_half(old, b, add_f16);
    AddBf16x2: "add.noftz.bf16x2", u32, u32, Bits32, 1, |old, b, _c, _global| each_half(old, b, add_bf16);
    MinU32: "min.u32", u32, u32, Bits32, 1, |old, b, _c, _global| old.min(b);
    MaxU32: "max.u32", u32, u32, Bits32, 1, |old, b, _c, _global| old.max(b);
    MinS32: "min.s32", u32, u32, Bits32, 1, |old, b, _c, _global| (old as i32).min(b as i32) as u32;
    MaxS32: "max.s32", u32, u32, Bits32, 1, |old, b, _c, _global| (old as i32).max(b as i32) as u32;
    MinU64: "min.u64", u64, u64, Bits64, 1, |old, b, _c, _global| old.min(b);
    MaxU64: "max.u64", u64, u64, Bits64, 1, |old, b, _c, _global| old.max(b);
    MinS64: "min.s64", u64, u64, Bits64, 1, |old, b, _c, _global| (old as i64).min(b as i64) as u64;
    MaxS64: "max.s64", u64, u64, Bits64, 1, |old, b, _c, _global| (old as i64).max(b as i64) as u64;
    And32: "and.b32", u32, u32, Bits32, 1, |old, b, _c, _global| old & b;
    Or32: "or.b32", u32, u32, Bits32, 1, |old, b, _c, _global| old | b;
    Xor32: "xor.b32", u32, u32, Bits32, 1, |old, b, _c, _global| old ^ b;
    And64: "and.b64", u64, u64, Bits64, 1, |old, b, _c, _global| old & b;
    Or64: "or.b64", u64, u64, Bits64, 1, |old, b, _c, _global| old | b;
    Xor64: "xor.b64", u64, u64, Bits64, 1, |old, b, _c, _global| old ^ b;
    Increment: "inc.u32", u32, u32, Bits32, 1, |old, b, _c, _global| if old >= b { 0 } else { old + 1 };
    Decrement: "dec.u32", u32, u32, Bits32, 1, |old, b, _c, _global| if old == 0 || old > b { b } else { old - 1 };
    Exchange32: "exch.b32", u32, u32, Bits32, 1, |_old, b, _c, _global| b;
    Exchange64: "exch.b64", u64, u64, Bits64, 1, |_old, b, _c, _global| b;
    Compare16: "cas.b16", u16, u32, Bits32, 2, |old, b, c, _global| if old == b { c } else { old };
    Compare32: "cas.b32", u32, u32, Bits32, 2, |old, b, c, _global| if old == b { c } else { old };
    Compare64: "cas.b64", u64, u64, Bits64, 2, |old, b, c, _global| if old == b { c } else { old };
}
