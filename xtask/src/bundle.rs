//! Makes a folder that tests and measures Warpwright on a machine with a GPU, without Rust and without the repository.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::COMPILE;
use crate::cargo::{Workspace, run};
use crate::toolkit;

/// The most that the folder may take. Every test has the kernels and the emulator in it, so they are packed together.
const LIMIT: u64 = 64 << 20;
/// The packed folder, which `run.sh` unpacks.
const PACKED: &str = "bundle.tar.xz";

/// Tests that need Rust, nvcc or packages of Python, or run on the emulator alone: they stay at home.
const AT_HOME: [&str; 7] =
    ["attention_cost", "counts_attention", "counts_matvec", "counts_token", "drop_in", "gguf_python", "ui"];
const PACKAGES_AT_HOME: [&str; 6] = [
    "warpwright-authoring",
    "warpwright-build",
    "warpwright-emulator",
    "warpwright-macros",
    "warpwright-testing",
    "xtask",
];

/// Says to benchmarks what they were built from.
const COMMIT: &str = "WARPWRIGHT_COMMIT";

/// What tests and program read.
const FILES: [&str; 2] = ["models", "tests/data"];

/// What cargo says of something that it built.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    #[serde(default)]
    package_id: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Makes the folder `bundle`.
pub(crate) fn make(workspace: &Workspace) -> anyhow::Result<()> {
    toolkit::install(workspace)?;
    let folder = workspace.root.join("bundle");
    let bundle = workspace.target.join("bundle");
    for folder in [&folder, &bundle] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(bundle.join("tests"))?;

    let commit = commit(workspace)?;
    fs::write(bundle.join("commit"), &commit)?;
    let mut build = workspace.cargo();
    run(build.args(["build", "--release", "--package", "warpwright-cli"]).args(COMPILE).env(COMMIT, &commit))?;
    let built = workspace.target.join("release");
    copy(&built.join("warpwright"), &bundle.join("warpwright"))?;
    copy(&built.join("deps/libwarpwright_emulator.so"), &bundle.join("libwarpwright_emulator.so"))?;
    let tests = tests(workspace, &commit)?;
    ensure!(!tests.is_empty(), "cargo built no tests");
    for (name, executable) in &tests {
        copy(executable, &bundle.join("tests").join(name))?;
    }
    for folder in FILES {
        copy_folder(&workspace.root.join(folder), &bundle.join(folder))?;
    }
    strip(&bundle, &tests)?;

    let script = folder.join("run.sh");
    fs::write(&script, include_str!("run.sh"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let packed = folder.join(PACKED);
    // One dictionary for all of it, so that what tests have in common is there once.
    run(Command::new("tar")
        .env("XZ_OPT", "-6 --lzma2=dict=128MiB")
        .arg("-C")
        .arg(&bundle)
        .arg("-cJf")
        .arg(&packed)
        .arg("."))?;
    fs::remove_dir_all(&bundle)?;
    let bytes = size(&folder)?;
    ensure!(bytes <= LIMIT, "the bundle has {bytes} bytes, and may have {LIMIT}");
    println!(
        "{}: {} tests, {:.1} MiB; run run.sh there, which says in its head what it takes",
        folder.display(),
        tests.len(),
        bytes as f64 / 1048576.0
    );
    Ok(())
}

/// The commit that is checked out, with a `+` where files differ from it.
fn commit(workspace: &Workspace) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("git").current_dir(&workspace.root).args(arguments).output().context("git")?;
        ensure!(output.status.success(), "git {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(git(&["rev-parse", "HEAD"])? + if changed { "+" } else { "" })
}

/// Builds the tests, among them the benchmark of kernels, which is a test if it is not told to measure. Returns a name and the
/// executable of each.
fn tests(workspace: &Workspace, commit: &str) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut command = workspace.cargo();
    command.args(["test", "--release", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    command.args(COMPILE).env(COMMIT, commit);
    let output = command.stderr(Stdio::inherit()).output().context("cargo test --no-run")?;
    ensure!(output.status.success(), "the tests could not be built");
    let mut tests = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let artifact: Artifact = serde_json::from_str(line).with_context(|| format!("cargo said {line}"))?;
        let (Some(target), Some(executable)) = (artifact.target, artifact.executable) else { continue };
        let package = package_name(&artifact.package_id);
        let at_home = AT_HOME.contains(&target.name.as_str()) || PACKAGES_AT_HOME.contains(&package);
        // The program itself is an artifact too, in no folder of tests.
        let is_test = executable.parent().is_some_and(|folder| folder.ends_with("deps"));
        if artifact.reason == "compiler-artifact" && is_test && !at_home {
            // The same name may be used in several packages.
            tests.push((format!("{package}-{}", target.name), executable));
        }
    }
    Ok(tests)
}

/// The name in a package id: `path+file:///folder#name@version`, or `path+file:///name#version`.
fn package_name(id: &str) -> &str {
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Takes debug information out of executables.
fn strip(bundle: &Path, tests: &[(String, PathBuf)]) -> anyhow::Result<()> {
    let names = tests.iter().map(|(name, _)| format!("tests/{name}")).chain(["warpwright".to_owned()]);
    match Command::new("strip").current_dir(bundle).args(names).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("strip failed ({status})"),
        Err(error) => bail!("strip cannot be run: {error}"),
    }
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
