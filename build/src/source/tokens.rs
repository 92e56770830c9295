//! Splits CUDA C++ into tokens, each with its line.

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a keyword or a number.
    Word(String),
    Mark(char),
    /// A documentation comment: `///` lines, or `/** */`.
    Comment(String),
    /// A preprocessor line without its `#`, lines that go on joined.
    Directive(String),
}

impl Token {
    pub(super) fn is_mark(&self, mark: char) -> bool {
        *self == Self::Mark(mark)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }
}

/// A token and the line where it stands, from 1.
pub(super) type Placed = (Token, u32);

/// The tokens of a text. Plain comments and the contents of strings are left out.
pub(super) fn tokens(source: &str) -> Vec<Placed> {
    // Some editors write a mark of the byte order in front.
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut reader = Reader { source, at: 0, line: 1, tokens: Vec::new() };
    let mut fresh_line = true;
    while let Some(c) = reader.rest().chars().next() {
        match c {
            '\n' => fresh_line = true,
            c if c.is_whitespace() => {}
            '#' if fresh_line => reader.directive(),
            _ => fresh_line = false,
        }
        match c {
            c if c.is_whitespace() => reader.skip(c.len_utf8()),
            '#' if fresh_line => {}
            '/' if reader.rest().starts_with("///") => reader.line_comments(),
            '/' if reader.rest().starts_with("//") => reader.skip_to("\n"),
            '/' if reader.rest().starts_with("/*") => reader.block_comment(),
            '"' | '\'' => reader.quoted(c),
            c if c.is_ascii_alphanumeric() || c == '_' => reader.word(),
            c => {
                reader.tokens.push((Token::Mark(c), reader.line));
                reader.skip(c.len_utf8());
            }
        }
    }
    reader.tokens
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    tokens: Vec<Placed>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Goes on by some bytes, which end at a character.
    fn skip(&mut self, bytes: usize) {
        let skipped = &self.rest()[..bytes];
        self.line += skipped.matches('\n').count() as u32;
        self.at += bytes;
    }

    /// Goes on to before a text, or to the end.
    fn skip_to(&mut self, text: &str) {
        self.skip(self.rest().find(text).unwrap_or(self.rest().len()));
    }

    fn word(&mut self) {
        let rest = self.rest();
        // Digits may be set apart: 1'000.
        let number = rest.starts_with(|c: char| c.is_ascii_digit());
        let separator = |at: usize| rest[at + 1..].starts_with(|c: char| c.is_ascii_alphanumeric());
        let ends = |&(at, c): &(usize, char)| {
            !c.is_ascii_alphanumeric() && c != '_' && !(number && c == '\'' && separator(at))
        };
        let end = rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at);
        self.tokens.push((Token::Word(rest[..end].to_owned()), self.line));
        self.skip(end);
    }

    fn quoted(&mut self, quote: char) {
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find(|&(_, c)| {
            let ends = !escaped && c == quote || c == '\n';
            escaped = !escaped && c == '\\';
            ends
        });
        match end {
            Some((at, '\n')) => self.skip(at),
            Some((at, c)) => self.skip(at + c.len_utf8()),
            None => self.skip(self.rest().len()),
        }
    }

    /// A directive, which goes on after a backslash at the end of a line.
    fn directive(&mut self) {
        let (line, mut text) = (self.line, String::new());
        self.skip(1);
        loop {
            let start = self.at;
            self.skip_to("\n");
            let part = self.source[start..self.at].trim_end();
            match part.strip_suffix('\\') {
                Some(part) if self.at < self.source.len() => {
                    text.push_str(part);
                    text.push(' ');
                    self.skip(1);
                }
                _ => {
                    text.push_str(part);
                    break;
                }
            }
        }
        self.tokens.push((Token::Directive(text.trim().to_owned()), line));
    }

    /// `///` lines that follow one another are one comment.
    fn line_comments(&mut self) {
        let (line, start) = (self.line, self.at);
        loop {
            self.skip_to("\n");
            let next = self.rest().trim_start_matches(['\n', '\r', ' ', '\t']);
            let gap = &self.rest()[..self.rest().len() - next.len()];
            if !next.starts_with("///") || gap.matches('\n').count() != 1 {
                break;
            }
            self.skip(gap.len());
        }
        let lines = self.source[start..self.at].lines().map(|line| line.trim_start().trim_start_matches('/'));
        self.comment(lines, line);
    }

    fn block_comment(&mut self) {
        let rest = self.rest();
        let end = rest[2..].find("*/").map_or(rest.len(), |offset| offset + 4);
        if rest.starts_with("/**") && end > 4 {
            let block = rest[3..end].strip_suffix("*/").unwrap_or(&rest[3..end]);
            let lines = block.lines().map(|line| match line.trim_start().strip_prefix('*') {
                Some(after) => after,
                None => line,
            });
            self.comment(lines, self.line);
        }
        self.skip(end);
    }

    /// Adds a documentation comment, without its signs.
    fn comment(&mut self, lines: impl Iterator<Item = &'a str>, line: u32) {
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
        self.tokens.push((Token::Comment(lines.join("\n")), line));
    }
}
