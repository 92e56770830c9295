//! The ranges that `warpwright bench` has with the feature `nvtx`, as a profiler sees them.

mod program;

use std::fs;
use std::process::Command;

use program::{program, root};

#[test]
fn tests_and_profiles_are_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let (profiler, ranges) = (folder.path().join("profiler.so"), folder.path().join("ranges"));
    let source = root().join("cli/tests/nvtx.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&profiler).arg(source).status().unwrap();
    assert!(made.success());
    let bench = Command::new(program())
        .args(["bench", "--device", "emulator", "-r", "1", "-p", "4", "-n", "2", "-d", "0,3", "--profile"])
        .env("NVTX_INJECTION64_PATH", &profiler)
        .env("RANGES", &ranges)
        .output()
        .unwrap();
    assert!(bench.status.success(), "{}", String::from_utf8_lossy(&bench.stderr));
    let found = fs::read_to_string(ranges).unwrap();
    let names = ["pp4", "tg2", "pp4 @ d3", "tg2 @ d3", "profile", "profile @ d3"];
    assert_eq!(found.lines().collect::<Vec<_>>(), names.map(|name| [name, "end"]).concat());
}
