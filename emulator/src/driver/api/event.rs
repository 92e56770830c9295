//! Events.

use std::ffi::c_uint;
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, DEVICE, EVENTS, Event, Stream};
use crate::driver::handle::Handle;

const DISABLE_TIMING: c_uint = 2;

/// Milliseconds from one event to another.
fn elapsed(start: Handle, end: Handle) -> Result<f32> {
    let (start, end) = (EVENTS.get(start)?.time()?, EVENTS.get(end)?.time()?);
    let seconds = match end.checked_duration_since(start) {
        Some(after) => after.as_secs_f64(),
        None => -start.duration_since(end).as_secs_f64(),
    };
    Ok((seconds * 1e3) as f32)
}

driver_api! {
    fn cuEventCreate(event: *mut Handle, flags: c_uint) {
        let context = Context::current()?;
        if flags > 7 {
            return Err(Code::INVALID_VALUE);
        }
        give(event, EVENTS.insert(Arc::new(Event::new(context, flags & DISABLE_TIMING == 0))))
    }

    fn cuEventDestroy_v2(event: Handle) {
        EVENTS.remove(event).map(|_| ())
    }

    fn cuEventRecord(event: Handle, stream: Handle) {
        EVENTS.get(event)?.record(&*Stream::get(stream)?)
    }

    fn cuEventRecordWithFlags(event: Handle, stream: Handle, _flags: c_uint) {
        EVENTS.get(event)?.record(&*Stream::get(stream)?)
    }

    fn cuEventQuery(event: Handle) {
        let event = EVENTS.get(event)?;
        event.context.alive()?;
        match event.ticket() {
            Some(ticket) if !DEVICE.engine.is_done(ticket) => Err(Code::NOT_READY),
            _ => event.context.alive(),
        }
    }

    fn cuEventSynchronize(event: Handle) {
        let event = EVENTS.get(event)?;
        if let Some(ticket) = event.ticket() {
            DEVICE.engine.wait(ticket);
        }
        event.context.alive()
    }

    fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        give(milliseconds, elapsed(start, end)?)
    }

    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle) {
        give(milliseconds, elapsed(start, end)?)
    }
}
