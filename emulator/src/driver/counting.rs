//! Counters of all launches of the process, by kernel: `WARPWRIGHT_EMULATOR_COUNTERS`, and what the library exports of them.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cpp_demangle::{DemangleOptions, Symbol};

use super::checking::look_at_exit;
use super::operation::report;
use crate::counters::{Counters, Roofline, columns, grouped, percent, time};
use crate::exec::{Options, Statistics};
use crate::profile::Profile;

/// Switches counters on: `1` shows a table on the standard error when the process ends, a path writes it to a file, with
/// the counters of each kernel.
const VARIABLE: &str = "WARPWRIGHT_EMULATOR_COUNTERS";

/// Whether launches are counted.
static COUNTING: LazyLock<AtomicBool> = LazyLock::new(|| {
    let wanted = target().is_some();
    if wanted {
        look_at_exit();
    }
    AtomicBool::new(wanted)
});

/// Where the environment wants the table.
enum Target {
    StandardError,
    File(PathBuf),
}

fn target() -> Option<Target> {
    let value = std::env::var_os(VARIABLE)?;
    match value.to_str() {
        Some("" | "0") => None,
        Some("1") => Some(Target::StandardError),
        _ => Some(Target::File(value.into())),
    }
}

/// A kernel, with all its launches.
struct Kernel {
    counters: Counters,
    roofline: Roofline,
    /// How long the emulator took.
    emulated: Duration,
}

static KERNELS: Mutex<Vec<Kernel>> = Mutex::new(Vec::new());

fn kernels() -> MutexGuard<'static, Vec<Kernel>> {
    KERNELS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A launch that is being counted, if it is.
pub(crate) struct Counting(Option<Instant>);

/// Begins a launch: switches its counters on if launches are counted.
pub(crate) fn begin(options: &mut Options<'_>) -> Counting {
    options.counters = COUNTING.load(Ordering::Relaxed);
    Counting(options.counters.then(Instant::now))
}

impl Counting {
    /// Ends the launch, which was made on a device with this profile.
    pub(crate) fn end(self, statistics: Statistics, profile: &Profile) {
        let (Some(start), Some(counters)) = (self.0, statistics.counters) else { return };
        let emulated = start.elapsed();
        let roofline = Roofline::of(&counters, profile);
        let mut kernels = kernels();
        for kernel in kernels.iter_mut().filter(|kernel| kernel.roofline.profile == *profile) {
            if kernel.counters.add(&counters) {
                kernel.roofline.add(&roofline);
                kernel.emulated += emulated;
                return;
            }
        }
        kernels.push(Kernel { counters: *counters, roofline, emulated });
    }
}

/// Begins to count launches from nothing, or counts no more of them.
pub(crate) fn count(on: bool) {
    kernels().clear();
    COUNTING.store(on, Ordering::Relaxed);
}

/// What was counted, as text: a table of all kernels, and with details the counters of each.
pub(crate) fn text(details: bool) -> String {
    let kernels = kernels();
    if kernels.is_empty() {
        return "no kernel was launched\n".to_owned();
    }
    // Those that keep a GPU longest come first.
    let mut order: Vec<&Kernel> = kernels.iter().collect();
    order.sort_by(|a, b| b.roofline.seconds.total_cmp(&a.roofline.seconds));
    let header = [
        "kernel",
        "launches",
        "emulated",
        "warp-instr.",
        "lanes",
        "moved",
        "used",
        "conflicts",
        "no less than",
        "bound by",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for Kernel { counters, roofline, emulated } in &order {
        let total = counters.total();
        rows.push(vec![
            name_of(&counters.kernel, &order),
            grouped(counters.launches),
            time(emulated.as_secs_f64()),
            grouped(total.warps),
            format!("{:.1}", total.lanes()),
            grouped(total.moved_bytes()),
            if total.sectors > 0 { percent(total.efficiency(), 1.0) } else { "-".to_owned() },
            grouped(total.conflicts),
            time(roofline.seconds),
            roofline.bound_by().to_string(),
        ]);
    }
    let mut text = columns(&rows, 0);
    let mut devices: Vec<&Profile> = Vec::new();
    for kernel in &order {
        if !devices.contains(&&kernel.roofline.profile) {
            devices.push(&kernel.roofline.profile);
        }
    }
    for profile in devices {
        let of_device = order.iter().filter(|kernel| kernel.roofline.profile == *profile);
        let seconds: f64 = of_device.map(|kernel| kernel.roofline.seconds).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\nOn {} (sm_{}), no caches and no latency considered, one launch after the other: no less than {}.",
            profile.name,
            profile.target(),
            time(seconds)
        );
    }
    if details {
        for Kernel { counters, roofline, .. } in order {
            let _ = write!(text, "\n{counters}\n{roofline}");
        }
    }
    text
}

/// What a kernel is called in a table: its name without its parameters, if it is the only one of that name.
fn name_of(kernel: &str, all: &[&Kernel]) -> String {
    let options = DemangleOptions::new().no_params().no_return_type().hide_expression_literal_types();
    let plain = |symbol: &str| Symbol::new(symbol).ok()?.demangle_with_options(&options).ok();
    let is_alone = |name: &String| {
        all.iter().all(|other| other.counters.kernel == kernel || plain(&other.counters.kernel).as_ref() != Some(name))
    };
    plain(kernel).filter(is_alone).unwrap_or_else(|| kernel.to_owned())
}

/// Shows what was counted, where the environment wants it, now that the process ends.
pub(crate) fn show() {
    match target().filter(|_| COUNTING.load(Ordering::Relaxed)) {
        Some(Target::File(path)) => {
            if let Err(error) = std::fs::write(&path, text(true)) {
                report(&format!("{VARIABLE}: {}: {error}", path.display()));
            }
        }
        Some(Target::StandardError) => report(&format!("counters of all kernels\n{}", text(false).trim_end())),
        None => {}
    }
}
