//! Modules and libraries: loaded PTX, its kernels, and what can be set of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::code::{Code, Result};
use super::context::{Context, locked};
use super::engine::ENGINE;
use super::fatbin::Refusal;
use super::handle::{Handle, Table};
use crate::device::Module;
use crate::memory::Memory;
use crate::profile::Profile;
use crate::program::Program;

pub(crate) static MODULES: Table<LoadedModule> = Table::new();
pub(crate) static FUNCTIONS: Table<Function> = Table::new();
pub(crate) static LIBRARIES: Table<Library> = Table::new();
pub(crate) static KERNELS: Table<Kernel> = Table::new();

/// The newest PTX that is accepted.
const PTX_VERSION: (u32, u32) = (9, 0);

/// Registers of a thread that leave room for as many threads as a multiprocessor can have.
const REGISTERS: u32 = 32;
/// Registers are given out in pieces of so many, and a kernel has at least two pieces.
const REGISTER_UNIT: u32 = 8;

/// A module in a context.
pub(crate) struct LoadedModule {
    pub(crate) context: Arc<Context>,
    pub(crate) module: Module,
    pub(crate) unloaded: AtomicBool,
    /// The limit of registers that it was compiled with.
    max_registers: Option<u32>,
    /// The library that it is of, if it is of one.
    library: Option<Weak<Library>>,
    /// The functions that were asked for, by their index.
    functions: Mutex<Vec<(usize, Handle)>>,
}

impl std::fmt::Debug for LoadedModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModule").finish_non_exhaustive()
    }
}

/// Parses a module into `memory`, and checks that a device can run it.
fn parse(source: &str, memory: &Arc<Memory>, profile: &Profile) -> std::result::Result<Module, Refusal> {
    let module = Module::load(source, memory).map_err(|error| (Code::INVALID_PTX, error.to_string()))?;
    let (version, (target, suffix)) = (module.version(), module.target());
    if version > PTX_VERSION {
        let (newest, _) = PTX_VERSION;
        let message = format!("PTX {}.{} is newer than the driver, which knows {newest}.0", version.0, version.1);
        return Err((Code::UNSUPPORTED_PTX_VERSION, message));
    }
    if !profile.accepts(target, suffix) {
        let message =
            format!("the target sm_{target}{suffix} does not fit the device, which is sm_{}", profile.target());
        return Err((Code::INVALID_PTX, message));
    }
    Ok(module)
}

/// What a verbose log says of a module: a line for each kernel.
pub(crate) fn describe(module: &Module) -> String {
    let line = |program: &Program| {
        let (shared, local, parameters) = (program.shared_bytes, program.local_bytes, program.parameter_bytes());
        let name = &program.name;
        format!("kernel {name}: {parameters} bytes of parameters, {shared} of shared memory, {local} of local memory\n")
    };
    (0..module.kernels().count()).map(|index| line(module.program_at(index))).collect()
}

impl LoadedModule {
    /// Loads PTX into a context.
    pub(crate) fn load(
        context: &Arc<Context>,
        source: &str,
        max_registers: Option<u32>,
    ) -> std::result::Result<Self, Refusal> {
        let module = parse(source, &context.device.memory, &context.device.profile)?;
        Ok(Self {
            context: Arc::clone(context),
            module,
            unloaded: AtomicBool::new(false),
            max_registers,
            library: None,
            functions: Mutex::default(),
        })
    }

    /// The handle of a function, the same every time.
    pub(crate) fn function(self: &Arc<Self>, name: &str) -> Result<Handle> {
        Ok(self.function_at(self.module.program(name).ok_or(Code::NOT_FOUND)?))
    }

    /// As [`function`](Self::function), by the index of the kernel.
    pub(crate) fn function_at(self: &Arc<Self>, index: usize) -> Handle {
        let mut functions = locked(&self.functions);
        if let Some((_, handle)) = functions.iter().find(|(known, _)| *known == index) {
            return *handle;
        }
        let library = self.library.as_ref().and_then(Weak::upgrade);
        let settings = match library.as_ref().and_then(|library| library.kernel_at(index)) {
            Some(kernel) => Arc::clone(&kernel.settings),
            None => Arc::default(),
        };
        let handle = FUNCTIONS.insert_with(|handle| {
            Arc::new(Function { handle, module: Arc::clone(self), index, settings, shape: Mutex::default() })
        });
        functions.push((index, handle));
        handle
    }

    /// Unloads the module: its functions cannot be launched any more.
    pub(crate) fn unload(&self) {
        self.unloaded.store(true, Ordering::Release);
        for (_, handle) in locked(&self.functions).drain(..) {
            // Destroying the context may have been first.
            let _ = FUNCTIONS.remove(handle);
        }
    }
}

/// What can be set of a kernel. A function of a library shares it with the kernel of the library.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The dynamic shared memory that it may be launched with, in bytes.
    pub(crate) max_dynamic_shared: AtomicU32,
    /// The part of the memory of a multiprocessor that is preferred to be shared memory, in percent; -1 for none.
    pub(crate) carveout: AtomicI32,
    /// Whether clusters may have more blocks than every device can run.
    pub(crate) large_clusters: AtomicBool,
    pub(crate) cluster_scheduling: AtomicI32,
    /// The blocks of a cluster that every launch must have; 0 in all dimensions for none.
    pub(crate) required_cluster: Mutex<[u32; 3]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_dynamic_shared: AtomicU32::new(48 << 10),
            carveout: AtomicI32::new(-1),
            large_clusters: AtomicBool::new(false),
            cluster_scheduling: AtomicI32::new(0),
            required_cluster: Mutex::default(),
        }
    }
}

/// The block and parameters that the functions from before `cuLaunchKernel` set.
#[derive(Debug, Default)]
pub(crate) struct LegacyLaunch {
    pub(crate) block: [u32; 3],
    pub(crate) dynamic_shared: u32,
    pub(crate) parameters: Vec<u8>,
}

/// A kernel of a module.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) handle: Handle,
    pub(crate) module: Arc<LoadedModule>,
    pub(crate) index: usize,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shape: Mutex<LegacyLaunch>,
}

impl Function {
    /// The function of a `CUfunction`; also of a `CUkernel`, which may be used in its place and is loaded into the
    /// current context.
    pub(crate) fn get(handle: Handle) -> Result<Arc<Self>> {
        match FUNCTIONS.get(handle) {
            Ok(function) => Ok(function),
            Err(code) => FUNCTIONS.get(KERNELS.get(handle).map_err(|_| code)?.function()?),
        }
    }

    pub(crate) fn program(&self) -> &Program {
        self.module.module.program_at(self.index)
    }

    /// The profile of its device.
    pub(crate) fn profile(&self) -> &'static Profile {
        &self.module.context.device.profile
    }

    /// A `CUfunction_attribute`.
    pub(crate) fn attribute(&self, attribute: i32) -> Result<i32> {
        let LoadedModule { module, max_registers, .. } = &*self.module;
        attribute_of(module, self.index, &self.settings, *max_registers, attribute, self.profile())
    }
}

/// Program and settings of a kernel as its attributes.
fn attribute_of(
    module: &Module,
    index: usize,
    settings: &Settings,
    max_registers: Option<u32>,
    attribute: i32,
    profile: &Profile,
) -> Result<i32> {
    let program = module.program_at(index);
    let cluster = |dimension: usize| match program.cluster {
        [1, 1, 1] => locked(&settings.required_cluster)[dimension] as i32,
        compiled => compiled[dimension] as i32,
    };
    let of_block = program.required_block.or(program.max_block);
    let (major, minor) = module.version();
    Ok(match attribute {
        0 => of_block.map_or(1024, |block| block.iter().product::<u32>().min(1024) as i32),
        1 => program.shared_bytes as i32,
        2 => module.constant_bytes() as i32,
        3 => program.local_bytes as i32,
        4 => {
            // PTX has no registers of the machine. The estimate leaves a multiprocessor room for all its threads.
            let used = (program.register_bytes / crate::program::ROW).next_multiple_of(REGISTER_UNIT);
            used.clamp(2 * REGISTER_UNIT, REGISTERS).min(max_registers.unwrap_or(REGISTERS)) as i32
        }
        5 => (major * 10 + minor) as i32,
        6 => profile.target() as i32,
        7 => 0,
        8 => settings.max_dynamic_shared.load(Ordering::Relaxed) as i32,
        9 => settings.carveout.load(Ordering::Relaxed),
        10 => i32::from(cluster(0) != 0),
        11..=13 => cluster(attribute as usize - 11),
        14 => i32::from(settings.large_clusters.load(Ordering::Relaxed)),
        15 => settings.cluster_scheduling.load(Ordering::Relaxed),
        _ => return Err(Code::INVALID_VALUE),
    })
}

/// Sets a `CUfunction_attribute` of a kernel on a device.
pub(crate) fn set_attribute(
    program: &Program,
    settings: &Settings,
    attribute: i32,
    value: i32,
    profile: &Profile,
) -> Result<()> {
    match attribute {
        // dynamic shared memory: with the static, at most what a block can have
        8 => {
            let bytes = u32::try_from(value).map_err(|_| Code::INVALID_VALUE)?;
            if u64::from(bytes) + program.shared_bytes > u64::from(profile.shared_per_block_optin) {
                return Err(Code::INVALID_VALUE);
            }
            settings.max_dynamic_shared.store(bytes, Ordering::Relaxed);
        }
        9 if (-1..=100).contains(&value) => settings.carveout.store(value, Ordering::Relaxed),
        // What was said when it was compiled cannot be changed.
        11..=13 if program.cluster != [1; 3] => return Err(Code::NOT_PERMITTED),
        11..=13 => {
            let blocks = u32::try_from(value).map_err(|_| Code::INVALID_VALUE)?;
            locked(&settings.required_cluster)[attribute as usize - 11] = blocks;
        }
        14 if value & !1 == 0 => settings.large_clusters.store(value == 1, Ordering::Relaxed),
        15 if (0..=2).contains(&value) => settings.cluster_scheduling.store(value, Ordering::Relaxed),
        _ => return Err(Code::INVALID_VALUE),
    }
    Ok(())
}

/// Code that is loaded into each context that uses it.
pub(crate) struct Library {
    source: String,
    max_registers: Option<u32>,
    /// The module with memory of its own, that nothing runs on: what can be asked without a context.
    prototype: Module,
    /// The module in each context that has used it, with its handle.
    loaded: Mutex<HashMap<Handle, (Handle, Arc<LoadedModule>)>>,
    /// Its kernels in their order.
    kernels: OnceLock<Vec<Handle>>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// A kernel of a library, which is a function in each context.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) library: Weak<Library>,
    index: usize,
    settings: Arc<Settings>,
}

impl Library {
    /// A library of PTX, for devices such as this one.
    pub(crate) fn load(
        source: &str,
        max_registers: Option<u32>,
        profile: &Profile,
    ) -> std::result::Result<(Handle, Arc<Self>), Refusal> {
        let prototype = parse(source, &Arc::new(Memory::new(u64::MAX, false)), profile)?;
        let count = prototype.kernels().count();
        let library = Arc::new(Self {
            source: source.to_owned(),
            max_registers,
            prototype,
            loaded: Mutex::default(),
            kernels: OnceLock::new(),
        });
        library.kernels.get_or_init(|| {
            let kernel =
                |index| Arc::new(Kernel { library: Arc::downgrade(&library), index, settings: Arc::default() });
            (0..count).map(|index| KERNELS.insert(kernel(index))).collect()
        });
        Ok((LIBRARIES.insert(Arc::clone(&library)), library))
    }

    pub(crate) fn prototype(&self) -> &Module {
        &self.prototype
    }

    pub(crate) fn kernels(&self) -> &[Handle] {
        self.kernels.get().map_or(&[], Vec::as_slice)
    }

    fn kernel_at(&self, index: usize) -> Option<Arc<Kernel>> {
        KERNELS.get(*self.kernels().get(index)?).ok()
    }

    /// The handle of a kernel.
    pub(crate) fn kernel(&self, name: &str) -> Result<Handle> {
        let index = self.prototype.program(name).ok_or(Code::NOT_FOUND)?;
        self.kernels().get(index).copied().ok_or(Code::NOT_FOUND)
    }

    /// The module in the current context, which is loaded when it is first asked for.
    pub(crate) fn module(self: &Arc<Self>) -> Result<(Handle, Arc<LoadedModule>)> {
        let context = Context::current()?;
        let mut loaded = locked(&self.loaded);
        if let Some((handle, module)) = loaded.get(&context.handle()) {
            return Ok((*handle, Arc::clone(module)));
        }
        let module = LoadedModule::load(&context, &self.source, self.max_registers).map_err(|(code, message)| {
            super::operation::report(&message);
            code
        })?;
        let module = Arc::new(LoadedModule { library: Some(Arc::downgrade(self)), ..module });
        let handle = MODULES.insert(Arc::clone(&module));
        loaded.insert(context.handle(), (handle, Arc::clone(&module)));
        Ok((handle, module))
    }

    /// Unloads it from all contexts.
    pub(crate) fn unload(&self) {
        for (handle, module) in locked(&self.loaded).drain().map(|(_, loaded)| loaded) {
            // A context that was destroyed has unloaded its own.
            let _ = MODULES.remove(handle);
            // Kernels that were launched before are run.
            ENGINE.wait_for(&module.context);
            module.unload();
        }
        for kernel in self.kernels() {
            // They are removed only here.
            let _ = KERNELS.remove(*kernel);
        }
    }
}

impl Kernel {
    pub(crate) fn library(&self) -> Result<Arc<Library>> {
        self.library.upgrade().ok_or(Code::INVALID_HANDLE)
    }

    /// The function in the current context.
    pub(crate) fn function(&self) -> Result<Handle> {
        Ok(self.library()?.module()?.1.function_at(self.index))
    }

    /// Calls `with` with its program, and its place in the module.
    pub(crate) fn with_program<T>(&self, with: impl FnOnce(&Program) -> T) -> Result<T> {
        Ok(with(self.library()?.prototype.program_at(self.index)))
    }

    pub(crate) fn attribute(&self, attribute: i32, profile: &Profile) -> Result<i32> {
        let library = self.library()?;
        attribute_of(&library.prototype, self.index, &self.settings, library.max_registers, attribute, profile)
    }

    pub(crate) fn set_attribute(&self, attribute: i32, value: i32, profile: &Profile) -> Result<()> {
        self.with_program(|program| set_attribute(program, &self.settings, attribute, value, profile))?
    }
}
