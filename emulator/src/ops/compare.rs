//! Comparisons, selection and predicate logic.

use super::convert::{from_bf16, from_f16};
use super::half::each_half;
use super::{Form, Lane, Next, Operation, Variants, map};
use crate::exec::Warp;
use crate::program::Op;
use crate::ptx::ast::RegisterKind;

/// `setp`: a predicate from two values.
macro_rules! setp {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {{
        struct Compare;
        impl Operation for Compare {
            #[inline(always)]
            fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
                let (a, b) = (warp.read::<$type>(op.a), warp.read::<$type>(op.b));
                let mut bits = [0u32; 32];
                for lane in 0..32 {
                    let ($a, $b) = (a[lane], b[lane]);
                    bits[lane] = if $body { 1 << lane } else { 0 };
                }
                let result = bits.iter().fold(0, |all, bit| all | bit);
                warp.write_predicate(op.d, result, mask);
                Next::Step
            }
        }
        Form {
            opcode: $opcode,
            destination: RegisterKind::Predicate,
            sources: &[<$type as Lane>::KIND; 2],
            exec: Variants::of::<Compare>(),
        }
    }};
}

/// The six comparisons of one integer type.
macro_rules! integers {
    ($type:ty, $name:literal) => {
        [
            setp!(concat!("setp.eq.", $name), |a, b: $type| a == b),
            setp!(concat!("setp.ne.", $name), |a, b: $type| a != b),
            setp!(concat!("setp.lt.", $name), |a, b: $type| a < b),
            setp!(concat!("setp.le.", $name), |a, b: $type| a <= b),
            setp!(concat!("setp.gt.", $name), |a, b: $type| a > b),
            setp!(concat!("setp.ge.", $name), |a, b: $type| a >= b),
        ]
    };
}

/// The other names of the comparisons of unsigned types.
macro_rules! unsigned {
    ($type:ty, $name:literal) => {
        [
            setp!(concat!("setp.lo.", $name), |a, b: $type| a < b),
            setp!(concat!("setp.ls.", $name), |a, b: $type| a <= b),
            setp!(concat!("setp.hi.", $name), |a, b: $type| a > b),
            setp!(concat!("setp.hs.", $name), |a, b: $type| a >= b),
        ]
    };
}

/// Equality of untyped bits.
macro_rules! equality {
    ($type:ty, $name:literal) => {
        [
            setp!(concat!("setp.eq.", $name), |a, b: $type| a == b),
            setp!(concat!("setp.ne.", $name), |a, b: $type| a != b),
        ]
    };
}

/// Whether either is NaN.
macro_rules! unordered {
    ($prepare:expr, $a:ident, $b:ident) => {
        ($prepare($a).is_nan() || $prepare($b).is_nan())
    };
}

/// The comparisons of a floating-point type as `$form`s: ordered (false with NaN), and unordered (true with NaN).
macro_rules! each_comparison {
    ($form:ident, $root:expr, $type:ty, $name:literal, $p:expr) => {
        [
            $form!(concat!($root, ".eq", $name), |a, b: $type| $p(a) == $p(b)),
            $form!(concat!($root, ".ne", $name), |a, b: $type| $p(a) < $p(b) || $p(a) > $p(b)),
            $form!(concat!($root, ".lt", $name), |a, b: $type| $p(a) < $p(b)),
            $form!(concat!($root, ".le", $name), |a, b: $type| $p(a) <= $p(b)),
            $form!(concat!($root, ".gt", $name), |a, b: $type| $p(a) > $p(b)),
            $form!(concat!($root, ".ge", $name), |a, b: $type| $p(a) >= $p(b)),
            $form!(concat!($root, ".equ", $name), |a, b: $type| unordered!($p, a, b) || $p(a) == $p(b)),
            $form!(concat!($root, ".neu", $name), |a, b: $type| $p(a) != $p(b)),
            $form!(concat!($root, ".ltu", $name), |a, b: $type| unordered!($p, a, b) || $p(a) < $p(b)),
            $form!(concat!($root, ".leu", $name), |a, b: $type| unordered!($p, a, b) || $p(a) <= $p(b)),
            $form!(concat!($root, ".gtu", $name), |a, b: $type| unordered!($p, a, b) || $p(a) > $p(b)),
            $form!(concat!($root, ".geu", $name), |a, b: $type| unordered!($p, a, b) || $p(a) >= $p(b)),
            $form!(concat!($root, ".num", $name), |a, b: $type| !unordered!($p, a, b)),
            $form!(concat!($root, ".nan", $name), |a, b: $type| unordered!($p, a, b)),
        ]
    };
}

/// `set`: a number from two values, 1.0 or all bits where the comparison holds.
macro_rules! set_ones {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        map!($opcode, |$a: $type, $b: $type| -> u32 { if $body { u32::MAX } else { 0 } })
    };
}
macro_rules! set_f32 {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        map!($opcode, |$a: $type, $b: $type| -> f32 { if $body { 1.0 } else { 0.0 } })
    };
}
/// `$one` is 1.0 in half precision.
macro_rules! set_half {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr, $one:literal) => {
        map!($opcode, |$a: $type, $b: $type| -> u16 { if $body { $one } else { 0 } })
    };
}
macro_rules! set_f16 {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        set_half!($opcode, |$a, $b: $type| $body, 0x3c00)
    };
}
macro_rules! set_bf16 {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        set_half!($opcode, |$a, $b: $type| $body, 0x3f80)
    };
}
/// The same for both halves of a pair.
macro_rules! set_pair {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr, $one:literal) => {
        map!($opcode, |a: u32, b: u32| -> u32 { each_half(a, b, |$a, $b| if $body { $one } else { 0 }) })
    };
}
macro_rules! set_f16x2 {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        set_pair!($opcode, |$a, $b: $type| $body, 0x3c00)
    };
}
macro_rules! set_bf16x2 {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        set_pair!($opcode, |$a, $b: $type| $body, 0x3f80)
    };
}
macro_rules! set_ones_x2 {
    ($opcode:expr, |$a:ident, $b:ident: $type:ty| $body:expr) => {
        set_pair!($opcode, |$a, $b: $type| $body, 0xffff)
    };
}

#[inline(always)]
fn same<T>(x: T) -> T {
    x
}

/// `selp`: `a` where the predicate `c` holds, `b` elsewhere.
macro_rules! selp {
    ($type:ty, $name:literal) => {{
        struct Select;
        impl Operation for Select {
            #[inline(always)]
            fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
                let (a, b) = (warp.read::<$type>(op.a), warp.read::<$type>(op.b));
                let predicate = warp.predicate(op.c);
                let mut result = [<$type as Lane>::Raw::default(); 32];
                for lane in 0..32 {
                    result[lane] = if predicate >> lane & 1 != 0 { a[lane] } else { b[lane] }.to_raw();
                }
                warp.write_raw::<$type>(op.d, &result, mask);
                Next::Step
            }
        }
        Form {
            opcode: concat!("selp.", $name),
            destination: <$type as Lane>::KIND,
            sources: &[<$type as Lane>::KIND, <$type as Lane>::KIND, RegisterKind::Predicate],
            exec: Variants::of::<Select>(),
        }
    }};
}

/// Logic on predicates, which are masks of lanes.
macro_rules! predicates {
    ($opcode:literal, |$a:ident $(, $b:ident)?| $body:expr) => {{
        struct Logic;
        impl Operation for Logic {
            #[inline(always)]
            fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
                let $a = warp.predicate(op.a);
                $(let $b = warp.predicate(op.b);)?
                warp.write_predicate(op.d, $body, mask);
                Next::Step
            }
        }
        Form {
            opcode: $opcode,
            destination: RegisterKind::Predicate,
            sources: &[predicates!(@kind $a) $(, predicates!(@kind $b))?],
            exec: Variants::of::<Logic>(),
        }
    }};
    (@kind $name:ident) => {
        RegisterKind::Predicate
    };
}

pub(super) const SETS: &[&[Form]] = &[
    &each_comparison!(set_ones, "set", f32, ".u32.f32", same),
    &each_comparison!(set_f32, "set", f32, ".f32.f32", same),
    &each_comparison!(set_f16, "set", u16, ".f16.f16", from_f16),
    &each_comparison!(set_bf16, "set", u16, ".bf16.bf16", from_bf16),
    &each_comparison!(set_f16x2, "set", u16, ".f16x2.f16x2", from_f16),
    &each_comparison!(set_bf16x2, "set", u16, ".bf16x2.bf16x2", from_bf16),
    &each_comparison!(set_ones, "set", u16, ".u32.f16", from_f16),
    &each_comparison!(set_ones_x2, "set", u16, ".u32.f16x2", from_f16),
    &each_comparison!(set_ones_x2, "set", u16, ".u32.bf16x2", from_bf16),
];

pub(super) const FORMS: &[&[Form]] = &[
    &integers!(u16, "u16"),
    &integers!(i16, "s16"),
    &integers!(u32, "u32"),
    &integers!(i32, "s32"),
    &integers!(u64, "u64"),
    &integers!(i64, "s64"),
    &unsigned!(u16, "u16"),
    &unsigned!(u32, "u32"),
    &unsigned!(u64, "u64"),
    &equality!(u16, "b16"),
    &equality!(u32, "b32"),
    &equality!(u64, "b64"),
    &each_comparison!(setp, "setp", f32, ".f32", same),
    &each_comparison!(setp, "setp", f32, ".ftz.f32", super::float::flush),
    &each_comparison!(setp, "setp", f64, ".f64", same),
    &each_comparison!(setp, "setp", u16, ".f16", from_f16),
    &each_comparison!(setp, "setp", u16, ".bf16", from_bf16),
    &[
        selp!(u16, "b16"),
        selp!(u16, "u16"),
        selp!(u16, "s16"),
        selp!(u32, "b32"),
        selp!(u32, "u32"),
        selp!(u32, "s32"),
        selp!(u32, "f32"),
        selp!(u64, "b64"),
        selp!(u64, "u64"),
        selp!(u64, "s64"),
        selp!(u64, "f64"),
        predicates!("and.pred", |a, b| a & b),
        predicates!("or.pred", |a, b| a | b),
        predicates!("xor.pred", |a, b| a ^ b),
        predicates!("not.pred", |a| !a),
        predicates!("mov.pred", |a| a),
        map!("slct.s32.s32", |a: u32, b: u32, c: i32| -> u32 { if c >= 0 { a } else { b } }),
        map!("slct.f32.s32", |a: u32, b: u32, c: i32| -> u32 { if c >= 0 { a } else { b } }),
    ],
];
