//! Accesses to global memory of more values than an operation has places for: 32 bytes at once, and atomic operations
//! on vectors, of which each element is one by itself.

use std::sync::atomic::{Ordering, fence};

use super::convert::{from_bf16, from_f16, to_bf16, to_f16};
use super::float::{canonical, flush, max, min};
use super::half::{add_bf16, add_f16, each_half};
use super::memory::{Global, ORDERED, SpaceAccess, Span};
use super::{Lane, Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::Access;
use crate::memory::Cell;
use crate::program::{NO_SLOT, Op};

/// `ld.global` of 32 bytes, to the registers in the list at [`Op::d`].
struct LoadWide<const LONG: bool>;

impl<const LONG: bool> Operation for LoadWide<LONG> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if LONG { load::<u64, 4>(warp, op, mask) } else { load::<u32, 8>(warp, op, mask) }
    }
}

#[inline(always)]
fn load<T: Lane<Raw = T> + Cell + Default, const N: usize>(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    let addresses = warp.addresses(op);
    let span = Span { bytes: 32, access: Access::GlobalLoad };
    let Some(hosts) = Global::resolve(warp, op, &addresses, mask, span) else { return Next::Fault };
    for (n, &slot) in warp.list(op.d, N).iter().enumerate() {
        let mut values = [T::default(); 32];
        for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
            // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
            values[lane] = unsafe { T::load(hosts[lane].add(n * size_of::<T>())) };
        }
        if slot != NO_SLOT {
            warp.write_raw::<T>(slot, &values, mask);
        }
    }
    if op.window & ORDERED != 0 {
        fence(Ordering::SeqCst);
    }
    Next::Step
}

/// `st.global` of 32 bytes, from the registers in the list at [`Op::d`].
struct StoreWide<const LONG: bool>;

impl<const LONG: bool> Operation for StoreWide<LONG> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if LONG { store::<u64, 4>(warp, op, mask) } else { store::<u32, 8>(warp, op, mask) }
    }
}

#[inline(always)]
fn store<T: Lane<Raw = T> + Cell, const N: usize>(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    let addresses = warp.addresses(op);
    let span = Span { bytes: 32, access: Access::GlobalStore };
    let Some(hosts) = Global::resolve(warp, op, &addresses, mask, span) else { return Next::Fault };
    if op.window & ORDERED != 0 {
        fence(Ordering::SeqCst);
    }
    for (n, &slot) in warp.list(op.d, N).iter().enumerate() {
        let values = warp.read_raw::<T>(slot);
        for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
            // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
            unsafe { values[lane].store(hosts[lane].add(n * size_of::<T>())) };
        }
    }
    Next::Step
}

/// `ld` or `st` of four values of 64 bits, or eight of 32.
pub(crate) fn access(load: bool, long: bool) -> Variants {
    match (load, long) {
        (true, true) => Variants::of::<LoadWide<true>>(),
        (true, false) => Variants::of::<LoadWide<false>>(),
        (false, true) => Variants::of::<StoreWide<true>>(),
        (false, false) => Variants::of::<StoreWide<false>>(),
    }
}

/// What an atomic operation on vectors does with an element. Its number is in [`Op::b`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Update {
    AddF32,
    AddF16,
    MinF16,
    MaxF16,
    AddBf16,
    MinBf16,
    MaxBf16,
    AddF16x2,
    MinF16x2,
    MaxF16x2,
    AddBf16x2,
    MinBf16x2,
    MaxBf16x2,
}

impl Update {
    const ALL: [Self; 13] = [
        Self::AddF32,
        Self::AddF16,
        Self::MinF16,
        Self::MaxF16,
        Self::AddBf16,
        Self::MinBf16,
        Self::MaxBf16,
        Self::AddF16x2,
        Self::MinF16x2,
        Self::MaxF16x2,
        Self::AddBf16x2,
        Self::MinBf16x2,
        Self::MaxBf16x2,
    ];

    /// The one of an operation and a type: `add`, `f32`.
    pub(crate) fn parse(operation: &str, ty: &str) -> Option<Self> {
        Some(match (operation, ty) {
            ("add", "f32") => Self::AddF32,
            ("add", "f16") => Self::AddF16,
            ("min", "f16") => Self::MinF16,
            ("max", "f16") => Self::MaxF16,
            ("add", "bf16") => Self::AddBf16,
            ("min", "bf16") => Self::MinBf16,
            ("max", "bf16") => Self::MaxBf16,
            ("add", "f16x2") => Self::AddF16x2,
            ("min", "f16x2") => Self::MinF16x2,
            ("max", "f16x2") => Self::MaxF16x2,
            ("add", "bf16x2") => Self::AddBf16x2,
            ("min", "bf16x2") => Self::MinBf16x2,
            ("max", "bf16x2") => Self::MaxBf16x2,
            _ => return None,
        })
    }

    /// The bytes of an element.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::AddF16 | Self::MinF16 | Self::MaxF16 | Self::AddBf16 | Self::MinBf16 | Self::MaxBf16 => 2,
            _ => 4,
        }
    }

    pub(super) fn update(self, old: u32, by: u32) -> u32 {
        let f16 = |choose: fn(f32, f32) -> f32| move |a, b| to_f16(choose(from_f16(a), from_f16(b)));
        let bf16 = |choose: fn(f32, f32) -> f32| move |a, b| to_bf16(choose(from_bf16(a), from_bf16(b)));
        let half = |function: &dyn Fn(u16, u16) -> u16| u32::from(function(old as u16, by as u16));
        match self {
            Self::AddF32 => flush(canonical(flush(f32::from_bits(old)) + flush(f32::from_bits(by)))).to_bits(),
            Self::AddF16 => half(&add_f16),
            Self::MinF16 => half(&f16(min)),
            Self::MaxF16 => half(&f16(max)),
            Self::AddBf16 => half(&add_bf16),
            Self::MinBf16 => half(&bf16(min)),
            Self::MaxBf16 => half(&bf16(max)),
            Self::AddF16x2 => each_half(old, by, add_f16),
            Self::MinF16x2 => each_half(old, by, f16(min)),
            Self::MaxF16x2 => each_half(old, by, f16(max)),
            Self::AddBf16x2 => each_half(old, by, add_bf16),
            Self::MinBf16x2 => each_half(old, by, bf16(min)),
            Self::MaxBf16x2 => each_half(old, by, bf16(max)),
        }
    }
}

/// `atom` and `red` on vectors in global memory: the list at [`Op::d`] has [`Op::c`] destinations, and as many sources.
struct VectorUpdate;

impl Operation for VectorUpdate {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (update, count) = (Update::ALL[op.b as usize % Update::ALL.len()], op.c as usize);
        let bytes = update.bytes() as usize;
        let addresses = warp.addresses(op);
        let span = Span { bytes: (bytes * count) as u64, access: Access::GlobalAtomic };
        let Some(hosts) = Global::resolve(warp, op, &addresses, mask, span) else { return Next::Fault };
        let (destinations, sources) = warp.list(op.d, 2 * count).split_at(count);
        for (n, (&destination, &source)) in destinations.iter().zip(sources).enumerate() {
            let values = warp.read_raw::<u32>(source);
            let mut results = [0; 32];
            for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
                let host = hosts[lane].wrapping_add(n * bytes);
                // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
                results[lane] = unsafe {
                    if bytes == 2 {
                        u32::from(u16::update(host, |old| update.update(u32::from(old), values[lane]) as u16))
                    } else {
                        u32::update(host, |old| update.update(old, values[lane]))
                    }
                };
            }
            if destination != NO_SLOT {
                warp.write_raw::<u32>(destination, &results, mask);
            }
        }
        Next::Step
    }
}

/// `atom` and `red` on vectors
pub(crate) const VECTOR_UPDATE: Variants = Variants::of::<VectorUpdate>();
