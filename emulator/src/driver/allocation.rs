//! What programs have allocated: device memory, memory of pools, managed memory, pinned and registered host memory.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::checking;
use super::code::{Code, Result};
use super::context::{Context, locked};
use super::device::{DEVICES, Device};
use super::engine::ENGINE;
use super::pool::Pool;
use crate::memory::MemoryError;

/// How memory was had.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// From `cuMemAlloc`.
    Device,
    /// From a pool, in the order of a stream.
    Pool(Arc<Pool>),
    /// From `cuMemAllocManaged`: host memory that devices may use.
    Managed,
    /// From `cuMemHostAlloc`, with its flags.
    Pinned(u32),
    /// Of the program, lent with `cuMemHostRegister`.
    Registered,
}

impl Kind {
    /// Whether it is memory of the host.
    pub(crate) fn is_of_host(&self) -> bool {
        matches!(self, Self::Managed | Self::Pinned(_) | Self::Registered)
    }
}

/// One allocation.
#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    pub(crate) base: u64,
    pub(crate) bytes: u64,
    pub(crate) kind: Kind,
    pub(crate) context: Arc<Context>,
    pub(crate) device: &'static Device,
    /// Its number in the order in which memory was allocated.
    pub(crate) sequence: u64,
    /// Whether the program asked that synchronous copies of this memory are always synchronous.
    pub(crate) synchronous: bool,
}

/// The live allocations, by first address.
static ALLOCATIONS: Mutex<BTreeMap<u64, Allocation>> = Mutex::new(BTreeMap::new());

/// Numbers allocations.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn remember(device: &'static Device, context: &Arc<Context>, base: u64, bytes: u64, kind: Kind) {
    let sequence = NEXT.fetch_add(1, Ordering::Relaxed);
    let context = Arc::clone(context);
    let allocation = Allocation { base, bytes, kind, context, device, sequence, synchronous: false };
    locked(&ALLOCATIONS).insert(base, allocation);
}

/// Every allocation.
pub(crate) fn all() -> Vec<Allocation> {
    locked(&ALLOCATIONS).values().cloned().collect()
}

/// The allocation that an address lies in.
pub(crate) fn find(address: u64) -> Option<Allocation> {
    let allocations = locked(&ALLOCATIONS);
    let (_, allocation) = allocations.range(..=address).next_back()?;
    (address - allocation.base < allocation.bytes).then(|| allocation.clone())
}

/// Changes the allocation that an address lies in.
pub(crate) fn change(address: u64, change: impl FnOnce(&mut Allocation)) -> Result<()> {
    let mut allocations = locked(&ALLOCATIONS);
    let found = allocations.range_mut(..=address).next_back().map(|(_, allocation)| allocation);
    found.filter(|found| address - found.base < found.bytes).map(change).ok_or(Code::INVALID_VALUE)
}

/// Takes the allocation that starts at an address out of the list, if `condition` holds for it.
fn take(base: u64, condition: impl FnOnce(&Allocation) -> bool) -> Option<Allocation> {
    let mut allocations = locked(&ALLOCATIONS);
    allocations.get(&base).filter(|found| condition(found))?;
    allocations.remove(&base)
}

/// Allocates memory of a context's device.
pub(crate) fn allocate(context: &Arc<Context>, bytes: u64, kind: Kind) -> Result<u64> {
    allocate_on(context.device, context, bytes, kind)
}

/// Allocates memory of any device.
pub(crate) fn allocate_on(device: &'static Device, context: &Arc<Context>, bytes: u64, kind: Kind) -> Result<u64> {
    let address = device.memory.allocate(bytes).map_err(|error| match error {
        MemoryError::Full => Code::OUT_OF_MEMORY,
        MemoryError::Zero | MemoryError::NotAllocated => Code::INVALID_VALUE,
    })?;
    remember(device, context, address, bytes, kind);
    Ok(address)
}

/// Allocates host memory that devices may use, zeroed.
pub(crate) fn allocate_host(context: &Arc<Context>, bytes: usize, kind: Kind) -> Result<*mut c_void> {
    let layout = host_layout(bytes).filter(|_| bytes > 0).ok_or(Code::INVALID_VALUE)?;
    // SAFETY: the layout is not empty.
    let at = unsafe { std::alloc::alloc_zeroed(layout) };
    if at.is_null() {
        return Err(Code::OUT_OF_MEMORY);
    }
    map(at as u64, bytes as u64);
    remember(context.device, context, at as u64, bytes as u64, kind);
    Ok(at.cast())
}

/// Lets devices use host memory of the program.
pub(crate) fn register(context: &Arc<Context>, address: u64, bytes: u64) -> Result<()> {
    let end = address.checked_add(bytes).ok_or(Code::INVALID_VALUE)?;
    let overlaps =
        locked(&ALLOCATIONS).range(..end).next_back().is_some_and(|(_, last)| last.base + last.bytes > address);
    if overlaps {
        return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
    }
    map(address, bytes);
    remember(context.device, context, address, bytes, Kind::Registered);
    Ok(())
}

/// Takes registered memory back, once nothing uses it.
pub(crate) fn unregister(address: u64) -> Result<()> {
    checking::freed(address);
    let registered = take(address, |found| matches!(found.kind, Kind::Registered));
    release(&registered.ok_or(Code::HOST_MEMORY_NOT_REGISTERED)?);
    Ok(())
}

/// Frees device memory, managed memory or memory of a pool, once nothing uses it.
pub(crate) fn free(address: u64) -> Result<()> {
    let freed = take(address, |found| matches!(found.kind, Kind::Device | Kind::Pool(_) | Kind::Managed));
    release(&freed.ok_or(Code::INVALID_VALUE)?);
    Ok(())
}

/// Frees pinned host memory, once nothing uses it.
pub(crate) fn free_host(address: u64) -> Result<()> {
    checking::freed(address);
    let freed = take(address, |found| matches!(found.kind, Kind::Pinned(_)));
    release(&freed.ok_or(Code::INVALID_VALUE)?);
    Ok(())
}

/// Forgets memory that a stream is about to free, and returns what it was.
pub(crate) fn disown(address: u64) -> Result<Allocation> {
    take(address, |found| matches!(found.kind, Kind::Device | Kind::Pool(_))).ok_or(Code::INVALID_VALUE)
}

/// Frees all memory of a context whose work is done.
pub(crate) fn free_all_of(context: &Arc<Context>) {
    let of_it = |_: &u64, found: &mut Allocation| Arc::ptr_eq(&found.context, context);
    let owned: Vec<Allocation> = locked(&ALLOCATIONS).extract_if(.., of_it).map(|(_, found)| found).collect();
    owned.iter().for_each(release);
}

/// Gives memory back that is in the list no more, once nothing uses it.
fn release(allocation: &Allocation) {
    let Allocation { base, bytes, kind, device, .. } = allocation;
    ENGINE.wait_for(&allocation.context);
    if kind.is_of_host() {
        // Work of other contexts may have it by its own address.
        ENGINE.wait_for_uses(*base, *bytes);
    }
    ENGINE.between_work(|| match kind {
        Kind::Device => {
            // It was in the list, so it was not freed before.
            let _ = device.memory.free(*base);
        }
        Kind::Pool(pool) => pool.give_back(*base, *bytes),
        Kind::Registered => unmap(*base),
        Kind::Managed | Kind::Pinned(_) => {
            unmap(*base);
            if let Some(layout) = host_layout(*bytes as usize) {
                // SAFETY: it was in the list, so `allocate_host` made it with this layout and nothing has freed it.
                unsafe { std::alloc::dealloc(*base as *mut u8, layout) };
            }
        }
    });
}

fn host_layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, 4096).ok()
}

fn map(address: u64, bytes: u64) {
    DEVICES.iter().for_each(|device| device.memory.map_host(address, bytes));
}

fn unmap(address: u64) {
    for device in &*DEVICES {
        // `map` told every device.
        let _ = device.memory.unmap_host(address);
    }
}
