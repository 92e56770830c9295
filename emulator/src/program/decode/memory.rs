//! Decodes loads, stores and atomic operations.

use super::{Decoder, Result};
use crate::ops::{atomic, memory};
use crate::program::{MemoryKind, MemoryUse, NO_SLOT, Op, Strength};
use crate::ptx::ast::{Operand, RegisterKind, Space};

/// The modifier of accesses to shared memory that may be that of another block of the cluster.
const OF_CLUSTER: &str = ".shared::cluster";

impl Decoder<'_> {
    pub(super) fn load(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let [destination, Operand::Address(base, offset)] = operands else {
            return self.failed(format!("`{opcode}` takes a destination and an address"));
        };
        let access = self.access(opcode, modifiers)?;
        self.memory(opcode, &access, destination, base, *offset, true)
    }

    pub(super) fn store(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let [Operand::Address(base, offset), source] = operands else {
            return self.failed(format!("`{opcode}` takes an address and a source"));
        };
        let access = self.access(opcode, modifiers)?;
        self.memory(opcode, &access, source, base, *offset, false)
    }

    /// Reads the modifiers of a load or store. How they cache changes no result; how strong they are is for the check of
    /// races.
    fn access<'m>(&self, opcode: &str, modifiers: &[&'m str]) -> Result<MemoryAccess<'m>> {
        let (mut space, mut lanes, mut ty, mut ordered) = (Space::Generic, 1, None, false);
        let strength = strength(modifiers);
        for &modifier in modifiers {
            match modifier {
                "global" => space = Space::Global,
                "const" => space = Space::Constant,
                "shared" | "shared::cta" | "shared::cluster" => space = Space::Shared,
                "local" => space = Space::Local,
                "param" | "param::entry" | "param::func" => space = Space::Param,
                "acquire" | "release" => ordered = true,
                "v2" => lanes = 2,
                "v4" => lanes = 4,
                "v8" => lanes = 8,
                "weak" | "volatile" | "relaxed" | "cta" | "cluster" | "gpu" | "sys" | "nc" | "mmio" => {}
                _ if ty.is_none() => ty = Some(modifier),
                _ => return self.failed(format!("the instruction `{opcode}` is not supported")),
            }
        }
        match ty {
            Some(ty) => Ok(MemoryAccess { space, lanes, ty, ordered, strength }),
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
        let &MemoryAccess { space: stated, lanes, ty, ordered, strength } = access;
        // What a function takes and returns, and what calls pass, is in its frame.
        let space = if stated == Space::Param && self.in_frame(base) { Space::Local } else { stated };
        let parts = match value {
            Operand::Vector(parts) => &parts[..],
            single => std::slice::from_ref(single),
        };
        if parts.len() != lanes {
            return self.failed(format!("`{opcode}` accesses {lanes} values, not {}", parts.len()));
        }
        if lanes == 8 || lanes == 4 && ty.ends_with("64") {
            if space != Space::Global || !(ty.ends_with("32") && lanes == 8 || lanes == 4) {
                return self.failed(format!("the instruction `{opcode}` is not supported"));
            }
            let mut op = self.wide_access(value, base, offset, load)?;
            op.window |= if ordered { memory::ORDERED } else { 0 };
            let kind = if load { MemoryKind::Load } else { MemoryKind::Store };
            let (acquires, releases, values, wide) = (ordered && load, ordered && !load, lanes as u32, lanes == 4);
            self.uses.memory = Some(MemoryUse { space, bytes: 32, values, wide, kind, strength, acquires, releases });
            return Ok(op);
        }
        let register = match parts.iter().find_map(|part| match part {
            Operand::Register(register) => Some(self.kernel.registers[*register as usize]),
            _ => None,
        }) {
            Some(kind) => kind,
            None if ty.ends_with("64") => RegisterKind::Bits64,
            None => RegisterKind::Bits32,
        };
        let fixed_parameter = space == Space::Param && matches!(base, Operand::Symbol(..));
        let kind = match (space, load) {
            (Space::Global | Space::Constant, true) => memory::Kind::LoadGlobal,
            (Space::Shared, true) => memory::Kind::LoadShared,
            (Space::Local, true) => memory::Kind::LoadLocal,
            (Space::Generic, true) => memory::Kind::LoadGeneric,
            (Space::Param, true) if fixed_parameter => memory::Kind::LoadParameter,
            (Space::Param, true) => memory::Kind::LoadParameterAt,
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
        if fixed_parameter {
            op.immediate = self.parameter_offset(base, offset, size * lanes as u64)?;
            return Ok(op);
        }
        self.address(&mut op, base, offset)?;
        if ordered {
            op.window |= memory::ORDERED;
        }
        if opcode.contains(OF_CLUSTER) {
            op.window |= memory::OF_CLUSTER;
        }
        let kind = if load { MemoryKind::Load } else { MemoryKind::Store };
        let (acquires, releases) = (ordered && load, ordered && !load);
        let bytes = (size * lanes as u64) as u32;
        let (values, wide) = (lanes as u32, register == RegisterKind::Bits64);
        // Compilers pass the padding of structs, which nothing writes: what is in `.param` is not watched.
        let space = if stated == Space::Param { stated } else { space };
        self.uses.memory = Some(MemoryUse { space, bytes, values, wide, kind, strength, acquires, releases });
        Ok(op)
    }

    /// The address of an access, and a place to remember the window that it hits.
    pub(super) fn address(&mut self, op: &mut Op, base: &Operand, offset: i64) -> Result<()> {
        op.window = self.windows;
        self.windows += 1;
        op.immediate = offset;
        if let Operand::Symbol(name, _) = base
            && self.in_callee
        {
            let symbol = self.symbol(name)?;
            if symbol.space == Space::Local {
                op.immediate = offset.wrapping_add(symbol.address as i64);
                op.a = self.frame()?;
                op.window |= memory::ADDRESS_32;
                return Ok(());
            }
        }
        let narrow = matches!(base, Operand::Register(register)
            if self.kernel.registers[*register as usize] == RegisterKind::Bits32);
        op.a = self.source(base, if narrow { RegisterKind::Bits32 } else { RegisterKind::Bits64 })?;
        if narrow {
            op.window |= memory::ADDRESS_32;
        }
        Ok(())
    }

    /// `atom` and `red`. In which order and for whom they are seen is for the check of races.
    pub(super) fn atomic(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let reduction = opcode.starts_with("red.");
        let (mut space, mut operation) = (Space::Generic, Vec::new());
        for &modifier in modifiers {
            match modifier {
                "global" => space = Space::Global,
                "shared" | "shared::cta" | "shared::cluster" => space = Space::Shared,
                "relaxed" | "acquire" | "release" | "acq_rel" | "cta" | "cluster" | "gpu" | "sys" => {}
                _ => operation.push(modifier),
            }
        }
        let Some((variants, kind, count)) = atomic::atomic(&operation.join("."), space) else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let (destination, operands) = match operands {
            [destination, rest @ ..] if !reduction => (destination, rest),
            all => (&Operand::Sink, all),
        };
        let (Some(Operand::Address(base, offset)), Some(sources)) = (operands.first(), operands.get(1..)) else {
            return self.failed(format!("`{opcode}` takes an address"));
        };
        if sources.len() != count {
            return self.failed(format!("`{opcode}` takes {count} operands after the address, not {}", sources.len()));
        }
        let mut op = Op::new(variants);
        op.d = self.optional_destination(destination, kind)?;
        op.b = self.source(&sources[0], kind)?;
        op.c = if count == 2 { self.source(&sources[1], kind)? } else { NO_SLOT };
        self.address(&mut op, base, *offset)?;
        if opcode.contains(OF_CLUSTER) {
            op.window |= memory::OF_CLUSTER;
        }
        let bits =
            operation.last().and_then(|ty| ty.trim_start_matches(|letter: char| !letter.is_ascii_digit()).get(..2));
        let bytes = match bits {
            Some("16") if !operation.iter().any(|part| part.ends_with("x2")) => 2,
            Some("64") => 8,
            Some("12") => 16,
            _ => 4,
        };
        self.uses.memory = Some(atomic_use(space, bytes, modifiers));
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

/// What an atomic operation with these modifiers does.
pub(super) fn atomic_use(space: Space, bytes: u32, modifiers: &[&str]) -> MemoryUse {
    let given = |orders: [&str; 2]| modifiers.iter().any(|modifier| orders.contains(modifier));
    MemoryUse {
        space,
        bytes,
        values: 1,
        wide: false,
        kind: if modifiers.contains(&"cas") { MemoryKind::CompareAndSwap } else { MemoryKind::Atomic },
        strength: if modifiers.contains(&"cta") { Strength::Block } else { Strength::Device },
        acquires: given(["acquire", "acq_rel"]),
        releases: given(["release", "acq_rel"]),
    }
}

/// With whose accesses one with these modifiers makes no race if theirs is strong too.
fn strength(modifiers: &[&str]) -> Strength {
    let given = |names: &[&str]| modifiers.iter().any(|modifier| names.contains(modifier));
    if !given(&["volatile", "relaxed", "acquire", "release", "mmio"]) {
        Strength::Weak
    } else if given(&["cta"]) {
        Strength::Block
    } else {
        Strength::Device
    }
}

struct MemoryAccess<'m> {
    space: Space,
    lanes: usize,
    ty: &'m str,
    /// Whether it acquires or releases.
    ordered: bool,
    strength: Strength,
}
