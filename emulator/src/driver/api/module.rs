//! Modules and functions.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::{driver_api, give, text};
use crate::device::Module;
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, FUNCTIONS, LoadedModule, MODULES};
use crate::driver::handle::Handle;
use crate::driver::operation::report;

/// The newest PTX that is accepted.
const PTX_VERSION: (u32, u32) = (9, 0);

/// Options of `cuModuleLoadDataEx`: the log of errors, and how long it may be. The information log stays empty.
const INFO_LOG_SIZE: c_int = 4;
const ERROR_LOG: c_int = 5;
const ERROR_LOG_SIZE: c_int = 6;

/// Loads an image, which has to be PTX. The message says what was wrong with it.
///
/// # Safety
/// `image` is text that ends in NUL, or starts with the signature of another kind of image.
unsafe fn load(image: *const c_void) -> std::result::Result<Handle, (Code, String)> {
    let context = Context::current().map_err(|code| (code, String::new()))?;
    if image.is_null() {
        return Err((Code::INVALID_VALUE, "there is no image".to_owned()));
    }
    let starts_with = |signature: &[u8]| {
        // SAFETY: the caller's word; text of fewer bytes ends (with NUL) before the others are read.
        signature.iter().enumerate().all(|(n, byte)| unsafe { image.cast::<u8>().add(n).read() == *byte })
    };
    if starts_with(b"\x7fELF") || starts_with(&[0x50, 0xed, 0x55, 0xba]) {
        return Err((Code::NO_BINARY_FOR_GPU, "the image is compiled code: the emulator runs PTX only".to_owned()));
    }
    // SAFETY: the caller's word.
    let source = unsafe { CStr::from_ptr(image.cast()) };
    let source = source.to_str().map_err(|_| (Code::INVALID_IMAGE, "the image is not text".to_owned()))?;
    let loaded = Module::load(source, &context.device.memory);
    let module = loaded.map_err(|error| (Code::INVALID_PTX, error.to_string()))?;
    let (version, (target, suffix)) = (module.version(), module.target());
    if version > PTX_VERSION {
        let message = format!("PTX {}.{} is newer than the driver ({PTX_VERSION:?})", version.0, version.1);
        return Err((Code::UNSUPPORTED_PTX_VERSION, message));
    }
    let profile = &context.device.profile;
    if !profile.accepts(target, suffix) {
        let message =
            format!("the target sm_{target}{suffix} does not fit the device, which is sm_{}", profile.target());
        return Err((Code::INVALID_PTX, message));
    }
    Ok(MODULES.insert(Arc::new(LoadedModule {
        context,
        module,
        unloaded: AtomicBool::new(false),
        functions: Mutex::default(),
    })))
}

/// Loads an image and says what was wrong with it on the standard error.
///
/// # Safety
/// As [`load`].
unsafe fn load_or_report(image: *const c_void) -> Result<Handle> {
    // SAFETY: the caller's word.
    unsafe { load(image) }.map_err(|(code, message)| {
        report(&message);
        code
    })
}

driver_api! {
    fn cuModuleLoad(module: *mut Handle, path: *const c_char) {
        let mut image = std::fs::read(text(path)?).map_err(|_| Code::FILE_NOT_FOUND)?;
        image.extend([0; 4]);
        give(module, load_or_report(image.as_ptr().cast())?)
    }

    fn cuModuleLoadData(module: *mut Handle, image: *const c_void) {
        give(module, load_or_report(image)?)
    }

    fn cuModuleLoadDataEx(
        module: *mut Handle,
        image: *const c_void,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) {
        let count = count as usize;
        if count > 0 && (options.is_null() || values.is_null()) {
            return Err(Code::INVALID_VALUE);
        }
        let (mut log, mut log_size) = (std::ptr::null_mut::<u8>(), None);
        for n in 0..count {
            match options.add(n).read() {
                INFO_LOG_SIZE => values.add(n).write(std::ptr::null_mut()),
                ERROR_LOG => log = values.add(n).read().cast(),
                // The size is the value itself, not what it points at.
                ERROR_LOG_SIZE => log_size = Some(n),
                _ => {}
            }
        }
        let result = load(image);
        let message = result.as_ref().err().map_or("", |(_, message)| message);
        if let Some(n) = log_size {
            let room = values.add(n).read() as usize;
            let length = if log.is_null() || room == 0 { 0 } else { message.len().min(room - 1) };
            if !log.is_null() && room > 0 {
                log.copy_from_nonoverlapping(message.as_ptr(), length);
                log.add(length).write(0);
            }
            values.add(n).write(length as *mut c_void);
        } else if !message.is_empty() {
            report(&message);
        }
        give(module, result.map_err(|(code, _)| code)?)
    }

    fn cuModuleUnload(module: Handle) {
        Context::current()?;
        MODULES.remove(module)?.unload();
        Ok(())
    }

    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) {
        give(function, MODULES.get(module)?.function(text(name)?)?)
    }

    fn cuModuleGetGlobal_v2(address: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) {
        let (at, size) = MODULES.get(module)?.module.global(text(name)?).ok_or(Code::NOT_FOUND)?;
        if !address.is_null() {
            address.write(at);
        }
        if !bytes.is_null() {
            bytes.write(size as usize);
        }
        Ok(())
    }

    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: Handle) {
        let function = FUNCTIONS.get(function)?;
        let program = function.module.module.program_at(function.index);
        let (major, minor) = function.module.module.version();
        let of_block = program.required_block.or(program.max_block);
        let known = match attribute {
            0 => of_block.map_or(1024, |block| block.iter().product::<u32>().min(1024) as c_int),
            1 => program.shared_bytes as c_int,
            2 => 0,
            3 => program.local_bytes as c_int,
            // PTX has no registers of the machine: what a kernel of middling size uses
            4 => 32,
            5 => (major * 10 + minor) as c_int,
            6 => function.module.context.device.profile.target() as c_int,
            7 | 10..=17 => 0,
            8 => function.max_dynamic_shared.load(Ordering::Relaxed) as c_int,
            9 => -1,
            _ => return Err(Code::INVALID_VALUE),
        };
        give(value, known)
    }

    fn cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) {
        let function = FUNCTIONS.get(function)?;
        let program = function.module.module.program_at(function.index);
        match attribute {
            // dynamic shared memory: with the static, at most what a block can have
            8 => {
                let bytes = u32::try_from(value).map_err(|_| Code::INVALID_VALUE)?;
                let most = function.module.context.device.profile.shared_per_block_optin;
                if u64::from(bytes) + program.shared_bytes > u64::from(most) {
                    return Err(Code::INVALID_VALUE);
                }
                function.max_dynamic_shared.store(bytes, Ordering::Relaxed);
                Ok(())
            }
            // preferences, which change no result
            9 | 14 | 15 => Ok(()),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuFuncSetCacheConfig(function: Handle, _config: c_int) {
        FUNCTIONS.get(function).map(|_| ())
    }

    fn cuFuncGetModule(module: *mut Handle, function: Handle) {
        let function = FUNCTIONS.get(function)?;
        give(module, MODULES.find(|module| Arc::ptr_eq(module, &function.module)).ok_or(Code::INVALID_HANDLE)?)
    }

    fn cuFuncGetParamInfo(function: Handle, index: usize, offset: *mut usize, size: *mut usize) {
        let function = FUNCTIONS.get(function)?;
        let parameters = &function.module.module.program_at(function.index).parameters;
        let parameter = parameters.get(index).ok_or(Code::INVALID_VALUE)?;
        give(offset, parameter.offset as usize)?;
        if !size.is_null() {
            size.write(parameter.size as usize);
        }
        Ok(())
    }
}
