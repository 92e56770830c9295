//! Executable graphs: copies of graphs that can be launched and, within limits, changed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::memory::GraphMemory;
use super::{Graph, Node, UpdateResult, Work};
use crate::checks::{self, Finding, FindingKind};
use crate::driver::checking::checks;
use crate::driver::code::{Code, Result};
use crate::driver::context::{Event, EventRecord, Stream, locked};
use crate::driver::device::Device;
use crate::driver::engine::Ticket;
use crate::driver::handle::Handle;
use crate::driver::operation::{KernelLaunch, Operation, Place};

/// `CUgraphInstantiate_flags`: memory that a launch left allocated is freed by the next one.
pub(crate) const AUTO_FREE: u64 = 1;

/// A graph that can be launched.
#[derive(Debug)]
pub(crate) struct Executable {
    /// Its own copy of the graph. The nodes know what they are copies of.
    graph: Arc<Graph>,
    pub(crate) flags: u64,
    state: Mutex<State>,
    /// What a graph with memory nodes knows of its only executable one.
    _instance: Arc<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The nodes of the copy that are left out.
    disabled: HashSet<Handle>,
    /// What a launch does, unless something has changed since it was made or events have to be looked up anew.
    built: Option<Arc<Build>>,
    /// The last launch, which the next one comes after.
    last: Option<Ticket>,
}

/// What a launch does.
#[derive(Debug, Default)]
pub(super) struct Build {
    operations: Arc<[Operation]>,
    named: NamedMemory,
    /// The events that nodes record.
    recorded: Vec<(Arc<Event>, Arc<EventRecord>)>,
    /// Whether nodes record events or wait for them.
    has_events: bool,
    allocated: Vec<Arc<GraphMemory>>,
    freed: Vec<Arc<GraphMemory>>,
}

impl Build {
    /// The recording that a node waits for: of this launch, or the last one before it.
    pub(super) fn wait(&mut self, event: &Arc<Event>, operations: &mut Vec<Operation>) {
        self.has_events = true;
        let own = self.recorded.iter().rev().find(|(other, _)| Arc::ptr_eq(other, event));
        let record = own.map(|(_, record)| Arc::clone(record)).or_else(|| event.last_record());
        operations.extend(record.map(Operation::WaitRecord));
    }

    /// A new recording of an event.
    pub(super) fn record(&mut self, event: &Arc<Event>, operations: &mut Vec<Operation>) {
        self.has_events = true;
        let record = Arc::<EventRecord>::default();
        self.recorded.push((Arc::clone(event), Arc::clone(&record)));
        operations.push(Operation::Record(record));
    }

    pub(super) fn allocate(&mut self, memory: &Arc<GraphMemory>, operations: &mut Vec<Operation>) {
        self.allocated.push(Arc::clone(memory));
        operations.push(Operation::Clear(Arc::clone(memory)));
    }

    pub(super) fn free(&mut self, memory: &Arc<GraphMemory>, operations: &mut Vec<Operation>) {
        self.freed.push(Arc::clone(memory));
        operations.push(Operation::Clear(Arc::clone(memory)));
    }

    /// Notes the addresses that an operation names, of a kernel what may be addresses.
    pub(super) fn name(&mut self, operation: &Operation) {
        match operation {
            Operation::Copy { to, from, .. } => {
                for (place, what) in [(from, "a copy from"), (to, "a copy to")] {
                    if let Place::Device(address) = place {
                        self.named.0.push((*address, what.to_owned()));
                    }
                }
            }
            Operation::Fill { to, .. } => self.named.0.push((*to, "a memset of".to_owned())),
            Operation::Kernel(launch) => self.name_parameters(launch),
            _ => {}
        }
    }

    fn name_parameters(&mut self, launch: &KernelLaunch) {
        let kernel = &launch.function.program().name;
        self.named
            .0
            .extend(launch.addresses().map(|(n, value)| (value, format!("parameter {n} of kernel `{kernel}` is"))));
    }
}

/// The device addresses that the nodes of a graph name, each with what names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamedMemory(Vec<(u64, String)>);

impl NamedMemory {
    /// Reports memory that was freed.
    pub(crate) fn report_freed(&self) {
        let mut reported = HashSet::new();
        for (address, what) in &self.0 {
            let near = Device::of_address(*address).and_then(|device| device.memory.nearest(*address));
            let Some(near) = near.filter(|near| near.freed && *address <= near.base + near.size) else { continue };
            if reported.insert((near.base, what)) {
                checks::find(Finding {
                    kind: FindingKind::FreedInGraph,
                    address: near.base,
                    bytes: near.size,
                    sequence: 0,
                    detail: format!("a graph is launched that names memory which was freed: {what} {address:#x}"),
                });
            }
        }
    }
}

/// Why a graph cannot be made executable: the error, and a node that is to blame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstantiateError {
    pub(crate) code: Code,
    pub(crate) node: Handle,
}

impl Graph {
    /// A copy that can be launched.
    pub(crate) fn instantiate(&self, flags: u64) -> std::result::Result<Executable, InstantiateError> {
        let of_graph = |code| InstantiateError { code, node: Handle::NULL };
        let mut inner = locked(&self.inner);
        inner.order().map_err(|node| InstantiateError { code: Code::INVALID_VALUE, node })?;
        let instance = Arc::new(());
        if inner.has_memory_nodes() {
            if inner.instance.strong_count() > 0 {
                return Err(of_graph(Code::INVALID_VALUE));
            }
            inner.instance = Arc::downgrade(&instance);
        }
        drop(inner);
        let (_, graph) = self.copy(false).map_err(of_graph)?;
        let executable = Executable { graph, flags, state: Mutex::default(), _instance: instance };
        // Whatever could not be launched shows now.
        executable.build(&mut locked(&executable.state)).map_err(of_graph)?;
        Ok(executable)
    }
}

impl Executable {
    /// The graph that it is a copy of, as it is now.
    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    fn build(&self, state: &mut State) -> Result<Arc<Build>> {
        if let Some(built) = &state.built {
            return Ok(Arc::clone(built));
        }
        let mut build = Build::default();
        let disabled = &state.disabled;
        build.operations = self.graph.operations(&|node: &Node| !disabled.contains(&node.handle), &mut build)?;
        if checks().freed_in_graph && !build.named.0.is_empty() {
            // First of all, once what is before the graph in its stream has freed what it frees.
            let named = Operation::CheckNamed(Arc::new(std::mem::take(&mut build.named)));
            build.operations = [named, Operation::Graph(build.operations)].into();
        }
        let built = Arc::new(build);
        if !built.has_events {
            state.built = Some(Arc::clone(&built));
        }
        Ok(built)
    }

    /// Launches the graph in a stream that is not capturing, behind the launch before.
    pub(crate) fn launch(&self, stream: &Stream) -> Result<()> {
        let mut state = locked(&self.state);
        let built = self.build(&mut state)?;
        self.prepare_memory(&built)?;
        let before: Vec<Ticket> = state.last.into_iter().collect();
        let ticket = stream.run_after(Operation::Graph(Arc::clone(&built.operations)), &before);
        for (event, record) in &built.recorded {
            event.set_record(Arc::clone(record), ticket);
        }
        state.last = Some(ticket);
        Ok(())
    }

    /// Checks that what the graph allocates is not allocated, and keeps account of it.
    fn prepare_memory(&self, built: &Build) -> Result<()> {
        let frees = |memory: &Arc<GraphMemory>| built.freed.iter().any(|freed| Arc::ptr_eq(freed, memory));
        if self.flags & AUTO_FREE == 0 && built.allocated.iter().any(|memory| memory.is_live()) {
            return Err(Code::INVALID_VALUE);
        }
        let own = |memory: &Arc<GraphMemory>| built.allocated.iter().any(|other| Arc::ptr_eq(other, memory));
        if built.freed.iter().any(|memory| !own(memory) && !memory.is_live()) {
            return Err(Code::INVALID_VALUE);
        }
        built.allocated.iter().filter(|memory| !frees(memory)).for_each(GraphMemory::begin);
        built.freed.iter().for_each(|memory| memory.end());
        Ok(())
    }

    /// Calls `change` with the copy of a node, after which the launches are made anew.
    fn change<T>(&self, node: Handle, change: impl FnOnce(&mut Node, &mut State) -> Result<T>) -> Result<T> {
        let mut state = locked(&self.state);
        let mut inner = locked(&self.graph.inner);
        let own = inner.nodes.iter_mut().find(|own| own.original == node && node != Handle::NULL);
        let result = change(own.ok_or(Code::INVALID_VALUE)?, &mut state)?;
        state.built = None;
        Ok(result)
    }

    /// Replaces the work of a node.
    pub(crate) fn set_work(&self, node: Handle, work: Work) -> Result<()> {
        self.change(node, |own, _| {
            let work = work.in_place_of(&own.work)?;
            if !work.may_replace(&own.work) {
                return Err(Code::INVALID_VALUE);
            }
            own.work = work;
            Ok(())
        })
    }

    /// Makes the graph of a node be as `child`, which has to have the same nodes and edges.
    pub(crate) fn set_child(&self, node: Handle, child: &Graph) -> Result<()> {
        let updated = self.change(node, |own, _| match &own.work {
            Work::Child(own) => Ok(own.update(child)),
            _ => Err(Code::INVALID_VALUE),
        })?;
        updated.map_err(|_| Code::INVALID_VALUE)
    }

    /// Makes all nodes be as those of `graph`, which has to have the same nodes and edges.
    pub(crate) fn update(&self, graph: &Graph) -> std::result::Result<(), UpdateResult> {
        let mut state = locked(&self.state);
        self.graph.update(graph)?;
        state.built = None;
        Ok(())
    }

    /// Makes a node be done, or left out.
    pub(crate) fn set_enabled(&self, node: Handle, enabled: bool) -> Result<()> {
        self.change(node, |own, state| {
            if !matches!(own.work, Work::Kernel(_) | Work::Copy(..) | Work::Fill(..)) {
                return Err(Code::INVALID_VALUE);
            }
            if enabled {
                state.disabled.remove(&own.handle);
            } else {
                state.disabled.insert(own.handle);
            }
            Ok(())
        })
    }

    pub(crate) fn is_enabled(&self, node: Handle) -> Result<bool> {
        let state = locked(&self.state);
        let own = self.graph.copy_of(node)?;
        let kind = Graph::with_node(own, |own| Ok(own.work.kind()))?;
        if kind > 2 { Err(Code::INVALID_VALUE) } else { Ok(!state.disabled.contains(&own)) }
    }
}
