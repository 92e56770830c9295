//! Files of the reference writer, the Python package `gguf`, are read here, and files of ours are read by it.
//!
//! The package comes from PyPI, into a folder of its own under the target folder, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize;
use warpwright::gguf::{ArrayBuf, Gguf, Header, TensorType, Value};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

/// The package, and what it needs of what it states (the rest is for downloads).
const PACKAGES: [&str; 8] = [
    "gguf==0.19.0",
    "numpy==2.2.6",
    "PyYAML==6.0.3",
    "tqdm==4.67.1",
    "requests==2.32.5",
    "urllib3==2.5.0",
    "idna==3.11",
    "certifi==2025.10.5",
];

/// The folder with the packages.
fn packages() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(install)
}

/// Installs the packages if they are not there.
fn install() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (folder, stamp) = (parent.join("python-gguf"), PACKAGES.join("\n"));
    if fs::read_to_string(folder.join("installed.txt")).is_ok_and(|installed| installed == stamp) {
        return folder;
    }
    // Into a folder beside it first, so that what is there is always whole.
    let fresh = tempfile::tempdir_in(parent).unwrap();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    let output = pip.arg(fresh.path()).args(PACKAGES).env("PIP_ROOT_USER_ACTION", "ignore").output();
    let output = output.expect("python3 with pip is needed for this test");
    assert!(output.status.success(), "pip cannot install {PACKAGES:?}: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(fresh.path().join("installed.txt"), stamp).unwrap();
    let _ = fs::remove_dir_all(&folder);
    fs::rename(fresh.keep(), &folder).unwrap();
    folder
}

/// Runs the script beside this test.
fn python(arguments: &[&str]) -> Vec<u8> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gguf_python.py");
    let mut python = Command::new("python3");
    let output = python.arg(script).args(arguments).env("PYTHONPATH", packages()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What a file has, as the script says it.
#[derive(Debug, PartialEq, Deserialize)]
struct Contents {
    /// Key, type, and the value as text (an array: its elements, those of arrays in it among them).
    keys: Vec<(String, String, String)>,
    /// Name, type, dimensions, and data in hexadecimal digits.
    tensors: Vec<(String, String, Vec<u64>, String)>,
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Array(array) => array.iter().map(|element| text(&element)).collect::<Vec<_>>().join(","),
        Value::String(text) => (*text).to_owned(),
        Value::Bool(value) => value.to_string(),
        // All numbers in the tests are exact.
        Value::F32(value) => format!("{:?}", f64::from(*value)),
        Value::F64(value) => format!("{value:?}"),
        other => other.to_string(),
    }
}

/// The name that the package has for the type of a value, with those of elements after it.
fn type_name(value: &Value<'_>) -> String {
    match value {
        Value::Array(array) => {
            let first = array.iter().next().map(|element| format!(" {}", type_name(&element)));
            format!("ARRAY{}", first.unwrap_or_default())
        }
        Value::U8(_) => "UINT8".into(),
        Value::I8(_) => "INT8".into(),
        Value::U16(_) => "UINT16".into(),
        Value::I16(_) => "INT16".into(),
        Value::U32(_) => "UINT32".into(),
        Value::I32(_) => "INT32".into(),
        Value::U64(_) => "UINT64".into(),
        Value::I64(_) => "INT64".into(),
        Value::F32(_) => "FLOAT32".into(),
        Value::F64(_) => "FLOAT64".into(),
        Value::Bool(_) => "BOOL".into(),
        Value::String(_) => "STRING".into(),
    }
}

/// What we read in a file.
fn contents(path: &Path) -> Contents {
    let gguf = Gguf::open(path).unwrap();
    let key = |(key, value): (&str, Value<'_>)| (key.to_owned(), type_name(&value), text(&value));
    let tensors = gguf.tensors().map(|tensor| {
        let hex = tensor.data.iter().map(|byte| format!("{byte:02x}")).collect();
        (tensor.name.to_owned(), tensor.ty.to_string(), tensor.dimensions.to_vec(), hex)
    });
    Contents { tensors: tensors.collect(), keys: gguf.metadata().map(key).collect() }
}

/// What the package reads in a file.
fn contents_in_python(path: &Path) -> Contents {
    serde_json::from_slice(&python(&["read", path.to_str().unwrap()])).unwrap()
}

#[test]
fn files_of_the_reference_writer_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for alignment in ["32", "8", "64", "4096"] {
        let path = folder.path().join(format!("{alignment}.gguf"));
        // The script writes, and says what it wrote without reading it.
        let written = python(&["write", path.to_str().unwrap(), alignment]);
        let mut written: Contents = serde_json::from_slice(&written).unwrap();
        written.keys.sort();
        written.tensors.sort();
        assert_eq!(written.keys.len(), 22);
        // F32, F16, F64, I8, I16, I32, I64, BF16, Q8_0, TQ1_0, TQ2_0, Q1_0, Q4_K
        assert_eq!(written.tensors.len(), 13);
        assert_eq!(contents(&path), written, "alignment {alignment}");
    }
}

#[test]
fn values_of_the_reference_quantizer_are_ours() {
    // The package unpacks these itself: what it says of blocks it packed has to be what we say of them.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.gguf");
    let expected: Vec<(String, Vec<f32>)> =
        serde_json::from_slice(&python(&["quantize", path.to_str().unwrap()])).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(expected.len(), 6);
    for (name, weights) in expected {
        let tensor = gguf.tensor(&name).unwrap();
        let found = tensor.ty.format().unwrap().dequantize(tensor.data).unwrap();
        assert_eq!(found, weights, "{name}");
    }
}

#[test]
fn our_files_are_read_by_the_reference_reader() {
    let folder = tempfile::tempdir().unwrap();
    // The package does not know the types from 42 on.
    let known = [Format::F32, Format::F16, Format::Bf16, Format::Q8_0, Format::Q1_0, Format::Tq1_0, Format::Tq2_0];
    for (n, format) in known.into_iter().enumerate() {
        let shape = Shape { layers: 1, vocab: 300 + n as u32, ..Shape::like("bonsai-4b").unwrap().scaled_down(16) };
        let formats = Formats { embedding: Some(known[(n + 1) % known.len()]), ..Formats::all(format) };
        let model = RandomModel { shape, formats, seed: n as u64 };
        let path = folder.path().join(format!("{format}.gguf"));
        fs::write(&path, model.to_bytes().unwrap()).unwrap();
        let (ours, theirs) = (contents(&path), contents_in_python(&path));
        assert_eq!(ours.tensors.len(), 13);
        assert!(ours == theirs, "{format}: the package reads something else");
    }
}

#[test]
fn all_values_that_we_write_are_read_by_the_reference_reader() {
    let folder = tempfile::tempdir().unwrap();
    for alignment in [1, 32, 128, 1 << 16] {
        let mut header = Header::new();
        let strings = ArrayBuf::strings(["", "a", "é\n"]);
        let inner = [ArrayBuf::new([1, 2].map(Value::U16)).unwrap(), ArrayBuf::new([3].map(Value::U16)).unwrap()];
        let nested = ArrayBuf::new(inner.iter().map(ArrayBuf::value)).unwrap();
        let bools = ArrayBuf::new([true, false].map(Value::Bool)).unwrap();
        let doubles = ArrayBuf::new([0.1, -1e300].map(Value::F64)).unwrap();
        let values = [
            ("u8", Value::U8(255)),
            ("i8", Value::I8(-128)),
            ("u16", Value::U16(u16::MAX)),
            ("i16", Value::I16(i16::MIN)),
            ("u32", Value::U32(u32::MAX)),
            ("i32", Value::I32(i32::MIN)),
            ("u64", Value::U64(u64::MAX)),
            ("i64", Value::I64(i64::MIN)),
            ("f32", Value::F32(0.1)),
            ("f64", Value::F64(0.1)),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("empty", Value::String("")),
            ("text", Value::String("中文 \"quoted\"")),
            ("strings", strings.value()),
            ("nested", nested.value()),
            ("bools", bools.value()),
            ("doubles", doubles.value()),
            ("general.alignment", Value::U32(alignment)),
        ];
        for (key, value) in values {
            header.set(key, value).unwrap();
        }
        header.tensor("one", &[1], TensorType::F32).unwrap();
        header.tensor("four", &[32, 2, 3, 4], TensorType::Q8_0).unwrap();
        header.tensor("two", &[5, 3], TensorType::F16).unwrap();
        let bytes: Vec<u8> = (0..header.data_size()).map(|n| (n * 7 % 251) as u8).collect();
        let mut writer = header.start(Vec::new()).unwrap();
        bytes.chunks(13).for_each(|piece| writer.data(piece).unwrap());
        let path = folder.path().join(format!("{alignment}.gguf"));
        fs::write(&path, writer.finish().unwrap()).unwrap();
        assert_eq!(contents(&path), contents_in_python(&path), "alignment {alignment}");
    }
}
