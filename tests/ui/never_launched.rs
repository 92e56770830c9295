//! A launcher that is made and forgotten.
#![deny(unused_must_use)]

use warpwright::Buffer;
use warpwright_authoring::made::AddArrays;

fn launch(a: &Buffer<f32>, out: &mut Buffer<f32>) {
    AddArrays { a, b: a, out, n: 1 };
}

fn main() {}
