//! How fast the emulator is: `cargo bench --bench emulator`.
//!
//! Thread-instructions per second in products of a 4096 x 4096 matrix in Q1_0 with one vector and with 64, in the
//! attention of one token, in a sort and in a sum, with bounds and alignment checked and with every check, and tokens per second of the shipped
//! model through the whole pipeline. Each figure is the median of several runs, with the least and the most.

use std::time::{Duration, Instant};

use warpwright::gguf::Gguf;
use warpwright::kernel::Kernels;
use warpwright::model::{Model, Session};
use warpwright_emulator::checks::Checks;
use warpwright_emulator::driver::{Choice, select};
use warpwright_emulator::{Device, Launch};

const RUNS: usize = 11;

/// Prints the median of what `rate` makes of the time of each run, if the words of the command line are in the name.
fn report(what: &str, unit: &str, mut run: impl FnMut() -> (f64, Duration)) {
    if !std::env::args().skip(1).all(|word| word.starts_with("--") || what.contains(&word)) {
        return;
    }
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

/// A kernel of a module, with its blocks, the threads of a block, and what it is given: buffers of bytes and integers.
struct Case<'a> {
    ptx: &'a str,
    kernel: &'a str,
    blocks: [u32; 2],
    threads: u32,
    buffers: &'a [Vec<u8>],
    rest: &'a [u32],
}

impl Case<'_> {
    fn run(&self, name: &str, threads: usize, checks: Checks) {
        let device = Device::with_checks(1 << 30, threads, checks);
        let module = device.load(self.ptx).expect("PTX");
        let kernel = module.kernels().find(|name| name.contains(self.kernel)).expect("the kernel").to_owned();
        let addresses = self.buffers.iter().map(|bytes| device.upload(bytes).expect("memory"));
        let mut parameters: Vec<u8> = addresses.flat_map(u64::to_le_bytes).collect();
        parameters.extend(self.rest.iter().flat_map(|word| word.to_le_bytes()));
        let (blocks, block) = ([self.blocks[0], self.blocks[1], 1], [self.threads, 1, 1]);
        let launch = Launch { blocks, threads: block, dynamic_shared: 0, parameters: &parameters };
        let under = if checks == Checks::NONE { "bounds and alignment" } else { "every check" };
        report(&format!("{name}, {threads} threads, {under}"), "G thread-instructions/s", || {
            let start = Instant::now();
            let statistics = device.launch(&module, &kernel, &launch).expect("a launch");
            (statistics.thread_instructions as f64 / 1e9, start.elapsed())
        });
    }
}

fn floats(count: u32) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f32 / 100.0).sin().to_le_bytes()).collect()
}

fn kernels() {
    const ROWS: u32 = 4096;
    const BLOCKS: u32 = 4096 / 128;
    let blocks = (ROWS * BLOCKS) as usize;
    const TOKENS: u32 = 64;
    let product = |tokens: u32| {
        [
            vec![0x5a; blocks * 16],
            [0x00, 0x3c].repeat(blocks),
            floats(tokens * BLOCKS * 128),
            vec![0; (tokens * ROWS) as usize * 4],
        ]
    };
    let ([words, scales, x, y], many) = (product(1), product(TOKENS));
    const TILES: u32 = 2;
    let gemv = Case {
        ptx: include_str!("../kernels/prebuilt/matvec.90.ptx"),
        kernel: "6matvecI4Q1_0E",
        blocks: [ROWS / 16 / TILES, 1],
        threads: 256,
        buffers: &[words, scales, floats(BLOCKS * 128), x, y],
        rest: &[ROWS, BLOCKS, ROWS, 0, 0, 1e-6f32.to_bits(), ROWS / 16 / TILES],
    };
    let gemm = Case {
        ptx: include_str!("../kernels/prebuilt/matmul_prefill.80.ptx"),
        kernel: "matmul_prefillI4Q1_0E",
        blocks: [ROWS / 128 * TOKENS / 64, 1],
        threads: 256,
        buffers: &many,
        rest: &[ROWS, BLOCKS, TOKENS, ROWS, 0, 0],
    };
    const HEADS: u32 = 32;
    const KV_HEADS: u32 = 8;
    const HEAD_DIM: u32 = 128;
    const CONTEXT: u32 = 1024;
    const SPLITS: u32 = 4;
    let cache = [0x00, 0x2c].repeat((KV_HEADS * CONTEXT * HEAD_DIM) as usize);
    let turns: Vec<u8> = (0..HEAD_DIM / 2).flat_map(|pair| (0.1 / f64::from(pair + 1)).to_le_bytes()).collect();
    let attention = Case {
        ptx: include_str!("../kernels/prebuilt/attention.80.ptx"),
        kernel: "attention_decodeI6__half",
        blocks: [KV_HEADS, SPLITS],
        threads: 256,
        buffers: &[
            floats((HEADS + 2 * KV_HEADS) * HEAD_DIM),
            floats((HEADS + 2 * KV_HEADS) * HEAD_DIM),
            floats(HEAD_DIM),
            floats(HEAD_DIM),
            turns,
            (CONTEXT - 1).to_le_bytes().to_vec(),
            cache.clone(),
            cache,
            // f16 has no scales, and nobody looks at them.
            vec![0; 4],
            vec![0; 4],
            vec![0; (SPLITS * HEADS * (HEAD_DIM + 4) * 4) as usize],
            vec![0; KV_HEADS as usize * 4],
            vec![0; (HEADS * HEAD_DIM * 4) as usize],
        ],
        rest: &[
            HEADS,
            KV_HEADS,
            HEAD_DIM,
            HEAD_DIM,
            CONTEXT,
            SPLITS,
            0,
            1e-6f32.to_bits(),
            1.0f32.to_bits(),
            0.088f32.to_bits(),
        ],
    };
    const KEYS: u32 = 1 << 18;
    let keys = (0..KEYS).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let sort = Case {
        ptx: include_str!("sort_reduce.75.ptx"),
        kernel: "sort",
        blocks: [KEYS / 1024, 1],
        threads: 512,
        buffers: &[keys],
        rest: &[KEYS],
    };
    const FLOATS: u32 = 1 << 22;
    let reduction = Case {
        ptx: include_str!("sort_reduce.75.ptx"),
        kernel: "reduce",
        blocks: [128, 1],
        threads: 256,
        buffers: &[floats(FLOATS), vec![0; 4]],
        rest: &[FLOATS / 4],
    };
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    for (name, case) in [
        ("Q1_0 GEMV, 4096 x 4096", gemv),
        ("Q1_0 GEMM on tensor cores, 4096 x 4096, 64 tokens", gemm),
        ("decode attention, 32 heads, 1024 positions", attention),
        ("sort of tiles of 1024 keys", sort),
        ("sum of 4 Mi floats", reduction),
    ] {
        case.run(name, 1, Checks::NONE);
        case.run(name, threads, Checks::NONE);
        case.run(name, threads, Checks::ALL);
    }
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
    kernels();
    decode();
}
