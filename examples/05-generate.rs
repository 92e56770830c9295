//! A language model as an engine author gets it: load, take in a prompt, generate, go back, fork; and the pieces of a layer on
//! a queue or in a graph.
//!
//! `cargo run --features text --example 05-generate`, or with a file of your own after `--`.

use std::error::Error;
use std::path::PathBuf;

use warpwright::Buffer;
use warpwright::gguf::Gguf;
use warpwright::kernel::Kernels;
use warpwright::launch::Graph;
use warpwright::model::{
    Activations, Config, KvCache, KvFormat, Loader, MemoryNeed, Model, ModelError, Sampling, Session, SessionOptions,
};
use warpwright::text::{TextStream, Tokenizer};
use warpwright_emulator::driver::{Choice, select};

const PROMPT: &str = "47+58=";

fn main() -> Result<(), Box<dyn Error>> {
    // On a GPU if there is one, else on the emulator. An engine with a context of its own takes that.
    select(Choice::Auto)?;
    let context = warpwright::device::open(0)?;
    let kernels = Kernels::load(&context)?;
    let stream = context.new_stream()?;

    let shipped = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/adder-q1_0.gguf");
    let gguf = Gguf::open(std::env::args_os().nth(1).map_or_else(shipped, PathBuf::from))?;
    let config = Config::read(&gguf)?;

    // What will it take, before anything is allocated?
    let options = SessionOptions::new(config.context.min(4096) as usize);
    let need = MemoryNeed::of(&gguf, &options)?;
    need.check(&config, &options, warpwright::device::free_memory(&stream)?)?;
    println!("{need}");

    let mut bytes = 0;
    let mut progress = |more| bytes += more;
    let model = Model::from_loader(&mut Loader::new(&gguf, &stream, &mut progress), &kernels)?;
    println!("{bytes} bytes uploaded, {} layers", model.layers().len());

    // A prompt, and what the model says after it: an iterator over tokens, one launch of a graph each.
    let tokenizer = Tokenizer::from_gguf(&gguf, config.vocab)?;
    let mut session = Session::new(&model, &stream, options)?;
    session.extend(&tokenizer.prompt(PROMPT)?)?;
    let prompt = session.len();
    let mut text = TextStream::new(&tokenizer);
    print!("{PROMPT}");
    for chosen in session.generate().take(16) {
        print!("{}", text.push(chosen?.token)?);
        if text.stop().is_some() {
            break;
        }
    }
    println!("{}", text.finish());

    // The prompt is computed once: two that go on from it, each in its own way.
    session.truncate(prompt)?;
    session.prefill()?;
    for seed in [1, 2] {
        let mut fork = session.fork()?;
        fork.set_sampling(Sampling { temperature: 1.5, top_k: 5, seed, ..Sampling::default() })?;
        let tokens: Vec<u32> =
            fork.generate().take(3).map(|chosen| Ok(chosen?.token)).collect::<Result<_, ModelError>>()?;
        println!("with seed {seed}: {tokens:?}");
    }

    // An engine that chooses by itself reads the logits and says what comes next.
    let logits = session.logits()?;
    let best = (0..config.vocab).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).expect("a token");
    session.choose(best)?;
    session.step()?;

    // The pieces: one layer for three tokens, first on a queue, then recorded into a graph.
    let rows = 3;
    let layer = &model.layers()[0];
    let position = Buffer::from_host(&stream, &[0u32])?;
    let states = vec![0.5f32; rows * config.hidden as usize];
    let run = |recorded: bool| -> Result<Vec<f32>, ModelError> {
        let mut hidden = Buffer::from_host(&stream, &states)?;
        let mut cache = KvCache::new(&stream, &config, 16, KvFormat::F16)?;
        let mut activations = Activations::new(&stream, &config, rows as u32)?;
        if recorded {
            let graph = Graph::record(&kernels, |graph| {
                Ok(layer.forward(graph, &mut hidden, &position, rows as u32, &mut cache, &mut activations)?)
            })?;
            graph.launch(&stream)?;
        } else {
            let queue = kernels.on(&stream);
            layer.forward(&queue, &mut hidden, &position, rows as u32, &mut cache, &mut activations)?;
        }
        Ok(hidden.read()?)
    };
    assert_eq!(run(false)?, run(true)?);
    println!("05-generate: done");
    Ok(())
}
