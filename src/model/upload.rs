//! Uploads through pinned memory: the host packs one part while the device copies the part before it.

use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{CudaEvent, CudaStream, PinnedHostSlice, result, sys};

use crate::buffer::{Buffer, BufferError};

/// Bytes of each half.
const HALF: usize = 8 << 20;
/// What is smaller is copied as it is.
const SMALL: usize = 64 << 10;

/// Two halves of pinned memory that take turns.
pub(super) struct Upload<'p> {
    stream: Arc<CudaStream>,
    halves: Vec<Half>,
    /// The half to use next.
    turn: usize,
    progress: &'p mut dyn FnMut(u64),
}

struct Half {
    memory: PinnedHostSlice<u8>,
    /// The last copy out of it.
    copied: CudaEvent,
}

impl<'p> Upload<'p> {
    /// `progress` hears of the bytes of each part as it is copied.
    pub(super) fn new(stream: &Arc<CudaStream>, progress: &'p mut dyn FnMut(u64)) -> Self {
        Self { stream: Arc::clone(stream), halves: Vec::new(), turn: 0, progress }
    }

    /// The stream that copies are on.
    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// A buffer with what the host has. The copy may go on when this returns: only the pinned memory has to stay.
    pub(super) fn put<T: Pod>(&mut self, elements: &[T]) -> Result<Buffer<T>, BufferError> {
        let mut buffer = Buffer::allocate(&self.stream, elements.len())?;
        if buffer.bytes() < SMALL {
            buffer.write(elements)?;
            (self.progress)(buffer.bytes() as u64);
            return Ok(buffer);
        }
        let mut address = buffer.address();
        for part in bytemuck::cast_slice::<T, u8>(elements).chunks(HALF) {
            let stream = Arc::clone(&self.stream);
            let half = self.half()?;
            half.copied.synchronize()?;
            let pinned = &mut half.memory.as_mut_slice()?[..part.len()];
            pinned.copy_from_slice(part);
            // SAFETY: the part lies in the buffer, which stays for as long as its stream has work for it. The pinned memory
            // is not touched before `copied` has come, and lives until then.
            unsafe { result::memcpy_htod_async(address, pinned, stream.cu_stream()) }?;
            half.copied.record(&stream)?;
            address += part.len() as u64;
            (self.progress)(part.len() as u64);
        }
        Ok(buffer)
    }

    /// The half whose turn it is.
    fn half(&mut self) -> Result<&mut Half, BufferError> {
        self.turn = (self.turn + 1) % 2;
        if self.halves.len() <= self.turn {
            let context = self.stream.context();
            // SAFETY: the memory is filled before it is read.
            let memory = unsafe { context.alloc_pinned_with_flags(HALF, 0) }?;
            let copied = context.new_event(Some(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING))?;
            self.halves.push(Half { memory, copied });
            self.turn = self.halves.len() - 1;
        }
        Ok(&mut self.halves[self.turn])
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        for half in &self.halves {
            // Pinned memory is freed after this. An error ends the context, and then nothing copies any more.
            self.stream.context().record_err(half.copied.synchronize());
        }
    }
}
