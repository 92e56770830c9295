//! Streams, and the capture of work in them.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::capture::Capture;
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, EVENTS, GRAPHS, STREAMS, Stream, locked};
use crate::driver::handle::Handle;
use crate::driver::operation::{HostFunction, Operation};

fn create(flags: c_uint, priority: c_int) -> Result<Handle> {
    let context = Context::current()?;
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    // Priorities out of range are brought into it.
    Ok(STREAMS.insert(Arc::new(Stream::new(&context, flags, priority.clamp(-5, 0)))))
}

driver_api! {
    fn cuStreamCreate(stream: *mut Handle, flags: c_uint) {
        give(stream, create(flags, 0)?)
    }

    fn cuStreamCreateWithPriority(stream: *mut Handle, flags: c_uint, priority: c_int) {
        give(stream, create(flags, priority)?)
    }

    fn cuStreamDestroy_v2(stream: Handle) {
        // Work in it goes on; the handle is gone at once.
        STREAMS.remove(stream).map(|_| ())
    }

    fn cuStreamSynchronize(stream: Handle) {
        Stream::get(stream)?.synchronize()
    }

    fn cuStreamQuery(stream: Handle) {
        let stream = Stream::get(stream)?;
        stream.not_capturing()?;
        if stream.is_done() { stream.context.alive() } else { Err(Code::NOT_READY) }
    }

    fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: c_uint) {
        let stream = Stream::get(stream)?;
        let event = EVENTS.get(event)?;
        // The queue is in order, so what was recorded is done before anything submitted from now on. In a capture the
        // graph would depend on work outside it.
        if let (Some(capture), true) = (&mut *locked(&stream.capture), event.ticket().is_some()) {
            return Err(capture.invalidate(Code::STREAM_CAPTURE_ISOLATION));
        }
        Ok(())
    }

    fn cuStreamGetCtx(stream: Handle, context: *mut Handle) {
        give(context, Stream::get(stream)?.context.handle())
    }

    fn cuStreamGetFlags(stream: Handle, flags: *mut c_uint) {
        give(flags, Stream::get(stream)?.flags)
    }

    fn cuStreamGetPriority(stream: Handle, priority: *mut c_int) {
        give(priority, Stream::get(stream)?.priority)
    }

    fn cuLaunchHostFunc(stream: Handle, function: Option<unsafe extern "C" fn(*mut c_void)>, data: *mut c_void) {
        let function = function.ok_or(Code::INVALID_VALUE)?;
        Stream::get(stream)?.submit(Operation::Host(HostFunction { function, data: data as usize }))
    }

    fn cuStreamBeginCapture_v2(stream: Handle, mode: c_int) {
        let found = Stream::get(stream)?;
        // The legacy stream cannot be captured.
        if !(0..=2).contains(&mode) || stream.0 < 2 {
            return Err(if stream.0 < 2 { Code::STREAM_CAPTURE_UNSUPPORTED } else { Code::INVALID_VALUE });
        }
        let mut capture = locked(&found.capture);
        if capture.is_some() {
            return Err(Code::INVALID_VALUE);
        }
        *capture = Some(Capture::new());
        Ok(())
    }

    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) {
        let capture = locked(&Stream::get(stream)?.capture).take().ok_or(Code::INVALID_VALUE)?;
        match capture.finish() {
            Ok(captured) => give(graph, GRAPHS.insert(captured)),
            Err(code) => give(graph, Handle::NULL).and(Err(code)),
        }
    }

    fn cuStreamIsCapturing(stream: Handle, status: *mut c_int) {
        let stream = Stream::get(stream)?;
        let state = match &*locked(&stream.capture) {
            None => 0,
            Some(capture) if capture.is_invalidated() => 2,
            Some(_) => 1,
        };
        give(status, state)
    }
}
