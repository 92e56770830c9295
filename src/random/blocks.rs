//! Random weights in any format: valid blocks, made without a number being packed.

use half::{bf16, f16};

use super::numbers::Numbers;
use crate::quant::Format;

/// The factor from the deviation of numbers that are uniform around 0 to the largest of them.
const UNIFORM: f32 = 1.732_050_8;
/// The factor from the deviation of -1, 0 and 1 times a scale, each as often, to the scale.
const TERNARY: f32 = 1.224_744_9;

/// Appends `blocks` random blocks, whose weights have mean 0 and about the given deviation.
pub(super) fn fill(format: Format, numbers: &mut Numbers, deviation: f32, blocks: usize, out: &mut Vec<u8>) {
    let bytes = format.block_bytes();
    out.reserve(blocks * bytes);
    for _ in 0..blocks {
        match format {
            Format::F32 => out.extend((numbers.uniform() * UNIFORM * deviation).to_le_bytes()),
            Format::F16 => out.extend(f16::from_f32(numbers.uniform() * UNIFORM * deviation).to_le_bytes()),
            Format::Bf16 => out.extend(bf16::from_f32(numbers.uniform() * UNIFORM * deviation).to_le_bytes()),
            Format::Q8_0 => {
                scale(numbers, UNIFORM * deviation / 127.0, out);
                // -127 to 127: the quantizer makes no -128.
                bytes_of(numbers, bytes - 2, out, |chance| (digits(chance, 255) as i32 - 127) as u8);
            }
            Format::Q1_0 => {
                scale(numbers, deviation, out);
                bytes_of(numbers, bytes - 2, out, |chance| chance as u8);
            }
            Format::Tq1_0 | Format::Ptq1_0 => {
                // Bytes of five trits, then some of four, then the scale.
                let fours = format.block() / 64;
                bytes_of(numbers, bytes - 2 - fours, out, |chance| trits(digits(chance, 243)));
                bytes_of(numbers, fours, out, |chance| trits(digits(chance, 81) * 3));
                scale(numbers, TERNARY * deviation, out);
            }
            Format::Tq2_0 | Format::Tq2_0G128 => {
                bytes_of(numbers, bytes - 2, out, codes);
                scale(numbers, TERNARY * deviation, out);
            }
            Format::Q2_0 | Format::Q2_0G128 | Format::Pq2_0 => {
                scale(numbers, TERNARY * deviation, out);
                bytes_of(numbers, bytes - 2, out, codes);
            }
        }
    }
}

/// A scale around a value.
fn scale(numbers: &mut Numbers, around: f32, out: &mut Vec<u8>) {
    out.extend(f16::from_f32(around * (1.0 + 0.25 * numbers.uniform())).to_le_bytes());
}

/// Bytes, each made of 16 random bits.
fn bytes_of(numbers: &mut Numbers, count: usize, out: &mut Vec<u8>, byte: impl Fn(u16) -> u8) {
    let mut left = count;
    while left > 0 {
        let bits = numbers.bits();
        for part in 0..left.min(4) {
            out.push(byte((bits >> (16 * part)) as u16));
        }
        left -= left.min(4);
    }
}

/// A number under `limit`, of 16 random bits.
fn digits(chance: u16, limit: u32) -> u32 {
    (u32::from(chance) * limit) >> 16
}

/// The byte for a number in base 3, of five digits: the digits after the point when it is divided by 3^5.
fn trits(number: u32) -> u8 {
    (number * 256).div_ceil(243) as u8
}

/// Four codes of two bits, each 0, 1 or 2.
fn codes(chance: u16) -> u8 {
    let number = digits(chance, 81);
    let code = |n: u32| (number / 3u32.pow(n) % 3) << (2 * n);
    (code(0) | code(1) | code(2) | code(3)) as u8
}
