//! Boxes of tensors that kernels copy by tensor maps, compared with loops over the elements, and changes of the maps.

use warpwright_emulator::checks::Checks;

use super::Check;
use super::common::Bench;

const CHECKS: Checks = Checks { initialised: true, races: true, ..Checks::NONE };

/// `CUtensorMap`
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TensorMap([u64; 16]);

unsafe extern "C" {
    /// As `cuda.h` declares it; the emulator's driver is part of its library.
    fn cuTensorMapEncodeTiled(
        map: *mut TensorMap,
        element: u32,
        rank: u32,
        address: u64,
        sizes: *const u64,
        strides: *const u64,
        box_sizes: *const u32,
        steps: *const u32,
        interleave: u32,
        swizzle: u32,
        promotion: u32,
        fill: u32,
    ) -> u32;
}

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

    fn encode(&self, address: u64) -> TensorMap {
        let mut map = TensorMap([0; 16]);
        // SAFETY: the arrays have as many numbers as the rank says, or one less of strides.
        let code = unsafe {
            cuTensorMapEncodeTiled(
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
            )
        };
        assert_eq!(code, 0, "{self:?}");
        map
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
                1 => piece ^ (row % 2),
                2 => piece ^ (row % 4),
                _ => piece ^ (row % 8),
            };
            (inside.then_some(offset as usize), (row * 128 + piece * 16 + within) as usize)
        };
        (0..total).map(element).collect()
    }
}

/// A kernel with `body` for one thread: `%rd4` is the address of the map, `%rd2` and `%rd3` are `p1` and `p2`, `%r1` is `p3`,
/// `%r2` and `%r3` are the addresses of shared memory and of an `mbarrier` there for one arrival, `%rd9` is a cache policy, and
/// `{at}` in the body stands for the coordinates, which are at `p2`. `FROM` copies `%r1` bytes from `p1` to shared memory, `TO`
/// from there.
fn kernel(rank: usize, body: &str) -> String {
    let names: Vec<String> = (0..rank).map(|n| format!("%r{}", 10 + n)).collect();
    let loads: String = (0..rank).map(|n| format!("ld.global.u32 %r{}, [%rd3+{}]; ", 10 + n, 4 * n)).collect();
    let each = |copy: &str| {
        format!(
            "mov.u32 %r4, 0; L: add.u32 %r5, %r2, %r4; cvt.u64.u32 %rd6, %r4; add.u64 %rd6, %rd2, %rd6; {copy}
             add.u32 %r4, %r4, 4; setp.lt.u32 %p1, %r4, %r1; @%p1 bra L;"
        )
    };
    let body = body
        .replace("{at}", &format!("{{{}}}", names.join(", ")))
        .replace("FROM", &each("ld.global.u32 %r6, [%rd6]; st.shared.u32 [%r5], %r6;"))
        .replace("TO", &each("ld.shared.u32 %r6, [%r5]; st.global.u32 [%rd6], %r6;"));
    format!(
        ".version 8.3\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 map, .param .u64 to, .param .u64 at, .param .u64 bytes)
         .reqnctapercluster 1, 1, 1 {{
         .reg .pred %p<4>; .reg .b16 %h<2>; .reg .b32 %r<20>; .reg .b64 %rd<10>; .shared .align 1024 .b8 s[65536]; .shared .align 8 .b64 b;
         ld.param.u64 %rd4, [map]; ld.param.u64 %rd2, [to]; ld.param.u64 %rd3, [at]; ld.param.u64 %rd5, [bytes]; cvt.u32.u64 %r1, %rd5;
         mov.u32 %r2, s; mov.u32 %r3, b; {loads} mbarrier.init.shared.b64 [%r3], 1; mov.u16 %h1, 1;
         createpolicy.fractional.L2::evict_first.b64 %rd9; {body} ret; }}"
    )
}

/// A kernel that copies a box to shared memory by an instruction, waits, and copies it on.
fn load(rank: usize, copy: &str) -> String {
    let body = format!(
        "mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], %r1; {copy}
         W: mbarrier.try_wait.parity.shared.b64 %p1, [%r3], 0; @!%p1 bra W; TO"
    );
    kernel(rank, &body)
}

/// A kernel that copies a box from shared memory by an instruction.
fn store(rank: usize, copy: &str) -> String {
    kernel(
        rank,
        &format!(
            "FROM fence.proxy.async.shared::cta; {copy} cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;"
        ),
    )
}

/// Runs a kernel with a map of a tensor that holds `memory`, and `room` at `p1`. Returns what both hold after it.
fn run(ptx: &str, tensor: &Tensor, at: &[i32], memory: &[u8], room: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let bench = Bench::checked(ptx, CHECKS);
    let (of_tensor, other) = (bench.upload(memory), bench.upload(room));
    let (map, place) = (tensor.encode(of_tensor), bench.upload(&at.iter().map(|n| *n as u32).collect::<Vec<_>>()));
    let parameters = [bench.upload(&map.0), other, place, room.len() as u64];
    bench.launch([1, 1, 1], [1, 1, 1], &parameters).unwrap_or_else(|error| panic!("{tensor:?} at {at:?}: {error}"));
    let read = |address: u64, bytes: usize| {
        let mut found = vec![0; bytes];
        bench.device.read(address, &mut found).unwrap();
        found
    };
    (read(of_tensor, memory.len()), read(other, room.len()))
}

fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32).map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 17) as u8).collect()
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

fn boxes_are_loaded(rank: usize, copy: &str) {
    for (tensor, boxes) in tensors().into_iter().filter(|(tensor, _)| tensor.sizes.len() == rank) {
        for fill_nan in [false, true] {
            if fill_nan && matches!(tensor.element, U8 | U32) {
                continue;
            }
            let tensor = Tensor { fill_nan, ..tensor.clone() };
            let source = noise(tensor.span(), 5);
            for at in &boxes {
                let (_, found) = run(&load(rank, copy), &tensor, at, &source, &vec![0xcc; tensor.box_bytes()]);
                for (number, (from, place)) in tensor.elements(at).into_iter().enumerate() {
                    let width = tensor.bytes as usize;
                    let element = &found[place..place + width];
                    match from {
                        Some(from) => {
                            assert_eq!(element, &source[from..from + width], "{tensor:?} at {at:?}: {number}");
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

fn boxes_are_stored(rank: usize, copy: &str) {
    for (tensor, boxes) in tensors().into_iter().filter(|(tensor, _)| tensor.sizes.len() == rank) {
        for at in &boxes {
            let (before, source) = (noise(tensor.span(), 5), noise(tensor.box_bytes(), 77));
            let (found, _) = run(&store(rank, copy), &tensor, at, &before, &source);
            let mut expected = before;
            for (to, place) in tensor.elements(at) {
                let width = tensor.bytes as usize;
                if let Some(to) = to {
                    expected[to..to + width].copy_from_slice(&source[place..place + width]);
                }
            }
            assert_eq!(found, expected, "{tensor:?} at {at:?}");
        }
    }
}

/// A reduction: its name, and what it makes of two words.
type Operation = (&'static str, fn(u32, u32) -> u32);

fn boxes_are_reduced(rank: usize, copy: &str, operation: fn(u32, u32) -> u32) {
    let (sizes, boxes) = ([20, 6, 5, 4, 3], [8, 3, 2, 2, 2]);
    let tensor = Tensor { swizzle: 1, ..Tensor::new(U32, 4, &sizes[..rank], &boxes[..rank]) };
    for at in [[0; 5], [15, 4, 4, 3, 2], [-3, -1, -1, -1, -1]] {
        let (before, source) = (noise(tensor.span(), 5), noise(tensor.box_bytes(), 77));
        let (found, _) = run(&store(rank, copy), &tensor, &at[..rank], &before, &source);
        let mut expected = before;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        for (to, place) in tensor.elements(&at[..rank]) {
            if let Some(to) = to {
                let new = operation(word(&expected[to..]), word(&source[place..]));
                expected[to..to + 4].copy_from_slice(&new.to_le_bytes());
            }
        }
        assert_eq!(found, expected, "{copy} {at:?}");
    }
}

/// A map of a tensor of 8 by 4 words becomes one of 16 by 8, elsewhere, with other boxes: in global memory, or in shared memory
/// from where it is copied back.
fn maps_are_changed(space: &str, scope: &str) {
    let shared = space == ".shared::cta";
    let (map, copied_there, copied_back) = match shared {
        true => (
            "%r2",
            "mov.u32 %r1, 128; mov.u64 %rd2, %rd4; FROM",
            format!(
                "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.{scope}.sync.aligned [%rd4], [%r2], 128;"
            ),
        ),
        false => ("%rd4", "", String::new()),
    };
    let replace = |field: &str, ty: &str, value: &str| {
        format!("tensormap.replace.tile.{field}{space}.b1024.{ty} [{map}], {value}; ")
    };
    let changes = [
        replace("global_address", "b64", "%rd7"),
        replace("rank", "b32", "1"),
        replace("global_dim", "b32", "0, %r7"),
        replace("global_dim", "b32", "1, 8"),
        replace("global_stride", "b64", "0, %rd8"),
        replace("box_dim", "b32", "0, 8"),
        replace("box_dim", "b32", "1, 4"),
        replace("element_stride", "b32", "1, 2"),
        replace("elemtype", "b32", "3"),
        replace("interleave_layout", "b32", "0"),
        replace("swizzle_mode", "b32", "1"),
        replace("fill_mode", "b32", "0"),
    ];
    // All lanes of the warp do the same, which only the copy back needs.
    let body = format!(
        "mov.u64 %rd7, %rd2; mov.u64 %rd8, 64; mov.u32 %r7, 16; {copied_there} {} {copied_back}",
        changes.concat()
    );
    let before = Tensor { strides: vec![32], ..Tensor::new(U32, 4, &[8, 4], &[4, 2]) };
    let after = Tensor { strides: vec![64], steps: vec![1, 2], swizzle: 1, ..Tensor::new(3, 4, &[16, 8], &[8, 4]) };
    let bench = Bench::new(&kernel(2, &body));
    let (memory, at) = (bench.upload(&noise(after.span(), 9)), bench.upload(&[0u32; 2]));
    let map = bench.upload(&before.encode(memory).0);
    bench.launch([1, 1, 1], [32, 1, 1], &[map, memory, at, 0]).unwrap();
    assert_eq!(bench.read_u64(map, 16), after.encode(memory).0, "{space}");
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for rank in 1..=5 {
        let dimensions = format!("cp.async.bulk.tensor.{rank}d");
        for tile in ["", ".tile"] {
            for (space, multicast) in
                [("shared::cta", ""), ("shared::cluster", ""), ("shared::cluster", ".multicast::cluster")]
            {
                let opcode = format!("{dimensions}.{space}.global{tile}.mbarrier::complete_tx::bytes{multicast}");
                let mask = if multicast.is_empty() { "" } else { ", %h1" };
                let copy = format!("{opcode} [%r2], [%rd4, {{at}}], [%r3]{mask};");
                checks.push(Check { forms: vec![opcode], run: Box::new(move || boxes_are_loaded(rank, &copy)) });
            }
            let opcode = format!("{dimensions}.global.shared::cta{tile}.bulk_group");
            let copy = format!("{opcode} [%rd4, {{at}}], [%r2];");
            checks.push(Check { forms: vec![opcode], run: Box::new(move || boxes_are_stored(rank, &copy)) });
            // A prefetch changes nothing of the copy after it.
            let opcode = format!("cp.async.bulk.prefetch.tensor.{rank}d.L2.global{tile}");
            let copy = format!(
                "{opcode} [%rd4, {{at}}]; {dimensions}.shared::cta.global.mbarrier::complete_tx::bytes [%r2], [%rd4, {{at}}], [%r3];"
            );
            checks.push(Check { forms: vec![opcode], run: Box::new(move || boxes_are_loaded(rank, &copy)) });
            let operations: [Operation; 8] = [
                ("add", u32::wrapping_add),
                ("min", u32::min),
                ("max", u32::max),
                ("inc", |a, b| if a >= b { 0 } else { a + 1 }),
                ("dec", |a, b| if a == 0 || a > b { b } else { a - 1 }),
                ("and", |a, b| a & b),
                ("or", |a, b| a | b),
                ("xor", |a, b| a ^ b),
            ];
            for (name, operation) in operations {
                let opcode = format!("cp.reduce.async.bulk.tensor.{rank}d.global.shared::cta.{name}{tile}.bulk_group");
                let copy = format!("{opcode} [%rd4, {{at}}], [%r2];");
                checks.push(Check {
                    forms: vec![opcode],
                    run: Box::new(move || boxes_are_reduced(rank, &copy, operation)),
                });
            }
        }
    }
    let policy = "L2::cache_hint";
    for (opcode, operands, loads) in [
        ("cp.async.bulk.tensor.2d.shared::cta.global.mbarrier::complete_tx::bytes", "[%r2], [%rd4, {at}], [%r3]", true),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes",
            "[%r2], [%rd4, {at}], [%r3]",
            true,
        ),
        ("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group", "[%rd4, {at}], [%r2]", false),
    ] {
        let opcode = format!("{opcode}.{policy}");
        let copy = format!("{opcode} {operands}, %rd9;");
        let run = move || if loads { boxes_are_loaded(2, &copy) } else { boxes_are_stored(2, &copy) };
        checks.push(Check { forms: vec![opcode], run: Box::new(run) });
    }
    let prefetch = format!("cp.async.bulk.prefetch.tensor.2d.L2.global.{policy}");
    let copy = format!(
        "{prefetch} [%rd4, {{at}}], %rd9;
         cp.async.bulk.tensor.2d.shared::cta.global.mbarrier::complete_tx::bytes [%r2], [%rd4, {{at}}], [%r3];"
    );
    checks.push(Check { forms: vec![prefetch], run: Box::new(move || boxes_are_loaded(2, &copy)) });
    let reduce = format!("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group.{policy}");
    let copy = format!("{reduce} [%rd4, {{at}}], [%r2], %rd9;");
    checks.push(Check { forms: vec![reduce], run: Box::new(move || boxes_are_reduced(2, &copy, u32::wrapping_add)) });
    for space in ["", ".global", ".shared::cta"] {
        let wide =
            ["global_address", "global_stride"].map(|field| format!("tensormap.replace.tile.{field}{space}.b1024.b64"));
        let fields = [
            "rank",
            "box_dim",
            "global_dim",
            "element_stride",
            "elemtype",
            "interleave_layout",
            "swizzle_mode",
            "fill_mode",
        ];
        let narrow = fields.map(|field| format!("tensormap.replace.tile.{field}{space}.b1024.b32"));
        let forms = wide.into_iter().chain(narrow).collect();
        checks.push(Check { forms, run: Box::new(move || maps_are_changed(space, "gpu")) });
    }
    for scope in ["cta", "cluster", "gpu", "sys"] {
        let form =
            format!("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.{scope}.sync.aligned");
        checks.push(Check { forms: vec![form], run: Box::new(move || maps_are_changed(".shared::cta", scope)) });
    }
    checks
}
