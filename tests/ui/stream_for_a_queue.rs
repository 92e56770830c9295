//! A launch onto what is no queue and no recording.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::made::AddArrays;

fn launch(_: &Kernels, stream: &warpwright::Stream, a: &Buffer<f32>, out: &mut Buffer<f32>) {
    AddArrays { a, b: a, out, n: 1 }.launch(stream).unwrap();
}

fn main() {}
