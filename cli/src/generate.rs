//! Goes on with a text.

use std::io::{Write, stdout};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;
use warpwright::text::{StopStrings, TextStream};

use crate::answer::{End, answer, take_in_prompt};
use crate::model::ModelOptions;
use crate::prompt::Prompted;
use crate::sampling::SamplingOptions;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright generate\n  warpwright generate models/adder-q1_0.gguf 123+456=\n  \
                        warpwright generate -m Bonsai-8B-Q1_0.gguf -p \"The capital of France is\" -n 32\n  \
                        warpwright generate -m Bonsai-8B-Q1_0.gguf -f notes.txt --temp 0.7 --top-p 0.9 --seed 1")]
pub(crate) struct Arguments {
    #[command(flatten)]
    prompted: Prompted,
    /// The most tokens to generate.
    #[arg(short = 'n', long = "predict", visible_alias = "tokens", value_name = "N", default_value_t = 128)]
    tokens: usize,
    /// Ends the text where this would come. May be given several times.
    #[arg(short = 'r', long = "stop", value_name = "TEXT")]
    stop: Vec<String>,
    /// Writes the answer as JSON, when it is whole.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    options: ModelOptions,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Output<'a> {
    prompt: &'a str,
    text: &'a str,
    prompt_tokens: usize,
    tokens: usize,
    end: &'static str,
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (path, prompt) = arguments.prompted.model_and_prompt()?;
    let mut tokens = Vec::new();
    let ready = arguments.options.open(path.as_ref(), arguments.sampling.sampling(), |tokenizer| {
        tokens = tokenizer.prompt(&prompt).context("the prompt")?;
        ensure!(!tokens.is_empty(), "the prompt is empty");
        Ok(tokens.len().saturating_add(arguments.tokens))
    })?;
    let mut session = ready.session()?;
    session.extend(&tokens).context("the prompt")?;

    let stream = TextStream::new(&ready.tokenizer).with_stop_strings(StopStrings::new(arguments.stop.iter().cloned())?);
    let mut out = stdout().lock();
    let start = Instant::now();
    // Before anything is written: progress has a line of its own.
    take_in_prompt(&mut session)?;
    let answered = if arguments.json {
        answer(&mut session, stream, arguments.tokens, &mut std::io::sink())?
    } else {
        write!(out, "{prompt}")?;
        out.flush()?;
        let answered = answer(&mut session, stream, arguments.tokens, &mut out)?;
        writeln!(out)?;
        answered
    };
    let seconds = start.elapsed().as_secs_f64();
    if arguments.json {
        let end = match answered.end {
            End::Stopped => "stop",
            End::Length => "length",
            End::Context => "context",
            End::Interrupted => "interrupt",
        };
        let (prompt_tokens, generated) = (tokens.len(), answered.tokens);
        let output = Output { prompt: &prompt, text: &answered.text, prompt_tokens, tokens: generated, end, seconds };
        serde_json::to_writer(&mut out, &output)?;
        writeln!(out)?;
    }
    if answered.end == End::Context {
        eprintln!("the context of {} tokens is full", session.context());
    }
    let steps = session.position();
    eprintln!("{steps} tokens in {seconds:.3} s, {:.0} tokens/s, on {}", steps as f64 / seconds, ready.device.name);
    Ok(())
}
