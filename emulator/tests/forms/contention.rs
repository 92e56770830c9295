//! Atomic operations in every order, scope and space, on vectors too: alone, on any numbers, and by all threads of
//! several blocks on one place.
//!
//! Where threads contend, there must be an order in which they came one after the other: then each value that was found
//! is one that another left, so those that were found, with the last one, are those that were left, with the first one.
//! Where the order does not matter, the last value is known too.

use super::Check;
use super::atomics::{Definition, operations};
use super::common::Bench;
use super::exact::{BF16, F16, F32, Format, Rounding};
use super::lanewise::{Random, Type};

const THREADS: usize = 64;
const BLOCKS: usize = 3;
/// The words of a thread's numbers: what is there before, and up to two operands, each with an element for each of a
/// vector.
const WORDS: usize = 24;

/// An operation on one value, or on each element of a vector.
struct Atomic {
    /// What follows the space in the opcode: `add.u32`, `add.noftz.v2.f16`.
    name: String,
    ty: &'static str,
    count: usize,
    operands: usize,
    definition: Definition,
    policy: bool,
}

impl Atomic {
    fn width(&self) -> usize {
        match self.ty {
            "b16" | "f16" | "bf16" => 16,
            ty if ty.ends_with("64") => 64,
            _ => 32,
        }
    }

    /// The registers of an operand, loaded from words `first` on behind `from`, if it is a source.
    fn registers(&self, letter: &str) -> Vec<String> {
        let kind = ["h", "r", "rd"][self.width().trailing_zeros() as usize - 4];
        (0..self.count).map(|n| format!("%{kind}{letter}{n}")).collect()
    }

    fn is_red(&self) -> bool {
        !self.name.contains("exch") && !self.name.contains("cas")
    }
}

fn operand(registers: &[String]) -> String {
    if registers.len() == 1 { registers[0].clone() } else { format!("{{{}}}", registers.join(", ")) }
}

/// All operations in a space, with a cache policy too if `hints`.
fn all(space: &str, hints: bool) -> Vec<Atomic> {
    let mut all = Vec::new();
    for (name, ty, operands, definition) in operations(!space.starts_with(".shared")) {
        all.push(Atomic { name, ty, count: 1, operands, definition, policy: false });
    }
    if space == ".global" {
        for (ty, counts) in [("f32", &[2, 4][..]), ("f16", &[2, 4, 8]), ("bf16", &[2, 4, 8])] {
            for &count in counts {
                vectors(ty, ty, count, &mut all);
            }
        }
        for (ty, of) in [("f16x2", "f16"), ("bf16x2", "bf16")] {
            vectors(ty, of, 2, &mut all);
            vectors(ty, of, 4, &mut all);
        }
    }
    if hints {
        let hinted: Vec<Atomic> = all.iter().filter_map(with_policy).collect();
        all.extend(hinted);
    }
    all
}

/// The same with a policy, which stands before the type and the size of a vector.
fn with_policy(atomic: &Atomic) -> Option<Atomic> {
    let words: Vec<&str> = atomic.name.split('.').collect();
    let vector = words.iter().position(|word| ["v2", "v4", "v8"].contains(word));
    let at = match vector {
        Some(0) => return None,
        Some(at) => at,
        None => words.len() - 1,
    };
    if words[0] == "cas" {
        return None;
    }
    let name = [&words[..at], &["L2::cache_hint"], &words[at..]].concat().join(".");
    // definitions cannot be cloned; the same operation has the same again
    let find = |all: Vec<Atomic>| all.into_iter().find(|other| other.name == atomic.name);
    let again = find(self::all(".global", false))?;
    Some(Atomic { name, policy: true, ..again })
}

fn vectors(ty: &'static str, of: &str, count: usize, all: &mut Vec<Atomic>) {
    let format = Format::of(of);
    let halves = ty.ends_with("x2");
    let noftz = if ty == "f32" { "" } else { ".noftz" };
    type OfOne = fn(Format, u64, u64) -> u64;
    let operations: [(&str, OfOne); 3] =
        [("add", |format, a, b| format.add(a, b, Rounding::Nearest)), ("min", Format::min), ("max", Format::max)];
    for (name, operation) in operations {
        if ty == "f32" && name != "add" {
            continue;
        }
        let one = move |a: u64, b: u64| match format == F32 {
            // global memory flushes subnormal numbers of single precision
            true => F32.flush(operation(format, F32.flush(a), F32.flush(b))),
            false => operation(format, a, b),
        };
        let define = move || -> Definition {
            Box::new(move |s| match halves {
                true => one(s[0] & 0xffff, s[1] & 0xffff) | one(s[0] >> 16, s[1] >> 16) << 16,
                false => one(s[0], s[1]),
            })
        };
        // both orders of the modifiers are known
        for name in [format!("v{count}.{ty}.{name}{noftz}"), format!("{name}{noftz}.v{count}.{ty}")] {
            all.push(Atomic { name, ty, count, operands: 1, definition: define(), policy: false });
        }
    }
}

/// A kernel in which each thread does `body` with its words at `%rd10` and its results from `%rd11` on, 8 bytes apart by
/// thread. `%rd12` is the address of a cell of 16 bytes, the thread's own or that of all in the block or grid.
fn kernel(space: &str, own: bool, body: &str) -> String {
    let cell = match (space, own) {
        (".shared" | ".shared::cta" | ".shared::cluster", true) => {
            "mov.u64 %rd12, cells; mul.wide.u32 %rd13, %r1, 16; add.u64 %rd12, %rd12, %rd13;"
        }
        (".shared" | ".shared::cta" | ".shared::cluster", false) => "mov.u64 %rd12, cells;",
        (_, true) => "ld.param.u64 %rd12, [scratch]; mul.wide.u32 %rd13, %r4, 16; add.u64 %rd12, %rd12, %rd13;",
        (_, false) => "ld.param.u64 %rd12, [scratch];",
    };
    format!(
        ".version 8.8\n.target sm_90\n.address_size 64\n
         .visible .entry k(.param .u64 words, .param .u64 out, .param .u64 scratch)\n{{
         .reg .pred %p<4>; .reg .b16 %h<400>; .reg .b32 %r<400>; .reg .b64 %rd<400>; .shared .align 16 .b8 cells[16384];
         mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r4, %r2, %r3, %r1;
         ld.param.u64 %rd10, [words]; mul.wide.u32 %rd13, %r4, {}; add.u64 %rd10, %rd10, %rd13;
         ld.param.u64 %rd11, [out]; mul.wide.u32 %rd13, %r4, 8; add.u64 %rd11, %rd11, %rd13;
         createpolicy.fractional.L2::evict_last.b64 %rd19, 0f3F800000; setp.eq.u32 %p1, %r1, 0;
         {cell}\n{body}\nret;\n}}\n",
        8 * WORDS
    )
}

/// The instruction with its sources loaded. `%r100` to `%r107` are its results, `%r200` and `%r300` on its operands.
fn instruction(root: &str, order: &str, space: &str, atomic: &Atomic, address: &str) -> String {
    let mut text = String::new();
    let mut operands = Vec::new();
    for (n, letter) in ["20", "30"].into_iter().take(atomic.operands).enumerate() {
        let registers = atomic.registers(letter);
        for (element, register) in registers.iter().enumerate() {
            text += &format!("ld.global.b{} {register}, [%rd10+{}];\n", atomic.width(), 64 * (n + 1) + 8 * element);
        }
        operands.push(operand(&registers));
    }
    let policy = if atomic.policy { ", %rd19" } else { "" };
    let result = if root == "atom" { operand(&atomic.registers("10")) + ", " } else { String::new() };
    text + &format!("{root}{order}{space}.{} {result}[{address}], {}{policy};\n", atomic.name, operands.join(", "))
}

const OLD: u64 = 0xa5a5_5a5a_3cc3_a55a;

/// Words of threads: limits of all types, random ones, and operands that are what is there.
fn any_words() -> Vec<u64> {
    let mut random = Random::new(77);
    let edges: Vec<Vec<u64>> =
        ["u32", "u64", "f32", "f64", "f16x2", "bf16x2"].iter().map(|ty| Type::of(ty).edges()).collect();
    let mut words: Vec<u64> = (0..THREADS * WORDS)
        .map(|_| {
            let edges = &edges[random.next() as usize % edges.len()];
            match random.next() % 3 {
                0 => random.next(),
                _ => edges[random.next() as usize % edges.len()],
            }
        })
        .collect();
    for thread in (0..THREADS).step_by(3) {
        words.copy_within(thread * WORDS..thread * WORDS + 8, thread * WORDS + 8);
    }
    words
}

/// Each thread by itself, on any numbers.
fn alone(root: &str, order: &str, space: &str, atomics: &[Atomic]) {
    let words = any_words();
    let memory = if space.starts_with(".shared") { ".shared" } else { ".global" };
    let (mut body, mut cell) = (String::new(), 0);
    for atomic in atomics {
        let (width, registers) = (atomic.width(), atomic.registers("10"));
        for (n, register) in registers.iter().enumerate() {
            let at = n * width / 8;
            body += &format!("ld.global.b{width} {register}, [%rd10+{}];\n", 8 * n);
            body += &format!("st{memory}.b{width} [%rd12+{at}], {register};\n");
        }
        body += &instruction(root, order, space, atomic, "%rd12");
        for (n, register) in registers.iter().enumerate() {
            let at = n * width / 8;
            body += &format!("st.global.b{width} [%rd11+{}], {register};\n", 8 * THREADS * cell);
            body += &format!("ld{memory}.b{width} {register}, [%rd12+{at}];\n");
            body += &format!("st.global.b{width} [%rd11+{}], {register};\n", 8 * THREADS * (cell + 1));
            cell += 2;
        }
    }
    let bench = Bench::new(&kernel(space, true, &body));
    let (input, out) = (bench.upload(&words), bench.upload(&vec![OLD; cell * THREADS]));
    let scratch = bench.upload(&vec![OLD; 2 * THREADS]);
    bench.launch([1, 1, 1], [THREADS as u32, 1, 1], &[input, out, scratch]).unwrap();
    let found = bench.read_u64(out, cell * THREADS);
    let mut cells = found.chunks(THREADS);
    for atomic in atomics {
        let mask = u64::MAX >> (64 - atomic.width());
        for n in 0..atomic.count {
            let (returned, left) = (cells.next().expect("a cell"), cells.next().expect("a cell"));
            for thread in 0..THREADS {
                let sources = [0, 8, 16].map(|first| words[thread * WORDS + first + n] & mask);
                let expected = (atomic.definition)(&sources) & mask;
                let is_nan = |bits: u64| atomic.ty == "f64" && Format::of("f64").is_nan(bits);
                let left = left[thread] & mask;
                let of = format!("{root}{order}{space}.{} element {n} of {sources:x?}", atomic.name);
                assert_eq!(returned[thread] & mask, sources[0], "{of} returns");
                assert!(
                    left == expected || is_nan(left) && is_nan(expected),
                    "{of} leaves {left:#x}, not {expected:#x}"
                );
            }
        }
    }
}

/// What thread `n` adds, chosen so that the order matters to no sum, and counters all count to the same number.
fn contended(atomic: &Atomic, n: usize, operand: usize) -> u64 {
    let small = (n % 2) as u64;
    match atomic.ty {
        "f32" => F32.one() * small,
        "f64" => Format::of("f64").one() * small,
        "f16" => F16.one() * small,
        "bf16" => BF16.one() * small,
        "f16x2" => (F16.one() * small) | (F16.one() << 16),
        "bf16x2" => (BF16.one() * small) | (BF16.one() << 16),
        _ if atomic.name.starts_with("inc") || atomic.name.starts_with("dec") => 40,
        _ if atomic.name.starts_with("cas") => ((n + operand) % 3) as u64,
        _ => (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3,
    }
}

/// All threads on one place: those of the block in shared memory, else those of the grid.
fn together(root: &str, order: &str, space: &str, atomics: &[Atomic]) {
    let shared = space.starts_with(".shared");
    let all = BLOCKS * THREADS;
    let (mut body, mut cell) = ("bar.sync 0;\n".to_owned(), 0);
    let mut words = vec![0u64; all * atomics.len() * WORDS];
    for (k, atomic) in atomics.iter().enumerate() {
        let width = atomic.width();
        for n in 0..all {
            for place in (0..atomic.count).chain(8..8 + atomic.count) {
                words[(k * all + n) * WORDS + 8 + place] = contended(atomic, n, place / 8);
            }
        }
        body += &instruction(root, order, space, atomic, &format!("%rd12+{}", 16 * k));
        for register in atomic.registers("10").into_iter().filter(|_| root == "atom") {
            body += &format!("st.global.b{width} [%rd11+{}], {register};\n", 8 * all * cell);
            cell += 1;
        }
        body += &format!("add.u64 %rd10, %rd10, {};\n", 8 * WORDS * all);
    }
    // what is left, from the first thread of each block
    body += "bar.sync 0; @!%p1 ret;\n";
    let clear: String = (0..2 * atomics.len()).map(|n| format!("st.shared.b64 [cells+{}], 0;\n", 8 * n)).collect();
    if shared {
        body = clear + &body;
        for n in 0..2 * atomics.len() {
            body += &format!(
                "ld.shared.b64 %rd20, [cells+{}]; st.global.b64 [%rd11+{}], %rd20;\n",
                8 * n,
                8 * all * (cell + n)
            );
        }
    }
    let cells = cell + if shared { 2 * atomics.len() } else { 1 };
    let bench = Bench::new(&kernel(space, false, &body));
    let (input, out) = (bench.upload(&words), bench.upload(&vec![OLD; cells * all]));
    let scratch = bench.upload(&vec![0u64; 2 * atomics.len()]);
    bench.launch([BLOCKS as u32, 1, 1], [THREADS as u32, 1, 1], &[input, out, scratch]).unwrap();
    let (found, in_global) = (bench.read_u64(out, cells * all), bench.read_u64(scratch, 2 * atomics.len()));
    let groups = if shared { BLOCKS } else { 1 };
    for group in 0..groups {
        let threads = group * all / groups..(group + 1) * all / groups;
        let mut next = 0;
        for (k, atomic) in atomics.iter().enumerate() {
            let mask = u64::MAX >> (64 - atomic.width());
            let bytes: Vec<u8> = (0..2)
                .flat_map(|half| {
                    match shared {
                        true => found[(cell + 2 * k + half) * all + threads.start],
                        false => in_global[2 * k + half],
                    }
                    .to_le_bytes()
                })
                .collect();
            for n in 0..atomic.count {
                let mut last = [0; 8];
                let size = atomic.width() / 8;
                last[..size].copy_from_slice(&bytes[n * size..][..size]);
                let last = u64::from_le_bytes(last);
                let of = format!("{root}{order}{space}.{} element {n}", atomic.name);
                let operand = |thread: usize, which: usize| contended(atomic, thread, which) & mask;
                let step = |value: u64, thread: usize| {
                    (atomic.definition)(&[value, operand(thread, 0), operand(thread, 1)]) & mask
                };
                if atomic.is_red() {
                    assert_eq!(last, threads.clone().fold(0, step), "{of}");
                }
                if root == "atom" {
                    let olds = &found[(next * all)..][threads.clone()];
                    let mut news: Vec<u64> =
                        threads.clone().zip(olds).map(|(thread, old)| step(old & mask, thread)).collect();
                    let mut olds: Vec<u64> = olds.iter().map(|old| old & mask).collect();
                    olds.push(last);
                    news.push(0);
                    olds.sort_unstable();
                    news.sort_unstable();
                    assert_eq!(olds, news, "{of}: what was found is not what was left");
                    next += 1;
                }
            }
        }
    }
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    let roots: [(&str, &[&str]); 2] =
        [("atom", &["", ".relaxed", ".acquire", ".release", ".acq_rel"]), ("red", &["", ".relaxed", ".release"])];
    for (root, orders) in roots {
        for order in orders {
            for scope in ["", ".cta", ".cluster", ".gpu", ".sys"] {
                for space in ["", ".global", ".shared", ".shared::cta", ".shared::cluster"] {
                    let order = format!("{order}{scope}");
                    let mut atomics = all(space, order.is_empty() && space == ".global");
                    atomics.retain(|atomic| root == "atom" || atomic.is_red());
                    let forms = atomics.iter().map(|atomic| format!("{root}{order}{space}.{}", atomic.name)).collect();
                    let run = move || {
                        alone(root, &order, space, &atomics);
                        together(root, &order, space, &atomics);
                    };
                    checks.push(Check { forms, run: Box::new(run) });
                }
            }
        }
    }
    checks
}
