//! The commands that write model files, as a user meets them.

mod program;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use program::program;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use warpwright::gguf::{Gguf, TensorType, Value};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(program()).current_dir(folder).args(arguments.split_whitespace()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs what has to succeed. A pipe gets no progress.
fn succeed(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", stderr(&output));
    assert!(!stderr(&output).contains(['\u{1b}', '\r', '█']), "{arguments}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The error of what has to fail, and to leave nothing behind.
fn fail(folder: &Path, arguments: &str) -> String {
    let files = || {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.collect::<std::collections::BTreeSet<_>>()
    };
    let before = files();
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments}");
    assert_eq!(files(), before, "{arguments}");
    let shown = stderr(&output);
    assert!(!shown.contains("panicked"), "{arguments}: {shown}");
    shown
}

#[test]
fn random_models_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let small = "random --like bonsai-8b --scale-down 16 --layers 1 --vocab 400 --context 64 --yarn 4:16 --format q1_0";
    succeed(folder, &format!("{small} --seed 3 -o a.gguf"));
    succeed(folder, &format!("{small} --seed 3 -o b.gguf"));
    succeed(folder, &format!("{small} --seed 4 -o c.gguf"));
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("a.gguf"), read("b.gguf"));
    assert_ne!(read("a.gguf"), read("c.gguf"));
    let gguf = Gguf::open(folder.join("a.gguf")).unwrap();
    assert_eq!(gguf.integer("qwen3.rope.scaling.original_context_length").unwrap(), 16);
    assert_eq!(gguf.tensor("blk.0.attn_q.weight").unwrap().dimensions, [256, 512]);
    assert!(gguf.tensor("output.weight").is_ok());
    // There is a token for every text.
    let text = Command::new(program())
        .args(["generate", "--device", "emulator", "-n", "3"])
        .arg(folder.join("a.gguf"))
        .arg("the 1 é\n中")
        .output()
        .unwrap();
    assert!(text.status.success() && text.stdout.starts_with("the 1 é\n中".as_bytes()), "{}", stderr(&text));

    let changed = "random --architecture llama --layers 2 --hidden 256 --ffn 512 --heads 4 --kv-heads 2 --head-dim 64 \
                   --vocab 300 --context 99 --eps 0.25 --rope-base 500 --yarn none --tied false --format tq2_0 \
                   --embedding-format q8_0 --output-format f16 --tensor-format ffn_down=ptq1_0 -o llama.gguf";
    succeed(folder, changed);
    let gguf = Gguf::open(folder.join("llama.gguf")).unwrap();
    assert_eq!(gguf.integer("llama.context_length").unwrap(), 99);
    assert_eq!(gguf.float("llama.attention.layer_norm_rms_epsilon").unwrap(), 0.25);
    let types = ["token_embd", "output", "blk.1.ffn_down", "blk.1.ffn_up"].map(|name| {
        let tensor = gguf.tensor(&format!("{name}.weight")).unwrap();
        tensor.ty.to_string()
    });
    assert_eq!(types, ["Q8_0", "F16", "PTQ1_0", "TQ2_0"]);

    assert!(
        fail(folder, "random --format tq2_0 --hidden 128 -o x.gguf").contains("`token_embd.weight` cannot be [128,")
    );
    assert!(fail(folder, "random --format tq9 -o x.gguf").contains("there is no weight format `tq9`"));
    assert!(fail(folder, "random --format q1_0 --like gpt -o x.gguf").contains("bonsai-8b"));
    assert!(fail(folder, "random --format q1_0 --yarn 4 -o x.gguf").contains("4:16384"));
    assert!(fail(folder, "random --format q1_0 -o nowhere/x.gguf").contains("nowhere/x.gguf"));
}

#[test]
fn quantize_changes_formats() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeed(folder, "random --scale-down 8 --layers 1 --vocab 300 --format bf16 -o in.gguf");
    succeed(folder, "quantize in.gguf out.gguf --format tq2_0_g128 --tensor-format ffn_up=q8_0");
    let shown = succeed(folder, "inspect out.gguf");
    assert!(shown.contains("TQ2_0_g128") && shown.contains("Q8_0") && shown.contains("\"TQ2_0_G128\""), "{shown}");
    // The size shows otherwise.
    let error = fail(folder, "inspect out.gguf --q2-layout q2_0");
    assert!(error.contains("of type 42") && error.contains("is not q2_0, and the caller says that it is"), "{error}");
    assert!(fail(folder, "inspect out.gguf --q2-layout q3").contains("q2_0_g128"));
    assert!(fail(folder, "quantize in.gguf in.gguf --format q1_0").contains("it is read"));
    assert!(fail(folder, "quantize in.gguf out.gguf").contains("--format"));
    assert!(fail(folder, "quantize missing.gguf x.gguf --format q1_0").contains("missing.gguf"));
    assert!(fail(folder, "quantize in.gguf x.gguf --format q1_0 --tensor-format ffn").contains("no `=`"));
}

#[test]
fn number_42_runs_in_all_its_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shape = "--layers 1 --hidden 256 --ffn 256 --heads 2 --kv-heads 1 --head-dim 64 --vocab 400 --context 64";
    succeed(folder, &format!("random {shape} --yarn none --format bf16 -o in.gguf"));
    let generate = |arguments: &str| run(folder, &format!("generate --device emulator -n 8 -p abc -m {arguments}"));
    for (format, other) in [("q2_0", "q2_0_g128"), ("q2_0_g128", "q2_0"), ("tq2_0_g128", "q2_0")] {
        succeed(folder, &format!("quantize in.gguf {format}.gguf --format {format}"));
        let told = generate(&format!("{format}.gguf"));
        assert!(told.status.success() && told.stdout.starts_with(b"abc"), "{format}: {}", stderr(&told));
        let said = generate(&format!("{format}.gguf --q2-layout {format}"));
        assert_eq!(told.stdout, said.stdout, "{format}");
        let wrong = generate(&format!("{format}.gguf --q2-layout {other}"));
        assert_eq!(wrong.status.code(), Some(1), "{format}");
        assert!(stderr(&wrong).contains("of type 42"), "{format}: {}", stderr(&wrong));
    }
}

/// The name that Hugging Face has for a tensor.
fn their_name(name: &str) -> String {
    let parts = [
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    match name {
        "token_embd.weight" => "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => "model.norm.weight".to_owned(),
        "output.weight" => "lm_head.weight".to_owned(),
        _ => {
            let (layer, part) = name.strip_prefix("blk.").unwrap().split_once('.').unwrap();
            let (_, theirs) = parts.iter().find(|(ours, _)| part == format!("{ours}.weight")).unwrap();
            format!("model.layers.{layer}.{theirs}.weight")
        }
    }
}

/// Writes a model as Hugging Face has it, its weights in two files.
fn write_hugging_face(gguf: &Gguf, folder: &Path) {
    let int = |key: &str| gguf.integer(&format!("qwen3.{key}")).unwrap();
    let texts = |key: &str| -> Vec<String> {
        let array = gguf.array(&format!("tokenizer.ggml.{key}")).unwrap();
        array.iter().map(|value| value.as_string().unwrap().to_owned()).collect()
    };
    let config = json!({
        "model_type": "qwen3", "hidden_size": int("embedding_length"), "intermediate_size": int("feed_forward_length"),
        "num_hidden_layers": int("block_count"), "num_attention_heads": int("attention.head_count"),
        "num_key_value_heads": int("attention.head_count_kv"), "head_dim": int("attention.key_length"),
        "max_position_embeddings": int("context_length"), "rms_norm_eps": 1e-6, "rope_theta": 1_000_000,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16384},
        "tie_word_embeddings": false, "eos_token_id": gguf.integer("tokenizer.ggml.eos_token_id").unwrap(),
        "pad_token_id": gguf.integer("tokenizer.ggml.padding_token_id").unwrap(), "torch_dtype": "float32",
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let tokens = texts("tokens");
    let special = tokens.len() - 3;
    let vocab: BTreeMap<&String, usize> = tokens[..special].iter().zip(0..).collect();
    let added: Vec<_> =
        (special..tokens.len()).map(|id| json!({"id": id, "content": tokens[id], "special": true})).collect();
    let merges: Vec<[String; 2]> = texts("merges")
        .iter()
        .map(|merge| merge.split_once(' ').map(|(left, right)| [left.to_owned(), right.to_owned()]).unwrap())
        .collect();
    let tokenizer = json!({"added_tokens": added, "model": {"type": "BPE", "vocab": vocab, "merges": merges}});
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let template = json!({"chat_template": gguf.string("tokenizer.chat_template").unwrap()});
    fs::write(folder.join("tokenizer_config.json"), template.to_string()).unwrap();
    let mut map = BTreeMap::new();
    for half in 0..2 {
        let file = format!("model-{half}.safetensors");
        let tensors: Vec<_> = gguf.tensors().enumerate().filter(|(n, _)| n % 2 == half).collect();
        let views = tensors.iter().map(|(_, tensor)| {
            let dtype = if tensor.ty == TensorType::F32 { Dtype::F32 } else { Dtype::BF16 };
            let shape = tensor.dimensions.iter().rev().map(|n| *n as usize).collect();
            map.insert(their_name(tensor.name), file.clone());
            (their_name(tensor.name), TensorView::new(dtype, shape, tensor.data).unwrap())
        });
        fs::write(folder.join(&file), safetensors::serialize(views, None).unwrap()).unwrap();
    }
    fs::write(folder.join("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).unwrap();
}

#[test]
fn quantize_reads_models_of_hugging_face() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shape = Shape { layers: 2, vocab: 300, ..Shape::like("bonsai-8b").unwrap().scaled_down(16) };
    let model = RandomModel { shape, formats: Formats::all(Format::Bf16), seed: 2 };
    let original = Gguf::from_bytes(model.to_bytes().unwrap()).unwrap();
    let theirs = folder.join("theirs");
    fs::create_dir(&theirs).unwrap();
    write_hugging_face(&original, &theirs);
    succeed(folder, "quantize theirs ours.gguf --format bf16");
    let ours = Gguf::open(folder.join("ours.gguf")).unwrap();
    let keys = |gguf: &Gguf| -> Vec<String> {
        let all = gguf.metadata().filter(|(key, _)| *key != "general.name");
        let show = |value: &Value<'_>| match value {
            Value::Array(array) => array.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(","),
            value => value.to_string(),
        };
        all.map(|(key, value)| format!("{key} = {}", show(&value))).collect()
    };
    assert_eq!(keys(&ours), keys(&original));
    assert_eq!(ours.tensors().count(), original.tensors().count());
    for (a, b) in ours.tensors().zip(original.tensors()) {
        assert_eq!((a.name, a.dimensions, a.ty), (b.name, b.dimensions, b.ty));
        assert!(a.data == b.data, "{}", a.name);
    }
    succeed(folder, "quantize theirs q8.gguf --format q8_0");

    let change = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(theirs.join(file)).unwrap();
        assert!(text.contains(from));
        fs::write(theirs.join(file), text.replacen(from, to, 1)).unwrap();
        let error = fail(folder, "quantize theirs x.gguf --format q8_0");
        fs::write(theirs.join(file), text).unwrap();
        error
    };
    assert!(change("config.json", "\"qwen3\"", "\"gemma\"").contains("`model_type` is `gemma`"));
    assert!(change("config.json", "\"hidden_size\"", "\"size\"").contains("config.json: missing field `hidden_size`"));
    assert!(change("config.json", "\"yarn\"", "\"linear\"").contains("`rope_type` is `linear`"));
    assert!(change("tokenizer.json", "\"id\":299", "\"id\":300").contains("has the number 300 of 300"));
    assert!(change("model.safetensors.index.json", "model-1.s", "../model-1.s").contains("outside of the folder"));
    assert!(change("model.safetensors.index.json", "model-1.s", "model-2.s").contains("model-2.safetensors"));
    let half = fs::read(theirs.join("model-1.safetensors")).unwrap();
    fs::write(theirs.join("model-1.safetensors"), &half[..half.len() / 2]).unwrap();
    assert!(fail(folder, "quantize theirs x.gguf --format q8_0").contains("theirs"));
    fs::remove_file(theirs.join("config.json")).unwrap();
    assert!(fail(folder, "quantize theirs x.gguf --format q8_0").contains("config.json"));
}
