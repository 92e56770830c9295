//! Instruction forms, run on numbers that are most often got wrong and random ones.

use super::{Bench, kernel};

/// Numbers that are most often got wrong, and random ones.
pub fn words() -> Vec<u32> {
    let mut words = vec![0, 1, 2, 31, 32, 33, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000];
    words.extend([0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff, 0x0102_0408, 0x80ff_7f01]);
    // of floating-point numbers: ±1, ±0.5, 1.5, 2.5, subnormal, smallest normal, largest, infinities, NaN
    words.extend([0x3f80_0000, 0xbf80_0000, 0x3f00_0000, 0xbf00_0000, 0x3fc0_0000, 0x4020_0000, 0x0000_0003]);
    words.extend([0x8040_0000, 0x0080_0000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x4f00_0000]);
    let mut state = 12345u32;
    while words.len() < 64 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words.push(state ^ state >> 15);
    }
    words
}

/// Runs `d = form(a, b, c)` on triples of words. Returns each triple with the result.
fn run_32(form: &str, sources: usize) -> Vec<([u32; 3], u32)> {
    let words = words();
    let count = words.len();
    let triples: Vec<[u32; 3]> =
        (0..count * count).map(|n| [words[n / count], words[n % count], words[(n * 7 + n / count) % count]]).collect();
    let operands = ["%r1", "%r2", "%r3"][..sources].join(", ");
    let body = format!(
        "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r10, %ctaid.x; mov.u32 %r11, %tid.x;
         shl.b32 %r10, %r10, 6; add.u32 %r10, %r10, %r11; mul.wide.u32 %rd3, %r10, 12; add.u64 %rd3, %rd1, %rd3;
         ld.global.u32 %r1, [%rd3]; ld.global.u32 %r2, [%rd3+4]; ld.global.u32 %r3, [%rd3+8];
         {form} %r9, {operands};
         mul.wide.u32 %rd3, %r10, 4; add.u64 %rd3, %rd2, %rd3; st.global.u32 [%rd3], %r9; ret;"
    );
    let bench = Bench::new(&kernel(2, "", &body));
    let inputs = bench.upload(&triples.concat());
    let out = bench.upload(&vec![0u32; triples.len()]);
    bench.launch([count as u32, 1, 1], [64, 1, 1], &[inputs, out]).unwrap();
    let found = bench.read_u32(out, triples.len());
    triples.into_iter().zip(found).collect()
}

/// Compares the bits of `form(a, b, c)` with a definition (or, given a tolerance in ulp, the numbers).
pub fn check_32(form: &str, sources: usize, ulp: u32, expected: impl Fn(u32, u32, u32) -> u32) {
    for ([a, b, c], found) in run_32(form, sources) {
        let expected = expected(a, b, c);
        let (x, y) = (f32::from_bits(found), f32::from_bits(expected));
        // neighbours of one sign are neighbours in their bits
        let near = ulp > 0 && (x.is_sign_negative() == y.is_sign_negative()) && found.abs_diff(expected) <= ulp;
        assert!(
            found == expected || near,
            "{form} {a:#x} {b:#x} {c:#x}: {found:#x} ({x}), expected {expected:#x} ({y})"
        );
    }
}

/// As `check_32` with one source, where the definition may have no answer; for most operands it has one.
pub fn check_known(form: &str, expected: impl Fn(u32, u32, u32) -> Option<u32>) {
    let (mut known, results) = (0, run_32(form, 1));
    for &([a, b, c], found) in &results {
        let Some(expected) = expected(a, b, c) else { continue };
        assert_eq!(found, expected, "{form} {a:#x} {b:#x} {c:#x}: {found:#x}, expected {expected:#x}");
        known += 1;
    }
    assert!(2 * known > results.len(), "{form}: {known} of {} are known", results.len());
}

pub fn check_f32(form: &str, sources: usize, ulp: u32, expected: impl Fn(f32, f32, f32) -> f32) {
    check_32(form, sources, ulp, |a, b, c| {
        let value = expected(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
        if value.is_nan() { 0x7fff_ffff } else { value.to_bits() }
    });
}

/// As `check_32`, for 64-bit operands made of pairs of words.
pub fn check_64(form: &str, expected: impl Fn(u64, u64) -> u64) {
    let words = words();
    let long: Vec<u64> = (0..64).map(|n| u64::from(words[n]) << 32 | u64::from(words[(n * 29 + 3) % 64])).collect();
    let pairs: Vec<[u64; 2]> = (0..64 * 64).map(|n| [long[n / 64], long[n % 64]]).collect();
    let body = format!(
        "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r10, %ctaid.x; mov.u32 %r11, %tid.x;
         shl.b32 %r10, %r10, 6; add.u32 %r10, %r10, %r11; mul.wide.u32 %rd3, %r10, 16; add.u64 %rd3, %rd1, %rd3;
         ld.global.v2.u64 {{%rd4, %rd5}}, [%rd3]; cvt.u32.u64 %r5, %rd5;
         {form}
         mul.wide.u32 %rd3, %r10, 8; add.u64 %rd3, %rd2, %rd3; st.global.u64 [%rd3], %rd9; ret;"
    );
    let bench = Bench::new(&kernel(2, "", &body));
    let inputs = bench.upload(&pairs.concat());
    let out = bench.upload(&vec![0u64; pairs.len()]);
    bench.launch([64, 1, 1], [64, 1, 1], &[inputs, out]).unwrap();
    for (&[a, b], found) in pairs.iter().zip(bench.read_u64(out, pairs.len())) {
        let expected = expected(a, b);
        assert_eq!(found, expected, "{form} {a:#x} {b:#x}: {found:#x}, expected {expected:#x}");
    }
}

/// Runs this test again on the code that any processor runs.
pub fn again_without_vector_extensions(test: &str) {
    let executable = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(executable);
    let status = command.args(["--exact", test]).env("WARPWRIGHT_EMULATOR_ISA", "baseline").status().unwrap();
    assert!(status.success());
}
