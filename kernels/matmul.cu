// Matrix times several vectors, with float activations, for weights that f16 does not hold: BF16 and F32. (`matmul_prefill`
// has the other layouts.)
//
// A warp computes ROWS rows for TOKENS vectors. In every chunk of 128 weights a lane has four of each row: they are made
// numbers once and serve all tokens, and the four activations of a token, loaded at once, serve all rows: 1.5 (BF16) and 1.2
// (F32) PTX instructions of threads a weight and token. The 32 sums of a lane are as many as the lanes, and the last step of a
// warp leaves one sum in each.
//
// The blocks of one group of rows are neighbours, whatever their tokens, so that they find its weights in the L2 cache.
#include "warp.cuh"
#include "weights.cuh"

constexpr uint32_t WARPS = 4;
constexpr uint32_t ROWS = 4;
constexpr uint32_t TOKENS = 8;

/// Matrix times vectors, `y[t, offset + r] = W[r] · x[t]`, or `+=` that if `add`.
///
/// `words` and `scales` are in the layout W, for a matrix `[rows, chunks * 128]`, `x` is `[tokens, chunks * 128]`, `y` is
/// `[tokens, stride]`: what is beside the `rows` elements from `offset` on stays as it is, so that matrices in different
/// layouts have their parts of one output.
///
/// @grid    div_ceil(rows, 16) * div_ceil(tokens, 8)
/// @block   128
/// @len     words  == div_ceil(rows, 16) * div_ceil(chunks, 4) * 64 * W::WORDS
/// @len     scales == div_ceil(rows, 16) * div_ceil(chunks, 4) * 64 * W::SCALES
/// @len     x      == tokens * chunks * 128
/// @len     y      == tokens * stride
/// @align   words 16
/// @align   x 16
/// @require offset + rows <= stride
/// @safe
template <class W>
__global__ void __launch_bounds__(WARPS * WARP)
matmul(const uint32_t* __restrict__ words, const __half* __restrict__ scales, const float* __restrict__ x,
       float* __restrict__ y, uint32_t rows, uint32_t chunks, uint32_t tokens, uint32_t stride, uint32_t offset, bool add) {
    const uint32_t lane = threadIdx.x % WARP;
    const uint32_t groups = (tokens - 1) / TOKENS + 1;
    const size_t first = (size_t(blockIdx.x / groups) * WARPS + threadIdx.x / WARP) * ROWS;
    const size_t first_token = size_t(blockIdx.x % groups) * TOKENS;
    if (first >= rows) return;

    // Rows and tokens past the end read the last one instead, and are not stored.
    const uint32_t* row_words[ROWS];
    const __half* row_scales[ROWS];
    const float4* token_x[TOKENS];
#pragma unroll
    for (uint32_t r = 0; r < ROWS; ++r) {
        const size_t row = place_of(min(first + r, size_t(rows) - 1), 0, chunks);
        row_words[r] = words + row * W::WORDS + W::first_word(lane);
        row_scales[r] = scales + row * W::SCALES + W::first_scale(lane);
    }
#pragma unroll
    for (uint32_t t = 0; t < TOKENS; ++t)
        token_x[t] = reinterpret_cast<const float4*>(x) + min(first_token + t, size_t(tokens) - 1) * chunks * WARP + lane;

    const W weights(lane);
    float sums[TOKENS * ROWS] = {};
    for (uint32_t c = 0; c < chunks; ++c) {
        float4 w[ROWS];
#pragma unroll
        for (uint32_t r = 0; r < ROWS; ++r) {
            w[r] = weights(row_words[r], row_scales[r]);
            row_words[r] += TILE_ROWS * W::WORDS;
            row_scales[r] += TILE_ROWS * W::SCALES;
        }
#pragma unroll
        for (uint32_t t = 0; t < TOKENS; ++t) {
            const float4 v = *token_x[t];
            token_x[t] += WARP;
#pragma unroll
            for (uint32_t r = 0; r < ROWS; ++r) {
                float& sum = sums[t * ROWS + r];
                sum = dot_of(w[r], v, sum);
            }
        }
    }

    const float sum = warp_sums(sums);
    const size_t row = first + lane % ROWS;
    const size_t token = first_token + lane / ROWS;
    if (row >= rows || token >= tokens) return;
    float& out = y[token * stride + offset + row];
    out = add ? out + sum : sum;
}

#define INSTANCE(W)                                                                                                    \
    template __global__ void matmul<W>(const uint32_t*, const __half*, const float*, float*, uint32_t, uint32_t, uint32_t, \
                                       uint32_t, uint32_t, bool);
INSTANCE(BF16)
INSTANCE(F32)
