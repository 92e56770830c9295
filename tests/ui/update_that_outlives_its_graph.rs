//! An update is one of a graph that exists.

use warpwright::kernel::Set;
use warpwright::launch::{Graph, Node, Update};

fn update(graph: Graph<Node<Set>>) -> Update<'static, Set> {
    graph.update(graph.nodes())
}

fn main() {}
