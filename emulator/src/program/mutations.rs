//! What the parser and decoder make of texts that no compiler writes: mutations of real PTX and random text.
//!
//! Whatever comes in, the answer is a module or an error that names its line; it comes quickly, takes memory in
//! proportion to the text, and is the same the second time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Program;
use crate::checks::Checks;
use crate::device::{Device, Launch, LaunchError, Module};
use crate::exec::Options;
use crate::memory::{Memory, POISONED};
use crate::ptx::PtxError;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may allocate after its variables are gone; nobody asks about that.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: all work is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's word.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's word.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = self.0 ^ self.0 >> 33;
        bits.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn word(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    fn of<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }
}

const HEAD: &str = ".version 8.0\n.target sm_90\n.address_size 64\n";

/// Whole modules that nvcc wrote, and of the longer ones the functions that call no others.
fn corpus() -> Vec<String> {
    let mut modules = [
        include_str!("../../tests/nvcc/assertion.sm_100.ptx"),
        include_str!("../../tests/nvcc/virtuals.sm_75.ptx"),
        include_str!("../../tests/nvcc/jumps.sm_100.ptx"),
        include_str!("../../tests/nvcc/pointers.sm_90.ptx"),
        include_str!("../../tests/nvcc/structs.sm_100.ptx"),
        include_str!("../../tests/nvcc/recursion.sm_100.ptx"),
        include_str!("../../tests/nvcc/print.sm_75.ptx"),
        include_str!("../../tests/nvcc/math.sm_100.ptx"),
        include_str!("../../tests/nvcc/math.sm_75.ptx"),
    ]
    .map(str::to_owned)
    .to_vec();
    // In the repository, the kernels too.
    let prebuilt = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/prebuilt");
    let files = std::fs::read_dir(prebuilt).into_iter().flatten().flatten().map(|file| file.path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ptx| ptx == "ptx")).collect();
    files.sort();
    modules.extend(files.iter().map(|path| std::fs::read_to_string(path).expect("a kernel")));
    let mut corpus = Vec::new();
    for module in modules {
        for part in module.split("\n}\n") {
            let start = [".func ", ".visible .entry "].iter().filter_map(|start| part.rfind(start)).min();
            // A function becomes a kernel of its own, which returns its value to a local variable.
            let Some(start) = start.filter(|_| !part.contains("call") && part.len() < 5000) else { continue };
            let (head, body) = part[start..].split_once('{').expect("a body");
            let params = head.rfind('(').map_or("()", |params| &head[params..]);
            let body = body.replace("st.param", "st.local");
            let result = ".local .align 16 .b8 func_retval0[128];";
            corpus.push(format!("{HEAD}.visible .entry k{params}{{\n{result}{body}\n}}\n"));
        }
        if module.len() < 8000 {
            corpus.push(module);
        }
    }
    corpus.extend(SMALL.iter().map(|text| format!("{HEAD}{text}")));
    corpus
}

/// A little of everything that nvcc's modules here do not have.
const SMALL: &[&str] = &[
    ".func (.reg .u32 r) f (.reg .u32 a, .reg .u64 b) { add.u32 r, a, 1; ret; }
     .entry k() { .reg .u32 x; .reg .u64 y; call (x), f, (x, y); @!p0 ret; .reg .pred p0; }",
    ".weak .func (.param .b32 r) f (.param .b32 a) { ret; } .alias g, f;
     .entry k() { .reg .u32 x; .reg .u64 y; mov.u64 y, g; P: .callprototype (.param .b32 _) _ (.param .b32 _);
       call (x), y, (x), P; Q: .calltargets f, f; call (x), y, (x), Q; }",
    ".func f (.param .b32 a); .func g (.param .b32 a) { .local .b8 x[40]; call f, (a); ret; }
     .func f (.param .b32 a) { .local .align 64 .b8 y[40]; call g, (a); } .entry k() { call f, (3); exit; }",
    ".entry k() { .reg .u32 i; T: .branchtargets A, B; A: brx.idx i, T; B: { T: .branchtargets A; A: brx.idx i, T; } }",
    ".extern .shared .align 16 .b8 d[]; .global .align 8 .b8 m[9] = {1, 0xFF(m), 0xFF00(m)}; .const .u64 c = generic(m)+4;
     .entry k(.param .align 8 .b8 p[24], .param .u32 q) .maxntid 32, 2, 1 .reqntid 32
     { .shared .f32 s[7]; .reg .b64 %rd<4>; .reg .f32 %f<3>; mov.u64 %rd1, s; ld.param.u64 %rd2, [p+8];
       ld.shared.f32 %f1, [%rd1+-4]; ld.global.nc.v2.f32 {%f1, %f2}, [%rd2]; st.shared.f32 [d+4], %f2; }",
    ".file 1 \"a.cu\"\n.section .debug_str { L: .b8 1, 2 }
     .entry k() { .loc 1 2 3, function_name L, inlined_at 1 2 3\n .reg .b32 %r<9>; .reg .pred %p<2>;
       shfl.sync.bfly.b32 %r1|%p1, %r2, 1, 0x1f, -1; vote.sync.ballot.b32 %r3, !%p1, -1; bar.red.popc.u32 %r1, 0, %p1;
       atom.global.add.u32 %r1, [%r2], 0f3F800000; mov.b32 {%r1, _}, %r2; cvt.rn.f16x2.f32 %r1, %r2, %r3; trap; }",
];

/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    ".reg",
    ".param",
    ".local",
    ".shared",
    ".global",
    ".const",
    ".func",
    ".entry",
    ".extern",
    ".visible",
    ".weak",
    ".alias",
    ".b8",
    ".b16",
    ".b32",
    ".b64",
    ".u32",
    ".f32",
    ".f64",
    ".pred",
    ".b128",
    ".v2",
    ".v4",
    ".align",
    ".ptr",
    ".noreturn",
    ".callprototype",
    ".branchtargets",
    ".calltargets",
    ".maxntid",
    ".reqntid",
    ".reqnctapercluster",
    ".pragma",
    ".loc",
    ".file",
    ".section",
    ".version",
    ".target",
    ".attribute",
    "generic",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ",",
    ";",
    ":",
    "=",
    "@",
    "!",
    "|",
    "+",
    "-",
    "_",
    "%r1",
    "%rd1",
    "%p1",
    "%f1",
    "%tid.x",
    "%laneid",
    "WARP_SZ",
    "call",
    "call.uni",
    "ret",
    "exit",
    "bra",
    "brx.idx",
    "mov.u64",
    "ld.param.b32",
    "st.param.b64",
    "ld.local.v4.u32",
    "add.s32",
    "setp.lt.u32",
    "vprintf",
    "__assertfail",
    "\"",
    "//",
    "/*",
    "*/",
    "\n",
    "\0",
    "é",
    "0f",
    "0d3FF0000000000000",
];

/// Numbers that are too large, too small, or no numbers.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "3",
    "16",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "0xFFFFFFFFFFFFFFFF",
    "0x",
    "0b2",
    "09",
    "1048576",
    "1048577",
    "16777216",
    "16777217",
    "2147483648",
    "524288",
    "524289",
    "232448",
    "232449",
    "0f7F800000",
];

/// Where words and numbers of a text start and end.
fn tokens(text: &str) -> Vec<(usize, usize)> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_$%.".contains(&byte);
    let bytes = text.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        at += 1;
        if word(bytes[start]) {
            while at < bytes.len() && word(bytes[at]) {
                at += 1;
            }
        }
        if bytes[start].is_ascii() && !bytes[start].is_ascii_whitespace() {
            tokens.push((start, at));
        }
    }
    tokens
}

/// Changes a text in one way.
fn mutate(text: &mut String, random: &mut Random) {
    let list = tokens(text);
    if list.is_empty() {
        return;
    }
    let (start, end) = *random.of(&list);
    match random.below(13) {
        0 => text.replace_range(start..end, ""),
        1 => text.replace_range(start..end, random.word(WORDS)),
        2 => text.insert_str(start, random.word(WORDS)),
        3 => text.insert_str(start, random.word(NUMBERS)),
        4 => {
            // Two tokens change places.
            let other = *random.of(&list);
            let (first, second) = if start < other.0 { ((start, end), other) } else { (other, (start, end)) };
            if first.1 <= second.0 {
                let (a, b) = (text[first.0..first.1].to_owned(), text[second.0..second.1].to_owned());
                text.replace_range(second.0..second.1, &a);
                text.replace_range(first.0..first.1, &b);
            }
        }
        5 | 6 => {
            // A number becomes another one.
            let numbers: Vec<_> = list.iter().filter(|(start, _)| text.as_bytes()[*start].is_ascii_digit()).collect();
            if !numbers.is_empty() {
                let (start, end) = **random.of(&numbers);
                text.replace_range(start..end, random.word(NUMBERS));
            }
        }
        7 | 8 => {
            // A line comes twice, or elsewhere, or not at all.
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let from = random.below(lines.len());
            let line = lines[from];
            if random.below(2) == 0 {
                lines.remove(from);
            }
            if random.below(3) > 0 {
                lines.insert(random.below(lines.len() + 1), line);
            }
            *text = lines.concat();
        }
        9 => {
            let mut bytes = std::mem::take(text).into_bytes();
            bytes[start] ^= 1 << random.below(8);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        10 => text.truncate(start),
        11 => {
            // A piece comes many times.
            let piece = text[start..list[random.below(list.len())].1.max(end)].to_owned();
            let times = (2 + random.below(40)).min(1 + 3000 / piece.len().max(1));
            text.insert_str(start, &piece.repeat(times));
        }
        _ => {
            let mark = random.word(&["{", "}", "(", "[", "-", "@"]);
            text.replace_range(start..end, &mark.repeat(1 + random.below(600)));
        }
    }
}

/// One of a list, nearly always; else something that is seldom right.
fn mostly(random: &mut Random, good: &[&'static str]) -> &'static str {
    let bad = if random.below(2) == 0 { NUMBERS } else { WORDS };
    let list = if random.below(60) == 0 { bad } else { good };
    random.word(list)
}

/// A module of random declarations and instructions, most of which fit together.
fn grammar(random: &mut Random) -> String {
    use std::fmt::Write;
    let mut text = HEAD.to_owned();
    let functions = random.below(6);
    let variables = random.below(4);
    for n in 0..variables {
        let space = mostly(random, &[".global", ".const", ".shared", ".extern .shared"]);
        let ty = mostly(random, &[".b8", ".u16", ".f32", ".u64", ".v4 .f32"]);
        let (align, size) = (mostly(random, &["4", "8", "16", "1024"]), mostly(random, &["2", "8", "40", "400"]));
        let init = match space {
            ".global" | ".const" => mostly(random, &["", " = {1, 2}", " = {-1}", " = 5", " = {{1},{2}}"]),
            _ => "",
        };
        let _ = writeln!(text, "{space} .align {align} {ty} v{n}[{size}]{init};");
    }
    if functions > 0 && variables > 0 && random.below(2) == 0 {
        let what = mostly(random, &["f0", "generic(f0)+4", "f0-8", "f0, f0"]);
        let _ = writeln!(text, ".global .u64 table[2] = {{{what}}};");
    }
    for n in 0..functions {
        // By their number, so that calls know what they have to pass.
        let (returns, params) = SIGNATURES[n % SIGNATURES.len()];
        let _ = writeln!(text, ".func ({returns}) f{n} ({params})");
        body(&mut text, functions, random);
    }
    for n in 0..1 + random.below(3) {
        let _ = writeln!(text, ".entry k{n}(.param .u64 p)");
        body(&mut text, functions, random);
    }
    text
}

/// What functions return and take.
const SIGNATURES: &[(&str, &str)] = &[
    (".param .b32 s", ".param .b32 a"),
    (".reg .u32 s", ".reg .u64 a, .param .b32 b"),
    ("", ""),
    (".param .align 8 .b8 s[24]", ".param .b64 a, .reg .u32 b"),
];

fn body(text: &mut String, functions: usize, random: &mut Random) {
    use std::fmt::Write;
    let count = mostly(random, &["9", "9", "9", "18446744073709551615"]);
    let _ = writeln!(
        text,
        "{{ .reg .b32 %r<{count}>; .reg .b64 %rd<9>; .reg .pred %p<9>; .param .b32 x; .param .b64 y;
         .param .align 8 .b8 z[24]; .local .align 8 .b8 own[{}];",
        mostly(random, &["8", "64", "64", "64", "64", "64", "64", "500000"])
    );
    let count = random.below(12);
    for n in 0..count {
        let word = |random: &mut Random| mostly(random, &["%r1", "%r2", "%r8", "5", "-1", "%tid.x", "WARP_SZ"]);
        let long = |random: &mut Random| mostly(random, &["%rd1", "%rd2", "77", "own", "y", "f0"]);
        let to = |random: &mut Random| mostly(random, &["%r1", "%r3", "_"]);
        let guard = mostly(random, &["", "", "@%p1 ", "@!%p2 "]);
        let callee = random.below(functions + usize::from(functions == 0));
        let line = match random.below(14) {
            0 => format!("L{n}: {guard}bra L{n};"),
            1 => format!("{guard}bra E;"),
            2..=6 if functions == 0 => "add.u64 %rd1, %rd2, 3;".to_owned(),
            2 | 3 => match callee % SIGNATURES.len() {
                0 => format!("{guard}call ({}), f{callee}, ({});", to(random), word(random)),
                1 => format!("{guard}call ({}), f{callee}, ({}, x);", to(random), long(random)),
                2 => format!("{guard}call f{callee};"),
                _ => format!("{guard}call (z), f{callee}, (y, {});", word(random)),
            },
            4 => format!("mov.u64 %rd2, f{callee};"),
            5 => format!("T{n}: .calltargets f0, f0; call ({}), %rd2, ({}), T{n};", to(random), word(random)),
            6 => format!("P{n}: .callprototype (.param .b32 _) _ (.param .b32 _); call (x), %rd2, (x), P{n};"),
            7 => "{ M: .branchtargets N, N; .reg .b32 %r2; N: brx.idx %r2, M; }".to_owned(),
            8 => mostly(random, &["{ }", "ret;", "exit;", "trap;", "bar.sync 0;", "@%p1 ret;"]).to_owned(),
            9 => format!("{guard}ld.param.u32 %r1, [{}];", mostly(random, &["x", "z+8", "y+4"])),
            10 => format!("{guard}st.param.b64 [{}], {};", mostly(random, &["y", "z+16", "z"]), long(random)),
            11 => format!("{guard}st.local.u32 [own+{}], {};", mostly(random, &["4", "-8", "60"]), word(random)),
            12 => format!("{guard}ld.v2.u32 {{%r1, _}}, [{}+8];", mostly(random, &["%rd1", "%rd2"])),
            _ => format!("{guard}mad.lo.u32 %r1, {}, {}, {};", word(random), word(random), word(random)),
        };
        let _ = writeln!(text, "{line}");
    }
    text.push_str("E: }\n");
}

fn hash(program: &Program, state: &mut DefaultHasher) {
    (&program.name, program.entry, program.register_bytes, program.predicates, program.windows).hash(state);
    (program.shared_bytes, program.local_bytes, program.frame_bytes, &program.jump_tables, &program.callee_of)
        .hash(state);
    format!("{:?}{:?}{:?}{:?}", program.callees, program.calls, program.specials, program.sources).hash(state);
    for op in &program.code {
        (op.exec as usize, op.d, op.a, op.b, op.c, op.e, op.guard, op.window, op.immediate).hash(state);
    }
}

/// Loads a text twice. Returns a number for what it became, or its error.
fn load(text: &str) -> Result<u64, PtxError> {
    let load = || {
        let module = Module::load(text, &Arc::new(Memory::new(1 << 30, false)))?;
        let mut state = DefaultHasher::new();
        (0..module.kernels().count()).for_each(|index| hash(module.program_at(index), &mut state));
        Ok(state.finish())
    };
    let first = load();
    assert_eq!(first, load(), "the second time is not as the first");
    first
}

/// The time and memory that loading a text may take. The time is for a machine that has much else to do. The memory is
/// the poison of a variable (larger ones are mapped), the operations that a module may have at least, and some bytes for
/// each one of the text.
const MAX_TIME: Duration = Duration::from_secs(60);
const MAX_BYTES: isize = POISONED as isize + (64 << 20);
const BYTES_PER_BYTE: isize = 500;

fn check(text: &str) -> Result<u64, PtxError> {
    let before = LIVE.get();
    PEAK.set(before);
    let start = Instant::now();
    let result = std::panic::catch_unwind(|| load(text));
    let (time, bytes) = (start.elapsed(), PEAK.get() - before);
    let result = result.unwrap_or_else(|_| panic!("a panic over this text:\n{text}"));
    assert!(time < MAX_TIME, "{time:?} for this text:\n{text}");
    let allowed = MAX_BYTES + BYTES_PER_BYTE * text.len() as isize;
    assert!(bytes <= allowed, "{bytes} bytes for this text of {}:\n{text}", text.len());
    if let Err(error) = &result {
        let lines = text.split('\n').count() as u32;
        assert!((1..=lines).contains(&error.line), "{error}, of {lines} lines:\n{text}");
        assert!(!error.message.is_empty());
    }
    result
}

/// Runs `cases` cases, each from a seed of its own, and counts those that became a module.
fn run(cases: u64, make: impl Fn(&mut Random) -> String) -> usize {
    (0..cases).filter(|&seed| check(&make(&mut Random(seed))).is_ok()).count()
}

#[test]
fn mutations_of_real_ptx() {
    let corpus = corpus();
    assert!(corpus.len() > 30, "{}", corpus.len());
    let taken = corpus.iter().filter(|text| check(text).is_ok()).count();
    assert!(taken * 2 > corpus.len(), "{taken} of {}", corpus.len());
    let loaded = run(75_000, |random| {
        let mut text = random.of(&corpus).clone();
        for _ in 0..1 + random.below(4) {
            mutate(&mut text, random);
        }
        text
    });
    assert!(loaded > 5_000, "{loaded} of the mutations are modules");
}

#[test]
fn random_modules() {
    let loaded = run(25_000, |random| {
        let mut text = grammar(random);
        for _ in 0..random.below(2) {
            mutate(&mut text, random);
        }
        text
    });
    assert!(loaded > 3_000, "{loaded} of the random texts are modules");
}

#[test]
fn random_modules_run_to_an_end() {
    let (mut ended, mut faults) = (0, std::collections::HashSet::new());
    for seed in 100_000..104_000 {
        let text = grammar(&mut Random(seed));
        let checks = if seed % 2 == 0 { Checks::ALL } else { Checks::NONE };
        let device = Device::with_checks(1 << 26, 1, checks);
        let Ok(module) = device.load(&text) else { continue };
        for kernel in module.kernels() {
            let launch = Launch { blocks: [2, 1, 1], threads: [48, 1, 1], dynamic_shared: 64, parameters: &[0; 8] };
            let options = Options { instruction_limit: 100_000, ..Options::default() };
            let start = Instant::now();
            let run = || device.launch_with(&module, kernel, &launch, &options);
            let launched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            match launched.unwrap_or_else(|_| panic!("a panic in {kernel} of this text:\n{text}")) {
                Ok(_) => ended += 1,
                Err(LaunchError::Fault(fault)) => drop(faults.insert(std::mem::discriminant(&fault.kind))),
                Err(_) => {}
            }
            assert!(start.elapsed() < MAX_TIME, "{kernel} of this text:\n{text}");
        }
    }
    assert!(ended > 500 && faults.len() > 5, "{ended} kernels ended, and there were {} kinds of faults", faults.len());
}

#[test]
fn large_texts_take_time_and_memory_in_proportion() {
    let many = |count: usize, part: &dyn Fn(usize) -> String| (0..count).map(part).collect::<String>();
    let kernel = |body: String| format!("{HEAD}.entry k(.param .u64 p)\n{{ .reg .b32 r; {body}\nret; }}\n");
    let texts = [
        kernel(many(20_000, &|n| format!(".reg .b32 a{n}; mov.b32 a{n}, {n};\n"))),
        kernel(many(20_000, &|n| format!(".reg .b32 a{n}<4294967295>; mov.b32 a{n}7, {n};\n"))),
        kernel(many(20_000, &|n| format!("L{n}: bra L{};\n", 19_999 - n))),
        kernel(many(20_000, &|n| format!("{{ L: .branchtargets M; .param .b64 x{n}; M: brx.idx r, L; }}\n"))),
        kernel(many(20_000, &|n| format!(".shared .b8 s{n}[4]; mov.b32 r, s{n};\n"))),
        kernel("{ .reg .b32 r; ".repeat(250) + &"mov.b32 r, 1;\n".repeat(20_000) + &"}".repeat(250)),
        kernel("{".repeat(100_000)),
        kernel("call (".to_owned() + &"(".repeat(100_000)),
        kernel("L: .branchtargets ".to_owned() + &"L, ".repeat(50_000) + "L;" + &"brx.idx r, L;".repeat(300)),
        HEAD.to_owned() + &many(20_000, &|n| format!(".global .u64 v{n} = v{};\n", n / 2)),
        HEAD.to_owned() + &many(3_000, &|n| format!(".shared .b8 v{n}; .entry k{n}() {{ ret; }}\n")),
        format!("{HEAD}.global .b8 v[400000] = {{{}0}}; .entry k() {{ ret; }}", "0xFF(v), ".repeat(40_000)),
        format!("{HEAD}.global .b8 v[1073741824] = {{1}}; .const .b8 w[2147483648]; .entry k() {{ ret; }}"),
        // A chain of functions as long as may be, one that ends where it starts, and one that many kernels reach.
        HEAD.to_owned()
            + &many(10_000, &|n| format!(".func f{n}() {{ call f{}; }}\n", n + 1))
            + ".func f10000() { ret; }
            .entry k() { call f9000; }",
        HEAD.to_owned()
            + &many(10_000, &|n| format!(".func f{n}() {{ call f{}; }}\n", (n + 1) % 10_000))
            + ".entry k() { call f0; }",
        HEAD.to_owned()
            + &many(1_000, &|n| format!(".func f{n}() {{ call f{}; ret; }}\n", n + 1))
            + ".func f1000() { ret; }"
            + &many(5_000, &|n| format!(".entry k{n}() {{ call f0; }}\n")),
        // Each may call each.
        HEAD.to_owned()
            + ".global .u64 t[1000] = {f0"
            + &many(999, &|n| format!(", f{}", n + 1))
            + "};"
            + &many(1_000, &|n| {
                format!(".func f{n}() {{ .reg .u64 r; P: .callprototype () _ (); {} }}\n", "call r, P; ".repeat(20))
            })
            + ".entry k() { call f0; }",
        HEAD.to_owned()
            + &many(20_000, &|n| format!(".func f{n}({}) {{ ret; }}\n", ".param .b32 a, ".repeat(3) + ".param .b32 b")),
    ];
    let loaded = texts.iter().filter(|text| check(text).is_ok()).count();
    assert!(loaded >= 10, "{loaded} of the texts are modules");
}
