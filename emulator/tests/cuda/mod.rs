//! The driver API by its C interface, opened as a program would open it, and what tests of it do often.
#![allow(dead_code, unreachable_pub, reason = "each test has a copy, and uses a part of it")]

mod api;

use std::ffi::{CString, c_void};
use std::process::{Command, Output};
use std::ptr::{from_mut, null_mut};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use libloading::os::unix::Library;
use warpwright_emulator::driver::{Choice, Selected, select};

pub use api::*;

pub static SELECTED: LazyLock<Selected> = LazyLock::new(|| select(Choice::Emulator).unwrap());

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    LazyLock::force(&SELECTED);
    // SAFETY: the emulator is open already under this name, and has no initialisers.
    unsafe { Library::new("libcuda.so") }.unwrap()
});

/// The address of an exported function.
pub fn symbol(name: &str) -> Option<*mut c_void> {
    // SAFETY: the pointer is only looked at.
    unsafe { LIBRARY.get::<*mut c_void>(name.as_bytes()) }.ok().map(|symbol| symbol.as_raw_ptr())
}

/// A call has to succeed.
#[track_caller]
pub fn ok(code: Code) {
    assert_eq!(code, SUCCESS);
}

/// What a call that has to succeed writes by the pointer that it is given.
#[track_caller]
pub fn made<T: Default>(call: impl FnOnce(*mut T) -> Code) -> T {
    let mut value = T::default();
    ok(call(&mut value));
    value
}

/// Starts CUDA, and makes the primary context of a device the current one.
pub fn start(device: i32) -> Handle {
    ok(cuInit(0));
    let context = made(|context| cuDevicePrimaryCtxRetain(context, device));
    ok(cuCtxSetCurrent(context));
    context
}

/// A new context of device 0, which becomes the current one.
pub fn context() -> Handle {
    ok(cuInit(0));
    made(|context| cuCtxCreate_v2(context, 0, 0))
}

/// A stream that is in order with the legacy stream.
pub fn blocking_stream() -> Handle {
    made(|stream| cuStreamCreate(stream, 0))
}

/// A stream that has nothing to do with the legacy stream.
pub fn stream() -> Handle {
    made(|stream| cuStreamCreate(stream, 1))
}

/// An event that has no time.
pub fn event() -> Handle {
    made(|event| cuEventCreate(event, 2))
}

/// An event that has a time.
pub fn timed_event() -> Handle {
    made(|event| cuEventCreate(event, 0))
}

/// Device memory with values in it.
pub fn upload<T: Copy>(values: &[T]) -> u64 {
    let address = made(|address| cuMemAlloc_v2(address, size_of_val(values)));
    ok(cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values)));
    address
}

/// What device memory holds, once the legacy stream has come to it.
pub fn download(address: u64, count: usize) -> Vec<u32> {
    let mut values = vec![0xdead_beef; count];
    ok(cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, 4 * count));
    values
}

/// What device memory holds, once all work of the context is done.
pub fn results(address: u64, count: usize) -> Vec<u32> {
    ok(cuCtxSynchronize());
    download(address, count)
}

/// Pinned memory of `count` words, zero. It lives until it is freed.
pub fn pinned(count: usize) -> &'static mut [u32] {
    let mut memory = null_mut();
    ok(cuMemHostAlloc(&mut memory, 4 * count, 0));
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
        ok(cuLaunchHostFunc(stream, wait, Box::into_raw(Box::new(receiver)).cast()));
        Self(sender)
    }

    /// Lets the stream go on.
    pub fn open(self) {
        self.0.send(()).unwrap();
    }
}

/// Adds one to an `AtomicU32`.
pub unsafe extern "C" fn increment(counter: *mut c_void) {
    // SAFETY: each test gives a counter that stays.
    unsafe { &*counter.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
}

pub fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Loads PTX.
pub fn module(ptx: &str) -> Handle {
    made(|module| cuModuleLoadData(module, text(ptx).as_ptr().cast()))
}

pub fn function(module: Handle, name: &str) -> Handle {
    made(|function| cuModuleGetFunction(function, module, text(name).as_ptr()))
}

/// The function `k` of PTX.
pub fn kernel(ptx: &str) -> Handle {
    function(module(ptx), "k")
}

/// Kernel `k(p0, p1)`: adds the low word of `p1` to the words at `p0`, one a thread.
pub const ADD: &str = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1)\n{\n\
    .reg .b32 %r<9>;\n.reg .b64 %rd<9>;\nld.param.u64 %rd1, [p0];\nld.param.u32 %r1, [p1];\nmov.u32 %r2, %tid.x;\n\
    mul.wide.u32 %rd2, %r2, 4;\nadd.u64 %rd3, %rd1, %rd2;\nld.global.u32 %r3, [%rd3];\nadd.u32 %r3, %r3, %r1;\n\
    st.global.u32 [%rd3], %r3;\nret;\n}\n";

/// Kernels of one thread. `put` writes a number; `add` adds a number; `log` writes a number behind those that were written,
/// whose count is the first number; `copy` copies a number.
pub const PTX: &str = "
.version 8.0
.target sm_70
.address_size 64
.visible .entry put(.param .u64 to, .param .u32 value) {
    .reg .b64 %d<2>; .reg .b32 %r<2>;
    ld.param.u64 %d0, [to]; ld.param.u32 %r0, [value];
    st.global.u32 [%d0], %r0;
    ret;
}
.visible .entry add(.param .u64 to, .param .u32 value) {
    .reg .b64 %d<2>; .reg .b32 %r<3>;
    ld.param.u64 %d0, [to]; ld.param.u32 %r0, [value];
    atom.global.add.u32 %r1, [%d0], %r0;
    ret;
}
.visible .entry log(.param .u64 to, .param .u32 value) {
    .reg .b64 %d<4>; .reg .b32 %r<3>;
    ld.param.u64 %d0, [to]; ld.param.u32 %r0, [value];
    atom.global.add.u32 %r1, [%d0], 1;
    mul.wide.u32 %d1, %r1, 4;
    add.u64 %d2, %d0, %d1;
    st.global.u32 [%d2+4], %r0;
    ret;
}
.visible .entry copy(.param .u64 to, .param .u64 from) {
    .reg .b64 %d<2>; .reg .b32 %r<2>;
    ld.param.u64 %d0, [to]; ld.param.u64 %d1, [from];
    ld.global.u32 %r0, [%d1];
    st.global.u32 [%d0], %r0;
    ret;
}
";

/// 64-bit arguments of a kernel, which may use the low words alone.
pub struct Arguments {
    _values: Vec<u64>,
    places: Vec<*mut c_void>,
}

impl Arguments {
    pub fn new(values: &[u64]) -> Self {
        let mut values = values.to_vec();
        let places = values.iter_mut().map(|value| from_mut(value).cast()).collect();
        Self { _values: values, places }
    }

    pub fn as_ptr(&mut self) -> *mut *mut c_void {
        self.places.as_mut_ptr()
    }

    /// A node of one thread.
    pub fn node(&mut self, function: Handle) -> KernelNode {
        let (parameters, extra) = (self.as_ptr(), null_mut());
        KernelNode { function, grid: [1; 3], block: [1; 3], shared: 0, parameters, extra, kernel: 0, context: 0 }
    }
}

/// Launches one block.
pub fn launch(function: Handle, threads: u32, stream: Handle, arguments: &[u64]) -> Code {
    let mut arguments = Arguments::new(arguments);
    cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, stream, arguments.as_ptr(), null_mut())
}

pub fn graph() -> Handle {
    made(|graph| cuGraphCreate(graph, 0))
}

/// Adds a kernel node of one thread.
pub fn kernel_node(graph: Handle, after: &[Handle], function: Handle, address: u64, value: u64) -> Handle {
    let mut arguments = Arguments::new(&[address, value]);
    made(|node| cuGraphAddKernelNode_v2(node, graph, after.as_ptr(), after.len(), &arguments.node(function)))
}

pub fn empty_node(graph: Handle, after: &[Handle]) -> Handle {
    made(|node| cuGraphAddEmptyNode(node, graph, after.as_ptr(), after.len()))
}

pub fn instantiate(graph: Handle) -> Handle {
    made(|executable| cuGraphInstantiateWithFlags(executable, graph, 0))
}

pub fn nodes(graph: Handle) -> Vec<Handle> {
    let mut count = made(|count| cuGraphGetNodes(graph, null_mut(), count));
    let mut nodes = vec![0; count];
    ok(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count));
    nodes
}

pub fn dependencies(node: Handle) -> Vec<Handle> {
    let mut count = 16;
    let mut nodes = vec![1; 16];
    ok(cuGraphNodeGetDependencies(node, nodes.as_mut_ptr(), &mut count));
    assert!(nodes[count..].iter().all(|node| *node == 0));
    nodes.truncate(count);
    nodes
}

pub fn node_type(node: Handle) -> u32 {
    let mut kind = 99;
    ok(cuGraphNodeGetType(node, &mut kind));
    kind
}

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
