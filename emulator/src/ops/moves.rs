//! Moves of whole registers, and address conversions that change nothing.

use super::{Form, map};

/// A move under one name.
macro_rules! moves {
    ($type:ty: $($opcode:literal),*) => {
        [$(map!($opcode, |a: $type| -> $type { a })),*]
    };
}

pub(super) const FORMS: &[&[Form]] = &[
    &moves!(u16: "mov.b16", "mov.u16", "mov.s16", "mov.f16"),
    &moves!(u32: "mov.b32", "mov.u32", "mov.s32", "mov.f32"),
    &moves!(u64: "mov.b64", "mov.u64", "mov.s64", "mov.f64"),
    // A global or constant address is its own generic address.
    &moves!(u64: "cvta.to.global.u64", "cvta.global.u64", "cvta.to.const.u64", "cvta.const.u64"),
];
