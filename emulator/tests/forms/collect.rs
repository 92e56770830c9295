//! The instruction forms of a PTX module, read from its text: opcode with all modifiers, and the shapes of the operands.
//!
//! A shape is `h`, `r`, `d` for a register of 16, 32 or 64 bits, `p` for a predicate, `i` for an immediate, `s` for a
//! symbol, `[r+i]` for an address, `{rr}` for a vector, the name of a special register; a guard stands before the opcode.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The PTX that the project ships or commits, by path.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the emulator is in a workspace");
    let folders = [
        "kernels/prebuilt",
        "tests/authoring/kernels/prebuilt",
        "testing/tests/kernels/prebuilt",
        "examples/03-own-crate/kernels/prebuilt",
        "benches/launch-cost/kernels/prebuilt",
    ];
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let before = files.len();
        files.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "ptx")),
        );
        assert!(files.len() > before, "{folder} has no PTX");
    }
    files.sort();
    files
}

/// Every form that the project ships, with the files that have it.
pub fn shipped_forms() -> BTreeMap<String, BTreeSet<String>> {
    let mut forms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in shipped() {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for form in forms_of(&std::fs::read_to_string(&file).unwrap()) {
            forms.entry(form).or_default().insert(name.clone());
        }
    }
    forms
}

/// The registers of a module: the name, or the prefix of a family, and the letter of the width.
fn registers(source: &str) -> Vec<(String, bool, char)> {
    let mut registers = Vec::new();
    for declaration in source.split(".reg ").skip(1) {
        let declaration = declaration.split(';').next().unwrap_or_default();
        let (ty, names) = declaration.trim().split_once(char::is_whitespace).expect("a register has a type and a name");
        let letter = match ty {
            ".pred" => 'p',
            _ if ty.ends_with("16") || ty.ends_with('8') => 'h',
            _ if ty.ends_with("32") => 'r',
            _ if ty.ends_with("64") => 'd',
            _ => panic!("a register of type {ty}"),
        };
        for name in names.split(',') {
            let name = name.trim();
            let family = name.split_once('<');
            registers.push((family.map_or(name, |(prefix, _)| prefix).to_owned(), family.is_some(), letter));
        }
    }
    registers
}

/// The forms in the text of a module.
pub fn forms_of(source: &str) -> BTreeSet<String> {
    // comments, and the directives that end with their line
    let mut text = String::new();
    for line in source.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let directive = [".loc", ".file", ".version", ".target", ".address_size", "@@"];
        if !directive.iter().any(|directive| line.trim_start().starts_with(directive)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    assert!(!text.contains("/*"), "comments of this kind are not expected");
    let registers = registers(&text);
    text.split(';').filter_map(|statement| form_of(statement, &registers)).collect()
}

/// The form of what stands between two semicolons, if there is an instruction in it.
fn form_of(statement: &str, registers: &[(String, bool, char)]) -> Option<String> {
    let mut rest = statement.trim();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "{}".contains(c));
        // the head of a kernel ends where its body begins; other directives have no instruction in them
        if rest.starts_with('.') {
            let head = rest.contains(".entry") || rest.contains(".func");
            rest = rest.rsplit_once('{').filter(|_| head)?.1;
            continue;
        }
        match rest.split_once(':') {
            Some((label, after)) if !label.contains([' ', '\t', '.']) => rest = after.trim_start(),
            _ => break,
        }
    }
    if rest.is_empty() {
        return None;
    }
    let guard = match rest.strip_prefix('@') {
        Some(guarded) => {
            let (guard, instruction) = guarded.split_once(char::is_whitespace).expect("an instruction after its guard");
            rest = instruction.trim_start();
            if guard.starts_with('!') { "@!p " } else { "@p " }
        }
        None => "",
    };
    let (opcode, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut shape = String::new();
    let mut name = String::new();
    // operands are names, numbers and punctuation
    for c in operands.chars().filter(|c| !c.is_whitespace()).chain([',']) {
        let sign = c == '-' && !name.starts_with(|c: char| c.is_ascii_digit());
        if c.is_alphanumeric() || "%_$.:".contains(c) || sign && name.is_empty() {
            name.push(c);
            continue;
        }
        if !name.is_empty() {
            shape.push_str(&shape_of(&name, registers));
            name.clear();
        }
        match c {
            ',' if shape.rfind('{') > shape.rfind('}') => {}
            ',' => shape.push_str(", "),
            other => shape.push(other),
        }
    }
    let shape =
        shape.trim_end_matches([',', ' ']).replace("[s+i]", "[s]").replace("[r+i]", "[r]").replace("[d+i]", "[d]");
    Some(format!("{guard}{opcode} {shape}").trim_end().to_owned())
}

fn shape_of(name: &str, registers: &[(String, bool, char)]) -> String {
    let declared = registers.iter().find(|(declared, family, _)| match family {
        true => {
            name.strip_prefix(declared.as_str()).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        }
        false => name == declared,
    });
    match declared {
        Some((.., letter)) => letter.to_string(),
        None if name.starts_with('%') || name == "_" || name == "WARP_SZ" => name.to_owned(),
        None if name.starts_with(|c: char| c.is_ascii_digit() || c == '-') => "i".to_owned(),
        None => "s".to_owned(),
    }
}

#[test]
fn forms_are_read_from_text() {
    let source = ".version 8.0\n.target sm_75 // add.u32 in a comment;\n.address_size 64\n
        .const .align 4 .b8 table[4] = {1, 2, 3, 4};\n
        .visible .entry k(\n.param .u64 k_param_0\n)\n.maxntid 256, 1, 1\n{\n
        .reg .pred %p<3>;\n.reg .b16 %rs<4>;\n.reg .f32 %f<5>;\n.reg .b32 %r<6>;\n.reg .b64 %rd<7>;\n
        .loc 1 2 3\n ld.param.u64 %rd1, [k_param_0];\n @%p1 bra $L__BB0_2;\n @!%p2 add.f32 %f1, %f2, 0f3F800000;
        $L__BB0_2:\n ld.global.v2.u32 {%r1, %r2}, [%rd1+-8]; shfl.sync.bfly.b32 %r1|%p1, %r2, 1, %r3, -1;
        // begin inline asm\n{.reg .b16 low,high;\n cvt.rn.f16.f32 low, %f1; mov.b32 %r1, {low,high};}
        mov.u32 %r1, %tid.x; atom.global.add.u32 %r1, [%rd1], 1; bar.sync 0; ret;\n}\n";
    let expected = [
        "@!p add.f32 r, r, i",
        "@p bra s",
        "atom.global.add.u32 r, [d], i",
        "bar.sync i",
        "cvt.rn.f16.f32 h, r",
        "ld.global.v2.u32 {rr}, [d]",
        "ld.param.u64 d, [s]",
        "mov.b32 r, {hh}",
        "mov.u32 r, %tid.x",
        "ret",
        "shfl.sync.bfly.b32 r|p, r, i, r, i",
    ];
    assert_eq!(forms_of(source).into_iter().collect::<Vec<_>>(), expected);
}
