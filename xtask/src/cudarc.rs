//! cudarc's own tests of its driver layer, from its published source, on the emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::cargo::Workspace;
use crate::{libcuda, toolkit};

/// The release whose tests are run.
const VERSION: &str = "0.19.10";

/// The features of cudarc that it is built with, besides that of a version of CUDA.
const FEATURES: &str = "driver,nvrtc,dynamic-loading,std";

/// A version of CUDA, with NVRTC, which most of the tests compile kernels with.
struct Cuda {
    feature: &'static str,
    nvrtc: &'static str,
    /// Where the package has the library.
    library: &'static str,
}

/// Some tests are there for one version only, and cudarc asks for other functions.
const CUDA: [Cuda; 3] = [
    Cuda { feature: "cuda-13000", nvrtc: "nvidia-cuda-nvrtc==13.0.88", library: "nvidia/cu13/lib/libnvrtc.so.13" },
    Cuda {
        feature: "cuda-12090",
        nvrtc: "nvidia-cuda-nvrtc-cu12==12.9.86",
        library: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
    },
    Cuda {
        feature: "cuda-12000",
        nvrtc: "nvidia-cuda-nvrtc-cu12==12.0.140",
        library: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
    },
];

/// Tests that cannot pass, and why.
const CANNOT_PASS: [(&str, &str); 1] = [(
    "driver::safe::core::tests::test_default_pinned_host_reads_are_faster_than_write_combined",
    "it measures that reads of write-combined memory are slow, which takes a device that the memory is mapped for: a \
     program cannot have such memory from Linux",
)];

/// Tests that compare times of copies on a machine that may have other work: not asked to pass or to fail.
const BY_CHANCE: [(&str, &str); 1] = [(
    "driver::safe::core::tests::test_pinned_copy_is_faster",
    "it measures that copies from pinned memory are 1.5 times as fast as others, of which the emulator has only that it \
     copies pageable memory twice",
)];

/// Tests that their authors ask to run by themselves.
const ALONE: [&str; 2] =
    ["driver::safe::core::tests::test_post_alloc_memory", "driver::safe::launch::tests::test_device_side_assert"];

/// How often these may be tried: `test_device_side_assert` expects that the event after its launch is recorded before the
/// kernel has failed, which a GPU takes longer to do than a busy machine may take to get there.
const TRIES: usize = 5;

/// Tests that their authors ask to run with several devices.
const SEVERAL_DEVICES: [&str; 3] = [
    "driver::result::tests::peer_transfer_contexts",
    "driver::result::tests::re_associate_context_for_memory_op",
    "driver::safe::launch::tests::test_peer_memcpy_waits_for_src_stream",
];

/// Runs the tests, and fails if one of them fails that can pass, or passes that cannot.
pub(crate) fn test(workspace: &Workspace, filter: Option<&str>) -> anyhow::Result<()> {
    let source = copy_source(workspace)?;
    let emulator = libcuda::make(workspace)?;
    let mut wrong = Vec::new();
    for Cuda { feature, nvrtc, library } in CUDA {
        let library = toolkit::pip_install(workspace, &format!("nvrtc-{feature}"), &[nvrtc])?.join(library);
        ensure!(library.is_file(), "{nvrtc} has no {}", library.display());
        let folders = [Some(&*emulator), library.parent()];
        let libraries = std::env::join_paths(folders.into_iter().flatten())?;
        let binary = build(workspace, &source, feature)?;
        let run = |arguments: &[&str], devices: &str| {
            let mut command = Command::new(&binary);
            command.args(filter).args(arguments).current_dir(&source).env("LD_LIBRARY_PATH", &libraries);
            command.env("WARPWRIGHT_EMULATOR_DEVICES", devices);
            outcomes(&mut command)
        };
        let mut outcomes = run(&[], "sm_90:16384")?;
        for name in ALONE {
            for _ in 0..TRIES {
                let outcome = run(&["--ignored", "--exact", name], "sm_90:16384")?;
                let passed = outcome.values().all(|outcome| *outcome == Outcome::Passed);
                outcomes.extend(outcome);
                if passed {
                    break;
                }
            }
        }
        for name in SEVERAL_DEVICES {
            outcomes.extend(run(&["--ignored", "--exact", name], "sm_90:16384,sm_80:16384")?);
        }
        wrong.extend(judge(&outcomes, filter.is_none()).into_iter().map(|line| format!("{feature}: {line}")));
        let passed = outcomes.values().filter(|outcome| **outcome == Outcome::Passed).count();
        println!("{feature}: {passed} of {} tests of cudarc {VERSION} passed", outcomes.len());
    }
    for (name, reason) in CANNOT_PASS.iter().chain(&BY_CHANCE) {
        println!("not counted: {name}: {reason}");
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Ignored,
}

/// What is not as it should be.
fn judge(outcomes: &BTreeMap<String, Outcome>, all: bool) -> Vec<String> {
    let cannot: BTreeSet<&str> = CANNOT_PASS.iter().map(|(name, _)| *name).collect();
    let chance: BTreeSet<&str> = BY_CHANCE.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for (name, outcome) in outcomes {
        match outcome {
            Outcome::Failed if !cannot.contains(&**name) && !chance.contains(&**name) => {
                wrong.push(format!("{name} failed"));
            }
            Outcome::Passed if cannot.contains(&**name) => {
                wrong.push(format!("{name} passed: it is in the list of those that cannot"));
            }
            Outcome::Ignored => wrong.push(format!("{name} was not run")),
            _ => {}
        }
    }
    if all {
        let gone = cannot.iter().chain(&chance).filter(|name| !outcomes.contains_key(**name));
        wrong.extend(gone.map(|name| format!("{name} is in a list, and there is no such test")));
        if outcomes.is_empty() {
            wrong.push("no test was run".to_owned());
        }
    }
    wrong
}

/// Runs tests, shows what they say, and returns what became of each.
fn outcomes(command: &mut Command) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let output = command.output().context("the tests of cudarc cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let mut outcomes = BTreeMap::new();
    for line in text.lines() {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) else {
            continue;
        };
        let name = name.trim_end_matches(" - should panic").to_owned();
        let outcome = match result {
            "ok" => Outcome::Passed,
            _ if result.starts_with("ignored") => Outcome::Ignored,
            _ => Outcome::Failed,
        };
        outcomes.insert(name, outcome);
    }
    // A process that dies says nothing of the tests that were still to come.
    ensure!(text.contains("\ntest result: "), "the tests of cudarc ended early ({})", output.status);
    Ok(outcomes)
}

/// Copies the published source to where it can be built, and returns its folder.
fn copy_source(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        manifest_path: PathBuf,
    }
    let output = workspace.cargo().args(["metadata", "--format-version", "1"]).output().context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let Metadata { packages } = serde_json::from_slice(&output.stdout)?;
    let package = packages.into_iter().find(|package| package.name == "cudarc" && package.version == VERSION);
    let manifest = package.with_context(|| format!("nothing depends on cudarc {VERSION}"))?.manifest_path;
    let published = manifest.parent().context("a manifest is in a folder")?;
    let folder = workspace.target.join("cudarc");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    copy_folder(published, &folder)?;
    // It is a workspace of its own, although it is under this one; no code is changed.
    let copied = folder.join("Cargo.toml");
    let text = fs::read_to_string(&copied)?;
    fs::write(&copied, text + "\n[workspace]\n")?;
    Ok(folder)
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Builds the unit tests, and returns the executable.
fn build(workspace: &Workspace, source: &Path, cuda: &str) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        executable: Option<PathBuf>,
    }
    let features = format!("{FEATURES},{cuda}");
    let mut command = workspace.cargo();
    command.current_dir(source).arg("test").args(["--lib", "--no-run", "--no-default-features"]);
    command.args(["--features", &features, "--message-format", "json-render-diagnostics"]);
    let output = command.arg("--target-dir").arg(workspace.target.join("cudarc-target")).output()?;
    ensure!(output.status.success(), "cudarc cannot be built: {}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout)?;
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let executable =
        built.filter(|message| message.reason == "compiler-artifact").find_map(|message| message.executable);
    executable.context("cargo names no executable")
}
