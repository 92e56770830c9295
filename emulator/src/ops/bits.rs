//! Bit fields and bytes that are less often wanted: masks, extension of signs, permutations by rule, classes of
//! floating-point numbers, choices by sign.

use super::{Form, Lane, Next, Operation, Variants, map};
use crate::exec::Warp;
use crate::program::Op;
use crate::ptx::ast::RegisterKind;

/// `testp`: a predicate from one number.
macro_rules! testp {
    ($opcode:literal, |$a:ident: $type:ty| $body:expr) => {{
        struct Test;
        impl Operation for Test {
            #[inline(always)]
            fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
                let a = warp.read::<$type>(op.a);
                let mut result = 0u32;
                for lane in 0..32 {
                    let $a = a[lane];
                    result |= u32::from($body) << lane;
                }
                warp.write_predicate(op.d, result, mask);
                Next::Step
            }
        }
        Form {
            opcode: $opcode,
            destination: RegisterKind::Predicate,
            sources: &[<$type as Lane>::KIND],
            exec: Variants::of::<Test>(),
        }
    }};
}

/// `slct`: one of two by the sign of a third.
macro_rules! slct {
    ($type:ty: $($name:literal),*) => {
        [$(
            map!(concat!("slct.", $name, ".s32"), |a: $type, b: $type, c: i32| -> $type { if c >= 0 { a } else { b } }),
            map!(concat!("slct.", $name, ".f32"), |a: $type, b: $type, c: f32| -> $type {
                if c >= 0.0 { a } else { b }
            }),
            map!(concat!("slct.ftz.", $name, ".f32"), |a: $type, b: $type, c: f32| -> $type {
                // A subnormal number below zero is zero.
                if c > -f32::MIN_POSITIVE { a } else { b }
            }),
        )*]
    };
}

/// The bits from `start` on, `length` of them.
#[inline(always)]
fn mask(start: u32, length: u32, clamp: bool) -> u32 {
    let (past, too_long) = (clamp && start >= 32, clamp && length >= 32);
    let (start, length) = (start & 31, length & 31);
    let from = if past { 0 } else { u32::MAX << start };
    let up_to = if past || too_long || start + length >= 32 { u32::MAX } else { !(u32::MAX << (start + length)) };
    from & up_to
}

/// The lowest `length` bits, with the highest of these repeated above if `signed`.
#[inline(always)]
fn extend(value: u32, length: u32, signed: bool, clamp: bool) -> u32 {
    if clamp && length >= 32 {
        return value;
    }
    let length = length & 31;
    if length == 0 {
        return 0;
    }
    let up = value << (32 - length);
    if signed { ((up as i32) >> (32 - length)) as u32 } else { up >> (32 - length) }
}

/// Bytes of `{b, a}` by one of the rules of `prmt`: `choose` gives the byte for each place.
#[inline(always)]
fn permute(a: u32, b: u32, choose: impl Fn(u32) -> u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    (0..4).fold(0, |all, place| all | ((bytes >> (8 * (choose(place) & 7))) as u32 & 0xff) << (8 * place))
}

/// The position of a set bit of `mask`, counted by `offset` from `base`: forward from 1, backward from -1, at `base`
/// itself for 0. All ones if there is none.
#[inline(always)]
fn nth_set_bit(mask: u32, base: u32, offset: i32) -> u32 {
    let base = base & 31;
    let (mut at, step) = (base as i32, if offset < 0 { -1 } else { 1 });
    let mut left = if offset == 0 { 1 } else { offset.unsigned_abs() };
    while (0..32).contains(&at) {
        left -= mask >> at & 1;
        if left == 0 {
            return at as u32;
        }
        if offset == 0 {
            break;
        }
        at += step;
    }
    u32::MAX
}

pub(super) const FORMS: &[&[Form]] = &[
    &slct!(u16: "b16", "u16", "s16"),
    &slct!(u32: "b32", "u32"),
    &slct!(u64: "b64", "u64", "s64", "f64"),
    &[
        map!("slct.s32.f32", |a: u32, b: u32, c: f32| -> u32 { if c >= 0.0 { a } else { b } }),
        map!("slct.f32.f32", |a: u32, b: u32, c: f32| -> u32 { if c >= 0.0 { a } else { b } }),
        map!("slct.ftz.s32.f32", |a: u32, b: u32, c: f32| -> u32 { if c > -f32::MIN_POSITIVE { a } else { b } }),
        map!("slct.ftz.f32.f32", |a: u32, b: u32, c: f32| -> u32 { if c > -f32::MIN_POSITIVE { a } else { b } }),
        testp!("testp.finite.f32", |a: f32| a.is_finite()),
        testp!("testp.infinite.f32", |a: f32| a.is_infinite()),
        testp!("testp.number.f32", |a: f32| !a.is_nan()),
        testp!("testp.notanumber.f32", |a: f32| a.is_nan()),
        testp!("testp.normal.f32", |a: f32| a.is_normal() || a == 0.0),
        testp!("testp.subnormal.f32", |a: f32| a.is_subnormal()),
        testp!("testp.finite.f64", |a: f64| a.is_finite()),
        testp!("testp.infinite.f64", |a: f64| a.is_infinite()),
        testp!("testp.number.f64", |a: f64| !a.is_nan()),
        testp!("testp.notanumber.f64", |a: f64| a.is_nan()),
        testp!("testp.normal.f64", |a: f64| a.is_normal() || a == 0.0),
        testp!("testp.subnormal.f64", |a: f64| a.is_subnormal()),
        map!("bmsk.clamp.b32", |a: u32, b: u32| -> u32 { mask(a, b, true) }),
        map!("bmsk.wrap.b32", |a: u32, b: u32| -> u32 { mask(a, b, false) }),
        map!("szext.clamp.u32", |a: u32, b: u32| -> u32 { extend(a, b, false, true) }),
        map!("szext.clamp.s32", |a: u32, b: u32| -> u32 { extend(a, b, true, true) }),
        map!("szext.wrap.u32", |a: u32, b: u32| -> u32 { extend(a, b, false, false) }),
        map!("szext.wrap.s32", |a: u32, b: u32| -> u32 { extend(a, b, true, false) }),
        map!("fns.b32", |a: u32, b: u32, c: i32| -> u32 { nth_set_bit(a, b, c) }),
        map!("prmt.b32.f4e", |a: u32, b: u32, c: u32| -> u32 { permute(a, b, |place| place + (c & 3)) }),
        map!("prmt.b32.b4e", |a: u32, b: u32, c: u32| -> u32 { permute(a, b, |place| (c & 3).wrapping_sub(place)) }),
        map!("prmt.b32.rc8", |a: u32, b: u32, c: u32| -> u32 { permute(a, b, |_| c & 3) }),
        map!("prmt.b32.ecl", |a: u32, b: u32, c: u32| -> u32 { permute(a, b, |place| place.max(c & 3)) }),
        map!("prmt.b32.ecr", |a: u32, b: u32, c: u32| -> u32 { permute(a, b, |place| place.min(c & 3)) }),
        map!("prmt.b32.rc16", |a: u32, b: u32, c: u32| -> u32 { permute(a, b, |place| 2 * (c & 1) + (place & 1)) }),
        map!("mad.hi.sat.s32", |a: i32, b: i32, c: i32| -> i32 {
            (((i64::from(a) * i64::from(b)) >> 32) as i32).saturating_add(c)
        }),
        map!("mad24.hi.sat.s32", |a: i32, b: i32, c: i32| -> i32 {
            (((i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)) >> 16) as i32).saturating_add(c)
        }),
        // From sm_20 on, these are fused.
        map!("mad.rn.f32", |a: f32, b: f32, c: f32| -> f32 { super::float::canonical(a.mul_add(b, c)) }),
        map!("mad.rn.f64", |a: f64, b: f64, c: f64| -> f64 { a.mul_add(b, c) }),
    ],
];
