//! Kernels loaded into a context.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::{self, CUjit_option_enum as JitOption};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};

use super::argument::Region;
use super::contract::Geometry;
use super::error::{LaunchError, LoadError};
use super::queue::Queue;

/// The PTX of a module, as it is in the program.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// The name of its `.cu` file, without the ending.
    pub name: &'static str,
    /// The text.
    pub ptx: &'static str,
}

/// A set of kernels, as `kernels!()` makes it.
///
/// # Safety
/// Each symbol is that of the kernel which the macro gave its index, in the image of the given number.
pub unsafe trait KernelSet: 'static {
    /// One for each `.cu` file.
    const IMAGES: &'static [Image];
    /// One for each kernel: its image and its name in the PTX.
    const SYMBOLS: &'static [(usize, &'static CStr)];
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
    modules: Box<[OnceLock<Module>]>,
    functions: Box<[OnceLock<Function>]>,
    /// Held while something is loaded.
    loading: Mutex<()>,
}

/// A module in the driver.
struct Module {
    raw: sys::CUmodule,
}

/// A function in the driver.
pub(crate) struct Function {
    pub(crate) raw: sys::CUfunction,
    /// The dynamic shared memory that it may be launched with.
    dynamic_shared: AtomicU32,
}

// SAFETY: driver handles may be used from any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}
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
        let modules = S::IMAGES.iter().map(|_| OnceLock::new()).collect();
        let functions = S::SYMBOLS.iter().map(|_| OnceLock::new()).collect();
        let loaded = Loaded { context: Arc::clone(context), modules, functions, loading: Mutex::new(()) };
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
    fn function(&self, kernel: &Kernel) -> Result<&Function, LoadError> {
        match self.loaded.functions[kernel.index].get() {
            Some(function) => Ok(function),
            None => self.load_function(kernel.index),
        }
    }

    /// What every launch of a kernel needs, wherever it goes: the context bound to this thread, arguments that can be
    /// used together, and the function. `None` if there is nothing to launch, since a dimension is zero.
    pub(crate) fn prepare(
        &self,
        context: &CudaContext,
        kernel: &Kernel,
        geometry: &Geometry,
        regions: &[&Region<'_>],
    ) -> Result<Option<&Function>, LaunchError> {
        let failed = |error| LaunchError::Driver { kernel: kernel.name, error };
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
        let (image, symbol) = S::SYMBOLS[index];
        let module = &self.loaded.modules[image];
        let module = match module.get() {
            Some(module) => module,
            None => {
                let loaded = load_module(&S::IMAGES[image])?;
                module.get_or_init(|| loaded)
            }
        };
        // SAFETY: the module is loaded.
        let raw = unsafe { result::module::get_function(module.raw, symbol.to_owned()) };
        let raw = raw.map_err(|error| {
            let (module, symbol) = (S::IMAGES[image].name, symbol.to_string_lossy().into_owned());
            LoadError::Function { module, symbol, error }
        })?;
        Ok(place.get_or_init(|| Function { raw, dynamic_shared: AtomicU32::new(DEFAULT_DYNAMIC_SHARED) }))
    }
}

impl Function {
    /// Makes sure that the function may be launched with as much dynamic shared memory. Over 48 KB that has to be asked for.
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

/// Loads PTX, with the log of the driver's compiler if it does not take it.
fn load_module(image: &Image) -> Result<Module, LoadError> {
    let failed = |error, log| LoadError::Module { module: image.name, error, log };
    let invalid = DriverError(sys::CUresult::CUDA_ERROR_INVALID_IMAGE);
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
            return LoadError::DriverTooOld { module: image.name, ptx: version.unwrap_or("?").trim().to_owned() };
        }
        let length = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        failed(error, String::from_utf8_lossy(&log[..length]).trim().to_owned())
    })?;
    Ok(Module { raw })
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let loaded: Vec<&Module> = self.modules.iter().filter_map(OnceLock::get).collect();
        if loaded.is_empty() {
            return;
        }
        // Launches may be in flight.
        self.context.record_err(self.context.synchronize());
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
