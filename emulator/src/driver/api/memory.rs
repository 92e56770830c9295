//! Memory: allocation, and what pointers point at.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give};
use crate::driver::allocation::{self, Kind};
use crate::driver::capture::check_unsafe_call;
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, Stream};
use crate::driver::device::{self, Device};
use crate::driver::handle::Handle;
use crate::driver::operation::{Operation, Place};
use crate::driver::pool::{self, POOLS, Pool, Value};

/// Checks that device memory is there, as the driver does when a copy is asked for.
pub(super) fn device(address: u64, bytes: usize) -> Result<Place> {
    if bytes > 0 && device::resolve(address, bytes as u64).is_none() {
        return Err(Code::INVALID_VALUE);
    }
    Ok(Place::Device(address))
}

/// Flags of `cuMemHostAlloc`: for all contexts, mapped, write-combined.
const HOST_FLAGS: c_uint = 7;
/// Flags of `cuMemHostRegister`: for all contexts, mapped, memory of a device, read-only.
const REGISTER_FLAGS: c_uint = 15;

fn allocate_host(bytes: usize, flags: c_uint) -> Result<*mut c_void> {
    let context = Context::current()?;
    check_unsafe_call()?;
    if flags & !HOST_FLAGS != 0 {
        return Err(Code::INVALID_VALUE);
    }
    allocation::allocate_host(&context, bytes, Kind::Pinned(flags))
}

/// Allocates from a pool in the order of a stream.
fn allocate_async(pool: &Arc<Pool>, bytes: usize, stream: Handle) -> Result<u64> {
    let stream = Stream::get(stream)?;
    stream.not_capturing()?;
    pool.take(bytes as u64)?;
    let context = &stream.context;
    let allocated = allocation::allocate_on(pool.device, context, bytes as u64, Kind::Pool(Arc::clone(pool)));
    if allocated.is_err() {
        pool.untake(bytes as u64);
    }
    allocated
}

/// The pool of a handle.
fn pool(handle: Handle) -> Result<Arc<Pool>> {
    POOLS.get(handle).map_err(|_| Code::INVALID_VALUE)
}

/// The device of a place in memory: `CUmemLocation`, a kind and a number. Only devices are known.
fn device_at(kind: c_int, number: c_int) -> Result<&'static Device> {
    if kind == 1 { Device::get(number) } else { Err(Code::INVALID_VALUE) }
}

/// `CUmemPoolProps`, of which the emulator needs the first fields.
#[repr(C)]
pub struct PoolProperties {
    allocation: c_int,
    handles: c_int,
    location_kind: c_int,
    location: c_int,
    security: *mut c_void,
    maximum: usize,
    usage: u16,
    reserved: [u8; 54],
}

/// `CUmemAccessDesc`
#[repr(C)]
pub struct AccessDescription {
    kind: c_int,
    number: c_int,
    flags: c_uint,
}

/// What `cuPointerGetAttribute` says of memory, in as many bytes as the attribute has.
enum Attribute {
    Pointer(u64),
    Int(u32),
    Bool(bool),
}

/// An attribute of a pointer: `CUpointer_attribute`.
fn pointer_attribute(attribute: c_int, address: u64) -> Result<Attribute> {
    let found = allocation::find(address);
    // Variables of modules are device memory that no call has allocated.
    let window = Device::of_address(address).and_then(|device| {
        let window = device.memory.window(address).filter(|window| window.contains(address, 1))?;
        Some((device, window.base, window.size))
    });
    let on_host = found.as_ref().is_some_and(|found| found.kind.is_of_host());
    let (index, base, bytes) = match (&found, window) {
        (Some(found), _) => (found.device.index, found.base, found.bytes),
        (None, Some((device, base, bytes))) => (device.index, base, bytes),
        (None, None) => return Err(Code::INVALID_VALUE),
    };
    let managed = found.as_ref().is_some_and(|found| matches!(found.kind, Kind::Managed));
    Ok(match attribute {
        1 => Attribute::Pointer(found.map_or(0, |found| found.context.handle().0 as u64)),
        // host or device
        2 => Attribute::Int(if on_host && !managed { 1 } else { 2 }),
        3 => Attribute::Pointer(address),
        4 if on_host => Attribute::Pointer(address),
        4 => return Err(Code::INVALID_VALUE),
        6 => Attribute::Bool(found.is_some_and(|found| found.synchronous)),
        7 => Attribute::Pointer(found.map_or(base, |found| found.sequence)),
        8 => Attribute::Bool(managed),
        9 => Attribute::Int(index as u32),
        // interprocess handles
        10 => Attribute::Bool(false),
        11 => Attribute::Pointer(base),
        12 => Attribute::Pointer(bytes),
        13 => Attribute::Bool(true),
        14 => Attribute::Int(0),
        // what may be done with it: read and written
        16 => Attribute::Int(3),
        17 => Attribute::Pointer(match found.map(|found| found.kind) {
            Some(Kind::Pool(pool)) => POOLS.find(|known| Arc::ptr_eq(known, &pool)).unwrap_or(Handle::NULL).0 as u64,
            _ => 0,
        }),
        _ => return Err(Code::INVALID_VALUE),
    })
}

impl Attribute {
    /// # Safety
    /// `to` has room for the attribute.
    unsafe fn give(self, to: *mut c_void) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            match self {
                Self::Pointer(value) => give(to.cast(), value),
                Self::Int(value) => give(to.cast(), value),
                Self::Bool(value) => give(to.cast(), u8::from(value)),
            }
        }
    }
}

/// Advice on managed memory is taken note of by nobody; it has to be about such memory all the same.
fn advise(address: u64, bytes: usize) -> Result<()> {
    let end = address.checked_add(bytes as u64).ok_or(Code::INVALID_VALUE)?;
    let found = allocation::find(address).filter(|found| matches!(found.kind, Kind::Managed));
    let inside = found.is_some_and(|found| end <= found.base + found.bytes);
    if inside && bytes > 0 { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

/// A prefetch moves nothing, but has its place in the stream.
fn prefetch(address: u64, bytes: usize, stream: Handle) -> Result<()> {
    let stream = Stream::get(stream)?;
    advise(address, bytes)?;
    stream.not_capturing()?;
    stream.run(Operation::Nothing);
    Ok(())
}

driver_api! {
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let memory = &Context::current()?.device.memory;
        give(free, (memory.capacity() - memory.in_use()) as usize)?;
        give(total, memory.capacity() as usize)
    }

    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        let context = Context::current()?;
        check_unsafe_call()?;
        if address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(address, allocation::allocate(&context, bytes as u64, Kind::Device)?)
    }

    fn cuMemAllocPitch_v2(address: *mut u64, pitch: *mut usize, width: usize, height: usize, element: c_uint) {
        let context = Context::current()?;
        check_unsafe_call()?;
        if !matches!(element, 4 | 8 | 16) || address.is_null() || pitch.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let row = width.checked_next_multiple_of(512).ok_or(Code::OUT_OF_MEMORY)?;
        let bytes = row.checked_mul(height).ok_or(Code::OUT_OF_MEMORY)?;
        give(address, allocation::allocate(&context, bytes as u64, Kind::Device)?)?;
        give(pitch, row)
    }

    fn cuMemAllocManaged(address: *mut u64, bytes: usize, flags: c_uint) {
        let context = Context::current()?;
        check_unsafe_call()?;
        // attached to all, or to the host at first
        if !matches!(flags, 1 | 2) || address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(address, allocation::allocate_host(&context, bytes, Kind::Managed)? as u64)
    }

    fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: Handle) as cuMemAllocAsync_ptsz {
        let of = Stream::get(stream)?.context.device;
        if address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(address, allocate_async(&pool(pool::current_of(of))?, bytes, stream)?)
    }

    fn cuMemAllocFromPoolAsync(address: *mut u64, bytes: usize, from: Handle, stream: Handle) as cuMemAllocFromPoolAsync_ptsz {
        if address.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(address, allocate_async(&pool(from)?, bytes, stream)?)
    }

    fn cuMemFree_v2(address: u64) {
        Context::current()?;
        check_unsafe_call()?;
        if address == 0 { Ok(()) } else { allocation::free(address) }
    }

    fn cuMemFreeAsync(address: u64, stream: Handle) as cuMemFreeAsync_ptsz {
        let stream = Stream::get(stream)?;
        stream.not_capturing()?;
        if address == 0 {
            return Ok(());
        }
        let freed = allocation::disown(address)?;
        stream.submit(Operation::Free(freed))
    }

    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, address: u64) {
        let known = |window: &crate::memory::Window| window.contains(address, 1);
        let (first, size) = match allocation::find(address) {
            Some(found) => (found.base, found.bytes),
            None => {
                let memory = Device::of_address(address).map(|device| &device.memory);
                let window = memory.and_then(|memory| memory.window(address)).filter(known).ok_or(Code::NOT_FOUND)?;
                (window.base, window.size)
            }
        };
        if !base.is_null() {
            base.write(first);
        }
        if !bytes.is_null() {
            bytes.write(size as usize);
        }
        Ok(())
    }

    fn cuMemHostAlloc(memory: *mut *mut c_void, bytes: usize, flags: c_uint) {
        if memory.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(memory, allocate_host(bytes, flags)?)
    }

    fn cuMemAllocHost_v2(memory: *mut *mut c_void, bytes: usize) {
        if memory.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(memory, allocate_host(bytes, 0)?)
    }

    fn cuMemFreeHost(memory: *mut c_void) {
        Context::current()?;
        check_unsafe_call()?;
        allocation::free_host(memory as u64)
    }

    fn cuMemHostGetDevicePointer_v2(address: *mut u64, memory: *mut c_void, flags: c_uint) {
        Context::current()?;
        let found = allocation::find(memory as u64).filter(|found| found.kind.is_of_host() && flags == 0);
        found.ok_or(Code::INVALID_VALUE)?;
        give(address, memory as u64)
    }

    fn cuMemHostGetFlags(flags: *mut c_uint, memory: *mut c_void) {
        Context::current()?;
        match allocation::find(memory as u64).ok_or(Code::INVALID_VALUE)?.kind {
            // With unified addresses all such memory is mapped.
            Kind::Pinned(known) => give(flags, known | 2),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuMemHostRegister_v2(memory: *mut c_void, bytes: usize, flags: c_uint) {
        let context = Context::current()?;
        check_unsafe_call()?;
        if memory.is_null() || bytes == 0 || flags & !REGISTER_FLAGS != 0 {
            return Err(Code::INVALID_VALUE);
        }
        allocation::register(&context, memory as u64, bytes as u64)
    }

    fn cuMemHostUnregister(memory: *mut c_void) {
        Context::current()?;
        check_unsafe_call()?;
        allocation::unregister(memory as u64)
    }

    fn cuPointerGetAttribute(value: *mut c_void, attribute: c_int, address: u64) {
        Context::current()?;
        pointer_attribute(attribute, address)?.give(value)
    }

    fn cuPointerGetAttributes(count: c_uint, attributes: *const c_int, values: *mut *mut c_void, address: u64) {
        Context::current()?;
        if count == 0 || attributes.is_null() || values.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        for n in 0..count as usize {
            let (attribute, value) = (attributes.add(n).read(), values.add(n).read());
            // Unlike the function for one attribute, this one says nothing of memory that it does not know.
            match (pointer_attribute(attribute, address), attribute) {
                (Ok(known), _) => known.give(value)?,
                (Err(_), 2 | 14 | 16) => Attribute::Int(0).give(value)?,
                (Err(_), 9) => Attribute::Int(u32::MAX - 1).give(value)?,
                (Err(_), 6 | 8 | 10 | 13) => Attribute::Bool(false).give(value)?,
                (Err(_), 1 | 3 | 4 | 7 | 11 | 12 | 17) => Attribute::Pointer(0).give(value)?,
                (Err(code), _) => return Err(code),
            }
        }
        Ok(())
    }

    fn cuPointerSetAttribute(value: *const c_void, attribute: c_int, address: u64) {
        Context::current()?;
        // that copies of it are synchronous always, which is the only one that can be set
        if attribute != 6 || value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let synchronous = value.cast::<c_uint>().read() != 0;
        allocation::change(address, |found| found.synchronous = synchronous)
    }

    fn cuMemAdvise(address: u64, bytes: usize, advice: c_int, _device: c_int) {
        if (1..=6).contains(&advice) { advise(address, bytes) } else { Err(Code::INVALID_VALUE) }
    }

    fn cuMemAdvise_v2(address: u64, bytes: usize, advice: c_int, _kind: c_int, _number: c_int) {
        if (1..=6).contains(&advice) { advise(address, bytes) } else { Err(Code::INVALID_VALUE) }
    }

    fn cuMemPrefetchAsync(address: u64, bytes: usize, _device: c_int, stream: Handle) as cuMemPrefetchAsync_ptsz {
        prefetch(address, bytes, stream)
    }

    fn cuMemPrefetchAsync_v2(
        address: u64,
        bytes: usize,
        _kind: c_int,
        _number: c_int,
        flags: c_uint,
        stream: Handle,
    ) as cuMemPrefetchAsync_v2_ptsz {
        if flags == 0 { prefetch(address, bytes, stream) } else { Err(Code::INVALID_VALUE) }
    }

    fn cuMemPoolCreate(made: *mut Handle, properties: *const PoolProperties) {
        if made.is_null() || properties.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let PoolProperties { allocation, handles, location_kind, location, maximum, .. } = properties.read();
        let on = device_at(location_kind, location)?;
        // pinned memory, shared with no other process
        if allocation != 1 || handles != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        give(made, POOLS.insert(Arc::new(Pool::new(on, maximum as u64))))
    }

    fn cuMemPoolDestroy(destroyed: Handle) {
        pool(destroyed)?;
        pool::destroy(destroyed)
    }

    fn cuMemPoolTrimTo(trimmed: Handle, _bytes: usize) {
        // Nothing is kept that is not in use.
        pool(trimmed).map(|_| ())
    }

    fn cuMemPoolGetAttribute(of: Handle, attribute: c_int, value: *mut c_void) {
        match pool(of)?.attribute(attribute)? {
            Value::Int(known) => give(value.cast(), known),
            Value::Long(known) => give(value.cast(), known),
        }
    }

    fn cuMemPoolSetAttribute(of: Handle, attribute: c_int, value: *mut c_void) {
        let of = pool(of)?;
        if value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let value = match of.attribute(attribute)? {
            Value::Int(_) => Value::Int(value.cast::<u32>().read()),
            Value::Long(_) => Value::Long(value.cast::<u64>().read()),
        };
        of.set_attribute(attribute, value)
    }

    fn cuMemPoolSetAccess(of: Handle, descriptions: *const AccessDescription, count: usize) {
        let of = pool(of)?;
        if descriptions.is_null() && count > 0 {
            return Err(Code::INVALID_VALUE);
        }
        for n in 0..count {
            let AccessDescription { kind, number, flags } = descriptions.add(n).read();
            of.set_access(device_at(kind, number)?, flags)?;
        }
        Ok(())
    }

    fn cuMemPoolGetAccess(flags: *mut c_uint, of: Handle, location: *mut [c_int; 2]) {
        let of = pool(of)?;
        if location.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let [kind, number] = location.read();
        give(flags, of.access(device_at(kind, number)?))
    }
}
