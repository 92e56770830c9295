//! What kind of instruction an opcode is, and how many floating-point operations it does.

use std::fmt;

/// A class of instructions: those that keep the same part of a multiprocessor busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Arithmetic in f32.
    Float32,
    /// Arithmetic in f64, with its divisions and roots.
    Float64,
    /// Arithmetic in f16 and bf16, one or two at a time.
    Half,
    /// Integer arithmetic, logic, shifts and bit fields.
    Integer,
    /// Reciprocals, roots, divisions, powers, logarithms, sines, `tanh`.
    Special,
    /// Products of matrices (`mma`, `wmma`).
    Tensor,
    /// Conversions between types.
    Conversion,
    /// Comparisons, and selection by a predicate.
    Compare,
    /// Copies of registers, and changes of address space.
    Move,
    /// Branches, calls and ends; hints.
    Control,
    /// Loads from global memory.
    GlobalLoad,
    /// Stores to global memory.
    GlobalStore,
    /// Loads from shared memory, those of matrices (`ldmatrix`) too.
    SharedLoad,
    /// Stores to shared memory.
    SharedStore,
    /// Loads from the memory of a thread.
    LocalLoad,
    /// Stores to the memory of a thread.
    LocalStore,
    /// Loads whose address tells the state space only when they are executed.
    GenericLoad,
    /// Stores of that kind.
    GenericStore,
    /// Parameters of kernels and functions.
    Parameter,
    /// Loads of constants.
    Constant,
    /// Copies from global to shared memory (`cp.async`), and waits for them.
    AsyncCopy,
    /// Atomic operations and reductions in memory.
    Atomic,
    /// What the lanes of a warp do together: shuffles, votes, matches, reductions.
    Collective,
    /// Barriers and fences.
    Barrier,
}

impl Class {
    /// Every class, in the order of tables.
    pub const ALL: [Self; 24] = [
        Self::Float32,
        Self::Float64,
        Self::Half,
        Self::Integer,
        Self::Special,
        Self::Tensor,
        Self::Conversion,
        Self::Compare,
        Self::Move,
        Self::Control,
        Self::GlobalLoad,
        Self::GlobalStore,
        Self::SharedLoad,
        Self::SharedStore,
        Self::LocalLoad,
        Self::LocalStore,
        Self::GenericLoad,
        Self::GenericStore,
        Self::Parameter,
        Self::Constant,
        Self::AsyncCopy,
        Self::Atomic,
        Self::Collective,
        Self::Barrier,
    ];

    /// The class of an opcode with all its modifiers.
    #[must_use]
    pub fn of(opcode: &str) -> Self {
        let mut parts = opcode.split('.');
        let root = parts.next().unwrap_or_default();
        let modifiers: Vec<&str> = parts.collect();
        let has = |name: &str| modifiers.contains(&name);
        match root {
            "ld" | "ldu" => access(&modifiers, true),
            "st" => access(&modifiers, false),
            "ldmatrix" => Self::SharedLoad,
            "stmatrix" => Self::SharedStore,
            "wmma" if has("load") => access(&modifiers, true),
            "wmma" if has("store") => access(&modifiers, false),
            "mma" | "wmma" | "wgmma" => Self::Tensor,
            "atom" | "red" => Self::Atomic,
            "cp" => Self::AsyncCopy,
            "bar" if has("warp") => Self::Collective,
            "bar" | "barrier" | "membar" | "fence" | "mbarrier" | "griddepcontrol" => Self::Barrier,
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" | "movmatrix" => Self::Collective,
            "bra" | "brx" | "ret" | "exit" | "trap" | "call" | "nanosleep" | "prefetch" | "prefetchu" | "pmevent"
            | "brkpt" | "discard" | "applypriority" | "createpolicy" => Self::Control,
            "cvt" => Self::Conversion,
            "mov" | "cvta" | "mapa" | "alloca" | "stacksave" | "stackrestore" => Self::Move,
            "setp" | "set" | "selp" | "slct" | "testp" | "isspacep" => Self::Compare,
            "div" | "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => match float(&modifiers) {
                Some(Float::F64) => Self::Float64,
                Some(_) => Self::Special,
                None => Self::Integer,
            },
            _ => match float(&modifiers) {
                Some(Float::F32) => Self::Float32,
                Some(Float::F64) => Self::Float64,
                Some(Float::Half) => Self::Half,
                None => Self::Integer,
            },
        }
    }

    /// Whether an instruction of the class is one for the machine too. Copies mostly vanish when PTX is compiled, and
    /// parameters are operands of other instructions.
    pub(super) fn is_issued(self) -> bool {
        !matches!(self, Self::Move | Self::Parameter)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Float32 => "f32 arithmetic",
            Self::Float64 => "f64 arithmetic",
            Self::Half => "f16 and bf16 arithmetic",
            Self::Integer => "integer arithmetic",
            Self::Special => "special functions",
            Self::Tensor => "matrix products",
            Self::Conversion => "conversions",
            Self::Compare => "compare and select",
            Self::Move => "moves",
            Self::Control => "control",
            Self::GlobalLoad => "global loads",
            Self::GlobalStore => "global stores",
            Self::SharedLoad => "shared loads",
            Self::SharedStore => "shared stores",
            Self::LocalLoad => "local loads",
            Self::LocalStore => "local stores",
            Self::GenericLoad => "generic loads",
            Self::GenericStore => "generic stores",
            Self::Parameter => "parameters",
            Self::Constant => "constants",
            Self::AsyncCopy => "asynchronous copies",
            Self::Atomic => "atomics",
            Self::Collective => "warp collectives",
            Self::Barrier => "barriers and fences",
        })
    }
}

fn access(modifiers: &[&str], load: bool) -> Class {
    let space = modifiers.iter().find_map(|modifier| match modifier.split("::").next().unwrap_or_default() {
        "global" => Some((Class::GlobalLoad, Class::GlobalStore)),
        "shared" => Some((Class::SharedLoad, Class::SharedStore)),
        "local" => Some((Class::LocalLoad, Class::LocalStore)),
        "param" => Some((Class::Parameter, Class::Parameter)),
        "const" => Some((Class::Constant, Class::Constant)),
        _ => None,
    });
    let (loads, stores) = space.unwrap_or((Class::GenericLoad, Class::GenericStore));
    if load { loads } else { stores }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Float {
    F32,
    F64,
    Half,
}

/// The floating-point type that an instruction computes in.
fn float(modifiers: &[&str]) -> Option<Float> {
    modifiers.iter().find_map(|modifier| match *modifier {
        "f32" | "f32x2" => Some(Float::F32),
        "f64" => Some(Float::F64),
        "f16" | "f16x2" | "bf16" | "bf16x2" => Some(Float::Half),
        _ => None,
    })
}

/// The rows, columns and depth of a product of matrices, if an opcode is one.
fn shape(opcode: &str) -> Option<[u64; 3]> {
    if !opcode.starts_with("mma.") && !opcode.starts_with("wmma.mma.") {
        return None;
    }
    opcode.split('.').find_map(|part| {
        let (m, rest) = part.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        Some([m.parse().ok()?, n.parse().ok()?, k.parse().ok()?])
    })
}

/// Operations of the tensor cores that an instruction does for each thread, a multiplication and an addition each being one,
/// and whether they are on integers.
pub(super) fn tensor_operations(opcode: &str) -> (u64, bool) {
    let operations = shape(opcode).map_or(0, |[m, n, k]| 2 * m * n * k / 32);
    let integers = opcode.split('.').any(|part| matches!(part, "s8" | "u8" | "s4" | "u4" | "b1"));
    (operations, integers)
}

/// Floating-point operations that an instruction does for each thread: additions, subtractions and multiplications, so that a
/// fused multiply-add is two; and those of a product of matrices.
pub(super) fn floating_point_operations(opcode: &str) -> u64 {
    let mut parts = opcode.split('.');
    let each = match parts.next().unwrap_or_default() {
        "add" | "sub" | "mul" => 1,
        "fma" | "mad" => 2,
        _ => {
            let (operations, integers) = tensor_operations(opcode);
            return if integers { 0 } else { operations };
        }
    };
    let modifiers: Vec<&str> = parts.collect();
    if float(&modifiers).is_none() {
        return 0;
    }
    if modifiers.iter().any(|modifier| modifier.ends_with("x2")) { 2 * each } else { each }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_have_classes() {
        for (opcode, class) in [
            ("fma.rn.f32", Class::Float32),
            ("min.ftz.f32", Class::Float32),
            ("fma.rn.f64", Class::Float64),
            ("div.rn.f64", Class::Float64),
            ("fma.rn.relu.f16x2", Class::Half),
            ("add.bf16", Class::Half),
            ("mad.wide.u32", Class::Integer),
            ("dp4a.s32.s32", Class::Integer),
            ("and.b32", Class::Integer),
            ("div.s32", Class::Integer),
            ("div.approx.ftz.f32", Class::Special),
            ("ex2.approx.ftz.f16x2", Class::Special),
            ("sqrt.rn.f32", Class::Special),
            ("cvt.rn.f16.f32", Class::Conversion),
            ("cvta.to.global.u64", Class::Move),
            ("mov.b32", Class::Move),
            ("setp.lt.f32", Class::Compare),
            ("selp.f64", Class::Compare),
            ("bra.uni", Class::Control),
            ("ld.global.nc.L1::evict_last.v4.f32", Class::GlobalLoad),
            ("ld.volatile.shared::cta.u32", Class::SharedLoad),
            ("ld.const.f32", Class::Constant),
            ("ld.param.u64", Class::Parameter),
            ("st.param.b32", Class::Parameter),
            ("ld.u32", Class::GenericLoad),
            ("st.v2.f32", Class::GenericStore),
            ("st.local.u8", Class::LocalStore),
            ("ldmatrix.sync.aligned.m8n8.x4.shared.b16", Class::SharedLoad),
            ("wmma.load.a.sync.aligned.row.m16n16k16.shared.f16", Class::SharedLoad),
            ("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", Class::Tensor),
            ("cp.async.cg.shared.global", Class::AsyncCopy),
            ("red.global.add.f32", Class::Atomic),
            ("shfl.sync.bfly.b32", Class::Collective),
            ("bar.warp.sync", Class::Collective),
            ("bar.sync", Class::Barrier),
            ("fence.acq_rel.gpu", Class::Barrier),
        ] {
            assert_eq!(Class::of(opcode), class, "{opcode}");
        }
    }

    #[test]
    fn every_class_is_listed_once() {
        let mut names: Vec<String> = Class::ALL.iter().map(ToString::to_string).collect();
        assert!(Class::ALL.is_sorted());
        names.sort();
        names.dedup();
        assert_eq!((names.len(), Class::ALL[23]), (24, Class::Barrier));
    }

    #[test]
    fn operations_are_counted_as_usual() {
        for (opcode, operations) in [
            ("add.rn.f32", 1),
            ("fma.rn.f32", 2),
            ("fma.rn.f16x2", 4),
            ("mul.bf16", 1),
            ("fma.rn.f64", 2),
            ("add.u32", 0),
            ("mad.lo.s32", 0),
            ("min.f32", 0),
            ("cvt.rn.f32.f16", 0),
            ("dp4a.s32.s32", 0),
            // 2 * 16 * 8 * 16 for 32 threads
            ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 128),
            ("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", 0),
            ("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", 256),
            ("wmma.load.a.sync.aligned.row.m16n16k16.f16", 0),
        ] {
            assert_eq!(floating_point_operations(opcode), operations, "{opcode}");
        }
        assert_eq!(tensor_operations("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"), (256, true));
    }
}
