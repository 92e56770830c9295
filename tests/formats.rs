//! Linear layers and embeddings in every weight format against plain loops in f64, over edge shapes, with outputs poisoned.

mod common;

use common::blocks::{block, random, weights};
use common::{Random, device};
use warpwright::buffer::Buffer;
use warpwright::kernel::matmul_prefill::MatmulPrefillQ1_0;
use warpwright::kernel::matvec::MatvecQ1_0;
use warpwright::launch::LaunchError;
use warpwright::model::{Linear, ModelError};
use warpwright::quant::{CHUNK, Format};

const ROWS: [usize; 9] = [1, 3, 4, 5, 15, 16, 17, 65, 129];
/// Activations that have one step.
const GROUP: usize = 512;
const CHUNKS: [usize; 4] = [1, 2, 3, 8];
const TOKENS: [usize; 9] = [1, 2, 7, 8, 9, 16, 17, 33, 65];

/// The dot products of all tokens with all rows, and how far each may be off.
///
/// Each addition rounds to 6e-8 of what there is by then, and these errors have either sign. A single token meets weights that
/// are bits as integers of 16 bits: off by half a step each, of which there are 32767 in the largest of 512 (or in 1e-30), and
/// by a step for 128 of them, since half of their sum is rounded.
fn products(weights: &[f64], x: &[f32], columns: usize, bits: bool) -> (Vec<f64>, Vec<f64>) {
    let (mut dots, mut errors) = (Vec::new(), Vec::new());
    let integers = bits && x.len() == columns;
    for token in x.chunks_exact(columns) {
        let largest = |group: &[f32]| f64::from(group.iter().fold(1e-30f32, |largest, x| largest.max(x.abs())));
        let steps: Vec<f64> = token.chunks(GROUP).map(|group| largest(group) / 32767.0).collect();
        for row in weights.chunks_exact(columns) {
            let (mut dot, mut error) = (0.0, 0.0);
            for n in 0..columns {
                let product = row[n] * f64::from(token[n]);
                dot += product;
                let steps = if integers { (0.5 + 1.0 / CHUNK as f64) * steps[n / GROUP] } else { 0.0 };
                error += 5e-7 * product.abs() + row[n].abs() * steps;
            }
            dots.push(dot);
            errors.push(error);
        }
    }
    (dots, errors)
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f64], errors: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (n, ((found, expected), most)) in found.iter().zip(expected).zip(errors).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= *most, "{what}: element {n} is {found} and not {expected}: off by {error:.2e} of {most:.2e}");
    }
}

/// Products of a matrix of random blocks, stored and added, for all shapes.
fn products_agree(format: Format) {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut numbers = Random::new(format as u64);
    let name = format.name();
    for rows in ROWS {
        for chunks in CHUNKS {
            let columns = chunks * 128;
            if columns % block(name).0 != 0 {
                continue;
            }
            let blocks = random(name, rows * columns / block(name).0, &mut numbers);
            let linear = Linear::from_blocks(&device.stream, format, &blocks, rows as u32, columns as u32).unwrap();
            assert_eq!((linear.rows() as usize, linear.columns() as usize), (rows, columns));
            let weights = weights(name, &blocks);
            for tokens in TOKENS {
                let x = numbers.normals(tokens * columns);
                let (mut expected, mut errors) = products(&weights, &x, columns, format.layout().is_bits());
                let x = device.upload(&x);
                let what = format!("{format}, {rows} rows, {chunks} chunks, {tokens} tokens");

                let mut y = device.upload(&vec![f32::NAN; tokens * rows]);
                linear.forward(&queue, &x, &mut y, tokens as u32).unwrap();
                assert_close(&what, &y.read().unwrap(), &expected, &errors);

                let before = numbers.normals(tokens * rows);
                let mut y = device.upload(&before);
                linear.forward_add(&queue, &x, &mut y, tokens as u32).unwrap();
                for ((expected, error), before) in expected.iter_mut().zip(&mut errors).zip(&before) {
                    *expected += f64::from(*before);
                    *error += 5e-7 * f64::from(before.abs());
                }
                assert_close(&format!("{what}, added"), &y.read().unwrap(), &expected, &errors);
            }
        }
    }
}

/// Vectors that are as large, as small, and as much of one sign as there are; what is no number or infinite stays so.
fn extreme_vectors_agree(format: Format) {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut numbers = Random::new(200 + format as u64);
    let name = format.name();
    let (rows, columns) = (17, 5 * 256);
    let blocks = random(name, rows * columns / block(name).0, &mut numbers);
    let linear = Linear::from_blocks(&device.stream, format, &blocks, rows as u32, columns as u32).unwrap();
    let weights = weights(name, &blocks);
    let product = |x: &[f32]| {
        let mut y = device.upload(&vec![f32::NAN; rows]);
        linear.forward(&queue, &device.upload(x), &mut y, 1).unwrap();
        y.read().unwrap()
    };
    let one_at = |n: usize| (0..columns).map(|m| if m == n { -3.0 } else { 0.0 }).collect();
    let like_row = |row: usize, size: f32| {
        let weights = weights[row * columns..][..columns].iter();
        weights.map(|weight| size * if *weight < 0.0 { -1.0 } else { 1.0 }).collect()
    };
    let alike = |x: f32| vec![x; columns];
    let uneven = (0..columns).map(|n| if n % 100 == 7 { 1e4 } else { 1e-3 * (n % 3) as f32 }).collect();
    let vectors: [Vec<f32>; 12] = [
        alike(0.0),
        alike(1.0),
        alike(-1.0),
        alike(1e-32),
        alike(f32::MIN_POSITIVE / 8.0),
        alike(1e33),
        one_at(0),
        one_at(511),
        one_at(columns - 1),
        like_row(0, 1.0),
        like_row(16, -7.0),
        uneven,
    ];
    for (n, x) in vectors.iter().enumerate() {
        let (expected, errors) = products(&weights, x, columns, format.layout().is_bits());
        assert_close(&format!("{format}, vector {n}"), &product(x), &expected, &errors);
    }
    for (n, strange) in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
        let mut x = numbers.normals(columns);
        x[200 * n] = strange;
        assert!(product(&x).iter().all(|y| !y.is_finite()), "{format}, {strange}");
    }
    // in a part of its own, what is largest leaves the others as they are
    let mut x = numbers.normals(columns);
    x[1100] = f32::MAX;
    let found = product(&x);
    for (row, found) in found.iter().enumerate() {
        let weight = weights[row * columns + 1100];
        let expected = weight * f64::from(f32::MAX);
        let error = (f64::from(*found) - expected).abs() / f64::from(f32::MAX);
        assert!(error <= 1e-2 * weight.abs() + 1e-6 || !found.is_finite(), "{format}: {found} and not {expected}");
    }
}

/// Rows of random blocks are exactly their weights.
fn rows_are_exact(format: Format) {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut numbers = Random::new(100 + format as u64);
    let name = format.name();
    let vocab = 7;
    for chunks in CHUNKS {
        let columns = chunks * 128;
        if columns % block(name).0 != 0 {
            continue;
        }
        let blocks = random(name, vocab * columns / block(name).0, &mut numbers);
        let linear = Linear::from_blocks(&device.stream, format, &blocks, vocab as u32, columns as u32).unwrap();
        let weights = weights(name, &blocks);
        let tokens = [4, 0, 7, 2, u32::MAX, 6, 6];
        for position in [0, 1, 2, 5, 6, 7, u32::MAX - 1, u32::MAX] {
            for rows in [1, 2, 3, 9] {
                let mut out = device.upload(&vec![7.0f32; rows * columns]);
                let (at, known) = (device.upload(&[position]), device.upload(&tokens));
                linear.embed(&queue, &known, &at, &mut out, rows as u32).unwrap();
                for (n, row) in out.read().unwrap().chunks_exact(columns).enumerate() {
                    let token = tokens.get(position as usize + n).map(|token| *token as usize);
                    match token.filter(|token| *token < vocab) {
                        Some(token) => {
                            let expected = &weights[token * columns..][..columns];
                            let equal = row.iter().zip(expected).all(|(a, b)| f64::from(*a) == *b);
                            assert!(equal, "{format}, {chunks} chunks, position {position} + {n}");
                        }
                        None => assert!(row.iter().all(|x| x.is_nan()), "{format}, position {position} + {n}"),
                    }
                }
            }
        }
    }
}

/// Tests for each format, named as it is.
macro_rules! in_every_format {
    ($($name:ident: $format:ident),* $(,)?) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn products_agree() {
                    super::products_agree(Format::$format);
                }

                #[test]
                fn extreme_vectors_agree() {
                    super::extreme_vectors_agree(Format::$format);
                }

                #[test]
                fn rows_are_exact() {
                    super::rows_are_exact(Format::$format);
                }
            }
        )*

        #[test]
        fn every_format_is_tested() {
            assert_eq!([$(Format::$format),*], Format::ALL);
        }
    };
}
in_every_format! {
    f32: F32, f16: F16, bf16: Bf16, q8_0: Q8_0, q1_0: Q1_0, tq1_0: Tq1_0, tq2_0: Tq2_0, q2_0: Q2_0, q2_0_g128: Q2_0G128,
    tq2_0_g128: Tq2_0G128, pq2_0: Pq2_0, ptq1_0: Ptq1_0,
}

#[test]
fn matrices_in_different_formats_are_one() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut numbers = Random::new(7);
    let columns = 512;
    // formats of one layout beside one another, and apart
    let parts = [
        (Format::Q1_0, 5),
        (Format::Pq2_0, 16),
        (Format::Tq2_0, 3),
        (Format::Tq1_0, 0),
        (Format::Q8_0, 1),
        (Format::F16, 17),
        (Format::Q2_0, 33),
        (Format::Tq2_0G128, 2),
        (Format::F32, 1),
        (Format::Bf16, 4),
    ];
    let (mut bytes, mut matrix) = (Vec::new(), Vec::new());
    for (format, rows) in parts {
        let name = format.name();
        let blocks = random(name, rows * columns / block(name).0, &mut numbers);
        matrix.extend(weights(name, &blocks));
        bytes.push(blocks);
    }
    let rows = matrix.len() / columns;
    let parts: Vec<_> =
        parts.iter().zip(&bytes).map(|((format, rows), bytes)| (*format, &bytes[..], *rows as u32)).collect();
    let linear = Linear::from_parts(&device.stream, &parts, columns as u32).unwrap();
    assert_eq!(linear.rows() as usize, rows);
    // matrices that follow one another in the same layout share tiles of 16 rows
    let tiles = [(Format::Q1_0, 1), (Format::Pq2_0, 2), (Format::Tq1_0, 0), (Format::Q8_0, 1), (Format::F16, 2)];
    let tiles =
        tiles.into_iter().chain([(Format::Q2_0, 3), (Format::Tq2_0G128, 1), (Format::F32, 1), (Format::Bf16, 1)]);
    let bytes: u64 = tiles.map(|(format, tiles)| format.layout().bytes(16 * tiles, columns as u64)).sum();
    assert_eq!(linear.bytes() as u64, bytes);
    for tokens in [1, 2, 8, 11] {
        let x = numbers.normals(tokens * columns);
        let (mut expected, errors) = products(&matrix, &x, columns, true);
        let x = device.upload(&x);
        let mut y = device.upload(&vec![f32::NAN; tokens * rows]);
        linear.forward(&queue, &x, &mut y, tokens as u32).unwrap();
        assert_close(&format!("{tokens} tokens"), &y.read().unwrap(), &expected, &errors);
        linear.forward_add(&queue, &x, &mut y, tokens as u32).unwrap();
        expected.iter_mut().for_each(|x| *x *= 2.0);
        let errors: Vec<f64> = errors.iter().map(|error| 2.0 * error).collect();
        assert_close(&format!("{tokens} tokens, added"), &y.read().unwrap(), &expected, &errors);
    }
}

#[test]
fn nothing_beside_a_part_is_touched() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    // +1 times ones
    let block = [&half::f16::ONE.to_le_bytes()[..], &[0xff; 16]].concat();
    let packed = Format::Q1_0.pack(&block.repeat(3), 3, 128).unwrap();
    let (words, scales) = (device.upload(packed.words()), device.upload(packed.scales()));
    let (rows, chunks, stride, offset, add) = (3, 1, 8, 4, false);
    for tokens in [1, 3, 9] {
        let x = device.upload(&vec![1.0f32; tokens * 128]);
        let mut y = device.upload(&vec![7.0f32; tokens * 8]);
        let (words, scales, x, y, tokens) = (&words, &scales, &x, &mut y, tokens as u32);
        if tokens == 1 {
            let (norm, eps, blocks) = (None::<&Buffer<f32>>, 0.0, 1);
            MatvecQ1_0 { words, scales, norm, x, y: &mut *y, rows, chunks, stride, offset, add, eps, blocks }
                .launch(&queue)
                .unwrap();
        } else {
            MatmulPrefillQ1_0 { words, scales, x, y: &mut *y, rows, chunks, tokens, stride, offset, add }
                .launch(&queue)
                .unwrap();
        }
        for row in y.read().unwrap().chunks_exact(8) {
            // a step of one token is 1 / 32767, which is no number of 24 bits
            let sums = row[4..7].iter().map(|x| (x - 128.0).abs()).fold(0.0, f32::max);
            assert!(sums <= if tokens == 1 { 1e-5 } else { 0.0 }, "{row:?}");
            assert_eq!((&row[..4], row[7]), (&[7.0; 4][..], 7.0));
        }
        let error =
            MatmulPrefillQ1_0 { words, scales, x, y, rows, chunks, tokens, stride, offset: 6, add }.launch(&queue);
        assert!(matches!(error, Err(LaunchError::Requirement { .. })), "{error:?}");
    }
}

#[test]
fn what_is_no_matrix_is_refused() {
    let device = device();
    let load = |format, bytes: usize, rows, columns| {
        Linear::from_blocks(&device.stream, format, &vec![0; bytes], rows, columns).map(drop)
    };
    let columns = |format, columns| Err(ModelError::Columns { format, columns });
    assert_eq!(load(Format::F16, 2 * 64, 1, 64), columns(Format::F16, 64));
    assert_eq!(load(Format::F32, 0, 1, 0), columns(Format::F32, 0));
    // whole chunks, but a block would be of two rows
    assert_eq!(load(Format::Tq2_0, 66, 2, 128), columns(Format::Tq2_0, 128));
    for found in [0, 17, 18 * 6 - 1, 18 * 6 + 18] {
        let expected = ModelError::Blocks { format: Format::Q1_0, rows: 3, columns: 256, expected: 18 * 6, found };
        assert_eq!(load(Format::Q1_0, found, 3, 256), Err(expected));
    }
    // more bytes than there are addresses
    let expected = u64::from(u32::MAX) * (u64::from(u32::MAX) / 128 * 128 / 128) * 18;
    let columns = u32::MAX / 128 * 128;
    let error = ModelError::Blocks { format: Format::Q1_0, rows: u32::MAX, columns, expected, found: 18 };
    assert_eq!(load(Format::Q1_0, 18, u32::MAX, columns), Err(error));
    assert_eq!(load(Format::Q1_0, 0, 0, 256), Ok(()));
}

#[test]
fn no_tokens_are_no_launch() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let linear = Linear::from_blocks(&device.stream, Format::Q1_0, &[0; 18], 1, 128).unwrap();
    let (x, mut y) = (device.upload::<f32>(&[]), device.upload::<f32>(&[]));
    linear.forward(&queue, &x, &mut y, 0).unwrap();
    let error = linear.forward(&queue, &x, &mut y, 1).unwrap_err();
    assert!(matches!(error, LaunchError::Length { parameter: "x", .. }), "{error}");
}
