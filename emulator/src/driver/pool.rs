//! Memory pools: where allocations in the order of a stream come from.

use std::sync::{Arc, Mutex};

use super::code::{Code, Result};
use super::context::locked;
use super::device::{DEVICES, Device};
use super::handle::{Handle, Table};

pub(crate) static POOLS: Table<Pool> = Table::new();

/// A memory pool. Memory goes back to the device when it is freed, so nothing is ever reserved beyond what is used; the
/// attributes say so.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) device: &'static Device,
    /// The most bytes that may be in use; 0 for as many as the device has.
    maximum: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The three ways in which memory may be used again, each on or off.
    reuse: [u32; 3],
    /// How much memory is kept when it is freed.
    threshold: u64,
    used: u64,
    used_high: u64,
    reserved_high: u64,
    /// What each device may do with the memory: `CUmemAccess_flags`.
    access: Vec<u32>,
}

const READ_WRITE: u32 = 3;

/// A value of an attribute, with its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Int(u32),
    Long(u64),
}

impl Pool {
    pub(crate) fn new(device: &'static Device, maximum: u64) -> Self {
        let access = (0..DEVICES.len()).map(|n| if n == device.index { READ_WRITE } else { 0 }).collect();
        let state = State { reuse: [1; 3], threshold: 0, used: 0, used_high: 0, reserved_high: 0, access };
        Self { device, maximum, state: Mutex::new(state) }
    }

    /// Counts memory that is taken from the pool.
    pub(crate) fn take(&self, bytes: u64) -> Result<()> {
        let mut state = locked(&self.state);
        let used = state.used.checked_add(bytes).ok_or(Code::OUT_OF_MEMORY)?;
        if self.maximum != 0 && used > self.maximum {
            return Err(Code::OUT_OF_MEMORY);
        }
        state.used = used;
        state.used_high = state.used_high.max(used);
        state.reserved_high = state.reserved_high.max(used);
        Ok(())
    }

    /// Counts memory that was taken and could not be had.
    pub(crate) fn untake(&self, bytes: u64) {
        locked(&self.state).used -= bytes;
    }

    /// Frees memory that was taken.
    pub(crate) fn give_back(&self, address: u64, bytes: u64) {
        // Whoever calls has taken it out of the list of allocations, so it was not freed before.
        let _ = self.device.memory.free(address);
        self.untake(bytes);
    }

    /// An attribute: `CUmemPool_attribute`.
    pub(crate) fn attribute(&self, number: i32) -> Result<Value> {
        let state = locked(&self.state);
        Ok(match number {
            1..=3 => Value::Int(state.reuse[number as usize - 1]),
            4 => Value::Long(state.threshold),
            5 | 7 => Value::Long(state.used),
            6 => Value::Long(state.reserved_high),
            8 => Value::Long(state.used_high),
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    /// Sets an attribute. The high-water marks can be set to 0 only, which begins to count anew.
    pub(crate) fn set_attribute(&self, number: i32, value: Value) -> Result<()> {
        let mut state = locked(&self.state);
        match (number, value) {
            (1..=3, Value::Int(on @ 0..=1)) => state.reuse[number as usize - 1] = on,
            (4, Value::Long(bytes)) => state.threshold = bytes,
            (6, Value::Long(0)) => state.reserved_high = state.used,
            (8, Value::Long(0)) => state.used_high = state.used,
            _ => return Err(Code::INVALID_VALUE),
        }
        Ok(())
    }

    /// What a device may do with the memory.
    pub(crate) fn access(&self, device: &Device) -> u32 {
        locked(&self.state).access[device.index]
    }

    /// Sets what a device may do with the memory. The pool's own device may always read and write.
    pub(crate) fn set_access(&self, device: &Device, flags: u32) -> Result<()> {
        if !matches!(flags, 0 | 1 | READ_WRITE) || (device.index == self.device.index && flags != READ_WRITE) {
            return Err(Code::INVALID_VALUE);
        }
        locked(&self.state).access[device.index] = flags;
        Ok(())
    }
}

/// The pools of a device that need not be made: the default one, and the one that is current.
#[derive(Debug, Default)]
struct OfDevice {
    default: Option<Handle>,
    current: Option<Handle>,
}

static OF_DEVICES: Mutex<Vec<OfDevice>> = Mutex::new(Vec::new());

fn of_device<T>(device: &'static Device, body: impl FnOnce(&mut OfDevice) -> T) -> T {
    let mut all = locked(&OF_DEVICES);
    if all.len() <= device.index {
        all.resize_with(DEVICES.len(), OfDevice::default);
    }
    body(&mut all[device.index])
}

/// The default pool of a device.
pub(crate) fn default_of(device: &'static Device) -> Handle {
    of_device(device, |pools| *pools.default.get_or_insert_with(|| POOLS.insert(Arc::new(Pool::new(device, 0)))))
}

/// The pool that a device allocates from when none is named. One that was destroyed gives way to the default one.
pub(crate) fn current_of(device: &'static Device) -> Handle {
    let set = of_device(device, |pools| pools.current).filter(|pool| POOLS.get(*pool).is_ok());
    set.unwrap_or_else(|| default_of(device))
}

/// Makes a pool the one that a device allocates from when none is named.
pub(crate) fn set_current(device: &'static Device, pool: Handle) -> Result<()> {
    if POOLS.get(pool)?.device.index != device.index {
        return Err(Code::INVALID_VALUE);
    }
    of_device(device, |pools| pools.current = Some(pool));
    Ok(())
}

/// Destroys a pool. What was allocated from it lives on.
pub(crate) fn destroy(pool: Handle) -> Result<()> {
    let found = POOLS.get(pool)?;
    if default_of(found.device) == pool {
        return Err(Code::INVALID_VALUE);
    }
    POOLS.remove(pool).map(|_| ())
}

/// The pools that programs have made, and not destroyed.
pub(crate) fn made_by_programs() -> Vec<Handle> {
    let defaults: Vec<Option<Handle>> = locked(&OF_DEVICES).iter().map(|pools| pools.default).collect();
    POOLS.all().into_iter().map(|(handle, _)| handle).filter(|handle| !defaults.contains(&Some(*handle))).collect()
}
