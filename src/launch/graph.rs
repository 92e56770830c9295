//! Graphs: launches that are recorded once and replayed as one.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, result, sys};

use super::accesses::Steps;
use super::error::GraphError;
use super::kernels::{KernelSet, Kernels, Loaded};
use super::order::{is_capturing, ordered, wait_for_all};
use super::recording::{Parts, Recording};
use super::update::{Node, Update};

/// Launches that were recorded, ready to be replayed in their order.
///
/// The graph keeps every buffer and every module that its launches name, so a replay never finds them gone. What the
/// buffers hold may change between replays; that is how a graph gets its inputs. Which buffers and numbers a launch has
/// can be changed by an [`update`](Self::update) of its [`Node`]; what the recording returned, such as nodes, is kept
/// with the graph as [`nodes`](Self::nodes).
pub struct Graph<N = ()> {
    nodes: N,
    recorded: Recorded,
}

/// A graph in the driver, and all that it needs.
pub(crate) struct Recorded {
    /// What a node of this graph shares with it.
    pub(crate) identity: Arc<()>,
    pub(crate) kernels: Arc<Loaded>,
    context: Arc<CudaContext>,
    launches: usize,
    /// Neither launching a graph nor changing it is safe from two threads at once.
    state: Mutex<State>,
}

/// What changes with an update.
pub(crate) struct State {
    pub(crate) executable: sys::CUgraphExec,
    /// Names the nodes of the executable graph, and is what a graph takes that this one becomes part of.
    pub(crate) graph: Building,
    pub(crate) steps: Steps,
    /// The streams that its buffers belong to.
    pub(crate) homes: Vec<Arc<CudaStream>>,
    pub(crate) updated: bool,
    pub(crate) kept: Kept,
}

/// What a graph keeps of its parts: the kernels of other graphs, and what captured work asked for.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) kernels: Vec<Arc<Loaded>>,
    pub(crate) foreign: Vec<Box<dyn Send>>,
}

/// A graph in the driver that is being built, or was.
pub(crate) struct Building(pub(crate) sys::CUgraph);

// SAFETY: driver handles may be used from any thread, one at a time.
unsafe impl Send for State {}

impl Drop for Building {
    fn drop(&mut self) {
        // SAFETY: the graph was created and is destroyed once. There is nobody to tell of an error.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}

impl<N> Graph<N> {
    /// Records what `record` launches, copies and fills. Nothing of it runs, and if anything fails nothing has changed.
    ///
    /// # Errors
    /// What `record` returns, or what the driver says.
    pub fn record<S: KernelSet>(
        kernels: &Kernels<S>,
        record: impl FnOnce(&Recording<'_, S>) -> Result<N, GraphError>,
    ) -> Result<Self, GraphError> {
        let context = kernels.context();
        context.bind_to_thread()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the context is bound.
        unsafe { sys::cuGraphCreate(&raw mut raw, 0) }.result()?;
        let (identity, parts) = (Arc::new(()), RefCell::new(Parts::new(Building(raw))));
        let nodes = record(&Recording::new(kernels, &identity, &parts))?;
        let recorded = parts.into_inner().finish(kernels, identity)?;
        Ok(Self { nodes, recorded })
    }

    /// What the recording returned.
    #[must_use]
    pub fn nodes(&self) -> &N {
        &self.nodes
    }

    /// Replays the launches on a stream.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub fn launch(&self, stream: &Arc<CudaStream>) -> Result<(), GraphError> {
        let own = &self.recorded.context;
        if !Arc::ptr_eq(stream.context(), own) && stream.context() != own {
            let (graph, stream) = (own.ordinal(), stream.context().ordinal());
            return Err(GraphError::Context { graph, stream });
        }
        own.bind_to_thread()?;
        let state = self.recorded.state();
        for stream in state.homes.iter().chain([stream]) {
            if is_capturing(stream)? {
                return Err(GraphError::Capturing);
            }
        }
        ordered(&self.recorded.kernels.crossing, stream, state.homes.iter(), || {
            // SAFETY: the graph is of the stream's context; what its launches name is kept with it, and freed on home
            // streams, which wait for this.
            unsafe { result::graph::launch(state.executable, stream.cu_stream()) }.map_err(GraphError::from)
        })
    }

    /// What a launcher is launched onto to replace the launch that `node` is: with other numbers, other buffers, another
    /// grid. Replays from then on do the new launch; those in flight are not affected.
    ///
    /// Everything is checked as for any launch, and that branches of the graph still do not touch what the other writes.
    /// An update that fails changes nothing. A launch with a grid of nothing leaves the node out, until another update.
    pub fn update<'a, S: KernelSet>(&'a self, node: &'a Node<S>) -> Update<'a, S> {
        Update::new(&self.recorded, node)
    }

    /// How many launches of kernels it has, with those of graphs that are part of it.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.recorded.launches
    }

    /// How many of its kernels begin before the kernel before them has ended, which a kernel with `@pdl` does where that
    /// is sound.
    #[must_use]
    pub fn programmatic_edges(&self) -> usize {
        self.recorded.state().steps.early_edges()
    }

    pub(crate) fn recorded(&self) -> &Recorded {
        &self.recorded
    }
}

impl Recorded {
    /// Makes an executable graph of what was recorded with `kernels`. The context is bound to this thread.
    pub(crate) fn new<S: KernelSet>(
        kernels: &Kernels<S>,
        identity: Arc<()>,
        graph: Building,
        steps: Steps,
        kept: Kept,
        launches: usize,
    ) -> Result<Self, GraphError> {
        // SAFETY: the graph exists, and nothing else uses it.
        let executable = unsafe { result::graph::instantiate(graph.0, sys::CUgraphInstantiate_flags(0)) }?;
        let homes = steps.homes();
        let state = Mutex::new(State { executable, graph, steps, homes, updated: false, kept });
        let (context, kernels) = (Arc::clone(kernels.context()), Arc::clone(kernels.loaded()));
        Ok(Self { identity, kernels, context, launches, state })
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    pub(crate) fn launches(&self) -> usize {
        self.launches
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: it was instantiated, and is destroyed once. A replay that is still running goes on to its end.
        self.context.record_err(unsafe { result::graph::exec_destroy(state.executable) });
        // What captured work needs is not freed in any stream's order. If replays cannot be waited for, it is never freed.
        if !state.kept.foreign.is_empty() {
            let done = wait_for_all(&self.context);
            if done.is_err() {
                std::mem::forget(std::mem::take(&mut state.kept.foreign));
            }
            self.context.record_err(done);
        }
    }
}

impl<N> fmt::Debug for Graph<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("launches", &self.recorded.launches).finish_non_exhaustive()
    }
}
