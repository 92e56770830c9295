//! What a device can do at most, measured: reading and copying memory, and arithmetic.
//!
//! The speed of a kernel says little without that of the memory it reads, and datasheets have neither the clocks nor the
//! card that are there. So benchmarks measure these in the same run, by the same method: a graph of several launches,
//! whose data is more than the L2 cache holds, timed by events, the median of several replays.

use cudarc::driver::DriverError;

use crate::Stream;
use crate::buffer::{Buffer, BufferError};
use crate::device::Properties;
use crate::kernel::Kernels;
use crate::kernel::ceilings::{ByteProducts, MatrixProducts, ReadAll};
use crate::launch::{Graph, GraphError, LaunchError, time_replays};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeilingError {
    /// Memory for it.
    #[error("a ceiling cannot be measured: {0}")]
    Buffer(#[from] BufferError),
    /// A graph of it.
    #[error("a ceiling cannot be measured: {0}")]
    Graph(#[from] GraphError),
    /// The driver.
    #[error("a ceiling cannot be measured: the driver says {0:?}")]
    Driver(#[from] DriverError),
}

impl From<LaunchError> for CeilingError {
    fn from(error: LaunchError) -> Self {
        Self::Graph(error.into())
    }
}

/// Threads of a block, of all these kernels.
const THREADS: u64 = 512;
/// Instructions of a thread, and of a warp, in one launch: eight chains of 32.
const INSTRUCTIONS: f64 = 256.0;
/// Replays that are not counted.
const WARM_UP: usize = 2;

/// Measures ceilings of a device.
#[derive(Debug)]
pub struct Ceilings<'a> {
    kernels: &'a Kernels,
    stream: &'a Stream,
    device: Properties,
    /// Replays that are counted.
    repetitions: usize,
    /// What is read and copied.
    pool: Buffer<u32>,
}

impl<'a> Ceilings<'a> {
    /// Takes `bytes` of memory for what is read and copied, and fills it with numbers without a pattern (memory that is all
    /// zeros can be faster). Several times the L2 cache is enough. Each figure is the median of `repetitions`, at least one.
    ///
    /// # Errors
    /// See [`CeilingError`].
    pub fn new(kernels: &'a Kernels, stream: &'a Stream, bytes: u64, repetitions: usize) -> Result<Self, CeilingError> {
        const PIECE: usize = 1 << 20;
        let device = Properties::of(stream.context())?;
        let elements = (bytes as usize / 4).next_multiple_of(8);
        let pool = Buffer::zeroed(stream, elements)?;
        let mut state = 1u32;
        let mut number = || {
            // Marsaglia's xorshift, of 2003
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let piece: Vec<u32> = (0..PIECE.min(elements)).map(|_| number()).collect();
        let piece = Buffer::from_host(stream, &piece)?;
        let fill = Graph::record(kernels, |graph| {
            for start in (0..elements).step_by(PIECE) {
                let length = PIECE.min(elements - start);
                let (from, mut to) = (slice(&piece, 0, length)?, slice(&pool, start, length)?);
                graph.copy(&from, &mut to)?;
            }
            Ok(())
        })?;
        fill.launch(stream)?;
        stream.synchronize()?;
        Ok(Self { kernels, stream, device, repetitions: repetitions.max(1), pool })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Properties {
        &self.device
    }

    /// The bytes that can be read at a time.
    #[must_use]
    pub fn pool(&self) -> u64 {
        self.pool.bytes() as u64
    }

    /// Seconds to read so many bytes, by a kernel that does nothing else, with the grid that does it fastest.
    ///
    /// # Errors
    /// See [`CeilingError`].
    pub fn read(&self, bytes: u64) -> Result<f64, CeilingError> {
        let pieces = self.pieces(bytes, 1)?;
        let mut best = f64::INFINITY;
        for blocks_of_each in [1, 2, 4, 8, 16] {
            let blocks = (self.device.multiprocessors * blocks_of_each).max(1);
            let useful = (bytes / 16).div_ceil(THREADS).max(1);
            if blocks_of_each > 1 && u64::from(blocks / 2) > useful {
                break;
            }
            let mut sums = Buffer::zeroed(self.stream, blocks as usize)?;
            let graph = Graph::record(self.kernels, |graph| {
                for piece in &pieces {
                    let count = piece.len() as u64;
                    ReadAll { words: piece, sums: &mut sums, count, blocks }.launch(graph)?;
                }
                Ok(())
            })?;
            best = best.min(self.replay(&graph)? / pieces.len() as f64);
        }
        Ok(best)
    }

    /// Seconds to copy so many bytes on the device, which reads as many and writes as many.
    ///
    /// # Errors
    /// See [`CeilingError`].
    pub fn copy(&self, bytes: u64) -> Result<f64, CeilingError> {
        let pieces = self.pieces(bytes, 2)?;
        let graph = Graph::record(self.kernels, |graph| {
            for pair in pieces.chunks_exact(2) {
                graph.copy(&pair[0], &mut pair[1].clone())?;
            }
            Ok(())
        })?;
        Ok(self.replay(&graph)? / (pieces.len() / 2) as f64)
    }

    /// Operations a second of products of bytes (`dp4a`): a product and a sum are two.
    ///
    /// # Errors
    /// See [`CeilingError`].
    pub fn byte_operations(&self) -> Result<f64, CeilingError> {
        let blocks = self.blocks_of_arithmetic();
        let mut out = Buffer::zeroed(self.stream, blocks as usize * THREADS as usize)?;
        let graph = Graph::record(self.kernels, |graph| {
            ByteProducts { out: &mut out, seed: 0x0305_0709, blocks }.launch(graph)?;
            Ok(())
        })?;
        Ok(f64::from(blocks) * THREADS as f64 * INSTRUCTIONS * 8.0 / self.replay(&graph)?)
    }

    /// Operations a second of products of matrices in f16 with sums in f32, on tensor cores (`mma.sync`): a product and a
    /// sum are two.
    ///
    /// # Errors
    /// See [`CeilingError`].
    pub fn matrix_operations(&self) -> Result<f64, CeilingError> {
        let blocks = self.blocks_of_arithmetic();
        let mut out = Buffer::zeroed(self.stream, blocks as usize * THREADS as usize)?;
        let graph = Graph::record(self.kernels, |graph| {
            // 1.5 and 0.75, and their negatives
            MatrixProducts { out: &mut out, a: 0x3e00_be00, b: 0x3a00_ba00, blocks }.launch(graph)?;
            Ok(())
        })?;
        Ok(f64::from(blocks) * THREADS as f64 / 32.0 * INSTRUCTIONS * 4096.0 / self.replay(&graph)?)
    }

    /// Enough blocks that the start and the end of a launch are little of it.
    fn blocks_of_arithmetic(&self) -> u32 {
        // One repetition is for a look whether it works.
        if self.repetitions == 1 { 4 } else { (64 * self.device.multiprocessors).max(1) }
    }

    /// Parts of the pool of `bytes`, as many as there are, up to a number: a multiple of `multiple`.
    fn pieces(&self, bytes: u64, multiple: usize) -> Result<Vec<Buffer<u32>>, CeilingError> {
        const MOST: usize = 128;
        // The parts are aligned to 32 bytes, which is a sector.
        let length = (bytes as usize / 4).max(8).next_multiple_of(8);
        let count = (self.pool.len() / length).min(MOST) / multiple * multiple;
        if count == 0 {
            // Asking for more than there is gives the error that says so.
            slice(&self.pool, 0, multiple.saturating_mul(length))?;
        }
        (0..count).map(|n| Ok(slice(&self.pool, n * length, length)?)).collect()
    }

    /// The median of the seconds of a replay.
    fn replay(&self, graph: &Graph) -> Result<f64, CeilingError> {
        let warm_up = if self.repetitions == 1 { 0 } else { WARM_UP };
        Ok(time_replays(graph, self.stream, warm_up, self.repetitions)?)
    }
}

/// A part of a buffer, with an error that a recording can return.
fn slice(buffer: &Buffer<u32>, start: usize, length: usize) -> Result<Buffer<u32>, BufferError> {
    buffer.slice(start..start.saturating_add(length))
}
