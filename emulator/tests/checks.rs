//! The checks of what kernels read and of races: a planted bug that each finds, and the mended twin that passes.

mod common;

use common::kernel;
use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Access, Device, Fault, FaultKind, Launch, LaunchError, Module, Options};

/// A device under every check, with a kernel `k` in memory.
struct Checked {
    device: Device,
    module: Module,
}

/// `%r1` is the thread, `%r2` the block, `%r3` the thread in the grid, `%rd1` to `%rd3` are the parameters, and `%rd4` to
/// `%rd6` the addresses in them of the thread's 32-bit word.
const BEGIN: &str = "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2];
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r4, %ntid.x; mad.lo.s32 %r3, %r2, %r4, %r1;
    mul.wide.u32 %rd4, %r3, 4; add.s64 %rd6, %rd3, %rd4; add.s64 %rd5, %rd2, %rd4; add.s64 %rd4, %rd1, %rd4;";

impl Checked {
    fn new(directives: &str, body: &str) -> Self {
        let ptx = kernel(3, directives, &format!("{BEGIN}\n{body}\nret;"));
        let device = Device::with_checks(1 << 32, 2, Checks::ALL);
        let module = device.load(&ptx).unwrap_or_else(|error| panic!("{error}\n{ptx}"));
        Self { device, module }
    }

    /// Memory that holds zeros.
    fn zeros(&self, words: usize) -> u64 {
        self.device.upload(&vec![0; words * 4]).unwrap()
    }

    fn launch(&self, blocks: u32, threads: u32, parameters: [u64; 3], options: &Options<'_>) -> Result<(), Box<Fault>> {
        let parameters: Vec<u8> = parameters.iter().flat_map(|parameter| parameter.to_le_bytes()).collect();
        let launch =
            Launch { blocks: [blocks, 1, 1], threads: [threads, 1, 1], dynamic_shared: 0, parameters: &parameters };
        match self.device.launch_with(&self.module, "k", &launch, options) {
            Ok(_) => Ok(()),
            Err(LaunchError::Fault(fault)) => Err(fault),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs a kernel on zeros under several schedules. It comes to the same end under each.
fn run(blocks: u32, threads: u32, directives: &str, body: &str) -> Result<Vec<u32>, Box<Fault>> {
    let mut ends = Vec::new();
    for schedule in [None, Some(1), Some(2), Some(3)] {
        let checked = Checked::new(directives, body);
        let words = (blocks * threads) as usize;
        let parameters = [(); 3].map(|()| checked.zeros(words.max(64)));
        let end = checked.launch(blocks, threads, parameters, &Options { schedule, ..Options::default() });
        let mut bytes = vec![0; words * 4];
        checked.device.read(parameters[0], &mut bytes).unwrap();
        ends.push(end.map(|()| {
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<u32>>()
        }));
    }
    let errors: Vec<String> = ends.iter().filter_map(|end| end.as_ref().err()).map(ToString::to_string).collect();
    assert!(errors.is_empty() || errors.len() == ends.len(), "{errors:?} under some schedules only");
    assert!(ends.iter().all(|end| end.as_ref().ok() == ends[0].as_ref().ok()), "it depends on the schedule");
    ends.swap_remove(0)
}

#[track_caller]
fn passes(blocks: u32, threads: u32, directives: &str, body: &str) -> Vec<u32> {
    run(blocks, threads, directives, body).unwrap_or_else(|fault| panic!("{fault}\n{body}"))
}

#[track_caller]
fn races(blocks: u32, threads: u32, directives: &str, body: &str) -> Box<Fault> {
    match run(blocks, threads, directives, body) {
        Err(fault) if matches!(fault.kind, FaultKind::Race { .. }) => {
            assert!(fault.conflict.is_some(), "{fault}");
            fault
        }
        Err(fault) => panic!("expected a race, found {fault}\n{body}"),
        Ok(_) => panic!("expected a race\n{body}"),
    }
}

const WORDS: &str = ".shared .align 16 .b8 words[4096];";
/// `%r5` to `%r7` are the shared addresses of the thread's word, of that of its neighbour in the warp, and of that of the
/// thread 32 further on.
const SHARED: &str = "mov.u32 %r8, words; shl.b32 %r5, %r1, 2; xor.b32 %r6, %r5, 4; xor.b32 %r7, %r5, 128;
    add.u32 %r5, %r5, %r8; add.u32 %r6, %r6, %r8; add.u32 %r7, %r7, %r8;";

fn shared(body: &str) -> String {
    format!("{SHARED}\n{body}")
}

// --- what nothing has written ---

#[test]
fn global_memory_that_nothing_wrote() {
    let checked = Checked::new("", "ld.global.u32 %r9, [%rd5]; st.global.u32 [%rd4], %r9;");
    let (out, input) = (checked.device.allocate(256, 0).unwrap(), checked.device.allocate(256, 0).unwrap());
    // all but one word
    checked.device.write(input, &[1; 160]).unwrap();
    checked.device.write(input + 164, &[1; 92]).unwrap();
    let fault = checked.launch(1, 64, [out, input, out], &Options::default()).unwrap_err();
    let FaultKind::Uninitialised { access, address, bytes, nearest } = fault.kind else { panic!("{fault}") };
    assert_eq!((access, address, bytes), (Access::GlobalLoad, input + 160, 4));
    assert_eq!((nearest.unwrap().base, fault.thread, fault.block), (input, [40, 0, 0], [0, 0, 0]));
    assert_eq!((fault.instruction.as_str(), fault.conflict.is_none()), ("ld.global.u32", true));
    assert!(fault.to_string().contains("byte 160 of the 256 bytes"), "{fault}");
    checked.device.write(input + 160, &[1; 4]).unwrap();
    checked.launch(1, 64, [out, input, out], &Options::default()).unwrap();
    // what the kernel wrote is there for the next one
    checked.launch(1, 64, [input, out, out], &Options::default()).unwrap();
}

#[test]
fn a_byte_that_nothing_wrote() {
    let body = "cvt.u64.u32 %rd7, %r3; add.u64 %rd7, %rd2, %rd7; ld.global.u8 %r9, [%rd7];";
    let checked = Checked::new("", body);
    let input = checked.device.allocate(32, 0).unwrap();
    checked.device.write(input, &[1; 31]).unwrap();
    let fault = checked.launch(1, 32, [input; 3], &Options::default()).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Uninitialised { bytes: 1, .. }), "{fault}");
    assert_eq!(fault.thread, [31, 0, 0]);
    checked.launch(1, 31, [input; 3], &Options::default()).unwrap();
}

#[test]
fn an_atomic_operation_on_what_nothing_wrote() {
    let checked = Checked::new("", "red.global.add.u32 [%rd2], 1;");
    let input = checked.device.allocate(4, 0).unwrap();
    let fault = checked.launch(1, 1, [input; 3], &Options::default()).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Uninitialised { access: Access::GlobalAtomic, .. }), "{fault}");
    checked.device.fill(input, 4, 0).unwrap();
    checked.launch(2, 33, [input; 3], &Options::default()).unwrap();
}

#[test]
fn shared_memory_that_nothing_wrote() {
    let read = "ld.shared.u32 %r9, [%r5]; st.global.u32 [%rd4], %r9;";
    let fault = run(2, 64, WORDS, &shared(read)).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Uninitialised { access: Access::SharedLoad, bytes: 4, .. }), "{fault}");
    // what another block left there does not count
    let only_first = format!("setp.ne.u32 %p1, %r2, 0; @%p1 bra READ; st.shared.u32 [%r5], %r1; READ: {read}");
    let fault = run(2, 64, WORDS, &shared(&only_first)).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Uninitialised { .. }) && fault.block == [1, 0, 0], "{fault}");
    let found = passes(2, 64, WORDS, &shared(&format!("st.shared.u32 [%r5], %r3; {read}")));
    assert_eq!(found, (0..128).collect::<Vec<_>>());
}

#[test]
fn local_memory_that_nothing_wrote() {
    let local = ".local .align 4 .b8 mine[16];";
    let read = "ld.local.u32 %r9, [mine+4];";
    let fault = run(1, 64, "", &format!("{local} st.local.u32 [mine], %r1; {read}")).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Uninitialised { access: Access::LocalLoad, .. }), "{fault}");
    passes(1, 64, "", &format!("{local} st.local.v2.u32 [mine], {{%r1, %r2}}; {read}"));
    // some lanes only
    let some = "setp.lt.u32 %p1, %r1, 40; @%p1 st.local.u32 [mine+4], %r1;";
    let fault = run(1, 64, "", &format!("{local} {some} {read}")).unwrap_err();
    assert_eq!(fault.thread, [40, 0, 0], "{fault}");
    passes(1, 64, "", &format!("{local} {some} @%p1 {read}"));
}

#[test]
fn registers_that_nothing_wrote() {
    let undefined = |body: &str| {
        let fault = run(1, 64, "", body).unwrap_err();
        assert_eq!(fault.kind, FaultKind::UninitialisedRegister, "{fault}");
        fault
    };
    let used = "st.global.u32 [%rd4], %r9;";
    assert_eq!(undefined(&format!("add.u32 %r9, %r20, 1; {used}")).instruction, "st.global.u32");
    passes(1, 64, "", "add.u32 %r9, %r20, 1;");
    assert_eq!(undefined("st.global.u32 [%rd4], %r20;").instruction, "st.global.u32");
    // on one way only
    let branch = "setp.lt.u32 %p1, %r1, 40; @%p1 bra HAVE; bra JOIN; HAVE: mov.u32 %r20, 7; JOIN:";
    let fault = undefined(&format!("{branch} add.u32 %r9, %r20, 1; {used}"));
    assert_eq!(fault.thread, [40, 0, 0]);
    passes(1, 64, "", &format!("mov.u32 %r20, 3; {branch} add.u32 %r9, %r20, 1; {used}"));
    // what is used in the same lanes as it is written
    passes(
        1,
        64,
        "",
        &format!("setp.lt.u32 %p1, %r1, 40; @%p1 mov.u32 %r20, 7; @%p1 add.u32 %r9, %r20, 1; @%p1 {used}"),
    );
    undefined(&format!("setp.lt.u32 %p1, %r1, 40; @%p1 mov.u32 %r20, 7; @!%p1 add.u32 %r9, %r20, 1; @!%p1 {used}"));
    // copies are no use, but what is copied stays undefined
    let copies = "mov.u32 %r21, %r20; mov.b64 %rd7, {%r21, %r1}; selp.u32 %r22, %r20, %r1, %p1;";
    passes(1, 64, "", &format!("setp.eq.u32 %p1, %r1, 99; {copies} add.u32 %r9, %r22, 1; {used}"));
    undefined(&format!("setp.eq.u32 %p1, %r1, 3; {copies} add.u32 %r9, %r22, 1; {used}"));
    undefined(&format!("setp.eq.u32 %p1, %r1, 3; {copies} add.u64 %rd8, %rd7, 1; cvt.u32.u64 %r9, %rd8; {used}"));
    // a predicate
    undefined(&format!("selp.u32 %r9, 1, 2, %p5; add.u32 %r9, %r9, 1; {used}"));
    // a loop that defines it in its first round
    passes(
        1,
        64,
        "",
        "mov.u32 %r10, 0; LOOP: setp.eq.u32 %p1, %r10, 0; @%p1 mov.u32 %r20, 5; add.u32 %r20, %r20, %r10;
         add.u32 %r10, %r10, 1; setp.lt.u32 %p2, %r10, 4; @%p2 bra LOOP; st.global.u32 [%rd4], %r20;",
    );
}

/// A compiler loads more than it needs where that is faster, and says so.
#[test]
fn bytes_of_a_load_that_are_not_used() {
    let load =
        |pragma: &str, space: &str, at: &str| format!("{pragma} ld.{space}.v4.u32 {{%r9, %r10, %r11, %r12}}, [{at}];");
    let body = |pragma: &str| {
        // Every thread writes three words of its four, and loads those of the next one after the barrier.
        shared(&format!(
            "mov.u32 %r13, words; shl.b32 %r14, %r1, 4; add.u32 %r13, %r13, %r14; st.shared.u32 [%r13], %r1;
             st.shared.u32 [%r13+4], %r1; st.shared.u32 [%r13+8], %r1; bar.sync 0; {}
             add.u32 %r9, %r9, %r10; add.u32 %r9, %r9, %r11; st.global.u32 [%rd4], %r9;",
            load(pragma, "shared", "%r13"),
        ))
    };
    let expected: Vec<u32> = (0..64).map(|thread| 3 * thread).collect();
    for pragma in [".pragma \"used_bytes_mask 4095\";", ".pragma \"nounroll\", \"used_bytes_mask 0xfff\";"] {
        assert_eq!(passes(1, 64, WORDS, &body(pragma)), expected);
    }
    for pragma in
        ["", ".pragma \"used_bytes_mask 65535\";", ".pragma \"used_bytes_mask 0x1fff\";", ".pragma \"nounroll\";"]
    {
        let fault = run(1, 64, WORDS, &body(pragma)).unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Uninitialised { access: Access::SharedLoad, .. }), "{fault}");
    }
    // The fourth word is another thread's to write, and the third is not.
    let race = |pragma: &str, offset: u32| {
        format!(
            "mul.wide.u32 %rd7, %r1, 16; add.s64 %rd7, %rd2, %rd7; st.global.u32 [%rd7+{offset}], %r1; xor.b32 %r13, %r1, 32;
             mul.wide.u32 %rd7, %r13, 16; add.s64 %rd7, %rd2, %rd7; {} st.global.u32 [%rd4], %r9;",
            load(pragma, "global", "%rd7"),
        )
    };
    assert_eq!(passes_with_room(&race(".pragma \"used_bytes_mask 4095\";", 12)), vec![0; 64]);
    for (pragma, offset) in [("", 12), (".pragma \"used_bytes_mask 4095\";", 8)] {
        let checked = Checked::new("", &race(pragma, offset));
        let parameters = [(); 3].map(|()| checked.zeros(256));
        let fault = checked.launch(1, 64, parameters, &Options::default()).unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}");
    }
}

/// Runs a block of 64 threads, with four words of each parameter for each.
fn passes_with_room(body: &str) -> Vec<u32> {
    let checked = Checked::new("", body);
    let parameters = [(); 3].map(|()| checked.zeros(256));
    checked.launch(1, 64, parameters, &Options::default()).unwrap_or_else(|fault| panic!("{fault}"));
    let mut bytes = vec![0; 256];
    checked.device.read(parameters[0], &mut bytes).unwrap();
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Undefined values may be moved, computed with and shuffled, if in the end they are not chosen.
#[test]
fn undefined_values_that_are_discarded() {
    let begin = "setp.lt.u32 %p1, %r1, 8; @%p1 mov.u32 %r9, %r1;";
    let discards = |middle: &str| format!("{begin} {middle} selp.b32 %r12, %r11, 77, %p2; st.global.u32 [%rd4], %r12;");
    let chosen =
        |end: u32, value: fn(u32) -> u32| (0..32).map(|n| if n < end { value(n) } else { 77 }).collect::<Vec<_>>();
    // lanes 0 to 7 have a value: as it is, computed with, and by way of other lanes
    let computed = "mad.lo.u32 %r11, %r9, 3, 5; mov.pred %p2, %p1;";
    assert_eq!(passes(1, 32, "", &discards(computed)), chosen(8, |n| 3 * n + 5));
    let shuffled = "shfl.sync.down.b32 %r11, %r9, 4, 31, -1; setp.lt.u32 %p2, %r1, 4;";
    assert_eq!(passes(1, 32, "", &discards(shuffled)), chosen(4, |n| n + 4));
    let decided = "setp.gt.u32 %p3, %r9, 2; and.pred %p2, %p3, %p1; mov.u32 %r11, 1;";
    assert_eq!(
        passes(1, 32, "", &discards(decided)),
        (0..32).map(|n| if (3..8).contains(&n) { 1 } else { 77 }).collect::<Vec<_>>()
    );
    let either = "setp.gt.u32 %p3, %r9, 2; not.pred %p4, %p1; or.pred %p2, %p4, %p3; mov.u32 %r11, 1;";
    assert_eq!(passes(1, 32, "", &discards(either)), (0..32).map(|n| if n < 3 { 77 } else { 1 }).collect::<Vec<_>>());
    for used in [
        // one lane more than has a value, in each way
        "mad.lo.u32 %r11, %r9, 3, 5; setp.lt.u32 %p2, %r1, 9;",
        "shfl.sync.down.b32 %r11, %r9, 4, 31, -1; setp.lt.u32 %p2, %r1, 5;",
        "shfl.sync.idx.b32 %r11, %r1, %r9, 31, -1; mov.pred %p2, %p1;",
        "setp.gt.u32 %p3, %r9, 2; or.pred %p2, %p3, %p1; mov.u32 %r11, 1;",
        "setp.gt.u32 %p3, %r9, 2; setp.lt.u32 %p4, %r1, 9; and.pred %p2, %p3, %p4; mov.u32 %r11, 1;",
        "setp.gt.u32 %p2, %r9, 2; @%p2 mov.u32 %r11, 1; mov.pred %p2, %p1;",
        "mul.wide.u32 %rd7, %r9, 0; add.s64 %rd7, %rd2, %rd7; ld.global.u32 %r11, [%rd7]; mov.pred %p2, %p1;",
        "vote.sync.ballot.b32 %r11, %p5, -1; mov.pred %p2, %p1;",
        "redux.sync.add.u32 %r11, %r9, -1; mov.pred %p2, %p1;",
    ] {
        let fault = run(1, 32, "", &discards(used)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::UninitialisedRegister, "{used}: {fault}");
    }
}

// --- shared memory ---

#[test]
fn a_missing_barrier() {
    let program = |barrier: &str| {
        shared(&format!(
            "st.shared.u32 [%r5], 0; bar.sync 0; st.shared.u32 [%r5], %r1; {barrier} ld.shared.u32 %r9, [%r7];
             st.global.u32 [%rd4], %r9;"
        ))
    };
    let fault = races(2, 64, WORDS, &program(""));
    let FaultKind::Race { access, other_writes, bytes, .. } = fault.kind else { unreachable!() };
    let conflict = fault.conflict.as_ref().unwrap();
    // the one or the other of the two is found to be second
    assert_eq!(bytes, 4);
    assert!(matches!(access, Access::SharedLoad if other_writes) || access == Access::SharedStore, "{fault}");
    assert_eq!(conflict.block, fault.block);
    assert_eq!(conflict.thread[0] ^ fault.thread[0], 32);
    assert_eq!(conflict.instruction == "st.shared.u32", other_writes);
    assert!(!conflict.earlier_launch && conflict.ptx_line > 0);
    let found = passes(2, 64, WORDS, &program("bar.sync 0;"));
    assert_eq!(found, (0..128).map(|n| (n % 64) ^ 32).collect::<Vec<_>>());
}

#[test]
fn a_missing_barrier_before_the_next_round() {
    // Each round writes what the other warp read in the one before.
    let program = |barrier: &str| {
        shared(&format!(
            "mov.u32 %r10, 0; LOOP: add.u32 %r11, %r1, %r10; st.shared.u32 [%r5], %r11; bar.sync 0;
             ld.shared.u32 %r9, [%r7]; {barrier} add.u32 %r10, %r10, 1; setp.lt.u32 %p1, %r10, 5; @%p1 bra LOOP;
             st.global.u32 [%rd4], %r9;"
        ))
    };
    races(1, 64, WORDS, &program(""));
    let found = passes(1, 64, WORDS, &program("bar.sync 0;"));
    assert_eq!(found, (0..64).map(|n| (n ^ 32) + 4).collect::<Vec<_>>());
}

#[test]
fn a_missing_barrier_of_a_warp() {
    let program = |barrier: &str| {
        shared(&format!("st.shared.u32 [%r5], %r1; {barrier} ld.shared.u32 %r9, [%r6]; st.global.u32 [%rd4], %r9;"))
    };
    races(1, 32, WORDS, &program(""));
    let found = passes(1, 32, WORDS, &program("bar.warp.sync -1;"));
    assert_eq!(found, (0..32).map(|n| n ^ 1).collect::<Vec<_>>());
    passes(1, 64, WORDS, &program("bar.sync 0;"));
}

#[test]
fn a_barrier_of_some_warps() {
    // Warps 0 and 1 meet at barrier 1, warps 2 and 3 at barrier 2.
    let program = |first: &str, second: &str| {
        shared(&format!(
            "st.shared.u32 [%r5], 0; bar.sync 0; st.shared.u32 [%r5], %r1; setp.ge.u32 %p1, %r1, 64; @%p1 bra HIGH;
             {first} bra JOIN; HIGH: {second} JOIN: ld.shared.u32 %r9, [%r7]; st.global.u32 [%rd4], %r9;"
        ))
    };
    let found = passes(1, 128, WORDS, &program("bar.sync 1, 64;", "bar.sync 2, 64;"));
    assert_eq!(found, (0..128).map(|n| n ^ 32).collect::<Vec<_>>());
    races(1, 128, WORDS, &program("", "bar.sync 2, 64;"));
    races(1, 128, WORDS, &program("bar.sync 1, 64;", ""));
    // the wrong partner
    let far = "xor.b32 %r7, %r7, 384; bar.sync 1, 64;";
    races(1, 128, WORDS, &program(far, "xor.b32 %r7, %r7, 384; bar.sync 2, 64;"));
}

#[test]
fn warps_that_arrive_and_do_not_wait() {
    // Warp 0 stores and goes on; warp 1 waits for it, and loads.
    let program = |before: &str, after: &str| {
        shared(&format!(
            "st.shared.u32 [%r5], 0; bar.sync 0; setp.ge.u32 %p1, %r1, 32; @%p1 bra OTHER;
             {before} bar.arrive 1, 64; {after} bra DONE;
             OTHER: bar.sync 1, 64; ld.shared.u32 %r9, [%r7]; st.global.u32 [%rd4], %r9; DONE:"
        ))
    };
    let store = "st.shared.u32 [%r5], %r1;";
    let found = passes(1, 64, WORDS, &program(store, ""));
    assert_eq!(found[32..], (0..32).collect::<Vec<_>>());
    races(1, 64, WORDS, &program("", store));
}

#[test]
fn lanes_that_store_to_one_word() {
    races(1, 32, WORDS, &shared("st.shared.u32 [words], %r1;"));
    passes(1, 32, WORDS, &shared("st.shared.u32 [words], 7;"));
    races(1, 64, WORDS, &shared("shr.u32 %r9, %r1, 5; st.shared.u32 [words], %r9;"));
    // a flag that many set
    passes(1, 64, WORDS, &shared("st.shared.u32 [words], 7;"));
    passes(1, 64, WORDS, &shared("st.shared.v2.u32 [words], {7, 8};"));
    races(1, 64, WORDS, &shared("shr.u32 %r9, %r1, 5; st.shared.v2.u32 [words], {7, %r9};"));
    // bytes next to one another are nobody else's
    let bytes = "add.u32 %r9, %r8, %r1; st.shared.u8 [%r9], %r1; ld.shared.u8 %r10, [%r9];";
    passes(1, 64, WORDS, &shared(bytes));
    races(1, 64, WORDS, &shared("add.u32 %r9, %r8, %r1; st.shared.u8 [%r9], %r1; ld.shared.u32 %r10, [words];"));
}

#[test]
fn atomic_operations_do_not_race() {
    let zero = "st.shared.u32 [words], 0; bar.sync 0;";
    let count = "atom.shared.add.u32 %r9, [words], 1;";
    passes(
        1,
        96,
        WORDS,
        &shared(&format!("{zero} {count} bar.sync 0; ld.shared.u32 %r9, [words]; st.global.u32 [%rd4], %r9;")),
    );
    races(1, 96, WORDS, &shared(&format!("{zero} {count} ld.shared.u32 %r9, [words];")));
    races(1, 96, WORDS, &shared(&format!("st.shared.u32 [words], 0; {count}")));
}

#[test]
fn a_loop_around_a_swap_begins_with_a_plain_load() {
    // the larger of what is there and the thread's number
    let program = |load: &str, swap: &str| {
        format!(
            "{load} %r9, [%rd1]; LOOP: setp.ge.u32 %p1, %r9, %r3; @%p1 bra DONE; mov.u32 %r10, %r9;
             {swap} setp.ne.u32 %p2, %r9, %r10; @%p2 bra LOOP; DONE:"
        )
    };
    let swap = "atom.global.cas.b32 %r9, [%rd1], %r10, %r3;";
    assert_eq!(passes(3, 64, "", &program("ld.global.u32", swap))[0], 191);
    let halves =
        "ld.global.u16 %rs1, [%rd1]; LOOP: add.u16 %rs2, %rs1, 1; atom.global.cas.b16 %rs3, [%rd1], %rs1, %rs2;
        setp.ne.u16 %p1, %rs1, %rs3; mov.u16 %rs1, %rs3; @%p1 bra LOOP;";
    assert_eq!(passes(3, 64, "", halves)[0], 192);
    // a byte cannot be swapped, and another operation does not notice
    races(3, 64, "", &program("ld.global.u8", swap));
    races(3, 64, "", &program("ld.global.u32", "atom.global.max.u32 %r9, [%rd1], %r3; mov.u32 %r9, %r10;"));
}

// --- global memory ---

#[test]
fn blocks_that_write_one_word() {
    let fault = races(3, 1, "", "st.global.u32 [%rd1], %r2;");
    let FaultKind::Race { access, other_writes, nearest, .. } = fault.kind else { unreachable!() };
    assert!(access == Access::GlobalStore && other_writes && nearest.is_some());
    assert_ne!(fault.conflict.as_ref().unwrap().block, fault.block);
    passes(3, 1, "", "st.global.u32 [%rd1], 5;");
    passes(3, 33, "", "red.global.add.u32 [%rd1], 1;");
    races(2, 1, "", "red.global.add.u32 [%rd1], 1; ld.global.u32 %r9, [%rd1];");
    // one writes what another reads
    races(
        2,
        32,
        "",
        "xor.b32 %r9, %r3, 32; mul.wide.u32 %rd7, %r9, 4; add.s64 %rd7, %rd1, %rd7; ld.global.u32 %r10, [%rd7]; st.global.u32 [%rd4], 1;",
    );
    // all read one word, which nobody writes
    passes(4, 64, "", "ld.global.u32 %r9, [%rd2]; st.global.u32 [%rd4], %r9;");
    races(4, 64, "", "ld.global.u32 %r9, [%rd2]; st.global.u32 [%rd5], 1;");
}

#[test]
fn scopes_of_a_block_are_too_narrow_for_others() {
    passes(2, 1, "", "red.relaxed.gpu.global.add.u32 [%rd1], 1;");
    races(2, 1, "", "red.relaxed.cta.global.add.u32 [%rd1], 1;");
    passes(1, 64, "", "red.relaxed.cta.global.add.u32 [%rd1], 1;");
}

/// Each block stores a number; the last one to be done adds them.
fn last_block(fence: &str) -> String {
    format!(
        "mul.wide.u32 %rd7, %r2, 4; add.s64 %rd7, %rd2, %rd7; add.u32 %r9, %r2, 1; st.global.u32 [%rd7], %r9; {fence}
         atom.global.add.u32 %r10, [%rd3], 1; mov.u32 %r11, %nctaid.x; sub.u32 %r11, %r11, 1;
         setp.ne.u32 %p1, %r10, %r11; @%p1 bra DONE;
         mov.u32 %r12, 0; mov.u32 %r13, 0; mov.u64 %rd8, %rd2;
         ADD: ld.global.u32 %r14, [%rd8]; add.u32 %r13, %r13, %r14; add.s64 %rd8, %rd8, 4; add.u32 %r12, %r12, 1;
         setp.le.u32 %p2, %r12, %r11; @%p2 bra ADD; st.global.u32 [%rd1], %r13; DONE:"
    )
}

#[test]
fn a_write_that_no_one_fenced() {
    let fault = races(6, 1, "", &last_block(""));
    assert!(matches!(fault.kind, FaultKind::Race { access: Access::GlobalLoad, other_writes: true, .. }), "{fault}");
    races(6, 1, "", &last_block("membar.cta;"));
    for fence in ["membar.gl;", "fence.acq_rel.gpu;", "fence.sc.sys;"] {
        assert_eq!(passes(6, 1, "", &last_block(fence))[0], 21);
    }
    let released = last_block("").replace("atom.global.add", "atom.release.gpu.global.add");
    assert_eq!(passes(6, 1, "", &released)[0], 21);
}

#[test]
fn a_fence_before_a_barrier_is_one_for_the_block() {
    // Every thread stores and fences; after a barrier one of them counts for all.
    let program = |fence: &str| {
        format!(
            ".shared .u32 last; st.global.u32 [%rd5], %r3; {fence} bar.sync 0;
             setp.ne.u32 %p1, %r1, 0; @%p1 bra WAIT; atom.global.add.u32 %r10, [%rd3], 1;
             mov.u32 %r11, %nctaid.x; sub.u32 %r11, %r11, 1; setp.eq.u32 %p2, %r10, %r11; selp.u32 %r12, 1, 0, %p2;
             st.shared.u32 [last], %r12; WAIT: bar.sync 0; ld.shared.u32 %r12, [last];
             setp.eq.u32 %p2, %r12, 0; @%p2 bra DONE; mul.wide.u32 %rd7, %r1, 4; add.s64 %rd7, %rd2, %rd7;
             ld.global.u32 %r13, [%rd7]; st.global.u32 [%rd4], %r13; DONE:"
        )
    };
    let program = |fence: &str| {
        // what is written has the thread's place, whichever block is the last
        program(fence).replace(
            "st.global.u32 [%rd4], %r13",
            "mul.wide.u32 %rd8, %r1, 4; add.s64 %rd8, %rd1, %rd8; st.global.u32 [%rd8], %r13",
        )
    };
    races(3, 64, "", &program(""));
    let found = passes(3, 64, "", &program("membar.gl;"));
    assert_eq!(found[..64], (0..64).collect::<Vec<_>>());
}

/// Block 0 stores a number and raises a flag; block 1 waits for the flag and copies the number.
fn flag(store_fence: &str, load_fence: &str) -> String {
    format!(
        "setp.ne.u32 %p1, %r2, 0; @%p1 bra OTHER;
         st.global.u32 [%rd2], 41; {store_fence} st.volatile.global.u32 [%rd3], 1; bra DONE;
         OTHER: ld.volatile.global.u32 %r9, [%rd3]; setp.eq.u32 %p2, %r9, 0; @%p2 bra OTHER; {load_fence}
         ld.global.u32 %r10, [%rd2]; add.u32 %r10, %r10, 1; st.global.u32 [%rd1], %r10; DONE:"
    )
}

#[test]
fn a_flag_between_blocks() {
    assert_eq!(passes(2, 1, "", &flag("membar.gl;", "membar.gl;"))[0], 42);
    races(2, 1, "", &flag("", "membar.gl;"));
    races(2, 1, "", &flag("membar.gl;", ""));
    races(2, 1, "", &flag("membar.cta;", "membar.gl;"));
    let ordered = flag("", "").replace("st.volatile", "st.release.gpu").replace("ld.volatile", "ld.acquire.gpu");
    assert_eq!(passes(2, 1, "", &ordered)[0], 42);
    // a flag that is no atomic access
    races(2, 1, "", &flag("membar.gl;", "membar.gl;").replace("st.volatile", "st"));
}

#[test]
fn a_flag_between_warps() {
    let program = |fence: &str| {
        format!(
            ".shared .u32 data; .shared .u32 up; st.shared.u32 [up], 0; bar.sync 0;
             setp.ge.u32 %p1, %r1, 32; @%p1 bra OTHER; setp.ne.u32 %p2, %r1, 0; @%p2 bra DONE;
             st.shared.u32 [data], 41; {fence} st.volatile.shared.u32 [up], 1; bra DONE;
             OTHER: ld.volatile.shared.u32 %r9, [up]; setp.eq.u32 %p2, %r9, 0; @%p2 bra OTHER; {fence}
             ld.shared.u32 %r10, [data]; st.global.u32 [%rd4], %r10; DONE:"
        )
    };
    races(1, 64, "", &program(""));
    assert_eq!(passes(1, 64, "", &program("membar.cta;"))[32..], [41; 32]);
}

/// A barrier of the whole grid, as cooperative groups make it, between a store and a load of another block's word.
fn grid_barrier(fence: &str) -> String {
    format!(
        "st.global.u32 [%rd5], %r3; bar.sync 0; setp.ne.u32 %p1, %r1, 0; @%p1 bra JOIN; {fence}
         atom.global.add.u32 %r9, [%rd3], 1; mov.u32 %r11, %nctaid.x;
         SPIN: ld.volatile.global.u32 %r10, [%rd3]; setp.lt.u32 %p2, %r10, %r11; @%p2 bra SPIN; {fence}
         JOIN: bar.sync 0;
         mov.u32 %r11, %nctaid.x; mov.u32 %r12, %ntid.x; mul.lo.u32 %r11, %r11, %r12; sub.u32 %r11, %r11, 1;
         sub.u32 %r11, %r11, %r3; mul.wide.u32 %rd7, %r11, 4; add.s64 %rd7, %rd2, %rd7;
         ld.global.u32 %r13, [%rd7]; st.global.u32 [%rd4], %r13;"
    )
}

#[test]
fn blocks_that_wait_for_one_another() {
    let found = passes(37, 64, "", &grid_barrier("membar.gl;"));
    assert_eq!(found, (0..37 * 64).rev().collect::<Vec<_>>());
    races(37, 64, "", &grid_barrier(""));
}

#[test]
fn rounds_of_a_grid_barrier() {
    // Between two barriers block 1 reads a word that block 0 writes in the next round.
    let program = |second: &str| {
        let barrier = |target: &str, name: &str| {
            format!(
                "bar.sync 0; membar.gl; atom.global.add.u32 %r9, [%rd3], 1; mul.lo.u32 %r11, %r15, {target};
                 {name}: ld.volatile.global.u32 %r10, [%rd3]; setp.lt.u32 %p2, %r10, %r11; @%p2 bra {name}; membar.gl;
                 bar.sync 0;"
            )
        };
        let second = if second.is_empty() { String::new() } else { barrier("2", "SECOND") };
        format!(
            "mov.u32 %r15, %nctaid.x; ld.global.u32 %r9, [%rd2]; setp.ne.u32 %p1, %r2, 0; {}
             @%p1 ld.global.u32 %r13, [%rd2]; {second} @!%p1 st.global.u32 [%rd2], 1;",
            barrier("1", "FIRST"),
        )
    };
    passes(2, 1, "", &program("barrier"));
    races(2, 1, "", &program(""));
    passes(5, 1, "", &program("barrier"));
}

// --- between launches ---

#[test]
fn launches_in_order_do_not_race() {
    let checked = Checked::new("", "ld.global.u32 %r9, [%rd5]; add.u32 %r9, %r9, 1; st.global.u32 [%rd4], %r9;");
    let (a, b) = (checked.zeros(256), checked.zeros(256));
    for _ in 0..3 {
        checked.launch(4, 64, [a, b, a], &Options::default()).unwrap();
        checked.launch(4, 64, [b, a, a], &Options::default()).unwrap();
    }
    let mut word = [0; 4];
    checked.device.read(b + 1020, &mut word).unwrap();
    assert_eq!(u32::from_le_bytes(word), 6);
}

#[test]
fn a_read_before_the_wait_for_the_launch_before() {
    // A thread reads what another one wrote in the launch before.
    let read = "xor.b32 %r9, %r3, 64; mul.wide.u32 %rd7, %r9, 4; add.s64 %rd7, %rd2, %rd7; ld.global.u32 %r9, [%rd7];";
    let store = "st.global.u32 [%rd4], %r3;";
    let overlaps = Options { overlaps: true, ..Options::default() };
    let pair = |body: &str| {
        let checked = Checked::new("", body);
        let (a, b) = (checked.zeros(256), checked.zeros(256));
        checked.launch(4, 64, [a, b, a], &Options::default()).unwrap();
        checked.launch(4, 64, [b, a, a], &overlaps)
    };
    let early = pair(&format!("{read} griddepcontrol.wait; {store}")).unwrap_err();
    assert!(matches!(early.kind, FaultKind::Race { access: Access::GlobalLoad, other_writes: true, .. }), "{early}");
    assert!(early.conflict.as_ref().unwrap().earlier_launch, "{early}");
    assert!(early.to_string().contains("a launch before this one"), "{early}");
    pair(&format!("griddepcontrol.wait; {read} {store}")).unwrap();
    pair(&format!("griddepcontrol.launch_dependents; griddepcontrol.wait; {read} {store}")).unwrap();
    // a kernel that never waits, in what it reads and in what it writes over
    assert!(pair(&format!("{read} {store}")).is_err());
    let over = "ld.global.u32 %r9, [%rd5]; st.global.u32 [%rd5], 7;";
    pair(&format!("griddepcontrol.wait; {over}")).unwrap();
    // one thread waits for all, and a barrier tells them
    pair(&format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra JOIN; griddepcontrol.wait; JOIN: bar.sync 0; {read} {store}"))
        .unwrap();
}

#[test]
fn a_kernel_between_that_never_waits() {
    // The third waits for the second only, and that does not mean that the first has ended.
    let body = |wait: &str| format!("{wait} ld.global.u32 %r9, [%rd5]; st.global.u32 [%rd4], %r9;");
    let overlaps = Options { overlaps: true, ..Options::default() };
    for (waits, good) in [(true, true), (false, false)] {
        let checked = Checked::new("", &body("griddepcontrol.wait;"));
        let second =
            checked.device.load(&kernel(3, "", if waits { "griddepcontrol.wait; ret;" } else { "ret;" })).unwrap();
        let (a, b) = (checked.zeros(64), checked.zeros(64));
        checked.launch(2, 32, [a, b, a], &Options::default()).unwrap();
        let launch = Launch { blocks: [2, 1, 1], threads: [32, 1, 1], dynamic_shared: 0, parameters: &[0; 24] };
        checked.device.launch_with(&second, "k", &launch, &overlaps).unwrap();
        // the halves change places, so that each word is of another block
        let third = checked.launch(2, 32, [b, a, a], &overlaps);
        let crossed = checked.launch(1, 64, [b, a, a], &overlaps);
        assert_eq!((third.is_ok(), crossed.is_ok()), (good, true), "{third:?} {crossed:?}");
    }
}

#[test]
fn checks_that_are_off_find_nothing() {
    let body = "add.u32 %r9, %r20, 1; ld.global.u32 %r9, [%rd5]; st.global.u32 [%rd1], %r2;";
    let ptx = kernel(3, "", &format!("{BEGIN}\n{body}\nret;"));
    for (checks, finds) in [
        (Checks::NONE, false),
        (Checks { initialised: true, ..Checks::NONE }, true),
        (Checks { races: true, ..Checks::NONE }, true),
    ] {
        let device = Device::with_checks(1 << 30, 1, checks);
        let module = device.load(&ptx).unwrap();
        let memory = device.allocate(1024, 0).unwrap();
        let parameters: Vec<u8> = [memory; 3].iter().flat_map(|address| address.to_le_bytes()).collect();
        let launch = Launch { blocks: [2, 1, 1], threads: [32, 1, 1], dynamic_shared: 0, parameters: &parameters };
        let end = device.launch(&module, "k", &launch);
        assert_eq!(end.is_err(), finds, "{checks:?} {end:?}");
        if let Err(LaunchError::Fault(fault)) = end {
            assert_eq!(matches!(fault.kind, FaultKind::Race { .. }), checks.races, "{fault}");
        }
    }
}
