//! A grid: its blocks are taken one by one by a pool of threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::block::{Block, Progress};
use super::cluster::{Cluster, MAX_BLOCKS};
use super::output::Output;
use super::schedule::Schedule;
use crate::checks::Checks;
use crate::counters::Counters;
use crate::fault::Fault;
use crate::memory::Memory;
use crate::observe::Watched;
use crate::observe::counts::Counted;
use crate::program::{Program, Special};
use crate::ptx::ast::Location;

/// The largest block, in threads.
pub(crate) const MAX_THREADS: u32 = 1024;

/// A launch of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub(crate) program: &'a Program,
    /// `.file` numbers and paths of the module.
    pub(crate) files: &'a [(u32, String)],
    /// `gridDim`
    pub(crate) blocks: [u32; 3],
    /// `blockDim`
    pub(crate) block: [u32; 3],
    /// The blocks of a cluster.
    pub(crate) cluster: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub(crate) dynamic_shared: u32,
    /// The parameter block, aligned to 8 bytes.
    pub(crate) parameters: &'a [u64],
    /// What the blocks of a cooperative launch meet at; 0 is nothing.
    pub(crate) workspace: u64,
    pub(crate) options: Options<'a>,
}

/// How a grid is run, where that is not as on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The blocks to run, by their number `x + gridDim.x * (y + gridDim.y * z)`, with all others of their clusters;
    /// `None` runs all of them. Numbers that the grid does not have are passed over.
    pub blocks: Option<&'a [u64]>,
    /// How many instructions a block may execute, each counted once a thread. A block that goes on after that ends the
    /// launch with [`FaultKind::InstructionLimit`](crate::FaultKind::InstructionLimit); it is noticed some thousand
    /// branches late at most.
    pub instruction_limit: u64,
    /// What every byte of shared and local memory holds when a block starts.
    pub poison: u8,
    /// Where what the kernel prints goes; `None` is the standard output of the process. It comes when the launch ends or
    /// a megabyte has gathered, block by block, and what a thread prints at once stays together.
    pub output: Option<&'a Mutex<Vec<u8>>>,
    /// A seed for an order of blocks, warps and diverged lanes that is drawn at random, the same each time, on one thread of
    /// the host. `None` is the order that is fast.
    pub schedule: Option<u64>,
    /// Whether the launch may begin before the one before it has ended, as with programmatic stream serialization: what it
    /// does before `griddepcontrol.wait` is then in no order with that launch, which matters to the check of races.
    pub overlaps: bool,
    /// Whether the launch is cooperative, so that cooperative groups can synchronise the grid.
    pub cooperative: bool,
    /// Whether to count what each instruction does: [`Statistics::counters`].
    pub counters: bool,
}

impl Default for Options<'_> {
    /// All blocks, without a limit. The poison is NaN of every floating-point type.
    fn default() -> Self {
        let (schedule, output, overlaps, cooperative, counters) = (None, None, false, false, false);
        let instruction_limit = u64::MAX;
        Self { blocks: None, instruction_limit, poison: 0xFF, output, schedule, overlaps, cooperative, counters }
    }
}

/// Why a grid cannot be launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GridError {
    /// A dimension is zero, over its limit, or not a number of whole clusters, or the block has over 1024 threads.
    Dimensions,
    /// The block is not the one that `.reqntid` demands, or larger than `.maxntid` allows.
    Block,
    /// The parameter block is too short.
    Parameters,
}

/// What a grid did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Instructions executed, each counted once for every lane that executed it.
    pub thread_instructions: u64,
    /// Blocks executed.
    pub blocks: u64,
    /// What was counted, if [`Options::counters`] asked for it.
    pub counters: Option<Box<Counters>>,
}

impl Grid<'_> {
    /// The threads of a block.
    pub(crate) fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub(crate) fn warps(&self) -> u32 {
        self.threads().div_ceil(32)
    }

    pub(crate) fn shared_bytes(&self) -> u64 {
        self.program.shared_bytes + u64::from(self.dynamic_shared)
    }

    /// The blocks of a cluster.
    pub(super) fn cluster_blocks(&self) -> u32 {
        self.cluster.iter().product()
    }

    /// Memory for what a driver gives a cooperative launch: the size of it, and the word of a barrier that nobody has
    /// arrived at. 0 if the launch is none, or does not ask, or there is no memory: kernels trap then.
    fn workspace(&self, memory: &Memory) -> u64 {
        const BYTES: u32 = 8;
        let asks = self.program.specials.iter().any(|(special, _)| matches!(special, Special::Workspace(_)));
        let address = if asks && self.options.cooperative { memory.allocate(BYTES.into()).unwrap_or(0) } else { 0 };
        if let Some(at) = memory.resolve(address, BYTES.into()) {
            let words = [BYTES.to_le_bytes(), [0; 4]].concat();
            // SAFETY: `resolve` found as many bytes, and nobody else knows of them yet.
            unsafe { at.copy_from_nonoverlapping(words.as_ptr(), words.len()) };
            memory.set_written(address, BYTES.into(), true);
        }
        address
    }

    /// How many clusters are to be run.
    fn count(&self) -> u64 {
        let all = self.blocks.iter().zip(self.cluster).map(|(&blocks, cluster)| u64::from(blocks / cluster)).product();
        self.options.blocks.map_or(all, |sample| sample.len() as u64)
    }

    /// The `blockIdx` of the first block of the cluster to be run as one of `count`, if the grid has it.
    fn cluster_at(&self, index: u64, count: u64) -> Option<[u32; 3]> {
        let index = Schedule::place(self.options.schedule, index, count);
        let Some(sample) = self.options.blocks else {
            let [x, y, _] = [0, 1, 2].map(|axis| u64::from(self.blocks[axis] / self.cluster[axis]));
            let cluster = [index % x, index / x % y, index / (x * y)];
            return Some([0, 1, 2].map(|axis| cluster[axis] as u32 * self.cluster[axis]));
        };
        let first_of = |number: &u64| {
            let block = self.block_of_number(*number)?;
            Some([0, 1, 2].map(|axis| block[axis] / self.cluster[axis] * self.cluster[axis]))
        };
        let first = first_of(&sample[index as usize])?;
        // A cluster is run once, whichever of its blocks are to be.
        let again =
            self.cluster_blocks() > 1 && sample[..index as usize].iter().any(|one| first_of(one) == Some(first));
        (!again).then_some(first)
    }

    /// The blocks of the cluster whose first one is `first`, in the order of their ranks.
    pub(super) fn blocks_of_cluster(&self, first: [u32; 3]) -> impl Iterator<Item = [u32; 3]> {
        let [x, y, _] = self.cluster;
        (0..self.cluster_blocks()).map(move |rank| {
            let within = [rank % x, rank / x % y, rank / (x * y)];
            [0, 1, 2].map(|axis| first[axis] + within[axis])
        })
    }

    /// The number of a block by its `blockIdx`.
    pub(super) fn number_of(&self, block: [u32; 3]) -> u64 {
        let ([x, y, z], [width, height, _]) = (block.map(u64::from), self.blocks.map(u64::from));
        x + width * (y + height * z)
    }

    /// `blockIdx` of a block by its number.
    pub(super) fn block_of_number(&self, number: u64) -> Option<[u32; 3]> {
        let [x, y, z] = self.blocks.map(u64::from);
        let block = [number % x, number / x % y, number / (x * y)];
        (block[2] < z).then(|| block.map(|value| value as u32))
    }

    /// `threadIdx` of a thread of the block.
    pub(crate) fn thread(&self, index: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [index % x, index / x % y, index / (x * y)]
    }

    pub(crate) fn source_of(&self, location: Location) -> Option<(String, u32)> {
        let (_, path) = self.files.iter().find(|&&(number, _)| number == location.file)?;
        Some((path.clone(), location.line))
    }

    /// Whether this grid can be launched.
    pub(crate) fn check(&self) -> Result<(), GridError> {
        let limits = |values: [u32; 3], limits: [u32; 3]| {
            values.iter().zip(limits).all(|(&value, limit)| (1..=limit).contains(&value))
        };
        // Clusters are whole.
        let blocks = self.cluster.iter().fold(1u32, |product, &size| product.saturating_mul(size));
        let clusters = (1..=MAX_BLOCKS).contains(&blocks)
            && self.blocks.iter().zip(self.cluster).all(|(blocks, cluster)| blocks % cluster == 0);
        let threads = self.block.iter().fold(1u32, |product, &size| product.saturating_mul(size));
        if !limits(self.blocks, [i32::MAX as u32, 65535, 65535])
            || !limits(self.block, [1024, 1024, 64])
            || threads > MAX_THREADS
            || !clusters
        {
            return Err(GridError::Dimensions);
        }
        let fits = self.program.required_block.is_none_or(|required| required == self.block)
            && self
                .program
                .max_block
                .is_none_or(|max| threads <= max.iter().fold(1, |all: u32, &size| all.saturating_mul(size)));
        if !fits {
            return Err(GridError::Block);
        }
        if size_of_val(self.parameters) < self.program.parameter_bytes() {
            return Err(GridError::Parameters);
        }
        Ok(())
    }
}

/// The most blocks that are begun and not ended at once. A grid whose blocks wait for one another has to fit.
const RESIDENT: usize = 4096;

/// The work that the threads of a pool share.
struct Job {
    /// The grid, whose lifetime [`Pool::run`] sees to.
    grid: Grid<'static>,
    memory: &'static Memory,
    watched: Option<Watched<'static>>,
    count: u64,
    next: AtomicU64,
    stop: AtomicBool,
    instructions: AtomicU64,
    blocks: AtomicU64,
    fault: Mutex<Option<(u64, Box<Fault>)>>,
    output: Output<'static>,
    counted: Mutex<Counted>,
    /// Clusters that may wait for others, with the place of each in the order of clusters.
    turned: Mutex<VecDeque<(u64, Cluster)>>,
    /// Whether there were such blocks.
    waits: AtomicBool,
    /// The helpers that use the grid, and [`CLOSED`] when no more may begin to.
    helpers: AtomicUsize,
}

/// Set in [`Job::helpers`].
const CLOSED: usize = 1 << (usize::BITS - 1);

impl Job {
    /// Begins to use the grid, if that is still allowed.
    fn join(&self) -> bool {
        let joined = self.helpers.fetch_add(1, Ordering::Acquire) & CLOSED == 0;
        if !joined {
            self.leave();
        }
        joined
    }

    fn leave(&self) {
        self.helpers.fetch_sub(1, Ordering::Release);
    }

    /// Waits until no helper uses the grid any more, or ever will.
    fn close(&self) {
        let mut spins = 0;
        self.helpers.fetch_or(CLOSED, Ordering::Acquire);
        // Latecomers come and go again without using the grid: seeing none for a moment is enough.
        while self.helpers.load(Ordering::Acquire) != CLOSED {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    /// Takes clusters until there are none left. `free` are clusters of other grids, to be used again.
    fn work(&self, free: &mut Vec<Cluster>) {
        free.truncate(1);
        free.iter_mut().for_each(|cluster| cluster.prepare(&self.grid));
        while !self.stop.load(Ordering::Relaxed) {
            let Some((index, mut cluster)) = self.take(free) else { break };
            match cluster.run(&self.grid, self.memory, &self.output) {
                Ok(Progress::Turned | Progress::Waits(_)) => {
                    self.waits.store(true, Ordering::Relaxed);
                    self.turned.lock().unwrap_or_else(PoisonError::into_inner).push_back((index, cluster));
                    continue;
                }
                Ok(Progress::Ended(executed)) => {
                    self.instructions.fetch_add(executed, Ordering::Relaxed);
                    self.blocks.fetch_add(u64::from(self.grid.cluster_blocks()), Ordering::Relaxed);
                }
                Err(fault) => {
                    self.stop.store(true, Ordering::Relaxed);
                    let mut first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.as_ref().is_none_or(|&(other, _)| index < other) {
                        *first = Some((index, fault));
                    }
                }
            }
            free.push(cluster);
        }
        if self.watched.is_some_and(|watched| watched.counting) {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            let blocks = free.iter_mut().flat_map(|cluster| cluster.blocks_mut());
            blocks.filter_map(Block::observer).for_each(|observer| observer.take_counts(&mut counted));
        }
        free.truncate(1);
    }

    /// A cluster to run: one that is new, or one that has had a turn when there are none, or too many are begun.
    fn take(&self, free: &mut Vec<Cluster>) -> Option<(u64, Cluster)> {
        let mut turned = self.turned.lock().unwrap_or_else(PoisonError::into_inner);
        while turned.len() * (self.grid.cluster_blocks() as usize) < RESIDENT {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                break;
            }
            let Some(first) = self.grid.cluster_at(index, self.count) else { continue };
            let mut cluster = free.pop().unwrap_or_else(|| Cluster::new(&self.grid));
            cluster.begin(&self.grid, self.watched.as_ref(), first, self.waits.load(Ordering::Relaxed));
            return Some((index, cluster));
        }
        turned.pop_front()
    }
}

#[derive(Default)]
struct Shared {
    /// The job, and its number.
    job: Mutex<(Option<Arc<Job>>, u64)>,
    posted: Condvar,
    /// The number of the job posted last, for helpers to see without the lock.
    number: AtomicU64,
    quit: AtomicBool,
}

/// Threads that run blocks.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    free: Vec<Cluster>,
}

/// How often a thread looks for something before it sleeps: a few microseconds, which is how far apart the launches of
/// a graph are.
const SPINS: u32 = 4000;

impl Pool {
    /// A pool of `threads` threads, of which the caller of [`run`](Self::run) is one.
    pub(crate) fn new(threads: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let helpers = (1..threads.max(1))
            .filter_map(|n| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("emulator-{n}")).spawn(move || help(&shared)).ok()
            })
            .collect();
        Self { shared, helpers, free: Vec::new() }
    }

    /// Runs a grid that [`Grid::check`] accepts, to its end.
    pub(crate) fn run(&mut self, grid: &Grid<'_>, memory: &Memory, checks: Checks) -> Result<Statistics, Box<Fault>> {
        let workspace = grid.workspace(memory);
        let result = self.run_in(&Grid { workspace, ..*grid }, memory, checks);
        // Of memory that was had from there this cannot fail, and else there is none.
        let _ = memory.free(workspace);
        result
    }

    fn run_in(&mut self, grid: &Grid<'_>, memory: &Memory, checks: Checks) -> Result<Statistics, Box<Fault>> {
        let count = grid.count();
        memory.before_launch();
        let options = &grid.options;
        let watched = Watched::begin(checks, options.counters, options.overlaps, memory.tracker());
        // SAFETY: only lifetimes change. The references live as long as this call, which closes the job before it
        // returns: helpers use them only between `join` and `leave`.
        let (grid, memory, watched) = unsafe {
            (
                std::mem::transmute::<Grid<'_>, Grid<'static>>(*grid),
                &*std::ptr::from_ref(memory),
                std::mem::transmute::<Option<Watched<'_>>, Option<Watched<'static>>>(watched),
            )
        };
        let job = Arc::new(Job {
            grid,
            memory,
            watched,
            count,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            instructions: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            fault: Mutex::new(None),
            output: Output::new(grid.options.output),
            counted: Mutex::default(),
            turned: Mutex::default(),
            waits: AtomicBool::new(false),
            helpers: AtomicUsize::new(0),
        });
        if count > 1 && !self.helpers.is_empty() && grid.options.schedule.is_none() {
            let mut posted = self.shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            posted.0 = Some(Arc::clone(&job));
            posted.1 += 1;
            self.shared.number.store(posted.1, Ordering::Release);
            self.shared.posted.notify_all();
        }
        // A panic in here would leave helpers with a grid that is gone.
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.work(&mut self.free)));
        job.stop.fetch_or(worked.is_err(), Ordering::Relaxed);
        job.close();
        job.output.flush();
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
        let blocks = job.blocks.load(Ordering::Relaxed);
        if let Some(watched) = &watched {
            watched.end(grid.options.overlaps, blocks);
        }
        let fault = job.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_, fault)) = fault {
            return Err(fault);
        }
        let counters = grid.options.counters.then(|| {
            let counted = job.counted.lock().unwrap_or_else(PoisonError::into_inner);
            Box::new(Counters::new(&grid, blocks, &counted))
        });
        Ok(Statistics { thread_instructions: job.instructions.load(Ordering::Relaxed), blocks, counters })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::Release);
        drop(self.shared.job.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.posted.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper that panicked has said so.
            let _ = helper.join();
        }
    }
}

/// The life of a helper: waits for jobs and works on them.
fn help(shared: &Shared) {
    let mut free = Vec::new();
    let mut seen = 0;
    loop {
        for _ in 0..SPINS {
            if shared.number.load(Ordering::Acquire) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        let mut posted = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
        while posted.1 == seen {
            if shared.quit.load(Ordering::Acquire) {
                return;
            }
            posted = shared.posted.wait(posted).unwrap_or_else(PoisonError::into_inner);
        }
        seen = posted.1;
        let job = posted.0.clone();
        drop(posted);
        if let Some(job) = job.filter(|job| job.join()) {
            let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.work(&mut free)));
            job.stop.fetch_or(worked.is_err(), Ordering::Relaxed);
            job.leave();
        }
    }
}
