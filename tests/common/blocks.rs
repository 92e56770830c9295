//! Blocks of all weight formats: their weights, in plain loops over f64 from the table of formats, and random ones.
//!
//! It shares nothing with `warpwright::quant`, which it is the measure of: formats are names here.

use half::{bf16, f16};

use super::Random;

fn scale(block: &[u8], at: usize) -> f64 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f64()
}

/// Codes of two bits, the first in the lowest: the code less one, times the scale.
fn two_bit(codes: &[u8], scale: f64, weights: &mut Vec<f64>) {
    for byte in codes {
        for shift in [0, 2, 4, 6] {
            weights.push((f64::from(byte >> shift & 3) - 1.0) * scale);
        }
    }
}

/// Trits: groups of bytes, whose first trits come first.
fn trits(groups: &[(&[u8], u32)], scale: f64, weights: &mut Vec<f64>) {
    for (bytes, trits) in groups {
        for n in 0..*trits {
            for byte in *bytes {
                let top = byte.wrapping_mul(3u8.pow(n));
                weights.push((f64::from((u16::from(top) * 3) >> 8) - 1.0) * scale);
            }
        }
    }
}

/// The weights of blocks in a format.
pub fn weights(format: &str, bytes: &[u8]) -> Vec<f64> {
    let mut weights = Vec::new();
    let size = block(format).1;
    assert_eq!(bytes.len() % size, 0, "whole blocks");
    for b in bytes.chunks_exact(size) {
        match format {
            "F32" => weights.push(f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            "F16" => weights.push(scale(b, 0)),
            "BF16" => weights.push(f64::from(f32::from_bits(u32::from_le_bytes([0, 0, b[0], b[1]])))),
            "Q8_0" => weights.extend(b[2..].iter().map(|byte| f64::from(byte.cast_signed()) * scale(b, 0))),
            "Q1_0" => {
                for j in 0..128 {
                    let bit = b[2 + j / 8] & (1 << (j % 8)) != 0;
                    weights.push(if bit { scale(b, 0) } else { -scale(b, 0) });
                }
            }
            "TQ2_0" => {
                for half in [0, 32] {
                    for shift in [0, 2, 4, 6] {
                        for m in 0..32 {
                            weights.push((f64::from(b[half + m] >> shift & 3) - 1.0) * scale(b, 64));
                        }
                    }
                }
            }
            "Q2_0" | "Q2_0_g128" | "PQ2_0" => two_bit(&b[2..], scale(b, 0), &mut weights),
            "TQ2_0_g128" => {
                let first = weights.len();
                two_bit(&b[..32], scale(b, 32), &mut weights);
                // the fourth code is another zero
                for j in 0..128 {
                    if b[j / 4] >> (j % 4 * 2) & 3 == 3 {
                        weights[first + j] = 0.0;
                    }
                }
            }
            "TQ1_0" => trits(&[(&b[..32], 5), (&b[32..48], 5), (&b[48..52], 4)], scale(b, 52), &mut weights),
            "PTQ1_0" => trits(&[(&b[..16], 5), (&b[16..24], 5), (&b[24..26], 4)], scale(b, 26), &mut weights),
            other => panic!("format {other}"),
        }
    }
    weights
}

/// Weights and bytes of a block.
pub fn block(format: &str) -> (usize, usize) {
    match format {
        "F32" => (1, 4),
        "F16" | "BF16" => (1, 2),
        "Q8_0" => (32, 34),
        "Q1_0" => (128, 18),
        "TQ1_0" => (256, 54),
        "TQ2_0" => (256, 66),
        "Q2_0" => (64, 18),
        "Q2_0_g128" | "TQ2_0_g128" | "PQ2_0" => (128, 34),
        "PTQ1_0" => (128, 28),
        other => panic!("format {other}"),
    }
}

/// Random blocks: any codes, with scales that make weights of about 1.
pub fn random(format: &str, count: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let number = random.normal();
        match format {
            "F32" => bytes.extend(number.to_le_bytes()),
            "F16" => bytes.extend(f16::from_f32(number).to_le_bytes()),
            "BF16" => bytes.extend(bf16::from_f32(number).to_le_bytes()),
            _ => {
                let number = if format == "Q8_0" { number / 64.0 } else { number };
                let (codes, scale) = (random.bytes(block(format).1 - 2), f16::from_f32(number).to_le_bytes());
                let scale_last = matches!(format, "TQ1_0" | "TQ2_0" | "TQ2_0_g128" | "PTQ1_0");
                let (first, second) = if scale_last { (&codes[..], &scale[..]) } else { (&scale[..], &codes[..]) };
                bytes.extend(first);
                bytes.extend(second);
            }
        }
    }
    bytes
}
