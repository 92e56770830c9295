//! Barriers where threads arrive without waiting, wide accesses, and atomic operations on vectors.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, FaultKind};

/// What each thread of one block leaves in `%r9`.
fn run(threads: u32, directives: &str, body: &str) -> Vec<u32> {
    let bench = Bench::new(&with_result(directives, body));
    let out = bench.upload(&vec![5u32; threads as usize]);
    bench.launch([1, 1, 1], [threads, 1, 1], &[out]).unwrap_or_else(|error| panic!("{error}\n{body}"));
    bench.read_u32(out, threads as usize)
}

fn with_result(directives: &str, body: &str) -> String {
    let store =
        "STORE: ld.param.u64 %rd1, [p0]; mov.u32 %r31, %tid.x; mul.wide.u32 %rd2, %r31, 4; add.u64 %rd1, %rd1, %rd2;
         st.global.u32 [%rd1], %r9; ret;";
    kernel(1, directives, &format!("mov.u32 %r1, %tid.x; {body}\n{store}"))
}

#[test]
fn a_producer_arrives_and_goes_on() {
    // Warp 0 produces 20 numbers through one word of shared memory, warp 1 sums them: barrier 1 says that the word is
    // full, barrier 2 that it is empty.
    let body = |producer_waits: &str| {
        format!(
            "mov.u32 %r2, 0; mov.u32 %r9, 0; setp.lt.u32 %p1, %r1, 32; @!%p1 bra CONSUME;
             PRODUCE: {producer_waits} mad.lo.u32 %r3, %r2, %r2, 7; st.shared.u32 [s], %r3; bar.arrive 1, 64;
             add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 20; @%p2 bra PRODUCE; bra STORE;
             CONSUME: bar.arrive 2, 64;
             NEXT: bar.sync 1, 64; ld.shared.u32 %r4, [s]; add.u32 %r9, %r9, %r4; add.u32 %r2, %r2, 1;
             setp.eq.u32 %p2, %r2, 20; @%p2 bra STORE; barrier.cta.arrive.aligned 2, 64; bra NEXT;"
        )
    };
    let shared = ".shared .align 4 .b8 s[4];";
    let sum: u32 = (0..20).map(|n| n * n + 7).sum();
    assert_eq!(run(64, shared, &body("bar.sync 2, 64;")), [vec![0; 32], vec![sum; 32]].concat());
    // one that does not wait until the word is empty overwrites it
    let bench = Bench::new(&with_result(shared, &body("")));
    let out = bench.upload(&[5u32; 64]);
    let result = bench.launch([1, 1, 1], [64, 1, 1], &[out]);
    assert!(result.is_err() || bench.read_u32(out, 64)[40] != sum);
}

#[test]
fn a_barrier_waits_for_all_who_arrive() {
    // four warps: three arrive, of which one has 8 threads, the last waits for them
    let body =
        "mov.u32 %r9, 1; setp.ge.u32 %p1, %r1, 32; @%p1 bra ARRIVE; bar.sync 3, 128; ld.shared.u32 %r9, [s]; bra STORE;
         ARRIVE: atom.shared.add.u32 %r2, [s], 1; barrier.arrive 3, 128;";
    let body = format!("setp.eq.u32 %p2, %r1, 0; @%p2 st.shared.u32 [s], 0; bar.sync 0; {body}");
    let found = run(104, ".shared .align 4 .b8 s[4];", &body);
    assert_eq!((&found[..32], &found[32..]), (&[72u32; 32][..], &[1u32; 72][..]));
    // two of the three: the one that waits waits for ever
    let bench = Bench::new(&with_result(
        "",
        "setp.ge.u32 %p1, %r1, 64; @%p1 bra STORE; setp.ge.u32 %p1, %r1, 32; @%p1 bra ARRIVE; bar.sync 3, 96; bra STORE;
         ARRIVE: bar.arrive 3, 96;",
    ));
    let out = bench.upload(&[5u32; 96]);
    let kind = bench.fault(1, 96, &[out]).kind;
    assert_eq!(kind, FaultKind::BarrierDivergence { barrier: 3, arrived: 64, expected: 96 });
}

#[test]
fn accesses_of_32_bytes() {
    let numbers: Vec<u32> = (0..512u32).map(|n| n.wrapping_mul(0x0101_0101)).collect();
    let copy = |load: &str, store: &str, registers: &str| {
        let body = format!(
            "mov.u32 %r30, %tid.x; mul.wide.u32 %rd20, %r30, 32; ld.param.u64 %rd21, [p0]; ld.param.u64 %rd22, [p1];
             add.u64 %rd21, %rd21, %rd20; add.u64 %rd22, %rd22, %rd20; createpolicy.fractional.L2::evict_first.b64 %rd23, 0f3F800000;
             {load} {{{registers}}}, [%rd21+32]{}; {store} [%rd22], {{{registers}}}; ret;",
            if load.contains("cache_hint") { ", %rd23" } else { "" }
        );
        let bench = Bench::new(&kernel(2, "", &body));
        let (from, to) = (bench.upload(&numbers), bench.upload(&[9u32; 256]));
        bench.launch([1, 1, 1], [32, 1, 1], &[from, to]).unwrap();
        assert_eq!(bench.read_u32(to, 256), numbers[8..264], "{load}");
        (bench, from, to)
    };
    let words = "%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8";
    let (bench, from, to) = copy("ld.global.v8.f32", "st.global.v8.b32", words);
    let kind = bench.fault(1, 32, &[from + 16, to]).kind;
    assert!(matches!(kind, FaultKind::Misaligned { access: Access::GlobalLoad, bytes: 32, .. }), "{kind:?}");
    let kind = bench.fault(1, 64, &[from, to]).kind;
    let FaultKind::OutOfBounds { access: Access::GlobalLoad, bytes: 32, address, .. } = kind else {
        panic!("{kind:?}")
    };
    assert_eq!(address, from + 2048);
    copy("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.b64", "st.global.v4.u64", "%rd1, %rd2, %rd3, %rd4");
    copy("ld.relaxed.gpu.global.v8.b32", "st.release.gpu.global.v8.b32", words);
    copy("ld.global.L2::cache_hint.L2::256B.v8.u32", "st.global.wt.v8.u32", words);
}

#[test]
fn atomic_operations_on_vectors() {
    // all lanes of 4 warps add to the same vector
    let sums = |instruction: &str, values: &str, start: &[u32]| {
        let body = format!("ld.param.u64 %rd1, [p0]; {values} {instruction} ret;");
        let bench = Bench::new(&kernel(1, "", &body));
        let at = bench.upload(start);
        bench.launch([2, 1, 1], [64, 1, 1], &[at]).unwrap();
        bench.read_u32(at, start.len())
    };
    let floats = "mov.b32 %r1, 0f3F800000; mov.b32 %r2, 0f40000000; mov.b32 %r3, 0fBF000000; mov.b32 %r4, 0f00000000;";
    let expected = [130.0f32, 256.0, -64.0, 7.0].map(f32::to_bits);
    let start = [2.0f32, 0.0, 0.0, 7.0].map(f32::to_bits);
    assert_eq!(sums("red.global.v4.f32.add [%rd1], {%r1, %r2, %r3, %r4};", floats, &start), expected);
    assert_eq!(sums("red.relaxed.gpu.global.add.v4.f32 [%rd1], {%r1, %r2, %r3, %r4};", floats, &start), expected);
    assert_eq!(sums("red.global.add.v2.f32 [%rd1], {%r1, %r2};", floats, &start[..2]), expected[..2]);
    // f16: 128 times 1 and 0.5; the largest of 3 and 1
    let halves = "mov.b32 %r1, 0x38003c00; mov.b32 %r2, 0x3c004200; cvt.u16.u32 %rs1, %r1; mov.b16 %rs2, 0x3800;";
    assert_eq!(
        sums("red.global.v2.f16x2.add.noftz [%rd1], {%r1, %r1};", halves, &[0, 0x4000]),
        [0x5400_5800, 0x5400_5810]
    );
    assert_eq!(sums("red.global.v2.f16.add.noftz [%rd1], {%rs1, %rs2};", halves, &[0]), [0x5400_5800]);
    assert_eq!(
        sums("red.global.max.noftz.v2.f16x2 [%rd1], {%r2, %r1};", halves, &[0x4400_0000, 0xbc00_bc00]),
        [0x4400_4200, 0x3800_3c00]
    );
    // bf16: 128 times 1 and 2; the least
    let brain = "mov.b32 %r1, 0x40003f80; mov.b32 %r2, 0x3f80c000; cvt.u16.u32 %rs1, %r1;";
    assert_eq!(sums("red.global.v2.bf16x2.add.noftz [%rd1], {%r1, %r1};", brain, &[0, 0]), [0x4380_4300; 2]);
    assert_eq!(
        sums("red.global.v2.bf16x2.min.noftz [%rd1], {%r2, %r1};", brain, &[0, 0x4100_4100]),
        [0x0000_c000, 0x4000_3f80]
    );
    assert_eq!(sums("red.global.v2.bf16.add.noftz [%rd1], {%rs1, %rs1};", brain, &[0]), [0x4300_4300]);
    // the old values, one by one
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r30, %tid.x; mul.wide.u32 %rd2, %r30, 8; mov.b32 %r1, 0f3F800000; mov.b32 %r2, 0f40000000;
         atom.global.v2.f32.add {%r3, %r4}, [%rd1], {%r1, %r2}; add.u64 %rd2, %rd1, %rd2; st.global.v2.u32 [%rd2+8], {%r3, %r4}; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let at = bench.upload(&[0u32; 66]);
    bench.launch([1, 1, 1], [32, 1, 1], &[at]).unwrap();
    let words: Vec<f32> = bench.read_u32(at, 66).into_iter().map(f32::from_bits).collect();
    assert_eq!((words[0], words[1]), (32.0, 64.0));
    let mut olds: Vec<f32> = words[2..]
        .chunks(2)
        .map(|pair| {
            assert_eq!(pair[1], 2.0 * pair[0]);
            pair[0]
        })
        .collect();
    olds.sort_by(f32::total_cmp);
    assert_eq!(olds, (0..32).map(|n| n as f32).collect::<Vec<_>>());
    // misaligned
    let bench =
        Bench::new(&kernel(1, "", "ld.param.u64 %rd1, [p0]; red.global.v4.f32.add [%rd1], {%r1, %r1, %r1, %r1};"));
    let at = bench.upload(&[0u32; 8]);
    assert!(matches!(
        bench.fault(1, 1, &[at + 8]).kind,
        FaultKind::Misaligned { access: Access::GlobalAtomic, bytes: 16, .. }
    ));
}
