//! Parses PTX: one pass over the tokens, with registers resolved to indices as they are met.

use std::collections::{HashMap, HashSet};

use super::PtxError;
use super::ast::{Instruction, Kernel, Location, Module, Operand, RegisterKind, Space, Variable};
use super::lexer::{Kind, Token, tokens};

type Result<T> = std::result::Result<T, PtxError>;

/// The largest variable that is taken, to bound what a file can ask for.
const MAX_VARIABLE: u64 = 1 << 32;

/// Parses the text of one module.
pub(crate) fn parse(source: &str) -> Result<Module> {
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    parser.module()
}

struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
}

/// The size in bytes of a fundamental type, or `None` for a predicate.
fn type_size(name: &str) -> Option<Option<u64>> {
    Some(match name {
        ".pred" => None,
        ".b8" | ".u8" | ".s8" => Some(1),
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => Some(2),
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => Some(4),
        ".b64" | ".u64" | ".s64" | ".f64" => Some(8),
        _ => return None,
    })
}

impl<'a> Parser<'_, 'a> {
    // --- tokens ---

    fn peek(&self) -> Kind<'a> {
        self.tokens[self.at].kind
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn next(&mut self) -> Kind<'a> {
        let kind = self.peek();
        if kind != Kind::End {
            self.at += 1;
        }
        kind
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(PtxError::new(self.line(), message))
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        let found = match self.peek() {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Integer(value) => format!("{value}"),
            Kind::Float(_) => "a floating-point number".to_owned(),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::End => "the end of the text".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Kind::Mark(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.take(mark) { Ok(()) } else { self.expected(&format!("`{mark}`")) }
    }

    fn word(&mut self, what: &str) -> Result<&'a str> {
        match self.peek() {
            Kind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.expected(what),
        }
    }

    fn integer(&mut self, what: &str) -> Result<u64> {
        match self.peek() {
            Kind::Integer(value) => {
                self.at += 1;
                Ok(value)
            }
            _ => self.expected(what),
        }
    }

    fn small_integer(&mut self, what: &str) -> Result<u32> {
        let line = self.line();
        let value = self.integer(what)?;
        u32::try_from(value).map_err(|_| PtxError::new(line, format!("{value} is too large for {what}")))
    }

    // --- the module ---

    fn module(&mut self) -> Result<Module> {
        let mut module = Module::default();
        let mut names = HashSet::new();
        loop {
            let line = self.line();
            let Kind::Word(word) = self.peek() else {
                if self.peek() == Kind::End {
                    break;
                }
                return self.expected("a directive");
            };
            match word {
                ".version" => {
                    self.at += 1;
                    module.version = self.version()?;
                }
                ".target" => {
                    self.at += 1;
                    module.target = self.target()?;
                }
                ".address_size" => {
                    self.at += 1;
                    if self.integer("an address size")? != 64 {
                        return self.error("only 64-bit addresses are supported");
                    }
                }
                ".file" => module.files.push(self.file()?),
                ".section" => self.skip_section()?,
                ".visible" | ".weak" | ".extern" | ".common" => self.at += 1,
                ".entry" => {
                    let kernel = self.kernel()?;
                    if !names.insert(kernel.name.clone()) {
                        return Err(PtxError::new(line, format!("`{}` is defined twice", kernel.name)));
                    }
                    module.kernels.push(kernel);
                }
                ".global" | ".const" | ".shared" => {
                    let variable = self.variable()?;
                    self.expect(';')?;
                    if !names.insert(variable.name.clone()) {
                        return Err(PtxError::new(line, format!("`{}` is defined twice", variable.name)));
                    }
                    module.variables.push(variable);
                }
                ".func" => return self.error("device functions (`.func`) are not supported"),
                _ => return self.error(format!("the directive `{word}` is not supported here")),
            }
        }
        if module.version == (0, 0) {
            return self.error("there is no `.version`: this is not PTX");
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<(u32, u32)> {
        let major = self.small_integer("a version")?;
        let minor = self.word("a version such as 8.0")?;
        match minor.strip_prefix('.').and_then(|digits| digits.parse().ok()) {
            Some(minor) => Ok((major, minor)),
            None => self.error("expected a version such as 8.0"),
        }
    }

    fn target(&mut self) -> Result<(u32, String)> {
        let name = self.word("a target such as sm_75")?;
        while self.take(',') {
            self.word("a target option")?;
        }
        let Some(rest) = name.strip_prefix("sm_") else {
            return self.error(format!("the target `{name}` is not of the form sm_NN"));
        };
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match rest[..digits].parse() {
            Ok(number) => Ok((number, rest[digits..].to_owned())),
            Err(_) => self.error(format!("the target `{name}` is not of the form sm_NN")),
        }
    }

    fn file(&mut self) -> Result<(u32, String)> {
        self.at += 1;
        let number = self.small_integer("a file number")?;
        let Kind::Text(path) = self.next() else {
            return self.error("expected the path of the file");
        };
        while self.take(',') {
            self.integer("a time stamp or size")?;
        }
        Ok((number, path.to_owned()))
    }

    /// Debug information, of which nothing is read.
    fn skip_section(&mut self) -> Result<()> {
        self.at += 1;
        self.word("the name of a section")?;
        self.expect('{')?;
        while !self.take('}') {
            if self.next() == Kind::End {
                return self.error("a section is not closed");
            }
        }
        Ok(())
    }

    // --- variables ---

    /// A declaration from its state space to before its `;`, `,` or `)`.
    fn variable(&mut self) -> Result<Variable> {
        let space = match self.word("a state space")? {
            ".global" => Space::Global,
            ".const" => Space::Constant,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            other => return self.error(format!("`{other}` is not a state space of variables")),
        };
        let (mut align, mut element, mut vector) = (None, None, 1);
        let name = loop {
            let word = self.word("a type, an alignment or a name")?;
            match word {
                ".align" => {
                    let value = self.integer("an alignment")?;
                    if !value.is_power_of_two() || value > 1 << 20 {
                        return self.error(format!("{value} is not an alignment"));
                    }
                    align = Some(value);
                }
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                // What a pointer parameter points at says nothing of the parameter: `.ptr .global .align 16`.
                ".ptr" => {
                    if matches!(self.peek(), Kind::Word(".global" | ".const" | ".shared" | ".local" | ".param")) {
                        self.at += 1;
                    }
                    if self.peek() == Kind::Word(".align") {
                        self.at += 1;
                        self.integer("an alignment")?;
                    }
                }
                _ if word.starts_with('.') => match type_size(word) {
                    Some(Some(size)) => element = Some(size),
                    _ => return self.error(format!("`{word}` is not a type of variables that is supported")),
                },
                _ => break word,
            }
        };
        let Some(element) = element else {
            return self.error(format!("the variable `{name}` has no type"));
        };
        let mut size = Some(element * vector);
        while self.take('[') {
            let count = if self.peek() == Kind::Mark(']') { 0 } else { self.integer("an array length")? };
            self.expect(']')?;
            size = size.and_then(|size| size.checked_mul(count));
        }
        let Some(size) = size.filter(|&size| size <= MAX_VARIABLE) else {
            return self.error(format!("the variable `{name}` is too large"));
        };
        let mut init = Vec::new();
        if self.take('=') {
            self.initializer(element, size, &mut init)?;
        }
        Ok(Variable { name: name.to_owned(), space, align: align.unwrap_or(element * vector), size, init })
    }

    fn initializer(&mut self, element: u64, size: u64, init: &mut Vec<u8>) -> Result<()> {
        let mut depth = 0;
        loop {
            if self.take('{') {
                depth += 1;
                continue;
            }
            let negative = self.take('-');
            let value = match self.peek() {
                Kind::Integer(value) | Kind::Float(value) => value,
                _ => return self.expected("a number (addresses in initialisers are not supported)"),
            };
            self.at += 1;
            let value = if negative { value.wrapping_neg() } else { value };
            if init.len() as u64 + element > size {
                return self.error("the initialiser is longer than the variable");
            }
            init.extend_from_slice(&value.to_le_bytes()[..element as usize]);
            while depth > 0 && self.take('}') {
                depth -= 1;
            }
            if depth == 0 {
                return Ok(());
            }
            self.expect(',')?;
        }
    }

    // --- kernels ---

    fn kernel(&mut self) -> Result<Kernel> {
        let line = self.line();
        self.at += 1;
        let name = self.word("the name of a kernel")?.to_owned();
        let mut params = Vec::new();
        if self.take('(') && !self.take(')') {
            loop {
                params.push(self.variable()?);
                if self.take(')') {
                    break;
                }
                self.expect(',')?;
            }
        }
        let (mut required_block, mut max_block) = (None, None);
        while let Kind::Word(word) = self.peek() {
            self.at += 1;
            match word {
                ".reqntid" => required_block = Some(self.dimensions()?),
                ".maxntid" => max_block = Some(self.dimensions()?),
                ".minnctapersm" | ".maxnreg" | ".maxnctapersm" => {
                    self.integer("a number")?;
                }
                ".pragma" => self.pragma()?,
                _ => return self.error(format!("the directive `{word}` of a kernel is not supported")),
            }
        }
        self.expect('{')?;
        let body = Body::new(self).parse()?;
        Ok(Kernel {
            name,
            line,
            params,
            required_block,
            max_block,
            registers: body.registers,
            variables: body.variables,
            body: body.instructions,
            labels: body.labels,
        })
    }

    fn dimensions(&mut self) -> Result<[u32; 3]> {
        let mut dimensions = [1; 3];
        for (n, dimension) in dimensions.iter_mut().enumerate() {
            if n > 0 && !self.take(',') {
                break;
            }
            *dimension = self.small_integer("a block dimension")?;
        }
        Ok(dimensions)
    }

    fn pragma(&mut self) -> Result<()> {
        loop {
            let Kind::Text(_) = self.next() else {
                return self.error("expected the text of a pragma");
            };
            if self.take(';') {
                return Ok(());
            }
            self.expect(',')?;
        }
    }
}

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
struct Body<'p, 't, 'a> {
    parser: &'p mut Parser<'t, 'a>,
    scopes: Vec<Scope<'a>>,
    registers: Vec<RegisterKind>,
    variables: Vec<Variable>,
    instructions: Vec<Instruction>,
    labels: Vec<(String, usize)>,
    names: HashSet<&'a str>,
    location: Location,
}

impl<'p, 't, 'a> Body<'p, 't, 'a> {
    fn new(parser: &'p mut Parser<'t, 'a>) -> Self {
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

    fn parse(mut self) -> Result<Self> {
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
                self.registers()
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
    fn registers(&mut self) -> Result<()> {
        let type_name = self.parser.word("a register type")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = ".version 8.0\n.target sm_90a, debug\n.address_size 64\n";

    fn kernel(body: &str) -> Result<Kernel> {
        let module = parse(&format!("{HEAD}.visible .entry k(.param .u64 p)\n{{\n{body}\n}}"))?;
        Ok(module.kernels.into_iter().next().expect("one kernel"))
    }

    #[test]
    fn module_header_and_variables() {
        let module = parse(&format!(
            "{HEAD}// a comment\n.file 2 \"a b.cu\"\n.global .align 4 .f32 t[3] = {{0f3F800000, 0f00000000}};\n\
             .extern .shared .align 16 .b8 dyn[];\n.const .align 2 .b8 m[2][3] = {{{{1,2,3}},{{4,5,-1}}}};\n\
             .section .debug_str {{ $L: .b8 1,2 }}"
        ))
        .unwrap();
        assert_eq!((module.version, module.target), ((8, 0), (90, "a".to_owned())));
        assert_eq!(module.files, [(2, "a b.cu".to_owned())]);
        assert_eq!(module.variables[0].init, [0, 0, 0x80, 0x3f, 0, 0, 0, 0]);
        assert_eq!((module.variables[0].size, module.variables[1].size), (12, 0));
        assert_eq!((module.variables[2].size, &module.variables[2].init[..]), (6, &[1, 2, 3, 4, 5, 255][..]));
    }

    #[test]
    fn operands_and_scopes() {
        let kernel = kernel(
            ".reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<9>;\n.loc 1 7 2, function_name $I, inlined_at 1 2 3\n\
             $L_0: @!%p1 shfl.sync.bfly.b32 %r2|%p0, %r1, -1, 0x1f, 0f3F800000;\n\
             { .reg .b64 %r<2>; add.s64 %r1, %rd8, %tid.x; }\n\
             st.v2.b32 [%rd1+-8], {%r1, _};\nld.param.u64 %rd2, [p+4];\n@%p0 bra $L_0;",
        )
        .unwrap();
        let shuffle = &kernel.body[0];
        assert_eq!(shuffle.guard, Some((0, true)));
        assert_eq!(shuffle.location, Location { ptx_line: 8, file: 1, line: 7 });
        assert_eq!(
            shuffle.operands,
            [
                Operand::Pair(Box::new(Operand::Register(1)), Box::new(Operand::Register(2))),
                Operand::Register(3),
                Operand::Immediate(u64::MAX),
                Operand::Immediate(31),
                Operand::Immediate(0x3f80_0000),
            ]
        );
        // the inner %r1 is another register, and 64 bits wide
        assert_eq!(kernel.body[1].operands[0], Operand::Register(4));
        assert_eq!(kernel.registers[4], RegisterKind::Bits64);
        assert_eq!(kernel.body[1].operands[2], Operand::Special("%tid.x".to_owned()));
        assert_eq!(kernel.body[2].operands[0], Operand::Address(Box::new(Operand::Register(6)), -8));
        assert_eq!(kernel.body[2].operands[1], Operand::Vector(vec![Operand::Register(3), Operand::Sink]));
        assert_eq!(kernel.body[3].operands[1], Operand::Address(Box::new(Operand::Symbol("p".to_owned(), 0)), 4));
        assert_eq!(kernel.labels, [("$L_0".to_owned(), 0)]);
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("mov.u32 %r1", 7, "expected"),
            ("$A: ret;\n$A: ret;", 7, "defined twice"),
            (".reg .b128 %q;", 6, ".b128"),
            ("@%r1 ret;", 6, "not a predicate"),
            (".branchtargets a;", 6, ".branchtargets"),
        ];
        for (body, line, message) in cases {
            let error = kernel(body).unwrap_err();
            assert!(error.message.contains(message), "{body}: {error}");
            assert_eq!(error.line, line, "{body}: {error}");
        }
        assert!(parse("").unwrap_err().message.contains(".version"));
        assert!(parse(&format!("{HEAD}.func f() {{ ret; }}")).unwrap_err().message.contains(".func"));
    }

    #[test]
    fn truncation_is_an_error_everywhere() {
        let source = format!(
            "{HEAD}.visible .entry k(.param .align 8 .b8 p[24])\n.maxntid 32, 1, 1\n{{\n.reg .b32 %r<3>;\n\
             .shared .align 4 .b8 s[8];\n/* x */ mov.b32 %r1, {{%r2, %r2}};\nret;\n}}\n.file 1 \"x\"\n"
        );
        let end = source.rfind(".file").expect("there is a file");
        assert!(parse(&source).is_ok());
        for length in HEAD.len() + 1..end - 1 {
            // a cut between two declarations leaves a whole module
            if let Ok(module) = parse(&source[..length]) {
                assert!(module.kernels.is_empty(), "{}", &source[..length]);
            }
        }
    }
}
