//! Runs an instruction that maps lanes to lanes on edge values and random ones, in every shape of its operands.
//!
//! Each check has kernels of its own around the one instruction. The first runs it on registers: as it is, under a guard
//! (lanes whose guard is false keep what they had), and under the opposite guard with the destination the same register
//! as the first source. The second has immediates in every place that takes one. Both are written twice where PTX has two
//! ways to declare the registers: floating-point numbers in `.f32` or in `.b32`, bytes in 16 or in 32 bits.

use super::Check;
use super::common::Bench;
use super::exact::Format;

/// What the definition of an instruction says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// These bits.
    Bits(u64),
    /// Any NaN of the destination's type.
    Nan,
    /// A number no further from the first than the second, and of its sign if it is zero. Infinity counts as the power
    /// of two that is the first beyond the type.
    Within(f64, f64),
    /// The ISA does not say.
    Anything,
}

impl Expected {
    /// Whether a floating-point number of a type is what is expected.
    pub fn allows(self, ty: &str, found: u64) -> bool {
        let format = Format::of(ty);
        match self {
            Self::Bits(bits) => found == bits,
            Self::Nan => format.is_nan(found),
            Self::Anything => true,
            Self::Within(value, tolerance) => {
                if format.is_nan(found) || value == 0.0 && tolerance == 0.0 && found != value_bits(format, value) {
                    return false;
                }
                (format.approximate(found) - value.clamp(-format.beyond(), format.beyond())).abs() <= tolerance
            }
        }
    }
}

/// The bits of a zero.
fn value_bits(format: Format, zero: f64) -> u64 {
    if zero.is_sign_negative() { format.sign() } else { 0 }
}

macro_rules! expected {
    ($($type:ty),*) => {$(
        impl From<$type> for Expected {
            fn from(value: $type) -> Self {
                Self::Bits(value as u64)
            }
        }
    )*};
}
expected!(bool, u16, u32, u64);

/// A type of operands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Predicate,
    /// An integer or bits: of the name's width, in registers of the same or, for bytes, of 16 or 32 bits.
    Bits(u32),
    /// A floating-point number of a width, and how many are packed in a register.
    Float(&'static str, u32),
    /// The amount of a shift, the place or length of a field: 32 bits, most of them small.
    Amount,
    /// A table of bits that has to be an immediate.
    Table,
}

impl Type {
    pub fn of(name: &str) -> Self {
        match name {
            "pred" => Self::Predicate,
            "u8" | "s8" | "b8" => Self::Bits(8),
            "u16" | "s16" | "b16" => Self::Bits(16),
            "u32" | "s32" | "b32" | "u16x2" | "s16x2" => Self::Bits(32),
            "u64" | "s64" | "b64" => Self::Bits(64),
            "f16" => Self::Float("f16", 1),
            "bf16" => Self::Float("bf16", 1),
            "f16x2" => Self::Float("f16", 2),
            "bf16x2" => Self::Float("bf16", 2),
            "f32" => Self::Float("f32", 1),
            "f64" => Self::Float("f64", 1),
            "amount" => Self::Amount,
            "table" => Self::Table,
            _ => panic!("there is no type {name}"),
        }
    }

    pub fn width(self) -> u32 {
        match self {
            Self::Bits(width) => width,
            Self::Float("f16" | "bf16", count) => 16 * count,
            Self::Float("f64", _) => 64,
            _ => 32,
        }
    }

    /// The register that holds operand `n`, in one of two ways to declare it, and the letter of its width.
    pub fn register(self, n: usize, bits: bool) -> (String, char) {
        let (name, letter) = match (self, self.width()) {
            (Self::Predicate, _) => ("p", 'p'),
            (Self::Bits(8), _) if bits => ("r", 'r'),
            (_, 8 | 16) => ("h", 'h'),
            (Self::Float("f32", 1), _) if !bits => ("f", 'r'),
            (Self::Float("f64", 1), _) if !bits => ("fd", 'd'),
            (_, 32) => ("r", 'r'),
            _ => ("rd", 'd'),
        };
        (format!("%{name}{n}"), letter)
    }

    /// Whether PTX has two ways to declare its registers.
    fn has_two_registers(self) -> bool {
        matches!(self, Self::Bits(8) | Self::Float("f32" | "f64", 1))
    }

    fn mask(self) -> u64 {
        match self {
            Self::Predicate => 1,
            _ => u64::MAX >> (64 - self.width()),
        }
    }

    /// An immediate with some bits, where PTX has one.
    fn immediate(self, bits: u64) -> Option<String> {
        Some(match self {
            Self::Predicate | Self::Float("f16" | "bf16", _) => return None,
            Self::Float("f32", _) => format!("0f{bits:08X}"),
            Self::Float(..) => format!("0d{bits:016X}"),
            Self::Bits(64) => format!("{}", bits as i64),
            // nvcc writes them in decimal, negative where they are signed
            Self::Bits(width) if bits >> (width - 1) & 1 == 1 => format!("{}", bits as i64 - (1i64 << width)),
            _ => format!("{bits}"),
        })
    }

    /// Numbers that are most often got wrong.
    pub fn edges(self) -> Vec<u64> {
        let integers = |width: u32| {
            let top = 1u64 << (width - 1);
            let all = top | (top - 1);
            let mut edges = vec![0, 1, 2, 3, 5, 7, 8, 31, 0x55, 0x7e, 0x7f, 0x80, 0x81, 0xaa, 0xfe, 0xff];
            edges.extend([all, all - 1, all - 6, top, top | 1, top - 1, top - 2, top / 2, all / 3, all / 5 * 2]);
            if width > 8 {
                edges.extend([32, 33, 63, 64, 100, 0x100, 0x101, 0x7f7f, 0x8080, all - 0xff, all ^ 0x8000]);
            }
            if width > 16 {
                edges.extend([0x7fff, 0x8000, 0xffff, 0x1_0000, 0x0102_0408, 0x80ff_7f01, 0xff_ffff, 0x80_0000]);
            }
            if width > 32 {
                edges.extend([0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 0x0123_4567_89ab_cdef, 0xffff << 32]);
            }
            edges.into_iter().map(|edge| edge & all).collect::<Vec<_>>()
        };
        match self {
            Self::Predicate => vec![0, 1],
            Self::Bits(width) => integers(width),
            Self::Amount => {
                let mut amounts: Vec<u64> = (0..70).collect();
                amounts.extend([95, 96, 127, 128, 200, 224, 255, 256, 257, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]);
                amounts
            }
            Self::Table => vec![0, 0xff, 0x80, 0xfe, 0x96, 0xe8, 0xb8, 0xca, 0x01, 0x7f, 0xf0, 0xaa],
            Self::Float(name, 1) => float_edges(name),
            Self::Float(name, _) => {
                let edges = float_edges(name);
                (0..2 * edges.len())
                    .map(|n| edges[n % edges.len()] | edges[(n * 7 + n / edges.len()) % edges.len()] << 16)
                    .collect()
            }
        }
    }

    /// Any bits, and more often than by chance those near which results are hard to round.
    pub fn random(self, random: &mut Random) -> u64 {
        match self {
            Self::Table => self.edges()[random.next() as usize % 12],
            Self::Float("f32", _) => near_one(random, 23, 127, 32),
            Self::Float("f64", _) => near_one(random, 52, 1023, 64),
            Self::Amount if random.next().is_multiple_of(2) => random.next() % 66,
            _ => random.next() & self.mask(),
        }
    }
}

/// A number with an exponent near that of 1 more often than not, and few bits set now and then.
fn near_one(random: &mut Random, fraction: u32, bias: u64, width: u32) -> u64 {
    let bits = random.next() >> (64 - width);
    match random.next() % 4 {
        0 => bits,
        kind => {
            let exponent = bias - 20 + random.next() % 40;
            let few = if kind == 1 { !0 << (fraction - 6) } else { !0 };
            bits & (1 << (width - 1)) | exponent << fraction | bits & few & ((1 << fraction) - 1)
        }
    }
}

fn float_edges(name: &str) -> Vec<u64> {
    let format = Format::of(name);
    let (one, infinity, sign) = (format.one(), format.infinity(), format.sign());
    let normal = infinity & infinity.wrapping_neg(); // the least normal number
    let half = one - normal;
    let mut edges = vec![0, 1, 2, 3, normal / 2, normal - 1, normal, normal + 1, 2 * normal, half, half + 1, half - 1];
    // neighbours of one, 1.5, 2, 2.5, 3 and of the largest numbers; infinity, and NaN quiet and signalling
    edges.extend([one, one + 1, one - 1, one + normal / 2, one + normal, one + normal + normal / 4]);
    edges.extend([one + normal + normal / 2, infinity - 1, infinity - 2, infinity - normal, infinity, infinity + 1]);
    edges.extend([infinity + normal / 2, infinity | (normal - 1), infinity + normal / 2 + 5]);
    // where whole numbers begin to be apart, and the limits of integers
    let places = u64::from(normal.trailing_zeros());
    edges.extend([
        one + places * normal,
        one + (places + 1) * normal,
        one + places * normal + 1,
        half + places * normal,
    ]);
    for power in [7, 8, 15, 16, 31, 32, 63, 64] {
        if (power + 1) * normal + one < infinity {
            edges.extend([one + power * normal, one + power * normal - 1, one + power * normal + 1]);
        }
    }
    let negative: Vec<u64> = edges.iter().map(|edge| edge | sign).collect();
    edges.extend(negative);
    edges
}

/// A generator of numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

pub type Definition = Box<dyn Fn(&[u64]) -> Expected>;

/// An instruction that maps lanes to lanes.
pub struct Lanewise {
    opcode: String,
    destination: Type,
    sources: Vec<Type>,
    definition: Definition,
    /// How the instruction stands in its kernel: `{g}` is the guard, `{d}` and `{a}`, `{b}`, … the operands.
    template: String,
    /// Whether sources may be immediates, and the destination one of the sources.
    shapes: bool,
    /// Whether lanes that a guard leaves out have the first source as their result, and not what the destination held.
    first_is_kept: bool,
}

/// The check of an instruction by its opcode and its types, the destination's first, and what it computes of its sources.
pub fn lanewise<E: Into<Expected>>(
    opcode: impl Into<String>,
    types: &str,
    definition: impl Fn(&[u64]) -> E + 'static,
) -> Check {
    let opcode = opcode.into();
    let template = {
        let sources = ["{a}", "{b}", "{c}", "{e}"][..types.split_whitespace().count() - 1].join(", ");
        format!("{{g}}{opcode} {{d}}, {sources};")
    };
    let mut types = types.split_whitespace().map(Type::of);
    let destination = types.next().expect("a destination");
    Lanewise {
        opcode,
        destination,
        sources: types.collect(),
        definition: Box::new(move |sources| definition(sources).into()),
        template,
        shapes: true,
        first_is_kept: false,
    }
    .check()
}

/// The check of an instruction that needs others around it, as `template` says. `form` is the one checked, which its
/// guard is on unless the form is one of memory: then `first_is_kept` where the guard leaves lanes out.
pub fn surrounded<E: Into<Expected>>(
    form: &str,
    types: &str,
    template: &str,
    first_is_kept: bool,
    definition: impl Fn(&[u64]) -> E + 'static,
) -> Check {
    let mut kinds = types.split_whitespace().map(Type::of);
    let destination = kinds.next().expect("a destination");
    let lanewise = Lanewise {
        opcode: form.to_owned(),
        destination,
        sources: kinds.collect(),
        definition: Box::new(move |sources| definition(sources).into()),
        template: template.to_owned(),
        shapes: false,
        first_is_kept,
    };
    Check { forms: vec![form.to_owned(), format!("@p {form}")], run: Box::new(move || lanewise.run()) }
}

/// What the destination holds before.
const OLD: u64 = 0xa5a5_5a5a_3cc3_a55a;

impl Lanewise {
    fn check(self) -> Check {
        let forms = self.forms();
        Check { forms, run: Box::new(move || self.run()) }
    }

    fn dialects(&self) -> &'static [bool] {
        let two = self.sources.iter().chain([&self.destination]).any(|ty| ty.has_two_registers());
        if two { &[false, true] } else { &[false] }
    }

    /// The sets of sources that are immediates, as bits.
    fn immediates(&self) -> Vec<u32> {
        if !self.shapes {
            return vec![0];
        }
        let fits = |set: u32| {
            self.sources.iter().enumerate().all(|(n, ty)| match set >> n & 1 {
                0 => *ty != Type::Table,
                _ => ty.immediate(0).is_some(),
            })
        };
        (0..1 << self.sources.len()).filter(|set| fits(*set)).collect()
    }

    /// The forms that this checks, as [`super::collect`] names them.
    fn forms(&self) -> Vec<String> {
        let mut forms = Vec::new();
        for &bits in self.dialects() {
            for set in self.immediates() {
                let mut form = format!("{} {}", self.opcode, self.destination.register(0, bits).1);
                for (n, ty) in self.sources.iter().enumerate() {
                    let letter = if set >> n & 1 == 1 { 'i' } else { ty.register(0, bits).1 };
                    form.push_str(&format!(", {letter}"));
                }
                forms.push(format!("@p {form}"));
                forms.push(form);
            }
        }
        forms
    }

    fn tuples(&self) -> Vec<Vec<u64>> {
        let mut random = Random::new(self.opcode.bytes().fold(1, |seed, byte| seed * 31 % 65_521 + u64::from(byte)));
        let edges: Vec<Vec<u64>> = self.sources.iter().map(|ty| ty.edges()).collect();
        let mut tuples: Vec<Vec<u64>> = Vec::new();
        match (&self.sources[..], &edges[..]) {
            // all there are
            ([Type::Bits(width @ ..=16)], _) => tuples.extend((0..1u64 << width).map(|bits| vec![bits])),
            ([Type::Float("f16" | "bf16", 1)], _) => tuples.extend((0..1u64 << 16).map(|bits| vec![bits])),
            (_, [a]) => tuples.extend(a.iter().map(|a| vec![*a])),
            (_, [a, b]) => tuples.extend(a.iter().flat_map(|a| b.iter().map(|b| vec![*a, *b]))),
            _ => tuples
                .extend((0..3000).map(|_| {
                    edges.iter().map(|edges| edges[random.next() as usize % edges.len()]).collect::<Vec<_>>()
                })),
        }
        for n in 0..1000 {
            let mut tuple: Vec<u64> = self.sources.iter().map(|ty| ty.random(&mut random)).collect();
            if n % 4 == 0 && tuple.len() > 1 && self.sources[0] == self.sources[1] {
                // neighbours, and the same with the other sign
                tuple[1] = (tuple[0] ^ (n >> 2 & 1) << (self.sources[0].width() - 1)).wrapping_add(n >> 3 & 1);
                tuple[1] &= self.sources[1].mask();
            }
            tuples.push(tuple);
        }
        if !self.shapes {
            // the same instruction is checked several times, for each thing that it does
            let step = (tuples.len() / 1200) | 1;
            tuples = tuples.into_iter().step_by(step).collect();
        }
        tuples
    }

    fn run(&self) {
        let tuples = self.tuples();
        // all shapes of operands are run on a sample
        let sample: Vec<Vec<u64>> = tuples.iter().step_by(tuples.len() / 200).cloned().collect();
        for &bits in self.dialects() {
            let registers = self.immediates().contains(&0);
            if registers {
                let old = if self.shapes && self.destination == self.sources[0] { Some(0) } else { None };
                let plain = Variant { guard: "", immediates: Vec::new(), old: None };
                let kept = self.first_is_kept.then_some(0);
                let guarded = Variant { guard: "@%p14 ", old: kept, immediates: Vec::new() };
                let in_place = Variant { guard: "@!%p14 ", old: kept.or(old), immediates: Vec::new() };
                self.run_variants(&[plain, guarded, in_place], &tuples, bits);
            }
            let mut variants = Vec::new();
            for (n, set) in self.immediates().into_iter().filter(|set| *set != 0).enumerate() {
                for (round, guard) in ["", "@%p14 ", "", ""].into_iter().enumerate() {
                    let immediates = self.sources.iter().enumerate().map(|(place, ty)| {
                        let edges = ty.edges();
                        let edge = edges[(round * 11 + n * 5 + place * 3) % edges.len()];
                        (set >> place & 1 == 1).then_some(edge)
                    });
                    variants.push(Variant { guard, immediates: immediates.collect(), old: None });
                }
            }
            if !variants.is_empty() {
                self.run_variants(&variants, &sample, bits);
            }
        }
    }

    fn run_variants(&self, variants: &[Variant], tuples: &[Vec<u64>], bits: bool) {
        let (count, sources) = (tuples.len(), self.sources.len());
        let bench = Bench::new(&self.kernel(variants, count, bits));
        let inputs = bench.upload(&tuples.concat());
        let outputs = bench.upload(&vec![OLD; count * variants.len()]);
        // Blocks of two warps and a half: not all have all their lanes.
        let blocks = count.div_ceil(80) as u32;
        bench.launch([blocks, 1, 1], [80, 1, 1], &[inputs, outputs, count as u64]).unwrap();
        let found = bench.read_u64(outputs, count * variants.len());
        bench.device.free(inputs).unwrap();
        let width = if self.destination == Type::Predicate { 32 } else { self.destination.width().max(16) };
        let mask = u64::MAX >> (64 - width);
        let mut operands = vec![0; sources];
        for (v, variant) in variants.iter().enumerate() {
            for (n, tuple) in tuples.iter().enumerate() {
                let runs = (n as u32).wrapping_mul(0x9e37_79b1) >> 31 == u32::from(variant.guard == "@%p14 ");
                for (place, operand) in operands.iter_mut().enumerate() {
                    *operand = variant.immediates.get(place).copied().flatten().unwrap_or(tuple[place]);
                }
                let found = found[v * count + n];
                assert_eq!(found & !mask, OLD & !mask, "{} writes too much", self.opcode);
                let found = found & mask;
                let expected = if variant.guard.is_empty() || runs {
                    (self.definition)(&operands)
                } else if let Some(source) = variant.old {
                    Expected::Bits(operands[source])
                } else if self.destination == Type::Predicate {
                    Expected::Bits(1)
                } else {
                    Expected::Bits(OLD & mask)
                };
                let right = match expected {
                    // A byte's register is wider: its other bits repeat the sign or are zero, as the definition says.
                    Expected::Bits(bits) => bits & mask == found,
                    Expected::Anything => true,
                    other => match self.destination {
                        Type::Float(name, 1) => other.allows(name, found),
                        _ => panic!("{} has no such results", self.opcode),
                    },
                };
                let (opcode, guard, immediates) = (&self.opcode, variant.guard, &variant.immediates);
                assert!(
                    right,
                    "{guard}{opcode} of {operands:x?} (immediates {immediates:x?}, floats in bits: {bits}): \
                     {found:#x}, expected {expected:x?}"
                );
            }
        }
    }

    fn kernel(&self, variants: &[Variant], count: usize, bits: bool) -> String {
        let mut body = String::new();
        let bytes = 8 * self.sources.len();
        for (n, ty) in self.sources.iter().enumerate() {
            let (register, _) = ty.register(n, bits);
            let at = 8 * n;
            match ty {
                Type::Predicate => {
                    body += &format!("ld.global.u32 %r20, [%rd20+{at}]; setp.ne.u32 {register}, %r20, 0;\n");
                }
                _ => body += &format!("ld.global.b{} {register}, [%rd20+{at}];\n", ty.width()),
            }
        }
        let (destination, _) = self.destination.register(9, bits);
        let width = self.destination.width().max(16);
        // where bytes are held in 16 or in 32 bits, that much is stored
        for (v, variant) in variants.iter().enumerate() {
            let stored = if self.destination.width() == 8 { 16 } else { width };
            let old = match (variant.old, self.destination) {
                (Some(source), ty) => ty.register(source, bits).0,
                (_, Type::Predicate) => "1".to_owned(),
                _ => format!("{}", OLD & (u64::MAX >> (64 - width))),
            };
            match self.destination {
                Type::Predicate => body += &format!("mov.pred {destination}, {old};\n"),
                _ if self.destination.width() == 8 && bits => body += &format!("mov.b32 {destination}, {old};\n"),
                _ => body += &format!("mov.b{width} {destination}, {old};\n"),
            }
            let mut line = self.template.replace("{g}", variant.guard).replace("{d}", &destination);
            for (n, ty) in self.sources.iter().enumerate() {
                let operand = match variant.immediates.get(n).copied().flatten() {
                    Some(bits) => ty.immediate(bits).expect("PTX has such immediates"),
                    None if variant.old == Some(n) => destination.clone(),
                    None => ty.register(n, bits).0,
                };
                line = line.replace(["{a}", "{b}", "{c}", "{e}"][n], &operand);
            }
            body += &line;
            let at = v * count * 8;
            if self.destination == Type::Predicate {
                body += &format!("\nselp.u32 %r20, 1, 0, {destination}; st.global.u32 [%rd21+{at}], %r20;\n");
            } else {
                body += &format!("\nst.global.b{stored} [%rd21+{at}], {destination};\n");
            }
        }
        frame(bytes, &body)
    }
}

/// A kernel around `body`: `%rd20` is the address of a thread's sources, of which there are `bytes`, and `%rd21` that of
/// the first of its results. `%p14` holds for some threads.
pub fn frame(bytes: usize, body: &str) -> String {
    format!(
        ".version 8.8\n.target sm_90\n.address_size 64\n
         .visible .entry k(.param .u64 inputs, .param .u64 outputs, .param .u64 count)\n{{\n
         .reg .pred %p<16>; .reg .b16 %h<10>; .reg .b32 %r<40>; .reg .f32 %f<10>; .reg .b64 %rd<40>;
         .reg .f64 %fd<10>; .shared .align 16 .b8 cells[1280];
         mov.u32 %r26, %tid.x; mov.u32 %r25, cells; mad.lo.u32 %r25, %r26, 16, %r25; cvt.u64.u32 %rd25, %r25;
         cvta.shared.u64 %rd25, %rd25;
         mov.u32 %r21, %ctaid.x; mov.u32 %r22, %ntid.x; mov.u32 %r23, %tid.x; mad.lo.u32 %r23, %r21, %r22, %r23;
         ld.param.u32 %r24, [count]; setp.ge.u32 %p15, %r23, %r24; @%p15 exit;
         ld.param.u64 %rd20, [inputs]; ld.param.u64 %rd21, [outputs];
         mul.wide.u32 %rd22, %r23, {bytes}; add.u64 %rd20, %rd20, %rd22;
         mul.wide.u32 %rd22, %r23, 8; add.u64 %rd21, %rd21, %rd22;
         mul.lo.u32 %r24, %r23, 0x9e3779b1; shr.u32 %r24, %r24, 31; setp.ne.u32 %p14, %r24, 0;
         {body}ret;\n}}\n"
    )
}

/// One way to write the instruction.
struct Variant {
    guard: &'static str,
    /// The bits of each source that is an immediate.
    immediates: Vec<Option<u64>>,
    /// The source whose register is the destination too.
    old: Option<usize>,
}
