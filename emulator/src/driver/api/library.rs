//! Libraries, which are loaded into each context that uses them, and their kernels.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::function::{check_preference, give_name, give_parameter};
use super::module::{give_global, read_file};
use super::{driver_api, give, text};
use crate::driver::code::{Code, Result};
use crate::driver::context::Context;
use crate::driver::device::Device;
use crate::driver::fatbin::{self, Refusal};
use crate::driver::handle::Handle;
use crate::driver::jit::Options;
use crate::driver::module::{KERNELS, LIBRARIES, Library, describe};
use crate::profile::Profile;

/// The number of `CUlibraryOption`.
const LIBRARY_OPTIONS: c_int = 2;

/// Checks the options of a library itself. A copy of the code is made in any case, so that it is preserved is allowed.
///
/// # Safety
/// There are `count` options.
unsafe fn check_options(options: *const c_int, count: c_uint) -> Result<()> {
    if options.is_null() && count > 0 {
        return Err(Code::INVALID_VALUE);
    }
    for n in 0..count as usize {
        // SAFETY: the caller's word.
        match unsafe { options.add(n).read() } {
            // Functions and variables of the host are not linked with those of a device.
            0 => return Err(Code::NOT_SUPPORTED),
            1..LIBRARY_OPTIONS => {}
            _ => return Err(Code::INVALID_VALUE),
        }
    }
    Ok(())
}

/// Loads the PTX that `source` finds, for the device of the current context, or for the first one.
///
/// # Safety
/// The logs of the options are as the driver API documents them.
unsafe fn load<'a>(
    options: &Options,
    source: impl FnOnce(&Profile) -> std::result::Result<std::borrow::Cow<'a, str>, Refusal>,
) -> Result<Handle> {
    let profile = match Context::current() {
        Ok(context) => &context.device.profile,
        Err(_) => &Device::get(0)?.profile,
    };
    let work = || Library::load(&source(profile)?, options.max_registers, profile);
    // SAFETY: the caller's word.
    let (handle, _) = unsafe { options.finish(profile, work, |(_, loaded)| describe(loaded.prototype())) }?;
    Ok(handle)
}

driver_api! {
    fn cuLibraryLoadData(
        library: *mut Handle,
        code: *const c_void,
        jit_options: *const c_int,
        jit_values: *mut *mut c_void,
        jit_count: c_uint,
        options: *const c_int,
        _values: *mut *mut c_void,
        count: c_uint,
    ) {
        check_options(options, count)?;
        let options = Options::read(jit_count, jit_options, jit_values)?;
        give(library, load(&options, |profile| fatbin::ptx_at(code, profile))?)
    }

    fn cuLibraryLoadFromFile(
        library: *mut Handle,
        path: *const c_char,
        jit_options: *const c_int,
        jit_values: *mut *mut c_void,
        jit_count: c_uint,
        options: *const c_int,
        _values: *mut *mut c_void,
        count: c_uint,
    ) {
        check_options(options, count)?;
        let options = Options::read(jit_count, jit_options, jit_values)?;
        let image = read_file(path)?;
        give(library, load(&options, |profile| fatbin::ptx_in(&image, profile))?)
    }

    fn cuLibraryUnload(library: Handle) {
        LIBRARIES.remove(library)?.unload();
        Ok(())
    }

    fn cuLibraryGetKernel(kernel: *mut Handle, library: Handle, name: *const c_char) {
        give(kernel, LIBRARIES.get(library)?.kernel(text(name)?)?)
    }

    fn cuLibraryGetKernelCount(count: *mut c_uint, library: Handle) {
        give(count, LIBRARIES.get(library)?.kernels().len() as c_uint)
    }

    fn cuLibraryEnumerateKernels(kernels: *mut Handle, count: c_uint, library: Handle) {
        let library = LIBRARIES.get(library)?;
        if kernels.is_null() || count == 0 {
            return Err(Code::INVALID_VALUE);
        }
        for (n, kernel) in library.kernels().iter().take(count as usize).enumerate() {
            kernels.add(n).write(*kernel);
        }
        Ok(())
    }

    fn cuLibraryGetModule(module: *mut Handle, library: Handle) {
        give(module, LIBRARIES.get(library)?.module()?.0)
    }

    fn cuLibraryGetGlobal(address: *mut u64, bytes: *mut usize, library: Handle, name: *const c_char) {
        let library = LIBRARIES.get(library)?;
        give_global(&library.module()?.1, text(name)?, address, bytes)
    }

    fn cuLibraryGetManaged(_address: *mut u64, _bytes: *mut usize, library: Handle, name: *const c_char) {
        // The emulator loads no module that has managed variables.
        LIBRARIES.get(library)?;
        text(name)?;
        Err(Code::NOT_FOUND)
    }

    fn cuLibraryGetUnifiedFunction(_function: *mut *mut c_void, library: Handle, name: *const c_char) {
        LIBRARIES.get(library)?;
        text(name)?;
        Err(Code::NOT_FOUND)
    }

    fn cuKernelGetFunction(function: *mut Handle, kernel: Handle) {
        Context::current()?;
        give(function, KERNELS.get(kernel)?.function()?)
    }

    fn cuKernelGetLibrary(library: *mut Handle, kernel: Handle) {
        let owner = KERNELS.get(kernel)?.library()?;
        let found = LIBRARIES.find(|library| std::sync::Arc::ptr_eq(library, &owner));
        give(library, found.ok_or(Code::INVALID_HANDLE)?)
    }

    fn cuKernelGetAttribute(value: *mut c_int, attribute: c_int, kernel: Handle, device: c_int) {
        let profile = &Device::get(device)?.profile;
        give(value, KERNELS.get(kernel)?.attribute(attribute, profile)?)
    }

    fn cuKernelSetAttribute(attribute: c_int, value: c_int, kernel: Handle, device: c_int) {
        let profile = &Device::get(device)?.profile;
        KERNELS.get(kernel)?.set_attribute(attribute, value, profile)
    }

    fn cuKernelSetCacheConfig(kernel: Handle, config: c_int, device: c_int) {
        Device::get(device)?;
        KERNELS.get(kernel)?;
        check_preference(config, 3)
    }

    fn cuKernelGetName(name: *mut *const c_char, kernel: Handle) {
        KERNELS.get(kernel)?.with_program(|program| give_name(name, &program.name))?
    }

    fn cuKernelGetParamInfo(kernel: Handle, index: usize, offset: *mut usize, size: *mut usize) {
        KERNELS.get(kernel)?.with_program(|program| give_parameter(&program.parameters, index, offset, size))?
    }
}
