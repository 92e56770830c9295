//! A stream on which kernels are launched.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};

use super::argument::Region;
use super::attributes::{can_begin_early, launch, too_large};
use super::contract::Geometry;
use super::error::LaunchError;
use super::kernels::{Function, Kernel, KernelSet, Kernels};
use super::order::{at_home, is_capturing, ordered};
use super::{Target, sealed};

/// A stream with kernels that can be launched on it. Made by [`Kernels::on`].
#[derive(Debug)]
pub struct Queue<'a, S> {
    kernels: &'a Kernels<S>,
    stream: &'a Arc<CudaStream>,
    /// Whether kernels that wait for the work before them by themselves begin before it has ended.
    overlapping: bool,
}

impl<'a, S: KernelSet> Queue<'a, S> {
    pub(crate) fn new(kernels: &'a Kernels<S>, stream: &'a Arc<CudaStream>) -> Self {
        Self { kernels, stream, overlapping: false }
    }

    /// Lets kernels with `@pdl` begin while the kernel before them in the stream ends (programmatic dependent launch). On a
    /// device that cannot do so nothing changes.
    ///
    /// # Safety
    /// What these kernels touch before they wait (their `@pdl` rule names it) is not written by the work before them in the
    /// stream that is not done, and what they write of it is not touched by that work. A queue does not know that work; a
    /// [`Recording`](super::Recording) does, and lets them begin early where that is sound.
    #[must_use]
    pub unsafe fn overlapping(self) -> Self {
        Self { overlapping: can_begin_early(self.stream.context()), ..self }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &'a Arc<CudaStream> {
        self.stream
    }

    /// The kernels.
    #[must_use]
    pub fn kernels(&self) -> &'a Kernels<S> {
        self.kernels
    }
}

impl<S> sealed::Target for Queue<'_, S> {}

impl<S: KernelSet> Target for Queue<'_, S> {
    type Set = S;
    type Launched = ();

    #[inline(always)]
    unsafe fn submit(
        &self,
        kernel: &Kernel,
        geometry: Geometry,
        regions: &[&Region<'_>],
        arguments: &mut [*mut c_void],
    ) -> Result<(), LaunchError> {
        let failed = |error| LaunchError::driver(kernel.name, error);
        let context = self.stream.context();
        if !Arc::ptr_eq(context, self.kernels.context()) && context != self.kernels.context() {
            let (kernels, stream) = (self.kernels.context().ordinal(), context.ordinal());
            return Err(LaunchError::Stream { kernel: kernel.name, kernels, stream });
        }
        let Some(function) = self.kernels.prepare(context, kernel, &geometry, regions)? else {
            return Ok(());
        };
        let mut capturing = is_capturing(self.stream).map_err(failed)?;
        let (mut elsewhere, mut known) = (false, self.stream);
        for home in regions.iter().filter_map(|region| region.home()) {
            if !Arc::ptr_eq(home, self.stream) && !Arc::ptr_eq(home, known) {
                capturing |= is_capturing(home).map_err(failed)?;
                (elsewhere, known) = (true, home);
            }
        }
        if capturing {
            return Err(LaunchError::Capturing { kernel: kernel.name });
        }
        // The blocks of a cooperative grid need the room that the kernel before still has.
        let early = self.overlapping && kernel.programmatic.is_some() && function.waits && !kernel.cooperative;
        // SAFETY: the function is loaded in the context of the stream. Arguments are the caller's word; their memory is held
        // by the regions, and freed on its home stream, which waits for this launch. A kernel that begins early touches
        // until it waits nothing that the work before it writes, as the maker of this queue said.
        let launch = || unsafe { launch(kernel, function, &geometry, early, self.stream.cu_stream(), arguments) };
        let launched = if elsewhere {
            let homes = regions.iter().filter_map(|region| region.home());
            ordered(&self.kernels.loaded().crossing, self.stream, homes, launch)
        } else {
            at_home(self.stream, launch)
        };
        launched.map_err(|error| not_launched(kernel, function, &geometry, context, error))
    }
}

/// Why the driver did not launch a kernel.
#[cold]
#[inline(never)]
fn not_launched(
    kernel: &Kernel,
    function: &Function,
    geometry: &Geometry,
    context: &CudaContext,
    error: DriverError,
) -> LaunchError {
    let room = match error.0 {
        sys::CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE => {
            too_large(kernel, function, geometry, context).ok().flatten()
        }
        _ => None,
    };
    room.unwrap_or_else(|| LaunchError::driver(kernel.name, error))
}
