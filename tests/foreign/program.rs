//! A compiled source on an emulated device under every check, and calls of its kernels.

use bytemuck::Pod;
use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Device, Launch, LaunchError, Module, Options};

use crate::toolchain::compile;

/// The orders of execution that each kernel is run in: the fast one, and some drawn from seeds.
const SCHEDULES: [Option<u64>; 3] = [None, Some(1), Some(0x5eed)];

/// More than any thread block here executes, so that one that waits forever ends.
const LIMIT: u64 = 1 << 28;

pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) target: u32,
    pub(crate) device: Device,
    module: Module,
}

/// A parameter of a kernel, or the memory that it points to.
enum Argument {
    Input(Vec<u8>),
    Output(usize),
    Changed(Vec<u8>),
    Value(Vec<u8>),
}

/// A launch with memory of its own.
pub(crate) struct Call<'a> {
    program: &'a Program,
    kernel: String,
    blocks: [u32; 3],
    threads: [u32; 3],
    shared: u32,
    cooperative: bool,
    arguments: Vec<Argument>,
}

/// What the pointers that are not input point to after a launch.
pub(crate) struct Results<'a> {
    buffers: &'a [Vec<u8>],
    printed: &'a str,
}

/// A struct of so many bytes: its fields, and what is between them.
pub(crate) fn bytes_of<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    parts.concat().try_into().expect("as many bytes as the struct has")
}

fn values<T: Pod>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

impl Program {
    /// Compiles a source for a target and loads it.
    pub(crate) fn new(name: &'static str, target: u32) -> Self {
        Self::under(name, target, Checks::ALL)
    }

    /// The same without the check of reads of what nothing has written: for kernels that move such values through shared
    /// memory, or load them there, and in the end discard them.
    pub(crate) fn that_discards(&self) -> Self {
        Self::under(self.name, self.target, Checks { initialised: false, ..Checks::ALL })
    }

    fn under(name: &'static str, target: u32, checks: Checks) -> Self {
        let device = Device::with_checks(1 << 30, 2, checks);
        let module = device.load(&compile(name, target)).unwrap_or_else(|error| panic!("{name} {target}: {error}"));
        Self { name, target, device, module }
    }

    /// A call of the kernel of that name.
    pub(crate) fn call(&self, kernel: &str) -> Call<'_> {
        Call {
            program: self,
            kernel: kernel.to_owned(),
            blocks: [1; 3],
            threads: [32, 1, 1],
            shared: 0,
            cooperative: false,
            arguments: Vec::new(),
        }
    }

    /// A call of the one kernel whose mangled name has all these parts.
    pub(crate) fn call_of(&self, parts: &[&str]) -> Call<'_> {
        let mut all = self.module.kernels().filter(|name| parts.iter().all(|part| name.contains(part)));
        match (all.next(), all.next()) {
            (Some(kernel), None) => self.call(kernel),
            (None, _) => panic!("{}.cu has no kernel {parts:?}", self.name),
            (Some(one), Some(other)) => panic!("{}.cu: {parts:?} are in {one} and {other}", self.name),
        }
    }

    /// Does it in each order of execution.
    pub(crate) fn schedules(&self, mut run: impl FnMut(Option<u64>)) {
        SCHEDULES.into_iter().for_each(&mut run);
    }

    pub(crate) fn upload<T: Pod>(&self, values: &[T]) -> u64 {
        self.device.upload(bytemuck::cast_slice(values)).expect("device memory")
    }

    /// Memory that nothing has written.
    pub(crate) fn poisoned<T>(&self, count: usize) -> u64 {
        self.device.allocate((count * size_of::<T>()) as u64, 0).expect("device memory")
    }

    pub(crate) fn read<T: Pod>(&self, address: u64, count: usize) -> Vec<T> {
        let mut bytes = vec![0; count * size_of::<T>()];
        self.device.read(address, &mut bytes).expect("device memory");
        values(&bytes)
    }
}

impl Call<'_> {
    pub(crate) fn blocks(mut self, blocks: u32) -> Self {
        self.blocks[0] = blocks;
        self
    }

    pub(crate) fn grid(mut self, blocks: [u32; 3]) -> Self {
        self.blocks = blocks;
        self
    }

    pub(crate) fn threads(mut self, threads: u32) -> Self {
        self.threads[0] = threads;
        self
    }

    pub(crate) fn block(mut self, threads: [u32; 3]) -> Self {
        self.threads = threads;
        self
    }

    /// Bytes of dynamic shared memory.
    pub(crate) fn shared(mut self, bytes: u32) -> Self {
        self.shared = bytes;
        self
    }

    /// Launches all blocks together, so that they can meet.
    pub(crate) fn cooperative(mut self) -> Self {
        self.cooperative = true;
        self
    }

    /// A pointer to values that the kernel leaves as they are.
    pub(crate) fn input<T: Pod>(mut self, values: &[T]) -> Self {
        self.arguments.push(Argument::Input(bytemuck::cast_slice(values).to_vec()));
        self
    }

    /// A pointer to so many values, which count as not written.
    pub(crate) fn output<T: Pod>(mut self, count: usize) -> Self {
        self.arguments.push(Argument::Output(count * size_of::<T>()));
        self
    }

    /// A pointer to values that the kernel changes.
    pub(crate) fn changed<T: Pod>(mut self, values: &[T]) -> Self {
        self.arguments.push(Argument::Changed(bytemuck::cast_slice(values).to_vec()));
        self
    }

    /// A parameter that is passed by value: also an address.
    pub(crate) fn value<T: Pod>(mut self, value: T) -> Self {
        self.arguments.push(Argument::Value(bytemuck::bytes_of(&value).to_vec()));
        self
    }

    /// Launches it in each order of execution, with fresh memory, and has each end checked.
    pub(crate) fn run(self, mut check: impl FnMut(&Results<'_>)) {
        for schedule in SCHEDULES {
            self.once(schedule, &mut check);
        }
    }

    fn once(&self, schedule: Option<u64>, check: &mut impl FnMut(&Results<'_>)) {
        let device = &self.program.device;
        let place = |argument: &Argument| match argument {
            Argument::Input(bytes) | Argument::Changed(bytes) => device.upload(bytes).expect("device memory"),
            Argument::Output(bytes) => device.allocate(*bytes as u64, 0).expect("device memory"),
            Argument::Value(_) => 0,
        };
        let addresses: Vec<u64> = self.arguments.iter().map(place).collect();
        let printed = self.launch_at(&addresses, schedule);
        let mut buffers = Vec::new();
        for (argument, &address) in self.arguments.iter().zip(&addresses) {
            let length = match argument {
                Argument::Input(bytes) | Argument::Changed(bytes) => bytes.len(),
                Argument::Output(bytes) => *bytes,
                Argument::Value(_) => continue,
            };
            let mut after = vec![0; length];
            device.read(address, &mut after).expect("device memory");
            device.free(address).expect("device memory");
            match argument {
                Argument::Input(before) => assert!(*before == after, "{} has changed its input", self.what(schedule)),
                _ => buffers.push(after),
            }
        }
        check(&Results { buffers: &buffers, printed: &printed });
    }

    /// Launches it once; all its arguments are values.
    pub(crate) fn launch(&self, schedule: Option<u64>) {
        self.launch_at(&vec![0; self.arguments.len()], schedule);
    }

    fn launch_at(&self, addresses: &[u64], schedule: Option<u64>) -> String {
        let Program { device, module, .. } = self.program;
        let places = module.parameters(&self.kernel).unwrap_or_else(|| panic!("no kernel: {}", self.what(schedule)));
        assert_eq!(places.len(), self.arguments.len(), "{}: parameters", self.what(schedule));
        let mut parameters = vec![0; places.last().map_or(0, |last| (last.offset + last.size) as usize)];
        for (n, (place, (argument, address))) in places.iter().zip(self.arguments.iter().zip(addresses)).enumerate() {
            let address = address.to_le_bytes();
            let bytes = if let Argument::Value(bytes) = argument { &bytes[..] } else { &address[..] };
            assert_eq!(bytes.len(), place.size as usize, "{}: parameter {n}", self.what(schedule));
            parameters[place.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        let launch =
            Launch { blocks: self.blocks, threads: self.threads, dynamic_shared: self.shared, parameters: &parameters };
        let printed = std::sync::Mutex::new(Vec::new());
        let (cooperative, output) = (self.cooperative, Some(&printed));
        let options = Options { schedule, instruction_limit: LIMIT, output, cooperative, ..Options::default() };
        match device.launch_with(module, &self.kernel, &launch, &options) {
            Ok(_) => String::from_utf8(printed.into_inner().unwrap()).expect("printed text"),
            Err(LaunchError::Fault(fault)) => panic!("{}:\n{fault}", self.what(schedule)),
            Err(other) => panic!("{}: {other}", self.what(schedule)),
        }
    }

    fn what(&self, schedule: Option<u64>) -> String {
        let Program { name, target, .. } = self.program;
        let (blocks, threads) = (self.blocks, self.threads);
        format!("{name}.cu for {target}, {} with {blocks:?} blocks of {threads:?}, schedule {schedule:?}", self.kernel)
    }
}

impl Results<'_> {
    /// One of the pointers that are not input, by its number among them.
    pub(crate) fn get<T: Pod>(&self, number: usize) -> Vec<T> {
        values(&self.buffers[number])
    }

    /// What the kernel printed.
    pub(crate) fn printed(&self) -> &str {
        self.printed
    }
}
