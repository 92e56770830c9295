//! Graphs: nodes of work with what each depends on.

mod dot;
mod edge;
mod executable;
mod memory;
mod update;
mod work;

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::code::{Code, Result};
use super::context::{GRAPHS, locked};
use super::handle::{Handle, Table};
use super::operation::Operation;
use super::user_object::References;

pub(crate) use edge::{Edge, EdgeData};
use executable::Build;
pub(crate) use executable::{AUTO_FREE, Executable, NamedMemory};
pub(crate) use memory::{GraphMemory, free_outside, reset_high, statistics};
pub(crate) use update::{UpdateError, UpdateResult};
pub(crate) use work::{Copy3d, Fill2d, Work};

/// One node of a graph.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) handle: Handle,
    /// The node that this one is a copy of, in the graph that its graph is a copy of.
    original: Handle,
    pub(crate) work: Work,
    /// Edges from the nodes that come first.
    pub(crate) after: Vec<Edge>,
    /// Where the arguments of a kernel are, for whoever asked for its parameters.
    pub(crate) arguments: Vec<usize>,
}

/// A graph that can be built further.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    inner: Mutex<Inner>,
    /// Its own handle, if it has one: the copies that are in executable graphs have none.
    handle: OnceLock<Handle>,
    /// Whether it is part of a node of another graph, which destroys it.
    embedded: bool,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order in which they were added, which is that of their handles.
    nodes: Vec<Node>,
    /// The user objects that live as long as the graph.
    objects: HashMap<Handle, References>,
    /// The executable graph that exists of a graph with memory nodes.
    instance: Weak<()>,
}

/// The graph of each node, by the handle of the node.
static NODES: Table<Weak<Graph>> = Table::new();

impl Inner {
    fn index(&self, handle: Handle) -> Result<usize> {
        self.nodes.binary_search_by_key(&handle.0, |node| node.handle.0).map_err(|_| Code::INVALID_VALUE)
    }

    /// Whether there are nodes that allocate or free memory, also in embedded graphs.
    fn has_memory_nodes(&self) -> bool {
        self.nodes.iter().any(|node| match &node.work {
            Work::Allocate(_) | Work::Free(_) => true,
            Work::Child(child) => locked(&child.inner).has_memory_nodes(),
            _ => false,
        })
    }

    fn is_kernel(&self, index: usize) -> bool {
        matches!(self.nodes[index].work, Work::Kernel(_))
    }

    /// The nodes' places, each after those that it depends on, and of those that could come next the one that was added
    /// last: so an edge that is missing shows. An error, with a node, if some depend on themselves.
    fn order(&self) -> std::result::Result<Vec<usize>, Handle> {
        let mut waiting: Vec<usize> = self.nodes.iter().map(|node| node.after.len()).collect();
        let mut followers = vec![Vec::new(); self.nodes.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for edge in &node.after {
                followers[self.index(edge.from).map_err(|_| node.handle)?].push(n);
            }
        }
        let mut ready: BinaryHeap<usize> = (0..self.nodes.len()).filter(|&n| waiting[n] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(n) = ready.pop() {
            order.push(n);
            for &follower in &followers[n] {
                waiting[follower] -= 1;
                if waiting[follower] == 0 {
                    ready.push(follower);
                }
            }
        }
        match waiting.iter().position(|&count| count > 0) {
            None => Ok(order),
            Some(n) => Err(self.nodes[n].handle),
        }
    }
}

impl Graph {
    /// A new graph with a handle.
    pub(crate) fn create() -> (Handle, Arc<Self>) {
        Self::default().register()
    }

    fn register(self) -> (Handle, Arc<Self>) {
        let graph = Arc::new(self);
        let handle = GRAPHS.insert(Arc::clone(&graph));
        graph.handle.get_or_init(|| handle);
        (handle, graph)
    }

    /// Destroys a graph by its handle. Those that are part of a node are destroyed with it.
    pub(crate) fn destroy(handle: Handle) -> Result<()> {
        if GRAPHS.get(handle)?.embedded {
            return Err(Code::INVALID_VALUE);
        }
        GRAPHS.remove(handle).map(|_| ())
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.get().copied().unwrap_or(Handle::NULL)
    }

    /// Whether it is part of a node of another graph.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// The graph of a node.
    pub(crate) fn of_node(node: Handle) -> Result<Arc<Self>> {
        NODES.get(node).map_err(|_| Code::INVALID_VALUE)?.upgrade().ok_or(Code::INVALID_VALUE)
    }

    /// Adds a node that comes after others, and returns its handle.
    pub(crate) fn add(self: &Arc<Self>, work: Work, after: &[Edge]) -> Result<Handle> {
        let mut inner = locked(&self.inner);
        for (n, edge) in after.iter().enumerate() {
            let from = inner.index(edge.from)?;
            edge.data.check(inner.is_kernel(from), matches!(work, Work::Kernel(_)))?;
            if after[..n].iter().any(|other| other.from == edge.from) {
                return Err(Code::INVALID_VALUE);
            }
        }
        match &work {
            Work::Free(memory) => {
                let freed = |node: &Node| matches!(&node.work, Work::Free(other) if Arc::ptr_eq(other, memory));
                if self.embedded || inner.nodes.iter().any(freed) {
                    return Err(Code::INVALID_VALUE);
                }
                let own = |node: &Node| matches!(&node.work, Work::Allocate(other) if Arc::ptr_eq(other, memory));
                memory.add_free_node(inner.nodes.iter().any(own))?;
            }
            Work::Allocate(_) if self.embedded => return Err(Code::INVALID_VALUE),
            _ => {}
        }
        // The handle is drawn while the nodes are locked, so that they are in the order of their handles.
        let handle = NODES.insert(Arc::new(Arc::downgrade(self)));
        inner.nodes.push(Node { handle, original: Handle::NULL, work, after: after.to_vec(), arguments: Vec::new() });
        Ok(handle)
    }

    /// Makes the second of each pair come after the first: all of them, or none if there is something wrong.
    pub(crate) fn add_edges(&self, edges: &[(Handle, Handle, EdgeData)]) -> Result<()> {
        let mut inner = locked(&self.inner);
        for (n, &(from, to, data)) in edges.iter().enumerate() {
            let (first, second) = (inner.index(from)?, inner.index(to)?);
            data.check(inner.is_kernel(first), inner.is_kernel(second))?;
            let known = inner.nodes[second].after.iter().any(|edge| edge.from == from)
                || edges[..n].iter().any(|&(other, target, _)| (other, target) == (from, to));
            if first == second || known {
                return Err(Code::INVALID_VALUE);
            }
        }
        for &(from, to, data) in edges {
            let second = inner.index(to)?;
            inner.nodes[second].after.push(Edge { from, data });
        }
        Ok(())
    }

    /// Removes edges: all of them, or none if one does not exist with this data.
    pub(crate) fn remove_edges(&self, edges: &[(Handle, Handle, EdgeData)]) -> Result<()> {
        let mut inner = locked(&self.inner);
        if !edges.is_empty() && inner.has_memory_nodes() {
            return Err(Code::INVALID_VALUE);
        }
        for (n, &(from, to, data)) in edges.iter().enumerate() {
            inner.index(from)?;
            let second = inner.index(to)?;
            let exists = inner.nodes[second].after.contains(&Edge { from, data });
            if !exists || edges[..n].contains(&(from, to, data)) {
                return Err(Code::INVALID_VALUE);
            }
        }
        for &(from, to, data) in edges {
            let second = inner.index(to)?;
            inner.nodes[second].after.retain(|edge| *edge != Edge { from, data });
        }
        Ok(())
    }

    /// Removes a node with its edges.
    pub(crate) fn destroy_node(node: Handle) -> Result<()> {
        let graph = Self::of_node(node)?;
        let mut inner = locked(&graph.inner);
        if inner.has_memory_nodes() {
            return Err(Code::INVALID_VALUE);
        }
        let index = inner.index(node)?;
        let removed = inner.nodes.remove(index);
        inner.nodes.iter_mut().for_each(|other| other.after.retain(|edge| edge.from != node));
        drop(inner);
        removed.forget();
        Ok(())
    }

    /// The nodes, in the order in which they were added.
    pub(crate) fn nodes(&self) -> Vec<Handle> {
        locked(&self.inner).nodes.iter().map(|node| node.handle).collect()
    }

    /// The nodes that depend on nothing.
    pub(crate) fn roots(&self) -> Vec<Handle> {
        let inner = locked(&self.inner);
        inner.nodes.iter().filter(|node| node.after.is_empty()).map(|node| node.handle).collect()
    }

    /// All edges.
    pub(crate) fn edges(&self) -> Vec<(Handle, Handle, EdgeData)> {
        let inner = locked(&self.inner);
        let of = |node: &Node| node.after.iter().map(|edge| (edge.from, node.handle, edge.data)).collect::<Vec<_>>();
        inner.nodes.iter().flat_map(of).collect()
    }

    /// Whether these are nodes of the graph, each named once.
    pub(crate) fn has(&self, nodes: &[Handle]) -> bool {
        let inner = locked(&self.inner);
        nodes.iter().enumerate().all(|(n, node)| inner.index(*node).is_ok() && !nodes[..n].contains(node))
    }

    /// Whether each of some nodes is one of `last`, or one that they come after.
    pub(crate) fn come_before(&self, nodes: &[Handle], last: &[Handle]) -> bool {
        let inner = locked(&self.inner);
        let mut before = HashSet::new();
        let mut open = last.to_vec();
        while let Some(node) = open.pop() {
            if before.insert(node)
                && let Ok(index) = inner.index(node)
            {
                open.extend(inner.nodes[index].after.iter().map(|edge| edge.from));
            }
        }
        // A node that was destroyed is nobody's work any more.
        nodes.iter().all(|node| before.contains(node) || inner.index(*node).is_err())
    }

    /// Calls `with` with a node, found by its handle.
    pub(crate) fn with_node<T>(node: Handle, with: impl FnOnce(&mut Node) -> Result<T>) -> Result<T> {
        let graph = Self::of_node(node)?;
        let mut inner = locked(&graph.inner);
        let index = inner.index(node)?;
        with(&mut inner.nodes[index])
    }

    /// Replaces the work of a node by work of the same kind. A kernel keeps its attributes.
    pub(crate) fn set_work(node: Handle, work: Work) -> Result<()> {
        Self::with_node(node, |node| {
            let work = work.in_place_of(&node.work)?;
            // What is replaced goes after the lock: it may own the last of something.
            drop(std::mem::replace(&mut node.work, work));
            Ok(())
        })
    }

    /// A copy of the graph. Its nodes know what they are copies of.
    fn copy(&self, embedded: bool) -> Result<(Handle, Arc<Self>)> {
        let copy = Self { inner: Mutex::default(), handle: OnceLock::new(), embedded };
        let (handle, copy) = if embedded { copy.register() } else { (Handle::NULL, Arc::new(copy)) };
        let inner = locked(&self.inner);
        let mut target = locked(&copy.inner);
        let mut handles = HashMap::with_capacity(inner.nodes.len());
        for node in &inner.nodes {
            let new = NODES.insert(Arc::new(Arc::downgrade(&copy)));
            handles.insert(node.handle, new);
            let work = match &node.work {
                Work::Child(child) => Work::Child(child.copy(true)?.1),
                work => work.clone(),
            };
            target.nodes.push(Node {
                handle: new,
                original: node.handle,
                work,
                after: Vec::new(),
                arguments: Vec::new(),
            });
        }
        for (node, copied) in inner.nodes.iter().zip(&mut target.nodes) {
            let edges = node.after.iter().map(|edge| Some(Edge { from: *handles.get(&edge.from)?, data: edge.data }));
            copied.after = edges.collect::<Option<_>>().ok_or(Code::INVALID_VALUE)?;
        }
        target.objects = inner.objects.iter().map(|(handle, held)| (*handle, held.again())).collect();
        drop((inner, target));
        Ok((handle, copy))
    }

    /// A copy with a handle of its own. Memory nodes cannot be copied.
    pub(crate) fn duplicate(&self) -> Result<Handle> {
        self.without_memory_nodes()?;
        let (_, copy) = self.copy(false)?;
        let handle = GRAPHS.insert(Arc::clone(&copy));
        copy.handle.get_or_init(|| handle);
        Ok(handle)
    }

    /// A copy to be part of a node of another graph.
    pub(crate) fn embed(&self) -> Result<Arc<Self>> {
        self.without_memory_nodes()?;
        Ok(self.copy(true)?.1)
    }

    fn without_memory_nodes(&self) -> Result<()> {
        if locked(&self.inner).has_memory_nodes() { Err(Code::NOT_SUPPORTED) } else { Ok(()) }
    }

    /// The node of this graph that is a copy of `original`.
    pub(crate) fn copy_of(&self, original: Handle) -> Result<Handle> {
        let inner = locked(&self.inner);
        let found = inner.nodes.iter().find(|node| node.original == original && original != Handle::NULL);
        found.map(|node| node.handle).ok_or(Code::INVALID_VALUE)
    }

    /// The operations as they are now, in an order in which each comes after what it depends on. `enabled` says of a node
    /// whether it is done; what a launch has to know besides is noted in `build`.
    fn operations(&self, enabled: &dyn Fn(&Node) -> bool, build: &mut Build) -> Result<Arc<[Operation]>> {
        let inner = locked(&self.inner);
        let order = inner.order().map_err(|_| Code::INVALID_VALUE)?;
        let mut operations = Vec::with_capacity(order.len());
        for node in order.into_iter().map(|n| &inner.nodes[n]).filter(|node| enabled(node)) {
            let first = operations.len();
            let early = node.after.iter().any(|edge| edge.data.is_programmatic());
            node.work.operations(early, build, &mut operations)?;
            operations[first..].iter().for_each(|operation| build.name(operation));
        }
        Ok(operations.into())
    }

    /// Takes references to a user object, which live as long as the graph.
    pub(crate) fn hold(&self, object: Handle, references: References) {
        use std::collections::hash_map::Entry;
        match locked(&self.inner).objects.entry(object) {
            Entry::Vacant(place) => drop(place.insert(references)),
            Entry::Occupied(mut held) => held.get_mut().join(references),
        }
    }

    /// Gives references to a user object up.
    pub(crate) fn release(&self, object: Handle, count: u32) -> Result<()> {
        use std::collections::hash_map::Entry;
        let mut inner = locked(&self.inner);
        let Entry::Occupied(mut held) = inner.objects.entry(object) else { return Err(Code::INVALID_VALUE) };
        let released = held.get_mut().split(count)?;
        if held.get().count() == 0 {
            held.remove();
        }
        // The last one runs a function of the program, which may use the graph.
        drop(inner);
        drop(released);
        Ok(())
    }
}

impl Node {
    /// Takes the node, which is in no graph any more, out of the tables.
    fn forget(&self) {
        // Each was inserted when it was made, and is removed only here.
        let _ = NODES.remove(self.handle);
        if let Work::Child(child) = &self.work {
            let _ = GRAPHS.remove(child.handle());
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.nodes.drain(..).for_each(|node| node.forget());
    }
}
