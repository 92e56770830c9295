//! A buffer of other elements than the kernel reads.

use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::kernel::rms_norm::RmsNorm;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &Buffer<f32>, out: &mut Buffer<f32>) {
    let queue = kernels.on(stream);
    let counts = Buffer::<u32>::zeroed(stream, 4).unwrap();
    RmsNorm { x: &counts, weight: x, out, rows: 1, dim: 4, eps: 0.0 }.launch(&queue).unwrap();
}

fn main() {}
