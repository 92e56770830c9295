//! What a benchmark writes: all of it as JSON, or tables.

use std::io::Write;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use warpwright::device::Properties;
use warpwright::gguf::Gguf;
use warpwright::model::{Model, Session};

use super::kernels::{Cost, Profile};
use super::llama::Llama;
use super::measure::{Bandwidth, Measured};

/// All that was measured, and on what.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tool: &'static str,
    version: &'static str,
    /// The commit that the program was built from, where whoever built it said so in `WARPWRIGHT_COMMIT`.
    commit: Option<&'static str>,
    date: String,
    device: DeviceReport,
    /// Bytes a second; none on the emulator.
    bandwidth: Option<Bandwidth>,
    model: ModelReport,
    session: SessionReport,
    pub(crate) results: Vec<Measured>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) profiles: Vec<Profile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) llama: Option<Llama>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DeviceReport {
    name: String,
    is_emulator: bool,
    compute_capability: String,
    /// The version of CUDA that the driver is for: 12040 for 12.4.
    driver: i32,
    multiprocessors: u32,
    l2_bytes: u64,
    memory_bytes: u64,
}

impl DeviceReport {
    pub(crate) fn new(of: &Properties, is_emulator: bool) -> Self {
        let (major, minor) = of.compute_capability;
        Self {
            name: of.name.clone(),
            is_emulator,
            compute_capability: format!("{major}.{minor}"),
            driver: of.driver,
            multiprocessors: of.multiprocessors,
            l2_bytes: of.l2_bytes,
            memory_bytes: of.memory_bytes,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ModelReport {
    name: String,
    architecture: String,
    layers: u32,
    hidden: u32,
    ffn: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    vocab: u32,
    tied: bool,
    file_bytes: u64,
    /// Bytes of weights that a token takes in, as the kernels read them.
    weight_bytes_per_token: u64,
}

impl ModelReport {
    pub(crate) fn new(name: String, gguf: &Gguf, model: &Model) -> Self {
        let config = model.config();
        Self {
            name,
            architecture: config.architecture.name().to_owned(),
            layers: config.layers,
            hidden: config.hidden,
            ffn: config.ffn,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            vocab: config.vocab,
            tied: config.tied,
            file_bytes: gguf.size(),
            weight_bytes_per_token: model.bytes_per_token(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct SessionReport {
    context: usize,
    cache_type: &'static str,
    batch_size: usize,
    launches_per_token: usize,
    /// Kernels of a token that begin while the kernel before ends.
    programmatic_edges: usize,
}

impl SessionReport {
    pub(crate) fn new(session: &Session) -> Self {
        let options = session.options();
        Self {
            context: options.context,
            cache_type: options.kv_format.name(),
            batch_size: options.chunk,
            launches_per_token: session.launches_per_step(),
            programmatic_edges: session.programmatic_edges(),
        }
    }
}

/// A table whose columns but the first are numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn row(table: &mut Table, cells: Vec<String>) {
    let aligned = |(n, cell)| match n {
        0 => Cell::new(cell),
        _ => Cell::new(cell).set_alignment(CellAlignment::Right),
    };
    table.add_row(cells.into_iter().enumerate().map(aligned).collect::<Vec<_>>());
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("-".to_owned(), |fraction| format!("{:.1} %", 100.0 * fraction))
}

impl Report {
    pub(crate) fn new(
        device: DeviceReport,
        model: ModelReport,
        session: SessionReport,
        bandwidth: Option<Bandwidth>,
    ) -> Self {
        Self {
            tool: "warpwright bench",
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("WARPWRIGHT_COMMIT"),
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            device,
            bandwidth,
            model,
            session,
            results: Vec::new(),
            profiles: Vec::new(),
            llama: None,
        }
    }

    /// Writes tables.
    pub(crate) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let Self { device, model, session, bandwidth, .. } = self;
        writeln!(out, "{} on {}", model.name, device.name)?;
        if let Some(Bandwidth { read, copy }) = bandwidth {
            writeln!(out, "memory: {:.0} GB/s read, {:.0} GB/s copied (read and written)", read / 1e9, copy / 1e9)?;
        }
        if device.is_emulator {
            writeln!(out, "these times are the emulator's, and say nothing of a GPU")?;
        }
        if !self.results.is_empty() {
            let mut table =
                table(&["test", "tokens/s", "us a token", "launches a token", "memory floor in us", "of the floor"]);
            for result in &self.results {
                let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.1}"));
                let cells = vec![
                    result.test.clone(),
                    format!("{:.1} ± {:.1}", result.tokens_per_second, result.deviation),
                    format!("{:.1}", result.microseconds_per_token),
                    result.launches_per_token.map_or("-".to_owned(), |launches| launches.to_string()),
                    number(result.floor_microseconds),
                    percent(result.memory_floor),
                ];
                row(&mut table, cells);
            }
            writeln!(out, "{table}")?;
        }
        self.profiles.iter().try_for_each(|profile| self.write_profile(profile, out))?;
        if let Some(llama) = &self.llama {
            self.write_llama(llama, out)?;
        }
        let edges = session.programmatic_edges;
        Ok(writeln!(
            out,
            "{edges} of {} kernels of a token begin while the one before ends",
            session.launches_per_token
        )?)
    }

    fn write_profile(&self, profile: &Profile, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "\nkernels of a token at depth {}, each by itself and without the graph", profile.n_depth)?;
        let mut table = table(&["kernel", "launches", "us", "us each", "share", "MB", "GB/s", "of the floor"]);
        let cells = |name: String, cost: &Cost| {
            vec![
                name,
                cost.launches.to_string(),
                format!("{:.2}", cost.microseconds),
                format!("{:.2}", cost.microseconds / cost.launches as f64),
                percent(Some(cost.share)),
                format!("{:.3}", cost.bytes as f64 / 1e6),
                format!("{:.1}", cost.bytes_per_second / 1e9),
                percent(cost.memory_floor),
            ]
        };
        for kernel in &profile.kernels {
            row(&mut table, cells(kernel.kernel.clone(), &kernel.all));
            if kernel.shapes.len() > 1 {
                for shape in &kernel.shapes {
                    let [x, y, z] = shape.blocks;
                    let mut blocks = vec![x, y, z];
                    blocks.truncate(if z > 1 {
                        3
                    } else if y > 1 {
                        2
                    } else {
                        1
                    });
                    let blocks = blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
                    let each = shape.all.bytes as f64 / shape.all.launches as f64 / 1e6;
                    row(&mut table, cells(format!("  {blocks} blocks, {each:.3} MB"), &shape.all));
                }
            }
        }
        writeln!(out, "{table}")?;
        let (sum, overhead) = (profile.microseconds, profile.overhead_microseconds);
        write!(out, "{sum:.1} us in all; two events with nothing between them are {overhead:.2} us apart")?;
        match profile.graph_microseconds {
            Some(graph) => writeln!(out, "; by the graph a token takes {graph:.1} us, {:.2} of the sum", graph / sum)?,
            None => writeln!(out)?,
        }
        if self.model.weight_bytes_per_token < 4 * self.device.l2_bytes {
            writeln!(out, "the weights are less than four times the L2 cache: some are found there")?;
        }
        Ok(())
    }

    fn write_llama(&self, llama: &Llama, out: &mut impl Write) -> anyhow::Result<()> {
        if let Some(first) = llama.results.first() {
            let (commit, number) = (&first.build_commit, first.build_number);
            writeln!(out, "\nllama.cpp {commit} ({number}), {}, {}", first.backends, first.gpu_info)?;
        }
        let mut table = table(&["test", "tokens/s", "llama.cpp", "times as fast"]);
        for own in &self.results {
            let is_same = |theirs: &&super::llama::Sample| {
                (theirs.n_prompt, theirs.n_gen, theirs.n_depth) == (own.n_prompt, own.n_gen, own.n_depth)
            };
            let theirs = llama.results.iter().find(is_same);
            let shown =
                theirs.map_or("-".to_owned(), |of| format!("{:.1} ± {:.1}", of.tokens_per_second(), of.stddev_ts));
            let ratio = theirs.map(|theirs| own.tokens_per_second / theirs.tokens_per_second());
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let speed = format!("{:.1} ± {:.1}", own.tokens_per_second, own.deviation);
            row(&mut table, vec![own.test.clone(), speed, shown, ratio]);
        }
        Ok(writeln!(out, "{table}")?)
    }
}
