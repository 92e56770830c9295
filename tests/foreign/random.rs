//! Random values, the same in each run.

use fastrand::Rng;

pub(crate) fn words(seed: u64, count: usize) -> Vec<u32> {
    let mut rng = Rng::with_seed(seed);
    (0..count).map(|_| rng.u32(..)).collect()
}

/// Values that an integer of fewer bits has.
pub(crate) fn below(seed: u64, count: usize, end: u32) -> Vec<u32> {
    let mut rng = Rng::with_seed(seed);
    (0..count).map(|_| rng.u32(..end)).collect()
}

/// Between -1 and 1.
pub(crate) fn floats(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = Rng::with_seed(seed);
    (0..count).map(|_| rng.f32() * 2.0 - 1.0).collect()
}
