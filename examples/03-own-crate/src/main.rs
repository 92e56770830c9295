//! Kernels of a crate's own: a template, and a struct that CUDA and Rust share.
//!
//! `cargo run`, in this folder.

use std::error::Error;

use warpwright::Buffer;
use warpwright::types::f16;
use warpwright_emulator::driver::{Choice, select};

// A module for each `.cu` file, and `include` for the headers.
warpwright::kernels!();
use include::Limits;
use lookup::Lookup;

fn main() -> Result<(), Box<dyn Error>> {
    select(Choice::Auto)?;
    let context = warpwright::device::open(0)?;
    let stream = context.new_stream()?;
    let kernels = Kernels::load(&context)?;
    let queue = kernels.on(&stream);

    let limits = Limits { low: 0.0, high: 2.5 };
    // The last index is past the end of the table.
    let index = Buffer::from_host(&stream, &[3u32, 0, 1, 4])?;

    // One launcher for all instances of the template. The buffers say which.
    let table = Buffer::from_host(&stream, &[1.0f32, -1.0, 2.0, 3.0])?;
    let mut out = Buffer::<f32>::zeroed(&stream, 4)?;
    Lookup { table: &table, index: &index, out: &mut out, limits, entries: 4, n: 4 }.launch(&queue)?;
    println!("{:?}", out.read()?);
    assert_eq!(out.read()?, [2.5, 1.0, 0.0, 0.0]);

    let table = Buffer::from_host(&stream, &[1.0f32, -1.0, 2.0, 3.0].map(f16::from_f32))?;
    let mut halves = Buffer::<f16>::zeroed(&stream, 4)?;
    Lookup { table: &table, index: &index, out: &mut halves, limits, entries: 4, n: 4 }.launch(&queue)?;
    println!("{:?}", halves.read()?);
    assert_eq!(halves.read()?.iter().map(|x| x.to_f32()).collect::<Vec<_>>(), out.read()?);
    println!("03-own-crate: done");
    Ok(())
}

#[cfg(test)]
mod tests {
    /// Tries to break the contract: any sizes, any bits in the buffers, large tables.
    #[test]
    fn lookup() -> Result<(), warpwright_testing::Violation> {
        println!("{}", warpwright_testing::check(concat!(env!("OUT_DIR"), "/warpwright"), "lookup")?);
        Ok(())
    }
}
