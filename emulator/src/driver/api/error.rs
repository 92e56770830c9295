//! Error names and descriptions, the version, and functions by name.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::Ordering;

use super::{driver_api, give, text};
use crate::driver::code::Code;
use crate::driver::context::INITIALISED;

/// The version of the driver API that this is like: CUDA 13.0.
const VERSION: c_int = 13000;

/// The version from which edges of graphs have data.
const EDGE_DATA: c_int = 12030;

driver_api! {
    fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        INITIALISED.store(true, Ordering::Release);
        Ok(())
    }

    fn cuDriverGetVersion(version: *mut c_int) {
        give(version, VERSION)
    }

    fn cuGetErrorName(code: Code, name: *mut *const c_char) {
        match code.name() {
            Some(known) => give(name, known.as_ptr().cast()),
            None => give(name, std::ptr::null()).and(Err(Code::INVALID_VALUE)),
        }
    }

    fn cuGetErrorString(code: Code, description: *mut *const c_char) {
        match code.description() {
            Some(known) => give(description, known.as_ptr().cast()),
            None => give(description, std::ptr::null()).and(Err(Code::INVALID_VALUE)),
        }
    }

    fn cuGetProcAddress_v2(
        symbol: *const c_char,
        function: *mut *mut c_void,
        version: c_int,
        _flags: u64,
        status: *mut c_int,
    ) {
        // Functions are asked for by the name in the documentation; the library exports the newest version of each.
        let name = text(symbol)?;
        // An old caller that knows nothing of edge data is given the function without.
        let suffixes = match name {
            "cuGraphAddDependencies" if version < EDGE_DATA => &[""][..],
            _ => &["_v4", "_v3", "_v2", ""],
        };
        let found = suffixes.iter().find_map(|suffix| own_symbol(&format!("{name}{suffix}\0")));
        if !status.is_null() {
            // success, or "symbol not found"
            status.write(c_int::from(found.is_none()));
        }
        give(function, found.unwrap_or(std::ptr::null_mut()))?;
        if found.is_some() { Ok(()) } else { Err(Code::NOT_FOUND) }
    }
}

/// An exported function of this library, by its name, which ends in NUL.
fn own_symbol(name: &str) -> Option<*mut c_void> {
    use libloading::os::unix::{Library, RTLD_NOW};
    // SAFETY: the library is this one, loaded already; nothing is run.
    let library = unsafe { Library::open(Some("libcuda.so"), RTLD_NOW) }.ok()?;
    // SAFETY: the pointer is not used here; the caller knows the type of what it asked for. The library is loaded for as
    // long as its code runs.
    unsafe { library.get::<*mut c_void>(name.as_bytes()) }.ok().map(|symbol| symbol.as_raw_ptr())
}
