//! The exported functions, with the names and signatures of `cuda.h`.
//!
//! Each checks its arguments as the driver does, and returns its error codes. Pointers are the caller's word: a null one
//! where a value is to be written is an error, others are used as the driver API documents.
#![allow(non_snake_case, reason = "the names are those of the driver API")]
#![allow(clippy::missing_safety_doc, reason = "each function is documented by NVIDIA's driver API")]
#![allow(missing_docs, reason = "each function is documented by NVIDIA's driver API")]
#![allow(unreachable_pub, reason = "they are reached through the shared library")]

mod any_node;
mod capture;
mod checks;
mod context;
mod copy;
mod counters;
mod device;
mod error;
mod event;
mod function;
mod graph;
mod launch;
mod legacy;
mod library;
mod link;
mod memory;
mod module;
mod node;
mod stream;
mod tensor_map;

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::sync::{Mutex, PoisonError};

use super::code::{Code, Result};
use super::operation::HostFunction;

/// How often each function was called.
static CALLS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());

/// What a function may call that a stream has called: nothing that could wait for that stream.
const IN_HOST_FUNCTIONS: [&str; 3] = ["cuGetErrorName", "cuGetErrorString", "cuDriverGetVersion"];

/// Counts the call and runs the body of a function; a panic there is an error, not undefined behaviour.
fn enter(name: &'static str, body: impl FnOnce() -> Result<()>) -> Code {
    *CALLS.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    if HostFunction::is_running() && !IN_HOST_FUNCTIONS.contains(&name) {
        return Code::NOT_PERMITTED;
    }
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(Ok(())) => Code::SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => Code::UNKNOWN,
    }
}

/// How often a function of the driver API was called in this process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warpwright_emulator_calls(name: *const c_char) -> u64 {
    if name.is_null() {
        return 0;
    }
    // SAFETY: the caller gives a string that ends in NUL.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default();
    CALLS.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(0)
}

/// Defines exported functions whose bodies return a `Result`. What follows `as` is the name of the same function for
/// programs to which the null stream is the calling thread's own default stream.
macro_rules! driver_api {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(as $per_thread:ident)? $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $crate::driver::code::Code {
            $crate::driver::api::enter(stringify!($name), || {
                #[allow(unused_unsafe, reason = "some bodies need none")]
                // SAFETY: pointers are the caller's word, as the driver API documents them.
                unsafe { $body }
            })
        }

        $crate::driver::api::per_thread!($name($($argument: $type),*) $(as $per_thread)?);
    )*};
}
use driver_api;

/// Defines the function that follows `as` in [`driver_api!`].
macro_rules! per_thread {
    ($name:ident($($arguments:tt)*)) => {};
    ($name:ident($($argument:ident: $type:ty),*) as $per_thread:ident) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $per_thread($($argument: $type),*) -> $crate::driver::code::Code {
            $crate::driver::stream::with_per_thread_default(|| {
                // SAFETY: the arguments are handed on.
                unsafe { $name($($argument),*) }
            })
        }
    };
}
use per_thread;

/// Writes a result through a pointer of the caller.
///
/// # Safety
/// `to` is null, or valid for writes.
unsafe fn give<T>(to: *mut T, value: T) -> Result<()> {
    if to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    unsafe { to.write(value) };
    Ok(())
}

/// A string of the caller.
///
/// # Safety
/// `text` is null, or ends in NUL and outlives the result.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a str> {
    if text.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Code::INVALID_VALUE)
}
