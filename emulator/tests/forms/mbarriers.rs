//! `mbarrier`: phases, arrivals and transactions, what they order, and what is wrong with their use.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::{FaultKind, MbarrierMistake, Options};

use super::Check;
use super::common::{Bench, kernel};

const CHECKS: Checks = Checks { initialised: true, races: true, ..Checks::NONE };

/// A kernel with 4096 bytes of shared memory `s` and eight `mbarrier`s `b`. `%r1` is the thread, `%r2` the address of its word,
/// `%r3` that of the first barrier, `%rd1` is `p0`, `%rd2` the address of the thread's 32 bytes there.
fn ptx(body: &str) -> String {
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; mov.u32 %r3, b;
         ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 32; add.u64 %rd2, %rd1, %rd2; {body} ret;"
    );
    kernel(1, ".shared .align 16 .b8 s[4096]; .shared .align 8 .b64 b[8];", &text).replace("sm_75", "sm_90")
}

fn bench(body: &str) -> Bench {
    Bench::checked(&ptx(body), CHECKS)
}

/// Thread 0 makes a barrier that expects `count` arrivals.
fn init(count: &str) -> String {
    format!("setp.eq.u32 %p8, %r1, 0; @%p8 mbarrier.init.shared::cta.b64 [%r3], {count}; bar.sync 0;")
}

fn run(body: &str, threads: u32) -> Vec<Vec<u32>> {
    let bench = bench(body);
    let out = bench.upload(&vec![7u32; 8 * threads as usize]);
    bench.launch([1, 1, 1], [threads, 1, 1], &[out]).unwrap_or_else(|error| panic!("{error}\n{body}"));
    bench.read_u32(out, 8 * threads as usize).chunks_exact(8).map(<[u32]>::to_vec).collect()
}

fn fault(body: &str) -> FaultKind {
    let bench = bench(body);
    let out = bench.upload(&[7u32; 4096]);
    bench.fault(1, 64, &[out]).kind.clone()
}

fn phases_end_with_their_last_arrival() {
    // The same by state and by parity, with every spelling of the space.
    for (arrive, test) in [
        ("mbarrier.arrive.shared.b64 %rd5, [%r3];", "mbarrier.test_wait.shared.b64 %p1, [%r3], %rd5;"),
        (
            "mbarrier.arrive.release.cta.shared::cta.b64 %rd5, [%r3];",
            "mbarrier.test_wait.parity.shared.b64 %p1, [%r3], 0;",
        ),
        (
            "cvt.u64.u32 %rd6, %r3; cvta.shared.u64 %rd6, %rd6; mbarrier.arrive.b64 %rd5, [%rd6];",
            "mbarrier.try_wait.b64 %p1, [%rd6], %rd5, 100;",
        ),
        (
            "mbarrier.arrive.shared.b64 %rd5, [%r3], 1;",
            "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 %p1, [%r3], 0, 1000;",
        ),
    ] {
        let body = format!(
            "{} st.shared.u32 [%r2], %r1; {arrive} mbarrier.pending_count.b64 %r5, %rd5;
             W: {test} @!%p1 bra W; xor.b32 %r6, %r4, 4; mov.u32 %r7, s; add.u32 %r7, %r7, %r6; ld.shared.u32 %r8, [%r7];
             mbarrier.test_wait.parity.shared.b64 %p2, [%r3], 0; selp.u32 %r9, 1, 0, %p2;
             st.global.v4.u32 [%rd2], {{%r5, %r8, %r9, %r9}};",
            init("%r10").replace("bar.sync 0;", "").replacen("setp", "mov.u32 %r10, %ntid.x; setp", 1) + "bar.sync 0;"
        );
        for threads in [2, 32, 70] {
            let found = run(&body, threads);
            let mut pending: Vec<u32> = found.iter().map(|words| words[0]).collect();
            pending.sort_unstable();
            assert!(pending.into_iter().eq(1..=threads), "{arrive}");
            for (thread, words) in (0..).zip(&found) {
                assert_eq!(words[1..3], [thread ^ 1, 1], "{test}");
            }
        }
    }
}

fn parities_alternate() {
    // One thread, seven phases: before the arrival the phase has not ended, and the one before it has.
    let step = "mbarrier.test_wait.parity.shared.b64 %p1, [%r3], %r5; selp.u32 %r7, 1, 0, %p1; xor.b32 %r6, %r5, 1;
         mbarrier.test_wait.parity.shared.b64 %p2, [%r3], %r6; selp.u32 %r8, 2, 0, %p2; mbarrier.arrive.shared.b64 %rd5, [%r3];
         mbarrier.test_wait.parity.shared.b64 %p1, [%r3], %r5; selp.u32 %r9, 4, 0, %p1;
         mbarrier.test_wait.shared.b64 %p1, [%r3], %rd5; selp.u32 %r10, 8, 0, %p1; add.u32 %r7, %r7, %r8; add.u32 %r7, %r7, %r9;
         add.u32 %r7, %r7, %r10; setp.ne.u32 %p3, %r7, 14; @%p3 trap; mov.u32 %r5, %r6;";
    let body = format!("{} mov.u32 %r5, 0; {}", init("1"), step.repeat(7));
    run(&body, 1);
}

fn transactions_count() {
    let test = |body: &str| {
        let all = format!(
            "{} {body} mbarrier.test_wait.parity.shared.b64 %p1, [%r3], 0; selp.u32 %r9, 1, 0, %p1; st.global.u32 [%rd2], %r9;",
            init("1")
        );
        run(&all, 1)[0][0]
    };
    let expect = "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r3], 100;";
    let complete = |bytes: u32| format!("mbarrier.complete_tx.shared::cta.b64 [%r3], {bytes};");
    let arrive = "mbarrier.arrive.shared.b64 %rd5, [%r3];";
    assert_eq!(test(arrive), 1);
    assert_eq!(test(expect), 0);
    assert_eq!(test(&format!("{expect} {arrive}")), 0);
    assert_eq!(test(&format!("{expect} {arrive} {}", complete(99))), 0);
    assert_eq!(test(&format!("{expect} {arrive} {}", complete(100))), 1);
    assert_eq!(test(&format!("{expect} {} {arrive}", complete(100))), 1);
    // transactions may be done before they are expected
    assert_eq!(test(&format!("{} {expect}", complete(100))), 0);
    assert_eq!(test(&format!("{} {expect} {arrive}", complete(100))), 1);
    let both = "mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r3], 64;";
    assert_eq!(test(both), 0);
    assert_eq!(test(&format!("{both} {} {}", complete(32), complete(32))), 1);
}

fn who_drops_out_is_not_expected_again() {
    // Three arrivals in the first phase, one of which drops out; two in the second; one drops with transactions.
    let body = format!(
        "{} mbarrier.arrive.shared.b64 %rd5, [%r3]; mbarrier.arrive_drop.shared.b64 %rd6, [%r3];
         mbarrier.arrive.noComplete.release.cta.shared.b64 %rd7, [%r3], 1; mbarrier.arrive.shared.b64 %rd8, [%r3];
         mbarrier.pending_count.b64 %r5, %rd5; mbarrier.pending_count.b64 %r6, %rd6; mbarrier.pending_count.b64 %r7, %rd7;
         mbarrier.pending_count.b64 %r8, %rd8; st.global.v4.u32 [%rd2], {{%r5, %r6, %r7, %r8}};
         mbarrier.arrive_drop.expect_tx.shared.b64 %rd5, [%r3], 8; mbarrier.arrive.shared.b64 %rd6, [%r3], 2;
         mbarrier.complete_tx.shared.b64 [%r3], 8; mbarrier.arrive_drop.noComplete.shared.b64 %rd7, [%r3], 1;
         mbarrier.arrive.shared.b64 %rd8, [%r3]; mbarrier.pending_count.b64 %r5, %rd5; mbarrier.pending_count.b64 %r6, %rd6;
         mbarrier.pending_count.b64 %r7, %rd7; mbarrier.pending_count.b64 %r8, %rd8;
         st.global.v4.u32 [%rd2+16], {{%r5, %r6, %r7, %r8}};",
        init("4")
    );
    let found = run(&body, 1);
    assert_eq!(found[0], [4, 3, 2, 1, 3, 2, 2, 1]);
}

fn mistakes_are_told() {
    let mistake = |body: &str| match fault(body) {
        FaultKind::Mbarrier { mistake, .. } => mistake,
        other => panic!("{other:?}"),
    };
    let arrive = "mbarrier.arrive.shared.b64 %rd5, [%r3];";
    assert!(matches!(fault(arrive), FaultKind::Uninitialised { .. }));
    let zero = "mov.u64 %rd5, 0; setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u64 [%r3], %rd5; bar.sync 0;";
    assert_eq!(mistake(&format!("{zero} {arrive}")), MbarrierMistake::NotInitialised);
    let invalid = "bar.sync 0; @%p8 mbarrier.inval.shared.b64 [%r3]; bar.sync 0;";
    assert_eq!(mistake(&format!("{} {invalid} {arrive}", init("4"))), MbarrierMistake::NotInitialised);
    assert_eq!(mistake(&init("0")), MbarrierMistake::Arrivals { count: 0, pending: (1 << 20) - 1 });
    let many = format!("{} mbarrier.arrive.shared.b64 %rd5, [%r3], 3;", init("64"));
    assert_eq!(mistake(&many), MbarrierMistake::Arrivals { count: 3, pending: 1 });
    let last = format!("{} mbarrier.arrive.noComplete.shared.b64 %rd5, [%r3], 1;", init("64"));
    assert_eq!(mistake(&last), MbarrierMistake::Completes);
    let much = format!("{} mbarrier.expect_tx.shared.b64 [%r3], 1048575;", init("64"));
    assert_eq!(mistake(&much), MbarrierMistake::Transactions { bytes: 2 * 1048575 });
    // nobody else comes
    let alone = format!("{} {arrive} W: mbarrier.try_wait.parity.shared.b64 %p1, [%r3], 0; @!%p1 bra W;", init("65"));
    assert_eq!(fault(&alone), FaultKind::EndlessWait);
    assert!(matches!(fault("mbarrier.init.shared.b64 [%r3+4], 1;"), FaultKind::Misaligned { bytes: 8, .. }));
    assert!(matches!(fault("mbarrier.init.shared.b64 [%r3+8192], 1;"), FaultKind::OutOfBounds { bytes: 8, .. }));
    assert!(matches!(
        fault("setp.eq.u32 %p8, %r1, 0; @%p8 mbarrier.init.b64 [%rd1], 1;"),
        FaultKind::OutOfBounds { bytes: 8, .. }
    ));
}

/// Warp 0 fills a ring of two stages of 32 words for warps 1 and 2, which add up what they find, 20 times. `full` and
/// `empty` are what the two sides wait for.
fn pipeline(full: &str, empty: &str) -> String {
    format!(
        "setp.eq.u32 %p8, %r1, 0; @%p8 mbarrier.init.shared.b64 [%r3], 32; @%p8 mbarrier.init.shared.b64 [%r3+8], 32;
         @%p8 mbarrier.init.shared.b64 [%r3+16], 64; @%p8 mbarrier.init.shared.b64 [%r3+24], 64; bar.sync 0;
         mov.u32 %r10, 0; mov.u32 %r11, 0; and.b32 %r12, %r1, 31; setp.ge.u32 %p7, %r1, 32; @%p7 bra CONSUMER;
         PRODUCER: and.b32 %r13, %r10, 1; shr.u32 %r14, %r10, 1; and.b32 %r14, %r14, 1; xor.b32 %r14, %r14, 1;
         shl.b32 %r15, %r13, 3; add.u32 %r15, %r15, %r3; P: {empty} shl.b32 %r16, %r13, 7; add.u32 %r16, %r16, %r2;
         mad.lo.u32 %r17, %r10, 100, %r1; st.shared.u32 [%r16], %r17; mbarrier.arrive.shared.b64 %rd5, [%r15];
         add.u32 %r10, %r10, 1; setp.lt.u32 %p1, %r10, 20; @%p1 bra PRODUCER; bra END;
         CONSUMER: and.b32 %r13, %r10, 1; shr.u32 %r14, %r10, 1; and.b32 %r14, %r14, 1; shl.b32 %r15, %r13, 3;
         add.u32 %r15, %r15, %r3; C: {full} shl.b32 %r16, %r13, 7; shl.b32 %r18, %r12, 2; add.u32 %r16, %r16, %r18;
         xor.b32 %r16, %r16, 4; mov.u32 %r19, s; add.u32 %r16, %r16, %r19; ld.shared.u32 %r17, [%r16];
         add.u32 %r11, %r11, %r17; mbarrier.arrive.shared.b64 %rd5, [%r15+16]; add.u32 %r10, %r10, 1;
         setp.lt.u32 %p1, %r10, 20; @%p1 bra CONSUMER; END: st.global.u32 [%rd2], %r11;"
    )
}

const FULL: &str = "mbarrier.try_wait.parity.shared.b64 %p2, [%r15], %r14; @!%p2 bra C;";
const EMPTY: &str = "mbarrier.try_wait.parity.shared.b64 %p2, [%r15+16], %r14; @!%p2 bra P;";

fn a_pipeline_is_in_order() {
    let body = pipeline(FULL, EMPTY);
    let bench = bench(&body);
    for seed in (0..30).map(Some).chain([None]) {
        let out = bench.upload(&[7u32; 8 * 96]);
        let options = Options { schedule: seed, ..Options::default() };
        bench.launch_with([1, 1, 1], [96, 1, 1], &[out], &options).unwrap_or_else(|error| panic!("{seed:?}: {error}"));
        for (thread, words) in bench.read_u32(out, 8 * 96).chunks_exact(8).enumerate().skip(32) {
            let lane = (thread as u32 % 32) ^ 1;
            assert_eq!(words[0], (0..20).map(|round| round * 100 + lane).sum::<u32>(), "{seed:?}, thread {thread}");
        }
    }
}

fn a_pipeline_without_a_wait_races() {
    let relaxed = FULL.replace("parity.shared", "parity.relaxed.cta.shared");
    for (full, empty) in [("", EMPTY), (FULL, ""), (&relaxed, EMPTY)] {
        // Where the consumers wait, and the producer does not, phases may have passed before they look.
        let kind = fault_of_pipeline(&pipeline(full, empty));
        let missed = matches!(kind, FaultKind::EndlessWait) && empty.is_empty();
        assert!(missed || matches!(kind, FaultKind::Race { .. } | FaultKind::Uninitialised { .. }), "{kind:?}");
    }
}

fn fault_of_pipeline(body: &str) -> FaultKind {
    let bench = bench(body);
    let out = bench.upload(&[7u32; 8 * 96]);
    bench.fault(1, 96, &[out]).kind.clone()
}

fn copies_arrive_when_they_land(opcode: &str, counts: bool, at: &str) {
    // Each thread copies 16 bytes. Where the arrival adds to those that are pending it arrives itself besides.
    let own = if counts { "mbarrier.arrive.shared.b64 %rd9, [%r3];" } else { "" };
    let body = format!(
        "mov.u32 %r10, %ntid.x; setp.eq.u32 %p8, %r1, 0; @%p8 mbarrier.init.shared.b64 [%r3], %r10; bar.sync 0;
         cvt.u64.u32 %rd10, %r3; cvta.shared.u64 %rd10, %rd10;
         shl.b32 %r5, %r1, 4; mov.u32 %r6, s; add.u32 %r6, %r6, %r5; mul.wide.u32 %rd5, %r1, 16; add.u64 %rd5, %rd1, %rd5;
         cp.async.ca.shared.global [%r6], [%rd5], 16; {opcode} {at}; {own}
         W: mbarrier.try_wait.parity.shared.b64 %p1, [%r3], 0; @!%p1 bra W;
         xor.b32 %r7, %r5, 16; mov.u32 %r6, s; add.u32 %r6, %r6, %r7; ld.shared.v4.u32 {{%r11, %r12, %r13, %r14}}, [%r6];
         add.u64 %rd2, %rd2, 4096; st.global.v4.u32 [%rd2], {{%r11, %r12, %r13, %r14}};"
    );
    let bench = bench(&body);
    let words: Vec<u32> = (0..2048).collect();
    let array = bench.upload(&words);
    bench.launch([1, 1, 1], [64, 1, 1], &[array]).unwrap();
    let found = bench.read_u32(array, 2048);
    for thread in 0..64 {
        let expected: Vec<u32> = (0..4).map(|n| (thread ^ 1) * 4 + n).collect();
        assert_eq!(found[1024 + thread as usize * 8..][..4], expected, "{opcode}, thread {thread}");
    }
}

fn blocks_of_a_cluster_arrive_at_one_barrier() {
    // Each thread of four blocks tells the barrier of block 0, which then reads what all blocks have stored.
    let body = "setp.eq.u32 %p8, %r1, 0; @%p8 mbarrier.init.shared.b64 [%r3], 128; fence.mbarrier_init.release.cluster;
         barrier.cluster.arrive.relaxed; barrier.cluster.wait; mov.u32 %r20, %cluster_ctarank; add.u32 %r5, %r20, 50;
         st.shared.u32 [%r2], %r5; mapa.shared::cluster.u32 %r6, %r3, 0;
         mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r6]; setp.ne.u32 %p1, %r20, 0; @%p1 bra END;
         W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p2, [%r3], 0; @!%p2 bra W;
         mapa.shared::cluster.u32 %r7, %r2, 3; ld.shared::cluster.u32 %r8, [%r7]; st.global.u32 [%rd2], %r8;
         END: barrier.cluster.arrive; barrier.cluster.wait;";
    let cluster = |body: &str| ptx(body).replace("\n{\n", "\n.reqnctapercluster 4, 1, 1\n{\n");
    let bench = Bench::checked(&cluster(body), CHECKS);
    let out = bench.upload(&[7u32; 8 * 32]);
    bench.launch([4, 1, 1], [32, 1, 1], &[out]).unwrap();
    assert!(bench.read_u32(out, 8 * 32).chunks_exact(8).all(|words| words[0] == 53));
    // without the release, what was stored is in no order with the load
    let bench = Bench::checked(
        &cluster(&body.replace("release.cluster.shared::cluster", "relaxed.cluster.shared::cluster")),
        CHECKS,
    );
    let kind = bench.fault(4, 32, &[out]).kind.clone();
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::Uninitialised { .. }), "{kind:?}");
}

/// How an address is held for each spelling of the space.
fn address(space: &str) -> &'static str {
    if space.is_empty() { "[%rd10]" } else { "[%r3]" }
}

/// One thread, with a barrier for five arrivals whose generic address is in `%rd10`, executes `body`. Then `%r9` is what it
/// leaves.
fn one(body: &str) -> u32 {
    let text = format!(
        "{} cvt.u64.u32 %rd10, %r3; cvta.shared.u64 %rd10, %rd10; {body} st.global.u32 [%rd2], %r9;",
        init("5")
    );
    run(&text, 1)[0][0]
}

/// How many arrivals are pending, as another arrival finds it.
const PENDING: &str = "mbarrier.arrive.shared.b64 %rd9, [%r3]; mbarrier.pending_count.b64 %r9, %rd9;";
/// Whether the first phase has ended.
const ENDED: &str = "mbarrier.test_wait.parity.shared.b64 %p1, [%r3], 0; selp.u32 %r9, 1, 0, %p1;";

fn arrivals() -> Vec<Check> {
    let mut checks = Vec::new();
    for (root, drops) in [("mbarrier.arrive", false), ("mbarrier.arrive_drop", true)] {
        let kinds: [(&str, &[&str]); 3] = [
            ("", &["", ".release.cta", ".release.cluster", ".relaxed.cta", ".relaxed.cluster"]),
            (".expect_tx", &["", ".release.cta", ".release.cluster", ".relaxed.cta", ".relaxed.cluster"]),
            (".noComplete", &["", ".release.cta"]),
        ];
        for (kind, orders) in kinds {
            for order in orders {
                for space in ["", ".shared", ".shared::cta", ".shared::cluster"] {
                    if kind == ".noComplete" && space == ".shared::cluster" {
                        continue;
                    }
                    let opcode = format!("{root}{kind}{order}{space}.b64");
                    let run_opcode = opcode.clone();
                    let run = move || {
                        let state = if space == ".shared::cluster" { "_" } else { "%rd8" };
                        let at = address(space);
                        let with = |operand: &str| format!("{run_opcode} {state}, {at}{operand};");
                        let (first, count) = match kind {
                            "" => (with(", 2"), 2),
                            ".expect_tx" => (with(", 16"), 1),
                            _ => (with(", 3"), 3),
                        };
                        assert_eq!(one(&format!("{first} {PENDING}")), 5 - count, "{run_opcode}");
                        if kind.is_empty() {
                            assert_eq!(one(&format!("{} {PENDING}", with(""))), 4, "{run_opcode}");
                        }
                        // The rest of the phase ends it, with transactions not before they are done.
                        let rest = format!("mbarrier.arrive.shared.b64 %rd9, [%r3], {};", 5 - count);
                        let done = "mbarrier.complete_tx.shared.b64 [%r3], 16;";
                        let expects = kind == ".expect_tx";
                        assert_eq!(one(&format!("{first} {rest} {ENDED}")), u32::from(!expects), "{run_opcode}");
                        let all = if expects { format!("{first} {rest} {done}") } else { format!("{first} {rest}") };
                        assert_eq!(one(&format!("{all} {ENDED}")), 1, "{run_opcode}");
                        // In the next phase those are not expected that dropped out.
                        assert_eq!(one(&format!("{all} {PENDING}")), 5 - if drops { count } else { 0 }, "{run_opcode}");
                        if state != "_" {
                            // The state is that before the arrival.
                            let state = format!("{first} mbarrier.pending_count.b64 %r9, %rd8;");
                            assert_eq!(one(&state), 5, "{run_opcode}");
                        }
                    };
                    checks.push(Check { forms: vec![opcode], run: Box::new(run) });
                }
            }
        }
    }
    checks
}

fn transactions() -> Vec<Check> {
    let mut checks = Vec::new();
    for order in ["", ".relaxed.cta", ".relaxed.cluster"] {
        for space in ["", ".shared", ".shared::cta", ".shared::cluster"] {
            let [expect, complete] =
                ["expect_tx", "complete_tx"].map(|name| format!("mbarrier.{name}{order}{space}.b64"));
            let forms = vec![expect.clone(), complete.clone()];
            let run = move || {
                let at = address(space);
                let arrive = "mbarrier.arrive.shared.b64 %rd9, [%r3], 5;";
                let ended = |body: &str| one(&format!("{body} {ENDED}"));
                let (expect, complete) =
                    (format!("{expect} {at}, 48;"), |bytes: u32| format!("{complete} {at}, {bytes};"));
                assert_eq!(ended(&format!("{expect} {arrive}")), 0);
                assert_eq!(ended(&format!("{expect} {arrive} {} {}", complete(40), complete(7))), 0);
                assert_eq!(ended(&format!("{expect} {arrive} {} {}", complete(40), complete(8))), 1);
                assert_eq!(ended(&format!("{} {expect} {arrive}", complete(48))), 1);
            };
            checks.push(Check { forms, run: Box::new(run) });
        }
    }
    checks
}

fn waits() -> Vec<Check> {
    let mut checks = Vec::new();
    for root in ["mbarrier.test_wait", "mbarrier.try_wait"] {
        for order in ["", ".acquire.cta", ".acquire.cluster", ".relaxed.cta", ".relaxed.cluster"] {
            for space in ["", ".shared", ".shared::cta"] {
                let (by_state, by_parity) =
                    (format!("{root}{order}{space}.b64"), format!("{root}.parity{order}{space}.b64"));
                let forms = vec![by_state.clone(), by_parity.clone()];
                let run = move || {
                    let at = address(space);
                    let hint = if root.contains("try") { ", 50" } else { "" };
                    let arrive = |count: u32| format!("mbarrier.arrive.shared.b64 %rd8, [%r3], {count};");
                    let asks = [
                        format!("{by_state} %p1, {at}, %rd8"),
                        format!("{by_parity} %p1, {at}, 0"),
                        format!("{by_state} %p1, {at}, %rd8{hint}"),
                        format!("{by_parity} %p1, {at}, 0{hint}"),
                    ];
                    for ask in asks {
                        let ended = |count: u32| one(&format!("{} {ask}; selp.u32 %r9, 1, 0, %p1;", arrive(count)));
                        assert_eq!((ended(4), ended(5)), (0, 1), "{ask}");
                        // The phase before the first has ended, and the second has not.
                        let other = ask.replace(", 0", ", 1");
                        if other != ask {
                            let ended =
                                |count: u32| one(&format!("{} {other}; selp.u32 %r9, 1, 0, %p1;", arrive(count)));
                            assert_eq!((ended(4), ended(5)), (1, 0), "{other}");
                        }
                    }
                };
                checks.push(Check { forms, run: Box::new(run) });
            }
        }
    }
    checks
}

fn objects() -> Vec<Check> {
    let mut checks = Vec::new();
    for space in ["", ".shared", ".shared::cta"] {
        let [init, inval] = ["init", "inval"].map(|name| format!("mbarrier.{name}{space}.b64"));
        let forms = vec![init.clone(), inval.clone()];
        let run = move || {
            let at = address(space);
            for count in [1, 2, 77, (1 << 20) - 1] {
                let body = format!("mov.u32 %r12, {count}; {init} {at}, %r12; {PENDING}");
                assert_eq!(one(&body), count);
            }
            let body = format!(
                "{} cvt.u64.u32 %rd10, %r3; cvta.shared.u64 %rd10, %rd10; @%p8 {inval} {at}; bar.sync 0; {PENDING}",
                super::mbarriers::init("9")
            );
            let mistake = MbarrierMistake::NotInitialised;
            assert!(matches!(fault(&body), FaultKind::Mbarrier { mistake: found, .. } if found == mistake));
        };
        checks.push(Check { forms, run: Box::new(run) });
        for noinc in ["", ".noinc"] {
            let form = format!("cp.async.mbarrier.arrive{noinc}{space}.b64");
            let opcode = form.clone();
            let run = move || copies_arrive_when_they_land(&opcode, noinc.is_empty(), address(space));
            checks.push(Check { forms: vec![form], run: Box::new(run) });
        }
    }
    checks
}

pub fn checks() -> Vec<Check> {
    let check = |form: &str, run: fn()| Check { forms: vec![form.to_owned()], run: Box::new(run) };
    let mut checks = vec![
        check("mbarrier.arrive.shared.b64", phases_end_with_their_last_arrival),
        check("mbarrier.test_wait.parity.shared.b64", parities_alternate),
        check("mbarrier.expect_tx.relaxed.cta.shared::cta.b64", transactions_count),
        check("mbarrier.pending_count.b64", who_drops_out_is_not_expected_again),
        check("mbarrier.inval.shared.b64", mistakes_are_told),
        check("mbarrier.try_wait.parity.shared.b64", a_pipeline_is_in_order),
        check("mbarrier.try_wait.parity.relaxed.cta.shared.b64", a_pipeline_without_a_wait_races),
        check("mbarrier.arrive.release.cluster.shared::cluster.b64", blocks_of_a_cluster_arrive_at_one_barrier),
    ];
    checks.extend(arrivals());
    checks.extend(transactions());
    checks.extend(waits());
    checks.extend(objects());
    checks
}
