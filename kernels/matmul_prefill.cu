// Matrix times many vectors, on tensor cores, with weights in those layouts of `weights.cuh` that have codes.
//
// A warp has 16 rows, a block 128 rows and 64 tokens. Of every chunk of 128 weights the block makes the activations pairs of
// f16 in shared memory: first divided by a power of two, so that the largest of a token is from 1 to 2, then each the sum of
// two f16. Codes are exact in f16, so two products are one with f32 (and what is left out is 2^-25 of the largest). The
// scale of the weights, and that power, multiply the sums of a run of weights.
//
// Which 16 elements one instruction multiplies does not matter while both factors have the same ones. It takes four weights
// of each of four lanes of `weights.cuh`, so a lane has its four where they are, and the four activations beside them: two
// f16 of each, in 16 bytes.
//
// 0.31 (Q1_0, F16) to 0.39 (Q8_0) PTX instructions of threads a weight and token, of which 0.03 are products, and most make
// the activations f16.
#include "mma.cuh"
#include "warp.cuh"
#include "weights.cuh"

constexpr uint32_t WARPS = 8;
constexpr uint32_t ROWS = 16;
constexpr uint32_t TOKENS = 64;
// Of a token in shared memory, in 16 bytes; lanes of an instruction find their parts in different banks.
constexpr uint32_t STRIDE = CHUNK / 4 + 4;

/// Matrix times vectors, `y[t, offset + r] = W[r] · x[t]`, or `+=` that if `add`.
///
/// `words` is `[rows, chunks, W::WORDS]` and `scales` is `[rows, chunks, W::SCALES]`, `x` is `[tokens, chunks * 128]`, `y` is
/// `[tokens, stride]`: what is beside the `rows` elements from `offset` on stays as it is, so that matrices in different
/// layouts have their parts of one output.
///
/// @targets 75 80
/// @grid    div_ceil(rows, 128) * div_ceil(tokens, 64)
/// @block   256
/// @len     words  == rows * chunks * W::WORDS
/// @len     scales == rows * chunks * W::SCALES
/// @len     x      == tokens * chunks * 128
/// @len     y      == tokens * stride
/// @align   words 16
/// @align   x 16
/// @require offset + rows <= stride
/// @safe
template <class W>
__global__ void __launch_bounds__(WARPS * WARP)
matmul_prefill(const uint32_t* __restrict__ words, const __half* __restrict__ scales, const float* __restrict__ x,
               float* __restrict__ y, uint32_t rows, uint32_t chunks, uint32_t tokens, uint32_t stride, uint32_t offset,
               bool add) {
    constexpr uint32_t RUNS = CHUNK / W::RUN, STEPS = W::RUN / 16;
    __shared__ uint4 parts[TOKENS * STRIDE];
    __shared__ float powers[TOKENS];

    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t g = lane / 4, t = lane % 4;
    const uint32_t groups = (tokens - 1) / TOKENS + 1;
    const size_t first = (size_t(blockIdx.x / groups) * WARPS + warp) * ROWS;
    const uint32_t first_token = blockIdx.x % groups * TOKENS;
    const uint32_t count = min(tokens - first_token, TOKENS);

    // Rows past the end read the last one instead, and are not stored.
    const size_t row_of[2] = {min(first + g, size_t(rows) - 1) * chunks, min(first + g + 8, size_t(rows) - 1) * chunks};
    const float4* token_x = reinterpret_cast<const float4*>(x) + size_t(first_token) * chunks * WARP + lane;

    float sums[TOKENS / 8][4] = {};
    for (uint32_t c = 0; c < chunks; ++c) {
        __syncthreads();
        // Tokens are taken in eights; those past the end are zeros.
        for (uint32_t token = warp; token < (count + 7) / 8 * 8; token += WARPS) {
            float4 v = {};
            if (token < count) v = token_x[(size_t(token) * chunks + c) * WARP];
            const float largest = warp_max(fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
            // The power of two alone; the largest ones have no inverse that is as exact.
            const uint32_t power = min(__float_as_uint(largest) & 0x7f800000u, 0x7e000000u);
            const float inverse = __uint_as_float(0x7f000000u - power);
            uint4 part;
            split(v.x * inverse, v.y * inverse, part.x, part.z);
            split(v.z * inverse, v.w * inverse, part.y, part.w);
            parts[token * STRIDE + lane] = part;
            if (lane == 0) powers[token] = __uint_as_float(power);
        }
        __syncthreads();

        const uint32_t* row_words[2] = {words + (row_of[0] + c) * W::WORDS, words + (row_of[1] + c) * W::WORDS};
        const __half* row_scales[2] = {scales + (row_of[0] + c) * W::SCALES, scales + (row_of[1] + c) * W::SCALES};
#pragma unroll
        for (uint32_t run = 0; run < RUNS; ++run) {
            const float scale[2] = {W::scale(row_words[0], row_scales[0], run), W::scale(row_words[1], row_scales[1], run)};
            uint32_t codes[STEPS][4];
#pragma unroll
            for (uint32_t s = 0; s < STEPS; ++s) {
                const uint32_t four = (run * STEPS + s) * 4 + t;
                const W weights(four);
#pragma unroll
                for (uint32_t r = 0; r < 2; ++r) {
                    const uint2 pairs = weights.codes(row_words[r] + W::first_word(four));
                    codes[s][r] = pairs.x;
                    codes[s][r + 2] = pairs.y;
                }
            }
#pragma unroll
            for (uint32_t n = 0; n < TOKENS / 8; ++n) {
                if (8 * n >= count) break;
                float products[4] = {};
                const uint4* part = parts + (8 * n + g) * STRIDE + run * STEPS * 4 + t;
#pragma unroll
                for (uint32_t s = 0; s < STEPS; ++s) {
                    const uint4 v = part[4 * s];
                    mma(products, codes[s], v.x, v.y);
                    mma(products, codes[s], v.z, v.w);
                }
                const float2 power = *reinterpret_cast<const float2*>(powers + 8 * n + 2 * t);
                sums[n][0] = fmaf(products[0], scale[0] * power.x, sums[n][0]);
                sums[n][1] = fmaf(products[1], scale[0] * power.y, sums[n][1]);
                sums[n][2] = fmaf(products[2], scale[1] * power.x, sums[n][2]);
                sums[n][3] = fmaf(products[3], scale[1] * power.y, sums[n][3]);
            }
        }
    }

#pragma unroll
    for (uint32_t n = 0; n < TOKENS / 8; ++n) {
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const size_t row = first + g + i / 2 * 8;
            const uint32_t token = 8 * n + 2 * t + i % 2;
            if (row >= rows || token >= count) continue;
            float& out = y[size_t(first_token + token) * stride + offset + row];
            out = add ? out + sums[n][i] : sums[n][i];
        }
    }
}

#define INSTANCE(W)                                                                                                    \
    template __global__ void matmul_prefill<W>(const uint32_t*, const __half*, const float*, float*, uint32_t, uint32_t, \
                                               uint32_t, uint32_t, uint32_t, bool);
INSTANCE(Q1_0)
INSTANCE(T1)
INSTANCE(T2)
INSTANCE(T2Halves)
INSTANCE(Q8_0)
INSTANCE(F16)
