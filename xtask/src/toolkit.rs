//! Installs the CUDA compiler, and what else of NVIDIA's is needed, from PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::cargo::{Workspace, run};

/// The packages, with their versions: nvcc and what it needs, the disassembler, and the libclang that bindgen needs.
const PACKAGES: [&str; 7] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-nvdisasm==13.2.51",
    "libclang==18.1.1",
];

/// Says what is installed.
const STAMP: &str = "installed.txt";

/// Installs the toolkit under the target folder, where the build finds it, unless it is there.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = pip_install(workspace, "cuda-toolkit", &PACKAGES)?;
    let nvcc = "nvidia/cu13/bin/nvcc";
    ensure!(folder.join(nvcc).is_file(), "the packages have no {nvcc}");
    Ok(())
}

/// Installs packages from PyPI into a folder of their own under the target folder, unless they are there.
pub(crate) fn pip_install(workspace: &Workspace, name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = workspace.target.join(name);
    let wanted = packages.join("\n") + "\n";
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    eprintln!("installing {} into {}", packages.join(", "), folder.display());
    // Into a folder beside it first, so that what is there is always whole.
    let fresh = workspace.target.join(format!("{name}.new"));
    let remove = |path: &Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    remove(&fresh)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    run(pip.arg(&fresh).args(packages)).context("python3 with pip is needed to install NVIDIA's tools")?;
    fs::write(fresh.join(STAMP), wanted)?;
    remove(&folder)?;
    fs::rename(&fresh, &folder)?;
    Ok(folder)
}
