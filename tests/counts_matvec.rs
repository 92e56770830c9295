//! What a product of a matrix and one vector costs: instructions, memory that is moved, and conflicts, on the emulator, which
//! counts the same on every machine; and the registers that the assembler gives it, where there is one.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::counters::{Class, Counters};
use warpwright_emulator::{Device, Launch, Module, Options};

/// Multiprocessors of an H100 and an H200.
const MULTIPROCESSORS: u32 = 132;

/// A layout in the names of kernels, its words and scales in a chunk of 128 weights.
struct Layout {
    name: &'static str,
    words: u32,
    scales: u32,
}

const Q1_0: Layout = Layout { name: "4Q1_0", words: 4, scales: 1 };
const T1: Layout = Layout { name: "2T1", words: 7, scales: 1 };
const T2: Layout = Layout { name: "2T2", words: 8, scales: 1 };
const T2_HALVES: Layout = Layout { name: "8T2Halves", words: 8, scales: 2 };
const Q8_0: Layout = Layout { name: "4Q8_0", words: 32, scales: 4 };
const F16: Layout = Layout { name: "3F16", words: 64, scales: 0 };
const BF16: Layout = Layout { name: "4BF16", words: 64, scales: 0 };
const F32: Layout = Layout { name: "3F32", words: 128, scales: 0 };

/// A matrix of the 8B model: rows, columns, and whether the vector is normalised first.
type Matrix = (u32, u32, bool);
const QKV: Matrix = (6144, 4096, true);
const OUTPUT: Matrix = (4096, 4096, false);
const GATE_UP: Matrix = (24576, 4096, true);
const DOWN: Matrix = (4096, 12288, false);
const LOGITS: Matrix = (151_669, 4096, true);

/// The counters of a product, and the bytes that have to be moved.
fn counters(device: &Device, module: &Module, layout: &Layout, (rows, columns, norm): Matrix) -> (Counters, u64) {
    let name = format!("6matvecI{}E", layout.name);
    let kernel = module.kernels().find(|kernel| kernel.contains(&name)).unwrap().to_owned();
    let chunks = columns / 128;
    let of_chunks = u64::from(rows.div_ceil(16) * 16) * u64::from(chunks.div_ceil(4) * 4);
    let (words, scales) = (of_chunks * u64::from(layout.words) * 4, of_chunks * u64::from(layout.scales) * 2);
    let (vector, out) = (u64::from(columns) * 4, u64::from(rows) * 4);
    let of_norm = if norm { vector } else { 0 };
    let upload = |bytes: u64| if bytes == 0 { 0 } else { device.upload(&vec![0x11; bytes as usize]).unwrap() };
    let addresses = [words, scales, of_norm, vector, out].map(upload);
    let mut parameters: Vec<u8> = addresses.iter().flat_map(|address| address.to_le_bytes()).collect();
    // as `Linear` chooses them
    let tiles = rows.div_ceil(16);
    let blocks = tiles.div_ceil(tiles.div_ceil(MULTIPROCESSORS));
    parameters.extend([rows, chunks, rows, 0, 0, 1e-6f32.to_bits(), blocks].iter().flat_map(|n| n.to_le_bytes()));
    let launch = Launch { blocks: [blocks, 1, 1], threads: [256, 1, 1], dynamic_shared: 0, parameters: &parameters };
    let options = Options { counters: true, ..Options::default() };
    let statistics = device.launch_with(module, &kernel, &launch, &options).unwrap();
    for address in addresses.into_iter().filter(|address| *address != 0) {
        device.free(address).unwrap();
    }
    (*statistics.counters.unwrap(), words + scales + of_norm + vector + out)
}

fn module(device: &Device) -> Module {
    device.load(include_str!("../kernels/prebuilt/matvec.90.ptx")).unwrap()
}

fn device() -> Device {
    Device::with_checks(4 << 30, 2, Checks::NONE)
}

/// Checks what all layouts keep to, and returns thread-instructions a weight.
fn cost(device: &Device, module: &Module, layout: &Layout, matrix: Matrix) -> f64 {
    let (counters, needed) = counters(device, module, layout, matrix);
    let (rows, columns, _) = matrix;
    let cost = counters.total().threads as f64 / (f64::from(rows) * f64::from(columns));
    let memory = counters.distinct_bytes() as f64 / needed as f64;
    println!("{}, {rows} x {columns}: {cost:.3} instructions a weight, {memory:.4} of the bytes", layout.name);
    assert!(memory <= 1.03, "{}, {rows} x {columns}: {memory}", layout.name);

    // Weights are loaded once, and all that is moved for them is wanted.
    let weights =
        counters.sum(|instruction| instruction.opcode.starts_with("ld.global") && !instruction.opcode.contains("f32"));
    // (F32 is loaded as f32, as the vector is.)
    assert!(layout.words == 128 || weights.efficiency() >= 1.0, "{}: {:.2}", layout.name, weights.efficiency());
    // What the inner loop reads from shared memory meets no conflicts.
    let loads = counters.sum(|instruction| instruction.class == Class::SharedLoad);
    assert!(
        loads.conflicts * 100 <= loads.passes,
        "{}: {} conflicts of {}",
        layout.name,
        loads.conflicts,
        loads.passes
    );
    let stores = counters.sum(|instruction| instruction.class == Class::SharedStore);
    assert!(
        layout.words > 8 || stores.conflicts * 10 <= stores.passes,
        "{}: {} of {}",
        layout.name,
        stores.conflicts,
        stores.passes
    );
    cost
}

/// The cost of each matrix is at most this, and no less than 0.9 of it, so that the figure stays true.
fn check(layout: &Layout, matrices: &[(Matrix, f64)]) {
    let device = device();
    let module = module(&device);
    for &(matrix, most) in matrices {
        let cost = cost(&device, &module, layout, matrix);
        assert!(cost <= most && cost >= 0.9 * most, "{}, {matrix:?}: {cost:.3}, and not {most}", layout.name);
    }
}

/// Of one weight of the output matrix, 0.3 are in the inner loop, 0.4 make the vector planes of bits in each of 128 blocks,
/// and 0.3 are what a thread does once.
#[test]
fn counts_of_q1_0() {
    check(&Q1_0, &[(OUTPUT, 1.0), (QKV, 0.92), (GATE_UP, 0.48), (DOWN, 0.78), (LOGITS, 0.37)]);
}

#[test]
fn counts_of_two_bits() {
    check(&T2, &[(OUTPUT, 1.18), (GATE_UP, 0.65), (DOWN, 0.95)]);
    check(&T2_HALVES, &[(OUTPUT, 1.6), (GATE_UP, 1.06), (DOWN, 1.44)]);
    check(&T1, &[(OUTPUT, 1.41), (GATE_UP, 0.88), (DOWN, 1.18)]);
}

/// All lanes work, whatever the columns: the same cost a weight, but for what the vector takes.
#[test]
fn counts_of_other_columns() {
    check(&Q1_0, &[((24576, 2048, true), 0.58), ((24576, 2560, true), 0.55), ((24576, 9728, false), 0.41)]);
}

/// Numbers are multiplied as f32. The memory of an H200 leaves time for 8 instructions a byte.
#[test]
fn counts_of_numbers() {
    for (layout, most) in [(&Q8_0, 5.95), (&F16, 4.35), (&BF16, 3.8), (&F32, 1.85)] {
        check(layout, &[((8192, 4096, false), most)]);
    }
}

/// 24 warps have room on a multiprocessor of compute capability 9.0 (16 for weights that are numbers), and nothing is spilled.
#[test]
fn registers_leave_room_for_warps() {
    let manifest: serde_json::Value = serde_json::from_str(include_str!("../kernels/prebuilt/manifest.json")).unwrap();
    let modules = manifest["modules"].as_array().unwrap();
    let matvec = modules.iter().find(|module| module["name"] == "matvec").unwrap();
    let image = matvec["images"].as_array().unwrap().iter().find(|image| image["target"] == "90").unwrap();
    let kernels = matvec["kernels"].as_array().unwrap();
    assert_eq!(kernels.len(), 16);
    for (kernel, resources) in kernels.iter().zip(image["resources"].as_array().unwrap()) {
        let symbol = kernel["symbol"].as_str().unwrap();
        let bits = [&Q1_0, &T1, &T2, &T2_HALVES].iter().any(|layout| symbol.contains(&format!("I{}E", layout.name)));
        let of = |what: &str| resources[what].as_u64().unwrap();
        assert_eq!((of("spills"), of("stack")), (0, 0), "{symbol}");
        // blocks of 8 warps, 65,536 registers and 227 KB of shared memory
        let blocks = if bits { 3 } else { 2 };
        assert!(
            of("registers") * 256 * blocks <= 65_536 && of("shared") * blocks <= 227 << 10,
            "{symbol}: {resources}"
        );
    }
}
