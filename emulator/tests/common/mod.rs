//! Runs small kernels that are written in PTX.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(unreachable_pub, reason = "it is private to each test")]

use std::cell::RefCell;

use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Device, Fault, Launch, LaunchError, Module, Options, Statistics};

/// A kernel `k` with 64-bit parameters `p0`, `p1`, …, and plenty of registers.
pub fn kernel(parameters: usize, directives: &str, body: &str) -> String {
    let parameters: Vec<String> = (0..parameters).map(|n| format!(".param .u64 p{n}")).collect();
    format!(
        ".version 8.0\n.target sm_75\n.address_size 64\n{directives}\n.visible .entry k({})\n{{\n.reg .pred %p<9>;\n\
         .reg .b16 %rs<9>;\n.reg .b32 %r<32>;\n.reg .f32 %f<9>;\n.reg .b64 %rd<32>;\n.reg .f64 %fd<9>;\n{body}\n}}\n",
        parameters.join(", ")
    )
}

thread_local! {
    /// The modules that benches of this thread were made of and launched.
    static LAUNCHED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The modules that this thread has launched since it was last asked.
pub fn launched() -> Vec<String> {
    LAUNCHED.take()
}

/// A device with one module.
pub struct Bench {
    ptx: RefCell<Option<String>>,
    pub device: Device,
    pub module: Module,
}

impl Bench {
    pub fn new(ptx: &str) -> Self {
        Self::checked(ptx, Checks::NONE)
    }

    pub fn checked(ptx: &str, checks: Checks) -> Self {
        let device = Device::with_checks(1 << 32, 2, checks);
        let module = device.load(ptx).unwrap_or_else(|error| panic!("{error}\n{ptx}"));
        Self { ptx: RefCell::new(Some(ptx.to_owned())), device, module }
    }

    pub fn upload<T: Copy>(&self, values: &[T]) -> u64
    where
        Vec<u8>: FromValues<T>,
    {
        self.device.upload(&<Vec<u8> as FromValues<T>>::from_values(values)).expect("memory")
    }

    pub fn read_u32(&self, address: u64, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; count * 4];
        self.device.read(address, &mut bytes).expect("memory");
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    pub fn read_u64(&self, address: u64, count: usize) -> Vec<u64> {
        let words = self.read_u32(address, 2 * count);
        words.chunks_exact(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 32).collect()
    }

    pub fn launch(&self, blocks: [u32; 3], threads: [u32; 3], parameters: &[u64]) -> Result<(), LaunchError> {
        self.launch_with(blocks, threads, parameters, &Options::default()).map(|_| ())
    }

    pub fn launch_with(
        &self,
        blocks: [u32; 3],
        threads: [u32; 3],
        parameters: &[u64],
        options: &Options<'_>,
    ) -> Result<Statistics, LaunchError> {
        let bytes: Vec<u8> = parameters.iter().flat_map(|parameter| parameter.to_le_bytes()).collect();
        let launch = Launch { blocks, threads, dynamic_shared: 0, parameters: &bytes };
        LAUNCHED.with_borrow_mut(|launched| launched.extend(self.ptx.take()));
        self.device.launch_with(&self.module, "k", &launch, options)
    }

    /// The fault of a launch that has to have one.
    pub fn fault(&self, blocks: u32, threads: u32, parameters: &[u64]) -> Box<Fault> {
        match self.launch([blocks, 1, 1], [threads, 1, 1], parameters) {
            Err(LaunchError::Fault(fault)) => fault,
            other => panic!("expected a fault, got {other:?}"),
        }
    }
}

/// Little-endian bytes of values.
pub trait FromValues<T> {
    fn from_values(values: &[T]) -> Self;
}

macro_rules! from_values {
    ($($type:ty),*) => {$(
        impl FromValues<$type> for Vec<u8> {
            fn from_values(values: &[$type]) -> Self {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
        }
    )*};
}
from_values!(u8, u16, u32, u64, f32, f64);
