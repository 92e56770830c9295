//! Parses PTX: one pass over the tokens. Modules, variables and the heads of kernels are here, their bodies in `body`.

use std::collections::HashSet;

use super::PtxError;
use super::ast::{AddressOf, Function, Module, RegisterKind, Signature, Space, Variable};
use super::body::Body;
use super::lexer::{Kind, Token, tokens};

pub(super) type Result<T> = std::result::Result<T, PtxError>;

/// The largest variable that is taken, to bound what a file can ask for.
const MAX_VARIABLE: u64 = 1 << 32;

/// Parses the text of one module.
pub(crate) fn parse(source: &str) -> Result<Module> {
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    parser.module()
}

pub(super) struct Parser<'t, 'a> {
    pub(super) tokens: &'t [Token<'a>],
    pub(super) at: usize,
}

/// The size in bytes of a fundamental type, or `None` for a predicate.
pub(super) fn type_size(name: &str) -> Option<Option<u64>> {
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

    pub(super) fn peek(&self) -> Kind<'a> {
        self.tokens[self.at].kind
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    pub(super) fn next(&mut self) -> Kind<'a> {
        let kind = self.peek();
        if kind != Kind::End {
            self.at += 1;
        }
        kind
    }

    pub(super) fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(PtxError::new(self.line(), message))
    }

    pub(super) fn expected<T>(&self, what: &str) -> Result<T> {
        let found = match self.peek() {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Integer(value) => format!("{value}"),
            Kind::Float(_) | Kind::Decimal(_) => "a floating-point number".to_owned(),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::End => "the end of the text".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    pub(super) fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Kind::Mark(mark);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<()> {
        if self.take(mark) { Ok(()) } else { self.expected(&format!("`{mark}`")) }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'a str> {
        match self.peek() {
            Kind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.expected(what),
        }
    }

    pub(super) fn integer(&mut self, what: &str) -> Result<u64> {
        match self.peek() {
            Kind::Integer(value) => {
                self.at += 1;
                Ok(value)
            }
            _ => self.expected(what),
        }
    }

    pub(super) fn small_integer(&mut self, what: &str) -> Result<u32> {
        let line = self.line();
        let value = self.integer(what)?;
        u32::try_from(value).map_err(|_| PtxError::new(line, format!("{value} is too large for {what}")))
    }

    // --- the module ---

    fn module(&mut self) -> Result<Module> {
        let mut module = Module::default();
        let mut names = HashSet::new();
        // Functions and variables that are declared here and defined elsewhere may be declared again.
        let mut external = false;
        loop {
            let line = self.line();
            let mut define = |name: &str| match names.insert(name.to_owned()) {
                true => Ok(()),
                false => Err(PtxError::new(line, format!("`{name}` is defined twice"))),
            };
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
                ".pragma" => {
                    self.at += 1;
                    let _ = self.pragma()?;
                }
                ".section" => self.skip_section()?,
                ".extern" => {
                    external = true;
                    self.at += 1;
                    continue;
                }
                ".visible" | ".weak" | ".common" => {
                    self.at += 1;
                    continue;
                }
                ".entry" => {
                    if let Some(kernel) = self.function(true)? {
                        define(&kernel.name)?;
                        module.kernels.push(kernel);
                    }
                }
                ".func" => {
                    if let Some(function) = self.function(false)? {
                        define(&function.name)?;
                        module.functions.push(function);
                    }
                }
                ".alias" => {
                    self.at += 1;
                    let alias = self.word("a name")?;
                    self.expect(',')?;
                    let function = self.word("the name of a function")?;
                    self.expect(';')?;
                    define(alias)?;
                    module.aliases.push((alias.to_owned(), function.to_owned(), line));
                }
                ".global" | ".const" | ".shared" => {
                    let variable = self.variable()?;
                    self.expect(';')?;
                    if external && variable.space != Space::Shared {
                        let name = variable.name;
                        return Err(PtxError::new(line, format!("the variable `{name}` is defined in another module")));
                    }
                    define(&variable.name)?;
                    module.variables.push(variable);
                }
                _ => return self.error(format!("the directive `{word}` is not supported here")),
            }
            external = false;
        }
        if module.version == (0, 0) {
            return self.error("there is no `.version`: this is not PTX");
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<(u32, u32)> {
        let numbers = match self.peek() {
            Kind::Decimal(text) => text.split_once('.'),
            _ => None,
        };
        match numbers.map(|(major, minor)| (major.parse(), minor.parse())) {
            Some((Ok(major), Ok(minor))) => {
                self.at += 1;
                Ok((major, minor))
            }
            _ => self.expected("a version such as 8.0"),
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
    pub(super) fn variable(&mut self) -> Result<Variable> {
        let line = self.line();
        let space = match self.word("a state space")? {
            ".global" => Space::Global,
            ".const" => Space::Constant,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            other => return self.error(format!("`{other}` is not a state space of variables")),
        };
        let (mut align, mut element, mut vector, mut float) = (None, None, 1, false);
        let name = loop {
            if self.take('_') {
                break "_";
            }
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
                    Some(Some(size)) => (element, float) = (Some(size), matches!(word, ".f32" | ".f64")),
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
        let mut variable = Variable {
            name: name.to_owned(),
            space,
            align: align.unwrap_or(element * vector),
            size,
            init: Vec::new(),
            addresses: Vec::new(),
            line,
        };
        if self.take('=') {
            self.initializer(element, float, &mut variable)?;
        }
        Ok(variable)
    }

    fn initializer(&mut self, element: u64, float: bool, variable: &mut Variable) -> Result<()> {
        let mut depth = 0;
        loop {
            if self.take('{') {
                depth += 1;
                continue;
            }
            let at = variable.init.len() as u64;
            if at + element > variable.size {
                return self.error("the initialiser is longer than the variable");
            }
            let value = match self.decimal(if float { element } else { 0 })? {
                Some(bits) => bits,
                None => self.initial_value(at, element, variable)?,
            };
            variable.init.extend_from_slice(&value.to_le_bytes()[..element as usize]);
            while depth > 0 && self.take('}') {
                depth -= 1;
            }
            if depth == 0 {
                return Ok(());
            }
            self.expect(',')?;
        }
    }

    /// The bits of a decimal number where one of so many bytes is expected, 4 or 8.
    pub(super) fn decimal(&mut self, bytes: u64) -> Result<Option<u64>> {
        let start = self.at;
        let negative = self.take('-');
        let Kind::Decimal(text) = self.peek() else {
            self.at = start;
            return Ok(None);
        };
        let Ok(value) = text.parse::<f64>() else { return self.expected("a number") };
        let value = if negative { -value } else { value };
        let bits = match bytes {
            4 => u64::from((value as f32).to_bits()),
            8 => value.to_bits(),
            _ => return self.error(format!("{text} stands where no number of type f32 or f64 is expected")),
        };
        self.at += 1;
        Ok(Some(bits))
    }

    /// A number, or zero for what becomes an address: `symbol`, `symbol+4`, `generic(symbol)`, `0xFF(symbol)`.
    fn initial_value(&mut self, at: u64, bytes: u64, variable: &mut Variable) -> Result<u64> {
        let line = self.line();
        let negative = self.take('-');
        let mut mask = u64::MAX;
        if let Kind::Integer(value) | Kind::Float(value) = self.peek() {
            self.at += 1;
            if negative || self.peek() != Kind::Mark('(') {
                return Ok(if negative { value.wrapping_neg() } else { value });
            }
            mask = value;
        }
        let mut enclosed = self.take('(');
        let mut symbol = match self.peek() {
            Kind::Word(word) if !negative && mask != 0 && !word.starts_with(['.', '%']) => word,
            _ => return self.expected("a number or an address"),
        };
        self.at += 1;
        if symbol == "generic" && !enclosed && self.take('(') {
            enclosed = true;
            symbol = self.word("the name of a variable")?;
        }
        let mut offset = self.offset()?.unwrap_or(0);
        if enclosed {
            self.expect(')')?;
            offset = offset.wrapping_add(self.offset()?.unwrap_or(0));
        }
        variable.addresses.push(AddressOf { at, bytes, symbol: symbol.to_owned(), offset, mask, line });
        Ok(0)
    }

    /// `+4`, `-4` or `+-4` after a name.
    pub(super) fn offset(&mut self) -> Result<Option<i64>> {
        let plus = self.take('+');
        let minus = self.take('-');
        if !plus && !minus {
            return Ok(None);
        }
        let value = self.integer("an offset")? as i64;
        Ok(Some(if minus { value.wrapping_neg() } else { value }))
    }

    // --- functions ---

    /// `(a, b, …)` of a signature, if there is one. Registers among them come with their kind.
    fn formals(&mut self) -> Result<Vec<(Variable, Option<RegisterKind>)>> {
        let mut formals = Vec::new();
        if !self.take('(') || self.take(')') {
            return Ok(formals);
        }
        loop {
            formals.push(self.formal()?);
            if self.take(')') {
                return Ok(formals);
            }
            self.expect(',')?;
        }
    }

    fn formal(&mut self) -> Result<(Variable, Option<RegisterKind>)> {
        if self.peek() != Kind::Word(".reg") {
            let formal = self.variable()?;
            return match formal.space {
                Space::Param => Ok((formal, None)),
                _ => self.error(format!("`{}` is not a parameter", formal.name)),
            };
        }
        let line = self.line();
        self.at += 1;
        let type_name = self.word("a register type")?;
        let (size, kind) = match type_size(type_name) {
            Some(Some(8)) => (8, RegisterKind::Bits64),
            Some(Some(size)) => (size, RegisterKind::Bits32),
            _ => return self.error(format!("`{type_name}` is not a type of parameters that is supported")),
        };
        let name = if self.take('_') { "_" } else { self.word("a name")? }.to_owned();
        let (init, addresses) = (Vec::new(), Vec::new());
        Ok((Variable { name, space: Space::Param, align: size, size, init, addresses, line }, Some(kind)))
    }

    /// `(returns) name (parameters)`; the name of a prototype is `_`.
    pub(super) fn prototype(&mut self) -> Result<Signature> {
        let plain = |formals: Vec<(Variable, _)>| formals.into_iter().map(|(variable, _)| variable).collect();
        let returns = plain(self.formals()?);
        if !self.take('_') {
            self.word("`_`")?;
        }
        let params = plain(self.formals()?);
        if self.peek() == Kind::Word(".noreturn") {
            self.at += 1;
        }
        Ok(Signature { returns, params })
    }

    /// A kernel or device function. `None` if it is only declared.
    fn function(&mut self, kernel: bool) -> Result<Option<Function>> {
        let line = self.line();
        self.at += 1;
        if self.peek() == Kind::Word(".attribute") {
            self.attribute()?;
        }
        let returns = if kernel { Vec::new() } else { self.formals()? };
        let name = self.word("the name of a function")?.to_owned();
        let params = self.formals()?;
        if kernel && params.iter().any(|(_, register)| register.is_some()) {
            return Err(PtxError::new(line, "the parameters of a kernel are no registers"));
        }
        let (mut required_block, mut max_block, mut cluster) = (None, None, [1; 3]);
        while let Kind::Word(word) = self.peek() {
            self.at += 1;
            match word {
                ".reqntid" => required_block = Some(self.dimensions()?),
                ".maxntid" => max_block = Some(self.dimensions()?),
                ".explicitcluster" => {}
                ".reqnctapercluster" => {
                    cluster = self.dimensions()?;
                    if cluster.contains(&0) || cluster.iter().try_fold(1u32, |all, &n| all.checked_mul(n)).is_none() {
                        return self.error("a cluster has at least one block, and not as many as these");
                    }
                }
                ".minnctapersm" | ".maxnreg" | ".maxnctapersm" | ".maxclusterrank" => {
                    self.integer("a number")?;
                }
                ".abi_preserve" | ".abi_preserve_control" if !kernel => {
                    self.integer("a number")?;
                }
                ".noreturn" if !kernel => {}
                ".pragma" => {
                    let _ = self.pragma()?;
                }
                _ => return self.error(format!("the directive `{word}` of a function is not supported")),
            }
        }
        if self.take(';') {
            return Ok(None);
        }
        self.expect('{')?;
        let mut body = Body::new(self);
        let mut register_formals = Vec::new();
        for (place, (formal, register)) in returns.iter().chain(&params).enumerate() {
            if let Some(kind) = register {
                register_formals.push((place, body.formal_register(formal.name.clone(), *kind)));
            }
        }
        let body = body.parse()?;
        let plain = |formals: Vec<(Variable, _)>| formals.into_iter().map(|(variable, _)| variable).collect();
        Ok(Some(Function {
            name,
            line,
            signature: Signature { returns: plain(returns), params: plain(params) },
            register_formals,
            required_block,
            max_block,
            cluster,
            registers: body.registers,
            variables: body.variables,
            call_variables: body.call_variables,
            body: body.instructions,
            labels: body.labels,
            prototypes: body.prototypes,
            targets: body.targets,
        }))
    }

    /// `.attribute(…)`, of which nothing is used.
    fn attribute(&mut self) -> Result<()> {
        self.at += 1;
        self.expect('(')?;
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Kind::Mark('(') => depth += 1,
                Kind::Mark(')') => depth -= 1,
                Kind::End => return self.error("an attribute is not closed"),
                _ => {}
            }
        }
        Ok(())
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

    /// Pragmas, of which `used_bytes_mask` is of interest: the mask is returned. (What is not known has no effect.)
    pub(super) fn pragma(&mut self) -> Result<Option<u32>> {
        let mut used_bytes = None;
        loop {
            let Kind::Text(text) = self.next() else {
                return self.error("expected the text of a pragma");
            };
            if let Some(mask) = text.trim().strip_prefix("used_bytes_mask").map(str::trim) {
                used_bytes = match mask.strip_prefix("0x") {
                    Some(digits) => u32::from_str_radix(digits, 16).ok(),
                    None => mask.parse().ok(),
                };
            }
            if self.take(';') {
                return Ok(used_bytes);
            }
            self.expect(',')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::ast::{Location, Operand, RegisterKind};

    const HEAD: &str = ".version 8.0\n.target sm_90a, debug\n.address_size 64\n";

    fn kernel(body: &str) -> Result<Function> {
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
            ("{ A: ret; }\n{ A: ret; A: }", 7, "`A` is defined twice"),
            (".reg .b32 a;\n{ .reg .b32 a; }\n.reg .b64 a;", 8, "`a` is defined twice"),
        ];
        for (body, line, message) in cases {
            let error = kernel(body).unwrap_err();
            assert!(error.message.contains(message), "{body}: {error}");
            assert_eq!(error.line, line, "{body}: {error}");
        }
        assert!(parse("").unwrap_err().message.contains(".version"));
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
