//! Tokenizers, text streams and chat templates.

#[path = "../common/mod.rs"]
mod common;

mod chat;
mod hostile;
mod plain_bpe;
mod stream;
mod tokenizer;

use common::random_model::{File, Value};
use plain_bpe::Plain;
use warpwright::gguf::Gguf;
use warpwright::text::Tokenizer;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// A file with the tokenizer of a plain one.
fn file_of(plain: &Plain, pre: &str) -> File {
    let mut file = File::default();
    file.set("tokenizer.ggml.model", Value::Text("gpt2".to_owned()));
    file.set("tokenizer.ggml.pre", Value::Text(pre.to_owned()));
    let added = plain.added.iter().map(|(text, _)| text.clone());
    file.set("tokenizer.ggml.tokens", Value::Texts(plain.tokens.iter().cloned().chain(added).collect()));
    let kinds = plain.tokens.iter().map(|_| NORMAL).chain(plain.added.iter().map(|(_, kind)| *kind));
    file.set("tokenizer.ggml.token_type", Value::I32s(kinds.collect()));
    let merges = plain.merges.iter().map(|(left, right)| format!("{left} {right}"));
    file.set("tokenizer.ggml.merges", Value::Texts(merges.collect()));
    file
}

/// The tokenizer of a file whose model has as many tokens as need be.
fn tokenizer_of(file: &File) -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::from_bytes(file.bytes()).unwrap(), 10_000).unwrap()
}
