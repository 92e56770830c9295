//! `min` and `max` of floating-point numbers beyond the plain ones: NaN that wins, signs combined, three numbers.

use super::convert::{from_bf16, from_f16, to_bf16, to_f16};
use super::float::{canonical, flush, max, min};
use super::half::each_half;
use super::{Form, map};

/// NaN if either is.
#[inline(always)]
fn nan_wins(a: f32, b: f32, chosen: f32) -> f32 {
    canonical(if a.is_nan() || b.is_nan() { f32::NAN } else { chosen })
}

#[inline(always)]
fn min_nan(a: f32, b: f32) -> f32 {
    nan_wins(a, b, min(a, b))
}

#[inline(always)]
fn max_nan(a: f32, b: f32) -> f32 {
    nan_wins(a, b, max(a, b))
}

/// The magnitude that `choose` takes, with the exclusive or of the signs. NaN is what it is.
#[inline(always)]
fn xorsign(a: f32, b: f32, choose: impl Fn(f32, f32) -> f32) -> f32 {
    let chosen = choose(a.abs(), b.abs());
    let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
    if chosen.is_nan() { chosen } else { f32::from_bits(chosen.to_bits() | sign) }
}

/// All spellings of one of them in single precision.
macro_rules! single {
    ($root:literal, $plain:ident, $nan:ident) => {
        [
            map!(concat!($root, ".ftz.NaN.f32"), |a: f32, b: f32| -> f32 { $nan(flush(a), flush(b)) }),
            map!(concat!($root, ".xorsign.abs.f32"), |a: f32, b: f32| -> f32 { xorsign(a, b, $plain) }),
            map!(concat!($root, ".NaN.xorsign.abs.f32"), |a: f32, b: f32| -> f32 { xorsign(a, b, $nan) }),
            map!(concat!($root, ".ftz.xorsign.abs.f32"), |a: f32, b: f32| -> f32 {
                xorsign(flush(a), flush(b), $plain)
            }),
            map!(concat!($root, ".ftz.NaN.xorsign.abs.f32"), |a: f32, b: f32| -> f32 {
                xorsign(flush(a), flush(b), $nan)
            }),
            map!(concat!($root, ".f32"), |a: f32, b: f32, c: f32| -> f32 { $plain($plain(a, b), c) }),
            map!(concat!($root, ".ftz.f32"), |a: f32, b: f32, c: f32| -> f32 {
                $plain($plain(flush(a), flush(b)), flush(c))
            }),
            map!(concat!($root, ".NaN.f32"), |a: f32, b: f32, c: f32| -> f32 { $nan($nan(a, b), c) }),
            map!(concat!($root, ".ftz.NaN.f32"), |a: f32, b: f32, c: f32| -> f32 {
                $nan($nan(flush(a), flush(b)), flush(c))
            }),
            map!(concat!($root, ".abs.f32"), |a: f32, b: f32, c: f32| -> f32 {
                $plain($plain(a.abs(), b.abs()), c.abs())
            }),
            map!(concat!($root, ".NaN.abs.f32"), |a: f32, b: f32, c: f32| -> f32 {
                $nan($nan(a.abs(), b.abs()), c.abs())
            }),
        ]
    };
}

/// A half-precision number, or a zero of its sign if it is a subnormal f16.
#[inline(always)]
fn flushed_f16(bits: u16) -> f32 {
    from_f16(super::flushed::flush_f16(bits))
}

/// One spelling in half precision, alone and in pairs.
macro_rules! half {
    ($opcode:expr, $pair:expr, $from:ident, $to:ident, |$a:ident, $b:ident| $value:expr) => {
        [
            map!($opcode, |a: u16, b: u16| -> u16 {
                let ($a, $b) = ($from(a), $from(b));
                $to($value)
            }),
            map!($pair, |a: u32, b: u32| -> u32 {
                each_half(a, b, |a, b| {
                    let ($a, $b) = ($from(a), $from(b));
                    $to($value)
                })
            }),
        ]
    };
}

/// As [`xorsign`], on the bits of half-precision numbers.
#[inline(always)]
fn xorsign_half(a: u16, b: u16, choose: impl Fn(u16, u16) -> u16) -> u16 {
    let chosen = choose(a & 0x7fff, b & 0x7fff);
    if chosen == 0x7fff { chosen } else { chosen | (a ^ b) & 0x8000 }
}

/// Those of one type of half precision.
macro_rules! halves {
    ($root:literal, $type:literal, $from:ident, $to:ident, $plain:ident, $nan:ident) => {
        [
            map!(concat!($root, ".xorsign.abs.", $type), |a: u16, b: u16| -> u16 {
                xorsign_half(a, b, |a, b| $to($plain($from(a), $from(b))))
            }),
            map!(concat!($root, ".xorsign.abs.", $type, "x2"), |a: u32, b: u32| -> u32 {
                each_half(a, b, |a, b| xorsign_half(a, b, |a, b| $to($plain($from(a), $from(b)))))
            }),
            map!(concat!($root, ".NaN.xorsign.abs.", $type), |a: u16, b: u16| -> u16 {
                xorsign_half(a, b, |a, b| $to($nan($from(a), $from(b))))
            }),
            map!(concat!($root, ".NaN.xorsign.abs.", $type, "x2"), |a: u32, b: u32| -> u32 {
                each_half(a, b, |a, b| xorsign_half(a, b, |a, b| $to($nan($from(a), $from(b)))))
            }),
        ]
    };
}

/// Those of f16 that flush subnormal numbers.
macro_rules! halves_flushed {
    ($root:literal, $plain:ident, $nan:ident) => {
        [
            half!(concat!($root, ".ftz.f16"), concat!($root, ".ftz.f16x2"), flushed_f16, to_f16, |a, b| $plain(a, b)),
            half!(concat!($root, ".ftz.NaN.f16"), concat!($root, ".ftz.NaN.f16x2"), flushed_f16, to_f16, |a, b| {
                $nan(a, b)
            }),
        ]
    };
}

const MIN_F16: [Form; 4] = halves!("min", "f16", from_f16, to_f16, min, min_nan);
const MAX_F16: [Form; 4] = halves!("max", "f16", from_f16, to_f16, max, max_nan);
const MIN_BF16: [Form; 4] = halves!("min", "bf16", from_bf16, to_bf16, min, min_nan);
const MAX_BF16: [Form; 4] = halves!("max", "bf16", from_bf16, to_bf16, max, max_nan);
const MIN_FLUSHED: [[Form; 2]; 2] = halves_flushed!("min", min, min_nan);
const MAX_FLUSHED: [[Form; 2]; 2] = halves_flushed!("max", max, max_nan);

pub(super) const FORMS: &[&[Form]] = &[
    &single!("min", min, min_nan),
    &single!("max", max, max_nan),
    &MIN_F16,
    &MAX_F16,
    &MIN_BF16,
    &MAX_BF16,
    MIN_FLUSHED.as_flattened(),
    MAX_FLUSHED.as_flattened(),
    &[
        map!("min.relu.s32", |a: i32, b: i32| -> i32 { a.min(b).max(0) }),
        map!("max.relu.s32", |a: i32, b: i32| -> i32 { a.max(b).max(0) }),
        map!("min.relu.s16x2", |a: u32, b: u32| -> u32 {
            each_half(a, b, |a, b| (a as i16).min(b as i16).max(0) as u16)
        }),
        map!("max.relu.s16x2", |a: u32, b: u32| -> u32 {
            each_half(a, b, |a, b| (a as i16).max(b as i16).max(0) as u16)
        }),
    ],
];
