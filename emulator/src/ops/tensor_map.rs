//! Tensor maps: what a `CUtensorMap` says of a tensor in global memory, and of the boxes of it that are copied.
//!
//! The object is opaque to programs. The emulator's holds its fields one after the other, behind a mark.

/// The bytes of an object, and what they are aligned to for an instruction that uses it.
pub(crate) const BYTES: usize = 128;
pub(crate) const ALIGNMENT: u64 = 64;

const MARK: u32 = 0x7eb5_0a9d;

/// The most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 5;

/// A tensor map, for tiles. Dimension 0 is that whose elements are next to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TensorMap {
    pub(crate) element: Element,
    pub(crate) rank: usize,
    pub(crate) address: u64,
    /// The elements of each dimension.
    pub(crate) sizes: [u64; MAX_RANK],
    /// The bytes from one element to the next in dimensions 1 and on.
    pub(crate) strides: [u64; MAX_RANK - 1],
    /// The elements that a box goes over, and how far apart those are that are copied.
    pub(crate) box_sizes: [u32; MAX_RANK],
    pub(crate) steps: [u32; MAX_RANK],
    /// Bytes of the pattern by which 16-byte pieces change places in shared memory: 32, 64 or 128, or 0 for none.
    pub(crate) swizzle: u32,
    /// Whether what is outside the tensor counts as NaN, and not as zero.
    pub(crate) fill_nan: bool,
}

/// A `CUtensorMapDataType` whose elements are whole bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Element {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    Bf16,
    F32Flushed,
    Tf32,
    Tf32Flushed,
}

impl Element {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::Bf16,
        Self::F32Flushed,
        Self::Tf32,
        Self::Tf32Flushed,
    ];

    /// The type with a number of `CUtensorMapDataType`.
    pub(crate) fn numbered(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 | Self::F32Flushed | Self::Tf32 | Self::Tf32Flushed => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        !matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::S32 | Self::U64 | Self::S64)
    }

    /// What reductions call such elements, if there are any.
    pub(crate) fn type_name(self, operation: &str) -> Option<&'static str> {
        let bits = matches!(operation, "and" | "or" | "xor");
        Some(match self {
            Self::U32 | Self::S32 if bits => "b32",
            Self::U64 | Self::S64 if bits => "b64",
            Self::U32 => "u32",
            Self::S32 => "s32",
            Self::U64 => "u64",
            Self::S64 if operation == "add" => "u64",
            Self::S64 => "s64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 | Self::F32Flushed => "f32",
            Self::F64 => "f64",
            Self::U8 | Self::U16 | Self::Tf32 | Self::Tf32Flushed => return None,
        })
    }
}

/// What is wrong with a tensor map.
pub(crate) type Wrong = &'static str;

impl TensorMap {
    /// Whether a driver would make such a map, and if not what is wrong.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        let used = ..self.rank;
        let all = |good: bool, wrong: Wrong| if good { Ok(()) } else { Err(wrong) };
        all((1..=MAX_RANK).contains(&self.rank), "the rank is not 1 to 5")?;
        all(self.address.is_multiple_of(16), "the address is not a multiple of 16")?;
        all(self.sizes[used].iter().all(|size| (1..=1 << 32).contains(size)), "a size is not 1 to 2^32")?;
        let strides = &self.strides[..self.rank - 1];
        all(
            strides.iter().all(|stride| stride % 16 == 0 && *stride < 1 << 40),
            "a stride is no multiple of 16 below 2^40",
        )?;
        all(self.box_sizes[used].iter().all(|size| (1..=256).contains(size)), "a size of the box is not 1 to 256")?;
        all(self.steps[used].iter().all(|step| (1..=8).contains(step)), "an element stride is not 1 to 8")?;
        let row = self.row_bytes();
        all(row.is_multiple_of(16), "a row of the box is not a multiple of 16 bytes")?;
        all(
            self.swizzle == 0 || row <= u64::from(self.swizzle),
            "a row of the box is longer than the swizzle pattern",
        )?;
        all(self.element.is_float() || !self.fill_nan, "only floating-point numbers can be NaN")
    }

    /// The elements of a box that are copied, in each dimension.
    pub(crate) fn counts(&self) -> [u64; MAX_RANK] {
        std::array::from_fn(|n| match n {
            // The first dimension has no element stride.
            0 => u64::from(self.box_sizes[0]),
            n if n < self.rank => u64::from(self.box_sizes[n].div_ceil(self.steps[n])),
            _ => 1,
        })
    }

    fn row_bytes(&self) -> u64 {
        u64::from(self.box_sizes[0]) * self.element.bytes()
    }

    /// The bytes of a box in shared memory.
    pub(crate) fn box_bytes(&self) -> u64 {
        self.counts().iter().product::<u64>() * self.element.bytes()
    }

    /// The rows of a box at some coordinates, in the order in which they are in shared memory: the address in global memory
    /// of the part of each that is in the tensor, what comes before that part in the row, and its length, all in bytes.
    pub(crate) fn rows(&self, at: [i64; MAX_RANK]) -> Vec<(u64, u64, u64)> {
        let (counts, element) = (self.counts(), self.element.bytes() as i64);
        let size = self.sizes[0] as i64;
        let (first, last) = (at[0].clamp(0, size), (at[0] + counts[0] as i64).clamp(0, size));
        let before = ((first - at[0]) * element) as u64;
        let length = ((last - first).max(0) * element) as u64;
        let rows = counts[1..].iter().product::<u64>();
        let row = |mut number: u64| {
            let mut offset = first * element;
            let mut inside = true;
            for n in 1..self.rank {
                let place = at[n] + (number % counts[n]) as i64 * i64::from(self.steps[n]);
                number /= counts[n];
                inside &= (0..self.sizes[n] as i64).contains(&place);
                offset += place.max(0) * self.strides[n - 1] as i64;
            }
            (self.address.wrapping_add(offset as u64), before, if inside { length } else { 0 })
        };
        (0..rows).map(row).collect()
    }

    /// Where the byte at an address in shared memory is when 16-byte pieces have changed places.
    pub(crate) fn swizzled(&self, address: u64) -> u64 {
        let mask = match self.swizzle {
            32 => 1,
            64 => 3,
            128 => 7,
            _ => 0,
        };
        address ^ (address >> 7 & mask) << 4
    }

    /// A box where nothing is in the tensor.
    pub(crate) fn empty_box(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.box_bytes() as usize];
        if self.fill_nan {
            // A quiet NaN of each type has all bits of its exponent and its fraction.
            let width = self.element.bytes() as usize;
            bytes.fill(0xff);
            bytes.chunks_exact_mut(width).for_each(|element| element[width - 1] = 0x7f);
        }
        bytes
    }

    pub(crate) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(MARK.to_le_bytes());
        bytes.extend([self.element as u8, self.rank as u8, self.swizzle as u8, u8::from(self.fill_nan)]);
        bytes.extend(self.address.to_le_bytes());
        self.sizes.iter().for_each(|size| bytes.extend(&size.to_le_bytes()[..5]));
        self.strides.iter().for_each(|stride| bytes.extend(&stride.to_le_bytes()[..5]));
        self.box_sizes.iter().for_each(|size| bytes.extend(&size.to_le_bytes()[..2]));
        self.steps.iter().for_each(|step| bytes.push(*step as u8));
        bytes.resize(BYTES, 0);
        bytes.try_into().unwrap_or([0; BYTES])
    }

    /// What an object says; `None` if it is not one that [`to_bytes`](Self::to_bytes) made.
    pub(crate) fn from_bytes(bytes: &[u8; BYTES]) -> Option<Self> {
        let mut rest = &bytes[..];
        let mut take = |count: usize| {
            let (these, after) = rest.split_at(count);
            rest = after;
            these.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        if take(4) != u64::from(MARK) {
            return None;
        }
        let (element, rank, swizzle, fill_nan) = (take(1), take(1), take(1), take(1));
        Some(Self {
            element: Element::numbered(element as u32)?,
            rank: Some(rank as usize).filter(|rank| (1..=MAX_RANK).contains(rank))?,
            swizzle: swizzle as u32,
            fill_nan: fill_nan != 0,
            address: take(8),
            sizes: std::array::from_fn(|_| take(5)),
            strides: std::array::from_fn(|_| take(5)),
            box_sizes: std::array::from_fn(|_| take(2) as u32),
            steps: std::array::from_fn(|_| take(1) as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: TensorMap = TensorMap {
        element: Element::F16,
        rank: 3,
        address: 0x1234_5678_9ab0,
        sizes: [1 << 32, 70, 3, 0, 0],
        strides: [(1 << 40) - 16, 32, 0, 0],
        box_sizes: [64, 256, 2, 0, 0],
        steps: [1, 8, 1, 0, 0],
        swizzle: 128,
        fill_nan: true,
    };

    #[test]
    fn an_object_keeps_what_it_is_made_of() {
        assert_eq!(TensorMap::from_bytes(&MAP.to_bytes()), Some(MAP));
        assert_eq!(TensorMap::from_bytes(&[0; BYTES]), None);
        assert_eq!(TensorMap::from_bytes(&[0xff; BYTES]), None);
    }

    #[test]
    fn what_a_driver_refuses_is_refused() {
        assert_eq!(MAP.check(), Ok(()));
        let wrong = |change: fn(&mut TensorMap)| {
            let mut map = MAP;
            change(&mut map);
            map.check().is_err()
        };
        assert!(wrong(|map| map.rank = 0) && wrong(|map| map.address += 8) && wrong(|map| map.sizes[2] = 0));
        assert!(
            wrong(|map| map.strides[1] = 8) && wrong(|map| map.box_sizes[0] = 128) && wrong(|map| map.steps[1] = 9)
        );
        assert!(wrong(|map| map.box_sizes[0] = 7) && wrong(|map| map.element = Element::U16));
    }
}
