//! Functions: their attributes, and how many blocks of them there is room for.

use std::ffi::{c_char, c_int, c_uint};

use super::launch::{LaunchConfig, cluster_of};
use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::handle::Handle;
use crate::driver::module::{Function, MODULES, set_attribute};
use crate::driver::operation::KernelLaunch;
use crate::program::Parameter;

/// `CUoccupancyB2DSize`: the dynamic shared memory that a block of so many threads needs.
type SharedOfBlock = unsafe extern "C" fn(c_int) -> usize;

/// The most threads of a block.
const MAX_THREADS: u32 = 1024;

/// How many blocks of a kernel a multiprocessor has room for.
fn occupancy(function: &Function, threads: c_int, dynamic_shared: usize) -> Result<u32> {
    let threads = u32::try_from(threads).ok().filter(|threads| *threads > 0).ok_or(Code::INVALID_VALUE)?;
    let shared = function.program().shared_bytes.saturating_add(dynamic_shared as u64);
    let profile = function.profile();
    if threads > function.attribute(0)? as u32 || shared > u64::from(profile.shared_per_block_optin) {
        return Ok(0);
    }
    Ok(profile.resident_blocks(threads, shared))
}

/// The size of a block with which most threads fit on a multiprocessor, the largest of them, and the smallest grid that
/// fills the device with such blocks.
///
/// # Safety
/// `shared_of` is a function as the driver API documents it.
unsafe fn best_block(
    function: &Function,
    shared_of: Option<SharedOfBlock>,
    dynamic_shared: usize,
    limit: c_int,
) -> Result<(c_int, c_int)> {
    let most = function.attribute(0)? as u32;
    let most = match u32::try_from(limit) {
        Ok(0) => most,
        Ok(limit) => most.min(limit),
        Err(_) => return Err(Code::INVALID_VALUE),
    };
    let mut best = (0, 0, 0);
    // Whole warps, and the largest block even if it is none.
    let sizes = (1..=most.div_ceil(32)).rev().map(|warps| (warps * 32).min(most));
    for threads in sizes {
        let shared = match shared_of {
            // SAFETY: the caller's word.
            Some(shared_of) => unsafe { shared_of(threads as c_int) },
            None => dynamic_shared,
        };
        let blocks = occupancy(function, threads as c_int, shared)?;
        if blocks * threads > best.0 {
            best = (blocks * threads, blocks, threads);
        }
    }
    let (_, blocks, threads) = best;
    Ok(((blocks * function.profile().multiprocessors) as c_int, threads as c_int))
}

/// Gives a parameter's place; the size is optional.
///
/// # Safety
/// `offset` and `size` are null or valid for writes.
pub(super) unsafe fn give_parameter(
    parameters: &[Parameter],
    index: usize,
    offset: *mut usize,
    size: *mut usize,
) -> Result<()> {
    let parameter = parameters.get(index).ok_or(Code::INVALID_VALUE)?;
    // SAFETY: the caller's word.
    unsafe {
        give(offset, parameter.offset as usize)?;
        if !size.is_null() {
            size.write(parameter.size as usize);
        }
    }
    Ok(())
}

/// Gives the name of a kernel as C text, which stays for as long as the process.
///
/// # Safety
/// `to` is null or valid for writes.
pub(super) unsafe fn give_name(to: *mut *const c_char, name: &str) -> Result<()> {
    use std::collections::HashSet;
    use std::ffi::CString;
    use std::sync::{LazyLock, Mutex};

    static NAMES: LazyLock<Mutex<HashSet<CString>>> = LazyLock::new(Mutex::default);
    let name = CString::new(name).map_err(|_| Code::INVALID_VALUE)?;
    let mut names = crate::driver::context::locked(&NAMES);
    if !names.contains(&name) {
        names.insert(name.clone());
    }
    // Text in the set is never removed, and does not move when the set grows.
    let at = names.get(&name).map_or(std::ptr::null(), |name| name.as_ptr());
    // SAFETY: the caller's word.
    unsafe { give(to, at) }
}

/// Checks a cache or shared memory preference, which changes no result.
pub(super) fn check_preference(value: c_int, largest: c_int) -> Result<()> {
    if (0..=largest).contains(&value) { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

/// Checks the flags of an occupancy function: none, and caching that does not count.
fn check_flags(flags: c_uint) -> Result<()> {
    if flags > 1 { Err(Code::INVALID_VALUE) } else { Ok(()) }
}

/// Threads and shared memory of the blocks of a launch that is described, and how many blocks its clusters have.
///
/// # Safety
/// `config` is null or as the driver API documents it.
unsafe fn described(function: &Function, config: *const LaunchConfig) -> Result<(c_int, usize, Option<u32>)> {
    if config.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the caller's word.
    let (config, cluster) = unsafe { (&*config, cluster_of(function, &*config)?) };
    let threads = config.block.iter().try_fold(1u32, |product, &size| product.checked_mul(size));
    let threads = threads.filter(|threads| (1..=MAX_THREADS).contains(threads)).ok_or(Code::INVALID_VALUE)?;
    let blocks = cluster.iter().try_fold(1u32, |product, &size| product.checked_mul(size));
    Ok((threads as c_int, config.dynamic_shared as usize, blocks.filter(|blocks| *blocks > 0)))
}

driver_api! {
    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: Handle) {
        give(value, Function::get(function)?.attribute(attribute)?)
    }

    fn cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) {
        let function = Function::get(function)?;
        set_attribute(function.program(), &function.settings, attribute, value, function.profile())
    }

    fn cuFuncSetCacheConfig(function: Handle, config: c_int) {
        Function::get(function)?;
        check_preference(config, 3)
    }

    fn cuFuncSetSharedMemConfig(function: Handle, config: c_int) {
        Function::get(function)?;
        check_preference(config, 2)
    }

    fn cuFuncGetModule(module: *mut Handle, function: Handle) {
        let function = Function::get(function)?;
        let found = MODULES.find(|module| std::sync::Arc::ptr_eq(module, &function.module));
        give(module, found.ok_or(Code::INVALID_HANDLE)?)
    }

    fn cuFuncGetName(name: *mut *const c_char, function: Handle) {
        give_name(name, &Function::get(function)?.program().name)
    }

    fn cuFuncGetParamInfo(function: Handle, index: usize, offset: *mut usize, size: *mut usize) {
        give_parameter(&Function::get(function)?.program().parameters, index, offset, size)
    }

    fn cuFuncIsLoaded(state: *mut c_int, function: Handle) {
        Function::get(function)?;
        // loaded, as all functions are
        give(state, 1)
    }

    fn cuFuncLoad(function: Handle) {
        Function::get(function).map(|_| ())
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: *mut c_int,
        function: Handle,
        threads: c_int,
        dynamic_shared: usize,
    ) {
        give(blocks, occupancy(&*Function::get(function)?, threads, dynamic_shared)? as c_int)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: *mut c_int,
        function: Handle,
        threads: c_int,
        dynamic_shared: usize,
        flags: c_uint,
    ) {
        check_flags(flags)?;
        give(blocks, occupancy(&*Function::get(function)?, threads, dynamic_shared)? as c_int)
    }

    fn cuOccupancyMaxPotentialBlockSize(
        smallest_grid: *mut c_int,
        block: *mut c_int,
        function: Handle,
        shared_of: Option<SharedOfBlock>,
        dynamic_shared: usize,
        limit: c_int,
    ) {
        let (grid, threads) = best_block(&*Function::get(function)?, shared_of, dynamic_shared, limit)?;
        give(smallest_grid, grid)?;
        give(block, threads)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        smallest_grid: *mut c_int,
        block: *mut c_int,
        function: Handle,
        shared_of: Option<SharedOfBlock>,
        dynamic_shared: usize,
        limit: c_int,
        flags: c_uint,
    ) {
        check_flags(flags)?;
        let (grid, threads) = best_block(&*Function::get(function)?, shared_of, dynamic_shared, limit)?;
        give(smallest_grid, grid)?;
        give(block, threads)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, function: Handle, blocks: c_int, threads: c_int) {
        let function = Function::get(function)?;
        let wanted = u32::try_from(blocks).ok().filter(|blocks| *blocks > 0).ok_or(Code::INVALID_VALUE)?;
        // That many blocks have to fit without dynamic shared memory.
        if occupancy(&function, threads, 0)? < wanted {
            return Err(Code::INVALID_VALUE);
        }
        let (profile, fixed) = (function.profile(), function.program().shared_bytes);
        let share = u64::from(profile.shared_per_multiprocessor) / u64::from(wanted);
        let most = u64::from(profile.shared_per_block_optin) - fixed;
        let used = fixed + u64::from(profile.reserved_shared_per_block);
        give(bytes, share.saturating_sub(used).min(most) as usize)
    }

    fn cuOccupancyMaxPotentialClusterSize(blocks: *mut c_int, function: Handle, config: *const LaunchConfig) {
        let function = Function::get(function)?;
        let (threads, shared, _) = described(&function, config)?;
        let most = KernelLaunch::most_of_cluster(&function);
        // A device without clusters has room for none.
        let fits = most > 1 && occupancy(&function, threads, shared)? > 0;
        give(blocks, if fits { most as c_int } else { 0 })
    }

    fn cuOccupancyMaxActiveClusters(clusters: *mut c_int, function: Handle, config: *const LaunchConfig) {
        let function = Function::get(function)?;
        let (threads, shared, cluster) = described(&function, config)?;
        let cluster = cluster.ok_or(Code::INVALID_CLUSTER_SIZE)?;
        if cluster > KernelLaunch::most_of_cluster(&function) {
            return Err(Code::INVALID_CLUSTER_SIZE);
        }
        give(clusters, (occupancy(&function, threads, shared)? * function.profile().multiprocessors / cluster) as c_int)
    }
}
