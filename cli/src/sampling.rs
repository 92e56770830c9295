//! The options that say how tokens are chosen, by the names that users of llama.cpp know.

use warpwright::model::Sampling;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingOptions {
    /// Divides logits before a token is drawn; 0 takes the most likely one.
    #[arg(long, visible_alias = "temperature", value_name = "T", default_value_t = 0.0)]
    temp: f32,
    /// Draws from this many of the most likely tokens; 0 is all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: u32,
    /// Draws from the fewest of the most likely tokens whose probabilities sum to this.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Draws from tokens that are this many times as likely as the most likely one.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// Makes recent tokens less likely; 1 changes nothing.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// How many tokens are recent.
    #[arg(long, value_name = "N", default_value_t = 64)]
    repeat_last_n: u32,
    /// Draws follow from it: with the same seed comes the same text. Without one it is a new one each time.
    #[arg(short = 's', long)]
    seed: Option<u64>,
}

impl SamplingOptions {
    pub(crate) fn sampling(&self) -> Sampling {
        let seed = self.seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(std::process::id())
        });
        Sampling {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            penalty: self.repeat_penalty,
            window: self.repeat_last_n,
            seed,
        }
    }
}
