//! What a typed launch costs the host, beside cudarc's own:
//! `cargo run --release --manifest-path benches/Cargo.toml -p launch-cost`.
//!
//! Each figure is the median of many batches, in nanoseconds a launch; batches of the two ways take turns. An argument
//! selects the cases whose names begin with it.

use std::error::Error;
use std::time::Instant;

use launch_cost::{Counting, Launches, allocations, cases};

const BATCHES: usize = 301;
const LAUNCHES: u32 = 2000;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The nanoseconds of each launch of a batch.
fn time(launches: &mut Launches) -> f64 {
    let start = Instant::now();
    launches(LAUNCHES);
    start.elapsed().as_nanos() as f64 / f64::from(LAUNCHES)
}

/// The allocations of each launch of a batch.
fn count(launches: &mut Launches) -> f64 {
    let before = allocations();
    launches(LAUNCHES);
    (allocations() - before) as f64 / f64::from(LAUNCHES)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<57} {:>8} {:>8} {:>6}   allocations", "arguments", "typed", "cudarc", "ratio");
    let selected = std::env::args().nth(1).unwrap_or_default();
    for mut case in cases()?.into_iter().filter(|case| case.name.starts_with(&selected)) {
        // The first launches load modules and find symbols.
        let counts = [&mut case.typed, &mut case.cudarc].map(|launches| {
            launches(LAUNCHES);
            count(launches)
        });
        let (mut typed, mut cudarc) = (Vec::new(), Vec::new());
        for batch in 0..BATCHES {
            // Neither is always the first.
            if batch % 2 == 0 {
                typed.push(time(&mut case.typed));
                cudarc.push(time(&mut case.cudarc));
            } else {
                cudarc.push(time(&mut case.cudarc));
                typed.push(time(&mut case.typed));
            }
        }
        let (typed, cudarc) = (median(typed), median(cudarc));
        let (ratio, [of_typed, of_cudarc]) = (typed / cudarc, counts);
        println!("{:<57} {typed:5.1} ns {cudarc:5.1} ns {ratio:6.2}   {of_typed} and {of_cudarc}", case.name);
    }
    Ok(())
}
