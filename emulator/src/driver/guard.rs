//! Guards over host memory that copies and fills are to write: a program that reads or writes it too early is found.
//!
//! With the check on, pinned and managed memory is mapped twice: the program has the one address, the device uses the
//! other. While a copy into it is pending, the pages that only the copy writes are closed to the program. An access ends up
//! in a signal handler, which takes note of it and opens them, so that the program goes on as it would without the check.
//! Pages of which the copy writes a part stay open: the rest is the program's.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::allocation;
use super::checking::checks;
use super::context::locked;
use super::operation::{HostFunction, Operation};
use crate::checks::{Finding, FindingKind, find};

const PAGE: usize = 4096;

/// Memory that is mapped twice.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    length: usize,
    of_device: usize,
}

/// By the first address of the program's mapping.
static MAPPINGS: Mutex<BTreeMap<usize, Mapping>> = Mutex::new(BTreeMap::new());

/// Pages that are closed. The signal handler may take no lock, so this is a table of atomics.
struct Closed {
    /// 0 for a place that is free.
    first: AtomicUsize,
    end: AtomicUsize,
    /// The address at which the program came upon it; 0 for none.
    met: AtomicUsize,
}

/// As many copies as there are places are guarded at a time, and no more.
static CLOSED: [Closed; 256] =
    [const { Closed { first: AtomicUsize::new(0), end: AtomicUsize::new(0), met: AtomicUsize::new(0) } }; 256];

/// Taken while pages are closed or opened, except by the signal handler.
static CHANGING: Mutex<()> = Mutex::new(());

/// Keeps the program from pages, until it is dropped.
#[derive(Debug)]
pub(crate) struct Guard(usize);

/// Allocates host memory that can be guarded, zeroed, if the check is on: its address for the program, and for devices.
pub(crate) fn allocate(bytes: usize) -> Option<(*mut u8, *mut u8)> {
    if !checks().host_access || !handler_is_set() {
        return None;
    }
    let length = bytes.checked_next_multiple_of(PAGE)?;
    // SAFETY: a file without a name, which is mapped where the system finds room. The mappings keep it when it is closed.
    unsafe {
        let file = libc::memfd_create(c"warpwright".as_ptr(), libc::MFD_CLOEXEC);
        if file < 0 {
            return None;
        }
        let map = || {
            let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            let at = libc::mmap(null_mut(), length, access, flags, file, 0);
            (at != libc::MAP_FAILED).then_some(at)
        };
        let sized = libc::off_t::try_from(length).is_ok_and(|length| libc::ftruncate(file, length) == 0);
        let mapped = if sized { map().zip(map()) } else { None };
        libc::close(file);
        let (at, of_device) = mapped?;
        locked(&MAPPINGS).insert(at as usize, Mapping { length, of_device: of_device as usize });
        Some((at.cast(), of_device.cast()))
    }
}

/// Frees memory that [`allocate`] made; `false` if it did not make it.
pub(crate) fn free(address: u64) -> bool {
    let Some(mapping) = locked(&MAPPINGS).remove(&(address as usize)) else { return false };
    // SAFETY: both mappings are this memory's, and nothing uses it any more.
    unsafe {
        libc::munmap(address as *mut c_void, mapping.length);
        libc::munmap(mapping.of_device as *mut c_void, mapping.length);
    }
    true
}

/// Closes the pages that an operation is to write.
pub(crate) fn guard(operation: &Operation) -> Vec<Guard> {
    operation.writes().into_iter().filter_map(|(address, bytes)| close(address as usize, bytes as usize)).collect()
}

fn close(address: usize, bytes: usize) -> Option<Guard> {
    let found = allocation::find(address as u64).filter(|found| found.kind.is_of_host())?;
    let (base, size) = (found.base as usize, found.bytes as usize);
    let length = locked(&MAPPINGS).get(&base)?.length;
    // What comes after the allocation in its last page is nobody's.
    let end = address.checked_add(bytes)?;
    let end = if end >= base + size { base + length } else { end };
    let (first, end) = (address.next_multiple_of(PAGE), end / PAGE * PAGE);
    if first >= end {
        return None;
    }
    let _changing = locked(&CHANGING);
    let place = CLOSED.iter().position(|closed| closed.first.load(Ordering::Acquire) == 0)?;
    CLOSED[place].met.store(0, Ordering::Relaxed);
    CLOSED[place].end.store(end, Ordering::Relaxed);
    CLOSED[place].first.store(first, Ordering::Release);
    // SAFETY: the pages are the program's mapping of memory that is allocated, which lives until the work is done.
    unsafe { libc::mprotect(first as *mut c_void, end - first, libc::PROT_NONE) };
    Some(Guard(place))
}

impl Drop for Guard {
    fn drop(&mut self) {
        let changing = locked(&CHANGING);
        let closed = &CLOSED[self.0];
        let (first, end) = (closed.first.swap(0, Ordering::AcqRel), closed.end.load(Ordering::Relaxed));
        open(first, end);
        // Other work may be about to write some of them too.
        for other in &CLOSED {
            let (other_first, other_end) = (other.first.load(Ordering::Acquire), other.end.load(Ordering::Relaxed));
            let (from, to) = (first.max(other_first), end.min(other_end));
            if other_first != 0 && from < to && other.met.load(Ordering::Acquire) == 0 {
                // SAFETY: as in `close`; the guard of the other place is alive.
                unsafe { libc::mprotect(from as *mut c_void, to - from, libc::PROT_NONE) };
            }
        }
        let met = closed.met.swap(0, Ordering::AcqRel);
        drop(changing);
        if met != 0 {
            let (address, bytes, sequence) = allocation::find(met as u64)
                .map_or((met as u64, 0, 0), |found| (found.base, found.bytes, found.sequence));
            let detail = format!(
                "the host accessed {met:#x}, in memory that a pending copy or fill is to write: wait for it first"
            );
            find(Finding { kind: FindingKind::HostAccess, address, bytes, sequence, detail });
        }
    }
}

fn open(first: usize, end: usize) {
    // SAFETY: the pages were closed by `close`, and are to be as they were.
    unsafe { libc::mprotect(first as *mut c_void, end - first, libc::PROT_READ | libc::PROT_WRITE) };
}

/// What is done with a signal that is not about closed pages.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Sets the signal handler; whether that was possible.
fn handler_is_set() -> bool {
    static SET: OnceLock<bool> = OnceLock::new();
    *SET.get_or_init(|| {
        // SAFETY: the structures are C's, all zero is a value of theirs, and the handler has the form that the flags say.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGSEGV, std::ptr::null(), &raw mut before) != 0 || BEFORE.set(before).is_err() {
                return false;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGSEGV, &raw const action, null_mut()) == 0
        }
    })
}

/// Takes note of an access to closed pages and opens them. Only atomics and one system call: it may interrupt anything.
extern "C" fn on_fault(signal: c_int, information: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives the information of a fault, which has an address.
    let address = unsafe { (*information).si_addr() } as usize;
    let mut ours = false;
    for closed in &CLOSED {
        let (first, end) = (closed.first.load(Ordering::Acquire), closed.end.load(Ordering::Relaxed));
        if first != 0 && (first..end).contains(&address) {
            ours = true;
            // What a stream calls is in the order of the stream, and may.
            if !HostFunction::is_running() {
                let _ = closed.met.compare_exchange(0, address, Ordering::AcqRel, Ordering::Acquire);
            }
            open(first, end);
        }
    }
    if ours || was_just_opened(address) {
        return;
    }
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the handler from before is called as the system would, or put back so that the access faults again.
    unsafe {
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, before, null_mut());
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = std::mem::transmute(handler);
                handler(signal, information, context);
            }
            handler => {
                let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

/// Whether an access may have met pages that were opened before the handler came to look, so that it is to be tried again.
fn was_just_opened(address: usize) -> bool {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    // A fault that comes again and again at one address is none of these.
    let again = LAST.swap(address, Ordering::AcqRel) == address;
    !again
}
