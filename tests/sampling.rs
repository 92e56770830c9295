//! Sampling on the device against the same chain in f64 on the host.

mod common;

use std::collections::BTreeSet;

use common::{Device, Random, device};
use warpwright::Buffer;
use warpwright::kernel::argmax::Argmax;
use warpwright::kernel::include;
use warpwright::kernel::sample::Sample;
use warpwright::model::Sampling;

/// A draw from logits on the device.
struct Draws<'a> {
    device: &'a Device,
    logits: Buffer<f32>,
    tokens: Buffer<u32>,
    sampling: Buffer<include::Sampling>,
    /// That share the logits: one to three, which changes no token.
    blocks: u32,
}

impl<'a> Draws<'a> {
    fn new(device: &'a Device, logits: &[f32], tokens: &[u32], sampling: &Sampling) -> Self {
        let upload = |sampling| Buffer::from_host(&device.stream, &[sampling]).unwrap();
        Self {
            device,
            logits: Buffer::from_host(&device.stream, logits).unwrap(),
            tokens: Buffer::from_host(&device.stream, tokens).unwrap(),
            sampling: upload(sampling.to_device().unwrap()),
            blocks: 1 + logits.len() as u32 % 3,
        }
    }

    /// The tokens drawn at some positions, and their log-probabilities. One wait for all of them.
    fn at(&self, positions: &[u32]) -> (Vec<u32>, Vec<f32>) {
        let stream = &self.device.stream;
        let queue = self.device.kernels.on(stream);
        let device_positions = Buffer::from_host(stream, positions).unwrap();
        let next = Buffer::from_host(stream, &vec![u32::MAX; positions.len()]).unwrap();
        let logprob = Buffer::from_host(stream, &vec![f32::INFINITY; positions.len()]).unwrap();
        // more than the context, so that nothing is put after them
        let mut known = Buffer::from_host(stream, &[u32::MAX]).unwrap();
        let mut parts = self.device.poisoned((self.blocks * include::SAMPLING_PART) as usize);
        let mut arrivals = Buffer::zeroed(stream, 1).unwrap();
        for n in 0..positions.len() {
            Sample {
                logits: &self.logits,
                tokens: &mut self.tokens.clone(),
                position: &mut device_positions.slice(n..n + 1).unwrap(),
                known: &mut known,
                sampling: &self.sampling,
                next: &mut next.slice(n..n + 1).unwrap(),
                logprob: &mut logprob.slice(n..n + 1).unwrap(),
                parts: &mut parts,
                arrivals: &mut arrivals,
                vocab: self.logits.len() as u32,
                context: self.tokens.len() as u32,
                count: 1,
                blocks: self.blocks,
            }
            .launch(&queue)
            .unwrap();
        }
        (next.read().unwrap(), logprob.read().unwrap())
    }

    fn one(&self, position: u32) -> (u32, f32) {
        let (next, logprob) = self.at(&[position]);
        (next[0], logprob[0])
    }
}

/// The tokens that are kept with their probabilities, most likely first: the chain as llama.cpp's documentation has it,
/// by sorting.
fn reference(logits: &[f32], tokens: &[u32], position: u32, sampling: &Sampling) -> Vec<(u32, f64)> {
    let end = (position as usize + 1).min(tokens.len());
    let recent: BTreeSet<u32> = tokens[end.saturating_sub(sampling.window as usize)..end].iter().copied().collect();
    let mut candidates = Vec::new();
    for (token, logit) in (0..).zip(logits) {
        let mut logit = *logit;
        if recent.contains(&token) {
            logit = if logit > 0.0 { logit / sampling.penalty } else { logit * sampling.penalty };
        }
        if !logit.is_nan() {
            candidates.push((token, f64::from(logit)));
        }
    }
    // a stable sort: of equal ones the first stays first
    candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
    let max = candidates[0].1;
    if sampling.is_greedy() {
        candidates.truncate(1);
    }
    if sampling.top_k > 0 {
        candidates.truncate(sampling.top_k as usize);
    }
    let weight = |logit: f64, temperature: f64| if logit == max { 1.0 } else { ((logit - max) / temperature).exp() };
    if sampling.top_p < 1.0 {
        let total: f64 = candidates.iter().map(|(_, logit)| weight(*logit, 1.0)).sum();
        let mut sum = 0.0;
        let enough = |(_, logit): &(u32, f64)| {
            sum += weight(*logit, 1.0) / total;
            sum >= f64::from(sampling.top_p)
        };
        let kept = candidates.iter().position(enough).map_or(candidates.len(), |last| last + 1);
        candidates.truncate(kept);
    }
    if sampling.min_p > 0.0 {
        candidates.retain(|(_, logit)| weight(*logit, 1.0) >= f64::from(sampling.min_p));
    }
    let temperature = f64::from(sampling.temperature);
    let total: f64 = candidates.iter().map(|(_, logit)| weight(*logit, temperature)).sum();
    candidates.into_iter().map(|(token, logit)| (token, weight(logit, temperature) / total)).collect()
}

/// The logarithm of a token's probability.
fn log_softmax(logits: &[f32], token: u32) -> f64 {
    let numbers = || logits.iter().filter(|logit| !logit.is_nan()).map(|logit| f64::from(*logit));
    let max = numbers().fold(f64::NEG_INFINITY, f64::max);
    f64::from(logits[token as usize]) - max - numbers().map(|logit| (logit - max).exp()).sum::<f64>().ln()
}

fn assert_logprob(logits: &[f32], (token, logprob): (u32, f32), what: &str) {
    let expected = log_softmax(logits, token);
    assert!((f64::from(logprob) - expected).abs() <= 1e-5, "{what}: {logprob} for token {token}, and not {expected}");
}

/// The statistic of a chi-square test.
fn chi_square(counts: &[u32], probabilities: &[f64]) -> f64 {
    let draws: u32 = counts.iter().sum();
    let term = |(count, probability): (&u32, &f64)| {
        let expected = probability * f64::from(draws);
        (f64::from(*count) - expected).powi(2) / expected
    };
    counts.iter().zip(probabilities).map(term).sum()
}

/// A temperature at which all that is kept is about as likely.
const HOT: f32 = 1e6;

/// Everything but the draw is in what is kept: all kept tokens come, and no others.
#[test]
fn what_is_kept_agrees_with_sorting() {
    let device = device();
    let mut random = Random::new(1);
    let base = Sampling { temperature: HOT, ..Sampling::default() };
    let settings = [
        Sampling { top_k: 2, ..base },
        Sampling { top_k: 7, ..base },
        Sampling { top_k: 7, top_p: 0.5, ..base },
        Sampling { top_p: 0.0, ..base },
        Sampling { top_p: 0.2, ..base },
        Sampling { top_p: 0.2, top_k: 900, ..base },
        Sampling { min_p: 0.25, ..base },
        Sampling { min_p: 1.0, ..base },
        Sampling { min_p: 0.1, top_p: 0.25, top_k: 6, ..base },
        Sampling { top_k: 5, penalty: 1.5, window: 4, ..base },
        Sampling { top_k: 5, penalty: 0.5, window: u32::MAX, ..base },
    ];
    for (vocab, spread) in [(1, 1.0), (2, 1.0), (33, 2.0), (1000, 4.0), (1025, 4.0), (3000, 4.0)] {
        for sampling in &settings {
            let logits: Vec<f32> = random.normals(vocab).iter().map(|x| x * spread).collect();
            let tokens: Vec<u32> = (0..9).map(|_| random.below(vocab as u32)).collect();
            let position = random.below(9);
            let kept: BTreeSet<u32> =
                reference(&logits, &tokens, position, sampling).iter().map(|(token, _)| *token).collect();
            assert!(kept.len() <= 24, "{} of {vocab} tokens are kept: too many to see all", kept.len());
            // one of n is missed by d draws with a probability under n e^(-d / n)
            let count = if kept.len() == 1 { 3 } else { kept.len() * 16 };
            // The position decides what is recent, so it is the seed that changes.
            let draw = |seed| {
                let drawn = Draws::new(&device, &logits, &tokens, &Sampling { seed, ..*sampling }).one(position);
                assert_logprob(&logits, drawn, "a draw");
                drawn.0
            };
            let found: BTreeSet<u32> = (0..count as u64).map(draw).collect();
            assert_eq!(found, kept, "of {vocab} tokens at {position}, with {sampling:?}");
        }
    }
}

#[test]
fn draws_have_the_distribution() {
    let device = device();
    let logits = [0.5f32, -1.0, 2.0, 0.0, 1.5, f32::NEG_INFINITY, -0.5, f32::NAN, 1.0, 2.0];
    let base = Sampling { temperature: 1.0, seed: 42, ..Sampling::default() };
    // 99.99 % of a chi-square distribution with one degree of freedom, two, ...
    let limits = [15.1, 18.4, 21.1, 23.5, 25.7, 27.9, 29.9];
    let cases = [
        (base, 20_480),
        (Sampling { temperature: 0.7, top_k: 5, ..base }, 4_096),
        (Sampling { temperature: 1.8, top_p: 0.9, min_p: 0.05, ..base }, 4_096),
    ];
    for (sampling, count) in cases {
        let draws = Draws { blocks: 1, ..Draws::new(&device, &logits, &[0], &sampling) };
        let mut kept = reference(&logits, &[], 0, &sampling);
        kept.retain(|(_, probability)| *probability > 0.0);
        let positions: Vec<u32> = (0..count).collect();
        let (tokens, logprobs) = draws.at(&positions);
        let mut counts = vec![0u32; kept.len()];
        for (token, logprob) in tokens.into_iter().zip(logprobs) {
            let at = kept.iter().position(|(kept, _)| *kept == token);
            counts[at.unwrap_or_else(|| panic!("{token} is not kept with {sampling:?}"))] += 1;
            assert_logprob(&logits, (token, logprob), "a draw");
        }
        let probabilities: Vec<f64> = kept.iter().map(|(_, probability)| *probability).collect();
        let statistic = chi_square(&counts, &probabilities);
        let limit = limits[kept.len() - 2];
        assert!(statistic < limit, "{statistic:.1} with {counts:?} for {probabilities:?}, {sampling:?}");
    }
}

/// Philox4x32-10 in wider arithmetic.
fn philox(seed: u64, position: u32) -> u64 {
    let mut counter = [u64::from(position), 0, 0, 0];
    let mut key = [seed & 0xffff_ffff, seed >> 32];
    for _ in 0..10 {
        let (a, b) = (0xd251_1f53 * counter[0], 0xcd9e_8d57 * counter[2]);
        let low = 0xffff_ffffu64;
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & low, (a >> 32) ^ counter[3] ^ key[1], a & low];
        key = [(key[0] + 0x9e37_79b9) & low, (key[1] + 0xbb67_ae85) & low];
    }
    counter[1] << 32 | counter[0]
}

#[test]
fn random_numbers_are_those_of_philox() {
    // the first known answer of Random123, for a counter and a key of zeros
    assert_eq!(philox(0, 0), 0xe169_c58d_6627_e8d5);
    // Two tokens of equal weight lie in order of their reversed indices, the last first: token 1 has the lower half.
    let device = device();
    for seed in [0, 1, 0xdead_beef_0123_4567, u64::MAX] {
        let sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
        let positions: Vec<u32> = (0..24).chain([u32::MAX, 1 << 31]).collect();
        let (tokens, _) = Draws::new(&device, &[3.0, 3.0], &[0], &sampling).at(&positions);
        for (token, position) in tokens.into_iter().zip(positions) {
            let lower = philox(seed, position) >> 63 == 0;
            assert_eq!(token, u32::from(lower), "seed {seed} at {position}");
        }
    }
}

#[test]
fn greedy_is_argmax() {
    let device = device();
    let queue = device.kernels.on(&device.stream);
    let mut random = Random::new(3);
    let greedy =
        [Sampling::default(), Sampling { temperature: 0.8, top_k: 1, top_p: 0.5, seed: 9, ..Sampling::default() }];
    for vocab in [1, 31, 1000, 1025, 5000] {
        let mut logits = random.normals(vocab);
        for changed in 0..4 {
            match changed {
                1 => logits[vocab - 1] = 100.0,
                2 => logits[vocab / 2] = 100.0,
                3 => logits[0] = f32::NAN,
                _ => {}
            }
            let mut index = Buffer::from_host(&device.stream, &[u32::MAX]).unwrap();
            let x = Buffer::from_host(&device.stream, &logits).unwrap();
            Argmax { x: &x, index: &mut index, len: vocab as u32 }.launch(&queue).unwrap();
            let expected = index.read().unwrap()[0];
            for sampling in &greedy {
                let found = Draws::new(&device, &logits, &[0], sampling).one(0);
                assert_eq!(found.0, expected, "of {vocab}");
                if !logits[expected as usize].is_nan() {
                    assert_logprob(&logits, found, "greedy");
                }
            }
        }
    }
}

#[test]
fn the_penalty_is_for_the_window_and_once_for_each_token() {
    let device = device();
    // token 2 leads; penalised twice it would be behind token 1, once it is not
    let logits = [-1.0, 3.0, 5.0, 2.5];
    let greedy = |penalty, window| Sampling { penalty, window, ..Sampling::default() };
    let at = |tokens: &[u32], position, sampling: Sampling| {
        let (token, logprob) = Draws::new(&device, &logits, tokens, &sampling).one(position);
        assert_logprob(&logits, (token, logprob), "penalised");
        token
    };
    let tokens = [2, 0, 2, 3, 2, 1];
    assert_eq!(at(&tokens, 4, greedy(1.5, 64)), 2);
    assert_eq!(at(&tokens, 4, greedy(2.0, 64)), 1);
    assert_eq!(at(&tokens, 5, greedy(2.0, 64)), 2, "both are penalised");
    assert_eq!(at(&tokens, 5, greedy(2.0, 1)), 2, "only token 1 is");
    assert_eq!(at(&tokens, 3, greedy(2.0, 1)), 2, "token 3 is, which was just taken in");
    assert_eq!(at(&tokens, 3, greedy(2.0, 2)), 1);
    assert_eq!(at(&tokens, 4, greedy(2.0, 0)), 2, "no window");
    // what comes after the position is not looked at, and tokens that do not exist neither
    assert_eq!(at(&[0, 2], 0, greedy(2.0, 64)), 2);
    assert_eq!(at(&[u32::MAX, 4, 2], 2, greedy(2.0, 64)), 1);
    // a position outside the context is its last
    assert_eq!(at(&[0, 2], u32::MAX, greedy(2.0, 1)), 1);
    // negative logits are multiplied
    let negative = [-1.0, -1.5, -4.0];
    let (token, _) = Draws::new(&device, &negative, &[0], &greedy(2.0, 1)).one(0);
    assert_eq!(token, 1);
}

#[test]
fn of_equal_logits_top_k_and_top_p_keep_the_first() {
    let device = device();
    for vocab in [10usize, 2000] {
        let mut logits = vec![1.0f32; vocab];
        (logits[vocab - 1], logits[3]) = (2.0, 0.0);
        let hot = Sampling { temperature: HOT, ..Sampling::default() };
        // the largest, then the first of the others
        let four = BTreeSet::from([0, 1, 2, vocab as u32 - 1]);
        let total = 1f64.exp() + (vocab as f64 - 2.0) + (-1f64).exp();
        let top_p = ((1f64.exp() + 2.5) / total) as f32;
        for sampling in [Sampling { top_k: 4, ..hot }, Sampling { top_p, ..hot }] {
            let (tokens, _) = Draws::new(&device, &logits, &[0], &sampling).at(&(0..64).collect::<Vec<_>>());
            assert_eq!(tokens.into_iter().collect::<BTreeSet<_>>(), four, "of {vocab}, {sampling:?}");
        }
    }
}

#[test]
fn odd_logits_are_survived() {
    let device = device();
    let warm = Sampling { temperature: 0.9, top_k: 3, top_p: 0.9, min_p: 0.01, penalty: 1.1, ..Sampling::default() };
    let draw = |logits: &[f32], sampling: &Sampling| Draws::new(&device, logits, &[0, 1], sampling).one(1);
    for sampling in [warm, Sampling { top_k: 0, ..warm }, Sampling::default()] {
        let (token, logprob) = draw(&[f32::NAN; 5], &sampling);
        assert!(token == 0 && logprob.is_nan());
        let (token, logprob) = draw(&[f32::NAN, f32::NEG_INFINITY, 1.0], &sampling);
        assert_eq!((token, logprob), (2, 0.0));
        let (token, logprob) = draw(&[0.0, f32::INFINITY, 1.0], &sampling);
        assert_eq!((token, logprob), (1, 0.0));
        let (token, logprob) = draw(&[f32::NEG_INFINITY; 2], &sampling);
        assert!(token < 2 && (logprob + 2f32.ln()).abs() < 1e-6);
        let (token, _) = draw(&[f32::MAX, f32::MIN, f32::NAN, -0.0], &sampling);
        assert_eq!(token, 0);
    }
    // settings from nowhere: the token is one of the vocabulary
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1e-45, f32::MAX];
    let logits = [1.0, 2.0, f32::NAN, -3.0];
    let mut random = Random::new(4);
    for _ in 0..60 {
        let mut any = || odd[random.below(odd.len() as u32) as usize];
        let (temperature, top_p, min_p, penalty) = (any(), any(), any(), any());
        let (window, top_k) = (random.below(3), random.below(6));
        let sampling = include::Sampling { temperature, top_p, min_p, penalty, window, top_k, seed: 5 };
        let mut draws = Draws::new(&device, &logits, &[0, 1], &Sampling::default());
        draws.sampling = Buffer::from_host(&device.stream, &[sampling]).unwrap();
        let (token, _) = draws.one(1);
        assert!(token < 4 && token != 2, "{token} with {sampling:?}");
    }
}

#[test]
fn a_whole_vocabulary() {
    let device = device();
    let mut random = Random::new(5);
    let vocab = 151_669;
    let logits: Vec<f32> = random.normals(vocab).iter().map(|x| x * 3.0).collect();
    let tokens: Vec<u32> = (0..100).map(|_| random.below(vocab as u32)).collect();
    let base = Sampling { temperature: 0.8, penalty: 1.1, seed: 6, ..Sampling::default() };
    let settings = [
        Sampling { top_k: 20, top_p: 0.95, ..base },
        Sampling { top_k: 5000, ..base },
        Sampling { top_p: 0.3, ..base },
        Sampling { min_p: 0.3, ..base },
        base,
        Sampling { temperature: 0.0, ..base },
    ];
    for sampling in settings {
        let kept: BTreeSet<u32> = reference(&logits, &tokens, 50, &sampling).iter().map(|(token, _)| *token).collect();
        let mut draws = Draws::new(&device, &logits, &tokens, &sampling);
        let first = draws.one(50);
        assert!(kept.contains(&first.0), "{first:?} is none of {} with {sampling:?}", kept.len());
        assert_logprob(&logits, first, "a whole vocabulary");
        assert_eq!(draws.one(50), first, "the same seed gives the same");
        for blocks in [1, include::SAMPLING_MAX_BLOCKS] {
            draws.blocks = blocks;
            let shared = draws.one(50);
            assert_eq!(shared.0, first.0, "{blocks} blocks, {sampling:?}");
            assert_logprob(&logits, shared, "a whole vocabulary");
        }
    }
}
