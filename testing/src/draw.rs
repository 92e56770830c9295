//! Draws what a contract leaves open: integers, bits, contents of buffers.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

use crate::rules::Rules;
use crate::solve::range;

/// What buffers hold before a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Zeros.
    Zeros,
    /// The integer arguments, their neighbours, and other numbers that indices often are.
    Indices,
    /// All bits set: NaN, and the largest number of every unsigned type.
    Ones,
    /// Any bits.
    Bits,
}

impl Contents {
    pub(crate) const ALL: [Self; 4] = [Self::Zeros, Self::Indices, Self::Ones, Self::Bits];
}

/// What was drawn, before it is made to satisfy the contract.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    /// One for each integer parameter.
    pub(crate) integers: Vec<i64>,
    /// For each parameter: bits of its value, if it is no integer.
    pub(crate) bits: Vec<u64>,
    /// For each parameter: elements beyond those that it must have, if the contract allows more.
    pub(crate) extra: Vec<u64>,
    pub(crate) contents: Contents,
    /// What [`Contents::Bits`] and [`Contents::Indices`] start from.
    pub(crate) seed: u64,
}

/// Which integers are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Those at which kernels most often fail.
    Edges,
    /// Any.
    Random,
}

/// Draws for a kernel.
pub(crate) fn draws(rules: &Rules<'_>, phase: Phase) -> impl Strategy<Value = Draw> {
    let edges = edges(rules);
    let integers: Vec<BoxedStrategy<i64>> = rules
        .integers()
        .into_iter()
        .map(|(_, element, used)| {
            let (least, most) = range(element);
            if used { sizes(&edges, most, least, phase) } else { free(&edges, least, most) }
        })
        .collect();
    let count = rules.kernel.parameters.len();
    let extra = prop_oneof![3 => Just(0), 1 => select(vec![1u64, 7, 1000])];
    let contents = select(Contents::ALL.to_vec());
    (integers, vec(bits(), count), vec(extra, count), contents, any::<u64>().no_shrink())
        .prop_map(|(integers, bits, extra, contents, seed)| Draw { integers, bits, extra, contents, seed })
}

/// Numbers at which kernels most often fail: small ones, powers of two, and around the tiles that the contract names.
fn edges(rules: &Rules<'_>) -> Vec<i64> {
    let mut edges: Vec<i64> = vec![0, 1, 2, 3, 5, 7, 31, 32, 33, 100, 1000];
    edges.extend((2..=14).map(|bits| 1 << bits));
    for constant in rules.constants().into_iter().filter(|constant| (2..=1 << 20).contains(constant)) {
        edges.extend([constant - 1, constant, constant + 1, 2 * constant, 2 * constant + 1]);
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Integers that a rule computes with: sizes. Those too large for the budget are made smaller later.
fn sizes(edges: &[i64], most: i64, least: i64, phase: Phase) -> BoxedStrategy<i64> {
    let edges: Vec<i64> = edges.iter().copied().filter(|edge| *edge <= most).collect();
    let extreme = if least < 0 { vec![-1, least, most] } else { vec![most - 1, most] };
    let random = (0u32..=20, any::<u32>()).prop_map(move |(bits, any)| i64::from(any & ((1 << bits) - 1)).min(most));
    let (edge, any) = if phase == Phase::Edges { (12, 1) } else { (4, 12) };
    prop_oneof![2 => select(vec![0, 1]), edge => select(edges), any => random, 1 => select(extreme)].boxed()
}

/// Integers that no rule names: any at all.
fn free(edges: &[i64], least: i64, most: i64) -> BoxedStrategy<i64> {
    let edges: Vec<i64> = edges.iter().copied().filter(|edge| *edge <= most).collect();
    prop_oneof![4 => select(edges), 2 => select(vec![least, most]), 2 => least..=most].boxed()
}

/// Bits of a value that is no integer: the numbers that are most often got wrong in single and double precision, and any.
fn bits() -> BoxedStrategy<u64> {
    let single =
        [0.0, 1.0, -1.0, 1e-5, -0.0, f32::MAX, f32::MIN_POSITIVE / 4.0, f32::INFINITY, -f32::INFINITY, f32::NAN];
    let double = single.map(|value| f64::from(value).to_bits());
    // A value of four bytes takes the lower half.
    let both: Vec<u64> =
        single.iter().zip(double).flat_map(|(single, double)| [u64::from(single.to_bits()), double]).collect();
    prop_oneof![select(both), any::<u64>()].boxed()
}

/// The next of a sequence of random numbers (Steele, Lea and Flood's SplitMix64).
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl Contents {
    /// Bytes of a buffer of elements of `size` bytes, for a launch with these integers.
    pub(crate) fn bytes(self, length: usize, size: usize, integers: &[i64], state: &mut u64) -> Vec<u8> {
        match self {
            Self::Zeros => vec![0; length],
            Self::Ones => vec![0xFF; length],
            Self::Bits => {
                let mut bytes = Vec::with_capacity(length + 8);
                while bytes.len() < length {
                    bytes.extend_from_slice(&random(state).to_le_bytes());
                }
                bytes.truncate(length);
                bytes
            }
            Self::Indices => {
                let mut indices: Vec<i64> = vec![0, 1, 2, -1, i64::MIN, i64::from(i32::MIN), i64::from(i32::MAX)];
                indices.extend(integers.iter().flat_map(|&n| [n.wrapping_sub(1), n, n.wrapping_add(1), n / 2]));
                let mut bytes = Vec::with_capacity(length + 16);
                while bytes.len() < length {
                    let index = indices[(random(state) % indices.len() as u64) as usize].to_le_bytes();
                    bytes.extend_from_slice(&index[..size.min(8)]);
                }
                bytes.truncate(length);
                bytes
            }
        }
    }
}
