//! A buffer of what not any bits are.

use warpwright::Buffer;

fn make(stream: &warpwright::Stream) -> Buffer<bool> {
    Buffer::from_host(stream, &[true]).unwrap()
}

fn main() {}
