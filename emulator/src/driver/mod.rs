//! The CUDA driver API on top of the emulator, and how a process comes to use it.
//!
//! The shared library built from this crate exports the functions of `api`. They check their arguments, look handles up
//! (a handle is a number that is never used twice, so one that was destroyed is known for what it is) and put work into
//! streams. Every stream has a queue (`engine`), from which one thread takes what is ready, piece by piece; events, the
//! legacy default stream and values in memory are what work waits for, and functions of the host run beside.
//!
//! Devices (`device`) have the properties of real GPUs and memory with addresses of their own. `allocation` knows all that
//! programs have allocated. The checks at the side of the host are in `checking` (leaks, sources of copies that change,
//! host memory that is freed in use), `guard` (results that are used before they are there) and `order` (memory of pools
//! that is used out of the order of streams).
//!
//! A kernel that faults ends its context: as on a GPU every later call in that context returns the error, and the report
//! goes to the standard error.

mod allocation;
mod api;
mod capture;
mod checking;
mod code;
mod context;
mod counting;
mod device;
mod engine;
mod fatbin;
mod graph;
mod guard;
mod handle;
mod jit;
mod module;
mod operation;
mod order;
mod pool;
mod select;
mod stream;
mod user_object;

pub use select::{Choice, Driver, SelectError, Selected, select};
