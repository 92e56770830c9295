//! The keys and values of a layer.

use std::fmt;
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{CudaStream, result};
use half::f16;

use super::config::Config;
use super::error::ModelError;
use crate::buffer::{Buffer, BufferError};
use crate::launch::{Crossing, is_capturing, ordered};

/// What the elements of keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KvFormat {
    /// 16-bit floating-point numbers.
    #[default]
    F16,
    /// 8-bit integers, with a scale for each position and KV head: about half the memory. An element is off by at most
    /// 1/254 of the largest of its head.
    Q8,
}

impl KvFormat {
    /// Its name, as llama.cpp has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8_0",
        }
    }

    /// The bytes of the keys and values of one position in one layer.
    #[must_use]
    pub fn bytes(self, config: &Config) -> u64 {
        let (heads, elements) = (2 * u64::from(config.kv_heads), u64::from(config.head_dim));
        match self {
            Self::F16 => heads * elements * 2,
            Self::Q8 => heads * (elements + 4),
        }
    }
}

/// What a cache has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// What its elements are.
    pub format: KvFormat,
    /// Key heads, and as many value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Positions.
    pub context: u32,
}

impl fmt::Display for KvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, kv_heads, head_dim, context } = self;
        write!(f, "{context} positions of {kv_heads} heads of {head_dim} elements in {format:?}")
    }
}

/// The keys and values of one layer, for every position of a context.
#[derive(Debug)]
pub struct KvCache {
    pub(super) elements: Elements,
    shape: KvShape,
}

/// Keys and values, in one of the formats.
#[derive(Debug)]
pub(super) enum Elements {
    F16(Rows<f16>),
    Q8(Rows<i8>),
}

/// Keys and values in one format.
#[derive(Debug)]
pub(super) struct Rows<T> {
    /// `[kv_heads, context, head_dim]`
    pub(super) keys: Buffer<T>,
    /// `[kv_heads, context, head_dim]`
    pub(super) values: Buffer<T>,
    /// `[kv_heads, context]`, of 8-bit keys.
    pub(super) key_scales: Option<Buffer<f32>>,
    /// `[kv_heads, context]`, of 8-bit values.
    pub(super) value_scales: Option<Buffer<f32>>,
}

/// Does the same with the [`Rows`] of a cache, whichever their format.
macro_rules! with_rows {
    ($cache:expr, |$rows:ident| $work:block) => {
        match &mut $cache.elements {
            $crate::model::kv_cache::Elements::F16($rows) => $work,
            $crate::model::kv_cache::Elements::Q8($rows) => $work,
        }
    };
}
pub(super) use with_rows;

impl KvCache {
    /// Memory for the keys and values of a layer.
    ///
    /// # Errors
    /// [`ModelError::Buffer`]
    pub fn new(stream: &Arc<CudaStream>, config: &Config, context: u32, format: KvFormat) -> Result<Self, ModelError> {
        let &Config { kv_heads, head_dim, .. } = config;
        let shape = KvShape { format, kv_heads, head_dim, context };
        let elements = match format {
            KvFormat::F16 => Elements::F16(Rows::new(stream, &shape, false)?),
            KvFormat::Q8 => Elements::Q8(Rows::new(stream, &shape, true)?),
        };
        Ok(Self { elements, shape })
    }

    /// What it has room for.
    #[must_use]
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Copies the keys and values of the first positions of another cache of the same device, whose context may be
    /// another, and waits for the copy.
    ///
    /// # Errors
    /// [`ModelError::Caches`] if the caches differ in more than their context, or have not so many positions: then nothing
    /// has changed. Or [`ModelError::Buffer`].
    pub fn copy_from(&mut self, other: &Self, positions: u32) -> Result<(), ModelError> {
        let (from, to) = (other.shape, self.shape);
        let differ = ModelError::Caches { positions, from, to };
        if positions > from.context.min(to.context) || (KvShape { context: to.context, ..from }) != to {
            return Err(differ);
        }
        match (&mut self.elements, &other.elements) {
            (Elements::F16(to), Elements::F16(from)) => to.copy_from(from, &self.shape, positions)?,
            (Elements::Q8(to), Elements::Q8(from)) => to.copy_from(from, &self.shape, positions)?,
            _ => return Err(differ),
        }
        Ok(())
    }
}

impl<T: Pod> Rows<T> {
    fn new(stream: &Arc<CudaStream>, shape: &KvShape, scaled: bool) -> Result<Self, BufferError> {
        // What does not fit in an address is too large for a buffer as well.
        let rows = (shape.kv_heads as usize).saturating_mul(shape.context as usize);
        let elements = rows.saturating_mul(shape.head_dim as usize);
        let scales = || scaled.then(|| Buffer::zeroed(stream, rows)).transpose();
        Ok(Self {
            keys: Buffer::zeroed(stream, elements)?,
            values: Buffer::zeroed(stream, elements)?,
            key_scales: scales()?,
            value_scales: scales()?,
        })
    }

    fn copy_from(&mut self, from: &Self, shape: &KvShape, positions: u32) -> Result<(), BufferError> {
        let (heads, scales) = (shape.kv_heads as usize, positions as usize);
        // No more than the elements of a head, which fit.
        let elements = scales * shape.head_dim as usize;
        copy_rows(&from.keys, &self.keys, heads, elements)?;
        copy_rows(&from.values, &self.values, heads, elements)?;
        let pairs = [(&mut self.key_scales, &from.key_scales), (&mut self.value_scales, &from.value_scales)];
        for (to, from) in pairs {
            if let (Some(to), Some(from)) = (to, from) {
                copy_rows(from, to, heads, scales)?;
            }
        }
        Ok(())
    }
}

/// Copies the first `elements` of each row of a buffer to another one, and waits for the copy. Both have `rows` rows of equal
/// length, at least as long as that.
fn copy_rows<T>(from: &Buffer<T>, to: &Buffer<T>, rows: usize, elements: usize) -> Result<(), BufferError> {
    let (stream, other) = (to.stream(), from.stream());
    let context = stream.context();
    if context != other.context() {
        return Err(BufferError::Context { from: other.context().ordinal(), to: context.ordinal() });
    }
    context.bind_to_thread()?;
    if is_capturing(stream)? || is_capturing(other)? {
        return Err(BufferError::Capturing);
    }
    let mut pieces = Vec::with_capacity(rows);
    for row in 0..rows {
        let piece = |buffer: &Buffer<T>| {
            let start = buffer.len() / rows * row;
            buffer.slice(start..start.saturating_add(elements))
        };
        pieces.push((piece(to)?, piece(from)?));
    }
    ordered(&Crossing::new(context)?, stream, [stream, other].into_iter(), || {
        for (to, from) in pieces.iter().filter(|(to, _)| !to.is_empty()) {
            // SAFETY: both pieces are as long, in one context, and stay until the copy is done, which is waited for.
            unsafe { result::memcpy_dtod_async(to.address(), from.address(), to.bytes(), stream.cu_stream()) }?;
        }
        Ok::<(), BufferError>(())
    })?;
    Ok(stream.synchronize()?)
}
