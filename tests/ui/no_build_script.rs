//! A crate without a build script has no manifest of kernels.

warpwright::kernels!();

fn main() {}
