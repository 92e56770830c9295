//! Launches as they were before `cuLaunchKernel`: block, shared memory and parameters are set of the function.

use std::ffi::{c_int, c_uint, c_void};

use super::driver_api;
use super::launch::{launch_of, submit};
use crate::driver::code::{Code, Result};
use crate::driver::context::{Stream, locked};
use crate::driver::handle::Handle;
use crate::driver::module::{Function, LegacyLaunch};

/// The largest parameter block, in bytes.
const MAX_PARAMETERS: usize = 32764;

/// Sets bytes of the parameter block.
fn set(function: Handle, offset: c_int, value: &[u8]) -> Result<()> {
    let function = Function::get(function)?;
    let start = usize::try_from(offset).map_err(|_| Code::INVALID_VALUE)?;
    let end = start.checked_add(value.len()).filter(|end| *end <= MAX_PARAMETERS).ok_or(Code::INVALID_VALUE)?;
    let parameters = &mut locked(&function.shape).parameters;
    if parameters.len() < end {
        parameters.resize(end, 0);
    }
    parameters[start..end].copy_from_slice(value);
    Ok(())
}

/// Launches a function as it was set.
fn launch(function: Handle, width: c_int, height: c_int, stream: Handle) -> Result<()> {
    let function = Function::get(function)?;
    let size = |size: c_int| u32::try_from(size).map_err(|_| Code::INVALID_VALUE);
    let blocks = [size(width)?, size(height)?, 1];
    let LegacyLaunch { block, dynamic_shared, ref parameters } = *locked(&function.shape);
    if parameters.len() < function.program().parameter_bytes() {
        return Err(Code::INVALID_VALUE);
    }
    let mut words = vec![0u64; parameters.len().div_ceil(8)];
    for (word, bytes) in words.iter_mut().zip(parameters.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(padded);
    }
    let launch = launch_of(std::sync::Arc::clone(&function), blocks, block, dynamic_shared, words)?;
    submit(&*Stream::get(stream)?, launch)
}

driver_api! {
    fn cuFuncSetBlockShape(function: Handle, x: c_int, y: c_int, z: c_int) {
        let size = |size: c_int| u32::try_from(size).ok().filter(|size| *size > 0).ok_or(Code::INVALID_VALUE);
        let block = [size(x)?, size(y)?, size(z)?];
        locked(&Function::get(function)?.shape).block = block;
        Ok(())
    }

    fn cuFuncSetSharedSize(function: Handle, bytes: c_uint) {
        locked(&Function::get(function)?.shape).dynamic_shared = bytes;
        Ok(())
    }

    fn cuParamSetSize(function: Handle, bytes: c_uint) {
        let function = Function::get(function)?;
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= MAX_PARAMETERS).ok_or(Code::INVALID_VALUE)?;
        locked(&function.shape).parameters.resize(bytes, 0);
        Ok(())
    }

    fn cuParamSeti(function: Handle, offset: c_int, value: c_uint) {
        set(function, offset, &value.to_ne_bytes())
    }

    fn cuParamSetf(function: Handle, offset: c_int, value: f32) {
        set(function, offset, &value.to_ne_bytes())
    }

    fn cuParamSetv(function: Handle, offset: c_int, value: *const c_void, bytes: c_uint) {
        if value.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        set(function, offset, std::slice::from_raw_parts(value.cast(), bytes as usize))
    }

    fn cuLaunch(function: Handle) {
        launch(function, 1, 1, Handle::NULL)
    }

    fn cuLaunchGrid(function: Handle, width: c_int, height: c_int) {
        launch(function, width, height, Handle::NULL)
    }

    fn cuLaunchGridAsync(function: Handle, width: c_int, height: c_int, stream: Handle) {
        launch(function, width, height, stream)
    }
}
