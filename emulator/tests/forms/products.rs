//! `mma` of every shape and type, against products computed from whole matrices, whose elements are put into fragments
//! one by one, as the tables of the ISA place them.

use super::Check;
use super::common::{Bench, kernel};
use super::lanewise::Random;

/// A type of elements: its name, bits, and the value of one.
#[derive(Clone, Copy)]
pub struct Type {
    pub name: &'static str,
    pub bits: usize,
    pub value: fn(u32) -> f64,
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

pub const F16: Type = Type { name: "f16", bits: 16, value: |bits| ieee(bits, 5, 10) };
pub const BF16: Type = Type { name: "bf16", bits: 16, value: |bits| ieee(bits, 8, 7) };
// of 32 bits, the lower 13 do not count
pub const TF32: Type = Type { name: "tf32", bits: 32, value: |bits| ieee(bits >> 13, 8, 10) };
const E4M3: Type = Type { name: "e4m3", bits: 8, value: |bits| ieee(bits, 4, 3) };
const E5M2: Type = Type { name: "e5m2", bits: 8, value: |bits| ieee(bits, 5, 2) };
pub const S8: Type = Type { name: "s8", bits: 8, value: |bits| f64::from(bits as u8 as i8) };
pub const U8: Type = Type { name: "u8", bits: 8, value: |bits| f64::from(bits as u8) };
const S4: Type =
    Type { name: "s4", bits: 4, value: |bits| f64::from((bits & 15) as i32 - if bits & 8 != 0 { 16 } else { 0 }) };
const U4: Type = Type { name: "u4", bits: 4, value: |bits| f64::from(bits & 15) };
const B1: Type = Type { name: "b1", bits: 1, value: |bits| f64::from(bits & 1) };
pub const F32: Type = Type { name: "f32", bits: 32, value: |bits| f64::from(f32::from_bits(bits)) };
pub const S32: Type = Type { name: "s32", bits: 32, value: |bits| f64::from(bits as i32) };

impl Type {
    /// A random element: of a floating-point type, one of a moderate size.
    fn random(self, random: &mut Random) -> u32 {
        let bits = random.next() as u32;
        let sign = bits & 1;
        match self.name {
            "f16" => sign << 15 | (12 + (bits >> 1) % 6) << 10 | bits >> 10 & 0x3ff,
            "bf16" => sign << 15 | (124 + (bits >> 1) % 6) << 7 | bits >> 10 & 0x7f,
            "tf32" | "f32" => sign << 31 | (124 + (bits >> 1) % 6) << 23 | bits >> 5 & 0x7f_ffff,
            "e4m3" => (sign << 7) | ((bits >> 1) % 0x7f),
            "e5m2" => (sign << 7) | ((bits >> 1) % 0x50),
            "s32" => bits << 1 ^ random.next() as u32,
            _ => bits & ((1 << self.bits) - 1),
        }
    }

    /// What a result of this type may be: exactly so, or within one rounding, given the sum of all magnitudes.
    pub fn is_near(self, found: u32, sum: f64, size: f64) -> bool {
        if self.name == "f16" && sum.abs() >= 65520.0 {
            // beyond the largest number
            return found == if sum > 0.0 { 0x7c00 } else { 0xfc00 };
        }
        let half_ulp = if self.bits == 16 { 2f64.powi(-11) } else { 2f64.powi(-24) };
        let bound = sum.abs() * half_ulp * 1.000_001 + size * 1e-14 + 2f64.powi(-25) * f64::from(self.bits == 16);
        ((self.value)(found) - sum).abs() <= bound
    }
}

/// A matrix of bits.
pub struct Matrix {
    pub columns: usize,
    pub bits: Vec<u32>,
}

impl Matrix {
    pub fn random(ty: Type, rows: usize, columns: usize, random: &mut Random) -> Self {
        Self { columns, bits: (0..rows * columns).map(|_| ty.random(random)).collect() }
    }

    pub fn at(&self, row: usize, column: usize) -> u32 {
        self.bits[row * self.columns + column]
    }

    /// Makes some sums pass the limits of 32 bits.
    pub fn reach_limits(&mut self) {
        (0..16).for_each(|at| self.bits[at] = if at % 2 == 0 { i32::MAX as u32 } else { i32::MIN as u32 });
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

pub fn names(first: usize, count: usize) -> String {
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

/// One `mma`: its opcode, shape, and the types of D, A, B and C.
#[derive(Clone)]
struct Product {
    opcode: String,
    shape: (usize, usize, usize),
    types: [Type; 4],
}

/// A, B, C and the result of one product.
struct Run {
    a: Matrix,
    b: Matrix,
    c: Matrix,
    d: Matrix,
}

impl Product {
    fn run(&self, seed: u64) -> Run {
        let ((m, n, k), [d_type, a_type, b_type, c_type]) = (self.shape, self.types);
        let mut random = Random::new(seed);
        let a = Matrix::random(a_type, m, k, &mut random);
        let b = Matrix::random(b_type, k, n, &mut random);
        let mut c = Matrix::random(c_type, m, n, &mut random);
        if d_type.name == "s32" && a_type.bits > 1 {
            c.reach_limits();
        }
        let registers = |ty: Type, elements: usize| elements * ty.bits / 32 / 32;
        let counts = [registers(a_type, m * k), registers(b_type, k * n), registers(c_type, m * n)];
        let results = registers(d_type, m * n);
        let [d_names, a_names, b_names, c_names] =
            [(24, results), (0, counts[0]), (8, counts[1]), (16, counts[2])].map(|(first, count)| names(first, count));
        let instruction = format!("{} {{{d_names}}}, {{{a_names}}}, {{{b_names}}}, {{{c_names}}};", self.opcode);
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

    /// Each element of the result, against the sum over the row of A and the column of B.
    fn check(&self, seed: u64) {
        let ((m, n, k), [d_type, a_type, b_type, c_type]) = (self.shape, self.types);
        let run = self.run(seed);
        let mut limited = 0;
        for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let (start, found) = (run.c.at(row, column), run.d.at(row, column));
            let of = format!("{} [{row}, {column}] is {found:#x}", self.opcode);
            if a_type.bits == 1 {
                let one = |inner: &usize| {
                    let (a, b) = (run.a.at(row, *inner) == 1, run.b.at(*inner, column) == 1);
                    if self.opcode.contains("xor") { a != b } else { a && b }
                };
                assert_eq!(found, start.wrapping_add((0..k).filter(one).count() as u32), "{of}");
                continue;
            }
            let products =
                (0..k).map(|inner| (a_type.value)(run.a.at(row, inner)) * (b_type.value)(run.b.at(inner, column)));
            if d_type.name == "s32" {
                let sum = i64::from(start as i32) + products.sum::<f64>() as i64;
                let kept = sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
                limited += u32::from(kept != sum);
                let expected = if self.opcode.contains("satfinite") { kept } else { sum };
                assert_eq!(found, expected as u32, "{of}");
                continue;
            }
            let start = (c_type.value)(start);
            let (sum, size) = products.fold((start, start.abs()), |(sum, size), p| (sum + p, size + p.abs()));
            // one rounding to the type of the result, and none worth the name before it
            assert!(d_type.is_near(found, sum, size), "{of}, expected {sum}");
        }
        assert!(limited > 0 || d_type.name != "s32" || a_type.bits == 1, "no sum passes 32 bits");
    }
}

pub fn checks() -> Vec<Check> {
    let mut products = Vec::new();
    let mut add = |(m, n, k): (usize, usize, usize), middle: &str, types: [Type; 4], behind: &str| {
        let [d, a, b, c] = types.map(|ty| ty.name);
        let opcode = format!("mma.sync.aligned.m{m}n{n}k{k}.row.col{middle}.{d}.{a}.{b}.{c}{behind}");
        products.push(Product { opcode, shape: (m, n, k), types });
    };
    for k in [8, 16] {
        add((16, 8, k), "", [F32, F16, F16, F32], "");
        add((16, 8, k), "", [F16, F16, F16, F16], "");
        add((16, 8, k), "", [F32, BF16, BF16, F32], "");
        add((16, 8, k / 2), "", [F32, TF32, TF32, F32], "");
    }
    for a in [E4M3, E5M2] {
        for b in [E4M3, E5M2] {
            for sum in [F32, F16] {
                add((16, 8, 16), "", [sum, a, b, sum], "");
                add((16, 8, 32), "", [sum, a, b, sum], "");
                add((16, 8, 32), ".kind::f8f6f4", [sum, a, b, sum], "");
            }
        }
    }
    for (shapes, kinds) in
        [([(8, 8, 16), (16, 8, 16), (16, 8, 32)], [S8, U8]), ([(8, 8, 32), (16, 8, 32), (16, 8, 64)], [S4, U4])]
    {
        for shape in shapes {
            for a in kinds {
                for b in kinds {
                    add(shape, "", [S32, a, b, S32], "");
                    add(shape, ".satfinite", [S32, a, b, S32], "");
                }
            }
        }
    }
    for shape in [(8, 8, 128), (16, 8, 128), (16, 8, 256)] {
        add(shape, "", [S32, B1, B1, S32], ".and.popc");
        add(shape, "", [S32, B1, B1, S32], ".xor.popc");
    }
    let check = |product: Product| Check {
        forms: vec![product.opcode.clone()],
        run: Box::new(move || (1..=6).for_each(|seed| product.check(seed))),
    };
    products.into_iter().map(check).collect()
}
