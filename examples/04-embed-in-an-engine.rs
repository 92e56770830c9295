//! An engine that is written with cudarc replaces one projection by a kernel of Warpwright's: its context, its stream, its
//! activations go in, and nothing else of it changes. The same is done with raw handles.
//!
//! `cargo run --example 04-embed-in-an-engine`

use std::error::Error;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, CudaView, CudaViewMut, sys};
use warpwright::Buffer;
use warpwright::kernel::Kernels;
use warpwright::kernel::matvec::MatvecQ1_0;
use warpwright::launch::LaunchError;
use warpwright::quant::{CHUNK, Format};
use warpwright::types::f16;
use warpwright_emulator::driver::{Choice, select};

const HIDDEN: usize = 256;
const ROWS: usize = 64;

/// What the engine has, before Warpwright: a context, a stream, and activations. Its projection goes over the host.
struct Engine {
    stream: Arc<CudaStream>,
    hidden: CudaSlice<f32>,
    /// Two projections, one after the other.
    projected: CudaSlice<f32>,
}

impl Engine {
    fn new(context: &Arc<CudaContext>) -> Result<Self, Box<dyn Error>> {
        let stream = context.new_stream()?;
        let hidden = stream.clone_htod(&(0..HIDDEN).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>())?;
        let projected = stream.alloc_zeros(2 * ROWS)?;
        Ok(Self { stream, hidden, projected })
    }

    fn project_on_the_host(&self, weights: &[f32]) -> Result<Vec<f32>, Box<dyn Error>> {
        let x = self.stream.clone_dtoh(&self.hidden)?;
        Ok(weights.chunks_exact(HIDDEN).map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum()).collect())
    }
}

/// The replacement: it has cudarc's types in its signatures, and keeps weights and kernels to itself.
struct Projection {
    kernels: Kernels,
    words: Buffer<u32>,
    scales: Buffer<f16>,
}

impl Projection {
    /// Uploads a matrix of Q1_0 blocks, to belong to the engine's stream.
    fn load(stream: &Arc<CudaStream>, blocks: &[u8]) -> Result<Self, Box<dyn Error>> {
        let packed = Format::Q1_0.pack(blocks, ROWS, HIDDEN)?;
        Ok(Self {
            kernels: Kernels::load(stream.context())?,
            words: Buffer::from_host(stream, packed.words())?,
            scales: Buffer::from_host(stream, packed.scales())?,
        })
    }

    /// `y = W x`, after what the stream has to do already.
    fn forward(
        &self,
        stream: &Arc<CudaStream>,
        x: &CudaView<'_, f32>,
        mut y: CudaViewMut<'_, f32>,
    ) -> Result<(), LaunchError> {
        let (words, scales, y) = (&self.words, &self.scales, &mut y);
        let (rows, chunks) = (ROWS as u32, (HIDDEN / CHUNK) as u32);
        // all of `y`, and stored
        let (stride, offset, add) = (rows, 0, false);
        // `x` as it is; a block for each 16 rows
        let (norm, eps, blocks) = (None::<&Buffer<f32>>, 0.0, rows.div_ceil(16));
        let queue = self.kernels.on(stream);
        MatvecQ1_0 { words, scales, norm, x, y, rows, chunks, stride, offset, add, eps, blocks }.launch(&queue)
    }
}

/// What an engine without cudarc has. It frees them itself.
struct RawEngine {
    ordinal: usize,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    hidden: sys::CUdeviceptr,
    projected: sys::CUdeviceptr,
}

/// cudarc's context around a raw one. It is made once and never dropped, since dropping it would destroy the engine's own.
///
/// # Safety
/// The context is one of the device, and stays.
unsafe fn attach(engine: &RawEngine) -> Result<ManuallyDrop<Arc<CudaContext>>, Box<dyn Error>> {
    // SAFETY: as the caller says.
    let context = unsafe { CudaContext::from_raw_context(engine.ordinal, engine.device, engine.context) }?;
    Ok(ManuallyDrop::new(context))
}

/// The same projection with raw handles: cudarc's objects are made around them, and taken apart without freeing them.
///
/// # Safety
/// Stream and memory are of the context, and stay until the work is done. There are `HIDDEN` and `ROWS` initialised
/// elements. Other streams that use them are put in order by the caller.
unsafe fn project_raw(
    engine: &RawEngine,
    context: &Arc<CudaContext>,
    projection: &Projection,
) -> Result<(), Box<dyn Error>> {
    // SAFETY: the stream is of this context and stays, as the caller says.
    let stream = unsafe { context.wrap_borrowed_stream(engine.stream) };
    // SAFETY: the memory is there and initialised, as the caller says; it is given back below, and not freed.
    let x = unsafe { stream.upgrade_device_ptr::<f32>(engine.hidden, HIDDEN) };
    // SAFETY: as above.
    let mut y = unsafe { stream.upgrade_device_ptr::<f32>(engine.projected, ROWS) };
    let launched = projection.forward(&stream, &x.as_view(), y.as_view_mut());
    // Before anything returns: a slice that is dropped frees its memory.
    x.leak();
    y.leak();
    Ok(launched?)
}

fn main() -> Result<(), Box<dyn Error>> {
    select(Choice::Auto)?;
    let context = CudaContext::new(0)?;

    // cudarc orders uses of a slice on several streams by events, two calls for each slice of each launch. An engine that
    // orders its own work turns that off before it allocates. Warpwright orders its launches either way: a launch on
    // another stream than a slice's own waits for that stream, and that stream for the launch.
    // SAFETY: the engine has one stream, and every slice is of that.
    unsafe { context.disable_event_tracking() };
    let mut engine = Engine::new(&context)?;

    // A matrix of Q1_0 blocks, 18 bytes for 128 weights: all scales 0.5, and signs that vary.
    let blocks: Vec<u8> = (0..ROWS * HIDDEN / CHUNK)
        .flat_map(|n| f16::from_f32(0.5).to_le_bytes().into_iter().chain((0..16).map(move |i| (31 * n + 7 * i) as u8)))
        .collect();
    let expected = engine.project_on_the_host(&Format::Q1_0.dequantize(&blocks)?)?;
    let projection = Projection::load(&engine.stream, &blocks)?;

    // The engine's own slices and views.
    let y = engine.projected.slice_mut(..ROWS);
    projection.forward(&engine.stream, &engine.hidden.as_view(), y)?;
    let found = engine.stream.clone_dtoh(&engine.projected.slice(..ROWS))?;
    assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-3));
    println!("with cudarc's objects: {:?}", &found[..4]);

    // A view of another length is an error before anything is launched.
    let longer = engine.projected.as_view_mut();
    let error = projection.forward(&engine.stream, &engine.hidden.as_view(), longer).expect_err("too long");
    println!("{error}");

    // The same with the handles alone, over zeros.
    let stream = Arc::clone(&engine.stream);
    stream.memset_zeros(&mut engine.projected)?;
    let raw = RawEngine {
        ordinal: context.ordinal(),
        device: context.cu_device(),
        context: context.cu_ctx(),
        stream: stream.cu_stream(),
        hidden: engine.hidden.leak(),
        projected: engine.projected.leak(),
    };
    // SAFETY: the context outlives this function.
    let attached = unsafe { attach(&raw) }?;
    // SAFETY: all are of this context, and there until they are freed below.
    unsafe { project_raw(&raw, &attached, &projection) }?;
    // SAFETY: as `leak` gave them. From here on they are freed when they are dropped.
    let (_hidden, projected) = unsafe {
        (
            stream.upgrade_device_ptr::<f32>(raw.hidden, HIDDEN),
            stream.upgrade_device_ptr::<f32>(raw.projected, 2 * ROWS),
        )
    };
    assert_eq!(stream.clone_dtoh(&projected.slice(..ROWS))?, found);
    println!("with raw handles: the same");
    println!("04-embed-in-an-engine: done");
    Ok(())
}
