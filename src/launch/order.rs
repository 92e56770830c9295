//! The order of uses of one buffer on several streams, and from several threads.
//!
//! Every buffer belongs to a stream, its home. Work on another stream waits for the home, and the home for the work, so
//! all uses are in one order: that in which the home sees them. Between the two waits the home must see nothing else, or
//! that would run beside the work. (A kernel that checks an index relies on the index not changing.) Handles to one
//! buffer may be on several threads, so there is a lock: work on the home stream takes it shared, work elsewhere takes it
//! alone. There are a few locks, and a home has one by its address; which other homes share it does not matter.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use cudarc::driver::sys::{CUevent_wait_flags as WaitFlags, CUstreamCaptureStatus_enum as CaptureStatus};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result};

/// As many as there are bits in the sets below.
static LOCKS: [RwLock<()>; 32] = [const { RwLock::new(()) }; 32];

/// The lock of a home, as a set of one.
#[inline]
fn lock_of(home: &CudaStream) -> u32 {
    let address = home.cu_stream() as u64 ^ (home.context().cu_ctx() as u64).rotate_left(32);
    // Fibonacci hashing: the upper bits of the product depend on all of the address.
    1 << (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - LOCKS.len().ilog2()))
}

/// The first lock of a set.
#[inline]
fn lock(set: u32) -> Option<&'static RwLock<()>> {
    LOCKS.get(set.trailing_zeros() as usize)
}

/// The lock of a set of one or none, taken shared.
#[inline]
fn shared_lock(set: u32) -> Option<RwLockReadGuard<'static, ()>> {
    lock(set).map(|lock| lock.read().unwrap_or_else(PoisonError::into_inner))
}

/// Calls `work` with the locks of two sets, in the order of their numbers: those of `alone` alone, those of `shared`
/// shared.
fn with_locks(alone: u32, shared: u32, work: &mut dyn FnMut()) {
    let both = alone | shared;
    let Some(lock) = lock(both) else {
        return work();
    };
    // All but the lowest bit.
    let left = both & both.wrapping_sub(1);
    if alone & !left != 0 {
        let _guard = lock.write().unwrap_or_else(PoisonError::into_inner);
        with_locks(alone & left, shared & left, work);
    } else {
        let _guard = lock.read().unwrap_or_else(PoisonError::into_inner);
        with_locks(alone & left, shared & left, work);
    }
}

/// What `work` returns, called with the locks of two sets.
fn locked<T>(alone: u32, shared: u32, work: impl FnOnce() -> T) -> T {
    let (mut work, mut result) = (Some(work), None);
    with_locks(alone, shared, &mut || result = work.take().map(|work| work()));
    result.expect("`with_locks` calls the work once")
}

/// Makes streams of one context wait for one another, by an event that is recorded anew each time.
pub(crate) struct Crossing(Mutex<CudaEvent>);

impl Crossing {
    /// For the streams of a context.
    pub(crate) fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        Ok(Self(Mutex::new(context.new_event(None)?)))
    }

    /// Makes a stream wait for what another one has to do so far. Their context is bound to this thread.
    fn wait(&self, stream: &CudaStream, other: &CudaStream) -> Result<(), DriverError> {
        // A wait is for what the event recorded last: nobody else may record it in between. Afterwards anybody may.
        let event = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the event and the streams exist, in one context.
        unsafe {
            result::event::record(event.cu_event(), other.cu_stream())?;
            result::stream::wait_event(stream.cu_stream(), event.cu_event(), WaitFlags::CU_EVENT_WAIT_DEFAULT)
        }
    }
}

/// Whether two handles are to one stream.
#[inline]
fn same(a: &Arc<CudaStream>, b: &Arc<CudaStream>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Submits work on the home stream of what it uses.
pub(crate) fn at_home<T>(home: &Arc<CudaStream>, work: impl FnOnce() -> T) -> T {
    let _guard = shared_lock(lock_of(home));
    work()
}

/// Submits work to `stream` that uses memory of the streams `homes`.
///
/// If what was submitted could not be waited for, it is waited for here and now.
pub(crate) fn ordered<'s, E: From<DriverError>>(
    crossing: &Crossing,
    stream: &Arc<CudaStream>,
    homes: impl Iterator<Item = &'s Arc<CudaStream>> + Clone,
    work: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let (mut alone, mut at_home) = (0, false);
    for home in homes.clone() {
        if same(home, stream) {
            at_home = true;
        } else {
            alone |= lock_of(home);
        }
    }
    let shared = if at_home { lock_of(stream) } else { 0 };
    if alone == 0 {
        let _guard = shared_lock(shared);
        return work();
    }
    // Each once, however many of the homes it is.
    let known = homes.clone();
    let others = homes
        .enumerate()
        .filter(|(n, home)| !same(home, stream) && !known.clone().take(*n).any(|known| same(known, home)));
    let others = others.map(|(_, home)| home);
    locked(alone, shared, || {
        for other in others.clone() {
            crossing.wait(stream, other)?;
        }
        work()?;
        for other in others {
            if let Err(error) = crossing.wait(other, stream) {
                stream.synchronize()?;
                return Err(error.into());
            }
        }
        Ok(())
    })
}

/// Whether work on a stream goes into a graph that somebody captures. The context is bound to this thread.
#[inline]
pub(crate) fn is_capturing(stream: &CudaStream) -> Result<bool, DriverError> {
    // SAFETY: the stream exists.
    let status = unsafe { result::stream::is_capturing(stream.cu_stream()) }?;
    Ok(status != CaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
}

/// Waits for all work of a context. (cudarc's own function returns at once if it has noted an error before.)
pub(crate) fn wait_for_all(context: &CudaContext) -> Result<(), DriverError> {
    // SAFETY: the context exists.
    unsafe { result::ctx::set_current(context.cu_ctx()) }?;
    result::ctx::synchronize()
}
