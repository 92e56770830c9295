//! Q8_0: 32 weights share a scale, and each is an 8-bit integer times that.
//!
//! A block is 34 bytes: the scale `d` as f16, then the integers.

use half::f16;

use super::{Chunk, read_f16, words};

/// The largest integer that is used.
pub(super) const LARGEST: f32 = 127.0;

pub(super) fn quantize(weights: &[f32], blocks: &mut Vec<u8>) {
    let largest = weights.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = largest / LARGEST;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    blocks.extend(f16::from_f32(scale).to_le_bytes());
    blocks.extend(weights.iter().map(|x| (x * inverse).round() as i8 as u8));
}

pub(super) fn dequantize(block: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let scale = read_f16(block).to_f32();
    block[2..].iter().map(move |byte| f32::from(*byte as i8) * scale)
}

/// Puts block `n` of a chunk into it.
pub(super) fn unpack(block: &[u8], n: usize, chunk: &mut Chunk) {
    chunk.scales[n] = read_f16(block);
    chunk.words[8 * n..8 * n + 8].iter_mut().zip(words(&block[2..])).for_each(|(to, word)| *to = word);
}
