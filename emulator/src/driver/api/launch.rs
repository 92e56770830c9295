//! Kernel launches.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver_api;
use crate::driver::code::{Code, Result};
use crate::driver::context::{FUNCTIONS, Stream};
use crate::driver::handle::Handle;
use crate::driver::operation::{KernelLaunch, Operation};

/// Keys of the `extra` argument.
const END: usize = 0;
const BUFFER_POINTER: usize = 1;
const BUFFER_SIZE: usize = 2;

/// Checks a launch, and copies its arguments.
///
/// # Safety
/// `parameters` points at as many arguments as the kernel has, or `extra` is as `cuLaunchKernel` documents.
pub(super) unsafe fn kernel_launch(
    function: Handle,
    blocks: [c_uint; 3],
    threads: [c_uint; 3],
    dynamic_shared: c_uint,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<KernelLaunch> {
    let function = FUNCTIONS.get(function)?;
    let program = function.module.module.program_at(function.index);
    let mut block = vec![0u64; program.parameter_bytes().div_ceil(8)];
    let bytes = block.as_mut_ptr().cast::<u8>();
    if !parameters.is_null() {
        for (n, parameter) in program.parameters.iter().enumerate() {
            // SAFETY: the caller's word.
            let argument = unsafe { parameters.add(n).read() };
            if argument.is_null() {
                return Err(Code::INVALID_VALUE);
            }
            let (offset, size) = (parameter.offset as usize, parameter.size as usize);
            // SAFETY: the caller's word; the block has room for all parameters.
            unsafe { bytes.add(offset).copy_from_nonoverlapping(argument.cast(), size) };
        }
    } else if !extra.is_null() {
        let (mut buffer, mut length) = (std::ptr::null(), 0);
        // SAFETY: the caller's word: pairs of a key and a value, the last key `END`.
        unsafe {
            let mut at = extra;
            loop {
                match at.read() as usize {
                    END => break,
                    BUFFER_POINTER => buffer = at.add(1).read().cast_const().cast::<u8>(),
                    BUFFER_SIZE => length = at.add(1).read().cast::<usize>().read(),
                    _ => return Err(Code::INVALID_VALUE),
                }
                at = at.add(2);
            }
            if buffer.is_null() || length < program.parameter_bytes() {
                return Err(Code::INVALID_VALUE);
            }
            bytes.copy_from_nonoverlapping(buffer, program.parameter_bytes());
        }
    } else if !program.parameters.is_empty() {
        return Err(Code::INVALID_VALUE);
    }
    if dynamic_shared > function.max_dynamic_shared.load(Ordering::Relaxed)
        || u64::from(dynamic_shared) + program.shared_bytes > 227 << 10
    {
        return Err(Code::INVALID_VALUE);
    }
    let module = Arc::clone(&function.module);
    let grid = module.module.grid(function.index, blocks, threads, dynamic_shared, &block);
    grid.check().map_err(|_| Code::INVALID_VALUE)?;
    Ok(KernelLaunch { module, index: function.index, blocks, threads, dynamic_shared, parameters: block })
}

driver_api! {
    fn cuLaunchKernel(
        function: Handle,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        dynamic_shared: c_uint,
        stream: Handle,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) {
        let stream = Stream::get(stream)?;
        let (blocks, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let launch = kernel_launch(function, blocks, threads, dynamic_shared, parameters, extra)?;
        if !Arc::ptr_eq(&launch.module.context, &stream.context) {
            return Err(Code::INVALID_HANDLE);
        }
        stream.submit(Operation::Kernel(launch))
    }
}
