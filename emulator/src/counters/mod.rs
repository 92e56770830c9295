//! Counters: what the instructions of a launch did, and the least time that a real GPU would need for it.
//!
//! [`Options::counters`](crate::Options::counters) switches them on for a launch, and
//! [`Statistics::counters`](crate::Statistics::counters) has them then. Shown as text they are a table. What each figure
//! means, and what none of them says, is written in `docs/counters.md`.

mod class;
mod roofline;
mod table;

pub use crate::observe::counts::Count;
pub use class::Class;
pub use roofline::{Resource, Roofline};
pub(crate) use table::{columns, grouped, percent, time};

use crate::exec::Grid;
use crate::observe::counts::{Counted, SECTOR};
use crate::ptx::ast::Location;

/// What was counted of an instruction of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its opcode with all modifiers.
    pub opcode: String,
    /// What kind of instruction it is.
    pub class: Class,
    /// Its line in the PTX.
    pub ptx_line: u32,
    /// The file and line of the source that it was compiled from, if the PTX says so.
    pub source: Option<(String, u32)>,
    /// What it did.
    pub count: Count,
}

impl Instruction {
    /// Turns of a multiprocessor that it took, where it can issue to a unit once a cycle: the most of its warp-instructions,
    /// its passes over shared memory, and its sectors by fours.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.count.warps.max(self.count.passes).max(self.count.sectors.div_ceil(4))
    }
}

/// What was counted of a launch, or of several launches of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// The name of the kernel.
    pub kernel: String,
    /// How many launches were counted together.
    pub launches: u64,
    /// `gridDim` of the last launch.
    pub grid: [u32; 3],
    /// `blockDim` of the last launch.
    pub block: [u32; 3],
    /// Shared memory of a block of the last launch in bytes.
    pub shared_bytes: u64,
    /// Blocks that were executed.
    pub blocks: u64,
    /// The instructions of the kernel in order, those that were never executed too.
    pub instructions: Vec<Instruction>,
    /// Different sectors of global memory that each launch read. Whatever the caches do, memory that is in none of them
    /// has to be read once.
    pub loaded_sectors: u64,
    /// Different sectors of global memory that each launch wrote.
    pub stored_sectors: u64,
}

impl Counters {
    pub(crate) fn new(grid: &Grid<'_>, blocks: u64, counted: &Counted) -> Self {
        let instruction = |((opcode, location), count): (&(String, Location), Count)| Instruction {
            opcode: opcode.clone(),
            class: Class::of(opcode),
            ptx_line: location.ptx_line,
            source: grid.source_of(*location),
            count,
        };
        // Without a block there are no counts.
        let counts = counted.operations.iter().copied().chain(std::iter::repeat(Count::default()));
        Self {
            kernel: grid.program.name.clone(),
            launches: 1,
            grid: grid.blocks,
            block: grid.block,
            shared_bytes: grid.shared_bytes(),
            blocks,
            instructions: grid.program.sources.iter().zip(counts).map(instruction).collect(),
            loaded_sectors: counted.loaded.len(),
            stored_sectors: counted.stored.len(),
        }
    }

    /// Adds another launch of the same kernel. Says `false`, and does nothing, if it is not the same.
    pub fn add(&mut self, other: &Self) -> bool {
        let is_same =
            |a: &Instruction, b: &Instruction| a.ptx_line == b.ptx_line && a.opcode == b.opcode && a.source == b.source;
        let same = self.kernel == other.kernel
            && self.instructions.len() == other.instructions.len()
            && self.instructions.iter().zip(&other.instructions).all(|(a, b)| is_same(a, b));
        if !same {
            return false;
        }
        for (into, instruction) in self.instructions.iter_mut().zip(&other.instructions) {
            into.count.add(&instruction.count);
        }
        (self.grid, self.block, self.shared_bytes) = (other.grid, other.block, other.shared_bytes);
        self.launches += other.launches;
        self.blocks += other.blocks;
        self.loaded_sectors += other.loaded_sectors;
        self.stored_sectors += other.stored_sectors;
        true
    }

    /// The sum of the instructions that a function chooses.
    pub fn sum(&self, choose: impl Fn(&Instruction) -> bool) -> Count {
        let mut sum = Count::default();
        self.instructions.iter().filter(|one| choose(one)).for_each(|one| sum.add(&one.count));
        sum
    }

    /// The sum of all instructions.
    #[must_use]
    pub fn total(&self) -> Count {
        self.sum(|_| true)
    }

    /// The sum of the instructions of a class.
    #[must_use]
    pub fn class(&self, class: Class) -> Count {
        self.sum(|one| one.class == class)
    }

    /// Additions, subtractions and multiplications of floating-point numbers, so that a fused multiply-add is two.
    #[must_use]
    pub fn floating_point_operations(&self) -> u64 {
        self.instructions.iter().map(|one| class::floating_point_operations(&one.opcode) * one.count.threads).sum()
    }

    /// Bytes of the different sectors that were read or written: what has to come from memory, or go there, if no cache held
    /// any of it before the launch, and all that was written goes to memory.
    #[must_use]
    pub fn distinct_bytes(&self) -> u64 {
        (self.loaded_sectors + self.stored_sectors) * SECTOR
    }

    /// The instructions that took the most turns ([`Instruction::turns`]), most first; without moves and parameters, which
    /// mostly vanish when PTX is compiled.
    #[must_use]
    pub fn hottest(&self, number: usize) -> Vec<&Instruction> {
        let executed = self.instructions.iter().filter(|one| one.count.warps > 0 && one.class.is_issued());
        let mut executed: Vec<&Instruction> = executed.collect();
        executed.sort_by_key(|one| std::cmp::Reverse(one.turns()));
        executed.truncate(number);
        executed
    }
}
