//! What is counted of each operation of a kernel while it runs.

use std::collections::HashMap;

use crate::program::{MemoryKind, MemoryUse};
use crate::ptx::ast::Space;

/// The bytes of a sector, the unit in which global memory is read and written.
pub(crate) const SECTOR: u64 = 32;
/// The banks of shared memory, each four bytes wide.
const BANKS: usize = 32;

/// How often instructions were executed, and what their accesses to memory cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Warp-instructions: once for each group of lanes of a warp that comes to the instruction together, also if its guard
    /// lets none of them execute it.
    pub warps: u64,
    /// Thread-instructions: once for each lane that executes it.
    pub threads: u64,
    /// Bytes that lanes asked for of global memory.
    pub global_bytes: u64,
    /// Bytes that lanes asked for of shared memory.
    pub shared_bytes: u64,
    /// Bytes that lanes asked for of local memory.
    pub local_bytes: u64,
    /// Sectors (aligned ranges of 32 bytes) of global memory that warps touched, each counted once for each warp-instruction.
    pub sectors: u64,
    /// Passes over shared memory. One serves each of the 32 banks, which are four bytes wide, with one word.
    pub passes: u64,
    /// How many of these passes there are only because lanes asked one bank for different words.
    pub conflicts: u64,
}

impl Count {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { warps, threads, global_bytes, shared_bytes, local_bytes, sectors, passes, conflicts } = other;
        self.warps += warps;
        self.threads += threads;
        self.global_bytes += global_bytes;
        self.shared_bytes += shared_bytes;
        self.local_bytes += local_bytes;
        self.sectors += sectors;
        self.passes += passes;
        self.conflicts += conflicts;
    }

    /// Lanes that execute a warp-instruction, on average: 32 without divergence and guards.
    #[must_use]
    pub fn lanes(&self) -> f64 {
        self.threads as f64 / self.warps.max(1) as f64
    }

    /// Bytes of global memory that are moved for these accesses: those of all their sectors.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Bytes asked for of global memory for each byte moved: 1 if each sector is used as a whole, more than that if lanes ask
    /// for the same bytes.
    #[must_use]
    pub fn efficiency(&self) -> f64 {
        self.global_bytes as f64 / self.moved_bytes().max(1) as f64
    }
}

/// What was counted of a launch.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// For each operation of the program.
    pub(crate) operations: Vec<Count>,
    /// The sectors of global memory that were read, and those that were written.
    pub(crate) loaded: SectorSet,
    pub(crate) stored: SectorSet,
}

impl Counted {
    pub(super) fn new(operations: usize) -> Self {
        Self { operations: vec![Count::default(); operations], ..Self::default() }
    }

    /// Moves what was counted here to what was counted elsewhere.
    pub(super) fn move_to(&mut self, all: &mut Self) {
        all.operations.resize(self.operations.len().max(all.operations.len()), Count::default());
        for (into, count) in all.operations.iter_mut().zip(&mut self.operations) {
            into.add(&std::mem::take(count));
        }
        all.loaded.take_in(&mut self.loaded);
        all.stored.take_in(&mut self.stored);
    }

    /// Counts an operation that comes to be executed by the lanes of a mask.
    #[inline(always)]
    pub(super) fn executed(&mut self, pc: usize, mask: u32) {
        let count = &mut self.operations[pc];
        count.warps += 1;
        count.threads += u64::from(mask.count_ones());
    }

    /// Takes back what was counted of an operation that waits, and will be executed again.
    pub(super) fn not_executed(&mut self, pc: usize, mask: u32) {
        let count = &mut self.operations[pc];
        count.warps -= 1;
        count.threads -= u64::from(mask.count_ones());
    }

    /// Counts an access of the lanes of `mask`, all to the same state space.
    pub(super) fn access(&mut self, pc: usize, memory: &MemoryUse, space: Space, addresses: &[u64; 32], mask: u32) {
        let asked = u64::from(memory.bytes) * u64::from(mask.count_ones());
        self.access_of(pc, memory, space, addresses, mask, asked);
    }

    /// Counts an access of which the lanes asked for so many bytes together, none for more than the size of the access.
    pub(super) fn access_of(
        &mut self,
        pc: usize,
        memory: &MemoryUse,
        space: Space,
        addresses: &[u64; 32],
        mask: u32,
        asked: u64,
    ) {
        let count = &mut self.operations[pc];
        let bytes = u64::from(memory.bytes);
        match space {
            Space::Global => {
                let (touched, number) = sectors(addresses, mask, bytes);
                count.global_bytes += asked;
                count.sectors += number as u64;
                // An atomic operation reads and writes.
                if memory.kind != MemoryKind::Store {
                    self.loaded.insert(&touched[..number]);
                }
                if memory.kind != MemoryKind::Load {
                    self.stored.insert(&touched[..number]);
                }
            }
            Space::Shared => {
                let atomic = !matches!(memory.kind, MemoryKind::Load | MemoryKind::Store);
                let (passes, least) = shared_passes(addresses, mask, bytes, atomic);
                count.shared_bytes += asked;
                count.passes += passes;
                count.conflicts += passes - least;
            }
            Space::Local => count.local_bytes += asked,
            // Those come from a cache of their own.
            Space::Constant | Space::Generic | Space::Param => {}
        }
    }
}

impl Counted {
    /// Counts the access of a warp to all the elements of a matrix, at these addresses of one state space. What a GPU makes
    /// of it is not documented: it is taken for one access, which is the least that it can be.
    pub(super) fn matrix(&mut self, pc: usize, memory: &MemoryUse, space: Space, addresses: &[u64]) {
        let count = &mut self.operations[pc];
        let bytes = u64::from(memory.bytes);
        let asked = bytes * addresses.len() as u64;
        let units = |size: u64| {
            let mut units: Vec<u64> = addresses.iter().map(|address| address / size).collect();
            units.sort_unstable();
            units.dedup();
            units
        };
        match space {
            Space::Global => {
                let touched = units(SECTOR);
                count.global_bytes += asked;
                count.sectors += touched.len() as u64;
                let set = if memory.kind == MemoryKind::Load { &mut self.loaded } else { &mut self.stored };
                set.insert(&touched);
            }
            Space::Shared => {
                let words = units(4);
                let mut banks = [0u64; BANKS];
                words.iter().for_each(|word| banks[*word as usize % BANKS] += 1);
                let passes = banks.into_iter().max().unwrap_or_default();
                count.shared_bytes += asked;
                count.passes += passes;
                count.conflicts += passes - words.len().div_ceil(BANKS) as u64;
            }
            Space::Local => count.local_bytes += asked,
            Space::Constant | Space::Generic | Space::Param => {}
        }
    }
}

/// The most sectors that 32 lanes touch: a lane's access is aligned to its size, which is less than two sectors.
const MOST_SECTORS: usize = 64;

/// The numbers of the sectors that the lanes touch, each once, and how many they are.
fn sectors(addresses: &[u64; 32], mask: u32, bytes: u64) -> ([u64; MOST_SECTORS], usize) {
    let (mut touched, mut count) = ([u64::MAX; MOST_SECTORS], 0);
    let mut left = mask;
    while left != 0 {
        let address = addresses[left.trailing_zeros() as usize];
        left &= left - 1;
        for sector in address / SECTOR..=address.saturating_add(bytes.max(1) - 1) / SECTOR {
            // Mostly it is the one before.
            if count > 0 && touched[count - 1] == sector || touched[..count].contains(&sector) {
                continue;
            }
            if count < touched.len() {
                touched[count] = sector;
                count += 1;
            }
        }
    }
    (touched, count)
}

/// The passes that shared memory makes over an access, and the least that it could make.
///
/// A pass serves each bank with one word. Lanes that ask for the same word share it, but for atomic operations. Accesses of
/// 8 and 16 bytes are made for half and for a quarter of the warp at a time.
fn shared_passes(addresses: &[u64; 32], mask: u32, bytes: u64, atomic: bool) -> (u64, u64) {
    let lanes_at_once = match bytes {
        0..=4 => 32,
        8 => 16,
        _ => 8,
    };
    const NONE: u8 = u8::MAX;
    let (mut passes, mut least) = (0, 0);
    let together = u32::MAX >> (32 - lanes_at_once);
    for first in (0..32).step_by(lanes_at_once) {
        let mut left = mask & together << first;
        least += u64::from(left != 0);
        // The words asked for, each with the one before it that is in the same bank.
        let (mut words, mut before, mut count) = ([0; 32], [NONE; 32], 0);
        let (mut last, mut depth, mut deepest) = ([NONE; BANKS], [0u8; BANKS], 0);
        while left != 0 {
            let address = addresses[left.trailing_zeros() as usize];
            left &= left - 1;
            for word in address / 4..=address.saturating_add(bytes.max(1) - 1) / 4 {
                let bank = word as usize % BANKS;
                let mut other = last[bank];
                while other != NONE && (atomic || words[other as usize] != word) {
                    other = before[other as usize];
                }
                if other == NONE && count < words.len() {
                    (words[count], before[count], last[bank]) = (word, last[bank], count as u8);
                    count += 1;
                    depth[bank] += 1;
                    deepest = deepest.max(depth[bank]);
                }
            }
        }
        passes += u64::from(deepest);
    }
    (passes, least)
}

/// Sectors of a page of 64 KiB, one bit each.
const PAGE_SECTORS: u64 = 2048;
type Page = [u64; PAGE_SECTORS as usize / 64];

/// A set of sectors, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct SectorSet {
    pages: Vec<Page>,
    /// Where the page with a number is.
    places: HashMap<u64, usize>,
    /// The page that was used last.
    last: Option<(u64, usize)>,
}

impl SectorSet {
    #[inline(always)]
    fn page(&mut self, number: u64) -> &mut Page {
        let place = match self.last {
            Some((last, place)) if last == number => place,
            _ => {
                let place = *self.places.entry(number).or_insert(self.pages.len());
                if place == self.pages.len() {
                    self.pages.push([0; PAGE_SECTORS as usize / 64]);
                }
                self.last = Some((number, place));
                place
            }
        };
        &mut self.pages[place]
    }

    fn insert(&mut self, sectors: &[u64]) {
        for sector in sectors {
            let bit = sector % PAGE_SECTORS;
            self.page(sector / PAGE_SECTORS)[bit as usize / 64] |= 1 << (bit % 64);
        }
    }

    /// Takes in the sectors of another set, which is empty then.
    fn take_in(&mut self, other: &mut Self) {
        let other = std::mem::take(other);
        for (number, place) in other.places {
            let page = self.page(number);
            page.iter_mut().zip(&other.pages[place]).for_each(|(all, new)| *all |= new);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.pages.iter().flatten().map(|bits| u64::from(bits.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(stride: u64) -> [u64; 32] {
        std::array::from_fn(|lane| 4096 + lane as u64 * stride)
    }

    fn count(addresses: &[u64; 32], mask: u32, bytes: u64) -> usize {
        sectors(addresses, mask, bytes).1
    }

    #[test]
    fn sectors_are_counted_once() {
        assert_eq!(count(&every(4), u32::MAX, 4), 4);
        assert_eq!(count(&every(16), u32::MAX, 16), 16);
        assert_eq!(count(&every(1), u32::MAX, 1), 1);
        assert_eq!(count(&every(0), u32::MAX, 4), 1);
        assert_eq!(count(&every(4096), u32::MAX, 4), 32);
        assert_eq!(count(&every(4096), 0b101, 4), 2);
        assert_eq!(count(&every(4096), 0, 4), 0);
        // shifted by half a sector: one more
        assert_eq!(count(&every(4).map(|address| address + 16), u32::MAX, 4), 5);
        // back and forth between two
        assert_eq!(count(&std::array::from_fn(|lane| lane as u64 % 2 * 64), u32::MAX, 4), 2);
        // the last one there is
        assert_eq!(count(&[u64::MAX; 32], u32::MAX, 4), 1);
    }

    #[test]
    fn lanes_meet_in_banks() {
        assert_eq!(shared_passes(&every(4), u32::MAX, 4, false), (1, 1));
        assert_eq!(shared_passes(&every(8), u32::MAX, 4, false), (2, 1));
        assert_eq!(shared_passes(&every(128), u32::MAX, 4, false), (32, 1));
        assert_eq!(shared_passes(&every(132), u32::MAX, 4, false), (1, 1));
        assert_eq!(shared_passes(&every(0), u32::MAX, 4, false), (1, 1));
        assert_eq!(shared_passes(&every(0), u32::MAX, 4, true), (32, 1));
        assert_eq!(shared_passes(&every(1), u32::MAX, 1, false), (1, 1));
        assert_eq!(shared_passes(&every(8), u32::MAX, 8, false), (2, 2));
        assert_eq!(shared_passes(&every(16), u32::MAX, 16, false), (4, 4));
        assert_eq!(shared_passes(&every(128), 0b1111, 4, false), (4, 1));
        assert_eq!(shared_passes(&every(4), 0, 4, false), (0, 0));
    }

    /// The definition of a pass, said in another way: for each part of the warp, the most different words that lanes ask one
    /// bank for.
    fn passes_by_definition(addresses: &[u64; 32], mask: u32, bytes: u64, atomic: bool) -> u64 {
        let lanes_at_once = if bytes <= 4 { 32 } else { 128 / bytes as usize };
        let parts = (0..32 / lanes_at_once).map(|part| {
            let lanes = part * lanes_at_once..(part + 1) * lanes_at_once;
            let asked = lanes.filter(|lane| mask >> lane & 1 != 0).flat_map(|lane| {
                let bytes = addresses[lane]..addresses[lane] + bytes;
                let mut words: Vec<(u64, usize)> =
                    bytes.map(|byte| (byte / 4, if atomic { lane } else { 0 })).collect();
                words.dedup();
                words
            });
            let different: std::collections::HashSet<(u64, usize)> = asked.collect();
            (0..32).map(|bank| different.iter().filter(|(word, _)| word % 32 == bank).count() as u64).max().unwrap()
        });
        parts.sum()
    }

    #[test]
    fn passes_are_as_defined() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for round in 0..4000 {
            let bytes = [1, 2, 4, 8, 16][random(5) as usize];
            let spread = [2, 8, 40, 1000][random(4) as usize];
            let addresses: [u64; 32] = std::array::from_fn(|_| random(spread) * bytes);
            let mask = if round % 3 == 0 { u32::MAX } else { random(1 << 31) as u32 * 2 + random(2) as u32 };
            let atomic = bytes <= 8 && random(2) == 0;
            let (passes, least) = shared_passes(&addresses, mask, bytes, atomic);
            assert_eq!(
                passes,
                passes_by_definition(&addresses, mask, bytes, atomic),
                "{addresses:?} {mask:#x} {bytes}"
            );
            assert!(least <= passes);
        }
    }

    #[test]
    fn sets_of_sectors_hold_each_once() {
        let (mut set, mut other) = (SectorSet::default(), SectorSet::default());
        set.insert(&[0, 1, 2047, 2048, 1 << 40, 1, 0]);
        assert_eq!(set.len(), 5);
        other.insert(&[2048, 2049, 7]);
        set.take_in(&mut other);
        assert_eq!((set.len(), other.len()), (7, 0));
    }
}
