//! Sequences: prompts in chunks, going back, forks, keys and values in 8 bits, choices of the host.

mod common;

use common::random_model::SHAPE;
use common::{Device, Random, device, largest, largest_difference};
use warpwright::gguf::Gguf;
use warpwright::model::{KvFormat, Model, ModelError, Sampling, Session, SessionOptions};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

fn model(device: &Device, shape: Shape, seed: u64) -> Model {
    let bytes = RandomModel { shape, formats: Formats::all(Format::Q1_0), seed }.to_bytes().unwrap();
    let gguf = Gguf::from_bytes(bytes).unwrap();
    Model::load(&gguf, &device.kernels, &device.stream).unwrap()
}

fn random_tokens(count: usize, vocab: u32, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(vocab)).collect()
}

/// The largest difference, as a part of the largest number.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    let expected: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
    largest_difference(found, &expected) / largest(&expected)
}

#[test]
fn a_prompt_in_chunks_is_as_token_by_token() {
    let device = device();
    let shape = Shape { layers: 2, hidden: 128, ffn: 256, context: 1010, yarn: Some((4.0, 100)), ..SHAPE };
    let model = model(&device, shape, 1);
    let tokens = random_tokens(1001, shape.vocab, 2);
    let mut by_token = Session::new(&model, &device.stream, SessionOptions::new(1010)).unwrap();
    by_token.extend(&tokens).unwrap();
    let mut logits = Vec::new();
    for _ in 0..=1000 {
        by_token.step().unwrap();
        logits.push(by_token.logits().unwrap());
    }
    for (length, chunk) in
        [(2, 512), (8, 512), (9, 512), (16, 512), (17, 512), (129, 512), (1000, 512), (129, 128), (1000, 7), (9, 1)]
    {
        let options = SessionOptions { chunk, ..SessionOptions::new(1010) };
        let mut session = Session::new(&model, &device.stream, options).unwrap();
        session.extend(&tokens[..length]).unwrap();
        session.prefill().unwrap();
        let name = format!("{length} tokens by {chunk}");
        assert_eq!((session.position(), session.len()), (length, length + 1), "{name}");
        let error = difference(&session.logits().unwrap(), &logits[length - 1]);
        assert!(error < 1e-3, "{name}: off by {error:.2e}");
        // decoding goes on from the keys and values of the prompt
        session.choose(tokens[length]).unwrap();
        session.step().unwrap();
        let error = difference(&session.logits().unwrap(), &logits[length]);
        assert!(error < 1e-3, "{name}, and one: off by {error:.2e}");
    }
    // the logits after every token of a prompt
    let mut session = Session::new(&model, &device.stream, SessionOptions::new(1010)).unwrap();
    session.extend(&tokens[..77]).unwrap();
    let mut seen = 0;
    session
        .evaluate(|position, found| {
            assert_eq!(position, seen);
            seen += 1;
            let error = difference(found, &logits[position]);
            assert!(error < 1e-3, "position {position}: off by {error:.2e}");
        })
        .unwrap();
    assert_eq!((seen, session.position()), (77, 77));
}

#[test]
fn going_back_and_forking_change_nothing() {
    let device = device();
    let model = model(&device, SHAPE, 3);
    let options = SessionOptions {
        sampling: Sampling { temperature: 1.0, seed: 5, ..Sampling::default() },
        ..SessionOptions::new(64)
    };
    let prompt = random_tokens(20, SHAPE.vocab, 4);
    let start = |tokens: &[u32]| {
        let mut session = Session::new(&model, &device.stream, options).unwrap();
        session.extend(tokens).unwrap();
        session
    };
    let go_on = |session: &mut Session| (0..10).map(|_| session.next_token().unwrap()).collect::<Vec<_>>();
    let mut session = start(&prompt);
    let expected = go_on(&mut session);
    // back to the prompt
    session.truncate(20).unwrap();
    assert_eq!((session.len(), session.tokens().unwrap()), (20, prompt.clone()));
    assert_eq!(go_on(&mut session), expected);
    // back into it, and on with something else
    session.truncate(7).unwrap();
    session.extend(&prompt[10..]).unwrap();
    let other = go_on(&mut session);
    assert_eq!(other, go_on(&mut start(&[&prompt[..7], &prompt[10..]].concat())));
    // to nothing, and longer than it is
    session.truncate(1000).unwrap();
    assert_eq!(session.len(), 27);
    session.truncate(0).unwrap();
    assert!(session.is_empty());
    assert_eq!(session.step().unwrap_err(), ModelError::Empty);
    session.extend(&prompt).unwrap();
    assert_eq!(go_on(&mut session), expected);

    // a shared prompt is computed once, and the forks do not touch one another
    let mut shared = start(&prompt);
    shared.prefill().unwrap();
    let (mut first, mut second) = (shared.fork().unwrap(), shared.fork().unwrap());
    assert_eq!(first.logits().unwrap(), shared.logits().unwrap());
    second.extend(&prompt[..3]).unwrap();
    let other = go_on(&mut second);
    assert_eq!(go_on(&mut first)[..9], expected[1..]);
    assert_eq!(second.position(), 20 + 1 + 3 + 9);
    assert_eq!(other.len(), 10);
    drop((first, second));
    let mut third = shared.fork().unwrap();
    drop(shared);
    assert_eq!(third.next_token().unwrap(), expected[1]);
}

#[test]
fn keys_and_values_in_8_bits_are_nearly_as_good() {
    let device = device();
    for (head_dim, seed) in [(64, 6), (128, 7)] {
        let shape = Shape { head_dim, ..SHAPE };
        let model = model(&device, shape, seed);
        let tokens = random_tokens(50, shape.vocab, seed);
        let logits = |kv_format| {
            let mut session =
                Session::new(&model, &device.stream, SessionOptions { kv_format, ..SessionOptions::new(50) }).unwrap();
            session.extend(&tokens).unwrap();
            session.prefill().unwrap();
            session.logits().unwrap()
        };
        let error = difference(&logits(KvFormat::Q8), &logits(KvFormat::F16));
        assert!(error > 0.0 && error < 3e-2, "{head_dim}: {error:.2e}");
    }
}

#[test]
fn the_host_may_choose() {
    let device = device();
    let model = model(&device, SHAPE, 8);
    let prompt = random_tokens(5, SHAPE.vocab, 9);
    let mut session = Session::new(&model, &device.stream, SessionOptions::new(16)).unwrap();
    assert_eq!(session.choose(1).unwrap_err(), ModelError::Empty);
    session.extend(&prompt).unwrap();
    assert_eq!(session.choose(1).unwrap_err(), ModelError::Empty);
    let greedy = session.next_chosen().unwrap();
    // the probability is the softmax of the logits
    let logits = session.logits().unwrap();
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
    assert_eq!(logits[greedy.token as usize], max);
    assert!((f64::from(greedy.log_probability) + sum.ln()).abs() < 1e-4);
    assert_eq!(session.choose(SHAPE.vocab).unwrap_err(), ModelError::Token { token: SHAPE.vocab, vocab: SHAPE.vocab });
    session.choose(7).unwrap();
    assert_eq!(session.tokens().unwrap()[5], 7);
    session.step().unwrap();
    // as if it had been given
    let mut given = Session::new(&model, &device.stream, SessionOptions::new(16)).unwrap();
    given.extend(&prompt).unwrap();
    given.extend(&[7]).unwrap();
    given.prefill().unwrap();
    assert!(difference(&session.logits().unwrap(), &given.logits().unwrap()) < 1e-4);
}

#[test]
fn the_end_of_the_context_is_an_error_and_the_end() {
    let device = device();
    let model = model(&device, SHAPE, 10);
    let mut session = Session::new(&model, &device.stream, SessionOptions::new(8)).unwrap();
    session.extend(&[1, 2, 3]).unwrap();
    let found: Vec<_> = session.generate().collect();
    assert_eq!(found.len(), 7);
    assert!(found[..6].iter().all(Result::is_ok));
    assert_eq!(found[6], Err(ModelError::Context { needed: 9, context: 8 }));
    assert_eq!(session.tokens().unwrap().len(), 8);
}
