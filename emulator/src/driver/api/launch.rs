//! Kernel launches.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver_api;
use crate::driver::code::{Code, Result};
use crate::driver::context::{EVENTS, Stream};
use crate::driver::handle::Handle;
use crate::driver::module::Function;
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
    let function = Function::get(function)?;
    let program = function.program();
    let mut block = vec![0u64; program.parameter_bytes().div_ceil(8)];
    let bytes = block.as_mut_ptr().cast::<u8>();
    if !parameters.is_null() {
        if !extra.is_null() {
            return Err(Code::INVALID_VALUE);
        }
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
    launch_of(function, blocks, threads, dynamic_shared, block)
}

/// Checks a launch whose parameter block is made.
pub(super) fn launch_of(
    function: Arc<Function>,
    blocks: [c_uint; 3],
    threads: [c_uint; 3],
    dynamic_shared: c_uint,
    parameters: Vec<u64>,
) -> Result<KernelLaunch> {
    let shared = u64::from(dynamic_shared) + function.program().shared_bytes;
    let most = u64::from(function.profile().shared_per_block_optin);
    if dynamic_shared > function.settings.max_dynamic_shared.load(Ordering::Relaxed) || shared > most {
        return Err(Code::INVALID_VALUE);
    }
    let module = Arc::clone(&function.module);
    module
        .module
        .grid(function.index, blocks, threads, dynamic_shared, &parameters)
        .check()
        .map_err(|_| Code::INVALID_VALUE)?;
    Ok(KernelLaunch {
        module,
        index: function.index,
        blocks,
        threads,
        dynamic_shared,
        parameters,
        cooperative: false,
        cluster: [0; 3],
        overlaps: false,
        function,
        attributes: Vec::new(),
    })
}

/// `CUlaunchAttributeValue`
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
pub struct AttributeValue(pub(super) [c_uint; 16]);

impl AttributeValue {
    /// The handle that some values begin with.
    fn handle(self) -> Handle {
        Handle((u64::from(self.0[1]) << 32 | u64::from(self.0[0])) as usize)
    }
}

/// `CUlaunchAttribute`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    id: c_uint,
    padding: c_uint,
    value: AttributeValue,
}

/// `CUlaunchConfig`
#[repr(C)]
#[derive(Debug)]
pub struct LaunchConfig {
    pub(super) grid: [c_uint; 3],
    pub(super) block: [c_uint; 3],
    pub(super) dynamic_shared: c_uint,
    pub(super) stream: Handle,
    attributes: *const Attribute,
    count: c_uint,
}

/// `CUlaunchAttributeID`
mod attribute {
    use std::ffi::c_uint;

    pub(super) const IGNORE: c_uint = 0;
    pub(super) const ACCESS_POLICY_WINDOW: c_uint = 1;
    pub(super) const COOPERATIVE: c_uint = 2;
    pub(super) const CLUSTER: c_uint = 4;
    pub(super) const CLUSTER_SCHEDULING: c_uint = 5;
    pub(super) const PROGRAMMATIC_SERIALIZATION: c_uint = 6;
    pub(super) const PROGRAMMATIC_EVENT: c_uint = 7;
    pub(super) const PRIORITY: c_uint = 8;
    pub(super) const SYNC_DOMAIN_MAP: c_uint = 9;
    pub(super) const SYNC_DOMAIN: c_uint = 10;
    pub(super) const PREFERRED_CLUSTER: c_uint = 11;
    pub(super) const COMPLETION_EVENT: c_uint = 12;
    pub(super) const DEVICE_UPDATABLE: c_uint = 13;
    pub(super) const CARVEOUT: c_uint = 14;
    pub(super) const NVLINK_SCHEDULING: c_uint = 16;
}

/// Sets an attribute of a launch.
pub(super) fn set_attribute(launch: &mut KernelLaunch, id: c_uint, value: AttributeValue) -> Result<()> {
    let AttributeValue([x, y, z, ..]) = value;
    let check = |holds: bool| if holds { Ok(()) } else { Err(Code::INVALID_VALUE) };
    let mut changed = launch.clone();
    match id {
        attribute::IGNORE => return Ok(()),
        attribute::COOPERATIVE => {
            check(x <= 1)?;
            changed.cooperative = x != 0;
        }
        attribute::CLUSTER => {
            // All positive, or none of them, which takes the attribute away.
            check([x, y, z] == [0; 3] || ![x, y, z].contains(&0))?;
            changed.cluster = [x, y, z];
        }
        attribute::PROGRAMMATIC_SERIALIZATION => {
            check(x <= 1)?;
            changed.overlaps = x != 0;
        }
        // The others are preferences, which change no result.
        attribute::ACCESS_POLICY_WINDOW | attribute::PRIORITY | attribute::SYNC_DOMAIN_MAP => {}
        attribute::CLUSTER_SCHEDULING => check(x <= 2)?,
        attribute::SYNC_DOMAIN | attribute::NVLINK_SCHEDULING => check(x <= 1)?,
        attribute::PREFERRED_CLUSTER => {
            let multiple = |(size, of): (u32, u32)| size > 0 && size.is_multiple_of(of.max(1));
            check([x, y, z] == [0; 3] || [x, y, z].into_iter().zip(launch.cluster).all(multiple))?;
        }
        attribute::CARVEOUT => check(x <= 100 || x == c_uint::MAX)?,
        attribute::DEVICE_UPDATABLE if x == 0 => {}
        attribute::DEVICE_UPDATABLE => return Err(Code::NOT_SUPPORTED),
        // A policy of streams, events of a launch in a stream, and what there is not.
        _ => return Err(Code::INVALID_VALUE),
    }
    changed.check()?;
    changed.attributes.retain(|(other, _)| *other != id);
    changed.attributes.push((id, value.0));
    *launch = changed;
    Ok(())
}

/// The value of an attribute of a launch; zeros where it was not set.
pub(super) fn attribute_value(launch: &KernelLaunch, id: c_uint) -> Result<AttributeValue> {
    let known = matches!(id, 1 | 2 | 4..=6 | 8..=11 | 13 | 14 | 16);
    let set = launch.attributes.iter().find(|(other, _)| *other == id);
    match set {
        Some((_, value)) => Ok(AttributeValue(*value)),
        None if known => Ok(AttributeValue([0; 16])),
        None => Err(Code::INVALID_VALUE),
    }
}

/// The attributes of a launch that is described.
///
/// # Safety
/// The description is as the driver API documents it.
unsafe fn attributes(config: &LaunchConfig) -> Result<&[Attribute]> {
    match (config.attributes.is_null(), config.count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Code::INVALID_VALUE),
        // SAFETY: the caller's word.
        (false, count) => Ok(unsafe { std::slice::from_raw_parts(config.attributes, count as usize) }),
    }
}

/// The blocks of a cluster of a launch that is described.
///
/// # Safety
/// As [`attributes`].
pub(super) unsafe fn cluster_of(function: &Function, config: &LaunchConfig) -> Result<[u32; 3]> {
    // SAFETY: the caller's word.
    let attributes = unsafe { attributes(config) }?;
    let asked = attributes.iter().rev().find(|set| set.id == attribute::CLUSTER);
    KernelLaunch::cluster_blocks(
        function,
        asked.map_or([0; 3], |Attribute { value: AttributeValue(v), .. }| [v[0], v[1], v[2]]),
    )
}

/// Puts a launch into a stream.
pub(super) fn submit(stream: &Stream, launch: KernelLaunch) -> Result<()> {
    if !Arc::ptr_eq(&launch.module.context, &stream.context) {
        return Err(Code::INVALID_HANDLE);
    }
    launch.check()?;
    stream.submit(Operation::Kernel(launch.with_clusters()?))
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
        let launch = kernel_launch(function, blocks, threads, dynamic_shared, parameters, extra)?;
        submit(&*Stream::get(stream)?, launch)
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
        let mut launch = kernel_launch(function, blocks, threads, dynamic_shared, parameters, std::ptr::null_mut())?;
        let mut value = AttributeValue([0; 16]);
        value.0[0] = 1;
        set_attribute(&mut launch, attribute::COOPERATIVE, value)?;
        submit(&*Stream::get(stream)?, launch)
    }

    fn cuLaunchCooperativeKernelMultiDevice(_launches: *mut c_void, _count: c_uint, _flags: c_uint) {
        // Grids that span devices were taken out of CUDA; the devices here have no way to wait for each other.
        Err(Code::NOT_SUPPORTED)
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
        let config = &*config;
        let mut launch = kernel_launch(function, config.grid, config.block, config.dynamic_shared, parameters, extra)?;
        let mut events = Vec::new();
        for Attribute { id, value, .. } in attributes(config)? {
            match *id {
                attribute::PROGRAMMATIC_EVENT | attribute::COMPLETION_EVENT => {
                    // Of the flags there is one: that the event is of another process, which nothing here is.
                    let (flags, at_start) = (value.0[2] as c_int, value.0[3] as c_int);
                    if flags & !1 != 0 || (*id == attribute::PROGRAMMATIC_EVENT && at_start & !1 != 0) {
                        return Err(Code::INVALID_VALUE);
                    }
                    let event = EVENTS.get(value.handle())?;
                    // Such events tell nothing of time.
                    if event.timed {
                        return Err(Code::INVALID_VALUE);
                    }
                    let port = if *id == attribute::COMPLETION_EVENT || at_start != 0 { 2 } else { 1 };
                    events.push((event, port));
                }
                _ => set_attribute(&mut launch, *id, *value)?,
            }
        }
        let stream = Stream::get(config.stream)?;
        submit(&stream, launch)?;
        for (event, port) in events {
            event.record_of_launch(&stream, port)?;
        }
        Ok(())
    }
}
