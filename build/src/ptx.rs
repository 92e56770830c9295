//! The second witness: the kernels of a PTX text with the sizes of their parameters. And what the build changes in PTX.

use std::fmt::Write;
use std::path::Path;

/// A kernel in PTX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) symbol: String,
    /// The size of each parameter in bytes.
    pub(crate) parameters: Vec<u64>,
    /// `.maxntid`, of `__launch_bounds__`: the most threads that a block may have.
    pub(crate) max_threads: Option<u64>,
}

/// The kernels of a text that nvcc wrote.
pub(crate) fn entries(ptx: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_head = false;
    for line in ptx.lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once(".entry ") {
            let symbol = rest.split(['(', ' ']).next().unwrap_or_default().to_owned();
            entries.push(Entry { symbol, parameters: Vec::new(), max_threads: None });
            in_head = true;
        } else if line.starts_with('{') {
            in_head = false;
        }
        let Some(entry) = entries.last_mut().filter(|_| in_head) else { continue };
        if line.starts_with(".param") {
            entry.parameters.push(parameter_size(line));
        } else if let Some(block) = line.strip_prefix(".maxntid") {
            entry.max_threads = block.split(',').map(|size| size.trim().parse::<u64>().ok()).product();
        }
    }
    entries
}

/// The size of `.param .u64 name,` or `.param .align 8 .b8 name[24],`.
fn parameter_size(line: &str) -> u64 {
    let mut size = 0;
    for word in line.trim_end_matches(',').split_whitespace() {
        size = match word {
            ".u8" | ".s8" | ".b8" => 1,
            ".u16" | ".s16" | ".b16" | ".f16" => 2,
            ".u32" | ".s32" | ".b32" | ".f32" => 4,
            ".u64" | ".s64" | ".b64" | ".f64" => 8,
            _ => match word.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']')) {
                Some(count) => size * count.parse::<u64>().unwrap_or(0),
                None => size,
            },
        };
    }
    size
}

/// PTX as it is kept: the same on every machine, and without what only debuggers read.
///
/// Line information names files relative to the crate (or to the toolkit's headers), not where they happen to be. What
/// was inlined where is left out: its names contain a hash of the path.
pub(crate) fn portable(ptx: &str, root: &Path, toolkit: &Path) -> String {
    let mut out = String::with_capacity(ptx.len());
    let mut in_section = false;
    for line in ptx.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with(".section") {
            in_section = true;
        }
        if in_section {
            in_section = !trimmed.starts_with('}');
            continue;
        }
        if trimmed.starts_with(".loc") {
            out.push_str(line.split(", function_name").next().unwrap_or(line));
        } else if let Some((number, path)) = trimmed.strip_prefix(".file").and_then(file) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\t.file\t{number} \"{}\"", portable_path(path, root, toolkit));
        } else {
            out.push_str(line.trim_end());
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The number and path of `.file 1 "path"`, after `.file`.
fn file(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.trim().split_once(char::is_whitespace)?;
    Some((number, rest.trim().strip_prefix('"')?.strip_suffix('"')?))
}

/// A path relative to the toolkit (which may be inside the crate's folder) or to the crate.
fn portable_path(path: &str, root: &Path, toolkit: &Path) -> String {
    let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    match absolute.strip_prefix(toolkit).or_else(|_| absolute.strip_prefix(root)) {
        Ok(relative) => relative.display().to_string().replace('\\', "/"),
        Err(_) => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

/// Makes the driver enforce the block that a contract demands: `.reqntid` in place of `.maxntid`.
pub(crate) fn require_block(ptx: &str, symbol: &str, block: [i64; 3]) -> String {
    let [x, y, z] = block;
    let required = format!(".reqntid {x}, {y}, {z}\n");
    let mut out = String::with_capacity(ptx.len() + required.len());
    let mut in_head = false;
    for line in ptx.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if trimmed.split_once(".entry ").is_some_and(|(_, rest)| rest.split(['(', ' ']).next() == Some(symbol)) {
            in_head = true;
        }
        if in_head && trimmed.starts_with(".maxntid") {
            continue;
        }
        if in_head && trimmed.starts_with('{') {
            out.push_str(&required);
            in_head = false;
        }
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = "\
.visible .entry _Z1kPf(
\t.param .u64 _Z1kPf_param_0,
\t.param .align 8 .b8 _Z1kPf_param_1[24],
\t.param .f32 _Z1kPf_param_2
)
.maxntid 128, 2, 1
{
\t.loc\t1 59 0
\t.loc\t1 16 5, function_name $L__info_string0, inlined_at 1 61 5
\tret;

}
.visible .entry _Z1lv()
{
\tret;
}
\t.file\t1 \"/nowhere/kernels/k.cu\"
\t.file\t2 \"/nowhere/target/cuda/include/crt/math.hpp\"
\t.file\t3 \"/usr/include/stdint.h\"
\t.section\t.debug_str
\t{
$L__info_string0:
.b8 95,90,0

\t}
";

    #[test]
    fn entries_have_their_parameters() {
        let entries = entries(PTX);
        let first = Entry { symbol: "_Z1kPf".into(), parameters: vec![8, 24, 4], max_threads: Some(256) };
        assert_eq!(entries[0], first);
        assert_eq!(entries[1], Entry { symbol: "_Z1lv".into(), parameters: vec![], max_threads: None });
    }

    #[test]
    fn portable_ptx_has_no_paths_of_the_machine() {
        let portable = portable(PTX, Path::new("/nowhere"), Path::new("/nowhere/target/cuda"));
        assert!(
            portable.contains(
                "\t.file\t1 \"kernels/k.cu\"\n\t.file\t2 \"include/crt/math.hpp\"\n\t.file\t3 \"stdint.h\"\n"
            )
        );
        assert!(portable.contains("\t.loc\t1 16 5\n"));
        assert!(!portable.contains("info_string") && !portable.contains("debug_str"));
        assert!(portable.ends_with(".h\"\n"));
    }

    #[test]
    fn a_required_block_takes_the_place_of_the_largest() {
        let required = require_block(&require_block(PTX, "_Z1kPf", [64, 4, 1]), "_Z1lv", [32, 1, 1]);
        assert!(required.contains(")\n.reqntid 64, 4, 1\n{") && required.contains("_Z1lv()\n.reqntid 32, 1, 1\n{"));
        assert!(!required.contains("maxntid"));
    }
}
