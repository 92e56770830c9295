//! Stream capture: work that goes into a graph instead of being done.

use std::cell::Cell;
use std::collections::HashMap;
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

/// The captures in progress: of which stream, in which mode, begun by which thread.
static CAPTURES: Mutex<Option<HashMap<u64, (Handle, Mode, ThreadId)>>> = Mutex::new(None);

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
    let forbids = |capture: Mode, thread: ThreadId| match mode {
        Mode::Relaxed => false,
        Mode::ThreadLocal => thread == own && capture != Mode::Relaxed,
        Mode::Global => capture == Mode::Global || (thread == own && capture != Mode::Relaxed),
    };
    let captures = locked(&CAPTURES);
    let forbidding = captures.iter().flatten().filter(|(_, (_, mode, thread))| forbids(*mode, *thread));
    let streams: Vec<Handle> = forbidding.map(|(_, (stream, ..))| *stream).collect();
    drop(captures);
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
}

impl Capture {
    pub(crate) fn begin(stream: Handle, mode: Mode) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let graph = Arc::<Graph>::default();
        let handle = GRAPHS.insert(Arc::clone(&graph));
        let begun = (stream, mode, std::thread::current().id());
        locked(&CAPTURES).get_or_insert_default().insert(id, begun);
        Self { id, graph, handle, last: Vec::new(), invalidated: false }
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
        match locked(&CAPTURES).iter().flatten().find(|(id, _)| **id == self.id) {
            Some((_, (_, Mode::Relaxed, _))) | None => Ok(()),
            Some((_, (_, _, thread))) if *thread == std::thread::current().id() => Ok(()),
            Some(_) => Err(Code::STREAM_CAPTURE_WRONG_THREAD),
        }
    }

    /// The graph of what was captured.
    pub(crate) fn finish(self) -> Result<Handle> {
        if self.invalidated {
            let _ = GRAPHS.remove(self.handle);
            return Err(Code::STREAM_CAPTURE_INVALIDATED);
        }
        Ok(self.handle)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(captures) = &mut *locked(&CAPTURES) {
            captures.remove(&self.id);
        }
    }
}
