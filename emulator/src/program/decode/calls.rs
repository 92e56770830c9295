//! Decodes functions, calls and returns.
//!
//! Every function has a frame in the local memory of a thread: what it returns and takes, its local variables, what it
//! passes to others, and, if it may be active already when it is called, the registers of that activation. A frame
//! starts where the caller's ends. Calls copy arguments and results between the two frames, whether the PTX has them in
//! `.param` variables or in registers.

use super::common::{Layout, Reached, Target};
use super::{Decoder, MAX_LOCAL, Result, STACK};
use crate::ops::{Variants, call, control, memory};
use crate::program::{Call, Callee, Copied, Op, PREDICATE, Slot, Special, Uses};
use crate::ptx::ast::{Function, Operand, RegisterKind, Space};

impl<'k> Decoder<'k> {
    // --- frames ---

    /// The slot of the address of the running function's frame.
    pub(super) fn frame(&mut self) -> Result<Slot> {
        let slot = self.special_slot(Special::Frame)?;
        self.frame = Some(slot);
        Ok(slot)
    }

    /// Whether an operand of a `.param` access is in the frame, not in the parameters of the kernel.
    pub(super) fn in_frame(&self, base: &Operand) -> bool {
        match base {
            Operand::Symbol(name, _) => self.symbol(name).is_ok_and(|symbol| symbol.space == Space::Local),
            _ => self.in_callee,
        }
    }

    /// A register with the address of what is at an offset in the frame.
    pub(super) fn frame_address(&mut self, offset: u64, kind: RegisterKind) -> Result<Slot> {
        let variants = match kind {
            RegisterKind::Bits64 => Variants::of::<call::FrameAddress64>(),
            _ => Variants::of::<call::FrameAddress32>(),
        };
        let (a, d) = (self.frame()?, self.new_register(kind)?);
        // What reads the register is told of nothing: it is always written just before.
        self.before.push((Op { a, d, immediate: offset as i64, ..Op::new(variants) }, Uses::default()));
        Ok(d)
    }

    /// A load or store of a register of a formal's size in the frame.
    fn frame_access(&mut self, kind: memory::Kind, slot: Slot, size: u64, offset: u64) -> Result<Op> {
        let Some((ty, register)) = register_of(size) else {
            return self.failed(format!("a register cannot be passed as {size} bytes"));
        };
        let Some((variants, _)) = memory::variants(kind, ty, register, 1) else {
            return self.failed("this cannot be passed in a register");
        };
        let mut op = Op { d: slot, a: self.frame()?, immediate: offset as i64, ..Op::new(variants) };
        op.window = self.windows | memory::ADDRESS_32;
        self.windows += 1;
        Ok(op)
    }

    /// Room in the frame.
    fn reserve(&mut self, size: u64, align: u64) -> Result<u64> {
        let start = self.frame_end.checked_next_multiple_of(align.max(1));
        let end = start.and_then(|start| start.checked_add(size)).filter(|end| *end <= MAX_LOCAL);
        match (start, end) {
            (Some(start), Some(end)) => {
                self.frame_end = end;
                Ok(start)
            }
            _ => self.failed("the function needs too much local memory"),
        }
    }

    pub(super) fn lay_out_formals(&mut self) -> Result<()> {
        let signature = &self.kernel.signature;
        let Some((offsets, end)) = Layout::of(signature).offsets().filter(|(_, end)| *end <= MAX_LOCAL) else {
            return self.failed("the parameters are too large");
        };
        for (formal, address) in signature.returns.iter().chain(&signature.params).zip(offsets) {
            let symbol = super::Symbol { space: Space::Local, address };
            self.symbols.insert(&formal.name, symbol);
            self.call_sizes.insert(&formal.name, formal.size);
        }
        self.frame_end = end;
        Ok(())
    }

    pub(super) fn lay_out_call_variables(&mut self) -> Result<()> {
        let function = self.kernel;
        let align = function.call_variables.iter().map(|(variable, _)| variable.align).max();
        let start = self.reserve(0, align.unwrap_or(1))?;
        for (variable, offset) in &function.call_variables {
            let end = start.checked_add(*offset).and_then(|at| at.checked_add(variable.size));
            let Some(end) = end.filter(|end| *end <= MAX_LOCAL) else { return super::does_not_fit(variable) };
            self.frame_end = self.frame_end.max(end);
            let symbol = super::Symbol { space: Space::Local, address: start + offset };
            self.symbols.insert(&variable.name, symbol);
            self.call_sizes.insert(&variable.name, variable.size);
        }
        Ok(())
    }

    // --- functions ---

    /// Decodes a function that the kernel reaches.
    pub(super) fn device_function(&mut self, place: usize, reached: Reached) -> Result<()> {
        let function: &'k Function = &self.common.all[reached.number];
        let layout = self.layout(Layout::of(&function.signature));
        let entry = self.code.len() as u32;
        self.callees.push(Callee { entry, layout, frame_bytes: 0, variables: 0..0, saved: None });
        self.begin(function, place)?;
        let offsets = Layout::of(&function.signature).offsets().map(|(offsets, _)| offsets).unwrap_or_default();
        let returns = function.signature.returns.len();
        for &(formal, register) in function.register_formals.iter().filter(|(formal, _)| *formal >= returns) {
            let size = function.signature.params[formal - returns].size;
            let slot = self.slots[register as usize];
            let op = self.frame_access(memory::Kind::LoadLocal, slot, size, offsets[formal])?;
            let uses = Uses { writes: vec![slot], ..Uses::default() };
            self.push(op, uses, "ld.param", function.line);
        }
        self.body()?;
        if reached.recursive {
            let mut saved = std::mem::take(&mut self.own);
            let bytes = 8 * saved.longs.len() + 4 * saved.words.len() + saved.predicates.len();
            saved.at = self.reserve(bytes as u64, 8)?;
            self.callees[place].saved = Some(saved);
        }
        // A frame has at least some bytes, so that calls without end find the end of the stack.
        self.frame_end = self.frame_end.max(1);
        self.callees[place].frame_bytes = self.finish_frame()?;
        Ok(())
    }

    fn push(&mut self, op: Op, uses: Uses, opcode: &str, line: u32) {
        self.code.push(op);
        self.use_list.push(uses);
        let location = crate::ptx::ast::Location { ptx_line: line, ..Default::default() };
        self.sources.push((opcode.to_owned(), location));
    }

    /// Decodes the instructions of the function that was begun.
    pub(super) fn body(&mut self) -> Result<()> {
        let function = self.kernel;
        let first_table = self.jump_tables.len();
        let start = self.code.len();
        let mut starts = Vec::with_capacity(function.body.len() + 1);
        let mut branches = Vec::new();
        for instruction in &function.body {
            starts.push(self.code.len() as u32);
            let mut op = self.instruction(instruction)?;
            // What comes before writes nothing that lanes would miss which do not execute the instruction.
            let before = std::mem::take(&mut self.before);
            let mut after = std::mem::take(&mut self.after);
            let mut uses = std::mem::take(&mut self.uses);
            uses.used_bytes = instruction.used_bytes;
            if let Some((register, negated)) = instruction.guard {
                op.guard = self.slots[register as usize] * 2 + u32::from(negated);
                uses.reads.push(self.slots[register as usize] | PREDICATE);
                after.iter_mut().for_each(|(other, _)| other.guard = op.guard);
            }
            let at = self.code.len() + before.len();
            match instruction.opcode.as_str() {
                "bra" | "bra.uni" => branches.push(at),
                "call" | "call.uni" => {
                    if let Some(call) = self.calls.last_mut() {
                        call.return_to = at as u32 + 1;
                    }
                }
                _ => {}
            }
            for (op, uses) in before.into_iter().chain([(op, uses)]).chain(after) {
                self.code.push(op);
                self.use_list.push(uses);
                self.sources.push((instruction.opcode.clone(), instruction.location));
            }
        }
        starts.push(self.code.len() as u32);
        let op = self.return_to_caller()?;
        let location = function.body.last().map(|last| last.location).unwrap_or_default();
        for (op, uses) in std::mem::take(&mut self.before).into_iter().chain([(op, Uses::default())]) {
            self.code.push(op);
            self.use_list.push(uses);
            self.sources.push(("ret".to_owned(), location));
        }
        for at in branches {
            let target = self.code[at].immediate as usize;
            self.code[at].immediate = i64::from(starts[target]);
        }
        for target in self.jump_tables[first_table..].iter_mut().flatten() {
            *target = starts[*target as usize];
        }
        let room = self.common.room.get().checked_sub(self.code.len() - start);
        match room {
            Some(room) => self.common.room.set(room),
            None => return self.failed("the kernels of the module have too many instructions with their functions"),
        }
        Ok(())
    }

    /// The size of the frame, once all that is in it is known.
    pub(super) fn finish_frame(&mut self) -> Result<u64> {
        let frame_bytes = self.frame_end.checked_next_multiple_of(self.frame_align);
        let Some(frame_bytes) = frame_bytes.filter(|bytes| *bytes <= MAX_LOCAL) else {
            return self.failed("the function needs too much local memory");
        };
        // Those that are not finished yet are this function's.
        for call in self.calls.iter_mut().rev().take_while(|call| call.frame_bytes == 0) {
            call.frame_bytes = frame_bytes;
        }
        Ok(frame_bytes)
    }

    /// Gives calls the operations that they go to.
    pub(super) fn link_calls(&mut self) {
        for &(at, place) in &self.direct_calls {
            self.code[at].immediate = i64::from(self.callees[place as usize].entry);
        }
    }

    /// The local memory that a thread needs: its own frame, and those of the calls that are active at once.
    pub(super) fn stack(&self, kernel: &'k Function, reached: &[Reached], frame_bytes: u64) -> Result<u64> {
        let mut needs: Vec<u64> = Vec::with_capacity(reached.len());
        for (place, function) in reached.iter().enumerate() {
            let callees = self.common.callees(&self.common.all[function.number])?;
            // Callees come first; where they do not, there is a cycle.
            let deepest = callees.iter().filter_map(|number| needs.get(self.places[number] as usize)).max();
            needs.push(self.callees[place].frame_bytes.saturating_add(deepest.copied().unwrap_or(0)));
        }
        let mut bytes = frame_bytes.saturating_add(needs.iter().copied().max().unwrap_or(0));
        if reached.iter().any(|function| function.recursive) {
            bytes = bytes.saturating_add(STACK);
        }
        if bytes > MAX_LOCAL {
            let message = format!("the kernel and the functions that it calls need {bytes} bytes of local memory");
            return Err(crate::ptx::PtxError::new(kernel.line, message));
        }
        Ok(bytes)
    }

    fn layout(&mut self, layout: Layout) -> u32 {
        let next = self.layouts.len() as u32;
        *self.layouts.entry(layout).or_insert(next)
    }

    // --- calls ---

    /// `call (results), function, (arguments), targets`
    pub(super) fn call(&mut self, instruction: &'k crate::ptx::ast::Instruction) -> Result<Op> {
        let target = self.common.target(self.kernel, instruction)?;
        let (results, rest) = match &instruction.operands[..] {
            [Operand::List(results), rest @ ..] => (&results[..], rest),
            all => (&all[..0], all),
        };
        let arguments = match rest {
            [_, Operand::List(arguments), ..] => &arguments[..],
            _ => &[],
        };
        let layout = match &target {
            Target::Function(number) => Layout::of(&self.common.all[*number].signature),
            Target::Builtin(builtin) => builtin.layout(),
            Target::Any(_, layout) => layout.clone(),
        };
        if layout.returns.len() != results.len() || layout.params.len() != arguments.len() {
            let (takes, gives) = (layout.params.len(), layout.returns.len());
            let message = format!(
                "the function takes {takes} arguments and returns {gives} values, not {} and {}",
                arguments.len(),
                results.len()
            );
            return self.failed(message);
        }
        let Some((offsets, _)) = layout.offsets() else { return self.failed("the parameters are too large") };
        let (at_results, at_arguments) = offsets.split_at(layout.returns.len());
        let mut call = Call::default();
        for ((argument, &bytes), &to) in arguments.iter().zip(&layout.params).zip(at_arguments) {
            let from = self.argument(argument, bytes)?;
            call.arguments.push(Copied { from, to, bytes });
        }
        for ((result, &bytes), &from) in results.iter().zip(&layout.returns).zip(at_results) {
            let to = self.result(result, bytes)?;
            call.results.push(Copied { from, to, bytes });
        }
        call.layout = self.layout(layout);
        self.frame()?;
        let d = self.calls.len() as u32;
        self.calls.push(call);
        match target {
            Target::Builtin(builtin) => Ok(Op { d, ..Op::new(builtin.operation()) }),
            Target::Function(number) => {
                let place = self.places[&number];
                self.direct_calls.push((self.code.len() + self.before.len(), place));
                Ok(Op { d, e: place, ..Op::new(Variants::of::<call::CallFunction>()) })
            }
            Target::Any(..) => {
                let a = self.source(&rest[0], RegisterKind::Bits64)?;
                Ok(Op { d, a, ..Op::new(Variants::of::<call::CallAddress>()) })
            }
        }
    }

    /// Where in the frame a variable is that passes `bytes` bytes; `None` if the operand is no such variable.
    fn passed(&self, operand: &Operand, bytes: u64) -> Result<Option<u64>> {
        let Operand::Symbol(name, 0) = operand else { return Ok(None) };
        match (self.call_sizes.get(name.as_str()), self.symbols.get(name.as_str())) {
            (Some(&size), Some(_)) if size != bytes => {
                self.failed(format!("`{name}` has {size} bytes, and the function takes or returns {bytes}"))
            }
            (Some(_), Some(symbol)) => Ok(Some(symbol.address)),
            _ => Ok(None),
        }
    }

    fn argument(&mut self, operand: &Operand, bytes: u64) -> Result<u64> {
        if let Some(offset) = self.passed(operand, bytes)? {
            return Ok(offset);
        }
        let Some((_, register)) = register_of(bytes) else {
            return self.failed(format!("an argument of {bytes} bytes has to be a `.param` variable"));
        };
        let slot = self.source(operand, register)?;
        let offset = self.reserve(bytes, bytes)?;
        let store = self.frame_access(memory::Kind::StoreLocal, slot, bytes, offset)?;
        self.before.push((store, Uses::default()));
        Ok(offset)
    }

    fn result(&mut self, operand: &Operand, bytes: u64) -> Result<u64> {
        if let Some(offset) = self.passed(operand, bytes)? {
            return Ok(offset);
        }
        let Some((_, register)) = register_of(bytes) else {
            return self.failed(format!("a result of {bytes} bytes has to be a `.param` variable"));
        };
        let offset = self.reserve(bytes, bytes)?;
        if *operand != Operand::Sink {
            let writes = std::mem::take(&mut self.uses.writes);
            let slot = self.destination(operand, register)?;
            let writes = std::mem::replace(&mut self.uses.writes, writes);
            let load = self.frame_access(memory::Kind::LoadLocal, slot, bytes, offset)?;
            self.after.push((load, Uses { writes, ..Uses::default() }));
        }
        Ok(offset)
    }

    /// `ret`: ends a kernel, and a function after its results are in the frame.
    pub(super) fn return_to_caller(&mut self) -> Result<Op> {
        if !self.in_callee {
            return Ok(Op::new(control::EXIT));
        }
        let function = self.kernel;
        let offsets = Layout::of(&function.signature).offsets().map(|(offsets, _)| offsets).unwrap_or_default();
        for &(formal, register) in &function.register_formals {
            if let Some(result) = function.signature.returns.get(formal) {
                let slot = self.slots[register as usize];
                let store = self.frame_access(memory::Kind::StoreLocal, slot, result.size, offsets[formal])?;
                self.before.push((store, Uses::default()));
            }
        }
        Ok(Op::new(Variants::of::<call::Return>()))
    }

    /// `brx.idx index, list`
    pub(super) fn indexed_branch(&mut self, index: &Operand, list: &str) -> Result<Op> {
        let function = self.kernel;
        let Some(names) = function.targets.get(list) else {
            return self.failed(format!("`{list}` is no list of labels"));
        };
        let mut table = Vec::with_capacity(names.len());
        for name in names {
            match self.labels.get(name.as_str()) {
                Some(&target) => table.push(target as u32),
                None => return self.failed(format!("the label `{name}` is not defined")),
            }
        }
        let a = self.source(index, RegisterKind::Bits32)?;
        let d = self.jump_tables.len() as u32;
        self.jump_tables.push(table);
        Ok(Op { a, d, ..Op::new(Variants::of::<call::JumpTo>()) })
    }
}

/// The type of memory accesses and the registers for a formal of some size.
fn register_of(size: u64) -> Option<(&'static str, RegisterKind)> {
    match size {
        1 => Some(("b8", RegisterKind::Bits32)),
        2 => Some(("b16", RegisterKind::Bits32)),
        4 => Some(("b32", RegisterKind::Bits32)),
        8 => Some(("b64", RegisterKind::Bits64)),
        _ => None,
    }
}
