//! Where a model comes from: a file, or the model that ships with the program.

use std::path::{Path, PathBuf};

use anyhow::Context;
use warpwright::gguf::{Gguf, OpenOptions, Q2Layout};

/// The model that ships: it adds two numbers of up to three digits.
const ADDER: &[u8] = include_bytes!("../../models/adder-q1_0.gguf");

/// Opens a model file, or the shipped model if none is named.
pub(crate) fn open(path: Option<&PathBuf>) -> anyhow::Result<Gguf> {
    match path {
        Some(path) => open_file(path),
        None => shipped(),
    }
}

/// Opens the model that ships.
pub(crate) fn shipped() -> anyhow::Result<Gguf> {
    Gguf::from_bytes(ADDER.to_vec()).context("the model that ships with this program")
}

/// What a file does not say of itself.
#[derive(Debug, clap::Args)]
pub(crate) struct FileOptions {
    /// What tensors of type 42 are, in a file that does not tell it: q2_0 (blocks of 64, as ggml has them), q2_0_g128
    /// (early Prism files), tq2_0_g128 (OxiBonsai).
    #[arg(long, value_name = "LAYOUT")]
    q2_layout: Option<Q2Layout>,
}

impl FileOptions {
    /// Opens a model file.
    pub(crate) fn open(&self, path: &Path) -> anyhow::Result<Gguf> {
        open_with(path, &OpenOptions { q2_0: self.q2_layout })
    }
}

/// Opens a model file that says all of itself.
pub(crate) fn open_file(path: &Path) -> anyhow::Result<Gguf> {
    open_with(path, &OpenOptions::default())
}

fn open_with(path: &Path, options: &OpenOptions) -> anyhow::Result<Gguf> {
    // An error of the file itself names it already.
    Gguf::open_with(path, options).map_err(|error| match error {
        warpwright::gguf::GgufError::File { .. } => anyhow::Error::new(error),
        other => anyhow::Error::new(other).context(path.display().to_string()),
    })
}
