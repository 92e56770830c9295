//! Accesses to memory under observation: what each is to be compared with, and what is said if something is wrong.

use super::compare::{Lanes, Wrong};
use super::{Conflict, Observer};
use crate::exec::{RANK_SHIFT, Warp};
use crate::fault::{Access, FaultKind};
use crate::memory::{ALIGNMENT, Window};
use crate::ops::memory::{LOCAL_BASE, NUMBER, OF_CLUSTER, PARAMETER_BASE, SHARED_BASE, WINDOW_SIZE};
use crate::program::{MemoryKind, MemoryUse, Op};
use crate::ptx::ast::Space;

/// What an asynchronous copy does when it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flight {
    /// It is none: the write is done at once.
    No,
    /// It is issued: from now on the write may be done at any time.
    Issued,
    /// The write is done.
    Landing,
    /// The write is done, in the name of a thread that waited for it: what it may race with saw that it was issued.
    Landed,
}

impl Flight {
    /// Whether such an access is compared as others are.
    pub(super) fn is_compared_fast(self) -> bool {
        matches!(self, Self::No | Self::Landing)
    }
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
    /// Whether shared memory may be that of another block of the cluster.
    pub(super) of_cluster: bool,
}

/// Looks at an access before it is executed. Says `false`, and what is wrong, if something is.
///
/// Addresses that are out of bounds or not aligned are passed over: the operation itself reports them.
#[inline(always)]
pub(super) fn watch(
    warp: &mut Warp<'_>,
    op: &Op,
    pc: usize,
    (memory, used_bytes): (&MemoryUse, Option<u32>),
    mask: u32,
) -> bool {
    let values = (memory.kind == MemoryKind::Store).then(|| Values::of(warp, op, memory));
    let of_cluster = op.window & OF_CLUSTER != 0 || memory.space == Space::Generic;
    let looked = Looked { pc, window: op.window & NUMBER, memory, values, flight: Flight::No, of_cluster };
    let addresses = warp.addresses(op);
    match used_bytes {
        Some(used) if memory.kind == MemoryKind::Load => watch_parts(warp, &looked, &addresses, mask, used),
        _ => look(warp, &looked, &addresses, mask, true),
    }
}

/// Looks at those words of a load that the program uses. (The compiler loads more than that where it is faster.)
#[inline(never)]
fn watch_parts(warp: &mut Warp<'_>, looked: &Looked<'_>, addresses: &[u64; 32], mask: u32, used: u32) -> bool {
    let memory = looked.memory;
    if let Some((_, observer)) = warp.watched().filter(|(_, observer)| observer.counting) {
        for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
            let space = space_of(memory.space, addresses[lane]);
            let base = if memory.space == Space::Generic { base_of(space) } else { 0 };
            let mut local = *addresses;
            local[lane] -= base;
            observer.counted.access(looked.pc, memory, space, &local, 1 << lane);
        }
    }
    let bytes = memory.bytes.min(4);
    let part = MemoryUse { bytes, values: 1, ..*memory };
    (0..memory.bytes / bytes).filter(|word| used >> (word * bytes) & ((1 << bytes) - 1) != 0).all(|word| {
        let at = addresses.map(|address| address.wrapping_add(u64::from(word * bytes)));
        look(warp, &Looked { memory: &part, ..*looked }, &at, mask, false)
    })
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
        let shared = space == Space::Shared;
        let address = addresses[lane] - base;
        let Observer { order, tracker, warp, rank, .. } = &mut *observer;
        let address = if shared { common_address(*rank, address) } else { address };
        order.strong_read(tracker, *warp, address, shared, now);
    }
}

/// The address by which all blocks of a cluster know a byte of shared memory that a block of it accesses.
pub(super) fn common_address(rank: u32, address: u64) -> u64 {
    if address >> RANK_SHIFT == 0 { u64::from(rank + 1) << RANK_SHIFT | address } else { address }
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

/// Of the block, or of others of its cluster.
#[inline(always)]
fn watch_shared(warp: &mut Warp<'_>, looked: &Looked<'_>, addresses: &[u64; 32], mask: u32) -> bool {
    let memory = looked.memory;
    let mut left = mask;
    while left != 0 {
        let (window, base) = match looked.of_cluster {
            true => warp.neighbours().window(addresses[left.trailing_zeros() as usize]),
            false => (warp.shared(), 0),
        };
        let lanes = in_bounds(addresses, left, base, window.size, u64::from(memory.bytes));
        if lanes == 0 {
            // The operation will find nothing there either.
            left &= left - 1;
            continue;
        }
        left &= !lanes;
        let mut offsets = *addresses;
        if base != 0 {
            offsets.iter_mut().for_each(|offset| *offset = offset.wrapping_sub(base));
        }
        let Some((_, observer)) = warp.watched().filter(|_| !window.shadow.is_null()) else { return true };
        // SAFETY: the shadow is that of the observer of a block of this cluster, which has not ended.
        let shadow = unsafe { &*window.shadow };
        let (offsets, host) = (&offsets, window.host);
        let found =
            Lanes { observer, shadow, addresses, offsets, memory, looked, host, skew: 0, shared: true }.check(lanes);
        if !finish(warp, Space::Shared, memory, addresses, found) {
            return false;
        }
    }
    true
}

#[inline(always)]
fn watch_global(warp: &mut Warp<'_>, looked: &Looked<'_>, addresses: &[u64; 32], mask: u32) -> bool {
    let memory = looked.memory;
    let mut left = mask;
    while left != 0 {
        let address = addresses[left.trailing_zeros() as usize];
        let mut window = warp.window(looked.window);
        if !window.contains(address, 1) {
            window = warp.memory().window(address).unwrap_or(Window::NONE);
        }
        let lanes = in_bounds(addresses, left, window.base, window.size, u64::from(memory.bytes));
        if lanes == 0 {
            // The operation will find nothing there either.
            left &= left - 1;
            continue;
        }
        left &= !lanes;
        let Some((_, observer)) = warp.watched() else { return true };
        if window.shadow.is_null() {
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
    pub(super) fn of_lane(&self, lane: usize) -> Option<Vec<u8>> {
        let rows = self.rows.iter().flatten();
        let bytes: Vec<u8> = rows.flat_map(|row| row[lane * self.stride..][..self.each].iter().copied()).collect();
        (!bytes.is_empty()).then_some(bytes)
    }
}
