//! Any bytes are a GGUF file or an error that says what is wrong; what is a file can be walked through.
//!
//! `tests/data` is a good corpus to start from:
//! `cargo +nightly fuzz run gguf fuzz/corpus/gguf tests/data -- -max_len=20000`. For files that claim what they have not,
//! `-rss_limit_mb=256` is a limit that they have to keep.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use warpwright::gguf::{Gguf, GgufError, OpenOptions, Q2Layout};
use warpwright::model::Config;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(b"GGUF") {
        return Corpus::Reject;
    }
    let read = |q2_0| Gguf::from_bytes_with(bytes.to_vec(), &OpenOptions { q2_0 });
    let explained = || Q2Layout::ALL.into_iter().find_map(|layout| read(Some(layout)).ok());
    let gguf = match read(None) {
        Ok(gguf) => gguf,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let ambiguous = matches!(error, GgufError::Q2Ambiguous { .. });
            let Some(gguf) = explained().filter(|_| ambiguous) else { return Corpus::Keep };
            gguf
        }
    };
    assert!(gguf.metadata().all(|(_, value)| !value.to_string().is_empty()));
    for tensor in gguf.tensors() {
        let (block, block_bytes) = tensor.ty.block();
        let elements: u64 = tensor.dimensions.iter().product();
        assert!(tensor.data.len() as u64 == elements / block * block_bytes);
        // Blocks are valid whatever they contain.
        if let Some(format) = tensor.ty.format() {
            assert_eq!(format.dequantize(tensor.data).map(|weights| weights.len() as u64), Ok(elements));
        }
    }
    let _ = Config::read(&gguf);
    Corpus::Keep
});
