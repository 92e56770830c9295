//! Streams, and the capture of work in them.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::capture::{Capture, Mode, exchange_mode};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, EVENTS, STREAMS, Stream, locked};
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
        let mode = Mode::from_number(mode)?;
        // The legacy stream cannot be captured.
        if stream.0 < 2 {
            return Err(Code::STREAM_CAPTURE_UNSUPPORTED);
        }
        let mut capture = locked(&found.capture);
        if capture.is_some() {
            return Err(Code::ILLEGAL_STATE);
        }
        *capture = Some(Capture::begin(stream, mode));
        Ok(())
    }

    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) {
        let stream = Stream::get(stream)?;
        let mut capture = locked(&stream.capture);
        capture.as_ref().ok_or(Code::ILLEGAL_STATE)?.check_thread()?;
        match capture.take().ok_or(Code::ILLEGAL_STATE)?.finish() {
            Ok(captured) => give(graph, captured),
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

    fn cuStreamGetCaptureInfo_v2(
        stream: Handle,
        status: *mut c_int,
        id: *mut u64,
        graph: *mut Handle,
        after: *mut *const Handle,
        count: *mut usize,
    ) {
        let stream = Stream::get(stream)?;
        let capture = locked(&stream.capture);
        let Some(capture) = &*capture else { return give(status, 0) };
        if capture.is_invalidated() {
            return give(status, 2);
        }
        give(status, 1)?;
        if !id.is_null() {
            id.write(capture.id);
        }
        if !graph.is_null() {
            graph.write(capture.handle);
        }
        if !after.is_null() {
            // Valid until the next call that uses the stream.
            after.write(capture.last.as_ptr());
        }
        if !count.is_null() {
            count.write(capture.last.len());
        }
        Ok(())
    }

    fn cuThreadExchangeStreamCaptureMode(mode: *mut c_int) {
        if mode.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(mode, exchange_mode(Mode::from_number(mode.read())?) as c_int)
    }
}
