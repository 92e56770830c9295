//! Byte-level BPE as it is defined, slowly: a scanner for words, and merges one by one in the order of their ranks.

use std::collections::BTreeMap;

use super::{CONTROL, USER_DEFINED};
use crate::common::Random;

/// How words are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Words {
    Qwen2,
    Llama,
    Gpt2,
}

/// A vocabulary with merges.
pub(crate) struct Plain {
    pub(crate) words: Words,
    /// By number, in the characters of byte-level BPE.
    pub(crate) tokens: Vec<String>,
    pub(crate) merges: Vec<(String, String)>,
    /// Tokens that are found as a whole, which come after the others, and their kinds.
    pub(crate) added: Vec<(String, i32)>,
}

/// The character for a byte: printable ones are themselves, the others stand in order from U+0100 on.
pub(crate) fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| (33..127).contains(&byte) || (161..=172).contains(&byte) || byte >= 174;
    let mut next = 256;
    for other in 0..=255u8 {
        let character = if printable(other) {
            u32::from(other)
        } else {
            next += 1;
            next - 1
        };
        if other == byte {
            return char::from_u32(character).unwrap();
        }
    }
    unreachable!()
}

fn is_letter(c: char) -> bool {
    // true for letters and for some marks and symbols, which the tests do not use
    c.is_alphabetic() && !c.is_numeric()
}

fn is_other(c: char) -> bool {
    !c.is_whitespace() && !is_letter(c) && !c.is_numeric()
}

fn is_line_end(c: char) -> bool {
    c == '\r' || c == '\n'
}

/// How many characters at the start of a text, from the first on, are such.
fn run(text: &[char], such: impl Fn(char) -> bool) -> usize {
    text.iter().take_while(|c| such(**c)).count()
}

fn contraction(text: &[char], any_case: bool) -> usize {
    if text.first() != Some(&'\'') {
        return 0;
    }
    for ending in ["s", "t", "re", "ve", "m", "ll", "d"] {
        let found: String = text[1..].iter().take(ending.len()).collect();
        if found == ending || (any_case && found.to_ascii_lowercase() == ending) {
            return 1 + ending.len();
        }
    }
    0
}

/// How long the word at the start of a text is, in characters.
fn word(words: Words, text: &[char]) -> usize {
    let contraction = contraction(text, words != Words::Gpt2);
    if contraction > 0 {
        return contraction;
    }
    let space = usize::from(text[0] == ' ');
    if words == Words::Gpt2 {
        for such in [is_letter as fn(char) -> bool, |c| c.is_numeric(), is_other] {
            let length = run(&text[space..], such);
            if length > 0 {
                return space + length;
            }
        }
    } else {
        let before = usize::from(!is_letter(text[0]) && !text[0].is_numeric() && !is_line_end(text[0]));
        let letters = run(&text[before..], is_letter);
        if letters > 0 {
            return before + letters;
        }
        let digits = run(text, char::is_numeric);
        if digits > 0 {
            return digits.min(if words == Words::Llama { 3 } else { 1 });
        }
        let others = run(&text[space..], is_other);
        if others > 0 {
            return space + others + run(&text[space + others..], is_line_end);
        }
    }
    let spaces = run(text, char::is_whitespace);
    let last_line_end = text[..spaces].iter().rposition(|c| is_line_end(*c));
    match last_line_end {
        Some(at) if words != Words::Gpt2 => at + 1,
        _ if spaces == text.len() => spaces,
        _ => spaces.max(2) - 1,
    }
}

impl Plain {
    /// All bytes, and merges of what stands side by side in `sample`; the numbers are in a random order.
    pub(crate) fn random(random: &mut Random, words: Words, merges: usize, sample: &str) -> Self {
        let bytes = (0..=255).map(|byte| byte_character(byte).to_string());
        let mut plain = Self {
            words,
            tokens: bytes.collect(),
            merges: Vec::new(),
            added: vec![("<|im_end|>".to_owned(), CONTROL)],
        };
        plain.added.push(("<think>".to_owned(), USER_DEFINED));
        let mut pieces: Vec<Vec<String>> = plain.pieces(sample);
        for _ in 0..merges {
            let longer: Vec<usize> = (0..pieces.len()).filter(|n| pieces[*n].len() > 1).collect();
            let Some(n) = longer.get(random.below(longer.len().max(1) as u32) as usize) else { break };
            let at = random.below(pieces[*n].len() as u32 - 1) as usize;
            let pair = (pieces[*n][at].clone(), pieces[*n][at + 1].clone());
            let merged = format!("{}{}", pair.0, pair.1);
            // the same token may be made in two ways
            if !plain.tokens.contains(&merged) {
                let place = random.below(plain.tokens.len() as u32 + 1) as usize;
                plain.tokens.insert(place, merged.clone());
            }
            pieces.iter_mut().for_each(|piece| merge(piece, &pair));
            plain.merges.push(pair);
        }
        plain
    }

    /// The words of a text as characters for bytes.
    fn pieces(&self, text: &str) -> Vec<Vec<String>> {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut pieces) = (0, Vec::new());
        while at < text.len() {
            let length = word(self.words, &text[at..]);
            let bytes = text[at..at + length].iter().collect::<String>().into_bytes();
            pieces.push(bytes.into_iter().map(|byte| byte_character(byte).to_string()).collect());
            at += length;
        }
        pieces
    }

    /// The tokens of a text without added ones.
    pub(crate) fn encode(&self, text: &str) -> Vec<u32> {
        let ranks: BTreeMap<&(String, String), usize> = self.merges.iter().zip(0..).collect();
        let mut tokens = Vec::new();
        for mut piece in self.pieces(text) {
            let whole: String = piece.concat();
            if self.words == Words::Llama && self.tokens.contains(&whole) {
                piece = vec![whole];
            }
            loop {
                let pairs = piece.windows(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                let Some(best) = pairs.filter(|pair| ranks.contains_key(pair)).min_by_key(|pair| ranks[pair]) else {
                    break;
                };
                merge(&mut piece, &best);
            }
            let id = |token: &String| self.tokens.iter().position(|known| known == token).unwrap() as u32;
            tokens.extend(piece.iter().map(id));
        }
        tokens
    }
}

/// Merges a pair wherever it stands, from the left.
fn merge(piece: &mut Vec<String>, (left, right): &(String, String)) {
    let mut at = 0;
    while at + 1 < piece.len() {
        if piece[at] == *left && piece[at + 1] == *right {
            let right = piece.remove(at + 1);
            piece[at].push_str(&right);
        }
        at += 1;
    }
}

/// A text in which words of all kinds meet. Unicode composes none of its characters, and splits none.
pub(crate) fn random_text(random: &mut Random, length: u32) -> String {
    let parts = [
        " ",
        " ",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u{a0}",
        "\u{3000}",
        "\u{2003}",
        "'s",
        "'LL",
        "'d",
        "'",
        "a",
        "b",
        "the",
        "Zug",
        "é",
        "ß",
        "λ",
        "Ж",
        "語",
        "文字",
        "한",
        "7",
        "42",
        "²",
        "Ⅷ",
        "٣",
        "½",
        ".",
        "!?",
        "-",
        "€",
        "→",
        "🦀",
        "👩‍🚀",
        "<",
        "|",
        "im_end",
        "\u{0}",
        "\u{7f}",
        "\u{200b}",
    ];
    (0..length).map(|_| parts[random.below(parts.len() as u32) as usize]).collect()
}
