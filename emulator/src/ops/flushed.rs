//! f16 without subnormal numbers, and pairs of single-precision numbers.

use super::convert::{from_f16, saturate, to_f16};
use super::float::{canonical, flush};
use super::half::{add, each_half, each_half_of_three, fma, mul, relu};
use super::{Form, map};

/// `bits`, or a zero of its sign if it is subnormal.
#[inline(always)]
pub(super) fn flush_f16(bits: u16) -> u16 {
    if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits }
}

#[inline(always)]
fn from(bits: u16) -> f32 {
    from_f16(flush_f16(bits))
}

#[inline(always)]
fn to(x: f32) -> u16 {
    flush_f16(to_f16(x))
}

/// A function of two f16, alone and in pairs.
macro_rules! two {
    ($opcode:literal, |$a:ident, $b:ident| $value:expr) => {
        [
            map!(concat!($opcode, ".f16"), |a: u16, b: u16| -> u16 {
                let ($a, $b) = (from(a), from(b));
                to($value)
            }),
            map!(concat!($opcode, ".f16x2"), |a: u32, b: u32| -> u32 {
                each_half(a, b, |a, b| {
                    let ($a, $b) = (from(a), from(b));
                    to($value)
                })
            }),
        ]
    };
}

/// `fma` of three f16, alone and in pairs.
macro_rules! three {
    ($opcode:literal, |$value:ident| $finished:expr) => {
        [
            map!(concat!($opcode, ".f16"), |a: u16, b: u16, c: u16| -> u16 {
                let $value = fma(from(a), from(b), from(c));
                to($finished)
            }),
            map!(concat!($opcode, ".f16x2"), |a: u32, b: u32, c: u32| -> u32 {
                each_half_of_three(a, b, c, |a, b, c| {
                    let $value = fma(from(a), from(b), from(c));
                    to($finished)
                })
            }),
        ]
    };
}

/// Both numbers of pairs in 64 bits.
#[inline(always)]
fn each_single(a: u64, b: u64, c: u64, f: impl Fn(f32, f32, f32) -> f32) -> u64 {
    let part = |shift: u32| {
        let single = |pair: u64| f32::from_bits((pair >> shift) as u32);
        u64::from(f(single(a), single(b), single(c)).to_bits()) << shift
    };
    part(0) | part(32)
}

/// Arithmetic on pairs of numbers in single precision, subnormals kept or flushed.
macro_rules! pairs {
    ($opcode:literal, $flushed:literal, |$a:ident, $b:ident| $value:expr) => {
        [
            map!($opcode, |a: u64, b: u64| -> u64 { each_single(a, b, 0, |$a, $b, _| canonical($value)) }),
            map!($flushed, |a: u64, b: u64| -> u64 {
                each_single(a, b, 0, |a, b, _| {
                    let ($a, $b) = (flush(a), flush(b));
                    flush(canonical($value))
                })
            }),
        ]
    };
}

pub(super) const FORMS: &[&[Form]] = &[
    &two!("add.ftz", |a, b| add(a, b)),
    &two!("add.rn.ftz", |a, b| add(a, b)),
    &two!("add.ftz.sat", |a, b| saturate(add(a, b))),
    &two!("sub.ftz", |a, b| add(a, -b)),
    &two!("sub.rn.ftz", |a, b| add(a, -b)),
    &two!("sub.ftz.sat", |a, b| saturate(add(a, -b))),
    &two!("mul.ftz", |a, b| mul(a, b)),
    &two!("mul.rn.ftz", |a, b| mul(a, b)),
    &two!("mul.ftz.sat", |a, b| saturate(mul(a, b))),
    &three!("fma.rn.ftz", |value| value),
    &three!("fma.rn.ftz.sat", |value| saturate(value)),
    &three!("fma.rn.ftz.relu", |value| relu(value)),
    &pairs!("add.rn.f32x2", "add.rn.ftz.f32x2", |a, b| a + b),
    &pairs!("sub.rn.f32x2", "sub.rn.ftz.f32x2", |a, b| a - b),
    &pairs!("mul.rn.f32x2", "mul.rn.ftz.f32x2", |a, b| a * b),
    &[
        map!("fma.rn.f32x2", |a: u64, b: u64, c: u64| -> u64 {
            each_single(a, b, c, |a, b, c| canonical(a.mul_add(b, c)))
        }),
        map!("fma.rn.ftz.f32x2", |a: u64, b: u64, c: u64| -> u64 {
            each_single(a, b, c, |a, b, c| flush(canonical(flush(a).mul_add(flush(b), flush(c)))))
        }),
        map!("neg.ftz.f16", |a: u16| -> u16 { flush_f16(a) ^ 0x8000 }),
        map!("abs.ftz.f16", |a: u16| -> u16 { flush_f16(a) & 0x7fff }),
        map!("neg.ftz.f16x2", |a: u32| -> u32 { each_half(a, 0, |a, _| flush_f16(a) ^ 0x8000) }),
        map!("abs.ftz.f16x2", |a: u32| -> u32 { each_half(a, 0, |a, _| flush_f16(a) & 0x7fff) }),
    ],
];
