//! Kernels loaded into a context.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::{self, CUjit_option_enum as JitOption};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};

use super::argument::Region;
use super::contract::Geometry;
use super::entry_point::entry_point;
use super::error::{LaunchError, LoadError};
use super::order::Crossing;
use super::order::wait_for_all;
use super::queue::Queue;

/// A `.cu` file, as it is in the program.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// The name of the file, without the ending.
    pub name: &'static str,
    /// Its PTX for each target, the lowest first.
    pub images: &'static [Image],
}

/// PTX for a target.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// The compute capability that it is for: ten times the major number, plus the minor one.
    pub capability: u32,
    /// Who else runs it.
    pub reach: Reach,
    /// The text.
    pub ptx: &'static str,
}

/// Which devices run an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of its compute capability or a later one.
    Later,
    /// Those of its compute capability or a later minor one.
    Family,
    /// Those of exactly its compute capability.
    Exact,
}

/// A kernel in PTX.
#[derive(Debug, Clone, Copy)]
pub struct Symbol {
    /// The number of its module.
    pub module: usize,
    /// Its name in the PTX.
    pub name: &'static CStr,
    /// Offset and size of each parameter in bytes.
    pub parameters: &'static [(usize, usize)],
}

impl Image {
    /// Whether a device of a compute capability runs it.
    fn runs_on(&self, capability: u32) -> bool {
        match self.reach {
            Reach::Later => self.capability <= capability,
            Reach::Family => self.capability <= capability && self.capability / 10 == capability / 10,
            Reach::Exact => self.capability == capability,
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.reach {
            Reach::Later => "",
            Reach::Family => "f",
            Reach::Exact => "a",
        };
        write!(f, "{}{suffix}", self.capability)
    }
}

impl Module {
    /// The best image for a device: of the highest compute capability, and of two of the same the more special one.
    fn best(&self, capability: u32) -> Option<&'static Image> {
        let fitting = self.images.iter().filter(|image| image.runs_on(capability));
        fitting.max_by_key(|image| (image.capability, image.reach as u8))
    }
}

/// A set of kernels, as `kernels!()` makes it.
///
/// # Safety
/// Each symbol is that of the kernel which the macro gave its index, in the module of the given number.
pub unsafe trait KernelSet: 'static {
    /// What the build found out about the kernels, as JSON.
    const MANIFEST: &'static str;
    /// One for each `.cu` file.
    const MODULES: &'static [Module];
    /// One for each kernel.
    const SYMBOLS: &'static [Symbol];
}

/// A kernel of a [`KernelSet`].
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Its name in the source.
    pub name: &'static str,
    /// Its index in the set.
    #[doc(hidden)]
    pub index: usize,
    /// Whether its blocks wait for one another, so that all have to be on the device at once.
    #[doc(hidden)]
    pub cooperative: bool,
    /// The parameters that it may touch before it waits for the work before it (`griddepcontrol.wait`), if it does so in
    /// every launch; `None` for a kernel that begins when that work has ended.
    #[doc(hidden)]
    pub programmatic: Option<&'static [&'static str]>,
}

/// The kernels of a set, loaded into a context. Each module is loaded when a kernel of it is first launched.
///
/// Cloning it is cheap, and gives the same kernels. They stay loaded until the last clone, and the last graph made from
/// them, is gone.
pub struct Kernels<S> {
    loaded: Arc<Loaded>,
    set: PhantomData<fn() -> S>,
}

/// What a graph keeps of its kernels.
pub(crate) struct Loaded {
    context: Arc<CudaContext>,
    modules: Box<[OnceLock<LoadedModule>]>,
    functions: Box<[OnceLock<Function>]>,
    /// Held while something is loaded.
    loading: Mutex<()>,
    /// What launches on streams that are not their arguments' homes wait by.
    pub(crate) crossing: Crossing,
}

/// A module in the driver.
struct LoadedModule {
    raw: sys::CUmodule,
    /// Whether it is for compute capability 9.0 or later, so that its kernels with `@pdl` wait by themselves.
    waits: bool,
}

/// A function in the driver.
pub(crate) struct Function {
    pub(crate) raw: sys::CUfunction,
    /// Whether it waits by itself for the work before it, if it is a kernel with `@pdl`.
    pub(crate) waits: bool,
    /// The dynamic shared memory that it may be launched with.
    dynamic_shared: AtomicU32,
}

// SAFETY: driver handles may be used from any thread.
unsafe impl Send for LoadedModule {}
// SAFETY: as above.
unsafe impl Sync for LoadedModule {}
// SAFETY: as above.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// What a function may be launched with, without asking for more.
const DEFAULT_DYNAMIC_SHARED: u32 = 48 << 10;

impl<S: KernelSet> Kernels<S> {
    /// Makes ready to load the kernels into a context.
    ///
    /// # Errors
    /// What the driver says.
    pub fn load(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        let modules = S::MODULES.iter().map(|_| OnceLock::new()).collect();
        let functions = S::SYMBOLS.iter().map(|_| OnceLock::new()).collect();
        let (loading, crossing) = (Mutex::new(()), Crossing::new(context)?);
        let loaded = Loaded { context: Arc::clone(context), modules, functions, loading, crossing };
        Ok(Self { loaded: Arc::new(loaded), set: PhantomData })
    }

    /// A queue: a stream on which these kernels can be launched.
    pub fn on<'a>(&'a self, stream: &'a Arc<CudaStream>) -> Queue<'a, S> {
        Queue::new(self, stream)
    }

    /// The context that they are loaded into.
    #[must_use]
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.loaded.context
    }

    pub(crate) fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// The kernels that `loaded` is what a graph keeps of.
    pub(crate) fn of(loaded: &Arc<Loaded>) -> Self {
        Self { loaded: Arc::clone(loaded), set: PhantomData }
    }

    /// The function of a kernel, which is loaded if it is not yet. The context is bound to this thread.
    #[inline]
    fn function(&self, kernel: &Kernel) -> Result<&Function, LoadError> {
        match self.loaded.functions[kernel.index].get() {
            Some(function) => Ok(function),
            None => self.load_function(kernel.index),
        }
    }

    /// What every launch of a kernel needs, wherever it goes: the context bound to this thread, arguments that can be
    /// used together, and the function. `None` if there is nothing to launch, since a dimension is zero.
    #[inline(always)]
    pub(crate) fn prepare(
        &self,
        context: &CudaContext,
        kernel: &Kernel,
        geometry: &Geometry,
        regions: &[&Region<'_>],
    ) -> Result<Option<&Function>, LaunchError> {
        let failed = |error| LaunchError::driver(kernel.name, error);
        // This also reports what went wrong where no error could be returned, such as cudarc's own waits.
        context.bind_to_thread().map_err(failed)?;
        Region::check_all(regions, kernel.name, context)?;
        if geometry.blocks.contains(&0) || geometry.threads.contains(&0) {
            return Ok(None);
        }
        let function = self.function(kernel)?;
        function.allow_dynamic_shared(geometry.dynamic_shared).map_err(failed)?;
        Ok(Some(function))
    }

    #[cold]
    fn load_function(&self, index: usize) -> Result<&Function, LoadError> {
        let _loading = self.loaded.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &self.loaded.functions[index];
        if let Some(function) = place.get() {
            return Ok(function);
        }
        let symbol = &S::SYMBOLS[index];
        let module = &self.loaded.modules[symbol.module];
        let module = match module.get() {
            Some(module) => module,
            None => {
                let loaded = load_module(&S::MODULES[symbol.module], self.context())?;
                module.get_or_init(|| loaded)
            }
        };
        let name = S::MODULES[symbol.module].name;
        // SAFETY: the module is loaded.
        let raw = unsafe { result::module::get_function(module.raw, symbol.name.to_owned()) };
        let shown = || symbol.name.to_string_lossy().into_owned();
        let raw = raw.map_err(|error| LoadError::Function { module: name, symbol: shown(), error })?;
        check_parameters(raw, symbol.parameters).map_err(|found| LoadError::Parameters {
            module: name,
            symbol: shown(),
            found,
        })?;
        let dynamic_shared = AtomicU32::new(DEFAULT_DYNAMIC_SHARED);
        Ok(place.get_or_init(|| Function { raw, waits: module.waits, dynamic_shared }))
    }
}

impl Function {
    /// Makes sure that the function may be launched with as much dynamic shared memory. Over 48 KB that has to be asked for.
    #[inline]
    fn allow_dynamic_shared(&self, bytes: u32) -> Result<(), DriverError> {
        if bytes <= self.dynamic_shared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is loaded. The number is at most 227 KiB, so it does not wrap.
        unsafe { result::function::set_function_attribute(self.raw, attribute, bytes as i32) }?;
        self.dynamic_shared.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// Loads the best PTX for the device, with the log of the driver's compiler if it does not take it.
fn load_module(of: &Module, context: &CudaContext) -> Result<LoadedModule, LoadError> {
    let name = of.name;
    let failed = |error, log| LoadError::Module { module: name, error, log };
    let invalid = DriverError(sys::CUresult::CUDA_ERROR_INVALID_IMAGE);
    let (major, minor) = context.compute_capability().map_err(|error| failed(error, String::new()))?;
    let image = of.best((major * 10 + minor).unsigned_abs()).ok_or_else(|| {
        let targets = of.images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        LoadError::Target { module: name, targets, device: format!("{major}.{minor}") }
    })?;
    let text = CString::new(image.ptx).map_err(|_| failed(invalid, "the PTX has a NUL in it".to_owned()))?;
    let mut log = vec![0u8; 16 << 10];
    let mut options = [JitOption::CU_JIT_ERROR_LOG_BUFFER, JitOption::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The second value is a number in the place of a pointer.
    let mut values = [log.as_mut_ptr().cast::<c_void>(), log.len() as *mut c_void];
    let mut raw = std::ptr::null_mut();
    // SAFETY: the image ends in NUL; options and values are as many as said, and the log is as long as said.
    let code = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut raw,
            text.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    code.result().map_err(|error| {
        if error.0 == sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION {
            let version = image.ptx.lines().find_map(|line| line.strip_prefix(".version "));
            return LoadError::DriverTooOld { module: name, ptx: version.unwrap_or("?").trim().to_owned() };
        }
        let length = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        failed(error, String::from_utf8_lossy(&log[..length]).trim().to_owned())
    })?;
    Ok(LoadedModule { raw, waits: image.capability >= 90 })
}

/// Compares the parameters of a function with those that the driver says it has, if it says so (since CUDA 12.4).
fn check_parameters(function: sys::CUfunction, expected: &[(usize, usize)]) -> Result<(), Vec<(usize, usize)>> {
    type GetParameter = unsafe extern "C" fn(sys::CUfunction, usize, *mut usize, *mut usize) -> sys::CUresult;
    let Some(address) = entry_point(c"cuFuncGetParamInfo", 12040) else { return Ok(()) };
    // SAFETY: the function of that name has this signature; the driver stays loaded.
    let get = unsafe { std::mem::transmute::<NonNull<c_void>, GetParameter>(address) };
    let mut found = Vec::new();
    let mut matches = true;
    // One more than there should be is an error of the driver.
    for index in 0..=expected.len() {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function is loaded, and both numbers are written if it has the parameter.
        if unsafe { get(function, index, &raw mut offset, &raw mut size) } != sys::CUresult::CUDA_SUCCESS {
            break;
        }
        matches &= expected.get(index) == Some(&(offset, size));
        found.push((offset, size));
    }
    if matches && found.len() == expected.len() { Ok(()) } else { Err(found) }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let loaded: Vec<&LoadedModule> = self.modules.iter().filter_map(OnceLock::get).collect();
        if loaded.is_empty() {
            return;
        }
        // Launches may be in flight. If they cannot be waited for, their modules stay.
        if let Err(error) = wait_for_all(&self.context) {
            return self.context.record_err::<()>(Err(error));
        }
        for module in loaded {
            // SAFETY: the module was loaded, nothing runs its kernels any more, and nobody can ask for them.
            self.context.record_err(unsafe { result::module::unload(module.raw) });
        }
    }
}

impl<S> Clone for Kernels<S> {
    fn clone(&self) -> Self {
        Self { loaded: Arc::clone(&self.loaded), set: PhantomData }
    }
}

impl<S> fmt::Debug for Kernels<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loaded = self.loaded.modules.iter().filter(|module| module.get().is_some()).count();
        let modules = self.loaded.modules.len();
        f.debug_struct("Kernels").field("modules", &modules).field("loaded", &loaded).finish_non_exhaustive()
    }
}
