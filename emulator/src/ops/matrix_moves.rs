//! Matrices between memory and the registers of a warp: `ldmatrix`, `stmatrix`, `movmatrix`, `wmma.load`, `wmma.store`.

use std::marker::PhantomData;

use super::matrix::{Element, Fragment, Shape};
use super::memory::{SHARED_BASE, Shared, SpaceAccess, Span};
use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::Cell;
use crate::program::{MemoryKind, MemoryUse, NO_SLOT, Op, Slot};
use crate::ptx::ast::Space;

// --- 8 by 8 matrices in shared memory ---

/// Set in [`Op::c`] of `ldmatrix` and `stmatrix`: the matrices are transposed, the addresses are generic.
pub(crate) const TRANSPOSED: u32 = 1;
pub(crate) const GENERIC: u32 = 2;

/// The rows of `count` matrices in host memory: those of matrix `n` are at the addresses of lanes `8 n` to `8 n + 7`.
#[inline(always)]
fn matrix_rows(warp: &mut Warp<'_>, op: &Op, count: u32, access: Access) -> Option<[*mut u8; 32]> {
    let mut addresses = warp.addresses(op);
    if op.c & GENERIC != 0 {
        addresses.iter_mut().for_each(|address| *address = address.wrapping_sub(SHARED_BASE));
    }
    let lanes = u32::MAX >> (32 - 8 * count);
    let rows = Shared::resolve(warp, op, &addresses, lanes, Span { bytes: 16, access })?;
    // A row counts as accessed by the lane that has its address.
    let kind = if access == Access::SharedStore { MemoryKind::Store } else { MemoryKind::Load };
    let memory = MemoryUse::weak(Space::Shared, 16, kind);
    warp.observe(op, &memory, &addresses, lanes).then_some(rows)
}

/// `ldmatrix`: the list of its [`Op::e`] destinations is at [`Op::d`].
struct LoadMatrices;

impl Operation for LoadMatrices {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let Some(rows) = matrix_rows(warp, op, op.e, Access::SharedLoad) else { return Next::Fault };
        for (matrix, &slot) in warp.list(op.d, op.e as usize).iter().enumerate() {
            let mut values = [0; 32];
            for (lane, value) in values.iter_mut().enumerate() {
                let (group, pair) = (lane / 4, 2 * (lane % 4));
                let half = |row: usize, column: usize| {
                    // SAFETY: `matrix_rows` found the 16 bytes of every row, aligned.
                    u32::from(unsafe { u16::load(rows[8 * matrix + row].add(2 * column)) })
                };
                *value = if op.c & TRANSPOSED == 0 {
                    half(group, pair) | half(group, pair + 1) << 16
                } else {
                    half(pair, group) | half(pair + 1, group) << 16
                };
            }
            if slot != NO_SLOT {
                warp.write_raw::<u32>(slot, &values, u32::MAX);
            }
        }
        Next::Step
    }
}

/// `stmatrix`: the list of its [`Op::e`] sources is at [`Op::d`].
struct StoreMatrices;

impl Operation for StoreMatrices {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let Some(rows) = matrix_rows(warp, op, op.e, Access::SharedStore) else { return Next::Fault };
        for (matrix, &slot) in warp.list(op.d, op.e as usize).iter().enumerate() {
            for (lane, value) in warp.read_raw::<u32>(slot).into_iter().enumerate() {
                let (group, pair) = (lane / 4, 2 * (lane % 4));
                for (part, half) in [value as u16, (value >> 16) as u16].into_iter().enumerate() {
                    let (row, column) =
                        if op.c & TRANSPOSED == 0 { (group, pair + part) } else { (pair + part, group) };
                    // SAFETY: `matrix_rows` found the 16 bytes of every row, aligned.
                    unsafe { half.store(rows[8 * matrix + row].add(2 * column)) };
                }
            }
        }
        Next::Step
    }
}

/// `movmatrix`: transposes one matrix.
struct TransposeMatrix;

impl Operation for TransposeMatrix {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let source = warp.read_raw::<u32>(op.a);
        let half = |row: usize, column: usize| source[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
        let mut values = [0; 32];
        for (lane, value) in values.iter_mut().enumerate() {
            let (group, pair) = (lane / 4, 2 * (lane % 4));
            *value = half(pair, group) | half(pair + 1, group) << 16;
        }
        warp.write_raw::<u32>(op.d, &values, u32::MAX);
        Next::Step
    }
}

/// `ldmatrix`
pub(crate) const LOAD_MATRICES: Variants = Variants::of::<LoadMatrices>();
/// `stmatrix`
pub(crate) const STORE_MATRICES: Variants = Variants::of::<StoreMatrices>();
/// `movmatrix`
pub(crate) const TRANSPOSE_MATRIX: Variants = Variants::of::<TransposeMatrix>();

// --- wmma ---

/// A fragment that `wmma.load` or `wmma.store` moves: a list in the program, before the slots of its registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) shape: Shape,
    pub(crate) which: Fragment,
    pub(crate) element: Element,
    /// Whether the columns of the matrix are contiguous, not its rows.
    pub(crate) by_column: bool,
    /// The registers of the fragment: more than its elements need, if the later ones repeat the first.
    pub(crate) registers: usize,
}

const MOVE: usize = 7;

/// For each lane, the address of the first element of its matrix, and the elements from one row (or column) to the next.
type Places = ([u64; 32], [u32; 32]);

impl Move {
    pub(crate) fn to_list(self) -> [u32; MOVE] {
        let Self { shape, which, element, by_column, registers } = self;
        let [m, n, k] = shape.to_list();
        [m, n, k, which as u32, element as u32, u32::from(by_column), registers as u32]
    }

    #[inline(always)]
    fn read(warp: &Warp<'_>, op: &Op) -> Self {
        let list = warp.list(op.d, MOVE);
        Self {
            shape: Shape::read(list),
            which: match list[3] {
                0 => Fragment::A,
                1 => Fragment::B,
                _ => Fragment::Accumulator,
            },
            element: Element::of(list[4]),
            by_column: list[5] != 0,
            registers: list[6] as usize,
        }
    }

    /// The elements from one row (or column) of the matrix to the next, if nothing else is said.
    fn tight(self) -> u32 {
        let Shape { m, n, k } = self.shape;
        let (rows, columns) = match self.which {
            Fragment::A => (m, k),
            Fragment::B => (k, n),
            Fragment::Accumulator => (m, n),
        };
        (if self.by_column { rows } else { columns }) as u32
    }

    /// The bytes of an element.
    fn bytes(self) -> u64 {
        self.element.bits() as u64 / 8
    }

    /// For each lane, the address of one of its elements.
    fn addresses(self, (base, stride): &Places, register: usize, part: usize) -> [u64; 32] {
        let mut addresses = [0; 32];
        for (lane, address) in addresses.iter_mut().enumerate() {
            let (row, column) = self.shape.place(self.which, self.element, register, part, lane);
            let (major, minor) = if self.by_column { (column, row) } else { (row, column) };
            let element = major as u64 * u64::from(stride[lane]) + minor as u64;
            *address = base[lane].wrapping_add(element * self.bytes());
        }
        addresses
    }

    /// Checks and counts the access to all elements. Says `false`, and what is wrong, if something is.
    #[inline(never)]
    fn observe<S: SpaceAccess>(self, warp: &mut Warp<'_>, op: &Op, places: &Places, kind: MemoryKind) -> bool {
        let memory = MemoryUse::weak(S::SPACE, self.bytes() as u32, kind);
        let mut all = Vec::new();
        for register in 0..self.shape.registers(self.which, self.element) {
            for part in 0..self.element.packed() {
                let addresses = self.addresses(places, register, part);
                if !warp.check(op, &memory, &addresses, u32::MAX) {
                    return false;
                }
                if warp.is_counted() {
                    all.extend(addresses);
                }
            }
        }
        warp.count_matrix(op, &memory, &all);
        true
    }

    /// The first addresses and the strides, which have to be aligned to the size of a lane's fragment, of at most 16 bytes.
    fn start(self, warp: &mut Warp<'_>, op: &Op, access: Access) -> Option<Places> {
        let base = warp.addresses(op);
        let stride = if op.b == NO_SLOT { [self.tight(); 32] } else { warp.read::<u32>(op.b) };
        let bytes = (4 * self.registers as u32).min(16);
        for lane in 0..32u32 {
            let address = base[lane as usize];
            let second = address.wrapping_add(u64::from(stride[lane as usize]) * self.bytes());
            if let Some(address) = [address, second].into_iter().find(|address| address % u64::from(bytes) != 0) {
                warp.fault(FaultKind::Misaligned { access, address, bytes }, lane);
                return None;
            }
        }
        Some((base, stride))
    }

    /// What a load and a store do first: they wait for all lanes, and check what these are to access. Gives the registers of
    /// the fragment, and where its elements are.
    #[inline(always)]
    fn begin<'a, S: SpaceAccess>(
        warp: &mut Warp<'a>,
        op: &Op,
        mask: u32,
        kind: MemoryKind,
    ) -> Result<(Self, &'a [Slot], Places), Next> {
        if mask != u32::MAX {
            return Err(Next::ConvergeWarp);
        }
        let moved = Self::read(warp, op);
        let slots = warp.list(op.d + MOVE as u32, moved.registers);
        let access = if kind == MemoryKind::Store { S::STORE } else { S::LOAD };
        let places = moved.start(warp, op, access).ok_or(Next::Fault)?;
        if warp.is_observed() && !moved.observe::<S>(warp, op, &places, kind) {
            return Err(Next::Fault);
        }
        Ok((moved, slots, places))
    }

    /// For each lane, where one of its elements is in host memory, aligned.
    #[inline(always)]
    fn resolve<S: SpaceAccess>(
        self,
        warp: &mut Warp<'_>,
        op: &Op,
        places: &Places,
        (register, part): (usize, usize),
        access: Access,
    ) -> Option<[*mut u8; 32]> {
        let addresses = self.addresses(places, register, part);
        S::resolve(warp, op, &addresses, u32::MAX, Span { bytes: self.bytes(), access })
    }
}

struct LoadFragment<S>(PhantomData<S>);

impl<S: SpaceAccess> Operation for LoadFragment<S> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (moved, slots, places) = match Move::begin::<S>(warp, op, mask, MemoryKind::Load) {
            Ok(begun) => begun,
            Err(next) => return next,
        };
        let needed = moved.shape.registers(moved.which, moved.element);
        for register in 0..needed {
            let mut values = [0u32; 32];
            for part in 0..moved.element.packed() {
                let hosts = moved.resolve::<S>(warp, op, &places, (register, part), S::LOAD);
                let Some(hosts) = hosts else { return Next::Fault };
                for (value, host) in values.iter_mut().zip(hosts) {
                    // SAFETY: `resolve` found the bytes of an element for every lane, aligned.
                    let element = unsafe {
                        match moved.bytes() {
                            1 => u32::from(u8::load(host)),
                            2 => u32::from(u16::load(host)),
                            _ => u32::load(host),
                        }
                    };
                    *value |= element << (moved.element.bits() * part);
                }
            }
            for &slot in slots.iter().skip(register).step_by(needed).filter(|slot| **slot != NO_SLOT) {
                warp.write_raw::<u32>(slot, &values, mask);
            }
        }
        Next::Step
    }
}

struct StoreFragment<S>(PhantomData<S>);

impl<S: SpaceAccess> Operation for StoreFragment<S> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (moved, slots, places) = match Move::begin::<S>(warp, op, mask, MemoryKind::Store) {
            Ok(begun) => begun,
            Err(next) => return next,
        };
        for (register, &slot) in slots.iter().enumerate() {
            let values = warp.read_raw::<u32>(slot);
            for part in 0..moved.element.packed() {
                let hosts = moved.resolve::<S>(warp, op, &places, (register, part), S::STORE);
                let Some(hosts) = hosts else { return Next::Fault };
                for (value, host) in values.iter().zip(hosts) {
                    // SAFETY: `resolve` found the bytes of an element for every lane, aligned.
                    unsafe {
                        match moved.bytes() {
                            2 => ((value >> (16 * part)) as u16).store(host),
                            _ => value.store(host),
                        }
                    }
                }
            }
        }
        Next::Step
    }
}

/// `wmma.load` and `wmma.store` in one state space.
pub(crate) fn load_fragment<S: SpaceAccess>() -> Variants {
    Variants::of::<LoadFragment<S>>()
}

/// See [`load_fragment`].
pub(crate) fn store_fragment<S: SpaceAccess>() -> Variants {
    Variants::of::<StoreFragment<S>>()
}
