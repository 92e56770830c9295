//! Kernels that cannot be built, each with what the build says: `tests/errors/*/expected.txt`.
//! `WARPWRIGHT_GOLDENS=write` writes these files.
#![cfg(feature = "compile")]

use std::fs;
use std::path::{Path, PathBuf};

use warpwright_build::{Prebuilt, build};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// What the build says of a case, without what depends on the machine.
fn said(case: &Path) -> String {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    // Under the target folder, where the toolkit is found.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("errors").join(&name);
    let errors = match build(case, "kernels", &out, Prebuilt::Never) {
        Ok(_) => panic!("{name} can be built"),
        Err(errors) => errors.to_string(),
    };
    // A folder may be named through links.
    let case = fs::canonicalize(case).unwrap();
    errors.replace(&format!("{}/", case.display()), "").replace(&format!("{}/", out.display()), "OUT/") + "\n"
}

#[test]
fn what_cannot_be_built_says_why() {
    let write = std::env::var("WARPWRIGHT_GOLDENS").is_ok_and(|value| value == "write");
    let cases = cases();
    assert!(cases.len() >= 15);
    let mut wrong = Vec::new();
    for case in cases {
        let said = said(&case);
        let expected = case.join("expected.txt");
        if write {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).ok().as_ref() != Some(&said) {
            wrong.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
