//! Conversations: through a pipe, and at a terminal.

mod program;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use program::{program, root};

fn piped(arguments: &[&str], text: &str) -> Output {
    let adder = root().join("models/adder-q1_0.gguf");
    let mut child = Command::new(program())
        .arg("chat")
        .arg(adder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn lines_of_a_pipe_are_answered() {
    let output = piped(&[], "12+34=\n\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "46\n");
    assert!(output.status.success());
    // Nothing but the answers is on standard output, and no progress anywhere.
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("memory: ") && !shown.contains("loading") && !shown.contains('\r'), "{shown}");
    // The conversation is longer than the context.
    let output = piped(&["-c", "8"], "999+1=\n1+1=\n");
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("the context of 8 tokens is full") || shown.contains("do not fit in a context"), "{shown}");
}

#[test]
fn a_terminal_has_history_and_answers_that_end() {
    let folder = tempfile::tempdir().unwrap();
    let endless = folder.path().join("endless.gguf");
    let made = Command::new(program())
        .args(["random", "--layers", "1", "--hidden", "128", "--ffn", "128", "--heads", "2", "--kv-heads", "1"])
        .args(["--head-dim", "64", "--vocab", "400", "--context", "65536", "--yarn", "none", "--format", "q1_0", "-o"])
        .arg(&endless)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let output = Command::new("python3")
        .arg(root().join("tests/data/chat_at_a_terminal.py"))
        .args([program(), root().join("models/adder-q1_0.gguf"), endless])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
