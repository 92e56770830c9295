//! The devices of this process: which there are, each with its profile, its memory and its primary context.

use std::ffi::c_int;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};

use super::code::{Code, Result};
use super::context::{CONTEXTS, Context, INITIALISED, locked};
use super::handle::Handle;
use super::operation::report;
use crate::memory::Memory;
use crate::profile::{DEFAULT, Profile};

/// The devices, made when they are first needed. None, and a message, if the environment names one that there is not.
pub(crate) static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(|| match profiles() {
    Ok(profiles) => {
        let count = profiles.len() as u64;
        profiles.into_iter().enumerate().map(|(index, profile)| Device::new(index, count, profile)).collect()
    }
    Err(error) => {
        report(&format!("{VARIABLE}: {error}"));
        Vec::new()
    }
});

/// Names the profiles of the devices, with commas between them.
const VARIABLE: &str = "WARPWRIGHT_EMULATOR_DEVICES";

/// The most devices that there may be.
const MOST: usize = 16;

fn profiles() -> std::result::Result<Vec<Profile>, String> {
    let Some(names) = std::env::var_os(VARIABLE) else { return Ok(vec![DEFAULT]) };
    let names = names.to_string_lossy();
    let profiles = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Profile::of);
    let profiles = profiles.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    if profiles.len() > MOST { Err(format!("there can be {MOST} devices at most")) } else { Ok(profiles) }
}

/// A device.
pub(crate) struct Device {
    pub(crate) index: usize,
    pub(crate) profile: Profile,
    pub(crate) memory: Arc<Memory>,
    primary: Mutex<Primary>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("index", &self.index).finish_non_exhaustive()
    }
}

/// The primary context of a device.
#[derive(Debug, Default)]
struct Primary {
    context: Option<Handle>,
    /// How often it is retained.
    count: usize,
    flags: u32,
}

impl Device {
    fn new(index: usize, count: u64, profile: Profile) -> Self {
        let memory = Arc::new(Memory::share(profile.memory_bytes, false, index as u64, count));
        Self { index, profile, memory, primary: Mutex::default() }
    }

    /// The device with a number.
    pub(crate) fn get(number: c_int) -> Result<&'static Self> {
        if !INITIALISED.load(Ordering::Acquire) {
            return Err(Code::NOT_INITIALIZED);
        }
        usize::try_from(number).ok().and_then(|index| DEVICES.get(index)).ok_or(Code::INVALID_DEVICE)
    }

    /// Retains the primary context.
    pub(crate) fn retain_primary(&'static self) -> Handle {
        let mut primary = locked(&self.primary);
        let flags = primary.flags;
        let handle = *primary.context.get_or_insert_with(|| Context::create(self, true, flags));
        primary.count += 1;
        handle
    }

    /// Releases the primary context; the last release destroys it.
    pub(crate) fn release_primary(&self) -> Result<()> {
        let mut primary = locked(&self.primary);
        primary.count = primary.count.checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
        let last = if primary.count == 0 { primary.context.take() } else { None };
        drop(primary);
        last.map_or(Ok(()), Context::destroy)
    }

    /// Destroys what the primary context holds, however often it is retained. It is made anew when it is used again.
    pub(crate) fn reset_primary(&self) -> Result<()> {
        let mut primary = locked(&self.primary);
        let context = primary.context.take();
        primary.count = 0;
        drop(primary);
        context.map_or(Ok(()), Context::destroy)
    }

    /// Sets the flags of the primary context, now and when it is made anew.
    pub(crate) fn set_primary_flags(&self, flags: u32) {
        let mut primary = locked(&self.primary);
        primary.flags = flags;
        if let Some(context) = primary.context.and_then(|handle| CONTEXTS.get(handle).ok()) {
            context.flags.store(flags, Ordering::Relaxed);
        }
    }

    /// The flags of the primary context, and whether it exists.
    pub(crate) fn primary_state(&self) -> (u32, bool) {
        let primary = locked(&self.primary);
        (primary.flags, primary.context.is_some())
    }

    /// The device that an address belongs to, whether anything is allocated there or not.
    pub(crate) fn of_address(address: u64) -> Option<&'static Self> {
        DEVICES.iter().find(|device| device.memory.has(address))
    }
}

/// Where the host finds `bytes` bytes at an address of any device, or of host memory that devices may use.
pub(crate) fn resolve(address: u64, bytes: u64) -> Option<*mut u8> {
    // Host memory is known to every device.
    Device::of_address(address).or_else(|| DEVICES.first())?.memory.resolve(address, bytes)
}
