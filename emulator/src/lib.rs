//! Runs CUDA on the CPU: PTX as `nvcc` writes it, without a GPU and without NVIDIA's driver.
//!
//! The crate is two things. As a library it parses PTX, decodes it and runs it ([`Device`], [`Module`]). As a shared
//! library, built from the same code, it *is* `libcuda.so`: it exports the CUDA driver API, so a program that uses CUDA
//! through the driver API runs on it unchanged. [`driver::select`] makes it the CUDA driver of the calling process.
//!
//! # How it works
//!
//! The text goes through `ptx` (lexer, parser: a syntax tree with every register resolved) into `program`, which decodes
//! each instruction once into a compact operation: a function and the slots of its operands. Registers, constants and
//! special registers are all rows of 32 lanes, so an operation (`ops`) is a loop over 32 lanes that the compiler turns
//! into vector instructions; which ones, the processor decides at run time.
//!
//! `exec` runs operations. A warp is a set of groups of lanes, each group at one program counter; a group runs until it
//! diverges, meets another one, or needs lanes that have not arrived. Warps of a block take turns on one thread and
//! change over at barriers; the blocks of a grid are spread over the processor's cores.
//!
//! Each kernel is decoded with the device functions that it can reach; what no kernel reaches need not be supported.
//! A function has a frame in each lane's local memory, and each lane a stack of calls of its own, so lanes may be in one
//! function at different depths. `vprintf` and `__assertfail`, which the driver has on a GPU, are part of the emulator.
//!
//! Memory is checked at every access (`memory`): an address that is not aligned, or that lies in no allocation, ends the
//! launch with a [`Fault`] that names the instruction, the thread, the address and the nearest allocation.
//!
//! With [`checks`] of kernels or with [`counters`] a launch runs other code: the same operations, where those of interest
//! are executed by `observe`, which looks at their registers and addresses and then has the operation itself executed.
//! Shadow memory knows who wrote and read each byte, and numbers that begin anew at barriers and fences tell what comes
//! before what, by the memory model of PTX. Where nothing is observed, nothing of this costs anything.
//!
//! # Environment
//!
//! The shared library looks at these variables. Without them there is one device of compute capability 9.0 and no check
//! besides those that always are.
//!
//! | variable | what it sets |
//! | --- | --- |
//! | `WARPWRIGHT_EMULATOR_DEVICES` | the devices, as in `sm_90,sm_75`: the numbers are those of [`profile`]s; `sm_75:4096` has 4096 MiB |
//! | `WARPWRIGHT_EMULATOR_CHECKS` | the [`checks`]: `all`, `none`, or names such as `races,leaks`; `all,-leaks` is all but one |
//! | `WARPWRIGHT_EMULATOR_EXIT_CODE` | the code with which the process ends if its report has a [finding](checks::Finding) |
//! | `WARPWRIGHT_EMULATOR_SEED` | a number: lets chance choose among streams that could go on, the same with the same seed |
//! | `WARPWRIGHT_EMULATOR_COUNTERS` | `1` shows [`counters`] of all kernels when the process ends, a path writes them to a file |
//! | `WARPWRIGHT_EMULATOR_ISA` | `baseline` or `avx2`: the most of the processor's instructions that operations may use; of the library too |
//!
//! `WARPWRIGHT_EMULATOR` is the path of the shared library for [`driver::select`], if it is not beside the executable.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod checks;
pub mod counters;
mod device;
pub mod driver;
mod exec;
mod fault;
mod memory;
mod observe;
mod ops;
mod print;
pub mod profile;
mod program;
mod ptx;

pub use device::{Device, Launch, LaunchError, Module};
pub use exec::{Options, Statistics};
pub use fault::{Access, Conflict, Fault, FaultKind, MbarrierMistake};
pub use memory::Nearest;
pub use program::Parameter;
pub use ptx::PtxError;
