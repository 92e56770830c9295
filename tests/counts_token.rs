//! What a decoded token moves in a model with the width of Bonsai-8B: the weights once, and the keys and values before it; and
//! what its choice costs. The emulator counts for a whole process, so this file has one test.

mod common;

use common::{device, driver};
use warpwright::gguf::Gguf;
use warpwright::model::{Model, Session};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};
use warpwright_emulator::checks::Checks;

/// Bytes of different sectors of global memory that launches loaded and stored: the last column of these tables.
fn moved(counters: &str) -> u64 {
    let mut of_global = false;
    let mut moved = 0;
    for line in counters.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next_back()) {
            (Some("global"), Some("different")) => of_global = true,
            (Some("loads" | "stores"), Some(bytes)) if of_global => {
                moved += bytes.replace(',', "").parse::<u64>().unwrap();
            }
            _ => of_global = false,
        }
    }
    moved
}

#[test]
fn counts_of_a_token_as_wide_as_8b() {
    let device = device();
    let driver = driver();
    let context = 256;
    let shape = Shape { layers: 2, tied: true, yarn: None, context, ..Shape::like("bonsai-8b").unwrap() };
    let bytes = RandomModel { shape, formats: Formats::all(Format::Q1_0), seed: 1 }.to_bytes().unwrap();
    let model = Model::load(&Gguf::from_bytes(bytes).unwrap(), &device.kernels, &device.stream).unwrap();
    let mut session = Session::new(&model, &device.stream, context as usize).unwrap();
    driver.set_checks(Checks::NONE);
    let position = 100;
    session.extend(&vec![1; position]).unwrap();
    session.prefill().unwrap();
    device.stream.synchronize().unwrap();

    assert!(driver.set_counters(true));
    session.step().unwrap();
    device.stream.synchronize().unwrap();
    let counters = driver.counters(true).unwrap();
    let moved = moved(&counters);
    let of_position = 2 * shape.layers * shape.kv_heads * shape.head_dim * 2;
    let floor = model.bytes_per_token() + (position as u64 + 1) * u64::from(of_position);
    println!("{moved} bytes are moved, {:.4} of {floor}", moved as f64 / floor as f64);
    assert!(moved >= floor && moved as f64 <= 1.05 * floor as f64);

    // The choice of the token is the work of many blocks, and each logit is looked at by one.
    let (_, of_sample) = counters.split_once("\n_Z6sample").unwrap();
    let launch = of_sample.lines().nth(1).unwrap();
    assert!(launch.contains("1 launch, 32 blocks"), "{launch}");
    let all = of_sample.lines().find(|line| line.trim_start().starts_with("all ")).unwrap();
    let threads: f64 = all.split_whitespace().nth_back(1).unwrap().replace(',', "").parse().unwrap();
    let of_logit = threads / f64::from(shape.vocab);
    println!("{of_logit:.1} instructions a logit");
    assert!(of_logit < 100.0);
}
