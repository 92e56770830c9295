//! Graphs: operations with what each depends on, and executable copies of them.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use super::code::{Code, Result};
use super::context::locked;
use super::handle::{Handle, Table};
use super::operation::{KernelLaunch, Operation};

#[derive(Debug, Clone)]
struct Node {
    handle: Handle,
    operation: Operation,
    /// Nodes that come first, by index.
    after: Vec<usize>,
}

/// A graph that can be built further.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Mutex<Vec<Node>>,
}

/// The graph of each node, by the handle of the node.
static NODES: Table<Weak<Graph>> = Table::new();

/// What an edge says besides its ends: `CUgraphEdgeData`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EdgeData {
    from_port: u8,
    to_port: u8,
    kind: u8,
    reserved: [u8; 5],
}

impl EdgeData {
    /// Whether there are such edges, between kernels or between any nodes.
    fn check(self, kernels: bool) -> Result<()> {
        let known = match (self.kind, self.from_port) {
            (0, 0) => true,
            // programmatic: from when all blocks have triggered, or have begun
            (1, 1 | 2) => kernels,
            _ => false,
        };
        if known && self.to_port == 0 && self.reserved == [0; 5] { Ok(()) } else { Err(Code::INVALID_VALUE) }
    }
}

fn index(nodes: &[Node], handle: Handle) -> Result<usize> {
    nodes.iter().position(|node| node.handle == handle).ok_or(Code::INVALID_VALUE)
}

impl Graph {
    /// Adds a node that comes after others, and returns its handle.
    pub(crate) fn add(self: &Arc<Self>, operation: Operation, after: &[Handle]) -> Result<Handle> {
        let mut nodes = locked(&self.nodes);
        let mut first = after.iter().map(|node| index(&nodes, *node)).collect::<Result<Vec<usize>>>()?;
        first.sort_unstable();
        if first.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Code::INVALID_VALUE);
        }
        let handle = NODES.insert(Arc::new(Arc::downgrade(self)));
        nodes.push(Node { handle, operation, after: first });
        Ok(handle)
    }

    /// Makes `to` come after `from`.
    pub(crate) fn add_edge(&self, from: Handle, to: Handle, data: EdgeData) -> Result<()> {
        let mut nodes = locked(&self.nodes);
        let (first, second) = (index(&nodes, from)?, index(&nodes, to)?);
        let is_kernel = |node: usize| matches!(nodes[node].operation, Operation::Kernel(_));
        data.check(is_kernel(first) && is_kernel(second))?;
        if first == second || nodes[second].after.contains(&first) {
            return Err(Code::INVALID_VALUE);
        }
        nodes[second].after.push(first);
        Ok(())
    }

    /// Changes a kernel node, found by its handle.
    pub(crate) fn change_kernel(node: Handle, change: impl FnOnce(&mut KernelLaunch) -> Result<()>) -> Result<()> {
        let graph = NODES.get(node)?.upgrade().ok_or(Code::INVALID_HANDLE)?;
        let mut nodes = locked(&graph.nodes);
        let index = index(&nodes, node)?;
        match &mut nodes[index].operation {
            Operation::Kernel(launch) => change(launch),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    /// The nodes, each after those that it depends on, and of those that could come next the one that was added last: so an
    /// edge that is missing shows. An error if some depend on themselves.
    fn in_order(&self) -> Result<Vec<Node>> {
        let nodes = locked(&self.nodes);
        let mut waiting: Vec<usize> = nodes.iter().map(|node| node.after.len()).collect();
        let mut followers = vec![Vec::new(); nodes.len()];
        for (n, node) in nodes.iter().enumerate() {
            node.after.iter().for_each(|&first| followers[first].push(n));
        }
        let mut ready: BinaryHeap<usize> = (0..nodes.len()).filter(|&n| waiting[n] == 0).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(n) = ready.pop() {
            order.push(nodes[n].clone());
            for &follower in &followers[n] {
                waiting[follower] -= 1;
                if waiting[follower] == 0 {
                    ready.push(follower);
                }
            }
        }
        if order.len() == nodes.len() { Ok(order) } else { Err(Code::INVALID_VALUE) }
    }

    /// The operations as they are now, in an order in which each comes after what it depends on.
    pub(crate) fn operations(&self) -> Result<Arc<[Operation]>> {
        Ok(self.in_order()?.into_iter().map(|node| node.operation).collect())
    }

    /// A copy that can be launched.
    pub(crate) fn instantiate(&self) -> Result<Executable> {
        let nodes = self.in_order()?;
        let places = nodes.iter().enumerate().map(|(n, node)| (node.handle, n)).collect();
        let enabled = nodes.into_iter().map(|node| (node.operation, true)).collect();
        Ok(Executable { places, operations: Mutex::new(enabled) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        for node in locked(&self.nodes).drain(..) {
            // Each was inserted in `add` and is removed only here.
            let _ = NODES.remove(node.handle);
        }
    }
}

/// A graph that can be launched.
#[derive(Debug)]
pub(crate) struct Executable {
    /// Where the operation of each node of the graph is.
    places: HashMap<Handle, usize>,
    /// The operations, and whether each is done or left out.
    operations: Mutex<Vec<(Operation, bool)>>,
}

impl Executable {
    /// What a launch does. Changes that come later do not change it.
    pub(crate) fn operations(&self) -> Arc<[Operation]> {
        locked(&self.operations)
            .iter()
            .filter(|(_, enabled)| *enabled)
            .map(|(operation, _)| operation.clone())
            .collect()
    }

    fn place(&self, node: Handle) -> Result<usize> {
        self.places.get(&node).copied().ok_or(Code::INVALID_VALUE)
    }

    /// Replaces the launch of a kernel node. What it had besides geometry and arguments stays.
    pub(crate) fn set_kernel(&self, node: Handle, launch: KernelLaunch) -> Result<()> {
        let place = self.place(node)?;
        match &mut locked(&self.operations)[place].0 {
            Operation::Kernel(old) if Arc::ptr_eq(&old.module.context, &launch.module.context) => {
                let launch = KernelLaunch { cooperative: old.cooperative, cluster: old.cluster, ..launch };
                launch.check()?;
                *old = launch;
                Ok(())
            }
            _ => Err(Code::INVALID_VALUE),
        }
    }

    /// Makes a node be done, or left out.
    pub(crate) fn set_enabled(&self, node: Handle, enabled: bool) -> Result<()> {
        let place = self.place(node)?;
        let operation = &mut locked(&self.operations)[place];
        match operation.0 {
            Operation::Kernel(_) | Operation::Copy { .. } | Operation::Fill { .. } => {
                operation.1 = enabled;
                Ok(())
            }
            _ => Err(Code::INVALID_VALUE),
        }
    }

    pub(crate) fn is_enabled(&self, node: Handle) -> Result<bool> {
        let place = self.place(node)?;
        Ok(locked(&self.operations)[place].1)
    }
}
