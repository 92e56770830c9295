//! References of `misc.cu`: integers, atomics, the language, and narrow numbers. Functions of real numbers are in `math`.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::program::Program;
use crate::{math, random};

pub(crate) fn check(program: &Program) {
    math::check(program);
    words(program);
    packed(program);
    wide_integers(program);
    atomics(program);
    orders(program);
    language(program);
    narrow(program);
    fp8(program);
}

/// Random words among edges.
fn operands(seed: u64, count: usize) -> Vec<u32> {
    let edges = [0, 1, 31, 32, 0x7f, 0x80, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x8080_8080, 0x7f80_ff01];
    let pick = |(at, word): (usize, u32)| if at % 3 == 0 { edges[word as usize % edges.len()] } else { word };
    random::words(seed, count).into_iter().enumerate().map(pick).collect()
}

fn words(program: &Program) {
    let n = 500;
    let [x, y, z] = [1, 2, 3].map(|seed| operands(seed, n));
    let one = |a: u32, b: u32, c: u32| -> [u32; 24] {
        let (i, j, k) = (a.cast_signed(), b.cast_signed(), c.cast_signed());
        let both = u64::from(b) << 32 | u64::from(a);
        let byte = |word: u32, at: usize| word.to_le_bytes()[at];
        let half = |word: u32, at: u32| (word >> (16 * at)) as u16;
        let signed = |word, at| i32::from(byte(word, at).cast_signed());
        let unsigned = |word, at| u32::from(byte(word, at));
        let permuted = (0..4).fold(0, |all, at| {
            // Three bits say which byte; the fourth has no meaning in this function.
            let byte = (both >> (8 * (c >> (4 * at) & 7))) as u8;
            all | u32::from(byte) << (8 * at)
        });
        [
            (both << (c & 31) >> 32) as u32,
            (both >> (c & 31)) as u32,
            ((u128::from(both) << c.min(32)) >> 32) as u32,
            (both >> c.min(32)) as u32,
            permuted,
            (0..4).fold(k, |sum, at| sum.wrapping_add(signed(a, at) * signed(b, at))).cast_unsigned(),
            (0..4).fold(c, |sum, at| sum.wrapping_add(unsigned(a, at) * unsigned(b, at))),
            (0..2)
                .fold(k, |sum, at| sum.wrapping_add(i32::from(half(a, at).cast_signed()) * signed(b, at as usize)))
                .cast_unsigned(),
            (0..2).fold(c, |sum, at| sum.wrapping_add(u32::from(half(a, at)) * unsigned(b, at as usize + 2))),
            a.reverse_bits(),
            a.leading_zeros(),
            if a == 0 { 0 } else { a.trailing_zeros() + 1 },
            a.count_ones(),
            ((i64::from(i) * i64::from(j)) >> 32) as u32,
            ((u64::from(a) * u64::from(b)) >> 32) as u32,
            i.abs_diff(j).wrapping_add(c),
            a.abs_diff(b).wrapping_add(c),
            ((i64::from(i) + i64::from(j)) >> 1) as u32,
            ((u64::from(a) + u64::from(b) + 1) >> 1) as u32,
            ((i64::from(i << 8 >> 8)) * i64::from(j << 8 >> 8)) as u32,
            i.wrapping_add(j).max(k).cast_unsigned(),
            a.max(b).max(c),
            a.rotate_left(c % 32),
            u32::BITS - a.leading_zeros(),
        ]
    };
    let all: Vec<[u32; 24]> = (0..n).map(|i| one(x[i], y[i], z[i])).collect();
    let call = program.call("words").blocks(4).threads(128).input(&x).input(&y).input(&z);
    call.output::<u32>(24 * n).value(n as i32).run(|results| {
        for (at, found) in results.get::<u32>(0).into_iter().enumerate() {
            let (which, i) = (at / n, at % n);
            let expected = all[i][which];
            assert_eq!(found, expected, "word {which} of {:#x}, {:#x}, {:#x}", x[i], y[i], z[i]);
        }
    });
}

/// A function of one value with a sign.
type OfValue = (&'static str, u32, fn(i64) -> i64);

/// The functions of two words with values of 8 and of 16 bits in them: one value at a time, with and without sign.
type OfValues = (&'static str, fn(i64, i64, i64, i64, u32) -> i64);

const PACKED: [OfValues; 27] = [
    ("add", |a, b, _, _, _| a + b),
    ("addss", |_, _, a, b, bits| clamp_signed(a + b, bits)),
    ("addus", |a, b, _, _, bits| (a + b).min((1 << bits) - 1)),
    ("sub", |a, b, _, _, _| a - b),
    ("subss", |_, _, a, b, bits| clamp_signed(a - b, bits)),
    ("subus", |a, b, _, _, _| (a - b).max(0)),
    ("avgu", |a, b, _, _, _| (a + b + 1) >> 1),
    ("haddu", |a, b, _, _, _| (a + b) >> 1),
    ("absdiffu", |a, b, _, _, _| (a - b).abs()),
    ("absdiffs", |_, _, a, b, _| (a - b).abs()),
    ("maxs", |_, _, a, b, _| a.max(b)),
    ("maxu", |a, b, _, _, _| a.max(b)),
    ("mins", |_, _, a, b, _| a.min(b)),
    ("minu", |a, b, _, _, _| a.min(b)),
    ("cmpeq", |a, b, _, _, _| -i64::from(a == b)),
    ("cmpne", |a, b, _, _, _| -i64::from(a != b)),
    ("cmpges", |_, _, a, b, _| -i64::from(a >= b)),
    ("cmpgeu", |a, b, _, _, _| -i64::from(a >= b)),
    ("cmpgts", |_, _, a, b, _| -i64::from(a > b)),
    ("cmpgtu", |a, b, _, _, _| -i64::from(a > b)),
    ("cmples", |_, _, a, b, _| -i64::from(a <= b)),
    ("cmpleu", |a, b, _, _, _| -i64::from(a <= b)),
    ("cmplts", |_, _, a, b, _| -i64::from(a < b)),
    ("cmpltu", |a, b, _, _, _| -i64::from(a < b)),
    ("seteq", |a, b, _, _, _| i64::from(a == b)),
    ("setgtu", |a, b, _, _, _| i64::from(a > b)),
    ("setles", |_, _, a, b, _| i64::from(a <= b)),
];

fn clamp_signed(x: i64, bits: u32) -> i64 {
    x.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
}

/// The values of a word, without and with sign.
fn split(word: u32, bits: u32) -> Vec<(i64, i64)> {
    (0..32 / bits)
        .map(|at| {
            let value = i64::from(word >> (at * bits)) & ((1 << bits) - 1);
            (value, if value >> (bits - 1) != 0 { value - (1 << bits) } else { value })
        })
        .collect()
}

fn join(values: impl Iterator<Item = i64>, bits: u32) -> u32 {
    values.enumerate().fold(0, |all, (at, value)| all | ((value & ((1 << bits) - 1)) as u32) << (at as u32 * bits))
}

fn packed(program: &Program) {
    let n = 500;
    let [x, y] = [4, 5].map(|seed| operands(seed, n));
    let mut expected: Vec<(String, Vec<u32>)> = Vec::new();
    for bits in [8, 16] {
        let lanes = 32 / bits;
        for (name, of) in PACKED {
            let word = |(&x, &y): (&u32, &u32)| {
                let pairs = split(x, bits).into_iter().zip(split(y, bits));
                join(pairs.map(|(a, b)| of(a.0, b.0, a.1, b.1, bits)), bits)
            };
            expected.push((format!("__v{name}{lanes}"), x.iter().zip(&y).map(word).collect()));
        }
        for (name, signed) in [("sads", true), ("sadu", false)] {
            let word = |(&x, &y): (&u32, &u32)| {
                let pairs = split(x, bits).into_iter().zip(split(y, bits));
                pairs.map(|(a, b)| if signed { a.1.abs_diff(b.1) } else { a.0.abs_diff(b.0) }).sum::<u64>() as u32
            };
            expected.push((format!("__v{name}{lanes}"), x.iter().zip(&y).map(word).collect()));
        }
    }
    let of_one: [OfValue; 4] = [
        ("__vabs4", 8, i64::abs),
        ("__vneg4", 8, |x| -x),
        ("__vabsss2", 16, |x| x.abs().min(0x7fff)),
        ("__vnegss2", 16, |x| (-x).min(0x7fff)),
    ];
    for (name, bits, of) in of_one {
        let word = |&x: &u32| join(split(x, bits).into_iter().map(|(_, value)| of(value)), bits);
        expected.push((name.to_owned(), x.iter().map(word).collect()));
    }
    let call = program.call("packed").blocks(4).threads(128).input(&x).input(&y);
    call.output::<u32>(expected.len() * n).value(n as i32).run(|results| {
        for (found, (name, expected)) in results.get::<u32>(0).chunks(n).zip(&expected) {
            for i in 0..n {
                assert_eq!(found[i], expected[i], "{name} of {:#x} and {:#x}", x[i], y[i]);
            }
        }
    });
}

fn wide_integers(program: &Program) {
    let n = 60;
    let words = random::words(6, 8 * n);
    let mut x: Vec<u64> = words.chunks(2).map(|pair| u64::from(pair[0]) << 32 | u64::from(pair[1])).collect();
    // Numbers of other lengths, so that quotients are of all lengths too.
    for (at, x) in x.iter_mut().enumerate().filter(|(at, _)| at % 4 == 2) {
        *x >>= at % 65 % 64;
    }
    let mut expected: Vec<u64> = Vec::new();
    for x in x.chunks(4) {
        let [a, b] = [0, 2].map(|at| u128::from(x[at]) << 64 | u128::from(x[at + 1]));
        let least = if a.cast_signed() < b.cast_signed() { a } else { b };
        let all = [a.wrapping_add(b), a.wrapping_mul(b), a / (b | 1), a % (b | 1), a >> (x[3] % 128), least];
        expected.extend(all.into_iter().flat_map(|value| [(value >> 64) as u64, value as u64]));
    }
    let call = program.call("wide_integers").threads(64).input(&x).output::<u64>(expected.len()).value(n as i32);
    call.run(|results| assert_eq!(results.get::<u64>(0), expected));
}

fn atomics(program: &Program) {
    for (blocks, threads) in [(1, 1), (2, 33), (3, 64)] {
        let count = blocks * threads;
        let x = count as f32;
        let brains = program.target >= 80;
        let of = |value: f32| if brains { bf16::from_f32(value) } else { bf16::ZERO };
        let call = program.call("sums").blocks(blocks).threads(threads).changed(&[f16::ZERO; 2]);
        let call = call.changed(&[bf16::ZERO; 2]).changed(&[f16::ZERO]).changed(&[bf16::ZERO]);
        call.changed(&[0f32]).changed(&[0f64]).changed(&[0u64]).run(|results| {
            assert_eq!(results.get::<f16>(0), [x, 2.0 * x].map(f16::from_f32));
            assert_eq!(results.get::<bf16>(1), [of(x), of(-x)]);
            assert_eq!(results.get::<f16>(2), [f16::from_f32(x)]);
            assert_eq!(results.get::<bf16>(3), [of(x)]);
            assert_eq!(results.get::<f32>(4), [0.5 * x]);
            assert_eq!(results.get::<f64>(5), [0.25 * f64::from(x)]);
            assert_eq!(results.get::<u64>(6), [u64::from(count) << 33]);
        });
        let call = program.call("locked").blocks(blocks).threads(threads).changed(&[0u32]).changed(&[0u32]);
        call.output::<u32>(count as usize).run(|results| {
            assert_eq!((results.get::<u32>(0), results.get::<u32>(1)), (vec![0], vec![count]));
            let mut history: Vec<u32> = results.get(2);
            history.sort_unstable();
            assert_eq!(history, (0..count).collect::<Vec<_>>());
        });
    }
    for n in [1, 31, 32, 100, 300] {
        let x = random::words(n as u64, n);
        let mut expected: Vec<u32> = x.iter().copied().filter(|x| x % 3 == 0).collect();
        expected.sort_unstable();
        let call = program.call("compact").blocks(n.div_ceil(128) as u32).threads(128).input(&x);
        call.changed(&vec![0u32; n]).changed(&[0u32]).value(n as i32).run(|results| {
            let count = results.get::<u32>(1)[0] as usize;
            let mut found = results.get::<u32>(0)[..count].to_vec();
            found.sort_unstable();
            assert_eq!(found, expected, "{n}");
        });
    }
}

fn orders(program: &Program) {
    for (blocks, threads) in [(1u32, 1u32), (3, 40)] {
        let count = blocks * threads;
        let call = program.call("orders").blocks(blocks).threads(threads).changed(&[0u32]).changed(&[0u64]);
        call.changed(&[0f32]).run(|results| {
            // 1 + 2 + 3 + 4 - 1 + 1 in each of three scopes.
            assert_eq!(results.get::<u32>(0), [30 * count]);
            let sum = u64::from(2 * count) << 40;
            // The largest of 5 and what is there, which has grown before.
            assert_eq!(results.get::<u64>(1), [sum]);
            assert_eq!(results.get::<f32>(2), [1.5 * count as f32]);
        });
    }
    for blocks in [1usize, 2, 9] {
        let values = (0..blocks).scan(0u32, |value, _| {
            *value = *value * 3 + 1;
            Some(*value)
        });
        let values: Vec<u32> = values.collect();
        let call = program.call("messages").blocks(blocks as u32).threads(32).output::<u32>(blocks);
        call.changed(&vec![0u32; blocks]).output::<u32>(blocks).run(|results| {
            assert_eq!(results.get::<u32>(2), values);
        });
    }
}

fn language(program: &Program) {
    let n = 48;
    let area = |i: usize| {
        let (square, circle) = (i as f64 + 0.5, i as f64 + 0.25);
        if i.is_multiple_of(2) { square * square } else { 3.0 * circle * circle }
    };
    let collatz = |i: usize| {
        let next = |n: &u32| (*n != 1).then(|| if n % 2 == 1 { 3 * n + 1 } else { n / 2 });
        std::iter::successors(Some(i as u32 + 1), next).count() as u32 - 1
    };
    let applied = |i: usize| if i.is_multiple_of(2) { 2 * i as u32 } else { (i * i) as u32 };
    // Every step is exact.
    let complex = |i: usize| {
        let im = i as f32 * 0.125;
        [0.25 - im * im + 1.0, im - 1.0]
    };
    let call = program.call("language").threads(n as u32).output::<f64>(n).output::<u32>(n).output::<u32>(n);
    call.output::<f32>(2 * n).run(|results| {
        assert_eq!(results.get::<f64>(0), (0..n).map(area).collect::<Vec<_>>());
        assert_eq!(results.get::<u32>(1), (0..n).map(collatz).collect::<Vec<_>>());
        assert_eq!(results.get::<u32>(2), (0..n).map(applied).collect::<Vec<_>>());
        assert_eq!(results.get::<f32>(3), (0..n).flat_map(complex).collect::<Vec<_>>());
    });
    let call = program.call("prints").threads(1).value(-7i32).value(1234.5f64).input(b"some text\0");
    call.run(|results| {
        let expected = "-7 4294967289 -60129542144 1234.50 1.234500e+03 some text Z fffffff9 %\n";
        assert_eq!(results.printed(), expected);
    });
}

/// Twelve functions of f16 or bf16, rounded once from f64.
fn narrow_math<T: Pod>(
    program: &Program,
    kernel: &str,
    of_f64: impl Fn(f64) -> T,
    wide: impl Fn(T) -> f64,
    rounding: f64,
) {
    let n = 200;
    let make = |seed| -> Vec<T> {
        random::floats(seed, n)
            .into_iter()
            .enumerate()
            .map(|(at, x)| of_f64(f64::from(x) * [1.0, 30.0, 0.01][at % 3]))
            .collect()
    };
    let (x, y) = (make(1), make(2));
    let call = program.call(kernel).blocks(2).threads(128).input(&x).input(&y).output::<T>(12 * n);
    call.value(n as i32).run(|results| {
        for (at, found) in results.get::<T>(0).into_iter().enumerate() {
            let (which, a, b) = (at / n, wide(x[at % n]), wide(y[at % n]));
            let exact = [
                a + b,
                a - b,
                a * b,
                a / b,
                a * b + a,
                -a,
                a.abs(),
                a.max(b),
                a.min(b),
                a.floor(),
                a.round_ties_even(),
                a.abs().sqrt(),
            ][which];
            let (found, nearest) = (wide(found), wide(of_f64(exact)));
            // Quotients and roots come from approximations.
            let bound = if matches!(which, 3 | 11) { 2.0 * rounding * exact.abs() + 6e-8 } else { 0.0 };
            assert!((found - nearest).abs() <= bound, "{kernel} {which} of {a} and {b}: {found} for {nearest}");
        }
    });
}

fn narrow(program: &Program) {
    narrow_math(program, "half_math", f16::from_f64, f16::to_f64, 1.0 / 2048.0);
    if program.target >= 80 {
        narrow_math(program, "brain_math", bf16::from_f64, bf16::to_f64, 1.0 / 256.0);
    }
    for k in [2, 6, 64] {
        let make = |seed| -> Vec<f16> { random::floats(seed, 16 * k).into_iter().map(f16::from_f32).collect() };
        let (a, b) = (make(3), make(4));
        let expected: Vec<f16> = (0..256)
            .map(|at| {
                let (a, b) = (&a[at / 16 * k..][..k], &b[at % 16 * k..][..k]);
                let sum = |first: usize| {
                    (first..k)
                        .step_by(2)
                        .fold(f16::ZERO, |sum, x| f16::from_f64(a[x].to_f64() * b[x].to_f64() + sum.to_f64()))
                };
                f16::from_f64(sum(0).to_f64() + sum(1).to_f64())
            })
            .collect();
        let call = program.call("hgemm").block([16, 16, 1]).input(&a).input(&b).output::<f16>(256).value(k as i32);
        call.run(|results| assert_eq!(results.get::<f16>(0), expected, "{k}"));
    }
}

/// The value of a code with some bits of mantissa; infinities and NaN are not among those that count.
fn fp8_value(code: u8, mantissa: u32) -> Option<f64> {
    let bits = u32::from(code & 0x7f);
    let (exponent, fraction) = ((bits >> mantissa) as i32, f64::from(bits & ((1 << mantissa) - 1)));
    let (bias, special) = if mantissa == 3 { (7, bits == 0x7f) } else { (15, bits >= 0x7c) };
    let unit = 2f64.powi(-(mantissa as i32));
    let magnitude = match exponent {
        0 => fraction * unit * 2f64.powi(1 - bias),
        _ => (1.0 + fraction * unit) * 2f64.powi(exponent - bias),
    };
    (!special).then_some(if code >> 7 != 0 { -magnitude } else { magnitude })
}

fn fp8(program: &Program) {
    let mut x: Vec<f32> =
        random::floats(9, 400).into_iter().enumerate().map(|(at, x)| x * 10f32.powi(at as i32 % 12 - 5)).collect();
    x.extend([
        0.0,
        448.0,
        464.0,
        465.0,
        1e9,
        -1e9,
        57344.0,
        2f32.powi(-9),
        2f32.powi(-10),
        1.5 * 2f32.powi(-9),
        17.0,
        19.0,
    ]);
    // To the nearest of all finite codes, of two the even one, and the largest beyond.
    let nearest = |x: f32, mantissa: u32| {
        let sign = u8::from(x.is_sign_negative()) << 7;
        let codes = (0..0x80u8).filter_map(|code| fp8_value(code, mantissa).map(|value| (code, value)));
        let distance = |value: f64| (value - f64::from(x.abs())).abs();
        let (code, _) = codes
            .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then((a.0 & 1).cmp(&(b.0 & 1))))
            .expect("there are codes");
        sign | code
    };
    let four: Vec<u8> = x.iter().map(|&x| nearest(x, 3)).collect();
    let five: Vec<u8> = x.iter().map(|&x| nearest(x, 2)).collect();
    let back = four.iter().zip(&five).flat_map(|(&four, &five)| [fp8_value(four, 3), fp8_value(five, 2)]);
    let back: Vec<f32> = back.map(|value| value.expect("a finite code") as f32).collect();
    let n = x.len();
    let call = program.call("fp8").blocks(n.div_ceil(128) as u32).threads(128).input(&x);
    call.output::<u8>(n).output::<u8>(n).output::<f32>(2 * n).value(n as i32).run(|results| {
        assert_eq!(results.get::<u8>(0), four);
        assert_eq!(results.get::<u8>(1), five);
        assert_eq!(results.get::<f32>(2), back);
    });
}
