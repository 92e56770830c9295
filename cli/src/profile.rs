//! Shows what kernels do while a model generates text: the emulator's counters, and the least time a GPU needs.

use std::io::{Write, stdout};

use anyhow::{Context, bail, ensure};
use warpwright::kernel::Kernels;
use warpwright::model::{Model, Session};
use warpwright::text::Tokenizer;
use warpwright_emulator::driver::{Choice, select};
use warpwright_emulator::profile::Profile;

use crate::prompt::Prompted;
use crate::source;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright profile\n  warpwright profile --device sm_86 --details\n  \
                  warpwright profile models/adder-q1_0.gguf 123+456= -n 4")]
pub(crate) struct Arguments {
    #[command(flatten)]
    prompted: Prompted,
    /// The most tokens to generate.
    #[arg(short = 'n', long = "predict", visible_alias = "tokens", value_name = "N", default_value_t = 4)]
    tokens: usize,
    /// The GPU that the emulator stands for, and that the least times are of: sm_75 (T4), sm_80 (A100), sm_86 (RTX 3090),
    /// sm_89 (RTX 4090) or sm_90 (H100).
    #[arg(long, value_name = "PROFILE", default_value = "sm_90")]
    device: String,
    /// Shows the counters of each kernel too: classes of instructions, memory, the hottest instructions, each resource.
    #[arg(long)]
    details: bool,
}

/// Characters of the prompt that the output repeats.
const SHOWN: usize = 60;

/// Names the profiles of the emulator's devices.
const DEVICES: &str = "WARPWRIGHT_EMULATOR_DEVICES";

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if matches!(arguments.device.as_str(), "gpu" | "auto") {
        bail!(
            "the counters are the emulator's, and a GPU has none: name a device that the emulator stands for, as in sm_90"
        );
    }
    if arguments.device != "emulator" {
        Profile::of(&arguments.device)?;
        // SAFETY: this program has one thread yet, and nothing has looked at the variable.
        unsafe { std::env::set_var(DEVICES, &arguments.device) };
    }
    let selected = select(Choice::Emulator)?;
    let (path, text) = arguments.prompted.model_and_prompt()?;
    let gguf = source::open(path.as_ref())?;
    let context = warpwright::device::open(0)?;
    let kernels = Kernels::load(&context).context("the kernels")?;
    let stream = context.new_stream().context("a stream")?;
    let model = Model::load(&gguf, &kernels, &stream)?;
    let tokenizer = Tokenizer::from_gguf(&gguf, model.config().vocab)?;
    let prompt = tokenizer.prompt(&text).context("the prompt")?;
    ensure!(!prompt.is_empty(), "the prompt is empty");
    let length = prompt.len().saturating_add(arguments.tokens).min(model.config().context as usize);
    let mut session = Session::new(&model, &stream, length)?;
    session.extend(&prompt).context("the prompt")?;
    stream.synchronize()?;
    // What the model did to be loaded is not of interest.
    ensure!(selected.set_counters(true), "the counters are the emulator's, and this driver has none");
    let wanted = length.saturating_sub(prompt.len());
    let mut generated = 0;
    while generated < wanted {
        let token = session.next_token()?;
        generated += 1;
        if tokenizer.end_tokens().contains(&token) {
            break;
        }
    }
    let counters = selected.counters(arguments.details).context("the counters")?;
    let mut out = stdout().lock();
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    writeln!(out, "{} tokens of {shown:?}{more} and {generated} generated ones\n", prompt.len())?;
    Ok(write!(out, "{counters}")?)
}
