//! Modules.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::{driver_api, give, text};
use crate::driver::code::{Code, Result};
use crate::driver::context::Context;
use crate::driver::engine::ENGINE;
use crate::driver::fatbin::{self, Refusal};
use crate::driver::handle::Handle;
use crate::driver::jit::Options;
use crate::driver::module::{LoadedModule, MODULES, describe};
use crate::profile::Profile;

/// Loads the PTX that `source` finds for the device of the current context.
///
/// # Safety
/// The logs of the options are as the driver API documents them.
unsafe fn load<'a>(
    options: &Options,
    source: impl FnOnce(&Profile) -> std::result::Result<std::borrow::Cow<'a, str>, Refusal>,
) -> Result<Handle> {
    let context = Context::current()?;
    let profile = &context.device.profile;
    let work = || LoadedModule::load(&context, &source(profile)?, options.max_registers);
    // SAFETY: the caller's word.
    let module = unsafe { options.finish(profile, work, |loaded| describe(&loaded.module)) }?;
    Ok(MODULES.insert(Arc::new(module)))
}

/// The bytes of a file.
///
/// # Safety
/// `path` is null or ends in NUL.
pub(super) unsafe fn read_file(path: *const c_char) -> Result<Vec<u8>> {
    // SAFETY: the caller's word.
    std::fs::read(unsafe { text(path) }?).map_err(|_| Code::FILE_NOT_FOUND)
}

driver_api! {
    fn cuModuleLoad(module: *mut Handle, path: *const c_char) {
        Context::current()?;
        let image = read_file(path)?;
        give(module, load(&Options::default(), |profile| fatbin::ptx_in(&image, profile))?)
    }

    fn cuModuleLoadData(module: *mut Handle, image: *const c_void) {
        give(module, load(&Options::default(), |profile| fatbin::ptx_at(image, profile))?)
    }

    fn cuModuleLoadDataEx(
        module: *mut Handle,
        image: *const c_void,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) {
        let options = Options::read(count, options, values)?;
        give(module, load(&options, |profile| fatbin::ptx_at(image, profile))?)
    }

    fn cuModuleLoadFatBinary(module: *mut Handle, image: *const c_void) {
        give(module, load(&Options::default(), |profile| fatbin::ptx_at(image, profile))?)
    }

    fn cuModuleUnload(module: Handle) {
        Context::current()?;
        let module = MODULES.remove(module)?;
        // As the driver does, so that kernels which were launched before are run.
        ENGINE.wait_for(&module.context);
        module.unload();
        Ok(())
    }

    fn cuModuleGetLoadingMode(mode: *mut c_int) {
        // eager: a module is whole when it is loaded
        give(mode, 1)
    }

    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) {
        give(function, MODULES.get(module)?.function(text(name)?)?)
    }

    fn cuModuleGetFunctionCount(count: *mut c_uint, module: Handle) {
        give(count, MODULES.get(module)?.module.kernels().count() as c_uint)
    }

    fn cuModuleEnumerateFunctions(functions: *mut Handle, count: c_uint, module: Handle) {
        let module = MODULES.get(module)?;
        if functions.is_null() || count == 0 {
            return Err(Code::INVALID_VALUE);
        }
        for n in 0..module.module.kernels().count().min(count as usize) {
            functions.add(n).write(module.function_at(n));
        }
        Ok(())
    }

    fn cuModuleGetGlobal_v2(address: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) {
        give_global(&*MODULES.get(module)?, text(name)?, address, bytes)
    }

    fn cuModuleGetTexRef(_reference: *mut Handle, module: Handle, name: *const c_char) {
        // The emulator loads no module that has textures.
        MODULES.get(module)?;
        text(name)?;
        Err(Code::NOT_FOUND)
    }

    fn cuModuleGetSurfRef(_reference: *mut Handle, module: Handle, name: *const c_char) {
        MODULES.get(module)?;
        text(name)?;
        Err(Code::NOT_FOUND)
    }
}

/// Gives where a variable of a module is, and its size; what is null is not wanted.
///
/// # Safety
/// `address` and `bytes` are null or valid for writes.
pub(super) unsafe fn give_global(
    module: &LoadedModule,
    name: &str,
    address: *mut u64,
    bytes: *mut usize,
) -> Result<()> {
    let (at, size) = module.module.global(name).ok_or(Code::NOT_FOUND)?;
    // SAFETY: the caller's word.
    unsafe {
        if !address.is_null() {
            address.write(at);
        }
        if !bytes.is_null() {
            bytes.write(size as usize);
        }
    }
    Ok(())
}
