//! Whether memory of pools is used between its allocation and its release, in the order of streams.
//!
//! Work of different streams is in an order only if events, the legacy stream or the host put it there. Each piece of work
//! has a clock: for every stream the last work of it that comes before. That a run happened to go well says nothing, so
//! the clocks are compared when work is submitted. What could put work in an order unseen counts as if it did: functions
//! of the host, and values that are written in stream order; streams that wait for values are not looked at any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex};

use super::allocation::{Allocation, Kind as Memory};
use super::checking::checks;
use super::context::locked;
use super::engine::{Kind, Lane, Ticket};
use super::operation::Operation;
use crate::checks::{Finding, FindingKind, find};

/// For each stream, by its number, the last work that comes before.
type Clock = HashMap<u64, Ticket>;

fn join(clock: &mut Clock, other: &Clock) {
    for (lane, ticket) in other {
        let known = clock.entry(*lane).or_default();
        *known = (*known).max(*ticket);
    }
}

/// What happened to memory of a pool.
struct Life {
    bytes: u64,
    sequence: u64,
    /// The stream and the work that allocated it.
    made: (u64, Ticket),
    /// The last work of each stream that uses it.
    uses: Clock,
    freed: bool,
}

#[derive(Default)]
struct Order {
    /// What comes before new work of each stream: the last of its own and what that came after.
    lanes: HashMap<u64, Clock>,
    /// The context and the kind of each stream.
    kinds: HashMap<u64, (u64, Kind)>,
    /// The clocks of single pieces of work, which events stand for.
    tickets: BTreeMap<Ticket, Arc<Clock>>,
    /// What the host has seen the end of.
    host: Clock,
    /// Streams that waited for a value in memory.
    unknown: HashSet<u64>,
    /// By first address.
    lives: BTreeMap<u64, Life>,
}

/// How many clocks are kept; work that is older counts as seen by all.
const KEPT: usize = 1 << 16;

static ORDER: LazyLock<Mutex<Order>> = LazyLock::new(Mutex::default);

impl Order {
    /// What a piece of work came after, and itself.
    fn clock_of(&self, ticket: Ticket) -> Clock {
        match self.tickets.get(&ticket) {
            Some(clock) => (**clock).clone(),
            None => self.lanes.values().flatten().map(|(lane, last)| (*lane, (*last).min(ticket))).collect(),
        }
    }

    fn submitted(&mut self, lane: &Lane, operation: &Operation, ticket: Ticket, after: &[Ticket]) -> Vec<Finding> {
        self.kinds.insert(lane.id, (lane.context.id, lane.kind));
        let mut clock = self.lanes.get(&lane.id).cloned().unwrap_or_default();
        join(&mut clock, &self.host);
        after.iter().for_each(|ticket| join(&mut clock, &self.clock_of(*ticket)));
        let implied = match lane.kind {
            Kind::Legacy => Some(Kind::Blocking),
            Kind::Blocking => Some(Kind::Legacy),
            Kind::NonBlocking => None,
        };
        for (other, (context, kind)) in &self.kinds {
            if *context == lane.context.id && Some(*kind) == implied {
                self.lanes.get(other).into_iter().for_each(|other| join(&mut clock, other));
            }
        }
        clock.insert(lane.id, ticket);
        if operation.any(&|operation| operation.is_of_host() || matches!(operation, Operation::WriteValue { .. })) {
            join(&mut self.host, &clock);
        }
        if operation.any(&|operation| matches!(operation, Operation::WaitValue(_))) {
            self.unknown.insert(lane.id);
        }
        let found = if self.unknown.contains(&lane.id) { Vec::new() } else { self.check(lane.id, operation, &clock) };
        self.tickets.insert(ticket, Arc::new(clock.clone()));
        if self.tickets.len() > KEPT {
            self.tickets.pop_first();
        }
        self.lanes.insert(lane.id, clock);
        found
    }

    fn check(&mut self, lane: u64, operation: &Operation, clock: &Clock) -> Vec<Finding> {
        let before = |(lane, ticket): (u64, Ticket)| clock.get(&lane).is_some_and(|last| *last >= ticket);
        let mut found = Vec::new();
        let mut finding = |kind, address, life: &Life, detail: &str| {
            let (bytes, sequence, detail) = (life.bytes, life.sequence, detail.to_owned());
            found.push(Finding { kind, address, bytes, sequence, detail });
        };
        if let Operation::Free(Allocation { base, .. }) = operation {
            if let Some(life) = self.lives.get_mut(base) {
                if life.uses.iter().any(|(lane, ticket)| !before((*lane, *ticket))) {
                    let what = "memory of a pool is freed in a stream that does not wait for work that uses it";
                    finding(FindingKind::UseAfterFree, *base, life, what);
                }
                if !before(life.made) {
                    let what = "memory of a pool is freed in a stream that does not wait for its allocation";
                    finding(FindingKind::UseBeforeAllocation, *base, life, what);
                }
                life.freed = true;
            }
            return found;
        }
        for (base, life) in &mut self.lives {
            if !operation.any(&|operation| operation.may_use(*base, life.bytes)) {
                continue;
            }
            if life.freed {
                let what = "memory of a pool is used by work that was submitted after the memory was freed";
                finding(FindingKind::UseAfterFree, *base, life, what);
            } else if !before(life.made) {
                let what = "memory of a pool is used in a stream that does not wait for its allocation";
                finding(FindingKind::UseBeforeAllocation, *base, life, what);
            } else {
                life.uses.insert(lane, clock[&lane]);
            }
        }
        found
    }
}

fn order<T>(body: impl FnOnce(&mut Order) -> T) -> Option<T> {
    checks().races.then(|| body(&mut locked(&ORDER)))
}

/// Takes note of work that was submitted, and reports what in it is out of order.
pub(crate) fn submitted(lane: &Lane, operation: &Operation, ticket: Ticket, after: &[Ticket]) {
    let found = order(|order| order.submitted(lane, operation, ticket, after));
    found.into_iter().flatten().for_each(find);
}

/// Takes note that the host has seen the end of work.
pub(crate) fn seen(ticket: Ticket) {
    order(|order| {
        let clock = order.clock_of(ticket);
        join(&mut order.host, &clock);
    });
}

/// Takes note that the host has seen the end of all work of a context.
pub(crate) fn seen_all_of(context: u64) {
    order(|order| {
        let Order { kinds, lanes, host, .. } = order;
        let of_it = kinds.iter().filter(|(_, (of, _))| *of == context);
        of_it.filter_map(|(lane, _)| lanes.get(lane)).for_each(|clock| join(host, clock));
    });
}

/// Takes note of memory that work of a stream allocates.
pub(crate) fn allocated(lane: u64, ticket: Ticket, allocation: &Allocation) {
    if let Memory::Pool(_) = allocation.kind {
        let Allocation { base, bytes, sequence, .. } = *allocation;
        let life = Life { bytes, sequence, made: (lane, ticket), uses: Clock::new(), freed: false };
        order(|order| order.lives.insert(base, life));
    }
}

/// Forgets memory that is gone.
pub(crate) fn forget(address: u64) {
    order(|order| order.lives.remove(&address));
}

/// Whether anything is taken note of.
pub(crate) fn is_watched() -> bool {
    checks().races
}
