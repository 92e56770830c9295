//! Decodes a kernel: every operand to a slot, every opcode to the operation that executes it.
//!
//! An instruction that is not supported, or whose operands do not have the widths that its opcode asks for, is an error
//! here, so execution meets neither.

use std::collections::HashMap;

use super::{CONSTANT, LaneMask, NO_SLOT, Op, Parameter, Program, ROW, Rows, Slot, Special};
use crate::ops::shuffle::{COLLECTIVELY, Collective};
use crate::ops::{Variants, control, form, memory, shuffle};
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
    for instruction in &kernel.body {
        let mut op = decoder.instruction(instruction)?;
        if let Some((register, negated)) = instruction.guard {
            op.guard = decoder.slots[register as usize] * 2 + u32::from(negated);
        }
        code.push(op);
        sources.push((instruction.opcode.clone(), instruction.location));
    }
    code.push(Op::new(control::EXIT));
    sources.push(("ret".to_owned(), kernel.body.last().map(|last| last.location).unwrap_or_default()));

    let mut constants = Rows::zeroed(decoder.constants.len());
    constants.bytes_mut()[..decoder.constants.len()].copy_from_slice(&decoder.constants);
    Ok(Program {
        name: kernel.name.clone(),
        code,
        sources,
        constants,
        register_bytes: decoder.register_bytes,
        predicates: decoder.predicates,
        windows: decoder.windows,
        specials: decoder.specials,
        parameters: decoder.parameters,
        shared_bytes: decoder.shared_bytes,
        local_bytes: decoder.local_bytes,
        required_block: kernel.required_block,
        max_block: kernel.max_block,
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
    parameters: Vec<Parameter>,
    shared_bytes: u64,
    local_bytes: u64,
    windows: u32,
    /// The line of the instruction that is being decoded.
    line: u32,
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
            parameters: Vec::new(),
            shared_bytes: 0,
            local_bytes: 0,
            windows: 0,
            line: kernel.line,
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

    fn special(&mut self, name: &str) -> Result<Slot> {
        let axis = |suffix: &str| ["x", "y", "z"].iter().position(|axis| *axis == suffix);
        let special = match name.split_once('.') {
            Some(("%tid", suffix)) => axis(suffix).map(Special::Thread),
            Some(("%ntid", suffix)) => axis(suffix).map(Special::BlockSize),
            Some(("%ctaid", suffix)) => axis(suffix).map(Special::Block),
            Some(("%nctaid", suffix)) => axis(suffix).map(Special::GridSize),
            Some(_) => None,
            None => match name {
                "%laneid" => Some(Special::Lane),
                "%warpid" => Some(Special::Warp),
                "%lanemask_eq" => Some(Special::LaneMask(LaneMask::Equal)),
                "%lanemask_lt" => Some(Special::LaneMask(LaneMask::Less)),
                "%lanemask_le" => Some(Special::LaneMask(LaneMask::LessOrEqual)),
                "%lanemask_gt" => Some(Special::LaneMask(LaneMask::Greater)),
                "%lanemask_ge" => Some(Special::LaneMask(LaneMask::GreaterOrEqual)),
                "%dynamic_smem_size" => Some(Special::DynamicShared),
                "%total_smem_size" => Some(Special::TotalShared),
                _ => None,
            },
        };
        let Some(special) = special else {
            return self.failed(format!("the register `{name}` is not declared, and no special register supported"));
        };
        if let Some(&(_, slot)) = self.specials.iter().find(|(known, _)| *known == special) {
            return Ok(slot);
        }
        let slot = self.new_register(RegisterKind::Bits32)?;
        self.specials.push((special, slot));
        Ok(slot)
    }

    fn source(&mut self, operand: &Operand, kind: RegisterKind) -> Result<Slot> {
        match operand {
            Operand::Register(register) if self.kernel.registers[*register as usize] == kind => {
                Ok(self.slots[*register as usize])
            }
            Operand::Immediate(value) => Ok(self.constant(*value, kind)),
            Operand::Special(name) if kind == RegisterKind::Bits32 => self.special(name),
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
                Ok(self.slots[*register as usize])
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
        let Some(form) = form(opcode) else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let [destination, sources @ ..] = &operands[..] else {
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
        let op = match (root, &modifiers[..], operands) {
            ("bra", [] | ["uni"], [Operand::Symbol(label, 0)]) => {
                let Some(&target) = self.labels.get(label.as_str()) else {
                    return self.failed(format!("the label `{label}` is not defined"));
                };
                Op { immediate: target as i64, ..Op::new(control::BRANCH) }
            }
            ("ret", [] | ["uni"], []) | ("exit", [], []) => Op::new(control::EXIT),
            ("trap", [], []) => Op::new(control::TRAP),
            ("membar" | "fence", ..) => self.fence(opcode, &modifiers, operands)?,
            ("bar", ["sync"], _) | ("barrier", ["sync"] | ["sync", "aligned"], _) => self.barrier(operands)?,
            ("bar", ["warp", "sync"], [mask]) => self.collective(Collective::Barrier, mask)?,
            ("activemask", ["b32"], [destination]) => {
                let d = self.destination(destination, RegisterKind::Bits32)?;
                Op { d, ..Op::new(Variants::of::<shuffle::ActiveMask>()) }
            }
            ("shfl", ["sync", mode, "b32"], _) => self.shuffle(mode, operands)?,
            ("vote", ["sync", mode, ty], [destination, predicate, mask]) => {
                self.vote(mode, ty, destination, predicate, mask)?
            }
            ("ld", ..) => self.load(opcode, &modifiers, operands)?,
            ("st", ..) => self.store(opcode, &modifiers, operands)?,
            ("mov", ["b32" | "b64"], [Operand::Vector(_), _] | [_, Operand::Vector(_)]) => {
                self.pack(modifiers[0] == "b64", operands)?
            }
            ("cvta", ..) => return self.convert_address(&modifiers, operands),
            _ => return Ok(None),
        };
        Ok(Some(op))
    }

    fn fence(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let known = |modifier: &&str| matches!(*modifier, "sc" | "acq_rel" | "cta" | "gpu" | "gl" | "sys");
        if !modifiers.iter().all(known) || !operands.is_empty() {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        }
        Ok(Op::new(control::FENCE))
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

    fn collective(&mut self, collective: Collective, members: &Operand) -> Result<Op> {
        let mut op = Op::new(COLLECTIVELY);
        op.immediate = collective as i64;
        op.window = self.source(members, RegisterKind::Bits32)?;
        Ok(op)
    }

    fn shuffle(&mut self, mode: &str, operands: &[Operand]) -> Result<Op> {
        let collective = match mode {
            "up" => Collective::ShuffleUp,
            "down" => Collective::ShuffleDown,
            "bfly" => Collective::ShuffleXor,
            "idx" => Collective::ShuffleIndex,
            _ => return self.failed(format!("`shfl.sync` has no mode `{mode}`")),
        };
        let [destination, a, b, c, members] = operands else {
            return self.failed("`shfl.sync` takes 5 operands");
        };
        let mut op = self.collective(collective, members)?;
        if let Operand::Pair(value, in_range) = destination {
            op.d = self.destination(value, RegisterKind::Bits32)?;
            op.e = self.optional_destination(in_range, RegisterKind::Predicate)?;
        } else {
            op.d = self.destination(destination, RegisterKind::Bits32)?;
        }
        op.a = self.source(a, RegisterKind::Bits32)?;
        op.b = self.source(b, RegisterKind::Bits32)?;
        op.c = self.source(c, RegisterKind::Bits32)?;
        Ok(op)
    }

    fn vote(
        &mut self,
        mode: &str,
        ty: &str,
        destination: &Operand,
        predicate: &Operand,
        members: &Operand,
    ) -> Result<Op> {
        let (collective, kind) = match (mode, ty) {
            ("all", "pred") => (Collective::VoteAll, RegisterKind::Predicate),
            ("any", "pred") => (Collective::VoteAny, RegisterKind::Predicate),
            ("uni", "pred") => (Collective::VoteUniform, RegisterKind::Predicate),
            ("ballot", "b32") => (Collective::Ballot, RegisterKind::Bits32),
            _ => return self.failed(format!("`vote.sync` has no mode `{mode}.{ty}`")),
        };
        let mut op = self.collective(collective, members)?;
        op.d = self.destination(destination, kind)?;
        (op.a, op.e) = match predicate {
            Operand::NotRegister(register) => (self.source(&Operand::Register(*register), RegisterKind::Predicate)?, 1),
            other => (self.source(other, RegisterKind::Predicate)?, 0),
        };
        Ok(op)
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

    /// `cvta` for shared and local memory: generic addresses are offset. The others are forms.
    fn convert_address(&mut self, modifiers: &[&str], operands: &[Operand]) -> Result<Option<Op>> {
        let (to, space) = match modifiers {
            ["to", space, "u64"] => (true, *space),
            [space, "u64"] => (false, *space),
            _ => return Ok(None),
        };
        let base = match space {
            "shared" => memory::SHARED_BASE,
            "local" => memory::LOCAL_BASE,
            _ => return Ok(None),
        };
        let Some(form) = form(if to { "sub.u64" } else { "add.u64" }) else { return Ok(None) };
        let [destination, source] = operands else {
            return self.failed("`cvta` takes 2 operands");
        };
        let mut op = Op::new(form.exec);
        op.d = self.destination(destination, RegisterKind::Bits64)?;
        op.a = self.source(source, RegisterKind::Bits64)?;
        op.b = self.constant(base, RegisterKind::Bits64);
        Ok(Some(op))
    }

    // --- memory ---

    fn load(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let [destination, Operand::Address(base, offset)] = operands else {
            return self.failed(format!("`{opcode}` takes a destination and an address"));
        };
        let access = self.access(opcode, modifiers)?;
        self.memory(opcode, &access, destination, base, *offset, true)
    }

    fn store(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let [Operand::Address(base, offset), source] = operands else {
            return self.failed(format!("`{opcode}` takes an address and a source"));
        };
        let access = self.access(opcode, modifiers)?;
        self.memory(opcode, &access, source, base, *offset, false)
    }

    /// Reads the modifiers of a load or store. How they cache, and weak or relaxed order, change no result.
    fn access<'m>(&self, opcode: &str, modifiers: &[&'m str]) -> Result<MemoryAccess<'m>> {
        let (mut space, mut lanes, mut ty) = (Space::Generic, 1, None);
        for &modifier in modifiers {
            match modifier {
                "global" => space = Space::Global,
                "const" => space = Space::Constant,
                "shared" | "shared::cta" => space = Space::Shared,
                "local" => space = Space::Local,
                "param" => space = Space::Param,
                "v2" => lanes = 2,
                "v4" => lanes = 4,
                "weak" | "volatile" | "relaxed" | "cta" | "gpu" | "sys" | "nc" | "ca" | "cg" | "cs" | "lu" | "cv"
                | "wb" | "wt" => {}
                _ if modifier.starts_with("L1::") || modifier.starts_with("L2::") => {}
                _ if ty.is_none() => ty = Some(modifier),
                _ => return self.failed(format!("the instruction `{opcode}` is not supported")),
            }
        }
        match ty {
            Some(ty) => Ok(MemoryAccess { space, lanes, ty }),
            None => self.failed(format!("`{opcode}` has no type")),
        }
    }

    fn memory(
        &mut self,
        opcode: &str,
        access: &MemoryAccess<'_>,
        value: &Operand,
        base: &Operand,
        offset: i64,
        load: bool,
    ) -> Result<Op> {
        let &MemoryAccess { space, lanes, ty } = access;
        let parts = match value {
            Operand::Vector(parts) => &parts[..],
            single => std::slice::from_ref(single),
        };
        if parts.len() != lanes {
            return self.failed(format!("`{opcode}` accesses {lanes} values, not {}", parts.len()));
        }
        let register = match parts.iter().find_map(|part| match part {
            Operand::Register(register) => Some(self.kernel.registers[*register as usize]),
            _ => None,
        }) {
            Some(kind) => kind,
            None if ty.ends_with("64") => RegisterKind::Bits64,
            None => RegisterKind::Bits32,
        };
        let kind = match (space, load) {
            (Space::Global | Space::Constant, true) => memory::Kind::LoadGlobal,
            (Space::Shared, true) => memory::Kind::LoadShared,
            (Space::Local, true) => memory::Kind::LoadLocal,
            (Space::Generic, true) => memory::Kind::LoadGeneric,
            (Space::Param, true) => memory::Kind::LoadParameter,
            (Space::Global, false) => memory::Kind::StoreGlobal,
            (Space::Shared, false) => memory::Kind::StoreShared,
            (Space::Local, false) => memory::Kind::StoreLocal,
            (Space::Generic, false) => memory::Kind::StoreGeneric,
            (Space::Constant | Space::Param, false) => return self.failed("a store cannot write there"),
        };
        let Some((variants, size)) = memory::variants(kind, ty, register, lanes) else {
            return self.failed(format!("the instruction `{opcode}` is not supported with these operands"));
        };
        let mut op = Op::new(variants);
        for (place, part) in [&mut op.d, &mut op.b, &mut op.c, &mut op.e].into_iter().zip(parts) {
            *place = if load { self.optional_destination(part, register)? } else { self.source(part, register)? };
        }
        if space == Space::Param {
            op.immediate = self.parameter_offset(base, offset, size * lanes as u64)?;
            return Ok(op);
        }
        op.window = self.windows;
        self.windows += 1;
        op.immediate = offset;
        let narrow = matches!(base, Operand::Register(register)
            if self.kernel.registers[*register as usize] == RegisterKind::Bits32);
        op.a = self.source(base, if narrow { RegisterKind::Bits32 } else { RegisterKind::Bits64 })?;
        if narrow {
            op.window |= memory::ADDRESS_32;
        }
        Ok(op)
    }

    /// The offset of an access to the parameter block, which has to lie in it and be aligned.
    fn parameter_offset(&self, base: &Operand, offset: i64, bytes: u64) -> Result<i64> {
        let Operand::Symbol(name, _) = base else {
            return self.failed("parameters are supported at fixed addresses only");
        };
        let symbol = self.symbol(name)?;
        let end = self.parameters.last().map_or(0, |last| last.offset + last.size);
        let at = symbol.address.checked_add_signed(offset);
        match at.filter(|at| symbol.space == Space::Param && at % bytes == 0 && *at <= end && bytes <= end - at) {
            Some(at) => Ok(at as i64),
            None => self.failed(format!("`{name}` has no {bytes} bytes at offset {offset}")),
        }
    }
}

struct MemoryAccess<'m> {
    space: Space,
    lanes: usize,
    ty: &'m str,
}

fn describe(kind: RegisterKind) -> &'static str {
    match kind {
        RegisterKind::Predicate => "predicate",
        RegisterKind::Bits32 => "32-bit (or narrower)",
        RegisterKind::Bits64 => "64-bit",
    }
}
