//! `cargo xtask`: what is to be done around the code.

mod assemblers;
mod bundle;
mod cargo;
mod cudarc;
mod libcuda;
mod toolkit;

use std::process::ExitCode;

use anyhow::bail;
use cargo::{Workspace, run};
use clap::{Parser, Subcommand};

/// What is to be done around the code.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs nvcc and libclang under the target folder, from PyPI, without root.
    Toolkit,
    /// Runs every test of the workspace, and then those of benches/; installs the toolkit first if it is missing.
    Test {
        /// What `cargo test` of the workspace is given besides.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compiles the kernels into the folders `prebuilt`, which builds without nvcc use; older assemblers confirm the PTX.
    Prebuilt {
        /// Only compares, and fails if what is there is stale.
        #[arg(long)]
        check: bool,
    },
    /// Builds the emulator and makes a folder with it under the names by which programs look for CUDA's driver. With that
    /// folder in `LD_LIBRARY_PATH`, programs that use CUDA run on the emulator.
    Libcuda,
    /// Runs cudarc's own tests of its driver layer, as published, on the emulator.
    Cudarc {
        /// Only the tests whose names contain this.
        filter: Option<String>,
    },
    /// Makes a folder with the tests and the program, to be run on a machine with a GPU and without Rust.
    Bundle,
}

/// A changed kernel is compiled, and not only found to be changed; and everything is tested.
const COMPILE: [&str; 2] = ["--features", "warpwright/compile,warpwright/text"];

fn main() -> ExitCode {
    match run_command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command() -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match Arguments::parse().command {
        Command::Toolkit => toolkit::install(&workspace),
        Command::Test { arguments } => {
            toolkit::install(&workspace)?;
            run(workspace.cargo().args(["test", "--workspace"]).args(COMPILE).args(arguments))?;
            run(workspace.cargo_of_benches().arg("test"))
        }
        Command::Prebuilt { check } => prebuilt(&workspace, check),
        Command::Libcuda => {
            println!("{}", libcuda::make(&workspace)?.display());
            Ok(())
        }
        Command::Cudarc { filter } => cudarc::test(&workspace, filter.as_deref()),
        Command::Bundle => bundle::make(&workspace),
    }
}

/// The folders of kernels whose PTX is kept in the repository: the crate, and the folder in it.
const KERNELS: [(&str, &str); 5] = [
    ("", "kernels"),
    ("benches/launch-cost", "kernels"),
    ("examples/03-own-crate", "kernels"),
    ("testing", "tests/kernels"),
    ("tests/authoring", "kernels"),
];

fn prebuilt(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    toolkit::install(workspace)?;
    for (root, folder) in KERNELS {
        let (root, scratch) = (workspace.root.join(root), workspace.target.join("prebuilt").join(root));
        let result = if check {
            warpwright_build::check_prebuilt(&root, folder, &scratch)
        } else {
            warpwright_build::write_prebuilt(&root, folder, &scratch)
        };
        match result {
            Ok(manifest) => assemblers::confirm(workspace, &scratch, &manifest)?,
            Err(errors) => bail!("{errors}"),
        }
    }
    Ok(())
}
