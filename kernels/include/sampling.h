// How the next token is chosen, as the kernel `sample` reads it in device memory.
#pragma once

#include <stdint.h>

/// The largest vocabulary that is sampled from.
constexpr uint32_t SAMPLING_MAX_VOCAB = 262144;
/// The most blocks that share one.
constexpr uint32_t SAMPLING_MAX_BLOCKS = 32;
/// What a block leaves to the last one, in words: four of all, and the largest of each of its 1024 threads.
constexpr uint32_t SAMPLING_PART = 1028;

/// How the next token is chosen, in the order in which it is done: penalty, top-k, top-p, min-p, temperature, draw.
struct Sampling {
    /// Divides logits before the draw; 0 takes the most likely token.
    float temperature;
    /// Keeps the fewest of the most likely tokens whose probabilities sum to this; 1 keeps all.
    float top_p;
    /// Keeps what is this many times as likely as the most likely token; 0 keeps all.
    float min_p;
    /// Positive logits of recent tokens are divided by it, negative ones multiplied; 1 changes nothing.
    float penalty;
    /// Recent tokens are the last this many.
    uint32_t window;
    /// Keeps this many of the most likely tokens; 0 keeps all.
    uint32_t top_k;
    /// The numbers drawn follow from this and the position.
    uint64_t seed;
};
