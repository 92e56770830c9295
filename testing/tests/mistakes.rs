//! Every planted mistake is found, and its mended twin keeps the same contract.

use std::collections::BTreeSet;

use warpwright_emulator::{Access, FaultKind};
use warpwright_testing::{Argument, Broken, Contracts, Problem, Violation, check};

const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels/prebuilt");

/// What is found in a kernel; its twin has to pass.
fn mistake(kernel: &str) -> Broken {
    let report = check(KERNELS, &format!("{kernel}_mended")).unwrap();
    assert!(report.cases > 100, "{report}");
    println!("{report}");
    match check(KERNELS, kernel) {
        Err(Violation::Broken(broken)) => {
            println!("{broken}");
            assert!(broken.to_string().contains(&format!("`{kernel}` does not keep its contract")), "{broken}");
            *broken
        }
        Err(other) => panic!("{other}"),
        Ok(report) => panic!("nothing was found: {report}"),
    }
}

trait Found {
    /// The fault, if that is what was found.
    fn fault(&self) -> FaultKind;
    /// An integer argument.
    fn integer(&self, name: &str) -> i64;
}

impl Found for Broken {
    fn fault(&self) -> FaultKind {
        match &self.problem {
            Problem::Fault(fault) => fault.kind.clone(),
            other => panic!("{other}"),
        }
    }

    fn integer(&self, name: &str) -> i64 {
        match self.arguments.parameters.iter().find(|(parameter, _)| parameter == name) {
            Some((_, Argument::Integer { value, .. })) => *value,
            other => panic!("{name} is {other:?}"),
        }
    }
}

#[test]
fn off_by_one() {
    let broken = mistake("off_by_one");
    // shrunk to no elements at all
    assert_eq!(broken.integer("n"), 0);
    assert!(matches!(broken.fault(), FaultKind::OutOfBounds { access: Access::GlobalLoad, .. }));
    assert_eq!(broken.rule.as_deref(), Some("@len x == n"));
}

#[test]
fn no_guard() {
    let broken = mistake("no_guard");
    assert_eq!(broken.integer("n"), 1);
    assert!(matches!(broken.fault(), FaultKind::OutOfBounds { .. }));
}

#[test]
fn unchecked_index() {
    let broken = mistake("unchecked_index");
    assert!(matches!(broken.fault(), FaultKind::OutOfBounds { access: Access::GlobalLoad, .. }));
}

#[test]
fn signed_overflow() {
    let broken = mistake("signed_overflow");
    assert!(matches!(broken.fault(), FaultKind::OutOfBounds { .. }));
    assert!(broken.integer("rows") * broken.integer("dim") > 1 << 31);
}

#[test]
fn unsigned_overflow() {
    let broken = mistake("unsigned_overflow");
    assert!(matches!(broken.problem, Problem::Overlap { .. }), "{broken}");
    assert!(broken.integer("rows") * broken.integer("dim") > 1 << 32);
}

#[test]
fn wrong_length() {
    let broken = mistake("wrong_length");
    assert_eq!((broken.integer("n"), broken.rule.as_deref()), (1, Some("@len x == n")));
}

#[test]
fn not_written_whole() {
    let broken = mistake("not_written_whole");
    let first = Problem::Unwritten { parameter: "out".into(), element: 0, first: vec![0xff; 4], second: vec![0x5a; 4] };
    assert_eq!((broken.problem, broken.rule.as_deref()), (first, Some("@out out")));
}

#[test]
fn read_first() {
    let broken = mistake("read_first");
    assert!(matches!(broken.fault(), FaultKind::Uninitialised { access: Access::GlobalLoad, .. }), "{broken}");
    assert_eq!(broken.rule.as_deref(), Some("@out out"));
}

#[test]
fn unstated_alignment() {
    let broken = mistake("unstated_alignment");
    assert!(matches!(broken.fault(), FaultKind::Misaligned { bytes: 16, .. }));
    assert_eq!(broken.rule.as_deref(), Some("@align x 4, which the type of its elements gives it"));
}

#[test]
fn endless() {
    let broken = mistake("endless");
    assert!(matches!(broken.fault(), FaultKind::InstructionLimit { .. }));
}

#[test]
fn writes_const() {
    let broken = mistake("writes_const");
    assert_eq!(broken.problem, Problem::WroteConst { parameter: "x".into(), element: 0 });
}

#[test]
fn missing_threads() {
    let broken = mistake("missing_threads");
    assert!(matches!(broken.fault(), FaultKind::BarrierDivergence { .. }), "{broken}");
}

#[test]
fn missing_barrier() {
    let broken = mistake("missing_barrier");
    assert!(
        matches!(broken.fault(), FaultKind::Race { access: Access::SharedLoad | Access::SharedStore, .. }),
        "{broken}"
    );
}

#[test]
fn unwritten_shared() {
    let broken = mistake("unwritten_shared");
    assert!(matches!(broken.fault(), FaultKind::Uninitialised { access: Access::SharedLoad, .. }), "{broken}");
}

#[test]
fn unfenced() {
    let broken = mistake("unfenced");
    assert!(matches!(broken.fault(), FaultKind::Race { .. }), "{broken}");
}

#[test]
fn early_read() {
    let broken = mistake("early_read");
    assert!(
        matches!(broken.fault(), FaultKind::Race { access: Access::GlobalLoad, other_writes: true, .. }),
        "{broken}"
    );
    assert_eq!(broken.rule.as_deref(), Some("@pdl weight"));
}

#[test]
fn some_wait() {
    let broken = mistake("some_wait");
    assert!(matches!(broken.fault(), FaultKind::Race { .. }), "{broken}");
    assert_eq!(broken.rule.as_deref(), Some("@pdl"));
}

#[test]
fn every_mistake_is_tested() {
    let names = |file: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(format!("{KERNELS}/../{file}.cu")).unwrap();
        let name = |line: &str| Some(line.strip_prefix("__global__ void ")?.split_once('(')?.0.to_owned());
        text.lines().filter_map(name).collect()
    };
    let tested = include_str!("mistakes.rs");
    let all: BTreeSet<String> = ["mistakes", "mended", "hopper"].into_iter().flat_map(names).collect();
    for name in all.iter().filter(|name| !name.ends_with("_mended")) {
        assert!(tested.contains(&format!("mistake(\"{name}\")")), "{name}");
        assert!(all.contains(&format!("{name}_mended")), "{name}");
    }
}

#[test]
fn what_cannot_be_tested_says_why() {
    let error = check(KERNELS, "missing").unwrap_err().to_string();
    assert!(error.contains("there is no kernel `missing`; there are: "), "{error}");
    assert!(matches!(Contracts::open("/nowhere"), Err(Violation::Manifest(_))));
    let error = check(KERNELS, "no_length").unwrap_err().to_string();
    assert_eq!(error, "the contract of kernel `no_length` cannot be tested: it lacks `@len x`");
    let error = check(KERNELS, "contradiction").unwrap_err();
    let Violation::Unsatisfiable { rule, refused, drawn, .. } = &error else { panic!("{error}") };
    assert!(rule.starts_with("@require n % ") && refused * 2 >= *drawn, "{error}");
}
