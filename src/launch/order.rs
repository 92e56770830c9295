//! The order of uses of one buffer on several streams, and from several threads.
//!
//! Every buffer belongs to a stream, its home. Work on another stream waits for the home, and the home for the work, so
//! all uses are in one order: that in which the home sees them. Between the two waits the home must see nothing else, or
//! that would run beside the work. (A kernel that checks an index relies on the index not changing.) Handles to one
//! buffer may be on several threads, so there is a lock: work on the home stream takes it shared, work elsewhere takes it
//! alone. There are a few locks, and a home has one by its address; which other homes share it does not matter.

use std::sync::{Arc, PoisonError, RwLock};

use cudarc::driver::sys::CUstreamCaptureStatus_enum as CaptureStatus;
use cudarc::driver::{CudaStream, DriverError, result};

/// As many as there are bits in the sets below.
static LOCKS: [RwLock<()>; 32] = [const { RwLock::new(()) }; 32];

/// The lock of a home, as a set of one.
fn lock_of(home: &CudaStream) -> u32 {
    let address = home.cu_stream() as u64 ^ (home.context().cu_ctx() as u64).rotate_left(32);
    // Fibonacci hashing: the upper bits of the product depend on all of the address.
    1 << (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - LOCKS.len().ilog2()))
}

/// Calls `work` with the locks of two sets, in the order of their numbers: those of `alone` alone, those of `shared`
/// shared.
fn with_locks(alone: u32, shared: u32, work: &mut dyn FnMut()) {
    let next = (alone | shared).trailing_zeros();
    let Some(lock) = LOCKS.get(next as usize) else {
        return work();
    };
    let left = !(1 << next);
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

/// Whether two handles are to one stream.
fn same(a: &Arc<CudaStream>, b: &Arc<CudaStream>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Submits work on the home stream of what it uses.
pub(crate) fn at_home<T>(home: &Arc<CudaStream>, work: impl FnOnce() -> T) -> T {
    locked(0, lock_of(home), work)
}

/// Submits work to `stream` that uses memory of the streams `homes`.
///
/// If what was submitted could not be waited for, it is waited for here and now.
pub(crate) fn ordered<'s, E: From<DriverError>>(
    stream: &Arc<CudaStream>,
    homes: impl Iterator<Item = &'s Arc<CudaStream>> + Clone,
    work: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let others = homes.clone().filter(|home| !same(home, stream));
    let alone = others.clone().fold(0, |set, home| set | lock_of(home));
    let shared = homes.filter(|home| same(home, stream)).take(1).fold(0, |set, home| set | lock_of(home));
    locked(alone, shared, || {
        for other in others.clone() {
            stream.join(other)?;
        }
        work()?;
        for other in others {
            if let Err(error) = other.join(stream) {
                stream.synchronize()?;
                return Err(error.into());
            }
        }
        Ok(())
    })
}

/// Whether work on a stream goes into a graph that somebody captures. The context is bound to this thread.
pub(crate) fn is_capturing(stream: &CudaStream) -> Result<bool, DriverError> {
    // SAFETY: the stream exists.
    let status = unsafe { result::stream::is_capturing(stream.cu_stream()) }?;
    Ok(status != CaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
}
