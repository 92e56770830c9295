//! Launches and functions through the driver API: attributes, clusters, cooperative grids, occupancy.

mod cuda;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use cuda::*;

/// `clusters` writes the blocks of a cluster, `fixed` has clusters of two in its code, `bound` takes blocks of at most
/// 128 threads, `shared` has 4096 bytes.
const KERNELS: &str = "
.version 8.0
.target sm_90
.address_size 64
.visible .entry clusters(.param .u64 to, .param .u64 unused) {
    .reg .b64 %d<2>; .reg .b32 %r<5>;
    ld.param.u64 %d0, [to];
    mov.u32 %r0, %cluster_nctaid.x;
    mov.u32 %r1, %cluster_ctarank;
    mov.u32 %r2, %ctaid.x;
    mad.lo.u32 %r3, %r0, 10, %r1;
    mul.wide.u32 %d1, %r2, 4;
    add.u64 %d0, %d0, %d1;
    st.global.u32 [%d0], %r3;
    ret;
}
.visible .entry fixed(.param .u64 to, .param .u64 unused) .reqnctapercluster 2 { ret; }
.visible .entry bound(.param .u64 to, .param .u64 unused) .maxntid 128 { ret; }
.visible .entry shared(.param .u64 to, .param .u64 unused) {
    .shared .align 4 .b8 room[4096];
    .reg .b32 %r<2>;
    mov.u32 %r0, room;
    st.shared.u32 [%r0], %r0;
    ret;
}
";

fn kernel(name: &str) -> Handle {
    function(module(KERNELS), name)
}

fn attribute(function: Handle, attribute: i32) -> i32 {
    let mut value = -99;
    ok(cuFuncGetAttribute(&mut value, attribute, function));
    value
}

/// Launches with attributes.
fn launch_ex(function: Handle, blocks: u32, threads: u32, memory: u64, attributes: &[Attribute]) -> Code {
    let (list, count) = (attributes.as_ptr(), attributes.len() as u32);
    let (grid, block) = ([blocks, 1, 1], [threads, 1, 1]);
    let config = LaunchConfig { grid, block, shared: 0, stream: 0, attributes: list, count };
    cuLaunchKernelEx(&config, function, Arguments::new(&[memory, 0]).as_ptr(), null_mut())
}

#[test]
fn functions_have_attributes() {
    context();
    let (bound, shared, fixed) = (kernel("bound"), kernel("shared"), kernel("fixed"));
    assert_eq!([bound, shared].map(|function| attribute(function, 0)), [128, 1024]);
    assert_eq!([bound, shared].map(|function| attribute(function, 1)), [0, 4096]);
    assert_eq!((attribute(bound, 5), attribute(bound, 6)), (80, 90));
    assert!((1..=255).contains(&attribute(bound, 4)));
    assert_eq!([8, 9, 10, 11, 14, 15].map(|number| attribute(bound, number)), [48 << 10, -1, 0, 0, 0, 0]);
    assert_eq!([10, 11, 12, 13].map(|number| attribute(fixed, number)), [1, 2, 1, 1]);
    let mut value = 0;
    assert_eq!(cuFuncGetAttribute(&mut value, 16, bound), INVALID_VALUE);
    let set = |function, number, value| cuFuncSetAttribute(function, number, value);
    assert_eq!(set(shared, 8, (227 << 10) - 4096), SUCCESS);
    assert_eq!(set(shared, 8, (227 << 10) - 4095), INVALID_VALUE);
    assert_eq!(attribute(shared, 8), (227 << 10) - 4096);
    for (number, right, wrong) in [(9, 50, 101), (14, 1, 2), (15, 2, 3), (11, 4, -1)] {
        assert_eq!(set(bound, number, right), SUCCESS, "{number}");
        assert_eq!(attribute(bound, number), right);
        assert_eq!(set(bound, number, wrong), INVALID_VALUE, "{number}");
    }
    // what is read-only, what the code says, what there is not
    assert_eq!(set(bound, 0, 64), INVALID_VALUE);
    assert_eq!(set(fixed, 11, 4), NOT_PERMITTED);
    assert_eq!(set(bound, 16, 0), INVALID_VALUE);
    ok(cuFuncSetCacheConfig(bound, 3));
    ok(cuFuncSetSharedMemConfig(bound, 2));
    assert_eq!(cuFuncSetCacheConfig(bound, 4), INVALID_VALUE);
}

#[test]
fn launches_are_checked() {
    context();
    let bound = kernel("bound");
    let memory = upload(&[0; 8]);
    let launch = |blocks: [u32; 3], threads: [u32; 3], shared| {
        let ([x, y, z], [a, b, c]) = (blocks, threads);
        cuLaunchKernel(bound, x, y, z, a, b, c, shared, 0, Arguments::new(&[memory, 0]).as_ptr(), null_mut())
    };
    assert_eq!(launch([1; 3], [128, 1, 1], 48 << 10), SUCCESS);
    for (blocks, threads, shared) in [
        ([0, 1, 1], [1; 3], 0),
        ([1, 65536, 1], [1; 3], 0),
        ([1; 3], [1, 0, 1], 0),
        ([1; 3], [129, 1, 1], 0),
        ([1; 3], [1, 1, 65], 0),
        ([1; 3], [1; 3], (48 << 10) + 1),
    ] {
        assert_eq!(launch(blocks, threads, shared), INVALID_VALUE, "{blocks:?} {threads:?} {shared}");
    }
    // parameters in a buffer; both ways at once, neither, too few bytes
    let put = function(module(PTX), "put");
    let key = std::ptr::without_provenance_mut::<c_void>;
    let mut buffer = [memory, 77];
    let mut size = 12usize;
    let mut extra: [*mut c_void; 5] = [key(1), buffer.as_mut_ptr().cast(), key(2), (&raw mut size).cast(), null_mut()];
    ok(cuLaunchKernel(put, 1, 1, 1, 1, 1, 1, 0, 0, null_mut(), extra.as_mut_ptr()));
    assert_eq!(results(memory, 1), [77]);
    let mut arguments = Arguments::new(&[memory, 0]);
    let both = cuLaunchKernel(put, 1, 1, 1, 1, 1, 1, 0, 0, arguments.as_ptr(), extra.as_mut_ptr());
    let neither = cuLaunchKernel(put, 1, 1, 1, 1, 1, 1, 0, 0, null_mut(), null_mut());
    size = 11;
    extra[3] = (&raw mut size).cast();
    let few = cuLaunchKernel(put, 1, 1, 1, 1, 1, 1, 0, 0, null_mut(), extra.as_mut_ptr());
    assert_eq!([both, neither, few], [INVALID_VALUE; 3]);
    // as it was before
    ok(cuFuncSetBlockShape(put, 1, 1, 1));
    ok(cuFuncSetSharedSize(put, 16));
    assert_eq!(cuLaunch(put), INVALID_VALUE);
    ok(cuParamSetv(put, 0, (&raw const memory).cast(), 8));
    ok(cuParamSeti(put, 8, 78));
    ok(cuParamSetSize(put, 12));
    ok(cuLaunch(put));
    assert_eq!(results(memory, 1), [78]);
    let mut add = [memory, 0];
    let adder = function(module(PTX), "add");
    add[1] = 2;
    ok(cuFuncSetBlockShape(adder, 4, 1, 1));
    ok(cuParamSetv(adder, 0, add.as_ptr().cast(), 12));
    ok(cuLaunchGrid(adder, 3, 2));
    assert_eq!(results(memory, 1), [78 + 4 * 3 * 2 * 2]);
    assert_eq!(cuFuncSetBlockShape(adder, 0, 1, 1), INVALID_VALUE);
}

#[test]
fn clusters_have_rules() {
    context();
    let (clusters, fixed) = (kernel("clusters"), kernel("fixed"));
    let memory = upload(&[0; 32]);
    let of = |x, y, z| [Attribute::new(4, &[x, y, z])];
    assert_eq!(launch_ex(clusters, 8, 1, memory, &of(4, 1, 1)), SUCCESS);
    assert_eq!(results(memory, 8), [40, 41, 42, 43, 40, 41, 42, 43]);
    assert_eq!(launch_ex(clusters, 8, 1, memory, &[]), SUCCESS);
    assert_eq!(results(memory, 8), [10; 8]);
    // not whole clusters; a dimension of none; more blocks than everywhere, which may be allowed
    assert_eq!(launch_ex(clusters, 7, 1, memory, &of(4, 1, 1)), INVALID_VALUE);
    assert_eq!(launch_ex(clusters, 8, 1, memory, &of(4, 0, 1)), INVALID_VALUE);
    assert_eq!(launch_ex(clusters, 16, 1, memory, &of(16, 1, 1)), INVALID_CLUSTER_SIZE);
    ok(cuFuncSetAttribute(clusters, 14, 1));
    assert_eq!(launch_ex(clusters, 16, 1, memory, &of(16, 1, 1)), SUCCESS);
    assert_eq!(launch_ex(clusters, 32, 1, memory, &of(32, 1, 1)), INVALID_CLUSTER_SIZE);
    // what the code says, or what was set, is kept to
    assert_eq!(launch_ex(fixed, 4, 1, memory, &[]), SUCCESS);
    assert_eq!(launch_ex(fixed, 3, 1, memory, &[]), INVALID_VALUE);
    assert_eq!(launch_ex(fixed, 4, 1, memory, &of(2, 1, 1)), SUCCESS);
    assert_eq!(launch_ex(fixed, 4, 1, memory, &of(4, 1, 1)), INVALID_CLUSTER_SIZE);
    ok(cuFuncSetAttribute(clusters, 11, 2));
    assert_eq!(launch_ex(clusters, 8, 1, memory, &[]), INVALID_CLUSTER_SIZE);
    ok(cuFuncSetAttribute(clusters, 12, 1));
    ok(cuFuncSetAttribute(clusters, 13, 1));
    assert_eq!(launch_ex(clusters, 4, 1, memory, &[]), SUCCESS);
    assert_eq!(results(memory, 4), [20, 21, 20, 21]);
}

#[test]
fn attributes_of_launches_are_checked() {
    context();
    let clusters = kernel("clusters");
    let memory = upload(&[0; 32]);
    let one = |id, values: &[u32]| launch_ex(clusters, 4, 1, memory, &[Attribute::new(id, values)]);
    for (id, right, wrong) in [(2, 1, 2), (5, 2, 3), (6, 1, 2), (10, 1, 2), (14, 100, 101), (16, 1, 2)] {
        assert_eq!(one(id, &[right]), SUCCESS, "{id}");
        assert_eq!(one(id, &[wrong]), INVALID_VALUE, "{id}");
    }
    assert_eq!([0, 1, 8, 9].map(|id| one(id, &[0])), [SUCCESS; 4]);
    assert_eq!([3, 15, 17, u32::MAX].map(|id| one(id, &[1])), [INVALID_VALUE; 4]);
    assert_eq!(one(13, &[1]), NOT_SUPPORTED);
    let preferred = |values: &[u32]| {
        launch_ex(clusters, 8, 1, memory, &[Attribute::new(4, &[2, 1, 1]), Attribute::new(11, values)])
    };
    assert_eq!((preferred(&[4, 1, 1]), preferred(&[3, 1, 1])), (SUCCESS, INVALID_VALUE));
    // events of a launch: they cannot be timed, and are done when the kernel is
    let (event, timed) = (event(), timed_event());
    for id in [7, 12] {
        let of = |event: Handle, flags| one(id, &[event as u32, (event >> 32) as u32, flags, 0]);
        assert_eq!((of(event, 0), of(timed, 0), of(event, 2)), (SUCCESS, INVALID_VALUE, INVALID_VALUE));
        assert_eq!(of(Handle::MAX, 0), INVALID_HANDLE);
        ok(cuEventSynchronize(event));
    }
    assert_eq!(cuLaunchKernelEx(null(), clusters, null_mut(), null_mut()), INVALID_VALUE);
}

#[test]
fn cooperative_grids_have_to_fit() {
    context();
    let shared = kernel("shared");
    let memory = upload(&[0; 8]);
    let launch = |blocks, threads| {
        cuLaunchCooperativeKernel(shared, blocks, 1, 1, threads, 1, 1, 0, 0, Arguments::new(&[memory, 0]).as_ptr())
    };
    let (mut blocks, mut multiprocessors) = (0, 0);
    ok(cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, shared, 1024, 0));
    // 2048 threads of a multiprocessor
    assert_eq!(blocks, 2);
    while launch(multiprocessors * 2 + 2, 1024) == SUCCESS {
        multiprocessors += 1;
    }
    assert_eq!(multiprocessors, 132);
    assert_eq!(launch(multiprocessors * 2 + 1, 1024), COOPERATIVE_LAUNCH_TOO_LARGE);
    assert_eq!(cuLaunchCooperativeKernelMultiDevice(null_mut(), 1, 0), NOT_SUPPORTED);
}

#[test]
fn occupancy_follows_from_threads_and_shared_memory() {
    context();
    let (bound, shared) = (kernel("bound"), kernel("shared"));
    let blocks = |function, threads, dynamic| {
        let mut blocks = -1;
        let code = cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, function, threads, dynamic);
        (code, blocks)
    };
    // 2048 threads, 32 blocks; a block takes its own bytes and 1 KiB of 228 KiB
    assert_eq!(blocks(bound, 128, 0), (SUCCESS, 16));
    assert_eq!(blocks(bound, 1, 0), (SUCCESS, 32));
    assert_eq!(blocks(bound, 129, 0), (SUCCESS, 0));
    assert_eq!(blocks(shared, 32, 40 << 10), (SUCCESS, 228 / (4 + 40 + 1)));
    assert_eq!(blocks(shared, 0, 0).0, INVALID_VALUE);
    let mut found = 0;
    let with_flags = |blocks, flags| cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, bound, 128, 0, flags);
    assert_eq!((with_flags(&mut found, 1), with_flags(&mut found, 2)), (SUCCESS, INVALID_VALUE));
    let best = |function, of: Option<unsafe extern "C" fn(i32) -> usize>, dynamic, limit| {
        let (mut grid, mut block) = (0, 0);
        ok(cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, function, of, dynamic, limit));
        (grid, block)
    };
    assert_eq!(best(bound, None, 0, 0), (16 * 132, 128));
    assert_eq!(best(shared, None, 0, 0), (2 * 132, 1024));
    assert_eq!(best(shared, None, 0, 256), (8 * 132, 256));
    unsafe extern "C" fn much(threads: i32) -> usize {
        if threads > 512 { 400 << 10 } else { 0 }
    }
    assert_eq!(best(shared, Some(much), 0, 0), (4 * 132, 512));
    let available = |blocks, threads| {
        let mut bytes = 1;
        (cuOccupancyAvailableDynamicSMemPerBlock(&mut bytes, shared, blocks, threads), bytes)
    };
    assert_eq!(available(2, 1024), (SUCCESS, (228 << 10) / 2 - 4096 - 1024));
    assert_eq!(available(1, 32), (SUCCESS, (227 << 10) - 4096));
    assert_eq!(available(3, 1024).0, INVALID_VALUE);
    let config = |attributes: &[Attribute], threads| LaunchConfig {
        grid: [8, 1, 1],
        block: [threads, 1, 1],
        shared: 0,
        stream: 0,
        attributes: attributes.as_ptr(),
        count: attributes.len() as u32,
    };
    let mut size = made(|size| cuOccupancyMaxPotentialClusterSize(size, bound, &config(&[], 128)));
    assert_eq!(size, 8);
    ok(cuFuncSetAttribute(bound, 14, 1));
    ok(cuOccupancyMaxPotentialClusterSize(&mut size, bound, &config(&[], 128)));
    assert_eq!(size, 16);
    let of_four = [Attribute::new(4, &[4, 1, 1])];
    ok(cuOccupancyMaxActiveClusters(&mut size, bound, &config(&of_four, 128)));
    assert_eq!(size, 16 * 132 / 4);
    assert_eq!(cuOccupancyMaxActiveClusters(&mut size, bound, null()), INVALID_VALUE);
}
