//! Clusters: the shared memory of other blocks, the barrier of the cluster, and what is wrong with their use.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Access, FaultKind, Options};

use super::Check;
use super::common::{Bench, kernel};

const CHECKS: Checks = Checks { initialised: true, races: true, ..Checks::NONE };
const BARRIER: &str = "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;";

/// A kernel for clusters of four blocks, with 256 bytes of shared memory `s`. `%r1` is the thread, `%r2` the address of its
/// word, `%r3` the rank of the block, `%r4` the number of the block, `%rd1` is `p0`.
fn ptx(body: &str) -> String {
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; shl.b32 %r5, %r1, 2; add.u32 %r2, %r2, %r5; mov.u32 %r3, %cluster_ctarank;
         mov.u32 %r4, %ctaid.x; ld.param.u64 %rd1, [p0]; {body} ret;"
    );
    let text = kernel(1, ".shared .align 16 .b8 s[256];", &text);
    text.replace(".target sm_75", ".target sm_90").replace("\n{\n", "\n.reqnctapercluster 4, 1, 1\n{\n")
}

fn bench(body: &str) -> Bench {
    Bench::checked(&ptx(body), CHECKS)
}

/// Each thread stores its number and its block's in shared memory; loads it from the next block of the cluster; and the
/// result goes to `p0`.
fn ring(load: &str) -> String {
    format!(
        "shl.b32 %r6, %r4, 8; add.u32 %r6, %r6, %r1; st.shared.u32 [%r2], %r6; {BARRIER}
         add.u32 %r7, %r3, 1; and.b32 %r7, %r7, 3; {load}
         {BARRIER}
         mov.u32 %r8, %ntid.x; mad.lo.u32 %r9, %r4, %r8, %r1; mul.wide.u32 %rd2, %r9, 4; add.u64 %rd2, %rd1, %rd2;
         st.global.u32 [%rd2], %r10;"
    )
}

fn blocks_read_the_shared_memory_of_others() {
    let ways = [
        "mapa.shared::cluster.u32 %r11, %r2, %r7; ld.shared::cluster.u32 %r10, [%r11];",
        "cvt.u64.u32 %rd5, %r2; mapa.shared::cluster.u64 %rd6, %rd5, %r7; ld.shared::cluster.u32 %r10, [%rd6];",
        "cvt.u64.u32 %rd5, %r2; cvta.shared.u64 %rd5, %rd5; mapa.u64 %rd6, %rd5, %r7; ld.u32 %r10, [%rd6];",
        "mapa.shared::cluster.u32 %r11, %r2, %r7; cvt.u64.u32 %rd5, %r11; cvta.shared::cluster.u64 %rd5, %rd5;
         ld.relaxed.cluster.u32 %r10, [%rd5];",
        "mapa.shared::cluster.u32 %r11, %r2, %r7; mov.u32 %r12, 0; atom.relaxed.cluster.shared::cluster.add.u32 %r10, [%r11], %r12;",
    ];
    for load in ways {
        let bench = bench(&ring(load));
        for threads in [1, 33, 64] {
            let out = bench.upload(&vec![7u32; 12 * threads as usize]);
            bench.launch([12, 1, 1], [threads, 1, 1], &[out]).unwrap_or_else(|error| panic!("{load}: {error}"));
            for (n, found) in bench.read_u32(out, 12 * threads as usize).into_iter().enumerate() {
                let (block, thread) = (n as u32 / threads, n as u32 % threads);
                let next = block / 4 * 4 + (block + 1) % 4;
                assert_eq!(found, next << 8 | thread, "{load}, block {block}, thread {thread}");
            }
        }
    }
}

fn the_order_of_blocks_changes_nothing() {
    let bench = bench(&ring("mapa.shared::cluster.u32 %r11, %r2, %r7; ld.shared::cluster.u32 %r10, [%r11];"));
    for seed in 0..20 {
        let out = bench.upload(&[7u32; 8 * 40]);
        let options = Options { schedule: Some(seed), ..Options::default() };
        let statistics = bench.launch_with([8, 1, 1], [40, 1, 1], &[out], &options).unwrap();
        assert_eq!(statistics.blocks, 8);
        for (n, found) in bench.read_u32(out, 8 * 40).into_iter().enumerate() {
            let (block, thread) = (n as u32 / 40, n as u32 % 40);
            assert_eq!(found, (block / 4 * 4 + (block + 1) % 4) << 8 | thread);
        }
    }
}

fn a_sample_runs_whole_clusters() {
    let bench = bench(&ring("mapa.shared::cluster.u32 %r11, %r2, %r7; ld.shared::cluster.u32 %r10, [%r11];"));
    let out = bench.upload(&[7u32; 12 * 32]);
    let options = Options { blocks: Some(&[6, 7, 99, 5]), ..Options::default() };
    let statistics = bench.launch_with([12, 1, 1], [32, 1, 1], &[out], &options).unwrap();
    assert_eq!(statistics.blocks, 4);
    let found = bench.read_u32(out, 12 * 32);
    assert!(found[..4 * 32].iter().chain(&found[8 * 32..]).all(|word| *word == 7));
    assert_eq!(found[4 * 32], 5 << 8);
}

fn addresses_tell_their_block() {
    let body = "add.u32 %r7, %r3, 1; and.b32 %r7, %r7, 3; mapa.shared::cluster.u32 %r11, %r2, %r7;
         getctarank.shared::cluster.u32 %r12, %r11; getctarank.shared::cluster.u32 %r13, %r2;
         cvt.u64.u32 %rd5, %r11; getctarank.shared::cluster.u64 %r17, %rd5;
         cvta.shared::cluster.u64 %rd5, %rd5; getctarank.u64 %r14, %rd5; setp.ne.u32 %p1, %r17, %r12; @%p1 trap;
         isspacep.shared::cluster %p1, %rd5; selp.u32 %r15, 1, 0, %p1; isspacep.shared::cta %p1, %rd5; @%p1 add.u32 %r15, %r15, 2;
         cvt.u64.u32 %rd6, %r2; cvta.shared.u64 %rd6, %rd6; isspacep.shared %p1, %rd6; @%p1 add.u32 %r15, %r15, 4;
         isspacep.shared::cluster %p1, %rd6; @%p1 add.u32 %r15, %r15, 8; mov.u32 %r16, %is_explicit_cluster;
         mul.wide.u32 %rd2, %r4, 20; add.u64 %rd2, %rd1, %rd2; st.global.u32 [%rd2], %r12; st.global.u32 [%rd2+4], %r13;
         st.global.u32 [%rd2+8], %r14; st.global.u32 [%rd2+12], %r15; st.global.u32 [%rd2+16], %r16;";
    let bench = bench(body);
    let out = bench.upload(&[7u32; 20]);
    bench.launch([4, 1, 1], [1, 1, 1], &[out]).unwrap();
    for (rank, found) in (0..).zip(bench.read_u32(out, 20).chunks_exact(5)) {
        let next = (rank + 1) % 4;
        assert_eq!(found, [next, rank, next, 13, 1]);
    }
}

fn fault(body: &str) -> FaultKind {
    let bench = bench(body);
    let out = bench.upload(&[7u32; 4096]);
    bench.fault(4, 64, &[out]).kind.clone()
}

fn what_is_not_ordered_races() {
    let load = "mapa.shared::cluster.u32 %r11, %r2, %r7; ld.shared::cluster.u32 %r10, [%r11];";
    let next = "add.u32 %r7, %r3, 1; and.b32 %r7, %r7, 3;";
    // no barrier before the load: it may come before the store, or after it
    let kind = fault(&format!("st.shared.u32 [%r2], %r1; {next} {load} {BARRIER}"));
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::Uninitialised { .. }), "{kind:?}");
    // one of the block alone
    let kind = fault(&format!("st.shared.u32 [%r2], %r1; bar.sync 0; {next} {load} {BARRIER}"));
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::Uninitialised { .. }), "{kind:?}");
    // an arrival that releases nothing
    let relaxed = "barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.acquire.aligned;";
    let kind = fault(&format!("st.shared.u32 [%r2], %r1; {relaxed} {next} {load} {BARRIER}"));
    assert!(matches!(kind, FaultKind::Race { access: Access::SharedLoad, other_writes: true, .. }), "{kind:?}");
    // a store after the arrival
    let late = "barrier.cluster.arrive; st.shared.u32 [%r2], %r1; barrier.cluster.wait;";
    let kind = fault(&format!("{late} {next} {load} {BARRIER}"));
    assert!(matches!(kind, FaultKind::Race { access: Access::SharedLoad, other_writes: true, .. }), "{kind:?}");
    // a fence before an arrival that releases nothing is enough
    let fenced = "fence.acq_rel.cluster; barrier.cluster.arrive.relaxed; barrier.cluster.wait;";
    let good = bench(&format!("st.shared.u32 [%r2], %r1; {fenced} {next} {load} {BARRIER}"));
    good.launch([4, 1, 1], [64, 1, 1], &[0]).unwrap();
    // the shared memory of another block is written while its own block reads it
    let store = "mapa.shared::cluster.u32 %r11, %r2, %r7; st.shared::cluster.u32 [%r11], %r1;";
    let kind =
        fault(&format!("st.shared.u32 [%r2], %r1; {BARRIER} {next} ld.shared.u32 %r10, [%r2]; {store} {BARRIER}"));
    assert!(matches!(kind, FaultKind::Race { .. }), "{kind:?}");
    let good = bench(&format!(
        "st.shared.u32 [%r2], %r1; {BARRIER} {next} ld.shared.u32 %r10, [%r2]; {BARRIER} {store} {BARRIER} ld.shared.u32 %r10, [%r2];"
    ));
    good.launch([8, 1, 1], [64, 1, 1], &[0]).unwrap();
}

fn global_memory_is_ordered_too() {
    let exchange = |barrier: &str| {
        format!(
            "mov.u32 %r8, %ntid.x; mad.lo.u32 %r9, %r4, %r8, %r1; mul.wide.u32 %rd2, %r9, 4; add.u64 %rd2, %rd1, %rd2;
             st.global.u32 [%rd2], %r9; {barrier} xor.b32 %r5, %r4, 1; mad.lo.u32 %r9, %r5, %r8, %r1;
             mul.wide.u32 %rd2, %r9, 4; add.u64 %rd2, %rd1, %rd2; ld.global.u32 %r10, [%rd2];"
        )
    };
    let kind = fault(&exchange("bar.sync 0;"));
    assert!(matches!(kind, FaultKind::Race { .. }), "{kind:?}");
    let good = bench(&exchange(BARRIER));
    let out = good.upload(&[7u32; 4096]);
    good.launch([8, 1, 1], [64, 1, 1], &[out]).unwrap();
}

fn mistakes_are_told() {
    let kind = fault("barrier.cluster.wait;");
    assert_eq!(kind, FaultKind::ClusterBarrierOrder { waits: true });
    let kind = fault("barrier.cluster.arrive; barrier.cluster.arrive;");
    assert_eq!(kind, FaultKind::ClusterBarrierOrder { waits: false });
    let kind = fault("mov.u32 %r7, 4; mapa.shared::cluster.u32 %r11, %r2, %r7;");
    assert_eq!(kind, FaultKind::ClusterRank { rank: 4, blocks: 4 });
    // one thread waits at a barrier of its block, where nobody else comes
    let kind = fault(&format!("setp.eq.u32 %p1, %r1, 5; @%p1 bar.sync 1; {BARRIER}"));
    assert!(matches!(kind, FaultKind::ClusterBarrierDivergence { arrived: 252, expected: 256 }), "{kind:?}");
    // a block that has ended has no shared memory
    let load = format!(
        "st.shared.u32 [%r2], %r1; {BARRIER} mapa.shared::cluster.u32 %r11, %r2, 3; setp.eq.u32 %p1, %r3, 2;
         @!%p1 exit; mov.u32 %r12, 0;
         L: add.u32 %r12, %r12, 1; setp.lt.u32 %p2, %r12, 100000; @%p2 bra L; ld.shared::cluster.u32 %r10, [%r11];"
    );
    let kind = fault(&load);
    assert!(matches!(kind, FaultKind::BlockEnded { access: Access::SharedLoad, .. }), "{kind:?}");
    // past the end of another block's
    let kind = fault("mapa.shared::cluster.u32 %r11, %r2, 1; ld.shared::cluster.u32 %r10, [%r11+256];");
    assert!(matches!(kind, FaultKind::OutOfBounds { access: Access::SharedLoad, .. }), "{kind:?}");
    // a load that is for the block's own alone
    let kind = fault("mapa.shared::cluster.u32 %r11, %r2, 1; ld.shared.u32 %r10, [%r11];");
    assert!(matches!(kind, FaultKind::OutOfBounds { access: Access::SharedLoad, .. }), "{kind:?}");
}

/// The barrier as it is spelled: without the first barrier, or with one that releases nothing, the ring races.
fn spelled(arrive: &str, wait: &str, releases: bool) {
    let load = "mapa.shared::cluster.u32 %r11, %r2, %r7; ld.shared::cluster.u32 %r10, [%r11];";
    let text = ring(load).replace(BARRIER, &format!("{arrive}; {wait};"));
    let bench = bench(&text);
    let out = bench.upload(&[7u32; 8 * 40]);
    let result = bench.launch([8, 1, 1], [40, 1, 1], &[out]);
    if !releases {
        assert!(result.is_err(), "{arrive}");
        // after a fence it is enough
        let fenced = ring(load).replace(BARRIER, &format!("fence.acq_rel.cluster; {arrive}; {wait};"));
        let bench = self::bench(&fenced);
        let out = bench.upload(&[7u32; 8 * 40]);
        bench.launch([8, 1, 1], [40, 1, 1], &[out]).unwrap_or_else(|error| panic!("{arrive}: {error}"));
        return;
    }
    result.unwrap_or_else(|error| panic!("{arrive}, {wait}: {error}"));
    for (n, found) in bench.read_u32(out, 8 * 40).into_iter().enumerate() {
        let (block, thread) = (n as u32 / 40, n as u32 % 40);
        assert_eq!(found, (block / 4 * 4 + (block + 1) % 4) << 8 | thread, "{arrive}, {wait}");
    }
}

pub fn checks() -> Vec<Check> {
    let check = |forms: &[&str], run: fn()| Check {
        forms: forms.iter().map(|form| (*form).to_owned()).collect(),
        run: Box::new(run),
    };
    let mapped = ["mapa.shared::cluster.u32", "mapa.shared::cluster.u64", "mapa.u64"];
    let ranks = ["getctarank.shared::cluster.u32", "getctarank.shared::cluster.u64", "getctarank.u64"];
    let mut checks = vec![
        check(&mapped, blocks_read_the_shared_memory_of_others),
        check(&ranks, addresses_tell_their_block),
        check(&["mov.u32 r, %is_explicit_cluster"], addresses_tell_their_block),
        check(&["barrier.cluster.arrive.release.aligned"], the_order_of_blocks_changes_nothing),
        check(&["barrier.cluster.wait.acquire.aligned"], a_sample_runs_whole_clusters),
        check(&["barrier.cluster.arrive"], what_is_not_ordered_races),
        check(&["barrier.cluster.wait.acquire.aligned"], global_memory_is_ordered_too),
        check(&["barrier.cluster.arrive"], mistakes_are_told),
    ];
    for (arrive, releases) in [("", true), (".release", true), (".relaxed", false)] {
        for wait in ["", ".acquire"] {
            for aligned in ["", ".aligned"] {
                let arrive = format!("barrier.cluster.arrive{arrive}{aligned}");
                let wait = format!("barrier.cluster.wait{wait}{aligned}");
                let forms = vec![arrive.clone(), wait.clone()];
                checks.push(Check { forms, run: Box::new(move || spelled(&arrive, &wait, releases)) });
            }
        }
    }
    checks
}
