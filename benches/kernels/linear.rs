//! A matrix in a format of weights, times one vector or several.

use warpwright::Buffer;
use warpwright::kernel::Set;
use warpwright::launch::{LaunchError, Target};
use warpwright::model::Linear;
use warpwright::random::blocks;

use crate::cases::LinearCase;
use crate::{Bench, LAUNCHES, Outcome, Result, relative_error};

/// Copies of a matrix that is multiplied with many tokens.
const PRODUCTS: usize = 4;
/// Rows that are compared with a reference: the first, the last, and some between.
const ROWS_CHECKED: usize = 256;
/// Tokens that are.
const TOKENS_CHECKED: usize = 4;
/// What a result may be off by, of its norm: more than f32 needs, since activations may be rounded to 8 bits. What that costs
/// exactly is what tests hold.
const TOLERANCE: f64 = 1e-2;

/// The launch that is measured.
fn launch<Q: Target<Set = Set>>(
    onto: &Q,
    linear: &Linear,
    x: &Buffer<f32>,
    y: &mut Buffer<f32>,
    tokens: u32,
) -> std::result::Result<(), LaunchError> {
    linear.forward(onto, x, y, tokens)
}

pub(crate) fn run(bench: &Bench, case: &LinearCase) -> Result<Outcome> {
    let &LinearCase { format, rows, columns, tokens } = case;
    let (row_count, width) = (rows as usize, columns as usize);
    let count = row_count * (width / format.block());
    let data = blocks(format, 1, 1.0 / (width as f32).sqrt(), count);
    let upload = || Linear::from_blocks(&bench.stream, format, &data, rows, columns);
    let first = upload()?;
    let (weights, output) = (first.bytes() as u64, row_count * tokens as usize);
    // A product of many tokens is long: a few are enough, and it hardly matters where its weights are.
    let copies = if tokens > 1 { bench.copies(weights).min(PRODUCTS) } else { bench.copies(weights) };
    let mut linears = vec![first];
    while linears.len() < copies {
        linears.push(upload()?);
    }
    let x_host: Vec<f32> = (0..width * tokens as usize).map(|n| uniform(n as u32)).collect();
    let x = Buffer::from_host(&bench.stream, &x_host)?;
    let mut y = Buffer::from_host(&bench.stream, &vec![f32::NAN; output])?;

    if bench.check {
        launch(&bench.kernels.on(&bench.stream), linears.last().expect("one at least"), &x, &mut y, tokens)?;
        check(case, &data, &x_host, &y.read()?)?;
        y.write(&vec![f32::NAN; output])?;
    }
    let seconds = bench.measure(copies, if tokens > 1 { copies } else { LAUNCHES }, |graph, n| {
        launch(graph, &linears[n], &x, &mut y, tokens)
    })?;
    // What was measured is right too.
    let error = bench.check.then(|| check(case, &data, &x_host, &y.read()?)).transpose()?;
    let bytes = weights + 4 * (x_host.len() + output) as u64;
    let operations = 2.0 * row_count as f64 * width as f64 * f64::from(tokens);
    Ok(Outcome { seconds, bytes, operations, copies, error })
}

/// A number from -1 to 1 for each index, without a pattern.
pub(crate) fn uniform(n: u32) -> f32 {
    let mixed = (n ^ n >> 16).wrapping_add(1).wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
    ((mixed ^ mixed >> 16) >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}

/// Compares some rows of some tokens with sums in f64, and looks for outputs that were not written.
fn check(case: &LinearCase, data: &[u8], x: &[f32], y: &[f32]) -> Result<f64> {
    let &LinearCase { format, rows, columns, tokens } = case;
    let (rows, columns, tokens) = (rows as usize, columns as usize, tokens as usize);
    if let Some(at) = y.iter().position(|y| !y.is_finite()) {
        return Err(format!("output {at} of {} is {}", y.len(), y[at]).into());
    }
    let row_bytes = columns / format.block() * format.block_bytes();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    let step = |all: usize, some: usize| (0..some.min(all)).map(move |n| n * (all - 1) / (some.min(all) - 1).max(1));
    for row in step(rows, ROWS_CHECKED) {
        let weights = format.dequantize(&data[row * row_bytes..][..row_bytes])?;
        for token in step(tokens, TOKENS_CHECKED) {
            let products = weights.iter().zip(&x[token * columns..]).map(|(w, x)| f64::from(*w) * f64::from(*x));
            expected.push(products.sum());
            found.push(f64::from(y[token * rows + row]));
        }
    }
    relative_error(&found, &expected, TOLERANCE)
}
