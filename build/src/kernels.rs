//! The build of a crate's kernels, from beginning to end: what is there already, and what has to be compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inputs::{Changed, hash, is_current};
use crate::locate::find_nvcc;
use crate::manifest::{FOLDER, FORMAT, Headers, Manifest, Module};
use crate::names::check_names;

/// What nvcc is asked for, besides the target.
const FLAGS: [&str; 3] = ["-std=c++17", "-O3", "-lineinfo"];

/// The folder under a folder of kernels that holds compiled PTX.
const PREBUILT: &str = "prebuilt";

/// What becomes of PTX that is in the crate already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prebuilt {
    /// It is used if it was made from the sources as they are.
    #[default]
    Allow,
    /// It is not used: every source is compiled.
    Never,
    /// It is used, and replaced by what is compiled where it is not from the sources as they are.
    Write,
}

/// Compiles the kernels of the crate whose build script calls this: every `.cu` file in `folder`, which is relative to
/// the crate.
///
/// `WARPWRIGHT_PREBUILT=never` compiles even what is in `folder/prebuilt/`; `WARPWRIGHT_PREBUILT=write` puts there what it
/// compiles, so that the crate can be built without nvcc.
///
/// Errors are written to the standard error, and end the build.
pub fn compile(folder: &str) {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(root), Some(out)) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR")) else {
        eprintln!("error: warpwright_build::compile is for build scripts: CARGO_MANIFEST_DIR or OUT_DIR is not set");
        std::process::exit(1);
    };
    println!("cargo::rerun-if-changed={folder}");
    for name in ["WARPWRIGHT_NVCC", "WARPWRIGHT_PREBUILT", "CUDA_HOME", "CUDA_PATH", "LIBCLANG_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let prebuilt = match std::env::var("WARPWRIGHT_PREBUILT").as_deref() {
        Err(_) | Ok("" | "allow") => Prebuilt::Allow,
        Ok("never") => Prebuilt::Never,
        Ok("write") => Prebuilt::Write,
        Ok(other) => {
            eprintln!("error: WARPWRIGHT_PREBUILT is `{other}`, and can be `allow`, `never` or `write`");
            std::process::exit(1);
        }
    };
    match build(&root, folder, &out.join(FOLDER), prebuilt) {
        // What is included from elsewhere.
        Ok(manifest) => {
            let modules = manifest.modules.iter().flat_map(|module| &module.inputs);
            for input in modules.chain(&manifest.headers.inputs).filter(|input| input.path.starts_with("..")) {
                println!("cargo::rerun-if-changed={folder}/{}", input.path);
            }
            // Another compiler compiles again.
            if let Ok(nvcc) = find_nvcc(&out) {
                println!("cargo::rerun-if-changed={}", nvcc.display());
            }
        }
        Err(errors) => {
            eprintln!("{errors}");
            std::process::exit(1);
        }
    }
}

/// The crate whose kernels are built.
#[derive(Debug)]
#[cfg_attr(not(feature = "compile"), allow(dead_code, reason = "only compiling needs all of it"))]
pub(crate) struct Crate<'a> {
    /// Its folder.
    pub(crate) root: &'a Path,
    /// The folder of its kernels, and its name in the crate.
    pub(crate) kernels: &'a Path,
    pub(crate) folder: &'a str,
    /// Where PTX is put.
    pub(crate) out: &'a Path,
    pub(crate) flags: &'a [String],
}

impl Crate<'_> {
    pub(crate) fn include(&self) -> PathBuf {
        self.kernels.join("include")
    }

    /// What a folder of PTX has, if it was made with the same flags.
    fn known(&self, folder: PathBuf) -> Known {
        let manifest = Manifest::read(&folder).ok().filter(|manifest| manifest.flags == *self.flags);
        Known { folder, manifest }
    }
}

/// A folder of PTX, and its manifest if it can be used.
struct Known {
    folder: PathBuf,
    manifest: Option<Manifest>,
}

impl Known {
    /// A module that was made from the files as they are.
    fn module(&self, name: &str, of: &Crate<'_>) -> Option<&Module> {
        let module = self.manifest.as_ref()?.module(name)?;
        is_current(module, of.kernels, &self.folder).then_some(module)
    }

    /// The shared headers, if they are read from the files as they are.
    fn headers(&self, of: &Crate<'_>, files: &[PathBuf]) -> Option<&Headers> {
        let headers = &self.manifest.as_ref()?.headers;
        let known = |file: &PathBuf| headers.inputs.iter().any(|input| of.kernels.join(&input.path) == *file);
        let current = headers.inputs.iter().all(|input| input.is_current(of.kernels)) && files.iter().all(known);
        (current && headers.inputs.is_empty() == files.is_empty()).then_some(headers)
    }
}

/// Builds the kernels in `folder` of the crate at `root` into `out`: PTX, and the manifest.
///
/// # Errors
/// All that is wrong with them.
pub fn build(root: &Path, folder: &str, out: &Path, prebuilt: Prebuilt) -> Result<Manifest, Diagnostics> {
    let failed = |what: String| move |error: std::io::Error| Diagnostic::new(format!("{what}: {error}"));
    let root = std::fs::canonicalize(root).map_err(failed(format!("the crate's folder {}", root.display())))?;
    let kernels = root.join(folder);
    let no_folder = || format!("the folder of kernels {}", kernels.display());
    let kernels = std::fs::canonicalize(&kernels).map_err(failed(no_folder()))?;
    std::fs::create_dir_all(out).map_err(failed(format!("the folder {}", out.display())))?;
    let sources = files(&kernels, "cu").map_err(failed(no_folder()))?;
    let flags = FLAGS.map(str::to_owned).to_vec();
    let of = Crate { root: &root, kernels: &kernels, folder, out, flags: &flags };
    let shared = shared_headers(&of.include());

    let places = match prebuilt {
        Prebuilt::Never => Vec::new(),
        Prebuilt::Allow | Prebuilt::Write => vec![of.known(kernels.join(PREBUILT)), of.known(out.to_owned())],
    };
    // Asked once, and only if there is something that a compiler here made before.
    let compiler = std::cell::LazyCell::new(|| compiler(out));
    let made_by_it = |module: &Module| match &*compiler {
        Some(version) => version.as_ref() == Some(&module.compiler),
        None => true,
    };
    let mut done: BTreeMap<String, Module> = BTreeMap::new();
    let mut changed = Changed::default();
    for path in sources {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let found = places.iter().find_map(|place| Some((place.module(&name, &of)?, &place.folder)));
        match found.filter(|(module, place)| **place != out || made_by_it(module)) {
            Some((module, place)) => {
                for image in module.images.iter().filter(|_| place != out) {
                    let copied = std::fs::copy(place.join(&image.ptx), out.join(&image.ptx));
                    copied.map_err(failed(format!("the PTX {} cannot be copied", image.ptx)))?;
                }
                done.insert(name, module.clone());
            }
            None => changed.sources.push((name, path)),
        }
    }
    let headers = places.iter().find_map(|place| place.headers(&of, &shared)).cloned();
    let headers = match headers {
        Some(headers) if changed.sources.is_empty() => headers,
        None if changed.sources.is_empty() && shared.is_empty() => Headers::default(),
        _ => {
            changed.headers = shared;
            let (headers, modules) = compile_changed(&of, &changed)?;
            done.extend(modules.into_iter().map(|module| (module.name.clone(), module)));
            headers
        }
    };

    let manifest = Manifest { format: FORMAT, flags: flags.clone(), headers, modules: done.into_values().collect() };
    check_names(&manifest, folder)?;
    manifest.write(out).map_err(|error| Diagnostic::new(error.to_string()))?;
    if prebuilt == Prebuilt::Write {
        let target = kernels.join(PREBUILT);
        let same = Manifest::read(&target).is_ok_and(|kept| kept == manifest);
        if !same || manifest.modules.iter().any(|module| !is_current(module, &kernels, &target)) {
            keep(&manifest, out, &target)?;
        }
    }
    Ok(manifest)
}

/// Compiles what is not there.
#[cfg(feature = "compile")]
fn compile_changed(of: &Crate<'_>, changed: &Changed) -> Result<(Headers, Vec<Module>), Diagnostics> {
    crate::modules::compile(of, changed)
}

/// Says that nothing here can compile.
#[cfg(not(feature = "compile"))]
fn compile_changed(of: &Crate<'_>, changed: &Changed) -> Result<(Headers, Vec<Module>), Diagnostics> {
    Err(Diagnostic::new(format!(
        "{} cannot be compiled: this build of warpwright-build only takes PTX that is there",
        changed
    ))
    .note(format!(
        "there is no PTX in {} that was made from these sources as they are now",
        of.kernels.join(PREBUILT).display()
    ))
    .note(
        "take `warpwright-build` with its feature `compile`, which is on by default, and build with \
             WARPWRIGHT_PREBUILT=write to keep the result in the crate; in Warpwright's own repository `cargo xtask prebuilt` \
             does so, and its feature `compile` compiles in every build",
    )
    .into())
}

/// The compiler that is there now, if there is one, with what it says of itself, if it does.
#[cfg(feature = "compile")]
fn compiler(near: &Path) -> Option<Option<String>> {
    crate::toolkit::Toolkit::find(near).ok().map(|toolkit| toolkit.version().ok())
}

#[cfg(not(feature = "compile"))]
fn compiler(_: &Path) -> Option<Option<String>> {
    None
}

/// Puts PTX where builds without nvcc find it.
fn keep(manifest: &Manifest, from: &Path, to: &Path) -> Result<(), Diagnostics> {
    let failed = |error: std::io::Error| Diagnostic::new(format!("the prebuilt PTX cannot be written: {error}"));
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(failed)?;
    }
    std::fs::create_dir_all(to).map_err(failed)?;
    for image in manifest.modules.iter().flat_map(|module| &module.images) {
        std::fs::copy(from.join(&image.ptx), to.join(&image.ptx)).map_err(failed)?;
    }
    manifest.write(to).map_err(|error| Diagnostic::new(error.to_string()).into())
}

/// Compiles the kernels in `folder` of the crate at `root`, and puts them where builds without nvcc find them.
///
/// # Errors
/// All that is wrong with them.
pub fn write_prebuilt(root: &Path, folder: &str, scratch: &Path) -> Result<Manifest, Diagnostics> {
    let manifest = build(root, folder, scratch, Prebuilt::Never)?;
    keep(&manifest, scratch, &root.join(folder).join(PREBUILT))?;
    Ok(manifest)
}

/// Compiles the kernels in `folder` of the crate at `root`, and compares them with what builds without nvcc would use.
///
/// # Errors
/// What differs, or is wrong with the kernels.
pub fn check_prebuilt(root: &Path, folder: &str, scratch: &Path) -> Result<Manifest, Diagnostics> {
    let made = build(root, folder, scratch, Prebuilt::Never)?;
    let target = root.join(folder).join(PREBUILT);
    let kept = Manifest::read(&target).map_err(|error| Diagnostic::new(error.to_string()))?;
    let mut stale: Vec<String> = Vec::new();
    for module in &made.modules {
        let on_disk = |image: &crate::manifest::Image| std::fs::read(target.join(&image.ptx)).map(|ptx| hash(&ptx));
        let same = module.images.iter().all(|image| on_disk(image).is_ok_and(|hash| hash == image.sha256));
        if kept.module(&module.name) != Some(module) || !same {
            stale.push(module.name.clone());
        }
    }
    let extra = kept.modules.iter().filter(|module| made.module(&module.name).is_none());
    stale.extend(extra.map(|module| module.name.clone()));
    if kept.headers != made.headers {
        stale.push("the shared headers".to_owned());
    }
    if stale.is_empty() && kept.flags == made.flags {
        return Ok(made);
    }
    Err(Diagnostic::new(format!("the PTX in {folder}/{PREBUILT} is not what the sources give: {}", stale.join(", ")))
        .note("run `cargo xtask prebuilt` and commit the result")
        .into())
}

/// The files of a folder with an ending, in order.
fn files(folder: &Path, ending: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Hidden ones are an editor's own.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The headers that Rust shares.
fn shared_headers(include: &Path) -> Vec<PathBuf> {
    // Without the folder there are none.
    files(include, "h").unwrap_or_default()
}
