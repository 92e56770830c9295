//! References of `pipeline_gemm.cu`: products of matrices by way of pipelines, and a barrier that threads leave.

use crate::program::Program;
use crate::random;

pub(crate) fn check(program: &Program) {
    products(program, &["of_threads"]);
}

/// What uses the barriers of libcu++ in shared memory.
pub(crate) fn barriers(program: &Program) {
    products(program, &["of_block_2", "of_block_3", "producers_apart", "by_barrier"]);
    dropping(program);
}

fn products(program: &Program, kernels: &[&str]) {
    for (m, n, k) in [(1, 4, 16), (16, 16, 32), (17, 20, 48), (33, 12, 160)] {
        let (a, b) = (random::floats(1, m * k), random::floats(2, k * n));
        // One product after the other, each sum rounded once: exactly what each thread does.
        let element = |at: usize| (0..k).fold(0f32, |sum, x| a[at / n * k + x].mul_add(b[x * n + at % n], sum));
        let expected: Vec<f32> = (0..m * n).map(element).collect();
        for &kernel in kernels {
            let layers = if kernel == "producers_apart" { 2 } else { 1 };
            let call = program.call(kernel).grid([n.div_ceil(16) as u32, m.div_ceil(16) as u32, 1]);
            let call = call.block([16, 16, layers]).input(&a).input(&b).output::<f32>(m * n);
            let call = call.value(m as i32).value(n as i32).value(k as i32);
            call.run(|results| assert_eq!(results.get::<f32>(0), expected, "{kernel}, {m} x {n} x {k}"));
        }
    }
}

fn dropping(program: &Program) {
    for (threads, rounds) in [(1, 3), (33, 5), (64, 70)] {
        let mut values = [(1..=threads as u32).collect::<Vec<_>>(), vec![0; threads]];
        let mut out = vec![None; threads];
        for round in 0..rounds {
            let (from, to) = (round % 2, (round + 1) % 2);
            if round < threads {
                out[round] = Some(values[from][round]);
            }
            for thread in round + 1..threads {
                let value = values[from][thread].wrapping_mul(3).wrapping_add(values[from][(thread + 1) % threads]);
                values[to][thread] = value;
            }
        }
        let last = |(thread, out): (usize, Option<u32>)| out.unwrap_or(values[rounds % 2][thread]);
        let expected: Vec<u32> = out.into_iter().enumerate().map(last).collect();
        let call = program.call("dropping").threads(threads as u32).output::<u32>(threads).value(rounds as i32);
        call.run(|results| assert_eq!(results.get::<u32>(0), expected, "{threads} threads"));
    }
}
