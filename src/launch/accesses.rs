//! What the nodes of a graph touch, and which of them may run at the same time.

use std::sync::Arc;

use cudarc::driver::{CudaStream, sys};

use super::argument::Region;
use super::error::LaunchError;
use crate::buffer::Memory;

/// Memory that a node touches.
#[derive(Clone)]
pub(crate) struct Access {
    /// The kernel, or what else the node does.
    work: &'static str,
    parameter: &'static str,
    written: bool,
    start: u64,
    bytes: u64,
    /// Kept for as long as the node may touch it.
    memory: Arc<Memory>,
}

/// A branch of a fork: the number of the fork, and which of the two it is.
pub(crate) type Branch = (usize, bool);

/// A node of a graph.
pub(crate) struct Step {
    pub(crate) node: sys::CUgraphNode,
    pub(crate) work: Work,
    /// Nothing, if the node is left out.
    pub(crate) accesses: Vec<Access>,
    /// The branches that it is in, from the outermost fork.
    pub(crate) branches: Arc<[Branch]>,
}

/// What a node does.
pub(crate) enum Work {
    Kernel {
        /// The blocks of a cluster, which stay as they were recorded.
        cluster: [u32; 3],
        /// How it may begin before the node before it has ended, if it may.
        early: Option<Early>,
        /// Whether replays pass it over.
        left_out: bool,
    },
    /// A copy or a fill.
    Transfer,
    /// Another graph.
    Graph {
        /// Whether somebody else captured it, so that nobody here knows what it touches.
        foreign: bool,
    },
}

/// The edge to a kernel that begins before the kernel before it has ended.
#[derive(Clone, Copy)]
pub(crate) struct Early {
    /// The place of the kernel before it.
    pub(crate) after: usize,
    /// The parameters that it touches before it waits.
    pub(crate) parameters: &'static [&'static str],
}

/// The nodes of a graph, in the order in which they were recorded.
#[derive(Default)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl Access {
    /// What a node does with a region, if its memory is counted.
    pub(crate) fn of(work: &'static str, region: &Region<'_>) -> Option<Self> {
        let memory = Arc::clone(region.memory()?);
        let (start, bytes) = region.range();
        Some(Self { work, parameter: region.name(), written: region.is_written(), start, bytes, memory })
    }

    /// Whether the order of this and another matters.
    fn conflicts(&self, other: &Self) -> bool {
        (self.written || other.written)
            && self.bytes > 0
            && other.bytes > 0
            && self.start < other.start + other.bytes
            && other.start < self.start + self.bytes
    }
}

/// Whether no order is between nodes in these branches. It is so if they part at the two branches of one fork; where the
/// forks differ, one comes after the other.
fn at_once(a: &[Branch], b: &[Branch]) -> bool {
    let parting = a.iter().zip(b).find(|(a, b)| a != b);
    parting.is_some_and(|((fork, _), (other, _))| fork == other)
}

/// Two accesses whose order matters, one of each side.
fn conflict<'a>(left: impl Iterator<Item = &'a Access>, right: &'a [Access]) -> Option<(&'a Access, &'a Access)> {
    let mut pairs = left.flat_map(|a| right.iter().map(move |b| (a, b)));
    pairs.find(|(a, b)| a.conflicts(b))
}

/// Those of `accesses` that are made before the kernel waits.
fn early<'a>(accesses: &'a [Access], parameters: &'static [&'static str]) -> impl Iterator<Item = &'a Access> {
    accesses.iter().filter(|access| parameters.contains(&access.parameter))
}

impl Steps {
    /// Checks that nothing that may run at the same time as a node at `place` conflicts with what it touches.
    pub(crate) fn check_race(&self, place: usize, branches: &[Branch], accesses: &[Access]) -> Result<(), LaunchError> {
        if branches.is_empty() {
            return Ok(());
        }
        let others = self.0.iter().enumerate().filter(|(other, _)| *other != place);
        let mut beside = others.filter(|(_, step)| at_once(branches, &step.branches));
        match beside.find_map(|(_, step)| conflict(accesses.iter(), &step.accesses)) {
            None => Ok(()),
            Some((own, other)) => Err(LaunchError::Race {
                kernel: own.work,
                parameter: own.parameter,
                other_kernel: other.work,
                other_parameter: other.parameter,
            }),
        }
    }

    /// Checks that what a kernel at `place` touches before it waits does not depend on anything before it in the graph.
    ///
    /// The kernel before it may still be running then; so may the one before that, if this one began early too. What
    /// somebody else captured touches nobody knows what.
    pub(crate) fn check_early(
        &self,
        place: usize,
        parameters: &'static [&'static str],
        accesses: &[Access],
    ) -> Result<(), LaunchError> {
        self.0[..place].iter().try_for_each(|step| check_early_after(accesses, parameters, &step.accesses))
    }

    /// Whether a kernel can begin early after all that there is: only behind a kernel, and behind no work of which nobody
    /// knows what it touches.
    pub(crate) fn allow_early(&self, after: usize) -> bool {
        matches!(self.0[after].work, Work::Kernel { .. })
            && !self.0.iter().any(|step| matches!(step.work, Work::Graph { foreign: true }))
    }

    /// Checks that the node at `place` may touch something else than it does.
    pub(crate) fn check_change(&self, place: usize, accesses: &[Access]) -> Result<(), LaunchError> {
        let step = &self.0[place];
        self.check_race(place, &step.branches, accesses)?;
        if let Work::Kernel { early: Some(Early { parameters, .. }), .. } = step.work {
            self.check_early(place, parameters, accesses)?;
        }
        self.0[place + 1..].iter().try_for_each(|later| match later.work {
            Work::Kernel { early: Some(Early { parameters, .. }), .. } => {
                check_early_after(&later.accesses, parameters, accesses)
            }
            _ => Ok(()),
        })
    }

    /// Whether the node at `place` is at an end of an edge to a kernel that begins early.
    pub(crate) fn is_at_early_edge(&self, place: usize) -> bool {
        self.0.iter().enumerate().any(|(n, step)| match step.work {
            Work::Kernel { early: Some(Early { after, .. }), .. } => n == place || after == place,
            _ => false,
        })
    }

    /// How many kernels begin before the one before them has ended.
    pub(crate) fn early_edges(&self) -> usize {
        self.0.iter().filter(|step| matches!(step.work, Work::Kernel { early: Some(_), .. })).count()
    }

    /// The streams that the memory belongs to.
    pub(crate) fn homes(&self) -> Vec<Arc<CudaStream>> {
        let mut homes: Vec<Arc<CudaStream>> = Vec::new();
        for access in self.0.iter().flat_map(|step| &step.accesses) {
            let home = access.memory.stream();
            if !homes.contains(home) {
                homes.push(Arc::clone(home));
            }
        }
        homes
    }
}

/// Checks that what a kernel touches before it waits does not depend on what a node before it does.
fn check_early_after(
    accesses: &[Access],
    parameters: &'static [&'static str],
    before: &[Access],
) -> Result<(), LaunchError> {
    match conflict(early(accesses, parameters), before) {
        None => Ok(()),
        Some((own, other)) => Err(LaunchError::Early {
            kernel: own.work,
            parameter: own.parameter,
            other_kernel: other.work,
            other_parameter: other.parameter,
        }),
    }
}
