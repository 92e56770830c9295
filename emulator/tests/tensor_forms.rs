//! Instructions that are less often wanted, against definitions of their own.

mod common;

use common::forms::{again_without_vector_extensions, check_32, check_64, check_f32};
use common::{Bench, kernel};

/// The value of an 8-bit or 16-bit floating-point number with so many bits of exponent and fraction; of e4m3, and of no
/// other, the largest exponent is one of numbers.
fn value(bits: u32, exponent_bits: u32, fraction_bits: u32) -> f64 {
    let sign = if bits >> (exponent_bits + fraction_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = (bits >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let finite = |base: f64, exponent: i32| {
        let bias = (1 << (exponent_bits - 1)) - 1;
        sign * (base + f64::from(fraction) / f64::from(1u32 << fraction_bits)) * 2f64.powi(exponent - bias)
    };
    match exponent {
        0 => finite(0.0, 1),
        15 if exponent_bits == 4 => {
            if fraction == 7 {
                f64::NAN
            } else {
                finite(1.0, 15)
            }
        }
        _ if exponent == (1 << exponent_bits) - 1 => {
            if fraction == 0 {
                sign * f64::INFINITY
            } else {
                f64::NAN.copysign(sign)
            }
        }
        _ => finite(1.0, exponent),
    }
}

/// The nearest of the numbers with bits 0 to `largest`, ties to the even one, with a sign.
fn nearest(x: f64, largest: u32, exponent_bits: u32, fraction_bits: u32) -> u32 {
    let of = |bits: u32| value(bits, exponent_bits, fraction_bits);
    let below = (0..=largest).rev().find(|&bits| of(bits) <= x.abs()).unwrap_or(0);
    let above = (below + 1).min(largest);
    let (down, up) = (x.abs() - of(below), of(above) - x.abs());
    let chosen = if down < up || down == up && below % 2 == 0 { below } else { above };
    let chosen = if x.abs() >= of(largest) { largest } else { chosen };
    chosen | u32::from(x.is_sign_negative()) << (exponent_bits + fraction_bits)
}

fn to_fp8(x: f32, exponent_bits: u32) -> u32 {
    if x.is_nan() {
        0x7f
    } else {
        nearest(f64::from(x), if exponent_bits == 4 { 0x7e } else { 0x7b }, exponent_bits, 7 - exponent_bits)
    }
}

/// The f16 nearest to a number that is a whole multiple of 2^-48.
fn to_f16(exact: i128) -> u32 {
    let of = |bits: u32| (value(bits, 5, 10) * 2f64.powi(24)) as i128 * (1 << 24);
    let magnitude = exact.abs();
    let (mut low, mut high) = (0, 0x7c00);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if of(middle) <= magnitude { low = middle } else { high = middle }
    }
    let above = if low == 0x7bff { 65536 << 48 } else { of(low + 1) };
    let (down, up) = (magnitude - of(low), above - magnitude);
    (if down < up || down == up && low % 2 == 0 { low } else { low + 1 }) | if exact < 0 { 0x8000 } else { 0 }
}

/// What is done with a result before it is rounded.
#[derive(Clone, Copy, PartialEq)]
enum Finish {
    Nothing,
    Saturate,
    Relu,
}

/// `a * b + c` in f16 without subnormal numbers. `sum_of_product` is false for a product alone.
fn flushed_fma(a: u32, b: u32, c: Option<u32>, finish: Finish) -> u32 {
    let flush = |bits: u32| if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits & 0xffff };
    let (a, b, c) = (flush(a), flush(b), c.map(flush));
    let [x, y] = [a, b].map(|bits| value(bits, 5, 10));
    let z = c.map_or(0.0, |c| value(c, 5, 10));
    let about = match c {
        Some(_) => x * y + z,
        None => x * y,
    };
    if about.is_nan() {
        return if finish == Finish::Saturate { 0 } else { 0x7fff };
    }
    let bits = if about.is_infinite() {
        if about > 0.0 { 0x7c00 } else { 0xfc00 }
    } else {
        let whole = |x: f64| (x * 2f64.powi(24)) as i128;
        let exact = whole(x) * whole(y) + whole(z) * (1 << 24);
        if exact == 0 && about.is_sign_negative() { 0x8000 } else { flush(to_f16(exact)) }
    };
    match finish {
        Finish::Nothing => bits,
        Finish::Saturate | Finish::Relu if bits & 0x8000 != 0 => 0,
        Finish::Saturate => bits.min(0x3c00),
        Finish::Relu => bits,
    }
}

fn both(a: u32, b: u32, c: u32, f: impl Fn(u32, u32, u32) -> u32) -> u32 {
    f(a & 0xffff, b & 0xffff, c & 0xffff) | f(a >> 16, b >> 16, c >> 16) << 16
}

fn all_forms() {
    fp8();
    half_precision_flushed();
    extrema();
    narrowing();
    bits();
    single_precision();
    video();
    comparisons();
    directed();
}

fn fp8() {
    for (name, exponent_bits) in [("e4m3", 4), ("e5m2", 5)] {
        let pair = |a: f32, b: f32| to_fp8(a, exponent_bits) << 8 | to_fp8(b, exponent_bits);
        let relu = |x: f32| if x <= 0.0 { 0.0 } else { x };
        let narrow = "; cvt.u32.u16 %r1, %rs1; mov.b32";
        let single = |a: u32| f32::from_bits(a);
        // the second operand goes to the lower byte
        check_32(&format!("cvt.rn.satfinite.{name}x2.f32 %rs1, %r1, %r2 {narrow}"), 1, 0, |a, b, _| {
            pair(single(a), single(b))
        });
        check_32(&format!("cvt.rn.satfinite.relu.{name}x2.f32 %rs1, %r1, %r2 {narrow}"), 1, 0, |a, b, _| {
            pair(relu(single(a)), relu(single(b)))
        });
        check_32(&format!("cvt.rn.satfinite.{name}x2.f16x2 %rs1, %r1 {narrow}"), 1, 0, |a, _, _| {
            pair(value(a >> 16, 5, 10) as f32, value(a & 0xffff, 5, 10) as f32)
        });
        check_32(&format!("cvt.rn.satfinite.relu.{name}x2.f16x2 %rs1, %r1 {narrow}"), 1, 0, |a, _, _| {
            pair(relu(value(a >> 16, 5, 10) as f32), relu(value(a & 0xffff, 5, 10) as f32))
        });
        let f16 = |bits: u32| {
            let x = value(bits & 0xff, exponent_bits, 7 - exponent_bits);
            match x {
                _ if x.is_nan() => 0x7fff,
                _ if x.is_infinite() => {
                    if x > 0.0 {
                        0x7c00
                    } else {
                        0xfc00
                    }
                }
                _ if x == 0.0 => (bits & 0x80) << 8,
                _ => to_f16((x * 2f64.powi(48)) as i128),
            }
        };
        // every number, in both places
        let all: Vec<u32> = (0..256).map(|n| n << 8 | (255 - n)).collect();
        let body = format!(
            "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4;
             add.u64 %rd1, %rd1, %rd3; ld.global.u32 %r2, [%rd1]; cvt.u16.u32 %rs1, %r2;
             cvt.rn.f16x2.{name}x2 %r3, %rs1; cvt.rn.relu.f16x2.{name}x2 %r4, %rs1;
             mul.wide.u32 %rd3, %r1, 8; add.u64 %rd2, %rd2, %rd3; st.global.v2.u32 [%rd2], {{%r3, %r4}}; ret;"
        );
        let bench = Bench::new(&kernel(2, "", &body));
        let (inputs, out) = (bench.upload(&all), bench.upload(&[0xeeu32; 512]));
        bench.launch([1, 1, 1], [256, 1, 1], &[inputs, out]).unwrap();
        for (found, bits) in bench.read_u32(out, 512).chunks(2).zip(all) {
            let (high, low) = (f16(bits >> 8), f16(bits));
            assert_eq!(found[0], high << 16 | low, "{name} {bits:#x}");
            let relu = |bits: u32| if bits & 0x8000 != 0 { 0 } else { bits };
            assert_eq!(found[1], relu(high) << 16 | relu(low), "{name} {bits:#x}");
        }
    }
}

fn half_precision_flushed() {
    let check = |opcode: &str, sources: usize, definition: fn(u32, u32, u32) -> u32| {
        check_32(&format!("{opcode}.f16x2"), sources, 0, |a, b, c| both(a, b, c, definition));
        // alone: of registers of 16 bits
        let operands = ["%rs1", "%rs2", "%rs3"][..sources].join(", ");
        let form = format!(
            "cvt.u16.u32 %rs1, %r1; cvt.u16.u32 %rs2, %r2; cvt.u16.u32 %rs3, %r3; {opcode}.f16 %rs4, {operands};
             cvt.u32.u16 %r1, %rs4; mov.b32"
        );
        check_32(&form, 1, 0, |a, b, c| definition(a & 0xffff, b & 0xffff, c & 0xffff));
    };
    const ONE: u32 = 0x3c00;
    for rounding in ["", ".rn"] {
        check(&format!("add{rounding}.ftz"), 2, |a, b, _| flushed_fma(a, ONE, Some(b), Finish::Nothing));
        check(&format!("sub{rounding}.ftz"), 2, |a, b, _| flushed_fma(a, ONE, Some(b ^ 0x8000), Finish::Nothing));
        check(&format!("mul{rounding}.ftz"), 2, |a, b, _| flushed_fma(a, b, None, Finish::Nothing));
    }
    check("add.ftz.sat", 2, |a, b, _| flushed_fma(a, ONE, Some(b), Finish::Saturate));
    check("sub.ftz.sat", 2, |a, b, _| flushed_fma(a, ONE, Some(b ^ 0x8000), Finish::Saturate));
    check("mul.ftz.sat", 2, |a, b, _| flushed_fma(a, b, None, Finish::Saturate));
    check("fma.rn.ftz", 3, |a, b, c| flushed_fma(a, b, Some(c), Finish::Nothing));
    check("fma.rn.ftz.sat", 3, |a, b, c| flushed_fma(a, b, Some(c), Finish::Saturate));
    check("fma.rn.ftz.relu", 3, |a, b, c| flushed_fma(a, b, Some(c), Finish::Relu));
    let flush = |bits: u32| if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits };
    check_32("neg.ftz.f16x2", 1, 0, |a, _, _| both(a, 0, 0, |a, _, _| flush(a) ^ 0x8000));
    check_32("abs.ftz.f16x2", 1, 0, |a, _, _| both(a, 0, 0, |a, _, _| flush(a) & 0x7fff));
}

fn extrema() {
    // NaN, or the one with the larger magnitude, or of equal ones the positive one
    let larger = |a: f64, b: f64, nan_wins: bool| match (a.is_nan(), b.is_nan()) {
        (true, true) => f64::NAN,
        (true, _) | (_, true) if nan_wins => f64::NAN,
        (true, _) => b,
        (_, true) => a,
        _ if a == b => {
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
    };
    for nan_wins in [false, true] {
        for root in ["min", "max"] {
            let choose =
                |a: f64, b: f64| if root == "max" { larger(a, b, nan_wins) } else { -larger(-a, -b, nan_wins) };
            let nan = if nan_wins { ".NaN" } else { "" };
            let signed = |a: f64, b: f64| {
                let chosen = choose(a.abs(), b.abs());
                if a.is_sign_negative() != b.is_sign_negative() { -chosen } else { chosen }
            };
            let flushed = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
            check_f32(&format!("{root}{nan}.xorsign.abs.f32"), 2, 0, |a, b, _| signed(a.into(), b.into()) as f32);
            check_f32(&format!("{root}.ftz{nan}.xorsign.abs.f32"), 2, 0, |a, b, _| {
                signed(flushed(a).into(), flushed(b).into()) as f32
            });
            check_f32(&format!("{root}{nan}.f32"), 3, 0, |a, b, c| choose(choose(a.into(), b.into()), c.into()) as f32);
            check_f32(&format!("{root}.ftz{nan}.f32"), 3, 0, |a, b, c| {
                choose(choose(flushed(a).into(), flushed(b).into()), flushed(c).into()) as f32
            });
            check_f32(&format!("{root}{nan}.abs.f32"), 3, 0, |a, b, c| {
                choose(choose(a.abs().into(), b.abs().into()), c.abs().into()) as f32
            });
            let half = |x: f64| -> u32 {
                // exact: it is one of the operands, but for its sign
                match x {
                    _ if x.is_nan() => 0x7fff,
                    _ if x.is_infinite() => {
                        if x > 0.0 {
                            0x7c00
                        } else {
                            0xfc00
                        }
                    }
                    _ if x == 0.0 => {
                        if x.is_sign_negative() {
                            0x8000
                        } else {
                            0
                        }
                    }
                    _ => to_f16((x * 2f64.powi(48)) as i128),
                }
            };
            let f16 = |bits: u32| value(bits, 5, 10);
            check_32(&format!("{root}{nan}.xorsign.abs.f16x2"), 2, 0, |a, b, _| {
                both(a, b, 0, |a, b, _| half(signed(f16(a), f16(b))))
            });
            let flush = |bits: u32| if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits };
            check_32(&format!("{root}.ftz{nan}.f16x2"), 2, 0, |a, b, _| {
                both(a, b, 0, |a, b, _| half(choose(f16(flush(a)), f16(flush(b)))))
            });
            // the upper half of a single-precision number
            let bf16 = |bits: u32| f64::from(f32::from_bits(bits << 16));
            check_32(&format!("{root}{nan}.xorsign.abs.bf16x2"), 2, 0, |a, b, _| {
                both(a, b, 0, |a, b, _| {
                    let chosen = signed(bf16(a), bf16(b)) as f32;
                    if chosen.is_nan() { 0x7fff } else { chosen.to_bits() >> 16 }
                })
            });
        }
    }
    check_32("max.relu.s32", 2, 0, |a, b, _| (a as i32).max(b as i32).max(0) as u32);
    check_32("min.relu.s32", 2, 0, |a, b, _| (a as i32).min(b as i32).max(0) as u32);
    let short = |x: u32| x as u16 as i16;
    check_32("max.relu.s16x2", 2, 0, |a, b, _| both(a, b, 0, |a, b, _| short(a).max(short(b)).max(0) as u32));
    check_32("min.relu.s16x2", 2, 0, |a, b, _| both(a, b, 0, |a, b, _| short(a).min(short(b)).max(0) as u32));
}

fn narrowing() {
    let relu = |a: u32| if a >> 31 == 1 && !f32::from_bits(a).is_nan() { 0 } else { a };
    // tf32: 13 bits fewer; the neighbours below and above, and which is nearer
    let tf32 = |a: u32, away: bool| {
        if f32::from_bits(a).is_nan() {
            return 0x7fff_ffff;
        }
        let (below, rest) = (a & !0x1fff, a & 0x1fff);
        if rest > 0x1000 || rest == 0x1000 && (away || below & 0x2000 != 0) { below + 0x2000 } else { below }
    };
    let finite = |bits: u32| if bits & 0x7fff_ffff == 0x7f80_0000 { bits - 0x2000 } else { bits };
    check_32("cvt.rna.tf32.f32", 1, 0, |a, _, _| tf32(a, true));
    check_32("cvt.rna.satfinite.tf32.f32", 1, 0, |a, _, _| finite(tf32(a, true)));
    check_32("cvt.rn.tf32.f32", 1, 0, |a, _, _| tf32(a, false));
    check_32("cvt.rn.relu.tf32.f32", 1, 0, |a, _, _| tf32(relu(a), false));
    check_32("cvt.rn.satfinite.tf32.f32", 1, 0, |a, _, _| finite(tf32(a, false)));
    check_32("cvt.rz.tf32.f32", 1, 0, |a, _, _| if f32::from_bits(a).is_nan() { 0x7fff_ffff } else { a & !0x1fff });

    let f16 = |a: u32| {
        let x = f64::from(f32::from_bits(a));
        match x {
            _ if x.is_nan() => 0x7fff,
            _ if x.abs() >= 65520.0 => {
                if x > 0.0 {
                    0x7c00
                } else {
                    0xfc00
                }
            }
            // what is below a millionth of the smallest is as good as this
            _ if x.abs() < 2f64.powi(-44) => a >> 16 & 0x8000,
            _ => to_f16((x * 2f64.powi(48)) as i128),
        }
    };
    let f16_zero = |a: u32| {
        let (x, bits) = (f32::from_bits(a), f16(a));
        if x.is_infinite() || x.is_nan() {
            return bits;
        }
        if value(bits, 5, 10).abs() > f64::from(x).abs() { bits - 1 } else { bits }
    };
    let bf16 = |a: u32| {
        if f32::from_bits(a).is_nan() {
            return 0x7fff;
        }
        let (below, rest) = (a >> 16, a & 0xffff);
        if rest > 0x8000 || rest == 0x8000 && below & 1 == 1 { below + 1 } else { below }
    };
    let bf16_zero = |a: u32| if f32::from_bits(a).is_nan() { 0x7fff } else { a >> 16 };
    let limit = |bits: u32, infinite: u32| if bits & 0x7fff == infinite { bits - 1 } else { bits };
    let pair = |a: u32, b: u32, f: &dyn Fn(u32) -> u32| f(a) << 16 | f(b);
    check_32("cvt.rn.relu.f16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| f16(relu(x))));
    check_32("cvt.rz.f16x2.f32", 2, 0, |a, b, _| pair(a, b, &f16_zero));
    check_32("cvt.rz.relu.f16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| f16_zero(relu(x))));
    check_32("cvt.rn.satfinite.f16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| limit(f16(x), 0x7c00)));
    check_32("cvt.rn.relu.satfinite.f16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| limit(f16(relu(x)), 0x7c00)));
    check_32("cvt.rn.relu.bf16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| bf16(relu(x))));
    check_32("cvt.rz.bf16x2.f32", 2, 0, |a, b, _| pair(a, b, &bf16_zero));
    check_32("cvt.rz.relu.bf16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| bf16_zero(relu(x))));
    check_32("cvt.rn.satfinite.bf16x2.f32", 2, 0, |a, b, _| pair(a, b, &|x| limit(bf16(x), 0x7f80)));
    let back = "cvt.u32.u16 %r1, %rs1; mov.b32";
    check_32(&format!("cvt.rn.satfinite.f16.f32 %rs1, %r1; {back}"), 1, 0, |a, _, _| limit(f16(a), 0x7c00));
    check_32(&format!("cvt.rz.relu.f16.f32 %rs1, %r1; {back}"), 1, 0, |a, _, _| f16_zero(relu(a)));
    check_32(&format!("cvt.rz.relu.bf16.f32 %rs1, %r1; {back}"), 1, 0, |a, _, _| bf16_zero(relu(a)));

    // integers, clamped
    check_32("cvt.sat.u8.s32", 1, 0, |a, _, _| (a as i32).clamp(0, 255) as u32);
    check_32("cvt.sat.s8.s32", 1, 0, |a, _, _| (a as i32).clamp(-128, 127) as u32);
    check_32("cvt.sat.s16.u32", 1, 0, |a, _, _| a.min(0x7fff));
    check_32("cvt.sat.s32.u32", 1, 0, |a, _, _| a.min(0x7fff_ffff));
    check_64("cvt.sat.u32.s64 %r9, %rd4; cvt.u64.u32 %rd9, %r9;", |a, _| (a as i64).clamp(0, 0xffff_ffff) as u64);
    check_64("cvt.sat.s64.u64 %rd9, %rd4;", |a, _| a.min(i64::MAX as u64));
    // what quantisation does
    check_32("cvt.rni.sat.s8.f32", 1, 0, |a, _, _| {
        let x = f64::from(f32::from_bits(a));
        if x.is_nan() { 0 } else { x.round_ties_even().clamp(-128.0, 127.0) as i32 as u32 }
    });
    let flushed = |a: u32| {
        let x = f32::from_bits(a);
        f64::from(if x.is_subnormal() { 0.0 } else { x })
    };
    check_32("cvt.rpi.ftz.s32.f32", 1, 0, |a, _, _| {
        let x = flushed(a).ceil();
        if x.is_nan() { 0 } else { x.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i64 as u32 }
    });
    check_32("cvt.rmi.ftz.u8.f32", 1, 0, |a, _, _| flushed(a).floor() as u8 as u32);
    // the largest number of 24 bits that is not past the integer
    check_64("cvt.rz.f32.u64 %r9, %rd4; cvt.u64.u32 %rd9, %r9;", |a, _| {
        let shift = 40u32.saturating_sub(a.leading_zeros());
        u64::from((((a >> shift) << shift) as f32).to_bits())
    });
    check_64("cvt.rp.f64.s64 %rd9, %rd4;", |a, _| {
        let (a, near) = (a as i64, a as i64 as f64);
        (if (near as i128) < i128::from(a) { near.next_up() } else { near }).to_bits()
    });
    check_64("cvt.rm.f64.u64 %rd9, %rd4;", |a, _| {
        let near = a as f64;
        (if near as i128 > i128::from(a) { near.next_down() } else { near }).to_bits()
    });
}

fn bits() {
    // bit by bit: from a to a + b
    let mask = |a: u64, b: u64| (0..32).fold(0u32, |all, n| all | u32::from(n >= a && n < a + b) << n);
    check_32("bmsk.clamp.b32", 2, 0, |a, b, _| mask(a.min(32).into(), b.min(32).into()));
    check_32("bmsk.wrap.b32", 2, 0, |a, b, _| mask((a % 32).into(), (b % 32).into()));
    let extend = |a: u32, length: u32, signed: bool| {
        let top = if length == 0 { 0 } else { a >> (length - 1) & 1 };
        (0..32).fold(0u32, |all, n| {
            all | if n < length {
                a >> n & 1
            } else if signed {
                top
            } else {
                0
            } << n
        })
    };
    check_32("szext.clamp.s32", 2, 0, |a, b, _| extend(a, b.min(32), true));
    check_32("szext.clamp.u32", 2, 0, |a, b, _| extend(a, b.min(32), false));
    check_32("szext.wrap.s32", 2, 0, |a, b, _| extend(a, b % 32, true));
    check_32("szext.wrap.u32", 2, 0, |a, b, _| extend(a, b % 32, false));
    check_32(
        "and.b32 %r3, %r3, 31; shl.b32 %r3, %r3, 27; shr.s32 %r3, %r3, 27; and.b32 %r2, %r2, 31; fns.b32 %r1, %r1, %r2, %r3; mov.b32",
        1,
        0,
        |a, b, c| {
            let (base, offset) = ((b & 31) as i32, ((c & 31) << 27) as i32 >> 27);
            let set = |at: &i32| a >> at & 1 == 1;
            let found = match offset {
                0 => Some(base).filter(set),
                1.. => (base..32).filter(set).nth(offset as usize - 1),
                _ => (0..=base).rev().filter(set).nth(-offset as usize - 1),
            };
            found.map_or(u32::MAX, |at| at as u32)
        },
    );
    let permute = |a: u32, b: u32, places: [u32; 4]| {
        let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
        u32::from_le_bytes(places.map(|place| bytes[place as usize]))
    };
    // as the ISA's table has them, from the lowest byte
    type Table = [[u32; 4]; 4];
    let modes: [(&str, Table); 6] = [
        ("f4e", [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]),
        ("b4e", [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]]),
        ("rc8", [[0; 4], [1; 4], [2; 4], [3; 4]]),
        ("ecl", [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3; 4]]),
        ("ecr", [[0; 4], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]]),
        ("rc16", [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]]),
    ];
    for (mode, table) in modes {
        check_32(&format!("prmt.b32.{mode}"), 3, 0, |a, b, c| permute(a, b, table[c as usize & 3]));
    }
    type Test = fn(f32) -> bool;
    let tests: [(&str, Test); 6] = [
        ("finite", |x| x.abs() <= f32::MAX),
        ("infinite", |x| x.abs() > f32::MAX),
        ("number", |x| x.to_bits() << 1 <= 0xff00_0000),
        ("notanumber", |x| x.to_bits() << 1 > 0xff00_0000),
        ("normal", |x| x == 0.0 || x.abs() >= f32::MIN_POSITIVE && x.abs() <= f32::MAX),
        ("subnormal", |x| x != 0.0 && x.abs() < f32::MIN_POSITIVE),
    ];
    for (name, test) in tests {
        let form = format!("testp.{name}.f32 %p1, %r1; selp.u32 %r1, 1, 0, %p1; mov.b32");
        check_32(&form, 1, 0, |a, _, _| u32::from(test(f32::from_bits(a))));
        let form = format!("cvt.f64.f32 %fd1, %r1; testp.{name}.f64 %p1, %fd1; selp.u32 %r1, 1, 0, %p1; mov.b32");
        let subnormal = |x: f32| x != 0.0 && x.abs() < f32::MIN_POSITIVE;
        check_32(&form, 1, 0, |a, _, _| {
            let x = f32::from_bits(a);
            // what is subnormal in single precision is normal in double
            u32::from(if subnormal(x) { name == "finite" || name == "number" || name == "normal" } else { test(x) })
        });
    }
    check_64("testp.subnormal.f64 %p1, %rd4; selp.u64 %rd9, 1, 0, %p1;", |a, _| {
        u64::from(a << 1 != 0 && a << 1 >> 53 == 0)
    });
    for ty in ["b32", "s32", "u32", "f32"] {
        check_32(&format!("slct.{ty}.s32"), 3, 0, |a, b, c| if c >> 31 == 0 { a } else { b });
        check_32(&format!("slct.{ty}.f32"), 3, 0, |a, b, c| if f32::from_bits(c) >= 0.0 { a } else { b });
        check_32(&format!("slct.ftz.{ty}.f32"), 3, 0, |a, b, c| {
            let c = f32::from_bits(c);
            if c >= 0.0 || c.is_subnormal() { a } else { b }
        });
    }
    check_64("slct.b64.s32 %rd9, %rd4, %rd5, %r5;", |a, b| if b >> 31 & 1 == 0 { a } else { b });
    check_32("mad.hi.sat.s32", 3, 0, |a, b, c| {
        let sum = ((i64::from(a as i32) * i64::from(b as i32)) >> 32) + i64::from(c as i32);
        sum.clamp(i32::MIN.into(), i32::MAX.into()) as u32
    });
    check_f32("mad.rn.f32", 3, 0, |a, b, c| a.mul_add(b, c));
    // a table of truth, joined with a predicate
    let form = "setp.lt.s32 %p1, %r3, 0; lop3.and.b32 %r8|%p2, %r1, %r2, %r3, 0x80, !%p1; selp.u32 %r7, 1, 0, %p2;
         lop3.or.b32 _|%p3, %r1, %r2, %r3, 0x3c, %p1; selp.u32 %r6, 2, 0, %p3; add.u32 %r8, %r8, %r7; add.u32 %r1, %r8, %r6; mov.b32";
    check_32(form, 1, 0, |a, b, c| {
        let all = a & b & c;
        let (first, second) = (all != 0 && c >> 31 == 0, (a ^ b) != 0 || c >> 31 == 1);
        all.wrapping_add(first as u32).wrapping_add(2 * second as u32)
    });
}

fn single_precision() {
    let flushed = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    let saturated = |x: f32| if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) + 0.0 };
    for rounding in ["", ".rn"] {
        check_f32(&format!("add{rounding}.sat.f32"), 2, 0, |a, b, _| saturated(a + b));
        check_f32(&format!("sub{rounding}.sat.f32"), 2, 0, |a, b, _| saturated(a - b));
        check_f32(&format!("mul{rounding}.sat.f32"), 2, 0, |a, b, _| saturated(a * b));
        check_f32(&format!("mul{rounding}.ftz.sat.f32"), 2, 0, |a, b, _| saturated(flushed(flushed(a) * flushed(b))));
    }
    check_f32("fma.rn.sat.f32", 3, 0, |a, b, c| saturated(a.mul_add(b, c)));
    check_f32("fma.rn.ftz.sat.f32", 3, 0, |a, b, c| saturated(flushed(flushed(a).mul_add(flushed(b), flushed(c)))));
    // one step toward zero where the nearest is past the exact product
    check_f32("mul.rz.ftz.f32", 2, 0, |a, b, _| {
        let exact = f64::from(flushed(a)) * f64::from(flushed(b));
        let near = exact as f32;
        let near = if exact.is_finite() && f64::from(near).abs() > exact.abs() {
            f32::from_bits(near.to_bits() - 1)
        } else {
            near
        };
        flushed(near)
    });
    for (opcode, operation) in [
        ("add.rn.f32x2", (|a, b| a + b) as fn(f32, f32) -> f32),
        ("sub.rn.f32x2", |a, b| a - b),
        ("mul.rn.f32x2", |a, b| a * b),
        ("fma.rn.f32x2", |a, b| a.mul_add(b, a)),
    ] {
        let third = if opcode.starts_with("fma") { ", %rd4" } else { "" };
        check_64(&format!("{opcode} %rd9, %rd4, %rd5{third};"), |a, b| {
            let part = |shift: u32| {
                let result = operation(f32::from_bits((a >> shift) as u32), f32::from_bits((b >> shift) as u32));
                u64::from(if result.is_nan() { 0x7fff_ffff } else { result.to_bits() }) << shift
            };
            part(0) | part(32)
        });
    }
}

fn video() {
    let part = |x: u32, n: u32, width: u32, signed: bool| {
        let value = i64::from(x) >> (n * width) & ((1 << width) - 1);
        if signed && value >> (width - 1) == 1 { value - (1 << width) } else { value }
    };
    type OfParts = fn(i64, i64) -> i64;
    let functions: [(&str, OfParts); 6] = [
        ("vadd", |a, b| a + b),
        ("vsub", |a, b| a - b),
        ("vavrg", |a, b| if a + b >= 0 { (a + b + 1) >> 1 } else { (a + b) >> 1 }),
        ("vabsdiff", |a, b| (a - b).abs()),
        ("vmin", |a, b| a.min(b)),
        ("vmax", |a, b| a.max(b)),
    ];
    for (name, function) in functions {
        for width in [8u32, 16] {
            let count = 32 / width;
            for (types, signs) in
                [("u32.u32.u32", [false; 3]), ("s32.s32.s32", [true; 3]), ("s32.u32.s32", [true, false, true])]
            {
                let results = |a: u32, b: u32| -> Vec<i64> {
                    (0..count).map(|n| function(part(a, n, width, signs[1]), part(b, n, width, signs[2]))).collect()
                };
                let joined = |values: Vec<i64>| {
                    values
                        .iter()
                        .enumerate()
                        .fold(0u32, |all, (n, value)| all | ((value & ((1 << width) - 1)) as u32) << (width * n as u32))
                };
                check_32(&format!("{name}{count}.{types}"), 3, 0, |a, b, _| joined(results(a, b)));
                let (least, most) =
                    if signs[0] { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) };
                check_32(&format!("{name}{count}.{types}.sat"), 3, 0, |a, b, _| {
                    joined(results(a, b).into_iter().map(|value| value.clamp(least, most)).collect())
                });
                check_32(&format!("{name}{count}.{types}.add"), 3, 0, |a, b, c| {
                    results(a, b).into_iter().fold(c, |sum, value| sum.wrapping_add(value as u32))
                });
            }
        }
    }
}

fn comparisons() {
    let two = "selp.u32 %r8, 1, 0, %p1; selp.u32 %r9, 2, 0, %p2; add.u32 %r1, %r8, %r9; mov.b32";
    let both = |first: bool, second: bool| u32::from(first) + 2 * u32::from(second);
    check_32(&format!("setp.lt.s32 %p1|%p2, %r1, %r2; {two}"), 1, 0, |a, b, _| {
        let less = (a as i32) < (b as i32);
        both(less, !less)
    });
    type Join = fn(bool, bool) -> bool;
    for (name, join) in [("and", (|a, b| a && b) as Join), ("or", |a, b| a || b), ("xor", |a, b| a != b)] {
        let other = "setp.gt.u32 %p3, %r3, 0x7fffffff;";
        check_32(&format!("{other} setp.hi.{name}.u32 %p1|%p2, %r1, %r2, %p3; {two}"), 1, 0, |a, b, c| {
            both(join(a > b, c >> 31 == 1), join(a <= b, c >> 31 == 1))
        });
        check_32(&format!("{other} setp.eq.{name}.ftz.f32 %p1|%p2, %r1, %r2, !%p3; {two}"), 1, 0, |a, b, c| {
            let flushed = |x: u32| if x >> 23 & 0xff == 0 { 0.0 } else { f32::from_bits(x) };
            let equal = flushed(a) == flushed(b);
            both(join(equal, c >> 31 == 0), join(!equal, c >> 31 == 0))
        });
        check_32(&format!("{other} set.ge.{name}.u32.s32 %r1, %r1, %r2, %p3; mov.b32"), 1, 0, |a, b, c| {
            if join(a as i32 >= b as i32, c >> 31 == 1) { u32::MAX } else { 0 }
        });
    }
    check_32("set.lo.f32.u32", 2, 0, |a, b, _| if a < b { 1f32.to_bits() } else { 0 });
    check_32("set.nan.s32.f32", 2, 0, |a, b, _| {
        if f32::from_bits(a).is_nan() || f32::from_bits(b).is_nan() { u32::MAX } else { 0 }
    });
    check_64("set.ne.u32.b64 %r9, %rd4, %rd5; cvt.u64.u32 %rd9, %r9;", |a, b| if a != b { 0xffff_ffff } else { 0 });
}

/// Exact numbers as fractions of whole ones: `whole * 2^exponent`, of moderate size.
fn directed() {
    // 64-bit words as numbers near 1, so that all results are whole multiples of 2^-240, in 128 bits where it matters
    let number = |bits: u64| f64::from_bits(bits & 0x800f_ffff_ffff_ffff | (1020 + (bits >> 52) % 7) << 52);
    let near_one = |register: &str, from: &str| {
        format!(
            "shr.u64 %rd20, {from}, 52; rem.u64 %rd20, %rd20, 7; add.u64 %rd20, %rd20, 1020; shl.b64 %rd20, %rd20, 52;
             and.b64 %rd21, {from}, 0x800fffffffffffff; or.b64 %rd20, %rd20, %rd21; mov.b64 {register}, %rd20;"
        )
    };
    // the whole number, at a scale of 2^-60 (exponents are -3 to 3, and fractions have 52 bits)
    let whole = |x: f64| (x * 2f64.powi(60)) as i128;
    // which way from the nearest one, by the sign of the exact result less it
    let moved = |nearest: f64, error: i128, rounding: &str| {
        let away_down = match rounding {
            "rm" => true,
            "rp" => false,
            _ => nearest > 0.0,
        };
        match error.signum() {
            -1 if away_down => {
                f64::from_bits(if nearest > 0.0 { nearest.to_bits() - 1 } else { nearest.to_bits() + 1 })
            }
            1 if !away_down => {
                f64::from_bits(if nearest > 0.0 { nearest.to_bits() + 1 } else { nearest.to_bits() - 1 })
            }
            _ => nearest,
        }
    };
    let head = near_one("%fd1", "%rd4") + &near_one("%fd2", "%rd5");
    for rounding in ["rz", "rm", "rp"] {
        let run = |instruction: &str, definition: &dyn Fn(f64, f64) -> f64| {
            let form = format!("{head} {instruction} mov.b64 %rd9, %fd3;");
            check_64(&form, |a, b| definition(number(a), number(b)).to_bits());
        };
        run(&format!("add.{rounding}.f64 %fd3, %fd1, %fd2;"), &|a, b| {
            let nearest = a + b;
            if nearest == 0.0 {
                return if rounding == "rm" { -0.0 } else { 0.0 };
            }
            moved(nearest, whole(a) + whole(b) - whole(nearest), rounding)
        });
        run(&format!("sub.{rounding}.f64 %fd3, %fd1, %fd2;"), &|a, b| {
            let nearest = a - b;
            if nearest == 0.0 {
                return if rounding == "rm" { -0.0 } else { 0.0 };
            }
            moved(nearest, whole(a) - whole(b) - whole(nearest), rounding)
        });
        run(&format!("mul.{rounding}.f64 %fd3, %fd1, %fd2;"), &|a, b| {
            // both at 2^-55 make 2^-110, where the nearest product is whole as well
            let (x, y) = ((a * 2f64.powi(55)) as i128, (b * 2f64.powi(55)) as i128);
            let nearest = a * b;
            moved(nearest, x * y - ((nearest * 2f64.powi(58)) as i128) * (1 << 52), rounding)
        });
        run(&format!("div.{rounding}.f64 %fd3, %fd1, %fd2;"), &|a, b| {
            // the quotient is between 2^-7 and 2^7: at 2^-60, times the divisor at 2^-55
            let (x, y) = ((a * 2f64.powi(55)) as i128, (b * 2f64.powi(55)) as i128);
            let nearest = a / b;
            let product = ((nearest * 2f64.powi(60)) as i128).checked_mul(y);
            let rest = product.map_or(0, |product| x * (1 << 60) - product);
            moved(nearest, if b > 0.0 { rest } else { -rest }, rounding)
        });
        run(&format!("abs.f64 %fd1, %fd1; sqrt.{rounding}.f64 %fd3, %fd1;"), &|a, _| {
            let nearest = a.abs().sqrt();
            // at 2^-54, squared at 2^-108
            let root = (nearest * 2f64.powi(54)) as i128;
            moved(nearest, ((a.abs() * 2f64.powi(56)) as i128) * (1 << 52) - root * root, rounding)
        });
        run(&format!("fma.{rounding}.f64 %fd3, %fd1, %fd2, %fd1;"), &|a, b| {
            let (x, y) = ((a * 2f64.powi(55)) as i128, (b * 2f64.powi(55)) as i128);
            let nearest = a.mul_add(b, a);
            if nearest.abs() < 2f64.powi(-6) {
                // it has bits below 2^-110 in this case only
                return f64::from_bits(exact_tiny(a, b, rounding, nearest));
            }
            let exact = x * y + ((a * 2f64.powi(58)) as i128) * (1 << 52);
            moved(nearest, exact - ((nearest * 2f64.powi(58)) as i128) * (1 << 52), rounding)
        });
        let largest = |sign: f64| match (rounding, sign > 0.0) {
            ("rz", _) | ("rm", true) | ("rp", false) => f64::MAX.copysign(sign),
            _ => f64::INFINITY.copysign(sign),
        };
        // beyond the largest number, and below the smallest
        let big = "mov.b64 %fd1, 0x7fe0000000000000; mov.b64 %fd2, 0xffe0000000000000;";
        check_64(&format!("{big} mul.{rounding}.f64 %fd3, %fd1, %fd1; mov.b64 %rd9, %fd3;"), |_, _| {
            largest(1.0).to_bits()
        });
        check_64(&format!("{big} fma.{rounding}.f64 %fd3, %fd1, %fd2, %fd2; mov.b64 %rd9, %fd3;"), |_, _| {
            largest(-1.0).to_bits()
        });
        let small = "mov.b64 %fd1, 0x0010000000000000; mov.b64 %fd2, 0x8010000000000000;";
        check_64(&format!("{small} mul.{rounding}.f64 %fd3, %fd1, %fd1; mov.b64 %rd9, %fd3;"), |_, _| {
            u64::from(rounding == "rp")
        });
        check_64(&format!("{small} mul.{rounding}.f64 %fd3, %fd1, %fd2; mov.b64 %rd9, %fd3;"), |_, _| {
            1 << 63 | u64::from(rounding == "rm")
        });
        check_64(
            &format!("mov.b64 %fd1, 0x4008000000000000; rcp.{rounding}.f64 %fd3, %fd1; mov.b64 %rd9, %fd3;"),
            |_, _| {
                // a third is 0x3fd5555555555555.55…
                0x3fd5_5555_5555_5555 + u64::from(rounding == "rp")
            },
        );
        // integers to halves: the neighbours of the integer, found by counting
        let back = "cvt.u32.u16 %r1, %rs1; mov.b32";
        let half = |x: i64, exponent_bits: u32, fraction_bits: u32| {
            let of = |bits: u32| {
                let (exponent, fraction) = ((bits >> fraction_bits) as i32, bits & ((1 << fraction_bits) - 1));
                let bias = (1 << (exponent_bits - 1)) - 1;
                f64::from(fraction | 1 << fraction_bits) * 2f64.powi(exponent - bias - fraction_bits as i32)
            };
            let infinity = ((1 << exponent_bits) - 1) << fraction_bits;
            let magnitude = x.unsigned_abs();
            let sign = u32::from(x < 0) << 15;
            if magnitude == 0 {
                return 0;
            }
            // the largest that is not above; all of them from 1 on are normal
            let mut low = ((1 << (exponent_bits - 1)) - 1) << fraction_bits;
            let mut high = infinity;
            while high - low > 1 {
                let middle = (low + high) / 2;
                if of(middle) as u128 <= u128::from(magnitude)
                    && (of(middle).fract() == 0.0 || of(middle) < magnitude as f64)
                {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            let exact = of(low).fract() == 0.0 && of(low) as u128 == u128::from(magnitude);
            let away = match rounding {
                "rz" => false,
                "rm" => x < 0,
                _ => x > 0,
            };
            sign | if exact || !away { low } else { low + 1 }
        };
        check_32(&format!("cvt.{rounding}.f16.s32 %rs1, %r1; {back}"), 1, 0, |a, _, _| {
            half(i64::from(a as i32), 5, 10)
        });
        check_32(&format!("cvt.{rounding}.bf16.s32 %rs1, %r1; {back}"), 1, 0, |a, _, _| {
            half(i64::from(a as i32), 8, 7)
        });
        check_64(&format!("cvt.{rounding}.bf16.s64 %rs1, %rd4; cvt.u64.u16 %rd9, %rs1;"), |a, _| {
            u64::from(half(a as i64, 8, 7))
        });
    }
}

/// `a * b + a` where it almost vanishes: `a * (b + 1)` with `b` close to -1, so that `b + 1` is exact.
fn exact_tiny(a: f64, b: f64, rounding: &str, nearest: f64) -> u64 {
    let factor = b + 1.0;
    if factor == 0.0 {
        return (if rounding == "rm" { -0.0f64 } else { 0.0 }).to_bits();
    }
    let (x, y) = ((a * 2f64.powi(55)) as i128, (factor * 2f64.powi(55)) as i128);
    let shift = (55 - nearest.abs().log2().floor() as i32).min(110);
    let at = ((nearest * 2f64.powi(shift)) as i128) << (110 - shift);
    let error = (x * y - at).signum();
    let (down, up) =
        (rounding == "rm" || rounding == "rz" && nearest > 0.0, rounding == "rp" || rounding == "rz" && nearest < 0.0);
    let step = if error < 0 && down {
        -1i64
    } else if error > 0 && up {
        1
    } else {
        0
    };
    nearest.to_bits().wrapping_add_signed(if nearest > 0.0 { step } else { -step })
}

#[test]
fn forms() {
    all_forms();
}

#[test]
fn forms_without_vector_extensions() {
    again_without_vector_extensions("forms");
}
