//! `mma`, `wmma`, `ldmatrix`, `stmatrix` and `movmatrix` against products computed from whole matrices, whose elements
//! are put into fragments one by one, as the tables of the ISA place them.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, FaultKind};

/// Random numbers that are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

/// A type of elements: its name, bits, a random element, and the value of one.
#[derive(Clone, Copy)]
struct Type {
    name: &'static str,
    bits: usize,
    value: fn(u32) -> f64,
}

/// A binary floating-point number with so many bits of exponent and fraction.
fn ieee(bits: u32, exponent_bits: u32, fraction_bits: u32) -> f64 {
    let negative = bits >> (exponent_bits + fraction_bits) & 1 == 1;
    let exponent = (bits >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1u32 << fraction_bits);
    let bias = (1 << (exponent_bits - 1)) - 1;
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(1 - bias),
        _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
    };
    if negative { -magnitude } else { magnitude }
}

const F16: Type = Type { name: "f16", bits: 16, value: |bits| ieee(bits, 5, 10) };
const BF16: Type = Type { name: "bf16", bits: 16, value: |bits| ieee(bits, 8, 7) };
// of 32 bits, the lower 13 do not count
const TF32: Type = Type { name: "tf32", bits: 32, value: |bits| ieee(bits >> 13, 8, 10) };
const E4M3: Type = Type { name: "e4m3", bits: 8, value: |bits| ieee(bits, 4, 3) };
const E5M2: Type = Type { name: "e5m2", bits: 8, value: |bits| ieee(bits, 5, 2) };
const S8: Type = Type { name: "s8", bits: 8, value: |bits| f64::from(bits as u8 as i8) };
const U8: Type = Type { name: "u8", bits: 8, value: |bits| f64::from(bits as u8) };
const S4: Type =
    Type { name: "s4", bits: 4, value: |bits| f64::from((bits & 15) as i32 - if bits & 8 != 0 { 16 } else { 0 }) };
const U4: Type = Type { name: "u4", bits: 4, value: |bits| f64::from(bits & 15) };
const B1: Type = Type { name: "b1", bits: 1, value: |bits| f64::from(bits & 1) };
const F32: Type = Type { name: "f32", bits: 32, value: |bits| f64::from(f32::from_bits(bits)) };
const S32: Type = Type { name: "s32", bits: 32, value: |bits| f64::from(bits as i32) };

impl Type {
    /// A random element: of a floating-point type, one of a moderate size.
    fn random(self, random: &mut Random) -> u32 {
        let bits = random.next();
        let sign = bits & 1;
        match self.name {
            "f16" => sign << 15 | (12 + (bits >> 1) % 6) << 10 | bits >> 10 & 0x3ff,
            "bf16" => sign << 15 | (124 + (bits >> 1) % 6) << 7 | bits >> 10 & 0x7f,
            "tf32" | "f32" => sign << 31 | (124 + (bits >> 1) % 6) << 23 | bits >> 5 & 0x7f_ffff,
            "e4m3" => (sign << 7) | ((bits >> 1) % 0x7f),
            "e5m2" => (sign << 7) | ((bits >> 1) % 0x50),
            "s32" => bits << 1 ^ random.next(),
            _ => bits & ((1 << self.bits) - 1),
        }
    }
}

/// A matrix of bits.
struct Matrix {
    columns: usize,
    bits: Vec<u32>,
}

impl Matrix {
    fn random(ty: Type, rows: usize, columns: usize, random: &mut Random) -> Self {
        Self { columns, bits: (0..rows * columns).map(|_| ty.random(random)).collect() }
    }

    fn at(&self, row: usize, column: usize) -> u32 {
        self.bits[row * self.columns + column]
    }
}

/// The registers of all lanes, from where each element is: `place(lane, i)` for element `i` of a lane's.
fn fragment(ty: Type, registers: usize, matrix: &Matrix, place: impl Fn(usize, usize) -> (usize, usize)) -> Vec<u32> {
    let packed = 32 / ty.bits;
    let mut words = vec![0; 32 * registers];
    for lane in 0..32 {
        for i in 0..registers * packed {
            let (row, column) = place(lane, i);
            words[lane * registers + i / packed] |= matrix.at(row, column) << (ty.bits * (i % packed));
        }
    }
    words
}

/// Where element `i` of a lane is in A of an `mma`, by the tables of the ISA.
fn a_place(ty: Type, (m, k): (usize, usize), lane: usize, i: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    match (ty.bits, m, k) {
        (32, 16, 4) => (group + 8 * i, member),
        (32, 16, 8) => (group + 8 * (i % 2), member + 4 * (i / 2)),
        (16, 16, 8) => (if i < 2 { group } else { group + 8 }, member * 2 + (i & 1)),
        (16, 16, 16) => {
            let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
            (row, member * 2 + (i & 1) + if i >= 4 { 8 } else { 0 })
        }
        (8, 8, 16) => (group, member * 4 + i),
        (8, 16, 16) => (if i < 4 { group } else { group + 8 }, member * 4 + (i & 3)),
        (8, 16, 32) => {
            let row = if i < 4 || (8..12).contains(&i) { group } else { group + 8 };
            (row, member * 4 + (i & 3) + if i >= 8 { 16 } else { 0 })
        }
        (4, 8, 32) => (group, member * 8 + i),
        (4, 16, 32) => (if i < 8 { group } else { group + 8 }, member * 8 + (i & 7)),
        (4, 16, 64) => {
            let row = if i < 8 || (16..24).contains(&i) { group } else { group + 8 };
            (row, member * 8 + (i & 7) + if i >= 16 { 32 } else { 0 })
        }
        (1, 8, 128) => (group, member * 32 + i),
        (1, 16, 128) => (if i < 32 { group } else { group + 8 }, member * 32 + (i & 31)),
        (1, 16, 256) => {
            let row = if i < 32 || (64..96).contains(&i) { group } else { group + 8 };
            (row, member * 32 + (i & 31) + if i >= 64 { 128 } else { 0 })
        }
        other => panic!("{other:?}"),
    }
}

fn b_place(ty: Type, k: usize, lane: usize, i: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    let row = match (ty.bits, k) {
        (32, 4) => member,
        (32, 8) => member + 4 * i,
        (16, 8) => member * 2 + i,
        (16, 16) => member * 2 + (i & 1) + if i >= 2 { 8 } else { 0 },
        (8, 16) => member * 4 + i,
        (8, 32) => member * 4 + (i & 3) + if i >= 4 { 16 } else { 0 },
        (4, 32) => member * 8 + i,
        (4, 64) => member * 8 + (i & 7) + if i >= 8 { 32 } else { 0 },
        (1, 128) => member * 32 + i,
        (1, 256) => member * 32 + (i & 31) + if i >= 32 { 128 } else { 0 },
        other => panic!("{other:?}"),
    };
    (row, group)
}

fn c_place(lane: usize, i: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    (if i < 2 { group } else { group + 8 }, member * 2 + (i & 1))
}

fn names(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("%r{n}")).collect::<Vec<_>>().join(", ")
}

/// A kernel in which each lane loads `counts` registers from as many parameters, executes `instruction` on `%r0`, `%r8`
/// and `%r16` onwards, and stores `%r24` onwards through the last parameter.
fn fragments_kernel(counts: [usize; 3], results: usize, instruction: &str) -> String {
    let mut body = String::from("mov.u32 %r31, %tid.x;\n");
    for (n, count) in counts.into_iter().enumerate() {
        body +=
            &format!("ld.param.u64 %rd1, [p{n}]; mul.wide.u32 %rd2, %r31, {}; add.u64 %rd1, %rd1, %rd2;\n", 4 * count);
        for word in 0..count {
            body += &format!("ld.global.u32 %r{}, [%rd1+{}];\n", 8 * n + word, 4 * word);
        }
    }
    for word in 0..results {
        body += &format!("mov.u32 %r{}, 0xdeadbeef;\n", 24 + word);
    }
    body += instruction;
    body +=
        &format!("\nld.param.u64 %rd1, [p3]; mul.wide.u32 %rd2, %r31, {}; add.u64 %rd1, %rd1, %rd2;\n", 4 * results);
    for word in 0..results {
        body += &format!("st.global.u32 [%rd1+{}], %r{};\n", 4 * word, 24 + word);
    }
    kernel(4, "", &(body + "ret;"))
}

/// Runs one `mma` and gives its result as a function of row and column, with A, B and C.
struct Run {
    a: Matrix,
    b: Matrix,
    c: Matrix,
    d: Matrix,
}

///
/// `modifier` stands before the types (`.satfinite`), or after them, if it combines bits (`.and.popc`).
fn mma((m, n, k): (usize, usize, usize), types: [Type; 4], modifier: &str, seed: u64) -> Run {
    let [d_type, a_type, b_type, c_type] = types;
    let mut random = Random(seed);
    let a = Matrix::random(a_type, m, k, &mut random);
    let b = Matrix::random(b_type, k, n, &mut random);
    let mut c = Matrix::random(c_type, m, n, &mut random);
    let (saturate, combine) = if modifier.ends_with("popc") { ("", modifier) } else { (modifier, "") };
    if !saturate.is_empty() || d_type.name == "s32" {
        // some sums pass the limits of 32 bits
        (0..16).for_each(|at| c.bits[at] = if at % 2 == 0 { i32::MAX as u32 } else { i32::MIN as u32 });
    }
    let registers = |ty: Type, elements: usize| elements * ty.bits / 32 / 32;
    let counts = [registers(a_type, m * k), registers(b_type, k * n), registers(c_type, m * n)];
    let results = registers(d_type, m * n);
    let instruction = format!(
        "mma.sync.aligned.m{m}n{n}k{k}.row.col{saturate}.{}.{}.{}.{}{combine} {{{}}}, {{{}}}, {{{}}}, {{{}}};",
        d_type.name,
        a_type.name,
        b_type.name,
        c_type.name,
        names(24, results),
        names(0, counts[0]),
        names(8, counts[1]),
        names(16, counts[2])
    );
    let bench = Bench::new(&fragments_kernel(counts, results, &instruction));
    let of_a = bench.upload(&fragment(a_type, counts[0], &a, |lane, i| a_place(a_type, (m, k), lane, i)));
    let of_b = bench.upload(&fragment(b_type, counts[1], &b, |lane, i| b_place(b_type, k, lane, i)));
    let of_c = bench.upload(&fragment(c_type, counts[2], &c, c_place));
    let out = bench.upload(&vec![0xffff_ffffu32; 32 * results]);
    bench.launch([1, 1, 1], [32, 1, 1], &[of_a, of_b, of_c, out]).unwrap_or_else(|e| panic!("{instruction}: {e}"));
    let words = bench.read_u32(out, 32 * results);
    let mut d = Matrix { columns: n, bits: vec![0; m * n] };
    let packed = 32 / d_type.bits;
    for lane in 0..32 {
        for i in 0..results * packed {
            let (row, column) = c_place(lane, i);
            let word = words[lane * results + i / packed] >> (d_type.bits * (i % packed));
            d.bits[row * n + column] = if d_type.bits == 16 { word & 0xffff } else { word };
        }
    }
    Run { a, b, c, d }
}

#[test]
fn products_of_floating_point_numbers() {
    let cases = [
        ((16, 8, 16), [F32, F16, F16, F32]),
        ((16, 8, 16), [F32, BF16, BF16, F32]),
        ((16, 8, 16), [F16, F16, F16, F16]),
        ((16, 8, 8), [F32, F16, F16, F32]),
        ((16, 8, 8), [F16, F16, F16, F16]),
        ((16, 8, 8), [F32, BF16, BF16, F32]),
        ((16, 8, 8), [F32, TF32, TF32, F32]),
        ((16, 8, 4), [F32, TF32, TF32, F32]),
        ((16, 8, 32), [F32, E4M3, E4M3, F32]),
        ((16, 8, 32), [F32, E4M3, E5M2, F32]),
        ((16, 8, 32), [F32, E5M2, E4M3, F32]),
        ((16, 8, 32), [F16, E5M2, E5M2, F16]),
        ((16, 8, 16), [F32, E4M3, E4M3, F32]),
    ];
    for (case, ((m, n, k), types)) in cases.into_iter().enumerate() {
        let run = mma((m, n, k), types, "", case as u64 + 1);
        for row in 0..m {
            for column in 0..n {
                let mut sum = (types[3].value)(run.c.at(row, column));
                let mut size = sum.abs();
                for inner in 0..k {
                    let product = (types[1].value)(run.a.at(row, inner)) * (types[2].value)(run.b.at(inner, column));
                    sum += product;
                    size += product.abs();
                }
                let found = (types[0].value)(run.d.at(row, column));
                // one rounding to the type of the result, and none worth the name before it
                let half_ulp = if types[0].bits == 16 { 2f64.powi(-11) } else { 2f64.powi(-24) };
                let bound =
                    sum.abs() * half_ulp * 1.000_001 + size * 1e-14 + 2f64.powi(-25) * f64::from(types[0].bits == 16);
                assert!((found - sum).abs() <= bound, "{case}: [{row}, {column}] is {found}, expected {sum}");
            }
        }
    }
}

#[test]
fn products_of_integers_are_exact() {
    let mut case = 100;
    let shapes = [(16, 8, 32, [S8, U8]), (16, 8, 16, [S8, U8]), (16, 8, 64, [S4, U4]), (16, 8, 32, [S4, U4])];
    let shapes = shapes.into_iter().chain([(8, 8, 16, [S8, U8]), (8, 8, 32, [S4, U4])]);
    for (m, n, k, kinds) in shapes {
        for (a, b, saturate) in [
            (0, 0, ""),
            (0, 1, ""),
            (1, 0, ""),
            (1, 1, ""),
            (0, 0, ".satfinite"),
            (1, 1, ".satfinite"),
            (0, 1, ".satfinite"),
            (1, 0, ".satfinite"),
        ] {
            case += 1;
            let (a, b) = (kinds[a], kinds[b]);
            let run = mma((m, n, k), [S32, a, b, S32], saturate, case);
            let mut limited = 0;
            for row in 0..m {
                for column in 0..n {
                    let product = |inner| (a.value)(run.a.at(row, inner)) * (b.value)(run.b.at(inner, column));
                    let sum = i64::from(run.c.at(row, column) as i32) + (0..k).map(product).sum::<f64>() as i64;
                    let kept = sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
                    limited += u32::from(kept != sum);
                    let expected = if saturate.is_empty() { sum as i32 } else { kept as i32 };
                    let found = run.d.at(row, column) as i32;
                    assert_eq!(found, expected, "{m} {n} {k} {}.{}{saturate} [{row}, {column}]", a.name, b.name);
                }
            }
            assert!(limited > 0, "no sum passes 32 bits");
        }
    }
}

#[test]
fn products_of_bits_count_ones() {
    let mut case = 200;
    for (m, n, k) in [(8, 8, 128), (16, 8, 128), (16, 8, 256)] {
        for (combine, exclusive) in [(".and.popc", false), (".xor.popc", true)] {
            case += 1;
            let run = mma((m, n, k), [S32, B1, B1, S32], combine, case);
            for row in 0..m {
                for column in 0..n {
                    let one = |inner| {
                        let (a, b) = (run.a.at(row, inner) == 1, run.b.at(inner, column) == 1);
                        if exclusive { a != b } else { a && b }
                    };
                    let ones = (0..k).filter(|inner| one(*inner)).count() as i32;
                    assert!((16..k as i32 - 16).contains(&ones), "the bits are not random");
                    let expected = (run.c.at(row, column) as i32).wrapping_add(ones);
                    assert_eq!(run.d.at(row, column) as i32, expected, "{m} {n} {k} {combine} [{row}, {column}]");
                }
            }
        }
    }
}

#[test]
fn infinities_and_nan_go_through_a_product() {
    let mut counts = [vec![0u32; 32 * 4], vec![0u32; 32 * 2], vec![0u32; 32 * 4]];
    // A: row 0 has +inf at column 0, row 1 NaN at column 0; B: column 0 is 1 in row 0, column 1 is 0
    counts[0][0] = 0x7c00;
    counts[0][4 * 4] = 0x7e00;
    counts[1][0] = 0x3c00;
    let instruction =
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r24, %r25, %r26, %r27}, {%r0, %r1, %r2, %r3},
         {%r8, %r9}, {%r16, %r17, %r18, %r19};";
    let bench = Bench::new(&fragments_kernel([4, 2, 4], 4, instruction));
    let parameters: Vec<u64> = counts.iter().map(|words| bench.upload(words)).collect();
    let out = bench.upload(&vec![5u32; 32 * 4]);
    bench.launch([1, 1, 1], [32, 1, 1], &[parameters[0], parameters[1], parameters[2], out]).unwrap();
    let words = bench.read_u32(out, 32 * 4);
    assert_eq!(words[0], f32::INFINITY.to_bits());
    // infinity times zero
    assert_eq!(words[1], 0x7fff_ffff);
    assert_eq!((words[16], words[17]), (0x7fff_ffff, 0x7fff_ffff));
    assert!(words[32..].iter().all(|word| *word == 0));
}

/// Shared memory filled with its own 16-bit indices, then `body`, then `%r9` to `%r12` stored.
fn matrices(body: &str) -> (Bench, u64) {
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; mov.u32 %r3, 0;
         FILL: shl.b32 %r4, %r3, 5; add.u32 %r4, %r4, %r1; shl.b32 %r5, %r4, 16; shl.b32 %r6, %r4, 1; shl.b32 %r4, %r4, 2;
         add.u32 %r4, %r4, %r2; shl.b32 %r5, %r6, 16; add.u32 %r5, %r5, 0x10000; or.b32 %r5, %r5, %r6;
         st.shared.u32 [%r4], %r5; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 16; @%p1 bra FILL; bar.sync 0;
         mov.u32 %r9, 7; mov.u32 %r10, 7; mov.u32 %r11, 7; mov.u32 %r12, 7;
         {body}
         ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 16; add.u64 %rd1, %rd1, %rd2;
         st.global.v4.u32 [%rd1], {{%r9, %r10, %r11, %r12}}; ret;"
    );
    let bench = Bench::new(&kernel(1, ".shared .align 16 .b8 s[2048];", &text));
    let out = bench.upload(&[5u32; 128]);
    (bench, out)
}

/// The address of the row of `%r1`'s lane: rows are 48 bytes apart, in an order of their own.
const ROWS: &str = "xor.b32 %r7, %r1, 5; mul.lo.u32 %r7, %r7, 48; add.u32 %r7, %r7, %r2; add.u32 %r7, %r7, 16;";

/// The 16-bit index in shared memory of an element of a row there.
fn row_start(lane: usize) -> usize {
    ((lane ^ 5) * 48 + 16) / 2
}

#[test]
fn matrices_are_loaded() {
    for count in [1usize, 2, 4] {
        for transposed in [false, true] {
            for space in [".shared", ".shared::cta", ""] {
                let registers: Vec<String> = (0..count).map(|n| format!("%r{}", 9 + n)).collect();
                let trans = if transposed { ".trans" } else { "" };
                // only the lanes of the rows that are read have addresses
                let address = if space.is_empty() {
                    "cvt.u64.u32 %rd3, %r7; cvta.shared.u64 %rd3, %rd3;"
                } else {
                    "cvt.u64.u32 %rd3, %r7;"
                };
                let (bench, out) = matrices(&format!(
                    "{ROWS} setp.ge.u32 %p2, %r1, {}; @%p2 mov.u32 %r7, 3; {address}
                     ldmatrix.sync.aligned.m8n8.x{count}{trans}{space}.b16 {{{}}}, [%rd3];",
                    8 * count,
                    registers.join(", ")
                ));
                bench.launch([1, 1, 1], [32, 1, 1], &[out]).unwrap();
                let words = bench.read_u32(out, 128);
                for lane in 0..32 {
                    for matrix in 0..4 {
                        let element = |row: usize, column: usize| (row_start(8 * matrix + row) + column) as u32;
                        let (group, pair) = (lane / 4, 2 * (lane % 4));
                        let expected = match (matrix < count, transposed) {
                            (false, _) => 7,
                            (_, false) => element(group, pair) | element(group, pair + 1) << 16,
                            (_, true) => element(pair, group) | element(pair + 1, group) << 16,
                        };
                        assert_eq!(words[4 * lane + matrix], expected, "x{count}{trans}{space} lane {lane} {matrix}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_loaded_matrix_has_to_lie_in_shared_memory() {
    let load = |change: &str| {
        let (bench, out) =
            matrices(&format!("{ROWS} {change} ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r9, %r10}}, [%r7];"));
        bench.fault(1, 32, &[out])
    };
    let fault = load("setp.eq.u32 %p2, %r1, 11; @%p2 add.u32 %r7, %r7, 8;");
    assert_eq!(fault.thread, [11, 0, 0]);
    assert!(matches!(fault.kind, FaultKind::Misaligned { access: Access::SharedLoad, bytes: 16, .. }), "{fault}");
    let fault = load("setp.eq.u32 %p2, %r1, 13; @%p2 mov.u32 %r7, 2048;");
    assert_eq!(fault.thread, [13, 0, 0]);
    let expected = FaultKind::OutOfBounds { access: Access::SharedLoad, address: 2048, bytes: 16, nearest: None };
    assert_eq!(fault.kind, expected);
    assert_eq!(fault.instruction, "ldmatrix.sync.aligned.m8n8.x2.shared.b16");
}

#[test]
fn a_warp_executes_them_as_a_whole() {
    // half of the lanes, while the other half ends
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7];"
    ));
    assert_eq!(bench.fault(1, 32, &[out]).kind, FaultKind::PartialWarp { lanes: 0xffff });
    // half of the lanes, while the other half waits for these at a barrier
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7]; bar.sync 0;"
    ));
    assert_eq!(bench.fault(1, 32, &[out]).kind, FaultKind::WarpDeadlock { mask: u32::MAX });
    // a warp of 24 threads
    let (bench, out) = matrices(&format!("{ROWS} ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7];"));
    assert_eq!(bench.fault(1, 24, &[out]).kind, FaultKind::PartialWarp { lanes: 0xff_ffff });
    // two instructions
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 bra LOW; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7]; bra JOIN;
         LOW: ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7]; JOIN:"
    ));
    let kind = bench.fault(1, 32, &[out]).kind;
    assert!(matches!(kind, FaultKind::PartialWarp { lanes: 0xffff | 0xffff_0000 }), "{kind:?}");
    // lanes that come one after the other wait for the rest
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 bra JOIN; mov.u32 %r8, 1; mov.u32 %r8, 2; bra JOIN;
         JOIN: ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7];"
    ));
    bench.launch([1, 1, 1], [32, 1, 1], &[out]).unwrap();
    assert_eq!(bench.read_u32(out, 1)[0], row_start(0) as u32 | (row_start(0) as u32 + 1) << 16);
}

#[test]
fn matrices_are_stored_and_transposed() {
    for transposed in [false, true] {
        let trans = if transposed { ".trans" } else { "" };
        // each lane stores its number and the matrix's, then reads back one row of 8 elements
        let (bench, out) = matrices(&format!(
            "shl.b32 %r20, %r1, 8; add.u32 %r21, %r20, 0x10001; or.b32 %r20, %r20, 0; shl.b32 %r22, %r20, 16;
             or.b32 %r9, %r20, %r22; add.u32 %r9, %r9, 0x10000; add.u32 %r10, %r9, 0x20002; add.u32 %r11, %r9, 0x40004;
             add.u32 %r12, %r9, 0x60006; {ROWS}
             stmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 [%r7], {{%r9, %r10, %r11, %r12}}; bar.warp.sync -1;
             ld.shared.v4.u32 {{%r9, %r10, %r11, %r12}}, [%r7];"
        ));
        bench.launch([1, 1, 1], [32, 1, 1], &[out]).unwrap();
        let words = bench.read_u32(out, 128);
        for lane in 0..32 {
            let (matrix, row) = (lane / 8, lane % 8);
            for column in 0..8 {
                let (row, column_of) = if transposed { (column, row) } else { (row, column) };
                let holder = 4 * row + column_of / 2;
                let expected = ((holder << 8) | (2 * matrix) | (column_of % 2)) as u32;
                let found = words[4 * lane + column / 2] >> (16 * (column % 2)) & 0xffff;
                assert_eq!(found, expected, "{trans} lane {lane} column {column}");
            }
        }
    }
    let (bench, out) = matrices(
        "shl.b32 %r20, %r1, 1; shl.b32 %r21, %r20, 16; or.b32 %r20, %r20, %r21; add.u32 %r20, %r20, 0x10000;
         movmatrix.sync.aligned.m8n8.trans.b16 %r9, %r20;",
    );
    bench.launch([1, 1, 1], [32, 1, 1], &[out]).unwrap();
    for (lane, words) in bench.read_u32(out, 128).chunks(4).enumerate() {
        // element (row, column) is 8 row + column before
        let (row, column) = (lane / 4, 2 * (lane % 4));
        assert_eq!(words[0], (8 * column + row) as u32 | ((8 * (column + 1) + row) as u32 * 65536));
    }
}

/// `wmma` from matrices in memory to one in memory.
#[test]
fn products_from_and_to_memory() {
    let shapes = [(16, 16, 16), (32, 8, 16), (8, 32, 16)];
    let types = [(F16, F32), (F16, F16), (BF16, F32), (S8, S32), (U8, S32)];
    let cases = shapes.into_iter().flat_map(|shape| types.map(|types| (shape, types)));
    for (case, ((m, n, k), (ty, sum_type))) in cases.chain([((16, 16, 8), (TF32, F32))]).enumerate() {
        let by_column = |bit: usize| case >> bit & 1 == 1;
        let mut random = Random(case as u64 + 1000);
        let a = Matrix::random(ty, m, k, &mut random);
        let b = Matrix::random(ty, k, n, &mut random);
        let c = Matrix::random(sum_type, m, n, &mut random);
        // leading dimensions longer than the rows
        let bytes = |ty: Type, matrix: &Matrix, rows: usize, by_column: bool| {
            let columns = matrix.columns;
            let stride = if by_column { rows } else { columns } + 32;
            let mut bytes = vec![0xee; stride * if by_column { columns } else { rows } * ty.bits / 8];
            for row in 0..rows {
                for column in 0..columns {
                    let at = if by_column { column * stride + row } else { row * stride + column } * ty.bits / 8;
                    bytes[at..at + ty.bits / 8].copy_from_slice(&matrix.at(row, column).to_le_bytes()[..ty.bits / 8]);
                }
            }
            (bytes, stride)
        };
        let layout = |by_column: bool| if by_column { "col" } else { "row" };
        let (a_bytes, a_stride) = bytes(ty, &a, m, by_column(0));
        let (b_bytes, b_stride) = bytes(ty, &b, k, by_column(1));
        let (c_bytes, c_stride) = bytes(sum_type, &c, m, by_column(2));
        let count = |elements: usize| elements * ty.bits / 1024;
        let (of_a, of_b) = if ty.name == "f16" { (8, 8) } else { (count(m * k), count(k * n)) };
        let of_c = m * n * sum_type.bits / 1024;
        let shape = format!("m{m}n{n}k{k}");
        let product = match ty.name {
            "f16" => format!("{0}.{0}", sum_type.name),
            name => format!("{0}.{name}.{name}.{0}", sum_type.name),
        };
        let text = format!(
            "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2]; ld.param.u64 %rd4, [p3];
             wmma.load.a.sync.aligned.{la}.{shape}.global.{t} {{{ra}}}, [%rd1], {a_stride};
             wmma.load.b.sync.aligned.{lb}.{shape}.{t} {{{rb}}}, [%rd2], {b_stride};
             wmma.load.c.sync.aligned.{lc}.{shape}.global.{s} {{{rc}}}, [%rd3], {c_stride};
             wmma.mma.sync.aligned.{la}.{lb}.{shape}.{product} {{{rd}}}, {{{ra}}}, {{{rb}}}, {{{rc}}};
             wmma.store.d.sync.aligned.row.{shape}.global.{s} [%rd4], {{{rd}}}; ret;",
            la = layout(by_column(0)),
            lb = layout(by_column(1)),
            lc = layout(by_column(2)),
            t = ty.name,
            s = sum_type.name,
            ra = names(0, of_a),
            rb = names(8, of_b),
            rc = names(16, of_c),
            rd = names(24, of_c),
        );
        let bench = Bench::new(&kernel(4, "", &text));
        let parameters = [bench.upload(&a_bytes), bench.upload(&b_bytes), bench.upload(&c_bytes)];
        let out = bench.upload(&vec![0xffu8; m * n * sum_type.bits / 8]);
        bench.launch([1, 1, 1], [32, 1, 1], &[parameters[0], parameters[1], parameters[2], out]).unwrap();
        let words = bench.read_u32(out, m * n * sum_type.bits / 32);
        for row in 0..m {
            for column in 0..n {
                let at = row * n + column;
                let found = if sum_type.bits == 16 { words[at / 2] >> (16 * (at % 2)) & 0xffff } else { words[at] };
                let product = |inner| (ty.value)(a.at(row, inner)) * (ty.value)(b.at(inner, column));
                let sum = (sum_type.value)(c.at(row, column)) + (0..k).map(product).sum::<f64>();
                if sum_type.name == "s32" {
                    assert_eq!(found, sum as i64 as u32, "{text} [{row}, {column}]");
                    continue;
                }
                let bound = sum.abs() * if sum_type.bits == 16 { 2f64.powi(-11) } else { 2f64.powi(-24) } + 1e-6;
                let found = (sum_type.value)(found);
                assert!((found - sum).abs() <= bound, "{text} [{row}, {column}]: {found}, expected {sum}");
            }
        }
    }
}
