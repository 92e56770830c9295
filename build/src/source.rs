//! The third witness: the source, which has the names of kernels and parameters, their comments, and lines.
//!
//! This reads no C++: it finds `__global__` functions among tokens, so it is not disturbed by macros, templates or
//! attributes that it does not know.

/// A kernel in a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceKernel {
    pub(crate) name: String,
    /// The line of its name, from 1.
    pub(crate) line: u32,
    pub(crate) parameters: Vec<SourceParameter>,
    /// The documentation comment before it, without the comment signs.
    pub(crate) comment: String,
    /// The line of the first line of the comment.
    pub(crate) comment_line: u32,
}

/// A parameter in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceParameter {
    /// `None` if it has none.
    pub(crate) name: Option<String>,
    /// Its type as it is written, as tokens with single spaces.
    pub(crate) ty: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Mark(char),
    /// A documentation comment: `///` lines, or `/** */`.
    Comment(&'a str),
}

/// The comment at the start of a file: `//` lines, without the comment signs.
pub(crate) fn file_comment(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.trim_start().strip_prefix("//"));
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}

/// The kernels of a source file.
pub(crate) fn kernels(source: &str) -> Vec<SourceKernel> {
    let tokens = tokens(source);
    let mut kernels = Vec::new();
    let mut comment = (String::new(), 0);
    let mut at = 0;
    while let Some(&(token, line)) = tokens.get(at) {
        at += 1;
        match token {
            Token::Comment(text) => comment = (comment_text(text), line),
            // A comment belongs to the declaration that follows it.
            Token::Mark(';' | '{' | '}') => comment = (String::new(), 0),
            Token::Word("__global__") => {
                if let Some((mut kernel, end)) = kernel(&tokens, at) {
                    (kernel.comment, kernel.comment_line) = std::mem::take(&mut comment);
                    kernels.push(kernel);
                    at = end;
                }
            }
            _ => {}
        }
    }
    kernels
}

/// Reads from after `__global__` to after the parameters.
fn kernel(tokens: &[(Token<'_>, u32)], start: usize) -> Option<(SourceKernel, usize)> {
    let mut at = start;
    loop {
        let &(token, line) = tokens.get(at)?;
        at += 1;
        match token {
            Token::Word(name) if tokens.get(at)?.0 == Token::Mark('(') => {
                let end = closing(tokens, at)?;
                let attribute = name.starts_with("__") && name.ends_with("__") || name == "alignas";
                if attribute {
                    at = end;
                    continue;
                }
                // A declaration without a body gives no code.
                if tokens.get(end)?.0 == Token::Mark(';') {
                    return None;
                }
                let parameters = parameters(&tokens[at + 1..end - 1]);
                let (comment, comment_line) = (String::new(), 0);
                let kernel = SourceKernel { name: name.to_owned(), line, parameters, comment, comment_line };
                return Some((kernel, end));
            }
            Token::Mark(';' | '{' | '}') => return None,
            _ => {}
        }
    }
}

/// The index after the bracket that closes the one at `open`.
fn closing(tokens: &[(Token<'_>, u32)], open: usize) -> Option<usize> {
    let mut depth = 0u32;
    for (n, (token, _)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => {
                depth -= 1;
                if depth == 0 {
                    return Some(n + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn parameters(tokens: &[(Token<'_>, u32)]) -> Vec<SourceParameter> {
    let tokens: Vec<Token<'_>> =
        tokens.iter().map(|(token, _)| *token).filter(|token| !matches!(token, Token::Comment(_))).collect();
    if tokens.is_empty() || tokens == [Token::Word("void")] {
        return Vec::new();
    }
    let mut depth = 0i32;
    let parts = tokens.split(|token| {
        match token {
            Token::Mark('(' | '<' | '[' | '{') => depth += 1,
            Token::Mark(')' | '>' | ']' | '}') => depth -= 1,
            _ => {}
        }
        depth == 0 && *token == Token::Mark(',')
    });
    parts.map(parameter).collect()
}

/// The name is the last word before a default value or array brackets, if there is a type before it.
fn parameter(tokens: &[Token<'_>]) -> SourceParameter {
    let end = tokens.iter().position(|token| matches!(token, Token::Mark('=' | '['))).unwrap_or(tokens.len());
    let declared = &tokens[..end];
    let (name, ty) = match declared.split_last() {
        Some((Token::Word(name), ty)) if ty.iter().any(|token| is_type_word(*token)) => (Some((*name).to_owned()), ty),
        _ => (None, declared),
    };
    let mut text = String::new();
    for token in ty {
        match token {
            Token::Word(word) => {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
            Token::Mark(mark) => text.push(*mark),
            Token::Comment(_) => {}
        }
    }
    SourceParameter { name, ty: text }
}

/// Whether a word can be a type by itself: not a qualifier.
fn is_type_word(token: Token<'_>) -> bool {
    matches!(token, Token::Word(word) if !matches!(word, "const" | "volatile" | "__restrict__" | "__grid_constant__"))
}

/// A documentation comment without its signs.
fn comment_text(comment: &str) -> String {
    let lines: Vec<&str> = match comment.strip_prefix("/**") {
        Some(block) => {
            let block = block.strip_suffix("*/").unwrap_or(block);
            let without_star =
                |line: &'_ str| -> usize { line.len() - line.trim_start().trim_start_matches('*').len() };
            block.lines().map(|line| &line[without_star(line)..]).collect()
        }
        None => comment.lines().map(|line| line.trim_start().trim_start_matches('/')).collect(),
    };
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n")
}

/// The tokens of a source, each with its line. Preprocessor lines, plain comments and strings are left out.
fn tokens(source: &str) -> Vec<(Token<'_>, u32)> {
    let bytes = source.as_bytes();
    let mut tokens: Vec<(Token<'_>, u32)> = Vec::new();
    let (mut at, mut line, mut fresh_line) = (0, 1u32, true);
    while at < bytes.len() {
        let rest = &source[at..];
        let start = at;
        match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
                fresh_line = true;
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'#' if fresh_line => {
                // A directive goes on after a backslash at the end of a line.
                loop {
                    let end = source[at..].find('\n').map_or(bytes.len(), |offset| at + offset);
                    let continued = source[at..end].trim_end().ends_with('\\');
                    at = end;
                    if !continued || at == bytes.len() {
                        break;
                    }
                    at += 1;
                    line += 1;
                }
                continue;
            }
            b'/' if rest.starts_with("///") => {
                // Lines that follow one another are one comment.
                let first_line = line;
                let mut end = at;
                loop {
                    end += source[end..].find('\n').unwrap_or(source.len() - end);
                    let next = source[end..].trim_start_matches(['\n', '\r', ' ', '\t']);
                    let gap = &source[end..source.len() - next.len()];
                    if !next.starts_with("///") || gap.matches('\n').count() != 1 {
                        break;
                    }
                    line += 1;
                    end = source.len() - next.len();
                }
                tokens.push((Token::Comment(&source[at..end]), first_line));
                at = end;
            }
            b'/' if rest.starts_with("//") => at += rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => {
                let end = rest[2..].find("*/").map_or(rest.len(), |offset| offset + 4);
                if rest.starts_with("/**") && end > 4 {
                    tokens.push((Token::Comment(&rest[..end]), line));
                }
                line += rest[..end].matches('\n').count() as u32;
                at += end;
            }
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote && bytes[at] != b'\n' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                // A backslash may have been the last byte, or before a character of several bytes.
                while !source.is_char_boundary(at) {
                    at += 1;
                }
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push((Token::Word(&rest[..end]), line));
                at += end;
            }
            _ => {
                let Some(c) = rest.chars().next() else { break };
                tokens.push((Token::Mark(c), line));
                at += c.len_utf8();
            }
        }
        debug_assert!(at > start);
        fresh_line = false;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_with_names_comments_and_lines() {
        let source = r#"// About this file.
//  More.
#include "x.cuh"
#define K(a) \
    __global__ void not_here(int a)

/// Of something else.
struct S { int x; };

/// Scales.
///
/// @grid n
/// @safe
template <class T> // (no)
__device__ T helper(T a) { return a; }

/// Scales.
/// @grid n
extern "C" __global__ void __launch_bounds__(128, 2)
scale(const float* __restrict__ x, /* in */ float *y, const uint32_t n = 3,
      __grid_constant__ const Params p, std::array<int, 3> a, int b[4]) {
    const char* s = "__global__ void in_string(int a) {";
}
/** Block comment.
 *  @grid 1
 */
__global__ void second(void) {}
__global__ void declared(int n);
__global__ void third(float, const int*) {}
"#;
        assert_eq!(file_comment(source), "About this file.\n More.");
        let kernels = kernels(source);
        assert_eq!(kernels.iter().map(|kernel| kernel.name.as_str()).collect::<Vec<_>>(), ["scale", "second", "third"]);
        let scale = &kernels[0];
        assert_eq!((scale.line, scale.comment_line), (20, 17));
        assert_eq!(scale.comment, "Scales.\n@grid n");
        let names: Vec<_> = scale.parameters.iter().map(|p| p.name.as_deref().unwrap_or("-")).collect();
        assert_eq!(names, ["x", "y", "n", "p", "a", "b"]);
        assert_eq!(scale.parameters[0].ty, "const float* __restrict__");
        assert_eq!(scale.parameters[1].ty, "float*");
        assert_eq!(kernels[1].comment, " Block comment.\n @grid 1\n".trim_start_matches(' '));
        assert!(kernels[1].parameters.is_empty() && kernels[2].comment.is_empty());
        assert_eq!(kernels[2].parameters.iter().map(|p| p.name.clone()).collect::<Vec<_>>(), [None, None]);
    }

    #[test]
    fn any_text_can_be_read() {
        for source in [
            "__global__",
            "__global__ void k(",
            "\"\\",
            "'é\\é",
            "/*",
            "/**/",
            "///",
            "#\\",
            "__global__ void k(int a",
            "__global__ void k(int a)",
        ] {
            assert!(kernels(source).is_empty(), "{source}");
        }
    }
}
