//! The memory that a model and a session need: what is computed before is what is taken, and too little is an error.
//! One test of the device, since that has one count of free memory.

mod common;

use common::random_model::SHAPE;
use common::{adder, device};
use warpwright::device::free_memory;
use warpwright::gguf::Gguf;
use warpwright::model::{Config, KvFormat, MemoryNeed, Model, ModelError, Session, SessionOptions};
use warpwright::quant::Format;
use warpwright::quantize::Formats;
use warpwright::random::{RandomModel, Shape};

#[test]
fn what_is_computed_is_what_is_taken() {
    let device = device();
    let shape = Shape { layers: 3, hidden: 512, ffn: 1024, vocab: 2000, context: 8192, ..SHAPE };
    let random = |formats: Formats, tied| {
        let shape = Shape { tied, ..shape };
        Gguf::from_bytes(RandomModel { shape, formats, seed: 1 }.to_bytes().unwrap()).unwrap()
    };
    let mixed = Formats { output: Some(Format::Q8_0), ..Formats::all(Format::Tq2_0) };
    let files = [
        Gguf::open(adder()).unwrap(),
        random(Formats::all(Format::Q1_0), true),
        random(mixed, false),
        random(Formats::all(Format::Bf16), false),
    ];
    for (n, gguf) in files.iter().enumerate() {
        let config = Config::read(gguf).unwrap();
        for (kv_format, chunk) in [(KvFormat::F16, 512), (KvFormat::Q8, 16)] {
            let options = SessionOptions { kv_format, chunk, ..SessionOptions::new(config.context as usize) };
            let need = MemoryNeed::of(gguf, &options).unwrap();
            let before = free_memory(&device.stream).unwrap();
            let model = Model::load(gguf, &device.kernels, &device.stream).unwrap();
            device.stream.synchronize().unwrap();
            let loaded = free_memory(&device.stream).unwrap();
            let session = Session::new(&model, &device.stream, options).unwrap();
            device.stream.synchronize().unwrap();
            let after = free_memory(&device.stream).unwrap();
            for (what, taken, computed) in [
                ("weights", before - loaded, need.weights),
                ("session", loaded - after, need.kv_cache + need.activations),
            ] {
                // Each buffer takes whole pages, of 2 MiB on a GPU.
                let error = taken.abs_diff(computed) as f64;
                assert!(error <= 0.02 * computed as f64 + 65536.0, "{n}, {what}: {taken} bytes, and not {computed}");
            }
            drop((session, model));
            device.stream.synchronize().unwrap();
        }
    }
}

#[test]
fn too_little_memory_is_an_error_that_says_what_fits() {
    let gguf = Gguf::open(adder()).unwrap();
    let config = Config::read(&gguf).unwrap();
    let options = SessionOptions::new(64);
    let need = MemoryNeed::of(&gguf, &options).unwrap();
    let with = |context| MemoryNeed::of(&gguf, &SessionOptions { context, ..options }).unwrap().total();
    assert_eq!(need.check(&config, &options, need.total()), Ok(()));
    // One byte too little: the context before; and what fits, fits, and no more does.
    for free in [need.total() - 1, with(33), with(33) - 1, with(1)] {
        let error = need.check(&config, &options, free).unwrap_err();
        let ModelError::Memory { fits: Some(fits), context: 64, .. } = error else { panic!("{error:?}") };
        assert!(with(fits as usize) <= free && with(fits as usize + 1) > free, "{fits} of {free}");
    }
    let none = need.check(&config, &options, with(1) - 1).unwrap_err();
    assert!(matches!(none, ModelError::Memory { fits: None, .. }), "{none}");
    assert!(none.to_string().contains("the weights alone are too large"), "{none}");
    let error = need.check(&config, &options, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("1.00 MiB of device memory that are free"), "{error}");
}
