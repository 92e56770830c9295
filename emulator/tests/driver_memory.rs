//! Memory: allocation of all kinds, copies and fills in up to three dimensions, pools, what pointers point at.

mod cuda;

use std::ffi::c_void;
use std::ptr::null_mut;

use cuda::*;

const HOST: u32 = 1;
const DEVICE: u32 = 2;
const UNIFIED: u32 = 4;

fn side2(kind: u32, host: *mut u8, device: u64, [x, y]: [usize; 2], pitch: usize) -> Side2 {
    Side2 { x, y, kind, host: host as usize, device, array: 0, pitch }
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 31 + seed * 7 + n / 251) as u8).collect()
}

fn read_bytes(address: u64, count: usize) -> Vec<u8> {
    let mut values = vec![0xee; count];
    ok(cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, count));
    values
}

#[test]
fn copies_have_rows() {
    start(0);
    const ROW: usize = 40;
    for [from_kind, to_kind] in [[HOST, DEVICE], [DEVICE, HOST], [DEVICE, DEVICE], [HOST, HOST], [UNIFIED, UNIFIED]] {
        let (mut source, mut target) = (bytes(10 * ROW, 1), bytes(12 * 50, 2));
        let (on_device, target_on_device) = (upload(&source), upload(&target));
        // A box of 13 by 5 bytes, from (3, 2) to (7, 6).
        let mut expected = target.clone();
        for y in 0..5 {
            for x in 0..13 {
                expected[(y + 6) * 50 + x + 7] = source[(y + 2) * ROW + x + 3];
            }
        }
        let from = side2(from_kind, source.as_mut_ptr(), on_device, [3, 2], ROW);
        let to = side2(to_kind, target.as_mut_ptr(), target_on_device, [7, 6], 50);
        let copy = Copy2 { from, to, width: 13, height: 5 };
        ok(cuMemcpy2D_v2(&copy));
        let found = if to_kind == HOST { target.clone() } else { read_bytes(target_on_device, target.len()) };
        assert!(found == expected, "{from_kind} to {to_kind}");
        // A row does not fit in its pitch, and a box goes past the end of device memory.
        let narrow = Copy2 { from: Side2 { pitch: 15, ..from }, ..copy };
        assert_eq!(cuMemcpy2D_v2(&narrow), INVALID_VALUE);
        if from_kind == DEVICE {
            let long = Copy2 { to, from: Side2 { y: 6, ..from }, width: 13, height: 5 };
            assert_eq!(cuMemcpy2D_v2(&long), INVALID_VALUE);
        }
        let array = Copy2 { from: Side2 { kind: 3, ..from }, ..copy };
        assert_eq!(cuMemcpy2D_v2(&array), NOT_SUPPORTED);
        let nothing = Copy2 { width: 0, ..copy };
        ok(cuMemcpy2D_v2(&nothing));
        assert_eq!((cuMemFree_v2(on_device), cuMemFree_v2(target_on_device)), (0, 0));
    }
    assert_eq!(cuMemcpy2D_v2(std::ptr::null()), INVALID_VALUE);
}

#[test]
fn copies_have_slices() {
    start(0);
    let (source, target) = (bytes(9 * 8 * 7, 3), bytes(10 * 9 * 8, 4));
    let (from, to) = (upload(&source), upload(&target));
    let side = |address, [x, y, z]: [usize; 3], pitch, height| Side { x, y, z, pitch, height, ..Side::device(address) };
    let copy =
        Copy3 { from: side(from, [1, 2, 3], 9, 8), to: side(to, [2, 1, 0], 10, 9), width: 6, height: 5, depth: 4 };
    let mut expected = target;
    for (z, y, x) in (0..4).flat_map(|z| (0..5).flat_map(move |y| (0..6).map(move |x| (z, y, x)))) {
        expected[(z * 9 + y + 1) * 10 + x + 2] = source[((z + 3) * 8 + y + 2) * 9 + x + 1];
    }
    ok(cuMemcpy3D_v2(&copy));
    assert!(read_bytes(to, expected.len()) == expected);
    let past = Copy3 { depth: 5, ..copy };
    assert_eq!(cuMemcpy3D_v2(&past), INVALID_VALUE);
    assert_eq!((cuMemFree_v2(from), cuMemFree_v2(to)), (0, 0));
}

#[test]
fn an_asynchronous_copy_of_rows_reads_pageable_memory_at_once() {
    start(0);
    let stream = stream();
    let mut source = bytes(64, 5);
    let data = upload(&[0u8; 64]);
    let gate = Gate::close(stream);
    let from = side2(HOST, source.as_mut_ptr(), 0, [0, 1], 16);
    let copy = Copy2 { from, to: side2(DEVICE, null_mut(), data, [0, 1], 16), width: 8, height: 3 };
    ok(cuMemcpy2DAsync_v2(&copy, stream));
    let mut expected = vec![0; 64];
    (1..4).for_each(|y| expected[16 * y..16 * y + 8].copy_from_slice(&source[16 * y..16 * y + 8]));
    source.fill(0xcc);
    gate.open();
    ok(cuStreamSynchronize(stream));
    assert_eq!(read_bytes(data, 64), expected);
    ok(cuMemFree_v2(data));
}

#[test]
fn fills_have_elements_and_rows() {
    start(0);
    let data = upload(&[1u8; 64]);
    ok(cuMemsetD8_v2(data + 1, 0xab, 3));
    ok(cuMemsetD16_v2(data + 6, 0x1234, 2));
    ok(cuMemsetD32_v2(data + 12, 0xdead_beef, 1));
    ok(cuMemsetD2D8_v2(data + 17, 16, 0x77, 2, 3));
    let mut expected = vec![1u8; 64];
    expected[1..4].fill(0xab);
    expected[6..10].copy_from_slice(&[0x34, 0x12, 0x34, 0x12]);
    expected[12..16].copy_from_slice(&0xdead_beefu32.to_le_bytes());
    for y in 0..3 {
        expected[17 + 16 * y..19 + 16 * y].fill(0x77);
    }
    assert_eq!(read_bytes(data, 64), expected);
    ok(cuMemsetD2D32Async(data, 32, 5, 8, 2, 0));
    assert_eq!(download(data, 16), [5; 16]);
    assert_eq!(cuMemsetD2D32Async(data, 32, 5, 9, 2, 0), INVALID_VALUE);
    assert_eq!(cuMemsetD2D32Async(data, 32, 5, 8, 3, 0), INVALID_VALUE);
    assert_eq!(cuMemsetD32_v2(data + 2, 0, 1), INVALID_VALUE);
    assert_eq!(cuMemsetD8_v2(data, 0, 65), INVALID_VALUE);
    ok(cuMemFree_v2(data));
}

#[test]
fn addresses_say_what_kind_of_copy_it_is() {
    start(0);
    let source: Vec<u32> = (0..8).collect();
    let (data, more) = (upload(&[0; 8]), upload(&[0; 8]));
    let mut back = [0u32; 8];
    ok(cuMemcpy(data, source.as_ptr() as u64, 32));
    ok(cuMemcpyAsync(more, data, 32, 0));
    ok(cuMemcpy(back.as_mut_ptr() as u64, more, 32));
    assert_eq!(back[..], source);
    let mut host = [0u32; 8];
    ok(cuMemcpy(host.as_mut_ptr() as u64, source.as_ptr() as u64, 32));
    assert_eq!(host[..], source);
    assert_eq!(cuMemcpyDtoD_v2(data, more, 33), INVALID_VALUE);
    assert_eq!((cuMemFree_v2(data), cuMemFree_v2(more), cuMemFree_v2(data), cuMemFree_v2(0)), (0, 0, INVALID_VALUE, 0));
}

#[test]
fn pitched_memory_has_rows_that_are_aligned() {
    start(0);
    let mut pitch = 0;
    let data = made(|address| cuMemAllocPitch_v2(address, &mut pitch, 700, 3, 4));
    assert!(pitch >= 700 && pitch % 512 == 0);
    ok(cuMemsetD2D8_v2(data, pitch, 1, 700, 3));
    assert_eq!(made(|size| cuMemGetAddressRange_v2(null_mut(), size, data + 5)), 3 * pitch);
    assert_eq!(cuMemAllocPitch_v2(&mut 0, &mut pitch, 1, 1, 5), INVALID_VALUE);
    ok(cuMemFree_v2(data));
}

#[test]
fn managed_memory_is_the_hosts_and_the_devices() {
    start(0);
    assert_eq!(made(|value| cuDeviceGetAttribute(value, 83, 0)), 1);
    let address = made(|address| cuMemAllocManaged(address, 16, 1));
    // SAFETY: there are four words, which nothing else uses now.
    let words = unsafe { std::slice::from_raw_parts_mut(address as *mut u32, 4) };
    words.copy_from_slice(&[1, 2, 3, 4]);
    ok(launch(kernel(ADD), 4, 0, &[address, 10]));
    ok(cuCtxSynchronize());
    assert_eq!(words, [11, 12, 13, 14]);
    // A fill of such memory is done when the call returns.
    ok(cuMemsetD32_v2(address, 3, 2));
    assert_eq!(words, [3, 3, 13, 14]);
    assert_eq!(cuMemAllocManaged(&mut 0, 16, 3), INVALID_VALUE);
    ok(cuMemFree_v2(address));
}

#[test]
fn host_memory_is_pinned_or_registered() {
    start(0);
    let words = pinned(4);
    let at: *mut c_void = words.as_mut_ptr().cast();
    assert_eq!(made(|address| cuMemHostGetDevicePointer_v2(address, at, 0)), at as u64);
    assert_eq!(made(|flags| cuMemHostGetFlags(flags, at)), 2);
    let mut other = null_mut();
    ok(cuMemHostAlloc(&mut other, 4, 4));
    assert_eq!(made(|flags| cuMemHostGetFlags(flags, other)), 6);
    assert_eq!(cuMemHostAlloc(&mut other, 4, 8), INVALID_VALUE);
    assert_eq!(cuMemHostAlloc(&mut other, 0, 0), INVALID_VALUE);
    // a kernel uses it by its own address
    words.copy_from_slice(&[1, 2, 3, 4]);
    ok(launch(kernel(ADD), 4, 0, &[at as u64, 1]));
    ok(cuCtxSynchronize());
    assert_eq!(words, [2, 3, 4, 5]);
    assert_eq!((cuMemFreeHost(at), cuMemFreeHost(at)), (0, INVALID_VALUE));

    let mut own = vec![7u32; 4];
    let at: *mut c_void = own.as_mut_ptr().cast();
    assert_eq!(cuMemHostGetDevicePointer_v2(&mut 0, at, 0), INVALID_VALUE);
    ok(cuMemHostRegister_v2(at, 16, 0));
    assert_eq!(cuMemHostRegister_v2(at.wrapping_byte_add(8), 16, 0), 712);
    ok(cuMemsetD32_v2(at as u64 + 4, 9, 2));
    assert_eq!(own, [7, 9, 9, 7]);
    assert_eq!((cuMemHostUnregister(at), cuMemHostUnregister(at)), (0, 713));
    assert_eq!(cuMemsetD32_v2(at as u64, 9, 2), INVALID_VALUE);
}

#[test]
fn pointers_have_attributes() {
    let context = start(0);
    let (device, managed) = (upload(&[0; 8]), made(|address| cuMemAllocManaged(address, 32, 1)));
    let host = pinned(8).as_mut_ptr();
    let attribute = |number, address| {
        let mut value = 0u64;
        let code = cuPointerGetAttribute(&mut value, number, address);
        if code == 0 { Ok(value) } else { Err(code) }
    };
    let (context_of, kind, start_of, size, ordinal, is_managed, number) = (1, 2, 11, 12, 9, 8, 7);
    assert_eq!(
        (attribute(kind, device), attribute(kind, host as u64), attribute(kind, managed)),
        (Ok(2), Ok(1), Ok(2))
    );
    assert_eq!(attribute(is_managed, device).unwrap() & 0xff, 0);
    assert_eq!(attribute(is_managed, managed).unwrap() & 0xff, 1);
    assert_eq!(attribute(context_of, device + 4), Ok(context as u64));
    assert_eq!((attribute(start_of, device + 4), attribute(size, device + 4)), (Ok(device), Ok(32)));
    assert_eq!(attribute(ordinal, managed), Ok(0));
    assert_eq!(attribute(4, host as u64 + 4), Ok(host as u64 + 4));
    assert_eq!(attribute(4, device), Err(INVALID_VALUE));
    assert_ne!(attribute(number, device), attribute(number, managed));
    assert_eq!(attribute(kind, device + 32), Err(INVALID_VALUE));
    assert_eq!(attribute(99, device), Err(INVALID_VALUE));
    // Several at once, of memory that is not known: nothing, without an error.
    let on_stack = 0u32;
    let (mut kind_found, mut start_found) = (9u32, 9u64);
    let mut values = [(&raw mut kind_found).cast(), (&raw mut start_found).cast()];
    let address = &raw const on_stack as u64;
    ok(cuPointerGetAttributes(2, [kind, start_of].as_ptr(), values.as_mut_ptr(), address));
    assert_eq!((kind_found, start_found), (0, 0));
    let on = 1u32;
    ok(cuPointerSetAttribute(&on, 6, device));
    assert_eq!(attribute(6, device).unwrap() & 0xff, 1);
    assert_eq!(cuPointerSetAttribute(&on, 2, device), INVALID_VALUE);
    let mut base = 0;
    assert_eq!(made(|size| cuMemGetAddressRange_v2(&mut base, size, device + 31)), 32);
    assert_eq!(base, device);
    assert_eq!(cuMemGetAddressRange_v2(&mut base, null_mut(), device + 32), NOT_FOUND);
    assert_eq!((cuMemFree_v2(device), cuMemFree_v2(managed), cuMemFreeHost(host.cast())), (0, 0, 0));
}

#[test]
fn pools_count_what_is_taken_from_them() {
    start(0);
    let stream = stream();
    let pool = made(|pool| cuMemPoolCreate(pool, &PoolProperties::new(1000)));
    let attribute = |number| {
        let mut value = 0u64;
        ok(cuMemPoolGetAttribute(pool, number, &mut value));
        value
    };
    let (threshold, used, used_high) = (4, 7, 8);
    let a = made(|address| cuMemAllocFromPoolAsync(address, 600, pool, stream));
    assert_eq!(cuMemAllocFromPoolAsync(&mut 0, 500, pool, stream), OUT_OF_MEMORY);
    let b = made(|address| cuMemAllocFromPoolAsync(address, 400, pool, stream));
    assert_eq!((attribute(used), attribute(used_high)), (1000, 1000));
    let gate = Gate::close(stream);
    ok(cuMemFreeAsync(a, stream));
    assert_eq!(cuMemFreeAsync(a, stream), INVALID_VALUE);
    assert_eq!(attribute(used), 1000);
    gate.open();
    ok(cuStreamSynchronize(stream));
    assert_eq!((attribute(used), attribute(used_high)), (400, 1000));
    let mut zero = 0u64;
    ok(cuMemPoolSetAttribute(pool, used_high, &mut zero));
    assert_eq!(attribute(used_high), 400);
    let mut kept = 1u64 << 20;
    ok(cuMemPoolSetAttribute(pool, threshold, &mut kept));
    assert_eq!((attribute(threshold), cuMemPoolSetAttribute(pool, used, &mut kept)), (1 << 20, INVALID_VALUE));
    ok(cuMemPoolTrimTo(pool, 0));
    // the pool of the device, which can be another one
    let default = made(|pool| cuDeviceGetDefaultMemPool(pool, 0));
    assert_eq!(made(|pool| cuDeviceGetMemPool(pool, 0)), default);
    assert_eq!(cuMemPoolDestroy(default), INVALID_VALUE);
    let other = made(|pool| cuMemPoolCreate(pool, &PoolProperties::new(0)));
    let mut here = [1, 0];
    assert_eq!(made(|flags| cuMemPoolGetAccess(flags, other, &mut here)), 3);
    assert_eq!(cuMemPoolSetAccess(other, &[1, 0, 0], 1), INVALID_VALUE);
    // memory of a pool outlives it, and is freed as any
    assert_eq!((cuMemPoolDestroy(pool), cuMemPoolDestroy(pool), cuMemPoolDestroy(other)), (0, INVALID_VALUE, 0));
    ok(cuMemsetD8_v2(b, 1, 400));
    assert_eq!((cuMemFree_v2(b), cuMemFree_v2(b)), (0, INVALID_VALUE));
    let remote = PoolProperties { location: [1, 5], ..PoolProperties::new(0) };
    assert_eq!(cuMemPoolCreate(&mut 0, &remote), 101);
}

#[test]
fn arrays_are_refused() {
    start(0);
    assert_eq!(cuArrayCreate_v2(&mut 0, std::ptr::null()), NOT_SUPPORTED);
}
