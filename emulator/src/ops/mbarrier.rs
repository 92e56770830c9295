//! Memory barriers: `mbarrier`, objects in shared memory on which threads and asynchronous copies arrive, phase by phase.
//!
//! The object is opaque to kernels. Here its 64 bits are the phase, a mark that it is valid, the transactions that are
//! pending, the arrivals that are, and the arrivals that a phase expects. The state that an arrival returns is the object
//! before it.

use super::memory::{SHARED_BASE, WINDOW_SIZE};
use super::transfer;
use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind, MbarrierMistake};
use crate::memory::Cell;
use crate::program::{MemoryKind, MemoryUse, NO_SLOT, Op, Strength};
use crate::ptx::ast::Space;

/// The largest count of arrivals, and of bytes of transactions either way.
const MOST: u32 = (1 << 20) - 1;

/// An object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Barrier {
    /// Whether the number of its phase is odd.
    odd: bool,
    /// The arrivals that each phase expects from now on, and that this one still does.
    expected: u32,
    pending: u32,
    /// The bytes of transactions that this phase still expects, negative if more have come.
    transactions: i32,
}

const VALID: u64 = 1 << 61;
const VALID_MASK: u64 = 3 << 61;

impl Barrier {
    fn from_bits(bits: u64) -> Option<Self> {
        (bits & VALID_MASK == VALID).then_some(Self {
            odd: bits >> 63 != 0,
            expected: bits as u32 & MOST,
            pending: (bits >> 20) as u32 & MOST,
            // The sign is bit 60.
            transactions: ((bits << 3) as i64 >> 43) as i32,
        })
    }

    fn to_bits(self) -> u64 {
        u64::from(self.odd) << 63
            | VALID
            | (self.transactions as u64 & ((1 << 21) - 1)) << 40
            | u64::from(self.pending) << 20
            | u64::from(self.expected)
    }

    fn expect(&mut self, bytes: i64) -> Result<(), MbarrierMistake> {
        let sum = i64::from(self.transactions) + bytes;
        if sum.unsigned_abs() > u64::from(MOST) {
            return Err(MbarrierMistake::Transactions { bytes: sum });
        }
        self.transactions = sum as i32;
        Ok(())
    }

    fn arrive(&mut self, count: u32) -> Result<(), MbarrierMistake> {
        if count == 0 || count > self.pending {
            return Err(MbarrierMistake::Arrivals { count, pending: self.pending });
        }
        self.pending -= count;
        Ok(())
    }

    /// Ends the phase if nothing is pending, and says whether it did.
    fn settle(&mut self) -> bool {
        let done = self.pending == 0 && self.transactions == 0;
        if done {
            (self.odd, self.pending) = (!self.odd, self.expected);
        }
        done
    }
}

/// What an instruction does with an object. Its number is in [`Op::c`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Action {
    Init,
    Invalidate,
    ExpectTransactions,
    CompleteTransactions,
    Arrive,
    /// With an arrival that expects transactions.
    ArriveExpecting,
    /// Not for the last arrival of a phase.
    ArriveNotLast,
    Drop,
    DropExpecting,
    DropNotLast,
    /// Whether the phase of a state has ended.
    WaitState,
    /// Whether the phase of a parity has.
    WaitParity,
}

impl Action {
    const ALL: [Self; 12] = [
        Self::Init,
        Self::Invalidate,
        Self::ExpectTransactions,
        Self::CompleteTransactions,
        Self::Arrive,
        Self::ArriveExpecting,
        Self::ArriveNotLast,
        Self::Drop,
        Self::DropExpecting,
        Self::DropNotLast,
        Self::WaitState,
        Self::WaitParity,
    ];

    /// Of an operation.
    fn of(op: &Op) -> Self {
        Self::ALL[op.c as usize % Self::ALL.len()]
    }

    fn is_wait(self) -> bool {
        matches!(self, Self::WaitState | Self::WaitParity)
    }
}

/// Set in [`Op::e`] if the address is generic.
pub(crate) const GENERIC: u32 = 1;
/// Set in [`Op::e`] if the operation orders what other threads did or will do: if it releases or acquires.
pub(crate) const ORDERS: u32 = 2;

/// The address of a byte in shared memory, which `address` is, or is among generic ones.
pub(super) fn in_shared(warp: &mut Warp<'_>, address: u64, generic: bool, lane: u32) -> Option<u64> {
    if !generic {
        return Some(address);
    }
    let offset = address.wrapping_sub(SHARED_BASE);
    if offset >= WINDOW_SIZE {
        let nearest = warp.memory().nearest(address);
        warp.fault(FaultKind::OutOfBounds { access: Access::SharedAtomic, address, bytes: 8, nearest }, lane);
        return None;
    }
    Some(offset)
}

/// Where an object is, at an address in the shared memory of the cluster.
fn object(warp: &mut Warp<'_>, address: u64, lane: u32) -> Option<*mut u8> {
    let access = Access::SharedAtomic;
    if !address.is_multiple_of(8) {
        warp.fault(FaultKind::Misaligned { access, address, bytes: 8 }, lane);
        return None;
    }
    let (window, base) = warp.neighbours().window(address);
    if window.contains(address - base, 8) {
        return Some(window.host.wrapping_add((address - base) as usize));
    }
    let kind = match warp.neighbours().has_ended(address) {
        true => FaultKind::BlockEnded { access, address },
        false => FaultKind::OutOfBounds { access, address, bytes: 8, nearest: None },
    };
    warp.fault(kind, lane);
    None
}

/// Changes an object. Returns it as it was, and whether its phase ended; `None` if there is a fault.
fn change(
    warp: &mut Warp<'_>,
    address: u64,
    lane: u32,
    change: impl FnOnce(&mut Barrier) -> Result<(), MbarrierMistake>,
) -> Option<(u64, bool)> {
    let host = object(warp, address, lane)?;
    // SAFETY: `object` found these 8 bytes, aligned, in the shared memory of a block that has not ended.
    let old = unsafe { u64::load(host) };
    let changed = match Barrier::from_bits(old) {
        None => Err(MbarrierMistake::NotInitialised),
        Some(mut barrier) => change(&mut barrier).map(|()| {
            let ended = barrier.settle();
            (barrier, ended)
        }),
    };
    match changed {
        Err(mistake) => {
            warp.fault(FaultKind::Mbarrier { mistake, address }, lane);
            None
        }
        Ok((barrier, ended)) => {
            // SAFETY: as above; all blocks of a cluster run on one thread.
            unsafe { barrier.to_bits().store(host) };
            let common = warp.neighbours().common_address(address);
            if ended && let Some(observer) = warp.observer() {
                observer.mbarrier_complete(common);
            }
            Some((old, ended))
        }
    }
}

/// Notes that a warp makes known what it did to those that wait for an object.
fn release(warp: &mut Warp<'_>, address: u64, orders: bool) {
    let common = warp.neighbours().common_address(address);
    if let Some(observer) = warp.observer() {
        observer.mbarrier_arrive(common, orders);
    }
}

/// Asynchronous copies have written so many bytes. Says `false` if there is a fault.
pub(super) fn complete_transactions(warp: &mut Warp<'_>, address: u64, bytes: u32, lane: u32) -> bool {
    release(warp, address, true);
    change(warp, address, lane, |barrier| barrier.expect(-i64::from(bytes))).is_some()
}

/// An arrival that copies trigger. Says `false` if there is a fault.
pub(super) fn arrive(warp: &mut Warp<'_>, address: u64, lane: u32) -> bool {
    release(warp, address, true);
    change(warp, address, lane, |barrier| barrier.arrive(1)).is_some()
}

/// One more arrival is pending, which copies will trigger. Says `false` if there is a fault.
pub(super) fn expect_arrival(warp: &mut Warp<'_>, address: u64, lane: u32) -> bool {
    let add = |barrier: &mut Barrier| match barrier.pending {
        MOST => Err(MbarrierMistake::Arrivals { count: 1, pending: MOST }),
        _ => {
            barrier.pending += 1;
            Ok(())
        }
    };
    change(warp, address, lane, add).is_some()
}

/// An instruction on an object at the address of the operation itself: [`Op::b`] is a count, a number of bytes, a parity, or
/// a state; [`Op::d`] is where the state or the answer goes.
struct Execute;

impl Operation for Execute {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        execute(warp, op, mask)
    }
}

#[inline(never)]
fn execute(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    let action = Action::of(op);
    let generic = op.e & GENERIC != 0;
    let addresses = warp.addresses(op);
    let active = move || (0..32u32).filter(move |lane| mask >> lane & 1 != 0);
    let memory = MemoryUse {
        // What is done to one object is in an order, but for what is done before there is one.
        strength: if action == Action::Init { Strength::Weak } else { Strength::Device },
        ..MemoryUse::weak(
            if generic { Space::Generic } else { Space::Shared },
            8,
            match action {
                Action::Init | Action::Invalidate => MemoryKind::Store,
                Action::WaitState | Action::WaitParity => MemoryKind::Load,
                _ => MemoryKind::Atomic,
            },
        )
    };
    if !warp.observe(op, &memory, &addresses, mask) {
        return Next::Fault;
    }
    let mut at = [0; 32];
    for lane in active() {
        match in_shared(warp, addresses[lane as usize], generic, lane) {
            Some(address) => at[lane as usize] = address,
            None => return Next::Fault,
        }
    }
    if action.is_wait() {
        return wait(warp, op, mask, &at);
    }
    let operands = if op.b == NO_SLOT { [1; 32] } else { warp.read::<u32>(op.b) };
    let mut states = [0; 32];
    let mut released = None;
    for lane in active() {
        let (address, count) = (at[lane as usize], operands[lane as usize]);
        if matches!(action, Action::Init | Action::Invalidate) {
            if !renew(warp, address, lane, (action == Action::Init).then_some(count)) {
                return Next::Fault;
            }
            continue;
        }
        // What a warp did is made known once for all its lanes, in each phase.
        let arrives = !matches!(action, Action::ExpectTransactions | Action::CompleteTransactions);
        if arrives && released != Some(address) {
            release(warp, address, op.e & ORDERS != 0);
            released = Some(address);
        }
        let bytes = i64::from(count);
        let changed = change(warp, address, lane, |barrier| match action {
            Action::ExpectTransactions => barrier.expect(bytes),
            Action::CompleteTransactions => barrier.expect(-bytes),
            Action::ArriveExpecting => barrier.expect(bytes).and_then(|()| barrier.arrive(1)),
            Action::ArriveNotLast if count == barrier.pending && barrier.transactions == 0 => {
                Err(MbarrierMistake::Completes)
            }
            Action::DropNotLast if count == barrier.pending && barrier.transactions == 0 => {
                Err(MbarrierMistake::Completes)
            }
            Action::Drop | Action::DropNotLast => drop_out(barrier, count),
            Action::DropExpecting => barrier.expect(bytes).and_then(|()| drop_out(barrier, 1)),
            _ => barrier.arrive(count),
        });
        let Some((state, ended)) = changed else { return Next::Fault };
        states[lane as usize] = state;
        if ended {
            released = None;
        }
    }
    warp.advance();
    if op.d != NO_SLOT {
        warp.write_raw::<u64>(op.d, &states, mask);
    }
    Next::Step
}

/// Arrives, now and in no later phase.
fn drop_out(barrier: &mut Barrier, count: u32) -> Result<(), MbarrierMistake> {
    if count > barrier.expected {
        return Err(MbarrierMistake::Arrivals { count, pending: barrier.expected });
    }
    barrier.arrive(count)?;
    barrier.expected -= count;
    Ok(())
}

/// Makes an object that expects `count` arrivals, or makes it none. Says `false` if there is a fault.
fn renew(warp: &mut Warp<'_>, address: u64, lane: u32, count: Option<u32>) -> bool {
    let Some(host) = object(warp, address, lane) else { return false };
    let bits = match count {
        Some(count) if !(1..=MOST).contains(&count) => {
            let mistake = MbarrierMistake::Arrivals { count, pending: MOST };
            warp.fault(FaultKind::Mbarrier { mistake, address }, lane);
            return false;
        }
        Some(count) => Barrier { odd: false, expected: count, pending: count, transactions: 0 }.to_bits(),
        None => 0,
    };
    // SAFETY: `object` found these 8 bytes, aligned, in the shared memory of a block that has not ended.
    unsafe { bits.store(host) };
    let common = warp.neighbours().common_address(address);
    if let Some(observer) = warp.observer() {
        observer.mbarrier_renew(common);
    }
    true
}

/// Whether the phases that lanes ask for have ended. If not, the copies land that arrive there, and if that is not enough
/// the lanes wait until nobody else can do anything.
fn wait(warp: &mut Warp<'_>, op: &Op, mask: u32, at: &[u64; 32]) -> Next {
    let mut done = 0u32;
    for lane in (0..32u32).filter(|lane| mask >> lane & 1 != 0) {
        let address = at[lane as usize];
        let odd = match Action::of(op) {
            Action::WaitParity => warp.read::<u32>(op.b)[lane as usize] & 1 != 0,
            _ => warp.read::<u64>(op.b)[lane as usize] >> 63 != 0,
        };
        let Some(mut ended) = phase(warp, address, lane).map(|phase| phase != odd) else { return Next::Fault };
        while !ended {
            let common = warp.neighbours().common_address(address);
            match transfer::land_one(warp, common, lane) {
                None => return Next::Fault,
                Some(false) => break,
                Some(true) => {}
            }
            let Some(now) = phase(warp, address, lane) else { return Next::Fault };
            ended = now != odd;
        }
        done |= u32::from(ended) << lane;
    }
    if done != mask && !warp.wait_expires() {
        return Next::Wait;
    }
    if done != 0 {
        warp.advance();
        for lane in (0..32).filter(|lane| done >> lane & 1 != 0) {
            let common = warp.neighbours().common_address(at[lane]);
            if let Some(observer) = warp.observer().filter(|_| op.e & ORDERS != 0) {
                observer.mbarrier_wait(common);
            }
        }
    }
    warp.write_predicate(op.d, done, mask);
    Next::Step
}

/// Whether the number of the phase of an object is odd.
fn phase(warp: &mut Warp<'_>, address: u64, lane: u32) -> Option<bool> {
    let host = object(warp, address, lane)?;
    // SAFETY: `object` found these 8 bytes, aligned, in the shared memory of a block that has not ended.
    let Some(barrier) = Barrier::from_bits(unsafe { u64::load(host) }) else {
        warp.fault(FaultKind::Mbarrier { mistake: MbarrierMistake::NotInitialised, address }, lane);
        return None;
    };
    Some(barrier.odd)
}

/// `mbarrier.pending_count`: the arrivals that were pending in a state.
struct PendingCount;

impl Operation for PendingCount {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let counts = crate::exec::each_lane(warp.read::<u64>(op.a), |state| (state >> 20) as u32 & MOST);
        warp.write_raw::<u32>(op.d, &counts, mask);
        Next::Step
    }
}

/// `mbarrier` on an object
pub(crate) const EXECUTE: Variants = Variants::of::<Execute>();
/// `mbarrier.pending_count`
pub(crate) const PENDING_COUNT: Variants = Variants::of::<PendingCount>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_what_it_is_made_of() {
        for (odd, expected, pending) in [(false, 1, 1), (true, MOST, 0), (true, 7, MOST)] {
            for transactions in [0, 1, -1, MOST as i32, -(MOST as i32), 4096] {
                let barrier = Barrier { odd, expected, pending, transactions };
                assert_eq!(Barrier::from_bits(barrier.to_bits()), Some(barrier));
            }
        }
        assert_eq!(Barrier::from_bits(0), None);
        assert_eq!(Barrier::from_bits(u64::MAX), None);
    }
}
