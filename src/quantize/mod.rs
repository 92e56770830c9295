//! Puts the weights of a model into other formats.

mod error;
mod formats;

use std::io::Write;

pub use error::QuantizeError;
pub use formats::Formats;

use crate::gguf::{Gguf, Header, Value};
use crate::quant::Format;

/// Weights that are converted at a time: whole blocks in every format.
const PIECE: u64 = 1 << 16;

/// A model whose weights are to be written in other formats: what is known of it, and where its weights are.
#[derive(Debug)]
pub struct Source<'a> {
    /// The keys of the new file.
    header: Header,
    tensors: Vec<SourceTensor<'a>>,
}

/// A tensor in the format that it has.
#[derive(Debug)]
struct SourceTensor<'a> {
    name: String,
    dimensions: Vec<u64>,
    format: Format,
    data: &'a [u8],
}

impl<'a> Source<'a> {
    /// A model from elsewhere, by the keys that its file gets; without tensors.
    #[must_use]
    pub fn new(keys: Header) -> Self {
        Self { header: keys, tensors: Vec::new() }
    }

    /// Adds a tensor; `dimensions` begin with the one that is contiguous in memory.
    ///
    /// # Errors
    /// [`QuantizeError::Size`] if `data` is not what these dimensions take.
    pub fn push(
        &mut self,
        name: &str,
        dimensions: &[u64],
        format: Format,
        data: &'a [u8],
    ) -> Result<(), QuantizeError> {
        // The header counts, and knows what can be counted.
        let expected = Header::new().tensor(name, dimensions, format.into())?;
        if expected != data.len() as u64 {
            return Err(QuantizeError::Size { tensor: name.to_owned(), expected, found: data.len() as u64 });
        }
        self.tensors.push(SourceTensor { name: name.to_owned(), dimensions: dimensions.to_vec(), format, data });
        Ok(())
    }

    /// The model of a GGUF file. Its keys stay, but for those that say in what format it was.
    ///
    /// # Errors
    /// A tensor in a format that is not known, or a key that cannot be written.
    pub fn gguf(gguf: &'a Gguf) -> Result<Self, QuantizeError> {
        let mut header = Header::new();
        for (key, value) in gguf.metadata() {
            match key {
                "general.file_type" => {}
                "general.quantization_version" => header.set(key, Value::U32(2))?,
                // Some write it as a number of another width.
                "general.alignment" => {
                    let alignment = value.as_integer().and_then(|alignment| u32::try_from(alignment).ok());
                    header.set(key, alignment.map_or(value, Value::U32))?;
                }
                _ => header.set(key, value)?,
            }
        }
        let tensors = gguf.tensors().map(|tensor| {
            let name = tensor.name.to_owned();
            let unknown = || QuantizeError::Type { tensor: name.clone(), ty: tensor.ty };
            let format = tensor.ty.format().ok_or_else(unknown)?;
            Ok(SourceTensor { name, dimensions: tensor.dimensions.to_vec(), format, data: tensor.data })
        });
        Ok(Self { header, tensors: tensors.collect::<Result<_, QuantizeError>>()? })
    }

    /// What stands before the weights in the new file; its size says how long the file gets.
    ///
    /// # Errors
    /// Rows that are no whole blocks of their format, by tensor.
    pub fn header(&self, formats: &Formats) -> Result<Header, QuantizeError> {
        let mut header = self.header.clone();
        for SourceTensor { name, dimensions, .. } in &self.tensors {
            header.tensor(name, dimensions, formats.of(name, dimensions).into())?;
        }
        Ok(header)
    }

    /// Writes the new file, and gives back what it was written to. Weights whose format stays are copied as they are.
    ///
    /// # Errors
    /// What [`Source::header`] says, weights that a format cannot hold, and what `out` says.
    pub fn write<W: Write>(&self, formats: &Formats, out: W) -> Result<W, QuantizeError> {
        let mut writer = self.header(formats)?.start(out)?;
        let mut blocks = Vec::new();
        for SourceTensor { name, dimensions, format, data } in &self.tensors {
            let wanted = formats.of(name, dimensions);
            if wanted == *format {
                writer.data(data)?;
                continue;
            }
            // Pieces of both are whole blocks, because rows are.
            let piece = PIECE as usize / format.block() * format.block_bytes();
            for (n, piece) in data.chunks(piece).enumerate() {
                let failed = |error| QuantizeError::Weights { tensor: name.clone(), from: n as u64 * PIECE, error };
                let weights = format.dequantize(piece).map_err(failed)?;
                blocks.clear();
                wanted.quantize(&weights, &mut blocks).map_err(failed)?;
                writer.data(&blocks)?;
            }
        }
        Ok(writer.finish()?)
    }
}
