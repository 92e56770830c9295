//! Updates of executable graphs from graphs with the same nodes and edges.

use std::ffi::{c_int, c_uint};

use super::{Graph, Inner, Node, Work};
use crate::driver::context::locked;
use crate::driver::handle::Handle;

/// Why an executable graph was not updated: `CUgraphExecUpdateResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct UpdateError(pub(crate) c_uint);

impl UpdateError {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const TOPOLOGY_CHANGED: Self = Self(2);
    pub(crate) const NODE_TYPE_CHANGED: Self = Self(3);
    pub(crate) const PARAMETERS_CHANGED: Self = Self(5);
    pub(crate) const NOT_SUPPORTED: Self = Self(6);
    pub(crate) const UNSUPPORTED_FUNCTION_CHANGE: Self = Self(7);
    pub(crate) const ATTRIBUTES_CHANGED: Self = Self(8);
}

/// `CUgraphExecUpdateResultInfo`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct UpdateResult {
    pub(crate) error: UpdateError,
    pub(crate) padding: c_int,
    /// The node of the new graph that is to blame.
    pub(crate) node: Handle,
    /// What that node depends on and should not.
    pub(crate) from: Handle,
}

impl UpdateResult {
    pub(crate) const SUCCESS: Self =
        Self { error: UpdateError::NONE, padding: 0, node: Handle::NULL, from: Handle::NULL };

    fn of(error: UpdateError, node: Handle) -> Self {
        Self { error, node, ..Self::SUCCESS }
    }
}

impl Graph {
    /// Makes the work of all nodes be as that of `new`, where nodes are paired in the order in which they were added. Does
    /// nothing if that is not possible.
    pub(super) fn update(&self, new: &Self) -> Result<(), UpdateResult> {
        let mut own = locked(&self.inner);
        let new = locked(&new.inner);
        own.check_update(&new)?;
        own.apply_update(&new);
        Ok(())
    }
}

impl Inner {
    fn check_update(&self, new: &Self) -> Result<(), UpdateResult> {
        if self.nodes.len() != new.nodes.len() {
            return Err(UpdateResult::of(UpdateError::TOPOLOGY_CHANGED, Handle::NULL));
        }
        for (own, node) in self.nodes.iter().zip(&new.nodes) {
            self.check_edges(own, new, node)?;
            if own.work.kind() != node.work.kind() {
                return Err(UpdateResult::of(UpdateError::NODE_TYPE_CHANGED, node.handle));
            }
            check_work(&own.work, node)?;
        }
        Ok(())
    }

    /// Checks that two nodes depend on nodes that are paired, in the same order.
    fn check_edges(&self, own: &Node, new: &Self, node: &Node) -> Result<(), UpdateResult> {
        if own.after.len() != node.after.len() {
            return Err(UpdateResult::of(UpdateError::TOPOLOGY_CHANGED, node.handle));
        }
        for (edge, other) in own.after.iter().zip(&node.after) {
            if edge.data != other.data || self.index(edge.from) != new.index(other.from) {
                let changed = UpdateResult::of(UpdateError::TOPOLOGY_CHANGED, node.handle);
                return Err(UpdateResult { from: other.from, ..changed });
            }
        }
        Ok(())
    }

    /// Takes the work of the new nodes, which [`check_update`](Self::check_update) has accepted.
    fn apply_update(&mut self, new: &Self) {
        for (own, node) in self.nodes.iter_mut().zip(&new.nodes) {
            match (&own.work, &node.work) {
                (Work::Child(own), Work::Child(child)) => {
                    locked(&own.inner).apply_update(&locked(&child.inner));
                }
                _ => own.work = node.work.clone(),
            }
        }
    }
}

fn check_work(own: &Work, node: &Node) -> Result<(), UpdateResult> {
    let failed = |error| Err(UpdateResult::of(error, node.handle));
    match (own, &node.work) {
        (Work::Child(own), Work::Child(child)) => {
            // What is wrong inside is named by its own node.
            let (own, child) = (locked(&own.inner), locked(&child.inner));
            own.check_update(&child)
        }
        (Work::Kernel(own), Work::Kernel(launch)) => {
            if !node.work.may_replace(&Work::Kernel(own.clone())) {
                failed(UpdateError::UNSUPPORTED_FUNCTION_CHANGE)
            } else if own.cooperative != launch.cooperative {
                failed(UpdateError::ATTRIBUTES_CHANGED)
            } else if launch.check().is_err() {
                failed(UpdateError::PARAMETERS_CHANGED)
            } else {
                Ok(())
            }
        }
        (Work::Allocate(_) | Work::Free(_), new) if !new.may_replace(own) => failed(UpdateError::NOT_SUPPORTED),
        (_, new) if !new.may_replace(own) => failed(UpdateError::PARAMETERS_CHANGED),
        _ => Ok(()),
    }
}
