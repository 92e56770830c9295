//! Where a model comes from: a file, or the model that ships with the program.

use std::path::{Path, PathBuf};

use anyhow::Context;
use warpwright::gguf::Gguf;

/// The model that ships: it adds two numbers of up to three digits.
const ADDER: &[u8] = include_bytes!("../../models/adder-q1_0.gguf");

/// Opens a model file, or the shipped model if none is named.
pub(crate) fn open(path: Option<&PathBuf>) -> anyhow::Result<Gguf> {
    match path {
        Some(path) => open_file(path),
        None => Gguf::from_bytes(ADDER.to_vec()).context("the model that ships with this program"),
    }
}

/// Opens a model file.
pub(crate) fn open_file(path: &Path) -> anyhow::Result<Gguf> {
    // An error of the file itself names it already.
    Gguf::open(path).map_err(|error| match error {
        warpwright::gguf::GgufError::File { .. } => anyhow::Error::new(error),
        other => anyhow::Error::new(other).context(path.display().to_string()),
    })
}
