//! The contracts of `tests/authoring`: structs, templates, kernels made by macros, pointers that may be null, several
//! targets, clusters.

use warpwright_testing::{Violation, check_safe};

#[test]
fn every_way_of_writing_a_kernel() -> Result<(), Violation> {
    let reports = check_safe(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/authoring/kernels/prebuilt"))?;
    let names: Vec<&str> = reports.iter().map(|report| report.kernel.as_str()).collect();
    for kernel in ["scale_rows", "scale<__half>", "convert<int, float>", "gemv<Bytes, 4>", "plain", "asked", "twice"] {
        assert!(names.contains(&kernel), "{kernel} is not among {names:?}");
    }
    assert!(reports.iter().all(|report| report.cases > 0));
    Ok(())
}
