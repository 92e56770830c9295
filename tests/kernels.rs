//! Kernels against plain loops in f64, over edge shapes, with outputs poisoned first. Those of weights, of attention and of
//! sampling are in files of their own.

mod common;

use common::{Random, assert_close, device};
use warpwright::kernel::argmax::Argmax;
use warpwright::kernel::include;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::kernel::sample::Sample;
use warpwright::kernel::silu_mul::SiluMul;
use warpwright::model::Sampling;

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

#[test]
fn silu_mul() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(7);
    for (rows, dim) in [(1, 1), (1, 31), (1, 255), (1, 256), (3, 257), (17, 1000), (9, 1), (33, 128)] {
        let mut gate_up = random.normals(rows * 2 * dim);
        if dim > 1 {
            // where e^-g overflows, and where it vanishes
            (gate_up[0], gate_up[1]) = (-200.0, 200.0);
        }
        let mut out = device.poisoned(rows * dim);
        let (rows_, dim_) = (rows as u32, dim as u32);
        SiluMul { gate_up: &device.upload(&gate_up), out: &mut out, rows: rows_, dim: dim_ }.launch(&queue).unwrap();
        let row = |row: &[f32]| -> Vec<f64> {
            let (gates, ups) = row.split_at(dim);
            let gated =
                |(gate, up): (&f32, &f32)| f64::from(*gate) / (1.0 + (-f64::from(*gate)).exp()) * f64::from(*up);
            gates.iter().zip(ups).map(gated).collect()
        };
        let expected: Vec<f64> = gate_up.chunks_exact(2 * dim).flat_map(row).collect();
        assert_close(&format!("{rows} x {dim}"), &out.read().unwrap(), &expected, 1e-6);
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
fn a_sampled_token_moves_the_sequence_on() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let sampling = device.upload(&[Sampling::default().to_device().unwrap()]);
    let mut logits = vec![0.0f32; 100];
    logits[99] = 1.0;
    let logits = device.upload(&logits);
    // position, known, count -> position, known, and the token written where
    let cases = [
        ((0, 1, 1), (1, 2, Some(1))),
        ((0, 3, 1), (1, 3, None)),
        ((2, 3, 1), (3, 4, Some(3))),
        ((3, 4, 1), (4, 4, None)),
        ((4, 4, 1), (4, 4, None)),
        ((u32::MAX, 4, 1), (u32::MAX, 4, None)),
        ((1, 0, 1), (2, 3, Some(2))),
        ((1, u32::MAX, 1), (2, u32::MAX, None)),
        ((0, 2, 2), (2, 3, Some(2))),
        ((0, 3, 2), (2, 3, None)),
        ((1, 2, 2), (3, 4, Some(3))),
        ((0, 4, 4), (4, 4, None)),
        ((2, 4, 3), (4, 4, None)),
        ((1, 1, u32::MAX), (4, 1, None)),
    ];
    for ((position, known, count), (new_position, new_known, written)) in cases {
        let mut tokens = device.upload(&[10u32, 11, 12, 13]);
        let (mut position_device, mut known_device) = (device.upload(&[position]), device.upload(&[known]));
        Sample {
            logits: &logits,
            tokens: &mut tokens,
            position: &mut position_device,
            known: &mut known_device,
            sampling: &sampling,
            next: &mut device.upload(&[7u32]),
            logprob: &mut device.upload(&[7.0f32]),
            parts: &mut device.poisoned(include::SAMPLING_PART as usize),
            arrivals: &mut device.upload(&[0u32]),
            vocab: 100,
            context: 4,
            count,
            blocks: 1,
        }
        .launch(&queue)
        .unwrap();
        let mut expected = [10, 11, 12, 13];
        if let Some(at) = written {
            expected[at] = 99;
        }
        assert_eq!(tokens.read().unwrap(), expected, "position {position}, known {known}, {count} tokens");
        let found = (position_device.read().unwrap()[0], known_device.read().unwrap()[0]);
        assert_eq!(found, (new_position, new_known), "position {position}, known {known}, {count} tokens");
    }
}
