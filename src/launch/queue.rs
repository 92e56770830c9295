//! A stream on which kernels are launched.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaStream, result};

use super::argument::Region;
use super::contract::Geometry;
use super::error::LaunchError;
use super::kernels::{Kernel, KernelSet, Kernels};
use super::order::{at_home, is_capturing, ordered};
use super::{Target, sealed};

/// A stream with kernels that can be launched on it. Made by [`Kernels::on`].
#[derive(Debug)]
pub struct Queue<'a, S> {
    kernels: &'a Kernels<S>,
    stream: &'a Arc<CudaStream>,
}

impl<'a, S: KernelSet> Queue<'a, S> {
    pub(crate) fn new(kernels: &'a Kernels<S>, stream: &'a Arc<CudaStream>) -> Self {
        Self { kernels, stream }
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
        let failed = |error| LaunchError::Driver { kernel: kernel.name, error };
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
        let Geometry { blocks: [x, y, z], threads: [tx, ty, tz], dynamic_shared, .. } = geometry;
        // SAFETY: the function is loaded in the context of the stream. Arguments are the caller's word; their memory
        // is held by the regions, and freed on its home stream, which waits for this launch.
        let launch = || unsafe {
            result::launch_kernel(
                function.raw,
                (x, y, z),
                (tx, ty, tz),
                dynamic_shared,
                self.stream.cu_stream(),
                arguments,
            )
        };
        let homes = regions.iter().filter_map(|region| region.home());
        let launched = if elsewhere {
            ordered(&self.kernels.loaded().crossing, self.stream, homes, launch)
        } else {
            at_home(self.stream, launch)
        };
        launched.map_err(failed)
    }
}
