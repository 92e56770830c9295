//! The third witness: the source, which has the names of kernels and parameters, their comments, and lines.
//!
//! This reads no C++: it finds `__global__` functions among tokens, so it is not disturbed by templates or attributes
//! that it does not know. It follows a project's own macros (`macros`) and the files that it includes.

mod macros;
mod template;
mod tokens;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use macros::Macros;
use template::TemplateHead;
use tokens::{Placed, Token, tokens};

use crate::contract::split_comment;
use crate::expression::words;

/// What a source file and the project's files that it includes say of kernels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) kernels: Vec<SourceKernel>,
    /// Explicit instances of templates.
    pub(crate) instances: Vec<Instance>,
}

/// A kernel in a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceKernel {
    pub(crate) name: String,
    /// The file, as its user knows it.
    pub(crate) file: String,
    /// The line of its name, from 1.
    pub(crate) line: u32,
    pub(crate) parameters: Vec<SourceParameter>,
    /// The documentation comment before it, without the comment signs.
    pub(crate) comment: String,
    /// The line of the first line of the comment.
    pub(crate) comment_line: u32,
    /// The namespaces that it stands in, the outermost first.
    pub(crate) namespaces: Vec<String>,
    /// Its parameters, if it is a template.
    pub(crate) template: Option<TemplateHead>,
    /// Whether it gives code for certain: it is no template, in no `#if`, and in the source itself.
    pub(crate) certain: bool,
}

impl SourceKernel {
    /// The constants of a template that its rules name, each once: `TOKENS`, `W::WORDS`.
    pub(crate) fn constants(&self) -> Vec<String> {
        let Some(head) = &self.template else { return Vec::new() };
        let (_, rules) = split_comment(&self.comment);
        let mut constants: Vec<String> = Vec::new();
        for word in rules.iter().flat_map(|(_, text, _)| words(text)) {
            if head.has(word) && !constants.iter().any(|known| known == word) {
                constants.push(word.to_owned());
            }
        }
        constants
    }
}

/// A parameter in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceParameter {
    /// `None` if it has none.
    pub(crate) name: Option<String>,
    /// Its type as it is written, as tokens with single spaces.
    pub(crate) ty: String,
}

/// An explicit instance of a template: `template __global__ void scale<float>(…);`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The namespaces that it stands in, the outermost first.
    pub(crate) namespaces: Vec<String>,
    /// `scale<float>`, with the namespaces that are written there.
    pub(crate) name: String,
}

impl Instance {
    /// The name of its template, without namespaces.
    pub(crate) fn template(&self) -> &str {
        let name = self.name.split('<').next().unwrap_or_default();
        name.rsplit("::").next().unwrap_or(name)
    }
}

/// The comment at the start of a file: `//` lines, without the comment signs.
pub(crate) fn file_comment(source: &str) -> String {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let lines = source.lines().map_while(|line| line.trim_start().strip_prefix("//"));
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}

impl Source {
    /// Reads a source that its user knows as `shown`, with what it includes from its own folder and from `include`.
    pub(crate) fn read(path: &Path, shown: &str, include: &Path) -> std::io::Result<Self> {
        let mut files = Vec::new();
        let mut known = HashSet::from([path.to_owned()]);
        collect(path, shown.to_owned(), &std::fs::read_to_string(path)?, include, &mut known, &mut files);
        let mut macros = Macros::default();
        for (_, tokens) in &files {
            macros.add(tokens);
        }
        let mut source = Self::default();
        // What is included comes first.
        let own = files.len().saturating_sub(1);
        for (number, (file, tokens)) in files.into_iter().enumerate() {
            source.scan(&macros.expand(&tokens), &file, number == own);
        }
        Ok(source)
    }

    /// The constants that the rules of a template name. It is found by its name, so there is only one of that name.
    pub(crate) fn constants(&self, template: &str) -> Vec<String> {
        let mut named = self.kernels.iter().filter(|kernel| kernel.template.is_some() && kernel.name == template);
        match (named.next(), named.next()) {
            (Some(kernel), None) => kernel.constants(),
            _ => Vec::new(),
        }
    }

    /// Reads a text that includes nothing.
    #[cfg(test)]
    pub(crate) fn of(text: &str, shown: &str) -> Self {
        let mut macros = Macros::default();
        let tokens = tokens(text);
        macros.add(&tokens);
        let mut source = Self::default();
        source.scan(&macros.expand(&tokens), shown, true);
        source
    }

    /// Finds kernels and instances among the tokens of a file.
    fn scan(&mut self, tokens: &[Placed], file: &str, own: bool) {
        let mut comment = (String::new(), 0);
        // Names of the namespaces that braces open; other braces open none.
        let mut braces: Vec<Vec<String>> = Vec::new();
        let mut opening = Vec::new();
        let (mut template, mut conditions) = (Template::No, 0u32);
        let mut at = 0;
        while let Some((token, line)) = tokens.get(at) {
            at += 1;
            match token {
                // Comments that follow one another are one, whatever stands between them that is no code: a rule in the
                // first counts as much as one in the last.
                Token::Comment(text) => {
                    let follows = at > 1 && matches!(tokens[at - 2].0, Token::Comment(_));
                    if !follows {
                        comment = (String::new(), *line);
                    }
                    let (so_far, first) = &mut comment;
                    if follows {
                        // Every line keeps its number.
                        let lines = line.saturating_sub(*first) as usize;
                        let missing = lines.saturating_sub(so_far.matches('\n').count());
                        so_far.push_str(&"\n".repeat(missing.max(1)));
                    }
                    so_far.push_str(text);
                }
                Token::Directive(text) if text.starts_with("if") => conditions += 1,
                Token::Directive(text) if text.starts_with("endif") => conditions = conditions.saturating_sub(1),
                Token::Directive(_) => {}
                // A comment belongs to the declaration that follows it.
                Token::Mark(mark @ (';' | '{' | '}')) => {
                    comment = (String::new(), 0);
                    template = Template::No;
                    match mark {
                        '{' => braces.push(std::mem::take(&mut opening)),
                        '}' => drop(braces.pop()),
                        _ => opening.clear(),
                    }
                }
                Token::Word(word) if word == "namespace" => {
                    let words = tokens[at..].iter().map_while(|(token, _)| match token {
                        Token::Word(word) => Some(Some(word.clone())),
                        Token::Mark(':') => Some(None),
                        _ => None,
                    });
                    opening = words.flatten().collect();
                }
                Token::Word(word) if word == "template" => match tokens.get(at) {
                    Some((Token::Mark('<'), _)) => {
                        let end = closing_angle(tokens, at).unwrap_or(at);
                        template = match tokens.get(at + 1..end.saturating_sub(1)) {
                            Some([]) => Template::Specialization,
                            head => Template::Primary(TemplateHead::read(head.unwrap_or_default())),
                        };
                        at = end;
                    }
                    _ => template = Template::Instance,
                },
                Token::Word(word) if word == "__global__" => {
                    let Some(head) = Head::read(tokens, at) else { continue };
                    at = head.end;
                    match std::mem::replace(&mut template, Template::No) {
                        Template::Instance => {
                            let namespaces = braces.concat();
                            self.instances.push(Instance { namespaces, name: head.qualified + &head.arguments });
                        }
                        // The primary template has the names.
                        Template::Specialization => {}
                        // A declaration without a body gives no code.
                        _ if tokens.get(at).is_none_or(|(token, _)| token.is_mark(';')) => {}
                        written @ (Template::Primary(_) | Template::No) => {
                            let (comment, comment_line) = std::mem::take(&mut comment);
                            let template = match written {
                                Template::Primary(parameters) => Some(parameters),
                                _ => None,
                            };
                            self.kernels.push(SourceKernel {
                                name: head.name,
                                file: file.to_owned(),
                                line: head.line,
                                parameters: head.parameters,
                                comment,
                                comment_line,
                                namespaces: braces.concat(),
                                certain: own && conditions == 0 && template.is_none(),
                                template,
                            });
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// What the word `template` before a function makes of it.
enum Template {
    No,
    Primary(TemplateHead),
    Specialization,
    Instance,
}

/// Adds the tokens of a file, after those of the files that it includes.
fn collect(
    path: &Path,
    shown: String,
    text: &str,
    include: &Path,
    known: &mut HashSet<PathBuf>,
    files: &mut Vec<(String, Vec<Placed>)>,
) {
    let tokens = tokens(text);
    for (token, _) in &tokens {
        let Token::Directive(directive) = token else { continue };
        let Some(name) = directive.strip_prefix("include").map(str::trim) else { continue };
        // A name in angle brackets is looked for in the folder of headers alone.
        let (end, beside) = match name.chars().next() {
            Some('"') => ('"', path.parent()),
            Some('<') => ('>', None),
            _ => continue,
        };
        let Some((name, _)) = name[1..].split_once(end) else { continue };
        let folders = beside.into_iter().chain([include]);
        let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
        let Some(found) = found.and_then(|path| std::fs::canonicalize(path).ok()) else { continue };
        if !known.insert(found.clone()) {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(&found) {
            let shown = match found.strip_prefix(include) {
                Ok(inside) => format!("include/{}", inside.display()),
                Err(_) => found.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            };
            collect(&found, shown, &text, include, known, files);
        }
    }
    files.push((shown, tokens));
}

/// A function from after `__global__` to after its parameters.
struct Head {
    name: String,
    /// `outer::name`
    qualified: String,
    /// `<float, 4>`, or nothing.
    arguments: String,
    line: u32,
    parameters: Vec<SourceParameter>,
    end: usize,
}

impl Head {
    fn read(tokens: &[Placed], start: usize) -> Option<Self> {
        let mut at = start;
        loop {
            let (token, line) = tokens.get(at)?;
            at += 1;
            match token {
                Token::Word(name) => {
                    let open = match tokens.get(at)?.0.is_mark('<') {
                        true => closing_angle(tokens, at)?,
                        false => at,
                    };
                    if !tokens.get(open)?.0.is_mark('(') {
                        at = open;
                        continue;
                    }
                    let end = closing(tokens, open)?;
                    let attribute = name.starts_with("__") && name.ends_with("__") || name == "alignas";
                    if attribute {
                        at = end;
                        continue;
                    }
                    let parameters = parameters(&tokens[open + 1..end - 1]);
                    let arguments = shown(tokens[at..open].iter().map(|(token, _)| token));
                    let qualified = qualified(tokens, at - 1);
                    return Some(Self { name: name.clone(), qualified, arguments, line: *line, parameters, end });
                }
                // An attribute.
                Token::Mark('[') => at = closing(tokens, at - 1)?,
                Token::Mark(';' | '{' | '}') => return None,
                _ => {}
            }
        }
    }
}

/// The name at `at` with the namespaces that are written before it.
fn qualified(tokens: &[Placed], at: usize) -> String {
    let mut start = at;
    while let [.., (Token::Word(_), _), (Token::Mark(':'), _), (Token::Mark(':'), _)] = &tokens[..start] {
        start -= 3;
    }
    shown(tokens[start..=at].iter().map(|(token, _)| token))
}

/// The index after the bracket that closes the one at `open`.
fn closing(tokens: &[Placed], open: usize) -> Option<usize> {
    let mut depth = 0u32;
    for (n, (token, _)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => {
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

/// The index after the angle bracket that closes the one at `open`.
fn closing_angle(tokens: &[Placed], open: usize) -> Option<usize> {
    let (mut depth, mut at) = (0u32, open);
    loop {
        match tokens.get(at)?.0 {
            Token::Mark('<') => depth += 1,
            Token::Mark('>') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            Token::Mark('(' | '[' | '{') => {
                at = closing(tokens, at)?;
                continue;
            }
            Token::Mark(';' | '}') => return None,
            _ => {}
        }
        at += 1;
    }
}

fn parameters(tokens: &[Placed]) -> Vec<SourceParameter> {
    let tokens: Vec<&Token> = tokens.iter().map(|(token, _)| token).collect();
    let tokens: Vec<&Token> =
        tokens.into_iter().filter(|token| matches!(token, Token::Word(_) | Token::Mark(_))).collect();
    if tokens.is_empty() || matches!(tokens[..], [word] if word.is_word("void")) {
        return Vec::new();
    }
    let mut depth = 0i32;
    let parts = tokens.split(|token| {
        match token {
            Token::Mark('(' | '<' | '[' | '{') => depth += 1,
            Token::Mark(')' | '>' | ']' | '}') => depth -= 1,
            _ => {}
        }
        depth == 0 && token.is_mark(',')
    });
    parts.map(parameter).collect()
}

/// The name is the last word before a default value or array brackets, if there is a type before it.
fn parameter(tokens: &[&Token]) -> SourceParameter {
    let end = tokens.iter().position(|token| matches!(token, Token::Mark('=' | '['))).unwrap_or(tokens.len());
    let declared = &tokens[..end];
    // A parameter that is written as an array is a pointer.
    let is_array = tokens.get(end).is_some_and(|token| token.is_mark('['));
    match declared.split_last() {
        Some((Token::Word(name), ty))
            if !name.starts_with(|c: char| c.is_ascii_digit()) && ty.iter().any(|token| is_type_word(token)) =>
        {
            let pointer = if is_array { "*" } else { "" };
            SourceParameter { name: Some(name.clone()), ty: shown(ty.iter().copied()) + pointer }
        }
        _ => SourceParameter { name: None, ty: shown(declared.iter().copied()) },
    }
}

/// Tokens as a text, words apart.
fn shown<'a>(tokens: impl Iterator<Item = &'a Token>) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Word(word) => {
                if text.ends_with(|c: char| c != '<' && c != ':' && c != '(') {
                    text.push(' ');
                }
                text.push_str(word);
            }
            Token::Mark(mark) => text.push(*mark),
            Token::Comment(_) | Token::Directive(_) => {}
        }
    }
    text
}

/// Whether a word can be a type by itself: not a qualifier.
fn is_type_word(token: &Token) -> bool {
    matches!(token, Token::Word(word) if !matches!(&**word, "const" | "volatile" | "__restrict__" | "__grid_constant__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &Source) -> Vec<&str> {
        source.kernels.iter().map(|kernel| kernel.name.as_str()).collect()
    }

    #[test]
    fn kernels_with_names_comments_and_lines() {
        let text = r#"// About this file.
//  More.
#include "x.cuh"
#define K(a) \
    void not_here(int a)

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
extern "C" __global__ void [[gnu::noinline("x")]] __launch_bounds__(128, 2)
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
        assert_eq!(file_comment(text), "About this file.\n More.");
        let source = Source::of(text, "k.cu");
        assert_eq!(names(&source), ["scale", "second", "third"]);
        let scale = &source.kernels[0];
        assert_eq!((scale.line, scale.comment_line, scale.certain), (20, 17, true));
        assert_eq!(scale.comment, "Scales.\n@grid n");
        let names: Vec<_> = scale.parameters.iter().map(|p| p.name.as_deref().unwrap_or("-")).collect();
        assert_eq!(names, ["x", "y", "n", "p", "a", "b"]);
        assert_eq!(scale.parameters[0].ty, "const float* __restrict__");
        assert_eq!(scale.parameters[1].ty, "float*");
        assert_eq!(scale.parameters[5].ty, "int*");
        assert_eq!(source.kernels[1].comment, "Block comment.\n @grid 1\n");
        assert!(source.kernels[1].parameters.is_empty() && source.kernels[2].comment.is_empty());
        assert!(source.kernels[2].parameters.iter().all(|parameter| parameter.name.is_none()));
    }

    #[test]
    fn comments_that_follow_one_another_are_one() {
        let text = "/// Scales.\n/// @require n % 4 == 0\n// Why four?\n/// @grid n\n\n/** @block 32\n * @safe */\n\
                    __global__ void k(int n) {}\n/// Of a struct.\nstruct S;\n/// Other.\n__global__ void l() {}\n";
        let source = Source::of(text, "k.cu");
        let k = &source.kernels[0];
        assert_eq!((k.comment_line, k.line), (1, 8));
        assert_eq!(k.comment, "Scales.\n@require n % 4 == 0\n\n@grid n\n\n@block 32\n@safe");
        assert_eq!((source.kernels[1].comment.as_str(), source.kernels[1].comment_line), ("Other.", 11));
    }

    #[test]
    fn marks_of_an_editor_and_separators_of_digits() {
        let text = "\u{feff}#define NAME k\n__global__ void NAME(int n = 1'000'000, char c = 'a') { n = 0x1'f; }\n\
                    __global__ void l() {}\n";
        let source = Source::of(text, "k.cu");
        assert_eq!(names(&source), ["k", "l"]);
        assert_eq!(source.kernels[0].parameters.len(), 2);
    }

    #[test]
    fn templates_and_their_instances() {
        let text = r"
namespace outer::inner {
/// Scales.
template <class T, int N = (1 < 2)> __global__ void scale(T* x, std::enable_if_t<N < 4, int> n) {}
template <> __global__ void scale<char, 1>(char* x, int n) {}
template __global__ void scale<float, 4>(float*, int);
}
template __global__ void outer::inner::scale<unsigned char, 4>(unsigned char*, int);
#if SOMETIMES
__global__ void maybe() {}
#endif
";
        let source = Source::of(text, "k.cu");
        assert_eq!(names(&source), ["scale", "maybe"]);
        assert!(source.kernels[0].template.is_some() && !source.kernels[0].certain && !source.kernels[1].certain);
        assert_eq!(source.kernels[0].comment, "Scales.");
        let instances: Vec<_> = source.instances.iter().map(|i| (i.namespaces.join("::"), i.name.as_str())).collect();
        assert_eq!(
            instances,
            [("outer::inner".to_owned(), "scale<float, 4>"), (String::new(), "outer::inner::scale<unsigned char, 4>")]
        );
    }

    #[test]
    fn kernels_made_by_macros() {
        let text = r"
#define KERNEL __global__ __launch_bounds__(128)
#define ARGS(T) const T* __restrict__ x, T* y
#define MAKE(name, T, ...) \
    KERNEL void name##_kernel(ARGS(T), uint32_t n) { __VA_ARGS__; }
#define TWICE 1
#define TWICE 2
/// Copies.
MAKE(copy, float, y[0] = x[0], (void)n)
/// Plain.
KERNEL void plain(int TWICE) {}
";
        let source = Source::of(text, "k.cu");
        assert_eq!(names(&source), ["copy_kernel", "plain"]);
        let copy = &source.kernels[0];
        assert_eq!((copy.line, copy.comment.as_str()), (9, "Copies."));
        assert_eq!(
            copy.parameters[0],
            SourceParameter { name: Some("x".into()), ty: "const float* __restrict__".into() }
        );
        assert_eq!(copy.parameters.len(), 3);
    }

    #[test]
    fn names_that_are_macros_no_more() {
        let text = "#define n 4\n#define K(a) __global__ void a(int n) {}\n#undef n\nK(k)\n#undef K\nK(l)\n";
        let source = Source::of(text, "k.cu");
        assert_eq!(names(&source), ["k"]);
        assert_eq!(source.kernels[0].parameters[0].name.as_deref(), Some("n"));
        // and a number is no name
        assert_eq!(Source::of("__global__ void k(int 4) {}", "k.cu").kernels[0].parameters[0].name, None);
    }

    #[test]
    fn headers_of_the_folder_are_found_however_they_are_included() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("include")).unwrap();
        std::fs::write(path("include/a.cuh"), "__global__ void a() {}\n").unwrap();
        std::fs::write(path("include/b.cuh"), "__global__ void b() {}\n").unwrap();
        std::fs::write(path("k.cu"), "#include <a.cuh>\n#include \"b.cuh\"\n#include <cstdint>\n").unwrap();
        let source = Source::read(&path("k.cu"), "k.cu", &path("include")).unwrap();
        assert_eq!(names(&source), ["a", "b"]);
    }

    #[test]
    fn any_text_can_be_read() {
        for text in [
            "__global__",
            "__global__ void k(",
            "\"\\",
            "'é\\é",
            "/*",
            "/**/",
            "///",
            "#\\",
            "#define A(x) A(x) x##\nA(A(1))",
            "#define A B B\n#define B A A\nA",
            "template <",
            "namespace a {",
            "__global__ void k(int a",
            "__global__ void k(int a)",
        ] {
            assert_eq!(Source::of(text, "k.cu"), Source::default(), "{text}");
        }
    }
}
