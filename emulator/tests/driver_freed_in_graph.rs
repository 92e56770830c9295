//! Graphs that are launched with memory that was freed are reported, and their mended twins are not.

mod cuda;

use std::ptr::null;

use cuda::*;
use warpwright_emulator::checks::{Checks, FindingKind};

fn check() {
    assert!(SELECTED.set_checks(Checks { freed_in_graph: true, ..Checks::NONE }));
}

/// What is found of memory that begins at `address`, once all work is done.
fn found(address: u64) -> Vec<String> {
    // The work may have failed: what names freed memory may use it.
    let _ = cuCtxSynchronize();
    let report = SELECTED.report().unwrap();
    report.of(FindingKind::FreedInGraph).filter(|found| found.address == address).map(ToString::to_string).collect()
}

#[test]
fn freed_memory_is_found_in_nodes_of_every_kind() {
    check();
    for kind in ["kernel", "memset", "memcpy"] {
        // the second time the graph is mended: it is updated before its memory is freed
        for mended in [false, true] {
            let context = context();
            let module = module(PTX);
            let (old, new) = (upload(&[0; 4]), upload(&[0; 4]));
            let build = |memory: u64| {
                let (graph, mut node) = (graph(), 0);
                let fill = MemsetNode { to: memory + 4, pitch: 0, value: 1, element: 4, width: 2, height: 1 };
                let copy = Copy3 {
                    from: Side::device(new),
                    to: Side { x: 4, ..Side::device(memory) },
                    width: 4,
                    height: 1,
                    depth: 1,
                };
                match kind {
                    "kernel" => drop(kernel_node(graph, &[], function(module, "put"), memory + 4, 1)),
                    "memset" => ok(cuGraphAddMemsetNode(&mut node, graph, null(), 0, &fill, context)),
                    _ => ok(cuGraphAddMemcpyNode(&mut node, graph, null(), 0, &copy, context)),
                }
                graph
            };
            let executable = instantiate(build(old));
            let stream = stream();
            ok(cuGraphLaunch(executable, stream));
            ok(cuStreamSynchronize(stream));
            if mended {
                let mut result = UpdateResult { result: 9, padding: 0, node: 0, from: 0 };
                ok(cuGraphExecUpdate_v2(executable, build(new), &mut result));
            }
            ok(cuMemFree_v2(old));
            ok(cuGraphLaunch(executable, stream));
            let found = found(old);
            assert_eq!(found.len(), usize::from(!mended), "{kind}: {found:?}");
            if let [found] = &found[..] {
                let named = if kind == "kernel" { "parameter 0 of kernel `put`" } else { kind };
                let named = if kind == "memcpy" { "a copy to" } else { named };
                assert!(found.contains(named) && found.contains("16 bytes"), "{found}");
            }
            assert_eq!(cuCtxSynchronize(), if mended { SUCCESS } else { ILLEGAL_ADDRESS });
        }
    }
}

#[test]
fn memory_that_is_freed_in_the_order_of_the_stream_is_found_too() {
    check();
    for mended in [false, true] {
        context();
        let put = function(module(PTX), "put");
        let (stream, graph) = (stream(), graph());
        let memory = made(|memory| cuMemAllocAsync(memory, 64, stream));
        let node = kernel_node(graph, &[], put, memory, 1);
        let executable = instantiate(graph);
        ok(cuGraphLaunch(executable, stream));
        ok(cuMemFreeAsync(memory, stream));
        if mended {
            // A node that is left out names nothing.
            ok(cuGraphNodeSetEnabled(executable, node, 0));
        }
        ok(cuGraphLaunch(executable, stream));
        let found = found(memory);
        assert_eq!(found.len(), usize::from(!mended), "{found:?}");
        assert_eq!(cuCtxSynchronize(), if mended { SUCCESS } else { ILLEGAL_ADDRESS });
    }
}
