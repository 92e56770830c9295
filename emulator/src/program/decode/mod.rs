//! Decodes a kernel: every operand to a slot, every opcode to the operation that executes it.
//!
//! An instruction that is not supported, or whose operands do not have the widths that its opcode asks for, is an error
//! here, so execution meets neither.

mod async_copy;
mod collective;
mod matrix;
mod memory;
mod predicate;
mod special;
mod support;
mod wide;

use std::collections::HashMap;

use super::{CONSTANT, NO_SLOT, Op, PREDICATE, Parameter, Program, ROW, Register, Rows, Slot, Special, Uses};
use crate::ops::carry::carry;
use crate::ops::control::BarrierReduction;
use crate::ops::shuffle::Collective;
use crate::ops::{Variants, async_copy as copies, control, form, memory as access, shuffle};
use crate::ptx::PtxError;
use crate::ptx::ast::{Instruction, Kernel, Operand, RegisterKind, Space, Variable};

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

/// Decodes `kernel`. `symbols` are the variables of its module that are in memory; `shared` are those in shared
/// memory, which every kernel lays out for itself.
pub(crate) fn decode(kernel: &Kernel, symbols: &HashMap<String, Symbol>, shared: &[Variable]) -> Result<Program> {
    let mut decoder = Decoder::new(kernel, symbols, shared)?;
    let mut code = Vec::with_capacity(kernel.body.len() + 1);
    let mut sources = Vec::with_capacity(kernel.body.len() + 1);
    let mut uses = Vec::with_capacity(kernel.body.len() + 1);
    for instruction in &kernel.body {
        let mut op = decoder.instruction(instruction)?;
        if let Some((register, negated)) = instruction.guard {
            op.guard = decoder.slots[register as usize] * 2 + u32::from(negated);
            decoder.uses.reads.push(decoder.slots[register as usize] | PREDICATE);
        }
        uses.push(std::mem::take(&mut decoder.uses));
        code.push(op);
        sources.push((instruction.opcode.clone(), instruction.location));
    }
    code.push(Op::new(control::EXIT));
    uses.push(Uses::default());
    sources.push(("ret".to_owned(), kernel.body.last().map(|last| last.location).unwrap_or_default()));

    let mut constants = Rows::zeroed(decoder.constants.len());
    constants.bytes_mut()[..decoder.constants.len()].copy_from_slice(&decoder.constants);
    Ok(Program {
        name: kernel.name.clone(),
        code,
        sources,
        uses,
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
        local_bytes: decoder.local_bytes,
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
    kernel: &'k Kernel,
    labels: HashMap<&'k str, usize>,
    symbols: HashMap<&'k str, Symbol>,
    /// The slot of each register, or its index for predicates.
    slots: Vec<Slot>,
    register_bytes: u32,
    predicates: u32,
    constants: Vec<u8>,
    constant_slots: HashMap<(u64, RegisterKind), Slot>,
    specials: Vec<(Special, Slot)>,
    lists: Vec<Slot>,
    parts: Vec<Op>,
    parameters: Vec<Parameter>,
    shared_bytes: u64,
    local_bytes: u64,
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

impl<'k> Decoder<'k> {
    fn new(kernel: &'k Kernel, symbols: &'k HashMap<String, Symbol>, shared: &'k [Variable]) -> Result<Self> {
        let mut decoder = Self {
            kernel,
            labels: kernel.labels.iter().map(|(name, index)| (name.as_str(), *index)).collect(),
            symbols: symbols.iter().map(|(name, symbol)| (name.as_str(), *symbol)).collect(),
            slots: Vec::with_capacity(kernel.registers.len()),
            register_bytes: 0,
            predicates: 2,
            constants: Vec::new(),
            constant_slots: HashMap::new(),
            specials: Vec::new(),
            lists: Vec::new(),
            parts: Vec::new(),
            parameters: Vec::new(),
            shared_bytes: 0,
            local_bytes: 0,
            windows: 0,
            carry_flag: None,
            line: kernel.line,
            uses: Uses::default(),
        };
        for &kind in &kernel.registers {
            let slot = decoder.new_register(kind)?;
            decoder.slots.push(slot);
        }
        decoder.lay_out_variables(shared)?;
        Ok(decoder)
    }

    fn lay_out_variables(&mut self, shared: &'k [Variable]) -> Result<()> {
        let (mut parameters, mut shared_bytes, mut local_bytes) = (0, 0, 0);
        for parameter in &self.kernel.params {
            let offset = lay_out(&mut parameters, parameter).filter(|_| parameters <= MAX_PARAMETERS);
            let offset = offset.ok_or_else(|| self.error("the parameters are too large"))?;
            self.parameters.push(Parameter { offset, size: parameter.size });
            self.symbols.insert(&parameter.name, Symbol { space: Space::Param, address: offset });
        }
        // Arrays without a size are dynamic shared memory: all of them start where the others end.
        let (dynamic, fixed): (Vec<_>, Vec<_>) =
            shared.iter().chain(&self.kernel.variables).partition(|v| v.space == Space::Shared && v.size == 0);
        for variable in fixed {
            let end = if variable.space == Space::Shared { &mut shared_bytes } else { &mut local_bytes };
            let address = lay_out(end, variable);
            if shared_bytes > MAX_SHARED || local_bytes > MAX_LOCAL {
                return self.failed(format!("the variable `{}` does not fit in its memory", variable.name));
            }
            let address = address.ok_or_else(|| self.error("a variable is too large"))?;
            self.symbols.insert(&variable.name, Symbol { space: variable.space, address });
        }
        let align = dynamic.iter().map(|variable| variable.align).max().unwrap_or(1);
        shared_bytes = shared_bytes.next_multiple_of(align.max(1));
        for variable in dynamic {
            self.symbols.insert(&variable.name, Symbol { space: Space::Shared, address: shared_bytes });
        }
        self.shared_bytes = shared_bytes;
        self.local_bytes = local_bytes.next_multiple_of(16);
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
        let (counter, size) = match kind {
            RegisterKind::Predicate => (&mut self.predicates, 1),
            RegisterKind::Bits32 => (&mut self.register_bytes, ROW),
            RegisterKind::Bits64 => (&mut self.register_bytes, 2 * ROW),
        };
        let slot = *counter;
        *counter += size;
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
                Ok(self.constant(symbol.address.wrapping_add(*offset as u64), kind))
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
        match self.symbols.get(name) {
            Some(symbol) => Ok(*symbol),
            None => self.failed(format!("`{name}` is not defined")),
        }
    }

    // --- instructions ---

    fn instruction(&mut self, instruction: &Instruction) -> Result<Op> {
        self.line = instruction.location.ptx_line;
        let Instruction { opcode, operands, .. } = instruction;
        if let Some(special) = self.special_instruction(opcode, operands)? {
            return Ok(special);
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
        if !support::supported(root, &modifiers) {
            return Ok(None);
        }
        let (modifiers, operands) = self.without_cache_hint(root, modifiers, operands)?;
        let op = match (root, &modifiers[..], operands) {
            ("bra", [] | ["uni"], [Operand::Symbol(label, 0)]) => {
                let Some(&target) = self.labels.get(label.as_str()) else {
                    return self.failed(format!("the label `{label}` is not defined"));
                };
                Op { immediate: target as i64, ..Op::new(control::BRANCH) }
            }
            ("ret", [] | ["uni"], []) | ("exit", [], []) => Op::new(control::EXIT),
            ("trap", [], []) => Op::new(control::TRAP),
            // Streams run in order, so what a launch depends on has ended: to wait changes no result, and what comes before
            // the wait is for the check of races to see. To sleep changes nothing at all.
            ("griddepcontrol", ["wait"], []) => Op::new(control::DEPENDENCY_WAIT),
            ("griddepcontrol", ["launch_dependents"], []) => Op::new(control::DEPENDENTS_LAUNCH),
            ("nanosleep", ["u32"], [_]) => Op::new(control::NOTHING),
            ("prefetch" | "prefetchu" | "discard" | "applypriority" | "pmevent", ..) => self.hint(operands)?,
            ("createpolicy", _, [destination, ..]) => self.cache_policy(destination)?,
            ("fence" | "membar", ["proxy", ..], _) | ("fence", ["mbarrier_init", ..], _) => self.hint(operands)?,
            ("membar" | "fence", ..) => self.fence(opcode, &modifiers, operands)?,
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
            ("mma", ..) => self.mma(opcode, &modifiers, operands)?,
            ("wmma", ["mma", ..], _) => self.wmma(opcode, &modifiers, operands)?,
            ("wmma", ..) => self.fragment(opcode, &modifiers, operands)?,
            ("ldmatrix" | "stmatrix", ..) => self.matrices(opcode, &modifiers, operands)?,
            ("movmatrix", _, [destination, source]) => self.transposition(destination, source)?,
            ("cp", ["async", "commit_group"], []) => Op::new(copies::COMMIT),
            ("cp", ["async", "wait_all"], []) => Op::new(copies::WAIT_ALL),
            ("cp", ["async", "wait_group"], [groups]) => self.async_wait(groups)?,
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

    /// Without what changes no result: the policy of a cache hint, which has to be one; whose barrier it is, and that it
    /// is aligned.
    fn without_cache_hint<'a, 'o>(
        &mut self,
        root: &str,
        mut modifiers: Vec<&'a str>,
        operands: &'o [Operand],
    ) -> Result<(Vec<&'a str>, &'o [Operand])> {
        if matches!(root, "bar" | "barrier") {
            modifiers.retain(|modifier| !matches!(*modifier, "cta" | "aligned"));
        }
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
            "shared" => access::SHARED_BASE,
            "local" => access::LOCAL_BASE,
            "param" => access::PARAMETER_BASE,
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
