//! Where NVIDIA's tools are.

use std::path::{Path, PathBuf};

/// There is no nvcc in any of the places where it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nvcc was not found; looked for it:\n{}", looked.join("\n"))]
pub struct ToolkitNotFound {
    /// Where it was looked for.
    pub looked: Vec<String>,
}

/// Where nvcc is in a folder under `target` that `cargo xtask toolkit` installs into.
const INSTALLED: &str = "cuda-toolkit/nvidia/cu13/bin/nvcc";

/// Looks for nvcc: what `WARPWRIGHT_NVCC` names; under `CUDA_HOME` and `CUDA_PATH`; in `PATH`; in `cuda-toolkit` of a target
/// folder around `near`; and in `/usr/local/cuda`. The other tools (`ptxas`, `nvdisasm`) are beside it.
///
/// # Errors
/// Where it was looked for in vain.
pub fn find_nvcc(near: &Path) -> Result<PathBuf, ToolkitNotFound> {
    let mut looked = Vec::new();
    let mut candidates: Vec<(String, PathBuf)> = Vec::new();
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match variable("WARPWRIGHT_NVCC") {
        Some(path) => candidates.push(("WARPWRIGHT_NVCC".to_owned(), path)),
        None => looked.push("WARPWRIGHT_NVCC is not set".to_owned()),
    }
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        match variable(name) {
            Some(path) => candidates.push((name.to_owned(), path.join("bin/nvcc"))),
            None => looked.push(format!("{name} is not set")),
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<_> = std::env::split_paths(&path).map(|folder| folder.join("nvcc")).collect();
    match in_path.into_iter().find(|path| path.is_file()) {
        Some(path) => candidates.push(("PATH".to_owned(), path)),
        None => looked.push("PATH has no nvcc".to_owned()),
    }
    let installed = |folder: &Path| [folder.join(INSTALLED), folder.join("target").join(INSTALLED)];
    match near.ancestors().flat_map(installed).find(|path| path.is_file()) {
        Some(path) => candidates.push(("cargo xtask toolkit".to_owned(), path)),
        None => looked.push(format!("no {INSTALLED} in a folder around {}", near.display())),
    }
    candidates.push(("the usual place".to_owned(), "/usr/local/cuda/bin/nvcc".into()));
    for (from, path) in candidates {
        if path.is_file() {
            return Ok(path);
        }
        looked.push(format!("{} ({from}) is not a file", path.display()));
    }
    Err(ToolkitNotFound { looked })
}
