//! Nodes of graphs of any kind, by parameters that say which.

use std::ffi::c_uint;
use std::mem::MaybeUninit;

use super::driver_api;
use super::graph::edges_of;
use super::node::{
    AllocationParameters, HostParameters, KernelParameters2, add, copy_work, event_work, fill_work, read,
};
use crate::driver::code::{Code, Result};
use crate::driver::context::{EXECUTABLES, GRAPHS};
use crate::driver::graph::{Copy3d, EdgeData, Fill2d, Graph, GraphMemory, Work};
use crate::driver::handle::Handle;

/// `CUgraphNodeParams`
#[repr(C)]
pub struct NodeParameters {
    kind: c_uint,
    reserved: [c_uint; 3],
    /// The parameters of the kind.
    of_kind: [MaybeUninit<u64>; 29],
    reserved_too: u64,
}

/// `CUDA_MEMCPY_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
struct CopyParameters {
    flags: c_uint,
    reserved: c_uint,
    context: Handle,
    copy: Copy3d,
}

/// `CUDA_MEMSET_NODE_PARAMS_v2`
#[repr(C)]
#[derive(Clone, Copy)]
struct FillParameters {
    fill: Fill2d,
    context: Handle,
}

/// `CUDA_CHILD_GRAPH_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
struct ChildParameters {
    graph: Handle,
    /// 0 if the graph is to be cloned, 1 if the node is to own it.
    ownership: c_uint,
}

/// `CUgraphNodeType`
const KERNEL: c_uint = 0;
const COPY: c_uint = 1;
const FILL: c_uint = 2;
const HOST: c_uint = 3;
const CHILD: c_uint = 4;
const EMPTY: c_uint = 5;
const WAIT: c_uint = 6;
const RECORD: c_uint = 7;
const ALLOCATE: c_uint = 10;
const FREE: c_uint = 11;
/// Semaphores of other programs, operations on memory by the host's rules, and conditional nodes.
const REFUSED: [c_uint; 4] = [8, 9, 12, 13];

impl NodeParameters {
    /// The parameters of the kind.
    ///
    /// # Safety
    /// They are of this type.
    unsafe fn of_kind<T: Copy>(&self) -> T {
        const { assert!(size_of::<T>() <= 29 * 8 && align_of::<T>() <= 8) };
        // SAFETY: the caller's word; there is room for the type.
        unsafe { self.of_kind.as_ptr().cast::<T>().read() }
    }

    /// The work that they describe.
    ///
    /// # Safety
    /// What they point at is as the functions for nodes of that kind document it.
    unsafe fn work(&mut self) -> Result<Work> {
        if self.reserved != [0; 3] || self.reserved_too != 0 {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: the caller's word: the parameters are of the kind that they say.
        unsafe {
            match self.kind {
                KERNEL => self.of_kind::<KernelParameters2>().work(),
                COPY => {
                    let CopyParameters { flags, reserved, context, copy } = self.of_kind();
                    if (flags, reserved) != (0, 0) {
                        return Err(Code::INVALID_VALUE);
                    }
                    copy_work(copy, context)
                }
                FILL => {
                    let FillParameters { fill, context } = self.of_kind();
                    fill_work(fill, context)
                }
                HOST => self.of_kind::<HostParameters>().work(),
                CHILD => {
                    let ChildParameters { graph, ownership } = self.of_kind();
                    let child = match ownership {
                        0 => Work::Child(GRAPHS.get(graph)?.embed()?),
                        // Only graphs with memory nodes have to be moved; those cannot be embedded here.
                        1 => return Err(Code::NOT_SUPPORTED),
                        _ => return Err(Code::INVALID_VALUE),
                    };
                    Ok(child)
                }
                EMPTY => Ok(Work::Empty),
                WAIT | RECORD => event_work(self.of_kind(), self.kind == WAIT),
                ALLOCATE => {
                    let mut parameters: AllocationParameters = self.of_kind();
                    let work = parameters.work()?;
                    self.of_kind.as_mut_ptr().cast::<AllocationParameters>().write(parameters);
                    Ok(work)
                }
                FREE => Ok(Work::Free(GraphMemory::find(self.of_kind())?)),
                kind if REFUSED.contains(&kind) => Err(Code::NOT_SUPPORTED),
                _ => Err(Code::INVALID_VALUE),
            }
        }
    }
}

/// Calls `with` with parameters of the caller.
///
/// # Safety
/// `parameters` is null or as [`NodeParameters::work`] needs them.
unsafe fn work_of(parameters: *mut NodeParameters) -> Result<Work> {
    // SAFETY: the caller's word.
    unsafe { parameters.as_mut().ok_or(Code::INVALID_VALUE)?.work() }
}

driver_api! {
    fn cuGraphAddNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *mut NodeParameters,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, work_of(parameters)?)
    }

    fn cuGraphAddNode_v2(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        data: *const EdgeData,
        count: usize,
        parameters: *mut NodeParameters,
    ) {
        add(node, graph, &edges_of(after, data, count)?, work_of(parameters)?)
    }

    fn cuGraphNodeSetParams(node: Handle, parameters: *mut NodeParameters) {
        check_changeable(parameters)?;
        Graph::set_work(node, work_of(parameters)?)
    }

    fn cuGraphExecNodeSetParams(executable: Handle, node: Handle, parameters: *mut NodeParameters) {
        check_changeable(parameters)?;
        let executable = EXECUTABLES.get(executable)?;
        if (*parameters).kind == CHILD {
            let ChildParameters { graph, .. } = (*parameters).of_kind();
            return executable.set_child(node, &*GRAPHS.get(graph)?);
        }
        executable.set_work(node, work_of(parameters)?)
    }
}

/// Checks that the parameters of nodes of the kind can be changed.
///
/// # Safety
/// `parameters` is null or valid for reads.
unsafe fn check_changeable(parameters: *const NodeParameters) -> Result<()> {
    // SAFETY: the caller's word; the kind is the first field.
    match unsafe { read(parameters.cast::<c_uint>()) }? {
        ALLOCATE | FREE => Err(Code::NOT_SUPPORTED),
        _ => Ok(()),
    }
}
