//! The traits of arguments cannot be implemented elsewhere.

use warpwright::launch::{Read, Region, Target};

struct Forged;

unsafe impl<Q: Target, P> Read<Q, f32, P> for Forged {
    fn read<'a>(&'a self, _: &'static str, _: &'a Q) -> Region<'a> {
        loop {}
    }
}

fn main() {}
