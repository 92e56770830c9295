//! What is to be done when the process ends.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

/// The functions, in the order in which they were given, once `atexit` knows of them.
static LAST: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

unsafe extern "C" {
    /// The C library's, which this crate is linked with as all of Rust's standard library is.
    fn atexit(function: extern "C" fn()) -> c_int;
}

extern "C" fn run() {
    // They may take locks, and give others; the list is free while they run.
    let functions = std::mem::take(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner));
    for function in functions {
        // A panic must not leave a function of C. What it said is on the standard error.
        let _ = std::panic::catch_unwind(function);
    }
}

/// Has a function called when the process ends by returning from `main` or by `exit`, or when this library is unloaded before
/// that. It is called once, even if it is given several times.
pub(crate) fn at_exit(function: fn()) {
    let mut functions = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if functions.is_empty() {
        // SAFETY: the signature is that of the C library, and `run` may be called at any time. If there is no room for it,
        // nothing is done at the end.
        unsafe { atexit(run) };
    }
    if !functions.iter().any(|known| std::ptr::fn_addr_eq(*known, function)) {
        functions.push(function);
    }
}
