//! Which registers may be read before anything has written them.
//!
//! Almost every read comes after a write on every way to it, which is found once, when the code is made ready to be
//! observed. Only the registers for which it is not so are watched while the kernel runs. Compilers copy values that do not
//! matter, and compute with them ahead of the choice that discards them: that is no error, but makes other registers
//! undefined. It is one to branch by such a value, to access memory at it, to store it, or to give it to other lanes.

use crate::program::{NO_SLOT, Op, Program, Register};

/// What an instruction does with registers that are not defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copies {
    /// They are an error.
    No,
    /// They make its results undefined.
    Yes,
    /// Of the two sources those of the lanes that are chosen make its result undefined.
    Chosen,
    /// They make its result undefined, except where the other source is false.
    UnlessFalse,
    /// They make its result undefined, except where the other source is true.
    UnlessTrue,
    /// Those of the lanes that values come from make its result undefined.
    Shuffled,
}

impl Copies {
    pub(super) fn of(opcode: &str) -> Self {
        match opcode.split('.').next() {
            Some("selp") => Self::Chosen,
            Some("and") if opcode == "and.pred" => Self::UnlessFalse,
            Some("or") if opcode == "or.pred" => Self::UnlessTrue,
            Some(
                "abs" | "add" | "addc" | "and" | "bfe" | "bfi" | "bfind" | "bmsk" | "brev" | "clz" | "cnot"
                | "copysign" | "cos" | "cvt" | "div" | "dp2a" | "dp4a" | "ex2" | "fma" | "fns" | "lg2" | "lop3" | "mad"
                | "mad24" | "madc" | "max" | "min" | "mov" | "mul" | "mul24" | "neg" | "not" | "or" | "popc" | "prmt"
                | "rcp" | "rem" | "rsqrt" | "sad" | "set" | "setp" | "shf" | "shl" | "shr" | "sin" | "slct" | "sqrt"
                | "sub" | "subc" | "szext" | "tanh" | "testp" | "xor",
            ) => Self::Yes,
            Some("shfl") => Self::Shuffled,
            _ => Self::No,
        }
    }
}

/// A set of registers, by their number.
#[derive(Clone, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn new(count: usize, full: bool) -> Self {
        Self(vec![if full { u64::MAX } else { 0 }; count.div_ceil(64)])
    }

    fn contains(&self, register: usize) -> bool {
        self.0[register / 64] >> (register % 64) & 1 != 0
    }

    fn insert(&mut self, register: usize) -> bool {
        let new = !self.contains(register);
        self.0[register / 64] |= 1 << (register % 64);
        new
    }

    fn remove(&mut self, register: usize) {
        self.0[register / 64] &= !(1 << (register % 64));
    }

    /// Adds what another one has, and says whether there was anything new.
    fn add(&mut self, other: &Self) -> bool {
        let mut new = false;
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            new |= *other & !*own != 0;
            *own |= other;
        }
        new
    }
}

/// Where execution can go from an operation.
fn successors(program: &Program, pc: usize) -> [Option<usize>; 2] {
    let op: &Op = &program.code[pc];
    let next = Some(pc + 1).filter(|next| *next < program.code.len());
    let guarded = op.guard != NO_SLOT;
    match program.sources[pc].0.split('.').next() {
        Some("bra") => [Some(op.immediate as usize), next.filter(|_| guarded)],
        Some("ret" | "exit" | "trap") => [None, next.filter(|_| guarded)],
        _ => [None, next],
    }
}

/// Whether execution goes only as [`successors`] says: there are no calls and no branches through tables.
fn is_simple(program: &Program) -> bool {
    !program.sources.iter().any(|(opcode, _)| matches!(opcode.split('.').next(), Some("call" | "brx")))
}

/// The registers that have to be watched, sorted.
pub(super) fn watched(program: &Program) -> Vec<Register> {
    let mut all: Vec<Register> =
        program.uses.iter().flat_map(|uses| uses.reads.iter().chain(&uses.writes)).copied().collect();
    all.sort_unstable();
    all.dedup();
    let number = |register: &Register| all.binary_search(register).unwrap_or(0);
    if all.is_empty() {
        return all;
    }
    let mut watched = Set::new(all.len(), false);
    if is_simple(program) {
        visit_undefined(program, all.len(), number, |pc, undefined| {
            for read in program.uses[pc].reads.iter().map(number).filter(|read| undefined.contains(*read)) {
                watched.insert(read);
            }
        });
    } else {
        watched = Set::new(all.len(), true);
    }
    // What is copied from a watched register may be undefined after all.
    loop {
        let mut more = false;
        for (uses, (opcode, _)) in program.uses.iter().zip(&program.sources) {
            if Copies::of(opcode) != Copies::No && uses.reads.iter().any(|read| watched.contains(number(read))) {
                for write in uses.writes.iter().map(number) {
                    more |= watched.insert(write);
                }
            }
        }
        if !more {
            break;
        }
    }
    all.iter().enumerate().filter(|(n, _)| watched.contains(*n)).map(|(_, register)| *register).collect()
}

/// Visits each operation that can be reached, with the registers that may be undefined before it.
fn visit_undefined(
    program: &Program,
    count: usize,
    number: impl Fn(&Register) -> usize,
    mut visit: impl FnMut(usize, &Set),
) {
    // Sets are kept where blocks of operations begin; within a block they follow.
    let mut begins = vec![false; program.code.len()];
    begins[0] = true;
    for pc in 0..program.code.len() {
        let after = successors(program, pc);
        if after != [None, Some(pc + 1)] {
            after.into_iter().flatten().for_each(|next| begins[next] = true);
            if let Some(next) = begins.get_mut(pc + 1) {
                *next = true;
            }
        }
    }
    let mut at: Vec<Option<Set>> = vec![None; program.code.len()];
    at[0] = Some(Set::new(count, true));
    let step = |set: &mut Set, pc: usize| {
        // What a guard may leave out does not define anything.
        if program.code[pc].guard == NO_SLOT {
            program.uses[pc].writes.iter().map(&number).for_each(|write| set.remove(write));
        }
    };
    let mut waiting = vec![0];
    while let Some(start) = waiting.pop() {
        let Some(mut set) = at[start].clone() else { continue };
        let mut pc = start;
        loop {
            step(&mut set, pc);
            let after = successors(program, pc);
            if after == [None, Some(pc + 1)] && !begins[pc + 1] {
                pc += 1;
                continue;
            }
            for next in after.into_iter().flatten() {
                let changed = match &mut at[next] {
                    Some(known) => known.add(&set),
                    unknown => {
                        *unknown = Some(set.clone());
                        true
                    }
                };
                if changed {
                    waiting.push(next);
                }
            }
            break;
        }
    }
    let mut current = None;
    for pc in 0..program.code.len() {
        if begins[pc] {
            current = at[pc].take();
        }
        if let Some(set) = &mut current {
            visit(pc, set);
            step(set, pc);
        }
    }
}
