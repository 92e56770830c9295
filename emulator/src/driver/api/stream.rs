//! Streams, and the capture of work in them.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::allocation::{self, Kind};
use crate::driver::capture::{Capture, Mode, exchange_mode};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, EVENTS, STREAMS, Stream, locked};
use crate::driver::device;
use crate::driver::handle::Handle;
use crate::driver::operation::{Condition, HostFunction, Operation, ValueWait};
use crate::driver::stream::HIGHEST_PRIORITY;

fn create(flags: c_uint, priority: c_int) -> Result<Handle> {
    let context = Context::current()?;
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    // Priorities out of range are brought into it.
    Ok(STREAMS.insert(Arc::new(Stream::new(&context, flags, priority.clamp(HIGHEST_PRIORITY, 0)))))
}

/// `CUstreamAttrValue`
pub(crate) type AttributeValue = crate::driver::stream::Attribute;

/// Attributes of a stream: its window of L2, how the host waits for it, its priority, its domain of memory
/// synchronisation, and how domains of the program are mapped to those of the device.
const WINDOW: c_int = 1;
const SYNCHRONISATION: c_int = 3;
const PRIORITY: c_int = 8;
const DOMAIN_MAP: c_int = 9;
const MEMORY_DOMAIN: c_int = 10;

fn attribute_of(stream: &Stream, attribute: c_int) -> Result<AttributeValue> {
    let mut initial = AttributeValue::default();
    match attribute {
        WINDOW | MEMORY_DOMAIN => {}
        SYNCHRONISATION => initial.0[0] = 1,
        PRIORITY => initial.0[0] = stream.priority as u32,
        // the second domain is the device's second
        DOMAIN_MAP => initial.0[0] = 0x0100,
        _ => return Err(Code::INVALID_VALUE),
    }
    Ok(locked(&stream.attributes).get(&attribute).copied().unwrap_or(initial))
}

/// Makes a stream wait for a value of `width` bytes.
fn wait_value(stream: Handle, at: u64, value: u64, width: u64, flags: c_uint) -> Result<()> {
    let stream = Stream::get(stream)?;
    // The flag that flushes remote writes has nothing to flush.
    let condition = match flags & !(1 << 30) {
        0 => Condition::GreaterOrEqual,
        1 => Condition::Equal,
        2 => Condition::And,
        3 => Condition::Nor,
        _ => return Err(Code::INVALID_VALUE),
    };
    check_value(at, width)?;
    stream.submit(Operation::WaitValue(ValueWait { at, value, width, condition }))
}

/// Writes a value of `width` bytes in the order of a stream.
fn write_value(stream: Handle, to: u64, value: u64, width: u64, flags: c_uint) -> Result<()> {
    let stream = Stream::get(stream)?;
    // Work in a stream is in order with or without a barrier before it.
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    check_value(to, width)?;
    stream.submit(Operation::WriteValue { to, value, width })
}

fn check_value(address: u64, width: u64) -> Result<()> {
    let there = address.is_multiple_of(width) && device::resolve(address, width).is_some();
    if there { Ok(()) } else { Err(Code::INVALID_VALUE) }
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

    fn cuStreamSynchronize(stream: Handle) as cuStreamSynchronize_ptsz {
        Stream::get(stream)?.synchronize()
    }

    fn cuStreamQuery(stream: Handle) as cuStreamQuery_ptsz {
        let stream = Stream::get(stream)?;
        stream.not_capturing()?;
        if stream.is_done() { stream.context.alive() } else { Err(Code::NOT_READY) }
    }

    fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint) as cuStreamWaitEvent_ptsz {
        let stream = Stream::get(stream)?;
        let event = EVENTS.get(event)?;
        if flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        // What was not recorded is not waited for.
        let Some(ticket) = event.ticket() else { return Ok(()) };
        // In a capture the graph would depend on work outside it.
        if let Some(capture) = &mut *locked(&stream.capture) {
            return Err(capture.invalidate(Code::STREAM_CAPTURE_ISOLATION));
        }
        stream.run_after(Operation::Nothing, &[ticket]);
        Ok(())
    }

    fn cuStreamGetCtx(stream: Handle, context: *mut Handle) as cuStreamGetCtx_ptsz {
        give(context, Stream::get(stream)?.context.handle())
    }

    fn cuStreamGetCtx_v2(stream: Handle, context: *mut Handle, green: *mut Handle) as cuStreamGetCtx_v2_ptsz {
        if !green.is_null() {
            green.write(Handle::NULL);
        }
        give(context, Stream::get(stream)?.context.handle())
    }

    fn cuStreamGetDevice(stream: Handle, device: *mut c_int) as cuStreamGetDevice_ptsz {
        give(device, Stream::get(stream)?.context.device.index as c_int)
    }

    fn cuStreamGetId(stream: Handle, id: *mut u64) as cuStreamGetId_ptsz {
        give(id, Stream::get(stream)?.id())
    }

    fn cuStreamAddCallback(
        stream: Handle,
        function: Option<unsafe extern "C" fn(Handle, Code, *mut c_void)>,
        data: *mut c_void,
        flags: c_uint,
    ) as cuStreamAddCallback_ptsz {
        let function = function.filter(|_| flags == 0).ok_or(Code::INVALID_VALUE)?;
        let found = Stream::get(stream)?;
        found.not_capturing()?;
        found.run(Operation::Callback { function, stream, data: data as usize });
        Ok(())
    }

    fn cuStreamGetAttribute(stream: Handle, attribute: c_int, value: *mut AttributeValue) as cuStreamGetAttribute_ptsz {
        give(value, attribute_of(&*Stream::get(stream)?, attribute)?)
    }

    fn cuStreamSetAttribute(stream: Handle, attribute: c_int, value: *const AttributeValue) as cuStreamSetAttribute_ptsz {
        if value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let (stream, value) = (Stream::get(stream)?, value.read());
        match (attribute, value.0[0]) {
            // The priority of a stream does not change.
            (PRIORITY, _) => Err(Code::INVALID_VALUE),
            (SYNCHRONISATION, 4..) | (MEMORY_DOMAIN, 2..) => Err(Code::INVALID_VALUE),
            _ => {
                attribute_of(&stream, attribute)?;
                locked(&stream.attributes).insert(attribute, value);
                Ok(())
            }
        }
    }

    fn cuStreamCopyAttributes(to: Handle, from: Handle) as cuStreamCopyAttributes_ptsz {
        let (to, from) = (Stream::get(to)?, Stream::get(from)?);
        if !Arc::ptr_eq(&to.context, &from.context) {
            return Err(Code::INVALID_VALUE);
        }
        let copied = locked(&from.attributes).clone();
        locked(&to.attributes).extend(copied);
        Ok(())
    }

    fn cuStreamWaitValue32_v2(stream: Handle, address: u64, value: c_uint, flags: c_uint) as cuStreamWaitValue32_v2_ptsz {
        wait_value(stream, address, value.into(), 4, flags)
    }

    fn cuStreamWaitValue64_v2(stream: Handle, address: u64, value: u64, flags: c_uint) as cuStreamWaitValue64_v2_ptsz {
        wait_value(stream, address, value, 8, flags)
    }

    fn cuStreamWriteValue32_v2(stream: Handle, address: u64, value: c_uint, flags: c_uint) as cuStreamWriteValue32_v2_ptsz {
        write_value(stream, address, value.into(), 4, flags)
    }

    fn cuStreamWriteValue64_v2(stream: Handle, address: u64, value: u64, flags: c_uint) as cuStreamWriteValue64_v2_ptsz {
        write_value(stream, address, value, 8, flags)
    }

    fn cuStreamAttachMemAsync(stream: Handle, address: u64, bytes: usize, flags: c_uint) as cuStreamAttachMemAsync_ptsz {
        let stream = Stream::get(stream)?;
        stream.not_capturing()?;
        let found = allocation::find(address).filter(|found| matches!(found.kind, Kind::Managed));
        let found = found.filter(|found| found.base == address && (bytes == 0 || bytes as u64 == found.bytes));
        // to all, to the host, to this stream alone
        if found.is_none() || !matches!(flags, 1 | 2 | 4) {
            return Err(Code::INVALID_VALUE);
        }
        if flags == 4 && stream.is_legacy() {
            return Err(Code::INVALID_VALUE);
        }
        stream.run(Operation::Nothing);
        Ok(())
    }

    fn cuStreamGetFlags(stream: Handle, flags: *mut c_uint) as cuStreamGetFlags_ptsz {
        give(flags, Stream::get(stream)?.flags)
    }

    fn cuStreamGetPriority(stream: Handle, priority: *mut c_int) as cuStreamGetPriority_ptsz {
        give(priority, Stream::get(stream)?.priority)
    }

    fn cuLaunchHostFunc(stream: Handle, function: Option<unsafe extern "C" fn(*mut c_void)>, data: *mut c_void) as cuLaunchHostFunc_ptsz {
        let function = function.ok_or(Code::INVALID_VALUE)?;
        Stream::get(stream)?.submit(Operation::Host(HostFunction { function, data: data as usize }))
    }

    fn cuStreamBeginCapture_v2(stream: Handle, mode: c_int) as cuStreamBeginCapture_v2_ptsz {
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

    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) as cuStreamEndCapture_ptsz {
        let stream = Stream::get(stream)?;
        let mut capture = locked(&stream.capture);
        capture.as_ref().ok_or(Code::ILLEGAL_STATE)?.check_thread()?;
        match capture.take().ok_or(Code::ILLEGAL_STATE)?.finish() {
            Ok(captured) => give(graph, captured),
            Err(code) => give(graph, Handle::NULL).and(Err(code)),
        }
    }

    fn cuStreamIsCapturing(stream: Handle, status: *mut c_int) as cuStreamIsCapturing_ptsz {
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
    ) as cuStreamGetCaptureInfo_v2_ptsz {
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
