//! Edges of graphs, and what they say besides their ends.

use crate::driver::code::{Code, Result};
use crate::driver::handle::Handle;

/// `CUgraphEdgeData`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EdgeData {
    /// When the first node lets the second one begin: 0 for its end; of kernels also 1, when all blocks have triggered,
    /// and 2, when all have begun.
    from_port: u8,
    to_port: u8,
    /// 1 for edges by which a kernel begins early.
    kind: u8,
    reserved: [u8; 5],
}

impl EdgeData {
    /// A kernel begins when all blocks of another one have triggered (1) or begun (2).
    pub(crate) fn programmatic(from_port: u8) -> Self {
        Self { from_port, kind: 1, ..Self::default() }
    }

    pub(crate) fn is_programmatic(self) -> bool {
        self.kind == 1
    }

    /// Whether there are such edges, from a kernel or another node to a kernel or another node.
    pub(crate) fn check(self, from_kernel: bool, to_kernel: bool) -> Result<()> {
        let known = match (self.kind, self.from_port) {
            (0, 0) => true,
            (1, 1 | 2) => from_kernel && to_kernel,
            _ => false,
        };
        if known && self.to_port == 0 && self.reserved == [0; 5] { Ok(()) } else { Err(Code::INVALID_VALUE) }
    }
}

/// An edge from a node that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: Handle,
    pub(crate) data: EdgeData,
}

impl From<Handle> for Edge {
    fn from(from: Handle) -> Self {
        Self { from, data: EdgeData::default() }
    }
}
