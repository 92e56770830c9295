//! A kernel's contract, evaluated for given integers: what a launch with them looks like, or which rule refuses it.

use std::collections::{BTreeMap, BTreeSet};

use warpwright_build::contract::{Contract, Dimensions, Length};
use warpwright_build::expression::{Comparison, Expression, Relation};
use warpwright_build::manifest::{Headers, Kernel};
use warpwright_build::types::{Element, Number, Type};

use crate::violation::Violation;

/// The largest dimensions of grids and blocks, the most threads of a block, and its most dynamic shared memory.
const GRID_LIMITS: [i64; 3] = [i32::MAX as i64, 65535, 65535];
const BLOCK_LIMITS: [i64; 3] = [1024, 1024, 64];
const THREADS_LIMIT: i64 = 1024;
const SHARED_LIMIT: i64 = 227 << 10;

/// The integer arguments by name.
pub(crate) type Values = BTreeMap<String, i64>;

/// A kernel with its contract.
#[derive(Debug)]
pub(crate) struct Rules<'m> {
    pub(crate) kernel: &'m Kernel,
    pub(crate) contract: Contract,
}

/// What a launch looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `gridDim` and `blockDim`; with a zero among them a launch does nothing.
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: [u32; 3],
    pub(crate) dynamic_shared: u32,
    /// For each parameter, the least number of elements that it may have; 0 for those that are not pointers.
    pub(crate) elements: Vec<u64>,
}

impl Shape {
    /// The blocks of the grid.
    pub(crate) fn count(&self) -> u64 {
        self.blocks.iter().map(|&size| u64::from(size)).fold(1, u64::saturating_mul)
    }

    /// The threads of a block.
    pub(crate) fn block(&self) -> u64 {
        self.threads.iter().map(|&size| u64::from(size)).product()
    }
}

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The rule as it was written.
    pub(crate) rule: String,
    /// If that is because something is too large: the integers that make it so.
    pub(crate) too_large: Vec<String>,
}

/// Whether two numbers compare as a rule demands.
pub(crate) fn holds(relation: Relation, left: i64, right: i64) -> bool {
    match relation {
        Relation::Equal => left == right,
        Relation::NotEqual => left != right,
        Relation::Less => left < right,
        Relation::LessOrEqual => left <= right,
        Relation::Greater => left > right,
        Relation::GreaterOrEqual => left >= right,
    }
}

/// The value of an expression, if 64 bits hold it and all on the way there.
pub(crate) fn evaluate(expression: &Expression, values: &Values) -> Option<i64> {
    match expression {
        Expression::Number(number) => Some(*number),
        Expression::Name(name) => values.get(name).copied(),
        Expression::Binary(operator, left, right) => operator.apply(evaluate(left, values)?, evaluate(right, values)?),
    }
}

fn names(expression: &Expression) -> Vec<String> {
    expression.names().into_iter().map(str::to_owned).collect()
}

impl<'m> Rules<'m> {
    /// Reads the contract of a kernel, which has to be complete.
    pub(crate) fn new(kernel: &'m Kernel, headers: &Headers) -> Result<Self, Violation> {
        let contract = kernel.contract(headers).map_err(|errors| Violation::Rules {
            kernel: kernel.full_name(),
            errors: errors.into_iter().map(|(_, error)| error).collect(),
        })?;
        let missing = contract.missing(&kernel.scope());
        if !missing.is_empty() {
            return Err(Violation::Incomplete { kernel: kernel.full_name(), missing });
        }
        Ok(Self { kernel, contract })
    }

    /// The rules on the length of a pointer.
    pub(crate) fn lengths(&self, parameter: &str) -> impl Iterator<Item = &Length> {
        self.contract.lengths.iter().filter(move |length| length.parameter == parameter)
    }

    /// Whether a pointer may have more elements than its shape says.
    pub(crate) fn may_be_longer(&self, parameter: &str) -> bool {
        self.lengths(parameter).all(|length| length.relation == Relation::GreaterOrEqual)
    }

    /// Bytes that the address of a pointer is a multiple of.
    pub(crate) fn alignment(&self, parameter: &str, element: &Element) -> u64 {
        let stated = self.contract.alignments.get(parameter).copied().unwrap_or(1);
        stated.max(element.align())
    }

    /// The integer parameters, and whether a rule computes with each.
    pub(crate) fn integers(&self) -> Vec<(&'m str, Number, bool)> {
        let used: BTreeSet<&str> = self.expressions().into_iter().flat_map(Expression::names).collect();
        let integer = |ty: &Type| match ty {
            Type::Scalar(Element::Number(number)) if number.is_integer() => Some(*number),
            _ => None,
        };
        let parameters = self.kernel.parameters.iter();
        parameters.filter_map(|p| Some((p.name.as_str(), integer(&p.ty)?, used.contains(p.name.as_str())))).collect()
    }

    /// All expressions of the contract.
    fn expressions(&self) -> Vec<&Expression> {
        let Contract { grid, block, shared, lengths, requirements, .. } = &self.contract;
        let sides = requirements.iter().flat_map(|(comparison, _)| [&comparison.left, &comparison.right]);
        let elements = lengths.iter().map(|length| &length.elements);
        let geometry = grid.iter().chain(block).flat_map(|dimensions| &dimensions.sizes);
        geometry.chain(shared.iter().map(|(bytes, _)| bytes)).chain(elements).chain(sides).collect()
    }

    /// The numbers that stand in the contract.
    pub(crate) fn constants(&self) -> BTreeSet<i64> {
        fn collect(expression: &Expression, constants: &mut BTreeSet<i64>) {
            match expression {
                Expression::Number(number) => {
                    constants.insert(*number);
                }
                Expression::Name(_) => {}
                Expression::Binary(_, left, right) => {
                    collect(left, constants);
                    collect(right, constants);
                }
            }
        }
        let mut constants = BTreeSet::new();
        self.expressions().into_iter().for_each(|expression| collect(expression, &mut constants));
        constants
    }

    /// What a launch with these integers looks like.
    pub(crate) fn shape(&self, values: &Values) -> Result<Shape, Refusal> {
        let refused = |rule: String| Refusal { rule, too_large: Vec::new() };
        for (requirement, text) in &self.contract.requirements {
            if !self.required(requirement, values) {
                return Err(refused(format!("@require {text}")));
            }
        }
        let blocks = dimensions("grid", self.contract.grid.as_ref(), GRID_LIMITS, values)?;
        let threads = dimensions("block", self.contract.block.as_ref(), BLOCK_LIMITS, values)?;
        if let Some(block) = &self.contract.block
            && threads.iter().map(|&size| i64::from(size)).product::<i64>() > THREADS_LIMIT
        {
            let too_large = block.sizes.iter().flat_map(names).collect();
            return Err(Refusal { rule: format!("@block {}", block.text), too_large });
        }
        if let Some(cluster) = self.kernel.cluster.or(self.contract.cluster)
            && blocks.iter().zip(cluster).any(|(blocks, cluster)| !blocks.is_multiple_of(cluster))
        {
            return Err(refused("@cluster".to_owned()));
        }
        let mut dynamic_shared = 0;
        if let Some((bytes, text)) = &self.contract.shared {
            let rule = format!("@shared {text}");
            dynamic_shared = limited(&rule, bytes, SHARED_LIMIT, values)?;
        }
        let mut elements = vec![0; self.kernel.parameters.len()];
        for (elements, parameter) in elements.iter_mut().zip(&self.kernel.parameters) {
            let mut exact = None;
            for length in self.lengths(&parameter.name) {
                let rule = || format!("@len {}", length.text);
                // What 64 bits do not hold is too large.
                let value = evaluate(&length.elements, values)
                    .ok_or_else(|| Refusal { rule: rule(), too_large: names(&length.elements) })?;
                let value = if length.relation == Relation::Equal { value } else { value.max(0) };
                let value = u64::try_from(value).map_err(|_| refused(rule()))?;
                let equal = length.relation == Relation::Equal;
                if exact.is_some_and(|exact| value > exact || equal && value != exact) || equal && value < *elements {
                    return Err(refused(rule()));
                }
                *elements = value.max(*elements);
                if equal {
                    exact = Some(value);
                }
            }
        }
        Ok(Shape { blocks, threads, dynamic_shared, elements })
    }

    fn required(&self, requirement: &Comparison, values: &Values) -> bool {
        match (evaluate(&requirement.left, values), evaluate(&requirement.right, values)) {
            (Some(left), Some(right)) => holds(requirement.relation, left, right),
            _ => false,
        }
    }

    /// The integers that the length of a pointer depends on.
    pub(crate) fn names_of_length(&self, parameter: &str) -> BTreeSet<String> {
        self.lengths(parameter).flat_map(|length| names(&length.elements)).collect()
    }

    /// The integers that grid and block depend on.
    pub(crate) fn names_of_geometry(&self) -> BTreeSet<String> {
        let dimensions = self.contract.grid.iter().chain(&self.contract.block);
        dimensions.flat_map(|dimensions| &dimensions.sizes).flat_map(names).collect()
    }
}

fn dimensions(rule: &str, stated: Option<&Dimensions>, limits: [i64; 3], values: &Values) -> Result<[u32; 3], Refusal> {
    let mut dimensions = [1; 3];
    let Some(stated) = stated else { return Ok(dimensions) };
    for ((dimension, expression), limit) in dimensions.iter_mut().zip(&stated.sizes).zip(limits) {
        *dimension = limited(&format!("@{rule} {}", stated.text), expression, limit, values)?;
    }
    Ok(dimensions)
}

fn limited(rule: &str, expression: &Expression, limit: i64, values: &Values) -> Result<u32, Refusal> {
    let value = evaluate(expression, values);
    match value.and_then(|value| u32::try_from(value).ok()) {
        Some(size) if i64::from(size) <= limit => Ok(size),
        _ => {
            let too_large = if value.is_none_or(|value| value > limit) { names(expression) } else { Vec::new() };
            Err(Refusal { rule: rule.to_owned(), too_large })
        }
    }
}
