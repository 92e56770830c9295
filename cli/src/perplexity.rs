//! How well a model predicts a text.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use warpwright::model::Sampling;

use crate::model::ModelOptions;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The text is taken in pieces of the context (-c), each for itself. Every token of a piece but the first \
                        counts.\n\nExamples:\n  warpwright perplexity models/adder-heldout.txt\n  \
                        warpwright perplexity -m Bonsai-8B-Q1_0.gguf -c 2048 wiki.test.raw --json"
)]
pub(crate) struct Arguments {
    /// A text file (UTF-8).
    file: PathBuf,
    /// A model file (GGUF); without one, the model that ships.
    #[arg(short = 'm', long = "model", value_name = "FILE")]
    model: Option<PathBuf>,
    /// Writes the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ModelOptions,
}

/// The result.
#[derive(Serialize)]
struct Output {
    /// The exponential of the mean negative log-probability of a token.
    perplexity: f64,
    /// The tokens that count.
    tokens: usize,
    /// Tokens of a piece.
    context: usize,
}

/// The logarithm of the probability of a token, from logits.
fn log_probability(logits: &[f32], token: u32) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    f64::from(logits[token as usize]) - max - sum.ln()
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&arguments.file).with_context(|| arguments.file.display().to_string())?;
    let mut tokens = Vec::new();
    let ready = arguments.options.open(arguments.model.as_ref(), Sampling::default(), |tokenizer| {
        tokens = tokenizer.encode(&text, false).with_context(|| arguments.file.display().to_string())?;
        ensure!(tokens.len() >= 2, "{} has {} tokens, and 2 are needed", arguments.file.display(), tokens.len());
        Ok(tokens.len())
    })?;
    let mut session = ready.session()?;
    let context = session.context();
    ensure!(context >= 2, "a context of {context} is too short: a token is predicted from the one before it");
    let bar = ProgressBar::new(tokens.len() as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} tokens {eta}")?);
    let (mut sum, mut count) = (0.0, 0);
    for piece in tokens.chunks(context).filter(|piece| piece.len() >= 2) {
        session.truncate(0)?;
        session.extend(piece)?;
        session.evaluate(|position, logits| {
            if let Some(next) = piece.get(position + 1) {
                sum += log_probability(logits, *next);
                count += 1;
            }
            bar.inc(1);
        })?;
    }
    bar.finish_and_clear();
    let output = Output { perplexity: (-sum / f64::from(count)).exp(), tokens: count as usize, context };
    let mut out = stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, &output)?;
        writeln!(out)?;
    } else {
        writeln!(out, "perplexity {:.4} over {} tokens, in pieces of {context}", output.perplexity, output.tokens)?;
    }
    Ok(())
}
