//! What the device does: the work in streams, and the nodes of graphs.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::code::{Code, Result};
use super::context::{EventRecord, locked};
use super::engine::Runner;
use super::module::{Function, LoadedModule};
use crate::exec::Grid;
use crate::fault::{Fault, FaultKind};

/// Memory that a copy reads or writes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Device memory, or host memory that is mapped.
    Device(u64),
    /// Host memory, by its address. The caller of the driver API keeps it valid until the copy is done.
    Host(usize),
    /// What pageable host memory held when the copy was asked for.
    Snapshot(Arc<[u8]>),
}

/// A function that the host is asked to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostFunction {
    pub(crate) function: unsafe extern "C" fn(*mut c_void),
    pub(crate) data: usize,
}

/// A kernel with all that its launch needs.
#[derive(Debug, Clone)]
pub(crate) struct KernelLaunch {
    pub(crate) module: Arc<LoadedModule>,
    pub(crate) index: usize,
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: [u32; 3],
    pub(crate) dynamic_shared: u32,
    pub(crate) parameters: Vec<u64>,
    /// Whether all blocks have to be on the device at once.
    pub(crate) cooperative: bool,
    /// Blocks of a cluster that were asked for; 0 in x for none.
    pub(crate) cluster: [u32; 3],
    /// Whether it may begin before the launch before it has ended.
    pub(crate) overlaps: bool,
    /// The function that it is of.
    pub(crate) function: Arc<Function>,
    /// The attributes that were set, with their values, for whoever asks for them.
    pub(crate) attributes: Vec<(u32, [u32; 16])>,
}

/// One piece of work.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Nothing,
    Kernel(KernelLaunch),
    Copy {
        to: Place,
        from: Place,
        bytes: u64,
    },
    /// Writes the low `width` bytes of `value`, `count` times.
    Fill {
        to: u64,
        value: u32,
        width: u64,
        count: u64,
    },
    Host(HostFunction),
    Free(u64),
    Record(Arc<EventRecord>),
    Graph(Arc<[Operation]>),
}

/// Says on the standard error what went wrong, where no error code can.
pub(crate) fn report(message: &dyn std::fmt::Display) {
    eprintln!("warpwright emulator: {message}");
}

impl Operation {
    /// Does the work.
    pub(crate) fn run(&self, runner: &mut Runner) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Kernel(launch) => launch.run(runner),
            Self::Copy { to, from, bytes } => copy(runner, to, from, *bytes),
            Self::Fill { to, value, width, count } => fill(runner, *to, *value, *width, *count),
            Self::Host(HostFunction { function, data }) => {
                // SAFETY: the caller of `cuLaunchHostFunc` answers for the function and its argument.
                unsafe { function(*data as *mut c_void) };
                Ok(())
            }
            Self::Free(address) => runner.memory.free(*address).map_err(|_| Code::INVALID_VALUE),
            Self::Record(record) => {
                record.complete();
                Ok(())
            }
            Self::Graph(operations) => operations.iter().try_for_each(|operation| operation.run(runner)),
        }
    }
}

/// The most blocks of a cluster that every kernel can have, and that one can have if it is allowed to.
pub(crate) const PORTABLE_CLUSTER: u32 = 8;
pub(crate) const LARGEST_CLUSTER: u32 = 16;

impl KernelLaunch {
    /// The blocks of a cluster: as the code says, the function's setting, or the launch; they have to agree.
    pub(crate) fn cluster_blocks(function: &Function, asked: [u32; 3]) -> Result<[u32; 3]> {
        let required = match function.program().cluster {
            [1, 1, 1] => *locked(&function.settings.required_cluster),
            compiled => compiled,
        };
        match (required, asked) {
            ([0, 0, 0], [0, ..]) => Ok([1; 3]),
            ([0, 0, 0], asked) => Ok(asked),
            (required, _) if required.contains(&0) => Err(Code::INVALID_CLUSTER_SIZE),
            (required, asked) if asked[0] == 0 || asked == required => Ok(required),
            _ => Err(Code::INVALID_CLUSTER_SIZE),
        }
    }

    /// What the driver checks of a launch besides its grid: the size of clusters, and that a cooperative grid fits.
    pub(crate) fn check(&self) -> Result<()> {
        let cluster = Self::cluster_blocks(&self.function, self.cluster)?;
        let blocks = cluster.iter().fold(1u32, |product, &size| product.saturating_mul(size));
        let most = match (self.module.context.capability(), self.function.settings.large_clusters.load(Ordering::Relaxed)) {
            (..90, _) => 1,
            (_, false) => PORTABLE_CLUSTER,
            (_, true) => LARGEST_CLUSTER,
        };
        if !(1..=most).contains(&blocks) {
            return Err(Code::INVALID_CLUSTER_SIZE);
        }
        if self.blocks.iter().zip(cluster).any(|(blocks, cluster)| !blocks.is_multiple_of(cluster)) {
            return Err(Code::INVALID_VALUE);
        }
        if self.cooperative {
            let threads = self.threads.iter().product();
            let shared = self.function.program().shared_bytes + u64::from(self.dynamic_shared);
            let room = u64::from(resident_blocks(threads, shared)) * u64::from(MULTIPROCESSORS);
            if self.blocks.iter().map(|&size| u64::from(size)).product::<u64>() > room {
                return Err(Code::COOPERATIVE_LAUNCH_TOO_LARGE);
            }
        }
        Ok(())
    }

    fn run(&self, runner: &mut Runner) -> Result<()> {
        if self.module.unloaded.load(Ordering::Acquire) {
            report(&"a kernel is launched (by a graph that names it) whose module was unloaded");
            return Err(Code::INVALID_HANDLE);
        }
        let grid =
            self.module.module.grid(self.index, self.blocks, self.threads, self.dynamic_shared, &self.parameters);
        let grid = Grid { cluster: Self::cluster_blocks(&self.function, self.cluster)?, ..grid };
        runner.pool.run(&grid, &runner.memory).map(|_| ()).map_err(|fault| {
            report(&*fault);
            code_of(&fault)
        })
    }
}

/// The multiprocessors of the device, and what each has: threads, blocks, and bytes of shared memory, of which every
/// block takes some for itself. The numbers are those of an H100.
pub(crate) const MULTIPROCESSORS: u32 = 132;
pub(crate) const RESIDENT_THREADS: u32 = 2048;
pub(crate) const RESIDENT_BLOCKS: u32 = 32;
pub(crate) const RESIDENT_SHARED: u64 = 228 << 10;
pub(crate) const RESERVED_SHARED: u64 = 1 << 10;

/// How many blocks of so many threads and bytes of shared memory a multiprocessor has room for.
pub(crate) fn resident_blocks(threads: u32, shared: u64) -> u32 {
    let by_threads = RESIDENT_THREADS / threads.next_multiple_of(32).max(32);
    let by_shared = RESIDENT_SHARED / (shared + RESERVED_SHARED);
    RESIDENT_BLOCKS.min(by_threads).min(by_shared as u32)
}

/// The code that a GPU would give for a fault.
fn code_of(fault: &Fault) -> Code {
    match fault.kind {
        FaultKind::OutOfBounds { .. } => Code::ILLEGAL_ADDRESS,
        FaultKind::Misaligned { .. } => Code::MISALIGNED_ADDRESS,
        FaultKind::Trap
        | FaultKind::UndefinedShuffle { .. }
        | FaultKind::NotAMember { .. }
        | FaultKind::BarrierNumber => Code::ILLEGAL_INSTRUCTION,
        FaultKind::WarpDeadlock { .. } | FaultKind::BarrierDivergence { .. } | FaultKind::InstructionLimit { .. } => {
            Code::LAUNCH_FAILED
        }
    }
}

/// Where the bytes of a device address are.
fn resolve(runner: &Runner, address: u64, bytes: u64, what: &str) -> Result<*mut u8> {
    runner.memory.resolve(address, bytes).ok_or_else(|| {
        let place = match runner.memory.nearest(address) {
            Some(near) if near.freed => format!("in memory that was freed ({} bytes at {:#x})", near.size, near.base),
            Some(near) => format!("past the {} bytes at {:#x}", near.size, near.base),
            None => "in no allocation".to_owned(),
        };
        report(&format!("{what} of {bytes} bytes at {address:#x}, {place}"));
        Code::ILLEGAL_ADDRESS
    })
}

fn copy(runner: &Runner, to: &Place, from: &Place, bytes: u64) -> Result<()> {
    let length = bytes as usize;
    let source = match from {
        Place::Device(address) => resolve(runner, *address, bytes, "copy from device memory")?.cast_const(),
        Place::Host(address) => *address as *const u8,
        Place::Snapshot(data) => data.as_ptr(),
    };
    let target = match to {
        Place::Device(address) => resolve(runner, *address, bytes, "copy to device memory")?,
        Place::Host(address) => *address as *mut u8,
        Place::Snapshot(_) => return Err(Code::INVALID_VALUE),
    };
    // SAFETY: device memory was found with this length; the caller of the driver API answers for host memory. No kernel
    // runs while the engine copies. The ranges may overlap.
    unsafe { std::ptr::copy(source, target, length) };
    Ok(())
}

fn fill(runner: &Runner, to: u64, value: u32, width: u64, count: u64) -> Result<()> {
    let bytes = width.checked_mul(count).ok_or(Code::INVALID_VALUE)?;
    let at = resolve(runner, to, bytes, "memset")?;
    // SAFETY: `resolve` found the bytes, and no kernel runs while the engine fills.
    let target = unsafe { std::slice::from_raw_parts_mut(at, bytes as usize) };
    match width {
        1 => target.fill(value as u8),
        _ => target.chunks_exact_mut(width as usize).for_each(|element| {
            element.copy_from_slice(&value.to_le_bytes()[..width as usize]);
        }),
    }
    Ok(())
}

/// Set once, when something has happened.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
