//! Loads and stores of every space, type and vector, in every shape of their operands. Orders, scopes and hints are the
//! subject of `accesses`.
//!
//! Each thread has a slot of 32 bytes. A load reads the slot of another thread, so that neighbours are not neighbours in
//! memory; a store fills the slot of another. Loads find what a plain reading of the bytes says; of a store all bytes
//! are compared, those around it included.

use super::Check;
use super::common::Bench;
use super::lanewise::Random;

const THREADS: usize = 80;
const BLOCKS: usize = 2;
const COUNT: usize = THREADS * BLOCKS;
const SLOT: usize = 32;

/// The other thread of the block whose slot a thread accesses.
fn other(thread: usize) -> usize {
    (thread * 29 + 7) % THREADS
}

/// Whether the guard of a thread holds.
fn guarded(n: usize) -> bool {
    (n as u32).wrapping_mul(0x9e37_79b1) >> 31 == 1
}

/// How an instruction names memory: its space, how the address is held, and the text between its brackets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Global,
    GlobalSymbol,
    Shared32,
    Shared64,
    SharedSymbol,
    Local32,
    Local64,
    LocalSymbol,
    Constant,
    ConstantSymbol,
    Parameter,
    ParameterSymbol,
    GenericGlobal,
    GenericShared,
    GenericLocal,
}
use Place::*;

impl Place {
    /// The shape of the address, and the address.
    fn address(self) -> (char, &'static str) {
        match self {
            Shared32 | Local32 => ('r', "%r20"),
            GlobalSymbol => ('s', "in_global"),
            SharedSymbol => ('s', "in_shared"),
            LocalSymbol => ('s', "in_local"),
            ConstantSymbol => ('s', "in_constant"),
            ParameterSymbol => ('s', "in_parameter"),
            _ => ('d', "%rd20"),
        }
    }

    /// Makes the address of the slot in `%rd20` and `%r20`, from that of the thread's own and another's slot in global
    /// memory in `%rd10` and `%rd11`, and the offset of the other's in a block in `%rd12`.
    fn addressing(self) -> &'static str {
        match self {
            Global | GenericGlobal => "mov.u64 %rd20, %rd11;",
            Shared32 | Shared64 => "mov.u64 %rd20, in_shared; add.u64 %rd20, %rd20, %rd12; cvt.u32.u64 %r20, %rd20;",
            GenericShared => "mov.u64 %rd20, in_shared; add.u64 %rd20, %rd20, %rd12; cvta.shared.u64 %rd20, %rd20;",
            Local32 | Local64 => "mov.u64 %rd20, in_local; cvt.u32.u64 %r20, %rd20;",
            GenericLocal => "mov.u64 %rd20, in_local; cvta.local.u64 %rd20, %rd20;",
            Constant => "mov.u64 %rd20, in_constant;",
            Parameter => "mov.b64 %rd20, in_parameter;",
            _ => "",
        }
    }

    /// Whose slot it is: that of the same thread, of another in the block, of the first in the block, or one for all.
    fn slot(self, n: usize) -> usize {
        match self {
            Global | GenericGlobal | Shared32 | Shared64 | GenericShared => n / THREADS * THREADS + other(n % THREADS),
            SharedSymbol => n / THREADS * THREADS,
            Local32 | Local64 | LocalSymbol | GenericLocal => n,
            _ => 0,
        }
    }
}

/// A kernel around `body`. Both the slots of the block in shared memory and that in local memory are filled from the
/// first parameter first.
fn kernel(place: Place, body: &str, slot: &[u8]) -> String {
    let bytes: Vec<String> = slot.iter().map(u8::to_string).collect();
    let bytes = bytes.join(", ");
    let fill: String = (0..4).map(|n| {
        let at = 8 * n;
        format!("ld.global.b64 %rd22, [%rd10+{at}]; st.shared.b64 [%rd23+{at}], %rd22; st.local.b64 [in_local+{at}], %rd22;\n")
    }).collect();
    let addressing = place.addressing();
    format!(
        ".version 8.8\n.target sm_90\n.address_size 64\n
         .const .align 16 .b8 in_constant[32] = {{{bytes}}};\n.global .align 16 .b8 in_global[32] = {{{bytes}}};
         .visible .entry k(.param .u64 slots, .param .u64 out, .param .align 16 .b8 in_parameter[32])\n{{
         .reg .pred %p<16>; .reg .b16 %h<10>; .reg .b32 %r<40>; .reg .f32 %f<10>; .reg .b64 %rd<40>;
         .reg .f64 %fd<10>; .shared .align 16 .b8 in_shared[{shared}]; .local .align 16 .b8 in_local[32];
         mov.u32 %r30, %tid.x; mov.u32 %r31, %ctaid.x; mad.lo.u32 %r32, %r31, {THREADS}, %r30;
         mad.lo.u32 %r33, %r30, 29, 7; rem.u32 %r33, %r33, {THREADS}; mad.lo.u32 %r34, %r31, {THREADS}, %r33;
         ld.param.u64 %rd30, [slots]; ld.param.u64 %rd31, [out];
         mul.wide.u32 %rd32, %r32, {SLOT}; add.u64 %rd10, %rd30, %rd32;
         mul.wide.u32 %rd33, %r34, {SLOT}; add.u64 %rd11, %rd30, %rd33; mul.wide.u32 %rd12, %r33, {SLOT};
         mul.lo.u32 %r35, %r32, 0x9e3779b1; shr.u32 %r35, %r35, 31; setp.ne.u32 %p14, %r35, 0;
         mul.wide.u32 %rd34, %r30, {SLOT}; mov.u64 %rd23, in_shared; add.u64 %rd23, %rd23, %rd34;
         {fill} bar.sync 0; {addressing}\n{body}\nret;\n}}\n",
        shared = THREADS * SLOT
    )
}

/// Bytes of a type, and how many times that many the registers are that may hold it: their letters.
fn registers(ty: &str) -> (usize, &'static str) {
    match &ty[1..] {
        "8" => (1, "hrd"),
        "16" => (2, "hrd"),
        "32" if ty == "f32" => (4, "r"),
        "32" => (4, "rd"),
        _ => (8, "d"),
    }
}

/// The names of registers of a letter that hold a type, in each way to declare them, and their bits.
fn names(letter: char, ty: &str) -> (&'static [&'static str], u32) {
    match (letter, ty) {
        ('h', _) => (&["h"], 16),
        ('r', "f32") => (&["f", "r"], 32),
        ('r', _) => (&["r"], 32),
        (_, "f64") => (&["fd", "rd"], 64),
        _ => (&["rd"], 64),
    }
}

/// The operand of a vector of registers, and its shape.
fn operand(name: &str, letter: char, lanes: usize) -> (String, String) {
    let registers: Vec<String> = (1..=lanes).map(|n| format!("%{name}{n}")).collect();
    match lanes {
        1 => (registers[0].clone(), letter.to_string()),
        _ => (format!("{{{}}}", registers.join(", ")), format!("{{{}}}", letter.to_string().repeat(lanes))),
    }
}

/// Random bytes, with every byte that is a limit among them.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let edges = [0, 0x7f, 0x80, 0xff, 1, 0xfe];
    (0..count)
        .map(|_| match random.next() % 16 {
            n @ 0..6 => edges[n as usize],
            _ => random.next() as u8,
        })
        .collect()
}

const OLD: u64 = 0xa5a5_5a5a_3cc3_a55a;

/// Checks `opcode` (without vector and type) as a load.
fn load(place: Place, opcode: &'static str, lanes: usize, ty: &'static str, letter: char) -> Check {
    let vector = if lanes == 1 { String::new() } else { format!(".v{lanes}") };
    let opcode = format!("{opcode}{vector}.{ty}");
    let form = format!("{opcode} {}, [{}]", operand("r", letter, lanes).1, place.address().0);
    let run = move || {
        let (size, _) = registers(ty);
        let slots = bytes(COUNT * SLOT, size as u64 + lanes as u64);
        let offsets = [0, SLOT - size * lanes, size * lanes % SLOT];
        for name in names(letter, ty).0 {
            let width = names(letter, ty).1;
            let (destination, _) = operand(name, letter, lanes);
            // as it is, under a guard, and under the opposite one
            let guards = ["", "@%p14 ", "@!%p14 "];
            let mut body = String::new();
            for (v, (offset, guard)) in offsets.into_iter().zip(guards).enumerate() {
                for lane in 1..=lanes {
                    let old = OLD & (u64::MAX >> (64 - width));
                    body += &format!("mov.b{width} %{name}{lane}, {old};\n");
                }
                body += &format!("{guard}{opcode} {destination}, [{}+{offset}];\n", place.address().1);
                body += &format!("mul.wide.u32 %rd36, %r32, {}; add.u64 %rd36, %rd36, %rd31;\n", 8 * lanes);
                for lane in 1..=lanes {
                    let at = 8 * (v * COUNT * lanes + lane - 1);
                    body += &format!("st.global.b{width} [%rd36+{at}], %{name}{lane};\n");
                }
            }
            let bench = Bench::new(&kernel(place, &body, &slots[..SLOT]));
            let input = bench.upload(&slots);
            let out = bench.upload(&vec![OLD; 3 * COUNT * lanes]);
            launch(&bench, BLOCKS, input, out, &slots);
            let found = bench.read_u64(out, 3 * COUNT * lanes);
            for (v, (offset, guard)) in offsets.into_iter().zip(guards).enumerate() {
                for n in 0..COUNT {
                    for lane in 0..lanes {
                        let found = found[(v * COUNT + n) * lanes + lane] & (u64::MAX >> (64 - width));
                        let at = place.slot(n) * SLOT + offset + lane * size;
                        let mut value = [0; 8];
                        value[..size].copy_from_slice(&slots[at..at + size]);
                        if ty.starts_with('s') && slots[at + size - 1] > 127 {
                            value[size..].fill(0xff);
                        }
                        let runs = guard.is_empty() || guarded(n) == (guard == "@%p14 ");
                        let expected = if runs { u64::from_le_bytes(value) } else { OLD } & (u64::MAX >> (64 - width));
                        assert_eq!(found, expected, "{guard}{opcode} {name} {place:?} thread {n} part {lane}");
                    }
                }
            }
        }
    };
    Check { forms: vec![form.clone(), format!("@p {form}")], run: Box::new(run) }
}

fn launch(bench: &Bench, blocks: usize, input: u64, out: u64, slots: &[u8]) {
    let mut parameters = vec![input, out];
    parameters.extend(slots[..SLOT].chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())));
    bench.launch([blocks as u32, 1, 1], [THREADS as u32, 1, 1], &parameters).unwrap();
}

/// Checks `opcode` (without vector and type) as a store, of registers or, where there is one value, of an immediate.
fn store(place: Place, opcode: &'static str, lanes: usize, ty: &'static str, letter: char) -> Check {
    let vector = if lanes == 1 { String::new() } else { format!(".v{lanes}") };
    let opcode = format!("{opcode}{vector}.{ty}");
    let shape = if letter == 'i' { "i".to_owned() } else { operand("r", letter, lanes).1 };
    let form = format!("{opcode} [{}], {shape}", place.address().0);
    let run = move || {
        let (size, _) = registers(ty);
        let slots = bytes(COUNT * SLOT, size as u64 + lanes as u64);
        let immediate = 0x3f80_1234_c0a5_81fb_u64 & (u64::MAX >> (64 - 8 * size));
        let (names, width) = if letter == 'i' { (&["r"][..], 32) } else { names(letter, ty) };
        // Where all threads have one slot, one of them stores, and in one block.
        let one = matches!(place, GlobalSymbol | SharedSymbol);
        let guards = if one { ["@%p13 "; 3] } else { ["", "@%p14 ", "@!%p14 "] };
        let compared = if one { SLOT } else { COUNT * SLOT };
        for name in names {
            for (offset, guard) in [0, SLOT - size * lanes, size * lanes % SLOT].into_iter().zip(guards) {
                let mut body = "setp.eq.u32 %p13, %r32, 3;\n".to_owned();
                // what is stored comes from the thread's own slot
                for lane in 1..=lanes {
                    body += &format!("ld.global.b{width} %{name}{lane}, [%rd10+{}];\n", 8 * (lane - 1));
                }
                let source = match (letter, ty) {
                    ('i', "f32") => format!("0f{immediate:08X}"),
                    ('i', "f64") => format!("0d{immediate:016X}"),
                    ('i', _) => immediate.to_string(),
                    _ => operand(name, letter, lanes).0,
                };
                body += &format!("bar.sync 0; {guard}{opcode} [{}+{offset}], {source};\n", place.address().1);
                // the slot that was stored to, shown in its owner's place
                body += "bar.sync 0; mul.wide.u32 %rd36, %r32, 32; add.u64 %rd36, %rd36, %rd31;\n";
                let shown = match place {
                    Shared32 | Shared64 | SharedSymbol | GenericShared => "ld.shared.b64 %rd37, [%rd23",
                    Local32 | Local64 | LocalSymbol | GenericLocal => "ld.local.b64 %rd37, [in_local",
                    GlobalSymbol => "ld.global.b64 %rd37, [in_global",
                    _ => "ld.global.b64 %rd37, [%rd10",
                };
                for at in [0, 8, 16, 24] {
                    body += &format!("{shown}+{at}]; st.global.b64 [%rd36+{at}], %rd37;\n");
                }
                let bench = Bench::new(&kernel(place, &body, &slots[..SLOT]));
                let input = bench.upload(&slots);
                let out = bench.upload(&vec![OLD; COUNT * SLOT / 8]);
                launch(&bench, if one { 1 } else { BLOCKS }, input, out, &slots);
                let found: Vec<u8> = bench.read_u64(out, compared / 8).into_iter().flat_map(u64::to_le_bytes).collect();
                let mut expected = slots[..compared].to_vec();
                let stores = |n: usize| match guard {
                    "" => true,
                    "@%p13 " => n == 3,
                    _ => guarded(n) == (guard == "@%p14 "),
                };
                for n in (0..COUNT).filter(|n| stores(*n)) {
                    for lane in 0..lanes {
                        let from = &slots[n * SLOT + 8 * lane..][..size];
                        let value = if letter == 'i' { &immediate.to_le_bytes()[..size] } else { from };
                        expected[place.slot(n) * SLOT + offset + lane * size..][..size].copy_from_slice(value);
                    }
                }
                assert_eq!(found, expected, "{guard}{opcode} {name} {place:?}");
            }
        }
    };
    Check { forms: vec![form.clone(), format!("@p {form}")], run: Box::new(run) }
}

const TYPES: [&str; 14] =
    ["u8", "s8", "b8", "u16", "s16", "b16", "u32", "s32", "b32", "f32", "u64", "s64", "b64", "f64"];

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    let loads: [(&[Place], &[&'static str]); 6] = [
        (
            &[Global, GlobalSymbol],
            &["ld.global", "ld.global.nc", "ld.volatile.global", "ld.relaxed.gpu.global", "ld.acquire.gpu.global"],
        ),
        (&[Shared32, Shared64, SharedSymbol], &["ld.shared", "ld.volatile.shared"]),
        (&[Local32, Local64, LocalSymbol], &["ld.local"]),
        (&[Constant, ConstantSymbol], &["ld.const"]),
        (&[Parameter, ParameterSymbol], &["ld.param"]),
        (&[GenericGlobal, GenericShared, GenericLocal], &["ld", "ld.volatile", "ld.relaxed.gpu", "ld.acquire.sys"]),
    ];
    let stores: [(&[Place], &[&'static str]); 4] = [
        (
            &[Global, GlobalSymbol],
            &["st.global", "st.volatile.global", "st.relaxed.gpu.global", "st.release.gpu.global"],
        ),
        (&[Shared32, Shared64, SharedSymbol], &["st.shared", "st.volatile.shared"]),
        (&[Local32, Local64, LocalSymbol], &["st.local"]),
        (&[GenericGlobal, GenericShared, GenericLocal], &["st", "st.volatile", "st.relaxed.gpu", "st.release.sys"]),
    ];
    for ty in TYPES {
        let (size, letters) = registers(ty);
        for lanes in [1, 2, 4].into_iter().filter(|lanes| lanes * size <= 16) {
            for letter in letters.chars() {
                for (places, opcodes) in loads {
                    for place in places {
                        checks.extend(opcodes.iter().map(|opcode| load(*place, opcode, lanes, ty, letter)));
                    }
                }
            }
            let immediates = if lanes == 1 { "i" } else { "" };
            for letter in letters.chars().chain(immediates.chars()) {
                for (places, opcodes) in stores {
                    for place in places {
                        checks.extend(opcodes.iter().map(|opcode| store(*place, opcode, lanes, ty, letter)));
                    }
                }
            }
        }
    }
    checks
}
