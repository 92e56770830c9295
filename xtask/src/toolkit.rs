//! Installs the CUDA compiler from PyPI.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::cargo::{Workspace, run};

/// The packages, with their versions: nvcc and what it needs, and the libclang that bindgen needs.
const PACKAGES: [&str; 6] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "libclang==18.1.1",
];

/// Says what is installed.
const STAMP: &str = "installed.txt";

/// Installs the toolkit under the target folder, where the build finds it, unless it is there.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.target.join("cuda-toolkit");
    let wanted = PACKAGES.join("\n") + "\n";
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("installing nvcc into {} (about 270 MB)", folder.display());
    // Into a folder beside it first, so that what is there is always whole.
    let fresh = workspace.target.join("cuda-toolkit.new");
    let remove = |path: &std::path::Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    remove(&fresh)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    run(pip.arg(&fresh).args(PACKAGES)).context("python3 with pip is needed to install the CUDA toolkit")?;
    let nvcc = "nvidia/cu13/bin/nvcc";
    ensure!(fresh.join(nvcc).is_file(), "the packages have no {nvcc}");
    fs::write(fresh.join(STAMP), wanted)?;
    remove(&folder)?;
    fs::rename(&fresh, &folder)?;
    Ok(())
}
