//! A warp: 32 lanes with registers, in groups that are at the same instruction.
//!
//! A group is a program counter and the lanes that are there. Of the groups that can run, the one with the lowest program
//! counter does, until it meets the next one, where the two merge. Whatever the order, results do not depend on it:
//! instructions that need other lanes (shuffles, barriers) block their group until those have come. Branches backward
//! are counted, and a group that has made many lets the others have a turn, so that one lane may wait for another.

use super::cluster::Neighbours;
use super::schedule::Schedule;
use crate::fault::FaultKind;
use crate::memory::{Memory, Window};
use crate::observe::{Observed, Observer};
use crate::ops::async_copy::{self, Copies};
use crate::ops::bulk::{self, BulkStores};
use crate::ops::control::ARRIVE;
use crate::ops::shuffle::{Collective, Part, execute, member_mask_slot, whole_warp};
use crate::ops::wgmma::Reads;
use crate::ops::{Lane, Next};
use crate::program::{CONSTANT, NO_SLOT, Op, Program, Slot};

/// Backward branches after which a warp lets the other warps of its block run, and a group the other groups of its warp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns {
    pub(super) warp: u32,
    pub(super) group: u32,
}

impl Turns {
    /// For what most probably comes to an end.
    pub(super) const LONG: Self = Self { warp: 1 << 13, group: 1 << 10 };
    /// For what waits for others.
    pub(super) const SHORT: Self = Self { warp: 1 << 8, group: 1 << 6 };
}

/// What a group of lanes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// Waits for the lanes of a member mask.
    Converging(Collective, u32),
    /// Waits at a barrier of the block: its number and the threads it is for, if that was said.
    AtBarrier(u32, Option<u32>),
    /// Waits for what its operation asks for, which is executed again to see whether that is so.
    Waiting,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    pc: u32,
    lanes: u32,
    state: State,
    /// When it ran last, by [`Lanes::clock`].
    ran: u64,
}

/// Why a warp stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// All lanes have ended.
    Done,
    /// All lanes that have not ended wait, at barriers or for what an operation asks for.
    Waits,
    /// It has run for long, and could go on.
    Yield,
    /// [`Lanes::fault`] says what happened.
    Fault,
}

/// How a warp goes on after a group has run.
enum Step {
    /// With the next group.
    Next,
    /// With the group that has waited longest: this one has had many turns.
    Starved,
    /// Not for now.
    Pause(Pause),
}

/// What of a warp lasts while other warps run.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    groups: Vec<Group>,
    /// The lanes that have not ended.
    live: u32,
    /// At which barriers of the block lanes have arrived without waiting: number, threads it is for, and how many.
    arrivals: Vec<(u32, Option<u32>, u32)>,
    clock: u64,
    /// Asynchronous copies to shared memory that nobody has waited for.
    copies: Copies,
    /// Bulk copies to global memory that nobody has waited for.
    bulk_stores: BulkStores,
    /// What products of four warps have read that nobody has waited for.
    wgmma_reads: Reads,
    /// What went wrong, the operation, and the lane.
    pub(super) fault: Option<(FaultKind, u32, u32)>,
    /// Instructions executed, each counted once a lane.
    pub(super) instructions: u64,
    /// For each lane the calls that it is in, innermost last: the call, and the function.
    pub(super) calls: [Vec<(u32, u32)>; 32],
    /// Where each lane goes whose operation says [`Next::Jump`].
    pub(super) targets: [u32; 32],
    /// What local variables hold before anything is written to them, in every byte.
    pub(super) poison: u8,
    /// What was printed and not passed on yet.
    pub(super) printed: Vec<u8>,
    /// What [`Lanes::instructions`] may not pass for the block to keep to its limit, and that limit.
    pub(super) limit: (u64, u64),
    /// Whether a lane did anything but wait the last time that the warp ran.
    pub(super) progressed: bool,
    /// Whether waits that need not last for ever end now.
    pub(super) waits_expire: bool,
    /// Whether a lane got what it waited for.
    pub(super) advanced: bool,
    /// The lanes that have arrived at the barrier of the cluster, and those that may pass it.
    pub(super) cluster_arrived: u32,
    pub(super) cluster_passed: u32,
}

impl Lanes {
    /// A warp before its first instruction.
    pub(super) fn start(&mut self, lanes: u32, entry: u32, poison: u8) {
        self.groups.clear();
        if lanes != 0 {
            self.groups.push(Group { pc: entry, lanes, state: State::Ready, ran: 0 });
        }
        // A program without functions starts with its first operation, and has no calls.
        if entry != 0 {
            self.calls.iter_mut().for_each(Vec::clear);
        }
        self.poison = poison;
        self.live = lanes;
        self.copies.clear();
        self.bulk_stores.clear();
        self.wgmma_reads.clear();
        self.arrivals.clear();
        self.fault = None;
        (self.cluster_arrived, self.cluster_passed) = (0, 0);
    }

    /// Where all of these lanes jump to, if that is one operation.
    #[inline(never)]
    fn common_target(&self, active: u32) -> Option<u32> {
        let target = self.targets[active.trailing_zeros() as usize];
        let same = (0..32).all(|lane| active >> lane & 1 == 0 || self.targets[lane] == target);
        same.then_some(target)
    }

    pub(super) fn done(&self) -> bool {
        self.live == 0
    }

    /// Whether there are lanes that do not wait at a barrier.
    pub(super) fn can_run(&self) -> bool {
        self.groups.iter().any(|group| !matches!(group.state, State::AtBarrier(..)))
    }

    pub(super) fn live(&self) -> u32 {
        self.live.count_ones()
    }

    /// Whether all lanes that have not ended have arrived at the barrier of the cluster.
    pub(super) fn at_cluster_barrier(&self) -> bool {
        self.cluster_arrived == self.live
    }

    /// Whether there are lanes that wait for what their operation asks for.
    pub(super) fn waits(&self) -> bool {
        self.waits_at().is_some()
    }

    /// The operation, and the first lane, of a group that waits for what its operation asks for.
    pub(super) fn waits_at(&self) -> Option<(u32, u32)> {
        let group = self.groups.iter().find(|group| group.state == State::Waiting)?;
        Some((group.pc, group.lanes.trailing_zeros()))
    }

    /// The barriers where lanes wait: number, threads it is for, and how many wait here.
    pub(super) fn barriers(&self) -> impl Iterator<Item = (u32, Option<u32>, u32)> + '_ {
        self.groups.iter().filter_map(|group| match group.state {
            State::AtBarrier(barrier, threads) => Some((barrier, threads, group.lanes.count_ones())),
            _ => None,
        })
    }

    /// Notes that lanes have arrived at a barrier where they do not wait.
    fn arrive(&mut self, barrier: u32, threads: Option<u32>, lanes: u32) {
        // A warp that arrives whole counts as 32, even if it has fewer threads.
        let count = if lanes == self.live { 32 } else { lanes.count_ones() };
        match self.arrivals.iter_mut().find(|(number, of, _)| (*number, *of) == (barrier, threads)) {
            Some((.., all)) => *all = all.saturating_add(count),
            None => self.arrivals.push((barrier, threads, count)),
        }
    }

    /// Where lanes have arrived without waiting: number, threads it is for, and how many.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = (u32, Option<u32>, u32)> + '_ {
        self.arrivals.iter().copied()
    }

    /// The instructions and lanes that wait at a barrier.
    pub(super) fn waiting(&self, barrier: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let here = move |group: &&Group| matches!(group.state, State::AtBarrier(number, _) if number == barrier);
        self.groups.iter().filter(here).map(|group| (group.pc - 1, group.lanes))
    }

    /// Lets the lanes at a barrier go on.
    pub(super) fn release(&mut self, barrier: u32) {
        self.arrivals.retain(|(number, ..)| *number != barrier);
        for group in &mut self.groups {
            if matches!(group.state, State::AtBarrier(number, _) if number == barrier) {
                group.state = State::Ready;
            }
        }
    }
}

/// A warp while it runs.
pub(crate) struct Warp<'a> {
    pub(super) program: &'a Program,
    /// What is executed: the program's code, or that of the observed program.
    code: &'a [Op],
    observed: Option<(&'a Observed, &'a mut Observer)>,
    memory: &'a Memory,
    pub(super) lanes: &'a mut Lanes,
    /// The register file, and the constants of the program.
    pub(super) banks: [*mut u8; 2],
    predicates: *mut u32,
    windows: &'a mut [Window],
    neighbours: &'a Neighbours,
    parameters: *const u8,
    shared: Window,
    /// The local memory of lane 0, and the bytes of one lane.
    local: Window,
    /// Its number in the block.
    index: u32,
}

/// `[T; 32]::map`, which the standard library does not inline.
#[inline(always)]
pub(crate) fn each_lane<T: Copy, U: Copy>(row: [T; 32], f: impl Fn(T) -> U) -> [U; 32] {
    let mut result = [f(row[0]); 32];
    for lane in 1..32 {
        result[lane] = f(row[lane]);
    }
    result
}

/// The memory that a warp runs with.
pub(super) struct WarpMemory {
    pub(super) registers: *mut u8,
    pub(super) predicates: *mut u32,
    pub(super) local: *mut u8,
    pub(super) parameters: *const u8,
    pub(super) shared: Window,
    /// The number of the warp in its block.
    pub(super) index: u32,
}

impl<'a> Warp<'a> {
    /// # Safety
    /// `at` has the register bytes, predicates, 32 times the local bytes and the parameter bytes that `program` asks for,
    /// `windows` its windows; its shared memory is valid; and nothing else uses them while the warp lives.
    pub(super) unsafe fn new(
        program: &'a Program,
        memory: &'a Memory,
        lanes: &'a mut Lanes,
        at: &WarpMemory,
        (windows, neighbours): (&'a mut [Window], &'a Neighbours),
        observed: Option<(&'a Observed, &'a mut Observer)>,
    ) -> Self {
        Self {
            program,
            code: observed.as_ref().map_or(&program.code, |(observed, _)| &observed.code),
            observed,
            memory,
            lanes,
            banks: [at.registers, program.constants.as_ptr().cast_mut()],
            predicates: at.predicates,
            windows,
            neighbours,
            parameters: at.parameters,
            shared: at.shared,
            local: Window::new(0, program.local_bytes, at.local),
            index: at.index,
        }
    }

    // --- what operations use ---

    /// A row as it is held.
    #[inline(always)]
    pub(crate) fn read_raw<T: Lane>(&self, slot: Slot) -> [T::Raw; 32] {
        let bank = self.banks[(slot >> 31) as usize];
        // SAFETY: the decoder gives an operation only slots of rows in these banks, of the operand's width and aligned.
        unsafe { bank.add((slot & !CONSTANT) as usize).cast::<[T::Raw; 32]>().read() }
    }

    /// A row as values.
    #[inline(always)]
    pub(crate) fn read<T: Lane>(&self, slot: Slot) -> [T; 32] {
        each_lane(self.read_raw::<T>(slot), T::from_raw)
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub(crate) fn write_raw<T: Lane>(&mut self, slot: Slot, values: &[T::Raw; 32], mask: u32) {
        // SAFETY: the decoder gives an operation only destinations that are rows of the register file, of the
        // operand's width and aligned.
        let row = unsafe { self.banks[0].add(slot as usize).cast::<[T::Raw; 32]>() };
        if mask == u32::MAX {
            // SAFETY: as above.
            unsafe { row.write(*values) };
            return;
        }
        // SAFETY: as above.
        let mut merged = unsafe { row.read() };
        for lane in 0..32 {
            if mask >> lane & 1 != 0 {
                merged[lane] = values[lane];
            }
        }
        // SAFETY: as above.
        unsafe { row.write(merged) };
    }

    /// A predicate: the lanes where it holds.
    #[inline(always)]
    pub(crate) fn predicate(&self, index: Slot) -> u32 {
        // SAFETY: the decoder gives only indices of predicates that the warp has.
        unsafe { self.predicates.add(index as usize).read() }
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub(crate) fn write_predicate(&mut self, index: Slot, value: u32, mask: u32) {
        // SAFETY: as in `predicate`.
        let predicate = unsafe { &mut *self.predicates.add(index as usize) };
        *predicate = *predicate & !mask | value & mask;
    }

    /// The addresses of a memory access.
    #[inline(always)]
    pub(crate) fn addresses(&self, op: &Op) -> [u64; 32] {
        let offset = op.immediate as u64;
        if op.window & crate::ops::memory::ADDRESS_32 != 0 {
            each_lane(self.read::<u32>(op.a), |address| u64::from(address).wrapping_add(offset))
        } else {
            each_lane(self.read::<u64>(op.a), |address| address.wrapping_add(offset))
        }
    }

    /// What watches this warp, if anything does.
    pub(crate) fn observer(&mut self) -> Option<&mut Observer> {
        self.observed.as_mut().map(|(_, observer)| &mut **observer)
    }

    /// The observed program, with what watches it.
    #[inline(always)]
    pub(crate) fn watched(&mut self) -> Option<(&'a Observed, &mut Observer)> {
        self.observed.as_mut().map(|(observed, observer)| (*observed, &mut **observer))
    }

    /// The bytes of a row, in the registers or the constants.
    pub(crate) fn row_bytes(&self, slot: Slot, length: usize) -> &'a [u8] {
        let bank = self.banks[(slot >> 31) as usize];
        // SAFETY: as in `read_raw`. Whoever holds the slice while operations write to the row reads one state or another of
        // plain bytes; the observer holds it only between operations.
        unsafe { std::slice::from_raw_parts(bank.add((slot & !CONSTANT) as usize), length) }
    }

    /// The window that a memory access hit last.
    #[inline(always)]
    pub(crate) fn window(&self, index: u32) -> Window {
        self.windows[index as usize]
    }

    pub(crate) fn remember(&mut self, index: u32, window: Window) {
        self.windows[index as usize] = window;
    }

    pub(crate) fn memory(&self) -> &'a Memory {
        self.memory
    }

    /// The shared memory of the block, at address 0.
    #[inline(always)]
    pub(crate) fn shared(&self) -> Window {
        self.shared
    }

    /// The blocks of the cluster.
    #[inline(always)]
    pub(crate) fn neighbours(&self) -> &'a Neighbours {
        self.neighbours
    }

    /// The lanes that have arrived at the barrier of the cluster, and those that may pass it.
    pub(crate) fn cluster_barrier(&mut self) -> (&mut u32, &mut u32) {
        (&mut self.lanes.cluster_arrived, &mut self.lanes.cluster_passed)
    }

    /// Whether a wait that need not last for ever ends now. It is so once, or else a loop would find it so for ever.
    pub(crate) fn wait_expires(&mut self) -> bool {
        std::mem::take(&mut self.lanes.waits_expire)
    }

    /// Notes that a lane got what it waited for.
    pub(crate) fn advance(&mut self) {
        self.lanes.advanced = true;
    }

    /// The list of an operation: `length` slots from the one it names.
    #[inline(always)]
    pub(crate) fn list(&self, start: u32, length: usize) -> &'a [Slot] {
        &self.program.lists[start as usize..][..length]
    }

    /// An operation that another one is made of.
    #[inline(always)]
    pub(crate) fn part(&self, index: u32) -> &'a Op {
        &self.program.parts[index as usize]
    }

    pub(crate) fn copies(&mut self) -> &mut Copies {
        &mut self.lanes.copies
    }

    pub(crate) fn bulk_stores(&mut self) -> &mut BulkStores {
        &mut self.lanes.bulk_stores
    }

    pub(crate) fn wgmma_reads(&mut self) -> &mut Reads {
        &mut self.lanes.wgmma_reads
    }

    /// A lane as all blocks of the cluster know it: the numbers of its block, of its warp, and its own.
    pub(crate) fn thread(&self, lane: u32) -> (u32, u32, u32) {
        (self.neighbours.rank(), self.index, lane)
    }

    /// The parameter block, at address 0.
    #[inline(always)]
    pub(crate) fn parameters(&self) -> Window {
        Window::new(0, self.program.parameter_bytes() as u64, self.parameters.cast_mut())
    }

    /// The local memory of a lane, at address 0.
    pub(crate) fn local(&self, lane: u32) -> Window {
        let offset = u64::from(lane) * self.local.size;
        Window { host: self.local.host.wrapping_add(offset as usize), ..self.local }
    }

    /// `size` bytes of the parameter block.
    #[inline(always)]
    pub(crate) fn parameter(&self, offset: usize, size: usize) -> *const u8 {
        debug_assert!(offset + size <= self.program.parameter_bytes());
        self.parameters.wrapping_add(offset)
    }

    /// The lanes that have not ended.
    #[inline(always)]
    pub(crate) fn live(&self) -> u32 {
        self.lanes.live
    }

    /// Prints a text that stays together.
    pub(crate) fn print(&mut self, text: &[u8]) {
        self.lanes.printed.extend_from_slice(text);
    }

    /// Says what went wrong in a lane; the operation returns [`Next::Fault`].
    #[cold]
    pub(crate) fn fault(&mut self, kind: FaultKind, lane: u32) {
        self.lanes.fault = Some((kind, 0, lane));
    }

    pub(crate) fn has_fault(&self) -> bool {
        self.lanes.fault.is_some()
    }

    /// Takes back what [`Warp::fault`] said.
    #[cold]
    pub(crate) fn take_fault(&mut self) -> FaultKind {
        self.lanes.fault.take().map_or(FaultKind::Trap, |(kind, ..)| kind)
    }

    // --- running ---

    /// Runs until no lane can go on by itself.
    pub(super) fn run(&mut self, turns: Turns, schedule: &mut Schedule) -> Pause {
        let mut warp_turn = turns.warp;
        let mut starved = false;
        for group in self.lanes.groups.iter_mut().filter(|group| group.state == State::Waiting) {
            group.state = State::Ready;
        }
        while let Some(index) = self.next_group(starved, schedule) {
            self.lanes.clock += 1;
            let mut group = self.lanes.groups.swap_remove(index);
            group.ran = self.lanes.clock;
            let at = group.pc;
            let lane = group.lanes.trailing_zeros();
            starved = match self.run_group(group, &mut warp_turn, turns.group) {
                Step::Next => false,
                Step::Starved => true,
                Step::Pause(pause) => return pause,
            };
            let (most, limit) = self.lanes.limit;
            if self.lanes.instructions > most {
                self.lanes.fault = Some((FaultKind::InstructionLimit { limit }, at, lane));
                return Pause::Fault;
            }
        }
        self.stopped()
    }

    /// Runs one group until it meets another, diverges, blocks or ends.
    #[inline(always)]
    fn run_group(&mut self, mut group: Group, warp_turn: &mut u32, mut turn: u32) -> Step {
        let code = self.code;
        // Where the next group of this warp waits to merge; nothing is there if there is none.
        let meets = self.merge(&mut group);
        let width = u64::from(group.lanes.count_ones());
        let mut executed = 0;
        let step = loop {
            debug_assert!((group.pc as usize) < code.len());
            // SAFETY: branches go to operations of the program, and the decoder ends it with one that is not stepped past.
            let op = unsafe { code.get_unchecked(group.pc as usize) };
            let mut active = group.lanes;
            if op.guard == NO_SLOT {
                executed += width;
            } else {
                let predicate = self.predicate(op.guard >> 1);
                active &= if op.guard & 1 != 0 { !predicate } else { predicate };
                executed += u64::from(active.count_ones());
            }
            let next = if active == 0 {
                self.passed_over(group.pc);
                Next::Step
            } else {
                // SAFETY: the operation is of this warp's program; the decoder chose a variant for this processor.
                unsafe { (op.exec)(self, op, active) }
            };
            if next == Next::Step {
                group.pc += 1;
            } else if let Some(target) = self.common_target(op, next, active).filter(|_| active == group.lanes) {
                let backward = target <= group.pc;
                group.pc = target;
                if backward {
                    turn -= 1;
                    *warp_turn -= 1;
                    if *warp_turn == 0 {
                        self.lanes.groups.push(group);
                        break Step::Pause(Pause::Yield);
                    }
                    if turn == 0 {
                        self.lanes.groups.push(group);
                        break Step::Starved;
                    }
                }
            } else {
                if next == Next::Wait {
                    executed -= u64::from(active.count_ones());
                }
                break self.divide(op, group, active, next);
            }
            if group.pc >= meets {
                self.lanes.groups.push(group);
                break Step::Next;
            }
        };
        self.lanes.progressed |= executed != 0;
        self.lanes.instructions += executed;
        step
    }

    /// Where all active lanes go, if they branch or jump to one operation.
    #[inline(always)]
    fn common_target(&self, op: &Op, next: Next, active: u32) -> Option<u32> {
        match next {
            Next::Branch => Some(op.immediate as u32),
            Next::Jump => self.lanes.common_target(active),
            _ => None,
        }
    }

    /// An operation has come that no lane executes.
    #[inline(always)]
    fn passed_over(&mut self, pc: u32) {
        if let Some((_, observer)) = &mut self.observed {
            observer.passed_over(pc);
        }
    }

    /// What becomes of a group whose active lanes do something else than step or branch together.
    #[inline(never)]
    fn divide(&mut self, op: &Op, group: Group, active: u32, next: Next) -> Step {
        let waiting = match next {
            Next::Branch => {
                let target = op.immediate as u32;
                self.lanes.groups.push(Group { pc: target, lanes: active, ..group });
                Ok(())
            }
            Next::Jump => {
                let mut left = active;
                while left != 0 {
                    let target = self.lanes.targets[left.trailing_zeros() as usize];
                    let same = (0..32).filter(|&lane| left >> lane & 1 != 0 && self.lanes.targets[lane] == target);
                    let lanes = same.fold(0u32, |all, lane| all | 1 << lane);
                    self.lanes.groups.push(Group { pc: target, lanes, ..group });
                    left &= !lanes;
                }
                Ok(())
            }
            Next::Exit => {
                if !async_copy::land_all(self, active) || !bulk::land_all(self, active) {
                    if let Some(fault) = &mut self.lanes.fault {
                        fault.1 = group.pc;
                    }
                    return Step::Pause(Pause::Fault);
                }
                self.lanes.live &= !active;
                Ok(())
            }
            Next::Converge => self.wait_for_members(op, group, active),
            Next::ConvergeWarp => {
                let state = State::Converging(Collective::WholeWarp, u32::MAX);
                self.lanes.groups.push(Group { lanes: active, state, ..group });
                Ok(())
            }
            Next::Barrier => self.wait_at_barrier(op, group, active),
            Next::Wait => {
                self.lanes.groups.push(Group { lanes: active, state: State::Waiting, ..group });
                Ok(())
            }
            Next::Step | Next::Fault => {
                if let Some(fault) = &mut self.lanes.fault {
                    fault.1 = group.pc;
                }
                return Step::Pause(Pause::Fault);
            }
        };
        if let Err(kind) = waiting {
            self.lanes.fault = Some((kind, group.pc, active.trailing_zeros()));
            return Step::Pause(Pause::Fault);
        }
        // Those whose guard is false go on.
        let others = group.lanes & !active;
        if others != 0 {
            self.lanes.groups.push(Group { pc: group.pc + 1, lanes: others, ..group });
        }
        Step::Next
    }

    /// The group to run: the lowest, or the one that has waited longest if another has had too many turns. Or any, if the
    /// order is drawn.
    fn next_group(&mut self, starved: bool, schedule: &mut Schedule) -> Option<usize> {
        loop {
            let count = self.lanes.groups.iter().filter(|group| group.state == State::Ready).count();
            if count > 1
                && !starved
                && let Some(drawn) = schedule.draw(count as u64)
            {
                let ready = |(_, group): &(usize, &Group)| group.state == State::Ready;
                return self.lanes.groups.iter().enumerate().filter(ready).nth(drawn as usize).map(|(index, _)| index);
            }
            let ready = self.lanes.groups.iter().enumerate().filter(|(_, group)| group.state == State::Ready);
            let next = if starved {
                ready.min_by_key(|(_, group)| group.ran)
            } else {
                ready.min_by_key(|(_, group)| group.pc)
            };
            if let Some((index, _)) = next {
                return Some(index);
            }
            if !self.converge() {
                return None;
            }
        }
    }

    /// Takes in the groups that are where `group` is, and finds how far it may run before it meets another one.
    fn merge(&mut self, group: &mut Group) -> u32 {
        let mut meets = u32::MAX;
        self.lanes.groups.retain(|other| {
            if other.state != State::Ready {
                return true;
            }
            if other.pc == group.pc {
                group.lanes |= other.lanes;
                return false;
            }
            if other.pc > group.pc {
                meets = meets.min(other.pc);
            }
            true
        });
        meets
    }

    /// The active lanes of `group` wait for the members of their masks.
    fn wait_for_members(&mut self, op: &Op, group: Group, active: u32) -> Result<(), FaultKind> {
        let members = self.read::<u32>(member_mask_slot(op));
        let mut left = active;
        while left != 0 {
            let mask = members[left.trailing_zeros() as usize];
            let same = (0..32).filter(|&lane| left >> lane & 1 != 0 && members[lane] == mask);
            let same = same.fold(0u32, |all, lane| all | 1 << lane);
            if same & !mask != 0 {
                return Err(FaultKind::NotAMember { mask });
            }
            let state = State::Converging(Collective::of(op), mask);
            self.lanes.groups.push(Group { lanes: same, state, ..group });
            left &= !same;
        }
        Ok(())
    }

    /// The active lanes of `group` wait at a barrier of the block.
    fn wait_at_barrier(&mut self, op: &Op, group: Group, active: u32) -> Result<(), FaultKind> {
        let uniform = |slot: Slot| {
            let row = self.read::<u32>(slot);
            let value = row[active.trailing_zeros() as usize];
            let same = (0..32).all(|lane| active >> lane & 1 == 0 || row[lane] == value);
            same.then_some(value).ok_or(FaultKind::BarrierNumber)
        };
        let barrier = uniform(op.a)?;
        let threads = if op.b == NO_SLOT { None } else { Some(uniform(op.b)?) };
        if barrier > 15 {
            return Err(FaultKind::BarrierNumber);
        }
        if op.immediate == ARRIVE {
            self.lanes.arrive(barrier, threads, active);
            if let Some(observer) = self.observer() {
                observer.arrive(barrier);
            }
            self.lanes.groups.push(Group { pc: group.pc + 1, lanes: active, ..group });
            return Ok(());
        }
        let state = State::AtBarrier(barrier, threads);
        self.lanes.groups.push(Group { pc: group.pc + 1, lanes: active, state, ..group });
        Ok(())
    }

    /// Executes a collective that all members have reached, if there is one.
    fn converge(&mut self) -> bool {
        for index in 0..self.lanes.groups.len() {
            let State::Converging(_, mask) = self.lanes.groups[index].state else { continue };
            let state = self.lanes.groups[index].state;
            let waiting: Vec<Group> = self.lanes.groups.iter().filter(|group| group.state == state).copied().collect();
            let arrived = waiting.iter().fold(0, |all, group| all | group.lanes);
            if arrived != mask & self.lanes.live {
                continue;
            }
            self.lanes.groups.retain(|group| group.state != state);
            let program = self.program;
            let parts: Vec<Part<'_>> =
                waiting.iter().map(|group| Part { op: &program.code[group.pc as usize], mask: group.lanes }).collect();
            let whole = matches!(state, State::Converging(Collective::WholeWarp, _));
            let next = if whole { whole_warp(self, &parts) } else { execute(self, &parts) };
            if next == Next::Fault {
                if let Some(fault) = &mut self.lanes.fault {
                    fault.1 = waiting[0].pc;
                }
                return false;
            }
            let gone_on = waiting.iter().map(|group| Group { pc: group.pc + 1, state: State::Ready, ..*group });
            self.lanes.groups.extend(gone_on);
            return true;
        }
        false
    }

    /// Why no group can run.
    fn stopped(&mut self) -> Pause {
        if self.lanes.fault.is_some() {
            return Pause::Fault;
        }
        for group in self.lanes.groups.iter().filter(|_| !self.lanes.waits()) {
            if let State::Converging(_, mask) = group.state {
                self.lanes.fault = Some((FaultKind::WarpDeadlock { mask }, group.pc, group.lanes.trailing_zeros()));
                return Pause::Fault;
            }
        }
        if self.lanes.groups.is_empty() { Pause::Done } else { Pause::Waits }
    }
}
