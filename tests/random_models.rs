//! Random models: valid in every format, of a sensible size, the same from the same seed, and written as they are made.

mod common;
#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, most_allocated};
use warpwright::gguf::{Gguf, TensorType};
use warpwright::model::{Architecture, Config, RopeScaling};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn small() -> Shape {
    Shape { layers: 1, vocab: 300, ..Shape::like("bonsai-1.7b").unwrap().scaled_down(8) }
}

fn open(shape: Shape, formats: Formats, seed: u64) -> Gguf {
    Gguf::from_bytes(RandomModel { shape, formats, seed }.to_bytes().unwrap()).unwrap()
}

#[test]
fn every_format_has_valid_blocks_of_a_sensible_size() {
    for format in Format::ALL {
        let gguf = open(small(), Formats::all(format), 3);
        for tensor in gguf.tensors() {
            let weights = tensor.ty.format().unwrap().dequantize(tensor.data).unwrap();
            let count = weights.len() as f64;
            let mean = weights.iter().map(|w| f64::from(*w)).sum::<f64>() / count;
            let deviation = (weights.iter().map(|w| (f64::from(*w) - mean).powi(2)).sum::<f64>() / count).sqrt();
            let name = tensor.name;
            if tensor.dimensions.len() == 1 {
                assert_eq!(tensor.ty, TensorType::F32, "{name}");
                assert!((mean - 1.0).abs() < 0.1 && (0.2..0.4).contains(&deviation), "{name}: {mean} +- {deviation}");
                continue;
            }
            assert_eq!(tensor.ty, TensorType::from(format));
            let expected = 1.0 / (tensor.dimensions[0] as f64).sqrt();
            assert!((deviation / expected - 1.0).abs() < 0.05, "{format} {name}: {deviation} for {expected}");
            assert!((mean / expected).abs() < 5.0 / count.sqrt(), "{format} {name}: {mean}");
            // What the quantizer would make of these weights is what is there. (Its scale for Q8_0 is another.)
            if format != Format::Q8_0 {
                let mut again = Vec::new();
                format.quantize(&weights, &mut again).unwrap();
                assert!(again == tensor.data, "{format} {name}");
            }
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes_for_ever() {
    let model = |seed, format| RandomModel { shape: small(), formats: Formats::all(format), seed }.to_bytes().unwrap();
    assert_eq!(model(5, Format::Tq2_0), model(5, Format::Tq2_0));
    assert_ne!(model(5, Format::Tq2_0), model(6, Format::Tq2_0));
    // FNV-1a of the tensors' data: files are kept as their seeds.
    let hash = |format| {
        let gguf = open(small(), Formats::all(format), 7);
        let data = gguf.tensors().flat_map(|tensor| tensor.data.to_vec());
        data.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let found: Vec<u64> = [Format::Q1_0, Format::Ptq1_0, Format::Q8_0, Format::F16].map(hash).to_vec();
    assert_eq!(found, EXPECTED, "{found:#x?}");
}

const EXPECTED: [u64; 4] = [0xe615_e356_3069_0079, 0x4345_1d67_14be_3ebd, 0x0bff_dafd_f0f0_7485, 0x9adc_3d8d_3413_d70f];

#[test]
fn a_model_is_written_as_it_is_made() {
    // A layer of Bonsai-1.7B: 7 MB.
    let shape = Shape { layers: 1, vocab: 1000, ..Shape::like("bonsai-1.7b").unwrap() };
    let model = RandomModel { shape, formats: Formats::all(Format::Q1_0), seed: 1 };
    let size = model.header().unwrap().data_size();
    assert!(size > 7_000_000);
    let most = most_allocated(|| {
        model.write(std::io::sink()).unwrap();
    });
    assert!(most < 1 << 20, "{most} bytes were allocated");
}

#[test]
fn known_shapes_have_the_sizes_that_are_known() {
    // As the files have them, in MiB: FORMATS of matrices alone, without keys.
    for (name, mib) in [("bonsai-8b", 1.07 * 1024.0), ("bonsai-4b", 540.09), ("bonsai-1.7b", 231.13)] {
        let model = RandomModel { shape: Shape::like(name).unwrap(), formats: Formats::all(Format::Q1_0), seed: 0 };
        let size = model.header().unwrap().data_size() as f64 / (1 << 20) as f64;
        let tolerance = if name == "bonsai-8b" { 6.0 } else { 0.1 };
        assert!((size - mib).abs() < tolerance, "{name}: {size} MiB for {mib}");
    }
    assert_eq!(Shape::like("bonsai"), None);
}

#[test]
fn shapes_keep_their_proportions() {
    let shape = Shape::like("bonsai-4b").unwrap().scaled_down(8);
    // 2560 wide with queries of 4096, and 4 query heads to a key.
    assert_eq!((shape.hidden, shape.heads * shape.head_dim, shape.heads, shape.kv_heads), (256, 512, 4, 1));
    for (name, shape) in Shape::KNOWN {
        for factor in [0, 1, 2, 3, 7, 16, 1000, u32::MAX] {
            let scaled = shape.scaled_down(factor);
            assert!(scaled.hidden % 256 == 0 && scaled.ffn % 256 == 0 && scaled.hidden > 0 && scaled.ffn > 0);
            assert_eq!(scaled.heads % scaled.kv_heads, 0, "{name} / {factor}");
        }
    }
    assert_eq!(Shape::like("bonsai-8b").unwrap().scaled_down(1), Shape::like("bonsai-8b").unwrap());
}

#[test]
fn architectures_have_what_is_theirs() {
    let tensors = |architecture| {
        let gguf = open(Shape { architecture, tied: false, ..small() }, Formats::all(Format::Q1_0), 1);
        assert_eq!(gguf.string("general.architecture").unwrap(), architecture.name());
        assert_eq!(gguf.integer(&format!("{architecture}.attention.key_length")).unwrap(), 128);
        gguf.tensors().map(|tensor| tensor.name.to_owned()).collect::<Vec<_>>()
    };
    let qwen3 = tensors(Architecture::Qwen3);
    let (qwen2, llama) = (tensors(Architecture::Qwen2), tensors(Architecture::Llama));
    let has = |tensors: &[String], name: &str| tensors.iter().any(|tensor| tensor == name);
    assert_eq!((qwen3.len(), qwen2.len(), llama.len()), (14, 15, 12));
    assert!(has(&qwen3, "blk.0.attn_q_norm.weight") && has(&qwen2, "blk.0.attn_v.bias"));
    assert!([&qwen3, &qwen2, &llama].iter().all(|tensors| has(tensors, "output.weight")));
    let tied = open(small(), Formats::all(Format::Q1_0), 1);
    assert!(tied.tensor("output.weight").is_err());

    let yarn = Shape { yarn: Some((4.0, 64)), context: 256, ..small() };
    let config = Config::read(&open(yarn, Formats::all(Format::Tq2_0), 1)).unwrap();
    assert_eq!((config.context, config.hidden, config.vocab, config.layers), (256, 256, 300, 1));
    let RopeScaling::Yarn(yarn) = config.rope_scaling else { panic!("{config:?}") };
    assert_eq!((yarn.factor, yarn.original_context), (4.0, 64));
}

#[test]
fn formats_are_mixed_in_one_file() {
    let formats = Formats {
        embedding: Some(Format::Q8_0),
        output: Some(Format::F16),
        named: vec![("blk.0.ffn_down".into(), Format::Bf16), ("ffn".into(), Format::Tq1_0)],
        ..Formats::all(Format::Q2_0)
    };
    let gguf = open(Shape { tied: false, ..small() }, formats, 1);
    let of = |name: &str| gguf.tensor(name).unwrap().ty.format().unwrap();
    assert_eq!(of("token_embd.weight"), Format::Q8_0);
    assert_eq!(of("output.weight"), Format::F16);
    assert_eq!(of("blk.0.ffn_down.weight"), Format::Bf16);
    assert_eq!(of("blk.0.ffn_up.weight"), Format::Tq1_0);
    assert_eq!(of("blk.0.attn_q.weight"), Format::Q2_0);
    assert_eq!(of("blk.0.ffn_norm.weight"), Format::F32);

    let odd = RandomModel { shape: Shape { hidden: 128, ..small() }, formats: Formats::all(Format::Tq2_0), seed: 1 };
    let error = odd.to_bytes().unwrap_err().to_string();
    assert_eq!(error, "the tensor `token_embd.weight` cannot be [128, 300] of TQ2_0: its rows are no whole blocks");
}

#[test]
fn vocabularies_have_any_size() {
    for vocab in [1, 2, 4, 255, 256, 257, 258, 259, 260, 300, 1000] {
        let gguf = open(Shape { vocab, ..small() }, Formats::all(Format::Q1_0), 1);
        let tokens: Vec<_> = gguf.array("tokenizer.ggml.tokens").unwrap().iter().collect();
        let tokens: Vec<&str> = tokens.iter().map(|token| token.as_string().unwrap()).collect();
        assert_eq!(tokens.len(), vocab as usize);
        assert_eq!(gguf.array("tokenizer.ggml.token_type").unwrap().len(), u64::from(vocab));
        let mut once = tokens.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), tokens.len(), "every token is there once");
        // What merges make is there, and what they make it of.
        for merge in gguf.array("tokenizer.ggml.merges").unwrap().iter() {
            let (left, right) = merge.as_string().unwrap().split_once(' ').unwrap();
            assert!([left, right, &format!("{left}{right}")].iter().all(|token| tokens.contains(token)), "{merge}");
        }
        match gguf.integer("tokenizer.ggml.eos_token_id") {
            Ok(end) => assert_eq!(tokens[end as usize], "<|im_end|>"),
            Err(_) => assert!(vocab < 259),
        }
    }
}
