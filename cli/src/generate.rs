//! Goes on with a text.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use warpwright::text::{StopStrings, TextStream};

use crate::answer::{End, answer, take_in_prompt};
use crate::model::ModelOptions;
use crate::sampling::SamplingOptions;

/// Without a prompt the model is asked this.
const PROMPT: &str = "47+58=";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright generate\n  warpwright generate models/adder-q1_0.gguf 123+456=\n  \
                        warpwright generate -m Bonsai-8B-Q1_0.gguf -p \"The capital of France is\" -n 32\n  \
                        warpwright generate -m Bonsai-8B-Q1_0.gguf -f notes.txt --temp 0.7 --top-p 0.9 --seed 1")]
pub(crate) struct Arguments {
    /// A model file (GGUF) and the text to go on with; without a model, the one that ships, which adds two numbers of up to
    /// three digits.
    #[arg(value_names = ["MODEL", "PROMPT"], num_args = 0..=2)]
    positional: Vec<String>,
    /// A model file (GGUF).
    #[arg(short = 'm', long = "model", value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptOptions,
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

/// Where a prompt comes from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct PromptOptions {
    /// The text to go on with.
    #[arg(short = 'p', long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file with the text to go on with.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
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

impl Arguments {
    /// The model, if one is named, and the prompt.
    fn model_and_prompt(&self) -> anyhow::Result<(Option<PathBuf>, String)> {
        let mut positional = self.positional.iter();
        let model = self.model.clone().or_else(|| positional.next().map(PathBuf::from));
        let given = match &self.prompt {
            PromptOptions { prompt: Some(prompt), .. } => Some(prompt.clone()),
            PromptOptions { file: Some(file), .. } => {
                Some(std::fs::read_to_string(file).with_context(|| file.display().to_string())?)
            }
            PromptOptions { .. } => None,
        };
        match (given, positional.next()) {
            (Some(_), Some(second)) => bail!("there are two prompts: the option, and {second:?}"),
            (None, Some(_)) if positional.next().is_some() => bail!("there are two prompts"),
            (given, second) => Ok((model, given.or(second.cloned()).unwrap_or_else(|| PROMPT.to_owned()))),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (path, prompt) = arguments.model_and_prompt()?;
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
