//! `warpwright bench`: which tests it makes of its options, and what it writes. The times are the emulator's, and nothing is
//! said of them but that there are some.

mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use program::{program, root};
use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(program()).args(["bench", "--device", "emulator"]).args(arguments).output().unwrap()
}

/// What it writes as JSON.
fn json(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The error of a run that has to fail.
fn error(arguments: &[&str]) -> String {
    let output = bench(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn tests(report: &Value) -> Vec<&str> {
    report["results"].as_array().unwrap().iter().map(|result| result["test"].as_str().unwrap()).collect()
}

fn adder() -> String {
    root().join("models/adder-q1_0.gguf").display().to_string()
}

/// A random model that the emulator is done with at once.
const SMALL: [&str; 8] = ["--shape", "1.7b", "--scale-down", "8", "--layers", "2", "--vocab", "300"];

#[test]
fn without_lengths_there_are_those_that_fit() {
    let report = json(&["-m", &adder(), "-r", "1"]);
    assert_eq!(tests(&report), ["pp64", "tg63"]);
    assert_eq!(tests(&json(&[&adder(), "-r", "1", "-d", "60"])), ["pp4 @ d60", "tg3 @ d60"]);
    assert_eq!(report["device"]["is_emulator"], true);
    assert!(report["device"]["driver"].as_u64().unwrap() >= 12000, "{report}");
    // there is no bandwidth to be compared with
    assert!(report["bandwidth"].is_null() && report["results"][1]["memory_floor"].is_null());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.json");
    let shown = bench(&["-r", "1", "-p", "4", "-n", "2", &format!("--json={}", file.display())]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(tests(&serde_json::from_slice(&fs::read(file).unwrap()).unwrap()), ["pp4", "tg2"]);
    assert!(shown.contains("the model that ships on ") && shown.contains("the emulator's, and say nothing"), "{shown}");
    assert!(shown.contains("│ pp4 ") && shown.contains("│ tg2 "), "{shown}");
}

#[test]
fn lists_are_multiplied_and_each_test_says_what_it_needs() {
    let report =
        json(&[&SMALL[..], &["-p", "3,20", "-n", "2", "-d", "33,0,33", "-r", "3", "--format", "pq2_0"]].concat());
    assert_eq!(tests(&report), ["pp3", "pp20", "tg2", "pp3 @ d33", "pp20 @ d33", "tg2 @ d33"]);
    assert_eq!(report["model"]["name"], "bonsai-1.7b/8 in PQ2_0");
    let results = report["results"].as_array().unwrap();
    for result in results {
        let number = |key: &str| result[key].as_f64().unwrap();
        let mut samples: Vec<f64> = serde_json::from_value(result["samples"].clone()).unwrap();
        samples.sort_by(f64::total_cmp);
        assert_eq!((samples.len(), samples[1]), (3, number("tokens_per_second")));
        assert!((number("microseconds_per_token") * number("tokens_per_second") / 1e6 - 1.0).abs() < 1e-9);
    }
    let lengths = |n: usize| ["n_prompt", "n_gen", "n_depth"].map(|key| results[n][key].as_u64().unwrap());
    assert_eq!([lengths(1), lengths(5)], [[20, 0, 0], [0, 2, 33]]);
    // one layer keeps 2 x 128 f16 for a position, and there are two
    let bytes = |n: usize| results[n]["bytes_per_token"].as_u64().unwrap();
    let weights = report["model"]["weight_bytes_per_token"].as_u64().unwrap();
    assert_eq!([bytes(2) - weights, bytes(5) - weights], [2 * 512, 2 * 512 * 34]);
    assert_eq!(results[2]["launches_per_token"], report["session"]["launches_per_token"]);
    assert!(results[0]["launches_per_token"].is_null());
}

#[test]
fn a_profile_has_every_launch_of_a_token_and_its_bytes() {
    let options = ["-p", "0", "-n", "0", "-d", "0,50", "-r", "2", "--profile"];
    for cache in ["f16", "q8_0"] {
        let report = json(&[&SMALL[..], &options, &["--cache-type", cache]].concat());
        assert!(tests(&report).is_empty());
        let weights = report["model"]["weight_bytes_per_token"].as_f64().unwrap();
        let profiles = report["profiles"].as_array().unwrap();
        assert_eq!(profiles.len(), 2);
        for (profile, depth) in profiles.iter().zip([0, 50]) {
            assert_eq!(profile["n_depth"], depth);
            let kernels = profile["kernels"].as_array().unwrap();
            let sum = |key: &str| kernels.iter().map(|kernel| kernel[key].as_f64().unwrap()).sum::<f64>();
            assert_eq!(sum("launches"), report["session"]["launches_per_token"].as_f64().unwrap());
            assert!((sum("microseconds") / profile["microseconds"].as_f64().unwrap() - 1.0).abs() < 1e-6);
            assert!((sum("share") - 1.0).abs() < 1e-6 && profile["graph_microseconds"].as_f64().unwrap() > 0.0);
            // All weights once, keys and values once, and what the kernels pass on to one another; not the whole embedding,
            // and not the whole cache, which has room for 4096 positions.
            let position = if cache == "f16" { 512.0 } else { 264.0 };
            let floor = weights + 2.0 * position * f64::from(depth + 1);
            let bytes = sum("bytes");
            assert!(bytes >= floor && bytes < floor + 150_000.0, "{cache}, depth {depth}: {bytes} of {floor}");
            for kernel in kernels {
                let shapes = kernel["shapes"].as_array().unwrap();
                let launches: u64 = shapes.iter().map(|shape| shape["launches"].as_u64().unwrap()).sum();
                assert_eq!(kernel["launches"], launches, "{kernel}");
                assert!(kernel["memory_floor"].is_null());
            }
        }
    }
    let shown = String::from_utf8(bench(&["-p", "0", "-n", "0", "-r", "1", "--profile"]).stdout).unwrap();
    for part in ["kernels of a token at depth 0", "us each", "by the graph a token takes", "│ sample "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn kernels_overlap_unless_they_are_told_not_to() {
    let edges = |more: &[&str]| {
        let report = json(&[&["-p", "0", "-n", "1", "-r", "1"], more].concat());
        report["session"]["programmatic_edges"].as_u64().unwrap()
    };
    assert_eq!(edges(&["--no-overlap"]), 0);
    assert!(edges(&[]) <= json(&["-p", "0", "-n", "1", "-r", "1"])["session"]["launches_per_token"].as_u64().unwrap());
}

#[test]
fn what_cannot_be_measured_is_named() {
    for (arguments, expected) in [
        (&["-p", "65"][..], "pp65 does not fit in a context of 64: it needs 65"),
        (&["-p", "8", "-n", "4", "-d", "60"], "pp8 @ d60 does not fit in a context of 64: it needs 68"),
        (&["-d", "63"], "a depth of 63 does not fit in a context of 64"),
        (&["-p", "0", "-n", "0"], "nothing is measured with 0 tokens"),
        (&["-r", "0"], "nothing is measured with 0 repetitions"),
        (&["--llama-bench", "/nowhere/llama-bench"], "/nowhere/llama-bench: there is no such program"),
        (&["--llama-bench=no-such-program"], "no-such-program is not in PATH: build llama.cpp with CUDA"),
        (&["--llama-bench=/bin/true"], "llama-bench needs a file: name one with -m"),
        (&["--shape", "4b", "--llama-bench=/bin/true"], "write one by `warpwright random`"),
    ] {
        let shown = error(arguments);
        assert!(shown.contains(expected), "{arguments:?}: {shown}");
    }
}

/// What llama-bench writes, as far as it is looked at, and some of what is not.
const LLAMA: &str = r#"[
  {"build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "a CPU", "gpu_info": "a GPU", "backends": "CUDA",
   "model_filename": "model.gguf", "n_batch": 2048, "n_prompt": 8, "n_gen": 0, "n_depth": 0, "avg_ns": 1000, "stddev_ns": 1,
   "avg_ts": 50.0, "stddev_ts": 1.5, "samples_ns": [1, 2, 3], "samples_ts": [40.0, 70.0, 45.0]},
  {"build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "a CPU", "gpu_info": "a GPU", "backends": "CUDA",
   "model_filename": "model.gguf", "n_batch": 2048, "n_prompt": 0, "n_gen": 4, "n_depth": 16, "avg_ns": 1000,
   "stddev_ns": 1, "avg_ts": 20.0, "stddev_ts": 0.5}
]"#;

#[test]
fn llama_bench_is_run_beside() {
    let folder = tempfile::tempdir().unwrap();
    let (script, given) = (folder.path().join("llama-bench"), folder.path().join("given"));
    let text = format!("#!/bin/sh\necho \"$*\" > {}\ncat <<'END'\n{LLAMA}\nEND\n", given.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let adder = adder();
    let program = format!("--llama-bench={}", script.display());
    let options = ["-m", &adder, "-p", "8", "-n", "4", "-d", "0,16", "-r", "3", &program, "--llama-args", "-t 4"];
    let report = json(&options);
    let expected = format!("-m {adder} -p 8 -n 4 -d 0,16 -r 3 -ub 512 -ngl 99 -fa 1 -ctk f16 -ctv f16 -o json -t 4\n");
    assert_eq!(fs::read_to_string(&given).unwrap(), expected);
    let theirs = report["llama"]["results"].as_array().unwrap();
    assert_eq!((theirs.len(), theirs[0]["build_number"].as_u64()), (2, Some(5163)));

    // The median of theirs, or the mean where there is no more; tests that they did not run have none.
    let shown = String::from_utf8(bench(&options).stdout).unwrap();
    assert!(shown.contains("llama.cpp 8cf427ff (5163), CUDA, a GPU"), "{shown}");
    let table = shown.split("times as fast").nth(1).unwrap();
    let cells = |test: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("│ {test} "))).unwrap();
        line.trim_matches('│').split('┆').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cells("pp8")[2], "45.0 ± 1.5");
    let number = |cell: &str| cell.split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((number(&cells("pp8")[3]) / (number(&cells("pp8")[1]) / 45.0) - 1.0).abs() < 0.01, "{shown}");
    assert_eq!(cells("tg4 @ d16")[2], "20.0 ± 0.5");
    assert_eq!(cells("tg4")[2..], ["-", "-"]);

    fs::write(&script, "#!/bin/sh\necho nonsense\n").unwrap();
    assert!(error(&options).contains("wrote no results as JSON"));
    fs::write(&script, "#!/bin/sh\nexit 3\n").unwrap();
    assert!(error(&options).contains("failed (exit status: 3)"));
}
