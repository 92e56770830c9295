//! A buffer of other structs than the kernel reads.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::include::{Params, Window};
use warpwright_authoring::structs::ScaleRows;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &mut Buffer<f32>, also: &Buffer<Window>, params: Params) {
    ScaleRows { x, also, params, rows: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
