//! Chooses the CUDA driver of this process: NVIDIA's where there is a GPU, the emulator elsewhere.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::checks::{Checks, Finding, FindingKind, Report};

/// Which driver is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// A GPU if there is one, else the emulator.
    #[default]
    Auto,
    /// A GPU.
    Gpu,
    /// The emulator.
    Emulator,
}

impl FromStr for Choice {
    type Err = SelectError;

    fn from_str(name: &str) -> Result<Self, SelectError> {
        match name {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "emulator" => Ok(Self::Emulator),
            _ => Err(SelectError::UnknownChoice(name.to_owned())),
        }
    }
}

/// Which driver a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// NVIDIA's, with at least one GPU.
    Gpu,
    /// The emulator.
    Emulator,
}

/// Why there is no driver as wanted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SelectError {
    /// Not one of the choices.
    #[error("`{0}` is none of the choices `auto`, `gpu` and `emulator`")]
    UnknownChoice(String),
    /// A GPU was asked for.
    #[error("there is no GPU to use: {0}")]
    NoGpu(String),
    /// The emulator's shared library is not where it is built to, beside the executable.
    #[error(
        "the emulator's library `{}` was not found in any of {looked:?}; it is built with the executable \
         (WARPWRIGHT_EMULATOR may name its path)",
        LIBRARY
    )]
    NoEmulator {
        /// The folders where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// It is there and cannot be opened.
    #[error("the emulator's library cannot be opened: {0}")]
    Open(String),
    /// A process has one driver, and this one has another already.
    #[error("this process has the {0:?} driver already, and can have only one")]
    AlreadySelected(Driver),
}

/// The driver that was selected.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Which it is.
    pub driver: Driver,
    /// Why it is not a GPU's, if one was looked for.
    pub no_gpu: Option<String>,
    emulator: Option<Exports>,
}

/// What the emulator's library exports besides the driver API.
#[derive(Debug, Clone, Copy)]
struct Exports {
    calls: unsafe extern "C" fn(*const c_char) -> u64,
    set_checks: unsafe extern "C" fn(u32),
    findings: Findings,
    set_counters: unsafe extern "C" fn(u32),
    counters: unsafe extern "C" fn(u32, *mut u8, usize) -> usize,
}

type Findings = unsafe extern "C" fn(Option<Visit>, *mut c_void, u32);
type Visit = unsafe extern "C" fn(*mut c_void, *const RawFinding);

/// A [`Finding`] on its way out of the shared library.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawFinding {
    pub(crate) kind: u32,
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    pub(crate) sequence: u64,
    /// UTF-8, `length` bytes.
    pub(crate) detail: *const c_char,
    pub(crate) length: usize,
}

impl Selected {
    /// Switches checks on and off, in place of what `WARPWRIGHT_EMULATOR_CHECKS` says. Returns whether the driver has
    /// checks: a GPU's has not.
    pub fn set_checks(&self, checks: Checks) -> bool {
        if let Some(emulator) = &self.emulator {
            // SAFETY: the function is the emulator's, in a library that is never closed.
            unsafe { (emulator.set_checks)(checks.bits()) };
        }
        self.emulator.is_some()
    }

    /// What the checks of the driver have found in this process so far; `None` if the driver has no checks.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.findings(false)
    }

    /// As [`report`](Self::report), and forgets what was found.
    #[must_use]
    pub fn take_report(&self) -> Option<Report> {
        self.findings(true)
    }

    fn findings(&self, forget: bool) -> Option<Report> {
        unsafe extern "C" fn add(report: *mut c_void, finding: *const RawFinding) {
            // SAFETY: `findings` gives the report, and the library a finding; both live until the call returns.
            let (report, finding) = unsafe { (&mut *report.cast::<Report>(), &*finding) };
            // SAFETY: as above; the detail has so many bytes.
            let detail = unsafe { std::slice::from_raw_parts(finding.detail.cast::<u8>(), finding.length) };
            // A library that is newer than this may find more.
            if let Some(kind) = FindingKind::from_number(finding.kind) {
                let RawFinding { address, bytes, sequence, .. } = *finding;
                let detail = String::from_utf8_lossy(detail).into_owned();
                report.findings.push(Finding { kind, address, bytes, sequence, detail });
            }
        }
        let emulator = self.emulator?;
        let mut report = Report::default();
        // SAFETY: the function is the emulator's, and `add` takes what it is given.
        unsafe { (emulator.findings)(Some(add), (&raw mut report).cast(), forget.into()) };
        Some(report)
    }

    /// Begins to count what kernels do, from nothing, or counts no more; in place of what `WARPWRIGHT_EMULATOR_COUNTERS`
    /// says. Returns whether the driver has counters: a GPU's has not.
    pub fn set_counters(&self, on: bool) -> bool {
        if let Some(emulator) = &self.emulator {
            // SAFETY: the function is the emulator's, in a library that is never closed.
            unsafe { (emulator.set_counters)(on.into()) };
        }
        self.emulator.is_some()
    }

    /// What was counted so far, of work that was waited for, as text: a table of all kernels, and with details the
    /// [counters](crate::counters) of each. `None` if the driver has no counters.
    #[must_use]
    pub fn counters(&self, details: bool) -> Option<String> {
        let emulator = self.emulator?;
        let mut text = Vec::new();
        loop {
            // SAFETY: the function is the emulator's, in a library that is never closed; it writes no more than has room.
            let length = unsafe { (emulator.counters)(details.into(), text.as_mut_ptr(), text.len()) };
            if length <= text.len() {
                text.truncate(length);
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            text.resize(length, 0);
        }
    }

    /// How often a function of the driver API was called in this process; `None` if the driver does not count.
    #[must_use]
    pub fn calls(&self, function: &str) -> Option<u64> {
        let name = CString::new(function).ok()?;
        // SAFETY: the function is the emulator's, in a library that is never closed; it reads the name.
        self.emulator.map(|emulator| unsafe { (emulator.calls)(name.as_ptr()) })
    }
}

/// The file name of the emulator's shared library.
const LIBRARY: &str = "libwarpwright_emulator.so";

static SELECTED: Mutex<Option<Selected>> = Mutex::new(None);

/// Makes a driver the one that `libcuda.so` names in this process. To be called before anything else loads CUDA.
///
/// Calling it again gives the same driver.
///
/// # Errors
/// See [`SelectError`].
pub fn select(choice: Choice) -> Result<Selected, SelectError> {
    let mut selected = SELECTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(selected) = &*selected {
        return match (choice, selected.driver) {
            (Choice::Gpu, Driver::Emulator) | (Choice::Emulator, Driver::Gpu) => {
                Err(SelectError::AlreadySelected(selected.driver))
            }
            _ => Ok(selected.clone()),
        };
    }
    let found = match choice {
        Choice::Gpu => probe_gpu().map_err(SelectError::NoGpu)?,
        Choice::Emulator => open_emulator()?,
        Choice::Auto => match probe_gpu() {
            Ok(found) => found,
            Err(reason) => Selected { no_gpu: Some(reason), ..open_emulator()? },
        },
    };
    *selected = Some(found.clone());
    Ok(found)
}

/// An error with what is behind it.
fn explain(error: &libloading::Error) -> String {
    let first: Option<&dyn std::error::Error> = Some(error);
    let chain = std::iter::successors(first, |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Opens the driver that the system has, and asks it for devices. The error says why it cannot be used.
fn probe_gpu() -> Result<Selected, String> {
    let open = |name: &str| {
        // SAFETY: loading a CUDA driver runs its initialisers, as any program that uses CUDA does.
        unsafe { Library::open(Some(name), RTLD_NOW) }
    };
    let library = open("libcuda.so.1").or_else(|_| open("libcuda.so")).map_err(|error| explain(&error))?;
    // SAFETY: the signatures are those of the driver API, and the library stays open while they are used.
    let (init, count) = unsafe {
        let init = library.get::<unsafe extern "C" fn(c_uint) -> c_int>(b"cuInit\0");
        let count = library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDeviceGetCount\0");
        (init.map_err(|error| explain(&error))?, count.map_err(|error| explain(&error))?)
    };
    // SAFETY: as the driver API says.
    let code = unsafe { init(0) };
    if code != 0 {
        return Err(format!("cuInit gave error {code}"));
    }
    let mut devices = 0;
    // SAFETY: as the driver API says.
    let code = unsafe { count(&raw mut devices) };
    if code != 0 || devices == 0 {
        return Err(format!("the driver has {devices} devices (error {code})"));
    }
    // The library path may lead to the emulator.
    let emulator = exports(&library);
    let driver = if emulator.is_some() { Driver::Emulator } else { Driver::Gpu };
    std::mem::forget(library);
    Ok(Selected { driver, no_gpu: None, emulator })
}

fn exports(library: &Library) -> Option<Exports> {
    // SAFETY: only the emulator exports the names, with these signatures.
    unsafe {
        Some(Exports {
            calls: *library.get(b"warpwright_emulator_calls\0").ok()?,
            set_checks: *library.get(b"warpwright_emulator_set_checks\0").ok()?,
            findings: *library.get(b"warpwright_emulator_findings\0").ok()?,
            set_counters: *library.get(b"warpwright_emulator_set_counters\0").ok()?,
            counters: *library.get(b"warpwright_emulator_counters\0").ok()?,
        })
    }
}

/// Opens the emulator's library so that whoever asks for `libcuda.so` from now on gets it: the name is its soname.
fn open_emulator() -> Result<Selected, SelectError> {
    let path = find_emulator()?;
    // SAFETY: the library is the emulator, which has no initialisers.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
    let library = library.map_err(|error| SelectError::Open(explain(&error)))?;
    let emulator = exports(&library);
    if emulator.is_none() {
        return Err(SelectError::Open(format!("{} is not the emulator", path.display())));
    }
    // Kept open for as long as the process lives.
    std::mem::forget(library);
    Ok(Selected { driver: Driver::Emulator, no_gpu: None, emulator })
}

/// Cargo builds the library into `deps`, beside or under the folder of what depends on it. (It copies the library beside a
/// program only when asked to build the emulator itself, so what is there may be older.)
fn find_emulator() -> Result<PathBuf, SelectError> {
    if let Some(path) = std::env::var_os("WARPWRIGHT_EMULATOR") {
        return Ok(path.into());
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let folder = executable.parent().unwrap_or(Path::new("."));
    let looked = [folder.join("deps"), folder.join("../deps"), folder.to_owned()];
    match looked.iter().map(|folder| folder.join(LIBRARY)).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => Err(SelectError::NoEmulator { looked: looked.to_vec() }),
    }
}
