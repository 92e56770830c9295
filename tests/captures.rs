//! Captures of foreign work that fail, and what is left of them: nothing.

mod common;

use std::sync::Arc;

use common::{Device, device};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{DriverError, result};
use warpwright::launch::{Graph, GraphError, Recording};
use warpwright::{Buffer, Stream};

/// Records a fill of ones, and captured work that makes twos of half of them.
fn record<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    device: &Device,
    out: &mut Buffer<u8>,
    work: impl FnOnce(&Stream) -> Result<(), E>,
) -> Result<Graph, GraphError> {
    Graph::record(&device.kernels, |graph| {
        graph.fill(out, 1)?;
        capture(graph, out, work)
    })
}

fn capture<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    graph: &Recording<'_, warpwright::kernel::Set>,
    out: &Buffer<u8>,
    work: impl FnOnce(&Stream) -> Result<(), E>,
) -> Result<(), GraphError> {
    let kept = out.clone();
    // SAFETY: what is returned keeps the memory, and nothing else uses it at the same time.
    unsafe {
        graph.capture(|stream| -> Result<Buffer<u8>, Box<dyn std::error::Error + Send + Sync>> {
            result::memset_d8_async(kept.address(), 2, kept.len() / 2, stream.cu_stream())?;
            work(stream).map_err(Into::into)?;
            Ok(kept)
        })
    }
}

/// The next capture and the next launch find nothing of a failed one.
fn assert_usable(device: &Device) {
    let mut out = Buffer::<u8>::zeroed(&device.stream, 4).unwrap();
    let graph = record(device, &mut out, |_| Ok::<_, DriverError>(())).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_eq!(out.read().unwrap(), [2, 2, 1, 1]);
    device.context.check_err().unwrap();
    device.context.synchronize().unwrap();
}

#[test]
fn work_that_fails() {
    let device = device();
    let mut out = Buffer::<u8>::zeroed(&device.stream, 4).unwrap();
    for _ in 0..3 {
        let failed = record(&device, &mut out, |_| Err("no weights")).unwrap_err();
        let GraphError::Work(failure) = &failed else { panic!("{failed}") };
        assert_eq!(failure.to_string(), "no weights");
        assert_eq!(failed.to_string(), "the work that was captured failed: no weights");
    }
    // with the driver's code, where it has one
    let failed = record(&device, &mut out, |_| Err(DriverError(CUresult::CUDA_ERROR_NOT_FOUND))).unwrap_err();
    let GraphError::Work(failure) = &failed else { panic!("{failed}") };
    assert_eq!(failure.get().downcast_ref(), Some(&DriverError(CUresult::CUDA_ERROR_NOT_FOUND)));
    assert_eq!(out.read().unwrap(), [0; 4]);
    assert_usable(&device);
}

#[test]
fn work_that_cannot_be_captured() {
    let device = device();
    let mut out = Buffer::<u8>::zeroed(&device.stream, 4).unwrap();
    // Waiting ends a capture, and here the work does not say so.
    let waits = record(&device, &mut out, |stream| {
        assert!(stream.synchronize().is_err());
        Ok::<_, DriverError>(())
    });
    let error = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_eq!(waits.unwrap_err(), GraphError::Capture { error });
    assert_usable(&device);
    // cudarc notes errors where it cannot return them.
    let noted = record(&device, &mut out, |stream| {
        stream.context().record_err(Err::<(), _>(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE)));
        Ok::<_, DriverError>(())
    });
    let error = DriverError(CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(noted.unwrap_err(), GraphError::Capture { error });
    assert_usable(&device);
    // The capture is not the work's to end.
    let ended = record(&device, &mut out, |stream| {
        // SAFETY: the stream is being captured; the graph is left to the driver.
        unsafe { result::stream::end_capture(stream.cu_stream()) }.map(|_| ())
    });
    assert!(matches!(ended, Err(GraphError::Capture { .. })));
    assert_usable(&device);
}

#[test]
fn a_panic_in_captured_work() {
    let device = device();
    let mut out = Buffer::<u8>::zeroed(&device.stream, 4).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        record(&device, &mut out, |_| -> Result<(), DriverError> { panic!("in the middle") })
    }));
    assert!(panicked.is_err());
    assert_usable(&device);
    // The recording goes on if the caller wants it to.
    let graph = Graph::record(&device.kernels, |graph| {
        graph.fill(&mut out, 3)?;
        let work = |_: &Stream| -> Result<(), DriverError> { panic!("in the middle") };
        let panicking = std::panic::AssertUnwindSafe(|| capture(graph, &out, work));
        assert!(std::panic::catch_unwind(panicking).is_err());
        graph.copy(&out.slice(..2).unwrap(), &mut out.slice(2..).unwrap())
    });
    graph.unwrap().launch(&device.stream).unwrap();
    assert_eq!(out.read().unwrap(), [3; 4]);
    assert_usable(&device);
}

/// Captures on one thread do not keep others from allocating, and launching.
#[test]
fn a_capture_does_not_disturb_other_threads() {
    let device = device();
    let mut out = Buffer::<u8>::zeroed(&device.stream, 4).unwrap();
    let graph = record(&device, &mut out, |_| {
        std::thread::scope(|scope| scope.spawn(|| assert_usable(&device)).join()).unwrap();
        Ok::<_, DriverError>(())
    });
    graph.unwrap().launch(&device.stream).unwrap();
    assert_eq!(out.read().unwrap(), [2, 2, 1, 1]);
}

/// What captured work needs is let go when no replay can need it any more.
#[test]
fn what_is_kept_outlives_the_replays() {
    struct Waited(Arc<Stream>, Buffer<u32>);
    impl Drop for Waited {
        fn drop(&mut self) {
            // The replay on another stream is done: nothing is left to wait for.
            // SAFETY: the stream exists.
            let done = unsafe { cudarc::driver::sys::cuStreamQuery(self.0.cu_stream()) };
            assert!(done.result().is_ok() || std::thread::panicking());
            assert!(!self.1.is_empty());
        }
    }
    let device = device();
    let other = Arc::new(device.context.new_stream().unwrap());
    let out = Buffer::<u32>::zeroed(&device.stream, 1 << 22).unwrap();
    // A graph does not know what captured work touches: that it comes after the zeros is for the caller to see to.
    device.stream.synchronize().unwrap();
    let graph = Graph::record(&device.kernels, |graph| {
        let kept = Waited(Arc::clone(&other), out.clone());
        // SAFETY: what is returned keeps the memory, and nothing else uses it at the same time.
        unsafe {
            graph.capture(|stream| {
                for value in 0..20 {
                    result::memset_d8_async(kept.1.address(), value, kept.1.bytes(), stream.cu_stream())?;
                }
                Ok::<_, DriverError>(kept)
            })
        }
    })
    .unwrap();
    graph.launch(&other).unwrap();
    drop(graph);
    assert_eq!(out.slice(..1).unwrap().read().unwrap(), [0x1313_1313]);
}
