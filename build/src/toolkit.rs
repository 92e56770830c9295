//! nvcc: where it is, and running it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::diagnostic::Diagnostic;

/// A CUDA compiler.
#[derive(Debug, Clone)]
pub struct Toolkit {
    nvcc: PathBuf,
    /// The folder that nvcc's `bin` is in, without symbolic links.
    root: PathBuf,
    /// The C++ compiler that nvcc preprocesses with.
    host_compiler: Option<PathBuf>,
}

/// There is no nvcc in any of the places where it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nvcc was not found")]
pub struct ToolkitNotFound {
    /// Where it was looked for.
    pub looked: Vec<String>,
}

/// The folder under `target` that `cargo xtask toolkit` installs into, and where nvcc is in it.
const INSTALLED: &str = "cuda-toolkit/nvidia/cu13/bin/nvcc";

impl Toolkit {
    /// Looks for nvcc: what `WARPWRIGHT_NVCC` names; under `CUDA_HOME` and `CUDA_PATH`; in `PATH`; in `cuda-toolkit` of a
    /// target folder around `near`; and in `/usr/local/cuda`.
    ///
    /// # Errors
    /// Where it was looked for in vain.
    pub fn find(near: &Path) -> Result<Self, ToolkitNotFound> {
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
        let installed: Vec<_> = near.ancestors().map(|folder| folder.join(INSTALLED)).collect();
        match installed.into_iter().find(|path| path.is_file()) {
            Some(path) => candidates.push(("cargo xtask toolkit".to_owned(), path)),
            None => looked.push(format!("no {INSTALLED} in a folder around {}", near.display())),
        }
        candidates.push(("the usual place".to_owned(), "/usr/local/cuda/bin/nvcc".into()));
        for (from, path) in candidates {
            if path.is_file() {
                let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
                let root = real.ancestors().nth(2).unwrap_or(&real).to_owned();
                return Ok(Self { nvcc: path, root, host_compiler: host_compiler() });
            }
            looked.push(format!("{} ({from}) is not a file", path.display()));
        }
        Err(ToolkitNotFound { looked })
    }

    /// The folder of the toolkit.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The compiler's own description of itself: `Cuda compilation tools, release 13.0, V13.0.88`.
    pub(crate) fn version(&self) -> Result<String, Diagnostic> {
        let output = Command::new(&self.nvcc).arg("--version").output();
        let output = output.map_err(|error| self.cannot_run(&error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("release"));
        line.map(|line| line.trim().to_owned()).ok_or_else(|| {
            Diagnostic::new(format!("{} --version does not say a release", self.nvcc.display())).note(text)
        })
    }

    fn cannot_run(&self, error: &std::io::Error) -> Diagnostic {
        Diagnostic::new(format!("{} cannot be run: {error}", self.nvcc.display()))
    }

    /// Compiles a source to PTX. Returns the PTX, and the files that went into it.
    pub(crate) fn compile(
        &self,
        source: &Path,
        include: &Path,
        flags: &[String],
        out: &Path,
    ) -> Result<(String, Vec<PathBuf>), Diagnostic> {
        let (ptx, depfile) = (out.with_extension("ptx"), out.with_extension("d"));
        let mut command = Command::new(&self.nvcc);
        command.arg("-ptx").args(flags).arg("-I").arg(include).arg("-MD").arg("-MF").arg(&depfile);
        command.arg("-o").arg(&ptx).arg(source);
        if let Some(compiler) = &self.host_compiler {
            command.arg("-ccbin").arg(compiler);
        }
        let output = command.output().map_err(|error| self.cannot_run(&error))?;
        if !output.status.success() {
            let said = [output.stderr, output.stdout].concat();
            return Err(Diagnostic::new(format!("nvcc could not compile {}", source.display()))
                .note(String::from_utf8_lossy(&said)));
        }
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| Diagnostic::new(format!("nvcc wrote no {}: {error}", path.display())))
        };
        let text = read(&ptx)?;
        let files = depfile_inputs(&read(&depfile)?);
        // What was left behind does no harm.
        let _ = std::fs::remove_file(&depfile);
        Ok((text, files))
    }
}

/// The C++ compiler of this machine. nvcc looks for one of its own if there is none to be found.
fn host_compiler() -> Option<PathBuf> {
    let host = std::env::var("HOST").unwrap_or_else(|_| format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    let mut build = cc::Build::new();
    build.cpp(true).cargo_metadata(false).opt_level(0).debug(false).target(&host).host(&host);
    build.try_get_compiler().ok().map(|compiler| compiler.path().to_owned())
}

/// The files that a makefile rule names after its colon.
fn depfile_inputs(depfile: &str) -> Vec<PathBuf> {
    let inputs = depfile.split_once(": ").map_or("", |(_, inputs)| inputs);
    let mut files = Vec::new();
    let mut name = String::new();
    let mut characters = inputs.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if matches!(characters.peek(), Some(' ' | '\\')) => name.extend(characters.next()),
            '\\' => {}
            c if c.is_whitespace() => {
                if !name.is_empty() {
                    files.push(PathBuf::from(std::mem::take(&mut name)));
                }
            }
            c => name.push(c),
        }
    }
    if !name.is_empty() {
        files.push(name.into());
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depfiles_are_read() {
        let files = depfile_inputs("out.ptx : a.cu \\\n    /usr/include/x.h \\\n  with\\ space.cuh\n");
        assert_eq!(files, ["a.cu", "/usr/include/x.h", "with space.cuh"].map(PathBuf::from));
    }
}
