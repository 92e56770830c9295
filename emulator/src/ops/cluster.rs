//! What the blocks of a cluster do together: their barrier, and addresses in one another's shared memory.

use super::memory::SHARED_BASE;
use super::{Next, Operation, Variants};
use crate::exec::{RANK_SHIFT, Warp, each_lane};
use crate::fault::FaultKind;
use crate::program::Op;

/// `barrier.cluster.arrive`; [`Op::immediate`] is 1 if it releases what its threads did before.
struct Arrive;

impl Operation for Arrive {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (arrived, passed) = warp.cluster_barrier();
        let again = (*arrived | *passed) & mask;
        if again != 0 {
            warp.fault(FaultKind::ClusterBarrierOrder { waits: false }, again.trailing_zeros());
            return Next::Fault;
        }
        *arrived |= mask;
        if let Some(observer) = warp.observer() {
            observer.cluster_arrive(op.immediate != 0);
        }
        Next::Step
    }
}

/// `barrier.cluster.wait`
struct Wait;

impl Operation for Wait {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, _: &Op, mask: u32) -> Next {
        let (arrived, passed) = warp.cluster_barrier();
        let absent = mask & !(*arrived | *passed);
        if absent != 0 {
            warp.fault(FaultKind::ClusterBarrierOrder { waits: true }, absent.trailing_zeros());
            return Next::Fault;
        }
        // All lanes that have arrived may pass at once.
        if *arrived & mask != 0 {
            return Next::Wait;
        }
        *passed &= !mask;
        if let Some(observer) = warp.observer() {
            observer.cluster_pass();
        }
        Next::Step
    }
}

/// `mapa` of addresses in shared memory, held in 32 or 64 bits: the byte in block [`Op::b`] where [`Op::a`] is in a block.
struct Map<const GENERIC: bool, const WIDE: bool>;

impl<const GENERIC: bool, const WIDE: bool> Operation for Map<GENERIC, WIDE> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let (ranks, blocks) = (warp.read::<u32>(op.b), warp.neighbours().count());
        if let Some(lane) = (0..32u32).find(|&lane| mask >> lane & 1 != 0 && ranks[lane as usize] >= blocks) {
            warp.fault(FaultKind::ClusterRank { rank: ranks[lane as usize], blocks }, lane);
            return Next::Fault;
        }
        let addresses = addresses::<WIDE>(warp, op);
        let base = if GENERIC { SHARED_BASE } else { 0 };
        let mapped: [u64; 32] = std::array::from_fn(|lane| {
            let offset = addresses[lane].wrapping_sub(base) & ((1 << RANK_SHIFT) - 1);
            base + ((u64::from(ranks[lane]) + 1) << RANK_SHIFT) + offset
        });
        if WIDE {
            warp.write_raw::<u64>(op.d, &mapped, mask);
        } else {
            warp.write_raw::<u32>(op.d, &each_lane(mapped, |address| address as u32), mask);
        }
        Next::Step
    }
}

/// `getctarank`: the number in the cluster of the block that an address is in.
struct Rank<const GENERIC: bool, const WIDE: bool>;

impl<const GENERIC: bool, const WIDE: bool> Operation for Rank<GENERIC, WIDE> {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let base = if GENERIC { SHARED_BASE } else { 0 };
        let addresses = addresses::<WIDE>(warp, op);
        let blocks = each_lane(addresses, |address| warp.neighbours().place(address.wrapping_sub(base)).0 as u32);
        warp.write_raw::<u32>(op.d, &blocks, mask);
        Next::Step
    }
}

fn addresses<const WIDE: bool>(warp: &Warp<'_>, op: &Op) -> [u64; 32] {
    if WIDE { warp.read::<u64>(op.a) } else { each_lane(warp.read::<u32>(op.a), u64::from) }
}

/// `barrier.cluster.arrive`
pub(crate) const ARRIVE: Variants = Variants::of::<Arrive>();
/// `barrier.cluster.wait`
pub(crate) const WAIT: Variants = Variants::of::<Wait>();

/// `mapa`
pub(crate) fn map(generic: bool, wide: bool) -> Variants {
    match (generic, wide) {
        (false, false) => Variants::of::<Map<false, false>>(),
        (false, true) => Variants::of::<Map<false, true>>(),
        (true, false) => Variants::of::<Map<true, false>>(),
        (true, true) => Variants::of::<Map<true, true>>(),
    }
}

/// `getctarank`
pub(crate) fn rank(generic: bool, wide: bool) -> Variants {
    match (generic, wide) {
        (false, false) => Variants::of::<Rank<false, false>>(),
        (false, true) => Variants::of::<Rank<false, true>>(),
        (true, false) => Variants::of::<Rank<true, false>>(),
        (true, true) => Variants::of::<Rank<true, true>>(),
    }
}
