//! The checks at the side of the host: each finds a mistake that is planted, and passes its mended twin.

mod cuda;

use std::ffi::c_void;

use cuda::*;
use warpwright_emulator::checks::{Checks, FindingKind, Report};

const LEAKS: (&str, &str) = ("WARPWRIGHT_EMULATOR_CHECKS", "leaks");
const HOST_ACCESS: (&str, &str) = ("WARPWRIGHT_EMULATOR_CHECKS", "host-access");
const EXIT_CODE: (&str, &str) = ("WARPWRIGHT_EMULATOR_EXIT_CODE", "42");

fn report() -> Report {
    SELECTED.take_report().unwrap()
}

fn kinds(report: &Report) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// Makes one of everything in a context, and returns how to get rid of it.
fn one_of_everything() -> Vec<Box<dyn Fn() -> u32>> {
    let memory = upload(&[1; 100]);
    let host = pinned(50).as_mut_ptr() as usize;
    let managed = made(|address| cuMemAllocManaged(address, 24, 1));
    let stream = blocking_stream();
    let event = timed_event();
    let module = module(ADD);
    let pooled = made(|address| cuMemAllocAsync(address, 16, stream));
    vec![
        Box::new(move || cuMemFree_v2(memory)),
        Box::new(move || cuMemFreeHost(host as *mut c_void)),
        Box::new(move || cuMemFree_v2(managed)),
        Box::new(move || cuMemFreeAsync(pooled, stream)),
        Box::new(move || cuStreamDestroy_v2(stream)),
        Box::new(move || cuEventDestroy_v2(event)),
        Box::new(move || cuModuleUnload(module)),
    ]
}

#[test]
fn what_is_left_in_a_context_is_found() {
    passes("leaks_here", &[LEAKS]);
}

#[test]
#[ignore = "run by `what_is_left_in_a_context_is_found`"]
fn leaks_here() {
    use FindingKind::{LeakedDeviceMemory, LeakedEvent, LeakedHostMemory, LeakedModule, LeakedStream};
    start(0);
    let own = context();
    one_of_everything();
    ok(cuCtxDestroy_v2(own));
    let found = report();
    for (kind, count) in
        [(LeakedDeviceMemory, 2), (LeakedHostMemory, 2), (LeakedStream, 1), (LeakedEvent, 1), (LeakedModule, 1)]
    {
        assert_eq!(found.of(kind).count(), count, "{kind:?}");
    }
    let sizes = |kind| found.of(kind).map(|finding| finding.bytes).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sizes(LeakedDeviceMemory), [16, 400].into());
    assert_eq!(sizes(LeakedHostMemory), [24, 200].into());
    assert!(found.findings.iter().all(|finding| finding.sequence > 0 && finding.address > 0));
    assert!(found.to_string().contains("400 bytes at 0x"), "{found}");
    // mended: each is given back, and then nothing is found
    let own = context();
    one_of_everything().iter().for_each(|end| assert_eq!(end(), 0));
    ok(cuCtxDestroy_v2(own));
    assert_eq!(report(), Report::default());
    // what is missing is found, whichever it is
    for missing in 0..7 {
        let own = context();
        let ends = one_of_everything();
        ends.iter().enumerate().filter(|(n, _)| *n != missing).for_each(|(_, end)| assert_eq!(end(), 0));
        ok(cuCtxDestroy_v2(own));
        assert_eq!(report().findings.len(), 1, "{missing}");
    }
    // switched off by the program
    assert!(SELECTED.set_checks(Checks::NONE));
    let own = context();
    one_of_everything();
    assert_eq!((cuCtxDestroy_v2(own), report()), (0, Report::default()));
}

#[test]
fn what_is_left_at_the_end_decides_the_exit_code() {
    let leaky = child("leaky", &[LEAKS, EXIT_CODE]);
    let said = String::from_utf8_lossy(&leaky.stderr).into_owned();
    assert_eq!(leaky.status.code(), Some(42), "{said}");
    for what in ["a graph was not destroyed when the process ended", "12 bytes at 0x", "a memory pool", "a context"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    // without the exit code it only says so, without the check it says nothing
    let warned = child("leaky", &[LEAKS]);
    assert_eq!(warned.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&warned.stderr).contains("leak: "));
    let unchecked = child("leaky", &[EXIT_CODE]);
    assert_eq!(unchecked.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&unchecked.stderr).contains("leak: "));
    let tidy = child("tidy", &[LEAKS, EXIT_CODE]);
    assert_eq!(tidy.status.code(), Some(0), "{}", String::from_utf8_lossy(&tidy.stderr));
}

#[test]
#[ignore = "run by `what_is_left_at_the_end_decides_the_exit_code`"]
fn leaky() {
    start(0);
    upload(&[1, 2, 3]);
    graph();
    let _: Handle = made(|pool| cuMemPoolCreate(pool, &PoolProperties::new(0)));
    context();
}

#[test]
#[ignore = "run by `what_is_left_at_the_end_decides_the_exit_code`"]
fn tidy() {
    start(0);
    ok(cuMemFree_v2(upload(&[1, 2, 3])));
    ok(cuGraphDestroy(graph()));
    ok(cuMemPoolDestroy(made(|pool| cuMemPoolCreate(pool, &PoolProperties::new(0)))));
    ok(cuCtxDestroy_v2(context()));
}

#[test]
fn a_check_that_there_is_not_is_an_error() {
    let text = passes("unknown_check_here", &[("WARPWRIGHT_EMULATOR_CHECKS", "leeks")]);
    assert!(text.contains("there is no check `leeks`"), "{text}");
}

#[test]
#[ignore = "run by `a_check_that_there_is_not_is_an_error`"]
fn unknown_check_here() {
    assert_eq!(cuInit(0), 1);
}

/// Keeps the device busy, with work that is not the host's, until the value at the end of `words` changes; the host waits
/// for nothing. A kernel cannot be held up, so this is a wait for an event behind a gate.
fn held(waiting: Handle) -> Gate {
    let (other, opened) = (stream(), timed_event());
    let gate = Gate::close(other);
    ok(cuEventRecord(opened, other));
    ok(cuStreamWaitEvent(waiting, opened, 0));
    gate
}

#[test]
fn a_source_that_changes_too_early_is_found() {
    passes("source_here", &[HOST_ACCESS]);
}

#[test]
#[ignore = "run by `a_source_that_changes_too_early_is_found`"]
fn source_here() {
    start(0);
    let stream = stream();
    let (source, data) = (pinned(1 << 16), upload(&vec![0; 1 << 16]));
    let bytes = 4 << 16;
    let copy = |offset: usize, source: &[u32]| {
        ok(cuMemcpyHtoDAsync_v2(data, source[offset..].as_ptr().cast(), bytes - 4 * offset, stream));
    };
    // A slow kernel is before the copy, which has not run when the source changes.
    let slow = kernel(SLOW);
    let planted = |source: &mut [u32]| {
        ok(launch(slow, 32, stream, &[data, 20_000]));
        copy(0, source);
        source[99] += 1;
        ok(cuStreamSynchronize(stream));
    };
    planted(source);
    let found = report();
    assert_eq!(kinds(&found), [FindingKind::SourceChanged]);
    assert_eq!((found.findings[0].address, found.findings[0].bytes), (source.as_ptr() as u64, bytes as u64));
    assert!(found.findings[0].sequence > 0);
    // mended: the host waits before it writes
    ok(launch(slow, 32, stream, &[data, 2000]));
    copy(0, source);
    ok(cuStreamSynchronize(stream));
    source[99] += 1;
    // what the device writes to the source in the order of the stream is no mistake
    ok(launch(slow, 32, stream, &[data, 2000]));
    ok(cuMemsetD32Async(source.as_ptr() as u64, 5, 7, stream));
    copy(0, source);
    ok(launch(slow, 32, stream, &[source.as_ptr() as u64, 100]));
    copy(1, source);
    ok(cuStreamSynchronize(stream));
    // nor what the host writes once it has been waited for: a gate is what a program would do so with
    let gate = held(stream);
    copy(0, source);
    source[7] = 1234;
    gate.open();
    ok(cuStreamSynchronize(stream));
    assert_eq!((download(data, 8)[7], report()), (1234, Report::default()));
    ok(cuMemFreeHost(source.as_mut_ptr().cast()));
    assert_eq!(report(), Report::default());
}

/// Kernel `k(p0, p1)`: stores zero to the word at `p0` as often as `p1` says, and last its first lane's number.
const SLOW: &str = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1)\n{\n\
    .reg .pred %p<2>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\nld.param.u64 %rd1, [p0];\nld.param.u32 %r1, [p1];\n\
    L:\nst.global.u32 [%rd1], %r1;\nsub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra L;\nret;\n}\n";
/// Kernel `k(p0, p1)`: ends when the word at `p0` is not 0.
const UNTIL: &str = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1)\n{\n\
    .reg .pred %p<2>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\nld.param.u64 %rd1, [p0];\n\
    L:\nld.volatile.global.u32 %r1, [%rd1];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra L;\nret;\n}\n";

#[test]
fn pinned_memory_that_is_freed_too_early_is_found() {
    passes("freed_here", &[HOST_ACCESS]);
}

#[test]
#[ignore = "run by `pinned_memory_that_is_freed_too_early_is_found`"]
fn freed_here() {
    start(0);
    let stream = stream();
    let data = upload(&[0; 64]);
    let slow = kernel(SLOW);
    for planted in [true, false] {
        // a copy to it, a copy from it, a kernel that has its address, memory that was registered
        for n in 0..4 {
            let mut own = vec![0u32; 64];
            let registered = n == 3;
            let memory: *mut u32 = if registered { own.as_mut_ptr() } else { pinned(64).as_mut_ptr() };
            if registered {
                ok(cuMemHostRegister_v2(memory.cast(), 256, 0));
            }
            ok(launch(slow, 32, stream, &[data, 10_000]));
            assert_eq!(
                match n {
                    0 | 3 => cuMemcpyDtoHAsync_v2(memory.cast(), data, 256, stream),
                    1 => cuMemcpyHtoDAsync_v2(data, memory.cast(), 256, stream),
                    _ => launch(slow, 32, stream, &[memory as u64, 10]),
                },
                0
            );
            if !planted {
                ok(cuStreamSynchronize(stream));
            }
            let free = if registered { *cuMemHostUnregister } else { *cuMemFreeHost };
            assert_eq!(free(memory.cast()), 0);
            let expected: &[FindingKind] = if planted { &[FindingKind::FreedInUse] } else { &[] };
            let found = report();
            assert_eq!(kinds(&found), expected, "{n}");
            assert!(found.findings.iter().all(|finding| finding.address == memory as u64 && finding.bytes == 256));
        }
    }
    // other memory may be freed while work is pending
    let (used, unused) = (pinned(64), pinned(64));
    ok(launch(slow, 32, stream, &[used.as_ptr() as u64, 10_000]));
    ok(cuMemFreeHost(unused.as_mut_ptr().cast()));
    assert_eq!((cuStreamSynchronize(stream), report()), (0, Report::default()));
}

const RACES: (&str, &str) = ("WARPWRIGHT_EMULATOR_CHECKS", "races");

#[test]
fn memory_of_pools_that_is_used_out_of_order_is_found() {
    passes("pools_here", &[RACES]);
}

#[test]
#[ignore = "run by `memory_of_pools_that_is_used_out_of_order_is_found`"]
fn pools_here() {
    use FindingKind::{UseAfterFree, UseBeforeAllocation};
    start(0);
    let add = kernel(ADD);
    let event_in = |stream| {
        let event = event();
        ok(cuEventRecord(event, stream));
        event
    };
    // Everything is waited for in truth, so that only the order that the program asked for counts.
    let settle = || std::thread::sleep(std::time::Duration::from_millis(5));

    // A use in another stream: by a copy or a kernel, with the wait for the allocation and without, where the host has seen
    // its end, and through a third stream.
    for by_kernel in [false, true] {
        for way in ["missing", "event", "host", "third", "query"] {
            let (a, b, c) = (stream(), stream(), stream());
            let memory = made(|address| cuMemAllocAsync(address, 64, a));
            settle();
            match way {
                "event" => ok(cuStreamWaitEvent(b, event_in(a), 0)),
                "host" => ok(cuStreamSynchronize(a)),
                "query" => ok(cuStreamQuery(a)),
                "third" => {
                    ok(cuStreamWaitEvent(c, event_in(a), 0));
                    ok(cuStreamWaitEvent(b, event_in(c), 0));
                }
                _ => {}
            }
            let code = if by_kernel { launch(add, 4, b, &[memory, 1]) } else { cuMemsetD32Async(memory, 1, 4, b) };
            assert_eq!((code, cuStreamSynchronize(b), cuMemFreeAsync(memory, b), cuCtxSynchronize()), (0, 0, 0, 0));
            let found = report();
            if way == "missing" {
                // Neither the use nor the release waits.
                assert_eq!(kinds(&found), [UseBeforeAllocation, UseBeforeAllocation], "{found}");
                assert!(found.findings.iter().all(|finding| finding.address == memory && finding.bytes == 64));
            } else {
                assert_eq!(found, Report::default(), "{way}");
            }
        }
    }

    // A release in another stream, with the wait for the use and without.
    for waits in [false, true] {
        let (a, b) = (stream(), stream());
        let memory = made(|address| cuMemAllocAsync(address, 64, a));
        let allocated = event_in(a);
        ok(cuMemsetD32Async(memory, 1, 4, a));
        ok(cuStreamWaitEvent(b, if waits { event_in(a) } else { allocated }, 0));
        settle();
        assert_eq!((cuMemFreeAsync(memory, b), cuCtxSynchronize()), (0, 0));
        assert_eq!(kinds(&report()), if waits { vec![] } else { vec![UseAfterFree] });
    }

    // A use that was submitted after the release, while the release is still to come.
    let (a, b) = (stream(), stream());
    let memory = made(|address| cuMemAllocAsync(address, 64, a));
    ok(cuStreamSynchronize(a));
    let gate = Gate::close(a);
    ok(cuMemFreeAsync(memory, a));
    assert_eq!((cuMemsetD32Async(memory, 1, 4, b), cuStreamSynchronize(b)), (0, 0));
    assert_eq!(kinds(&report()), [UseAfterFree]);
    gate.open();
    ok(cuStreamSynchronize(a));

    // The legacy stream waits by itself, and is waited for.
    let blocking = blocking_stream();
    let memory = made(|address| cuMemAllocAsync(address, 64, blocking));
    ok(cuMemsetD32_v2(memory, 1, 4));
    settle();
    assert_eq!((cuMemFreeAsync(memory, blocking), cuCtxSynchronize()), (0, 0));
    // Two integers side by side make no address, whatever they are.
    let pair = kernel(
        ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u32 a, .param .u32 b) { ret; }",
    );
    let (a, b) = (stream(), stream());
    let memory = made(|address| cuMemAllocAsync(address, 64, a));
    assert_eq!(launch(pair, 1, b, &[memory & 0xffff_ffff, memory >> 32]), 0);
    settle();
    assert_eq!((cuMemFreeAsync(memory, a), cuCtxSynchronize()), (0, 0));
    // Memory that is not of a pool is for all streams at once.
    let plain = upload(&[0]);
    assert_eq!((cuMemsetD32Async(plain, 1, 1, a), cuMemFree_v2(plain)), (0, 0));
    assert_eq!(report(), Report::default());
}

#[test]
fn a_result_that_is_used_too_early_is_found() {
    passes("result_here", &[HOST_ACCESS]);
}

#[test]
#[ignore = "run by `a_result_that_is_used_too_early_is_found`"]
fn result_here() {
    unsafe extern "C" fn read(word: *mut c_void) {
        // SAFETY: the test keeps the word until the stream has come to its end.
        assert_eq!(unsafe { word.cast::<u32>().read_volatile() }, 1);
    }
    start(0);
    let stream = stream();
    let (data, slow) = (upload(&[1; 4096]), kernel(SLOW));
    let busy = || ok(launch(slow, 32, stream, &[data + 16000, 20_000]));
    let settled = || ok(cuStreamSynchronize(stream));
    // The stream is busy until the host says that it is not. (What waits for the host guards nothing.)
    let (until, said) = (kernel(UNTIL), pinned(1).as_mut_ptr());
    let shut = || {
        // SAFETY: there is a word, and no kernel is using it.
        unsafe { said.write_volatile(0) };
        ok(launch(until, 1, stream, &[said as u64, 0]));
        // SAFETY: there is a word, which the kernel only reads.
        move || unsafe { said.write_volatile(1) }
    };
    // a word, the pages of a large allocation, managed memory
    let small = pinned(1).as_mut_ptr();
    let large = pinned(4096).as_mut_ptr();
    let managed = made(|address| cuMemAllocManaged(address, 4, 1)) as *mut u32;
    for (memory, count) in [(small, 1), (large, 4000), (managed, 1)] {
        for write in [false, true] {
            let open = shut();
            ok(cuMemcpyDtoHAsync_v2(memory.cast(), data, 4 * count, stream));
            // SAFETY: there is a word, which the device writes at the same time: that is the mistake.
            unsafe { if write { memory.write_volatile(2) } else { assert_eq!(memory.read_volatile() & !3, 0) } };
            open();
            settled();
            let found = report();
            assert_eq!(kinds(&found), [FindingKind::HostAccess], "{found}");
            assert_eq!(found.findings[0].address, memory as u64);
            // mended
            busy();
            ok(cuMemcpyDtoHAsync_v2(memory.cast(), data, 4 * count, stream));
            settled();
            // SAFETY: the device is done with it.
            assert_eq!(unsafe { memory.read_volatile() }, 1);
            assert_eq!(report(), Report::default());
        }
    }
    // A fill is a write too, and one in a thread of its own is found as well.
    let open = shut();
    ok(cuMemsetD32Async(small as u64, 1, 1, stream));
    let address = small as usize;
    // SAFETY: there is a word.
    std::thread::spawn(move || unsafe { (address as *const u32).read_volatile() }).join().unwrap();
    open();
    settled();
    assert_eq!(kinds(&report()), [FindingKind::HostAccess]);
    // No mistake: what the copy does not write, also in its last page; reading the source of a copy; memory that a kernel
    // uses while the host looks at it; a function in the order of the stream.
    busy();
    ok(cuMemcpyDtoHAsync_v2(large.cast(), data, 4 * 1500, stream));
    // SAFETY: the device does not use this part.
    unsafe { large.add(1500).write_volatile(77) };
    settled();
    busy();
    ok(cuMemcpyHtoDAsync_v2(data, small.cast(), 4, stream));
    // SAFETY: nobody writes it.
    assert_eq!(unsafe { small.read_volatile() }, 1);
    settled();
    ok(launch(slow, 32, stream, &[small as u64, 20_000]));
    // SAFETY: there is a word; the kernel stores whole words.
    while unsafe { small.read_volatile() } != 1 {
        std::thread::yield_now();
    }
    settled();
    ok(cuMemcpyDtoHAsync_v2(small.cast(), data, 4, stream));
    ok(cuLaunchHostFunc(stream, read, small.cast()));
    ok(cuMemcpyDtoHAsync_v2(small.cast(), data, 4, stream));
    settled();
    // SAFETY: the device does not use this part.
    assert_eq!((unsafe { large.add(1500).read_volatile() }, report()), (77, Report::default()));
    // a fault that has nothing to do with it is what it always was
    assert_eq!((cuMemFreeHost(small.cast()), cuMemFreeHost(large.cast()), cuMemFree_v2(managed as u64)), (0, 0, 0));
    assert_eq!(report(), Report::default());
}

#[test]
fn other_faults_are_as_they_were() {
    use std::os::unix::process::ExitStatusExt;
    let output = child("fault_here", &[HOST_ACCESS]);
    assert_eq!(output.status.signal(), Some(11), "{output:?}");
}

#[test]
#[ignore = "run by `other_faults_are_as_they_were`; it ends its process"]
fn fault_here() {
    start(0);
    let memory = pinned(1);
    ok(cuMemFreeHost(memory.as_mut_ptr().cast()));
    // SAFETY: there is none: nothing is mapped at this address, and the process ends.
    unsafe { (8 as *const u32).read_volatile() };
}

#[test]
fn kernels_are_checked_for_what_they_read() {
    let text = passes("initialised_here", &[("WARPWRIGHT_EMULATOR_CHECKS", "initialised")]);
    assert!(text.contains("kernel k"), "{text}");
    // Without the check it is memory like any other.
    let output = child("initialised_here", &[]);
    assert!(!output.status.success());
}

#[test]
#[ignore = "run by `kernels_are_checked_for_what_they_read`"]
fn initialised_here() {
    start(0);
    let add = kernel(ADD);
    let run = |memory| (launch(add, 4, 0, &[memory, 1]), cuCtxSynchronize());
    let new = || made(|address| cuMemAlloc_v2(address, 16));
    // written by a fill, by the host, by a kernel, and by copies of these
    let (filled, uploaded, copied) = (new(), upload(&[1, 2, 3, 4]), new());
    ok(cuMemsetD32_v2(filled, 3, 4));
    assert_eq!((run(filled), run(uploaded), run(uploaded)), ((0, 0), (0, 0), (0, 0)));
    assert_eq!((cuMemcpyDtoD_v2(copied, uploaded, 16), run(copied)), (0, (0, 0)));
    assert_eq!(download(copied, 4), [4, 5, 6, 7]);
    // A copy of what nothing has written is not written, and reading it is an error.
    ok(cuMemcpyDtoD_v2(copied + 4, new(), 4));
    assert_eq!(report(), Report::default());
    assert_eq!(run(copied), (0, 719));
    let found = report();
    assert_eq!(kinds(&found), [FindingKind::ContextEnded]);
    assert!(found.to_string().contains("kernel k"), "{found}");
}

#[test]
fn a_program_that_does_not_look_at_errors_fails_too() {
    let output = child("careless", &[EXIT_CODE]);
    assert_eq!(output.status.code(), Some(42), "{output:?}");
}

#[test]
#[ignore = "run by `a_program_that_does_not_look_at_errors_fails_too`"]
fn careless() {
    start(0);
    launch(kernel(ADD), 4, 0, &[8, 1]);
    cuCtxSynchronize();
}
