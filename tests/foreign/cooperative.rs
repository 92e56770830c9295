//! References of `cooperative.cu`: cooperative groups.

use crate::program::Program;
use crate::random;

pub(crate) fn check(program: &Program) {
    tiles(program);
    groups(program);
    blocks(program);
    grids(program);
}

fn tiles(program: &Program) {
    for (kernel, size) in [("tile_4", 4), ("tile_8", 8), ("tile_16", 16), ("tile_32", 32)] {
        let x = random::words(size as u64, 192);
        let mut expected = Vec::new();
        for at in 0..x.len() {
            let (rank, tile) = (at % size, &x[at / size * size..][..size]);
            let sum = |x: &[u32]| x.iter().fold(0u32, |sum, x| sum.wrapping_add(*x));
            let ballot = (0..size).fold(0, |all, lane| all | (tile[lane] & 1) << lane);
            let neighbour = tile[(rank + 1) % size].wrapping_add((at % 96 / size) as u32);
            let upto = tile[..=rank].iter().fold(0, |all, x| all ^ x);
            expected.extend([sum(tile), *tile.iter().max().unwrap(), sum(&tile[..rank]), upto, neighbour, ballot]);
        }
        let call = program.call(kernel).blocks(2).threads(96).input(&x).output::<u32>(expected.len());
        call.run(|results| assert_eq!(results.get::<u32>(0), expected, "{kernel}"));
    }
}

fn groups(program: &Program) {
    for (blocks, threads) in [(1, 1), (1, 33), (3, 96)] {
        let x = random::words(threads as u64, blocks * threads);
        let even = x.iter().filter(|x| **x % 2 == 0).count();
        let call = program.call("coalesced").blocks(blocks as u32).threads(threads as u32);
        call.input(&x).output::<u32>(x.len()).changed(&[0u32]).run(|results| {
            // Each has a place of its own; which one is nobody's to say.
            let mut places: Vec<u32> = results.get(0);
            let odd = |at: usize| !x[at].is_multiple_of(2);
            assert!((0..x.len()).all(|at| odd(at) == (places[at] == u32::MAX)));
            places.sort_unstable();
            assert_eq!(places[..even], (0..even as u32).collect::<Vec<_>>());
            assert_eq!(results.get::<u32>(1), [even as u32]);
        });
    }
    let x = random::words(5, 128);
    let (mut sums, mut ranks, mut halves) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..128 {
        let tile = at / 32 * 32..at / 32 * 32 + 32;
        let same = || tile.clone().filter(|other| x[*other] % 5 == x[at] % 5);
        let half = || tile.clone().filter(|other| x[*other] % 2 == x[at] % 2);
        sums.push(same().fold(0u32, |sum, other| sum.wrapping_add(x[other])));
        ranks.push(same().filter(|other| *other < at).count() as u32);
        halves.push((half().count() * 64 + half().filter(|other| *other < at).count()) as u32);
    }
    let call = program.call("labeled").blocks(2).threads(64).input(&x);
    call.output::<u32>(128).output::<u32>(128).output::<u32>(128).run(|results| {
        assert_eq!(results.get::<u32>(0), sums);
        assert_eq!(results.get::<u32>(1), ranks);
        assert_eq!(results.get::<u32>(2), halves);
    });
}

fn blocks(program: &Program) {
    for (threads, n) in [(32, 1), (64, 33), (256, 257), (96, 1000)] {
        let x = random::floats(n as u64, 2 * n);
        let call = program.call("block_sum").blocks(2).threads(threads).input(&x).output::<f32>(2).value(n as i32);
        call.run(|results| {
            for (found, x) in results.get::<f32>(0).into_iter().zip(x.chunks(n)) {
                let sum: f64 = x.iter().map(|&x| f64::from(x)).sum();
                // A thread adds its own, then there are two times five steps.
                let steps = n.div_ceil(threads as usize) as f64 + 10.0;
                let bound = steps * 2f64.powi(-24) * x.iter().map(|&x| f64::from(x.abs())).sum::<f64>();
                assert!((f64::from(found) - sum).abs() <= bound, "{found} for {sum}");
            }
        });
    }
    for n in [1, 127, 128, 129, 640] {
        let x = random::words(n as u64, n);
        let expected: Vec<u32> = x.chunks(128).flat_map(|tile| tile.iter().rev().map(|x| x.wrapping_mul(3))).collect();
        let call = program.call("copied").threads(64).input(&x).output::<u32>(n).value(n as i32);
        call.run(|results| assert_eq!(results.get::<u32>(0), expected, "{n}"));
    }
}

fn grids(program: &Program) {
    for (blocks, threads) in [(1, 32), (2, 1), (5, 64), (16, 96)] {
        let size = blocks * threads;
        let mut x = random::words(size as u64, size);
        let y = vec![0u32; size];
        let call = || program.call("grid_rounds").blocks(blocks as u32).threads(threads as u32).changed(&x).changed(&y);
        // Launched otherwise there is nothing to wait at.
        call().value(7i32).changed(&[0u32]).run(|results| assert_eq!(results.get::<u32>(2), [0]));
        let call = call().value(7i32).changed(&[0u32]).cooperative();
        for _ in 0..7 {
            let next = |at: usize| x[size - 1 - at].wrapping_mul(3).wrapping_add(x[(at + threads) % size]);
            x = (0..size).map(next).collect();
        }
        call.run(|results| {
            assert_eq!(results.get::<u32>(2), [1]);
            assert_eq!(results.get::<u32>(1), x, "{blocks} blocks of {threads}");
        });
    }
}
