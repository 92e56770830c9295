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
//! PTX made from the same bytes with the same flags, that is used, and no CUDA toolkit is needed. Otherwise nvcc runs,
//! which takes the feature `compile`, on by default; a crate that ships its PTX can do without.
//!
//! The signature of a kernel has three witnesses, which have to agree: the mangled name in the PTX, which the compiler
//! wrote with every typedef and macro resolved (`signature`); the list of parameters in the PTX, which has their sizes
//! (`ptx`); and the source, which has their names, the documentation and the rules of the contract (`source`,
//! [`contract`]). What comes of it is a [`manifest`], from which the macros make launchers.

pub mod contract;
pub mod expression;
pub mod manifest;
pub mod types;

mod diagnostic;
mod folder;
mod inputs;

#[cfg(feature = "compile")]
mod compile;
#[cfg(feature = "compile")]
mod ptx;
#[cfg(feature = "compile")]
mod signature;
#[cfg(feature = "compile")]
mod source;
#[cfg(feature = "compile")]
mod toolkit;

#[cfg(feature = "compile")]
pub use compile::{check_prebuilt, write_prebuilt};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use folder::{Prebuilt, build, compile};
#[cfg(feature = "compile")]
pub use toolkit::{Toolkit, ToolkitNotFound};
