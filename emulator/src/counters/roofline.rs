//! The roofline: the least time that a GPU needs for what was counted, by each of its resources.

use std::fmt;

use super::class::{self, Class};
use super::table::{self, columns};
use super::{Counters, SECTOR};
use crate::profile::Profile;

/// What of a GPU may be what a kernel waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Device memory: each sector that a launch touches is moved once.
    Memory,
    /// The first level of cache, and what is in front of it: 128 bytes in a cycle, in whole sectors.
    GlobalAccess,
    /// Shared memory: a pass in a cycle.
    SharedMemory,
    /// The schedulers: four warp-instructions in a cycle.
    Issue,
    /// Units for f32.
    Float32,
    /// Units for f64.
    Float64,
    /// Units for f16 and bf16.
    Half,
    /// Units for integers, comparisons and selections.
    Integer,
    /// Units for conversions.
    Conversion,
    /// Units for special functions.
    Special,
    /// Shuffles between lanes.
    Shuffle,
    /// Tensor cores.
    Tensor,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "device memory",
            Self::GlobalAccess => "global accesses",
            Self::SharedMemory => "shared memory",
            Self::Issue => "instruction issue",
            Self::Float32 => "f32 units",
            Self::Float64 => "f64 units",
            Self::Half => "f16 and bf16 units",
            Self::Integer => "integer units",
            Self::Conversion => "conversion units",
            Self::Special => "special function units",
            Self::Shuffle => "shuffles",
            Self::Tensor => "tensor cores",
        })
    }
}

/// What a multiprocessor does in a cycle. The figures are those of the table of throughputs of native arithmetic instructions
/// in the CUDA programming guide, in lanes; where a figure depends on the instruction it is the highest.
struct Rates {
    float32: f64,
    /// Each lane may compute two numbers.
    half: f64,
    integer: f64,
    conversion: f64,
    special: f64,
    shuffle: f64,
    issue: f64,
    /// Sectors of global memory, and passes over shared memory.
    sectors: f64,
    passes: f64,
}

impl Rates {
    fn of(profile: &Profile) -> Self {
        let target = profile.target();
        Self {
            float32: if matches!(target, 75 | 80) { 64.0 } else { 128.0 },
            half: if matches!(target, 80 | 90) { 128.0 } else { 64.0 },
            integer: 64.0,
            conversion: 64.0,
            special: 16.0,
            shuffle: 32.0,
            issue: 4.0,
            sectors: 4.0,
            passes: 1.0,
        }
    }
}

/// The least time that a GPU needs for what was counted. It is a bound and no prediction: a kernel takes longer where it waits
/// for what it asked for, has too few warps to hide that, or keeps some multiprocessors busier than others.
#[derive(Debug, Clone, PartialEq)]
pub struct Roofline {
    /// The GPU.
    pub profile: Profile,
    /// Launches that this is the sum of.
    pub launches: u64,
    /// The time in seconds below which the launches cannot end, one after the other.
    pub seconds: f64,
    /// The time in seconds that each resource needs, the longest first.
    pub times: Vec<(Resource, f64)>,
    /// Blocks that a multiprocessor has room for by their threads and their shared memory. Registers may leave room for fewer:
    /// how many a thread has is decided when PTX is compiled.
    pub resident_blocks: u32,
    /// The share of the threads that a multiprocessor has room for which these blocks, or those that there are, fill: at most
    /// this is its occupancy.
    pub occupancy: f64,
    /// Multiprocessors that have a block at all.
    pub multiprocessors: u32,
}

impl Roofline {
    /// The bound for one launch on a GPU.
    #[must_use]
    pub fn of(counters: &Counters, profile: &Profile) -> Self {
        let rates = Rates::of(profile);
        let launches = counters.launches.max(1);
        let blocks = counters.blocks.div_ceil(launches).max(1);
        let used = blocks.min(u64::from(profile.multiprocessors)) as u32;
        let cycles = f64::from(used) * f64::from(profile.clock_khz) * 1e3;
        let threads = |classes: &[Class]| counters.sum(|one| classes.contains(&one.class)).threads as f64;
        let all = counters.total();
        let share = f64::from(used) / f64::from(profile.multiprocessors);
        let tensor: f64 = counters.instructions.iter().map(|one| tensor_seconds(one, profile)).sum();
        let f64_rate = profile.f32_rate / f64::from(profile.f32_to_f64) / 2.0 * share;
        let mut times = vec![
            (Resource::Memory, counters.distinct_bytes() as f64 / profile.memory_bandwidth),
            (Resource::GlobalAccess, all.sectors as f64 / rates.sectors / cycles),
            (Resource::SharedMemory, all.passes as f64 / rates.passes / cycles),
            (Resource::Issue, counters.sum(|one| one.class.is_issued()).warps as f64 / rates.issue / cycles),
            (Resource::Float32, threads(&[Class::Float32]) / rates.float32 / cycles),
            (Resource::Float64, threads(&[Class::Float64]) / f64_rate),
            (Resource::Half, threads(&[Class::Half]) / rates.half / cycles),
            (Resource::Integer, threads(&[Class::Integer, Class::Compare]) / rates.integer / cycles),
            (Resource::Conversion, threads(&[Class::Conversion]) / rates.conversion / cycles),
            (Resource::Special, threads(&[Class::Special]) / rates.special / cycles),
            (
                Resource::Shuffle,
                counters.sum(|one| one.opcode.starts_with("shfl.")).threads as f64 / rates.shuffle / cycles,
            ),
            (Resource::Tensor, tensor / share),
        ];
        times.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let threads_of_block = counters.block.iter().product::<u32>();
        let resident_blocks = profile.resident_blocks(threads_of_block, counters.shared_bytes);
        let most = blocks.div_ceil(u64::from(profile.multiprocessors)).min(u64::from(resident_blocks));
        let threads_there = most as f64 * f64::from(threads_of_block.next_multiple_of(32));
        Self {
            profile: *profile,
            launches,
            seconds: times[0].1,
            times,
            resident_blocks,
            occupancy: threads_there / f64::from(profile.threads_per_multiprocessor),
            multiprocessors: used,
        }
    }

    /// Adds the bound of launches that come after these, on the same GPU.
    pub fn add(&mut self, other: &Self) {
        for (resource, seconds) in &other.times {
            if let Some((_, sum)) = self.times.iter_mut().find(|(known, _)| known == resource) {
                *sum += seconds;
            }
        }
        self.times.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        self.launches += other.launches;
        self.seconds += other.seconds;
        (self.resident_blocks, self.occupancy) = (other.resident_blocks, other.occupancy);
        self.multiprocessors = other.multiprocessors;
    }

    /// The resource that needs the longest.
    #[must_use]
    pub fn bound_by(&self) -> Resource {
        self.times[0].0
    }
}

/// The time that the tensor cores of the whole GPU need for an instruction.
fn tensor_seconds(instruction: &super::Instruction, profile: &Profile) -> f64 {
    let (operations, integers) = class::tensor_operations(&instruction.opcode);
    let rate = if integers { profile.tensor_i8_rate } else { profile.tensor_f16_rate };
    operations as f64 * instruction.count.threads as f64 / rate
}

impl fmt::Display for Roofline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, target, least) = (self.profile.name, self.profile.target(), table::time(self.seconds));
        let launches = if self.launches == 1 { String::new() } else { format!(" for {} launches", self.launches) };
        writeln!(f, "  on {name} (sm_{target}) no less than {least}{launches}; bound by {}", self.bound_by())?;
        let shown = self.times.iter().filter(|(_, seconds)| *seconds > 0.0);
        let mut rows = vec![["resource", "time", "of the longest"].map(str::to_owned).to_vec()];
        rows.extend(shown.map(|(resource, seconds)| {
            vec![resource.to_string(), table::time(*seconds), table::percent(*seconds, self.times[0].1)]
        }));
        f.write_str(&columns(&rows, 4))?;
        writeln!(
            f,
            "    room for {} blocks on a multiprocessor (registers aside); occupancy {} at most; {} of {} multiprocessors \
             have a block",
            self.resident_blocks,
            table::percent(self.occupancy, 1.0),
            self.multiprocessors,
            self.profile.multiprocessors
        )
    }
}

/// Bytes that this many sectors have.
pub(super) fn bytes(sectors: u64) -> u64 {
    sectors * SECTOR
}
