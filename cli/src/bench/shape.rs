//! Models of random weights, for those who have no file.

use clap::builder::PossibleValuesParser;
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

/// Short names of the models that benchmarks are mostly of.
const SHORT: [(&str, &str); 3] = [("8b", "bonsai-8b"), ("4b", "bonsai-4b"), ("1.7b", "bonsai-1.7b")];

/// The model that is made.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Random model")]
pub(crate) struct ShapeOptions {
    /// Makes a model with random weights of this shape, instead of reading a file: 8b, 4b and 1.7b are those of Bonsai.
    #[arg(long, value_name = "SHAPE", conflicts_with_all = ["model", "positional"])]
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    shape: Option<String>,
    /// The format of its matrices.
    #[arg(long, value_name = "FORMAT", requires = "shape", default_value = "q1_0")]
    format: Format,
    /// Makes it so many times narrower.
    #[arg(long, value_name = "K", requires = "shape", value_parser = clap::value_parser!(u32).range(1..))]
    scale_down: Option<u32>,
    /// Transformer layers.
    #[arg(long, value_name = "N", requires = "shape")]
    layers: Option<u32>,
    /// Tokens of its vocabulary.
    #[arg(long, value_name = "N", requires = "shape", value_parser = clap::value_parser!(u32).range(1..))]
    vocab: Option<u32>,
}

/// The name in full.
fn long(name: &str) -> &str {
    SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long)
}

fn names() -> Vec<&'static str> {
    SHORT.map(|(short, _)| short).into_iter().chain(Shape::KNOWN.map(|(name, _)| name)).collect()
}

impl ShapeOptions {
    pub(crate) fn is_given(&self) -> bool {
        self.shape.is_some()
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        let mut name = long(self.shape.as_deref().unwrap_or_default()).to_owned();
        if let Some(factor) = self.scale_down {
            name += &format!("/{factor}");
        }
        format!("{name} in {}", self.format.name())
    }

    /// The model, if one is wanted, with room for sequences of `longest` tokens.
    pub(crate) fn model(&self, longest: usize) -> anyhow::Result<Option<RandomModel>> {
        let Some(name) = &self.shape else { return Ok(None) };
        let like = Shape::like(long(name)).ok_or_else(|| anyhow::anyhow!("`{name}` is not known"))?;
        let like = like.scaled_down(self.scale_down.unwrap_or(1));
        let shape = Shape {
            layers: self.layers.unwrap_or(like.layers),
            vocab: self.vocab.unwrap_or(like.vocab),
            // The weights are random, and so is what comes after the context of the original.
            context: like.context.max(u32::try_from(longest)?),
            ..like
        };
        Ok(Some(RandomModel { shape, formats: Formats::all(self.format), seed: 0 }))
    }
}
