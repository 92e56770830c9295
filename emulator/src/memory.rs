//! Device memory: allocations in a virtual address space where every one is alone in a window of its own.
//!
//! A window is a whole number of granules, at least one granule longer than its allocation, and an address finds its
//! window through a table with one entry a granule. So an access past the end of a buffer never lands in another one,
//! and looking an address up costs two loads. Windows of freed memory are not used again, and an access there is
//! reported as what it is.
//!
//! Large allocations are mapped without a reservation: they take host memory only for the pages that are touched, and
//! may be larger than all the memory there is.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use memmap2::{MmapMut, MmapOptions};

use crate::observe::order::Tracker;
use crate::observe::shadow::Shadow;

/// The alignment of every allocation, as `cuMemAlloc` promises at least.
pub(crate) const ALIGNMENT: u64 = 512;

const GRANULE_BITS: u32 = 16;
const GRANULE: u64 = 1 << GRANULE_BITS;

/// Device addresses start here: above what a 32-bit mistake could make, below where Linux puts host memory.
const BASE: u64 = 1 << 40;
/// Device addresses end here: below where Linux puts programs and their libraries.
const END: u64 = 1 << 46;

/// Allocations up to this size are filled with [`POISON`], so that reading what nothing wrote shows; larger ones are
/// mapped, and zero until they are written.
const POISONED: u64 = 16 << 20;
/// Makes NaN of every floating-point type and a large number of every integer type.
const POISON: u8 = 0xFF;

/// Memory that one allocation spans, with where the host finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) host: *mut u8,
    /// Who wrote and read it, where that is watched; else null. Its first byte is that at the multiple of [`ALIGNMENT`]
    /// before `base`.
    pub(crate) shadow: *const Shadow,
}

impl Window {
    /// A window with no memory: every access misses it.
    pub(crate) const NONE: Self = Self { base: 0, size: 0, host: std::ptr::null_mut(), shadow: std::ptr::null() };

    /// Memory that is not watched.
    pub(crate) fn new(base: u64, size: u64, host: *mut u8) -> Self {
        Self { base, size, host, shadow: std::ptr::null() }
    }

    /// Whether `length` bytes at `address` lie inside.
    #[inline(always)]
    pub(crate) fn contains(&self, address: u64, length: u64) -> bool {
        let offset = address.wrapping_sub(self.base);
        offset < self.size && length <= self.size - offset
    }
}

/// What an address that cannot be used is nearest to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    /// The first address of the allocation.
    pub base: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was freed.
    pub freed: bool,
}

/// Host memory of an allocation.
#[derive(Debug)]
enum Host {
    /// Of the host's allocator.
    Heap(*mut u8, Layout),
    /// Pages of its own.
    Mapped(#[expect(dead_code, reason = "it is kept to be unmapped when it is dropped")] MmapMut),
    /// There is none: it was freed, or never had bytes.
    None { freed: bool },
}

impl Host {
    /// Zeroed memory, and where in it `size` bytes begin that are aligned as the device promises.
    fn new(size: u64) -> Option<(Self, *mut u8)> {
        if size == 0 {
            return Some((Self::None { freed: false }, std::ptr::null_mut()));
        }
        let length = usize::try_from(size.checked_add(ALIGNMENT)?).ok()?;
        let (memory, raw) = if size > POISONED {
            let mut map = MmapOptions::new().len(length).no_reserve_swap().map_anon().ok()?;
            let raw = map.as_mut_ptr();
            (Self::Mapped(map), raw)
        } else {
            // Asking for the alignment instead of making room for it would touch every page.
            let layout = Layout::from_size_align(length, 1).ok()?;
            // SAFETY: the size is not zero.
            let raw = unsafe { alloc_zeroed(layout) };
            (Self::Heap(raw, layout), raw)
        };
        if raw.is_null() {
            return None;
        }
        Some((memory, raw.wrapping_add(raw.align_offset(ALIGNMENT as usize))))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Self::Heap(raw, layout) = *self
            && !raw.is_null()
        {
            // SAFETY: `raw` came from `alloc_zeroed` with this layout, and nobody else frees it.
            unsafe { dealloc(raw, layout) };
        }
    }
}

#[derive(Debug)]
struct Allocation {
    window: Window,
    host: Host,
    shadow: Option<Box<Shadow>>,
}

impl Allocation {
    fn freed(&self) -> bool {
        matches!(self.host, Host::None { freed: true })
    }

    /// Gives the memory back to the host.
    fn release(&mut self) {
        self.host = Host::None { freed: true };
        self.window.host = std::ptr::null_mut();
        self.window.shadow = std::ptr::null();
        self.shadow = None;
    }
}

#[derive(Debug, Default)]
struct State {
    allocations: Vec<Allocation>,
    /// For each granule from [`BASE`]: 1 + the index of the allocation whose window it is in, 0 for none.
    granules: Vec<u32>,
    /// The first address of the device.
    first: u64,
    /// Host memory that kernels may use by its host address (pinned, managed): by first address.
    host: BTreeMap<u64, u64>,
    in_use: u64,
    /// Memory of other devices that kernels may use too.
    peers: Vec<Arc<Memory>>,
}

/// The memory of a device. All methods may be called from several threads.
#[derive(Debug)]
pub(crate) struct Memory {
    state: RwLock<State>,
    capacity: u64,
    /// Whether allocations have shadows.
    watched: bool,
    /// The order of the launches that use this memory.
    tracker: Arc<Tracker>,
    /// The device's addresses.
    addresses: Range<u64>,
}

// SAFETY: the pointers in `State` are to memory that only `Memory` frees, in `free` and when it is dropped.
unsafe impl Send for Memory {}
// SAFETY: as above; shared access to that memory is through atomics (`Cells`) alone.
unsafe impl Sync for Memory {}

/// Why memory could not be had or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryError {
    Zero,
    Full,
    NotAllocated,
}

impl Memory {
    /// Memory of at most `capacity` bytes, where it is watched who writes and reads if `watched` says so.
    pub(crate) fn new(capacity: u64, watched: bool) -> Self {
        Self::share(capacity, watched, 0, 1)
    }

    /// The same, with addresses that none of the other devices of `count` has.
    pub(crate) fn share(capacity: u64, watched: bool, index: u64, count: u64) -> Self {
        let share = (END - BASE) / count / GRANULE * GRANULE;
        let first = BASE + share * index;
        let state = RwLock::new(State { first, ..State::default() });
        Self { state, capacity, watched, tracker: Arc::default(), addresses: first..first + share }
    }

    pub(crate) fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// Notes that the host wrote a range, which is in one allocation, or that it counts as not written. No kernel runs.
    pub(crate) fn set_written(&self, address: u64, bytes: u64, written: bool) {
        let state = self.state();
        if let Some((shadow, offset)) = state.shadow(address, bytes) {
            shadow.set_written(offset, bytes, written);
        }
    }

    /// Notes that a range was copied: what nothing had written is not written now either. No kernel runs.
    pub(crate) fn host_copied(&self, to: u64, from: u64, bytes: u64) {
        let state = self.state();
        match (state.shadow(to, bytes), state.shadow(from, bytes)) {
            (Some((to, to_offset)), Some((from, from_offset))) => to.host_copy(to_offset, from, from_offset, bytes),
            (Some((to, to_offset)), None) => to.set_written(to_offset, bytes, true),
            (None, _) => {}
        }
    }

    /// Makes ready for a launch: the order of accesses is numbered, and the numbers are not endless.
    pub(crate) fn before_launch(&self) {
        if self.tracker.is_used_up() {
            self.state()
                .allocations
                .iter()
                .filter_map(|allocation| allocation.shadow.as_deref())
                .for_each(Shadow::forget_kernels);
            self.tracker.restart();
        }
    }

    /// Whether an address is one of this device.
    pub(crate) fn has(&self, address: u64) -> bool {
        self.addresses.contains(&address)
    }

    /// Sets the memory of other devices that kernels may use too.
    pub(crate) fn set_peers(&self, peers: Vec<Arc<Self>>) {
        let same = |now: &[Arc<Self>]| {
            now.len() == peers.len() && now.iter().zip(&peers).all(|(now, new)| Arc::ptr_eq(now, new))
        };
        if !same(&self.state().peers) {
            self.state_mut().peers = peers;
        }
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn state_mut(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn in_use(&self) -> u64 {
        self.state().in_use
    }

    /// Allocates `size` bytes, not initialised.
    pub(crate) fn allocate(&self, size: u64) -> Result<u64, MemoryError> {
        if size == 0 { Err(MemoryError::Zero) } else { self.allocate_at(size, 0) }
    }

    /// Allocates `size` bytes, not initialised and maybe none, at `offset` bytes past a multiple of [`ALIGNMENT`].
    pub(crate) fn allocate_at(&self, size: u64, offset: u64) -> Result<u64, MemoryError> {
        let offset = offset % ALIGNMENT;
        let mut state = self.state_mut();
        let fits = state.in_use.checked_add(size).is_some_and(|sum| sum <= self.capacity);
        let (start, end) = (state.first + state.granules.len() as u64 * GRANULE, self.addresses.end);
        if !fits || size > END - BASE || (size + offset).div_ceil(GRANULE) + 1 > (end - start) / GRANULE {
            return Err(MemoryError::Full);
        }
        let granules = (size + offset).div_ceil(GRANULE) + 1;
        let (memory, raw) = Host::new(size + offset).ok_or(MemoryError::Full)?;
        let (base, host) = (start + offset, raw.wrapping_add(offset as usize));
        if size <= POISONED {
            // SAFETY: `host` has `size` bytes.
            unsafe { host.write_bytes(POISON, size as usize) };
        }
        let shadow = self.watched.then(|| Box::new(Shadow::new(size + offset)));
        let watched = shadow.as_deref().map_or(std::ptr::null(), std::ptr::from_ref);
        let window = Window { shadow: watched, ..Window::new(base, size, host) };
        state.allocations.push(Allocation { window, host: memory, shadow });
        let number = state.allocations.len() as u32;
        let length = state.granules.len() + granules as usize;
        state.granules.resize(length, number);
        state.in_use += size;
        Ok(base)
    }

    /// Frees the allocation that starts at `base`. The caller knows that no kernel or copy uses it any more.
    pub(crate) fn free(&self, base: u64) -> Result<(), MemoryError> {
        let mut state = self.state_mut();
        let index = state.index(base).ok_or(MemoryError::NotAllocated)?;
        let allocation = &mut state.allocations[index];
        if allocation.freed() || allocation.window.base != base {
            return Err(MemoryError::NotAllocated);
        }
        allocation.release();
        state.in_use -= state.allocations[index].window.size;
        Ok(())
    }

    /// Lets kernels use host memory by its own address.
    pub(crate) fn map_host(&self, address: u64, size: u64) {
        self.state_mut().host.insert(address, size);
    }

    /// The size of the host memory mapped at exactly `address`, which is mapped no more.
    pub(crate) fn unmap_host(&self, address: u64) -> Option<u64> {
        self.state_mut().host.remove(&address)
    }

    /// The window of the live allocation that `address` is in or just past.
    pub(crate) fn window(&self, address: u64) -> Option<Window> {
        let state = self.state();
        if let Some(index) = state.index(address) {
            let allocation = &state.allocations[index];
            return (!allocation.freed()).then_some(allocation.window);
        }
        if let Some(peer) = state.peers.iter().find(|peer| peer.has(address)) {
            return peer.window(address);
        }
        let (&base, &size) = state.host.range(..=address).next_back()?;
        (address - base < size).then(|| Window::new(base, size, base as *mut u8))
    }

    /// Where the host finds `length` bytes at `address`, if all of them are of one live allocation.
    pub(crate) fn resolve(&self, address: u64, length: u64) -> Option<*mut u8> {
        let window = self.window(address).filter(|window| window.contains(address, length))?;
        // SAFETY: inside the allocation.
        Some(unsafe { window.host.add((address - window.base) as usize) })
    }

    /// The allocation, live or freed, whose window `address` is in or that ends before it.
    pub(crate) fn nearest(&self, address: u64) -> Option<Nearest> {
        let state = self.state();
        let index = state.index(address)?;
        let allocation = &state.allocations[index];
        let Window { base, size, .. } = allocation.window;
        Some(Nearest { base, size, freed: allocation.freed() })
    }
}

impl State {
    /// The shadow of the live allocation that a range is in, and where in it the range begins.
    fn shadow(&self, address: u64, bytes: u64) -> Option<(&Shadow, u64)> {
        let allocation = &self.allocations[self.index(address)?];
        let base = allocation.window.base;
        let shadow = allocation.shadow.as_deref().filter(|_| allocation.window.contains(address, bytes))?;
        Some((shadow, address - base + base % ALIGNMENT))
    }

    fn index(&self, address: u64) -> Option<usize> {
        let granule = address.checked_sub(self.first)? >> GRANULE_BITS;
        let number = *self.granules.get(usize::try_from(granule).ok()?)?;
        (number as usize).checked_sub(1)
    }
}

/// A value that a kernel loads and stores in one piece.
///
/// Blocks run on several threads and may race, as on a GPU, so the accesses are atomic (and free on x86-64 and AArch64).
pub(crate) trait Cell: Copy {
    /// # Safety
    /// `at` is valid for reads, and aligned to the size of `Self`.
    unsafe fn load(at: *const u8) -> Self;
    /// # Safety
    /// `at` is valid for writes, and aligned to the size of `Self`.
    unsafe fn store(self, at: *mut u8);
    /// Replaces the value by what `new` makes of it, in one step. Returns the old one.
    ///
    /// # Safety
    /// `at` is valid for reads and writes, and aligned to the size of `Self`.
    unsafe fn update(at: *mut u8, new: impl Fn(Self) -> Self) -> Self;
}

macro_rules! cell {
    ($($type:ty, $atomic:ty);*) => {$(
        impl Cell for $type {
            #[inline(always)]
            unsafe fn load(at: *const u8) -> Self {
                // SAFETY: the caller's word; all access to such memory while kernels run is atomic.
                unsafe { <$atomic>::from_ptr(at.cast_mut().cast()) }.load(Ordering::Relaxed)
            }
            #[inline(always)]
            unsafe fn store(self, at: *mut u8) {
                // SAFETY: as in `load`.
                unsafe { <$atomic>::from_ptr(at.cast()) }.store(self, Ordering::Relaxed);
            }
            #[inline(always)]
            unsafe fn update(at: *mut u8, new: impl Fn(Self) -> Self) -> Self {
                // SAFETY: as in `load`.
                let cell = unsafe { <$atomic>::from_ptr(at.cast()) };
                let mut old = cell.load(Ordering::Relaxed);
                loop {
                    match cell.compare_exchange_weak(old, new(old), Ordering::SeqCst, Ordering::Relaxed) {
                        Ok(old) => return old,
                        Err(now) => old = now,
                    }
                }
            }
        }
    )*};
}
cell!(u8, AtomicU8; u16, AtomicU16; u32, AtomicU32; u64, AtomicU64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_apart_and_exact() {
        let memory = Memory::new(1 << 20, false);
        let a = memory.allocate(100).unwrap();
        let b = memory.allocate(GRANULE).unwrap();
        assert!(a.is_multiple_of(ALIGNMENT) && b.is_multiple_of(ALIGNMENT));
        assert!(memory.resolve(a, 100).is_some() && memory.resolve(a + 99, 1).is_some());
        assert!(memory.resolve(a, 101).is_none() && memory.resolve(a + 100, 1).is_none());
        assert!(memory.resolve(a - 1, 1).is_none() && memory.resolve(0, 1).is_none());
        assert!(memory.resolve(u64::MAX, 2).is_none());
        // the byte after `b` is in no allocation, however large the granule
        assert!(memory.resolve(b + GRANULE, 1).is_none());
        assert_eq!(memory.nearest(a + 100), Some(Nearest { base: a, size: 100, freed: false }));
        assert_eq!(memory.in_use(), 100 + GRANULE);
    }

    #[test]
    fn freed_memory_is_gone_and_remembered() {
        let memory = Memory::new(1 << 20, false);
        let a = memory.allocate(8).unwrap();
        assert_eq!(memory.free(a + 4), Err(MemoryError::NotAllocated));
        memory.free(a).unwrap();
        assert_eq!(memory.free(a), Err(MemoryError::NotAllocated));
        assert!(memory.resolve(a, 1).is_none());
        assert_eq!(memory.nearest(a), Some(Nearest { base: a, size: 8, freed: true }));
        assert_ne!(memory.allocate(8).unwrap(), a);
    }

    #[test]
    fn capacity_counts() {
        let memory = Memory::new(1000, false);
        assert_eq!(memory.allocate(0), Err(MemoryError::Zero));
        assert_eq!(memory.allocate(1001), Err(MemoryError::Full));
        assert_eq!(memory.allocate(u64::MAX), Err(MemoryError::Full));
        let a = memory.allocate(1000).unwrap();
        assert_eq!(memory.allocate(1), Err(MemoryError::Full));
        memory.free(a).unwrap();
        assert!(memory.allocate(1000).is_ok());
    }

    #[test]
    fn addresses_may_be_as_unaligned_as_is_asked() {
        let memory = Memory::new(1 << 20, false);
        for offset in [0, 4, 24, 511] {
            let a = memory.allocate_at(8, offset).unwrap();
            assert_eq!(a % ALIGNMENT, offset);
            assert_eq!(memory.resolve(a, 8).unwrap() as u64 % ALIGNMENT, offset);
            assert!(memory.resolve(a - 1, 1).is_none() && memory.resolve(a + 8, 1).is_none());
        }
        let empty = memory.allocate_at(0, 4).unwrap();
        assert!(memory.resolve(empty, 1).is_none());
        assert_eq!(memory.nearest(empty), Some(Nearest { base: empty, size: 0, freed: false }));
        memory.free(empty).unwrap();
    }

    #[test]
    fn memory_that_is_not_touched_costs_nothing() {
        const SIZE: u64 = 40 << 30;
        let memory = Memory::new(SIZE, false);
        let a = memory.allocate(SIZE).unwrap();
        let last = memory.resolve(a + SIZE - 1, 1).unwrap();
        // SAFETY: `resolve` found a byte there, which nothing else uses.
        unsafe { last.write(7) };
        let first = memory.resolve(a, 1).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { (first.read(), last.read()) }, (0, 7));
        assert!(memory.resolve(a + SIZE, 1).is_none());
        memory.free(a).unwrap();
    }

    #[test]
    fn host_memory_by_its_own_address() {
        let memory = Memory::new(1000, false);
        let data = [0u8; 16];
        let address = data.as_ptr() as u64;
        assert!(memory.resolve(address, 16).is_none());
        memory.map_host(address, 16);
        assert_eq!(memory.resolve(address + 4, 12), Some((address + 4) as *mut u8));
        assert!(memory.resolve(address + 4, 13).is_none());
        assert_eq!(memory.unmap_host(address), Some(16));
        assert!(memory.resolve(address, 1).is_none());
    }
}
