//! A kernel decoded for execution: compact operations whose every operand is a slot.

pub(crate) mod decode;
#[cfg(test)]
mod mutations;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

pub(crate) use decode::{Common, Symbol, decode};

use crate::observe::Observed;
use crate::ops::Exec;
use crate::ptx::ast::{Location, Space};

/// Where an operand is: a byte offset in the register file of the warp or, with [`CONSTANT`] set, in the constants of
/// the program. For a predicate, its index.
pub(crate) type Slot = u32;

/// Marks a [`Slot`] in the constants.
pub(crate) const CONSTANT: Slot = 1 << 31;

/// An operand that an operation does not have.
pub(crate) const NO_SLOT: Slot = u32::MAX;

/// Bytes of a row of 32 lanes of 32 bits. Rows of 64-bit registers have twice as many.
pub(crate) const ROW: u32 = 128;

/// One decoded instruction.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    /// Executes it.
    pub(crate) exec: Exec,
    /// The destination; the first of several, or of the values of a vector access.
    pub(crate) d: Slot,
    pub(crate) a: Slot,
    pub(crate) b: Slot,
    pub(crate) c: Slot,
    /// A further operand: the fourth value of a vector access, the predicate of a shuffle.
    pub(crate) e: Slot,
    /// `index * 2 + negated` of the predicate that guards it, [`NO_SLOT`] for none.
    pub(crate) guard: u32,
    /// Which of the worker's remembered windows this memory access uses.
    pub(crate) window: u32,
    /// A byte offset, the target of a branch, a table.
    pub(crate) immediate: i64,
}

/// A register of a warp, as an operation names it: its slot, or for a predicate its index with [`PREDICATE`] set.
pub(crate) type Register = u32;

/// Marks a [`Register`] that is a predicate.
pub(crate) const PREDICATE: Register = 1 << 31;

/// What an operation reads and writes, for the checks that watch it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    pub(crate) reads: Vec<Register>,
    pub(crate) writes: Vec<Register>,
    pub(crate) memory: Option<MemoryUse>,
    /// The bytes of a load that matter, if not all do.
    pub(crate) used_bytes: Option<u32>,
}

/// How an operation accesses memory. Its addresses are those of [`Warp::addresses`](crate::exec::Warp::addresses).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    pub(crate) space: Space,
    /// Bytes that each lane accesses.
    pub(crate) bytes: u32,
    /// The values that a store writes, which are in [`Op::d`], [`Op::b`], [`Op::c`] and [`Op::e`], and whether the
    /// registers have 64 bits.
    pub(crate) values: u32,
    pub(crate) wide: bool,
    pub(crate) kind: MemoryKind,
    /// How far away the threads may be with which the access makes no race if theirs is strong too.
    pub(crate) strength: Strength,
    /// Whether what others released is seen after it.
    pub(crate) acquires: bool,
    /// Whether what came before it is seen by those that acquire it.
    pub(crate) releases: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryKind {
    Load,
    Store,
    Atomic,
    /// `atom.cas`, which fails if what was loaded before is out of date.
    CompareAndSwap,
}

/// The scope of a strong access or a fence. A cluster counts as the whole device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    Weak,
    Block,
    Device,
}

/// A special register whose value the emulator puts in a slot when a block starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// `%tid`, in dimension 0 to 2.
    Thread(usize),
    /// `%ntid`
    BlockSize(usize),
    /// `%ctaid`
    Block(usize),
    /// `%nctaid`
    GridSize(usize),
    /// `%clusterid`
    Cluster(usize),
    /// `%nclusterid`
    ClusterCount(usize),
    /// `%cluster_ctaid`
    BlockOfCluster(usize),
    /// `%cluster_nctaid`
    ClusterSize(usize),
    /// `%cluster_ctarank`
    ClusterRank,
    /// `%cluster_nctarank`
    ClusterBlocks,
    /// `%is_explicit_cluster`
    ExplicitCluster,
    /// `%laneid`
    Lane,
    /// `%warpid`
    Warp,
    /// `%nwarpid`
    WarpCount,
    /// `%lanemask_eq`, `_lt`, `_le`, `_gt`, `_ge`
    LaneMask(LaneMask),
    /// `%envreg2` and `%envreg1`: the halves of an address that a driver gives cooperative launches
    Workspace(u32),
    /// `%dynamic_smem_size`
    DynamicShared,
    /// `%total_smem_size`
    TotalShared,
    /// Where the frame of the running function starts in local memory: 0 in the kernel itself.
    Frame,
}

/// Which lanes a lane mask holds, compared with the lane itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneMask {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One kernel parameter, in the parameter block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// In bytes from the first parameter.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
}

/// A call as an instruction says it: what is copied between the frames of caller and callee.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The bytes of the caller's frame: the callee's starts after it.
    pub(crate) frame_bytes: u64,
    pub(crate) arguments: Vec<Copied>,
    /// From the callee's frame to the caller's.
    pub(crate) results: Vec<Copied>,
    /// The number of the layout of arguments and results; a function called by its address has to have the same.
    pub(crate) layout: u32,
    /// The operation after the call.
    pub(crate) return_to: u32,
}

/// Bytes that a call copies, by their offsets in two frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes: u64,
}

/// A device function that a program may call.
#[derive(Debug)]
pub(crate) struct Callee {
    pub(crate) entry: u32,
    /// The number of the layout of its parameters and results.
    pub(crate) layout: u32,
    pub(crate) frame_bytes: u64,
    /// Where in its frame its local variables are, which nothing has written when it starts.
    pub(crate) variables: Range<u64>,
    /// If it can be called while it is active: what an activation leaves in registers to the one that called it.
    pub(crate) saved: Option<Saved>,
}

/// The registers of a function, and where in the frame of a new activation those of the one before are kept.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) at: u64,
    pub(crate) words: Vec<Slot>,
    pub(crate) longs: Vec<Slot>,
    pub(crate) predicates: Vec<Slot>,
}

/// The address of the first function of a module. The others follow, [`FUNCTION_STEP`] apart.
pub(crate) const FUNCTION_BASE: u64 = 1 << 35;
pub(crate) const FUNCTION_STEP: u64 = 16;

/// A kernel, decoded, with the functions that it may call.
pub(crate) struct Program {
    pub(crate) name: String,
    /// The functions, callees before their callers as far as that is possible, and then the kernel: lanes in a function
    /// are at lower operations than those that did not call it, so they run first and catch up with them.
    pub(crate) code: Vec<Op>,
    /// The first operation of the kernel.
    pub(crate) entry: u32,
    pub(crate) callees: Vec<Callee>,
    /// Callees by their address: their place in `callees`, sorted by the number of the function in the module.
    pub(crate) callee_of: Vec<(u32, u32)>,
    pub(crate) calls: Vec<Call>,
    /// The targets of `brx.idx` instructions.
    pub(crate) jump_tables: Vec<Vec<u32>>,
    /// The slot of [`Special::Frame`], if the program calls functions.
    pub(crate) frame: Slot,
    /// For each operation of `code`, its opcode and where it stands.
    pub(crate) sources: Vec<(String, Location)>,
    /// For each operation of `code`, what it reads and writes.
    pub(crate) uses: Vec<Uses>,
    /// The code under checks, and with counters, made when it is first needed.
    pub(crate) observed: [OnceLock<Observed>; 2],
    /// The rows that slots with [`CONSTANT`] name.
    pub(crate) constants: Rows,
    /// The size of a warp's register file in bytes.
    pub(crate) register_bytes: u32,
    /// The number of predicates; 0 is false and 1 is true for ever.
    pub(crate) predicates: u32,
    /// The number of memory accesses that remember a window.
    pub(crate) windows: u32,
    pub(crate) specials: Vec<(Special, Slot)>,
    /// Slots of instructions with more operands than an [`Op`] has places, and what else these need to know.
    pub(crate) lists: Vec<Slot>,
    /// Operations that others are made of.
    pub(crate) parts: Vec<Op>,
    pub(crate) parameters: Vec<Parameter>,
    /// Static shared memory in bytes, where dynamic shared memory starts.
    pub(crate) shared_bytes: u64,
    /// Local memory of a thread in bytes, with the frames of the functions that are called.
    pub(crate) local_bytes: u64,
    /// What of that is the kernel's own.
    pub(crate) frame_bytes: u64,
    pub(crate) required_block: Option<[u32; 3]>,
    pub(crate) max_block: Option<[u32; 3]>,
    /// The blocks of a cluster.
    pub(crate) cluster: [u32; 3],
}

impl Program {
    /// The place in `callees` of the function at an address.
    pub(crate) fn callee_at(&self, address: u64) -> Option<u32> {
        let distance = address.checked_sub(FUNCTION_BASE).filter(|distance| distance % FUNCTION_STEP == 0)?;
        let number = u32::try_from(distance / FUNCTION_STEP).ok()?;
        let place = self.callee_of.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.callee_of[place].1)
    }

    /// The code under observation.
    pub(crate) fn observed(&self, counting: bool) -> &Observed {
        self.observed[usize::from(counting)].get_or_init(|| Observed::new(self, counting))
    }

    /// The size of the parameter block in bytes.
    pub(crate) fn parameter_bytes(&self) -> usize {
        self.parameters.last().map_or(0, |last| (last.offset + last.size) as usize)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("operations", &self.code.len())
            .finish_non_exhaustive()
    }
}

/// Zeroed bytes, aligned to a cache line.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Line>);

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Rows {
    pub(crate) fn zeroed(bytes: usize) -> Self {
        Self(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() * 64
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `Line` is plain bytes without padding.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }
}
