//! Graphs that are changed while they are replayed.

use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use warpwright::Buffer;
use warpwright::launch::{Graph, GraphError, LaunchError};

use crate::common::{Device, device};
use crate::{DIM, assert_ones, assert_usable, launch};

fn threes(device: &Device) -> Buffer<f32> {
    Buffer::from_host(&device.stream, &vec![3.0f32; DIM]).unwrap()
}

#[test]
fn an_update_may_not_make_a_race() {
    let device = device();
    let (x, weight) = (threes(&device), Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap());
    let [mut a, mut b, mut c] = [(); 3].map(|()| Buffer::zeroed(&device.stream, DIM).unwrap());
    let graph = Graph::record(&device.kernels, |graph| {
        let (first, second) = graph
            .fork(|graph| Ok(launch(graph, &x, &weight, &mut a)?), |graph| Ok(launch(graph, &x, &weight, &mut b)?))?;
        Ok([first, second])
    })
    .unwrap();
    let [first, second] = graph.nodes();
    let race = |parameter, other_parameter| {
        let (kernel, other_kernel) = ("rms_norm", "rms_norm");
        Err(LaunchError::Race { kernel, parameter, other_kernel, other_parameter })
    };
    assert_eq!(launch(&graph.update(second), &x, &weight, &mut a), race("out", "out"));
    assert_eq!(launch(&graph.update(second), &a, &weight, &mut c), race("x", "out"));
    // It counts what the other branch does now, not what it did.
    launch(&graph.update(first), &x, &weight, &mut c).unwrap();
    launch(&graph.update(second), &x, &weight, &mut a).unwrap();
    assert_eq!(launch(&graph.update(first), &x, &weight, &mut a), race("out", "out"));
    graph.launch(&device.stream).unwrap();
    assert_ones(&a);
    assert_ones(&c);
    assert!(b.read().unwrap().iter().all(|x| *x == 0.0));
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn buffers_dropped_after_an_update() {
    let device = device();
    let other = device.context.new_stream().unwrap();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, DIM).unwrap();
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &threes(&device), &weight, &mut out)?));
    let graph = graph.unwrap();
    for round in 0..8 {
        graph.launch(&other).unwrap();
        // The old buffer goes while the replay may be running, and its memory is taken by the new ones. The new one is of
        // another home each time, and the graph is all that keeps it.
        let home = if round % 2 == 0 { &other } else { &device.stream };
        let x = Buffer::from_host(home, &vec![5.0f32; DIM]).unwrap();
        launch(&graph.update(graph.nodes()), &x, &weight, &mut out).unwrap();
        drop(x);
        drop(Buffer::from_host(home, &vec![f32::NAN; DIM]).unwrap());
        assert_ones(&out);
    }
    graph.launch(&device.stream).unwrap();
    drop(graph);
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn a_failed_update_changes_nothing() {
    let device = device();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, DIM).unwrap();
    let graph = {
        let x = threes(&device);
        Graph::record(&device.kernels, |graph| Ok(launch(graph, &x, &weight, &mut out)?)).unwrap()
    };
    let update = graph.update(graph.nodes());
    let short = Buffer::from_host(&device.stream, &[9.0f32; 3]).unwrap();
    assert!(matches!(launch(&update, &short, &weight, &mut out), Err(LaunchError::Length { .. })));
    let overlap = launch(&update, &out.clone(), &weight, &mut out);
    assert!(matches!(overlap, Err(LaunchError::Overlap { written: "out", other: "x", .. })));
    drop(short);
    drop(Buffer::from_host(&device.stream, &vec![f32::NAN; DIM]).unwrap());
    graph.launch(&device.stream).unwrap();
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

/// A replay waits for the home of a buffer that came with an update, so it cannot be while that is captured.
#[test]
fn a_new_buffer_brings_its_home() {
    let device = device();
    let home = device.context.new_stream().unwrap();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, DIM).unwrap();
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &threes(&device), &weight, &mut out)?));
    let graph = graph.unwrap();
    let x = Buffer::from_host(&home, &vec![3.0f32; DIM]).unwrap();
    let launch_while_captured = || {
        home.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        let launched = graph.launch(&device.stream);
        drop(home.end_capture(CUgraphInstantiate_flags(0)).unwrap());
        launched
    };
    launch_while_captured().unwrap();
    launch(&graph.update(graph.nodes()), &x, &weight, &mut out).unwrap();
    assert_eq!(launch_while_captured(), Err(GraphError::Capturing));
    launch(&graph.update(graph.nodes()), &threes(&device), &weight, &mut out).unwrap();
    launch_while_captured().unwrap();
    assert_ones(&out);
    assert_usable(&device.kernels, &home);
}

/// Whatever the order of updates and replays is, a replay is of one of them.
#[test]
fn threads_that_update_and_replay() {
    let device = device();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let mut out = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &threes(&device), &weight, &mut out)?));
    let graph = graph.unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let stream = device.context.new_stream().unwrap();
                let mut out = out.clone();
                for n in 0..15u8 {
                    let x = Buffer::from_host(&stream, &vec![f32::from(n) + 1.0; DIM]).unwrap();
                    launch(&graph.update(graph.nodes()), &x, &weight, &mut out).unwrap();
                    graph.launch(&stream).unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                graph.launch(&device.stream).unwrap();
                device.stream.synchronize().unwrap();
            }
        });
    });
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}
