//! What is between the matrix products of a layer's attention, against plain loops in f64: bias, norms, rotation, the
//! cache in both formats, and attention, of one token in one launch, and of many in two.

mod common;

use std::f64::consts::TAU;

use bytemuck::Pod;
use common::{Device, Random, assert_close, device, largest, largest_difference};
use half::f16;
use warpwright::Buffer;
use warpwright::kernel::attention::AttentionDecode;
use warpwright::kernel::attention_prefill::AttentionPrefill;
use warpwright::kernel::qkv_rope_store::QkvRopeStore;
use warpwright::launch::Graph;

/// How many heads, KV heads, and elements of a head; how many positions the cache has.
#[derive(Debug, Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    context: usize,
}

impl Shape {
    fn all_heads(&self) -> usize {
        self.heads + 2 * self.kv_heads
    }

    fn rows(&self) -> usize {
        self.kv_heads * self.context
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Keys and values as the cache has them, and what they stand for.
struct Cache<T> {
    keys: Vec<T>,
    values: Vec<T>,
    scales: Option<[Vec<f32>; 2]>,
    shape: Shape,
}

/// An element of a cache.
trait Element: Pod + std::fmt::Debug + PartialEq {
    /// A head as the cache has it, with its scale if this format has one.
    fn store(head: &[f64]) -> (Vec<Self>, Option<f32>);
    fn value(self) -> f64;
    /// Something that is nowhere stored.
    fn poison() -> Self;
}

impl Element for f16 {
    fn store(head: &[f64]) -> (Vec<Self>, Option<f32>) {
        (head.iter().map(|x| Self::from_f64(*x)).collect(), None)
    }

    fn value(self) -> f64 {
        self.to_f64()
    }

    fn poison() -> Self {
        Self::NAN
    }
}

impl Element for i8 {
    fn store(head: &[f64]) -> (Vec<Self>, Option<f32>) {
        let scale = largest(head) / 127.0;
        let code = |x: &f64| if scale > 0.0 { (x / scale).round() as Self } else { 0 };
        (head.iter().map(code).collect(), Some(scale as f32))
    }

    fn value(self) -> f64 {
        f64::from(self)
    }

    fn poison() -> Self {
        -128
    }
}

impl<T: Element> Cache<T> {
    fn poisoned(shape: Shape) -> Self {
        let elements = vec![T::poison(); shape.rows() * shape.head_dim];
        let scales = T::store(&[1.0]).1.map(|_| [vec![f32::NAN; shape.rows()], vec![f32::NAN; shape.rows()]]);
        Self { keys: elements.clone(), values: elements, scales, shape }
    }

    /// Stores random heads in the positions before `end`. Returns them as they were before.
    fn fill(&mut self, random: &mut Random, end: usize) -> [Vec<f64>; 2] {
        let mut before = [Vec::new(), Vec::new()];
        for row in 0..self.shape.rows() {
            for (which, before) in before.iter_mut().enumerate() {
                let head: Vec<f64> = random.normals(self.shape.head_dim).into_iter().map(f64::from).collect();
                if row % self.shape.context < end {
                    self.put(which, row, &head);
                }
                before.extend(head);
            }
        }
        before
    }

    fn put(&mut self, which: usize, row: usize, head: &[f64]) {
        let (stored, scale) = T::store(head);
        let elements = if which == 0 { &mut self.keys } else { &mut self.values };
        elements[row * self.shape.head_dim..][..self.shape.head_dim].copy_from_slice(&stored);
        if let (Some(scales), Some(scale)) = (&mut self.scales, scale) {
            scales[which][row] = scale;
        }
    }

    /// All that the cache stands for: keys and values.
    fn read(&self) -> [Vec<f64>; 2] {
        [&self.keys, &self.values].map(|elements| {
            let which = usize::from(std::ptr::eq(elements, &raw const self.values));
            let scale = |row: usize| self.scales.as_ref().map_or(1.0, |scales| f64::from(scales[which][row]));
            let value = |(n, x): (usize, &T)| x.value() * scale(n / self.shape.head_dim);
            elements.iter().enumerate().map(value).collect()
        })
    }
}

/// Attention of `tokens` tokens over `[keys, values]`, token by token, head by head, position by position.
fn reference(shape: &Shape, qkv: &[f32], cache: &[Vec<f64>; 2], position: u32, tokens: usize) -> Vec<f64> {
    let &Shape { heads, kv_heads, head_dim, context } = shape;
    let [keys, values] = cache;
    let mut expected = Vec::new();
    for token in 0..tokens {
        let length = (position as usize + token).min(context - 1) + 1;
        for head in 0..heads {
            let q = &qkv[(token * shape.all_heads() + head) * head_dim..][..head_dim];
            let first = head / (heads / kv_heads) * context;
            let rows = |elements: &[f64]| elements[first * head_dim..][..length * head_dim].to_vec();
            let (keys, values) = (rows(keys), rows(values));
            let score = |key: &[f64]| -> f64 {
                key.iter().zip(q).map(|(k, q)| k * f64::from(*q)).sum::<f64>() * f64::from(shape.scale())
            };
            let scores: Vec<f64> = keys.chunks_exact(head_dim).map(score).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut mixed = vec![0.0; head_dim];
            for (weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
                mixed.iter_mut().zip(value).for_each(|(mixed, v)| *mixed += weight / sum * v);
            }
            expected.extend(mixed);
        }
    }
    expected
}

/// A cache on a device.
#[derive(Debug)]
struct OnDevice<T> {
    keys: Buffer<T>,
    values: Buffer<T>,
    scales: Option<[Buffer<f32>; 2]>,
}

impl<T: Element> Cache<T> {
    fn upload(&self, device: &Device) -> OnDevice<T> {
        let scales = self.scales.as_ref().map(|scales| scales.each_ref().map(|scales| device.upload(scales)));
        OnDevice { keys: device.upload(&self.keys), values: device.upload(&self.values), scales }
    }

    /// What a cache on a device has become.
    fn after(&self, on_device: &OnDevice<T>) -> Self {
        let scales = on_device.scales.as_ref().map(|scales| scales.each_ref().map(|scales| scales.read().unwrap()));
        let (keys, values) = (on_device.keys.read().unwrap(), on_device.values.read().unwrap());
        Self { keys, values, scales, shape: self.shape }
    }
}

/// The scales of a cache, to be written.
fn scales_of<T>(cache: &mut OnDevice<T>) -> (Option<&mut Buffer<f32>>, Option<&mut Buffer<f32>>) {
    match &mut cache.scales {
        Some([k, v]) => (Some(k), Some(v)),
        None => (None, None),
    }
}

/// Defines, for an element, functions that launch the kernels. The types of launchers are not to be named.
macro_rules! attention_of {
    ($($element:ty: $prefill:ident $decode:ident $store:ident),*) => {$(
        fn $prefill(
            device: &Device,
            shape: &Shape,
            cache: &OnDevice<$element>,
            qkv: &[f32],
            position: u32,
            tokens: usize,
        ) -> Vec<f32> {
            let mut out = device.poisoned(tokens * shape.heads * shape.head_dim);
            AttentionPrefill {
                qkv: &device.upload(qkv),
                k_cache: &cache.keys,
                v_cache: &cache.values,
                k_scales: cache.scales.as_ref().map(|scales| &scales[0]),
                v_scales: cache.scales.as_ref().map(|scales| &scales[1]),
                position: &device.upload(&[position]),
                out: &mut out,
                tokens: tokens as u32,
                heads: shape.heads as u32,
                kv_heads: shape.kv_heads as u32,
                head_dim: shape.head_dim as u32,
                context: shape.context as u32,
                scale: shape.scale(),
            }
            .launch(&device.kernels.on(&device.stream))
            .unwrap();
            out.read().unwrap()
        }

        /// What is mixed; the cache is written.
        fn $decode(
            device: &Device,
            case: &Rotation,
            splits: u32,
            cache: &mut OnDevice<$element>,
            qkv: &[f32],
        ) -> Vec<f32> {
            let shape = &case.shape;
            let [bias, q_norm, k_norm] = case.weights(device);
            let parts = splits as usize * shape.heads * (shape.head_dim.next_multiple_of(4) + 4);
            let mut arrivals = device.upload(&vec![0; shape.heads]);
            let mut out = device.poisoned(shape.heads * shape.head_dim);
            let (keys, values) = (cache.keys.clone(), cache.values.clone());
            let (k_scales, v_scales) = scales_of(cache);
            AttentionDecode {
                qkv: &device.upload(qkv),
                bias: bias.as_ref(),
                q_norm: q_norm.as_ref(),
                k_norm: k_norm.as_ref(),
                turns: &device.upload(&case.turns),
                position: &device.upload(&[case.position]),
                k_cache: &mut { keys },
                v_cache: &mut { values },
                k_scales,
                v_scales,
                partials: &mut device.poisoned(parts),
                arrivals: &mut arrivals,
                out: &mut out,
                heads: shape.heads as u32,
                kv_heads: shape.kv_heads as u32,
                head_dim: shape.head_dim as u32,
                rotary_dim: 2 * case.turns.len() as u32,
                context: shape.context as u32,
                splits,
                interleaved: case.interleaved,
                eps: EPS,
                magnitude: MAGNITUDE,
                scale: shape.scale(),
            }
            .launch(&device.kernels.on(&device.stream))
            .unwrap();
            assert_eq!(arrivals.read().unwrap(), vec![0; shape.heads], "the next launch finds zeros");
            out.read().unwrap()
        }

        /// What `qkv` is afterwards; the cache is written.
        fn $store(device: &Device, case: &Rotation, cache: &mut Cache<$element>, qkv: &[f32]) -> Vec<f32> {
            let mut on_device = cache.upload(device);
            let mut rotated = device.upload(qkv);
            let [bias, q_norm, k_norm] = case.weights(device);
            let (keys, values) = (on_device.keys.clone(), on_device.values.clone());
            let (k_scales, v_scales) = scales_of(&mut on_device);
            QkvRopeStore {
                qkv: &mut rotated,
                bias: bias.as_ref(),
                q_norm: q_norm.as_ref(),
                k_norm: k_norm.as_ref(),
                turns: &device.upload(&case.turns),
                position: &device.upload(&[case.position]),
                k_cache: &mut { keys },
                v_cache: &mut { values },
                k_scales,
                v_scales,
                tokens: case.tokens as u32,
                heads: case.shape.heads as u32,
                kv_heads: case.shape.kv_heads as u32,
                head_dim: case.shape.head_dim as u32,
                rotary_dim: 2 * case.turns.len() as u32,
                context: case.shape.context as u32,
                interleaved: case.interleaved,
                eps: EPS,
                magnitude: MAGNITUDE,
            }
            .launch(&device.kernels.on(&device.stream))
            .unwrap();
            *cache = cache.after(&on_device);
            rotated.read().unwrap()
        }
    )*};
}
attention_of!(f16: prefill_f16 decode_f16 store_f16, i8: prefill_q8 decode_q8 store_q8);

const EPS: f32 = 1e-6;
const MAGNITUDE: f32 = 1.25;

/// How queries and keys are finished, and where.
#[derive(Debug)]
struct Rotation {
    shape: Shape,
    tokens: usize,
    position: u32,
    bias: Option<Vec<f32>>,
    q_norm: Option<Vec<f32>>,
    k_norm: Option<Vec<f32>>,
    turns: Vec<f64>,
    interleaved: bool,
}

impl Rotation {
    /// The bias, and the norms of queries and keys.
    fn weights(&self, device: &Device) -> [Option<Buffer<f32>>; 3] {
        [&self.bias, &self.q_norm, &self.k_norm].map(|x| x.as_ref().map(|x| device.upload(x)))
    }

    fn random(random: &mut Random, shape: Shape, tokens: usize, position: u32) -> Self {
        let pairs = shape.head_dim / 2;
        let turn = |i: usize| 1e6f64.powf(-(i as f64) / pairs as f64) / TAU;
        Self {
            shape,
            tokens,
            position,
            bias: None,
            q_norm: Some(random.normals(shape.head_dim)),
            k_norm: Some(random.normals(shape.head_dim)),
            turns: (0..pairs).map(turn).collect(),
            interleaved: false,
        }
    }

    /// What a head of a token becomes.
    fn head(&self, qkv: &[f32], token: usize, n: usize) -> Vec<f64> {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let all = self.shape.all_heads();
        let start = (token * all + n) * head_dim;
        let bias = |i: usize| self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[n * head_dim + i]));
        let mut head: Vec<f64> = (0..head_dim).map(|i| f64::from(qkv[start + i]) + bias(i)).collect();
        if n >= heads + kv_heads {
            return head;
        }
        if let Some(norm) = if n < heads { &self.q_norm } else { &self.k_norm } {
            let mean = head.iter().map(|x| x * x).sum::<f64>() / head_dim as f64;
            let scale = (mean + f64::from(EPS)).sqrt();
            head.iter_mut().zip(norm).for_each(|(x, norm)| *x *= f64::from(*norm) / scale);
        }
        let pairs = self.turns.len();
        for (i, turns) in self.turns.iter().enumerate() {
            // whole turns are taken away first: an angle of 2^32 radians would lose its own fraction
            let at = (u64::from(self.position) + token as u64) as f64;
            let (sin, cos) = ((at * turns).fract() * TAU).sin_cos();
            let (first, second) = if self.interleaved { (2 * i, 2 * i + 1) } else { (i, i + pairs) };
            let (a, b) = (head[first], head[second]);
            head[first] = f64::from(MAGNITUDE) * (a * cos - b * sin);
            head[second] = f64::from(MAGNITUDE) * (b * cos + a * sin);
        }
        head
    }

    /// Compares what `qkv_rope_store` made of `qkv`.
    fn check_queries(&self, before: &[f32], after: &[f32]) {
        let Shape { heads, head_dim, .. } = self.shape;
        for token in 0..self.tokens {
            for n in 0..self.shape.all_heads() {
                let start = (token * self.shape.all_heads() + n) * head_dim;
                if n < heads {
                    assert_close(&self.name(), &after[start..][..head_dim], &self.head(before, token, n), 3e-6);
                } else {
                    assert_eq!(
                        after[start..][..head_dim],
                        before[start..][..head_dim],
                        "{}: k and v stay",
                        self.name()
                    );
                }
            }
        }
    }

    fn name(&self) -> String {
        let Self { shape, tokens, position, interleaved, .. } = self;
        format!("{shape:?}, {tokens} tokens from {position}, {} pairs, {interleaved}", self.turns.len())
    }

    /// Compares the cache with what it was before.
    fn check_cache<T: Element>(&self, qkv: &[f32], before: &Cache<T>, after: &Cache<T>, step: impl Fn(&[f64]) -> f64) {
        let Shape { heads, kv_heads, head_dim, context } = self.shape;
        let what = self.name();
        for (which, found) in after.read().iter().enumerate() {
            for row in 0..self.shape.rows() {
                let found = &found[row * head_dim..][..head_dim];
                let token = (row % context).checked_sub(self.position as usize).filter(|token| *token < self.tokens);
                let Some(token) = token else {
                    let bytes = |cache: &Cache<T>| {
                        let elements = [&cache.keys, &cache.values][which];
                        let scale = cache.scales.as_ref().map(|scales| scales[which][row].to_bits());
                        (bytemuck::cast_slice::<T, u8>(&elements[row * head_dim..][..head_dim]).to_vec(), scale)
                    };
                    assert_eq!(bytes(before), bytes(after), "{what}: row {row} is written");
                    continue;
                };
                let expected = self.head(qkv, token, heads + which * kv_heads + row / context);
                // half a step of the format, and what f32 adds
                let bound = step(&expected) / 2.0 + 4e-6 * largest(&expected);
                let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(error <= bound, "{what}: row {row} of {which} is off by {error:.2e}, over {bound:.2e}");
            }
        }
    }

    fn run(&self, device: &Device, random: &mut Random) {
        let qkv = random.normals(self.tokens * self.shape.all_heads() * self.shape.head_dim);
        let mut cache = Cache::<f16>::poisoned(self.shape);
        let rotated = store_f16(device, self, &mut cache, &qkv);
        self.check_queries(&qkv, &rotated);
        self.check_cache(&qkv, &Cache::poisoned(self.shape), &cache, f16_step);
        let mut cache = Cache::<i8>::poisoned(self.shape);
        let rotated = store_q8(device, self, &mut cache, &qkv);
        self.check_queries(&qkv, &rotated);
        self.check_cache(&qkv, &Cache::poisoned(self.shape), &cache, q8_step);
        if self.tokens == 1 {
            for splits in [1, 2, 7] {
                self.decodes(device, random, splits, 1.0, 5e-6);
            }
        }
    }

    /// One token, whose elements are `size` in the mean, over a cache of all positions before, in both formats.
    fn decodes(&self, device: &Device, random: &mut Random, splits: u32, size: f32, tolerance: f64) {
        let qkv: Vec<f32> =
            random.normals(self.shape.all_heads() * self.shape.head_dim).iter().map(|x| x * size).collect();
        let cached = (self.position as usize).min(self.shape.context);
        let mut cache = Cache::<f16>::poisoned(self.shape);
        cache.fill(random, cached);
        let mut on_device = cache.upload(device);
        let found = decode_f16(device, self, splits, &mut on_device, &qkv);
        self.check_decoded("f16", splits, &qkv, &cache, &cache.after(&on_device), &found, tolerance, f16_step);
        let mut cache = Cache::<i8>::poisoned(self.shape);
        cache.fill(random, cached);
        let mut on_device = cache.upload(device);
        let found = decode_q8(device, self, splits, &mut on_device, &qkv);
        self.check_decoded("8 bits", splits, &qkv, &cache, &cache.after(&on_device), &found, tolerance, q8_step);
    }

    /// Compares what `attention_decode` mixed, and the cache.
    #[allow(clippy::too_many_arguments, reason = "all that there is before and after")]
    fn check_decoded<T: Element>(
        &self,
        format: &str,
        splits: u32,
        qkv: &[f32],
        before: &Cache<T>,
        after: &Cache<T>,
        found: &[f32],
        tolerance: f64,
        step: impl Fn(&[f64]) -> f64,
    ) {
        self.check_cache(qkv, before, after, step);
        let queries = (0..self.shape.heads).flat_map(|n| self.head(qkv, 0, n)).map(|x| x as f32);
        let queries: Vec<f32> = queries.chain(vec![0.0; 2 * self.shape.kv_heads * self.shape.head_dim]).collect();
        // The token sees itself as the cache has it.
        let expected = reference(&self.shape, &queries, &after.read(), self.position, 1);
        assert_close(&format!("{format}, {}, {splits} splits", self.name()), found, &expected, tolerance);
    }
}

/// f16 has 11 bits.
fn f16_step(head: &[f64]) -> f64 {
    largest(head) / 1024.0
}

fn q8_step(head: &[f64]) -> f64 {
    largest(head) / 127.0
}

/// Shapes whose context is just long enough.
fn shapes(end: usize) -> impl Iterator<Item = Shape> {
    let heads = [(4, 2, 64), (1, 1, 128), (6, 3, 80), (4, 2, 256), (5, 1, 94), (2, 2, 2)];
    heads.into_iter().map(move |(heads, kv_heads, head_dim)| Shape { heads, kv_heads, head_dim, context: end })
}

#[test]
fn rotated_and_stored() {
    let device = device();
    let mut random = Random::new(4);
    for (tokens, position) in [(1, 0), (1, 17), (2, 3), (9, 31), (17, 100)] {
        for shape in shapes(tokens + position as usize) {
            Rotation::random(&mut random, shape, tokens, position).run(&device, &mut random);
        }
    }
}

#[test]
fn rotated_with_bias_without_norms_interleaved_and_in_part() {
    let device = device();
    let mut random = Random::new(5);
    for (n, shape) in shapes(12).enumerate() {
        let rotation = Rotation::random(&mut random, shape, 8, 4);
        let bias = Some(random.normals(shape.all_heads() * shape.head_dim));
        let in_part = rotation.turns[..shape.head_dim / 4].to_vec();
        // Qwen2, Llama, each norm alone, and all at once, with a part of the head rotated, or nothing
        Rotation { bias: bias.clone(), q_norm: None, k_norm: None, ..Rotation::random(&mut random, shape, 8, 4) }
            .run(&device, &mut random);
        Rotation { interleaved: true, q_norm: None, k_norm: None, ..Rotation::random(&mut random, shape, 8, 4) }
            .run(&device, &mut random);
        let mut one_norm = Rotation::random(&mut random, shape, 8, 4);
        *(if n % 2 == 0 { &mut one_norm.q_norm } else { &mut one_norm.k_norm }) = None;
        one_norm.run(&device, &mut random);
        Rotation { bias, turns: in_part.clone(), interleaved: true, ..rotation }.run(&device, &mut random);
        Rotation { turns: in_part, ..Rotation::random(&mut random, shape, 8, 4) }.run(&device, &mut random);
        Rotation { turns: Vec::new(), ..Rotation::random(&mut random, shape, 8, 4) }.run(&device, &mut random);
    }
}

#[test]
fn nothing_is_stored_past_the_context() {
    let device = device();
    let mut random = Random::new(6);
    // the second half of the tokens, all of them, and positions over 2^32
    for position in [3, 7, 100, u32::MAX - 2] {
        for shape in shapes(7) {
            Rotation::random(&mut random, shape, 8, position).run(&device, &mut random);
        }
    }
}

#[test]
fn far_positions_keep_their_angle() {
    let device = device();
    let mut random = Random::new(7);
    for position in [65_535, 1 << 24, u32::MAX] {
        let shape = Shape { heads: 2, kv_heads: 1, head_dim: 128, context: 1 };
        Rotation::random(&mut random, shape, 2, position).run(&device, &mut random);
    }
}

#[test]
fn zeros_and_large_values_are_stored_in_8_bits() {
    let device = device();
    let mut random = Random::new(8);
    let shape = Shape { heads: 1, kv_heads: 1, head_dim: 64, context: 3 };
    let mut rotation = Rotation::random(&mut random, shape, 3, 0);
    (rotation.q_norm, rotation.k_norm) = (None, None);
    let mut qkv = random.normals(3 * 3 * 64);
    qkv[64..192].fill(0.0);
    qkv[192..576].iter_mut().for_each(|x| *x *= 1e30);
    let mut cache = Cache::<i8>::poisoned(shape);
    let rotated = store_q8(&device, &rotation, &mut cache, &qkv);
    rotation.check_queries(&qkv, &rotated);
    rotation.check_cache(&qkv, &Cache::poisoned(shape), &cache, q8_step);
    assert!(cache.keys[..64].iter().chain(&cache.values[..64]).all(|code| *code == 0), "zeros");
    let scales = cache.scales.unwrap();
    assert_eq!([scales[0][0], scales[1][0]], [0.0; 2]);
}

/// Attention of several tokens from `position` on, in both formats.
fn attends(device: &Device, random: &mut Random, shape: Shape, position: u32, tokens: usize) {
    let what = format!("{shape:?}, {tokens} tokens from {position}");
    let qkv = random.normals(tokens * shape.all_heads() * shape.head_dim);
    let end = (position as usize).saturating_add(tokens).min(shape.context);

    let mut cache = Cache::<f16>::poisoned(shape);
    cache.fill(random, end);
    let expected = reference(&shape, &qkv, &cache.read(), position, tokens);
    let found = prefill_f16(device, &shape, &cache.upload(device), &qkv, position, tokens);
    assert_close(&format!("f16, {what}"), &found, &expected, 5e-6);

    let mut cache = Cache::<i8>::poisoned(shape);
    let before = cache.fill(random, end);
    let expected = reference(&shape, &qkv, &cache.read(), position, tokens);
    let found = prefill_q8(device, &shape, &cache.upload(device), &qkv, position, tokens);
    assert_close(&format!("8 bits, {what}"), &found, &expected, 5e-6);
    let exact = reference(&shape, &qkv, &before, position, tokens);
    let error = largest_difference(&found, &exact) / largest(&exact);
    assert!(error <= Q8_BOUND, "8 bits, {what}: {error:.3} of the largest from what it is without rounding");
}

/// How far attention over an 8-bit cache is from that over keys and values that are not rounded, for normally distributed
/// elements, as a part of the largest element. A value is off by at most 1/254 of the largest of its head, that is 0.4 %;
/// a score by about 0.3 % of its deviation.
const Q8_BOUND: f64 = 0.02;

#[test]
fn attention_of_one_token_at_any_position() {
    let device = device();
    let mut random = Random::new(16);
    // Around tiles of 16, and parts of 128 positions; more splits than parts, and parts that are no multiple of 128.
    for position in [0, 1, 14, 15, 16, 17, 126, 127, 128, 129, 143, 255, 256, 300, 700] {
        for (n, (heads, kv_heads, head_dim)) in
            [(4, 1, 128), (5, 1, 64), (4, 2, 80), (3, 1, 256)].into_iter().enumerate()
        {
            // Some have room in the context.
            let shape = Shape { heads, kv_heads, head_dim, context: position as usize + 1 + n * 5 };
            let rotation = Rotation::random(&mut random, shape, 1, position);
            for splits in if position < 128 { &[1, 3][..] } else { &[1, 2, 3, 128] } {
                rotation.decodes(&device, &mut random, *splits, 1.0, 5e-6);
            }
        }
    }
}

#[test]
fn attention_of_one_token_with_any_heads() {
    let device = device();
    let mut random = Random::new(17);
    let some = [(1, 1), (4, 1), (5, 1), (7, 1), (8, 1), (9, 1), (16, 1), (17, 1), (10, 2), (36, 2)];
    let head_dims = [128, 64, 80, 256, 94, 2, 1, 129, 33, 136];
    for (n, (heads, kv_heads)) in some.into_iter().enumerate() {
        for head_dim in [head_dims[n], head_dims[(n + 3) % 10], 128, 64] {
            let shape = Shape { heads, kv_heads, head_dim, context: 190 };
            for (position, splits) in [(20, 2), (150, 2)] {
                Rotation::random(&mut random, shape, 1, position).decodes(&device, &mut random, splits, 1.0, 5e-6);
            }
        }
    }
}

#[test]
fn one_token_past_the_context_attends_to_all_of_it() {
    let device = device();
    let mut random = Random::new(18);
    for position in [33, 34, 47, u32::MAX] {
        for shape in shapes(33) {
            Rotation::random(&mut random, shape, 1, position).decodes(&device, &mut random, 2, 1.0, 5e-6);
        }
    }
}

#[test]
fn it_begins_before_the_one_before_it_has_ended() {
    let device = device();
    let mut random = Random::new(20);
    let shape = Shape { heads: 4, kv_heads: 2, head_dim: 64, context: 300 };
    let rotation = Rotation::random(&mut random, shape, 1, 299);
    let qkv = random.normals(shape.all_heads() * 64);
    let mut cache = Cache::<f16>::poisoned(shape);
    cache.fill(&mut random, 299);
    let expected = decode_f16(&device, &rotation, 3, &mut cache.upload(&device), &qkv);

    // Layers have caches of their own, and the rest in common: the kernel after another one looks at its cache at once.
    let mut caches = [cache.upload(&device), cache.upload(&device)];
    let (qkv, turns, position) =
        (device.upload(&qkv), device.upload(&rotation.turns), device.upload(&[rotation.position]));
    let [q_norm, k_norm] = [&rotation.q_norm, &rotation.k_norm].map(|x| x.as_ref().map(|x| device.upload(x)));
    let (mut partials, mut arrivals) = (device.poisoned(3 * 4 * 68), device.upload(&[0u32; 2]));
    let mut outs = [device.poisoned(4 * 64), device.poisoned(4 * 64)];
    let graph = Graph::record(&device.kernels, |graph| {
        for (cache, out) in caches.iter_mut().zip(&mut outs) {
            AttentionDecode {
                qkv: &qkv,
                bias: None::<&Buffer<f32>>,
                q_norm: q_norm.as_ref(),
                k_norm: k_norm.as_ref(),
                turns: &turns,
                position: &position,
                k_cache: &mut cache.keys,
                v_cache: &mut cache.values,
                k_scales: None::<&mut Buffer<f32>>,
                v_scales: None::<&mut Buffer<f32>>,
                partials: &mut partials,
                arrivals: &mut arrivals,
                out,
                heads: 4,
                kv_heads: 2,
                head_dim: 64,
                rotary_dim: 64,
                context: 300,
                splits: 3,
                interleaved: false,
                eps: EPS,
                magnitude: MAGNITUDE,
                scale: shape.scale(),
            }
            .launch(graph)?;
        }
        Ok(())
    })
    .unwrap();
    // Where the device can do that.
    let (major, _) = device.context.compute_capability().unwrap();
    assert_eq!(graph.programmatic_edges(), usize::from(major >= 9));
    for _ in 0..2 {
        graph.launch(&device.stream).unwrap();
        for out in &outs {
            assert_eq!(out.read().unwrap(), expected);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_order_of_blocks() {
    let device = device();
    let mut random = Random::new(19);
    let shape = Shape { heads: 4, kv_heads: 2, head_dim: 128, context: 700 };
    let rotation = Rotation::random(&mut random, shape, 1, 650);
    let qkv = random.normals(shape.all_heads() * 128);
    let mut cache = Cache::<f16>::poisoned(shape);
    cache.fill(&mut random, 650);
    let run = || decode_f16(&device, &rotation, 5, &mut cache.upload(&device), &qkv);
    let first = run();
    for _ in 0..4 {
        assert_eq!(run(), first);
    }
}

#[test]
fn attention_of_any_number_of_tokens() {
    let device = device();
    let mut random = Random::new(9);
    for tokens in [1, 2, 8, 9, 16, 17, 33] {
        for position in [0, 1, 31, 100] {
            for shape in shapes(position as usize + tokens).take(4) {
                attends(&device, &mut random, shape, position, tokens);
            }
        }
    }
}

#[test]
fn attention_of_129_tokens() {
    let device = device();
    let mut random = Random::new(10);
    for (position, heads, kv_heads, head_dim) in [(0, 4, 2, 64), (1, 6, 3, 128), (31, 2, 1, 256), (100, 3, 3, 80)] {
        let shape = Shape { heads, kv_heads, head_dim, context: position as usize + 129 };
        attends(&device, &mut random, shape, position, 129);
    }
}

#[test]
fn attention_of_odd_heads_with_room_in_the_context() {
    let device = device();
    let mut random = Random::new(11);
    for (heads, kv_heads, head_dim) in [(5, 1, 94), (2, 2, 2), (3, 1, 1), (7, 7, 33), (8, 1, 129), (4, 2, 136)] {
        // what is past the last token is poisoned, and does not show
        let shape = Shape { heads, kv_heads, head_dim, context: 77 };
        attends(&device, &mut random, shape, 20, 11);
    }
}

#[test]
fn positions_past_the_context_attend_to_all_of_it() {
    let device = device();
    let mut random = Random::new(12);
    for position in [30, 33, u32::MAX] {
        for shape in shapes(33) {
            attends(&device, &mut random, shape, position, 9);
        }
    }
}

#[test]
fn far_scores_and_long_tails() {
    let device = device();
    let mut random = Random::new(13);
    let shape = Shape { heads: 2, kv_heads: 1, head_dim: 64, context: 400 };
    // Queries of which one position takes all, and others of which a thousandth is spread over all positions but one.
    for (size, tolerance) in [(60.0, 3e-5), (1e-3, 5e-6), (4.0, 5e-6)] {
        let qkv: Vec<f32> = random.normals(40 * shape.all_heads() * 64).iter().map(|x| x * size).collect();
        let mut cache = Cache::<f16>::poisoned(shape);
        cache.fill(&mut random, 400);
        let expected = reference(&shape, &qkv, &cache.read(), 360, 40);
        let found = prefill_f16(&device, &shape, &cache.upload(&device), &qkv, 360, 40);
        assert_close(&format!("queries of {size}"), &found, &expected, tolerance);

        let mut one = Rotation::random(&mut random, shape, 1, 399);
        (one.q_norm, one.k_norm) = (None, None);
        one.decodes(&device, &mut random, 3, size, tolerance);
    }
}

#[test]
fn what_is_not_aligned_is_read_as_well() {
    let device = device();
    let mut random = Random::new(14);
    let shape = Shape { heads: 4, kv_heads: 2, head_dim: 64, context: 40 };
    let qkv = random.normals(9 * shape.all_heads() * 64);
    let mut cache = Cache::<f16>::poisoned(shape);
    cache.fill(&mut random, 40);
    let expected = reference(&shape, &qkv, &cache.read(), 31, 9);
    let shifted = |elements: &[f16]| {
        let longer: Vec<f16> = std::iter::once(f16::NAN).chain(elements.iter().copied()).collect();
        device.upload(&longer).slice(1..).unwrap()
    };
    let on_device = OnDevice { keys: shifted(&cache.keys), values: shifted(&cache.values), scales: None };
    let found = prefill_f16(&device, &shape, &on_device, &qkv, 31, 9);
    assert_close("a cache that begins at an odd element", &found, &expected, 5e-6);

    let rotation = Rotation::random(&mut random, shape, 1, 31);
    let qkv = &qkv[..shape.all_heads() * 64];
    let mut on_device = OnDevice { keys: shifted(&cache.keys), values: shifted(&cache.values), scales: None };
    let found = decode_f16(&device, &rotation, 1, &mut on_device, qkv);
    rotation.check_decoded("odd", 1, qkv, &cache, &cache.after(&on_device), &found, 5e-6, f16_step);
}

#[test]
fn without_scales_they_are_one() {
    let device = device();
    let mut random = Random::new(15);
    let shape = Shape { heads: 2, kv_heads: 1, head_dim: 64, context: 12 };
    let mut rotation = Rotation::random(&mut random, shape, 12, 0);
    (rotation.q_norm, rotation.k_norm, rotation.turns) = (None, None, vec![]);
    // whole numbers, of which some are too large for a code
    let qkv: Vec<f32> = random.normals(12 * shape.all_heads() * 64).iter().map(|x| (x * 40.0).round()).collect();
    let mut cache = Cache { scales: None, ..Cache::<i8>::poisoned(shape) };
    store_q8(&device, &rotation, &mut cache, &qkv);
    for token in 0..12 {
        for i in 0..64 {
            let x = qkv[(token * 4 + 2) * 64 + i];
            assert_eq!(f32::from(cache.keys[token * 64 + i]), x.clamp(-127.0, 127.0));
        }
    }
    let expected = reference(&shape, &qkv, &cache.read(), 0, 12);
    let mut on_device = cache.upload(&device);
    // Scores are in the thousands, so a rounding of f32 is a part of a thousand of a weight.
    assert_close("prefill", &prefill_q8(&device, &shape, &on_device, &qkv, 0, 12), &expected, 2e-3);
    (rotation.tokens, rotation.position) = (1, 11);
    let found = decode_q8(&device, &rotation, 1, &mut on_device, &qkv[11 * 4 * 64..]);
    assert_close("decode", &found, &expected[11 * 128..], 2e-3);
    assert_eq!(cache.after(&on_device).keys, cache.keys, "what was there before is stored again");
}
