//! Any text is a module or an error that names its line; what is a module runs to an end or a fault.
//!
//! `emulator/tests/nvcc` is a good corpus to start from:
//! `cargo +nightly fuzz run load fuzz/corpus/load tests/nvcc -- -max_len=20000`.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use warpwright_emulator::{Device, Launch, Options};

fuzz_target!(|text: &str| -> Corpus {
    // Without threads of its own, and with little memory.
    let device = Device::new(1 << 28, 1);
    let module = match device.load(text) {
        Ok(module) => module,
        Err(error) => {
            assert!((1..=text.split('\n').count() as u32).contains(&error.line), "{error}");
            // Texts that are no PTX at all teach nothing.
            return if text.starts_with(".version") { Corpus::Keep } else { Corpus::Reject };
        }
    };
    for kernel in module.kernels() {
        let bytes = module.parameters(kernel).and_then(|all| all.last()).map_or(0, |last| last.offset + last.size);
        let parameters = vec![0; bytes as usize];
        let launch = Launch { blocks: [1, 1, 1], threads: [40, 1, 1], dynamic_shared: 64, parameters: &parameters };
        let options = Options { instruction_limit: 50_000, ..Options::default() };
        let _ = device.launch_with(&module, kernel, &launch, &options);
    }
    Corpus::Keep
});
