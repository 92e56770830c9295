//! What each instruction does, 32 lanes at a time.
//!
//! An operation is a function over the rows of its operands, compiled for any processor, for those with AVX2 and FMA, and
//! where it helps for those with AVX-512; which one an [`Op`] holds is decided when a kernel is decoded. Instructions that
//! map lanes to lanes are listed as [`Form`]s, opcode by opcode; those with operands of their own kind (memory, shuffles,
//! branches) have decoders.

pub(crate) mod async_copy;
pub(crate) mod atomic;
pub(crate) mod bits;
pub(crate) mod bulk;
pub(crate) mod call;
pub(crate) mod carry;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod convert;
pub(crate) mod double;
pub(crate) mod extrema;
pub(crate) mod float;
pub(crate) mod flushed;
pub(crate) mod fp8;
pub(crate) mod half;
pub(crate) mod half_from_integer;
pub(crate) mod integer;
pub(crate) mod matrix;
pub(crate) mod matrix_moves;
pub(crate) mod mbarrier;
pub(crate) mod memory;
pub(crate) mod moves;
pub(crate) mod narrow;
pub(crate) mod predicate;
pub(crate) mod print;
pub(crate) mod reduction;
pub(crate) mod shuffle;
pub(crate) mod tensor_copy;
pub(crate) mod tensor_map;
pub(crate) mod transfer;
pub(crate) mod video;
pub(crate) mod wgmma;
pub(crate) mod wide;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::exec::Warp;
use crate::program::Op;
use crate::ptx::ast::RegisterKind;

/// How execution goes on after an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Next {
    /// With the next operation.
    Step,
    /// The active lanes go to the target.
    Branch,
    /// The active lanes go to targets of their own, which the warp was told.
    Jump,
    /// The active lanes have ended.
    Exit,
    /// The active lanes wait for others of their warp.
    Converge,
    /// The active lanes wait for all others of their warp to come to this very instruction.
    ConvergeWarp,
    /// The active lanes wait at a barrier of the block.
    Barrier,
    /// The active lanes wait, and execute the operation again later.
    Wait,
    /// `Warp::fault` says what happened.
    Fault,
}

/// Executes an operation for the lanes of a mask, which is not empty.
///
/// # Safety
/// The operation comes from the decoder and runs on a warp that was set up for its program; the processor has the
/// features that the function was compiled for.
pub(crate) type Exec = unsafe fn(&mut Warp<'_>, &Op, u32) -> Next;

/// An operation. `run` is always inlined, so that it is compiled for each kind of processor.
pub(crate) trait Operation {
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next;
}

/// An operation compiled for each kind of processor.
#[derive(Clone, Copy)]
pub(crate) struct Variants {
    baseline: Exec,
    #[cfg(target_arch = "x86_64")]
    avx2: Exec,
    #[cfg(target_arch = "x86_64")]
    avx512: Exec,
}

impl Variants {
    /// Compiled for any processor and with AVX2, which does all that most operations need.
    pub(crate) const fn of<O: Operation>() -> Self {
        Self {
            baseline: baseline::<O>,
            #[cfg(target_arch = "x86_64")]
            avx2: avx2::<O>,
            #[cfg(target_arch = "x86_64")]
            avx512: avx2::<O>,
        }
    }

    /// Compiled with AVX-512 too: for what works on 64-bit values, or on scattered ones.
    pub(crate) const fn wide<O: Operation>() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx512: avx512::<O>,
            ..Self::of::<O>()
        }
    }

    /// The one to use on this processor.
    pub(crate) fn select(self) -> Exec {
        #[cfg(target_arch = "x86_64")]
        return match Isa::of_this_processor() {
            Isa::Baseline => self.baseline,
            Isa::Avx2 => self.avx2,
            Isa::Avx512 => self.avx512,
        };
        #[cfg(not(target_arch = "x86_64"))]
        self.baseline
    }
}

/// The vector extensions that operations are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Isa {
    Baseline,
    Avx2,
    Avx512,
}

#[cfg(target_arch = "x86_64")]
impl Isa {
    /// The most that the processor has, and `WARPWRIGHT_EMULATOR_ISA` (`baseline`, `avx2`) allows.
    fn of_this_processor() -> Self {
        static ISA: OnceLock<Isa> = OnceLock::new();
        *ISA.get_or_init(|| {
            let allowed = match std::env::var("WARPWRIGHT_EMULATOR_ISA").as_deref() {
                Ok("baseline") => Self::Baseline,
                Ok("avx2") => Self::Avx2,
                _ => Self::Avx512,
            };
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let has = if avx512 {
                Self::Avx512
            } else if avx2 {
                Self::Avx2
            } else {
                Self::Baseline
            };
            has.min(allowed)
        })
    }
}

unsafe fn baseline<O: Operation>(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    O::run(warp, op, mask)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn avx2<O: Operation>(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    O::run(warp, op, mask)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn avx512<O: Operation>(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    O::run(warp, op, mask)
}

/// A value of one lane, and how a register holds it.
pub(crate) trait Lane: Copy {
    /// `u32` or `u64`: an element of a row.
    type Raw: Copy + Default;
    const KIND: RegisterKind;
    fn from_raw(raw: Self::Raw) -> Self;
    fn to_raw(self) -> Self::Raw;
}

macro_rules! lane {
    ($($type:ty, $raw:ty, $kind:ident, |$from:ident| $from_raw:expr, |$to:ident| $to_raw:expr;)*) => {$(
        impl Lane for $type {
            type Raw = $raw;
            const KIND: RegisterKind = RegisterKind::$kind;
            #[inline(always)]
            fn from_raw($from: $raw) -> Self {
                $from_raw
            }
            #[inline(always)]
            fn to_raw(self) -> $raw {
                let $to = self;
                $to_raw
            }
        }
    )*};
}
lane! {
    u8, u32, Bits32, |raw| raw as u8, |value| u32::from(value);
    i8, u32, Bits32, |raw| raw as i8, |value| value as u32;
    u16, u32, Bits32, |raw| raw as u16, |value| u32::from(value);
    i16, u32, Bits32, |raw| raw as i16, |value| value as u32;
    u32, u32, Bits32, |raw| raw, |value| value;
    i32, u32, Bits32, |raw| raw as i32, |value| value as u32;
    f32, u32, Bits32, |raw| f32::from_bits(raw), |value| value.to_bits();
    u64, u64, Bits64, |raw| raw, |value| value;
    i64, u64, Bits64, |raw| raw as i64, |value| value as u64;
    f64, u64, Bits64, |raw| f64::from_bits(raw), |value| value.to_bits();
}

/// An instruction whose result in a lane depends on that lane alone.
pub(crate) struct Form {
    pub(crate) opcode: &'static str,
    pub(crate) destination: RegisterKind,
    pub(crate) sources: &'static [RegisterKind],
    pub(crate) exec: Variants,
}

/// All forms.
pub(crate) fn forms() -> impl Iterator<Item = &'static Form> {
    let lists = [
        integer::FORMS,
        bits::FORMS,
        float::FORMS,
        float::TOWARD_ZERO,
        float::DOWN,
        float::UP,
        double::FORMS,
        flushed::FORMS,
        extrema::FORMS,
        half::FORMS,
        half_from_integer::FORMS,
        half::F16,
        half::BF16,
        fp8::FORMS,
        convert::FORMS,
        convert::HALF,
        narrow::FORMS,
        compare::FORMS,
        compare::SETS,
        moves::FORMS,
    ];
    lists.into_iter().flatten().copied().flatten()
}

/// The form with an opcode, with all its modifiers. If there are several, they differ in the number of their sources;
/// it is the one with `sources`, or else any.
pub(crate) fn form(opcode: &str, sources: usize) -> Option<&'static Form> {
    static FORMS: OnceLock<HashMap<&str, Vec<&Form>>> = OnceLock::new();
    let all = FORMS.get_or_init(|| {
        let mut all = HashMap::<&str, Vec<&Form>>::new();
        forms().for_each(|form| all.entry(form.opcode).or_default().push(form));
        all
    });
    let found = all.get(opcode)?;
    found.iter().find(|form| form.sources.len() == sources).or(found.first()).copied()
}

/// A [`Form`] of up to four sources: `map!("add.u32", |a: u32, b: u32| -> u32 { a.wrapping_add(b) })`.
macro_rules! map {
    (
        $opcode:expr,
        |$a:ident: $ta:ty $(, $b:ident: $tb:ty $(, $c:ident: $tc:ty $(, $e:ident: $te:ty)?)?)?| -> $tr:ty $body:block
    ) => {{
        struct Map;
        impl $crate::ops::Operation for Map {
            #[inline(always)]
            fn run(warp: &mut $crate::exec::Warp<'_>, op: &$crate::program::Op, mask: u32) -> $crate::ops::Next {
                let a = warp.read::<$ta>(op.a);
                $(
                    let b = warp.read::<$tb>(op.b);
                    $(let c = warp.read::<$tc>(op.c); $(let e = warp.read::<$te>(op.e);)?)?
                )?
                let mut result = [<$tr as $crate::ops::Lane>::Raw::default(); 32];
                for lane in 0..32 {
                    let $a = a[lane];
                    $(let $b = b[lane]; $(let $c = c[lane]; $(let $e = e[lane];)?)?)?
                    let value: $tr = $body;
                    result[lane] = $crate::ops::Lane::to_raw(value);
                }
                warp.write_raw::<$tr>(op.d, &result, mask);
                $crate::ops::Next::Step
            }
        }
        $crate::ops::Form {
            opcode: $opcode,
            destination: <$tr as $crate::ops::Lane>::KIND,
            sources: &[
                <$ta as $crate::ops::Lane>::KIND
                $(, <$tb as $crate::ops::Lane>::KIND
                    $(, <$tc as $crate::ops::Lane>::KIND $(, <$te as $crate::ops::Lane>::KIND)?)?
                )?
            ],
            exec: $crate::ops::Variants::of::<Map>(),
        }
    }};
}
pub(crate) use map;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_is_listed_twice() {
        let mut seen = std::collections::HashSet::new();
        let twice: Vec<_> =
            forms().filter(|form| !seen.insert((form.opcode, form.sources.len()))).map(|form| form.opcode).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
