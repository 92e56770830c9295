//! A slice that a graph could not keep alive.

use cudarc::driver::CudaSlice;
use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::launch::Graph;

fn record(kernels: &Kernels, x: &CudaSlice<f32>, out: &mut Buffer<f32>) {
    let graph = Graph::record(kernels, |graph| {
        RmsNorm { x, weight: &out.clone(), out, rows: 1, dim: 4, eps: 0.0 }.launch(graph)?;
        Ok(())
    });
}

fn main() {}
