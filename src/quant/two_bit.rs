//! Formats with two bits a weight: a code less one, times the scale of the block.
//!
//! | format | block | codes | scale |
//! |---|---|---|---|
//! | Q2_0 | 64 | in order, the first in the lowest bits of the first byte | first |
//! | Q2_0_g128, PQ2_0 | 128 | in order | first |
//! | TQ2_0_g128 | 128 | in order; 3 is 0, like 1 | last |
//! | TQ2_0 | 256 | in planes: byte 32i + m has weights 128i + m, 128i + 32 + m, 128i + 64 + m, 128i + 96 + m | last |
//!
//! On the device they are planes of bits ([`Packed`](super::Packed)), the scale apart, and 3 is always 2.

use half::f16;

use super::{CHUNK, Chunk, Format, read_f16, words};

/// The scale and the codes of a block.
fn split(format: Format, block: &[u8]) -> (f16, &[u8]) {
    match format {
        Format::Tq2_0 | Format::Tq2_0G128 => {
            let (codes, scale) = block.split_at(block.len() - 2);
            (read_f16(scale), codes)
        }
        _ => (read_f16(block), &block[2..]),
    }
}

/// Where the code of a weight is: its byte, and its lowest bit.
fn place(format: Format, n: usize) -> (usize, usize) {
    match format {
        Format::Tq2_0 => (n / 128 * 32 + n % 32, n % 128 / 32 * 2),
        _ => (n / 4, n % 4 * 2),
    }
}

/// The code of a weight, of which OxiBonsai has two for zero.
fn code(format: Format, codes: &[u8], n: usize) -> u8 {
    let (byte, bit) = place(format, n);
    match (format, codes[byte] >> bit & 3) {
        (Format::Tq2_0G128, 3) => 1,
        (_, code) => code,
    }
}

/// The scale of weights, which is the largest absolute value, and their codes: the nearest of -1, 0 and 1 times that, plus
/// one. As in the formats' own quantizers, ggml's multiply by the inverse, and OxiBonsai's compares with half of it.
pub(super) fn ternary(format: Format, weights: &[f32]) -> (f16, impl Iterator<Item = u8> + '_) {
    let scale = weights.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let code = move |x: &f32| match format {
        Format::Tq2_0G128 if scale > 0.0 => 1 + u8::from(*x >= 0.5 * scale) - u8::from(*x <= -0.5 * scale),
        _ => ((x * inverse).round().clamp(-1.0, 1.0) as i8 + 1) as u8,
    };
    (f16::from_f32(scale), weights.iter().map(code))
}

pub(super) fn quantize(format: Format, weights: &[f32], blocks: &mut Vec<u8>) {
    let (scale, codes) = ternary(format, weights);
    let first = blocks.len();
    blocks.resize(first + format.block_bytes(), 0);
    let block = &mut blocks[first..];
    let (codes_at, scale_at) = match format {
        Format::Tq2_0 | Format::Tq2_0G128 => (0, block.len() - 2),
        _ => (2, 0),
    };
    block[scale_at..scale_at + 2].copy_from_slice(&scale.to_le_bytes());
    for (n, code) in codes.enumerate() {
        let (byte, bit) = place(format, n);
        block[codes_at + byte] |= code << bit;
    }
}

pub(super) fn dequantize(format: Format, block: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let (scale, codes) = split(format, block);
    let scale = scale.to_f32();
    (0..format.block()).map(move |n| (f32::from(code(format, codes, n)) - 1.0) * scale)
}

pub(super) fn unpack(format: Format, blocks: &[u8], chunks: &mut [Chunk]) {
    let (scale, codes) = split(format, blocks);
    match format {
        Format::Tq2_0 => {
            for (n, chunk) in chunks.iter_mut().enumerate() {
                let code = |at: usize| u32::from(code(format, codes, CHUNK * n + at));
                chunk.set_words((0..8).map(|w| (0..16).fold(0, |word, at| word | code(16 * w + at) << (2 * at))));
                chunk.scales[0] = scale;
            }
        }
        Format::Tq2_0G128 => {
            // where both bits are set, the upper one goes
            chunks[0].set_words(words(codes).map(|word| word & !((word & word << 1) & 0xaaaa_aaaa)));
            chunks[0].scales[0] = scale;
        }
        Format::Q2_0 => {
            let (first, second) = blocks.split_at(format.block_bytes());
            let codes = [first, second].map(|block| words(&block[2..]));
            chunks[0].set_words(codes.into_iter().flatten());
            chunks[0].scales[..2].copy_from_slice(&[read_f16(first), read_f16(second)]);
        }
        _ => {
            chunks[0].set_words(words(codes));
            chunks[0].scales[0] = scale;
        }
    }
}
