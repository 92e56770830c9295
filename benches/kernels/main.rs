//! How fast the kernels are that a model's speed is made of, beside what the device can do at most:
//! `cargo bench --bench kernel_speed`.
//!
//! Matrix times vector, as it is for a generated token; matrix times matrix, as it is for a prompt; and the attention of a
//! token with many before it. Each is launched through the pieces that models are made of. A graph of many launches is
//! replayed and timed by events, and the median of many replays taken; the launches rotate among copies of the weights, or of
//! keys and values, that are several times the L2 cache together. In the same run a kernel that does nothing else reads as
//! many bytes, and a copy moves them.
//!
//! Without `--bench`, which cargo gives to what it runs as a benchmark, or with `--smoke`, shapes are tiny and everything is
//! checked: that is a test, for the emulator too, and its times mean nothing.

mod attention;
mod cases;
mod linear;
mod report;
mod roofline;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use warpwright::ceilings::Ceilings;
use warpwright::kernel::{Kernels, Set};
use warpwright::launch::{Graph, LaunchError, Recording, time_replays};
use warpwright::{Context, Stream};
use warpwright_emulator::driver::{Choice, Driver, select};

use cases::Case;
use report::{Report, Row};

/// What `main` and all that it calls return.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How fast the kernels of a model are, beside what the device can do at most.
#[derive(Debug, Parser)]
#[command(name = "kernel_speed")]
struct Arguments {
    /// Only cases whose names contain all of these, such as `gemv Q1_0`.
    words: Vec<String>,
    /// Says that this is a benchmark; cargo does.
    #[arg(long, hide = true)]
    bench: bool,
    /// Tiny shapes, which are checked. The times mean nothing.
    #[arg(long)]
    smoke: bool,
    /// Compares what each case computes with a reference in f64 first, and fails if it is wrong.
    #[arg(long)]
    check: bool,
    /// Every shape in every format, and not only the usual.
    #[arg(long)]
    all: bool,
    /// Lists the cases.
    #[arg(long)]
    cases: bool,
    /// Has every kernel wait for the end of the one before, where it could begin before that.
    #[arg(long)]
    no_overlap: bool,
    /// Replays that are counted.
    #[arg(short, long, default_value_t = 30)]
    repetitions: usize,
    /// What to run on: gpu, emulator, or auto.
    #[arg(long, env = "WARPWRIGHT_DEVICE", default_value = "auto")]
    device: Choice,
    /// Where to write the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where to draw the roofline as SVG.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// What all cases need.
struct Bench {
    kernels: Kernels,
    stream: Stream,
    /// Replays that are counted.
    repetitions: usize,
    /// What the data of a case has to be at least, all copies together.
    cold_bytes: u64,
    smoke: bool,
    check: bool,
    overlapping: bool,
}

/// The most copies of what a kernel reads: for small ones that is enough, since other launches come between.
const COPIES: u64 = 128;
/// About as many launches are replayed at a time.
const LAUNCHES: usize = 128;

impl Bench {
    /// How many copies of `bytes` are more than the caches keep.
    fn copies(&self, bytes: u64) -> usize {
        self.cold_bytes.div_ceil(bytes.max(1)).clamp(if self.smoke { 2 } else { 1 }, COPIES) as usize
    }

    /// The median of the seconds of a launch, of `copies` that take turns. `launch` records the one of a number.
    fn measure(
        &self,
        copies: usize,
        launches: usize,
        mut launch: impl FnMut(&Recording<'_, Set>, usize) -> std::result::Result<(), LaunchError>,
    ) -> Result<f64> {
        let launches = if self.smoke { copies } else { launches.next_multiple_of(copies) };
        let graph = Graph::record(&self.kernels, |graph| {
            graph.set_overlapping(self.overlapping);
            Ok((0..launches).try_for_each(|n| launch(graph, n % copies))?)
        })?;
        let (warm_up, repetitions) = if self.smoke { (0, 1) } else { (3, self.repetitions) };
        Ok(time_replays(&graph, &self.stream, warm_up, repetitions)? / launches as f64)
    }
}

/// What was measured of a case.
struct Outcome {
    /// Of a launch.
    seconds: f64,
    /// What it reads and writes at least.
    bytes: u64,
    /// Sums and products.
    operations: f64,
    copies: usize,
    /// The error of what it computes, relative to the norm of the reference.
    error: Option<f64>,
}

/// Fails for what differs from a reference by more than a fraction of its norm. NaN differs.
fn relative_error(found: &[f64], expected: &[f64], tolerance: f64) -> Result<f64> {
    let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let error = difference / norm(&mut expected.iter().copied());
    if found.len() == expected.len() && error <= tolerance {
        return Ok(error);
    }
    Err(format!("what is computed is off by {error:.3e} of its norm, and may be by {tolerance:.0e}").into())
}

fn run(arguments: &Arguments) -> Result<()> {
    let smoke = arguments.smoke || !arguments.bench;
    let words: Vec<String> = arguments.words.iter().map(|word| word.to_lowercase()).collect();
    let is_wanted = |case: &Case| words.iter().all(|word| case.name().to_lowercase().contains(word));
    let cases = if smoke { cases::smoke() } else { cases::usual(arguments.all) };
    let cases: Vec<Case> = cases.into_iter().filter(is_wanted).collect();
    if arguments.cases {
        cases.iter().for_each(|case| println!("{}", case.name()));
        return Ok(());
    }
    let selected = select(arguments.device)?;
    let is_emulator = selected.driver == Driver::Emulator;
    if is_emulator && !smoke {
        let reason = selected.no_gpu.map_or(String::new(), |reason| format!(" ({reason})"));
        return Err(format!("there is no GPU to measure{reason}; --smoke runs on the emulator").into());
    }
    let context: Context = warpwright::device::open(0)?;
    let (kernels, stream) = (Kernels::load(&context)?, context.new_stream()?);
    let l2 = warpwright::device::Properties::of(&context)?.l2_bytes;
    let bench = Bench {
        repetitions: arguments.repetitions.max(1),
        cold_bytes: if smoke { 1 } else { 4 * l2 },
        smoke,
        check: smoke || arguments.check,
        overlapping: !arguments.no_overlap,
        kernels: kernels.clone(),
        stream: stream.clone(),
    };
    let pool = if smoke { 1 << 20 } else { (4 * l2).max(3 << 30) };
    let ceilings = Ceilings::new(&kernels, &stream, pool, if smoke { 1 } else { bench.repetitions })?;
    let mut report = Report::new(&ceilings, is_emulator, smoke)?;
    for case in &cases {
        let outcome = match case {
            Case::Linear(case) => linear::run(&bench, case),
            Case::Attention(case) => attention::run(&bench, case),
        };
        let outcome = outcome.map_err(|error| format!("{}: {error}", case.name()))?;
        let row = Row::new(case, &outcome, &report.ceilings, &ceilings)?;
        if !smoke {
            // To see how far it is.
            eprintln!("{row}");
        }
        report.rows.push(row);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    match &arguments.svg {
        Some(path) => roofline::draw(&report, path)?,
        None if smoke => roofline::test(&report)?,
        None => {}
    }
    println!("{report}");
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    // As a test it may be given what is meant for tests.
    let arguments = match has("--bench") || has("--smoke") || has("--help") || has("-h") {
        true => Arguments::parse(),
        false if has("--list") => return ExitCode::SUCCESS,
        false => Arguments::parse_from(&words[..1]),
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
