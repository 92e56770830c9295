//! The types of kernel parameters, in CUDA and in Rust.

use serde::{Deserialize, Serialize};

/// The type of a value that kernels take or point at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Element {
    /// A number, or a vector of a few.
    Number(Number),
    /// A struct of a header that CUDA and Rust share.
    Struct(StructType),
}

/// A struct as a parameter has it. Its fields are in the manifest's headers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StructType {
    /// Its name, without namespaces.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub align: u64,
    /// Whether there are pointers in it, of which no contract can say how long their memory is.
    pub pointers: bool,
}

/// The type of a kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A value.
    Scalar(Element),
    /// `const T*`: the kernel reads.
    Read(Element),
    /// `T*`: the kernel writes, and may read.
    Write(Element),
}

macro_rules! numbers {
    ($($name:ident: $cpp:literal, $rust:literal, $size:literal, $align:literal;)*) => {
        /// Numbers, and vectors that a GPU loads as one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Number {
            $($name,)*
        }

        impl Number {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name that the C++ compiler gives the type.
            #[must_use]
            pub fn cpp(self) -> &'static str {
                match self {
                    $(Self::$name => $cpp,)*
                }
            }

            /// The name of the type in Rust, as `warpwright::types` has it if Rust itself has not.
            #[must_use]
            pub fn rust(self) -> &'static str {
                match self {
                    $(Self::$name => $rust,)*
                }
            }

            /// Size and alignment in bytes.
            fn layout(self) -> (u64, u64) {
                match self {
                    $(Self::$name => ($size, $align),)*
                }
            }
        }
    };
}
numbers! {
    Bool: "bool", "bool", 1, 1;
    I8: "signed char", "i8", 1, 1;
    U8: "unsigned char", "u8", 1, 1;
    I16: "short", "i16", 2, 2;
    U16: "unsigned short", "u16", 2, 2;
    I32: "int", "i32", 4, 4;
    U32: "unsigned int", "u32", 4, 4;
    I64: "long", "i64", 8, 8;
    U64: "unsigned long", "u64", 8, 8;
    F32: "float", "f32", 4, 4;
    F64: "double", "f64", 8, 8;
    F16: "__half", "f16", 2, 2;
    Bf16: "__nv_bfloat16", "bf16", 2, 2;
    Char2: "char2", "Char2", 2, 2;
    Char3: "char3", "Char3", 3, 1;
    Char4: "char4", "Char4", 4, 4;
    Uchar2: "uchar2", "Uchar2", 2, 2;
    Uchar3: "uchar3", "Uchar3", 3, 1;
    Uchar4: "uchar4", "Uchar4", 4, 4;
    Short2: "short2", "Short2", 4, 4;
    Short3: "short3", "Short3", 6, 2;
    Short4: "short4", "Short4", 8, 8;
    Ushort2: "ushort2", "Ushort2", 4, 4;
    Ushort3: "ushort3", "Ushort3", 6, 2;
    Ushort4: "ushort4", "Ushort4", 8, 8;
    Int2: "int2", "Int2", 8, 8;
    Int3: "int3", "Int3", 12, 4;
    Int4: "int4", "Int4", 16, 16;
    Uint2: "uint2", "Uint2", 8, 8;
    Uint3: "uint3", "Uint3", 12, 4;
    Uint4: "uint4", "Uint4", 16, 16;
    Longlong2: "longlong2", "Longlong2", 16, 16;
    Ulonglong2: "ulonglong2", "Ulonglong2", 16, 16;
    Float2: "float2", "Float2", 8, 8;
    Float3: "float3", "Float3", 12, 4;
    Float4: "float4", "Float4", 16, 16;
    Double2: "double2", "Double2", 16, 16;
    Half2: "__half2", "Half2", 4, 4;
    Bfloat162: "__nv_bfloat162", "Bfloat162", 4, 4;
}

impl Number {
    /// The number that the C++ compiler calls `name`.
    #[must_use]
    pub fn from_cpp(name: &str) -> Option<Self> {
        // What is the same on Linux, where all three `long`s are 64 bits wide.
        let name = match name {
            "long long" => "long",
            "unsigned long long" => "unsigned long",
            "char" => "signed char",
            "long2" => "longlong2",
            "ulong2" => "ulonglong2",
            other => other,
        };
        Self::ALL.iter().copied().find(|number| number.cpp() == name)
    }

    /// Whether a rule may compute with it.
    #[must_use]
    pub fn is_integer(self) -> bool {
        use Number::{I8, I16, I32, I64, U8, U16, U32, U64};
        matches!(self, I8 | U8 | I16 | U16 | I32 | U32 | I64 | U64)
    }

    /// Whether Rust itself has the type.
    #[must_use]
    pub fn is_primitive(self) -> bool {
        self.is_integer() || matches!(self, Self::Bool | Self::F32 | Self::F64)
    }
}

impl Element {
    /// The name of the type in C++.
    #[must_use]
    pub fn cpp(&self) -> &str {
        match self {
            Self::Number(number) => number.cpp(),
            Self::Struct(of) => &of.name,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Number(number) => number.layout().0,
            Self::Struct(of) => of.size,
        }
    }

    /// Alignment in bytes.
    #[must_use]
    pub fn align(&self) -> u64 {
        match self {
            Self::Number(number) => number.layout().1,
            Self::Struct(of) => of.align,
        }
    }

    /// Whether any bits are a value, so that device memory may be seen as values of it. (Not any byte is a `bool`.)
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self != Self::Number(Number::Bool)
    }
}

impl From<Number> for Element {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl Type {
    /// Size and alignment in bytes of the parameter.
    #[must_use]
    pub fn layout(&self) -> (u64, u64) {
        match self {
            Self::Scalar(element) => (element.size(), element.align()),
            Self::Read(_) | Self::Write(_) => (8, 8),
        }
    }

    /// What it is made of.
    #[must_use]
    pub fn element(&self) -> &Element {
        match self {
            Self::Scalar(element) | Self::Read(element) | Self::Write(element) => element,
        }
    }

    /// What a pointer points at.
    #[must_use]
    pub fn pointee(&self) -> Option<&Element> {
        match self {
            Self::Scalar(_) => None,
            Self::Read(element) | Self::Write(element) => Some(element),
        }
    }

    /// Whether a rule may compute with it.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Scalar(Element::Number(number)) if number.is_integer())
    }

    /// The type as C++ writes it.
    #[must_use]
    pub fn cpp(&self) -> String {
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
    fn every_number_is_known_by_its_name() {
        for &number in Number::ALL {
            assert_eq!(Number::from_cpp(number.cpp()), Some(number));
            let (size, align) = number.layout();
            assert!(size % align == 0 && align.is_power_of_two(), "{number:?}");
        }
        assert_eq!(Number::from_cpp("unsigned long long"), Some(Number::U64));
        assert_eq!(Number::from_cpp("Params"), None);
    }

    #[test]
    fn types_are_short_in_manifests() {
        let json = |ty: &Type| serde_json::to_string(ty).unwrap();
        assert_eq!(json(&Type::Read(Number::F32.into())), r#"{"read":"f32"}"#);
    }
}
