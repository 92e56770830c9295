//! Error names and descriptions, the version, and functions by name.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::Ordering;

use super::{driver_api, give, text};
use crate::driver::checking::environment_is_valid;
use crate::driver::code::{Code, Result};
use crate::driver::context::INITIALISED;
use crate::driver::device::DEVICES;

/// The version of the driver API that this is like: CUDA 13.0.
const VERSION: c_int = 13000;

/// Flags of `cuGetProcAddress`: the null stream is the legacy one, or that of the calling thread.
const LEGACY_STREAM: u64 = 1;
const PER_THREAD_STREAM: u64 = 2;

/// Functions whose newest form is not the one for every program: from which version of CUDA on each form is meant by the
/// name without a suffix. Of all others it is the newest form that there is.
const FORMS: [(&str, &[(c_int, &str)]); 19] = [
    ("cuCtxCreate", &[(3020, "_v2"), (11040, "_v3"), (12050, "_v4")]),
    ("cuCtxGetDevice", &[(2000, ""), (13000, "_v2")]),
    ("cuCtxSynchronize", &[(2000, ""), (13000, "_v2")]),
    ("cuDeviceGetUuid", &[(9020, ""), (11040, "_v2")]),
    ("cuEventElapsedTime", &[(2000, ""), (12080, "_v2")]),
    ("cuGetProcAddress", &[(11030, ""), (12000, "_v2")]),
    ("cuGraphAddDependencies", &[(10000, ""), (12030, "_v2")]),
    ("cuGraphAddKernelNode", &[(10000, ""), (12000, "_v2")]),
    ("cuGraphAddNode", &[(12020, ""), (12030, "_v2")]),
    ("cuGraphExecKernelNodeSetParams", &[(10010, ""), (12000, "_v2")]),
    ("cuGraphExecUpdate", &[(10020, ""), (12000, "_v2")]),
    ("cuGraphGetEdges", &[(10000, ""), (12030, "_v2")]),
    ("cuGraphNodeGetDependencies", &[(10000, ""), (12030, "_v2")]),
    ("cuGraphNodeGetDependentNodes", &[(10000, ""), (12030, "_v2")]),
    ("cuGraphRemoveDependencies", &[(10000, ""), (12030, "_v2")]),
    ("cuMemAdvise", &[(8000, ""), (12020, "_v2")]),
    ("cuMemPrefetchAsync", &[(8000, ""), (12020, "_v2")]),
    ("cuStreamGetCaptureInfo", &[(10010, ""), (11030, "_v2"), (12030, "_v3")]),
    ("cuStreamGetCtx", &[(9020, ""), (12050, "_v2")]),
];

/// What a look for a function came to, with the numbers of `CUdriverProcAddressQueryResult`.
#[derive(Clone, Copy)]
enum Found {
    Here(*mut c_void),
    Unknown,
    /// It is newer than the version that was asked for.
    Newer,
}

/// Looks for a function by the name in the documentation.
fn find(name: &str, version: c_int, flags: u64) -> Result<Found> {
    if flags & !(LEGACY_STREAM | PER_THREAD_STREAM) != 0 || flags == LEGACY_STREAM | PER_THREAD_STREAM {
        return Err(Code::INVALID_VALUE);
    }
    let newest = ["_v4", "_v3", "_v2", ""];
    let forms: Vec<&str> = match FORMS.iter().find(|(known, _)| *known == name) {
        None => newest.to_vec(),
        Some((_, forms)) => match forms.iter().rev().find(|(from, _)| *from <= version) {
            // The forms differ in their arguments, so no other one will do.
            Some((_, form)) => vec![*form],
            None => return Ok(Found::Newer),
        },
    };
    let own = if flags & PER_THREAD_STREAM != 0 { &["_ptsz", "_ptds", ""][..] } else { &[""] };
    let found = forms.iter().find_map(|form| own.iter().find_map(|own| own_symbol(&format!("{name}{form}{own}\0"))));
    Ok(found.map_or(Found::Unknown, Found::Here))
}

/// Gives out what [`find`] found, and its status unless `status` is null.
///
/// # Safety
/// The pointers are as `cuGetProcAddress` takes them.
unsafe fn give_found(
    symbol: *const c_char,
    function: *mut *mut c_void,
    version: c_int,
    flags: u64,
    status: *mut c_int,
) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        let found = find(text(symbol)?, version, flags)?;
        let (at, number) = match found {
            Found::Here(at) => (at, 0),
            Found::Unknown => (std::ptr::null_mut(), 1),
            Found::Newer => (std::ptr::null_mut(), 2),
        };
        if !status.is_null() {
            status.write(number);
        }
        give(function, at)?;
        if number == 0 { Ok(()) } else { Err(Code::NOT_FOUND) }
    }
}

driver_api! {
    fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        if !environment_is_valid() {
            return Err(Code::INVALID_VALUE);
        }
        if DEVICES.is_empty() {
            return Err(Code::NO_DEVICE);
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

    fn cuGetProcAddress(symbol: *const c_char, function: *mut *mut c_void, version: c_int, flags: u64) {
        give_found(symbol, function, version, flags, std::ptr::null_mut())
    }

    fn cuGetProcAddress_v2(
        symbol: *const c_char,
        function: *mut *mut c_void,
        version: c_int,
        flags: u64,
        status: *mut c_int,
    ) {
        give_found(symbol, function, version, flags, status)
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
