//! What is counted of each operation of a kernel while it runs.

use crate::program::{MemoryKind, MemoryUse};
use crate::ptx::ast::Space;

/// The bytes of a sector, the unit in which global memory is read and written.
pub(crate) const SECTOR: u64 = 32;
/// The banks of shared memory, each four bytes wide.
const BANKS: usize = 32;

/// How often an operation was executed, and what its accesses cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OperationCount {
    /// Once for each warp, and once for each lane.
    pub(crate) warps: u64,
    pub(crate) threads: u64,
    /// Bytes that the lanes asked for.
    pub(crate) bytes: u64,
    /// 32-byte sectors of global memory that each warp touched.
    pub(crate) sectors: u64,
    /// Passes over shared memory, and how many of them there are only because lanes met in a bank.
    pub(crate) passes: u64,
    pub(crate) conflicts: u64,
}

impl OperationCount {
    pub(super) fn add(&mut self, other: &Self) {
        self.warps += other.warps;
        self.threads += other.threads;
        self.bytes += other.bytes;
        self.sectors += other.sectors;
        self.passes += other.passes;
        self.conflicts += other.conflicts;
    }

    /// Counts an access of the lanes of `mask`, all to the same state space.
    pub(super) fn access(&mut self, memory: &MemoryUse, space: Space, addresses: &[u64; 32], mask: u32) {
        let bytes = u64::from(memory.bytes);
        self.bytes += bytes * u64::from(mask.count_ones());
        match space {
            Space::Global | Space::Constant => self.sectors += sectors(addresses, mask, bytes),
            Space::Shared => {
                let (passes, least) = shared_passes(
                    addresses,
                    mask,
                    bytes,
                    matches!(memory.kind, MemoryKind::Atomic | MemoryKind::CompareAndSwap),
                );
                self.passes += passes;
                self.conflicts += passes - least;
            }
            Space::Generic | Space::Local | Space::Param => {}
        }
    }
}

/// The sectors that the lanes touch, each counted once.
fn sectors(addresses: &[u64; 32], mask: u32, bytes: u64) -> u64 {
    let (mut touched, mut count) = ([u64::MAX; 64], 0);
    let lanes = (0..32).filter(|lane| mask >> lane & 1 != 0);
    for address in lanes.map(|lane| addresses[lane]) {
        // An aligned access is within a sector, but for those that are as wide as two or more.
        for sector in address / SECTOR..=(address + bytes.max(1) - 1) / SECTOR {
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
    count as u64
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
    let (mut passes, mut least) = (0, 0);
    for first in (0..32).step_by(lanes_at_once) {
        let mut words = [[u64::MAX; 32]; BANKS];
        let mut counts = [0usize; BANKS];
        let mut any = false;
        for lane in (first..first + lanes_at_once).filter(|lane| mask >> lane & 1 != 0) {
            any = true;
            for word in addresses[lane] / 4..=(addresses[lane] + bytes - 1) / 4 {
                let bank = word as usize % BANKS;
                let known = &words[bank][..counts[bank]];
                if counts[bank] < 32 && (atomic || !known.contains(&word)) {
                    words[bank][counts[bank]] = word;
                    counts[bank] += 1;
                }
            }
        }
        passes += counts.iter().copied().max().unwrap_or(0) as u64;
        least += u64::from(any);
    }
    (passes, least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(stride: u64) -> [u64; 32] {
        std::array::from_fn(|lane| 4096 + lane as u64 * stride)
    }

    #[test]
    fn sectors_are_counted_once() {
        assert_eq!(sectors(&every(4), u32::MAX, 4), 4);
        assert_eq!(sectors(&every(16), u32::MAX, 16), 16);
        assert_eq!(sectors(&every(1), u32::MAX, 1), 1);
        assert_eq!(sectors(&every(0), u32::MAX, 4), 1);
        assert_eq!(sectors(&every(4096), u32::MAX, 4), 32);
        assert_eq!(sectors(&every(4096), 0b101, 4), 2);
        // shifted by half a sector: one more
        assert_eq!(sectors(&every(4).map(|address| address + 16), u32::MAX, 4), 5);
        // back and forth between two
        assert_eq!(sectors(&std::array::from_fn(|lane| lane as u64 % 2 * 64), u32::MAX, 4), 2);
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
}
