//! Loads and stores in every space, order and scope, of every type and vector, with every hint: many in one kernel.
//!
//! Each thread has a slot of 64 bytes, and accesses that of another thread where the space has room for those of all.
//! What a load finds is compared with a plain reading of the bytes, extended to the width of the register; of a store,
//! the whole slot is. The offsets in the slots go through all that are multiples of what is accessed.

use super::Check;
use super::common::Bench;
use super::lanewise::Random;

const THREADS: usize = 64;
const SLOT: usize = 64;

/// The other thread whose slot a thread accesses.
fn other(thread: usize) -> usize {
    (thread * 29 + 7) % THREADS
}

/// Where the slots are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Global,
    Shared,
    Local,
    Constant,
    /// The kernel's own parameter.
    Entry,
    /// What a call passes and returns.
    Call,
    GenericGlobal,
    GenericShared,
    GenericLocal,
}
use Place::*;

impl Place {
    /// Makes the address of the slot in `%rd20`, from the other thread's offset `%rd9`.
    fn addressing(self) -> &'static str {
        match self {
            Global | GenericGlobal => "add.u64 %rd20, %rd1, %rd9;",
            Shared => "mov.u64 %rd20, in_shared; add.u64 %rd20, %rd20, %rd9;",
            GenericShared => "mov.u64 %rd20, in_shared; add.u64 %rd20, %rd20, %rd9; cvta.shared.u64 %rd20, %rd20;",
            Local => "mov.u64 %rd20, in_local;",
            GenericLocal => "mov.u64 %rd20, in_local; cvta.local.u64 %rd20, %rd20;",
            Constant => "mov.u64 %rd20, in_constant; and.b64 %rd9, %rd9, 192; add.u64 %rd20, %rd20, %rd9;",
            Entry | Call => "",
        }
    }

    /// The text of an address.
    fn address(self, name: &str, offset: usize) -> String {
        match self {
            Entry => format!("[in_parameter+{offset}]"),
            Call => format!("[{name}+{offset}]"),
            _ => format!("[%rd20+{offset}]"),
        }
    }

    /// Whose slot a thread accesses.
    fn slot(self, thread: usize) -> usize {
        match self {
            Global | GenericGlobal | Shared | GenericShared => other(thread),
            Local | GenericLocal | Call => thread,
            Constant => other(thread) % 4,
            Entry => 0,
        }
    }

    /// What plain loads and stores of the same bytes name as their space.
    fn plain(self) -> &'static str {
        match self {
            Global => ".global",
            Shared => ".shared",
            Local => ".local",
            Call => ".param",
            _ => "",
        }
    }
}

/// What is accessed: values of a type, and the letter of their registers.
#[derive(Clone, Copy)]
struct Access {
    count: usize,
    ty: &'static str,
    letter: char,
}

impl Access {
    fn size(self) -> usize {
        self.ty[1..].parse::<usize>().unwrap() / 8
    }

    fn bytes(self) -> usize {
        self.count * self.size()
    }

    fn width(self) -> usize {
        ["h", "r", "d"].iter().position(|letter| letter.starts_with(self.letter)).map_or(0, |n| 16 << n)
    }

    fn register(self, n: usize) -> String {
        let name = if self.letter == 'd' { "rd4" } else { &format!("{}4", self.letter) };
        format!("%{name}{n}")
    }

    fn operand(self) -> String {
        let registers: Vec<String> = (0..self.count).map(|n| self.register(n)).collect();
        if self.count == 1 { registers[0].clone() } else { format!("{{{}}}", registers.join(", ")) }
    }

    /// `.v2.u32`
    fn suffix(self) -> String {
        let vector = if self.count == 1 { String::new() } else { format!(".v{}", self.count) };
        format!("{vector}.{}", self.ty)
    }
}

/// Every type in every vector, each time in registers of another of the widths that hold it.
fn accesses(wide: bool) -> Vec<Access> {
    let mut all = Vec::new();
    for ty in ["b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"] {
        let letters = match &ty[1..] {
            "8" | "16" => "hrd",
            "32" if ty == "f32" => "r",
            "32" => "rd",
            _ => "d",
        };
        for count in [1, 2, 4, 8] {
            let letter = letters.chars().nth(all.len() % letters.len()).expect("a letter");
            let access = Access { count, ty, letter };
            // the values of 32 bytes are held as they are
            let of_32_bytes = access.bytes() == 32 && access.size() > 2;
            let letter = if of_32_bytes && access.size() == 4 { 'r' } else { letter };
            if access.bytes() <= 16 && count < 8 || wide && of_32_bytes {
                all.push(Access { letter, ..access });
            }
        }
    }
    all
}

/// An instruction, what it accesses, and whether a policy is among its operands.
struct Instruction {
    opcode: String,
    access: Access,
    policy: bool,
}

fn kernel(place: Place, body: &str, slots: &[u8]) -> String {
    let text = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let copies: String = (0..SLOT / 8)
        .map(|n| {
            let at = 8 * n;
            format!(
                "ld.global.b64 %rd3{n}, [%rd10+{at}]; st.shared.b64 [%rd11+{at}], %rd3{n};
                 st.local.b64 [in_local+{at}], %rd3{n};\n"
            )
        })
        .collect();
    let echo: String = (0..SLOT / 8)
        .map(|n| format!("ld.param.b64 %rd1, [a+{}]; st.param.b64 [result+{}], %rd1;\n", 8 * n, 8 * n))
        .collect();
    format!(
        ".version 8.8\n.target sm_100\n.address_size 64\n
         .const .align 32 .b8 in_constant[256] = {{{constant}}};
         .func (.param .align 16 .b8 result[64]) echo(.param .align 16 .b8 a[64]) {{ .reg .b64 %rd<2>; {echo} ret; }}
         .visible .entry k(.param .u64 slots, .param .u64 out, .param .align 16 .b8 in_parameter[64])\n{{
         .reg .b16 %h<50>; .reg .b32 %r<50>; .reg .b64 %rd<50>;
         .shared .align 32 .b8 in_shared[{shared}]; .local .align 32 .b8 in_local[64];
         ld.param.u64 %rd1, [slots]; ld.param.u64 %rd2, [out]; mov.u32 %r1, %tid.x;
         mul.wide.u32 %rd3, %r1, {SLOT}; add.u64 %rd10, %rd1, %rd3; mov.u64 %rd11, in_shared;
         add.u64 %rd11, %rd11, %rd3; mul.wide.u32 %rd4, %r1, 8; add.u64 %rd2, %rd2, %rd4;
         mad.lo.u32 %r2, %r1, 29, 7; and.b32 %r2, %r2, {mask}; mul.wide.u32 %rd9, %r2, {SLOT};
         createpolicy.fractional.L2::evict_last.b64 %rd19, 0f3F800000;
         {copies} bar.sync 0; {addressing}\n{body}\nret;\n}}\n",
        constant = text(&slots[..256]),
        shared = THREADS * SLOT,
        mask = THREADS - 1,
        addressing = place.addressing(),
    )
}

fn random_slots(seed: usize) -> Vec<u8> {
    let mut random = Random::new(seed as u64 + 5);
    // every byte that is a limit is among them
    let edges = [0, 0x7f, 0x80, 0xff, 1, 0xfe];
    let byte = |bits: u64| if bits % 16 < 6 { edges[bits as usize % 16] } else { (bits >> 8) as u8 };
    (0..THREADS * SLOT).map(|_| byte(random.next())).collect()
}

const OLD: u64 = 0xa5a5_5a5a_3cc3_a55a;

/// Runs a kernel whose threads fill `cells` words of 64 bits each. Returns them by cell and thread.
fn run(ptx: &str, slots: &[u8], cells: usize) -> Vec<u64> {
    let bench = Bench::new(ptx);
    let input = bench.upload(slots);
    let out = bench.upload(&vec![OLD; cells * THREADS]);
    let mut parameters = vec![input, out];
    parameters.extend(slots[..SLOT].chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())));
    bench.launch([1, 1, 1], [THREADS as u32, 1, 1], &parameters).unwrap();
    bench.read_u64(out, cells * THREADS)
}

/// The offset of access `n` of a kernel.
fn offset(access: Access, n: usize, seed: usize) -> usize {
    let bytes = access.bytes();
    (n + seed) % (SLOT / bytes) * bytes
}

/// The slot as the argument of a call, whose result it becomes, in `body`.
fn called(before: &str, body: &str) -> String {
    let pass: String = (0..SLOT / 8).map(|n| format!("st.param.b64 [a+{}], %rd3{n}; ", 8 * n)).collect();
    format!(
        "{{ .param .align 16 .b8 a[64]; .param .align 16 .b8 r[64]; {pass}\n{before}\ncall (r), echo, (a);\n{body} }}\n"
    )
}

fn loads(place: Place, seed: usize, instructions: &[Instruction]) {
    let slots = random_slots(seed);
    let (mut body, mut cell) = (String::new(), 0);
    for (n, Instruction { opcode, access, policy }) in instructions.iter().enumerate() {
        let at = place.address("r", offset(*access, n, seed));
        let policy = if *policy { ", %rd19" } else { "" };
        let load = format!("{opcode} {}, {at}{policy};\n", access.operand());
        body += &if place == Call { called("", &load) } else { load };
        for lane in 0..access.count {
            let (width, register) = (access.width(), access.register(lane));
            body += &format!("st.global.b{width} [%rd2+{}], {register};\n", 8 * THREADS * cell);
            cell += 1;
        }
    }
    let found = run(&kernel(place, &body, &slots), &slots, cell);
    let mut cells = found.chunks(THREADS);
    for (n, Instruction { opcode, access, .. }) in instructions.iter().enumerate() {
        let (size, first) = (access.size(), offset(*access, n, seed));
        for lane in 0..access.count {
            for (thread, found) in cells.next().expect("a cell").iter().enumerate() {
                let mask = u64::MAX >> (64 - access.width());
                let at = place.slot(thread) * SLOT + first + lane * size;
                let mut value = [0; 8];
                value[..size].copy_from_slice(&slots[at..at + size]);
                if access.ty.starts_with('s') && slots[at + size - 1] > 127 {
                    value[size..].fill(0xff);
                }
                let expected = u64::from_le_bytes(value) & mask;
                assert_eq!(found & mask, expected, "{opcode} {place:?} thread {thread} value {lane}");
                assert_eq!(found & !mask, OLD & !mask);
            }
        }
    }
}

fn stores(place: Place, seed: usize, instructions: &[Instruction]) {
    let slots = random_slots(seed);
    let mut body = String::new();
    for (n, Instruction { opcode, access, policy }) in instructions.iter().enumerate() {
        let policy = if *policy { ", %rd19" } else { "" };
        let at = place.address("a", offset(*access, n, seed));
        let store = format!("{opcode} {at}, {}{policy};\n", access.operand());
        for lane in 0..access.count {
            let (width, register) = (access.width(), access.register(lane));
            body += &format!("ld.global.b{width} {register}, [%rd10+{}];\n", 8 * lane);
        }
        let shown = |name: &str| -> String {
            let copy = |word: usize| {
                let (plain, at) = (place.plain(), place.address(name, 8 * word));
                let cell = 8 * THREADS * (n * SLOT / 8 + word);
                format!("ld{plain}.b64 %rd5, {at}; st.global.b64 [%rd2+{cell}], %rd5;\n")
            };
            (0..SLOT / 8).map(copy).collect()
        };
        if place == Call {
            body += &called(&store, &shown("r"));
            continue;
        }
        // the slot as it was, but for what is stored
        let fill = |word: usize| format!("st{}.b64 {}, %rd3{word};\n", place.plain(), place.address("", 8 * word));
        body += &(0..SLOT / 8).map(fill).collect::<String>();
        body += &store;
        body += &shown("");
    }
    let words = SLOT / 8;
    // what is stored must not be what the next store takes
    let body = if matches!(place, Global | GenericGlobal) { body.replace("[%rd10+", "[%rd12+") } else { body };
    let copied = format!("add.u64 %rd12, %rd10, {};\n{body}", THREADS * SLOT);
    let doubled = [&slots[..], &slots[..]].concat();
    let found = run(&kernel(place, &copied, &slots), &doubled, instructions.len() * words);
    for (n, Instruction { opcode, access, .. }) in instructions.iter().enumerate() {
        let (size, first) = (access.size(), offset(*access, n, seed));
        for thread in 0..THREADS {
            let mut expected = slots[thread * SLOT..][..SLOT].to_vec();
            for lane in 0..access.count {
                let from = thread * SLOT + 8 * lane;
                expected[first + lane * size..][..size].copy_from_slice(&slots[from..from + size]);
            }
            let found: Vec<u8> =
                (0..words).flat_map(|word| found[(n * words + word) * THREADS + thread].to_le_bytes()).collect();
            assert_eq!(found, expected, "{opcode} {place:?} thread {thread}");
        }
    }
}

type Run = fn(Place, usize, &[Instruction]);

/// The check of an opcode with all vectors and types, in several places.
fn check(run: Run, places: &'static [Place], opcode: &str, only_scalars: bool) -> Check {
    let wide = opcode.contains(".global");
    let all = accesses(wide).into_iter().filter(|access| !only_scalars || access.count == 1);
    let instructions: Vec<Instruction> = all
        .filter(|access| !(opcode.starts_with("ldu") && access.bytes() > 16))
        .map(|access| Instruction { opcode: format!("{opcode}{}", access.suffix()), access, policy: false })
        .collect();
    of_instructions(run, places, opcode.len(), instructions)
}

fn of_instructions(run: Run, places: &'static [Place], seed: usize, instructions: Vec<Instruction>) -> Check {
    let forms = instructions.iter().map(|instruction| instruction.opcode.clone()).collect();
    let run = move || {
        for (n, place) in places.iter().enumerate() {
            // each access at four offsets
            for round in 0..4 {
                run(*place, seed + n + 7 * round, &instructions);
            }
        }
    };
    Check { forms, run: Box::new(run) }
}

/// The spaces of an opcode, and what is there.
const GENERIC: (&str, &[Place]) = ("", &[GenericGlobal, GenericShared, GenericLocal]);
const GLOBAL: (&str, &[Place]) = (".global", &[Global]);
const SHARED: [(&str, &[Place]); 3] =
    [(".shared", &[Shared]), (".shared::cta", &[Shared]), (".shared::cluster", &[Shared])];
const LOCAL: (&str, &[Place]) = (".local", &[Local]);
const SCOPES: [&str; 4] = ["cta", "cluster", "gpu", "sys"];

const L1: [&str; 5] =
    [".L1::evict_normal", ".L1::evict_unchanged", ".L1::evict_first", ".L1::evict_last", ".L1::no_allocate"];
const L2: [&str; 3] = [".L2::evict_normal", ".L2::evict_first", ".L2::evict_last"];
const POLICY: [&str; 1] = [".L2::cache_hint"];
const PREFETCHES: [&str; 3] = [".L2::64B", ".L2::128B", ".L2::256B"];

/// The check of every hint by itself, and of one of each group at once. `opcode` has `{h}` where hints of caches stand,
/// which are those of `operators`, and `{n}` where the others do.
fn hints(run: Run, place: &'static [Place], opcode: &str, operators: &[&str], others: &[&[&str]]) -> Check {
    let kinds = accesses(true);
    // one of up to 16 bytes, one of 64 bits, one of 32 bytes
    let last = |holds: &dyn Fn(&Access) -> bool| kinds.iter().rev().find(|access| holds(access)).copied();
    let chosen = [
        last(&|access| access.bytes() <= 16 && access.size() == 4),
        last(&|access| access.bytes() <= 16 && access.size() == 8),
        last(&|access| access.bytes() == 32),
    ];
    let mut instructions = Vec::new();
    for access in chosen.into_iter().flatten() {
        // the second level has priorities for 32 bytes only
        let groups = || others.iter().filter(|group| access.bytes() == 32 || group[0] != L2[0]);
        let together: String = groups().map(|group| group[group.len() - 1]).collect();
        let single = groups().flat_map(|group| group.iter().copied());
        let operator = |operator: &&str| (format!(".{operator}"), String::new());
        let mut all: Vec<(String, String)> = operators.iter().map(operator).collect();
        all.extend(single.chain([together.as_str()]).map(|hint| (String::new(), hint.to_owned())));
        for (operator, hint) in all {
            let policy = hint.contains("cache_hint");
            let opcode = opcode.replace("{h}", &operator).replace("{n}", &hint) + &access.suffix();
            instructions.push(Instruction { opcode, access, policy });
        }
    }
    of_instructions(run, place, 3, instructions)
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    let weak_loads = [
        GENERIC,
        GLOBAL,
        LOCAL,
        SHARED[0],
        SHARED[1],
        SHARED[2],
        (".const", &[Constant]),
        (".param", &[Entry, Call]),
        (".param::entry", &[Entry]),
        (".param::func", &[Call]),
    ];
    let weak_stores =
        [GENERIC, GLOBAL, LOCAL, SHARED[0], SHARED[1], SHARED[2], (".param", &[Call]), (".param::func", &[Call])];
    let strong = [GENERIC, GLOBAL, SHARED[0], SHARED[1], SHARED[2]];
    for weak in ["", ".weak"] {
        checks.extend(weak_loads.map(|(space, places)| check(loads, places, &format!("ld{weak}{space}"), false)));
        checks.extend(weak_stores.map(|(space, places)| check(stores, places, &format!("st{weak}{space}"), false)));
    }
    for (space, places) in strong {
        checks.push(check(loads, places, &format!("ld.volatile{space}"), false));
        checks.push(check(stores, places, &format!("st.volatile{space}"), false));
        for scope in SCOPES {
            for order in ["relaxed", "acquire"] {
                checks.push(check(loads, places, &format!("ld.{order}.{scope}{space}"), false));
            }
            for order in ["relaxed", "release"] {
                checks.push(check(stores, places, &format!("st.{order}.{scope}{space}"), false));
            }
        }
    }
    checks.push(check(loads, &[Global], "ld.global.nc", false));
    for (space, places) in [("", &[GenericGlobal][..]), GLOBAL] {
        checks.push(check(loads, places, &format!("ldu{space}"), false));
        checks.push(check(loads, places, &format!("ld.mmio.relaxed.sys{space}"), true));
        checks.push(check(stores, places, &format!("st.mmio.relaxed.sys{space}"), true));
    }
    let operators = ["ca", "cg", "cs", "lu", "cv"];
    checks.push(hints(loads, &[Global], "ld.global{h}{n}", &operators, &[&L1, &L2, &POLICY, &PREFETCHES]));
    checks.push(hints(loads, &[Global], "ld.global{h}.nc{n}", &operators[..3], &[&L1, &L2, &POLICY, &PREFETCHES]));
    checks.push(hints(loads, &[Global], "ld.volatile.global{n}", &[], &[&PREFETCHES]));
    checks.push(hints(loads, &[Global], "ld.acquire.gpu.global{n}", &[], &[&L1, &L2, &POLICY, &PREFETCHES]));
    checks.push(hints(stores, &[Global], "st.global{h}{n}", &["wb", "cg", "cs", "wt"], &[&L1, &L2, &POLICY]));
    checks.push(hints(stores, &[Global], "st.release.gpu.global{n}", &[], &[&L1, &L2, &POLICY]));
    checks
}
