//! The checks at the side of the host: what is never given back, and memory that the host touches too early.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};

use super::allocation;
use super::context::{CONTEXTS, Context, EVENTS, EXECUTABLES, GRAPHS, STREAMS, locked};
use super::device;
use super::engine::ENGINE;
use super::handle::Handle;
use super::module::MODULES;
use super::operation::{Operation, report};
use super::pool;
use crate::checks::{Checks, Finding, FindingKind, UnknownCheck, find};

/// What the environment asks for.
static OF_ENVIRONMENT: LazyLock<Result<Checks, UnknownCheck>> = LazyLock::new(Checks::from_environment);

/// The checks that are on, as bits, and a bit that says that they were set.
static CHECKS: AtomicU32 = AtomicU32::new(0);
const SET: u32 = 1 << 31;

/// The checks that are on in this process.
pub(crate) fn checks() -> Checks {
    match CHECKS.load(Ordering::Relaxed) {
        0 => {
            let checks = OF_ENVIRONMENT.clone().unwrap_or_default();
            set_checks(checks);
            checks
        }
        bits => Checks::from_bits(bits & !SET),
    }
}

/// Switches checks on and off, whatever the environment says.
pub(crate) fn set_checks(checks: Checks) {
    CHECKS.store(checks.bits() | SET, Ordering::Relaxed);
    if checks != Checks::NONE {
        look_at_exit();
    }
}

/// Whether the environment names checks that there are; says so if it does not.
pub(crate) fn environment_is_valid() -> bool {
    match &*OF_ENVIRONMENT {
        Ok(_) => {
            if std::env::var_os(EXIT_CODE).is_some() {
                look_at_exit();
            }
            checks();
            true
        }
        Err(error) => {
            report(error);
            false
        }
    }
}

/// The code that the process ends with if anything was found.
const EXIT_CODE: &str = "WARPWRIGHT_EMULATOR_EXIT_CODE";

/// When the process ends looks for leaks, shows counters, and sees to the exit code.
pub(crate) fn look_at_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function is one of C, and this library is never unloaded.
        if unsafe { libc::atexit(at_exit) } != 0 {
            report(&"the end of the process cannot be watched, so leaks there are not found");
        }
    });
}

extern "C" fn at_exit() {
    // A panic must not leave a function that C calls.
    let _ = std::panic::catch_unwind(|| leaks_of(None, "when the process ended"));
    let _ = std::panic::catch_unwind(super::counting::show);
    let code = std::env::var(EXIT_CODE).ok().and_then(|code| code.parse().ok());
    if let Some(code) = code.filter(|_| !crate::checks::report().findings.is_empty()) {
        // SAFETY: a null pointer asks for every file of C's library. Nothing runs after `_exit`, as nothing would after the
        // last of these functions.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::_exit(code)
        }
    }
}

/// Reports what is alive of a context that is destroyed, or of all at the end of the process.
pub(crate) fn leaks_of(context: Option<&Arc<Context>>, when: &str) {
    if !checks().leaks {
        return;
    }
    let owned = |owner: &Arc<Context>| context.is_none_or(|context| Arc::ptr_eq(context, owner));
    for found in allocation::all().into_iter().filter(|found| owned(&found.context)) {
        let on_host = found.kind.is_of_host();
        let (kind, what) = match on_host {
            true => (FindingKind::LeakedHostMemory, "host memory of the driver"),
            false => (FindingKind::LeakedDeviceMemory, "device memory"),
        };
        let detail = format!("leak: {what} was not freed {when}");
        find(Finding { kind, address: found.base, bytes: found.bytes, sequence: found.sequence, detail });
    }
    let object = |kind, what: &str, handle: Handle| {
        let detail = format!("leak: {what} was not destroyed {when}");
        find(Finding { kind, address: handle.0 as u64, bytes: 0, sequence: handle.sequence(), detail });
    };
    for (handle, _) in STREAMS.all().into_iter().filter(|(_, stream)| owned(&stream.context)) {
        object(FindingKind::LeakedStream, "a stream", handle);
    }
    for (handle, _) in EVENTS.all().into_iter().filter(|(_, event)| owned(&event.context)) {
        object(FindingKind::LeakedEvent, "an event", handle);
    }
    for (handle, _) in MODULES.all().into_iter().filter(|(_, module)| owned(&module.context)) {
        object(FindingKind::LeakedModule, "a module", handle);
    }
    if context.is_some() {
        return;
    }
    // These belong to no context. Primary contexts are the driver's; programs of the runtime API never release them.
    for (handle, _) in GRAPHS.all().into_iter().filter(|(_, graph)| !graph.is_embedded()) {
        object(FindingKind::LeakedGraph, "a graph", handle);
    }
    for (handle, _) in EXECUTABLES.all() {
        object(FindingKind::LeakedGraph, "an executable graph", handle);
    }
    for handle in pool::made_by_programs() {
        object(FindingKind::LeakedPool, "a memory pool", handle);
    }
    for (handle, _) in CONTEXTS.all().into_iter().filter(|(_, context)| !context.primary) {
        object(FindingKind::LeakedContext, "a context", handle);
    }
}

/// Host memory that a copy which has not run yet is to read.
#[derive(Debug)]
struct Watched {
    address: u64,
    bytes: usize,
    /// Of what it holds.
    hash: u64,
    /// Whether the change was reported.
    changed: bool,
}

/// The watched sources of pending copies.
static WATCHED: Mutex<Vec<Arc<Mutex<Watched>>>> = Mutex::new(Vec::new());

/// Watches the source of one pending copy, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Mutex<Watched>>);

impl Drop for Watch {
    fn drop(&mut self) {
        locked(&WATCHED).retain(|watched| !Arc::ptr_eq(watched, &self.0));
    }
}

impl Watched {
    fn now(&self) -> u64 {
        // The program's own address may be closed, for other work.
        match device::resolve(self.address, self.bytes as u64) {
            // SAFETY: pinned memory is freed only when no work is pending, so it is there while a copy of it is.
            Some(at) => hash(unsafe { std::slice::from_raw_parts(at, self.bytes) }),
            None => self.hash,
        }
    }

    fn check(&mut self) {
        if !self.changed && self.now() != self.hash {
            self.changed = true;
            let sequence = allocation::find(self.address).map_or(0, |found| found.sequence);
            let detail = "the host changed memory that an asynchronous copy was still to read".to_owned();
            let (address, bytes) = (self.address, self.bytes as u64);
            find(Finding { kind: FindingKind::SourceChanged, address, bytes, sequence, detail });
        }
    }
}

/// FNV-1a, on words of eight bytes.
fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| step(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)))
}

/// Watches host memory that a copy is to read, unless work is pending that the host has a part in: that may be what
/// allows the host to write.
pub(crate) fn watch(address: u64, bytes: usize) -> Option<Arc<Watch>> {
    if !checks().host_access || ENGINE.waits_for_host() {
        return None;
    }
    let mut watched = Watched { address, bytes, hash: 0, changed: false };
    watched.hash = watched.now();
    let watched = Arc::new(Mutex::new(watched));
    locked(&WATCHED).push(Arc::clone(&watched));
    Some(Arc::new(Watch(watched)))
}

/// Whether an operation may change watched memory: a function of the host may, and what uses the allocation.
fn may_change(operation: &Operation, watched: &Watched) -> bool {
    let (base, bytes) = match allocation::find(watched.address) {
        Some(found) => (found.base, found.bytes),
        None => (watched.address, watched.bytes as u64),
    };
    operation.is_of_host() || operation.may_use(base, bytes)
}

/// Looks whether memory has changed that work uses which is about to begin.
pub(crate) fn look(operation: &Operation) {
    for watched in &*locked(&WATCHED) {
        let mut watched = locked(watched);
        if may_change(operation, &watched) {
            watched.check();
        }
    }
}

/// Takes memory as it is now that work uses which has ended.
pub(crate) fn accept(operation: &Operation) {
    for watched in &*locked(&WATCHED) {
        let mut watched = locked(watched);
        if may_change(operation, &watched) {
            watched.hash = watched.now();
        }
    }
}

/// Reports that host memory is given back that pending work uses.
pub(crate) fn freed(address: u64) {
    if !checks().host_access {
        return;
    }
    let Some(found) = allocation::find(address).filter(|found| found.base == address) else { return };
    if ENGINE.uses(found.base, found.bytes) {
        let detail = "host memory was given back while work that uses it was pending".to_owned();
        let (bytes, sequence) = (found.bytes, found.sequence);
        find(Finding { kind: FindingKind::FreedInUse, address, bytes, sequence, detail });
    }
}
