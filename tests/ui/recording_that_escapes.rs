//! A recording is gone when its closure ends.

use warpwright::kernel::Kernels;
use warpwright::launch::Graph;

fn record(kernels: &Kernels) {
    let mut escaped = None;
    let graph = Graph::record(kernels, |graph| {
        escaped = Some(graph);
        Ok(())
    });
}

fn main() {}
