//! Older assemblers, which confirm that drivers as old as PTX says they may be take it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use warpwright_build::manifest::Manifest;

use crate::cargo::Workspace;
use crate::toolkit::pip_install;

/// An assembler: its package, the last version of PTX that it knows (ten times the major number plus the minor one),
/// and the targets that it is asked about. CUDA 12.0 takes targets of later versions at any, so it is asked only about
/// those that are older than the PTX.
struct Assembler {
    package: &'static str,
    knows: u32,
}

const ASSEMBLERS: [Assembler; 2] = [
    Assembler { package: "nvidia-cuda-nvcc-cu11==11.7.99", knows: 77 },
    Assembler { package: "nvidia-cuda-nvcc-cu12==12.0.76", knows: 80 },
];

/// Has older assemblers assemble the PTX in a folder, as far as they know its version.
pub(crate) fn confirm(workspace: &Workspace, folder: &std::path::Path, manifest: &Manifest) -> anyhow::Result<()> {
    for assembler in &ASSEMBLERS {
        let ptxas = assembler.install(workspace)?;
        for image in manifest.modules.iter().flat_map(|module| &module.images) {
            let path = folder.join(&image.ptx);
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let version = warpwright_build::ptx_version(&text).context("PTX without a version")?;
            if version > assembler.knows || image.target.first_ptx() > assembler.knows {
                continue;
            }
            let mut command = Command::new(&ptxas);
            command.arg(format!("-arch=sm_{}", image.target)).args(["-o", "/dev/null"]).arg(&path);
            let output = command.output().with_context(|| ptxas.display().to_string())?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{} does not take {}: {said}", assembler.package, path.display());
        }
    }
    Ok(())
}

impl Assembler {
    fn install(&self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let name = self.package.split("==").next().unwrap_or(self.package);
        let folder = pip_install(workspace, name, &[self.package])?;
        Ok(folder.join("nvidia/cuda_nvcc/bin/ptxas"))
    }
}
