//! The driver API by its C interface: the shared library is opened as a program would open it.
#![allow(non_snake_case, reason = "the names are those of the driver API")]
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(unreachable_pub, reason = "it is private to each test")]

use std::ffi::{c_char, c_int, c_void};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use libloading::os::unix::Library;
use warpwright_emulator::driver::{Choice, Selected, select};

pub static SELECTED: LazyLock<Selected> = LazyLock::new(|| select(Choice::Emulator).unwrap());

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    LazyLock::force(&SELECTED);
    // SAFETY: the emulator is open already under this name, and has no initialisers.
    unsafe { Library::new("libcuda.so") }.unwrap()
});

/// The address of an exported function.
pub fn symbol(name: &str) -> Option<*mut c_void> {
    // SAFETY: the pointer is only looked at.
    unsafe { LIBRARY.get::<*mut c_void>(format!("{name}\0").as_bytes()) }.ok().map(|symbol| symbol.as_raw_ptr())
}

/// Functions of the driver API, with the argument types of `cuda.h`. Each returns the number of its `CUresult`.
macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),*);)*) => {$(
        pub fn $name($($argument: $type),*) -> u32 {
            let name = concat!(stringify!($name), "\0").as_bytes();
            // SAFETY: the signature is that of the driver API; the tests answer for the arguments.
            unsafe { LIBRARY.get::<unsafe extern "C" fn($($type),*) -> u32>(name).unwrap()($($argument),*) }
        }
    )*};
}

pub type Handle = usize;
pub type HostFunction = unsafe extern "C" fn(*mut c_void);

functions! {
    fn cuInit(flags: u32);
    fn cuDriverGetVersion(version: *mut c_int);
    fn cuGetErrorName(code: u32, name: *mut *const c_char);
    fn cuGetErrorString(code: u32, text: *mut *const c_char);
    fn cuGetProcAddress(name: *const c_char, function: *mut *mut c_void, version: c_int, flags: u64);
    fn cuGetProcAddress_v2(name: *const c_char, function: *mut *mut c_void, version: c_int, flags: u64, status: *mut c_int);
    fn cuGetExportTable(table: *mut *const c_void, id: *const [u8; 16]);
    fn cuDeviceGetCount(count: *mut c_int);
    fn cuDeviceGet(device: *mut c_int, number: c_int);
    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int);
    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int);
    fn cuDeviceGetLuid(luid: *mut c_char, mask: *mut u32, device: c_int);
    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int);
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int);
    fn cuDeviceGetPCIBusId(name: *mut c_char, length: c_int, device: c_int);
    fn cuDeviceGetByPCIBusId(device: *mut c_int, name: *const c_char);
    fn cuDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int);
    fn cuDeviceGetP2PAttribute(value: *mut c_int, attribute: u32, device: c_int, peer: c_int);
    fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int);
    fn cuDevicePrimaryCtxRelease_v2(device: c_int);
    fn cuDevicePrimaryCtxReset_v2(device: c_int);
    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: u32);
    fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut u32, active: *mut c_int);
    fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int);
    fn cuDeviceGetMemPool(pool: *mut Handle, device: c_int);
    fn cuDeviceSetMemPool(device: c_int, pool: Handle);
    fn cuCtxCreate_v2(context: *mut Handle, flags: u32, device: c_int);
    fn cuCtxCreate_v4(context: *mut Handle, parameters: *mut c_void, flags: u32, device: c_int);
    fn cuCtxDestroy_v2(context: Handle);
    fn cuCtxAttach(context: *mut Handle, flags: u32);
    fn cuCtxDetach(context: Handle);
    fn cuCtxGetCurrent(context: *mut Handle);
    fn cuCtxSetCurrent(context: Handle);
    fn cuCtxPushCurrent_v2(context: Handle);
    fn cuCtxPopCurrent_v2(context: *mut Handle);
    fn cuCtxGetDevice(device: *mut c_int);
    fn cuCtxGetId(context: Handle, id: *mut u64);
    fn cuCtxSynchronize();
    fn cuCtxGetFlags(flags: *mut u32);
    fn cuCtxGetLimit(value: *mut usize, limit: c_int);
    fn cuCtxSetLimit(limit: c_int, value: usize);
    fn cuCtxGetCacheConfig(config: *mut u32);
    fn cuCtxSetCacheConfig(config: u32);
    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int);
    fn cuCtxRecordEvent(context: Handle, event: Handle);
    fn cuCtxWaitEvent(context: Handle, event: Handle);
    fn cuCtxEnablePeerAccess(peer: Handle, flags: u32);
    fn cuCtxDisablePeerAccess(peer: Handle);
    fn cuStreamCreate(stream: *mut Handle, flags: u32);
    fn cuStreamCreateWithPriority(stream: *mut Handle, flags: u32, priority: c_int);
    fn cuStreamDestroy_v2(stream: Handle);
    fn cuStreamSynchronize(stream: Handle);
    fn cuStreamQuery(stream: Handle);
    fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: u32);
    fn cuStreamGetId(stream: Handle, id: *mut u64);
    fn cuStreamGetPriority(stream: Handle, priority: *mut c_int);
    fn cuStreamGetAttribute(stream: Handle, attribute: c_int, value: *mut [u64; 8]);
    fn cuStreamSetAttribute(stream: Handle, attribute: c_int, value: *const [u64; 8]);
    fn cuStreamCopyAttributes(to: Handle, from: Handle);
    fn cuStreamAddCallback(
        stream: Handle,
        function: unsafe extern "C" fn(Handle, u32, *mut c_void),
        data: *mut c_void,
        flags: u32
    );
    fn cuStreamWaitValue32_v2(stream: Handle, address: u64, value: u32, flags: u32);
    fn cuStreamWaitValue64_v2(stream: Handle, address: u64, value: u64, flags: u32);
    fn cuStreamWriteValue32_v2(stream: Handle, address: u64, value: u32, flags: u32);
    fn cuStreamWriteValue64_v2(stream: Handle, address: u64, value: u64, flags: u32);
    fn cuLaunchHostFunc(stream: Handle, function: HostFunction, data: *mut c_void);
    fn cuEventCreate(event: *mut Handle, flags: u32);
    fn cuEventDestroy_v2(event: Handle);
    fn cuEventRecord(event: Handle, stream: Handle);
    fn cuEventQuery(event: Handle);
    fn cuEventSynchronize(event: Handle);
    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle);
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize);
    fn cuMemAllocPitch_v2(address: *mut u64, pitch: *mut usize, width: usize, height: usize, element: u32);
    fn cuMemAllocManaged(address: *mut u64, bytes: usize, flags: u32);
    fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: Handle);
    fn cuMemAllocFromPoolAsync(address: *mut u64, bytes: usize, pool: Handle, stream: Handle);
    fn cuMemFree_v2(address: u64);
    fn cuMemFreeAsync(address: u64, stream: Handle);
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, address: u64);
    fn cuMemHostAlloc(memory: *mut *mut c_void, bytes: usize, flags: u32);
    fn cuMemFreeHost(memory: *mut c_void);
    fn cuMemHostGetFlags(flags: *mut u32, memory: *mut c_void);
    fn cuMemHostGetDevicePointer_v2(address: *mut u64, memory: *mut c_void, flags: u32);
    fn cuMemHostRegister_v2(memory: *mut c_void, bytes: usize, flags: u32);
    fn cuMemHostUnregister(memory: *mut c_void);
    fn cuPointerGetAttribute(value: *mut c_void, attribute: c_int, address: u64);
    fn cuPointerGetAttributes(count: u32, attributes: *const c_int, values: *mut *mut c_void, address: u64);
    fn cuPointerSetAttribute(value: *const c_void, attribute: c_int, address: u64);
    fn cuMemcpy(to: u64, from: u64, bytes: usize);
    fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: Handle);
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize);
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle);
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize);
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle);
    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize);
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle);
    fn cuMemcpyPeer(to: u64, to_context: Handle, from: u64, from_context: Handle, bytes: usize);
    fn cuMemcpyPeerAsync(to: u64, to_context: Handle, from: u64, from_context: Handle, bytes: usize, stream: Handle);
    fn cuMemcpy2D_v2(copy: *const c_void);
    fn cuMemcpy2DAsync_v2(copy: *const c_void, stream: Handle);
    fn cuMemcpy3D_v2(copy: *const c_void);
    fn cuMemsetD8_v2(to: u64, value: u8, count: usize);
    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle);
    fn cuMemsetD16_v2(to: u64, value: u16, count: usize);
    fn cuMemsetD32_v2(to: u64, value: u32, count: usize);
    fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: Handle);
    fn cuMemsetD2D8_v2(to: u64, pitch: usize, value: u8, width: usize, height: usize);
    fn cuMemsetD2D32Async(to: u64, pitch: usize, value: u32, width: usize, height: usize, stream: Handle);
    fn cuMemPoolCreate(pool: *mut Handle, properties: *const PoolProperties);
    fn cuMemPoolDestroy(pool: Handle);
    fn cuMemPoolTrimTo(pool: Handle, bytes: usize);
    fn cuMemPoolGetAttribute(pool: Handle, attribute: c_int, value: *mut c_void);
    fn cuMemPoolSetAttribute(pool: Handle, attribute: c_int, value: *mut c_void);
    fn cuMemPoolSetAccess(pool: Handle, access: *const [c_int; 3], count: usize);
    fn cuMemPoolGetAccess(flags: *mut u32, pool: Handle, location: *mut [c_int; 2]);
    fn cuModuleLoadData(module: *mut Handle, image: *const c_void);
    fn cuModuleUnload(module: Handle);
    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char);
    fn cuGraphCreate(graph: *mut Handle, flags: u32);
    fn cuGraphDestroy(graph: Handle);
    fn cuArrayCreate_v2(array: *mut Handle, description: *const c_void);
    fn cuLaunchKernel(
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: Handle,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void
    );
}

/// `CUmemPoolProps`
#[repr(C)]
pub struct PoolProperties {
    pub allocation: c_int,
    pub handles: c_int,
    pub location: [c_int; 2],
    pub security: *mut c_void,
    pub maximum: usize,
    pub usage: u16,
    pub reserved: [u8; 54],
}

/// What a function writes through its first argument; it has to succeed.
#[track_caller]
pub fn made<T: Default>(function: impl FnOnce(*mut T) -> u32) -> T {
    let mut value = T::default();
    assert_eq!(function(&raw mut value), 0);
    value
}

/// Starts CUDA, and makes the primary context of a device the current one.
pub fn start(device: c_int) -> Handle {
    assert_eq!(cuInit(0), 0);
    let context = made(|context| cuDevicePrimaryCtxRetain(context, device));
    assert_eq!(cuCtxSetCurrent(context), 0);
    context
}

/// Device memory with values in it.
pub fn upload(values: &[u32]) -> u64 {
    let address = made(|address| cuMemAlloc_v2(address, size_of_val(values)));
    assert_eq!(cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values)), 0);
    address
}

/// What device memory holds, once the legacy stream has come to it.
pub fn download(address: u64, count: usize) -> Vec<u32> {
    let mut values = vec![0xdead_beef; count];
    assert_eq!(cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, 4 * count), 0);
    values
}

/// Pinned memory of `count` words, zero. It lives until it is freed.
pub fn pinned(count: usize) -> &'static mut [u32] {
    let mut memory = std::ptr::null_mut();
    assert_eq!(cuMemHostAlloc(&raw mut memory, 4 * count, 0), 0);
    // SAFETY: as many words were allocated.
    unsafe { std::slice::from_raw_parts_mut(memory.cast(), count) }
}

/// Something that holds a stream up until it is opened.
pub struct Gate(Sender<()>);

impl Gate {
    /// Closes a gate in a stream: a function of the host that waits, but not for ever.
    pub fn close(stream: Handle) -> Self {
        unsafe extern "C" fn wait(receiver: *mut c_void) {
            // SAFETY: the receiver was boxed below, for this call alone.
            let receiver = unsafe { Box::from_raw(receiver.cast::<Receiver<()>>()) };
            // It ends too when the gate is dropped, or with a test that went wrong.
            let _ = receiver.recv_timeout(Duration::from_secs(60));
        }
        let (sender, receiver) = channel();
        assert_eq!(cuLaunchHostFunc(stream, wait, Box::into_raw(Box::new(receiver)).cast()), 0);
        Self(sender)
    }

    /// Lets the stream go on.
    pub fn open(self) {
        self.0.send(()).unwrap();
    }
}

/// The function `k` of a module.
pub fn function(ptx: &str) -> Handle {
    let image = format!("{ptx}\0");
    let module = made(|module| cuModuleLoadData(module, image.as_ptr().cast()));
    made(|function| cuModuleGetFunction(function, module, c"k".as_ptr()))
}

/// Launches one block with 64-bit parameters.
pub fn launch(function: Handle, threads: u32, stream: Handle, parameters: &[u64]) -> u32 {
    let mut pointers: Vec<*mut c_void> =
        parameters.iter().map(|word| std::ptr::from_ref(word).cast_mut().cast()).collect();
    cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, stream, pointers.as_mut_ptr(), std::ptr::null_mut())
}

/// Kernel `k(p0, p1)`: adds the low word of `p1` to the words at `p0`, one a thread.
pub const ADD: &str = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1)\n{\n\
    .reg .b32 %r<9>;\n.reg .b64 %rd<9>;\nld.param.u64 %rd1, [p0];\nld.param.u32 %r1, [p1];\nmov.u32 %r2, %tid.x;\n\
    mul.wide.u32 %rd2, %r2, 4;\nadd.u64 %rd3, %rd1, %rd2;\nld.global.u32 %r3, [%rd3];\nadd.u32 %r3, %r3, %r1;\n\
    st.global.u32 [%rd3], %r3;\nret;\n}\n";

/// Runs one test of this executable in a process of its own, with an environment of its own.
pub fn child(test: &str, environment: &[(&str, &str)]) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--ignored", "--nocapture"]).envs(environment.iter().copied());
    child.output().unwrap()
}

/// As [`child`], for a test that has to pass.
#[track_caller]
pub fn passes(test: &str, environment: &[(&str, &str)]) -> String {
    let output = child(test, environment);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text
}
