//! Arguments that a contract does not allow: each a typed error that says what, and nothing is launched.

use warpwright::Buffer;
use warpwright::buffer::BufferError;
use warpwright::kernel::argmax::Argmax;
use warpwright::kernel::attention::AttentionDecode;
use warpwright::kernel::matmul_prefill::MatmulPrefillQ1_0;
use warpwright::kernel::rms_norm::RmsNorm;
use warpwright::kernel::silu_mul::SiluMul;
use warpwright::launch::{LaunchError, Relation, Values};
use warpwright::types::f16;

use crate::common::device;
use crate::{assert_usable, launch};

#[test]
fn lengths_are_what_the_contract_says() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let short = Buffer::from_host(&device.stream, &[3.0f32; 7]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 7).unwrap();
    let error =
        RmsNorm { x: &short, weight: &short, out: &mut out, rows: 2, dim: 4, eps: 0.0 }.launch(&queue).unwrap_err();
    let expected = LaunchError::Length {
        kernel: "rms_norm",
        parameter: "x",
        rule: "x == rows * dim",
        expected: 8,
        found: 7,
        values: Values(vec![("rows", Some(2)), ("dim", Some(4))]),
    };
    assert_eq!(error, expected);
    assert_eq!(
        error.to_string(),
        "kernel `rms_norm`: `x` has 7 elements, and the contract says `x == rows * dim`, 8 (rows = 2, dim = 4)"
    );
    // too long is as wrong as too short
    let error = SiluMul { gate_up: &short, out: &mut out, rows: 1, dim: 3 }.launch(&queue).unwrap_err();
    assert!(matches!(error, LaunchError::Length { parameter: "gate_up", expected: 6, found: 7, .. }), "{error}");
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn requirements_arithmetic_and_limits() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let stream = &device.stream;
    let empty = Buffer::<f32>::zeroed(stream, 0).unwrap();
    let turns = Buffer::<f64>::zeroed(stream, 0).unwrap();
    let position = Buffer::<u32>::zeroed(stream, 1).unwrap();
    let attend = |heads, kv_heads, head_dim| {
        AttentionDecode {
            qkv: &empty,
            bias: None::<&Buffer<f32>>,
            q_norm: None::<&Buffer<f32>>,
            k_norm: None::<&Buffer<f32>>,
            turns: &turns,
            position: &position,
            k_cache: &mut Buffer::<f16>::zeroed(stream, 0).unwrap(),
            v_cache: &mut Buffer::<f16>::zeroed(stream, 0).unwrap(),
            k_scales: None::<&mut Buffer<f32>>,
            v_scales: None::<&mut Buffer<f32>>,
            partials: &mut Buffer::<f32>::zeroed(stream, 0).unwrap(),
            arrivals: &mut Buffer::<u32>::zeroed(stream, 0).unwrap(),
            out: &mut Buffer::<f32>::zeroed(stream, 0).unwrap(),
            heads,
            kv_heads,
            head_dim,
            rotary_dim: 0,
            context: 0,
            splits: 1,
            interleaved: false,
            eps: 0.0,
            magnitude: 1.0,
            scale: 1.0,
        }
        .launch(&queue)
    };
    let error = attend(4, 3, 64).unwrap_err();
    let expected = LaunchError::Requirement {
        kernel: "attention_decode<__half>",
        rule: "heads % kv_heads == 0",
        left: 1,
        relation: Relation::Equal,
        right: 0,
        values: Values(vec![
            ("heads", Some(4)),
            ("kv_heads", Some(3)),
            ("head_dim", Some(64)),
            ("rotary_dim", Some(0)),
            ("context", Some(0)),
            ("splits", Some(1)),
        ]),
    };
    assert_eq!(error, expected);
    // division by zero is no number
    assert!(matches!(attend(4, 0, 64), Err(LaunchError::Arithmetic { rule: "heads % kv_heads == 0", .. })));
    assert!(matches!(attend(4, 4, 257), Err(LaunchError::Requirement { rule: "head_dim <= 256", left: 257, .. })));
    let mut index = Buffer::<u32>::zeroed(stream, 1).unwrap();
    assert!(matches!(
        Argmax { x: &empty, index: &mut index, len: 0 }.launch(&queue),
        Err(LaunchError::Requirement { rule: "len >= 1", .. })
    ));
    // 2^32 - 1 rows of 2^32 - 1 elements are computed in 64 bits, and are not there
    let mut out = Buffer::<f32>::zeroed(stream, 0).unwrap();
    let error =
        RmsNorm { x: &empty, weight: &empty, out: &mut out, rows: u32::MAX, dim: u32::MAX, eps: 0.0 }.launch(&queue);
    assert!(
        matches!(error, Err(LaunchError::Arithmetic { .. } | LaunchError::Length { expected: 1.., .. })),
        "{error:?}"
    );
    // a grid that no device has
    let error = RmsNorm { x: &empty, weight: &empty, out: &mut out, rows: 1 << 31, dim: 0, eps: 0.0 }.launch(&queue);
    assert!(matches!(error, Err(LaunchError::Limit { rule: "grid", found: 0x8000_0000, .. })), "{error:?}");
    assert_usable(&device.kernels, stream);
}

#[test]
fn nothing_to_do_is_done() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let empty = Buffer::<f32>::zeroed(&device.stream, 0).unwrap();
    let mut out = Buffer::<f32>::zeroed(&device.stream, 0).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    RmsNorm { x: &empty, weight: &weight, out: &mut out, rows: 0, dim: 64, eps: 0.0 }.launch(&queue).unwrap();
    SiluMul { gate_up: &empty, out: &mut out, rows: 1, dim: 0 }.launch(&queue).unwrap();
    assert!(out.read().unwrap().is_empty());
    out.write(&[]).unwrap();
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn what_is_written_is_nothing_else() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let x = Buffer::from_host(&device.stream, &[3.0f32; 128]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut same = x.slice(..64).unwrap();
    let error = launch(&queue, &x.slice(..64).unwrap(), &weight, &mut same).unwrap_err();
    assert_eq!(error, LaunchError::Overlap { kernel: "rms_norm", written: "out", other: "x" });
    let mut partly = x.slice(63..127).unwrap();
    assert!(matches!(launch(&queue, &x.slice(..64).unwrap(), &weight, &mut partly), Err(LaunchError::Overlap { .. })));
    // side by side is well
    let mut beside = x.slice(64..).unwrap();
    launch(&queue, &x.slice(..64).unwrap(), &weight, &mut beside).unwrap();
    // and so is one buffer read twice
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    launch(&queue, &weight, &weight, &mut out).unwrap();
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn parts_of_buffers_are_aligned() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let words = Buffer::<u32>::zeroed(&device.stream, 256).unwrap();
    let scales = Buffer::<f16>::zeroed(&device.stream, 64).unwrap();
    let x = Buffer::<f32>::zeroed(&device.stream, 132).unwrap();
    let mut y = Buffer::<f32>::zeroed(&device.stream, 1).unwrap();
    for start in 0..5 {
        let part = x.slice(start..start + 128).unwrap();
        let (words, scales, x, y) = (&words, &scales, &part, &mut y);
        let result =
            MatmulPrefillQ1_0 { words, scales, x, y, rows: 1, chunks: 1, tokens: 1, stride: 1, offset: 0, add: true }
                .launch(&queue);
        match start % 4 {
            0 => result.unwrap(),
            _ => {
                let error = result.unwrap_err();
                assert!(matches!(error, LaunchError::Alignment { parameter: "x", alignment: 16, .. }), "{error}");
            }
        }
    }
    assert_eq!(x.slice(5..200).unwrap_err(), BufferError::Range { start: 5, end: 200, length: 132 });
    #[allow(clippy::reversed_empty_ranges, reason = "that is the point")]
    let reversed = x.slice(5..4);
    assert_eq!(reversed.unwrap_err(), BufferError::Range { start: 5, end: 4, length: 132 });
    assert_eq!(x.slice(..=usize::MAX).unwrap_err(), BufferError::Range { start: 0, end: usize::MAX, length: 132 });
    assert_usable(&device.kernels, &device.stream);
}

/// With the bindings of CUDA 13.2 and later, cudarc makes no second context of a device.
#[cfg(not(any(feature = "cuda-13020", feature = "cuda-13030", feature = "cuda-13040")))]
#[test]
fn memory_of_another_context() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let other = cudarc::driver::CudaContext::new_non_primary(0, 0).unwrap();
    let other_stream = other.new_stream().unwrap();
    let x = Buffer::from_host(&other_stream, &[3.0f32; 64]).unwrap();
    let weight = Buffer::from_host(&device.stream, &[1.0f32; 64]).unwrap();
    let mut out = Buffer::zeroed(&device.stream, 64).unwrap();
    let error = launch(&queue, &x, &weight, &mut out).unwrap_err();
    assert!(matches!(error, LaunchError::Context { kernel: "rms_norm", parameter: "x", .. }), "{error}");
    // kernels of one context on a stream of another
    let error = launch(&device.kernels.on(&other_stream), &weight, &weight, &mut out).unwrap_err();
    assert_eq!(error, LaunchError::Stream { kernel: "rms_norm", kernels: 0, stream: 0 });
    assert_usable(&device.kernels, &device.stream);
}

#[test]
fn copies_of_the_wrong_length_and_memory_that_is_not_there() {
    let device = device();
    let mut buffer = Buffer::from_host(&device.stream, &[1u32, 2, 3]).unwrap();
    assert_eq!(buffer.write(&[1, 2]).unwrap_err(), BufferError::Length { buffer: 3, host: 2 });
    assert_eq!(buffer.read_into(&mut [0; 4]).unwrap_err(), BufferError::Length { buffer: 3, host: 4 });
    assert_eq!(buffer.slice(1..).unwrap().read().unwrap(), [2, 3]);
    let too_large = Buffer::<f64>::zeroed(&device.stream, usize::MAX / 4).unwrap_err();
    assert_eq!(too_large, BufferError::TooLarge { elements: usize::MAX / 4, size: 8 });
    let (_, total) = device.context.mem_get_info().unwrap();
    let too_much = Buffer::<u8>::zeroed(&device.stream, total + 1).unwrap_err();
    assert!(matches!(too_much, BufferError::OutOfMemory { bytes, .. } if bytes == total + 1), "{too_much}");
    assert_usable(&device.kernels, &device.stream);
}
