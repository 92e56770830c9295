//! The linker. What comes out is the PTX that went in: one text, since the emulator has no linker for several.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Mutex};

use super::module::read_file;
use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, locked};
use crate::driver::fatbin::{self, Refusal};
use crate::driver::handle::{Handle, Table};
use crate::driver::jit::Options;
use crate::driver::module::{LIBRARIES, Library};
use crate::profile::Profile;

/// `CUjitInputType`
const CUBIN: c_int = 0;
const PTX: c_int = 1;
const FATBIN: c_int = 2;
const OBJECT: c_int = 3;
const LIBRARY: c_int = 4;
const NVVM: c_int = 5;

/// A linker with what it was given so far.
#[derive(Debug)]
struct Linker {
    options: Options,
    profile: &'static Profile,
    /// The PTX, ending in NUL.
    input: Mutex<Option<Vec<u8>>>,
}

static LINKERS: Table<Linker> = Table::new();

impl Linker {
    /// Takes an input, and checks that it can be loaded.
    ///
    /// # Safety
    /// The logs of the options of the linker and of the input are as the driver API documents them.
    unsafe fn add(&self, kind: c_int, bytes: &[u8], options: Option<&Options>) -> Result<()> {
        if !(CUBIN..=NVVM).contains(&kind) {
            return Err(Code::INVALID_VALUE);
        }
        let refuse = |why: &str| Err::<_, Refusal>((Code::NOT_SUPPORTED, why.to_owned()));
        let work = || match kind {
            PTX | FATBIN => {
                let text = fatbin::ptx_in(bytes, self.profile)?;
                let mut input = locked(&self.input);
                if input.is_some() {
                    return refuse("linking several PTX texts to one is not supported: give the linker one");
                }
                let (checked, _) = Library::load(&text, None, self.profile)?;
                LIBRARIES.remove(checked).map_err(|code| (code, String::new()))?.unload();
                let mut ended = text.into_owned().into_bytes();
                ended.push(0);
                *input = Some(ended);
                Ok(())
            }
            OBJECT | LIBRARY => refuse("host objects are not linked: the emulator runs PTX only"),
            NVVM => refuse("link-time code is not linked: the emulator runs PTX only"),
            _ => {
                let why = "compiled code (a cubin) is not linked: the emulator runs PTX only";
                Err((Code::NO_BINARY_FOR_GPU, why.to_owned()))
            }
        };
        // SAFETY: the caller's word.
        unsafe { options.unwrap_or(&self.options).finish(self.profile, work, |()| String::new()) }
    }
}

driver_api! {
    fn cuLinkCreate_v2(count: c_uint, options: *const c_int, values: *mut *mut c_void, state: *mut Handle) {
        let options = Options::read(count, options, values)?;
        let profile = &Context::current()?.device.profile;
        give(state, LINKERS.insert(Arc::new(Linker { options, profile, input: Mutex::default() })))
    }

    fn cuLinkAddData_v2(
        state: Handle,
        kind: c_int,
        data: *const c_void,
        size: usize,
        _name: *const c_char,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) {
        let linker = LINKERS.get(state)?;
        let options = Options::read(count, options, values)?;
        if data.is_null() || size == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let bytes = std::slice::from_raw_parts(data.cast::<u8>(), size);
        linker.add(kind, bytes, Some(&options).filter(|_| count > 0))
    }

    fn cuLinkAddFile_v2(
        state: Handle,
        kind: c_int,
        path: *const c_char,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) {
        let linker = LINKERS.get(state)?;
        let options = Options::read(count, options, values)?;
        linker.add(kind, &read_file(path)?, Some(&options).filter(|_| count > 0))
    }

    fn cuLinkComplete(state: Handle, image: *mut *mut c_void, size: *mut usize) {
        let linker = LINKERS.get(state)?;
        let mut input = locked(&linker.input);
        let nothing = || (Code::INVALID_IMAGE, "there is nothing to link".to_owned());
        let work = || input.as_mut().map(|text| (text.as_mut_ptr(), text.len())).ok_or_else(nothing);
        let (at, length) = linker.options.finish(linker.profile, work, |_| String::new())?;
        // It belongs to the linker, and stays until that is destroyed.
        give(image, at.cast())?;
        if !size.is_null() {
            size.write(length);
        }
        Ok(())
    }

    fn cuLinkDestroy(state: Handle) {
        LINKERS.remove(state).map(|_| ())
    }
}
