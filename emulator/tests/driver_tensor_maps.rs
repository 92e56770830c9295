//! Tensor maps that the driver makes, and the boxes of tensors that kernels copy by them, compared with loops over the elements.

mod cuda;

use std::ffi::c_void;
use std::ptr::{from_mut, null_mut};

use cuda::*;

const U8: u32 = 0;
const U32: u32 = 2;
const F16: u32 = 6;
const F32: u32 = 7;
const F64: u32 = 8;
const BF16: u32 = 9;

/// A tensor, and boxes of it.
#[derive(Clone, Debug)]
struct Tensor {
    element: u32,
    bytes: u64,
    sizes: Vec<u64>,
    /// In bytes, of all dimensions but the first.
    strides: Vec<u64>,
    box_sizes: Vec<u32>,
    steps: Vec<u32>,
    swizzle: u32,
    fill_nan: bool,
}

impl Tensor {
    /// Rows that are padded to 16 bytes, and 16 more.
    fn new(element: u32, bytes: u64, sizes: &[u64], box_sizes: &[u32]) -> Self {
        let mut strides: Vec<u64> = Vec::new();
        for n in 1..sizes.len() {
            let row = strides.last().map_or(sizes[0] * bytes, |stride| stride * sizes[n - 1]);
            strides.push(row.next_multiple_of(16) + 16);
        }
        let (sizes, box_sizes, steps) = (sizes.to_vec(), box_sizes.to_vec(), vec![1; box_sizes.len()]);
        Self { element, bytes, sizes, strides, box_sizes, steps, swizzle: 0, fill_nan: false }
    }

    fn encode(&self, address: u64) -> (TensorMap, Code) {
        let mut map = TensorMap([0; 16]);
        let code = cuTensorMapEncodeTiled(
            &mut map,
            self.element,
            self.sizes.len() as u32,
            address,
            self.sizes.as_ptr(),
            self.strides.as_ptr(),
            self.box_sizes.as_ptr(),
            self.steps.as_ptr(),
            0,
            self.swizzle,
            0,
            u32::from(self.fill_nan),
        );
        (map, code)
    }

    /// The bytes that the tensor spans.
    fn span(&self) -> usize {
        (self.strides.last().map_or(self.bytes, |stride| *stride) * self.sizes[self.sizes.len() - 1]) as usize
    }

    /// The elements of a box in each dimension.
    fn counts(&self) -> Vec<u64> {
        let count = |n: usize| if n == 0 { self.box_sizes[0] } else { self.box_sizes[n].div_ceil(self.steps[n]) };
        (0..self.sizes.len()).map(|n| u64::from(count(n))).collect()
    }

    fn box_bytes(&self) -> usize {
        (self.counts().iter().product::<u64>() * self.bytes) as usize
    }

    /// For each element of a box at some coordinates: where it is in the memory of the tensor, if it is in it, and where in shared
    /// memory, of which the box begins at a multiple of 1024.
    fn elements(&self, at: &[i32]) -> Vec<(Option<usize>, usize)> {
        let counts = self.counts();
        let total = counts.iter().product::<u64>();
        let element = |number: u64| {
            let (mut rest, mut offset, mut inside) = (number, 0i64, true);
            for n in 0..counts.len() {
                let index = (rest % counts[n]) as i64;
                rest /= counts[n];
                let place = i64::from(at[n]) + index * if n == 0 { 1 } else { i64::from(self.steps[n]) };
                inside &= place >= 0 && place < self.sizes[n] as i64;
                offset += place * if n == 0 { self.bytes } else { self.strides[n - 1] } as i64;
            }
            let byte = number * self.bytes;
            // Rows of 128 bytes, of eight pieces each.
            let (row, piece, within) = (byte / 128, byte / 16 % 8, byte % 16);
            let piece = match self.swizzle {
                0 => piece,
                1 => piece ^ row % 2,
                2 => piece ^ row % 4,
                _ => piece ^ row % 8,
            };
            (inside.then_some(offset as usize), (row * 128 + piece * 16 + within) as usize)
        };
        (0..total).map(element).collect()
    }
}

/// `load` copies the box at the coordinates at `at` to shared memory, and all of that to `to`; `store` copies what is at `to` to
/// shared memory, and the box from there; `add` adds it.
fn kernels(rank: usize) -> String {
    let names: Vec<String> = (0..rank).map(|n| format!("%r{}", 10 + n)).collect();
    let loads: String = (0..rank).map(|n| format!("ld.global.u32 %r{}, [%rd3+{}]; ", 10 + n, 4 * n)).collect();
    let coordinates = names.join(", ");
    let head = format!(
        "(.param .align 64 .b8 map[128], .param .u64 to, .param .u64 at, .param .u32 bytes) {{
         .reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<9>; .shared .align 1024 .b8 s[65536]; .shared .align 8 .b64 b;
         ld.param.u64 %rd2, [to]; ld.param.u64 %rd3, [at]; ld.param.u32 %r1, [bytes]; mov.b64 %rd4, map; cvta.param.u64 %rd4, %rd4;
         mov.u32 %r2, s; mov.u32 %r3, b; {loads} mbarrier.init.shared.b64 [%r3], 1; mov.u32 %r4, 0;"
    );
    let load = format!(
        "mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], %r1; prefetch.tensormap [%rd4];
         cp.async.bulk.prefetch.tensor.{rank}d.L2.global.tile [%rd4, {{{coordinates}}}];
         cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r2], [%rd4, {{{coordinates}}}], [%r3];
         W: mbarrier.try_wait.parity.shared.b64 %p1, [%r3], 0; @!%p1 bra W;
         L: add.u32 %r5, %r2, %r4; ld.shared.u32 %r6, [%r5]; cvt.u64.u32 %rd6, %r4; add.u64 %rd6, %rd2, %rd6; st.global.u32 [%rd6], %r6;
         add.u32 %r4, %r4, 4; setp.lt.u32 %p1, %r4, %r1; @%p1 bra L; ret; }}"
    );
    let store = |copy: &str| {
        format!(
            "L: add.u32 %r5, %r2, %r4; cvt.u64.u32 %rd6, %r4; add.u64 %rd6, %rd2, %rd6; ld.global.u32 %r6, [%rd6]; st.shared.u32 [%r5], %r6;
             add.u32 %r4, %r4, 4; setp.lt.u32 %p1, %r4, %r1; @%p1 bra L; fence.proxy.async.shared::cta;
             {copy}.bulk_group [%rd4, {{{coordinates}}}], [%r2]; cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; ret; }}"
        )
    };
    format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry load{head} {load}\n.visible .entry store{head} {}
         .visible .entry add{head} {}",
        store(&format!("cp.async.bulk.tensor.{rank}d.global.shared::cta.tile")),
        store(&format!("cp.reduce.async.bulk.tensor.{rank}d.global.shared::cta.add.tile"))
    )
}

fn run(module: Handle, name: &str, map: &TensorMap, to: u64, at: &[i32], bytes: usize) -> Code {
    let (mut map, mut to, mut at, mut bytes) = (*map, to, upload(at), bytes as u32);
    let mut arguments: [*mut c_void; 4] =
        [from_mut(&mut map).cast(), from_mut(&mut to).cast(), from_mut(&mut at).cast(), from_mut(&mut bytes).cast()];
    let code = cuLaunchKernel(function(module, name), 1, 1, 1, 1, 1, 1, 0, 0, arguments.as_mut_ptr(), null_mut());
    if code == SUCCESS { cuCtxSynchronize() } else { code }
}

fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32).map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 17) as u8).collect()
}

fn read(address: u64, bytes: usize) -> Vec<u8> {
    let mut found = vec![0; bytes];
    ok(cuMemcpyDtoH_v2(found.as_mut_ptr().cast(), address, bytes));
    found
}

/// Tensors of all ranks, with boxes of all kinds.
fn tensors() -> Vec<(Tensor, Vec<Vec<i32>>)> {
    let mut all = vec![
        (Tensor::new(U8, 1, &[300], &[64]), vec![vec![0], vec![236], vec![250], vec![-7], vec![-64], vec![1000]]),
        (
            Tensor::new(F16, 2, &[37, 19], &[16, 8]),
            vec![vec![0, 0], vec![21, 11], vec![30, 15], vec![-5, -3], vec![3, 19]],
        ),
        (
            Tensor::new(F32, 4, &[9, 8, 7], &[4, 3, 2]),
            vec![vec![0, 0, 0], vec![7, 6, 6], vec![-1, -1, -1], vec![5, 5, 5]],
        ),
        (
            Tensor::new(F64, 8, &[6, 5, 4, 3], &[2, 3, 2, 2]),
            vec![vec![1, 1, 1, 1], vec![5, 4, 3, 2], vec![-1, 0, 0, -1]],
        ),
        (
            Tensor::new(BF16, 2, &[8, 3, 4, 3, 2], &[8, 2, 3, 2, 2]),
            vec![vec![0; 5], vec![4, 2, 2, 2, 1], vec![0, -1, -1, -1, -1]],
        ),
        (Tensor::new(U32, 4, &[64, 256], &[4, 256]), vec![vec![8, 0], vec![60, 200]]),
    ];
    for (swizzle, row) in [(1, 32), (2, 64), (3, 128), (3, 64)] {
        for (element, bytes) in [(F16, 2), (U8, 1), (F32, 4)] {
            let tensor = Tensor::new(element, bytes, &[100, 40], &[row / bytes as u32, 32]);
            all.push((Tensor { swizzle, ..tensor }, vec![vec![0, 0], vec![3, 17], vec![90, 30], vec![-9, -9]]));
        }
    }
    let steps = Tensor::new(F16, 2, &[40, 30, 20], &[16, 7, 6]);
    all.push((Tensor { steps: vec![1, 2, 3], ..steps }, vec![vec![0, 0, 0], vec![30, 27, 17], vec![-2, -1, -4]]));
    all
}

#[test]
fn boxes_are_loaded() {
    context();
    for (tensor, boxes) in tensors() {
        for fill_nan in [false, true] {
            let tensor = Tensor { fill_nan, ..tensor.clone() };
            let source = noise(tensor.span(), 5);
            let (map, code) = tensor.encode(upload(&source));
            if fill_nan && matches!(tensor.element, U8 | U32) {
                assert_eq!(code, INVALID_VALUE);
                continue;
            }
            ok(code);
            let loaded = module(&kernels(tensor.sizes.len()));
            for at in &boxes {
                let bytes = tensor.box_bytes();
                let to = upload(&vec![0xccu8; bytes]);
                ok(run(loaded, "load", &map, to, at, bytes));
                let found = read(to, bytes);
                for (number, (from, place)) in tensor.elements(at).into_iter().enumerate() {
                    let width = tensor.bytes as usize;
                    let element = &found[place..place + width];
                    match from {
                        Some(from) => {
                            assert_eq!(element, &source[from..from + width], "{tensor:?} at {at:?}: {number}")
                        }
                        None if fill_nan => assert!(is_nan(tensor.element, element), "{tensor:?} at {at:?}: {number}"),
                        None => assert!(element.iter().all(|byte| *byte == 0), "{tensor:?} at {at:?}: {number}"),
                    }
                }
            }
        }
    }
}

fn is_nan(element: u32, bytes: &[u8]) -> bool {
    let bits = bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    match element {
        F16 => bits & 0x7fff > 0x7c00,
        BF16 => bits & 0x7fff > 0x7f80,
        F32 => f32::from_bits(bits as u32).is_nan(),
        _ => f64::from_bits(bits).is_nan(),
    }
}

#[test]
fn boxes_are_stored() {
    context();
    for (tensor, boxes) in tensors() {
        let loaded = module(&kernels(tensor.sizes.len()));
        for at in &boxes {
            let (before, source) = (noise(tensor.span(), 5), noise(tensor.box_bytes(), 77));
            let memory = upload(&before);
            let (map, code) = tensor.encode(memory);
            ok(code);
            ok(run(loaded, "store", &map, upload(&source), at, source.len()));
            let mut expected = before;
            for (to, place) in tensor.elements(at) {
                let width = tensor.bytes as usize;
                if let Some(to) = to {
                    expected[to..to + width].copy_from_slice(&source[place..place + width]);
                }
            }
            assert_eq!(read(memory, expected.len()), expected, "{tensor:?} at {at:?}");
        }
    }
}

#[test]
fn boxes_are_added() {
    context();
    let tensor = Tensor { swizzle: 2, ..Tensor::new(U32, 4, &[40, 20], &[16, 8]) };
    let loaded = module(&kernels(2));
    for at in [[0, 0], [30, 17], [-3, -2]] {
        let (before, source) = (noise(tensor.span(), 5), noise(tensor.box_bytes(), 77));
        let memory = upload(&before);
        let (map, code) = tensor.encode(memory);
        ok(code);
        ok(run(loaded, "add", &map, upload(&source), &at, source.len()));
        let mut expected = before;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        for (to, place) in tensor.elements(&at) {
            if let Some(to) = to {
                let sum = word(&expected[to..]).wrapping_add(word(&source[place..]));
                expected[to..to + 4].copy_from_slice(&sum.to_le_bytes());
            }
        }
        assert_eq!(read(memory, expected.len()), expected, "{at:?}");
    }
}

#[test]
fn maps_are_changed_by_kernels() {
    context();
    // A map of a tensor of 8 by 4 words becomes one of 16 by 8, elsewhere, with other boxes.
    let text = ".version 8.3\n.target sm_90a\n.address_size 64\n.visible .entry change(.param .u64 map, .param .u64 address) {
        .reg .b64 %rd<4>; .reg .b32 %r<2>; ld.param.u64 %rd1, [map]; ld.param.u64 %rd2, [address]; mov.u64 %rd3, 64; mov.u32 %r1, 16;
        tensormap.replace.tile.global_address.global.b1024.b64 [%rd1], %rd2;
        tensormap.replace.tile.rank.b1024.b32 [%rd1], 1;
        tensormap.replace.tile.global_dim.global.b1024.b32 [%rd1], 0, %r1;
        tensormap.replace.tile.global_dim.global.b1024.b32 [%rd1], 1, 8;
        tensormap.replace.tile.global_stride.global.b1024.b64 [%rd1], 0, %rd3;
        tensormap.replace.tile.box_dim.global.b1024.b32 [%rd1], 0, 8;
        tensormap.replace.tile.box_dim.global.b1024.b32 [%rd1], 1, 4;
        tensormap.replace.tile.element_stride.global.b1024.b32 [%rd1], 1, 2;
        tensormap.replace.tile.elemtype.global.b1024.b32 [%rd1], 3;
        tensormap.replace.tile.interleave_layout.global.b1024.b32 [%rd1], 0;
        tensormap.replace.tile.swizzle_mode.global.b1024.b32 [%rd1], 1;
        tensormap.replace.tile.fill_mode.global.b1024.b32 [%rd1], 0;
        fence.proxy.tensormap::generic.release.gpu; ret; }";
    let before = Tensor { strides: vec![32], ..Tensor::new(U32, 4, &[8, 4], &[4, 2]) };
    let after = Tensor { strides: vec![64], steps: vec![1, 2], swizzle: 1, ..Tensor::new(3, 4, &[16, 8], &[8, 4]) };
    let source = noise(after.span(), 9);
    let address = upload(&source);
    let (map, code) = before.encode(address);
    ok(code);
    let memory = upload(&map.0);
    ok(launch(function(module(text), "change"), 1, 0, &[memory, address]));
    let mut changed = TensorMap([0; 16]);
    ok(cuMemcpyDtoH_v2(from_mut(&mut changed).cast(), memory, 128));
    assert_eq!(after.encode(address), (changed, SUCCESS));
}

#[test]
fn bad_maps_are_refused() {
    context();
    let tensor = Tensor::new(F16, 2, &[64, 8], &[16, 8]);
    let address = upload(&noise(tensor.span(), 1));
    assert_eq!(tensor.encode(address).1, SUCCESS);
    assert_eq!(tensor.encode(address + 8).1, INVALID_VALUE);
    for bad in [
        Tensor { sizes: vec![64, 0], ..tensor.clone() },
        Tensor { strides: vec![136], ..tensor.clone() },
        Tensor { box_sizes: vec![12, 8], ..tensor.clone() },
        Tensor { box_sizes: vec![16, 257], ..tensor.clone() },
        Tensor { steps: vec![1, 0], ..tensor.clone() },
        Tensor { box_sizes: vec![32, 8], swizzle: 1, ..tensor.clone() },
        Tensor { swizzle: 7, ..tensor.clone() },
        Tensor { element: 99, ..tensor.clone() },
    ] {
        assert_eq!(bad.encode(address).1, INVALID_VALUE, "{bad:?}");
    }
    let (mut map, _) = tensor.encode(address);
    ok(cuTensorMapReplaceAddress(&mut map, address + 16));
    assert_eq!(map, tensor.encode(address + 16).0);
    assert_eq!(cuTensorMapReplaceAddress(&mut TensorMap([0; 16]), address), INVALID_VALUE);
    let (sizes, corner) = ([64u64, 8, 8], [0i32]);
    let (list, steps) = ([128u64, 1024], [1u32; 3]);
    let code = cuTensorMapEncodeIm2col(
        &mut map,
        F16,
        3,
        address,
        sizes.as_ptr(),
        list.as_ptr(),
        corner.as_ptr(),
        corner.as_ptr(),
        8,
        8,
        steps.as_ptr(),
        0,
        0,
        0,
        0,
    );
    assert_eq!(code, NOT_SUPPORTED);
}

#[test]
fn a_kernel_with_a_bad_map_faults() {
    context();
    let loaded = module(&kernels(2));
    let to = upload(&[0u8; 256]);
    assert_ne!(run(loaded, "load", &TensorMap([0; 16]), to, &[0, 0], 256), SUCCESS);
}
