//! Instruction forms against definitions of their own, over edge values and random ones, on every kind of processor.

mod common;

use common::{Bench, kernel};

/// Numbers that are most often got wrong, and random ones.
fn words() -> Vec<u32> {
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

/// Runs `d = form(a, b, c)` on triples of words, and compares the bits (or, given a tolerance in ulp, the numbers).
fn check_32(form: &str, sources: usize, ulp: u32, expected: impl Fn(u32, u32, u32) -> u32) {
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
    for (&[a, b, c], found) in triples.iter().zip(bench.read_u32(out, triples.len())) {
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

fn check_f32(form: &str, sources: usize, ulp: u32, expected: impl Fn(f32, f32, f32) -> f32) {
    check_32(form, sources, ulp, |a, b, c| {
        let value = expected(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
        if value.is_nan() { 0x7fff_ffff } else { value.to_bits() }
    });
}

/// As `check_32`, for 64-bit operands made of pairs of words.
fn check_64(form: &str, expected: impl Fn(u64, u64) -> u64) {
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

fn all_forms() {
    // integers
    check_32("add.s32", 2, 0, |a, b, _| a.wrapping_add(b));
    check_32("sub.s32", 2, 0, |a, b, _| a.wrapping_sub(b));
    check_32("mul.lo.s32", 2, 0, |a, b, _| a.wrapping_mul(b));
    check_32("mul.hi.u32", 2, 0, |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check_32("mul.hi.s32", 2, 0, |a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
    check_32("mad.lo.s32", 3, 0, |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check_32("div.u32", 2, 0, |a, b, _| a.checked_div(b).unwrap_or(u32::MAX));
    check_32("rem.u32", 2, 0, |a, b, _| a.checked_rem(b).unwrap_or(a));
    check_32("div.s32", 2, 0, |a, b, _| match (a as i32, b as i32) {
        (_, 0) => u32::MAX,
        (i32::MIN, -1) => a,
        (a, b) => (a / b) as u32,
    });
    check_32("min.s32", 2, 0, |a, b, _| if (a as i32) < (b as i32) { a } else { b });
    check_32("max.u32", 2, 0, |a, b, _| if a > b { a } else { b });
    check_32("neg.s32", 1, 0, |a, _, _| (!a).wrapping_add(1));
    check_32("abs.s32", 1, 0, |a, _, _| if a >> 31 == 1 { (!a).wrapping_add(1) } else { a });
    check_32("and.b32", 2, 0, |a, b, _| a & b);
    check_32("or.b32", 2, 0, |a, b, _| a | b);
    check_32("xor.b32", 2, 0, |a, b, _| a ^ b);
    check_32("not.b32", 1, 0, |a, _, _| u32::MAX - a);
    check_32("shl.b32", 2, 0, |a, b, _| if b > 31 { 0 } else { (u64::from(a) << b) as u32 });
    check_32("shr.u32", 2, 0, |a, b, _| if b > 31 { 0 } else { a >> b });
    check_32("shr.s32", 2, 0, |a, b, _| (i64::from(a as i32) >> b.min(40)) as u32);
    check_32("popc.b32", 1, 0, |a, _, _| (0..32).map(|n| a >> n & 1).sum());
    check_32("clz.b32", 1, 0, |a, _, _| (0..32).take_while(|n| a << n >> 31 == 0).count() as u32);
    check_32("brev.b32", 1, 0, |a, _, _| (0..32).fold(0, |all, n| all << 1 | a >> n & 1));
    // bit by bit, as the ISA defines it
    let bfe = |a: u32, b: u32, c: u32, signed: bool| {
        let (pos, len) = (b & 0xff, c & 0xff);
        let sign = if !signed || len == 0 { 0 } else { a >> (pos + len - 1).min(31) & 1 };
        (0..32).fold(0, |d, i| d | if i < len && pos + i <= 31 { a >> (pos + i) & 1 } else { sign } << i)
    };
    check_32("bfe.u32", 3, 0, |a, b, c| bfe(a, b, c, false));
    check_32("bfe.s32", 3, 0, |a, b, c| bfe(a, b, c, true));
    check_32("prmt.b32", 3, 0, |a, b, c| {
        let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
        u32::from_le_bytes([0, 4, 8, 12].map(|shift| {
            let selector = c >> shift & 15;
            let byte = bytes[selector as usize & 7];
            if selector & 8 == 0 {
                byte
            } else if byte & 0x80 == 0 {
                0
            } else {
                0xff
            }
        }))
    });
    check_32("dp4a.s32.s32", 3, 0, |a, b, c| {
        let bytes = |x: u32| x.to_le_bytes().map(|byte| i64::from(byte as i8));
        (i64::from(c as i32) + bytes(a).iter().zip(bytes(b)).map(|(a, b)| a * b).sum::<i64>()) as u32
    });
    check_32("dp4a.u32.s32", 3, 0, |a, b, c| {
        let b = b.to_le_bytes().map(|byte| i64::from(byte as i8));
        (i64::from(c) + a.to_le_bytes().iter().zip(b).map(|(a, b)| i64::from(*a) * b).sum::<i64>()) as u32
    });
    check_32("shf.l.wrap.b32", 3, 0, |a, b, c| {
        let n = c % 32;
        if n == 0 { b } else { b << n | a >> (32 - n) }
    });
    check_32("cvt.s32.s8", 1, 0, |a, _, _| i32::from(a as i8) as u32);
    check_32("cvt.u32.u16", 1, 0, |a, _, _| a & 0xffff);

    // floating point
    check_f32("add.f32", 2, 0, |a, b, _| a + b);
    check_f32("sub.f32", 2, 0, |a, b, _| a - b);
    check_f32("mul.rn.f32", 2, 0, |a, b, _| a * b);
    check_f32("fma.rn.f32", 3, 0, |a, b, c| a.mul_add(b, c));
    check_f32("div.rn.f32", 2, 0, |a, b, _| a / b);
    check_f32("sqrt.rn.f32", 1, 0, |a, _, _| a.sqrt());
    check_f32("rcp.rn.f32", 1, 0, |a, _, _| a.recip());
    let flushed = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    check_f32("mul.ftz.f32", 2, 0, |a, b, _| flushed(flushed(a) * flushed(b)));
    check_32("neg.f32", 1, 0, |a, _, _| a ^ 0x8000_0000);
    check_32("abs.f32", 1, 0, |a, _, _| a & 0x7fff_ffff);
    check_f32("max.f32", 2, 0, |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == 0.0 && b == 0.0 => {
            if a.is_sign_positive() {
                a
            } else {
                b
            }
        }
        _ => {
            if a > b {
                a
            } else {
                b
            }
        }
    });
    check_f32("ex2.approx.ftz.f32", 1, 2, |a, _, _| flushed(f64::from(flushed(a)).exp2() as f32));
    check_f32("rsqrt.approx.f32", 1, 2, |a, _, _| (1.0 / f64::from(a).sqrt()) as f32);
    check_f32("cvt.sat.f32.f32", 1, 0, |a, _, _| if a.is_nan() { 0.0 } else { a.clamp(0.0, 1.0) + 0.0 });
    check_f32("cvt.rni.f32.f32", 1, 0, |a, _, _| a.round_ties_even());
    check_f32("cvt.rzi.f32.f32", 1, 0, |a, _, _| a.trunc());
    check_32("cvt.rn.f32.u32", 1, 0, |a, _, _| (f64::from(a) as f32).to_bits());
    check_32("cvt.rn.f32.s32", 1, 0, |a, _, _| (f64::from(a as i32) as f32).to_bits());
    check_32("cvt.rzi.s32.f32", 1, 0, |a, _, _| {
        let a = f32::from_bits(a);
        let whole = f64::from(a).trunc();
        if a.is_nan() { 0 } else { whole.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i64 as u32 }
    });
    check_32("mov.b32", 1, 0, |a, _, _| a);

    comparisons();
    wide();
}

/// `setp` and `selp` together: `a` where the comparison holds, `c` elsewhere.
fn comparisons() {
    type Holds = fn(u32, u32) -> bool;
    let cases: [(&str, Holds); 14] = [
        ("eq.s32", |a, b| a == b),
        ("ne.b32", |a, b| a != b),
        ("lt.u32", |a, b| a < b),
        ("lt.s32", |a, b| (a as i32) < b as i32),
        ("ge.u32", |a, b| a >= b),
        ("le.u32", |a, b| a <= b),
        ("gt.s32", |a, b| a as i32 > b as i32),
        ("lt.f32", |a, b| f32::from_bits(a) < f32::from_bits(b)),
        ("eq.f32", |a, b| f32::from_bits(a) == f32::from_bits(b)),
        // unordered: true with NaN
        ("neu.f32", |a, b| f32::from_bits(a) != f32::from_bits(b)),
        ("leu.f32", |a, b| {
            matches!(
                f32::from_bits(a).partial_cmp(&f32::from_bits(b)),
                None | Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
            )
        }),
        // ordered: false with NaN
        ("ne.f32", |a, b| {
            matches!(
                f32::from_bits(a).partial_cmp(&f32::from_bits(b)),
                Some(std::cmp::Ordering::Less | std::cmp::Ordering::Greater)
            )
        }),
        ("num.f32", |a, b| !f32::from_bits(a).is_nan() && !f32::from_bits(b).is_nan()),
        ("nan.f32", |a, b| f32::from_bits(a).is_nan() || f32::from_bits(b).is_nan()),
    ];
    for (compare, holds) in cases {
        let form = format!("setp.{compare} %p1, %r1, %r2; not.pred %p2, %p1; @%p2 mov.u32 %r1, %r3; and.b32");
        // the result: what `%r1` is now, and'ed with all ones in `%r2`
        check_32(&form.replace("and.b32", "mov.u32 %r2, -1; and.b32"), 2, 0, |a, b, c| if holds(a, b) { a } else { c });
        let form = format!("setp.{compare} %p1, %r1, %r2; selp.b32 %r1, %r1, %r3, %p1; mov.b32");
        check_32(&form, 1, 0, |a, b, c| if holds(a, b) { a } else { c });
    }
}

/// 64-bit integers, double precision and conversions between widths.
fn wide() {
    check_64("add.s64 %rd9, %rd4, %rd5;", u64::wrapping_add);
    check_64("sub.s64 %rd9, %rd4, %rd5;", u64::wrapping_sub);
    check_64("mul.lo.s64 %rd9, %rd4, %rd5;", u64::wrapping_mul);
    check_64("mul.wide.u32 %rd9, %r5, %r5;", |_, b| (b & 0xffff_ffff).wrapping_mul(b & 0xffff_ffff));
    check_64("mul.wide.s32 %rd9, %r5, %r5;", |_, b| (i64::from(b as i32) * i64::from(b as i32)) as u64);
    check_64("and.b64 %rd9, %rd4, %rd5;", |a, b| a & b);
    check_64("not.b64 %rd9, %rd4;", |a, _| u64::MAX - a);
    check_64("neg.s64 %rd9, %rd4;", |a, _| 0u64.wrapping_sub(a));
    check_64("min.u64 %rd9, %rd4, %rd5;", |a, b| if a < b { a } else { b });
    check_64("max.s64 %rd9, %rd4, %rd5;", |a, b| if a as i64 > b as i64 { a } else { b });
    check_64("shl.b64 %rd9, %rd4, %r5;", |a, b| if b & 0xffff_ffff > 63 { 0 } else { a << (b & 63) });
    check_64("shr.u64 %rd9, %rd4, %r5;", |a, b| if b & 0xffff_ffff > 63 { 0 } else { a >> (b & 63) });
    check_64("div.u64 %rd9, %rd4, %rd5;", |a, b| a.checked_div(b).unwrap_or(u64::MAX));
    check_64("setp.lt.u64 %p1, %rd4, %rd5; selp.b64 %rd9, %rd4, %rd5, %p1;", |a, b| if a < b { a } else { b });
    check_64("setp.ge.s64 %p1, %rd4, %rd5; selp.u64 %rd9, 1, 0, %p1;", |a, b| u64::from(a as i64 >= b as i64));
    check_64("cvt.u64.u32 %rd9, %r5;", |_, b| b & 0xffff_ffff);
    check_64("cvt.s64.s32 %rd9, %r5;", |_, b| i64::from(b as i32) as u64);
    check_64("cvt.u32.u64 %r6, %rd4; mov.b64 %rd9, {%r6, %r5};", |a, b| a & 0xffff_ffff | b << 32);
    let f = |bits: u64| f64::from_bits(bits);
    // NaN is not compared in its bits: the ISA leaves those of double precision open
    let quiet = |x: f64| if x.is_nan() { 0 } else { x.to_bits() };
    let unless_nan =
        "abs.f64 %fd4, %fd3; setp.nan.f64 %p1, %fd4, %fd4; mov.b64 %rd9, %fd3; selp.b64 %rd9, 0, %rd9, %p1;";
    let double = |operation: &str| format!("mov.b64 %fd1, %rd4; mov.b64 %fd2, %rd5; {operation} {unless_nan}");
    check_64(&double("add.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) + f(b)));
    check_64(&double("mul.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) * f(b)));
    check_64(&double("div.rn.f64 %fd3, %fd1, %fd2;"), |a, b| quiet(f(a) / f(b)));
    check_64(&double("fma.rn.f64 %fd3, %fd1, %fd2, %fd1;"), |a, b| quiet(f(a).mul_add(f(b), f(a))));
    check_64(&double("cvt.rmi.f64.f64 %fd3, %fd1;"), |a, _| quiet(f(a).floor()));
    check_64(&double("cvt.rn.f64.u32 %fd3, %r5;"), |_, b| f64::from(b as u32).to_bits());
    check_64(&double("cvt.rn.f32.f64 %f1, %fd1; cvt.f64.f32 %fd3, %f1;"), |a, _| quiet(f64::from(f(a) as f32)));
    // half precision: to f16 and back, rounded to the nearest even
    check_64(
        "mov.b32 %f1, %r5; cvt.rn.f16.f32 %rs1, %f1; cvt.f32.f16 %f2, %rs1; mov.b32 %r6, %f2; cvt.u64.u32 %rd9, %r6;",
        |_, b| u64::from(through_f16(f32::from_bits(b as u32)).to_bits()),
    );
}

/// `x` rounded to half precision by comparing it with the numbers that half precision has.
fn through_f16(x: f32) -> f32 {
    if x.is_nan() {
        return f32::from_bits(0x7fff_ffff);
    }
    if x.is_infinite() {
        return x;
    }
    let magnitude = f64::from(x.abs());
    // The distance of the numbers around it: 2^(e - 10), at least 2^-24.
    let exponent = if magnitude == 0.0 { -14.0 } else { magnitude.log2().floor().max(-14.0) };
    let step = (exponent - 10.0).exp2();
    let rounded = (magnitude / step).round_ties_even() * step;
    let rounded = if rounded > 65504.0 { f32::INFINITY } else { rounded as f32 };
    rounded.copysign(x)
}

#[test]
fn forms_compute_what_they_should() {
    all_forms();
}

/// The same on the code that any processor runs.
#[test]
fn forms_compute_the_same_without_vector_extensions() {
    let executable = std::env::current_exe().unwrap();
    let status = std::process::Command::new(executable)
        .args(["--exact", "forms_compute_what_they_should"])
        .env("WARPWRIGHT_EMULATOR_ISA", "baseline")
        .status()
        .unwrap();
    assert!(status.success());
}
