//! Atomic operations: what each leaves behind and returns, in every space, and that none is lost between threads.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, FaultKind};

/// Runs an instruction of one thread on a value in global and in shared memory, by their own and by generic addresses.
/// Returns the new value and the old one, which have to be the same everywhere but where `spaces` leaves one out.
fn run_64(operation: &str, spaces: &[&str], old: u64, b: u64, c: u64) -> (u64, u64) {
    let wide = operation.ends_with("64");
    let (b_register, c_register, d_register) = match operation.rsplit('.').next() {
        Some("f16" | "bf16" | "b16") => ("%rs1", "%rs2", "%rs3"),
        _ if wide => ("%rd4", "%rd5", "%rd6"),
        _ => ("%r4", "%r5", "%r6"),
    };
    let operands = if operation.starts_with("cas") { format!("{b_register}, {c_register}") } else { b_register.into() };
    let widen = match d_register {
        "%rs3" => "cvt.u64.u16 %rd6, %rs3;",
        "%r6" => "cvt.u64.u32 %rd6, %r6;",
        _ => "",
    };
    let mut results = Vec::new();
    for space in spaces {
        let address = match *space {
            "" => "%rd7",
            "global." => "%rd1",
            _ => "s",
        };
        for modifiers in ["", "relaxed.gpu.", "acq_rel.sys."] {
            let body = format!(
                ".shared .align 8 .b8 s[8]; ld.param.u64 %rd1, [p0]; ld.param.u64 %rd4, [p1]; ld.param.u64 %rd5, [p2];
                 cvt.u32.u64 %r4, %rd4; cvt.u32.u64 %r5, %rd5; cvt.u16.u64 %rs1, %rd4; cvt.u16.u64 %rs2, %rd5;
                 ld.global.u64 %rd8, [%rd1]; st.shared.u64 [s], %rd8; mov.u64 %rd7, s; cvta.shared.u64 %rd7, %rd7;
                 atom.{modifiers}{space}{operation} {d_register}, [{address}], {operands}; {widen}
                 ld.shared.u64 %rd8, [s]; ld.global.u64 %rd9, [%rd1];
                 st.global.u64 [%rd1+8], %rd8; st.global.u64 [%rd1+16], %rd9; st.global.u64 [%rd1+24], %rd6; ret;"
            );
            let bench = Bench::new(&kernel(3, "", &body));
            let memory = bench.upload(&[old, 0, 0, 0]);
            bench.launch([1, 1, 1], [1, 1, 1], &[memory, b, c]).unwrap();
            let found = bench.read_u64(memory, 4);
            let (new, untouched) = if *space == "global." { (found[2], found[1]) } else { (found[1], found[2]) };
            assert_eq!(untouched, old);
            results.push((new, found[3]));
        }
    }
    assert!(results.iter().all(|result| *result == results[0]), "{operation}: {results:x?}");
    results[0]
}

const SPACES: [&str; 3] = ["", "global.", "shared."];

#[test]
fn every_operation() {
    type Definition = fn(u32, u32, u32) -> u32;
    let numbers = [0, 1, 7, 8, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 0x1234_5678];
    let operations: [(&str, Definition); 15] = [
        ("add.u32", |old, b, _| (u64::from(old) + u64::from(b)) as u32),
        ("add.s32", |old, b, _| (i64::from(old as i32) + i64::from(b as i32)) as u32),
        ("min.u32", |old, b, _| if b < old { b } else { old }),
        ("max.u32", |old, b, _| if b > old { b } else { old }),
        ("min.s32", |old, b, _| if (b as i32) < old as i32 { b } else { old }),
        ("max.s32", |old, b, _| if b as i32 > old as i32 { b } else { old }),
        ("and.b32", |old, b, _| old & b),
        ("or.b32", |old, b, _| old | b),
        ("xor.b32", |old, b, _| old ^ b),
        ("inc.u32", |old, b, _| if old >= b { 0 } else { old + 1 }),
        ("dec.u32", |old, b, _| if old == 0 || old > b { b } else { old - 1 }),
        ("exch.b32", |_, b, _| b),
        ("cas.b32", |old, b, c| if old == b { c } else { old }),
        ("cas.b16", |old, b, c| if old as u16 == b as u16 { old >> 16 << 16 | c & 0xffff } else { old }),
        ("add.f32", |old, b, _| (f32::from_bits(old) + f32::from_bits(b)).to_bits()),
    ];
    for (operation, expected) in operations {
        for (n, old) in numbers.into_iter().enumerate() {
            // one operand that is equal, and two others
            for b in [old, numbers[(n * 3 + 1) % 10], numbers[(n + 5) % 10]] {
                let above = 0xabcd_0123_0000_0000;
                // sums in single precision of numbers that no space flushes and none is NaN
                let (old, b) = if operation == "add.f32" {
                    ((old as f32 * 0.3).to_bits(), (b as f32 * -1.7).to_bits())
                } else {
                    (old, b)
                };
                let (new, returned) = run_64(operation, &SPACES, above | u64::from(old), b.into(), 0x55aa);
                assert_eq!(new, above | u64::from(expected(old, b, 0x55aa)), "{operation} {old:#x} {b:#x}");
                let mask = if operation == "cas.b16" { 0xffff } else { 0xffff_ffff };
                assert_eq!(returned, u64::from(old) & mask, "{operation} {old:#x} {b:#x}");
            }
        }
    }
}

#[test]
fn wide_operations() {
    type Definition = fn(u64, u64, u64) -> u64;
    let numbers = [0, 1, 0x8000_0000_0000_0000, u64::MAX, 0x0123_4567_89ab_cdef];
    let operations: [(&str, Definition); 11] = [
        ("add.u64", |old, b, _| (u128::from(old) + u128::from(b)) as u64),
        ("min.u64", |old, b, _| if b < old { b } else { old }),
        ("max.u64", |old, b, _| if b > old { b } else { old }),
        ("min.s64", |old, b, _| if (b as i64) < old as i64 { b } else { old }),
        ("max.s64", |old, b, _| if b as i64 > old as i64 { b } else { old }),
        ("and.b64", |old, b, _| old & b),
        ("or.b64", |old, b, _| old | b),
        ("xor.b64", |old, b, _| old ^ b),
        ("exch.b64", |_, b, _| b),
        ("cas.b64", |old, b, c| if old == b { c } else { old }),
        ("add.f64", |old, b, _| (f64::from_bits(old) + f64::from_bits(b)).to_bits()),
    ];
    for (operation, expected) in operations {
        for old in numbers {
            for b in numbers {
                let (old, b) = if operation == "add.f64" {
                    ((old as f64 * 0.3).to_bits(), (b as f64 * -1.7).to_bits())
                } else {
                    (old, b)
                };
                assert_eq!(run_64(operation, &SPACES, old, b, 77), (expected(old, b, 77), old), "{operation}");
            }
        }
    }
}

#[test]
fn half_precision_and_subnormal_sums() {
    // 1.5 + 2.25 in the lower half, 1 + 0.5 in the upper
    assert_eq!(run_64("add.noftz.f16x2", &SPACES, 0x3c00_3e00, 0x3800_4080, 0).0, 0x3e00_4380);
    assert_eq!(run_64("add.noftz.f16", &SPACES, 0x7777_3e00, 0x4080, 0), (0x7777_4380, 0x3e00));
    assert_eq!(run_64("add.noftz.bf16x2", &SPACES, 0x3f80_3fc0, 0x3f00_4010, 0).0, 0x3fc0_4070);
    assert_eq!(run_64("add.noftz.bf16", &SPACES, 0x7777_3fc0, 0x4010, 0), (0x7777_4070, 0x3fc0));
    // subnormal numbers: flushed in global memory, kept in shared
    assert_eq!(run_64("add.f32", &["global."], 0x0000_0003, 0x8000_0001, 0).0, 0);
    assert_eq!(run_64("add.f32", &["shared.", ""], 0x0000_0003, 0x8000_0001, 0).0, 2);
}

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
