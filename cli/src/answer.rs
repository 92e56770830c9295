//! Generating a text to where somebody reads it.

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use warpwright::model::{ModelError, Session};
use warpwright::text::TextStream;

/// Set by Ctrl-C, where a command watches for it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C ends the answer that is being written, and not the program.
pub(crate) fn watch_interrupts() -> anyhow::Result<()> {
    static WATCHED: LazyLock<Result<(), String>> = LazyLock::new(|| {
        ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).map_err(|error| error.to_string())
    });
    WATCHED.clone().map_err(|error| anyhow::anyhow!("Ctrl-C cannot be watched: {error}"))
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The model ended it, or a stop string came.
    Stopped,
    /// It has as many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
    /// Ctrl-C.
    Interrupted,
}

/// An answer that was written.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) end: End,
    /// Tokens that were generated, without one that ends a text.
    pub(crate) tokens: usize,
}

/// Takes in a long prompt but for its last chunk, with progress where somebody sees it. Says `false` if Ctrl-C ended that.
pub(crate) fn take_in_prompt(session: &mut Session) -> anyhow::Result<bool> {
    INTERRUPTED.store(false, Ordering::Relaxed);
    let (start, end) = (session.position(), session.len());
    let chunk = session.options().chunk;
    if end - start <= chunk {
        return Ok(true);
    }
    let bar = ProgressBar::new((end - start) as u64);
    bar.set_style(ProgressStyle::with_template("prompt {wide_bar} {pos}/{len} tokens {eta}")?);
    while end - session.position() > chunk && !INTERRUPTED.load(Ordering::Relaxed) {
        session.prefill_chunk()?;
        session.stream().synchronize()?;
        bar.set_position((session.position() - start) as u64);
    }
    bar.finish_and_clear();
    Ok(!INTERRUPTED.load(Ordering::Relaxed))
}

/// Writes what the model says after all that the session knows.
pub(crate) fn answer(
    session: &mut Session,
    mut stream: TextStream,
    limit: usize,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    INTERRUPTED.store(false, Ordering::Relaxed);
    let mut text = String::new();
    let mut tokens = 0;
    let mut put = |piece: &str, out: &mut dyn Write| -> std::io::Result<()> {
        text.push_str(piece);
        out.write_all(piece.as_bytes())?;
        out.flush()
    };
    let end = loop {
        if tokens == limit {
            break End::Length;
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            break End::Interrupted;
        }
        let token = match session.next_token() {
            Err(ModelError::Context { .. }) => break End::Context,
            token => token?,
        };
        put(&stream.push(token)?, out)?;
        if stream.stop().is_some() {
            break End::Stopped;
        }
        tokens += 1;
    };
    put(&stream.finish(), out)?;
    Ok(Answer { text, end, tokens })
}
