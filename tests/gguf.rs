//! Files from strangers: what is wrong is named, nothing panics, and no more is allocated than the file is large.

mod common;
#[path = "common/counting.rs"]
mod counting;

use common::random_model::{File, Shape, Value, random_model};
use common::{adder, device};
use counting::{Counting, read};
use warpwright::gguf::{Gguf, GgufError};
use warpwright::model::{Model, ModelError};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SHAPE: Shape = Shape {
    layers: 1,
    hidden: 128,
    ffn: 128,
    heads: 2,
    kv_heads: 1,
    vocab: 4,
    context: 8,
    ..common::random_model::SHAPE
};

fn small() -> File {
    random_model(&SHAPE, 1)
}

/// The file with the bytes after the first `after` (and `skip` more) replaced.
fn patched(after: &str, skip: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = small().bytes();
    let at = bytes.windows(after.len()).position(|window| window == after.as_bytes()).unwrap() + after.len() + skip;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn what_is_there_is_read() {
    let mut file = small();
    file.set("a.list", Value::Texts(vec!["x".into(), "é".into()]));
    let gguf = read(file.bytes()).unwrap();
    assert_eq!(gguf.version(), 3);
    assert_eq!(gguf.string("general.architecture").unwrap(), "qwen3");
    assert_eq!(gguf.integer("qwen3.embedding_length").unwrap(), 128);
    assert!((gguf.float("qwen3.rope.freq_base").unwrap() - 1e6).abs() < 1.0);
    let list: Vec<_> = gguf.array("a.list").unwrap().iter().map(|value| value.to_string()).collect();
    assert_eq!(list, ["\"x\"", "\"é\""]);
    assert_eq!(gguf.metadata().count(), file.keys.len());
    assert_eq!(gguf.tensors().count(), file.tensors.len());
    for (name, dimensions, ty, data) in &file.tensors {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!((tensor.dimensions, tensor.ty.id(), tensor.data), (&dimensions[..], *ty, &data[..]));
    }
    let wrong = GgufError::KeyType { key: "a.list".into(), expected: "a string", found: "an array" };
    assert_eq!(gguf.string("a.list").unwrap_err(), wrong);
    assert_eq!(gguf.tensor("nothing").unwrap_err(), GgufError::MissingTensor { name: "nothing".into() });
}

#[test]
fn truncation_is_an_error_at_every_length() {
    let whole = std::fs::read(adder()).unwrap();
    for length in (0..whole.len()).step_by(64) {
        let error = read(whole[..length].to_vec()).unwrap_err();
        assert!(
            matches!(
                error,
                GgufError::NotGguf
                    | GgufError::Truncated { .. }
                    | GgufError::Within { .. }
                    | GgufError::Count { .. }
                    | GgufError::PastEnd { .. }
            ),
            "{length} bytes: {error}"
        );
    }
    let (last, small) = (small().tensors.pop().unwrap().3.len(), small().bytes());
    // What follows the last tensor up to the alignment may be missing.
    let needed = small.len() - (last.next_multiple_of(32) - last);
    for length in 0..small.len() {
        assert_eq!(read(small[..length].to_vec()).is_err(), length < needed, "{length} bytes");
    }
}

#[test]
fn every_error_names_the_thing() {
    let huge = (1u64 << 60).to_le_bytes();
    let tensor = "blk.0.attn_q.weight";
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"GGML".to_vec(), "not a GGUF file"),
        (patched("GGUF", 0, &[1, 0, 0, 0]), "GGUF version 1 is not supported"),
        (patched("GGUF", 0, &[0, 0, 0, 3]), "GGUF version 50331648 is not supported"),
        (patched("GGUF", 4, &huge), "claims 1152921504606846976 tensors"),
        (patched("GGUF", 12, &huge), "claims 1152921504606846976 keys"),
        (patched("general.architecture", 0, &[99, 0, 0, 0]), "the key `general.architecture` has the unknown type 99"),
        (
            patched("general.architecture", 4, &huge),
            "the key `general.architecture`: the file ends within the value, at byte 64",
        ),
        (
            patched("general.architecture", 12, &[0xff]),
            "the key `general.architecture`: the value at byte 64 is not UTF-8",
        ),
        (
            patched("qwen3.block_count", 0, &[&[9, 0, 0, 0, 4, 0, 0, 0], &huge[..]].concat()),
            "the key `qwen3.block_count`: the file claims 1152921504606846976 array elements",
        ),
        (patched(tensor, 0, &[5, 0, 0, 0]), "`blk.0.attn_q.weight`: it has 5 dimensions"),
        (patched(tensor, 0, &[0, 0, 0, 0]), "`blk.0.attn_q.weight`: it has 0 dimensions"),
        (patched(tensor, 4, &huge), "`blk.0.attn_q.weight`: its dimensions"),
        (patched(tensor, 12, &huge), "`blk.0.attn_q.weight`: its dimensions"),
        (patched(tensor, 4, &0u64.to_le_bytes()), "make no number of elements"),
        (patched(tensor, 4, &129u64.to_le_bytes()), "no whole blocks of 128 (Q1_0)"),
        (patched(tensor, 20, &[77, 0, 0, 0]), "the tensor `blk.0.attn_q.weight` has the type 77, which is not known"),
        (patched(tensor, 20, &[40, 0, 0, 0]), "`blk.0.attn_q.weight` has the type 40: that is NVFP4 today"),
        (patched(tensor, 24, &huge), "`blk.0.attn_q.weight` has 2304 bytes at offset 1152921504606846976"),
        (patched(tensor, 24, &u64::MAX.to_le_bytes()), "at offset 18446744073709551615"),
        (patched(tensor, 24, &0u64.to_le_bytes()), "overlap"),
        (patched(tensor, 24, &[7]), "starts at offset"),
    ];
    for (bytes, message) in cases {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{message}: {error}");
    }
    let twice = |first: &str, second: &str| {
        let mut bytes = small().bytes();
        let at = bytes.windows(first.len()).position(|window| window == first.as_bytes()).unwrap();
        bytes[at..at + first.len()].copy_from_slice(second.as_bytes());
        read(bytes).unwrap_err().to_string()
    };
    let error = twice("blk.0.attn_k.weight", "blk.0.attn_v.weight");
    assert_eq!(error, "the tensor `blk.0.attn_v.weight` stands twice");
    let error = twice("tokenizer.ggml.model", "general.architecture");
    assert_eq!(error, "the key `general.architecture` stands twice");
    let mut odd = small();
    odd.set("general.alignment", Value::U32(64));
    let mut odd = odd.bytes();
    let key = b"general.alignment";
    let at = odd.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    odd[at] = 48;
    assert!(read(odd).unwrap_err().to_string().contains("`general.alignment` is 48"));

    let missing = Gguf::open("/nowhere/model.gguf").unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/model.gguf: "), "{missing}");
    assert!(Gguf::open(std::env::temp_dir()).unwrap_err().to_string().contains("not a file"));
}

#[test]
fn a_claim_that_could_be_true_costs_no_more_either() {
    let most = ((small().bytes().len() as u64 - 24) / 24 - 1).to_le_bytes();
    for skip in [4, 12] {
        assert!(read(patched("GGUF", skip, &most)).is_err());
    }
}

#[test]
fn arrays_in_arrays_end_somewhere() {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend([0u64.to_le_bytes(), 1u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
    bytes.push(b'k');
    bytes.extend(9u32.to_le_bytes());
    for _ in 0..100_000 {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
    }
    assert_eq!(read(bytes).unwrap_err(), GgufError::Nesting { key: "k".into() });
}

/// What loading a model from a file says.
fn load_error(file: &File) -> ModelError {
    let device = device();
    let gguf = read(file.bytes()).unwrap();
    Model::load(&gguf, &device.kernels, &device.stream).unwrap_err()
}

#[test]
fn what_a_model_needs_is_named() {
    // what a model does without, or what follows from the rest where it is not said
    let optional = [
        "tokenizer.",
        "general.name",
        "general.quantization_version",
        "qwen3.attention.head_count_kv",
        "qwen3.attention.key_length",
        "qwen3.attention.value_length",
        "qwen3.rope.freq_base",
    ];
    for (key, _) in small().keys {
        if optional.iter().any(|prefix| key.starts_with(prefix)) {
            continue;
        }
        let mut file = small();
        file.keys.retain(|(known, _)| *known != key);
        assert_eq!(load_error(&file), ModelError::Gguf(GgufError::MissingKey { key }));
    }
    for (name, ..) in small().tensors {
        if name == "output.weight" {
            continue;
        }
        let mut file = small();
        file.tensors.retain(|(known, ..)| *known != name);
        assert_eq!(load_error(&file), ModelError::Gguf(GgufError::MissingTensor { name }));
    }
}

#[test]
fn what_a_model_cannot_be_is_named() {
    let with = |key: &str, value: Value| {
        let mut file = small();
        file.set(key, value);
        load_error(&file).to_string()
    };
    let integer = |key: &str, value: u32| with(&format!("qwen3.{key}"), Value::U32(value));
    let cases = [
        (
            with("general.architecture", Value::Text("mamba".into())),
            "`general.architecture` is `mamba`, and supported is `qwen3`, `qwen2` and `llama`",
        ),
        (
            with("qwen3.block_count", Value::Text("one".into())),
            "`qwen3.block_count` is a string, and should be a whole number",
        ),
        (integer("block_count", 0), "`qwen3.block_count` is 0"),
        (integer("block_count", 2), "the tensor `blk.1.attn_norm.weight` is missing"),
        (integer("embedding_length", 100), "`qwen3.embedding_length` is 100, and supported is a multiple of 128"),
        (
            integer("embedding_length", 256),
            "the tensor `token_embd.weight` is [128, 4], and the configuration makes it [256, 4]",
        ),
        (integer("feed_forward_length", u32::MAX - 127), "`qwen3.feed_forward_length` is 4294967168"),
        (integer("attention.head_count_kv", 3), "a divisor of the heads"),
        (integer("attention.head_count_kv", 0), "`qwen3.attention.head_count_kv` is 0"),
        (integer("attention.key_length", 63), "an even number up to 256"),
        (integer("attention.key_length", 512), "an even number up to 256"),
        (integer("attention.value_length", 32), "`qwen3.attention.value_length` is 32"),
        (integer("attention.head_count", u32::MAX), "`qwen3.attention.head_count`"),
        (with("qwen3.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)), "layer_norm_rms_epsilon` is NaN"),
        (with("qwen3.rope.freq_base", Value::F32(0.0)), "`qwen3.rope.freq_base` is 0"),
        (with("qwen3.rope.scaling.type", Value::Text("longrope".into())), "`qwen3.rope.scaling.type` is `longrope`"),
        (with("qwen3.rope.scaling.type", Value::Text("yarn".into())), "`qwen3.rope.scaling.factor` is missing"),
    ];
    for (error, message) in cases {
        assert!(error.contains(message), "{message}: {error}");
    }
    let mut file = small();
    let index = file.tensors.iter().position(|(name, ..)| name == "output_norm.weight").unwrap();
    (file.tensors[index].2, file.tensors[index].3) = (8, vec![0; 4 * 34]);
    let error = load_error(&file).to_string();
    assert!(error.contains("`output_norm.weight` is Q8_0, and only F32, F16, BF16 is supported here"), "{error}");
    // without it the model would compute something else
    let mut file = small();
    file.tensors.push(("blk.0.ffn_gate_inp.weight".into(), vec![128], 0, vec![0; 512]));
    let error = load_error(&file).to_string();
    assert!(error.contains("`blk.0.ffn_gate_inp.weight` belongs to nothing"), "{error}");
}
