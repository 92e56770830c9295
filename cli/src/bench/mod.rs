//! How fast a model runs: prompts and generated tokens at depths of context, beside what the device's memory allows.

mod kernels;
mod llama;
mod measure;
mod ranges;
mod report;
mod shape;

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use warpwright::ceilings::Ceilings;
use warpwright::device::Properties;
use warpwright::gguf::Gguf;
use warpwright::model::{Config, Session, SessionOptions};

use crate::device::Open;
use crate::model::{ModelOptions, load};
use measure::{Bandwidth, Runner, Test, at_depth};
use ranges::Range;
use report::{DeviceReport, ModelReport, Report, SessionReport};

/// The tokens of a prompt, and those that are generated, where nothing else is asked for.
const PROMPT: usize = 512;
const GENERATED: usize = 128;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each test is a prompt (pp) or a number of generated tokens (tg), at a depth: so many tokens are there before, and are not \
measured. All prompts and all numbers of generated tokens are measured at all depths, as llama-bench does it. Times are \
those of the device, by events; figures are medians.

The memory floor is the time to read the weights, and the keys and values of the positions there, once, at the bandwidth \
that a kernel which does nothing else reaches in the same run. It is no floor of a prompt, whose tokens share the weights. \
The emulator's times say nothing of a GPU.

Examples:
  warpwright bench
  warpwright bench -m Bonsai-8B-Q1_0.gguf -p 128,512,4096 -n 128 -d 0,4096,32768
  warpwright bench --shape 8b --format q1_0 -p 0 --profile
  warpwright bench --shape 1.7b --format pq2_0 --json=bench.json
  warpwright bench -m Bonsai-8B-Q1_0.gguf --llama-bench ~/llama.cpp/build/bin/llama-bench")]
pub(crate) struct Arguments {
    /// A model file (GGUF); without one, the model that ships.
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<PathBuf>,
    /// A model file (GGUF).
    #[arg(short = 'm', long = "model", value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    shape: shape::ShapeOptions,
    /// Tokens of the prompts; by default 512, or the context of a model that has less. 0 is none.
    #[arg(short = 'p', long = "n-prompt", value_name = "N", value_delimiter = ',')]
    prompt: Vec<usize>,
    /// Tokens to generate; by default 128, or what fits in the context. 0 is none.
    #[arg(short = 'n', long = "n-gen", value_name = "N", value_delimiter = ',')]
    generate: Vec<usize>,
    /// Tokens that are there before.
    #[arg(short = 'd', long = "n-depth", visible_alias = "depth", value_name = "N", value_delimiter = ',')]
    #[arg(default_value = "0")]
    depth: Vec<usize>,
    /// How often each is measured, after once that does not count.
    #[arg(short = 'r', long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Measures each kernel of a generated token at each depth too, launched one by one without the graph.
    #[arg(long)]
    profile: bool,
    /// Has every kernel wait for the end of the one before, where it could begin before that.
    #[arg(long)]
    no_overlap: bool,
    /// Runs llama.cpp's `llama-bench` on the same file and the same tests, and shows both. Without a path it is looked for in
    /// PATH.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, default_missing_value = "llama-bench")]
    llama_bench: Option<PathBuf>,
    /// What `llama-bench` is given besides, words separated by spaces.
    #[arg(long, value_name = "WORDS", requires = "llama_bench", allow_hyphen_values = true)]
    llama_args: Option<String>,
    /// Writes the results as JSON: to a file, or instead of the tables where no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    json: Option<Option<PathBuf>>,
    #[command(flatten)]
    options: ModelOptions,
}

impl Arguments {
    fn path(&self) -> Option<&PathBuf> {
        self.model.as_ref().or(self.positional.as_ref())
    }

    /// The file, and what it is called in the report.
    fn gguf(&self, longest: usize) -> anyhow::Result<(Gguf, String)> {
        match (self.shape.model(longest)?, self.path()) {
            (Some(_), Some(path)) => bail!("it is either {} or a shape", path.display()),
            (Some(model), None) => {
                ensure!(self.llama_bench.is_none(), "llama-bench needs a file: write one by `warpwright random`");
                eprintln!("making {} of random weights", self.shape.name());
                Ok((Gguf::from_bytes(model.to_bytes()?)?, self.shape.name()))
            }
            (None, path) => {
                let shown = path.map_or("the model that ships".to_owned(), |path| path.display().to_string());
                Ok((self.options.file(path)?, shown))
            }
        }
    }

    /// The most tokens that a test needs, where its lengths are given.
    fn longest(&self) -> usize {
        let most = |of: &[usize], otherwise| of.iter().copied().max().unwrap_or(otherwise);
        let tokens = most(&self.prompt, PROMPT).max(most(&self.generate, GENERATED));
        tokens.saturating_add(most(&self.depth, 0)).saturating_add(2)
    }

    /// Each depth once, from the least on.
    fn depths(&self) -> Vec<usize> {
        let mut depths = self.depth.clone();
        depths.sort_unstable();
        depths.dedup();
        depths
    }

    /// All tests in a context of `room` tokens: depth by depth, so that each goes on from the one before.
    fn tests(&self, room: usize) -> anyhow::Result<Vec<Test>> {
        let lengths = |given: &[usize], otherwise| if given.is_empty() { vec![otherwise] } else { given.to_vec() };
        let mut tests = Vec::new();
        for depth in self.depths() {
            let left = room.saturating_sub(depth);
            let prompts = lengths(&self.prompt, PROMPT.min(left));
            let generated = lengths(&self.generate, GENERATED.min(left.saturating_sub(1)));
            let prompts = prompts.into_iter().map(|tokens| Test { depth, tokens, is_prompt: true });
            let generated = generated.into_iter().map(|tokens| Test { depth, tokens, is_prompt: false });
            tests.extend(prompts.chain(generated).filter(|test| test.tokens > 0));
        }
        ensure!(!tests.is_empty() || self.profile, "nothing is measured with 0 tokens");
        for test in &tests {
            ensure!(
                test.room() <= room,
                "{} does not fit in a context of {room}: it needs {}; see -p, -n, -d, -c",
                test.name(),
                test.room()
            );
        }
        let deepest = self.depth.iter().max().map_or(0, |depth| depth + 2);
        ensure!(deepest <= room, "a depth of {} does not fit in a context of {room}: see -d, -c", deepest - 2);
        Ok(tests)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.repetitions > 0, "nothing is measured with 0 repetitions");
    let llama = arguments.llama_bench.as_ref().map(|program| llama::find(program)).transpose()?;
    if llama.is_some() && arguments.path().is_none() && !arguments.shape.is_given() {
        bail!("llama-bench needs a file: name one with -m");
    }
    let (gguf, name) = arguments.gguf(arguments.longest())?;
    let config = Config::read(&gguf)?;
    let options = SessionOptions {
        overlapping: !arguments.no_overlap,
        ..arguments.options.session_options(&config, arguments.longest())
    };
    let tests = arguments.tests(options.context)?;
    let device = arguments.options.device()?;
    let bandwidth = bandwidth(&device, arguments.repetitions)?;
    let model = load(&gguf, &device, &options)?;
    let session = Session::new(&model, &device.stream, options).context("a session")?;
    let mut report = Report::new(
        DeviceReport::new(&Properties::of(device.stream.context())?, device.is_emulator),
        ModelReport::new(name, &gguf, &model),
        SessionReport::new(&session),
        bandwidth,
    );
    let mut runner = Runner::new(session, arguments.repetitions, bandwidth);
    for test in &tests {
        let _range = Range::new(&test.name());
        report.results.push(runner.measure(test)?);
    }
    if arguments.profile {
        for depth in arguments.depths() {
            let _range = Range::new(&at_depth("profile", depth));
            report.profiles.push(kernels::profile(&mut runner, depth)?);
        }
    }
    drop(runner);
    if let (Some(program), Some(path)) = (llama, arguments.path()) {
        // The memory is for the other one now.
        drop(model);
        let more = arguments.llama_args.as_deref().unwrap_or_default();
        report.llama = Some(llama::run(&program, path, &tests, arguments.repetitions, &options, more)?);
    }
    let mut out = stdout().lock();
    match &arguments.json {
        Some(None) => {
            serde_json::to_writer(&mut out, &report)?;
            writeln!(out)?;
        }
        Some(Some(path)) => {
            fs::write(path, serde_json::to_vec(&report)?).with_context(|| path.display().to_string())?;
            report.write(&mut out)?;
        }
        None => report.write(&mut out)?,
    }
    Ok(())
}

/// What the memory of a GPU does at most. The emulator has nothing to be compared with.
fn bandwidth(device: &Open, repetitions: usize) -> anyhow::Result<Option<Bandwidth>> {
    const PIECE: u64 = 256 << 20;
    if device.is_emulator {
        return Ok(None);
    }
    let free = warpwright::device::free_memory(&device.stream)?;
    let l2 = Properties::of(device.stream.context())?.l2_bytes;
    // Two pieces that are copied, and many times what a cache keeps, if there is room.
    let pool = (16 * l2).max(4 * PIECE).min(free / 2);
    let piece = PIECE.min(pool / 4);
    let ceilings = Ceilings::new(&device.kernels, &device.stream, pool, repetitions.max(11))?;
    let (read, copy) = (piece as f64 / ceilings.read(piece)?, 2.0 * piece as f64 / ceilings.copy(piece)?);
    Ok(Some(Bandwidth { read, copy }))
}
