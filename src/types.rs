//! Types of kernel parameters that Rust has not.

#[doc(hidden)]
pub use bytemuck;
use bytemuck::{Pod, Zeroable};
#[doc(hidden)]
pub use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
pub use half::{bf16, f16};

macro_rules! vectors {
    ($($name:ident, $cuda:literal: [$element:ty; $count:literal], $align:literal;)*) => {$(
        #[doc = concat!("CUDA's `", $cuda, "`: ", stringify!($count), " numbers, aligned to ", stringify!($align), ".")]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
        #[repr(C, align($align))]
        pub struct $name(pub [$element; $count]);

        // SAFETY: it is laid out as CUDA's type, and plain data.
        unsafe impl DeviceRepr for $name {}
        // SAFETY: it is plain data.
        unsafe impl ValidAsZeroBits for $name {}
    )*};
}
vectors! {
    Char2, "char2": [i8; 2], 2;
    Char3, "char3": [i8; 3], 1;
    Char4, "char4": [i8; 4], 4;
    Uchar2, "uchar2": [u8; 2], 2;
    Uchar3, "uchar3": [u8; 3], 1;
    Uchar4, "uchar4": [u8; 4], 4;
    Short2, "short2": [i16; 2], 4;
    Short3, "short3": [i16; 3], 2;
    Short4, "short4": [i16; 4], 8;
    Ushort2, "ushort2": [u16; 2], 4;
    Ushort3, "ushort3": [u16; 3], 2;
    Ushort4, "ushort4": [u16; 4], 8;
    Int2, "int2": [i32; 2], 8;
    Int3, "int3": [i32; 3], 4;
    Int4, "int4": [i32; 4], 16;
    Uint2, "uint2": [u32; 2], 8;
    Uint3, "uint3": [u32; 3], 4;
    Uint4, "uint4": [u32; 4], 16;
    Longlong2, "longlong2": [i64; 2], 16;
    Ulonglong2, "ulonglong2": [u64; 2], 16;
    Float2, "float2": [f32; 2], 8;
    Float3, "float3": [f32; 3], 4;
    Float4, "float4": [f32; 4], 16;
    Double2, "double2": [f64; 2], 16;
    Half2, "__half2": [f16; 2], 4;
    Bfloat162, "__nv_bfloat162": [bf16; 2], 4;
}
