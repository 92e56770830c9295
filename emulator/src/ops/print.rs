//! The functions that the driver has for kernels to call: `vprintf` and `__assertfail`.

use super::memory::{LOCAL_BASE, PARAMETER_BASE, SHARED_BASE, WINDOW_SIZE};
use super::{Next, Operation, Variants};
use crate::exec::Warp;
use crate::fault::{Access, FaultKind};
use crate::memory::{Cell, Window};
use crate::print::{Arguments, print};
use crate::program::decode::Layout;
use crate::program::{MemoryKind, MemoryUse, Op};
use crate::ptx::ast::Space;

/// A function that no module defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Print,
    AssertFail,
}

impl Builtin {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "vprintf" => Some(Self::Print),
            "__assertfail" => Some(Self::AssertFail),
            _ => None,
        }
    }

    /// What it returns and takes.
    pub(crate) fn layout(self) -> Layout {
        match self {
            // format, arguments
            Self::Print => Layout { returns: vec![4], params: vec![8, 8] },
            // condition, file, line, function, size of a character
            Self::AssertFail => Layout { returns: Vec::new(), params: vec![8, 8, 4, 8, 8] },
        }
    }

    pub(crate) fn operation(self) -> Variants {
        match self {
            Self::Print => Variants::of::<Print>(),
            Self::AssertFail => Variants::of::<AssertFail>(),
        }
    }
}

/// The longest text that is read from memory, in bytes.
const MAX_TEXT: usize = 1 << 16;

impl Warp<'_> {
    /// The byte that a lane finds at a generic address.
    fn byte_at(&mut self, op: &Op, lane: u32, address: u64) -> Result<u8, FaultKind> {
        let memory = MemoryUse::weak(Space::Generic, 1, MemoryKind::Load);
        if self.is_observed() && !self.check(op, &memory, &[address; 32], 1 << lane) {
            return Err(self.take_fault());
        }
        let inside = |window: Window, base: u64| {
            let offset = address - base;
            window.contains(offset, 1).then(|| window.host.wrapping_add(offset as usize))
        };
        let at = if address.wrapping_sub(SHARED_BASE) < WINDOW_SIZE {
            inside(self.shared(), SHARED_BASE)
        } else if address.wrapping_sub(LOCAL_BASE) < WINDOW_SIZE {
            inside(self.local(lane), LOCAL_BASE)
        } else if address.wrapping_sub(PARAMETER_BASE) < WINDOW_SIZE {
            inside(self.parameters(), PARAMETER_BASE)
        } else {
            self.memory().resolve(address, 1)
        };
        let out_of_bounds = || FaultKind::OutOfBounds {
            access: Access::GlobalLoad,
            address,
            bytes: 1,
            nearest: self.memory().nearest(address),
        };
        // SAFETY: the byte is in memory that was found; all access to it while kernels run is atomic, and only this
        // thread uses shared and local memory.
        at.map(|at| unsafe { u8::load(at) }).ok_or_else(out_of_bounds)
    }

    fn text_at(&mut self, op: &Op, lane: u32, address: u64) -> Result<Vec<u8>, FaultKind> {
        let mut text = Vec::new();
        while text.len() < MAX_TEXT {
            match self.byte_at(op, lane, address.wrapping_add(text.len() as u64))? {
                0 => break,
                byte => text.push(byte),
            }
        }
        Ok(text)
    }

    /// The argument of a call by its place, of up to 8 bytes.
    fn argument(&self, op: &Op, place: usize, lane: u32) -> u64 {
        let part = &self.program().calls[op.d as usize].arguments[place];
        let at = self.frame_of(lane).wrapping_add(part.from as usize);
        let mut value = [0; 8];
        // SAFETY: the decoder puts arguments inside the frame, and made sure of their number and sizes.
        unsafe { at.copy_to_nonoverlapping(value.as_mut_ptr(), part.bytes as usize) };
        u64::from_le_bytes(value)
    }

    fn frame_of(&self, lane: u32) -> *mut u8 {
        self.local(lane).host.wrapping_add(self.frames()[lane as usize] as usize)
    }
}

/// What follows the format: a buffer, in which each argument is aligned to its size.
struct Buffer<'w, 'a> {
    warp: &'w mut Warp<'a>,
    op: &'w Op,
    lane: u32,
    at: u64,
}

impl Buffer<'_, '_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FaultKind> {
        self.at = self.at.wrapping_add(N as u64 - 1) & !(N as u64 - 1);
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.warp.byte_at(self.op, self.lane, self.at)?;
            self.at = self.at.wrapping_add(1);
        }
        Ok(bytes)
    }
}

impl Arguments for Buffer<'_, '_> {
    type Error = FaultKind;

    fn word(&mut self) -> Result<u32, FaultKind> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<u64, FaultKind> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self, address: u64) -> Result<Vec<u8>, FaultKind> {
        self.warp.text_at(self.op, self.lane, address)
    }
}

/// `vprintf(format, arguments)`: returns how many arguments were printed, or -1 if there is no format.
struct Print;

impl Operation for Print {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        print_lanes(warp, op, mask)
    }
}

#[inline(never)]
fn print_lanes(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
    let result = warp.program().calls[op.d as usize].results[0].to;
    for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
        let (format, arguments) = (warp.argument(op, 0, lane), warp.argument(op, 1, lane));
        let printed = if format == 0 {
            Ok((Vec::new(), -1))
        } else {
            let text = warp.text_at(op, lane, format);
            text.and_then(|format| print(&format, Buffer { warp, op, lane, at: arguments }))
        };
        match printed {
            Ok((text, count)) => {
                warp.print(&text);
                let to = warp.frame_of(lane).wrapping_add(result as usize);
                // SAFETY: the decoder puts results inside the frame, with the bytes that they have.
                unsafe { to.cast::<i32>().write_unaligned(count) };
            }
            Err(kind) => {
                warp.fault(kind, lane);
                return Next::Fault;
            }
        }
    }
    Next::Step
}

/// `__assertfail(condition, file, line, function, size)`
struct AssertFail;

impl Operation for AssertFail {
    #[inline(always)]
    fn run(warp: &mut Warp<'_>, op: &Op, mask: u32) -> Next {
        fail_assertion(warp, op, mask);
        Next::Fault
    }
}

#[cold]
#[inline(never)]
fn fail_assertion(warp: &mut Warp<'_>, op: &Op, mask: u32) {
    let lane = mask.trailing_zeros();
    let text = |warp: &mut Warp<'_>, place| {
        let text = match warp.argument(op, place, lane) {
            0 => Vec::new(),
            address => warp.text_at(op, lane, address)?,
        };
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let mut assertion = || {
        let line = warp.argument(op, 2, lane) as u32;
        let (message, file) = (text(warp, 0)?, text(warp, 1)?);
        Ok(FaultKind::Assertion { message, file, line, function: text(warp, 3)? })
    };
    let kind = assertion().unwrap_or_else(|fault| fault);
    warp.fault(kind, lane);
}
