//! Launches that are more than a grid: all blocks at once, in clusters, and begun before what comes before has ended.

mod common;

use common::{Device, device};
use cudarc::driver::DriverError;
use warpwright::Buffer;
use warpwright::launch::{Geometry, Graph, GraphError, LaunchError, Node, Recording};
use warpwright_authoring::clusters::{Asked, Fixed, Open};
use warpwright_authoring::hopper::{Twice, TwiceAfter, TwiceInto, TwiceTogether};
use warpwright_authoring::{Kernels, Set};

const N: u32 = 1000;

#[track_caller]
fn assert_all(out: &Buffer<f32>, expected: f32) {
    assert_eq!(out.read().unwrap(), vec![expected; out.len()]);
}

/// The kernels of `tests/authoring`, and a buffer of numbers for them.
struct Authored {
    device: Device,
    kernels: Kernels,
}

impl Authored {
    /// `None` where the device is too old for what they need.
    fn load() -> Option<Self> {
        let device = device();
        let new_enough = device.context.compute_capability().unwrap().0 >= 9;
        let kernels = Kernels::load(&device.context).unwrap();
        new_enough.then_some(Self { device, kernels })
    }

    fn of(&self, value: f32) -> Buffer<f32> {
        Buffer::from_host(&self.device.stream, &[value; N as usize]).unwrap()
    }

    /// The edges of a recording by which a kernel begins early.
    fn edges(&self, record: impl FnOnce(&Recording<'_, Set>) -> Result<(), GraphError>) -> usize {
        let graph = Graph::record(&self.kernels, record).unwrap();
        graph.launch(&self.device.stream).unwrap();
        self.device.stream.synchronize().unwrap();
        graph.programmatic_edges()
    }
}

#[test]
fn cooperative_grids_and_clusters() {
    let Some(Authored { device, kernels }) = Authored::load() else { return };
    let queue = kernels.on(&device.stream);
    let mut x = Buffer::from_host(&device.stream, &[0u32; 4]).unwrap();
    Fixed { x: &mut x, n: 4 }.launch(&queue).unwrap();
    assert_eq!(x.read().unwrap(), [4; 4]);
    x.write(&[0; 4]).unwrap();
    Asked { x: &mut x, n: 4 }.launch(&queue).unwrap();
    assert_eq!(x.read().unwrap(), [4; 4]);
    let graph = Graph::record(&kernels, |graph| {
        graph.fill(&mut x, 7)?;
        Fixed { x: &mut x, n: 4 }.launch(graph)?;
        Ok(Asked { x: &mut x, n: 4 }.launch(graph)?)
    })
    .unwrap();
    graph.launch(&device.stream).unwrap();
    assert_eq!(x.read().unwrap(), [4; 4]);

    // What does not divide into clusters, whether they are in the code or asked for.
    let mut odd = x.slice(..3).unwrap();
    let cut = |failed: LaunchError| {
        assert!(matches!(failed, LaunchError::Cluster { blocks: [3, 1, 1], cluster: [2, 1, 1], .. }), "{failed}");
    };
    cut(Fixed { x: &mut odd, n: 3 }.launch(&queue).unwrap_err());
    cut(Asked { x: &mut odd, n: 3 }.launch(&queue).unwrap_err());

    // More blocks than any device has room for.
    let blocks = 1 << 20;
    let mut large = Buffer::zeroed(&device.stream, blocks as usize).unwrap();
    let room = |failed: LaunchError| match failed {
        LaunchError::Cooperative { kernel: "asked", blocks: found, room } if found == u64::from(blocks) => room,
        failed => panic!("{failed}"),
    };
    let on_queue = room(Asked { x: &mut large, n: blocks }.launch(&queue).unwrap_err());
    let update = graph.update(graph.nodes());
    assert_eq!(room(Asked { x: &mut large, n: blocks }.launch(&update).unwrap_err()), on_queue);
    Graph::record(&kernels, |graph| {
        assert_eq!(room(Asked { x: &mut large, n: blocks }.launch(graph).unwrap_err()), on_queue);
        Ok(())
    })
    .unwrap();
    // As many as there is room for are not too many.
    let most = on_queue as u32 / 2 * 2;
    Asked { x: &mut large.slice(..most as usize).unwrap(), n: most }.launch(&queue).unwrap();

    // A graph keeps the clusters that it was recorded with.
    let geometry = |cluster| Geometry { blocks: [4, 1, 1], cluster, ..Geometry::default() };
    // SAFETY (of all that follow): a block writes one element, and there are as many.
    // SAFETY: see above.
    let graph =
        Graph::record(&kernels, |graph| unsafe { Ok(Open { x: &mut x, n: 5 }.launch(graph, geometry([2, 1, 1]))?) });
    let graph = graph.unwrap();
    let update = graph.update(graph.nodes());
    // SAFETY: see above.
    let failed = unsafe { Open { x: &mut x, n: 6 }.launch(&update, geometry([1; 3])) }.unwrap_err();
    assert_eq!(failed, LaunchError::OtherCluster { kernel: "open", recorded: [2, 1, 1], found: [1; 3] });
    graph.launch(&device.stream).unwrap();
    assert_eq!(x.read().unwrap(), [5; 4]);
}

#[test]
fn a_kernel_begins_early_where_that_is_sound() {
    let Some(authored) = Authored::load() else { return };
    let (x, other) = (authored.of(1.0), authored.of(2.0));
    let (mut a, mut b, mut c) = (authored.of(0.0), authored.of(0.0), authored.of(3.0));
    // A second kernel that waits before it touches `out`, and the first does not write its `x`.
    let chain = authored.edges(|graph| {
        Twice { x: &x, out: &mut a, n: N }.launch(graph)?;
        Twice { x: &other, out: &mut a, n: N }.launch(graph)?;
        TwiceAfter { x: &other, out: &mut a, n: N }.launch(graph)?;
        Twice { x: &other, out: &mut b, n: N }.launch(graph)?;
        Ok(())
    });
    assert_eq!(chain, 2);
    assert_all(&b, 4.0);
    // not behind a fill, not if what it reads early was written before, not if it is cooperative
    let none = authored.edges(|graph| {
        graph.fill(&mut c, 3.0)?;
        Twice { x: &x, out: &mut a, n: N }.launch(graph)?;
        Twice { x: &a, out: &mut b, n: N }.launch(graph)?;
        TwiceTogether { x: &x, out: &mut c, n: N }.launch(graph)?;
        Ok(())
    });
    assert_eq!(none, 0);
    assert_all(&b, 4.0);
    // not if it writes early what was read before
    let none = authored.edges(|graph| {
        TwiceAfter { x: &c, out: &mut a, n: N }.launch(graph)?;
        TwiceInto { x: &x, out: &mut c, n: N }.launch(graph)?;
        Ok(())
    });
    assert_eq!(none, 0);
    // not after work of which nobody knows what it touches
    let none = authored.edges(|graph| {
        // SAFETY: the work is none.
        unsafe { graph.capture(|_| Ok::<_, DriverError>(())) }?;
        TwiceAfter { x: &x, out: &mut a, n: N }.launch(graph)?;
        Twice { x: &other, out: &mut b, n: N }.launch(graph)?;
        Ok(())
    });
    assert_eq!(none, 0);
    // not behind two branches
    let none = authored.edges(|graph| {
        graph.fork(
            |graph| Ok(Twice { x: &x, out: &mut a, n: N }.launch(graph)?),
            |graph| Ok(Twice { x: &x, out: &mut b, n: N }.launch(graph)?),
        )?;
        Twice { x: &other, out: &mut a, n: N }.launch(graph)?;
        Ok(())
    });
    assert_eq!(none, 0);
    assert_all(&a, 4.0);
}

#[test]
fn an_update_may_not_make_an_early_begin_unsound() {
    let Some(authored) = Authored::load() else { return };
    let (x, other) = (authored.of(1.0), authored.of(2.0));
    let mut both = authored.of(4.0);
    let (mut a, mut b) = (authored.of(0.0), authored.of(0.0));
    let graph = Graph::record(&authored.kernels, |graph| {
        let first = Twice { x: &x, out: &mut a, n: N }.launch(graph)?;
        Ok((first, Twice { x: &other, out: &mut b, n: N }.launch(graph)?))
    })
    .unwrap();
    assert_eq!(graph.programmatic_edges(), 1);
    let (first, second): &(Node<Set>, Node<Set>) = graph.nodes();
    let conflict =
        LaunchError::Early { kernel: "twice", parameter: "x", other_kernel: "twice", other_parameter: "out" };
    // The first would write what the second reads early.
    let written = &mut other.clone();
    let failed = Twice { x: &x, out: written, n: N }.launch(&graph.update(first)).unwrap_err();
    assert_eq!(failed, conflict);
    // The second would read early what the first writes.
    Twice { x: &x, out: &mut both, n: N }.launch(&graph.update(first)).unwrap();
    let failed = Twice { x: &both, out: &mut b, n: N }.launch(&graph.update(second)).unwrap_err();
    assert_eq!(failed, conflict);
    // Neither end of such an edge can be left out.
    let nothing = both.slice(..0).unwrap();
    for node in [first, second] {
        let failed = Twice { x: &nothing, out: &mut nothing.clone(), n: 0 }.launch(&graph.update(node)).unwrap_err();
        assert_eq!(failed, LaunchError::CannotLeaveOut { kernel: "twice" });
    }
    graph.launch(&authored.device.stream).unwrap();
    assert_all(&b, 4.0);
    assert_all(&both, 2.0);
}

/// On a queue it begins early only if the caller says that this is sound.
#[test]
fn overlapping_queues() {
    let Some(authored) = Authored::load() else { return };
    let x = authored.of(1.0);
    let (mut a, mut b) = (authored.of(0.0), authored.of(0.0));
    // SAFETY: what is read early is written by nothing in the stream.
    let queue = unsafe { authored.kernels.on(&authored.device.stream).overlapping() };
    Twice { x: &x, out: &mut a, n: N }.launch(&queue).unwrap();
    Twice { x: &x, out: &mut b, n: N }.launch(&queue).unwrap();
    assert_all(&a, 2.0);
    assert_all(&b, 2.0);
}
