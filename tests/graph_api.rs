//! What the driver API itself checks of graphs and captures, on whatever driver there is.

mod common;

use std::ptr::{null, null_mut};

use common::device;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUgraph, CUgraphNode, CUresult};
use warpwright::Buffer;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
const SUCCESS: CUresult = CUresult::CUDA_SUCCESS;

fn graph() -> CUgraph {
    let mut graph = null_mut();
    // SAFETY: the result has room; the context is current, since `device` made it so.
    unsafe { sys::cuGraphCreate(&raw mut graph, 0) }.result().unwrap();
    graph
}

/// Adds a node that does nothing.
fn empty(graph: CUgraph, after: &[CUgraphNode]) -> Result<CUgraphNode, CUresult> {
    let mut node = null_mut();
    // SAFETY: the graph exists, and the nodes are as many as said.
    match unsafe { sys::cuGraphAddEmptyNode(&raw mut node, graph, after.as_ptr(), after.len()) } {
        SUCCESS => Ok(node),
        code => Err(code),
    }
}

#[test]
fn nodes_and_edges_are_of_one_graph() {
    let device = device();
    device.context.bind_to_thread().unwrap();
    let (one, other) = (graph(), graph());
    let (a, foreign) = (empty(one, &[]).unwrap(), empty(other, &[]).unwrap());
    let b = empty(one, &[a]).unwrap();
    assert_eq!(empty(one, &[foreign]), Err(INVALID_VALUE));
    assert_eq!(empty(one, &[a, a]), Err(INVALID_VALUE));
    // SAFETY: the graphs exist; the nodes of a child are known to its parent only as a whole.
    unsafe {
        let mut child = null_mut();
        assert_eq!(sys::cuGraphAddChildGraphNode(&raw mut child, one, &raw const b, 1, other), SUCCESS);
        let executable = result::graph::instantiate(one, sys::CUgraphInstantiate_flags(0)).unwrap();
        assert_eq!(sys::cuGraphNodeSetEnabled(executable, child, 0), INVALID_VALUE);
        assert_eq!(sys::cuGraphNodeSetEnabled(executable, foreign, 0), INVALID_VALUE);
        result::graph::exec_destroy(executable).unwrap();
        result::graph::destroy(one).unwrap();
        result::graph::destroy(other).unwrap();
    }
}

#[test]
fn fills_have_elements_of_1_2_or_4_bytes() {
    let device = device();
    let buffer = Buffer::<u32>::zeroed(&device.stream, 4).unwrap();
    let graph = graph();
    let add = |element, address| {
        let parameters = sys::CUDA_MEMSET_NODE_PARAMS {
            dst: address,
            pitch: 0,
            value: 1,
            elementSize: element,
            width: 1,
            height: 1,
        };
        let mut node = null_mut();
        // SAFETY: graph, context and memory exist.
        unsafe {
            let context = device.context.cu_ctx();
            sys::cuGraphAddMemsetNode(&raw mut node, graph, null(), 0, &raw const parameters, context)
        }
    };
    for element in [1, 2, 4] {
        assert_eq!(add(element, buffer.address()), SUCCESS);
    }
    for element in [0, 3, 8] {
        assert_eq!(add(element, buffer.address()), INVALID_VALUE);
    }
    // SAFETY: the graph exists.
    unsafe { result::graph::destroy(graph) }.unwrap();
}

/// (Later headers have other names for what is asked here.)
#[cfg(feature = "cuda-12000")]
#[test]
fn a_capture_says_what_it_is() {
    use cudarc::driver::sys::{CUstreamCaptureMode, CUstreamCaptureStatus};
    let device = device();
    let stream = device.stream.cu_stream();
    let buffer = Buffer::<u8>::zeroed(&device.stream, 4).unwrap();
    let info = || {
        let (mut status, mut id, mut count) = (CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE, 0, 0);
        // SAFETY: the stream exists, and the results have room.
        let code = unsafe {
            sys::cuStreamGetCaptureInfo_v2(stream, &raw mut status, &raw mut id, null_mut(), null_mut(), &raw mut count)
        };
        assert_eq!(code, SUCCESS);
        (status, id, count)
    };
    assert_eq!(info().0, CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE);
    device.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    let (status, first, count) = info();
    assert_eq!((status, count), (CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE, 0));
    // SAFETY: the memory exists.
    unsafe { result::memset_d8_async(buffer.address(), 1, 4, stream) }.unwrap();
    assert_eq!(info().2, 1);
    // Only the thread that began it may end it.
    let elsewhere = std::thread::scope(|scope| {
        let ending = scope.spawn(|| device.stream.end_capture(sys::CUgraphInstantiate_flags(0)).err());
        ending.join().unwrap()
    });
    assert_eq!(elsewhere.unwrap().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    // An allocation that is not ordered by a stream is not seen by a capture, and ends it.
    // SAFETY: nothing is allocated.
    let allocated = unsafe { result::malloc_sync(16) };
    assert_eq!(allocated.unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(info().0, CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    let ended = device.stream.end_capture(sys::CUgraphInstantiate_flags(0));
    assert_eq!(ended.err().unwrap().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    // The next one has another number. In relaxed mode the thread may allocate.
    let mut mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
    // SAFETY: the mode is one.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) }.result().unwrap();
    assert_eq!(mode, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL);
    device.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    assert_ne!(info().1, first);
    // SAFETY: what is allocated is freed; the mode is one.
    unsafe {
        result::free_sync(result::malloc_sync(16).unwrap()).unwrap();
        sys::cuThreadExchangeStreamCaptureMode(&raw mut mode).result().unwrap();
    }
    assert_eq!(info().0, CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE);
    drop(device.stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap());
}
