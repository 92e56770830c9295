//! The driver API of the shared library, for tests: functions by their names, and a context of a test's own.
#![allow(non_snake_case, reason = "the names are those of the driver API")]
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(unused_macros, reason = "no test uses all of it")]
#![allow(unreachable_pub, reason = "it is private to each test")]

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use libloading::os::unix::Library;

/// A handle, or null.
pub type H = usize;
/// A `CUresult`.
pub type Code = u32;
pub type HostFn = unsafe extern "C" fn(*mut c_void);

pub const SUCCESS: Code = 0;
pub const INVALID_VALUE: Code = 1;
pub const INVALID_IMAGE: Code = 200;
pub const NO_BINARY_FOR_GPU: Code = 209;
pub const INVALID_PTX: Code = 218;
pub const UNSUPPORTED_PTX_VERSION: Code = 222;
pub const FILE_NOT_FOUND: Code = 301;
pub const INVALID_HANDLE: Code = 400;
pub const ILLEGAL_STATE: Code = 401;
pub const LOSSY_QUERY: Code = 402;
pub const NOT_FOUND: Code = 500;
pub const COOPERATIVE_LAUNCH_TOO_LARGE: Code = 720;
pub const NOT_PERMITTED: Code = 800;
pub const NOT_SUPPORTED: Code = 801;
pub const CAPTURE_UNSUPPORTED: Code = 900;
pub const CAPTURE_INVALIDATED: Code = 901;
pub const CAPTURE_MERGE: Code = 902;
pub const CAPTURE_UNMATCHED: Code = 903;
pub const CAPTURE_UNJOINED: Code = 904;
pub const CAPTURE_ISOLATION: Code = 905;
pub const CAPTURE_IMPLICIT: Code = 906;
pub const CAPTURED_EVENT: Code = 907;
pub const CAPTURE_WRONG_THREAD: Code = 908;
pub const EXEC_UPDATE_FAILURE: Code = 910;
pub const INVALID_CLUSTER_SIZE: Code = 912;

/// The emulator's shared library, which is built beside the test.
static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let executable = std::env::current_exe().unwrap();
    let folder = executable.parent().unwrap();
    let name = "libwarpwright_emulator.so";
    let path = [folder.join(name), folder.join("..").join(name)].into_iter().find(|path| path.exists());
    // SAFETY: the library has no initialisers.
    unsafe { Library::new(path.expect("the shared library is built with the test")) }.unwrap()
});

fn symbol<T: Copy>(name: &str) -> T {
    // SAFETY: the table below states the signatures as `cuda.h` does.
    unsafe { *LIBRARY.get::<T>(name.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}")) }
}

/// `CUgraphEdgeData`: ports of both ends, kind, reserved.
pub type EdgeData = [u8; 8];

/// `CUDA_KERNEL_NODE_PARAMS_v2`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelNode {
    pub function: H,
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub parameters: *mut *mut c_void,
    pub extra: *mut *mut c_void,
    pub kernel: H,
    pub context: H,
}

/// `CUDA_MEMSET_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemsetNode {
    pub to: u64,
    pub pitch: usize,
    pub value: c_uint,
    pub element: c_uint,
    pub width: usize,
    pub height: usize,
}

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    pub x: usize,
    pub y: usize,
    pub z: usize,
    pub level: usize,
    pub kind: c_uint,
    pub host: usize,
    pub device: u64,
    pub array: usize,
    pub reserved: usize,
    pub pitch: usize,
    pub height: usize,
}

/// `CUDA_MEMCPY3D`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy3 {
    pub from: Side,
    pub to: Side,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

impl Side {
    pub fn device(address: u64) -> Self {
        let (x, y, z, level, host, array, reserved, pitch, height) = (0, 0, 0, 0, 0, 0, 0, 0, 0);
        Self { x, y, z, level, kind: 2, host, device: address, array, reserved, pitch, height }
    }

    pub fn host<T>(at: *const T) -> Self {
        Self { kind: 1, host: at as usize, device: 0, ..Self::device(0) }
    }
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AllocNode {
    pub properties: [u64; 11],
    pub access: usize,
    pub access_count: usize,
    pub bytes: usize,
    pub address: u64,
}

impl AllocNode {
    /// Pinned memory of device 0.
    pub fn new(bytes: usize) -> Self {
        let mut properties = [0; 11];
        (properties[0], properties[1]) = (1, 1);
        Self { properties, access: 0, access_count: 0, bytes, address: 0 }
    }
}

/// `CUgraphNodeParams`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnyNode {
    pub kind: c_uint,
    pub reserved: [c_uint; 3],
    pub of_kind: [u64; 29],
    pub reserved_too: u64,
}

impl AnyNode {
    pub fn new<T: Copy>(kind: c_uint, parameters: T) -> Self {
        let mut this = Self { kind, reserved: [0; 3], of_kind: [0; 29], reserved_too: 0 };
        assert!(size_of::<T>() <= size_of_val(&this.of_kind));
        // SAFETY: there is room.
        unsafe { this.of_kind.as_mut_ptr().cast::<T>().write(parameters) };
        this
    }
}

/// `CUlaunchConfig`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub stream: H,
    pub attributes: *const Attribute,
    pub count: c_uint,
}

/// `CUlaunchAttribute`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Attribute {
    pub id: c_uint,
    pub padding: c_uint,
    pub value: AttributeValue,
}

/// `CUlaunchAttributeValue`
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeValue(pub [c_uint; 16]);

impl Attribute {
    pub fn new(id: c_uint, first: &[c_uint]) -> Self {
        let mut value = AttributeValue([0; 16]);
        value.0[..first.len()].copy_from_slice(first);
        Self { id, padding: 0, value }
    }
}

/// Functions that give the function of their name.
macro_rules! functions {
    ($($name:ident($($type:ty),* $(,)?);)*) => {$(
        pub fn $name() -> unsafe extern "C" fn($($type),*) -> Code {
            symbol(stringify!($name))
        }
    )*};
}

functions! {
    cuInit(c_uint);
    cuCtxCreate_v2(*mut H, c_uint, c_int);
    cuCtxSetCurrent(H);
    cuCtxGetCurrent(*mut H);
    cuCtxSynchronize();
    cuMemAlloc_v2(*mut u64, usize);
    cuMemFree_v2(u64);
    cuMemAllocAsync(*mut u64, usize, H);
    cuMemFreeAsync(u64, H);
    cuMemcpyHtoD_v2(u64, *const c_void, usize);
    cuMemcpyDtoH_v2(*mut c_void, u64, usize);
    cuMemcpyDtoDAsync_v2(u64, u64, usize, H);
    cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, H);
    cuMemsetD8_v2(u64, u8, usize);
    cuMemsetD32Async(u64, c_uint, usize, H);
    cuMemsetD2D8Async(u64, usize, u8, usize, usize, H);
    cuStreamCreate(*mut H, c_uint);
    cuStreamDestroy_v2(H);
    cuStreamSynchronize(H);
    cuStreamQuery(H);
    cuStreamWaitEvent(H, H, c_uint);
    cuStreamBeginCapture_v2(H, c_int);
    cuStreamBeginCaptureToGraph(H, H, *const H, *const EdgeData, usize, c_int);
    cuStreamEndCapture(H, *mut H);
    cuStreamIsCapturing(H, *mut c_int);
    cuStreamGetCaptureInfo_v2(H, *mut c_int, *mut u64, *mut H, *mut *const H, *mut usize);
    cuStreamGetCaptureInfo_v3(H, *mut c_int, *mut u64, *mut H, *mut *const H, *mut *const EdgeData, *mut usize);
    cuStreamUpdateCaptureDependencies(H, *const H, usize, c_uint);
    cuStreamUpdateCaptureDependencies_v2(H, *const H, *const EdgeData, usize, c_uint);
    cuThreadExchangeStreamCaptureMode(*mut c_int);
    cuLaunchHostFunc(H, HostFn, *mut c_void);
    cuEventCreate(*mut H, c_uint);
    cuEventRecord(H, H);
    cuEventRecordWithFlags(H, H, c_uint);
    cuEventQuery(H);
    cuEventSynchronize(H);
    cuEventElapsedTime(*mut f32, H, H);
    cuModuleLoad(*mut H, *const c_char);
    cuModuleLoadData(*mut H, *const c_void);
    cuModuleLoadDataEx(*mut H, *const c_void, c_uint, *const c_int, *mut *mut c_void);
    cuModuleLoadFatBinary(*mut H, *const c_void);
    cuModuleUnload(H);
    cuModuleGetLoadingMode(*mut c_int);
    cuModuleGetFunction(*mut H, H, *const c_char);
    cuModuleGetFunctionCount(*mut c_uint, H);
    cuModuleEnumerateFunctions(*mut H, c_uint, H);
    cuModuleGetGlobal_v2(*mut u64, *mut usize, H, *const c_char);
    cuModuleGetTexRef(*mut H, H, *const c_char);
    cuLibraryLoadData(*mut H, *const c_void, *const c_int, *mut *mut c_void, c_uint, *const c_int, *mut *mut c_void,
        c_uint);
    cuLibraryLoadFromFile(*mut H, *const c_char, *const c_int, *mut *mut c_void, c_uint, *const c_int,
        *mut *mut c_void, c_uint);
    cuLibraryUnload(H);
    cuLibraryGetKernel(*mut H, H, *const c_char);
    cuLibraryGetKernelCount(*mut c_uint, H);
    cuLibraryEnumerateKernels(*mut H, c_uint, H);
    cuLibraryGetModule(*mut H, H);
    cuLibraryGetGlobal(*mut u64, *mut usize, H, *const c_char);
    cuLibraryGetManaged(*mut u64, *mut usize, H, *const c_char);
    cuKernelGetFunction(*mut H, H);
    cuKernelGetLibrary(*mut H, H);
    cuKernelGetName(*mut *const c_char, H);
    cuKernelGetAttribute(*mut c_int, c_int, H, c_int);
    cuKernelSetAttribute(c_int, c_int, H, c_int);
    cuKernelGetParamInfo(H, usize, *mut usize, *mut usize);
    cuLinkCreate_v2(c_uint, *const c_int, *mut *mut c_void, *mut H);
    cuLinkAddData_v2(H, c_int, *const c_void, usize, *const c_char, c_uint, *const c_int, *mut *mut c_void);
    cuLinkAddFile_v2(H, c_int, *const c_char, c_uint, *const c_int, *mut *mut c_void);
    cuLinkComplete(H, *mut *mut c_void, *mut usize);
    cuLinkDestroy(H);
    cuFuncGetAttribute(*mut c_int, c_int, H);
    cuFuncSetAttribute(H, c_int, c_int);
    cuFuncSetCacheConfig(H, c_int);
    cuFuncSetSharedMemConfig(H, c_int);
    cuFuncGetModule(*mut H, H);
    cuFuncGetName(*mut *const c_char, H);
    cuFuncIsLoaded(*mut c_int, H);
    cuFuncLoad(H);
    cuFuncGetParamInfo(H, usize, *mut usize, *mut usize);
    cuFuncSetBlockShape(H, c_int, c_int, c_int);
    cuFuncSetSharedSize(H, c_uint);
    cuParamSetSize(H, c_uint);
    cuParamSeti(H, c_int, c_uint);
    cuParamSetv(H, c_int, *const c_void, c_uint);
    cuLaunch(H);
    cuLaunchGrid(H, c_int, c_int);
    cuLaunchKernel(H, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, H, *mut *mut c_void, *mut *mut c_void);
    cuLaunchCooperativeKernel(H, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, H, *mut *mut c_void);
    cuLaunchCooperativeKernelMultiDevice(*mut c_void, c_uint, c_uint);
    cuLaunchKernelEx(*const LaunchConfig, H, *mut *mut c_void, *mut *mut c_void);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(*mut c_int, H, c_int, usize);
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(*mut c_int, H, c_int, usize, c_uint);
    cuOccupancyMaxPotentialBlockSize(*mut c_int, *mut c_int, H, Option<unsafe extern "C" fn(c_int) -> usize>, usize,
        c_int);
    cuOccupancyAvailableDynamicSMemPerBlock(*mut usize, H, c_int, c_int);
    cuOccupancyMaxPotentialClusterSize(*mut c_int, H, *const LaunchConfig);
    cuOccupancyMaxActiveClusters(*mut c_int, H, *const LaunchConfig);
    cuGraphCreate(*mut H, c_uint);
    cuGraphDestroy(H);
    cuGraphClone(*mut H, H);
    cuGraphNodeFindInClone(*mut H, H, H);
    cuGraphGetNodes(H, *mut H, *mut usize);
    cuGraphGetRootNodes(H, *mut H, *mut usize);
    cuGraphGetEdges(H, *mut H, *mut H, *mut usize);
    cuGraphGetEdges_v2(H, *mut H, *mut H, *mut EdgeData, *mut usize);
    cuGraphNodeGetDependencies(H, *mut H, *mut usize);
    cuGraphNodeGetDependencies_v2(H, *mut H, *mut EdgeData, *mut usize);
    cuGraphNodeGetDependentNodes(H, *mut H, *mut usize);
    cuGraphAddDependencies(H, *const H, *const H, usize);
    cuGraphAddDependencies_v2(H, *const H, *const H, *const EdgeData, usize);
    cuGraphRemoveDependencies(H, *const H, *const H, usize);
    cuGraphRemoveDependencies_v2(H, *const H, *const H, *const EdgeData, usize);
    cuGraphDebugDotPrint(H, *const c_char, c_uint);
    cuGraphInstantiateWithFlags(*mut H, H, u64);
    cuGraphInstantiateWithParams(*mut H, H, *mut InstantiateParams);
    cuGraphExecGetFlags(H, *mut u64);
    cuGraphExecUpdate_v2(H, H, *mut UpdateResult);
    cuGraphNodeSetEnabled(H, H, c_uint);
    cuGraphNodeGetEnabled(H, H, *mut c_uint);
    cuGraphExecDestroy(H);
    cuGraphUpload(H, H);
    cuGraphLaunch(H, H);
    cuGraphNodeGetType(H, *mut c_uint);
    cuGraphDestroyNode(H);
    cuGraphAddKernelNode_v2(*mut H, H, *const H, usize, *const KernelNode);
    cuGraphKernelNodeGetParams_v2(H, *mut KernelNode);
    cuGraphKernelNodeSetParams_v2(H, *const KernelNode);
    cuGraphExecKernelNodeSetParams_v2(H, H, *const KernelNode);
    cuGraphKernelNodeSetAttribute(H, c_uint, *const AttributeValue);
    cuGraphKernelNodeGetAttribute(H, c_uint, *mut AttributeValue);
    cuGraphKernelNodeCopyAttributes(H, H);
    cuGraphAddMemcpyNode(*mut H, H, *const H, usize, *const Copy3, H);
    cuGraphMemcpyNodeGetParams(H, *mut Copy3);
    cuGraphMemcpyNodeSetParams(H, *const Copy3);
    cuGraphExecMemcpyNodeSetParams(H, H, *const Copy3, H);
    cuGraphAddMemsetNode(*mut H, H, *const H, usize, *const MemsetNode, H);
    cuGraphMemsetNodeGetParams(H, *mut MemsetNode);
    cuGraphMemsetNodeSetParams(H, *const MemsetNode);
    cuGraphExecMemsetNodeSetParams(H, H, *const MemsetNode, H);
    cuGraphAddHostNode(*mut H, H, *const H, usize, *const HostNode);
    cuGraphHostNodeGetParams(H, *mut HostNode);
    cuGraphExecHostNodeSetParams(H, H, *const HostNode);
    cuGraphAddEmptyNode(*mut H, H, *const H, usize);
    cuGraphAddChildGraphNode(*mut H, H, *const H, usize, H);
    cuGraphChildGraphNodeGetGraph(H, *mut H);
    cuGraphExecChildGraphNodeSetParams(H, H, H);
    cuGraphAddEventRecordNode(*mut H, H, *const H, usize, H);
    cuGraphEventRecordNodeGetEvent(H, *mut H);
    cuGraphAddEventWaitNode(*mut H, H, *const H, usize, H);
    cuGraphEventWaitNodeGetEvent(H, *mut H);
    cuGraphEventWaitNodeSetEvent(H, H);
    cuGraphExecEventRecordNodeSetEvent(H, H, H);
    cuGraphAddMemAllocNode(*mut H, H, *const H, usize, *mut AllocNode);
    cuGraphMemAllocNodeGetParams(H, *mut AllocNode);
    cuGraphAddMemFreeNode(*mut H, H, *const H, usize, u64);
    cuGraphMemFreeNodeGetParams(H, *mut u64);
    cuGraphAddBatchMemOpNode(*mut H, H, *const H, usize, *const c_void);
    cuGraphAddNode_v2(*mut H, H, *const H, *const EdgeData, usize, *mut AnyNode);
    cuGraphNodeSetParams(H, *mut AnyNode);
    cuGraphExecNodeSetParams(H, H, *mut AnyNode);
    cuDeviceGetGraphMemAttribute(c_int, c_int, *mut u64);
    cuDeviceSetGraphMemAttribute(c_int, c_int, *const u64);
    cuDeviceGraphMemTrim(c_int);
    cuUserObjectCreate(*mut H, *mut c_void, HostFn, c_uint, c_uint);
    cuUserObjectRetain(H, c_uint);
    cuUserObjectRelease(H, c_uint);
    cuGraphRetainUserObject(H, H, c_uint, c_uint);
    cuGraphReleaseUserObject(H, H, c_uint);
}

/// `CUDA_HOST_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostNode {
    pub function: HostFn,
    pub data: *mut c_void,
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstantiateParams {
    pub flags: u64,
    pub upload: H,
    pub node: H,
    pub result: c_uint,
}

/// `CUgraphExecUpdateResultInfo`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateResult {
    pub result: c_uint,
    pub padding: c_uint,
    pub node: H,
    pub from: H,
}

/// Calls a function of the driver; the pointers among the arguments are good ones, or null to see what happens.
macro_rules! cu {
    ($name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: the test's own arguments.
        unsafe { $crate::common::driver::$name()($($argument),*) }
    };
}

/// As `cu`, for calls that succeed.
macro_rules! ok {
    ($name:ident($($argument:expr),* $(,)?)) => {
        assert_eq!(cu!($name($($argument),*)), 0, stringify!($name))
    };
}

/// Makes a context, which becomes the current one of this thread.
pub fn context() -> H {
    ok!(cuInit(0));
    let mut context = 0;
    ok!(cuCtxCreate_v2(&mut context, 0, 0));
    context
}

pub fn stream() -> H {
    let mut stream = 0;
    ok!(cuStreamCreate(&mut stream, 1));
    stream
}

pub fn event() -> H {
    let mut event = 0;
    ok!(cuEventCreate(&mut event, 2));
    event
}

pub fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Loads PTX.
pub fn module(ptx: &str) -> H {
    let mut module = 0;
    ok!(cuModuleLoadData(&mut module, text(ptx).as_ptr().cast()));
    module
}

pub fn function(module: H, name: &str) -> H {
    let mut function = 0;
    ok!(cuModuleGetFunction(&mut function, module, text(name).as_ptr()));
    function
}

/// Device memory with these numbers in it.
pub fn upload(values: &[u32]) -> u64 {
    let mut address = 0;
    ok!(cuMemAlloc_v2(&mut address, values.len() * 4));
    ok!(cuMemcpyHtoD_v2(address, values.as_ptr().cast(), values.len() * 4));
    address
}

/// The numbers in device memory, once all work of the context is done.
pub fn download(address: u64, count: usize) -> Vec<u32> {
    ok!(cuCtxSynchronize());
    let mut values = vec![0xDEAD_BEEFu32; count];
    ok!(cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, count * 4));
    values
}

/// Kernels of one thread. `put` writes a number; `add` adds one; `log` writes a number behind those that were written,
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

/// Arguments of a kernel of [`PTX`]: an address and a number. They stay where they are.
pub struct Arguments {
    values: Box<(u64, u64)>,
    places: [*mut c_void; 2],
}

impl Arguments {
    pub fn new(address: u64, value: u64) -> Self {
        let mut values = Box::new((address, value));
        let places = [(&raw mut values.0).cast(), (&raw mut values.1).cast()];
        Self { values, places }
    }

    pub fn as_ptr(&mut self) -> *mut *mut c_void {
        assert_eq!(self.places[0] as usize, &raw const self.values.0 as usize);
        self.places.as_mut_ptr()
    }

    /// A node of one thread.
    pub fn node(&mut self, function: H) -> KernelNode {
        let (parameters, extra) = (self.as_ptr(), null_mut());
        KernelNode { function, grid: [1; 3], block: [1; 3], shared: 0, parameters, extra, kernel: 0, context: 0 }
    }
}

/// Launches a kernel of [`PTX`] with one thread.
pub fn launch(function: H, stream: H, address: u64, value: u64) -> Code {
    let mut arguments = Arguments::new(address, value);
    cu!(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, arguments.as_ptr(), null_mut()))
}

pub fn graph() -> H {
    let mut graph = 0;
    ok!(cuGraphCreate(&mut graph, 0));
    graph
}

/// Adds a kernel node of one thread.
pub fn kernel_node(graph: H, after: &[H], function: H, address: u64, value: u64) -> H {
    let mut node = 0;
    let parameters = Arguments::new(address, value);
    let mut parameters = parameters;
    let parameters = parameters.node(function);
    ok!(cuGraphAddKernelNode_v2(&mut node, graph, after.as_ptr(), after.len(), &parameters));
    node
}

pub fn empty_node(graph: H, after: &[H]) -> H {
    let mut node = 0;
    ok!(cuGraphAddEmptyNode(&mut node, graph, after.as_ptr(), after.len()));
    node
}

pub fn instantiate(graph: H) -> H {
    let mut executable = 0;
    ok!(cuGraphInstantiateWithFlags(&mut executable, graph, 0));
    executable
}

pub fn nodes(graph: H) -> Vec<H> {
    let mut count = 0;
    ok!(cuGraphGetNodes(graph, null_mut(), &mut count));
    let mut nodes = vec![0; count];
    ok!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count));
    nodes
}

pub fn dependencies(node: H) -> Vec<H> {
    let mut count = 16;
    let mut nodes = vec![1; 16];
    ok!(cuGraphNodeGetDependencies(node, nodes.as_mut_ptr(), &mut count));
    assert!(nodes[count..].iter().all(|node| *node == 0));
    nodes.truncate(count);
    nodes
}

pub fn node_type(node: H) -> u32 {
    let mut kind = 99;
    ok!(cuGraphNodeGetType(node, &mut kind));
    kind
}

pub const NONE: *const H = null();
