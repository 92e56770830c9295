//! The arguments of one launch that satisfies a contract.

use std::fmt;

use warpwright_build::types::{Element, Number, Type};
use warpwright_emulator::Parameter;

use crate::draw::{Contents, Draw};
use crate::rules::{Rules, Shape, Values};

/// The arguments of a launch, and its geometry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Name and value of each parameter, in order.
    pub parameters: Vec<(String, Argument)>,
    /// `gridDim`
    pub blocks: [u32; 3],
    /// `blockDim`
    pub threads: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub dynamic_shared: u32,
    /// What buffers hold before the launch, but those that are written whole.
    pub contents: Contents,
    /// What the contents are made from.
    pub seed: u64,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A whole number.
    Integer {
        /// Its type.
        number: Number,
        /// It, as the 64 bits of its type hold it.
        value: i64,
    },
    /// Any other value.
    Bits {
        /// Its type.
        element: Element,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// No buffer, for a pointer that may be null.
    Absent,
    /// A buffer.
    Buffer {
        /// What it holds.
        element: Element,
        /// How many.
        elements: u64,
        /// Bytes that its address is an odd multiple of.
        alignment: u64,
        /// Whether the kernel may write it.
        written: bool,
        /// Whether the kernel has to write it whole.
        output: bool,
    },
}

impl Arguments {
    /// Puts together what was drawn, once it satisfies the contract.
    pub(crate) fn new(rules: &Rules<'_>, draw: &Draw, values: &Values, shape: &Shape) -> Self {
        let parameters = rules.kernel.parameters.iter().enumerate().map(|(n, parameter)| {
            let name = &parameter.name;
            let buffer = |element: &Element, written: bool| {
                // A quarter of the launches goes without.
                if rules.contract.optional.contains(name) && draw.bits[n].is_multiple_of(4) {
                    return Argument::Absent;
                }
                let extra = if rules.may_be_longer(name) { draw.extra[n] } else { 0 };
                Argument::Buffer {
                    element: element.clone(),
                    elements: shape.elements[n] + extra,
                    alignment: rules.alignment(name, element),
                    written,
                    output: rules.contract.outputs.contains(name),
                }
            };
            let argument = match &parameter.ty {
                Type::Read(element) => buffer(element, false),
                Type::Write(element) => buffer(element, true),
                Type::Scalar(element) => match (values.get(name), element) {
                    (Some(&value), &Element::Number(number)) => Argument::Integer { number, value },
                    _ => {
                        let bits = draw.bits[n].to_le_bytes();
                        let mut bytes: Vec<u8> = bits.iter().copied().cycle().take(element.size() as usize).collect();
                        if *element == Element::Number(Number::Bool) {
                            bytes[0] &= 1;
                        }
                        Argument::Bits { element: element.clone(), bytes }
                    }
                },
            };
            (name.clone(), argument)
        });
        Self {
            parameters: parameters.collect(),
            blocks: shape.blocks,
            threads: shape.threads,
            dynamic_shared: shape.dynamic_shared,
            contents: draw.contents,
            seed: draw.seed,
        }
    }

    /// Whether the launch does anything.
    pub(crate) fn runs(&self) -> bool {
        !self.blocks.contains(&0) && !self.threads.contains(&0)
    }

    /// The whole numbers among them.
    pub(crate) fn integers(&self) -> Vec<i64> {
        let integer = |(_, argument): &(String, Argument)| match argument {
            Argument::Integer { value, .. } => Some(*value),
            _ => None,
        };
        self.parameters.iter().filter_map(integer).collect()
    }

    /// The parameter block, for buffers at these addresses.
    pub(crate) fn block(&self, places: &[Parameter], addresses: &[u64]) -> Vec<u8> {
        let mut block = vec![0; places.last().map_or(0, |last| last.offset + last.size) as usize];
        for (((_, argument), place), address) in self.parameters.iter().zip(places).zip(addresses) {
            let bytes = match argument {
                Argument::Integer { value, .. } => value.to_le_bytes().to_vec(),
                Argument::Bits { bytes, .. } => bytes.clone(),
                Argument::Buffer { .. } | Argument::Absent => address.to_le_bytes().to_vec(),
            };
            for (to, from) in block.iter_mut().skip(place.offset as usize).take(place.size as usize).zip(bytes) {
                *to = from;
            }
        }
        block
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { number: Number::U64, value } => write!(f, "{}", *value as u64),
            Self::Integer { value, .. } => write!(f, "{value}"),
            Self::Bits { element, bytes } => {
                let digits: String = bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
                match (element, &bytes[..]) {
                    (Element::Number(Number::F32), &[a, b, c, d]) => {
                        write!(f, "{:e} ", f32::from_le_bytes([a, b, c, d]))?;
                    }
                    (Element::Number(Number::F64), &[a, b, c, d, e, g, h, i]) => {
                        write!(f, "{:e} ", f64::from_le_bytes([a, b, c, d, e, g, h, i]))?;
                    }
                    _ => {}
                }
                write!(f, "(0x{digits})")
            }
            Self::Absent => f.write_str("null"),
            Self::Buffer { element, elements, alignment, written, output } => {
                let (constant, cpp) = (if *written { "" } else { "const " }, element.cpp());
                write!(f, "{elements} elements of {constant}{cpp}, at an odd multiple of {alignment} bytes")?;
                if *output { f.write_str(", poisoned") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, argument) in &self.parameters {
            writeln!(f, "  {name} = {argument}")?;
        }
        let contents = match self.contents {
            Contents::Zeros => "zeros",
            Contents::Indices => "numbers that indices often are",
            Contents::Ones => "all bits set",
            Contents::Bits => "any bits",
        };
        let Self { blocks, threads, dynamic_shared, seed, .. } = self;
        write!(f, "  grid {blocks:?}, block {threads:?}, {dynamic_shared} bytes of dynamic shared memory\n  ")?;
        write!(f, "buffers hold {contents} (seed {seed})")
    }
}
