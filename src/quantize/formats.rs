//! Which tensors of a model get which format.

use crate::quant::Format;

/// The formats of a model's tensors. Vectors (norms, biases) are always F32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formats {
    /// Of matrices.
    pub matrices: Format,
    /// Of the embedding, if it is another.
    pub embedding: Option<Format>,
    /// Of the output matrix, if it is another.
    pub output: Option<Format>,
    /// Of matrices whose names contain a text. The first that does counts, and before all others.
    pub named: Vec<(String, Format)>,
}

impl Formats {
    /// All matrices in one format.
    #[must_use]
    pub fn all(matrices: Format) -> Self {
        Self { matrices, embedding: None, output: None, named: Vec::new() }
    }

    /// The format of a tensor.
    #[must_use]
    pub fn of(&self, tensor: &str, dimensions: &[u64]) -> Format {
        if dimensions.len() < 2 {
            return Format::F32;
        }
        let named = self.named.iter().find(|(text, _)| tensor.contains(text.as_str())).map(|(_, format)| *format);
        let of_kind = || match tensor {
            "token_embd.weight" => self.embedding,
            "output.weight" => self.output,
            _ => None,
        };
        named.or_else(of_kind).unwrap_or(self.matrices)
    }
}
