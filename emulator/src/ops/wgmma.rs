//! Products of matrices that four warps hold together: `wgmma`.
//!
//! Each of the four warps holds 16 of the 64 rows of the sum, and computes them by itself, when it issues the instruction:
//! nothing may be read of the sum before the wait, so nobody can tell. What it reads of shared memory counts as read until
//! then: who changes it before the wait races with it. Rounding is that of `mma`: the products are exact, their sum is in
//! double precision, and rounded once.

use super::convert::to_f16;
use super::float::canonical;
use super::half::odd;
use super::matrix::{Element, float, integer};
use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::Cell;
use crate::program::{MemoryKind, MemoryUse, Op, Slot};
use crate::ptx::ast::Space;

/// What a warp has read for products that it has not waited for, if it is observed.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pending: Vec<Read>,
    committed: u32,
}

/// Pieces of 16 bytes that one product read.
#[derive(Debug)]
struct Read {
    group: u32,
    pieces: Vec<u64>,
}

impl Reads {
    /// Forgets everything, for another block.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.committed = 0;
    }
}

/// A product as the decoder describes it: numbers in a list of the program, before its slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// The columns of B. A has 64 rows.
    pub(crate) n: u32,
    pub(crate) d: Element,
    pub(crate) a: Element,
    pub(crate) b: Element,
    /// Whether A is in registers.
    pub(crate) a_in_registers: bool,
    pub(crate) saturate: bool,
    /// Whether A and B are negated.
    pub(crate) negated: [bool; 2],
    /// Whether rows of A, and columns of B, are next to one another, and not the elements of the inner dimension.
    pub(crate) transposed: [bool; 2],
}

/// The numbers of a [`Product`].
const NUMBERS: usize = 6;

/// Bytes of the inner dimension of A and B, whatever their type.
const INNER_BYTES: usize = 32;

/// Registers that hold A, if registers do.
pub(crate) const A_REGISTERS: usize = 4;

impl Product {
    pub(crate) fn to_list(self) -> [u32; NUMBERS] {
        let bits = [self.a_in_registers, self.saturate]
            .into_iter()
            .chain(self.negated)
            .chain(self.transposed)
            .enumerate()
            .fold(0, |bits, (place, bit)| bits | u32::from(bit) << place);
        [self.n, self.d as u32, self.a as u32, self.b as u32, bits, 0]
    }

    fn read(list: &[u32]) -> Self {
        let bit = |place: u32| list[4] >> place & 1 != 0;
        Self {
            n: list[0],
            d: Element::of(list[1]),
            a: Element::of(list[2]),
            b: Element::of(list[3]),
            a_in_registers: bit(0),
            saturate: bit(1),
            negated: [bit(2), bit(3)],
            transposed: [bit(4), bit(5)],
        }
    }

    /// The registers of the sum.
    pub(crate) fn d_registers(self) -> usize {
        self.n as usize / (2 * self.d.packed())
    }
}

/// What a descriptor says of a matrix in shared memory.
struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    /// Pieces of 16 bytes in a row of the pattern by which they change places: 2, 4 or 8, or 1 for none.
    pieces: u64,
}

impl Descriptor {
    fn new(bits: u64) -> Option<Self> {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        // An offset of the pattern is for matrices that do not begin where it does.
        let base_offset = bits >> 49 & 7;
        let pieces = [1, 8, 4, 2][(bits >> 62) as usize];
        (base_offset == 0).then_some(Self { start: field(0), leading: field(16), stride: field(32), pieces })
    }

    /// Where the byte at `inner` of the inner dimension is, of row `outer` of A or column `outer` of B; or, if these are next
    /// to one another, the byte at `outer` of number `inner`.
    fn address(&self, outer: u64, inner: u64, transposed: bool) -> u64 {
        let linear = if transposed {
            let (piece, within) = (outer / 16, outer % 16);
            let (brick, row) = (inner / 8, inner % 8);
            within
                + match self.pieces {
                    1 => piece * self.stride + row * 16 + brick * self.leading,
                    pieces => {
                        piece % pieces * 16 + piece / pieces * self.leading + row * pieces * 16 + brick * self.stride
                    }
                }
        } else {
            let (piece, within) = (inner / 16, inner % 16);
            let step = if self.pieces == 1 { self.leading } else { 16 };
            outer % 8 * self.pieces * 16 + outer / 8 * self.stride + piece * step + within
        };
        let address = self.start + linear;
        address ^ (address >> 7 & (self.pieces - 1)) << 4
    }
}

/// `wgmma.mma_async`: [`Op::d`] is the list of the product, the slots of the sum and those of A; [`Op::a`] and [`Op::b`] are the
/// slots of the descriptors; and [`Op::c`] is the predicate that the sum begins with what it is, and not with zero, negated if
/// [`Op::e`] is 1.
struct Multiply;

impl Operation for Multiply {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        if multiply(warp, op).is_some() { Next::Step } else { Next::Fault }
    }
}

/// A matrix by rows of A or columns of B, and the inner dimension.
type Matrix = Vec<Vec<u32>>;

#[inline(never)]
fn multiply(warp: &mut Warp<'_>, op: &Op) -> Option<()> {
    let product = Product::read(warp.list(op.d, NUMBERS));
    let slots = warp.list(op.d + NUMBERS as u32, product.d_registers() + A_REGISTERS);
    let (d_slots, a_slots) = slots.split_at(product.d_registers());
    let predicate = warp.predicate(op.c);
    let predicate = if op.e == 1 { !predicate } else { predicate };
    // The rows of the four warps follow one another.
    let first_row = u64::from(warp.thread(0).1 % 4 * 16);
    let mut pieces = Vec::new();
    let a = if product.a_in_registers {
        from_registers(warp, product.a, a_slots)
    } else {
        let descriptor = descriptor(warp, op.a)?;
        matrix(warp, &descriptor, (product.a, product.transposed[0]), first_row..first_row + 16, &mut pieces)?
    };
    let descriptor_of_b = descriptor(warp, op.b)?;
    let columns = 0..u64::from(product.n);
    let b = matrix(warp, &descriptor_of_b, (product.b, product.transposed[1]), columns, &mut pieces)?;
    if warp.is_observed() {
        pieces.sort_unstable();
        pieces.dedup();
        let committed = warp.wgmma_reads().committed;
        if !observe(warp, op, &pieces) {
            return None;
        }
        warp.wgmma_reads().pending.push(Read { group: committed, pieces });
    }
    let negative = product.negated[0] != product.negated[1];
    let packed = product.d.packed();
    for (register, &slot) in d_slots.iter().enumerate() {
        let old = warp.read_raw::<u32>(slot);
        let mut new = [0u32; 32];
        for (lane, new) in new.iter_mut().enumerate() {
            let keep = predicate >> lane & 1 != 0;
            for part in 0..packed {
                let index = register * packed + part;
                let column = index / 4 * 8 + lane % 4 * 2 + index % 2;
                let row = lane / 4 + 8 * (index / 2 % 2);
                let before = if keep { old[lane] >> (product.d.bits() * part) } else { 0 };
                *new |= sum(product, before, &a[row], &b[column], negative) << (product.d.bits() * part);
            }
        }
        warp.write_raw::<u32>(slot, &new, u32::MAX);
    }
    Some(())
}

/// An element of the sum.
fn sum(product: Product, before: u32, a: &[u32], b: &[u32], negative: bool) -> u32 {
    let pairs = a.iter().zip(b);
    match (product.a, product.d) {
        (Element::B1, _) => pairs.fold(before, |sum, (a, b)| sum.wrapping_add((a & b).count_ones())),
        (_, Element::S32) => {
            let products = pairs.map(|(a, b)| i64::from(integer(product.a, *a)) * i64::from(integer(product.b, *b)));
            let sum = i64::from(before as i32) + products.sum::<i64>();
            if product.saturate { sum.clamp(i32::MIN.into(), i32::MAX.into()) as u32 } else { sum as u32 }
        }
        (_, d) => {
            let products = pairs.map(|(a, b)| f64::from(float(product.a, *a)) * f64::from(float(product.b, *b)));
            let all: f64 = products.sum();
            let sum = f64::from(float(d, before)) + if negative { -all } else { all };
            if d == Element::F16 { u32::from(to_f16(odd(sum))) } else { canonical(sum as f32).to_bits() }
        }
    }
}

/// A descriptor, which is the same in all lanes.
fn descriptor(warp: &mut Warp<'_>, slot: Slot) -> Option<Descriptor> {
    let row = warp.read::<u64>(slot);
    let lane = (1..32).find(|&lane| row[lane] != row[0]);
    let descriptor = Descriptor::new(row[0]).filter(|_| lane.is_none());
    if descriptor.is_none() {
        let lane = lane.unwrap_or(0);
        warp.fault(FaultKind::MatrixDescriptor { descriptor: row[lane] }, lane as u32);
    }
    descriptor
}

/// Rows of A that a warp holds in registers.
fn from_registers(warp: &Warp<'_>, element: Element, slots: &[Slot]) -> Matrix {
    let (bits, packed) = (element.bits(), element.packed());
    let mut rows = vec![vec![0; INNER_BYTES * 8 / bits]; 16];
    for (register, &slot) in slots.iter().enumerate() {
        for (lane, value) in warp.read_raw::<u32>(slot).into_iter().enumerate() {
            let row = &mut rows[lane / 4 + 8 * (register % 2)];
            for part in 0..packed {
                row[packed * (4 * (register / 2) + lane % 4) + part] = low_bits(value >> (bits * part), bits);
            }
        }
    }
    rows
}

fn low_bits(value: u32, bits: usize) -> u32 {
    value & u32::MAX >> (32 - bits)
}

/// Rows or columns of a matrix in shared memory. Bits come eight at a time.
fn matrix(
    warp: &mut Warp<'_>,
    descriptor: &Descriptor,
    (element, transposed): (Element, bool),
    outer: std::ops::Range<u64>,
    pieces: &mut Vec<u64>,
) -> Option<Matrix> {
    let bytes = (element.bits() / 8).max(1) as u64;
    let window = warp.shared();
    let observed = warp.is_observed();
    let mut rows = Vec::new();
    for outer in outer {
        let mut row = Vec::new();
        for inner in 0..INNER_BYTES as u64 / bytes {
            let address = match transposed {
                true => descriptor.address(outer * bytes, inner, true),
                false => descriptor.address(outer, inner * bytes, false),
            };
            if !window.contains(address, bytes) {
                let access = Access::SharedLoad;
                warp.fault(FaultKind::OutOfBounds { access, address, bytes: bytes as u32, nearest: None }, 0);
                return None;
            }
            let host = window.host.wrapping_add(address as usize);
            // SAFETY: the bytes are in the shared memory of the block, and descriptors hold multiples of 16.
            row.push(unsafe {
                match bytes {
                    1 => u32::from(u8::load(host)),
                    2 => u32::from(u16::load(host)),
                    _ => u32::load(host),
                }
            });
            if observed {
                pieces.push(address & !15);
            }
        }
        rows.push(row);
    }
    Some(rows)
}

/// Checks that pieces of shared memory are read. Says `false` if something is wrong.
fn observe(warp: &mut Warp<'_>, op: &Op, pieces: &[u64]) -> bool {
    let memory = MemoryUse::weak(Space::Shared, 16, MemoryKind::Load);
    pieces.chunks(32).all(|some| {
        let mut addresses = [0; 32];
        addresses[..some.len()].copy_from_slice(some);
        warp.observe(op, &memory, &addresses, u32::MAX >> (32 - some.len()))
    })
}

/// `wgmma.commit_group`
struct Commit;

impl Operation for Commit {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, _: u32) -> Next {
        let reads = warp.wgmma_reads();
        reads.committed = reads.committed.saturating_add(1);
        Next::Step
    }
}

/// `wgmma.wait_group`: all but the latest groups, whose number is [`Op::immediate`].
struct WaitGroup;

impl Operation for WaitGroup {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let latest = u32::try_from(op.immediate).unwrap_or(u32::MAX);
        let reads = warp.wgmma_reads();
        let end = reads.committed.saturating_sub(latest);
        let done: Vec<Read> = reads.pending.extract_if(.., |read| read.group < end).collect();
        // They are read still, so nobody may have written there.
        if done.iter().all(|read| observe(warp, op, &read.pieces)) { Next::Step } else { Next::Fault }
    }
}

/// `wgmma.mma_async`
pub(crate) const MULTIPLY: Variants = Variants::of::<Multiply>();
/// `wgmma.commit_group`
pub(crate) const COMMIT: Variants = Variants::of::<Commit>();
/// `wgmma.wait_group`
pub(crate) const WAIT_GROUP: Variants = Variants::of::<WaitGroup>();
