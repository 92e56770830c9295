//! The queues of the streams, and the thread that works them off.
//!
//! Every stream has a queue of its own, in order. A piece of work may also come after work of other streams: what a
//! recorded event stands for, or what the legacy default stream waits for. One thread does the work of all devices, one
//! piece at a time; only functions of the host run beside it, so one that blocks holds up its own stream alone.
//!
//! Of the streams that could go on, those with the highest priority come first, and among them the one whose next work
//! was submitted last: the order that a program expects least, so that a wait that is missing shows. With a seed
//! (`WARPWRIGHT_EMULATOR_SEED`) chance decides among streams of one priority.
//!
//! Events tell the time of a device on which streams run side by side: a piece of work begins when what it comes after has
//! ended and it was submitted, and takes as long as it took. Kernels that fill more than half of the device are one after
//! the other all the same.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::checking::{self, checks};
use super::code::Code;
use super::context::{Context, locked};
use super::operation::Operation;
use crate::exec::Pool;
use crate::memory::Memory;

/// What operations run with: the threads, and the memory of the device that the work is for.
pub(crate) struct Runner {
    pub(crate) pool: Pool,
    pub(crate) memory: Arc<Memory>,
}

/// The number of a piece of work, in the order of submission.
pub(crate) type Ticket = u64;

/// How a stream and the legacy default stream of its context wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is that stream.
    Legacy,
    /// They wait for each other.
    Blocking,
    /// They do not.
    NonBlocking,
}

/// What the engine knows of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) id: u64,
    pub(crate) context: Arc<Context>,
    pub(crate) kind: Kind,
    /// Lower numbers come first.
    pub(crate) priority: i32,
}

/// Operations that are done one after the other, and how many of them are done.
struct Frame {
    operations: Arc<[Operation]>,
    next: usize,
}

/// A piece of work.
struct Item {
    ticket: Ticket,
    /// What has to be done before it, besides what is before it in its queue.
    after: Vec<Ticket>,
    /// What is left of it, the innermost graph last. Taken out while it runs.
    frames: Vec<Frame>,
    /// The device's time from which on it may run.
    from: Instant,
}

impl Item {
    /// The operation that comes next. `None` when the item is done.
    fn advance(frames: &mut Vec<Frame>) -> Option<(Arc<[Operation]>, usize)> {
        loop {
            let frame = frames.last_mut()?;
            let index = frame.next;
            match frame.operations.get(index) {
                None => {
                    frames.pop();
                }
                Some(Operation::Graph(inner)) => {
                    let operations = Arc::clone(inner);
                    frame.next += 1;
                    frames.push(Frame { operations, next: 0 });
                }
                Some(_) => {
                    frame.next += 1;
                    return Some((Arc::clone(&frame.operations), index));
                }
            }
        }
    }

    /// The operation that [`advance`](Self::advance) gives, unless a graph has to be opened for it.
    fn peek(&self) -> Option<&Operation> {
        self.frames.last().and_then(|frame| frame.operations.get(frame.next))
    }
}

/// The work of one stream that is not done.
struct Queue {
    lane: Lane,
    items: VecDeque<Item>,
    /// Whether the first item is being worked on.
    busy: bool,
    /// The device's time at which the work that is done had ended.
    clock: Instant,
    /// The operation that is being done.
    running: Option<(Arc<[Operation]>, usize)>,
}

#[derive(Default)]
struct State {
    queues: Vec<Queue>,
    pending: HashSet<Ticket>,
    submitted: Ticket,
    /// The state of the generator that chooses, if chance does.
    random: Option<u64>,
    /// For each device, its time until which kernels fill it.
    filled: HashMap<usize, Instant>,
}

/// The engine.
pub(crate) struct Engine {
    state: Mutex<State>,
    /// There may be something to do.
    work: Condvar,
    /// Something was done.
    done: Condvar,
    /// Held while the engine's own thread does work.
    working: Mutex<()>,
}

/// The engine of this process.
pub(crate) static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(Engine::start);

/// How often the engine looks at memory that a stream waits to change.
const POLL: Duration = Duration::from_micros(100);

impl State {
    /// The queue to go on with.
    fn choose(&mut self) -> Option<usize> {
        let pending = &self.pending;
        let ready = |queue: &Queue| {
            !queue.busy
                && queue.items.front().is_some_and(|item| {
                    item.after.iter().all(|ticket| !pending.contains(ticket))
                        && (queue.lane.context.error().is_some() || item.peek().is_none_or(Operation::is_ready))
                })
        };
        let ready: Vec<usize> = (0..self.queues.len()).filter(|&n| ready(&self.queues[n])).collect();
        let first = ready.iter().map(|&n| self.queues[n].lane.priority).min()?;
        let best: Vec<usize> = ready.into_iter().filter(|&n| self.queues[n].lane.priority == first).collect();
        match &mut self.random {
            None => best.into_iter().max_by_key(|&n| self.queues[n].items.front().map(|item| item.ticket)),
            Some(state) => Some(best[(split_mix(state) % best.len() as u64) as usize]),
        }
    }

    /// Whether a stream waits for memory to change, which nothing announces.
    fn waits_for_memory(&self) -> bool {
        let first = self.queues.iter().filter_map(|queue| queue.items.front());
        first.filter_map(Item::peek).any(|operation| !operation.is_ready())
    }

    /// Whether `condition` holds for an operation that is not done.
    fn any(&self, condition: &dyn Fn(&Operation) -> bool) -> bool {
        let any = |operations: &[Operation]| operations.iter().any(|operation| operation.any(condition));
        self.queues.iter().any(|queue| {
            let running = queue.running.as_ref().is_some_and(|(all, index)| any(&all[*index..=*index]));
            let mut waiting = queue.items.iter().flat_map(|item| &item.frames);
            running || waiting.any(|frame| any(&frame.operations[frame.next..]))
        })
    }

    /// What of other streams a new piece of work has to wait for.
    fn implied(&self, lane: &Lane) -> Vec<Ticket> {
        let other = match lane.kind {
            Kind::Legacy => Kind::Blocking,
            Kind::Blocking => Kind::Legacy,
            Kind::NonBlocking => return Vec::new(),
        };
        let of_it = |queue: &&Queue| queue.lane.kind == other && Arc::ptr_eq(&queue.lane.context, &lane.context);
        self.queues.iter().filter(of_it).filter_map(|queue| queue.items.back()).map(|item| item.ticket).collect()
    }
}

/// The next number of the generator SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl Engine {
    /// Starts the engine's thread.
    fn start() -> Arc<Self> {
        let seed = std::env::var("WARPWRIGHT_EMULATOR_SEED").ok().and_then(|seed| seed.parse().ok());
        let state = Mutex::new(State { random: seed, ..State::default() });
        let engine = Arc::new(Self { state, work: Condvar::new(), done: Condvar::new(), working: Mutex::new(()) });
        let running = Arc::clone(&engine);
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        // Without a thread nothing would ever be done: there is no way to go on.
        std::thread::Builder::new()
            .name("emulator".to_owned())
            .spawn(move || running.run(Runner { pool: Pool::new(threads), memory: Arc::new(Memory::new(0, false)) }))
            .expect("the emulator cannot start its thread");
        engine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: &Arc<Self>, mut runner: Runner) {
        loop {
            let mut state = self.state();
            let chosen = loop {
                if let Some(chosen) = state.choose() {
                    break chosen;
                }
                state = if state.waits_for_memory() {
                    self.work.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0
                } else {
                    self.work.wait(state).unwrap_or_else(PoisonError::into_inner)
                };
            };
            let queue = &mut state.queues[chosen];
            queue.busy = true;
            let (id, context) = (queue.lane.id, Arc::clone(&queue.lane.context));
            let mut frames = Vec::new();
            if let Some(item) = queue.items.front_mut() {
                frames = std::mem::take(&mut item.frames);
                queue.clock = queue.clock.max(item.from);
            }
            let mut start = queue.clock;
            let Some((operations, index)) = Item::advance(&mut frames) else {
                drop(state);
                self.put_back(id, frames, start);
                continue;
            };
            let fills = operations[index].fills_device();
            state.queues[chosen].running = Some((Arc::clone(&operations), index));
            if let (true, Some(until)) = (fills, state.filled.get(&context.device.index)) {
                start = start.max(*until);
            }
            drop(state);
            if operations[index].is_of_host() {
                self.run_beside(id, context, frames, (operations, index), start);
                continue;
            }
            let begun = Instant::now();
            // After an error a context does no more work, but what is waited for still counts as done.
            if context.error().is_none() || matches!(operations[index], Operation::Record(_)) {
                context.prepare(&mut runner);
                if let Operation::Record(record) = &operations[index] {
                    record.complete(start);
                }
                // While a function of the host runs, it may do to memory what it likes.
                let watched = checks().host_access && !self.runs_function();
                if watched {
                    checking::look(&operations[index]);
                }
                let working = locked(&self.working);
                perform(&context, || operations[index].run(&mut runner));
                drop(working);
                if watched {
                    checking::accept(&operations[index]);
                }
            }
            let end = start + begun.elapsed();
            if fills {
                self.state().filled.insert(context.device.index, end);
            }
            drop((operations, context));
            self.put_back(id, frames, end);
        }
    }

    /// Runs a function of the host on a thread of its own.
    fn run_beside(
        self: &Arc<Self>,
        id: u64,
        context: Arc<Context>,
        frames: Vec<Frame>,
        at: (Arc<[Operation]>, usize),
        start: Instant,
    ) {
        let engine = Arc::clone(self);
        let work = move || {
            let ((operations, index), begun) = (at, Instant::now());
            if checks().host_access {
                checking::look(&operations[index]);
            }
            perform(&context, || operations[index].call(context.error()));
            if checks().host_access {
                checking::accept(&operations[index]);
            }
            drop((operations, context));
            engine.put_back(id, frames, start + begun.elapsed());
        };
        // The closure is lost if the thread cannot be had, so there is no way to go on; as for the engine's own thread.
        std::thread::Builder::new()
            .name("emulator-host".to_owned())
            .spawn(work)
            .expect("the emulator cannot start a thread for a host function");
    }

    /// Gives back what is left of the first item of a queue; it is done if that is nothing.
    fn put_back(&self, id: u64, mut frames: Vec<Frame>, end: Instant) {
        while frames.last().is_some_and(|frame| frame.next == frame.operations.len()) {
            // Operations may own the last handle of something: let go of it before anybody can know it is done.
            frames.pop();
        }
        let mut state = self.state();
        let Some(n) = state.queues.iter().position(|queue| queue.lane.id == id) else { return };
        let queue = &mut state.queues[n];
        queue.busy = false;
        queue.clock = end;
        let ran = queue.running.take();
        if frames.is_empty() {
            if let Some(item) = queue.items.pop_front() {
                let empty = queue.items.is_empty().then(|| state.queues.swap_remove(n));
                state.pending.remove(&item.ticket);
                for later in state.queues.iter_mut().flat_map(|queue| &mut queue.items) {
                    if later.after.contains(&item.ticket) {
                        later.from = later.from.max(end);
                    }
                }
                drop(state);
                drop((empty, ran));
                self.done.notify_all();
            }
        } else {
            if let Some(item) = queue.items.front_mut() {
                item.frames = frames;
            }
            drop(state);
        }
        self.work.notify_one();
    }

    /// Puts work at the end of a stream, where it also comes after the work with the given tickets.
    pub(crate) fn submit(&self, lane: &Lane, operation: Operation, after: &[Ticket]) -> Ticket {
        let frames = vec![Frame { operations: Arc::new([operation]), next: 0 }];
        let mut state = self.state();
        let mut first = state.implied(lane);
        first.extend(after.iter().filter(|ticket| state.pending.contains(ticket)));
        state.submitted += 1;
        let ticket = state.submitted;
        state.pending.insert(ticket);
        let from = Instant::now();
        let item = Item { ticket, after: first, frames, from };
        match state.queues.iter_mut().find(|queue| queue.lane.id == lane.id) {
            Some(queue) => queue.items.push_back(item),
            None => state.queues.push(Queue {
                lane: lane.clone(),
                items: [item].into(),
                busy: false,
                clock: from,
                running: None,
            }),
        }
        drop(state);
        self.work.notify_one();
        ticket
    }

    pub(crate) fn is_done(&self, ticket: Ticket) -> bool {
        !self.state().pending.contains(&ticket)
    }

    /// Waits until work is done.
    pub(crate) fn wait(&self, ticket: Ticket) {
        let mut state = self.state();
        while state.pending.contains(&ticket) {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a function of the host is running.
    fn runs_function(&self) -> bool {
        let state = self.state();
        state.queues.iter().filter_map(|queue| queue.running.as_ref()).any(|(all, index)| all[*index].is_of_host())
    }

    /// Whether work is pending that the host has a part in: its functions, and waits for values in memory.
    pub(crate) fn waits_for_host(&self) -> bool {
        self.any_pending(|operation| operation.is_of_host() || matches!(operation, Operation::WaitValue(_)))
    }

    /// Whether pending work may use memory.
    pub(crate) fn uses(&self, address: u64, bytes: u64) -> bool {
        self.any_pending(|operation| operation.may_use(address, bytes))
    }

    /// Waits until no pending work of any context may use memory.
    pub(crate) fn wait_for_uses(&self, address: u64, bytes: u64) {
        let mut state = self.state();
        while state.any(&|operation| operation.may_use(address, bytes)) {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does something that no kernel or copy may meet.
    pub(crate) fn between_work<T>(&self, body: impl FnOnce() -> T) -> T {
        let _working = locked(&self.working);
        body()
    }

    /// Whether `condition` holds for an operation that is not done.
    fn any_pending(&self, condition: impl Fn(&Operation) -> bool) -> bool {
        self.state().any(&condition)
    }

    /// What of other streams new work in this one would have to wait for.
    pub(crate) fn waits(&self, lane: &Lane) -> Vec<Ticket> {
        self.state().implied(lane)
    }

    /// The last work of each stream of a context, where it is not done.
    pub(crate) fn last_of(&self, context: &Context) -> Vec<Ticket> {
        let state = self.state();
        let queues = state.queues.iter().filter(|queue| std::ptr::eq(&*queue.lane.context, context));
        queues.filter_map(|queue| queue.items.back()).map(|item| item.ticket).collect()
    }

    /// Waits until all work of a context is done that was submitted so far.
    pub(crate) fn wait_for(&self, context: &Context) {
        self.last_of(context).into_iter().for_each(|ticket| self.wait(ticket));
    }
}

/// Does work, whose error ends the context.
fn perform(context: &Context, work: impl FnOnce() -> super::code::Result<()>) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Err(Code::UNKNOWN));
    if let Err(code) = result {
        context.fail(code);
    }
}
