//! Asynchronous copies whose end an `mbarrier` is told, by their bytes or by an arrival.
//!
//! Nobody can know when such a copy is done but by waiting for its `mbarrier`. So it lands as late as may be: when a thread
//! waits there and the phase has not ended. Until then the destination keeps what it held, and a kernel that does not wait
//! computes with that. What a copy takes from global memory it takes when it is issued, and from shared memory when it
//! lands. Those that nobody waits for never land.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::async_copy::Pending;
use super::mbarrier;
use super::memory::find_in_cluster;
use super::reduction::Reduction;
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::Cell;
use crate::observe::Flight;

/// The copies of a cluster that have not landed, in the order of their issue.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<Vec<Transfer>>>);

#[derive(Debug)]
struct Transfer {
    /// The `mbarrier`, by the address that all blocks of the cluster know it by.
    barrier: u64,
    /// The operation that issued it, by its number, if the warp is observed.
    pc: u32,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    /// Bytes that go to shared memory, at an address that all blocks know.
    Bulk { to: u64, data: Data, reduction: Option<Reduction> },
    /// What a thread (block, warp and lane) copied by `cp.async`, and then an arrival.
    Copies { thread: (u32, u32, u32), copies: Vec<Pending> },
}

/// What is copied.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Bytes(Vec<u8>),
    /// So many bytes of shared memory, at an address that all blocks know.
    Shared(u64, u32),
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, Vec<Transfer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, for another cluster.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Issues a copy to shared memory, at an address that all blocks know.
    pub(crate) fn issue(&self, pc: u32, barrier: u64, to: u64, data: Data, reduction: Option<Reduction>) {
        self.lock().push(Transfer { barrier, pc, payload: Payload::Bulk { to, data, reduction } });
    }

    /// Issues an arrival that copies of a thread trigger.
    pub(super) fn arrive_after(&self, pc: u32, barrier: u64, thread: (u32, u32, u32), copies: Vec<Pending>) {
        self.lock().push(Transfer { barrier, pc, payload: Payload::Copies { thread, copies } });
    }

    /// Takes out what `wanted` holds of, the first one.
    fn take(&self, wanted: impl Fn(&Transfer) -> bool) -> Option<Transfer> {
        let mut all = self.lock();
        let place = all.iter().position(wanted)?;
        Some(all.remove(place))
    }
}

/// Lets the first copy land that tells an `mbarrier`, and says whether there was one; `None` if there is a fault.
pub(super) fn land_one(warp: &mut Warp<'_>, barrier: u64, lane: u32) -> Option<bool> {
    let in_flight = warp.neighbours().in_flight().clone();
    match in_flight.take(|transfer| transfer.barrier == barrier) {
        None => Some(false),
        Some(transfer) => land(warp, transfer, lane).then_some(true),
    }
}

/// Lets all copies of a thread land that arrivals wait for, if all of them are of groups before `end`. Says `false` if
/// there is a fault.
pub(super) fn land_of_thread(warp: &mut Warp<'_>, thread: (u32, u32, u32), end: u32) -> bool {
    let in_flight = warp.neighbours().in_flight().clone();
    loop {
        let wanted = |transfer: &Transfer| match &transfer.payload {
            Payload::Copies { thread: of, copies } => *of == thread && copies.iter().all(|copy| copy.group < end),
            Payload::Bulk { .. } => false,
        };
        let Some(transfer) = in_flight.take(wanted) else { return true };
        if !land(warp, transfer, thread.2) {
            return false;
        }
    }
}

/// Says `false` if there is a fault, of a lane.
fn land(warp: &mut Warp<'_>, transfer: Transfer, lane: u32) -> bool {
    let Transfer { barrier, pc, payload } = transfer;
    match payload {
        Payload::Bulk { to, data, reduction } => {
            let bytes = match data {
                Data::Bytes(bytes) => bytes,
                Data::Shared(from, length) => match read_shared(warp, from, length, lane) {
                    Some(bytes) => bytes,
                    None => return false,
                },
            };
            write_shared(warp, to, &bytes, reduction, pc, lane)
                && mbarrier::complete_transactions(warp, barrier, bytes.len() as u32, lane)
        }
        Payload::Copies { thread, copies } => {
            let base = u64::from(thread.0 + 1) << crate::exec::RANK_SHIFT;
            copies.iter().all(|copy| {
                let bytes: Vec<u8> = copy.data.iter().flat_map(|word| word.to_le_bytes()).collect();
                write_shared(warp, base + copy.address, &bytes[..copy.bytes as usize], None, copy.pc, lane)
            }) && mbarrier::arrive(warp, barrier, lane)
        }
    }
}

/// The fault of an access to shared memory that is not there.
fn missing(warp: &mut Warp<'_>, access: Access, address: u64, bytes: usize, lane: u32) {
    let kind = match warp.neighbours().has_ended(address) {
        true => FaultKind::BlockEnded { access, address },
        false => FaultKind::OutOfBounds { access, address, bytes: bytes as u32, nearest: None },
    };
    warp.fault(kind, lane);
}

/// Bytes of the shared memory of the cluster.
pub(super) fn read_shared(warp: &mut Warp<'_>, from: u64, length: u32, lane: u32) -> Option<Vec<u8>> {
    let Some(host) = find_in_cluster(warp, from, u64::from(length)) else {
        missing(warp, Access::SharedLoad, from, length as usize, lane);
        return None;
    };
    // SAFETY: all of the bytes are in the shared memory of a block that has not ended.
    Some(unsafe { read(host, length as usize) })
}

/// So many bytes.
///
/// # Safety
/// `host` is valid for them.
pub(super) unsafe fn read(host: *const u8, length: usize) -> Vec<u8> {
    if length.is_multiple_of(8) && host.addr().is_multiple_of(8) {
        // SAFETY: the caller's word, and the words are aligned.
        let words = (0..length).step_by(8).map(|n| unsafe { u64::load(host.add(n)) });
        return words.flat_map(u64::to_ne_bytes).collect();
    }
    // SAFETY: the caller's word.
    (0..length).map(|n| unsafe { u8::load(host.add(n)) }).collect()
}

/// Writes bytes to the shared memory of the cluster, or reduces them into it. Says `false` if there is a fault.
fn write_shared(warp: &mut Warp<'_>, to: u64, bytes: &[u8], reduction: Option<Reduction>, pc: u32, lane: u32) -> bool {
    let Some(host) = find_in_cluster(warp, to, bytes.len() as u64) else {
        missing(warp, Access::SharedStore, to, bytes.len(), lane);
        return false;
    };
    // SAFETY: all of the bytes are in the shared memory of a block that has not ended, and 16 of them are aligned, or as many
    // as a store has.
    unsafe { write(host, bytes, reduction) };
    warp.observe_flight(crate::ptx::ast::Space::Shared, pc, lane, (to, bytes.len() as u64), Flight::Landed)
}

/// Writes bytes, or reduces them into what is there.
///
/// # Safety
/// `host` is valid for so many bytes, and aligned for the elements of the reduction.
pub(super) unsafe fn write(host: *mut u8, bytes: &[u8], reduction: Option<Reduction>) {
    match reduction {
        // SAFETY: the caller's word.
        Some(reduction) => unsafe { reduction.apply(host, bytes) },
        None if bytes.len().is_multiple_of(8) && host.addr().is_multiple_of(8) => {
            for (n, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
                // SAFETY: the caller's word, and the words are aligned.
                unsafe { u64::from_ne_bytes(*word).store(host.add(8 * n)) };
            }
        }
        None => {
            for (n, byte) in bytes.iter().enumerate() {
                // SAFETY: the caller's word.
                unsafe { byte.store(host.add(n)) };
            }
        }
    }
}
