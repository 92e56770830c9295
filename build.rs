//! Compiles Warpwright's own kernels, where they are wanted.

fn main() {
    if cfg!(feature = "models") {
        warpwright_build::compile("kernels");
    }
}
