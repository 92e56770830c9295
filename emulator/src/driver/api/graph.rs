//! Graphs.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use super::launch::kernel_launch;
use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, EXECUTABLES, GRAPHS, Stream};
use crate::driver::graph::Graph;
use crate::driver::handle::Handle;
use crate::driver::operation::Operation;

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
        if parameters.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let KernelNodeParameters { function, grid, block, dynamic_shared, parameters, extra } = parameters.read();
        let launch = kernel_launch(function, grid, block, dynamic_shared, parameters, extra)?;
        give(node, graph.add_after(Operation::Kernel(launch), dependencies(after, count)?)?)
    }

    fn cuGraphAddEmptyNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize) {
        let graph = GRAPHS.get(graph)?;
        give(node, graph.add_after(Operation::Nothing, dependencies(after, count)?)?)
    }

    fn cuGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: u64) {
        // Launching a graph from the device is not supported.
        if flags & 4 != 0 {
            return Err(Code::INVALID_VALUE);
        }
        Context::current()?;
        give(executable, EXECUTABLES.insert(Arc::new(GRAPHS.get(graph)?.instantiate())))
    }

    fn cuGraphExecDestroy(executable: Handle) {
        EXECUTABLES.remove(executable).map(|_| ())
    }

    fn cuGraphUpload(executable: Handle, stream: Handle) {
        Stream::get(stream)?;
        EXECUTABLES.get(executable).map(|_| ())
    }

    fn cuGraphLaunch(executable: Handle, stream: Handle) {
        let executable = EXECUTABLES.get(executable)?;
        Stream::get(stream)?.submit(Operation::Graph(executable))
    }
}
