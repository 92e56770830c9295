//! Events.

use std::ffi::c_uint;
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, EVENTS, Event, Stream};
use crate::driver::engine::ENGINE;
use crate::driver::handle::Handle;

const DISABLE_TIMING: c_uint = 2;
const INTERPROCESS: c_uint = 4;

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
        // An event for other processes cannot be timed; other processes have memory of their own, which the emulator is in.
        if flags > 7 || (flags & INTERPROCESS != 0 && flags & DISABLE_TIMING == 0) {
            return Err(Code::INVALID_VALUE);
        }
        give(event, EVENTS.insert(Arc::new(Event::new(context, flags & DISABLE_TIMING == 0))))
    }

    fn cuEventDestroy_v2(event: Handle) {
        EVENTS.remove(event).map(|_| ())
    }

    fn cuEventRecord(event: Handle, stream: Handle) as cuEventRecord_ptsz {
        EVENTS.get(event)?.record(&*Stream::get(stream)?)
    }

    fn cuEventRecordWithFlags(event: Handle, stream: Handle, flags: c_uint) as cuEventRecordWithFlags_ptsz {
        if flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        EVENTS.get(event)?.record(&*Stream::get(stream)?)
    }

    fn cuEventQuery(event: Handle) {
        let event = EVENTS.get(event)?;
        event.context.alive()?;
        match event.ticket() {
            Some(ticket) if !ENGINE.is_done(ticket) => Err(Code::NOT_READY),
            _ => event.context.alive(),
        }
    }

    fn cuEventSynchronize(event: Handle) {
        let event = EVENTS.get(event)?;
        if let Some(ticket) = event.ticket() {
            ENGINE.wait(ticket);
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
