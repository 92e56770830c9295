//! Decodes what the blocks of a cluster do together.

use super::{Decoder, Result};
use crate::ops::cluster;
use crate::program::Op;
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    /// `barrier.cluster.arrive`, which releases if it does not say otherwise, and `barrier.cluster.wait`.
    pub(super) fn cluster_barrier(&mut self, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        if !operands.is_empty() {
            return self.failed("the barrier of a cluster takes no operands");
        }
        if modifiers.contains(&"wait") {
            return Ok(Op::new(cluster::WAIT));
        }
        Ok(Op { immediate: i64::from(!modifiers.contains(&"relaxed")), ..Op::new(cluster::ARRIVE) })
    }

    /// `mapa{.shared::cluster}.type d, a, b` and `getctarank{.shared::cluster}.type d, a`
    pub(super) fn cluster_address(&mut self, root: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let generic = !modifiers.contains(&"shared::cluster");
        let wide = modifiers.last() == Some(&"u64");
        let kind = if wide { RegisterKind::Bits64 } else { RegisterKind::Bits32 };
        match (root, operands) {
            ("mapa", [destination, address, rank]) => {
                let mut op = Op::new(cluster::map(generic, wide));
                op.a = self.source(address, kind)?;
                op.b = self.source(rank, RegisterKind::Bits32)?;
                op.d = self.destination(destination, kind)?;
                Ok(op)
            }
            ("getctarank", [destination, address]) => {
                let mut op = Op::new(cluster::rank(generic, wide));
                op.a = self.source(address, kind)?;
                op.d = self.destination(destination, RegisterKind::Bits32)?;
                Ok(op)
            }
            _ => self.failed(format!("`{root}` has other operands")),
        }
    }
}
