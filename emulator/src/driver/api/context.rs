//! Contexts.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::Ordering;

use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{CONTEXTS, Context, INITIALISED};
use crate::driver::handle::Handle;

/// Makes a context, which becomes the current one.
fn create(flags: c_uint, device: c_int) -> Result<Handle> {
    if !INITIALISED.load(Ordering::Acquire) {
        return Err(Code::NOT_INITIALIZED);
    }
    if device != 0 {
        return Err(Code::INVALID_DEVICE);
    }
    let handle = Context::create(false);
    CONTEXTS.get(handle)?.flags.store(flags, Ordering::Relaxed);
    Context::push(handle)?;
    Ok(handle)
}

driver_api! {
    fn cuCtxCreate_v2(context: *mut Handle, flags: c_uint, device: c_int) {
        give(context, create(flags, device)?)
    }

    fn cuCtxCreate_v3(context: *mut Handle, _affinity: *mut c_void, _count: c_int, flags: c_uint, device: c_int) {
        give(context, create(flags, device)?)
    }

    fn cuCtxCreate_v4(context: *mut Handle, _parameters: *mut c_void, flags: c_uint, device: c_int) {
        give(context, create(flags, device)?)
    }

    fn cuCtxDestroy_v2(context: Handle) {
        if CONTEXTS.get(context).map_err(|_| Code::INVALID_CONTEXT)?.primary {
            return Err(Code::INVALID_CONTEXT);
        }
        Context::destroy(context)
    }

    fn cuCtxGetCurrent(context: *mut Handle) {
        give(context, Context::top().unwrap_or(Handle::NULL))
    }

    fn cuCtxSetCurrent(context: Handle) {
        Context::set_current(context)
    }

    fn cuCtxPushCurrent_v2(context: Handle) {
        Context::push(context)
    }

    fn cuCtxPopCurrent_v2(context: *mut Handle) {
        let popped = Context::pop()?;
        if !context.is_null() {
            context.write(popped);
        }
        Ok(())
    }

    fn cuCtxGetDevice(device: *mut c_int) {
        Context::current()?;
        give(device, 0)
    }

    fn cuCtxSynchronize() {
        Context::current()?.synchronize()
    }

    fn cuCtxGetFlags(flags: *mut c_uint) {
        give(flags, Context::current()?.flags.load(Ordering::Relaxed))
    }

    fn cuCtxSetFlags(flags: c_uint) {
        Context::current()?.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    fn cuCtxGetApiVersion(context: Handle, version: *mut c_uint) {
        if context != Handle::NULL {
            CONTEXTS.get(context).map_err(|_| Code::INVALID_CONTEXT)?;
        }
        give(version, 3020)
    }

    fn cuCtxGetLimit(value: *mut usize, limit: c_int) {
        Context::current()?;
        // stack, printf buffer, heap: what a GPU has when nothing was set
        let known = match limit {
            0 => 1024,
            1 => 1 << 20,
            2 => 8 << 20,
            _ => return Err(Code::UNSUPPORTED_LIMIT),
        };
        give(value, known)
    }

    fn cuCtxSetLimit(limit: c_int, _value: usize) {
        Context::current()?;
        // The emulator's stack, printf and heap have no limit that could be set.
        if (0..=2).contains(&limit) { Ok(()) } else { Err(Code::UNSUPPORTED_LIMIT) }
    }

    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        Context::current()?;
        if !least.is_null() {
            least.write(0);
        }
        if !greatest.is_null() {
            greatest.write(-5);
        }
        Ok(())
    }
}
