//! Asynchronous copies of many bytes at once: `cp.async.bulk` and `cp.reduce.async.bulk`, and stores and reductions to the
//! shared memory of the cluster, `st.async` and `red.async`.
//!
//! Copies to shared memory tell an `mbarrier` of their bytes, and land as `transfer` says. Those to global memory are in
//! groups of the thread that issues them, and land when it waits for their group, or ends: until then their source is not
//! read, and a kernel that changes it too early copies that.

use super::memory::find_in_cluster;
use super::reduction::Reduction;
use super::transfer::{self, Data, read_shared};
use super::{Next, Operation, Variants};
use crate::exec::{RANK_SHIFT, Warp};
use crate::fault::{Access, FaultKind};
use crate::observe::Flight;
use crate::program::{MemoryKind, MemoryUse, NO_SLOT, Op, Strength};
use crate::ptx::ast::Space;

/// Addresses of bulk copies, and their sizes, are multiples of this.
const UNIT: u64 = 16;

/// The copies of a warp to global memory that have not landed.
#[derive(Debug, Default)]
pub(crate) struct BulkStores {
    /// In the order of their issue.
    pending: Vec<Store>,
    /// How many groups each lane has committed.
    committed: [u32; 32],
}

#[derive(Debug, Clone)]
struct Store {
    lane: u32,
    pc: u32,
    /// Which of its lane's groups it belongs to, counted from 0.
    group: u32,
    pieces: Vec<Piece>,
    /// Where in shared memory they begin, by an address that all blocks know.
    from: u64,
    reduction: Option<Reduction>,
}

/// Bytes that are together in shared and in global memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// In global memory.
    pub(super) to: u64,
    /// From where the copy begins in shared memory.
    pub(super) from: u64,
    pub(super) bytes: u32,
}

impl BulkStores {
    /// Forgets everything, for another block.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.committed = [0; 32];
    }
}

fn lanes(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

/// Says what is wrong with an address or size.
fn check(warp: &mut Warp<'_>, access: Access, address: u64, bytes: u32, lane: u32) -> bool {
    let kind = if u64::from(bytes) % UNIT != 0 {
        FaultKind::BulkSize { bytes }
    } else if !address.is_multiple_of(UNIT) {
        FaultKind::Misaligned { access, address, bytes: UNIT as u32 }
    } else {
        return true;
    };
    warp.fault(kind, lane);
    false
}

/// Where so many bytes of global memory are.
pub(super) fn find_global(warp: &mut Warp<'_>, access: Access, address: u64, bytes: u32, lane: u32) -> Option<*mut u8> {
    let host = warp.memory().resolve(address, u64::from(bytes));
    if host.is_none() {
        let nearest = warp.memory().nearest(address);
        warp.fault(FaultKind::OutOfBounds { access, address, bytes, nearest }, lane);
    }
    host
}

/// Whether so many bytes are in the shared memory of the cluster.
fn is_in_shared(warp: &mut Warp<'_>, access: Access, address: u64, bytes: u32, lane: u32) -> bool {
    if find_in_cluster(warp, address, u64::from(bytes)).is_some() {
        return true;
    }
    let kind = match warp.neighbours().has_ended(address) {
        true => FaultKind::BlockEnded { access, address },
        false => FaultKind::OutOfBounds { access, address, bytes, nearest: None },
    };
    warp.fault(kind, lane);
    false
}

/// A bulk copy to the shared memory of the cluster. The address of the destination is that of the operation itself;
/// [`Op::d`] is the part with that of the source, which is in shared memory if its [`Op::b`] is 1; [`Op::e`] is the part with
/// that of the `mbarrier`, whose [`Op::b`] is the number of a reduction. [`Op::b`] is the slot of the number of bytes, and
/// [`Op::c`] that of a mask of the blocks that get the copy, each at the same place, instead of the one.
struct ToShared;

impl Operation for ToShared {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if lanes(mask).all(|lane| to_shared(warp, op, lane)) { Next::Step } else { Next::Fault }
    }
}

#[inline(never)]
fn to_shared(warp: &mut Warp<'_>, op: &Op, lane: u32) -> bool {
    let (source, barrier) = (warp.part(op.d), warp.part(op.e));
    let at = lane as usize;
    let (to, from, barrier_at) = (warp.addresses(op)[at], warp.addresses(source)[at], warp.addresses(barrier)[at]);
    let bytes = warp.read::<u32>(op.b)[at];
    let from_shared = source.b == 1;
    let load = if from_shared { Access::SharedLoad } else { Access::GlobalLoad };
    if !check(warp, load, from, bytes, lane) || !check(warp, Access::SharedStore, to, bytes, lane) {
        return false;
    }
    let pc = warp.number_of(op);
    let (space, range) = (if from_shared { Space::Shared } else { Space::Global }, (from, u64::from(bytes)));
    let data = if from_shared {
        if !is_in_shared(warp, load, from, bytes, lane) {
            return false;
        }
        Data::Shared(warp.neighbours().common_address(from), bytes)
    } else {
        let Some(host) = find_global(warp, load, from, bytes, lane) else { return false };
        // SAFETY: `find_global` found so many bytes.
        Data::Bytes(unsafe { transfer::read(host, bytes as usize) })
    };
    if !warp.observe_read(space, pc, lane, range) {
        return false;
    }
    let blocks = if op.c == NO_SLOT { None } else { Some(warp.read::<u32>(op.c)[at]) };
    send(warp, pc, lane, (to, barrier_at), blocks, &data, Reduction::numbered(barrier.b))
}

/// Issues a copy to a place in shared memory, with its `mbarrier`: to these, or to the same ones in each block of a mask. Says
/// `false` if there is a fault.
pub(super) fn send(
    warp: &mut Warp<'_>,
    pc: u32,
    lane: u32,
    (to, barrier): (u64, u64),
    blocks: Option<u32>,
    data: &Data,
    reduction: Option<Reduction>,
) -> bool {
    let bytes = match data {
        Data::Bytes(bytes) => bytes.len() as u32,
        Data::Shared(_, bytes) => *bytes,
    };
    let known = warp.neighbours();
    let pairs: Vec<(u64, u64)> = match blocks {
        None => vec![(known.common_address(to), known.common_address(barrier))],
        Some(blocks) => {
            let in_block = |address: u64, rank: u32| u64::from(rank + 1) << RANK_SHIFT | known.place(address).1;
            let all = (0..16).filter(|rank| blocks >> rank & 1 != 0);
            if let Some(rank) = all.clone().find(|rank| *rank >= known.count()) {
                warp.fault(FaultKind::ClusterRank { rank, blocks: known.count() }, lane);
                return false;
            }
            all.map(|rank| (in_block(to, rank), in_block(barrier, rank))).collect()
        }
    };
    for (to, barrier) in pairs {
        if !is_in_shared(warp, Access::SharedStore, to, bytes, lane)
            || !warp.observe_flight(Space::Shared, pc, lane, (to, u64::from(bytes)), Flight::Issued)
        {
            return false;
        }
        warp.neighbours().in_flight().issue(pc, barrier, to, data.clone(), reduction);
    }
    true
}

/// A bulk copy from shared to global memory. The address of the destination is that of the operation itself; [`Op::d`] is the
/// part with that of the source, [`Op::b`] the slot of the number of bytes, [`Op::c`] the number of a reduction.
struct ToGlobal;

impl Operation for ToGlobal {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        for lane in lanes(mask) {
            let (to, from) = (warp.addresses(op)[lane as usize], warp.addresses(warp.part(op.d))[lane as usize]);
            let bytes = warp.read::<u32>(op.b)[lane as usize];
            if !check(warp, Access::GlobalStore, to, bytes, lane)
                || !check(warp, Access::SharedLoad, from, bytes, lane)
                || !store(warp, op, lane, vec![Piece { to, from: 0, bytes }], from, Reduction::numbered(op.c))
            {
                return Next::Fault;
            }
        }
        Next::Step
    }
}

/// Issues a copy of pieces from shared memory to global memory. Says `false` if there is a fault.
pub(super) fn store(
    warp: &mut Warp<'_>,
    op: &Op,
    lane: u32,
    pieces: Vec<Piece>,
    from: u64,
    reduction: Option<Reduction>,
) -> bool {
    let pc = warp.number_of(op);
    for &Piece { to, from: offset, bytes } in &pieces {
        let (source, length) = (from + offset, u64::from(bytes));
        if !is_in_shared(warp, Access::SharedLoad, source, bytes, lane)
            || find_global(warp, Access::GlobalStore, to, bytes, lane).is_none()
            || !warp.observe_read(Space::Shared, pc, lane, (source, length))
        {
            return false;
        }
        let good = match reduction {
            None => warp.observe_flight(Space::Global, pc, lane, (to, length), Flight::Issued),
            Some(reduction) => observe_reduction(warp, op, lane, (to, bytes), reduction),
        };
        if !good {
            return false;
        }
    }
    let from = warp.neighbours().common_address(from);
    let stores = warp.bulk_stores();
    let group = stores.committed[lane as usize];
    stores.pending.push(Store { lane, pc, group, pieces, from, reduction });
    true
}

/// Checks the elements of a reduction, each of which is an atomic operation.
fn observe_reduction(
    warp: &mut Warp<'_>,
    op: &Op,
    lane: u32,
    (address, bytes): (u64, u32),
    reduction: Reduction,
) -> bool {
    let use_of = MemoryUse::weak(Space::Global, reduction.bytes as u32, MemoryKind::Atomic);
    let memory = MemoryUse { strength: Strength::Device, ..use_of };
    !warp.is_observed()
        || (0..bytes as usize).step_by(reduction.bytes).all(|offset| {
            let mut addresses = [0; 32];
            addresses[lane as usize] = address + offset as u64;
            warp.observe(op, &memory, &addresses, 1 << lane)
        })
}

/// `cp.async.bulk.commit_group`
struct Commit;

impl Operation for Commit {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, mask: u32) -> Next {
        for (lane, committed) in warp.bulk_stores().committed.iter_mut().enumerate() {
            *committed = committed.saturating_add(mask >> lane & 1);
        }
        Next::Step
    }
}

/// `cp.async.bulk.wait_group`: all but the latest groups, whose number is [`Op::immediate`].
struct WaitGroup;

impl Operation for WaitGroup {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let latest = u32::try_from(op.immediate).unwrap_or(u32::MAX);
        let good = land(warp, mask, |store, committed| store.group < committed.saturating_sub(latest));
        if good { Next::Step } else { Next::Fault }
    }
}

/// Lets all copies of some lanes land. Says `false` if there is a fault.
pub(crate) fn land_all(warp: &mut Warp<'_>, mask: u32) -> bool {
    warp.bulk_stores().pending.is_empty() || land(warp, mask, |_, _| true)
}

fn land(warp: &mut Warp<'_>, mask: u32, landing: impl Fn(&Store, u32) -> bool) -> bool {
    let stores = warp.bulk_stores();
    let committed = stores.committed;
    let lands = |store: &mut Store| mask >> store.lane & 1 != 0 && landing(store, committed[store.lane as usize]);
    let ready: Vec<Store> = stores.pending.extract_if(.., lands).collect();
    ready.into_iter().all(|store| land_store(warp, &store))
}

fn land_store(warp: &mut Warp<'_>, store: &Store) -> bool {
    for &Piece { to, from, bytes: length } in &store.pieces {
        let Some(bytes) = read_shared(warp, store.from + from, length, store.lane) else { return false };
        let Some(host) = find_global(warp, Access::GlobalStore, to, length, store.lane) else { return false };
        // SAFETY: `find_global` found so many bytes, and pieces begin at multiples of an element.
        unsafe { transfer::write(host, &bytes, store.reduction) };
        let range = (to, u64::from(length));
        if store.reduction.is_none() && !warp.observe_flight(Space::Global, store.pc, store.lane, range, Flight::Landed)
        {
            return false;
        }
    }
    true
}

/// `st.async` and `red.async` of the values in the list at [`Op::d`], [`Op::b`] of them with [`Op::c`] bytes each. [`Op::e`] is
/// the part with the address of the `mbarrier`, as of [`ToShared`].
struct StoreAsync;

impl Operation for StoreAsync {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if lanes(mask).all(|lane| store_async(warp, op, lane)) { Next::Step } else { Next::Fault }
    }
}

#[inline(never)]
fn store_async(warp: &mut Warp<'_>, op: &Op, lane: u32) -> bool {
    let barrier = warp.part(op.e);
    let (to, barrier_at) = (warp.addresses(op)[lane as usize], warp.addresses(barrier)[lane as usize]);
    let each = op.c as usize;
    let mut bytes = Vec::new();
    for &slot in warp.list(op.d, op.b as usize) {
        let value = if each == 8 {
            warp.read::<u64>(slot)[lane as usize]
        } else {
            u64::from(warp.read::<u32>(slot)[lane as usize])
        };
        bytes.extend_from_slice(&value.to_le_bytes()[..each]);
    }
    if to % bytes.len() as u64 != 0 {
        let (access, bytes) = (Access::SharedStore, bytes.len() as u32);
        warp.fault(FaultKind::Misaligned { access, address: to, bytes }, lane);
        return false;
    }
    let pc = warp.number_of(op);
    send(warp, pc, lane, (to, barrier_at), None, &Data::Bytes(bytes), Reduction::numbered(barrier.b))
}

/// A bulk copy to shared memory
pub(crate) const TO_SHARED: Variants = Variants::of::<ToShared>();
/// A bulk copy to global memory
pub(crate) const TO_GLOBAL: Variants = Variants::of::<ToGlobal>();
/// `cp.async.bulk.commit_group`
pub(crate) const COMMIT: Variants = Variants::of::<Commit>();
/// `cp.async.bulk.wait_group`
pub(crate) const WAIT_GROUP: Variants = Variants::of::<WaitGroup>();
/// `st.async` and `red.async`
pub(crate) const STORE_ASYNC: Variants = Variants::of::<StoreAsync>();
