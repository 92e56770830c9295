//! Devices and contexts: what they say of themselves, and that what goes wrong in one leaves the others alone.

mod cuda;

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

use cuda::*;

const DEVICES: (&str, &str) = ("WARPWRIGHT_EMULATOR_DEVICES", "sm_90:64, sm_75:32,sm_86");

fn attribute(number: i32, device: i32) -> i32 {
    made(|value| cuDeviceGetAttribute(value, number, device))
}

fn name(device: i32) -> String {
    let mut text = [1 as c_char; 100];
    ok(cuDeviceGetName(text.as_mut_ptr(), 100, device));
    // SAFETY: the text ends in NUL.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap().to_owned()
}

#[test]
fn there_is_one_device_unless_more_are_asked_for() {
    start(0);
    assert_eq!(made(|count| cuDeviceGetCount(count)), 1);
    assert_eq!((attribute(75, 0), attribute(76, 0), attribute(16, 0)), (9, 0, 132));
    assert_eq!(made(|bytes| cuDeviceTotalMem_v2(bytes, 0)), 16 << 30);
    assert_eq!((cuDeviceGet(&mut 0, 1), cuDeviceGet(&mut 0, -1)), (INVALID_DEVICE, INVALID_DEVICE));
    assert_eq!(cuDeviceGetAttribute(&mut 0, 100_000, 0), INVALID_VALUE);
    assert_eq!(cuDeviceGetAttribute(&mut 0, 0, 0), INVALID_VALUE);
    // every attribute of CUDA 13.0 has an answer
    (1..=147).for_each(|number| assert!(attribute(number, 0) >= -1));
    let mut short = [1 as c_char; 4];
    ok(cuDeviceGetName(short.as_mut_ptr(), 4, 0));
    assert_eq!(short[3], 0);
    assert_eq!(cuDeviceGetName(short.as_mut_ptr(), 0, 0), INVALID_VALUE);
}

#[test]
fn devices_differ() {
    passes("devices_differ_here", &[DEVICES]);
}

#[test]
#[ignore = "run by `devices_differ`"]
fn devices_differ_here() {
    ok(cuInit(0));
    assert_eq!(made(|count| cuDeviceGetCount(count)), 3);
    assert_eq!([0, 1, 2].map(|device| attribute(75, device) * 10 + attribute(76, device)), [90, 75, 86]);
    // shared memory of a multiprocessor and of a block, threads and blocks of a multiprocessor, clusters
    assert_eq!([81, 97, 39, 106, 120].map(|number| attribute(number, 1)), [65536, 65536, 1024, 16, 0]);
    assert_eq!([81, 97, 39, 106, 120].map(|number| attribute(number, 2)), [102_400, 101_376, 1536, 16, 0]);
    let memory = |device| made(|bytes| cuDeviceTotalMem_v2(bytes, device));
    assert_eq!([0, 1, 2].map(memory), [64 << 20, 32 << 20, 24 << 30]);
    assert!(name(1).contains("T4") && name(2).contains("3090"));
    let uuid = |device| made(|uuid| cuDeviceGetUuid_v2(uuid, device));
    assert!(uuid(0) != uuid(1) && uuid(1) != uuid(2) && uuid(0) != uuid(2));
    for device in 0..3 {
        let mut text = [0 as c_char; 16];
        ok(cuDeviceGetPCIBusId(text.as_mut_ptr(), 16, device));
        assert_eq!(made(|found| cuDeviceGetByPCIBusId(found, text.as_ptr())), device);
        assert_eq!(attribute(33, device), device + 1);
    }
    assert_eq!(made(|found| cuDeviceGetByPCIBusId(found, c"02:00".as_ptr())), 1);
    assert_eq!(cuDeviceGetByPCIBusId(&mut 0, c"0000:77:00.0".as_ptr()), INVALID_DEVICE);
    assert_eq!(cuDeviceGetByPCIBusId(&mut 0, c"rubbish".as_ptr()), INVALID_VALUE);
    assert_eq!(cuDeviceGetLuid(null_mut(), null_mut(), 0), 801);
    // PTX for more than the device is refused, and so is what fits one architecture only
    let with = |target: &str| format!("{}\0", ADD.replace("sm_75", target));
    let load = |target: &str| cuModuleLoadData(&mut 0, with(target).as_ptr().cast());
    for (device, fit, unfit) in [
        (0, &["sm_75", "sm_90", "sm_90a"][..], &["sm_100", "sm_100a"][..]),
        (1, &["sm_70", "sm_75"], &["sm_80", "sm_90a"]),
    ] {
        start(device);
        fit.iter().for_each(|target| assert_eq!(load(target), 0, "{target}"));
        unfit.iter().for_each(|target| assert_eq!(load(target), 218, "{target}"));
    }
    // memory runs out on one, and there is some on the other
    start(1);
    assert_eq!(cuMemAlloc_v2(&mut 0, 33 << 20), 2);
    start(0);
    let large = made(|address| cuMemAlloc_v2(address, 33 << 20));
    let mut total = 0;
    assert_eq!(made(|free| cuMemGetInfo_v2(free, &mut total)), 31 << 20);
    assert_eq!((total, cuMemFree_v2(large)), (64 << 20, 0));
}

#[test]
fn memory_is_of_one_device() {
    passes("memory_is_of_one_device_here", &[DEVICES]);
}

#[test]
#[ignore = "run by `memory_is_of_one_device`"]
fn memory_is_of_one_device_here() {
    let other = start(1);
    let there = upload(&[1, 2, 3, 4]);
    let context = start(0);
    let here = upload(&[5, 6, 7, 8]);
    assert!(here.abs_diff(there) > 1 << 30);
    let can = |device, peer| made(|can| cuDeviceCanAccessPeer(can, device, peer));
    assert_eq!((can(0, 1), can(1, 0), can(0, 0)), (1, 1, 0));
    assert_eq!(made(|value| cuDeviceGetP2PAttribute(value, 2, 0, 1)), 1);
    assert_eq!(cuDeviceGetP2PAttribute(&mut 0, 2, 0, 0), INVALID_DEVICE);
    // copies need no access
    ok(cuMemcpyPeer(there, other, here, context, 8));
    assert_eq!(download(there, 4), [5, 6, 3, 4]);
    ok(cuMemcpyPeerAsync(here, context, there + 8, other, 8, 0));
    assert_eq!(download(here, 4), [3, 4, 7, 8]);
    assert_eq!(cuMemcpyPeer(there, 12345, here, context, 8), INVALID_CONTEXT);
    // kernels do
    let add = kernel(ADD);
    assert_eq!(cuCtxEnablePeerAccess(other, 1), INVALID_VALUE);
    assert_eq!(cuCtxEnablePeerAccess(context, 0), INVALID_DEVICE);
    assert_eq!((cuCtxEnablePeerAccess(other, 0), cuCtxEnablePeerAccess(other, 0)), (0, 704));
    assert_eq!((launch(add, 4, 0, &[there, 10]), cuCtxSynchronize()), (0, 0));
    assert_eq!(download(there, 4), [15, 16, 13, 14]);
    assert_eq!((cuCtxDisablePeerAccess(other), cuCtxDisablePeerAccess(other)), (0, 705));
    assert_eq!((launch(add, 4, 0, &[there, 10]), cuCtxSynchronize()), (0, ILLEGAL_ADDRESS));
    // all in that context fails from now on, and nothing in another
    assert_eq!(cuMemAlloc_v2(&mut 0, 4), ILLEGAL_ADDRESS);
    assert_eq!(cuStreamCreate(&mut 0, 0), ILLEGAL_ADDRESS);
    assert_eq!(cuMemsetD32_v2(here, 0, 1), ILLEGAL_ADDRESS);
    start(1);
    assert_eq!(download(there, 4), [15, 16, 13, 14]);
    assert_eq!((launch(kernel(ADD), 4, 0, &[there, 1]), cuCtxSynchronize()), (0, 0));
    // a reset makes it usable again
    ok(cuDevicePrimaryCtxReset_v2(0));
    start(0);
    let again = upload(&[1]);
    assert_eq!((launch(kernel(ADD), 1, 0, &[again, 1]), download(again, 1)), (0, vec![2]));
}

#[test]
fn devices_that_there_are_not() {
    for devices in ["sm_70", "sm_90,,h100", "", "sm_90:0"] {
        passes("no_device_here", &[("WARPWRIGHT_EMULATOR_DEVICES", devices)]);
    }
}

#[test]
#[ignore = "run by `devices_that_there_are_not`"]
fn no_device_here() {
    assert_eq!(cuInit(0), 100);
    assert_eq!(cuDeviceGetCount(&mut 0), NOT_INITIALIZED);
}

#[test]
fn nothing_works_before_it_is_initialised() {
    passes("not_initialised_here", &[]);
}

#[test]
#[ignore = "run by `nothing_works_before_it_is_initialised`"]
fn not_initialised_here() {
    assert_eq!(made(|version| cuDriverGetVersion(version)), 13000);
    assert_eq!(cuDeviceGetCount(&mut 0), NOT_INITIALIZED);
    assert_eq!(cuDeviceGet(&mut 0, 0), NOT_INITIALIZED);
    assert_eq!(cuDeviceGetAttribute(&mut 0, 1, 0), NOT_INITIALIZED);
    assert_eq!(cuDevicePrimaryCtxRetain(&mut 0, 0), NOT_INITIALIZED);
    assert_eq!(cuCtxGetCurrent(&mut 0), NOT_INITIALIZED);
    assert_eq!(cuCtxCreate_v2(&mut 0, 0, 0), NOT_INITIALIZED);
    assert_eq!(cuMemAlloc_v2(&mut 0, 4), NOT_INITIALIZED);
    assert_eq!(cuStreamCreate(&mut 0, 0), NOT_INITIALIZED);
    assert_eq!(cuInit(1), INVALID_VALUE);
    ok(cuInit(0));
    // initialised, but without a context
    assert_eq!(made(|context: *mut Handle| cuCtxGetCurrent(context)), 0);
    assert_eq!(cuMemAlloc_v2(&mut 0, 4), INVALID_CONTEXT);
    assert_eq!(cuCtxSynchronize(), INVALID_CONTEXT);
    assert_eq!(cuCtxPopCurrent_v2(&mut 0), INVALID_CONTEXT);
}

#[test]
fn contexts_are_on_a_stack_for_each_thread() {
    let primary = start(0);
    let current = || made(|context: *mut Handle| cuCtxGetCurrent(context));
    let one = context();
    let two = made(|context| cuCtxCreate_v4(context, null_mut(), 0, 0));
    assert_eq!(current(), two);
    std::thread::spawn(move || {
        assert_eq!(current(), 0);
        assert_eq!((cuCtxPushCurrent_v2(one), current()), (0, one));
    })
    .join()
    .unwrap();
    assert_eq!(made(|context: *mut Handle| cuCtxPopCurrent_v2(context)), two);
    assert_eq!(current(), one);
    let id = |context| made(|id| cuCtxGetId(context, id));
    assert!(id(one) != id(two) && id(one) == id(0) && id(primary) != id(one));
    // objects are of one context
    let (stream, memory) = (blocking_stream(), upload(&[1]));
    let event = timed_event();
    assert_eq!((cuCtxSetCurrent(two), cuEventRecord(event, 0)), (0, 400));
    assert_eq!(download(memory, 1), [1]);
    ok(cuCtxDestroy_v2(one));
    assert_eq!((cuStreamQuery(stream), cuEventQuery(event)), (400, 400));
    assert_eq!(cuMemFree_v2(memory), INVALID_VALUE);
    assert_eq!((cuCtxSetCurrent(one), cuCtxPushCurrent_v2(one), cuCtxDestroy_v2(one)), (201, 201, 201));
    // attached once more, it is there until it was detached twice
    let attached = made(|context| cuCtxAttach(context, 0));
    assert_eq!((attached, cuCtxAttach(&mut 0, 1)), (two, INVALID_VALUE));
    assert_eq!((cuCtxDetach(two), cuCtxSynchronize()), (0, 0));
    assert_eq!((cuCtxDetach(two), cuCtxPushCurrent_v2(two)), (0, INVALID_CONTEXT));
    assert_eq!(cuCtxDestroy_v2(primary), INVALID_CONTEXT);
    assert_eq!(cuCtxCreate_v2(&mut 0, 0, 7), INVALID_DEVICE);
    assert_eq!(cuCtxCreate_v2(&mut 0, 3, 0), INVALID_VALUE);
}

#[test]
fn a_primary_context_is_counted() {
    passes("primary_here", &[]);
}

#[test]
#[ignore = "run by `a_primary_context_is_counted`"]
fn primary_here() {
    ok(cuInit(0));
    let state = || {
        let mut flags = 99;
        (made(|active| cuDevicePrimaryCtxGetState(0, &mut flags, active)), flags)
    };
    assert_eq!((state(), cuDevicePrimaryCtxRelease_v2(0)), ((0, 0), INVALID_CONTEXT));
    assert_eq!((cuDevicePrimaryCtxSetFlags_v2(0, 4), state()), (0, (0, 4)));
    let context = start(0);
    assert_eq!(start(0), context);
    assert_eq!((state(), made(|flags| cuCtxGetFlags(flags))), ((1, 4), 4));
    assert_eq!(cuDevicePrimaryCtxSetFlags_v2(0, 0x100), INVALID_VALUE);
    assert_eq!((cuDevicePrimaryCtxRelease_v2(0), state().0), (0, 1));
    assert_eq!((cuDevicePrimaryCtxRelease_v2(0), state().0), (0, 0));
    assert_eq!(cuMemAlloc_v2(&mut 0, 4), INVALID_CONTEXT);
    assert_ne!(start(0), context);
    // A reset ends the context, but not the count of who is to release it.
    assert_eq!((cuDevicePrimaryCtxReset_v2(0), state().0), (0, 0));
    assert_eq!((cuCtxSynchronize(), cuDevicePrimaryCtxReset_v2(0)), (INVALID_CONTEXT, 0));
    start(0);
    assert_eq!((cuDevicePrimaryCtxRelease_v2(0), state().0), (0, 1));
    assert_eq!((cuDevicePrimaryCtxRelease_v2(0), state().0, cuDevicePrimaryCtxRelease_v2(0)), (0, 0, INVALID_CONTEXT));
}

#[test]
fn a_context_remembers_what_it_is_told() {
    start(0);
    let context = context();
    let limit = |number| made(|value| cuCtxGetLimit(value, number));
    assert_eq!((limit(0), limit(1), limit(2)), (1024, 1 << 20, 8 << 20));
    assert_eq!((cuCtxSetLimit(1, 4 << 20), limit(1)), (0, 4 << 20));
    assert_eq!((cuCtxSetLimit(0, 1 << 30), limit(0)), (INVALID_VALUE, 1024));
    assert_eq!((cuCtxSetLimit(99, 1), cuCtxGetLimit(&mut 0, -1)), (215, 215));
    assert_eq!((cuCtxSetCacheConfig(2), made(|config| cuCtxGetCacheConfig(config))), (0, 2));
    assert_eq!(cuCtxSetCacheConfig(4), INVALID_VALUE);
    assert_eq!(made(|device| cuCtxGetDevice(device)), 0);
    ok(cuCtxDestroy_v2(context));
}

#[test]
fn every_code_has_a_name_and_a_text() {
    let text = |get: extern "C" fn(u32, *mut *const c_char) -> u32, code| {
        let mut text = std::ptr::null();
        // SAFETY: the text of a code that there is ends in NUL.
        (get(code, &mut text) == 0).then(|| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned())
    };
    let known: Vec<u32> = (0..2000).filter(|&code| text(*cuGetErrorName, code).is_some()).collect();
    // the numbers of `cuda.h` of CUDA 13.0
    let mut expected: Vec<u32> = (0..=8).chain([34, 36, 46, 47, 100, 101, 102]).chain(200..=202).collect();
    expected.extend((205..=227).chain(300..=304).chain(400..=402).chain([500, 600]).chain(700..=705).chain(708..=721));
    expected.extend((800..=812).chain(900..=917).chain([999]));
    assert_eq!(known, expected);
    for code in known {
        let name = text(*cuGetErrorName, code).unwrap();
        assert!(name == "CUDA_SUCCESS" || name.starts_with("CUDA_ERROR_"), "{name}");
        assert!(!text(*cuGetErrorString, code).unwrap().is_empty());
    }
    assert_eq!(text(*cuGetErrorName, 700).unwrap(), "CUDA_ERROR_ILLEGAL_ADDRESS");
    assert_eq!(text(*cuGetErrorString, 2).unwrap(), "out of memory");
    assert_eq!((text(*cuGetErrorName, 1000), text(*cuGetErrorString, 9)), (None, None));
}

#[test]
fn functions_are_found_by_version() {
    start(0);
    let look = |name: &CStr, version, flags| {
        let (mut function, mut status) = (null_mut(), 9);
        let code = cuGetProcAddress_v2(name.as_ptr(), &mut function, version, flags, &mut status);
        (code, function, status)
    };
    let here = |name| (0, symbol(name).unwrap(), 0);
    assert_eq!(look(c"cuMemAlloc", 13000, 0), here("cuMemAlloc_v2"));
    assert_eq!(look(c"cuCtxCreate", 11000, 0), here("cuCtxCreate_v2"));
    assert_eq!(look(c"cuCtxCreate", 12000, 0), here("cuCtxCreate_v3"));
    assert_eq!(look(c"cuCtxCreate", 13000, 0), here("cuCtxCreate_v4"));
    assert_eq!(look(c"cuGetProcAddress", 11030, 0), here("cuGetProcAddress"));
    assert_eq!(look(c"cuGetProcAddress", 12000, 0), here("cuGetProcAddress_v2"));
    assert_eq!(look(c"cuMemcpyHtoDAsync", 12000, 1), here("cuMemcpyHtoDAsync_v2"));
    assert_eq!(look(c"cuMemcpyHtoDAsync", 12000, 2), here("cuMemcpyHtoDAsync_v2_ptsz"));
    assert_eq!(look(c"cuMemAlloc", 12000, 2), here("cuMemAlloc_v2"));
    assert_eq!(look(c"cuCtxCreate", 3000, 0), (500, null_mut(), 2));
    assert_eq!(look(c"cuNothing", 13000, 0), (500, null_mut(), 1));
    assert_eq!(look(c"cuMemAlloc", 13000, 4).0, INVALID_VALUE);
    let mut function = null_mut();
    ok(cuGetProcAddress(c"cuInit".as_ptr(), &mut function, 13000, 0));
    assert_eq!(Some(function), symbol("cuInit"));
    assert_eq!(cuGetProcAddress(std::ptr::null(), &mut function, 13000, 0), INVALID_VALUE);
    let mut table = std::ptr::dangling();
    assert_eq!(cuGetExportTable(&mut table, &[0; 16]), 500);
    assert!(table.is_null());
}
