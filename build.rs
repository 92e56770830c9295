//! Compiles the kernels.

fn main() {
    warpwright_build::compile("kernels");
}
