//! What the checks found, and what ended a context: a list for each process.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The kinds of [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FindingKind {
    /// Device memory that was never freed.
    LeakedDeviceMemory,
    /// Pinned, managed or registered host memory that was never given back.
    LeakedHostMemory,
    /// A stream that was never destroyed.
    LeakedStream,
    /// An event that was never destroyed.
    LeakedEvent,
    /// A module that was never unloaded.
    LeakedModule,
    /// A graph, or an executable graph, that was never destroyed.
    LeakedGraph,
    /// A memory pool that was never destroyed.
    LeakedPool,
    /// A context that was never destroyed, or a primary one that was never released.
    LeakedContext,
    /// Pinned memory that an asynchronous copy reads was changed before the copy was done.
    SourceChanged,
    /// Pinned memory was freed while work that uses it was pending.
    FreedInUse,
    /// The host read or wrote memory that work in progress may use.
    HostAccess,
    /// Work uses memory of a pool at a place in the order of streams where it is not allocated yet.
    UseBeforeAllocation,
    /// Work uses memory of a pool at a place in the order of streams where it may be freed already.
    UseAfterFree,
    /// A graph was launched that names memory that was freed.
    FreedInGraph,
    /// A kernel, copy or fill did what none may, and ended its context. The program's calls return the error, too.
    ContextEnded,
}

impl FindingKind {
    const ALL: [Self; 15] = [
        Self::LeakedDeviceMemory,
        Self::LeakedHostMemory,
        Self::LeakedStream,
        Self::LeakedEvent,
        Self::LeakedModule,
        Self::LeakedGraph,
        Self::LeakedPool,
        Self::LeakedContext,
        Self::SourceChanged,
        Self::FreedInUse,
        Self::HostAccess,
        Self::UseBeforeAllocation,
        Self::UseAfterFree,
        Self::FreedInGraph,
        Self::ContextEnded,
    ];

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// Something that a program did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The first address of the memory, or the handle of the object; 0 if it is about neither.
    pub address: u64,
    /// The size of the memory in bytes; 0 for objects that are none.
    pub bytes: u64,
    /// The number of the memory or object in the order in which the process made those that are counted; 0 for none.
    pub sequence: u64,
    /// What happened, for people.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if self.bytes > 0 {
            write!(f, "\n  {} bytes at {:#x}", self.bytes, self.address)?;
        } else if self.address > 0 {
            write!(f, "\n  handle {:#x}", self.address)?;
        }
        if self.sequence > 0 {
            write!(f, ", made as number {}", self.sequence)?;
        }
        Ok(())
    }
}

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The findings of one kind.
    pub fn of(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        write!(f, "{} findings", self.findings.len())
    }
}

/// The findings of this process.
static FOUND: Mutex<Report> = Mutex::new(Report { findings: Vec::new() });

fn found() -> MutexGuard<'static, Report> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds to the report of this process, and says it on the standard error.
pub(crate) fn find(finding: Finding) {
    eprintln!("warpwright emulator: {finding}");
    found().findings.push(finding);
}

/// The report of this process.
pub(crate) fn report() -> Report {
    found().clone()
}

/// Forgets what was found.
pub(crate) fn clear() {
    found().findings.clear();
}
