//! The head of a template, `template <class W, uint32_t TOKENS>`: what its parameters are called.

use super::tokens::{Placed, Token};
use super::{closing, shown};

/// The parameters of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TemplateHead {
    /// All of them as they are written, as tokens with single spaces: `class W, uint32_t TOKENS`.
    pub(crate) text: String,
    /// The names of those that are types.
    types: Vec<String>,
    /// The names of those that are values.
    values: Vec<String>,
}

impl TemplateHead {
    /// Reads what stands between the angle brackets.
    pub(super) fn read(tokens: &[Placed]) -> Self {
        let mut head = Self { text: shown(tokens.iter().map(|(token, _)| token)), ..Self::default() };
        let (mut start, mut depth, mut at) = (0, 0u32, 0);
        // Where the default value of the present parameter begins.
        let mut default = None;
        while let Some((token, _)) = tokens.get(at) {
            match token {
                Token::Mark('(' | '[' | '{') => {
                    at = closing(tokens, at).unwrap_or(tokens.len());
                    continue;
                }
                Token::Mark('<') => depth += 1,
                Token::Mark('>') => depth = depth.saturating_sub(1),
                Token::Mark('=') if depth == 0 => default = default.or(Some(at)),
                Token::Mark(',') if depth == 0 => {
                    head.parameter(&tokens[start..default.take().unwrap_or(at)]);
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        head.parameter(&tokens[start..default.unwrap_or(tokens.len())]);
        head
    }

    /// Adds a parameter, without its default value. Packs and templates have nothing that a rule could name.
    fn parameter(&mut self, tokens: &[Placed]) {
        let code = |token: &&Token| matches!(token, Token::Word(_) | Token::Mark(_));
        let tokens: Vec<&Token> = tokens.iter().map(|(token, _)| token).filter(code).collect();
        let is_pack = tokens.iter().any(|token| token.is_mark('.'));
        match &tokens[..] {
            _ if is_pack => {}
            [first, ..] if first.is_word("template") => {}
            [first, Token::Word(name)] if first.is_word("class") || first.is_word("typename") => {
                self.types.push(name.clone());
            }
            // After a colon it is the end of a type: `typename T::index`.
            [.., before, Token::Word(name)] if !before.is_mark(':') => self.values.push(name.clone()),
            _ => {}
        }
    }

    /// Whether a name in a rule is a parameter that is a value, or stands in one that is a type: `TOKENS`, `W::WORDS`.
    pub(crate) fn has(&self, name: &str) -> bool {
        match name.split_once("::") {
            Some((of, _)) => self.types.iter().any(|known| known == of),
            None => self.values.iter().any(|known| known == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn parameters_are_types_or_values() {
        let head = TemplateHead::read(&tokens(
            "class W, typename U = std::pair<int, float>, uint32_t TOKENS = (1 < 2), typename W::index FIRST, \
             class... Rest, int... NUMBERS, template <class, int N> class F, class = void, typename W::index, \
             std::enable_if_t<(TOKENS == 4), int> = 0, const unsigned long LAST",
        ));
        assert_eq!((head.types.join(" "), head.values.join(" ")), ("W U".to_owned(), "TOKENS FIRST LAST".to_owned()));
        assert!(head.text.starts_with("class W, typename U= std::pair<int, float>, uint32_t TOKENS="), "{}", head.text);
        for name in ["TOKENS", "W::WORDS", "U::A::B"] {
            assert!(head.has(name), "{name}");
        }
        for name in ["W", "TOKENS::WORDS", "Rest::WORDS", "F::N", "N", "NUMBERS", "index", ""] {
            assert!(!head.has(name), "{name}");
        }
    }
}
