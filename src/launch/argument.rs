//! What can be given to a kernel for a pointer.
//!
//! The traits here are sealed: memory that a launch names is always memory of a buffer or slice that the caller holds. A
//! bound on cudarc's `DevicePtr` would not do, since anybody can implement that for any address.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, DevicePtrMut, DeviceSlice, SyncOnDrop};

use super::error::LaunchError;
use super::queue::Queue;
use super::sealed::Argument;
use super::{KernelSet, Target};
use crate::buffer::{Buffer, Memory};

/// The stream of a region. A slice that is borrowed mutably cannot lend its own; memory that is absent has none.
enum Home<'a> {
    Absent,
    Borrowed(&'a Arc<CudaStream>),
    Owned(Arc<CudaStream>),
}

impl<'a> Home<'a> {
    /// The stream of a slice that is about to be borrowed mutably, for a launch onto a stream that is mostly the same.
    #[inline]
    fn beside(home: &Arc<CudaStream>, onto: &'a Arc<CudaStream>) -> Self {
        if Arc::ptr_eq(home, onto) { Self::Borrowed(onto) } else { Self::Owned(Arc::clone(home)) }
    }
}

/// cudarc's bookkeeping, unless there is none to do.
#[inline]
fn needed(guard: SyncOnDrop<'_>) -> Option<SyncOnDrop<'_>> {
    if matches!(guard, SyncOnDrop::Record(None)) {
        // Dropping it would be a call for nothing.
        std::mem::forget(guard);
        return None;
    }
    Some(guard)
}

/// Memory that a launch gives to a kernel.
pub struct Region<'a> {
    name: &'static str,
    written: bool,
    pointer: u64,
    elements: usize,
    bytes: usize,
    alignment: u64,
    /// The stream that the memory belongs to.
    home: Home<'a>,
    /// What keeps the memory, if it is counted.
    memory: Option<&'a Arc<Memory>>,
    /// cudarc's own bookkeeping, done when this is dropped after the launch.
    _guard: Option<SyncOnDrop<'a>>,
}

impl<'a> Region<'a> {
    fn new<T>(
        name: &'static str,
        written: bool,
        pointer: u64,
        elements: usize,
        home: Home<'a>,
        memory: Option<&'a Arc<Memory>>,
        guard: Option<SyncOnDrop<'a>>,
    ) -> Self {
        let bytes = elements * size_of::<T>();
        let alignment = align_of::<T>() as u64;
        Self { name, written, pointer, elements, bytes, alignment, home, memory, _guard: guard }
    }

    /// No memory: null, for a parameter that is optional.
    #[doc(hidden)]
    #[must_use]
    pub fn absent(name: &'static str) -> Self {
        Self::new::<u8>(name, false, 0, 0, Home::Absent, None, None)
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.home, Home::Absent)
    }

    /// The parameter that it is for.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many elements it has.
    #[must_use]
    #[inline]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The argument as the driver takes it.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn argument(&self) -> *mut c_void {
        (&raw const self.pointer).cast_mut().cast()
    }

    #[inline]
    pub(crate) fn home(&self) -> Option<&Arc<CudaStream>> {
        match &self.home {
            Home::Absent => None,
            Home::Borrowed(stream) => Some(stream),
            Home::Owned(stream) => Some(stream),
        }
    }

    pub(crate) fn memory(&self) -> Option<&'a Arc<Memory>> {
        self.memory
    }

    /// Its address, and how many bytes it has.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.pointer, self.bytes as u64)
    }

    pub(crate) fn is_written(&self) -> bool {
        self.written
    }

    pub(crate) fn check_alignment(&self, kernel: &'static str, alignment: u64) -> Result<(), LaunchError> {
        if self.pointer.is_multiple_of(alignment) {
            return Ok(());
        }
        Err(LaunchError::Alignment { kernel, parameter: self.name, address: self.pointer, alignment })
    }

    #[inline]
    fn overlaps(&self, other: &Self) -> bool {
        self.pointer < other.pointer.saturating_add(other.bytes as u64)
            && other.pointer < self.pointer.saturating_add(self.bytes as u64)
            && self.bytes > 0
            && other.bytes > 0
    }

    /// What holds for the memory of every launch: elements are aligned, all of it is in the context of the launch, and
    /// what is written is nothing else at the same time (the compiler assumes so of `__restrict__` pointers, and a kernel
    /// that checks an index relies on it not changing).
    #[inline(always)]
    pub(crate) fn check_all(
        regions: &[&Self],
        kernel: &'static str,
        context: &cudarc::driver::CudaContext,
    ) -> Result<(), LaunchError> {
        let mut known: Option<&Arc<CudaStream>> = None;
        for region in regions {
            // The alignment of a type is a power of two.
            if region.pointer & (region.alignment - 1) != 0 {
                region.check_alignment(kernel, region.alignment)?;
            }
            let Some(home) = region.home() else { continue };
            if !known.is_some_and(|known| Arc::ptr_eq(known, home)) {
                let own = home.context();
                if !std::ptr::eq(&raw const **own, context) && **own != *context {
                    let (buffer, target) = (own.ordinal(), context.ordinal());
                    return Err(LaunchError::Context { kernel, parameter: region.name, buffer, target });
                }
                known = Some(home);
            }
            if region.written {
                for other in regions {
                    if !std::ptr::eq(*region, *other) && region.overlaps(other) {
                        return Err(LaunchError::Overlap { kernel, written: region.name, other: other.name });
                    }
                }
            }
        }
        Ok(())
    }
}

/// Memory that a kernel launched onto `Q` may read as elements of type `T`. `P` names the parameter in messages.
///
/// References to [`Buffer`]s are; onto a queue also cudarc's slices and views. This trait is sealed.
///
/// # Safety
/// The region is memory that the argument holds, all of it initialised.
#[diagnostic::on_unimplemented(
    message = "the kernel parameter `{P}` reads elements of type `{T}`, which a `{Self}` does not give",
    label = "not memory of `{T}` that can be launched onto `{Q}`",
    note = "give a reference to a `Buffer<{T}>` (or, for a launch onto a queue, to a `CudaSlice<{T}>` or `CudaView<{T}>`)",
    note = "a graph takes only `Buffer`s, which it can keep alive"
)]
pub unsafe trait Read<Q: Target, T, P>: Argument {
    /// The memory.
    #[doc(hidden)]
    fn read<'a>(&'a self, name: &'static str, onto: &'a Q) -> Region<'a>;
}

/// Memory that a kernel launched onto `Q` may write as elements of type `T`. `P` names the parameter in messages.
///
/// Mutable references to [`Buffer`]s are; onto a queue also to cudarc's slices and mutable views. This trait is sealed.
///
/// # Safety
/// The region is memory that the argument holds, all of it initialised, and any bits are a `T`.
#[diagnostic::on_unimplemented(
    message = "the kernel parameter `{P}` writes elements of type `{T}`, which a `{Self}` does not let it",
    label = "not memory of `{T}` that a launch onto `{Q}` may write",
    note = "give a mutable reference to a `Buffer<{T}>` (or, for a launch onto a queue, to a `CudaSlice<{T}>` or \
            `CudaViewMut<{T}>`)",
    note = "a graph takes only `Buffer`s, which it can keep alive"
)]
pub unsafe trait Write<Q: Target, T, P>: Argument {
    /// The memory.
    #[doc(hidden)]
    fn written<'a>(&'a mut self, name: &'static str, onto: &'a Q) -> Region<'a>;
}

impl<T> Argument for &Buffer<T> {}
impl<T> Argument for &mut Buffer<T> {}
impl<T> Argument for &CudaSlice<T> {}
impl<T> Argument for &mut CudaSlice<T> {}
impl<T> Argument for CudaView<'_, T> {}
impl<T> Argument for &CudaView<'_, T> {}
impl<T> Argument for CudaViewMut<'_, T> {}
impl<T> Argument for &mut CudaViewMut<'_, T> {}

impl<T> Buffer<T> {
    pub(crate) fn region(&self, name: &'static str, written: bool) -> Region<'_> {
        let memory = self.memory();
        let home = Home::Borrowed(memory.stream());
        Region::new::<T>(name, written, self.address(), self.len(), home, Some(memory), None)
    }
}

// SAFETY: a buffer's memory is its own, and zeroed or written when it is allocated.
unsafe impl<Q: Target, T, P> Read<Q, T, P> for &Buffer<T> {
    #[inline]
    fn read<'a>(&'a self, name: &'static str, _: &'a Q) -> Region<'a> {
        self.region(name, false)
    }
}

// SAFETY: as above; a buffer's elements are plain data.
unsafe impl<Q: Target, T, P> Write<Q, T, P> for &mut Buffer<T> {
    #[inline]
    fn written<'a>(&'a mut self, name: &'static str, _: &'a Q) -> Region<'a> {
        self.region(name, true)
    }
}

// SAFETY (of all that follow): a slice or view holds its memory while it lives; cudarc's safe functions initialise it. The
// elements that kernels have are plain data, of which any bits are one.

// SAFETY: see above.
unsafe impl<S: KernelSet, T, P> Read<Queue<'_, S>, T, P> for &CudaSlice<T> {
    #[inline]
    fn read<'a>(&'a self, name: &'static str, onto: &'a Queue<'_, S>) -> Region<'a> {
        let (pointer, guard) = self.device_ptr(onto.stream());
        Region::new::<T>(name, false, pointer, self.len(), Home::Borrowed(self.stream()), None, needed(guard))
    }
}

// SAFETY: see above.
unsafe impl<S: KernelSet, T, P> Read<Queue<'_, S>, T, P> for CudaView<'_, T> {
    #[inline]
    fn read<'a>(&'a self, name: &'static str, onto: &'a Queue<'_, S>) -> Region<'a> {
        let (pointer, guard) = self.device_ptr(onto.stream());
        Region::new::<T>(name, false, pointer, self.len(), Home::Borrowed(self.stream()), None, needed(guard))
    }
}

// SAFETY: see above.
unsafe impl<S: KernelSet, T, P> Read<Queue<'_, S>, T, P> for &CudaView<'_, T> {
    #[inline]
    fn read<'a>(&'a self, name: &'static str, onto: &'a Queue<'_, S>) -> Region<'a> {
        Read::<Queue<'_, S>, T, P>::read(&**self, name, onto)
    }
}

// SAFETY: see above.
unsafe impl<S: KernelSet, T, P> Write<Queue<'_, S>, T, P> for &mut CudaSlice<T> {
    #[inline]
    fn written<'a>(&'a mut self, name: &'static str, onto: &'a Queue<'_, S>) -> Region<'a> {
        let (elements, home) = (self.len(), Home::beside(self.stream(), onto.stream()));
        let (pointer, guard) = self.device_ptr_mut(onto.stream());
        Region::new::<T>(name, true, pointer, elements, home, None, needed(guard))
    }
}

// SAFETY: see above.
unsafe impl<S: KernelSet, T, P> Write<Queue<'_, S>, T, P> for CudaViewMut<'_, T> {
    #[inline]
    fn written<'a>(&'a mut self, name: &'static str, onto: &'a Queue<'_, S>) -> Region<'a> {
        let (elements, home) = (self.len(), Home::beside(self.stream(), onto.stream()));
        let (pointer, guard) = self.device_ptr_mut(onto.stream());
        Region::new::<T>(name, true, pointer, elements, home, None, needed(guard))
    }
}

// SAFETY: see above.
unsafe impl<S: KernelSet, T, P> Write<Queue<'_, S>, T, P> for &mut CudaViewMut<'_, T> {
    #[inline]
    fn written<'a>(&'a mut self, name: &'static str, onto: &'a Queue<'_, S>) -> Region<'a> {
        Write::<Queue<'_, S>, T, P>::written(&mut **self, name, onto)
    }
}

/// No target at all. With only one target that takes slices, the compiler would infer it, and then complain of the graph
/// instead of the slice.
#[derive(Debug, Clone, Copy)]
pub enum Nowhere {}

impl super::sealed::Target for Nowhere {}

impl Target for Nowhere {
    type Set = NoKernels;
    type Launched = ();

    unsafe fn submit(
        &self,
        _: &super::Kernel,
        _: super::Geometry,
        _: &[&Region<'_>],
        _: &mut [*mut c_void],
    ) -> Result<(), LaunchError> {
        match *self {}
    }
}

/// The kernels that can be launched [`Nowhere`].
#[derive(Debug, Clone, Copy)]
pub enum NoKernels {}

// SAFETY: there are none.
unsafe impl KernelSet for NoKernels {
    const MANIFEST: &'static str = "";
    const MODULES: &'static [super::Module] = &[];
    const SYMBOLS: &'static [super::Symbol] = &[];
}

macro_rules! nowhere {
    ($($trait:ident::$method:ident for $type:ty, $this:ty;)*) => {$(
        // SAFETY: it is never called, since there is no `Nowhere`.
        #[diagnostic::do_not_recommend]
        unsafe impl<T, P> $trait<Nowhere, T, P> for $type {
            fn $method<'a>(self: $this, _: &'static str, onto: &'a Nowhere) -> Region<'a> {
                match *onto {}
            }
        }
    )*};
}
nowhere! {
    Read::read for &CudaSlice<T>, &'a Self;
    Read::read for CudaView<'_, T>, &'a Self;
    Read::read for &CudaView<'_, T>, &'a Self;
    Write::written for &mut CudaSlice<T>, &'a mut Self;
    Write::written for CudaViewMut<'_, T>, &'a mut Self;
    Write::written for &mut CudaViewMut<'_, T>, &'a mut Self;
}
