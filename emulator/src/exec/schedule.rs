//! In which order warps and groups of lanes have their turns: one that is fast, or one at random.
//!
//! Nothing may depend on it, so a kernel has to come to the same end under every order. With a seed the order is drawn anew
//! for each block, the same each time.

use super::warp::Turns;

/// How the warps of a block take turns.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Schedule {
    /// The state of the random numbers; `None` for the order that is fast.
    state: Option<u64>,
}

impl Schedule {
    /// The order of a block, which depends on the seed and its number.
    pub(super) fn new(seed: Option<u64>, number: u64) -> Self {
        Self { state: seed.map(|seed| seed ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03)) }
    }

    /// A number below `end`, if the order is drawn.
    pub(super) fn draw(&mut self, end: u64) -> Option<u64> {
        let state = self.state.as_mut()?;
        // SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some((z ^ z >> 31) % end.max(1))
    }

    /// The warps in the order of their turns.
    pub(super) fn order(&mut self, warps: u32) -> impl Iterator<Item = u32> + use<> {
        let first = self.draw(u64::from(warps)).unwrap_or(0) as u32;
        let backward = self.draw(2) == Some(1);
        (0..warps).map(move |n| (if backward { first + warps - n } else { first + n }) % warps)
    }

    /// How long a turn is, where the usual is `turns`.
    pub(super) fn turns(&mut self, turns: Turns) -> Turns {
        match self.draw(64) {
            None => turns,
            Some(drawn) => Turns { warp: 1 + drawn as u32, group: 1 + self.draw(8).unwrap_or(0) as u32 },
        }
    }

    /// The place of a block in the order in which they begin: a permutation of the numbers below `count`.
    pub(super) fn place(seed: Option<u64>, index: u64, count: u64) -> u64 {
        let Some(seed) = seed else { return index };
        // A multiplier without a common divisor makes a permutation.
        let coprime = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a == 1
        };
        let mut multiplier = (seed % count.max(1)) | 1;
        while !coprime(multiplier, count) {
            multiplier += 2;
        }
        ((u128::from(index) * u128::from(multiplier) + u128::from(seed >> 32)) % u128::from(count.max(1))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_one_place() {
        for count in [1, 2, 3, 10, 64, 105, 1000] {
            for seed in [0, 1, 7, 12345, u64::MAX] {
                let mut places: Vec<u64> = (0..count).map(|n| Schedule::place(Some(seed), n, count)).collect();
                places.sort_unstable();
                assert!(places.into_iter().eq(0..count), "{count} {seed}");
            }
        }
        assert_eq!(Schedule::place(None, 5, 9), 5);
    }

    #[test]
    fn every_warp_has_a_turn() {
        let mut schedule = Schedule::new(Some(3), 4);
        for _ in 0..100 {
            let mut warps: Vec<u32> = schedule.order(7).collect();
            warps.sort_unstable();
            assert!(warps.into_iter().eq(0..7));
        }
        assert!(Schedule::default().order(3).eq(0..3));
    }
}
