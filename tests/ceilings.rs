//! The kernels that measure what a device can do, and the measuring of launches.

mod common;

use common::{Random, device};
use warpwright::ceilings::Ceilings;
use warpwright::kernel::ceilings::{ByteProducts, MatrixProducts, ReadAll};
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::launch::{TimedArgument, Timeline, time};

#[test]
fn read_all_reads_all() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(1);
    for (count, blocks) in [(0, 1), (4, 1), (4, 3), (2048, 1), (2052, 2), (16_384, 1), (16_388, 1), (65_540, 3)] {
        let words: Vec<u32> = (0..count).map(|_| random.below(u32::MAX)).collect();
        let mut sums = device.upload(&vec![u32::MAX; blocks as usize]);
        ReadAll { words: &device.upload(&words), sums: &mut sums, count: count as u64, blocks }.launch(&queue).unwrap();
        let expected = words.iter().fold(0, |sum, word| sum ^ word);
        assert_eq!(sums.read().unwrap().iter().fold(0, |sum, word| sum ^ word), expected, "{count}, {blocks}");
    }
}

#[test]
fn products_are_as_many_as_they_say() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut out = device.upload(&vec![-1i32; 1024]);
    let seed = 0x0305_0709;
    ByteProducts { out: &mut out, seed, blocks: 2 }.launch(&queue).unwrap();
    let bytes = |word: i32| word.to_le_bytes().map(|byte| i32::from(byte as i8));
    let product = |a: i32, b: i32| bytes(a).iter().zip(bytes(b)).map(|(a, b)| a * b).sum::<i32>();
    let chain = |thread: i32, n: i32| {
        let first = thread.wrapping_mul(0x0103_0507).wrapping_add(seed).wrapping_add(n);
        (0..32).fold(first, |sum, _| sum.wrapping_add(product(sum, seed)))
    };
    let expected: Vec<i32> = (0..1024).map(|i| (0..8).fold(0, |all, n| all ^ chain(i % 512, n))).collect();
    assert_eq!(out.read().unwrap(), expected);

    let mut out = device.poisoned(512);
    // all elements are 1 and 0.5: 32 rounds of 16 products for each of 4 sums in 8 chains, which began with 0 to 31
    MatrixProducts { out: &mut out, a: 0x3c00_3c00, b: 0x3800_3800, blocks: 1 }.launch(&queue).unwrap();
    let expected = 32.0 * 16.0 * 0.5 * 32.0 + (31 * 32 / 2) as f32;
    assert!(out.read().unwrap().iter().all(|sum| *sum == expected), "{expected}");
}

#[test]
fn ceilings_are_measured() {
    let device = device();
    let ceilings = Ceilings::new(&device.kernels, &device.stream, 1 << 16, 1).unwrap();
    assert!(ceilings.device().multiprocessors > 0 && ceilings.device().l2_bytes > 0);
    assert_eq!(ceilings.pool(), 1 << 16);
    for bytes in [32, 1 << 12, 1 << 15] {
        let (read, copy) = (ceilings.read(bytes).unwrap(), ceilings.copy(bytes).unwrap());
        assert!(read > 0.0 && copy > 0.0 && read < 60.0 && copy < 60.0, "{read} {copy}");
    }
    assert!(ceilings.copy(1 << 16).unwrap_err().to_string().contains("has no range"));
    assert!(ceilings.byte_operations().unwrap() > 0.0);
}

#[test]
fn a_timeline_measures_each_launch() {
    let device = device();
    let timeline = Timeline::new(device.kernels.on(&device.stream));
    let (x, weight) = (device.upload(&[3.0f32, 4.0]), device.upload(&[1.0f32, 1.0]));
    let mut out = device.poisoned(2);
    let mut norm = |rows| RmsNorm { x: &x, weight: &weight, out: &mut out, rows, dim: 2, eps: 0.0 }.launch(&timeline);
    assert!(timeline.finish().unwrap().is_empty());
    timeline.hold(|| (0..3).try_for_each(|_| norm(1))).unwrap().unwrap();
    // a contract that does not hold is no launch
    assert!(norm(2).unwrap_err().to_string().contains("the contract says"));
    let launches = timeline.finish().unwrap();
    assert_eq!(launches.len(), 3);
    let argument = |name, written| TimedArgument { name, bytes: 8, written };
    for launch in &launches {
        assert_eq!((launch.kernel, launch.geometry.blocks), ("rms_norm", [1, 1, 1]));
        assert_eq!(launch.arguments, [argument("x", false), argument("weight", false), argument("out", true)]);
        assert!((0.0..60.0).contains(&launch.seconds));
    }
    assert!(timeline.finish().unwrap().is_empty());
    assert!(timeline.overhead().unwrap() >= 0.0);
    let root = 12.5f32.sqrt();
    assert_eq!(out.read().unwrap(), [3.0 / root, 4.0 / root]);
}

#[test]
fn a_stream_is_timed_and_errors_pass_through() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let (x, weight) = (device.upload(&[1.0f32]), device.upload(&[1.0f32]));
    let mut out = device.poisoned(1);
    let mut launch = |rows| RmsNorm { x: &x, weight: &weight, out: &mut out, rows, dim: 1, eps: 0.0 }.launch(&queue);
    let mut run = |rows| time(&device.stream, || launch(rows).map_err(Box::<dyn std::error::Error>::from));
    assert!(run(1).unwrap() >= 0.0);
    assert!(run(7).unwrap_err().to_string().contains("the contract says"));
}
