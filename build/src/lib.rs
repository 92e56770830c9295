//! Compiles the CUDA kernels of a crate to PTX, and writes down what its launchers need to know.
//!
//! A crate with kernels has `warpwright-build` among its build-dependencies and a build script of one line:
//!
//! ```no_run
//! warpwright_build::compile("kernels");
//! ```
//!
//! Every `.cu` file in the folder becomes a module of the crate through `warpwright::kernels!()`.
//!
//! # The way of a kernel
//!
//! [`compile`] hashes each source with all that it includes. If the crate's `kernels/prebuilt/` or the last build has
//! PTX made from the same bytes with the same flags, that is used, and no CUDA toolkit is needed. Otherwise nvcc runs.
//!
//! The signature of a kernel has three witnesses, which have to agree: the mangled name in the PTX, which the compiler
//! wrote with every typedef and macro resolved (`signature`); the list of parameters in the PTX, which has their sizes
//! (`ptx`); and the source, which has their names, the documentation and the rules of the contract (`source`,
//! [`contract`]). What comes of it is a [`manifest`], from which the macros make launchers.

pub mod contract;
pub mod expression;
pub mod manifest;
pub mod names;
pub mod target;
pub mod types;

mod diagnostic;
mod inputs;
mod kernels;
mod locate;

#[cfg(feature = "compile")]
mod headers;
#[cfg(feature = "compile")]
mod modules;
#[cfg(feature = "compile")]
mod ptx;
#[cfg(feature = "compile")]
mod signature;
#[cfg(feature = "compile")]
mod source;
#[cfg(feature = "compile")]
mod toolkit;
#[cfg(feature = "compile")]
mod witnesses;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use kernels::{Prebuilt, build, check_prebuilt, compile, write_prebuilt};
pub use locate::{ToolkitNotFound, find_nvcc};
#[cfg(feature = "compile")]
pub use ptx::version as ptx_version;
#[cfg(feature = "compile")]
pub use toolkit::Toolkit;
