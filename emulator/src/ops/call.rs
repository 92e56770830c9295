//! Calls, returns, and jumps whose target each lane finds for itself.

use super::{Next, Operation};
use crate::exec::{Warp, each_lane};
use crate::fault::FaultKind;
use crate::program::Op;

/// A call of the function `e` of the program, by the call `d`; its first operation is in `immediate`.
pub(crate) struct CallFunction;

impl Operation for CallFunction {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if warp.enter(op.d, op.e, mask) { Next::Branch } else { Next::Fault }
    }
}

/// A call of the function whose address is in `a`, by the call `d`.
pub(crate) struct CallAddress;

impl Operation for CallAddress {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let addresses = warp.read::<u64>(op.a);
        let mut left = mask;
        while left != 0 {
            let lane = left.trailing_zeros();
            let address = addresses[lane as usize];
            let same = (0..32).filter(|&other| left >> other & 1 != 0 && addresses[other] == address);
            let same = same.fold(0u32, |all, other| all | 1 << other);
            let program = warp.program();
            let layout = program.calls[op.d as usize].layout;
            let callee = program.callee_at(address);
            let Some(callee) = callee.filter(|&callee| program.callees[callee as usize].layout == layout) else {
                warp.fault(FaultKind::NotAFunction { address }, lane);
                return Next::Fault;
            };
            if !warp.enter(op.d, callee, same) {
                return Next::Fault;
            }
            warp.set_targets(program.callees[callee as usize].entry, same);
            left &= !same;
        }
        Next::Jump
    }
}

/// `ret` of a function.
pub(crate) struct Return;

impl Operation for Return {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, mask: u32) -> Next {
        if warp.leave(mask) { Next::Jump } else { Next::Fault }
    }
}

/// `brx.idx`: to one of the targets in the list `d`, by the index in `a`.
pub(crate) struct JumpTo;

impl Operation for JumpTo {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let indices = warp.read::<u32>(op.a);
        let table = &warp.program().jump_tables[op.d as usize];
        for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
            let index = indices[lane as usize];
            let Some(&target) = table.get(index as usize) else {
                warp.fault(FaultKind::JumpIndex { index, targets: table.len() as u32 }, lane);
                return Next::Fault;
            };
            warp.set_targets(target, 1 << lane);
        }
        Next::Jump
    }
}

/// The address of what is at the offset `immediate` in the frame, whose address is in `a`.
pub(crate) struct FrameAddress32;
pub(crate) struct FrameAddress64;

impl Operation for FrameAddress32 {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let frame = warp.read::<u32>(op.a);
        warp.write_raw::<u32>(op.d, &each_lane(frame, |frame| frame.wrapping_add(op.immediate as u32)), mask);
        Next::Step
    }
}

impl Operation for FrameAddress64 {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let frame = warp.read::<u32>(op.a);
        let address = |frame| u64::from(frame).wrapping_add(op.immediate as u64);
        warp.write_raw::<u64>(op.d, &each_lane(frame, address), mask);
        Next::Step
    }
}
