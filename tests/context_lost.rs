//! A context that a kernel has ended: everything in it says so, and a new one works. One test, since the context is that of
//! all tests in the process.

mod common;

use common::{adder, adder_tokens, device};
use warpwright::Buffer;
use warpwright::buffer::BufferError;
use warpwright::gguf::Gguf;
use warpwright::launch::{Geometry, Graph, GraphError, LaunchError};
use warpwright::model::{Model, ModelError, Session};
use warpwright_authoring::Kernels;
use warpwright_authoring::made::{AddArrays, MulArrays};

fn session(device: &common::Device) -> Session {
    let gguf = Gguf::open(adder()).unwrap();
    let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
    let mut session = Session::new(&model, &device.stream, 32).unwrap();
    session.extend(&adder_tokens("47+58=")).unwrap();
    session
}

#[test]
fn a_lost_context_is_named_and_a_new_one_works() {
    lose();
    // All of the lost context is gone.
    let device = device();
    let mut session = session(&device);
    let answer: Vec<u32> = (0..4).map(|_| session.next_token().unwrap()).collect();
    assert_eq!(answer, [1, 0, 5, common::ADDER_END]);
}

fn lose() {
    let device = device();
    let mut session = session(&device);
    session.next_token().unwrap();
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

    let is_lost = |error: ModelError| {
        assert!(error.is_context_lost(), "{error}");
    };
    is_lost(session.step().unwrap_err());
    is_lost(session.next_token().unwrap_err());
    is_lost(session.extend(&[1]).unwrap_err());
    is_lost(session.logits().unwrap_err());
    is_lost(session.fork().map(drop).unwrap_err());
    is_lost(Session::new(session.model(), &device.stream, 8).map(drop).unwrap_err());
    assert!(!session.extend(&[99]).unwrap_err().is_context_lost());
}
