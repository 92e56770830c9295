//! Warpwright's own kernels keep their contracts.

use warpwright_testing::{Contracts, Settings, Violation, check};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/prebuilt");

/// A test for each kernel, named as it is.
macro_rules! keeps_its_contract {
    ($($kernel:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($kernel)),*];
        $(
            #[test]
            fn $kernel() -> Result<(), Violation> {
                println!("{}", check(KERNELS, stringify!($kernel))?);
                Ok(())
            }
        )*
    };
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
    sample
    silu_mul
}

#[test]
fn every_signed_kernel_is_tested() -> Result<(), Violation> {
    let little = Settings { cases: 1, large: false, ..Settings::default() };
    let reports = Contracts::open(KERNELS)?.with(little).check_safe()?;
    let mut signed: Vec<String> = reports.into_iter().map(|report| report.kernel).collect();
    signed.sort();
    assert_eq!(signed, TESTED);
    Ok(())
}
