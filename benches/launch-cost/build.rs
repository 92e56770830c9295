//! Takes the kernels as they were compiled.

fn main() {
    warpwright_build::compile("kernels");
}
