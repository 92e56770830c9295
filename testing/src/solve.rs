//! Makes integers that were drawn satisfy a contract, and keep to a budget.

use std::collections::BTreeSet;

use warpwright_build::expression::{Comparison, Expression, Operator, Relation};
use warpwright_build::types::{Element, Number, Type};

use crate::rules::{Refusal, Rules, Shape, Values, evaluate, holds};

/// The most that a launch may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Bytes of all buffers together.
    pub(crate) bytes: u64,
    /// Threads of the whole grid.
    pub(crate) threads: u64,
}

/// Rounds of mending before giving up: a requirement may break another one.
const ROUNDS: usize = 8;
/// Halvings before giving up: ten integers from their largest value to 0.
const HALVINGS: usize = 640;

/// The least and the largest number that a rule can see in a parameter of an integer type.
pub(crate) fn range(number: Number) -> (i64, i64) {
    match number {
        Number::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        Number::U8 => (0, i64::from(u8::MAX)),
        Number::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Number::U16 => (0, i64::from(u16::MAX)),
        Number::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Number::U32 => (0, i64::from(u32::MAX)),
        Number::I64 => (i64::MIN, i64::MAX),
        _ => (0, i64::MAX),
    }
}

/// Which way a number is moved to a multiple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    /// A number below the divisor counts multiples: 3 becomes the third.
    Count,
    Down,
}

/// Changes `values` until every requirement holds and the launch keeps to the budget.
pub(crate) fn solve(rules: &Rules<'_>, values: &mut Values, budget: Budget) -> Result<Shape, Refusal> {
    mend(rules, values, Rounding::Count);
    // Integers that a requirement holds where they are.
    let mut held: BTreeSet<String> = BTreeSet::new();
    let mut halvings = 0;
    loop {
        let refusal = match rules.shape(values) {
            Ok(shape) => match over(rules, &shape, budget) {
                None => return Ok(shape),
                Some(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        let known = refusal.too_large.iter().filter_map(|name| Some((name, *values.get(name)?)));
        let free = known.filter(|(name, value)| *value > 0 && !held.contains(*name));
        let Some((name, value)) = free.max_by_key(|(_, value)| *value) else { return Err(refusal) };
        values.insert(name.clone(), value / 2);
        mend(rules, values, Rounding::Down);
        if values.get(name).is_some_and(|now| *now >= value) {
            held.insert(name.clone());
        }
        halvings += 1;
        if halvings == HALVINGS {
            return Err(refusal);
        }
    }
}

/// What of a launch is over the budget.
fn over(rules: &Rules<'_>, shape: &Shape, budget: Budget) -> Option<Refusal> {
    if shape.count().saturating_mul(shape.block()) > budget.threads {
        let too_large = rules.names_of_geometry().into_iter().collect();
        return Some(Refusal { rule: format!("@grid, for at most {} threads", budget.threads), too_large });
    }
    let sizes = rules.kernel.parameters.iter().zip(&shape.elements).map(|(parameter, elements)| {
        (parameter, elements.saturating_mul(parameter.ty.pointee().map_or(0, Element::size)))
    });
    if sizes.clone().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(bytes)) <= budget.bytes {
        return None;
    }
    let (largest, _) = sizes.max_by_key(|(_, bytes)| *bytes)?;
    let too_large = rules.names_of_length(&largest.name).into_iter().collect();
    Some(Refusal { rule: format!("@len {}, for at most {} bytes", largest.name, budget.bytes), too_large })
}

/// Changes `values` so that the requirements hold, where their form says how.
fn mend(rules: &Rules<'_>, values: &mut Values, rounding: Rounding) {
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (requirement, _) in &rules.contract.requirements {
            let sides = (evaluate(&requirement.left, values), evaluate(&requirement.right, values));
            if !matches!(sides, (Some(left), Some(right)) if holds(requirement.relation, left, right)) {
                changed |= mend_one(rules, requirement, values, rounding);
            }
        }
        if !changed {
            return;
        }
    }
}

fn mend_one(rules: &Rules<'_>, requirement: &Comparison, values: &mut Values, rounding: Rounding) -> bool {
    let Comparison { left, relation, right } = requirement;
    if let Expression::Binary(Operator::Remainder, dividend, divisor) = left {
        return mend_remainder(rules, dividend, divisor, (*relation, right), values, rounding);
    }
    let sides = [(left, *relation, right), (right, mirrored(*relation), left)];
    sides.into_iter().any(|(side, relation, other)| {
        let Expression::Name(name) = side else { return false };
        let (Some(bound), Some(&value)) = (evaluate(other, values), values.get(name)) else { return false };
        // A number is brought into range by its remainder, so that what was drawn still varies.
        let within = |most: i64| if most >= 0 { value.rem_euclid(most.saturating_add(1).max(1)) } else { most };
        let wanted = match relation {
            Relation::Equal => bound,
            Relation::NotEqual => bound.saturating_add(1),
            Relation::LessOrEqual => within(bound),
            Relation::Less => within(bound.saturating_sub(1)),
            Relation::GreaterOrEqual => bound,
            Relation::Greater => bound.saturating_add(1),
        };
        set(rules, name, wanted, values)
    })
}

/// `dividend % divisor == right`: moves a factor of the dividend to a multiple.
fn mend_remainder(
    rules: &Rules<'_>,
    dividend: &Expression,
    divisor: &Expression,
    (relation, right): (Relation, &Expression),
    values: &mut Values,
    rounding: Rounding,
) -> bool {
    if evaluate(divisor, values) == Some(0) {
        let Expression::Name(name) = divisor else { return false };
        return set(rules, name, 1, values);
    }
    let (Some(divisor), Some(remainder)) = (evaluate(divisor, values), evaluate(right, values)) else { return false };
    let Some(name) = factor(dividend) else { return false };
    let Some(&value) = values.get(name) else { return false };
    let remainder = if relation == Relation::Equal { remainder } else { remainder.saturating_add(1) };
    let (_, most) = type_of(rules, name);
    let counted = value.saturating_mul(divisor).saturating_add(remainder);
    let wanted = if rounding == Rounding::Count && (0..divisor).contains(&value) && counted <= most {
        counted
    } else {
        let below = value - value.checked_rem_euclid(divisor).unwrap_or(0);
        let wanted = below.saturating_add(remainder);
        if wanted > most { wanted.saturating_sub(divisor) } else { wanted }
    };
    set(rules, name, wanted, values)
}

/// A parameter that is a factor of an expression.
fn factor(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::Name(name) => Some(name),
        Expression::Binary(Operator::Multiply, left, right) => factor(left).or_else(|| factor(right)),
        _ => None,
    }
}

fn mirrored(relation: Relation) -> Relation {
    match relation {
        Relation::Less => Relation::Greater,
        Relation::LessOrEqual => Relation::GreaterOrEqual,
        Relation::Greater => Relation::Less,
        Relation::GreaterOrEqual => Relation::LessOrEqual,
        same => same,
    }
}

fn type_of(rules: &Rules<'_>, name: &str) -> (i64, i64) {
    let parameter = rules.kernel.parameters.iter().find(|parameter| parameter.name == name);
    match parameter.map(|parameter| &parameter.ty) {
        Some(Type::Scalar(Element::Number(number))) => range(*number),
        _ => (0, i64::MAX),
    }
}

/// Gives a parameter a value if its type has that and it is another one.
fn set(rules: &Rules<'_>, name: &str, wanted: i64, values: &mut Values) -> bool {
    let (least, most) = type_of(rules, name);
    match values.get_mut(name) {
        Some(value) if *value != wanted && (least..=most).contains(&wanted) => {
            *value = wanted;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::draw::random;
    use warpwright_build::manifest::{Headers, Kernel, Parameter};

    fn kernel(rules: &[(&str, &str)]) -> Kernel {
        let integer = |name: &str| Parameter { name: name.to_owned(), ty: Type::Scalar(Number::U32.into()) };
        let mut parameters: Vec<Parameter> = ["a", "b", "c"].map(integer).into();
        parameters.push(Parameter { name: "x".to_owned(), ty: Type::Read(Number::F32.into()) });
        let rules = rules.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let (name, symbol) = ("k".to_owned(), "k".to_owned());
        let (arguments, documentation) = (Vec::new(), String::new());
        let constants = BTreeMap::new();
        Kernel {
            name,
            arguments,
            symbol,
            file: None,
            line: 1,
            documentation,
            parameters,
            rules,
            constants,
            cluster: None,
        }
    }

    /// Draws many integers, solves, and says how many failed and which values `a` took.
    fn draws(requirements: &[&str]) -> (usize, BTreeSet<i64>) {
        let mut rules = vec![("grid", "a"), ("block", "32"), ("len", "x == a * b + c")];
        rules.extend(requirements.iter().map(|text| ("require", *text)));
        let kernel = kernel(&rules);
        let rules = Rules::new(&kernel, &Headers::default()).unwrap();
        let budget = Budget { bytes: 1 << 16, threads: 1 << 14 };
        let (mut failed, mut seen) = (0, BTreeSet::new());
        let mut state = 1;
        for round in 0..1000u32 {
            let mut number = || (random(&mut state) >> (32 + round % 32)) as i64;
            let mut values: Values = ["a", "b", "c"].map(|name| (name.to_owned(), number())).into();
            match solve(&rules, &mut values, budget) {
                Ok(shape) => {
                    assert!(shape.elements[3] <= 1 << 14 && shape.count() * 32 <= 1 << 14);
                    assert_eq!(rules.shape(&values), Ok(shape));
                    seen.insert(values["a"]);
                }
                Err(_) => failed += 1,
            }
        }
        (failed, seen)
    }

    #[test]
    fn requirements_are_satisfied_by_construction() {
        for requirements in [
            &[][..],
            &["a % 4 == 0"],
            &["a % b == 0"],
            &["a * c % 32 == 0"],
            &["a <= 256"],
            &["256 >= a", "a >= 3"],
            &["a < b"],
            &["a != 7", "b == 2 * a"],
            &["a % 16 == 8", "a <= 128"],
        ] {
            let (failed, seen) = draws(requirements);
            assert!(failed <= 200, "{requirements:?}: {failed} of 1000 failed");
            assert!(seen.len() >= 5, "{requirements:?}: only {seen:?}");
        }
        assert_eq!(draws(&["a > 3", "a < 3"]).0, 1000);
    }
}
