//! `mma`, `ldmatrix` and their like where something is wrong: numbers that are infinite or none, memory that is not there,
//! warps that are not whole. What they compute is checked form by form elsewhere.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::{Access, FaultKind};

/// A kernel in which each lane loads `counts` registers from as many parameters, executes `instruction` on `%r0`, `%r8`
/// and `%r16` onwards, and stores `%r24` onwards through the last parameter.
fn fragments_kernel(counts: [usize; 3], results: usize, instruction: &str) -> String {
    let mut body = String::from("mov.u32 %r31, %tid.x;\n");
    for (n, count) in counts.into_iter().enumerate() {
        body +=
            &format!("ld.param.u64 %rd1, [p{n}]; mul.wide.u32 %rd2, %r31, {}; add.u64 %rd1, %rd1, %rd2;\n", 4 * count);
        for word in 0..count {
            body += &format!("ld.global.u32 %r{}, [%rd1+{}];\n", 8 * n + word, 4 * word);
        }
    }
    for word in 0..results {
        body += &format!("mov.u32 %r{}, 0xdeadbeef;\n", 24 + word);
    }
    body += instruction;
    body +=
        &format!("\nld.param.u64 %rd1, [p3]; mul.wide.u32 %rd2, %r31, {}; add.u64 %rd1, %rd1, %rd2;\n", 4 * results);
    for word in 0..results {
        body += &format!("st.global.u32 [%rd1+{}], %r{};\n", 4 * word, 24 + word);
    }
    kernel(4, "", &(body + "ret;"))
}

#[test]
fn infinities_and_nan_go_through_a_product() {
    let mut counts = [vec![0u32; 32 * 4], vec![0u32; 32 * 2], vec![0u32; 32 * 4]];
    // A: row 0 has +inf at column 0, row 1 NaN at column 0; B: column 0 is 1 in row 0, column 1 is 0
    counts[0][0] = 0x7c00;
    counts[0][4 * 4] = 0x7e00;
    counts[1][0] = 0x3c00;
    let instruction =
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r24, %r25, %r26, %r27}, {%r0, %r1, %r2, %r3},
         {%r8, %r9}, {%r16, %r17, %r18, %r19};";
    let bench = Bench::new(&fragments_kernel([4, 2, 4], 4, instruction));
    let parameters: Vec<u64> = counts.iter().map(|words| bench.upload(words)).collect();
    let out = bench.upload(&vec![5u32; 32 * 4]);
    bench.launch([1, 1, 1], [32, 1, 1], &[parameters[0], parameters[1], parameters[2], out]).unwrap();
    let words = bench.read_u32(out, 32 * 4);
    assert_eq!(words[0], f32::INFINITY.to_bits());
    // infinity times zero
    assert_eq!(words[1], 0x7fff_ffff);
    assert_eq!((words[16], words[17]), (0x7fff_ffff, 0x7fff_ffff));
    assert!(words[32..].iter().all(|word| *word == 0));
}

/// Shared memory filled with its own 16-bit indices, then `body`, then `%r9` to `%r12` stored.
fn matrices(body: &str) -> (Bench, u64) {
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; mov.u32 %r3, 0;
         FILL: shl.b32 %r4, %r3, 5; add.u32 %r4, %r4, %r1; shl.b32 %r5, %r4, 16; shl.b32 %r6, %r4, 1; shl.b32 %r4, %r4, 2;
         add.u32 %r4, %r4, %r2; shl.b32 %r5, %r6, 16; add.u32 %r5, %r5, 0x10000; or.b32 %r5, %r5, %r6;
         st.shared.u32 [%r4], %r5; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 16; @%p1 bra FILL; bar.sync 0;
         mov.u32 %r9, 7; mov.u32 %r10, 7; mov.u32 %r11, 7; mov.u32 %r12, 7;
         {body}
         ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 16; add.u64 %rd1, %rd1, %rd2;
         st.global.v4.u32 [%rd1], {{%r9, %r10, %r11, %r12}}; ret;"
    );
    let bench = Bench::new(&kernel(1, ".shared .align 16 .b8 s[2048];", &text));
    let out = bench.upload(&[5u32; 128]);
    (bench, out)
}

/// The address of the row of `%r1`'s lane: rows are 48 bytes apart, in an order of their own.
const ROWS: &str = "xor.b32 %r7, %r1, 5; mul.lo.u32 %r7, %r7, 48; add.u32 %r7, %r7, %r2; add.u32 %r7, %r7, 16;";

/// The 16-bit index in shared memory of an element of a row there.
fn row_start(lane: usize) -> usize {
    ((lane ^ 5) * 48 + 16) / 2
}

#[test]
fn a_loaded_matrix_has_to_lie_in_shared_memory() {
    let load = |change: &str| {
        let (bench, out) =
            matrices(&format!("{ROWS} {change} ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r9, %r10}}, [%r7];"));
        bench.fault(1, 32, &[out])
    };
    let fault = load("setp.eq.u32 %p2, %r1, 11; @%p2 add.u32 %r7, %r7, 8;");
    assert_eq!(fault.thread, [11, 0, 0]);
    assert!(matches!(fault.kind, FaultKind::Misaligned { access: Access::SharedLoad, bytes: 16, .. }), "{fault}");
    let fault = load("setp.eq.u32 %p2, %r1, 13; @%p2 mov.u32 %r7, 2048;");
    assert_eq!(fault.thread, [13, 0, 0]);
    let expected = FaultKind::OutOfBounds { access: Access::SharedLoad, address: 2048, bytes: 16, nearest: None };
    assert_eq!(fault.kind, expected);
    assert_eq!(fault.instruction, "ldmatrix.sync.aligned.m8n8.x2.shared.b16");
}

#[test]
fn a_warp_executes_them_as_a_whole() {
    // half of the lanes, while the other half ends
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7];"
    ));
    assert_eq!(bench.fault(1, 32, &[out]).kind, FaultKind::PartialWarp { lanes: 0xffff });
    // half of the lanes, while the other half waits for these at a barrier
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7]; bar.sync 0;"
    ));
    assert_eq!(bench.fault(1, 32, &[out]).kind, FaultKind::WarpDeadlock { mask: u32::MAX });
    // a warp of 24 threads
    let (bench, out) = matrices(&format!("{ROWS} ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7];"));
    assert_eq!(bench.fault(1, 24, &[out]).kind, FaultKind::PartialWarp { lanes: 0xff_ffff });
    // two instructions
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 bra LOW; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7]; bra JOIN;
         LOW: ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7]; JOIN:"
    ));
    let kind = bench.fault(1, 32, &[out]).kind;
    assert!(matches!(kind, FaultKind::PartialWarp { lanes: 0xffff | 0xffff_0000 }), "{kind:?}");
    // lanes that come one after the other wait for the rest
    let (bench, out) = matrices(&format!(
        "{ROWS} setp.lt.u32 %p2, %r1, 16; @%p2 bra JOIN; mov.u32 %r8, 1; mov.u32 %r8, 2; bra JOIN;
         JOIN: ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r7];"
    ));
    bench.launch([1, 1, 1], [32, 1, 1], &[out]).unwrap();
    assert_eq!(bench.read_u32(out, 1)[0], row_start(0) as u32 | (row_start(0) as u32 + 1) << 16);
}
