//! One layer of each Bonsai model in its full width, against the reference in f64.

mod common;

use common::reference::{Cache, Reference};
use common::{device, largest, largest_difference};
use warpwright::gguf::Gguf;
use warpwright::model::{KvFormat, Model, Session, SessionOptions};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

/// Tokens of a prompt, which is taken in at once, and those that are taken in one by one after it.
const PROMPT: usize = 33;
const STEPS: usize = 2;

fn agrees(name: &str, format: Format, kv_format: KvFormat, seed: u64) {
    let device = device();
    let shape = Shape { layers: 1, vocab: 320, context: 64, yarn: Some((4.0, 16)), ..Shape::like(name).unwrap() };
    let bytes = RandomModel { shape, formats: Formats::all(format), seed }.to_bytes().unwrap();
    let gguf = Gguf::from_bytes(bytes).unwrap();
    let mut random = common::Random::new(seed);
    let tokens: Vec<u32> = (0..PROMPT + STEPS).map(|_| random.below(shape.vocab)).collect();
    let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
    let reference = Reference::new(&gguf);
    // An 8-bit key that is nearly between two numbers may be rounded to the other one.
    let (cache, tolerance) = match kv_format {
        KvFormat::F16 => (Cache::F16, 1e-3),
        KvFormat::Q8 => (Cache::Q8, 5e-3),
    };
    let options = SessionOptions { kv_format, ..SessionOptions::new(tokens.len()) };
    let mut session = Session::new(&model, &device.stream, options).unwrap();
    let mut run = reference.run(cache);
    let expected: Vec<Vec<f64>> = tokens.iter().map(|token| run.step(*token)).collect();
    let scale = expected.iter().map(|row| largest(row)).fold(0.0, f64::max);
    let mut check = |position: usize, found: &[f32]| {
        let error = largest_difference(found, &expected[position]) / scale;
        assert!(error <= tolerance, "{name}, {kv_format:?}: off by {error:.2e} at position {position}");
    };
    session.extend(&tokens[..PROMPT]).unwrap();
    session.evaluate(&mut check).unwrap();
    for (n, token) in tokens[PROMPT..].iter().enumerate() {
        session.choose(*token).unwrap();
        session.step().unwrap();
        check(PROMPT + n, &session.logits().unwrap());
    }
}

#[test]
fn a_layer_of_bonsai_8b() {
    agrees("bonsai-8b", Format::Q1_0, KvFormat::F16, 1);
}

#[test]
fn a_layer_of_bonsai_4b() {
    agrees("bonsai-4b", Format::Pq2_0, KvFormat::F16, 2);
}

#[test]
fn a_layer_of_bonsai_1_7b() {
    agrees("bonsai-1.7b", Format::Ptq1_0, KvFormat::Q8, 3);
}
