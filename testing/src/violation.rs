//! What is wrong with a contract, and what was found where nothing is.

use std::fmt;
use std::path::PathBuf;

use warpwright_build::contract::RuleError;
use warpwright_build::manifest::ManifestError;
use warpwright_emulator::{Fault, LaunchError, PtxError};

use crate::arguments::Arguments;

/// Why a contract is not kept, or could not be tested. Its `Debug` is its `Display`, since that is what a test that
/// returns it shows.
#[derive(thiserror::Error)]
pub enum Violation {
    /// There is no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The PTX of a module cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The emulator does not take the PTX of a module.
    #[error("{}: {error}", path.display())]
    Ptx {
        /// Its path.
        path: PathBuf,
        /// What it does not take.
        error: PtxError,
    },
    /// The manifest has no kernel of that name.
    #[error("there is no kernel `{name}`; there are: {}", known.join(", "))]
    NoKernel {
        /// The name.
        name: String,
        /// The kernels that there are.
        known: Vec<String>,
    },
    /// The rules of a kernel are not rules.
    #[error("kernel `{kernel}`: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules {
        /// The kernel.
        kernel: String,
        /// What is wrong with them.
        errors: Vec<RuleError>,
    },
    /// The contract is not complete, so there is nothing that arguments could be drawn from.
    #[error("the contract of kernel `{kernel}` cannot be tested: it lacks {}", missing.join(", "))]
    Incomplete {
        /// The kernel.
        kernel: String,
        /// What it would state besides.
        missing: Vec<String>,
    },
    /// Of all arguments that were drawn, too few satisfy the contract.
    #[error("kernel `{kernel}`: of {drawn} draws of arguments {refused} do not satisfy `{rule}`")]
    Unsatisfiable {
        /// The kernel.
        kernel: String,
        /// The rule that refused most of them.
        rule: String,
        /// How many it refused.
        refused: usize,
        /// How many were drawn.
        drawn: usize,
    },
    /// The kernel does not keep its contract.
    #[error(transparent)]
    Broken(Box<Broken>),
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A launch that satisfies the contract, and in which the kernel does what it must not.
#[derive(Debug, Clone, thiserror::Error)]
#[error("kernel `{kernel}` does not keep its contract: {problem}\n{}launched with\n{arguments}", shown(rule.as_ref()))]
pub struct Broken {
    /// The kernel.
    pub kernel: String,
    /// What it did.
    pub problem: Problem,
    /// The rule that was to prevent it.
    pub rule: Option<String>,
    /// The arguments: the simplest that were found, except in the case of large buffers.
    pub arguments: Arguments,
}

fn shown(rule: Option<&String>) -> String {
    rule.map_or_else(String::new, |rule| format!("the rule for it is `{rule}`\n"))
}

/// What a kernel did that its contract excludes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// What no kernel may do.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// The launch is refused, though the contract allows it.
    #[error("the launch is refused: {0}")]
    Launch(LaunchError),
    /// An element of an `@out` buffer that is not written, or whose value depends on what was there before.
    #[error(
        "`{parameter}[{element}]` is not written, or depends on memory that nothing wrote: it is {first:02x?} after \
         one run and {second:02x?} after one with other poison"
    )]
    Unwritten {
        /// The buffer.
        parameter: String,
        /// The first such element.
        element: u64,
        /// Its bytes after a run.
        first: Vec<u8>,
        /// Its bytes after another run, whose memory held something else before.
        second: Vec<u8>,
    },
    /// A `const` buffer that was written.
    #[error("`{parameter}[{element}]` is written, and `{parameter}` is a pointer to `const`")]
    WroteConst {
        /// The buffer.
        parameter: String,
        /// The first element that differs.
        element: u64,
    },
    /// Two blocks write the same element of an `@out` buffer of more than 2^32 elements, far from each other.
    #[error("blocks {blocks:?} both write `{parameter}[{element}]`: an index of 32 bits that overflows?")]
    Overlap {
        /// The buffer.
        parameter: String,
        /// The first such element.
        element: u64,
        /// Their numbers, `x + gridDim.x * (y + gridDim.y * z)`.
        blocks: [u64; 2],
    },
}

/// What was tested without finding a violation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The kernel.
    pub kernel: String,
    /// Arguments that were drawn and satisfy the contract.
    pub cases: u64,
    /// Instructions that the kernel executed, each counted once a thread.
    pub thread_instructions: u64,
    /// The launches with large buffers. It is empty if the contract allows no buffer of over 2^31 elements.
    pub large: Vec<Large>,
}

/// Launches with a buffer of more than 2^31 elements, of which some blocks were run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Large {
    /// The buffer.
    pub parameter: String,
    /// How many elements it had.
    pub elements: u64,
    /// The blocks that were run to their end.
    pub blocks: u64,
    /// The blocks that had more work than the limit, and were cut off there.
    pub cut_off: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cases, thread_instructions, large } = self;
        write!(f, "{kernel}: {cases} cases, {thread_instructions} thread-instructions")?;
        if large.is_empty() {
            write!(f, "; no buffer can have more than 2^31 elements")?;
        }
        for Large { parameter, elements, blocks, cut_off } in large {
            write!(f, "; `{parameter}` with {elements} elements: {blocks} blocks")?;
            if *cut_off > 0 {
                write!(f, " and {cut_off} cut off")?;
            }
        }
        Ok(())
    }
}
