//! The other format of 16 bits.

use warpwright::Buffer;
use warpwright::types::bf16;
use warpwright_authoring::Kernels;
use warpwright_authoring::templates::Convert;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &Buffer<f32>, y: &mut Buffer<bf16>) {
    Convert { x, y, n: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
