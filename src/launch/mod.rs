//! Launching kernels: what the launchers that `kernels!()` makes are built on.
//!
//! A launcher is a struct with a field for each parameter of its kernel. Its `launch` turns every pointer argument into a
//! [`Region`] ([`Read`], [`Write`]: sealed traits, so that a region is always memory that somebody holds), checks the
//! contract, and submits the launch to its [`Target`]: a [`Queue`], which is a stream with the kernels loaded, a
//! [`Recording`], which makes a [`Graph`], an [`Update`] of such a graph, or a [`Timeline`], a queue that measures launches.
//!
//! # Order
//!
//! Every buffer belongs to a stream, its home: it was allocated there and is freed there. A launch on another stream waits
//! for the home streams of its arguments, and these then wait for the launch. So uses of a buffer follow one another in
//! the order of the calls, on however many streams and threads, and memory is freed after its last use.
//!
//! In a graph, nodes follow one another as they are recorded, but for the two branches of a [fork](Recording::fork). Those
//! may run at the same time, and what one writes the other may not touch.

mod accesses;
mod argument;
mod attributes;
mod contract;
mod entry_point;
mod error;
mod graph;
mod kernels;
mod order;
mod queue;
mod recording;
mod timeline;
mod update;

pub use argument::{Read, Region, Write};
pub(crate) use attributes::multiprocessors;
pub use contract::{Contract, Geometry, Relation, div_ceil};
pub use error::{Failure, GraphError, LaunchError, LoadError, Values};
pub use graph::Graph;
pub use kernels::{Image, Kernel, KernelSet, Kernels, Module, Reach, Symbol};
#[cfg(feature = "models")]
pub(crate) use order::{Crossing, ordered};
pub(crate) use order::{at_home, is_capturing};
pub use queue::Queue;
pub use recording::Recording;
pub use timeline::{TimedArgument, TimedLaunch, Timeline, time, time_replays};
pub use update::{Node, Update};

use std::ffi::c_void;

/// What a kernel can be launched onto: a [`Queue`], a [`Timeline`], a [`Recording`], or an [`Update`] of what was recorded.
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "kernels cannot be launched onto a `{Self}`",
    label = "neither a queue nor a recording",
    note = "launch onto a queue, `&kernels.on(&stream)`, or onto the recording that `Graph::record` gives"
)]
pub trait Target: sealed::Target {
    /// The kernels that can be launched onto it.
    type Set: KernelSet;

    /// What a launch gives: for a [`Recording`] the [`Node`] that it became.
    type Launched;

    /// Launches a kernel whose contract was checked.
    ///
    /// # Safety
    /// `arguments` points at the kernel's arguments, in its order and of its types, where pointers are those of
    /// `regions`; and with these the kernel touches no other memory.
    ///
    /// # Errors
    /// See [`LaunchError`].
    #[doc(hidden)]
    unsafe fn submit(
        &self,
        kernel: &Kernel,
        geometry: Geometry,
        regions: &[&Region<'_>],
        arguments: &mut [*mut c_void],
    ) -> Result<Self::Launched, LaunchError>;
}

mod sealed {
    pub trait Target {}
    pub trait Argument {}
}
