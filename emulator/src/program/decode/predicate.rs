//! Decodes comparisons that are joined with a predicate or have two results, `set`, `lop3` with a predicate, `isspacep`.

use super::{Decoder, Result};
use crate::ops::predicate::{self, Logic, NEGATED};
use crate::ops::{form, memory as access};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

fn logic(name: &str) -> Option<Logic> {
    Some(match name {
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => return None,
    })
}

impl Decoder<'_> {
    /// The operation with a comparison as its part, whose predicate is nobody else's, and the predicate it is joined with.
    fn joined(&mut self, op: &mut Op, comparison: &str, operands: &[Operand], with: Option<Logic>) -> Result<()> {
        let (sources, other) = match (operands, with) {
            ([a, b], None) => ([a, b], None),
            ([a, b, other], Some(logic)) => ([a, b], Some((logic, other))),
            _ => return self.failed(format!("`{comparison}` has a wrong number of operands")),
        };
        let Some(form) = form(comparison, 2).filter(|form| form.destination == RegisterKind::Predicate) else {
            return self.failed(format!("the comparison `{comparison}` is not supported"));
        };
        let mut part = Op::new(form.exec);
        part.d = self.new_register(RegisterKind::Predicate)?;
        part.a = self.source(sources[0], form.sources[0])?;
        part.b = self.source(sources[1], form.sources[1])?;
        op.a = self.part(part);
        // Alone, it is joined with the predicate that always holds.
        (op.b, op.c) = (Logic::And as u32, 1);
        if let Some((logic, other)) = other {
            let (slot, negated) = self.negatable(other)?;
            (op.b, op.c) = (logic as u32 | if negated != 0 { NEGATED } else { 0 }, slot);
        }
        Ok(())
    }

    /// `setp.cmp{.bool}{.ftz}.type p{|q}, a, b{, {!}c}`; nothing for what a form describes.
    pub(super) fn compare(&mut self, modifiers: &[&str], operands: &[Operand]) -> Result<Option<Op>> {
        let [compare, rest @ ..] = modifiers else { return Ok(None) };
        let with = rest.first().and_then(|name| logic(name));
        let rest = if with.is_some() { &rest[1..] } else { rest };
        let [destination, sources @ ..] = operands else { return Ok(None) };
        if with.is_none() && !matches!(destination, Operand::Pair(..)) {
            return Ok(None);
        }
        let mut op = Op::new(predicate::COMPARE);
        self.joined(&mut op, &format!("setp.{compare}.{}", rest.join(".")), sources, with)?;
        if let Operand::Pair(first, second) = destination {
            op.d = self.optional_destination(first, RegisterKind::Predicate)?;
            op.e = self.optional_destination(second, RegisterKind::Predicate)?;
        } else {
            op.d = self.destination(destination, RegisterKind::Predicate)?;
        }
        Ok(Some(op))
    }

    /// `set.cmp{.bool}{.ftz}.dtype.stype d, a, b{, {!}c}`; nothing for what a form describes.
    pub(super) fn compare_to_number(
        &mut self,
        opcode: &str,
        modifiers: &[&str],
        operands: &[Operand],
    ) -> Result<Option<Op>> {
        let ([compare, rest @ .., to, from], [destination, sources @ ..]) = (modifiers, operands) else {
            return Ok(None);
        };
        if form(opcode, 2).is_some() {
            return Ok(None);
        }
        let with = rest.first().and_then(|name| logic(name));
        let rest = if with.is_some() { &rest[1..] } else { rest };
        let ftz = if rest.is_empty() { "" } else { ".ftz" };
        let mut op = Op::new(predicate::COMPARE_TO_NUMBER);
        op.immediate = match *to {
            "u32" | "s32" => i64::from(u32::MAX),
            _ => i64::from(1f32.to_bits()),
        };
        self.joined(&mut op, &format!("setp.{compare}{ftz}.{from}"), sources, with)?;
        op.d = self.destination(destination, RegisterKind::Bits32)?;
        Ok(Some(op))
    }

    /// `lop3.bool.b32 d|p, a, b, c, table, {!}q`
    pub(super) fn logic_with_predicate(&mut self, with: &str, operands: &[Operand]) -> Result<Op> {
        let (Some(form), Some(with)) = (form("lop3.b32", 4), logic(with)) else {
            return self.failed("`lop3` with a predicate is not supported");
        };
        let [Operand::Pair(destination, result), a, b, c, table, other] = operands else {
            return self.failed("`lop3` with a predicate takes two destinations, 4 operands and a predicate");
        };
        let mut part = Op::new(form.exec);
        part.d = self.destination(destination, RegisterKind::Bits32)?;
        for (place, operand) in [&mut part.a, &mut part.b, &mut part.c, &mut part.e].into_iter().zip([a, b, c, table]) {
            *place = self.source(operand, RegisterKind::Bits32)?;
        }
        let mut op = Op::new(predicate::LOGIC_WITH_PREDICATE);
        op.a = self.part(part);
        let (slot, negated) = self.negatable(other)?;
        (op.b, op.c) = (with as u32 | if negated != 0 { NEGATED } else { 0 }, slot);
        op.d = self.destination(result, RegisterKind::Predicate)?;
        op.e = NO_SLOT;
        Ok(op)
    }

    /// `isspacep.space p, a`
    pub(super) fn is_space(&mut self, space: &str, destination: &Operand, address: &Operand) -> Result<Op> {
        let base = match space {
            "global" => 0,
            "shared" | "shared::cta" | "shared::cluster" => access::SHARED_BASE,
            "local" => access::LOCAL_BASE,
            "param" | "param::entry" => access::PARAMETER_BASE,
            _ => return self.failed(format!("`isspacep` for `{space}` is not supported")),
        };
        let mut op = Op { immediate: base as i64, ..Op::new(predicate::IS_SPACE) };
        if matches!(space, "shared" | "shared::cta") {
            op.e = 1;
        }
        op.d = self.destination(destination, RegisterKind::Predicate)?;
        op.a = self.source(address, RegisterKind::Bits64)?;
        Ok(op)
    }
}
