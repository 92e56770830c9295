//! A recording has one order, and so one thread.

use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::launch::Graph;

fn record(kernels: &Kernels, out: &mut Buffer<f32>) {
    let graph = Graph::record(kernels, |graph| {
        std::thread::scope(|scope| {
            scope.spawn(|| graph.fill(out, 0.0));
        });
        Ok(())
    });
}

fn main() {}
