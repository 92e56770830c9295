//! Special registers that change while a kernel runs: the clocks. One cycle takes a nanosecond.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::program::Op;
use crate::ptx::ast::RegisterKind;

/// Nanoseconds since the first kernel of the process that asked.
fn cycles() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of the day and its date.
fn global() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

macro_rules! clock {
    ($name:ident, $type:ty, $value:expr) => {
        struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
                warp.write_raw::<$type>(op.d, &[$value as $type; 32], mask);
                Next::Step
            }
        }
    };
}
clock!(Clock, u32, cycles());
clock!(ClockHigh, u32, cycles() >> 32);
clock!(Clock64, u64, cycles());
clock!(GlobalTimer, u64, global());
clock!(GlobalTimerLow, u32, global());
clock!(GlobalTimerHigh, u32, global() >> 32);

/// A clock: its name, the move from it, and the register that it goes to.
type Entry = (&'static str, Variants, RegisterKind);

pub(crate) const CLOCKS: &[Entry] = &[
    ("%clock", Variants::of::<Clock>(), RegisterKind::Bits32),
    ("%clock_hi", Variants::of::<ClockHigh>(), RegisterKind::Bits32),
    ("%clock64", Variants::of::<Clock64>(), RegisterKind::Bits64),
    ("%globaltimer", Variants::of::<GlobalTimer>(), RegisterKind::Bits64),
    ("%globaltimer_lo", Variants::of::<GlobalTimerLow>(), RegisterKind::Bits32),
    ("%globaltimer_hi", Variants::of::<GlobalTimerHigh>(), RegisterKind::Bits32),
];
