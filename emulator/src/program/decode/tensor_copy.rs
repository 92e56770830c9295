//! Decodes copies of boxes of tensors, and changes of tensor maps.

use super::{Decoder, Result};
use crate::ops::memory::OF_CLUSTER;
use crate::ops::tensor_copy;
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    /// `cp.async.bulk.tensor` and `cp.reduce.async.bulk.tensor`
    pub(super) fn tensor_copy(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let given = |modifier: &str| modifiers.contains(&modifier);
        let operands = self.without_policy(opcode, given("L2::cache_hint"), operands)?;
        let rank = modifiers.iter().find_map(|modifier| modifier.strip_suffix('d')?.parse().ok()).unwrap_or(0);
        if given("prefetch") {
            let [tensor] = operands else { return self.failed(format!("`{opcode}` takes a tensor map")) };
            self.tensor(opcode, tensor, rank)?;
            return Ok(Op::new(crate::ops::control::NOTHING));
        }
        if given("bulk_group") {
            let [tensor, from] = operands else {
                return self.failed(format!("`{opcode}` takes a tensor map and an address"));
            };
            let mut op = self.at_address(opcode, tensor_copy::STORE, from)?;
            let mut part = self.tensor(opcode, tensor, rank)?;
            part.c = modifiers.iter().find_map(|name| tensor_copy::operation_number(name)).unwrap_or(NO_SLOT);
            op.d = self.part(part);
            return Ok(op);
        }
        let [to, tensor, barrier, rest @ ..] = operands else {
            return self.failed(format!("`{opcode}` takes an address, a tensor map and the address of an mbarrier"));
        };
        let mut op = self.at_address(opcode, tensor_copy::LOAD, to)?;
        let part = self.tensor(opcode, tensor, rank)?;
        op.d = self.part(part);
        op.e = self.barrier_part(opcode, barrier, NO_SLOT)?;
        op.c = match rest {
            [mask] if given("multicast::cluster") => self.source(mask, RegisterKind::Bits32)?,
            [] if !given("multicast::cluster") => NO_SLOT,
            _ => return self.failed(format!("`{opcode}` has other operands")),
        };
        Ok(op)
    }

    /// The part of an operation that has a tensor map and so many coordinates.
    fn tensor(&mut self, opcode: &str, operand: &Operand, rank: usize) -> Result<Op> {
        let Operand::Tensor(base, offset, coordinates) = operand else {
            return self.failed(format!("`{opcode}` takes a tensor map with coordinates"));
        };
        if coordinates.len() != rank {
            return self.failed(format!("`{opcode}` takes {rank} coordinates, not {}", coordinates.len()));
        }
        let mut op = Op::new(tensor_copy::LOAD);
        self.address(&mut op, base, *offset)?;
        let mut list = Vec::new();
        for coordinate in coordinates {
            list.push(self.source(coordinate, RegisterKind::Bits32)?);
        }
        (op.d, op.b) = (self.list(&list), rank as u32);
        Ok(op)
    }

    /// `tensormap.cp_fenceproxy`
    pub(super) fn tensor_map_copy(&mut self, opcode: &str, to: &Operand, from: &Operand) -> Result<Op> {
        let mut op = self.at_address(opcode, tensor_copy::COPY_MAP, to)?;
        let source = self.at_address(opcode, tensor_copy::COPY_MAP, from)?;
        op.d = self.part(source);
        Ok(op)
    }

    /// `tensormap.replace.tile.field{.space}.b1024.type [address]{, dimension}, value`
    pub(super) fn replace_in_tensor_map(
        &mut self,
        opcode: &str,
        modifiers: &[&str],
        operands: &[Operand],
    ) -> Result<Op> {
        let field = modifiers.iter().find_map(|name| tensor_copy::field_number(name));
        let Some((Operand::Address(base, offset), rest)) = operands.split_first() else {
            return self.failed(format!("`{opcode}` takes an address"));
        };
        let (dimension, value) = match rest {
            [Operand::Immediate(dimension), value] => (*dimension as u32, value),
            [value] => (0, value),
            _ => return self.failed(format!("`{opcode}` takes an address, maybe a dimension, and a value")),
        };
        let mut op = Op::new(tensor_copy::REPLACE);
        self.address(&mut op, base, *offset)?;
        if modifiers.contains(&"shared::cta") {
            op.window |= OF_CLUSTER;
        }
        let wide = modifiers.last() == Some(&"b64");
        op.b = self.source(value, if wide { RegisterKind::Bits64 } else { RegisterKind::Bits32 })?;
        (op.c, op.e, op.d) = (field.unwrap_or(NO_SLOT), dimension, u32::from(wide));
        Ok(op)
    }
}
