//! What attention of one token costs, as the emulator counts it: every key and value is read once, and how many
//! instructions there are for each of their elements.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::counters::{Class, Counters};
use warpwright_emulator::{Device, Launch, Options};

const HEADS: u32 = 32;
const KV_HEADS: u32 = 8;
const HEAD_DIM: u32 = 128;
const CONTEXT: u32 = 4096;
/// A block for each of 128 multiprocessors.
const SPLITS: u32 = 16;
/// Elements of keys and values.
const ELEMENTS: u64 = 2 * (KV_HEADS * CONTEXT * HEAD_DIM) as u64;

/// The counters of a token that sees `length` positions.
fn counters(element: &str, element_bytes: u32, length: u32) -> Counters {
    let path = concat!(env!("OUT_DIR"), "/warpwright/attention.90.ptx");
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let device = Device::with_checks(1 << 30, threads, Checks::NONE);
    let module = device.load(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kernel = module.kernels().find(|name| name.contains(element)).unwrap().to_owned();
    let zeros = |bytes: u32| device.upload(&vec![0; bytes as usize]).unwrap();
    let (all_heads, cache) = ((HEADS + 2 * KV_HEADS) * HEAD_DIM, KV_HEADS * CONTEXT * HEAD_DIM * element_bytes);
    let scales = KV_HEADS * CONTEXT * 4;
    let addresses = [
        zeros(all_heads * 4),
        0,
        zeros(HEAD_DIM * 4),
        zeros(HEAD_DIM * 4),
        zeros(HEAD_DIM / 2 * 8),
        device.upload(&(length - 1).to_le_bytes()).unwrap(),
        zeros(cache),
        zeros(cache),
        zeros(scales),
        zeros(scales),
        zeros(SPLITS * HEADS * (HEAD_DIM + 4) * 4),
        zeros(KV_HEADS * 4),
        zeros(HEADS * HEAD_DIM * 4),
    ];
    let mut parameters: Vec<u8> = addresses.into_iter().flat_map(u64::to_le_bytes).collect();
    let (eps, magnitude, scale) = (1e-6f32.to_bits(), 1.0f32.to_bits(), 0.1f32.to_bits());
    for integer in [HEADS, KV_HEADS, HEAD_DIM, HEAD_DIM, CONTEXT, SPLITS, 0, eps, magnitude, scale] {
        parameters.extend(integer.to_le_bytes());
    }
    let launch =
        Launch { blocks: [KV_HEADS, SPLITS, 1], threads: [256, 1, 1], dynamic_shared: 0, parameters: &parameters };
    let options = Options { counters: true, ..Options::default() };
    *device.launch_with(&module, &kernel, &launch, &options).unwrap().counters.unwrap()
}

/// Checks what a token costs at 4096 positions: at most so many instructions of threads an element, and so many bytes of
/// all loads for a byte of keys and values (with their scales).
fn costs(element: &str, element_bytes: u32, instructions: f64, bytes: f64) {
    let counters = counters(element, element_bytes, CONTEXT);
    let total = counters.total();
    let scales = if element_bytes == 1 { 2 * (KV_HEADS * CONTEXT * 4) as u64 } else { 0 };
    let needed = (ELEMENTS * u64::from(element_bytes) + scales) as f64;
    // The assembler makes nothing of most moves.
    let cost = counters.sum(|one| one.class != Class::Move).threads as f64 / ELEMENTS as f64;
    let cache = counters.sum(|one| one.opcode == "ld.global.v4.u32").sectors as f64 * 32.0;
    let loads = counters.class(Class::GlobalLoad).sectors as f64 * 32.0;
    let products = counters.sum(|one| one.opcode.starts_with("mma")).threads as f64 / ELEMENTS as f64;
    println!(
        "{element}: {cost:.3} instructions an element, {products:.3} of them products; keys and values {:.4}, all loads \
         {:.4} of the bytes that there are; {} conflicts in {} passes",
        cache / (ELEMENTS * u64::from(element_bytes)) as f64,
        loads / needed,
        total.conflicts,
        total.passes
    );
    // But for those of the token, which it makes itself.
    assert!(cache <= (ELEMENTS * u64::from(element_bytes)) as f64, "{element}: {cache} bytes of keys and values");
    assert!(loads <= bytes * needed, "{element}: {:.4} of the bytes", loads / needed);
    assert!(cost <= instructions, "{element}: {cost:.3} instructions an element");
    assert!(total.conflicts * 20 <= total.passes, "{element}: {} conflicts, {} passes", total.conflicts, total.passes);
}

#[test]
fn counts_of_attention_in_f16() {
    costs("6__half", 2, 3.9, 1.05);
}

#[test]
fn counts_of_attention_in_8_bits() {
    costs("Ia", 1, 5.0, 1.09);
}

#[test]
fn counts_of_the_first_token() {
    for (element, bytes) in [("6__half", 2), ("Ia", 1)] {
        let counters = counters(element, bytes, 1);
        // Nothing of the cache, and of scratch memory; a block for each KV head, and others that end at once.
        assert_eq!(counters.sum(|one| one.opcode == "ld.global.v4.u32").sectors, 0);
        assert_eq!(counters.class(Class::Atomic).warps, 0);
        let warps = counters.sum(|one| one.class != Class::Move).warps;
        println!("{element}: {warps} instructions of warps");
    }
}
