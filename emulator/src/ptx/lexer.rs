//! Splits PTX text into tokens.

use super::PtxError;

/// A token and the line it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind<'a> {
    /// A name, an opcode or a directive, with all its dotted parts: `ld.global.nc.f32`, `%tid.x`, `.reg`.
    Word(&'a str),
    /// An integer, its bits in 64.
    Integer(u64),
    /// `0f…` or `0d…`: the bits of a number of 32 or 64 bits.
    Float(u64),
    /// `1.5`, `.5`, `1e-3`: a number of 64 bits, or two that a point divides.
    Decimal(&'a str),
    /// `"…"`, without the quotes.
    Text(&'a str),
    /// One of `, ; : { } ( ) [ ] < > = @ ! | + - _`.
    Mark(char),
    /// The end of the text.
    End,
}

/// All tokens of `source`, the last of them [`Kind::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, PtxError> {
    Lexer { source, at: 0, line: 1 }.run()
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn run(mut self) -> Result<Vec<Token<'a>>, PtxError> {
        let mut tokens = Vec::new();
        loop {
            self.skip_space()?;
            let line = self.line;
            let kind = self.next()?;
            tokens.push(Token { kind, line });
            if kind == Kind::End {
                return Ok(tokens);
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.source.as_bytes()[self.at..]
    }

    fn error(&self, message: impl Into<String>) -> PtxError {
        PtxError::new(self.line, message)
    }

    /// Takes bytes while `accept` holds. PTX is ASCII but for comments and strings, so this ends on a character boundary.
    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let length = self.rest().iter().take_while(|&&byte| byte.is_ascii() && accept(byte)).count();
        let word = &self.source[self.at..self.at + length];
        self.at += length;
        word
    }

    fn skip_space(&mut self) -> Result<(), PtxError> {
        loop {
            match self.rest() {
                [b'\n', ..] => {
                    self.line += 1;
                    self.at += 1;
                }
                [b' ' | b'\t' | b'\r' | b'\0', ..] => self.at += 1,
                [b'/', b'/', ..] => {
                    self.at += self.rest().iter().position(|&byte| byte == b'\n').unwrap_or(self.rest().len());
                }
                [b'/', b'*', ..] => {
                    let comment = self.rest();
                    let end = comment.windows(2).skip(2).position(|pair| pair == b"*/");
                    let end = end.ok_or_else(|| self.error("a comment is not closed"))? + 4;
                    self.line += comment[..end].iter().filter(|&&byte| byte == b'\n').count() as u32;
                    self.at += end;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Kind<'a>, PtxError> {
        let word_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.');
        match self.rest() {
            [] => Ok(Kind::End),
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => match self.decimal_length() {
                Some(length) => {
                    self.at += length;
                    Ok(Kind::Decimal(&self.source[self.at - length..self.at]))
                }
                None => self.number(),
            },
            [b'"', ..] => {
                let end = self.rest()[1..].iter().position(|&byte| byte == b'"' || byte == b'\n');
                let end = end.ok_or_else(|| self.error("a string is not closed"))?;
                if self.rest()[end + 1] == b'\n' {
                    return Err(self.error("a string is not closed"));
                }
                let text = &self.source[self.at + 1..self.at + 1 + end];
                self.at += end + 2;
                Ok(Kind::Text(text))
            }
            [b'_', next, ..] if !word_byte(*next) => {
                self.at += 1;
                Ok(Kind::Mark('_'))
            }
            [byte, ..] if word_byte(*byte) => {
                let start = self.at;
                self.take_while(word_byte);
                // `.shared::cta`: a double colon belongs to the word, a single one ends a label.
                while matches!(self.rest(), [b':', b':', next, ..] if word_byte(*next)) {
                    self.at += 2;
                    self.take_while(word_byte);
                }
                Ok(Kind::Word(&self.source[start..self.at]))
            }
            [
                byte @ (b',' | b';' | b':' | b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'<' | b'>' | b'=' | b'@' | b'!'
                | b'|' | b'+' | b'-'),
                ..,
            ] => {
                self.at += 1;
                Ok(Kind::Mark(char::from(*byte)))
            }
            _ => {
                let found = self.source[self.at..].chars().next().unwrap_or_default();
                Err(self.error(format!("{found:?} has no place in PTX")))
            }
        }
    }

    /// The length of a decimal number that has a point or an exponent.
    fn decimal_length(&self) -> Option<usize> {
        let text = self.rest();
        let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = digits(0);
        let mut end = whole;
        // A point may be the last of a number, but the one before a name begins a directive.
        if let [b'.', rest @ ..] = &text[end..]
            && !matches!(rest, [byte, ..] if byte.is_ascii_alphabetic() || *byte == b'_')
        {
            end += 1 + digits(end + 1);
        }
        if let [b'e' | b'E', rest @ ..] = &text[end..] {
            let sign = usize::from(matches!(rest, [b'+' | b'-', ..]));
            let exponent = digits(end + 1 + sign);
            end += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        (end > whole).then_some(end)
    }

    fn number(&mut self) -> Result<Kind<'a>, PtxError> {
        let text = self.take_while(|byte| byte.is_ascii_alphanumeric());
        let lower = text.to_ascii_lowercase();
        let bad = || self.error(format!("{text:?} is not a number"));
        let parse = |digits: &str, radix| u64::from_str_radix(digits, radix).map_err(|_| bad());
        let float_digits = |prefix: &str, length: usize| lower.strip_prefix(prefix).filter(|d| d.len() == length);
        if let Some(digits) = float_digits("0f", 8).or_else(|| float_digits("0d", 16)) {
            return parse(digits, 16).map(Kind::Float);
        }
        let digits = lower.strip_suffix('u').unwrap_or(&lower);
        let value = if let Some(digits) = digits.strip_prefix("0x") {
            parse(digits, 16)?
        } else if let Some(digits) = digits.strip_prefix("0b") {
            parse(digits, 2)?
        } else if digits.len() > 1 && digits.starts_with('0') {
            parse(digits, 8)?
        } else {
            parse(digits, 10)?
        };
        Ok(Kind::Integer(value))
    }
}
