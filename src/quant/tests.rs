//! Formats against ggml's own values, and against plain loops that share nothing with them.

use std::collections::HashMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Blocks {
    bytes: String,
    values: Vec<f32>,
}

/// Blocks and weights of ggml.
fn of_ggml(format: Format) -> Option<(Vec<u8>, Vec<f32>)> {
    let text = include_str!("../../tests/data/ggml-blocks.json");
    let all: HashMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    let Blocks { bytes, values } = serde_json::from_value(all.get(&format.name().to_lowercase())?.clone()).unwrap();
    let byte = |at: usize| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap();
    Some(((0..bytes.len()).step_by(2).map(byte).collect(), values))
}

const OF_GGML: [Format; 5] = [Format::Q1_0, Format::Q2_0, Format::Tq1_0, Format::Tq2_0, Format::Q8_0];

/// The weights that are packed, row by row, by the definition of the layouts in `weights.cuh` and `bit_weights.cuh`.
fn unpacked(packed: &Packed, columns: usize) -> Vec<f64> {
    let (layout, groups) = (packed.layout(), columns.div_ceil(512));
    let mut weights = Vec::new();
    for row in 0..packed.rows() {
        for column in 0..columns {
            let group = row / 16 * groups + column / 512;
            let word = |n: usize| packed.words()[group * 64 * layout.words() + n];
            let scale = |n: usize| packed.scales()[group * 64 * layout.scales() + n].to_f64();
            let (chunk, n) = (column % 512 / 128, column % 128);
            // numbers: [chunk, row]
            let at = chunk * 16 + row % 16;
            let bits = |width: usize| {
                word(at * layout.words() + n * width / 32) >> (n * width % 32) & ((1u64 << width) - 1) as u32
            };
            // bits: [chunk / 2, lane, chunk % 2, half]
            let (g, half, t) = (row % 8, row % 16 / 8, n / 32);
            let lane = 4 * g + t;
            let bit = |plane: usize| {
                let word = word(256 * plane + chunk / 2 * 128 + lane * 4 + chunk % 2 * 2 + half);
                f64::from(word >> (n % 32) & 1)
            };
            let scale_of_bits = |of: usize| scale(((of * 8 + g) * 2 + half) * 4 + chunk);
            weights.push(match layout {
                Layout::Q1_0 => (1.0 - 2.0 * bit(0)) * scale_of_bits(0),
                Layout::T2 => (bit(0) + 2.0 * bit(1) - 1.0) * scale_of_bits(0),
                Layout::T2Halves => (bit(0) + 2.0 * bit(1) - 1.0) * scale_of_bits(n / 64),
                Layout::Q8_0 => f64::from(bits(8) as u8 as i8) * scale(at * 4 + n / 32),
                Layout::F16 => f16::from_bits(bits(16) as u16).to_f64(),
                Layout::Bf16 => bf16::from_bits(bits(16) as u16).to_f64(),
                Layout::F32 => f64::from(f32::from_bits(bits(32))),
                Layout::T1 => {
                    let bit = |plane: usize| {
                        let place = match plane {
                            0..4 => (half * 32 + lane) * 4 + plane,
                            _ => 256 + ((plane - 4) * 32 + lane) * 2 + half,
                        };
                        f64::from(word(place) >> (n % 32) & 1) * 2f64.powi(plane as i32 - 7)
                    };
                    let fraction = (0..7).map(bit).sum::<f64>() * 3f64.powi(chunk as i32);
                    ((fraction.fract() * 3.0).floor() - 1.0) * scale_of_bits(0)
                }
            });
        }
    }
    weights
}

/// Blocks of any bytes, with scales that are numbers.
fn random_blocks(format: Format, blocks: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..blocks {
        let first = bytes.len();
        bytes.extend((0..format.block_bytes()).map(|_| random.u8(..)));
        let scale = random.f32() - 0.5;
        let (at, scale) = match format {
            Format::F32 => (first, scale.to_le_bytes().to_vec()),
            Format::Bf16 => (first, bf16::from_f32(scale).to_le_bytes().to_vec()),
            Format::Tq1_0 | Format::Ptq1_0 | Format::Tq2_0 | Format::Tq2_0G128 => {
                (first + format.block_bytes() - 2, f16::from_f32(scale).to_le_bytes().to_vec())
            }
            _ => (first, f16::from_f32(scale).to_le_bytes().to_vec()),
        };
        bytes[at..at + scale.len()].copy_from_slice(&scale);
    }
    bytes
}

#[test]
fn blocks_of_ggml_have_its_values() {
    for format in OF_GGML {
        let (bytes, values) = of_ggml(format).unwrap();
        assert!(format.dequantize(&bytes).unwrap() == values, "{format}");
        let packed = unpacked(&format.pack(&bytes, 1, 512).unwrap(), 512);
        assert!(packed.iter().zip(&values).all(|(a, b)| *a == f64::from(*b)), "{format}, packed");
        assert_eq!(packed.len(), 512);
    }
}

#[test]
fn what_is_packed_has_the_values_of_the_file() {
    let mut random = fastrand::Rng::with_seed(1);
    for format in Format::ALL {
        // a block of 256 weights is two chunks
        for (rows, columns) in [(0, 512), (1, 256), (3, 512), (16, 1024), (17, 768), (34, 1280)] {
            let bytes = random_blocks(format, rows * columns / format.block(), &mut random);
            let packed = format.pack(&bytes, rows, columns).unwrap();
            assert_eq!((packed.layout(), packed.rows()), (format.layout(), rows));
            let held = (4 * packed.words().len() + 2 * packed.scales().len()) as u64;
            assert_eq!(format.layout().bytes(rows as u64, columns as u64), held, "{format}");
            let weights = format.dequantize(&bytes).unwrap();
            assert_eq!(weights.len(), rows * columns);
            let unpacked = unpacked(&packed, columns);
            assert!(unpacked.iter().zip(&weights).all(|(a, b)| *a == f64::from(*b)), "{format}, {rows} x {columns}");

            // the same in two parts, of which the second begins in a tile
            let mut parts = Packed::new(format.layout(), rows, columns);
            let (first, second) = bytes.split_at(bytes.len() / rows.max(1) * (rows / 3));
            parts.put(format, second, rows / 3).unwrap();
            parts.put(format, first, 0).unwrap();
            assert_eq!(parts, packed, "{format}");
        }
    }
}

#[test]
fn rows_that_a_matrix_has_not_are_refused() {
    let block = [0u8; 18];
    let mut packed = Packed::new(Layout::Q1_0, 2, 128);
    let empty = packed.clone();
    let refused =
        |bytes: usize, rows: usize, columns: usize| QuantError::Matrix { format: Format::Q1_0, bytes, rows, columns };
    assert_eq!(packed.put(Format::Q1_0, &block.repeat(2), 1), Err(refused(36, 1, 128)));
    assert_eq!(packed.put(Format::Q1_0, &block.repeat(3), 0), Err(refused(54, 2, 128)));
    assert_eq!(packed.put(Format::Q1_0, &block, 3), Err(refused(18, 0, 128)));
    let other = QuantError::Matrix { format: Format::Pq2_0, bytes: 34, rows: 2, columns: 128 };
    assert_eq!(packed.put(Format::Pq2_0, &[0; 34], 0), Err(other));
    assert_eq!(Format::Q1_0.pack(&block.repeat(3), 2, 256), Err(refused(54, 2, 256)));
    assert_eq!(Format::Q1_0.pack(&block, 1, 64), Err(refused(18, 1, 64)));
    assert_eq!(packed, empty);
}

/// The weights of one block of two-bit codes, written from the table of formats.
fn two_bit_by_the_book(format: Format, block: &[u8]) -> Vec<f64> {
    let f16_at = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f64();
    let mut weights = Vec::new();
    match format {
        Format::Tq2_0 => {
            for j in [0, 32] {
                for l in 0..4 {
                    for m in 0..32 {
                        weights.push((f64::from(block[j + m] >> (2 * l) & 3) - 1.0) * f16_at(64));
                    }
                }
            }
        }
        Format::Tq2_0G128 => {
            for j in 0..128 {
                let value = [-1.0, 0.0, 1.0, 0.0][usize::from(block[j / 4] >> (2 * (j % 4)) & 3)];
                weights.push(value * f16_at(32));
            }
        }
        _ => {
            for j in 0..format.block() {
                weights.push((f64::from(block[2 + j / 4] >> (2 * (j % 4)) & 3) - 1.0) * f16_at(0));
            }
        }
    }
    weights
}

#[test]
fn every_code_has_its_value() {
    let mut random = fastrand::Rng::with_seed(2);
    for format in [Format::Tq2_0, Format::Q2_0, Format::Q2_0G128, Format::Tq2_0G128, Format::Pq2_0] {
        let scales_last = matches!(format, Format::Tq2_0 | Format::Tq2_0G128);
        // each byte that there is at each place of a block, and so each code of each weight
        for byte in 0..=255u8 {
            let mut block = random_blocks(format, 1, &mut random);
            let codes = if scales_last { 0..block.len() - 2 } else { 2..block.len() };
            let varied = random.usize(codes.clone());
            block[codes].fill(byte);
            block[varied] ^= random.u8(..);
            let weights: Vec<f64> = format.dequantize(&block).unwrap().into_iter().map(f64::from).collect();
            assert_eq!(weights, two_bit_by_the_book(format, &block), "{format}");
        }
    }
    // of OxiBonsai's two zeros the device knows one
    let block = [vec![0b11_10_01_00; 32], vec![0, 0x3c]].concat();
    let weights = unpacked(&Format::Tq2_0G128.pack(&block, 1, 128).unwrap(), 128);
    assert_eq!(weights, [-1.0, 0.0, 1.0, 0.0].repeat(32));
}

#[test]
fn every_trit_has_its_value() {
    // ggml's arithmetic: the byte times a power of three in eight bits, then the top of three times that
    let trit = |byte: u8, n: u32| f64::from((u16::from(byte.wrapping_mul(3u8.wrapping_pow(n))) * 3) >> 8) - 1.0;
    for (format, groups) in
        [(Format::Tq1_0, [(0, 32, 5), (32, 16, 5), (48, 4, 4)]), (Format::Ptq1_0, [(0, 16, 5), (16, 8, 5), (24, 2, 4)])]
    {
        for byte in 0..=255u8 {
            let bytes = format.block_bytes() - 2;
            let mut block: Vec<u8> = (0..bytes).map(|n| byte.wrapping_add((n as u8).wrapping_mul(37))).collect();
            block.extend(f16::from_f32(0.5).to_le_bytes());
            let mut expected = Vec::new();
            for (first, width, trits) in groups {
                for n in 0..trits {
                    expected.extend((first..first + width).map(|at| trit(block[at], n) * 0.5));
                }
            }
            let weights: Vec<f64> = format.dequantize(&block).unwrap().into_iter().map(f64::from).collect();
            assert_eq!(weights, expected, "{format}");
        }
    }
}

#[test]
fn quantizing_dequantized_blocks_changes_nothing() {
    for format in OF_GGML {
        let (bytes, values) = of_ggml(format).unwrap();
        if format == Format::Q2_0 {
            // it has a value of which no quantizer makes use
            assert!(values.iter().any(|x| *x > 0.0));
            continue;
        }
        let weights = format.dequantize(&bytes).unwrap();
        let mut again = vec![7];
        format.quantize(&weights, &mut again).unwrap();
        assert_eq!(again[0], 7);
        let again = format.dequantize(&again[1..]).unwrap();
        for (a, b) in weights.iter().zip(&again) {
            // a scale of Q8_0 is a fraction of the largest integer there is, which need not be 127
            let tolerance = if format == Format::Q8_0 { 0.01 } else { 0.0 };
            assert!((a - b).abs() <= tolerance * 0.15, "{format}: {a} became {b}");
        }
    }
}

/// A block's scale and values, as the table of formats has them: what a quantizer should make of weights.
fn quantized_by_the_book(format: Format, block: &[f32]) -> Vec<f64> {
    let largest = block.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    let mean = block.iter().map(|x| f64::from(x.abs())).sum::<f64>() / block.len() as f64;
    let rounded = |x: f64| f16::from_f64(x).to_f64();
    let value = |x: f64| match format {
        Format::F32 => x,
        Format::F16 => rounded(x),
        Format::Bf16 => bf16::from_f64(x).to_f64(),
        Format::Q1_0 => {
            if x >= 0.0 {
                rounded(mean)
            } else {
                -rounded(mean)
            }
        }
        Format::Q8_0 => (x / (largest / 127.0)).round() * rounded(largest / 127.0),
        _ if x.abs() >= 0.5 * largest => x.signum() * rounded(largest),
        _ => 0.0,
    };
    block.iter().map(|x| value(f64::from(*x))).collect()
}

#[test]
fn quantizers_do_what_they_should() {
    let mut random = fastrand::Rng::with_seed(3);
    for format in Format::ALL {
        let mut weights: Vec<f32> = (0..1024).map(|_| (random.f32() - 0.5) * 0.3).collect();
        // halves, which go away from zero, and a zero
        weights[..8].copy_from_slice(&[0.25, 0.125, -0.125, 0.1249, -0.1249, 0.0, -0.25, 0.2]);
        let mut bytes = Vec::new();
        format.quantize(&weights, &mut bytes).unwrap();
        assert_eq!(bytes.len(), 1024 / format.block() * format.block_bytes());
        let found = format.dequantize(&bytes).unwrap();
        let expected: Vec<f64> =
            weights.chunks(format.block()).flat_map(|block| quantized_by_the_book(format, block)).collect();
        for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // where two values of Q8_0 are as near, single and double precision may disagree
            let tolerance = if format == Format::Q8_0 && n > 8 { 0.3 / 254.0 } else { 1e-6 };
            assert!((f64::from(*found) - expected).abs() <= tolerance, "{format}: {n}: {found}, not {expected}");
        }
    }
}

#[test]
fn nothing_but_zeros_stays_zero() {
    for format in Format::ALL {
        let mut bytes = Vec::new();
        format.quantize(&[0.0; 256], &mut bytes).unwrap();
        assert!(format.dequantize(&bytes).unwrap().iter().all(|x| *x == 0.0), "{format}");
        // the inverse of the scale is infinite
        bytes.clear();
        format.quantize(&[f32::from_bits(1); 256], &mut bytes).unwrap();
        assert!(format.dequantize(&bytes).unwrap().iter().all(|x| *x <= f32::from_bits(1)), "{format}");
    }
}

#[test]
fn what_is_no_whole_block_is_refused() {
    for format in Format::ALL {
        let (block, unit) = (format.block(), format.block_bytes());
        let mut bytes = Vec::new();
        if block > 1 {
            for weights in [1, block - 1, block + 1] {
                let error = format.quantize(&vec![0.0; weights], &mut bytes).unwrap_err();
                assert_eq!(error, QuantError::Weights { format, weights, block });
            }
        }
        for bytes in [1, unit - 1, unit + 1] {
            let error = format.dequantize(&vec![0; bytes]).unwrap_err();
            assert_eq!(error, QuantError::Bytes { format, bytes, unit });
        }
        // whole blocks, but no whole chunk
        let unit = block.max(128) / block * unit;
        for bytes in [1, unit - 1, unit / 2] {
            let error = format.pack(&vec![0; bytes], 1, 128).unwrap_err();
            assert_eq!(error, QuantError::Bytes { format, bytes, unit });
        }
        assert!(bytes.is_empty());
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused() {
    for format in Format::ALL {
        let too_large = match format {
            Format::F32 => f32::INFINITY,
            Format::Bf16 => f32::MAX,
            Format::Q8_0 => 65_520.0 * 127.0,
            _ => 65_520.0,
        };
        for value in [f32::NAN, f32::NEG_INFINITY, too_large, -too_large] {
            let mut weights = vec![0.0; 512];
            weights[300] = value;
            let mut bytes = Vec::new();
            let error = format.quantize(&weights, &mut bytes).unwrap_err();
            assert!(bytes.is_empty());
            assert!(matches!(error, QuantError::OutOfRange { at: 300, .. }), "{error}");
        }
    }
}

#[test]
fn names_are_read_back() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert_eq!(format.name().to_lowercase().parse(), Ok(format));
    }
    let error = "Q3_K".parse::<Format>().unwrap_err();
    assert!(error.to_string().contains("TQ2_0_g128"), "{error}");
}
