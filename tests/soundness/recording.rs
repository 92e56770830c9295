//! Recordings that fail, and what is left of them: nothing.

use warpwright::Buffer;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::launch::{Graph, GraphError, LaunchError};

use crate::common::device;
use crate::{assert_ones, assert_usable, launch};

#[test]
fn a_failed_recording_leaves_everything_usable() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    for _ in 0..3 {
        let failed = Graph::<()>::record(&device.kernels, |graph| {
            launch(graph, &x, &weight, &mut out)?;
            RmsNorm { x: &x, weight: &weight, out: &mut out, rows: 2, dim: 64, eps: 0.0 }.launch(graph)?;
            unreachable!("the second launch is wrong");
        });
        assert!(matches!(failed, Err(GraphError::Launch(LaunchError::Length { .. }))));
        // Nothing of it has run.
        assert!(out.read().unwrap().iter().all(|x| *x == 0.0));
    }
    assert_usable(&device.kernels, &device.stream);

    // The caller may launch directly instead, or record again.
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &x, &weight, &mut out)?)).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_ones(&out);
}

#[test]
fn a_panic_in_a_recording_leaves_everything_usable() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Graph::<()>::record(&device.kernels, |graph| {
            launch(graph, &x, &weight, &mut out)?;
            panic!("in the middle")
        })
    }));
    assert!(panicked.is_err());
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn an_empty_graph_does_nothing() {
    let device = device();
    let graph = Graph::record(&device.kernels, |_| Ok(())).unwrap();
    assert_eq!(graph.launches(), 0);
    graph.launch(&device.stream).unwrap();
    assert_usable(&device.kernels, &device.stream);
}

/// Replays on two streams follow one another, as uses of their buffers do.
#[test]
fn a_graph_on_several_streams() {
    let device = device();
    let streams = [(); 2].map(|()| device.context.new_stream().unwrap());
    let mut x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &x, &weight, &mut out)?)).unwrap();
    std::thread::scope(|scope| {
        for stream in &streams {
            scope.spawn(|| (0..20).for_each(|_| graph.launch(stream).unwrap()));
        }
    });
    assert_ones(&out);
    // inputs change through the same buffers
    x.write(&[-3.0; 64]).unwrap();
    graph.launch(&streams[0]).unwrap();
    assert!(out.read().unwrap().iter().all(|x| (x + 1.0).abs() < 1e-5));
}
