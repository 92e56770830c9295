//! Decodes `cp.async` and its waits.

use super::{Decoder, Result};
use crate::ops::{async_copy, control};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    /// `cp.async.{ca,cg}.shared.global… [dst], [src], bytes{, source bytes or ignore-source}{, policy}`
    pub(super) fn async_copy(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let [
            Operand::Address(to, to_offset),
            Operand::Address(from, from_offset),
            Operand::Immediate(bytes),
            rest @ ..,
        ] = operands
        else {
            return self.failed(format!("`{opcode}` takes two addresses and a number of bytes"));
        };
        if !matches!((modifiers[1], bytes), ("ca", 4 | 8 | 16) | ("cg", 16)) {
            return self.failed(format!("`{opcode}` cannot copy {bytes} bytes"));
        }
        let rest = match (modifiers.contains(&"L2::cache_hint"), rest) {
            (true, [rest @ .., policy]) => {
                self.source(policy, RegisterKind::Bits64)?;
                rest
            }
            (true, []) => return self.failed(format!("`{opcode}` takes a cache policy")),
            (false, rest) => rest,
        };
        let mut source = Op::new(control::NOTHING);
        self.address(&mut source, from, *from_offset)?;
        let mut op = Op::new(async_copy::ISSUE);
        self.address(&mut op, to, *to_offset)?;
        op.b = *bytes as u32;
        (op.c, op.e) = match rest {
            [] => (NO_SLOT, NO_SLOT),
            [operand] if self.is_predicate(operand) => {
                let (slot, negated) = self.negatable(operand)?;
                (NO_SLOT, slot * 2 + negated)
            }
            [operand] => (self.source(operand, RegisterKind::Bits32)?, NO_SLOT),
            _ => return self.failed(format!("`{opcode}` has too many operands")),
        };
        op.d = self.part(source);
        Ok(op)
    }

    /// `cp.async.wait_group n`
    pub(super) fn async_wait(&mut self, groups: &Operand) -> Result<Op> {
        let Operand::Immediate(groups) = groups else {
            return self.failed("`cp.async.wait_group` takes a constant number of groups");
        };
        let immediate = i64::try_from(*groups).unwrap_or(i64::MAX);
        Ok(Op { immediate, ..Op::new(async_copy::WAIT_GROUP) })
    }

    fn is_predicate(&self, operand: &Operand) -> bool {
        matches!(operand, Operand::Register(register) | Operand::NotRegister(register)
            if self.kernel.registers[*register as usize] == RegisterKind::Predicate)
    }

    /// Keeps an operation that another one is made of. Returns its number.
    pub(super) fn part(&mut self, op: Op) -> u32 {
        self.parts.push(op);
        self.parts.len() as u32 - 1
    }
}
