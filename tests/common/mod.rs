//! What the tests share: the device, files, random numbers, a reference of the whole model, and a writer of models.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(unreachable_pub, reason = "it is private to each test")]

pub mod blocks;
pub mod random_model;
pub mod reference;

use std::path::PathBuf;

use warpwright::kernel::Kernels;
use warpwright::{Buffer, Context, Stream};
use warpwright_emulator::checks::Checks;
use warpwright_emulator::driver::{Choice, Selected, select};

/// What the emulator checks: everything but leaks, since tests end with what they have.
const CHECKS: Checks = Checks { leaks: false, ..Checks::ALL };

/// The driver that the tests run on: `WARPWRIGHT_DEVICE` says `auto` (a GPU if there is one), `gpu` or `emulator`.
pub fn driver() -> Selected {
    let choice = std::env::var("WARPWRIGHT_DEVICE").map_or(Ok(Choice::Auto), |name| name.parse());
    let driver = select(choice.expect("WARPWRIGHT_DEVICE")).expect("a CUDA driver, real or emulated");
    driver.set_checks(CHECKS);
    driver
}

/// A device with the kernels, and a stream of its own.
pub struct Device {
    pub context: Context,
    pub kernels: Kernels,
    pub stream: Stream,
}

impl Device {
    pub fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Buffer<T> {
        Buffer::from_host(&self.stream, values).unwrap()
    }

    /// A buffer of NaN.
    pub fn poisoned(&self, elements: usize) -> Buffer<f32> {
        self.upload(&vec![f32::NAN; elements])
    }
}

pub fn device() -> Device {
    driver();
    let context = warpwright::device::open(0).expect("a device");
    let kernels = Kernels::load(&context).expect("kernels");
    let stream = context.new_stream().expect("a stream");
    Device { context, kernels, stream }
}

/// The folder that has `models` and `tests`: the repository, or what `WARPWRIGHT_ROOT` says.
pub fn root() -> PathBuf {
    std::env::var_os("WARPWRIGHT_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// A file of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    root().join("tests/data").join(name)
}

/// The model that ships in a 1-bit format.
pub fn adder() -> PathBuf {
    root().join("models/adder-q1_0.gguf")
}

/// The model that ships in a ternary format.
pub fn ternary_adder() -> PathBuf {
    root().join("models/adder-tq2_0.gguf")
}

/// Sums that the shipped models were not trained on: what it is asked, and the answer.
pub fn held_out_sums() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("models/adder-heldout.txt")).expect("the held-out sums");
    text.lines()
        .map(|line| {
            let at = line.find('=').expect("a sum") + 1;
            (line[..at].to_owned(), line[at..].to_owned())
        })
        .collect()
}

/// The token that ends an answer of the shipped model.
pub const ADDER_END: u32 = 13;

/// The tokens of a sum, in the shipped model's vocabulary.
pub fn adder_tokens(text: &str) -> Vec<u32> {
    text.chars().map(|c| "0123456789+=".find(c).expect("a token") as u32).collect()
}

/// Reproducible random numbers.
pub struct Random(fastrand::Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Roughly normal, mean 0 and deviation 1.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.0.f32()).sum::<f32>() - 6.0
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        self.0.u32(0..limit)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.u8(..)).collect()
    }
}

/// The largest |a - b|; NaN counts as infinite.
pub fn largest_difference(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "as many numbers");
    let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.map(|d| if d.is_nan() { f64::INFINITY } else { d }).fold(0.0, f64::max)
}

/// The largest |x|.
pub fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |largest, x| x.abs().max(largest))
}

/// Fails if two vectors differ by more than `tolerance` of the largest element that is expected.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    let error = largest_difference(found, expected);
    assert!(error <= tolerance * largest(expected).max(1e-30), "{what}: off by {error:.3e}");
}
