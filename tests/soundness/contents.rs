//! Buffers with hostile contents: kernels that index by what they load check it.

use warpwright::Buffer;
use warpwright::kernel::attention::AttentionDecode;
use warpwright::kernel::attention_prefill::AttentionPrefill;
use warpwright::kernel::embedding::EmbeddingRowsT1;
use warpwright::kernel::include;
use warpwright::kernel::qkv_rope_store::QkvRopeStore;
use warpwright::kernel::sample::Sample;
use warpwright::model::Sampling;
use warpwright::types::f16;

use crate::assert_usable;
use crate::common::{Random, device};

#[test]
fn any_token_and_any_position() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let stream = &device.stream;
    let (heads, kv_heads, head_dim, context) = (2, 1, 64, 300);
    let length = 3;
    let count = 4;
    let mut qkv = Buffer::zeroed(stream, (count * (heads + 2 * kv_heads) * head_dim) as usize).unwrap();
    let one_token = qkv.slice(..((heads + 2 * kv_heads) * head_dim) as usize).unwrap();
    let norm = Buffer::zeroed(stream, head_dim as usize).unwrap();
    let turns = Buffer::from_host(stream, &[f64::NAN, f64::INFINITY].repeat(16)).unwrap();
    let cache = |fill: f16| Buffer::from_host(stream, &vec![fill; (kv_heads * context * head_dim) as usize]).unwrap();
    let (mut k_cache, mut v_cache) = (cache(f16::NAN), cache(f16::INFINITY));
    let codes = Buffer::from_host(stream, &vec![-128i8; (kv_heads * context * head_dim) as usize]).unwrap();
    let scales_of = Buffer::from_host(stream, &vec![f32::NAN; (kv_heads * context) as usize]).unwrap();
    let mut mixed = Buffer::zeroed(stream, (count * heads * head_dim) as usize).unwrap();
    let mut mixed_one = mixed.slice(..(heads * head_dim) as usize).unwrap();
    let mut partials = Buffer::zeroed(stream, (2 * heads * (head_dim + 4)) as usize).unwrap();
    let mut parts = Buffer::zeroed(stream, 2 * include::SAMPLING_PART as usize).unwrap();
    // any bits are trits, and scales may be no number
    let words = Buffer::from_host(stream, &[u32::MAX; 64 * 7]).unwrap();
    let scales = Buffer::from_host(stream, &[f16::NAN; 64]).unwrap();
    let mut hidden = Buffer::zeroed(stream, 2 * 128).unwrap();
    // recent tokens are looked up
    let sampling = Sampling { temperature: 1.0, penalty: 2.0, window: u32::MAX, ..Sampling::default() };
    let sampling = Buffer::from_host(stream, &[sampling.to_device().unwrap()]).unwrap();
    let mut logprob = Buffer::zeroed(stream, 1).unwrap();
    let mut random = Random::new(11);
    let mut numbers = vec![0, 1, 2, 3, 4, 5, 6, 200, 299, 300, 1 << 16, 1 << 24, 1 << 31, u32::MAX - 1, u32::MAX];
    numbers.extend((0..20).map(|_| random.below(u32::MAX)));
    for (n, &number) in numbers.iter().enumerate() {
        let other = numbers[(n * 7 + 3) % numbers.len()];
        let mut position = Buffer::from_host(stream, &[number]).unwrap();
        let mut tokens = Buffer::from_host(stream, &[other, number, u32::MAX]).unwrap();
        let mut known = Buffer::from_host(stream, &[other]).unwrap();
        let mut next = Buffer::from_host(stream, &[number]).unwrap();
        EmbeddingRowsT1 {
            tokens: &tokens,
            position: &position,
            words: &words,
            scales: &scales,
            out: &mut hidden,
            context: length,
            vocab: 5,
            chunks: 1,
            rows: 2,
        }
        .launch(&queue)
        .unwrap();
        QkvRopeStore {
            qkv: &mut qkv,
            bias: None::<&Buffer<f32>>,
            q_norm: Some(&norm),
            k_norm: Some(&norm),
            turns: &turns,
            position: &position,
            k_cache: &mut k_cache,
            v_cache: &mut v_cache,
            k_scales: None::<&mut Buffer<f32>>,
            v_scales: None::<&mut Buffer<f32>>,
            tokens: count,
            heads,
            kv_heads,
            head_dim,
            rotary_dim: head_dim,
            context,
            interleaved: false,
            eps: 0.0,
            magnitude: f32::NAN,
        }
        .launch(&queue)
        .unwrap();
        // Counters of arrivals that are no zeros: the last block may be none, or any.
        let mut arrivals = Buffer::from_host(stream, &[other % 4]).unwrap();
        AttentionDecode {
            qkv: &one_token,
            bias: None::<&Buffer<f32>>,
            q_norm: Some(&norm),
            k_norm: Some(&norm),
            turns: &turns,
            position: &position,
            k_cache: &mut k_cache,
            v_cache: &mut v_cache,
            k_scales: None::<&mut Buffer<f32>>,
            v_scales: None::<&mut Buffer<f32>>,
            partials: &mut partials,
            arrivals: &mut arrivals,
            out: &mut mixed_one,
            heads,
            kv_heads,
            head_dim,
            rotary_dim: head_dim,
            context,
            splits: 2,
            interleaved: false,
            eps: 0.0,
            magnitude: f32::NAN,
            scale: f32::INFINITY,
        }
        .launch(&queue)
        .unwrap();
        AttentionPrefill {
            qkv: &qkv,
            k_cache: &codes,
            v_cache: &codes,
            k_scales: Some(&scales_of),
            v_scales: None::<&Buffer<f32>>,
            position: &position,
            out: &mut mixed,
            tokens: count,
            heads,
            kv_heads,
            head_dim,
            context,
            scale: f32::INFINITY,
        }
        .launch(&queue)
        .unwrap();
        Sample {
            logits: &hidden,
            tokens: &mut tokens,
            position: &mut position,
            known: &mut known,
            sampling: &sampling,
            next: &mut next,
            logprob: &mut logprob,
            parts: &mut parts,
            arrivals: &mut arrivals.slice(..1).unwrap(),
            vocab: 256,
            context: length,
            count: number.max(1),
            blocks: 2,
        }
        .launch(&queue)
        .unwrap();
        stream.synchronize().unwrap();
    }
    assert_usable(&device.kernels, stream);
}
