//! Parses what stands between the braces of a function: registers, variables, labels, instructions.

use std::collections::{HashMap, HashSet};

use super::PtxError;
use super::ast::{Instruction, Location, Operand, RegisterKind, Signature, Space, Variable};
use super::lexer::Kind;
use super::parser::{Parser, Result, type_size};

/// How deep `{ }` may be nested: what looks a name up goes through all that are around it.
const MAX_DEPTH: u32 = 256;

/// What is declared in one `{ }`.
#[derive(Default)]
struct Scope<'a> {
    /// The scope around this one.
    parent: Option<usize>,
    depth: u32,
    registers: HashMap<&'a str, RegisterKind>,
    /// By prefix: how many registers there are, and of which kind.
    families: HashMap<&'a str, (u64, RegisterKind)>,
    /// Registers that were used: the index in the function's registers.
    resolved: HashMap<&'a str, u32>,
    /// Variables, by the name that is theirs alone in the function.
    variables: HashMap<String, String>,
    /// Labels, likewise.
    labels: HashMap<&'a str, String>,
    /// Where the room for call variables ended when the scope was opened.
    call_bytes: u64,
}

impl Scope<'_> {
    fn kind_of(&self, name: &str) -> Option<RegisterKind> {
        if let Some(kind) = self.registers.get(name) {
            return Some(*kind);
        }
        // The digits at the end are the number, or only the last of them are.
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count().min(20);
        (name.len() - digits..name.len()).find_map(|start| {
            let (prefix, number) = name.split_at(start);
            let &(count, kind) = self.families.get(prefix)?;
            let plain = number == "0" || !number.starts_with('0');
            (plain && number.parse::<u64>().is_ok_and(|number| number < count)).then_some(kind)
        })
    }
}

/// Parses what stands between the braces of a function.
pub(super) struct Body<'p, 't, 'a> {
    parser: &'p mut Parser<'t, 'a>,
    scopes: Vec<Scope<'a>>,
    /// The innermost scope that is open.
    scope: usize,
    pub(super) registers: Vec<RegisterKind>,
    pub(super) variables: Vec<Variable>,
    pub(super) call_variables: Vec<(Variable, u64)>,
    call_bytes: u64,
    /// The bytes of a floating-point number in the instruction that is parsed, zero if it takes none.
    float_bytes: u64,
    /// What the last pragma says of the instruction after it.
    used_bytes: Option<u32>,
    pub(super) instructions: Vec<Instruction>,
    pub(super) labels: Vec<(String, usize)>,
    pub(super) prototypes: HashMap<String, Signature>,
    pub(super) targets: HashMap<String, Vec<String>>,
    /// Instructions and target lists with a name that may be a label's, and the scope in which they stand.
    naming: Vec<(Naming, usize)>,
    /// How many names were made for variables and labels of scopes.
    renamed: usize,
    /// The names that variables and labels have.
    names: HashSet<String>,
    /// The formals of the function that are registers.
    formals: HashMap<String, u32>,
    location: Location,
}

/// What may name a label.
enum Naming {
    /// An instruction, by its index.
    Instruction(usize),
    /// A list of targets, by its name.
    Targets(String),
}

impl<'p, 't, 'a> Body<'p, 't, 'a> {
    pub(super) fn new(parser: &'p mut Parser<'t, 'a>) -> Self {
        Self {
            parser,
            scopes: vec![Scope::default()],
            scope: 0,
            registers: Vec::new(),
            variables: Vec::new(),
            call_variables: Vec::new(),
            call_bytes: 0,
            float_bytes: 0,
            used_bytes: None,
            instructions: Vec::new(),
            labels: Vec::new(),
            prototypes: HashMap::new(),
            targets: HashMap::new(),
            naming: Vec::new(),
            renamed: 0,
            names: HashSet::new(),
            formals: HashMap::new(),
            location: Location::default(),
        }
    }

    /// Declares a formal that is a register, and returns its index.
    pub(super) fn formal_register(&mut self, name: String, kind: RegisterKind) -> u32 {
        let index = self.registers.len() as u32;
        self.registers.push(kind);
        self.formals.insert(name, index);
        index
    }

    pub(super) fn parse(mut self) -> Result<Self> {
        loop {
            match self.parser.peek() {
                Kind::Mark('{') => {
                    let depth = self.scopes[self.scope].depth + 1;
                    if depth > MAX_DEPTH {
                        return self.parser.error(format!("scopes are nested over {MAX_DEPTH} deep"));
                    }
                    self.parser.at += 1;
                    let (parent, call_bytes) = (Some(self.scope), self.call_bytes);
                    self.scope = self.scopes.len();
                    self.scopes.push(Scope { parent, depth, call_bytes, ..Scope::default() });
                }
                Kind::Mark('}') => {
                    self.parser.at += 1;
                    self.call_bytes = self.scopes[self.scope].call_bytes;
                    match self.scopes[self.scope].parent {
                        Some(parent) => self.scope = parent,
                        None => break,
                    }
                }
                Kind::Mark('@') => self.instruction()?,
                Kind::Word(word) if word.starts_with('.') => self.directive(word)?,
                Kind::Word(word) => {
                    // The text ends with a token that is no word, so there is one after this.
                    if self.parser.tokens[self.parser.at + 1].kind == Kind::Mark(':') {
                        self.label(word)?;
                    } else {
                        self.instruction()?;
                    }
                }
                _ => return self.parser.expected("an instruction"),
            }
        }
        self.resolve_labels();
        Ok(self)
    }

    /// A name that no other variable or label of the function has.
    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        while self.names.contains(&unique) {
            self.renamed += 1;
            // No name of PTX has an `@` in it.
            unique = format!("{name}@{}", self.renamed);
        }
        self.names.insert(unique.clone());
        unique
    }

    fn defined_twice<T>(&self, name: &str, line: u32) -> Result<T> {
        Err(PtxError::new(line, format!("`{name}` is defined twice")))
    }

    /// A label, and what stands after it if that is a prototype or a list of targets.
    fn label(&mut self, word: &'a str) -> Result<()> {
        let line = self.parser.line();
        if self.scopes[self.scope].labels.contains_key(word) {
            return self.defined_twice(word, line);
        }
        let unique = self.unique(word);
        self.scopes[self.scope].labels.insert(word, unique.clone());
        self.parser.at += 2;
        match self.parser.peek() {
            Kind::Word(".callprototype") => {
                self.parser.at += 1;
                let prototype = self.parser.prototype()?;
                self.prototypes.insert(unique, prototype);
                self.parser.expect(';')
            }
            Kind::Word(".branchtargets" | ".calltargets") => {
                self.parser.at += 1;
                let mut targets = Vec::new();
                loop {
                    targets.push(self.parser.word("a target")?.to_owned());
                    if self.parser.take(';') {
                        break;
                    }
                    self.parser.expect(',')?;
                }
                self.naming.push((Naming::Targets(unique.clone()), self.scope));
                self.targets.insert(unique, targets);
                Ok(())
            }
            _ => {
                self.labels.push((unique, self.instructions.len()));
                Ok(())
            }
        }
    }

    /// Replaces names of labels by the names that are theirs alone, where those differ.
    fn resolve_labels(&mut self) {
        if self.renamed == 0 {
            return;
        }
        for (naming, scope) in std::mem::take(&mut self.naming) {
            let find = |name: &str| {
                let mut at = Some(scope);
                while let Some(scope) = at {
                    if let Some(unique) = self.scopes[scope].labels.get(name) {
                        return Some(unique.clone());
                    }
                    at = self.scopes[scope].parent;
                }
                None
            };
            match naming {
                Naming::Instruction(index) => {
                    for operand in &mut self.instructions[index].operands {
                        if let Operand::Symbol(name, _) = operand
                            && let Some(unique) = find(name)
                        {
                            *name = unique;
                        }
                    }
                }
                Naming::Targets(list) => {
                    for name in self.targets.entry(list).or_default() {
                        if let Some(unique) = find(name) {
                            *name = unique;
                        }
                    }
                }
            }
        }
    }

    /// The name that a variable around here has for itself alone.
    fn variable_name(&self, name: &str) -> Option<&String> {
        let mut at = Some(self.scope);
        while let Some(scope) = at {
            if let Some(unique) = self.scopes[scope].variables.get(name) {
                return Some(unique);
            }
            at = self.scopes[scope].parent;
        }
        None
    }

    fn directive(&mut self, word: &'a str) -> Result<()> {
        match word {
            ".reg" => {
                self.parser.at += 1;
                let type_name = self.parser.word("a register type")?;
                self.registers(type_name)
            }
            // inline assembly writes it without a space
            ".reg.pred" | ".reg.b16" | ".reg.b32" | ".reg.b64" | ".reg.f32" | ".reg.f64" | ".reg.u32" | ".reg.s32"
            | ".reg.u64" | ".reg.s64" => {
                self.parser.at += 1;
                self.registers(&word[".reg".len()..])
            }
            ".shared" | ".local" | ".param" => {
                let line = self.parser.line();
                let mut variable = self.parser.variable()?;
                self.parser.expect(';')?;
                let unique = self.unique(&variable.name);
                let name = std::mem::replace(&mut variable.name, unique.clone());
                if self.scopes[self.scope].variables.insert(name.clone(), unique).is_some() {
                    return self.defined_twice(&name, line);
                }
                if variable.space != Space::Param {
                    self.variables.push(variable);
                    return Ok(());
                }
                let offset = self.call_bytes.checked_next_multiple_of(variable.align.max(1));
                match offset.and_then(|offset| Some((offset, offset.checked_add(variable.size)?))) {
                    Some((offset, end)) => {
                        self.call_bytes = end;
                        self.call_variables.push((variable, offset));
                        Ok(())
                    }
                    None => Err(PtxError::new(line, format!("the variable `{name}` is too large"))),
                }
            }
            ".loc" => {
                self.parser.at += 1;
                self.location.file = self.parser.small_integer("a file number")?;
                self.location.line = self.parser.small_integer("a line")?;
                self.parser.integer("a column")?;
                while self.parser.take(',') {
                    match self.parser.word("an attribute of `.loc`")? {
                        "function_name" => {
                            self.parser.word("a label")?;
                            if self.parser.take('+') {
                                self.parser.integer("an offset")?;
                            }
                        }
                        "inlined_at" => {
                            for _ in 0..3 {
                                self.parser.integer("a number")?;
                            }
                        }
                        other => return self.parser.error(format!("`.loc` has no attribute `{other}`")),
                    }
                }
                Ok(())
            }
            ".pragma" => {
                self.parser.at += 1;
                self.used_bytes = self.parser.pragma()?;
                Ok(())
            }
            _ => self.parser.error(format!("the directive `{word}` in a function is not supported")),
        }
    }

    /// `.b32 %r<5>;` or `.b32 a, b;`, after `.reg`.
    fn registers(&mut self, type_name: &str) -> Result<()> {
        let kind = match type_size(type_name) {
            Some(None) => RegisterKind::Predicate,
            Some(Some(8)) => RegisterKind::Bits64,
            Some(Some(_)) => RegisterKind::Bits32,
            None => return self.parser.error(format!("registers of type `{type_name}` are not supported")),
        };
        loop {
            let name = self.parser.word("the name of a register")?;
            let count = if self.parser.take('<') {
                let count = self.parser.integer("a number of registers")?;
                self.parser.expect('>')?;
                Some(count)
            } else {
                None
            };
            let line = self.parser.line();
            let scope = &mut self.scopes[self.scope];
            let known = match count {
                Some(count) => scope.families.insert(name, (count, kind)).is_some(),
                None => scope.registers.insert(name, kind).is_some(),
            };
            if known {
                return self.defined_twice(name, line);
            }
            if self.parser.take(';') {
                return Ok(());
            }
            self.parser.expect(',')?;
        }
    }

    /// The index of a register that is declared in a scope around here.
    fn resolve(&mut self, name: &'a str) -> Option<u32> {
        let mut at = Some(self.scope);
        while let Some(scope) = at {
            let scope = &mut self.scopes[scope];
            if let Some(&index) = scope.resolved.get(name) {
                return Some(index);
            }
            if let Some(kind) = scope.kind_of(name) {
                let index = self.registers.len() as u32;
                self.registers.push(kind);
                scope.resolved.insert(name, index);
                return Some(index);
            }
            at = scope.parent;
        }
        self.formals.get(name).copied()
    }

    fn instruction(&mut self) -> Result<()> {
        self.location.ptx_line = self.parser.line();
        let mut guard = None;
        if self.parser.take('@') {
            let negated = self.parser.take('!');
            let name = self.parser.word("a predicate")?;
            match self.resolve(name) {
                Some(index) if self.registers[index as usize] == RegisterKind::Predicate => {
                    guard = Some((index, negated));
                }
                _ => return self.parser.error(format!("`{name}` is not a predicate")),
            }
        }
        let location = Location { ptx_line: self.parser.line(), ..self.location };
        let opcode = self.parser.word("an opcode")?.to_owned();
        // The last type is that of the sources.
        self.float_bytes = opcode.split('.').fold(0, |bytes, part| match part {
            "f32" => 4,
            "f64" => 8,
            _ => bytes,
        });
        let mut operands = Vec::new();
        if !self.parser.take(';') {
            loop {
                operands.push(self.operand()?);
                if self.parser.take(';') {
                    break;
                }
                self.parser.expect(',')?;
            }
        }
        if operands.iter().any(|operand| matches!(operand, Operand::Symbol(..))) {
            self.naming.push((Naming::Instruction(self.instructions.len()), self.scope));
        }
        let used_bytes = self.used_bytes.take();
        self.instructions.push(Instruction { guard, opcode, operands, location, used_bytes });
        Ok(())
    }

    fn operand(&mut self) -> Result<Operand> {
        if self.parser.take('[') {
            let (base, offset) = match self.simple_operand()? {
                Operand::Symbol(name, offset) => (Box::new(Operand::Symbol(name, 0)), offset),
                Operand::Address(base, offset) => (base, offset),
                other => (Box::new(other), 0),
            };
            if self.parser.take(',') {
                self.parser.expect('{')?;
                let coordinates = self.vector()?;
                self.parser.expect(']')?;
                return Ok(Operand::Tensor(base, offset, coordinates));
            }
            self.parser.expect(']')?;
            return Ok(Operand::Address(base, offset));
        }
        if self.parser.take('{') {
            return Ok(Operand::Vector(self.vector()?));
        }
        if self.parser.take('(') {
            let mut parts = Vec::new();
            if self.parser.take(')') {
                return Ok(Operand::List(parts));
            }
            loop {
                match self.simple_operand()? {
                    Operand::Address(..) => return self.parser.error("an argument has no offset"),
                    part => parts.push(part),
                }
                if self.parser.take(')') {
                    return Ok(Operand::List(parts));
                }
                self.parser.expect(',')?;
            }
        }
        let first = self.simple_operand()?;
        if self.parser.take('|') {
            let second = self.simple_operand()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        match first {
            Operand::Address(..) => self.parser.error("a register with an offset has no place here"),
            other => Ok(other),
        }
    }

    /// What follows a `{`, to its `}`.
    fn vector(&mut self) -> Result<Vec<Operand>> {
        let mut parts = Vec::new();
        loop {
            parts.push(self.simple_operand()?);
            if self.parser.take('}') {
                return Ok(parts);
            }
            self.parser.expect(',')?;
        }
    }

    /// A register, number or symbol; a register with an offset comes as an address.
    fn simple_operand(&mut self) -> Result<Operand> {
        if self.parser.take('_') {
            return Ok(Operand::Sink);
        }
        if self.parser.take('!') {
            let name = self.parser.word("a predicate")?;
            return match self.resolve(name) {
                Some(index) => Ok(Operand::NotRegister(index)),
                None => self.parser.error(format!("the register `{name}` is not declared")),
            };
        }
        if let Some(bits) = self.parser.decimal(self.float_bytes)? {
            return Ok(Operand::Immediate(bits));
        }
        let negative = self.parser.take('-');
        match self.parser.peek() {
            Kind::Integer(value) => {
                self.parser.at += 1;
                Ok(Operand::Immediate(if negative { value.wrapping_neg() } else { value }))
            }
            Kind::Float(bits) if !negative => {
                self.parser.at += 1;
                Ok(Operand::Immediate(bits))
            }
            Kind::Word(name) if !negative => {
                self.parser.at += 1;
                let register = self.resolve(name);
                let offset = self.parser.offset()?;
                match (register, offset) {
                    (Some(index), None) => Ok(Operand::Register(index)),
                    (Some(index), Some(offset)) => Ok(Operand::Address(Box::new(Operand::Register(index)), offset)),
                    (None, None) if name.starts_with('%') => Ok(Operand::Special(name.to_owned())),
                    (None, offset) if !name.starts_with('%') => {
                        let name = self.variable_name(name).cloned().unwrap_or_else(|| name.to_owned());
                        Ok(Operand::Symbol(name, offset.unwrap_or(0)))
                    }
                    _ => self.parser.error(format!("the register `{name}` is not declared")),
                }
            }
            _ => self.parser.expected("an operand"),
        }
    }
}
