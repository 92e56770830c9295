//! The checks on operations that compute their addresses themselves, asynchronous copies and matrices, and on accesses of
//! many values: planted bugs that are found, and their mended twins that pass.

mod common;

use common::kernel;
use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Access, Device, Fault, FaultKind, Launch, LaunchError};

/// Runs a kernel under every check. `%r1` is the thread, `%r2` its 16 bytes of shared memory, `%r3` those of the next lane
/// of its warp and `%r4` those of the thread 32 further on; `%rd1` is memory that holds zeros and `%rd2` the thread's 16
/// bytes there; `%rd3` is memory that nothing has written.
fn run(blocks: u32, threads: u32, body: &str) -> Result<(), Box<Fault>> {
    let begin = "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd3, [p1]; mov.u32 %r1, %tid.x; mov.u32 %r8, s;
        shl.b32 %r2, %r1, 4; cvt.u64.u32 %rd2, %r2; add.u64 %rd2, %rd1, %rd2;
        xor.b32 %r3, %r2, 16; xor.b32 %r4, %r2, 512; add.u32 %r2, %r2, %r8; add.u32 %r3, %r3, %r8;
        add.u32 %r4, %r4, %r8; mov.u32 %r5, 0;";
    let directives = ".shared .align 128 .b8 s[4096]; .global .align 1 .b8 format[7] = {37, 100, 37, 108, 100, 10, 0};
        .extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);";
    let ptx = kernel(2, directives, &format!("{begin}\n{body}\nret;"));
    let mut ends = Vec::new();
    for counters in [false, true] {
        // One worker: whether two blocks store the same is compared with memory, which the other one may be about to write.
        let device = Device::with_checks(1 << 32, 1, Checks::ALL);
        let module = device.load(&ptx).unwrap_or_else(|error| panic!("{error}\n{ptx}"));
        let parameters = [device.upload(&[0; 8192]).unwrap(), device.allocate(8192, 0).unwrap()];
        let parameters: Vec<u8> = parameters.iter().flat_map(|parameter| parameter.to_le_bytes()).collect();
        let launch =
            Launch { blocks: [blocks, 1, 1], threads: [threads, 1, 1], dynamic_shared: 0, parameters: &parameters };
        let options = warpwright_emulator::Options { counters, ..Default::default() };
        ends.push(match device.launch_with(&module, "k", &launch, &options) {
            Ok(_) => Ok(()),
            Err(LaunchError::Fault(fault)) => Err(fault),
            Err(error) => panic!("{error}"),
        });
    }
    let kinds: Vec<_> = ends.iter().map(|end| end.as_ref().err().map(|fault| fault.instruction.clone())).collect();
    assert_eq!(kinds[0], kinds[1], "counters change what is found\n{body}");
    ends.swap_remove(0)
}

#[track_caller]
fn passes(blocks: u32, threads: u32, body: &str) {
    run(blocks, threads, body).unwrap_or_else(|fault| panic!("{fault}\n{body}"));
}

/// What the other access of a race was made by.
#[track_caller]
fn races(blocks: u32, threads: u32, body: &str) -> (String, String) {
    match run(blocks, threads, body) {
        Err(fault) if matches!(fault.kind, FaultKind::Race { .. }) => {
            let other = fault.conflict.as_ref().unwrap_or_else(|| panic!("{fault}")).instruction.clone();
            (fault.instruction.clone(), other)
        }
        Err(fault) => panic!("expected a race, found {fault}\n{body}"),
        Ok(()) => panic!("expected a race\n{body}"),
    }
}

#[track_caller]
fn uninitialised(blocks: u32, threads: u32, body: &str) -> (Access, u32) {
    match run(blocks, threads, body) {
        Err(fault) => match fault.kind {
            FaultKind::Uninitialised { access, bytes, .. } => (access, bytes),
            _ => panic!("expected a read of what nothing wrote, found {fault}\n{body}"),
        },
        Ok(()) => panic!("expected a read of what nothing wrote\n{body}"),
    }
}

const COPY: &str = "cp.async.cg.shared.global [%r2], [%rd2], 16;";
const WAIT: &str = "cp.async.commit_group; cp.async.wait_group 0;";

#[test]
fn a_copy_that_is_not_waited_for() {
    let read = "ld.shared.u32 %r9, [%r2];";
    let found = races(1, 64, &format!("{COPY} {read}"));
    assert_eq!(found, ("ld.shared.u32".to_owned(), "cp.async.cg.shared.global".to_owned()));
    races(1, 64, &format!("{COPY} cp.async.commit_group; {read} {WAIT}"));
    passes(1, 64, &format!("{COPY} {WAIT} {read}"));
    passes(1, 64, &format!("{COPY} cp.async.wait_all; {read}"));
    // a barrier does not replace the wait, whoever reads
    races(1, 64, &format!("{COPY} bar.sync 0; ld.shared.u32 %r9, [%r4]; bar.sync 0; {WAIT}"));
    // nor does it if the memory holds something from before
    let before = "st.shared.u32 [%r2], %r1; bar.sync 0;";
    races(1, 64, &format!("{before} {COPY} bar.sync 0; ld.shared.u32 %r9, [%r4];"));
    // a store in between
    races(1, 64, &format!("{COPY} st.shared.u32 [%r2+4], %r1; {WAIT}"));
    // also of what is there anyway
    races(1, 64, &format!("{before} {COPY} st.shared.u32 [%r2], %r1; {WAIT}"));
    // what no copy is for is not touched
    passes(
        1,
        64,
        "cp.async.ca.shared.global [%r2], [%rd2], 8; st.shared.u32 [%r2+8], %r1; ld.shared.u32 %r9, [%r2+8];",
    );
    assert_eq!(
        uninitialised(
            1,
            64,
            "cp.async.ca.shared.global [%r2], [%rd2], 8; cp.async.wait_all; ld.shared.u32 %r9, [%r2+8];"
        ),
        (Access::SharedLoad, 4)
    );
}

#[test]
fn a_copy_that_others_read() {
    for (neighbour, barrier) in [("%r3", "bar.warp.sync -1;"), ("%r4", "bar.sync 0;")] {
        let read = format!("ld.shared.v4.u32 {{%r9, %r10, %r11, %r12}}, [{neighbour}];");
        let before = "st.shared.v4.u32 [%r2], {%r1, %r1, %r1, %r1}; bar.sync 0;";
        races(1, 64, &format!("{before} {COPY} {WAIT} {read} {barrier}"));
        races(1, 64, &format!("{before} {COPY} {barrier} {WAIT} {read}"));
        passes(1, 64, &format!("{COPY} {WAIT} {barrier} {read}"));
        // the next copy to the same place has to wait for the readers
        races(1, 64, &format!("{COPY} {WAIT} {barrier} {read} {COPY} {WAIT}"));
        passes(1, 64, &format!("{COPY} {WAIT} {barrier} {read} {barrier} {COPY} {WAIT}"));
    }
    // copies that nobody waits for
    passes(3, 64, COPY);
}

#[test]
fn stages_of_copies() {
    // two buffers of 1024 bytes, 64 threads, of which each reads what the other warp copied
    let copy = |at: u32| format!("cp.async.cg.shared.global [%r2+{at}], [%rd2], 16; cp.async.commit_group;");
    let read = |at: u32| format!("ld.shared.u32 %r9, [%r4+{at}];");
    let (wait, sync) = ("cp.async.wait_group 1;", "bar.sync 0;");
    let rounds = |last: &str| {
        let first = format!("{}{}", copy(0), copy(1024));
        let round = |at: u32| format!("{wait} {sync} {} {last} {}", read(at), copy(at));
        format!("{first} {} {} {}", round(0), round(1024), round(0))
    };
    passes(2, 64, &rounds(sync));
    races(2, 64, &rounds(""));
    let unwaited = rounds(sync).replace("wait_group 1", "wait_group 2");
    races(2, 64, &unwaited);
}

#[test]
fn copies_of_the_same() {
    // both warps copy the same zeros to the same place
    let all_to_one = "and.b32 %r6, %r1, 31; shl.b32 %r6, %r6, 4; add.u32 %r6, %r6, %r8;";
    passes(1, 64, &format!("{all_to_one} cp.async.cg.shared.global [%r6], [%rd1], 16; {WAIT}"));
    // and then different words
    let differ = "st.global.u32 [%rd2], %r1; bar.sync 0;";
    races(1, 64, &format!("{all_to_one} {differ} cp.async.cg.shared.global [%r6], [%rd2], 16; {WAIT}"));
}

#[test]
fn the_source_of_a_copy() {
    let from_nothing = "shl.b32 %r6, %r1, 4; cvt.u64.u32 %rd4, %r6; add.u64 %rd4, %rd3, %rd4;";
    let copy = "cp.async.cg.shared.global [%r2], [%rd4], 16;";
    assert_eq!(uninitialised(1, 32, &format!("{from_nothing} {copy}")), (Access::GlobalLoad, 16));
    passes(1, 32, &format!("{from_nothing} st.global.v4.u32 [%rd4], {{%r1, %r1, %r1, %r1}}; {copy}"));
    // only what is taken is read
    let some =
        "cp.async.cg.shared.global [%r2], [%rd4], 16, %r9; cp.async.wait_all; ld.shared.v4.u32 {%r10, %r11, %r12,
        %r13}, [%r2];";
    let twelve = format!(
        "{from_nothing} st.global.u32 [%rd4], %r1; st.global.v2.u32 [%rd4+8], {{%r1, %r1}};
        st.global.u32 [%rd4+4], %r1;"
    )
    .replace("st.global.v2.u32 [%rd4+8], {%r1, %r1}", "st.global.u32 [%rd4+8], %r1");
    passes(1, 32, &format!("{twelve} mov.u32 %r9, 12; {some}"));
    passes(1, 32, &format!("{from_nothing} mov.u32 %r9, 0; {some}"));
    assert_eq!(uninitialised(1, 32, &format!("{twelve} mov.u32 %r9, 13; {some}")), (Access::GlobalLoad, 1));
    assert_eq!(uninitialised(1, 32, &format!("{from_nothing} mov.u32 %r9, 6; {some}")), (Access::GlobalLoad, 4));
    // another block writes the source
    races(
        2,
        32,
        &format!("st.global.u32 [%rd2], %r1; mov.u32 %r9, %ctaid.x; st.global.u32 [%rd2+4], %r9; {COPY} {WAIT}"),
    );
}

#[test]
fn what_is_printed() {
    let print = ".local .align 8 .b8 arguments[16]; mov.u64 %rd4, format; cvta.global.u64 %rd4, %rd4;
        mov.u64 %rd5, arguments; cvta.local.u64 %rd5, %rd5; FIRST SECOND
        { .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], %rd4; st.param.b64 [b], %rd5;
        call.uni (r), vprintf, (a, b); }";
    let of = |first: &str, second: &str| print.replace("FIRST", first).replace("SECOND", second);
    let (first, second) = ("st.local.u32 [arguments], %r1;", "st.local.u64 [arguments+8], %rd1;");
    passes(1, 2, &of(first, second));
    assert_eq!(uninitialised(1, 2, &of("", second)), (Access::LocalLoad, 1));
    assert_eq!(uninitialised(1, 2, &of(first, "st.local.u32 [arguments+8], %r1;")), (Access::LocalLoad, 1));
    // a format that nothing has written
    let elsewhere =
        of(first, second).replace("mov.u64 %rd4, format; cvta.global.u64 %rd4, %rd4;", "mov.u64 %rd4, %rd3;");
    assert_eq!(uninitialised(1, 2, &elsewhere), (Access::GlobalLoad, 1));
}

const MATRICES: &str = "{%r10, %r11, %r12, %r13}";

#[test]
fn matrices_in_shared_memory() {
    let load = format!("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {MATRICES}, [%r3];");
    let store = "mov.u32 %r10, %r1; mov.u32 %r11, %r1; mov.u32 %r12, %r1; mov.u32 %r13, %r1;
        stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r2], {%r10, %r11, %r12, %r13};";
    let plain = "st.shared.v4.u32 [%r2], {%r1, %r1, %r1, %r1};";
    assert_eq!(uninitialised(1, 32, &load), (Access::SharedLoad, 16));
    for store in [store, plain] {
        races(1, 64, &format!("{store} {load}"));
        passes(2, 64, &format!("{store} bar.warp.sync -1; {load}"));
        races(1, 64, &format!("{store} bar.warp.sync -1; {load} {store}"));
        passes(1, 64, &format!("{store} bar.warp.sync -1; {load} bar.warp.sync -1; {store}"));
        // of another warp
        let load = load.replace("%r3", "%r4");
        races(1, 64, &format!("{store} bar.sync 0; {store} bar.warp.sync -1; {load}"));
        passes(1, 64, &format!("{store} bar.sync 0; {store} bar.sync 0; {load}"));
    }
    // generic addresses are the same
    let generic = "cvt.u64.u32 %rd5, %r3; cvta.shared.u64 %rd5, %rd5;";
    let load_generic = format!("{generic} ldmatrix.sync.aligned.m8n8.x4.b16 {MATRICES}, [%rd5];");
    assert_eq!(uninitialised(1, 32, &load_generic), (Access::SharedLoad, 16));
    passes(1, 64, &format!("{store} bar.warp.sync -1; {load_generic}"));
    // only the rows that are read count
    let one = "setp.lt.u32 %p1, %r1, 8; @%p1 st.shared.v4.u32 [%r2], {%r1, %r1, %r1, %r1}; bar.warp.sync -1;";
    passes(1, 32, &format!("{one} ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r10}}, [%r3];"));
    uninitialised(1, 32, &format!("{one} ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r10, %r11}}, [%r3];"));
    // lanes that come on different ways
    let apart = "and.b32 %r6, %r1, 1; setp.eq.u32 %p2, %r6, 1; @%p2 bra ODD; mov.u32 %r7, 1; ODD:";
    races(1, 32, &format!("{plain} {apart} {load}"));
}

const FRAGMENT: &str = "{%r10, %r11, %r12, %r13, %r14, %r15, %r16, %r17}";

#[test]
fn fragments_in_memory() {
    let values: String = (10..18).map(|n| format!("mov.u32 %r{n}, %r1;")).collect();
    for (space, base, barrier) in [("shared", "%r8", "bar.warp.sync -1;"), ("global", "%rd3", "bar.sync 0;")] {
        let store = format!("{values} wmma.store.d.sync.aligned.row.m16n16k16.{space}.f32 [{base}], {FRAGMENT}, %r9;");
        let load = format!("wmma.load.a.sync.aligned.row.m16n16k16.{space}.f16 {FRAGMENT}, [{base}], %r9;");
        let stride = "mov.u32 %r9, 16;";
        let (access, bytes) = uninitialised(1, 32, &format!("{stride} {load}"));
        assert_eq!((access == Access::SharedLoad, bytes), (space == "shared", 2));
        races(1, 32, &format!("{stride} {store} {load}"));
        passes(1, 32, &format!("{stride} {store} {barrier} {load}"));
        races(1, 32, &format!("{stride} {store} {barrier} {load} {store}"));
        passes(1, 32, &format!("{stride} {store} {barrier} {load} {barrier} {store}"));
        // rows further apart than were written
        uninitialised(1, 32, &format!("{stride} {store} {barrier} mov.u32 %r9, 64; {load}"));
    }
    // plain accesses to what was stored
    let store =
        format!("{values} mov.u32 %r9, 16; wmma.store.d.sync.aligned.row.m16n16k16.shared.f32 [%r8], {FRAGMENT}, %r9;");
    races(1, 32, &format!("{store} ld.shared.u32 %r9, [%r3];"));
    passes(1, 32, &format!("{store} bar.warp.sync -1; ld.shared.v4.u32 {{%r18, %r19, %r20, %r21}}, [%r3+512];"));
}

#[test]
fn accesses_of_32_bytes() {
    let at = |base: &str| format!("mul.wide.u32 %rd4, %r1, 32; add.u64 %rd4, {base}, %rd4;");
    let eight = "{%r10, %r11, %r12, %r13, %r14, %r15, %r16, %r17}";
    let values: String = (10..18).map(|n| format!("mov.u32 %r{n}, %r1;")).collect();
    let load = format!("ld.global.v8.b32 {eight}, [%rd4];");
    let store = format!("{values} st.global.v8.b32 [%rd4], {eight};");
    let longs = "{%rd6, %rd7, %rd8, %rd9}";
    assert_eq!(uninitialised(1, 64, &format!("{} {load}", at("%rd3"))), (Access::GlobalLoad, 32));
    assert_eq!(
        uninitialised(1, 64, &format!("{} ld.global.v4.b64 {longs}, [%rd4];", at("%rd3"))),
        (Access::GlobalLoad, 32)
    );
    passes(1, 64, &format!("{} {store} {load}", at("%rd3")));
    passes(1, 64, &format!("{} {load}", at("%rd1")));
    // the neighbour's
    let neighbour = "xor.b32 %r6, %r1, 1; mul.wide.u32 %rd4, %r6, 32; add.u64 %rd4, %rd3, %rd4;";
    races(1, 64, &format!("{} {store} {neighbour} {load}", at("%rd3")));
    passes(1, 64, &format!("{} {store} bar.sync 0; {neighbour} {load}", at("%rd3")));
    // blocks that store the same, and something else
    passes(4, 64, &format!("{} {store}", at("%rd3")));
    let other = format!("{store} ").replace("mov.u32 %r17, %r1;", "mov.u32 %r17, %ctaid.x;");
    races(4, 64, &format!("{} {other}", at("%rd3")));
    let same = "mov.u64 %rd6, 1; mov.u64 %rd7, 1; mov.u64 %rd8, 1; cvt.u64.u32 %rd9, %r9;";
    let store = format!("{same} st.global.v4.b64 [%rd4], {longs};");
    passes(4, 64, &format!("{} mov.u32 %r9, 7; {store}", at("%rd3")));
    races(4, 64, &format!("{} mov.u32 %r9, %ctaid.x; {store}", at("%rd3")));
}

#[test]
fn atomic_operations_on_vectors() {
    let red = "red.global.v4.f32.add [%rd1], {%f1, %f1, %f1, %f1};";
    let one = "mov.f32 %f1, 0f3F800000;";
    passes(4, 64, &format!("{one} {red}"));
    races(4, 64, &format!("{one} {red} ld.global.f32 %f2, [%rd1+12];"));
    races(4, 64, &format!("{one} ld.global.f32 %f2, [%rd1+12]; {red}"));
    passes(4, 64, &format!("{one} {red} ld.global.f32 %f2, [%rd1+16];"));
    passes(4, 64, &format!("{one} {red} ld.relaxed.gpu.global.f32 %f2, [%rd1+12];"));
    let atom = "atom.global.v2.f16x2.add.noftz {%r10, %r11}, [%rd3], {%r1, %r1};";
    assert_eq!(uninitialised(1, 32, atom), (Access::GlobalAtomic, 8));
}

#[test]
fn registers_of_matrices() {
    let undefined = |body: &str| {
        let fault = run(1, 32, body).unwrap_err();
        assert_eq!(fault.kind, FaultKind::UninitialisedRegister, "{fault}");
        fault.instruction.clone()
    };
    let set = |registers: std::ops::Range<u32>| -> String { registers.map(|n| format!("mov.u32 %r{n}, 0;")).collect() };
    let mma = |d: &str, c: &str| {
        format!("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {d}, {{%r10, %r11}}, {{%r12}}, {c};")
    };
    passes(1, 32, &format!("{} {}", set(10..15), mma("{%r20, %r21}", "{%r13, %r14}")));
    passes(1, 32, &format!("{} {} add.u32 %r9, %r20, %r21;", set(10..15), mma("{%r20, %r21}", "{%r13, %r14}")));
    // the last register of each operand
    for missing in [11, 12, 14] {
        let some = format!("{} {}", set(10..missing), set(missing + 1..15));
        assert!(undefined(&format!("{some} {}", mma("{%r20, %r21}", "{%r13, %r14}"))).starts_with("mma.sync"));
    }
    // in some lanes
    let some = format!("{} setp.lt.u32 %p1, %r1, 31; @%p1 mov.u32 %r14, 0;", set(10..14));
    undefined(&format!("{some} {}", mma("{%r20, %r21}", "{%r13, %r14}")));
    // what nobody wants
    passes(
        1,
        32,
        "st.shared.v4.u32 [%r2], {%r1, %r1, %r1, %r1}; bar.warp.sync -1;
        ldmatrix.sync.aligned.m8n8.x2.shared.b16 {_, %r10}, [%r2]; add.u32 %r9, %r10, 1;",
    );
    undefined("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r2], {%r1, %r20};");
    undefined("st.global.v8.b32 [%rd1], {%r1, %r1, %r1, %r1, %r1, %r1, %r1, %r20};");
}
