//! Graphs: launches that are recorded once and replayed as one.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::argument::Region;
use super::contract::Geometry;
use super::error::LaunchError;
use super::kernels::{Kernel, KernelSet, Kernels, Loaded};
use super::order::{is_capturing, ordered};
use super::{Target, sealed};
use crate::buffer::Memory;

/// Launches that were recorded, ready to be replayed in their order.
///
/// The graph keeps every buffer and every module that its launches name, so a replay never finds them gone. What the
/// buffers hold may change between replays; that is how a graph gets its inputs.
pub struct Graph {
    /// Launching a graph is not safe from two threads at once.
    executable: Mutex<Executable>,
    context: Arc<CudaContext>,
    launches: usize,
    /// The streams that its buffers belong to.
    homes: Vec<Arc<CudaStream>>,
    _memory: Vec<Arc<Memory>>,
    kernels: Arc<Loaded>,
}

/// An executable graph in the driver.
struct Executable(sys::CUgraphExec);

/// A graph in the driver that is being built.
struct Building(sys::CUgraph);

// SAFETY: driver handles may be used from any thread, one at a time.
unsafe impl Send for Executable {}

impl Drop for Building {
    fn drop(&mut self) {
        // SAFETY: the graph was created and is destroyed once. There is nobody to tell of an error.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}

/// Why a graph was not made or not replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The driver refused.
    #[error("a graph: the driver says {0:?}")]
    Driver(#[from] DriverError),
    /// A launch could not be recorded.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The stream, or the home stream of a buffer of the graph, is being captured.
    #[error("a graph cannot be launched while a stream is being captured")]
    Capturing,
    /// The stream is of another context.
    #[error("the graph is of device {graph}, and the stream of another context (device {stream})")]
    Context {
        /// The device of the graph.
        graph: usize,
        /// The device of the stream.
        stream: usize,
    },
}

/// A graph while it is recorded: kernels launched onto it become part of it, each after the one before.
pub struct Recording<'k, S> {
    kernels: &'k Kernels<S>,
    graph: Building,
    last: Cell<Option<sys::CUgraphNode>>,
    launches: Cell<usize>,
    memory: RefCell<Vec<Arc<Memory>>>,
}

impl Graph {
    /// Records what `record` launches. Nothing runs, and if anything fails nothing has changed.
    ///
    /// # Errors
    /// What `record` returns, or what the driver says.
    pub fn record<S: KernelSet>(
        kernels: &Kernels<S>,
        record: impl FnOnce(&Recording<'_, S>) -> Result<(), LaunchError>,
    ) -> Result<Self, GraphError> {
        let context = kernels.context();
        context.bind_to_thread()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the context is bound.
        unsafe { sys::cuGraphCreate(&raw mut raw, 0) }.result()?;
        let recording = Recording {
            kernels,
            graph: Building(raw),
            last: Cell::new(None),
            launches: Cell::new(0),
            memory: RefCell::new(Vec::new()),
        };
        record(&recording)?;
        context.bind_to_thread()?;
        // SAFETY: the graph exists, and nothing else uses it.
        let executable = unsafe { result::graph::instantiate(recording.graph.0, sys::CUgraphInstantiate_flags(0)) };
        let executable = Executable(executable?);
        let memory = recording.memory.into_inner();
        let mut homes: Vec<Arc<CudaStream>> = Vec::new();
        for stream in memory.iter().map(|memory| memory.stream()) {
            if !homes.contains(stream) {
                homes.push(Arc::clone(stream));
            }
        }
        Ok(Self {
            executable: Mutex::new(executable),
            context: Arc::clone(context),
            launches: recording.launches.get(),
            homes,
            _memory: memory,
            kernels: Arc::clone(kernels.loaded()),
        })
    }

    /// Replays the launches on a stream.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub fn launch(&self, stream: &Arc<CudaStream>) -> Result<(), GraphError> {
        if !Arc::ptr_eq(stream.context(), &self.context) && *stream.context() != self.context {
            let (graph, stream) = (self.context.ordinal(), stream.context().ordinal());
            return Err(GraphError::Context { graph, stream });
        }
        self.context.bind_to_thread()?;
        for stream in self.homes.iter().chain([stream]) {
            if is_capturing(stream)? {
                return Err(GraphError::Capturing);
            }
        }
        let executable = self.executable.lock().unwrap_or_else(PoisonError::into_inner);
        ordered(&self.kernels.crossing, stream, self.homes.iter(), || {
            // SAFETY: the graph is of the stream's context; what its launches name is kept with it, and freed on home
            // streams, which wait for this.
            unsafe { result::graph::launch(executable.0, stream.cu_stream()) }.map_err(GraphError::from)
        })
    }

    /// How many launches it has.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.launches
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        let executable = self.executable.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: it was instantiated, and is destroyed once. A replay that is still running goes on to its end.
        self.context.record_err(unsafe { result::graph::exec_destroy(executable.0) });
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("launches", &self.launches).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Recording<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("launches", &self.launches.get()).finish_non_exhaustive()
    }
}

impl<S> sealed::Target for Recording<'_, S> {}

impl<S: KernelSet> Target for Recording<'_, S> {
    type Set = S;
    type Launched = ();

    unsafe fn submit(
        &self,
        kernel: &Kernel,
        geometry: Geometry,
        regions: &[&Region<'_>],
        arguments: &mut [*mut c_void],
    ) -> Result<(), LaunchError> {
        let failed = |error| LaunchError::Driver { kernel: kernel.name, error };
        let Some(function) = self.kernels.prepare(self.kernels.context(), kernel, &geometry, regions)? else {
            return Ok(());
        };
        let Geometry { blocks: [x, y, z], threads: [tx, ty, tz], dynamic_shared, .. } = geometry;
        let parameters = sys::CUDA_KERNEL_NODE_PARAMS_v2_st {
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
        };
        let last = self.last.get();
        let mut node = std::ptr::null_mut();
        // SAFETY: the graph exists; the node it comes after is of this graph; the driver copies the arguments, which are
        // the caller's word. The graph that is made of this keeps the memory of the regions, and the function.
        let code = unsafe {
            sys::cuGraphAddKernelNode_v2(
                &raw mut node,
                self.graph.0,
                last.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
                usize::from(last.is_some()),
                &raw const parameters,
            )
        };
        code.result().map_err(failed)?;
        self.last.set(Some(node));
        self.launches.set(self.launches.get() + 1);
        let mut memory = self.memory.borrow_mut();
        for kept in regions.iter().filter_map(|region| region.memory()) {
            if !memory.iter().any(|known| Arc::ptr_eq(known, kept)) {
                memory.push(Arc::clone(kept));
            }
        }
        Ok(())
    }
}
