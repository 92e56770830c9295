//! Formats with five weights a byte: TQ1_0 and PTQ1_0. Each weight is a trit (0, 1 or 2) less one, times the scale.
//!
//! A byte is a fraction of 256 in base 3: `ceil(256 * 0.t0 t1 t2 t3 t4)`. Times 3 its first trit comes out on top, and the
//! rest stays, so that trit n is the top of `byte * 3^n` modulo 256, times 3. Bytes are in three groups, and the
//! weights of a group are first the first trits of all its bytes, then the second ones. In the last group they have four.
//!
//! | | block | groups: bytes | scale |
//! |---|---|---|---|
//! | TQ1_0 | 256 | 32, 16, 4 | last |
//! | PTQ1_0 | 128 | 16, 8, 2 | last |
//!
//! The device has four of them, of as many chunks, in 7 bits ([`Packed`](super::Packed)).

use half::f16;

use super::two_bit::ternary;
use super::{CHUNK, Chunk, Format, read_f16};

const POWERS: [u16; 5] = [1, 3, 9, 27, 81];

/// Where a weight is: its byte, and which of the byte's trits it is.
fn place(format: Format, n: usize) -> (usize, usize) {
    // a block of TQ1_0 is a block of PTQ1_0 with everything twice as wide
    let scale = format.block() / CHUNK;
    let (weight, byte, width) = match n / scale {
        0..80 => (0, 0, 16),
        80..120 => (80, 16, 8),
        _ => (120, 24, 2),
    };
    let (n, width) = (n - weight * scale, width * scale);
    (byte * scale + n % width, n / width)
}

/// The trits of a byte as codes of two bits, the first in the lowest.
const CODES: [u16; 256] = {
    let mut codes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut n = 0;
        while n < 5 {
            let top = byte as u16 * POWERS[n] % 256;
            codes[byte] |= (top * 3 / 256) << (2 * n);
            n += 1;
        }
        byte += 1;
    }
    codes
};

/// The trit of a weight.
fn trit(format: Format, block: &[u8], n: usize) -> u8 {
    let (byte, trit) = place(format, n);
    (CODES[usize::from(block[byte])] >> (2 * trit) & 3) as u8
}

fn encode(format: Format, scale: f16, trits: impl Iterator<Item = u8>, block: &mut [u8]) {
    let mut numbers = [0u16; 52];
    for (n, trit) in trits.enumerate() {
        let (byte, at) = place(format, n);
        numbers[byte] += u16::from(trit) * POWERS[4 - at];
    }
    let (bytes, end) = block.split_at_mut(block.len() - 2);
    for (byte, number) in bytes.iter_mut().zip(numbers) {
        *byte = (u32::from(number) * 256).div_ceil(243) as u8;
    }
    end.copy_from_slice(&scale.to_le_bytes());
}

/// The scale of a block.
fn scale(block: &[u8]) -> f16 {
    read_f16(&block[block.len() - 2..])
}

pub(super) fn quantize(format: Format, weights: &[f32], blocks: &mut Vec<u8>) {
    let (scale, trits) = ternary(format, weights);
    let first = blocks.len();
    blocks.resize(first + format.block_bytes(), 0);
    encode(format, scale, trits, &mut blocks[first..]);
}

pub(super) fn dequantize(format: Format, block: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let scale = scale(block).to_f32();
    (0..format.block()).map(move |n| (f32::from(trit(format, block, n)) - 1.0) * scale)
}

pub(super) fn unpack(format: Format, block: &[u8], chunks: &mut [Chunk]) {
    let (mut codes, scale) = ([0u8; 256], scale(block));
    let width = format.block() / CHUNK;
    let mut at = 0;
    for (bytes, trits) in [(0..16, 5), (16..24, 5), (24..26, 4)] {
        let bytes = &block[bytes.start * width..bytes.end * width];
        for trit in 0..trits {
            for (to, byte) in codes[at..].iter_mut().zip(bytes) {
                *to = (CODES[usize::from(*byte)] >> (2 * trit) & 3) as u8;
            }
            at += bytes.len();
        }
    }
    for (chunk, codes) in chunks.iter_mut().zip(codes.as_chunks::<CHUNK>().0) {
        let word = |codes: &[u8; 16]| (0..16).fold(0, |word, n| word | u32::from(codes[n]) << (2 * n));
        chunk.set_words(codes.as_chunks::<16>().0.iter().map(word));
        chunk.scales[0] = scale;
    }
}
