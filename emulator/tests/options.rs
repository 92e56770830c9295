//! What a launch on the library's device may ask for that a GPU does not offer: some blocks, a limit, poison, memory
//! beyond the machine's.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Device, FaultKind, Launch, LaunchError, Options};

/// Stores each thread's global number at `p0`.
const NUMBERS: &str = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mov.u32 %r3, %nctaid.x;
    mad.lo.u32 %r1, %r2, %r3, %r1; shl.b32 %r1, %r1, 5; mov.u32 %r4, %tid.x; add.u32 %r1, %r1, %r4;
    mul.wide.u32 %rd2, %r1, 4; add.u64 %rd2, %rd1, %rd2; st.global.u32 [%rd2], %r1; ret;";

#[test]
fn a_sample_of_the_blocks() {
    let bench = Bench::new(&kernel(1, "", NUMBERS));
    let out = bench.upload(&[7u32; 6 * 32]);
    let parameters = out.to_le_bytes();
    let launch = Launch { blocks: [3, 2, 1], threads: [32, 1, 1], dynamic_shared: 0, parameters: &parameters };
    // block 6 does not exist
    let options = Options { blocks: Some(&[5, 0, 6]), ..Options::default() };
    let statistics = bench.device.launch_with(&bench.module, "k", &launch, &options).unwrap();
    assert_eq!((statistics.blocks, statistics.thread_instructions), (2, 2 * 32 * 12));
    let expected = (0..6 * 32).map(|n| if (32..5 * 32).contains(&n) { 7 } else { n });
    assert_eq!(bench.read_u32(out, 6 * 32), expected.collect::<Vec<_>>());
    assert_eq!(bench.device.launch(&bench.module, "k", &launch).unwrap().blocks, 6);
}

#[test]
fn a_limit_ends_what_would_not_end() {
    let run = |body: &str, limit: u64, threads: u32| {
        let bench = Bench::new(&kernel(0, "", body));
        let launch = Launch { blocks: [4, 1, 1], threads: [threads, 1, 1], dynamic_shared: 0, parameters: &[] };
        let options = Options { instruction_limit: limit, ..Options::default() };
        bench.device.launch_with(&bench.module, "k", &launch, &options)
    };
    for threads in [1, 32, 96] {
        let Err(LaunchError::Fault(fault)) = run("FOR_EVER: bra FOR_EVER;", 10_000, threads) else {
            panic!("it ended")
        };
        assert_eq!(fault.kind, FaultKind::InstructionLimit { limit: 10_000 });
        assert_eq!((fault.instruction.as_str(), fault.kernel.as_str()), ("bra", "k"));
    }
    // lanes that wait for each other, and a block under the limit that each of several blocks has for itself
    let spin = "mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 0; SPIN: @%p1 bra SPIN; bar.warp.sync -1;";
    assert!(run(spin, 1 << 20, 32).is_err());
    let count = "mov.u32 %r1, 0; L: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 20000; @%p1 bra L;";
    assert_eq!(run(count, 60_001, 1).unwrap().thread_instructions, 4 * 60_001);
    assert!(run(count, 50_000, 1).is_err());
}

#[test]
fn poison_is_what_is_asked_for() {
    let body = ".local .align 4 .b8 l[4]; .shared .align 4 .b8 s[4]; ld.param.u64 %rd1, [p0];
        ld.local.u32 %r1, [l]; ld.shared.u32 %r2, [s]; st.global.v2.u32 [%rd1], {%r1, %r2};
        st.local.u32 [l], 1; st.shared.u32 [s], 1; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let out = bench.upload(&[0u64]);
    let parameters = out.to_le_bytes();
    for poison in [0, 0x5a, 0xff] {
        let launch = Launch { blocks: [2, 1, 1], threads: [1, 1, 1], dynamic_shared: 0, parameters: &parameters };
        let options = Options { poison, ..Options::default() };
        bench.device.launch_with(&bench.module, "k", &launch, &options).unwrap();
        assert_eq!(bench.read_u32(out, 2), [u32::from_le_bytes([poison; 4]); 2]);
    }
}

#[test]
fn memory_beyond_the_machine() {
    // three times 2^31 numbers, of which one block in the middle and the last one store theirs
    const ELEMENTS: u64 = 3 << 31;
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; cvt.u64.u32 %rd3, %r2;
        mul.wide.u32 %rd2, %r1, 1024; add.u64 %rd2, %rd2, %rd3; shl.b64 %rd2, %rd2, 2; add.u64 %rd2, %rd1, %rd2;
        st.global.u32 [%rd2], %r1; ret;";
    let device = Device::new(1 << 40, 2);
    let module = device.load(&kernel(1, "", body)).unwrap();
    let out = device.allocate(4 * ELEMENTS, 4).unwrap();
    assert_eq!(out % 512, 4);
    let blocks = (ELEMENTS / 1024) as u32;
    let run = |blocks: u32, sample: u64| {
        let parameters = out.to_le_bytes();
        let launch =
            Launch { blocks: [blocks, 1, 1], threads: [1024, 1, 1], dynamic_shared: 0, parameters: &parameters };
        device.launch_with(&module, "k", &launch, &Options { blocks: Some(&[sample]), ..Options::default() })
    };
    for sample in [blocks / 2, blocks - 1] {
        run(blocks, u64::from(sample)).unwrap();
        let mut found = [0; 4];
        device.read(out + 4 * (1024 * u64::from(sample) + 1023), &mut found).unwrap();
        assert_eq!(u32::from_le_bytes(found), sample);
    }
    let Err(LaunchError::Fault(fault)) = run(blocks + 1, u64::from(blocks)) else { panic!("one block too many") };
    assert!(matches!(fault.kind, FaultKind::OutOfBounds { address, .. } if address == out + 4 * ELEMENTS), "{fault}");
    device.fill(out, 8, 3).unwrap();
    assert!(device.fill(out + 4 * ELEMENTS - 4, 8, 3).is_err() && device.allocate(1 << 43, 0).is_err());
}
