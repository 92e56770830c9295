//! A kernel whose contract is not signed, launched as if it were.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright::launch::Geometry;
use warpwright_authoring::made::MulArrays;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, a: &Buffer<f32>, out: &mut Buffer<f32>) {
    MulArrays { a, b: a, out, n: 1 }.launch(&kernels.on(stream), Geometry::default()).unwrap();
}

fn main() {}
