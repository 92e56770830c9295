//! The syntax tree of a PTX module.

use std::collections::HashMap;

/// A module: what one PTX text declares.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// `.version major.minor`.
    pub(crate) version: (u32, u32),
    /// `.target`, without the `sm_`: `(90, "a")` of `sm_90a`.
    pub(crate) target: (u32, String),
    /// Variables of module scope.
    pub(crate) variables: Vec<Variable>,
    /// The kernels.
    pub(crate) kernels: Vec<Function>,
    /// The device functions that have a body.
    pub(crate) functions: Vec<Function>,
    /// `.alias`: another name of a function, that function, and the line.
    pub(crate) aliases: Vec<(String, String, u32)>,
    /// `.file` numbers and paths.
    pub(crate) files: Vec<(u32, String)>,
}

/// A kernel (`.entry`) or a device function (`.func`).
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: u32,
    pub(crate) signature: Signature,
    /// Formals that are registers: their place among returns and then parameters, and the register.
    pub(crate) register_formals: Vec<(usize, u32)>,
    /// `.reqntid`: the block dimensions that a launch must have.
    pub(crate) required_block: Option<[u32; 3]>,
    /// `.maxntid`: a launch's block may not have more threads than their product.
    pub(crate) max_block: Option<[u32; 3]>,
    /// `.reqnctapercluster`: the blocks of a cluster; one if it is not stated.
    pub(crate) cluster: [u32; 3],
    /// The register declared for each index that operands use.
    pub(crate) registers: Vec<RegisterKind>,
    /// Variables declared in the body, in shared and local memory.
    pub(crate) variables: Vec<Variable>,
    /// `.param` variables declared in the body, which pass arguments to calls and take results, each with its offset in
    /// the room for them. Those of scopes that are closed share it with later ones.
    pub(crate) call_variables: Vec<(Variable, u64)>,
    pub(crate) body: Vec<Instruction>,
    /// Where each label points: the index in `body` of the instruction after it.
    pub(crate) labels: Vec<(String, usize)>,
    /// `.callprototype`: what a call through a register passes and takes.
    pub(crate) prototypes: HashMap<String, Signature>,
    /// `.branchtargets` and `.calltargets`: labels of this function, or functions.
    pub(crate) targets: HashMap<String, Vec<String>>,
}

/// What a function takes and returns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signature {
    pub(crate) returns: Vec<Variable>,
    pub(crate) params: Vec<Variable>,
}

/// How a register is held: by its width alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RegisterKind {
    /// `.pred`
    Predicate,
    /// Any 8, 16 or 32-bit type.
    Bits32,
    /// Any 64-bit type.
    Bits64,
}

/// A state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Constant,
    Shared,
    Local,
    Param,
}

/// A variable: a parameter, a global, a shared array.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) space: Space,
    /// In bytes.
    pub(crate) align: u64,
    /// In bytes; 0 for an array without a size (dynamic shared memory).
    pub(crate) size: u64,
    /// The first bytes of its value; the rest is zero.
    pub(crate) init: Vec<u8>,
    /// What of its value is addresses, which are zero in `init`.
    pub(crate) addresses: Vec<AddressOf>,
    /// The line of its declaration.
    pub(crate) line: u32,
}

/// The address of a variable or function in an initialiser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressOf {
    /// Where it goes, in bytes from the start of the variable, and how many bytes of it.
    pub(crate) at: u64,
    pub(crate) bytes: u64,
    pub(crate) symbol: String,
    pub(crate) offset: i64,
    /// Which bits of the address are meant: `0xFF00(symbol)` is its second byte.
    pub(crate) mask: u64,
    pub(crate) line: u32,
}

/// Where in the source a line of PTX comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Location {
    /// The line of the PTX text.
    pub(crate) ptx_line: u32,
    /// The number of the `.file`, 0 for none, and the line there.
    pub(crate) file: u32,
    pub(crate) line: u32,
}

/// One instruction.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    /// `@%p` or `@!%p`: the predicate register, and whether it is negated.
    pub(crate) guard: Option<(u32, bool)>,
    /// The whole opcode, with its modifiers: `ld.global.nc.f32`.
    pub(crate) opcode: String,
    pub(crate) operands: Vec<Operand>,
    pub(crate) location: Location,
    /// The bytes of a load that the program uses, if the pragma before it says that it does not use all.
    pub(crate) used_bytes: Option<u32>,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    /// An index in [`Function::registers`].
    Register(u32),
    /// A predicate register, negated.
    NotRegister(u32),
    /// A special register, such as `%tid.x`.
    Special(String),
    /// An integer, or the bits of a floating-point literal.
    Immediate(u64),
    /// A label or a variable, with a byte offset.
    Symbol(String, i64),
    /// `[base + offset]`.
    Address(Box<Operand>, i64),
    /// `[base + offset, {a, b, …}]`: the address of a tensor map, and coordinates.
    Tensor(Box<Operand>, i64, Vec<Operand>),
    /// `{a, b, …}`.
    Vector(Vec<Operand>),
    /// `d|p`: a value and a predicate.
    Pair(Box<Operand>, Box<Operand>),
    /// `(a, b, …)`: the arguments or results of a call.
    List(Vec<Operand>),
    /// `_`: a result that is not wanted.
    Sink,
}
