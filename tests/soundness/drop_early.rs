//! Memory and modules that are let go while the device still uses them.

use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::launch::Graph;

use crate::common::device;
use crate::{DIM, assert_ones, assert_usable, launch};

#[test]
fn buffers_dropped_after_the_launch() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut out = Buffer::zeroed(&device.stream, 8 * DIM).unwrap();
    for _ in 0..4 {
        let x = Buffer::from_host(&device.stream, &vec![3.0f32; 8 * DIM]).unwrap();
        let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
        launch(&queue, &x, &weight, &mut out).unwrap();
        drop((x, weight));
        // New memory, with something else in it, while the launch may be running.
        drop(Buffer::from_host(&device.stream, &vec![9.0f32; 8 * DIM]).unwrap());
    }
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn buffers_dropped_after_a_launch_on_another_stream() {
    let device = device();
    let other = device.context.new_stream().unwrap();
    let mut out = Buffer::zeroed(&other, 8 * DIM).unwrap();
    let x = Buffer::from_host(&device.stream, &vec![3.0f32; 8 * DIM]).unwrap();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    launch(&device.kernels.on(&other), &x, &weight, &mut out).unwrap();
    drop((x, weight));
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn kernels_dropped_after_the_launch() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &vec![3.0f32; 8 * DIM]).unwrap();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 8 * DIM).unwrap();
    let kernels = Kernels::load(&device.context).unwrap();
    launch(&kernels.on(&device.stream), &x, &weight, &mut out).unwrap();
    drop(kernels);
    assert_ones(&out);
}

#[test]
fn a_graph_keeps_what_it_names() {
    let device = device();
    let (graph, out) = {
        let kernels = Kernels::load(&device.context).unwrap();
        let x = Buffer::from_host(&device.stream, &vec![3.0f32; DIM]).unwrap();
        let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
        let mut out = Buffer::zeroed(&device.stream, DIM).unwrap();
        let graph = Graph::record(&kernels, |graph| {
            launch(graph, &x, &weight, &mut out)?;
            // a part of a buffer keeps all of it
            launch(graph, &x.slice(..64).unwrap(), &weight.slice(..64).unwrap(), &mut out.slice(64..128).unwrap())?;
            Ok(())
        });
        (graph.unwrap(), out)
    };
    assert_eq!(graph.launches(), 2);
    let fill = Buffer::from_host(&device.stream, &vec![9.0f32; 4 * DIM]).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_ones(&out);
    drop(fill);
    // dropped while it may be running
    graph.launch(&device.stream).unwrap();
    drop(graph);
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn streams_dropped_with_work_in_them() {
    let device = device();
    let mut outs = Vec::new();
    for _ in 0..4 {
        let stream = device.context.new_stream().unwrap();
        let x = Buffer::from_host(&stream, &vec![3.0f32; DIM]).unwrap();
        let weight = Buffer::from_host(&stream, &vec![1.0f32; DIM]).unwrap();
        let mut out = Buffer::zeroed(&stream, DIM).unwrap();
        launch(&device.kernels.on(&stream), &x, &weight, &mut out).unwrap();
        outs.push(out);
    }
    outs.iter().for_each(assert_ones);
}
