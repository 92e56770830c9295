//! A block: its warps run in turn on one thread, and change over at barriers.
//!
//! A block that goes round and round may wait for what another block has yet to do. So it can be left at any time, to be
//! gone on with later, by the same thread or by another one.

use super::cluster::Neighbours;
use super::grid::Grid;
use super::output::Output;
use super::schedule::Schedule;
use super::warp::{Lanes, Pause, Turns, Warp, WarpMemory};
use crate::fault::{Conflict, Fault, FaultKind};
use crate::memory::{Memory, Window};
use crate::observe::{Observer, Watched};
use crate::ops::control::BarrierReduction;
use crate::program::{LaneMask, Op, Program, ROW, Rows, Special};

/// Turns of a block before another one has one.
const SLICES: u32 = 8;

/// How far a block, or a cluster of blocks, has come.
pub(super) enum Progress {
    /// To its end, after so many instructions, each counted once a lane.
    Ended(u64),
    /// It could go on, but others should now.
    Turned,
    /// All its threads wait for something that other blocks of its cluster may do, or the time of their waits may end.
    /// Says whether any of them did something before.
    Waits(bool),
}

/// A block, with all that it runs in: registers, shared and local memory.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// `blockIdx`
    at: [u32; 3],
    /// Its number among those of the grid.
    number: u64,
    registers: Rows,
    predicates: Vec<u32>,
    shared: Rows,
    local: Rows,
    windows: Vec<Window>,
    lanes: Vec<Lanes>,
    observer: Option<Box<Observer>>,
    pub(super) schedule: Schedule,
    /// The blocks of its cluster.
    pub(super) neighbours: Neighbours,
    /// Turns that it has had.
    slices: u32,
}

// SAFETY: the windows point into the memory of the device, which is used from many threads by atomics, and to shadows,
// which are locked.
unsafe impl Send for Block {}

impl Block {
    /// A block of a grid, not begun; it may be used for several, one after the other.
    pub(super) fn new(grid: &Grid<'_>) -> Self {
        let mut block = Self::default();
        block.prepare(grid);
        block
    }

    /// Makes ready for the blocks of a grid.
    pub(super) fn prepare(&mut self, grid: &Grid<'_>) {
        let program = grid.program;
        let warps = grid.warps() as usize;
        let grow = |rows: &mut Rows, bytes: usize| {
            if rows.len() < bytes {
                *rows = Rows::zeroed(bytes);
            }
        };
        grow(&mut self.registers, warps * program.register_bytes as usize);
        grow(&mut self.shared, grid.shared_bytes() as usize);
        grow(&mut self.local, warps * 32 * program.local_bytes as usize);
        self.predicates.clear();
        self.predicates.resize(warps * program.predicates as usize, 0);
        for of_warp in self.predicates.chunks_exact_mut(program.predicates as usize) {
            of_warp[1] = u32::MAX;
        }
        // Memory may have been freed since the last grid.
        self.windows.clear();
        self.windows.resize(program.windows as usize, Window::NONE);
        self.lanes.resize_with(warps.max(self.lanes.len()), Lanes::default);
        self.observer = None;
        for warp in 0..warps as u32 {
            self.set_specials(grid, warp, None);
        }
    }

    /// Begins a block: the one with this number, at this place in the grid.
    /// `waits` says that blocks of this grid were seen to go round and round.
    pub(super) fn begin(
        &mut self,
        grid: &Grid<'_>,
        watched: Option<&Watched<'_>>,
        (number, at): (u64, [u32; 3]),
        waits: bool,
    ) {
        let program = grid.program;
        let (warps, threads) = (grid.warps(), grid.threads());
        self.at = at;
        self.number = number;
        self.slices = if waits { SLICES + 1 } else { 0 };
        self.schedule = Schedule::new(grid.options.schedule, number);
        self.shared.bytes_mut()[..grid.shared_bytes() as usize].fill(grid.options.poison);
        let (local_bytes, frame_bytes) = (program.local_bytes as usize, program.frame_bytes as usize);
        if frame_bytes > 0 {
            // The frames of functions are filled when they are called.
            let local = &mut self.local.bytes_mut()[..warps as usize * 32 * local_bytes];
            local.chunks_exact_mut(local_bytes).for_each(|local| local[..frame_bytes].fill(grid.options.poison));
        }
        for warp in 0..warps {
            self.set_specials(grid, warp, Some(at));
            let lanes = (threads - warp * 32).min(32);
            let lanes_of_warp = &mut self.lanes[warp as usize];
            lanes_of_warp.start(u32::MAX >> (32 - lanes), program.entry, grid.options.poison);
            lanes_of_warp.instructions = 0;
        }
        match (&mut self.observer, watched) {
            (Some(observer), Some(_)) => observer.begin_block(number),
            (_, None) => self.observer = None,
            (none, Some(watched)) => {
                *none = Some(Box::new(Observer::new(watched, program, warps, grid.shared_bytes(), number)));
            }
        }
    }

    /// What watched the block.
    pub(super) fn observer(&mut self) -> Option<&mut Observer> {
        self.observer.as_deref_mut()
    }

    fn warp_memory(&mut self, grid: &Grid<'_>, warp: u32) -> WarpMemory {
        let (program, warp) = (grid.program, warp as usize);
        let offset = |pointer: *mut u8, bytes: usize| pointer.wrapping_add(warp * bytes);
        WarpMemory {
            registers: offset(self.registers.as_mut_ptr(), program.register_bytes as usize),
            predicates: self.predicates[warp * program.predicates as usize..].as_mut_ptr(),
            local: offset(self.local.as_mut_ptr(), 32 * program.local_bytes as usize),
            parameters: grid.parameters.as_ptr().cast(),
            shared: self.neighbours.own(),
            index: warp as u32,
        }
    }

    /// The block's shared memory, at address 0.
    pub(super) fn shared_window(&mut self, grid: &Grid<'_>) -> Window {
        let shadow = self.observer.as_deref().map_or(std::ptr::null(), Observer::shared_shadow);
        Window { shadow, ..Window::new(0, grid.shared_bytes(), self.shared.as_mut_ptr()) }
    }

    pub(super) fn lanes_mut(&mut self, warps: u32) -> &mut [Lanes] {
        &mut self.lanes[..warps as usize]
    }

    /// Writes the special registers: those of the block, or with `None` those that all blocks share.
    fn set_specials(&mut self, grid: &Grid<'_>, warp: u32, block: Option<[u32; 3]>) {
        let start = warp as usize * grid.program.register_bytes as usize;
        for &(special, slot) in &grid.program.specials {
            let of_block = matches!(
                special,
                Special::Block(_)
                    | Special::Cluster(_)
                    | Special::BlockOfCluster(_)
                    | Special::ClusterRank
                    | Special::Frame
            );
            if of_block != block.is_some() {
                continue;
            }
            let (at, cluster) = (block.unwrap_or_default(), grid.cluster);
            let value = |lane: u32| match special {
                Special::Thread(axis) => grid.thread(warp * 32 + lane)[axis],
                Special::BlockSize(axis) => grid.block[axis],
                Special::Block(axis) => at[axis],
                Special::GridSize(axis) => grid.blocks[axis],
                Special::Cluster(axis) => at[axis] / cluster[axis],
                Special::ClusterCount(axis) => grid.blocks[axis] / cluster[axis],
                Special::BlockOfCluster(axis) => at[axis] % cluster[axis],
                Special::ClusterSize(axis) => cluster[axis],
                Special::ClusterRank => {
                    let [x, y, z] = [0, 1, 2].map(|axis| at[axis] % cluster[axis]);
                    x + cluster[0] * (y + cluster[1] * z)
                }
                Special::ClusterBlocks => cluster.iter().product(),
                Special::ExplicitCluster => u32::from(cluster != [1, 1, 1]),
                Special::Lane => lane,
                Special::Warp => warp,
                Special::WarpCount => grid.warps(),
                Special::LaneMask(which) => {
                    let (equal, less) = (1u32 << lane, (1u32 << lane) - 1);
                    match which {
                        LaneMask::Equal => equal,
                        LaneMask::Less => less,
                        LaneMask::LessOrEqual => less | equal,
                        LaneMask::Greater => !(less | equal),
                        LaneMask::GreaterOrEqual => !less,
                    }
                }
                Special::DynamicShared => grid.dynamic_shared,
                Special::TotalShared => grid.shared_bytes() as u32,
                Special::Frame => 0,
                Special::Workspace(half) => (grid.workspace >> (32 * half)) as u32,
            };
            let row = &mut self.registers.bytes_mut()[start + slot as usize..][..ROW as usize];
            for (lane, bytes) in row.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&value(lane as u32).to_ne_bytes());
            }
        }
    }

    /// Runs the block for a while, or to its end. Waits that may end early do if `expire` says so.
    pub(super) fn run(
        &mut self,
        grid: &Grid<'_>,
        memory: &Memory,
        output: &Output<'_>,
        mut expire: bool,
    ) -> Result<Progress, Box<Fault>> {
        let program = grid.program;
        let warps = grid.warps();
        let observed = self.observer.is_some().then(|| program.observed(grid.options.counters));
        let mut ever_progressed = false;
        loop {
            let (mut yielded, mut progressed) = (false, false);
            for warp in self.schedule.order(warps) {
                if !self.lanes[warp as usize].can_run() {
                    continue;
                }
                let at = self.warp_memory(grid, warp);
                let executed = self.lanes[..warps as usize].iter().map(|lanes| lanes.instructions).sum::<u64>();
                let lanes = &mut self.lanes[warp as usize];
                let left = grid.options.instruction_limit.saturating_sub(executed);
                lanes.limit = (lanes.instructions.saturating_add(left), grid.options.instruction_limit);
                (lanes.progressed, lanes.waits_expire) = (false, expire);
                let turns = self.schedule.turns(if self.slices > SLICES { Turns::SHORT } else { Turns::LONG });
                if let Some(observer) = &mut self.observer {
                    observer.enter(warp);
                }
                let observer = self.observer.as_deref_mut();
                // SAFETY: `prepare` made room for every warp of the grid, and `warp_memory` gives each its own part;
                // the grid checked its parameters.
                let mut running = unsafe {
                    Warp::new(
                        program,
                        memory,
                        lanes,
                        &at,
                        (&mut self.windows, &self.neighbours),
                        observed.zip(observer),
                    )
                };
                let pause = running.run(turns, &mut self.schedule);
                progressed |= self.lanes[warp as usize].progressed;
                output.of_block(self.number).take(&mut self.lanes[warp as usize].printed);
                match pause {
                    Pause::Done | Pause::Waits => {}
                    Pause::Yield => yielded = true,
                    Pause::Fault => return Err(Box::new(self.fault(grid, warp))),
                }
            }
            if self.lanes[..warps as usize].iter().all(Lanes::done) {
                if let Some(observer) = &self.observer {
                    observer.end_block();
                }
                return Ok(Progress::Ended(self.lanes[..warps as usize].iter().map(|lanes| lanes.instructions).sum()));
            }
            expire = false;
            ever_progressed |= progressed;
            let released = self.release_barriers(program, warps);
            if yielded {
                self.slices = self.slices.saturating_add(1);
                if self.slices > SLICES {
                    return Ok(Progress::Turned);
                }
            } else if let Err((kind, warp)) = released {
                if !self.lanes[..warps as usize].iter().any(Lanes::waits) {
                    return Err(self.fail(grid, kind, warp));
                }
                if !progressed {
                    return Ok(Progress::Waits(ever_progressed));
                }
            }
        }
    }

    /// A fault of the first lane of a warp, which waits.
    pub(super) fn fail(&mut self, grid: &Grid<'_>, kind: FaultKind, warp: u32) -> Box<Fault> {
        let lanes = &mut self.lanes[warp as usize];
        let (pc, lane) = lanes.waits_at().unwrap_or((0, 0));
        lanes.fault = Some((kind, pc, lane));
        Box::new(self.fault(grid, warp))
    }

    /// Lets threads go on whose barriers are complete; if none is, the block would wait for ever.
    fn release_barriers(&mut self, program: &Program, warps: u32) -> Result<(), (FaultKind, u32)> {
        let lanes = &self.lanes[..warps as usize];
        let live: u32 = lanes.iter().map(Lanes::live).sum();
        let mut arrived = [0u32; 16];
        let mut expected = [live; 16];
        let (mut waited_for, mut last_warp) = (0u32, [0u32; 16]);
        for of_warp in lanes {
            for (barrier, threads, waiting) in of_warp.barriers() {
                waited_for |= 1 << barrier;
                arrived[barrier as usize] += waiting;
                last_warp[barrier as usize] += waiting;
                if let Some(threads) = threads {
                    expected[barrier as usize] = threads;
                }
            }
            for (barrier, waiting) in last_warp.iter_mut().enumerate() {
                // Where the number of threads is stated, a warp that waits whole counts as 32, as the ISA has it.
                if *waiting != 0 && *waiting == of_warp.live() && expected[barrier] != live {
                    arrived[barrier] += 32 - *waiting;
                }
                *waiting = 0;
            }
        }
        for (barrier, threads, count) in lanes.iter().flat_map(Lanes::arrivals) {
            arrived[barrier as usize] = arrived[barrier as usize].saturating_add(count);
            if let Some(threads) = threads {
                expected[barrier as usize] = threads;
            }
        }
        let complete = |barrier: &u32| {
            let (barrier, waited_for) = (*barrier as usize, waited_for >> *barrier & 1 != 0);
            waited_for && arrived[barrier] >= expected[barrier]
        };
        let mut released = false;
        for barrier in (0..16u32).filter(complete) {
            self.reduce_at(program, barrier, warps);
            if let Some(observer) = &mut self.observer {
                let waiting =
                    |warp: &u32| self.lanes[*warp as usize].waiting(barrier).map(|(_, lanes)| lanes.count_ones());
                let all = (0..warps).map(|warp| waiting(&warp).sum::<u32>()).sum::<u32>() == live;
                let here: Vec<u32> = (0..warps).filter(|warp| waiting(warp).next().is_some()).collect();
                observer.barrier(barrier, &here, all && expected[barrier as usize] == live);
            }
            self.lanes[..warps as usize].iter_mut().for_each(|lanes| lanes.release(barrier));
            released = true;
        }
        if released {
            return Ok(());
        }
        let lanes = &self.lanes[..warps as usize];
        let stuck = lanes.iter().position(|lanes| lanes.barriers().next().is_some()).unwrap_or(0);
        let barrier = lanes[stuck].barriers().next().map_or(0, |(barrier, ..)| barrier);
        let (arrived, expected) = (arrived[barrier as usize], expected[barrier as usize]);
        Err((FaultKind::BarrierDivergence { barrier, arrived, expected }, stuck as u32))
    }

    /// Gives the threads at a complete barrier what it computes of their predicates, if it does.
    fn reduce_at(&mut self, program: &Program, barrier: u32, warps: u32) {
        let waiting: Vec<(usize, &Op, u32)> = (0..warps as usize)
            .flat_map(|warp| self.lanes[warp].waiting(barrier).map(move |(pc, lanes)| (warp, pc, lanes)))
            .map(|(warp, pc, lanes)| (warp, &program.code[pc as usize], lanes))
            .filter(|(_, op, _)| BarrierReduction::of(op).is_some())
            .collect();
        let (mut holding, mut threads) = (0, 0);
        for (warp, op, lanes) in &waiting {
            let predicate = self.predicates[warp * program.predicates as usize + op.c as usize];
            let predicate = if op.e & 1 != 0 { !predicate } else { predicate };
            holding += (predicate & lanes).count_ones();
            threads += lanes.count_ones();
        }
        for (warp, op, lanes) in waiting {
            let passed = match BarrierReduction::of(op) {
                Some(BarrierReduction::Count) => {
                    let start = warp * program.register_bytes as usize + op.d as usize;
                    let row = &mut self.registers.bytes_mut()[start..][..ROW as usize];
                    for (lane, value) in row.chunks_exact_mut(4).enumerate() {
                        if lanes >> lane & 1 != 0 {
                            value.copy_from_slice(&holding.to_ne_bytes());
                        }
                    }
                    continue;
                }
                Some(BarrierReduction::All) => holding == threads,
                Some(BarrierReduction::Any) | None => holding > 0,
            };
            let destination = &mut self.predicates[warp * program.predicates as usize + op.d as usize];
            *destination = *destination & !lanes | if passed { lanes } else { 0 };
        }
    }

    fn fault(&mut self, grid: &Grid<'_>, warp: u32) -> Fault {
        let (kind, pc, lane) = self.lanes[warp as usize].fault.take().unwrap_or((FaultKind::Trap, 0, 0));
        let (instruction, location) = grid.program.sources.get(pc as usize).cloned().unwrap_or_default();
        Fault {
            kind,
            kernel: grid.program.name.clone(),
            instruction,
            ptx_line: location.ptx_line,
            source: grid.source_of(location),
            block: self.at,
            thread: grid.thread(warp * 32 + lane),
            conflict: self.conflict(grid).map(Box::new),
        }
    }

    /// The other access of a race.
    fn conflict(&mut self, grid: &Grid<'_>) -> Option<Conflict> {
        let other = self.observer.as_mut()?.conflict.take()?;
        let (number, same_launch) = other.block?;
        let (instruction, location) =
            grid.program.sources.get(other.stamp.operation() as usize).cloned().unwrap_or_default();
        Some(Conflict {
            earlier_launch: !same_launch,
            instruction,
            ptx_line: location.ptx_line,
            source: grid.source_of(location),
            block: grid.block_of_number(number).unwrap_or_default(),
            thread: grid.thread(other.stamp.thread()),
        })
    }
}
