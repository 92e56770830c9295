//! Goes on with a text.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use warpwright::model::{Model, ModelError, Session};
use warpwright::text::{TextStream, Tokenizer};

use crate::device::DeviceOption;
use crate::source;

/// Without a prompt the model is asked this.
const PROMPT: &str = "47+58=";

/// A context is no longer than this unless the text needs it: memory for it is taken at the start.
const CONTEXT: usize = 4096;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright generate\n  warpwright generate models/adder-q1_0.gguf 123+456=")]
pub(crate) struct Arguments {
    /// A model file (GGUF); without one, the model that ships, which adds two numbers of up to three digits.
    model: Option<PathBuf>,
    /// The text to go on with.
    #[arg(default_value = PROMPT)]
    prompt: String,
    /// The most tokens to generate.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    tokens: usize,
    #[command(flatten)]
    device: DeviceOption,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let gguf = source::open(arguments.model.as_ref())?;
    let device = arguments.device.open()?;
    let model = Model::load(&gguf, &device.kernels, &device.stream)?;
    let config = model.config();
    let tokenizer = Tokenizer::from_gguf(&gguf, config.vocab)?;
    let prompt = tokenizer.prompt(&arguments.prompt).context("the prompt")?;
    ensure!(!prompt.is_empty(), "the prompt is empty");

    let wanted = prompt.len().saturating_add(arguments.tokens);
    let context = wanted.max(CONTEXT).min(config.context as usize);
    let mut session = Session::new(&model, &device.stream, context)?;
    session.extend(&prompt).context("the prompt")?;

    let mut out = stdout().lock();
    write!(out, "{}", arguments.prompt)?;
    out.flush()?;
    let mut text = TextStream::new(&tokenizer);
    let mut full = false;
    let start = Instant::now();
    for _ in 0..arguments.tokens {
        let token = match session.next_token() {
            Err(ModelError::Context { .. }) => {
                full = true;
                break;
            }
            token => token?,
        };
        let piece = text.push(token)?;
        if !piece.is_empty() {
            write!(out, "{piece}")?;
            out.flush()?;
        }
        if text.stop().is_some() {
            break;
        }
    }
    write!(out, "{}", text.finish())?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(out)?;
    if full {
        eprintln!("the context of {context} tokens is full");
    }
    let steps = session.position();
    eprintln!("{steps} tokens in {seconds:.3} s, {:.0} tokens/s, on {}", steps as f64 / seconds, device.name);
    Ok(())
}
