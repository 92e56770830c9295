//! Decodes `mbarrier`, and the arrivals on it that asynchronous copies trigger.

use super::{Decoder, Result};
use crate::ops::mbarrier::{self, Action};
use crate::ops::{async_copy, memory};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    pub(super) fn mbarrier(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let given = |modifier: &str| modifiers.contains(&modifier);
        if given("pending_count") {
            let [destination, state] = operands else {
                return self.failed(format!("`{opcode}` takes a destination and a state"));
            };
            let mut op = Op::new(mbarrier::PENDING_COUNT);
            op.a = self.source(state, RegisterKind::Bits64)?;
            op.d = self.destination(destination, RegisterKind::Bits32)?;
            return Ok(op);
        }
        let action = match modifiers {
            ["init", ..] => Action::Init,
            ["inval", ..] => Action::Invalidate,
            ["expect_tx", ..] => Action::ExpectTransactions,
            ["complete_tx", ..] => Action::CompleteTransactions,
            ["arrive", "expect_tx", ..] => Action::ArriveExpecting,
            ["arrive", "noComplete", ..] => Action::ArriveNotLast,
            ["arrive", ..] => Action::Arrive,
            ["arrive_drop", "expect_tx", ..] => Action::DropExpecting,
            ["arrive_drop", "noComplete", ..] => Action::DropNotLast,
            ["arrive_drop", ..] => Action::Drop,
            ["test_wait" | "try_wait", "parity", ..] => Action::WaitParity,
            ["test_wait" | "try_wait", ..] => Action::WaitState,
            _ => return self.failed(format!("the instruction `{opcode}` is not supported")),
        };
        let (destination, operands) = match (action, operands) {
            (
                Action::Init | Action::Invalidate | Action::ExpectTransactions | Action::CompleteTransactions,
                operands,
            ) => (None, operands),
            (_, [destination, operands @ ..]) => (Some(destination), operands),
            _ => return self.failed(format!("`{opcode}` takes a destination")),
        };
        let (at, operand) = match (action, operands) {
            (Action::Invalidate | Action::Arrive | Action::Drop, [at]) => (at, None),
            (Action::Invalidate, _) => return self.failed(format!("`{opcode}` takes an address")),
            // How long it may wait is not for an emulator to say.
            (Action::WaitState | Action::WaitParity, [at, operand, hint]) if given("try_wait") => {
                self.source(hint, RegisterKind::Bits32)?;
                (at, Some(operand))
            }
            (_, [at, operand]) => (at, Some(operand)),
            _ => return self.failed(format!("`{opcode}` takes an address and one operand more")),
        };
        let mut op = self.on_mbarrier(opcode, mbarrier::EXECUTE, modifiers, at)?;
        op.c = action as u32;
        let kind = if action == Action::WaitState { RegisterKind::Bits64 } else { RegisterKind::Bits32 };
        op.b = match operand {
            Some(operand) => self.source(operand, kind)?,
            None => NO_SLOT,
        };
        op.d = match (action, destination) {
            (_, None) => NO_SLOT,
            (Action::WaitState | Action::WaitParity, Some(to)) => self.destination(to, RegisterKind::Predicate)?,
            (_, Some(to)) => self.optional_destination(to, RegisterKind::Bits64)?,
        };
        Ok(op)
    }

    /// `cp.async.mbarrier.arrive`
    pub(super) fn arrival_after_copies(&mut self, opcode: &str, modifiers: &[&str], at: &Operand) -> Result<Op> {
        let mut op = self.on_mbarrier(opcode, async_copy::ARRIVE_AFTER, modifiers, at)?;
        op.b = u32::from(modifiers.contains(&"noinc"));
        Ok(op)
    }

    /// An operation on an `mbarrier` at an address.
    fn on_mbarrier(
        &mut self,
        opcode: &str,
        variants: crate::ops::Variants,
        modifiers: &[&str],
        at: &Operand,
    ) -> Result<Op> {
        let Operand::Address(base, offset) = at else {
            return self.failed(format!("`{opcode}` takes an address"));
        };
        let mut op = Op::new(variants);
        self.address(&mut op, base, *offset)?;
        let generic = !modifiers.iter().any(|modifier| modifier.starts_with("shared"));
        if modifiers.contains(&"shared::cluster") {
            op.window |= memory::OF_CLUSTER;
        }
        op.e = if generic { mbarrier::GENERIC } else { 0 };
        if !modifiers.contains(&"relaxed") {
            op.e |= mbarrier::ORDERS;
        }
        Ok(op)
    }
}
