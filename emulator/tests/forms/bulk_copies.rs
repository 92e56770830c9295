//! `cp.async.bulk`, `cp.reduce.async.bulk`, `st.async` and `red.async`: what they copy, when it lands, and what is wrong.

use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Access, FaultKind, MbarrierMistake};

use super::Check;
use super::common::{Bench, kernel};

const CHECKS: Checks = Checks { initialised: true, races: true, ..Checks::NONE };

/// A kernel with 4096 bytes of shared memory `s`, which thread 0 fills with ones, and an `mbarrier` `b` for one arrival. `%r1`
/// is the thread, `%r2` the address of `s`, `%r3` that of the barrier, `%rd1` and `%rd2` are `p0` and `p1`, `%p1` holds in
/// thread 0, `%r4` is the rank of the block.
fn ptx(body: &str, cluster: u32) -> String {
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; mov.u32 %r3, b; ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1];
         mov.u32 %r4, %cluster_ctarank; setp.eq.u32 %p1, %r1, 0; mov.u32 %r30, 0x01010101; mov.u32 %r31, 0;
         FILL: add.u32 %r29, %r2, %r31; @%p1 st.shared.u32 [%r29], %r30; add.u32 %r31, %r31, 4; setp.lt.u32 %p2, %r31, 4096;
         @%p2 bra FILL; @%p1 mbarrier.init.shared.b64 [%r3], 1; fence.mbarrier_init.release.cluster;
         barrier.cluster.arrive; barrier.cluster.wait; {body}"
    );
    let text = kernel(2, ".shared .align 128 .b8 s[4096]; .shared .align 8 .b64 b;", &text).replace("sm_75", "sm_90");
    text.replace("\n{\n", &format!("\n.reqnctapercluster {cluster}, 1, 1\n{{\n"))
}

/// Waits for the first phase.
const WAIT: &str = "W: mbarrier.try_wait.parity.shared.b64 %p3, [%r3], 0; @!%p3 bra W;";

/// Stores the words of shared memory, of each block 4096 bytes after those of the one before it, to `p1`.
const DUMP: &str =
    "barrier.cluster.arrive; barrier.cluster.wait; mul.wide.u32 %rd20, %r4, 4096; add.u64 %rd20, %rd2, %rd20;
    mov.u32 %r31, 0; DUMP: add.u32 %r29, %r2, %r31; ld.shared.u32 %r30, [%r29]; cvt.u64.u32 %rd21, %r31;
    add.u64 %rd21, %rd20, %rd21; @%p1 st.global.u32 [%rd21], %r30; add.u32 %r31, %r31, 4; setp.lt.u32 %p2, %r31, 4096;
    @%p2 bra DUMP; barrier.cluster.arrive; barrier.cluster.wait; ret;";

fn source() -> Vec<u8> {
    (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The shared memory of the blocks of a cluster at the end.
fn run(body: &str, cluster: u32) -> Vec<Vec<u8>> {
    let bench = Bench::checked(&ptx(&format!("{body} {DUMP}"), cluster), CHECKS);
    let (from, to) = (bench.upload(&source()), bench.upload(&vec![9u8; 4096 * cluster as usize]));
    bench.launch([cluster, 1, 1], [32, 1, 1], &[from, to]).unwrap_or_else(|error| panic!("{error}\n{body}"));
    let mut bytes = vec![0; 4096 * cluster as usize];
    bench.device.read(to, &mut bytes).unwrap();
    bytes.chunks_exact(4096).map(<[u8]>::to_vec).collect()
}

fn fault(body: &str, cluster: u32) -> FaultKind {
    let bench = Bench::checked(&ptx(&format!("{body} {DUMP}"), cluster), CHECKS);
    let (from, to) = (bench.upload(&source()), bench.upload(&vec![9u8; 4096 * cluster as usize]));
    bench.fault(cluster, 32, &[from, to]).kind.clone()
}

/// `shared` with `values` at a place.
fn with(mut shared: Vec<u8>, at: usize, values: &[u8]) -> Vec<u8> {
    shared[at..at + values.len()].copy_from_slice(values);
    shared
}

fn copies_from_global_memory_land_at_the_wait() {
    for (bytes, to, from) in [(16, 0, 0), (48, 64, 16), (1024, 128, 512), (4096, 0, 0)] {
        for space in ["shared::cluster", "shared::cta"] {
            let copy = format!(
                "@%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], {bytes};
                 @%p1 cp.async.bulk.{space}.global.mbarrier::complete_tx::bytes [%r2+{to}], [%rd1+{from}], {bytes}, [%r3];"
            );
            let found = run(&format!("{copy} {WAIT}"), 1);
            assert_eq!(found[0], with(vec![1; 4096], to, &source()[from..from + bytes]), "{bytes} bytes, {space}");
        }
    }
}

fn policies_change_nothing() {
    let policy = "createpolicy.fractional.L2::evict_first.b64 %rd9; cp.async.bulk.prefetch.L2.global [%rd1], 1024;
        cp.async.bulk.prefetch.L2.global.L2::cache_hint [%rd1], 1024, %rd9;";
    for space in ["shared::cluster", "shared::cta"] {
        let load = format!(
            "{policy} @%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], 16;
             @%p1 cp.async.bulk.{space}.global.mbarrier::complete_tx::bytes.L2::cache_hint [%r2], [%rd1], 16, [%r3], %rd9; {WAIT}"
        );
        assert_eq!(run(&load, 1)[0], with(vec![1; 4096], 0, &source()[..16]));
    }
    let group = "global.shared::cta.bulk_group.L2::cache_hint";
    let store = format!("{policy} @%p1 cp.async.bulk.{group} [%rd1], [%r2], 32, %rd9;");
    assert_eq!(stored(&store), with(source(), 0, &[1; 32]));
    let add = format!("{policy} @%p1 cp.reduce.async.bulk.{group}.add.u32 [%rd1], [%r2], 16, %rd9;");
    let sums = source()[..16]
        .chunks_exact(4)
        .map(|word| value(word) as u32 + 0x0101_0101)
        .flat_map(u32::to_le_bytes)
        .collect::<Vec<_>>();
    assert_eq!(stored(&add), with(source(), 0, &sums));
}

fn a_copy_that_is_not_waited_for_is_not_there() {
    let copy = "@%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], 64;
         @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1], 64, [%r3];";
    let kind = fault(copy, 1);
    assert!(matches!(kind, FaultKind::Race { access: Access::SharedLoad, other_writes: true, .. }), "{kind:?}");
    // without checks it computes with what was there
    let bench = Bench::new(&ptx(&format!("{copy} {DUMP}"), 1));
    let (from, to) = (bench.upload(&source()), bench.upload(&[9u8; 4096]));
    bench.launch([1, 1, 1], [32, 1, 1], &[from, to]).unwrap();
    assert!(bench.read_u32(to, 1024).iter().all(|word| *word == 0x0101_0101));
    // threads that do not wait are in no order with it
    let some = format!("{copy} setp.lt.u32 %p4, %r1, 32; @%p4 bra W; bra READ; {WAIT} READ: ld.shared.u32 %r9, [%r2];");
    let bench = Bench::checked(&ptx(&format!("{some} {DUMP}"), 1), CHECKS);
    let kind = bench.fault(1, 64, &[bench.upload(&source()), bench.upload(&[9u8; 4096])]).kind.clone();
    assert!(matches!(kind, FaultKind::Race { .. }), "{kind:?}");
    // too few bytes: nobody ends the phase
    let few = copy.replace("[%r3], 64;\n", "[%r3], 80;\n");
    assert_eq!(fault(&format!("{few} {WAIT}"), 1), FaultKind::EndlessWait);
}

fn copies_go_to_all_blocks_of_a_mask() {
    let body = format!(
        "@%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], 32; barrier.cluster.arrive; barrier.cluster.wait;
         setp.eq.u32 %p4, %r4, 2; and.pred %p4, %p4, %p1; mov.u16 %rs1, 11; cvt.u32.u16 %r9, %rs1;
         @%p4 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r2+16], [%rd1], 32, [%r3], %rs1;
         setp.ne.u32 %p5, %r4, 2; @%p5 bra W; bra DONE; {WAIT} DONE:"
    );
    let found = run(&body, 4);
    for (rank, found) in found.iter().enumerate() {
        let expected = if rank == 2 { vec![1; 4096] } else { with(vec![1; 4096], 16, &source()[..32]) };
        assert_eq!(*found, expected, "block {rank}");
    }
    let outside = body.replace("mov.u16 %rs1, 11;", "mov.u16 %rs1, 17;");
    assert_eq!(fault(&outside, 4), FaultKind::ClusterRank { rank: 4, blocks: 4 });
}

fn blocks_copy_to_one_another() {
    // Each block fills 64 bytes with its rank and copies them to the next block.
    let body = |copy: &str| {
        format!(
            "add.u32 %r5, %r4, 1; and.b32 %r5, %r5, 1; @%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], 64;
             shl.b32 %r6, %r1, 2; add.u32 %r6, %r6, %r2; add.u32 %r7, %r4, 16; setp.lt.u32 %p4, %r1, 16;
             @%p4 st.shared.u32 [%r6], %r7; fence.proxy.async.shared::cta; barrier.cluster.arrive; barrier.cluster.wait;
             add.u32 %r8, %r2, 1024; mapa.shared::cluster.u32 %r8, %r8, %r5; mapa.shared::cluster.u32 %r9, %r3, %r5; {copy} {WAIT}"
        )
    };
    let copied = run(
        &body("@%p1 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r8], [%r2], 64, [%r9];"),
        2,
    );
    let reduced = run(
        &body(
            "@%p1 cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32 [%r8], [%r2], 64, [%r9];",
        ),
        2,
    );
    for rank in 0..2u32 {
        let filled = |value: u32| [value; 16].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let own = with(vec![1; 4096], 0, &filled(rank + 16));
        assert_eq!(copied[rank as usize], with(own.clone(), 1024, &filled((rank ^ 1) + 16)));
        assert_eq!(reduced[rank as usize], with(own, 1024, &filled(0x0101_0101 + (rank ^ 1) + 16)));
    }
}

/// Each thread stores values of 32 or 64 bits in the other block.
fn values_go_to_the_other_block(weak: &str, vector: &str, ty: &str) {
    let long = ty.ends_with("64");
    let (count, kind) =
        (vector.strip_prefix(".v").map_or(1, |n| n.parse::<u32>().unwrap()), if long { "rd" } else { "r" });
    let per_thread = count * if long { 2 } else { 1 };
    let names: Vec<String> = (0..count).map(|n| format!("%{kind}{}", 20 + n)).collect();
    let values = if count == 1 { names[0].clone() } else { format!("{{{}}}", names.join(", ")) };
    let makes: String = (0..count)
        .map(|n| match long {
            true => format!(
                "add.u32 %r10, %r1, {}; add.u32 %r11, %r10, 100; mov.b64 %rd{}, {{%r10, %r11}};",
                n * 32,
                20 + n
            ),
            false => format!("add.u32 %r{}, %r1, {};", 20 + n, n * 32),
        })
        .collect();
    let body = format!(
        "xor.b32 %r5, %r4, 1; @%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], {};
         barrier.cluster.arrive; barrier.cluster.wait; mad.lo.u32 %r8, %r1, {}, %r2; mapa.shared::cluster.u32 %r8, %r8, %r5;
         mapa.shared::cluster.u32 %r9, %r3, %r5; {makes}
         st.async{weak}.shared::cluster.mbarrier::complete_tx::bytes{vector}.{ty} [%r8], {values}, [%r9]; {WAIT}",
        128 * per_thread,
        4 * per_thread
    );
    for found in run(&body, 2) {
        for (n, word) in found.chunks_exact(4).take(32 * per_thread as usize).enumerate() {
            let (thread, place) = (n as u32 / per_thread, n as u32 % per_thread);
            let expected = match long {
                true => thread + place / 2 * 32 + place % 2 * 100,
                false => thread + place * 32,
            };
            assert_eq!(value(word), u64::from(expected), "{weak}{vector}.{ty}");
        }
    }
}

/// What `p0` holds when a block has copied its shared memory there, by `body`.
fn stored(body: &str) -> Vec<u8> {
    let bench = Bench::checked(&ptx(&format!("{body} ret;"), 1), CHECKS);
    let to = bench.upload(&source());
    bench.launch([1, 1, 1], [32, 1, 1], &[to, 0]).unwrap_or_else(|error| panic!("{error}\n{body}"));
    let mut bytes = vec![0; 4096];
    bench.device.read(to, &mut bytes).unwrap();
    bytes
}

fn copies_to_global_memory_land_at_the_wait_or_the_end() {
    let copy = "fence.proxy.async; @%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1+64], [%r2], 128;";
    let expected = with(source(), 64, &[1; 128]);
    assert_eq!(stored(copy), expected);
    assert_eq!(stored(&format!("{copy} cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;")), expected);
    // What is changed before the source was read is copied changed; after the wait it is not.
    let change = "@%p1 st.shared.u32 [%r2], 0;";
    let late = format!("{copy} cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; {change}");
    assert_eq!(stored(&late), expected);
    let bench = Bench::new(&ptx(&format!("{copy} cp.async.bulk.commit_group; {change} ret;"), 1));
    let to = bench.upload(&source());
    bench.launch([1, 1, 1], [32, 1, 1], &[to, 0]).unwrap();
    assert_eq!(bench.read_u32(to, 17)[16], 0);
    // two groups, of which one is waited for
    let groups = format!(
        "{copy} cp.async.bulk.commit_group; {copy} cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 1; {change}"
    );
    assert_eq!(stored(&groups)[64..68], [0; 4]);
    // nobody may read the destination in between
    let bench = Bench::checked(&ptx(&format!("{copy} ld.global.u32 %r9, [%rd1+64]; ret;"), 1), CHECKS);
    let kind = bench.fault(1, 32, &[bench.upload(&source()), 0]).kind.clone();
    assert!(matches!(kind, FaultKind::Race { access: Access::GlobalLoad, other_writes: true, .. }), "{kind:?}");
}

/// A reduction of integers: its name, the bytes of an element, and what it makes of two.
type Reduction = (&'static str, usize, fn(u64, u64) -> u64);

const REDUCTIONS: [Reduction; 19] = [
    ("add.u32", 4, |a, b| (a + b) & 0xffff_ffff),
    ("add.s32", 4, |a, b| (a + b) & 0xffff_ffff),
    ("add.u64", 8, u64::wrapping_add),
    ("min.u32", 4, u64::min),
    ("max.u32", 4, u64::max),
    ("min.s32", 4, |a, b| if (a as i32) < b as i32 { a } else { b }),
    ("max.s32", 4, |a, b| if (a as i32) > b as i32 { a } else { b }),
    ("inc.u32", 4, |a, b| if a >= b { 0 } else { a + 1 }),
    ("dec.u32", 4, |a, b| if a == 0 || a > b { b } else { a - 1 }),
    ("and.b32", 4, |a, b| a & b),
    ("or.b32", 4, |a, b| a | b),
    ("xor.b32", 4, |a, b| a ^ b),
    ("and.b64", 8, |a, b| a & b),
    ("or.b64", 8, |a, b| a | b),
    ("xor.b64", 8, |a, b| a ^ b),
    ("min.u64", 8, u64::min),
    ("max.u64", 8, u64::max),
    ("min.s64", 8, |a, b| if (a as i64) < b as i64 { a } else { b }),
    ("max.s64", 8, |a, b| if (a as i64) > b as i64 { a } else { b }),
];

/// Those that there are in the shared memory of a cluster.
const IN_CLUSTERS: usize = 12;

fn value(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn reduces_into_global_memory((operation, bytes, definition): Reduction) {
    let copy = format!("@%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%rd1], [%r2], 256;");
    let found = stored(&copy);
    let shared = value(&[1; 8][..bytes]);
    for (n, (old, new)) in source().chunks_exact(bytes).zip(found.chunks_exact(bytes)).enumerate() {
        let expected = if n < 256 / bytes { definition(value(old), shared) } else { value(old) };
        assert_eq!(value(new), expected, "{operation}, element {n}");
    }
}

/// Each block reduces what global memory holds into the shared memory of the next one, all ones.
fn reduces_into_the_next_block((operation, bytes, definition): Reduction) {
    let body = format!(
        "xor.b32 %r5, %r4, 1; shl.b32 %r6, %r1, 2; add.u32 %r7, %r6, %r2; add.u32 %r7, %r7, 1024; cvt.u64.u32 %rd6, %r6;
         add.u64 %rd6, %rd1, %rd6; ld.global.u32 %r10, [%rd6]; st.shared.u32 [%r7], %r10; fence.proxy.async.shared::cta;
         @%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], 128; barrier.cluster.arrive; barrier.cluster.wait;
         mapa.shared::cluster.u32 %r8, %r2, %r5; mapa.shared::cluster.u32 %r9, %r3, %r5; add.u32 %r7, %r2, 1024;
         @%p1 cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.{operation} [%r8], [%r7], 128, [%r9];
         {WAIT}"
    );
    for found in run(&body, 2) {
        for (n, new) in found[..128].chunks_exact(bytes).enumerate() {
            let by = value(&source()[n * bytes..][..bytes]);
            assert_eq!(value(new), definition(value(&[1; 8][..bytes]), by), "{operation}, element {n}");
        }
    }
}

/// Each of 32 threads reduces a value into one word of the other block: in any order they come to the same.
fn single_values_are_reduced((operation, bytes, definition): Reduction) {
    let (register, each) = if bytes == 8 { ("%rd6", 8) } else { ("%r10", 4) };
    let body = format!(
        "xor.b32 %r5, %r4, 1; @%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], {};
         barrier.cluster.arrive; barrier.cluster.wait; mapa.shared::cluster.u32 %r9, %r3, %r5; add.u32 %r10, %r1, 7;
         cvt.u64.u32 %rd6, %r10; mapa.shared::cluster.u32 %r12, %r2, %r5;
         red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.{operation} [%r12], {register}, [%r9]; {WAIT}",
        32 * each
    );
    for found in run(&body, 2) {
        let new = value(&found[..bytes]);
        let expected = (0..32).fold(value(&[1; 8][..bytes]), |all, n| definition(all, n + 7));
        assert_eq!(new, expected, "{operation}");
    }
}

fn reductions_of_floating_point_numbers() {
    // 0x0101 is 257 * 2^-24 in f16 and (1 + 1/128) * 2^-125 in bf16; 0x01010101 is a normal f32 and twice that a normal f64.
    let reduce = |operation: &str| {
        let copy = format!("@%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%rd1], [%r2], 64;");
        let bench = Bench::checked(&ptx(&format!("{copy} ret;"), 1), CHECKS);
        let to = bench.upload(&[0x3c00_3c00u32; 16]);
        bench.launch([1, 1, 1], [32, 1, 1], &[to, 0]).unwrap();
        bench.read_u32(to, 16)
    };
    // one, in f16, plus less than half a unit in the last place
    assert_eq!(reduce("add.noftz.f16"), [0x3c00_3c00; 16]);
    assert_eq!(reduce("min.f16"), [0x0101_0101; 16]);
    assert_eq!(reduce("max.f16"), [0x3c00_3c00; 16]);
    assert_eq!(reduce("add.noftz.bf16"), [0x3c00_3c00; 16]);
    assert_eq!(reduce("min.bf16"), [0x0101_0101; 16]);
    assert_eq!(reduce("max.bf16"), [0x3c00_3c00; 16]);
    let (a, b) = (f32::from_bits(0x3c00_3c00), f32::from_bits(0x0101_0101));
    assert_eq!(reduce("add.f32"), [(a + b).to_bits(); 16]);
    let sum = f64::from_bits(0x3c00_3c00_3c00_3c00) + f64::from_bits(0x0101_0101_0101_0101);
    assert_eq!(reduce("add.f64")[..2], [sum.to_bits() as u32, (sum.to_bits() >> 32) as u32]);
}

fn mistakes_are_told() {
    let load = "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes";
    let kind = |rest: &str| {
        fault(&format!("@%p1 mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], 16; {load} {rest}; {WAIT}"), 1)
    };
    assert_eq!(kind("[%r2], [%rd1], 8, [%r3]"), FaultKind::BulkSize { bytes: 8 });
    assert!(matches!(
        kind("[%r2+8], [%rd1], 16, [%r3]"),
        FaultKind::Misaligned { access: Access::SharedStore, bytes: 16, .. }
    ));
    assert!(matches!(
        kind("[%r2], [%rd1+8], 16, [%r3]"),
        FaultKind::Misaligned { access: Access::GlobalLoad, bytes: 16, .. }
    ));
    assert!(matches!(kind("[%r2], [%rd1+4080], 32, [%r3]"), FaultKind::OutOfBounds { access: Access::GlobalLoad, .. }));
    assert!(matches!(
        kind("[%r2+4096], [%rd1], 32, [%r3]"),
        FaultKind::OutOfBounds { access: Access::SharedStore, .. }
    ));
    assert_eq!(kind("[%r2], [%rd1], 16, [%r2+32]"), FaultKind::EndlessWait);
    let nowhere = format!(
        "{load} [%r2], [%rd1], 16, [%r2+32]; W: mbarrier.try_wait.parity.shared.b64 %p3, [%r2+32], 0; @!%p3 bra W;"
    );
    let kind = fault(&nowhere, 1);
    assert!(matches!(kind, FaultKind::Mbarrier { mistake: MbarrierMistake::NotInitialised, .. }), "{kind:?}");
    let store = "@%p1 cp.async.bulk.global.shared::cta.bulk_group";
    assert!(matches!(
        fault(&format!("{store} [%rd1+4080], [%r2], 32;"), 1),
        FaultKind::OutOfBounds { access: Access::GlobalStore, .. }
    ));
    assert!(matches!(
        fault(&format!("{store} [%rd1], [%r2+4096], 32;"), 1),
        FaultKind::OutOfBounds { access: Access::SharedLoad, .. }
    ));
    assert_eq!(fault(&format!("{store} [%rd1], [%r2], 40;"), 1), FaultKind::BulkSize { bytes: 40 });
    let single = "st.async.shared::cluster.mbarrier::complete_tx::bytes.b64 [%r2+4], %rd1, [%r3];";
    assert!(matches!(fault(single, 1), FaultKind::Misaligned { access: Access::SharedStore, bytes: 8, .. }));
}

pub fn checks() -> Vec<Check> {
    let check = |forms: &[&str], run: fn()| Check {
        forms: forms.iter().map(|form| (*form).to_owned()).collect(),
        run: Box::new(run),
    };
    let load = |space: &str, rest: &str| format!("cp.async.bulk.{space}.global.mbarrier::complete_tx::bytes{rest}");
    let mut checks = vec![
        check(&[&load("shared::cluster", ""), &load("shared::cta", "")], copies_from_global_memory_land_at_the_wait),
        check(
            &[
                &load("shared::cluster", ".L2::cache_hint"),
                &load("shared::cta", ".L2::cache_hint"),
                "cp.async.bulk.prefetch.L2.global",
                "cp.async.bulk.prefetch.L2.global.L2::cache_hint",
                "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint",
                "cp.reduce.async.bulk.global.shared::cta.bulk_group.L2::cache_hint.add.u32",
            ],
            policies_change_nothing,
        ),
        check(&[&load("shared::cluster", "")], a_copy_that_is_not_waited_for_is_not_there),
        check(&[&load("shared::cluster", ".multicast::cluster")], copies_go_to_all_blocks_of_a_mask),
        check(&["cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"], blocks_copy_to_one_another),
        check(
            &[
                "cp.async.bulk.global.shared::cta.bulk_group",
                "cp.async.bulk.commit_group",
                "cp.async.bulk.wait_group",
                "cp.async.bulk.wait_group.read",
            ],
            copies_to_global_memory_land_at_the_wait_or_the_end,
        ),
        check(&["cp.async.bulk.global.shared::cta.bulk_group"], mistakes_are_told),
    ];
    let floats =
        ["add.noftz.f16", "min.f16", "max.f16", "add.noftz.bf16", "min.bf16", "max.bf16", "add.f32", "add.f64"];
    let forms = floats.map(|name| format!("cp.reduce.async.bulk.global.shared::cta.bulk_group.{name}")).to_vec();
    checks.push(Check { forms, run: Box::new(reductions_of_floating_point_numbers) });
    for (n, reduction) in REDUCTIONS.into_iter().enumerate() {
        let name = reduction.0;
        let forms = vec![format!("cp.reduce.async.bulk.global.shared::cta.bulk_group.{name}")];
        checks.push(Check { forms, run: Box::new(move || reduces_into_global_memory(reduction)) });
        if n < IN_CLUSTERS {
            let bytes = "mbarrier::complete_tx::bytes";
            let forms = vec![format!("cp.reduce.async.bulk.shared::cluster.shared::cta.{bytes}.{name}")];
            checks.push(Check { forms, run: Box::new(move || reduces_into_the_next_block(reduction)) });
            let forms = vec![format!("red.async.relaxed.cluster.shared::cluster.{bytes}.{name}")];
            checks.push(Check { forms, run: Box::new(move || single_values_are_reduced(reduction)) });
        }
    }
    for weak in ["", ".weak"] {
        for (vectors, types) in
            [(&["", ".v2", ".v4"][..], ["b32", "u32", "s32", "f32"]), (&["", ".v2"], ["b64", "u64", "s64", "f64"])]
        {
            for vector in vectors {
                for ty in types {
                    let start = format!("st.async{weak}.shared::cluster.mbarrier::complete_tx::bytes");
                    let run = move || values_go_to_the_other_block(weak, vector, ty);
                    checks.push(Check { forms: vec![format!("{start}{vector}.{ty}")], run: Box::new(run) });
                }
            }
        }
    }
    checks
}
