//! References of `wmma_gemm.cu`: products of matrices on tensor cores.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::program::Program;
use crate::random;

/// Rows, columns and depth: one, odd, whole tiles, one past them.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [32, 32, 16], [33, 31, 17], [64, 32, 48], [7, 65, 40], [70, 40, 3]];

/// How exact a sum is: the rounding of each product's operands is done before, so this is of the sum alone, in parts of the
/// sum of magnitudes.
struct Exactness {
    of_sum: f64,
    /// Half an ulp of what is stored.
    of_result: f64,
}

pub(crate) fn check(program: &Program) {
    // The ISA leaves open how partial sums of tensor cores are rounded: each of them is off by an ulp at most.
    let single = |k: usize| Exactness { of_sum: (k as f64 + 4.0) * 2f64.powi(-23), of_result: 2f64.powi(-24) };
    let half = |k: usize| Exactness { of_sum: (k as f64 / 16.0 + 3.0) * 2f64.powi(-10), of_result: 2f64.powi(-11) };
    let (one, two) = (f16::from_f32, f16::to_f64);
    floating(program, "gemm_f16_f32", false, one, two, |x| x as f32, f64::from, single);
    floating(program, "gemm_f16_f32_columns", true, one, two, |x| x as f32, f64::from, single);
    floating(program, "gemm_f16_f16", false, one, two, f16::from_f64, two, half);
    if program.target >= 80 {
        floating(program, "gemm_bf16", true, bf16::from_f32, bf16::to_f64, |x| x as f32, f64::from, single);
        // 10 bits of significand are left of each, to the nearest, and of ties away from zero.
        let tf32 = |x: f32| f64::from(f32::from_bits((x.to_bits() + 0x1000) & !0x1fff));
        floating(program, "gemm_tf32", false, |x| x, tf32, |x| x as f32, f64::from, single);
    }
    integers(program, "gemm_s8", true, |x| x as i8, i32::from);
    integers(program, "gemm_u8", false, |x| x as u8, i32::from);
    shapes(program, "product_32_8", 32, 8);
    shapes(program, "product_8_32", 8, 32);
}

/// Where an element of B is.
fn place(columns: bool, [_, n, k]: [usize; 3], at: usize, column: usize) -> usize {
    if columns { column * k + at } else { at * n + column }
}

#[allow(clippy::too_many_arguments, reason = "two types, and the ways to and from them")]
fn floating<T: Pod, S: Pod>(
    program: &Program,
    kernel: &str,
    columns: bool,
    narrow: impl Fn(f32) -> T,
    wide: impl Fn(T) -> f64,
    sum_of: impl Fn(f64) -> S,
    of_sum: impl Fn(S) -> f64,
    exactness: impl Fn(usize) -> Exactness,
) {
    for shape @ [m, n, k] in SHAPES {
        let make = |seed, count| -> Vec<T> { random::floats(seed, count).into_iter().map(&narrow).collect() };
        let (a, b) = (make(1, m * k), make(2, k * n));
        let c: Vec<S> = random::floats(3, m * n).into_iter().map(|x| sum_of(x.into())).collect();
        // Both are exact in every type.
        let (alpha, beta) = (0.5, -2.0);
        let call = program.call(kernel).grid([n.div_ceil(32) as u32, m.div_ceil(32) as u32, 1]).threads(128);
        let call = call.input(&a).input(&b).changed(&c).value(m as i32).value(n as i32).value(k as i32);
        call.value(sum_of(alpha)).value(sum_of(beta)).run(|results| {
            for (at, found) in results.get::<S>(0).into_iter().enumerate() {
                let (row, column) = (at / n, at % n);
                let product = |x: usize| wide(a[row * k + x]) * wide(b[place(columns, shape, x, column)]);
                let (sum, magnitude) = (0..k).map(product).fold((0.0, 0.0), |(s, m), p| (s + p, m + p.abs()));
                let before = of_sum(c[at]);
                let expected = alpha * sum + beta * before;
                let Exactness { of_sum: inexact, of_result } = exactness(k);
                // The product with alpha, that with beta and their sum are each rounded.
                let rounding = 3.0 * of_result * (magnitude + 2.0 * before.abs());
                let (found, bound) = (of_sum(found), inexact * magnitude + rounding);
                assert!(
                    (found - expected).abs() <= bound,
                    "{kernel} of {shape:?}, [{row}, {column}]: {found} for {expected}, within {bound}"
                );
            }
        });
    }
}

fn integers<T: Pod>(
    program: &Program,
    kernel: &str,
    columns: bool,
    narrow: impl Fn(u32) -> T,
    wide: impl Fn(T) -> i32,
) {
    for shape @ [m, n, k] in SHAPES {
        let make = |seed, count| -> Vec<T> { random::words(seed, count).into_iter().map(&narrow).collect() };
        let (a, b) = (make(1, m * k), make(2, k * n));
        let c: Vec<i32> = random::words(3, m * n).into_iter().map(u32::cast_signed).collect();
        let expected: Vec<i32> = (0..m * n)
            .map(|at| {
                let (row, column) = (at / n, at % n);
                let product = |x: usize| wide(a[row * k + x]) * wide(b[place(columns, shape, x, column)]);
                (0..k).map(product).sum::<i32>().wrapping_mul(3).wrapping_add(c[at].wrapping_mul(-5))
            })
            .collect();
        let call = program.call(kernel).grid([n.div_ceil(32) as u32, m.div_ceil(32) as u32, 1]).threads(128);
        let call = call.input(&a).input(&b).changed(&c).value(m as i32).value(n as i32).value(k as i32);
        let call = call.value(3i32).value(-5i32);
        call.run(|results| assert_eq!(results.get::<i32>(0), expected, "{kernel} of {shape:?}"));
    }
}

fn shapes(program: &Program, kernel: &str, m: usize, n: usize) {
    let k = 48;
    let make = |seed, count| -> Vec<f16> { random::floats(seed, count).into_iter().map(f16::from_f32).collect() };
    let (a, b) = (make(1, m * k), make(2, n * k));
    let call = program.call(kernel).input(&a).input(&b).output::<f32>(m * n).value(k as i32);
    call.run(|results| {
        for (at, found) in results.get::<f32>(0).into_iter().enumerate() {
            let (row, column) = (at % m, at / m);
            let product = |x: usize| a[x * m + row].to_f64() * b[x * n + column].to_f64();
            let (sum, magnitude) = (0..k).map(product).fold((0.0, 0.0), |(s, m), p| (s + p, m + p.abs()));
            let bound = (k as f64 + 4.0) * 2f64.powi(-23) * magnitude;
            assert!((f64::from(found) - sum).abs() <= bound, "{kernel} at [{row}, {column}]: {found} for {sum}");
        }
    });
}
