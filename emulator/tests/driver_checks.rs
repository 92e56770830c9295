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
    let stream = made(|stream| cuStreamCreate(stream, 0));
    let event = made(|event| cuEventCreate(event, 0));
    let image = format!("{ADD}\0");
    let module = made(|module| cuModuleLoadData(module, image.as_ptr().cast()));
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
    let context = made(|context| cuCtxCreate_v2(context, 0, 0));
    one_of_everything();
    assert_eq!(cuCtxDestroy_v2(context), 0);
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
    let context = made(|context| cuCtxCreate_v2(context, 0, 0));
    one_of_everything().iter().for_each(|end| assert_eq!(end(), 0));
    assert_eq!(cuCtxDestroy_v2(context), 0);
    assert_eq!(report(), Report::default());
    // what is missing is found, whichever it is
    for missing in 0..7 {
        let context = made(|context| cuCtxCreate_v2(context, 0, 0));
        let ends = one_of_everything();
        ends.iter().enumerate().filter(|(n, _)| *n != missing).for_each(|(_, end)| assert_eq!(end(), 0));
        assert_eq!(cuCtxDestroy_v2(context), 0);
        assert_eq!(report().findings.len(), 1, "{missing}");
    }
    // switched off by the program
    assert!(SELECTED.set_checks(Checks::NONE));
    let context = made(|context| cuCtxCreate_v2(context, 0, 0));
    one_of_everything();
    assert_eq!((cuCtxDestroy_v2(context), report()), (0, Report::default()));
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

fn pool_properties() -> PoolProperties {
    let (security, reserved) = (std::ptr::null_mut(), [0; 54]);
    PoolProperties { allocation: 1, handles: 0, location: [1, 0], security, maximum: 0, usage: 0, reserved }
}

#[test]
#[ignore = "run by `what_is_left_at_the_end_decides_the_exit_code`"]
fn leaky() {
    start(0);
    upload(&[1, 2, 3]);
    let _: Handle = made(|graph| cuGraphCreate(graph, 0));
    let properties = pool_properties();
    let _: Handle = made(|pool| cuMemPoolCreate(pool, &raw const properties));
    let _: Handle = made(|context| cuCtxCreate_v2(context, 0, 0));
}

#[test]
#[ignore = "run by `what_is_left_at_the_end_decides_the_exit_code`"]
fn tidy() {
    start(0);
    assert_eq!(cuMemFree_v2(upload(&[1, 2, 3])), 0);
    assert_eq!(cuGraphDestroy(made(|graph| cuGraphCreate(graph, 0))), 0);
    let properties = pool_properties();
    assert_eq!(cuMemPoolDestroy(made(|pool| cuMemPoolCreate(pool, &raw const properties))), 0);
    assert_eq!(cuCtxDestroy_v2(made(|context| cuCtxCreate_v2(context, 0, 0))), 0);
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
fn held(stream: Handle) -> Gate {
    let (other, opened) = (made(|stream| cuStreamCreate(stream, 1)), made(|event| cuEventCreate(event, 0)));
    let gate = Gate::close(other);
    assert_eq!(cuEventRecord(opened, other), 0);
    assert_eq!(cuStreamWaitEvent(stream, opened, 0), 0);
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
    let stream = made(|stream| cuStreamCreate(stream, 1));
    let (source, data) = (pinned(1 << 16), upload(&vec![0; 1 << 16]));
    let bytes = 4 << 16;
    let copy = |offset: usize, source: &[u32]| {
        assert_eq!(cuMemcpyHtoDAsync_v2(data, source[offset..].as_ptr().cast(), bytes - 4 * offset, stream), 0);
    };
    // A slow kernel is before the copy, which has not run when the source changes.
    let slow = function(SLOW);
    let planted = |source: &mut [u32]| {
        assert_eq!(launch(slow, 32, stream, &[data, 20_000]), 0);
        copy(0, source);
        source[99] += 1;
        assert_eq!(cuStreamSynchronize(stream), 0);
    };
    planted(source);
    let found = report();
    assert_eq!(kinds(&found), [FindingKind::SourceChanged]);
    assert_eq!((found.findings[0].address, found.findings[0].bytes), (source.as_ptr() as u64, bytes as u64));
    assert!(found.findings[0].sequence > 0);
    // mended: the host waits before it writes
    assert_eq!(launch(slow, 32, stream, &[data, 2000]), 0);
    copy(0, source);
    assert_eq!(cuStreamSynchronize(stream), 0);
    source[99] += 1;
    // what the device writes to the source in the order of the stream is no mistake
    assert_eq!(launch(slow, 32, stream, &[data, 2000]), 0);
    assert_eq!(cuMemsetD32Async(source.as_ptr() as u64, 5, 7, stream), 0);
    copy(0, source);
    assert_eq!(launch(slow, 32, stream, &[source.as_ptr() as u64, 100]), 0);
    copy(1, source);
    assert_eq!(cuStreamSynchronize(stream), 0);
    // nor what the host writes once it has been waited for: a gate is what a program would do so with
    let gate = held(stream);
    copy(0, source);
    source[7] = 1234;
    gate.open();
    assert_eq!(cuStreamSynchronize(stream), 0);
    assert_eq!((download(data, 8)[7], report()), (1234, Report::default()));
    assert_eq!(cuMemFreeHost(source.as_mut_ptr().cast()), 0);
    assert_eq!(report(), Report::default());
}

/// Kernel `k(p0, p1)`: stores zero to the word at `p0` as often as `p1` says, and last its first lane's number.
const SLOW: &str = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1)\n{\n\
    .reg .pred %p<2>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\nld.param.u64 %rd1, [p0];\nld.param.u32 %r1, [p1];\n\
    L:\nst.global.u32 [%rd1], %r1;\nsub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra L;\nret;\n}\n";

#[test]
fn pinned_memory_that_is_freed_too_early_is_found() {
    passes("freed_here", &[HOST_ACCESS]);
}

#[test]
#[ignore = "run by `pinned_memory_that_is_freed_too_early_is_found`"]
fn freed_here() {
    start(0);
    let stream = made(|stream| cuStreamCreate(stream, 1));
    let data = upload(&[0; 64]);
    let slow = function(SLOW);
    for planted in [true, false] {
        // a copy to it, a copy from it, a kernel that has its address, memory that was registered
        for n in 0..4 {
            let mut own = vec![0u32; 64];
            let registered = n == 3;
            let memory: *mut u32 = if registered { own.as_mut_ptr() } else { pinned(64).as_mut_ptr() };
            if registered {
                assert_eq!(cuMemHostRegister_v2(memory.cast(), 256, 0), 0);
            }
            assert_eq!(launch(slow, 32, stream, &[data, 10_000]), 0);
            assert_eq!(
                match n {
                    0 | 3 => cuMemcpyDtoHAsync_v2(memory.cast(), data, 256, stream),
                    1 => cuMemcpyHtoDAsync_v2(data, memory.cast(), 256, stream),
                    _ => launch(slow, 32, stream, &[memory as u64, 10]),
                },
                0
            );
            if !planted {
                assert_eq!(cuStreamSynchronize(stream), 0);
            }
            let free = if registered { cuMemHostUnregister } else { cuMemFreeHost };
            assert_eq!(free(memory.cast()), 0);
            let expected: &[FindingKind] = if planted { &[FindingKind::FreedInUse] } else { &[] };
            let found = report();
            assert_eq!(kinds(&found), expected, "{n}");
            assert!(found.findings.iter().all(|finding| finding.address == memory as u64 && finding.bytes == 256));
        }
    }
    // other memory may be freed while work is pending
    let (used, unused) = (pinned(64), pinned(64));
    assert_eq!(launch(slow, 32, stream, &[used.as_ptr() as u64, 10_000]), 0);
    assert_eq!(cuMemFreeHost(unused.as_mut_ptr().cast()), 0);
    assert_eq!((cuStreamSynchronize(stream), report()), (0, Report::default()));
}
