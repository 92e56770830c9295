//! cudarc's own safe layer, unmodified, on whatever driver there is: streams, events, copies, pinned memory, capture.

mod common;

use common::driver;
use cudarc::driver::sys::{CUevent_flags, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, DriverError};

fn context() -> warpwright::Context {
    driver();
    CudaContext::new(0).unwrap()
}

#[test]
fn a_device_describes_itself() {
    let context = context();
    assert!(!context.name().unwrap().is_empty());
    let (major, _) = context.compute_capability().unwrap();
    assert!(major >= 7);
    let (free, total) = context.mem_get_info().unwrap();
    assert!(free <= total && total == context.total_mem().unwrap());
    assert!(CudaContext::device_count().unwrap() >= 1);
    assert_eq!(CudaContext::new(1000).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_DEVICE);
}

#[test]
fn copies_go_there_and_back() {
    let stream = context().new_stream().unwrap();
    let a = stream.clone_htod(&[1.0f32, 2.0, 3.0]).unwrap();
    let mut b = stream.alloc_zeros::<f32>(5).unwrap();
    stream.memcpy_dtod(&a, &mut b.slice_mut(1..4)).unwrap();
    assert_eq!(stream.clone_dtoh(&b).unwrap(), [0.0, 1.0, 2.0, 3.0, 0.0]);
    stream.memset_zeros(&mut b.slice_mut(2..3)).unwrap();
    assert_eq!(stream.clone_dtoh(&b.slice(1..)).unwrap(), [1.0, 0.0, 3.0, 0.0]);
    let c = b.try_clone().unwrap();
    drop(b);
    assert_eq!(stream.clone_dtoh(&c).unwrap(), [0.0, 1.0, 0.0, 3.0, 0.0]);
}

#[test]
fn events_order_and_time() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let timed = Some(CUevent_flags::CU_EVENT_DEFAULT);
    let start = a.record_event(timed).unwrap();
    let data = a.clone_htod(&vec![7u32; 1 << 16]).unwrap();
    let end = a.record_event(timed).unwrap();
    b.wait(&end).unwrap();
    assert_eq!(b.clone_dtoh(&data).unwrap()[1 << 15], 7);
    end.synchronize().unwrap();
    assert!(end.is_complete());
    assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
    // an event that does not time
    let untimed = a.record_event(None).unwrap();
    assert!(start.elapsed_ms(&untimed).is_err());
    b.join(&a).unwrap();
    b.fork().unwrap().synchronize().unwrap();
}

#[test]
fn pinned_memory_is_asynchronous_and_right() {
    let context = context();
    let stream = context.new_stream().unwrap();
    // SAFETY: it is written before it is read.
    let mut pinned = unsafe { context.alloc_pinned::<u32>(1000) }.unwrap();
    pinned.as_mut_slice().unwrap().copy_from_slice(&(0..1000).collect::<Vec<_>>());
    let device = stream.clone_htod(&pinned).unwrap();
    // SAFETY: as above.
    let mut back = unsafe { context.alloc_pinned::<u32>(1000) }.unwrap();
    stream.memcpy_dtoh(&device, &mut back).unwrap();
    assert!(back.as_slice().unwrap().iter().zip(0..).all(|(found, expected)| *found == expected));
}

#[test]
fn a_capture_is_replayed() {
    let context = context();
    // SAFETY: all is on one stream.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let mut data = stream.clone_htod(&[1u32; 4]).unwrap();
    let begin = || stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    let end = || stream.end_capture(CUgraphInstantiate_flags(0));
    begin();
    stream.memset_zeros(&mut data).unwrap();
    let graph = end().unwrap().unwrap();
    // Captured, and not run.
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [1; 4]);
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [0; 4]);

    // What cannot be captured ends the capture, and nothing else.
    begin();
    assert_eq!(stream.synchronize().unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(end().map(|_| ()), Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)));
    stream.memcpy_htod(&[2u32; 4], &mut data).unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [2; 4]);
}

/// With the bindings of CUDA 13.2 and later, cudarc makes no second context of a device.
#[cfg(not(any(feature = "cuda-13020", feature = "cuda-13030", feature = "cuda-13040")))]
#[test]
fn contexts_of_ones_own() {
    driver();
    let own = CudaContext::new_non_primary(0, 0).unwrap();
    let stream = own.new_stream().unwrap();
    let data = stream.clone_htod(&[5u8; 100]).unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [5; 100]);
}

#[test]
fn threads_share_a_context() {
    let threads: Vec<_> = (0..4u8)
        .map(|n| {
            std::thread::spawn(move || {
                let stream = context().new_stream().unwrap();
                let data = stream.clone_htod(&vec![n; 10_000]).unwrap();
                assert!(stream.clone_dtoh(&data).unwrap().iter().all(|x| *x == n));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn errors_have_names() {
    driver();
    let error = DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(error.error_name().unwrap(), c"CUDA_ERROR_ILLEGAL_ADDRESS");
    assert_eq!(error.error_string().unwrap(), c"an illegal memory access was encountered");
}
