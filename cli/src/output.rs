//! Writes a file: with progress where somebody sees it, and all of it or none.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

/// How much is written at a time.
const BUFFER: usize = 1 << 20;

/// The file while it is written, which goes away unless it gets whole.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is not there any more if it has its name.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a file of about `size` bytes.
pub(crate) fn write(
    path: &Path,
    size: u64,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut name =
        OsString::from(path.file_name().with_context(|| format!("{} has no name of a file", path.display()))?);
    name.push(".part");
    let part = Part(path.with_file_name(name));
    let file = File::create(&part.0).with_context(|| path.display().to_string())?;
    // On a terminal; what is no terminal gets nothing of it.
    let bar = ProgressBar::new(size);
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}")?;
    bar.set_style(style);
    let mut out = bar.wrap_write(BufWriter::with_capacity(BUFFER, file));
    write(&mut out)?;
    out.flush().with_context(|| path.display().to_string())?;
    bar.finish_and_clear();
    fs::rename(&part.0, path).with_context(|| path.display().to_string())?;
    eprintln!("wrote {}, {} bytes", path.display(), fs::metadata(path)?.len());
    Ok(())
}
