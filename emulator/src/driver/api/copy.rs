//! Copies and fills.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::memory::device;
use super::{driver_api, give};
use crate::driver::allocation;
use crate::driver::checking;
use crate::driver::code::{Code, Result};
use crate::driver::context::{CONTEXTS, Stream};
use crate::driver::device as devices;
use crate::driver::handle::Handle;
use crate::driver::operation::{Operation, Place, Rows};

/// Whether memory is known to the driver: of a device, pinned, registered or managed. Copies of other memory, which is
/// pageable, are done with it when the call returns.
fn is_known(address: usize, bytes: usize) -> bool {
    devices::resolve(address as u64, bytes.max(1) as u64).is_some()
}

/// Host memory to copy from. Pageable memory is read now, so that the caller may change it; a capture records where it is.
///
/// # Safety
/// `from` has `bytes` bytes.
unsafe fn source(stream: &Stream, from: *const c_void, bytes: usize) -> Result<Place> {
    if from.is_null() && bytes > 0 {
        return Err(Code::INVALID_VALUE);
    }
    if stream.is_capturing() {
        return Ok(Place::Host(from as usize));
    }
    if is_known(from as usize, bytes) {
        let watch = checking::watch(from as u64, bytes);
        return Ok(watch.map_or(Place::Host(from as usize), |watch| Place::Watched(from as usize, watch)));
    }
    let mut snapshot = Vec::<u8>::with_capacity(bytes);
    // SAFETY: the caller's word; the vector has room for as many bytes, and they are set before it says so.
    unsafe {
        snapshot.as_mut_ptr().copy_from_nonoverlapping(from.cast(), bytes);
        snapshot.set_len(bytes);
    }
    Ok(Place::Snapshot(snapshot.into()))
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
    copy(stream, Place::Host(to as usize), device(from, bytes)?, bytes)?;
    if is_known(to as usize, bytes) || stream.is_capturing() { Ok(()) } else { stream.synchronize() }
}

/// Copies between addresses of any kind. Whether one is pageable host memory shows in that the driver does not know it.
///
/// # Safety
/// The addresses have `bytes` bytes, if they are pageable host memory.
unsafe fn copy_any(stream: &Stream, to: u64, from: u64, bytes: usize) -> Result<()> {
    let from = match is_known(from as usize, bytes) {
        true => Place::Device(from),
        // SAFETY: the caller's word.
        false => unsafe { source(stream, from as *const c_void, bytes)? },
    };
    if is_known(to as usize, bytes) {
        return copy(stream, Place::Device(to), from, bytes);
    }
    if to == 0 && bytes > 0 {
        return Err(Code::INVALID_VALUE);
    }
    copy(stream, Place::Host(to as usize), from, bytes)?;
    if stream.is_capturing() { Ok(()) } else { stream.synchronize() }
}

/// The stream that the synchronous functions use.
fn legacy() -> Result<Arc<Stream>> {
    let stream = Stream::get(Handle::NULL)?;
    stream.not_capturing()?;
    Ok(stream)
}

/// Whether copies of this memory are to be synchronous, because `cuPointerSetAttribute` said so.
fn is_synchronous(address: u64) -> bool {
    allocation::find(address).is_some_and(|found| found.synchronous)
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

/// Fills `height` rows of `count` elements, each row `pitch` bytes after the one before.
fn fill_rows(
    stream: &Stream,
    to: u64,
    pitch: usize,
    value: u32,
    width: u64,
    [count, height]: [usize; 2],
) -> Result<()> {
    let row = width.checked_mul(count as u64).ok_or(Code::INVALID_VALUE)?;
    if height > 1 && ((pitch as u64) < row || !(pitch as u64).is_multiple_of(width)) {
        return Err(Code::INVALID_VALUE);
    }
    if count == 0 || height == 0 {
        return stream.submit(Operation::Nothing);
    }
    let whole = (pitch as u64).checked_mul(height as u64 - 1).and_then(|before| before.checked_add(row));
    device(to, whole.and_then(|whole| usize::try_from(whole).ok()).ok_or(Code::INVALID_VALUE)?)?;
    if !to.is_multiple_of(width) {
        return Err(Code::INVALID_VALUE);
    }
    let rows =
        (0..height as u64).map(|n| Operation::Fill { to: to + n * pitch as u64, value, width, count: count as u64 });
    stream.submit(Operation::Graph(rows.collect()))
}

/// A synchronous fill. The host waits for it only where the memory is its own.
fn finish_fill(stream: &Stream, to: u64) -> Result<()> {
    if allocation::find(to).is_some_and(|found| found.kind.is_of_host()) { stream.synchronize() } else { Ok(()) }
}

/// One side of a copy in two or three dimensions.
struct Side {
    position: [usize; 3],
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    pitch: usize,
    /// Rows of a slice.
    height: usize,
}

/// The memory types of `CUmemorytype`.
const HOST: c_uint = 1;
const DEVICE: c_uint = 2;
const ARRAY: c_uint = 3;
const UNIFIED: c_uint = 4;

/// Pitches over this are errors (`CU_DEVICE_ATTRIBUTE_MAX_PITCH`).
const MAX_PITCH: usize = i32::MAX as usize;

impl Side {
    /// The address of the first byte, the bytes from row to row and from slice to slice, and the bytes from the first byte
    /// to the last.
    fn place(&self, [width, height, depth]: [usize; 3]) -> Result<(u64, u64, u64, u64)> {
        let [x, y, z] = self.position.map(|position| position as u64);
        let pitch = if self.pitch == 0 { width as u64 + x } else { self.pitch as u64 };
        if self.pitch > MAX_PITCH || pitch < width as u64 + x {
            return Err(Code::INVALID_VALUE);
        }
        let rows = if self.height == 0 { height as u64 + y } else { self.height as u64 };
        if depth > 1 && rows < height as u64 + y {
            return Err(Code::INVALID_VALUE);
        }
        let first = match self.kind {
            HOST => self.host as u64,
            DEVICE | UNIFIED => self.device,
            ARRAY => return Err(Code::NOT_SUPPORTED),
            _ => return Err(Code::INVALID_VALUE),
        };
        let at = |x: u64, y: u64, z: u64| {
            let slice = pitch.checked_mul(rows)?;
            x.checked_add(y.checked_mul(pitch)?)?.checked_add(z.checked_mul(slice)?)
        };
        let offset = at(x, y, z).ok_or(Code::INVALID_VALUE)?;
        let length = at(width as u64, height as u64 - 1, depth as u64 - 1).ok_or(Code::INVALID_VALUE)?;
        let address = first.checked_add(offset).filter(|_| first != 0).ok_or(Code::INVALID_VALUE)?;
        Ok((address, pitch, pitch * rows, length))
    }

    /// Whether the memory is pageable; an error if it is to be a device's and is not.
    fn is_pageable(&self, address: u64, length: u64) -> Result<bool> {
        let known = is_known(address as usize, length as usize);
        if known || matches!(self.kind, HOST | UNIFIED) { Ok(!known) } else { Err(Code::INVALID_VALUE) }
    }
}

/// Copies a box of bytes. Returns whether the host has to wait for it.
///
/// # Safety
/// The sides are memory as described, if they are pageable host memory.
unsafe fn copy_box(stream: &Stream, to: &Side, from: &Side, size: [usize; 3]) -> Result<bool> {
    if size.contains(&0) {
        stream.submit(Operation::Nothing)?;
        return Ok(false);
    }
    let (source, mut from_pitch, mut from_slice, length) = from.place(size)?;
    let (target, to_pitch, to_slice, to_length) = to.place(size)?;
    let pageable = to.is_pageable(target, to_length)?;
    let place = |address, pageable| if pageable { Place::Host(address as usize) } else { Place::Device(address) };
    let mut source_place = place(source, from.is_pageable(source, length)?);
    if matches!(source_place, Place::Host(_)) && !stream.is_capturing() {
        let [width, height, depth] = size;
        let mut snapshot = Vec::with_capacity(width * height * depth);
        for (z, y) in (0..depth as u64).flat_map(|z| (0..height as u64).map(move |y| (z, y))) {
            let row = (source + z * from_slice + y * from_pitch) as *const u8;
            // SAFETY: the caller's word.
            snapshot.extend_from_slice(unsafe { std::slice::from_raw_parts(row, width) });
        }
        source_place = Place::Snapshot(snapshot.into());
        (from_pitch, from_slice) = (width as u64, (width * height) as u64);
    }
    stream.submit(Operation::CopyRows {
        to: place(target, pageable),
        from: source_place,
        rows: Rows { size: size.map(|size| size as u64), to: [to_pitch, to_slice], from: [from_pitch, from_slice] },
    })?;
    Ok(pageable && !stream.is_capturing())
}

/// `CUDA_MEMCPY2D`
#[repr(C)]
pub struct Copy2 {
    from: Side2,
    to: Side2,
    width: usize,
    height: usize,
}

#[repr(C)]
pub struct Side2 {
    x: usize,
    y: usize,
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    pitch: usize,
}

impl Side2 {
    fn side(&self) -> Side {
        let Self { x, y, kind, host, device, pitch, .. } = *self;
        Side { position: [x, y, 0], kind, host, device, pitch, height: 0 }
    }
}

/// `CUDA_MEMCPY3D`, and with a context in the place of what is reserved `CUDA_MEMCPY3D_PEER`.
#[repr(C)]
pub struct Copy3 {
    from: Side3,
    to: Side3,
    width: usize,
    height: usize,
    depth: usize,
}

#[repr(C)]
pub struct Side3 {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    reserved: *mut c_void,
    pitch: usize,
    height: usize,
}

impl Side3 {
    fn side(&self) -> Result<Side> {
        let Self { x, y, z, level, kind, host, device, pitch, height, .. } = *self;
        // Only arrays have levels.
        if level != 0 {
            Err(Code::INVALID_VALUE)
        } else {
            Ok(Side { position: [x, y, z], kind, host, device, pitch, height })
        }
    }
}

/// # Safety
/// `copy` is null or a description whose memory is there.
unsafe fn copy_2(stream: &Stream, copy: *const Copy2) -> Result<bool> {
    if copy.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    unsafe {
        let Copy2 { from, to, width, height } = copy.read();
        copy_box(stream, &to.side(), &from.side(), [width, height, 1])
    }
}

/// # Safety
/// `copy` is null or a description whose memory is there.
unsafe fn copy_3(stream: &Stream, copy: *const Copy3) -> Result<bool> {
    if copy.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    unsafe {
        let Copy3 { from, to, width, height, depth } = copy.read();
        copy_box(stream, &to.side()?, &from.side()?, [width, height, depth])
    }
}

/// Waits for a copy if that has to be.
fn finish(stream: &Stream, wait: bool) -> Result<()> {
    if wait { stream.synchronize() } else { Ok(()) }
}

/// Copies from one device to another, or within one.
fn copy_peer(stream: &Stream, to: (u64, Handle), from: (u64, Handle), bytes: usize) -> Result<()> {
    for context in [to.1, from.1] {
        CONTEXTS.get(context).map_err(|_| Code::INVALID_CONTEXT)?;
    }
    copy(stream, device(to.0, bytes)?, device(from.0, bytes)?, bytes)
}

driver_api! {
    fn cuMemcpy(to: u64, from: u64, bytes: usize) as cuMemcpy_ptds {
        let stream = legacy()?;
        copy_any(&stream, to, from, bytes)?;
        stream.synchronize()
    }

    fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: Handle) as cuMemcpyAsync_ptsz {
        let stream = Stream::get(stream)?;
        copy_any(&stream, to, from, bytes)?;
        finish(&stream, is_synchronous(to) || is_synchronous(from))
    }

    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) as cuMemcpyHtoD_v2_ptds {
        let stream = legacy()?;
        copy(&stream, device(to, bytes)?, source(&stream, from, bytes)?, bytes)?;
        stream.synchronize()
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle) as cuMemcpyHtoDAsync_v2_ptsz {
        let stream = Stream::get(stream)?;
        copy(&stream, device(to, bytes)?, source(&stream, from, bytes)?, bytes)?;
        finish(&stream, is_synchronous(to))
    }

    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) as cuMemcpyDtoH_v2_ptds {
        let stream = legacy()?;
        to_host(&stream, to, from, bytes)?;
        stream.synchronize()
    }

    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle) as cuMemcpyDtoHAsync_v2_ptsz {
        let stream = Stream::get(stream)?;
        to_host(&stream, to, from, bytes)?;
        finish(&stream, is_synchronous(from))
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) as cuMemcpyDtoD_v2_ptds {
        // As documented, the host does not wait.
        copy(&*legacy()?, device(to, bytes)?, device(from, bytes)?, bytes)
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) as cuMemcpyDtoDAsync_v2_ptsz {
        copy(&*Stream::get(stream)?, device(to, bytes)?, device(from, bytes)?, bytes)
    }

    fn cuMemcpyPeer(to: u64, to_context: Handle, from: u64, from_context: Handle, bytes: usize) as cuMemcpyPeer_ptds {
        copy_peer(&*legacy()?, (to, to_context), (from, from_context), bytes)
    }

    fn cuMemcpyPeerAsync(
        to: u64,
        to_context: Handle,
        from: u64,
        from_context: Handle,
        bytes: usize,
        stream: Handle,
    ) as cuMemcpyPeerAsync_ptsz {
        copy_peer(&*Stream::get(stream)?, (to, to_context), (from, from_context), bytes)
    }

    fn cuMemcpy2D_v2(description: *const Copy2) as cuMemcpy2D_v2_ptds {
        let stream = legacy()?;
        copy_2(&stream, description)?;
        stream.synchronize()
    }

    fn cuMemcpy2DUnaligned_v2(description: *const Copy2) as cuMemcpy2DUnaligned_v2_ptds {
        let stream = legacy()?;
        copy_2(&stream, description)?;
        stream.synchronize()
    }

    fn cuMemcpy2DAsync_v2(description: *const Copy2, stream: Handle) as cuMemcpy2DAsync_v2_ptsz {
        let stream = Stream::get(stream)?;
        let wait = copy_2(&stream, description)?;
        finish(&stream, wait)
    }

    fn cuMemcpy3D_v2(description: *const Copy3) as cuMemcpy3D_v2_ptds {
        let stream = legacy()?;
        copy_3(&stream, description)?;
        stream.synchronize()
    }

    fn cuMemcpy3DAsync_v2(description: *const Copy3, stream: Handle) as cuMemcpy3DAsync_v2_ptsz {
        let stream = Stream::get(stream)?;
        let wait = copy_3(&stream, description)?;
        finish(&stream, wait)
    }

    fn cuMemcpy3DPeer(description: *const Copy3) as cuMemcpy3DPeer_ptds {
        let stream = legacy()?;
        copy_3(&stream, description)?;
        stream.synchronize()
    }

    fn cuMemcpy3DPeerAsync(description: *const Copy3, stream: Handle) as cuMemcpy3DPeerAsync_ptsz {
        let stream = Stream::get(stream)?;
        let wait = copy_3(&stream, description)?;
        finish(&stream, wait)
    }

    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) as cuMemsetD8_v2_ptds {
        let stream = legacy()?;
        fill(&stream, to, value.into(), 1, count)?;
        finish_fill(&stream, to)
    }

    fn cuMemsetD16_v2(to: u64, value: u16, count: usize) as cuMemsetD16_v2_ptds {
        let stream = legacy()?;
        fill(&stream, to, value.into(), 2, count)?;
        finish_fill(&stream, to)
    }

    fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) as cuMemsetD32_v2_ptds {
        let stream = legacy()?;
        fill(&stream, to, value, 4, count)?;
        finish_fill(&stream, to)
    }

    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle) as cuMemsetD8Async_ptsz {
        fill(&*Stream::get(stream)?, to, value.into(), 1, count)
    }

    fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: Handle) as cuMemsetD16Async_ptsz {
        fill(&*Stream::get(stream)?, to, value.into(), 2, count)
    }

    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: Handle) as cuMemsetD32Async_ptsz {
        fill(&*Stream::get(stream)?, to, value, 4, count)
    }

    fn cuMemsetD2D8_v2(to: u64, pitch: usize, value: u8, width: usize, height: usize) as cuMemsetD2D8_v2_ptds {
        let stream = legacy()?;
        fill_rows(&stream, to, pitch, value.into(), 1, [width, height])?;
        finish_fill(&stream, to)
    }

    fn cuMemsetD2D16_v2(to: u64, pitch: usize, value: u16, width: usize, height: usize) as cuMemsetD2D16_v2_ptds {
        let stream = legacy()?;
        fill_rows(&stream, to, pitch, value.into(), 2, [width, height])?;
        finish_fill(&stream, to)
    }

    fn cuMemsetD2D32_v2(to: u64, pitch: usize, value: c_uint, width: usize, height: usize) as cuMemsetD2D32_v2_ptds {
        let stream = legacy()?;
        fill_rows(&stream, to, pitch, value, 4, [width, height])?;
        finish_fill(&stream, to)
    }

    fn cuMemsetD2D8Async(to: u64, pitch: usize, value: u8, width: usize, height: usize, stream: Handle) as cuMemsetD2D8Async_ptsz {
        fill_rows(&*Stream::get(stream)?, to, pitch, value.into(), 1, [width, height])
    }

    fn cuMemsetD2D16Async(to: u64, pitch: usize, value: u16, width: usize, height: usize, stream: Handle) as cuMemsetD2D16Async_ptsz {
        fill_rows(&*Stream::get(stream)?, to, pitch, value.into(), 2, [width, height])
    }

    fn cuMemsetD2D32Async(to: u64, pitch: usize, value: c_uint, width: usize, height: usize, stream: Handle) as cuMemsetD2D32Async_ptsz {
        fill_rows(&*Stream::get(stream)?, to, pitch, value, 4, [width, height])
    }

    fn cuArrayCreate_v2(_array: *mut Handle, _description: *const c_void) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuArray3DCreate_v2(_array: *mut Handle, _description: *const c_void) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuMipmappedArrayCreate(_array: *mut Handle, _description: *const c_void, _levels: c_uint) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuTexObjectCreate(
        _texture: *mut u64,
        _resource: *const c_void,
        _texture_description: *const c_void,
        _view: *const c_void,
    ) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuSurfObjectCreate(_surface: *mut u64, _resource: *const c_void) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuImportExternalMemory(_memory: *mut Handle, _description: *const c_void) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuExternalMemoryGetMappedBuffer(_address: *mut u64, _memory: Handle, _description: *const c_void) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuDestroyExternalMemory(_memory: Handle) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuIpcGetMemHandle(_handle: *mut c_void, _address: u64) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuIpcGetEventHandle(_handle: *mut c_void, _event: Handle) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuMemGetAllocationGranularity(granularity: *mut usize, _properties: *const c_void, _option: c_int) {
        give(granularity, 0)?;
        // As attribute 102 of a device says.
        Err(Code::NOT_SUPPORTED)
    }
}
