//! The tokenizer that a model file describes: byte-level BPE.

use std::fmt;
use std::sync::Arc;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, AddedVocabulary, Model, OffsetReferential, OffsetType, PreTokenizer, SplitDelimiterBehavior,
};

use super::error::TextError;
use super::stream::Utf8;
use crate::gguf::{Gguf, GgufError};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const PADDING: &str = "tokenizer.ggml.padding_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";

/// How a text is split into words before merges, by what a file calls it.
struct Words {
    names: &'static [&'static str],
    pattern: &'static str,
    /// Whether the text is composed first (Unicode's NFC).
    composes: bool,
    /// Whether a word that is a token is one, whatever the merges make of it.
    ignores_merges: bool,
    /// Whether texts begin with the token for it, if the file does not say.
    begins: bool,
}

const WORDS: [Words; 3] = [
    // contractions, words, single digits, punctuation, space
    Words {
        names: &["qwen2", "deepseek-r1-qwen"],
        pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        composes: true,
        ignores_merges: false,
        begins: false,
    },
    // the same with up to three digits
    Words {
        names: &["llama-bpe", "llama3", "llama-v3"],
        pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        composes: false,
        ignores_merges: true,
        begins: true,
    },
    Words {
        names: &["gpt-2"],
        pattern: r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        composes: false,
        ignores_merges: false,
        begins: false,
    },
];

/// Control tokens that end an answer, whether or not a key of the file names them: models were trained on several.
const ENDS: [&str; 7] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>"];

/// Kinds of tokens, as files number them.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;

/// Tokens that are found in a text as a whole are together at most this long, in bytes. An automaton is made of them.
const LONGEST_ADDED: usize = 16 << 20;

/// A byte-level BPE tokenizer. Cloning it is cheap.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    bpe: BPE,
    split: Split,
    normalizer: Option<NFC>,
    /// Tokens that are found before the text is split: all, and those that are no control tokens.
    added: AddedVocabulary,
    user_defined: AddedVocabulary,
    /// The bytes of all tokens, and where those of each end.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Whether a token is a control token.
    control: Vec<bool>,
    vocab: u32,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    padding: Option<u32>,
    begins: bool,
    end_tokens: Vec<u32>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("tokens", &self.inner.ends.len()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a file, for a model of `vocab` tokens.
    ///
    /// Supported is `gpt2` (byte-level BPE), with words as in `qwen2`, `llama-bpe` or `gpt-2`.
    ///
    /// # Errors
    /// What is missing, wrong or not supported, by its key.
    pub fn from_gguf(gguf: &Gguf, vocab: u32) -> Result<Self, TextError> {
        let words = words(gguf)?;
        let tokens = strings(gguf, TOKENS)?;
        if tokens.len() > vocab as usize {
            return Err(TextError::Vocabulary { tokens: tokens.len() as u64, vocab });
        }
        let kinds = kinds(gguf, tokens.len())?;
        let all = vocabulary(&tokens)?;
        let bpe = bpe(gguf, words, all.clone(), &kinds)?;
        let all = BPE::new(all, Vec::new());
        let added = |wanted: &[u64]| added(&all, &tokens, &kinds, wanted);
        let (added, user_defined) = (added(&[CONTROL, USER_DEFINED])?, added(&[USER_DEFINED])?);
        let split = Split::new(SplitPattern::Regex(words.pattern.to_owned()), SplitDelimiterBehavior::Isolated, false);
        let split = split.map_err(|error| TextError::Encode { problem: error.to_string() })?;

        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(tokens.len()));
        for (token, kind) in tokens.iter().zip(&kinds) {
            match *kind {
                UNUSED => {}
                UNKNOWN | CONTROL | USER_DEFINED => bytes.extend_from_slice(token.as_bytes()),
                _ => put_bytes(token, &mut bytes),
            }
            ends.push(bytes.len());
        }

        let id = |key| token_of_key(gguf, key, tokens.len());
        let (eos, eot, eom) = (id(EOS)?, id(EOT)?, id(EOM)?);
        let known = |(token, kind): (&&str, &u64)| *kind == CONTROL && ENDS.contains(token);
        let by_text = (0..).zip(tokens.iter().zip(&kinds)).filter(|(_, token)| known(*token)).map(|(id, _)| id);
        let mut end_tokens: Vec<u32> = [eos, eot, eom].into_iter().flatten().chain(by_text).collect();
        end_tokens.sort_unstable();
        end_tokens.dedup();
        let begins = match gguf.bool(ADD_BOS) {
            Err(GgufError::MissingKey { .. }) => words.begins,
            begins => begins?,
        };
        let bos = id(BOS)?;
        if begins && bos.is_none() {
            return Err(GgufError::MissingKey { key: BOS.to_owned() }.into());
        }
        let inner = Inner {
            bpe,
            split,
            normalizer: words.composes.then_some(NFC),
            added,
            user_defined,
            bytes,
            ends,
            control: kinds.iter().map(|kind| matches!(*kind, UNKNOWN | CONTROL)).collect(),
            vocab,
            bos,
            eos,
            eot,
            padding: id(PADDING)?,
            begins,
            end_tokens,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The tokens of a text. With `parse_special` the text of a control token, such as `<|im_end|>`, is that token, as
    /// it should be in what a chat template wrote; without, it is text like any other, as what a user wrote should be.
    /// User-defined tokens are found in both.
    ///
    /// The token that [begins](Self::begin) texts is not put before them.
    ///
    /// # Errors
    /// [`TextError::Characters`] if there are no tokens for some of the text.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, TextError> {
        let inner = &*self.inner;
        let failed = |error: tokenizers::Error| TextError::Encode { problem: error.to_string() };
        let added = if parse_special { &inner.added } else { &inner.user_defined };
        let mut words = added.extract_and_normalize(inner.normalizer.as_ref(), text);
        inner.split.pre_tokenize(&mut words).map_err(failed)?;
        ByteLevel::new(false, false, false).pre_tokenize(&mut words).map_err(failed)?;
        words.tokenize(|word| inner.bpe.tokenize(word.get())).map_err(failed)?;

        let (mut ids, mut missing) = (Vec::new(), Vec::new());
        for (word, _, tokens) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            let tokens = tokens.as_deref().unwrap_or_default();
            // What there is no token for is left out: say so instead of answering another question.
            if tokens.last().map_or(0, |token| token.offsets.1) != word.len() {
                inner.find_missing(word, &mut missing);
            }
            ids.extend(tokens.iter().map(|token| token.id));
        }
        if missing.is_empty() { Ok(ids) } else { Err(TextError::Characters { characters: missing }) }
    }

    /// The tokens of a text that a model is to go on with: control tokens are found in it, and it
    /// [begins](Self::begin) as the file wants it, but not twice.
    ///
    /// # Errors
    /// [`TextError::Characters`] if there are no tokens for some of the text.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut tokens = self.encode(text, true)?;
        if let Some(begin) = self.begin().filter(|begin| tokens.first() != Some(begin)) {
            tokens.insert(0, begin);
        }
        Ok(tokens)
    }

    /// The text of tokens, in which control tokens have none. Bytes that are no UTF-8 are U+FFFD.
    ///
    /// # Errors
    /// [`TextError::Token`]
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.text(tokens, false)
    }

    /// The text of tokens, control tokens too.
    ///
    /// # Errors
    /// [`TextError::Token`]
    pub fn decode_with_special(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.text(tokens, true)
    }

    fn text(&self, tokens: &[u32], special: bool) -> Result<String, TextError> {
        let (mut utf8, mut text) = (Utf8::default(), String::new());
        for &token in tokens {
            let bytes = self.token_bytes(token)?;
            if special || !self.is_control(token) {
                utf8.push(bytes, &mut text);
            }
        }
        utf8.finish(&mut text);
        Ok(text)
    }

    /// The bytes of a token, which need not be whole characters. Tokens of the model that the tokenizer does not know,
    /// or that are unused, have none.
    ///
    /// # Errors
    /// [`TextError::Token`]
    pub fn token_bytes(&self, token: u32) -> Result<&[u8], TextError> {
        let inner = &*self.inner;
        if token >= inner.vocab {
            return Err(TextError::Token { token, vocab: inner.vocab });
        }
        let Some(&end) = inner.ends.get(token as usize) else { return Ok(&[]) };
        let start = (token as usize).checked_sub(1).map_or(0, |before| inner.ends[before]);
        Ok(&inner.bytes[start..end])
    }

    /// Whether a token is a control token: it stands for something else than its text.
    #[must_use]
    pub fn is_control(&self, token: u32) -> bool {
        self.inner.control.get(token as usize).copied().unwrap_or(false)
    }

    /// The token that every text begins with, if one does.
    #[must_use]
    pub fn begin(&self) -> Option<u32> {
        self.inner.bos.filter(|_| self.inner.begins)
    }

    /// The token for the beginning of a text, whether or not texts begin with it.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.inner.bos
    }

    /// The token that ends a text.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        self.inner.eos
    }

    /// The token that ends a turn, if it is another.
    #[must_use]
    pub fn eot(&self) -> Option<u32> {
        self.inner.eot
    }

    /// The token that fills up batches.
    #[must_use]
    pub fn padding(&self) -> Option<u32> {
        self.inner.padding
    }

    /// All tokens that end an answer, sorted: those that keys of the file name, and control tokens known for it.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        &self.inner.end_tokens
    }
}

impl Inner {
    /// Puts the characters of a word, as byte-level BPE has it, that there are no tokens for into `missing`.
    fn find_missing(&self, word: &str, missing: &mut Vec<char>) {
        let mut bytes = Vec::new();
        put_bytes(word, &mut bytes);
        let has = |byte: u8| self.bpe.token_to_id(char_of(byte).encode_utf8(&mut [0; 4])).is_some();
        for character in String::from_utf8_lossy(&bytes).chars() {
            let mut encoded = [0; 4];
            if !character.encode_utf8(&mut encoded).bytes().all(has) && !missing.contains(&character) {
                missing.push(character);
            }
        }
    }
}

/// How the tokenizer of a file splits texts.
fn words(gguf: &Gguf) -> Result<&'static Words, TextError> {
    let model = gguf.string(MODEL)?;
    if model != "gpt2" {
        let supported = "`gpt2`, which is byte-level BPE".to_owned();
        return Err(TextError::Unsupported { key: MODEL, found: model.to_owned(), supported });
    }
    let name = gguf.string(PRE)?;
    WORDS.iter().find(|words| words.names.contains(&name)).ok_or_else(|| {
        let names: Vec<String> = WORDS.iter().flat_map(|words| words.names).map(|name| format!("`{name}`")).collect();
        TextError::Unsupported { key: PRE, found: name.to_owned(), supported: names.join(", ") }
    })
}

/// The value of a key, an array of strings.
fn strings<'a>(gguf: &'a Gguf, key: &'static str) -> Result<Vec<&'a str>, TextError> {
    let string = |(index, value): (usize, crate::gguf::Value<'a>)| {
        let found = || value.type_name().to_owned();
        value.as_string().ok_or_else(|| TextError::Element { key, index, found: found(), expected: "a string" })
    };
    gguf.array(key)?.iter().enumerate().map(string).collect()
}

/// The kind of each token. A file that does not say has ordinary ones.
fn kinds(gguf: &Gguf, tokens: usize) -> Result<Vec<u64>, TextError> {
    let array = match gguf.array(TYPES) {
        Err(GgufError::MissingKey { .. }) => return Ok(vec![1; tokens]),
        array => array?,
    };
    if array.len() != tokens as u64 {
        return Err(TextError::Length { key: TYPES, found: array.len(), tokens: tokens as u64 });
    }
    let kind = |(index, value): (usize, crate::gguf::Value<'_>)| {
        let expected = "a whole number";
        value.as_integer().ok_or_else(|| TextError::Element { key: TYPES, index, found: value.to_string(), expected })
    };
    array.iter().enumerate().map(kind).collect()
}

/// The number of each token.
fn vocabulary(tokens: &[&str]) -> Result<Vocab, TextError> {
    let mut all = Vocab::with_capacity(tokens.len());
    for (&token, id) in tokens.iter().zip(0u32..) {
        if let Some(first) = all.insert(token.to_owned(), id) {
            return Err(TextError::Duplicate { text: token.to_owned(), first, second: id });
        }
    }
    Ok(all)
}

/// The merges and the tokens that they make. Control tokens are not among these: no text is one by chance.
fn bpe(gguf: &Gguf, words: &Words, mut all: Vocab, kinds: &[u64]) -> Result<BPE, TextError> {
    all.retain(|_, id| !matches!(kinds[*id as usize], UNKNOWN | CONTROL));
    let merge = |(index, merge): (usize, &&str)| {
        let failed = |problem| Err(TextError::Merge { index, merge: (*merge).to_owned(), problem });
        // A token may begin with a space, but has none else.
        let start = merge.chars().next().map_or(0, char::len_utf8);
        let Some(space) = merge[start..].find(' ').map(|at| start + at) else {
            return failed("should be two tokens with a space between them");
        };
        let (left, right) = (&merge[..space], &merge[space + 1..]);
        if !all.contains_key(left) || !all.contains_key(right) {
            return failed("one of the two is no token for text");
        }
        if !all.contains_key(&format!("{left}{right}")) {
            return failed("what it makes is no token for text");
        }
        Ok((left.to_owned(), right.to_owned()))
    };
    let merges = strings(gguf, MERGES)?.iter().enumerate().map(merge).collect::<Result<Vec<_>, _>>()?;
    let builder = BPE::builder().vocab_and_merges(all, merges).ignore_merges(words.ignores_merges);
    builder.build().map_err(|error| TextError::Encode { problem: error.to_string() })
}

/// The tokens of some kinds, to be found in a text as a whole. `all` knows their numbers.
fn added(all: &BPE, tokens: &[&str], kinds: &[u64], wanted: &[u64]) -> Result<AddedVocabulary, TextError> {
    let tokens = tokens.iter().zip(kinds).filter(|(_, kind)| wanted.contains(kind)).map(|(token, _)| *token);
    let bytes = tokens.clone().map(str::len).sum();
    if bytes > LONGEST_ADDED {
        return Err(TextError::AddedTokens { bytes, limit: LONGEST_ADDED });
    }
    // Not normalised: as files have them, so they are to be found.
    let tokens: Vec<AddedToken> = tokens.map(|token| AddedToken::from(token, false).normalized(false)).collect();
    let mut added = AddedVocabulary::new();
    added.add_tokens(&tokens, all, None::<&NFC>);
    Ok(added)
}

/// The token that a key names, if the file has the key.
fn token_of_key(gguf: &Gguf, key: &'static str, tokens: usize) -> Result<Option<u32>, TextError> {
    let token = match gguf.integer(key) {
        Err(GgufError::MissingKey { .. }) => return Ok(None),
        token => token?,
    };
    match u32::try_from(token) {
        Ok(id) if (id as usize) < tokens => Ok(Some(id)),
        _ => Err(TextError::TokenOfKey { key, token, tokens: tokens as u32 }),
    }
}

/// Whether byte-level BPE has a byte as the character of the same number.
fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that byte-level BPE has for a byte: the others in order from U+0100 on.
fn char_of(byte: u8) -> char {
    if is_itself(byte) {
        return byte.into();
    }
    let before = (0..byte).filter(|byte| !is_itself(*byte)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or_default()
}

/// The byte that a character stands for.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        number @ 0..=0xff => Some(number as u8).filter(|byte| is_itself(*byte)),
        number @ 0x100..=0x143 => (0..=255).filter(|byte| !is_itself(*byte)).nth(number as usize - 0x100),
        _ => None,
    }
}

/// Puts the bytes of an ordinary token after `bytes`; of one that is not of such characters its own.
fn put_bytes(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for character in token.chars() {
        let Some(byte) = byte_of(character) else {
            bytes.truncate(start);
            bytes.extend_from_slice(token.as_bytes());
            return;
        };
        bytes.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_characters_are_pairs() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
            seen.insert(char_of(byte));
        }
        assert_eq!(seen, ByteLevel::alphabet().into_iter().collect());
        // as in the vocabulary of GPT-2: a space, a line feed
        assert_eq!((char_of(b' '), char_of(b'\n')), ('Ġ', 'Ċ'));
        assert_eq!((byte_of(' '), byte_of('\u{144}'), byte_of('語')), (None, None, None));
    }
}
