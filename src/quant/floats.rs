//! F32, F16 and BF16: each weight is a number of its own.

use half::{bf16, f16};

use super::{Format, read_f16};

/// Rounds a weight to the nearest.
pub(super) fn quantize(format: Format, x: f32, bytes: &mut Vec<u8>) {
    match format {
        Format::F16 => bytes.extend(f16::from_f32(x).to_le_bytes()),
        Format::Bf16 => bytes.extend(bf16::from_f32(x).to_le_bytes()),
        _ => bytes.extend(x.to_le_bytes()),
    }
}

/// The number that bytes are.
pub(super) fn dequantize(format: Format, bytes: &[u8]) -> f32 {
    match format {
        Format::F16 => read_f16(bytes).to_f32(),
        Format::Bf16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
    }
}
