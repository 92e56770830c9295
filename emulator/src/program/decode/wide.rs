//! Decodes accesses of 32 bytes, atomic operations on vectors, video instructions, clocks, and hints.

use super::memory::atomic_use;
use super::{Decoder, Result};
use crate::ops::video::{Function, VIDEO, Video};
use crate::ops::wide::{self, Update};
use crate::ops::{clock, control, form};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind, Space};

impl Decoder<'_> {
    /// `ld.global.v8.b32 {…}, [a]` and `v4.b64`, and the stores.
    pub(super) fn wide_access(&mut self, value: &Operand, base: &Operand, offset: i64, load: bool) -> Result<Op> {
        let Operand::Vector(parts) = value else {
            return self.failed("an access of 32 bytes takes a vector of registers");
        };
        let long = parts.len() == 4;
        let kind = if long { RegisterKind::Bits64 } else { RegisterKind::Bits32 };
        let mut list = Vec::new();
        for part in parts {
            list.push(if load { self.optional_destination(part, kind)? } else { self.source(part, kind)? });
        }
        let mut op = Op::new(wide::access(load, long));
        self.address(&mut op, base, offset)?;
        op.d = self.list(&list);
        Ok(op)
    }

    /// `red.global.v4.f32.add [a], {…}` and `atom.global.v4.f32.add {…}, [a], {…}`, in any order of their modifiers.
    pub(super) fn vector_atomic(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let (mut count, mut operation, mut ty) = (0, "", "");
        for &modifier in modifiers {
            match modifier {
                "v2" => count = 2,
                "v4" => count = 4,
                "v8" => count = 8,
                "add" | "min" | "max" => operation = modifier,
                "f32" | "f16" | "bf16" | "f16x2" | "bf16x2" => ty = modifier,
                _ => {}
            }
        }
        let Some(update) = Update::parse(operation, ty).filter(|update| update.bytes() * count <= 16) else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let (results, base, offset, sources) = match operands {
            [Operand::Address(base, offset), Operand::Vector(sources)] if opcode.starts_with("red.") => {
                (None, base, *offset, sources)
            }
            [Operand::Vector(results), Operand::Address(base, offset), Operand::Vector(sources)] => {
                (Some(results), base, *offset, sources)
            }
            _ => return self.failed(format!("`{opcode}` takes an address and a vector")),
        };
        if sources.len() != count as usize || results.is_some_and(|results| results.len() != count as usize) {
            return self.failed(format!("`{opcode}` takes {count} values"));
        }
        let mut list = Vec::new();
        match results {
            Some(results) => {
                for result in results {
                    list.push(self.optional_destination(result, RegisterKind::Bits32)?);
                }
            }
            None => list.resize(count as usize, NO_SLOT),
        }
        for source in sources {
            list.push(self.source(source, RegisterKind::Bits32)?);
        }
        let mut op = Op::new(wide::VECTOR_UPDATE);
        self.address(&mut op, base, offset)?;
        (op.b, op.c) = (update as u32, count);
        self.uses.memory = Some(atomic_use(Space::Global, update.bytes() * count, modifiers));
        op.d = self.list(&list);
        Ok(op)
    }

    /// `vadd4.dtype.atype.btype{.sat|.add} d, a, b, c`
    pub(super) fn video(&mut self, opcode: &str, root: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let function = match &root[..root.len() - 1] {
            "vadd" => Function::Add,
            "vsub" => Function::Subtract,
            "vavrg" => Function::Average,
            "vabsdiff" => Function::Difference,
            "vmin" => Function::Min,
            _ => Function::Max,
        };
        let ([to, from_a, from_b, rest @ ..], [destination, a, b, c]) = (modifiers, operands) else {
            return self.failed(format!("`{opcode}` takes 4 operands"));
        };
        let signed = |ty: &str| ty == "s32";
        let video = Video {
            function,
            bytes: root.ends_with('4'),
            signed: signed(to),
            signed_a: signed(from_a),
            signed_b: signed(from_b),
            saturate: rest == ["sat"],
            accumulate: rest == ["add"],
        };
        let mut op = Op { e: video.to_bits(), ..Op::new(VIDEO) };
        op.d = self.destination(destination, RegisterKind::Bits32)?;
        for (place, operand) in [&mut op.a, &mut op.b, &mut op.c].into_iter().zip([a, b, c]) {
            *place = self.source(operand, RegisterKind::Bits32)?;
        }
        Ok(op)
    }

    /// A move from a clock; nothing for other registers.
    pub(super) fn clock(&mut self, destination: &Operand, source: &str) -> Result<Option<Op>> {
        let Some((_, variants, kind)) = clock::CLOCKS.iter().find(|(name, ..)| *name == source) else {
            return Ok(None);
        };
        let mut op = Op::new(*variants);
        op.d = self.destination(destination, *kind)?;
        Ok(Some(op))
    }

    /// What only says how memory is to be cached. The address is not looked at.
    pub(super) fn hint(&mut self, operands: &[Operand]) -> Result<Op> {
        for operand in operands {
            if let Operand::Address(base, _) = operand
                && let Operand::Symbol(name, _) = &**base
            {
                self.symbol(name)?;
            }
        }
        Ok(Op::new(control::NOTHING))
    }

    /// `createpolicy`: what it makes is looked at by nobody, and is zero.
    pub(super) fn cache_policy(&mut self, destination: &Operand) -> Result<Op> {
        let Some(form) = form("mov.b64", 1) else { return self.failed("`createpolicy` is not supported") };
        let mut op = Op::new(form.exec);
        op.d = self.destination(destination, RegisterKind::Bits64)?;
        op.a = self.constant(0, RegisterKind::Bits64);
        Ok(op)
    }
}
