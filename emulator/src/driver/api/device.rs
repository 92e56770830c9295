//! Devices and their properties.

use std::ffi::{c_char, c_int, c_uint};
use std::sync::atomic::Ordering;

use super::{driver_api, give};
use crate::driver::code::{Code, Result};
use crate::driver::context::{DEVICE, INITIALISED};
use crate::driver::handle::Handle;
use crate::driver::operation::{MULTIPROCESSORS, RESERVED_SHARED, RESIDENT_BLOCKS, RESIDENT_SHARED, RESIDENT_THREADS};

const NAME: &[u8] = b"Warpwright emulator\0";

/// The compute capability that it has: PTX for it and for anything older is accepted.
pub(super) const CAPABILITY: (c_int, c_int) = (9, 0);

/// Checks that the API is initialised and that a device exists.
fn check(device: c_int) -> Result<()> {
    if !INITIALISED.load(Ordering::Acquire) {
        return Err(Code::NOT_INITIALIZED);
    }
    if device == 0 { Ok(()) } else { Err(Code::INVALID_DEVICE) }
}

/// A `CUdevice_attribute` of the device. The numbers are those of an H100, with what the emulator has not set to 0.
fn attribute(number: c_int) -> Option<c_int> {
    Some(match number {
        1 => 1024,                        // threads of a block
        2 | 3 => 1024,                    // block dimensions x, y
        4 => 64,                          // z
        5 => i32::MAX,                    // grid dimensions x
        6 | 7 => 65535,                   // y, z
        8 => 48 << 10,                    // shared memory of a block
        9 => 64 << 10,                    // constant memory
        10 => 32,                         // warp size
        11 => i32::MAX,                   // pitch
        12 => 65536,                      // registers of a block
        13 => 1_980_000,                  // clock in kHz
        14 | 51 => 512,                   // texture alignment
        15 | 19 | 31 | 41 | 78 | 99 => 1, // overlap, mapped host memory, concurrency, unified addresses, priorities
        16 => MULTIPROCESSORS as c_int,
        17 | 18 | 20 | 32..=35 | 40 | 50 => 0,
        36 => 2_619_000, // memory clock in kHz
        37 => 5120,      // bits of the memory bus
        38 => 50 << 20,  // L2 cache
        39 => RESIDENT_THREADS as c_int,
        75 => CAPABILITY.0,
        76 => CAPABILITY.1,
        79 | 80 => 1, // L1 caches global and local memory
        81 => RESIDENT_SHARED as c_int,
        82 => 65536,     // registers of a multiprocessor
        83 => 0,         // managed memory
        87 => 2,         // ratio of single to double precision
        95 => 1,         // cooperative launch
        97 => 227 << 10, // shared memory of a block, opted in
        106 => RESIDENT_BLOCKS as c_int,
        111 => RESERVED_SHARED as c_int,
        115 => 1, // memory pools
        120 => 1, // clusters
        84..=94 | 96 | 98 | 100..=105 | 107..=110 | 112..=114 | 116..=119 | 121..=150 => 0,
        21..=30 | 42..=49 | 52..=74 | 77 => 0, // textures and surfaces
        _ => return None,
    })
}

driver_api! {
    fn cuDeviceGetCount(count: *mut c_int) {
        check(0)?;
        give(count, 1)
    }

    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        check(ordinal)?;
        give(device, ordinal)
    }

    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        check(device)?;
        let length = usize::try_from(length).unwrap_or(0).min(NAME.len());
        if name.is_null() || length == 0 {
            return Err(Code::INVALID_VALUE);
        }
        name.cast::<u8>().copy_from_nonoverlapping(NAME.as_ptr(), length);
        give(name.add(length - 1), 0)
    }

    fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) {
        check(device)?;
        give(uuid, *b"warpwright-emu-0")
    }

    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) {
        check(device)?;
        give(uuid, *b"warpwright-emu-0")
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        check(device)?;
        give(bytes, DEVICE.engine.memory.capacity() as usize)
    }

    fn cuDeviceGetAttribute(value: *mut c_int, number: c_int, device: c_int) {
        check(device)?;
        give(value, attribute(number).ok_or(Code::INVALID_VALUE)?)
    }

    fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) {
        check(device)?;
        give(major, CAPABILITY.0)?;
        give(minor, CAPABILITY.1)
    }

    fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) {
        check(device)?;
        give(context, DEVICE.retain_primary())
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        check(device)?;
        DEVICE.release_primary()
    }

    fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) {
        check(device)?;
        give(flags, 0)?;
        give(active, c_int::from(DEVICE.primary_is_active()))
    }
}
