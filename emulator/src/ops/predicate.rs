//! Instructions whose predicate is made of a comparison and another predicate, and those that test an address.

use super::memory::{Generic, SpaceAccess, WINDOW_SIZE};
use super::{Next, Operation, Variants};
use crate::exec::{Warp, each_lane};
use crate::program::{NO_SLOT, Op};

/// How a comparison and the other predicate make one. It is in [`Op::b`], and [`NEGATED`] with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// Set in [`Op::b`] if the other predicate is negated.
pub(crate) const NEGATED: u32 = 4;

/// The comparison `held` with the predicate in [`Op::c`].
#[inline(always)]
fn combine(warp: &Warp<'_>, op: &Op, held: u32) -> u32 {
    let other = warp.predicate(op.c);
    let other = if op.b & NEGATED != 0 { !other } else { other };
    match op.b & 3 {
        0 => held & other,
        1 => held | other,
        _ => held ^ other,
    }
}

/// Runs the part whose number is in [`Op::a`].
#[inline(always)]
fn run_part<'a>(warp: &mut Warp<'a>, op: &Op, mask: u32) -> &'a Op {
    let part = warp.part(op.a);
    // SAFETY: the operation is of this warp's program; the decoder chose a variant for this processor.
    unsafe { (part.exec)(warp, part, mask) };
    part
}

/// `setp.cmp.bool p|q, a, b, c`: the comparison is the part. The second result, for its opposite, goes to [`Op::e`].
struct Compare;

impl Operation for Compare {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let held = warp_predicate(warp, op, mask);
        let (first, second) = (combine(warp, op, held), combine(warp, op, !held));
        if op.d != NO_SLOT {
            warp.write_predicate(op.d, first, mask);
        }
        if op.e != NO_SLOT {
            warp.write_predicate(op.e, second, mask);
        }
        Next::Step
    }
}

#[inline(always)]
fn warp_predicate(warp: &mut Warp<'_>, op: &Op, mask: u32) -> u32 {
    let part = run_part(warp, op, mask);
    warp.predicate(part.d)
}

/// `set.cmp.bool d, a, b, c`: the comparison is the part, and [`Op::immediate`] what the result is where it holds.
struct CompareToNumber;

impl Operation for CompareToNumber {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let held = warp_predicate(warp, op, mask);
        let held = combine(warp, op, held);
        let mut result = [0; 32];
        for (lane, result) in result.iter_mut().enumerate() {
            *result = if held >> lane & 1 != 0 { op.immediate as u32 } else { 0 };
        }
        warp.write_raw::<u32>(op.d, &result, mask);
        Next::Step
    }
}

/// `lop3.bool d|p, a, b, c, table, q`: the part makes `d`, and what is not zero is combined with `q`.
struct LogicWithPredicate;

impl Operation for LogicWithPredicate {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let part = run_part(warp, op, mask);
        let bits = each_lane(warp.read::<u32>(part.d), |value| u32::from(value != 0));
        let held = bits.iter().enumerate().fold(0, |all, (lane, bit)| all | bit << lane);
        let result = combine(warp, op, held);
        warp.write_predicate(op.d, result, mask);
        Next::Step
    }
}

/// `isspacep`: whether a generic address is in the range that starts at [`Op::immediate`]; 0 stands for global memory. Of
/// shared memory it is the block's own if [`Op::e`] says so.
struct IsSpace;

impl Operation for IsSpace {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let mut result = 0u32;
        for (lane, address) in warp.read::<u64>(op.a).into_iter().enumerate() {
            let inside = match op.immediate as u64 {
                0 => Generic::is_global(address),
                base => {
                    let offset = address.wrapping_sub(base);
                    let own =
                        op.e == NO_SLOT || warp.neighbours().place(offset).0 == u64::from(warp.neighbours().rank());
                    offset < WINDOW_SIZE && own
                }
            };
            result |= u32::from(inside) << lane;
        }
        warp.write_predicate(op.d, result, mask);
        Next::Step
    }
}

/// `setp` with a second predicate, or with two results.
pub(crate) const COMPARE: Variants = Variants::of::<Compare>();
/// `set`
pub(crate) const COMPARE_TO_NUMBER: Variants = Variants::of::<CompareToNumber>();
/// `lop3` with a predicate
pub(crate) const LOGIC_WITH_PREDICATE: Variants = Variants::of::<LogicWithPredicate>();
/// `isspacep`
pub(crate) const IS_SPACE: Variants = Variants::of::<IsSpace>();
