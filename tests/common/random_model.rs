//! Random models whose keys and tensors tests change before they are files.

use warpwright::gguf::{self, ArrayBuf, Gguf, Header, TensorType};
use warpwright::model::Architecture;
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::RandomModel;
pub use warpwright::random::Shape;

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
            other => panic!("no test has {other:?}"),
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
    /// What a file is made of that somebody else wrote.
    pub fn read(gguf: &Gguf) -> Self {
        Self {
            keys: gguf.metadata().map(|(key, value)| (key.to_owned(), Value::read(&value))).collect(),
            tensors: gguf
                .tensors()
                .map(|tensor| {
                    (tensor.name.to_owned(), tensor.dimensions.to_vec(), tensor.ty.id(), tensor.data.to_vec())
                })
                .collect(),
        }
    }

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

/// A small model; the tests change what they are about.
pub const SHAPE: Shape = Shape {
    architecture: Architecture::Qwen3,
    layers: 2,
    hidden: 256,
    ffn: 384,
    heads: 4,
    kv_heads: 2,
    head_dim: 64,
    vocab: 300,
    context: 256,
    eps: 1e-6,
    rope_base: 1e6,
    tied: false,
    yarn: None,
};

/// A model with random Q1_0 weights and random norms.
pub fn random_model(shape: &Shape, seed: u64) -> File {
    let model = RandomModel { shape: *shape, formats: Formats::all(Format::Q1_0), seed };
    File::read(&Gguf::from_bytes(model.to_bytes().expect("a model")).expect("a file"))
}
