//! Stream capture: work that goes into a graph instead of being done.

use std::sync::Arc;

use super::code::{Code, Result};
use super::graph::Graph;
use super::operation::Operation;

/// A capture in progress on one stream. Work in it depends on the work before it.
#[derive(Debug)]
pub(crate) struct Capture {
    graph: Graph,
    last: Vec<usize>,
    invalidated: bool,
}

impl Capture {
    pub(crate) fn new() -> Self {
        Self { graph: Graph::default(), last: Vec::new(), invalidated: false }
    }

    pub(crate) fn add(&mut self, operation: Operation) -> Result<()> {
        if self.invalidated {
            return Err(Code::STREAM_CAPTURE_INVALIDATED);
        }
        let node = self.graph.add(operation, std::mem::take(&mut self.last));
        self.last = vec![node];
        Ok(())
    }

    /// Ends what can be captured. Returns the error for the call that did it.
    pub(crate) fn invalidate(&mut self, code: Code) -> Code {
        self.invalidated = true;
        code
    }

    pub(crate) fn is_invalidated(&self) -> bool {
        self.invalidated
    }

    /// What was captured.
    pub(crate) fn finish(self) -> Result<Arc<Graph>> {
        if self.invalidated { Err(Code::STREAM_CAPTURE_INVALIDATED) } else { Ok(Arc::new(self.graph)) }
    }
}
