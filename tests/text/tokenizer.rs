//! Encoding and decoding against plain BPE, and by hand.

use super::plain_bpe::{Plain, Words, byte_character, random_text};
use super::{CONTROL, file_of, tokenizer_of};
use crate::common::random_model::Value;
use crate::common::{Random, adder, adder_tokens};
use warpwright::gguf::Gguf;
use warpwright::text::{TextError, Tokenizer};

#[test]
fn encodes_as_plain_bpe_does() {
    let mut random = Random::new(1);
    for (words, pre) in [(Words::Qwen2, "qwen2"), (Words::Llama, "llama-bpe"), (Words::Gpt2, "gpt-2")] {
        for merges in [0, 40, 400] {
            let sample = random_text(&mut random, 3000);
            let plain = Plain::random(&mut random, words, merges, &sample);
            let mut file = file_of(&plain, pre);
            file.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
            let tokenizer = tokenizer_of(&file);
            let mut shortened = 0;
            for length in 0..150 {
                let text = random_text(&mut random, length);
                let tokens = tokenizer.encode(&text, false).unwrap();
                assert_eq!(tokens, plain.encode(&text), "{pre}, {merges} merges: {text:?}");
                assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
                assert_eq!(tokenizer.encode(&text, true).unwrap(), tokens, "no control token is in {text:?}");
                shortened += text.len() - tokens.len();
            }
            assert!(merges < 400 || shortened > 5000, "merges are used: {shortened}");
        }
    }
}

/// The bytes, and tokens made by hand.
fn by_hand(pre: &str) -> Tokenizer {
    let merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("Ġw", "o"), ("Ã", "©"), ("1", "2")];
    let merges: Vec<(String, String)> = merges.map(|(left, right)| (left.to_owned(), right.to_owned())).to_vec();
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_character(byte).to_string()).collect();
    tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let added = vec![("<|im_end|>".to_owned(), CONTROL), ("<|im_start|>".to_owned(), CONTROL)];
    let mut plain = Plain { words: Words::Qwen2, tokens, merges, added };
    plain.added.push(("<think>".to_owned(), super::USER_DEFINED));
    let mut file = file_of(&plain, pre);
    file.set("tokenizer.ggml.bos_token_id", Value::U32(265));
    file.set("tokenizer.ggml.eos_token_id", Value::U32(265));
    file.set("tokenizer.ggml.padding_token_id", Value::U32(7));
    tokenizer_of(&file)
}

#[test]
fn encodes_by_hand() {
    let tokenizer = by_hand("qwen2");
    let encode = |text| tokenizer.encode(text, false).unwrap();
    // 256 he, 257 ll, 258 hell, 259 hello, 260 " w", 261 " wo", 262 é, 263 12, 264 <|im_end|>, 266 <think>
    assert_eq!(encode("hello world"), [259, 261, u32::from(b'r'), u32::from(b'l'), u32::from(b'd')]);
    assert_eq!(encode("é"), [262]);
    assert_eq!(encode("e\u{301}"), [262], "the text is composed first");
    assert_eq!(encode("12"), [u32::from(b'1'), u32::from(b'2')], "digits are words of their own");
    assert_eq!(encode(""), [0; 0]);
    assert_eq!(encode("<think>he"), [266, 256]);
    assert_eq!(encode("he<|im_end|>").len(), 11, "text like any other");
    assert_eq!(tokenizer.encode("he<|im_end|>", true).unwrap(), [256, 264]);
    assert_eq!(tokenizer.encode("<|im_start|>he<|im_end|>", true).unwrap(), [265, 256, 264]);

    let llama = by_hand("llama-bpe");
    assert_eq!(llama.encode("12", false).unwrap(), [263]);
    assert_eq!(llama.encode("e\u{301}", false).unwrap(), [u32::from(b'e'), 0xcc, 0x81], "the text is left as it is");
    assert_eq!((tokenizer.begin(), llama.begin()), (None, Some(265)));
    assert_eq!(tokenizer.prompt("he").unwrap(), [256]);
    assert_eq!(llama.prompt("he").unwrap(), [265, 256]);
    assert_eq!(llama.prompt("<|im_start|>he").unwrap(), [265, 256], "not twice");
}

#[test]
fn decodes_by_hand() {
    let tokenizer = by_hand("qwen2");
    assert_eq!(tokenizer.decode(&[259, 261, 264, 0xc3]).unwrap(), "hello wo\u{fffd}");
    assert_eq!(tokenizer.decode_with_special(&[259, 264, 266]).unwrap(), "hello<|im_end|><think>");
    assert_eq!(tokenizer.decode(&[9_999]).unwrap(), "", "a token of the model that has no text");
    assert_eq!(tokenizer.decode(&[10_000]), Err(TextError::Token { token: 10_000, vocab: 10_000 }));
    assert_eq!(tokenizer.token_bytes(262).unwrap(), "é".as_bytes());
    assert!(tokenizer.is_control(264) && !tokenizer.is_control(266) && !tokenizer.is_control(u32::MAX));
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.eot(), tokenizer.padding()),
        (Some(265), Some(265), None, Some(7))
    );
    assert_eq!(tokenizer.end_tokens(), [264, 265], "the one that the file names, and one that is known");
}

#[test]
fn the_shipped_model_knows_what_it_does_not_know() {
    let tokenizer = Tokenizer::from_gguf(&Gguf::open(adder()).unwrap(), 16).unwrap();
    assert_eq!(tokenizer.encode("47+58=", true).unwrap(), adder_tokens("47+58="));
    assert_eq!(tokenizer.prompt("47+58=").unwrap(), adder_tokens("47+58="));
    let characters = |text| match tokenizer.encode(text, true) {
        Err(TextError::Characters { characters }) => characters.into_iter().collect::<String>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(characters("two + 2"), "two ");
    assert_eq!(characters("1é2語é"), "é語");
    let error = tokenizer.encode("1?", true).unwrap_err();
    assert_eq!(error.to_string(), "the model has no tokens for ['?']");
    assert_eq!(tokenizer.end_tokens(), [13]);
}

#[test]
fn long_texts_are_encoded() {
    let mut random = Random::new(2);
    let sample = random_text(&mut random, 1000);
    let plain = Plain::random(&mut random, Words::Qwen2, 200, &sample);
    let tokenizer = tokenizer_of(&file_of(&plain, "qwen2"));
    for text in ["a".repeat(200_000), " ".repeat(200_000), "\n".repeat(100_000) + "x", "!?".repeat(100_000)] {
        let tokens = tokenizer.encode(&text, true).unwrap();
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
}
