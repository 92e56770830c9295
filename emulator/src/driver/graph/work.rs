//! What the nodes of a graph do, with the parameters as they were given.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use super::Graph;
use super::executable::Build;
use super::memory::GraphMemory;
use crate::driver::code::{Code, Result};
use crate::driver::context::{Context, Event};
use crate::driver::device;
use crate::driver::handle::Handle;
use crate::driver::operation::{HostFunction, KernelLaunch, Operation, Place, Rows};

/// Pitches over this are errors (`CU_DEVICE_ATTRIBUTE_MAX_PITCH`).
const MAX_PITCH: usize = i32::MAX as usize;

/// `CUmemorytype`
pub(crate) const HOST: c_uint = 1;
pub(crate) const DEVICE_MEMORY: c_uint = 2;
pub(crate) const ARRAY: c_uint = 3;
pub(crate) const UNIFIED: c_uint = 4;

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopySide {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) z: usize,
    pub(crate) level: usize,
    pub(crate) kind: c_uint,
    pub(crate) host: *mut c_void,
    pub(crate) device: u64,
    pub(crate) array: *mut c_void,
    pub(crate) reserved: *mut c_void,
    pub(crate) pitch: usize,
    pub(crate) height: usize,
}

/// `CUDA_MEMCPY3D`
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy3d {
    pub(crate) from: CopySide,
    pub(crate) to: CopySide,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) depth: usize,
}

// SAFETY: the pointers are addresses that nobody but the program, which has to keep them valid, follows.
unsafe impl Send for Copy3d {}
// SAFETY: as above.
unsafe impl Sync for Copy3d {}

impl CopySide {
    /// A side of a copy in one dimension.
    fn linear(place: &Place, bytes: usize) -> Self {
        let (kind, host, device) = match place {
            Place::Host(address) | Place::Watched(address, _) => (HOST, *address as *mut c_void, 0),
            Place::Device(address) => (DEVICE_MEMORY, std::ptr::null_mut(), *address),
            Place::Snapshot(bytes) => (HOST, bytes.as_ptr().cast_mut().cast(), 0),
        };
        let nothing = std::ptr::null_mut();
        let (array, reserved) = (nothing, nothing);
        Self { x: 0, y: 0, z: 0, level: 0, kind, host, device, array, reserved, pitch: bytes, height: 1 }
    }

    /// Checks the side of a copy of this extent, and that its memory is there.
    fn check(&self, width: usize, height: usize, depth: usize) -> Result<()> {
        if self.kind == ARRAY || self.level != 0 {
            // There are no arrays, which are for textures.
            return Err(Code::NOT_SUPPORTED);
        }
        if !matches!(self.kind, HOST | DEVICE_MEMORY | UNIFIED) || self.pitch > MAX_PITCH {
            return Err(Code::INVALID_VALUE);
        }
        let right = self.x.checked_add(width).ok_or(Code::INVALID_VALUE)?;
        let lower = self.y.checked_add(height).ok_or(Code::INVALID_VALUE)?;
        if (self.pitch != 0 && self.pitch < right) || (self.height != 0 && self.height < lower && depth > 1) {
            return Err(Code::INVALID_VALUE);
        }
        let last = self.offset(width, height, height - 1, depth - 1).and_then(|offset| offset.checked_add(width));
        let end = last.ok_or(Code::INVALID_VALUE)?;
        match self.kind {
            HOST if self.host.is_null() => Err(Code::INVALID_VALUE),
            HOST => Ok(()),
            _ => match device::resolve(self.device, end as u64) {
                Some(_) => Ok(()),
                None => Err(Code::INVALID_VALUE),
            },
        }
    }

    /// Where row `y` of slice `z` of a copy with rows of `width` bytes, and slices of `height` rows, begins.
    fn offset(&self, width: usize, height: usize, y: usize, z: usize) -> Option<usize> {
        let [pitch, slice] = self.steps(width, height);
        let rows = self.y.checked_add(y)?.checked_mul(pitch)?;
        self.z.checked_add(z)?.checked_mul(slice)?.checked_add(rows)?.checked_add(self.x)
    }

    /// The bytes from row to row and from slice to slice. A pitch, or a height of a slice, of 0 is that of the copy.
    fn steps(&self, width: usize, height: usize) -> [usize; 2] {
        let pitch = if self.pitch == 0 { width.saturating_add(self.x) } else { self.pitch };
        let rows = if self.height == 0 { height.saturating_add(self.y) } else { self.height };
        [pitch, pitch.saturating_mul(rows)]
    }

    fn place(&self, offset: usize) -> Place {
        match self.kind {
            HOST => Place::Host((self.host as usize).wrapping_add(offset)),
            _ => Place::Device(self.device.wrapping_add(offset as u64)),
        }
    }
}

impl Copy3d {
    /// A copy in one dimension.
    pub(crate) fn linear(to: &Place, from: &Place, bytes: usize) -> Self {
        let (from, to) = (CopySide::linear(from, bytes), CopySide::linear(to, bytes));
        Self { from, to, width: bytes, height: 1, depth: 1 }
    }

    fn is_empty(&self) -> bool {
        [self.width, self.height, self.depth].contains(&0)
    }

    fn is_linear(&self) -> bool {
        (self.height, self.depth) == (1, 1)
    }

    /// Checks a copy as the driver does when a node is given it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.from.check(self.width, self.height, self.depth)?;
        self.to.check(self.width, self.height, self.depth)
    }

    /// A copy of rows as a stream does it.
    fn of_rows(to: &Place, from: &Place, rows: &Rows) -> Self {
        let [width, height, depth] = rows.size.map(|size| size as usize);
        let side = |place: &Place, [pitch, slice]: [u64; 2]| {
            let height = slice.checked_div(pitch).unwrap_or(0) as usize;
            CopySide { pitch: pitch as usize, height, ..CopySide::linear(place, width) }
        };
        Self { from: side(from, rows.from), to: side(to, rows.to), width, height, depth }
    }

    fn operations(&self, operations: &mut Vec<Operation>) {
        if self.is_empty() {
            return;
        }
        // `check` has seen that the offsets fit.
        let Self { from, to, width, height, depth } = *self;
        let first = |side: &CopySide| side.place(side.offset(width, height, 0, 0).unwrap_or(0));
        let (to_place, from_place) = (first(&to), first(&from));
        operations.push(if self.is_linear() {
            Operation::Copy { to: to_place, from: from_place, bytes: width as u64 }
        } else {
            let steps = |side: &CopySide| side.steps(width, height).map(|bytes| bytes as u64);
            let size = [width, height, depth].map(|size| size as u64);
            Operation::CopyRows {
                to: to_place,
                from: from_place,
                rows: Rows { size, to: steps(&to), from: steps(&from) },
            }
        });
    }
}

/// `CUDA_MEMSET_NODE_PARAMS`
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill2d {
    pub(crate) to: u64,
    pub(crate) pitch: usize,
    pub(crate) value: c_uint,
    pub(crate) element: c_uint,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Fill2d {
    /// A fill of rows as a stream does it: an operation for each row.
    fn of_rows(rows: &[Operation]) -> Result<Self> {
        let [Operation::Fill { to, value, width, count }, rest @ ..] = rows else {
            return Err(Code::STREAM_CAPTURE_UNSUPPORTED);
        };
        let pitch = match rest.first() {
            Some(Operation::Fill { to: second, .. }) => (second - to) as usize,
            Some(_) => return Err(Code::STREAM_CAPTURE_UNSUPPORTED),
            None => 0,
        };
        let (element, width, height) = (*width as c_uint, *count as usize, rows.len());
        Ok(Self { to: *to, pitch, value: *value, element, width, height })
    }

    fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Checks a fill as the driver does when a node is given it.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { to, pitch, element, width, height, .. } = *self;
        if !matches!(element, 1 | 2 | 4) || !to.is_multiple_of(u64::from(element)) {
            return Err(Code::INVALID_VALUE);
        }
        if self.is_empty() {
            return Ok(());
        }
        let row = width.checked_mul(element as usize).ok_or(Code::INVALID_VALUE)?;
        let rows = height > 1;
        if rows && (pitch < row || pitch > MAX_PITCH || !pitch.is_multiple_of(element as usize)) {
            return Err(Code::INVALID_VALUE);
        }
        let before = if rows { pitch.checked_mul(height - 1).ok_or(Code::INVALID_VALUE)? } else { 0 };
        let bytes = before.checked_add(row).ok_or(Code::INVALID_VALUE)?;
        device::resolve(to, bytes as u64).map(|_| ()).ok_or(Code::INVALID_VALUE)
    }

    fn operations(&self, operations: &mut Vec<Operation>) {
        let (value, width, count) = (self.value, u64::from(self.element), self.width as u64);
        let row = |y: usize| self.to + (y * if self.height > 1 { self.pitch } else { 0 }) as u64;
        if !self.is_empty() {
            operations.extend((0..self.height).map(|y| Operation::Fill { to: row(y), value, width, count }));
        }
    }
}

/// What a node does.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Kernel(KernelLaunch),
    /// A copy, and the context that it is done in.
    Copy(Copy3d, Arc<Context>),
    /// A fill, and the context that it is done in.
    Fill(Fill2d, Arc<Context>),
    Host(HostFunction),
    /// A graph of the node's own.
    Child(Arc<Graph>),
    Empty,
    /// Waits for an event, which has this handle.
    Wait(Arc<Event>, Handle),
    Record(Arc<Event>, Handle),
    Allocate(Arc<GraphMemory>),
    Free(Arc<GraphMemory>),
}

impl Work {
    /// `CUgraphNodeType`
    pub(crate) fn kind(&self) -> c_uint {
        match self {
            Self::Kernel(_) => 0,
            Self::Copy(..) => 1,
            Self::Fill(..) => 2,
            Self::Host(_) => 3,
            Self::Child(_) => 4,
            Self::Empty => 5,
            Self::Wait(..) => 6,
            Self::Record(..) => 7,
            Self::Allocate(_) => 10,
            Self::Free(_) => 11,
        }
    }

    /// What a stream would do, as a node.
    pub(crate) fn of_operation(operation: Operation, context: &Arc<Context>) -> Result<Self> {
        Ok(match operation {
            Operation::Nothing => Self::Empty,
            Operation::Kernel(launch) => Self::Kernel(launch),
            Operation::Copy { to, from, bytes } => {
                Self::Copy(Copy3d::linear(&to, &from, bytes as usize), Arc::clone(context))
            }
            Operation::Fill { to, value, width, count } => {
                let (pitch, width, element) = (0, count as usize, width as c_uint);
                Self::Fill(Fill2d { to, pitch, value, element, width, height: 1 }, Arc::clone(context))
            }
            Operation::CopyRows { to, from, rows } => {
                Self::Copy(Copy3d::of_rows(&to, &from, &rows), Arc::clone(context))
            }
            Operation::Graph(rows) => Self::Fill(Fill2d::of_rows(&rows)?, Arc::clone(context)),
            Operation::Host(function) => Self::Host(function),
            _ => return Err(Code::STREAM_CAPTURE_UNSUPPORTED),
        })
    }

    /// This work as it replaces other work of the same kind, of which a kernel keeps the attributes.
    pub(crate) fn in_place_of(self, old: &Self) -> Result<Self> {
        match (self, old) {
            (Self::Kernel(launch), Self::Kernel(old)) => {
                let launch = KernelLaunch {
                    cooperative: old.cooperative,
                    cluster: old.cluster,
                    overlaps: old.overlaps,
                    attributes: old.attributes.clone(),
                    ..launch
                };
                launch.check()?;
                Ok(Self::Kernel(launch))
            }
            (Self::Child(_) | Self::Allocate(_) | Self::Free(_) | Self::Empty, _) => Err(Code::INVALID_VALUE),
            (new, old) if new.kind() == old.kind() => Ok(new),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    /// Whether an executable graph may have this work instead of `old`, which is of the same kind.
    pub(crate) fn may_replace(&self, old: &Self) -> bool {
        match (self, old) {
            (Self::Kernel(new), Self::Kernel(old)) => Arc::ptr_eq(&new.module.context, &old.module.context),
            (Self::Copy(new, context), Self::Copy(old, before)) => {
                let same_kinds = (new.from.kind, new.to.kind) == (old.from.kind, old.to.kind);
                let changed = new != old;
                let simple = new.is_linear() && old.is_linear() && !new.is_empty();
                Arc::ptr_eq(context, before) && same_kinds && (!changed || simple)
            }
            (Self::Fill(new, context), Self::Fill(old, before)) => {
                let same = (new.width, new.height, new.element) == (old.width, old.height, old.element)
                    && (new.pitch == old.pitch || new.height == 1);
                let simple = new.height == 1 && old.height == 1 && !new.is_empty();
                Arc::ptr_eq(context, before) && (same || simple)
            }
            (Self::Allocate(new), Self::Allocate(old)) | (Self::Free(new), Self::Free(old)) => Arc::ptr_eq(new, old),
            _ => self.kind() == old.kind(),
        }
    }

    /// Adds what the device does for it. `early` says that an edge lets a kernel begin before what is before it has ended.
    pub(super) fn operations(&self, early: bool, build: &mut Build, operations: &mut Vec<Operation>) -> Result<()> {
        match self {
            Self::Kernel(launch) => {
                let launch = launch.clone().with_clusters()?;
                operations.push(Operation::Kernel(KernelLaunch { overlaps: early, ..launch }));
            }
            Self::Copy(copy, _) => copy.operations(operations),
            Self::Fill(fill, _) => fill.operations(operations),
            Self::Host(function) => operations.push(Operation::Host(*function)),
            Self::Child(child) => operations.push(Operation::Graph(child.operations(&|_| true, build)?)),
            Self::Empty => {}
            Self::Wait(event, _) => build.wait(event, operations),
            Self::Record(event, _) => build.record(event, operations),
            Self::Allocate(memory) => build.allocate(memory, operations),
            Self::Free(memory) => build.free(memory, operations),
        }
        Ok(())
    }
}
