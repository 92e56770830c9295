//! A buffer of one element, and a factor of another.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright::types::f16;
use warpwright_authoring::templates::Scale;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &mut Buffer<f32>) {
    Scale { x, a: f16::ONE, n: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
