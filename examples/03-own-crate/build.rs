//! Takes the kernels as they were compiled; with the feature `compile`, runs nvcc on those that have changed.

fn main() {
    warpwright_build::compile("kernels");
}
