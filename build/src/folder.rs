//! A folder of kernels: what of it is compiled already, and what is to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[cfg(feature = "compile")]
use crate::compile::compile_changed;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inputs::is_current;
use crate::manifest::{FOLDER, FORMAT, Manifest, Module};

/// What nvcc is asked for. PTX for compute capability 7.5 runs on every later GPU.
const FLAGS: [&str; 4] = ["-arch=compute_75", "-std=c++17", "-O3", "-lineinfo"];

/// The folder under a folder of kernels that holds compiled PTX.
pub(crate) const PREBUILT: &str = "prebuilt";

/// Whether PTX that is in the crate already may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prebuilt {
    /// If it was made from the sources as they are.
    #[default]
    Allow,
    /// Never: every source is compiled.
    Never,
}

/// Compiles the kernels of the crate whose build script calls this: every `.cu` file in `folder`, which is relative to
/// the crate.
///
/// `WARPWRIGHT_PREBUILT=never` compiles even what is in `folder/prebuilt/`. Without this crate's feature `compile`, all has
/// to be there already, compiled from the sources as they are.
///
/// Errors are written to the standard error, and end the build.
pub fn compile(folder: &str) {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(root), Some(out)) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR")) else {
        eprintln!("error: warpwright_build::compile is for build scripts: CARGO_MANIFEST_DIR or OUT_DIR is not set");
        std::process::exit(1);
    };
    println!("cargo::rerun-if-changed={folder}");
    for name in ["WARPWRIGHT_NVCC", "WARPWRIGHT_PREBUILT", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let prebuilt = match std::env::var("WARPWRIGHT_PREBUILT").as_deref() {
        Ok("never") => Prebuilt::Never,
        _ => Prebuilt::Allow,
    };
    if let Err(errors) = build(&root, folder, &out.join(FOLDER), prebuilt) {
        eprintln!("{errors}");
        std::process::exit(1);
    }
}

/// Builds the kernels in `folder` of the crate at `root` into `out`: PTX, and the manifest.
///
/// # Errors
/// All that is wrong with them.
pub fn build(root: &Path, folder: &str, out: &Path, prebuilt: Prebuilt) -> Result<Manifest, Diagnostics> {
    let failed = |what: String| move |error: std::io::Error| Diagnostic::new(format!("{what}: {error}"));
    let kernels = root.join(folder);
    let kernels = std::fs::canonicalize(&kernels)
        .map_err(|error| failed(format!("the folder of kernels {}", kernels.display()))(error))?;
    std::fs::create_dir_all(out).map_err(failed(format!("the folder {}", out.display())))?;
    let sources = sources(&kernels).map_err(failed(format!("the folder of kernels {}", kernels.display())))?;

    let flags = FLAGS.map(str::to_owned).to_vec();
    let usable = |folder: &Path| Manifest::read(folder).ok().filter(|manifest| manifest.flags == flags);
    // What the last build left is as good as what is in the crate, and newer.
    let last = if prebuilt == Prebuilt::Never { None } else { usable(out) };
    let shipped_folder = kernels.join(PREBUILT);
    let shipped = if prebuilt == Prebuilt::Never { None } else { usable(&shipped_folder) };
    let known = |name: &str, manifest: &Option<Manifest>, folder: &Path| {
        let module = manifest.as_ref()?.module(name)?;
        is_current(module, &kernels, folder).then(|| module.clone())
    };

    let mut done: BTreeMap<String, Module> = BTreeMap::new();
    let mut changed = Vec::new();
    for (name, path) in sources {
        if let Some(module) = known(&name, &last, out) {
            done.insert(name, module);
        } else if let Some(module) = known(&name, &shipped, &shipped_folder) {
            let copied = std::fs::copy(shipped_folder.join(&module.ptx), out.join(&module.ptx));
            copied.map_err(failed(format!("the PTX {} cannot be copied", module.ptx)))?;
            done.insert(name, module);
        } else {
            changed.push((name, path));
        }
    }
    if !changed.is_empty() {
        let crate_of_kernels = Crate { kernels: &kernels, folder, out, flags: &flags };
        for module in compile_changed(&crate_of_kernels, &changed)? {
            done.insert(module.name.clone(), module);
        }
    }

    let manifest = Manifest { format: FORMAT, flags, modules: done.into_values().collect() };
    manifest.write(out).map_err(|error| Diagnostic::new(error.to_string()))?;
    Ok(manifest)
}

/// The `.cu` files of a folder by name, in order.
fn sources(kernels: &Path) -> std::io::Result<BTreeMap<String, PathBuf>> {
    let mut sources = BTreeMap::new();
    for entry in std::fs::read_dir(kernels)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cu") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            sources.insert(name, path);
        }
    }
    Ok(sources)
}

/// The crate whose kernels are built.
#[cfg_attr(not(feature = "compile"), expect(dead_code, reason = "nothing is compiled"))]
pub(crate) struct Crate<'a> {
    pub(crate) kernels: &'a Path,
    pub(crate) folder: &'a str,
    pub(crate) out: &'a Path,
    pub(crate) flags: &'a [String],
}

/// Says that sources have to be compiled, which this build of the crate does not do.
#[cfg(not(feature = "compile"))]
fn compile_changed(of: &Crate<'_>, sources: &[(String, PathBuf)]) -> Result<Vec<Module>, Diagnostics> {
    let files = sources.iter().map(|(name, _)| format!("{}/{name}.cu", of.folder)).collect::<Vec<_>>().join(", ");
    Err(Diagnostic::new(format!("{files}: to be compiled, and warpwright-build is without its feature `compile`"))
        .note(format!("there is no PTX in {}/{PREBUILT} that was made from these sources as they are now", of.folder))
        .note("in Warpwright's own repository: run `cargo xtask prebuilt`, or build with `--features compile`")
        .note("in another crate: drop `default-features = false` from the build-dependency warpwright-build")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_is_taken() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let out = tempfile::tempdir().unwrap();
        let manifest = build(root, "kernels", out.path(), Prebuilt::Allow).unwrap();
        assert!(manifest.modules.iter().all(|module| out.path().join(&module.ptx).is_file()));
        assert_eq!(Manifest::read(out.path()).unwrap(), manifest);
        // The second time from there.
        assert_eq!(build(root, "kernels", out.path(), Prebuilt::Allow).unwrap(), manifest);
    }

    #[cfg(not(feature = "compile"))]
    #[test]
    fn what_is_not_compiled_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("kernels")).unwrap();
        std::fs::write(root.path().join("kernels/axpy.cu"), "__global__ void axpy() {}\n").unwrap();
        let shown = build(root.path(), "kernels", &root.path().join("out"), Prebuilt::Allow).unwrap_err().to_string();
        for part in ["kernels/axpy.cu: to be compiled", "`cargo xtask prebuilt`", "drop `default-features = false`"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
