//! Memory for a parameter that may be null, without saying that it is there.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::made::Plain;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &mut Buffer<f32>, mask: &Buffer<u8>) {
    Plain { x, mask, negate: true }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
