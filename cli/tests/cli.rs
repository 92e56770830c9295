//! The program as a user meets it: what it writes, and where, and with which exit code.

mod program;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use program::{program, root};

fn adder() -> String {
    root().join("models/adder-q1_0.gguf").display().to_string()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The error of a run that has to fail with code 1, in one line and without a word on standard output.
fn error(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", stdout(&output));
    let shown = stderr(&output);
    assert!(!shown.contains("panicked"), "{arguments:?}: {shown}");
    shown.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_else(|| panic!("{shown}")).to_owned()
}

#[test]
fn generate_answers_the_default_sum() {
    let output = run(&["generate", "--device", "emulator"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "47+58=105\n"));
    let shown = stderr(&output);
    assert!(shown.contains(" tokens/s, on Warpwright emulator"), "{shown}");
}

#[test]
fn generate_says_that_there_is_no_gpu() {
    let output = run(&["generate"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "47+58=105\n"));
    let shown = stderr(&output);
    if shown.contains("Warpwright emulator") {
        assert!(
            shown.lines().any(|line| line.starts_with("no GPU (") && line.ends_with("running on the emulator")),
            "{shown}"
        );
    }
}

#[test]
fn generate_takes_a_model_a_prompt_and_a_length() {
    let output = run(&["generate", &adder(), "999+1="]);
    assert_eq!(stdout(&output), "999+1=1000\n");
    let output = run(&["generate", &adder(), "999+1=", "-n", "2"]);
    assert_eq!(stdout(&output), "999+1=10\n");
    let output = run(&["generate", &adder(), "999+1=", "-n", "0"]);
    assert_eq!(stdout(&output), "999+1=\n");
}

#[test]
fn profile_shows_what_kernels_do() {
    let output = run(&["profile", "-n", "2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.starts_with("6 tokens of \"47+58=\" and 2 generated ones\n"), "{shown}");
    // the prompt is taken in at once, and then a token; 3 layers have 4 matrices each, of which one is gated, and there are
    // the logits
    let of = |name: &str| -> Vec<&str> {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {shown}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
    };
    let launches: Vec<u32> =
        ["matvec<Q1_0>", "matvec_gated<Q1_0>", "matmul_prefill<Q1_0>"].map(|name| of(name)[1].parse().unwrap()).into();
    // of the prompt, only the last token has logits
    assert_eq!(launches, [3 * 3 + 2, 3, 3 * 4], "{shown}");
    assert_eq!(of("sample")[1], "2", "{shown}");
    assert!(shown.contains("On NVIDIA H100 80GB HBM3 (sm_90)") && !shown.contains("hottest"), "{shown}");
    // the same work on another device: only the bounds differ
    let details = run(&["profile", "-n", "2", "--device", "sm_86", "--details"]);
    let details = stdout(&details);
    for part in ["On NVIDIA GeForce RTX 3090 (sm_86)", "hottest instructions", "instruction issue", "global memory"] {
        assert!(details.contains(part), "{part}: {details}");
    }
    assert!(error(&["profile", "--device", "gpu"]).contains("the counters are the emulator's"));
    assert!(error(&["profile", "--device", "sm_42"]).contains("`sm_42` is no device"));
    assert!(error(&["profile", &adder(), ""]).contains("the prompt is empty"));
}

#[test]
fn profile_takes_models_and_prompts_as_generate_does() {
    let output = run(&["profile", "-m", &adder(), "-p", "1+1=", "-n", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("4 tokens of \"1+1=\" and 1 generated ones\n"), "{}", stdout(&output));
}

#[test]
fn logits_are_json() {
    let output = run(&["logits", &adder(), "--tokens", "4,7,10,5,8,11"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["vocab"], 16);
    let rows = value["logits"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].as_array().unwrap().len()), (6, 16));
    // after `47+58=` comes a 1
    let last: Vec<f64> = rows[5].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert!(last.iter().enumerate().all(|(token, logit)| token == 1 || *logit < last[1]), "{last:?}");
}

#[test]
fn inspect_shows_keys_and_tensors() {
    let output = run(&["inspect", &adder()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    for part in
        ["qwen3.embedding_length", "\"Warpwright adder\"", "blk.2.ffn_down.weight", "Q1_0", "512 x 256", "36 tensors"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn bad_input_is_named() {
    let adder = adder();
    let folder = root().display().to_string();
    let too_long = "1+".repeat(40);
    let cases: [(&[&str], &str); 9] = [
        (&["generate", "/nowhere/model.gguf"], "/nowhere/model.gguf: No such file or directory"),
        (&["inspect", &folder], "not a file"),
        (&["generate", &adder, "two and two"], "the prompt: the model has no tokens for"),
        (&["generate", &adder, ""], "the prompt is empty"),
        (&["generate", &adder, &too_long], "the prompt: 80 tokens do not fit in a context of 64"),
        (&["logits", &adder, "--tokens", "1,16"], "there is no token 16: the model has 16"),
        (&["logits", &adder, "--tokens", &vec!["1"; 65].join(",")], "65 tokens do not fit in a context of 64"),
        (&["logits", "/nowhere", "--tokens", "1"], "/nowhere: "),
        (&["inspect", "/dev/null"], "/dev/null: not a file"),
    ];
    for (arguments, message) in cases {
        let shown = error(arguments);
        assert!(shown.contains(message), "{arguments:?}: {shown}");
    }
}

#[test]
fn bad_files_are_named() {
    let whole = std::fs::read(adder()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.gguf");
    let name = path.to_str().unwrap();
    for length in [0, 3, 64, 640, 2048, 100_032, whole.len() - 64] {
        std::fs::write(&path, &whole[..length]).unwrap();
        for command in [&["generate", name][..], &["inspect", name], &["logits", name, "--tokens", "1"]] {
            let shown = error(command);
            assert!(shown.starts_with(name), "{length} bytes: {shown}");
        }
    }
}

#[test]
fn too_little_memory_is_an_error_before_anything_is_loaded() {
    // A device of 1 MiB.
    let small = |arguments: &[&str]| {
        let mut command = Command::new(program());
        command
            .env("WARPWRIGHT_EMULATOR_DEVICES", "sm_90:1")
            .args(["generate", "--device", "emulator"])
            .args(arguments);
        command.output().unwrap()
    };
    let output = small(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let shown = stderr(&output);
    let fits =
        shown.split("one of ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{shown}"));
    assert!(
        shown.contains("would be needed, which is") && shown.contains(" of device memory that are free"),
        "{shown}"
    );
    // What is said to fit does.
    let output = small(&["-c", fits]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "47+58=105\n"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let mut child = Command::new(program())
        .args(["inspect", &adder()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn arguments_are_explained() {
    for (arguments, code, part) in [
        (&["--help"][..], 0, "generate"),
        (&["generate", "--help"], 0, "Examples:"),
        (&["profile", "--help"], 0, "on a GPU there are none"),
        (&["generate", "--device", "tpu"], 2, "possible values: auto, gpu, emulator"),
        (&["logits", "x", "--tokens", "1,-2"], 2, "--tokens"),
        (&[], 2, "Usage"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!((stdout(&output).to_owned() + stderr(&output)).contains(part), "{arguments:?}");
    }
}

#[test]
fn kernels_are_shown_with_their_contracts() {
    let output = run(&["kernels"]);
    let shown = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    let row = shown.lines().find(|line| line.contains("rms_norm") && line.contains("safe")).unwrap();
    assert!(row.contains("75"), "{row}");
    assert!(shown.contains("rms_norm(const float* x, const float* weight, float* out, unsigned int rows"), "{shown}");
    assert!(shown.contains("    @len weight == dim"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(stdout(&run(&["kernels", "--json"]))).unwrap();
    let norm = json.as_array().unwrap().iter().find(|kernel| kernel["name"] == "rms_norm").unwrap();
    assert_eq!(norm["safe"], true);
    assert!(norm["targets"][0]["resources"]["registers"].as_u64().unwrap() > 0);
    // a folder with a manifest, and PTX
    let folder = root().join("kernels/prebuilt").display().to_string();
    if Path::new(&folder).exists() {
        assert_eq!(stdout(&run(&["kernels", &folder])), shown);
        assert_eq!(
            stdout(&run(&["kernels", &folder, "--ptx", "rms_norm"])),
            stdout(&run(&["kernels", "--ptx", "rms_norm"]))
        );
    }
    assert!(stdout(&run(&["kernels", "--ptx", "rms_norm"])).contains(".entry"));
    // machine code, where NVIDIA's tools are
    let sass = run(&["kernels", "--sass", "rms_norm"]);
    match sass.status.success() {
        true => assert!(stdout(&sass).contains("EXIT"), "{}", stdout(&sass)),
        false => assert!(stderr(&sass).contains("nvcc was not found; looked for it:"), "{}", stderr(&sass)),
    }
    assert!(error(&["kernels", "--ptx", "nothing"]).contains("there is no kernel `nothing`; there are: argmax"));
    assert!(error(&["kernels", "--ptx", "rms_norm", "--target", "90"]).contains("it is for: 75"));
    assert!(error(&["kernels", "/nowhere"]).contains("/nowhere/manifest.json"));
}
