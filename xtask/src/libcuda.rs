//! A folder that makes the emulator the CUDA driver of any program: it holds `libcuda.so` and `libcuda.so.1`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::cargo::{Workspace, run};

/// The names by which programs open the driver; NVIDIA's runtime and most others use the second.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// Builds the emulator with optimisations and puts it into the folder, which is returned.
pub(crate) fn make(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    run(workspace.cargo().args(["build", "--release", "--package", "warpwright-emulator", "--lib"]))?;
    let library = workspace.target.join("release/libwarpwright_emulator.so");
    let folder = workspace.target.join("libcuda");
    fs::create_dir_all(&folder)?;
    for name in NAMES {
        // A program that runs may have the old file open: it keeps that one, and the name gets a new one.
        let fresh = folder.join(format!("{name}.new"));
        fs::copy(&library, &fresh).with_context(|| format!("{} cannot be copied", library.display()))?;
        fs::rename(&fresh, folder.join(name))?;
    }
    Ok(folder)
}
