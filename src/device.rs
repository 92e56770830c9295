//! Opening a device.

use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use crate::launch::multiprocessors;

/// Why a device cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no `libcuda` that could be opened.
    #[error("there is no CUDA driver: libcuda.so was not found")]
    NoDriver,
    /// There is no device of that number.
    #[error("there is no device {ordinal}: the driver has {count}")]
    NoDevice {
        /// The number that was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The driver refused.
    #[error("the driver says {0:?}")]
    Driver(#[from] DriverError),
}

/// Whether an error is of the kind that ends its context: a kernel did what no kernel may, or the device is gone. Every
/// later call in that context gives the same.
pub(crate) fn ends_context(error: DriverError) -> bool {
    use sys::CUresult as Code;
    matches!(
        error.0,
        Code::CUDA_ERROR_ECC_UNCORRECTABLE
            | Code::CUDA_ERROR_ILLEGAL_ADDRESS
            | Code::CUDA_ERROR_LAUNCH_TIMEOUT
            | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | Code::CUDA_ERROR_ASSERT
            | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
            | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | Code::CUDA_ERROR_MISALIGNED_ADDRESS
            | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | Code::CUDA_ERROR_INVALID_PC
            | Code::CUDA_ERROR_LAUNCH_FAILED
            | Code::CUDA_ERROR_UNKNOWN
    )
}

/// Opens the device with a number, from 0. The context is the device's primary one, which other libraries share.
///
/// An engine that has a context of its own does not need this.
///
/// # Errors
/// See [`DeviceError`].
pub fn open(ordinal: usize) -> Result<Arc<CudaContext>, DeviceError> {
    // cudarc panics where there is no library to load.
    // SAFETY: loading the CUDA driver runs its initialisers, as any program that uses CUDA does.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoDriver);
    }
    let count = match CudaContext::device_count() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
        count => usize::try_from(count?).unwrap_or(0),
    };
    if ordinal >= count {
        return Err(DeviceError::NoDevice { ordinal, count });
    }
    Ok(CudaContext::new(ordinal)?)
}

/// The bytes of memory that the device of a stream has free.
///
/// # Errors
/// What the driver says.
pub fn free_memory(stream: &CudaStream) -> Result<u64, DriverError> {
    stream.context().bind_to_thread()?;
    let (free, _) = result::mem_get_info()?;
    Ok(free as u64)
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// Its name.
    pub name: String,
    /// Its compute capability, such as `(9, 0)`.
    pub compute_capability: (i32, i32),
    /// The version of CUDA that the driver is for: 12040 for 12.4.
    pub driver: i32,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of the L2 cache.
    pub l2_bytes: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Properties {
    /// Those of a context's device.
    ///
    /// # Errors
    /// What the driver says.
    pub fn of(context: &CudaContext) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        let mut driver = 0;
        // SAFETY: the number is written.
        unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result()?;
        let (_, memory) = result::mem_get_info()?;
        Ok(Self {
            name: context.name()?,
            compute_capability: context.compute_capability()?,
            driver,
            multiprocessors: multiprocessors(context)?,
            l2_bytes: context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.unsigned_abs().into(),
            memory_bytes: memory as u64,
        })
    }
}
