//! Decodes products of matrices, and the loads and stores of their fragments.

use super::{Decoder, Result};
use crate::ops::matrix::{self, Element, Fragment, Product, Shape};
use crate::ops::matrix_moves::{self, Move};
use crate::ops::memory::{Generic, Global, Shared};
use crate::program::{NO_SLOT, Op};
use crate::ptx::ast::{Operand, RegisterKind};

/// `m16n8k16`
fn shape(text: &str) -> Option<Shape> {
    let (m, rest) = text.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some(Shape { m: m.parse().ok()?, n: n.parse().ok()?, k: k.parse().ok()? })
}

/// The registers of an operand: `{a, b}`, or one alone.
fn parts(operand: &Operand) -> &[Operand] {
    match operand {
        Operand::Vector(parts) => parts,
        single => std::slice::from_ref(single),
    }
}

impl Decoder<'_> {
    /// `mma.sync.aligned.shape.row.col{.satfinite}.dtype.atype.btype.ctype{.and.popc, .xor.popc} d, a, b, c`
    pub(super) fn mma(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let saturate = modifiers.contains(&"satfinite");
        let exclusive = modifiers.contains(&"xor");
        let aside = ["satfinite", "kind::f8f6f4", "xor", "and", "popc"];
        let rest: Vec<&str> = modifiers.iter().copied().filter(|modifier| !aside.contains(modifier)).collect();
        let ["sync", "aligned", shape_name, "row", "col", d, a, b, c] = rest[..] else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let (Some(shape), Some(d), Some(a), Some(b), Some(c)) =
            (shape(shape_name), Element::parse(d), Element::parse(a), Element::parse(b), Element::parse(c))
        else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let product = Product { shape, d, a, b, c, saturate, exclusive };
        let counts = product.registers();
        self.product(opcode, product, counts, operands)
    }

    /// `wmma.mma.sync.aligned.alayout.blayout.shape.dtype[.atype.btype].ctype[.satfinite] d, a, b, c`. The layouts are
    /// those of the loads; fragments are the same for all.
    pub(super) fn wmma(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let saturate = modifiers.contains(&"satfinite");
        let rest: Vec<&str> = modifiers.iter().copied().filter(|m| *m != "satfinite").collect();
        let (shape_name, d, a, b, c) = match rest[..] {
            ["mma", "sync", "aligned", _, _, shape, d, c] => (shape, d, "f16", "f16", c),
            ["mma", "sync", "aligned", _, _, shape, d, a, b, c] => (shape, d, a, b, c),
            _ => return self.failed(format!("the instruction `{opcode}` is not supported")),
        };
        let (Some(shape), Some(d), Some(a), Some(b), Some(c)) =
            (shape(shape_name), Element::parse(d), Element::parse(a), Element::parse(b), Element::parse(c))
        else {
            return self.failed(format!("the instruction `{opcode}` is not supported"));
        };
        let product = Product { shape, d, a, b, c, saturate, exclusive: false };
        let [of_d, of_a, of_b, of_c] = product.registers();
        let counts = if a == Element::F16 { [of_d, 8, 8, of_c] } else { [of_d, of_a, of_b, of_c] };
        self.product(opcode, product, counts, operands)
    }

    /// A product whose operands have `counts` registers, of which the first ones are used.
    fn product(&mut self, opcode: &str, product: Product, counts: [usize; 4], operands: &[Operand]) -> Result<Op> {
        let [d, a, b, c] = operands else {
            return self.failed(format!("`{opcode}` takes 4 operands"));
        };
        for (operand, count) in [d, a, b, c].into_iter().zip(counts) {
            if parts(operand).len() != count {
                let found = parts(operand).len();
                return self.failed(format!("a matrix of `{opcode}` has {count} registers, not {found}"));
            }
        }
        let mut list = product.to_list().to_vec();
        for part in parts(d) {
            list.push(self.optional_destination(part, RegisterKind::Bits32)?);
        }
        for (operand, count) in [a, b, c].into_iter().zip(&product.registers()[1..]) {
            for part in &parts(operand)[..*count] {
                list.push(self.source(part, RegisterKind::Bits32)?);
            }
        }
        let mut op = Op::new(matrix::multiply(product));
        op.d = self.list(&list);
        Ok(op)
    }

    /// Keeps a list for an operation. Returns where it starts.
    pub(super) fn list(&mut self, list: &[u32]) -> u32 {
        let start = self.lists.len() as u32;
        self.lists.extend_from_slice(list);
        start
    }

    /// `ldmatrix` and `stmatrix`
    pub(super) fn matrices(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let load = opcode.starts_with("ldmatrix");
        let (values, base, offset) = match operands {
            [values, Operand::Address(base, offset)] if load => (values, base, *offset),
            [Operand::Address(base, offset), values] if !load => (values, base, *offset),
            _ => return self.failed(format!("`{opcode}` takes registers and an address")),
        };
        let count = if modifiers.contains(&"x4") {
            4
        } else if modifiers.contains(&"x2") {
            2
        } else {
            1
        };
        if parts(values).len() != count {
            return self.failed(format!("`{opcode}` has {count} registers, not {}", parts(values).len()));
        }
        let mut list = Vec::new();
        for part in parts(values) {
            let kind = RegisterKind::Bits32;
            list.push(if load { self.optional_destination(part, kind)? } else { self.source(part, kind)? });
        }
        let mut op = Op::new(if load { matrix_moves::LOAD_MATRICES } else { matrix_moves::STORE_MATRICES });
        self.address(&mut op, base, offset)?;
        op.d = self.list(&list);
        op.e = count as u32;
        op.c = if modifiers.contains(&"trans") { matrix_moves::TRANSPOSED } else { 0 };
        if !modifiers.iter().any(|modifier| matches!(*modifier, "shared" | "shared::cta")) {
            op.c |= matrix_moves::GENERIC;
        }
        Ok(op)
    }

    /// `movmatrix.sync.aligned.m8n8.trans.b16 d, a`
    pub(super) fn transposition(&mut self, destination: &Operand, source: &Operand) -> Result<Op> {
        let mut op = Op::new(matrix_moves::TRANSPOSE_MATRIX);
        op.d = self.destination(destination, RegisterKind::Bits32)?;
        op.a = self.source(source, RegisterKind::Bits32)?;
        Ok(op)
    }

    /// `wmma.load.{a,b,c}.sync.aligned.layout.shape{.space}.type r, [p]{, stride}` and `wmma.store.d. … [p], r{, stride}`
    pub(super) fn fragment(&mut self, opcode: &str, modifiers: &[&str], operands: &[Operand]) -> Result<Op> {
        let unsupported = || format!("the instruction `{opcode}` is not supported");
        let [action, which, "sync", "aligned", layout, shape_name, space @ .., ty] = modifiers else {
            return self.failed(unsupported());
        };
        let (Some(shape), Some(element)) = (shape(shape_name), Element::parse(ty)) else {
            return self.failed(unsupported());
        };
        let which = match *which {
            "a" => Fragment::A,
            "b" => Fragment::B,
            _ => Fragment::Accumulator,
        };
        let load = *action == "load";
        let registers =
            if element == Element::F16 && which != Fragment::Accumulator { 8 } else { shape.registers(which, element) };
        let (values, base, offset, stride) = match operands {
            [values, Operand::Address(base, offset), stride @ ..] if load => (values, base, *offset, stride),
            [Operand::Address(base, offset), values, stride @ ..] if !load => (values, base, *offset, stride),
            _ => return self.failed(format!("`{opcode}` takes registers and an address")),
        };
        if parts(values).len() != registers {
            return self.failed(format!("`{opcode}` has {registers} registers, not {}", parts(values).len()));
        }
        let mut list = Move { shape, which, element, by_column: *layout == "col", registers }.to_list().to_vec();
        for part in parts(values) {
            let kind = RegisterKind::Bits32;
            list.push(if load { self.optional_destination(part, kind)? } else { self.source(part, kind)? });
        }
        let mut op = Op::new(match (space, load) {
            (["global"], true) => matrix_moves::load_fragment::<Global>(),
            (["shared" | "shared::cta"], true) => matrix_moves::load_fragment::<Shared>(),
            ([], true) => matrix_moves::load_fragment::<Generic>(),
            (["global"], false) => matrix_moves::store_fragment::<Global>(),
            (["shared" | "shared::cta"], false) => matrix_moves::store_fragment::<Shared>(),
            ([], false) => matrix_moves::store_fragment::<Generic>(),
            _ => return self.failed(unsupported()),
        });
        self.address(&mut op, base, offset)?;
        op.d = self.list(&list);
        op.b = match stride {
            [] => NO_SLOT,
            [stride] => self.source(stride, RegisterKind::Bits32)?,
            _ => return self.failed(format!("`{opcode}` takes one stride")),
        };
        Ok(op)
    }
}
