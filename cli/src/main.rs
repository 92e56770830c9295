//! `warpwright`: runs 1-bit language models, and looks into their files and into kernels.

mod answer;
mod bench;
mod chat;
mod device;
mod formats;
mod generate;
mod hugging_face;
mod inspect;
mod kernels;
mod logits;
mod model;
mod output;
mod perplexity;
mod profile;
mod prompt;
mod quantize;
mod random;
mod sampling;
mod source;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs 1-bit language models of the Qwen3 architecture (the Bonsai family) on a GPU, or on an emulated one.
#[derive(Debug, Parser)]
#[command(name = "warpwright", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Goes on with a text.
    Generate(generate::Arguments),
    /// Talks with a model.
    Chat(chat::Arguments),
    /// Measures how fast a model runs.
    Bench(bench::Arguments),
    /// Measures how well a model predicts a text.
    Perplexity(perplexity::Arguments),
    /// Writes the logits of a sequence of tokens as JSON.
    Logits(logits::Arguments),
    /// Shows what the kernels do while text is generated, and the least time that a GPU needs for it.
    ///
    /// Text is generated on the emulator, which counts for each kernel: launches, warp-instructions, lanes, bytes moved, bank
    /// conflicts. The counters are the emulator's: they need no GPU, and on a GPU there are none. There, Nsight Compute is
    /// the tool.
    Profile(profile::Arguments),
    /// Shows what is in a model file.
    Inspect(inspect::Arguments),
    /// Writes a model with its weights in another format.
    Quantize(quantize::Arguments),
    /// Writes a model with random weights, exact in structure, for tests and benchmarks.
    Random(random::Arguments),
    /// Shows kernels: their signatures and contracts, what they take, their PTX and machine code.
    Kernels(kernels::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Perplexity(arguments) => perplexity::run(&arguments),
        Command::Logits(arguments) => logits::run(&arguments),
        Command::Profile(arguments) => profile::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Random(arguments) => random::run(&arguments),
        Command::Kernels(arguments) => kernels::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has had enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        cause.downcast_ref::<io::Error>().is_some_and(kind)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}
