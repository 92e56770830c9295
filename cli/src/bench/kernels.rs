//! What each kernel of a generated token takes.
//!
//! The launches are those of the graph, one by one, with an event before and after each, on a stream that is held until all of
//! them are submitted. Weights of one layer are not those of the next, so a kernel finds its own in a cache only if all
//! weights fit in it. The median of several tokens is taken for each launch by itself, then launches of one kernel are
//! summed.

use anyhow::ensure;
use serde::Serialize;
use warpwright::launch::{TimedArgument, TimedLaunch, Timeline, time};

use super::measure::{Runner, median};

/// The kernels of a token at a depth.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Profile {
    pub(crate) n_depth: usize,
    /// Of all launches.
    pub(crate) microseconds: f64,
    /// Of a token by the graph, in a row of them.
    pub(crate) graph_microseconds: Option<f64>,
    /// What two events with nothing between them are apart, which is in the time of each launch.
    pub(crate) overhead_microseconds: f64,
    /// The one that takes the most first.
    pub(crate) kernels: Vec<KernelProfile>,
}

/// The launches of a kernel.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KernelProfile {
    pub(crate) kernel: String,
    #[serde(flatten)]
    pub(crate) all: Cost,
    /// The same by grid and bytes.
    pub(crate) shapes: Vec<ShapeProfile>,
}

/// The launches of a kernel with one grid and as many bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShapeProfile {
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: [u32; 3],
    #[serde(flatten)]
    pub(crate) all: Cost,
}

/// What some launches take.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) launches: usize,
    pub(crate) microseconds: f64,
    /// Of all launches of a token.
    pub(crate) share: f64,
    /// What they have to read and write.
    pub(crate) bytes: u64,
    pub(crate) bytes_per_second: f64,
    /// The time that reading as many bytes takes, over the time taken. None on the emulator.
    pub(crate) memory_floor: Option<f64>,
}

/// Tokens that are measured one after the other by the graph, to be compared with.
const GRAPH_TOKENS: usize = 16;

/// Measures the kernels of the token after `depth` tokens.
pub(crate) fn profile(runner: &mut Runner, depth: usize) -> anyhow::Result<Profile> {
    let kernels = runner.session.model().kernels().clone();
    let stream = runner.session.stream().clone();
    let timeline = Timeline::new(kernels.on(&stream));
    let mut tokens: Vec<Vec<TimedLaunch>> = Vec::new();
    // once without counting, which also loads what is not loaded yet
    for _ in 0..=runner.repetitions {
        runner.go_to(depth)?;
        timeline.hold(|| runner.session.step_timed(&timeline))??;
        tokens.push(timeline.finish()?);
    }
    tokens.remove(0);
    let overhead = median((0..=runner.repetitions).map(|_| timeline.overhead()).collect::<Result<_, _>>()?);
    let first = &tokens[0];
    ensure!(tokens.iter().all(|token| token.len() == first.len()), "a token has not always the same launches");
    let launches: Vec<TimedLaunch> = (0..first.len())
        .map(|n| TimedLaunch {
            seconds: median(tokens.iter().map(|token| token[n].seconds).collect()),
            ..first[n].clone()
        })
        .collect();

    let graph = GRAPH_TOKENS.min(runner.session.context() - depth - 1);
    let mut graphs = Vec::new();
    for _ in 0..if graph > 0 { runner.repetitions } else { 0 } {
        runner.go_to(depth)?;
        stream.synchronize()?;
        let run = || (0..graph).try_for_each(|_| Ok::<_, anyhow::Error>(runner.session.step()?));
        graphs.push(time(&stream, run)? / graph as f64);
    }
    let seconds: f64 = launches.iter().map(|launch| launch.seconds).sum();
    Ok(Profile {
        n_depth: depth,
        microseconds: seconds * 1e6,
        graph_microseconds: (graph > 0).then(|| median(graphs) * 1e6),
        overhead_microseconds: overhead * 1e6,
        kernels: group(&launches, &bytes(runner, &launches, depth), seconds, runner.bandwidth.map(|of| of.read)),
    })
}

/// The bytes that each launch has to move: all that it is given, but for tables of which it needs less.
fn bytes(runner: &Runner, launches: &[TimedLaunch], depth: usize) -> Vec<u64> {
    let (vocab, context) = (u64::from(runner.session.model().config().vocab), runner.session.context() as u64);
    let is_cache = |argument: &TimedArgument| {
        matches!(argument.name, "k_cache" | "v_cache" | "k_scales" | "v_scales") && argument.bytes > 0
    };
    let needed = |launch: usize, argument: &TimedArgument| match argument {
        argument if is_cache(argument) => argument.bytes / context * (depth as u64 + 1),
        // What blocks of a launch leave to one another is in the cache, and there is room for more of it.
        TimedArgument { name: "partials" | "parts" | "arrivals", .. } => 0,
        // One token of the sequence.
        TimedArgument { name: "tokens", .. } => argument.bytes / context,
        // The embedding: a row of the matrix.
        TimedArgument { written: false, .. } if launch == 0 => (argument.bytes / vocab).max(4),
        _ => argument.bytes,
    };
    let launches = launches.iter().enumerate();
    launches.map(|(n, launch)| launch.arguments.iter().map(|argument| needed(n, argument)).sum()).collect()
}

/// Sums launches by kernel, and by grid and bytes within that.
fn group(launches: &[TimedLaunch], bytes: &[u64], seconds: f64, read: Option<f64>) -> Vec<KernelProfile> {
    let mut kernels: Vec<KernelProfile> = Vec::new();
    for (launch, &bytes) in launches.iter().zip(bytes) {
        let at = kernels.iter().position(|known| known.kernel == launch.kernel).unwrap_or_else(|| {
            let (kernel, all, shapes) = (launch.kernel.to_owned(), Cost::default(), Vec::new());
            kernels.push(KernelProfile { kernel, all, shapes });
            kernels.len() - 1
        });
        let KernelProfile { all, shapes, .. } = &mut kernels[at];
        let (blocks, threads) = (launch.geometry.blocks, launch.geometry.threads);
        let alike = |known: &ShapeProfile| {
            (known.blocks, known.threads, known.all.bytes) == (blocks, threads, bytes * known.all.launches as u64)
        };
        let at = shapes.iter().position(alike).unwrap_or_else(|| {
            shapes.push(ShapeProfile { blocks, threads, all: Cost::default() });
            shapes.len() - 1
        });
        for cost in [all, &mut shapes[at].all] {
            cost.launches += 1;
            cost.microseconds += launch.seconds * 1e6;
            cost.bytes += bytes;
        }
    }
    let finish = |cost: &mut Cost| {
        let own = cost.microseconds / 1e6;
        cost.share = own / seconds;
        cost.bytes_per_second = cost.bytes as f64 / own;
        cost.memory_floor = read.map(|read| cost.bytes_per_second / read);
    };
    for kernel in &mut kernels {
        finish(&mut kernel.all);
        kernel.shapes.iter_mut().for_each(|shape| finish(&mut shape.all));
        kernel.shapes.sort_by(|a, b| b.all.microseconds.total_cmp(&a.all.microseconds));
    }
    kernels.sort_by(|a, b| b.all.microseconds.total_cmp(&a.all.microseconds));
    kernels
}
