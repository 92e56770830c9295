//! Changing the launches of a graph between its replays.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use cudarc::driver::sys;

use super::accesses::{Access, Work};
use super::argument::Region;
use super::attributes::too_large;
use super::contract::Geometry;
use super::error::LaunchError;
use super::graph::Recorded;
use super::kernels::{Function, Kernel, KernelSet, Kernels, Loaded};
use super::{Target, sealed};

/// A launch in a [`Graph`](super::Graph): what launching onto a [`Recording`](super::Recording) gives.
pub struct Node<S> {
    /// What it shares with its graph.
    graph: Arc<()>,
    /// The kernels that it was recorded with.
    kernels: Arc<Loaded>,
    kernel: Kernel,
    /// Its place among the nodes; none for a launch of nothing.
    place: Option<usize>,
    set: PhantomData<fn() -> S>,
}

/// What a launcher is launched onto to replace a launch of a graph. Made by [`Graph::update`](super::Graph::update).
#[derive(Debug)]
pub struct Update<'a, S> {
    graph: &'a Recorded,
    node: &'a Node<S>,
}

impl<S> Node<S> {
    pub(crate) fn new(graph: &Arc<()>, kernels: &Arc<Loaded>, kernel: Kernel, place: Option<usize>) -> Self {
        Self { graph: Arc::clone(graph), kernels: Arc::clone(kernels), kernel, place, set: PhantomData }
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

impl<S> Clone for Node<S> {
    fn clone(&self) -> Self {
        Self::new(&self.graph, &self.kernels, self.kernel, self.place)
    }
}

impl<S> fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("kernel", &self.kernel.name).field("place", &self.place).finish()
    }
}

/// The parameters of a kernel node.
pub(crate) fn node_parameters(
    function: &Function,
    geometry: &Geometry,
    arguments: &mut [*mut c_void],
) -> sys::CUDA_KERNEL_NODE_PARAMS_v2_st {
    let Geometry { blocks: [x, y, z], threads: [tx, ty, tz], dynamic_shared, cluster: _ } = *geometry;
    sys::CUDA_KERNEL_NODE_PARAMS_v2_st {
        func: function.raw,
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: tx,
        blockDimY: ty,
        blockDimZ: tz,
        sharedMemBytes: dynamic_shared,
        kernelParams: arguments.as_mut_ptr(),
        extra: std::ptr::null_mut(),
        kern: std::ptr::null_mut(),
        ctx: std::ptr::null_mut(),
    }
}

impl<'a, S: KernelSet> Update<'a, S> {
    pub(crate) fn new(graph: &'a Recorded, node: &'a Node<S>) -> Self {
        Self { graph, node }
    }

    /// The place of the node, if it is one of this graph and launches this kernel.
    fn place(&self, kernel: &Kernel) -> Result<usize, LaunchError> {
        let Node { graph, kernel: Kernel { name: recorded, index, .. }, place, .. } = self.node;
        let kernel_name = kernel.name;
        if !Arc::ptr_eq(graph, &self.graph.identity) {
            return Err(LaunchError::OtherGraph { kernel: kernel_name });
        }
        if *index != kernel.index {
            return Err(LaunchError::OtherKernel { kernel: kernel_name, recorded });
        }
        place.ok_or(LaunchError::NotRecorded { kernel: kernel_name })
    }
}

impl<S> sealed::Target for Update<'_, S> {}

impl<S: KernelSet> Target for Update<'_, S> {
    type Set = S;
    type Launched = ();

    unsafe fn submit(
        &self,
        kernel: &Kernel,
        geometry: Geometry,
        regions: &[&Region<'_>],
        arguments: &mut [*mut c_void],
    ) -> Result<(), LaunchError> {
        let failed = |error| LaunchError::driver(kernel.name, error);
        let place = self.place(kernel)?;
        // The node was recorded with kernels of this set.
        let kernels = Kernels::<S>::of(&self.node.kernels);
        let context = self.graph.context();
        let function = kernels.prepare(context, kernel, &geometry, regions)?;
        if let (Some(function), true) = (function, kernel.cooperative) {
            too_large(kernel, function, &geometry, context).map_err(failed)?.map_or(Ok(()), Err)?;
        }

        let mut state = self.graph.state();
        let (node, executable) = (state.steps.0[place].node, state.executable);
        let Work::Kernel { cluster: recorded, left_out, .. } = state.steps.0[place].work else {
            return Err(LaunchError::OtherGraph { kernel: kernel.name });
        };
        // SAFETY: the executable graph was made of the node's graph, which is kept; nothing else uses it now.
        let enable = |enabled| unsafe { sys::cuGraphNodeSetEnabled(executable, node, enabled) }.result();
        let accesses = if let Some(function) = function {
            if geometry.cluster != recorded {
                let (kernel, found) = (kernel.name, geometry.cluster);
                return Err(LaunchError::OtherCluster { kernel, recorded, found });
            }
            let accesses = regions.iter().filter_map(|region| Access::of(kernel.name, region)).collect::<Vec<_>>();
            state.steps.check_change(place, &accesses)?;
            let parameters = node_parameters(function, &geometry, arguments);
            // SAFETY: as above; the function is the one that the node has, and the driver copies the arguments, which are
            // the caller's word. Their memory is kept from here on.
            unsafe { sys::cuGraphExecKernelNodeSetParams_v2(executable, node, &raw const parameters) }
                .result()
                .map_err(failed)?;
            if left_out {
                // If this fails the node stays left out, and what it was given is not used.
                enable(1).map_err(failed)?;
            }
            accesses
        } else {
            if state.steps.is_at_early_edge(place) {
                return Err(LaunchError::CannotLeaveOut { kernel: kernel.name });
            }
            enable(0).map_err(failed)?;
            Vec::new()
        };
        if let Work::Kernel { left_out, .. } = &mut state.steps.0[place].work {
            *left_out = function.is_none();
        }
        let old = std::mem::replace(&mut state.steps.0[place].accesses, accesses);
        state.homes = state.steps.homes();
        state.updated = true;
        drop(state);
        // Replays in flight may still use it: it is freed on its home stream, which waits for them.
        drop(old);
        Ok(())
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("launches", &self.launches()).finish_non_exhaustive()
    }
}
