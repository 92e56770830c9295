//! What was measured, as a table and as JSON.

use std::fmt;

use serde::Serialize;
use warpwright::ceilings::Ceilings;

use crate::cases::Case;
use crate::{Outcome, Result};

/// All of it.
#[derive(Serialize)]
pub(crate) struct Report {
    tool: &'static str,
    /// The commit that this was built from, where whoever built it said so in `WARPWRIGHT_COMMIT`.
    commit: Option<&'static str>,
    date: String,
    pub(crate) device: Device,
    /// Tiny shapes, whose times mean nothing.
    pub(crate) smoke: bool,
    pub(crate) ceilings: Measured,
    pub(crate) rows: Vec<Row>,
}

#[derive(Serialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    is_emulator: bool,
    compute_capability: String,
    driver: i32,
    multiprocessors: u32,
    l2_bytes: u64,
}

/// What the device can do at most.
#[derive(Serialize)]
pub(crate) struct Measured {
    /// Bytes a second that are read, of much at once.
    pub(crate) read: f64,
    /// Bytes a second of a copy: those read and those written.
    pub(crate) copy: f64,
    /// Operations a second of products of bytes.
    pub(crate) byte_operations: f64,
    /// Operations a second on tensor cores, f16 and f32 sums.
    pub(crate) matrix_operations: f64,
}

/// A case.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    microseconds: f64,
    bytes: u64,
    pub(crate) bytes_per_second: f64,
    operations: f64,
    pub(crate) operations_per_second: f64,
    /// The time that reading as many bytes takes, over the time taken.
    of_read: f64,
    /// The time that a copy takes which reads and writes as many bytes together, over the time taken.
    of_copy: f64,
    /// Copies of weights, or of keys and values, that launches rotate among.
    copies: usize,
    /// Relative to the norm of the reference.
    error: Option<f64>,
}

impl Report {
    pub(crate) fn new(ceilings: &Ceilings<'_>, is_emulator: bool, smoke: bool) -> Result<Self> {
        let of = ceilings.device();
        let much = (ceilings.pool() / 8).min(256 << 20);
        let (major, minor) = of.compute_capability;
        Ok(Self {
            tool: "warpwright kernel_speed",
            commit: option_env!("WARPWRIGHT_COMMIT"),
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            device: Device {
                name: of.name.clone(),
                is_emulator,
                compute_capability: format!("{major}.{minor}"),
                driver: of.driver,
                multiprocessors: of.multiprocessors,
                l2_bytes: of.l2_bytes,
            },
            smoke,
            ceilings: Measured {
                read: much as f64 / ceilings.read(much)?,
                copy: 2.0 * much as f64 / ceilings.copy(much)?,
                byte_operations: ceilings.byte_operations()?,
                matrix_operations: ceilings.matrix_operations()?,
            },
            rows: Vec::new(),
        })
    }
}

impl Row {
    pub(crate) fn new(case: &Case, outcome: &Outcome, large: &Measured, ceilings: &Ceilings<'_>) -> Result<Self> {
        let &Outcome { seconds, bytes, operations, copies, error } = outcome;
        let (kind, read, copy) = match case {
            // A launch that reads as many bytes, and starts and ends as the other does.
            Case::Linear(case) => {
                let kind = if case.tokens == 1 { "gemv" } else { "gemm" };
                (kind, ceilings.read(bytes)?, ceilings.copy(bytes / 2)?)
            }
            // What the positions add has no start and end.
            Case::Attention(_) => ("attention", bytes as f64 / large.read, bytes as f64 / large.copy),
        };
        Ok(Self {
            name: case.name(),
            kind,
            microseconds: seconds * 1e6,
            bytes,
            bytes_per_second: bytes as f64 / seconds,
            operations,
            operations_per_second: operations / seconds,
            of_read: read / seconds,
            of_copy: copy / seconds,
            copies,
            error,
        })
    }

    /// Operations for each byte.
    pub(crate) fn intensity(&self) -> f64 {
        self.operations / self.bytes as f64
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, microseconds, bytes_per_second, operations_per_second, of_read, of_copy, .. } = self;
        let (gigabytes, teraops) = (bytes_per_second / 1e9, operations_per_second / 1e12);
        let (of_read, of_copy) = (100.0 * of_read, 100.0 * of_copy);
        write!(f, "{name:<48} {microseconds:>10.2} {gigabytes:>9.1} {of_read:>8.1} {of_copy:>8.1} {teraops:>9.3}")?;
        match self.error {
            Some(error) => write!(f, " {error:>9.1e}"),
            None => write!(f, " {:>9}", "-"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, ceilings: Measured { read, copy, byte_operations, matrix_operations }, .. } = self;
        writeln!(f, "{}", device.name)?;
        if self.smoke {
            writeln!(f, "tiny shapes, to see that all is right: the times mean nothing")?;
        }
        writeln!(
            f,
            "at most {:.1} GB/s read, {:.1} GB/s copied (read and written), {:.2} Tops/s of bytes, {:.2} Tops/s on tensor cores",
            read / 1e9,
            copy / 1e9,
            byte_operations / 1e12,
            matrix_operations / 1e12
        )?;
        let [us, gb, of_read, of_copy, tops, error] = ["us", "GB/s", "% read", "% copy", "Tops/s", "error"];
        write!(f, "{:<48} {us:>10} {gb:>9} {of_read:>8} {of_copy:>8} {tops:>9} {error:>9}", "")?;
        self.rows.iter().try_for_each(|row| write!(f, "\n{row}"))
    }
}
