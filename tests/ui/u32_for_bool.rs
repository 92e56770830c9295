//! A number where the kernel takes a truth value.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::made::Plain;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &mut Buffer<f32>, mask: &Buffer<u8>) {
    Plain { x, mask: Some(mask), negate: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
