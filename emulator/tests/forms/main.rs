//! Every instruction form has kernels here, checked against an independent definition, over edge values and random ones, on
//! every kind of processor. Neither what the decoder accepts nor what the project ships may have a form without a check.

#![allow(unreachable_pub, reason = "it is private to the test")]

mod accepted;
mod accesses;
mod approximations;
mod async_copies;
mod atomics;
mod batch;
mod bulk_copies;
mod calls;
mod clusters;
mod collect;
#[path = "../common/mod.rs"]
mod common;
mod comparisons;
mod contention;
mod control;
mod conversions;
mod exact;
mod floats;
mod fragments;
mod halves;
mod integers;
mod lanewise;
mod matrix_moves;
mod mbarriers;
mod memory;
mod narrow_floats;
mod ordering;
mod products;
mod spaces;
mod tensor;
mod tensor_copies;
mod video;
mod warp;
mod wgmma;

use std::collections::BTreeSet;

/// A check of one or more instructions.
pub struct Check {
    /// The forms that it checks, as [`collect`] names them. What it launches has to have their opcodes.
    forms: Vec<String>,
    run: Box<dyn Fn()>,
}

/// Makes the checks of a subject.
type Checks = fn() -> Vec<Check>;

/// The table of checks, by subject.
const TABLE: &[(&str, Checks)] = &[
    ("integers", integers::checks),
    ("comparisons", comparisons::checks),
    ("floats", floats::checks),
    ("approximations", approximations::checks),
    ("halves", halves::checks),
    ("conversions", conversions::checks),
    ("memory", memory::checks),
    ("accesses", accesses::checks),
    ("atomics", atomics::checks),
    ("contention", contention::checks),
    ("warp", warp::checks),
    ("control", control::checks),
    ("calls", calls::checks),
    ("ordering", ordering::checks),
    ("spaces", spaces::checks),
    ("async_copies", async_copies::checks),
    ("tensor", tensor::checks),
    ("products", products::checks),
    ("matrix_moves", matrix_moves::checks),
    ("fragments", fragments::checks),
    ("clusters", clusters::checks),
    ("mbarriers", mbarriers::checks),
    ("bulk_copies", bulk_copies::checks),
    ("tensor_copies", tensor_copies::checks),
    ("wgmma", wgmma::checks),
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

/// Both ways: what the decoder accepts is checked, and what is checked is accepted. That a check launches what it names is
/// seen when it is [run].
#[test]
fn every_form_has_a_check() {
    let subjects: BTreeSet<&str> = TABLE.iter().map(|(subject, _)| *subject).collect();
    assert_eq!(subjects, BTreeSet::from_iter(TESTED.iter().copied()), "a subject has no test");
    let checks: Vec<Check> = TABLE.iter().flat_map(|(_, checks)| checks()).collect();
    let (missing, unknown) = accepted::Accepted::read().compare(&checks);
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(missing.is_empty(), "{} forms have no check:\n{}", missing.len(), missing.join("\n"));
    let unknown: Vec<String> = unknown.into_iter().collect();
    assert!(unknown.is_empty(), "{} forms are checked but not accepted:\n{}", unknown.len(), unknown.join("\n"));
}

/// Runs the checks of one subject. All that fail are named.
fn run(subject: &str) {
    let (_, checks) = TABLE.iter().find(|(name, _)| *name == subject).expect("a subject of the table");
    let mut failures = Vec::new();
    for check in checks() {
        let form = check.forms[0].clone();
        common::launched();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.run)()));
        match (result, accepted::not_in(&common::launched(), &check.forms)) {
            (Ok(()), None) => {}
            (Ok(()), Some(opcode)) => failures.push(format!("{form}: no kernel with {opcode} was launched")),
            (Err(_), _) => failures.push(form),
        }
    }
    assert!(failures.is_empty(), "{} of {subject} failed: {failures:#?}", failures.len());
}

macro_rules! subjects {
    ($($subject:ident: $test:ident),*) => {
        /// The subjects that have a test of their own.
        const TESTED: &[&str] = &[$(stringify!($subject)),*];
        $(
        #[test]
        fn $test() {
            run(stringify!($subject));
        }
        )*
    };
}
subjects! {
    integers: integers_compute_what_they_should,
    comparisons: comparisons_decide_what_they_should,
    floats: floats_compute_what_they_should,
    approximations: approximations_are_as_near_as_they_should_be,
    halves: halves_compute_what_they_should,
    conversions: conversions_give_what_they_should,
    memory: memory_holds_what_it_should,
    accesses: accesses_move_the_bytes_that_they_name,
    atomics: atomics_leave_and_return_what_they_should,
    contention: no_atomic_operation_is_lost,
    warp: lanes_exchange_what_they_should,
    control: control_goes_where_it_should,
    calls: calls_come_back_to_where_they_should,
    ordering: fences_and_barriers_order_what_they_should,
    spaces: addresses_are_of_the_spaces_that_they_should,
    async_copies: copies_land_when_they_should,
    tensor: matrices_are_where_they_should_be,
    products: products_are_those_of_the_matrices,
    matrix_moves: matrices_move_to_where_they_should,
    fragments: fragments_are_those_of_the_matrices,
    clusters: blocks_of_a_cluster_find_one_another,
    mbarriers: phases_end_when_they_should,
    bulk_copies: bulk_copies_are_where_they_should_be,
    tensor_copies: boxes_of_tensors_are_copied,
    wgmma: four_warps_multiply_what_they_should
}

/// All of them on the code that any processor runs.
#[test]
fn the_same_without_vector_extensions() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let status =
        command.args(["--skip", "without_vector_extensions"]).env("WARPWRIGHT_EMULATOR_ISA", "baseline").status();
    assert!(status.unwrap().success());
}
