//! Text streams and stop strings, however texts are cut into pieces.

use super::plain_bpe::{Plain, Words, random_text};
use super::{file_of, tokenizer_of};
use crate::common::Random;
use warpwright::text::{Stop, StopStrings, TextError, TextStream, Tokenizer};

/// A tokenizer of bytes and some merges: most tokens are parts of characters.
fn tokenizer(random: &mut Random) -> (Tokenizer, u32) {
    let sample = random_text(random, 500);
    let plain = Plain::random(random, Words::Qwen2, 30, &sample);
    (tokenizer_of(&file_of(&plain, "qwen2")), plain.tokens.len() as u32)
}

/// What `bytes` are so far: text, without the start of a character at the end.
fn text_so_far(bytes: &[u8]) -> String {
    // the start of a character is one if some continuation makes it whole
    for cut in 1..=3.min(bytes.len()) {
        let (before, start) = bytes.split_at(bytes.len() - cut);
        let needed = match start[0] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => continue,
        };
        let continues = |fill: u8| {
            let mut whole = start.to_vec();
            whole.resize(needed, fill);
            std::str::from_utf8(&whole).is_ok()
        };
        // the second byte is restricted after some first ones: both ends of its range are tried
        if cut < needed && (continues(0x80) || continues(0xbf) || continues(0x9f) || continues(0x90) || continues(0xa0))
        {
            return String::from_utf8_lossy(before).into_owned();
        }
    }
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn no_character_comes_in_halves() {
    let mut random = Random::new(1);
    let (tokenizer, count) = tokenizer(&mut random);
    for round in 0..3000 {
        // random tokens are mostly no UTF-8; tokens of a text with one lost or changed are nearly
        let mut tokens: Vec<u32> = match round % 3 {
            0 => (0..random.below(30)).map(|_| random.below(count)).collect(),
            _ => tokenizer.encode(&random_text(&mut random, 12), false).unwrap(),
        };
        if round % 3 == 2 && !tokens.is_empty() {
            let at = random.below(tokens.len() as u32) as usize;
            tokens[at] = random.below(count);
        }
        let mut stream = TextStream::new(&tokenizer);
        let (mut text, mut bytes) = (String::new(), Vec::new());
        for token in tokens {
            text += &stream.push(token).unwrap();
            bytes.extend(tokenizer.token_bytes(token).unwrap());
            assert_eq!(text, text_so_far(&bytes), "{bytes:x?}");
        }
        text += &stream.finish();
        assert_eq!(text, String::from_utf8_lossy(&bytes), "{bytes:x?}");
    }
}

/// The text before the stop string that is complete first, the longest of several, and that string.
fn cut<'a>(text: &str, stop: &[&'a str]) -> Option<(String, &'a str)> {
    (1..=text.len()).find_map(|end| {
        let ends = stop.iter().filter(|string| text.as_bytes()[..end].ends_with(string.as_bytes()));
        ends.max_by_key(|string| string.len()).map(|string| (text[..end - string.len()].to_owned(), *string))
    })
}

#[test]
fn stop_strings_do_not_depend_on_pieces() {
    let mut random = Random::new(2);
    let letters = ['a', 'b', 'é', '語', '🦀'];
    let mut stopped = 0;
    for _ in 0..20_000 {
        let mut word = |most: u32| -> String {
            (0..1 + random.below(most)).map(|_| letters[random.below(3 + most % 3) as usize]).collect()
        };
        let (text, stop): (String, Vec<String>) = (word(14), (0..3).map(|_| word(4)).collect());
        let expected = cut(&text, &stop.iter().map(String::as_str).collect::<Vec<_>>());
        let mut strings = StopStrings::new(stop.clone()).unwrap();
        let (mut out, mut found, mut rest) = (String::new(), None, text.as_str());
        while !rest.is_empty() && found.is_none() {
            let length = 1 + random.below(rest.chars().count() as u32) as usize;
            let at = rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(at);
            found = strings.push(piece, &mut out).map(str::to_owned);
            rest = after;
            // nothing comes that is to be taken back, and nothing is held back that need not be
            assert!(text.starts_with(&out));
            if found.is_none() {
                let so_far = &text[..text.len() - rest.len()];
                let held = &so_far[out.len()..];
                assert!(held.is_empty() || stop.iter().any(|string| string.starts_with(held) && string != held));
            }
        }
        out += &strings.finish();
        match expected {
            Some((before, string)) => {
                assert_eq!((out, found.as_deref()), (before, Some(string)), "{text:?} until {stop:?}");
                stopped += 1;
            }
            None => assert_eq!((out, found), (text, None), "until {stop:?}"),
        }
    }
    assert!((2_000..18_000).contains(&stopped), "{stopped}");
    assert_eq!(StopStrings::new(["a", ""]).unwrap_err(), TextError::EmptyStopString);
}

#[test]
fn a_stream_ends_at_tokens_and_strings() {
    let mut random = Random::new(3);
    let (tokenizer, count) = tokenizer(&mut random);
    let end = count;
    assert_eq!(tokenizer.end_tokens(), [end], "<|im_end|>");
    let tokens = |text: &str| tokenizer.encode(text, true).unwrap();
    let read = |mut stream: TextStream, text: &str| {
        let mut out = String::new();
        for token in tokens(text) {
            out += &stream.push(token).unwrap();
        }
        let stop = stream.stop().cloned();
        (out + &stream.finish(), stop)
    };
    let stream = || TextStream::new(&tokenizer);
    let until = |strings: &[&str]| stream().with_stop_strings(StopStrings::new(strings.iter().copied()).unwrap());
    assert_eq!(read(stream(), "a 🦀<|im_end|> b"), ("a 🦀".to_owned(), Some(Stop::Token(end))));
    assert_eq!(read(stream().with_stop_tokens([]), "a<|im_end|>b"), ("ab".to_owned(), None));
    let b = tokens("b")[0];
    assert_eq!(read(stream().with_stop_tokens([b]), "a<|im_end|>b"), ("a".to_owned(), Some(Stop::Token(b))));
    // across the borders of tokens, and of characters
    assert_eq!(read(until(&["🦀!"]), "a🦀?🦀!b"), ("a🦀?".to_owned(), Some(Stop::String("🦀!".to_owned()))));
    // what was held back comes if the text ends otherwise
    assert_eq!(read(until(&["END"]), "the EN<|im_end|>"), ("the EN".to_owned(), Some(Stop::Token(end))));
    assert_eq!(read(until(&["END"]), "the EN"), ("the EN".to_owned(), None));
    // half a character, too
    let mut half = until(&["x\u{fffd}"]);
    assert_eq!(half.push(tokens("x")[0]).unwrap(), "");
    let first = *tokens("語").first().filter(|_| tokens("語").len() > 1).unwrap_or(&tokens("é")[0]);
    if tokenizer.token_bytes(first).unwrap().len() == 1 {
        assert_eq!(half.push(first).unwrap(), "");
        assert_eq!(half.finish(), "", "it is a stop string now");
    }
    assert_eq!(stream().push(10_000), Err(TextError::Token { token: 10_000, vocab: 10_000 }));
}
