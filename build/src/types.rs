//! The types of kernel parameters, in CUDA and in Rust.

use serde::{Deserialize, Serialize};

/// The type of a value that kernels take or point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Element {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    F16,
    Bf16,
    Int2,
    Int4,
    Uint2,
    Uint4,
    Float2,
    Float4,
}

/// The type of a kernel parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A value.
    Scalar(Element),
    /// `const T*`: the kernel reads.
    Read(Element),
    /// `T*`: the kernel writes, and may read.
    Write(Element),
}

impl Element {
    /// All of them, with the name that the C++ compiler gives the type, the Rust type, and its size in bytes, which is
    /// its alignment too.
    const ALL: [(Self, &'static str, &'static str, u64); 18] = [
        (Self::I8, "signed char", "i8", 1),
        (Self::U8, "unsigned char", "u8", 1),
        (Self::I16, "short", "i16", 2),
        (Self::U16, "unsigned short", "u16", 2),
        (Self::I32, "int", "i32", 4),
        (Self::U32, "unsigned int", "u32", 4),
        (Self::I64, "long", "i64", 8),
        (Self::U64, "unsigned long", "u64", 8),
        (Self::F32, "float", "f32", 4),
        (Self::F64, "double", "f64", 8),
        (Self::F16, "__half", "f16", 2),
        (Self::Bf16, "__nv_bfloat16", "bf16", 2),
        (Self::Int2, "int2", "Int2", 8),
        (Self::Int4, "int4", "Int4", 16),
        (Self::Uint2, "uint2", "Uint2", 8),
        (Self::Uint4, "uint4", "Uint4", 16),
        (Self::Float2, "float2", "Float2", 8),
        (Self::Float4, "float4", "Float4", 16),
    ];

    fn entry(self) -> &'static (Self, &'static str, &'static str, u64) {
        // Every element is in the table; the first entry only stands in for what cannot be.
        Self::ALL.iter().find(|(element, ..)| *element == self).unwrap_or(&Self::ALL[0])
    }

    /// The element that the C++ compiler calls `name`.
    #[must_use]
    pub fn from_cpp(name: &str) -> Option<Self> {
        // Both are 64 bits wide on Linux.
        let name = match name {
            "long long" => "long",
            "unsigned long long" => "unsigned long",
            "char" => "signed char",
            other => other,
        };
        Self::ALL.iter().find(|(_, cpp, ..)| *cpp == name).map(|(element, ..)| *element)
    }

    /// The name of the type in C++.
    #[must_use]
    pub fn cpp(self) -> &'static str {
        self.entry().1
    }

    /// The name of the type in Rust, as `warpwright::types` has it.
    #[must_use]
    pub fn rust(self) -> &'static str {
        self.entry().2
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        self.entry().3
    }

    /// Whether a rule may compute with it.
    #[must_use]
    pub fn is_integer(self) -> bool {
        use Element::{I8, I16, I32, I64, U8, U16, U32, U64};
        matches!(self, I8 | U8 | I16 | U16 | I32 | U32 | I64 | U64)
    }
}

impl Type {
    /// Size in bytes of the parameter.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Scalar(element) => element.size(),
            Self::Read(_) | Self::Write(_) => 8,
        }
    }

    /// What a pointer points at.
    #[must_use]
    pub fn pointee(self) -> Option<Element> {
        match self {
            Self::Scalar(_) => None,
            Self::Read(element) | Self::Write(element) => Some(element),
        }
    }

    /// The type as C++ writes it.
    #[must_use]
    pub fn cpp(self) -> String {
        match self {
            Self::Scalar(element) => element.cpp().to_owned(),
            Self::Read(element) => format!("const {}*", element.cpp()),
            Self::Write(element) => format!("{}*", element.cpp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_the_table_once() {
        for (element, cpp, rust, size) in Element::ALL {
            assert_eq!(Element::from_cpp(cpp), Some(element));
            assert_eq!((element.cpp(), element.rust(), element.size()), (cpp, rust, size));
        }
        assert_eq!(Element::from_cpp("unsigned long long"), Some(Element::U64));
        assert_eq!(Element::from_cpp("Params"), None);
    }
}
