//! Q1_0: 128 weights share a scale, and each is plus or minus that.
//!
//! In files a block is 18 bytes: the scale `d` as f16, then a bit for each weight, the first in the lowest bit of the
//! first byte; 1 is `+d`, 0 is `-d`. On the device bits are as in floating-point numbers: a set bit is a negative weight.

use half::f16;

use super::{read_f16, words};
use crate::types::Uint4;

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

pub(super) fn pack(block: &[u8], packed: &mut super::Packed) {
    packed.scales.push(read_f16(block));
    packed.words.extend(words(&block[2..]).map(|bits| !bits));
}

/// Weights of a block.
pub const BLOCK: usize = 128;
/// Bytes of a block in files.
pub const BLOCK_BYTES: usize = 18;

/// Blocks of weights as the kernels read them.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// 128 sign bits of each block.
    pub signs: Vec<Uint4>,
    /// The scale of each block.
    pub scales: Vec<f16>,
}

/// Splits a block into its scale and its bits.
fn split(block: &[u8; BLOCK_BYTES]) -> (f16, &[u8]) {
    (f16::from_le_bytes([block[0], block[1]]), &block[2..])
}

/// Repacks blocks for the kernels. Bytes at the end that are no whole block are left out.
#[must_use]
pub fn pack_for_device(blocks: &[u8]) -> Packed {
    let (blocks, _) = blocks.as_chunks::<BLOCK_BYTES>();
    let signs_of = |bits: &[u8]| {
        let (words, _) = bits.as_chunks::<4>();
        let mut signs = [0; 4];
        for (sign, word) in signs.iter_mut().zip(words) {
            *sign = !u32::from_le_bytes(*word);
        }
        Uint4(signs)
    };
    let (scales, signs) = blocks.iter().map(split).map(|(scale, bits)| (scale, signs_of(bits))).unzip();
    Packed { signs, scales }
}

/// The weights of blocks. Bytes at the end that are no whole block are left out.
pub fn dequantize(blocks: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let (blocks, _) = blocks.as_chunks::<BLOCK_BYTES>();
    blocks.iter().flat_map(|block| {
        let (scale, bits) = split(block);
        let scale = scale.to_f32();
        (0..BLOCK).map(move |n| if bits[n / 8] >> (n % 8) & 1 == 1 { scale } else { -scale })
    })
}
