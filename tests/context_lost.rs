//! A context that a kernel has ended: everything in it says so. One test, since there is no way back in its process.

mod common;

use common::device;
use warpwright::Buffer;
use warpwright::buffer::BufferError;
use warpwright::launch::{Geometry, Graph, GraphError, LaunchError};
use warpwright_authoring::Kernels;
use warpwright_authoring::made::{AddArrays, MulArrays};

#[test]
fn a_lost_context_is_named() {
    let device = device();
    let kernels = Kernels::load(&device.context).unwrap();
    let stream = &device.stream;
    let a = Buffer::from_host(stream, &[1.0f32; 4]).unwrap();
    let mut out = Buffer::from_host(stream, &[0.0f32; 4]).unwrap();
    let graph = Graph::record(&kernels, |graph| {
        AddArrays { a: &a, b: &a, out: &mut out, n: 4 }.launch(graph)?;
        Ok(())
    })
    .unwrap();
    let geometry = Geometry { blocks: [1 << 22, 1, 1], threads: [256, 1, 1], ..Geometry::default() };
    // SAFETY: there is none: the kernel goes far beyond its buffers, which ends the context and touches nothing else.
    unsafe { MulArrays { a: &a, b: &a, out: &mut out, n: u32::MAX }.launch(&kernels.on(stream), geometry) }.unwrap();

    let lost = out.read().unwrap_err();
    assert!(matches!(lost, BufferError::ContextLost(_)), "{lost}");
    let lost = AddArrays { a: &a, b: &a, out: &mut out, n: 4 }.launch(&kernels.on(stream)).unwrap_err();
    assert!(matches!(lost, LaunchError::ContextLost { kernel: "add_arrays", .. }), "{lost}");
    assert!(lost.to_string().contains("open the device anew"));
    let lost = graph.launch(stream).unwrap_err();
    assert!(matches!(lost, GraphError::ContextLost(_)), "{lost}");
    let lost = Buffer::from_host(stream, &[1u8]).unwrap_err();
    assert!(matches!(lost, BufferError::ContextLost(_)), "{lost}");
}
