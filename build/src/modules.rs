//! Compiles modules: nvcc on each source and target, the witnesses, and the PTX as it is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::contract::Contract;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::headers::{self, Shared};
use crate::inputs::{Changed, hash, inputs_of};
use crate::kernels::Crate;
use crate::manifest::{Headers, Image, Kernel, Module, Resources};
use crate::ptx::{self, Entry};
use crate::signature::{ADDED, ADDITIONS, Resolved, addition, additions, constants, demangle, in_namespaces};
use crate::source::{self, Source, SourceKernel};
use crate::target::Target;
use crate::toolkit::Toolkit;
use crate::witnesses::{self, Context};

/// Reads the shared headers, and compiles what has changed.
pub(crate) fn compile(of: &Crate<'_>, changed: &Changed) -> Result<(Headers, Vec<Module>), Diagnostics> {
    let toolkit = Toolkit::find(of.out).map_err(|error| no_toolkit(changed, &error.looked))?;
    let mut shared = Shared::default();
    if !changed.headers.is_empty() {
        let (read, files) = headers::read(&changed.headers, &of.include(), &toolkit)?;
        shared = read;
        shared.headers.inputs = inputs_of(&files, of.kernels, &toolkit)
            .map_err(|error| Diagnostic::new(format!("the shared headers: {error}")))?;
    }
    if changed.sources.is_empty() {
        return Ok((shared.headers, Vec::new()));
    }
    let constants = shared.headers.integers();
    let version = toolkit.version()?;
    let compiler = Compiler { toolkit: &toolkit, version: &version, of, shared: &shared, constants: &constants };
    let modules = compiler.compile_all(&changed.sources)?;
    Ok((shared.headers, modules))
}

fn no_toolkit(changed: &Changed, looked: &[String]) -> Diagnostic {
    Diagnostic::new(format!("nvcc is needed to compile {changed}, and was not found"))
        .note("there is no PTX that was made from these sources as they are now")
        .note(format!("looked for nvcc:\n{}", looked.join("\n")))
        .note(
            "install the CUDA toolkit (13.0 or later), or set WARPWRIGHT_NVCC to the path of nvcc; in Warpwright's own \
             repository `cargo xtask toolkit` installs it under target/ without root",
        )
}

/// What all modules are compiled with.
struct Compiler<'a> {
    toolkit: &'a Toolkit,
    version: &'a str,
    of: &'a Crate<'a>,
    shared: &'a Shared,
    constants: &'a BTreeMap<String, i64>,
}

/// What the first target of a file has, which the others have to have too.
struct FirstTarget {
    entries: Vec<Entry>,
    instances: BTreeMap<String, Resolved>,
    kernels: Vec<(Kernel, Contract)>,
}

/// Permits of cargo to run more than one thing at a time.
struct Permits {
    /// cargo's own, which it shares with every other compiler that it runs.
    server: Option<jobserver::Client>,
}

impl Permits {
    fn of_cargo() -> Self {
        // SAFETY: nothing else in a build script takes over the file descriptors that cargo hands it.
        Self { server: unsafe { jobserver::Client::from_env() } }
    }

    /// A permit to run one thing more, or `None` when there is none to be had now.
    fn take(&self) -> Option<Option<jobserver::Acquired>> {
        match &self.server {
            Some(server) => server.try_acquire().ok()?.map(Some),
            None => Some(None),
        }
    }
}

impl Compiler<'_> {
    /// Compiles sources, as many at a time as cargo allows. All errors are reported together.
    fn compile_all(&self, sources: &[(String, PathBuf)]) -> Result<Vec<Module>, Diagnostics> {
        let jobs = std::env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok());
        let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        let permits = Permits::of_cargo();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(BTreeMap::new());
        let work = || {
            let Some((name, path)) = sources.get(next.fetch_add(1, Ordering::Relaxed)) else { return false };
            let result = self.compile_one(name, path);
            results.lock().unwrap_or_else(PoisonError::into_inner).insert(name, result);
            true
        };
        std::thread::scope(|scope| {
            for _ in 1..jobs.clamp(1, sources.len()) {
                scope.spawn(|| {
                    while next.load(Ordering::Relaxed) < sources.len() {
                        match permits.take() {
                            Some(_permit) => while work() {},
                            None => std::thread::sleep(Duration::from_millis(5)),
                        }
                    }
                });
            }
            // This thread has the permit that the build script itself runs with.
            while work() {}
        });
        let (mut modules, mut errors) = (Vec::new(), Vec::new());
        for result in results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
            match result {
                Ok(module) => modules.push(module),
                Err(Diagnostics(of_module)) => errors.extend(of_module),
            }
        }
        if errors.is_empty() { Ok(modules) } else { Err(Diagnostics(errors)) }
    }

    fn compile_one(&self, name: &str, path: &Path) -> Result<Module, Diagnostics> {
        let of = self.of;
        let file = format!("{}/{name}.cu", of.folder);
        let failed = |error: std::io::Error| Diagnostic::new(format!("{file}: {error}"));
        let source = Source::read(path, &file, &of.include()).map_err(failed)?;
        let targets = witnesses::targets(&file, &source).map_err(Diagnostics)?;
        let compiled = self.with_additions(name, path, &source).map_err(failed)?;
        let mut module = Module {
            name: name.to_owned(),
            documentation: source::file_comment(&std::fs::read_to_string(path).map_err(failed)?),
            inputs: Vec::new(),
            compiler: self.version.to_owned(),
            images: Vec::new(),
            kernels: Vec::new(),
        };
        let mut first: Option<FirstTarget> = None;
        for &target in &targets {
            let out = of.out.join(format!("{name}.{target}"));
            let (raw, mut files) = self.toolkit.compile(&compiled, &of.include(), of.flags, target, &out, of.root)?;
            files.retain(|file| *file != compiled);
            files.push(path.to_owned());
            module.inputs.extend(inputs_of(&files, of.kernels, self.toolkit).map_err(failed)?);
            let portable = |ptx: &str| ptx::portable(ptx, of.root, self.toolkit.root(), &self.toolkit.include());
            let entries = ptx::entries(&portable(&raw));
            let instances = additions(entries.iter().map(|entry| entry.symbol.as_str()));
            let entries: Vec<Entry> = entries.into_iter().filter(|entry| !entry.symbol.contains(ADDED)).collect();
            let context = Context {
                file: &file,
                source: &source,
                shared: self.shared,
                constants: self.constants,
                targets: &targets,
                instances: &instances,
            };
            let FirstTarget { kernels, .. } = match &first {
                None => {
                    let kernels = context.kernels(&entries).map_err(Diagnostics)?;
                    first.insert(FirstTarget { entries: entries.clone(), instances: instances.clone(), kernels })
                }
                Some(first) => {
                    same_kernels(&file, &first.entries, &entries, targets[0], target)?;
                    same_instances(&file, first, &instances, targets[0], target)?;
                    first
                }
            };
            waits(&file, kernels, &entries, target)?;
            // First without what was added, so that the file where that was is not named.
            let mut code = portable(&ptx::without(&raw, ADDED));
            for (kernel, contract) in kernels {
                if let Some(block) = contract.block.as_ref().and_then(|block| block.constant()) {
                    code = ptx::require_block(&code, &kernel.symbol, block);
                }
            }
            let (code, resources) = self.toolkit.assemble(code, target, &out)?;
            let ptx = if targets.len() == 1 { format!("{name}.ptx") } else { format!("{name}.{target}.ptx") };
            std::fs::write(of.out.join(&ptx), &code).map_err(failed)?;
            let resources = kernels.iter().filter_map(|(kernel, _)| resources.get(&kernel.symbol).copied());
            let resources: Vec<Resources> = resources.collect();
            module.images.push(Image { target, ptx, sha256: hash(code.as_bytes()), resources });
        }
        if compiled != path {
            // What was left behind does no harm.
            let _ = std::fs::remove_file(&compiled);
        }
        let kernels = first.map_or_else(Vec::new, |first| first.kernels);
        module.kernels = kernels.into_iter().map(|(kernel, _)| kernel).collect();
        // Rules that name constants depend on the headers, whether the code includes them or not.
        let names_constants = |kernel: &Kernel| {
            let words = |text: &String| {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                text.split(|c| !is_word(c)).any(|word| self.constants.contains_key(word))
            };
            kernel.rules.iter().any(|(_, text)| words(text))
        };
        if module.kernels.iter().any(names_constants) {
            module.inputs.extend(self.shared.headers.inputs.iter().cloned());
        }
        module.inputs.sort_by(|a, b| a.path.cmp(&b.path));
        module.inputs.dedup();
        Ok(module)
    }

    /// What nvcc is given: the source, or a file that includes it and adds what makes the compiler say more. Each
    /// instance of a template gets a kernel whose name has its types and the constants that rules name; each struct that
    /// a kernel takes, an assertion of the layout that Rust gives it.
    fn with_additions(&self, name: &str, path: &Path, source: &Source) -> std::io::Result<PathBuf> {
        let mut text = String::new();
        if !source.instances.is_empty() {
            text.push_str(ADDITIONS);
            for kernel in &source.kernels {
                let names = source.constants(&kernel.name);
                if let Some(head) = kernel.template.as_ref().filter(|_| !names.is_empty()) {
                    text.push_str(&place(path, kernel));
                    text.push_str(&constants(&kernel.namespaces, &kernel.name, &head.text, &names));
                }
            }
            for (number, instance) in source.instances.iter().enumerate() {
                let constants = source.constants(instance.template()).len();
                text.push_str(&addition(number, &instance.namespaces, &instance.name, constants));
            }
        }
        text.push_str(&self.layouts(path, source));
        if text.is_empty() {
            return Ok(path.to_owned());
        }
        let added = self.of.out.join(format!("{name}.checked.cu"));
        std::fs::write(&added, format!("#include \"{}\"\n{text}", path.display()))?;
        Ok(added)
    }

    /// Assertions of the layout of structs that kernels take, each as if it stood where its kernel does.
    fn layouts(&self, path: &Path, source: &Source) -> String {
        let mut text = String::new();
        for kernel in &source.kernels {
            for parameter in &kernel.parameters {
                let words = || parameter.ty.split([' ', '*', '&']);
                let named = words().find_map(|word| {
                    let last = word.rsplit("::").next().unwrap_or(word);
                    let of = self.shared.headers.structs.iter().find(|of| of.name == last)?;
                    Some((word, of))
                });
                let Some((word, of)) = named else { continue };
                // A name that Rust does not take has an underscore more than in C++.
                let named = of.fields.iter().filter(|field| !field.name.ends_with('_'));
                let offsets =
                    named.map(|field| format!(" && __builtin_offsetof({word}, {}) == {}", field.name, field.offset));
                text.push_str(&place(path, kernel));
                let assertion = format!(
                    "static_assert(sizeof({word}) == {} && alignof({word}) == {}{}, \
                     \"Rust and CUDA disagree on the layout of {word}\");",
                    of.size,
                    of.align,
                    offsets.collect::<String>()
                );
                text.push_str(&in_namespaces(&kernel.namespaces, &assertion));
            }
        }
        text
    }
}

/// Has the compiler report what follows as if it stood where a kernel does.
fn place(path: &Path, kernel: &SourceKernel) -> String {
    // A kernel of a header has its line there.
    match path.ends_with(&kernel.file) {
        true => format!("#line {} \"{}\"\n", kernel.line, path.display()),
        false => String::new(),
    }
}

/// Checks that the instances of templates are for another target what they are for the first.
fn same_instances(
    file: &str,
    first: &FirstTarget,
    other: &BTreeMap<String, Resolved>,
    of_first: Target,
    of_other: Target,
) -> Result<(), Diagnostics> {
    let differs = first.kernels.iter().filter(|(kernel, _)| {
        let name = demangle(&kernel.symbol).unwrap_or_default();
        first.instances.get(&name) != other.get(&name)
    });
    let errors = differs.map(|(kernel, _)| {
        let message = format!(
            "kernel `{}`: its types, or the constants that its rules name, differ between {of_first} and {of_other}",
            kernel.full_name()
        );
        Diagnostic::new(message)
            .at(kernel.file.as_deref().unwrap_or(file), kernel.line)
            .note("a launcher serves all targets, with one contract")
    });
    let errors: Vec<Diagnostic> = errors.collect();
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}

/// Checks that PTX for two targets has the same kernels.
fn same_kernels(
    file: &str,
    first: &[Entry],
    other: &[Entry],
    of_first: Target,
    of_other: Target,
) -> Result<(), Diagnostic> {
    let signatures = |entries: &[Entry]| -> BTreeMap<String, Vec<(u64, u64)>> {
        entries.iter().map(|entry| (entry.symbol.clone(), entry.parameters.clone())).collect()
    };
    let (first, other) = (signatures(first), signatures(other));
    if first == other {
        return Ok(());
    }
    let differs = |a: &BTreeMap<String, Vec<(u64, u64)>>, b: &BTreeMap<String, Vec<(u64, u64)>>| {
        a.iter().find(|(symbol, parameters)| b.get(*symbol) != Some(parameters)).map(|(symbol, _)| symbol.clone())
    };
    let symbol = differs(&first, &other).or_else(|| differs(&other, &first)).unwrap_or_default();
    Err(Diagnostic::new(format!("the kernel {symbol} is not the same for {of_first} and {of_other}"))
        .at(file, 1)
        .note("a launcher serves all targets, so each has every kernel with the same parameters"))
}

/// Checks that a kernel that is launched before its predecessors have ended waits for them.
fn waits(file: &str, kernels: &[(Kernel, Contract)], entries: &[Entry], target: Target) -> Result<(), Diagnostics> {
    let silent = kernels.iter().filter(|(kernel, contract)| {
        let waits = entries.iter().any(|entry| entry.symbol == kernel.symbol && entry.waits);
        contract.programmatic.is_some() && target.capability >= 90 && !waits
    });
    let errors: Vec<Diagnostic> = silent
        .map(|(kernel, _)| {
            let message = format!("kernel `{}`: it states `@pdl`, and for {target} it waits for nothing", kernel.name);
            Diagnostic::new(message)
                .at(file, kernel.line)
                .note("call `cudaGridDependencySynchronize()` before touching what earlier kernels touch")
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}
