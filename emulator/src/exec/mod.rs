//! Execution: lanes into warps, warps into blocks, blocks into grids.

mod block;
mod grid;
mod warp;

pub use grid::Statistics;
pub(crate) use grid::{Grid, GridError, Pool};
pub(crate) use warp::{Warp, each_lane};
