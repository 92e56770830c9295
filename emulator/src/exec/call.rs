//! Frames: what a call and a return do with local memory and registers.
//!
//! Each lane has a stack of its own, so the lanes of a group may be in one function at different depths, called from
//! different places: groups merge in functions as anywhere, and part again when they return. What the stack holds of
//! return addresses is not in the memory that kernels can write.

use super::warp::Warp;
use crate::fault::FaultKind;
use crate::program::{Callee, Copied, Program, Saved};

/// The lanes of a mask.
fn lanes(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

impl<'a> Warp<'a> {
    pub(crate) fn program(&self) -> &'a Program {
        self.program
    }

    /// Where lanes go when their operation returns [`Next::Jump`](crate::ops::Next::Jump).
    pub(crate) fn set_targets(&mut self, target: u32, mask: u32) {
        for lane in lanes(mask) {
            self.lanes.targets[lane as usize] = target;
        }
    }

    /// The address in local memory of the frame of the running function.
    pub(crate) fn frames(&self) -> [u32; 32] {
        self.read::<u32>(self.program.frame)
    }

    /// Opens a frame for a function and copies what a call passes. A fault if there is no room.
    #[inline(never)]
    pub(crate) fn enter(&mut self, call: u32, callee: u32, mask: u32) -> bool {
        let program = self.program;
        let (site, function) = (&program.calls[call as usize], &program.callees[callee as usize]);
        let mut frames = self.frames();
        for lane in lanes(mask) {
            let local = self.local(lane);
            let old = u64::from(frames[lane as usize]);
            let new = old + site.frame_bytes;
            if new + function.frame_bytes > local.size {
                self.fault(FaultKind::StackOverflow { bytes: local.size }, lane);
                return false;
            }
            let at = |offset: u64| local.host.wrapping_add(offset as usize);
            copy(&site.arguments, at(old), at(new));
            let Callee { variables, saved, .. } = function;
            // SAFETY: the variables are in the frame, which ends before local memory does, and no one else uses the
            // local memory of this lane now.
            unsafe {
                let bytes = (variables.end - variables.start) as usize;
                at(new + variables.start).write_bytes(self.lanes.poison, bytes);
            }
            if let Some(observer) = self.observer() {
                observer.open_frame(lane, new..new + function.frame_bytes, new + variables.start..new + variables.end);
            }
            if let Some(saved) = saved {
                self.save(saved, lane, at(new + saved.at));
            }
            frames[lane as usize] = new as u32;
            self.lanes.calls[lane as usize].push((call, callee));
        }
        self.write_raw::<u32>(program.frame, &frames, mask);
        true
    }

    /// Closes the frame of a function, copies what it returns, and sets where its caller goes on.
    #[inline(never)]
    pub(crate) fn leave(&mut self, mask: u32) -> bool {
        let program = self.program;
        let mut frames = self.frames();
        for lane in lanes(mask) {
            let Some((call, callee)) = self.lanes.calls[lane as usize].pop() else {
                // Only calls lead into functions.
                self.fault(FaultKind::NotAFunction { address: 0 }, lane);
                return false;
            };
            let (site, function) = (&program.calls[call as usize], &program.callees[callee as usize]);
            let local = self.local(lane);
            let new = u64::from(frames[lane as usize]);
            let old = new - site.frame_bytes;
            let at = |offset: u64| local.host.wrapping_add(offset as usize);
            copy(&site.results, at(new), at(old));
            if let Some(saved) = &function.saved {
                self.restore(saved, lane, at(new + saved.at));
                if let Some((observed, observer)) = self.watched() {
                    observer.define(observed, saved, 1 << lane);
                }
            }
            frames[lane as usize] = old as u32;
            self.lanes.targets[lane as usize] = site.return_to;
        }
        self.write_raw::<u32>(program.frame, &frames, mask);
        true
    }

    /// Keeps one lane of registers in a frame.
    fn save(&mut self, saved: &Saved, lane: u32, to: *mut u8) {
        let (lane, mut to) = (lane as usize, to);
        // SAFETY: the decoder gives slots of rows of the register file, and made room for all of them in the frame.
        unsafe {
            for slot in &saved.longs {
                to.cast::<u64>().write_unaligned(self.banks[0].add(*slot as usize).cast::<u64>().add(lane).read());
                to = to.add(8);
            }
            for slot in &saved.words {
                to.cast::<u32>().write_unaligned(self.banks[0].add(*slot as usize).cast::<u32>().add(lane).read());
                to = to.add(4);
            }
            for slot in &saved.predicates {
                to.write((self.predicate(*slot) >> lane & 1) as u8);
                to = to.add(1);
            }
        }
    }

    /// Gives one lane its registers back.
    fn restore(&mut self, saved: &Saved, lane: u32, from: *const u8) {
        let (lane, mut from) = (lane as usize, from);
        // SAFETY: as in `save`.
        unsafe {
            for slot in &saved.longs {
                self.banks[0].add(*slot as usize).cast::<u64>().add(lane).write(from.cast::<u64>().read_unaligned());
                from = from.add(8);
            }
            for slot in &saved.words {
                self.banks[0].add(*slot as usize).cast::<u32>().add(lane).write(from.cast::<u32>().read_unaligned());
                from = from.add(4);
            }
            for slot in &saved.predicates {
                let value = u32::from(from.read() & 1) << lane;
                self.write_predicate(*slot, value, 1 << lane);
                from = from.add(1);
            }
        }
    }
}

/// Copies between two frames.
fn copy(list: &[Copied], from: *const u8, to: *mut u8) {
    for part in list {
        // SAFETY: the decoder puts what is copied inside the frames of caller and callee, which do not overlap, and both
        // are in the local memory of the lane.
        unsafe {
            let (from, to) = (from.add(part.from as usize), to.add(part.to as usize));
            to.copy_from_nonoverlapping(from, part.bytes as usize);
        }
    }
}
