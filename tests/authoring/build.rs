//! Takes the kernels as they were compiled; `cargo xtask prebuilt` compiles them.

fn main() {
    warpwright_build::compile("kernels");
}
