//! Accesses of operations that compute their addresses themselves: asynchronous copies, matrices, and what is printed.
//!
//! Such an operation says what it accesses, before it does. When nothing is observed that is one comparison.

use super::access::{Flight, Looked, Values, base_of, look, space_of};
use crate::exec::Warp;
use crate::ops::memory::NUMBER;
use crate::program::{MemoryKind, MemoryUse, Op, Strength};
use crate::ptx::ast::Space;

impl MemoryUse {
    /// A weak access to so many bytes.
    pub(crate) fn weak(space: Space, bytes: u32, kind: MemoryKind) -> Self {
        let (strength, acquires, releases) = (Strength::Weak, false, false);
        Self { space, bytes, values: 0, wide: false, kind, strength, acquires, releases }
    }
}

/// An asynchronous copy, as it writes: at each lane's address so many bytes of the lane's data.
pub(crate) struct CopyWrite<'a> {
    /// The operation that issued it, by its number.
    pub(crate) pc: u32,
    pub(crate) bytes: u32,
    pub(crate) addresses: &'a [u64; 32],
    pub(crate) data: &'a [[u32; 4]; 32],
    pub(crate) landing: bool,
}

impl Warp<'_> {
    /// The number of an operation of the program, which may be that under observation.
    pub(crate) fn number_of(&mut self, op: &Op) -> u32 {
        let address = std::ptr::from_ref(op).addr();
        let program = self.program();
        let observed = self.watched().map(|(observed, _)| &observed.code[..]);
        let within = |code: &[Op]| {
            let place = address.wrapping_sub(code.as_ptr().addr()) / size_of::<Op>();
            (place < code.len()).then_some(place as u32)
        };
        observed.and_then(within).or_else(|| within(&program.code)).unwrap_or_default()
    }

    /// Whether anything watches this warp.
    #[inline(always)]
    pub(crate) fn is_observed(&mut self) -> bool {
        self.watched().is_some()
    }

    /// Checks and counts an access. Says `false`, and what is wrong, if something is.
    #[inline(always)]
    pub(crate) fn observe(&mut self, op: &Op, memory: &MemoryUse, addresses: &[u64; 32], mask: u32) -> bool {
        !self.is_observed() || self.observe_now(op, memory, addresses, mask, true)
    }

    /// Checks an access that is counted otherwise. Says `false`, and what is wrong, if something is.
    #[inline(always)]
    pub(crate) fn check(&mut self, op: &Op, memory: &MemoryUse, addresses: &[u64; 32], mask: u32) -> bool {
        !self.is_observed() || self.observe_now(op, memory, addresses, mask, false)
    }

    #[inline(never)]
    fn observe_now(&mut self, op: &Op, memory: &MemoryUse, addresses: &[u64; 32], mask: u32, counted: bool) -> bool {
        let pc = self.number_of(op) as usize;
        let looked =
            Looked { pc, window: op.window & NUMBER, memory, values: None, flight: Flight::No, of_cluster: true };
        look(self, &looked, addresses, mask, counted)
    }

    /// Counts an access to global memory of which the lanes of `mask` asked for so many bytes together.
    pub(crate) fn count_global(&mut self, op: &Op, memory: &MemoryUse, addresses: &[u64; 32], mask: u32, asked: u64) {
        let pc = self.number_of(op) as usize;
        if let Some(observer) = self.observer().filter(|observer| observer.counting) {
            observer.counted.access_of(pc, memory, Space::Global, addresses, mask, asked);
        }
    }

    /// Whether [`Warp::count_matrix`] counts.
    #[inline(always)]
    pub(crate) fn is_counted(&mut self) -> bool {
        self.observer().is_some_and(|observer| observer.counting)
    }

    /// Counts the access to all the elements of a matrix.
    pub(crate) fn count_matrix(&mut self, op: &Op, memory: &MemoryUse, addresses: &[u64]) {
        let pc = self.number_of(op) as usize;
        let Some(observer) = self.observer().filter(|observer| observer.counting) else { return };
        for space in [Space::Global, Space::Shared, Space::Local] {
            let base = if memory.space == Space::Generic { base_of(space) } else { 0 };
            let here = addresses.iter().filter(|address| space_of(memory.space, **address) == space);
            let here: Vec<u64> = here.map(|address| address - base).collect();
            if !here.is_empty() {
                observer.counted.matrix(pc, memory, space, &here);
            }
        }
    }

    /// Checks the write of a lane's asynchronous copy of any length, when it is issued and when it has landed. Says `false`,
    /// and what is wrong, if something is.
    pub(crate) fn observe_flight(
        &mut self,
        space: Space,
        pc: u32,
        lane: u32,
        range: (u64, u64),
        flight: Flight,
    ) -> bool {
        !self.is_observed() || self.observe_range((space, MemoryKind::Store), pc, lane, range, flight)
    }

    /// Checks what a lane's copy of any length reads. Says `false`, and what is wrong, if something is.
    pub(crate) fn observe_read(&mut self, space: Space, pc: u32, lane: u32, range: (u64, u64)) -> bool {
        !self.is_observed() || self.observe_range((space, MemoryKind::Load), pc, lane, range, Flight::No)
    }

    #[inline(never)]
    fn observe_range(
        &mut self,
        (space, kind): (Space, MemoryKind),
        pc: u32,
        lane: u32,
        (start, length): (u64, u64),
        flight: Flight,
    ) -> bool {
        let (mut at, end) = (start, start + length);
        while at < end {
            // The largest piece that is aligned.
            let aligned = 1 << at.trailing_zeros().min(12);
            let fits = 1 << (end - at).ilog2().min(12);
            let bytes = u64::min(aligned, fits);
            let memory = MemoryUse::weak(space, bytes as u32, kind);
            let looked = Looked { pc: pc as usize, window: 0, memory: &memory, values: None, flight, of_cluster: true };
            let mut addresses = [0; 32];
            addresses[lane as usize] = at;
            let counted = matches!(flight, Flight::No | Flight::Issued);
            if !look(self, &looked, &addresses, 1 << lane, counted) {
                return false;
            }
            at += bytes;
        }
        true
    }

    /// Checks what an asynchronous copy writes to shared memory, and counts it when it is issued. Says `false`, and what is
    /// wrong, if something is.
    ///
    /// From its issue until it lands nobody may access the destination, also not the thread that issued it.
    #[inline(never)]
    pub(crate) fn observe_copy(&mut self, copy: &CopyWrite<'_>, mask: u32) -> bool {
        let memory = MemoryUse::weak(Space::Shared, copy.bytes, MemoryKind::Store);
        let bytes: Vec<u8> = copy.data.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect();
        let values = Some(Values::at(&bytes, 16, copy.bytes as usize));
        let flight = if copy.landing { Flight::Landing } else { Flight::Issued };
        let looked = Looked { pc: copy.pc as usize, window: 0, memory: &memory, values, flight, of_cluster: false };
        look(self, &looked, copy.addresses, mask, !copy.landing)
    }
}
