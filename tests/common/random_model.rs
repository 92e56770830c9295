//! Random models whose keys and tensors tests change before they are files.

use warpwright::gguf::{self, ArrayBuf, Gguf, Header, TensorType};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{self, Architecture, RandomModel};

/// A value of a key.
#[derive(Debug, Clone)]
pub enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of numbers.
    I32s(Vec<i32>),
}

impl Value {
    fn read(value: &gguf::Value<'_>) -> Self {
        match value {
            gguf::Value::U32(value) => Self::U32(*value),
            gguf::Value::F32(value) => Self::F32(*value),
            gguf::Value::Bool(value) => Self::Bool(*value),
            gguf::Value::String(text) => Self::Text((*text).to_owned()),
            gguf::Value::Array(array) => match array.iter().next() {
                Some(gguf::Value::I32(_)) => {
                    let number = |value| if let gguf::Value::I32(value) = value { value } else { panic!("{value:?}") };
                    Self::I32s(array.iter().map(number).collect())
                }
                _ => Self::Texts(array.iter().map(|text| text.as_string().expect("a text").to_owned()).collect()),
            },
            other => panic!("random models have no {other:?}"),
        }
    }

    fn set(&self, header: &mut Header, key: &str) {
        let array = match self {
            Self::U32(value) => return header.set(key, gguf::Value::U32(*value)).expect(key),
            Self::F32(value) => return header.set(key, gguf::Value::F32(*value)).expect(key),
            Self::Bool(value) => return header.set(key, gguf::Value::Bool(*value)).expect(key),
            Self::Text(text) => return header.set(key, gguf::Value::String(text)).expect(key),
            Self::Texts(texts) => ArrayBuf::strings(texts),
            Self::I32s(numbers) => ArrayBuf::new(numbers.iter().map(|n| gguf::Value::I32(*n))).expect(key),
        };
        header.set(key, array.value()).expect(key);
    }
}

/// What a file is made of.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub keys: Vec<(String, Value)>,
    /// Name, dimensions, type, data.
    pub tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

impl File {
    pub fn set(&mut self, key: &str, value: Value) {
        self.keys.retain(|(known, _)| known != key);
        self.keys.push((key.to_owned(), value));
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut header = Header::new();
        for (key, value) in &self.keys {
            value.set(&mut header, key);
        }
        for (name, dimensions, ty, data) in &self.tensors {
            let ty = TensorType::from_id(*ty).expect("a type");
            assert_eq!(header.tensor(name, dimensions, ty).expect(name), data.len() as u64, "{name}");
        }
        let mut writer = header.start(Vec::new()).expect("a header");
        self.tensors.iter().for_each(|(name, .., data)| writer.data(data).expect(name));
        writer.finish().expect("all data")
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

impl From<Shape> for random::Shape {
    fn from(shape: Shape) -> Self {
        let Shape { layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context, tied, yarn } = shape;
        let (architecture, eps, rope_base) = (Architecture::Qwen3, 1e-6, 1e6);
        Self {
            architecture,
            layers,
            hidden,
            ffn,
            heads,
            kv_heads,
            head_dim,
            vocab,
            context,
            eps,
            rope_base,
            yarn,
            tied,
        }
    }
}

/// A model with random Q1_0 weights and random norms.
pub fn random_model(shape: &Shape, seed: u64) -> File {
    let model = RandomModel { shape: (*shape).into(), formats: Formats::all(Format::Q1_0), seed };
    let gguf = Gguf::from_bytes(model.to_bytes().expect("a model")).expect("a file");
    File {
        keys: gguf.metadata().map(|(key, value)| (key.to_owned(), Value::read(&value))).collect(),
        tensors: gguf
            .tensors()
            .map(|tensor| (tensor.name.to_owned(), tensor.dimensions.to_vec(), tensor.ty.id(), tensor.data.to_vec()))
            .collect(),
    }
}
