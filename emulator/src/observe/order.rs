//! What comes before what: the order of accesses that the PTX memory model makes, for the check of races.
//!
//! The accesses of a warp are divided into segments, numbered in the order in which they begin: a warp begins a new one at
//! each barrier and fence. An access is known by its segment and its thread ([`Stamp`]). It comes before another one
//!
//! - of the same thread,
//! - of its block, if a barrier of the block lies between (the segment is below [`BlockOrder::below`]), or of some of its
//!   warps ([`WarpOrder::known`]), or `bar.warp.sync` for two lanes of a warp ([`WarpOrder::synced`]),
//! - of a block of its cluster, if the barrier of the cluster or an `mbarrier` lies between ([`Meeting`]),
//! - of a later launch (the segment is below [`WarpOrder::floor`]), where launches that may overlap come after one another
//!   only from `griddepcontrol.wait` on,
//! - and of any thread that acquired what this one released: a fence, and after it a strong write to some address, which
//!   the other thread reads strongly, with a fence after it ([`Released`], [`Log`]). An atomic operation that reads counts
//!   as followed by a fence: the sum of partial results in the last block, as everybody writes it, has a fence on the one
//!   side only.
//!
//! Where this is coarser than the model, it takes more for ordered than is: a race may be missed, but none is invented. So
//! `bar.warp.sync` orders all lanes of its warp, whatever its mask says; and of the reads of several blocks one stamp is
//! kept, so that a write of a block counts as after them if it has acquired anything since they began.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shadow::{HOST_SEGMENT, Stamp};

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Segments from which the numbers begin anew at the next launch. All are below 2^31, so that stamps are positive.
const MOST_SEGMENTS: u32 = 1 << 30;

/// Whose accesses a stamp stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readers {
    One,
    /// Several lanes of its warp.
    Lanes,
    /// Several warps of its block.
    Warps,
    /// Several blocks.
    Blocks,
}

/// The segments of a block.
#[derive(Debug, Clone, Copy)]
struct OfBlock {
    end: u32,
    block: u64,
    launch: u64,
}

/// What launches of a device have in common.
#[derive(Debug)]
pub(crate) struct Tracker {
    next: AtomicU32,
    /// By the first segment.
    ranges: Mutex<BTreeMap<u32, OfBlock>>,
    /// What was released to an address of global memory in this launch.
    logs: Mutex<HashMap<u64, Arc<Log>>>,
    chain: Mutex<Chain>,
    /// Blocks of the launch that waited for what it depends on, and that let others begin before they did.
    waited: AtomicU32,
    early: AtomicU32,
    /// How many segments a block of this launch has had at most.
    typical: AtomicU32,
}

/// The launches that may still run when one begins that overlaps.
#[derive(Debug, Clone, Copy, Default)]
struct Chain {
    launches: u64,
    /// The first segment of the last launch.
    last: u32,
    /// The first segment that the last launch did not come after, before it waited.
    unfinished: u32,
    /// Whether all blocks of the last launch waited, so that its end is the end of those before it.
    waited: bool,
    /// Whether it let others begin before it had waited.
    early: bool,
}

/// The segments that a launch comes after.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaunchOrder {
    /// All below this, from the first instruction on.
    pub(super) floor: u32,
    /// All below this, after `griddepcontrol.wait`.
    pub(super) waited_floor: u32,
    /// Segments below it that nevertheless are not, between two others that are.
    pub(super) gap: (u32, u32),
    launch: u64,
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            next: AtomicU32::new(HOST_SEGMENT + 1),
            ranges: Mutex::default(),
            logs: Mutex::default(),
            chain: Mutex::default(),
            waited: AtomicU32::new(0),
            early: AtomicU32::new(0),
            typical: AtomicU32::new(0),
        }
    }
}

impl Tracker {
    /// Whether the numbers are used up: before the next launch the shadows have to forget the kernels, and then
    /// [`Tracker::restart`].
    pub(crate) fn is_used_up(&self) -> bool {
        self.next.load(Ordering::Relaxed) > MOST_SEGMENTS
    }

    /// Begins to number anew.
    pub(crate) fn restart(&self) {
        self.next.store(HOST_SEGMENT + 1, Ordering::Relaxed);
        locked(&self.ranges).clear();
        let mut chain = locked(&self.chain);
        *chain = Chain { launches: chain.launches, last: HOST_SEGMENT + 1, unfinished: HOST_SEGMENT + 1, ..*chain };
    }

    /// Begins a launch, which may overlap with the one before it if both say so.
    pub(super) fn begin(&self, overlaps: bool) -> LaunchOrder {
        let first = self.next.load(Ordering::Relaxed);
        let mut chain = locked(&self.chain);
        chain.launches += 1;
        let launch = chain.launches;
        let order = if overlaps && launch > 1 {
            // What the one before it came after only when it waited may go on, unless it let nobody begin until then.
            let floor = if chain.waited && !chain.early { chain.last } else { chain.unfinished };
            let gap = if chain.waited { (0, 0) } else { (chain.unfinished, chain.last) };
            chain.unfinished = floor;
            LaunchOrder { floor, waited_floor: first, gap, launch }
        } else {
            chain.unfinished = first;
            LaunchOrder { floor: first, waited_floor: first, gap: (0, 0), launch }
        };
        chain.last = first;
        let oldest = chain.unfinished;
        drop(chain);
        self.waited.store(0, Ordering::Relaxed);
        self.early.store(0, Ordering::Relaxed);
        self.typical.store(0, Ordering::Relaxed);
        // A fault is reported while its launch and those that overlap with it are known.
        let mut ranges = locked(&self.ranges);
        *ranges = ranges.split_off(&oldest);
        order
    }

    /// Ends a launch of so many blocks.
    pub(super) fn end(&self, overlaps: bool, blocks: u64) {
        let mut chain = locked(&self.chain);
        chain.waited = !overlaps || u64::from(self.waited.load(Ordering::Relaxed)) >= blocks;
        chain.early = self.early.load(Ordering::Relaxed) > 0;
        // Logs may hold one another.
        for (_, log) in locked(&self.logs).drain() {
            locked(&log.entries).clear();
        }
    }

    /// Ends what launches may overlap with: other work lies between them.
    pub(crate) fn other_work(&self) {
        let mut chain = locked(&self.chain);
        let next = self.next.load(Ordering::Relaxed);
        *chain = Chain { launches: chain.launches, last: next, unfinished: next, waited: true, early: false };
    }

    fn reserve(&self, count: u32, block: u64, launch: u64) -> Range<u32> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let end = first.saturating_add(count);
        locked(&self.ranges).insert(first, OfBlock { end, block, launch });
        first..end
    }

    /// The number of the block that a segment is of, and whether it is of this launch.
    pub(super) fn block_of(&self, segment: u32, order: &LaunchOrder) -> Option<(u64, bool)> {
        let ranges = locked(&self.ranges);
        let (_, of) = ranges.range(..=segment).next_back()?;
        (segment < of.end).then_some((of.block, of.launch == order.launch))
    }

    fn log(&self, address: u64, make: bool) -> Option<Arc<Log>> {
        let mut logs = locked(&self.logs);
        if make { Some(Arc::clone(logs.entry(address).or_default())) } else { logs.get(&address).cloned() }
    }
}

/// What of a block a thread has made known: its accesses up to a fence.
#[derive(Debug)]
pub(super) struct Released {
    /// Whether the fence was for other blocks too.
    device: bool,
    ranges: Vec<Range<u32>>,
    below: u32,
    /// The accesses of some warps up to a segment, and those of the threads that executed the fence.
    warps: Vec<(u32, u32)>,
    threads: Vec<(u32, u32)>,
    /// What the thread had acquired itself.
    acquired: Vec<(Arc<Log>, usize)>,
}

impl Released {
    fn covers(&self, stamp: Stamp) -> bool {
        let segment = stamp.segment();
        self.ranges.iter().any(|range| range.contains(&segment))
            && (segment < self.below
                || self.warps.iter().any(|&(warp, below)| stamp.warp() == warp && segment < below)
                || self.threads.iter().any(|&(thread, below)| stamp.thread() == thread && segment < below))
    }
}

/// What was released to one address, in order. Whoever acquires from there knows what there is at that time.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Mutex<Vec<Arc<Released>>>,
}

/// What a thread acquired: for each log, how much of it. By the first segment of each block, for look-up.
#[derive(Debug, Clone, Default)]
struct Acquired {
    logs: Vec<(Arc<Log>, usize)>,
    /// What the logs say, once that was asked for.
    known: Option<Arc<BTreeMap<u32, Vec<Arc<Released>>>>>,
    /// All segments that had begun when it last acquired something are below this.
    when: u32,
}

impl Acquired {
    fn add(&mut self, log: &Arc<Log>, length: usize, when: u32) {
        self.when = self.when.max(when);
        match self.logs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, log)) {
            Some((_, known)) if *known >= length => return,
            Some((_, known)) => *known = length,
            None => self.logs.push((Arc::clone(log), length)),
        }
        self.known = None;
    }

    fn add_all(&mut self, other: &Self) {
        self.when = self.when.max(other.when);
        for (log, length) in &other.logs {
            self.add(log, *length, other.when);
        }
    }

    fn covers(&mut self, stamp: Stamp, own_block: bool) -> bool {
        if self.logs.is_empty() {
            return false;
        }
        let known = self.known.get_or_insert_with(|| Arc::new(flatten(&self.logs)));
        let before = known.range(..=stamp.segment()).rev();
        // A block's ranges are apart from all others', so the nearest that begins below is the only one that can fit.
        before.take(1).any(|(_, released)| {
            released.iter().any(|released| (released.device || own_block) && released.covers(stamp))
        })
    }
}

/// All that is in logs, and in those that were acquired by who wrote there.
fn flatten(logs: &[(Arc<Log>, usize)]) -> BTreeMap<u32, Vec<Arc<Released>>> {
    let mut all: BTreeMap<u32, Vec<Arc<Released>>> = BTreeMap::new();
    let mut seen: HashMap<*const Log, usize> = HashMap::new();
    let mut listed: HashSet<*const Released> = HashSet::new();
    let mut waiting = logs.to_vec();
    while let Some((log, length)) = waiting.pop() {
        let done = seen.entry(Arc::as_ptr(&log)).or_insert(0);
        if *done >= length {
            continue;
        }
        let entries: Vec<Arc<Released>> = locked(&log.entries).iter().take(length).skip(*done).cloned().collect();
        *done = length;
        for released in entries {
            if listed.insert(Arc::as_ptr(&released)) {
                for range in &released.ranges {
                    all.entry(range.start).or_default().push(Arc::clone(&released));
                }
                waiting.extend(released.acquired.iter().cloned());
            }
        }
    }
    all
}

/// The order of a warp's accesses.
#[derive(Debug)]
pub(super) struct WarpOrder {
    pub(super) segment: u32,
    /// The warp's own segments below this come before all its lanes.
    pub(super) synced: u32,
    pub(super) floor: u32,
    /// For each warp of the cluster the segments of it that come before, if barriers of only some warps, or other than those
    /// of the block, made it so. Nothing is there if none did.
    known: Vec<u32>,
    /// The segments that had begun when it last came to know some are below this.
    known_when: u32,
    /// What it knew, with its own segments, at its last fence.
    fenced: Vec<u32>,
    acquired: Acquired,
    /// What was read strongly and counts when a fence follows.
    pending: Acquired,
    /// What the last fence of each lane released, by the mask of the lanes.
    released: Vec<(u32, Arc<Released>)>,
}

/// The order of a block's accesses.
#[derive(Debug)]
pub(super) struct BlockOrder {
    pub(super) block: u64,
    launch: u64,
    ranges: Vec<Range<u32>>,
    next: u32,
    /// The block's own segments below this come before all its threads.
    pub(super) below: u32,
    pub(super) gap: (u32, u32),
    pub(super) warps: Vec<WarpOrder>,
    /// For warps that arrived at a barrier and did not wait there: the barrier, and of each warp the segments before that.
    arrived: Vec<(u32, Vec<u32>)>,
    /// Its number in its cluster, and how many blocks that has.
    rank: u32,
    count: u32,
    /// Stamps in shared memory that are below this are of blocks that had it before.
    pub(super) shared_since: u32,
    cluster: Arc<Mutex<ClusterOrder>>,
    has_waited: bool,
    let_begin_early: bool,
}

/// Threads that wait for one another elsewhere than at a barrier of their block: at that of the cluster, or an `mbarrier`.
#[derive(Debug, Default)]
struct Meeting {
    /// What those know that have arrived in this phase.
    arrived: Knowledge,
    /// What those knew that arrived in the phase before.
    done: Knowledge,
}

/// What comes before: for each warp of the cluster the segments below, what was acquired, and the floor.
#[derive(Debug, Clone, Default)]
struct Knowledge {
    known: Vec<u32>,
    acquired: Acquired,
    floor: u32,
}

fn join_known(known: &mut Vec<u32>, other: &[u32]) {
    known.resize(known.len().max(other.len()), 0);
    known.iter_mut().zip(other).for_each(|(known, other)| *known = (*known).max(*other));
}

/// What the blocks of a cluster have in common.
#[derive(Debug, Default)]
struct ClusterOrder {
    /// The segments of each block, by its number; empty if there is only one.
    ranges: Vec<(Range<u32>, u32)>,
    /// Who met at the barrier of the cluster ([`CLUSTER_BARRIER`]), and at an address in shared memory.
    meetings: HashMap<u64, Meeting>,
    /// What was released to an address in shared memory.
    logs: HashMap<u64, Arc<Log>>,
}

/// The barrier of the cluster, among addresses in shared memory.
const CLUSTER_BARRIER: u64 = u64::MAX;

/// Makes a cluster of blocks that have done nothing yet.
pub(super) fn join(mut blocks: Vec<&mut BlockOrder>) {
    let since = blocks.iter().map(|block| block.shared_since).min().unwrap_or(0);
    let cluster = Arc::<Mutex<ClusterOrder>>::default();
    let count = blocks.len() as u32;
    for (rank, block) in (0..).zip(&mut blocks) {
        (block.rank, block.count, block.shared_since) = (rank, count, since);
        block.cluster = Arc::clone(&cluster);
        locked(&cluster).ranges.extend(block.ranges.iter().map(|range| (range.clone(), rank)));
    }
}

impl WarpOrder {
    /// The segments that had begun when it last acquired something, or came to know it, are below this.
    pub(super) fn acquired_when(&self) -> u32 {
        self.acquired.when.max(self.known_when)
    }
}

impl BlockOrder {
    pub(super) fn new(tracker: &Tracker, order: &LaunchOrder, block: u64, warps: u32) -> Self {
        let typical = tracker.typical.load(Ordering::Relaxed).max(4 * warps);
        let range = tracker.reserve(typical, block, order.launch);
        let (first, floor) = (range.start, order.floor);
        let warp = |index: u32| WarpOrder {
            segment: first + index,
            synced: 0,
            floor,
            known: Vec::new(),
            known_when: 0,
            fenced: Vec::new(),
            acquired: Acquired::default(),
            pending: Acquired::default(),
            released: Vec::new(),
        };
        Self {
            block,
            launch: order.launch,
            ranges: vec![range],
            next: first + warps,
            below: first,
            gap: order.gap,
            warps: (0..warps).map(warp).collect(),
            arrived: Vec::new(),
            rank: 0,
            count: 1,
            shared_since: first,
            cluster: Arc::default(),
            has_waited: false,
            let_begin_early: false,
        }
    }

    /// Ends the block.
    pub(super) fn end(&self, tracker: &Tracker) {
        let used: u32 = self.ranges.iter().map(|range| self.next.min(range.end).saturating_sub(range.start)).sum();
        tracker.typical.fetch_max(used, Ordering::Relaxed);
        tracker.waited.fetch_add(u32::from(self.has_waited), Ordering::Relaxed);
        tracker.early.fetch_add(u32::from(self.let_begin_early), Ordering::Relaxed);
    }

    /// The newest range of the block's segments, which mostly is the only one.
    #[inline(always)]
    pub(super) fn range(&self) -> &Range<u32> {
        &self.ranges[self.ranges.len() - 1]
    }

    fn new_segment(&mut self, tracker: &Tracker) -> u32 {
        if self.next == self.range().end {
            let count = (self.range().end - self.range().start).saturating_mul(2);
            let range = tracker.reserve(count, self.block, self.launch);
            self.next = range.start;
            if self.count > 1 {
                locked(&self.cluster).ranges.push((range.clone(), self.rank));
            }
            self.ranges.push(range);
        }
        self.next += 1;
        self.next - 1
    }

    /// Whether a segment is of this block.
    pub(super) fn owns(&self, segment: u32) -> bool {
        self.ranges.iter().any(|range| range.contains(&segment))
    }

    /// Whether an access, or the accesses of several threads that a stamp stands for, come before those of a thread now.
    pub(super) fn comes_before(&mut self, stamp: Stamp, of: Readers, thread: u32) -> bool {
        let segment = stamp.segment();
        let own = self.owns(segment);
        let rank = if own { Some(self.rank) } else { self.rank_of(segment) };
        let place = rank.map(|rank| self.place(rank, stamp.warp()));
        let warp = &mut self.warps[(thread / 32) as usize];
        if segment < warp.floor {
            // Those that have not waited have a floor below the gap.
            return !(self.gap.0..self.gap.1).contains(&segment);
        }
        if of == Readers::Blocks {
            return segment < warp.acquired_when();
        }
        let in_block = own
            && (segment < self.below
                || of == Readers::One && stamp.thread() == thread
                || of <= Readers::Lanes && stamp.warp() == thread / 32 && segment < warp.synced);
        // Which warps several are is not known: what has met some of them counts as having met all.
        let met = match of {
            Readers::Warps => rank.is_some() && segment < warp.known_when,
            _ => place.and_then(|place| warp.known.get(place)).is_some_and(|known| segment < *known),
        };
        in_block || met || warp.acquired.covers(stamp, own)
    }

    /// The number in the cluster of the block that has a segment.
    fn rank_of(&self, segment: u32) -> Option<u32> {
        if self.count == 1 {
            return None;
        }
        let cluster = locked(&self.cluster);
        cluster.ranges.iter().find(|(range, _)| range.contains(&segment)).map(|(_, rank)| *rank)
    }

    /// Where in [`WarpOrder::known`] a warp is.
    fn place(&self, rank: u32, warp: u32) -> usize {
        rank as usize * self.warps.len() + warp as usize
    }

    /// `bar.warp.sync`
    pub(super) fn warp_barrier(&mut self, tracker: &Tracker, warp: u32) {
        let segment = self.new_segment(tracker);
        let of_warp = &mut self.warps[warp as usize];
        (of_warp.segment, of_warp.synced) = (segment, segment);
        of_warp.released.iter_mut().for_each(|(lanes, _)| *lanes = u32::MAX);
    }

    /// `griddepcontrol.wait`
    pub(super) fn wait(&mut self, order: &LaunchOrder, warp: u32) {
        self.warps[warp as usize].floor = order.waited_floor;
        self.has_waited = true;
    }

    /// `griddepcontrol.launch_dependents`
    pub(super) fn let_begin(&mut self) {
        self.let_begin_early |= !self.has_waited;
    }

    /// For each warp of the cluster the segments that come before what a warp does next.
    fn known_to(&self, warp: u32) -> Vec<u32> {
        let of_warp = &self.warps[warp as usize];
        let mut known = of_warp.known.clone();
        known.resize(self.count as usize * self.warps.len(), 0);
        let own = self.place(self.rank, 0)..self.place(self.rank + 1, 0);
        known[own].iter_mut().for_each(|known| *known = self.below.max(*known));
        known[self.place(self.rank, warp)] = of_warp.segment + 1;
        known
    }

    /// A warp arrives somewhere else than at a barrier of the block, and makes known what it did: all of it, or what it did
    /// before its last fence.
    pub(super) fn arrive_at(&mut self, tracker: &Tracker, warp: u32, place: u64, releases: bool) {
        let of_warp = &self.warps[warp as usize];
        let known = if releases { self.known_to(warp) } else { of_warp.fenced.clone() };
        let mut cluster = locked(&self.cluster);
        let arrived = &mut cluster.meetings.entry(place).or_default().arrived;
        join_known(&mut arrived.known, &known);
        arrived.acquired.add_all(&of_warp.acquired);
        arrived.floor = arrived.floor.max(of_warp.floor);
        drop(cluster);
        self.warps[warp as usize].segment = self.new_segment(tracker);
    }

    /// A warp has waited for those that arrived somewhere.
    fn leave(&mut self, tracker: &Tracker, warp: u32, done: &Knowledge) {
        let when = tracker.next.load(Ordering::Relaxed);
        let of_warp = &mut self.warps[warp as usize];
        join_known(&mut of_warp.known, &done.known);
        of_warp.known_when = when;
        of_warp.acquired.add_all(&done.acquired);
        of_warp.floor = of_warp.floor.max(done.floor);
    }

    /// Some lanes arrive at the barrier of the cluster.
    pub(super) fn cluster_arrive(&mut self, tracker: &Tracker, warp: u32, releases: bool) {
        self.arrive_at(tracker, warp, CLUSTER_BARRIER, releases);
    }

    /// All threads of the cluster have arrived at its barrier.
    pub(super) fn cluster_complete(&self) {
        self.complete(CLUSTER_BARRIER);
    }

    /// Lanes have waited at the barrier of the cluster.
    pub(super) fn cluster_pass(&mut self, tracker: &Tracker, warp: u32) {
        self.wait_for(tracker, warp, CLUSTER_BARRIER);
    }

    /// A phase ends of the barrier at a place.
    pub(super) fn complete(&self, place: u64) {
        let mut cluster = locked(&self.cluster);
        let meeting = cluster.meetings.entry(place).or_default();
        meeting.done = std::mem::take(&mut meeting.arrived);
    }

    /// Nobody has arrived at a place.
    pub(super) fn renew(&self, place: u64) {
        locked(&self.cluster).meetings.remove(&place);
    }

    /// A warp has waited for the phase that ended last at a place.
    pub(super) fn wait_for(&mut self, tracker: &Tracker, warp: u32, place: u64) {
        let cluster = Arc::clone(&self.cluster);
        let cluster = locked(&cluster);
        if let Some(meeting) = cluster.meetings.get(&place) {
            self.leave(tracker, warp, &meeting.done);
        }
    }

    /// `bar.arrive`: what the warp did so far comes before what those do that wait there.
    pub(super) fn arrive(&mut self, tracker: &Tracker, warp: u32, barrier: u32) {
        self.arrived.push((barrier, self.known_to(warp)));
        self.warps[warp as usize].segment = self.new_segment(tracker);
    }

    /// A barrier of some warps, or of all that have not ended.
    pub(super) fn barrier(&mut self, tracker: &Tracker, barrier: u32, arrived: &[u32], all: bool) {
        let floor = arrived.iter().map(|warp| self.warps[*warp as usize].floor).max().unwrap_or(0);
        let mut acquired = Acquired::default();
        let mut released: Vec<(u32, Arc<Released>)> = Vec::new();
        for warp in arrived {
            let warp = &self.warps[*warp as usize];
            acquired.add_all(&warp.acquired);
            for (_, one) in &warp.released {
                if !released.iter().any(|(_, known)| Arc::ptr_eq(known, one)) {
                    released.push((u32::MAX, Arc::clone(one)));
                }
            }
        }
        let arrivals: Vec<Vec<u32>> =
            self.arrived.extract_if(.., |(other, _)| *other == barrier).map(|(_, known)| known).collect();
        // After a barrier of all, `below` says it for the whole block.
        if !all || self.count > 1 {
            let mut known = Vec::new();
            let waited: Vec<Vec<u32>> = arrived.iter().map(|warp| self.known_to(*warp)).collect();
            waited.iter().chain(&arrivals).for_each(|one| join_known(&mut known, one));
            arrived.iter().for_each(|warp| self.warps[*warp as usize].known.clone_from(&known));
        }
        let when = arrived.iter().map(|warp| self.warps[*warp as usize].known_when).max().unwrap_or(0);
        let when = if all { when } else { tracker.next.load(Ordering::Relaxed) };
        for warp in arrived {
            let segment = self.new_segment(tracker);
            let of_warp = &mut self.warps[*warp as usize];
            (of_warp.segment, of_warp.synced, of_warp.floor) = (segment, segment, floor);
            of_warp.known_when = when;
            of_warp.acquired.clone_from(&acquired);
            of_warp.released.clone_from(&released);
        }
        if all {
            let first = arrived.iter().map(|warp| self.warps[*warp as usize].segment).min();
            self.below = first.unwrap_or(self.below);
        }
    }

    /// A fence of some lanes: what they acquired counts, and what they know can be released.
    pub(super) fn fence(&mut self, tracker: &Tracker, warp: u32, lanes: u32, device: bool) {
        let fenced = self.known_to(warp);
        let segment = self.new_segment(tracker);
        let (ranges, below) = (self.ranges.clone(), self.below);
        let known_of = |order: &Self, rank: u32| -> Vec<(u32, u32)> {
            let known = &order.warps[warp as usize].known;
            (0..).zip(known.iter().skip(order.place(rank, 0)).take(order.warps.len()).copied()).collect()
        };
        let of_others = self.known_of_others(device, |order, rank| known_of(order, rank));
        let known = known_of(self, self.rank);
        let of_warp = &mut self.warps[warp as usize];
        let pending = std::mem::take(&mut of_warp.pending);
        of_warp.acquired.add_all(&pending);
        (of_warp.segment, of_warp.fenced) = (segment, fenced);
        let released = Released {
            device,
            ranges,
            below,
            warps: std::iter::once((warp, of_warp.synced)).chain(known).collect(),
            threads: (0..32).filter(|lane| lanes >> lane & 1 != 0).map(|lane| (warp * 32 + lane, segment)).collect(),
            acquired: of_warp.acquired.logs.clone(),
        };
        of_warp.released.retain_mut(|(of, _)| {
            *of &= !lanes;
            *of != 0
        });
        of_warp.released.extend(of_others.into_iter().chain([released]).map(|one| (lanes, Arc::new(one))));
    }

    /// What is known of other blocks of the cluster, to be released.
    fn known_of_others(&self, device: bool, known: impl Fn(&Self, u32) -> Vec<(u32, u32)>) -> Vec<Released> {
        let others = (0..self.count).filter(|rank| *rank != self.rank);
        let of = |rank: u32| {
            let warps = known(self, rank);
            let all = locked(&self.cluster);
            let ranges = all.ranges.iter().filter(|(_, of)| *of == rank).map(|(range, _)| range.clone()).collect();
            Released { device, ranges, below: 0, warps, threads: Vec::new(), acquired: Vec::new() }
        };
        others.map(of).filter(|released| !released.warps.is_empty()).collect()
    }

    /// A strong write of a lane, after which others may acquire what its last fence released.
    pub(super) fn strong_write(&mut self, tracker: &Tracker, warp: u32, lane: u32, address: u64, shared: bool) {
        let of_warp = &self.warps[warp as usize];
        let released: Vec<Arc<Released>> = of_warp
            .released
            .iter()
            .filter(|(lanes, _)| lanes >> lane & 1 != 0)
            .map(|(_, one)| Arc::clone(one))
            .collect();
        if released.is_empty() {
            return;
        }
        let log = if shared {
            Arc::clone(locked(&self.cluster).logs.entry(address).or_default())
        } else {
            match tracker.log(address, true) {
                Some(log) => log,
                None => return,
            }
        };
        let mut entries = locked(&log.entries);
        for one in released {
            if !entries.iter().rev().take(64).any(|known| Arc::ptr_eq(known, &one)) {
                entries.push(one);
            }
        }
    }

    /// A strong read of a lane: what was released to the address counts from now on, or from the next fence.
    pub(super) fn strong_read(&mut self, tracker: &Tracker, warp: u32, address: u64, shared: bool, now: bool) {
        let log = if shared { locked(&self.cluster).logs.get(&address).cloned() } else { tracker.log(address, false) };
        let Some(log) = log else { return };
        let length = locked(&log.entries).len();
        let when = tracker.next.load(Ordering::Relaxed);
        let of_warp = &mut self.warps[warp as usize];
        let known = if now { &mut of_warp.acquired } else { &mut of_warp.pending };
        known.add(&log, length, when);
    }
}

impl Drop for BlockOrder {
    fn drop(&mut self) {
        // Logs may hold one another. The last block of a cluster clears them.
        if Arc::strong_count(&self.cluster) == 1 {
            for (_, log) in locked(&self.cluster).logs.drain() {
                locked(&log.entries).clear();
            }
        }
    }
}
