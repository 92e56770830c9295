//! Streams and events.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::capture::Capture;
use super::code::{Code, Result};
use super::context::{Context, STREAMS, locked};
use super::engine::{ENGINE, Kind, Lane, Ticket};
use super::handle::Handle;
use super::operation::Operation;

/// `CU_STREAM_NON_BLOCKING`
pub(crate) const NON_BLOCKING: u32 = 1;

/// The highest priority; the lowest is 0.
pub(crate) const HIGHEST_PRIORITY: i32 = -5;

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: Arc<Context>,
    pub(crate) flags: u32,
    pub(crate) priority: i32,
    lane: Lane,
    /// The last work submitted to it.
    last: AtomicU64,
    pub(crate) capture: Mutex<Option<Capture>>,
    /// What `cuStreamSetAttribute` set, by its number.
    pub(crate) attributes: Mutex<HashMap<i32, Attribute>>,
}

/// `CUstreamAttrValue`
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attribute(pub(crate) [u32; 16]);

/// The handles of the default streams that are not null: the legacy one, and that of the calling thread.
const LEGACY: usize = 1;
const PER_THREAD: usize = 2;

/// Numbers streams.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Whether the null handle means the thread's own default stream: inside the functions that end in `_ptsz` or `_ptds`.
    static NULL_IS_PER_THREAD: Cell<bool> = const { Cell::new(false) };
    /// The thread's own default streams, by the number of their context.
    static OWN: RefCell<HashMap<u64, Arc<Stream>>> = RefCell::default();
}

/// Runs a function for which the null handle means the thread's own default stream.
pub(crate) fn with_per_thread_default<T>(function: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            NULL_IS_PER_THREAD.set(self.0);
        }
    }
    let _reset = Reset(NULL_IS_PER_THREAD.replace(true));
    function()
}

impl Stream {
    pub(crate) fn new(context: &Arc<Context>, flags: u32, priority: i32) -> Self {
        let kind = if flags & NON_BLOCKING != 0 { Kind::NonBlocking } else { Kind::Blocking };
        Self::of_kind(context, kind, flags, priority)
    }

    /// The legacy default stream of a context.
    pub(crate) fn legacy(context: &Arc<Context>) -> Self {
        Self::of_kind(context, Kind::Legacy, 0, 0)
    }

    fn of_kind(context: &Arc<Context>, kind: Kind, flags: u32, priority: i32) -> Self {
        let lane = Lane { id: NEXT.fetch_add(1, Ordering::Relaxed), context: Arc::clone(context), kind, priority };
        let (last, capture, attributes) = (AtomicU64::new(0), Mutex::new(None), Mutex::default());
        Self { context: Arc::clone(context), flags, priority, lane, last, capture, attributes }
    }

    /// The number of the stream, which no other has.
    pub(crate) fn id(&self) -> u64 {
        self.lane.id
    }

    /// Whether this is the legacy default stream of its context.
    pub(crate) fn is_legacy(&self) -> bool {
        self.lane.kind == Kind::Legacy
    }

    /// The stream of a handle; small handles are the default streams of the current context.
    pub(crate) fn get(handle: Handle) -> Result<Arc<Self>> {
        let own = handle.0 == PER_THREAD || (handle == Handle::NULL && NULL_IS_PER_THREAD.get());
        let stream = if own {
            let context = Context::current()?;
            let new = || Arc::new(Self::new(&context, 0, 0));
            OWN.with_borrow_mut(|streams| Arc::clone(streams.entry(context.id).or_insert_with(new)))
        } else if handle.0 <= LEGACY {
            Context::current()?.default_stream()?
        } else {
            STREAMS.get(handle)?
        };
        if stream.context.destroyed.raised() {
            return Err(Code::CONTEXT_IS_DESTROYED);
        }
        stream.context.alive()?;
        Ok(stream)
    }

    /// Puts work into the stream, or into the graph that is being captured from it.
    pub(crate) fn submit(&self, operation: Operation) -> Result<()> {
        if let Some(capture) = &mut *locked(&self.capture) {
            return capture.add(operation);
        }
        self.run(operation);
        Ok(())
    }

    /// Puts work into the stream, which is not capturing.
    pub(crate) fn run(&self, operation: Operation) -> Ticket {
        self.run_after(operation, &[])
    }

    /// Puts work into the stream, which is not capturing, where it also comes after work of other streams.
    pub(crate) fn run_after(&self, operation: Operation, after: &[Ticket]) -> Ticket {
        let ticket = ENGINE.submit(&self.lane, operation, after);
        self.last.fetch_max(ticket, Ordering::AcqRel);
        ticket
    }

    /// An error if the stream is capturing, which an operation that cannot be captured then ends.
    pub(crate) fn not_capturing(&self) -> Result<()> {
        match &mut *locked(&self.capture) {
            None => Ok(()),
            Some(capture) => Err(capture.invalidate(Code::STREAM_CAPTURE_UNSUPPORTED)),
        }
    }

    /// Ends what can be captured, if the stream is capturing.
    pub(crate) fn invalidate_capture(&self) {
        if let Some(capture) = &mut *locked(&self.capture) {
            capture.invalidate(Code::STREAM_CAPTURE_UNSUPPORTED);
        }
    }

    pub(crate) fn is_capturing(&self) -> bool {
        locked(&self.capture).is_some()
    }

    /// The last work submitted to the stream.
    pub(crate) fn last(&self) -> Ticket {
        self.last.load(Ordering::Acquire)
    }

    pub(crate) fn is_done(&self) -> bool {
        // The legacy stream also stands for what it waits for.
        let waits = if self.is_legacy() { ENGINE.waits(&self.lane) } else { Vec::new() };
        ENGINE.is_done(self.last()) && waits.is_empty()
    }

    /// Waits for the work in the stream.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.not_capturing()?;
        if self.is_legacy() {
            ENGINE.waits(&self.lane).into_iter().for_each(|ticket| ENGINE.wait(ticket));
        }
        ENGINE.wait(self.last());
        self.context.alive()
    }
}

/// One recording of an event.
#[derive(Debug, Default)]
pub(crate) struct EventRecord {
    time: OnceLock<Instant>,
}

impl EventRecord {
    /// Says the time of the device at which the event was reached.
    pub(crate) fn complete(&self, time: Instant) {
        self.time.get_or_init(|| time);
    }
}

/// An event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) context: Arc<Context>,
    pub(crate) timed: bool,
    /// The last recording and its place in the queue.
    recorded: Mutex<Option<(Arc<EventRecord>, Ticket)>>,
}

impl Event {
    pub(crate) fn new(context: Arc<Context>, timed: bool) -> Self {
        Self { context, timed, recorded: Mutex::default() }
    }

    pub(crate) fn record(&self, stream: &Stream) -> Result<()> {
        if !Arc::ptr_eq(&self.context, &stream.context) {
            return Err(Code::INVALID_HANDLE);
        }
        stream.not_capturing()?;
        self.record_after(stream, &[]);
        Ok(())
    }

    /// Records the event behind the work of a stream, and behind other work.
    pub(crate) fn record_after(&self, stream: &Stream, after: &[Ticket]) {
        let record = Arc::<EventRecord>::default();
        let ticket = stream.run_after(Operation::Record(Arc::clone(&record)), after);
        *locked(&self.recorded) = Some((record, ticket));
    }

    /// The ticket of the last recording.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        locked(&self.recorded).as_ref().map(|(_, ticket)| *ticket)
    }

    /// When the last recording was reached.
    pub(crate) fn time(&self) -> Result<Instant> {
        match &*locked(&self.recorded) {
            Some((record, _)) if self.timed => record.time.get().copied().ok_or(Code::NOT_READY),
            _ => Err(Code::INVALID_HANDLE),
        }
    }
}
