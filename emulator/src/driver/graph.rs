//! Graphs: operations with what each depends on, and executable copies of them.

use std::collections::HashMap;
use std::sync::Mutex;

use super::code::{Code, Result};
use super::context::locked;
use super::handle::{Handle, Table};
use super::operation::Operation;

#[derive(Debug)]
struct Node {
    operation: Operation,
    /// Nodes that come first, by index.
    after: Vec<usize>,
}

/// A graph that can be built further.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Mutex<Vec<Node>>,
    /// The nodes that were given out, by handle.
    handles: Mutex<HashMap<Handle, usize>>,
}

/// Gives node handles their numbers. Nodes belong to their graph, which knows them.
static NODE_HANDLES: Table<()> = Table::new();

impl Graph {
    /// Adds a node that comes after others.
    pub(crate) fn add(&self, operation: Operation, after: Vec<usize>) -> usize {
        let mut nodes = locked(&self.nodes);
        nodes.push(Node { operation, after });
        nodes.len() - 1
    }

    /// Adds a node by the handles of those it comes after, and returns its own.
    pub(crate) fn add_after(&self, operation: Operation, after: &[Handle]) -> Result<Handle> {
        let mut handles = locked(&self.handles);
        let after = after.iter().map(|node| handles.get(node).copied().ok_or(Code::INVALID_VALUE));
        let after = after.collect::<Result<Vec<usize>>>()?;
        let index = self.add(operation, after);
        let handle = NODE_HANDLES.insert(().into());
        handles.insert(handle, index);
        Ok(handle)
    }

    /// A copy that can be launched: the operations, in an order in which each comes after what it depends on.
    /// (A node can depend only on nodes that were there before it, so that is the order they were added in.)
    pub(crate) fn instantiate(&self) -> Executable {
        let nodes = locked(&self.nodes);
        debug_assert!(nodes.iter().enumerate().all(|(index, node)| node.after.iter().all(|&first| first < index)));
        Executable { operations: nodes.iter().map(|node| node.operation.clone()).collect() }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        for (handle, _) in locked(&self.handles).drain() {
            // Each was inserted in `add_after` and is removed only here.
            let _ = NODE_HANDLES.remove(handle);
        }
    }
}

/// A graph that can be launched.
#[derive(Debug)]
pub(crate) struct Executable {
    operations: Vec<Operation>,
}

impl Executable {
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter()
    }
}
