//! Q1_0: 128 weights share a scale, and each is plus or minus that.
//!
//! In files a block is 18 bytes: the scale `d` as f16, then a bit for each weight, the first in the lowest bit of the
//! first byte; 1 is `+d`, 0 is `-d`. On the device bits are as in floating-point numbers: a set bit is a negative weight.

use half::f16;

use super::{Chunk, read_f16, words};

pub(super) fn quantize(weights: &[f32], blocks: &mut Vec<u8>) {
    let sum = weights.iter().fold(0.0f32, |sum, x| sum + x.abs());
    blocks.extend(f16::from_f32(sum / weights.len() as f32).to_le_bytes());
    let byte = |x: &[f32; 8]| (0..8).fold(0, |byte, n| byte | u8::from(x[n] >= 0.0) << n);
    blocks.extend(weights.as_chunks::<8>().0.iter().map(byte));
}

pub(super) fn weights(block: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let scale = read_f16(block).to_f32();
    let byte = move |byte: &u8| [0, 1, 2, 3, 4, 5, 6, 7].map(|n| if byte >> n & 1 == 1 { scale } else { -scale });
    block[2..].iter().flat_map(byte)
}

pub(super) fn unpack(block: &[u8], chunk: &mut Chunk) {
    chunk.scales[0] = read_f16(block);
    chunk.set_words(words(&block[2..]).map(|bits| !bits));
}
