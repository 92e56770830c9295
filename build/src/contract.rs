//! Contracts: what has to hold for a launch, stated in the comment of a kernel.
//!
//! ```text
//! /// @grid     div_ceil(rows, 16)     blocks in x, y, z
//! /// @block    256                    threads of a block in x, y, z
//! /// @shared   4 * dim                dynamic shared memory in bytes
//! /// @cluster  2                      blocks of a cluster in x, y, z: constants
//! /// @len      x == rows * dim        elements that a pointer has (or `>=`)
//! /// @align    x 16                   bytes that its address is a multiple of
//! /// @out      y                      written whole, and never read first
//! /// @optional mask                   may be null, and what the other rules say of it holds if it is not
//! /// @require  dim % 4 == 0           what must hold besides
//! /// @targets  75 80 90a              what the file is compiled for
//! /// @cooperative                     launched so that all blocks run at once
//! /// @pdl      weight                 launched before what comes before it has ended (programmatic dependent launch);
//! ///                                  until it waits for that, it touches only the memory named here
//! /// @safe                            the author's word (see below)
//! ```
//!
//! Rules compute in whole numbers of 64 bits, with the integer parameters of the kernel, the constants of the headers
//! that CUDA and Rust share, and those of a template: its parameters that are values (`TOKENS`), and constants in those
//! that are types (`W::WORDS`). Each instance has its own, as the compiler says.
//!
//! A contract with a grid, a block and a length for every pointer is complete. If its author also signs it with `@safe`,
//! that within these rules the kernel touches only what it was given, *whatever the buffers contain*, then launching it
//! is a safe function.

use std::collections::BTreeMap;

use crate::expression::{Comparison, Expression, Relation};
use crate::target::Target;
use crate::types::{Element, Type};

/// The rules of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    /// Blocks of the grid.
    pub grid: Option<Dimensions>,
    /// Threads of a block.
    pub block: Option<Dimensions>,
    /// Dynamic shared memory in bytes, with its text.
    pub shared: Option<(Expression, String)>,
    /// Blocks of a cluster.
    pub cluster: Option<[u32; 3]>,
    /// How many elements pointers have.
    pub lengths: Vec<Length>,
    /// What must hold besides, with its text.
    pub requirements: Vec<(Comparison, String)>,
    /// Bytes that addresses are multiples of, beyond the alignment of the element.
    pub alignments: BTreeMap<String, u64>,
    /// Pointers whose memory is written whole, and never read first.
    pub outputs: Vec<String>,
    /// Pointers that may be null.
    pub optional: Vec<String>,
    /// What the file is compiled for; empty if not stated.
    pub targets: Vec<Target>,
    /// Whether all blocks have to run at once.
    pub cooperative: bool,
    /// For a programmatic dependent launch, the pointers whose memory is touched before the wait.
    pub programmatic: Option<Vec<String>>,
    /// Whether the author has signed.
    pub safe: bool,
}

/// Up to three numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions {
    /// In x, y and z; those left out are 1.
    pub sizes: Vec<Expression>,
    /// The rule as it was written, without its name.
    pub text: String,
}

impl Dimensions {
    /// The numbers, if they are the same for every launch.
    #[must_use]
    pub fn constant(&self) -> Option<[i64; 3]> {
        let mut sizes = [1; 3];
        for (size, expression) in sizes.iter_mut().zip(&self.sizes) {
            *size = expression.constant()?;
        }
        Some(sizes)
    }
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

/// What the rules of a kernel may name.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Its parameters.
    pub parameters: &'a [(&'a str, &'a Type)],
    /// The whole numbers among the constants of the shared headers.
    pub constants: &'a BTreeMap<String, i64>,
    /// The constants of the template, if it is an instance of one.
    pub template: Option<&'a BTreeMap<String, i64>>,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No rule has that name.
    #[error("there is no rule `@{0}`; the rules are {RULES}")]
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

/// Every rule there is.
const RULES: &str = "@grid, @block, @shared, @cluster, @len, @align, @out, @optional, @require, @targets, @cooperative, \
                     @pdl and @safe";

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

/// Reads the text of `@targets`: targets with spaces or commas between them.
///
/// # Errors
/// [`RuleError::Form`]
pub fn targets(text: &str) -> Result<Vec<Target>, RuleError> {
    let form = |problem| RuleError::Form { rule: "targets", form: "`@targets 75 80 90a`", problem };
    let mut targets = Vec::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let target = Target::parse(word).ok_or_else(|| form(format!("`{word}` is not a target")))?;
        if targets.contains(&target) {
            return Err(form(format!("`{word}` is named twice")));
        }
        targets.push(target);
    }
    if targets.is_empty() {
        return Err(form("there is none".to_owned()));
    }
    targets.sort();
    Ok(targets)
}

impl Contract {
    /// Reads rules, each a name and a text. Errors come with the number of their rule; the contract's own (that it is
    /// signed but not complete) with none.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read<'r>(
        rules: impl IntoIterator<Item = (&'r str, &'r str)>,
        scope: Scope<'_>,
    ) -> Result<Self, Vec<(Option<usize>, RuleError)>> {
        let mut contract = Self::default();
        let mut errors = Vec::new();
        for (number, (name, text)) in rules.into_iter().enumerate() {
            if let Err(error) = contract.rule(name, text, scope) {
                errors.push((Some(number), error));
            }
        }
        let missing = contract.missing(scope.parameters);
        if errors.is_empty() && contract.safe && !missing.is_empty() {
            errors.push((None, RuleError::Incomplete(missing.join(", "))));
        }
        if errors.is_empty() { Ok(contract) } else { Err(errors) }
    }

    /// What a complete contract would state besides, and what none can.
    #[must_use]
    pub fn missing(&self, parameters: &[(&str, &Type)]) -> Vec<String> {
        let mut missing = Vec::new();
        if self.grid.is_none() {
            missing.push("`@grid`".to_owned());
        }
        if self.block.is_none() {
            missing.push("`@block`".to_owned());
        }
        let bounded = |name: &str| self.lengths.iter().any(|length| length.parameter == name);
        let pointers = parameters.iter().filter(|(_, ty)| ty.pointee().is_some());
        missing.extend(pointers.filter(|(name, _)| !bounded(name)).map(|(name, _)| format!("`@len {name}`")));
        missing.extend(parameters.iter().filter_map(|(name, ty)| match ty.element() {
            Element::Struct(of) if of.pointers => {
                Some(format!("a bound for the pointers in `{name}`, which no rule can give"))
            }
            _ => None,
        }));
        missing
    }

    /// The parameters that it computes with.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let dimensions = [&self.grid, &self.block].into_iter().flatten().flat_map(|dimensions| &dimensions.sizes);
        let shared = self.shared.iter().map(|(bytes, _)| bytes);
        let lengths = self.lengths.iter().map(|length| &length.elements);
        let requirements = self.requirements.iter().flat_map(|(comparison, _)| comparison.names());
        dimensions.chain(shared).chain(lengths).flat_map(Expression::names).chain(requirements).collect()
    }

    /// Whether it gives grid and block, so that a launch is not told them.
    #[must_use]
    pub fn has_geometry(&self) -> bool {
        self.grid.is_some() && self.block.is_some()
    }

    fn rule(&mut self, name: &str, text: &str, scope: Scope<'_>) -> Result<(), RuleError> {
        match name {
            "grid" => once("grid", &mut self.grid, dimensions("grid", text, scope)?),
            "block" => once("block", &mut self.block, dimensions("block", text, scope)?),
            "shared" => {
                let form = |problem| RuleError::Form { rule: "shared", form: "`@shared BYTES`", problem };
                let bytes = Expression::parse(text).map_err(|error| form(error.to_string()))?;
                once("shared", &mut self.shared, (scope.computed("shared", bytes)?, text.to_owned()))
            }
            "cluster" => {
                let form = |problem| RuleError::Form { rule: "cluster", form: "`@cluster X, Y, Z`", problem };
                let sizes = dimensions("cluster", text, scope)?.constant();
                let sizes = sizes.ok_or_else(|| form("it is the same for every launch".to_owned()))?;
                let blocks = sizes.iter().try_fold(1i64, |product, size| product.checked_mul(*size));
                if sizes.iter().any(|size| *size < 1) || blocks.is_none_or(|blocks| blocks > 16) {
                    return Err(form("a cluster has between 1 and 16 blocks".to_owned()));
                }
                once("cluster", &mut self.cluster, sizes.map(|size| size as u32))
            }
            "len" => self.length(text, scope),
            "align" => self.alignment(text, scope),
            "out" => {
                scope.parameter("out", text, |ty| matches!(ty, Type::Write(_)), "a written pointer")?;
                listed("out", &mut self.outputs, text)
            }
            "optional" => {
                scope.pointer("optional", text)?;
                listed("optional", &mut self.optional, text)
            }
            "require" => {
                let form = |problem| RuleError::Form { rule: "require", form: "`@require A == B`", problem };
                let comparison = Comparison::parse(text).map_err(|error| form(error.to_string()))?;
                scope.integers("require", comparison.names())?;
                let comparison = comparison.substitute(&|name| scope.constant(name));
                self.requirements.push((comparison, text.to_owned()));
                Ok(())
            }
            "targets" => {
                let read = targets(text)?;
                if std::mem::replace(&mut self.targets, read).is_empty() {
                    Ok(())
                } else {
                    Err(RuleError::Twice("targets"))
                }
            }
            "pdl" => {
                let early: Vec<String> =
                    text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
                early.iter().try_for_each(|name| scope.pointer("pdl", name))?;
                once("pdl", &mut self.programmatic, early)
            }
            "cooperative" => flag("cooperative", "`@cooperative`", &mut self.cooperative, text),
            "safe" => flag("safe", "`@safe`", &mut self.safe, text),
            _ => Err(RuleError::Unknown(name.to_owned())),
        }
    }

    fn length(&mut self, text: &str, scope: Scope<'_>) -> Result<(), RuleError> {
        let form = |problem| RuleError::Form { rule: "len", form: "`@len POINTER == ELEMENTS` (or `>=`)", problem };
        let comparison = Comparison::parse(text).map_err(|error| form(error.to_string()))?;
        let Comparison { left: Expression::Name(name), relation, right } = comparison else {
            return Err(form("the left side is not a pointer".to_owned()));
        };
        if !matches!(relation, Relation::Equal | Relation::GreaterOrEqual) {
            return Err(form(format!("`{}` does not say how many there are", relation.symbol())));
        }
        scope.pointer("len", &name)?;
        let elements = scope.computed("len", right)?;
        self.lengths.push(Length { parameter: name, relation, elements, text: text.to_owned() });
        Ok(())
    }

    fn alignment(&mut self, text: &str, scope: Scope<'_>) -> Result<(), RuleError> {
        let form = |problem: &str| RuleError::Form {
            rule: "align",
            form: "`@align POINTER BYTES`",
            problem: problem.to_owned(),
        };
        let (name, bytes) = text.split_once(char::is_whitespace).ok_or_else(|| form("the bytes are missing"))?;
        scope.pointer("align", name)?;
        let bytes = Expression::parse(bytes).ok().and_then(|bytes| scope.computed("align", bytes).ok()?.constant());
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = bytes.filter(|bytes| bytes.is_power_of_two() && *bytes <= 256);
        let bytes = bytes.ok_or_else(|| form("the bytes are not a power of two up to 256"))?;
        match self.alignments.insert(name.to_owned(), bytes) {
            Some(_) => Err(RuleError::Twice("align")),
            None => Ok(()),
        }
    }
}

/// Sets what is stated once.
fn once<T>(rule: &'static str, place: &mut Option<T>, value: T) -> Result<(), RuleError> {
    match place.replace(value) {
        Some(_) => Err(RuleError::Twice(rule)),
        None => Ok(()),
    }
}

/// Adds a name that is listed once.
fn listed(rule: &'static str, list: &mut Vec<String>, name: &str) -> Result<(), RuleError> {
    if list.iter().any(|known| known == name) {
        return Err(RuleError::Twice(rule));
    }
    list.push(name.to_owned());
    Ok(())
}

/// Sets a rule that has no text.
fn flag(rule: &'static str, form: &'static str, place: &mut bool, text: &str) -> Result<(), RuleError> {
    if !text.is_empty() {
        let problem = format!("nothing follows it, but here `{text}` does");
        return Err(RuleError::Form { rule, form, problem });
    }
    if std::mem::replace(place, true) { Err(RuleError::Twice(rule)) } else { Ok(()) }
}

fn dimensions(rule: &'static str, text: &str, scope: Scope<'_>) -> Result<Dimensions, RuleError> {
    let form = |problem| RuleError::Form { rule, form: "with one to three numbers, `X, Y, Z`", problem };
    let list = Expression::parse_list(text).map_err(|error| form(error.to_string()))?;
    if list.len() > 3 {
        return Err(form(format!("there are {}", list.len())));
    }
    let sizes = list.into_iter().map(|size| scope.computed(rule, size)).collect::<Result<_, _>>()?;
    Ok(Dimensions { sizes, text: text.to_owned() })
}

impl Scope<'_> {
    /// The value of a constant. A parameter of the same name hides it, and one of the template that of a header.
    fn constant(&self, name: &str) -> Option<i64> {
        let hidden = self.parameters.iter().any(|(known, _)| *known == name);
        let of_template = self.template.and_then(|constants| constants.get(name));
        of_template.or_else(|| self.constants.get(name)).filter(|_| !hidden).copied()
    }

    /// An expression with its constants in place, if all else that it names are integer parameters.
    fn computed(&self, rule: &'static str, expression: Expression) -> Result<Expression, RuleError> {
        self.integers(rule, expression.names())?;
        Ok(expression.substitute(&|name| self.constant(name)))
    }

    /// Checks that names are constants or integer parameters.
    fn integers(&self, rule: &'static str, names: Vec<&str>) -> Result<(), RuleError> {
        let kind = match self.template {
            Some(_) => "an integer parameter (or a constant of the template, or of a shared header)",
            None if self.constants.is_empty() => "an integer parameter (or a constant of a header `include/*.h`)",
            None => "an integer parameter (or a constant of a shared header)",
        };
        names
            .into_iter()
            .filter(|name| self.constant(name).is_none())
            .try_for_each(|name| self.parameter(rule, name, Type::is_integer, kind))
    }

    /// Checks that a name is that of a pointer.
    fn pointer(&self, rule: &'static str, name: &str) -> Result<(), RuleError> {
        self.parameter(rule, name, |ty| ty.pointee().is_some(), "a pointer")
    }

    /// Checks that a name is a parameter of some kind.
    fn parameter(
        &self,
        rule: &'static str,
        name: &str,
        accept: impl Fn(&Type) -> bool,
        kind: &'static str,
    ) -> Result<(), RuleError> {
        if self.parameters.iter().any(|(known, ty)| *known == name && accept(ty)) {
            return Ok(());
        }
        let known: Vec<&str> = self.parameters.iter().filter(|(_, ty)| accept(ty)).map(|(known, _)| *known).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(RuleError::Name { rule, name: name.to_owned(), kind, known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Number, StructType};

    fn number(number: Number) -> Element {
        number.into()
    }

    fn read(comment: &str) -> Result<Contract, Vec<(Option<usize>, RuleError)>> {
        let types = [
            Type::Read(number(Number::F32)),
            Type::Write(number(Number::F32)),
            Type::Scalar(number(Number::U32)),
            Type::Scalar(number(Number::F32)),
        ];
        let parameters: Vec<_> = ["x", "y", "n", "scale"].into_iter().zip(&types).collect();
        let constants =
            BTreeMap::from([("TILE", 16), ("N", 3), ("n", 1)].map(|(name, value)| (name.to_owned(), value)));
        let template = BTreeMap::from([("W::WORDS".to_owned(), 4), ("N".to_owned(), 8)]);
        let (_, rules) = split_comment(comment);
        let rules = rules.iter().map(|(name, text, _)| (name.as_str(), text.as_str()));
        Contract::read(rules, Scope { parameters: &parameters, constants: &constants, template: Some(&template) })
    }

    #[test]
    fn a_complete_contract() {
        let contract = read(
            "Doubles.\n\n@grid div_ceil(n, 256)\n@block TILE * 16\n@shared 4 * n\n@cluster 2\n@len x == n\n\
             @len y >= n * TILE\n@align x TILE\n@out y\n@optional x\n@require n % 4 == 0\n@targets 80, 75 90a\n\
             @cooperative\n@pdl x\n@safe",
        )
        .unwrap();
        assert!(contract.safe && contract.cooperative);
        assert_eq!(contract.lengths[1].relation, Relation::GreaterOrEqual);
        // a parameter hides a constant
        assert_eq!(contract.lengths[1].elements.to_string(), "(n * 16)");
        assert_eq!(contract.requirements[0].1, "n % 4 == 0");
        assert_eq!(contract.alignments["x"], 16);
        assert_eq!((contract.outputs, contract.optional), (vec!["y".to_owned()], vec!["x".to_owned()]));
        let block = contract.block.unwrap();
        assert_eq!((block.constant(), block.text.as_str()), (Some([256, 1, 1]), "TILE * 16"));
        assert_eq!(contract.cluster, Some([2, 1, 1]));
        assert_eq!(contract.targets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["75", "80", "90a"]);
        assert_eq!(contract.programmatic, Some(vec!["x".to_owned()]));
    }

    #[test]
    fn constants_of_a_template() {
        let contract = read("@grid div_ceil(n, N), TILE\n@block 32 * W::WORDS\n@len x == n * W::WORDS").unwrap();
        let sizes: Vec<String> = contract.grid.unwrap().sizes.iter().map(ToString::to_string).collect();
        assert_eq!(sizes, ["div_ceil(n, 8)", "16"]);
        assert_eq!(contract.block.unwrap().constant(), Some([128, 1, 1]));
        assert_eq!(contract.lengths[0].elements.to_string(), "(n * 4)");
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
            (
                "@grid m",
                "names `m`, which is not an integer parameter (or a constant of the template, or of a shared header)",
            ),
            ("@grid W::m", "`@grid` names `W::m`, which is not an integer parameter"),
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
            ("@align x n", "not a power of two"),
            ("@align x", "the bytes are missing"),
            ("@out x", "which is not a written pointer"),
            ("@out y\n@out y", "`@out` is stated twice"),
            ("@optional n", "which is not a pointer"),
            ("@require n", "expected a comparison"),
            ("@cluster n", "the same for every launch"),
            ("@cluster 4, 8", "between 1 and 16 blocks"),
            ("@targets sm_80", "`sm_80` is not a target"),
            ("@targets", "there is none"),
            ("@pdl n", "which is not a pointer"),
            ("@cooperative yes", "nothing follows it"),
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

    #[test]
    fn pointers_in_structs_are_never_bounded() {
        let of = StructType { name: "Args".into(), size: 8, align: 8, pointers: true };
        let ty = Type::Scalar(Element::Struct(of));
        let parameters = [("args", &ty)];
        let rules = [("grid", "1"), ("block", "1"), ("safe", "")];
        let errors =
            Contract::read(rules, Scope { parameters: &parameters, constants: &BTreeMap::new(), template: None })
                .unwrap_err();
        assert!(errors[0].1.to_string().contains("the pointers in `args`"), "{}", errors[0].1);
    }
}
