//! Stream capture: work that goes into a graph instead of being done.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use super::code::{Code, Result};
use super::context::{GRAPHS, STREAMS, locked};
use super::graph::Graph;
use super::handle::Handle;
use super::operation::Operation;

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

/// How a capture in progress was begun.
struct Begun {
    id: u64,
    stream: Handle,
    mode: Mode,
    thread: ThreadId,
}

/// The captures in progress.
static CAPTURES: Mutex<Vec<Begun>> = Mutex::new(Vec::new());

/// Numbers captures.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// How this thread takes captures.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Sets the mode of this thread, and returns what it was.
pub(crate) fn exchange_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

/// For calls that a capture would not see, such as allocations: an error where one forbids them, which ends it.
pub(crate) fn check_unsafe_call() -> Result<()> {
    let (own, mode) = (std::thread::current().id(), MODE.get());
    let forbids = |capture: &&Begun| match mode {
        Mode::Relaxed => false,
        Mode::ThreadLocal => capture.thread == own && capture.mode != Mode::Relaxed,
        Mode::Global => capture.mode == Mode::Global || (capture.thread == own && capture.mode != Mode::Relaxed),
    };
    let streams: Vec<Handle> = locked(&CAPTURES).iter().filter(forbids).map(|capture| capture.stream).collect();
    for stream in &streams {
        if let Ok(stream) = STREAMS.get(*stream) {
            stream.invalidate_capture();
        }
    }
    if streams.is_empty() { Ok(()) } else { Err(Code::STREAM_CAPTURE_UNSUPPORTED) }
}

/// A capture in progress on one stream. Work in it depends on the work before it.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) id: u64,
    pub(crate) graph: Arc<Graph>,
    /// The graph's handle.
    pub(crate) handle: Handle,
    /// The nodes that the next one comes after.
    pub(crate) last: Vec<Handle>,
    invalidated: bool,
    /// Whether the graph was given to whoever ended the capture.
    given: bool,
}

impl Capture {
    pub(crate) fn begin(stream: Handle, mode: Mode) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let graph = Arc::<Graph>::default();
        let handle = GRAPHS.insert(Arc::clone(&graph));
        locked(&CAPTURES).push(Begun { id, stream, mode, thread: std::thread::current().id() });
        Self { id, graph, handle, last: Vec::new(), invalidated: false, given: false }
    }

    pub(crate) fn add(&mut self, operation: Operation) -> Result<()> {
        if self.invalidated {
            return Err(Code::STREAM_CAPTURE_INVALIDATED);
        }
        self.last = vec![self.graph.add(operation, &self.last)?];
        Ok(())
    }

    /// Ends what can be captured. Returns the error for the call that did it.
    pub(crate) fn invalidate(&mut self, code: Code) -> Code {
        self.invalidated = true;
        code
    }

    pub(crate) fn is_invalidated(&self) -> bool {
        self.invalidated
    }

    /// Whether this thread may end the capture: in some modes only the one that began it.
    pub(crate) fn check_thread(&self) -> Result<()> {
        let own = std::thread::current().id();
        let of_another = |begun: &Begun| begun.id == self.id && begun.mode != Mode::Relaxed && begun.thread != own;
        if locked(&CAPTURES).iter().any(of_another) { Err(Code::STREAM_CAPTURE_WRONG_THREAD) } else { Ok(()) }
    }

    /// The graph of what was captured.
    pub(crate) fn finish(mut self) -> Result<Handle> {
        self.given = !self.invalidated;
        if self.given { Ok(self.handle) } else { Err(Code::STREAM_CAPTURE_INVALIDATED) }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        locked(&CAPTURES).retain(|begun| begun.id != self.id);
        if !self.given {
            // The capturer may have destroyed it already, since it can ask for it.
            let _ = GRAPHS.remove(self.handle);
        }
    }
}
