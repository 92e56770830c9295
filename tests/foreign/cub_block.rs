//! References of `cub_block.cu`: CUB's collectives of a block and of a warp.

use bytemuck::Pod;
use std::fmt::Debug;

use crate::program::Program;
use crate::random;

/// Sizes around the tile of a kernel, the last with several blocks.
fn sizes(tile: usize) -> [usize; 6] {
    [1, 33, tile - 1, tile, tile + 1, 3 * tile + 7]
}

pub(crate) fn check(program: &Program) {
    reductions(program);
    warp_reductions(program);
    scans(program);
    radix_sorts(program);
    ranks(program);
    merge_sorts(program);
    arrangements(program);
    histograms(program);
    runs(program);
}

fn reductions(program: &Program) {
    for kernel in ["reduce_raking", "reduce_raking_commutative", "reduce_warps"] {
        for n in sizes(128) {
            let x = random::words(n as u64, n);
            let sums: Vec<u32> = x.chunks(128).map(sum).collect();
            let call = program.call(kernel).blocks(sums.len() as u32).threads(128);
            let call = call.input(&x).output::<u32>(sums.len()).value(n as u32);
            call.run(|results| assert_eq!(results.get::<u32>(0), sums, "{kernel} of {n}"));
        }
    }
    for (kernel, tile) in [("reduce_max_raking", 96), ("reduce_max_raking_commutative", 160), ("reduce_max_warps", 100)]
    {
        for n in sizes(tile) {
            // All negative, so that a lane that has no value cannot pass for the largest.
            let x: Vec<i64> = random::words(n as u64, n).into_iter().map(|x| -(i64::from(x) << 20) - 1).collect();
            let largest: Vec<i64> = x.chunks(tile).map(|x| *x.iter().max().unwrap()).collect();
            let call = program.call(kernel).blocks(largest.len() as u32).threads(tile as u32);
            let call = call.input(&x).output::<i64>(largest.len()).value(n as u32);
            call.run(|results| assert_eq!(results.get::<i64>(0), largest, "{kernel} of {n}"));
        }
    }
    for kernel in ["reduce_affine_raking", "reduce_affine_warps"] {
        for n in sizes(128) {
            let x = affine(n);
            let totals: Vec<[u32; 2]> = x.chunks(128).map(|x| x.iter().copied().reduce(compose).unwrap()).collect();
            let call = program.call(kernel).blocks(totals.len() as u32).threads(128);
            let call = call.input(&x).output::<[u32; 2]>(totals.len()).value(n as u32);
            call.run(|results| assert_eq!(results.get::<[u32; 2]>(0), totals, "{kernel} of {n}"));
        }
    }
    let x = random::floats(3, 2 * 320);
    let call = program.call("reduce_items").blocks(2).threads(64).input(&x).output::<f32>(2);
    call.run(|results| {
        for (found, x) in results.get::<f32>(0).into_iter().zip(x.chunks(320)) {
            let total: f64 = x.iter().map(|&x| f64::from(x)).sum();
            // At most 11 additions follow one another on any way to the total, each off by half an ulp of what it has.
            let bound = 11.0 * f64::from(f32::EPSILON) / 2.0 * x.iter().map(|&x| f64::from(x.abs())).sum::<f64>();
            assert!((f64::from(found) - total).abs() <= bound, "{found} for {total}");
        }
    });
}

fn sum(x: &[u32]) -> u32 {
    x.iter().fold(0, |sum: u32, x| sum.wrapping_add(*x))
}

fn affine(n: usize) -> Vec<[u32; 2]> {
    random::words(n as u64 + 1, 2 * n).chunks(2).map(|x| [x[0] | 1, x[1]]).collect()
}

/// One after the other.
fn compose(first: [u32; 2], second: [u32; 2]) -> [u32; 2] {
    [first[0].wrapping_mul(second[0]), first[1].wrapping_mul(second[0]).wrapping_add(second[1])]
}

fn warp_reductions(program: &Program) {
    for (kernel, lanes) in [("warp_reduce_32", 32), ("warp_reduce_8", 8)] {
        for n in [1, 8, 9, 31, 32, 33, 127, 128, 300] {
            let x = random::words(n as u64, n);
            let sums: Vec<u32> = x.chunks(lanes).map(sum).collect();
            let largest: Vec<u32> = x.chunks(lanes).map(|x| *x.iter().max().unwrap()).collect();
            let call = program.call(kernel).blocks(n.div_ceil(128) as u32).threads(128).input(&x);
            let call = call.output::<u32>(sums.len()).output::<u32>(sums.len()).value(n as u32);
            call.run(|results| {
                assert_eq!(results.get::<u32>(0), sums, "{kernel} of {n}");
                assert_eq!(results.get::<u32>(1), largest, "{kernel} of {n}");
            });
        }
    }
    let (x, heads) = (random::words(1, 64), random::below(2, 64, 5));
    let heads: Vec<u8> = heads.into_iter().map(|head| u8::from(head == 0)).collect();
    let mut sums = [u32::MAX; 64];
    for warp in [0, 32] {
        let mut head = warp;
        for at in warp..warp + 32 {
            if heads[at] != 0 || at == warp {
                (head, sums[at]) = (at, 0);
            }
            sums[head] = sums[head].wrapping_add(x[at]);
        }
    }
    let call = program.call("warp_head_segments").threads(64).input(&x).input(&heads).output::<u32>(64);
    call.run(|results| assert_eq!(results.get::<u32>(0), sums));
    let sums: Vec<u32> = x[..12].chunks(6).map(sum).collect();
    let call = program.call("warp_reduce_6").threads(64).input(&x).output::<u32>(2);
    call.run(|results| assert_eq!(results.get::<u32>(0), sums));
}

/// What is before each element, from `first` on, and then what is up to it.
fn scan<T: Copy>(x: &[T], first: T, operation: impl Fn(T, T) -> T) -> (Vec<T>, Vec<T>) {
    let mut so_far = first;
    x.iter()
        .map(|x| {
            let before = so_far;
            so_far = operation(so_far, *x);
            (before, so_far)
        })
        .unzip()
}

fn scans(program: &Program) {
    const TILE: usize = 96 * 3;
    for kernel in ["scan_raking", "scan_raking_memoize", "scan_warps"] {
        for n in sizes(TILE) {
            let x = random::words(n as u64, n);
            let tiles = |x: &[u32], first, operation: fn(u32, u32) -> u32| -> (Vec<u32>, Vec<u32>) {
                let tiles: (Vec<_>, Vec<_>) = x.chunks(TILE).map(|x| scan(x, first, operation)).unzip();
                (tiles.0.concat(), tiles.1.concat())
            };
            let (exclusive, inclusive) = tiles(&x, 0, u32::wrapping_add);
            let (largest, _) = tiles(&x, 7, u32::max);
            let totals: Vec<u32> = inclusive.chunks(TILE).map(|sums| *sums.last().unwrap()).collect();
            let call = program.call(kernel).blocks(totals.len() as u32).threads(96).input(&x);
            let call = call.output::<u32>(n).output::<u32>(n).output::<u32>(n).output::<u32>(totals.len());
            call.value(n as u32).run(|results| {
                for (number, expected) in [&exclusive, &inclusive, &largest, &totals].into_iter().enumerate() {
                    assert_eq!(results.get::<u32>(number), *expected, "{kernel} of {n}, output {number}");
                }
            });
        }
    }
    for n in sizes(64) {
        let x = affine(n);
        let (_, expected) = scan(&x, [1, 0], compose);
        let call = program.call("scan_carried").threads(64).input(&x).output::<[u32; 2]>(n).value(n as u32);
        call.run(|results| assert_eq!(results.get::<[u32; 2]>(0), expected, "{n}"));
    }
    let x = random::words(9, 256);
    let warps: (Vec<_>, Vec<_>) = x.chunks(32).map(|x| scan(x, 0, u32::wrapping_add)).unzip();
    let wide: Vec<i64> = x.iter().map(|&x| i64::from(x.cast_signed()) << 20).collect();
    let largest: Vec<i64> = wide.chunks(16).flat_map(|x| scan(x, i64::MIN, i64::max).1).collect();
    let call = program.call("warp_scan").blocks(2).threads(128).input(&x);
    call.output::<u32>(256).output::<u32>(256).output::<i64>(256).run(|results| {
        assert_eq!(results.get::<u32>(0), warps.1.concat());
        assert_eq!(results.get::<u32>(1), warps.0.concat());
        assert_eq!(results.get::<i64>(2), largest);
    });
}

/// Sorts tiles by bits of keys: with some that come several times.
fn sorts<T: Pod + Debug + PartialEq>(
    program: &Program,
    kernel: &str,
    (threads, items): (usize, usize),
    (begin, end): (i32, i32),
    last: T,
    key: impl Fn(u64) -> T,
    compare: impl Fn(&T, &T) -> std::cmp::Ordering,
) {
    for n in sizes(threads * items) {
        let random = random::words(n as u64, 2 * n);
        let wide = random.chunks(2).map(|x| u64::from(x[0]) << 32 | u64::from(x[1]));
        let keys: Vec<T> = wide.map(|x| key(if x % 3 == 0 { x % 7 } else { x })).collect();
        let mut expected = keys.clone();
        // Stable, as the one of CUB is.
        expected.chunks_mut(threads * items).for_each(|tile| tile.sort_by(&compare));
        let call = program.call(kernel).blocks(n.div_ceil(threads * items) as u32).threads(threads as u32);
        let call = call.input(&keys).output::<T>(n).value(n as u32).value(last).value(begin).value(end);
        call.run(|results| assert_eq!(results.get::<T>(0), expected, "{kernel} of {n}, bits {begin} to {end}"));
    }
}

fn radix_sorts(program: &Program) {
    sorts(program, "sort_u32", (64, 3), (0, 32), u32::MAX, |x| x as u32, u32::cmp);
    let digit = |x: &u32| x >> 5 & 0xff;
    sorts(program, "sort_u32", (64, 3), (5, 13), u32::MAX, |x| x as u32, |a, b| digit(a).cmp(&digit(b)));
    sorts(program, "sort_u32_down", (128, 1), (0, 32), 0, |x| x as u32, |a, b| b.cmp(a));
    sorts(program, "sort_i16", (32, 5), (0, 16), i16::MAX, |x| x as i16, i16::cmp);
    let float = |x: u64| (x as u32).cast_signed() as f32 * 1e-3;
    sorts(program, "sort_f32", (64, 4), (0, 32), f32::INFINITY, float, f32::total_cmp);
    let double = |x: u64| x.cast_signed() as f64 * 1e-3;
    sorts(program, "sort_f64_down", (64, 2), (0, 64), f64::NEG_INFINITY, double, |a, b| b.total_cmp(a));
    sorts(program, "sort_u64", (96, 2), (0, 64), u64::MAX, |x| x, u64::cmp);

    // Many equal keys: their values stay in order.
    let keys = random::below(4, 512, 50);
    let values: Vec<u64> = (0..512).map(|n| n << 33 | 5).collect();
    let mut pairs: Vec<(u32, u64)> = keys.iter().copied().zip(values.iter().copied()).collect();
    pairs.chunks_mut(256).for_each(|tile| tile.sort_by_key(|pair| pair.0));
    let expected: (Vec<u32>, Vec<u64>) = pairs.into_iter().unzip();
    let call = program.call("sort_pairs").blocks(2).threads(64).input(&keys).input(&values);
    call.output::<u32>(512).output::<u64>(512).run(|results| {
        assert_eq!(results.get::<u32>(0), expected.0);
        assert_eq!(results.get::<u64>(1), expected.1);
    });
}

fn ranks(program: &Program) {
    let keys = random::words(8, 192);
    for bit in [0, 13, 28] {
        let digit = |at: usize| keys[at] >> bit & 15;
        // The order of keys is that of memory in both arrangements.
        let rank = |at: usize| (0..192).filter(|&other| (digit(other), other) < (digit(at), at)).count() as i32;
        let expected: Vec<i32> = (0..192).map(rank).collect();
        for kernel in ["rank_counters", "rank_match"] {
            let call = program.call(kernel).threads(64).input(&keys).output::<i32>(192).value(bit);
            call.run(|results| assert_eq!(results.get::<i32>(0), expected, "{kernel} of bit {bit}"));
        }
    }
}

fn merge_sorts(program: &Program) {
    // To merge, CUB loads the element after the last one too.
    let program = &program.that_discards();
    for n in sizes(192) {
        let keys = random::below(n as u64, n, 40);
        let mut pairs: Vec<(u32, u32)> = keys.iter().enumerate().map(|(at, &key)| (key, at as u32 % 192)).collect();
        pairs.chunks_mut(192).for_each(|tile| tile.sort_by_key(|pair| pair.0));
        let expected: (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        let call = program.call("block_merge_sort").blocks(n.div_ceil(192) as u32).threads(64);
        call.input(&keys).output::<u32>(n).output::<u32>(n).value(n as u32).run(|results| {
            assert_eq!(results.get::<u32>(0), expected.0, "{n}");
            assert_eq!(results.get::<u32>(1), expected.1, "{n}");
        });
    }
    for n in [1, 63, 64, 65, 250, 256] {
        let keys: Vec<i64> = random::words(n as u64, n).into_iter().map(|x| i64::from(x.cast_signed()) << 9).collect();
        let mut expected = keys.clone();
        expected.chunks_mut(64).for_each(<[i64]>::sort);
        let call = program.call("warp_merge_sort").threads(64).input(&keys).output::<i64>(n).value(n as u32);
        call.run(|results| assert_eq!(results.get::<i64>(0), expected, "{n}"));
    }
}

fn arrangements(program: &Program) {
    let striped = |kernel: &str, at: usize| match kernel {
        // The thread, and which of its items: one beside the next thread's.
        "load_striped" => (at % 64, at / 64),
        _ => (at / 4, at % 4),
    };
    fn each<T: Pod + Debug + PartialEq>(
        program: &Program,
        kernel: &str,
        from: impl Fn(u32) -> T,
        change: impl Fn(T, u32) -> T,
        striped: impl Fn(&str, usize) -> (usize, usize),
    ) {
        for n in sizes(256) {
            let x: Vec<T> = random::words(n as u64, n).into_iter().map(&from).collect();
            let change = |(at, x): (usize, &T)| {
                let (thread, item) = striped(kernel, at % 256);
                change(*x, (thread * 4 + item) as u32)
            };
            let expected: Vec<T> = x.iter().enumerate().map(change).collect();
            let call = program.call(kernel).blocks(n.div_ceil(256) as u32).threads(64);
            let call = call.input(&x).output::<T>(n).value(n as u32);
            call.run(|results| assert_eq!(results.get::<T>(0), expected, "{kernel} of {n}"));
        }
    }
    for kernel in [
        "load_direct",
        "load_striped",
        "load_vectorize",
        "load_transpose",
        "load_warp_transpose",
        "load_warp_transpose_timesliced",
    ] {
        each(program, kernel, |x| x, |x, i| x.wrapping_mul(3).wrapping_add(i), striped);
    }
    let change = |x: u8, i: u32| x.wrapping_mul(3).wrapping_add(i as u8);
    each(program, "load_vectorize_u8", |x| x as u8, change, striped);
    let change = |x: u64, i: u32| x.wrapping_mul(3).wrapping_add(i.into());
    each(program, "load_transpose_u64", |x| u64::from(x) << 30, change, striped);

    let x = random::words(5, 192);
    let mut ranks: Vec<i32> = (0..192).collect();
    fastrand::Rng::with_seed(5).shuffle(&mut ranks);
    // Thread t has the items t, t + 64 and t + 128.
    let striped: Vec<u32> = (0..192).map(|at| x[at / 3 + at % 3 * 64]).collect();
    let mut scattered = vec![0; 192];
    ranks.iter().zip(&x).for_each(|(&rank, &x)| scattered[rank as usize] = x);
    let call = program.call("block_exchange").threads(64).input(&x).input(&ranks);
    call.output::<u32>(192).output::<u32>(192).run(|results| {
        assert_eq!(results.get::<u32>(0), striped);
        assert_eq!(results.get::<u32>(1), scattered);
    });
    let x = random::words(6, 256);
    for kernel in ["warp_exchange_shared", "warp_exchange_shuffle"] {
        let call = program.call(kernel).threads(64).input(&x).output::<u32>(256);
        call.run(|results| assert_eq!(results.get::<u32>(0), x, "{kernel}"));
    }
}

fn histograms(program: &Program) {
    // Most are of few values, so that many lanes count the same one at once.
    let random = random::words(7, 3 * 1024);
    let x: Vec<u8> = random.into_iter().map(|x| if x % 4 == 0 { (x >> 8) as u8 } else { (x >> 8) as u8 % 3 }).collect();
    let count = |x: &[u8]| (0..=255).map(|bin| x.iter().filter(|x| **x == bin).count() as u32).collect::<Vec<_>>();
    let expected: Vec<u32> = x.chunks(1024).flat_map(count).collect();
    for kernel in ["histogram_sort", "histogram_atomic"] {
        let call = program.call(kernel).blocks(3).threads(128).input(&x).output::<u32>(3 * 256);
        call.run(|results| assert_eq!(results.get::<u32>(0), expected, "{kernel}"));
    }
}

fn runs(program: &Program) {
    let x = random::below(11, 128, 3);
    let heads: Vec<u8> = (0..128).map(|at| u8::from(at == 0 || x[at - 1] != x[at])).collect();
    let tails: Vec<u8> = (0..128).map(|at| u8::from(at == 127 || x[at + 1] != x[at])).collect();
    let difference = |at: usize| x[at].cast_signed() - if at == 0 { 0 } else { x[at - 1].cast_signed() };
    let differences: Vec<i32> = (0..128).map(difference).collect();
    let rotated: Vec<u32> = (0..64).map(|thread| x[(thread + 5) % 64 * 2]).collect();
    let call = program.call("heads_and_tails").threads(64).input(&x).output::<u8>(128).output::<u8>(128);
    call.output::<i32>(128).output::<u32>(64).run(|results| {
        assert_eq!(results.get::<u8>(0), heads);
        assert_eq!(results.get::<u8>(1), tails);
        assert_eq!(results.get::<i32>(2), differences);
        assert_eq!(results.get::<u32>(3), rotated);
    });
    let values: Vec<u64> = random::words(12, 64).into_iter().map(|x| u64::from(x) << 17).collect();
    let lengths: Vec<u32> = random::below(13, 64, 9).into_iter().map(|x| x + 1).collect();
    let runs = || values.iter().zip(&lengths);
    let decoded: Vec<u64> = runs().flat_map(|(&value, &length)| vec![value; length as usize]).collect();
    let offsets: Vec<u32> = runs().flat_map(|(_, &length)| 0..length).collect();
    let call = program.call("run_length_decode").threads(32).input(&values).input(&lengths);
    let call = call.output::<u64>(decoded.len()).output::<u32>(decoded.len()).output::<u32>(1);
    call.run(|results| {
        assert_eq!(results.get::<u32>(2), [decoded.len() as u32]);
        assert_eq!(results.get::<u64>(0), decoded);
        assert_eq!(results.get::<u32>(1), offsets);
    });
}
