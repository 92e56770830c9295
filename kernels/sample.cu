// Sampling of the next token from its logits, and the step on to it.
//
// Some blocks share the logits, a few hundred KB: a thread takes a slice, every so many of them, and leaves the largest of
// it. The last block goes on alone. With a temperature of 0 that is all. For a top-k of up to 512 it reads only slices that
// have one of the k largest of all, and what may be kept then fits in shared memory; otherwise all logits, once for each
// digit of a selection. Thresholds are found by radix selection on keys that keep the order of floats, 8 bits a pass;
// nothing is sorted. Probabilities are summed as integers, so the order of atomics does not matter: the same seed gives
// the same token, however many blocks there are.
#include "arrivals.cuh"
#include "dependent_launch.cuh"
#include "sampling.h"
#include "warp.cuh"

constexpr uint32_t THREADS = 1024;
constexpr uint32_t BINS = 256;
// So many candidates fit in shared memory, and a top-k of so many is likely to leave no more than those.
constexpr uint32_t LISTED = 1024;
constexpr uint32_t LISTED_TOP_K = 512;
// A probability relative to that of the likeliest token, times this, is a whole number. 2^18 of them fit in 64 bits.
constexpr float ONE = 1099511627776.0f;
// Bits of an index in a vocabulary, in whole digits.
constexpr uint32_t INDEX_BITS = 24;
constexpr uint32_t LAST_INDEX = (1u << INDEX_BITS) - 1;
static_assert(SAMPLING_MAX_VOCAB <= LAST_INDEX);
static_assert(SAMPLING_MAX_BLOCKS == WARP && SAMPLING_PART == 4 + THREADS);

// A number with the order of `x`, the same for 0 and -0. NaN has 0, and nothing else has.
__device__ inline uint32_t key_of(float x) {
    if (x != x) return 0;
    const uint32_t bits = __float_as_uint(x + 0.0f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ inline float value_of(uint32_t key) {
    return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

// How much likelier than that of `max` the logit `x` is, at most 1, also where both are infinite.
__device__ inline float likelihood(float x, float max, float temperature) {
    return x == max ? 1.0f : expf((x - max) / temperature);
}

// The same as a whole number. Where infinities leave no number it is 0.
__device__ inline uint64_t mass_of(float x, float max, float temperature) {
    const float share = likelihood(x, max, temperature);
    return share > 0.0f ? __float2ull_rn(fminf(share, 1.0f) * ONE) : 0;
}

// 64 random bits: Philox4x32-10 (Salmon et al., 2011), with the seed as its key and the position as its counter.
__device__ inline uint64_t random_bits(uint64_t seed, uint32_t position) {
    uint32_t key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
    uint32_t c[4] = {position, 0, 0, 0};
    for (int round = 0; round < 10; ++round) {
        const uint64_t left = uint64_t(0xd2511f53u) * c[0], right = uint64_t(0xcd9e8d57u) * c[2];
        c[0] = uint32_t(right >> 32) ^ c[1] ^ key[0], c[1] = uint32_t(right);
        c[2] = uint32_t(left >> 32) ^ c[3] ^ key[1], c[3] = uint32_t(left);
        key[0] += 0x9e3779b9u, key[1] += 0xbb67ae85u;
    }
    return uint64_t(c[1]) << 32 | c[0];
}

// Shared memory of the selection.
struct Work {
    uint64_t histogram[BINS];
    uint64_t partial[THREADS / WARP];
    uint64_t rest, equal;
    uint32_t bin;
};

// Where a selection ends.
struct Border {
    uint32_t rank;   // what has a higher rank is selected
    uint64_t rest;   // how much of what has this rank is
    uint64_t equal;  // how much has it
};

// The sum of `value` over the block, in every thread.
__device__ inline uint64_t block_total(Work& work, uint64_t value) {
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(FULL_WARP, value, offset);
    if (threadIdx.x % WARP == 0) work.partial[threadIdx.x / WARP] = value;
    __syncthreads();
    uint64_t total = 0;
    for (unsigned w = 0; w < THREADS / WARP; ++w) total += work.partial[w];
    __syncthreads();
    return total;
}

// Goes down the bins until `wanted` is reached, or to the last. One warp, a lane for 8 bins.
__device__ inline void find_bin(Work& work, uint64_t wanted) {
    constexpr uint32_t EACH = BINS / WARP;
    const uint32_t first = BINS - 1 - threadIdx.x * EACH;
    uint64_t own = 0;
    for (uint32_t n = 0; n < EACH; ++n) own += work.histogram[first - n];
    uint64_t before = own;
    for (unsigned offset = 1; offset < WARP; offset *= 2) {
        const uint64_t lower = __shfl_up_sync(FULL_WARP, before, offset);
        if (threadIdx.x >= offset) before += lower;
    }
    const unsigned reached = __ballot_sync(FULL_WARP, before >= wanted);
    before -= own;
    if (threadIdx.x != (reached ? __ffs(int(reached)) - 1 : WARP - 1)) return;
    uint32_t bin = first;
    for (uint32_t n = 1; n < EACH && before + work.histogram[bin] < wanted; ++n) before += work.histogram[bin--];
    work.bin = bin;
    work.rest = wanted - before;
    work.equal = work.histogram[bin];
}

// Selects by descending rank, of `bits` bits, until the weights sum to `wanted`. `visit` calls what it is given with
// the rank and the weight of each element that is this thread's.
template <class Visit>
__device__ inline Border select(Work& work, uint64_t wanted, uint32_t bits, Visit visit) {
    uint32_t prefix = 0;
    for (uint32_t above = bits; above > 0; above -= 8) {
        if (threadIdx.x < BINS) work.histogram[threadIdx.x] = 0;
        __syncthreads();
        visit([&](uint32_t rank, uint64_t weight) {
            if (uint64_t(rank) >> above != prefix || weight == 0) return;
            atomicAdd(reinterpret_cast<unsigned long long*>(&work.histogram[rank >> (above - 8) & (BINS - 1)]),
                      static_cast<unsigned long long>(weight));
        });
        __syncthreads();
        if (threadIdx.x < WARP) find_bin(work, wanted);
        __syncthreads();
        prefix = prefix << 8 | work.bin;
        wanted = work.rest;
    }
    return {prefix, wanted, work.equal};
}

// What a token is chosen from.
struct Candidates {
    const float* logits;
    const uint32_t* recent;  // a bit for each token
    float penalty;
    uint2* list;             // keys and indices
    uint32_t count;          // of the list, or of the vocabulary
    bool listed;
    // What is kept: keys above, and of those that are equal the first indices.
    uint32_t border_key, border_index, least_key;

    __device__ float logit(uint32_t index) const {
        const float x = logits[index];
        if (penalty == 1.0f || !(recent[index / 32] >> index % 32 & 1)) return x;
        return x > 0.0f ? x / penalty : x * penalty;
    }

    __device__ bool keeps(uint32_t key, uint32_t index) const {
        return key >= least_key && (key > border_key || (key == border_key && index <= border_index));
    }

    // Calls `f` with key and index of each candidate that is this thread's and is kept.
    template <class F>
    __device__ void each(F f) const {
        for (uint32_t n = threadIdx.x; n < count; n += THREADS) {
            const uint2 candidate = listed ? list[n] : make_uint2(key_of(logit(n)), n);
            if (candidate.x != 0 && keeps(candidate.x, candidate.y)) f(candidate.x, candidate.y);
        }
    }

    // Keeps what is above the border, and of the `equal` at the border the first `kept`.
    __device__ void cut(Work& work, uint32_t key, uint64_t kept, uint64_t equal) {
        uint32_t last = LAST_INDEX;
        if (kept < equal) {
            const Border border = select(work, kept, INDEX_BITS, [&](auto add) {
                each([&](uint32_t k, uint32_t index) { add(LAST_INDEX - index, k == key); });
            });
            last = LAST_INDEX - border.rank;
        }
        border_key = key;
        border_index = last;
    }
};

// The candidates that a top-k may keep, if they fit in the list: those from the k-th of the slices' largest on. Slice s has
// elements s, s + slices and so on.
__device__ inline void list_candidates(Work& work, Candidates& from, uint32_t top_k, const uint32_t* largest_of_slice,
                                       uint32_t slices, uint32_t& listed) {
    uint32_t least = 1;
    if (from.count > LISTED) {
        if (top_k == 0 || top_k > LISTED_TOP_K) return;
        const Border border = select(work, top_k, 32, [&](auto add) {
            for (uint32_t s = threadIdx.x; s < slices; s += THREADS) {
                const uint32_t key = load_shared_result(largest_of_slice + s);
                add(key, key != 0);
            }
        });
        least = max(border.rank, 1u);
    }
    if (threadIdx.x == 0) listed = 0;
    __syncthreads();
    for (uint32_t s = threadIdx.x; s < slices; s += THREADS) {
        if (load_shared_result(largest_of_slice + s) < least) continue;
        for (uint32_t n = s; n < from.count; n += slices) {
            const uint32_t key = key_of(from.logit(n));
            if (key < least) continue;
            const uint32_t slot = atomicAdd(&listed, 1u);
            if (slot < LISTED) from.list[slot] = make_uint2(key, n);
        }
    }
    __syncthreads();
    if (listed > LISTED) return;
    from.listed = true;
    from.count = listed;
}

// Keeps what `how` says, and draws one of it. `max` is the largest logit.
__device__ inline uint32_t draw(Work& work, Candidates& from, const Sampling& how, float max, uint32_t vocab,
                                uint32_t position) {
    if (how.top_k != 0 && how.top_k < from.count) {
        const Border border = select(work, how.top_k, 32, [&](auto add) {
            from.each([&](uint32_t key, uint32_t) { add(key, 1); });
        });
        from.cut(work, border.rank, border.rest, border.equal);
    }
    if (how.top_p < 1.0f) {
        uint64_t total = 0;
        from.each([&](uint32_t key, uint32_t) { total += mass_of(value_of(key), max, 1.0f); });
        total = block_total(work, total);
        const uint64_t part = uint64_t(double(total) * double(fmaxf(how.top_p, 0.0f)));
        const Border border = select(work, part > 0 ? part : 1, 32, [&](auto add) {
            from.each([&](uint32_t key, uint32_t) { add(key, mass_of(value_of(key), max, 1.0f)); });
        });
        const uint64_t mass = mass_of(value_of(border.rank), max, 1.0f);
        if (mass > 0) from.cut(work, border.rank, (border.rest + mass - 1) / mass, border.equal / mass);
    }
    if (how.min_p > 0.0f) from.least_key = key_of(max + logf(fminf(how.min_p, 1.0f)));

    // The kept stand side by side, each as wide as it is likely, and the random number is a point among them. Which is
    // beside which does not matter; by their reversed indices they spread over the bins.
    uint64_t total = 0;
    from.each([&](uint32_t key, uint32_t) { total += mass_of(value_of(key), max, how.temperature); });
    total = block_total(work, total);
    const uint32_t bits = vocab <= 1u << 8 ? 8 : vocab <= 1u << 16 ? 16 : INDEX_BITS;
    const uint64_t point = __umul64hi(random_bits(how.seed, position), total) + 1;
    const Border border = select(work, point, bits, [&](auto add) {
        from.each([&](uint32_t key, uint32_t index) {
            add(__brev(index) >> (32 - bits), mass_of(value_of(key), max, how.temperature));
        });
    });
    return __brev(border.rank << (32 - bits));
}

/// Chooses the next token from `logits`, `[vocab]`, as `sampling`, `[1]`, says, and moves the sequence on.
///
/// The token is to come after `count` tokens that were taken in from `position`, `[1]`, on, which then is so much further. If
/// no more of `tokens`, `[context]`, than these are `known`, `[1]`, the chosen one is put after them, and known; a prompt
/// may know more. At the end of the context there is room for none, and the position stops there. In this order: the last
/// `window` of `tokens`, `[context]`, up to these, are made less likely by `penalty`, each once; top-k, top-p (of what
/// top-k left) and min-p keep the likeliest, the lower indices where several are equally likely; the logits are divided
/// by the temperature, and one token is drawn with a random number that follows from the seed and the position of the
/// last token. With a temperature of 0 or a top-k of 1 it is the likeliest, as `argmax` finds it. `next` and `logprob`,
/// `[1]`, are the token and the logarithm of its probability before all of that. NaN is never chosen and counts as
/// impossible; if all is NaN, `next` is 0 and `logprob` NaN. A setting that makes no sense, such as a penalty that is
/// not positive, changes nothing. What is outside `context` is taken for its end.
///
/// `blocks` blocks share the logits; that changes nothing but the rounding of `logprob`. `arrivals`, `[1]`, has a zero before
/// and after; where it has something else, nothing may be chosen. `parts` is room.
///
/// @targets 75 90
/// @grid    blocks
/// @block   1024
/// @require blocks >= 1
/// @require blocks <= SAMPLING_MAX_BLOCKS
/// @require count >= 1
/// @require vocab >= 1
/// @require vocab <= SAMPLING_MAX_VOCAB
/// @len     logits   == vocab
/// @len     tokens   == context
/// @len     position == 1
/// @len     known    == 1
/// @len     sampling == 1
/// @len     next     == 1
/// @len     logprob  == 1
/// @len     parts    >= blocks * SAMPLING_PART
/// @len     arrivals == 1
/// @align   parts    16
/// @pdl     sampling
/// @safe
__global__ void __launch_bounds__(THREADS)
sample(const float* __restrict__ logits, uint32_t* __restrict__ tokens, uint32_t* __restrict__ position,
       uint32_t* __restrict__ known, const Sampling* __restrict__ sampling, uint32_t* __restrict__ next,
       float* __restrict__ logprob, float* __restrict__ parts, uint32_t* __restrict__ arrivals, uint32_t vocab,
       uint32_t context, uint32_t count, uint32_t blocks) {
    __shared__ Work work;
    __shared__ uint32_t recent[SAMPLING_MAX_VOCAB / 32];
    __shared__ uint2 list[LISTED];
    __shared__ uint32_t listed;
    __shared__ bool last;
    __shared__ uint32_t best_of[THREADS / WARP], at_of[THREADS / WARP];
    __shared__ float max_of[THREADS / WARP], sum_of[THREADS / WARP];

    let_dependents_start();
    const Sampling how = *sampling;
    wait_for_predecessors();
    // (The last block writes what others read, and may be taken for the last too early.)
    const uint32_t first_position = load_shared_result(position), at_position = first_position + (count - 1);
    const bool penalised = how.penalty > 0.0f && how.penalty < INFINITY && how.penalty != 1.0f && how.window > 0;
    if (penalised) {
        for (uint32_t word = threadIdx.x; word < (vocab + 31) / 32; word += THREADS) recent[word] = 0;
        __syncthreads();
        const size_t end = min(size_t(at_position) + 1, size_t(context));
        for (size_t n = (end > how.window ? end - how.window : 0) + threadIdx.x; n < end; n += THREADS) {
            const uint32_t token = load_shared_result(tokens + n);
            if (token < vocab) atomicOr(&recent[token / 32], 1u << token % 32);
        }
        __syncthreads();
    }
    Candidates from{logits, recent, penalised ? how.penalty : 1.0f, list, vocab, false, 0, 0, 1};

    // The largest logit with penalties, and the sum of all likelihoods without.
    uint32_t best = 0, at = 0xffffffffu;
    float max = -INFINITY, sum = 0.0f;
    const uint32_t slices = blocks * THREADS, slice = blockIdx.x * THREADS + threadIdx.x;
    for (uint32_t n = slice; n < vocab; n += slices) {
        const uint32_t key = key_of(from.logit(n));
        if (key > best) best = key, at = n;
        max = fmaxf(max, logits[n]);
    }
    for (uint32_t n = slice; n < vocab; n += slices) {
        const float x = logits[n];
        if (x <= max) sum += likelihood(x, max, 1.0f);
    }
    uint32_t* const largest_of_slice = reinterpret_cast<uint32_t*>(parts + 4 * blocks);
    const bool draws = how.temperature > 0.0f && how.top_k != 1;
    if (draws) store_shared_result(largest_of_slice + slice, best);
    const auto merge_lanes = [&] {
        const float larger = warp_max(max);
        sum = warp_sum(sum * likelihood(max, larger, 1.0f));
        max = larger;
        for (unsigned offset = WARP / 2; offset > 0; offset /= 2) {
            const uint32_t other_best = __shfl_xor_sync(FULL_WARP, best, offset);
            const uint32_t other_at = __shfl_xor_sync(FULL_WARP, at, offset);
            if (other_best > best || (other_best == best && other_at < at)) best = other_best, at = other_at;
        }
    };
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    merge_lanes();
    if (lane == 0) best_of[warp] = best, at_of[warp] = at, max_of[warp] = max, sum_of[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        best = best_of[lane], at = at_of[lane], max = max_of[lane], sum = sum_of[lane];
        merge_lanes();
        if (lane == 0) {
            store_shared_result(parts + 4 * blockIdx.x, {__uint_as_float(best), __uint_as_float(at), max, sum});
            last = blocks == 1 || arrives_last(arrivals, blocks);
        }
    }
    __syncthreads();
    if (!last) return;

    if (warp == 0) {
        best = 0, at = 0xffffffffu, max = -INFINITY, sum = 0.0f;
        if (lane < blocks) {
            const float4 part = load_shared_result(parts + 4 * lane);
            best = __float_as_uint(part.x), at = __float_as_uint(part.y), max = part.z, sum = part.w;
        }
        merge_lanes();
        if (lane == 0) best_of[0] = best, at_of[0] = at, max_of[0] = max, sum_of[0] = sum;
    }
    __syncthreads();
    best = best_of[0], at = at_of[0], max = max_of[0], sum = sum_of[0];

    // (Parts that were not there yet may name any token.)
    uint32_t chosen = best == 0 || at >= vocab ? 0 : at;
    if (best != 0 && draws) {
        list_candidates(work, from, how.top_k, largest_of_slice, slices, listed);
        const uint32_t drawn = draw(work, from, how, value_of(best), vocab, at_position);
        if (drawn < vocab) chosen = drawn;
    }
    if (threadIdx.x != 0) return;
    const float x = logits[chosen];
    *next = chosen;
    *logprob = best == 0 ? __int_as_float(0x7fffffff) : (x == max ? 0.0f : x - max) - logf(sum);
    if (first_position >= context) return;
    const uint32_t after = first_position + min(count, context - first_position);
    if (after >= *known && after < context) {
        store_shared_result(tokens + after, chosen);
        *known = after + 1;
    }
    store_shared_result(position, after);
}
