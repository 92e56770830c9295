//! The tokenizer that a model file describes.

use anyhow::{Context, anyhow, bail, ensure};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};
use warpwright::gguf::{Gguf, GgufError, Value};

/// How the `qwen2` tokenizer splits a text before it merges: contractions, words, single digits, punctuation, space.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Kinds of tokens, as files number them.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// A tokenizer, and the tokens with a meaning.
pub(crate) struct ModelTokenizer {
    pub(crate) tokenizer: Tokenizer,
    /// Ends a text.
    pub(crate) end: Option<u32>,
    /// Begins every text.
    pub(crate) begin: Option<u32>,
}

impl ModelTokenizer {
    /// Reads the tokenizer of a file, for a model of `vocab` tokens.
    pub(crate) fn read(gguf: &Gguf, vocab: u32) -> anyhow::Result<Self> {
        let model = gguf.string("tokenizer.ggml.model")?;
        let pre = gguf.string("tokenizer.ggml.pre")?;
        ensure!(
            (model, pre) == ("gpt2", "qwen2"),
            "the tokenizer `{model}` with `{pre}` is not supported, only `gpt2` with `qwen2`"
        );

        let tokens = strings(gguf, "tokenizer.ggml.tokens")?;
        ensure!(tokens.len() <= vocab as usize, "the tokenizer has {} tokens, and the model {vocab}", tokens.len());
        let merges = strings(gguf, "tokenizer.ggml.merges")?;
        let merges = merges.iter().map(|merge| {
            let (left, right) =
                merge.split_once(' ').ok_or_else(|| anyhow!("the merge {merge:?} is not two tokens"))?;
            Ok((left.to_owned(), right.to_owned()))
        });
        let merges = merges.collect::<anyhow::Result<Vec<_>>>()?;
        let ids: Vocab = tokens.iter().zip(0u32..).map(|(token, id)| ((*token).to_owned(), id)).collect();
        let bpe =
            BPE::builder().vocab_and_merges(ids, merges).build().map_err(|error| anyhow!("the merges: {error}"))?;

        let split = Split::new(SplitPattern::Regex(QWEN2.to_owned()), SplitDelimiterBehavior::Isolated, false);
        let split = split.map_err(|error| anyhow!("the pattern of words: {error}"))?;
        let bytes = ByteLevel::new(false, false, false);
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_normalizer(Some(NFC));
        tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
        tokenizer.with_decoder(Some(bytes));
        add_special(&mut tokenizer, gguf, &tokens)?;

        let id = |key: &str| match gguf.integer(key) {
            Ok(id) => match u32::try_from(id) {
                Ok(id) if id < vocab => Ok(Some(id)),
                _ => bail!("the key `{key}` is {id}, and the model has {vocab} tokens"),
            },
            Err(GgufError::MissingKey { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        };
        let end = id("tokenizer.ggml.eos_token_id")?;
        let begins = matches!(gguf.bool("tokenizer.ggml.add_bos_token"), Ok(true));
        let begin = if begins { id("tokenizer.ggml.bos_token_id")? } else { None };
        Ok(Self { tokenizer, end, begin })
    }

    /// The tokens of a text.
    pub(crate) fn encode(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, false).map_err(|error| anyhow!("{error}"))?;
        let ids: Vec<u32> = self.begin.into_iter().chain(encoding.get_ids().iter().copied()).collect();
        // What the vocabulary has no token for is left out: say so instead of answering another question.
        let decoded = self.tokenizer.decode(encoding.get_ids(), false).map_err(|error| anyhow!("{error}"))?;
        let mut missing: Vec<char> = text.chars().filter(|c| !decoded.contains(*c)).collect();
        missing.dedup();
        ensure!(missing.is_empty(), "the model has no tokens for {missing:?}");
        Ok(ids)
    }
}

/// Tokens that are found in a text before it is split.
fn add_special(tokenizer: &mut Tokenizer, gguf: &Gguf, tokens: &[&str]) -> anyhow::Result<()> {
    let kinds = match gguf.array("tokenizer.ggml.token_type") {
        Ok(kinds) => kinds,
        Err(GgufError::MissingKey { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for (token, kind) in tokens.iter().zip(kinds.iter().map(|kind| kind.as_integer())) {
        match kind {
            Some(CONTROL) => tokenizer.add_special_tokens(&[AddedToken::from(*token, true)]),
            Some(USER_DEFINED) => tokenizer.add_tokens(&[AddedToken::from(*token, false)]),
            _ => 0,
        };
    }
    Ok(())
}

/// The value of a key, an array of strings.
fn strings<'a>(gguf: &'a Gguf, key: &str) -> anyhow::Result<Vec<&'a str>> {
    let array = gguf.array(key)?;
    let strings = array.iter().map(|value: Value<'a>| value.as_string()).collect::<Option<Vec<_>>>();
    strings.with_context(|| format!("the key `{key}` is not an array of strings"))
}
