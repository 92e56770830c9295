//! What the device does: the work in streams, and the nodes of graphs.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::allocation::{Allocation, Kind};
use super::checking::{Watch, checks};
use super::code::{Code, Result};
use super::context::{EventRecord, locked};
use super::counting;
use super::device::{self, Device};
use super::engine::Runner;
use super::graph::{GraphMemory, NamedMemory};
use super::handle::Handle;
use super::module::{Function, LoadedModule};
use super::order;

use crate::checks::{Finding, FindingKind, find};
use crate::fault::{Fault, FaultKind};

/// Memory that a copy reads or writes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Device memory, or host memory that is mapped.
    Device(u64),
    /// Host memory, by its address. The caller of the driver API keeps it valid until the copy is done.
    Host(usize),
    /// Host memory that is not to change until the copy has read it.
    Watched(usize, #[expect(dead_code, reason = "it is kept so that the memory is watched")] Arc<Watch>),
    /// What pageable host memory held when the copy was asked for.
    Snapshot(Arc<[u8]>),
}

/// The rows of a copy in up to three dimensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// Bytes of a row, rows of a slice, slices.
    pub(crate) size: [u64; 3],
    /// Bytes from row to row and from slice to slice.
    pub(crate) to: [u64; 2],
    pub(crate) from: [u64; 2],
}

impl Rows {
    /// The bytes from the first one to the last one of a side.
    fn span(&self, [row, slice]: [u64; 2]) -> u64 {
        self.size[0] + (self.size[1] - 1) * row + (self.size[2] - 1) * slice
    }
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
    /// Blocks of a cluster that were asked for; 0 in x for those that the code says.
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
    /// Copies rows of bytes, as many as there are in a box.
    CopyRows {
        to: Place,
        from: Place,
        rows: Rows,
    },
    /// Writes the low `width` bytes of `value`, `count` times.
    Fill {
        to: u64,
        value: u32,
        width: u64,
        count: u64,
    },
    Host(HostFunction),
    /// A function that `cuStreamAddCallback` was given, with the handle of its stream.
    Callback {
        function: unsafe extern "C" fn(Handle, Code, *mut c_void),
        stream: Handle,
        data: usize,
    },
    /// Frees memory of a pool.
    Free(Allocation),
    Record(Arc<EventRecord>),
    /// Waits for a recording of an event, in a graph.
    WaitRecord(Arc<EventRecord>),
    /// Reports what a graph names that was freed.
    CheckNamed(Arc<NamedMemory>),
    /// Makes memory of a graph hold nothing, when it is allocated and when it is freed.
    Clear(Arc<GraphMemory>),
    /// Waits until a value in memory is as said.
    WaitValue(ValueWait),
    /// Writes the low `width` bytes of a value.
    WriteValue {
        to: u64,
        value: u64,
        width: u64,
    },
    Graph(Arc<[Operation]>),
}

/// Says on the standard error what went wrong, where no error code can.
pub(crate) fn report(message: &dyn std::fmt::Display) {
    eprintln!("warpwright emulator: {message}");
}

/// Reports what ends a context. (The program gets an error too, if it asks.)
fn ends_context(detail: String) {
    find(Finding { kind: FindingKind::ContextEnded, address: 0, bytes: 0, sequence: 0, detail });
}

impl Operation {
    /// Does the work.
    pub(crate) fn run(&self, runner: &mut Runner) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Kernel(launch) => launch.run(runner),
            Self::Copy { to, from, bytes } => copy(to, from, *bytes),
            Self::CopyRows { to, from, rows } => copy_rows(to, from, rows),
            Self::Fill { to, value, width, count } => fill(*to, *value, *width, *count),
            // The engine does these beside its own work.
            Self::Host(_) | Self::Callback { .. } => self.call(None),
            Self::Free(allocation) => match &allocation.kind {
                Kind::Pool(pool) => {
                    // From now on whatever uses it is at fault anyway.
                    order::forget(allocation.base);
                    pool.give_back(allocation.base, allocation.bytes);
                    Ok(())
                }
                _ => allocation.device.memory.free(allocation.base).map_err(|_| Code::INVALID_VALUE),
            },
            // When this is run, the value is as it should be, or there is none.
            Self::WaitValue(wait) => resolve(wait.at, wait.width, "wait for a value").map(|_| ()),
            Self::WriteValue { to, value, width } => {
                let at = resolve(*to, *width, "write of a value in stream order")?;
                // SAFETY: `resolve` found the bytes; the address is a multiple of the width. The host may read it.
                unsafe {
                    match width {
                        4 => AtomicU32::from_ptr(at.cast()).store(*value as u32, Ordering::Release),
                        _ => AtomicU64::from_ptr(at.cast()).store(*value, Ordering::Release),
                    }
                }
                Ok(())
            }
            // The engine knows the time, and has told it.
            Self::Record(_) => Ok(()),
            // When this is run, the event is recorded.
            Self::WaitRecord(_) => Ok(()),
            Self::CheckNamed(named) => {
                named.report_freed();
                Ok(())
            }
            Self::Clear(memory) => {
                memory.clear();
                Ok(())
            }
            Self::Graph(operations) => operations.iter().try_for_each(|operation| operation.run(runner)),
        }
    }

    /// Whether this is a kernel that leaves others little room on the device.
    pub(crate) fn fills_device(&self) -> bool {
        match self {
            Self::Kernel(launch) => {
                let profile = &launch.module.context.device.profile;
                let shared =
                    launch.module.module.program_at(launch.index).shared_bytes + u64::from(launch.dynamic_shared);
                let each = profile.resident_blocks(launch.threads.iter().product(), shared);
                let blocks: u64 = launch.blocks.iter().map(|&size| u64::from(size)).product();
                2 * blocks > u64::from(each) * u64::from(profile.multiprocessors)
            }
            _ => false,
        }
    }

    /// Whether `condition` holds for this operation or, if it is a graph, for one in it.
    pub(crate) fn any(&self, condition: &dyn Fn(&Self) -> bool) -> bool {
        match self {
            Self::Graph(operations) => operations.iter().any(|operation| operation.any(condition)),
            _ => condition(self),
        }
    }

    /// The memory that copies and fills write, each with its first address and its bytes; of rows nothing, since there is
    /// other memory between them.
    pub(crate) fn writes(&self) -> Vec<(u64, u64)> {
        match self {
            Self::Copy { to: Place::Device(to), bytes, .. } => vec![(*to, *bytes)],
            Self::Copy { to: Place::Host(to), bytes, .. } => vec![(*to as u64, *bytes)],
            Self::Fill { to, width, count, .. } => vec![(*to, width * count)],
            Self::Graph(operations) => operations.iter().flat_map(Self::writes).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the operation uses memory, or may: a kernel may use what one of its parameters points at.
    pub(crate) fn may_use(&self, address: u64, bytes: u64) -> bool {
        let inside = |at: u64, length: u64| at < address.saturating_add(bytes) && address < at.saturating_add(length);
        let place = |place: &Place, length: u64| match place {
            Place::Device(at) => inside(*at, length),
            Place::Host(at) | Place::Watched(at, _) => inside(*at as u64, length),
            Place::Snapshot(_) => false,
        };
        match self {
            Self::Kernel(launch) => launch.addresses().any(|(_, word)| inside(word, 1)),
            Self::Copy { to, from, bytes } => place(to, *bytes) || place(from, *bytes),
            Self::CopyRows { to, from, rows } => place(to, rows.span(rows.to)) || place(from, rows.span(rows.from)),
            Self::Fill { to, width, count, .. } => inside(*to, width * count),
            Self::WriteValue { to, width, .. } => inside(*to, *width),
            Self::WaitValue(wait) => inside(wait.at, wait.width),
            _ => false,
        }
    }

    /// Whether this is a function of the host.
    pub(crate) fn is_of_host(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Callback { .. })
    }

    /// Calls a function of the host. In a context that has ended with an error only callbacks are called, which are told.
    pub(crate) fn call(&self, error: Option<Code>) -> Result<()> {
        let _inside = HostFunction::enter();
        match self {
            Self::Host(HostFunction { function, data }) if error.is_none() => {
                // SAFETY: the caller of `cuLaunchHostFunc` answers for the function and its argument.
                unsafe { function(*data as *mut c_void) };
            }
            Self::Callback { function, stream, data } => {
                // SAFETY: the caller of `cuStreamAddCallback` answers for the function and its argument.
                unsafe { function(*stream, error.unwrap_or(Code::SUCCESS), *data as *mut c_void) };
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the work can be begun, as far as it depends on values in memory.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            // Memory that is not there is reported when the wait is run.
            Self::WaitValue(wait) => wait.read().is_none_or(|value| wait.holds(value)),
            Self::WaitRecord(record) => record.is_complete(),
            _ => true,
        }
    }
}

thread_local! {
    /// Whether this thread is in a function that the driver has called.
    static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

impl HostFunction {
    /// Whether this thread is in a function that the driver has called, which may not call the driver.
    pub(crate) fn is_running() -> bool {
        IN_HOST_FUNCTION.get()
    }

    /// Marks this thread as in such a function, until the result is dropped.
    fn enter() -> impl Drop {
        struct Inside;
        impl Drop for Inside {
            fn drop(&mut self) {
                IN_HOST_FUNCTION.set(false);
            }
        }
        IN_HOST_FUNCTION.set(true);
        Inside
    }
}

/// When a stream that waits for a value in memory goes on: `CUstreamWaitValue_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// When the difference is not negative, in arithmetic that wraps.
    GreaterOrEqual,
    Equal,
    /// When they have a bit in common.
    And,
    /// When there is a bit that neither has.
    Nor,
}

/// A wait for a value in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueWait {
    pub(crate) at: u64,
    pub(crate) value: u64,
    /// 4 or 8 bytes.
    pub(crate) width: u64,
    pub(crate) condition: Condition,
}

impl ValueWait {
    /// The value that is there.
    fn read(&self) -> Option<u64> {
        let at = device::resolve(self.at, self.width)?;
        // SAFETY: `resolve` found the bytes; the address is a multiple of the width. The host may write it.
        Some(unsafe {
            match self.width {
                4 => u64::from(AtomicU32::from_ptr(at.cast()).load(Ordering::Acquire)),
                _ => AtomicU64::from_ptr(at.cast()).load(Ordering::Acquire),
            }
        })
    }

    /// Whether the stream goes on when this value is there.
    fn holds(&self, found: u64) -> bool {
        let bits = if self.width == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let value = self.value & bits;
        match self.condition {
            Condition::GreaterOrEqual => found.wrapping_sub(value) & (bits / 2 + 1) == 0,
            Condition::Equal => found == value,
            Condition::And => found & value != 0,
            Condition::Nor => !(found | value) & bits != 0,
        }
    }
}

/// The most blocks of a cluster that every kernel can have, and that one can have if it is allowed to.
const PORTABLE_CLUSTER: u32 = 8;
const LARGEST_CLUSTER: u32 = 16;

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

    /// The launch with the clusters that the settings of the function ask for now.
    pub(crate) fn with_clusters(self) -> Result<Self> {
        let cluster = Self::cluster_blocks(&self.function, self.cluster)?;
        Ok(Self { cluster, ..self })
    }

    /// The most blocks of a cluster of a function.
    pub(crate) fn most_of_cluster(function: &Function) -> u32 {
        match (function.profile().capability, function.settings.large_clusters.load(Ordering::Relaxed)) {
            ((..9, _), _) => 1,
            (_, false) => PORTABLE_CLUSTER,
            (_, true) => LARGEST_CLUSTER,
        }
    }

    /// What the driver checks of a launch besides its grid: the size of clusters, and that a cooperative grid fits.
    pub(crate) fn check(&self) -> Result<()> {
        let cluster = Self::cluster_blocks(&self.function, self.cluster)?;
        let blocks = cluster.iter().fold(1u32, |product, &size| product.saturating_mul(size));
        if !(1..=Self::most_of_cluster(&self.function)).contains(&blocks) {
            return Err(Code::INVALID_CLUSTER_SIZE);
        }
        if self.blocks.iter().zip(cluster).any(|(blocks, cluster)| !blocks.is_multiple_of(cluster)) {
            return Err(Code::INVALID_VALUE);
        }
        if self.cooperative {
            let threads = self.threads.iter().product();
            let shared = self.function.program().shared_bytes + u64::from(self.dynamic_shared);
            let profile = self.function.profile();
            let room = u64::from(profile.resident_blocks(threads, shared)) * u64::from(profile.multiprocessors);
            if self.blocks.iter().map(|&size| u64::from(size)).product::<u64>() > room {
                return Err(Code::COOPERATIVE_LAUNCH_TOO_LARGE);
            }
        }
        Ok(())
    }

    /// What of its parameters may be addresses, with the number of the parameter: those of 8 bytes, and words of structs. (Two
    /// integers of 4 bytes side by side are none, whatever number they make.)
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let parameters = self.function.program().parameters.iter().enumerate();
        parameters.filter(|(_, parameter)| parameter.offset.is_multiple_of(8)).flat_map(|(n, parameter)| {
            let first = parameter.offset as usize / 8;
            let words = self.parameters.iter().skip(first).take(parameter.size as usize / 8);
            words.map(move |word| (n, *word))
        })
    }

    fn run(&self, runner: &mut Runner) -> Result<()> {
        if self.module.unloaded.load(Ordering::Acquire) {
            ends_context("a kernel is launched (by a graph that names it) whose module was unloaded".to_owned());
            return Err(Code::INVALID_HANDLE);
        }
        let mut grid =
            self.module.module.grid(self.index, self.blocks, self.threads, self.dynamic_shared, &self.parameters);
        grid.cluster = if self.cluster[0] == 0 { grid.cluster } else { self.cluster };
        grid.options.overlaps = self.overlaps;
        grid.options.cooperative = self.cooperative;
        let counting = counting::begin(&mut grid.options);
        let ran = runner.pool.run(&grid, &runner.memory, checks());
        let statistics = ran.map_err(|fault| {
            ends_context(fault.to_string());
            code_of(&fault)
        })?;
        counting.end(statistics, &self.module.context.device.profile);
        Ok(())
    }
}

/// The code that a GPU would give for a fault.
fn code_of(fault: &Fault) -> Code {
    match fault.kind {
        // A stack that is full is found by the access to what is past its end.
        FaultKind::OutOfBounds { .. } | FaultKind::StackOverflow { .. } => Code::ILLEGAL_ADDRESS,
        FaultKind::Assertion { .. } => Code::ASSERT,
        FaultKind::NotAFunction { .. } | FaultKind::JumpIndex { .. } => Code::INVALID_PC,
        FaultKind::Misaligned { .. } => Code::MISALIGNED_ADDRESS,
        FaultKind::Trap
        | FaultKind::UndefinedShuffle { .. }
        | FaultKind::NotAMember { .. }
        | FaultKind::PartialWarp { .. }
        | FaultKind::CopySize { .. }
        | FaultKind::BulkSize { .. }
        | FaultKind::Mbarrier { .. }
        | FaultKind::TensorMap { .. }
        | FaultKind::MatrixDescriptor { .. }
        | FaultKind::BarrierNumber => Code::ILLEGAL_INSTRUCTION,
        FaultKind::Uninitialised { .. }
        | FaultKind::UninitialisedRegister
        | FaultKind::Race { .. }
        | FaultKind::WarpDeadlock { .. }
        | FaultKind::BarrierDivergence { .. }
        | FaultKind::ClusterBarrierDivergence { .. }
        | FaultKind::ClusterBarrierOrder { .. }
        | FaultKind::EndlessWait
        | FaultKind::BlockEnded { .. }
        | FaultKind::ClusterRank { .. }
        | FaultKind::InstructionLimit { .. } => Code::LAUNCH_FAILED,
    }
}

/// Where the bytes of a device address are.
fn resolve(address: u64, bytes: u64, what: &str) -> Result<*mut u8> {
    device::resolve(address, bytes).ok_or_else(|| {
        let place = match Device::of_address(address).and_then(|device| device.memory.nearest(address)) {
            Some(near) if near.freed => format!("in memory that was freed ({} bytes at {:#x})", near.size, near.base),
            Some(near) => format!("past the {} bytes at {:#x}", near.size, near.base),
            None => "in no allocation".to_owned(),
        };
        ends_context(format!("{what} of {bytes} bytes at {address:#x}, {place}"));
        Code::ILLEGAL_ADDRESS
    })
}

/// Where the device finds bytes of the host: pinned memory may have another address for it, so that the program's can be
/// guarded.
fn of_host(address: usize, bytes: u64) -> *mut u8 {
    device::resolve(address as u64, bytes).unwrap_or(address as *mut u8)
}

/// Where the bytes are that a copy reads.
fn source(from: &Place, bytes: u64) -> Result<*const u8> {
    Ok(match from {
        Place::Device(address) => resolve(*address, bytes, "copy from device memory")?.cast_const(),
        Place::Host(address) | Place::Watched(address, _) => of_host(*address, bytes).cast_const(),
        Place::Snapshot(data) => data.as_ptr(),
    })
}

/// Where the bytes are that a copy writes.
fn target(to: &Place, bytes: u64) -> Result<*mut u8> {
    match to {
        Place::Device(address) => resolve(*address, bytes, "copy to device memory"),
        Place::Host(address) => Ok(of_host(*address, bytes)),
        Place::Snapshot(_) | Place::Watched(..) => Err(Code::INVALID_VALUE),
    }
}

fn copy(to: &Place, from: &Place, bytes: u64) -> Result<()> {
    let (source, target) = (source(from, bytes)?, target(to, bytes)?);
    // SAFETY: device memory was found with this length; the caller of the driver API answers for host memory. No kernel
    // runs while the engine copies. The ranges may overlap.
    unsafe { std::ptr::copy(source, target, bytes as usize) };
    note_written(to, from, 0, 0, bytes);
    Ok(())
}

/// Notes for the checks that bytes of device memory were copied, so many after the first of each side: what nothing had
/// written is not written in its copy either.
fn note_written(to: &Place, from: &Place, to_offset: u64, from_offset: u64, bytes: u64) {
    let Place::Device(to) = to else { return };
    let Some(device) = Device::of_address(*to) else { return };
    match from {
        Place::Device(from) if device.memory.has(*from) => {
            device.memory.host_copied(to + to_offset, from + from_offset, bytes);
        }
        _ => device.memory.set_written(to + to_offset, bytes, true),
    }
    device.memory.tracker().other_work();
}

fn copy_rows(to: &Place, from: &Place, rows: &Rows) -> Result<()> {
    let (source, target) = (source(from, rows.span(rows.from))?, target(to, rows.span(rows.to))?);
    let [width, height, depth] = rows.size;
    for (z, y) in (0..depth).flat_map(|z| (0..height).map(move |y| (z, y))) {
        let offset = |[row, slice]: [u64; 2]| (y * row + z * slice) as usize;
        // SAFETY: as in `copy`; every row is inside what was found.
        unsafe { std::ptr::copy(source.add(offset(rows.from)), target.add(offset(rows.to)), width as usize) };
        note_written(to, from, offset(rows.to) as u64, offset(rows.from) as u64, width);
    }
    Ok(())
}

fn fill(to: u64, value: u32, width: u64, count: u64) -> Result<()> {
    let bytes = width.checked_mul(count).ok_or(Code::INVALID_VALUE)?;
    let at = resolve(to, bytes, "memset")?;
    // SAFETY: `resolve` found the bytes, and no kernel runs while the engine fills.
    let target = unsafe { std::slice::from_raw_parts_mut(at, bytes as usize) };
    match width {
        1 => target.fill(value as u8),
        _ => target.chunks_exact_mut(width as usize).for_each(|element| {
            element.copy_from_slice(&value.to_le_bytes()[..width as usize]);
        }),
    }
    if let Some(device) = Device::of_address(to) {
        device.memory.set_written(to, bytes, true);
        device.memory.tracker().other_work();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_codes_of_a_gpu() {
        let code = |kind| {
            let (kernel, instruction, ptx_line, source) = ("k".to_owned(), String::new(), 1, None);
            let (block, thread, conflict) = ([0; 3], [0; 3], None);
            code_of(&Fault { kind, kernel, instruction, ptx_line, source, block, thread, conflict })
        };
        let (message, file, function) = ("x > 0".to_owned(), "a.cu".to_owned(), "f()".to_owned());
        let assertion = code(FaultKind::Assertion { message, file, line: 3, function });
        assert_eq!((assertion, assertion.name()), (Code(710), Some("CUDA_ERROR_ASSERT\0")));
        assert_eq!(code(FaultKind::StackOverflow { bytes: 16 }), Code(700));
        assert_eq!(code(FaultKind::NotAFunction { address: 0 }), Code(718));
        assert_eq!(code(FaultKind::JumpIndex { index: 2, targets: 1 }), Code(718));
    }
}
