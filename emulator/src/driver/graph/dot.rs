//! A graph as a drawing: a file for Graphviz.

use std::fmt::Write;

use super::{Graph, Work};
use crate::driver::context::locked;

/// `CUgraphDebugDot_flags`: everything, and handles.
const VERBOSE: u32 = 1;
const HANDLES: u32 = 1 << 10;
/// The flags that ask for the parameters of nodes.
const PARAMETERS: u32 = 0b11_1000_0111_1100;

impl Graph {
    /// The text of the file.
    pub(crate) fn dot(&self, flags: u32) -> String {
        let mut text = "digraph graph_0 {\n".to_owned();
        self.draw(&mut text, flags, "n", 1);
        text.push_str("}\n");
        text
    }

    /// Draws nodes and edges, with names that begin with `prefix`.
    fn draw(&self, text: &mut String, flags: u32, prefix: &str, depth: usize) {
        let inner = locked(&self.inner);
        let indent = "  ".repeat(depth);
        for (n, node) in inner.nodes.iter().enumerate() {
            let mut label = node.work.label(flags & (VERBOSE | PARAMETERS) != 0);
            if flags & (VERBOSE | HANDLES) != 0 {
                // Writing to a string cannot fail.
                let _ = write!(label, "\\n{:#x}", node.handle.0);
            }
            let _ = writeln!(text, "{indent}{prefix}{n} [label=\"{label}\"];");
            if let Work::Child(child) = &node.work {
                let _ = writeln!(text, "{indent}subgraph cluster_{prefix}{n} {{");
                child.draw(text, flags, &format!("{prefix}{n}_"), depth + 1);
                let _ = writeln!(text, "{indent}}}");
            }
            for edge in &node.after {
                let style = if edge.data.is_programmatic() { " [style=dashed]" } else { "" };
                if let Ok(from) = inner.index(edge.from) {
                    let _ = writeln!(text, "{indent}{prefix}{from} -> {prefix}{n}{style};");
                }
            }
        }
    }
}

impl Work {
    /// What a node is called in the drawing.
    fn label(&self, parameters: bool) -> String {
        let (name, detail) = match self {
            Self::Kernel(launch) => {
                let (blocks, threads) = (launch.blocks, launch.threads);
                (format!("kernel {}", launch.function.program().name), format!("grid {blocks:?} block {threads:?}"))
            }
            Self::Copy(copy, _) => {
                ("memcpy".to_owned(), format!("{} x {} x {} bytes", copy.width, copy.height, copy.depth))
            }
            Self::Fill(fill, _) => {
                let detail = format!("{} x {} elements at {:#x}", fill.width, fill.height, fill.to);
                ("memset".to_owned(), detail)
            }
            Self::Host(_) => ("host".to_owned(), String::new()),
            Self::Child(_) => ("child graph".to_owned(), String::new()),
            Self::Empty => ("empty".to_owned(), String::new()),
            Self::Wait(_, event) => ("event wait".to_owned(), format!("event {:#x}", event.0)),
            Self::Record(_, event) => ("event record".to_owned(), format!("event {:#x}", event.0)),
            Self::Allocate(memory) => {
                ("mem alloc".to_owned(), format!("{} bytes at {:#x}", memory.bytes, memory.address))
            }
            Self::Free(memory) => ("mem free".to_owned(), format!("{:#x}", memory.address)),
        };
        if parameters && !detail.is_empty() { format!("{name}\\n{detail}") } else { name }
    }
}
