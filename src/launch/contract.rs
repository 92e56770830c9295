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

    #[inline]
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
#[inline]
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
///
/// What is done for every launch is compiled into it; errors are made elsewhere.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Contract<V> {
    pub kernel: &'static Kernel,
    /// Gives the integer arguments.
    pub values: V,
}

impl<V: Fn() -> Values> Contract<V> {
    /// `@len`
    #[inline(always)]
    pub fn length(
        &self,
        region: &Region<'_>,
        relation: Relation,
        elements: Option<i64>,
        rule: &'static str,
    ) -> Result<(), LaunchError> {
        if region.is_absent() {
            return Ok(());
        }
        // Memory has fewer than 2^63 elements.
        let found = i64::try_from(region.elements()).ok();
        match (found, elements) {
            (Some(found), Some(expected)) if relation.holds(found, expected) => Ok(()),
            _ => Err(wrong_length(self.kernel, region, elements, rule, (self.values)())),
        }
    }

    /// `@require`
    #[inline(always)]
    pub fn requirement(
        &self,
        left: Option<i64>,
        relation: Relation,
        right: Option<i64>,
        rule: &'static str,
    ) -> Result<(), LaunchError> {
        match (left, right) {
            (Some(left), Some(right)) if relation.holds(left, right) => Ok(()),
            _ => Err(not_met(self.kernel, (left, relation, right), rule, (self.values)())),
        }
    }

    /// `@align`
    #[inline(always)]
    pub fn alignment(&self, region: &Region<'_>, alignment: u64) -> Result<(), LaunchError> {
        region.check_alignment(self.kernel.name, alignment)
    }

    /// `@cluster`
    #[inline(always)]
    pub fn whole_clusters(&self, blocks: [u32; 3], cluster: [u32; 3]) -> Result<(), LaunchError> {
        if blocks.iter().zip(cluster).all(|(blocks, cluster)| blocks.is_multiple_of(cluster)) {
            return Ok(());
        }
        Err(LaunchError::Cluster { kernel: self.kernel.name, blocks, cluster, values: (self.values)() })
    }

    /// `@grid` and `@block`
    #[inline(always)]
    pub fn dimensions(
        &self,
        rule: &'static str,
        expression: &'static str,
        sizes: [Option<i64>; 3],
    ) -> Result<[u32; 3], LaunchError> {
        let limits = if rule == "block" { BLOCK_LIMITS } else { GRID_LIMITS };
        let limited = |n: usize| self.limited(rule, expression, sizes[n], limits[n]);
        let dimensions = [limited(0)?, limited(1)?, limited(2)?];
        if rule == "block" {
            let [x, y, z] = dimensions.map(i64::from);
            self.limited(rule, expression, Some(x * y * z), THREADS_LIMIT)?;
        }
        Ok(dimensions)
    }

    /// `@shared`
    #[inline(always)]
    pub fn shared(&self, bytes: Option<i64>, expression: &'static str) -> Result<u32, LaunchError> {
        self.limited("shared", expression, bytes, SHARED_LIMIT)
    }

    #[inline(always)]
    fn limited(
        &self,
        rule: &'static str,
        expression: &'static str,
        value: Option<i64>,
        limit: i64,
    ) -> Result<u32, LaunchError> {
        match value.map(u32::try_from) {
            Some(Ok(size)) if i64::from(size) <= limit => Ok(size),
            _ => Err(beyond(self.kernel, (rule, expression), value, limit, (self.values)())),
        }
    }
}

#[cold]
#[inline(never)]
fn wrong_length(
    kernel: &Kernel,
    region: &Region<'_>,
    elements: Option<i64>,
    rule: &'static str,
    values: Values,
) -> LaunchError {
    let (kernel, parameter, found) = (kernel.name, region.name(), region.elements());
    match elements {
        Some(expected) => LaunchError::Length { kernel, parameter, rule, expected, found, values },
        None => LaunchError::Arithmetic { kernel, rule, values },
    }
}

#[cold]
#[inline(never)]
fn not_met(
    kernel: &Kernel,
    (left, relation, right): (Option<i64>, Relation, Option<i64>),
    rule: &'static str,
    values: Values,
) -> LaunchError {
    let kernel = kernel.name;
    match (left, right) {
        (Some(left), Some(right)) => LaunchError::Requirement { kernel, rule, left, relation, right, values },
        _ => LaunchError::Arithmetic { kernel, rule, values },
    }
}

#[cold]
#[inline(never)]
fn beyond(
    kernel: &Kernel,
    (rule, expression): (&'static str, &'static str),
    value: Option<i64>,
    limit: i64,
    values: Values,
) -> LaunchError {
    let kernel = kernel.name;
    match value {
        Some(found) => LaunchError::Limit { kernel, rule, expression, found, limit, values },
        None => LaunchError::Arithmetic { kernel, rule: expression, values },
    }
}
