//! Decodes what the lanes of a warp do together: shuffles, votes, matches and reductions.

use super::{Decoder, Result};
use crate::ops::shuffle::{COLLECTIVELY, Collective};
use crate::program::Op;
use crate::ptx::ast::{Operand, RegisterKind};

impl Decoder<'_> {
    pub(super) fn collective(&mut self, collective: Collective, members: &Operand) -> Result<Op> {
        let mut op = Op::new(COLLECTIVELY);
        op.immediate = collective as i64;
        op.window = self.source(members, RegisterKind::Bits32)?;
        Ok(op)
    }

    pub(super) fn shuffle(&mut self, mode: &str, operands: &[Operand]) -> Result<Op> {
        let collective = match mode {
            "up" => Collective::ShuffleUp,
            "down" => Collective::ShuffleDown,
            "bfly" => Collective::ShuffleXor,
            "idx" => Collective::ShuffleIndex,
            _ => return self.failed(format!("`shfl.sync` has no mode `{mode}`")),
        };
        let [destination, a, b, c, members] = operands else {
            return self.failed("`shfl.sync` takes 5 operands");
        };
        let mut op = self.collective(collective, members)?;
        if let Operand::Pair(value, in_range) = destination {
            op.d = self.destination(value, RegisterKind::Bits32)?;
            op.e = self.optional_destination(in_range, RegisterKind::Predicate)?;
        } else {
            op.d = self.destination(destination, RegisterKind::Bits32)?;
        }
        op.a = self.source(a, RegisterKind::Bits32)?;
        op.b = self.source(b, RegisterKind::Bits32)?;
        op.c = self.source(c, RegisterKind::Bits32)?;
        Ok(op)
    }

    pub(super) fn vote(
        &mut self,
        mode: &str,
        ty: &str,
        destination: &Operand,
        predicate: &Operand,
        members: &Operand,
    ) -> Result<Op> {
        let (collective, kind) = match (mode, ty) {
            ("all", "pred") => (Collective::VoteAll, RegisterKind::Predicate),
            ("any", "pred") => (Collective::VoteAny, RegisterKind::Predicate),
            ("uni", "pred") => (Collective::VoteUniform, RegisterKind::Predicate),
            ("ballot", "b32") => (Collective::Ballot, RegisterKind::Bits32),
            _ => return self.failed(format!("`vote.sync` has no mode `{mode}.{ty}`")),
        };
        let mut op = self.collective(collective, members)?;
        op.d = self.destination(destination, kind)?;
        (op.a, op.e) = self.negatable(predicate)?;
        Ok(op)
    }

    /// `elect.sync d|p, mask`
    pub(super) fn election(&mut self, destination: &Operand, members: &Operand) -> Result<Op> {
        let Operand::Pair(lane, elected) = destination else {
            return self.failed("`elect.sync` has two results");
        };
        let mut op = self.collective(Collective::Elect, members)?;
        op.d = self.optional_destination(lane, RegisterKind::Bits32)?;
        op.e = self.optional_destination(elected, RegisterKind::Predicate)?;
        Ok(op)
    }

    /// `redux.sync.op.type d, a, mask`
    pub(super) fn reduction(&mut self, operation: &str, operands: &[Operand]) -> Result<Op> {
        let collective = match operation {
            "add.u32" | "add.s32" => Collective::ReduceAdd,
            "min.u32" => Collective::ReduceMinUnsigned,
            "max.u32" => Collective::ReduceMaxUnsigned,
            "min.s32" => Collective::ReduceMinSigned,
            "max.s32" => Collective::ReduceMaxSigned,
            "and.b32" => Collective::ReduceAnd,
            "or.b32" => Collective::ReduceOr,
            "xor.b32" => Collective::ReduceXor,
            _ => return self.failed(format!("`redux.sync` has no operation `{operation}` that is supported")),
        };
        let [destination, a, members] = operands else {
            return self.failed("`redux.sync` takes 3 operands");
        };
        let mut op = self.collective(collective, members)?;
        op.d = self.destination(destination, RegisterKind::Bits32)?;
        op.a = self.source(a, RegisterKind::Bits32)?;
        Ok(op)
    }

    /// `match.any.sync.type d, a, mask` and `match.all.sync.type d|p, a, mask`
    pub(super) fn matching(&mut self, mode: &str, ty: &str, operands: &[Operand]) -> Result<Op> {
        let (collective, kind) = match (mode, ty) {
            ("any", "b32") => (Collective::MatchAny32, RegisterKind::Bits32),
            ("any", "b64") => (Collective::MatchAny64, RegisterKind::Bits64),
            ("all", "b32") => (Collective::MatchAll32, RegisterKind::Bits32),
            ("all", "b64") => (Collective::MatchAll64, RegisterKind::Bits64),
            _ => return self.failed(format!("`match.sync` has no mode `{mode}.{ty}`")),
        };
        let [destination, a, members] = operands else {
            return self.failed("`match.sync` takes 3 operands");
        };
        let mut op = self.collective(collective, members)?;
        match (destination, mode) {
            (Operand::Pair(value, all), "all") => {
                op.d = self.destination(value, RegisterKind::Bits32)?;
                op.e = self.optional_destination(all, RegisterKind::Predicate)?;
            }
            _ => op.d = self.destination(destination, RegisterKind::Bits32)?,
        }
        op.a = self.source(a, kind)?;
        Ok(op)
    }
}
