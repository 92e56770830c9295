//! Graphs: every kind of node, forks, and updates between replays.

mod common;

use std::sync::Arc;

use bytemuck::Pod;
use common::{Device, device};
use cudarc::driver::{DriverError, result};
use warpwright::Buffer;
use warpwright::kernel::Set;
use warpwright::kernel::matmul_prefill::MatmulPrefillQ1_0;
use warpwright::kernel::silu_mul::SiluMul;
use warpwright::launch::{Graph, GraphError, LaunchError, Target};
use warpwright::types::f16;
use warpwright_authoring::hopper::TwiceAfter;

const DIM: usize = 1000;

fn silu(gate: f32, up: f32) -> f32 {
    gate / (1.0 + (-gate).exp()) * up
}

fn buffer<T: Pod>(device: &Device, elements: &[T]) -> Buffer<T> {
    Buffer::from_host(&device.stream, elements).unwrap()
}

/// A gate of all `gate`, and ones to be gated.
fn gates(device: &Device, gate: f32) -> Buffer<f32> {
    buffer(device, &[vec![gate; DIM], vec![1.0; DIM]].concat())
}

fn zeros(device: &Device) -> Buffer<f32> {
    Buffer::zeroed(&device.stream, DIM).unwrap()
}

fn gate<Q: Target<Set = Set>>(
    onto: &Q,
    gate_up: &Buffer<f32>,
    out: &mut Buffer<f32>,
) -> Result<Q::Launched, LaunchError> {
    SiluMul { gate_up, out, rows: 1, dim: DIM as u32 }.launch(onto)
}

#[track_caller]
fn assert_all(out: &Buffer<f32>, expected: f32) {
    let found = out.read().unwrap();
    assert!(found.iter().all(|x| (x - expected).abs() < 1e-5), "{} is not {expected}", found[0]);
}

/// One row of `+1` in 128 columns, which adds 128 times the number that all of `x` are.
struct Adder {
    words: Buffer<u32>,
    scales: Buffer<f16>,
    x: Buffer<f32>,
}

impl Adder {
    fn new(device: &Device, x: f32) -> Self {
        let (words, scales) = (buffer(device, &[0; 256]), buffer(device, &[f16::ONE; 64]));
        Self { words, scales, x: buffer(device, &[x; 128]) }
    }

    fn add<Q: Target<Set = Set>>(&self, onto: &Q, y: &mut Buffer<f32>) -> Result<Q::Launched, LaunchError> {
        let Self { words, scales, x } = self;
        MatmulPrefillQ1_0 { words, scales, x, y, rows: 1, chunks: 1, tokens: 1, stride: 1, offset: 0, add: true }
            .launch(onto)
    }
}

#[test]
fn copies_fills_and_uploads() {
    let device = device();
    let mut bytes = Buffer::<u8>::zeroed(&device.stream, 7).unwrap();
    let mut halves = Buffer::<f16>::zeroed(&device.stream, 7).unwrap();
    let mut words = Buffer::<i32>::zeroed(&device.stream, 7).unwrap();
    let mut nothing = Buffer::<u32>::zeroed(&device.stream, 0).unwrap();
    let (mut wide, source) = (buffer(&device, &[0u64; 5]), buffer(&device, &[1u64, 2, 3, 4, 5]));
    let mut copied = buffer(&device, &[0u64; 3]);
    let mut host = vec![1.5f32, 2.5];
    let mut uploaded = buffer(&device, &[0.0f32; 2]);
    let graph = Graph::record(&device.kernels, |graph| {
        graph.fill(&mut bytes.slice(1..6).unwrap(), 0xab)?;
        graph.fill(&mut halves, f16::from_f32(-2.0))?;
        graph.fill(&mut words, -3)?;
        graph.fill(&mut nothing, 9)?;
        graph.copy(&source, &mut wide)?;
        graph.copy(&wide.slice(2..).unwrap(), &mut copied)?;
        graph.upload(&host, &mut uploaded)?;
        graph.upload(&[], &mut nothing)
    })
    .unwrap();
    // What is uploaded is what the host had.
    host.fill(9.0);
    drop(host);
    for _ in 0..2 {
        bytes.write(&[1; 7]).unwrap();
        uploaded.write(&[0.0; 2]).unwrap();
        graph.launch(&device.stream).unwrap();
        assert_eq!(bytes.read().unwrap(), [1, 0xab, 0xab, 0xab, 0xab, 0xab, 1]);
        assert_eq!(halves.read().unwrap(), [f16::from_f32(-2.0); 7]);
        assert_eq!(words.read().unwrap(), [-3; 7]);
        assert_eq!(copied.read().unwrap(), [3, 4, 5]);
        assert_eq!(uploaded.read().unwrap(), [1.5, 2.5]);
    }
    assert_eq!(graph.launches(), 0);
}

#[test]
fn copies_and_fills_that_are_refused() {
    let device = device();
    let (x, mut y) = (buffer(&device, &[1u64, 2, 3]), buffer(&device, &[0u64; 2]));
    Graph::record(&device.kernels, |graph| {
        assert_eq!(graph.copy(&x, &mut y).unwrap_err(), GraphError::Length { from: 3, to: 2 });
        assert_eq!(graph.upload(&[1, 2, 3], &mut y).unwrap_err(), GraphError::Length { from: 3, to: 2 });
        assert_eq!(graph.fill(&mut y, 1).unwrap_err(), GraphError::Width(8));
        let overlap = LaunchError::Overlap { kernel: "copy", written: "to", other: "from" };
        let copied = graph.copy(&x.slice(..2).unwrap(), &mut x.slice(1..).unwrap());
        assert_eq!(copied.unwrap_err(), GraphError::Launch(overlap));
        Ok(())
    })
    .unwrap();
}

/// What comes after a fork sees both branches, and both see what came before; branches may be empty or fork again.
#[test]
fn forks() {
    let device = device();
    let mut sums = [(); 4].map(|()| buffer(&device, &[0.0f32]));
    let (one, four) = (Adder::new(&device, 1.0 / 128.0), Adder::new(&device, 4.0 / 128.0));
    let all = buffer(&device, &[0.0f32; 4]);
    let graph = Graph::record(&device.kernels, |graph| {
        let [a, b, c, d] = &mut sums;
        for sum in [&mut *a, b, c, d] {
            graph.fill(sum, 1.0)?;
        }
        let (nodes, ()) = graph.fork(
            |graph| Ok([one.add(graph, a)?, four.add(graph, a)?]),
            |graph| {
                graph.fork(|graph| Ok(one.add(graph, b)?), |graph| Ok(four.add(graph, c)?))?;
                graph.fork(|_| Ok(()), |graph| graph.copy(c, d))?;
                // after both branches of the inner fork
                graph.copy(b, c)
            },
        )?;
        graph.fork(|_| Ok(()), |_| Ok(()))?;
        for (n, sum) in sums.iter().enumerate() {
            graph.copy(sum, &mut all.slice(n..=n).unwrap())?;
        }
        Ok(nodes)
    })
    .unwrap();
    assert_eq!(graph.launches(), 4);
    for _ in 0..2 {
        graph.launch(&device.stream).unwrap();
        assert_eq!(all.read().unwrap(), [6.0, 2.0, 2.0, 5.0]);
    }
    assert_eq!(graph.nodes()[0].kernel().name, "matmul_prefill<Q1_0>");
}

#[test]
fn branches_may_read_the_same() {
    let device = device();
    let x = gates(&device, 2.0);
    let (mut a, mut b) = (zeros(&device), zeros(&device));
    let graph = Graph::record(&device.kernels, |graph| {
        graph.fork(|graph| Ok(gate(graph, &x, &mut a)?), |graph| Ok(gate(graph, &x, &mut b)?))
    })
    .unwrap();
    graph.launch(&device.stream).unwrap();
    assert_all(&a, silu(2.0, 1.0));
    assert_all(&b, silu(2.0, 1.0));
}

#[test]
fn a_graph_in_a_graph_keeps_what_it_names() {
    let device = device();
    let mut out = buffer(&device, &[0.0f32]);
    let parent = {
        let kernels = warpwright::kernel::Kernels::load(&device.context).unwrap();
        let (one, mut sum) = (Adder::new(&device, 1.0 / 128.0), buffer(&device, &[0.0f32]));
        let child = Graph::record(&kernels, |graph| {
            graph.upload(&[5.0], &mut sum)?;
            Ok(one.add(graph, &mut sum)?)
        })
        .unwrap();
        Graph::record(&device.kernels, |graph| {
            graph.child(&child)?;
            one.add(graph, &mut sum)?;
            graph.copy(&sum, &mut out)
        })
        .unwrap()
    };
    assert_eq!(parent.launches(), 2);
    for _ in 0..2 {
        parent.launch(&device.stream).unwrap();
        assert_eq!(out.read().unwrap(), [7.0]);
    }
}

#[test]
fn numbers_and_buffers_change_between_replays() {
    let device = device();
    let (one, two) = (Adder::new(&device, 1.0 / 128.0), Adder::new(&device, 2.0 / 128.0));
    let (mut first, mut second) = (buffer(&device, &[0.0f32]), buffer(&device, &[0.0f32]));
    let x = gates(&device, 1.0);
    let mut out = zeros(&device);
    let graph = Graph::record(&device.kernels, |graph| {
        let nodes = (one.add(graph, &mut first)?, gate(graph, &x, &mut out)?);
        Ok(nodes)
    })
    .unwrap();
    let (adder, gated) = graph.nodes();
    graph.launch(&device.stream).unwrap();
    two.add(&graph.update(adder), &mut first).unwrap();
    graph.launch(&device.stream).unwrap();
    two.add(&graph.update(adder), &mut second).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_eq!((first.read().unwrap()[0], second.read().unwrap()[0]), (3.0, 2.0));

    // Another length is another grid.
    let half = DIM / 2;
    let shorter = buffer(&device, &[vec![3.0f32; half], vec![1.0; half]].concat());
    let mut out = out.slice(half..).unwrap();
    SiluMul { gate_up: &shorter, out: &mut out, rows: 1, dim: half as u32 }.launch(&graph.update(gated)).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_all(&out, silu(3.0, 1.0));
    assert_eq!(graph.launches(), 2);
}

#[test]
fn an_update_is_checked_as_a_launch_is() {
    let device = device();
    let (x, y) = (gates(&device, 1.0), gates(&device, 2.0));
    let mut out = zeros(&device);
    let record = |out: &mut Buffer<f32>| Graph::record(&device.kernels, |graph| Ok(gate(graph, &x, out)?)).unwrap();
    let (graph, other) = (record(&mut out), record(&mut out));
    let update = graph.update(graph.nodes());
    let failed = SiluMul { gate_up: &y, out: &mut out, rows: 1, dim: 7 }.launch(&update);
    assert!(matches!(failed, Err(LaunchError::Length { parameter: "gate_up", .. })));
    let failed = gate(&graph.update(other.nodes()), &y, &mut out);
    assert_eq!(failed, Err(LaunchError::OtherGraph { kernel: "silu_mul" }));
    let failed = Adder::new(&device, 1.0).add(&update, &mut out.slice(..1).unwrap());
    let (kernel, recorded) = ("matmul_prefill<Q1_0>", "silu_mul");
    assert_eq!(failed, Err(LaunchError::OtherKernel { kernel, recorded }));
    // None of these has changed anything.
    graph.launch(&device.stream).unwrap();
    assert_all(&out, silu(1.0, 1.0));
    gate(&update, &y, &mut out).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_all(&out, silu(2.0, 1.0));
    // The driver would take it as it was recorded.
    let failed = Graph::record(&device.kernels, |parent| parent.child(&graph));
    assert_eq!(failed.unwrap_err(), GraphError::ChildUpdated);
}

#[test]
fn a_launch_of_nothing_is_left_out() {
    let device = device();
    let mut empty = Buffer::<f32>::zeroed(&device.stream, 0).unwrap();
    let none = empty.clone();
    let x = gates(&device, 1.0);
    let mut out = zeros(&device);
    let graph = Graph::record(&device.kernels, |graph| {
        graph.fill(&mut out, 7.0)?;
        let nothing = SiluMul { gate_up: &none, out: &mut empty, rows: 1, dim: 0 }.launch(graph)?;
        Ok((nothing, gate(graph, &x, &mut out)?))
    })
    .unwrap();
    let (nothing, node) = graph.nodes();
    assert_eq!(graph.launches(), 1);
    let failed = gate(&graph.update(nothing), &x, &mut out);
    assert_eq!(failed, Err(LaunchError::NotRecorded { kernel: "silu_mul" }));

    SiluMul { gate_up: &none, out: &mut empty, rows: 1, dim: 0 }.launch(&graph.update(node)).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_all(&out, 7.0);
    gate(&graph.update(node), &x, &mut out).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_all(&out, silu(1.0, 1.0));
}

/// Work of somebody else, which the graph does not know but keeps alive.
#[test]
fn captured_work() {
    let device = device();
    let kept = Arc::new(());
    let mut out = buffer(&device, &[0u32; 4]);
    let (inner, address) = (buffer(&device, &[0u32; 4]), out.address());
    let graph = Graph::record(&device.kernels, |graph| {
        graph.fill(&mut out, 1)?;
        let kept = Arc::clone(&kept);
        let source = inner.clone();
        // SAFETY: what is returned keeps both buffers, and nothing else uses them at the same time.
        unsafe {
            graph.capture(|stream| -> Result<_, DriverError> {
                result::memset_d8_async(source.address(), 2, source.bytes(), stream.cu_stream())?;
                result::memcpy_dtod_async(address, source.address(), 8, stream.cu_stream())?;
                Ok((kept, source))
            })
        }
    })
    .unwrap();
    drop(inner);
    assert_eq!(Arc::strong_count(&kept), 2);
    for _ in 0..2 {
        graph.launch(&device.stream).unwrap();
        assert_eq!(out.read().unwrap(), [0x0202_0202, 0x0202_0202, 1, 1]);
    }
    // Its replays follow one another. Those of another graph with the same work in it would not.
    let parent = Graph::record(&device.kernels, |parent| parent.child(&graph));
    assert_eq!(parent.unwrap_err(), GraphError::ChildCaptured);
    drop(graph);
    assert_eq!(Arc::strong_count(&kept), 1);
}

/// Kernels of two crates in one graph, each with its own updates.
#[test]
fn kernels_of_another_crate() {
    let device = device();
    let others = warpwright_authoring::Kernels::load(&device.context).unwrap();
    let x = gates(&device, 1.0);
    let (mut a, mut b) = (zeros(&device), zeros(&device));
    let n = DIM as u32;
    let graph = Graph::record(&device.kernels, |graph| {
        let first = gate(graph, &x, &mut a)?;
        let second = graph.with(&others, |graph| Ok(TwiceAfter { x: &a, out: &mut b, n }.launch(graph)?))?;
        Ok((first, second, gate(graph, &x, &mut a)?))
    })
    .unwrap();
    drop(others);
    assert_eq!(graph.launches(), 3);
    graph.launch(&device.stream).unwrap();
    assert_all(&b, 2.0 * silu(1.0, 1.0));
    let (first, second, _) = graph.nodes();
    gate(&graph.update(first), &gates(&device, 3.0), &mut a).unwrap();
    let mut c = zeros(&device);
    TwiceAfter { x: &a, out: &mut c, n }.launch(&graph.update(second)).unwrap();
    graph.launch(&device.stream).unwrap();
    assert_all(&c, 2.0 * silu(3.0, 1.0));
    assert_all(&b, 2.0 * silu(1.0, 1.0));
}
