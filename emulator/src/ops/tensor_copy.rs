//! Copies of boxes of tensors, by a tensor map: `cp.async.bulk.tensor` and `cp.reduce.async.bulk.tensor`, and changes of a
//! tensor map in memory.

use super::bulk::{self, Piece};
use super::memory::{Generic, SpaceAccess, Span};
use super::reduction::Reduction;
use super::tensor_map::{ALIGNMENT, BYTES, Element, MAX_RANK, TensorMap};
use super::transfer::{self, Data};
use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::Cell;
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::Space;

/// The alignment of a box in shared memory.
const BOX_ALIGNMENT: u64 = 128;

fn lanes(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

/// Where a lane's tensor map is, at a generic address.
fn map_at(warp: &mut Warp<'_>, op: &Op, lane: u32) -> Option<*mut u8> {
    let addresses = warp.addresses(op);
    let address = addresses[lane as usize];
    if !address.is_multiple_of(ALIGNMENT) {
        let kind = FaultKind::Misaligned { access: Access::GlobalLoad, address, bytes: ALIGNMENT as u32 };
        warp.fault(kind, lane);
        return None;
    }
    let span = Span { bytes: BYTES as u64, access: Access::GlobalLoad };
    Some(Generic::resolve(warp, op, &addresses, 1 << lane, span)?[lane as usize])
}

/// The tensor map of a lane, for a copy with so many coordinates.
fn map_of(warp: &mut Warp<'_>, op: &Op, lane: u32, rank: usize) -> Option<TensorMap> {
    let host = map_at(warp, op, lane)?;
    // SAFETY: `map_at` found so many bytes.
    let bytes = unsafe { transfer::read(host, BYTES) };
    let map = bytes.as_slice().try_into().ok().and_then(TensorMap::from_bytes);
    let wrong = match map {
        None => "there is no tensor map that `cuTensorMapEncodeTiled` made",
        Some(map) if map.rank != rank => "the tensor has another number of dimensions",
        Some(map) => match map.check() {
            Ok(()) => return Some(map),
            Err(wrong) => wrong,
        },
    };
    let address = warp.addresses(op)[lane as usize];
    warp.fault(FaultKind::TensorMap { wrong, address }, lane);
    None
}

/// The coordinates in the list of an operation, of a lane.
fn coordinates(warp: &Warp<'_>, op: &Op, lane: u32) -> [i64; MAX_RANK] {
    let mut at = [0; MAX_RANK];
    for (coordinate, &slot) in at.iter_mut().zip(warp.list(op.d, op.b as usize)) {
        *coordinate = i64::from(warp.read::<i32>(slot)[lane as usize]);
    }
    at
}

/// A copy of a box to shared memory. The address of the destination is that of the operation itself; [`Op::d`] is the part with
/// that of the tensor map, whose list at [`Op::d`] has [`Op::b`] coordinates; [`Op::e`] is the part with that of the
/// `mbarrier`; and [`Op::c`] is the slot of a mask of blocks.
struct Load;

impl Operation for Load {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if lanes(mask).all(|lane| load(warp, op, lane)) { Next::Step } else { Next::Fault }
    }
}

#[inline(never)]
fn load(warp: &mut Warp<'_>, op: &Op, lane: u32) -> bool {
    let (tensor, barrier) = (warp.part(op.d), warp.part(op.e));
    let Some(map) = map_of(warp, tensor, lane, tensor.b as usize) else { return false };
    let (to, barrier_at) = (warp.addresses(op)[lane as usize], warp.addresses(barrier)[lane as usize]);
    if !is_aligned(warp, &map, to, Access::SharedStore, lane) {
        return false;
    }
    let pc = warp.number_of(op);
    let mut bytes = map.empty_box();
    let row_bytes = bytes.len() as u64 / map.counts()[1..].iter().product::<u64>();
    // The pattern goes by the address in the shared memory of the block, from which the box begins a whole row of it.
    let offset = warp.neighbours().place(to).1;
    for (number, (address, before, length)) in (0..).zip(map.rows(coordinates(warp, tensor, lane))) {
        if length == 0 {
            continue;
        }
        let host = bulk::find_global(warp, Access::GlobalLoad, address, length as u32, lane);
        let Some(host) = host.filter(|_| warp.observe_read(Space::Global, pc, lane, (address, length))) else {
            return false;
        };
        // SAFETY: `find_global` found so many bytes.
        let row = unsafe { transfer::read(host, length as usize) };
        for (n, byte) in (0..).zip(row) {
            let place = map.swizzled(offset + number * row_bytes + before + n) - offset;
            bytes[place as usize] = byte;
        }
    }
    let blocks = if op.c == NO_SLOT { None } else { Some(warp.read::<u32>(op.c)[lane as usize]) };
    bulk::send(warp, pc, lane, (to, barrier_at), blocks, &Data::Bytes(bytes), None)
}

/// Whether a box can be at an address in shared memory.
fn is_aligned(warp: &mut Warp<'_>, map: &TensorMap, address: u64, access: Access, lane: u32) -> bool {
    let kind = if !address.is_multiple_of(BOX_ALIGNMENT) {
        FaultKind::Misaligned { access, address, bytes: BOX_ALIGNMENT as u32 }
    } else if map.swizzle != 0 && !map.box_bytes().is_multiple_of(u64::from(map.swizzle)) {
        FaultKind::TensorMap { wrong: "the box is not a whole number of rows of the swizzle pattern", address }
    } else {
        return true;
    };
    warp.fault(kind, lane);
    false
}

/// A copy of a box to global memory, or a reduction into it. The address of the source is that of the operation itself; [`Op::d`]
/// is the part with that of the tensor map, as of [`Load`], whose [`Op::c`] is the number of the reduction's operation.
struct Store;

impl Operation for Store {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if lanes(mask).all(|lane| store(warp, op, lane)) { Next::Step } else { Next::Fault }
    }
}

/// Operations of reductions, whose type the tensor map has.
const OPERATIONS: [&str; 8] = ["add", "min", "max", "inc", "dec", "and", "or", "xor"];

/// The number of the operation of a reduction.
pub(crate) fn operation_number(name: &str) -> Option<u32> {
    OPERATIONS.iter().position(|known| *known == name).map(|place| place as u32)
}

#[inline(never)]
fn store(warp: &mut Warp<'_>, op: &Op, lane: u32) -> bool {
    let tensor = warp.part(op.d);
    let Some(map) = map_of(warp, tensor, lane, tensor.b as usize) else { return false };
    let from = warp.addresses(op)[lane as usize];
    if !is_aligned(warp, &map, from, Access::SharedLoad, lane) {
        return false;
    }
    let mut reduction = None;
    if let Some(operation) = OPERATIONS.get(tensor.c as usize) {
        let separator =
            if *operation == "add" && matches!(map.element, Element::F16 | Element::Bf16) { ".noftz." } else { "." };
        let named = map.element.type_name(operation).map(|ty| format!("{operation}{separator}{ty}"));
        reduction = named.and_then(|name| Reduction::number(&name)).and_then(Reduction::numbered);
        if reduction.is_none() {
            let (wrong, address) = ("the elements have no such reduction", warp.addresses(tensor)[lane as usize]);
            warp.fault(FaultKind::TensorMap { wrong, address }, lane);
            return false;
        }
    }
    let row_bytes = map.box_bytes() / map.counts()[1..].iter().product::<u64>();
    let offset = warp.neighbours().place(from).1;
    let mut pieces = Vec::new();
    for (number, (address, before, length)) in (0..).zip(map.rows(coordinates(warp, tensor, lane))) {
        // Pieces that stay together.
        let mut done = 0;
        while done < length {
            let at = offset + number * row_bytes + before + done;
            let bytes = if map.swizzle == 0 { length } else { (16 - at % 16).min(length - done) };
            pieces.push(Piece { to: address + done, from: map.swizzled(at) - offset, bytes: bytes as u32 });
            done += bytes;
        }
    }
    bulk::store(warp, op, lane, pieces, from, reduction)
}

/// `tensormap.replace` of a field of the tensor map at the address of the operation itself: [`Op::c`] is the number of the field,
/// [`Op::e`] of the dimension, and [`Op::b`] the slot of the new value, which has 64 bits if [`Op::d`] is 1.
struct Replace;

/// What of a tensor map can be replaced.
const FIELDS: [&str; 10] = [
    "global_address",
    "rank",
    "box_dim",
    "global_dim",
    "global_stride",
    "element_stride",
    "elemtype",
    "interleave_layout",
    "swizzle_mode",
    "fill_mode",
];

/// The number of a field.
pub(crate) fn field_number(name: &str) -> Option<u32> {
    FIELDS.iter().position(|known| *known == name).map(|place| place as u32)
}

impl Operation for Replace {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if lanes(mask).all(|lane| replace(warp, op, lane)) { Next::Step } else { Next::Fault }
    }
}

#[inline(never)]
fn replace(warp: &mut Warp<'_>, op: &Op, lane: u32) -> bool {
    let address = warp.addresses(op)[lane as usize];
    // The map is in global or shared memory, at an address of that space or a generic one.
    let host = if op.window & super::memory::OF_CLUSTER != 0 {
        super::memory::find_in_cluster(warp, address, BYTES as u64)
    } else {
        map_at(warp, op, lane)
    };
    let Some(host) = host else {
        if !warp.has_fault() {
            let bytes = BYTES as u32;
            let kind = FaultKind::OutOfBounds { access: Access::SharedStore, address, bytes, nearest: None };
            warp.fault(kind, lane);
        }
        return false;
    };
    let value = match op.d {
        1 => warp.read::<u64>(op.b)[lane as usize],
        _ => u64::from(warp.read::<u32>(op.b)[lane as usize]),
    };
    // SAFETY: `host` has the bytes of a tensor map.
    let bytes = unsafe { transfer::read(host, BYTES) };
    let replaced = bytes.as_slice().try_into().ok().and_then(TensorMap::from_bytes);
    let replaced = replaced.and_then(|map| with_field(map, op.c, op.e as usize, value));
    let Some(map) = replaced else {
        let wrong = "there is no tensor map, or the field cannot be that";
        warp.fault(FaultKind::TensorMap { wrong, address }, lane);
        return false;
    };
    for (n, byte) in map.to_bytes().into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { byte.store(host.add(n)) };
    }
    true
}

/// A tensor map with a field replaced.
fn with_field(mut map: TensorMap, field: u32, dimension: usize, value: u64) -> Option<TensorMap> {
    let word = value as u32;
    match FIELDS.get(field as usize).copied()? {
        "global_address" => map.address = value,
        "rank" => map.rank = Some(word as usize + 1).filter(|rank| *rank <= MAX_RANK)?,
        "box_dim" => *map.box_sizes.get_mut(dimension)? = word,
        // As many as the number has, for which zero stands for 2^32.
        "global_dim" => *map.sizes.get_mut(dimension)? = if word == 0 { 1 << 32 } else { u64::from(word) },
        "global_stride" => *map.strides.get_mut(dimension)? = value,
        "element_stride" => *map.steps.get_mut(dimension)? = word,
        "elemtype" => map.element = Element::numbered(word)?,
        "interleave_layout" if word == 0 => {}
        "swizzle_mode" => map.swizzle = *[0, 32, 64, 128].get(word as usize)?,
        "fill_mode" => map.fill_nan = word != 0,
        _ => return None,
    }
    Some(map)
}

/// `tensormap.cp_fenceproxy`: copies a tensor map from shared memory, at the address of the part at [`Op::d`], to global
/// memory, where the address of the operation itself is, as all lanes say together.
struct CopyMap;

impl Operation for CopyMap {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        if mask != u32::MAX {
            return Next::ConvergeWarp;
        }
        let from = warp.addresses(warp.part(op.d))[0];
        let Some(bytes) = transfer::read_shared(warp, from, BYTES as u32, 0) else { return Next::Fault };
        let Some(host) = map_at(warp, op, 0) else { return Next::Fault };
        // SAFETY: `map_at` found so many bytes.
        unsafe { transfer::write(host, &bytes, None) };
        Next::Step
    }
}

/// `tensormap.cp_fenceproxy`
pub(crate) const COPY_MAP: Variants = Variants::of::<CopyMap>();
/// `cp.async.bulk.tensor` to shared memory
pub(crate) const LOAD: Variants = Variants::of::<Load>();
/// `cp.async.bulk.tensor` and `cp.reduce.async.bulk.tensor` to global memory
pub(crate) const STORE: Variants = Variants::of::<Store>();
/// `tensormap.replace`
pub(crate) const REPLACE: Variants = Variants::of::<Replace>();
