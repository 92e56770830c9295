//! How fast a model runs: prompts and generated tokens, as mean and deviation over repeats.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::Serialize;
use warpwright::model::{MemoryNeed, Sampling, Session, SessionOptions};

use crate::model::{ModelOptions, Ready};

/// The tokens of a prompt, and those that are generated, where nothing else is asked for.
const PROMPT: usize = 512;
const GENERATED: usize = 128;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The memory floor is the time that a GPU needs to move the weights and the keys and values of a token \
                        once, at the bandwidth of a copy that is measured in the same run. The emulator's times say nothing \
                        of it.\n\nExamples:\n  warpwright bench\n  warpwright bench -m Bonsai-8B-Q1_0.gguf -p 512 -n 128 -r 5 --json"
)]
pub(crate) struct Arguments {
    /// A model file (GGUF); without one, the model that ships.
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<PathBuf>,
    /// A model file (GGUF).
    #[arg(short = 'm', long = "model", value_name = "FILE")]
    model: Option<PathBuf>,
    /// Tokens of the prompt; by default 512, or the context of a model that has less.
    #[arg(short = 'p', long = "n-prompt", value_name = "N")]
    prompt: Option<usize>,
    /// Tokens to generate; by default 128, or what fits in the context.
    #[arg(short = 'n', long = "n-gen", value_name = "N")]
    generate: Option<usize>,
    /// How often each is measured, after once that does not count.
    #[arg(short = 'r', long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Writes the results as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ModelOptions,
}

/// One measurement.
#[derive(Serialize)]
struct Result {
    /// `pp` for a prompt, `tg` for generated tokens, with their number.
    test: String,
    tokens_per_second: f64,
    /// The standard deviation of that.
    deviation: f64,
    /// The least time of memory over the time taken; none on the emulator, and for prompts.
    memory_floor: Option<f64>,
}

/// Measures, once without counting.
fn measure(
    test: String,
    tokens: usize,
    repetitions: usize,
    mut run: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Result> {
    run()?;
    let speeds = (0..repetitions).map(|_| Ok(tokens as f64 / run()?)).collect::<anyhow::Result<Vec<f64>>>()?;
    let mean = speeds.iter().sum::<f64>() / repetitions as f64;
    let squares: f64 = speeds.iter().map(|speed| (speed - mean).powi(2)).sum();
    let deviation = if repetitions > 1 { (squares / (repetitions - 1) as f64).sqrt() } else { 0.0 };
    Ok(Result { test, tokens_per_second: mean, deviation, memory_floor: None })
}

/// Bytes a second that a copy on the device moves, reads and writes together.
fn bandwidth(ready: &Ready) -> anyhow::Result<f64> {
    const BYTES: usize = 256 << 20;
    const COPIES: u32 = 10;
    let stream = &ready.device.stream;
    let (from, mut to) = (stream.alloc_zeros::<u8>(BYTES)?, stream.alloc_zeros::<u8>(BYTES)?);
    stream.memcpy_dtod(&from, &mut to)?;
    stream.synchronize()?;
    let start = Instant::now();
    for _ in 0..COPIES {
        stream.memcpy_dtod(&from, &mut to)?;
    }
    stream.synchronize()?;
    Ok(f64::from(COPIES) * 2.0 * BYTES as f64 / start.elapsed().as_secs_f64())
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let repetitions = arguments.repetitions;
    ensure!(repetitions > 0, "nothing is measured with 0 repetitions");
    let path = arguments.model.as_ref().or(arguments.positional.as_ref());
    let wanted = arguments.prompt.unwrap_or(PROMPT).max(arguments.generate.unwrap_or(GENERATED)).saturating_add(1);
    let ready = arguments.options.open(path, Sampling::default(), |_| Ok(wanted))?;
    let mut session = ready.session()?;
    let room = session.context();
    let prompt = arguments.prompt.unwrap_or(PROMPT.min(room));
    let generate = arguments.generate.unwrap_or(GENERATED.min(room - 1));
    ensure!(prompt > 0 || generate > 0, "nothing is measured with 0 tokens");
    ensure!(
        prompt <= room && generate < room,
        "{prompt} tokens of a prompt and {generate} generated ones do not fit in a context of {room}: see -p, -n, -c"
    );
    let config = ready.model.config();
    let tokens: Vec<u32> = (0..prompt.max(1) as u32).map(|n| n.wrapping_mul(2_654_435_761) % config.vocab).collect();
    let mut results = Vec::new();
    if prompt > 0 {
        results.push(measure(format!("pp{prompt}"), prompt, repetitions, || {
            session.truncate(0)?;
            session.extend(&tokens)?;
            timed(&mut session, |session| Ok(session.prefill()?))
        })?);
    }
    if generate > 0 {
        let mut tg = measure(format!("tg{generate}"), generate, repetitions, || {
            session.truncate(0)?;
            session.extend(&tokens[..1])?;
            // Nothing is read between the steps: each token is chosen on the device.
            timed(&mut session, |session| (0..generate).try_for_each(|_| Ok(session.step()?)))
        })?;
        if !ready.device.is_emulator {
            // on average half of the generated positions are there
            let options = SessionOptions::new(generate / 2 + 1);
            let kv =
                MemoryNeed::of_session(config, &SessionOptions { kv_format: session.options().kv_format, ..options });
            let bytes = ready.model.bytes_per_token() + kv.kv_cache;
            let floor = bytes as f64 / bandwidth(&ready)?;
            tg.memory_floor = Some(floor * tg.tokens_per_second);
        }
        results.push(tg);
    }
    let mut out = stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, &results)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["test", "tokens/s", "of the memory floor"]);
    for Result { test, tokens_per_second, deviation, memory_floor } in &results {
        let floor = memory_floor.map_or("-".to_owned(), |fraction| format!("{:.0} %", 100.0 * fraction));
        table.add_row([test.clone(), format!("{tokens_per_second:.1} ± {deviation:.1}"), floor]);
    }
    writeln!(out, "{table}")?;
    eprintln!("on {}", ready.device.name);
    Ok(())
}

/// The seconds that some work takes, until all of it is done.
fn timed(session: &mut Session, work: impl FnOnce(&mut Session) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    session.stream().synchronize().context("the device")?;
    let start = Instant::now();
    work(session)?;
    session.stream().synchronize().context("the device")?;
    Ok(start.elapsed().as_secs_f64())
}
