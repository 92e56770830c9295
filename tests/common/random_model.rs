//! Writes GGUF files: random models of a given shape, exact in structure.

use half::f16;

use super::Random;

/// A value of a key.
#[derive(Debug, Clone)]
pub enum Value {
    U32(u32),
    F32(f32),
    Text(String),
    Bool(bool),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of whole numbers.
    I32s(Vec<i32>),
}

/// What a file is made of.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub keys: Vec<(String, Value)>,
    /// Name, dimensions, type, data.
    pub tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl File {
    pub fn set(&mut self, key: &str, value: Value) {
        self.keys.retain(|(known, _)| known != key);
        self.keys.push((key.to_owned(), value));
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            put_text(&mut out, key);
            match value {
                Value::U32(value) => out.extend([4u32.to_le_bytes(), value.to_le_bytes()].concat()),
                Value::F32(value) => out.extend([6u32.to_le_bytes(), value.to_le_bytes()].concat()),
                Value::Text(text) => {
                    out.extend(8u32.to_le_bytes());
                    put_text(&mut out, text);
                }
                Value::Bool(value) => {
                    out.extend(7u32.to_le_bytes());
                    out.push(u8::from(*value));
                }
                Value::I32s(numbers) => {
                    out.extend([9u32.to_le_bytes(), 5u32.to_le_bytes()].concat());
                    out.extend((numbers.len() as u64).to_le_bytes());
                    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
                }
                Value::Texts(texts) => {
                    out.extend([9u32.to_le_bytes(), 8u32.to_le_bytes()].concat());
                    out.extend((texts.len() as u64).to_le_bytes());
                    texts.iter().for_each(|text| put_text(&mut out, text));
                }
            }
        }
        let mut data: Vec<u8> = Vec::new();
        for (name, dimensions, ty, bytes) in &self.tensors {
            data.resize(data.len().next_multiple_of(32), 0);
            put_text(&mut out, name);
            out.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|dimension| out.extend(dimension.to_le_bytes()));
            out.extend(ty.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(data);
        out
    }
}

/// The shape of a random model.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub layers: u32,
    pub hidden: u32,
    pub ffn: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub vocab: u32,
    pub context: u32,
    pub tied: bool,
    /// Factor and original context.
    pub yarn: Option<(f32, u32)>,
}

/// A model with random Q1_0 weights and random norms.
pub fn random_model(shape: &Shape, seed: u64) -> File {
    let &Shape { layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context, tied, yarn } = shape;
    let mut random = Random::new(seed);
    let mut file = File::default();
    file.set("general.architecture", Value::Text("qwen3".into()));
    let integers = [
        ("block_count", layers),
        ("context_length", context),
        ("embedding_length", hidden),
        ("feed_forward_length", ffn),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_dim),
        ("attention.value_length", head_dim),
    ];
    for (key, value) in integers {
        file.set(&format!("qwen3.{key}"), Value::U32(value));
    }
    file.set("qwen3.attention.layer_norm_rms_epsilon", Value::F32(1e-6));
    file.set("qwen3.rope.freq_base", Value::F32(1e6));
    if let Some((factor, original)) = yarn {
        file.set("qwen3.rope.scaling.type", Value::Text("yarn".into()));
        file.set("qwen3.rope.scaling.factor", Value::F32(factor));
        file.set("qwen3.rope.scaling.original_context_length", Value::U32(original));
    }
    let mut matrix = |name: String, rows: u32, columns: u32| {
        let blocks = rows as usize * columns as usize / 128;
        let mut data = Vec::new();
        for _ in 0..blocks {
            // scales around what keeps the size of activations
            let d = (1.0 + 0.2 * random.normal()) / (columns as f32).sqrt();
            data.extend(f16::from_f32(d).to_le_bytes());
            data.extend(random.bytes(16));
        }
        file.tensors.push((name, vec![columns.into(), rows.into()], 41, data));
    };
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    matrix("token_embd.weight".into(), vocab, hidden);
    if !tied {
        matrix("output.weight".into(), vocab, hidden);
    }
    for n in 0..layers {
        let parts = [
            ("attn_q", q, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, q),
            ("ffn_gate", ffn, hidden),
            ("ffn_up", ffn, hidden),
            ("ffn_down", hidden, ffn),
        ];
        for (part, rows, columns) in parts {
            matrix(format!("blk.{n}.{part}.weight"), rows, columns);
        }
    }
    let mut vector = |name: String, length: u32| {
        let data = (0..length).flat_map(|_| (1.0 + 0.3 * random.normal()).to_le_bytes()).collect();
        file.tensors.push((name, vec![length.into()], 0, data));
    };
    vector("output_norm.weight".into(), hidden);
    for n in 0..layers {
        for (part, length) in
            [("attn_norm", hidden), ("attn_q_norm", head_dim), ("attn_k_norm", head_dim), ("ffn_norm", hidden)]
        {
            vector(format!("blk.{n}.{part}.weight"), length);
        }
    }
    file
}
