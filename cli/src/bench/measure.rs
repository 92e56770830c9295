//! Measuring prompts and generated tokens at a depth.

use anyhow::Context;
use serde::Serialize;
use warpwright::launch::time;
use warpwright::model::{MemoryNeed, Session, SessionOptions};

/// A prompt, or tokens to generate, after `depth` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) depth: usize,
    pub(crate) tokens: usize,
    pub(crate) is_prompt: bool,
}

impl Test {
    /// As llama-bench calls it.
    pub(crate) fn name(&self) -> String {
        let kind = if self.is_prompt { "pp" } else { "tg" };
        at_depth(&format!("{kind}{}", self.tokens), self.depth)
    }

    /// The context that it needs: one generated token more than are measured is known.
    pub(crate) fn room(&self) -> usize {
        self.depth.saturating_add(self.tokens).saturating_add(usize::from(!self.is_prompt))
    }
}

/// What something is called where `depth` tokens are there before.
pub(crate) fn at_depth(what: &str, depth: usize) -> String {
    if depth > 0 { format!("{what} @ d{depth}") } else { what.to_owned() }
}

/// Bytes a second of the device's memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bandwidth {
    /// Of a kernel that reads, and does nothing else.
    pub(crate) read: f64,
    /// Of a copy: what is read and what is written.
    pub(crate) copy: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// As llama-bench calls it: `pp512`, `tg128 @ d4096`.
    pub(crate) test: String,
    pub(crate) n_prompt: usize,
    pub(crate) n_gen: usize,
    pub(crate) n_depth: usize,
    /// The median.
    pub(crate) tokens_per_second: f64,
    /// The standard deviation.
    pub(crate) deviation: f64,
    /// Each repetition.
    pub(crate) samples: Vec<f64>,
    /// Of the median.
    pub(crate) microseconds_per_token: f64,
    /// Kernels of a generated token, in one launch of a graph.
    pub(crate) launches_per_token: Option<usize>,
    /// Bytes of weights, keys and values that a generated token needs, on average.
    pub(crate) bytes_per_token: Option<u64>,
    /// The time that memory needs for them. None on the emulator, and for prompts.
    pub(crate) floor_microseconds: Option<f64>,
    /// That time over the time taken.
    pub(crate) memory_floor: Option<f64>,
}

/// The middle of some numbers.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let (low, high) = (numbers.len().saturating_sub(1) / 2, numbers.len() / 2);
    match (numbers.get(low), numbers.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

fn deviation(numbers: &[f64]) -> f64 {
    if numbers.len() < 2 {
        return 0.0;
    }
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (squares / (numbers.len() - 1) as f64).sqrt()
}

/// A session that is brought to one depth after the other.
pub(crate) struct Runner {
    pub(crate) session: Session,
    pub(crate) repetitions: usize,
    pub(crate) bandwidth: Option<Bandwidth>,
}

impl Runner {
    pub(crate) fn new(session: Session, repetitions: usize, bandwidth: Option<Bandwidth>) -> Self {
        Self { session, repetitions, bandwidth }
    }

    /// Tokens without a pattern.
    fn tokens(&self, count: usize) -> Vec<u32> {
        let vocab = self.session.model().config().vocab;
        (0..count as u32).map(|n| n.wrapping_mul(2_654_435_761) % vocab).collect()
    }

    /// Brings the session to where `depth` tokens were taken in, and one more is known. What was taken in stays.
    pub(crate) fn go_to(&mut self, depth: usize) -> anyhow::Result<()> {
        let known = depth + 1;
        self.session.truncate(known)?;
        if self.session.len() < known {
            let missing = known - self.session.len();
            self.session.extend(&self.tokens(missing))?;
        }
        if self.session.position() < depth {
            // This takes in one too many, and goes back.
            self.session.prefill()?;
            self.session.truncate(known)?;
        }
        Ok(())
    }

    /// The seconds of the device for what a test measures.
    fn seconds(&mut self, test: &Test) -> anyhow::Result<f64> {
        self.go_to(test.depth)?;
        let stream = self.session.stream().clone();
        stream.synchronize().context("the device")?;
        if test.is_prompt {
            // One of them is there already.
            self.session.extend(&self.tokens(test.tokens - 1))?;
            time(&stream, || Ok(self.session.prefill()?))
        } else {
            // Nothing is read between the steps: each token is chosen on the device.
            time(&stream, || (0..test.tokens).try_for_each(|_| Ok(self.session.step()?)))
        }
    }

    /// Measures, once without counting.
    pub(crate) fn measure(&mut self, test: &Test) -> anyhow::Result<Measured> {
        self.seconds(test)?;
        let tokens = test.tokens as f64;
        let samples = (0..self.repetitions).map(|_| Ok(tokens / self.seconds(test)?));
        let samples = samples.collect::<anyhow::Result<Vec<f64>>>()?;
        let tokens_per_second = median(samples.clone());
        let is_prompt = test.is_prompt;
        let bytes = (!is_prompt).then(|| self.bytes(test.depth + test.tokens.div_ceil(2)));
        let floor = bytes.zip(self.bandwidth).map(|(bytes, bandwidth)| bytes as f64 / bandwidth.read);
        Ok(Measured {
            test: test.name(),
            n_prompt: if is_prompt { test.tokens } else { 0 },
            n_gen: if is_prompt { 0 } else { test.tokens },
            n_depth: test.depth,
            tokens_per_second,
            deviation: deviation(&samples),
            samples,
            microseconds_per_token: 1e6 / tokens_per_second,
            launches_per_token: (!is_prompt).then(|| self.session.launches_per_step()),
            bytes_per_token: bytes,
            floor_microseconds: floor.map(|seconds| seconds * 1e6),
            memory_floor: floor.map(|seconds| seconds * tokens_per_second),
        })
    }

    /// The bytes of weights, keys and values that a token needs which is the last of `positions`.
    pub(crate) fn bytes(&self, positions: usize) -> u64 {
        let (model, kv_format) = (self.session.model(), self.session.options().kv_format);
        let options = SessionOptions { kv_format, ..SessionOptions::new(positions) };
        model.bytes_per_token() + MemoryNeed::of_session(model.config(), &options).kv_cache
    }
}
