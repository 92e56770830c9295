//! Decodes bulk copies, and asynchronous stores and reductions to the shared memory of the cluster.

use super::{Decoder, Result};
use crate::ops::bulk;
use crate::ops::memory::OF_CLUSTER;
use crate::ops::reduction::Reduction;
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    /// `cp.async.bulk` and `cp.reduce.async.bulk`, and the waits for their groups.
    pub(super) fn bulk_copy(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let given = |modifier: &str| modifiers.contains(&modifier);
        match (modifiers, operands) {
            (["async", "bulk", "commit_group"], []) => return Ok(Op::new(bulk::COMMIT)),
            (["async", "bulk", "wait_group", ..], [Operand::Immediate(groups)]) => {
                let immediate = i64::try_from(*groups).unwrap_or(i64::MAX);
                return Ok(Op { immediate, ..Op::new(bulk::WAIT_GROUP) });
            }
            (["async", "bulk", "prefetch", ..], [_, _, ..]) => return self.hint(operands),
            _ => {}
        }
        let operands = self.without_policy(opcode, given("L2::cache_hint"), operands)?;
        let reduction = match self.reduction_of(modifiers) {
            None if modifiers[0] == "reduce" => {
                return self.failed(format!("the instruction `{opcode}` is not supported"));
            }
            reduction => reduction.unwrap_or(NO_SLOT),
        };
        if given("bulk_group") {
            let [to, from, bytes] = operands else {
                return self.failed(format!("`{opcode}` takes two addresses and a number of bytes"));
            };
            let mut op = self.at_address(opcode, bulk::TO_GLOBAL, to)?;
            let source = self.at_address(opcode, bulk::TO_GLOBAL, from)?;
            op.d = self.part(source);
            op.b = self.source(bytes, RegisterKind::Bits32)?;
            op.c = reduction;
            return Ok(op);
        }
        let [to, from, bytes, barrier, rest @ ..] = operands else {
            return self.failed(format!("`{opcode}` takes two addresses, a number of bytes and that of an mbarrier"));
        };
        let mut op = self.at_address(opcode, bulk::TO_SHARED, to)?;
        let mut source = self.at_address(opcode, bulk::TO_SHARED, from)?;
        source.b = u32::from(!given("global"));
        op.d = self.part(source);
        op.b = self.source(bytes, RegisterKind::Bits32)?;
        op.e = self.barrier_part(opcode, barrier, reduction)?;
        op.c = match rest {
            [mask] if given("multicast::cluster") => self.source(mask, RegisterKind::Bits32)?,
            [] if !given("multicast::cluster") => NO_SLOT,
            _ => return self.failed(format!("`{opcode}` has other operands")),
        };
        Ok(op)
    }

    /// `st.async` and `red.async`
    pub(super) fn async_store(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let [to, values, barrier] = operands else {
            return self.failed(format!("`{opcode}` takes an address, values, and the address of an mbarrier"));
        };
        let values = match values {
            Operand::Vector(parts) => &parts[..],
            single => std::slice::from_ref(single),
        };
        let count = match modifiers.iter().find(|modifier| matches!(**modifier, "v2" | "v4")) {
            Some(&"v2") => 2,
            Some(_) => 4,
            None => 1,
        };
        if values.len() != count {
            return self.failed(format!("`{opcode}` takes {count} values, not {}", values.len()));
        }
        let wide = modifiers.last().is_some_and(|ty| ty.ends_with("64"));
        let kind = if wide { RegisterKind::Bits64 } else { RegisterKind::Bits32 };
        let reduction = if opcode.starts_with("red") { self.reduction_of(modifiers) } else { Some(NO_SLOT) };
        let Some(reduction) = reduction else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let mut op = self.at_address(opcode, bulk::STORE_ASYNC, to)?;
        let mut list = Vec::new();
        for value in values {
            list.push(self.source(value, kind)?);
        }
        op.d = self.list(&list);
        (op.b, op.c) = (list.len() as u32, if wide { 8 } else { 4 });
        op.e = self.barrier_part(opcode, barrier, reduction)?;
        Ok(op)
    }

    /// The part of an operation that has the address of its `mbarrier`, and a reduction.
    pub(super) fn barrier_part(&mut self, opcode: &str, barrier: &Operand, reduction: u32) -> Result<u32> {
        let op = Op { b: reduction, ..self.at_address(opcode, bulk::TO_SHARED, barrier)? };
        Ok(self.part(op))
    }

    /// An operation at an address, in shared memory maybe that of another block.
    pub(super) fn at_address(&mut self, opcode: &str, variants: crate::ops::Variants, at: &Operand) -> Result<Op> {
        let Operand::Address(base, offset) = at else {
            return self.failed(format!("`{opcode}` takes an address there"));
        };
        let mut op = Op::new(variants);
        self.address(&mut op, base, *offset)?;
        op.window |= OF_CLUSTER;
        Ok(op)
    }

    /// Without the policy of a cache hint, if there is one.
    pub(super) fn without_policy<'o>(
        &mut self,
        opcode: &str,
        hint: bool,
        operands: &'o [Operand],
    ) -> Result<&'o [Operand]> {
        match operands {
            [operands @ .., policy] if hint => {
                self.source(policy, RegisterKind::Bits64)?;
                Ok(operands)
            }
            [] if hint => self.failed(format!("`{opcode}` takes a cache policy")),
            operands => Ok(operands),
        }
    }

    /// The number of the reduction that modifiers name at their end.
    pub(super) fn reduction_of(&self, modifiers: &[&str]) -> Option<u32> {
        let last = |count: usize| modifiers.len().checked_sub(count).map(|start| modifiers[start..].join("."));
        last(3).filter(|name| name.contains(".noftz.")).or_else(|| last(2)).and_then(|name| Reduction::number(&name))
    }
}
