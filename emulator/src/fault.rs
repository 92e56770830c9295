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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// A barrier number over 15, or one that differs within a warp.
    BarrierNumber,
    /// The kernel executed `trap`.
    Trap,
    /// A block executed more instructions than [`Options`](crate::Options) allow.
    InstructionLimit {
        /// What was allowed, each instruction counted once a thread.
        limit: u64,
    },
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
            Self::WarpDeadlock { mask } => {
                write!(f, "lanes of the member mask {mask:#010x} can never arrive: the warp waits for ever")
            }
            Self::BarrierDivergence { barrier, arrived, expected } => {
                write!(f, "barrier {barrier} is reached by {arrived} of {expected} threads: the block waits for ever")
            }
            Self::BarrierNumber => f.write_str("the barrier's number is over 15 or differs within the warp"),
            Self::Trap => f.write_str("trap"),
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
