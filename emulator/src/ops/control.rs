//! Branches, ends, barriers of a block, and moves that need more than one row.

use super::{Next, Operation, Variants};
use crate::exec::{Warp, each_lane};
use crate::fault::FaultKind;
use crate::program::{NO_SLOT, Op};

macro_rules! control {
    ($($name:ident: $next:expr;)*) => {$(
        struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn run(_: &mut Warp<'_>, _: &Op, _: u32) -> Next {
                $next
            }
        }
    )*};
}
control! {
    BranchTo: Next::Branch;
    End: Next::Exit;
    Wait: Next::Barrier;
    Pass: Next::Step;
}

/// `bra`, to the operation in `immediate`.
pub(crate) const BRANCH: Variants = Variants::of::<BranchTo>();
/// `ret` of a kernel, and `exit`.
pub(crate) const EXIT: Variants = Variants::of::<End>();
/// What changes no result.
pub(crate) const NOTHING: Variants = Variants::of::<Pass>();
/// `bar.sync a {, b}`: barrier number and, if not all threads of the block, the number of threads.
pub(crate) const BARRIER: Variants = Variants::of::<Wait>();

/// In [`Op::immediate`] of a barrier where threads arrive without waiting: `bar.arrive`.
pub(crate) const ARRIVE: i64 = -1;

/// What a barrier computes of the predicates of its threads. Its number is in [`Op::immediate`], the predicate in
/// [`Op::c`], and bit 0 of [`Op::e`] says that it is negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum BarrierReduction {
    Count = 1,
    All,
    Any,
}

impl BarrierReduction {
    pub(crate) fn of(op: &Op) -> Option<Self> {
        match op.immediate {
            1 => Some(Self::Count),
            2 => Some(Self::All),
            3 => Some(Self::Any),
            _ => None,
        }
    }
}

struct StopHere;

impl Operation for StopHere {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, mask: u32) -> Next {
        warp.fault(FaultKind::Trap, mask.trailing_zeros());
        Next::Fault
    }
}

/// `trap`
pub(crate) const TRAP: Variants = Variants::of::<StopHere>();

struct OrderMemory;

impl Operation for OrderMemory {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        if let Some(observer) = warp.observer() {
            observer.fence(mask, op.immediate != 0);
        }
        Next::Step
    }
}

struct WaitForDependencies;
struct LaunchDependents;

impl Operation for WaitForDependencies {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, _: u32) -> Next {
        if let Some(observer) = warp.observer() {
            observer.dependencies_waited();
        }
        Next::Step
    }
}

impl Operation for LaunchDependents {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, _: u32) -> Next {
        if let Some(observer) = warp.observer() {
            observer.dependents_launched();
        }
        Next::Step
    }
}

/// `griddepcontrol.wait`
pub(crate) const DEPENDENCY_WAIT: Variants = Variants::of::<WaitForDependencies>();
/// `griddepcontrol.launch_dependents`
pub(crate) const DEPENDENTS_LAUNCH: Variants = Variants::of::<LaunchDependents>();

/// `membar` and `fence`; 1 in [`Op::immediate`] if the scope is more than the block.
pub(crate) const FENCE: Variants = Variants::of::<OrderMemory>();

/// `mov.b32 d, {a, b}` and `mov.b64 d, {a, b}`: the first part is the low one.
struct Pack16;
struct Pack32;
/// `mov.b32 {d, e}, a` and `mov.b64 {d, e}, a`.
struct Unpack16;
struct Unpack32;

impl Operation for Pack16 {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (low, high) = (warp.read::<u16>(op.a), warp.read::<u16>(op.b));
        let mut result = [0; 32];
        for lane in 0..32 {
            result[lane] = u32::from(low[lane]) | u32::from(high[lane]) << 16;
        }
        warp.write_raw::<u32>(op.d, &result, mask);
        Next::Step
    }
}

impl Operation for Pack32 {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (low, high) = (warp.read::<u32>(op.a), warp.read::<u32>(op.b));
        let mut result = [0; 32];
        for lane in 0..32 {
            result[lane] = u64::from(low[lane]) | u64::from(high[lane]) << 32;
        }
        warp.write_raw::<u64>(op.d, &result, mask);
        Next::Step
    }
}

impl Operation for Unpack16 {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let whole = warp.read::<u32>(op.a);
        for (slot, shift) in [(op.d, 0), (op.e, 16)] {
            if slot != NO_SLOT {
                warp.write_raw::<u16>(slot, &each_lane(whole, |bits| bits >> shift & 0xffff), mask);
            }
        }
        Next::Step
    }
}

impl Operation for Unpack32 {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let whole = warp.read::<u64>(op.a);
        for (slot, shift) in [(op.d, 0), (op.e, 32)] {
            if slot != NO_SLOT {
                warp.write_raw::<u32>(slot, &each_lane(whole, |bits| (bits >> shift) as u32), mask);
            }
        }
        Next::Step
    }
}

/// `mov.b32 d, {a, b}`
pub(crate) const PACK_16: Variants = Variants::of::<Pack16>();
/// `mov.b64 d, {a, b}`
pub(crate) const PACK_32: Variants = Variants::of::<Pack32>();
/// `mov.b32 {d, e}, a`
pub(crate) const UNPACK_16: Variants = Variants::of::<Unpack16>();
/// `mov.b64 {d, e}, a`
pub(crate) const UNPACK_32: Variants = Variants::of::<Unpack32>();
