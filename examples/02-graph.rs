//! Launches are recorded into a graph, which is replayed with new inputs, changed, and forked.
//!
//! `cargo run --example 02-graph`

use std::error::Error;

use warpwright::Buffer;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::kernel::silu_mul::SiluMul;
use warpwright::kernel::{Kernels, Set};
use warpwright::launch::{Graph, LaunchError, Target};
use warpwright_emulator::driver::{Choice, select};

const DIM: u32 = 4;

/// What launches onto a queue launches onto a graph too: a function of the program's own takes any target.
fn norm<Q: Target<Set = Set>>(
    onto: &Q,
    x: &Buffer<f32>,
    weight: &Buffer<f32>,
    out: &mut Buffer<f32>,
) -> Result<Q::Launched, LaunchError> {
    RmsNorm { x, weight, out, rows: 2, dim: DIM, eps: 0.0 }.launch(onto)
}

fn main() -> Result<(), Box<dyn Error>> {
    select(Choice::Auto)?;
    let context = warpwright::device::open(0)?;
    let stream = context.new_stream()?;
    let kernels = Kernels::load(&context)?;

    // A gate and what it gates, a row each.
    let mut x = Buffer::from_host(&stream, &[1.0f32; 8])?;
    let ones = Buffer::from_host(&stream, &[1.0f32; 4])?;
    let mut normed = Buffer::zeroed(&stream, 8)?;
    let mut gated = Buffer::zeroed(&stream, 4)?;

    // Nothing in here runs yet: each launch becomes a node, after the one before it. What the closure returns is kept
    // with the graph; here it is the node of the norm.
    let graph = Graph::record(&kernels, |graph| {
        let node = norm(graph, &x, &ones, &mut normed)?;
        SiluMul { gate_up: &normed, out: &mut gated, rows: 1, dim: DIM }.launch(graph)?;
        Ok(node)
    })?;

    // A replay is one call to the driver, however many nodes there are.
    graph.launch(&stream)?;
    println!("silu(1) * 1 = {:.4}", gated.read()?[0]);
    assert!((gated.read()?[0] - 0.7311).abs() < 1e-4);

    // New inputs: the buffers stay, and what is in them changes.
    x.write(&[1.0, 1.0, 1.0, 1.0, 5.0, 0.0, 0.0, 0.0])?;
    graph.launch(&stream)?;
    println!("silu(1) * 2 = {:.4}", gated.read()?[0]);
    assert!((gated.read()?[0] - 2.0 * 0.7311).abs() < 1e-4);

    // An update: the node is launched anew, with another buffer or other numbers. All is checked as for any launch.
    let twos = Buffer::from_host(&stream, &[2.0f32; 4])?;
    norm(&graph.update(graph.nodes()), &x, &twos, &mut normed)?;
    // The graph keeps what it names. Nobody else needs to.
    drop((x, ones, twos));
    graph.launch(&stream)?;
    println!("silu(2) * 4 = {:.4}", gated.read()?[0]);
    assert!((gated.read()?[0] - 4.0 * 1.7616).abs() < 1e-3);

    // A fork: two branches that may run at the same time. What one writes the other may not touch.
    let (mut a, mut b) = (Buffer::zeroed(&stream, 4)?, Buffer::zeroed(&stream, 4)?);
    let mut both = Buffer::<f32>::zeroed(&stream, 8)?;
    let forked = Graph::record(&kernels, |graph| {
        graph.upload(&[0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0], &mut both)?;
        graph.fork(
            |graph| Ok(SiluMul { gate_up: &normed, out: &mut a, rows: 1, dim: DIM }.launch(graph)?),
            |graph| Ok(SiluMul { gate_up: &both, out: &mut b, rows: 1, dim: DIM }.launch(graph)?),
        )?;
        // After both.
        graph.copy(&a, &mut both.slice(..4)?)?;
        graph.copy(&b, &mut both.slice(4..)?)
    })?;
    forked.launch(&stream)?;
    println!("{:.4?}", both.read()?);
    assert!((both.read()?[0] - 4.0 * 1.7616).abs() < 1e-3 && both.read()?[4] == 0.0);

    // With the other branch's memory it is refused, though Rust sees two handles: `clone` gives a handle to the same.
    let mut same = a.clone();
    let refused = Graph::record(&kernels, |graph| {
        graph.fork(
            |graph| Ok(SiluMul { gate_up: &normed, out: &mut a, rows: 1, dim: DIM }.launch(graph)?),
            |graph| Ok(SiluMul { gate_up: &both, out: &mut same, rows: 1, dim: DIM }.launch(graph)?),
        )
    });
    println!("{}", refused.expect_err("both write the same"));
    println!("02-graph: done");
    Ok(())
}
