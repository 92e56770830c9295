//! Compiling kernels with nvcc, and the PTX that a crate ships.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::contract::{Contract, Parameter as RuleParameter, RuleError, split_comment};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::folder::{Crate, PREBUILT, Prebuilt, build};
use crate::inputs::{hash, inputs_of};
use crate::manifest::{Kernel, Manifest, Module, Parameter};
use crate::ptx::{self, Entry};
use crate::signature::{self, Signature};
use crate::source::{self, SourceKernel};
use crate::toolkit::Toolkit;
use crate::types::{Element, Type};

/// Compiles the kernels in `folder` of the crate at `root`, and puts them where builds without nvcc find them.
///
/// # Errors
/// All that is wrong with them.
pub fn write_prebuilt(root: &Path, folder: &str, scratch: &Path) -> Result<(), Diagnostics> {
    let failed = |error: std::io::Error| Diagnostic::new(format!("the prebuilt PTX cannot be written: {error}"));
    let manifest = build(root, folder, scratch, Prebuilt::Never)?;
    let target = root.join(folder).join(PREBUILT);
    if target.exists() {
        std::fs::remove_dir_all(&target).map_err(failed)?;
    }
    std::fs::create_dir_all(&target).map_err(failed)?;
    for module in &manifest.modules {
        std::fs::copy(scratch.join(&module.ptx), target.join(&module.ptx)).map_err(failed)?;
    }
    manifest.write(&target).map_err(|error| Diagnostic::new(error.to_string()).into())
}

/// Compiles the kernels in `folder` of the crate at `root`, and compares them with what builds without nvcc would use.
///
/// # Errors
/// What differs, or is wrong with the kernels.
pub fn check_prebuilt(root: &Path, folder: &str, scratch: &Path) -> Result<(), Diagnostics> {
    let made = build(root, folder, scratch, Prebuilt::Never)?;
    let target = root.join(folder).join(PREBUILT);
    let kept = Manifest::read(&target).map_err(|error| Diagnostic::new(error.to_string()))?;
    let mut stale: Vec<String> = Vec::new();
    for module in &made.modules {
        let same = |folder: &Path| std::fs::read(folder.join(&module.ptx)).ok();
        if kept.module(&module.name) != Some(module) || same(scratch) != same(&target) {
            stale.push(module.name.clone());
        }
    }
    let extra = kept.modules.iter().filter(|module| made.module(&module.name).is_none());
    stale.extend(extra.map(|module| module.name.clone()));
    if stale.is_empty() && kept.flags == made.flags {
        return Ok(());
    }
    Err(Diagnostic::new(format!("the PTX in {folder}/{PREBUILT} is not what the sources give: {}", stale.join(", ")))
        .note("run `cargo xtask prebuilt` and commit the result")
        .into())
}

fn no_toolkit(names: &[&str], looked: &[String]) -> Diagnostic {
    let files = names.iter().map(|name| format!("{name}.cu")).collect::<Vec<_>>().join(", ");
    Diagnostic::new(format!("nvcc is needed to compile {files}, and was not found"))
        .note("there is no PTX that was made from these sources as they are now")
        .note(format!("looked for nvcc:\n{}", looked.join("\n")))
        .note(
            "install the CUDA toolkit (13.0 or later), or set WARPWRIGHT_NVCC to the path of nvcc; in Warpwright's own \
             repository `cargo xtask toolkit` installs it under target/ without root",
        )
}

/// Compiles sources that there is no PTX of.
pub(crate) fn compile_changed(of: &Crate<'_>, sources: &[(String, PathBuf)]) -> Result<Vec<Module>, Diagnostics> {
    let names: Vec<&str> = sources.iter().map(|(name, _)| name.as_str()).collect();
    let toolkit = Toolkit::find(of.out).map_err(|error| no_toolkit(&names, &error.looked))?;
    let modules = compile_all(&toolkit, of, sources)?;
    check_names(&modules, of.folder)?;
    Ok(modules)
}

/// Compiles sources on as many threads as cargo allows. All errors are reported together.
fn compile_all(toolkit: &Toolkit, of: &Crate<'_>, sources: &[(String, PathBuf)]) -> Result<Vec<Module>, Diagnostics> {
    let version = toolkit.version()?;
    let jobs = std::env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, sources.len()) {
            scope.spawn(|| {
                while let Some((name, path)) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = compile_one(toolkit, &version, of, name, path);
                    results.lock().unwrap_or_else(PoisonError::into_inner).insert(name, result);
                }
            });
        }
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

fn compile_one(
    toolkit: &Toolkit,
    version: &str,
    of: &Crate<'_>,
    name: &str,
    path: &Path,
) -> Result<Module, Diagnostics> {
    let file = format!("{}/{name}.cu", of.folder);
    let failed = |error: std::io::Error| Diagnostic::new(format!("{file}: {error}"));
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let (raw, files) = toolkit.compile(path, &of.kernels.join("include"), of.flags, &of.out.join(name))?;
    let root = of.kernels.parent().unwrap_or(of.kernels);
    let mut code = ptx::portable(&raw, root, toolkit.root());
    let kernels = witnesses(&file, &text, &ptx::entries(&code)).map_err(Diagnostics)?;
    for (kernel, contract) in &kernels {
        if let Some(block) = constant_block(contract) {
            code = ptx::require_block(&code, &kernel.symbol, block);
        }
    }
    let ptx = format!("{name}.ptx");
    std::fs::write(of.out.join(&ptx), &code).map_err(failed)?;
    Ok(Module {
        name: name.to_owned(),
        documentation: source::file_comment(&text),
        inputs: inputs_of(&files, of.kernels, toolkit.root()).map_err(failed)?,
        sha256: hash(code.as_bytes()),
        ptx,
        compiler: version.to_owned(),
        kernels: kernels.into_iter().map(|(kernel, _)| kernel).collect(),
    })
}

/// The block of a contract, if it is the same for every launch.
fn constant_block(contract: &Contract) -> Option<[i64; 3]> {
    let mut block = [1; 3];
    if contract.block.is_empty() {
        return None;
    }
    for (size, expression) in block.iter_mut().zip(&contract.block) {
        *size = expression.constant()?;
    }
    Some(block)
}

/// Hears the three witnesses of every kernel of a file.
fn witnesses(file: &str, text: &str, entries: &[Entry]) -> Result<Vec<(Kernel, Contract)>, Vec<Diagnostic>> {
    let mut sources = source::kernels(text);
    let (mut kernels, mut errors) = (Vec::new(), Vec::new());
    for entry in entries {
        let signature = match signature::read(&entry.symbol) {
            Ok(signature) => signature,
            Err(error) => {
                let line = source_line(&sources, &entry.symbol);
                errors.push(Diagnostic::new(error.to_string()).at(file, line).note(format!("kernel {}", entry.symbol)));
                continue;
            }
        };
        let found: Vec<usize> = (0..sources.len()).filter(|&n| sources[n].name == signature.name).collect();
        let &[found] = &found[..] else {
            let problem = if found.is_empty() {
                "the source has no `__global__` function of that name (is it made by a macro?)"
            } else {
                "the source has several `__global__` functions of that name"
            };
            let line = found.first().map_or(1, |&n| sources[n].line);
            errors.push(Diagnostic::new(format!("kernel `{}`: {problem}", signature.name)).at(file, line));
            continue;
        };
        let source = sources.remove(found);
        match agree(file, entry, &signature, &source) {
            Ok(kernel) => kernels.push(kernel),
            Err(of_kernel) => errors.extend(of_kernel),
        }
    }
    // A template that nothing instantiates, say: what is in the source and not in the PTX cannot be launched.
    if errors.is_empty() {
        errors.extend(sources.iter().map(|source| {
            Diagnostic::new(format!("the kernel `{}` is not in the PTX", source.name))
                .at(file, source.line)
                .note("a template, or a declaration without a body, gives no code: write a `__global__` function")
        }));
    }
    kernels.sort_by_key(|(kernel, _)| kernel.line);
    if errors.is_empty() { Ok(kernels) } else { Err(errors) }
}

/// The line of the kernel whose name is in a symbol, or 1.
fn source_line(sources: &[SourceKernel], symbol: &str) -> u32 {
    sources.iter().find(|source| symbol.contains(&source.name)).map_or(1, |source| source.line)
}

/// Makes one kernel of what its witnesses say, if they agree.
fn agree(
    file: &str,
    entry: &Entry,
    signature: &Signature,
    source: &SourceKernel,
) -> Result<(Kernel, Contract), Vec<Diagnostic>> {
    let name = &signature.name;
    let here = |message: String| Diagnostic::new(format!("kernel `{name}`: {message}")).at(file, source.line);
    let counts = [signature.parameters.len(), entry.parameters.len(), source.parameters.len()];
    if counts.iter().any(|count| *count != counts[0]) {
        let [mangled, ptx, written] = counts;
        return Err(vec![
            here(format!(
                "its witnesses disagree: the symbol has {mangled} parameters, the PTX {ptx}, the source {written}"
            ))
            .note(format!("symbol {}", entry.symbol)),
        ]);
    }
    let mut errors = Vec::new();
    let mut parameters: Vec<Parameter> = Vec::new();
    for ((ty, size), written) in signature.parameters.iter().zip(&entry.parameters).zip(&source.parameters) {
        let Some(parameter) = &written.name else {
            errors.push(here(format!("a parameter `{}` has no name, and a launcher needs one", written.ty)));
            continue;
        };
        let ty = match ty {
            Ok(ty) => *ty,
            Err(cpp) => {
                errors.push(
                    here(format!("parameter `{parameter}` has the type `{cpp}`, which has no counterpart in Rust"))
                        .note(format!("supported: {}; and pointers to these", supported_types())),
                );
                continue;
            }
        };
        if ty.size() != *size {
            errors.push(here(format!(
                "its witnesses disagree on `{parameter}`: the symbol says `{}`, {} bytes; the PTX says {size} bytes",
                ty.cpp(),
                ty.size()
            )));
        }
        if let Some(said) = plain_type(&written.ty).filter(|said| *said != ty) {
            errors.push(here(format!(
                "its witnesses disagree on `{parameter}`: the symbol says `{}`, the source `{}`",
                ty.cpp(),
                said.cpp()
            )));
        }
        parameters.push(Parameter { name: parameter.clone(), ty });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let (documentation, rules) = split_comment(&source.comment);
    let of_rules: Vec<RuleParameter<'_>> = parameters.iter().map(|p| (p.name.as_str(), p.ty)).collect();
    let texts = rules.iter().map(|(rule, text, _)| (rule.as_str(), text.as_str()));
    let contract = Contract::read(texts, &of_rules).map_err(|errors| {
        let line_of = |number: Option<usize>| match number.and_then(|number| rules.get(number)) {
            Some((.., offset)) => source.comment_line + *offset as u32,
            None => source.line,
        };
        let diagnostic = |(number, error): (Option<usize>, RuleError)| {
            Diagnostic::new(format!("kernel `{name}`: {error}")).at(file, line_of(number))
        };
        errors.into_iter().map(diagnostic).collect::<Vec<_>>()
    })?;
    let fits =
        |block: [i64; 3], max: u64| block.iter().all(|size| *size > 0) && block.iter().product::<i64>() as u64 <= max;
    match (constant_block(&contract), entry.max_threads) {
        (Some(block), Some(max)) if !fits(block, max) => {
            return Err(vec![here(format!("`@block` is {block:?}, and `__launch_bounds__` allows {max} threads"))]);
        }
        _ => {}
    }
    let kernel = Kernel {
        name: name.clone(),
        symbol: entry.symbol.clone(),
        line: source.line,
        documentation,
        parameters,
        rules: rules.into_iter().map(|(rule, text, _)| (rule, text)).collect(),
    };
    Ok((kernel, contract))
}

fn supported_types() -> String {
    "8 to 64-bit integers, float, double, __half, __nv_bfloat16, int2, int4, uint2, uint4, float2, float4".to_owned()
}

/// The type that a source spells out, if it is one of the usual spellings and not a typedef or a macro.
fn plain_type(text: &str) -> Option<Type> {
    let text = text.replace("__restrict__", " ").replace("__grid_constant__", " ");
    let (pointee, pointer) = match text.trim_end().trim_end_matches("const").trim_end().strip_suffix('*') {
        Some(pointee) => (pointee, true),
        None => (text.as_str(), false),
    };
    let words: Vec<&str> = pointee.split_whitespace().collect();
    let constant = words.contains(&"const");
    let words: Vec<&str> = words.into_iter().filter(|word| *word != "const").collect();
    let cpp = match &words[..] {
        ["int8_t"] => "signed char",
        ["uint8_t"] => "unsigned char",
        ["int16_t"] => "short",
        ["uint16_t"] => "unsigned short",
        ["int32_t"] => "int",
        ["uint32_t" | "unsigned"] => "unsigned int",
        ["int64_t"] => "long",
        ["uint64_t" | "size_t"] => "unsigned long",
        ["half"] => "__half",
        [one] => one,
        ["unsigned", rest @ ..] => return unsigned(rest, pointer, constant),
        _ => return None,
    };
    Element::from_cpp(cpp).map(|element| with_pointer(element, pointer, constant))
}

fn unsigned(rest: &[&str], pointer: bool, constant: bool) -> Option<Type> {
    let element = Element::from_cpp(&format!("unsigned {}", rest.join(" ")))?;
    Some(with_pointer(element, pointer, constant))
}

fn with_pointer(element: Element, pointer: bool, constant: bool) -> Type {
    match (pointer, constant) {
        (false, _) => Type::Scalar(element),
        (true, true) => Type::Read(element),
        (true, false) => Type::Write(element),
    }
}

/// Names that Rust takes in no form (others it takes as `r#name`).
const RESERVED: [&str; 5] = ["self", "Self", "super", "crate", "_"];

/// Modules and launchers have the names of their files, kernels and parameters, which have to be names in Rust.
fn check_names(modules: &[Module], folder: &str) -> Result<(), Diagnostics> {
    let mut errors = Vec::new();
    for module in modules {
        let identifier = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        for kernel in &module.kernels {
            let names = kernel.parameters.iter().map(|parameter| parameter.name.as_str());
            for name in names.chain([kernel.name.as_str()]).filter(|name| RESERVED.contains(name)) {
                let message = format!("kernel `{}`: `{name}` cannot be a name in Rust: rename it", kernel.name);
                errors.push(Diagnostic::new(message).at(format!("{folder}/{}.cu", module.name), kernel.line));
            }
        }
        if !identifier(&module.name) {
            let message = format!("`{}.cu` cannot be a Rust module: rename the file", module.name);
            errors.push(Diagnostic::new(message).at(format!("{folder}/{}.cu", module.name), 1));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "/// Scales.\n/// @grid n\n/// @block 32\n/// @len x == n\n/// @safe\n__global__ void scale(float* x, uint32_t n) {}\n";

    fn entry(symbol: &str, parameters: &[u64]) -> Entry {
        Entry { symbol: symbol.to_owned(), parameters: parameters.to_vec(), max_threads: None }
    }

    fn messages(source: &str, entries: &[Entry]) -> String {
        Diagnostics(witnesses("kernels/k.cu", source, entries).unwrap_err()).to_string()
    }

    #[test]
    fn witnesses_that_agree_make_a_kernel() {
        let kernels = witnesses("k.cu", SOURCE, &[entry("_Z5scalePfj", &[8, 4])]).unwrap();
        let (kernel, contract) = &kernels[0];
        assert_eq!((kernel.name.as_str(), kernel.line, kernel.documentation.as_str()), ("scale", 6, "Scales."));
        assert_eq!(kernel.parameters[0], Parameter { name: "x".into(), ty: Type::Write(Element::F32) });
        assert_eq!(constant_block(contract), Some([32, 1, 1]));
    }

    #[test]
    fn witnesses_that_disagree_are_errors() {
        let cases = [
            (entry("_Z5scalePfj", &[8]), "the symbol has 2 parameters, the PTX 1, the source 2"),
            (
                entry("_Z5scalePfm", &[8, 8]),
                "disagree on `n`: the symbol says `unsigned long`, the source `unsigned int`",
            ),
            (entry("_Z5scalePKfj", &[8, 4]), "disagree on `x`: the symbol says `const float*`, the source `float*`"),
            (entry("_Z5scalePfj", &[8, 8]), "the symbol says `unsigned int`, 4 bytes; the PTX says 8 bytes"),
            (entry("_Z5scaleP6Paramsj", &[8, 4]), "`x` has the type `Params*`, which has no counterpart in Rust"),
            (entry("_Z5otherPfj", &[8, 4]), "the source has no `__global__` function of that name"),
            (entry("scale", &[8, 4]), "`extern \"C\"`"),
        ];
        for (entry, message) in cases {
            let shown = messages(SOURCE, &[entry]);
            assert!(shown.contains(message), "{shown}");
            assert!(shown.contains("--> kernels/k.cu:"), "{shown}");
        }
        assert!(messages(SOURCE, &[]).contains("the kernel `scale` is not in the PTX"));
    }

    #[test]
    fn rule_errors_name_their_line() {
        let source = SOURCE.replace("@len x == n", "@len z == n").replace("@grid n", "@grid m");
        let shown = messages(&source, &[entry("_Z5scalePfj", &[8, 4])]);
        assert!(shown.contains("error: kernel `scale`: `@len` names `z`") && shown.contains("k.cu:4"), "{shown}");
        assert!(shown.contains("`@grid` names `m`") && shown.contains("k.cu:2"), "{shown}");
        let bounded = Entry { max_threads: Some(16), ..entry("_Z5scalePfj", &[8, 4]) };
        assert!(messages(SOURCE, &[bounded]).contains("`__launch_bounds__` allows 16 threads"));
    }

    #[test]
    fn usual_spellings_are_known() {
        let shown = |text: &str| plain_type(text).map(Type::cpp);
        assert_eq!(shown("const float* __restrict__").as_deref(), Some("const float*"));
        assert_eq!(shown("float const *").as_deref(), Some("const float*"));
        assert_eq!(shown("unsigned char").as_deref(), Some("unsigned char"));
        assert_eq!(shown("const uint32_t").as_deref(), Some("unsigned int"));
        assert_eq!(shown("__half* const").as_deref(), Some("__half*"));
        assert_eq!(shown("index_t"), None);
        assert_eq!(shown("std::array<int,3>"), None);
    }
}
