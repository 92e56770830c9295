//! The second witness: the kernels of a PTX text with the sizes of their parameters. And what the build changes in PTX.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

/// A kernel in PTX.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) symbol: String,
    /// The size and alignment of each parameter in bytes.
    pub(crate) parameters: Vec<(u64, u64)>,
    /// `.maxntid`, of `__launch_bounds__`: the most threads that a block may have.
    pub(crate) max_threads: Option<u64>,
    /// `.reqnctapercluster`, of `__cluster_dims__`.
    pub(crate) cluster: Option<[u32; 3]>,
    /// Whether it waits for what it depends on (`griddepcontrol.wait`).
    pub(crate) waits: bool,
    /// The device variables that it names and that have no value from the start, so that kernels write them.
    pub(crate) variables: Vec<String>,
}

/// The name after `.entry`.
fn entry_symbol(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(".entry ")?;
    rest.split(['(', ' ']).next()
}

/// The kernels of a text that nvcc wrote.
pub(crate) fn entries(ptx: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_head = false;
    let variables: Vec<&str> = ptx.lines().filter_map(variable).collect();
    for line in ptx.lines().map(str::trim) {
        if let Some(symbol) = entry_symbol(line) {
            entries.push(Entry { symbol: symbol.to_owned(), ..Entry::default() });
            in_head = true;
        } else if line.starts_with('{') {
            in_head = false;
        }
        let Some(entry) = entries.last_mut() else { continue };
        entry.waits |= line.starts_with("griddepcontrol.wait");
        if !in_head {
            let words = || line.split(|c: char| !is_symbol(c));
            for name in variables.iter().filter(|name| words().any(|word| word == **name)) {
                if variable(line).is_none() && !entry.variables.iter().any(|known| known == name) {
                    entry.variables.push((*name).to_owned());
                }
            }
            continue;
        }
        if line.starts_with(".param") {
            entry.parameters.push(parameter_layout(line));
        } else if let Some(block) = line.strip_prefix(".maxntid") {
            entry.max_threads = block.split(',').map(|size| size.trim().parse::<u64>().ok()).product();
        } else if let Some(blocks) = line.strip_prefix(".reqnctapercluster") {
            let mut cluster = [1; 3];
            for (size, text) in cluster.iter_mut().zip(blocks.split(',')) {
                *size = text.trim().parse().unwrap_or(1);
            }
            entry.cluster = Some(cluster);
        }
    }
    entries
}

/// Whether a character may be in a name.
fn is_symbol(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$')
}

/// The name of `.visible .global .align 4 .u32 name;`, which has no value from the start.
fn variable(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_variable = line.starts_with(".global ") || line.starts_with(".visible .global ");
    let declared = line.strip_suffix(';').filter(|line| is_variable && !line.contains('='))?;
    declared.split_whitespace().last()?.split('[').next()
}

/// The size and alignment of `.param .u64 name,` or `.param .align 8 .b8 name[24],`.
fn parameter_layout(line: &str) -> (u64, u64) {
    let (mut size, mut align) = (0, None);
    let mut words = line.trim_end_matches(',').split_whitespace();
    while let Some(word) = words.next() {
        size = match word {
            ".u8" | ".s8" | ".b8" => 1,
            ".u16" | ".s16" | ".b16" | ".f16" => 2,
            ".u32" | ".s32" | ".b32" | ".f32" => 4,
            ".u64" | ".s64" | ".b64" | ".f64" => 8,
            ".align" => {
                align = words.next().and_then(|align| align.parse().ok());
                size
            }
            _ => match word.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']')) {
                Some(count) => size * count.parse::<u64>().unwrap_or(0),
                None => size,
            },
        };
    }
    (size, align.unwrap_or(size))
}

/// The text without the kernels whose symbol has `mark` in it.
pub(crate) fn without(ptx: &str, mark: &str) -> String {
    let mut out = String::with_capacity(ptx.len());
    let mut skipping = false;
    for line in ptx.split_inclusive('\n') {
        let starts = entry_symbol(line).is_some_and(|symbol| symbol.contains(mark));
        let named = line.trim_start().starts_with("// .globl") && line.contains(mark);
        skipping |= starts;
        if !skipping && !named {
            out.push_str(line);
        }
        if skipping && line.starts_with('}') {
            skipping = false;
        }
    }
    out
}

/// The version of PTX in the head of a text, as ten times the major number plus the minor one.
#[must_use]
pub fn version(ptx: &str) -> Option<u32> {
    let text = ptx.lines().find_map(|line| line.strip_prefix(".version "))?;
    let (major, minor) = text.trim().split_once('.')?;
    Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
}

/// The text with another version in its head.
pub(crate) fn with_version(ptx: &str, version: u32) -> String {
    let lines = ptx.split_inclusive('\n').map(|line| match line.starts_with(".version ") {
        true => format!(".version {}.{}\n", version / 10, version % 10),
        false => line.to_owned(),
    });
    lines.collect()
}

/// PTX as it is kept: the same on every machine, and without what only debuggers read.
///
/// Line information names files relative to the crate (or to the toolkit's headers), not where they happen to be, and
/// only those that it uses. What was inlined where is left out. Names of what is local to the file contain a hash of its
/// path, which is taken out.
pub(crate) fn portable(ptx: &str, root: &Path, toolkit: &Path, headers: &Path) -> String {
    let ptx = without_path_hashes(ptx);
    let used: HashSet<&str> =
        ptx.lines().filter_map(|line| line.trim_start().strip_prefix(".loc")?.split_whitespace().next()).collect();
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
            if !used.contains(number) {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(out, "\t.file\t{number} \"{}\"", portable_path(path, root, toolkit, headers));
        } else {
            out.push_str(line.trim_end());
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The text with zeros for the hash in `_INTERNAL_0123abcd_` and `_GLOBAL__N__0123abcd_`.
fn without_path_hashes(ptx: &str) -> String {
    const DIGITS: usize = 8;
    let mut out = String::with_capacity(ptx.len());
    let mut rest = ptx;
    while let Some(at) =
        ["_INTERNAL_", "_GLOBAL__N__"].iter().filter_map(|mark| Some(rest.find(mark)? + mark.len())).min()
    {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_hash = digits == DIGITS && after[DIGITS..].starts_with('_');
        rest = if is_hash { &after[DIGITS..] } else { after };
        out.push_str(if is_hash { "00000000" } else { "" });
    }
    out + rest
}

/// The number and path of `.file 1 "path"`, after `.file`.
fn file(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.trim().split_once(char::is_whitespace)?;
    Some((number, rest.trim().strip_prefix('"')?.strip_suffix('"')?))
}

/// A path relative to the toolkit (which may be inside the crate's folder, and its headers elsewhere) or to the crate.
fn portable_path(path: &str, root: &Path, toolkit: &Path, headers: &Path) -> String {
    let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    if let Ok(header) = absolute.strip_prefix(headers) {
        return format!("include/{}", header.display());
    }
    match absolute.strip_prefix(toolkit).or_else(|_| absolute.strip_prefix(root)) {
        Ok(relative) => relative.display().to_string(),
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
        if entry_symbol(trimmed) == Some(symbol) {
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
.version 9.0
.visible .entry _Z1kPf(
\t.param .u64 _Z1kPf_param_0,
\t.param .align 8 .b8 _Z1kPf_param_1[24],
\t.param .f32 _Z1kPf_param_2
)
.maxntid 128, 2, 1
.explicitcluster
.reqnctapercluster 2, 1, 1
{
\tgriddepcontrol.wait;
\tcall _ZN33_INTERNAL_b31f965c_5_st_cu_1fEf;
\t.loc\t3 1 0
\t.loc\t2 1 0
\t.loc\t1 59 0
\t.loc\t1 16 5, function_name $L__info_string0, inlined_at 1 61 5
\tret;

}
\t// .globl\t_Z1lv
.visible .entry _Z1lv()
{
\tret;
}
\t.file\t1 \"/nowhere/kernels/k.cu\"
\t.file\t2 \"/nowhere/target/cuda/include/crt/math.hpp\"
\t.file\t3 \"/usr/include/stdint.h\"
\t.file\t4 \"/nowhere/unused.h\"
\t.section\t.debug_str
\t{
$L__info_string0:
.b8 95,90,0

\t}
";

    #[test]
    fn entries_have_their_parameters() {
        let entries = entries(PTX);
        let parameters = vec![(8, 8), (24, 8), (4, 4)];
        let cluster = Some([2, 1, 1]);
        let max_threads = Some(256);
        let first =
            Entry { symbol: "_Z1kPf".into(), parameters, max_threads, cluster, waits: true, ..Entry::default() };
        assert_eq!(entries[0], first);
        assert_eq!(entries[1], Entry { symbol: "_Z1lv".into(), ..Entry::default() });
        let one = without(PTX, "_Z1l");
        assert!(super::entries(&one).len() == 1 && !one.contains("_Z1l") && one.contains(".file"));
    }

    #[test]
    fn variables_that_kernels_write_are_noticed() {
        let ptx = ".visible .global .align 4 .u32 counter;\n.global .align 4 .b8 room[64];\n\
                   .global .align 4 .b8 table[4] = {1, 2, 3, 4};\n.visible .entry a()\n{\nmov.u64 %rd1, counter;\n\
                   ld.global.u32 %r1, [table];\natom.global.add.u32 %r2, [counter], 1;\n}\n.visible .entry b()\n{\n\
                   mov.u64 %rd1, room2;\nst.global.u32 [room+4], %r1;\n}\n";
        let entries = entries(ptx);
        assert_eq!((&*entries[0].variables, &*entries[1].variables), (&["counter".into()][..], &["room".into()][..]));
    }

    #[test]
    fn versions_are_read_and_written() {
        assert_eq!(version(PTX), Some(90));
        assert_eq!(version(&with_version(PTX, 63)), Some(63));
        assert_eq!(version("nothing"), None);
    }

    #[test]
    fn portable_ptx_has_no_paths_of_the_machine() {
        let (toolkit, headers) = (Path::new("/nowhere/target/cuda"), Path::new("/nowhere/target/cuda/include"));
        let portable = portable(PTX, Path::new("/nowhere"), toolkit, headers);
        assert!(
            portable.contains(
                "\t.file\t1 \"kernels/k.cu\"\n\t.file\t2 \"include/crt/math.hpp\"\n\t.file\t3 \"stdint.h\"\n"
            )
        );
        assert!(portable.contains("\t.loc\t1 16 5\n"));
        assert!(!portable.contains("info_string") && !portable.contains("debug_str") && !portable.contains("unused"));
        assert!(portable.contains("_INTERNAL_00000000_5_st_cu_"));
        assert!(portable.ends_with(".h\"\n"));
    }

    #[test]
    fn a_required_block_takes_the_place_of_the_largest() {
        let required = require_block(&require_block(PTX, "_Z1kPf", [64, 4, 1]), "_Z1lv", [32, 1, 1]);
        assert!(
            required.contains(" 2, 1, 1\n.reqntid 64, 4, 1\n{") && required.contains("_Z1lv()\n.reqntid 32, 1, 1\n{")
        );
        assert!(!required.contains("maxntid"));
    }
}
