//! A CUDA driver that does nothing, and does it at once: what is left is what a program costs the host.
//!
//! It has one device, gives handles and addresses that nobody looks behind, and says that all went well. It exports the
//! functions of CUDA 12.0 and none newer, as a driver of that time does; those that launches have no use for return
//! `CUDA_ERROR_NOT_SUPPORTED`.

mod api;

use std::path::PathBuf;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// The file name of the shared library.
const LIBRARY: &str = "libstub_libcuda.so";

/// Makes it the driver that `libcuda.so` names in this process. To be called before anything else loads CUDA.
///
/// # Errors
/// The library is not where cargo builds it to, or cannot be opened.
pub fn select() -> Result<(), String> {
    let path = path()?;
    // SAFETY: the library is made of this crate, which has no initialisers.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
    // Kept open for as long as the process lives.
    std::mem::forget(library.map_err(|error| error.to_string())?);
    Ok(())
}

/// Whether it has a function.
///
/// # Errors
/// As of [`select`].
pub fn has(function: &str) -> Result<bool, String> {
    // SAFETY: as above; the function is not called.
    let library = unsafe { Library::open(Some(path()?), RTLD_NOW) }.map_err(|error| error.to_string())?;
    // SAFETY: as above.
    Ok(unsafe { library.get::<unsafe extern "C" fn()>(function.as_bytes()) }.is_ok())
}

/// Cargo builds the library into `deps`, beside or under the folder of what depends on it.
fn path() -> Result<PathBuf, String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = executable.parent().unwrap_or(&executable);
    let places = [folder.join(LIBRARY), folder.join("deps").join(LIBRARY)];
    let found = places.iter().find(|path| path.exists()).cloned();
    found.ok_or_else(|| format!("there is none of {places:?}"))
}
