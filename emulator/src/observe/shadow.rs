//! Shadow memory: for each byte of an allocation who wrote it last, and who has read it since.
//!
//! It is kept in pages, most of which never exist: one for 4 KiB of memory, made when a kernel first accesses them. A page
//! has a cell for each 32-bit word until an access is narrower than that; from then on it has one for as many bytes. Blocks
//! run on several threads, so a page is locked while cells of it are compared and changed: of two accesses that race one
//! always sees the other.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::order::Readers;

/// An access of a thread: its segment (see `order`), the thread of the block, what kind of access it was, and which
/// operation of the kernel. Zero is no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) u64);

/// What the two lowest bits of [`Stamp::kind`] of a write say: whether it was strong, and for whom.
pub(super) const WEAK: u64 = 0;
pub(super) const STRONG_BLOCK: u64 = 1;
pub(super) const STRONG_DEVICE: u64 = 2;
/// Strong for the device, and of a compare-and-swap.
pub(super) const SWAP: u64 = 3;

/// Set in [`Stamp::kind`] of reads that all were strong.
pub(super) const STRONG_READ: u64 = 4;

/// All bits of [`Stamp::kind`].
pub(super) const KINDS: u64 = 7;

/// Where in a stamp the parts are: the operation lowest, then the kind, the thread (its lane, and its warp), the segment.
const OPERATION_BITS: u32 = 19;
pub(super) const KIND_SHIFT: u32 = OPERATION_BITS;
pub(super) const THREAD_SHIFT: u32 = 22;
pub(super) const WARP_SHIFT: u32 = THREAD_SHIFT + 5;
pub(super) const SEGMENT_SHIFT: u32 = 32;

/// The segment of everything that the host writes: before every kernel.
pub(super) const HOST_SEGMENT: u32 = 1;

/// The segment of writes that come before nothing yet: those of asynchronous copies until they land.
const FLIGHT_SEGMENT: u32 = (1 << 31) - 1;

impl Stamp {
    pub(super) const NONE: Self = Self(0);
    /// Written by the host.
    pub(super) const HOST: Self = Self((HOST_SEGMENT as u64) << SEGMENT_SHIFT);

    /// The write of an asynchronous copy that has not landed.
    pub(super) fn in_flight(thread: u32, operation: u32) -> Self {
        Self::new(FLIGHT_SEGMENT, thread, WEAK, operation)
    }

    pub(super) fn is_in_flight(self) -> bool {
        self.segment() == FLIGHT_SEGMENT
    }

    pub(super) fn new(segment: u32, thread: u32, kind: u64, operation: u32) -> Self {
        let operation = operation.min((1 << OPERATION_BITS) - 1);
        Self(
            u64::from(segment) << SEGMENT_SHIFT
                | u64::from(thread) << THREAD_SHIFT
                | kind << KIND_SHIFT
                | u64::from(operation),
        )
    }

    #[inline(always)]
    pub(super) fn segment(self) -> u32 {
        (self.0 >> SEGMENT_SHIFT) as u32
    }

    #[inline(always)]
    pub(crate) fn thread(self) -> u32 {
        (self.0 >> THREAD_SHIFT) as u32 & 0x3ff
    }

    pub(super) fn warp(self) -> u32 {
        self.thread() / 32
    }

    /// Whose reads a stamp of reads stands for; the number is in the two lowest bits of its kind.
    #[inline(always)]
    pub(super) fn readers(self) -> Readers {
        match self.kind() & 3 {
            0 => Readers::One,
            1 => Readers::Lanes,
            2 => Readers::Warps,
            _ => Readers::Blocks,
        }
    }

    #[inline(always)]
    pub(super) fn kind(self) -> u64 {
        self.0 >> KIND_SHIFT & KINDS
    }

    pub(crate) fn operation(self) -> u32 {
        (self.0 & ((1 << OPERATION_BITS) - 1)) as u32
    }
}

/// Bytes of memory that a page is for.
pub(super) const PAGE: u64 = 4096;
const WORDS: usize = PAGE as usize / 4;

/// The cells of a page: for each word, or half of one, or byte the last write, and the last read since.
pub(super) struct Cells {
    pub(super) writes: Box<[u64]>,
    pub(super) reads: Box<[u64]>,
    /// The binary logarithm of the bytes that a cell is for.
    width: u32,
}

impl Cells {
    fn new(write: Stamp) -> Self {
        Self { writes: vec![write.0; WORDS].into(), reads: vec![0; WORDS].into(), width: 2 }
    }

    /// Makes cells for fewer bytes.
    #[cold]
    fn divide(&mut self, width: u32) {
        let each = |cells: &[u64]| {
            cells.iter().flat_map(|cell| std::iter::repeat_n(*cell, 1 << (self.width - width))).collect()
        };
        *self = Self { writes: each(&self.writes), reads: each(&self.reads), width };
    }

    /// The cells of `length` bytes at `offset` in the page, of which each access has `unit`.
    #[inline(always)]
    pub(super) fn range(&mut self, offset: usize, length: usize, unit: usize) -> std::ops::Range<usize> {
        let width = (offset | unit).trailing_zeros();
        if width < self.width {
            self.divide(width);
        }
        offset >> self.width..(offset + length) >> self.width
    }
}

/// A page with its lock.
pub(super) struct Page {
    locked: AtomicBool,
    cells: UnsafeCell<Cells>,
}

// SAFETY: the cells are reached through `Page::lock` alone.
unsafe impl Sync for Page {}
// SAFETY: a page owns what it has.
unsafe impl Send for Page {}

/// A page that nobody else has now.
pub(super) struct Locked<'a>(&'a Page);

impl Page {
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut spins = 0u32;
        while self.locked.swap(true, Ordering::Acquire) {
            spins += 1;
            if spins < 1000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        Locked(self)
    }
}

impl Locked<'_> {
    #[inline(always)]
    pub(super) fn cells(&mut self) -> &mut Cells {
        // SAFETY: whoever has the lock is the only one to use the cells.
        unsafe { &mut *self.0.cells.get() }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// Stands for a page that the host has written whole, and that no kernel has accessed since.
const WRITTEN: *mut Page = ptr::without_provenance_mut(8);

/// The shadow of one allocation.
pub(crate) struct Shadow {
    /// Null for pages that nothing has written or read.
    pages: Box<[AtomicPtr<Page>]>,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("pages", &self.pages.len()).finish()
    }
}

fn is_page(page: *mut Page) -> bool {
    !page.is_null() && page != WRITTEN
}

impl Shadow {
    /// The shadow of `bytes` bytes that nothing has written. It is itself memory that costs nothing until it is touched.
    pub(crate) fn new(bytes: u64) -> Self {
        let count = bytes.div_ceil(PAGE) as usize;
        let Ok(layout) = std::alloc::Layout::array::<AtomicPtr<Page>>(count) else {
            return Self { pages: Box::new([]) };
        };
        if count == 0 {
            return Self { pages: Box::new([]) };
        }
        // SAFETY: the layout is not empty.
        let zeroed = unsafe { std::alloc::alloc_zeroed(layout) };
        if zeroed.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        // SAFETY: `zeroed` has room for `count` pointers, zero is the null pointer, and a box is freed with this layout.
        let pages = unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(zeroed.cast::<AtomicPtr<Page>>(), count)) };
        Self { pages }
    }

    /// The page of the byte at `offset`, which is made if there is none.
    #[inline(always)]
    pub(super) fn page(&self, offset: u64) -> &Page {
        let entry = &self.pages[(offset / PAGE) as usize];
        let page = entry.load(Ordering::Acquire);
        // SAFETY: pages live until the shadow is dropped, or the host writes, which it does while no kernel runs.
        if is_page(page) { unsafe { &*page } } else { Self::make(entry, page) }
    }

    #[cold]
    fn make(entry: &AtomicPtr<Page>, found: *mut Page) -> &Page {
        let write = if found == WRITTEN { Stamp::HOST } else { Stamp::NONE };
        let page = Page { locked: AtomicBool::new(false), cells: UnsafeCell::new(Cells::new(write)) };
        let page = Box::into_raw(Box::new(page));
        match entry.compare_exchange(found, page, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: as in `page`.
            Ok(_) => unsafe { &*page },
            Err(other) => {
                // SAFETY: nobody else has seen this page. The other one is a page: only `set_written` makes anything else,
                // and it does not run now.
                unsafe {
                    drop(Box::from_raw(page));
                    &*other
                }
            }
        }
    }

    fn replace(entry: &AtomicPtr<Page>, new: *mut Page) {
        let old = entry.swap(new, Ordering::AcqRel);
        if is_page(old) {
            // SAFETY: pages are boxes, this one has no entry any more, and no kernel runs that could use it.
            drop(unsafe { Box::from_raw(old) });
        }
    }

    /// The parts of pages that make up a range: the first byte, and how many.
    fn parts(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = offset + length;
        std::iter::successors(Some(offset), |at| Some((at / PAGE + 1) * PAGE))
            .take_while(move |at| *at < end)
            .map(move |at| (at, ((at / PAGE + 1) * PAGE).min(end) - at))
    }

    /// Notes that the host wrote a range, or that it counts as not written. No kernel runs.
    pub(crate) fn set_written(&self, offset: u64, length: u64, written: bool) {
        let (whole, stamp) = if written { (WRITTEN, Stamp::HOST) } else { (ptr::null_mut(), Stamp::NONE) };
        for (at, bytes) in Self::parts(offset, length) {
            let Some(entry) = self.pages.get((at / PAGE) as usize) else { return };
            if bytes == PAGE {
                Self::replace(entry, whole);
                continue;
            }
            if entry.load(Ordering::Acquire) == whole {
                continue;
            }
            let mut page = self.page(at).lock();
            let cells = page.cells();
            let range = cells.range((at % PAGE) as usize, bytes as usize, bytes as usize);
            cells.writes[range.clone()].fill(stamp.0);
            cells.reads[range].fill(0);
        }
    }

    /// Notes that the host copied a range from elsewhere: what nothing had written there is not written here either. No
    /// kernel runs.
    pub(crate) fn host_copy(&self, offset: u64, from: &Self, from_offset: u64, length: u64) {
        let mut done = 0;
        while done < length {
            // as much as is in one page on either side
            let (to_at, from_at) = (offset + done, from_offset + done);
            let bytes = (PAGE - to_at % PAGE).min(PAGE - from_at % PAGE).min(length - done);
            match from.written(from_at, bytes) {
                Some(true) => self.set_written(to_at, bytes, true),
                other => {
                    for byte in 0..bytes {
                        let written = other.is_none() && from.written(from_at + byte, 1) == Some(true);
                        let mut page = self.page(to_at).lock();
                        let cells = page.cells();
                        let range = cells.range(((to_at + byte) % PAGE) as usize, 1, 1);
                        cells.writes[range.clone()].fill(if written { Stamp::HOST.0 } else { 0 });
                        cells.reads[range].fill(0);
                    }
                }
            }
            done += bytes;
        }
    }

    /// Whether a range within a page was written: all of it, none of it, or some.
    fn written(&self, offset: u64, length: u64) -> Option<bool> {
        let entry = self.pages[(offset / PAGE) as usize].load(Ordering::Acquire);
        if !is_page(entry) {
            return Some(entry == WRITTEN);
        }
        let mut page = self.page(offset).lock();
        let cells = page.cells();
        let start = (offset % PAGE) as usize;
        let (first, last) = (start >> cells.width, (start + length as usize).div_ceil(1 << cells.width));
        let written = cells.writes[first..last].iter().filter(|write| **write != 0).count();
        match written {
            0 => Some(false),
            _ if written == last - first => Some(true),
            _ => None,
        }
    }

    /// Forgets which kernels wrote what, but not that it was written. No kernel runs.
    pub(crate) fn forget_kernels(&self) {
        for entry in &self.pages {
            let page = entry.load(Ordering::Acquire);
            if is_page(page) {
                // SAFETY: as in `page`.
                let mut page = unsafe { &*page }.lock();
                let cells = page.cells();
                cells.reads.fill(0);
                cells.writes.iter_mut().filter(|write| **write != 0).for_each(|write| *write = Stamp::HOST.0);
            }
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        for entry in &self.pages {
            Self::replace(entry, ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(shadow: &Shadow, bytes: u64) -> Vec<bool> {
        (0..bytes).map(|byte| shadow.written(byte, 1) == Some(true)).collect()
    }

    #[test]
    fn a_stamp_keeps_what_it_is_made_of() {
        let stamp = Stamp::new(0xfedc_ba98, 1023, 5, 0x7_ffff);
        assert_eq!((stamp.segment(), stamp.thread(), stamp.warp()), (0xfedc_ba98, 1023, 31));
        assert_eq!((stamp.kind(), stamp.operation()), (5, 0x7_ffff));
        assert_eq!(Stamp::new(2, 0, 0, u32::MAX).operation(), 0x7_ffff);
    }

    #[test]
    fn the_host_writes_any_range() {
        let bytes = 3 * PAGE + 100;
        for (offset, length) in [(0, 1), (3, 2), (4, 4), (PAGE - 1, 2), (5, 2 * PAGE), (0, bytes), (PAGE, PAGE), (7, 0)]
        {
            let shadow = Shadow::new(bytes);
            shadow.set_written(offset, length, true);
            let expected: Vec<bool> = (0..bytes).map(|byte| (offset..offset + length).contains(&byte)).collect();
            assert_eq!(states(&shadow, bytes), expected, "{length} bytes at {offset}");
        }
    }

    #[test]
    fn a_copy_takes_along_what_is_not_written() {
        let bytes = 2 * PAGE;
        let from = Shadow::new(bytes);
        from.set_written(10, 100, true);
        from.set_written(PAGE - 7, 30, true);
        for (to_offset, from_offset, length) in [(0, 0, bytes), (3, 9, 200), (PAGE - 5, PAGE - 20, 60), (0, 200, 50)] {
            let to = Shadow::new(bytes);
            to.set_written(0, PAGE, true);
            let (mut expected, source) = (states(&to, bytes), states(&from, bytes));
            for byte in 0..length {
                expected[(to_offset + byte) as usize] = source[(from_offset + byte) as usize];
            }
            to.host_copy(to_offset, &from, from_offset, length);
            assert_eq!(states(&to, bytes), expected, "{length} bytes from {from_offset} to {to_offset}");
        }
    }
}
