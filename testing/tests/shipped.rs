//! Warpwright's own kernels keep their contracts.

use warpwright_testing::{Contracts, Settings, Violation, check};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/prebuilt");

/// A test for each kernel, named as it is. One of a template tests all instances.
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
    attention_prefill
    q1_0_embedding_row
    q1_0_gemv
    q1_0_gemv_add
    qkv_rope_store
    rms_norm
    silu_mul
}

#[test]
fn every_signed_kernel_is_tested() -> Result<(), Violation> {
    let little = Settings { cases: 1, large: false, ..Settings::default() };
    let reports = Contracts::open(KERNELS)?.with(little).check_safe()?;
    let name = |kernel: String| kernel.split('<').next().map(str::to_owned);
    let mut signed: Vec<String> = reports.into_iter().filter_map(|report| name(report.kernel)).collect();
    signed.sort();
    signed.dedup();
    assert_eq!(signed, TESTED);
    Ok(())
}
