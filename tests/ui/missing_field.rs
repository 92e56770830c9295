//! A parameter is forgotten.

use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::kernel::rms_norm::RmsNorm;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &Buffer<f32>, out: &mut Buffer<f32>) {
    let queue = kernels.on(stream);
    RmsNorm { x, weight: x, out, rows: 1, eps: 0.0 }.launch(&queue).unwrap();
}

fn main() {}
