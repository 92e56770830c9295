//! What attention of many tokens costs, as the emulator counts it: the figures that its kernel states.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::counters::Counters;
use warpwright_emulator::{Device, Launch, Options};

const HEADS: u32 = 4;
const TOKENS: u32 = 64;
const CONTEXT: u32 = 1024;
/// Query heads and tokens, and the positions that they see: all before them, and half of their own.
const PAIRS: f64 = (HEADS * TOKENS) as f64 * (CONTEXT as f64 - TOKENS as f64 / 2.0 + 0.5);

/// The counters of the last 64 tokens of a context, for four query heads that share a KV head.
fn counters(element: &str, element_bytes: u32, head_dim: u32) -> Counters {
    let path = concat!(env!("OUT_DIR"), "/warpwright/attention_prefill.80.ptx");
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let device = Device::with_checks(1 << 30, threads, Checks::NONE);
    let module = device.load(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kernel = module.kernels().find(|name| name.contains(element)).unwrap().to_owned();
    let cache = (CONTEXT * head_dim * element_bytes) as usize;
    let bytes =
        [(TOKENS * (HEADS + 2) * head_dim * 4) as usize, cache, cache, (CONTEXT * 4) as usize, (CONTEXT * 4) as usize];
    let mut addresses: Vec<u64> = bytes.iter().map(|bytes| device.upload(&vec![0; *bytes]).unwrap()).collect();
    addresses.push(device.upload(&(CONTEXT - TOKENS).to_le_bytes()).unwrap());
    addresses.push(device.upload(&vec![0; (TOKENS * HEADS * head_dim * 4) as usize]).unwrap());
    let mut parameters: Vec<u8> = addresses.into_iter().flat_map(u64::to_le_bytes).collect();
    for integer in [TOKENS, HEADS, 1, head_dim, CONTEXT, 0.1f32.to_bits()] {
        parameters.extend(integer.to_le_bytes());
    }
    let warps = head_dim.div_ceil(128);
    let launch = Launch {
        blocks: [TOKENS * HEADS / (64 / warps), 1, 1],
        threads: [128, 1, 1],
        dynamic_shared: 256 + 128 * (128 * warps + 8) + 8192 * (warps - 1),
        parameters: &parameters,
    };
    let options = Options { counters: true, ..Options::default() };
    *device.launch_with(&module, &kernel, &launch, &options).unwrap().counters.unwrap()
}

#[test]
fn instructions_of_a_query_and_position() {
    // element, its bytes, head_dim, instructions of threads for a query head and a position
    for (element, bytes, head_dim, most) in
        [("6__half", 2, 64, 25.0), ("6__half", 2, 128, 40.0), ("6__half", 2, 256, 102.0), ("Ia", 1, 128, 52.0)]
    {
        let counters = counters(element, bytes, head_dim);
        let total = counters.total();
        let cost = total.threads as f64 / PAIRS;
        let products = counters.sum(|one| one.opcode.starts_with("mma")).threads as f64 / PAIRS;
        println!("{element}, head_dim {head_dim}: {cost:.1} instructions, {products:.1} of them products");
        assert!(cost <= most, "{element}, head_dim {head_dim}: {cost:.1} instructions");
        assert_eq!(total.conflicts, 0, "{element}, head_dim {head_dim}: conflicts in shared memory");
    }
}
