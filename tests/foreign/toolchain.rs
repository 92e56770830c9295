//! Compiles the sources beside this file with nvcc when the tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use warpwright_build::find_nvcc;

const FLAGS: [&str; 2] = ["-std=c++17", "-ptx"];

/// nvcc, and what it says of its version.
fn nvcc() -> &'static (PathBuf, String) {
    static NVCC: OnceLock<(PathBuf, String)> = OnceLock::new();
    NVCC.get_or_init(|| {
        let nvcc = find_nvcc(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap_or_else(|error| panic!("{error}"));
        let output = Command::new(&nvcc).arg("--version").output().expect("nvcc --version");
        (nvcc, String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

/// The PTX of a source for one target. What was made in the target folder before is taken if it is of the same text, flags
/// and compiler; the sources include nothing but the toolkit's own headers.
pub(crate) fn compile(name: &str, target: u32) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name).with_extension("cu");
    let (nvcc, version) = nvcc();
    let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let made_from = format!("{version}{FLAGS:?}\n{text}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign");
    fs::create_dir_all(&folder).expect("a folder for PTX");
    let (ptx, stamp) = (folder.join(format!("{name}.{target}.ptx")), folder.join(format!("{name}.{target}.from")));
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_from) {
        return fs::read_to_string(&ptx).expect("the PTX that was made");
    }
    let _ = fs::remove_file(&stamp);
    let mut command = Command::new(nvcc);
    command.args(FLAGS).arg(format!("-arch=compute_{target}")).arg("-o").arg(&ptx).arg(&source);
    if let Some(compiler) = std::env::var_os("CXX") {
        command.arg("-ccbin").arg(compiler);
    }
    let output = command.output().expect("nvcc");
    let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    assert!(output.status.success(), "nvcc does not compile {name}.cu for {target}:\n{said}");
    let text = fs::read_to_string(&ptx).expect("what nvcc wrote");
    fs::write(&stamp, made_from).expect("the stamp");
    text
}
