//! Lanes, warps, blocks and grids: divergence, barriers, memory, and the faults of each.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, Device, FaultKind, LaunchError, Nearest};

/// Stores `%r9` of every thread of a one-dimensional grid to the first parameter.
const STORE: &str = "ld.param.u64 %rd1, [p0]; mov.u32 %r29, %ctaid.x; mov.u32 %r30, %ntid.x; mov.u32 %r31, %tid.x;
    mad.lo.s32 %r29, %r29, %r30, %r31; mul.wide.u32 %rd2, %r29, 4; add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r9;";

/// What each thread of one block stores.
fn run(threads: u32, body: &str) -> Vec<u32> {
    let bench = Bench::new(&kernel(1, "", &format!("{body}\n{STORE}\nret;")));
    let out = bench.upload(&vec![0u32; threads as usize]);
    bench.launch([1, 1, 1], [threads, 1, 1], &[out]).unwrap();
    bench.read_u32(out, threads as usize)
}

fn fault(threads: u32, body: &str) -> FaultKind {
    let bench = Bench::new(&kernel(1, "", body));
    let out = bench.upload(&vec![0u32; threads as usize]);
    bench.fault(1, threads, &[out]).kind
}

#[test]
fn loops_of_different_length_meet_again() {
    // Each lane runs its own number of rounds; after the loop all shuffle together.
    let found = run(
        64,
        "mov.u32 %r1, %tid.x; mov.u32 %r2, 0; mov.u32 %r3, 0;
         LOOP: setp.ge.u32 %p1, %r2, %r1; @%p1 bra DONE;
         add.u32 %r3, %r3, %r2; add.u32 %r2, %r2, 1; bra.uni LOOP;
         DONE: shfl.sync.bfly.b32 %r9, %r3, 1, 31, -1;",
    );
    let sum = |n: u32| n * n.saturating_sub(1) / 2;
    assert_eq!(found, (0..64).map(|n| sum(n ^ 1)).collect::<Vec<_>>());
}

#[test]
fn shuffles_on_both_sides_of_a_branch_are_one() {
    // nvcc keeps two instructions; they execute together because form and mask are the same.
    let found = run(
        32,
        "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 0; mul.lo.u32 %r3, %r1, 10;
         @%p1 bra EVEN;
         shfl.sync.bfly.b32 %r9|%p2, %r3, 1, 31, -1; add.u32 %r9, %r9, 1000; bra JOIN;
         EVEN: shfl.sync.bfly.b32 %r9|%p2, %r3, 1, 31, -1;
         JOIN:",
    );
    let expected = (0..32).map(|n| if n % 2 == 0 { (n ^ 1) * 10 } else { (n ^ 1) * 10 + 1000 });
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn a_subtraction_that_borrows_nothing_sets_the_carry() {
    // The quotient of 128-bit integers, as nvcc makes it, reads the flag of a subtraction with an addition.
    let flag = |first: &str, then: &str| run(32, &format!("mov.u32 %r1, %tid.x; {first} {then}"));
    let expected = |of: fn(u32) -> u32| (0..32).map(of).collect::<Vec<_>>();
    assert_eq!(flag("sub.cc.u32 %r2, %r1, 9;", "addc.u32 %r9, 0, 0;"), expected(|n| u32::from(n >= 9)));
    let wide = "mov.u64 %rd5, 9; cvt.u64.u32 %rd6, %r1; sub.cc.u64 %rd7, %rd6, %rd5;";
    assert_eq!(flag(wide, "addc.u32 %r9, 0, 0;"), expected(|n| u32::from(n >= 9)));
    assert_eq!(flag("add.cc.u32 %r2, %r1, -9;", "subc.u32 %r9, 5, 0;"), expected(|n| 4 + u32::from(n >= 9)));
    let chain = "sub.cc.u32 %r2, %r1, 9; subc.cc.u32 %r3, 9, %r1;";
    assert_eq!(flag(chain, "addc.u32 %r9, 0, 0;"), expected(|n| u32::from(9 >= n + u32::from(n < 9))));
}

#[test]
fn barriers_reduce_predicates() {
    // 80 threads of three warps; the last ones wait at another instruction of the same form
    let body = |reduction: &str| {
        format!(
            "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 70; mov.u32 %r9, 0; setp.ge.u32 %p2, %r1, 64; @%p2 bra LAST;
             {reduction} bra.uni JOIN; LAST: {reduction} JOIN:"
        )
    };
    assert_eq!(run(80, &body("bar.red.popc.u32 %r9, 0, %p1;")), vec![70; 80]);
    assert_eq!(run(80, &body("bar.red.popc.u32 %r9, 0, !%p1;")), vec![10; 80]);
    for (operation, negated, expected) in [("and", "", 2), ("or", "", 1), ("and", "!", 2), ("or", "!", 1)] {
        let reduction = format!("bar.red.{operation}.pred %p3, 0, {negated}%p1; selp.u32 %r9, 1, 2, %p3;");
        assert_eq!(run(80, &body(&reduction)), vec![expected; 80], "{reduction}");
    }
    assert_eq!(run(64, &body("bar.red.and.pred %p3, 0, %p1; selp.u32 %r9, 1, 2, %p3;")), vec![1; 64]);
}

#[test]
fn parameters_at_computed_addresses() {
    // a struct by value: { float scale[4]; uint8_t order[4]; uint64_t out; }, indexed by the thread
    let ptx = kernel(0, "", "").replace("k()", "k(.param .align 8 .b8 p[32])").replace(
        "\n\n}",
        "mov.u32 %r1, %tid.x; mov.b64 %rd1, p; ld.param.u64 %rd2, [p+24]; cvt.u64.u32 %rd3, %r1;
         add.s64 %rd4, %rd1, %rd3; ld.param.u8 %r2, [%rd4+16]; mul.wide.u32 %rd5, %r2, 4; add.s64 %rd5, %rd1, %rd5;
         ld.param.u32 %r3, [%rd5]; cvta.param.u64 %rd6, %rd5; ld.u32 %r4, [%rd6]; add.u32 %r3, %r3, %r4;
         mul.wide.u32 %rd7, %r1, 4; add.s64 %rd7, %rd2, %rd7; st.global.u32 [%rd7], %r3; ret;\n}",
    );
    let bench = Bench::new(&ptx);
    let out = bench.upload(&[0u32; 5]);
    let block = |out: u64| [[10u64 | 20 << 32, 30 | 40 << 32, 0x0100_0203].as_slice(), &[out]].concat();
    bench.launch([1, 1, 1], [4, 1, 1], &block(out)).unwrap();
    assert_eq!(bench.read_u32(out, 5), [80, 60, 20, 40, 0]);
    // the fifth thread takes its index from beyond the array, where there is padding; the ninth from the pointer
    let far = bench.fault(1, 32, &block(out)).kind;
    assert!(matches!(far, FaultKind::OutOfBounds { access: Access::ParameterLoad, .. }), "{far}");
}

#[test]
fn clusters_number_their_blocks() {
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mad.lo.u32 %r1, %r2, 4, %r1;
        mov.u32 %r2, %cluster_ctarank; mov.u32 %r3, %cluster_nctarank; mov.u32 %r4, %clusterid.x;
        mov.u32 %r5, %nclusterid.x; mov.u32 %r6, %cluster_ctaid.y; mov.u32 %r7, %cluster_nctaid.x;
        mul.wide.u32 %rd2, %r1, 24; add.s64 %rd2, %rd1, %rd2; st.global.v2.u32 [%rd2], {%r2, %r3};
        st.global.v2.u32 [%rd2+8], {%r4, %r5}; st.global.v2.u32 [%rd2+16], {%r6, %r7}; ret;";
    let run = |directives: &str, blocks: [u32; 3]| {
        let bench =
            Bench::new(&kernel(1, "", body).replace("k(.param .u64 p0)", &format!("k(.param .u64 p0){directives}")));
        let out = bench.upload(&[0u32; 48]);
        bench.launch(blocks, [1, 1, 1], &[out]).map(|()| bench.read_u32(out, 48))
    };
    let expected = |x: u32, y: u32| [x % 2 + 2 * (y % 2), 4, x / 2, 2, y % 2, 2];
    let all: Vec<u32> = (0..8).flat_map(|n| expected(n % 4, n / 4)).collect();
    let directives = ".explicitcluster .reqnctapercluster 2, 2, 1 .maxclusterrank 8";
    assert_eq!(run(directives, [4, 2, 1]), Ok(all));
    let alone: Vec<u32> = (0..8).flat_map(|n| [0, 1, n % 4, 4, 0, 1]).collect();
    assert_eq!(run("", [4, 2, 1]), Ok(alone));
    // a cluster that is not whole
    let refused = LaunchError::Dimensions { blocks: [4, 1, 1], threads: [1, 1, 1] };
    assert_eq!(run(directives, [4, 1, 1]), Err(refused));
}

#[test]
fn threads_that_have_ended_are_not_waited_for() {
    // A whole warp and half of another end early; the barrier is complete without them.
    let bench = Bench::new(&kernel(
        1,
        "",
        &format!(
            ".shared .align 4 .b8 s[4]; mov.u32 %r1, %tid.x; setp.ge.u32 %p1, %r1, 48; @%p1 exit;
             setp.eq.u32 %p2, %r1, 40; @%p2 st.shared.u32 [s], %r1; bar.sync 0; ld.shared.u32 %r9, [s]; {STORE} ret;"
        ),
    ));
    let out = bench.upload(&[1u32; 96]);
    bench.launch([1, 1, 1], [96, 1, 1], &[out]).unwrap();
    assert_eq!(bench.read_u32(out, 96), [vec![40; 48], vec![1; 48]].concat());
}

#[test]
fn a_lane_may_wait_for_another() {
    // Lane 0 spins until lane 1, which stands behind the loop, has stored; then warps do the same.
    for (threads, setter) in [(2, 1), (64, 63)] {
        let found = run(
            threads,
            &format!(
                ".shared .align 4 .b8 flag[4]; mov.u32 %r1, %tid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra INIT;
                 mov.u32 %r2, 0; st.shared.u32 [flag], %r2; INIT: bar.sync 0;
                 setp.ne.u32 %p1, %r1, 0; @%p1 bra SET;
                 SPIN: ld.volatile.shared.u32 %r9, [flag]; setp.eq.u32 %p2, %r9, 0; @%p2 bra SPIN; bra.uni DONE;
                 SET: mov.u32 %r9, 9; setp.ne.u32 %p3, %r1, {setter}; @%p3 bra DONE; st.volatile.shared.u32 [flag], 77;
                 DONE:"
            ),
        );
        assert_eq!(found[0], 77);
        assert!(found[1..].iter().all(|value| *value == 9));
    }
}

#[test]
fn barriers_have_numbers_and_thread_counts() {
    // Two warps meet at barrier 1, the third passes by; then all meet at barrier 0.
    let found = run(
        96,
        ".shared .align 4 .b8 s[4]; mov.u32 %r1, %tid.x; setp.ge.u32 %p1, %r1, 64; mov.u32 %r9, 5; @%p1 bra JOIN;
         setp.eq.u32 %p2, %r1, 63; @%p2 st.shared.u32 [s], 6; bar.sync 1, 64; ld.shared.u32 %r9, [s];
         JOIN: bar.sync 0;",
    );
    assert_eq!(found, [vec![6; 64], vec![5; 32]].concat());
}

#[test]
fn every_space_and_vector() {
    let bench = Bench::new(&kernel(
        1,
        ".const .align 16 .b8 table[16] = {1,2,3,4,255};\n.global .align 4 .u32 counter = 41;\n\
         .extern .shared .align 16 .b8 dynamic[];",
        ".local .align 16 .b8 stack[32]; .shared .align 8 .b8 fixed[8];
         ld.param.u64 %rd1, [p0];
         ld.const.v4.u8 {%rs1, %rs2, %rs3, %rs4}, [table]; ld.const.s8 %r1, [table+4]; ld.global.u32 %r2, [counter];
         st.local.v2.u32 [stack+16], {%r1, %r2}; ld.local.v2.u32 {_, %r3}, [stack+16];
         mov.u64 %rd2, stack; cvta.local.u64 %rd3, %rd2; ld.s32 %rd4, [%rd3+16];
         mov.u64 %rd5, dynamic; cvta.shared.u64 %rd6, %rd5; st.u64 [%rd6+8], %rd4; ld.shared.u64 %rd7, [dynamic+8];
         cvta.to.shared.u64 %rd8, %rd6; sub.s64 %rd9, %rd8, %rd5;
         mov.b32 %r4, {%rs1, %rs4}; mov.b64 {%r5, %r6}, %rd7; mov.u32 %r7, fixed; mov.u32 %r8, %dynamic_smem_size;
         st.global.v4.u32 [%rd1], {%r4, %r5, %r6, %r3}; cvt.u32.u64 %r10, %rd9;
         st.global.v4.u32 [%rd1+16], {%r10, %r7, %r8, %r1}; ret;",
    ));
    let out = bench.upload(&[0u32; 8]);
    let parameters = out.to_le_bytes();
    let launch = warpwright_emulator::Launch {
        blocks: [1, 1, 1],
        threads: [1, 1, 1],
        dynamic_shared: 64,
        parameters: &parameters,
    };
    bench.device.launch(&bench.module, "k", &launch).unwrap();
    assert_eq!(bench.read_u32(out, 8), [0x0004_0001, u32::MAX, u32::MAX, 41, 0, 0, 64, u32::MAX]);
}

#[test]
fn accesses_out_of_bounds_are_reported_with_their_place() {
    let bench =
        Bench::new(&kernel(1, ".file 7 \"kernels/k.cu\"", &format!("mov.u32 %r9, 1;\n.loc 7 12 3\n{STORE}\nret;")));
    let out = bench.upload(&[0u32; 33]);
    let fault = bench.fault(2, 32, &[out]);
    let nearest = Some(Nearest { base: out, size: 132, freed: false });
    let address = out + 132;
    assert_eq!(fault.kind, FaultKind::OutOfBounds { access: Access::GlobalStore, address, bytes: 4, nearest });
    assert_eq!((fault.block, fault.thread), ([1, 0, 0], [1, 0, 0]));
    assert_eq!(
        (fault.instruction.as_str(), fault.source.clone()),
        ("st.global.u32", Some(("kernels/k.cu".into(), 12)))
    );
    let shown = fault.to_string();
    assert!(
        shown.contains("global store of 4 bytes") && shown.contains("4 bytes past the end of the 132 bytes"),
        "{shown}"
    );
    assert!(shown.contains("kernels/k.cu:12") && shown.contains("in kernel k"), "{shown}");

    bench.device.free(out).unwrap();
    let freed = bench.fault(1, 1, &[out]).kind;
    assert!(freed.to_string().contains("in memory that was freed"), "{freed}");
    assert!(matches!(bench.fault(1, 1, &[0]).kind, FaultKind::OutOfBounds { nearest: None, .. }));
    let small = bench.upload(&[0u8; 8]);
    let misaligned = FaultKind::Misaligned { access: Access::GlobalStore, address: small + 2, bytes: 4 };
    assert_eq!(bench.fault(1, 1, &[small + 2]).kind, misaligned);
}

#[test]
fn other_faults() {
    let shared = fault(1, ".shared .align 4 .b8 s[8]; ld.shared.u32 %r1, [s+8]; ret;");
    assert!(matches!(shared, FaultKind::OutOfBounds { access: Access::SharedLoad, address: 8, .. }), "{shared}");
    let local = fault(1, ".local .align 4 .b8 s[8]; st.local.u32 [s+32], 1; ret;");
    assert!(matches!(local, FaultKind::OutOfBounds { access: Access::LocalStore, .. }), "{local}");
    assert_eq!(fault(1, "trap;"), FaultKind::Trap);
    // half of the threads wait at a barrier that the others never reach
    let body = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 32; @%p1 bra ONE; bar.sync 0; ret; ONE: bar.sync 1; ret;";
    assert_eq!(fault(64, body), FaultKind::BarrierDivergence { barrier: 1, arrived: 32, expected: 64 });
    assert_eq!(fault(1, "bar.sync 16; ret;"), FaultKind::BarrierNumber);
    let from_outside = "mov.u32 %r1, %tid.x; setp.ge.u32 %p1, %r1, 16; @%p1 bra JOIN;
        shfl.sync.bfly.b32 %r2, %r1, 16, 31, 0xffff; JOIN: ret;";
    assert_eq!(fault(32, from_outside), FaultKind::UndefinedShuffle { lane: 16 });
    assert_eq!(fault(32, "bar.warp.sync 0xffff; ret;"), FaultKind::NotAMember { mask: 0xffff });
    let never = "mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 3; @%p1 bra ONE; bar.warp.sync -1; ret;
        ONE: vote.sync.any.pred %p2, %p1, -1; ret;";
    assert_eq!(fault(32, never), FaultKind::WarpDeadlock { mask: u32::MAX });
}

#[test]
fn launches_are_checked() {
    let bench = Bench::new(
        &kernel(1, "", "ret;")
            .replace(".visible .entry k(.param .u64 p0)", ".visible .entry k(.param .u64 p0) .reqntid 32, 2, 1"),
    );
    let launch = |blocks, threads| bench.launch(blocks, threads, &[0]);
    assert_eq!(launch([1, 1, 1], [32, 2, 1]), Ok(()));
    assert_eq!(launch([1, 1, 1], [64, 1, 1]), Err(LaunchError::Block([64, 1, 1])));
    for (blocks, threads) in [([0, 1, 1], [32, 2, 1]), ([1, 65536, 1], [32, 2, 1]), ([1, 1, 1], [1024, 2, 1])] {
        assert_eq!(launch(blocks, threads), Err(LaunchError::Dimensions { blocks, threads }));
    }
    let error = bench.launch([1, 1, 1], [32, 2, 1], &[]).unwrap_err();
    assert_eq!(error, LaunchError::Parameters { expected: 8, found: 0 });
    let launch = warpwright_emulator::Launch { blocks: [1; 3], threads: [1; 3], dynamic_shared: 0, parameters: &[] };
    let error = bench.device.launch(&bench.module, "other", &launch).unwrap_err();
    assert_eq!(error, LaunchError::NoKernel("other".to_owned()));
    assert_eq!(bench.module.parameters("k").map(<[_]>::len), Some(1));
}

#[test]
fn what_is_not_supported_is_an_error_when_it_is_loaded() {
    let device = warpwright_emulator::Device::new(1 << 20, 1);
    let line = 1 + kernel(0, "", "").lines().position(|line| line.contains(".f64")).unwrap() as u32 + 1;
    let cases = [
        ("frobnicate.u32 %r1, %r2;", "the instruction `frobnicate.u32` is not supported"),
        ("tcgen05.wait::ld.sync.aligned;", "the instruction `tcgen05.wait::ld.sync.aligned` is not supported"),
        ("add.u32 %r1, %rd1, 1;", "expected a 32-bit (or narrower) operand"),
        ("add.u64 %rd1, %r1, 1;", "expected a 64-bit operand"),
        ("add.u32 %p1, %r1, 1;", "expected a 32-bit (or narrower) register to write"),
        ("add.u32 5, %r1, 1;", "expected a 32-bit (or narrower) register to write"),
        ("add.u32 %r1, %r2;", "takes 3 operands, not 2"),
        ("mov.u32 %r40, 1;", "register to write"),
        ("mov.u32 %r1, %envreg40;", "`%envreg40` is not declared"),
        ("bra NOWHERE;", "the label `NOWHERE` is not defined"),
        ("ld.global.u32 %r1, [missing];", "`missing` is not defined"),
        ("ld.param.u64 %rd1, [p0+8];", "`p0` is not defined"),
        ("ld.shared.v4.u64 {%rd1,%rd2,%rd3,%rd4}, [%r5];", "is not supported"),
        ("ld.global.v2.u32 %r1, [%rd5];", "accesses 2 values, not 1"),
        ("st.const.u32 [%rd1], %r1;", "the instruction `st.const.u32` is not supported"),
        ("shfl.sync.left.b32 %r1, %r2, 1, 31, -1;", "the instruction `shfl.sync.left.b32` is not supported"),
    ];
    for (body, message) in cases {
        let Err(error) = device.load(&kernel(0, "", body)) else { panic!("{body} was taken") };
        assert!(error.message.contains(message), "{body}: {error}");
        assert_eq!(error.line, line, "{body}: {error}");
    }
}

#[test]
fn decimal_numbers() {
    let directives = ".global .align 8 .f64 table[3] = {1.5, -2e3, .25}; .const .f32 narrow[2] = {0.1, -1.};";
    let body = "ld.param.u64 %rd1, [p0]; mov.f32 %f1, 0.1; st.global.f32 [%rd1], %f1; add.f32 %f2, %f1, -1.5e+1;
        st.global.f32 [%rd1+4], %f2; mov.f64 %fd1, 0.1; st.global.f64 [%rd1+8], %fd1; cvt.rn.f32.f64 %f3, 1e-3;
        st.global.f32 [%rd1+16], %f3; setp.lt.f32 %p1, %f1, .5; selp.f32 %f4, 2., 3.0, %p1;
        st.global.v2.f32 [%rd1+24], {%f4, 4.25}; ld.global.f64 %fd2, [table+8]; st.global.f64 [%rd1+32], %fd2;
        ld.global.f64 %fd3, [table+16]; st.global.f64 [%rd1+40], %fd3; ld.const.f32 %f5, [narrow]; ld.const.f32 %f6, [narrow+4];
        st.global.f32 [%rd1+48], %f5; st.global.f32 [%rd1+52], %f6; ret;";
    let bench = Bench::new(&kernel(1, directives, body));
    let out = bench.upload(&[0xdead_beef_u32; 14]);
    bench.launch([1, 1, 1], [1, 1, 1], &[out]).unwrap();
    let (words, longs) = (bench.read_u32(out, 14), bench.read_u64(out, 7));
    for (place, expected) in [(0, 0.1), (1, 0.1 - 15.0), (4, 0.001), (6, 2.0), (7, 4.25), (12, 0.1), (13, -1.0f32)] {
        assert_eq!(words[place], f32::to_bits(expected), "word {place}");
    }
    for (place, expected) in [(1, 0.1), (4, -2000.0), (5, 0.25f64)] {
        assert_eq!(longs[place], expected.to_bits(), "number {place}");
    }
    // where no number of that kind is expected
    for body in ["mov.u32 %r1, 1.0;", "add.s64 %rd1, %rd1, 1e3;", "ld.global.u32 %r1, [%rd1+.5];"] {
        assert!(Device::new(1 << 20, 1).load(&kernel(0, "", body)).is_err(), "{body}");
    }
    for directive in [".global .u32 x = 1.0;", ".global .b64 x = -.5;"] {
        assert!(Device::new(1 << 20, 1).load(&kernel(0, directive, "ret;")).is_err(), "{directive}");
    }
}
