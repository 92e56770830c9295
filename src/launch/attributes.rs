//! What a launch has besides its geometry: cooperation, clusters, and beginning before the work before it has ended.

use std::ffi::c_void;
use std::ptr::NonNull;

use cudarc::driver::sys::{self, CUdevice_attribute_enum as DeviceAttribute, CUlaunchAttributeID_enum as Id};
use cudarc::driver::{CudaContext, DriverError, result};

use super::contract::Geometry;
use super::entry_point::entry_point;
use super::error::LaunchError;
use super::kernels::{Function, Kernel};

/// The attributes of a launch, of which most have none.
pub(crate) struct Attributes {
    list: [sys::CUlaunchAttribute; 3],
    count: usize,
}

impl Attributes {
    /// Those of a launch of `kernel`, which may begin before the work before it in the stream has ended if `early`.
    pub(crate) fn new(kernel: &Kernel, geometry: &Geometry, early: bool) -> Self {
        let none = sys::CUlaunchAttributeValue { pad: [0; 64] };
        let none = sys::CUlaunchAttribute { id: Id::CU_LAUNCH_ATTRIBUTE_IGNORE, pad: [0; 4], value: none };
        let mut this = Self { list: [none; 3], count: 0 };
        if kernel.cooperative {
            this.push(Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE, |value| value.cooperative = 1);
        }
        if geometry.cluster != [1; 3] {
            let [x, y, z] = geometry.cluster;
            let size = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
            this.push(Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, |value| value.clusterDim = size);
        }
        if early {
            this.push(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, |value| {
                value.programmaticStreamSerializationAllowed = 1;
            });
        }
        this
    }

    fn push(&mut self, id: Id, set: impl FnOnce(&mut sys::CUlaunchAttributeValue)) {
        self.list[self.count].id = id;
        set(&mut self.list[self.count].value);
        self.count += 1;
    }

    pub(crate) fn as_slice(&self) -> &[sys::CUlaunchAttribute] {
        &self.list[..self.count]
    }
}

/// Launches a function on a stream.
///
/// # Safety
/// As for `cuLaunchKernel`: `arguments` are those of the function, which is loaded in the context of the stream.
#[inline(always)]
pub(crate) unsafe fn launch(
    kernel: &Kernel,
    function: &Function,
    geometry: &Geometry,
    early: bool,
    stream: sys::CUstream,
    arguments: &mut [*mut c_void],
) -> Result<(), DriverError> {
    if kernel.cooperative || early || geometry.cluster != [1; 3] {
        let attributes = Attributes::new(kernel, geometry, early);
        // SAFETY: the caller's word.
        return unsafe { launch_with(function, geometry, &attributes, stream, arguments) };
    }
    let Geometry { blocks: [x, y, z], threads: [tx, ty, tz], dynamic_shared, cluster: _ } = *geometry;
    // SAFETY: the caller's word.
    unsafe { result::launch_kernel(function.raw, (x, y, z), (tx, ty, tz), dynamic_shared, stream, arguments) }
}

/// Launches a function with attributes.
///
/// # Safety
/// As for [`launch`].
#[inline(never)]
unsafe fn launch_with(
    function: &Function,
    geometry: &Geometry,
    attributes: &Attributes,
    stream: sys::CUstream,
    arguments: &mut [*mut c_void],
) -> Result<(), DriverError> {
    let Geometry { blocks: [x, y, z], threads: [tx, ty, tz], dynamic_shared, cluster: _ } = *geometry;
    let attributes = attributes.as_slice();
    let config = sys::CUlaunchConfig {
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: tx,
        blockDimY: ty,
        blockDimZ: tz,
        sharedMemBytes: dynamic_shared,
        hStream: stream,
        attrs: attributes.as_ptr().cast_mut(),
        numAttrs: attributes.len() as u32,
    };
    // SAFETY: the caller's word; the driver reads the attributes, which are as many as said.
    unsafe {
        sys::cuLaunchKernelEx(&raw const config, function.raw, arguments.as_mut_ptr(), std::ptr::null_mut()).result()
    }
}

/// The error for a cooperative launch whose blocks the device has no room for all at once; `None` if it has.
pub(crate) fn too_large(
    kernel: &Kernel,
    function: &Function,
    geometry: &Geometry,
    context: &CudaContext,
) -> Result<Option<LaunchError>, DriverError> {
    let threads = geometry.threads.iter().product::<u32>();
    let mut resident = 0;
    // SAFETY: the function is loaded, and its context is bound.
    unsafe {
        sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(
            &raw mut resident,
            function.raw,
            threads as i32,
            geometry.dynamic_shared as usize,
        )
    }
    .result()?;
    let room = u64::from(resident.unsigned_abs()) * u64::from(multiprocessors(context)?);
    let blocks = geometry.blocks.iter().map(|&size| u64::from(size)).fold(1, u64::saturating_mul);
    Ok((blocks > room).then_some(LaunchError::Cooperative { kernel: kernel.name, blocks, room }))
}

/// Whether kernels of a device can begin before the work before them has ended: from compute capability 9.0.
pub(crate) fn can_begin_early(context: &CudaContext) -> bool {
    attribute(context, DeviceAttribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).is_ok_and(|major| major >= 9)
}

/// The multiprocessors of a device.
pub(crate) fn multiprocessors(context: &CudaContext) -> Result<u32, DriverError> {
    let count = attribute(context, DeviceAttribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    Ok(count.unsigned_abs())
}

/// An attribute of a device. (cudarc's own function also takes the errors that were noted in the context.)
fn attribute(context: &CudaContext, attribute: DeviceAttribute) -> Result<i32, DriverError> {
    // SAFETY: the context has a device.
    unsafe { result::device::get_attribute(context.cu_device(), attribute) }
}

/// What an edge of a graph says besides its ends: `CUgraphEdgeData`, which the oldest headers lack.
#[repr(C)]
struct EdgeData {
    from_port: u8,
    to_port: u8,
    kind: u8,
    reserved: [u8; 5],
}

/// From when all blocks of the first kernel have triggered or ended (`CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC`), to a kernel
/// that waits by itself (`CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC`).
static PROGRAMMATIC: EdgeData = EdgeData { from_port: 1, to_port: 0, kind: 1, reserved: [0; 5] };

/// The version of the driver from which edges have data: CUDA 12.3.
const EDGE_DATA: i32 = 12030;

/// `cuGraphAddDependencies` with edge data.
type AddDependencies = unsafe extern "C" fn(
    sys::CUgraph,
    *const sys::CUgraphNode,
    *const sys::CUgraphNode,
    *const EdgeData,
    usize,
) -> sys::CUresult;

/// How a driver that knows programmatic edges adds one.
#[derive(Clone, Copy)]
pub(crate) struct ProgrammaticEdges(AddDependencies);

impl ProgrammaticEdges {
    /// Looks the function up, which drivers before CUDA 12.3 have not.
    pub(crate) fn find() -> Option<Self> {
        let function = entry_point(c"cuGraphAddDependencies", EDGE_DATA)?;
        // SAFETY: from this version on the function has this signature; the driver stays loaded.
        Some(Self(unsafe { std::mem::transmute::<NonNull<c_void>, AddDependencies>(function) }))
    }

    /// Makes one kernel node come after another that it need not see the end of.
    ///
    /// # Safety
    /// The nodes are kernels of the graph, and what the second touches before it waits does not depend on the first.
    pub(crate) unsafe fn add(
        self,
        graph: sys::CUgraph,
        from: sys::CUgraphNode,
        to: sys::CUgraphNode,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's word; there is one edge, with its data.
        unsafe { (self.0)(graph, &raw const from, &raw const to, &raw const PROGRAMMATIC, 1) }.result()
    }
}
