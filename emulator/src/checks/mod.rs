//! The checks that can be switched on: which there are, and how they are named in the environment.

mod report;

use std::str::FromStr;

pub use report::{Finding, FindingKind, Report};
pub(crate) use report::{clear, find, report};

/// What is checked besides what always is: bounds, alignment, freed memory, barriers, shuffles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// Reads of memory and registers that nothing has written (`initialised`).
    pub initialised: bool,
    /// Accesses to shared and global memory that nothing puts in an order (`races`).
    pub races: bool,
    /// Memory, streams, events, modules and graphs that are alive when their context or the process ends (`leaks`).
    pub leaks: bool,
    /// Host access to memory that an unfinished stream still uses (`host-access`).
    pub host_access: bool,
    /// Graphs that are launched with memory that was freed (`freed-in-graph`).
    pub freed_in_graph: bool,
}

/// A name that no check has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no check `{name}`; the checks are `all`, `none`, {}", NAMES.map(|(name, _)| format!("`{name}`")).join(", "))]
pub struct UnknownCheck {
    /// The name.
    pub name: String,
}

/// The environment variable that switches checks on.
const VARIABLE: &str = "WARPWRIGHT_EMULATOR_CHECKS";

/// Where a check is switched.
type Switch = fn(&mut Checks) -> &mut bool;

/// The name of each check, and where it is switched.
const NAMES: [(&str, Switch); 5] = [
    ("initialised", |checks| &mut checks.initialised),
    ("races", |checks| &mut checks.races),
    ("leaks", |checks| &mut checks.leaks),
    ("host-access", |checks| &mut checks.host_access),
    ("freed-in-graph", |checks| &mut checks.freed_in_graph),
];

impl Checks {
    /// Every check.
    pub const ALL: Self = Self { initialised: true, races: true, leaks: true, host_access: true, freed_in_graph: true };

    /// None.
    pub const NONE: Self =
        Self { initialised: false, races: false, leaks: false, host_access: false, freed_in_graph: false };

    /// The checks that `WARPWRIGHT_EMULATOR_CHECKS` names; none without it.
    ///
    /// # Errors
    /// [`UnknownCheck`] for a name that is none of a check.
    pub fn from_environment() -> Result<Self, UnknownCheck> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Self::NONE),
            Some(names) => names.to_string_lossy().parse(),
        }
    }

    /// One bit for each check, for the boundary of the shared library.
    pub(crate) fn bits(mut self) -> u32 {
        NAMES.iter().enumerate().map(|(n, (_, switch))| u32::from(*switch(&mut self)) << n).sum()
    }

    /// The checks of these bits.
    pub(crate) fn from_bits(bits: u32) -> Self {
        let mut checks = Self::NONE;
        NAMES.iter().enumerate().for_each(|(n, (_, switch))| *switch(&mut checks) = bits >> n & 1 != 0);
        checks
    }
}

impl FromStr for Checks {
    type Err = UnknownCheck;

    /// Names with commas between them. `all` and `none` stand for every check and for no check; a name with `-` before
    /// it switches a check off again, so `all,-races` is all but one.
    fn from_str(names: &str) -> Result<Self, UnknownCheck> {
        let mut checks = Self::NONE;
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let (plain, on) = name.strip_prefix('-').map_or((name, true), |plain| (plain, false));
            match (plain, NAMES.iter().find(|(known, _)| *known == plain)) {
                ("all", _) if on => checks = Self::ALL,
                ("none", _) if on => checks = Self::NONE,
                (_, Some((_, switch))) => *switch(&mut checks) = on,
                _ => return Err(UnknownCheck { name: name.to_owned() }),
            }
        }
        Ok(checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_have_names() {
        assert_eq!("all".parse(), Ok(Checks::ALL));
        assert_eq!("none".parse(), Ok(Checks::NONE));
        assert_eq!("".parse(), Ok(Checks::NONE));
        assert_eq!("leaks, races".parse(), Ok(Checks { leaks: true, races: true, ..Checks::NONE }));
        assert_eq!("all,-initialised".parse(), Ok(Checks { initialised: false, ..Checks::ALL }));
        assert_eq!("host-access".parse(), Ok(Checks { host_access: true, ..Checks::NONE }));
        assert_eq!("freed-in-graph".parse(), Ok(Checks { freed_in_graph: true, ..Checks::NONE }));
        for name in ["leak", "-all", "ALL", "all leaks"] {
            assert_eq!(name.parse::<Checks>(), Err(UnknownCheck { name: name.to_owned() }));
        }
        let error = "leak".parse::<Checks>().unwrap_err().to_string();
        assert!(error.contains("`leak`") && error.contains("`freed-in-graph`"), "{error}");
    }

    #[test]
    fn checks_are_bits_and_back() {
        for bits in 0..1 << NAMES.len() {
            assert_eq!(Checks::from_bits(bits).bits(), bits);
        }
        assert_eq!(Checks::from_bits(u32::MAX), Checks::ALL);
        assert_eq!(Checks::from_bits(0), Checks::NONE);
    }
}
