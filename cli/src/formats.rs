//! The options that say which tensors get which format.

use warpwright::quant::Format;
use warpwright::quantize::Formats;

/// Which tensors get which format.
#[derive(Debug, clap::Args)]
pub(crate) struct FormatOptions {
    /// The format of matrices: F32, F16, BF16, Q8_0, Q1_0, TQ1_0, TQ2_0, Q2_0, Q2_0_g128, TQ2_0_g128, PQ2_0 or PTQ1_0.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// The format of the embedding, if it is another.
    #[arg(long, value_name = "FORMAT")]
    embedding_format: Option<Format>,
    /// The format of the output matrix, if it is another.
    #[arg(long, value_name = "FORMAT")]
    output_format: Option<Format>,
    /// The format of matrices whose names contain a text, before all others, such as `ffn_down=q8_0`. May be repeated.
    #[arg(long, value_name = "TEXT=FORMAT", value_parser = parse_named)]
    tensor_format: Vec<(String, Format)>,
}

fn parse_named(text: &str) -> Result<(String, Format), String> {
    let (name, format) = text.split_once('=').ok_or("there is no `=` in it")?;
    Ok((name.to_owned(), format.parse().map_err(|error| format!("{error}"))?))
}

impl FormatOptions {
    pub(crate) fn formats(&self) -> Formats {
        Formats {
            matrices: self.format,
            embedding: self.embedding_format,
            output: self.output_format,
            named: self.tensor_format.clone(),
        }
    }
}
