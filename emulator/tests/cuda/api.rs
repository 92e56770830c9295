//! What `cuda.h` declares, as far as tests use it: codes, structures and functions.
#![allow(non_upper_case_globals, reason = "the names are those of the driver API")]

use std::ffi::{c_char, c_void};
use std::sync::LazyLock;

/// A handle, or null.
pub type Handle = usize;
/// `CUresult`
pub type Code = u32;
/// `CUhostFn`
pub type HostFunction = unsafe extern "C" fn(*mut c_void);

pub const SUCCESS: Code = 0;
pub const INVALID_VALUE: Code = 1;
pub const OUT_OF_MEMORY: Code = 2;
pub const NOT_INITIALIZED: Code = 3;
pub const INVALID_DEVICE: Code = 101;
pub const INVALID_IMAGE: Code = 200;
pub const INVALID_CONTEXT: Code = 201;
pub const NO_BINARY_FOR_GPU: Code = 209;
pub const INVALID_PTX: Code = 218;
pub const UNSUPPORTED_PTX_VERSION: Code = 222;
pub const FILE_NOT_FOUND: Code = 301;
pub const INVALID_HANDLE: Code = 400;
pub const ILLEGAL_STATE: Code = 401;
pub const LOSSY_QUERY: Code = 402;
pub const NOT_FOUND: Code = 500;
pub const NOT_READY: Code = 600;
pub const ILLEGAL_ADDRESS: Code = 700;
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

/// `CUgraphEdgeData`: ports of both ends, kind, reserved.
pub type EdgeData = [u8; 8];

/// `CUDA_KERNEL_NODE_PARAMS_v2`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelNode {
    pub function: Handle,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub parameters: *mut *mut c_void,
    pub extra: *mut *mut c_void,
    pub kernel: Handle,
    pub context: Handle,
}

/// `CUtensorMap`
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMap(pub [u64; 16]);

/// `CUDA_MEMSET_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemsetNode {
    pub to: u64,
    pub pitch: usize,
    pub value: u32,
    pub element: u32,
    pub width: usize,
    pub height: usize,
}

/// One side of `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side2 {
    pub x: usize,
    pub y: usize,
    pub kind: u32,
    pub host: usize,
    pub device: u64,
    pub array: usize,
    pub pitch: usize,
}

/// `CUDA_MEMCPY2D`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Copy2 {
    pub from: Side2,
    pub to: Side2,
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
    pub kind: u32,
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

/// `CUmemPoolProps`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PoolProperties {
    pub allocation: i32,
    pub handles: i32,
    pub location: [i32; 2],
    pub security: usize,
    pub maximum: usize,
    pub usage: u16,
    pub reserved: [u8; 54],
}

impl PoolProperties {
    /// Pinned memory of device 0.
    pub fn new(maximum: usize) -> Self {
        let (allocation, handles, location, security, usage, reserved) = (1, 0, [1, 0], 0, 0, [0; 54]);
        Self { allocation, handles, location, security, maximum, usage, reserved }
    }
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AllocNode {
    pub properties: PoolProperties,
    pub access: usize,
    pub access_count: usize,
    pub bytes: usize,
    pub address: u64,
}

impl AllocNode {
    pub fn new(bytes: usize) -> Self {
        Self { properties: PoolProperties::new(0), access: 0, access_count: 0, bytes, address: 0 }
    }
}

/// `CUgraphNodeParams`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnyNode {
    pub kind: u32,
    pub reserved: [u32; 3],
    pub of_kind: [u64; 29],
    pub reserved_too: u64,
}

impl AnyNode {
    pub fn new<T: Copy>(kind: u32, parameters: T) -> Self {
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
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub stream: Handle,
    pub attributes: *const Attribute,
    pub count: u32,
}

/// `CUlaunchAttribute`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Attribute {
    pub id: u32,
    pub padding: u32,
    pub value: AttributeValue,
}

/// `CUlaunchAttributeValue`
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeValue(pub [u32; 16]);

impl Attribute {
    pub fn new(id: u32, first: &[u32]) -> Self {
        let mut value = AttributeValue([0; 16]);
        value.0[..first.len()].copy_from_slice(first);
        Self { id, padding: 0, value }
    }
}

/// `CUDA_HOST_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostNode {
    pub function: HostFunction,
    pub data: *mut c_void,
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstantiateParams {
    pub flags: u64,
    pub upload: Handle,
    pub node: Handle,
    pub result: u32,
}

/// `CUgraphExecUpdateResultInfo`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateResult {
    pub result: u32,
    pub padding: u32,
    pub node: Handle,
    pub from: Handle,
}

/// Functions of the driver API with the argument types of `cuda.h`, each looked up when it is first called. They are safe
/// to call for the sake of short tests, which answer for the pointers among the arguments.
macro_rules! functions {
    ($($name:ident($($type:ty),* $(,)?);)*) => {$(
        pub static $name: LazyLock<extern "C" fn($($type),*) -> Code> = LazyLock::new(|| {
            // SAFETY: the signature is that of `cuda.h`.
            unsafe { *super::LIBRARY.get(stringify!($name).as_bytes()).unwrap() }
        });
    )*};
}

functions! {
    cuInit(u32);
    cuDriverGetVersion(*mut i32);
    cuGetErrorName(u32, *mut *const c_char);
    cuGetErrorString(u32, *mut *const c_char);
    cuGetProcAddress(*const c_char, *mut *mut c_void, i32, u64);
    cuGetProcAddress_v2(*const c_char, *mut *mut c_void, i32, u64, *mut i32);
    cuGetExportTable(*mut *const c_void, *const [u8; 16]);

    cuDeviceGetCount(*mut i32);
    cuDeviceGet(*mut i32, i32);
    cuDeviceGetName(*mut c_char, i32, i32);
    cuDeviceGetUuid_v2(*mut [u8; 16], i32);
    cuDeviceGetLuid(*mut c_char, *mut u32, i32);
    cuDeviceTotalMem_v2(*mut usize, i32);
    cuDeviceGetAttribute(*mut i32, i32, i32);
    cuDeviceGetPCIBusId(*mut c_char, i32, i32);
    cuDeviceGetByPCIBusId(*mut i32, *const c_char);
    cuDeviceCanAccessPeer(*mut i32, i32, i32);
    cuDeviceGetP2PAttribute(*mut i32, u32, i32, i32);
    cuDevicePrimaryCtxRetain(*mut Handle, i32);
    cuDevicePrimaryCtxRelease_v2(i32);
    cuDevicePrimaryCtxReset_v2(i32);
    cuDevicePrimaryCtxSetFlags_v2(i32, u32);
    cuDevicePrimaryCtxGetState(i32, *mut u32, *mut i32);
    cuDeviceGetDefaultMemPool(*mut Handle, i32);
    cuDeviceGetMemPool(*mut Handle, i32);

    cuCtxCreate_v2(*mut Handle, u32, i32);
    cuCtxCreate_v4(*mut Handle, *mut c_void, u32, i32);
    cuCtxDestroy_v2(Handle);
    cuCtxAttach(*mut Handle, u32);
    cuCtxDetach(Handle);
    cuCtxGetCurrent(*mut Handle);
    cuCtxSetCurrent(Handle);
    cuCtxPushCurrent_v2(Handle);
    cuCtxPopCurrent_v2(*mut Handle);
    cuCtxGetDevice(*mut i32);
    cuCtxGetId(Handle, *mut u64);
    cuCtxSynchronize();
    cuCtxGetFlags(*mut u32);
    cuCtxGetLimit(*mut usize, i32);
    cuCtxSetLimit(i32, usize);
    cuCtxGetCacheConfig(*mut u32);
    cuCtxSetCacheConfig(u32);
    cuCtxGetStreamPriorityRange(*mut i32, *mut i32);
    cuCtxRecordEvent(Handle, Handle);
    cuCtxWaitEvent(Handle, Handle);
    cuCtxEnablePeerAccess(Handle, u32);
    cuCtxDisablePeerAccess(Handle);

    cuModuleLoadData(*mut Handle, *const c_void);
    cuModuleUnload(Handle);
    cuModuleGetFunction(*mut Handle, Handle, *const c_char);
    cuLaunchKernel(Handle, u32, u32, u32, u32, u32, u32, u32, Handle, *mut *mut c_void, *mut *mut c_void);
    cuTensorMapEncodeTiled(
        *mut TensorMap, u32, u32, u64, *const u64, *const u64, *const u32, *const u32, u32, u32, u32, u32
    );
    cuTensorMapEncodeIm2col(
        *mut TensorMap, u32, u32, u64, *const u64, *const u64, *const i32, *const i32, u32, u32, *const u32, u32, u32, u32, u32
    );
    cuTensorMapReplaceAddress(*mut TensorMap, u64);
    cuModuleLoad(*mut Handle, *const c_char);
    cuModuleLoadDataEx(*mut Handle, *const c_void, u32, *const i32, *mut *mut c_void);
    cuModuleLoadFatBinary(*mut Handle, *const c_void);
    cuModuleGetLoadingMode(*mut i32);
    cuModuleGetFunctionCount(*mut u32, Handle);
    cuModuleEnumerateFunctions(*mut Handle, u32, Handle);
    cuModuleGetGlobal_v2(*mut u64, *mut usize, Handle, *const c_char);
    cuModuleGetTexRef(*mut Handle, Handle, *const c_char);
    cuLibraryLoadData(*mut Handle, *const c_void, *const i32, *mut *mut c_void, u32, *const i32, *mut *mut c_void, u32);
    cuLibraryLoadFromFile(*mut Handle, *const c_char, *const i32, *mut *mut c_void, u32, *const i32, *mut *mut c_void,
        u32);
    cuLibraryUnload(Handle);
    cuLibraryGetKernel(*mut Handle, Handle, *const c_char);
    cuLibraryGetKernelCount(*mut u32, Handle);
    cuLibraryEnumerateKernels(*mut Handle, u32, Handle);
    cuLibraryGetModule(*mut Handle, Handle);
    cuLibraryGetGlobal(*mut u64, *mut usize, Handle, *const c_char);
    cuLibraryGetManaged(*mut u64, *mut usize, Handle, *const c_char);
    cuKernelGetFunction(*mut Handle, Handle);
    cuKernelGetLibrary(*mut Handle, Handle);
    cuKernelGetName(*mut *const c_char, Handle);
    cuKernelGetAttribute(*mut i32, i32, Handle, i32);
    cuKernelSetAttribute(i32, i32, Handle, i32);
    cuKernelGetParamInfo(Handle, usize, *mut usize, *mut usize);
    cuLinkCreate_v2(u32, *const i32, *mut *mut c_void, *mut Handle);
    cuLinkAddData_v2(Handle, i32, *const c_void, usize, *const c_char, u32, *const i32, *mut *mut c_void);
    cuLinkAddFile_v2(Handle, i32, *const c_char, u32, *const i32, *mut *mut c_void);
    cuLinkComplete(Handle, *mut *mut c_void, *mut usize);
    cuLinkDestroy(Handle);
    cuFuncGetAttribute(*mut i32, i32, Handle);
    cuFuncSetAttribute(Handle, i32, i32);
    cuFuncSetCacheConfig(Handle, i32);
    cuFuncSetSharedMemConfig(Handle, i32);
    cuFuncGetModule(*mut Handle, Handle);
    cuFuncGetName(*mut *const c_char, Handle);
    cuFuncIsLoaded(*mut i32, Handle);
    cuFuncLoad(Handle);
    cuFuncSetBlockShape(Handle, i32, i32, i32);
    cuFuncSetSharedSize(Handle, u32);
    cuParamSetSize(Handle, u32);
    cuParamSeti(Handle, i32, u32);
    cuParamSetv(Handle, i32, *const c_void, u32);
    cuLaunch(Handle);
    cuLaunchGrid(Handle, i32, i32);
    cuLaunchCooperativeKernel(Handle, u32, u32, u32, u32, u32, u32, u32, Handle, *mut *mut c_void);
    cuLaunchCooperativeKernelMultiDevice(*mut c_void, u32, u32);
    cuLaunchKernelEx(*const LaunchConfig, Handle, *mut *mut c_void, *mut *mut c_void);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(*mut i32, Handle, i32, usize);
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(*mut i32, Handle, i32, usize, u32);
    cuOccupancyMaxPotentialBlockSize(*mut i32, *mut i32, Handle, Option<unsafe extern "C" fn(i32) -> usize>, usize,
        i32);
    cuOccupancyAvailableDynamicSMemPerBlock(*mut usize, Handle, i32, i32);
    cuOccupancyMaxPotentialClusterSize(*mut i32, Handle, *const LaunchConfig);
    cuOccupancyMaxActiveClusters(*mut i32, Handle, *const LaunchConfig);

    cuMemAlloc_v2(*mut u64, usize);
    cuMemAllocPitch_v2(*mut u64, *mut usize, usize, usize, u32);
    cuMemAllocManaged(*mut u64, usize, u32);
    cuMemAllocAsync(*mut u64, usize, Handle);
    cuMemAllocFromPoolAsync(*mut u64, usize, Handle, Handle);
    cuMemFree_v2(u64);
    cuMemFreeAsync(u64, Handle);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuMemGetAddressRange_v2(*mut u64, *mut usize, u64);
    cuMemHostAlloc(*mut *mut c_void, usize, u32);
    cuMemFreeHost(*mut c_void);
    cuMemHostGetFlags(*mut u32, *mut c_void);
    cuMemHostGetDevicePointer_v2(*mut u64, *mut c_void, u32);
    cuMemHostRegister_v2(*mut c_void, usize, u32);
    cuMemHostUnregister(*mut c_void);
    cuPointerGetAttribute(*mut u64, i32, u64);
    cuPointerGetAttributes(u32, *const i32, *mut *mut c_void, u64);
    cuPointerSetAttribute(*const u32, i32, u64);
    cuMemcpy(u64, u64, usize);
    cuMemcpyAsync(u64, u64, usize, Handle);
    cuMemcpyHtoD_v2(u64, *const c_void, usize);
    cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, Handle);
    cuMemcpyDtoH_v2(*mut c_void, u64, usize);
    cuMemcpyDtoHAsync_v2(*mut c_void, u64, usize, Handle);
    cuMemcpyDtoD_v2(u64, u64, usize);
    cuMemcpyDtoDAsync_v2(u64, u64, usize, Handle);
    cuMemcpyPeer(u64, Handle, u64, Handle, usize);
    cuMemcpyPeerAsync(u64, Handle, u64, Handle, usize, Handle);
    cuMemcpy2D_v2(*const Copy2);
    cuMemcpy2DAsync_v2(*const Copy2, Handle);
    cuMemcpy3D_v2(*const Copy3);
    cuMemsetD8_v2(u64, u8, usize);
    cuMemsetD16_v2(u64, u16, usize);
    cuMemsetD32_v2(u64, u32, usize);
    cuMemsetD32Async(u64, u32, usize, Handle);
    cuMemsetD2D8_v2(u64, usize, u8, usize, usize);
    cuMemsetD2D32Async(u64, usize, u32, usize, usize, Handle);
    cuMemPoolCreate(*mut Handle, *const PoolProperties);
    cuMemPoolDestroy(Handle);
    cuMemPoolTrimTo(Handle, usize);
    cuMemPoolGetAttribute(Handle, i32, *mut u64);
    cuMemPoolSetAttribute(Handle, i32, *mut u64);
    cuMemPoolSetAccess(Handle, *const [i32; 3], usize);
    cuMemPoolGetAccess(*mut u32, Handle, *mut [i32; 2]);
    cuArrayCreate_v2(*mut Handle, *const c_void);
    cuMemsetD2D8Async(u64, usize, u8, usize, usize, Handle);

    cuStreamCreate(*mut Handle, u32);
    cuStreamCreateWithPriority(*mut Handle, u32, i32);
    cuStreamDestroy_v2(Handle);
    cuStreamSynchronize(Handle);
    cuStreamQuery(Handle);
    cuStreamWaitEvent(Handle, Handle, u32);
    cuStreamGetId(Handle, *mut u64);
    cuStreamGetPriority(Handle, *mut i32);
    cuStreamGetAttribute(Handle, i32, *mut [u64; 8]);
    cuStreamSetAttribute(Handle, i32, *const [u64; 8]);
    cuStreamCopyAttributes(Handle, Handle);
    cuStreamAddCallback(Handle, unsafe extern "C" fn(Handle, u32, *mut c_void), *mut c_void, u32);
    cuStreamWaitValue32_v2(Handle, u64, u32, u32);
    cuStreamWaitValue64_v2(Handle, u64, u64, u32);
    cuStreamWriteValue32_v2(Handle, u64, u32, u32);
    cuStreamWriteValue64_v2(Handle, u64, u64, u32);
    cuLaunchHostFunc(Handle, HostFunction, *mut c_void);
    cuEventCreate(*mut Handle, u32);
    cuEventDestroy_v2(Handle);
    cuEventRecord(Handle, Handle);
    cuEventQuery(Handle);
    cuEventSynchronize(Handle);
    cuEventElapsedTime_v2(*mut f32, Handle, Handle);
    cuStreamBeginCapture_v2(Handle, i32);
    cuStreamBeginCaptureToGraph(Handle, Handle, *const Handle, *const EdgeData, usize, i32);
    cuStreamEndCapture(Handle, *mut Handle);
    cuStreamIsCapturing(Handle, *mut i32);
    cuStreamGetCaptureInfo_v2(Handle, *mut i32, *mut u64, *mut Handle, *mut *const Handle, *mut usize);
    cuStreamGetCaptureInfo_v3(Handle, *mut i32, *mut u64, *mut Handle, *mut *const Handle, *mut *const EdgeData, *mut
        usize);
    cuStreamUpdateCaptureDependencies(Handle, *const Handle, usize, u32);
    cuStreamUpdateCaptureDependencies_v2(Handle, *const Handle, *const EdgeData, usize, u32);
    cuThreadExchangeStreamCaptureMode(*mut i32);
    cuEventRecordWithFlags(Handle, Handle, u32);
    cuEventElapsedTime(*mut f32, Handle, Handle);

    cuGraphCreate(*mut Handle, u32);
    cuGraphDestroy(Handle);
    cuGraphClone(*mut Handle, Handle);
    cuGraphNodeFindInClone(*mut Handle, Handle, Handle);
    cuGraphGetNodes(Handle, *mut Handle, *mut usize);
    cuGraphGetRootNodes(Handle, *mut Handle, *mut usize);
    cuGraphGetEdges(Handle, *mut Handle, *mut Handle, *mut usize);
    cuGraphGetEdges_v2(Handle, *mut Handle, *mut Handle, *mut EdgeData, *mut usize);
    cuGraphNodeGetDependencies(Handle, *mut Handle, *mut usize);
    cuGraphNodeGetDependencies_v2(Handle, *mut Handle, *mut EdgeData, *mut usize);
    cuGraphNodeGetDependentNodes(Handle, *mut Handle, *mut usize);
    cuGraphAddDependencies(Handle, *const Handle, *const Handle, usize);
    cuGraphAddDependencies_v2(Handle, *const Handle, *const Handle, *const EdgeData, usize);
    cuGraphRemoveDependencies(Handle, *const Handle, *const Handle, usize);
    cuGraphRemoveDependencies_v2(Handle, *const Handle, *const Handle, *const EdgeData, usize);
    cuGraphDebugDotPrint(Handle, *const c_char, u32);
    cuGraphInstantiateWithFlags(*mut Handle, Handle, u64);
    cuGraphInstantiateWithParams(*mut Handle, Handle, *mut InstantiateParams);
    cuGraphExecGetFlags(Handle, *mut u64);
    cuGraphExecUpdate_v2(Handle, Handle, *mut UpdateResult);
    cuGraphNodeSetEnabled(Handle, Handle, u32);
    cuGraphNodeGetEnabled(Handle, Handle, *mut u32);
    cuGraphExecDestroy(Handle);
    cuGraphUpload(Handle, Handle);
    cuGraphLaunch(Handle, Handle);
    cuGraphNodeGetType(Handle, *mut u32);
    cuGraphDestroyNode(Handle);
    cuGraphAddKernelNode_v2(*mut Handle, Handle, *const Handle, usize, *const KernelNode);
    cuGraphKernelNodeGetParams_v2(Handle, *mut KernelNode);
    cuGraphKernelNodeSetParams_v2(Handle, *const KernelNode);
    cuGraphExecKernelNodeSetParams_v2(Handle, Handle, *const KernelNode);
    cuGraphKernelNodeSetAttribute(Handle, u32, *const AttributeValue);
    cuGraphKernelNodeGetAttribute(Handle, u32, *mut AttributeValue);
    cuGraphKernelNodeCopyAttributes(Handle, Handle);
    cuGraphAddMemcpyNode(*mut Handle, Handle, *const Handle, usize, *const Copy3, Handle);
    cuGraphMemcpyNodeGetParams(Handle, *mut Copy3);
    cuGraphMemcpyNodeSetParams(Handle, *const Copy3);
    cuGraphExecMemcpyNodeSetParams(Handle, Handle, *const Copy3, Handle);
    cuGraphAddMemsetNode(*mut Handle, Handle, *const Handle, usize, *const MemsetNode, Handle);
    cuGraphMemsetNodeGetParams(Handle, *mut MemsetNode);
    cuGraphMemsetNodeSetParams(Handle, *const MemsetNode);
    cuGraphExecMemsetNodeSetParams(Handle, Handle, *const MemsetNode, Handle);
    cuGraphAddHostNode(*mut Handle, Handle, *const Handle, usize, *const HostNode);
    cuGraphAddEmptyNode(*mut Handle, Handle, *const Handle, usize);
    cuGraphAddChildGraphNode(*mut Handle, Handle, *const Handle, usize, Handle);
    cuGraphChildGraphNodeGetGraph(Handle, *mut Handle);
    cuGraphExecChildGraphNodeSetParams(Handle, Handle, Handle);
    cuGraphAddEventRecordNode(*mut Handle, Handle, *const Handle, usize, Handle);
    cuGraphEventRecordNodeGetEvent(Handle, *mut Handle);
    cuGraphAddEventWaitNode(*mut Handle, Handle, *const Handle, usize, Handle);
    cuGraphExecEventRecordNodeSetEvent(Handle, Handle, Handle);
    cuGraphAddMemAllocNode(*mut Handle, Handle, *const Handle, usize, *mut AllocNode);
    cuGraphMemAllocNodeGetParams(Handle, *mut AllocNode);
    cuGraphAddMemFreeNode(*mut Handle, Handle, *const Handle, usize, u64);
    cuGraphMemFreeNodeGetParams(Handle, *mut u64);
    cuGraphAddBatchMemOpNode(*mut Handle, Handle, *const Handle, usize, *const c_void);
    cuGraphAddNode_v2(*mut Handle, Handle, *const Handle, *const EdgeData, usize, *mut AnyNode);
    cuGraphNodeSetParams(Handle, *mut AnyNode);
    cuGraphExecNodeSetParams(Handle, Handle, *mut AnyNode);
    cuDeviceGetGraphMemAttribute(i32, i32, *mut u64);
    cuDeviceGraphMemTrim(i32);
    cuUserObjectCreate(*mut Handle, *mut c_void, HostFunction, u32, u32);
    cuUserObjectRetain(Handle, u32);
    cuUserObjectRelease(Handle, u32);
    cuGraphRetainUserObject(Handle, Handle, u32, u32);
    cuGraphReleaseUserObject(Handle, Handle, u32);
}
