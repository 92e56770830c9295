//! Devices, contexts, and what lives in a context: streams, events, modules, functions.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::capture::Capture;
use super::code::{Code, Result};
use super::engine::{Engine, Ticket};
use super::graph::{Executable, Graph};
use super::handle::{Handle, Table};
use super::module::{FUNCTIONS, MODULES};
use super::operation::{Flag, Operation};

pub(crate) static CONTEXTS: Table<Context> = Table::new();
pub(crate) static STREAMS: Table<Stream> = Table::new();
pub(crate) static EVENTS: Table<Event> = Table::new();
pub(crate) static GRAPHS: Table<Graph> = Table::new();
pub(crate) static EXECUTABLES: Table<Executable> = Table::new();

/// Set by `cuInit`.
pub(crate) static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Device memory in bytes.
const MEMORY: u64 = 16 << 30;

/// The device, made when it is first needed.
pub(crate) static DEVICE: LazyLock<Device> =
    LazyLock::new(|| Device { engine: Engine::start(MEMORY), primary: Mutex::default() });

/// A device. There is one, with number 0.
pub(crate) struct Device {
    pub(crate) engine: Arc<Engine>,
    /// The primary context, and how often it is retained.
    primary: Mutex<(Option<Handle>, usize)>,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Retains the primary context.
    pub(crate) fn retain_primary(&self) -> Handle {
        let mut primary = locked(&self.primary);
        let handle = *primary.0.get_or_insert_with(|| Context::create(true));
        primary.1 += 1;
        handle
    }

    /// Releases the primary context; the last release destroys it.
    pub(crate) fn release_primary(&self) -> Result<()> {
        let mut primary = locked(&self.primary);
        let (Some(handle), count @ 1..) = *primary else { return Err(Code::INVALID_CONTEXT) };
        primary.1 = count - 1;
        if primary.1 == 0 {
            primary.0 = None;
            drop(primary);
            Context::destroy(handle)?;
        }
        Ok(())
    }

    /// Whether the primary context exists.
    pub(crate) fn primary_is_active(&self) -> bool {
        locked(&self.primary).0.is_some()
    }
}

/// A context.
#[derive(Debug)]
pub(crate) struct Context {
    /// Its own handle; set when it is created.
    handle: OnceLock<Handle>,
    pub(crate) primary: bool,
    /// The error that ended it; 0 for none.
    error: AtomicU32,
    destroyed: Flag,
    /// The stream that the null handle names.
    default_stream: OnceLock<Arc<Stream>>,
    /// The device memory and the pinned host memory that it owns, by address.
    device_memory: Mutex<HashSet<u64>>,
    host_memory: Mutex<HashSet<u64>>,
    pub(crate) flags: AtomicU32,
}

thread_local! {
    /// The current contexts of this thread, the last one on top.
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    /// Makes a context.
    pub(crate) fn create(primary: bool) -> Handle {
        let context = Arc::new(Self {
            handle: OnceLock::new(),
            primary,
            error: AtomicU32::new(0),
            destroyed: Flag::default(),
            default_stream: OnceLock::new(),
            device_memory: Mutex::default(),
            host_memory: Mutex::default(),
            flags: AtomicU32::new(0),
        });
        let handle = CONTEXTS.insert(Arc::clone(&context));
        context.handle.get_or_init(|| handle);
        let stream = Arc::new(Stream::new(&context, 0, 0));
        context.default_stream.get_or_init(|| stream);
        handle
    }

    /// Destroys a context with all that it owns, once its work is done.
    pub(crate) fn destroy(handle: Handle) -> Result<()> {
        let context = CONTEXTS.remove(handle).map_err(|_| Code::INVALID_CONTEXT)?;
        let engine = &DEVICE.engine;
        engine.wait_all();
        context.destroyed.raise();
        STREAMS.remove_if(|stream| Arc::ptr_eq(&stream.context, &context));
        EVENTS.remove_if(|event| Arc::ptr_eq(&event.context, &context));
        FUNCTIONS.remove_if(|function| Arc::ptr_eq(&function.module.context, &context));
        MODULES.remove_if(|module| {
            let owned = Arc::ptr_eq(&module.context, &context);
            module.unloaded.fetch_or(owned, Ordering::AcqRel);
            owned
        });
        for address in locked(&context.device_memory).drain() {
            // A free in a stream may have been first.
            let _ = engine.memory.free(address);
        }
        for address in locked(&context.host_memory).drain() {
            // SAFETY: allocated by `allocate_host`, and in the set only until it is freed.
            unsafe { free_host(address) };
        }
        CURRENT.with_borrow_mut(|stack| stack.retain(|current| *current != handle));
        Ok(())
    }

    /// The compute capability of its device, such as 90.
    pub(crate) fn capability(&self) -> u32 {
        90
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.get().copied().unwrap_or(Handle::NULL)
    }

    /// The error that ended this context.
    pub(crate) fn error(&self) -> Option<Code> {
        match self.error.load(Ordering::Acquire) {
            0 => None,
            number => Some(Code(number)),
        }
    }

    /// Ends the context with an error, if none has before.
    pub(crate) fn fail(&self, code: Code) {
        // The first error stays.
        let _ = self.error.compare_exchange(0, code.0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// `Ok` unless an error has ended this context.
    pub(crate) fn alive(&self) -> Result<()> {
        match self.error() {
            None => Ok(()),
            Some(code) => Err(code),
        }
    }

    /// The context on top of this thread's stack, alive or not.
    pub(crate) fn top() -> Option<Handle> {
        CURRENT.with_borrow(|stack| stack.last().copied())
    }

    /// The current context of this thread.
    pub(crate) fn current() -> Result<Arc<Self>> {
        if !INITIALISED.load(Ordering::Acquire) {
            return Err(Code::NOT_INITIALIZED);
        }
        let handle = Self::top().ok_or(Code::INVALID_CONTEXT)?;
        let context = CONTEXTS.get(handle).map_err(|_| Code::CONTEXT_IS_DESTROYED)?;
        context.alive()?;
        Ok(context)
    }

    /// Replaces the top of this thread's stack; null takes it away.
    pub(crate) fn set_current(handle: Handle) -> Result<()> {
        if handle != Handle::NULL {
            CONTEXTS.get(handle).map_err(|_| Code::INVALID_CONTEXT)?;
        }
        CURRENT.with_borrow_mut(|stack| {
            stack.pop();
            if handle != Handle::NULL {
                stack.push(handle);
            }
        });
        Ok(())
    }

    pub(crate) fn push(handle: Handle) -> Result<()> {
        CONTEXTS.get(handle).map_err(|_| Code::INVALID_CONTEXT)?;
        CURRENT.with_borrow_mut(|stack| stack.push(handle));
        Ok(())
    }

    pub(crate) fn pop() -> Result<Handle> {
        let popped = CURRENT.with_borrow_mut(Vec::pop);
        popped.ok_or(Code::INVALID_CONTEXT)
    }

    /// Waits for all work of the context, and returns the error that ended it if one has.
    pub(crate) fn synchronize(&self) -> Result<()> {
        DEVICE.engine.wait_all();
        self.alive()
    }

    /// Allocates device memory that this context owns.
    pub(crate) fn allocate(&self, bytes: u64) -> Result<u64> {
        use crate::memory::MemoryError;
        let address = DEVICE.engine.memory.allocate(bytes).map_err(|error| match error {
            MemoryError::Full => Code::OUT_OF_MEMORY,
            MemoryError::Zero | MemoryError::NotAllocated => Code::INVALID_VALUE,
        })?;
        locked(&self.device_memory).insert(address);
        Ok(address)
    }

    /// Forgets device memory that is about to be freed.
    pub(crate) fn disown(&self, address: u64) -> Result<()> {
        if locked(&self.device_memory).remove(&address) { Ok(()) } else { Err(Code::INVALID_VALUE) }
    }

    /// Allocates pinned host memory, zeroed.
    pub(crate) fn allocate_host(&self, bytes: usize) -> Result<*mut c_void> {
        let layout = host_layout(bytes).filter(|_| bytes > 0).ok_or(Code::INVALID_VALUE)?;
        // SAFETY: the layout is not empty.
        let at = unsafe { std::alloc::alloc_zeroed(layout) };
        if at.is_null() {
            return Err(Code::OUT_OF_MEMORY);
        }
        DEVICE.engine.memory.map_host(at as u64, bytes as u64);
        locked(&self.host_memory).insert(at as u64);
        Ok(at.cast())
    }

    /// Frees pinned host memory, once nothing uses it.
    pub(crate) fn free_host(&self, address: u64) -> Result<()> {
        if !locked(&self.host_memory).remove(&address) {
            return Err(Code::INVALID_VALUE);
        }
        DEVICE.engine.wait_all();
        // SAFETY: it was in the set, so `allocate_host` made it and nothing has freed it.
        unsafe { free_host(address) };
        Ok(())
    }
}

/// The compute capability of the device of the current context, or else of the first device.
pub(crate) fn current_capability() -> u32 {
    Context::current().map_or(90, |context| context.capability())
}

/// The compute capability of a device.
pub(crate) fn capability_of(device: i32) -> Result<u32> {
    if device == 0 { Ok(90) } else { Err(Code::INVALID_DEVICE) }
}

fn host_layout(bytes: usize) -> Option<std::alloc::Layout> {
    std::alloc::Layout::from_size_align(bytes, 4096).ok()
}

/// # Safety
/// `address` came from `allocate_host` and was not freed.
unsafe fn free_host(address: u64) {
    if let Some(layout) = DEVICE.engine.memory.unmap_host(address).and_then(|bytes| host_layout(bytes as usize)) {
        // SAFETY: the caller's word; the layout is the one it was allocated with.
        unsafe { std::alloc::dealloc(address as *mut u8, layout) };
    }
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: Arc<Context>,
    pub(crate) flags: u32,
    pub(crate) priority: i32,
    /// The last work submitted to it.
    last: AtomicU64,
    pub(crate) capture: Mutex<Option<Capture>>,
}

/// Handles up to this one stand for the default stream: null, the legacy stream, and that of the thread.
const PER_THREAD: usize = 2;

impl Stream {
    pub(crate) fn new(context: &Arc<Context>, flags: u32, priority: i32) -> Self {
        let context = Arc::clone(context);
        Self { context, flags, priority, last: AtomicU64::new(0), capture: Mutex::new(None) }
    }

    /// The stream of a handle; the null stream is that of the current context.
    pub(crate) fn get(handle: Handle) -> Result<Arc<Self>> {
        let stream = if handle.0 <= PER_THREAD {
            let context = Context::current()?;
            context.default_stream.get().cloned().ok_or(Code::INVALID_CONTEXT)?
        } else {
            STREAMS.get(handle)?
        };
        stream.context.alive()?;
        if stream.context.destroyed.raised() {
            return Err(Code::CONTEXT_IS_DESTROYED);
        }
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
        let ticket = DEVICE.engine.submit(&self.context, operation);
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

    pub(crate) fn is_done(&self) -> bool {
        DEVICE.engine.is_done(self.last.load(Ordering::Acquire))
    }

    /// Waits for the work in the stream.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.not_capturing()?;
        DEVICE.engine.wait(self.last.load(Ordering::Acquire));
        self.context.alive()
    }
}

/// One recording of an event.
#[derive(Debug, Default)]
pub(crate) struct EventRecord {
    time: OnceLock<Instant>,
}

impl EventRecord {
    pub(crate) fn complete(&self) {
        self.time.get_or_init(Instant::now);
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
        let record = Arc::<EventRecord>::default();
        let ticket = stream.run(Operation::Record(Arc::clone(&record)));
        *locked(&self.recorded) = Some((record, ticket));
        Ok(())
    }

    /// The place in the queue of the last recording.
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
