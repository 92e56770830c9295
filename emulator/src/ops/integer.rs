//! Integer arithmetic, logic, shifts and bit fields.

use super::half::each_half;
use super::{Form, map};

/// add, sub, mul, mad, div, rem, min, max of one type.
macro_rules! arithmetic {
    ($type:ty, $wide:ty, $name:literal) => {
        [
            map!(concat!("add.", $name), |a: $type, b: $type| -> $type { a.wrapping_add(b) }),
            map!(concat!("sub.", $name), |a: $type, b: $type| -> $type { a.wrapping_sub(b) }),
            map!(concat!("mul.lo.", $name), |a: $type, b: $type| -> $type { a.wrapping_mul(b) }),
            map!(concat!("mul.hi.", $name), |a: $type, b: $type| -> $type {
                ((a as $wide * b as $wide) >> <$type>::BITS) as $type
            }),
            map!(concat!("mad.lo.", $name), |a: $type, b: $type, c: $type| -> $type {
                a.wrapping_mul(b).wrapping_add(c)
            }),
            map!(concat!("mad.hi.", $name), |a: $type, b: $type, c: $type| -> $type {
                (((a as $wide * b as $wide) >> <$type>::BITS) as $type).wrapping_add(c)
            }),
            // Division by zero gives an unspecified value, not an error: all ones, as the hardware does.
            map!(concat!("div.", $name), |a: $type, b: $type| -> $type { if b == 0 { !0 } else { a.wrapping_div(b) } }),
            map!(concat!("rem.", $name), |a: $type, b: $type| -> $type { if b == 0 { a } else { a.wrapping_rem(b) } }),
            map!(concat!("min.", $name), |a: $type, b: $type| -> $type { a.min(b) }),
            map!(concat!("max.", $name), |a: $type, b: $type| -> $type { a.max(b) }),
            map!(concat!("sad.", $name), |a: $type, b: $type, c: $type| -> $type {
                c.wrapping_add(if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) })
            }),
        ]
    };
}

/// neg and abs of one signed type.
macro_rules! sign {
    ($type:ty, $name:literal) => {
        [
            map!(concat!("neg.", $name), |a: $type| -> $type { a.wrapping_neg() }),
            map!(concat!("abs.", $name), |a: $type| -> $type { a.wrapping_abs() }),
        ]
    };
}

/// mul.wide and mad.wide: products twice as wide as their factors.
macro_rules! wide {
    ($type:ty => $wide:ty, $name:literal) => {
        [
            map!(concat!("mul.wide.", $name), |a: $type, b: $type| -> $wide {
                <$wide>::from(a).wrapping_mul(<$wide>::from(b))
            }),
            map!(concat!("mad.wide.", $name), |a: $type, b: $type, c: $wide| -> $wide {
                <$wide>::from(a).wrapping_mul(<$wide>::from(b)).wrapping_add(c)
            }),
        ]
    };
}

/// and, or, xor, not, cnot and shifts of one width. Shift amounts are 32 bits, and clamped to the width.
macro_rules! bits {
    ($unsigned:ty, $signed:ty, $width:literal) => {
        [
            map!(concat!("and.b", $width), |a: $unsigned, b: $unsigned| -> $unsigned { a & b }),
            map!(concat!("or.b", $width), |a: $unsigned, b: $unsigned| -> $unsigned { a | b }),
            map!(concat!("xor.b", $width), |a: $unsigned, b: $unsigned| -> $unsigned { a ^ b }),
            map!(concat!("not.b", $width), |a: $unsigned| -> $unsigned { !a }),
            map!(concat!("cnot.b", $width), |a: $unsigned| -> $unsigned { <$unsigned>::from(a == 0) }),
            map!(concat!("shl.b", $width), |a: $unsigned, b: u32| -> $unsigned { a.checked_shl(b).unwrap_or(0) }),
            map!(concat!("shr.b", $width), |a: $unsigned, b: u32| -> $unsigned { a.checked_shr(b).unwrap_or(0) }),
            map!(concat!("shr.u", $width), |a: $unsigned, b: u32| -> $unsigned { a.checked_shr(b).unwrap_or(0) }),
            map!(concat!("shr.s", $width), |a: $signed, b: u32| -> $signed { a >> b.min($width - 1) }),
        ]
    };
}

/// popc, clz, brev, bfe and bfi of one width. Field positions and lengths are taken modulo 256.
macro_rules! fields {
    ($unsigned:ty, $signed:ty, $width:literal) => {
        [
            map!(concat!("popc.b", $width), |a: $unsigned| -> u32 { a.count_ones() }),
            map!(concat!("clz.b", $width), |a: $unsigned| -> u32 { a.leading_zeros() }),
            map!(concat!("brev.b", $width), |a: $unsigned| -> $unsigned { a.reverse_bits() }),
            map!(concat!("bfe.u", $width), |a: $unsigned, b: u32, c: u32| -> $unsigned {
                let (start, length) = (b & 0xff, c & 0xff);
                let kept = <$unsigned>::MAX.checked_shl(length).map_or(<$unsigned>::MAX, |above| !above);
                a.checked_shr(start).unwrap_or(0) & kept
            }),
            map!(concat!("bfe.s", $width), |a: $signed, b: u32, c: u32| -> $signed {
                // The field's last bit, or the number's if the field reaches past it, is repeated above.
                let (start, length) = (b & 0xff, c & 0xff);
                let last = (start + length).saturating_sub(1).min($width - 1);
                let fill = if length == 0 { 0 } else { (a >> last & 1).wrapping_neg() };
                let kept = (!0 as $unsigned).checked_shl(length).map_or(!0, |above| !above) as $signed;
                let field = (a as $unsigned).checked_shr(start).map_or(fill, |field| {
                    // bits shifted in from above the number are the fill as well
                    let above = (!0 as $unsigned).checked_shl($width - start).unwrap_or(0);
                    field as $signed | fill & above as $signed
                });
                field & kept | fill & !kept
            }),
            map!(concat!("bfi.b", $width), |a: $unsigned, b: $unsigned, c: u32, e: u32| -> $unsigned {
                let (start, length) = (c & 0xff, e & 0xff);
                let kept = <$unsigned>::MAX.checked_shl(length).map_or(<$unsigned>::MAX, |above| !above);
                let field = kept.checked_shl(start).unwrap_or(0);
                b & !field | a.checked_shl(start).unwrap_or(0) & field
            }),
        ]
    };
}

/// The bytes of `{b, a}` that the selector `c` names, each with its sign repeated if bit 3 says so.
#[inline(always)]
fn prmt(a: u32, b: u32, c: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut result = 0;
    for n in 0..4 {
        let selector = c >> (4 * n) & 0xf;
        let byte = (bytes >> (8 * (selector & 7))) as u8;
        let byte = if selector & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        result |= u32::from(byte) << (8 * n);
    }
    result
}

/// The bit of `table` that the bits of `a`, `b` and `c` together name, for each bit.
#[inline(always)]
fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut result = 0;
    for n in 0..8 {
        let wanted = (table >> n & 1).wrapping_neg();
        let (a, b, c) =
            (if n & 4 != 0 { a } else { !a }, if n & 2 != 0 { b } else { !b }, if n & 1 != 0 { c } else { !c });
        result |= wanted & a & b & c;
    }
    result
}

/// The sum of `c` and the products of the four bytes of `a` and `b`, each extended by its own function.
#[inline(always)]
fn dp4a(a: u32, b: u32, c: u32, extend_a: impl Fn(u8) -> i32, extend_b: impl Fn(u8) -> i32) -> u32 {
    let mut sum = c;
    for n in 0..4 {
        let (x, y) = (extend_a((a >> (8 * n)) as u8), extend_b((b >> (8 * n)) as u8));
        sum = sum.wrapping_add(x.wrapping_mul(y) as u32);
    }
    sum
}

/// The sum of `c` and the products of both halves of `a` with two bytes of `b`, from byte `first`.
#[inline(always)]
fn dp2a((a, b, c): (u32, u32, u32), first: u32, extend_a: impl Fn(u16) -> i32, extend_b: impl Fn(u8) -> i32) -> u32 {
    let mut sum = c;
    for n in 0..2 {
        let (x, y) = (extend_a((a >> (16 * n)) as u16), extend_b((b >> (8 * (first + n))) as u8));
        sum = sum.wrapping_add(x.wrapping_mul(y) as u32);
    }
    sum
}

/// `dp2a` of one pair of types.
macro_rules! dp2a {
    ($name:literal, $a:ty, $b:ty) => {
        [
            map!(concat!("dp2a.lo.", $name), |a: u32, b: u32, c: u32| -> u32 {
                dp2a((a, b, c), 0, |half| i32::from(half as $a), |byte| i32::from(byte as $b))
            }),
            map!(concat!("dp2a.hi.", $name), |a: u32, b: u32, c: u32| -> u32 {
                dp2a((a, b, c), 2, |half| i32::from(half as $a), |byte| i32::from(byte as $b))
            }),
        ]
    };
}

/// The position of the highest bit that is not a repeated sign; all ones if there is none. `shiftamt` counts from above.
macro_rules! bfind {
    ($type:ty, $unsigned:ty, $name:literal) => {
        [
            map!(concat!("bfind.", $name), |a: $type| -> u32 {
                let significant = if a < <$type>::default() { !a } else { a } as $unsigned;
                significant.checked_ilog2().unwrap_or(u32::MAX)
            }),
            map!(concat!("bfind.shiftamt.", $name), |a: $type| -> u32 {
                let significant = if a < <$type>::default() { !a } else { a } as $unsigned;
                significant.checked_ilog2().map_or(u32::MAX, |place| <$unsigned>::BITS - 1 - place)
            }),
        ]
    };
}

/// Products of the lower 24 bits, of which the lower or upper 32 of 48 bits are kept.
macro_rules! mul24 {
    ($type:ty, $wide:ty, $name:literal) => {
        [
            map!(concat!("mul24.lo.", $name), |a: $type, b: $type| -> $type {
                (<$wide>::from(a << 8 >> 8) * <$wide>::from(b << 8 >> 8)) as $type
            }),
            map!(concat!("mul24.hi.", $name), |a: $type, b: $type| -> $type {
                (<$wide>::from(a << 8 >> 8) * <$wide>::from(b << 8 >> 8) >> 16) as $type
            }),
            map!(concat!("mad24.lo.", $name), |a: $type, b: $type, c: $type| -> $type {
                ((<$wide>::from(a << 8 >> 8) * <$wide>::from(b << 8 >> 8)) as $type).wrapping_add(c)
            }),
            map!(concat!("mad24.hi.", $name), |a: $type, b: $type, c: $type| -> $type {
                ((<$wide>::from(a << 8 >> 8) * <$wide>::from(b << 8 >> 8) >> 16) as $type).wrapping_add(c)
            }),
        ]
    };
}

#[inline(always)]
fn unsigned(byte: u8) -> i32 {
    i32::from(byte)
}

#[inline(always)]
fn signed(byte: u8) -> i32 {
    i32::from(byte as i8)
}

pub(super) const FORMS: &[&[Form]] = &[
    &arithmetic!(u16, u32, "u16"),
    &arithmetic!(i16, i32, "s16"),
    &arithmetic!(u32, u64, "u32"),
    &arithmetic!(i32, i64, "s32"),
    &arithmetic!(u64, u128, "u64"),
    &arithmetic!(i64, i128, "s64"),
    &sign!(i16, "s16"),
    &sign!(i32, "s32"),
    &sign!(i64, "s64"),
    &wide!(u16 => u32, "u16"),
    &wide!(i16 => i32, "s16"),
    &wide!(u32 => u64, "u32"),
    &wide!(i32 => i64, "s32"),
    &bits!(u16, i16, 16),
    &bits!(u32, i32, 32),
    &bits!(u64, i64, 64),
    &fields!(u32, i32, 32),
    &fields!(u64, i64, 64),
    &dp2a!("u32.u32", u16, u8),
    &dp2a!("u32.s32", u16, i8),
    &dp2a!("s32.u32", i16, u8),
    &dp2a!("s32.s32", i16, i8),
    &bfind!(u32, u32, "u32"),
    &bfind!(i32, u32, "s32"),
    &bfind!(u64, u64, "u64"),
    &bfind!(i64, u64, "s64"),
    &mul24!(u32, u64, "u32"),
    &mul24!(i32, i64, "s32"),
    &[
        map!("min.s16x2", |a: u32, b: u32| -> u32 { each_half(a, b, |a, b| (a as i16).min(b as i16) as u16) }),
        map!("max.s16x2", |a: u32, b: u32| -> u32 { each_half(a, b, |a, b| (a as i16).max(b as i16) as u16) }),
        map!("min.u16x2", |a: u32, b: u32| -> u32 { each_half(a, b, u16::min) }),
        map!("max.u16x2", |a: u32, b: u32| -> u32 { each_half(a, b, u16::max) }),
        map!("add.u16x2", |a: u32, b: u32| -> u32 { each_half(a, b, u16::wrapping_add) }),
        map!("add.s16x2", |a: u32, b: u32| -> u32 { each_half(a, b, u16::wrapping_add) }),
        map!("add.sat.s32", |a: i32, b: i32| -> i32 { a.saturating_add(b) }),
        map!("sub.sat.s32", |a: i32, b: i32| -> i32 { a.saturating_sub(b) }),
        map!("prmt.b32", |a: u32, b: u32, c: u32| -> u32 { prmt(a, b, c) }),
        map!("lop3.b32", |a: u32, b: u32, c: u32, e: u32| -> u32 { lop3(a, b, c, e) }),
        map!("dp4a.u32.u32", |a: u32, b: u32, c: u32| -> u32 { dp4a(a, b, c, unsigned, unsigned) }),
        map!("dp4a.u32.s32", |a: u32, b: u32, c: u32| -> u32 { dp4a(a, b, c, unsigned, signed) }),
        map!("dp4a.s32.u32", |a: u32, b: u32, c: u32| -> u32 { dp4a(a, b, c, signed, unsigned) }),
        map!("dp4a.s32.s32", |a: u32, b: u32, c: u32| -> u32 { dp4a(a, b, c, signed, signed) }),
        // Funnel shifts of {b, a}; the amount is taken modulo 32 or clamped to 32.
        map!("shf.l.wrap.b32", |a: u32, b: u32, c: u32| -> u32 {
            (((u64::from(b) << 32 | u64::from(a)) << (c & 31)) >> 32) as u32
        }),
        map!("shf.r.wrap.b32", |a: u32, b: u32, c: u32| -> u32 {
            ((u64::from(b) << 32 | u64::from(a)) >> (c & 31)) as u32
        }),
        map!("shf.l.clamp.b32", |a: u32, b: u32, c: u32| -> u32 {
            (((u64::from(b) << 32 | u64::from(a)) << c.min(32)) >> 32) as u32
        }),
        map!("shf.r.clamp.b32", |a: u32, b: u32, c: u32| -> u32 {
            ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
        }),
    ],
];
