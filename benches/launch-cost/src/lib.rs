//! Typed launches, and the same launches with cudarc's `launch_builder`: to be timed, and their allocations counted.
//!
//! Both are made in one process, of one kernel with arguments of the same kind, on a driver that does nothing
//! (`stub_libcuda`): what is left is what a launch costs the host, without the driver's own work.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use scale_add::ScaleAdd;
use warpwright::Buffer;
use warpwright::launch::KernelSet;

warpwright::kernels!();

const ROWS: u32 = 4;
const DIM: u32 = 1024;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count of what each thread asks of it.
#[derive(Debug)]
pub struct Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's word; the system's allocator gave it.
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's word; the system's allocator gave it.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How often this thread has allocated memory, if [`Counting`] is the program's allocator.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Makes as many launches.
pub type Launches = Box<dyn FnMut(u32)>;

/// Launches of one kind, in both ways.
#[allow(missing_debug_implementations, reason = "functions have nothing to show")]
pub struct Case {
    /// What the arguments are.
    pub name: &'static str,
    /// With a launcher of `kernels!()`.
    pub typed: Launches,
    /// With `launch_builder`.
    pub cudarc: Launches,
}

/// The pointer arguments of the kernel.
struct Arguments<M> {
    x: M,
    residual: M,
    weight: M,
    bias: M,
    out: M,
}

impl<M> Arguments<M> {
    /// With the memory that `allocate` makes for a place, of a length.
    fn new<E>(mut allocate: impl FnMut(usize, usize) -> Result<M, E>) -> Result<Self, E> {
        let (rows, dim) = (ROWS as usize, DIM as usize);
        Ok(Self {
            x: allocate(0, rows * dim)?,
            residual: allocate(1, rows * dim)?,
            weight: allocate(2, dim)?,
            bias: allocate(3, dim)?,
            out: allocate(4, rows * dim)?,
        })
    }

    /// Memory of `streams` in turn.
    fn buffers(streams: &[&Arc<CudaStream>]) -> Result<Arguments<Buffer<f32>>, Box<dyn Error>> {
        Ok(Arguments::new(|place, length| Buffer::zeroed(streams[place % streams.len()], length))?)
    }

    /// Memory of `streams` in turn.
    fn slices(streams: &[&Arc<CudaStream>]) -> Result<Arguments<CudaSlice<f32>>, Box<dyn Error>> {
        Ok(Arguments::new(|place, length| streams[place % streams.len()].alloc_zeros::<f32>(length))?)
    }
}

/// Launches with a launcher, whose fields are of types that only the place of use has.
macro_rules! typed {
    ($on:expr, $arguments:expr) => {{
        let (kernels, stream, mut of) = ($on.kernels.clone(), Arc::clone(&$on.stream), $arguments);
        let launches: Launches = Box::new(move |launches| {
            let queue = kernels.on(&stream);
            for _ in 0..launches {
                let (rows, dim) = (black_box(ROWS), black_box(DIM));
                let Arguments { x, residual, weight, bias, out } = &mut of;
                let launcher =
                    ScaleAdd { x: &*x, residual: &*residual, weight: &*weight, bias: &*bias, out, rows, dim };
                launcher.launch(&queue).expect("a launch");
            }
        });
        launches
    }};
}

/// A context with the kernel loaded in both ways, and streams.
struct Device {
    kernels: Kernels,
    function: CudaFunction,
    /// The one to launch on.
    stream: Arc<CudaStream>,
    others: [Arc<CudaStream>; 2],
}

impl Device {
    fn open(events: bool) -> Result<Self, Box<dyn Error>> {
        let context = CudaContext::new(0)?;
        if !events {
            // SAFETY: slices of this context are used and freed on one stream.
            unsafe { context.disable_event_tracking() };
        }
        let kernels = Kernels::load(&context)?;
        let symbol = Set::SYMBOLS[0];
        let module = context.load_module(Ptx::from_src(Set::MODULES[symbol.module].images[0].ptx))?;
        let function = module.load_function(symbol.name.to_str()?)?;
        let (stream, others) = (context.new_stream()?, [context.new_stream()?, context.new_stream()?]);
        Ok(Self { kernels, function, stream, others })
    }

    fn built(&self, of: Arguments<CudaSlice<f32>>) -> Launches {
        let (function, stream, mut of) = (self.function.clone(), Arc::clone(&self.stream), of);
        Box::new(move |launches| {
            for _ in 0..launches {
                let (rows, dim) = (black_box(ROWS), black_box(DIM));
                let blocks = (rows * dim).div_ceil(256);
                let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
                let mut builder = stream.launch_builder(&function);
                builder.arg(&of.x).arg(&of.residual).arg(&of.weight).arg(&of.bias).arg(&mut of.out);
                builder.arg(&rows).arg(&dim);
                // SAFETY: these are the kernel's arguments, in its order and of its types and lengths.
                unsafe { builder.launch(config) }.expect("a launch");
            }
        })
    }
}

/// All cases.
///
/// # Errors
/// There is no driver, or it refuses.
pub fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    type Of = Arguments<()>;
    stub_libcuda::select()?;
    let (plain, tracked) = (Device::open(false)?, Device::open(true)?);
    let (home, [one, two]) = (&tracked.stream, &tracked.others);
    Ok(vec![
        Case {
            name: "buffers, beside slices without events",
            typed: typed!(plain, Of::buffers(&[&plain.stream])?),
            cudarc: plain.built(Of::slices(&[&plain.stream])?),
        },
        Case {
            name: "buffers, beside slices with events",
            typed: typed!(tracked, Of::buffers(&[home])?),
            cudarc: tracked.built(Of::slices(&[home])?),
        },
        Case {
            name: "slices without events",
            typed: typed!(plain, Of::slices(&[&plain.stream])?),
            cudarc: plain.built(Of::slices(&[&plain.stream])?),
        },
        Case {
            name: "slices with events",
            typed: typed!(tracked, Of::slices(&[home])?),
            cudarc: tracked.built(Of::slices(&[home])?),
        },
        Case {
            name: "buffers of another stream, beside slices with events",
            typed: typed!(tracked, Of::buffers(&[one])?),
            cudarc: tracked.built(Of::slices(&[one])?),
        },
        Case {
            name: "buffers of two other streams, beside slices with events",
            typed: typed!(tracked, Of::buffers(&[one, two])?),
            cudarc: tracked.built(Of::slices(&[one, two])?),
        },
        Case {
            name: "slices with events of another stream",
            typed: typed!(tracked, Of::slices(&[one])?),
            cudarc: tracked.built(Of::slices(&[one])?),
        },
    ])
}
