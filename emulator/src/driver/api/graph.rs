//! Graphs as a whole: their structure, executable graphs, and user objects.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give, text};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, EXECUTABLES, GRAPHS, Stream};
use crate::driver::device::Device;
use crate::driver::graph::{self, AUTO_FREE, Edge, EdgeData, Executable, Graph, UpdateError, UpdateResult, Work};
use crate::driver::handle::Handle;
use crate::driver::user_object;

/// The elements of a list of the caller.
///
/// # Safety
/// `list` has `count` elements.
unsafe fn list<'a, T>(list: *const T, count: usize) -> Result<&'a [T]> {
    match (list.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Code::INVALID_VALUE),
        // SAFETY: the caller's word.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(list, count) }),
    }
}

/// Edges from nodes; without data they are ordinary ones.
///
/// # Safety
/// `nodes` and, unless it is null, `data` have `count` elements.
pub(super) unsafe fn edges_of(nodes: *const Handle, data: *const EdgeData, count: usize) -> Result<Vec<Edge>> {
    // SAFETY: the caller's word.
    let nodes = unsafe { list(nodes, count) }?;
    if data.is_null() {
        return Ok(nodes.iter().map(|node| Edge::from(*node)).collect());
    }
    // SAFETY: as above.
    let data = unsafe { list(data, count) }?;
    Ok(nodes.iter().zip(data).map(|(from, data)| Edge { from: *from, data: *data }).collect())
}

/// As [`edges_of`], with the nodes that the edges lead to.
///
/// # Safety
/// As [`edges_of`], for `to` too.
unsafe fn pairs_of(from: *const Handle, to: *const Handle, data: *const EdgeData, count: usize) -> Result<Vec<Pair>> {
    // SAFETY: the caller's word.
    let (edges, to) = unsafe { (edges_of(from, data, count)?, list(to, count)?) };
    Ok(edges.iter().zip(to).map(|(edge, to)| (edge.from, *to, edge.data)).collect())
}

/// Gives as many elements of a list as there is room for, and how many there are; without a list only the latter. What
/// room is left is filled with `nothing`.
///
/// # Safety
/// `count` is null or valid; `to` is null or has as many elements as it says.
unsafe fn give_list<T: Copy>(all: &[T], to: *mut T, count: *mut usize, nothing: T) -> Result<()> {
    if count.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    unsafe {
        let room = count.read();
        if to.is_null() {
            count.write(all.len());
            return Ok(());
        }
        for n in 0..room {
            to.add(n).write(all.get(n).copied().unwrap_or(nothing));
        }
        count.write(room.min(all.len()));
    }
    Ok(())
}

/// An edge: its ends, and its data.
type Pair = (Handle, Handle, EdgeData);
/// One end of an edge.
type End = fn(&Pair) -> Handle;

/// Gives edges: one or two lists of nodes, and a list of data, without which edges that have some cannot be told.
///
/// # Safety
/// As [`give_list`], for all lists.
unsafe fn give_edges<const N: usize>(
    edges: &[Pair],
    ends: [(*mut Handle, End); N],
    data: *mut EdgeData,
    count: *mut usize,
) -> Result<()> {
    let wanted = ends.iter().filter(|(to, _)| !to.is_null()).count();
    if count.is_null() || (wanted != 0 && wanted != N) || (wanted == 0 && !data.is_null()) {
        return Err(Code::INVALID_VALUE);
    }
    if wanted > 0 && data.is_null() && edges.iter().any(|(.., data)| *data != EdgeData::default()) {
        return Err(Code::LOSSY_QUERY);
    }
    // SAFETY: the caller's word.
    unsafe {
        let room = count.read();
        for (to, end) in ends {
            count.write(room);
            give_list(&edges.iter().map(end).collect::<Vec<_>>(), to, count, Handle::NULL)?;
        }
        if !data.is_null() {
            count.write(room);
            let all: Vec<EdgeData> = edges.iter().map(|(.., data)| *data).collect();
            give_list(&all, data, count, EdgeData::default())?;
        }
    }
    Ok(())
}

/// The edges that end at a node, and those that begin there.
fn edges_at(node: Handle, begin: bool) -> Result<Vec<Pair>> {
    let mut edges = Graph::of_node(node)?.edges();
    edges.retain(|(from, to, _)| node == if begin { *from } else { *to });
    Ok(edges)
}

const FROM: End = |edge| edge.0;
const TO: End = |edge| edge.1;

/// `CUgraphInstantiate_flags`
const UPLOAD: u64 = 2;
const DEVICE_LAUNCH: u64 = 4;
const ALL_FLAGS: u64 = 15;

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[repr(C)]
pub struct InstantiateParameters {
    flags: u64,
    upload: Handle,
    node: Handle,
    result: c_uint,
}

/// Makes an executable graph. The error has a node that is to blame, and the number of a `CUgraphInstantiateResult`.
fn instantiate(graph: Handle, flags: u64) -> std::result::Result<Handle, (Code, Handle, c_uint)> {
    const ERROR: c_uint = 1;
    const INVALID_STRUCTURE: c_uint = 2;
    const NOT_SUPPORTED: c_uint = 3;
    let of_graph = |code| (code, Handle::NULL, ERROR);
    Context::current().map_err(of_graph)?;
    if flags & !ALL_FLAGS != 0 || flags & (AUTO_FREE | DEVICE_LAUNCH) == AUTO_FREE | DEVICE_LAUNCH {
        return Err(of_graph(Code::INVALID_VALUE));
    }
    let graph = GRAPHS.get(graph).map_err(of_graph)?;
    if flags & DEVICE_LAUNCH != 0 {
        // Kernels of the emulator cannot launch graphs.
        return Err((Code::NOT_SUPPORTED, Handle::NULL, NOT_SUPPORTED));
    }
    let executable = graph.instantiate(flags).map_err(|error| {
        let kind = if error.node == Handle::NULL { ERROR } else { INVALID_STRUCTURE };
        (error.code, error.node, kind)
    })?;
    Ok(EXECUTABLES.insert(Arc::new(executable)))
}

/// Updates an executable graph.
fn update(executable: Handle, graph: Handle) -> Result<UpdateResult> {
    let (executable, graph) = (EXECUTABLES.get(executable)?, GRAPHS.get(graph)?);
    Ok(executable.update(&graph).err().unwrap_or(UpdateResult::SUCCESS))
}

/// The code for a result of an update.
fn code_of(result: UpdateResult) -> Result<()> {
    if result.error == UpdateError::NONE { Ok(()) } else { Err(Code::GRAPH_EXEC_UPDATE_FAILURE) }
}

fn executable(handle: Handle) -> Result<Arc<Executable>> {
    EXECUTABLES.get(handle)
}

driver_api! {
    fn cuGraphCreate(graph: *mut Handle, flags: c_uint) {
        Context::current()?;
        if flags != 0 || graph.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(graph, Graph::create().0)
    }

    fn cuGraphDestroy(graph: Handle) {
        Graph::destroy(graph)
    }

    fn cuGraphClone(clone: *mut Handle, graph: Handle) {
        if clone.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(clone, GRAPHS.get(graph)?.duplicate()?)
    }

    fn cuGraphNodeFindInClone(node: *mut Handle, original: Handle, clone: Handle) {
        Graph::of_node(original)?;
        give(node, GRAPHS.get(clone)?.copy_of(original)?)
    }

    fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        give_list(&GRAPHS.get(graph)?.nodes(), nodes, count, Handle::NULL)
    }

    fn cuGraphGetRootNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        give_list(&GRAPHS.get(graph)?.roots(), nodes, count, Handle::NULL)
    }

    fn cuGraphGetEdges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) {
        give_edges(&GRAPHS.get(graph)?.edges(), [(from, FROM), (to, TO)], std::ptr::null_mut(), count)
    }

    fn cuGraphGetEdges_v2(
        graph: Handle,
        from: *mut Handle,
        to: *mut Handle,
        data: *mut EdgeData,
        count: *mut usize,
    ) {
        give_edges(&GRAPHS.get(graph)?.edges(), [(from, FROM), (to, TO)], data, count)
    }

    fn cuGraphNodeGetDependencies(node: Handle, nodes: *mut Handle, count: *mut usize) {
        give_edges(&edges_at(node, false)?, [(nodes, FROM)], std::ptr::null_mut(), count)
    }

    fn cuGraphNodeGetDependencies_v2(node: Handle, nodes: *mut Handle, data: *mut EdgeData, count: *mut usize) {
        give_edges(&edges_at(node, false)?, [(nodes, FROM)], data, count)
    }

    fn cuGraphNodeGetDependentNodes(node: Handle, nodes: *mut Handle, count: *mut usize) {
        give_edges(&edges_at(node, true)?, [(nodes, TO)], std::ptr::null_mut(), count)
    }

    fn cuGraphNodeGetDependentNodes_v2(node: Handle, nodes: *mut Handle, data: *mut EdgeData, count: *mut usize) {
        give_edges(&edges_at(node, true)?, [(nodes, TO)], data, count)
    }

    fn cuGraphAddDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        GRAPHS.get(graph)?.add_edges(&pairs_of(from, to, std::ptr::null(), count)?)
    }

    fn cuGraphAddDependencies_v2(
        graph: Handle,
        from: *const Handle,
        to: *const Handle,
        data: *const EdgeData,
        count: usize,
    ) {
        GRAPHS.get(graph)?.add_edges(&pairs_of(from, to, data, count)?)
    }

    fn cuGraphRemoveDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        GRAPHS.get(graph)?.remove_edges(&pairs_of(from, to, std::ptr::null(), count)?)
    }

    fn cuGraphRemoveDependencies_v2(
        graph: Handle,
        from: *const Handle,
        to: *const Handle,
        data: *const EdgeData,
        count: usize,
    ) {
        GRAPHS.get(graph)?.remove_edges(&pairs_of(from, to, data, count)?)
    }

    fn cuGraphDebugDotPrint(graph: Handle, path: *const c_char, flags: c_uint) {
        let drawn = GRAPHS.get(graph)?.dot(flags);
        std::fs::write(text(path)?, drawn).map_err(|_| Code::OPERATING_SYSTEM)
    }

    fn cuGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: u64) {
        if executable.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(executable, instantiate(graph, flags).map_err(|(code, ..)| code)?)
    }

    fn cuGraphInstantiate_v2(
        executable: *mut Handle,
        graph: Handle,
        node: *mut Handle,
        log: *mut c_char,
        log_size: usize,
    ) {
        if executable.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        if !log.is_null() && log_size > 0 {
            log.write(0);
        }
        let made = instantiate(graph, 0);
        if !node.is_null() {
            node.write(made.err().map_or(Handle::NULL, |(_, node, _)| node));
        }
        give(executable, made.map_err(|(code, ..)| code)?)
    }

    fn cuGraphInstantiateWithParams(
        executable: *mut Handle,
        graph: Handle,
        parameters: *mut InstantiateParameters,
    ) {
        if executable.is_null() || parameters.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let parameters = &mut *parameters;
        let made = instantiate(graph, parameters.flags).and_then(|made| {
            // There is nothing to upload; the stream has to be one.
            let upload = if parameters.flags & UPLOAD != 0 { Stream::get(parameters.upload).map(|_| ()) } else { Ok(()) };
            upload.map(|()| made).map_err(|code| (code, Handle::NULL, 1))
        });
        (parameters.node, parameters.result) = made.err().map_or((Handle::NULL, 0), |(_, node, kind)| (node, kind));
        give(executable, made.map_err(|(code, ..)| code)?)
    }

    fn cuGraphExecGetFlags(handle: Handle, flags: *mut u64) {
        // What was uploaded does not stay to be seen.
        give(flags, executable(handle)?.flags & !UPLOAD)
    }

    fn cuGraphExecUpdate_v2(executable: Handle, graph: Handle, info: *mut UpdateResult) {
        if info.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let result = update(executable, graph)?;
        give(info, result)?;
        code_of(result)
    }

    fn cuGraphExecUpdate(executable: Handle, graph: Handle, node: *mut Handle, error: *mut UpdateError) {
        if node.is_null() || error.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let result = update(executable, graph)?;
        give(node, result.node)?;
        give(error, result.error)?;
        code_of(result)
    }

    fn cuGraphNodeSetEnabled(handle: Handle, node: Handle, enabled: c_uint) {
        executable(handle)?.set_enabled(node, enabled != 0)
    }

    fn cuGraphNodeGetEnabled(handle: Handle, node: Handle, enabled: *mut c_uint) {
        give(enabled, c_uint::from(executable(handle)?.is_enabled(node)?))
    }

    fn cuGraphExecDestroy(executable: Handle) {
        EXECUTABLES.remove(executable).map(|_| ())
    }

    fn cuGraphUpload(handle: Handle, stream: Handle) as cuGraphUpload_ptsz {
        executable(handle)?;
        Stream::get(stream)?.not_capturing()
    }

    fn cuGraphLaunch(handle: Handle, stream: Handle) as cuGraphLaunch_ptsz {
        let executable = executable(handle)?;
        let stream = Stream::get(stream)?;
        // In a capture the graph becomes part of the one that is captured.
        match stream.capture_work(|| Ok(Work::Child(executable.graph().embed()?))) {
            Some(captured) => captured.map(|_| ()),
            None => executable.launch(&stream),
        }
    }

    fn cuDeviceGetGraphMemAttribute(device: c_int, attribute: c_int, value: *mut u64) {
        let values = graph::statistics(Device::get(device)?);
        let found = usize::try_from(attribute).ok().and_then(|attribute| values.get(attribute));
        give(value, *found.ok_or(Code::INVALID_VALUE)?)
    }

    fn cuDeviceSetGraphMemAttribute(device: c_int, attribute: c_int, value: *const u64) {
        let device = Device::get(device)?;
        // The most there was can be set to 0, which starts the count anew.
        if value.is_null() || !matches!(attribute, 1 | 3) || value.read() != 0 {
            return Err(Code::INVALID_VALUE);
        }
        graph::reset_high(device, attribute as usize / 2);
        Ok(())
    }

    fn cuDeviceGraphMemTrim(device: c_int) {
        // Memory of graphs is given back when they are destroyed: there is never any to trim.
        Device::get(device).map(|_| ())
    }

    fn cuUserObjectCreate(
        object: *mut Handle,
        data: *mut c_void,
        destroy: Option<unsafe extern "C" fn(*mut c_void)>,
        count: c_uint,
        flags: c_uint,
    ) {
        // The one flag says that nobody waits for the destructor, and has to be set.
        if object.is_null() || flags != 1 || count == 0 || count > i32::MAX as c_uint {
            return Err(Code::INVALID_VALUE);
        }
        give(object, user_object::create(data as usize, destroy.ok_or(Code::INVALID_VALUE)?, count))
    }

    fn cuUserObjectRetain(object: Handle, count: c_uint) {
        if count == 0 || count > i32::MAX as c_uint {
            return Err(Code::INVALID_VALUE);
        }
        user_object::retain(object, count)
    }

    fn cuUserObjectRelease(object: Handle, count: c_uint) {
        if count == 0 || count > i32::MAX as c_uint {
            return Err(Code::INVALID_VALUE);
        }
        user_object::release(object, count)
    }

    fn cuGraphRetainUserObject(graph: Handle, object: Handle, count: c_uint, flags: c_uint) {
        if count == 0 || count > i32::MAX as c_uint || flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        let graph = GRAPHS.get(graph)?;
        graph.hold(object, user_object::references(object, count, flags == 1)?);
        Ok(())
    }

    fn cuGraphReleaseUserObject(graph: Handle, object: Handle, count: c_uint) {
        if count == 0 || count > i32::MAX as c_uint {
            return Err(Code::INVALID_VALUE);
        }
        GRAPHS.get(graph)?.release(object, count)
    }
}
