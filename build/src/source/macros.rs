//! Macros of a project's own files, expanded as far as finding kernels needs it.
//!
//! Kernels are often made by a macro, and their parameters named by one. Macros that are defined once are expanded
//! wherever they stand; what they expand to has the line where they stand. Conditions are not evaluated: a macro with
//! several definitions is left as it is.

use std::collections::HashMap;

use super::tokens::{Placed, Token, tokens};

struct Macro {
    /// `None` for one without parentheses.
    parameters: Option<Vec<String>>,
    body: Vec<Token>,
}

/// The macros of some files.
#[derive(Default)]
pub(super) struct Macros {
    /// `None` for a name that is defined several times.
    by_name: HashMap<String, Option<Macro>>,
}

/// How deep macros may stand in macros, and how many tokens they may make.
const MAX_DEPTH: u32 = 16;
const MAX_TOKENS: usize = 1 << 20;

impl Macros {
    /// Adds the definitions among tokens.
    pub(super) fn add(&mut self, placed: &[Placed]) {
        for (token, _) in placed {
            let Token::Directive(text) = token else { continue };
            if let Some((name, definition)) = definition(text) {
                self.by_name.entry(name).and_modify(|known| *known = None).or_insert(Some(definition));
            }
        }
    }

    /// Tokens with macros expanded.
    pub(super) fn expand(&self, placed: &[Placed]) -> Vec<Placed> {
        let mut out = Vec::with_capacity(placed.len());
        // Up to each `#undef`, after which that name is none any more.
        let mut gone: Vec<String> = Vec::new();
        let undefined = |(token, _): &Placed| match token {
            Token::Directive(text) => text.strip_prefix("undef").map(|name| name.trim().to_owned()),
            _ => None,
        };
        for part in placed.split_inclusive(|token| undefined(token).is_some()) {
            self.expand_into(part, &gone, &mut Vec::new(), &mut out);
            gone.extend(part.last().and_then(undefined));
        }
        out
    }

    fn expand_into(&self, placed: &[Placed], gone: &[String], inside: &mut Vec<String>, out: &mut Vec<Placed>) {
        let mut at = 0;
        while let Some((token, line)) = placed.get(at) {
            at += 1;
            let expansion = match token {
                Token::Word(name)
                    if !inside.contains(name) && !gone.contains(name) && inside.len() < MAX_DEPTH as usize =>
                {
                    self.by_name.get(name).and_then(Option::as_ref).map(|found| (name, found))
                }
                _ => None,
            };
            let expanded = expansion.and_then(|(name, found)| match &found.parameters {
                None => Some((name, found.substitute(&[]))),
                Some(_) => {
                    let (arguments, after) = arguments(placed, at)?;
                    at = after;
                    Some((name, found.substitute(&arguments)))
                }
            });
            match expanded {
                Some((name, tokens)) if out.len() < MAX_TOKENS => {
                    let placed: Vec<Placed> = tokens.into_iter().map(|token| (token, *line)).collect();
                    inside.push(name.clone());
                    self.expand_into(&placed, gone, inside, out);
                    inside.pop();
                }
                _ => out.push((token.clone(), *line)),
            }
        }
    }
}

/// Reads `define NAME body` or `define NAME(a, b) body`.
fn definition(directive: &str) -> Option<(String, Macro)> {
    let rest = directive.strip_prefix("define")?;
    let text = rest.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if end == 0 || text.len() == rest.len() {
        return None;
    }
    let (name, rest) = text.split_at(end);
    let (parameters, body) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((parameters, body)) => {
            let names = parameters.split(',').map(str::trim).filter(|name| !name.is_empty());
            let names = names.map(|name| if name == "..." { "__VA_ARGS__" } else { name });
            (Some(names.map(str::to_owned).collect()), body)
        }
        None => (None, rest),
    };
    let body = tokens(body.trim()).into_iter().map(|(token, _)| token).collect();
    Some((name.to_owned(), Macro { parameters, body }))
}

/// The arguments in the parentheses that open at `open`, and the index after them.
fn arguments(placed: &[Placed], open: usize) -> Option<(Vec<Vec<Token>>, usize)> {
    if !placed.get(open)?.0.is_mark('(') {
        return None;
    }
    let (mut arguments, mut depth) = (vec![Vec::new()], 0u32);
    for (at, (token, _)) in placed.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return Some((arguments, at + 1));
                }
            }
            _ => {}
        }
        match token {
            Token::Mark('(') if at == open => {}
            Token::Mark(',') if depth == 1 => arguments.push(Vec::new()),
            token => arguments.last_mut()?.push(token.clone()),
        }
    }
    None
}

impl Macro {
    fn substitute(&self, arguments: &[Vec<Token>]) -> Vec<Token> {
        let parameters = self.parameters.as_deref().unwrap_or_default();
        let argument = |token: &Token| -> Option<Vec<Token>> {
            let Token::Word(word) = token else { return None };
            let index = parameters.iter().position(|parameter| parameter == word)?;
            if word != "__VA_ARGS__" {
                return Some(arguments.get(index).cloned().unwrap_or_default());
            }
            Some(arguments.get(index..).unwrap_or_default().join(&Token::Mark(',')))
        };
        let mut out: Vec<Token> = Vec::new();
        let mut at = 0;
        while let Some(token) = self.body.get(at) {
            at += 1;
            let pasted = token.is_mark('#') && self.body.get(at).is_some_and(|next| next.is_mark('#'));
            if pasted {
                // `a ## b` is one word.
                let Some(next) = self.body.get(at + 1) else { break };
                at += 2;
                let mut right = argument(next).unwrap_or_else(|| vec![next.clone()]).into_iter();
                match (out.last_mut(), right.next()) {
                    (Some(Token::Word(left)), Some(Token::Word(word))) => left.push_str(&word),
                    (_, first) => out.extend(first),
                }
                out.extend(right);
                continue;
            }
            match argument(token) {
                Some(tokens) => out.extend(tokens),
                None => out.push(token.clone()),
            }
        }
        out
    }
}
