//! What a prompt costs: one launch a layer more than a token, and a fraction of its time. The emulator counts calls of the
//! driver, so this file has one test.

mod common;

use std::time::{Duration, Instant};

use common::random_model::{File, Value};
use common::{adder, device, driver};
use warpwright::gguf::Gguf;
use warpwright::model::{Model, Session, SessionOptions};
use warpwright_emulator::driver::Driver;

/// The shortest of some times.
fn shortest(mut run: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| run()).min().expect("some")
}

#[test]
fn counts_of_a_prompt() {
    let device = device();
    let driver = driver();
    // The model that ships, as if it had been made for longer sequences.
    let mut file = File::read(&Gguf::open(adder()).unwrap());
    file.set("qwen3.context_length", Value::U32(1024));
    let gguf = Gguf::from_bytes(file.bytes()).unwrap();
    let model = Model::load(&gguf, &device.kernels, &device.stream).unwrap();
    let mut session = Session::new(&model, &device.stream, SessionOptions::new(600)).unwrap();
    let tokens: Vec<u32> = (0..512).map(|n| n * 7 % 13).collect();
    // What the checks cost is not what is measured.
    driver.set_checks(warpwright_emulator::checks::Checks::NONE);

    let calls = || ["cuLaunchKernel", "cuLaunchKernelEx", "cuGraphLaunch"].map(|name| driver.calls(name));
    let mut launches = |length: usize| {
        session.truncate(0).unwrap();
        session.extend(&tokens[..length]).unwrap();
        let before = calls();
        session.prefill().unwrap();
        let after = calls();
        (driver.driver == Driver::Emulator)
            .then(|| after.iter().zip(before).map(|(after, before)| after.unwrap() - before.unwrap()).sum::<u64>())
    };
    let expected = (driver.driver == Driver::Emulator).then_some(3 * 9 + 3);
    for length in [2, 8, 9, 16, 17, 129, 512] {
        assert_eq!(launches(length), expected, "of {length} tokens");
    }

    let prompt = shortest(|| {
        session.truncate(0).unwrap();
        session.extend(&tokens).unwrap();
        device.stream.synchronize().unwrap();
        let start = Instant::now();
        session.prefill().unwrap();
        device.stream.synchronize().unwrap();
        start.elapsed()
    });
    const STEPS: u32 = 32;
    let step = shortest(|| {
        session.truncate(1).unwrap();
        device.stream.synchronize().unwrap();
        let start = Instant::now();
        (0..STEPS).for_each(|_| session.step().unwrap());
        device.stream.synchronize().unwrap();
        start.elapsed() / STEPS
    });
    let faster = step.as_secs_f64() / (prompt.as_secs_f64() / 512.0);
    println!("a prompt of 512: {prompt:?}; a token: {step:?}; a token of a prompt is {faster:.1} times as fast");
    assert!(faster >= 5.0, "{faster:.1}");
}
