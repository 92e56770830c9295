//! Errors of the build, with the place they are at and what to do.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// The file, as its user knows it, and the line, from 1.
    pub place: Option<(String, u32)>,
    /// What helps.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, notes: Vec::new() }
    }

    /// With its place.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: u32) -> Self {
        self.place = Some((file.into(), line));
        self
    }

    /// With something that helps.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some((file, line)) = &self.place {
            write!(f, "\n  --> {file}:{line}")?;
        }
        for note in &self.notes {
            write!(f, "\n   = {}", note.trim_end().replace('\n', "\n     "))?;
        }
        Ok(())
    }
}

/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<&String> = Vec::new();
        for (n, diagnostic) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            // What helps is said once.
            let notes: Vec<String> = diagnostic.notes.iter().filter(|note| !said.contains(note)).cloned().collect();
            said.extend(&diagnostic.notes);
            write!(f, "{}", Diagnostic { notes, ..diagnostic.clone() })?;
        }
        Ok(())
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}
