//! Models in other formats: the same keys, the same norms, and the weights as the formats pack them.

use warpwright::gguf::{ArrayBuf, Gguf, Header, OpenOptions, Q2Layout, TensorType, Value};
use warpwright::quant::Format;
use warpwright::quantize::{Formats, QuantizeError, Source};
use warpwright::random::{RandomModel, Shape};

fn small() -> Shape {
    let narrow = Shape::like("bonsai-4b").unwrap().scaled_down(16);
    Shape { layers: 1, vocab: 30, ffn: 256, heads: 2, tied: false, ..narrow }
}

fn random(format: Format) -> Gguf {
    let model = RandomModel { shape: small(), formats: Formats::all(format), seed: 11 };
    Gguf::from_bytes(model.to_bytes().unwrap()).unwrap()
}

fn quantized(gguf: &Gguf, formats: &Formats) -> Gguf {
    Gguf::from_bytes(Source::gguf(gguf).unwrap().write(formats, Vec::new()).unwrap()).unwrap()
}

fn weights(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap();
    tensor.ty.format().unwrap().dequantize(tensor.data).unwrap()
}

#[test]
fn any_format_becomes_any_other() {
    for from in [Format::F32, Format::F16, Format::Tq2_0G128] {
        let gguf = random(from);
        for to in Format::ALL {
            let new = quantized(&gguf, &Formats::all(to));
            assert_eq!(new.tensors().count(), gguf.tensors().count());
            for (old, new) in gguf.tensors().zip(new.tensors()) {
                assert_eq!((old.name, old.dimensions), (new.name, new.dimensions));
                let format = if old.dimensions.len() == 1 { Format::F32 } else { to };
                assert_eq!(new.ty, TensorType::from(format), "{}", old.name);
                if old.ty == new.ty {
                    assert!(old.data == new.data, "{}: what stays is copied", old.name);
                } else {
                    let mut expected = Vec::new();
                    format.quantize(&weights(&gguf, old.name), &mut expected).unwrap();
                    assert!(expected == new.data, "{from} to {to}: {}", old.name);
                }
            }
        }
    }
}

#[test]
fn keys_stay() {
    let gguf = random(Format::F16);
    let new = quantized(&gguf, &Formats { output: Some(Format::Q8_0), ..Formats::all(Format::Tq2_0G128) });
    let keys = |gguf: &Gguf| {
        let all = gguf.metadata().map(|(key, value)| (key.to_owned(), value.to_string()));
        all.filter(|(key, _)| key != "general.quantization_version").collect::<Vec<_>>()
    };
    assert_eq!(keys(&gguf), keys(&new));
    assert_eq!(new.string("general.quantization_version").unwrap(), "TQ2_0_G128");
    assert_eq!(new.tensor("output.weight").unwrap().ty, TensorType::Q8_0);
    // On the way back that key is a number again.
    let back = quantized(&new, &Formats::all(Format::F32));
    assert_eq!(back.integer("general.quantization_version").unwrap(), 2);
    assert_eq!(weights(&back, "blk.0.ffn_up.weight"), weights(&new, "blk.0.ffn_up.weight"));

    let mut header = Header::new();
    header.set("general.file_type", Value::U32(1)).unwrap();
    header.set("general.alignment", Value::U32(4096)).unwrap();
    header.set("nested", ArrayBuf::new([ArrayBuf::strings(["a"]).value()]).unwrap().value()).unwrap();
    header.tensor("t", &[256, 2], TensorType::F32).unwrap();
    let mut writer = header.start(Vec::new()).unwrap();
    writer.data(bytemuck::cast_slice(&[0.5f32; 512])).unwrap();
    let gguf = Gguf::from_bytes(writer.finish().unwrap()).unwrap();
    let new = quantized(&gguf, &Formats::all(Format::Q1_0));
    let found: Vec<_> = new.metadata().map(|(key, value)| format!("{key} = {value}")).collect();
    assert_eq!(found, ["general.alignment = 4096", "nested = [[\"a\"]]"], "the type of the file was another");
    assert_eq!(weights(&new, "t"), [0.5; 512]);
}

#[test]
fn what_cannot_be_is_an_error() {
    let file = |ty: TensorType, dimensions: &[u64], bytes: &[u8]| {
        let mut header = Header::new();
        header.tensor("odd", dimensions, ty).unwrap();
        let mut writer = header.start(Vec::new()).unwrap();
        writer.data(bytes).unwrap();
        let options = OpenOptions { q2_0: Some(Q2Layout::Q2_0) };
        Gguf::from_bytes_with(writer.finish().unwrap(), &options).unwrap()
    };
    let q4_k = file(TensorType::from_id(12).unwrap(), &[256, 1], &[0; 144]);
    let error = Source::gguf(&q4_k).unwrap_err();
    assert!(matches!(error, QuantizeError::Type { .. }));
    assert!(error.to_string().contains("`odd` is Q4_K"), "{error}");

    let mut numbers = vec![1f32; 3 << 16];
    numbers[2 << 16 | 5] = f32::NAN;
    let nan = file(TensorType::F32, &[256, 768], bytemuck::cast_slice(&numbers));
    let write = |gguf: &Gguf, format| Source::gguf(gguf).unwrap().write(&Formats::all(format), Vec::new());
    let error = write(&nan, Format::Q1_0).unwrap_err().to_string();
    assert_eq!(error, "the tensor `odd`, from its element 131072 on: weight 5 is NaN, which Q1_0 cannot hold");

    let narrow = file(TensorType::F32, &[128, 2], &[0; 1024]);
    assert!(write(&narrow, Format::Q1_0).is_ok());
    let error = write(&narrow, Format::Tq2_0).unwrap_err().to_string();
    assert_eq!(error, "the tensor `odd` cannot be [128, 2] of TQ2_0: its rows are no whole blocks");
}
