//! A block: its warps run in turn on one thread, and change over at barriers.

use super::grid::Grid;
use super::warp::{Lanes, Pause, Warp, WarpMemory};
use crate::fault::{Fault, FaultKind};
use crate::memory::{Memory, Window};
use crate::ops::control::BarrierReduction;
use crate::program::{LaneMask, Op, Program, ROW, Rows, Special};

/// What one thread of the emulator keeps to run blocks in: registers, shared and local memory for one block.
#[derive(Debug, Default)]
pub(super) struct Worker {
    registers: Rows,
    predicates: Vec<u32>,
    shared: Rows,
    local: Rows,
    windows: Vec<Window>,
    lanes: Vec<Lanes>,
}

impl Worker {
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
        for warp in 0..warps as u32 {
            self.set_specials(grid, warp, None);
        }
    }

    fn warp_memory(&mut self, program: &Program, warp: u32) -> WarpMemory {
        let warp = warp as usize;
        let offset = |pointer: *mut u8, bytes: usize| pointer.wrapping_add(warp * bytes);
        WarpMemory {
            registers: offset(self.registers.as_mut_ptr(), program.register_bytes as usize),
            predicates: self.predicates[warp * program.predicates as usize..].as_mut_ptr(),
            local: offset(self.local.as_mut_ptr(), 32 * program.local_bytes as usize),
        }
    }

    /// Writes the special registers: those of the block, or with `None` those that all blocks share.
    fn set_specials(&mut self, grid: &Grid<'_>, warp: u32, block: Option<[u32; 3]>) {
        let start = warp as usize * grid.program.register_bytes as usize;
        for &(special, slot) in &grid.program.specials {
            let of_block = matches!(
                special,
                Special::Block(_) | Special::Cluster(_) | Special::BlockOfCluster(_) | Special::ClusterRank
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
            };
            let row = &mut self.registers.bytes_mut()[start + slot as usize..][..ROW as usize];
            for (lane, bytes) in row.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&value(lane as u32).to_ne_bytes());
            }
        }
    }

    /// Runs one block. Returns how many instructions it executed, each counted once a lane.
    pub(super) fn run(&mut self, grid: &Grid<'_>, memory: &Memory, block: [u32; 3]) -> Result<u64, Box<Fault>> {
        let program = grid.program;
        let (warps, threads) = (grid.warps(), grid.threads());
        let shared_bytes = grid.shared_bytes() as usize;
        self.shared.bytes_mut()[..shared_bytes].fill(grid.options.poison);
        self.local.bytes_mut()[..warps as usize * 32 * program.local_bytes as usize].fill(grid.options.poison);
        for warp in 0..warps {
            self.set_specials(grid, warp, Some(block));
            let lanes = (threads - warp * 32).min(32);
            let lanes_of_warp = &mut self.lanes[warp as usize];
            lanes_of_warp.start(u32::MAX >> (32 - lanes));
            lanes_of_warp.instructions = 0;
        }
        loop {
            let mut yielded = false;
            for warp in 0..warps {
                if !self.lanes[warp as usize].can_run() {
                    continue;
                }
                let at = self.warp_memory(program, warp);
                let shared = Window { base: 0, size: shared_bytes as u64, host: self.shared.as_mut_ptr() };
                let executed = self.lanes[..warps as usize].iter().map(|lanes| lanes.instructions).sum::<u64>();
                let lanes = &mut self.lanes[warp as usize];
                let left = grid.options.instruction_limit.saturating_sub(executed);
                lanes.limit = (lanes.instructions.saturating_add(left), grid.options.instruction_limit);
                // SAFETY: `prepare` made room for every warp of the grid, and `warp_memory` gives each its own part;
                // the grid checked its parameters.
                let mut running = unsafe {
                    Warp::new(program, memory, lanes, &at, &mut self.windows, grid.parameters.as_ptr().cast(), shared)
                };
                match running.run() {
                    Pause::Done | Pause::Barrier => {}
                    Pause::Yield => yielded = true,
                    Pause::Fault => return Err(Box::new(self.fault(grid, block, warp))),
                }
            }
            if yielded {
                continue;
            }
            if self.lanes[..warps as usize].iter().all(Lanes::done) {
                return Ok(self.lanes[..warps as usize].iter().map(|lanes| lanes.instructions).sum());
            }
            self.release_barriers(program, warps).map_err(|(kind, warp)| {
                self.lanes[warp as usize].fault = Some((kind, 0, 0));
                Box::new(self.fault(grid, block, warp))
            })?;
        }
    }

    /// Lets threads go on whose barriers are complete; if none is, the block would wait for ever.
    fn release_barriers(&mut self, program: &Program, warps: u32) -> Result<(), (FaultKind, u32)> {
        let lanes = &self.lanes[..warps as usize];
        let live: u32 = lanes.iter().map(Lanes::live).sum();
        let mut arrived = [0u32; 16];
        let mut expected = [live; 16];
        for (barrier, threads, waiting) in lanes.iter().flat_map(Lanes::barriers) {
            arrived[barrier as usize] += waiting;
            if let Some(threads) = threads {
                expected[barrier as usize] = threads;
            }
        }
        let complete = |barrier: &u32| {
            let barrier = *barrier as usize;
            arrived[barrier] > 0 && arrived[barrier] >= expected[barrier]
        };
        let mut released = false;
        for barrier in (0..16u32).filter(complete) {
            self.reduce_at(program, barrier, warps);
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

    fn fault(&mut self, grid: &Grid<'_>, block: [u32; 3], warp: u32) -> Fault {
        let (kind, pc, lane) = self.lanes[warp as usize].fault.take().unwrap_or((FaultKind::Trap, 0, 0));
        let (instruction, location) = grid.program.sources.get(pc as usize).cloned().unwrap_or_default();
        Fault {
            kind,
            kernel: grid.program.name.clone(),
            instruction,
            ptx_line: location.ptx_line,
            source: grid.source_of(location),
            block,
            thread: grid.thread(warp * 32 + lane),
        }
    }
}
