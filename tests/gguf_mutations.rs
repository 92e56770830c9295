//! 100,000 files that are wrong in some way: each is taken or refused, and that costs little.

mod common;
#[path = "common/counting.rs"]
mod counting;

use common::Random;
use counting::{Counting, read_with};
use warpwright::gguf::{ArrayBuf, Gguf, Header, OpenOptions, Q2Layout, TensorType, Value};
use warpwright::model::Config;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A small file, and where its fields are.
struct Seed {
    bytes: Vec<u8>,
    /// Where numbers of 8 bytes are that count, measure or point, and numbers of 4 bytes that are types or counts.
    wide: Vec<usize>,
    narrow: Vec<usize>,
    /// Where the data starts.
    data: usize,
}

/// Finds the fields of a valid file. This is a second reader, without a check, for files that are known to be good.
fn fields(bytes: Vec<u8>) -> Seed {
    let (mut wide, mut narrow) = (vec![8, 16], vec![4]);
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    fn value(
        ty: u32,
        mut at: usize,
        read: &(impl Fn(usize) -> usize, impl Fn(usize) -> u32),
        wide: &mut Vec<usize>,
        narrow: &mut Vec<usize>,
    ) -> usize {
        match ty {
            0 | 1 | 7 => at + 1,
            2 | 3 => at + 2,
            4..=6 => at + 4,
            8 => {
                wide.push(at);
                at + 8 + read.0(at)
            }
            9 => {
                narrow.push(at);
                wide.push(at + 4);
                let (of, count) = (read.1(at), read.0(at + 4));
                at += 12;
                for _ in 0..count {
                    at = value(of, at, read, wide, narrow);
                }
                at
            }
            _ => at + 8,
        }
    }
    let read = (u64_at, u32_at);
    let (tensors, keys) = (u64_at(8), u64_at(16));
    let mut at = 24;
    for _ in 0..keys {
        wide.push(at);
        at += 8 + u64_at(at);
        narrow.push(at);
        at = value(u32_at(at), at + 4, &read, &mut wide, &mut narrow);
    }
    for _ in 0..tensors {
        wide.push(at);
        at += 8 + u64_at(at);
        narrow.push(at);
        let dimensions = u32_at(at) as usize;
        at += 4;
        wide.extend((0..dimensions).map(|n| at + 8 * n));
        at += 8 * dimensions;
        narrow.push(at);
        wide.push(at + 4);
        at += 12;
    }
    Seed { bytes, wide, narrow, data: at }
}

/// A file with every type of value, and some tensors of a type.
fn seed(ty: TensorType, alignment: Option<u32>, version: u8) -> Seed {
    let mut header = Header::new();
    let inner = [ArrayBuf::strings(["a", "bc"]), ArrayBuf::strings(["é"])];
    let nested = ArrayBuf::new(inner.iter().map(ArrayBuf::value)).unwrap();
    let numbers = ArrayBuf::new([3, -1, 1].map(Value::I32)).unwrap();
    let values = [
        ("general.architecture", Value::String("qwen3")),
        ("qwen3.block_count", Value::U32(1)),
        ("u8", Value::U8(8)),
        ("i8", Value::I8(-8)),
        ("u16", Value::U16(16)),
        ("i16", Value::I16(-16)),
        ("i32", Value::I32(-32)),
        ("f32", Value::F32(0.5)),
        ("bool", Value::Bool(true)),
        ("u64", Value::U64(64)),
        ("i64", Value::I64(-64)),
        ("f64", Value::F64(0.25)),
        ("numbers", numbers.value()),
        ("nested", nested.value()),
    ];
    for (key, value) in values {
        header.set(key, value).unwrap();
    }
    if let Some(alignment) = alignment {
        header.set("general.alignment", Value::U32(alignment)).unwrap();
    }
    header.tensor("token_embd.weight", &[256, 3], ty).unwrap();
    header.tensor("output_norm.weight", &[7], TensorType::F32).unwrap();
    header.tensor("blk.0.ffn_up.weight", &[256, 1, 2], ty).unwrap();
    let size = header.data_size();
    let mut writer = header.start(Vec::new()).unwrap();
    writer.data(&vec![0x5a; size as usize]).unwrap();
    let mut bytes = writer.finish().unwrap();
    bytes[4] = version;
    fields(bytes)
}

/// A number that is wrong in a way that matters, made of a right one.
fn wrong(random: &mut Random, right: u64, size: usize) -> u64 {
    let near = u64::from(random.below(5)).wrapping_sub(2);
    match random.below(9) {
        0 => 0,
        1 => u64::MAX.wrapping_sub(near),
        2 => right.wrapping_add(near),
        3 => right ^ 1 << random.below(64),
        4 => (size as u64).wrapping_add(near),
        5 => (size as u64 / u64::from(1 + random.below(40))).wrapping_add(near),
        6 => 1 << random.below(64),
        7 => u64::from(random.below(200)),
        _ => (1u64 << 63).wrapping_add(near),
    }
}

/// Changes a file.
fn mutate(random: &mut Random, seeds: &[Seed]) -> Vec<u8> {
    let pick = |random: &mut Random, of: usize| random.below(of as u32) as usize;
    let seed = &seeds[pick(random, seeds.len())];
    let mut bytes = seed.bytes.clone();
    for _ in 0..=random.below(3) {
        // Earlier changes may have made it shorter.
        let size = bytes.len().max(1);
        match random.below(8) {
            0 => {
                let at = pick(random, seed.data.min(size));
                bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.below(8));
            }
            1 => bytes.truncate(pick(random, size)),
            2..=4 => {
                let at = seed.wide[pick(random, seed.wide.len())];
                if let Some(field) = bytes.get_mut(at..at + 8) {
                    let right = u64::from_le_bytes((&*field).try_into().unwrap());
                    field.copy_from_slice(&wrong(random, right, size).to_le_bytes());
                }
            }
            5 => {
                let at = seed.narrow[pick(random, seed.narrow.len())];
                if let Some(field) = bytes.get_mut(at..at + 4) {
                    // a type of a value or a tensor, or a number of dimensions
                    let new = [random.below(13), random.below(50), 140 + random.below(5), u32::MAX];
                    field.copy_from_slice(&new[pick(random, 4)].to_le_bytes());
                }
            }
            6 => {
                // a piece of another file, or of this one
                let from = &seeds[pick(random, seeds.len())].bytes;
                let start = pick(random, from.len());
                let piece = &from[start..from.len().min(start + 1 + pick(random, 64))];
                let (at, over) = (pick(random, size).min(bytes.len()), pick(random, 64));
                bytes.splice(at..(at + over).min(bytes.len()), piece.iter().copied());
            }
            _ => {
                let at = pick(random, size).min(bytes.len());
                let count = 1 + pick(random, 16);
                let noise = random.bytes(count);
                bytes.splice(at..at, noise);
            }
        }
    }
    bytes
}

#[test]
fn a_hundred_thousand_mutated_files_are_taken_or_refused() {
    let types = [TensorType::F32, TensorType::F16, TensorType::Q8_0, TensorType::Q1_0, TensorType::TQ1_0];
    let more = [TensorType::TQ2_0, TensorType::Q2_0, TensorType::Q2_0_G128, TensorType::TQ2_0_G128, TensorType::PTQ1_0];
    let alignments = [None, Some(1), Some(8), Some(64)];
    let seeds: Vec<Seed> = types
        .into_iter()
        .chain(more)
        .enumerate()
        .map(|(n, ty)| seed(ty, alignments[n % alignments.len()], 2 + n as u8 % 2))
        .collect();
    // All are valid; but one is so small and so aligned that number 42 has to be explained.
    let is_told = |seed: &&Seed| Gguf::from_bytes(seed.bytes.clone()).is_ok();
    assert_eq!(seeds.iter().filter(is_told).count(), seeds.len() - 1);
    let mut random = Random::new(9);
    let (mut refused, mut messages) = (0, std::collections::BTreeMap::<String, u32>::new());
    for n in 0..100_000 {
        let bytes = mutate(&mut random, &seeds);
        let q2_0 = [None, Some(Q2Layout::Q2_0), Some(Q2Layout::Q2_0G128), Some(Q2Layout::Tq2_0G128)][n % 4];
        match read_with(bytes, &OpenOptions { q2_0 }) {
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                // Every error says what it is about: a key or tensor by its name, or a part of the file.
                let parts = ["GGUF", "the number of", "a key", "the name of a tensor", "the version"];
                assert!(
                    message.contains('`') || parts.iter().any(|part| message.contains(part)) || named(&message),
                    "{message}"
                );
                let kind = format!("{error:?}");
                *messages.entry(kind.split([' ', '(']).next().unwrap_or_default().to_owned()).or_default() += 1;
            }
            Ok(gguf) => {
                // What was taken can be walked through, and has a configuration or not.
                assert!(gguf.metadata().all(|(_, value)| !value.to_string().is_empty()));
                gguf.tensors().for_each(|tensor| {
                    let (block, block_bytes) = tensor.ty.block();
                    let elements: u64 = tensor.dimensions.iter().product();
                    assert_eq!(tensor.data.len() as u64, elements / block * block_bytes);
                });
                let _ = Config::read(&gguf);
            }
        }
    }
    // Both happens often, and what can be wrong was.
    assert!((50_000..99_000).contains(&refused), "{refused} were refused");
    let expected = [
        "Alignment",
        "Count",
        "Duplicate",
        "Misaligned",
        "NameLength",
        "Nesting",
        "NotGguf",
        "Overlap",
        "PastEnd",
        "Q2Ambiguous",
        "Q2Contradicted",
        "Tensor",
        "TensorType",
        "Truncated",
        "Type40",
        "Utf8",
        "ValueType",
        "Version",
        "Within",
        "KeyType",
    ];
    for kind in expected {
        // Arrays nested too deep and files that begin otherwise are rare; tests/gguf.rs has them.
        assert!(messages.contains_key(kind) || ["Nesting"].contains(&kind), "{kind} never occurred: {messages:?}");
    }
}

/// Whether a message is about how many tensors or keys the file claims.
fn named(message: &str) -> bool {
    ["tensors, and has", "keys, and has"].iter().any(|part| message.contains(part))
}
