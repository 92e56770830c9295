//! No memory for a parameter that may not be null.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::made::AddArrays;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, a: &Buffer<f32>, out: &mut Buffer<f32>) {
    AddArrays { a, b: None::<&Buffer<f32>>, out, n: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
