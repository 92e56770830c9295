//! The nodes of graphs, kind by kind.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use super::graph::edges_of;
use super::launch::{AttributeValue, attribute_value, kernel_launch, set_attribute};
use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{CONTEXTS, Context, EVENTS, EXECUTABLES, GRAPHS};
use crate::driver::device::Device;
use crate::driver::graph::{Copy3d, Edge, Fill2d, Graph, GraphMemory, Work};
use crate::driver::handle::Handle;
use crate::driver::operation::{HostFunction, KernelLaunch};

/// `CUDA_KERNEL_NODE_PARAMS_v1`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelParameters {
    pub(super) function: Handle,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    dynamic_shared: c_uint,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`, which version 3 is the same as.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelParameters2 {
    pub(super) first: KernelParameters,
    /// A kernel of a library, in the place of a function.
    kernel: Handle,
    context: Handle,
}

/// `CUDA_HOST_NODE_PARAMS`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct HostParameters {
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`, with what it says of the pool as it is.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AllocationParameters {
    /// `CUmemPoolProps`: kind of allocation and of handles; kind and number of the place; and what is not used here.
    properties: [u64; 11],
    access: *const [c_uint; 3],
    access_count: usize,
    bytes: usize,
    pub(super) address: u64,
}

impl KernelParameters {
    /// # Safety
    /// The arguments are as `cuLaunchKernel` takes them.
    unsafe fn work(self) -> Result<Work> {
        let Self { function, grid, block, dynamic_shared, parameters, extra } = self;
        // SAFETY: the caller's word.
        let launch = unsafe { kernel_launch(function, grid, block, dynamic_shared, parameters, extra) }?;
        launch.check()?;
        Ok(Work::Kernel(launch))
    }

    /// The parameters of a node. What they point at stays until the node is changed or destroyed.
    pub(super) fn of(node: Handle) -> Result<Self> {
        Graph::with_node(node, |node| {
            let Work::Kernel(KernelLaunch { function, blocks, threads, dynamic_shared, parameters, .. }) = &node.work
            else {
                return Err(Code::INVALID_VALUE);
            };
            let block = parameters.as_ptr() as usize;
            let places = function.program().parameters.iter().map(|parameter| block + parameter.offset as usize);
            node.arguments = places.collect();
            Ok(Self {
                function: function.handle,
                grid: *blocks,
                block: *threads,
                dynamic_shared: *dynamic_shared,
                parameters: node.arguments.as_mut_ptr().cast(),
                extra: std::ptr::null_mut(),
            })
        })
    }
}

impl KernelParameters2 {
    /// # Safety
    /// As [`KernelParameters::work`].
    pub(super) unsafe fn work(self) -> Result<Work> {
        let Self { mut first, kernel, context } = self;
        if first.function == Handle::NULL && kernel != Handle::NULL {
            first.function = kernel;
            if context != Handle::NULL {
                // The kernel is to be the function in that context.
                Context::push(context)?;
                // SAFETY: the caller's word.
                let work = unsafe { first.work() };
                Context::pop()?;
                return work;
            }
        }
        // SAFETY: the caller's word.
        unsafe { first.work() }
    }

    pub(super) fn of(node: Handle) -> Result<Self> {
        Ok(Self { first: KernelParameters::of(node)?, kernel: Handle::NULL, context: Handle::NULL })
    }
}

impl HostParameters {
    pub(super) fn work(self) -> Result<Work> {
        let function = self.function.ok_or(Code::INVALID_VALUE)?;
        Ok(Work::Host(HostFunction { function, data: self.data as usize }))
    }
}

impl AllocationParameters {
    /// # Safety
    /// The list of accesses has as many elements as it says.
    pub(super) unsafe fn work(&mut self) -> Result<Work> {
        // The kind of allocation is the low half, and there is one: pinned. Its place is a device.
        let [kind, place] = [self.properties[0], self.properties[1]].map(|pair| [pair as u32, (pair >> 32) as u32]);
        if kind[0] != 1 || place[0] != 1 || (self.access.is_null() && self.access_count > 0) {
            return Err(Code::INVALID_VALUE);
        }
        if kind[1] != 0 {
            // Memory that other processes could open.
            return Err(Code::NOT_SUPPORTED);
        }
        for n in 0..self.access_count {
            // SAFETY: the caller's word.
            let [kind, device, _] = unsafe { self.access.add(n).read() };
            if kind != 1 {
                return Err(Code::INVALID_VALUE);
            }
            Device::get(device as i32)?;
        }
        let memory = GraphMemory::new(Device::get(place[1] as i32)?, self.bytes as u64, self.properties)?;
        self.address = memory.address;
        Ok(Work::Allocate(memory))
    }

    pub(super) fn of(memory: &GraphMemory) -> Self {
        let (bytes, address) = (memory.bytes as usize, memory.address);
        Self { properties: memory.properties, access: std::ptr::null(), access_count: 0, bytes, address }
    }
}

/// The work of a copy, in a context; null stands for the current one.
pub(super) fn copy_work(copy: Copy3d, context: Handle) -> Result<Work> {
    copy.check()?;
    Ok(Work::Copy(copy, context_of(context)?))
}

/// The work of a fill, in a context; null stands for the current one.
pub(super) fn fill_work(fill: Fill2d, context: Handle) -> Result<Work> {
    fill.check()?;
    Ok(Work::Fill(fill, context_of(context)?))
}

fn context_of(context: Handle) -> Result<Arc<Context>> {
    if context == Handle::NULL { Context::current() } else { CONTEXTS.get(context).map_err(|_| Code::INVALID_CONTEXT) }
}

/// The context that a node's copy or fill is done in.
fn context_of_node(node: Handle) -> Result<Handle> {
    Graph::with_node(node, |node| match &node.work {
        Work::Copy(_, context) | Work::Fill(_, context) => Ok(context.handle()),
        _ => Err(Code::INVALID_VALUE),
    })
}

/// Adds a node, and gives its handle.
///
/// # Safety
/// `node` is null or valid for writes.
pub(super) unsafe fn add(node: *mut Handle, graph: Handle, after: &[Edge], work: Work) -> Result<()> {
    if node.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    unsafe { give(node, GRAPHS.get(graph)?.add(work, after)?) }
}

/// What the caller's pointer points at.
///
/// # Safety
/// `from` is null or valid for reads.
pub(super) unsafe fn read<T: Copy>(from: *const T) -> Result<T> {
    if from.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    Ok(unsafe { from.read() })
}

/// Gives what is taken out of the work of a node.
///
/// # Safety
/// `to` is null or valid for writes.
unsafe fn give_of<T>(node: Handle, to: *mut T, part: impl FnOnce(&Work) -> Option<T>) -> Result<()> {
    let value = Graph::with_node(node, |node| part(&node.work).ok_or(Code::INVALID_VALUE))?;
    // SAFETY: the caller's word.
    unsafe { give(to, value) }
}

/// The work of a node for an event: whether it waits for it, or records it.
pub(super) fn event_work(event: Handle, wait: bool) -> Result<Work> {
    let found = EVENTS.get(event)?;
    Ok(if wait { Work::Wait(found, event) } else { Work::Record(found, event) })
}

fn set_exec(executable: Handle, node: Handle, work: Work) -> Result<()> {
    EXECUTABLES.get(executable)?.set_work(node, work)
}

/// Defines functions for nodes of kinds that there is nothing for in the emulator.
macro_rules! refused {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        driver_api! {
            $(fn $name($($argument: $type),*) {
                $(let _ = $argument;)*
                Err(Code::NOT_SUPPORTED)
            })*
        }
    };
}

refused! {
    cuGraphAddExternalSemaphoresSignalNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize,
        parameters: *const c_void);
    cuGraphExternalSemaphoresSignalNodeGetParams(node: Handle, parameters: *mut c_void);
    cuGraphExternalSemaphoresSignalNodeSetParams(node: Handle, parameters: *const c_void);
    cuGraphExecExternalSemaphoresSignalNodeSetParams(executable: Handle, node: Handle, parameters: *const c_void);
    cuGraphAddExternalSemaphoresWaitNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize,
        parameters: *const c_void);
    cuGraphExternalSemaphoresWaitNodeGetParams(node: Handle, parameters: *mut c_void);
    cuGraphExternalSemaphoresWaitNodeSetParams(node: Handle, parameters: *const c_void);
    cuGraphExecExternalSemaphoresWaitNodeSetParams(executable: Handle, node: Handle, parameters: *const c_void);
    cuGraphAddBatchMemOpNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize,
        parameters: *const c_void);
    cuGraphBatchMemOpNodeGetParams(node: Handle, parameters: *mut c_void);
    cuGraphBatchMemOpNodeSetParams(node: Handle, parameters: *const c_void);
    cuGraphExecBatchMemOpNodeSetParams(executable: Handle, node: Handle, parameters: *const c_void);
    cuGraphConditionalHandleCreate(conditional: *mut u64, graph: Handle, context: Handle, value: c_uint, flags: c_uint);
}

driver_api! {
    fn cuGraphNodeGetType(node: Handle, kind: *mut c_uint) {
        give_of(node, kind, |work| Some(work.kind()))
    }

    fn cuGraphDestroyNode(node: Handle) {
        Graph::destroy_node(node)
    }

    fn cuGraphAddKernelNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const KernelParameters,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, read(parameters)?.work()?)
    }

    fn cuGraphAddKernelNode_v2(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const KernelParameters2,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, read(parameters)?.work()?)
    }

    fn cuGraphKernelNodeGetParams(node: Handle, parameters: *mut KernelParameters) {
        give(parameters, KernelParameters::of(node)?)
    }

    fn cuGraphKernelNodeGetParams_v2(node: Handle, parameters: *mut KernelParameters2) {
        give(parameters, KernelParameters2::of(node)?)
    }

    fn cuGraphKernelNodeSetParams(node: Handle, parameters: *const KernelParameters) {
        Graph::set_work(node, read(parameters)?.work()?)
    }

    fn cuGraphKernelNodeSetParams_v2(node: Handle, parameters: *const KernelParameters2) {
        Graph::set_work(node, read(parameters)?.work()?)
    }

    fn cuGraphExecKernelNodeSetParams(executable: Handle, node: Handle, parameters: *const KernelParameters) {
        set_exec(executable, node, read(parameters)?.work()?)
    }

    fn cuGraphExecKernelNodeSetParams_v2(executable: Handle, node: Handle, parameters: *const KernelParameters2) {
        set_exec(executable, node, read(parameters)?.work()?)
    }

    fn cuGraphKernelNodeSetAttribute(node: Handle, attribute: c_uint, value: *const AttributeValue) {
        let value = read(value)?;
        Graph::with_node(node, |node| match &mut node.work {
            Work::Kernel(launch) => set_attribute(launch, attribute, value),
            _ => Err(Code::INVALID_VALUE),
        })
    }

    fn cuGraphKernelNodeGetAttribute(node: Handle, attribute: c_uint, value: *mut AttributeValue) {
        let found = Graph::with_node(node, |node| match &node.work {
            Work::Kernel(launch) => attribute_value(launch, attribute),
            _ => Err(Code::INVALID_VALUE),
        })?;
        give(value, found)
    }

    fn cuGraphKernelNodeCopyAttributes(to: Handle, from: Handle) {
        let launch = |node: Handle| {
            Graph::with_node(node, |node| match &node.work {
                Work::Kernel(launch) => Ok(launch.clone()),
                _ => Err(Code::INVALID_VALUE),
            })
        };
        let (from, target) = (launch(from)?, launch(to)?);
        if !Arc::ptr_eq(&from.module.context, &target.module.context) {
            return Err(Code::INVALID_VALUE);
        }
        let (cooperative, cluster, overlaps) = (from.cooperative, from.cluster, from.overlaps);
        let changed = KernelLaunch { cooperative, cluster, overlaps, attributes: from.attributes, ..target };
        changed.check()?;
        Graph::with_node(to, |node| {
            node.work = Work::Kernel(changed);
            Ok(())
        })
    }

    fn cuGraphAddMemcpyNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const Copy3d,
        context: Handle,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, copy_work(read(parameters)?, context)?)
    }

    fn cuGraphMemcpyNodeGetParams(node: Handle, parameters: *mut Copy3d) {
        give_of(node, parameters, |work| if let Work::Copy(copy, _) = work { Some(*copy) } else { None })
    }

    fn cuGraphMemcpyNodeSetParams(node: Handle, parameters: *const Copy3d) {
        Graph::set_work(node, copy_work(read(parameters)?, context_of_node(node)?)?)
    }

    fn cuGraphExecMemcpyNodeSetParams(executable: Handle, node: Handle, parameters: *const Copy3d, context: Handle) {
        set_exec(executable, node, copy_work(read(parameters)?, context)?)
    }

    fn cuGraphAddMemsetNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const Fill2d,
        context: Handle,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, fill_work(read(parameters)?, context)?)
    }

    fn cuGraphMemsetNodeGetParams(node: Handle, parameters: *mut Fill2d) {
        give_of(node, parameters, |work| if let Work::Fill(fill, _) = work { Some(*fill) } else { None })
    }

    fn cuGraphMemsetNodeSetParams(node: Handle, parameters: *const Fill2d) {
        Graph::set_work(node, fill_work(read(parameters)?, context_of_node(node)?)?)
    }

    fn cuGraphExecMemsetNodeSetParams(executable: Handle, node: Handle, parameters: *const Fill2d, context: Handle) {
        set_exec(executable, node, fill_work(read(parameters)?, context)?)
    }

    fn cuGraphAddHostNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *const HostParameters,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, read(parameters)?.work()?)
    }

    fn cuGraphHostNodeGetParams(node: Handle, parameters: *mut HostParameters) {
        give_of(node, parameters, HostParameters::of)
    }

    fn cuGraphHostNodeSetParams(node: Handle, parameters: *const HostParameters) {
        Graph::set_work(node, read(parameters)?.work()?)
    }

    fn cuGraphExecHostNodeSetParams(executable: Handle, node: Handle, parameters: *const HostParameters) {
        set_exec(executable, node, read(parameters)?.work()?)
    }

    fn cuGraphAddEmptyNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, Work::Empty)
    }

    fn cuGraphAddChildGraphNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        child: Handle,
    ) {
        let edges = edges_of(after, std::ptr::null(), count)?;
        add(node, graph, &edges, Work::Child(GRAPHS.get(child)?.embed()?))
    }

    fn cuGraphChildGraphNodeGetGraph(node: Handle, graph: *mut Handle) {
        give_of(node, graph, |work| if let Work::Child(child) = work { Some(child.handle()) } else { None })
    }

    fn cuGraphExecChildGraphNodeSetParams(executable: Handle, node: Handle, child: Handle) {
        EXECUTABLES.get(executable)?.set_child(node, &*GRAPHS.get(child)?)
    }

    fn cuGraphAddEventRecordNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        event: Handle,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, event_work(event, false)?)
    }

    fn cuGraphEventRecordNodeGetEvent(node: Handle, event: *mut Handle) {
        give_of(node, event, |work| if let Work::Record(_, event) = work { Some(*event) } else { None })
    }

    fn cuGraphEventRecordNodeSetEvent(node: Handle, event: Handle) {
        Graph::set_work(node, event_work(event, false)?)
    }

    fn cuGraphExecEventRecordNodeSetEvent(executable: Handle, node: Handle, event: Handle) {
        set_exec(executable, node, event_work(event, false)?)
    }

    fn cuGraphAddEventWaitNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        event: Handle,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, event_work(event, true)?)
    }

    fn cuGraphEventWaitNodeGetEvent(node: Handle, event: *mut Handle) {
        give_of(node, event, |work| if let Work::Wait(_, event) = work { Some(*event) } else { None })
    }

    fn cuGraphEventWaitNodeSetEvent(node: Handle, event: Handle) {
        Graph::set_work(node, event_work(event, true)?)
    }

    fn cuGraphExecEventWaitNodeSetEvent(executable: Handle, node: Handle, event: Handle) {
        set_exec(executable, node, event_work(event, true)?)
    }

    fn cuGraphAddMemAllocNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        parameters: *mut AllocationParameters,
    ) {
        if parameters.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, (*parameters).work()?)
    }

    fn cuGraphMemAllocNodeGetParams(node: Handle, parameters: *mut AllocationParameters) {
        give_of(node, parameters, |work| {
            if let Work::Allocate(memory) = work { Some(AllocationParameters::of(memory)) } else { None }
        })
    }

    fn cuGraphAddMemFreeNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        address: u64,
    ) {
        add(node, graph, &edges_of(after, std::ptr::null(), count)?, Work::Free(GraphMemory::find(address)?))
    }

    fn cuGraphMemFreeNodeGetParams(node: Handle, address: *mut u64) {
        give_of(node, address, |work| if let Work::Free(memory) = work { Some(memory.address) } else { None })
    }
}

impl HostParameters {
    fn of(work: &Work) -> Option<Self> {
        match work {
            Work::Host(HostFunction { function, data }) => {
                Some(Self { function: Some(*function), data: *data as *mut c_void })
            }
            _ => None,
        }
    }
}
