//! The device that a command runs on.

use anyhow::Context;
use clap::ValueEnum;
use warpwright::kernel::Kernels;
use warpwright::{Context as Cuda, Stream};
use warpwright_emulator::driver::{Choice, Driver, select};

/// What to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// A GPU if there is one, else the emulator.
    Auto,
    /// A GPU.
    Gpu,
    /// The emulator, which needs no GPU.
    Emulator,
}

/// The option that commands with a device share.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceOption {
    /// What to run on.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
}

/// An open device.
pub(crate) struct Open {
    pub(crate) name: String,
    pub(crate) is_emulator: bool,
    pub(crate) stream: Stream,
    pub(crate) kernels: Kernels,
}

impl DeviceOption {
    /// Opens the device, and says so if a GPU was looked for in vain.
    pub(crate) fn open(&self) -> anyhow::Result<Open> {
        let choice = match self.device {
            Device::Auto => Choice::Auto,
            Device::Gpu => Choice::Gpu,
            Device::Emulator => Choice::Emulator,
        };
        let selected = select(choice)?;
        if let Some(reason) = selected.no_gpu {
            eprintln!("no GPU ({reason}): running on the emulator");
        }
        let context: Cuda = warpwright::device::open(0)?;
        let kernels = Kernels::load(&context).context("the kernels")?;
        let stream = context.new_stream().context("a stream")?;
        let is_emulator = selected.driver == Driver::Emulator;
        Ok(Open { name: context.name().context("the name of the device")?, is_emulator, stream, kernels })
    }
}
