//! Text of tokens as they come.

use super::error::TextError;
use super::stop::StopStrings;
use super::tokenizer::Tokenizer;

/// What ended a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A token that ends texts.
    Token(u32),
    /// A stop string.
    String(String),
}

/// Makes text of tokens as they come.
///
/// A character may be several tokens: it comes when it is whole. Bytes that are no UTF-8 come as U+FFFD as soon as they
/// can no longer become a character. Control tokens have no text.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    stop_tokens: Vec<u32>,
    stop_strings: StopStrings,
    utf8: Utf8,
    stop: Option<Stop>,
}

impl TextStream {
    /// A text that ends at the tokens that [end texts](Tokenizer::end_tokens) in the file.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            stop_tokens: tokenizer.end_tokens().to_vec(),
            stop_strings: StopStrings::default(),
            utf8: Utf8::default(),
            stop: None,
        }
    }

    /// Ends at these tokens instead of those of the file.
    #[must_use]
    pub fn with_stop_tokens(mut self, tokens: impl Into<Vec<u32>>) -> Self {
        self.stop_tokens = tokens.into();
        self
    }

    /// Ends at these strings too.
    #[must_use]
    pub fn with_stop_strings(mut self, strings: StopStrings) -> Self {
        self.stop_strings = strings;
        self
    }

    /// Goes on with a token. Returns the text that is certain now, which may be empty; after a [`stop`](Self::stop)
    /// it is.
    ///
    /// # Errors
    /// [`TextError::Token`]
    pub fn push(&mut self, token: u32) -> Result<String, TextError> {
        let mut text = String::new();
        if self.stop.is_some() {
            return Ok(text);
        }
        let bytes = self.tokenizer.token_bytes(token)?;
        if self.stop_tokens.contains(&token) {
            self.flush(&mut text);
            self.stop.get_or_insert(Stop::Token(token));
            return Ok(text);
        }
        if !self.tokenizer.is_control(token) {
            let mut piece = String::new();
            self.utf8.push(bytes, &mut piece);
            self.pass(&piece, &mut text);
        }
        Ok(text)
    }

    /// What ended the text, if something has.
    #[must_use]
    pub fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Ends the text. Returns what was held back: the start of a stop string, or U+FFFD for half a character.
    #[must_use]
    pub fn finish(mut self) -> String {
        let mut text = String::new();
        if self.stop.is_none() {
            self.flush(&mut text);
        }
        text
    }

    fn pass(&mut self, piece: &str, text: &mut String) {
        if let Some(string) = self.stop_strings.push(piece, text) {
            self.stop = Some(Stop::String(string.to_owned()));
        }
    }

    fn flush(&mut self, text: &mut String) {
        let mut piece = String::new();
        self.utf8.finish(&mut piece);
        self.pass(&piece, text);
        if self.stop.is_none() {
            text.push_str(&self.stop_strings.finish());
        }
    }
}

/// Makes text of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Utf8 {
    /// The start of a character, at most three bytes.
    pending: Vec<u8>,
}

impl Utf8 {
    /// Goes on with `bytes`, and puts the characters that are whole after `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            out.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            // The last chunk may be the start of a character: then it has an end that is only missing.
            let starts = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if starts && done + invalid.len() == self.pending.len() {
                break;
            }
            if !invalid.is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
                done += invalid.len();
            }
        }
        self.pending.drain(..done);
    }

    /// Ends the text: half a character is none.
    pub(super) fn finish(&mut self, out: &mut String) {
        if !self.pending.is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}
