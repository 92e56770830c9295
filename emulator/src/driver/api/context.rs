//! Contexts.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{CONTEXTS, Context, EVENTS, INITIALISED, locked};
use crate::driver::device::Device;
use crate::driver::engine::ENGINE;
use crate::driver::handle::Handle;
use crate::driver::stream::HIGHEST_PRIORITY;

/// Flags that a context can have: how a thread waits (3 bits, with 4 alone), mapped host memory, local memory that stays
/// resized, dumps on errors, and that copies of memory are synchronous always.
const FLAGS: c_uint = 0xff;

fn check_flags(flags: c_uint) -> Result<()> {
    // The ways to wait exclude each other.
    if flags & !FLAGS != 0 || (flags & 7).count_ones() > 1 { Err(Code::INVALID_VALUE) } else { Ok(()) }
}

/// Makes a context, which becomes the current one.
fn create(flags: c_uint, device: c_int) -> Result<Handle> {
    let device = Device::get(device)?;
    check_flags(flags)?;
    let handle = Context::create(device, false, flags);
    Context::push(handle)?;
    Ok(handle)
}

/// The context of a handle.
fn found(handle: Handle) -> Result<Arc<Context>> {
    CONTEXTS.get(handle).map_err(|_| Code::INVALID_CONTEXT)
}

/// The context of a handle, or the current one if there is none.
fn found_or_current(handle: Handle) -> Result<Arc<Context>> {
    if handle == Handle::NULL { Context::current() } else { found(handle) }
}

fn initialised() -> Result<()> {
    if INITIALISED.load(Ordering::Acquire) { Ok(()) } else { Err(Code::NOT_INITIALIZED) }
}

/// The stack that a thread may have, and what L2 fetches at a time: limits with a greatest value.
const MOST_STACK: usize = 512 << 10;
const MOST_FETCH: usize = 128;

driver_api! {
    fn cuCtxCreate_v2(context: *mut Handle, flags: c_uint, device: c_int) {
        give(context, create(flags, device)?)
    }

    fn cuCtxCreate_v3(context: *mut Handle, _affinity: *mut c_void, count: c_int, flags: c_uint, device: c_int) {
        if count != 0 {
            return Err(Code::UNSUPPORTED_EXEC_AFFINITY);
        }
        give(context, create(flags, device)?)
    }

    fn cuCtxCreate_v4(context: *mut Handle, _parameters: *mut c_void, flags: c_uint, device: c_int) {
        give(context, create(flags, device)?)
    }

    fn cuCtxDestroy_v2(context: Handle) {
        initialised()?;
        if found(context)?.primary {
            return Err(Code::INVALID_CONTEXT);
        }
        Context::destroy(context)
    }

    fn cuCtxAttach(context: *mut Handle, flags: c_uint) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        let current = Context::current()?;
        current.attached.fetch_add(1, Ordering::Relaxed);
        give(context, current.handle())
    }

    fn cuCtxDetach(context: Handle) {
        let current = Context::current()?;
        if current.handle() != context || current.primary {
            return Err(Code::INVALID_CONTEXT);
        }
        // Whoever made it is the first to be attached.
        if current.attached.fetch_sub(1, Ordering::AcqRel) > 1 { Ok(()) } else { Context::destroy(context) }
    }

    fn cuCtxGetCurrent(context: *mut Handle) {
        initialised()?;
        give(context, Context::top().unwrap_or(Handle::NULL))
    }

    fn cuCtxSetCurrent(context: Handle) {
        initialised()?;
        Context::set_current(context)
    }

    fn cuCtxPushCurrent_v2(context: Handle) {
        initialised()?;
        Context::push(context)
    }

    fn cuCtxPopCurrent_v2(context: *mut Handle) {
        initialised()?;
        let popped = Context::pop()?;
        if !context.is_null() {
            context.write(popped);
        }
        Ok(())
    }

    fn cuCtxGetDevice(device: *mut c_int) {
        give(device, Context::current()?.device.index as c_int)
    }

    fn cuCtxGetDevice_v2(device: *mut c_int, context: Handle) {
        give(device, found_or_current(context)?.device.index as c_int)
    }

    fn cuCtxGetId(context: Handle, id: *mut u64) {
        initialised()?;
        give(id, found_or_current(context)?.id)
    }

    fn cuCtxSynchronize() {
        Context::current()?.synchronize()
    }

    fn cuCtxSynchronize_v2(context: Handle) {
        found_or_current(context)?.synchronize()
    }

    fn cuCtxGetFlags(flags: *mut c_uint) {
        give(flags, Context::current()?.flags.load(Ordering::Relaxed))
    }

    fn cuCtxSetFlags(flags: c_uint) {
        check_flags(flags)?;
        Context::current()?.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    fn cuCtxGetApiVersion(context: Handle, version: *mut c_uint) {
        found_or_current(context)?;
        give(version, 3020)
    }

    fn cuCtxGetLimit(value: *mut usize, limit: c_int) {
        let context = Context::current()?;
        let limits = locked(&context.limits);
        let known = usize::try_from(limit).ok().and_then(|limit| limits.get(limit));
        give(value, *known.ok_or(Code::UNSUPPORTED_LIMIT)?)
    }

    fn cuCtxSetLimit(limit: c_int, value: usize) {
        let context = Context::current()?;
        let value = match limit {
            0 if value > MOST_STACK => return Err(Code::INVALID_VALUE),
            5 => value.min(MOST_FETCH),
            6 => value.min(context.device.profile.persisting_l2_bytes as usize),
            _ => value,
        };
        // Nothing of this limits the emulator; programs ask for what they set.
        let mut limits = locked(&context.limits);
        let known = usize::try_from(limit).ok().and_then(|limit| limits.get_mut(limit));
        *known.ok_or(Code::UNSUPPORTED_LIMIT)? = value;
        Ok(())
    }

    fn cuCtxResetPersistingL2Cache() {
        Context::current().map(|_| ())
    }

    fn cuCtxGetCacheConfig(config: *mut c_uint) {
        give(config, Context::current()?.cache_config.load(Ordering::Relaxed))
    }

    fn cuCtxSetCacheConfig(config: c_uint) {
        let context = Context::current()?;
        if config > 3 {
            return Err(Code::INVALID_VALUE);
        }
        context.cache_config.store(config, Ordering::Relaxed);
        Ok(())
    }

    fn cuCtxGetSharedMemConfig(config: *mut c_uint) {
        Context::current()?;
        // banks of four bytes
        give(config, 1)
    }

    fn cuCtxSetSharedMemConfig(config: c_uint) {
        Context::current()?;
        if config > 2 { Err(Code::INVALID_VALUE) } else { Ok(()) }
    }

    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        Context::current()?;
        if !least.is_null() {
            least.write(0);
        }
        if !greatest.is_null() {
            greatest.write(HIGHEST_PRIORITY);
        }
        Ok(())
    }

    fn cuCtxRecordEvent(context: Handle, event: Handle) {
        let (context, event) = (found(context)?, EVENTS.get(event)?);
        context.alive()?;
        if !Arc::ptr_eq(&context, &event.context) {
            return Err(Code::INVALID_HANDLE);
        }
        event.record_after(&*context.default_stream()?, &ENGINE.last_of(&context));
        Ok(())
    }

    fn cuCtxWaitEvent(context: Handle, event: Handle) {
        let (context, event) = (found(context)?, EVENTS.get(event)?);
        context.alive()?;
        let Some(ticket) = event.ticket() else { return Ok(()) };
        context.wait_for(ticket)
    }

    fn cuCtxEnablePeerAccess(peer: Handle, flags: c_uint) {
        let context = Context::current()?;
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        context.enable_peer(found(peer)?)
    }

    fn cuCtxDisablePeerAccess(peer: Handle) {
        Context::current()?.disable_peer(&found(peer)?)
    }
}
