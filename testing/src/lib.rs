//! Tests the contracts of kernels.
//!
//! A contract that its author signs with `@safe` makes a launch a safe function, so the author's word ought to be tested.
//! This crate draws arguments that satisfy a contract and runs the PTX that ships in the emulator, under all its checks:
//!
//! ```no_run
//! #[test]
//! fn axpy() -> Result<(), warpwright_testing::Violation> {
//!     let kernels = concat!(env!("OUT_DIR"), "/warpwright");
//!     warpwright_testing::check(kernels, "axpy")?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! # What is drawn
//!
//! Integers at the edges first (0, 1, odd ones, around the tiles that the contract names), then any; where the contract
//! computes with them they satisfy its requirements, and keep buffers and grids small. Every buffer has exactly the length
//! of its `@len`, or a little more where the rule is `>=`; it stands alone in memory, no better aligned than the contract
//! says, and holds any bits: zeros, ones, numbers that indices often are, random ones. A violation is shrunk
//! to the simplest arguments that show it. The seed is fixed, so what was found once is found again.
//!
//! # What is a violation
//!
//! All that the emulator reports: accesses out of bounds or misaligned, reads of memory and registers that nothing wrote,
//! races between threads, warps and blocks, barriers that not all threads reach, shuffles from lanes that are not there, a
//! block that does not end. A kernel with `@pdl` is launched while one before it may still write every buffer that the rule
//! does not name: to touch one of these before the wait is a race. Besides: a `const` buffer that is written, an `@out` buffer
//! that is not written whole or whose values depend on what it held before, and a launch that is refused.
//!
//! # Large buffers
//!
//! Where the contract allows a buffer of more than 2^31 (if possible, 2^32) elements, some blocks of such a launch are
//! run as well, in memory that takes room only where it is touched. That finds indices of 32 bits that overflow.

mod arguments;
mod draw;
mod large;
mod launch;
mod predecessor;
mod rules;
mod solve;
mod violation;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use warpwright_build::manifest::{Image, Kernel, Manifest, Module};
use warpwright_emulator::Device;
use warpwright_emulator::checks::Checks;

pub use arguments::{Argument, Arguments};
pub use draw::Contents;
pub use violation::{Broken, Large, Problem, Report, Violation};

use draw::{Draw, Phase, draws};
use launch::{Found, Loaded};
use predecessor::Predecessor;
use rules::{Refusal, Rules, Values};
use solve::{Budget, solve};

/// What the emulator looks for besides what it always does.
const CHECKS: Checks = Checks { initialised: true, races: true, ..Checks::NONE };

/// How often the bytes and threads of a launch are halved at most.
const MOST_HALVINGS: u32 = 6;

/// The compute capability from which a kernel may begin before the one before it has ended.
const OVERLAP: u32 = 90;

/// How much is tested.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Launches with edges, and as many again with any integers.
    pub cases: u32,
    /// Bytes of all buffers of a launch together, but for large ones.
    pub bytes: u64,
    /// Threads of a launch, but for large ones.
    pub threads: u64,
    /// What a block may execute, each instruction counted once a thread. A block that goes on after that counts as one
    /// that does not end.
    pub instruction_limit: u64,
    /// What all launches may execute together, but for large ones, each instruction counted once a thread. Launches are
    /// kept as small as it takes to have all cases for that; if it is spent nevertheless, no more are drawn.
    pub instructions: u64,
    /// Whether large buffers are tested.
    pub large: bool,
}

impl Default for Settings {
    /// What takes a second or two for most kernels.
    fn default() -> Self {
        let (bytes, threads) = (1 << 18, 1 << 14);
        Self { cases: 96, bytes, threads, instruction_limit: 1 << 26, instructions: 1 << 30, large: true }
    }
}

/// The kernels of a crate.
#[derive(Debug)]
pub struct Contracts {
    folder: PathBuf,
    manifest: Manifest,
    settings: Settings,
}

/// Tests the contract of one kernel of the manifest in a folder: that of the crate that calls this is in
/// `concat!(env!("OUT_DIR"), "/warpwright")`.
///
/// # Errors
/// See [`Violation`].
pub fn check(folder: impl AsRef<Path>, kernel: &str) -> Result<Report, Violation> {
    Contracts::open(folder)?.check(kernel)
}

/// Tests the contract of every kernel of the manifest in a folder that is signed with `@safe`.
///
/// # Errors
/// See [`Violation`].
pub fn check_safe(folder: impl AsRef<Path>) -> Result<Vec<Report>, Violation> {
    Contracts::open(folder)?.check_safe()
}

impl Contracts {
    /// Reads the manifest in a folder.
    ///
    /// # Errors
    /// [`Violation::Manifest`]
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Violation> {
        let folder = folder.as_ref().to_owned();
        let manifest = Manifest::read(&folder)?;
        Ok(Self { folder, manifest, settings: Settings::default() })
    }

    /// Tests as much as `settings` say.
    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The kernels with their modules.
    fn kernels(&self) -> impl Iterator<Item = (&Module, &Kernel)> {
        self.manifest.modules.iter().flat_map(|module| module.kernels.iter().map(move |kernel| (module, kernel)))
    }

    /// Tests the contract of a kernel; if several have that name (instances of a template), of each.
    ///
    /// # Errors
    /// See [`Violation`].
    pub fn check(&self, kernel: &str) -> Result<Report, Violation> {
        let mut total = Report { kernel: kernel.to_owned(), ..Report::default() };
        let named: Vec<_> = self.kernels().filter(|(_, other)| other.name == kernel).collect();
        if named.is_empty() {
            let known = self.kernels().map(|(_, kernel)| kernel.name.clone()).collect();
            return Err(Violation::NoKernel { name: kernel.to_owned(), known });
        }
        for (module, kernel) in named {
            let report = self.check_one(module, kernel)?;
            total.cases += report.cases;
            total.thread_instructions += report.thread_instructions;
            total.large.extend(report.large);
        }
        Ok(total)
    }

    /// Tests the contract of every kernel that is signed with `@safe`.
    ///
    /// # Errors
    /// See [`Violation`].
    pub fn check_safe(&self) -> Result<Vec<Report>, Violation> {
        let signed = self.kernels().filter(|(_, kernel)| kernel.rules.iter().any(|(rule, _)| rule == "safe"));
        signed.map(|(module, kernel)| self.check_one(module, kernel)).collect()
    }

    fn check_one(&self, module: &Module, kernel: &Kernel) -> Result<Report, Violation> {
        let rules = Rules::new(kernel, &self.manifest.headers)?;
        let mut report = Report { kernel: kernel.full_name(), ..Report::default() };
        for image in &module.images {
            self.check_image(&rules, image, &mut report)?;
        }
        Ok(report)
    }

    /// Tests a kernel as it is compiled for one target.
    fn check_image(&self, rules: &Rules<'_>, image: &Image, report: &mut Report) -> Result<(), Violation> {
        let (kernel, path) = (rules.kernel, self.folder.join(&image.ptx));
        let ptx = std::fs::read_to_string(&path).map_err(|error| Violation::File { path: path.clone(), error })?;
        // One thread, so that the order of blocks is always the same.
        let device = Device::with_checks(1 << 43, 1, CHECKS);
        let module = device.load(&ptx).map_err(|error| Violation::Ptx { path, error })?;
        let places = module.parameters(&kernel.symbol).unwrap_or_default();
        let instruction_limit = self.settings.instruction_limit;
        let overlaps = rules.contract.programmatic.is_some() && image.target.capability >= OVERLAP;
        let before = overlaps.then(|| Predecessor::load(&device));
        let loaded = Loaded { rules, device: &device, module: &module, places, instruction_limit, before };
        for phase in [Phase::Edges, Phase::Random] {
            self.check_small(&loaded, phase, report)?;
        }
        if self.settings.large {
            let large = large::check(&loaded).map_err(Violation::Broken)?;
            report.large.extend(large.0);
            report.thread_instructions += large.1;
        }
        Ok(())
    }

    /// Draws arguments, and launches the whole grid with them.
    fn check_small(&self, loaded: &Loaded<'_>, phase: Phase, report: &mut Report) -> Result<(), Violation> {
        let rules = loaded.rules;
        let most = Budget { bytes: self.settings.bytes, threads: self.settings.threads };
        // Each phase has half, and each of its launches a share.
        let share = self.settings.instructions / 2 / u64::from(self.settings.cases.max(1));
        let config = Config {
            cases: self.settings.cases,
            failure_persistence: None,
            max_global_rejects: 64 * self.settings.cases,
            max_shrink_iters: 1000,
            max_shrink_time: 20_000,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let (cases, instructions) = (Cell::new(0), Cell::new(0));
        // What a launch of some size costs, only the launch says. So they are small at first.
        let halvings = Cell::new(MOST_HALVINGS);
        let refusals: RefCell<BTreeMap<String, usize>> = RefCell::default();
        let last: RefCell<Option<(Found, Arguments)>> = RefCell::default();
        let result = runner.run(&draws(rules, phase), |draw| {
            if instructions.get() > self.settings.instructions / 2 {
                return Ok(());
            }
            let less = Budget { bytes: most.bytes >> halvings.get(), threads: most.threads >> halvings.get() };
            let drawn = arguments(rules, &draw, less).or_else(|_| arguments(rules, &draw, most));
            let arguments = drawn.map_err(|refusal| {
                *refusals.borrow_mut().entry(refusal.rule).or_default() += 1;
                TestCaseError::reject("it does not satisfy the contract")
            })?;
            match loaded.check(&arguments) {
                Ok(executed) => {
                    cases.set(cases.get() + 1);
                    instructions.set(instructions.get() + executed);
                    // While a failure is made simpler, sizes stay.
                    match halvings.get() {
                        _ if last.borrow().is_some() => {}
                        n if executed > 2 * share => halvings.set((n + 1).min(MOST_HALVINGS)),
                        n if executed < share / 2 => halvings.set(n.saturating_sub(1)),
                        _ => {}
                    }
                    Ok(())
                }
                Err(found) => {
                    // The last that fails is the simplest: shrinking goes on from what still fails.
                    *last.borrow_mut() = Some((found, arguments));
                    Err(TestCaseError::fail("the contract is not kept"))
                }
            }
        });
        report.cases += cases.get();
        report.thread_instructions += instructions.get();
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                if let (TestError::Fail(..), Some((found, arguments))) = (&error, last.into_inner()) {
                    return Err(broken(rules.kernel, found, arguments));
                }
                let refusals = refusals.into_inner();
                let drawn = refusals.values().sum::<usize>() + cases.get() as usize;
                let (rule, refused) = refusals.into_iter().max_by_key(|(_, count)| *count).unwrap_or_default();
                Err(Violation::Unsatisfiable { kernel: rules.kernel.full_name(), rule, refused, drawn })
            }
        }
    }
}

/// Makes what was drawn satisfy the contract.
fn arguments(rules: &Rules<'_>, draw: &Draw, budget: Budget) -> Result<Arguments, Refusal> {
    let names = rules.integers().into_iter().map(|(name, ..)| name.to_owned());
    let mut values: Values = names.zip(draw.integers.iter().copied()).collect();
    let shape = solve(rules, &mut values, budget)?;
    Ok(Arguments::new(rules, draw, &values, &shape))
}

fn broken(kernel: &Kernel, (problem, rule): Found, arguments: Arguments) -> Violation {
    Violation::Broken(Box::new(Broken { kernel: kernel.full_name(), problem, rule, arguments }))
}
