//! Decodes products of matrices that four warps hold together.

use super::{Decoder, Result};
use crate::ops::control;
use crate::ops::matrix::Element;
use crate::ops::wgmma::{self, A_REGISTERS, Product};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    pub(super) fn wgmma(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        match (modifiers, operands) {
            // Registers are ready when they are written.
            (["fence", ..], []) => return Ok(Op::new(control::NOTHING)),
            (["commit_group", ..], []) => return Ok(Op::new(wgmma::COMMIT)),
            (["wait_group", ..], [Operand::Immediate(groups)]) => {
                let immediate = i64::try_from(*groups).unwrap_or(i64::MAX);
                return Ok(Op { immediate, ..Op::new(wgmma::WAIT_GROUP) });
            }
            _ => {}
        }
        let unsupported = || format!("the instruction `{opcode}` is not supported");
        let types: Vec<Element> = modifiers.iter().filter_map(|name| Element::parse(name)).collect();
        let n = modifiers.iter().find_map(|shape| shape.strip_prefix("m64n")?.split_once('k')?.0.parse().ok());
        let ([d, a, b], Some(n)) = (&types[..], n) else { return self.failed(unsupported()) };
        let [sum, left, right, scale, immediates @ ..] = operands else {
            return self.failed(format!("`{opcode}` takes a sum, A, B and a scale"));
        };
        let mut product = Product {
            n,
            d: *d,
            a: *a,
            b: *b,
            a_in_registers: matches!(left, Operand::Vector(_)),
            saturate: modifiers.contains(&"satfinite"),
            negated: [false; 2],
            transposed: [false; 2],
        };
        // Scales of floating-point numbers, and of those of 16 bits which way they are, where registers are only one way.
        let scales = if d.is_integer() || *a == Element::B1 { 0 } else { 2 };
        let ways = if matches!(a, Element::F16 | Element::Bf16) { 2 - usize::from(product.a_in_registers) } else { 0 };
        if immediates.len() != scales + ways {
            return self.failed(format!("`{opcode}` takes {} numbers at its end", scales + ways));
        }
        for (place, operand) in immediates.iter().enumerate() {
            let Operand::Immediate(value) = operand else {
                return self.failed(format!("`{opcode}` takes constants at its end"));
            };
            match (place < scales, *value as i64) {
                (true, 1) | (false, 0) => {}
                (true, -1) => product.negated[place] = true,
                (false, 1) => product.transposed[place - scales + 2 - ways] = true,
                _ => return self.failed(format!("`{opcode}` has a constant {} at its end", *value as i64)),
            }
        }
        let mut list = product.to_list().to_vec();
        let vector = |operand: &Operand| match operand {
            Operand::Vector(parts) => parts.clone(),
            single => vec![single.clone()],
        };
        let sums = vector(sum);
        if sums.len() != product.d_registers() {
            return self.failed(format!(
                "`{opcode}` has a sum of {} registers, not {}",
                product.d_registers(),
                sums.len()
            ));
        }
        for part in &sums {
            // What it was before counts only if the scale says so, and need not be defined otherwise.
            list.push(self.destination(part, RegisterKind::Bits32)?);
        }
        let mut op = Op::new(wgmma::MULTIPLY);
        if product.a_in_registers {
            let parts = vector(left);
            if parts.len() != A_REGISTERS {
                return self.failed(format!("`{opcode}` has A in {A_REGISTERS} registers, not {}", parts.len()));
            }
            for part in &parts {
                list.push(self.source(part, RegisterKind::Bits32)?);
            }
        } else {
            op.a = self.source(left, RegisterKind::Bits64)?;
            list.extend([NO_SLOT; A_REGISTERS]);
        }
        op.b = self.source(right, RegisterKind::Bits64)?;
        (op.c, op.e) = self.negatable(scale)?;
        op.d = self.list(&list);
        Ok(op)
    }
}
