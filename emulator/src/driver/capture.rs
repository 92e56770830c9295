//! Stream capture: work that goes into a graph instead of being done.
//!
//! A capture sequence begins in one stream, and other streams join it when they wait for an event that was recorded in
//! it. Each stream knows the nodes that the next one comes after. Where the sequence began it also ends, and by then all
//! that was captured elsewhere has to be joined again.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::ThreadId;

use super::code::{Code, Result};
use super::context::{Context, GRAPHS, locked};
use super::graph::{Edge, EdgeData, Graph, Work};
use super::handle::Handle;
use super::operation::Operation;
use super::stream::{Event, NON_BLOCKING, Stream};

/// Whom a capture keeps from calls that it would not see, or from whose captures a thread is kept from them:
/// `CUstreamCaptureMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

impl Mode {
    pub(crate) fn from_number(number: i32) -> Result<Self> {
        [Self::Global, Self::ThreadLocal, Self::Relaxed]
            .get(usize::try_from(number).unwrap_or(usize::MAX))
            .copied()
            .ok_or(Code::INVALID_VALUE)
    }
}

/// A capture sequence.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: u64,
    pub(crate) graph: Arc<Graph>,
    /// The number of the stream in which it began, and ends.
    origin: u64,
    mode: Mode,
    thread: ThreadId,
    /// Whether the graph was there before, and stays whatever happens.
    of_caller: bool,
    invalidated: AtomicBool,
    over: AtomicBool,
    /// The streams that take part.
    streams: Mutex<Vec<Weak<Stream>>>,
    /// The last nodes of streams that took part and are gone.
    left: Mutex<Vec<Handle>>,
}

/// The sequences in progress.
static SEQUENCES: Mutex<Vec<Arc<Sequence>>> = Mutex::new(Vec::new());

/// Numbers sequences.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// How this thread takes captures.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Sets the mode of this thread, and returns what it was.
pub(crate) fn exchange_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

/// Ends what sequences that `condition` holds for can capture. Whether there are any.
fn invalidate_if(condition: impl Fn(&Sequence) -> bool) -> bool {
    let sequences = locked(&SEQUENCES);
    let met = sequences.iter().filter(|sequence| condition(sequence));
    met.map(|sequence| sequence.invalidated.store(true, Ordering::Release)).count() > 0
}

/// For calls that a capture would not see, such as allocations: an error where one forbids them, which ends it.
pub(crate) fn check_unsafe_call() -> Result<()> {
    let (own, mode) = (std::thread::current().id(), MODE.get());
    let forbids = |sequence: &Sequence| match mode {
        Mode::Relaxed => false,
        Mode::ThreadLocal => sequence.thread == own && sequence.mode != Mode::Relaxed,
        Mode::Global => sequence.mode == Mode::Global || (sequence.thread == own && sequence.mode != Mode::Relaxed),
    };
    if invalidate_if(forbids) { Err(Code::STREAM_CAPTURE_UNSUPPORTED) } else { Ok(()) }
}

/// For calls that wait for a whole context, or ask whether it is done: an error where this thread captures in it, or
/// anybody does and keeps others from such calls.
pub(crate) fn check_whole_context(context: &Context) -> Result<()> {
    let own = std::thread::current().id();
    let of_it = |stream: &Weak<Stream>| stream.upgrade().is_some_and(|stream| std::ptr::eq(&*stream.context, context));
    let forbids = |sequence: &Sequence| {
        (sequence.thread == own || sequence.mode == Mode::Global) && locked(&sequence.streams).iter().any(of_it)
    };
    if invalidate_if(forbids) { Err(Code::STREAM_CAPTURE_UNSUPPORTED) } else { Ok(()) }
}

/// For use of the legacy stream of a context: an error where a stream captures that it would wait for.
pub(crate) fn check_legacy(context: &Context) -> Result<()> {
    let blocking = |stream: &Weak<Stream>| {
        let of_it = |stream: &Arc<Stream>| std::ptr::eq(&*stream.context, context) && stream.flags & NON_BLOCKING == 0;
        stream.upgrade().as_ref().is_some_and(of_it)
    };
    let forbids = |sequence: &Sequence| locked(&sequence.streams).iter().any(blocking);
    if invalidate_if(forbids) { Err(Code::STREAM_CAPTURE_IMPLICIT) } else { Ok(()) }
}

impl Sequence {
    fn check(&self) -> Result<()> {
        if self.invalidated.load(Ordering::Acquire) { Err(Code::STREAM_CAPTURE_INVALIDATED) } else { Ok(()) }
    }

    pub(crate) fn invalidate(&self, code: Code) -> Code {
        self.invalidated.store(true, Ordering::Release);
        code
    }

    /// Takes all streams out of the sequence, and returns the nodes that were the last in them.
    fn close(&self) -> Vec<Handle> {
        self.over.store(true, Ordering::Release);
        locked(&SEQUENCES).retain(|other| other.id != self.id);
        let mut last = std::mem::take(&mut *locked(&self.left));
        let streams = std::mem::take(&mut *locked(&self.streams));
        for stream in streams.iter().filter_map(Weak::upgrade) {
            let capture = locked(&stream.capture).take();
            last.extend(capture.iter().flat_map(|capture| &capture.last).map(|edge| edge.from));
        }
        last
    }

    /// Destroys the graph, if it was made for this sequence.
    fn discard(&self) {
        if !self.of_caller {
            // The capturer may have destroyed it already, since it can ask for it.
            let _ = GRAPHS.remove(self.graph.handle());
        }
    }
}

/// What a stream knows of the sequence that it takes part in.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) sequence: Arc<Sequence>,
    /// The nodes that the next one comes after, and how.
    pub(crate) last: Vec<Edge>,
    /// The same for whoever asked: nodes, and data of edges.
    pub(crate) asked: (Vec<Handle>, Vec<EdgeData>),
}

/// What an event that was recorded in a sequence stands for.
#[derive(Debug)]
pub(crate) struct CapturedRecord {
    sequence: Arc<Sequence>,
    last: Vec<Edge>,
}

impl Capture {
    fn new(sequence: &Arc<Sequence>, last: Vec<Edge>) -> Self {
        Self { sequence: Arc::clone(sequence), last, asked: Default::default() }
    }

    /// Begins a sequence in a stream, in a new graph, or in one that there is, behind nodes of it.
    pub(crate) fn begin(stream: &Arc<Stream>, mode: Mode, into: Option<(Arc<Graph>, Vec<Edge>)>) -> Result<()> {
        if stream.is_legacy() {
            return Err(Code::STREAM_CAPTURE_UNSUPPORTED);
        }
        let mut capture = locked(&stream.capture);
        if capture.is_some() {
            return Err(Code::ILLEGAL_STATE);
        }
        let of_caller = into.is_some();
        let (graph, last) = into.unwrap_or_else(|| (Graph::create().1, Vec::new()));
        let sequence = Arc::new(Sequence {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            graph,
            origin: stream.id(),
            mode,
            thread: std::thread::current().id(),
            of_caller,
            invalidated: AtomicBool::new(false),
            over: AtomicBool::new(false),
            streams: Mutex::new(vec![Arc::downgrade(stream)]),
            left: Mutex::default(),
        });
        locked(&SEQUENCES).push(Arc::clone(&sequence));
        *capture = Some(Self::new(&sequence, last));
        Ok(())
    }

    /// Ends the sequence of a stream, and returns its graph.
    pub(crate) fn end(stream: &Stream) -> Result<Handle> {
        let (sequence, joined) = {
            let capture = locked(&stream.capture);
            let capture = capture.as_ref().ok_or(Code::ILLEGAL_STATE)?;
            (Arc::clone(&capture.sequence), capture.last.clone())
        };
        if sequence.origin != stream.id() {
            return Err(Code::STREAM_CAPTURE_UNMATCHED);
        }
        if sequence.mode != Mode::Relaxed && sequence.thread != std::thread::current().id() {
            return Err(Code::STREAM_CAPTURE_WRONG_THREAD);
        }
        let last = sequence.close();
        let result = sequence.check().and_then(|()| {
            let joined: Vec<Handle> = joined.iter().map(|edge| edge.from).collect();
            if sequence.graph.come_before(&last, &joined) { Ok(()) } else { Err(Code::STREAM_CAPTURE_UNJOINED) }
        });
        if result.is_err() {
            sequence.discard();
        }
        result.map(|()| sequence.graph.handle())
    }

    /// Adds work that comes after the work before it.
    pub(crate) fn add(&mut self, work: Work) -> Result<Handle> {
        self.sequence.check()?;
        let (is_kernel, overlaps) = match &work {
            Work::Kernel(launch) => (true, launch.overlaps),
            _ => (false, false),
        };
        let edge = |edge: &Edge| {
            let from_kernel = Graph::with_node(edge.from, |node| Ok(matches!(node.work, Work::Kernel(_))))?;
            let data = match (is_kernel && from_kernel, edge.data.is_programmatic()) {
                (true, true) => edge.data,
                (true, false) if overlaps => EdgeData::programmatic(1),
                // What is no kernel begins when all is done.
                _ => EdgeData::default(),
            };
            Ok(Edge { from: edge.from, data })
        };
        let edges = self.last.iter().map(edge).collect::<Result<Vec<_>>>();
        let added = edges.and_then(|edges| self.sequence.graph.add(work, &edges));
        // What the graph does not take is not in the capture, which would be another one without it.
        let node = added.map_err(|code| self.sequence.invalidate(code))?;
        self.last = vec![node.into()];
        Ok(node)
    }

    /// Adds what a stream would do.
    pub(crate) fn add_operation(&mut self, operation: Operation, context: &Arc<Context>) -> Result<()> {
        self.sequence.check()?;
        // A copy or fill of nothing leaves no trace.
        if matches!(operation, Operation::Nothing) {
            return Ok(());
        }
        let work = Work::of_operation(operation, context).map_err(|code| self.sequence.invalidate(code))?;
        self.add(work).map(|_| ())
    }

    /// Makes the next node come after these, too, or instead.
    pub(crate) fn update(&mut self, edges: &[Edge], instead: bool) -> Result<()> {
        self.sequence.check()?;
        let nodes: Vec<Handle> = edges.iter().map(|edge| edge.from).collect();
        if !self.sequence.graph.has(&nodes) {
            return Err(Code::INVALID_VALUE);
        }
        if instead {
            self.last.clear();
        }
        self.join(edges);
        Ok(())
    }

    /// Makes the next node come after these, too.
    fn join(&mut self, edges: &[Edge]) {
        for edge in edges {
            match self.last.iter_mut().find(|known| known.from == edge.from) {
                // To wait for the end is more than to wait for the beginning.
                Some(known) if known.data != edge.data => known.data = EdgeData::default(),
                Some(_) => {}
                None => self.last.push(*edge),
            }
        }
    }

    /// `CUstreamCaptureStatus`: active, or invalidated.
    pub(crate) fn status(&self) -> i32 {
        if self.sequence.check().is_ok() { 1 } else { 2 }
    }
}

impl Stream {
    /// Adds work to the graph if the stream is capturing. `None` if it is not.
    pub(crate) fn capture_work(&self, work: impl FnOnce() -> Result<Work>) -> Option<Result<Handle>> {
        let mut capture = locked(&self.capture);
        let capture = capture.as_mut()?;
        let work = capture.sequence.check().and_then(|()| work().map_err(|code| capture.sequence.invalidate(code)));
        Some(work.and_then(|work| capture.add(work)))
    }

    /// A stream that is destroyed leaves its sequence, which ends if it is where that began.
    pub(crate) fn leave_capture(&self) {
        let Some(capture) = locked(&self.capture).take() else { return };
        let sequence = &capture.sequence;
        if sequence.origin == self.id() {
            sequence.invalidate(Code::STREAM_CAPTURE_INVALIDATED);
            sequence.close();
            sequence.discard();
        } else {
            locked(&sequence.left).extend(capture.last.iter().map(|edge| edge.from));
        }
    }

    /// Makes a stream come after an event that was recorded in a capture, which it then takes part in.
    fn join_capture(self: &Arc<Self>, record: &CapturedRecord) -> Result<()> {
        let CapturedRecord { sequence, last } = record;
        if sequence.over.load(Ordering::Acquire) {
            return Err(Code::CAPTURED_EVENT);
        }
        sequence.check()?;
        if self.is_legacy() {
            return Err(sequence.invalidate(Code::STREAM_CAPTURE_IMPLICIT));
        }
        let mut capture = locked(&self.capture);
        match &mut *capture {
            Some(own) if own.sequence.id == sequence.id => own.join(last),
            Some(own) => {
                own.sequence.invalidate(Code::STREAM_CAPTURE_MERGE);
                return Err(sequence.invalidate(Code::STREAM_CAPTURE_MERGE));
            }
            None => {
                locked(&sequence.streams).push(Arc::downgrade(self));
                *capture = Some(Capture::new(sequence, last.clone()));
            }
        }
        Ok(())
    }

    /// Makes the stream wait for an event.
    pub(crate) fn wait_event(self: &Arc<Self>, event: &Arc<Event>, handle: Handle, external: bool) -> Result<()> {
        if external && let Some(added) = self.capture_work(|| Ok(Work::Wait(Arc::clone(event), handle))) {
            return added.map(|_| ());
        }
        if let Some(record) = &*locked(&event.captured) {
            return self.join_capture(record);
        }
        // What was not recorded is not waited for.
        let Some(ticket) = event.ticket() else { return Ok(()) };
        if let Some(capture) = &*locked(&self.capture) {
            // The graph would depend on work outside it.
            return Err(capture.sequence.invalidate(Code::STREAM_CAPTURE_ISOLATION));
        }
        self.check_legacy()?;
        self.run_after(Operation::Nothing, &[ticket]);
        Ok(())
    }
}

impl Event {
    /// Records the event behind the work of a stream.
    pub(crate) fn record(self: &Arc<Self>, handle: Handle, stream: &Stream, external: bool) -> Result<()> {
        if !Arc::ptr_eq(&self.context, &stream.context) {
            return Err(Code::INVALID_HANDLE);
        }
        if external && let Some(added) = stream.capture_work(|| Ok(Work::Record(Arc::clone(self), handle))) {
            return added.map(|_| ());
        }
        if self.record_captured(stream, None)? {
            return Ok(());
        }
        stream.check_legacy()?;
        *locked(&self.captured) = None;
        self.record_after(stream, &[]);
        Ok(())
    }

    /// Records the event of a launch that was just put into a stream: when its blocks have triggered (1) or begun (2).
    pub(crate) fn record_of_launch(self: &Arc<Self>, stream: &Stream, port: u8) -> Result<()> {
        if !Arc::ptr_eq(&self.context, &stream.context) {
            return Err(Code::INVALID_HANDLE);
        }
        if !self.record_captured(stream, Some(EdgeData::programmatic(port)))? {
            *locked(&self.captured) = None;
            // The kernel is done as a whole, and later than it might be.
            self.record_after(stream, &[]);
        }
        Ok(())
    }

    /// Notes what the event stands for in the capture of a stream. Whether the stream is capturing.
    fn record_captured(&self, stream: &Stream, data: Option<EdgeData>) -> Result<bool> {
        let record = {
            let capture = locked(&stream.capture);
            let Some(capture) = &*capture else { return Ok(false) };
            capture.sequence.check()?;
            let last = capture.last.iter().map(|edge| Edge { data: data.unwrap_or(edge.data), ..*edge }).collect();
            CapturedRecord { sequence: Arc::clone(&capture.sequence), last }
        };
        // Not while the stream is locked: whoever waits for the event locks the two the other way round.
        *locked(&self.captured) = Some(record);
        Ok(true)
    }

    /// For what an event that was recorded in a capture cannot tell.
    pub(crate) fn not_captured(&self) -> Result<()> {
        if locked(&self.captured).is_some() { Err(Code::CAPTURED_EVENT) } else { Ok(()) }
    }
}
