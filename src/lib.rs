//! CUDA kernels authored for Rust.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The macros write paths that start with `::warpwright`, also for the kernels of this crate itself.
extern crate self as warpwright;

pub mod buffer;
pub mod device;
pub mod gguf;
pub mod launch;
pub mod model;
pub mod quant;
pub mod types;

/// A CUDA context, counted: [`cudarc::driver::CudaContext`].
pub type Context = std::sync::Arc<cudarc::driver::CudaContext>;
/// A CUDA stream, counted: [`cudarc::driver::CudaStream`].
pub type Stream = std::sync::Arc<cudarc::driver::CudaStream>;

pub use buffer::Buffer;
pub use warpwright_macros::kernels;

/// The kernels of Warpwright itself.
pub mod kernel {
    crate::kernels!();
}
