//! A slice that a graph could not keep alive, copied in a branch.

use cudarc::driver::CudaSlice;
use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::launch::Graph;

fn record(kernels: &Kernels, x: &CudaSlice<f32>, out: &mut Buffer<f32>) {
    let graph = Graph::record(kernels, |graph| graph.fork(|graph| graph.copy(x, out), |_| Ok(())));
}

fn main() {}
