//! Programs of safe Rust that try to break it. Each ends in a compile error (in `tests/ui`), a typed error, or a right
//! result and nothing for the emulator to find: a fault would end the context, and every later call in it would fail.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod capture;
mod contents;
mod drop_early;
mod forks;
mod recording;
mod streams;
mod updates;

use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::launch::{LaunchError, Target};

/// Rows of this many elements take the emulator long enough that what follows a launch comes before its end.
const DIM: usize = 1 << 16;

/// Launches a kernel that makes ones of threes.
fn launch<Q: Target<Set = warpwright::kernel::Set>>(
    onto: &Q,
    x: &Buffer<f32>,
    weight: &Buffer<f32>,
    out: &mut Buffer<f32>,
) -> Result<Q::Launched, LaunchError> {
    let dim = weight.len() as u32;
    RmsNorm { x, weight, out, rows: (x.len() / weight.len()) as u32, dim, eps: 0.0 }.launch(onto)
}

fn assert_ones(out: &Buffer<f32>) {
    assert!(out.read().unwrap().iter().all(|x| (x - 1.0).abs() < 1e-5));
}

/// The context is alive, and the kernels can be used.
fn assert_usable(kernels: &Kernels, stream: &warpwright::Stream) {
    let x = Buffer::from_host(stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(stream, 64).unwrap();
    launch(&kernels.on(stream), &x, &weight, &mut out).unwrap();
    assert_ones(&out);
    kernels.context().synchronize().unwrap();
}
