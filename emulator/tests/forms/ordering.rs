//! What fences and barriers order: what was written before one is seen by whoever comes behind it, under many schedules,
//! and the check of races finds the order there; where a fence is missing or too narrow, it finds the race.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::{FaultKind, Launch, LaunchError, Options};

use super::Check;
use super::common::{Bench, kernel};

/// Who passes a number to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Between {
    /// Two warps of a block.
    Warps,
    /// Two blocks of a cluster.
    Cluster,
    /// Two blocks of a grid.
    Blocks,
}

/// How a number is passed: what stands before the flag is raised, and how it is, how it is read, and what stands behind.
#[derive(Clone)]
struct Passing {
    before: String,
    raise: String,
    look: String,
    behind: String,
    between: Between,
    /// Where the number and the flag are, as a state space of theirs, and of the flag's instructions.
    shared: bool,
}

const RAISE: &str = "st.relaxed.sys.u32 [%rd6], 1;";
const LOOK: &str = "ld.relaxed.sys.u32 %r9, [%rd6];";

impl Passing {
    fn by_fences(before: &str, behind: &str, between: Between) -> Self {
        let [before, behind] =
            [before, behind].map(|fence| if fence.is_empty() { String::new() } else { format!("{fence};") });
        Self { before, raise: RAISE.into(), look: LOOK.into(), behind, between, shared: false }
    }

    fn ptx(&self) -> String {
        let number = match self.between {
            Between::Warps => {
                "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 31; setp.ne.u32 %p1, %r2, 0; shr.u32 %r1, %r1, 5;"
            }
            _ => "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; setp.ne.u32 %p1, %r2, 0;",
        };
        // addresses of the pair's number and flag
        let (data, flags, space) = match self.shared {
            true => (
                "mov.u64 %rd5, data; cvta.shared.u64 %rd5, %rd5;",
                "mov.u64 %rd6, flags; cvta.shared.u64 %rd6, %rd6;",
                ".shared",
            ),
            false => ("ld.param.u64 %rd5, [p0];", "ld.param.u64 %rd6, [p1];", ".global"),
        };
        let clear = match self.shared {
            true => "setp.eq.u32 %p3, %r1, 0; @%p3 st.shared.u64 [flags], 0; bar.sync 0;",
            false => "",
        };
        let Self { before, raise, look, behind, .. } = self;
        let body = format!(
            "{number} {clear} @%p1 exit; shr.u32 %r3, %r1, 1; {data} {flags} mul.wide.u32 %rd7, %r3, 4;
             add.u64 %rd5, %rd5, %rd7; add.u64 %rd6, %rd6, %rd7; cvta.to{space}.u64 %rd8, %rd5; cvta.to{space}.u64 %rd9, %rd6;
             and.b32 %r4, %r1, 1; setp.ne.u32 %p2, %r4, 0; @%p2 bra WAIT;
             add.u32 %r5, %r3, 41; st{space}.u32 [%rd8], %r5; {before} {raise} ret;
             WAIT: {look} setp.eq.u32 %p2, %r9, 0; @%p2 bra WAIT;
             {behind} ld{space}.u32 %r10, [%rd8]; ld.param.u64 %rd3, [p2]; add.u64 %rd3, %rd3, %rd7;
             st.global.u32 [%rd3], %r10; ret;"
        );
        let ptx = kernel(3, ".shared .align 8 .b8 data[16]; .shared .align 8 .b8 flags[16];", &body)
            .replace("sm_75", "sm_90");
        match self.between {
            Between::Cluster => ptx.replacen(")\n{", ")\n.reqnctapercluster 2, 1, 1\n{", 1),
            _ => ptx,
        }
    }

    /// What came, or the fault, with a seed or in the order that is fast.
    fn run(&self, seed: Option<u64>) -> Result<Vec<u32>, FaultKind> {
        const PAIRS: usize = 2;
        let bench = Bench::checked(&self.ptx(), Checks { races: true, ..Checks::NONE });
        let (data, flags, out) =
            (bench.upload(&[0u32; PAIRS]), bench.upload(&[0u32; PAIRS]), bench.upload(&[7u32; PAIRS]));
        let (blocks, threads) = if self.between == Between::Warps { (1, 64 * PAIRS) } else { (2 * PAIRS, 32) };
        let grid = ([blocks as u32, 1, 1], [threads as u32, 1, 1]);
        let ended = match seed {
            None => bench.launch(grid.0, grid.1, &[data, flags, out]),
            Some(_) => {
                let parameters: Vec<u8> = [data, flags, out].into_iter().flat_map(u64::to_le_bytes).collect();
                let launch = Launch { blocks: grid.0, threads: grid.1, dynamic_shared: 0, parameters: &parameters };
                let options = Options { schedule: seed, ..Options::default() };
                bench.device.launch_with(&bench.module, "k", &launch, &options).map(drop)
            }
        };
        match ended {
            Ok(()) => Ok(bench.read_u32(out, PAIRS)),
            Err(LaunchError::Fault(fault)) => Err(fault.kind),
            Err(error) => panic!("{error}"),
        }
    }

    fn arrives(&self) {
        for seed in (0..6).map(Some).chain([None]) {
            assert_eq!(self.run(seed), Ok(vec![41, 42]), "seed {seed:?} of {}", self.ptx());
        }
    }

    fn races(&self) {
        let raced = |seed| matches!(self.run(Some(seed)), Err(FaultKind::Race { .. }));
        assert!((0..20).any(raced), "no race in {}", self.ptx());
    }
}

/// Whom a scope takes in.
fn of_scope(scope: &str) -> Between {
    match scope {
        "cta" => Between::Warps,
        "cluster" => Between::Cluster,
        _ => Between::Blocks,
    }
}

fn check(forms: Vec<String>, run: impl Fn() + 'static) -> Check {
    Check { forms, run: Box::new(run) }
}

fn fences() -> Vec<Check> {
    let mut checks = Vec::new();
    for scope in ["cta", "cluster", "gpu", "sys"] {
        for (before, behind) in [("", ""), (".sc", ".sc"), (".acq_rel", ".acq_rel"), (".release", ".acquire")] {
            let [before, behind] = [before, behind].map(|kind| format!("fence{kind}.{scope}"));
            let forms = vec![before.clone(), behind.clone()];
            checks.push(check(forms, move || {
                Passing::by_fences(&before, &behind, of_scope(scope)).arrives();
                Passing::by_fences(&before, &behind, Between::Warps).arrives();
                if scope == "cta" {
                    // it is no order between blocks
                    Passing::by_fences(&before, &behind, Between::Blocks).races();
                }
                // half of it is none
                Passing::by_fences(&before, "", of_scope(scope)).races();
                Passing::by_fences("", &behind, of_scope(scope)).races();
            }));
        }
        // what is released and acquired by the flag itself, in each space
        for shared in [false, true] {
            if shared && scope != "cta" {
                continue;
            }
            checks.push(check(vec![format!("st.release.{scope}.u32"), format!("ld.acquire.{scope}.u32")], move || {
                let passing = |raise: &str, look: &str| Passing {
                    before: String::new(),
                    raise: raise.into(),
                    look: look.into(),
                    behind: String::new(),
                    between: of_scope(scope),
                    shared,
                };
                let store = format!("st.release.{scope}.u32 [%rd6], 1;");
                let load = format!("ld.acquire.{scope}.u32 %r9, [%rd6];");
                let exchange = format!("atom.release.{scope}.exch.b32 %r8, [%rd6], 1;");
                let add = format!("atom.acq_rel.{scope}.add.u32 %r9, [%rd6], 0;");
                let red = format!("red.release.{scope}.add.u32 [%rd6], 1;");
                passing(&store, &load).arrives();
                passing(&exchange, &load).arrives();
                passing(&red, &add).arrives();
                passing(RAISE, &load).races();
                passing(&store, LOOK).races();
            }));
        }
    }
    for (scope, between) in [("cta", Between::Warps), ("gl", Between::Blocks), ("sys", Between::Blocks)] {
        let fence = format!("membar.{scope}");
        checks.push(check(vec![fence.clone()], move || {
            Passing::by_fences(&fence, &fence, between).arrives();
            Passing::by_fences(&fence, "", between).races();
        }));
    }
    checks.push(store_buffering());
    checks
}

/// With `fence.sc` between a store and a load of another's, not both of two threads miss what the other stored.
fn store_buffering() -> Check {
    let run = || {
        let body = "mov.u32 %r1, %ctaid.x; shr.u32 %r2, %r1, 1; and.b32 %r3, %r1, 1; ld.param.u64 %rd1, [p0];
            mul.wide.u32 %rd2, %r2, 8; add.u64 %rd1, %rd1, %rd2; mul.wide.u32 %rd3, %r3, 4; add.u64 %rd4, %rd1, %rd3;
            xor.b32 %r3, %r3, 1; mul.wide.u32 %rd3, %r3, 4; add.u64 %rd5, %rd1, %rd3; st.relaxed.gpu.global.u32 [%rd4], 1;
            fence.sc.gpu; ld.relaxed.gpu.global.u32 %r4, [%rd5]; ld.param.u64 %rd6, [p1]; mul.wide.u32 %rd7, %r1, 4;
            add.u64 %rd6, %rd6, %rd7; st.global.u32 [%rd6], %r4; ret;";
        const PAIRS: usize = 2000;
        let bench = Bench::new(&kernel(2, "", body));
        let (memory, out) = (bench.upload(&vec![0u64; PAIRS]), bench.upload(&vec![9u64; PAIRS]));
        bench.launch([2 * PAIRS as u32, 1, 1], [1, 1, 1], &[memory, out]).unwrap();
        for pair in bench.read_u64(out, PAIRS) {
            assert!([1, 1 << 32, 1 | 1 << 32].contains(&pair), "{pair:#x}");
        }
    };
    check(vec!["fence.sc.gpu".into()], run)
}

/// Two warps of a block, one of which writes before a barrier what the other reads behind it; the numbers of all threads
/// go to their words of the first parameter.
fn across_barrier(arrives: &str, waits: &str) {
    let body = |arrives: &str, waits: &str| {
        format!(
            ".shared .align 4 .b8 s[128]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 31; shl.b32 %r2, %r2, 2; mov.u32 %r3, s;
             add.u32 %r3, %r3, %r2; mov.u32 %r9, 5; setp.eq.u32 %p1, %r1, %r1; setp.lt.u32 %p3, %r1, 3; mov.u32 %r20, 6;
             mov.u32 %r21, 64; setp.ge.u32 %p2, %r1, 32; @%p2 bra WAITS;
             add.u32 %r4, %r1, 100; st.shared.u32 [%r3], %r4; {arrives} bra DONE;
             WAITS: {waits} xor.b32 %r3, %r3, 4; ld.shared.u32 %r9, [%r3];
             DONE: ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r9; ret;"
        )
    };
    let expected: Vec<u32> = (0..64).map(|n| if n < 32 { 5 } else { 100 + ((n - 32) ^ 1) }).collect();
    let bench = Bench::checked(&kernel(1, "", &body(arrives, waits)), Checks { races: true, ..Checks::NONE });
    let out = bench.upload(&[0u32; 64]);
    bench.launch([1, 1, 1], [64, 1, 1], &[out]).unwrap();
    assert_eq!(bench.read_u32(out, 64), expected, "{arrives} {waits}");
    let parameters = out.to_le_bytes();
    for seed in 0..6 {
        let launch = Launch { blocks: [1, 1, 1], threads: [64, 1, 1], dynamic_shared: 0, parameters: &parameters };
        let options = Options { schedule: Some(seed), ..Options::default() };
        bench.device.launch_with(&bench.module, "k", &launch, &options).unwrap();
        assert_eq!(bench.read_u32(out, 64), expected, "{arrives} {waits}, seed {seed}");
    }
    // without the barrier it is a race
    let bench = Bench::checked(&kernel(1, "", &body("", "")), Checks { races: true, ..Checks::NONE });
    let out = bench.upload(&[0u32; 64]);
    assert!(matches!(bench.fault(1, 64, &[out]).kind, FaultKind::Race { .. }));
}

fn barriers() -> Vec<Check> {
    let mut checks = Vec::new();
    for root in ["bar", "barrier"] {
        for cta in ["", ".cta"] {
            for aligned in ["", ".aligned"] {
                if root == "bar" && !aligned.is_empty() {
                    continue;
                }
                let (sync, arrive) = (format!("{root}{cta}.sync{aligned}"), format!("{root}{cta}.arrive{aligned}"));
                checks.push(check(vec![sync.clone(), arrive.clone()], move || {
                    across_barrier(&format!("{arrive} 6, 64;"), &format!("{sync} 6, 64;"));
                    across_barrier(&format!("{arrive} %r20, %r21;"), &format!("{sync} %r20, %r21;"));
                    across_barrier(&format!("{sync} 6, 64;"), &format!("{sync} 6, 64;"));
                    across_barrier(&format!("{sync} 0;"), &format!("{sync} 0;"));
                    across_barrier(&format!("{sync} %r20;"), &format!("{sync} %r20;"));
                }));
                for operation in ["popc", "and", "or"] {
                    let ty = if operation == "popc" { "u32" } else { "pred" };
                    let opcode = format!("{root}{cta}.red.{operation}{aligned}.{ty}");
                    checks.push(check(vec![opcode.clone()], move || reduction(&opcode, operation)));
                }
            }
        }
    }
    checks
}

/// A barrier with a reduction is a barrier, and gives all who come the number of those whose predicate holds.
fn reduction(opcode: &str, operation: &str) {
    for (predicate, ayes) in [("%p3", 3), ("!%p3", 61), ("%p1", 64), ("!%p1", 0)] {
        let result = if operation == "popc" { "%r22" } else { "%p4" };
        let expected = match operation {
            "popc" => ayes,
            "and" => u32::from(ayes == 64),
            _ => u32::from(ayes > 0),
        };
        let shown = if operation == "popc" { "" } else { "selp.u32 %r22, 1, 0, %p4;" };
        for number in ["6", "6, 64", "%r20, %r21"] {
            let line = format!("{opcode} {result}, {number}, {predicate}; {shown}");
            // who has another result than that does not go on
            let wrong = format!("setp.ne.u32 %p5, %r22, {expected}; @%p5 trap;");
            across_barrier(&format!("{line} {wrong}"), &format!("{line} {wrong}"));
        }
    }
}

pub fn checks() -> Vec<Check> {
    let mut checks = fences();
    checks.extend(barriers());
    checks
}
