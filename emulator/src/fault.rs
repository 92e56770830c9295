//! What a kernel did wrong, said so that it can be found.

use std::fmt;

use crate::memory::Nearest;

/// Something a kernel did that no kernel may do. Its launch ends there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// The kernel, by its name in the PTX.
    pub kernel: String,
    /// The opcode of the instruction, with its modifiers.
    pub instruction: String,
    /// Its line in the PTX text.
    pub ptx_line: u32,
    /// Its file and line in the source, where the PTX has line information.
    pub source: Option<(String, u32)>,
    /// `blockIdx` of the thread.
    pub block: [u32; 3],
    /// `threadIdx` of the thread.
    pub thread: [u32; 3],
    /// The other access of a race.
    pub conflict: Option<Box<Conflict>>,
}

/// An access that another one races with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Whether it was of an earlier launch, which may still run. Of that only the thread is known.
    pub earlier_launch: bool,
    /// The opcode of the instruction, with its modifiers.
    pub instruction: String,
    /// Its line in the PTX text.
    pub ptx_line: u32,
    /// Its file and line in the source, where the PTX has line information.
    pub source: Option<(String, u32)>,
    /// `blockIdx` of the thread.
    pub block: [u32; 3],
    /// `threadIdx` of the thread.
    pub thread: [u32; 3],
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { earlier_launch, instruction, ptx_line, source, block, thread } = self;
        if *earlier_launch {
            return write!(f, "a launch before this one, which may still run: block {block:?}, thread {thread:?}");
        }
        write!(f, "`{instruction}` at PTX line {ptx_line}")?;
        if let Some((file, line)) = source {
            write!(f, " ({file}:{line})")?;
        }
        write!(f, ", block {block:?}, thread {thread:?}")
    }
}

/// The kinds of [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// An access outside every allocation of its state space.
    OutOfBounds {
        /// What was done there.
        access: Access,
        /// The first address.
        address: u64,
        /// The bytes accessed.
        bytes: u32,
        /// The allocation nearest to it, for global memory.
        nearest: Option<Nearest>,
    },
    /// An access at an address that is not a multiple of its size.
    Misaligned {
        /// What was done there.
        access: Access,
        /// The first address.
        address: u64,
        /// The bytes accessed, which the address has to be a multiple of.
        bytes: u32,
    },
    /// A read of memory that nothing has written.
    Uninitialised {
        /// What was done there.
        access: Access,
        /// The first address.
        address: u64,
        /// The bytes accessed.
        bytes: u32,
        /// The allocation that they are in, for global memory.
        nearest: Option<Nearest>,
    },
    /// An instruction that uses a register, or a predicate, which nothing has written.
    UninitialisedRegister,
    /// Two accesses to the same memory, one of them a write, that nothing puts in an order. [`Fault::conflict`] is the other
    /// one.
    Race {
        /// What was done there.
        access: Access,
        /// Whether the other access was a write.
        other_writes: bool,
        /// The first address.
        address: u64,
        /// The bytes accessed.
        bytes: u32,
        /// The allocation that they are in, for global memory.
        nearest: Option<Nearest>,
    },
    /// A shuffle that reads a lane which does not take part.
    UndefinedShuffle {
        /// The lane that was to be read.
        lane: u32,
    },
    /// A `.sync` instruction executed by a lane that its own member mask leaves out.
    NotAMember {
        /// The member mask.
        mask: u32,
    },
    /// An instruction that a warp executes as a whole, executed by some of its lanes.
    PartialWarp {
        /// These lanes.
        lanes: u32,
    },
    /// An asynchronous copy of more bytes from its source than it writes.
    CopySize {
        /// The bytes from the source.
        source: u32,
        /// The bytes that it writes.
        bytes: u32,
    },
    /// A bulk copy of a number of bytes that is not a multiple of 16.
    BulkSize {
        /// The bytes.
        bytes: u32,
    },
    /// A descriptor of a matrix in shared memory (`wgmma`) that differs among the lanes of a warp, or has an offset of its
    /// pattern, which is not emulated.
    MatrixDescriptor {
        /// The descriptor.
        descriptor: u64,
    },
    /// A tensor map that cannot be used as it is.
    TensorMap {
        /// What is wrong.
        wrong: &'static str,
        /// The address of the map, or of the box in shared memory.
        address: u64,
    },
    /// A mistake in the use of a memory barrier (`mbarrier`).
    Mbarrier {
        /// What is wrong.
        mistake: MbarrierMistake,
        /// The address of the barrier in shared memory.
        address: u64,
    },
    /// Lanes wait for others of their warp that can never come.
    WarpDeadlock {
        /// The member mask.
        mask: u32,
    },
    /// Threads of a block wait at barriers that the others never reach.
    BarrierDivergence {
        /// The barrier's number.
        barrier: u32,
        /// The threads that wait there.
        arrived: u32,
        /// The threads that would have to.
        expected: u32,
    },
    /// Threads of a cluster wait at its barrier, which others never reach.
    ClusterBarrierDivergence {
        /// The threads that have arrived there.
        arrived: u32,
        /// The threads that would have to.
        expected: u32,
    },
    /// A thread waits at the barrier of its cluster where it has not arrived, or arrives there twice.
    ClusterBarrierOrder {
        /// Whether it waits.
        waits: bool,
    },
    /// All threads of a cluster wait for phases of memory barriers (`mbarrier`) that nobody completes.
    EndlessWait,
    /// An access to the shared memory of a block of the cluster that has ended.
    BlockEnded {
        /// What was done there.
        access: Access,
        /// The first address.
        address: u64,
    },
    /// A block number of a cluster that has no such block.
    ClusterRank {
        /// The number.
        rank: u32,
        /// The blocks of the cluster.
        blocks: u32,
    },
    /// A barrier number over 15, or one that differs within a warp.
    BarrierNumber,
    /// The kernel executed `trap`.
    Trap,
    /// An `assert` in the kernel failed.
    Assertion {
        /// The condition, as the source has it.
        message: String,
        /// The file.
        file: String,
        /// The line there.
        line: u32,
        /// The function.
        function: String,
    },
    /// Calls are nested so deep that local memory has no room for another one.
    StackOverflow {
        /// The local memory of a thread.
        bytes: u64,
    },
    /// A call of an address where no function is that takes and returns what this call passes and expects.
    NotAFunction {
        /// The address.
        address: u64,
    },
    /// A jump through a list of targets (`brx.idx`) with an index past its end.
    JumpIndex {
        /// The index.
        index: u32,
        /// The length of the list.
        targets: u32,
    },
    /// A block executed more instructions than [`Options`](crate::Options) allow.
    InstructionLimit {
        /// What was allowed, each instruction counted once a thread.
        limit: u64,
    },
}

/// What may be wrong with the use of a memory barrier (`mbarrier`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MbarrierMistake {
    /// There is no barrier at the address: nothing has initialised one, or it was invalidated.
    NotInitialised,
    /// A count of arrivals that is zero, or more than are pending.
    Arrivals {
        /// The count.
        count: u32,
        /// What is pending, or may be.
        pending: u32,
    },
    /// More pending bytes of transactions, either way, than a barrier counts.
    Transactions {
        /// The bytes.
        bytes: i64,
    },
    /// An arrival that says of itself that it does not complete the phase does.
    Completes,
}

impl fmt::Display for MbarrierMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialised => f.write_str("there is no initialised memory barrier"),
            Self::Arrivals { count, pending } => write!(f, "a count of {count} arrivals, where {pending} may come"),
            Self::Transactions { bytes } => write!(f, "{bytes} pending bytes, where 1048575 may be counted"),
            Self::Completes => f.write_str("an arrival with `.noComplete` completes the phase"),
        }
    }
}

/// What an instruction does with memory, and in which state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A load from global memory.
    GlobalLoad,
    /// A store to global memory.
    GlobalStore,
    /// A load from shared memory.
    SharedLoad,
    /// A store to shared memory.
    SharedStore,
    /// A load from local memory.
    LocalLoad,
    /// A store to local memory.
    LocalStore,
    /// An atomic operation on global memory.
    GlobalAtomic,
    /// An atomic operation on shared memory.
    SharedAtomic,
    /// A load of a parameter.
    ParameterLoad,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GlobalLoad => "global load",
            Self::GlobalStore => "global store",
            Self::SharedLoad => "shared load",
            Self::SharedStore => "shared store",
            Self::LocalLoad => "local load",
            Self::LocalStore => "local store",
            Self::GlobalAtomic => "global atomic operation",
            Self::SharedAtomic => "shared atomic operation",
            Self::ParameterLoad => "parameter load",
        })
    }
}

/// Says where in an allocation an address is.
fn within(f: &mut fmt::Formatter<'_>, address: u64, nearest: Option<&Nearest>) -> fmt::Result {
    match nearest {
        Some(Nearest { base, size, .. }) => {
            write!(f, " (byte {} of the {size} bytes at {base:#x})", address.saturating_sub(*base))
        }
        None => Ok(()),
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { access, address, bytes, nearest } => {
                write!(f, "{access} of {bytes} bytes at {address:#x}, out of bounds")?;
                match nearest {
                    None => Ok(()),
                    Some(Nearest { base, size, freed: true }) => {
                        write!(f, " (in memory that was freed: {size} bytes at {base:#x})")
                    }
                    Some(Nearest { base, size, freed: false }) => {
                        let past = address.saturating_add(u64::from(*bytes)).saturating_sub(base + size);
                        write!(f, " ({past} bytes past the end of the {size} bytes at {base:#x})")
                    }
                }
            }
            Self::Misaligned { access, address, bytes } => {
                write!(f, "{access} of {bytes} bytes at {address:#x}, which is not a multiple of {bytes}")
            }
            Self::Uninitialised { access, address, bytes, nearest } => {
                write!(f, "{access} of {bytes} bytes at {address:#x}, which nothing has written")?;
                within(f, *address, nearest.as_ref())
            }
            Self::UninitialisedRegister => f.write_str("use of a register that nothing has written"),
            Self::Race { access, other_writes, address, bytes, nearest } => {
                let other = if *other_writes { "write" } else { "read" };
                write!(f, "{access} of {bytes} bytes at {address:#x} races with a {other} of another thread")?;
                within(f, *address, nearest.as_ref())
            }
            Self::UndefinedShuffle { lane } => write!(f, "shuffle from lane {lane}, which does not take part"),
            Self::NotAMember { mask } => write!(f, "the lane is not in its own member mask {mask:#010x}"),
            Self::PartialWarp { lanes } => {
                write!(f, "an instruction for all 32 lanes of a warp together is executed by {lanes:#010x} alone")
            }
            Self::CopySize { source, bytes } => {
                write!(f, "an asynchronous copy of {bytes} bytes takes {source} bytes from its source")
            }
            Self::BulkSize { bytes } => write!(f, "a bulk copy of {bytes} bytes, which is no multiple of 16"),
            Self::MatrixDescriptor { descriptor } => {
                write!(f, "the matrix descriptor {descriptor:#018x} differs within the warp, or has a base offset")
            }
            Self::TensorMap { wrong, address } => write!(f, "tensor map: {wrong} (at {address:#x})"),
            Self::Mbarrier { mistake, address } => write!(f, "{mistake} (at {address:#x} in shared memory)"),
            Self::WarpDeadlock { mask } => {
                write!(f, "lanes of the member mask {mask:#010x} can never arrive: the warp waits for ever")
            }
            Self::BarrierDivergence { barrier, arrived, expected } => {
                write!(f, "barrier {barrier} is reached by {arrived} of {expected} threads: the block waits for ever")
            }
            Self::ClusterBarrierDivergence { arrived, expected } => {
                write!(
                    f,
                    "the barrier of the cluster is reached by {arrived} of {expected} threads, which wait for ever"
                )
            }
            Self::ClusterBarrierOrder { waits: true } => {
                f.write_str("the thread waits at the barrier of its cluster, where it has not arrived")
            }
            Self::ClusterBarrierOrder { waits: false } => {
                f.write_str("the thread arrives at the barrier of its cluster again, and has not waited in between")
            }
            Self::EndlessWait => f.write_str("all threads wait for memory barriers whose phase nobody completes"),
            Self::BlockEnded { access, address } => {
                write!(f, "{access} at {address:#x}, in the shared memory of a block of the cluster that has ended")
            }
            Self::ClusterRank { rank, blocks } => write!(f, "block {rank} of a cluster that has {blocks}"),
            Self::BarrierNumber => f.write_str("the barrier's number is over 15 or differs within the warp"),
            Self::Trap => f.write_str("trap"),
            Self::Assertion { message, file, line, function } => {
                write!(f, "assertion `{message}` failed in {function} ({file}:{line})")
            }
            Self::StackOverflow { bytes } => {
                write!(f, "stack overflow: the {bytes} bytes of local memory have no room for another call")
            }
            Self::NotAFunction { address } => {
                write!(f, "call of {address:#x}, where no function with these parameters and results is")
            }
            Self::JumpIndex { index, targets } => write!(f, "jump with index {index} into a list of {targets} targets"),
            Self::InstructionLimit { limit } => write!(f, "the block has not ended after {limit} thread-instructions"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, kernel, instruction, ptx_line, source, block, thread, conflict } = self;
        write!(f, "{kind}\n  in kernel {kernel}, `{instruction}` at PTX line {ptx_line}")?;
        if let Some((file, line)) = source {
            write!(f, " ({file}:{line})")?;
        }
        write!(f, "\n  block {block:?}, thread {thread:?}")?;
        match conflict {
            Some(conflict) => write!(f, "\n  the other access: {conflict}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
