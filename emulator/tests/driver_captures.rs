//! Stream capture through the driver API: what is recorded, how streams join and leave, and what is refused.

mod cuda;

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cuda::*;

const GLOBAL: i32 = 0;
const THREAD_LOCAL: i32 = 1;
const RELAXED: i32 = 2;

/// Captures forbid calls of other threads, so the tests come one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Bench {
    put: Handle,
    log: Handle,
    stream: Handle,
    other: Handle,
    memory: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Self {
        let alone = alone();
        context();
        let module = module(PTX);
        let (put, log) = (function(module, "put"), function(module, "log"));
        Self { put, log, stream: stream(), other: stream(), memory: upload(&[0; 16]), _alone: alone }
    }

    fn begin(&self, mode: i32) {
        ok(cuStreamBeginCapture_v2(self.stream, mode));
    }

    fn log(&self, stream: Handle, value: u64) {
        ok(launch(self.log, 1, stream, &[self.memory, value]));
    }

    fn end(&self) -> Result<Handle, Code> {
        let mut graph = 77;
        match cuStreamEndCapture(self.stream, &mut graph) {
            SUCCESS => Ok(graph),
            code => {
                assert_eq!(graph, 0);
                Err(code)
            }
        }
    }

    fn status(&self, stream: Handle) -> i32 {
        let mut status = 9;
        ok(cuStreamIsCapturing(stream, &mut status));
        status
    }

    /// Makes the other stream come after what is captured.
    fn fork(&self) -> Handle {
        let event = event();
        ok(cuEventRecord(event, self.stream));
        ok(cuStreamWaitEvent(self.other, event, 0));
        event
    }

    fn join(&self) {
        let event = event();
        ok(cuEventRecord(event, self.other));
        ok(cuStreamWaitEvent(self.stream, event, 0));
    }

    /// The numbers that were logged, in their order.
    fn logged(&self) -> Vec<u32> {
        let found = results(self.memory, 16);
        found[1..=found[0] as usize].to_vec()
    }
}

#[test]
fn a_capture_records_and_does_nothing() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let bench = Bench::new();
    let inner = graph();
    kernel_node(inner, &[], bench.log, bench.memory, 9);
    let inner = instantiate(inner);
    bench.begin(THREAD_LOCAL);
    bench.log(bench.stream, 1);
    ok(cuMemsetD32Async(bench.memory + 40, 7, 2, bench.stream));
    ok(cuMemsetD2D8Async(bench.memory + 52, 4, 5, 1, 2, bench.stream));
    ok(cuMemcpyDtoDAsync_v2(bench.memory + 48, bench.memory + 40, 4, bench.stream));
    ok(cuLaunchHostFunc(bench.stream, increment, (&raw const CALLS).cast_mut().cast()));
    ok(cuGraphLaunch(inner, bench.stream));
    assert_eq!(bench.status(bench.stream), 1);
    let graph = bench.end().unwrap();
    assert_eq!(bench.status(bench.stream), 0);
    assert_eq!(results(bench.memory, 16), [0; 16]);
    let found = nodes(graph);
    assert_eq!(found.iter().map(|node| node_type(*node)).collect::<Vec<_>>(), [0, 2, 2, 1, 3, 4]);
    for pair in found.windows(2) {
        assert_eq!(dependencies(pair[1]), [pair[0]]);
    }
    // the parameters are those of the calls
    let mut fill = MemsetNode { to: 0, pitch: 9, value: 0, element: 0, width: 0, height: 0 };
    ok(cuGraphMemsetNodeGetParams(found[1], &mut fill));
    assert_eq!((fill.to, fill.value, fill.element, fill.width, fill.height), (bench.memory + 40, 7, 4, 2, 1));
    ok(cuGraphMemsetNodeGetParams(found[2], &mut fill));
    assert_eq!((fill.pitch, fill.element, fill.width, fill.height), (4, 1, 1, 2));
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, bench.stream));
    assert_eq!(bench.logged(), [1, 9]);
    assert_eq!(results(bench.memory + 40, 5), [7, 7, 7, 5, 5]);
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[test]
fn streams_fork_and_join() {
    let bench = Bench::new();
    bench.begin(THREAD_LOCAL);
    bench.log(bench.stream, 1);
    bench.fork();
    assert_eq!(bench.status(bench.other), 1);
    bench.log(bench.other, 2);
    bench.log(bench.stream, 3);
    bench.join();
    bench.log(bench.stream, 4);
    let graph = bench.end().unwrap();
    assert_eq!(bench.status(bench.other), 0);
    let [first, left, right, last] = nodes(graph)[..] else { panic!("four nodes") };
    assert_eq!((dependencies(left), dependencies(right)), (vec![first], vec![first]));
    let mut before = dependencies(last);
    before.sort_unstable();
    assert_eq!(before, [left, right]);
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, bench.stream));
    let logged = bench.logged();
    assert_eq!((logged[0], logged[3], logged.len()), (1, 4, 4));
}

#[test]
fn what_was_forked_has_to_be_joined() {
    let bench = Bench::new();
    bench.begin(THREAD_LOCAL);
    bench.log(bench.stream, 1);
    bench.fork();
    // A stream that only waited has nothing to be joined.
    bench.end().unwrap();
    bench.begin(THREAD_LOCAL);
    bench.log(bench.stream, 1);
    bench.fork();
    bench.log(bench.other, 2);
    // Only where it began can it end.
    let mut graph = 0;
    assert_eq!(cuStreamEndCapture(bench.other, &mut graph), CAPTURE_UNMATCHED);
    assert_eq!(bench.end(), Err(CAPTURE_UNJOINED));
    assert_eq!((bench.status(bench.stream), bench.status(bench.other)), (0, 0));
    assert_eq!(bench.end(), Err(ILLEGAL_STATE));
    // also if the stream is gone
    bench.begin(THREAD_LOCAL);
    bench.log(bench.stream, 1);
    bench.fork();
    bench.log(bench.other, 2);
    ok(cuStreamDestroy_v2(bench.other));
    assert_eq!(bench.end(), Err(CAPTURE_UNJOINED));
    bench.log(bench.stream, 5);
    assert_eq!(bench.logged(), [5]);
}

#[test]
fn captures_are_apart_from_other_work() {
    let bench = Bench::new();
    let event = event();
    bench.log(bench.other, 1);
    ok(cuEventRecord(event, bench.other));
    // work outside the capture
    bench.begin(THREAD_LOCAL);
    assert_eq!(cuStreamWaitEvent(bench.stream, event, 0), CAPTURE_ISOLATION);
    assert_eq!(bench.status(bench.stream), 2);
    assert_eq!(launch(bench.log, 1, bench.stream, &[bench.memory, 3]), CAPTURE_INVALIDATED);
    assert_eq!(bench.end(), Err(CAPTURE_INVALIDATED));
    // another capture: both end
    bench.begin(THREAD_LOCAL);
    ok(cuStreamBeginCapture_v2(bench.other, THREAD_LOCAL));
    ok(cuEventRecord(event, bench.other));
    assert_eq!(cuStreamWaitEvent(bench.stream, event, 0), CAPTURE_MERGE);
    let mut graph = 0;
    assert_eq!(cuStreamEndCapture(bench.other, &mut graph), CAPTURE_INVALIDATED);
    assert_eq!(bench.end(), Err(CAPTURE_INVALIDATED));
    // an event of a capture tells nothing, in it and after it, until it is recorded anew
    bench.begin(THREAD_LOCAL);
    ok(cuEventRecord(event, bench.stream));
    let mut time = 0.0;
    assert_eq!(cuEventQuery(event), CAPTURED_EVENT);
    assert_eq!(cuEventSynchronize(event), CAPTURED_EVENT);
    assert_eq!(cuEventElapsedTime(&mut time, event, event), CAPTURED_EVENT);
    bench.end().unwrap();
    assert_eq!(cuStreamWaitEvent(bench.other, event, 0), CAPTURED_EVENT);
    ok(cuEventRecord(event, bench.other));
    ok(cuEventSynchronize(event));
    // events that are recorded outside, or waited for there, are nodes
    bench.begin(THREAD_LOCAL);
    ok(cuStreamWaitEvent(bench.stream, event, 1));
    ok(cuEventRecordWithFlags(event, bench.stream, 1));
    let graph = bench.end().unwrap();
    assert_eq!(nodes(graph).into_iter().map(node_type).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(bench.logged(), [1]);
}

#[test]
fn calls_that_end_a_capture() {
    let bench = Bench::new();
    let ends = |mode, call: &dyn Fn() -> Code| {
        bench.begin(mode);
        let code = call();
        (code, bench.status(bench.stream), bench.end().err())
    };
    let gone = (CAPTURE_UNSUPPORTED, 2, Some(CAPTURE_INVALIDATED));
    assert_eq!(ends(THREAD_LOCAL, &|| cuStreamSynchronize(bench.stream)), gone);
    assert_eq!(ends(THREAD_LOCAL, &|| cuStreamQuery(bench.stream)), gone);
    assert_eq!(ends(RELAXED, &|| cuCtxSynchronize()), gone);
    let mut address = 0;
    let allocate = || {
        let mut address = 0;
        cuMemAlloc_v2(&mut address, 4)
    };
    assert_eq!(ends(THREAD_LOCAL, &allocate), gone);
    assert_eq!(ends(GLOBAL, &allocate), gone);
    assert_eq!(ends(RELAXED, &allocate), (SUCCESS, 1, None));
    ok(cuMemAlloc_v2(&mut address, 4));
    // on another thread only a global capture forbids it, unless that thread does not care
    let elsewhere = |mode: i32| {
        let context = made(|context| cuCtxGetCurrent(context));
        let run = || {
            ok(cuCtxSetCurrent(context));
            let mut own = mode;
            ok(cuThreadExchangeStreamCaptureMode(&mut own));
            assert_eq!(own, GLOBAL);
            allocate()
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    };
    assert_eq!(ends(GLOBAL, &|| elsewhere(GLOBAL)), gone);
    for (mode, own) in [(GLOBAL, THREAD_LOCAL), (GLOBAL, RELAXED), (THREAD_LOCAL, GLOBAL), (RELAXED, GLOBAL)] {
        assert_eq!(ends(mode, &|| elsewhere(own)), (SUCCESS, 1, None), "{mode} {own}");
    }
    let mut wrong = 3;
    assert_eq!(cuThreadExchangeStreamCaptureMode(&mut wrong), INVALID_VALUE);
}

#[test]
fn only_the_thread_that_began_it_ends_a_capture() {
    let bench = Bench::new();
    let end_elsewhere = || {
        let (mut context, stream) = (0, bench.stream);
        ok(cuCtxGetCurrent(&mut context));
        let end = move || {
            ok(cuCtxSetCurrent(context));
            let mut graph = 0;
            cuStreamEndCapture(stream, &mut graph)
        };
        std::thread::scope(|scope| scope.spawn(end).join().unwrap())
    };
    for mode in [GLOBAL, THREAD_LOCAL] {
        bench.begin(mode);
        assert_eq!(end_elsewhere(), CAPTURE_WRONG_THREAD);
        bench.end().unwrap();
    }
    bench.begin(RELAXED);
    assert_eq!(end_elsewhere(), SUCCESS);
    assert_eq!(cuStreamBeginCapture_v2(bench.stream, 3), INVALID_VALUE);
    bench.begin(GLOBAL);
    assert_eq!(cuStreamBeginCapture_v2(bench.stream, GLOBAL), ILLEGAL_STATE);
    bench.end().unwrap();
}

#[test]
fn the_legacy_stream_keeps_away_from_captures() {
    let bench = Bench::new();
    assert_eq!(cuStreamBeginCapture_v2(0, GLOBAL), CAPTURE_UNSUPPORTED);
    // A stream that does not block is nothing to it.
    bench.begin(THREAD_LOCAL);
    ok(cuMemcpyHtoD_v2(bench.memory, [0u32].as_ptr().cast(), 4));
    ok(launch(bench.put, 1, 0, &[bench.memory + 4, 3]));
    bench.end().unwrap();
    assert_eq!(results(bench.memory, 2), [0, 3]);
    // one that does would have to be waited for
    let blocking = blocking_stream();
    let ends = |call: &dyn Fn() -> Code| {
        ok(cuStreamBeginCapture_v2(blocking, RELAXED));
        let code = call();
        let mut graph = 0;
        (code, cuStreamEndCapture(blocking, &mut graph))
    };
    let gone = (CAPTURE_IMPLICIT, CAPTURE_INVALIDATED);
    assert_eq!(ends(&|| launch(bench.put, 1, 0, &[bench.memory, 3])), gone);
    assert_eq!(ends(&|| cuMemcpyHtoD_v2(bench.memory, [1u32].as_ptr().cast(), 4)), gone);
    assert_eq!(ends(&|| cuStreamSynchronize(0)), gone);
    assert_eq!(ends(&|| cuEventRecord(event(), 0)), gone);
    // Nor can it join one.
    bench.begin(THREAD_LOCAL);
    let event = event();
    ok(cuEventRecord(event, bench.stream));
    assert_eq!(cuStreamWaitEvent(0, event, 0), CAPTURE_IMPLICIT);
    assert_eq!(bench.end(), Err(CAPTURE_INVALIDATED));
    assert_eq!(results(bench.memory, 2), [0, 3]);
}

#[test]
fn dependencies_can_be_asked_for_and_changed() {
    let bench = Bench::new();
    let (mut status, mut id, mut graph, mut after, mut count) = (9, 0, 0, null(), 9);
    let mut info = |stream| {
        ok(cuStreamGetCaptureInfo_v2(stream, &mut status, &mut id, &mut graph, &mut after, &mut count));
        // SAFETY: the list is valid until the next call with the stream.
        let nodes = if status == 1 { unsafe { std::slice::from_raw_parts(after, count) }.to_vec() } else { vec![] };
        (status, id, graph, nodes)
    };
    assert_eq!(info(bench.stream).0, 0);
    bench.begin(THREAD_LOCAL);
    let (_, first_id, captured, none) = info(bench.stream);
    assert_eq!(none, [0; 0]);
    bench.log(bench.stream, 1);
    let a = info(bench.stream).3;
    assert_eq!(a, nodes(captured));
    // A node that is added by hand, and taken into the order.
    let hand = kernel_node(captured, &a, bench.log, bench.memory, 2);
    ok(cuStreamUpdateCaptureDependencies(bench.stream, &hand, 1, 0));
    assert_eq!(info(bench.stream).3, [a[0], hand]);
    ok(cuStreamUpdateCaptureDependencies(bench.stream, &hand, 1, 1));
    assert_eq!(info(bench.stream).3, [hand]);
    assert_eq!(cuStreamUpdateCaptureDependencies(bench.stream, &Handle::MAX, 1, 1), INVALID_VALUE);
    assert_eq!(cuStreamUpdateCaptureDependencies(bench.stream, &hand, 1, 2), INVALID_VALUE);
    assert_eq!(cuStreamUpdateCaptureDependencies(bench.other, &hand, 1, 0), ILLEGAL_STATE);
    // edges with data are told only to those who ask for data
    let programmatic: EdgeData = [1, 0, 1, 0, 0, 0, 0, 0];
    ok(cuStreamUpdateCaptureDependencies_v2(bench.stream, &hand, &programmatic, 1, 1));
    let (mut status, mut data, mut count) = (0, null(), 0);
    let mut list = null();
    let stream = bench.stream;
    let no = null_mut();
    assert_eq!(cuStreamGetCaptureInfo_v2(stream, &mut status, null_mut(), no, &mut list, &mut count), LOSSY_QUERY);
    ok(cuStreamGetCaptureInfo_v3(stream, &mut status, null_mut(), no, &mut list, &mut data, &mut count));
    // SAFETY: as above.
    assert_eq!((count, unsafe { data.read() }), (1, programmatic));
    bench.log(bench.stream, 3);
    assert_eq!(bench.end(), Ok(captured));
    let last = nodes(captured)[2];
    let (mut from, mut edge, mut count) = ([0], [[9u8; 8]], 1);
    ok(cuGraphNodeGetDependencies_v2(last, from.as_mut_ptr(), edge.as_mut_ptr(), &mut count));
    assert_eq!((from, edge), ([hand], [programmatic]));
    bench.begin(THREAD_LOCAL);
    assert_ne!(info(bench.stream).1, first_id);
    bench.end().unwrap();
}

#[test]
fn a_capture_can_go_into_a_graph_that_there_is() {
    let bench = Bench::new();
    let graph = graph();
    let first = kernel_node(graph, &[], bench.log, bench.memory, 1);
    ok(cuStreamBeginCaptureToGraph(bench.stream, graph, &first, null(), 1, THREAD_LOCAL));
    bench.log(bench.stream, 2);
    assert_eq!(bench.end(), Ok(graph));
    let found = nodes(graph);
    assert_eq!((found[0], dependencies(found[1])), (first, vec![first]));
    assert_eq!(cuStreamBeginCaptureToGraph(bench.stream, graph, &Handle::MAX, null(), 1, THREAD_LOCAL), INVALID_VALUE);
    // What fails leaves the graph to its owner.
    ok(cuStreamBeginCaptureToGraph(bench.stream, graph, null(), null(), 0, THREAD_LOCAL));
    assert_eq!(cuStreamSynchronize(bench.stream), CAPTURE_UNSUPPORTED);
    assert_eq!(bench.end(), Err(CAPTURE_INVALIDATED));
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, bench.stream));
    assert_eq!(bench.logged(), [1, 2]);
}

#[test]
fn launches_that_begin_early_have_edges_that_say_so() {
    let bench = Bench::new();
    let launch_with = |attributes: &[Attribute], stream, value| {
        let (attributes, count) = (attributes.as_ptr(), attributes.len() as u32);
        let config = LaunchConfig { grid: [1; 3], block: [1; 3], shared: 0, stream, attributes, count };
        cuLaunchKernelEx(&config, bench.log, Arguments::new(&[bench.memory, value]).as_ptr(), null_mut())
    };
    let edge_of = |node| {
        let (mut from, mut edge, mut count) = ([0], [[9u8; 8]], 1);
        ok(cuGraphNodeGetDependencies_v2(node, from.as_mut_ptr(), edge.as_mut_ptr(), &mut count));
        (from[0], edge[0])
    };
    let event = event();
    bench.begin(THREAD_LOCAL);
    bench.log(bench.stream, 1);
    // serialised early; and by an event of the blocks' beginning, in another stream
    assert_eq!(launch_with(&[Attribute::new(6, &[1])], bench.stream, 2), SUCCESS);
    let of_event = Attribute::new(7, &[event as u32, (event as u64 >> 32) as u32, 0, 1]);
    assert_eq!(launch_with(&[of_event], bench.stream, 3), SUCCESS);
    ok(cuStreamWaitEvent(bench.other, event, 0));
    assert_eq!(launch_with(&[Attribute::new(6, &[1])], bench.other, 4), SUCCESS);
    bench.join();
    let graph = bench.end().unwrap();
    let [a, b, c, d] = nodes(graph)[..] else { panic!("four nodes") };
    assert_eq!(edge_of(b), (a, [1, 0, 1, 0, 0, 0, 0, 0]));
    assert_eq!(edge_of(c), (b, [0; 8]));
    assert_eq!(edge_of(d), (c, [2, 0, 1, 0, 0, 0, 0, 0]));
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, bench.stream));
    assert_eq!(bench.logged(), [1, 2, 3, 4]);
}

#[test]
fn allocations_in_the_order_of_a_stream_are_nodes() {
    let bench = Bench::new();
    bench.begin(THREAD_LOCAL);
    let address = made(|address| cuMemAllocAsync(address, 64, bench.stream));
    ok(launch(bench.put, 1, bench.stream, &[address, 6]));
    ok(cuMemcpyDtoDAsync_v2(bench.memory, address, 4, bench.stream));
    ok(cuMemFreeAsync(address, bench.stream));
    let graph = bench.end().unwrap();
    assert_eq!(nodes(graph).into_iter().map(node_type).collect::<Vec<_>>(), [10, 0, 1, 11]);
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, bench.stream));
    assert_eq!(results(bench.memory, 1), [6]);
    // What no graph has allocated none can free.
    bench.begin(THREAD_LOCAL);
    assert_eq!(cuMemFreeAsync(bench.memory, bench.stream), INVALID_VALUE);
    assert_eq!(bench.end(), Err(CAPTURE_INVALIDATED));
}
