//! Kernels as people write them keep their contracts.

use warpwright_testing::{Violation, check};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels/prebuilt");

/// A test for each kernel, named as it is.
macro_rules! keeps_its_contract {
    ($($kernel:ident)*) => {$(
        #[test]
        fn $kernel() -> Result<(), Violation> {
            println!("{}", check(KERNELS, stringify!($kernel))?);
            Ok(())
        }
    )*};
}
keeps_its_contract! {
    bf16_scale
    half2_gelu
    half_axpy
    histogram
    largest_and_positive
    rms_f64
}
