//! Products of small matrices that a warp holds together: `mma` and `wmma`.
//!
//! All 32 lanes execute these as one; what some lanes alone would do is undefined, and a fault here. Products of
//! integers are exact, and their sum wraps, or saturates where the instruction says so, once at the end. For floating
//! point the ISA leaves open how sums are rounded. Here the products are exact, they are added to the accumulator in
//! double precision, in the order of the inner dimension, and the sum is rounded once to the type of the result. The
//! hardware keeps fewer bits: its results may differ by about 1e-4 of the sum of the magnitudes of the products.
//!
//! In which lane and register an element is, the ISA says for `mma`; `wmma` uses the same places for tiles of its
//! matrices, which is what the hardware does with its accumulators.

use super::convert::{from_bf16, from_f16, to_f16};
use super::float::canonical;
use super::fp8::{from_e4m3, from_e5m2};
use super::half::odd;
use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::program::{NO_SLOT, Op, Slot};

/// The type of an element of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    E4m3,
    E5m2,
    S8,
    U8,
    S4,
    U4,
    B1,
    F32,
    S32,
}

impl Element {
    const ALL: [Self; 12] = [
        Self::F16,
        Self::Bf16,
        Self::Tf32,
        Self::E4m3,
        Self::E5m2,
        Self::S8,
        Self::U8,
        Self::S4,
        Self::U4,
        Self::B1,
        Self::F32,
        Self::S32,
    ];

    pub(super) fn of(number: u32) -> Self {
        Self::ALL[number as usize % Self::ALL.len()]
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "bf16" => Self::Bf16,
            "tf32" => Self::Tf32,
            "e4m3" => Self::E4m3,
            "e5m2" => Self::E5m2,
            "s8" => Self::S8,
            "u8" => Self::U8,
            "s4" => Self::S4,
            "u4" => Self::U4,
            "b1" => Self::B1,
            "f32" => Self::F32,
            "s32" => Self::S32,
            _ => return None,
        })
    }

    pub(crate) fn bits(self) -> usize {
        match self {
            Self::B1 => 1,
            Self::S4 | Self::U4 => 4,
            Self::E4m3 | Self::E5m2 | Self::S8 | Self::U8 => 8,
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 | Self::F32 | Self::S32 => 32,
        }
    }

    /// How many elements one register holds.
    pub(crate) fn packed(self) -> usize {
        32 / self.bits()
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::S8 | Self::U8 | Self::S4 | Self::U4 | Self::S32)
    }
}

/// The dimensions of a product: A is `m` by `k`, B is `k` by `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

impl Shape {
    /// As numbers in a list of the program.
    pub(super) fn to_list(self) -> [u32; 3] {
        [self.m as u32, self.n as u32, self.k as u32]
    }

    #[inline(always)]
    pub(super) fn read(list: &[u32]) -> Self {
        Self { m: list[0] as usize, n: list[1] as usize, k: list[2] as usize }
    }

    /// Registers of a lane that hold A, B, and an accumulator.
    pub(crate) fn registers(self, which: Fragment, element: Element) -> usize {
        let elements = match which {
            Fragment::A => self.m * self.k,
            Fragment::B => self.k * self.n,
            Fragment::Accumulator => self.m * self.n,
        };
        elements / 32 / element.packed()
    }

    /// The row and column of an element: number `part` of those that register `register` of a lane holds.
    #[inline(always)]
    pub(super) fn place(
        self,
        which: Fragment,
        element: Element,
        register: usize,
        part: usize,
        lane: usize,
    ) -> (usize, usize) {
        let (group, member, packed) = (lane / 4, lane % 4, element.packed());
        match which {
            Fragment::A => {
                let rows = self.m.min(16);
                let of_block = rows * self.k / (32 * packed);
                let (block, register) = (register / of_block, register % of_block);
                let (half, step) = if rows == 16 { (register & 1, register >> 1) } else { (0, register) };
                (16 * block + 8 * half + group, packed * (4 * step + member) + part)
            }
            Fragment::B => {
                let of_block = self.k / (4 * packed);
                let (block, step) = (register / of_block, register % of_block);
                (packed * (4 * step + member) + part, 8 * block + group)
            }
            Fragment::Accumulator => {
                let index = register * packed + part;
                let column = 2 * member + (index & 1);
                if self.m == 8 {
                    return (group, 8 * (index >> 1) + column);
                }
                let (tile, row) = (index / 4, group + 8 * (index >> 1 & 1));
                if self.m == 32 { (row + 16 * tile, column) } else { (row, column + 8 * tile) }
            }
        }
    }
}

/// One of the matrices of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Fragment {
    A,
    B,
    Accumulator,
}

/// The rows and columns that a matrix has at most, but for the inner dimension of a product of integers.
const MOST: usize = 32;
const MOST_INTEGER_K: usize = 64;

/// Takes a fragment apart: converts the bits of each element, and puts it where it is in the matrix.
#[inline(always)]
fn unpack<T: Copy + Default, const ROWS: usize, const COLUMNS: usize>(
    warp: &Warp<'_>,
    (shape, which, element): (Shape, Fragment, Element),
    slots: &[Slot],
    matrix: &mut [[T; COLUMNS]; ROWS],
    convert: impl Fn(u32) -> T,
) {
    let (bits, packed) = (element.bits(), element.packed());
    for (register, &slot) in slots.iter().enumerate() {
        let row = warp.read_raw::<u32>(slot);
        for part in 0..packed {
            // All lanes at once, which the compiler makes vectors of.
            let mut converted = [T::default(); 32];
            for (converted, value) in converted.iter_mut().zip(row) {
                *converted = convert(value >> (bits * part));
            }
            for (lane, value) in converted.into_iter().enumerate() {
                let (row, column) = shape.place(which, element, register, part, lane);
                matrix[row % ROWS][column % COLUMNS] = value;
            }
        }
    }
}

/// Puts a fragment together from what `get(row, column)` says.
#[inline(always)]
fn pack(
    warp: &mut Warp<'_>,
    (shape, which, element): (Shape, Fragment, Element),
    slots: &[Slot],
    get: impl Fn(usize, usize) -> u32,
) {
    let (bits, packed) = (element.bits(), element.packed());
    for (register, &slot) in slots.iter().enumerate() {
        if slot == NO_SLOT {
            continue;
        }
        let mut values = [0u32; 32];
        for part in 0..packed {
            for (lane, value) in values.iter_mut().enumerate() {
                let (row, column) = shape.place(which, element, register, part, lane);
                *value |= get(row, column) << (bits * part);
            }
        }
        warp.write_raw::<u32>(slot, &values, u32::MAX);
    }
}

/// A product as the decoder describes it: a list in the program, which [`Product::read`] reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) shape: Shape,
    pub(crate) d: Element,
    pub(crate) a: Element,
    pub(crate) b: Element,
    pub(crate) c: Element,
    pub(crate) saturate: bool,
    /// Of bits: whether they are combined by exclusive or, and not by and.
    pub(crate) exclusive: bool,
}

/// The numbers that describe a product, before its slots: those of D, A, B and C.
const PRODUCT: usize = 9;

impl Product {
    pub(crate) fn to_list(self) -> [u32; PRODUCT] {
        let Self { shape, d, a, b, c, saturate, exclusive } = self;
        let [m, n, k] = shape.to_list();
        [m, n, k, d as u32, a as u32, b as u32, c as u32, u32::from(saturate), u32::from(exclusive)]
    }

    #[inline(always)]
    fn read(warp: &Warp<'_>, op: &Op) -> Self {
        let list = warp.list(op.d, PRODUCT);
        Self {
            shape: Shape::read(list),
            d: Element::of(list[3]),
            a: Element::of(list[4]),
            b: Element::of(list[5]),
            c: Element::of(list[6]),
            saturate: list[7] != 0,
            exclusive: list[8] != 0,
        }
    }

    /// The registers of D, A, B and C.
    pub(crate) fn registers(self) -> [usize; 4] {
        [
            self.shape.registers(Fragment::Accumulator, self.d),
            self.shape.registers(Fragment::A, self.a),
            self.shape.registers(Fragment::B, self.b),
            self.shape.registers(Fragment::Accumulator, self.c),
        ]
    }

    #[inline(always)]
    fn slots<'a>(self, warp: &Warp<'a>, op: &Op) -> [&'a [Slot]; 4] {
        let counts = self.registers();
        let all = warp.list(op.d + PRODUCT as u32, counts.iter().sum());
        let (d, rest) = all.split_at(counts[0]);
        let (a, rest) = rest.split_at(counts[1]);
        let (b, c) = rest.split_at(counts[2]);
        [d, a, b, c]
    }
}

/// The value of an element that is a floating-point number.
#[inline(always)]
pub(super) fn float(element: Element, bits: u32) -> f32 {
    match element {
        Element::F16 => from_f16(bits as u16),
        Element::Bf16 => from_bf16(bits as u16),
        // The hardware reads the upper 19 bits.
        Element::Tf32 => f32::from_bits(bits & 0xffff_e000),
        Element::E4m3 => from_e4m3(bits as u8),
        Element::E5m2 => from_e5m2(bits as u8),
        _ => f32::from_bits(bits),
    }
}

/// A matrix of at most 32 rows and columns of floating-point numbers.
type Floats = [[f64; MOST]; MOST];

/// Reads a fragment of floating-point numbers into a matrix. (A matrix that is returned would be copied, which takes
/// longer than all else.)
#[inline(always)]
fn floats(warp: &Warp<'_>, (shape, which, element): (Shape, Fragment, Element), slots: &[Slot], matrix: &mut Floats) {
    // One loop a type: the type is not asked for each element.
    macro_rules! each {
        ($($element:ident)*) => {
            match element {
                $(Element::$element => {
                    unpack(warp, (shape, which, Element::$element), slots, matrix, |bits| f64::from(float(Element::$element, bits)));
                })*
                _ => {}
            }
        };
    }
    each!(F16 Bf16 Tf32 E4m3 E5m2 F32);
}

/// The numbers of all lanes in the lower and in the upper halves of a register.
#[inline(always)]
fn halves(warp: &Warp<'_>, slot: Slot, element: Element, parts: &mut [[f64; 32]; 2]) {
    let row = warp.read_raw::<u32>(slot);
    for (n, numbers) in parts.iter_mut().enumerate() {
        // In two steps: a vector has twice as many numbers of single precision.
        let mut singles = [0.0; 32];
        for (single, value) in singles.iter_mut().zip(row) {
            *single = float(element, value >> (16 * n));
        }
        for (number, single) in numbers.iter_mut().zip(singles) {
            *number = f64::from(single);
        }
    }
}

/// Adds `a` times each of `b`.
#[inline(always)]
fn add_times(sums: &mut [f64; 8], a: f64, b: &[f64; 8]) {
    for (sum, b) in sums.iter_mut().zip(b) {
        // The product is exact, so it does not matter that this is fused.
        *sum = a.mul_add(*b, *sum);
    }
}

/// The order in which [`multiply_halves`] has the columns of B and of the sums: a lane has those side by side in registers of
/// their own.
const COLUMNS: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// The product of most kernels: 16 by 8 `STEPS` numbers of 16 bits times as many by 8, added to f32. It does what the loops
/// over any shape do; but where each element is is known here, so that none is looked for.
#[inline(always)]
fn multiply_halves<const STEPS: usize>(warp: &mut Warp<'_>, op: &Op, product: Product, element: Element) {
    let [d, a, b, c] = product.slots(warp, op);
    // Two registers a step: rows 0 to 7, and 8 to 15.
    let mut of_a = [[[[0.0; 32]; 2]; 2]; STEPS];
    for (slot, parts) in a.iter().zip(of_a.as_flattened_mut()) {
        halves(warp, *slot, element, parts);
    }
    let mut of_b = [[[0.0; 8]; 8]; STEPS];
    for (slot, rows) in b.iter().zip(&mut of_b) {
        let mut parts = [[0.0; 32]; 2];
        halves(warp, *slot, element, &mut parts);
        for (k, row) in rows.iter_mut().enumerate() {
            for (n, number) in row.iter_mut().enumerate() {
                *number = parts[k % 2][4 * COLUMNS[n] + k / 2];
            }
        }
    }
    let mut sums = [[[0; 32]; 2]; 2];
    for (slot, sums) in c.iter().zip(sums.as_flattened_mut()) {
        *sums = warp.read_raw::<u32>(*slot);
    }
    for (half, [even, odd]) in sums.iter_mut().enumerate() {
        for row in 0..8 {
            let first = 4 * row;
            let mut of_row = [0.0; 8];
            for t in 0..4 {
                of_row[t] = f64::from(f32::from_bits(even[first + t]));
                of_row[4 + t] = f64::from(f32::from_bits(odd[first + t]));
            }
            for (a, b) in of_a.iter().zip(&of_b) {
                let [lower, upper] = &a[half];
                for t in 0..4 {
                    add_times(&mut of_row, lower[first + t], &b[2 * t]);
                    add_times(&mut of_row, upper[first + t], &b[2 * t + 1]);
                }
            }
            for t in 0..4 {
                even[first + t] = canonical(of_row[t] as f32).to_bits();
                odd[first + t] = canonical(of_row[4 + t] as f32).to_bits();
            }
        }
    }
    for (&slot, sums) in d.iter().zip(sums.as_flattened()).filter(|(slot, _)| **slot != NO_SLOT) {
        warp.write_raw::<u32>(slot, sums, u32::MAX);
    }
}

/// Multiplies matrices of any shape.
#[inline(always)]
fn multiply_floats(warp: &mut Warp<'_>, op: &Op, product: Product) {
    let (shape, [d, a, b, c]) = (product.shape, product.slots(warp, op));
    let (mut of_a, mut of_b, mut sums): (Floats, Floats, Floats) =
        ([[0.0; MOST]; MOST], [[0.0; MOST]; MOST], [[0.0; MOST]; MOST]);
    floats(warp, (shape, Fragment::A, product.a), a, &mut of_a);
    floats(warp, (shape, Fragment::B, product.b), b, &mut of_b);
    floats(warp, (shape, Fragment::Accumulator, product.c), c, &mut sums);
    for (sums, a) in sums.iter_mut().zip(&of_a).take(shape.m) {
        for (n, sums) in sums.as_chunks_mut::<8>().0.iter_mut().enumerate().take(shape.n / 8) {
            for (a, b) in a.iter().zip(&of_b).take(shape.k) {
                add_times(sums, *a, &b.as_chunks().0[n]);
            }
        }
    }
    let fragment = (shape, Fragment::Accumulator, product.d);
    if product.d == Element::F16 {
        pack(warp, fragment, d, |row, column| u32::from(to_f16(odd(sums[row % MOST][column % MOST]))));
    } else {
        pack(warp, fragment, d, |row, column| canonical(sums[row % MOST][column % MOST] as f32).to_bits());
    }
}

/// `mma` of floating-point numbers.
struct MultiplyFloats;

impl Operation for MultiplyFloats {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let product = Product::read(warp, op);
        let (shape, sums) = (product.shape, [product.c, product.d]);
        let usual = (shape.m, shape.n) == (16, 8) && product.a == product.b && sums == [Element::F32; 2];
        // One copy a type: the type is not asked for each element.
        match (product.a, shape.k) {
            (Element::F16, 16) if usual => multiply_halves::<2>(warp, op, product, Element::F16),
            (Element::F16, 8) if usual => multiply_halves::<1>(warp, op, product, Element::F16),
            (Element::Bf16, 16) if usual => multiply_halves::<2>(warp, op, product, Element::Bf16),
            (Element::Bf16, 8) if usual => multiply_halves::<1>(warp, op, product, Element::Bf16),
            _ => multiply_floats(warp, op, product),
        }
        Next::Step
    }
}

/// The value of an element that is an integer.
#[inline(always)]
pub(super) fn integer(element: Element, bits: u32) -> i32 {
    match element {
        Element::S8 => i32::from(bits as i8),
        Element::U8 => i32::from(bits as u8),
        Element::S4 => (bits << 28) as i32 >> 28,
        Element::U4 => (bits & 15) as i32,
        _ => bits as i32,
    }
}

/// `mma` of integers.
struct MultiplyIntegers;

impl Operation for MultiplyIntegers {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let product = Product::read(warp, op);
        let (shape, [d, a_slots, b_slots, c_slots]) = (product.shape, product.slots(warp, op));
        let (mut a, mut b, mut c) = ([[0; MOST_INTEGER_K]; MOST], [[0; MOST]; MOST_INTEGER_K], [[0; MOST]; MOST]);
        unpack(warp, (shape, Fragment::A, product.a), a_slots, &mut a, |bits| integer(product.a, bits));
        unpack(warp, (shape, Fragment::B, product.b), b_slots, &mut b, |bits| integer(product.b, bits));
        unpack(warp, (shape, Fragment::Accumulator, product.c), c_slots, &mut c, |bits| bits as i32);
        let k = shape.k.min(MOST_INTEGER_K);
        for (c, a) in c.iter_mut().zip(&a).take(shape.m) {
            for first in (0..shape.n.min(MOST)).step_by(8) {
                let mut sums = [0i32; 8];
                for (a, b) in a.iter().zip(&b).take(k) {
                    for (sum, b) in sums.iter_mut().zip(&b[first..first + 8]) {
                        *sum += a * b;
                    }
                }
                for (c, sum) in c[first..first + 8].iter_mut().zip(sums) {
                    *c = if product.saturate { c.saturating_add(sum) } else { c.wrapping_add(sum) };
                }
            }
        }
        let fragment = (shape, Fragment::Accumulator, product.d);
        pack(warp, fragment, d, |row, column| c[row % MOST][column % MOST] as u32);
        Next::Step
    }
}

/// Counts the ones that the rows of A and the columns of B have in common (or that only one of them has), for 128 bits of
/// each, and adds them: `a` and `b` are the registers of these bits, the sums those of the even and of the odd columns.
#[inline(always)]
fn count_ones(a: &[u32; 32], b: &[u32; 32], [even, odd]: &mut [[u32; 32]; 2], combine: impl Fn(u32, u32) -> u32) {
    for (row, a) in a.as_chunks::<4>().0.iter().enumerate() {
        for (column, b) in b.as_chunks::<4>().0.iter().enumerate() {
            let ones: u32 = a.iter().zip(b).map(|(a, b)| combine(*a, *b).count_ones()).sum();
            let sums = if column % 2 == 0 { &mut *even } else { &mut *odd };
            let sum = &mut sums[4 * row + column / 2];
            *sum = sum.wrapping_add(ones);
        }
    }
}

/// `mma` of single bits.
struct MultiplyBits;

impl Operation for MultiplyBits {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let product = Product::read(warp, op);
        let [d, a, b, c] = product.slots(warp, op);
        // Rows 0 to 7, and 8 to 15 where there are so many.
        let halves = a.len() / b.len();
        for half in 0..halves {
            let mut sums = [0, 1].map(|n| warp.read_raw::<u32>(c[2 * half + n]));
            for (step, b) in b.iter().enumerate() {
                let (a, b) = (warp.read_raw::<u32>(a[halves * step + half]), warp.read_raw::<u32>(*b));
                if product.exclusive {
                    count_ones(&a, &b, &mut sums, |a, b| a ^ b);
                } else {
                    count_ones(&a, &b, &mut sums, |a, b| a & b);
                }
            }
            for (slot, sums) in d[2 * half..].iter().zip(&sums).filter(|(slot, _)| **slot != NO_SLOT) {
                warp.write_raw::<u32>(*slot, sums, u32::MAX);
            }
        }
        Next::Step
    }
}

/// The operation of a product; the list with the product and its slots is at [`Op::d`].
pub(crate) fn multiply(product: Product) -> Variants {
    match product.a {
        Element::B1 => Variants::of::<MultiplyBits>(),
        element if element.is_integer() => Variants::of::<MultiplyIntegers>(),
        _ => Variants::of::<MultiplyFloats>(),
    }
}
