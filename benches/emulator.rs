//! How fast the emulator is: `cargo bench --bench emulator`.
//!
//! Thread-instructions per second in the Q1_0 GEMV at 4096 x 4096, and tokens per second of the shipped model through
//! the whole pipeline. Each figure is the median of several runs, with the least and the most.

use std::time::{Duration, Instant};

use warpwright::gguf::Gguf;
use warpwright::kernel::Kernels;
use warpwright::model::{Model, Session};
use warpwright_emulator::driver::{Choice, select};
use warpwright_emulator::{Device, Launch};

const RUNS: usize = 11;

/// Prints the median of what `rate` makes of the time of each run.
fn report(what: &str, unit: &str, mut run: impl FnMut() -> (f64, Duration)) {
    run();
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|_| {
            let (amount, time) = run();
            amount / time.as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[RUNS / 2], rates[RUNS - 1]);
    println!("{what}: {median:.2} {unit} ({least:.2} to {most:.2})");
}

fn gemv(threads: usize) {
    const ROWS: u32 = 4096;
    const BLOCKS: u32 = 4096 / 128;
    let device = Device::new(1 << 30, threads);
    let module = device.load(include_str!("../kernels/prebuilt/q1_0_gemv.ptx")).expect("PTX");
    let kernel = module.kernels().find(|name| name.contains("q1_0_gemvP")).expect("the kernel").to_owned();
    let upload = |bytes: &[u8]| device.upload(bytes).expect("memory");
    let blocks = (ROWS * BLOCKS) as usize;
    let signs = upload(&vec![0x5a; blocks * 16]);
    let scales = upload(&[0x00, 0x3c].repeat(blocks));
    let x: Vec<u8> = (0..BLOCKS * 128).flat_map(|i| (i as f32 / 100.0).sin().to_le_bytes()).collect();
    let (x, y) = (upload(&x), upload(&vec![0; ROWS as usize * 4]));
    let mut parameters: Vec<u8> = [signs, scales, x, y].iter().flat_map(|address| address.to_le_bytes()).collect();
    parameters.extend([ROWS.to_le_bytes(), BLOCKS.to_le_bytes()].concat());
    let (blocks, threads_of_block) = ([ROWS / 16, 1, 1], [128, 1, 1]);
    let launch = Launch { blocks, threads: threads_of_block, dynamic_shared: 0, parameters: &parameters };
    report(&format!("Q1_0 GEMV, 4096 x 4096, {threads} threads"), "G thread-instructions/s", || {
        let start = Instant::now();
        let statistics = device.launch(&module, &kernel, &launch).expect("a launch");
        (statistics.thread_instructions as f64 / 1e9, start.elapsed())
    });
}

fn decode() {
    select(Choice::Emulator).expect("the emulator");
    let context = warpwright::device::open(0).expect("a device");
    let kernels = Kernels::load(&context).expect("kernels");
    let stream = context.new_stream().expect("a stream");
    let gguf = Gguf::from_bytes(include_bytes!("../models/adder-q1_0.gguf").to_vec()).expect("the model");
    let model = Model::load(&gguf, &kernels, &stream).expect("the model");
    report("decode of the shipped model", "tokens/s", || {
        let mut session = Session::new(&model, &stream, 64).expect("a session");
        session.extend(&[4, 7, 10, 5, 8, 11]).expect("a prompt");
        let start = Instant::now();
        while session.position() < 64 {
            session.next_token().expect("a token");
        }
        (64.0, start.elapsed())
    });
}

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    gemv(1);
    gemv(threads);
    decode();
}
