//! The perplexity that the program says, against a reference in f64.

use std::path::Path;
use std::process::Command;

use warpwright::gguf::Gguf;
use warpwright::text::Tokenizer;

#[path = "../../tests/common/mod.rs"]
mod common;
mod program;

use common::reference::Reference;
use program::{program, root};

/// What the program says of a text, in pieces of so many tokens: perplexity, and the tokens that count.
fn found(model: &Path, text: &Path, context: usize) -> (f64, u64) {
    let output = Command::new(program())
        .arg("perplexity")
        .args([text, Path::new("-m"), model, Path::new("--json"), Path::new("-c"), Path::new(&context.to_string())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["context"], context);
    (json["perplexity"].as_f64().unwrap(), json["tokens"].as_u64().unwrap())
}

/// The same by the reference.
fn expected(model: &Path, text: &str, context: usize) -> (f64, u64) {
    let gguf = Gguf::open(model).unwrap();
    let reference = Reference::new(&gguf);
    let tokens = Tokenizer::from_gguf(&gguf, reference.vocab as u32).unwrap().encode(text, false).unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for piece in tokens.chunks(context).filter(|piece| piece.len() >= 2) {
        let logits = reference.logits(&piece[..piece.len() - 1]);
        for (logits, next) in logits.iter().zip(&piece[1..]) {
            let normalizer = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
            sum += normalizer - logits[*next as usize];
            count += 1;
        }
    }
    ((sum / count as f64).exp(), count)
}

#[test]
fn perplexity_of_the_shipped_models_agrees_with_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("sums.txt");
    let sums = std::fs::read_to_string(root().join("models/adder-heldout.txt")).unwrap();
    // The last piece is a short one.
    let sums: String = sums.lines().take(9).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&text, &sums).unwrap();
    for name in ["adder-q1_0.gguf", "adder-tq2_0.gguf"] {
        let model = root().join("models").join(name);
        for context in [64, 13] {
            let (found, expected) = (found(&model, &text, context), expected(&model, &sums, context));
            println!("{name}, in pieces of {context}: {found:?}, and the reference {expected:?}");
            assert_eq!(found.1, expected.1, "tokens");
            assert!((found.0 / expected.0 - 1.0).abs() < 5e-3, "{name}: {found:?}, and not {expected:?}");
        }
    }
}
