//! A driver of CUDA 12.0 is enough, whichever version cudarc has the bindings of: cudarc panics where a function is missing,
//! so nothing newer may be called without a look whether it is there.

use launch_cost::Kernels;
use launch_cost::scale_add::ScaleAdd;
use warpwright::Buffer;
use warpwright::launch::{Graph, LaunchError};

#[test]
fn a_driver_of_cuda_12_0_is_enough() {
    stub_libcuda::select().unwrap();
    let context = warpwright::device::open(0).unwrap();
    let kernels = Kernels::load(&context).unwrap();
    let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let queue = kernels.on(&stream);
    let mut x = Buffer::from_host(&stream, &[1.0f32; 32]).unwrap();
    x.write(&[2.0; 32]).unwrap();
    let weight = Buffer::<f32>::zeroed(&other, 8).unwrap();
    let bias = weight.slice(..).unwrap();
    let mut out = Buffer::<f32>::zeroed(&stream, 32).unwrap();
    let (rows, dim) = (4, 8);
    ScaleAdd { x: &x, residual: &x, weight: &weight, bias: &bias, out: &mut out, rows, dim }.launch(&queue).unwrap();
    let wrong = ScaleAdd { x: &x, residual: &x, weight: &weight, bias: &bias, out: &mut out, rows: 5, dim };
    assert!(matches!(wrong.launch(&queue), Err(LaunchError::Length { parameter: "x", .. })));

    let slice = stream.alloc_zeros::<f32>(32).unwrap();
    let launcher = ScaleAdd { x: &slice, residual: &slice, weight: &weight, bias: &bias, out: &mut out, rows, dim };
    launcher.launch(&queue).unwrap();

    let graph = Graph::record(&kernels, |graph| {
        ScaleAdd { x: &x, residual: &x, weight: &weight, bias: &bias, out: &mut out, rows, dim }.launch(graph)?;
        Ok(ScaleAdd { x: &x, residual: &x, weight: &weight, bias: &bias, out: &mut out, rows, dim }.launch(graph)?)
    })
    .unwrap();
    assert_eq!(graph.launches(), 2);
    graph.launch(&stream).unwrap();
    graph.launch(&other).unwrap();
    drop(graph);

    // Nodes of other kinds, and an update: done, or a typed error, and no panic.
    let mut other = Buffer::zeroed(&stream, 32).unwrap();
    let tried = Graph::record(&kernels, |graph| {
        graph.fill(&mut other, 1.0)?;
        graph.copy(&x, &mut other)?;
        graph.fork(|graph| graph.fill(&mut other, 2.0), |_| Ok(()))?;
        Ok(ScaleAdd { x: &x, residual: &x, weight: &weight, bias: &bias, out: &mut out, rows, dim }.launch(graph)?)
    });
    if let Ok(graph) = tried {
        let onto = graph.update(graph.nodes());
        let _typed =
            ScaleAdd { x: &x, residual: &x, weight: &weight, bias: &bias, out: &mut out, rows, dim }.launch(&onto);
    }
    assert_eq!(out.read().unwrap().len(), 32);
}

#[test]
fn the_driver_of_these_tests_has_nothing_newer() {
    assert!(stub_libcuda::has("cuLaunchKernelEx").unwrap());
    for newer in ["cuGraphAddNode", "cuFuncGetParamInfo", "cuCtxCreate_v4", "cuEventElapsedTime_v2"] {
        assert!(!stub_libcuda::has(newer).unwrap(), "{newer}");
    }
}
