//! Products of matrices of which much is shipped, many at once, over numbers of every kind.

use super::Check;
use super::common::{Bench, kernel};
use super::exact::F16;
use super::lanewise::Random;

pub fn checks() -> Vec<Check> {
    vec![
        product("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16),
        product("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", 8),
        product_of_bits("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc", 16, |a, b| a & b),
        product_of_bits("mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc", 8, |a, b| a ^ b),
    ]
}

/// Products tried at once, each by a warp.
const WARPS: usize = 64;

/// `D = A B + C` with A of 16 rows and `k` columns.
fn product(instruction: &'static str, k: usize) -> Check {
    let registers = |count: usize| format!("{{{}}}", "r".repeat(count));
    let (a, b) = (k / 4, k / 8);
    let form = format!("{instruction} {}, {}, {}, {}", registers(4), registers(a), registers(b), registers(4));
    Check { forms: vec![form], run: Box::new(move || run_product(instruction, k)) }
}

/// A number in f16: edges first, then any that is finite and not large.
fn element(random: &mut Random, warp: usize) -> u32 {
    // ±0, the smallest and the largest subnormal number, the smallest normal one, ±1, the largest, infinities, NaN
    const EDGES: [u32; 12] = [0, 0x8000, 1, 0x3ff, 0x8001, 0x400, 0x3c00, 0xbc00, 0x7bff, 0x7c00, 0xfc00, 0x7e00];
    let number = random.next() as u32;
    match warp {
        // infinities and NaN are rare, or nothing else would be left
        0..8 if number.is_multiple_of(16) => EDGES[number as usize / 16 % EDGES.len()],
        8..16 => EDGES[number as usize % 9],
        _ => (number & 0x83ff) | (8 + number % 17) << 10,
    }
}

fn number(bits: u32) -> f64 {
    match bits {
        0x7c00 => f64::INFINITY,
        0xfc00 => f64::NEG_INFINITY,
        _ => F16.approximate(bits.into()),
    }
}

fn run_product(instruction: &str, k: usize) {
    let mut random = Random::new(k as u64);
    // A is [16, k], B is [k, 8], C is [16, 8], for each warp
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    for warp in 0..WARPS {
        a.extend((0..16 * k).map(|_| element(&mut random, warp)));
        b.extend((0..k * 8).map(|_| element(&mut random, warp)));
        c.extend((0..16 * 8).map(|_| match warp % 4 {
            0 => 0.0,
            _ => (random.next() as i32 as f32) / 2f32.powi(24),
        }));
    }
    // As the ISA has it: a lane is of row group `lane / 4`, and has two neighbours of columns `2 (lane % 4)`.
    let mut words = Vec::new();
    for warp in 0..WARPS {
        for lane in 0..32 {
            let (group, pair) = (lane / 4, lane % 4 * 2);
            let pack = |low: u32, high: u32| low | high << 16;
            let a = |row: usize, column: usize| a[(warp * 16 + row) * k + column];
            let b = |row: usize, column: usize| b[(warp * k + row) * 8 + column];
            let mut of_a: Vec<u32> = Vec::new();
            for step in 0..k / 8 {
                for row in [group, group + 8] {
                    of_a.push(pack(a(row, 8 * step + pair), a(row, 8 * step + pair + 1)));
                }
            }
            let of_b = (0..k / 8).map(|step| pack(b(8 * step + pair, group), b(8 * step + pair + 1, group)));
            let place = |n: usize| ((warp * 16) + group + n / 2 * 8) * 8 + pair + n % 2;
            let mut row = of_a;
            row.resize(4, 0);
            row.extend(of_b);
            row.resize(8, 0);
            row.extend((0..4).map(|n| c[place(n)].to_bits()));
            words.extend(row);
        }
    }
    let operand = |first: usize, count: usize| {
        format!("{{{}}}", (first..first + count).map(|n| format!("%r{n}")).collect::<Vec<_>>().join(", "))
    };
    let body = format!(
        "ld.param.u64 %rd10, [p0]; ld.param.u64 %rd11, [p1]; mov.u32 %r20, %ctaid.x; mov.u32 %r21, %tid.x;
         shl.b32 %r22, %r20, 5; add.u32 %r22, %r22, %r21; mul.wide.u32 %rd12, %r22, 48; add.u64 %rd12, %rd12, %rd10;
         ld.global.v4.u32 {{%r0, %r1, %r2, %r3}}, [%rd12]; ld.global.v4.u32 {{%r4, %r5, %r6, %r7}}, [%rd12+16];
         ld.global.v4.u32 {{%r8, %r9, %r10, %r11}}, [%rd12+32];
         {instruction} {{%r12, %r13, %r14, %r15}}, {}, {}, {{%r8, %r9, %r10, %r11}};
         mul.wide.u32 %rd13, %r22, 16; add.u64 %rd13, %rd13, %rd11;
         st.global.v4.u32 [%rd13], {{%r12, %r13, %r14, %r15}}; ret;",
        operand(0, k / 4),
        operand(4, k / 8)
    );
    let bench = Bench::new(&kernel(2, "", &body).replace("sm_75", "sm_80"));
    let input = bench.upload(&words);
    let out = bench.upload(&vec![0x5555_5555u32; WARPS * 32 * 4]);
    bench.launch([WARPS as u32, 1, 1], [32, 1, 1], &[input, out]).unwrap();
    let found = bench.read_u32(out, WARPS * 32 * 4);
    for warp in 0..WARPS {
        for lane in 0..32 {
            for n in 0..4 {
                let (row, column) = (lane / 4 + n / 2 * 8, lane % 4 * 2 + n % 2);
                let products =
                    (0..k).map(|i| number(a[(warp * 16 + row) * k + i]) * number(b[(warp * k + i) * 8 + column]));
                let start = f64::from(c[(warp * 16 + row) * 8 + column]);
                let (expected, size) =
                    products.fold((start, start.abs()), |(sum, size), product| (sum + product, size + product.abs()));
                let found = f64::from(f32::from_bits(found[(warp * 32 + lane) * 4 + n]));
                let right = match expected {
                    _ if expected.is_nan() => found.is_nan(),
                    _ if expected.is_infinite() => found == expected,
                    // rounded to single precision once
                    _ => (found - expected).abs() <= size * 2f64.powi(-23),
                };
                assert!(right, "{instruction}: element {row}, {column} of warp {warp} is {found}, not {expected}");
            }
        }
    }
}

/// `D = C +` the ones of A's rows, combined with B's columns: A has `rows` rows of 128 bits, and B 8 columns.
fn product_of_bits(instruction: &'static str, rows: usize, combine: fn(u32, u32) -> u32) -> Check {
    let form = format!("{instruction} {{{0}}}, {{{1}}}, {{r}}, {{{0}}}", "r".repeat(rows / 4), "r".repeat(rows / 8));
    Check { forms: vec![form], run: Box::new(move || run_product_of_bits(instruction, rows, combine)) }
}

fn run_product_of_bits(instruction: &str, rows: usize, combine: fn(u32, u32) -> u32) {
    let mut random = Random::new(rows as u64);
    // some words have few ones, or only ones
    let mut word = |warp: usize| match warp {
        0..8 => [0, 1, 0x8000_0000, u32::MAX][random.next() as usize % 4],
        _ => random.next() as u32,
    };
    // A and B as four words for each row or column, C as rows of 8
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    for warp in 0..WARPS {
        a.extend((0..4 * rows).map(|_| word(warp)));
        b.extend((0..4 * 8).map(|_| word(warp)));
        c.extend((0..8 * rows).map(|_| word(warp)));
    }
    let halves = rows / 8;
    let mut words = Vec::new();
    for warp in 0..WARPS {
        for lane in 0..32 {
            let (group, member) = (lane / 4, lane % 4);
            let mut row: Vec<u32> = (0..halves).map(|half| a[(warp * rows + 8 * half + group) * 4 + member]).collect();
            row.resize(2, 0);
            row.push(b[(warp * 8 + group) * 4 + member]);
            let place = |n: usize| (warp * rows + 8 * (n / 2) + group) * 8 + 2 * member + n % 2;
            row.extend((0..2 * halves).map(|n| c[place(n)]));
            row.resize(8, 0);
            words.extend(row);
        }
    }
    let (of_a, of_c) = (["%r0", "%r0, %r1"][halves - 1], ["%r3, %r4", "%r3, %r4, %r5, %r6"][halves - 1]);
    let of_d = ["%r12, %r13", "%r12, %r13, %r14, %r15"][halves - 1];
    let body = format!(
        "ld.param.u64 %rd10, [p0]; ld.param.u64 %rd11, [p1]; mov.u32 %r20, %ctaid.x; mov.u32 %r21, %tid.x;
         shl.b32 %r22, %r20, 5; add.u32 %r22, %r22, %r21; mul.wide.u32 %rd12, %r22, 32; add.u64 %rd12, %rd12, %rd10;
         ld.global.v4.u32 {{%r0, %r1, %r2, %r3}}, [%rd12]; ld.global.v4.u32 {{%r4, %r5, %r6, %r7}}, [%rd12+16];
         mov.u32 %r14, 0; mov.u32 %r15, 0;
         {instruction} {{{of_d}}}, {{{of_a}}}, {{%r2}}, {{{of_c}}};
         mul.wide.u32 %rd13, %r22, 16; add.u64 %rd13, %rd13, %rd11;
         st.global.v4.u32 [%rd13], {{%r12, %r13, %r14, %r15}}; ret;"
    );
    let bench = Bench::new(&kernel(2, "", &body).replace("sm_75", "sm_80"));
    let input = bench.upload(&words);
    let out = bench.upload(&vec![0x5555_5555u32; WARPS * 32 * 4]);
    bench.launch([WARPS as u32, 1, 1], [32, 1, 1], &[input, out]).unwrap();
    let found = bench.read_u32(out, WARPS * 32 * 4);
    for warp in 0..WARPS {
        for row in 0..rows {
            for column in 0..8 {
                let ones = (0..4).map(|n| combine(a[(warp * rows + row) * 4 + n], b[(warp * 8 + column) * 4 + n]));
                let expected =
                    ones.fold(c[(warp * rows + row) * 8 + column], |sum, ones| sum.wrapping_add(ones.count_ones()));
                let lane = row % 8 * 4 + column / 2;
                let found = found[(warp * 32 + lane) * 4 + row / 8 * 2 + column % 2];
                assert_eq!(found, expected, "{instruction}: element {row}, {column} of warp {warp}");
            }
        }
    }
}
