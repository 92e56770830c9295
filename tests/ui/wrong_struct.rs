//! A struct other than the one that the kernel takes.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::include::{Params, Window};
use warpwright_authoring::structs::ScaleRows;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &mut Buffer<f32>, also: &Buffer<Params>) {
    let params = Window { first: 0, last: 1 };
    ScaleRows { x, also, params, rows: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
