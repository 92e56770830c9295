//! Writes the logits of a sequence of tokens as JSON.

use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;

use serde::Serialize;
use warpwright::model::{Model, Session};

use crate::device::DeviceOption;
use crate::source::FileOptions;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  warpwright logits models/adder-q1_0.gguf --tokens 4,7,10,5,8,11")]
pub(crate) struct Arguments {
    /// A model file (GGUF).
    model: PathBuf,
    /// The tokens, separated by commas.
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    device: DeviceOption,
}

/// What is written.
#[derive(Serialize)]
struct Output {
    /// How many tokens the model has.
    vocab: u32,
    /// A row for each token of the sequence: what the model expects after it.
    logits: Vec<Vec<f32>>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let gguf = arguments.file.open(&arguments.model)?;
    let device = arguments.device.open()?;
    let model = Model::load(&gguf, &device.kernels, &device.stream)?;
    let mut session =
        Session::new(&model, &device.stream, arguments.tokens.len().min(model.config().context as usize))?;
    session.extend(&arguments.tokens)?;
    let mut logits = Vec::with_capacity(arguments.tokens.len());
    session.evaluate(|_, row| logits.push(row.to_vec()))?;
    let mut out = BufWriter::new(stdout().lock());
    serde_json::to_writer(&mut out, &Output { vocab: model.config().vocab, logits })?;
    writeln!(out)?;
    Ok(out.flush()?)
}
