//! What the kernels of a module share: its variables in shared memory, and its device functions, with their addresses
//! and which of them a kernel may reach.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{MAX_SHARED, does_not_fit, lay_out};
use crate::ops::print::Builtin;
use crate::program::{FUNCTION_BASE, FUNCTION_STEP};
use crate::ptx::PtxError;
use crate::ptx::ast::{Function, Instruction, Module, Operand, Signature, Space, Variable};

/// What the kernels of a module share.
#[derive(Default)]
pub(crate) struct Common<'m> {
    /// The variables of the module in shared memory: their addresses, `None` for those without a size, which are where
    /// all others of a kernel end.
    pub(super) shared: HashMap<&'m str, Option<u64>>,
    /// Where these end, and what those without a size are aligned to.
    pub(super) shared_bytes: u64,
    pub(super) dynamic_align: u64,
    /// The device functions.
    pub(super) all: &'m [Function],
    by_name: HashMap<&'m str, usize>,
    /// Those whose address something takes, which a call through a register may reach if the layout is the same.
    taken: HashMap<Layout, Rc<[usize]>>,
    /// How many more operations the kernels of the module may be decoded into: functions are decoded once for each
    /// kernel that reaches them, so a small text could ask for very many.
    pub(super) room: std::cell::Cell<usize>,
}

/// The sizes of what a function returns and takes, in bytes: what caller and callee have to agree on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub(crate) returns: Vec<u64>,
    pub(crate) params: Vec<u64>,
}

/// Where the frame of a function has what it returns and takes: each at a multiple of this.
const FORMAL_STEP: u64 = 16;

impl Layout {
    pub(super) fn of(signature: &Signature) -> Self {
        let sizes = |variables: &[Variable]| variables.iter().map(|variable| variable.size).collect();
        Self { returns: sizes(&signature.returns), params: sizes(&signature.params) }
    }

    /// The offset in the frame of each result and then each parameter, and where they end.
    pub(super) fn offsets(&self) -> Option<(Vec<u64>, u64)> {
        let (mut offsets, mut end) = (Vec::new(), 0u64);
        for size in self.returns.iter().chain(&self.params) {
            offsets.push(end);
            end = end.checked_add(*size)?.checked_next_multiple_of(FORMAL_STEP)?;
        }
        Some((offsets, end))
    }
}

/// A function in the order in which they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// Its number in the module.
    pub(super) number: usize,
    /// Whether it can be called while it is active.
    pub(super) recursive: bool,
}

/// Operations that a module may be decoded into at least, and per instruction.
const MIN_ROOM: usize = 1 << 18;
const ROOM_PER_INSTRUCTION: usize = 16;

/// What an instruction calls.
pub(super) enum Target {
    Function(usize),
    Builtin(Builtin),
    /// Through a register: the functions that it can be, and what all of them return and take.
    Any(Rc<[usize]>, Layout),
}

impl<'m> Common<'m> {
    pub(crate) fn of(module: &'m Module) -> Result<Self, PtxError> {
        let all = &module.functions[..];
        let mut by_name: HashMap<&str, usize> =
            all.iter().enumerate().map(|(number, function)| (function.name.as_str(), number)).collect();
        for (alias, name, line) in &module.aliases {
            let Some(&number) = by_name.get(name.as_str()) else {
                return Err(PtxError::new(*line, format!("the function `{name}` is not defined")));
            };
            by_name.insert(alias, number);
        }
        let mut taken = HashSet::new();
        let initial = module.variables.iter().flat_map(|variable| &variable.addresses).map(|address| &address.symbol);
        taken.extend(initial.filter_map(|name| by_name.get(name.as_str())).copied());
        let mut instructions = 0;
        for function in module.kernels.iter().chain(all) {
            for instruction in &function.body {
                taken.extend(symbols_taken(instruction).filter_map(|name| by_name.get(name)).copied());
            }
            instructions += function.body.len();
        }
        let mut by_layout: HashMap<Layout, Vec<usize>> = HashMap::new();
        for number in taken {
            by_layout.entry(Layout::of(&all[number].signature)).or_default().push(number);
        }
        let sorted = |mut numbers: Vec<usize>| {
            numbers.sort_unstable();
            Rc::from(numbers)
        };
        let taken = by_layout.into_iter().map(|(layout, numbers)| (layout, sorted(numbers))).collect();
        let room = std::cell::Cell::new(MIN_ROOM + ROOM_PER_INSTRUCTION * instructions);
        let mut common = Self { dynamic_align: 1, all, by_name, taken, room, ..Self::default() };
        for variable in module.variables.iter().filter(|variable| variable.space == Space::Shared) {
            let address = common.shared_address(variable);
            common.shared.insert(&variable.name, address?);
        }
        Ok(common)
    }

    fn shared_address(&mut self, variable: &Variable) -> Result<Option<u64>, PtxError> {
        if variable.size == 0 {
            self.dynamic_align = self.dynamic_align.max(variable.align);
            return Ok(None);
        }
        let address = lay_out(&mut self.shared_bytes, variable).filter(|_| self.shared_bytes <= MAX_SHARED);
        match address {
            Some(address) => Ok(Some(address)),
            None => does_not_fit(variable),
        }
    }

    /// The address of each function, by name.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'m str, u64)> + '_ {
        self.by_name.iter().map(|(name, number)| (*name, FUNCTION_BASE + FUNCTION_STEP * *number as u64))
    }

    /// What a call in `caller` calls.
    pub(super) fn target(&self, caller: &'m Function, call: &'m Instruction) -> Result<Target, PtxError> {
        let failed = |message: String| Err(PtxError::new(call.location.ptx_line, message));
        let operands = match &call.operands[..] {
            [Operand::List(_), rest @ ..] | rest => rest,
        };
        let list = match operands {
            [Operand::Symbol(name, 0), ..] => {
                return match (self.by_name.get(name.as_str()), Builtin::named(name)) {
                    (Some(number), _) => Ok(Target::Function(*number)),
                    (None, Some(builtin)) => Ok(Target::Builtin(builtin)),
                    (None, None) => failed(format!("the function `{name}` is not defined in this module")),
                };
            }
            [Operand::Register(_), Operand::List(_), Operand::Symbol(list, 0)]
            | [Operand::Register(_), Operand::Symbol(list, 0)] => list,
            _ => return failed("a call takes a function, or a register and a list of what that can be".to_owned()),
        };
        if let Some(signature) = caller.prototypes.get(list) {
            let layout = Layout::of(signature);
            return Ok(Target::Any(self.taken.get(&layout).cloned().unwrap_or_default(), layout));
        }
        let Some(names) = caller.targets.get(list) else {
            return failed(format!("`{list}` is no prototype and no list of functions"));
        };
        let mut targets = Vec::new();
        for name in names {
            match self.by_name.get(name.as_str()) {
                Some(number) => targets.push(*number),
                None => return failed(format!("the function `{name}` is not defined in this module")),
            }
        }
        let Some(first) = targets.first() else { return failed(format!("`{list}` is empty")) };
        let layout = Layout::of(&self.all[*first].signature);
        Ok(Target::Any(targets.into(), layout))
    }

    /// The functions that a function calls, or could through registers.
    pub(super) fn callees(&self, function: &'m Function) -> Result<Vec<usize>, PtxError> {
        // Lists that were looked at stay alive, so that no other one can be where they are.
        let (mut callees, mut seen) = (Vec::new(), HashMap::new());
        for instruction in function.body.iter().filter(|instruction| is_call(&instruction.opcode)) {
            match self.target(function, instruction)? {
                Target::Function(number) => callees.push(number),
                Target::Builtin(_) => {}
                Target::Any(numbers, _) => {
                    if let Entry::Vacant(new) = seen.entry(numbers.as_ptr()) {
                        callees.extend_from_slice(&numbers);
                        new.insert(numbers);
                    }
                }
            }
        }
        callees.sort_unstable();
        callees.dedup();
        Ok(callees)
    }

    /// The functions that a kernel can reach, callees before callers: the strongly connected components of the graph of
    /// calls, by Tarjan's algorithm with a stack of its own.
    pub(super) fn reached_from(&self, kernel: &'m Function) -> Result<Vec<Reached>, PtxError> {
        struct Visit {
            number: usize,
            callees: Vec<usize>,
            next: usize,
        }
        let mut search = Search::default();
        let mut reached = Vec::new();
        for root in self.callees(kernel)? {
            if search.order.contains_key(&root) {
                continue;
            }
            let mut visits = vec![Visit { number: root, callees: self.callees(&self.all[root])?, next: 0 }];
            search.enter(root);
            while let Some(visit) = visits.last_mut() {
                let number = visit.number;
                if let Some(&callee) = visit.callees.get(visit.next) {
                    visit.next += 1;
                    if search.order.contains_key(&callee) {
                        search.see(number, callee);
                    } else {
                        search.enter(callee);
                        visits.push(Visit { number: callee, callees: self.callees(&self.all[callee])?, next: 0 });
                    }
                    continue;
                }
                let calls_itself = visit.callees.contains(&number);
                visits.pop();
                if let Some(caller) = visits.last() {
                    search.take_over(caller.number, number);
                }
                let component = search.leave(number);
                let recursive = calls_itself || component.len() > 1;
                reached.extend(component.into_iter().map(|number| Reached { number, recursive }));
            }
        }
        Ok(reached)
    }
}

/// The state of the search for strongly connected components.
#[derive(Default)]
struct Search {
    /// When each function was found, and the earliest one that it leads back to.
    order: HashMap<usize, usize>,
    low: HashMap<usize, usize>,
    /// Those whose component is not complete.
    open: Vec<usize>,
    is_open: HashSet<usize>,
}

impl Search {
    fn enter(&mut self, number: usize) {
        let order = self.order.len();
        self.order.insert(number, order);
        self.low.insert(number, order);
        self.open.push(number);
        self.is_open.insert(number);
    }

    /// `caller` calls a function that was found before.
    fn see(&mut self, caller: usize, callee: usize) {
        if self.is_open.contains(&callee) {
            let order = self.order[&callee];
            self.low.entry(caller).and_modify(|low| *low = order.min(*low));
        }
    }

    /// All that `callee` leads back to, `caller` does.
    fn take_over(&mut self, caller: usize, callee: usize) {
        let of_callee = self.low[&callee];
        self.low.entry(caller).and_modify(|low| *low = of_callee.min(*low));
    }

    /// The component of which this was the first function found; nothing if another one was.
    fn leave(&mut self, number: usize) -> Vec<usize> {
        let mut component = Vec::new();
        if self.low[&number] != self.order[&number] {
            return component;
        }
        while let Some(member) = self.open.pop() {
            self.is_open.remove(&member);
            component.push(member);
            if member == number {
                break;
            }
        }
        component
    }
}

/// Whether an opcode is a call's.
pub(super) fn is_call(opcode: &str) -> bool {
    matches!(opcode, "call" | "call.uni")
}

/// The names in an instruction whose address it may take: all but the function that a call calls.
fn symbols_taken(instruction: &Instruction) -> impl Iterator<Item = &str> {
    let call = is_call(&instruction.opcode);
    instruction.operands.iter().flat_map(move |operand| {
        let parts = match operand {
            Operand::List(parts) | Operand::Vector(parts) => &parts[..],
            _ if call => &[],
            single => std::slice::from_ref(single),
        };
        parts.iter().filter_map(|part| match part {
            Operand::Symbol(name, _) => Some(name.as_str()),
            _ => None,
        })
    })
}
