//! Watches kernels while they run: checks for reads of what nothing has written and for races, and counters.
//!
//! A kernel that is observed runs other code than one that is not: the same operations, where those that are of interest
//! are executed by [`Watch`], which looks at their registers and addresses and then has the operation itself executed. So
//! observation costs nothing when it is off, and no operation has to know of it.

mod access;
mod compare;
mod computed;
pub(crate) mod counts;
pub(crate) mod order;
mod registers;
pub(crate) mod shadow;

use std::ops::Range;
use std::sync::Arc;

pub(crate) use access::Flight;
pub(crate) use computed::CopyWrite;
use counts::Counted;
use order::{BlockOrder, LaunchOrder, Tracker};
use registers::Copies;
use shadow::{Shadow, Stamp};

use crate::checks::Checks;
use crate::exec::Warp;
use crate::fault::FaultKind;
use crate::ops::shuffle::member_mask_slot;
use crate::ops::{Exec, Next, Operation, Variants};
use crate::program::{
    CONSTANT, MemoryKind, MemoryUse, NO_SLOT, Op, PREDICATE, Program, Register, Saved, Slot, Strength,
};
use crate::ptx::ast::Space;

/// An operation that is watched.
struct Entry {
    exec: Exec,
    memory: Option<MemoryUse>,
    used_bytes: Option<u32>,
    /// The watched registers that it reads and writes, by their place among all that are watched.
    reads: Box<[u32]>,
    writes: Box<[u32]>,
    copies: Copies,
}

/// A program whose operations are watched.
pub(crate) struct Observed {
    pub(crate) code: Vec<Op>,
    entries: Vec<Entry>,
    /// The registers that may be read before they are written, sorted.
    registers: Vec<Register>,
}

impl Observed {
    /// Makes the code in which accesses to memory and doubtful registers are watched, and if they are to be counted all
    /// operations.
    pub(crate) fn new(program: &Program, counting: bool) -> Self {
        let registers = registers::watched(program);
        let watch = Variants::wide::<Watch>().select();
        let entries: Vec<Entry> = program
            .code
            .iter()
            .zip(&program.uses)
            .zip(&program.sources)
            .map(|((op, uses), (opcode, _))| {
                let among = |all: &[Register]| -> Box<[u32]> {
                    all.iter().filter_map(|one| registers.binary_search(one).ok()).map(|place| place as u32).collect()
                };
                Entry {
                    exec: op.exec,
                    memory: uses.memory,
                    used_bytes: uses.used_bytes,
                    reads: among(&uses.reads),
                    writes: among(&uses.writes),
                    copies: Copies::of(opcode),
                }
            })
            .collect();
        let watched = |entry: &Entry| {
            let has_memory = entry.memory.is_some_and(|memory| memory.space != Space::Param);
            counting || has_memory || !entry.reads.is_empty() || !entry.writes.is_empty()
        };
        let code = program.code.iter().zip(&entries);
        let code = code.map(|(op, entry)| if watched(entry) { Op { exec: watch, ..*op } } else { *op }).collect();
        Self { code, entries, registers }
    }
}

/// What is watched in a launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) initialised: bool,
    pub(crate) races: bool,
    pub(crate) counting: bool,
    pub(crate) tracker: &'a Arc<Tracker>,
    launch: LaunchOrder,
}

impl<'a> Watched<'a> {
    /// Begins to watch a launch, if there is anything to watch.
    pub(crate) fn begin(checks: Checks, counting: bool, overlaps: bool, tracker: &'a Arc<Tracker>) -> Option<Self> {
        let Checks { initialised, races, .. } = checks;
        if !initialised && !races && !counting {
            return None;
        }
        Some(Self { initialised, races, counting, tracker, launch: tracker.begin(overlaps) })
    }

    /// Ends the launch, of which so many blocks were run.
    pub(crate) fn end(&self, overlaps: bool, blocks: u64) {
        self.tracker.end(overlaps, blocks);
    }

    /// Whether there are shadows to look at.
    fn checking(&self) -> bool {
        self.initialised || self.races
    }
}

/// The other one of two accesses that race.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conflict {
    pub(crate) stamp: Stamp,
    /// The number of its block, and whether it is of the same launch.
    pub(crate) block: Option<(u64, bool)>,
}

/// Watches a block.
#[derive(Debug)]
pub(crate) struct Observer {
    initialised: bool,
    races: bool,
    counting: bool,
    tracker: Arc<Tracker>,
    launch: LaunchOrder,
    order: BlockOrder,
    /// The warp that runs.
    warp: u32,
    shared: Arc<Shadow>,
    /// The number of the block in its cluster.
    rank: u32,
    /// Which bytes of its local memory each thread has written.
    local: Vec<bool>,
    local_bytes: usize,
    /// For each warp, the lanes in which each watched register is defined.
    defined: Vec<u32>,
    registers: usize,
    counted: Counted,
    pub(crate) conflict: Option<Conflict>,
}

impl Observer {
    /// An observer for blocks of so many warps and bytes of shared memory.
    pub(crate) fn new(watched: &Watched<'_>, program: &Program, warps: u32, shared_bytes: u64, block: u64) -> Self {
        let observed = program.observed(watched.counting);
        let registers = observed.registers.len();
        let local_bytes = if watched.initialised { program.local_bytes as usize } else { 0 };
        Self {
            initialised: watched.initialised,
            races: watched.races,
            counting: watched.counting,
            tracker: Arc::clone(watched.tracker),
            launch: watched.launch,
            order: BlockOrder::new(watched.tracker, &watched.launch, block, warps),
            warp: 0,
            shared: Arc::new(Shadow::new(if watched.checking() { shared_bytes } else { 0 })),
            rank: 0,
            local: vec![false; local_bytes * 32 * warps as usize],
            local_bytes,
            defined: vec![0; registers * warps as usize],
            registers,
            counted: Counted::new(if watched.counting { program.code.len() } else { 0 }),
            conflict: None,
        }
    }

    /// Who wrote and read the shared memory of the block.
    pub(crate) fn shared_shadow(&self) -> *const Shadow {
        if self.initialised || self.races { Arc::as_ptr(&self.shared) } else { std::ptr::null() }
    }

    /// Makes a cluster of blocks that have all begun, and have done nothing yet.
    pub(crate) fn join(mut blocks: Vec<&mut Self>) {
        (0..).zip(&mut blocks).for_each(|(rank, block)| block.rank = rank);
        order::join(blocks.into_iter().map(|block| &mut block.order).collect());
    }

    /// Lanes of the warp arrive at the barrier of the cluster.
    pub(crate) fn cluster_arrive(&mut self, releases: bool) {
        if self.races {
            self.order.cluster_arrive(&self.tracker, self.warp, releases);
        }
    }

    /// All threads of the cluster have arrived at its barrier.
    pub(crate) fn cluster_complete(&self) {
        if self.races {
            self.order.cluster_complete();
        }
    }

    /// Lanes of the warp have waited at the barrier of the cluster.
    pub(crate) fn cluster_pass(&mut self) {
        if self.races {
            self.order.cluster_pass(&self.tracker, self.warp);
        }
    }

    /// The warp arrives at an `mbarrier`, which has an address that all blocks of the cluster know it by.
    pub(crate) fn mbarrier_arrive(&mut self, address: u64, releases: bool) {
        if self.races {
            self.order.arrive_at(&self.tracker, self.warp, address, releases);
        }
    }

    /// A phase of an `mbarrier` ends.
    pub(crate) fn mbarrier_complete(&self, address: u64) {
        if self.races {
            self.order.complete(address);
        }
    }

    /// An `mbarrier` begins anew.
    pub(crate) fn mbarrier_renew(&self, address: u64) {
        if self.races {
            self.order.renew(address);
        }
    }

    /// The warp has waited for the last phase of an `mbarrier`.
    pub(crate) fn mbarrier_wait(&mut self, address: u64) {
        if self.races {
            self.order.wait_for(&self.tracker, self.warp, address);
        }
    }

    /// Begins another block of the same launch.
    pub(crate) fn begin_block(&mut self, block: u64) {
        // Stamps of blocks before this one are below its first segment: shared memory counts as new.
        self.order = BlockOrder::new(&self.tracker, &self.launch, block, self.order.warps.len() as u32);
        self.local.fill(false);
        self.defined.fill(0);
    }

    pub(crate) fn end_block(&self) {
        self.order.end(&self.tracker);
    }

    /// Adds what was counted since the last call to what was counted elsewhere.
    pub(crate) fn take_counts(&mut self, into: &mut Counted) {
        self.counted.move_to(into);
    }

    /// Counts an operation whose guard lets no lane execute it: it takes its turn all the same.
    pub(crate) fn passed_over(&mut self, pc: u32) {
        if self.counting {
            self.counted.executed(pc as usize, 0);
        }
    }

    /// The warp that runs from now on.
    pub(crate) fn enter(&mut self, warp: u32) {
        self.warp = warp;
    }

    /// All lanes of the warp waited for one another. (This and what follows is about order, which matters to races alone.)
    pub(crate) fn warp_barrier(&mut self) {
        if self.races {
            self.order.warp_barrier(&self.tracker, self.warp);
        }
    }

    /// A barrier where the warps `here` waited, all that are left if `all` says so.
    pub(crate) fn barrier(&mut self, barrier: u32, here: &[u32], all: bool) {
        if self.races {
            self.order.barrier(&self.tracker, barrier, here, all);
        }
    }

    /// The warp arrives at a barrier, and does not wait there.
    pub(crate) fn arrive(&mut self, barrier: u32) {
        if self.races {
            self.order.arrive(&self.tracker, self.warp, barrier);
        }
    }

    pub(crate) fn fence(&mut self, lanes: u32, device: bool) {
        if self.races {
            self.order.fence(&self.tracker, self.warp, lanes, device);
        }
    }

    pub(crate) fn dependencies_waited(&mut self) {
        self.order.wait(&self.launch, self.warp);
    }

    pub(crate) fn dependents_launched(&mut self) {
        self.order.let_begin();
    }

    /// A function begins in a lane: nothing has written its local variables, and the rest of its frame is not for it to
    /// write.
    pub(crate) fn open_frame(&mut self, lane: u32, frame: Range<u64>, variables: Range<u64>) {
        let start = (self.warp as usize * 32 + lane as usize) * self.local_bytes;
        if self.initialised {
            let local = &mut self.local[start..start + self.local_bytes];
            local[frame.start as usize..frame.end as usize].fill(true);
            local[variables.start as usize..variables.end as usize].fill(false);
        }
    }

    /// Registers have the values that another activation of their function gave them: whether those were defined is not
    /// known any more, and is not doubted.
    pub(crate) fn define(&mut self, observed: &Observed, saved: &Saved, lanes: u32) {
        let predicates = saved.predicates.iter().map(|predicate| predicate | PREDICATE);
        for register in saved.words.iter().chain(&saved.longs).copied().chain(predicates) {
            if let Ok(place) = observed.registers.binary_search(&register) {
                *self.defined(place as u32) |= lanes;
            }
        }
    }

    fn defined(&mut self, register: u32) -> &mut u32 {
        &mut self.defined[self.warp as usize * self.registers + register as usize]
    }

    /// Whether each lane's value of a shuffled row is defined.
    pub(crate) fn before_shuffle(&mut self, observed: &Observed, source: Slot) -> u32 {
        self.defined_slot(observed, Some(source).filter(|slot| slot & CONSTANT == 0))
    }

    /// A shuffle has given lanes values that are defined, or not.
    pub(crate) fn shuffled(&mut self, observed: &Observed, op: &Op, lanes: u32, defined: u32) {
        let in_range = op.e | PREDICATE;
        for (register, defined) in [(op.d, defined), (in_range, u32::MAX)] {
            if let Ok(place) = observed.registers.binary_search(&register) {
                let known = self.defined(place as u32);
                *known = *known & !lanes | defined & lanes;
            }
        }
    }

    /// The lanes in which a slot, if it is that of a watched register, is defined.
    fn defined_slot(&mut self, observed: &Observed, register: Option<Register>) -> u32 {
        let Some(register) = register else { return u32::MAX };
        match observed.registers.binary_search(&register) {
            Ok(place) => *self.defined(place as u32),
            Err(_) => u32::MAX,
        }
    }
}

/// The lanes in which a source of a predicate is defined and has a value that decides what the result is.
fn decided(warp: &mut Warp<'_>, op: &Op, by: bool) -> u32 {
    let values = [op.a, op.b].map(|slot| warp.predicate(slot));
    let Some((observed, observer)) = warp.watched() else { return 0 };
    let sources = [op.a, op.b].into_iter().zip(values);
    sources.fold(0, |all, (slot, value)| {
        all | (if by { value } else { !value }) & observer.defined_slot(observed, Some(slot | PREDICATE))
    })
}

/// The lanes of a shuffle in which it is not defined from where to take a value.
fn undefined_shuffle(warp: &mut Warp<'_>, op: &Op) -> u32 {
    let Some((observed, observer)) = warp.watched() else { return 0 };
    let row = |slot: Slot| Some(slot).filter(|slot| slot & CONSTANT == 0);
    let guard = Some(op.guard).filter(|guard| *guard != NO_SLOT).map(|guard| (guard / 2) | PREDICATE);
    let needed = [row(op.b), row(op.c), row(member_mask_slot(op)), guard];
    !needed.into_iter().fold(u32::MAX, |all, register| all & observer.defined_slot(observed, register))
}

/// The lanes of a `selp` whose chosen source, or whose predicate, is not defined.
fn undefined_choice(warp: &mut Warp<'_>, op: &Op) -> u32 {
    let chosen = warp.predicate(op.c);
    let Some((observed, observer)) = warp.watched() else { return 0 };
    let row = |slot: Slot| Some(slot).filter(|slot| slot & CONSTANT == 0);
    let [a, b, predicate] =
        [row(op.a), row(op.b), Some(op.c | PREDICATE)].map(|register| observer.defined_slot(observed, register));
    chosen & !a | !chosen & !b | !predicate
}

/// Executes an operation, and looks at what it does.
pub(crate) struct Watch;

impl Operation for Watch {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        let Some((observed, observer)) = warp.watched() else { return Next::Fault };
        // SAFETY: `Watch` is only in the code of `observed`, so `op` is in it.
        let pc = unsafe { std::ptr::from_ref(op).offset_from(observed.code.as_ptr()) } as usize;
        let entry = &observed.entries[pc];
        if observer.counting {
            observer.counted.executed(pc, mask);
        }
        let mut copied = mask;
        if observer.initialised && !entry.reads.is_empty() {
            let undefined = entry.reads.iter().fold(0, |all, read| all | mask & !*observer.defined(*read));
            if undefined != 0 {
                match entry.copies {
                    Copies::No => {
                        warp.fault(FaultKind::UninitialisedRegister, undefined.trailing_zeros());
                        return Next::Fault;
                    }
                    Copies::Yes => copied = mask & !undefined,
                    Copies::Chosen => copied = mask & !undefined_choice(warp, op),
                    Copies::UnlessFalse => copied = mask & (!undefined | decided(warp, op, false)),
                    Copies::UnlessTrue => copied = mask & (!undefined | decided(warp, op, true)),
                    Copies::Shuffled => {
                        let undefined = mask & undefined_shuffle(warp, op);
                        if undefined != 0 {
                            warp.fault(FaultKind::UninitialisedRegister, undefined.trailing_zeros());
                            return Next::Fault;
                        }
                    }
                }
            }
        }
        // (A closure would be compiled for any processor.)
        if let Some(memory) = &entry.memory
            && !access::watch(warp, op, pc, (memory, entry.used_bytes), mask)
        {
            return Next::Fault;
        }
        let learns = |memory: &MemoryUse| memory.strength != Strength::Weak && memory.kind != MemoryKind::Store;
        let strong = entry.memory.filter(learns).map(|memory| (memory, warp.addresses(op)));
        // SAFETY: the operation is of this warp's program, and was chosen for this processor.
        let next = unsafe { (entry.exec)(warp, op, mask) };
        if let Some((memory, addresses)) = strong {
            access::learn(warp, &memory, &addresses, mask);
        }
        if next == Next::Wait
            && let Some((_, observer)) = warp.watched().filter(|(_, observer)| observer.counting)
        {
            observer.counted.not_executed(pc, mask);
        }
        if let Some((_, observer)) = warp.watched().filter(|_| entry.copies != Copies::Shuffled) {
            for write in &entry.writes {
                let defined = observer.defined(*write);
                *defined = *defined & !mask | copied;
            }
        }
        next
    }
}
