//! Tensor maps that the driver makes, changes, and refuses to make; and a kernel with what is none.

mod cuda;

use std::ffi::c_void;
use std::ptr::{from_mut, null_mut};

use cuda::*;

const F16: u32 = 6;

/// What `cuTensorMapEncodeTiled` is told.
#[derive(Clone, Debug)]
struct Tensor {
    element: u32,
    rank: u32,
    sizes: [u64; 2],
    stride: u64,
    box_sizes: [u32; 2],
    steps: [u32; 2],
    swizzle: u32,
    fill: u32,
}

const TENSOR: Tensor = Tensor {
    element: F16,
    rank: 2,
    sizes: [64, 8],
    stride: 128,
    box_sizes: [16, 8],
    steps: [1, 1],
    swizzle: 0,
    fill: 1,
};

impl Tensor {
    fn encode(&self, address: u64) -> (TensorMap, Code) {
        let mut map = TensorMap([0; 16]);
        let code = cuTensorMapEncodeTiled(
            &mut map,
            self.element,
            self.rank,
            address,
            self.sizes.as_ptr(),
            &self.stride,
            self.box_sizes.as_ptr(),
            self.steps.as_ptr(),
            0,
            self.swizzle,
            0,
            self.fill,
        );
        (map, code)
    }
}

#[test]
fn bad_maps_are_refused() {
    context();
    let address = upload(&[1u8; 2048]);
    assert_eq!(TENSOR.encode(address).1, SUCCESS);
    assert_eq!(TENSOR.encode(address + 8).1, INVALID_VALUE);
    for bad in [
        Tensor { rank: 0, ..TENSOR },
        Tensor { rank: 6, ..TENSOR },
        Tensor { sizes: [64, 0], ..TENSOR },
        Tensor { stride: 136, ..TENSOR },
        Tensor { box_sizes: [12, 8], ..TENSOR },
        Tensor { box_sizes: [16, 257], ..TENSOR },
        Tensor { steps: [1, 0], ..TENSOR },
        Tensor { box_sizes: [32, 8], swizzle: 1, ..TENSOR },
        Tensor { swizzle: 7, ..TENSOR },
        Tensor { element: 99, ..TENSOR },
        Tensor { element: 1, ..TENSOR },
        Tensor { fill: 2, ..TENSOR },
    ] {
        assert_eq!(bad.encode(address).1, INVALID_VALUE, "{bad:?}");
    }
    assert_eq!(Tensor { element: 13, ..TENSOR }.encode(address).1, NOT_SUPPORTED);
    let (mut map, _) = TENSOR.encode(address);
    let (sizes, corner) = ([64u64, 8, 8], [0i32]);
    let (list, steps) = ([128u64, 1024], [1u32; 3]);
    let (corners, sizes, list) = (corner.as_ptr(), sizes.as_ptr(), list.as_ptr());
    let steps = steps.as_ptr();
    let code =
        cuTensorMapEncodeIm2col(&mut map, F16, 3, address, sizes, list, corners, corners, 8, 8, steps, 0, 0, 0, 0);
    assert_eq!(code, NOT_SUPPORTED);
}

#[test]
fn addresses_are_replaced() {
    context();
    let address = upload(&[1u8; 4096]);
    let (mut map, _) = TENSOR.encode(address);
    ok(cuTensorMapReplaceAddress(&mut map, address + 16));
    assert_eq!(map, TENSOR.encode(address + 16).0);
    assert_eq!(cuTensorMapReplaceAddress(&mut TensorMap([0; 16]), address), INVALID_VALUE);
    assert_eq!(cuTensorMapReplaceAddress(&mut map, address + 8), INVALID_VALUE);
}

/// Copies the box at (48, 1) to shared memory, and the first word of it, of row 1, to `to`. The map is a parameter.
const KERNEL: &str = ".version 8.0\n.target sm_90\n.address_size 64
.visible .entry k(.param .align 64 .b8 map[128], .param .u64 to) {
    .reg .pred %p; .reg .b32 %r<8>; .reg .b64 %d<4>; .shared .align 128 .b8 s[256]; .shared .align 8 .b64 b;
    mov.u64 %d0, map; cvta.param.u64 %d0, %d0; ld.param.u64 %d1, [to]; mov.u32 %r0, s; mov.u32 %r1, b; mov.u32 %r2, 48;
    mbarrier.init.shared.b64 [%r1], 1; mbarrier.arrive.expect_tx.shared.b64 %d2, [%r1], 256;
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%d0, {%r2, 1}], [%r1];
    W: mbarrier.try_wait.parity.shared.b64 %p, [%r1], 0; @!%p bra W;
    ld.shared.u32 %r3, [%r0]; st.global.u32 [%d1], %r3; ret;
}";

fn run(map: TensorMap, to: u64) -> Code {
    let (mut map, mut to) = (map, to);
    let mut arguments: [*mut c_void; 2] = [from_mut(&mut map).cast(), from_mut(&mut to).cast()];
    let kernel = function(module(KERNEL), "k");
    let code = cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, 0, arguments.as_mut_ptr(), null_mut());
    if code == SUCCESS { cuCtxSynchronize() } else { code }
}

#[test]
fn kernels_take_maps_as_parameters() {
    context();
    let words: Vec<u32> = (0..256).collect();
    let to = upload(&[7u32]);
    ok(run(TENSOR.encode(upload(&words)).0, to));
    // row 1, element 48
    assert_eq!(download(to, 1), [32 + 24]);
    assert_ne!(run(TensorMap([0; 16]), to), SUCCESS);
}
