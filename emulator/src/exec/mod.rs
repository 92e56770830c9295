//! Execution: lanes into warps, warps into blocks, blocks into grids.

mod block;
mod call;
mod cluster;
mod grid;
mod output;
mod schedule;
mod warp;

pub(crate) use cluster::RANK_SHIFT;
pub(crate) use grid::{Grid, GridError, Pool};
pub use grid::{Options, Statistics};
pub(crate) use warp::{Warp, each_lane};
