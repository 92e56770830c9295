//! nvcc: where it is, and running it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::locate::{ToolkitNotFound, find_nvcc};
use crate::manifest::Resources;
use crate::ptx;
use crate::target::Target;

/// A CUDA compiler.
#[derive(Debug, Clone)]
pub struct Toolkit {
    nvcc: PathBuf,
    /// The folder that nvcc's `bin` is in, without symbolic links.
    root: PathBuf,
    /// The C++ compiler that nvcc preprocesses with.
    host_compiler: Option<PathBuf>,
    /// Where tools are looked for in folders around.
    near: PathBuf,
}

/// The folder of libclang in what `cargo xtask toolkit` installs.
const LIBCLANG: &str = "cuda-toolkit/clang/native";

impl Toolkit {
    /// Finds the toolkit of the nvcc that [`find_nvcc`] finds.
    ///
    /// # Errors
    /// Where it was looked for in vain.
    pub fn find(near: &Path) -> Result<Self, ToolkitNotFound> {
        let nvcc = find_nvcc(near)?;
        let real = std::fs::canonicalize(&nvcc).unwrap_or_else(|_| nvcc.clone());
        let root = real.ancestors().nth(2).unwrap_or(&real).to_owned();
        Ok(Self { nvcc, root, host_compiler: host_compiler(), near: near.to_owned() })
    }

    /// The folder of the toolkit.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of nvcc. The other tools are beside it.
    #[must_use]
    pub fn nvcc(&self) -> &Path {
        &self.nvcc
    }

    /// The toolkit's own headers, without symbolic links: they may be elsewhere than nvcc.
    pub(crate) fn include(&self) -> PathBuf {
        let include = self.root.join("include");
        std::fs::canonicalize(&include).unwrap_or(include)
    }

    /// Where the C++ compiler keeps the headers that are part of the language, such as `stddef.h`. (libclang comes
    /// without its own.)
    pub(crate) fn compiler_headers(&self) -> Option<String> {
        let compiler = self.host_compiler.as_ref()?;
        let output = Command::new(compiler).arg("-print-file-name=include").output().ok()?;
        let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        Path::new(&path).is_dir().then_some(path)
    }

    /// Makes libclang, which reads shared headers, known to bindgen.
    pub(crate) fn find_libclang(&self) -> Result<(), Diagnostic> {
        let mut looked = Vec::new();
        match std::env::var_os("LIBCLANG_PATH") {
            Some(path) => looked.push(format!("LIBCLANG_PATH is {}", path.display())),
            None => {
                looked.push("LIBCLANG_PATH is not set".to_owned());
                match self.near.ancestors().map(|folder| folder.join(LIBCLANG)).find(|path| path.is_dir()) {
                    // SAFETY: a build script has one thread here, and Rust's own look-ups are behind a lock.
                    Some(folder) => unsafe { std::env::set_var("LIBCLANG_PATH", folder) },
                    None => looked.push(format!("no {LIBCLANG} in a folder around {}", self.near.display())),
                }
            }
        }
        clang_sys::load().map_err(|error| {
            Diagnostic::new("libclang is needed to read the shared headers `include/*.h`, and was not found")
                .note(format!("looked for libclang:\n{}\n{error}", looked.join("\n")))
                .note(
                    "install libclang, or set LIBCLANG_PATH to the folder that has it (the Python package `libclang` has \
                     it without root); in Warpwright's own repository `cargo xtask toolkit` installs it under target/",
                )
        })
    }

    /// The compiler's own description of itself: `Cuda compilation tools, release 13.0, V13.0.88`.
    pub(crate) fn version(&self) -> Result<String, Diagnostic> {
        let output = Command::new(&self.nvcc).arg("--version").output();
        let output = output.map_err(|error| self.cannot_run(&error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("release"));
        line.map(|line| line.trim().to_owned()).ok_or_else(|| {
            Diagnostic::new(format!("{} --version does not say a release", self.nvcc.display())).note(text)
        })
    }

    fn cannot_run(&self, error: &std::io::Error) -> Diagnostic {
        Diagnostic::new(format!("{} cannot be run: {error}", self.nvcc.display()))
    }

    /// Compiles a source to PTX for a target. Returns the PTX, and the files that went into it. `root` is the crate's
    /// folder, in which errors name files.
    pub(crate) fn compile(
        &self,
        source: &Path,
        include: &Path,
        flags: &[String],
        target: Target,
        out: &Path,
        root: &Path,
    ) -> Result<(String, Vec<PathBuf>), Diagnostics> {
        let (ptx, depfile) = (out.with_extension("nvcc.ptx"), out.with_extension("d"));
        let mut command = Command::new(&self.nvcc);
        command.arg("-ptx").arg(format!("-arch=compute_{target}")).args(flags);
        command.arg("-I").arg(include).arg("-MD").arg("-MF").arg(&depfile).arg("-o").arg(&ptx).arg(source);
        if let Some(compiler) = &self.host_compiler {
            command.arg("-ccbin").arg(compiler);
        }
        let output = command.output().map_err(|error| self.cannot_run(&error))?;
        let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        if !output.status.success() {
            return Err(compiler_errors(&said, source, root));
        }
        said.lines().filter(|line| line.contains("warning")).for_each(warn);
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| Diagnostic::new(format!("nvcc wrote no {}: {error}", path.display())))
        };
        let text = read(&ptx)?;
        let files = depfile_inputs(&read(&depfile)?);
        // What was left behind does no harm.
        let _ = (std::fs::remove_file(&depfile), std::fs::remove_file(&ptx));
        Ok((text, files))
    }

    /// Lowers the version that PTX says it has to the lowest that NVIDIA's assembler takes it with, so that older drivers
    /// load it, and says what its kernels take. Without an assembler the PTX stays as it is.
    pub(crate) fn assemble(
        &self,
        ptx: String,
        target: Target,
        scratch: &Path,
    ) -> Result<(String, BTreeMap<String, Resources>), Diagnostic> {
        let ptxas = self.nvcc.with_file_name("ptxas");
        let Some(stamped) = ptx::version(&ptx).filter(|_| ptxas.is_file()) else {
            return Ok((ptx, BTreeMap::new()));
        };
        let mut version = target.first_ptx().min(stamped);
        loop {
            let text = ptx::with_version(&ptx, version);
            let file = scratch.with_extension("as.ptx");
            std::fs::write(&file, &text)
                .map_err(|error| Diagnostic::new(format!("{} cannot be written: {error}", file.display())))?;
            let output = Command::new(&ptxas)
                .arg(format!("-arch=sm_{target}"))
                .args(["-v", "-o", "/dev/null"])
                .arg(&file)
                .output()
                .map_err(|error| Diagnostic::new(format!("{} cannot be run: {error}", ptxas.display())))?;
            let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
            let _ = std::fs::remove_file(&file);
            if output.status.success() {
                return Ok((text, resources(&said)));
            }
            if version >= stamped {
                return Err(Diagnostic::new(format!("ptxas does not take what nvcc wrote for {target}")).note(said));
            }
            version = required_version(&said).filter(|needed| *needed > version).unwrap_or(version + 1).min(stamped);
        }
    }
}

/// Shows a warning of nvcc: through cargo in a build script, which hides what a successful one prints.
fn warn(line: &str) {
    if std::env::var_os("OUT_DIR").is_some() {
        println!("cargo::warning={line}");
    } else {
        eprintln!("{line}");
    }
}

/// The errors among what nvcc says, each at its place: `file(line): error: …`, or `file:line:column: fatal error: …`.
fn compiler_errors(said: &str, source: &Path, root: &Path) -> Diagnostics {
    let mut errors: Vec<Diagnostic> = Vec::new();
    let mut context = Vec::new();
    for line in said.lines() {
        let found = [": error", ": fatal error", ": catastrophic error"].iter().find_map(|mark| line.split_once(mark));
        let Some((place, rest)) = found else {
            // Lines after an error show the source.
            match errors.last_mut().filter(|_| line.starts_with(' ')) {
                Some(error) if !line.trim().is_empty() => error.notes.push(line.trim_end().to_owned()),
                _ => context.push(line),
            }
            continue;
        };
        let number = |text: &str| text.parse::<u32>().ok();
        let placed = match place.strip_suffix(')').and_then(|place| place.rsplit_once('(')) {
            Some((file, line)) => number(line).map(|line| (file, line)),
            None => {
                let mut parts = place.rsplitn(3, ':');
                let (_, line, file) = (parts.next(), parts.next(), parts.next());
                line.and_then(number).zip(file).map(|(line, file)| (file, line))
            }
        };
        let message = rest.split_once(": ").map_or(rest, |(_, message)| message);
        let diagnostic = Diagnostic::new(format!("nvcc: {message}"));
        errors.push(match placed {
            Some((file, line)) => {
                let file = Path::new(file).strip_prefix(root).unwrap_or(Path::new(file));
                diagnostic.at(file.display().to_string(), line)
            }
            None => diagnostic,
        });
    }
    if errors.is_empty() {
        let source = source.strip_prefix(root).unwrap_or(source).display();
        errors.push(Diagnostic::new(format!("nvcc could not compile {source}")).note(context.join("\n")));
    }
    Diagnostics(errors)
}

/// The version that ptxas asks for: `requires PTX ISA .version 7.8 or later`.
fn required_version(said: &str) -> Option<u32> {
    let versions = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once("requires PTX ISA .version ")?;
        let (major, minor) = rest.split_whitespace().next()?.split_once('.')?;
        Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
    });
    versions.max()
}

/// What `ptxas -v` says of each kernel.
fn resources(said: &str) -> BTreeMap<String, Resources> {
    let mut kernels: BTreeMap<String, Resources> = BTreeMap::new();
    let mut current = String::new();
    for line in said.lines() {
        let quoted = || line.split('\'').nth(1).map(str::to_owned);
        if line.contains("Compiling entry function") {
            current = quoted().unwrap_or_default();
            kernels.entry(current.clone()).or_default();
        } else if let Some((_, name)) = line.split_once("Function properties for ") {
            current = name.trim().to_owned();
        }
        let Some(of) = kernels.get_mut(&current) else { continue };
        // `0 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads`; `Used 12 registers, 4096 bytes smem, …`
        for part in line.split([',', ':']).map(str::trim) {
            let words: Vec<&str> = part.split_whitespace().collect();
            let number = |word: &str| word.parse::<u32>().unwrap_or(0);
            match words[..] {
                ["Used", count, "registers"] => of.registers = number(count),
                [bytes, "bytes", "stack", "frame"] => of.stack = number(bytes),
                [bytes, "bytes", "spill", "stores" | "loads"] => of.spills += number(bytes),
                [bytes, "bytes", "smem"] => of.shared = number(bytes),
                _ => {}
            }
        }
    }
    kernels
}

/// The C++ compiler of this machine. nvcc looks for one of its own if there is none to be found.
fn host_compiler() -> Option<PathBuf> {
    let host = std::env::var("HOST").unwrap_or_else(|_| format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    let mut build = cc::Build::new();
    build.cpp(true).cargo_metadata(false).opt_level(0).debug(false).target(&host).host(&host);
    build.try_get_compiler().ok().map(|compiler| compiler.path().to_owned())
}

/// The files that a makefile rule names after its colon.
fn depfile_inputs(depfile: &str) -> Vec<PathBuf> {
    let inputs = depfile.split_once(": ").map_or("", |(_, inputs)| inputs);
    let mut files = Vec::new();
    let mut name = String::new();
    let mut characters = inputs.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if matches!(characters.peek(), Some(' ' | '\\')) => name.extend(characters.next()),
            '\\' => {}
            c if c.is_whitespace() => {
                if !name.is_empty() {
                    files.push(PathBuf::from(std::mem::take(&mut name)));
                }
            }
            c => name.push(c),
        }
    }
    if !name.is_empty() {
        files.push(name.into());
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_nvcc_have_places() {
        let said = "/c/kernels/k.cu(13): error: identifier \"b\" is undefined\n      y = b;\n          ^\n\n\
                    /c/kernels/k.cu:1:10: fatal error: no.cuh: No such file or directory\n1 error detected\n";
        let shown = compiler_errors(said, Path::new("/c/kernels/k.cu"), Path::new("/c")).to_string();
        assert!(shown.contains("error: nvcc: identifier \"b\" is undefined\n  --> kernels/k.cu:13\n"), "{shown}");
        assert!(shown.contains("error: nvcc: no.cuh: No such file or directory\n  --> kernels/k.cu:1"), "{shown}");
        let other = compiler_errors("nvcc fatal   : no\n", Path::new("/c/k.cu"), Path::new("/c")).to_string();
        assert!(other.contains("could not compile k.cu") && other.contains("nvcc fatal"), "{other}");
    }

    #[test]
    fn what_ptxas_says_is_read() {
        let said = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function '_Z1kv' for 'sm_75'\n\
            ptxas info    : Function properties for _Z1kv\n    \
            8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 12 registers, used 1 barriers, 128 bytes smem, 400 bytes cmem[0]\n";
        let of = Resources { registers: 12, shared: 128, stack: 8, spills: 16 };
        assert_eq!(resources(said), BTreeMap::from([("_Z1kv".to_owned(), of)]));
        let needed = "a requires PTX ISA .version 7.0 or later\nb requires PTX ISA .version 7.8 or later\n";
        assert_eq!(required_version(needed), Some(78));
    }

    #[test]
    fn depfiles_are_read() {
        let files = depfile_inputs("out.ptx : a.cu \\\n    /usr/include/x.h \\\n  with\\ space.cuh\n");
        assert_eq!(files, ["a.cu", "/usr/include/x.h", "with space.cuh"].map(PathBuf::from));
    }
}
