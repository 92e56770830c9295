//! Stop strings: texts that end a text, also where they come in pieces.

use super::error::TextError;

/// Texts that end a text that comes in pieces.
///
/// What may turn out to be the start of one is held back until it is decided. The one that is complete first ends the
/// text, the longest of several, however the text is cut into pieces.
///
/// ```
/// use warpwright::text::StopStrings;
///
/// let mut stop = StopStrings::new(["\n\n", "END"])?;
/// let mut text = String::new();
/// assert_eq!(stop.push("one E", &mut text), None);
/// assert_eq!(text, "one ");
/// assert_eq!(stop.push("ND two", &mut text), Some("END"));
/// assert_eq!(text, "one ");
/// # Ok::<(), warpwright::text::TextError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    /// The end of the text so far that is the start of one of them.
    held: String,
}

impl StopStrings {
    /// Some stop strings; none at all stop nothing.
    ///
    /// # Errors
    /// [`TextError::EmptyStopString`]
    pub fn new<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Result<Self, TextError> {
        let strings: Vec<String> = strings.into_iter().map(Into::into).collect();
        if strings.iter().any(String::is_empty) {
            return Err(TextError::EmptyStopString);
        }
        Ok(Self { strings, held: String::new() })
    }

    /// Goes on with `piece`. What is certainly before any stop string is put after `out`. Returns the stop string if
    /// there is one; what comes after it is dropped.
    pub fn push(&mut self, piece: &str, out: &mut String) -> Option<&str> {
        let before = self.held.len();
        self.held.push_str(piece);
        // What was held is no stop string, so one that is found ends in the piece.
        let found = |string: &String| {
            let first = before.saturating_sub(string.len() - 1);
            let first = (first..=before).find(|at| self.held.is_char_boundary(*at)).unwrap_or(before);
            let start = first + self.held[first..].find(string.as_str())?;
            Some((start + string.len(), start))
        };
        let found = self.strings.iter().enumerate().filter_map(|(n, string)| Some((found(string)?, n))).min();
        if let Some(((_, start), n)) = found {
            out.push_str(&self.held[..start]);
            self.held.clear();
            return Some(&self.strings[n]);
        }
        let held = self.strings.iter().map(|string| undecided(&self.held, string)).max().unwrap_or(0);
        let sure = self.held.len() - held;
        out.push_str(&self.held[..sure]);
        self.held.drain(..sure);
        None
    }

    /// What is still held back, at the end of a text. The next piece begins another text.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end of `text` are the start of `string`, and not all of it.
fn undecided(text: &str, string: &str) -> usize {
    let longest = text.len().min(string.len() - 1);
    let fits = |length: &usize| text.as_bytes().ends_with(&string.as_bytes()[..*length]);
    // Only starts that end between characters of the string: the text has whole characters, so others never fit.
    (1..=longest).rev().filter(|length| string.is_char_boundary(*length)).find(fits).unwrap_or(0)
}
