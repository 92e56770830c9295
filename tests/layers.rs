//! Layers and their caches: several tokens at once are as one after the other, and a copied cache is as the first.

mod common;

use common::random_model::{Shape, random_model};
use common::{Device, Random, assert_close, device};
use warpwright::Buffer;
use warpwright::gguf::Gguf;
use warpwright::launch::LaunchError;
use warpwright::model::{Activations, Config, KvCache, KvFormat, KvShape, Model, ModelError};

const SHAPE: Shape = Shape { vocab: 16, tied: true, yarn: Some((4.0, 32)), ..common::random_model::SHAPE };

fn model(device: &Device, shape: &Shape) -> Model {
    let gguf = Gguf::from_bytes(random_model(shape, 3).bytes()).unwrap();
    Model::load(&gguf, &device.kernels, &device.stream).unwrap()
}

fn caches(device: &Device, config: &Config, context: u32, format: KvFormat) -> Vec<KvCache> {
    (0..config.layers).map(|_| KvCache::new(&device.stream, config, context, format).unwrap()).collect()
}

/// What the layers make of `hidden`, `[tokens, hidden]`, in chunks of so many tokens, from `position` on.
fn run(
    device: &Device,
    model: &Model,
    hidden: &[f32],
    mut position: u32,
    chunks: &[u32],
    caches: &mut [KvCache],
) -> Vec<f32> {
    let queue = device.kernels.on(&device.stream);
    let width = model.config().hidden as usize;
    let largest = chunks.iter().copied().max().unwrap();
    let mut activations = Activations::new(&device.stream, model.config(), largest).unwrap();
    let (mut out, mut rest) = (Vec::new(), hidden);
    for &tokens in chunks {
        let (chunk, others) = rest.split_at(tokens as usize * width);
        let mut hidden = device.upload(chunk);
        let at = device.upload(&[position]);
        for (layer, cache) in model.layers().iter().zip(&mut *caches) {
            layer.forward(&queue, &mut hidden, &at, tokens, cache, &mut activations).unwrap();
        }
        out.extend(hidden.read().unwrap());
        (rest, position) = (others, position + tokens);
    }
    assert!(rest.is_empty(), "all is taken in");
    out
}

#[test]
fn tokens_together_are_as_one_after_the_other() {
    let device = device();
    let mut random = Random::new(1);
    let shapes = [SHAPE, Shape { head_dim: 128, yarn: None, ..SHAPE }, Shape { heads: 6, kv_heads: 3, ..SHAPE }];
    for shape in shapes {
        let model = model(&device, &shape);
        let hidden = random.normals(40 * 256);
        for format in [KvFormat::F16, KvFormat::Q8] {
            let of = |chunks: &[u32]| {
                run(&device, &model, &hidden, 0, chunks, &mut caches(&device, model.config(), 40, format))
            };
            let single: Vec<f64> = of(&[1; 40]).into_iter().map(f64::from).collect();
            for chunks in [&[40][..], &[9, 16, 1, 14], &[17, 23], &[2, 1, 8, 29]] {
                // In 8 bits a key at the edge between two codes may get the other of them.
                let tolerance = if format == KvFormat::F16 { 1e-3 } else { 5e-3 };
                assert_close(&format!("{shape:?}, {format:?}, {chunks:?}"), &of(chunks), &single, tolerance);
            }
        }
    }
}

#[test]
fn eight_bits_are_near_sixteen() {
    let device = device();
    let model = model(&device, &SHAPE);
    let hidden = Random::new(2).normals(33 * 256);
    let of = |format| run(&device, &model, &hidden, 0, &[33], &mut caches(&device, model.config(), 33, format));
    let sixteen: Vec<f64> = of(KvFormat::F16).into_iter().map(f64::from).collect();
    assert_close("8 bits and 16", &of(KvFormat::Q8), &sixteen, 0.02);
    assert_eq!(KvFormat::F16.bytes(model.config()), 2 * 2 * 64 * 2);
    assert_eq!(KvFormat::Q8.bytes(model.config()), 2 * 2 * (64 + 4));
}

#[test]
fn a_copied_cache_is_gone_on_with() {
    let device = device();
    let model = model(&device, &SHAPE);
    let config = model.config();
    let other_stream = device.context.new_stream().unwrap();
    let mut random = Random::new(3);
    let (prompt, ends) = (random.normals(12 * 256), [random.normals(9 * 256), random.normals(9 * 256)]);
    for format in [KvFormat::F16, KvFormat::Q8] {
        let whole = |end: &[f32]| {
            let mut fresh = caches(&device, config, 21, format);
            run(&device, &model, &prompt, 0, &[12], &mut fresh);
            run(&device, &model, end, 12, &[9], &mut fresh)
        };
        let expected = ends.each_ref().map(|end| whole(end));
        let mut first = caches(&device, config, 21, format);
        run(&device, &model, &prompt, 0, &[12], &mut first);
        // A copy of another context, on another stream; the first goes on before it and after it.
        let copies = first.iter().map(|cache| {
            let mut copy = KvCache::new(&other_stream, config, 30, format).unwrap();
            copy.copy_from(cache, 12).unwrap();
            copy
        });
        let mut copies: Vec<KvCache> = copies.collect();
        assert_eq!(run(&device, &model, &ends[0], 12, &[9], &mut first), expected[0], "{format:?}");
        let copied = run(&device, &model, &ends[1], 12, &[9], &mut copies);
        assert_eq!(copied, expected[1], "{format:?}, copied");
        // To take a sequence back needs nothing: what is past the position is written anew.
        assert_eq!(run(&device, &model, &ends[1], 12, &[9], &mut first), expected[1], "{format:?}, truncated");
        copies[0].copy_from(&first[0], 0).unwrap();
    }
}

#[test]
fn caches_that_differ_are_not_copied() {
    let device = device();
    let config = model(&device, &SHAPE).config().clone();
    let cache = |config: &Config, context, format| KvCache::new(&device.stream, config, context, format).unwrap();
    let mut to = cache(&config, 8, KvFormat::F16);
    let shape = KvShape { format: KvFormat::F16, kv_heads: 2, head_dim: 64, context: 8 };
    assert_eq!(to.shape(), shape);
    let cases = [
        (cache(&config, 8, KvFormat::Q8), 4),
        (cache(&Config { kv_heads: 4, ..config.clone() }, 8, KvFormat::F16), 4),
        (cache(&Config { head_dim: 32, ..config.clone() }, 8, KvFormat::F16), 4),
        (cache(&config, 3, KvFormat::F16), 4),
        (cache(&config, 20, KvFormat::F16), 9),
    ];
    for (from, positions) in cases {
        let expected = ModelError::Caches { positions, from: from.shape(), to: shape };
        assert_eq!(to.copy_from(&from, positions).unwrap_err(), expected);
    }
    let error = to.copy_from(&cache(&config, 3, KvFormat::F16), 4).unwrap_err().to_string();
    let found = "4 positions cannot be copied from a cache of 3 positions of 2 heads of 64 elements in F16 to one of";
    assert!(error.starts_with(found), "{error}");
}

#[test]
fn more_tokens_than_there_is_room_for_are_an_error() {
    let device = device();
    let model = model(&device, &SHAPE);
    let queue = device.kernels.on(&device.stream);
    let mut activations = Activations::new(&device.stream, model.config(), 8).unwrap();
    let mut cache = KvCache::new(&device.stream, model.config(), 16, KvFormat::F16).unwrap();
    let position = device.upload(&[0u32]);
    let layer = &model.layers()[0];
    let mut forward = |hidden: &mut Buffer<f32>, tokens| {
        layer.forward(&queue, hidden, &position, tokens, &mut cache, &mut activations)
    };
    let mut hidden = device.poisoned(9 * 256);
    for tokens in [8, 9, 10, u32::MAX] {
        let error = forward(&mut hidden, tokens).unwrap_err();
        assert!(matches!(error, LaunchError::Length { .. }), "{tokens}: {error}");
    }
    forward(&mut device.upload(&[0.0; 8 * 256]), 8).unwrap();
    // No token is nothing to do.
    forward(&mut device.upload(&[]), 0).unwrap();
}
