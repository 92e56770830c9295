//! Writes a model with random weights.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use warpwright::model::Architecture;
use warpwright::random::{RandomModel, Shape};

use crate::formats::FormatOptions;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright random --like bonsai-8b --layers 2 --format q1_0 -o model.gguf\n  \
                        warpwright random --like bonsai-4b --scale-down 8 --vocab 1000 --format tq2_0 \
                        --embedding-format q8_0 --seed 7 -o small.gguf")]
pub(crate) struct Arguments {
    /// The model whose shape it has; the options below change parts of it.
    #[arg(long, value_name = "MODEL", default_value = "bonsai-1.7b")]
    #[arg(value_parser = PossibleValuesParser::new(Shape::KNOWN.map(|(name, _)| name)))]
    like: String,
    /// Makes it so many times narrower: hidden state, feed-forward network and number of heads.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    scale_down: u32,
    /// qwen3, qwen2 or llama.
    #[arg(long)]
    architecture: Option<Architecture>,
    /// Transformer layers.
    #[arg(long, value_name = "N")]
    layers: Option<u32>,
    /// Elements of the hidden state.
    #[arg(long, value_name = "N")]
    hidden: Option<u32>,
    /// Elements of the feed-forward network's middle.
    #[arg(long, value_name = "N")]
    ffn: Option<u32>,
    /// Query heads.
    #[arg(long, value_name = "N")]
    heads: Option<u32>,
    /// Key and value heads.
    #[arg(long, value_name = "N")]
    kv_heads: Option<u32>,
    /// Elements of a head.
    #[arg(long, value_name = "N")]
    head_dim: Option<u32>,
    /// Tokens.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    vocab: Option<u32>,
    /// The longest sequence.
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// What RMS norms add to the mean square.
    #[arg(long, value_name = "X")]
    eps: Option<f32>,
    /// The base of the rotary position embedding.
    #[arg(long, value_name = "X")]
    rope_base: Option<f32>,
    /// YaRN, by its factor and the context before it (such as 4:16384), or `none`.
    #[arg(long, value_name = "FACTOR:CONTEXT", value_parser = parse_yarn)]
    yarn: Option<Yarn>,
    /// Whether the embedding is the output matrix too.
    #[arg(long, value_name = "BOOL")]
    tied: Option<bool>,
    #[command(flatten)]
    formats: FormatOptions,
    /// What the weights are made from: the same seed makes the same file.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The file to write (GGUF).
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Factor and context, or nothing.
type Yarn = Option<(f32, u32)>;

fn parse_yarn(text: &str) -> Result<Yarn, String> {
    if text == "none" {
        return Ok(None);
    }
    let parts = text.split_once(':').and_then(|(factor, context)| Some((factor.parse().ok()?, context.parse().ok()?)));
    parts.map(Some).ok_or_else(|| "it is neither `none` nor two numbers such as 4:16384".to_owned())
}

impl Arguments {
    fn shape(&self) -> Option<Shape> {
        let like = Shape::like(&self.like)?.scaled_down(self.scale_down);
        Some(Shape {
            architecture: self.architecture.unwrap_or(like.architecture),
            layers: self.layers.unwrap_or(like.layers),
            hidden: self.hidden.unwrap_or(like.hidden),
            ffn: self.ffn.unwrap_or(like.ffn),
            heads: self.heads.unwrap_or(like.heads),
            kv_heads: self.kv_heads.unwrap_or(like.kv_heads),
            head_dim: self.head_dim.unwrap_or(like.head_dim),
            vocab: self.vocab.unwrap_or(like.vocab),
            context: self.context.unwrap_or(like.context),
            eps: self.eps.unwrap_or(like.eps),
            rope_base: self.rope_base.unwrap_or(like.rope_base),
            yarn: self.yarn.unwrap_or(like.yarn),
            tied: self.tied.unwrap_or(like.tied),
        })
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shape = arguments.shape().ok_or_else(|| anyhow::anyhow!("`{}` is not known", arguments.like))?;
    let model = RandomModel { shape, formats: arguments.formats.formats(), seed: arguments.seed };
    let size = model.header()?.data_size();
    output::write(&arguments.output, size, |out| Ok(model.write(out).map(|_| ())?))
}
