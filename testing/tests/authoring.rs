//! The contracts of `tests/authoring`: structs, templates, kernels made by macros, pointers that may be null, several
//! targets, clusters.

use warpwright_testing::{Violation, check_safe};

#[test]
fn every_way_of_writing_a_kernel() -> Result<(), Violation> {
    let reports = check_safe(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/authoring/kernels/prebuilt"))?;
    let names: Vec<&str> = reports.iter().map(|report| report.kernel.as_str()).collect();
    let expected = [
        "scale_rows",
        "scale<__half>",
        "convert<int, float>",
        "gemv<Bytes, 4>",
        "matmul<Nibbles<2>, 8>",
        "matmul<ops::Octets, 2>",
        "plain",
        "asked",
        "twice",
    ];
    for kernel in expected {
        assert!(names.contains(&kernel), "{kernel} is not among {names:?}");
    }
    assert!(reports.iter().all(|report| report.cases > 0));
    Ok(())
}
