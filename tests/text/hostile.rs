//! Tokenizers of files that are wrong: an error that says what, and never a panic.

use super::plain_bpe::{Plain, Words, random_text};
use super::{CONTROL, file_of};
use crate::common::Random;
use crate::common::random_model::{File, Value};
use warpwright::gguf::Gguf;
use warpwright::text::{ChatTemplate, TextError, Tokenizer};

fn small() -> File {
    let tokens = ["a", "b", "ab", "c"].map(str::to_owned).to_vec();
    let merges = vec![("a".to_owned(), "b".to_owned())];
    let added = vec![("<end>".to_owned(), CONTROL)];
    let mut file = file_of(&Plain { words: Words::Qwen2, tokens, merges, added }, "qwen2");
    file.set("tokenizer.ggml.eos_token_id", Value::U32(4));
    file
}

/// The error of the small file with one key changed, for a model of 8 tokens.
fn error(key: &str, value: Value) -> TextError {
    let mut file = small();
    file.set(&format!("tokenizer.ggml.{key}"), value);
    Tokenizer::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap(), 8).unwrap_err()
}

fn texts(texts: &[&str]) -> Value {
    Value::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn what_is_wrong_is_named() {
    assert!(Tokenizer::from_gguf(&Gguf::from_bytes(small().bytes()).unwrap(), 5).is_ok());
    let cases = [
        (
            "model",
            Value::Text("llama".to_owned()),
            "the key `tokenizer.ggml.model` is `llama`, and supported is `gpt2`",
        ),
        (
            "pre",
            Value::Text("viking".to_owned()),
            "the key `tokenizer.ggml.pre` is `viking`, and supported is `qwen2`, `deepseek-r1-qwen`, `llama-bpe`, `llama3`, \
             `llama-v3`, `gpt-2`",
        ),
        ("tokens", Value::U32(3), "the key `tokenizer.ggml.tokens` is a u32, and should be an array"),
        (
            "tokens",
            Value::I32s(vec![1; 5]),
            "element 0 of the key `tokenizer.ggml.tokens` is an i32, and should be a string",
        ),
        ("tokens", texts(&["a", "b", "ab", "c", "a"]), "the tokens 0 and 4 are both \"a\""),
        ("tokens", texts(&["t"; 9]), "the tokenizer has 9 tokens, and the model 8"),
        (
            "token_type",
            Value::I32s(vec![1; 4]),
            "the key `tokenizer.ggml.token_type` has 4 elements, and there are 5 tokens",
        ),
        (
            "token_type",
            Value::I32s(vec![1, 1, -1, 1, 1]),
            "element 2 of the key `tokenizer.ggml.token_type` is -1, and should be a whole number",
        ),
        ("merges", texts(&["a b", "ab"]), "the merge 1 is \"ab\", and should be two tokens with a space between them"),
        ("merges", texts(&[""]), "the merge 0 is \"\", and should be two tokens"),
        ("merges", texts(&["a d"]), "the merge 0 is \"a d\", and one of the two is no token for text"),
        ("merges", texts(&["a <end>"]), "the merge 0 is \"a <end>\", and one of the two is no token for text"),
        ("merges", texts(&["b a"]), "the merge 0 is \"b a\", and what it makes is no token for text"),
        ("merges", Value::Bool(true), "the key `tokenizer.ggml.merges` is a bool, and should be an array"),
        ("eos_token_id", Value::U32(5), "the key `tokenizer.ggml.eos_token_id` is 5, and there are 5 tokens"),
        ("eot_token_id", Value::U32(u32::MAX), "the key `tokenizer.ggml.eot_token_id` is 4294967295"),
        ("padding_token_id", Value::U32(5), "the key `tokenizer.ggml.padding_token_id` is 5"),
        ("bos_token_id", Value::Text("4".to_owned()), "the key `tokenizer.ggml.bos_token_id` is a string"),
        ("add_bos_token", Value::U32(1), "the key `tokenizer.ggml.add_bos_token` is a u32"),
        ("add_bos_token", Value::Bool(true), "the key `tokenizer.ggml.bos_token_id` is missing"),
    ];
    for (key, value, message) in cases {
        let shown = error(key, value.clone()).to_string();
        assert!(shown.starts_with(message), "{key}: {value:?}: {shown}");
    }
    for key in ["model", "pre", "tokens", "merges"] {
        let mut file = small();
        file.keys.retain(|(known, _)| *known != format!("tokenizer.ggml.{key}"));
        let error = Tokenizer::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap(), 8).unwrap_err();
        assert_eq!(error.to_string(), format!("the key `tokenizer.ggml.{key}` is missing"));
    }
    let long = "<".repeat((16 << 20) + 1);
    let long = error("tokens", texts(&["a", "b", "ab", "c", &long]));
    assert!(matches!(long, TextError::AddedTokens { bytes: 16_777_217, .. }), "{long}");
}

#[test]
fn odd_tokens_are_survived() {
    let mut file = small();
    // an empty token, and such as byte-level BPE does not make
    file.set("tokenizer.ggml.tokens", texts(&["a", "b", "ab", "", " 語", "\u{0}"]));
    for kinds in
        [vec![1, 1, 1, 1, 1, 1], vec![1, 1, 1, 3, 3, 3], vec![4; 6], vec![1, 1, 1, 5, 5, 6], vec![1, 1, 1, 99, 2, 0]]
    {
        file.set("tokenizer.ggml.token_type", Value::I32s(kinds));
        let tokenizer = Tokenizer::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap(), 8).unwrap();
        assert_eq!(
            tokenizer.encode("abb", true).unwrap(),
            if tokenizer.token_bytes(2).unwrap() == b"ab" { vec![2, 1] } else { vec![] }
        );
        for token in 0..8 {
            tokenizer.decode_with_special(&[token, 0, token]).unwrap();
        }
    }
}

#[test]
fn mutated_files_are_survived() {
    let mut random = Random::new(1);
    let sample = random_text(&mut random, 300);
    let plain = Plain::random(&mut random, Words::Qwen2, 20, &sample);
    let mut file = file_of(&plain, "qwen2");
    file.set("tokenizer.ggml.eos_token_id", Value::U32(3));
    file.set("tokenizer.chat_template", Value::Text("{% for m in messages %}{{ m.content }}{% endfor %}".to_owned()));
    let bytes = file.bytes();
    let mut read = 0;
    for _ in 0..2_000 {
        let mut bytes = bytes.clone();
        for _ in 0..1 + random.below(8) {
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] = random.bytes(1)[0];
        }
        let Ok(gguf) = Gguf::from_bytes(bytes) else { continue };
        if let Ok(template) = ChatTemplate::from_gguf(&gguf) {
            let _ = template.render(&[warpwright::text::Message::user("hello")], true);
        }
        let Ok(tokenizer) = Tokenizer::from_gguf(&gguf, 1_000) else { continue };
        read += 1;
        if let Ok(tokens) = tokenizer.encode(&random_text(&mut random, 20), true) {
            tokenizer.decode(&tokens).unwrap();
        }
    }
    assert!(read > 50, "{read} files could still be read");
}
