//! `wgmma`: products of all types, with A in registers and in shared memory, in every layout that a descriptor can say, compared
//! with loops over the elements; and what races with them.

use warpwright_emulator::FaultKind;
use warpwright_emulator::checks::Checks;

use super::Check;
use super::common::{Bench, kernel};

const CHECKS: Checks = Checks { initialised: true, races: true, ..Checks::NONE };

/// How 16-byte pieces change places in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swizzle {
    None,
    B32,
    B64,
    B128,
}

/// Where the elements of a matrix are in shared memory: `outer` rows of A or columns of B by the inner dimension of 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Layout {
    swizzle: Swizzle,
    /// Whether the elements of a row of A, or a column of B, are apart.
    transposed: bool,
    bytes: u64,
    outer: u64,
}

impl Layout {
    /// Pieces of 16 bytes in a row of an atom of eight rows.
    fn width(self) -> u64 {
        match self.swizzle {
            Swizzle::None => 1,
            Swizzle::B32 => 2,
            Swizzle::B64 => 4,
            Swizzle::B128 => 8,
        }
    }

    /// Leading and stride offsets: the atoms lie one after the other, with a gap.
    fn offsets(self) -> (u64, u64) {
        let atom = self.width() * 128;
        let inner = 32 / self.bytes;
        match (self.transposed, self.swizzle) {
            // bricks of 8 by 16 bytes: first along the inner dimension
            (false, Swizzle::None) => (128, 256 + 128),
            (false, _) => (16, atom),
            // along the outer dimension in one piece each, then the inner one by eights
            (true, Swizzle::None) => ((self.outer * self.bytes / 16) * 128, 128),
            (true, _) => (atom * (inner / 8), atom),
        }
    }

    /// The place of an element, from the definition of the canonical layouts.
    fn place(self, outer: u64, inner: u64) -> u64 {
        let (leading, stride) = self.offsets();
        let linear = if self.transposed {
            let per_piece = 16 / self.bytes;
            let (piece, within) = (outer / per_piece, outer % per_piece * self.bytes);
            match self.swizzle {
                Swizzle::None => within + piece * stride + inner % 8 * 16 + inner / 8 * leading,
                _ => {
                    let width = self.width();
                    within + piece % width * 16 + piece / width * leading + inner % 8 * width * 16 + inner / 8 * stride
                }
            }
        } else {
            let byte = inner * self.bytes;
            match self.swizzle {
                Swizzle::None => outer % 8 * 16 + outer / 8 * stride + byte / 16 * leading + byte % 16,
                _ => outer % 8 * self.width() * 16 + outer / 8 * stride + byte,
            }
        };
        let (row, piece) = (linear / 128, linear / 16 % 8);
        let changed = match self.swizzle {
            Swizzle::None => piece,
            Swizzle::B32 => piece ^ (row % 2),
            Swizzle::B64 => piece ^ (row % 4),
            Swizzle::B128 => piece ^ (row % 8),
        };
        row * 128 + changed * 16 + linear % 16
    }

    fn descriptor(self, start: u64) -> u64 {
        let (leading, stride) = self.offsets();
        let mode = match self.swizzle {
            Swizzle::None => 0,
            Swizzle::B128 => 1,
            Swizzle::B64 => 2,
            Swizzle::B32 => 3,
        };
        start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | mode << 62
    }
}

/// The bytes of shared memory for a matrix.
const ROOM: u64 = 65536;

/// A kernel of four warps. `p0` has what goes to shared memory, A in its first half and B in the second; `p1` the registers of A,
/// four words a thread; `p2` the sum before, and then after, `registers` words a thread.
fn ptx(instruction: &str, registers: usize, a: &str, descriptors: (u64, u64), end: &str, between: &str) -> String {
    let d: Vec<String> = (0..registers).map(|n| format!("%s{n}")).collect();
    let load: String = (0..registers).map(|n| format!("ld.global.u32 %s{n}, [%rd4+{}];\n", 4 * n)).collect();
    let store: String = (0..registers).map(|n| format!("st.global.u32 [%rd4+{}], %s{n};\n", 4 * n)).collect();
    let body = format!(
        ".reg .b32 %s<{registers}>; mov.u32 %r1, %tid.x; ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2];
         mul.wide.u32 %rd4, %r1, {}; add.u64 %rd4, %rd3, %rd4; {load}
         mul.wide.u32 %rd5, %r1, 16; add.u64 %rd5, %rd2, %rd5; ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%rd5];
         mov.u32 %r2, s; shl.b32 %r3, %r1, 2; FILL: add.u32 %r4, %r2, %r3; cvt.u64.u32 %rd6, %r3; add.u64 %rd6, %rd1, %rd6;
         ld.global.u32 %r5, [%rd6]; st.shared.u32 [%r4], %r5; add.u32 %r3, %r3, 512; setp.lt.u32 %p1, %r3, {};
         @%p1 bra FILL; fence.proxy.async; bar.sync 0; mov.u64 %rd8, {}; mov.u64 %rd9, {}; setp.eq.u32 %p2, %r1, %r1;
         wgmma.fence.sync.aligned; {instruction} {{{}}}, {a}, %rd9, {end}; wgmma.commit_group.sync.aligned; {between}
         wgmma.wait_group.sync.aligned 0; {store} ret;",
        4 * registers,
        2 * ROOM,
        descriptors.0,
        descriptors.1,
        d.join(", ")
    );
    kernel(3, &format!(".shared .align 1024 .b8 s[{}];", 2 * ROOM), &body).replace("sm_75", "sm_90a")
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A type of elements: its name, its bytes, and the value of its bits.
#[derive(Clone, Copy)]
struct Type {
    name: &'static str,
    bytes: u64,
    value: fn(u32) -> f64,
}

fn small_float(bits: u32, exponents: u32, fractions: u32) -> f64 {
    let (sign, exponent) = (bits >> (exponents + fractions) & 1, bits >> fractions & ((1 << exponents) - 1));
    let fraction = f64::from(bits & ((1 << fractions) - 1)) / f64::from(1u32 << fractions);
    let bias = (1 << (exponents - 1)) - 1;
    let size = match exponent {
        0 => fraction * 2f64.powi(1 - bias),
        _ => (1.0 + fraction) * 2f64.powi(exponent as i32 - bias),
    };
    if sign == 1 { -size } else { size }
}

const F16: Type = Type { name: "f16", bytes: 2, value: |bits| small_float(bits, 5, 10) };
const BF16: Type = Type { name: "bf16", bytes: 2, value: |bits| small_float(bits, 8, 7) };
const TF32: Type = Type { name: "tf32", bytes: 4, value: |bits| small_float(bits >> 13, 8, 10) };
const E4M3: Type = Type { name: "e4m3", bytes: 1, value: |bits| small_float(bits, 4, 3) };
const E5M2: Type = Type { name: "e5m2", bytes: 1, value: |bits| small_float(bits, 5, 2) };
const S8: Type = Type { name: "s8", bytes: 1, value: |bits| f64::from(bits as i8) };
const U8: Type = Type { name: "u8", bytes: 1, value: |bits| f64::from(bits as u8) };

/// Bits of a number that is not huge, and exact in sums.
fn element(ty: Type, state: &mut u64) -> u32 {
    let bits = random(state) as u32;
    match ty.name {
        // signs, exponents from -2 to 1, and all fractions
        "f16" => bits & 0x83ff | (13 + (bits >> 16) % 4) << 10,
        "bf16" => bits & 0x807f | (125 + (bits >> 16) % 4) << 7,
        // what is below the fraction is not read
        "tf32" => bits & 0x807f_ffff | (125 + (bits >> 3) % 4) << 23,
        "e4m3" => bits & 0x87 | (5 + (bits >> 16) % 4) << 3,
        "e5m2" => bits & 0x83 | (13 + (bits >> 16) % 4) << 2,
        _ => bits & 0xff,
    }
}

/// A product to try.
#[derive(Clone, Copy)]
struct Case {
    a: Type,
    b: Type,
    /// `f32`, `f16` or `s32`
    d: &'static str,
    n: u64,
    a_in_registers: bool,
    swizzles: (Swizzle, Swizzle),
    transposed: (bool, bool),
    keep: bool,
    negated: (bool, bool),
}

const USUAL: Case = Case {
    a: F16,
    b: F16,
    d: "f32",
    n: 64,
    a_in_registers: false,
    swizzles: (Swizzle::B128, Swizzle::B128),
    transposed: (false, false),
    keep: true,
    negated: (false, false),
};

/// Whether no other half is nearer to a value, nor as near and even.
fn is_nearest_f16(bits: u32, value: f64) -> bool {
    let distance = |bits: u32| (small_float(bits, 5, 10) - value).abs();
    let neighbours =
        [bits.wrapping_sub(1), bits + 1].into_iter().filter(|other| other >> 10 & 31 != 31 && other >> 16 == 0);
    let zero = value == 0.0 && bits & 0x7fff == 0;
    zero || neighbours.into_iter().all(|other| {
        // Of two signs they are not neighbours.
        other >> 15 != bits >> 15
            || distance(bits) < distance(other)
            || distance(bits) == distance(other) && bits.is_multiple_of(2)
    })
}

impl Case {
    fn inner(self) -> u64 {
        32 / self.a.bytes
    }

    fn instruction(self) -> String {
        let (n, k) = (self.n, self.inner());
        format!("wgmma.mma_async.sync.aligned.m64n{n}k{k}.{}.{}.{}", self.d, self.a.name, self.b.name)
    }

    fn end(self) -> String {
        let sign = |negated: bool| if negated { -1 } else { 1 };
        let mut end = if self.keep { "%p2".to_owned() } else { "!%p2".to_owned() };
        if self.d != "s32" {
            end += &format!(", {}, {}", sign(self.negated.0), sign(self.negated.1));
        }
        if self.a.bytes == 2 {
            if !self.a_in_registers {
                end += &format!(", {}", u32::from(self.transposed.0));
            }
            end += &format!(", {}", u32::from(self.transposed.1));
        }
        end
    }

    fn check(self, seed: u64) {
        let (inner, mut state) = (self.inner(), seed);
        let layout = |swizzle, transposed, ty: Type, outer| Layout { swizzle, transposed, bytes: ty.bytes, outer };
        let of_a = layout(self.swizzles.0, self.transposed.0, self.a, 64);
        let of_b = layout(self.swizzles.1, self.transposed.1, self.b, self.n);
        let mut shared = vec![0xffu8; 2 * ROOM as usize];
        let mut fill = |ty: Type, layout: Layout, start: u64| -> Vec<Vec<u32>> {
            let mut row = |outer: u64| {
                (0..inner)
                    .map(|inner| {
                        let bits = element(ty, &mut state);
                        let place = (start + layout.place(outer, inner)) as usize;
                        shared[place..place + ty.bytes as usize]
                            .copy_from_slice(&bits.to_le_bytes()[..ty.bytes as usize]);
                        bits
                    })
                    .collect::<Vec<u32>>()
            };
            (0..layout.outer).map(&mut row).collect()
        };
        let (a, b) = (fill(self.a, of_a, 0), fill(self.b, of_b, ROOM));
        // The fragments: a thread has rows `group` and `group + 8` of its warp's sixteen.
        let packed = 4 / self.a.bytes;
        let mut of_registers = Vec::new();
        for thread in 0..128u64 {
            let (warp, group, member) = (thread / 32, thread % 32 / 4, thread % 4);
            for register in 0..4 {
                let row = &a[(16 * warp + group + 8 * (register % 2)) as usize];
                let word = (0..packed).fold(0u32, |word, part| {
                    let inner = packed * (4 * (register / 2) + member) + part;
                    word | row[inner as usize] << (8 * self.a.bytes * part)
                });
                of_registers.push(word);
            }
        }
        let halves = self.d == "f16";
        let registers = if halves { self.n / 4 } else { self.n / 2 };
        let before: Vec<u32> = (0..128 * registers)
            .map(|_| match self.d {
                "f32" => f32::to_bits((random(&mut state) % 64) as f32 / 4.0 - 8.0),
                "f16" => element(F16, &mut state) | element(F16, &mut state) << 16,
                _ => random(&mut state) as u32,
            })
            .collect();
        let a_operand = if self.a_in_registers { "{%r10, %r11, %r12, %r13}" } else { "%rd8" };
        let descriptors = (of_a.descriptor(0), of_b.descriptor(ROOM));
        let text = ptx(&self.instruction(), registers as usize, a_operand, descriptors, &self.end(), "");
        let bench = Bench::checked(&text, CHECKS);
        let parameters = [bench.upload(&shared), bench.upload(&of_registers), bench.upload(&before)];
        bench
            .launch([1, 1, 1], [128, 1, 1], &parameters)
            .unwrap_or_else(|error| panic!("{}: {error}", self.instruction()));
        let after = bench.read_u32(parameters[2], before.len());
        let sign = if self.negated.0 == self.negated.1 { 1.0 } else { -1.0 };
        for thread in 0..128 {
            let (warp, group, member) = (thread / 32, thread % 32 / 4, thread % 4);
            for index in 0..self.n as usize / 2 {
                let (register, shift) = if halves { (index / 2, 16 * (index % 2)) } else { (index, 0) };
                let at = thread * registers as usize + register;
                let row = 16 * warp + group + 8 * (index / 2 % 2);
                let column = index / 4 * 8 + 2 * member + index % 2;
                let pairs = a[row].iter().zip(&b[column]);
                let products: f64 = pairs.map(|(a, b)| (self.a.value)(*a) * (self.b.value)(*b)).sum();
                let (old, new) = (before[at] >> shift, after[at] >> shift);
                let what = format!(
                    "{} {:?} {:?}, row {row}, column {column}",
                    self.instruction(),
                    self.swizzles,
                    self.transposed
                );
                match self.d {
                    "f32" => {
                        let start = if self.keep { f64::from(f32::from_bits(old)) } else { 0.0 };
                        assert_eq!(f32::from_bits(new), (start + sign * products) as f32, "{what}");
                    }
                    "f16" => {
                        let start = if self.keep { small_float(old & 0xffff, 5, 10) } else { 0.0 };
                        assert!(is_nearest_f16(new & 0xffff, start + sign * products), "{what}");
                    }
                    _ => {
                        let start = if self.keep { old as i32 } else { 0 };
                        assert_eq!(new as i32, start.wrapping_add(products as i32), "{what}");
                    }
                }
            }
        }
    }
}

fn all_layouts() {
    let all = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];
    for (seed, a) in all.into_iter().enumerate() {
        for b in all {
            Case { swizzles: (a, b), ..USUAL }.check(seed as u64);
            for transposed in [(true, false), (false, true), (true, true)] {
                Case { swizzles: (a, b), transposed, n: 128, ..USUAL }.check(seed as u64 + 7);
            }
        }
        Case { swizzles: (a, a), a: BF16, b: BF16, transposed: (true, true), ..USUAL }.check(seed as u64);
        Case { swizzles: (a, a), a: TF32, b: TF32, ..USUAL }.check(seed as u64);
        Case { swizzles: (a, a), a: E4M3, b: E5M2, ..USUAL }.check(seed as u64);
    }
}

/// A product of each type in every width: in one width in all ways, in the others in one.
fn widths(a: Type, b: Type, d: &'static str) -> Check {
    let integers = d == "s32";
    let all = (8..=256u64).step_by(8).filter(move |n| !integers || *n <= 32 || n % 16 == 0);
    let cases: Vec<Case> = all
        .flat_map(|n| {
            let ways: &[bool] = if n == 16 { &[false, true] } else { &[true] };
            let of_keep = |keep: bool| {
                let negated: &[(bool, bool)] = if n == 16 && !integers {
                    &[(false, false), (true, false), (true, true)]
                } else {
                    &[(false, false)]
                };
                negated.iter().flat_map(move |&negated| {
                    let in_registers: &[bool] = if n == 16 { &[false, true] } else { &[false] };
                    in_registers.iter().map(move |&a_in_registers| Case {
                        a,
                        b,
                        d,
                        n,
                        a_in_registers,
                        keep,
                        negated,
                        ..USUAL
                    })
                })
            };
            ways.iter().flat_map(|keep| of_keep(*keep)).collect::<Vec<Case>>()
        })
        .collect();
    let forms = cases.iter().map(|case| case.instruction()).collect();
    Check { forms, run: Box::new(move || cases.iter().for_each(|case| case.check(case.n))) }
}

pub fn checks() -> Vec<Check> {
    let check = |forms: Vec<String>, run: fn()| Check { forms, run: Box::new(run) };
    let named = |name: &str| format!("wgmma.{name}.sync.aligned");
    let mut checks = vec![
        check(vec![named("fence"), named("commit_group")], all_layouts),
        check(vec![named("wait_group")], what_is_read_may_not_be_written_before_the_wait),
        check(vec![format!("{}.m64n8k16.f32.f16.f16", named("mma_async"))], mistakes_are_told),
    ];
    for (a, b) in [(F16, F16), (BF16, BF16), (TF32, TF32), (E4M3, E4M3), (E4M3, E5M2), (E5M2, E4M3), (E5M2, E5M2)] {
        checks.push(widths(a, b, "f32"));
        if a.bytes == 1 || a.name == "f16" {
            checks.push(widths(a, b, "f16"));
        }
    }
    for (a, b) in [(S8, S8), (S8, U8), (U8, S8), (U8, U8)] {
        checks.push(widths(a, b, "s32"));
        for n in (8..=256u32).step_by(8).filter(|n| *n <= 32 || n % 16 == 0) {
            let start = format!("{}.m64n{n}k32", named("mma_async"));
            let (a, b) = (a.name, b.name);
            let plain = format!("{start}.s32.{a}.{b}");
            let forms = vec![format!("{plain}.satfinite"), format!("{start}.satfinite.s32.{a}.{b}")];
            checks
                .push(Check { forms: forms.clone(), run: Box::new(move || sums_saturate(&plain, &forms, n as usize)) });
        }
    }
    for n in (8..=256u32).step_by(8).filter(|n| *n <= 32 || n % 16 == 0) {
        let form = format!("{}.m64n{n}k256.s32.b1.b1.and.popc", named("mma_async"));
        checks.push(Check {
            forms: vec![form.clone()],
            run: Box::new(move || bits_that_both_have_are_counted(&form, n as usize)),
        });
    }
    checks
}

/// A kernel whose matrices have the same bytes everywhere, and the parameters for it.
fn usual(instruction: &str, n: usize, end: &str, between: &str, (shared, before): (u8, u32)) -> (Bench, [u64; 3]) {
    let layout = Layout { swizzle: Swizzle::None, transposed: false, bytes: 1, outer: 64 };
    let descriptors = (layout.descriptor(0), layout.descriptor(ROOM));
    let bench = Bench::checked(&ptx(instruction, n / 2, "%rd8", descriptors, end, between), CHECKS);
    let sums = vec![before; 128 * n / 2];
    let parameters = [bench.upload(&vec![shared; 2 * ROOM as usize]), bench.upload(&[0u32; 512]), bench.upload(&sums)];
    (bench, parameters)
}

fn sums_saturate(plain: &str, saturating: &[String], n: usize) {
    // The bytes are 3 in either type: the sum is 32 times 9, and passes the largest number.
    let large = i32::MAX as u32 - 5;
    let wrapped = (plain.to_owned(), large.wrapping_add(32 * 9));
    let all = saturating.iter().map(|instruction| (instruction.clone(), i32::MAX as u32));
    for (instruction, expected) in all.chain([wrapped]) {
        let (bench, parameters) = usual(&instruction, n, "%p2", "", (3, large));
        bench.launch([1, 1, 1], [128, 1, 1], &parameters).unwrap();
        assert!(bench.read_u32(parameters[2], 64 * n).iter().all(|sum| *sum == expected), "{instruction}");
    }
}

fn bits_that_both_have_are_counted(instruction: &str, n: usize) {
    let (bench, parameters) = usual(instruction, n, "%p2", "", (0b0101_1000, 10));
    bench.launch([1, 1, 1], [128, 1, 1], &parameters).unwrap();
    assert!(bench.read_u32(parameters[2], 64 * n).iter().all(|sum| *sum == 10 + 3 * 32), "{instruction}");
}

fn what_is_read_may_not_be_written_before_the_wait() {
    let f16 = "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16";
    let change = "bar.sync 0; setp.eq.u32 %p3, %r1, 127; mov.u32 %r20, s; @%p3 st.shared.u32 [%r20], %r1;";
    let (bench, parameters) = usual(f16, 64, "%p2, 1, 1, 0, 0", change, (0, 0));
    let kind = bench.fault(1, 128, &parameters).kind.clone();
    assert!(matches!(kind, FaultKind::Race { .. }), "{kind:?}");
    // after the wait, and a barrier, it may
    let waited = format!("wgmma.wait_group.sync.aligned 0; {change}");
    let (bench, parameters) = usual(f16, 64, "%p2, 1, 1, 0, 0", &waited, (0, 0));
    bench.launch([1, 1, 1], [128, 1, 1], &parameters).unwrap();
}

fn mistakes_are_told() {
    let f16 = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16";
    let fault = |descriptors: (u64, u64)| {
        let bench = Bench::new(&ptx(f16, 4, "%rd8", descriptors, "%p2, 1, 1, 0, 0", ""));
        let parameters =
            [bench.upload(&vec![0u8; 2 * ROOM as usize]), bench.upload(&[0u32; 512]), bench.upload(&[0u32; 128 * 4])];
        bench.fault(1, 128, &parameters).kind.clone()
    };
    assert!(matches!(fault((0, 0x3ff0 | 0x3ff0 << 32)), FaultKind::OutOfBounds { .. }));
    assert!(matches!(fault((1 << 49, 0)), FaultKind::MatrixDescriptor { .. }));
}
