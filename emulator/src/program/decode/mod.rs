//! Decodes a kernel: every operand to a slot, every opcode to the operation that executes it.
//!
//! An instruction that is not supported, or whose operands do not have the widths that its opcode asks for, is an error
//! here, so execution meets neither.

mod async_copy;
mod bulk;
mod calls;
mod cluster;
mod collective;
mod common;
mod matrix;
mod mbarrier;
mod memory;
mod order;
mod predicate;
mod special;
mod support;
mod tensor_copy;
mod wgmma;
mod wide;

use std::collections::HashMap;

pub(crate) use self::common::{Common, Layout};
use self::common::{Reached, is_call};
use super::{
    CONSTANT, Call, Callee, NO_SLOT, Op, PREDICATE, Parameter, Program, ROW, Register, Rows, Saved, Slot, Special, Uses,
};
use crate::ops::carry::carry;
use crate::ops::control::BarrierReduction;
use crate::ops::shuffle::Collective;
use crate::ops::{Variants, async_copy as copies, control, form, memory as access, shuffle};
use crate::ptx::PtxError;
use crate::ptx::ast::{Function, Instruction, Location, Operand, RegisterKind, Space, Variable};

type Result<T> = std::result::Result<T, PtxError>;

/// Where a variable of the module is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    pub(crate) space: Space,
    /// In global memory for constants and globals, from the start of shared memory for shared variables.
    pub(crate) address: u64,
}

/// The largest parameter block, in bytes.
const MAX_PARAMETERS: u64 = 32764;
/// The most shared memory a block can have, in bytes, and the most local memory a thread can.
const MAX_SHARED: u64 = 227 << 10;
const MAX_LOCAL: u64 = 512 << 10;

/// The stack that functions have which call themselves, directly or not, in bytes of local memory of a thread.
const STACK: u64 = 64 << 10;

/// Decodes `kernel` and the functions that it may reach; others need not even be supported. `symbols` are the variables
/// of its module that are in memory, and the functions.
pub(crate) fn decode(kernel: &Function, symbols: &HashMap<String, Symbol>, common: &Common<'_>) -> Result<Program> {
    let reached = common.reached_from(kernel)?;
    let mut decoder = Decoder::new(kernel, symbols, common, &reached)?;
    for (place, reached) in reached.iter().enumerate() {
        decoder.device_function(place, *reached)?;
    }
    decoder.begin(kernel, reached.len())?;
    let entry = decoder.code.len() as u32;
    decoder.body()?;
    let frame_bytes = decoder.finish_frame()?;
    decoder.link_calls();
    let local_bytes = decoder.stack(kernel, &reached, frame_bytes)?;

    let mut constants = Rows::zeroed(decoder.constants.len());
    constants.bytes_mut()[..decoder.constants.len()].copy_from_slice(&decoder.constants);
    let mut callee_of: Vec<(u32, u32)> = (0..).zip(&reached).map(|(place, r)| (r.number as u32, place)).collect();
    callee_of.sort_unstable();
    Ok(Program {
        name: kernel.name.clone(),
        code: decoder.code,
        sources: decoder.sources,
        entry,
        callees: decoder.callees,
        callee_of,
        calls: decoder.calls,
        jump_tables: decoder.jump_tables,
        frame: decoder.frame.unwrap_or(NO_SLOT),
        uses: decoder.use_list,
        observed: Default::default(),
        constants,
        register_bytes: decoder.register_bytes,
        predicates: decoder.predicates,
        windows: decoder.windows,
        specials: decoder.specials,
        lists: decoder.lists,
        parts: decoder.parts,
        parameters: decoder.parameters,
        shared_bytes: decoder.shared_bytes,
        local_bytes,
        frame_bytes,
        required_block: kernel.required_block,
        max_block: kernel.max_block,
        cluster: kernel.cluster,
    })
}

impl Op {
    fn new(variants: Variants) -> Self {
        Self {
            exec: variants.select(),
            d: NO_SLOT,
            a: NO_SLOT,
            b: NO_SLOT,
            c: NO_SLOT,
            e: NO_SLOT,
            guard: NO_SLOT,
            window: 0,
            immediate: 0,
        }
    }
}

struct Decoder<'k> {
    /// The function that is being decoded: the kernel, or one that it reaches.
    kernel: &'k Function,
    /// Whether that is not the kernel.
    in_callee: bool,
    common: &'k Common<'k>,
    code: Vec<Op>,
    sources: Vec<(String, Location)>,
    /// What each operation of `code` reads and writes.
    use_list: Vec<Uses>,
    /// Operations that come before and after the one that is being decoded.
    before: Vec<(Op, Uses)>,
    after: Vec<(Op, Uses)>,
    labels: HashMap<&'k str, usize>,
    /// The variables of the function, and then those of the module.
    symbols: HashMap<&'k str, Symbol>,
    module_symbols: &'k HashMap<String, Symbol>,
    /// The addresses of the shared variables of each function, and last of the kernel.
    shared_addresses: Vec<Vec<Option<u64>>>,
    /// The sizes of the variables that pass arguments.
    call_sizes: HashMap<&'k str, u64>,
    /// The slot of each register, or its index for predicates.
    slots: Vec<Slot>,
    /// The registers that the function has for itself.
    own: Saved,
    register_bytes: u32,
    predicates: u32,
    constants: Vec<u8>,
    constant_slots: HashMap<(u64, RegisterKind), Slot>,
    specials: Vec<(Special, Slot)>,
    lists: Vec<Slot>,
    parts: Vec<Op>,
    parameters: Vec<Parameter>,
    shared_bytes: u64,
    /// The end of the function's frame so far, and what frames are a multiple of.
    frame_end: u64,
    frame_align: u64,
    /// The slot of [`Special::Frame`], once something needs it.
    frame: Option<Slot>,
    callees: Vec<Callee>,
    /// For each function of the module that is reached, its place in `callees`.
    places: HashMap<usize, u32>,
    calls: Vec<Call>,
    /// The operations that call, and the place of what they call.
    direct_calls: Vec<(usize, u32)>,
    layouts: HashMap<Layout, u32>,
    jump_tables: Vec<Vec<u32>>,
    windows: u32,
    /// The predicate that is the carry flag, once an instruction has used it.
    carry_flag: Option<Slot>,
    /// The line of the instruction that is being decoded, and what it reads and writes.
    line: u32,
    uses: Uses,
}

/// Gives variables addresses, one after the other.
fn lay_out(end: &mut u64, variable: &Variable) -> Option<u64> {
    let start = end.checked_next_multiple_of(variable.align.max(1))?;
    *end = start.checked_add(variable.size)?;
    Some(start)
}

fn does_not_fit<T>(variable: &Variable) -> Result<T> {
    Err(PtxError::new(variable.line, format!("the variable `{}` does not fit in its memory", variable.name)))
}

impl<'k> Decoder<'k> {
    fn new(
        kernel: &'k Function,
        symbols: &'k HashMap<String, Symbol>,
        common: &'k Common<'k>,
        reached: &[Reached],
    ) -> Result<Self> {
        let mut decoder = Self {
            kernel,
            in_callee: false,
            common,
            code: Vec::with_capacity(kernel.body.len() + 1),
            sources: Vec::with_capacity(kernel.body.len() + 1),
            use_list: Vec::with_capacity(kernel.body.len() + 1),
            before: Vec::new(),
            after: Vec::new(),
            labels: HashMap::new(),
            symbols: HashMap::new(),
            module_symbols: symbols,
            shared_addresses: Vec::new(),
            call_sizes: HashMap::new(),
            slots: Vec::new(),
            own: Saved::default(),
            register_bytes: 0,
            predicates: 2,
            constants: Vec::new(),
            constant_slots: HashMap::new(),
            specials: Vec::new(),
            lists: Vec::new(),
            parts: Vec::new(),
            parameters: Vec::new(),
            shared_bytes: 0,
            frame_end: 0,
            frame_align: 16,
            frame: None,
            callees: Vec::new(),
            places: (0..).zip(reached).map(|(place, reached)| (reached.number, place)).collect(),
            calls: Vec::new(),
            direct_calls: Vec::new(),
            layouts: HashMap::new(),
            jump_tables: Vec::new(),
            windows: 0,
            carry_flag: None,
            line: kernel.line,
            uses: Uses::default(),
        };
        decoder.lay_out_shared(reached)?;
        Ok(decoder)
    }

    /// Shared memory: after the variables of the module come those of the functions that are reached and of the kernel.
    fn lay_out_shared(&mut self, reached: &[Reached]) -> Result<()> {
        let all = self.common.all;
        let functions: Vec<&Function> =
            reached.iter().map(|reached| &all[reached.number]).chain([self.kernel]).collect();
        let (mut end, mut dynamic_align) = (self.common.shared_bytes, self.common.dynamic_align);
        for function in &functions {
            let mut addresses = Vec::new();
            for variable in function.variables.iter().filter(|variable| variable.space == Space::Shared) {
                if variable.size == 0 {
                    dynamic_align = dynamic_align.max(variable.align);
                    addresses.push(None);
                    continue;
                }
                match lay_out(&mut end, variable).filter(|_| end <= MAX_SHARED) {
                    Some(address) => addresses.push(Some(address)),
                    None => return does_not_fit(variable),
                }
            }
            self.shared_addresses.push(addresses);
        }
        // Arrays without a size are dynamic shared memory: all of them start where the others end.
        self.shared_bytes = end.next_multiple_of(dynamic_align.max(1));
        if !reached.is_empty() {
            let aligns = functions.iter().flat_map(|function| {
                let local = function.variables.iter().filter(|variable| variable.space == Space::Local);
                local.chain(function.call_variables.iter().map(|(variable, _)| variable)).map(|v| v.align)
            });
            self.frame_align = aligns.max().unwrap_or(1).max(16);
        }
        Ok(())
    }

    /// Starts to decode a function, whose place among those of the program is `place`.
    fn begin(&mut self, function: &'k Function, place: usize) -> Result<()> {
        self.kernel = function;
        self.in_callee = place + 1 < self.shared_addresses.len();
        self.line = function.line;
        self.labels = function.labels.iter().map(|(name, index)| (name.as_str(), *index)).collect();
        self.symbols.clear();
        self.call_sizes.clear();
        self.carry_flag = None;
        self.own = Saved::default();
        self.slots = Vec::with_capacity(function.registers.len());
        for &kind in &function.registers {
            let slot = self.new_register(kind)?;
            self.slots.push(slot);
        }
        let shared = function.variables.iter().filter(|variable| variable.space == Space::Shared);
        for (variable, address) in shared.zip(&self.shared_addresses[place]) {
            let address = address.unwrap_or(self.shared_bytes);
            self.symbols.insert(&variable.name, Symbol { space: Space::Shared, address });
        }
        self.frame_end = 0;
        if self.in_callee {
            self.lay_out_formals()?;
        } else {
            self.lay_out_parameters()?;
        }
        let variables = self.frame_end;
        for variable in function.variables.iter().filter(|variable| variable.space == Space::Local) {
            let address = lay_out(&mut self.frame_end, variable).filter(|_| self.frame_end <= MAX_LOCAL);
            let Some(address) = address else { return does_not_fit(variable) };
            self.symbols.insert(&variable.name, Symbol { space: Space::Local, address });
        }
        if let Some(callee) = self.callees.get_mut(place) {
            callee.variables = variables..self.frame_end;
        }
        self.lay_out_call_variables()
    }

    fn lay_out_parameters(&mut self) -> Result<()> {
        let mut end = 0;
        for parameter in &self.kernel.signature.params {
            let offset = lay_out(&mut end, parameter).filter(|_| end <= MAX_PARAMETERS);
            let offset = offset.ok_or_else(|| self.error("the parameters are too large"))?;
            self.parameters.push(Parameter { offset, size: parameter.size });
            self.symbols.insert(&parameter.name, Symbol { space: Space::Param, address: offset });
        }
        Ok(())
    }

    fn error(&self, message: impl Into<String>) -> PtxError {
        PtxError::new(self.line, message)
    }

    fn failed<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(self.error(message))
    }

    // --- slots ---

    fn new_register(&mut self, kind: RegisterKind) -> Result<Slot> {
        let (counter, size, own) = match kind {
            RegisterKind::Predicate => (&mut self.predicates, 1, &mut self.own.predicates),
            RegisterKind::Bits32 => (&mut self.register_bytes, ROW, &mut self.own.words),
            RegisterKind::Bits64 => (&mut self.register_bytes, 2 * ROW, &mut self.own.longs),
        };
        let slot = *counter;
        *counter += size;
        own.push(slot);
        if slot >= CONSTANT / 64 {
            return self.failed("the kernel has too many registers");
        }
        Ok(slot)
    }

    fn constant(&mut self, value: u64, kind: RegisterKind) -> Slot {
        if kind == RegisterKind::Predicate {
            return u32::from(value != 0);
        }
        let value = if kind == RegisterKind::Bits32 { value & 0xffff_ffff } else { value };
        *self.constant_slots.entry((value, kind)).or_insert_with(|| {
            let slot = CONSTANT | self.constants.len() as u32;
            for _ in 0..32 {
                match kind {
                    RegisterKind::Bits64 => self.constants.extend_from_slice(&value.to_ne_bytes()),
                    _ => self.constants.extend_from_slice(&(value as u32).to_ne_bytes()),
                }
            }
            slot
        })
    }

    fn source(&mut self, operand: &Operand, kind: RegisterKind) -> Result<Slot> {
        match operand {
            Operand::Register(register) if self.kernel.registers[*register as usize] == kind => {
                let slot = self.slots[*register as usize];
                self.uses.reads.push(register_of(slot, kind));
                Ok(slot)
            }
            Operand::Immediate(value) => Ok(self.constant(*value, kind)),
            Operand::Special(name) if kind != RegisterKind::Predicate => self.special(name, kind),
            Operand::Symbol(name, 0) if name == "WARP_SZ" => Ok(self.constant(32, kind)),
            Operand::Symbol(name, offset) if kind == RegisterKind::Bits64 || kind == RegisterKind::Bits32 => {
                let symbol = self.symbol(name)?;
                let address = symbol.address.wrapping_add(*offset as u64);
                if symbol.space == Space::Local && self.in_callee {
                    return self.frame_address(address, kind);
                }
                Ok(self.constant(address, kind))
            }
            _ => self.failed(format!("expected a {} operand", describe(kind))),
        }
    }

    fn destination(&mut self, operand: &Operand, kind: RegisterKind) -> Result<Slot> {
        match operand {
            Operand::Register(register) if self.kernel.registers[*register as usize] == kind => {
                let slot = self.slots[*register as usize];
                self.uses.writes.push(register_of(slot, kind));
                Ok(slot)
            }
            Operand::Sink => self.new_register(kind),
            _ => self.failed(format!("expected a {} register to write", describe(kind))),
        }
    }

    /// A destination that need not be written.
    fn optional_destination(&mut self, operand: &Operand, kind: RegisterKind) -> Result<Slot> {
        if *operand == Operand::Sink { Ok(NO_SLOT) } else { self.destination(operand, kind) }
    }

    fn symbol(&self, name: &str) -> Result<Symbol> {
        if let Some(symbol) = self.symbols.get(name).or_else(|| self.module_symbols.get(name)) {
            return Ok(*symbol);
        }
        match self.common.shared.get(name) {
            Some(address) => Ok(Symbol { space: Space::Shared, address: address.unwrap_or(self.shared_bytes) }),
            None => self.failed(format!("`{name}` is not defined")),
        }
    }

    // --- instructions ---

    fn instruction(&mut self, instruction: &'k Instruction) -> Result<Op> {
        self.line = instruction.location.ptx_line;
        let Instruction { opcode, operands, .. } = instruction;
        if is_call(opcode) {
            return self.call(instruction);
        }
        if let Some(special) = self.special_instruction(opcode, operands)? {
            return Ok(special);
        }
        if form(opcode, 0).is_none()
            && let Some(opcode) = order::in_listed_order(opcode)
        {
            return match self.special_instruction(&opcode, operands)? {
                Some(special) => Ok(special),
                None => self.by_form(&opcode, operands),
            };
        }
        self.by_form(opcode, operands)
    }

    /// An instruction that a form describes.
    fn by_form(&mut self, opcode: &str, operands: &[Operand]) -> Result<Op> {
        let Some(form) = form(opcode, operands.len().saturating_sub(1)) else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let [destination, sources @ ..] = operands else {
            return self.failed(format!("`{opcode}` has no operands"));
        };
        if sources.len() != form.sources.len() {
            let (wanted, found) = (form.sources.len() + 1, operands.len());
            return self.failed(format!("`{opcode}` takes {wanted} operands, not {found}"));
        }
        let mut op = Op::new(form.exec);
        op.d = self.destination(destination, form.destination)?;
        let places = [&mut op.a, &mut op.b, &mut op.c, &mut op.e];
        for ((place, operand), kind) in places.into_iter().zip(sources).zip(form.sources) {
            *place = self.source(operand, *kind)?;
        }
        Ok(op)
    }

    /// Instructions with operands that no form describes.
    fn special_instruction(&mut self, opcode: &str, operands: &[Operand]) -> Result<Option<Op>> {
        let mut parts = opcode.split('.');
        let root = parts.next().unwrap_or_default();
        let modifiers: Vec<&str> = parts.collect();
        let Some(modifiers) = support::without_hints(root, &modifiers) else { return Ok(None) };
        let (modifiers, operands) = self.without_cache_hint(root, modifiers, operands)?;
        let op = match (root, &modifiers[..], operands) {
            ("bra", [], [Operand::Symbol(label, 0)]) => {
                let Some(&target) = self.labels.get(label.as_str()) else {
                    return self.failed(format!("the label `{label}` is not defined"));
                };
                Op { immediate: target as i64, ..Op::new(control::BRANCH) }
            }
            ("brx", ["idx"], [index, Operand::Symbol(list, 0)]) => self.indexed_branch(index, list)?,
            ("ret", [], []) => self.return_to_caller()?,
            ("exit", [], []) => Op::new(control::EXIT),
            ("trap", [], []) => Op::new(control::TRAP),
            // A breakpoint stops nothing where there is no debugger.
            ("brkpt", [], []) => Op::new(control::NOTHING),
            // Streams run in order, so what a launch depends on has ended: to wait changes no result, and what comes before
            // the wait is for the check of races to see. To sleep changes nothing at all.
            ("griddepcontrol", ["wait"], []) => Op::new(control::DEPENDENCY_WAIT),
            ("griddepcontrol", ["launch_dependents"], []) => Op::new(control::DEPENDENTS_LAUNCH),
            ("nanosleep", ["u32"], [_]) => Op::new(control::NOTHING),
            ("prefetch" | "prefetchu" | "discard" | "applypriority" | "pmevent", ..) => self.hint(operands)?,
            ("createpolicy", _, [destination, ..]) => self.cache_policy(destination)?,
            ("fence" | "membar", ["proxy", ..], _) => self.hint(operands)?,
            (
                "fence",
                ["mbarrier_init", ..] | [_, "sync_restrict::shared::cluster" | "sync_restrict::shared::cta", _],
                [],
            ) => Op { immediate: 1, ..Op::new(control::FENCE) },
            ("membar" | "fence", ..) => self.fence(opcode, &modifiers, operands)?,
            ("barrier", ["cluster", ..], _) => self.cluster_barrier(&modifiers, operands)?,
            ("mapa" | "getctarank", ..) => self.cluster_address(root, &modifiers, operands)?,
            ("bar", ["sync"], _) | ("barrier", ["sync"], _) => self.barrier(operands)?,
            ("bar" | "barrier", ["arrive"], [_, _]) => Op { immediate: control::ARRIVE, ..self.barrier(operands)? },
            ("bar" | "barrier", ["red", operation, _], _) => self.barrier_reduction(operation, operands)?,
            // Conversions to integers clamp anyway.
            ("cvt", [_, "sat", _, _] | [_, "ftz", "sat", _, _], _) if modifiers[0].ends_with('i') => {
                self.by_form(&opcode.replacen(".sat", "", 1), operands)?
            }
            ("elect", ["sync"], [destination, members]) => self.election(destination, members)?,
            ("setp", ..) => return self.compare(&modifiers, operands),
            ("set", ..) => return self.compare_to_number(opcode, &modifiers, operands),
            ("lop3", ["or" | "and", "b32"], _) => self.logic_with_predicate(modifiers[0], operands)?,
            ("isspacep", [space], [destination, address]) => self.is_space(space, destination, address)?,
            ("mov", [_], [destination, Operand::Special(name)]) => return self.clock(destination, name),
            ("atom" | "red", ..) if modifiers.iter().any(|m| matches!(*m, "v2" | "v4" | "v8")) => {
                self.vector_atomic(opcode, &modifiers, operands)?
            }
            (
                "vadd4" | "vsub4" | "vavrg4" | "vabsdiff4" | "vmin4" | "vmax4" | "vadd2" | "vsub2" | "vavrg2"
                | "vabsdiff2" | "vmin2" | "vmax2",
                ..,
            ) => self.video(opcode, root, &modifiers, operands)?,
            ("bar", ["warp", "sync"], [mask]) => self.collective(Collective::Barrier, mask)?,
            ("activemask", ["b32"], [destination]) => {
                let d = self.destination(destination, RegisterKind::Bits32)?;
                Op { d, ..Op::new(Variants::of::<shuffle::ActiveMask>()) }
            }
            ("shfl", ["sync", mode, "b32"], _) => self.shuffle(mode, operands)?,
            ("vote", ["sync", mode, ty], [destination, predicate, mask]) => {
                self.vote(mode, ty, destination, predicate, mask)?
            }
            ("redux", ["sync", operation @ ..], _) => self.reduction(&operation.join("."), operands)?,
            ("match", [mode, "sync", ty], _) => self.matching(mode, ty, operands)?,
            ("wgmma", ..) => self.wgmma(opcode, &modifiers, operands)?,
            // How many registers a warp may have is for the assembler.
            ("setmaxnreg", _, [Operand::Immediate(24..=256)]) => Op::new(control::NOTHING),
            ("mma", ..) => self.mma(opcode, &modifiers, operands)?,
            ("wmma", ["mma", ..], _) => self.wmma(opcode, &modifiers, operands)?,
            ("wmma", ..) => self.fragment(opcode, &modifiers, operands)?,
            ("ldmatrix" | "stmatrix", ..) => self.matrices(opcode, &modifiers, operands)?,
            ("movmatrix", _, [destination, source]) => self.transposition(destination, source)?,
            ("cp", ["async", "commit_group"], []) => Op::new(copies::COMMIT),
            ("cp", ["async", "wait_all"], []) => Op::new(copies::WAIT_ALL),
            ("cp", ["async", "wait_group"], [groups]) => self.async_wait(groups)?,
            ("cp", ["async", "mbarrier", ..], [at]) => self.arrival_after_copies(opcode, &modifiers, at)?,
            ("cp", ["async", "bulk", "tensor", ..] | ["async", "bulk", "prefetch", "tensor", ..], _)
            | ("cp", ["reduce", "async", "bulk", "tensor", ..], _) => self.tensor_copy(opcode, &modifiers, operands)?,
            ("tensormap", ["cp_fenceproxy", ..], [to, from, Operand::Immediate(128)]) => {
                self.tensor_map_copy(opcode, to, from)?
            }
            ("tensormap", ["replace", ..], _) => self.replace_in_tensor_map(opcode, &modifiers, operands)?,
            ("cp", ["async", "bulk", ..] | ["reduce", "async", "bulk", ..], _) => {
                self.bulk_copy(opcode, &modifiers, operands)?
            }
            ("mbarrier", ..) => self.mbarrier(opcode, &modifiers, operands)?,
            ("st" | "red", ["async", ..], _) => self.async_store(opcode, &modifiers, operands)?,
            ("cp", ["async", "ca" | "cg", ..], _) => self.async_copy(opcode, &modifiers, operands)?,
            ("atom" | "red", ..) => self.atomic(opcode, &modifiers, operands)?,
            ("ld" | "ldu", ..) => self.load(opcode, &modifiers, operands)?,
            ("st", ..) => self.store(opcode, &modifiers, operands)?,
            ("mov", ["b32" | "b64"], [Operand::Vector(_), _] | [_, Operand::Vector(_)]) => {
                self.pack(modifiers[0] == "b64", operands)?
            }
            ("cvta", ..) => return self.convert_address(&modifiers, operands),
            ("add" | "addc" | "sub" | "subc" | "mad" | "madc", ..) => return self.carry(opcode, operands),
            _ => return Ok(None),
        };
        Ok(Some(op))
    }

    /// Without the policy of a cache hint, which has to be one.
    fn without_cache_hint<'a, 'o>(
        &mut self,
        root: &str,
        mut modifiers: Vec<&'a str>,
        operands: &'o [Operand],
    ) -> Result<(Vec<&'a str>, &'o [Operand])> {
        if !matches!(root, "ld" | "st" | "atom" | "red") || !modifiers.contains(&"L2::cache_hint") {
            return Ok((modifiers, operands));
        }
        let Some((policy, operands)) = operands.split_last() else {
            return self.failed("a cache hint takes a policy");
        };
        self.source(policy, RegisterKind::Bits64)?;
        modifiers.retain(|modifier| *modifier != "L2::cache_hint");
        Ok((modifiers, operands))
    }

    fn fence(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let known = |modifier: &&str| {
            matches!(*modifier, "sc" | "acq_rel" | "acquire" | "release" | "cta" | "cluster" | "gpu" | "gl" | "sys")
        };
        if !modifiers.iter().all(known) || !operands.is_empty() {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        }
        Ok(Op { immediate: i64::from(!modifiers.contains(&"cta")), ..Op::new(control::FENCE) })
    }

    fn barrier(&mut self, operands: &[Operand]) -> Result<Op> {
        let mut op = Op::new(control::BARRIER);
        match operands {
            [barrier] => op.a = self.source(barrier, RegisterKind::Bits32)?,
            [barrier, threads] => {
                op.a = self.source(barrier, RegisterKind::Bits32)?;
                op.b = self.source(threads, RegisterKind::Bits32)?;
            }
            _ => return self.failed("a barrier takes its number, and the number of threads"),
        }
        Ok(op)
    }

    /// `bar.red`: a barrier, and over all threads there how many predicates hold, or whether all or any do.
    fn barrier_reduction(&mut self, operation: &str, operands: &[Operand]) -> Result<Op> {
        let (reduction, kind) = match operation {
            "popc" => (BarrierReduction::Count, RegisterKind::Bits32),
            "and" => (BarrierReduction::All, RegisterKind::Predicate),
            "or" => (BarrierReduction::Any, RegisterKind::Predicate),
            _ => return self.failed(format!("a barrier has no reduction `{operation}`")),
        };
        let [destination, barrier @ .., predicate] = operands else {
            return self.failed("a barrier with a reduction takes a destination, its number and a predicate");
        };
        let mut op = self.barrier(barrier)?;
        op.immediate = reduction as i64;
        op.d = self.destination(destination, kind)?;
        (op.c, op.e) = self.negatable(predicate)?;
        Ok(op)
    }

    /// A predicate, and 1 if it is negated.
    fn negatable(&mut self, operand: &Operand) -> Result<(Slot, u32)> {
        match operand {
            Operand::NotRegister(register) => {
                Ok((self.source(&Operand::Register(*register), RegisterKind::Predicate)?, 1))
            }
            other => Ok((self.source(other, RegisterKind::Predicate)?, 0)),
        }
    }

    fn pack(&mut self, wide: bool, operands: &[Operand]) -> Result<Op> {
        let (whole, part) = if wide {
            (RegisterKind::Bits64, RegisterKind::Bits32)
        } else {
            (RegisterKind::Bits32, RegisterKind::Bits32)
        };
        match operands {
            [destination, Operand::Vector(parts)] if parts.len() == 2 => {
                let mut op = Op::new(if wide { control::PACK_32 } else { control::PACK_16 });
                op.d = self.destination(destination, whole)?;
                op.a = self.source(&parts[0], part)?;
                op.b = self.source(&parts[1], part)?;
                Ok(op)
            }
            [Operand::Vector(parts), source] if parts.len() == 2 => {
                let mut op = Op::new(if wide { control::UNPACK_32 } else { control::UNPACK_16 });
                op.d = self.optional_destination(&parts[0], part)?;
                op.e = self.optional_destination(&parts[1], part)?;
                op.a = self.source(source, whole)?;
                Ok(op)
            }
            _ => self.failed("a move packs or unpacks two registers"),
        }
    }

    /// Instructions that read or write the carry flag, which the kernel has one of.
    fn carry(&mut self, opcode: &str, operands: &[Operand]) -> Result<Option<Op>> {
        let Some(form) = carry(opcode) else { return Ok(None) };
        let [destination, sources @ ..] = operands else { return Ok(None) };
        if sources.len() != form.sources {
            let (wanted, found) = (form.sources + 1, operands.len());
            return self.failed(format!("`{opcode}` takes {wanted} operands, not {found}"));
        }
        let flag = match self.carry_flag {
            Some(flag) => flag,
            None => self.new_register(RegisterKind::Predicate)?,
        };
        self.carry_flag = Some(flag);
        let mut op = Op { e: flag, ..Op::new(form.exec) };
        op.d = self.destination(destination, form.kind)?;
        for (place, operand) in [&mut op.a, &mut op.b, &mut op.c].into_iter().zip(sources) {
            *place = self.source(operand, form.kind)?;
        }
        Ok(Some(op))
    }

    /// `cvta` for shared and local memory and parameters: generic addresses are offset. The others are forms.
    fn convert_address(&mut self, modifiers: &[&str], operands: &[Operand]) -> Result<Option<Op>> {
        let (to, space) = match modifiers {
            ["to", space, "u64"] => (true, *space),
            [space, "u64"] => (false, *space),
            _ => return Ok(None),
        };
        let base = match space {
            "shared" | "shared::cta" | "shared::cluster" => access::SHARED_BASE,
            "local" => access::LOCAL_BASE,
            "param" | "param::entry" => access::PARAMETER_BASE,
            _ => return Ok(None),
        };
        let Some(form) = form(if to { "sub.u64" } else { "add.u64" }, 2) else { return Ok(None) };
        let [destination, source] = operands else {
            return self.failed("`cvta` takes 2 operands");
        };
        let mut op = Op::new(form.exec);
        op.d = self.destination(destination, RegisterKind::Bits64)?;
        op.a = self.source(source, RegisterKind::Bits64)?;
        op.b = self.constant(base, RegisterKind::Bits64);
        Ok(Some(op))
    }
}

/// The name of a register under which its uses are noted.
fn register_of(slot: Slot, kind: RegisterKind) -> Register {
    if kind == RegisterKind::Predicate { slot | PREDICATE } else { slot }
}

fn describe(kind: RegisterKind) -> &'static str {
    match kind {
        RegisterKind::Predicate => "predicate",
        RegisterKind::Bits32 => "32-bit (or narrower)",
        RegisterKind::Bits64 => "64-bit",
    }
}
