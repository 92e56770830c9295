//! The CUDA driver API on top of the emulator, and how a process comes to use it.
//!
//! The shared library built from this crate exports the functions of `api`. They check their arguments, look handles up
//! (a handle is a number that is never used twice, so one that was destroyed is known for what it is) and put work into
//! the queue of the device, from which one thread takes it in order (`engine`). So streams are in order, everything is
//! asynchronous to the host, and a stream that waits for an event finds it in the past.
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
mod graph;
mod handle;
mod operation;
mod pool;
mod select;
mod stream;

pub use select::{Choice, Driver, SelectError, Selected, select};
