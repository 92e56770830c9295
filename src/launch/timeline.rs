//! What each launch takes, by events.

use std::cell::RefCell;
use std::ffi::c_void;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use cudarc::driver::sys::{self, CUevent_flags as EventFlags};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result};

use super::argument::Region;
use super::contract::Geometry;
use super::error::{GraphError, LaunchError};
use super::graph::Graph;
use super::kernels::{Kernel, KernelSet};
use super::queue::Queue;
use super::{Target, is_capturing, sealed};

/// A queue that measures each launch: an event of the device before it, and one after.
///
/// Whatever is launched onto a queue can be launched onto a timeline, one projection as well as a whole model:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use warpwright::{Buffer, kernel::{Kernels, rms_norm::RmsNorm}, launch::Timeline};
/// # let context = warpwright::device::open(0)?;
/// # let (kernels, stream) = (Kernels::load(&context)?, context.new_stream()?);
/// # let (x, weight) = (Buffer::<f32>::zeroed(&stream, 2)?, Buffer::<f32>::zeroed(&stream, 2)?);
/// # let mut out = Buffer::<f32>::zeroed(&stream, 2)?;
/// let timeline = Timeline::new(kernels.on(&stream));
/// timeline.hold(|| RmsNorm { x: &x, weight: &weight, out: &mut out, rows: 1, dim: 2, eps: 1e-6 }.launch(&timeline))??;
/// for launch in timeline.finish()? {
///     println!("{}: {:.2} us", launch.kernel, launch.seconds * 1e6);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Between the two events is all that a launch takes by itself, its start and its end too, of which launches that follow one
/// another in a graph share a part. A module is loaded when a kernel of it is first launched: launch each once before, and
/// take more than one measurement.
pub struct Timeline<'a, S> {
    queue: Queue<'a, S>,
    launches: RefCell<Vec<Pending>>,
    /// Events that were used before.
    spare: RefCell<Vec<CudaEvent>>,
}

/// A launch that was submitted.
struct Pending {
    kernel: &'static str,
    geometry: Geometry,
    arguments: Vec<TimedArgument>,
    events: [CudaEvent; 2],
}

/// A launch, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedLaunch {
    /// The kernel, with the arguments of its template.
    pub kernel: &'static str,
    /// Its grid and block.
    pub geometry: Geometry,
    /// The memory that it was given. A kernel need not touch all of it: of a table that it indexes it reads some rows.
    pub arguments: Vec<TimedArgument>,
    /// From before it to after it, on the device.
    pub seconds: f64,
}

/// Memory that a launch was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedArgument {
    /// The parameter.
    pub name: &'static str,
    /// The size of the memory.
    pub bytes: u64,
    /// Whether the kernel may write it.
    pub written: bool,
}

/// How long a stream is held at most. Submitting a step of a model takes a few milliseconds; a queue of the driver that is
/// full would wait for ever.
const HOLD: Duration = Duration::from_millis(200);

impl<'a, S: KernelSet> Timeline<'a, S> {
    /// A timeline on a queue.
    #[must_use]
    pub fn new(queue: Queue<'a, S>) -> Self {
        Self { queue, launches: RefCell::default(), spare: RefCell::default() }
    }

    /// Submits what `work` launches while the stream is held, and then lets it run: so that no launch waits for the host,
    /// which would be in its time. The stream is held for a fifth of a second at most.
    ///
    /// # Errors
    /// What the driver says. What `work` returns is returned as it is.
    pub fn hold<R>(&self, work: impl FnOnce() -> R) -> Result<R, DriverError> {
        let stream = self.queue.stream();
        stream.context().bind_to_thread()?;
        // As a part of somebody's graph the function would run more than once.
        if is_capturing(stream)? {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
        }
        let gate = Gate::default();
        let argument = Arc::into_raw(Arc::clone(&gate.0)).cast_mut().cast::<c_void>();
        // SAFETY: the function takes back the count that it is given, once.
        let held = unsafe { result::stream::launch_host_function(stream.cu_stream(), wait_for_gate, argument) };
        if held.is_err() {
            // SAFETY: the driver did not take the function, so the count is still ours.
            drop(unsafe { Arc::from_raw(argument.cast_const().cast::<Opening>()) });
        }
        held?;
        // The gate opens when it is dropped, after a panic too.
        let result = work();
        drop(gate);
        Ok(result)
    }

    /// Waits for all launches since the last call, and returns them in their order.
    ///
    /// # Errors
    /// What the driver says; then the launches are forgotten.
    pub fn finish(&self) -> Result<Vec<TimedLaunch>, DriverError> {
        let pending = self.launches.take();
        let mut spare = self.spare.borrow_mut();
        let mut launches = Vec::with_capacity(pending.len());
        for Pending { kernel, geometry, arguments, events: [before, after] } in pending {
            let seconds = seconds_between(&before, &after)?;
            launches.push(TimedLaunch { kernel, geometry, arguments, seconds });
            spare.extend([before, after]);
        }
        Ok(launches)
    }

    /// The seconds between two events with nothing between them: what the measuring itself adds to each launch.
    ///
    /// # Errors
    /// What the driver says.
    pub fn overhead(&self) -> Result<f64, DriverError> {
        let stream = self.queue.stream();
        let (before, after) = (self.event()?, self.event()?);
        self.hold(|| before.record(stream).and_then(|()| after.record(stream)))??;
        let seconds = seconds_between(&before, &after)?;
        self.spare.borrow_mut().extend([before, after]);
        Ok(seconds)
    }

    fn event(&self) -> Result<CudaEvent, DriverError> {
        match self.spare.borrow_mut().pop() {
            Some(event) => Ok(event),
            None => timing_event(self.queue.stream().context()),
        }
    }
}

impl<S> sealed::Target for Timeline<'_, S> {}

impl<S: KernelSet> Target for Timeline<'_, S> {
    type Set = S;
    type Launched = ();

    unsafe fn submit(
        &self,
        kernel: &Kernel,
        geometry: Geometry,
        regions: &[&Region<'_>],
        arguments: &mut [*mut c_void],
    ) -> Result<(), LaunchError> {
        let failed = |error| LaunchError::driver(kernel.name, error);
        let stream = self.queue.stream();
        let [before, after] = [self.event().map_err(failed)?, self.event().map_err(failed)?];
        stream.context().bind_to_thread().map_err(failed)?;
        // An event of a stream that is being captured is of no use; the queue refuses the launch.
        if !is_capturing(stream).map_err(failed)? {
            before.record(stream).map_err(failed)?;
        }
        // SAFETY: as the caller says.
        unsafe { self.queue.submit(kernel, geometry, regions, arguments) }?;
        after.record(stream).map_err(failed)?;
        if !geometry.blocks.contains(&0) && !geometry.threads.contains(&0) {
            let argument = |region: &&Region<'_>| {
                let ((_, bytes), name, written) = (region.range(), region.name(), region.is_written());
                TimedArgument { name, bytes, written }
            };
            let arguments = regions.iter().filter(|region| !region.is_absent()).map(argument).collect();
            let pending = Pending { kernel: kernel.name, geometry, arguments, events: [before, after] };
            self.launches.borrow_mut().push(pending);
        }
        Ok(())
    }
}

impl<S> fmt::Debug for Timeline<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("launches", &self.launches.borrow().len()).finish_non_exhaustive()
    }
}

/// The seconds that a stream takes for what `work` submits to it, by events before and after. Waits for it.
///
/// # Errors
/// What `work` returns, or what the driver says.
pub fn time<E: From<DriverError>>(stream: &Arc<CudaStream>, work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let [before, after] = [timing_event(stream.context())?, timing_event(stream.context())?];
    before.record(stream)?;
    work()?;
    after.record(stream)?;
    Ok(seconds_between(&before, &after)?)
}

/// The median of the seconds that a replay of a graph takes, of `repetitions` (at least one) after `warm_up` that do not count.
///
/// # Errors
/// What [`Graph::launch`] has.
pub fn time_replays(
    graph: &Graph,
    stream: &Arc<CudaStream>,
    warm_up: usize,
    repetitions: usize,
) -> Result<f64, GraphError> {
    let mut seconds = Vec::with_capacity(repetitions);
    for n in 0..warm_up + repetitions.max(1) {
        // What is replayed first keeps the device busy while the host submits what is measured.
        graph.launch(stream)?;
        let took = time(stream, || graph.launch(stream))?;
        if n >= warm_up {
            seconds.push(took);
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

fn timing_event(context: &Arc<CudaContext>) -> Result<CudaEvent, DriverError> {
    context.new_event(Some(EventFlags::CU_EVENT_DEFAULT))
}

/// Waits for both.
fn seconds_between(before: &CudaEvent, after: &CudaEvent) -> Result<f64, DriverError> {
    Ok(f64::from(before.elapsed_ms(after)?) / 1e3)
}

/// Whether a gate is open, and what tells of it.
type Opening = (Mutex<bool>, Condvar);

/// What a held stream waits for. It opens when it is dropped.
#[derive(Default)]
struct Gate(Arc<Opening>);

impl Drop for Gate {
    fn drop(&mut self) {
        let (open, opened) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }
}

/// Waits until a gate is open, for a time.
///
/// # Safety
/// `gate` is a count of an [`Opening`], which this takes.
unsafe extern "C" fn wait_for_gate(gate: *mut c_void) {
    // SAFETY: as the caller says.
    let gate = unsafe { Arc::from_raw(gate.cast_const().cast::<Opening>()) };
    let (open, opened) = &*gate;
    let guard = open.lock().unwrap_or_else(PoisonError::into_inner);
    drop(opened.wait_timeout_while(guard, HOLD, |open| !*open));
}
