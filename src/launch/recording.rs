//! Recording a graph.
//!
//! A graph is built node by node, each after those before it; only the two branches of a fork have no order between
//! them. Buffers are handles that can be cloned, so the compiler does not keep two branches apart: every node is
//! recorded with what it touches, and one that conflicts with a node of another branch is refused.

use std::cell::RefCell;
use std::error::Error;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::sys::CUstreamCaptureMode_enum as CaptureMode;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::accesses::{Access, Branch, Early, Step, Steps, Work};
use super::argument::Region;
use super::attributes::{Attributes, ProgrammaticEdges, can_begin_early, too_large};
use super::contract::Geometry;
use super::error::{Failure, GraphError, LaunchError};
use super::graph::{Building, Graph, Kept, Recorded};
use super::kernels::{Function, Kernel, KernelSet, Kernels};
use super::update::{Node, node_parameters};
use super::{Target, sealed};
use crate::buffer::Buffer;

/// A graph while it is recorded: kernels launched onto it become part of it, each after the one before.
pub struct Recording<'k, S> {
    kernels: &'k Kernels<S>,
    identity: Arc<()>,
    parts: &'k RefCell<Parts>,
}

/// What was recorded so far, and where it goes on.
pub(crate) struct Parts {
    graph: Building,
    steps: Steps,
    /// The places of the nodes that the next one comes after.
    ends: Vec<usize>,
    /// The branches that the next node is in.
    branches: Arc<[Branch]>,
    forks: usize,
    /// Whether kernels begin before the kernel before them has ended, where that is sound.
    overlapping: bool,
    launches: usize,
    kept: Kept,
    /// Why a node is not what it should be. Then there will be no graph.
    spoilt: Option<DriverError>,
}

/// The most bytes of one copy: pitches, of which a copy of one row has one too, are below 2^31.
const COPY_LIMIT: u64 = 1 << 30;

impl<'k, S: KernelSet> Recording<'k, S> {
    pub(crate) fn new(kernels: &'k Kernels<S>, identity: &Arc<()>, parts: &'k RefCell<Parts>) -> Self {
        Self { kernels, identity: Arc::clone(identity), parts }
    }

    /// Records launches of other kernels, such as those of another crate, into the same graph.
    ///
    /// # Errors
    /// Kernels of another context, or what `record` returns.
    pub fn with<O: KernelSet, R>(
        &self,
        kernels: &Kernels<O>,
        record: impl FnOnce(&Recording<'_, O>) -> Result<R, GraphError>,
    ) -> Result<R, GraphError> {
        let (own, other) = (self.context(), kernels.context());
        if own != other {
            return Err(GraphError::KernelsContext { graph: own.ordinal(), kernels: other.ordinal() });
        }
        self.parts.borrow_mut().kept.kernels.push(Arc::clone(kernels.loaded()));
        record(&Recording::new(kernels, &self.identity, self.parts))
    }

    fn context(&self) -> &Arc<CudaContext> {
        self.kernels.context()
    }

    /// Whether kernels with `@pdl` that are recorded from now on begin before the kernel before them has ended, where that is
    /// sound. They do unless this says otherwise: what they compute is the same, so only a comparison needs it.
    pub fn set_overlapping(&self, overlapping: bool) {
        self.parts.borrow_mut().overlapping = overlapping;
    }

    /// Copies all elements of a buffer to another.
    ///
    /// # Errors
    /// Buffers of different lengths, or that overlap; a race with another branch; what the driver says.
    pub fn copy<T>(&self, from: &Buffer<T>, to: &mut Buffer<T>) -> Result<(), GraphError> {
        self.copy_as("copy", from, to)
    }

    /// Copies what the host has now to a buffer, in every replay. The elements are put into device memory that the graph
    /// keeps, so the host need not keep them.
    ///
    /// # Errors
    /// As for [`copy`](Self::copy), or there is not so much device memory.
    pub fn upload<T: Pod>(&self, elements: &[T], to: &mut Buffer<T>) -> Result<(), GraphError> {
        if elements.len() != to.len() {
            return Err(GraphError::Length { from: elements.len(), to: to.len() });
        }
        self.copy_as("upload", &Buffer::from_host(to.stream(), elements)?, to)
    }

    fn copy_as<T>(&self, work: &'static str, from: &Buffer<T>, to: &Buffer<T>) -> Result<(), GraphError> {
        if from.len() != to.len() {
            return Err(GraphError::Length { from: from.len(), to: to.len() });
        }
        let regions = [&from.region("from", false), &to.region("to", true)];
        let accesses = self.accesses(work, &regions)?;
        let (from, to, bytes) = (from.address(), to.address(), from.bytes() as u64);
        for start in (0..bytes).step_by(COPY_LIMIT as usize) {
            let piece = (bytes - start).min(COPY_LIMIT) as usize;
            self.add_copy(from + start, to + start, piece, accesses.clone())?;
        }
        Ok(())
    }

    fn add_copy(&self, from: u64, to: u64, bytes: usize, accesses: Vec<Access>) -> Result<(), DriverError> {
        let device = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
        let parameters = sys::CUDA_MEMCPY3D {
            srcXInBytes: 0,
            srcY: 0,
            srcZ: 0,
            srcLOD: 0,
            srcMemoryType: device,
            srcHost: std::ptr::null(),
            srcDevice: from,
            srcArray: std::ptr::null_mut(),
            reserved0: std::ptr::null_mut(),
            srcPitch: bytes,
            srcHeight: 1,
            dstXInBytes: 0,
            dstY: 0,
            dstZ: 0,
            dstLOD: 0,
            dstMemoryType: device,
            dstHost: std::ptr::null_mut(),
            dstDevice: to,
            dstArray: std::ptr::null_mut(),
            reserved1: std::ptr::null_mut(),
            dstPitch: bytes,
            dstHeight: 1,
            WidthInBytes: bytes,
            Height: 1,
            Depth: 1,
        };
        let (context, mut parts) = (self.context().cu_ctx(), self.parts.borrow_mut());
        // SAFETY: both sides have as many bytes, and are kept by the graph.
        let node = parts.add(|node, graph, after, count| unsafe {
            sys::cuGraphAddMemcpyNode(node, graph, after, count, &raw const parameters, context)
        })?;
        parts.push(node, Work::Transfer, accesses);
        Ok(())
    }

    /// Sets all elements of a buffer to a value of 1, 2 or 4 bytes.
    ///
    /// # Errors
    /// Elements of another size; a race with another branch; what the driver says.
    pub fn fill<T: Pod>(&self, to: &mut Buffer<T>, value: T) -> Result<(), GraphError> {
        let bytes = bytemuck::bytes_of(&value);
        let value = match *bytes {
            [a] => u32::from(a),
            [a, b] => u32::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
            _ => return Err(GraphError::Width(bytes.len())),
        };
        let accesses = self.accesses("fill", &[&to.region("to", true)])?;
        if to.is_empty() {
            return Ok(());
        }
        let parameters = sys::CUDA_MEMSET_NODE_PARAMS {
            dst: to.address(),
            pitch: 0,
            value,
            elementSize: bytes.len() as u32,
            width: to.len(),
            height: 1,
        };
        let (context, mut parts) = (self.context().cu_ctx(), self.parts.borrow_mut());
        // SAFETY: the buffer has as many elements, and is kept by the graph.
        let node = parts.add(|node, graph, after, count| unsafe {
            sys::cuGraphAddMemsetNode(node, graph, after, count, &raw const parameters, context)
        })?;
        parts.push(node, Work::Transfer, accesses);
        Ok(())
    }

    /// Records two branches that may run at the same time. What comes next comes after both.
    ///
    /// What one branch writes the other may not touch: a launch, copy or fill that would is refused.
    ///
    /// # Errors
    /// What one of the two returns. What they recorded until then is part of the graph.
    pub fn fork<A, B>(
        &self,
        first: impl FnOnce(&Self) -> Result<A, GraphError>,
        second: impl FnOnce(&Self) -> Result<B, GraphError>,
    ) -> Result<(A, B), GraphError> {
        let forked = Forked::new(self);
        forked.begin(false);
        let first = first(self)?;
        forked.end();
        forked.begin(true);
        let second = second(self)?;
        Ok((first, second))
    }

    /// Makes another graph, as it was recorded, part of this one, which keeps what that one keeps.
    ///
    /// # Errors
    /// A graph of another context, one that was updated, or one with captured work; a race with another branch; what the
    /// driver says.
    pub fn child<N>(&self, child: &Graph<N>) -> Result<(), GraphError> {
        let child = child.recorded();
        let (own, other) = (self.context(), child.context());
        if own != other {
            return Err(GraphError::ChildContext { graph: own.ordinal(), child: other.ordinal() });
        }
        own.bind_to_thread()?;
        let state = child.state();
        if state.updated {
            return Err(GraphError::ChildUpdated);
        }
        if !state.kept.foreign.is_empty() {
            return Err(GraphError::ChildCaptured);
        }
        let mut parts = self.parts.borrow_mut();
        let accesses: Vec<Access> = state.steps.0.iter().flat_map(|step| &step.accesses).cloned().collect();
        parts.check_race(&accesses)?;
        // SAFETY: both graphs exist, and nothing else uses them now.
        let node = parts.add(|node, graph, after, count| unsafe {
            sys::cuGraphAddChildGraphNode(node, graph, after, count, state.graph.0)
        })?;
        parts.push(node, Work::Graph { foreign: false }, accesses);
        parts.kept.kernels.push(Arc::clone(&child.kernels));
        parts.kept.kernels.extend(state.kept.kernels.iter().cloned());
        parts.launches += child.launches();
        Ok(())
    }

    /// Captures work of somebody else, such as an engine's own launches, and makes it part of the graph. The graph keeps
    /// what `work` returns: all that its replay needs.
    ///
    /// The work is captured on a stream of its own, and has to be submitted to that. What cudarc does for its slices
    /// between streams (waiting for events from before the capture) cannot be captured; an engine turns that off with
    /// `CudaContext::disable_event_tracking`. If anything fails, stream and context can still be used.
    ///
    /// # Safety
    /// What `work` submits touches in a replay only memory that what it returns keeps, with all else that it needs. What
    /// it touches is not touched at the same time by another branch of this graph, or by work in other streams: nothing
    /// here knows what it is, and puts it in order. (Replays of one graph follow one another on whatever streams.)
    ///
    /// # Errors
    /// [`GraphError::Work`] if the work fails, [`GraphError::Capture`] if it cannot be captured, or what the driver says.
    pub unsafe fn capture<K: Send + 'static, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        work: impl FnOnce(&Arc<CudaStream>) -> Result<K, E>,
    ) -> Result<(), GraphError> {
        let context = self.context();
        let capture = Capture::begin(context.new_stream()?)?;
        let kept = work(&capture.stream);
        let captured = capture.end();
        let kept = kept.map_err(|error| GraphError::Work(Failure::new(error.into())))?;
        let added = captured.and_then(|captured| {
            // SAFETY: both graphs exist, and nothing else uses them.
            self.parts.borrow().add(|node, graph, after, count| unsafe {
                sys::cuGraphAddChildGraphNode(node, graph, after, count, captured.0)
            })
        });
        let node = match added {
            Ok(node) => node,
            Err(error) => {
                drop(kept);
                // What could not be captured may not be there to be freed.
                let _ = context.check_err();
                return Err(GraphError::Capture { error });
            }
        };
        let mut parts = self.parts.borrow_mut();
        parts.push(node, Work::Graph { foreign: true }, Vec::new());
        parts.kept.foreign.push(Box::new(kept));
        Ok(())
    }

    /// What a copy or fill touches, once it is known that it may.
    fn accesses(&self, work: &'static str, regions: &[&Region<'_>]) -> Result<Vec<Access>, GraphError> {
        let context = self.context();
        context.bind_to_thread()?;
        Region::check_all(regions, work, context)?;
        let accesses: Vec<Access> = regions.iter().filter_map(|region| Access::of(work, region)).collect();
        self.parts.borrow().check_race(&accesses)?;
        Ok(accesses)
    }
}

impl Parts {
    /// Nothing yet.
    pub(crate) fn new(graph: Building) -> Self {
        Self {
            graph,
            steps: Steps::default(),
            ends: Vec::new(),
            branches: Arc::new([]),
            forks: 0,
            overlapping: true,
            launches: 0,
            kept: Kept::default(),
            spoilt: None,
        }
    }

    /// What was recorded with `kernels`, ready to be replayed.
    pub(crate) fn finish<S: KernelSet>(self, kernels: &Kernels<S>, identity: Arc<()>) -> Result<Recorded, GraphError> {
        if let Some(error) = self.spoilt {
            return Err(error.into());
        }
        kernels.context().bind_to_thread()?;
        Recorded::new(kernels, identity, self.graph, self.steps, self.kept, self.launches)
    }

    fn check_race(&self, accesses: &[Access]) -> Result<(), LaunchError> {
        self.steps.check_race(self.steps.0.len(), &self.branches, accesses)
    }

    /// Adds a node that comes after all that are now at an end: `add` is given where its handle goes, the graph, and those.
    fn add(
        &self,
        add: impl FnOnce(*mut sys::CUgraphNode, sys::CUgraph, *const sys::CUgraphNode, usize) -> sys::CUresult,
    ) -> Result<sys::CUgraphNode, DriverError> {
        let after: Vec<sys::CUgraphNode> = self.ends.iter().map(|&place| self.steps.0[place].node).collect();
        let mut node = std::ptr::null_mut();
        add(&raw mut node, self.graph.0, after.as_ptr(), after.len()).result()?;
        Ok(node)
    }

    /// Takes note of a node that was added. Returns its place.
    fn push(&mut self, node: sys::CUgraphNode, work: Work, accesses: Vec<Access>) -> usize {
        let (place, branches) = (self.steps.0.len(), Arc::clone(&self.branches));
        self.steps.0.push(Step { node, work, accesses, branches });
        self.ends = vec![place];
        place
    }

    /// How a kernel that is recorded next begins before the kernel before it has ended, if it can.
    ///
    /// Such a kernel waits by itself before it touches what the work before it writes. What it touches before that must
    /// not depend on anything that may be running: the kernel before it, and, where that one began early too, those
    /// before. So nothing that is before it in the graph may write what it touches early, or touch what it writes early.
    /// Then it is as if it had begun after them. Work in the stream before the graph has always ended.
    fn early(
        &self,
        kernel: &Kernel,
        function: &Function,
        accesses: &[Access],
        context: &CudaContext,
    ) -> Option<(Early, ProgrammaticEdges)> {
        let parameters = kernel.programmatic.filter(|_| function.waits && self.overlapping)?;
        let &[after] = self.ends.as_slice() else { return None };
        // The blocks of a cooperative grid need the room that the kernel before still has.
        if kernel.cooperative
            || !self.steps.allow_early(after)
            || self.steps.check_early(self.steps.0.len(), parameters, accesses).is_err()
            || !can_begin_early(context)
        {
            return None;
        }
        Some((Early { after, parameters }, ProgrammaticEdges::find()?))
    }
}

impl<S> sealed::Target for Recording<'_, S> {}

impl<S: KernelSet> Target for Recording<'_, S> {
    type Set = S;
    type Launched = Node<S>;

    unsafe fn submit(
        &self,
        kernel: &Kernel,
        geometry: Geometry,
        regions: &[&Region<'_>],
        arguments: &mut [*mut c_void],
    ) -> Result<Node<S>, LaunchError> {
        let failed = |error| LaunchError::driver(kernel.name, error);
        let context = self.context();
        let Some(function) = self.kernels.prepare(context, kernel, &geometry, regions)? else {
            return Ok(Node::new(&self.identity, self.kernels.loaded(), *kernel, None));
        };
        if kernel.cooperative {
            too_large(kernel, function, &geometry, context).map_err(failed)?.map_or(Ok(()), Err)?;
        }
        let accesses: Vec<Access> = regions.iter().filter_map(|region| Access::of(kernel.name, region)).collect();
        let mut parts = self.parts.borrow_mut();
        parts.check_race(&accesses)?;
        let early = parts.early(kernel, function, &accesses, context);
        let parameters = node_parameters(function, &geometry, arguments);
        let node = parts.add(|node, graph, after, count| {
            // One that begins early gets its only edge below.
            let count = if early.is_some() { 0 } else { count };
            // SAFETY: the graph exists; the nodes it comes after are of this graph; the driver copies the arguments, which
            // are the caller's word. The graph that is made of this keeps the memory of the regions, and the function.
            unsafe { sys::cuGraphAddKernelNode_v2(node, graph, after, count, &raw const parameters) }
        });
        let node = node.map_err(failed)?;
        let finish = || {
            for attribute in Attributes::new(kernel, &geometry, false).as_slice() {
                // SAFETY: the node is a kernel of this graph, and the value is that of the attribute.
                unsafe { sys::cuGraphKernelNodeSetAttribute(node, attribute.id, &raw const attribute.value) }
                    .result()?;
            }
            let Some((Early { after, .. }, edges)) = early else { return Ok(()) };
            // SAFETY: both are kernels of this graph, and `early` found that the order does not matter until the second
            // waits.
            unsafe { edges.add(parts.graph.0, parts.steps.0[after].node, node) }
        };
        if let Err(error) = finish() {
            // The node is there, and nothing makes it come after the others.
            parts.spoilt = Some(error);
            return Err(failed(error));
        }
        let early = early.map(|(early, _)| early);
        let place = parts.push(node, Work::Kernel { cluster: geometry.cluster, early, left_out: false }, accesses);
        parts.launches += 1;
        Ok(Node::new(&self.identity, self.kernels.loaded(), *kernel, Some(place)))
    }
}

/// A fork that is recorded. However it ends, by an error or a panic too, what comes next comes after all of it.
struct Forked<'a> {
    parts: &'a RefCell<Parts>,
    number: usize,
    /// The nodes that both branches come after.
    before: Vec<usize>,
    /// The branches that the fork is in.
    outside: Arc<[Branch]>,
    /// The last nodes of the branches that have ended.
    ends: RefCell<Vec<usize>>,
}

impl<'a> Forked<'a> {
    fn new<S>(recording: &'a Recording<'_, S>) -> Self {
        let parts = recording.parts;
        let mut now = parts.borrow_mut();
        let (number, before, outside) = (now.forks, now.ends.clone(), Arc::clone(&now.branches));
        now.forks += 1;
        Self { parts, number, before, outside, ends: RefCell::default() }
    }

    fn begin(&self, second: bool) {
        let mut parts = self.parts.borrow_mut();
        parts.ends.clone_from(&self.before);
        parts.branches = self.outside.iter().copied().chain([(self.number, second)]).collect();
    }

    /// Ends a branch.
    fn end(&self) {
        let ends = std::mem::take(&mut self.parts.borrow_mut().ends);
        // Of a branch without nodes, nothing is waited for.
        if ends != self.before {
            self.ends.borrow_mut().extend(ends);
        }
    }
}

impl Drop for Forked<'_> {
    fn drop(&mut self) {
        self.end();
        let ends = self.ends.take();
        let mut parts = self.parts.borrow_mut();
        parts.ends = if ends.is_empty() { std::mem::take(&mut self.before) } else { ends };
        parts.branches = Arc::clone(&self.outside);
    }
}

/// A capture in progress. However it ends, by an error or a panic too, the stream is not left in it.
struct Capture {
    stream: Arc<CudaStream>,
    ended: bool,
}

impl Capture {
    /// Begins one that other threads do not notice.
    fn begin(stream: Arc<CudaStream>) -> Result<Self, DriverError> {
        // SAFETY: the stream exists, and was made for this.
        unsafe { result::stream::begin_capture(stream.cu_stream(), CaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) }?;
        Ok(Self { stream, ended: false })
    }

    /// What was captured. Errors that cudarc noted meanwhile are of this capture.
    fn end(mut self) -> Result<Building, DriverError> {
        self.ended = true;
        let context = self.stream.context();
        let noted = context.check_err();
        // The work may have made another context current.
        let bound = context.bind_to_thread();
        // SAFETY: the stream is being captured, or was: then this is an error.
        let captured = unsafe { result::stream::end_capture(self.stream.cu_stream()) }.map(Building);
        let captured = captured?;
        if captured.0.is_null() {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
        }
        noted.and(bound).map(|()| captured)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.ended {
            let context = self.stream.context();
            let _ = context.check_err();
            let _ = context.bind_to_thread();
            // SAFETY: as above. The graph is not used.
            drop(unsafe { result::stream::end_capture(self.stream.cu_stream()) }.map(Building));
        }
    }
}

impl<S> fmt::Debug for Recording<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.borrow();
        f.debug_struct("Recording").field("launches", &parts.launches).finish_non_exhaustive()
    }
}
