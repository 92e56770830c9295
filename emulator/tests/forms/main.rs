//! Every instruction form has kernels of its own here, checked against an independent definition, over edge values and
//! random ones, on every kind of processor. What the project ships may have no form without a check.

#![allow(unreachable_pub, reason = "it is private to the test")]

mod approximations;
mod atomics;
mod collect;
#[path = "../common/mod.rs"]
mod common;
mod comparisons;
mod control;
mod conversions;
mod exact;
mod floats;
mod halves;
mod integers;
mod lanewise;
mod memory;
mod tensor;
mod warp;

use std::collections::BTreeSet;

/// A check of one instruction.
pub struct Check {
    /// The forms that it checks, as [`collect`] names them.
    forms: Vec<String>,
    run: Box<dyn Fn()>,
}

/// Makes the checks of a subject.
type Checks = fn() -> Vec<Check>;

/// The table of checks, by subject.
const TABLE: [(&str, Checks); 11] = [
    ("integers", integers::checks),
    ("comparisons", comparisons::checks),
    ("floats", floats::checks),
    ("approximations", approximations::checks),
    ("halves", halves::checks),
    ("conversions", conversions::checks),
    ("memory", memory::checks),
    ("atomics", atomics::checks),
    ("warp", warp::checks),
    ("control", control::checks),
    ("tensor", tensor::checks),
];

#[test]
fn every_shipped_form_has_a_check() {
    let checked: BTreeSet<String> =
        TABLE.iter().flat_map(|(_, checks)| checks()).flat_map(|check| check.forms).collect();
    let shipped = collect::shipped_forms();
    assert!(shipped.len() > 150, "only {} forms were found", shipped.len());
    let missing: Vec<String> = shipped
        .iter()
        .filter(|(form, _)| !checked.contains(*form))
        .map(|(form, files)| format!("{form}    in {}", files.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect();
    assert!(missing.is_empty(), "{} forms have no check:\n{}", missing.len(), missing.join("\n"));
}

/// Runs the checks of one subject. All that fail are named.
fn run(subject: &str) {
    let (_, checks) = TABLE.iter().find(|(name, _)| *name == subject).expect("a subject of the table");
    let mut failures = Vec::new();
    for check in checks() {
        let form = check.forms[0].clone();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.run)()));
        if result.is_err() {
            failures.push(form);
        }
    }
    assert!(failures.is_empty(), "{} of {subject} failed: {failures:#?}", failures.len());
}

macro_rules! subjects {
    ($($subject:ident: $test:ident),*) => {$(
        #[test]
        fn $test() {
            run(stringify!($subject));
        }
    )*};
}
subjects! {
    integers: integers_compute_what_they_should,
    comparisons: comparisons_decide_what_they_should,
    floats: floats_compute_what_they_should,
    approximations: approximations_are_as_near_as_they_should_be,
    halves: halves_compute_what_they_should,
    conversions: conversions_give_what_they_should,
    memory: memory_holds_what_it_should,
    atomics: atomics_leave_and_return_what_they_should,
    warp: lanes_exchange_what_they_should,
    control: control_goes_where_it_should,
    tensor: matrices_are_where_they_should_be
}

/// All of them on the code that any processor runs.
#[test]
fn the_same_without_vector_extensions() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let status =
        command.args(["--skip", "without_vector_extensions"]).env("WARPWRIGHT_EMULATOR_ISA", "baseline").status();
    assert!(status.unwrap().success());
}
