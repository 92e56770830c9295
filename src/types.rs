//! Types of kernel parameters that Rust has not.

use bytemuck::{Pod, Zeroable};
pub use half::{bf16, f16};

macro_rules! vectors {
    ($($name:ident, $cuda:literal: [$element:ty; $count:literal], $align:literal;)*) => {$(
        #[doc = concat!("CUDA's `", $cuda, "`: ", stringify!($count), " numbers that a GPU loads as one.")]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
        #[repr(C, align($align))]
        pub struct $name(pub [$element; $count]);
    )*};
}
vectors! {
    Int2, "int2": [i32; 2], 8;
    Int4, "int4": [i32; 4], 16;
    Uint2, "uint2": [u32; 2], 8;
    Uint4, "uint4": [u32; 4], 16;
    Float2, "float2": [f32; 2], 8;
    Float4, "float4": [f32; 4], 16;
}
