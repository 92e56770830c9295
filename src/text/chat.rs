//! Chat templates: the text of a conversation, as the file of a model wants it.

use std::collections::BTreeMap;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;

use super::error::TextError;
use super::json::to_json;
use crate::gguf::{Gguf, GgufError};

/// The turns that many models were trained on.
const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}";

/// The most instructions that a template may take. A message takes about a hundred.
const FUEL: u64 = 1_000_000;
/// The longest text that a template may write, and the longest source, in bytes.
const LONGEST: usize = 16 << 20;
const LONGEST_SOURCE: usize = 64 << 10;
/// Templates are compiled and run on a stack of this size, in bytes, of which only what is used takes memory. Jinja's
/// parser recurses for each operator, and values nest as deep as a template builds them; what the two limits above
/// allow fits.
const STACK: usize = 256 << 20;

/// The name of the one template of an environment.
const NAME: &str = "chat";

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Whose it is: `system`, `user`, `assistant` or what else the template knows.
    pub role: String,
    /// What it says.
    pub content: String,
}

impl Message {
    /// A message of some role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// What is said to the model before the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// An answer of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// A chat template: Jinja with what Hugging Face adds to it (`raise_exception`, `strftime_now`, methods of Python's
/// strings, dictionaries and lists).
///
/// Templates come from strangers. They can reach nothing outside, and the instructions that one may take and the text
/// that it may write are limited. (What it keeps in variables meanwhile is not.)
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    variables: BTreeMap<String, Value>,
}

impl ChatTemplate {
    /// Reads the template of a file, with the variables `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`TextError::NoChatTemplate`], or what is wrong with it.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TextError> {
        let source = match gguf.string("tokenizer.chat_template") {
            Err(GgufError::MissingKey { .. }) => return Err(TextError::NoChatTemplate),
            source => source?,
        };
        let mut template = Self::new(source)?;
        template.name_tokens(gguf);
        Ok(template)
    }

    /// The template ChatML, `<|im_start|>role … <|im_end|>`, for files that have none.
    ///
    /// # Errors
    /// As [`new`](Self::new), where there is no memory for it.
    pub fn chatml() -> Result<Self, TextError> {
        Self::new(CHATML)
    }

    /// A template of Jinja's source text.
    ///
    /// # Errors
    /// [`TextError::ChatTemplate`]
    pub fn new(source: &str) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| failed(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", |value: Value, arguments: Kwargs| to_json(&value, &arguments));
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| {
            jiff::fmt::strtime::format(&format, &jiff::Zoned::now())
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
        });
        if source.len() > LONGEST_SOURCE {
            let problem = format!("it is {} bytes long, and may be {LONGEST_SOURCE}", source.len());
            return Err(TextError::ChatTemplate { line: None, problem });
        }
        on_large_stack(|| environment.add_template_owned(NAME, source.to_owned()).map_err(|error| failed(&error)))?;
        Ok(Self { environment, variables: BTreeMap::new() })
    }

    /// The texts of the tokens that begin and end a text. A file that names none, or none that exists, has no such
    /// variables: it is for the tokenizer to complain.
    fn name_tokens(&mut self, gguf: &Gguf) {
        for (variable, key) in
            [("bos_token", "tokenizer.ggml.bos_token_id"), ("eos_token", "tokenizer.ggml.eos_token_id")]
        {
            let (Ok(id), Ok(tokens)) = (gguf.integer(key), gguf.array("tokenizer.ggml.tokens")) else { continue };
            let Some(index) = usize::try_from(id).ok().filter(|_| id < tokens.len()) else { continue };
            if let Some(text) = tokens.iter().nth(index).and_then(|token| token.as_string()) {
                self.set(variable, text);
            }
        }
    }

    /// Sets a variable for all conversations, such as `enable_thinking` or `tools`.
    pub fn set(&mut self, name: impl Into<String>, value: impl Serialize) {
        self.variables.insert(name.into(), Value::from(Serde(value)));
    }

    /// The text of a conversation, with what begins an answer if `add_generation_prompt`.
    ///
    /// A message is a [`Message`], or anything that serializes with what the template wants beside role and content.
    ///
    /// # Errors
    /// [`TextError::ChatTemplate`]: the template refuses the conversation, is wrong, or takes or writes too much.
    pub fn render<M: Serialize>(&self, messages: &[M], add_generation_prompt: bool) -> Result<String, TextError> {
        let mut variables = self.variables.clone();
        variables.insert("messages".to_owned(), Value::from(Serde(messages)));
        variables.insert("add_generation_prompt".to_owned(), add_generation_prompt.into());
        on_large_stack(|| {
            let template = self.environment.get_template(NAME).map_err(|error| failed(&error))?;
            let mut out = Bounded(Vec::new());
            template.render_captured_to(variables, &mut out).map_err(|error| failed(&error))?;
            // It is made of strings, so it is UTF-8.
            String::from_utf8(out.0).map_err(|error| TextError::ChatTemplate { line: None, problem: error.to_string() })
        })
    }
}

/// Does something on a thread with a large stack.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, TextError> + Send) -> Result<T, TextError> {
    let failed = |problem: String| TextError::ChatTemplate { line: None, problem };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| failed(format!("there is no memory for its stack: {error}")))?;
        thread.join().map_err(|_| failed("Jinja's engine panicked".to_owned()))?
    })
}

/// A text of limited length.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > LONGEST - self.0.len() {
            return Err(io::Error::other(format!("it writes more than {LONGEST} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the engine says is wrong.
fn failed(error: &Error) -> TextError {
    let mut problem = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {FUEL} instructions"),
        // what `raise_exception` says is for the user, without a word before it
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        problem.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    TextError::ChatTemplate { line: error.line(), problem }
}
