//! llama.cpp's `llama-bench`, on the same file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use warpwright::model::SessionOptions;

use super::measure::{Test, median};

/// What `llama-bench -o json` says of a test; it says more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) build_commit: String,
    pub(crate) build_number: u64,
    #[serde(default)]
    pub(crate) gpu_info: String,
    #[serde(default)]
    pub(crate) backends: String,
    pub(crate) n_prompt: usize,
    pub(crate) n_gen: usize,
    #[serde(default)]
    pub(crate) n_depth: usize,
    pub(crate) avg_ts: f64,
    pub(crate) stddev_ts: f64,
    #[serde(default)]
    pub(crate) samples_ts: Vec<f64>,
}

impl Sample {
    /// The median of the tokens a second, where each repetition is known.
    pub(crate) fn tokens_per_second(&self) -> f64 {
        if self.samples_ts.is_empty() { self.avg_ts } else { median(self.samples_ts.clone()) }
    }
}

/// What was run, and what it said.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Llama {
    pub(crate) command: Vec<String>,
    pub(crate) results: Vec<Sample>,
}

/// The program: a path, or a name that is looked for in PATH.
pub(crate) fn find(program: &Path) -> anyhow::Result<PathBuf> {
    if program.components().count() > 1 {
        ensure!(program.is_file(), "{}: there is no such program", program.display());
        return Ok(program.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| {
        let name = program.display();
        format!("{name} is not in PATH: build llama.cpp with CUDA, and name the program, as in --llama-bench build/bin/{name}")
    })
}

/// Runs it on the tests that were measured, all layers on the GPU and with flash attention.
pub(crate) fn run(
    program: &Path,
    model: &Path,
    tests: &[Test],
    repetitions: usize,
    options: &SessionOptions,
    more: &str,
) -> anyhow::Result<Llama> {
    let list = |of: &dyn Fn(&Test) -> Option<usize>| {
        let mut numbers: Vec<usize> = tests.iter().filter_map(of).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let shown: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        if shown.is_empty() { "0".to_owned() } else { shown.join(",") }
    };
    let prompts = list(&|test| test.is_prompt.then_some(test.tokens));
    let generated = list(&|test| (!test.is_prompt).then_some(test.tokens));
    let cache = options.kv_format.name();
    let mut command = Command::new(program);
    command.arg("-m").arg(model);
    command.args(["-p", &prompts, "-n", &generated, "-d", &list(&|test| Some(test.depth))]);
    command.args(["-r", &repetitions.to_string(), "-ub", &options.chunk.to_string()]);
    command.args(["-ngl", "99", "-fa", "1", "-ctk", cache, "-ctv", cache, "-o", "json"]);
    command.args(more.split_whitespace());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    eprintln!("{}", words.join(" "));
    let output = command.stderr(Stdio::inherit()).output().with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{} failed ({})", program.display(), output.status);
    }
    let results = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} wrote no results as JSON", program.display()))?;
    Ok(Llama { command: words, results })
}
