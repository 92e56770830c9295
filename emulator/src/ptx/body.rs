//! Parses what stands between the braces of a kernel: registers, variables, labels, instructions.

use std::collections::{HashMap, HashSet};

use super::PtxError;
use super::ast::{Instruction, Location, Operand, RegisterKind, Variable};
use super::lexer::Kind;
use super::parser::{Parser, Result, type_size};

/// Registers declared in one `{ }`.
#[derive(Default)]
struct Scope<'a> {
    /// Name, or prefix of a family, with the number of registers of the family.
    declared: Vec<(&'a str, Option<u64>, RegisterKind)>,
    /// Those that were used: the index in the kernel's registers.
    resolved: HashMap<&'a str, u32>,
}

impl Scope<'_> {
    fn kind_of(&self, name: &str) -> Option<RegisterKind> {
        let matches = |&&(declared, count, _): &&(&str, Option<u64>, RegisterKind)| match count {
            None => name == declared,
            Some(count) => name.strip_prefix(declared).is_some_and(|digits| {
                digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'))
                    && digits.parse().is_ok_and(|number: u64| number < count)
            }),
        };
        self.declared.iter().find(matches).map(|&(.., kind)| kind)
    }
}

/// Parses what stands between the braces of a kernel.
pub(super) struct Body<'p, 't, 'a> {
    parser: &'p mut Parser<'t, 'a>,
    scopes: Vec<Scope<'a>>,
    pub(super) registers: Vec<RegisterKind>,
    pub(super) variables: Vec<Variable>,
    pub(super) instructions: Vec<Instruction>,
    pub(super) labels: Vec<(String, usize)>,
    names: HashSet<&'a str>,
    location: Location,
}

impl<'p, 't, 'a> Body<'p, 't, 'a> {
    pub(super) fn new(parser: &'p mut Parser<'t, 'a>) -> Self {
        Self {
            parser,
            scopes: vec![Scope::default()],
            registers: Vec::new(),
            variables: Vec::new(),
            instructions: Vec::new(),
            labels: Vec::new(),
            names: HashSet::new(),
            location: Location::default(),
        }
    }

    pub(super) fn parse(mut self) -> Result<Self> {
        while !self.scopes.is_empty() {
            match self.parser.peek() {
                Kind::Mark('{') => {
                    self.parser.at += 1;
                    self.scopes.push(Scope::default());
                }
                Kind::Mark('}') => {
                    self.parser.at += 1;
                    self.scopes.pop();
                }
                Kind::Mark('@') => self.instruction()?,
                Kind::Word(word) if word.starts_with('.') => self.directive(word)?,
                Kind::Word(word) => {
                    let labelled = self.parser.tokens[self.parser.at + 1].kind == Kind::Mark(':');
                    if labelled {
                        if !self.names.insert(word) {
                            return self.parser.error(format!("the label `{word}` is defined twice"));
                        }
                        self.parser.at += 2;
                        self.labels.push((word.to_owned(), self.instructions.len()));
                    } else {
                        self.instruction()?;
                    }
                }
                _ => return self.parser.expected("an instruction"),
            }
        }
        Ok(self)
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
            ".shared" | ".local" => {
                let line = self.parser.line();
                let variable = self.parser.variable()?;
                if self.variables.iter().any(|other| other.name == variable.name) {
                    return Err(PtxError::new(line, format!("`{}` is defined twice", variable.name)));
                }
                self.variables.push(variable);
                self.parser.expect(';')
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
                self.parser.pragma()
            }
            _ => self.parser.error(format!("the directive `{word}` in a kernel is not supported")),
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
            if let Some(scope) = self.scopes.last_mut() {
                scope.declared.push((name, count, kind));
            }
            if self.parser.take(';') {
                return Ok(());
            }
            self.parser.expect(',')?;
        }
    }

    /// The index of a register that is declared in a scope around here.
    fn resolve(&mut self, name: &'a str) -> Option<u32> {
        for scope in self.scopes.iter_mut().rev() {
            if let Some(&index) = scope.resolved.get(name) {
                return Some(index);
            }
            if let Some(kind) = scope.kind_of(name) {
                let index = self.registers.len() as u32;
                self.registers.push(kind);
                scope.resolved.insert(name, index);
                return Some(index);
            }
        }
        None
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
        self.instructions.push(Instruction { guard, opcode, operands, location });
        Ok(())
    }

    fn operand(&mut self) -> Result<Operand> {
        if self.parser.take('[') {
            let base = self.simple_operand()?;
            self.parser.expect(']')?;
            return Ok(match base {
                Operand::Symbol(name, offset) => Operand::Address(Box::new(Operand::Symbol(name, 0)), offset),
                Operand::Address(base, offset) => Operand::Address(base, offset),
                other => Operand::Address(Box::new(other), 0),
            });
        }
        if self.parser.take('{') {
            let mut parts = Vec::new();
            loop {
                parts.push(self.simple_operand()?);
                if self.parser.take('}') {
                    return Ok(Operand::Vector(parts));
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
                let offset = self.offset()?;
                match (register, offset) {
                    (Some(index), None) => Ok(Operand::Register(index)),
                    (Some(index), Some(offset)) => Ok(Operand::Address(Box::new(Operand::Register(index)), offset)),
                    (None, None) if name.starts_with('%') => Ok(Operand::Special(name.to_owned())),
                    (None, offset) if !name.starts_with('%') => {
                        Ok(Operand::Symbol(name.to_owned(), offset.unwrap_or(0)))
                    }
                    _ => self.parser.error(format!("the register `{name}` is not declared")),
                }
            }
            _ => self.parser.expected("an operand"),
        }
    }

    /// `+4`, `-4` or `+-4` after a name.
    fn offset(&mut self) -> Result<Option<i64>> {
        let plus = self.parser.take('+');
        let minus = self.parser.take('-');
        if !plus && !minus {
            return Ok(None);
        }
        let value = self.parser.integer("an offset")? as i64;
        Ok(Some(if minus { value.wrapping_neg() } else { value }))
    }
}
