//! Counters of all launches of a process: by the environment, and by the library that was selected.

mod cuda;

use std::path::PathBuf;

use cuda::*;

/// Launches a kernel three times, with 64, 64 and 16 threads, and another one once.
fn work() {
    start(0);
    let memory = upload(&[0; 64]);
    let add = kernel(ADD);
    for threads in [64, 64, 16] {
        ok(launch(add, threads, 0, &[memory, 1]));
    }
    let nothing = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k()\n{\nret;\n}\n";
    ok(launch(kernel(nothing), 32, 0, &[]));
    ok(cuCtxSynchronize());
    assert_eq!(download(memory, 64), (0..64).map(|n| if n < 16 { 3 } else { 2 }).collect::<Vec<_>>());
}

/// The cells of the lines of a table whose first cell is `k`, as far as they are the same each time: launches,
/// warp-instructions, lanes, bytes moved, share used, conflicts.
fn rows(text: &str) -> Vec<[String; 6]> {
    let lines = text.lines().filter(|line| line.starts_with("k  "));
    let cells = lines.map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>());
    cells.map(|cells| [1, 3, 4, 5, 6, 7].map(|n| cells[n].to_owned())).collect()
}

/// What [`work`] has to have counted. Of 5 warps of the first kernel one has 16 lanes; each executes 9 instructions and
/// touches four sectors, or two, twice.
fn check(text: &str) {
    let moved = (2 * 2 * 4 + 2) * 2 * 32;
    let moved = format!("{},{:03}", moved / 1000, moved % 1000);
    let expected = [["3", "45", "28.8", &moved, "100.0 %", "0"], ["1", "1", "32.0", "0", "-", "0"]];
    let mut found = rows(text);
    found.sort();
    let mut expected = expected.map(|row| row.map(str::to_owned));
    expected.sort();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_table_is_shown_at_the_end() {
    let output = child("works", &[("WARPWRIGHT_EMULATOR_COUNTERS", "1")]);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}");
    check(&shown);
    assert!(shown.contains("On NVIDIA H100 80GB HBM3 (sm_90)") && !shown.contains("hottest"), "{shown}");
    for off in ["", "0"] {
        let output = child("works", &[("WARPWRIGHT_EMULATOR_COUNTERS", off)]);
        assert_eq!(rows(&String::from_utf8_lossy(&output.stderr)), Vec::<[String; 6]>::new());
    }
}

#[test]
fn a_file_has_the_details() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("counters.txt");
    let _ = std::fs::remove_file(&path);
    let variable = ("WARPWRIGHT_EMULATOR_COUNTERS", path.to_str().unwrap());
    let output = child("works", &[variable, ("WARPWRIGHT_EMULATOR_DEVICES", "sm_75")]);
    assert!(output.status.success() && rows(&String::from_utf8_lossy(&output.stderr)).is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    check(&text);
    assert!(text.contains("hottest instructions") && text.contains("on Tesla T4 (sm_75) no less than"), "{text}");
    assert!(text.contains("  3 launches, 3 blocks; grid 1 x 1 x 1, block 16 x 1 x 1, 0 bytes"), "{text}");
    // where no file can be written, that is said
    let nowhere = "/nowhere/counters.txt";
    let output = child("works", &[("WARPWRIGHT_EMULATOR_COUNTERS", nowhere)]);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && shown.contains(nowhere), "{shown}");
}

#[test]
fn an_exit_code_keeps_no_table_back() {
    let environment = [
        ("WARPWRIGHT_EMULATOR_COUNTERS", "1"),
        ("WARPWRIGHT_EMULATOR_CHECKS", "leaks"),
        ("WARPWRIGHT_EMULATOR_EXIT_CODE", "42"),
    ];
    let output = child("works", &environment);
    assert_eq!(output.status.code(), Some(42));
    check(&String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by the tests above"]
fn works() {
    work();
}

#[test]
fn counters_are_switched_on_by_the_library() {
    passes("switched", &[("WARPWRIGHT_EMULATOR_COUNTERS", "0")]);
}

#[test]
#[ignore = "run by `counters_are_switched_on_by_the_library`"]
fn switched() {
    work();
    assert_eq!(SELECTED.counters(true).unwrap(), "no kernel was launched\n");
    assert!(SELECTED.set_counters(true));
    work();
    let text = SELECTED.counters(false).unwrap();
    check(&text);
    let details = SELECTED.counters(true).unwrap();
    assert!(details.starts_with(&text) && details.contains("hottest instructions"), "{details}");
    // from nothing again
    assert!(SELECTED.set_counters(true));
    work();
    check(&SELECTED.counters(false).unwrap());
    assert!(SELECTED.set_counters(false));
    work();
    assert_eq!(SELECTED.counters(false).unwrap(), "no kernel was launched\n");
}
