//! Writes a model with its weights in another format.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use warpwright::quantize::Source;

use crate::formats::FormatOptions;
use crate::hugging_face::Checkpoint;
use crate::output;
use crate::source::FileOptions;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright quantize qwen3-f16.gguf qwen3-q1_0.gguf --format q1_0\n  \
                        warpwright quantize qwen3-f16.gguf mixed.gguf --format tq2_0 --output-format q8_0\n  \
                        warpwright quantize Qwen3-0.6B/ qwen3-q8_0.gguf --format q8_0")]
pub(crate) struct Arguments {
    /// The model: a GGUF file, best in F16, BF16 or F32; or a folder with a Qwen3 of Hugging Face (`config.json`,
    /// `tokenizer.json` and safetensors).
    model: PathBuf,
    /// The file to write (GGUF).
    output: PathBuf,
    #[command(flatten)]
    formats: FormatOptions,
    #[command(flatten)]
    file: FileOptions,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (model, output) = (&arguments.model, &arguments.output);
    if model.is_dir() {
        let checkpoint = Checkpoint::open(model)?;
        let source = checkpoint.source().with_context(|| model.display().to_string())?;
        return write(&source, arguments);
    }
    let gguf = arguments.file.open(model)?;
    let same = |a: &PathBuf, b: &PathBuf| a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    ensure!(!same(model, output), "{} cannot be written: it is read", output.display());
    write(&Source::gguf(&gguf).with_context(|| model.display().to_string())?, arguments)
}

fn write(source: &Source<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let formats = arguments.formats.formats();
    let size = source.header(&formats)?.data_size();
    output::write(&arguments.output, size, |out| Ok(source.write(&formats, out).map(|_| ())?))
}
