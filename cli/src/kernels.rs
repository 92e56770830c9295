//! Shows the kernels of a manifest: signatures, contracts, targets, what they take; their PTX and machine code.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use warpwright::kernel::Set;
use warpwright::launch::KernelSet;
use warpwright_build::find_nvcc;
use warpwright_build::manifest::{Image, Kernel, Manifest, Module, Resources};
use warpwright_build::target::Target;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  warpwright kernels\n  warpwright kernels my-crate/kernels/prebuilt --json\n  \
                        warpwright kernels --ptx rms_norm\n  warpwright kernels --sass matmul --target 75")]
pub(crate) struct Arguments {
    /// A folder with a manifest: a crate's `kernels/prebuilt`, or what its build left in `OUT_DIR/warpwright`. Without
    /// one, the kernels of this program.
    folder: Option<PathBuf>,
    /// Shows the PTX of the module that has a kernel.
    #[arg(long, value_name = "KERNEL", conflicts_with_all = ["sass", "json"])]
    ptx: Option<String>,
    /// Shows the machine code of the module that has a kernel, where NVIDIA's `ptxas` and `nvdisasm` are found.
    #[arg(long, value_name = "KERNEL", conflicts_with = "json")]
    sass: Option<String>,
    /// The target to show PTX or machine code for; without it the lowest.
    #[arg(long, value_parser = parse_target)]
    target: Option<Target>,
    /// Writes JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn parse_target(text: &str) -> Result<Target, String> {
    Target::parse(text).ok_or_else(|| format!("`{text}` is not a target such as 75 or 90a"))
}

/// A kernel, as it is shown.
#[derive(Serialize)]
struct Row {
    module: String,
    name: String,
    signature: String,
    /// Whether it is launched by a safe function.
    safe: bool,
    /// What its contract lacks.
    missing: Vec<String>,
    /// Rules of its contract, each with its `@`.
    contract: Vec<String>,
    targets: Vec<OnTarget>,
}

#[derive(Serialize)]
struct OnTarget {
    target: Target,
    /// What it takes of a multiprocessor, where the assembler has said so.
    resources: Option<Resources>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let manifest = match &arguments.folder {
        Some(folder) => Manifest::read(folder)?,
        None => serde_json::from_str(Set::MANIFEST).context("the manifest of this program")?,
    };
    if let Some(name) = &arguments.ptx {
        let (image, module) = find(&manifest, name, arguments.target)?;
        return Ok(write!(stdout().lock(), "{}", ptx(arguments, module, image)?)?);
    }
    if let Some(name) = &arguments.sass {
        let (image, module) = find(&manifest, name, arguments.target)?;
        let code = disassemble(&ptx(arguments, module, image)?, image.target)?;
        return Ok(write!(stdout().lock(), "{code}")?);
    }
    let rows = rows(&manifest)?;
    let mut out = stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        return Ok(writeln!(out)?);
    }
    writeln!(out, "{}", table(&rows))?;
    for row in &rows {
        writeln!(out, "\n{}", row.signature)?;
        row.contract.iter().try_for_each(|rule| writeln!(out, "    {rule}"))?;
        if !row.missing.is_empty() {
            writeln!(out, "    its contract lacks {}", row.missing.join(", "))?;
        }
    }
    Ok(())
}

fn rows(manifest: &Manifest) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for module in &manifest.modules {
        for (index, kernel) in module.kernels.iter().enumerate() {
            rows.push(row(manifest, module, kernel, index)?);
        }
    }
    Ok(rows)
}

fn row(manifest: &Manifest, module: &Module, kernel: &Kernel, index: usize) -> anyhow::Result<Row> {
    let contract = kernel.contract(&manifest.headers).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(|(_, error)| error.to_string()).collect();
        anyhow::anyhow!("the contract of `{}`: {}", kernel.full_name(), errors.join("; "))
    })?;
    let missing = contract.missing(&kernel.scope());
    let targets = module.images.iter().map(|image| {
        // One for each kernel, or none at all.
        let resources = image.resources.get(index).copied();
        OnTarget { target: image.target, resources }
    });
    let rules = kernel.rules.iter().map(|(rule, text)| format!("@{rule} {text}").trim_end().to_owned());
    Ok(Row {
        module: module.name.clone(),
        name: kernel.full_name(),
        signature: kernel.signature(),
        safe: contract.safe && missing.is_empty(),
        missing,
        contract: rules.collect(),
        targets: targets.collect(),
    })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    let header = ["module", "kernel", "launch", "target", "registers", "shared", "stack", "spills"];
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        for (n, on) in row.targets.iter().enumerate() {
            let first = |text: &str| if n == 0 { text.to_owned() } else { String::new() };
            let number = |of: fn(&Resources) -> u32| {
                on.resources.as_ref().map_or_else(|| "-".to_owned(), |resources| of(resources).to_string())
            };
            table.add_row([
                first(&row.module),
                first(&row.name),
                first(if row.safe { "safe" } else { "unsafe" }),
                on.target.to_string(),
                number(|resources| resources.registers),
                number(|resources| resources.shared),
                number(|resources| resources.stack),
                number(|resources| resources.spills),
            ]);
        }
    }
    for column in 4..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The module that has a kernel, and its image for a target.
fn find<'m>(manifest: &'m Manifest, name: &str, target: Option<Target>) -> anyhow::Result<(&'m Image, &'m Module)> {
    let has = |module: &&Module| module.kernels.iter().any(|kernel| kernel.name == name || kernel.full_name() == name);
    let Some(module) = manifest.modules.iter().find(has) else {
        let kernels = manifest.modules.iter().flat_map(|module| &module.kernels);
        let known: Vec<String> = kernels.map(Kernel::full_name).collect();
        bail!("there is no kernel `{name}`; there are: {}", known.join(", "));
    };
    let image = match target {
        None => module.images.first(),
        Some(target) => module.images.iter().find(|image| image.target == target),
    };
    let Some(image) = image else {
        let known: Vec<String> = module.images.iter().map(|image| image.target.to_string()).collect();
        bail!("`{name}` is not compiled for that target; it is for: {}", known.join(", "));
    };
    Ok((image, module))
}

/// The text of an image.
fn ptx(arguments: &Arguments, module: &Module, image: &Image) -> anyhow::Result<String> {
    match &arguments.folder {
        Some(folder) => {
            let path = folder.join(&image.ptx);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        }
        None => {
            let own = Set::MODULES.iter().find(|own| own.name == module.name);
            let index = module.images.iter().position(|known| known == image);
            let own = own.zip(index).and_then(|(own, index)| own.images.get(index));
            Ok(own.context("this program has not the PTX that its manifest says")?.ptx.to_owned())
        }
    }
}

/// The machine code of PTX, as NVIDIA's tools show it.
fn disassemble(ptx: &str, target: Target) -> anyhow::Result<String> {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let nvcc = find_nvcc(&here).or_else(|error| find_nvcc(&program).map_err(|_| error))?;
    let tool = |name: &str| -> anyhow::Result<PathBuf> {
        let beside = nvcc.with_file_name(name);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
        let found = Some(beside).filter(|path| path.is_file()).or(in_path);
        found.with_context(|| format!("there is no {name} beside {} nor in PATH", nvcc.display()))
    };
    let (ptxas, nvdisasm) = (tool("ptxas")?, tool("nvdisasm")?);
    let folder = std::env::temp_dir().join(format!("warpwright-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let shown = through(&folder, ptx, target, &ptxas, &nvdisasm);
    // What was left behind does no harm.
    let _ = fs::remove_dir_all(&folder);
    shown
}

fn through(folder: &Path, ptx: &str, target: Target, ptxas: &Path, nvdisasm: &Path) -> anyhow::Result<String> {
    let (text, cubin) = (folder.join("code.ptx"), folder.join("code.cubin"));
    fs::write(&text, ptx)?;
    let run = |command: &mut Command| -> anyhow::Result<String> {
        let output = command.output().with_context(|| command.get_program().display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {said}", command.get_program().display());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    run(Command::new(ptxas).arg(format!("-arch=sm_{target}")).arg(&text).arg("-o").arg(&cubin))?;
    run(Command::new(nvdisasm).args(["--print-code", "--no-dataflow"]).arg(&cubin))
}
