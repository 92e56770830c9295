//! Contexts, and the modules and functions that live in them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::allocation;
use super::checking;
use super::code::{Code, Result};
use super::device::Device;
use super::engine::{ENGINE, Runner, Ticket};
use super::graph::{Executable, Graph};
use super::handle::{Handle, Table};
use super::operation::{Flag, Operation};
pub(crate) use super::stream::{Event, EventRecord, Stream};
use crate::device::Module;

pub(crate) static CONTEXTS: Table<Context> = Table::new();
pub(crate) static STREAMS: Table<Stream> = Table::new();
pub(crate) static EVENTS: Table<Event> = Table::new();
pub(crate) static MODULES: Table<LoadedModule> = Table::new();
pub(crate) static FUNCTIONS: Table<Function> = Table::new();
pub(crate) static GRAPHS: Table<Graph> = Table::new();
pub(crate) static EXECUTABLES: Table<Executable> = Table::new();

/// Set by `cuInit`.
pub(crate) static INITIALISED: AtomicBool = AtomicBool::new(false);

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A context.
#[derive(Debug)]
pub(crate) struct Context {
    /// Its own handle; set when it is created.
    handle: OnceLock<Handle>,
    /// Its number, which no other has.
    pub(crate) id: u64,
    pub(crate) device: &'static Device,
    pub(crate) primary: bool,
    /// The error that ended it; 0 for none.
    error: AtomicU32,
    pub(crate) destroyed: Flag,
    /// The stream that the null handle names.
    default_stream: OnceLock<Arc<Stream>>,
    /// The contexts whose devices' memory kernels may use.
    peers: Mutex<Vec<Arc<Self>>>,
    pub(crate) flags: AtomicU32,
    /// The limits that `cuCtxSetLimit` sets, by their numbers.
    pub(crate) limits: Mutex<[usize; LIMITS.len()]>,
    pub(crate) cache_config: AtomicU32,
    /// How often `cuCtxAttach` attached it, and whoever made it.
    pub(crate) attached: AtomicU32,
}

/// The limits of a context before any is set: stack of a thread, buffer of `printf`, heap, depth of launches from the
/// device that may be waited for, how many may be pending, bytes that L2 fetches at a time, L2 for persisting accesses.
const LIMITS: [usize; 7] = [1024, 1 << 20, 8 << 20, 2, 2048, 64, 0];

/// Numbers contexts.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The current contexts of this thread, the last one on top.
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    /// Makes a context.
    pub(crate) fn create(device: &'static Device, primary: bool, flags: u32) -> Handle {
        let context = Arc::new(Self {
            handle: OnceLock::new(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            device,
            primary,
            error: AtomicU32::new(0),
            destroyed: Flag::default(),
            default_stream: OnceLock::new(),
            peers: Mutex::default(),
            flags: AtomicU32::new(flags),
            limits: Mutex::new(LIMITS),
            cache_config: AtomicU32::new(0),
            attached: AtomicU32::new(1),
        });
        let handle = CONTEXTS.insert(Arc::clone(&context));
        context.handle.get_or_init(|| handle);
        let stream = Arc::new(Stream::legacy(&context));
        context.default_stream.get_or_init(|| stream);
        handle
    }

    /// Destroys a context with all that it owns, once its work is done.
    pub(crate) fn destroy(handle: Handle) -> Result<()> {
        let context = CONTEXTS.remove(handle).map_err(|_| Code::INVALID_CONTEXT)?;
        ENGINE.wait_for(&context);
        checking::leaks_of(Some(&context), "when its context was destroyed");
        context.destroyed.raise();
        STREAMS.remove_if(|stream| Arc::ptr_eq(&stream.context, &context));
        EVENTS.remove_if(|event| Arc::ptr_eq(&event.context, &context));
        FUNCTIONS.remove_if(|function| Arc::ptr_eq(&function.module.context, &context));
        MODULES.remove_if(|module| {
            let owned = Arc::ptr_eq(&module.context, &context);
            module.unloaded.fetch_or(owned, Ordering::AcqRel);
            owned
        });
        allocation::free_all_of(&context);
        locked(&context.peers).clear();
        CURRENT.with_borrow_mut(|stack| stack.retain(|current| *current != handle));
        Ok(())
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
        ENGINE.wait_for(self);
        self.alive()
    }

    /// The legacy default stream.
    pub(crate) fn default_stream(&self) -> Result<Arc<Stream>> {
        self.default_stream.get().cloned().ok_or(Code::INVALID_CONTEXT)
    }

    /// Makes all that is submitted to this context from now on come after other work.
    pub(crate) fn wait_for(&self, ticket: Ticket) -> Result<()> {
        // What waits for the legacy stream is held up by it.
        self.default_stream()?.run_after(Operation::Nothing, &[ticket]);
        for (_, stream) in STREAMS.all() {
            if std::ptr::eq(&*stream.context, self) {
                stream.run_after(Operation::Nothing, &[ticket]);
            }
        }
        Ok(())
    }

    /// Makes a runner ready for work of this context: with the memory of its device, and of its peers.
    pub(crate) fn prepare(&self, runner: &mut Runner) {
        if !Arc::ptr_eq(&runner.memory, &self.device.memory) {
            runner.memory = Arc::clone(&self.device.memory);
        }
        let peers = locked(&self.peers).iter().map(|peer| Arc::clone(&peer.device.memory)).collect();
        self.device.memory.set_peers(peers);
    }

    /// Lets kernels of this context use the memory of another one's device.
    pub(crate) fn enable_peer(&self, peer: Arc<Self>) -> Result<()> {
        if peer.device.index == self.device.index {
            return Err(Code::INVALID_DEVICE);
        }
        let mut peers = locked(&self.peers);
        if peers.iter().any(|known| Arc::ptr_eq(known, &peer)) {
            return Err(Code::PEER_ACCESS_ALREADY_ENABLED);
        }
        peers.push(peer);
        Ok(())
    }

    /// Takes back what [`enable_peer`](Self::enable_peer) allowed.
    pub(crate) fn disable_peer(&self, peer: &Arc<Self>) -> Result<()> {
        let mut peers = locked(&self.peers);
        let known = peers.iter().position(|known| Arc::ptr_eq(known, peer)).ok_or(Code::PEER_ACCESS_NOT_ENABLED)?;
        // Work that was submitted before may still use the memory.
        ENGINE.wait_for(self);
        peers.remove(known);
        Ok(())
    }
}

/// A module in a context.
pub(crate) struct LoadedModule {
    pub(crate) context: Arc<Context>,
    pub(crate) module: Module,
    pub(crate) unloaded: AtomicBool,
    /// The functions that were asked for, by their index.
    pub(crate) functions: Mutex<Vec<(usize, Handle)>>,
}

impl std::fmt::Debug for LoadedModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModule").finish_non_exhaustive()
    }
}

/// A kernel of a module.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) module: Arc<LoadedModule>,
    pub(crate) index: usize,
    /// The dynamic shared memory that it may be launched with, in bytes.
    pub(crate) max_dynamic_shared: AtomicU32,
}

impl LoadedModule {
    /// The handle of a function, the same every time.
    pub(crate) fn function(self: &Arc<Self>, name: &str) -> Result<Handle> {
        let index = self.module.program(name).ok_or(Code::NOT_FOUND)?;
        let mut functions = locked(&self.functions);
        if let Some((_, handle)) = functions.iter().find(|(known, _)| *known == index) {
            return Ok(*handle);
        }
        let max_dynamic_shared = AtomicU32::new(48 << 10);
        let handle = FUNCTIONS.insert(Arc::new(Function { module: Arc::clone(self), index, max_dynamic_shared }));
        functions.push((index, handle));
        Ok(handle)
    }

    /// Unloads the module: its functions cannot be launched any more.
    pub(crate) fn unload(&self) {
        self.unloaded.store(true, Ordering::Release);
        for (_, handle) in locked(&self.functions).drain(..) {
            // Destroying the context may have been first.
            let _ = FUNCTIONS.remove(handle);
        }
    }
}
