//! Accesses to memory under observation: each is compared with the shadow, and leaves its stamp there.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::order::Readers;
use super::shadow::{Locked, PAGE, STRONG_BLOCK, STRONG_DEVICE, STRONG_READ, SWAP, Shadow, Stamp, WEAK};
use super::{Conflict, Observer};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::{ALIGNMENT, Window};
use crate::ops::memory::{LOCAL_BASE, NUMBER, PARAMETER_BASE, SHARED_BASE, WINDOW_SIZE};
use crate::program::{MemoryKind, MemoryUse, Op, Strength};
use crate::ptx::ast::Space;

/// How often, and how long each time, a store of another block is waited for before it counts as one of something else.
const STORE_WAITS: u32 = 20;
const STORE_WAIT: Duration = Duration::from_micros(500);

/// What is wrong with an access.
enum Wrong {
    /// It reads a byte that nothing has written.
    Uninitialised,
    /// Nothing puts it in an order with another one, which is a write or not.
    Race { other: Stamp, other_writes: bool },
}

/// What an asynchronous copy does when it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flight {
    /// It is none: the write is done at once.
    No,
    /// It is issued: from now on the write may be done at any time.
    Issued,
    /// The write is done.
    Landing,
}

/// An access as it is compared with the shadow.
#[derive(Clone, Copy)]
pub(super) struct Looked<'a> {
    pub(super) pc: usize,
    /// The window that probably has the addresses.
    pub(super) window: u32,
    pub(super) memory: &'a MemoryUse,
    /// What is stored, if it is known.
    pub(super) values: Option<Values<'a>>,
    pub(super) flight: Flight,
}

/// Looks at an access before it is executed. Says `false`, and what is wrong, if something is.
///
/// Addresses that are out of bounds or not aligned are passed over: the operation itself reports them.
#[inline(always)]
pub(super) fn watch(warp: &mut Warp<'_>, op: &Op, pc: usize, memory: &MemoryUse, mask: u32) -> bool {
    let values = (memory.kind == MemoryKind::Store).then(|| Values::of(warp, op, memory));
    let looked = Looked { pc, window: op.window & NUMBER, memory, values, flight: Flight::No };
    let addresses = warp.addresses(op);
    look(warp, &looked, &addresses, mask, true)
}

/// Looks at an access at any addresses, and if it is to be counted counts it.
#[inline(always)]
pub(super) fn look(warp: &mut Warp<'_>, looked: &Looked<'_>, addresses: &[u64; 32], mask: u32, counted: bool) -> bool {
    let memory = looked.memory;
    // Generic addresses may be of several spaces.
    let mut left = mask;
    while left != 0 {
        let space = space_of(memory.space, addresses[left.trailing_zeros() as usize]);
        let (mut of_space, mut local) = (left, *addresses);
        if memory.space == Space::Generic {
            of_space = 0;
            for lane in (0..32).filter(|lane| left >> lane & 1 != 0) {
                if space_of(Space::Generic, addresses[lane]) == space {
                    of_space |= 1 << lane;
                    local[lane] = addresses[lane] - base_of(space);
                }
            }
        }
        left &= !of_space;
        let Some((_, observer)) = warp.watched() else { return true };
        if observer.counting && counted {
            observer.counted.access(looked.pc, memory, space, &local, of_space);
        }
        if !(observer.initialised || observer.races) {
            continue;
        }
        let good = match space {
            Space::Shared => watch_shared(warp, looked, &local, of_space),
            Space::Local => watch_local(warp, memory, &local, of_space),
            Space::Global => watch_global(warp, looked, &local, of_space),
            // Nobody writes constants and parameters.
            Space::Generic | Space::Constant | Space::Param => true,
        };
        if !good {
            return false;
        }
    }
    true
}

/// Notes what an access learned that has been executed: a strong read sees what was released there. Whoever writes releases
/// before the value is there, so what is read now is at least what came with the value.
pub(super) fn learn(warp: &mut Warp<'_>, memory: &MemoryUse, addresses: &[u64; 32], mask: u32) {
    let Some((_, observer)) = warp.watched().filter(|(_, observer)| observer.races) else { return };
    let now = memory.acquires || memory.kind != MemoryKind::Load;
    for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
        let space = space_of(memory.space, addresses[lane]);
        let base = if memory.space == Space::Generic { base_of(space) } else { 0 };
        let Observer { order, tracker, warp, .. } = &mut *observer;
        order.strong_read(tracker, *warp, addresses[lane] - base, space == Space::Shared, now);
    }
}

pub(super) fn space_of(space: Space, address: u64) -> Space {
    let within = |base: u64| address.wrapping_sub(base) < WINDOW_SIZE;
    match space {
        Space::Generic if within(SHARED_BASE) => Space::Shared,
        Space::Generic if within(LOCAL_BASE) => Space::Local,
        Space::Generic if within(PARAMETER_BASE) => Space::Param,
        Space::Generic => Space::Global,
        other => other,
    }
}

pub(super) fn base_of(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_BASE,
        Space::Local => LOCAL_BASE,
        Space::Param => PARAMETER_BASE,
        Space::Generic | Space::Global | Space::Constant => 0,
    }
}

/// What faults call such an access.
fn access_of(space: Space, kind: MemoryKind) -> Access {
    match (space, kind) {
        (Space::Shared, MemoryKind::Load) => Access::SharedLoad,
        (Space::Shared, MemoryKind::Store) => Access::SharedStore,
        (Space::Shared, _) => Access::SharedAtomic,
        (Space::Local, MemoryKind::Load) => Access::LocalLoad,
        (Space::Local, _) => Access::LocalStore,
        (_, MemoryKind::Load) => Access::GlobalLoad,
        (_, MemoryKind::Store) => Access::GlobalStore,
        (_, _) => Access::GlobalAtomic,
    }
}

/// Local memory is a thread's own: there is only the question whether it was written.
fn watch_local(warp: &mut Warp<'_>, memory: &MemoryUse, addresses: &[u64; 32], mask: u32) -> bool {
    let Some((_, observer)) = warp.watched() else { return true };
    let bytes = memory.bytes as usize;
    for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
        let at = addresses[lane] as usize;
        if at.checked_add(bytes).is_none_or(|end| end > observer.local_bytes) {
            continue;
        }
        let first = (observer.warp as usize * 32 + lane) * observer.local_bytes + at;
        let written = &mut observer.local[first..first + bytes];
        if memory.kind == MemoryKind::Store {
            written.fill(true);
        } else if !written.iter().all(|written| *written) {
            let (access, address) = (access_of(Space::Local, memory.kind), addresses[lane]);
            let kind = FaultKind::Uninitialised { access, address, bytes: memory.bytes, nearest: None };
            warp.fault(kind, lane as u32);
            return false;
        }
    }
    true
}

#[inline(always)]
fn watch_shared(warp: &mut Warp<'_>, looked: &Looked<'_>, addresses: &[u64; 32], mask: u32) -> bool {
    let memory = looked.memory;
    let size = warp.shared().size;
    let host = warp.shared().host;
    let mask = in_bounds(addresses, mask, 0, size, u64::from(memory.bytes));
    let Some((_, observer)) = warp.watched() else { return true };
    if !(observer.initialised || observer.races) || mask == 0 {
        return true;
    }
    let shared = std::mem::replace(&mut observer.shared, Shadow::new(0));
    let found =
        Lanes { observer, shadow: &shared, addresses, offsets: addresses, memory, looked, host, skew: 0, shared: true };
    let found = found.check(mask);
    observer.shared = shared;
    finish(warp, Space::Shared, memory, addresses, found)
}

#[inline(always)]
fn watch_global(warp: &mut Warp<'_>, looked: &Looked<'_>, addresses: &[u64; 32], mask: u32) -> bool {
    let memory = looked.memory;
    let mut left = mask;
    while left != 0 {
        let address = addresses[left.trailing_zeros() as usize];
        let mut window = warp.window(looked.window);
        if !window.contains(address, 1) {
            match warp.memory().window(address) {
                Some(found) => window = found,
                None => window = Window::NONE,
            }
        }
        let lanes = in_bounds(addresses, left, window.base, window.size, u64::from(memory.bytes));
        if lanes == 0 {
            // The operation will find nothing there either.
            left &= left - 1;
            continue;
        }
        left &= !lanes;
        let Some((_, observer)) = warp.watched() else { return true };
        if window.shadow.is_null() || !(observer.initialised || observer.races) {
            continue;
        }
        // SAFETY: a shadow lives as long as its allocation, which is not freed while kernels run.
        let shadow = unsafe { &*window.shadow };
        let skew = window.base % ALIGNMENT;
        let mut offsets = [0; 32];
        for lane in 0..32 {
            offsets[lane] = addresses[lane].wrapping_sub(window.base).wrapping_add(skew);
        }
        let (offsets, host) = (&offsets, window.host);
        let found =
            Lanes { observer, shadow, addresses, offsets, memory, looked, host, skew, shared: false }.check(lanes);
        if !finish(warp, Space::Global, memory, addresses, found) {
            return false;
        }
    }
    true
}

/// The lanes of `mask` whose bytes are in a window, and aligned.
#[inline(always)]
fn in_bounds(addresses: &[u64; 32], mask: u32, base: u64, size: u64, bytes: u64) -> u32 {
    if size < bytes {
        return 0;
    }
    let mut inside = 0;
    for (lane, address) in addresses.iter().enumerate() {
        let good = address.wrapping_sub(base) <= size - bytes && address & (bytes - 1) == 0;
        inside |= u32::from(good) << lane;
    }
    inside & mask
}

/// Says what is wrong.
fn finish(
    warp: &mut Warp<'_>,
    space: Space,
    memory: &MemoryUse,
    addresses: &[u64; 32],
    found: Result<(), (usize, Wrong)>,
) -> bool {
    let Err((lane, wrong)) = found else { return true };
    let (access, address, bytes) = (access_of(space, memory.kind), addresses[lane], memory.bytes);
    let nearest = if space == Space::Global { warp.memory().nearest(address) } else { None };
    let kind = match wrong {
        Wrong::Uninitialised => FaultKind::Uninitialised { access, address, bytes, nearest },
        Wrong::Race { other, other_writes } => {
            if let Some((_, observer)) = warp.watched() {
                let block = if other.is_in_flight() {
                    Some((observer.order.block, true))
                } else {
                    observer.tracker.block_of(other.segment(), &observer.launch)
                };
                observer.conflict = Some(Conflict { stamp: other, block });
            }
            FaultKind::Race { access, other_writes, address, bytes, nearest }
        }
    };
    warp.fault(kind, lane as u32);
    false
}

/// The registers that a store writes from.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    rows: [Option<&'a [u8]>; 8],
    /// Bytes of a lane in a row, and how many of them are stored.
    stride: usize,
    each: usize,
}

impl<'a> Values<'a> {
    /// Values that are next to one another, `stride` bytes apart, of which `each` are stored.
    pub(super) fn at(bytes: &'a [u8], stride: usize, each: usize) -> Self {
        let mut rows = [None; 8];
        rows[0] = Some(bytes);
        Self { rows, stride, each }
    }

    fn of(warp: &Warp<'a>, op: &Op, memory: &MemoryUse) -> Self {
        let stride = if memory.wide { 8 } else { 4 };
        let each = memory.bytes as usize / (memory.values as usize).max(1);
        let mut rows = [None; 8];
        let count = memory.values as usize;
        let places = [op.d, op.b, op.c, op.e];
        // More than an operation has places for are in a list.
        let slots = if memory.bytes > 16 { warp.list(op.d, count) } else { &places };
        for (row, slot) in rows.iter_mut().zip(slots).take(count) {
            *row = Some(warp.row_bytes(*slot, stride * 32));
        }
        Self { rows, stride, each }
    }

    /// What a lane stores.
    fn of_lane(&self, lane: usize) -> Option<Vec<u8>> {
        let rows = self.rows.iter().flatten();
        let bytes: Vec<u8> = rows.flat_map(|row| row[lane * self.stride..][..self.each].iter().copied()).collect();
        (!bytes.is_empty()).then_some(bytes)
    }
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

impl Rules {
    #[inline(always)]
    fn is_before(&self, cell: u64) -> bool {
        (cell < self.floor) | ((cell >= self.first) & (cell < self.below))
    }

    /// Whether a cell has the stamp of the same thread, in the same segment.
    #[inline(always)]
    fn is_own(cell: u64, stamp: u64) -> bool {
        (cell ^ stamp) >> 22 == 0
    }

    #[inline(always)]
    fn may_read(&self, write: u64, stamp: u64) -> bool {
        (write >= self.written) & (!self.races | self.is_before(write) | Self::is_own(write, stamp))
    }

    #[inline(always)]
    fn may_write(&self, write: u64, read: u64, stamp: u64) -> bool {
        let alone = read >> 19 & 3 == Readers::One as u64;
        let unread = self.is_before(read) | (Self::is_own(read, stamp) & alone);
        !self.races | ((self.is_before(write) | Self::is_own(write, stamp)) & unread)
    }

    /// What becomes of the stamp of the readers when one more reads, if that is clear.
    #[inline(always)]
    fn next_read(&self, read: u64, stamp: u64) -> (u64, bool) {
        let (by, strong) = (read >> 19 & 3, read >> 21 & 1 != 0);
        let alone = by == Readers::One as u64;
        let replaced = self.is_before(read) | (Self::is_own(read, stamp) & alone & !strong);
        let in_block = (read >= self.first) & (read < self.end);
        let same_warp = ((read ^ stamp) >> 27 == 0) & (by <= Readers::Lanes as u64);
        // Many that this one belongs to stay as they are. (A lane of the same warp and segment is in no order with it.)
        let kept = (by == Readers::Blocks as u64)
            | (in_block & (self.newest == 0) & (by == Readers::Warps as u64))
            | same_warp;
        let lanes = if same_warp & alone { (Readers::Lanes as u64) << 19 } else { 0 };
        // A reader of another block makes them blocks; the newest segment is kept.
        let joined = !in_block & (self.newest == 0);
        let newest = (read >> 32).max(stamp >> 32) << 32;
        let blocks = newest | (read & ((1 << 32) - 1) & !(7 << 19)) | (Readers::Blocks as u64) << 19;
        let new = if replaced {
            stamp
        } else if kept {
            read | lanes
        } else {
            blocks
        };
        (new, !self.races | replaced | (!strong & (read >= self.newest) & (kept | joined)))
    }
}

/// The lanes of an access to one allocation.
struct Lanes<'o, 'a> {
    observer: &'o mut Observer,
    shadow: &'o Shadow,
    addresses: &'o [u64; 32],
    /// Where each lane's bytes are in the shadow.
    offsets: &'o [u64; 32],
    memory: &'o MemoryUse,
    looked: &'o Looked<'a>,
    /// The memory itself, and what offsets in the shadow are more than those in it.
    host: *mut u8,
    skew: u64,
    shared: bool,
}

impl Lanes<'_, '_> {
    fn is_strong(&self) -> bool {
        self.memory.strength != Strength::Weak
    }

    /// Stamps up to here are of blocks that had this shared memory before: there is nothing written.
    fn unwritten_below(&self) -> u32 {
        if self.shared { self.observer.order.first() } else { 1 }
    }

    /// Weak accesses are checked fast, all lanes at once or one by one; what is not clear that way is checked by all rules.
    #[inline(always)]
    fn check(mut self, mask: u32) -> Result<(), (usize, Wrong)> {
        let mut left = mask;
        if !self.is_strong() && self.observer.order.gap.1 == 0 && self.looked.flight != Flight::Issued {
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
        let start = |segment: u32| u64::from(segment) << 32;
        let initialised = self.observer.initialised;
        Rules {
            races: self.observer.races,
            written: start(if initialised { self.unwritten_below() } else { 0 }),
            floor: start(if self.shared { order.first() } else { warp.floor }),
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
        let (writes, reads) = (&mut cells.writes[range.clone()], &mut cells.reads[range]);
        let first = rules.stamp + (u64::from(first_lane) << 22);
        let stamp = |index: usize| first + ((index as u64 >> shift) << 22);
        let mut good = true;
        if self.memory.kind == MemoryKind::Load {
            for (index, (write, read)) in writes.iter().zip(reads.iter()).enumerate() {
                good &= rules.may_read(*write, stamp(index)) & rules.next_read(*read, stamp(index)).1;
            }
            if good && rules.races {
                for (index, read) in reads.iter_mut().enumerate() {
                    *read = rules.next_read(*read, stamp(index)).0;
                }
            }
        } else {
            for (index, (write, read)) in writes.iter().zip(reads.iter()).enumerate() {
                good &= rules.may_write(*write, *read, stamp(index));
            }
            if good {
                for (index, write) in writes.iter_mut().enumerate() {
                    *write = stamp(index);
                }
                reads.fill(0);
            }
        }
        good
    }

    /// The lanes that load what two lanes before them load. For the stamp of the readers two are as good as many.
    #[inline(always)]
    fn repeated(&self, mask: u32) -> u32 {
        let mut same = 0;
        for lane in 1..32 {
            same |= u32::from(self.offsets[lane] == self.offsets[lane - 1]) << lane;
        }
        // only where the lanes before take part
        let pairs = same & mask & mask << 1;
        pairs & pairs << 1
    }

    /// Checks each lane that is clearly in order. The others are returned, and nothing is changed for them.
    #[inline(always)]
    fn check_apart(&mut self, rules: &Rules, mask: u32) -> u32 {
        let (shadow, bytes) = (self.shadow, self.memory.bytes as usize);
        let is_load = self.memory.kind == MemoryKind::Load;
        let mut unclear = 0;
        let mut left = if is_load { mask & !self.repeated(mask) } else { mask };
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
                let stamp = rules.stamp + ((lane as u64) << 22);
                let cells = page.cells();
                let range = cells.range((offset % PAGE) as usize, bytes, bytes);
                let (writes, reads) = (&mut cells.writes[range.clone()], &mut cells.reads[range]);
                let each = || writes.iter().zip(reads.iter());
                let good = if is_load {
                    each().all(|(write, read)| rules.may_read(*write, stamp) & rules.next_read(*read, stamp).1)
                } else {
                    each().all(|(write, read)| rules.may_write(*write, *read, stamp))
                };
                if !good {
                    unclear |= 1 << lane;
                } else if !is_load {
                    writes.fill(stamp);
                    reads.fill(0);
                } else if rules.races {
                    reads.iter_mut().for_each(|read| *read = rules.next_read(*read, stamp).0);
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
        let Observer { order, tracker, warp, .. } = &mut *self.observer;
        let MemoryUse { kind, releases, strength, .. } = *self.memory;
        if kind != MemoryKind::Load {
            if releases {
                order.fence(tracker, *warp, 1 << lane, strength == Strength::Device);
            }
            order.strong_write(tracker, *warp, lane as u32, self.addresses[lane], self.shared);
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
        if self.observer.races {
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
            || self.shared && stamp.segment() < self.observer.order.first()
            || self.observer.order.comes_before(stamp, readers, thread)
    }

    /// Whether it does no harm that a swap comes between: a loop around a compare-and-swap begins with a plain load, and tries
    /// again where that was out of date. The words are those that can be swapped.
    fn may_be_swapped(&self) -> bool {
        matches!(self.memory.bytes, 4 | 8)
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
