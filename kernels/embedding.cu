// Embedding lookup: the rows of some tokens, as numbers.
//
// A warp makes a chunk of 128 weights, four a lane. Moves the row's words in, and four bytes a weight out.
#include "bit_weights.cuh"
#include "dependent_launch.cuh"
#include "warp.cuh"
#include "weights.cuh"

// Weights 4 lane to 4 lane + 3 of a chunk.
template <class W>
__device__ inline float4 four_weights(const uint32_t* words, const __half* scales, uint32_t row, uint32_t chunk, uint32_t chunks,
                                      uint32_t lane) {
    if constexpr (!W::BITS) {
        const size_t at = place_of(row, chunk, chunks);
        return W(lane)(words + at * W::WORDS + W::first_word(lane), scales + at * W::SCALES + W::first_scale(lane));
    } else {
        const size_t group = size_t(row / TILE_ROWS) * groups_of(chunks) + chunk / GROUP_CHUNKS;
        const uint32_t g = row % 8, half = row % TILE_ROWS / 8, t = lane / 8;
        uint32_t planes[W::PLANES];
        W::planes(words + group * (64 * W::WORDS), 4 * g + t, half, chunk % GROUP_CHUNKS, planes);
        const uint32_t of = W::SCALES == 1 ? 0 : t / 2;
        const float scale = __half2float(bit_scale(scales + group * (64 * W::SCALES), of, g, half, chunk % GROUP_CHUNKS));
        const auto weight = [&](uint32_t n) {
            int code = W::OF_SUM;
            for (uint32_t p = 0; p < W::PLANES; ++p) code += W::OF_BITS * int((planes[p] >> n & 1) << p);
            return float(code) * scale;
        };
        const uint32_t n = lane % 8 * 4;
        return {weight(n), weight(n + 1), weight(n + 2), weight(n + 3)};
    }
}

/// The embeddings of the tokens from `position` on, `out[t, i] = W[tokens[position + t], i]`.
///
/// `tokens` is `[context]` and `position` says where in it to begin, both in device memory, so that a recorded graph
/// serves every token. `words` and `scales` are in the layout W, for a matrix `[vocab, chunks * 128]`; `out` is
/// `[rows, chunks * 128]`. A position outside `context` or a token outside `vocab` gives NaN.
///
/// @targets 75 90
/// @grid    rows, div_ceil(chunks, 4)
/// @block   128
/// @len     tokens   == context
/// @len     position == 1
/// @len     words    == div_ceil(vocab, 16) * div_ceil(chunks, 4) * 64 * W::WORDS
/// @len     scales   == div_ceil(vocab, 16) * div_ceil(chunks, 4) * 64 * W::SCALES
/// @len     out      == rows * chunks * 128
/// @align   words 16
/// @align   out 16
/// @out     out
/// @pdl     words scales
/// @safe
template <class W>
__global__ void __launch_bounds__(128)
embedding_rows(const uint32_t* __restrict__ tokens, const uint32_t* __restrict__ position,
               const uint32_t* __restrict__ words, const __half* __restrict__ scales, float* __restrict__ out,
               uint32_t context, uint32_t vocab, uint32_t chunks, uint32_t rows) {
    let_dependents_start();
    wait_for_predecessors();
    const uint32_t lane = threadIdx.x % WARP;
    const uint32_t chunk = blockIdx.y * 4 + threadIdx.x / WARP;
    if (chunk >= chunks) return;

    float4& to = reinterpret_cast<float4*>(out)[(size_t(blockIdx.x) * chunks + chunk) * WARP + lane];
    const size_t at = size_t(*position) + blockIdx.x;
    const uint32_t token = at < context ? tokens[at] : vocab;
    if (token >= vocab) {
        const float nan = __int_as_float(0x7fffffff);
        to = {nan, nan, nan, nan};
        return;
    }
    to = four_weights<W>(words, scales, token, chunk, chunks, lane);
}

#define INSTANCE(W)                                                                                                    \
    template __global__ void embedding_rows<W>(const uint32_t*, const uint32_t*, const uint32_t*, const __half*, float*, \
                                               uint32_t, uint32_t, uint32_t, uint32_t);
INSTANCE(Q1_0)
INSTANCE(T1)
INSTANCE(T2)
INSTANCE(T2Halves)
INSTANCE(Q8_0)
INSTANCE(F16)
INSTANCE(BF16)
INSTANCE(F32)
