//! Graphs through the driver API: nodes, edges, copies, executable graphs and their updates, user objects.

mod cuda;

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use cuda::*;

/// A kernel of the module of this test, in a new context.
fn kernels() -> (Handle, impl Fn(&str) -> Handle) {
    let context = context();
    let module = module(PTX);
    (context, move |name: &str| function(module, name))
}

const PROGRAMMATIC: EdgeData = [1, 0, 1, 0, 0, 0, 0, 0];

#[test]
fn nodes_run_after_what_they_depend_on() {
    let (_, kernel) = kernels();
    let log = upload(&[0; 8]);
    let graph = graph();
    // a diamond whose nodes are added in another order than they run
    let last = kernel_node(graph, &[], kernel("log"), log, 4);
    let first = kernel_node(graph, &[], kernel("log"), log, 1);
    let left = kernel_node(graph, &[first], kernel("log"), log, 2);
    let right = kernel_node(graph, &[first], kernel("log"), log, 3);
    ok(cuGraphAddDependencies(graph, [left, right].as_ptr(), [last, last].as_ptr(), 2));
    let executable = instantiate(graph);
    let stream = stream();
    ok(cuGraphLaunch(executable, stream));
    let found = results(log, 5);
    assert_eq!((found[0], found[1], found[4]), (4, 1, 4));
    let mut middle = [found[2], found[3]];
    middle.sort_unstable();
    assert_eq!(middle, [2, 3]);
    // Changes of the graph change no executable one; launches come one after the other, whatever their streams.
    ok(cuGraphDestroy(graph));
    let other = crate::stream();
    ok(cuMemsetD8_v2(log, 0, 32));
    ok(cuCtxSynchronize());
    ok(cuGraphLaunch(executable, stream));
    ok(cuGraphExecDestroy(executable));
    assert_eq!(cuGraphLaunch(executable, other), INVALID_HANDLE);
    assert_eq!(results(log, 1), [4]);
}

#[test]
fn edges_can_be_asked_for_and_changed() {
    let (_, kernel) = kernels();
    let graph = graph();
    let out = upload(&[0]);
    let a = kernel_node(graph, &[], kernel("put"), out, 1);
    let b = kernel_node(graph, &[a], kernel("put"), out, 2);
    let c = empty_node(graph, &[a, b]);
    assert_eq!(nodes(graph), [a, b, c]);
    assert_eq!(dependencies(c), [a, b]);
    let mut count = 1;
    let mut roots = [0];
    ok(cuGraphGetRootNodes(graph, roots.as_mut_ptr(), &mut count));
    assert_eq!((roots, count), ([a], 1));
    let mut dependents = [7; 3];
    count = 3;
    ok(cuGraphNodeGetDependentNodes(a, dependents.as_mut_ptr(), &mut count));
    assert_eq!((dependents, count), ([b, c, 0], 2));
    // fewer than there are
    count = 1;
    ok(cuGraphNodeGetDependentNodes(a, dependents.as_mut_ptr(), &mut count));
    assert_eq!((dependents[0], count), (b, 1));

    let edges = || {
        let (mut from, mut to, mut data, mut count) = ([0; 8], [0; 8], [[9u8; 8]; 8], 8);
        ok(cuGraphGetEdges_v2(graph, from.as_mut_ptr(), to.as_mut_ptr(), data.as_mut_ptr(), &mut count));
        (0..count).map(|n| (from[n], to[n], data[n])).collect::<Vec<_>>()
    };
    assert_eq!(edges(), [(a, b, [0; 8]), (a, c, [0; 8]), (b, c, [0; 8])]);
    // an edge that is there, one to itself, one of another graph, one that is not there
    for (from, to) in [(a, b), (a, a), (a, Handle::MAX)] {
        assert_eq!(cuGraphAddDependencies(graph, &from, &to, 1), INVALID_VALUE);
    }
    assert_eq!(cuGraphRemoveDependencies(graph, &b, &a, 1), INVALID_VALUE);
    // all or nothing
    assert_eq!(cuGraphRemoveDependencies(graph, [a, b].as_ptr(), [b, a].as_ptr(), 2), INVALID_VALUE);
    assert_eq!(edges().len(), 3);
    // edges with data: only between kernels, and told only to those who ask for data
    ok(cuGraphRemoveDependencies(graph, &a, &b, 1));
    assert_eq!(cuGraphAddDependencies_v2(graph, &a, &c, &PROGRAMMATIC, 1), INVALID_VALUE);
    ok(cuGraphAddDependencies_v2(graph, &a, &b, &PROGRAMMATIC, 1));
    assert_eq!(edges()[0], (a, b, PROGRAMMATIC));
    let (mut from, mut to) = ([0; 8], [0; 8]);
    count = 8;
    assert_eq!(cuGraphGetEdges(graph, from.as_mut_ptr(), to.as_mut_ptr(), &mut count), LOSSY_QUERY);
    assert_eq!(cuGraphNodeGetDependencies(b, from.as_mut_ptr(), &mut count), LOSSY_QUERY);
    assert_eq!(cuGraphRemoveDependencies(graph, &a, &b, 1), INVALID_VALUE);
    ok(cuGraphRemoveDependencies_v2(graph, &a, &b, &PROGRAMMATIC, 1));
    // a node goes with its edges
    ok(cuGraphDestroyNode(b));
    assert_eq!((nodes(graph), dependencies(c)), (vec![a, c], vec![a]));
    assert_eq!(cuGraphDestroyNode(b), INVALID_VALUE);
    // a circle cannot be run, and who is in it is told
    ok(cuGraphAddDependencies(graph, &c, &a, 1));
    let mut executable = 0;
    assert_eq!(cuGraphInstantiateWithFlags(&mut executable, graph, 0), INVALID_VALUE);
    let mut params = InstantiateParams { flags: 0, upload: 0, node: 0, result: 99 };
    assert_eq!(cuGraphInstantiateWithParams(&mut executable, graph, &mut params), INVALID_VALUE);
    assert_eq!(params.result, 2);
    assert!([a, c].contains(&params.node));
    ok(cuGraphRemoveDependencies(graph, &c, &a, 1));
    ok(cuGraphInstantiateWithParams(&mut executable, graph, &mut params));
    assert_eq!((params.result, params.node), (0, 0));
    // what there is not, what contradicts itself, and what the emulator has not
    for (flags, code) in [(16, INVALID_VALUE), (1 | 4, INVALID_VALUE), (4, NOT_SUPPORTED)] {
        assert_eq!(cuGraphInstantiateWithFlags(&mut executable, graph, flags), code, "{flags}");
    }
    ok(cuGraphDestroy(graph));
    assert_eq!(cuGraphGetNodes(graph, null_mut(), &mut count), INVALID_HANDLE);
    assert_eq!(cuGraphDestroy(graph), INVALID_HANDLE);
}

#[test]
fn kernel_nodes_tell_and_take_parameters() {
    let (_, kernel) = kernels();
    let out = upload(&[0, 0]);
    let graph = graph();
    let node = kernel_node(graph, &[], kernel("put"), out, 5);
    let mut told = Arguments::new(&[0, 0]).node(0);
    ok(cuGraphKernelNodeGetParams_v2(node, &mut told));
    assert_eq!((told.function, told.grid, told.block, told.shared), (kernel("put"), [1; 3], [1; 3], 0));
    assert!(told.extra.is_null());
    // SAFETY: the node owns its two arguments.
    unsafe {
        assert_eq!(told.parameters.read().cast::<u64>().read(), out);
        assert_eq!(told.parameters.add(1).read().cast::<u32>().read(), 5);
    }
    let executable = instantiate(graph);
    let stream = stream();
    let mut six = Arguments::new(&[out + 4, 6]);
    ok(cuGraphKernelNodeSetParams_v2(node, &six.node(kernel("put"))));
    ok(cuGraphLaunch(executable, stream));
    assert_eq!(results(out, 2), [5, 0]);
    ok(cuGraphExecKernelNodeSetParams_v2(executable, node, &six.node(kernel("add"))));
    ok(cuGraphLaunch(executable, stream));
    ok(cuGraphLaunch(executable, stream));
    assert_eq!(results(out, 2), [5, 12]);
    // no function, no parameters, a block that is too large, a node of another kind
    let bad = |change: &dyn Fn(&mut KernelNode)| {
        let mut arguments = Arguments::new(&[out, 1]);
        let mut parameters = arguments.node(kernel("put"));
        change(&mut parameters);
        cuGraphKernelNodeSetParams_v2(node, &parameters)
    };
    assert_eq!(bad(&|node| node.function = 0), INVALID_HANDLE);
    assert_eq!(bad(&|node| node.parameters = null_mut()), INVALID_VALUE);
    assert_eq!(bad(&|node| node.block = [1025, 1, 1]), INVALID_VALUE);
    assert_eq!(bad(&|node| node.grid = [0, 1, 1]), INVALID_VALUE);
    let empty = empty_node(graph, &[]);
    assert_eq!(cuGraphKernelNodeSetParams_v2(empty, &six.node(kernel("put"))), INVALID_VALUE);
    assert_eq!(cuGraphKernelNodeGetParams_v2(empty, &mut told), INVALID_VALUE);
    // attributes
    let set = |node, attribute: Attribute| cuGraphKernelNodeSetAttribute(node, attribute.id, &attribute.value);
    let get = |node, id| {
        let mut value = AttributeValue([7; 16]);
        (cuGraphKernelNodeGetAttribute(node, id, &mut value), value.0[0])
    };
    assert_eq!(get(node, 8), (SUCCESS, 0));
    assert_eq!(set(node, Attribute::new(8, &[3])), SUCCESS);
    assert_eq!(set(node, Attribute::new(2, &[1])), SUCCESS);
    assert_eq!(set(node, Attribute::new(4, &[2, 1, 1])), INVALID_VALUE);
    assert_eq!(set(node, Attribute::new(99, &[0])), INVALID_VALUE);
    assert_eq!(set(empty, Attribute::new(8, &[3])), INVALID_VALUE);
    let other = kernel_node(graph, &[], kernel("add"), out, 5);
    ok(cuGraphKernelNodeCopyAttributes(other, node));
    assert_eq!((get(other, 8), get(other, 2)), ((SUCCESS, 3), (SUCCESS, 1)));
    assert_eq!(get(other, 99).0, INVALID_VALUE);
}

#[test]
fn copies_in_three_dimensions_and_fills_in_two() {
    let (context, _) = kernels();
    let stream = stream();
    // 4 slices of 5 rows of 6 bytes in pitches of 8, to pitches of 10
    let source: Vec<u8> = (0..4 * 5 * 8).map(|n| n as u8).collect();
    let from = upload(&source);
    let mut target = vec![0xEEu8; 4 * 7 * 10];
    let graph = graph();
    let mut copy = Copy3 {
        from: Side { x: 1, y: 1, z: 1, pitch: 8, height: 5, ..Side::device(from) },
        to: Side { x: 2, y: 3, z: 0, pitch: 10, height: 7, ..Side::host(target.as_mut_ptr()) },
        width: 6,
        height: 3,
        depth: 2,
    };
    let mut node = made(|node| cuGraphAddMemcpyNode(node, graph, null(), 0, &copy, context));
    assert_eq!(node_type(node), 1);
    let mut told = copy;
    told.width = 0;
    ok(cuGraphMemcpyNodeGetParams(node, &mut told));
    assert_eq!(told, copy);
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, stream));
    ok(cuStreamSynchronize(stream));
    for (n, &found) in target.iter().enumerate() {
        let (x, y, z) = (n % 10, n / 10 % 7, n / 70);
        let inside = (2..8).contains(&x) && (3..6).contains(&y) && z < 2;
        let expected = if inside { source[((z + 1) * 5 + y - 2) * 8 + x - 1] } else { 0xEE };
        assert_eq!(found, expected, "{x} {y} {z}");
    }
    // past the end, rows that overlap, an array, a level; copies in more dimensions cannot be changed when executable
    for change in
        [|copy: &mut Copy3| copy.depth = 4, |copy: &mut Copy3| copy.from.pitch = 6, |copy: &mut Copy3| copy.to.host = 0]
    {
        let mut bad = copy;
        change(&mut bad);
        assert_eq!(cuGraphMemcpyNodeSetParams(node, &bad), INVALID_VALUE);
    }
    let array = Copy3 { from: Side { kind: 3, ..copy.from }, ..copy };
    assert_eq!(cuGraphMemcpyNodeSetParams(node, &array), NOT_SUPPORTED);
    copy.from.x = 0;
    assert_eq!(cuGraphExecMemcpyNodeSetParams(executable, node, &copy, context), INVALID_VALUE);
    ok(cuGraphMemcpyNodeSetParams(node, &copy));

    let mut fill = MemsetNode { to: from + 2, pitch: 16, value: 0xABCD, element: 2, width: 3, height: 4 };
    let fills = crate::graph();
    ok(cuGraphAddMemsetNode(&mut node, fills, null(), 0, &fill, context));
    let mut told = MemsetNode { to: 0, ..fill };
    ok(cuGraphMemsetNodeGetParams(node, &mut told));
    assert_eq!((told, node_type(node)), (fill, 2));
    let executable = instantiate(fills);
    ok(cuGraphLaunch(executable, stream));
    ok(cuStreamSynchronize(stream));
    let mut found = vec![0u8; source.len()];
    ok(cuMemcpyDtoH_v2(found.as_mut_ptr().cast(), from, found.len()));
    for (n, &found) in found.iter().enumerate() {
        let inside = n < 4 * 16 && (2..8).contains(&(n % 16));
        let expected = if inside { [0xCD, 0xAB][n % 2] } else { source[n] };
        assert_eq!(found, expected, "{n}");
    }
    // address and value may be changed, sizes may not; rows may not overlap, elements have to be aligned
    fill.value = 1;
    ok(cuGraphExecMemsetNodeSetParams(executable, node, &MemsetNode { height: 4, ..fill }, context));
    for bad in [MemsetNode { width: 2, ..fill }, MemsetNode { pitch: 4, ..fill }, MemsetNode { to: from + 1, ..fill }] {
        assert_eq!(cuGraphExecMemsetNodeSetParams(executable, node, &bad, context), INVALID_VALUE);
    }
    assert_eq!(cuGraphMemsetNodeSetParams(node, &MemsetNode { height: 40, ..fill }), INVALID_VALUE);
    assert_eq!(cuGraphAddMemsetNode(&mut node, fills, null(), 0, &fill, Handle::MAX), 201);
}

#[test]
fn host_functions_events_and_children() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    static OTHER: AtomicU32 = AtomicU32::new(0);
    let (_, kernel) = kernels();
    let (stream, log) = (stream(), upload(&[0; 8]));
    let data = (&raw const CALLS).cast_mut().cast();
    let inner = graph();
    let first = kernel_node(inner, &[], kernel("log"), log, 1);
    let mut host = made(|host| cuGraphAddHostNode(host, inner, &first, 1, &HostNode { function: increment, data }));
    let outer = graph();
    let child = made(|child| cuGraphAddChildGraphNode(child, outer, null(), 0, inner));
    let (event, other_event) = (event(), event());
    let (mut record, mut wait) = (0, 0);
    ok(cuGraphAddEventRecordNode(&mut record, outer, &child, 1, event));
    ok(cuGraphAddEventWaitNode(&mut wait, outer, &record, 1, event));
    let after = kernel_node(outer, &[wait], kernel("log"), log, 2);
    assert_eq!([host, child, record, wait, after].map(node_type), [3, 4, 7, 6, 0]);
    let mut told = made(|told| cuGraphEventRecordNodeGetEvent(record, told));
    assert_eq!(told, event);
    assert_eq!(cuGraphEventRecordNodeGetEvent(wait, &mut told), INVALID_VALUE);
    assert_eq!(cuGraphAddEventRecordNode(&mut told, outer, null(), 0, Handle::MAX), INVALID_HANDLE);
    // The node has a copy of the graph: what is changed later is not in it, and its graph is nobody's to destroy.
    ok(cuGraphDestroyNode(first));
    let embedded = made(|embedded| cuGraphChildGraphNodeGetGraph(child, embedded));
    assert_eq!(nodes(embedded).len(), 2);
    assert_ne!(embedded, inner);
    assert_eq!(cuGraphDestroy(embedded), INVALID_VALUE);

    let executable = instantiate(outer);
    ok(cuGraphLaunch(executable, stream));
    ok(cuEventSynchronize(event));
    assert_eq!(results(log, 3), [2, 1, 2]);
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    // the event to record, and the function, can be others
    ok(cuGraphExecEventRecordNodeSetEvent(executable, record, other_event));
    assert_eq!(cuGraphExecEventRecordNodeSetEvent(executable, wait, other_event), INVALID_VALUE);
    ok(cuGraphLaunch(executable, stream));
    ok(cuEventSynchronize(other_event));
    assert_eq!(CALLS.load(Ordering::SeqCst), 2);
    // a child is changed as a whole, and only by a graph like it
    assert_eq!(cuGraphExecChildGraphNodeSetParams(executable, child, inner), INVALID_VALUE);
    let like = graph();
    let first = kernel_node(like, &[], kernel("log"), log, 7);
    let data = (&raw const OTHER).cast_mut().cast();
    ok(cuGraphAddHostNode(&mut host, like, &first, 1, &HostNode { function: increment, data }));
    ok(cuGraphExecChildGraphNodeSetParams(executable, child, like));
    ok(cuMemsetD8_v2(log, 0, 32));
    ok(cuCtxSynchronize());
    ok(cuGraphLaunch(executable, stream));
    assert_eq!(results(log, 3), [2, 7, 2]);
    assert_eq!((CALLS.load(Ordering::SeqCst), OTHER.load(Ordering::SeqCst)), (2, 1));
    ok(cuGraphDestroy(outer));
    assert_eq!(cuGraphGetNodes(embedded, null_mut(), &mut 0), INVALID_HANDLE);
}

#[test]
fn a_graph_waits_for_an_event_of_another_stream() {
    let (_, kernel) = kernels();
    let (early, late, log) = (stream(), stream(), upload(&[0; 8]));
    let event = event();
    let graph = graph();
    let wait = made(|wait| cuGraphAddEventWaitNode(wait, graph, null(), 0, event));
    kernel_node(graph, &[wait], kernel("log"), log, 2);
    let executable = instantiate(graph);
    // The stream of the event is held up until the graph would long be done.
    let gate = Gate::close(late);
    ok(launch(kernel("log"), 1, late, &[log, 1]));
    ok(cuEventRecord(event, late));
    ok(cuGraphLaunch(executable, early));
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(cuStreamQuery(early), NOT_READY);
    gate.open();
    ok(cuStreamSynchronize(early));
    assert_eq!(results(log, 3), [2, 1, 2]);
}

#[test]
fn clones_know_their_originals() {
    let (_, kernel) = kernels();
    let out = upload(&[0]);
    let graph = graph();
    let a = kernel_node(graph, &[], kernel("put"), out, 1);
    let b = kernel_node(graph, &[a], kernel("put"), out, 2);
    let clone = made(|clone| cuGraphClone(clone, graph));
    let (mut a2, mut b2) = (0, 0);
    ok(cuGraphNodeFindInClone(&mut a2, a, clone));
    ok(cuGraphNodeFindInClone(&mut b2, b, clone));
    assert_eq!((nodes(clone), dependencies(b2)), (vec![a2, b2], vec![a2]));
    assert_eq!(cuGraphNodeFindInClone(&mut a2, a2, clone), INVALID_VALUE);
    assert_eq!(cuGraphNodeFindInClone(&mut a2, a, graph), INVALID_VALUE);
    // The clone stays as it was.
    ok(cuGraphDestroyNode(b));
    let executable = instantiate(clone);
    ok(cuGraphLaunch(executable, stream()));
    assert_eq!(results(out, 1), [2]);
    // Nodes of a clone are not those of the graph.
    assert_eq!(cuGraphNodeSetEnabled(executable, a, 0), INVALID_VALUE);
    ok(cuGraphNodeSetEnabled(executable, b2, 0));
    let mut enabled = 9;
    ok(cuGraphNodeGetEnabled(executable, b2, &mut enabled));
    assert_eq!(enabled, 0);
    ok(cuGraphLaunch(executable, stream()));
    assert_eq!(results(out, 1), [1]);
    ok(cuGraphNodeSetEnabled(executable, b2, 1));
    ok(cuGraphLaunch(executable, stream()));
    assert_eq!(results(out, 1), [2]);
}

#[test]
fn executable_graphs_are_updated_by_graphs_like_them() {
    let (context, kernel) = kernels();
    let out = upload(&[0, 0, 0, 0]);
    let build = |value, blocks: u32, width| {
        let graph = graph();
        let first = kernel_node(graph, &[], kernel("put"), out, value);
        let mut second = 0;
        let fill =
            MemsetNode { to: out + 4, pitch: 8, value: value as u32, element: 4, width, height: blocks as usize };
        ok(cuGraphAddMemsetNode(&mut second, graph, &first, 1, &fill, context));
        (graph, first, second)
    };
    let (graph, ..) = build(1, 1, 1);
    let executable = instantiate(graph);
    let stream = stream();
    let update = |graph| {
        let mut result = UpdateResult { result: 99, padding: 0, node: 99, from: 99 };
        let code = cuGraphExecUpdate_v2(executable, graph, &mut result);
        (code, result.result, result.node, result.from)
    };
    let (next, ..) = build(2, 1, 2);
    assert_eq!(update(next), (SUCCESS, 0, 0, 0));
    ok(cuGraphLaunch(executable, stream));
    assert_eq!(results(out, 4), [2, 2, 2, 0]);
    // what is not the same: the number of nodes, edges, kinds, the shape of a fill
    let (longer, ..) = build(3, 1, 1);
    empty_node(longer, &[]);
    assert_eq!(update(longer), (EXEC_UPDATE_FAILURE, 2, 0, 0));
    let (apart, first, second) = build(3, 1, 1);
    ok(cuGraphRemoveDependencies(apart, &first, &second, 1));
    assert_eq!(update(apart), (EXEC_UPDATE_FAILURE, 2, second, 0));
    let kinds = crate::graph();
    let first = empty_node(kinds, &[]);
    empty_node(kinds, &[first]);
    assert_eq!(update(kinds), (EXEC_UPDATE_FAILURE, 3, first, 0));
    let (rows, _, second) = build(3, 2, 1);
    assert_eq!(update(rows), (EXEC_UPDATE_FAILURE, 5, second, 0));
    let (together, first, _) = build(3, 1, 1);
    let cooperative = Attribute::new(2, &[1]);
    ok(cuGraphKernelNodeSetAttribute(first, 2, &cooperative.value));
    assert_eq!(update(together), (EXEC_UPDATE_FAILURE, 8, first, 0));
    // Nothing of what failed is in it.
    ok(cuGraphLaunch(executable, stream));
    assert_eq!(results(out, 4), [2, 2, 2, 0]);
    // a dependency on another node
    let three = |second: bool| {
        let graph = crate::graph();
        let a = empty_node(graph, &[]);
        let b = empty_node(graph, &[]);
        let last = empty_node(graph, &[if second { b } else { a }]);
        (graph, b, last)
    };
    let (graph, ..) = three(false);
    let (other, b, last) = three(true);
    let executable = instantiate(graph);
    let mut result = UpdateResult { result: 99, padding: 0, node: 99, from: 99 };
    assert_eq!(cuGraphExecUpdate_v2(executable, other, &mut result), EXEC_UPDATE_FAILURE);
    assert_eq!((result.result, result.node, result.from), (2, last, b));
    assert_eq!(cuGraphExecUpdate_v2(executable, other, null_mut()), INVALID_VALUE);
}

#[test]
fn flags_and_what_is_refused() {
    let (_, kernel) = kernels();
    let out = upload(&[0]);
    let graph = graph();
    kernel_node(graph, &[], kernel("put"), out, 1);
    let mut executable = made(|executable| cuGraphInstantiateWithFlags(executable, graph, 1 | 8));
    let flags = made(|flags| cuGraphExecGetFlags(executable, flags));
    assert_eq!(flags, 9);
    ok(cuGraphUpload(executable, stream()));
    assert_eq!(cuGraphUpload(executable, Handle::MAX), INVALID_HANDLE);
    assert_eq!(cuGraphInstantiateWithFlags(&mut executable, graph, 16), INVALID_VALUE);
    let mut params = InstantiateParams { flags: 4, upload: 0, node: 0, result: 0 };
    assert_eq!(cuGraphInstantiateWithParams(&mut executable, graph, &mut params), NOT_SUPPORTED);
    assert_eq!(params.result, 3);
    let mut node = 0;
    assert_eq!(cuGraphAddBatchMemOpNode(&mut node, graph, null(), 0, null()), NOT_SUPPORTED);
    assert_eq!(cuGraphCreate(&mut node, 1), INVALID_VALUE);
    let path = std::env::temp_dir().join(format!("warpwright-{}.dot", std::process::id()));
    ok(cuGraphDebugDotPrint(graph, text(path.to_str().unwrap()).as_ptr(), 1));
    let drawn = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(drawn.starts_with("digraph") && drawn.contains("kernel put"), "{drawn}");
}

#[test]
fn nodes_of_any_kind_by_one_function() {
    let (_, kernel) = kernels();
    let log = upload(&[0; 16]);
    let graph = graph();
    let mut arguments = Arguments::new(&[log, 1]);
    let mut parameters = AnyNode::new(0, arguments.node(kernel("log")));
    let (mut first, mut second, mut third) = (0, 0, 0);
    ok(cuGraphAddNode_v2(&mut first, graph, null(), null(), 0, &mut parameters));
    ok(cuGraphAddNode_v2(&mut second, graph, &first, &PROGRAMMATIC, 1, &mut parameters));
    let copy = Copy3 {
        from: Side { kind: 4, ..Side::device(log) },
        to: Side { kind: 4, ..Side::device(log + 12) },
        width: 4,
        height: 1,
        depth: 1,
    };
    let mut of_copy = AnyNode::new(1, ([0u32; 2], 0usize, copy));
    ok(cuGraphAddNode_v2(&mut third, graph, &second, null(), 1, &mut of_copy));
    assert_eq!([first, second, third].map(node_type), [0, 0, 1]);
    let mut data = [[9u8; 8]];
    let (mut from, mut count) = ([0], 1);
    ok(cuGraphNodeGetDependencies_v2(second, from.as_mut_ptr(), data.as_mut_ptr(), &mut count));
    assert_eq!((from, data), ([first], [PROGRAMMATIC]));
    let executable = instantiate(graph);
    ok(cuGraphLaunch(executable, stream()));
    assert_eq!(results(log, 4), [2, 1, 1, 2]);
    let mut changed = Arguments::new(&[log, 9]);
    let mut parameters = AnyNode::new(0, changed.node(kernel("put")));
    ok(cuGraphExecNodeSetParams(executable, first, &mut parameters));
    ok(cuGraphNodeSetParams(second, &mut parameters));
    ok(cuGraphLaunch(executable, stream()));
    assert_eq!(results(log, 1), [10]);
    // another kind than the node's, a kind that there is not, bytes that have to be zero
    assert_eq!(cuGraphNodeSetParams(third, &mut parameters), INVALID_VALUE);
    let mut unknown = AnyNode::new(77, 0u64);
    assert_eq!(cuGraphAddNode_v2(&mut third, graph, null(), null(), 0, &mut unknown), INVALID_VALUE);
    let mut conditional = AnyNode::new(13, 0u64);
    assert_eq!(cuGraphAddNode_v2(&mut third, graph, null(), null(), 0, &mut conditional), NOT_SUPPORTED);
    parameters.reserved[1] = 1;
    assert_eq!(cuGraphNodeSetParams(second, &mut parameters), INVALID_VALUE);
}

#[test]
fn graphs_allocate_and_free() {
    let (_, kernel) = kernels();
    let (stream, out) = (stream(), upload(&[0]));
    // allocated, used and freed in one graph
    let graph = graph();
    let mut parameters = AllocNode::new(64);
    let (mut allocate, mut free) = (0, 0);
    ok(cuGraphAddMemAllocNode(&mut allocate, graph, null(), 0, &mut parameters));
    let address = parameters.address;
    let put = kernel_node(graph, &[allocate], kernel("put"), address, 42);
    let copy = kernel_node(graph, &[put], kernel("copy"), out, address);
    ok(cuGraphAddMemFreeNode(&mut free, graph, &copy, 1, address));
    assert_eq!([allocate, free].map(node_type), [10, 11]);
    let (mut told, mut freed) = (AllocNode::new(0), 0);
    ok(cuGraphMemAllocNodeGetParams(allocate, &mut told));
    ok(cuGraphMemFreeNodeGetParams(free, &mut freed));
    assert_eq!((told.address, told.bytes, freed), (address, 64, address));
    let executable = instantiate(graph);
    for _ in 0..2 {
        ok(cuGraphLaunch(executable, stream));
    }
    assert_eq!(results(out, 1), [42]);
    // freed twice; what such a graph cannot do
    let mut node = 0;
    assert_eq!(cuGraphAddMemFreeNode(&mut node, graph, null(), 0, address), INVALID_VALUE);
    assert_eq!(cuGraphAddMemFreeNode(&mut node, graph, null(), 0, out), INVALID_VALUE);
    assert_eq!(cuGraphDestroyNode(put), INVALID_VALUE);
    assert_eq!(cuGraphRemoveDependencies(graph, &allocate, &put, 1), INVALID_VALUE);
    assert_eq!(cuGraphClone(&mut node, graph), NOT_SUPPORTED);
    assert_eq!(cuGraphInstantiateWithFlags(&mut node, graph, 0), INVALID_VALUE);
    ok(cuGraphExecDestroy(executable));
    let executable = instantiate(graph);

    // left allocated: it can be used afterwards, and launched again only when it is freed
    let graph = crate::graph();
    let mut parameters = AllocNode::new(4);
    ok(cuGraphAddMemAllocNode(&mut allocate, graph, null(), 0, &mut parameters));
    let address = parameters.address;
    kernel_node(graph, &[allocate], kernel("put"), address, 7);
    let left = instantiate(graph);
    ok(cuGraphLaunch(left, stream));
    ok(launch(kernel("copy"), 1, stream, &[out, address]));
    assert_eq!(results(out, 1), [7]);
    assert_eq!(cuGraphLaunch(left, stream), INVALID_VALUE);
    ok(cuMemFreeAsync(address, stream));
    ok(cuGraphLaunch(left, stream));
    ok(cuMemFree_v2(address));
    assert_eq!(cuMemFree_v2(address), INVALID_VALUE);
    ok(cuGraphExecDestroy(left));
    let automatic = made(|automatic| cuGraphInstantiateWithFlags(automatic, graph, 1));
    ok(cuGraphLaunch(automatic, stream));
    ok(cuGraphLaunch(automatic, stream));
    let (mut used, mut reserved) = (0, 0);
    ok(cuDeviceGetGraphMemAttribute(0, 0, &mut used));
    ok(cuDeviceGetGraphMemAttribute(0, 2, &mut reserved));
    assert!(used >= 4 && reserved >= 68, "{used} {reserved}");
    ok(cuDeviceGraphMemTrim(0));
    ok(cuStreamSynchronize(stream));
    ok(cuGraphExecDestroy(executable));
}

#[test]
fn user_objects_live_as_long_as_their_owners() {
    static DESTROYED: AtomicU32 = AtomicU32::new(0);
    let (_, _) = kernels();
    let destroyed = || DESTROYED.load(Ordering::SeqCst);
    let data = (&raw const DESTROYED).cast_mut().cast();
    let mut object = 0;
    for (count, flags) in [(0, 1), (1, 0), (1, 3)] {
        assert_eq!(cuUserObjectCreate(&mut object, data, increment, count, flags), INVALID_VALUE);
    }
    ok(cuUserObjectCreate(&mut object, data, increment, 1, 1));
    ok(cuUserObjectRetain(object, 2));
    ok(cuUserObjectRelease(object, 2));
    assert_eq!(cuUserObjectRelease(object, 2), INVALID_VALUE);
    let graph = graph();
    // the caller's own reference goes to the graph
    assert_eq!(cuGraphRetainUserObject(graph, object, 2, 1), INVALID_VALUE);
    ok(cuGraphRetainUserObject(graph, object, 1, 1));
    let executable = instantiate(graph);
    let clone = made(|clone| cuGraphClone(clone, graph));
    ok(cuGraphDestroy(graph));
    assert_eq!(destroyed(), 0);
    ok(cuGraphReleaseUserObject(clone, object, 1));
    assert_eq!(cuGraphReleaseUserObject(clone, object, 1), INVALID_VALUE);
    ok(cuGraphDestroy(clone));
    assert_eq!(destroyed(), 0);
    ok(cuGraphLaunch(executable, stream()));
    ok(cuCtxSynchronize());
    ok(cuGraphExecDestroy(executable));
    assert_eq!(destroyed(), 1);
    assert_eq!(cuUserObjectRetain(object, 1), INVALID_HANDLE);
    // released by its last owner, the caller
    ok(cuUserObjectCreate(&mut object, data, increment, 1, 1));
    ok(cuUserObjectRelease(object, 1));
    assert_eq!(destroyed(), 2);
}
