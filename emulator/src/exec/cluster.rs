//! A cluster: blocks that run in turn on one thread, reach one another's shared memory, and meet at a barrier of their own.
//! A block that has no others is a cluster too.

use super::block::{Block, Progress};
use super::grid::Grid;
use super::output::Output;
use crate::fault::{Fault, FaultKind};
use crate::memory::{Memory, Window};
use crate::observe::{Observer, Watched};
use crate::ops::transfer::InFlight;

/// The most blocks that a cluster may have.
pub(super) const MAX_BLOCKS: u32 = 16;

/// The shared memory of block `r` of a cluster begins at `(r + 1) << RANK_SHIFT` for all blocks of the cluster; below is a
/// block's own.
pub(crate) const RANK_SHIFT: u32 = 24;

/// How often all threads of a cluster may find, one after the other, that nothing has come of what they wait for.
const MOST_EXPIRED: u32 = 1 << 14;

/// What a block knows of the blocks of its cluster.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    /// Its own number.
    rank: u32,
    /// The shared memory of each, at address 0; none of those that have ended.
    shared: Vec<Window>,
    /// The copies between them, and to them, that have not landed.
    in_flight: InFlight,
}

impl Neighbours {
    pub(crate) fn rank(&self) -> u32 {
        self.rank
    }

    pub(crate) fn count(&self) -> u32 {
        self.shared.len() as u32
    }

    /// The copies that have not landed.
    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// The block's own shared memory.
    pub(crate) fn own(&self) -> Window {
        self.shared.get(self.rank as usize).copied().unwrap_or(Window::NONE)
    }

    /// The block that an address in shared memory belongs to, and its offset there.
    #[inline(always)]
    pub(crate) fn place(&self, address: u64) -> (u64, u64) {
        match address >> RANK_SHIFT {
            0 => (u64::from(self.rank), address),
            block => (block - 1, address & ((1 << RANK_SHIFT) - 1)),
        }
    }

    /// The address by which all blocks of the cluster know a byte of shared memory.
    pub(crate) fn common_address(&self, address: u64) -> u64 {
        let (block, offset) = self.place(address);
        (block + 1) << RANK_SHIFT | offset
    }

    /// The shared memory that an address lies in, which begins at the address that is returned with it.
    pub(crate) fn window(&self, address: u64) -> (Window, u64) {
        let (block, offset) = self.place(address);
        let window = usize::try_from(block).ok().and_then(|block| self.shared.get(block));
        (window.copied().unwrap_or(Window::NONE), address - offset)
    }

    /// Whether a block has ended: its shared memory is not there any more.
    pub(crate) fn has_ended(&self, address: u64) -> bool {
        let (block, _) = self.place(address);
        block < u64::from(self.count()) && self.window(address).0.host.is_null() && !self.own().host.is_null()
    }
}

/// The blocks of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// By their number in the cluster.
    blocks: Vec<Block>,
    ended: Vec<bool>,
    instructions: u64,
    /// How often in a row nobody could do anything but wait.
    expired: u32,
}

impl Cluster {
    /// A cluster of a grid, not begun; it may be used for several, one after the other.
    pub(super) fn new(grid: &Grid<'_>) -> Self {
        let mut cluster = Self { blocks: Vec::new(), ended: Vec::new(), instructions: 0, expired: 0 };
        cluster.prepare(grid);
        cluster
    }

    /// Makes ready for the clusters of a grid.
    pub(super) fn prepare(&mut self, grid: &Grid<'_>) {
        let count = grid.cluster_blocks() as usize;
        self.blocks.truncate(count);
        self.blocks.iter_mut().for_each(|block| block.prepare(grid));
        self.blocks.resize_with(count, || Block::new(grid));
    }

    /// Begins a cluster, whose first block is at `first` in the grid.
    /// `waits` says that blocks of this grid were seen to go round and round.
    pub(super) fn begin(&mut self, grid: &Grid<'_>, watched: Option<&Watched<'_>>, first: [u32; 3], waits: bool) {
        for (block, at) in self.blocks.iter_mut().zip(grid.blocks_of_cluster(first)) {
            block.begin(grid, watched, (grid.number_of(at), at), waits);
        }
        (self.instructions, self.expired) = (0, 0);
        let in_flight = self.blocks[0].neighbours.in_flight.clone();
        in_flight.clear();
        self.ended.clear();
        self.ended.resize(self.blocks.len(), false);
        for rank in 0..self.blocks.len() {
            let window = self.blocks[rank].shared_window(grid);
            self.blocks[rank].neighbours.rank = rank as u32;
            if rank > 0 {
                self.blocks[rank].neighbours.in_flight = in_flight.clone();
            }
            for block in &mut self.blocks {
                block.neighbours.shared.resize(grid.cluster_blocks() as usize, Window::NONE);
                block.neighbours.shared[rank] = window;
            }
        }
        if self.blocks.len() > 1 {
            Observer::join(self.blocks.iter_mut().filter_map(Block::observer).collect());
        }
    }

    /// The blocks.
    pub(super) fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }

    /// Runs the cluster for a while, or to its end.
    pub(super) fn run(
        &mut self,
        grid: &Grid<'_>,
        memory: &Memory,
        output: &Output<'_>,
    ) -> Result<Progress, Box<Fault>> {
        let count = self.blocks.len() as u32;
        let mut expire = false;
        loop {
            let (mut turned, mut progressed) = (false, false);
            for rank in self.blocks[0].schedule.order(count) {
                let rank = rank as usize;
                if self.ended[rank] {
                    continue;
                }
                match self.blocks[rank].run(grid, memory, output, expire)? {
                    Progress::Ended(instructions) => {
                        self.instructions += instructions;
                        self.end(rank);
                        progressed = true;
                    }
                    Progress::Turned => turned = true,
                    Progress::Waits(some) => progressed |= some,
                }
            }
            if self.ended.iter().all(|ended| *ended) {
                return Ok(Progress::Ended(self.instructions));
            }
            progressed |= self.complete_barrier(grid);
            if turned {
                return Ok(Progress::Turned);
            }
            if progressed && !expire {
                continue;
            }
            if expire && !progressed {
                return Err(self.stuck_at_barrier(grid));
            }
            // What all threads wait for, nobody of them will do: only the end of the time of a wait can help.
            if !expire {
                expire = true;
                continue;
            }
            expire = false;
            self.expired = if self.has_advanced(grid) { 0 } else { self.expired + 1 };
            if self.expired > MOST_EXPIRED {
                return Err(self.fail(grid, FaultKind::EndlessWait));
            }
            if self.expired % 64 == 63 {
                // Another block may have to do something first.
                return Ok(Progress::Turned);
            }
        }
    }

    /// A block has ended.
    fn end(&mut self, rank: usize) {
        self.ended[rank] = true;
        for block in &mut self.blocks {
            if let Some(window) = block.neighbours.shared.get_mut(rank) {
                *window = Window::NONE;
            }
        }
    }

    /// Lets the threads pass the barrier of the cluster, if all that have not ended have arrived there.
    fn complete_barrier(&mut self, grid: &Grid<'_>) -> bool {
        let warps = grid.warps();
        let mut some = false;
        for (block, ended) in self.blocks.iter_mut().zip(&self.ended) {
            for lanes in block.lanes_mut(warps).iter().filter(|_| !ended) {
                if !lanes.at_cluster_barrier() {
                    return false;
                }
                some |= !lanes.done();
            }
        }
        if some {
            for lanes in self.blocks.iter_mut().flat_map(|block| block.lanes_mut(warps)) {
                lanes.cluster_passed = std::mem::take(&mut lanes.cluster_arrived);
                lanes.advanced = true;
            }
            if let Some(observer) = self.blocks[0].observer() {
                observer.cluster_complete();
            }
        }
        some
    }

    /// The fault of threads that wait at the barrier of the cluster for others that do not come.
    fn stuck_at_barrier(&mut self, grid: &Grid<'_>) -> Box<Fault> {
        let warps = grid.warps();
        let all = self.blocks.iter_mut().zip(&self.ended).filter(|(_, ended)| !**ended);
        let (mut arrived, mut expected) = (0, 0);
        for lanes in all.flat_map(|(block, _)| block.lanes_mut(warps)) {
            arrived += lanes.cluster_arrived.count_ones();
            expected += lanes.live();
        }
        self.fail(grid, FaultKind::ClusterBarrierDivergence { arrived, expected })
    }

    /// Whether a thread got what it waited for since the last call.
    fn has_advanced(&mut self, grid: &Grid<'_>) -> bool {
        let warps = grid.warps();
        let all = self.blocks.iter_mut().flat_map(|block| block.lanes_mut(warps));
        all.fold(false, |some, lanes| std::mem::take(&mut lanes.advanced) | some)
    }

    /// A fault of a thread that waits.
    fn fail(&mut self, grid: &Grid<'_>, kind: FaultKind) -> Box<Fault> {
        let warps = grid.warps();
        let waits = |block: &mut Block| block.lanes_mut(warps).iter().position(super::warp::Lanes::waits);
        let found = self.blocks.iter_mut().enumerate().find_map(|(rank, block)| Some((rank, waits(block)? as u32)));
        let (rank, warp) = found.unwrap_or((0, 0));
        self.blocks[rank].fail(grid, kind, warp)
    }
}
