//! Modules are named in quotes.

warpwright::kernels!(rms_norm);

fn main() {}
