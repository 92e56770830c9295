//! Loads and stores.
//!
//! Every access is checked: each lane's address has to be a multiple of the size accessed and lie, with all its bytes,
//! in one allocation. For global memory the window that an instruction hit last is remembered, so that the usual case
//! is one comparison a lane, without a look-up.

use std::marker::PhantomData;
use std::sync::atomic::{Ordering, fence};

use super::{Lane, Next, Operation, Variants};
use crate::exec::{Warp, each_lane};
use crate::fault::{Access, FaultKind};
use crate::memory::{Cell, Window};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{RegisterKind, Space};

/// Where shared memory starts among generic addresses.
pub(crate) const SHARED_BASE: u64 = 1 << 36;
/// Where local memory starts among generic addresses.
pub(crate) const LOCAL_BASE: u64 = 1 << 37;
/// Where the parameters start among generic addresses.
pub(crate) const PARAMETER_BASE: u64 = 1 << 38;
/// The size of the ranges that these have there.
pub(crate) const WINDOW_SIZE: u64 = 1 << 32;

/// Set in [`Op::window`] if the address is held in a 32-bit register.
pub(crate) const ADDRESS_32: u32 = 1 << 31;
/// Set in [`Op::window`] if other accesses may not move across this one: after an acquiring load, before a releasing store.
pub(crate) const ORDERED: u32 = 1 << 30;
/// Set in [`Op::window`] if an address in shared memory may be that of another block of the cluster.
pub(crate) const OF_CLUSTER: u32 = 1 << 29;
/// What of [`Op::window`] is the number of the window.
pub(crate) const NUMBER: u32 = OF_CLUSTER - 1;

/// Finds each active lane's bytes in host memory, or faults.
pub(crate) trait SpaceAccess {
    const SPACE: Space;
    const LOAD: Access;
    const STORE: Access;
    const ATOMIC: Access;
    /// Whether an address is one of global memory.
    fn is_global(address: u64) -> bool;
    fn resolve(warp: &mut Warp<'_>, op: &Op, addresses: &[u64; 32], mask: u32, span: Span) -> Option<[*mut u8; 32]>;
}

/// What an instruction accesses at each address.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(super) bytes: u64,
    pub(super) access: Access,
}

impl Span {
    fn misaligned(self, address: u64) -> FaultKind {
        FaultKind::Misaligned { access: self.access, address, bytes: self.bytes as u32 }
    }

    fn out_of_bounds(self, warp: &Warp<'_>, address: u64) -> FaultKind {
        let in_shared = match self.access {
            Access::SharedLoad | Access::SharedStore | Access::SharedAtomic => Some(address),
            _ => Some(address.wrapping_sub(SHARED_BASE)).filter(|offset| *offset < WINDOW_SIZE),
        };
        if in_shared.is_some_and(|address| warp.neighbours().has_ended(address)) {
            return FaultKind::BlockEnded { access: self.access, address };
        }
        let nearest = matches!(self.access, Access::GlobalLoad | Access::GlobalStore | Access::GlobalAtomic)
            .then(|| warp.memory().nearest(address))
            .flatten();
        FaultKind::OutOfBounds { access: self.access, address, bytes: self.bytes as u32, nearest }
    }
}

/// The addresses of all active lanes in one window, if all are there and aligned.
#[inline(always)]
fn all_in(window: Window, addresses: &[u64; 32], mask: u32, bytes: u64) -> Option<[*mut u8; 32]> {
    if window.size < bytes {
        return None;
    }
    let last = window.size - bytes;
    let mut offsets = [0u64; 32];
    let mut bad = 0u64;
    for lane in 0..32 {
        // lanes that are not active count as being at offset 0
        let active = u64::from(mask >> lane & 1).wrapping_neg();
        let offset = addresses[lane].wrapping_sub(window.base) & active;
        bad |= u64::from(offset > last) | (addresses[lane] & active & (bytes - 1));
        offsets[lane] = offset;
    }
    (bad == 0).then(|| each_lane(offsets, |offset| window.host.wrapping_add(offset as usize)))
}

/// The first lane that is not aligned or for which `find` has nothing makes a fault.
#[inline(never)]
fn each(
    warp: &mut Warp<'_>,
    addresses: &[u64; 32],
    mask: u32,
    span: Span,
    mut find: impl FnMut(&mut Warp<'_>, u32, u64) -> Option<*mut u8>,
) -> Option<[*mut u8; 32]> {
    let mut hosts = [std::ptr::null_mut(); 32];
    for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
        let address = addresses[lane as usize];
        if address & (span.bytes - 1) != 0 {
            warp.fault(span.misaligned(address), lane);
            return None;
        }
        let Some(host) = find(warp, lane, address) else {
            warp.fault(span.out_of_bounds(warp, address), lane);
            return None;
        };
        hosts[lane as usize] = host;
    }
    Some(hosts)
}

/// The global state space, and constants, which live in it.
pub(crate) struct Global;

impl SpaceAccess for Global {
    const SPACE: Space = Space::Global;
    const LOAD: Access = Access::GlobalLoad;
    const STORE: Access = Access::GlobalStore;
    const ATOMIC: Access = Access::GlobalAtomic;

    #[inline(always)]
    fn is_global(_: u64) -> bool {
        true
    }

    #[inline(always)]
    fn resolve(warp: &mut Warp<'_>, op: &Op, addresses: &[u64; 32], mask: u32, span: Span) -> Option<[*mut u8; 32]> {
        let index = op.window & NUMBER;
        let hosts = all_in(warp.window(index), addresses, mask, span.bytes);
        if hosts.is_some() {
            return hosts;
        }
        each(warp, addresses, mask, span, |warp, _, address| find_global(warp, index, address, span.bytes))
    }
}

fn find_global(warp: &mut Warp<'_>, index: u32, address: u64, bytes: u64) -> Option<*mut u8> {
    let mut window = warp.window(index);
    if !window.contains(address, bytes) {
        window = warp.memory().window(address).filter(|window| window.contains(address, bytes))?;
        warp.remember(index, window);
    }
    Some(window.host.wrapping_add((address - window.base) as usize))
}

/// The shared memory of the block, and where an operation says so of the others of the cluster.
pub(crate) struct Shared;

impl SpaceAccess for Shared {
    const SPACE: Space = Space::Shared;
    const LOAD: Access = Access::SharedLoad;
    const STORE: Access = Access::SharedStore;
    const ATOMIC: Access = Access::SharedAtomic;

    #[inline(always)]
    fn is_global(_: u64) -> bool {
        false
    }

    #[inline(always)]
    fn resolve(warp: &mut Warp<'_>, op: &Op, addresses: &[u64; 32], mask: u32, span: Span) -> Option<[*mut u8; 32]> {
        let window = warp.shared();
        let hosts = all_in(window, addresses, mask, span.bytes);
        if hosts.is_some() {
            return hosts;
        }
        let of_cluster = op.window & OF_CLUSTER != 0;
        each(warp, addresses, mask, span, |warp, _, address| {
            if of_cluster {
                find_in_cluster(warp, address, span.bytes)
            } else {
                find_shared(window, address, span.bytes)
            }
        })
    }
}

/// Where `length` bytes are in the shared memory of a block of the cluster.
pub(crate) fn find_in_cluster(warp: &Warp<'_>, address: u64, bytes: u64) -> Option<*mut u8> {
    let (window, base) = warp.neighbours().window(address);
    find_shared(window, address - base, bytes)
}

fn find_shared(window: Window, address: u64, bytes: u64) -> Option<*mut u8> {
    window.contains(address, bytes).then(|| window.host.wrapping_add(address as usize))
}

/// The local memory of each thread.
pub(crate) struct Local;

impl SpaceAccess for Local {
    const SPACE: Space = Space::Local;
    const LOAD: Access = Access::LocalLoad;
    const STORE: Access = Access::LocalStore;
    const ATOMIC: Access = Access::LocalStore;

    #[inline(always)]
    fn is_global(_: u64) -> bool {
        false
    }

    #[inline(always)]
    fn resolve(warp: &mut Warp<'_>, _: &Op, addresses: &[u64; 32], mask: u32, span: Span) -> Option<[*mut u8; 32]> {
        each(warp, addresses, mask, span, |warp, lane, address| find_local(warp, lane, address, span.bytes))
    }
}

fn find_local(warp: &Warp<'_>, lane: u32, address: u64, bytes: u64) -> Option<*mut u8> {
    let window = warp.local(lane);
    window.contains(address, bytes).then(|| window.host.wrapping_add(address as usize))
}

/// The parameters of the kernel, at addresses that are computed.
pub(crate) struct Parameters;

impl SpaceAccess for Parameters {
    const SPACE: Space = Space::Param;
    const LOAD: Access = Access::ParameterLoad;
    const STORE: Access = Access::ParameterLoad;
    const ATOMIC: Access = Access::ParameterLoad;

    #[inline(always)]
    fn is_global(_: u64) -> bool {
        false
    }

    #[inline(always)]
    fn resolve(warp: &mut Warp<'_>, _: &Op, addresses: &[u64; 32], mask: u32, span: Span) -> Option<[*mut u8; 32]> {
        let window = warp.parameters();
        each(warp, addresses, mask, span, |_, _, address| find_shared(window, address, span.bytes))
    }
}

/// Generic addresses: each lane's is of the space in whose range it lies.
pub(crate) struct Generic;

impl SpaceAccess for Generic {
    const SPACE: Space = Space::Generic;
    const LOAD: Access = Access::GlobalLoad;
    const STORE: Access = Access::GlobalStore;
    const ATOMIC: Access = Access::GlobalAtomic;

    #[inline(always)]
    fn is_global(address: u64) -> bool {
        [SHARED_BASE, LOCAL_BASE, PARAMETER_BASE].iter().all(|base| address.wrapping_sub(*base) >= WINDOW_SIZE)
    }

    #[inline(always)]
    fn resolve(warp: &mut Warp<'_>, op: &Op, addresses: &[u64; 32], mask: u32, span: Span) -> Option<[*mut u8; 32]> {
        let index = op.window & NUMBER;
        each(warp, addresses, mask, span, |warp, lane, address| {
            if address.wrapping_sub(SHARED_BASE) < WINDOW_SIZE {
                find_in_cluster(warp, address - SHARED_BASE, span.bytes)
            } else if address.wrapping_sub(LOCAL_BASE) < WINDOW_SIZE {
                find_local(warp, lane, address - LOCAL_BASE, span.bytes)
            } else if address.wrapping_sub(PARAMETER_BASE) < WINDOW_SIZE && span.access == Access::GlobalLoad {
                // nobody writes parameters
                find_shared(warp.parameters(), address - PARAMETER_BASE, span.bytes)
            } else {
                find_global(warp, index, address, span.bytes)
            }
        })
    }
}

/// A type of memory accesses: how many bytes, and how a register holds them.
pub(crate) trait Element {
    type Cell: Cell;
    type Register: Lane;
    fn extend(cell: Self::Cell) -> <Self::Register as Lane>::Raw;
    fn truncate(raw: <Self::Register as Lane>::Raw) -> Self::Cell;
}

macro_rules! element {
    ($($name:ident: $cell:ty, $as:ty, $register:ty;)*) => {$(
        struct $name;
        impl Element for $name {
            type Cell = $cell;
            type Register = $register;
            #[inline(always)]
            fn extend(cell: $cell) -> $register {
                cell as $as as $register
            }
            #[inline(always)]
            fn truncate(raw: $register) -> $cell {
                raw as $cell
            }
        }
    )*};
}
element! {
    U8: u8, u8, u32;
    S8: u8, i8, u32;
    U16: u16, u16, u32;
    S16: u16, i16, u32;
    B32: u32, u32, u32;
    B64: u64, u64, u64;
    WideU8: u8, u8, u64;
    WideS8: u8, i8, u64;
    WideU16: u16, u16, u64;
    WideS16: u16, i16, u64;
    WideU32: u32, u32, u64;
    WideS32: u32, i32, u64;
}

fn slots(op: &Op) -> [u32; 4] {
    [op.d, op.b, op.c, op.e]
}

/// `ld` of `N` values of type `E`.
struct Load<S, E, const N: usize>(PhantomData<(S, E)>);

impl<S: SpaceAccess, E: Element, const N: usize> Operation for Load<S, E, N> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let size = size_of::<E::Cell>();
        let addresses = warp.addresses(op);
        let span = Span { bytes: (size * N) as u64, access: S::LOAD };
        let Some(hosts) = S::resolve(warp, op, &addresses, mask, span) else {
            return Next::Fault;
        };
        for (n, slot) in slots(op).into_iter().take(N).enumerate() {
            let mut values = [<E::Register as Lane>::Raw::default(); 32];
            for lane in 0..32 {
                if mask >> lane & 1 != 0 {
                    // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
                    values[lane] = E::extend(unsafe { E::Cell::load(hosts[lane].add(n * size)) });
                }
            }
            if slot != NO_SLOT {
                warp.write_raw::<E::Register>(slot, &values, mask);
            }
        }
        if op.window & ORDERED != 0 {
            fence(Ordering::SeqCst);
        }
        Next::Step
    }
}

/// `st` of `N` values of type `E`.
struct Store<S, E, const N: usize>(PhantomData<(S, E)>);

impl<S: SpaceAccess, E: Element, const N: usize> Operation for Store<S, E, N> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let size = size_of::<E::Cell>();
        let addresses = warp.addresses(op);
        let span = Span { bytes: (size * N) as u64, access: S::STORE };
        let Some(hosts) = S::resolve(warp, op, &addresses, mask, span) else {
            return Next::Fault;
        };
        if op.window & ORDERED != 0 {
            fence(Ordering::SeqCst);
        }
        for (n, slot) in slots(op).into_iter().take(N).enumerate() {
            let values = warp.read_raw::<E::Register>(slot);
            for lane in 0..32 {
                if mask >> lane & 1 != 0 {
                    // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
                    unsafe { E::truncate(values[lane]).store(hosts[lane].add(n * size)) };
                }
            }
        }
        Next::Step
    }
}

/// `ld.param` of `N` values at a fixed offset: one load, the same in all lanes.
struct LoadParameter<E, const N: usize>(PhantomData<E>);

impl<E: Element, const N: usize> Operation for LoadParameter<E, N> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        for (n, slot) in slots(op).into_iter().take(N).enumerate() {
            let at = warp.parameter(op.immediate as usize + n * size_of::<E::Cell>(), size_of::<E::Cell>());
            // SAFETY: the decoder checked that the parameter block has these bytes, aligned.
            let value = E::extend(unsafe { E::Cell::load(at) });
            if slot != NO_SLOT {
                warp.write_raw::<E::Register>(slot, &[value; 32], mask);
            }
        }
        Next::Step
    }
}

/// Which of the operations here an instruction needs.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    LoadGlobal,
    LoadShared,
    LoadLocal,
    LoadGeneric,
    LoadParameter,
    LoadParameterAt,
    StoreGlobal,
    StoreShared,
    StoreLocal,
    StoreGeneric,
}

/// The operation for `lanes` values of a PTX type held in registers of some width, and the bytes of one value.
pub(crate) fn variants(kind: Kind, ty: &str, register: RegisterKind, lanes: usize) -> Option<(Variants, u64)> {
    use RegisterKind::{Bits32, Bits64};
    Some(match (ty, register) {
        ("u8" | "b8", Bits32) => (of_element::<U8>(kind, lanes)?, 1),
        ("s8", Bits32) => (of_element::<S8>(kind, lanes)?, 1),
        ("u16" | "b16" | "f16" | "bf16", Bits32) => (of_element::<U16>(kind, lanes)?, 2),
        ("s16", Bits32) => (of_element::<S16>(kind, lanes)?, 2),
        ("u32" | "s32" | "b32" | "f32", Bits32) => (of_element::<B32>(kind, lanes)?, 4),
        ("u64" | "s64" | "b64" | "f64", Bits64) => (of_element::<B64>(kind, lanes)?, 8),
        ("u8" | "b8", Bits64) => (of_element::<WideU8>(kind, lanes)?, 1),
        ("s8", Bits64) => (of_element::<WideS8>(kind, lanes)?, 1),
        ("u16" | "b16", Bits64) => (of_element::<WideU16>(kind, lanes)?, 2),
        ("s16", Bits64) => (of_element::<WideS16>(kind, lanes)?, 2),
        ("u32" | "b32", Bits64) => (of_element::<WideU32>(kind, lanes)?, 4),
        ("s32", Bits64) => (of_element::<WideS32>(kind, lanes)?, 4),
        _ => return None,
    })
}

fn of_element<E: Element>(kind: Kind, lanes: usize) -> Option<Variants> {
    let bytes = size_of::<E::Cell>() * lanes;
    match lanes {
        _ if bytes > 16 => None,
        1 => Some(of_lanes::<E, 1>(kind)),
        2 => Some(of_lanes::<E, 2>(kind)),
        4 => Some(of_lanes::<E, 4>(kind)),
        _ => None,
    }
}

fn of_lanes<E: Element, const N: usize>(kind: Kind) -> Variants {
    match kind {
        Kind::LoadGlobal => Variants::wide::<Load<Global, E, N>>(),
        Kind::LoadShared => Variants::wide::<Load<Shared, E, N>>(),
        Kind::LoadLocal => Variants::of::<Load<Local, E, N>>(),
        Kind::LoadGeneric => Variants::of::<Load<Generic, E, N>>(),
        Kind::LoadParameter => Variants::of::<LoadParameter<E, N>>(),
        Kind::LoadParameterAt => Variants::of::<Load<Parameters, E, N>>(),
        Kind::StoreGlobal => Variants::wide::<Store<Global, E, N>>(),
        Kind::StoreShared => Variants::wide::<Store<Shared, E, N>>(),
        Kind::StoreLocal => Variants::of::<Store<Local, E, N>>(),
        Kind::StoreGeneric => Variants::of::<Store<Generic, E, N>>(),
    }
}
