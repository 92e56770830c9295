//! What the shared library exports of its counters. `select` knows these.

use crate::driver::counting;

/// Begins to count what kernels do, from nothing, or with 0 counts no more.
#[unsafe(no_mangle)]
pub extern "C" fn warpwright_emulator_set_counters(on: u32) {
    counting::count(on != 0);
}

/// Writes what was counted since then as text, as much of it as there is room for and no NUL after it, and returns its length:
/// a table of all kernels, and if `details` is not 0 the counters of each. `text` may be null if there is no room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warpwright_emulator_counters(details: u32, text: *mut u8, room: usize) -> usize {
    let counted = counting::text(details != 0);
    if !text.is_null() {
        // SAFETY: the caller gives a place with so much room.
        unsafe { text.copy_from_nonoverlapping(counted.as_ptr(), counted.len().min(room)) };
    }
    counted.len()
}
