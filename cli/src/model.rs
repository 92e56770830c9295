//! Opening a model: its file, the device, the memory that it needs, and a session with it.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use warpwright::gguf::Gguf;
use warpwright::model::{Config, KvFormat, Loader, MemoryNeed, Model, Sampling, Session, SessionOptions};
use warpwright::text::Tokenizer;

use crate::device::{DeviceOption, Open};
use crate::source::{self, FileOptions};

/// A context is no longer than this unless it is asked for: memory for it is taken at the start.
const CONTEXT: usize = 4096;

/// The options that commands with a model share, besides the model itself.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelOptions {
    /// The longest that prompt and answer can become together; by default 4096 tokens, or what the model has.
    #[arg(short = 'c', long = "ctx-size", value_name = "N")]
    context: Option<usize>,
    /// How keys and values are kept.
    #[arg(long, value_enum, default_value_t = CacheType::F16)]
    cache_type: CacheType,
    /// Tokens of a prompt that are taken in at once.
    #[arg(short = 'b', long, value_name = "N", default_value_t = 512)]
    batch_size: usize,
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    device: DeviceOption,
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CacheType {
    /// 16-bit floating-point numbers.
    #[value(name = "f16")]
    F16,
    /// 8-bit integers, with a scale for each head: about half the memory.
    #[value(name = "q8_0")]
    Q8,
}

/// A model that is ready.
pub(crate) struct Ready {
    pub(crate) gguf: Gguf,
    pub(crate) device: Open,
    pub(crate) model: Model,
    pub(crate) tokenizer: Tokenizer,
    options: SessionOptions,
}

impl ModelOptions {
    /// Opens a model, or the one that ships, for sequences of at least `wanted` tokens where the model has so many.
    /// `wanted` is asked when the tokens of the model are known.
    pub(crate) fn open(
        &self,
        path: Option<&PathBuf>,
        sampling: Sampling,
        wanted: impl FnOnce(&Tokenizer) -> anyhow::Result<usize>,
    ) -> anyhow::Result<Ready> {
        let gguf = self.file(path)?;
        let config = Config::read(&gguf)?;
        let tokenizer = Tokenizer::from_gguf(&gguf, config.vocab)?;
        let options = SessionOptions { sampling, ..self.session_options(&config, wanted(&tokenizer)?) };
        let device = self.device()?;
        let model = load(&gguf, &device, &options)?;
        Ok(Ready { gguf, device, model, tokenizer, options })
    }

    /// Opens a model's file, or the one that ships.
    pub(crate) fn file(&self, path: Option<&PathBuf>) -> anyhow::Result<Gguf> {
        match path {
            Some(path) => self.file.open(path),
            None => source::shipped(),
        }
    }

    /// How a session is made, for sequences of at least `wanted` tokens where the model has so many.
    pub(crate) fn session_options(&self, config: &Config, wanted: usize) -> SessionOptions {
        let context = self.context.unwrap_or_else(|| wanted.max(CONTEXT).min(config.context as usize));
        let kv_format = match self.cache_type {
            CacheType::F16 => KvFormat::F16,
            CacheType::Q8 => KvFormat::Q8,
        };
        SessionOptions { kv_format, chunk: self.batch_size.max(1), ..SessionOptions::new(context) }
    }

    /// Opens the device.
    pub(crate) fn device(&self) -> anyhow::Result<Open> {
        self.device.open()
    }
}

/// Loads a model, where there is memory for it and a session.
pub(crate) fn load(gguf: &Gguf, device: &Open, options: &SessionOptions) -> anyhow::Result<Model> {
    let need = MemoryNeed::of(gguf, options)?;
    let free = warpwright::device::free_memory(&device.stream)?;
    eprintln!("memory: {need}, for a context of {} tokens", options.context);
    need.check(&Config::read(gguf)?, options, free)?;
    let bar = ProgressBar::new(need.weights);
    bar.set_style(ProgressStyle::with_template("loading {wide_bar} {bytes}/{total_bytes}")?);
    let mut progress = |bytes| bar.inc(bytes);
    let model = Model::from_loader(&mut Loader::new(gguf, &device.stream, &mut progress), &device.kernels)?;
    bar.finish_and_clear();
    Ok(model)
}

impl Ready {
    /// A new sequence.
    pub(crate) fn session(&self) -> anyhow::Result<Session> {
        Session::new(&self.model, &self.device.stream, self.options).context("a session")
    }
}
