//! Streams that are captured through cudarc, where a graph would hold pointers that nobody keeps.

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use warpwright::buffer::BufferError;
use warpwright::launch::{Graph, GraphError, LaunchError};
use warpwright::{Buffer, Stream};

use crate::common::device;
use crate::{assert_ones, assert_usable, launch};

fn begin(stream: &Stream) {
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
}

/// Ends a capture, however it went: only that nothing is left of it matters.
fn end(stream: &Stream) {
    let _ = stream.end_capture(CUgraphInstantiate_flags(0));
    let _ = stream.context().check_err();
}

#[test]
fn nothing_of_ours_goes_into_a_capture() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    let queue = device.kernels.on(&device.stream);
    launch(&queue, &x, &weight, &mut out).unwrap();
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &x, &weight, &mut out)?)).unwrap();

    begin(&device.stream);
    assert_eq!(launch(&queue, &x, &weight, &mut out).unwrap_err(), LaunchError::Capturing { kernel: "rms_norm" });
    assert_eq!(graph.launch(&device.stream).unwrap_err(), GraphError::Capturing);
    assert_eq!(out.read().unwrap_err(), BufferError::Capturing);
    assert_eq!(out.write(&[0.0; 64]).unwrap_err(), BufferError::Capturing);
    assert_eq!(Buffer::<f32>::zeroed(&device.stream, 8).unwrap_err(), BufferError::Capturing);
    end(&device.stream);

    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn nor_through_the_home_of_a_buffer() {
    let device = device();
    let home = device.context.new_stream().unwrap();
    let x = Buffer::from_host(&home, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    let graph = Graph::record(&device.kernels, |graph| Ok(launch(graph, &x, &weight, &mut out)?)).unwrap();
    begin(&home);
    let queue = device.kernels.on(&device.stream);
    assert_eq!(launch(&queue, &x, &weight, &mut out).unwrap_err(), LaunchError::Capturing { kernel: "rms_norm" });
    assert_eq!(graph.launch(&device.stream).unwrap_err(), GraphError::Capturing);
    end(&home);
    graph.launch(&device.stream).unwrap();
    assert_ones(&out);
    assert_usable(&device.kernels, &home);
}

#[test]
fn a_buffer_dropped_in_a_capture_is_no_part_of_it() {
    let device = device();
    let buffer = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    begin(&device.stream);
    drop(buffer);
    let captured = device.stream.end_capture(CUgraphInstantiate_flags(0)).unwrap();
    if let Some(captured) = captured {
        captured.launch().unwrap();
        captured.launch().unwrap();
    }
    assert_usable(&device.kernels, &device.stream);
}
