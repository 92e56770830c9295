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
    #[inline(never)]
    fn arithmetic(&self, rule: &'static str) -> LaunchError {
        LaunchError::Arithmetic { kernel: self.kernel.name, rule, values: self.values() }
    }

    /// `@len`
    #[inline]
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
            _ => Err(self.wrong_length(region, elements, rule)),
        }
    }

    #[cold]
    #[inline(never)]
    fn wrong_length(&self, region: &Region<'_>, elements: Option<i64>, rule: &'static str) -> LaunchError {
        let Some(expected) = elements else { return self.arithmetic(rule) };
        let (kernel, parameter, found) = (self.kernel.name, region.name(), region.elements());
        LaunchError::Length { kernel, parameter, rule, expected, found, values: self.values() }
    }

    /// `@require`
    #[inline]
    pub fn requirement(
        &self,
        left: Option<i64>,
        relation: Relation,
        right: Option<i64>,
        rule: &'static str,
    ) -> Result<(), LaunchError> {
        match (left, right) {
            (Some(left), Some(right)) if relation.holds(left, right) => Ok(()),
            _ => Err(self.not_met(left, relation, right, rule)),
        }
    }

    #[cold]
    #[inline(never)]
    fn not_met(&self, left: Option<i64>, relation: Relation, right: Option<i64>, rule: &'static str) -> LaunchError {
        let (Some(left), Some(right)) = (left, right) else { return self.arithmetic(rule) };
        LaunchError::Requirement { kernel: self.kernel.name, rule, left, relation, right, values: self.values() }
    }

    /// `@align`
    pub fn alignment(&self, region: &Region<'_>, alignment: u64) -> Result<(), LaunchError> {
        region.check_alignment(self.kernel.name, alignment)
    }

    /// `@cluster`
    pub fn whole_clusters(&self, blocks: [u32; 3], cluster: [u32; 3]) -> Result<(), LaunchError> {
        if blocks.iter().zip(cluster).all(|(blocks, cluster)| blocks.is_multiple_of(cluster)) {
            return Ok(());
        }
        Err(LaunchError::Cluster { kernel: self.kernel.name, blocks, cluster, values: self.values() })
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
            _ => Err(self.beyond(rule, expression, value, limit)),
        }
    }

    #[cold]
    #[inline(never)]
    fn beyond(&self, rule: &'static str, expression: &'static str, value: Option<i64>, limit: i64) -> LaunchError {
        let Some(found) = value else { return self.arithmetic(expression) };
        LaunchError::Limit { kernel: self.kernel.name, rule, expression, found, limit, values: self.values() }
    }
}
