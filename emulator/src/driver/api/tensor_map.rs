//! Tensor maps, which tell kernels of tensors in global memory.

use std::ffi::{c_int, c_void};

use super::driver_api;
use crate::driver::code::{Code, Result};
use crate::driver::operation::report;
use crate::ops::tensor_map::{BYTES, Element, MAX_RANK, TensorMap};

/// `CUtensorMap`
type Object = [u8; BYTES];

/// Numbers of a program, as many as an array has.
///
/// # Safety
/// `from` is null or has so many.
unsafe fn read<T: Copy + Default, const N: usize>(from: *const T, count: usize) -> Result<[T; N]> {
    let mut values = [T::default(); N];
    if from.is_null() && count > 0 {
        return Err(Code::INVALID_VALUE);
    }
    for (n, value) in values.iter_mut().enumerate().take(count) {
        // SAFETY: the caller's word.
        *value = unsafe { from.add(n).read_unaligned() };
    }
    Ok(values)
}

fn not_emulated(what: &str) -> Result<()> {
    report(&format_args!("tensor maps {what} are not emulated"));
    Err(Code::NOT_SUPPORTED)
}

driver_api! {
    fn cuTensorMapEncodeTiled(
        object: *mut Object,
        element: u32,
        rank: u32,
        address: *mut c_void,
        sizes: *const u64,
        strides: *const u64,
        box_sizes: *const u32,
        steps: *const u32,
        interleave: c_int,
        swizzle: u32,
        _l2_promotion: u32,
        fill: u32,
    ) {
        let rank = rank as usize;
        if object.is_null() || !object.addr().is_multiple_of(64) || !(1..=MAX_RANK).contains(&rank) || fill > 1 {
            return Err(Code::INVALID_VALUE);
        }
        let element = match element {
            13..=15 => return not_emulated("of packed elements of 4 and 6 bits"),
            number => Element::numbered(number).ok_or(Code::INVALID_VALUE)?,
        };
        if interleave != 0 {
            return not_emulated("of interleaved layouts");
        }
        let map = TensorMap {
            element,
            rank,
            address: address as u64,
            sizes: read(sizes, rank)?,
            strides: read(strides, rank - 1)?,
            box_sizes: read(box_sizes, rank)?,
            steps: read(steps, rank)?,
            swizzle: *[0, 32, 64, 128].get(swizzle as usize).ok_or(Code::INVALID_VALUE)?,
            fill_nan: fill == 1,
        };
        map.check().map_err(|_| Code::INVALID_VALUE)?;
        object.write(map.to_bytes());
        Ok(())
    }

    fn cuTensorMapEncodeIm2col(
        _object: *mut Object,
        _element: u32,
        _rank: u32,
        _address: *mut c_void,
        _sizes: *const u64,
        _strides: *const u64,
        _lower: *const c_int,
        _upper: *const c_int,
        _channels: u32,
        _pixels: u32,
        _steps: *const u32,
        _interleave: c_int,
        _swizzle: u32,
        _l2_promotion: u32,
        _fill: u32,
    ) {
        not_emulated("for im2col")
    }

    fn cuTensorMapReplaceAddress(object: *mut Object, address: *mut c_void) {
        if object.is_null() || !(address as u64).is_multiple_of(16) {
            return Err(Code::INVALID_VALUE);
        }
        let map = TensorMap::from_bytes(&object.read()).ok_or(Code::INVALID_VALUE)?;
        object.write(TensorMap { address: address as u64, ..map }.to_bytes());
        Ok(())
    }
}
