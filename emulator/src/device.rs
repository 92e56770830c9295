//! A device as a library: memory, modules and launches, without the driver API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::checks::Checks;
use crate::exec::{Grid, GridError, Options, Pool, Statistics};
use crate::fault::Fault;
use crate::memory::{Memory, POISONED};
use crate::program::{Common, Parameter, Program, Symbol, decode};
use crate::ptx::ast::{AddressOf, Space, Variable};
use crate::ptx::{PtxError, parse};

/// Memory, and threads to run kernels on.
pub struct Device {
    memory: Arc<Memory>,
    checks: Checks,
    pool: Mutex<Pool>,
}

/// Why a launch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The module has no kernel of that name.
    #[error("there is no kernel {0:?} in the module")]
    NoKernel(String),
    /// A dimension of the grid or the block is zero or over its limit.
    #[error("a grid of {blocks:?} blocks of {threads:?} threads is outside the limits of a launch")]
    Dimensions {
        /// `gridDim`
        blocks: [u32; 3],
        /// `blockDim`
        threads: [u32; 3],
    },
    /// The block is not the one that the kernel demands, or larger than it allows.
    #[error("the kernel does not allow blocks of {0:?} threads")]
    Block([u32; 3]),
    /// The parameters are fewer bytes than the kernel has.
    #[error("the kernel takes {expected} bytes of parameters, not {found}")]
    Parameters {
        /// What the kernel has.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The device has not enough memory.
    #[error("{0} bytes of device memory cannot be had")]
    Memory(u64),
    /// An address range that is not all in one allocation.
    #[error("there are no {bytes} bytes of device memory at {address:#x}")]
    Address {
        /// Its first address.
        address: u64,
        /// Its length.
        bytes: u64,
    },
    /// The kernel did something that no kernel may do.
    #[error(transparent)]
    Fault(Box<Fault>),
}

/// How to launch a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// `gridDim`
    pub blocks: [u32; 3],
    /// `blockDim`
    pub threads: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub dynamic_shared: u32,
    /// The parameters, each at its place in the parameter block ([`Module::parameters`]).
    pub parameters: &'a [u8],
}

/// A loaded PTX module.
pub struct Module {
    version: (u32, u32),
    target: (u32, String),
    programs: Vec<Program>,
    files: Vec<(u32, String)>,
    globals: HashMap<String, (u64, u64)>,
    /// Bytes of the variables in constant memory.
    constant_bytes: u64,
    memory: Arc<Memory>,
}

impl Module {
    /// Parses and decodes a module, and makes its global variables in `memory`.
    pub(crate) fn load(source: &str, memory: &Arc<Memory>) -> Result<Self, PtxError> {
        let parsed = parse(source)?;
        let common = Common::of(&parsed)?;
        let globals = || parsed.variables.iter().filter(|variable| variable.space != Space::Shared);
        let mut module = Self {
            version: parsed.version,
            target: parsed.target.clone(),
            programs: Vec::new(),
            files: parsed.files.clone(),
            globals: HashMap::new(),
            constant_bytes: 0,
            memory: Arc::clone(memory),
        };
        let mut symbols = HashMap::new();
        for (name, address) in common.addresses() {
            symbols.insert(name.to_owned(), Symbol { space: Space::Generic, address });
        }
        for variable in globals() {
            let Variable { name, space, size, line, .. } = variable;
            let too_large = |_| PtxError::new(*line, format!("there is no memory for the variable `{name}`"));
            let address = memory.allocate((*size).max(1)).map_err(too_large)?;
            symbols.insert(name.clone(), Symbol { space: *space, address });
            module.constant_bytes += if *space == Space::Constant { *size } else { 0 };
            module.globals.insert(name.clone(), (address, *size));
        }
        for variable in globals() {
            module.initialize(variable, &symbols)?;
        }
        for kernel in &parsed.kernels {
            module.programs.push(decode(kernel, &symbols, &common)?);
        }
        Ok(module)
    }

    /// Writes the first value of a variable that has its memory.
    fn initialize(&self, variable: &Variable, symbols: &HashMap<String, Symbol>) -> Result<(), PtxError> {
        let mut init = variable.init.clone();
        for AddressOf { at, bytes, symbol, offset, mask, line } in &variable.addresses {
            let Some(Symbol { address, .. }) = symbols.get(symbol) else {
                return Err(PtxError::new(*line, format!("`{symbol}` is not defined")));
            };
            // The mask says which bytes, and they come as the low ones.
            let value = (address.wrapping_add(*offset as u64) & mask) >> mask.trailing_zeros();
            init[*at as usize..][..*bytes as usize].copy_from_slice(&value.to_le_bytes()[..*bytes as usize]);
        }
        let address = self.globals[&variable.name].0;
        if let Some(to) = self.memory.resolve(address, variable.size) {
            let rest = variable.size as usize - init.len();
            // SAFETY: `resolve` found the bytes of the variable, which nothing else knows of yet.
            unsafe {
                to.copy_from_nonoverlapping(init.as_ptr(), init.len());
                // What is larger is zero already, and writing to it would make the host give it memory.
                if variable.size <= POISONED {
                    to.add(init.len()).write_bytes(0, rest);
                }
            }
            self.memory.set_written(address, variable.size, true);
        }
        Ok(())
    }

    /// `.version`
    pub(crate) fn version(&self) -> (u32, u32) {
        self.version
    }

    /// `.target`, without the `sm_`.
    pub(crate) fn target(&self) -> (u32, &str) {
        (self.target.0, &self.target.1)
    }

    pub(crate) fn program(&self, name: &str) -> Option<usize> {
        self.programs.iter().position(|program| program.name == name)
    }

    pub(crate) fn program_at(&self, index: usize) -> &Program {
        &self.programs[index]
    }

    /// Bytes of the variables in constant memory.
    pub(crate) fn constant_bytes(&self) -> u64 {
        self.constant_bytes
    }

    /// The address and size of a global variable.
    pub(crate) fn global(&self, name: &str) -> Option<(u64, u64)> {
        self.globals.get(name).copied()
    }

    pub(crate) fn grid<'a>(
        &'a self,
        index: usize,
        blocks: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        parameters: &'a [u64],
    ) -> Grid<'a> {
        let (program, files, options) = (&self.programs[index], &self.files[..], Options::default());
        Grid {
            program,
            files,
            blocks,
            block,
            cluster: program.cluster,
            dynamic_shared,
            parameters,
            workspace: 0,
            options,
        }
    }

    /// The names of the kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(|program| program.name.as_str())
    }

    /// Where the parameters of a kernel are in its parameter block.
    pub fn parameters(&self, kernel: &str) -> Option<&[Parameter]> {
        self.program(kernel).map(|index| &self.programs[index].parameters[..])
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        for &(address, _) in self.globals.values() {
            // It was allocated in `load`, so this cannot fail.
            let _ = self.memory.free(address);
        }
    }
}

impl Device {
    /// A device with `memory` bytes that runs kernels on `threads` threads.
    #[must_use]
    pub fn new(memory: u64, threads: usize) -> Self {
        Self::with_checks(memory, threads, Checks::NONE)
    }

    /// A device with `memory` bytes that runs kernels on `threads` threads, under checks of what they read and of races.
    #[must_use]
    pub fn with_checks(memory: u64, threads: usize, checks: Checks) -> Self {
        let memory = Arc::new(Memory::new(memory, checks.initialised || checks.races));
        Self { memory, checks, pool: Mutex::new(Pool::new(threads)) }
    }

    /// Parses and decodes a PTX module.
    ///
    /// # Errors
    /// What in it is not PTX, or not supported, with its line. Instructions of functions that no kernel can reach are not
    /// looked at.
    pub fn load(&self, ptx: &str) -> Result<Module, PtxError> {
        Module::load(ptx, &self.memory)
    }

    /// Allocates device memory that holds `data`, and returns its address.
    ///
    /// # Errors
    /// [`LaunchError::Memory`] when there is not so much.
    pub fn upload(&self, data: &[u8]) -> Result<u64, LaunchError> {
        let address = self.memory.allocate(data.len() as u64).map_err(|_| LaunchError::Memory(data.len() as u64))?;
        self.write(address, data)?;
        Ok(address)
    }

    /// Allocates `bytes` bytes at `offset` bytes past a multiple of 512, and returns their address. They may be none: the
    /// address of no bytes is one that nothing can be read from. Up to 16 MiB are filled with ones, more are zero; those
    /// take host memory only where they are touched, so they may be more than there is.
    ///
    /// # Errors
    /// [`LaunchError::Memory`] when the device has not so much.
    pub fn allocate(&self, bytes: u64, offset: u64) -> Result<u64, LaunchError> {
        self.memory.allocate_at(bytes, offset).map_err(|_| LaunchError::Memory(bytes))
    }

    /// Sets every byte of device memory to one value.
    ///
    /// # Errors
    /// [`LaunchError::Address`] when the range is not all in one allocation.
    pub fn fill(&self, address: u64, bytes: u64, value: u8) -> Result<(), LaunchError> {
        let _idle = self.pool();
        let at = self.memory.resolve(address, bytes).ok_or(LaunchError::Address { address, bytes })?;
        // SAFETY: as in `write`; `resolve` found memory of the host, so its length fits in `usize`.
        unsafe { at.write_bytes(value, bytes as usize) };
        self.memory.set_written(address, bytes, true);
        self.memory.tracker().other_work();
        Ok(())
    }

    /// Says whether memory counts as written, where that is checked. What it holds stays as it is.
    ///
    /// # Errors
    /// [`LaunchError::Address`] when the range is not all in one allocation.
    pub fn set_written(&self, address: u64, bytes: u64, written: bool) -> Result<(), LaunchError> {
        let _idle = self.pool();
        self.memory.resolve(address, bytes).ok_or(LaunchError::Address { address, bytes })?;
        self.memory.set_written(address, bytes, written);
        Ok(())
    }

    /// Copies to device memory.
    ///
    /// # Errors
    /// [`LaunchError::Address`] when the range is not all in one allocation.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), LaunchError> {
        let bytes = data.len() as u64;
        let _idle = self.pool();
        let at = self.memory.resolve(address, bytes).ok_or(LaunchError::Address { address, bytes })?;
        // SAFETY: `resolve` found as many bytes, and no kernel runs while the pool is locked.
        unsafe { at.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        self.memory.set_written(address, bytes, true);
        self.memory.tracker().other_work();
        Ok(())
    }

    /// Copies from device memory.
    ///
    /// # Errors
    /// [`LaunchError::Address`] when the range is not all in one allocation.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), LaunchError> {
        let bytes = data.len() as u64;
        let _idle = self.pool();
        let at = self.memory.resolve(address, bytes).ok_or(LaunchError::Address { address, bytes })?;
        // SAFETY: as in `write`.
        unsafe { at.copy_to_nonoverlapping(data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    /// Frees memory by its first address.
    ///
    /// # Errors
    /// [`LaunchError::Address`] when no allocation starts there.
    pub fn free(&self, address: u64) -> Result<(), LaunchError> {
        let _idle = self.pool();
        self.memory.free(address).map_err(|_| LaunchError::Address { address, bytes: 0 })
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn launch(&self, module: &Module, kernel: &str, launch: &Launch<'_>) -> Result<Statistics, LaunchError> {
        self.launch_with(module, kernel, launch, &Options::default())
    }

    /// Runs a kernel to its end, or some of its blocks, or until a limit.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn launch_with(
        &self,
        module: &Module,
        kernel: &str,
        launch: &Launch<'_>,
        options: &Options<'_>,
    ) -> Result<Statistics, LaunchError> {
        let index = module.program(kernel).ok_or_else(|| LaunchError::NoKernel(kernel.to_owned()))?;
        let mut words = vec![0u64; launch.parameters.len().div_ceil(8)];
        for (word, bytes) in words.iter_mut().zip(launch.parameters.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(padded);
        }
        let grid = module.grid(index, launch.blocks, launch.threads, launch.dynamic_shared, &words);
        let grid = Grid { options: *options, ..grid };
        grid.check().map_err(|error| match error {
            GridError::Dimensions => LaunchError::Dimensions { blocks: launch.blocks, threads: launch.threads },
            GridError::Block => LaunchError::Block(launch.threads),
            GridError::Parameters => {
                let expected = module.program_at(index).parameter_bytes();
                LaunchError::Parameters { expected, found: launch.parameters.len() }
            }
        })?;
        self.pool().run(&grid, &self.memory, self.checks).map_err(LaunchError::Fault)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
