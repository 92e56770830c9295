//! `ldmatrix`, `stmatrix` and `movmatrix`: which lane gives or has which two elements of which matrix.

use super::Check;
use super::common::{Bench, kernel};
use super::lanewise::Random;

/// Warps, each a block, with matrices of their own.
const WARPS: usize = 16;
/// The rows of 16 bytes in the shared memory of a block.
const ROWS: usize = 64;

/// How many matrices are moved, whether they are transposed, and the space.
#[derive(Clone, Copy)]
struct Move {
    root: &'static str,
    count: usize,
    transposed: bool,
    space: &'static str,
}

impl Move {
    fn opcode(self) -> String {
        let trans = if self.transposed { ".trans" } else { "" };
        format!("{}.sync.aligned.m8n8.x{}{trans}{}.b16", self.root, self.count, self.space)
    }

    /// The lane, and which half of its register, that has an element.
    fn holder(self, row: usize, column: usize) -> (usize, usize) {
        let (row, column) = if self.transposed { (column, row) } else { (row, column) };
        (4 * row + column / 2, column % 2)
    }
}

/// What a warp has: the row of memory that each lane has the address of, and the words of the memory and of the lanes.
struct Case {
    order: [usize; 32],
    memory: Vec<u32>,
    lanes: Vec<[u32; 4]>,
}

fn cases(root: &str) -> Vec<Case> {
    let mut random = Random::new(9);
    let mut cases = Vec::new();
    for warp in 0..WARPS {
        let mut all: Vec<usize> = (0..ROWS).collect();
        for n in (1..ROWS).rev().filter(|_| warp > 0) {
            all.swap(n, random.next() as usize % (n + 1));
        }
        let mut order: [usize; 32] = std::array::from_fn(|lane| all[lane]);
        if warp % 5 == 4 && root == "ldmatrix" {
            // rows may be loaded several times
            order = std::array::from_fn(|lane| order[lane / 3]);
        }
        let memory = (0..4 * ROWS).map(|_| random.next() as u32).collect();
        let lanes = (0..32).map(|_| std::array::from_fn(|_| random.next() as u32)).collect();
        cases.push(Case { order, memory, lanes });
    }
    cases
}

/// Runs `body` with the address of a lane's row in `%r9` or, generic, `%rd9`, and its words in `%r12` to `%r15`. Returns
/// these words and the memory, for each warp.
fn run(body: &str, cases: &[Case], count: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let words = 8 + 4 * ROWS / 32;
    let fill: String = (0..ROWS / 8)
        .map(|n| {
            let at = 32 + 4 * n;
            format!("ld.global.u32 %r3, [%rd1+{at}]; st.shared.u32 [%r2+{}], %r3;\n", 128 * n)
        })
        .collect();
    let show: String = (0..ROWS / 8)
        .map(|n| format!("ld.shared.u32 %r3, [%r2+{}]; st.global.u32 [%rd2+{}], %r3;\n", 128 * n, 16 + 4 * n))
        .collect();
    let text = format!(
        ".shared .align 16 .b8 tile[{}];
         mov.u32 %r1, %tid.x; mov.u32 %r4, %ctaid.x; mad.lo.u32 %r4, %r4, 32, %r1;
         ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd3, %r4, {}; add.u64 %rd1, %rd1, %rd3;
         ld.param.u64 %rd2, [p1]; mul.wide.u32 %rd3, %r4, {}; add.u64 %rd2, %rd2, %rd3;
         mov.u32 %r2, tile; mov.u32 %r5, %r2; shl.b32 %r6, %r1, 2; add.u32 %r2, %r2, %r6;
         {fill} ld.global.u32 %r9, [%rd1]; shl.b32 %r9, %r9, 4; add.u32 %r9, %r9, %r5;
         ld.global.v4.u32 {{%r12, %r13, %r14, %r15}}, [%rd1+16];
         setp.ge.u32 %p1, %r1, {}; @%p1 mov.u32 %r9, 3;
         cvt.u64.u32 %rd9, %r9; cvta.shared.u64 %rd9, %rd9; bar.sync 0;
         {body}
         bar.sync 0; st.global.v4.u32 [%rd2], {{%r12, %r13, %r14, %r15}};
         {show} ret;",
        16 * ROWS,
        4 * words,
        4 * (words - 4),
        // the other lanes have an address that nothing looks at
        8 * count
    );
    let bench = Bench::new(&kernel(2, "", &text).replace("sm_75", "sm_90"));
    let mut input = Vec::new();
    for case in cases {
        for lane in 0..32 {
            input.extend([case.order[lane] as u32, 0, 0, 0]);
            input.extend(case.lanes[lane]);
            input.extend((0..ROWS / 8).map(|n| case.memory[32 * n + lane]));
        }
    }
    let (input, out) = (bench.upload(&input), bench.upload(&vec![0x5555_5555u32; WARPS * 32 * (words - 4)]));
    bench.launch([WARPS as u32, 1, 1], [32, 1, 1], &[input, out]).unwrap();
    let found = bench.read_u32(out, WARPS * 32 * (words - 4));
    let of_warp = |found: &[u32]| {
        let lanes: Vec<&[u32]> = found.chunks(words - 4).collect();
        let registers = lanes.iter().flat_map(|words| words[..4].to_vec()).collect();
        let memory = (0..4 * ROWS).map(|word| lanes[word % 32][4 + word / 32]).collect();
        (registers, memory)
    };
    found.chunks(32 * (words - 4)).map(of_warp).collect()
}

/// Half `n` of words.
fn half(words: &[u32], n: usize) -> u32 {
    words[n / 2] >> (16 * (n % 2)) & 0xffff
}

fn set_half(words: &mut [u32], n: usize, value: u32) {
    let shift = 16 * (n % 2);
    words[n / 2] = words[n / 2] & !(0xffff << shift) | value << shift;
}

fn check(moved: Move) -> Check {
    let generic = moved.space.is_empty();
    let (address, letter) = if generic { ("[%rd9]", "[d]") } else { ("[%r9]", "[r]") };
    let registers = ["%r12", "%r12, %r13", "", "%r12, %r13, %r14, %r15"][moved.count - 1];
    let vector = format!("{{{}}}", "r".repeat(moved.count));
    let (form, text) = if moved.root == "ldmatrix" {
        (format!("{} {vector}, {letter}", moved.opcode()), format!("{} {{{registers}}}, {address};", moved.opcode()))
    } else {
        (format!("{} {letter}, {vector}", moved.opcode()), format!("{} {address}, {{{registers}}};", moved.opcode()))
    };
    let run = move || {
        let cases = cases(moved.root);
        for (warp, (case, found)) in cases.iter().zip(run(&text, &cases, moved.count)).enumerate() {
            let (mut lanes, mut memory) = (case.lanes.concat(), case.memory.clone());
            for matrix in 0..moved.count {
                for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
                    let (lane, part) = moved.holder(row, column);
                    let in_memory = 8 * case.order[8 * matrix + row] + column;
                    let in_lane = 2 * (4 * lane + matrix) + part;
                    if moved.root == "ldmatrix" {
                        set_half(&mut lanes, in_lane, half(&case.memory, in_memory));
                    } else {
                        set_half(&mut memory, in_memory, half(&case.lanes.concat(), in_lane));
                    }
                }
            }
            assert_eq!(found, (lanes, memory), "{text} warp {warp}");
        }
    };
    Check { forms: vec![form], run: Box::new(run) }
}

fn transposition() -> Check {
    let run = || {
        let cases = cases("movmatrix");
        let found = run("movmatrix.sync.aligned.m8n8.trans.b16 %r12, %r13;", &cases, 0);
        for (case, (registers, memory)) in cases.iter().zip(found) {
            let mut expected = case.lanes.concat();
            for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
                // the second register of the lanes has the elements in their order, the first has them transposed
                let element = half(&case.lanes.concat(), 2 * (4 * (4 * row + column / 2) + 1) + column % 2);
                set_half(&mut expected, 2 * 4 * (4 * column + row / 2) + row % 2, element);
            }
            assert_eq!((registers, memory), (expected, case.memory.clone()));
        }
    };
    Check { forms: vec!["movmatrix.sync.aligned.m8n8.trans.b16 r, r".into()], run: Box::new(run) }
}

pub fn checks() -> Vec<Check> {
    let mut checks = vec![transposition()];
    for root in ["ldmatrix", "stmatrix"] {
        for count in [1, 2, 4] {
            for transposed in [false, true] {
                for space in [".shared", ".shared::cta", ""] {
                    checks.push(check(Move { root, count, transposed, space }));
                }
            }
        }
    }
    checks
}
