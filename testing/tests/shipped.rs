//! Warpwright's own kernels keep their contracts.

use warpwright_testing::{Contracts, Settings, Violation, check};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/prebuilt");

/// A test for each kernel, named as it is, and for all instances of a template.
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
    argmax
    attention_decode
    attention_prefill
    byte_products
    embedding_rows
    matmul
    matmul_prefill
    matrix_products
    matvec
    matvec_gated
    qkv_rope_store
    read_all
    rms_norm
    sample
    silu_mul
}

#[test]
fn every_signed_kernel_is_tested() -> Result<(), Violation> {
    let little = Settings { cases: 1, large: false, ..Settings::default() };
    let reports = Contracts::open(KERNELS)?.with(little).check_safe()?;
    let template = |name: &str| name.split('<').next().unwrap_or_default().to_owned();
    let mut signed: Vec<String> = reports.iter().map(|report| template(&report.kernel)).collect();
    signed.sort();
    signed.dedup();
    assert_eq!(signed, TESTED);
    Ok(())
}
