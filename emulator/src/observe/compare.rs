//! Compares accesses with the shadow: fast by what two stamps say, and where that is not clear by all the rules of order.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::Observer;
use super::access::{Flight, Looked, common_address};
use super::order::Readers;
use super::shadow::{
    Cells, KIND_SHIFT, KINDS, Locked, PAGE, SEGMENT_SHIFT, STRONG_BLOCK, STRONG_DEVICE, STRONG_READ, SWAP, Shadow,
    Stamp, THREAD_SHIFT, WARP_SHIFT, WEAK,
};
use crate::program::{MemoryKind, MemoryUse, Strength};

/// How often, and how long each time, a store of another block is waited for before it counts as one of something else.
const STORE_WAITS: u32 = 20;
const STORE_WAIT: Duration = Duration::from_micros(500);

/// What is wrong with an access.
pub(super) enum Wrong {
    /// It reads a byte that nothing has written.
    Uninitialised,
    /// Nothing puts it in an order with another one, which is a write or not.
    Race { other: Stamp, other_writes: bool },
}

/// The rules of order as far as they can be told from two stamps; what they do not allow may still be in order. Stamps are
/// below 2^63, and compare as their segments do.
#[derive(Clone, Copy)]
struct Rules {
    races: bool,
    /// What is below has not been written.
    written: u64,
    /// What is below comes before this launch, or is of a block that had this shared memory before.
    floor: u64,
    /// From the first to below this comes before the last barrier of the block.
    first: u64,
    below: u64,
    /// The end of the block's segments.
    end: u64,
    /// What the warp has acquired began before this; 0 if it has acquired nothing.
    newest: u64,
    /// The stamp of lane 0.
    stamp: u64,
}

/// Whose reads a cell stands for, as a number.
#[inline(always)]
fn readers(cell: u64) -> u64 {
    cell >> KIND_SHIFT & 3
}

impl Rules {
    #[inline(always)]
    fn is_before(&self, cell: u64) -> bool {
        (cell < self.floor) | ((cell >= self.first) & (cell < self.below))
    }

    /// Whether a cell has the stamp of the same thread, in the same segment.
    #[inline(always)]
    fn is_own(cell: u64, stamp: u64) -> bool {
        (cell ^ stamp) >> THREAD_SHIFT == 0
    }

    #[inline(always)]
    fn may_read(&self, write: u64, stamp: u64) -> bool {
        (write >= self.written) & (!self.races | self.is_before(write) | Self::is_own(write, stamp))
    }

    #[inline(always)]
    fn may_write(&self, write: u64, read: u64, stamp: u64) -> bool {
        let alone = readers(read) == Readers::One as u64;
        let unread = self.is_before(read) | (Self::is_own(read, stamp) & alone);
        !self.races | ((self.is_before(write) | Self::is_own(write, stamp)) & unread)
    }

    /// What becomes of the stamp of the readers when one more reads, if that is clear. It may read for lanes after it too:
    /// then `together` has the bits that make a stamp one of several lanes.
    #[inline(always)]
    fn next_read(&self, read: u64, stamp: u64, together: u64) -> (u64, bool) {
        let (by, strong) = (readers(read), read >> KIND_SHIFT & STRONG_READ != 0);
        let alone = by == Readers::One as u64;
        let replaced = self.is_before(read) | (Self::is_own(read, stamp) & alone & !strong);
        let in_block = (read >= self.first) & (read < self.end);
        let same_warp = ((read ^ stamp) >> WARP_SHIFT == 0) & (by <= Readers::Lanes as u64);
        // Many that this one belongs to stay as they are. (A lane of the same warp and segment is in no order with it.)
        let kept = (by == Readers::Blocks as u64)
            | (in_block & (self.newest == 0) & (by == Readers::Warps as u64))
            | same_warp;
        let lanes = if same_warp & alone { (Readers::Lanes as u64) << KIND_SHIFT } else { 0 };
        // A reader of another block makes them blocks; the newest segment is kept.
        let joined = !in_block & (self.newest == 0);
        let newest = (read >> SEGMENT_SHIFT).max(stamp >> SEGMENT_SHIFT) << SEGMENT_SHIFT;
        let reader = read & ((1 << SEGMENT_SHIFT) - 1) & !(KINDS << KIND_SHIFT);
        let blocks = newest | reader | (Readers::Blocks as u64) << KIND_SHIFT;
        let new = if replaced {
            stamp | together
        } else if kept {
            read | lanes
        } else {
            blocks
        };
        (new, !self.races | replaced | (!strong & (read >= self.newest) & (kept | joined)))
    }

    /// Compares loads with cells, each of a thread with a stamp, and leaves the stamps there. Says `false`, and has changed
    /// nothing, if it is not clear that all is in order.
    #[inline(always)]
    fn load(&self, cells: &mut Cells, range: Range<usize>, stamp: impl Fn(usize) -> u64, together: u64) -> bool {
        let (writes, reads) = (&cells.writes[range.clone()], &mut cells.reads[range]);
        let (mut good, mut changed) = (true, 0);
        for (index, (write, read)) in writes.iter().zip(reads.iter()).enumerate() {
            let (new, clear) = self.next_read(*read, stamp(index), together);
            good &= self.may_read(*write, stamp(index)) & clear;
            changed |= new ^ *read;
        }
        // What many blocks read changes no more.
        if good && self.races && changed != 0 {
            for (index, read) in reads.iter_mut().enumerate() {
                *read = self.next_read(*read, stamp(index), together).0;
            }
        }
        good
    }

    /// Compares stores, as [`Rules::load`] does loads.
    #[inline(always)]
    fn store(&self, cells: &mut Cells, range: Range<usize>, stamp: impl Fn(usize) -> u64) -> bool {
        let (writes, reads) = (&mut cells.writes[range.clone()], &mut cells.reads[range]);
        let mut good = true;
        for (index, (write, read)) in writes.iter().zip(reads.iter()).enumerate() {
            good &= self.may_write(*write, *read, stamp(index));
        }
        if good {
            for (index, write) in writes.iter_mut().enumerate() {
                *write = stamp(index);
            }
            reads.fill(0);
        }
        good
    }
}

/// The lanes of an access to one allocation.
pub(super) struct Lanes<'o, 'a> {
    pub(super) observer: &'o mut Observer,
    pub(super) shadow: &'o Shadow,
    pub(super) addresses: &'o [u64; 32],
    /// Where each lane's bytes are in the shadow.
    pub(super) offsets: &'o [u64; 32],
    pub(super) memory: &'o MemoryUse,
    pub(super) looked: &'o Looked<'a>,
    /// The memory itself, and what offsets in the shadow are more than those in it.
    pub(super) host: *mut u8,
    pub(super) skew: u64,
    pub(super) shared: bool,
}

impl Lanes<'_, '_> {
    fn is_strong(&self) -> bool {
        self.memory.strength != Strength::Weak
    }

    /// Stamps up to here are of blocks that had this shared memory before: there is nothing written.
    fn unwritten_below(&self) -> u32 {
        if self.shared { self.observer.order.shared_since } else { 1 }
    }

    /// Weak accesses are checked fast, all lanes at once or one by one; what is not clear that way is checked by all rules.
    #[inline(always)]
    pub(super) fn check(mut self, mask: u32) -> Result<(), (usize, Wrong)> {
        let mut left = mask;
        if !self.is_strong() && self.observer.order.gap.1 == 0 && self.looked.flight.is_compared_fast() {
            let rules = self.rules();
            if self.check_together(&rules, mask) {
                return Ok(());
            }
            left = self.check_apart(&rules, mask);
        }
        if left == 0 { Ok(()) } else { self.check_lanes(left, mask) }
    }

    #[inline(never)]
    fn check_lanes(&mut self, lanes: u32, mask: u32) -> Result<(), (usize, Wrong)> {
        for lane in (0..32).filter(|lane| lanes >> lane & 1 != 0) {
            self.check_lane(lane, mask).map_err(|wrong| (lane, wrong))?;
        }
        Ok(())
    }

    fn rules(&self) -> Rules {
        let order = &self.observer.order;
        let warp = &order.warps[self.observer.warp as usize];
        let start = |segment: u32| u64::from(segment) << SEGMENT_SHIFT;
        let initialised = self.observer.initialised;
        Rules {
            races: self.observer.races,
            written: start(if initialised { self.unwritten_below() } else { 0 }),
            floor: start(if self.shared { order.shared_since } else { warp.floor }),
            first: start(order.range().start),
            below: start(order.below.max(order.range().start)),
            end: start(order.range().end),
            newest: start(warp.acquired_when()),
            stamp: Stamp::new(warp.segment, self.observer.warp * 32, WEAK, self.looked.pc as u32).0,
        }
    }

    /// The case that is almost all there are: the lanes access words next to one another, and all is in order. Says `false`,
    /// and has changed nothing, if it is not so.
    #[inline(always)]
    fn check_together(&mut self, rules: &Rules, mask: u32) -> bool {
        let bytes = u64::from(self.memory.bytes);
        let first_lane = mask.trailing_zeros();
        let count = mask.count_ones();
        // The lanes are a run without holes.
        if mask == 0 || u64::from(mask >> first_lane) != (1 << count) - 1 {
            return false;
        }
        let start = self.offsets[first_lane as usize];
        let length = bytes * u64::from(count);
        let mut apart = 0;
        for lane in 0..32u32 {
            let active = u64::from(mask >> lane & 1).wrapping_neg();
            let expected = start.wrapping_add(bytes.wrapping_mul(u64::from(lane.wrapping_sub(first_lane))));
            apart |= (self.offsets[lane as usize] ^ expected) & active;
        }
        if apart != 0 || start % PAGE + length > PAGE {
            return false;
        }
        let mut page = self.shadow.page(start).lock();
        let cells = page.cells();
        let range = cells.range((start % PAGE) as usize, length as usize, bytes as usize);
        let shift = (range.len() / count as usize).max(1).trailing_zeros();
        let first = rules.stamp + (u64::from(first_lane) << THREAD_SHIFT);
        let stamp = |index| first + ((index as u64 >> shift) << THREAD_SHIFT);
        match self.memory.kind {
            MemoryKind::Load => rules.load(cells, range, stamp, 0),
            _ => rules.store(cells, range, stamp),
        }
    }

    /// The lanes that access what the lane before them does.
    #[inline(always)]
    fn repeated(&self, mask: u32) -> u32 {
        let mut same = 0;
        for lane in 1..32 {
            same |= u32::from(self.offsets[lane] == self.offsets[lane - 1]) << lane;
        }
        same & mask & mask << 1
    }

    /// Checks each lane that is clearly in order. The others are returned, and nothing is changed for them.
    #[inline(always)]
    fn check_apart(&mut self, rules: &Rules, mask: u32) -> u32 {
        let (shadow, bytes) = (self.shadow, self.memory.bytes as usize);
        let is_load = self.memory.kind == MemoryKind::Load;
        // Of lanes that load the same one is checked, for all of them.
        let repeated = if is_load { self.repeated(mask) } else { 0 };
        let mut unclear = 0;
        let mut left = mask & !repeated;
        while left != 0 {
            let number = self.offsets[left.trailing_zeros() as usize] / PAGE;
            let mut page = shadow.page(number * PAGE).lock();
            let mut waiting = left;
            while waiting != 0 {
                let lane = waiting.trailing_zeros() as usize;
                waiting &= waiting - 1;
                let offset = self.offsets[lane];
                if offset / PAGE != number {
                    continue;
                }
                left &= !(1 << lane);
                let stamp = rules.stamp + ((lane as u64) << THREAD_SHIFT);
                let cells = page.cells();
                let range = cells.range((offset % PAGE) as usize, bytes, bytes);
                let good = if is_load {
                    let together = u64::from(repeated >> lane >> 1 & 1) * ((Readers::Lanes as u64) << KIND_SHIFT);
                    rules.load(cells, range, |_| stamp, together)
                } else {
                    rules.store(cells, range, |_| stamp)
                };
                if !good {
                    // with those that it stood for
                    let after = !repeated >> lane >> 1;
                    let count = after.trailing_zeros();
                    unclear |= (((1u64 << (count + 1)) - 1) << lane) as u32;
                }
            }
        }
        unclear
    }

    fn check_lane(&mut self, lane: usize, mask: u32) -> Result<(), Wrong> {
        let offset = self.offsets[lane];
        let (kind, bytes) = (self.memory.kind, self.memory.bytes as usize);
        let thread = self.observer.warp * 32 + lane as u32;
        if self.observer.races && self.is_strong() {
            self.release(lane);
        }
        let mut page = self.shadow.page(offset).lock();
        let range = page.cells().range((offset % PAGE) as usize, bytes, bytes);
        for cell in range {
            if kind != MemoryKind::Store {
                self.read(&mut page, cell, thread)?;
            }
            if kind != MemoryKind::Load {
                self.write(&mut page, cell, thread, lane, mask)?;
            }
        }
        Ok(())
    }

    /// What a strong write makes known. What a strong read learns is noted when it is done.
    fn release(&mut self, lane: usize) {
        let Observer { order, tracker, warp, rank, .. } = &mut *self.observer;
        let MemoryUse { kind, releases, strength, .. } = *self.memory;
        if kind != MemoryKind::Load {
            if releases {
                order.fence(tracker, *warp, 1 << lane, strength == Strength::Device);
            }
            let address = self.addresses[lane];
            let address = if self.shared { common_address(*rank, address) } else { address };
            order.strong_write(tracker, *warp, lane as u32, address, self.shared);
        }
    }

    fn read(&mut self, page: &mut Locked<'_>, cell: usize, thread: u32) -> Result<(), Wrong> {
        let strong = self.is_strong();
        let cells = page.cells();
        let (write, read) = (Stamp(cells.writes[cell]), Stamp(cells.reads[cell]));
        if self.observer.initialised && write.segment() < self.unwritten_below() {
            return Err(Wrong::Uninitialised);
        }
        if !self.observer.races {
            return Ok(());
        }
        let swapped = self.may_be_swapped() && write.kind() & 3 == SWAP;
        if !(swapped || self.comes_before(write, Readers::One, thread) || self.both_strong(write)) {
            return Err(Wrong::Race { other: write, other_writes: true });
        }
        let segment = self.observer.order.warps[(thread / 32) as usize].segment;
        let strong_read = if strong { STRONG_READ } else { 0 };
        let alone = Stamp::new(segment, thread, Readers::One as u64 | strong_read, self.looked.pc as u32);
        let readers = read.readers();
        let new = if self.comes_before(read, readers, thread) {
            alone
        } else {
            // Another thread may read it at the same time: the stamp stands for both.
            let order = &self.observer.order;
            let together = if !order.owns(read.segment()) {
                Readers::Blocks
            } else if read.warp() == thread / 32 {
                Readers::Lanes
            } else {
                Readers::Warps
            };
            let kind = readers.max(together) as u64 | read.kind() & strong_read;
            Stamp::new(read.segment().max(segment), read.thread(), kind, read.operation())
        };
        page.cells().reads[cell] = new.0;
        Ok(())
    }

    fn write(&mut self, page: &mut Locked<'_>, cell: usize, thread: u32, lane: usize, mask: u32) -> Result<(), Wrong> {
        let cells = page.cells();
        let (write, read) = (Stamp(cells.writes[cell]), Stamp(cells.reads[cell]));
        if self.observer.races && self.looked.flight != Flight::Landed {
            let flies = write.is_in_flight();
            // Copies in flight are compared with one another when they land.
            let ordered = self.comes_before(write, Readers::One, thread)
                || self.both_strong(write)
                || flies && self.looked.flight != Flight::No;
            if !ordered && (flies || !self.writes_the_same(write, lane, mask)) {
                return Err(Wrong::Race { other: write, other_writes: true });
            }
            let harmless = self.is_strong() && read.kind() & STRONG_READ != 0
                || self.memory.kind == MemoryKind::CompareAndSwap && self.may_be_swapped();
            if !harmless && !self.comes_before(read, read.readers(), thread) {
                return Err(Wrong::Race { other: read, other_writes: false });
            }
        }
        if self.looked.flight == Flight::Issued {
            if self.observer.races {
                let cells = page.cells();
                cells.writes[cell] = Stamp::in_flight(thread, self.looked.pc as u32).0;
                cells.reads[cell] = 0;
            }
            return Ok(());
        }
        let segment = self.observer.order.warps[(thread / 32) as usize].segment;
        let kind = match (self.memory.strength, self.memory.kind) {
            (Strength::Weak, _) => WEAK,
            (Strength::Block, _) => STRONG_BLOCK,
            (Strength::Device, MemoryKind::CompareAndSwap) => SWAP,
            (Strength::Device, _) => STRONG_DEVICE,
        };
        let cells = page.cells();
        cells.writes[cell] = Stamp::new(segment, thread, kind, self.looked.pc as u32).0;
        cells.reads[cell] = 0;
        Ok(())
    }

    fn comes_before(&mut self, stamp: Stamp, readers: Readers, thread: u32) -> bool {
        // Nothing there, or something of a block that had this shared memory before.
        stamp == Stamp::NONE
            || self.shared && stamp.segment() < self.observer.order.shared_since
            || self.observer.order.comes_before(stamp, readers, thread)
    }

    /// Whether it does no harm that a swap comes between: a loop around a compare-and-swap begins with a plain load, and tries
    /// again where that was out of date. The words are those that can be swapped.
    fn may_be_swapped(&self) -> bool {
        matches!(self.memory.bytes, 2 | 4 | 8)
    }

    /// Whether this access and a write are both strong, and near enough for it: then they do not race.
    fn both_strong(&self, write: Stamp) -> bool {
        let own_block = || self.observer.order.owns(write.segment());
        match (self.memory.strength, write.kind() & 3) {
            (Strength::Weak, _) | (_, WEAK) => false,
            (Strength::Device, STRONG_DEVICE | SWAP) => true,
            _ => own_block(),
        }
    }

    /// Whether two writes that race write the same, which does no harm: many threads may set one flag.
    fn writes_the_same(&self, other: Stamp, lane: usize, mask: u32) -> bool {
        let Some(values) = &self.looked.values else { return false };
        let Some(value) = values.of_lane(lane) else { return false };
        let offset = self.offsets[lane];
        // Lanes before this one are part of the same store, which is not done yet.
        let thread_of_warp = other.thread() % 32;
        let warp = &self.observer.order.warps[self.observer.warp as usize];
        let same_store = other.segment() == warp.segment
            && other.warp() == self.observer.warp
            && other.operation() == self.looked.pc as u32
            && mask >> thread_of_warp & 1 != 0
            && self.offsets[thread_of_warp as usize] == offset;
        if same_store {
            return values.of_lane(thread_of_warp as usize).as_ref() == Some(&value);
        }
        let is_there = || {
            value.iter().enumerate().all(|(byte, value)| {
                let at = self.host.wrapping_add((offset - self.skew) as usize + byte);
                // SAFETY: the access is in bounds. Others may write there now, so the byte is read atomically.
                let found = unsafe { AtomicU8::from_ptr(at) }.load(Ordering::Relaxed);
                found == *value
            })
        };
        // A block that another thread runs has left its stamp, and stores right after that.
        let waits = if self.observer.order.owns(other.segment()) { 0 } else { STORE_WAITS };
        is_there()
            || (0..waits).any(|_| {
                std::thread::sleep(STORE_WAIT);
                is_there()
            })
    }
}
