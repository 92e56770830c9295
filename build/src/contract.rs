//! Contracts: what has to hold for a launch, stated in the comment of a kernel.
//!
//! ```text
//! /// @grid    div_ceil(rows, 16)     blocks in x, y, z
//! /// @block   256                    threads of a block in x, y, z
//! /// @shared  4 * dim                dynamic shared memory in bytes
//! /// @len     x == rows * dim        elements that a pointer has (or `>=`)
//! /// @align   x 16                   bytes that its address is a multiple of
//! /// @out     y                      written whole, and never read first
//! /// @require dim % 4 == 0           what must hold besides
//! /// @safe                           the author's word (see below)
//! ```
//!
//! A contract with a grid, a block and a length for every pointer is complete. If its author also signs it with `@safe`,
//! that within these rules the kernel touches only what it was given, *whatever the buffers contain*, then launching it
//! is a safe function.

use std::collections::BTreeMap;

use crate::expression::{Comparison, Expression, Relation};
use crate::types::Type;

/// The rules of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    /// Blocks of the grid in up to three dimensions; empty if not stated.
    pub grid: Vec<Expression>,
    /// Threads of a block in up to three dimensions; empty if not stated.
    pub block: Vec<Expression>,
    /// Dynamic shared memory in bytes.
    pub shared: Option<Expression>,
    /// How many elements pointers have.
    pub lengths: Vec<Length>,
    /// What must hold besides, with its text.
    pub requirements: Vec<(Comparison, String)>,
    /// Bytes that addresses are multiples of, beyond the alignment of the element.
    pub alignments: BTreeMap<String, u64>,
    /// Pointers whose memory is written whole, and never read first.
    pub outputs: Vec<String>,
    /// Whether the author has signed.
    pub safe: bool,
}

/// How many elements a pointer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    /// The pointer.
    pub parameter: String,
    /// `Equal` or `GreaterOrEqual`.
    pub relation: Relation,
    /// The number of elements.
    pub elements: Expression,
    /// The rule as it was written, without `@len`.
    pub text: String,
}

/// A parameter as a contract sees it.
pub type Parameter<'a> = (&'a str, Type);

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No rule has that name.
    #[error("there is no rule `@{0}`; the rules are @grid, @block, @shared, @len, @align, @out, @require and @safe")]
    Unknown(String),
    /// A rule that is given once was given again.
    #[error("`@{0}` is stated twice")]
    Twice(&'static str),
    /// It does not follow the form of the rule.
    #[error("`@{rule}` is written {form}: {problem}")]
    Form {
        /// The rule.
        rule: &'static str,
        /// How it is written.
        form: &'static str,
        /// What is wrong with this one.
        problem: String,
    },
    /// It names what is not a parameter, or not one of the right kind.
    #[error("`@{rule}` names `{name}`, which is not {kind} of the kernel; those are: {known}")]
    Name {
        /// The rule.
        rule: &'static str,
        /// The name.
        name: String,
        /// What it would have to be.
        kind: &'static str,
        /// What there is of that kind.
        known: String,
    },
    /// The contract is signed without being complete.
    #[error("`@safe` signs a complete contract, and this one lacks {0}")]
    Incomplete(String),
}

/// Splits a comment into its documentation and its rules: name, text and line offset of each.
#[must_use]
pub fn split_comment(comment: &str) -> (String, Vec<(String, String, usize)>) {
    let (mut documentation, mut rules) = (Vec::new(), Vec::new());
    for (offset, line) in comment.lines().enumerate() {
        match line.trim().strip_prefix('@') {
            Some(rule) => {
                let (name, text) = rule.split_once(char::is_whitespace).unwrap_or((rule, ""));
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                rules.push((name.to_owned(), text, offset));
            }
            None => documentation.push(line.trim_end()),
        }
    }
    (documentation.join("\n").trim().to_owned(), rules)
}

impl Contract {
    /// Reads rules, each a name and a text, for a kernel with these parameters. Errors come with the number of their
    /// rule; the contract's own (that it is signed but not complete) with none.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read<'r>(
        rules: impl IntoIterator<Item = (&'r str, &'r str)>,
        parameters: &[Parameter<'_>],
    ) -> Result<Self, Vec<(Option<usize>, RuleError)>> {
        let mut contract = Self::default();
        let mut errors = Vec::new();
        for (number, (name, text)) in rules.into_iter().enumerate() {
            if let Err(error) = contract.rule(name, text, parameters) {
                errors.push((Some(number), error));
            }
        }
        let missing = contract.missing(parameters);
        if errors.is_empty() && contract.safe && !missing.is_empty() {
            errors.push((None, RuleError::Incomplete(missing.join(", "))));
        }
        if errors.is_empty() { Ok(contract) } else { Err(errors) }
    }

    /// What a complete contract would state besides.
    #[must_use]
    pub fn missing(&self, parameters: &[Parameter<'_>]) -> Vec<String> {
        let mut missing = Vec::new();
        if self.grid.is_empty() {
            missing.push("`@grid`".to_owned());
        }
        if self.block.is_empty() {
            missing.push("`@block`".to_owned());
        }
        let bounded = |name: &str| self.lengths.iter().any(|length| length.parameter == name);
        let pointers = parameters.iter().filter(|(_, ty)| ty.pointee().is_some());
        missing.extend(pointers.filter(|(name, _)| !bounded(name)).map(|(name, _)| format!("`@len {name}`")));
        missing
    }

    fn rule(&mut self, name: &str, text: &str, parameters: &[Parameter<'_>]) -> Result<(), RuleError> {
        match name {
            "grid" => set_dimensions(&mut self.grid, "grid", text, parameters),
            "block" => set_dimensions(&mut self.block, "block", text, parameters),
            "shared" => {
                let form = |problem| RuleError::Form { rule: "shared", form: "`@shared BYTES`", problem };
                let bytes = Expression::parse(text).map_err(|error| form(error.to_string()))?;
                integers("shared", bytes.names(), parameters)?;
                if self.shared.replace(bytes).is_some() { Err(RuleError::Twice("shared")) } else { Ok(()) }
            }
            "len" => self.length(text, parameters),
            "align" => self.alignment(text, parameters),
            "out" => {
                pointer("out", text, parameters, |ty| matches!(ty, Type::Write(_)), "a pointer that is written")?;
                self.outputs.push(text.to_owned());
                Ok(())
            }
            "require" => {
                let form = |problem| RuleError::Form { rule: "require", form: "`@require A == B`", problem };
                let comparison = Comparison::parse(text).map_err(|error| form(error.to_string()))?;
                integers("require", comparison.names(), parameters)?;
                self.requirements.push((comparison, text.to_owned()));
                Ok(())
            }
            "safe" if text.is_empty() => {
                if std::mem::replace(&mut self.safe, true) {
                    Err(RuleError::Twice("safe"))
                } else {
                    Ok(())
                }
            }
            "safe" => Err(RuleError::Form {
                rule: "safe",
                form: "`@safe`",
                problem: format!("nothing follows it, but here `{text}` does"),
            }),
            _ => Err(RuleError::Unknown(name.to_owned())),
        }
    }

    fn length(&mut self, text: &str, parameters: &[Parameter<'_>]) -> Result<(), RuleError> {
        let form = |problem| RuleError::Form { rule: "len", form: "`@len POINTER == ELEMENTS` (or `>=`)", problem };
        let comparison = Comparison::parse(text).map_err(|error| form(error.to_string()))?;
        let Comparison { left: Expression::Name(name), relation, right } = comparison else {
            return Err(form("the left side is not a pointer".to_owned()));
        };
        if !matches!(relation, Relation::Equal | Relation::GreaterOrEqual) {
            return Err(form(format!("`{}` does not say how many there are", relation.symbol())));
        }
        pointer("len", &name, parameters, |ty| ty.pointee().is_some(), "a pointer")?;
        integers("len", right.names(), parameters)?;
        self.lengths.push(Length { parameter: name, relation, elements: right, text: text.to_owned() });
        Ok(())
    }

    fn alignment(&mut self, text: &str, parameters: &[Parameter<'_>]) -> Result<(), RuleError> {
        let form = |problem: &str| RuleError::Form {
            rule: "align",
            form: "`@align POINTER BYTES`",
            problem: problem.to_owned(),
        };
        let (name, bytes) = text.split_once(char::is_whitespace).ok_or_else(|| form("the bytes are missing"))?;
        pointer("align", name, parameters, |ty| ty.pointee().is_some(), "a pointer")?;
        let bytes = bytes.trim().parse::<u64>().ok().filter(|bytes| bytes.is_power_of_two() && *bytes <= 256);
        let bytes = bytes.ok_or_else(|| form("the bytes are not a power of two up to 256"))?;
        match self.alignments.insert(name.to_owned(), bytes) {
            Some(_) => Err(RuleError::Twice("align")),
            None => Ok(()),
        }
    }
}

fn set_dimensions(
    dimensions: &mut Vec<Expression>,
    rule: &'static str,
    text: &str,
    parameters: &[Parameter<'_>],
) -> Result<(), RuleError> {
    let form = |problem| RuleError::Form { rule, form: "with one to three numbers, `X, Y, Z`", problem };
    let list = Expression::parse_list(text).map_err(|error| form(error.to_string()))?;
    if list.len() > 3 {
        return Err(form(format!("there are {}", list.len())));
    }
    for expression in &list {
        integers(rule, expression.names(), parameters)?;
    }
    if !dimensions.is_empty() {
        return Err(RuleError::Twice(rule));
    }
    *dimensions = list;
    Ok(())
}

/// Checks that names are integer parameters.
fn integers(rule: &'static str, names: Vec<&str>, parameters: &[Parameter<'_>]) -> Result<(), RuleError> {
    let is_integer = |ty: Type| matches!(ty, Type::Scalar(element) if element.is_integer());
    names.into_iter().try_for_each(|name| pointer(rule, name, parameters, is_integer, "an integer parameter"))
}

/// Checks that a name is a parameter of some kind.
fn pointer(
    rule: &'static str,
    name: &str,
    parameters: &[Parameter<'_>],
    accept: impl Fn(Type) -> bool,
    kind: &'static str,
) -> Result<(), RuleError> {
    if parameters.iter().any(|(known, ty)| *known == name && accept(*ty)) {
        return Ok(());
    }
    let known: Vec<&str> = parameters.iter().filter(|(_, ty)| accept(*ty)).map(|(known, _)| *known).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(RuleError::Name { rule, name: name.to_owned(), kind, known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Element;

    const PARAMETERS: [Parameter<'static>; 4] = [
        ("x", Type::Read(Element::F32)),
        ("y", Type::Write(Element::F32)),
        ("n", Type::Scalar(Element::U32)),
        ("scale", Type::Scalar(Element::F32)),
    ];

    fn read(comment: &str) -> Result<Contract, Vec<(Option<usize>, RuleError)>> {
        let (_, rules) = split_comment(comment);
        Contract::read(rules.iter().map(|(name, text, _)| (name.as_str(), text.as_str())), &PARAMETERS)
    }

    #[test]
    fn a_complete_contract() {
        let contract = read(
            "Doubles.\n\n@grid div_ceil(n, 256)\n@block 256\n@shared 4 * n\n@len x == n\n@len y >= n\n@align x 16\n\
             @out y\n@require n % 4 == 0\n@safe",
        )
        .unwrap();
        assert!(contract.safe && contract.missing(&PARAMETERS).is_empty());
        assert_eq!(contract.lengths[1].relation, Relation::GreaterOrEqual);
        assert_eq!(contract.requirements[0].1, "n % 4 == 0");
        assert_eq!(contract.alignments["x"], 16);
        assert_eq!(contract.outputs, ["y"]);
    }

    #[test]
    fn comments_split_into_documentation_and_rules() {
        let (documentation, rules) = split_comment("\nAdds.\n\n  More.\n@grid n\n  @safe\n");
        assert_eq!(documentation, "Adds.\n\n  More.");
        assert_eq!(rules, [("grid".into(), "n".into(), 4), ("safe".into(), String::new(), 5)]);
    }

    #[test]
    fn every_mistake_is_reported() {
        let cases = [
            ("@gird n", "there is no rule `@gird`"),
            ("@grid m", "`@grid` names `m`, which is not an integer parameter of the kernel; those are: n"),
            ("@grid scale", "which is not an integer parameter"),
            ("@grid x", "which is not an integer parameter"),
            ("@grid 1, 2, 3, 4", "one to three numbers"),
            ("@grid 1\n@grid 2", "`@grid` is stated twice"),
            ("@len z == n", "`@len` names `z`, which is not a pointer of the kernel; those are: x, y"),
            ("@len n == n", "which is not a pointer"),
            ("@len x < n", "`<` does not say how many"),
            ("@len x == k", "`@len` names `k`, which is not an integer parameter"),
            ("@len 2 * x == n", "the left side is not a pointer"),
            ("@align x 3", "not a power of two"),
            ("@align x", "the bytes are missing"),
            ("@out x", "which is not a pointer that is written"),
            ("@require n", "expected a comparison"),
            ("@safe yes", "nothing follows it"),
            ("@block 32\n@len x == n\n@safe", "lacks `@grid`, `@len y`"),
        ];
        for (comment, message) in cases {
            let errors = read(comment).unwrap_err();
            assert_eq!(errors.len(), 1, "{comment}: {errors:?}");
            assert!(errors[0].1.to_string().contains(message), "{comment}: {}", errors[0].1);
        }
        assert_eq!(read("@gird n\n@grid n\n@len z == n").unwrap_err().len(), 2);
    }
}
