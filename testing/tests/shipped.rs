//! Warpwright's own kernels keep their contracts.

use warpwright_testing::{Report, Violation, check};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/prebuilt");

/// A test for each kernel, named as it is.
macro_rules! keeps_its_contract {
    ($($kernel:ident)*) => {$(
        #[test]
        fn $kernel() -> Result<(), Violation> {
            let report: Report = check(KERNELS, stringify!($kernel))?;
            println!("{report}");
            Ok(())
        }
    )*};
}
keeps_its_contract! {
    advance
    argmax
    attention_decode
    head_norm_rope
    kv_store
    q1_0_embedding_row
    q1_0_gemv
    q1_0_gemv_add
    rms_norm
    silu_mul
}
