//! PTX as text: from source to a syntax tree with every register and symbol resolved.

pub(crate) mod ast;
mod body;
mod lexer;
mod parser;

pub(crate) use parser::parse;

/// A PTX text that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct PtxError {
    /// The line in the PTX text, from 1.
    pub line: u32,
    /// What was wrong there.
    pub message: String,
}

impl PtxError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}
