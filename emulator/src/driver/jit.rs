//! The options of the compiler and linker in the driver, and the logs that they ask for.

use std::ffi::{c_int, c_uint, c_void};
use std::time::Instant;

use super::code::{Code, Result};
use super::fatbin::Refusal;
use super::operation::report;
use crate::profile::Profile;

/// `CUjit_option`
mod option {
    use std::ffi::c_int;

    pub(super) const MAX_REGISTERS: c_int = 0;
    pub(super) const THREADS_PER_BLOCK: c_int = 1;
    pub(super) const WALL_TIME: c_int = 2;
    pub(super) const INFO_LOG: c_int = 3;
    pub(super) const INFO_LOG_SIZE: c_int = 4;
    pub(super) const ERROR_LOG: c_int = 5;
    pub(super) const ERROR_LOG_SIZE: c_int = 6;
    pub(super) const OPTIMISATION_LEVEL: c_int = 7;
    pub(super) const TARGET: c_int = 9;
    pub(super) const FALLBACK: c_int = 10;
    pub(super) const LOG_VERBOSE: c_int = 12;
    pub(super) const CACHE_MODE: c_int = 14;
    pub(super) const GLOBAL_SYMBOL_COUNT: c_int = 19;
    /// The number of options.
    pub(super) const COUNT: c_int = 35;
}

/// The values of `CUjit_target`, without what marks an accelerated or family target.
const TARGETS: [u32; 23] =
    [30, 32, 35, 37, 50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121];

/// A buffer of the caller for messages, with the place of its size among the option values.
#[derive(Debug, Clone, Copy, Default)]
struct Log {
    at: usize,
    /// The option value that is the room in the buffer, and is overwritten by what is used of it.
    size: Option<usize>,
}

impl Log {
    /// Writes as much of a message as there is room for, and NUL. Whether there is a log at all.
    ///
    /// # Safety
    /// The buffer has as many bytes as the option value says.
    unsafe fn write(self, message: &str) -> bool {
        let Some(size) = self.size else { return false };
        let size = size as *mut usize;
        // SAFETY: it is one of the caller's option values.
        let room = unsafe { size.read() } & c_uint::MAX as usize;
        let fits = if self.at == 0 || room == 0 { 0 } else { message.len().min(room - 1) };
        if self.at != 0 && room > 0 {
            let at = self.at as *mut u8;
            // SAFETY: the caller's word.
            unsafe {
                at.copy_from_nonoverlapping(message.as_ptr(), fits);
                at.add(fits).write(0);
            }
        }
        // SAFETY: as above.
        unsafe { size.write(fits) };
        self.at != 0 && room > 0
    }
}

/// Options as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    info: Log,
    error: Log,
    /// The option value that is overwritten by the milliseconds that were spent.
    wall_time: Option<usize>,
    verbose: bool,
    pub(crate) max_registers: Option<u32>,
    /// The compute capability that is asked for, such as 90.
    target: Option<u32>,
}

impl Options {
    /// Checks options. Their values are the numbers themselves, or what they point at.
    ///
    /// # Safety
    /// There are `count` options and values, which stay until [`finish`](Self::finish).
    pub(crate) unsafe fn read(count: c_uint, options: *const c_int, values: *mut *mut c_void) -> Result<Self> {
        let mut read = Self::default();
        let count = count as usize;
        if count > 0 && (options.is_null() || values.is_null()) {
            return Err(Code::INVALID_VALUE);
        }
        let mut threads = None;
        for n in 0..count {
            // SAFETY: the caller's word.
            let (option, place) = unsafe { (options.add(n).read(), values.add(n)) };
            // SAFETY: as above.
            let value = unsafe { place.read() } as usize;
            let number = value as u32;
            match option {
                option::MAX_REGISTERS => read.max_registers = Some(number).filter(|&number| number > 0),
                option::THREADS_PER_BLOCK => threads = Some(number),
                option::WALL_TIME => read.wall_time = Some(place as usize),
                option::INFO_LOG => read.info.at = value,
                option::INFO_LOG_SIZE => read.info.size = Some(place as usize),
                option::ERROR_LOG => read.error.at = value,
                option::ERROR_LOG_SIZE => read.error.size = Some(place as usize),
                option::OPTIMISATION_LEVEL if number > 4 => return Err(Code::INVALID_VALUE),
                option::TARGET => {
                    let capability = number & 0xFFFF;
                    if !TARGETS.contains(&capability) || number >> 16 > 2 {
                        return Err(Code::INVALID_VALUE);
                    }
                    read.target = Some(capability);
                }
                option::FALLBACK if number > 1 => return Err(Code::INVALID_VALUE),
                option::LOG_VERBOSE => read.verbose = number != 0,
                option::CACHE_MODE if number > 2 => return Err(Code::INVALID_VALUE),
                // Symbols of the host are for textures and for linking with the host, which there is none of.
                option::GLOBAL_SYMBOL_COUNT if number > 0 => return Err(Code::NOT_SUPPORTED),
                // The others change how code is made, not what it does.
                other if (0..option::COUNT).contains(&other) => {}
                _ => return Err(Code::INVALID_VALUE),
            }
        }
        if threads.is_some() && read.target.is_some() {
            return Err(Code::INVALID_VALUE);
        }
        Ok(read)
    }

    /// Checks the target that was asked for, then does the work; writes the logs and the time it took.
    ///
    /// # Safety
    /// As [`read`](Self::read).
    pub(crate) unsafe fn finish<T>(
        &self,
        profile: &Profile,
        work: impl FnOnce() -> std::result::Result<T, Refusal>,
        information: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let started = Instant::now();
        let result = match self.target {
            Some(target) if target > profile.target() => Err((
                Code::NO_BINARY_FOR_GPU,
                format!("the target sm_{target} was asked for, and the device is sm_{}", profile.target()),
            )),
            _ => work(),
        };
        let information = match &result {
            Ok(made) if self.verbose => information(made),
            _ => String::new(),
        };
        let message = result.as_ref().err().map_or("", |(_, message)| message);
        // SAFETY: the caller's word.
        let logged = unsafe {
            self.info.write(&information);
            self.error.write(message)
        };
        if !logged && !message.is_empty() {
            report(&message);
        }
        if let Some(place) = self.wall_time {
            let milliseconds = started.elapsed().as_secs_f64() * 1e3;
            // SAFETY: it is one of the caller's option values, which hold a number in the room of a pointer.
            unsafe { (place as *mut f32).write(milliseconds as f32) };
        }
        result.map_err(|(code, _)| code)
    }
}
