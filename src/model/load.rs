//! Loading of what models are made of, out of a file and onto a device.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::error::{ModelError, check_shape};
use super::linear::Linear;
use super::upload::Upload;
use crate::buffer::Buffer;
use crate::gguf::{Gguf, Tensor};
use crate::quant::Format;

/// Takes tensors out of a file, and puts them on a device.
pub struct Loader<'g, 'p> {
    gguf: &'g Gguf,
    upload: Upload<'p>,
}

impl<'g, 'p> Loader<'g, 'p> {
    /// For a file and the device of a stream, where the buffers belong. `progress` is told of each part that is copied: how
    /// many bytes it has on the device.
    pub fn new(gguf: &'g Gguf, stream: &Arc<CudaStream>, progress: &'p mut dyn FnMut(u64)) -> Self {
        Self { gguf, upload: Upload::new(stream, progress) }
    }

    /// The file.
    #[must_use]
    pub fn gguf(&self) -> &'g Gguf {
        self.gguf
    }

    /// Whether the file has a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_ok()
    }

    /// A vector, which may be in any format that has no blocks.
    ///
    /// # Errors
    /// A tensor that is missing, has another length or is in blocks; or what the driver says.
    pub fn vector(&mut self, name: &str, length: u32) -> Result<Buffer<f32>, ModelError> {
        let numbers = self.vector_on_host(name, length)?;
        Ok(self.upload.put(&numbers)?)
    }

    /// Vectors one after the other in one buffer.
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn vectors(&mut self, parts: &[(String, u32)]) -> Result<Buffer<f32>, ModelError> {
        let mut numbers = Vec::new();
        for (name, length) in parts {
            numbers.extend(self.vector_on_host(name, *length)?);
        }
        Ok(self.upload.put(&numbers)?)
    }

    pub(super) fn vector_on_host(&self, name: &str, length: u32) -> Result<Vec<f32>, ModelError> {
        let tensor = self.gguf.tensor(name)?;
        check_shape(&tensor, &[u64::from(length)])?;
        let format = format_of(&tensor)?;
        if format.block() > 1 {
            let supported = "F32, F16, BF16".to_owned();
            return Err(ModelError::Format { tensor: tensor.name.to_owned(), found: tensor.ty, supported });
        }
        Ok(format.dequantize(tensor.data)?)
    }

    pub(super) fn put<T: bytemuck::Pod>(&mut self, elements: &[T]) -> Result<Buffer<T>, ModelError> {
        Ok(self.upload.put(elements)?)
    }

    /// Matrices of `columns` inputs as one, the rows of one after those of the other: their names and rows.
    ///
    /// # Errors
    /// A tensor that is missing, or has not this shape or no format of weights; or what the driver says.
    pub fn linear(&mut self, matrices: &[(String, u32)], columns: u32) -> Result<Linear, ModelError> {
        let mut parts = Vec::new();
        for (name, rows) in matrices {
            let tensor = self.gguf.tensor(name)?;
            check_shape(&tensor, &[u64::from(columns), u64::from(*rows)])?;
            parts.push((format_of(&tensor)?, tensor.data, *rows));
        }
        Linear::upload(&mut self.upload, &parts, columns)
    }
}

/// The format of a tensor's weights.
pub(super) fn format_of(tensor: &Tensor<'_>) -> Result<Format, ModelError> {
    tensor.ty.format().ok_or_else(|| ModelError::Format {
        tensor: tensor.name.to_owned(),
        found: tensor.ty,
        supported: Format::ALL.map(Format::name).join(", "),
    })
}
