//! Asynchronous copies from global to shared memory: `cp.async` and the waits for it.
//!
//! A copy lands at the wait of the thread that issued it: until then the destination keeps what it held, so a kernel
//! that does not wait computes with that. The source is read, and both addresses are checked, when the copy is issued:
//! what the source does not hold by then, because its writer is not waited for, is missing from the copy. Copies that
//! nobody waits for land when their thread ends.

use super::memory::{Global, Shared, SpaceAccess, Span};
use super::{Next, Operation, Variants, mbarrier, transfer};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::Cell;
use crate::observe::CopyWrite;
use crate::program::{MemoryKind, MemoryUse, NO_SLOT, Op};
use crate::ptx::ast::Space;

/// The copies of a warp that have not landed.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// In the order in which they were issued.
    pending: Vec<Pending>,
    /// How many groups each lane has committed.
    committed: [u32; 32],
}

/// So many may wait; more than that land at once, which is as good as late for what nobody waits for.
const MOST_PENDING: usize = 1 << 16;

/// A copy that has not landed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    lane: u32,
    /// The operation that issued it, by its number, if the warp is observed.
    pub(super) pc: u32,
    /// Which of its lane's groups it belongs to, counted from 0.
    pub(super) group: u32,
    /// Where in shared memory it goes.
    pub(super) address: u64,
    pub(super) bytes: u32,
    pub(super) data: [u32; 4],
}

impl Copies {
    /// Forgets everything, for another block.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.committed = [0; 32];
    }
}

/// `cp.async.mbarrier.arrive` on an `mbarrier` at the address of the operation itself: when the copies that its thread has
/// issued have landed, it arrives there. With [`Op::b`] that is one of the arrivals that the `mbarrier` expects anyway.
/// [`Op::e`] is as for other instructions on an `mbarrier`.
struct ArriveAfter;

impl Operation for ArriveAfter {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let pc = warp.number_of(op);
        let addresses = warp.addresses(op);
        for lane in (0..32u32).filter(|lane| mask >> lane & 1 != 0) {
            let address = mbarrier::in_shared(warp, addresses[lane as usize], op.e & mbarrier::GENERIC != 0, lane);
            let Some(address) = address else { return Next::Fault };
            if op.b == 0 && !mbarrier::expect_arrival(warp, address, lane) {
                return Next::Fault;
            }
            let copies = warp.copies().pending.extract_if(.., |copy| copy.lane == lane).collect();
            let (barrier, thread) = (warp.neighbours().common_address(address), warp.thread(lane));
            warp.neighbours().in_flight().arrive_after(pc, barrier, thread, copies);
        }
        Next::Step
    }
}

/// `cp.async`: the address of the destination is that of the operation itself; [`Op::d`] is the part with the address of
/// the source, [`Op::b`] the bytes to write, [`Op::c`] the slot of the bytes to take from the source (the rest is zero),
/// and [`Op::e`] the predicate, as a guard has it, that the source be ignored.
struct Issue;

impl Operation for Issue {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        issue(warp, op, mask)
    }
}

fn issue(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    let (bytes, source) = (op.b, warp.part(op.d));
    let (to, from) = (warp.addresses(op), warp.addresses(source));
    let mut taken = if op.c == NO_SLOT { [bytes; 32] } else { warp.read::<u32>(op.c) };
    if op.e != NO_SLOT {
        let predicate = warp.predicate(op.e >> 1);
        let ignored = if op.e & 1 != 0 { !predicate } else { predicate };
        (0..32).filter(|lane| ignored >> lane & 1 != 0).for_each(|lane| taken[lane] = 0);
    }
    let active = || (0..32u32).filter(|lane| mask >> lane & 1 != 0);
    if let Some(lane) = active().find(|&lane| taken[lane as usize] > bytes) {
        warp.fault(FaultKind::CopySize { source: taken[lane as usize], bytes }, lane);
        return Next::Fault;
    }
    let span = Span { bytes: u64::from(bytes), access: Access::SharedStore };
    if Shared::resolve(warp, op, &to, mask, span).is_none() {
        return Next::Fault;
    }
    let whole = active().filter(|&lane| taken[lane as usize] == bytes).fold(0, |all, lane| all | 1 << lane);
    let mut data = [[0u32; 4]; 32];
    if whole != 0 {
        let span = Span { bytes: u64::from(bytes), access: Access::GlobalLoad };
        let Some(hosts) = Global::resolve(warp, source, &from, whole, span) else { return Next::Fault };
        for lane in (0..32).filter(|lane| whole >> lane & 1 != 0) {
            for (n, word) in data[lane].iter_mut().take(bytes as usize / 4).enumerate() {
                // SAFETY: `resolve` found all the bytes of this lane, at a multiple of their number.
                *word = unsafe { u32::load(hosts[lane].add(4 * n)) };
            }
        }
    }
    for lane in active().filter(|lane| whole >> lane & 1 == 0) {
        match take_some(warp, source, (lane, from[lane as usize]), taken[lane as usize], bytes) {
            Some(words) => data[lane as usize] = words,
            None => return Next::Fault,
        }
    }
    let mut pc = 0;
    if warp.is_observed() {
        pc = warp.number_of(op);
        if !observe_source(warp, op, &from, &taken, mask)
            || !warp.observe_copy(&CopyWrite { pc, bytes, addresses: &to, data: &data, landing: false }, mask)
        {
            return Next::Fault;
        }
    }
    if warp.copies().pending.len() >= MOST_PENDING && !land_all(warp, u32::MAX) {
        return Next::Fault;
    }
    let copies = warp.copies();
    for lane in active() {
        let (group, address) = (copies.committed[lane as usize], to[lane as usize]);
        copies.pending.push(Pending { lane, pc, group, address, bytes, data: data[lane as usize] });
    }
    Next::Step
}

/// Checks and counts what is taken from the source.
#[inline(never)]
fn observe_source(warp: &mut Warp<'_>, op: &Op, from: &[u64; 32], taken: &[u32; 32], mask: u32) -> bool {
    let (bytes, mut all, mut asked) = (op.b, 0, 0);
    let lanes_with = |holds: &dyn Fn(u32) -> bool| {
        (0..32).filter(|&lane| mask >> lane & 1 != 0 && holds(taken[lane])).fold(0u32, |lanes, lane| lanes | 1 << lane)
    };
    // Parts of a source are of sizes that are aligned.
    for size in [16, 8, 4, 2, 1] {
        let lanes = lanes_with(&|taken| taken & size != 0);
        if lanes != 0 {
            let parts = std::array::from_fn(|lane| from[lane].wrapping_add(u64::from(taken[lane] & !(2 * size - 1))));
            if !warp.check(op, &MemoryUse::weak(Space::Global, size, MemoryKind::Load), &parts, lanes) {
                return false;
            }
            all |= lanes;
            asked += u64::from(size) * u64::from(lanes.count_ones());
        }
    }
    warp.count_global(op, &MemoryUse::weak(Space::Global, bytes, MemoryKind::Load), from, all, asked);
    true
}

/// The first `taken` bytes at an address of one lane, with zeros after them. Those alone have to be there.
fn take_some(
    warp: &mut Warp<'_>,
    source: &Op,
    (lane, address): (u32, u64),
    taken: u32,
    bytes: u32,
) -> Option<[u32; 4]> {
    let mut data = [0; 4];
    if taken != 0 && address & u64::from(bytes - 1) != 0 {
        warp.fault(FaultKind::Misaligned { access: Access::GlobalLoad, address, bytes }, lane);
        return None;
    }
    for n in 0..taken {
        let mut addresses = [0; 32];
        addresses[lane as usize] = address.wrapping_add(u64::from(n));
        let span = Span { bytes: 1, access: Access::GlobalLoad };
        let hosts = Global::resolve(warp, source, &addresses, 1 << lane, span)?;
        // SAFETY: `resolve` found this byte.
        let byte = unsafe { u8::load(hosts[lane as usize]) };
        data[n as usize / 4] |= u32::from(byte) << (8 * (n % 4));
    }
    Some(data)
}

/// Lets the copies of the lanes of `mask` land of which `landing` holds, in the order of their issue. Says `false` if one
/// of them races with something else.
fn land(warp: &mut Warp<'_>, mask: u32, landing: impl Fn(&Pending, u32) -> bool) -> bool {
    let shared = warp.shared();
    let observed = warp.is_observed();
    let committed = warp.copies().committed;
    let mut pending = std::mem::take(&mut warp.copies().pending);
    let mut good = true;
    pending.retain(|copy| {
        if mask >> copy.lane & 1 == 0 || !landing(copy, committed[copy.lane as usize]) {
            return true;
        }
        if observed && good {
            let (lane, mut addresses, mut data) = (copy.lane as usize, [0; 32], [[0; 4]; 32]);
            (addresses[lane], data[lane]) = (copy.address, copy.data);
            let write = CopyWrite { pc: copy.pc, bytes: copy.bytes, addresses: &addresses, data: &data, landing: true };
            good = warp.observe_copy(&write, 1 << lane);
        }
        let host = shared.host.wrapping_add(copy.address as usize);
        for (n, word) in copy.data.iter().take(copy.bytes as usize / 4).enumerate() {
            // SAFETY: `issue` found all these bytes in the shared memory of the block, at a multiple of their number.
            unsafe { word.store(host.add(4 * n)) };
        }
        false
    });
    warp.copies().pending = pending;
    good
}

/// Lets all copies of some lanes land. Says `false` if one of them races with something else.
pub(crate) fn land_all(warp: &mut Warp<'_>, mask: u32) -> bool {
    warp.copies().pending.is_empty() || land(warp, mask, |_, _| true)
}

/// `cp.async.commit_group`
struct Commit;

impl Operation for Commit {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, mask: u32) -> Next {
        for (lane, committed) in warp.copies().committed.iter_mut().enumerate() {
            *committed = committed.saturating_add(mask >> lane & 1);
        }
        Next::Step
    }
}

/// `cp.async.wait_group`: all but the latest groups, whose number is [`Op::immediate`].
struct WaitGroup;

impl Operation for WaitGroup {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let latest = u32::try_from(op.immediate).unwrap_or(u32::MAX);
        let good = land(warp, mask, |copy, committed| copy.group < committed.saturating_sub(latest));
        if good && land_with_arrivals(warp, mask, latest) { Next::Step } else { Next::Fault }
    }
}

/// `cp.async.wait_all`: also of what is in no group yet.
struct WaitAll;

impl Operation for WaitAll {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, mask: u32) -> Next {
        if land_all(warp, mask) && land_with_arrivals(warp, mask, 0) { Next::Step } else { Next::Fault }
    }
}

/// Lets copies of some lanes land that arrivals wait for, all but those of the latest groups. Says `false` if there is a
/// fault.
fn land_with_arrivals(warp: &mut Warp<'_>, mask: u32, latest: u32) -> bool {
    (0..32u32).filter(|lane| mask >> lane & 1 != 0).all(|lane| {
        // With none to be left out, what is in no group lands too.
        let committed = warp.copies().committed[lane as usize];
        let end = if latest == 0 { u32::MAX } else { committed.saturating_sub(latest) };
        transfer::land_of_thread(warp, warp.thread(lane), end)
    })
}

/// `cp.async.mbarrier.arrive`
pub(crate) const ARRIVE_AFTER: Variants = Variants::of::<ArriveAfter>();
/// `cp.async`
pub(crate) const ISSUE: Variants = Variants::of::<Issue>();
/// `cp.async.commit_group`
pub(crate) const COMMIT: Variants = Variants::of::<Commit>();
/// `cp.async.wait_group`
pub(crate) const WAIT_GROUP: Variants = Variants::of::<WaitGroup>();
/// `cp.async.wait_all`
pub(crate) const WAIT_ALL: Variants = Variants::of::<WaitAll>();
