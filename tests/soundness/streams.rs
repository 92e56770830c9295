//! One buffer on several streams, and from several threads.

use warpwright::Buffer;
use warpwright::kernel::matmul_prefill::MatmulPrefillQ1_0;
use warpwright::types::f16;

use crate::common::device;
use crate::{DIM, assert_ones, assert_usable, launch};

/// Two readers on two streams, then a writer: it has to wait for both.
#[test]
fn two_readers_and_a_writer() {
    let device = device();
    let streams = [(); 3].map(|()| device.context.new_stream().unwrap());
    let x = Buffer::from_host(&device.stream, &vec![3.0f32; DIM]).unwrap();
    let weight = Buffer::from_host(&device.stream, &vec![1.0f32; DIM]).unwrap();
    let mut outs = [(); 2].map(|()| Buffer::zeroed(&device.stream, DIM).unwrap());
    for _ in 0..3 {
        for (out, stream) in outs.iter_mut().zip(&streams) {
            launch(&device.kernels.on(stream), &x, &weight, out).unwrap();
        }
        // makes ones of what the readers read, and threes of it again
        let mut written = x.clone();
        launch(&device.kernels.on(&streams[2]), &outs[0], &weight, &mut written).unwrap();
        assert_ones(&written);
        written.write(&vec![3.0f32; DIM]).unwrap();
    }
    outs.iter().for_each(assert_ones);
    assert_usable(&device.kernels, &device.stream);
}

/// Many threads add to one buffer, each on its own stream. Uses follow one another, so nothing is lost.
#[test]
fn threads_that_add_to_one_buffer() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 25;
    let device = device();
    // one row of 128 weights of +1, times ones: 128
    let words = Buffer::from_host(&device.stream, &[0u32; 256]).unwrap();
    let scales = Buffer::from_host(&device.stream, &[f16::ONE; 64]).unwrap();
    let x = Buffer::from_host(&device.stream, &[1.0f32; 128]).unwrap();
    let sum = Buffer::from_host(&device.stream, &[0.0f32]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let stream = device.context.new_stream().unwrap();
                let queue = device.kernels.on(&stream);
                let mut sum = sum.clone();
                for _ in 0..ROUNDS {
                    let (words, scales, x, y) = (&words, &scales, &x, &mut sum);
                    MatmulPrefillQ1_0 {
                        words,
                        scales,
                        x,
                        y,
                        rows: 1,
                        chunks: 1,
                        tokens: 1,
                        stride: 1,
                        offset: 0,
                        add: true,
                    }
                    .launch(&queue)
                    .unwrap();
                }
                stream.synchronize().unwrap();
            });
        }
    });
    assert_usable(&device.kernels, &device.stream);
    let total = sum.read().unwrap()[0];
    assert!((total - (THREADS * ROUNDS * 128) as f32).abs() < 1e-3, "{total}");
}
