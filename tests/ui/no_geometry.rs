//! A kernel whose contract gives no grid, launched without one.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::made::MulArrays;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, a: &Buffer<f32>, out: &mut Buffer<f32>) {
    // SAFETY: none.
    unsafe { MulArrays { a, b: a, out, n: 1 }.launch(&kernels.on(stream)) }.unwrap();
}

fn main() {}
