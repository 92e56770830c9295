//! Kernels of a step that begin while the kernel before them ends (programmatic dependent launch) compute the same bits as
//! kernels that wait: whole sessions, several times, since what is wrong here need not go wrong every time.

mod common;

use common::{Device, adder, adder_tokens, device, ternary_adder};
use warpwright::gguf::Gguf;
use warpwright::model::{KvFormat, Model, Session, SessionOptions};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

/// How often each session with overlapping kernels is repeated.
const REPETITIONS: usize = 2;

/// What a session computes: each token, and the bits of the logits it was chosen from.
type Steps = Vec<(u32, Vec<u32>)>;

/// The steps of a session, and its programmatic edges.
fn steps(device: &Device, model: &Model, prompt: &[u32], options: SessionOptions) -> (Steps, usize) {
    let mut session = Session::new(model, &device.stream, options).unwrap();
    session.extend(prompt).unwrap();
    let mut steps = Vec::new();
    while session.position() < session.context() {
        let token = session.next_token().unwrap();
        steps.push((token, session.logits().unwrap().iter().map(|x| x.to_bits()).collect()));
    }
    (steps, session.programmatic_edges())
}

fn compare(what: &str, gguf: &Gguf, prompt: &[u32], options: SessionOptions) {
    let device = device();
    let model = Model::load(gguf, &device.kernels, &device.stream).unwrap();
    let (waiting, edges) = steps(&device, &model, prompt, SessionOptions { overlapping: false, ..options });
    assert_eq!(edges, 0, "{what}");
    assert_eq!(waiting.len(), options.context - prompt.len() + 1, "{what}");
    for n in 0..REPETITIONS {
        let (overlapping, edges) = steps(&device, &model, prompt, options);
        if n == 0 {
            println!("{what}: {edges} of the kernels of a step begin early");
        }
        for (position, (a, b)) in waiting.iter().zip(&overlapping).enumerate() {
            assert_eq!(a.0, b.0, "{what}: token {position}");
            assert!(a.1 == b.1, "{what}: the logits of token {position} differ");
        }
        assert_eq!(waiting.len(), overlapping.len(), "{what}");
    }
}

#[test]
fn overlapping_kernels_of_the_shipped_models_compute_the_same() {
    for model in [adder(), ternary_adder()] {
        let gguf = Gguf::open(&model).unwrap();
        compare(&model.display().to_string(), &gguf, &adder_tokens("987+654="), SessionOptions::new(16));
    }
}

#[test]
fn overlapping_kernels_of_random_models_compute_the_same() {
    let small = Shape { layers: 2, vocab: 300, ..Shape::like("bonsai-1.7b").unwrap().scaled_down(8) };
    let formats = [Format::Q1_0, Format::Pq2_0, Format::Q2_0, Format::Ptq1_0, Format::Q8_0, Format::F16];
    for (n, format) in formats.into_iter().enumerate() {
        let model = RandomModel { shape: small, formats: Formats::all(format), seed: 7 }.to_bytes().unwrap();
        let gguf = Gguf::from_bytes(model).unwrap();
        let kv_format = if n % 2 == 0 { KvFormat::F16 } else { KvFormat::Q8 };
        let options = SessionOptions { kv_format, ..SessionOptions::new(16) };
        compare(&format!("{}, {kv_format:?}", format.name()), &gguf, &[1, 200, 33, 4, 250], options);
    }
}
