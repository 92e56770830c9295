//! Launches with buffers of more than 2^31 elements, where indices of 32 bits overflow.
//!
//! The buffers are sparse, and only some blocks are run: the first, the last, those around the elements where
//! something overflows, and a few between. An index that wraps to a negative number lands outside of its buffer. One that
//! wraps to a small number lands inside; in a buffer that is written whole it shows as a second block that writes the
//! same element.

use std::collections::BTreeSet;

use warpwright_build::types::Number;
use warpwright_emulator::{FaultKind, Options};

use crate::arguments::{Argument, Arguments};
use crate::draw::{Contents, Draw, random};
use crate::launch::{Buffers, Found, Loaded, POISONS};
use crate::rules::{Rules, Shape, Values};
use crate::solve::{Budget, range, solve};
use crate::violation::{Broken, Large, Problem};

/// Where something overflows: byte offsets and elements in 32 bits, with and without a sign.
const BOUNDARIES: [u64; 5] = [1 << 29, 1 << 30, 1 << 31, 1 << 32, 1 << 33];
/// A buffer is large from here on.
const LARGE: u64 = 1 << 31;
/// All buffers together.
const BUDGET: Budget = Budget { bytes: 1 << 37, threads: u64::MAX };
/// What a block may execute here before it is cut off.
const INSTRUCTION_LIMIT: u64 = 1 << 21;
/// Blocks chosen at random.
const RANDOM_BLOCKS: usize = 8;
/// Bytes at both ends of a buffer that are not left zero.
const FILLED: u64 = 1 << 16;
/// How many elements are compared when two blocks are.
const COMPARED: u64 = 1 << 16;

/// Launches with a large buffer for each parameter that may be one.
///
/// Returns what was run, and the instructions executed.
pub(crate) fn check(loaded: &Loaded<'_>) -> Result<(Vec<Large>, u64), Box<Broken>> {
    let mut done: BTreeSet<Values> = BTreeSet::new();
    let (mut reports, mut instructions) = (Vec::new(), 0);
    for n in 0..loaded.rules.kernel.parameters.len() {
        let Some((values, shape)) = largest(loaded.rules, n) else { continue };
        if !done.insert(values.clone()) {
            continue;
        }
        let mut report = Large {
            parameter: loaded.rules.kernel.parameters[n].name.clone(),
            elements: shape.elements[n],
            blocks: 0,
            cut_off: 0,
        };
        let count = loaded.rules.kernel.parameters.len();
        let arguments = |seed, contents| {
            let bits = vec![u64::from(1e-5f32.to_bits()); count];
            let draw = Draw { integers: Vec::new(), bits, extra: vec![0; count], contents, seed };
            Arguments::new(loaded.rules, &draw, &values, &shape)
        };
        // A machine may refuse more address space than it has memory: then there is nothing to be launched.
        let Ok(buffers) = Buffers::allocate(loaded.device, &arguments(0, Contents::Zeros)) else { continue };
        for (seed, contents) in (1..).zip(Contents::ALL) {
            let arguments = arguments(seed, contents);
            let launched = launch(loaded, &arguments, &buffers, (n, &shape), &mut report);
            let kernel = loaded.rules.kernel.name.clone();
            instructions +=
                launched.map_err(|(problem, rule)| Box::new(Broken { kernel, problem, rule, arguments }))?;
        }
        reports.push(report);
    }
    Ok((reports, instructions))
}

/// Integers with which parameter `n` is a large buffer: if possible of more than 2^32 elements, spread over as many
/// threads as can be.
fn largest(rules: &Rules<'_>, n: usize) -> Option<(Values, Shape)> {
    let names = rules.names_of_length(&rules.kernel.parameters[n].name);
    let integers = rules.integers();
    let choices: Vec<(&str, Vec<i64>)> = integers
        .iter()
        .map(|(name, element, _)| (*name, if names.contains(*name) { candidates(*element) } else { vec![1] }))
        .collect();
    let combinations = choices.iter().map(|(_, choices)| choices.len()).fold(1usize, usize::saturating_mul);
    let mut best: Option<((bool, u32, u64), Values, Shape)> = None;
    // Beyond four integers in one length not all combinations are tried.
    for combination in 0..combinations.min(1 << 17) {
        let mut rest = combination;
        let mut values = Values::new();
        for (name, choices) in &choices {
            values.insert((*name).to_owned(), choices[rest % choices.len()]);
            rest /= choices.len();
        }
        let Some((values, shape)) = solve_as_drawn(rules, values) else { continue };
        let elements = shape.elements[n];
        let threads = shape.count().saturating_mul(shape.block());
        if elements <= LARGE || threads == 0 {
            continue;
        }
        let bytes: u64 = shape.elements.iter().sum();
        let rank = (elements <= 1 << 32, (elements / threads).max(8).ilog2(), bytes);
        if best.as_ref().is_none_or(|(other, ..)| rank < *other) {
            best = Some((rank, values, shape));
        }
    }
    best.map(|(_, values, shape)| (values, shape))
}

/// Solves, but gives up where integers would have to be made smaller.
fn solve_as_drawn(rules: &Rules<'_>, mut values: Values) -> Option<(Values, Shape)> {
    let largest = values.values().copied().max().unwrap_or(0);
    let shape = solve(rules, &mut values, BUDGET).ok()?;
    // What was halved is a combination that another one gives, or too small.
    let kept = values.values().copied().max().unwrap_or(0) >= largest / 2;
    kept.then_some((values, shape))
}

/// Factors of large numbers.
fn candidates(number: Number) -> Vec<i64> {
    let (_, most) = range(number);
    let exact = [1, 2, 64, 128, 257, 1024, 4096, 65536, 65537, 1 << 20, (1 << 24) + 1, 1 << 27, 1 << 30];
    let near = [(1 << 31) - 1, (1 << 31) + 257, (1 << 32) - 256, (1 << 32) + 65537];
    exact.into_iter().chain(near).filter(|candidate| *candidate <= most).collect()
}

/// Numbers of the blocks to run.
fn sample(shape: &Shape, elements: u64, seed: u64) -> BTreeSet<u64> {
    let count = shape.count();
    let mut blocks: BTreeSet<u64> = [0, 1, count.saturating_sub(2), count - 1].into();
    for boundary in BOUNDARIES.into_iter().filter(|boundary| *boundary < elements) {
        let at = (u128::from(count) * u128::from(boundary) / u128::from(elements)) as u64;
        blocks.extend([at.saturating_sub(1), at, at + 1]);
    }
    let mut state = seed;
    blocks.extend((0..RANDOM_BLOCKS).map(|_| random(&mut state) % count));
    blocks.retain(|block| *block < count);
    blocks
}

/// Launches the sampled blocks one by one, with parameter `n` the large buffer.
fn launch(
    loaded: &Loaded<'_>,
    arguments: &Arguments,
    buffers: &Buffers<'_>,
    (n, shape): (usize, &Shape),
    report: &mut Large,
) -> Result<u64, Found> {
    fill(loaded, arguments, buffers).map_err(|error| (Problem::Launch(error), None))?;
    let mut instructions = 0;
    for block in sample(shape, shape.elements[n], arguments.seed) {
        match run_block(loaded, arguments, buffers, block, POISONS[0])? {
            Some(executed) => {
                instructions += executed;
                report.blocks += 1;
            }
            None => report.cut_off += 1,
        }
    }
    for at in 0..arguments.parameters.len() {
        find_overlap(loaded, arguments, buffers, at, shape)?;
    }
    Ok(instructions)
}

/// Runs one block. Returns the instructions executed, or nothing if it was cut off.
fn run_block(
    loaded: &Loaded<'_>,
    arguments: &Arguments,
    buffers: &Buffers<'_>,
    block: u64,
    poison: u8,
) -> Result<Option<u64>, Found> {
    let (blocks, instruction_limit) = (Some(&[block][..]), INSTRUCTION_LIMIT);
    let options = Options { blocks, instruction_limit, poison, ..Options::default() };
    match loaded.launch(arguments, buffers, &options) {
        Ok(executed) => Ok(Some(executed)),
        Err((Problem::Fault(fault), _)) if matches!(fault.kind, FaultKind::InstructionLimit { .. }) => Ok(None),
        Err(found) => Err(found),
    }
}

/// Fills buffers at both ends.
fn fill(
    loaded: &Loaded<'_>,
    arguments: &Arguments,
    buffers: &Buffers<'_>,
) -> Result<(), warpwright_emulator::LaunchError> {
    let integers = arguments.integers();
    let mut state = arguments.seed;
    for ((_, argument), address) in arguments.parameters.iter().zip(&buffers.addresses) {
        let Argument::Buffer { element, elements, .. } = argument else { continue };
        let size = element.size();
        let bytes = elements * size;
        if bytes > 0 {
            // What was not written is zero.
            loaded.device.set_written(*address, bytes, true)?;
        }
        for start in [0, bytes.saturating_sub(FILLED) / size * size] {
            let length = bytes.min(FILLED) as usize;
            let contents = arguments.contents.bytes(length, size as usize, &integers, &mut state);
            loaded.write(address + start, &contents)?;
        }
    }
    Ok(())
}

/// Looks for elements of an output of more than 2^32 that the last blocks write and those that 2^32 elements less lead to.
fn find_overlap(
    loaded: &Loaded<'_>,
    arguments: &Arguments,
    buffers: &Buffers<'_>,
    n: usize,
    shape: &Shape,
) -> Result<(), Found> {
    let (name, Argument::Buffer { element, elements, output: true, .. }) = &arguments.parameters[n] else {
        return Ok(());
    };
    let Some(wrapped) = elements.checked_sub(1 << 32).filter(|wrapped| *wrapped > 0) else { return Ok(()) };
    let refused = |error| (Problem::Launch(error), None);
    let size = element.size();
    let compared = wrapped.min(COMPARED);
    let (first, address) = (wrapped - compared, buffers.addresses[n] + (wrapped - compared) * size);
    let writers = |block: u64| -> Result<BTreeSet<u64>, Found> {
        let mut written = BTreeSet::new();
        for poison in POISONS {
            loaded.device.fill(address, compared * size, poison).map_err(refused)?;
            run_block(loaded, arguments, buffers, block, POISONS[0])?;
            let found = loaded.read(address, (compared * size) as usize).map_err(refused)?;
            let elements = found.chunks_exact(size as usize).zip(first..);
            written.extend(elements.filter(|(bytes, _)| bytes.iter().any(|byte| *byte != poison)).map(|(_, at)| at));
        }
        Ok(written)
    };
    let count = shape.count();
    let last = [count - 1, count.saturating_sub(2)];
    let natural = (u128::from(count) * u128::from(wrapped) / u128::from(*elements)) as u64;
    for late in last {
        let of_late = writers(late)?;
        if of_late.is_empty() {
            continue;
        }
        for early in natural.saturating_sub(2)..(natural + 3).min(count) {
            if last.contains(&early) {
                continue;
            }
            if let Some(at) = writers(early)?.intersection(&of_late).next() {
                let problem = Problem::Overlap { parameter: name.clone(), element: *at, blocks: [early, late] };
                return Err((problem, Some(format!("@out {name}"))));
            }
        }
    }
    Ok(())
}
