//! An allocator that counts, for tests of what a file may cost.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(unreachable_pub, reason = "it is private to each test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use warpwright::gguf::{Gguf, GgufError, OpenOptions};

/// Counts what each thread has allocated, and the most that it was.
pub struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(live.get())));
    });
}

// SAFETY: everything is the system allocator's; the counters change nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's word.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's word.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Reads a file. Fails the test if that allocates more than four times its size (and a little for the error).
pub fn read_with(bytes: Vec<u8>, options: &OpenOptions) -> Result<Gguf, GgufError> {
    let size = bytes.len() as isize;
    MOST.set(LIVE.get());
    let before = LIVE.get();
    let result = Gguf::from_bytes_with(bytes, options);
    let allocated = MOST.get() - before;
    assert!(allocated <= 4 * size + 512, "{allocated} bytes were allocated for a file of {size}");
    result
}

pub fn read(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
    read_with(bytes, &OpenOptions::default())
}

/// The most bytes that something has allocated at a time.
pub fn most_allocated(run: impl FnOnce()) -> isize {
    let before = LIVE.get();
    MOST.set(before);
    run();
    MOST.get() - before
}
