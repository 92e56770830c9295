//! Devices and their properties, and their primary contexts.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::Ordering;

use super::{driver_api, give, text};
use crate::driver::code::{Code, Result};
use crate::driver::context::INITIALISED;
use crate::driver::device::{DEVICES, Device};
use crate::driver::handle::Handle;
use crate::driver::pool;

/// Devices are on buses of a PCI domain from here, each alone on its own.
const FIRST_BUS: usize = 1;

/// A `CUdevice_attribute`.
fn attribute(device: &Device, number: c_int) -> Option<c_int> {
    let profile = &device.profile;
    let ampere = profile.capability.0 >= 8;
    let hopper = profile.capability.0 >= 9;
    Some(match number {
        1 => 1024,      // threads of a block
        2 | 3 => 1024,  // block dimensions x, y
        4 => 64,        // z
        5 => i32::MAX,  // grid dimensions x
        6 | 7 => 65535, // y, z
        8 => 48 << 10,  // shared memory of a block
        9 => 64 << 10,  // constant memory
        10 => 32,       // warp size
        11 => i32::MAX, // pitch
        12 => 65536,    // registers of a block
        13 => profile.clock_khz as c_int,
        14 => 512,              // texture alignment
        51 => 32,               // of a pitch
        30 => 512,              // surface alignment
        15 | 19 | 31 | 41 => 1, // overlap, mapped host memory, concurrent kernels, unified addresses
        16 => profile.multiprocessors as c_int,
        17 | 18 | 20 | 35 => 0, // time limit, integrated, compute mode, TCC driver
        32 => c_int::from(profile.ecc),
        33 => (FIRST_BUS + device.index) as c_int,
        34 | 50 => 0, // PCI device and domain
        36 => profile.memory_clock_khz as c_int,
        37 => profile.memory_bus_bits as c_int,
        38 => profile.l2_bytes as c_int,
        39 => profile.threads_per_multiprocessor as c_int,
        40 => profile.copy_engines as c_int,
        75 => profile.capability.0 as c_int,
        76 => profile.capability.1 as c_int,
        78..=80 => 1, // stream priorities, L1 caches of global and local memory
        81 => profile.shared_per_multiprocessor as c_int,
        82 => profile.registers_per_multiprocessor as c_int,
        83 => 1,                     // managed memory
        84 | 86 => 0,                // board of several GPUs, atomics of the host
        85 => device.index as c_int, // its group
        87 => profile.f32_to_f64 as c_int,
        88 | 100 | 101 => 0, // pageable memory, page tables of the host, managed memory accessed directly
        89 => 1,             // managed memory that the host may access while kernels run
        90 => 1,             // preemption
        91 => 1,             // registered memory by its own address
        92..=94 | 121 => 0,  // stream memory operations of the first version, arrays mapped late
        122 | 123 => 1,      // stream memory operations on 64 bits, waiting for NOR
        95 => 1,             // cooperative launch
        96 | 98 => 0,        // over several devices, flushes of remote writes
        97 => profile.shared_per_block_optin as c_int,
        99 => 1,                                            // host memory can be registered
        102 => 0,                                           // virtual memory management
        103..=105 | 107 | 110 | 112..=114 | 116..=119 => 0, // handles of other systems, compression, remote access, sparse arrays
        106 => profile.blocks_per_multiprocessor as c_int,
        108 => profile.persisting_l2_bytes as c_int,
        109 => {
            if ampere {
                128 << 20
            } else {
                0
            }
        } // window of an access policy
        111 => profile.reserved_shared_per_block as c_int,
        115 => 1,                   // memory pools
        120 => c_int::from(hopper), // clusters
        124 => 0,                   // buffers of other drivers
        126 => {
            if hopper {
                4
            } else {
                1
            }
        } // domains of memory synchronisation
        127 => 0,                   // tensor maps
        125 | 128 => 0,             // interprocess handles of other kinds
        129 => 0,                   // function pointers without a context
        130 => 0,                   // kind of NUMA memory
        131 => -1,                  // its node
        132 | 133 | 135..=138 | 141..=150 => 0, // multicast, decompression, memory of NUMA nodes
        134 => -1,                  // NUMA node of the host
        139 | 140 => 0,             // PCI identifiers
        21..=29 | 42..=49 | 52..=74 | 77 => 0, // textures and surfaces
        _ => return None,
    })
}

fn initialised() -> Result<()> {
    if INITIALISED.load(Ordering::Acquire) { Ok(()) } else { Err(Code::NOT_INITIALIZED) }
}

/// Writes text that ends in NUL into a caller's buffer, cut off where that ends.
///
/// # Safety
/// `to` is null, or has room for `room` bytes.
unsafe fn give_text(to: *mut c_char, room: c_int, text: &str) -> Result<()> {
    let room = usize::try_from(room).ok().filter(|room| *room > 0 && !to.is_null()).ok_or(Code::INVALID_VALUE)?;
    let length = text.len().min(room - 1);
    // SAFETY: the caller's word; the text and a NUL are no longer than the room.
    unsafe {
        to.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
        to.add(length).write(0);
    }
    Ok(())
}

/// What nvidia-smi would show: the same every time, and another for each device.
fn uuid(device: &Device) -> [u8; 16] {
    let mut uuid = *b"warpwright-emu-\0";
    uuid[15] = b'0' + device.index as u8;
    uuid
}

fn bus_id(device: &Device) -> String {
    format!("0000:{:02x}:00.0", FIRST_BUS + device.index)
}

/// Whether kernels of one device may use the memory of another: all may, and none has need to of its own.
fn can_access(device: &Device, peer: &Device) -> bool {
    device.index != peer.index
}

driver_api! {
    fn cuDeviceGetCount(count: *mut c_int) {
        initialised()?;
        give(count, DEVICES.len() as c_int)
    }

    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        give(device, Device::get(ordinal)?.index as c_int)
    }

    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        let device = Device::get(device)?;
        give_text(name, length, &format!("Warpwright emulator ({})", device.profile.name))
    }

    fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) {
        give(uuid, self::uuid(Device::get(device)?))
    }

    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) {
        give(uuid, self::uuid(Device::get(device)?))
    }

    fn cuDeviceGetLuid(_luid: *mut c_char, _mask: *mut c_uint, device: c_int) {
        Device::get(device)?;
        // Only Windows has them.
        Err(Code::NOT_SUPPORTED)
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        give(bytes, Device::get(device)?.memory.capacity() as usize)
    }

    fn cuDeviceGetAttribute(value: *mut c_int, number: c_int, device: c_int) {
        let device = Device::get(device)?;
        give(value, attribute(device, number).ok_or(Code::INVALID_VALUE)?)
    }

    fn cuDeviceGetTexture1DLinearMaxWidth(
        _elements: *mut usize,
        _format: c_int,
        _channels: c_uint,
        device: c_int,
    ) {
        Device::get(device)?;
        Err(Code::NOT_SUPPORTED)
    }

    fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) {
        let (known_major, known_minor) = Device::get(device)?.profile.capability;
        give(major, known_major as c_int)?;
        give(minor, known_minor as c_int)
    }

    fn cuDeviceGetByPCIBusId(device: *mut c_int, name: *const c_char) {
        initialised()?;
        let name = text(name)?.to_ascii_lowercase();
        // The domain and the function may be left out.
        let full = match (name.matches(':').count(), name.contains('.')) {
            (2, true) => name,
            (2, false) => format!("{name}.0"),
            (1, true) => format!("0000:{name}"),
            (1, false) => format!("0000:{name}.0"),
            _ => return Err(Code::INVALID_VALUE),
        };
        let found = DEVICES.iter().find(|device| bus_id(device) == full).ok_or(Code::INVALID_DEVICE)?;
        give(device, found.index as c_int)
    }

    fn cuDeviceGetPCIBusId(name: *mut c_char, length: c_int, device: c_int) {
        give_text(name, length, &bus_id(Device::get(device)?))
    }

    fn cuDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) {
        give(can, c_int::from(can_access(Device::get(device)?, Device::get(peer)?)))
    }

    fn cuDeviceGetP2PAttribute(value: *mut c_int, attribute: c_uint, device: c_int, peer: c_int) {
        let (device, peer) = (Device::get(device)?, Device::get(peer)?);
        if device.index == peer.index {
            return Err(Code::INVALID_DEVICE);
        }
        give(value, match attribute {
            // rank of the link, access, atomics; arrays there are none
            1 => 0,
            2 | 3 => c_int::from(can_access(device, peer)),
            4 => 0,
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    fn cuDeviceGetExecAffinitySupport(supported: *mut c_int, _kind: c_int, device: c_int) {
        Device::get(device)?;
        give(supported, 0)
    }

    fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int) {
        give(pool, pool::default_of(Device::get(device)?))
    }

    fn cuDeviceGetMemPool(pool: *mut Handle, device: c_int) {
        give(pool, pool::current_of(Device::get(device)?))
    }

    fn cuDeviceSetMemPool(device: c_int, pool: Handle) {
        pool::set_current(Device::get(device)?, pool)
    }

    fn cuDeviceGetProperties(properties: *mut c_int, device: c_int) {
        let profile = &Device::get(device)?.profile;
        if properties.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // threads of a block, dimensions of block and grid, shared and constant memory, warp, pitch, registers, clock, texture
        let values = [1024, 1024, 1024, 64, i32::MAX, 65535, 65535, 48 << 10, 64 << 10, 32, i32::MAX, 65536];
        properties.copy_from_nonoverlapping(values.as_ptr(), values.len());
        properties.add(values.len()).write(profile.clock_khz as c_int);
        properties.add(values.len() + 1).write(512);
        Ok(())
    }

    fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) {
        if context.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(context, Device::get(device)?.retain_primary())
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        Device::get(device)?.release_primary()
    }

    fn cuDevicePrimaryCtxReset_v2(device: c_int) {
        Device::get(device)?.reset_primary()
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) {
        let device = Device::get(device)?;
        if flags & !0xff != 0 || (flags & 7).count_ones() > 1 {
            return Err(Code::INVALID_VALUE);
        }
        device.set_primary_flags(flags);
        Ok(())
    }

    fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) {
        let (known_flags, known_active) = Device::get(device)?.primary_state();
        give(flags, known_flags)?;
        give(active, c_int::from(known_active))
    }

    fn cuFlushGPUDirectRDMAWrites(_target: c_int, _scope: c_int) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuProfilerStart() {
        Ok(())
    }

    fn cuProfilerStop() {
        Ok(())
    }

    fn cuGetExportTable(table: *mut *const c_void, id: *const [u8; 16]) {
        // Undocumented tables of NVIDIA's own libraries: there are none.
        if table.is_null() || id.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        give(table, std::ptr::null())?;
        Err(Code::NOT_FOUND)
    }
}
