//! What can be wrong with a tokenizer, a chat template, or what they are asked.

use crate::gguf::GgufError;

/// Why a tokenizer or a chat template was not read, or did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Something is wrong with the file, or missing in it.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The tokenizer is of a kind that is not supported.
    #[error("the key `{key}` is `{found}`, and supported is {supported}")]
    Unsupported {
        /// The key that says so.
        key: &'static str,
        /// What it says.
        found: String,
        /// What is supported.
        supported: String,
    },
    /// An array has another length than the tokens.
    #[error("the key `{key}` has {found} elements, and there are {tokens} tokens")]
    Length {
        /// The key.
        key: &'static str,
        /// How many elements it has.
        found: u64,
        /// How many tokens there are.
        tokens: u64,
    },
    /// There are more tokens than the model knows.
    #[error("the tokenizer has {tokens} tokens, and the model {vocab}")]
    Vocabulary {
        /// How many the tokenizer has.
        tokens: u64,
        /// How many the model has.
        vocab: u32,
    },
    /// An element of an array is not what it should be.
    #[error("element {index} of the key `{key}` is {found}, and should be {expected}")]
    Element {
        /// The key.
        key: &'static str,
        /// Which element.
        index: usize,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Two tokens have the same text.
    #[error("the tokens {first} and {second} are both {text:?}")]
    Duplicate {
        /// The text.
        text: String,
        /// The token that has it first.
        first: u32,
        /// The other.
        second: u32,
    },
    /// A merge cannot be done.
    #[error("the merge {index} is {merge:?}, and {problem}")]
    Merge {
        /// Which.
        index: usize,
        /// What it is.
        merge: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Tokens that are found in a text as a whole are too long.
    #[error("the control and user-defined tokens have {bytes} bytes, and {limit} are supported")]
    AddedTokens {
        /// How long they are together.
        bytes: usize,
        /// How long they may be.
        limit: usize,
    },
    /// A key names a token that does not exist.
    #[error("the key `{key}` is {token}, and there are {tokens} tokens")]
    TokenOfKey {
        /// The key.
        key: &'static str,
        /// The token.
        token: u64,
        /// How many tokens there are.
        tokens: u32,
    },
    /// A token that does not exist.
    #[error("there is no token {token}: the model has {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// How many the model has.
        vocab: u32,
    },
    /// A text has characters that the vocabulary has no tokens for.
    #[error("the model has no tokens for {characters:?}")]
    Characters {
        /// The characters.
        characters: Vec<char>,
    },
    /// The tokenizer's library refused a text.
    #[error("the text cannot be split into tokens: {problem}")]
    Encode {
        /// What it says.
        problem: String,
    },
    /// A stop string is empty.
    #[error("a stop string is empty: it would end every text at once")]
    EmptyStopString,
    /// The file has no chat template.
    #[error("the file has no chat template (the key `tokenizer.chat_template`): choose one, such as ChatML")]
    NoChatTemplate,
    /// A chat template is wrong, or refuses a conversation.
    #[error("the chat template{}: {problem}", line.map_or(String::new(), |line| format!(", line {line}")))]
    ChatTemplate {
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
}
