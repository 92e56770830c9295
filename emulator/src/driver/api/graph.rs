//! Graphs.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::launch::{AttributeValue, kernel_launch, set_attribute};
use super::memory::device;
use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{CONTEXTS, Context, EXECUTABLES, GRAPHS, Stream};
use crate::driver::graph::{EdgeData, Graph};
use crate::driver::handle::Handle;
use crate::driver::operation::{KernelLaunch, Operation, Place};

/// `CUDA_KERNEL_NODE_PARAMS_v2`, the first fields of which are all that version 1 has.
#[repr(C)]
pub struct KernelNodeParameters {
    function: Handle,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    dynamic_shared: c_uint,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
}

impl KernelNodeParameters {
    /// The launch that the parameters at `at` describe.
    ///
    /// # Safety
    /// `at` is null or points at parameters, whose arguments are as `cuLaunchKernel` takes them.
    unsafe fn launch(at: *const Self) -> Result<KernelLaunch> {
        if at.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: the caller's word.
        unsafe {
            let Self { function, grid, block, dynamic_shared, parameters, extra } = at.read();
            kernel_launch(function, grid, block, dynamic_shared, parameters, extra)
        }
    }
}

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
pub struct CopySide {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    reserved: *mut c_void,
    pitch: usize,
    height: usize,
}

/// `CUDA_MEMCPY3D`
#[repr(C)]
pub struct CopyParameters {
    from: CopySide,
    to: CopySide,
    width: usize,
    height: usize,
    depth: usize,
}

/// Pitches over this are errors (`CU_DEVICE_ATTRIBUTE_MAX_PITCH`).
const MAX_PITCH: usize = i32::MAX as usize;

impl CopySide {
    /// The memory of one row of `width` bytes.
    fn row(&self, width: usize) -> Result<Place> {
        if self.pitch > MAX_PITCH || (self.pitch != 0 && self.pitch < width + self.x) {
            return Err(Code::INVALID_VALUE);
        }
        if (self.y, self.z, self.level) != (0, 0, 0) {
            return Err(Code::NOT_SUPPORTED);
        }
        match self.kind {
            1 if self.host.is_null() => Err(Code::INVALID_VALUE),
            1 => Ok(Place::Host(self.host as usize + self.x)),
            2 | 4 => device(self.device + self.x as u64, width),
            _ => Err(Code::NOT_SUPPORTED),
        }
    }
}

/// `CUDA_MEMSET_NODE_PARAMS`
#[repr(C)]
pub struct FillParameters {
    to: u64,
    pitch: usize,
    value: c_uint,
    element: c_uint,
    width: usize,
    height: usize,
}

/// The handles of the nodes that a new one comes after.
///
/// # Safety
/// `nodes` has `count` handles.
unsafe fn dependencies<'a>(nodes: *const Handle, count: usize) -> Result<&'a [Handle]> {
    match (nodes.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Code::INVALID_VALUE),
        // SAFETY: the caller's word.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(nodes, count) }),
    }
}

/// Adds edges; without data they are ordinary ones.
///
/// # Safety
/// `from`, `to` and, unless it is null, `data` have `count` elements.
unsafe fn add_edges(
    graph: Handle,
    from: *const Handle,
    to: *const Handle,
    data: *const EdgeData,
    count: usize,
) -> Result<()> {
    let graph = GRAPHS.get(graph)?;
    // SAFETY: the caller's word.
    let (from, to) = unsafe { (dependencies(from, count)?, dependencies(to, count)?) };
    for (n, (from, to)) in from.iter().zip(to).enumerate() {
        // SAFETY: as above.
        let data = if data.is_null() { EdgeData::default() } else { unsafe { data.add(n).read() } };
        graph.add_edge(*from, *to, data)?;
    }
    Ok(())
}

driver_api! {
    fn cuGraphCreate(graph: *mut Handle, flags: c_uint) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        give(graph, GRAPHS.insert(Arc::<Graph>::default()))
    }

    fn cuGraphDestroy(graph: Handle) {
        GRAPHS.remove(graph).map(|_| ())
    }

    fn cuGraphAddKernelNode_v2(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const KernelNodeParameters,
    ) {
        let graph = GRAPHS.get(graph)?;
        let launch = KernelNodeParameters::launch(parameters)?;
        give(node, graph.add(Operation::Kernel(launch), dependencies(after, count)?)?)
    }

    fn cuGraphAddEmptyNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize) {
        let graph = GRAPHS.get(graph)?;
        give(node, graph.add(Operation::Nothing, dependencies(after, count)?)?)
    }

    fn cuGraphAddMemcpyNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const CopyParameters,
        context: Handle,
    ) {
        let graph = GRAPHS.get(graph)?;
        CONTEXTS.get(context).map_err(|_| Code::INVALID_CONTEXT)?;
        if parameters.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let CopyParameters { from, to, width, height, depth } = parameters.read();
        let operation = match (width, height, depth) {
            (0, ..) | (_, 0, _) | (.., 0) => Operation::Nothing,
            (_, 1, 1) => Operation::Copy { to: to.row(width)?, from: from.row(width)?, bytes: width as u64 },
            // Of copies in more dimensions nobody here has need.
            _ => return Err(Code::NOT_SUPPORTED),
        };
        give(node, graph.add(operation, dependencies(after, count)?)?)
    }

    fn cuGraphAddMemsetNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const FillParameters,
        context: Handle,
    ) {
        let graph = GRAPHS.get(graph)?;
        CONTEXTS.get(context).map_err(|_| Code::INVALID_CONTEXT)?;
        if parameters.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let FillParameters { to, pitch: _, value, element, width, height } = parameters.read();
        if !matches!(element, 1 | 2 | 4) || !to.is_multiple_of(u64::from(element)) {
            return Err(Code::INVALID_VALUE);
        }
        let operation = match (width, height) {
            (0, _) | (_, 0) => Operation::Nothing,
            (_, 1) => {
                let bytes = width.checked_mul(element as usize).ok_or(Code::INVALID_VALUE)?;
                device(to, bytes)?;
                Operation::Fill { to, value, width: element.into(), count: width as u64 }
            }
            _ => return Err(Code::NOT_SUPPORTED),
        };
        give(node, graph.add(operation, dependencies(after, count)?)?)
    }

    fn cuGraphAddChildGraphNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        child: Handle,
    ) {
        let graph = GRAPHS.get(graph)?;
        let operations = GRAPHS.get(child)?.operations()?;
        give(node, graph.add(Operation::Graph(operations), dependencies(after, count)?)?)
    }

    fn cuGraphAddDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        add_edges(graph, from, to, std::ptr::null(), count)
    }

    fn cuGraphAddDependencies_v2(
        graph: Handle,
        from: *const Handle,
        to: *const Handle,
        data: *const EdgeData,
        count: usize,
    ) {
        add_edges(graph, from, to, data, count)
    }

    fn cuGraphKernelNodeSetAttribute(node: Handle, attribute: c_uint, value: *const AttributeValue) {
        if value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        Graph::change_kernel(node, |launch| set_attribute(launch, attribute, value.read()))
    }

    fn cuGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: u64) {
        // Launching a graph from the device is not supported.
        if flags & 4 != 0 {
            return Err(Code::INVALID_VALUE);
        }
        Context::current()?;
        give(executable, EXECUTABLES.insert(Arc::new(GRAPHS.get(graph)?.instantiate()?)))
    }

    fn cuGraphExecKernelNodeSetParams_v2(
        executable: Handle,
        node: Handle,
        parameters: *const KernelNodeParameters,
    ) {
        EXECUTABLES.get(executable)?.set_kernel(node, KernelNodeParameters::launch(parameters)?)
    }

    fn cuGraphNodeSetEnabled(executable: Handle, node: Handle, enabled: c_uint) {
        EXECUTABLES.get(executable)?.set_enabled(node, enabled != 0)
    }

    fn cuGraphNodeGetEnabled(executable: Handle, node: Handle, enabled: *mut c_int) {
        give(enabled, c_int::from(EXECUTABLES.get(executable)?.is_enabled(node)?))
    }

    fn cuGraphExecDestroy(executable: Handle) {
        EXECUTABLES.remove(executable).map(|_| ())
    }

    fn cuGraphUpload(executable: Handle, stream: Handle) as cuGraphUpload_ptsz {
        Stream::get(stream)?;
        EXECUTABLES.get(executable).map(|_| ())
    }

    fn cuGraphLaunch(executable: Handle, stream: Handle) as cuGraphLaunch_ptsz {
        let executable = EXECUTABLES.get(executable)?;
        Stream::get(stream)?.submit(Operation::Graph(executable.operations()))
    }
}
