//! Device memory, pinned host memory, copies and fills.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::capture::check_unsafe_call;
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, DEVICE, Stream};
use crate::driver::handle::Handle;
use crate::driver::operation::{Operation, Place};

/// Host memory to copy from. Pageable memory is read now, so that the caller may change it; a capture records where it is.
///
/// # Safety
/// `from` has `bytes` bytes.
unsafe fn source(stream: &Stream, from: *const c_void, bytes: usize) -> Result<Place> {
    if from.is_null() && bytes > 0 {
        return Err(Code::INVALID_VALUE);
    }
    if stream.is_capturing() || DEVICE.engine.memory.resolve(from as u64, bytes as u64).is_some() {
        return Ok(Place::Host(from as usize));
    }
    let mut snapshot = vec![0u8; bytes];
    // SAFETY: the caller's word.
    unsafe { snapshot.as_mut_ptr().copy_from_nonoverlapping(from.cast(), bytes) };
    Ok(Place::Snapshot(snapshot.into()))
}

/// Checks that device memory is there, as the driver does when a copy is asked for.
pub(super) fn device(address: u64, bytes: usize) -> Result<Place> {
    if bytes > 0 && DEVICE.engine.memory.resolve(address, bytes as u64).is_none() {
        return Err(Code::INVALID_VALUE);
    }
    Ok(Place::Device(address))
}

/// Submits a copy; one of no bytes is nothing.
fn copy(stream: &Stream, to: Place, from: Place, bytes: usize) -> Result<()> {
    let operation = if bytes == 0 { Operation::Nothing } else { Operation::Copy { to, from, bytes: bytes as u64 } };
    stream.submit(operation)
}

/// Copies to host memory. For pageable memory the copy is done when this returns.
fn to_host(stream: &Stream, to: *mut c_void, from: u64, bytes: usize) -> Result<()> {
    if to.is_null() && bytes > 0 {
        return Err(Code::INVALID_VALUE);
    }
    let pinned = DEVICE.engine.memory.resolve(to as u64, bytes as u64).is_some();
    copy(stream, Place::Host(to as usize), device(from, bytes)?, bytes)?;
    if pinned || stream.is_capturing() { Ok(()) } else { stream.synchronize() }
}

/// The legacy stream, which the synchronous functions use.
fn legacy() -> Result<Arc<Stream>> {
    Stream::get(Handle::NULL)
}

fn fill(stream: &Stream, to: u64, value: u32, width: u64, count: usize) -> Result<()> {
    let bytes = width.checked_mul(count as u64).ok_or(Code::INVALID_VALUE)?;
    device(to, usize::try_from(bytes).map_err(|_| Code::INVALID_VALUE)?)?;
    if !to.is_multiple_of(width) {
        return Err(Code::INVALID_VALUE);
    }
    if count == 0 {
        return stream.submit(Operation::Nothing);
    }
    stream.submit(Operation::Fill { to, value, width, count: count as u64 })
}

driver_api! {
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        Context::current()?;
        let memory = &DEVICE.engine.memory;
        give(free, (memory.capacity() - memory.in_use()) as usize)?;
        give(total, memory.capacity() as usize)
    }

    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        let context = Context::current()?;
        check_unsafe_call()?;
        give(address, context.allocate(bytes as u64)?)
    }

    fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: Handle) {
        let stream = Stream::get(stream)?;
        stream.not_capturing()?;
        give(address, stream.context.allocate(bytes as u64)?)
    }

    fn cuMemFree_v2(address: u64) {
        let context = Context::current()?;
        check_unsafe_call()?;
        if address == 0 {
            return Ok(());
        }
        context.disown(address)?;
        DEVICE.engine.wait_all();
        DEVICE.engine.memory.free(address).map_err(|_| Code::INVALID_VALUE)
    }

    fn cuMemFreeAsync(address: u64, stream: Handle) {
        let stream = Stream::get(stream)?;
        stream.not_capturing()?;
        if address == 0 {
            return Ok(());
        }
        stream.context.disown(address)?;
        stream.submit(Operation::Free(address))
    }

    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, address: u64) {
        let window = DEVICE.engine.memory.window(address).filter(|window| window.contains(address, 1));
        let window = window.ok_or(Code::NOT_FOUND)?;
        if !base.is_null() {
            base.write(window.base);
        }
        if !bytes.is_null() {
            bytes.write(window.size as usize);
        }
        Ok(())
    }

    fn cuMemHostAlloc(memory: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        let context = Context::current()?;
        check_unsafe_call()?;
        give(memory, context.allocate_host(bytes)?)
    }

    fn cuMemAllocHost_v2(memory: *mut *mut c_void, bytes: usize) {
        let context = Context::current()?;
        check_unsafe_call()?;
        give(memory, context.allocate_host(bytes)?)
    }

    fn cuMemFreeHost(memory: *mut c_void) {
        let context = Context::current()?;
        check_unsafe_call()?;
        context.free_host(memory as u64)
    }

    fn cuMemHostGetDevicePointer_v2(address: *mut u64, memory: *mut c_void, _flags: c_uint) {
        DEVICE.engine.memory.resolve(memory as u64, 1).ok_or(Code::INVALID_VALUE)?;
        give(address, memory as u64)
    }

    fn cuMemHostRegister_v2(memory: *mut c_void, bytes: usize, _flags: c_uint) {
        Context::current()?;
        if memory.is_null() || bytes == 0 {
            return Err(Code::INVALID_VALUE);
        }
        if DEVICE.engine.memory.resolve(memory as u64, 1).is_some() {
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
        }
        DEVICE.engine.memory.map_host(memory as u64, bytes as u64);
        Ok(())
    }

    fn cuMemHostUnregister(memory: *mut c_void) {
        Context::current()?;
        DEVICE.engine.wait_all();
        DEVICE.engine.memory.unmap_host(memory as u64).map(|_| ()).ok_or(Code::HOST_MEMORY_NOT_REGISTERED)
    }

    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) {
        let stream = legacy()?;
        copy(&stream, device(to, bytes)?, source(&stream, from, bytes)?, bytes)?;
        stream.synchronize()
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle) {
        let stream = Stream::get(stream)?;
        copy(&stream, device(to, bytes)?, source(&stream, from, bytes)?, bytes)
    }

    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) {
        let stream = legacy()?;
        to_host(&stream, to, from, bytes)?;
        stream.synchronize()
    }

    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle) {
        to_host(&*Stream::get(stream)?, to, from, bytes)
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) {
        let stream = legacy()?;
        copy(&stream, device(to, bytes)?, device(from, bytes)?, bytes)?;
        stream.synchronize()
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) {
        copy(&*Stream::get(stream)?, device(to, bytes)?, device(from, bytes)?, bytes)
    }

    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) {
        let stream = legacy()?;
        fill(&stream, to, u32::from(value), 1, count)?;
        stream.synchronize()
    }

    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle) {
        fill(&*Stream::get(stream)?, to, u32::from(value), 1, count)
    }

    fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: Handle) {
        fill(&*Stream::get(stream)?, to, u32::from(value), 2, count)
    }

    fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) {
        let stream = legacy()?;
        fill(&stream, to, value, 4, count)?;
        stream.synchronize()
    }

    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: Handle) {
        fill(&*Stream::get(stream)?, to, value, 4, count)
    }
}
