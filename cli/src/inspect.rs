//! Shows what is in a model file.

use std::io::{Write, stdout};
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};

use crate::source;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  warpwright inspect models/adder-q1_0.gguf")]
pub(crate) struct Arguments {
    /// A model file (GGUF).
    model: PathBuf,
    #[command(flatten)]
    file: source::FileOptions,
}

/// The longest value that is shown in full.
const LONGEST: usize = 80;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let gguf = arguments.file.open(&arguments.model)?;
    let mut out = stdout().lock();
    writeln!(out, "{}: GGUF version {}, {} bytes", arguments.model.display(), gguf.version(), gguf.size())?;

    let mut keys = table(&["key", "value"]);
    for (key, value) in gguf.metadata() {
        let shown = value.to_string();
        let short = match shown.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown,
        };
        keys.add_row([key.to_owned(), short]);
    }
    writeln!(out, "\n{keys}")?;

    let mut tensors = table(&["tensor", "type", "dimensions", "bytes"]);
    let (mut count, mut bytes) = (0, 0);
    for tensor in gguf.tensors() {
        let dimensions = tensor.dimensions.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        tensors.add_row([tensor.name.to_owned(), tensor.ty.to_string(), dimensions, tensor.data.len().to_string()]);
        count += 1;
        bytes += tensor.data.len();
    }
    if let Some(column) = tensors.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "\n{tensors}\n{count} tensors, {bytes} bytes")?;
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}
