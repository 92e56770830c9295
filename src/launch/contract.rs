//! The checks of a contract.

use super::argument::Region;
use super::error::{LaunchError, Values};
use super::kernels::Kernel;

/// Grid, block and dynamic shared memory of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks of the grid in x, y and z. With a zero among them a launch does nothing.
    pub blocks: [u32; 3],
    /// Threads of a block in x, y and z.
    pub threads: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub dynamic_shared: u32,
    /// Blocks of a cluster in x, y and z. `[1, 1, 1]` leaves it to the kernel.
    pub cluster: [u32; 3],
}

impl Default for Geometry {
    /// One block of one thread, and no dynamic shared memory.
    fn default() -> Self {
        Self { blocks: [1; 3], threads: [1; 3], dynamic_shared: 0, cluster: [1; 3] }
    }
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    /// As it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// Division rounded up, if there is a result.
#[doc(hidden)]
#[must_use]
pub fn div_ceil(left: i64, right: i64) -> Option<i64> {
    let (quotient, rest) = (left.checked_div(right)?, left.checked_rem(right)?);
    quotient.checked_add(i64::from(rest != 0 && (rest > 0) == (right > 0)))
}

/// The largest dimensions of grids and blocks on every device, and the most threads of a block.
const GRID_LIMITS: [i64; 3] = [i32::MAX as i64, 65535, 65535];
const BLOCK_LIMITS: [i64; 3] = [1024, 1024, 64];
const THREADS_LIMIT: i64 = 1024;
/// The most dynamic shared memory of a block on any device, in bytes.
const SHARED_LIMIT: i64 = 227 << 10;

/// Checks rules, and makes errors of those that do not hold. For the code that `kernels!()` makes.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Contract<'a> {
    pub kernel: &'static Kernel,
    /// The integer arguments.
    pub values: &'a [(&'static str, Option<i64>)],
}

impl Contract<'_> {
    #[cold]
    fn values(&self) -> Values {
        Values(self.values.to_vec())
    }

    #[cold]
    fn arithmetic(&self, rule: &'static str) -> LaunchError {
        LaunchError::Arithmetic { kernel: self.kernel.name, rule, values: self.values() }
    }

    /// `@len`
    pub fn length(
        &self,
        region: &Region<'_>,
        relation: Relation,
        elements: Option<i64>,
        rule: &'static str,
    ) -> Result<(), LaunchError> {
        let expected = elements.ok_or_else(|| self.arithmetic(rule))?;
        let found = region.elements();
        // Memory has fewer than 2^63 elements.
        if i64::try_from(found).is_ok_and(|found| relation.holds(found, expected)) {
            return Ok(());
        }
        let (kernel, parameter) = (self.kernel.name, region.name());
        Err(LaunchError::Length { kernel, parameter, rule, expected, found, values: self.values() })
    }

    /// `@require`
    pub fn requirement(
        &self,
        left: Option<i64>,
        relation: Relation,
        right: Option<i64>,
        rule: &'static str,
    ) -> Result<(), LaunchError> {
        let (Some(left), Some(right)) = (left, right) else {
            return Err(self.arithmetic(rule));
        };
        if relation.holds(left, right) {
            return Ok(());
        }
        let values = self.values();
        Err(LaunchError::Requirement { kernel: self.kernel.name, rule, left, relation, right, values })
    }

    /// `@align`
    pub fn alignment(&self, region: &Region<'_>, alignment: u64) -> Result<(), LaunchError> {
        region.check_alignment(self.kernel.name, alignment)
    }

    /// `@grid` and `@block`
    pub fn dimensions(
        &self,
        rule: &'static str,
        expression: &'static str,
        sizes: [Option<i64>; 3],
    ) -> Result<[u32; 3], LaunchError> {
        let limits = if rule == "block" { BLOCK_LIMITS } else { GRID_LIMITS };
        let mut dimensions = [0; 3];
        for ((dimension, size), limit) in dimensions.iter_mut().zip(sizes).zip(limits) {
            *dimension = self.limited(rule, expression, size, limit)?;
        }
        if rule == "block" {
            let threads = dimensions.iter().map(|&size| i64::from(size)).product();
            self.limited(rule, expression, Some(threads), THREADS_LIMIT)?;
        }
        Ok(dimensions)
    }

    /// `@shared`
    pub fn shared(&self, bytes: Option<i64>, expression: &'static str) -> Result<u32, LaunchError> {
        self.limited("shared", expression, bytes, SHARED_LIMIT)
    }

    fn limited(
        &self,
        rule: &'static str,
        expression: &'static str,
        value: Option<i64>,
        limit: i64,
    ) -> Result<u32, LaunchError> {
        let found = value.ok_or_else(|| self.arithmetic(expression))?;
        match u32::try_from(found) {
            Ok(size) if found <= limit => Ok(size),
            _ => {
                let values = self.values();
                Err(LaunchError::Limit { kernel: self.kernel.name, rule, expression, found, limit, values })
            }
        }
    }
}
