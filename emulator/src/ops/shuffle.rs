//! Exchange between the lanes of a warp: shuffles, votes, matches, reductions, and the warp barrier.
//!
//! All of these wait for the lanes of a member mask. When every member that has not ended is in the running group the
//! instruction executes at once; else the group waits, and executes together with the groups that arrive at the same
//! form with the same mask, be it at another instruction (nvcc makes one of each side of a branch).

use super::{Lane, Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::FaultKind;
use crate::program::{NO_SLOT, Op};

/// What an instruction of this file does. Its number is in [`Op::immediate`], and lanes that wait at different numbers
/// do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum Collective {
    ShuffleUp,
    ShuffleDown,
    ShuffleXor,
    ShuffleIndex,
    VoteAll,
    VoteAny,
    VoteUniform,
    Ballot,
    Barrier,
    ReduceAdd,
    ReduceMinUnsigned,
    ReduceMaxUnsigned,
    ReduceMinSigned,
    ReduceMaxSigned,
    ReduceAnd,
    ReduceOr,
    ReduceXor,
    MatchAny32,
    MatchAny64,
    MatchAll32,
    MatchAll64,
    /// An instruction that a whole warp executes together; see [`Next::ConvergeWarp`].
    WholeWarp,
    Elect,
}

impl Collective {
    pub(crate) fn of(op: &Op) -> Self {
        match op.immediate {
            0 => Self::ShuffleUp,
            1 => Self::ShuffleDown,
            2 => Self::ShuffleXor,
            3 => Self::ShuffleIndex,
            4 => Self::VoteAll,
            5 => Self::VoteAny,
            6 => Self::VoteUniform,
            7 => Self::Ballot,
            9 => Self::ReduceAdd,
            10 => Self::ReduceMinUnsigned,
            11 => Self::ReduceMaxUnsigned,
            12 => Self::ReduceMinSigned,
            13 => Self::ReduceMaxSigned,
            14 => Self::ReduceAnd,
            15 => Self::ReduceOr,
            16 => Self::ReduceXor,
            17 => Self::MatchAny32,
            18 => Self::MatchAny64,
            19 => Self::MatchAll32,
            20 => Self::MatchAll64,
            22 => Self::Elect,
            _ => Self::Barrier,
        }
    }
}

/// One group of lanes that executes a collective, and the instruction at which it stands.
pub(crate) struct Part<'p> {
    pub(crate) op: &'p Op,
    pub(crate) mask: u32,
}

/// A row of an operand, put together from the groups.
#[inline(always)]
fn gather<T: Lane>(warp: &Warp<'_>, parts: &[Part<'_>], slot: impl Fn(&Op) -> u32) -> [T::Raw; 32] {
    if let [part] = parts {
        return warp.read_raw::<T>(slot(part.op));
    }
    let mut row = [T::Raw::default(); 32];
    for part in parts {
        let values = warp.read_raw::<T>(slot(part.op));
        for lane in 0..32 {
            if part.mask >> lane & 1 != 0 {
                row[lane] = values[lane];
            }
        }
    }
    row
}

/// The predicate operand of a vote, put together from the groups. Bit 0 of `e` says that it is negated.
fn gather_predicate(warp: &Warp<'_>, parts: &[Part<'_>]) -> u32 {
    parts.iter().fold(0, |all, part| {
        let value = warp.predicate(part.op.a);
        all | if part.op.e & 1 != 0 { !value } else { value } & part.mask
    })
}

/// Executes a collective for lanes that are all of its members that have not ended.
#[inline(always)]
pub(crate) fn execute(warp: &mut Warp<'_>, parts: &[Part<'_>]) -> Next {
    let Some(first) = parts.first() else { return Next::Step };
    let active = parts.iter().fold(0, |all, part| all | part.mask);
    match Collective::of(first.op) {
        Collective::ShuffleUp => shuffle::<UP>(warp, parts, active),
        Collective::ShuffleDown => shuffle::<DOWN>(warp, parts, active),
        Collective::ShuffleXor => shuffle::<XOR>(warp, parts, active),
        Collective::ShuffleIndex => shuffle::<INDEX>(warp, parts, active),
        Collective::VoteAll => vote(warp, parts, |ayes| ayes == active),
        Collective::VoteAny => vote(warp, parts, |ayes| ayes != 0),
        Collective::VoteUniform => vote(warp, parts, |ayes| ayes == active || ayes == 0),
        Collective::Ballot => {
            let ballot = gather_predicate(warp, parts);
            for part in parts {
                warp.write_raw::<u32>(part.op.d, &[ballot; 32], part.mask);
            }
            Next::Step
        }
        Collective::Barrier => {
            if let Some(observer) = warp.observer() {
                observer.warp_barrier();
            }
            Next::Step
        }
        Collective::Elect => elect(warp, parts, active),
        Collective::WholeWarp => whole_warp(warp, parts),
        Collective::ReduceAdd => reduce(warp, parts, active, u32::wrapping_add),
        Collective::ReduceMinUnsigned => reduce(warp, parts, active, u32::min),
        Collective::ReduceMaxUnsigned => reduce(warp, parts, active, u32::max),
        Collective::ReduceMinSigned => reduce(warp, parts, active, |a, b| (a as i32).min(b as i32) as u32),
        Collective::ReduceMaxSigned => reduce(warp, parts, active, |a, b| (a as i32).max(b as i32) as u32),
        Collective::ReduceAnd => reduce(warp, parts, active, |a, b| a & b),
        Collective::ReduceOr => reduce(warp, parts, active, |a, b| a | b),
        Collective::ReduceXor => reduce(warp, parts, active, |a, b| a ^ b),
        Collective::MatchAny32 => match_any::<u32>(warp, parts, active),
        Collective::MatchAny64 => match_any::<u64>(warp, parts, active),
        Collective::MatchAll32 => match_all::<u32>(warp, parts, active),
        Collective::MatchAll64 => match_all::<u64>(warp, parts, active),
    }
}

/// `elect`: the lowest lane.
fn elect(warp: &mut Warp<'_>, parts: &[Part<'_>], active: u32) -> Next {
    let leader = active.trailing_zeros();
    for part in parts {
        if part.op.d != NO_SLOT {
            warp.write_raw::<u32>(part.op.d, &[leader; 32], part.mask);
        }
        if part.op.e != NO_SLOT {
            warp.write_predicate(part.op.e, 1 << (leader & 31), part.mask);
        }
    }
    Next::Step
}

/// An instruction that the ISA defines only if all 32 lanes execute it, and none another one.
#[inline(never)]
pub(crate) fn whole_warp(warp: &mut Warp<'_>, parts: &[Part<'_>]) -> Next {
    let Some(first) = parts.first() else { return Next::Step };
    let active = parts.iter().fold(0, |all, part| all | part.mask);
    if active != u32::MAX || parts.iter().any(|part| !std::ptr::eq(part.op, first.op)) {
        warp.fault(FaultKind::PartialWarp { lanes: first.mask }, first.mask.trailing_zeros());
        return Next::Fault;
    }
    // SAFETY: the operation is of this warp's program; the decoder chose a variant for this processor.
    unsafe { (first.op.exec)(warp, first.op, active) }
}

/// `redux`: one value of all lanes.
fn reduce(warp: &mut Warp<'_>, parts: &[Part<'_>], active: u32, combine: impl Fn(u32, u32) -> u32) -> Next {
    let values = gather::<u32>(warp, parts, |op| op.a);
    let lanes = (0..32).filter(|lane| active >> lane & 1 != 0).map(|lane| values[lane]);
    let result = lanes.reduce(combine).unwrap_or_default();
    for part in parts {
        warp.write_raw::<u32>(part.op.d, &[result; 32], part.mask);
    }
    Next::Step
}

/// `match.any`: for each lane, the lanes with the same value.
fn match_any<T: Lane<Raw: PartialEq>>(warp: &mut Warp<'_>, parts: &[Part<'_>], active: u32) -> Next {
    let values = gather::<T>(warp, parts, |op| op.a);
    let mut result = [0; 32];
    for (lane, result) in result.iter_mut().enumerate() {
        let same = (0..32).filter(|&other| active >> other & 1 != 0 && values[other] == values[lane]);
        *result = same.fold(0u32, |all, other| all | 1 << other);
    }
    for part in parts {
        warp.write_raw::<u32>(part.op.d, &result, part.mask);
    }
    Next::Step
}

/// `match.all`: the lanes, and true, if all have the same value; else nothing, and false.
fn match_all<T: Lane<Raw: PartialEq>>(warp: &mut Warp<'_>, parts: &[Part<'_>], active: u32) -> Next {
    let values = gather::<T>(warp, parts, |op| op.a);
    let first = values[active.trailing_zeros() as usize & 31];
    let all = (0..32).all(|lane| active >> lane & 1 == 0 || values[lane] == first);
    for part in parts {
        warp.write_raw::<u32>(part.op.d, &[if all { active } else { 0 }; 32], part.mask);
        if part.op.e != NO_SLOT {
            warp.write_predicate(part.op.e, if all { u32::MAX } else { 0 }, part.mask);
        }
    }
    Next::Step
}

fn vote(warp: &mut Warp<'_>, parts: &[Part<'_>], passed: impl Fn(u32) -> bool) -> Next {
    let result = if passed(gather_predicate(warp, parts)) { u32::MAX } else { 0 };
    for part in parts {
        warp.write_predicate(part.op.d, result, part.mask);
    }
    Next::Step
}

/// Which way a shuffle goes, for the compiler to make a loop of each.
const UP: u32 = 0;
const DOWN: u32 = 1;
const XOR: u32 = 2;
const INDEX: u32 = 3;

/// The lane that each lane reads, and the lanes for which that is in their segment. (The others read themselves.)
#[inline(always)]
fn shuffle_sources<const MODE: u32>(by: &[u32; 32], clamp: &[u32; 32]) -> ([u32; 32], u32) {
    let (mut from, mut bits) = ([0; 32], [0; 32]);
    for lane in 0..32u32 {
        let (b, c) = ((by[lane as usize] & 31) as i32, clamp[lane as usize]);
        let (segment, own) = ((c >> 8 & 31) as i32, lane as i32);
        let (first, limit) = (own & segment, own & segment | (c & 31) as i32 & !segment);
        let wanted = match MODE {
            UP => own - b,
            DOWN => own + b,
            XOR => own ^ b,
            _ => first | b & !segment,
        };
        let valid = if MODE == UP { wanted >= limit } else { wanted <= limit };
        from[lane as usize] = if valid { wanted as u32 } else { lane };
        bits[lane as usize] = if valid { 1 << lane } else { 0 };
    }
    (from, bits.iter().fold(0, |all, bit| all | bit))
}

#[inline(always)]
fn shuffle<const MODE: u32>(warp: &mut Warp<'_>, parts: &[Part<'_>], active: u32) -> Next {
    let source = gather::<u32>(warp, parts, |op| op.a);
    let by = gather::<u32>(warp, parts, |op| op.b);
    let clamp = gather::<u32>(warp, parts, |op| op.c);
    let (from, in_range) = shuffle_sources::<MODE>(&by, &clamp);
    if active != u32::MAX {
        let undefined = (0..32).find(|&lane| active >> lane & 1 != 0 && active >> from[lane as usize] & 1 == 0);
        if let Some(lane) = undefined {
            warp.fault(FaultKind::UndefinedShuffle { lane: from[lane as usize] }, lane);
            return Next::Fault;
        }
    }
    let mut result = [0u32; 32];
    for lane in 0..32 {
        result[lane] = source[(from[lane] & 31) as usize];
    }
    for part in parts {
        warp.write_raw::<u32>(part.op.d, &result, part.mask);
        if part.op.e != NO_SLOT {
            warp.write_predicate(part.op.e, in_range, part.mask);
        }
    }
    if let Some((observed, observer)) = warp.watched() {
        let known = |all, part: &Part<'_>| all | observer.before_shuffle(observed, part.op.a) & part.mask;
        let known = parts.iter().fold(0, known);
        let defined = (0..32).fold(0, |all, lane| all | (known >> (from[lane] & 31) & 1) << lane);
        for part in parts {
            observer.shuffled(observed, part.op, part.mask, defined);
        }
    }
    Next::Step
}

/// An instruction that executes when all members are here. Its member mask is the 32-bit operand in
/// [`member_mask_slot`].
pub(crate) struct Collectively;

/// The slot of the member mask: that of the fourth operand, which no instruction of this file uses for anything else.
pub(crate) fn member_mask_slot(op: &Op) -> u32 {
    op.window
}

impl Operation for Collectively {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let members = warp.read::<u32>(member_mask_slot(op));
        let expected = members[mask.trailing_zeros() as usize];
        let active = |lane: usize| (mask >> lane & 1).wrapping_neg();
        let differs =
            members.iter().enumerate().fold(0, |all, (lane, members)| all | (members ^ expected) & active(lane));
        if differs == 0 && expected & warp.live() == mask {
            return execute(warp, &[Part { op, mask }]);
        }
        Next::Converge
    }
}

/// `activemask`: the lanes that execute together.
pub(crate) struct ActiveMask;

impl Operation for ActiveMask {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        warp.write_raw::<u32>(op.d, &[mask; 32], mask);
        Next::Step
    }
}

/// The operation of every collective.
pub(crate) const COLLECTIVELY: Variants = Variants::wide::<Collectively>();
