//! The functions of the driver API.
//!
//! Handles are taken as numbers, which are passed as pointers are. Functions that give nothing back take no arguments:
//! in C's calling convention they are the caller's to remove.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_uint};
use std::sync::atomic::{AtomicU64, Ordering};

const SUCCESS: c_int = 0;
const NOT_SUPPORTED: c_int = 801;

/// What memory the device says it has.
const MEMORY: usize = 16 << 30;

/// The next handle or address.
static NEXT: AtomicU64 = AtomicU64::new(0x7f00_0000_0000);

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// An address that is given to one caller alone, with as many bytes after it.
fn fresh(bytes: usize) -> u64 {
    NEXT.fetch_add((bytes as u64).next_multiple_of(512).max(512), Ordering::Relaxed)
}

/// Functions that give something back through their first argument.
macro_rules! give {
    ($(fn $name:ident($out:ident: $type:ty $(, $argument:ident: $of:ty)*) = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($out: *mut $type $(, $argument: $of)*) -> c_int {
            $(let _ = $argument;)*
            // SAFETY: the caller gives the place of a result, as the driver API says.
            unsafe { $out.write($value) };
            SUCCESS
        }
    )*};
}
give! {
    fn cuDriverGetVersion(version: c_int) = 12000;
    fn cuDeviceGetCount(count: c_int) = 1;
    fn cuDeviceGet(device: c_int) = 0;
    fn cuDeviceTotalMem_v2(bytes: usize) = MEMORY;
    fn cuDeviceGetUuid(uuid: [u8; 16]) = [0; 16];
    fn cuDeviceGetUuid_v2(uuid: [u8; 16]) = [0; 16];
    fn cuDevicePrimaryCtxRetain(context: u64) = 0x1000;
    fn cuCtxGetCurrent(context: u64) = CURRENT.get();
    fn cuCtxGetDevice(device: c_int) = 0;
    fn cuModuleLoadData(module: u64) = fresh(0);
    fn cuModuleLoadDataEx(module: u64) = fresh(0);
    fn cuModuleGetFunction(function: u64) = fresh(0);
    fn cuFuncGetAttribute(value: c_int) = 0;
    fn cuStreamCreate(stream: u64) = fresh(0);
    fn cuStreamCreateWithPriority(stream: u64) = fresh(0);
    fn cuEventCreate(event: u64) = fresh(0);
    fn cuEventElapsedTime(milliseconds: f32) = 0.0;
    fn cuMemAlloc_v2(address: u64, bytes: usize) = fresh(bytes);
    fn cuMemAllocAsync(address: u64, bytes: usize) = fresh(bytes);
    fn cuGraphCreate(graph: u64) = fresh(0);
    fn cuGraphAddKernelNode_v2(node: u64) = fresh(0);
    fn cuGraphInstantiateWithFlags(executable: u64) = fresh(0);
}

/// Functions that give nothing back.
macro_rules! nothing {
    ($(fn $name:ident();)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> c_int {
            SUCCESS
        }
    )*};
}
nothing! {
    fn cuInit();
    fn cuDevicePrimaryCtxRelease_v2();
    fn cuCtxSynchronize();
    fn cuModuleUnload();
    fn cuFuncSetAttribute();
    fn cuStreamDestroy_v2();
    fn cuStreamSynchronize();
    fn cuStreamWaitEvent();
    fn cuStreamQuery();
    fn cuEventDestroy_v2();
    fn cuEventRecord();
    fn cuEventSynchronize();
    fn cuEventQuery();
    fn cuMemFree_v2();
    fn cuMemFreeAsync();
    fn cuMemsetD8Async();
    fn cuMemcpyHtoDAsync_v2();
    fn cuMemcpyDtoHAsync_v2();
    fn cuMemcpyDtoDAsync_v2();
    fn cuLaunchKernel();
    fn cuLaunchKernelEx();
    fn cuGraphDestroy();
    fn cuGraphLaunch();
    fn cuGraphExecDestroy();
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: u64) -> c_int {
    CURRENT.set(context);
    SUCCESS
}

/// No stream is being captured.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamIsCapturing(_stream: u64, status: *mut c_int) -> c_int {
    // SAFETY: the caller gives the place of a result.
    unsafe { status.write(0) };
    SUCCESS
}

/// Compute capability 7.5, memory pools, and 1 of everything else.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) -> c_int {
    let (major, minor) = (75, 76);
    let found = if attribute == major {
        7
    } else if attribute == minor {
        5
    } else {
        1
    };
    // SAFETY: the caller gives the place of a result.
    unsafe { value.write(found) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) -> c_int {
    let text = c"a device that does nothing".to_bytes_with_nul();
    let Ok(length) = usize::try_from(length) else { return NOT_SUPPORTED };
    if length < text.len() {
        return NOT_SUPPORTED;
    }
    // SAFETY: the caller gives a place of as many bytes.
    unsafe { name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> c_int {
    // SAFETY: the caller gives the places of two results.
    unsafe {
        free.write(MEMORY);
        total.write(MEMORY);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(_code: c_uint, text: *mut *const c_char) -> c_int {
    // SAFETY: the caller gives the place of a result.
    unsafe { text.write(c"CUDA_ERROR".as_ptr()) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(_code: c_uint, text: *mut *const c_char) -> c_int {
    // SAFETY: the caller gives the place of a result.
    unsafe { text.write(c"an error".as_ptr()) };
    SUCCESS
}

/// All the other functions of CUDA 12.0.
macro_rules! not_supported {
    ($(fn $name:ident();)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> c_int {
            NOT_SUPPORTED
        }
    )*};
}
include!(concat!(env!("OUT_DIR"), "/rest.rs"));
rest!(not_supported);
