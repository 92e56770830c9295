//! `cp.async`: what lands, when, and what it may not touch.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, FaultKind};

/// One warp with 4096 bytes of shared memory, filled with 0x11, and `p1` an array of 1024 words with their numbers;
/// `%r1` is the thread, `%r2` the address of its 16 bytes of shared memory, `%rd4` of its 16 bytes of the array. What is
/// in these shared bytes at the end, which `%r9` to `%r12` then hold, is the result.
fn run(body: &str) -> Vec<u32> {
    let (bench, out, array) = bench(body);
    bench.launch([1, 1, 1], [32, 1, 1], &[out, array]).unwrap();
    bench.read_u32(out, 128)
}

fn bench(body: &str) -> (Bench, u64, u64) {
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; shl.b32 %r3, %r1, 4; add.u32 %r2, %r2, %r3; ld.param.u64 %rd3, [p1];
         cvt.u64.u32 %rd4, %r3; add.u64 %rd4, %rd3, %rd4; mov.u32 %r4, 0x11111111;
         st.shared.v4.u32 [%r2], {{%r4, %r4, %r4, %r4}}; bar.sync 0;
         {body}
         STORE: ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 16; add.u64 %rd1, %rd1, %rd2;
         st.global.v4.u32 [%rd1], {{%r9, %r10, %r11, %r12}}; ret;"
    );
    let bench = Bench::new(&kernel(2, ".shared .align 16 .b8 s[4096];", &text));
    let array = bench.upload(&(0..1024u32).collect::<Vec<_>>());
    let out = bench.upload(&[5u32; 128]);
    (bench, out, array)
}

const READ: &str = "ld.shared.v4.u32 {%r9, %r10, %r11, %r12}, [%r2];";
const OLD: u32 = 0x1111_1111;

#[test]
fn a_copy_lands_at_the_wait() {
    let copy = "cp.async.ca.shared.global [%r2], [%rd4], 16;";
    assert_eq!(run(&format!("{copy} {READ}")), [OLD; 128]);
    assert_eq!(run(&format!("{copy} cp.async.commit_group; {READ}")), [OLD; 128]);
    let array: Vec<u32> = (0..128).collect();
    assert_eq!(run(&format!("{copy} cp.async.wait_all; {READ}")), array);
    assert_eq!(run(&format!("{copy} cp.async.commit_group; cp.async.wait_group 0; {READ}")), array);
    // what is in no group is not waited for
    assert_eq!(run(&format!("cp.async.commit_group; {copy} cp.async.wait_group 0; {READ}")), [OLD; 128]);
    // a store after the issue is overwritten by what lands later
    let overwritten = format!("{copy} st.shared.u32 [%r2], 99; cp.async.wait_all; {READ}");
    assert_eq!(run(&overwritten), array);
    // the source is read at the issue
    let changed = format!("{copy} st.global.u32 [%rd4], 99; cp.async.wait_all; {READ}");
    assert_eq!(run(&changed), array);
}

#[test]
fn each_thread_waits_for_its_own() {
    // odd lanes wait, even ones do not, and nobody sees what even lanes copy
    let words = run(&format!(
        "cp.async.cg.shared.global [%r2], [%rd4], 16; cp.async.commit_group; and.b32 %r5, %r1, 1;
         setp.eq.u32 %p1, %r5, 1; @%p1 cp.async.wait_group 0; {READ}"
    ));
    for (n, word) in words.into_iter().enumerate() {
        assert_eq!(word, if n / 4 % 2 == 1 { n as u32 } else { OLD });
    }
    // the other half of the block ends without waiting: what it copied has landed by then
    let words = run(&format!(
        "cp.async.cg.shared.global [%r2], [%rd4], 16; setp.ge.u32 %p1, %r1, 16; @%p1 exit; xor.b32 %r6, %r1, 16;
         shl.b32 %r6, %r6, 4; mov.u32 %r2, s; add.u32 %r2, %r2, %r6; {READ}"
    ));
    let expected: Vec<u32> = (64..128).collect();
    assert_eq!((&words[..64], &words[64..]), (&expected[..], &[5u32; 64][..]));
}

#[test]
fn addresses_are_checked_at_the_issue() {
    let fault = |change: &str| {
        let body = format!(
            "setp.eq.u32 %p1, %r1, 9; mov.u32 %r7, 16; {change} cp.async.ca.shared.global [%r2], [%rd4], 16, %r7;"
        );
        let (bench, out, array) = bench(&body);
        let fault = bench.fault(1, 32, &[out, array]);
        assert_eq!(fault.thread, [9, 0, 0]);
        (fault.kind, array)
    };
    let (kind, array) = fault("@%p1 add.u64 %rd4, %rd3, 4096;");
    let FaultKind::OutOfBounds { access: Access::GlobalLoad, address, bytes: 16, nearest: Some(nearest) } = kind else {
        panic!("{kind:?}")
    };
    assert_eq!((address, nearest.base, nearest.size), (array + 4096, array, 4096));
    // the last 12 bytes are there, the 13th is not
    let (kind, _) = fault("@%p1 add.u64 %rd4, %rd3, 4096; @%p1 mov.u32 %r7, 1;");
    assert!(matches!(kind, FaultKind::OutOfBounds { access: Access::GlobalLoad, bytes: 1, .. }), "{kind:?}");
    let (kind, _) = fault("@%p1 add.u64 %rd4, %rd4, 8;");
    assert!(matches!(kind, FaultKind::Misaligned { access: Access::GlobalLoad, bytes: 16, .. }), "{kind:?}");
    let (kind, _) = fault("@%p1 add.u64 %rd4, %rd4, 8; @%p1 mov.u32 %r7, 4;");
    assert!(matches!(kind, FaultKind::Misaligned { access: Access::GlobalLoad, bytes: 16, .. }), "{kind:?}");
    let (kind, _) = fault("@%p1 add.u32 %r2, %r2, 4;");
    assert!(matches!(kind, FaultKind::Misaligned { access: Access::SharedStore, bytes: 16, .. }), "{kind:?}");
    let (kind, _) = fault("@%p1 mov.u32 %r2, 4096;");
    assert!(matches!(kind, FaultKind::OutOfBounds { access: Access::SharedStore, address: 4096, .. }), "{kind:?}");
    let (kind, _) = fault("@%p1 mov.u32 %r7, 17;");
    assert_eq!(kind, FaultKind::CopySize { source: 17, bytes: 16 });
}

#[test]
fn blocks_do_not_see_copies_of_others() {
    // 64 blocks on two threads: none waits, none may see anything but what was there
    let (bench, out, array) = bench(&format!("cp.async.cg.shared.global [%r2], [%rd4], 16; {READ}"));
    bench.launch([64, 1, 1], [32, 1, 1], &[out, array]).unwrap();
    assert_eq!(bench.read_u32(out, 128), [OLD; 128]);
}

#[test]
fn what_is_no_copy_is_refused() {
    for (text, line) in [
        ("cp.async.cg.shared.global [%r2], [%rd4], 8;", "8 bytes"),
        ("cp.async.ca.shared.global [%r2], [%rd4], 12;", "12 bytes"),
        ("cp.async.bulk.shared.global [%r2], [%rd4], 16, [%r2];", "cp.async.bulk"),
    ] {
        let error = match warpwright_emulator::Device::new(1 << 20, 1).load(&kernel(2, "", text)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{text} is taken"),
        };
        assert!(error.contains(line), "{error}");
    }
}

#[test]
fn copies_that_nobody_waits_for_are_not_kept_for_ever() {
    // 20 000 rounds without a wait: what is kept is bounded, and the last of them lands as ever
    let words = run(&format!(
        "mov.u32 %r8, 0; AGAIN: cp.async.ca.shared.global [%r2], [%rd4], 4; cp.async.commit_group; add.u32 %r8, %r8, 1;
         setp.lt.u32 %p1, %r8, 20000; @%p1 bra AGAIN; cp.async.ca.shared.global [%r2+4], [%rd4+4], 4; cp.async.wait_all; {READ}"
    ));
    let expected = |n: usize| if n % 4 < 2 { n as u32 } else { OLD };
    assert_eq!(words, (0..128).map(expected).collect::<Vec<_>>());
}
