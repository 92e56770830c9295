//! References of `cub_device.cu`: CUB's kernels for whole arrays, launched as its dispatch launches them.

use bytemuck::Pod;

use crate::program::{Program, bytes_of};
use crate::random;

/// Threads of a block and items of a tile.
type Tile = (u32, usize);

struct Sizes {
    tiles: Vec<Tile>,
    /// Threads of the kernels that sum counts, of pairs and of keys.
    sums: [u32; 2],
}

/// The argument of an operation that has no state.
const STATELESS: [u8; 1] = [0];

pub(crate) fn check(program: &Program) {
    let mut sizes = None;
    program.call("sizes").output::<i32>(28).run(|results| {
        let found: Vec<u32> = results.get(0);
        let tiles = found[..26].chunks(2).map(|pair| (pair[0], pair[1] as usize)).collect();
        sizes = Some(Sizes { tiles, sums: [found[26], found[27]] });
    });
    let sizes = sizes.expect("at least one run");
    reductions(program, &sizes);
    scans(program, &sizes);
    sorts(program, &sizes);
}

fn reductions(program: &Program, sizes: &Sizes) {
    let words = |x: &[u32]| x.iter().fold(0u32, |sum, x| sum.wrapping_add(*x));
    let [many, single, many_reals, single_reals] = sizes.tiles[..4] else { unreachable!() };
    for n in [1, 31, single.1 - 1, single.1] {
        let x = random::words(n as u64, n);
        let kernel = ["DeviceReduceSingleTileKernel", "policy_hubIjj", "EPjSC_j"];
        let call = program.call_of(&kernel).threads(single.0).input(&x).output::<u32>(1).value(n as u32);
        call.value(STATELESS)
            .value(0u32)
            .value(STATELESS)
            .run(|results| assert_eq!(results.get::<u32>(0), [words(&x)]));
    }
    for (n, blocks) in [(single.1 + 1, 2), (many.1 * 2, 2), (many.1 * 3 + 5, 3), (many.1 * 7 + 1, 4)] {
        let x = random::words(n as u64, n);
        let share = even_share(n, blocks, many.1);
        program.schedules(|schedule| {
            let (x_at, blocks) = (program.upload(&x), blocks as u32);
            let (parts, total) = (program.poisoned::<u32>(blocks as usize), program.poisoned::<u32>(1));
            let first = program.call_of(&["DeviceReduceKernel", "policy_hubIjj"]).blocks(blocks).threads(many.0);
            let first = first.value(x_at).value(parts).value(n as u32).value(share);
            first.value(STATELESS).value(STATELESS).launch(schedule);
            let kernel = ["DeviceReduceSingleTileKernel", "policy_hubIjj", "EPjSC_i"];
            let second = program.call_of(&kernel).threads(single.0).value(parts).value(total).value(blocks);
            second.value(STATELESS).value(0u32).value(STATELESS).launch(schedule);
            assert_eq!(program.read::<u32>(total, 1), [words(&x)], "{n}");
        });
    }
    for n in [1, single_reals.1, many_reals.1 * 2 + 3] {
        // All below zero, so that no lane without a value passes for the largest.
        let x: Vec<f64> = random::words(n as u64, n).into_iter().map(|x| -1.5 - f64::from(x)).collect();
        let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        program.schedules(|schedule| {
            let (mut from, total) = (program.upload(&x), program.poisoned::<f64>(1));
            let (mut count, mut kind) = (n as u32, "EPdSB_j");
            if n > single_reals.1 {
                let parts = program.poisoned::<f64>(3);
                let first = program.call_of(&["DeviceReduceKernel", "policy_hubIdj"]).blocks(3).threads(many_reals.0);
                let first = first.value(from).value(parts).value(count).value(even_share(n, 3, many_reals.1));
                first.value(STATELESS).value(STATELESS).launch(schedule);
                (from, count, kind) = (parts, 3, "EPdSB_i");
            }
            let kernel = ["DeviceReduceSingleTileKernel", "policy_hubIdj", kind];
            let call = program.call_of(&kernel).threads(single_reals.0).value(from).value(total).value(count);
            call.value(STATELESS).value(f64::MIN).value(STATELESS).launch(schedule);
            assert_eq!(program.read::<f64>(total, 1), [largest], "{n}");
        });
    }
}

/// How tiles are shared among blocks: `GridEvenShare` after `DispatchInit`.
fn even_share(n: usize, blocks: usize, tile: usize) -> [i32; 10] {
    let tiles = n.div_ceil(tile);
    let blocks = blocks.min(tiles);
    let (each, more) = (tiles / blocks, tiles % blocks);
    let share = [tiles, more, (each + 1) * tile, each * tile, more * tile, n, blocks, n, n, 0];
    share.map(|value| value as i32)
}

/// The sizes of arrays that a scan or sort is tried with.
fn lengths(tile: usize) -> [usize; 5] {
    [1, tile - 1, tile, tile + 1, 9 * tile + 77]
}

fn scans(program: &Program, sizes: &Sizes) {
    // The value that an exclusive sum begins with: whether it is a pointer, and the union of value and pointer.
    let initial = bytes_of::<16>(&[&0u64.to_le_bytes(), &5u32.to_le_bytes(), &[0; 4]]);
    let kernels = ["20DeviceScanInitKernelINS0_13ScanTileStateIj", "16DeviceScanKernelINS2_10policy_hubIjjjj"];
    scan(
        program,
        kernels,
        sizes.tiles[4],
        State::Words(8),
        initial,
        |x| x,
        |x| {
            let before = |sum: &mut u32, x: &u32| Some(std::mem::replace(sum, sum.wrapping_add(*x)));
            x.iter().scan(5u32, before).collect()
        },
    );
    let kernels = ["20DeviceScanInitKernelINS0_13ScanTileStateIm", "16DeviceScanKernelINS2_10policy_hubImmmj"];
    scan(
        program,
        kernels,
        sizes.tiles[5],
        State::Words(16),
        STATELESS,
        |x| u64::from(x) << 31,
        |x| {
            let sum = |sum: &mut u64, x: &u64| {
                *sum = sum.wrapping_add(*x);
                Some(*sum)
            };
            x.iter().scan(0u64, sum).collect()
        },
    );
    let kernels = ["20DeviceScanInitKernelINS0_13ScanTileStateI6Affine", "16DeviceScanKernelINS2_10policy_hubI6Affine"];
    scan(
        program,
        kernels,
        sizes.tiles[6],
        State::Apart,
        STATELESS,
        |x| [x | 1, x >> 3],
        |x| {
            let compose = |[a, b]: &mut [u32; 2], [c, d]: &[u32; 2]| {
                (*a, *b) = (a.wrapping_mul(*c), b.wrapping_mul(*c).wrapping_add(*d));
                Some([*a, *b])
            };
            x.iter().scan([1, 0], compose).collect()
        },
    );
}

/// How the state of a tile is kept: a word of some bytes with status and value, or status and two values of 8 bytes apart.
#[derive(Clone, Copy)]
enum State {
    Words(usize),
    Apart,
}

fn scan<T: Pod + PartialEq + std::fmt::Debug, I: Pod>(
    program: &Program,
    [init, kernel]: [&str; 2],
    (threads, tile): Tile,
    state: State,
    initial: I,
    of_word: impl Fn(u32) -> T,
    reference: impl Fn(&[T]) -> Vec<T>,
) {
    for n in lengths(tile) {
        let x: Vec<T> = random::words(n as u64, n).into_iter().map(&of_word).collect();
        let expected = reference(&x);
        let tiles = n.div_ceil(tile);
        program.schedules(|schedule| {
            let (from, to) = (program.upload(&x), program.poisoned::<T>(n));
            // A warp looks back at as many tiles as it has lanes, the first of which come before tile 0.
            let states = |bytes: usize| program.poisoned::<u8>((tiles + 32) * bytes);
            let call = |kernel| program.call_of(&[kernel]).threads(128);
            let (initialise, scan) = match state {
                State::Words(bytes) => {
                    let state = states(bytes);
                    (call(init).value(state), call(kernel).value(from).value(to).value(state))
                }
                State::Apart => {
                    let state = [states(4), states(8), states(8)];
                    (call(init).value(state), call(kernel).value(from).value(to).value(state))
                }
            };
            initialise.blocks(tiles.div_ceil(128) as u32).value(tiles as u32).launch(schedule);
            let scan = scan.blocks(tiles as u32).threads(threads).value(0u32).value(STATELESS).value(initial);
            scan.value(n as u32).launch(schedule);
            assert_eq!(program.read::<T>(to, n), expected, "{kernel} of {n}");
        });
    }
}

fn sorts(program: &Program, sizes: &Sizes) {
    let compare = |a: &(u32, u32), b: &(u32, u32)| a.0.cmp(&b.0);
    sort(program, ["policy_hubIjjj", "SortOrderE0"], &sizes.tiles[7..10], sizes.sums[0], true, |x| x, compare);
    // Floating point, the largest first; zeros of both signs count as equal to CUB, so there is one only.
    let of_word = |x: u32| ((x.cast_signed() as f32) * 1e-3).to_bits();
    let compare = |a: &(u32, u32), b: &(u32, u32)| f32::from_bits(b.0).total_cmp(&f32::from_bits(a.0));
    let kinds = ["policy_hubIfNS0_8NullType", "SortOrderE1"];
    sort(program, kinds, &sizes.tiles[10..13], sizes.sums[1], false, of_word, compare);
}

fn sort(
    program: &Program,
    kinds: [&str; 2],
    tiles: &[Tile],
    threads_of_sums: u32,
    pairs: bool,
    of_word: impl Fn(u32) -> u32,
    compare: impl Fn(&(u32, u32), &(u32, u32)) -> std::cmp::Ordering,
) {
    let [single, histogram, onesweep] = tiles[..] else { unreachable!() };
    for n in [1, single.1, single.1 + 1, 3 * onesweep.1 + 50] {
        let keys: Vec<u32> =
            random::words(n as u64, n).into_iter().map(|x| if x % 4 == 0 { x % 5 } else { x }).map(&of_word).collect();
        let values = random::words(n as u64 + 1, n);
        let mut expected: Vec<(u32, u32)> = keys.iter().copied().zip(values.iter().copied()).collect();
        expected.sort_by(&compare);
        // Threads without a value exchange what they have all the same.
        let discarding = program.that_discards();
        let program = if pairs { &discarding } else { program };
        let call = |kernel| program.call_of(&[kernel, kinds[0], kinds[1]]);
        let (sorted, carried): (Vec<u32>, Vec<u32>) = expected.into_iter().unzip();
        program.schedules(|schedule| {
            let mut from = [program.upload(&keys), if pairs { program.upload(&values) } else { 0 }];
            let buffer = |wanted: bool| if wanted { program.poisoned::<u32>(n) } else { 0 };
            if n <= single.1 {
                let to = [buffer(true), buffer(pairs)];
                let call = call("SingleTileKernel").threads(single.0).value(from[0]).value(to[0]);
                let call = call.value(from[1]).value(to[1]).value(n as u32).value(0i32).value(32i32);
                call.value(STATELESS).launch(schedule);
                from = to;
            } else {
                let blocks = n.div_ceil(onesweep.1);
                let (bins, counters) = (program.upload(&[0u32; 4 * 256]), program.upload(&[0u32; 4]));
                let count = call("HistogramKernel").blocks(5).threads(histogram.0).value(bins).value(from[0]);
                count.value(n as u32).value(0i32).value(32i32).value(STATELESS).launch(schedule);
                let sums = program.call_of(&["ExclusiveSumKernel", kinds[0]]).blocks(4).threads(threads_of_sums);
                sums.value(bins).launch(schedule);
                for pass in 0..4 {
                    let lookback = program.upload(&vec![0u32; blocks * 256]);
                    let to = [buffer(true), buffer(pairs)];
                    let sweep = call("OnesweepKernel").blocks(blocks as u32).threads(onesweep.0);
                    let sweep = sweep.value(lookback).value(counters + pass * 4).value(0u64);
                    let sweep = sweep.value(bins + pass * 1024).value(to[0]).value(from[0]).value(to[1]);
                    let sweep = sweep.value(from[1]).value(n as u32).value(pass as i32 * 8).value(8i32);
                    sweep.value(STATELESS).launch(schedule);
                    from = to;
                }
            }
            assert_eq!(program.read::<u32>(from[0], n), sorted, "keys of {n}");
            if pairs {
                assert_eq!(program.read::<u32>(from[1], n), carried, "values of {n}");
            }
        });
    }
}
