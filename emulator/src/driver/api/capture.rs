//! Stream capture.

use std::ffi::{c_int, c_uint};

use super::graph::edges_of;
use super::{driver_api, give};
use crate::driver::capture::{Capture, Mode, exchange_mode};
use crate::driver::code::{Code, Result};
use crate::driver::context::{GRAPHS, Stream, locked};
use crate::driver::graph::EdgeData;
use crate::driver::handle::Handle;

/// Where the caller wants what it asks of a capture; null for what it does not want.
struct Wanted {
    id: *mut u64,
    graph: *mut Handle,
    after: *mut *const Handle,
    data: Option<*mut *const EdgeData>,
    count: *mut usize,
}

/// # Safety
/// The pointers are null or valid for writes.
unsafe fn info(stream: Handle, status: *mut c_int, wanted: &Wanted) -> Result<()> {
    let stream = Stream::get(stream)?;
    stream.check_legacy()?;
    let mut capture = locked(&stream.capture);
    // SAFETY (of all that follow): the caller's word.
    let Some(capture) = &mut *capture else {
        // SAFETY: see above.
        return unsafe { give(status, 0) };
    };
    if status.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let asks_for_edges = !wanted.after.is_null() || !wanted.count.is_null();
    let has_data = capture.last.iter().any(|edge| edge.data != EdgeData::default());
    let no_data = wanted.data.is_none_or(|data| data.is_null());
    if asks_for_edges && has_data && no_data && capture.status() == 1 {
        return Err(Code::LOSSY_QUERY);
    }
    // SAFETY: see above.
    unsafe { status.write(capture.status()) };
    if capture.status() != 1 {
        return Ok(());
    }
    capture.asked = capture.last.iter().map(|edge| (edge.from, edge.data)).unzip();
    // SAFETY: see above. The lists are valid until the next call that uses the stream.
    unsafe {
        if !wanted.id.is_null() {
            wanted.id.write(capture.sequence.id);
        }
        if !wanted.graph.is_null() {
            wanted.graph.write(capture.sequence.graph.handle());
        }
        if !wanted.after.is_null() {
            wanted.after.write(capture.asked.0.as_ptr());
        }
        if let Some(data) = wanted.data.filter(|data| !data.is_null()) {
            data.write(capture.asked.1.as_ptr());
        }
        if !wanted.count.is_null() {
            wanted.count.write(capture.last.len());
        }
    }
    Ok(())
}

/// Changes what the next node of a capture comes after.
///
/// # Safety
/// There are `count` nodes and, unless they are null, as many data of edges.
unsafe fn update(
    stream: Handle,
    nodes: *const Handle,
    data: *const EdgeData,
    count: usize,
    flags: c_uint,
) -> Result<()> {
    let stream = Stream::get(stream)?;
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    let edges = unsafe { edges_of(nodes, data, count) }?;
    locked(&stream.capture).as_mut().ok_or(Code::ILLEGAL_STATE)?.update(&edges, flags == 1)
}

driver_api! {
    fn cuStreamBeginCapture_v2(stream: Handle, mode: c_int) as cuStreamBeginCapture_v2_ptsz {
        Capture::begin(&Stream::get(stream)?, Mode::from_number(mode)?, None)
    }

    fn cuStreamBeginCaptureToGraph(
        stream: Handle,
        graph: Handle,
        after: *const Handle,
        data: *const EdgeData,
        count: usize,
        mode: c_int,
    ) as cuStreamBeginCaptureToGraph_ptsz {
        let (stream, mode, graph) = (Stream::get(stream)?, Mode::from_number(mode)?, GRAPHS.get(graph)?);
        let edges = edges_of(after, data, count)?;
        let nodes: Vec<Handle> = edges.iter().map(|edge| edge.from).collect();
        if !graph.has(&nodes) {
            return Err(Code::INVALID_VALUE);
        }
        Capture::begin(&stream, mode, Some((graph, edges)))
    }

    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) as cuStreamEndCapture_ptsz {
        if graph.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        match Capture::end(&*Stream::get(stream)?) {
            Ok(captured) => give(graph, captured),
            Err(code) => give(graph, Handle::NULL).and(Err(code)),
        }
    }

    fn cuStreamIsCapturing(stream: Handle, status: *mut c_int) as cuStreamIsCapturing_ptsz {
        let stream = Stream::get(stream)?;
        stream.check_legacy()?;
        give(status, locked(&stream.capture).as_ref().map_or(0, Capture::status))
    }

    fn cuStreamGetCaptureInfo_v2(
        stream: Handle,
        status: *mut c_int,
        id: *mut u64,
        graph: *mut Handle,
        after: *mut *const Handle,
        count: *mut usize,
    ) as cuStreamGetCaptureInfo_v2_ptsz {
        info(stream, status, &Wanted { id, graph, after, data: None, count })
    }

    fn cuStreamGetCaptureInfo_v3(
        stream: Handle,
        status: *mut c_int,
        id: *mut u64,
        graph: *mut Handle,
        after: *mut *const Handle,
        data: *mut *const EdgeData,
        count: *mut usize,
    ) as cuStreamGetCaptureInfo_v3_ptsz {
        info(stream, status, &Wanted { id, graph, after, data: Some(data), count })
    }

    fn cuStreamUpdateCaptureDependencies(stream: Handle, nodes: *const Handle, count: usize, flags: c_uint) as cuStreamUpdateCaptureDependencies_ptsz {
        update(stream, nodes, std::ptr::null(), count, flags)
    }

    fn cuStreamUpdateCaptureDependencies_v2(
        stream: Handle,
        nodes: *const Handle,
        data: *const EdgeData,
        count: usize,
        flags: c_uint,
    ) as cuStreamUpdateCaptureDependencies_v2_ptsz {
        update(stream, nodes, data, count, flags)
    }

    fn cuThreadExchangeStreamCaptureMode(mode: *mut c_int) {
        if mode.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(mode, exchange_mode(Mode::from_number(mode.read())?) as c_int)
    }
}
