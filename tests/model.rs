//! The whole pipeline against references: our own in f64, Hugging Face's logits, and sums.

mod common;

use common::blocks;
use common::random_model::{SHAPE, Shape, random_model};
use common::reference::Reference;
use common::{Device, adder, adder_tokens, data, device, held_out_sums, largest, largest_difference, ternary_adder};
use serde::Deserialize;
use warpwright::gguf::Gguf;
use warpwright::model::{Model, ModelError, Session};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::RandomModel;

/// The logits after each token of a sequence, as the pipeline gives them.
fn logits(device: &Device, gguf: &Gguf, tokens: &[u32]) -> Vec<Vec<f32>> {
    let model = Model::load(gguf, &device.kernels, &device.stream).unwrap();
    let mut session = Session::new(&model, &device.stream, tokens.len()).unwrap();
    session.extend(tokens).unwrap();
    tokens
        .iter()
        .map(|_| {
            session.step().unwrap();
            session.logits().unwrap()
        })
        .collect()
}

fn assert_close(name: &str, found: &[Vec<f32>], expected: &[Vec<f64>], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().map(|row| largest(row)).fold(0.0, f64::max);
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = largest_difference(found, expected) / scale;
        assert!(error <= tolerance, "{name}: off by {error:.2e} of the largest logit at position {position}");
    }
}

fn random_tokens(count: usize, vocab: u32, seed: u64) -> Vec<u32> {
    let mut random = common::Random::new(seed);
    (0..count).map(|_| random.below(vocab)).collect()
}

#[derive(Deserialize)]
struct HuggingFace {
    tokens: Vec<u32>,
    logits: Vec<Vec<f64>>,
}

fn hugging_face(name: &str) -> HuggingFace {
    serde_json::from_slice(&std::fs::read(data(name)).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Blocks {
    bytes: String,
    values: Vec<f64>,
}

#[test]
fn dequantization_agrees_with_ggml() {
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(data("ggml-blocks.json")).unwrap()).unwrap();
    let blocks = |name: &str| -> (Vec<u8>, Vec<f64>) {
        let Blocks { bytes, values } = Blocks::deserialize(&file[name]).unwrap();
        let byte = |n: usize| u8::from_str_radix(&bytes[2 * n..2 * n + 2], 16).unwrap();
        ((0..bytes.len() / 2).map(byte).collect(), values)
    };
    for name in ["q1_0", "q2_0", "tq1_0", "tq2_0", "q8_0"] {
        let (bytes, values) = blocks(name);
        assert_eq!(values.len(), 512);
        let found = blocks::weights(&name.to_uppercase(), &bytes);
        // the file has them as single precision prints them
        assert!(found.iter().zip(&values).all(|(a, b)| *a as f32 == *b as f32), "{name}");
    }
}

#[test]
fn the_reference_agrees_with_hugging_face() {
    // Its logits are computed from the same weights in f64, with keys and values that are not rounded to f16.
    for (model, logits) in [
        ("qwen3-q1_0.gguf", "qwen3-q1_0.logits.json"),
        ("qwen3-tq2_0-yarn-tied.gguf", "qwen3-tq2_0-yarn-tied.logits.json"),
    ] {
        let expected = hugging_face(logits);
        let found = Reference::new(&Gguf::open(data(model)).unwrap()).logits(&expected.tokens);
        let found: Vec<Vec<f32>> = found.iter().map(|row| row.iter().map(|x| *x as f32).collect()).collect();
        assert_close(model, &found, &expected.logits, 1e-3);
    }
}

#[test]
fn logits_agree_with_hugging_face() {
    let device = device();
    for name in ["qwen3-q1_0", "qwen3-tq2_0-yarn-tied"] {
        let expected = hugging_face(&format!("{name}.logits.json"));
        let gguf = Gguf::open(data(&format!("{name}.gguf"))).unwrap();
        // with keys and values that are not rounded to f16
        assert_close(name, &logits(&device, &gguf, &expected.tokens), &expected.logits, 5e-3);
    }
}

#[test]
fn logits_of_the_shipped_models_agree_with_the_reference() {
    let device = device();
    for path in [adder(), ternary_adder()] {
        let gguf = Gguf::open(path).unwrap();
        let reference = Reference::new(&gguf);
        for text in ["47+58=105", "999+999=1998", "0+0=0"] {
            let tokens = adder_tokens(text);
            assert_close(text, &logits(&device, &gguf, &tokens), &reference.logits(&tokens), 1e-3);
        }
    }
}

#[test]
fn logits_of_random_models_agree_with_the_reference() {
    let device = device();
    let cases = [
        ("head_dim 64, untied, 17 tokens and one", SHAPE, 18),
        ("head_dim 128, tied, query width unlike hidden", Shape { head_dim: 128, tied: true, ..SHAPE }, 17),
        ("every head has its own keys", Shape { heads: 4, kv_heads: 4, ..SHAPE }, 8),
        ("3 KV groups, 3 query heads each", Shape { heads: 18, kv_heads: 6, hidden: 128, ..SHAPE }, 9),
        ("one KV head, 2560-wide shape scaled down", Shape { heads: 8, kv_heads: 1, hidden: 640, ..SHAPE }, 9),
        ("past 130 tokens", Shape { layers: 1, hidden: 128, ffn: 128, ..SHAPE }, 133),
        ("YaRN past its original context", Shape { yarn: Some((4.0, 32)), layers: 1, ..SHAPE }, 50),
        ("one token, one layer", Shape { layers: 1, vocab: 1, ..SHAPE }, 1),
    ];
    for (n, (name, shape, length)) in cases.into_iter().enumerate() {
        let gguf = Gguf::from_bytes(random_model(&shape, n as u64).bytes()).unwrap();
        let tokens = random_tokens(length, shape.vocab, 100 + n as u64);
        let expected = Reference::new(&gguf).logits(&tokens);
        assert_close(name, &logits(&device, &gguf, &tokens), &expected, 1e-3);
    }
}

/// What the shipped model answers.
fn answer(session: &mut Session, question: &str) -> String {
    session.extend(&adder_tokens(question)).unwrap();
    let mut answer = String::new();
    loop {
        match session.next_token().unwrap() {
            common::ADDER_END => return answer,
            token => answer.push("0123456789+=\n".as_bytes()[token as usize].into()),
        }
        assert!(answer.len() < 10, "{question} has no end: {answer}");
    }
}

#[test]
fn the_shipped_models_add() {
    let device = device();
    let sums = held_out_sums();
    assert!(sums.len() == 1000);
    for (path, least) in [(adder(), 198), (ternary_adder(), 195)] {
        let gguf = Gguf::open(&path).unwrap();
        let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
        let mut session = Session::new(&model, &device.stream, 32).unwrap();
        let right = sums.iter().step_by(5).filter(|(question, expected)| {
            session.truncate(0).unwrap();
            answer(&mut session, question) == *expected
        });
        let right = right.count();
        assert!(right >= least, "{}: {right} of 200 sums are right", path.display());
    }
}

#[test]
fn two_models_of_different_shapes_and_formats_live_side_by_side() {
    let device = device();
    let shape = Shape { head_dim: 128, tied: true, vocab: 40, ..SHAPE };
    let formats = Formats { embedding: Some(Format::Q8_0), ..Formats::all(Format::Tq2_0G128) };
    let other_file = Gguf::from_bytes(RandomModel { shape, formats, seed: 7 }.to_bytes().unwrap()).unwrap();
    let adder = Gguf::open(adder()).unwrap();
    let load = |gguf: &Gguf| Model::load(gguf, &device.kernels, &device.stream).unwrap();
    let start = |model: &Model, tokens: &[u32]| {
        let mut session = Session::new(model, &device.stream, 24).unwrap();
        session.extend(tokens).unwrap();
        session
    };
    let (question, seed) = (adder_tokens("12+345="), [3, 1, 4]);
    let alone = |gguf: &Gguf, tokens: &[u32]| {
        let mut session = start(&load(gguf), tokens);
        (0..8).map(|_| session.next_token().unwrap()).collect::<Vec<_>>()
    };
    let expected = (alone(&adder, &question), alone(&other_file, &seed));
    let (first, second) = (load(&adder), load(&other_file));
    let (mut a, mut b) = (start(&first, &question), start(&second, &seed));
    // A session keeps what it needs of its model.
    drop((first, second));
    let mut found = (Vec::new(), Vec::new());
    for _ in 0..8 {
        found.0.push(a.next_token().unwrap());
        found.1.push(b.next_token().unwrap());
    }
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_asked_is_an_error() {
    let device = device();
    let gguf = Gguf::open(adder()).unwrap();
    let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
    let new = |context| Session::new(&model, &device.stream, context);
    assert_eq!(new(0).unwrap_err(), ModelError::ContextLength { context: 0, limit: 64 });
    assert_eq!(new(65).unwrap_err(), ModelError::ContextLength { context: 65, limit: 64 });
    let mut session = new(4).unwrap();
    assert_eq!(session.step().unwrap_err(), ModelError::Empty);
    assert_eq!(session.extend(&[1, 16]).unwrap_err(), ModelError::Token { token: 16, vocab: 16 });
    assert_eq!(session.extend(&[1; 5]).unwrap_err(), ModelError::Context { needed: 5, context: 4 });
    // Nothing of that has changed anything: the whole context can be used, and no more.
    session.extend(&[1, 10]).unwrap();
    session.next_token().unwrap();
    session.extend(&[11]).unwrap();
    session.next_token().unwrap();
    assert_eq!((session.position(), session.tokens().unwrap().len()), (4, 4));
    assert_eq!(session.next_token().unwrap_err(), ModelError::Context { needed: 5, context: 4 });
    assert_eq!(session.extend(&[1]).unwrap_err(), ModelError::Context { needed: 5, context: 4 });
    assert_eq!(session.tokens().unwrap()[..2], [1, 10]);
}
