//! What nvcc makes of programs with functions, in both of its dialects: calls, recursion, function pointers, virtual
//! functions, structs by value, switches, `printf`, `assert`, and the functions of `<math.h>`.
//!
//! The sources are beside the PTX in `nvcc/`. Expected values come from plain Rust.

mod common;

use std::sync::Mutex;

use common::FromValues;
use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Access, Device, Fault, FaultKind, Launch, LaunchError, Module, Options};

/// The PTX of one source for each target.
macro_rules! fixtures {
    ($name:literal) => {
        [
            ("sm_75", include_str!(concat!("nvcc/", $name, ".sm_75.ptx"))),
            ("sm_90", include_str!(concat!("nvcc/", $name, ".sm_90.ptx"))),
            ("sm_100", include_str!(concat!("nvcc/", $name, ".sm_100.ptx"))),
        ]
    };
}

struct Program {
    target: &'static str,
    device: Device,
    module: Module,
}

fn programs(fixtures: [(&'static str, &'static str); 3]) -> impl Iterator<Item = Program> {
    // Each with no checks, and with all of them: what a compiler writes raises no false alarm.
    fixtures.into_iter().flat_map(|fixture| [(fixture, Checks::NONE), (fixture, Checks::ALL)]).map(
        |(fixture, checks)| {
            let (target, ptx) = fixture;
            let device = Device::with_checks(1 << 28, 2, checks);
            let module = device.load(ptx).unwrap_or_else(|error| panic!("{target}: {error}"));
            Program { target, device, module }
        },
    )
}

impl Program {
    fn launch(&self, kernel: &str, blocks: u32, threads: u32, parameters: &[u64]) -> Result<String, Box<Fault>> {
        let bytes: Vec<u8> = parameters.iter().flat_map(|parameter| parameter.to_le_bytes()).collect();
        let launch = Launch { blocks: [blocks, 1, 1], threads: [threads, 1, 1], dynamic_shared: 0, parameters: &bytes };
        let printed = Mutex::new(Vec::new());
        let options = Options { output: Some(&printed), ..Options::default() };
        let launched = self.device.launch_with(&self.module, kernel, &launch, &options);
        match launched {
            Ok(_) => Ok(String::from_utf8(printed.into_inner().unwrap()).unwrap()),
            Err(LaunchError::Fault(fault)) => Err(fault),
            Err(other) => panic!("{}: {other}", self.target),
        }
    }

    fn upload<T: Copy>(&self, values: &[T]) -> u64
    where
        Vec<u8>: FromValues<T>,
    {
        self.device.upload(&<Vec<u8> as FromValues<T>>::from_values(values)).unwrap()
    }

    fn read<const N: usize>(&self, address: u64, count: usize) -> Vec<[u8; N]> {
        let mut bytes = vec![0; count * N];
        self.device.read(address, &mut bytes).unwrap();
        bytes.chunks_exact(N).map(|bytes| bytes.try_into().unwrap()).collect()
    }

    fn read_u32(&self, address: u64, count: usize) -> Vec<u32> {
        self.read(address, count).into_iter().map(u32::from_le_bytes).collect()
    }

    fn read_f64(&self, address: u64, count: usize) -> Vec<f64> {
        self.read(address, count).into_iter().map(f64::from_le_bytes).collect()
    }
}

#[test]
fn recursion() {
    fn chain(n: u32, before: &mut Vec<u32>) -> u32 {
        before.push(n * n);
        let deeper = match n {
            0 => return before.iter().rev().fold(0u32, |sum, value| sum.wrapping_mul(3).wrapping_add(*value)),
            _ => chain(n - 1, before),
        };
        deeper.wrapping_add(n * n)
    }
    fn permute(items: &mut [u8], first: usize, hash: &mut u32) {
        if first == items.len() {
            let code = items.iter().fold(0, |code, &item| code * 10 + u32::from(item));
            *hash = hash.wrapping_mul(31).wrapping_add(code);
            return;
        }
        for n in first..items.len() {
            items.swap(first, n);
            permute(items, first + 1, hash);
            items.swap(first, n);
        }
    }
    fn ackermann(m: u32, n: u32) -> u32 {
        match (m, n) {
            (0, _) => n + 1,
            (_, 0) => ackermann(m - 1, 1),
            _ => ackermann(m - 1, ackermann(m, n - 1)),
        }
    }
    let fibonacci = |n: u32| (0..n).fold((0u32, 1u32), |(a, b), _| (b, a + b)).0;
    const THREADS: u32 = 80;
    for program in programs(fixtures!("recursion")) {
        let out = program.upload(&vec![0xdead_beef_u32; 5 * THREADS as usize]);
        program.launch("recursion", 1, THREADS, &[out]).unwrap_or_else(|fault| panic!("{fault}"));
        let expected = (0..THREADS).flat_map(|lane| {
            let mut hash = lane;
            permute(&mut [1, 2, 3, 4, 5, 6][..lane as usize % 7], 0, &mut hash);
            let even = if (lane * 3) % 2 == 0 { 1 } else { 2 };
            [fibonacci(lane % 13), even, chain(lane % 11, &mut Vec::new()), hash, ackermann(lane % 3, lane % 5)]
        });
        let expected: Vec<u32> = expected.collect();
        assert_eq!(program.read_u32(out, expected.len()), expected, "{}", program.target);
        // A recursion without end finds the end of the stack.
        let fault = program.launch("overflow", 1, 1, &[program.upload(&[0u32; 8])]).unwrap_err();
        assert!(matches!(fault.kind, FaultKind::StackOverflow { .. }), "{fault}");
        assert!(fault.to_string().contains("stack overflow"), "{fault}");
    }
}

#[test]
fn function_pointers() {
    type Operation = fn(u32, u32) -> u32;
    let table: [Operation; 4] =
        [u32::wrapping_add, u32::wrapping_mul, |a, b| a.wrapping_sub(b) << 1, |a, b| a.wrapping_pow(b % 9)];
    for program in programs(fixtures!("pointers")) {
        for rotation in 0..4u32 {
            let out = program.upload(&[0xdead_beef_u32; 3 * 64]);
            program.launch("pointers", 1, 64, &[out, rotation.into()]).unwrap_or_else(|fault| panic!("{fault}"));
            let expected = (0..64).flat_map(|lane: u32| {
                let which = (lane + rotation) as usize % 4;
                let folded = (0..lane % 5).fold(lane, |a, n| table[which](a, n + 1));
                let twice = if (lane + rotation) % 2 == 1 { lane * 9 } else { lane + 2 };
                [folded, table[3 - which](lane, 3), twice]
            });
            let expected: Vec<u32> = expected.collect();
            assert_eq!(program.read_u32(out, expected.len()), expected, "{} {rotation}", program.target);
        }
        let out = program.upload(&[0u32; 32]);
        for address in [0, 8, out, u64::MAX, (1 << 35) + 1] {
            let fault = program.launch("wild", 1, 32, &[out, address]).unwrap_err();
            assert_eq!(fault.kind, FaultKind::NotAFunction { address }, "{}", program.target);
        }
    }
}

#[test]
fn virtual_functions() {
    for program in programs(fixtures!("virtuals")) {
        let out = program.upload(&[f32::NAN; 64]);
        program.launch("virtuals", 1, 64, &[out]).unwrap_or_else(|fault| panic!("{fault}"));
        let found: Vec<f32> = program.read(out, 64).into_iter().map(f32::from_le_bytes).collect();
        let expected = |lane: u16| match (lane % 3, f32::from(lane)) {
            (0, radius) => 3.0 * radius * radius,
            (1, width) => width * 2.0 + 4000.0,
            (_, side) => side * side + 44000.0,
        };
        assert_eq!(found, (0..64).map(expected).collect::<Vec<_>>(), "{}", program.target);
    }
}

#[test]
fn structs_by_value() {
    for program in programs(fixtures!("structs")) {
        let out = program.upload(&[f64::NAN; 3 * 96]);
        program.launch("structs", 1, 96, &[out]).unwrap_or_else(|fault| panic!("{fault}"));
        let expected = (0..96u32).flat_map(|lane| {
            let real = f64::from(lane);
            let bytes = [lane as u8, (lane * 2) as u8, (lane * 9) as u8];
            let rotated = f64::from(bytes[1]) + 256.0 * f64::from(bytes[2]) + 65536.0 * f64::from(bytes[0]);
            let weight = 0.5 * real * if lane % 2 == 1 { -2.0 } else { 2.0 };
            let pair = [real + (real - 7.0), -3.0 * real];
            let (a, b) = ([real, real + 1.0, real * 2.0], [1.0, 2.0, 3.0]);
            let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0], 5.0 + 4.0];
            let rest = (u64::from(lane) << (8 * (lane % 5))) as f64;
            let sum = weight + pair.iter().sum::<f64>() + cross.iter().sum::<f64>() + rest;
            let narrow = (i64::from((lane * 5) as i8) + i64::from((lane * 1000) as u16) - i64::from(lane)) as i8;
            [rotated, sum, f64::from(narrow)]
        });
        let expected: Vec<f64> = expected.collect();
        assert_eq!(program.read_f64(out, expected.len()), expected, "{}", program.target);
    }
}

#[test]
fn jumps_and_what_warps_do_together_in_functions() {
    for program in programs(fixtures!("jumps")) {
        let out = program.upload(&[7u32; 3 * 64]);
        program.launch("jumps", 1, 64, &[out]).unwrap_or_else(|fault| panic!("{fault}"));
        let expected = (0..64u32).flat_map(|lane| {
            let x = lane * 77;
            let chosen = match lane % 11 {
                0 => x + 11,
                1 => x * 3,
                2 => x ^ 0x55,
                3 => x.count_ones(),
                4 => x << 4,
                5 => !x,
                6 => x / 7,
                7 => x % 7,
                8 => x.reverse_bits(),
                _ => 999,
            };
            // what the neighbour has put in
            let exchanged = if lane % 2 == 1 { (lane - 1) * 3 + 1005 } else { (lane + 1) * 2 + 1007 };
            [chosen, exchanged, if lane % 3 == 0 { 7 } else { 63 * 64 / 2 }]
        });
        let expected: Vec<u32> = expected.collect();
        assert_eq!(program.read_u32(out, expected.len()), expected, "{}", program.target);
    }
}

#[test]
fn printf() {
    let lines = [
        "plain",
        "-1|7|   42|42   |+42| 42|-0042|007",
        "4000000000|beef|BEEF|0xbeef|10|010",
        "-5000000000|-5000000000|5000000000|18446744073709551615|10000000000",
        "4464|44|4464|44|8589934592",
        "ok|    x|y  |%",
        "text|     right|left      |cu|  star",
        "3.141590|2.72|    -1.500|2.2       |+2|3.",
        "1.234568e+04|1.200E-04|0.0001|1E-10|1e+06|1.00000",
        "0x1p+0|0x2.0p+0|0X1.999999999999AP-4",
        "0x1234|from the host",
        "inf|-INF|0.000000e+00|       inf|-0",
    ];
    for program in programs(fixtures!("print")) {
        let target = program.target;
        let text = program.upload(b"from the host\0");
        let out = program.upload(&[-9i32 as u32; 13]);
        let printed = program.launch("print", 2, 40, &[out, text]).unwrap_or_else(|fault| panic!("{fault}"));
        let mut expected: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let says = |lane| format!("lane {lane} says {}", if lane % 2 == 1 { "odd" } else { "even" });
        expected.extend((0..40).map(says));
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{target}");
        // How many arguments each call printed.
        assert_eq!(program.read_u32(out, 13), [0, 8, 6, 5, 5, 4, 6, 6, 6, 3, 2, 5, 0], "{target}");

        let fault = program.launch("bad_text", 1, 1, &[]).unwrap_err();
        let access = Access::GlobalLoad;
        assert_eq!(fault.kind, FaultKind::OutOfBounds { access, address: 0x10, bytes: 1, nearest: None }, "{target}");
        assert!(fault.instruction.starts_with("call"), "{fault}");
        // More than is kept until the end: it comes whole all the same.
        let printed = program.launch("many", 64, 128, &[16]).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(printed.len() > 3 << 20, "{}", printed.len());
        let mut lines: Vec<&str> = printed.lines().collect();
        let mut expected: Vec<String> = (0..64 * 128 * 16)
            .map(|n| format!("block {} thread {} round {}", n / 2048, n / 16 % 128, n % 16))
            .collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert!(lines == expected, "{target}: not every line came once");
    }
}

#[test]
fn what_is_printed_comes_on_the_standard_output() {
    const CHILD: &str = "WARPWRIGHT_TEST_PRINTS";
    if std::env::var_os(CHILD).is_some() {
        let program = programs(fixtures!("print")).next().unwrap();
        let launch =
            Launch { blocks: [3, 1, 1], threads: [2, 1, 1], dynamic_shared: 0, parameters: &2u32.to_le_bytes() };
        program.device.launch(&program.module, "many", &launch).unwrap();
        return;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "what_is_printed_comes_on_the_standard_output";
    let child = command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8(child.stdout).unwrap();
    // Block by block, and each round of a warp before the next.
    let expected: String = (0..12).map(|n| format!("block {} thread {} round {}\n", n / 4, n % 2, n / 2 % 2)).collect();
    assert!(child.status.success() && text.contains(&expected), "{text}");
}

#[test]
fn assertions_traps_and_breakpoints() {
    for program in programs(fixtures!("assertion")) {
        let target = program.target;
        let out = program.upload(&[5u32; 64]);
        program.launch("assertion", 1, 64, &[out, 64]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(program.read_u32(out, 64), (0..64).map(|n| 2 * n).collect::<Vec<_>>(), "{target}");
        let fault = program.launch("assertion", 1, 64, &[out, 40]).unwrap_err();
        assert_eq!(fault.thread, [40, 0, 0], "{target}");
        assert!(fault.to_string().contains("`index < limit && \"the index is in range\"` failed"), "{fault}");
        let FaultKind::Assertion { message, file, line, function } = fault.kind else { panic!("{target}") };
        assert_eq!(message, "index < limit && \"the index is in range\"");
        assert_eq!((file.as_str(), line), ("assertion.cu", 5));
        assert_eq!(function, "unsigned int checked(unsigned int, unsigned int)");

        assert_eq!(program.launch("stop", 1, 1, &[out, 1]).unwrap_err().kind, FaultKind::Trap, "{target}");
        // A breakpoint stops nothing without a debugger.
        program.launch("stop", 1, 1, &[out, 2]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(program.read_u32(out, 1), [2], "{target}");
    }
}

/// Numbers of all magnitudes, and those at which functions change their ways.
fn arguments() -> Vec<f64> {
    let mut values = vec![0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 0.75, 2.0, -3.0, 1e-300, -1e-9, 1e-3, 709.0, -745.0, 800.0];
    values.extend([1e5, -105615.5, 1e10, 1e22, -1e300, 4.0, 27.0, 100.0, f64::MIN_POSITIVE / 8.0]);
    values.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN, std::f64::consts::PI, std::f64::consts::FRAC_PI_2]);
    let mut state = 99u64;
    while values.len() < 500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
        values.push(unit * [1.0, 3.0, 20.0, 700.0, 1e6][values.len() % 5]);
    }
    values
}

/// Whether two numbers are the same within some units in the last place of a type with so many bits.
fn near(found: f64, expected: f64, ulp: f64, bits: i32, smallest: f64) -> bool {
    if expected.is_nan() || found.is_nan() {
        return expected.is_nan() && found.is_nan();
    }
    if found == expected {
        return true;
    }
    let unit = (expected.abs().max(smallest).log2().floor() - f64::from(bits - 1)).exp2();
    expected.is_finite() && found.is_finite() && (found - expected).abs() <= ulp * unit.max(5e-324)
}

#[test]
fn functions_of_double_precision() {
    // Bounds in ulp of CUDA's documentation, and half a unit or more for the host's own error.
    type Definition = (&'static str, f64, fn(f64, f64) -> f64);
    unsafe extern "C" {
        fn erf(x: f64) -> f64;
        fn fmod(x: f64, y: f64) -> f64;
        fn exp2(x: f64) -> f64;
    }
    let definitions: [Definition; 36] = [
        ("sin", 3.0, |x, _| x.sin()),
        ("cos", 3.0, |x, _| x.cos()),
        ("tan", 3.0, |x, _| x.tan()),
        ("asin", 3.0, |x, _| x.asin()),
        ("acos", 3.0, |x, _| x.acos()),
        ("atan", 3.0, |x, _| x.atan()),
        ("sinh", 3.0, |x, _| x.sinh()),
        ("cosh", 2.0, |x, _| x.cosh()),
        ("tanh", 3.0, |x, _| x.tanh()),
        ("asinh", 4.0, |x, _| x.asinh()),
        ("acosh", 4.0, |x, _| x.acosh()),
        ("atanh", 4.0, |x, _| x.atanh()),
        ("exp", 2.0, |x, _| x.exp()),
        // SAFETY: it takes and returns a number.
        ("exp2", 2.0, |x, _| unsafe { exp2(x) }),
        ("expm1", 2.0, |x, _| x.exp_m1()),
        ("log", 2.0, |x, _| x.ln()),
        ("log2", 2.0, |x, _| x.log2()),
        ("log1p", 2.0, |x, _| x.ln_1p()),
        ("log10", 2.0, |x, _| x.log10()),
        ("sqrt", 0.0, |x, _| x.sqrt()),
        ("cbrt", 2.0, |x, _| x.cbrt()),
        ("rsqrt", 2.0, |x, _| 1.0 / x.sqrt()),
        ("pow", 3.0, f64::powf),
        ("atan2", 3.0, f64::atan2),
        ("hypot", 3.0, f64::hypot),
        // SAFETY: it takes and returns numbers.
        ("fmod", 0.0, |x, y| unsafe { fmod(x, y) }),
        ("division", 0.0, |x, y| x / y),
        ("floor + ceil", 0.0, |x, y| x.floor() + y.ceil()),
        ("round", 0.0, |x, _| x.round()),
        ("fma", 0.0, |x, y| x.mul_add(y, x)),
        ("fmin", 0.0, f64::min),
        ("fmax", 0.0, f64::max),
        ("ldexp", 0.0, |x, _| x),
        // SAFETY: it takes and returns a number.
        ("erf", 3.0, |x, _| unsafe { erf(x) }),
        ("trunc", 0.0, |x, _| x.trunc()),
        ("rint", 0.0, |x, _| x.round_ties_even()),
    ];
    let x = arguments();
    let y: Vec<f64> = (0..x.len()).map(|n| x[(n * 7 + 3) % x.len()]).collect();
    for program in programs(fixtures!("math")) {
        let out = program.upload(&vec![12345.0f64; x.len() * 36]);
        let parameters = [program.upload(&x), program.upload(&y), out, x.len() as u64];
        program.launch("math64", 4, 128, &parameters).unwrap_or_else(|fault| panic!("{fault}"));
        let found = program.read_f64(out, x.len() * 36);
        for (n, (&x, &y)) in x.iter().zip(&y).enumerate() {
            for (k, (name, ulp, define)) in definitions.iter().enumerate() {
                let (found, mut expected) = (found[n * 36 + k], define(x, y));
                if *name == "ldexp" {
                    // in two steps, of which only the last can round
                    expected *= 2f64.powi((n % 40) as i32 - 20);
                }
                let target = program.target;
                let near = near(found, expected, *ulp, 53, f64::MIN_POSITIVE);
                assert!(near, "{target}: {name}({x:e}, {y:e}) is {found:e}, expected {expected:e}");
            }
        }
    }
}

#[test]
fn functions_of_single_precision() {
    type Definition = (&'static str, f64, fn(f64, f64) -> f64);
    unsafe extern "C" {
        fn erf(x: f64) -> f64;
        fn fmod(x: f64, y: f64) -> f64;
    }
    let definitions: [Definition; 16] = [
        ("sinf", 3.0, |x, _| x.sin()),
        ("cosf", 3.0, |x, _| x.cos()),
        ("tanf", 5.0, |x, _| x.tan()),
        ("expf", 3.0, |x, _| x.exp()),
        ("logf", 3.0, |x, _| x.ln()),
        ("powf", 5.0, f64::powf),
        // SAFETY: it takes and returns numbers.
        ("fmodf", 1.0, |x, y| unsafe { fmod(x, y) }),
        ("atan2f", 4.0, f64::atan2),
        ("tanhf", 3.0, |x, _| x.tanh()),
        ("cbrtf", 2.0, |x, _| x.cbrt()),
        // SAFETY: it takes and returns a number.
        ("erff", 3.0, |x, _| unsafe { erf(x) }),
        ("division", 1.0, |x, y| x / y),
        ("sqrtf", 1.0, |x, _| x.sqrt()),
        ("log1pf", 3.0, |x, _| x.ln_1p()),
        ("expm1f", 3.0, |x, _| x.exp_m1()),
        ("sinhf", 4.0, |x, _| x.sinh()),
    ];
    let x: Vec<f32> = arguments().into_iter().map(|value| value as f32).collect();
    let y: Vec<f32> = (0..x.len()).map(|n| x[(n * 7 + 3) % x.len()]).collect();
    for program in programs(fixtures!("math")) {
        let out = program.upload(&vec![12345.0f32; x.len() * 16]);
        let parameters = [program.upload(&x), program.upload(&y), out, x.len() as u64];
        program.launch("math32", 4, 128, &parameters).unwrap_or_else(|fault| panic!("{fault}"));
        let found: Vec<f32> = program.read(out, x.len() * 16).into_iter().map(f32::from_le_bytes).collect();
        for (n, (&x, &y)) in x.iter().zip(&y).enumerate() {
            for (k, (name, ulp, define)) in definitions.iter().enumerate() {
                let (found, exact) = (found[n * 16 + k], define(f64::from(x), f64::from(y)));
                // what is too large or too small for the type
                let rounded = f64::from(exact as f32);
                let expected = if rounded.is_infinite() { rounded } else { exact };
                let near = near(f64::from(found), expected, *ulp, 24, f64::from(f32::MIN_POSITIVE));
                assert!(near, "{}: {name}({x:e}, {y:e}) is {found:e}, expected {expected:e}", program.target);
            }
        }
    }
}
