//! Memory that graphs allocate and free. Its address is fixed when the node is made, and so is the memory behind it; what
//! a launch does is to let it hold nothing any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::driver::code::{Code, Result};
use crate::driver::context::locked;
use crate::driver::device::Device;
use crate::driver::engine::ENGINE;
use crate::memory::MemoryError;

/// What memory holds that nothing was written to: NaN of every floating-point type.
const POISON: u8 = 0xFF;

/// Memory of an allocation node.
#[derive(Debug)]
pub(crate) struct GraphMemory {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    device: &'static Device,
    /// The parameters as they were given, for whoever asks for them.
    pub(crate) properties: [u64; 11],
    /// Whether its own graph frees it, and whether another graph does.
    freed_by_own: AtomicBool,
    freed_by_other: AtomicBool,
}

/// All memory of graphs, by address.
static ALL: Mutex<BTreeMap<u64, Weak<GraphMemory>>> = Mutex::new(BTreeMap::new());

/// What launches have allocated and nothing has freed. It stays even when the graph is destroyed.
static LIVE: Mutex<BTreeMap<u64, Arc<GraphMemory>>> = Mutex::new(BTreeMap::new());

/// The most bytes that were live, and that were there, at once; for each device.
static HIGH: [[AtomicU64; 2]; 16] = [const { [const { AtomicU64::new(0) }; 2] }; 16];

impl GraphMemory {
    /// Memory for a new allocation node.
    pub(crate) fn new(device: &'static Device, bytes: u64, properties: [u64; 11]) -> Result<Arc<Self>> {
        let address = device.memory.allocate(bytes).map_err(|error| match error {
            MemoryError::Full => Code::OUT_OF_MEMORY,
            MemoryError::Zero | MemoryError::NotAllocated => Code::INVALID_VALUE,
        })?;
        let (freed_by_own, freed_by_other) = (AtomicBool::new(false), AtomicBool::new(false));
        let memory = Arc::new(Self { address, bytes, device, properties, freed_by_own, freed_by_other });
        locked(&ALL).insert(address, Arc::downgrade(&memory));
        note_high(device);
        Ok(memory)
    }

    /// The memory of an allocation node, by its first address.
    pub(crate) fn find(address: u64) -> Result<Arc<Self>> {
        locked(&ALL).get(&address).and_then(Weak::upgrade).ok_or(Code::INVALID_VALUE)
    }

    /// Notes that a graph has a node that frees it: its own graph, or another one, but not both.
    pub(super) fn add_free_node(&self, own: bool) -> Result<()> {
        let (this, other) =
            if own { (&self.freed_by_own, &self.freed_by_other) } else { (&self.freed_by_other, &self.freed_by_own) };
        if other.load(Ordering::Acquire) || (own && this.load(Ordering::Acquire)) {
            return Err(Code::INVALID_VALUE);
        }
        this.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn is_live(&self) -> bool {
        locked(&LIVE).contains_key(&self.address)
    }

    /// From now on it is allocated.
    pub(super) fn begin(self: &Arc<Self>) {
        locked(&LIVE).insert(self.address, Arc::clone(self));
        note_high(self.device);
    }

    /// From now on it is not.
    pub(super) fn end(&self) {
        // The last owner may be this list; what is dropped takes another lock.
        let ended = locked(&LIVE).remove(&self.address);
        drop(ended);
    }

    /// What the device does to allocate it: it holds nothing.
    pub(crate) fn clear(&self) {
        if let Some(at) = self.device.memory.resolve(self.address, self.bytes) {
            // SAFETY: `resolve` found the bytes, and no kernel runs while the engine does other work.
            unsafe { at.write_bytes(POISON, self.bytes as usize) };
        }
    }
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        locked(&ALL).remove(&self.address);
        // It was allocated in `new`, and is freed only here.
        let _ = self.device.memory.free(self.address);
    }
}

/// Frees what a graph has left allocated, and whether there is such memory. It may be used until the work so far is done,
/// which is waited for if the caller says so.
pub(crate) fn free_outside(address: u64, wait: bool) -> bool {
    let freed = locked(&LIVE).remove(&address);
    if let Some(memory) = freed.as_ref().filter(|_| wait) {
        ENGINE.wait_for_uses(memory.address, memory.bytes);
    }
    freed.is_some()
}

/// Bytes that are live, and bytes that there are.
fn current(device: &Device) -> [u64; 2] {
    let of_it = |memory: &Arc<GraphMemory>| std::ptr::eq(memory.device, device);
    let live = locked(&LIVE).values().filter(|memory| of_it(memory)).map(|memory| memory.bytes).sum();
    let all: Vec<_> = locked(&ALL).values().filter_map(Weak::upgrade).collect();
    [live, all.iter().filter(|memory| of_it(memory)).map(|memory| memory.bytes).sum()]
}

fn note_high(device: &Device) {
    for (high, now) in HIGH[device.index].iter().zip(current(device)) {
        high.fetch_max(now, Ordering::Relaxed);
    }
}

/// `CUgraphMem_attribute`: used now and at most, reserved now and at most; in bytes.
pub(crate) fn statistics(device: &Device) -> [u64; 4] {
    let [live, all] = current(device);
    let [most_live, most] = &HIGH[device.index];
    [live, most_live.load(Ordering::Relaxed), all, most.load(Ordering::Relaxed)]
}

/// Starts the count of what there was at most anew: of what is live, or of what there is.
pub(crate) fn reset_high(device: &Device, which: usize) {
    HIGH[device.index][which].store(current(device)[which], Ordering::Relaxed);
}
