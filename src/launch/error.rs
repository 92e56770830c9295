//! What can be wrong with a launch.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use cudarc::driver::DriverError;

use super::contract::Relation;
use crate::buffer::BufferError;
use crate::device::ends_context;

/// The integer arguments of a launch, for messages: each with its value, unless 64 bits with a sign do not hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values(pub Vec<(&'static str, Option<i64>)>);

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, value)) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            match value {
                Some(value) => write!(f, "{comma}{name} = {value}")?,
                None => write!(f, "{comma}{name} over 2^63")?,
            }
        }
        Ok(())
    }
}

/// Why a kernel was not launched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A buffer has not as many elements as the contract says.
    #[error(
        "kernel `{kernel}`: `{parameter}` has {found} elements, and the contract says `{rule}`, {expected} ({values})"
    )]
    Length {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The rule as it is written.
        rule: &'static str,
        /// The elements that it should have, at least or exactly.
        expected: i64,
        /// Those that it has.
        found: usize,
        /// The integer arguments.
        values: Values,
    },
    /// What the contract requires does not hold.
    #[error("kernel `{kernel}` requires `{rule}`, and here it is {left} {} {right} ({values})", relation.symbol())]
    Requirement {
        /// The kernel.
        kernel: &'static str,
        /// The rule as it is written.
        rule: &'static str,
        /// The value of its left side.
        left: i64,
        /// How the two would have to compare.
        relation: Relation,
        /// The value of its right side.
        right: i64,
        /// The integer arguments.
        values: Values,
    },
    /// A rule cannot be computed with these arguments: 64 bits do not hold a result, or it divides by zero.
    #[error("kernel `{kernel}`: `{rule}` cannot be computed in 64 bits ({values})")]
    Arithmetic {
        /// The kernel.
        kernel: &'static str,
        /// The rule as it is written.
        rule: &'static str,
        /// The integer arguments.
        values: Values,
    },
    /// A dimension of the grid or block, or the shared memory, is beyond what any device allows.
    #[error("kernel `{kernel}`: `@{rule}` `{expression}` gives {found}, and the limit is {limit} ({values})")]
    Limit {
        /// The kernel.
        kernel: &'static str,
        /// `grid`, `block` or `shared`.
        rule: &'static str,
        /// The rule as it is written.
        expression: &'static str,
        /// What it gives.
        found: i64,
        /// The most it could be.
        limit: i64,
        /// The integer arguments.
        values: Values,
    },
    /// The grid does not divide into clusters.
    #[error("kernel `{kernel}`: a grid of {blocks:?} blocks does not divide into clusters of {cluster:?} ({values})")]
    Cluster {
        /// The kernel.
        kernel: &'static str,
        /// The blocks of the grid.
        blocks: [u32; 3],
        /// The blocks of a cluster.
        cluster: [u32; 3],
        /// The integer arguments.
        values: Values,
    },
    /// The address of a buffer, or of the part of one that was given, is not a multiple of what the kernel needs.
    #[error("kernel `{kernel}`: the address {address:#x} of `{parameter}` is not a multiple of {alignment} bytes")]
    Alignment {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The address.
        address: u64,
        /// What it should be a multiple of.
        alignment: u64,
    },
    /// Memory that the kernel writes was given for another parameter too.
    #[error("kernel `{kernel}`: `{written}`, which it writes, and `{other}` are the same memory, wholly or in part")]
    Overlap {
        /// The kernel.
        kernel: &'static str,
        /// The parameter that is written.
        written: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A buffer is in another context than the kernel.
    #[error(
        "kernel `{kernel}`: `{parameter}` is in another context (device {buffer}) than the kernel (device {target})"
    )]
    Context {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The device of the buffer.
        buffer: usize,
        /// The device of the kernel.
        target: usize,
    },
    /// The stream of the queue is in another context than its kernels.
    #[error("kernel `{kernel}`: it is loaded in another context (device {kernels}) than the stream (device {stream})")]
    Stream {
        /// The kernel.
        kernel: &'static str,
        /// The device of the kernels.
        kernels: usize,
        /// The device of the stream.
        stream: usize,
    },
    /// The stream, or the home stream of a buffer, is being captured: the graph would hold pointers that nobody keeps.
    #[error("kernel `{kernel}`: a stream is being captured; record launches with `Graph::record` instead")]
    Capturing {
        /// The kernel.
        kernel: &'static str,
    },
    /// The blocks of a cooperative kernel wait for one another, and the device has no room for all of them at once.
    #[error("kernel `{kernel}`: its {blocks} blocks have to be on the device at once, which has room for {room}")]
    Cooperative {
        /// The kernel.
        kernel: &'static str,
        /// The blocks of the grid.
        blocks: u64,
        /// How many of them fit.
        room: u64,
    },
    /// A node of a graph touches what a node of another branch touches, and one of them writes it. Nothing orders the two.
    #[error(
        "kernel `{kernel}`: `{parameter}` is memory that `{other_kernel}` has for `{other_parameter}` in another branch, \
         and one of the two writes it"
    )]
    Race {
        /// The kernel, or `copy`, `fill`, `upload`.
        kernel: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The kernel of the other branch.
        other_kernel: &'static str,
        /// Its parameter.
        other_parameter: &'static str,
    },
    /// In a graph where a kernel begins before the one before it has ended, an update would let it touch memory whose
    /// contents depend on a node before it.
    #[error(
        "kernel `{kernel}`: it was recorded to begin early, and `{parameter}`, which it touches before it waits, would be \
         memory that `{other_kernel}` before it has for `{other_parameter}`"
    )]
    Early {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// The kernel before it.
        other_kernel: &'static str,
        /// Its parameter.
        other_parameter: &'static str,
    },
    /// The node that should be updated is one of another graph.
    #[error("kernel `{kernel}`: the node to update is not one of this graph")]
    OtherGraph {
        /// The kernel.
        kernel: &'static str,
    },
    /// The node that should be updated is a launch of another kernel.
    #[error("kernel `{kernel}`: the node to update launches the kernel `{recorded}`")]
    OtherKernel {
        /// The kernel.
        kernel: &'static str,
        /// That of the node.
        recorded: &'static str,
    },
    /// The node that should be updated has clusters of another size, which stay as they were recorded.
    #[error("kernel `{kernel}`: the node to update has clusters of {recorded:?} blocks, not of {found:?}")]
    OtherCluster {
        /// The kernel.
        kernel: &'static str,
        /// The clusters of the node.
        recorded: [u32; 3],
        /// Those of the launch.
        found: [u32; 3],
    },
    /// The launch was recorded with a grid of nothing, so there is no node to update.
    #[error("kernel `{kernel}`: it was recorded with a grid of nothing, and is no part of the graph")]
    NotRecorded {
        /// The kernel.
        kernel: &'static str,
    },
    /// The grid would be of nothing, and the node cannot be left out: it or the one after it begins early.
    #[error(
        "kernel `{kernel}`: a node beside one that begins early cannot be left out, and its grid would be of nothing"
    )]
    CannotLeaveOut {
        /// The kernel.
        kernel: &'static str,
    },
    /// The module of the kernel cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The context has ended: a kernel, this or an earlier one, did what no kernel may, or the device is gone.
    #[error(
        "kernel `{kernel}`: the context is lost ({error:?}), and nothing works in it any more: let go of all that is of it, and \
         open the device anew"
    )]
    ContextLost {
        /// The kernel that was to be launched.
        kernel: &'static str,
        /// What the driver says.
        error: DriverError,
    },
    /// The driver refused.
    #[error("kernel `{kernel}`: the driver says {error:?}")]
    Driver {
        /// The kernel.
        kernel: &'static str,
        /// What it says.
        error: DriverError,
    },
}

impl LaunchError {
    /// What the driver says of a launch.
    #[cold]
    pub(crate) fn driver(kernel: &'static str, error: DriverError) -> Self {
        match ends_context(error) {
            true => Self::ContextLost { kernel, error },
            false => Self::Driver { kernel, error },
        }
    }
}

impl From<DriverError> for GraphError {
    fn from(error: DriverError) -> Self {
        if ends_context(error) { Self::ContextLost(error) } else { Self::Driver(error) }
    }
}

/// Why a graph was not made or not replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The context has ended: a kernel did what no kernel may, or the device is gone.
    #[error(
        "a graph: the context is lost ({0:?}), and nothing works in it any more: let go of all that is of it, and open the \
         device anew"
    )]
    ContextLost(DriverError),
    /// The driver refused.
    #[error("a graph: the driver says {0:?}")]
    Driver(DriverError),
    /// A launch could not be recorded.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What is uploaded could not be put on the device.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The two buffers of a copy, or what is uploaded and where to, differ in length.
    #[error("a copy of {from} elements to a buffer of {to}")]
    Length {
        /// The elements to copy.
        from: usize,
        /// The elements of the buffer that is written.
        to: usize,
    },
    /// A buffer can be filled with elements of 1, 2 and 4 bytes.
    #[error("a buffer cannot be filled with elements of {0} bytes, only of 1, 2 or 4")]
    Width(usize),
    /// The stream, or the home stream of a buffer of the graph, is being captured.
    #[error("a graph cannot be launched while a stream is being captured")]
    Capturing,
    /// The stream is of another context.
    #[error("the graph is of device {graph}, and the stream of another context (device {stream})")]
    Context {
        /// The device of the graph.
        graph: usize,
        /// The device of the stream.
        stream: usize,
    },
    /// A graph is to be part of one of another context.
    #[error("the graph is of device {graph}, and the one to be part of it of another context (device {child})")]
    ChildContext {
        /// The device of the graph.
        graph: usize,
        /// The device of the other.
        child: usize,
    },
    /// Launches of kernels of another context were to be recorded.
    #[error(
        "a graph of device {graph} cannot take launches of kernels that are loaded in another context (device {kernels})"
    )]
    KernelsContext {
        /// The device of the graph.
        graph: usize,
        /// The device of the kernels.
        kernels: usize,
    },
    /// A graph that was updated is to be part of another. The driver would take it as it was recorded.
    #[error("a graph that was updated cannot become part of another")]
    ChildUpdated,
    /// A graph with captured work is to be part of another. Nothing would keep replays of the two apart.
    #[error("a graph with captured work cannot become part of another")]
    ChildCaptured,
    /// The work to capture failed.
    #[error("the work that was captured failed: {0}")]
    Work(Failure),
    /// The work was of a kind that cannot be captured, or did not end what it began.
    #[error("the work could not be captured: the driver says {error:?}")]
    Capture {
        /// What it says.
        error: DriverError,
    },
}

/// The error of work that was to be captured. Two are equal only if they are one.
#[derive(Debug, Clone)]
pub struct Failure(Arc<dyn Error + Send + Sync>);

impl Failure {
    pub(crate) fn new(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(error.into())
    }

    /// The error.
    #[must_use]
    pub fn get(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a module cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The driver is older than the PTX.
    #[error(
        "the driver is too old for the PTX of module `{module}` (PTX {ptx}): update the driver, or compile the kernels \
         with an older toolkit"
    )]
    DriverTooOld {
        /// The module.
        module: &'static str,
        /// The version of its PTX.
        ptx: String,
    },
    /// The driver does not take the PTX.
    #[error("the driver does not take the PTX of module `{module}` ({error:?}): {log}")]
    Module {
        /// The module.
        module: &'static str,
        /// What the driver says.
        error: DriverError,
        /// The log of its compiler.
        log: String,
    },
    /// There is no PTX for the device.
    #[error(
        "module `{module}` was compiled for {targets}, and the device has compute capability {device}: add a target to \
         `@targets`"
    )]
    Target {
        /// The module.
        module: &'static str,
        /// What it was compiled for.
        targets: String,
        /// The compute capability of the device.
        device: String,
    },
    /// The driver finds other parameters than the build did.
    #[error("{symbol} in module `{module}` has other parameters than its manifest says: (offset, size) {found:?}")]
    Parameters {
        /// The module.
        module: &'static str,
        /// The name of the function in the PTX.
        symbol: String,
        /// Offset and size in bytes of those that it has.
        found: Vec<(usize, usize)>,
    },
    /// The module has not the kernel that its manifest says.
    #[error("module `{module}` has no function {symbol} ({error:?})")]
    Function {
        /// The module.
        module: &'static str,
        /// The name of the function in the PTX.
        symbol: String,
        /// What the driver says.
        error: DriverError,
    },
}
