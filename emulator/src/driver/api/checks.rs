//! What the shared library exports besides the driver API: its checks and what they found. `select` knows these.

use std::ffi::{c_char, c_void};

use crate::checks::{Checks, clear, report};
use crate::driver::checking::set_checks;
use crate::driver::select::RawFinding;

/// Switches checks on and off; each is a bit.
#[unsafe(no_mangle)]
pub extern "C" fn warpwright_emulator_set_checks(bits: u32) {
    set_checks(Checks::from_bits(bits));
}

/// Calls `visit` with `data` for each finding of this process, and then forgets them if `forget` is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warpwright_emulator_findings(
    visit: Option<unsafe extern "C" fn(*mut c_void, *const RawFinding)>,
    data: *mut c_void,
    forget: u32,
) {
    let Some(visit) = visit else { return };
    for finding in report().findings {
        let raw = RawFinding {
            kind: finding.kind as u32,
            address: finding.address,
            bytes: finding.bytes,
            sequence: finding.sequence,
            detail: finding.detail.as_ptr().cast::<c_char>(),
            length: finding.detail.len(),
        };
        // SAFETY: the caller's word; the finding lives until the call returns.
        unsafe { visit(data, &raw const raw) };
    }
    if forget != 0 {
        clear();
    }
}
