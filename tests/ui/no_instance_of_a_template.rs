//! Elements that the template has no instance for.

use warpwright::Buffer;
use warpwright_authoring::Kernels;
use warpwright_authoring::templates::Scale;

fn launch(kernels: &Kernels, stream: &warpwright::Stream, x: &mut Buffer<f64>) {
    Scale { x, a: 2.0f64, n: 1 }.launch(&kernels.on(stream)).unwrap();
}

fn main() {}
