//! Models of every format, in the proportions of each Bonsai model and of other families, against the reference in f64:
//! a prompt at once, then greedy tokens one by one, past the original context of YaRN.

mod common;

use common::reference::{Cache, Reference};
use common::{Device, Random, device, largest, largest_difference};
use warpwright::gguf::Gguf;
use warpwright::model::{Architecture, Model, Session, SessionOptions};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

const PROMPT: usize = 19;
const STEPS: usize = 64;
/// Of the largest logit.
const TOLERANCE: f64 = 1e-3;

fn agrees(device: &Device, name: &str, model: &RandomModel) {
    let gguf = Gguf::from_bytes(model.to_bytes().unwrap()).unwrap();
    let reference = Reference::new(&gguf);
    let mut random = Random::new(model.seed);
    let prompt: Vec<u32> = (0..PROMPT).map(|_| random.below(model.shape.vocab)).collect();
    let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
    let mut session = Session::new(&model, &device.stream, SessionOptions::new(PROMPT + STEPS)).unwrap();
    session.extend(&prompt).unwrap();
    let mut run = reference.run(Cache::F16);
    let mut scale: f64 = 0.0;
    let mut expected = Vec::new();
    session
        .evaluate(|position, found| {
            expected = run.step(prompt[position]);
            scale = scale.max(largest(&expected));
            let error = largest_difference(found, &expected) / scale;
            assert!(error <= TOLERANCE, "{name}: off by {error:.2e} at position {position}");
        })
        .unwrap();
    for step in 0..STEPS {
        // the token that was chosen, if the reference is clear about it
        let token = session.tokens().unwrap()[PROMPT + step];
        let mut order: Vec<usize> = (0..expected.len()).collect();
        order.sort_by(|a, b| expected[*b].total_cmp(&expected[*a]));
        let gap = expected[order[0]] - expected[order[1]];
        assert!(gap <= TOLERANCE * scale || order[0] == token as usize, "{name}: token {token} at step {step}");
        expected = run.step(token);
        session.step().unwrap();
        let error = largest_difference(&session.logits().unwrap(), &expected) / scale.max(largest(&expected));
        assert!(error <= TOLERANCE, "{name}: off by {error:.2e} at step {step}");
    }
}

/// The shape of a known model, a sixteenth as wide, with few layers.
fn scaled(name: &str, layers: u32) -> Shape {
    let shape = Shape::like(name).unwrap();
    Shape { layers, vocab: 270, context: 128, yarn: Some((4.0, 24)), ..shape.scaled_down(16) }
}

/// Every format in the proportions of one model.
fn every_format(name: &str, layers: u32) {
    let device = device();
    for (seed, format) in (1..).zip(Format::ALL) {
        let model = RandomModel { shape: scaled(name, layers), formats: Formats::all(format), seed };
        agrees(&device, &format!("{name} in {format}"), &model);
    }
}

#[test]
fn bonsai_8b_in_every_format() {
    every_format("bonsai-8b", 2);
}

#[test]
fn bonsai_4b_in_every_format() {
    every_format("bonsai-4b", 3);
}

#[test]
fn bonsai_1_7b_in_every_format() {
    every_format("bonsai-1.7b", 4);
}

#[test]
fn formats_mixed_in_one_file() {
    let formats = Formats {
        embedding: Some(Format::Q8_0),
        output: Some(Format::F16),
        named: vec![
            ("attn_k".into(), Format::Tq1_0),
            ("attn_v".into(), Format::Bf16),
            ("blk.0.ffn_up".into(), Format::Q2_0),
            ("ffn_down".into(), Format::Ptq1_0),
        ],
        ..Formats::all(Format::Q1_0)
    };
    let shape = Shape { tied: false, ..scaled("bonsai-8b", 2) };
    agrees(&device(), "mixed formats", &RandomModel { shape, formats, seed: 20 });
}

#[test]
fn other_families() {
    let device = device();
    for (seed, name) in (30..).zip(["qwen3-0.6b", "qwen2.5-0.5b", "tinyllama-1.1b"]) {
        let whole = Shape::like(name).unwrap();
        // all heads, narrower matrices
        let Shape { heads, kv_heads, .. } = whole;
        let shape = Shape { layers: 2, vocab: 260, context: 128, heads, kv_heads, ..whole.scaled_down(4) };
        let has_its_own = match name {
            "qwen2.5-0.5b" => Architecture::Qwen2,
            "tinyllama-1.1b" => Architecture::Llama,
            _ => Architecture::Qwen3,
        };
        assert_eq!(shape.architecture, has_its_own);
        agrees(&device, name, &RandomModel { shape, formats: Formats::all(Format::Pq2_0), seed });
    }
}
