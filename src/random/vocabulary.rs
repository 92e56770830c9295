//! A vocabulary of any size: byte-level BPE with the `qwen2` pre-tokenizer, which has a token for every text.

use crate::gguf::{ArrayBuf, Header, Value, WriteError};

/// What the merges make tokens of. A space before a word belongs to it.
const WORDS: &str = " the of and to in is that it was for on are as with his they be at one have this from or had by hot \
                     but some what there we can out other were all your when up use word how said an each she which do \
                     their time if will way about many then them would write like so these her long make thing see him \
                     two has look more day could go come did my sound no most number who over know water than call first \
                     people may down side been now find";

/// The last tokens: the end of a text, and begin and end of a message.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

const CHAT_TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content \
                             }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Kinds of tokens, as files number them.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

/// The character that stands for a byte in byte-level BPE: the byte itself where that can be printed, the others in
/// order from U+0100 on.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The characters for all bytes, printable ones first.
fn byte_tokens() -> impl Iterator<Item = char> {
    let printable = (0..=255u8).filter(|byte| is_printable(*byte)).map(char::from);
    let others = 256 - printable.clone().count() as u32;
    printable.chain((0..others).filter_map(|n| char::from_u32(0x100 + n)))
}

/// Sets the keys of a tokenizer with `vocab` tokens: bytes, what merges make of them, fillers, special tokens. Fewer
/// tokens than bytes and special ones are the first bytes alone.
pub(super) fn set(header: &mut Header, vocab: u32) -> Result<(), WriteError> {
    let vocab = vocab as usize;
    let space = '\u{120}';
    let mut tokens: Vec<String> = byte_tokens().take(vocab).map(String::from).collect();
    let mut merges = Vec::new();
    let special: &[&str] = if vocab >= 256 + SPECIAL.len() { &SPECIAL } else { &[] };
    let room = vocab - special.len();
    if !special.is_empty() {
        'words: for word in WORDS.split_whitespace() {
            let mut token = space.to_string();
            for letter in word.chars() {
                let longer = format!("{token}{letter}");
                if !tokens.contains(&longer) {
                    if tokens.len() == room {
                        break 'words;
                    }
                    merges.push(format!("{token} {letter}"));
                    tokens.push(longer.clone());
                }
                token = longer;
            }
        }
    }
    let normal = tokens.len();
    tokens.extend((0..room - normal).map(|n| format!("[unused{n}]")));
    tokens.extend(special.iter().map(|token| String::from(*token)));
    let kind = |n: usize| match n {
        _ if n < normal => NORMAL,
        _ if n < room => UNUSED,
        _ => CONTROL,
    };
    header.set("tokenizer.ggml.model", Value::String("gpt2"))?;
    header.set("tokenizer.ggml.pre", Value::String("qwen2"))?;
    header.set("tokenizer.ggml.tokens", ArrayBuf::strings(&tokens).value())?;
    header.set("tokenizer.ggml.token_type", ArrayBuf::new((0..vocab).map(|n| Value::I32(kind(n))))?.value())?;
    header.set("tokenizer.ggml.merges", ArrayBuf::strings(&merges).value())?;
    header.set("tokenizer.ggml.add_bos_token", Value::Bool(false))?;
    if !special.is_empty() {
        header.set("tokenizer.ggml.eos_token_id", Value::U32(vocab as u32 - 1))?;
        header.set("tokenizer.ggml.padding_token_id", Value::U32(vocab as u32 - 3))?;
        header.set("tokenizer.chat_template", Value::String(CHAT_TEMPLATE))?;
    }
    Ok(())
}
