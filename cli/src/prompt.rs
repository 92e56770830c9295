//! The model and the prompt of a command: by position, or by options as llama.cpp has them.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// Without a prompt the model is asked this.
const PROMPT: &str = "47+58=";

#[derive(Debug, clap::Args)]
pub(crate) struct Prompted {
    /// A model file (GGUF) and the text to go on with; without a model, the one that ships, which adds two numbers of up to
    /// three digits.
    #[arg(value_names = ["MODEL", "PROMPT"], num_args = 0..=2)]
    positional: Vec<String>,
    /// A model file (GGUF).
    #[arg(short = 'm', long = "model", value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptOptions,
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

impl Prompted {
    /// The model, if one is named, and the prompt.
    pub(crate) fn model_and_prompt(&self) -> anyhow::Result<(Option<PathBuf>, String)> {
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
