//! Functions of the driver that came after CUDA 12.0, looked up before they are used. (cudarc panics where one is missing.)

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use cudarc::driver::sys;

/// The address of a function as it has been since a version of CUDA (`12040` for 12.4), if the driver is as new.
pub(crate) fn entry_point(name: &CStr, since: i32) -> Option<NonNull<c_void>> {
    let mut version = 0;
    // SAFETY: the result has room.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().ok()?;
    if version < since {
        return None;
    }
    let mut address = std::ptr::null_mut();
    let mut status = sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    // SAFETY: the name ends in NUL, and the results have room.
    let code = unsafe { sys::cuGetProcAddress_v2(name.as_ptr(), &raw mut address, since, 0, &raw mut status) };
    let found = status == sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS;
    code.result().ok().filter(|()| found).and_then(|()| NonNull::new(address))
}
