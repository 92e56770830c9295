//! CUDA kernels authored for Rust.
//!
//! Drop a `.cu` file into `kernels/`, and it is a module of your crate: a struct for each kernel, with the kernel's
//! parameters as its fields, whose launch the Rust compiler checks. CUDA is compiled to PTX ahead of time, so neither
//! nvcc nor NVRTC is needed where the crate is used. A kernel that states what it needs (its contract) and whose author
//! signs that is *safe* to launch: what does not hold is a typed error, before anything reaches the device.
//!
//! ```no_run
//! use warpwright::kernel::{Kernels, rms_norm::RmsNorm};
//! use warpwright::Buffer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = warpwright::device::open(0)?;
//! let kernels = Kernels::load(&context)?;
//! let stream = context.new_stream()?;
//! let queue = kernels.on(&stream);
//!
//! let x = Buffer::from_host(&stream, &[3.0f32, 4.0])?;
//! let weight = Buffer::from_host(&stream, &[1.0f32, 1.0])?;
//! let mut out = Buffer::zeroed(&stream, 2)?;
//! RmsNorm { x: &x, weight: &weight, out: &mut out, rows: 1, dim: 2, eps: 1e-6 }.launch(&queue)?;
//! println!("{:?}", out.read()?);
//! # Ok(())
//! # }
//! ```
//!
//! # Parts
//!
//! - [`kernels!`] makes launchers of the kernels of your crate; [`kernel`] holds those of Warpwright itself.
//! - [`launch`] is what they are built on: queues, checked arguments, and graphs that keep what they name.
//! - [`Buffer`] is device memory; cudarc's slices, views, streams and contexts can be used beside it.
//! - [`gguf`], [`quant`] and [`model`] run language models of the Qwen3 architecture with 1-bit weights. These and
//!   [`kernel`] are the feature `models`, which is on by default.
//! - [`launch::Timeline`] measures each launch of anything, and [`ceilings`] what the device could do at most.
//! - `text` (a feature of its own) has the tokenizer and the chat template of a model's file.
//!
//! Everything works on a context and streams that an engine has already; nothing is kept for the whole process.
//!
//! # Your own kernels
//!
//! ```toml
//! [dependencies]
//! warpwright = "0.1"
//! [build-dependencies]
//! warpwright-build = "0.1"
//! ```
//!
//! ```ignore
//! // build.rs
//! fn main() {
//!     warpwright_build::compile("kernels");
//! }
//! ```
//!
//! ```ignore
//! // src/main.rs, with kernels/axpy.cu
//! warpwright::kernels!();
//! use axpy::Axpy;
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

// The macros write paths that start with `::warpwright`, also for the kernels of this crate itself.
extern crate self as warpwright;

pub mod buffer;
#[cfg(feature = "models")]
pub mod ceilings;
pub mod device;
#[cfg(feature = "models")]
pub mod gguf;
pub mod launch;
#[cfg(feature = "models")]
pub mod model;
#[cfg(feature = "models")]
pub mod quant;
#[cfg(feature = "models")]
pub mod quantize;
#[cfg(feature = "models")]
pub mod random;
#[cfg(feature = "text")]
pub mod text;
pub mod types;

/// A CUDA context, counted: [`cudarc::driver::CudaContext`].
pub type Context = std::sync::Arc<cudarc::driver::CudaContext>;
/// A CUDA stream, counted: [`cudarc::driver::CudaStream`].
pub type Stream = std::sync::Arc<cudarc::driver::CudaStream>;

pub use buffer::Buffer;
pub use warpwright_macros::kernels;

/// The kernels of Warpwright itself.
#[cfg(feature = "models")]
pub mod kernel {
    crate::kernels!();
}
