//! One driver against the other: the emulator on any processor, the emulator with vector extensions, and a GPU if there
//! is one. A process has one driver, so each runs in a process of its own and writes down what it computes.

mod common;

use std::path::Path;
use std::process::Command;

use common::random_model::{SHAPE, Shape, random_model};
use common::{adder, adder_tokens, device, driver};
use warpwright::gguf::Gguf;
use warpwright::model::{KvFormat, Model, Session, SessionOptions};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::RandomModel;
use warpwright_emulator::driver::Driver;

/// Where a child writes what it computed.
const OUTPUT: &str = "WARPWRIGHT_TEST_OUTPUT";

/// Logits of the shipped model and of a random one: every kernel has a part in them.
fn compute() -> Vec<f32> {
    let device = device();
    let shape = Shape {
        hidden: 384,
        ffn: 640,
        heads: 6,
        head_dim: 128,
        vocab: 333,
        context: 64,
        tied: true,
        yarn: Some((4.0, 16)),
        ..SHAPE
    };
    let random = Gguf::from_bytes(random_model(&shape, 3).bytes()).unwrap();
    let adder = Gguf::open(adder()).unwrap();
    let mut all = Vec::new();
    for (gguf, tokens) in [(adder, adder_tokens("987+654=1641")), (random, (0..40).map(|n| n * 7 % 333).collect())] {
        let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
        let mut session = Session::new(&model, &device.stream, tokens.len()).unwrap();
        session.extend(&tokens).unwrap();
        for _ in &tokens {
            session.step().unwrap();
            all.extend(session.logits().unwrap());
        }
    }
    // a prompt at once, with keys and values in 8 bits, and every format
    for format in Format::ALL {
        let shape = Shape { layers: 1, ffn: 512, vocab: 130, ..SHAPE };
        let model = RandomModel { shape, formats: Formats::all(format), seed: 5 }.to_bytes().unwrap();
        let model = Model::load(&Gguf::from_bytes(model).unwrap(), &device.kernels, &device.stream).unwrap();
        let options = SessionOptions { kv_format: KvFormat::Q8, ..SessionOptions::new(20) };
        let mut session = Session::new(&model, &device.stream, options).unwrap();
        session.extend(&(0..18).map(|n| n * 7).collect::<Vec<_>>()).unwrap();
        session.evaluate(|_, logits| all.extend(logits)).unwrap();
        session.step().unwrap();
        all.extend(session.logits().unwrap());
    }
    all
}

/// What this driver computes is the same every time. In a child process it is also written down.
#[test]
fn a_driver_agrees_with_itself() {
    let first = compute();
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&first), bits(&compute()));
    if let Some(path) = std::env::var_os(OUTPUT) {
        std::fs::write(path, bytemuck::cast_slice(&first)).unwrap();
    }
}

/// What a child process with this driver computes.
fn in_child(folder: &Path, name: &str, environment: &[(&str, &str)]) -> Vec<f32> {
    let path = folder.join(name);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_driver_agrees_with_itself"]).env(OUTPUT, &path).envs(environment.iter().copied());
    assert!(child.status().unwrap().success(), "{name}");
    let bytes = std::fs::read(&path).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect()
}

#[test]
fn drivers_agree() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = in_child(folder.path(), "emulator", &[("WARPWRIGHT_DEVICE", "emulator")]);
    assert!(emulator.len() == 12 * 16 + 40 * 333 + 12 * 19 * 130 && emulator.iter().all(|x| x.is_finite()));

    let baseline = [("WARPWRIGHT_DEVICE", "emulator"), ("WARPWRIGHT_EMULATOR_ISA", "baseline")];
    let baseline = in_child(folder.path(), "baseline", &baseline);
    assert!(
        emulator.iter().zip(&baseline).all(|(a, b)| a.to_bits() == b.to_bits()),
        "vector extensions change results"
    );

    if driver().driver == Driver::Gpu {
        // A GPU fuses and approximates where the ISA lets it.
        let gpu = in_child(folder.path(), "gpu", &[("WARPWRIGHT_DEVICE", "gpu")]);
        let largest = emulator.iter().fold(0f32, |most, x| most.max(x.abs()));
        let worst = emulator.iter().zip(&gpu).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        println!("GPU and emulator differ by at most {:.2e} of the largest logit", worst / largest);
        assert!(worst <= 1e-4 * largest, "{worst} of {largest}");
    }
}
