//! Device memory of one type, counted, so that graphs can keep it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{CudaStream, DriverError, result, sys};

use crate::device::ends_context;
use crate::launch::{at_home, is_capturing};

/// Elements of type `T` in device memory, or a part of such a buffer.
///
/// A buffer is a counted handle: cloning or slicing it gives another handle to the same memory, which is freed with the
/// last of them. It belongs to the stream it was made on, its home: it is copied to and from the host there.
pub struct Buffer<T> {
    memory: Arc<Memory>,
    /// In bytes, from the start of the memory.
    offset: usize,
    length: usize,
    element: PhantomData<fn() -> T>,
}

/// An allocation.
pub(crate) struct Memory {
    /// 0 for an allocation of nothing.
    address: u64,
    stream: Arc<CudaStream>,
}

/// Why a buffer could not be made or copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BufferError {
    /// There is not so much memory.
    #[error("{bytes} bytes of device memory cannot be had: {free} are free")]
    OutOfMemory {
        /// What was asked for.
        bytes: usize,
        /// What there is.
        free: usize,
    },
    /// As many elements are more bytes than there are addresses.
    #[error("{elements} elements of {size} bytes are more than memory can have")]
    TooLarge {
        /// The elements.
        elements: usize,
        /// The size of one.
        size: usize,
    },
    /// Host and device memory differ in length.
    #[error("a copy between a buffer of {buffer} elements and {host} elements of the host")]
    Length {
        /// The elements of the buffer.
        buffer: usize,
        /// Those of the host.
        host: usize,
    },
    /// A range that the buffer has not.
    #[error("a buffer of {length} elements has no range {start}..{end}")]
    Range {
        /// The first element.
        start: usize,
        /// The element after the last.
        end: usize,
        /// The elements of the buffer.
        length: usize,
    },
    /// The buffers of a copy are of different contexts.
    #[error("a copy from a buffer of device {from} to one of another context (device {to})")]
    Context {
        /// The device of the buffer to copy.
        from: usize,
        /// The device of the buffer that is written.
        to: usize,
    },
    /// The home stream is being captured: the graph would hold pointers that nobody keeps.
    #[error("a buffer cannot be made or copied while its stream is being captured")]
    Capturing,
    /// The context has ended: a kernel did what no kernel may, or the device is gone.
    #[error(
        "the context is lost ({0:?}), and nothing works in it any more: let go of all that is of it, and open the device anew"
    )]
    ContextLost(DriverError),
    /// The driver refused.
    #[error("the driver says {0:?}")]
    Driver(DriverError),
}

impl From<DriverError> for BufferError {
    fn from(error: DriverError) -> Self {
        if ends_context(error) { Self::ContextLost(error) } else { Self::Driver(error) }
    }
}

impl Memory {
    fn allocate(stream: &Arc<CudaStream>, bytes: usize) -> Result<Self, BufferError> {
        let context = stream.context();
        context.bind_to_thread()?;
        if is_capturing(stream)? {
            return Err(BufferError::Capturing);
        }
        let stream = Arc::clone(stream);
        if bytes == 0 {
            return Ok(Self { address: 0, stream });
        }
        // SAFETY: the stream exists; `Memory` is the only owner of what is allocated.
        let allocated = unsafe {
            if context.has_async_alloc() {
                result::malloc_async(stream.cu_stream(), bytes)
            } else {
                result::malloc_sync(bytes)
            }
        };
        match allocated {
            Ok(address) => Ok(Self { address, stream }),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let (free, _) = result::mem_get_info()?;
                Err(BufferError::OutOfMemory { bytes, free })
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.address == 0 {
            return;
        }
        let context = self.stream.context();
        context.record_err(context.bind_to_thread());
        // In a capture the free would become part of the graph, and run with it: rather is the memory never freed.
        if is_capturing(&self.stream).unwrap_or(false) {
            return;
        }
        // SAFETY: the memory is this one's own, and is freed once. Whatever used it has made the stream wait for it.
        context.record_err(unsafe {
            if context.has_async_alloc() {
                result::free_async(self.address, self.stream.cu_stream())
            } else {
                self.stream.synchronize().and_then(|()| result::free_sync(self.address))
            }
        });
    }
}

impl<T> Buffer<T> {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.length * size_of::<T>()
    }

    /// The stream that it belongs to.
    #[must_use]
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.memory.stream
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The device address of its first element. Using it is unsafe; it is valid as long as a handle exists.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.memory.address + self.offset as u64
    }

    /// A part of it: another handle to the same memory.
    ///
    /// # Errors
    /// [`BufferError::Range`]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Self, BufferError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.length,
        };
        if start > end || end > self.length {
            return Err(BufferError::Range { start, end, length: self.length });
        }
        let offset = self.offset + start * size_of::<T>();
        Ok(Self { memory: Arc::clone(&self.memory), offset, length: end - start, element: PhantomData })
    }
}

impl<T: Pod> Buffer<T> {
    /// A buffer that holds nothing yet. It has to be written before anything of others can read it.
    pub(crate) fn allocate(stream: &Arc<CudaStream>, elements: usize) -> Result<Self, BufferError> {
        let size = size_of::<T>();
        let bytes = elements.checked_mul(size).filter(|bytes| isize::try_from(*bytes).is_ok());
        let bytes = bytes.ok_or(BufferError::TooLarge { elements, size })?;
        let memory = Arc::new(Memory::allocate(stream, bytes)?);
        Ok(Self { memory, offset: 0, length: elements, element: PhantomData })
    }

    /// A buffer of zeros.
    ///
    /// # Errors
    /// See [`BufferError`].
    pub fn zeroed(stream: &Arc<CudaStream>, elements: usize) -> Result<Self, BufferError> {
        let buffer = Self::allocate(stream, elements)?;
        if !buffer.is_empty() {
            // SAFETY: the buffer is as long, and on this stream.
            unsafe { result::memset_d8_async(buffer.address(), 0, buffer.bytes(), stream.cu_stream()) }?;
        }
        Ok(buffer)
    }

    /// A buffer that holds what the host has.
    ///
    /// # Errors
    /// See [`BufferError`].
    pub fn from_host(stream: &Arc<CudaStream>, elements: &[T]) -> Result<Self, BufferError> {
        let mut buffer = Self::allocate(stream, elements.len())?;
        buffer.write(elements)?;
        Ok(buffer)
    }

    /// Copies as many elements from the host, and waits for the copy.
    ///
    /// # Errors
    /// See [`BufferError`].
    pub fn write(&mut self, elements: &[T]) -> Result<(), BufferError> {
        if !self.ready_to_copy(elements.len())? {
            return Ok(());
        }
        let stream = self.stream();
        // SAFETY: both sides are as long, and stay until the copy is done, which is waited for.
        at_home(stream, || unsafe { result::memcpy_htod_async(self.address(), elements, stream.cu_stream()) })?;
        Ok(stream.synchronize()?)
    }

    /// Copies all elements to the host, after all that was submitted before.
    ///
    /// # Errors
    /// See [`BufferError`].
    pub fn read(&self) -> Result<Vec<T>, BufferError> {
        let mut elements = vec![T::zeroed(); self.length];
        self.read_into(&mut elements)?;
        Ok(elements)
    }

    /// Copies all elements to as many of the host, after all that was submitted before.
    ///
    /// # Errors
    /// See [`BufferError`].
    pub fn read_into(&self, elements: &mut [T]) -> Result<(), BufferError> {
        if !self.ready_to_copy(elements.len())? {
            return Ok(());
        }
        let stream = self.stream();
        // SAFETY: both sides are as long, and stay until the copy is done, which is waited for. Any bits are a `T`.
        at_home(stream, || unsafe { result::memcpy_dtoh_async(elements, self.address(), stream.cu_stream()) })?;
        Ok(stream.synchronize()?)
    }

    /// Checks a copy of `host` elements. Returns whether there is anything to copy.
    fn ready_to_copy(&self, host: usize) -> Result<bool, BufferError> {
        if host != self.length {
            return Err(BufferError::Length { buffer: self.length, host });
        }
        self.stream().context().bind_to_thread()?;
        if is_capturing(self.stream())? {
            return Err(BufferError::Capturing);
        }
        Ok(host > 0)
    }
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self { memory: Arc::clone(&self.memory), ..*self }
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer<{}>[{}] at {:#x}", std::any::type_name::<T>(), self.length, self.address())
    }
}
