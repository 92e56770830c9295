//! Atomic operations between threads: none is lost, what was stored before a released flag is seen, and faults are named.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, FaultKind};

#[test]
fn none_is_lost() {
    // every thread of many blocks adds to one counter, counts in a histogram, and raises a maximum by compare-and-swap
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r3, %r1, 96, %r2;
        red.global.add.u32 [%rd1], 3; red.relaxed.gpu.global.add.f32 [%rd1+4], 0f3F800000;
        mul.lo.u32 %r4, %r3, 2654435761; shr.u32 %r5, %r4, 30; mul.wide.u32 %rd2, %r5, 4; add.u64 %rd2, %rd1, %rd2;
        atom.global.add.u32 _, [%rd2+16], 1;
        ld.volatile.global.u32 %r6, [%rd1+8];
        AGAIN: mov.u32 %r7, %r6; max.u32 %r8, %r7, %r4; atom.global.cas.b32 %r6, [%rd1+8], %r7, %r8;
        setp.ne.u32 %p1, %r6, %r7; @%p1 bra AGAIN;
        atom.global.inc.u32 %r9, [%rd1+12], 9; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&[0u32; 8]);
    const BLOCKS: u32 = 3000;
    bench.launch([BLOCKS, 1, 1], [96, 1, 1], &[memory]).unwrap();
    let threads = BLOCKS * 96;
    let hashes = (0..threads).map(|n| n.wrapping_mul(2_654_435_761));
    let mut bins = [0u32; 4];
    hashes.clone().for_each(|hash| bins[(hash >> 30) as usize] += 1);
    let sums = [threads * 3, (threads as f32).to_bits(), hashes.max().unwrap(), threads % 10];
    assert_eq!(bench.read_u32(memory, 8), [sums, bins].concat());
}

#[test]
fn a_released_flag_shows_what_was_stored_before_it() {
    // Blocks hand a number on, each by storing it and then raising a flag that the next one waits for.
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 8; add.u64 %rd2, %rd1, %rd2;
        setp.eq.u32 %p1, %r1, 0; mov.u32 %r3, 0; @%p1 bra FIRST;
        WAIT: ld.acquire.gpu.global.u32 %r2, [%rd2+-4]; setp.eq.u32 %p2, %r2, 0; @%p2 bra WAIT;
        ld.global.u32 %r3, [%rd2+-8];
        FIRST: add.u32 %r3, %r3, 1; st.global.u32 [%rd2], %r3; st.release.gpu.global.u32 [%rd2+4], 1; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    const BLOCKS: u32 = 2000;
    let memory = bench.upload(&vec![0u64; BLOCKS as usize]);
    bench.launch([BLOCKS, 1, 1], [1, 1, 1], &[memory]).unwrap();
    assert_eq!(bench.read_u64(memory, 2000), (1..=2000).map(|n| n | 1 << 32).collect::<Vec<u64>>());
}

#[test]
fn faults_say_that_it_was_an_atomic_operation() {
    let bench = Bench::new(&kernel(1, "", "ld.param.u64 %rd1, [p0]; atom.global.add.u32 %r1, [%rd1+4], 1; ret;"));
    let memory = bench.upload(&[0u32]);
    let found = bench.fault(1, 1, &[memory]).kind;
    assert!(matches!(found, FaultKind::OutOfBounds { access: Access::GlobalAtomic, bytes: 4, .. }), "{found}");
    let found = bench.fault(1, 1, &[memory - 2]).kind;
    assert!(matches!(found, FaultKind::Misaligned { access: Access::GlobalAtomic, .. }), "{found}");
    let body = ".shared .align 4 .b8 s[4]; red.shared.add.u32 [s+4], 1; ret;";
    let found = Bench::new(&kernel(0, "", body)).fault(1, 1, &[]).kind;
    assert!(matches!(found, FaultKind::OutOfBounds { access: Access::SharedAtomic, .. }), "{found}");
}
