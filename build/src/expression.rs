//! The language in which rules compute: whole numbers, parameters, `+ - * / %`, `div_ceil`, `min`, `max`, comparisons.

use std::fmt;

/// A number to be computed at launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A literal.
    Number(i64),
    /// An integer parameter of the kernel, or a constant: `dim`, `W::WORDS`.
    Name(String),
    /// An operation on two numbers.
    Binary(Operator, Box<Expression>, Box<Expression>),
}

/// What an expression does with two numbers. All are checked: a result that 64 bits do not hold, or a division by zero,
/// is an error of the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    /// Division rounded up.
    DivCeil,
    Minimum,
    Maximum,
}

/// Two numbers compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The number on the left.
    pub left: Expression,
    /// How they are compared.
    pub relation: Relation,
    /// The number on the right.
    pub right: Expression,
}

/// How numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Equal, "=="),
        (Self::NotEqual, "!="),
        (Self::LessOrEqual, "<="),
        (Self::GreaterOrEqual, ">="),
        (Self::Less, "<"),
        (Self::Greater, ">"),
    ];

    /// As it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(relation, _)| *relation == self).map_or("", |(_, symbol)| symbol)
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at `{rest}`")]
pub struct ExpressionError {
    /// What is wrong.
    pub message: String,
    /// The text from where it is wrong.
    pub rest: String,
}

type Result<T> = std::result::Result<T, ExpressionError>;

impl Expression {
    /// Parses one expression that is the whole text.
    ///
    /// # Errors
    /// Where the text is no expression, and why.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text, depth: 0 };
        let expression = parser.sum()?;
        parser.end()?;
        Ok(expression)
    }

    /// Parses expressions separated by commas.
    ///
    /// # Errors
    /// Where the text is no list of expressions, and why.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let mut parser = Parser { rest: text, depth: 0 };
        let mut list = vec![parser.sum()?];
        while parser.take(",") {
            list.push(parser.sum()?);
        }
        parser.end()?;
        Ok(list)
    }

    /// The names that it computes with.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Name(name) => vec![name],
            Self::Binary(_, left, right) => [left.names(), right.names()].concat(),
        }
    }

    /// The same with names replaced by the numbers that they stand for.
    #[must_use]
    pub fn substitute(self, value: &impl Fn(&str) -> Option<i64>) -> Self {
        match self {
            Self::Number(_) => self,
            Self::Name(ref name) => value(name).map_or(self, Self::Number),
            Self::Binary(operator, left, right) => {
                Self::Binary(operator, Box::new(left.substitute(value)), Box::new(right.substitute(value)))
            }
        }
    }

    /// Its value if it has no names and no error.
    #[must_use]
    pub fn constant(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(_) => None,
            Self::Binary(operator, left, right) => operator.apply(left.constant()?, right.constant()?),
        }
    }
}

impl Operator {
    /// The result, if there is one that 64 bits hold.
    #[must_use]
    pub fn apply(self, left: i64, right: i64) -> Option<i64> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Remainder => left.checked_rem(right),
            Self::DivCeil => {
                let (quotient, rest) = (left.checked_div(right)?, left.checked_rem(right)?);
                quotient.checked_add(i64::from(rest != 0 && (rest > 0) == (right > 0)))
            }
            Self::Minimum => Some(left.min(right)),
            Self::Maximum => Some(left.max(right)),
        }
    }
}

impl Comparison {
    /// Parses one comparison that is the whole text.
    ///
    /// # Errors
    /// Where the text is no comparison, and why.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text, depth: 0 };
        let left = parser.sum()?;
        let relation = parser.relation()?;
        let right = parser.sum()?;
        parser.end()?;
        Ok(Self { left, relation, right })
    }

    /// The names that it computes with.
    pub fn names(&self) -> Vec<&str> {
        [self.left.names(), self.right.names()].concat()
    }

    /// The same with names replaced by the numbers that they stand for.
    #[must_use]
    pub fn substitute(self, value: &impl Fn(&str) -> Option<i64>) -> Self {
        Self { left: self.left.substitute(value), relation: self.relation, right: self.right.substitute(value) }
    }
}

/// Expressions may be nested this deep.
const MAX_DEPTH: usize = 64;

/// Where the number or name at the start of a text ends, 0 if there is none. A name may have others before it:
/// `W::WORDS`.
fn word_end(text: &str) -> usize {
    let part = |from: usize| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text[from..].find(|c| !is_word(c)).map_or(text.len(), |length| from + length)
    };
    let mut end = part(0);
    while end > 0 && text[end..].starts_with("::") {
        match part(end + 2) {
            next if next == end + 2 => break,
            next => end = next,
        }
    }
    end
}

/// The numbers and names of a text, whatever stands between them.
#[cfg(feature = "compile")]
pub(crate) fn words(mut text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    while let Some(next) = text.chars().next() {
        match word_end(text) {
            0 => text = &text[next.len_utf8()..],
            end => {
                words.push(&text[..end]);
                text = &text[end..];
            }
        }
    }
    words
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(ExpressionError { message: message.into(), rest: self.rest.to_owned() })
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let (word, rest) = self.rest.split_at(word_end(self.rest));
        self.rest = rest;
        word
    }

    fn end(&mut self) -> Result<()> {
        self.rest = self.rest.trim();
        if self.rest.is_empty() { Ok(()) } else { self.error("expected an operator or the end") }
    }

    fn relation(&mut self) -> Result<Relation> {
        match Relation::ALL.into_iter().find(|(_, symbol)| self.take(symbol)) {
            Some((relation, _)) => Ok(relation),
            None => self.error("expected a comparison (==, !=, <, <=, >, >=)"),
        }
    }

    fn chain(
        &mut self,
        operators: &[(&str, Operator)],
        operand: impl Fn(&mut Self) -> Result<Expression>,
    ) -> Result<Expression> {
        let mut left = operand(self)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.take(symbol)) {
            left = Expression::Binary(*operator, Box::new(left), Box::new(operand(self)?));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expression> {
        self.chain(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expression> {
        let operators = [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];
        self.chain(&operators, Self::factor)
    }

    fn factor(&mut self) -> Result<Expression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("the expression is nested too deep");
        }
        let factor = if self.take("(") {
            let inner = self.sum()?;
            if !self.take(")") {
                return self.error("expected `)`");
            }
            inner
        } else {
            self.value()?
        };
        self.depth -= 1;
        Ok(factor)
    }

    fn value(&mut self) -> Result<Expression> {
        let before = self.rest;
        let word = self.word();
        let failed = |message: String| Err(ExpressionError { message, rest: before.trim().to_owned() });
        if word.is_empty() {
            return failed("expected a number, a parameter or `(`".to_owned());
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return match word.parse() {
                Ok(number) => Ok(Expression::Number(number)),
                Err(_) => failed(format!("`{word}` is not a number")),
            };
        }
        if !self.take("(") {
            return Ok(Expression::Name(word.to_owned()));
        }
        let operator = match word {
            "div_ceil" => Operator::DivCeil,
            "min" => Operator::Minimum,
            "max" => Operator::Maximum,
            _ => return failed(format!("there is no function `{word}`, only div_ceil, min and max")),
        };
        let left = self.sum()?;
        if !self.take(",") {
            return self.error(format!("`{word}` takes two numbers: expected `,`"));
        }
        let right = self.sum()?;
        if !self.take(")") {
            return self.error("expected `)`");
        }
        Ok(Expression::Binary(operator, Box::new(left), Box::new(right)))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Binary(operator, left, right) => match operator {
                Operator::Add => write!(f, "({left} + {right})"),
                Operator::Subtract => write!(f, "({left} - {right})"),
                Operator::Multiply => write!(f, "({left} * {right})"),
                Operator::Divide => write!(f, "({left} / {right})"),
                Operator::Remainder => write!(f, "({left} % {right})"),
                Operator::DivCeil => write!(f, "div_ceil({left}, {right})"),
                Operator::Minimum => write!(f, "min({left}, {right})"),
                Operator::Maximum => write!(f, "max({left}, {right})"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_and_functions() {
        let shown = |text: &str| Expression::parse(text).unwrap().to_string();
        assert_eq!(shown("a + 2*b - c%4"), "((a + (2 * b)) - (c % 4))");
        assert_eq!(shown("(a+b) * div_ceil(c, max(1, d))"), "((a + b) * div_ceil(c, max(1, d)))");
        assert_eq!(shown("8 / 4 / 2"), "((8 / 4) / 2)");
        let list = Expression::parse_list("a, min(b, 2), 3").unwrap();
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "min(b, 2)", "3"]);
        let comparison = Comparison::parse("n == W::WORDS*A::B::C").unwrap();
        assert_eq!(comparison.names(), ["n", "W::WORDS", "A::B::C"]);
        let comparison = Comparison::parse("dim % 4 == 0").unwrap();
        assert_eq!((comparison.relation, comparison.names()), (Relation::Equal, vec!["dim"]));
        assert_eq!(Comparison::parse("a <= b").unwrap().relation, Relation::LessOrEqual);
    }

    #[cfg(feature = "compile")]
    #[test]
    fn words_of_any_text() {
        assert_eq!(words("x==div_ceil(W::WORDS , 4)é::b:: c"), ["x", "div_ceil", "W::WORDS", "4", "b", "c"]);
        assert_eq!(words(":::: é"), [""; 0]);
    }

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(Operator::DivCeil.apply(7, 2), Some(4));
        assert_eq!(Operator::DivCeil.apply(8, 2), Some(4));
        assert_eq!(Operator::DivCeil.apply(0, 2), Some(0));
        assert_eq!(Operator::DivCeil.apply(-7, 2), Some(-3));
        assert_eq!(Operator::DivCeil.apply(7, 0), None);
        assert_eq!(Operator::Divide.apply(i64::MIN, -1), None);
        assert_eq!(Operator::Multiply.apply(i64::MAX, 2), None);
        assert_eq!(Expression::parse("2 * (3 + 4) % 5").unwrap().constant(), Some(4));
        assert_eq!(Expression::parse("2 / (1 - 1)").unwrap().constant(), None);
        assert_eq!(Expression::parse("n + 1").unwrap().constant(), None);
    }

    #[test]
    fn errors_say_where() {
        let message = |text: &str| Comparison::parse(text).unwrap_err().to_string();
        assert_eq!(message("a b"), "expected a comparison (==, !=, <, <=, >, >=) at `b`");
        assert_eq!(message("a == "), "expected a number, a parameter or `(` at ``");
        assert_eq!(message("a == b c"), "expected an operator or the end at `c`");
        assert_eq!(message("a == sqrt(b)"), "there is no function `sqrt`, only div_ceil, min and max at `sqrt(b)`");
        assert_eq!(
            message("a == 99999999999999999999"),
            "`99999999999999999999` is not a number at `99999999999999999999`"
        );
        assert_eq!(message("a == W::"), "expected an operator or the end at `::`");
        assert_eq!(message("a == ::W"), "expected a number, a parameter or `(` at `::W`");
        assert_eq!(message("a == 4::W"), "`4::W` is not a number at `4::W`");
        assert_eq!(message("(a == 1"), "expected `)` at `== 1`");
        assert!(message(&"(".repeat(1000)).contains("nested too deep"));
    }
}
