//! Branches of a graph that would touch what the other writes. Buffers are handles, so the compiler does not see it.

use warpwright::Buffer;
use warpwright::launch::{Graph, GraphError, LaunchError};

use crate::common::device;
use crate::{assert_ones, assert_usable, launch};

fn race(
    (kernel, parameter): (&'static str, &'static str),
    (other_kernel, other_parameter): (&'static str, &'static str),
) -> GraphError {
    LaunchError::Race { kernel, parameter, other_kernel, other_parameter }.into()
}

#[test]
fn what_one_branch_writes_the_other_does_not_touch() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    let mut other = Buffer::zeroed(&device.stream, 64).unwrap();
    let part = |buffer: &Buffer<f32>| buffer.slice(63..).unwrap();
    // Of one handle the compiler would say so.
    let written = out.clone();
    let graph = Graph::record(&device.kernels, |graph| {
        // None of the refused ones is part of the graph.
        graph.fork(
            |graph| Ok(launch(graph, &x, &weight, &mut out)?),
            |graph| {
                let both_write = launch(graph, &x, &weight, &mut written.clone()).unwrap_err();
                assert_eq!(GraphError::from(both_write), race(("rms_norm", "out"), ("rms_norm", "out")));
                let writes_what_is_read = launch(graph, &other, &weight, &mut x.clone()).unwrap_err();
                assert_eq!(GraphError::from(writes_what_is_read), race(("rms_norm", "out"), ("rms_norm", "x")));
                let reads_what_is_written = launch(graph, &written, &weight, &mut other).unwrap_err();
                assert_eq!(GraphError::from(reads_what_is_written), race(("rms_norm", "x"), ("rms_norm", "out")));
                let fill = graph.fill(&mut part(&written), 0.0);
                assert_eq!(fill.unwrap_err(), race(("fill", "to"), ("rms_norm", "out")));
                let copy = graph.copy(&part(&written), &mut part(&other));
                assert_eq!(copy.unwrap_err(), race(("copy", "from"), ("rms_norm", "out")));
                let upload = graph.upload(&[1.0], &mut part(&weight));
                assert_eq!(upload.unwrap_err(), race(("upload", "to"), ("rms_norm", "weight")));
                graph.copy(&x, &mut other)
            },
        )?;
        // After the fork it may be touched.
        graph.copy(&x, &mut other)?;
        Ok(launch(graph, &other, &weight, &mut out)?)
    })
    .unwrap();
    graph.launch(&device.stream).unwrap();
    assert_ones(&out);
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn nor_the_branches_of_a_branch_nor_its_graphs() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Buffer::zeroed(&device.stream, 64).unwrap());
    let [other_a, other_b, other_c] = [&a, &b, &c].map(Buffer::clone);
    let child = Graph::record(&device.kernels, |graph| Ok(launch(graph, &x, &weight, &mut a)?)).unwrap();
    let graph = Graph::record(&device.kernels, |graph| {
        graph.fork(
            |graph| {
                graph.fork(|graph| graph.child(&child), |graph| graph.fill(&mut b, 0.0))?;
                // ordered after both
                graph.copy(&a, &mut b)
            },
            |graph| {
                let race_of_fill = |error| assert_eq!(error, race(("fill", "to"), ("rms_norm", "out")));
                race_of_fill(graph.fill(&mut other_a.clone(), 0.0).unwrap_err());
                graph.fork(
                    |graph| graph.fill(&mut c, 1.0),
                    |graph| {
                        race_of_fill(graph.fill(&mut other_a.clone(), 0.0).unwrap_err());
                        assert_eq!(
                            graph.fill(&mut other_b.clone(), 0.0).unwrap_err(),
                            race(("fill", "to"), ("fill", "to"))
                        );
                        assert_eq!(
                            graph.fill(&mut other_c.clone(), 0.0).unwrap_err(),
                            race(("fill", "to"), ("fill", "to"))
                        );
                        assert_eq!(graph.child(&child).unwrap_err(), race(("rms_norm", "out"), ("rms_norm", "out")));
                        Ok(())
                    },
                )
            },
        )
    })
    .unwrap();
    graph.launch(&device.stream).unwrap();
    [a, b, c].iter().for_each(assert_ones);
    assert_usable(&device.kernels, &device.stream);
}

/// A branch that ends in an error or a panic, which the caller passes over, is joined all the same.
#[test]
fn branches_that_end_early_are_joined() {
    let device = device();
    let x = Buffer::from_host(&device.stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let [mut a, mut b] = [(); 2].map(|()| Buffer::zeroed(&device.stream, 64).unwrap());
    let graph = Graph::record(&device.kernels, |graph| {
        let failed = graph.fork(
            |graph| {
                let panicking = std::panic::AssertUnwindSafe(|| {
                    graph.fork(
                        |graph| graph.fill(&mut a, 2.0),
                        |graph| {
                            graph.fill(&mut b, 2.0)?;
                            panic!("in a branch")
                        },
                    )
                });
                let panicked: Result<Result<((), ()), _>, _> = std::panic::catch_unwind(panicking);
                assert!(panicked.is_err());
                Ok(())
            },
            |_| Err::<(), _>(GraphError::Width(3)),
        );
        assert_eq!(failed.unwrap_err(), GraphError::Width(3));
        // after all of it
        launch(graph, &x, &weight, &mut a)?;
        graph.copy(&a, &mut b)
    })
    .unwrap();
    for _ in 0..3 {
        graph.launch(&device.stream).unwrap();
        assert_ones(&a);
        assert_ones(&b);
    }
    assert_usable(&device.kernels, &device.stream);
}
