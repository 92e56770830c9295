//! Kernel launches.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{driver_api, give};
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
        || u64::from(dynamic_shared) + program.shared_bytes
            > u64::from(function.module.context.device.profile.shared_per_block_optin)
    {
        return Err(Code::INVALID_VALUE);
    }
    let module = Arc::clone(&function.module);
    let grid = module.module.grid(function.index, blocks, threads, dynamic_shared, &block);
    grid.check().map_err(|_| Code::INVALID_VALUE)?;
    let index = function.index;
    let (cooperative, cluster) = (false, [0; 3]);
    Ok(KernelLaunch { module, index, blocks, threads, dynamic_shared, parameters: block, cooperative, cluster })
}

/// `CUlaunchAttributeValue`
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct AttributeValue([c_uint; 16]);

/// `CUlaunchAttribute`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Attribute {
    id: c_uint,
    padding: c_uint,
    value: AttributeValue,
}

/// `CUlaunchConfig`
#[repr(C)]
pub struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    dynamic_shared: c_uint,
    stream: Handle,
    attributes: *const Attribute,
    count: c_uint,
}

/// Sets an attribute of a launch.
pub(super) fn set_attribute(launch: &mut KernelLaunch, id: c_uint, value: AttributeValue) -> Result<()> {
    let AttributeValue([x, y, z, ..]) = value;
    let changed = match id {
        2 => KernelLaunch { cooperative: x != 0, ..launch.clone() },
        4 => KernelLaunch { cluster: [x, y, z], ..launch.clone() },
        // Nothing runs before the work before it has ended: a launch may begin early, and does not. The others are
        // preferences, which change no result.
        0 | 1 | 3 | 5 | 6 | 8..=11 | 14 | 16 => return Ok(()),
        7 | 12 | 13 => return Err(Code::NOT_SUPPORTED),
        _ => return Err(Code::INVALID_VALUE),
    };
    changed.check()?;
    *launch = changed;
    Ok(())
}

/// Puts a launch into a stream.
fn submit(stream: Handle, launch: KernelLaunch) -> Result<()> {
    let stream = Stream::get(stream)?;
    if !Arc::ptr_eq(&launch.module.context, &stream.context) {
        return Err(Code::INVALID_HANDLE);
    }
    stream.submit(Operation::Kernel(launch))
}

/// How many blocks of a kernel a multiprocessor has room for.
fn occupancy(function: Handle, threads: c_int, dynamic_shared: usize) -> Result<c_int> {
    let function = FUNCTIONS.get(function)?;
    let threads = u32::try_from(threads).ok().filter(|threads| (1..=1024).contains(threads));
    let shared = function.module.module.program_at(function.index).shared_bytes + dynamic_shared as u64;
    let profile = &function.module.context.device.profile;
    Ok(profile.resident_blocks(threads.ok_or(Code::INVALID_VALUE)?, shared) as c_int)
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
    ) as cuLaunchKernel_ptsz {
        let (blocks, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        submit(stream, kernel_launch(function, blocks, threads, dynamic_shared, parameters, extra)?)
    }

    fn cuLaunchCooperativeKernel(
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
    ) as cuLaunchCooperativeKernel_ptsz {
        let (blocks, threads) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let launch = kernel_launch(function, blocks, threads, dynamic_shared, parameters, std::ptr::null_mut())?;
        let launch = KernelLaunch { cooperative: true, ..launch };
        launch.check()?;
        submit(stream, launch)
    }

    fn cuLaunchKernelEx(
        config: *const LaunchConfig,
        function: Handle,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) as cuLaunchKernelEx_ptsz {
        if config.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let LaunchConfig { grid, block, dynamic_shared, stream, attributes, count } = config.read();
        if attributes.is_null() && count > 0 {
            return Err(Code::INVALID_VALUE);
        }
        let mut launch = kernel_launch(function, grid, block, dynamic_shared, parameters, extra)?;
        for n in 0..count as usize {
            let Attribute { id, value, .. } = attributes.add(n).read();
            set_attribute(&mut launch, id, value)?;
        }
        submit(stream, launch)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: *mut c_int,
        function: Handle,
        threads: c_int,
        dynamic_shared: usize,
    ) {
        give(blocks, occupancy(function, threads, dynamic_shared)?)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: *mut c_int,
        function: Handle,
        threads: c_int,
        dynamic_shared: usize,
        flags: c_uint,
    ) {
        // default, and caching that does not count
        if flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        give(blocks, occupancy(function, threads, dynamic_shared)?)
    }
}
