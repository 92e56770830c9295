//! A kernel is launched: device, kernels, buffers, a launch that is checked, and the error of one that is wrong.
//!
//! `cargo run --example 01-launch`

use std::error::Error;

use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::launch::LaunchError;
use warpwright_emulator::driver::{Choice, select};

fn main() -> Result<(), Box<dyn Error>> {
    // A GPU if there is one, else the emulator. A program for GPUs alone leaves this line out.
    select(Choice::Auto)?;

    // The first device. The context and the streams are cudarc's own.
    let context = warpwright::device::open(0)?;
    let stream = context.new_stream()?;

    // The kernels, as a value that the caller keeps. Each `.cu` file is loaded when a kernel of it is first launched.
    // `warpwright::kernel` has Warpwright's own; `warpwright::kernels!()` makes such a module of the files of a crate.
    let kernels = Kernels::load(&context)?;

    // A queue is a stream with kernels that can be launched on it. It is made when it is needed, and costs nothing.
    let queue = kernels.on(&stream);

    // Device memory. A buffer belongs to the stream that it is made on.
    let x = Buffer::from_host(&stream, &[3.0f32, 4.0, 6.0, 8.0])?;
    let weight = Buffer::from_host(&stream, &[1.0f32, 10.0])?;
    let mut out = Buffer::<f32>::zeroed(&stream, 4)?;

    // A launch: a struct with a field for each parameter of the kernel. Grid and block are in the kernel's contract. A
    // field that is missing, a buffer of other elements, `&out` for `&mut out`: these do not compile.
    RmsNorm { x: &x, weight: &weight, out: &mut out, rows: 2, dim: 2, eps: 0.0 }.launch(&queue)?;

    // The launch returns before the kernel has run; `read` waits for it. Both rows are the same but for their size,
    // which the norm takes away.
    let normed = out.read()?;
    println!("{normed:.3?}");
    assert!(normed[..2].iter().zip(&normed[2..]).all(|(a, b)| (a - b).abs() < 1e-6));

    // What the compiler cannot know is checked before anything reaches the device, and is an error with data.
    let wrong = RmsNorm { x: &x, weight: &weight, out: &mut out, rows: 3, dim: 2, eps: 0.0 }.launch(&queue);
    let error = wrong.expect_err("three rows are more than `x` has");
    println!("{error}");
    assert!(matches!(error, LaunchError::Length { parameter: "x", expected: 6, found: 4, .. }));

    // Nothing was launched, so nothing has changed.
    assert_eq!(out.read()?, normed);
    println!("01-launch: done");
    Ok(())
}
