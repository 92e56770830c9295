//! Where the program is, and the repository with what its tests read.
#![allow(dead_code, reason = "no test uses all of it")]

use std::path::{Path, PathBuf};

/// The repository, or what `WARPWRIGHT_ROOT` says.
pub(crate) fn root() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    std::env::var_os("WARPWRIGHT_ROOT").map_or_else(own, PathBuf::from)
}

/// The program: as it was built with this test, or beside its folder in a bundle.
pub(crate) fn program() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_warpwright"));
    if built.exists() { built } else { root().join("warpwright") }
}
