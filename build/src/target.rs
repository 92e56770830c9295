//! What PTX is compiled for: a compute capability, and who else runs it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A target of nvcc: `75` runs on compute capability 7.5 and later, `90a` on 9.0 alone, `100f` on 10.0 and later 10.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Target {
    /// Ten times the major compute capability, plus the minor one.
    pub capability: u32,
    /// Who runs it.
    pub reach: Reach,
}

/// Which devices run PTX of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Those of that compute capability or a later one.
    Later,
    /// Those of that compute capability or a later minor one (suffix `f`).
    Family,
    /// Those of exactly that compute capability (suffix `a`).
    Exact,
}

impl Target {
    /// What kernels are compiled for that state no `@targets`: the oldest that nvcc 13 knows, which every later GPU runs.
    pub const DEFAULT: Self = Self { capability: 75, reach: Reach::Later };

    /// Reads `75`, `90a`, `100f`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, reach) = match text.as_bytes().last()? {
            b'a' => (&text[..text.len() - 1], Reach::Exact),
            b'f' => (&text[..text.len() - 1], Reach::Family),
            _ => (text, Reach::Later),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (2..=3).contains(&digits.len());
        let capability = digits.parse().ok().filter(|_| plain)?;
        Some(Self { capability, reach })
    }

    /// The first version of PTX that can name the target, as ten times the major version plus the minor one.
    #[must_use]
    pub fn first_ptx(self) -> u32 {
        let plain = match self.capability {
            ..=75 => 63,
            76..=80 => 70,
            81..=86 => 71,
            87 => 74,
            88..=90 => 78,
            91..=101 => 86,
            102..=103 => 88,
            _ => 87,
        };
        match self.reach {
            Reach::Later => plain,
            Reach::Exact => plain.max(80),
            Reach::Family => plain.max(88),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.reach {
            Reach::Later => "",
            Reach::Family => "f",
            Reach::Exact => "a",
        };
        write!(f, "{}{suffix}", self.capability)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a target such as 75 or 90a"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_shown() {
        for text in ["75", "80", "90a", "100f", "120"] {
            assert_eq!(Target::parse(text).map(|target| target.to_string()).as_deref(), Some(text));
        }
        for text in ["", "a", "7", "sm_75", "+75", "75b", "1000"] {
            assert_eq!(Target::parse(text), None, "{text}");
        }
        assert_eq!(Target::parse("75"), Some(Target::DEFAULT));
    }
}
