//! Every kernel but those of the weight formats (`formats.rs`) against plain loops in f64, over edge shapes, with outputs poisoned first.

mod common;

use common::{Device, Random, device, largest, largest_difference};
use half::f16;
use warpwright::Buffer;
use warpwright::kernel::advance::Advance;
use warpwright::kernel::argmax::Argmax;
use warpwright::kernel::attention::AttentionDecode;
use warpwright::kernel::kv_store::KvStore;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::kernel::rope::HeadNormRope;
use warpwright::kernel::silu_mul::SiluMul;

impl Device {
    fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Buffer<T> {
        Buffer::from_host(&self.stream, values).unwrap()
    }

    /// A buffer of NaN.
    fn poisoned(&self, elements: usize) -> Buffer<f32> {
        self.upload(&vec![f32::NAN; elements])
    }
}

fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    let error = largest_difference(found, expected);
    assert!(error <= tolerance * largest(expected).max(1e-30), "{what}: off by {error:.3e}");
}

#[test]
fn rms_norm() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(1);
    for rows in [1, 3, 17] {
        for dim in [1, 7, 128, 255, 256, 257, 1000, 4096] {
            let (x, weight) = (random.normals(rows * dim), random.normals(dim));
            let mut out = device.poisoned(rows * dim);
            let (x_device, weight_device) = (device.upload(&x), device.upload(&weight));
            let (rows_, dim_) = (rows as u32, dim as u32);
            RmsNorm { x: &x_device, weight: &weight_device, out: &mut out, rows: rows_, dim: dim_, eps: 1e-3 }
                .launch(&queue)
                .unwrap();
            let expected: Vec<f64> = x
                .chunks_exact(dim)
                .flat_map(|row| {
                    let mean = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / dim as f64;
                    let scale = (mean + f64::from(1e-3f32)).sqrt();
                    row.iter().zip(&weight).map(move |(x, w)| f64::from(*x) / scale * f64::from(*w))
                })
                .collect();
            assert_close(&format!("{rows} x {dim}"), &out.read().unwrap(), &expected, 1e-6);
        }
    }
}

/// Heads, KV heads, and elements of a head: groups of 1, 3 and 4, and sizes that are no multiple of a warp.
const HEADS: [(usize, usize, usize); 6] = [(1, 1, 64), (6, 2, 128), (4, 4, 64), (8, 2, 2), (3, 1, 256), (2, 2, 94)];

#[test]
fn head_norm_rope() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(4);
    for (heads, kv_heads, head_dim) in HEADS {
        let qkv = random.normals((heads + 2 * kv_heads) * head_dim);
        let (q_norm, k_norm) = (random.normals(head_dim), random.normals(head_dim));
        let half = head_dim / 2;
        let turns: Vec<f64> =
            (0..half).map(|i| 1e6f64.powf(-2.0 * i as f64 / head_dim as f64) / std::f64::consts::TAU).collect();
        for position in [0u32, 1, 17, 65_535, u32::MAX] {
            let mut rotated = device.upload(&qkv);
            HeadNormRope {
                qkv: &mut rotated,
                q_norm: &device.upload(&q_norm),
                k_norm: &device.upload(&k_norm),
                turns: &device.upload(&turns),
                position: &device.upload(&[position]),
                heads: heads as u32,
                kv_heads: kv_heads as u32,
                head_dim: head_dim as u32,
                eps: 1e-6,
                magnitude: 1.25,
            }
            .launch(&queue)
            .unwrap();
            let mut expected = Vec::new();
            for (n, head) in qkv.chunks_exact(head_dim).enumerate() {
                if n >= heads + kv_heads {
                    expected.extend(head.iter().map(|x| f64::from(*x)));
                    continue;
                }
                let norm = if n < heads { &q_norm } else { &k_norm };
                let mean = head.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / head_dim as f64;
                let normed = |i: usize| f64::from(head[i]) / (mean + 1e-6).sqrt() * f64::from(norm[i]);
                let at = |i: usize| {
                    // whole turns are taken away first: an angle of 2^32 radians would lose its own fraction
                    let (sin, cos) =
                        ((f64::from(position) * turns[i % half]).fract() * std::f64::consts::TAU).sin_cos();
                    let (a, b) = (normed(i % half), normed(i % half + half));
                    1.25 * if i < half { a * cos - b * sin } else { b * cos + a * sin }
                };
                expected.extend((0..head_dim).map(at));
            }
            let what = format!("{heads}/{kv_heads} heads of {head_dim} at {position}");
            assert_close(&what, &rotated.read().unwrap(), &expected, 2e-6);
        }
    }
}

#[test]
fn kv_store() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(5);
    let context = 5;
    for (heads, kv_heads, head_dim) in HEADS {
        let qkv = random.normals((heads + 2 * kv_heads) * head_dim);
        for position in [0, 4, 5, u32::MAX] {
            let before = vec![f16::from_f32(9.0); kv_heads * context * head_dim];
            let (mut k_cache, mut v_cache) = (device.upload(&before), device.upload(&before));
            KvStore {
                qkv: &device.upload(&qkv),
                position: &device.upload(&[position]),
                k_cache: &mut k_cache,
                v_cache: &mut v_cache,
                heads: heads as u32,
                kv_heads: kv_heads as u32,
                head_dim: head_dim as u32,
                context: context as u32,
            }
            .launch(&queue)
            .unwrap();
            for (cache, first) in [(k_cache, heads), (v_cache, heads + kv_heads)] {
                let mut expected = before.clone();
                if (position as usize) < context {
                    for head in 0..kv_heads {
                        for i in 0..head_dim {
                            let value = f16::from_f32(qkv[(first + head) * head_dim + i]);
                            expected[(head * context + position as usize) * head_dim + i] = value;
                        }
                    }
                }
                assert_eq!(cache.read().unwrap(), expected, "{heads}/{kv_heads} heads of {head_dim} at {position}");
            }
        }
    }
}

#[test]
fn attention_decode() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(6);
    for (heads, kv_heads, head_dim) in HEADS {
        // the last: a position outside the context attends to all of it
        for (position, context) in [(0, 1), (6, 9), (7, 8), (8, 9), (16, 40), (129, 131), (256, 257), (u32::MAX, 3)] {
            let context = context as usize;
            let qkv = random.normals((heads + 2 * kv_heads) * head_dim);
            let cache = |random: &mut Random| -> Vec<f16> {
                random.normals(kv_heads * context * head_dim).into_iter().map(f16::from_f32).collect()
            };
            let (keys, values) = (cache(&mut random), cache(&mut random));
            let scale = 1.0 / (head_dim as f32).sqrt();
            let mut out = device.poisoned(heads * head_dim);
            AttentionDecode {
                qkv: &device.upload(&qkv),
                k_cache: &device.upload(&keys),
                v_cache: &device.upload(&values),
                position: &device.upload(&[position]),
                out: &mut out,
                heads: heads as u32,
                kv_heads: kv_heads as u32,
                head_dim: head_dim as u32,
                context: context as u32,
                scale,
            }
            .launch(&queue)
            .unwrap();
            let length = (position as usize).min(context - 1) + 1;
            let mut expected = Vec::new();
            for head in 0..heads {
                let q = &qkv[head * head_dim..][..head_dim];
                let row = |cache: &[f16], at: usize| -> Vec<f64> {
                    let start = (head / (heads / kv_heads) * context + at) * head_dim;
                    cache[start..][..head_dim].iter().map(|x| x.to_f64()).collect()
                };
                let score = |at: usize| -> f64 {
                    row(&keys, at).iter().zip(q).map(|(k, q)| k * f64::from(*q)).sum::<f64>() * f64::from(scale)
                };
                let scores: Vec<f64> = (0..length).map(score).collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let mixed = |i: usize| (0..length).map(|at| weights[at] / sum * row(&values, at)[i]).sum::<f64>();
                expected.extend((0..head_dim).map(mixed));
            }
            let what = format!("{heads}/{kv_heads} heads of {head_dim} at {position} of {context}");
            assert_close(&what, &out.read().unwrap(), &expected, 5e-6);
        }
    }
}

#[test]
fn silu_mul() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(7);
    for dim in [1, 31, 255, 256, 257, 1000] {
        let mut gate_up = random.normals(2 * dim);
        if dim > 1 {
            // where e^-g overflows, and where it vanishes
            (gate_up[0], gate_up[1]) = (-200.0, 200.0);
        }
        let mut out = device.poisoned(dim);
        SiluMul { gate_up: &device.upload(&gate_up), out: &mut out, dim: dim as u32 }.launch(&queue).unwrap();
        let value = |i: usize| {
            let (gate, up) = (f64::from(gate_up[i]), f64::from(gate_up[dim + i]));
            gate / (1.0 + (-gate).exp()) * up
        };
        let expected: Vec<f64> = (0..dim).map(value).collect();
        assert_close(&format!("{dim}"), &out.read().unwrap(), &expected, 1e-6);
    }
}

#[test]
fn argmax() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(8);
    let check = |x: &[f32], expected: u32| {
        let mut index = device.upload(&[u32::MAX]);
        Argmax { x: &device.upload(x), index: &mut index, len: x.len() as u32 }.launch(&queue).unwrap();
        assert_eq!(index.read().unwrap(), [expected], "of {} elements", x.len());
    };
    for len in [1, 2, 31, 32, 33, 1023, 1024, 1025, 5000] {
        let mut x = random.normals(len);
        let at = random.below(len as u32) as usize;
        x[at] = 100.0;
        check(&x, at as u32);
        // the lowest of several
        x[len - 1] = 100.0;
        check(&x, at as u32);
        x[0] = f32::NAN;
        if at > 0 {
            check(&x, at as u32);
        }
    }
    check(&[f32::NAN; 40], 0);
    check(&[f32::NEG_INFINITY; 40], 0);
    check(&[f32::NAN, f32::NEG_INFINITY, f32::NAN], 1);
    check(&[-0.0, 0.0], 0);
}

#[test]
fn advance() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    // position, known -> position, known, and the token written where
    let cases = [
        ((0, 1), (1, 2, Some(1))),
        ((0, 3), (1, 3, None)),
        ((2, 3), (3, 4, Some(3))),
        ((3, 4), (4, 4, None)),
        ((4, 4), (4, 4, None)),
        ((u32::MAX, 4), (u32::MAX, 4, None)),
        ((1, 0), (2, 3, Some(2))),
        ((1, u32::MAX), (2, u32::MAX, None)),
    ];
    for ((position, known), (new_position, new_known, written)) in cases {
        let mut tokens = device.upload(&[10u32, 11, 12, 13]);
        let (mut position_device, mut known_device) = (device.upload(&[position]), device.upload(&[known]));
        Advance {
            tokens: &mut tokens,
            position: &mut position_device,
            known: &mut known_device,
            next: &device.upload(&[99u32]),
            context: 4,
        }
        .launch(&queue)
        .unwrap();
        let mut expected = [10, 11, 12, 13];
        if let Some(at) = written {
            expected[at] = 99;
        }
        assert_eq!(tokens.read().unwrap(), expected, "position {position}, known {known}");
        let found = (position_device.read().unwrap()[0], known_device.read().unwrap()[0]);
        assert_eq!(found, (new_position, new_known), "position {position}, known {known}");
    }
}
