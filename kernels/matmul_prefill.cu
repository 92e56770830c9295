// Matrix times many vectors, on tensor cores, with weights in those layouts of `weights.cuh` that have codes.
//
// A warp has 16 rows, a block 128 rows and 64 tokens. Of every chunk of 128 weights the block makes the activations pairs of
// f16 in shared memory: first divided by a power of two, so that the largest of a token is from 1 to 2, then each the sum of
// two f16. Codes are exact in f16, so two products are one with f32 (and what is left out is 2^-25 of the largest). The
// scale of the weights, and that power, multiply the sums of a run of weights.
//
// Which 16 elements one instruction multiplies does not matter while both factors have the same ones. So a lane has the
// weights that its layout gives it: four for a step of 16, and in shared memory it finds the four activations beside them,
// two f16 of each, in 16 bytes.
//
// 0.31 (F16) to 0.39 (Q8_0) PTX instructions of threads a weight and token, of which 0.03 are products, and most make the
// activations f16.
#include <type_traits>

#include "bit_weights.cuh"
#include "mma.cuh"
#include "warp.cuh"
#include "weights.cuh"

constexpr uint32_t WARPS = 8;
constexpr uint32_t TOKENS = 64;
// Of a token in shared memory, in 16 bytes; lanes of an instruction find their parts in different banks.
constexpr uint32_t STRIDE = CHUNK / 4 + 4;

// What a lane has of 16 rows of weights that are numbers: g and g + 8, elements 4t to 4t + 3 of every 16.
template <class W>
struct NumberFactor {
    static constexpr uint32_t RUN = W::RUN;
    const uint32_t* words;
    const __half* scales;
    uint32_t t;

    struct Chunk {
        const uint32_t* words;
        const __half* scales;
    };

    __device__ NumberFactor(const uint32_t* words, const __half* scales, size_t tile, uint32_t chunks, uint32_t lane)
        : t(lane % 4) {
        const size_t at = place_of(tile * TILE_ROWS + lane / 4, 0, chunks);
        this->words = words + at * W::WORDS;
        this->scales = scales + at * W::SCALES;
    }
    __device__ Chunk chunk(uint32_t c) const {
        return {words + size_t(c) * (TILE_ROWS * W::WORDS), scales + size_t(c) * (TILE_ROWS * W::SCALES)};
    }
    __device__ float scale(const Chunk& chunk, uint32_t half, uint32_t run) const {
        return W::scale(chunk.scales + half * 8 * W::SCALES, run);
    }
    __device__ uint2 codes(const Chunk& chunk, uint32_t half, uint32_t step) const {
        return W::codes(chunk.words + half * 8 * W::WORDS + W::first_word(4 * step + t));
    }
    // Place `n` of a chunk in shared memory has these.
    static __device__ float4 activations(const float* chunk, uint32_t n) { return reinterpret_cast<const float4*>(chunk)[n]; }
};

// Of weights that are bits: rows g and g + 8, word t, of which step s has bits 2s and 2s + 16, then 2s + 1 and 2s + 17. With
// two scales a chunk the weights have theirs, which is exact as well.
template <class W>
struct BitFactor {
    static constexpr uint32_t RUN = CHUNK;
    const uint32_t* words;
    const __half* scales;
    uint32_t lane;

    struct Chunk {
        uint32_t planes[2][W::PLANES];
        __half scales[2];
    };

    __device__ BitFactor(const uint32_t* words, const __half* scales, size_t tile, uint32_t chunks, uint32_t lane)
        : words(words + tile * groups_of(chunks) * (64 * W::WORDS)), scales(scales + tile * groups_of(chunks) * (64 * W::SCALES)),
          lane(lane) {}
    __device__ Chunk chunk(uint32_t c) const {
        const size_t group = c / GROUP_CHUNKS;
        Chunk chunk;
#pragma unroll
        for (uint32_t half = 0; half < 2; ++half) {
            W::planes(words + group * (64 * W::WORDS), lane, half, c % GROUP_CHUNKS, chunk.planes[half]);
            const uint32_t of = W::SCALES == 1 ? 0 : lane % 4 / 2;
            chunk.scales[half] = bit_scale(scales + group * (64 * W::SCALES), of, lane / 4, half, c % GROUP_CHUNKS);
        }
        return chunk;
    }
    __device__ float scale(const Chunk& chunk, uint32_t half, uint32_t) const {
        return W::SCALES == 1 ? __half2float(chunk.scales[half]) : 1.0f;
    }
    __device__ uint2 codes(const Chunk& chunk, uint32_t half, uint32_t step) const {
        const auto pair = [&](uint32_t n) {
            const uint32_t codes = bit_pair<W>(chunk.planes[half], n);
            if constexpr (W::SCALES == 1) return codes;
            const __half2 scaled = __hmul2(*reinterpret_cast<const __half2*>(&codes), __half2half2(chunk.scales[half]));
            return *reinterpret_cast<const uint32_t*>(&scaled);
        };
        return {pair(2 * step), pair(2 * step + 1)};
    }
    static __device__ float4 activations(const float* chunk, uint32_t n) {
        const float2* two = reinterpret_cast<const float2*>(chunk + n % 4 * 32 + n / 4 * 2);
        const float2 low = two[0], high = two[8];
        return {low.x, high.x, low.y, high.y};
    }
};

template <class W>
using FactorOf = std::conditional_t<W::BITS, BitFactor<W>, NumberFactor<W>>;

/// Matrix times vectors, `y[t, offset + r] = W[r] · x[t]`, or `+=` that if `add`.
///
/// `words` and `scales` are in the layout W, for a matrix `[rows, chunks * 128]`, `x` is `[tokens, chunks * 128]`, `y` is
/// `[tokens, stride]`: what is beside the `rows` elements from `offset` on stays as it is, so that matrices in different
/// layouts have their parts of one output.
///
/// @targets 75 80
/// @grid    div_ceil(rows, 128) * div_ceil(tokens, 64)
/// @block   256
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
matmul_prefill(const uint32_t* __restrict__ words, const __half* __restrict__ scales, const float* __restrict__ x,
               float* __restrict__ y, uint32_t rows, uint32_t chunks, uint32_t tokens, uint32_t stride, uint32_t offset,
               bool add) {
    using Factor = FactorOf<W>;
    constexpr uint32_t RUNS = CHUNK / Factor::RUN, STEPS = Factor::RUN / 16;
    __shared__ uint4 parts[TOKENS * STRIDE];
    __shared__ float powers[TOKENS];

    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t g = lane / 4, t = lane % 4;
    const uint32_t groups = (tokens - 1) / TOKENS + 1;
    const size_t first = (size_t(blockIdx.x / groups) * WARPS + warp) * TILE_ROWS;
    const uint32_t first_token = blockIdx.x % groups * TOKENS;
    const uint32_t count = min(tokens - first_token, TOKENS);

    // A warp past the end does what the last one does, and stores nothing.
    const Factor factor(words, scales, min(first / TILE_ROWS, size_t((rows - 1) / TILE_ROWS)), chunks, lane);
    const float* token_x = x + size_t(first_token) * chunks * CHUNK;

    float sums[TOKENS / 8][4] = {};
    for (uint32_t c = 0; c < chunks; ++c) {
        __syncthreads();
        // Tokens are taken in eights; those past the end are zeros.
        for (uint32_t token = warp; token < (count + 7) / 8 * 8; token += WARPS) {
            float4 v = {};
            if (token < count) v = Factor::activations(token_x + (size_t(token) * chunks + c) * CHUNK, lane);
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

        const typename Factor::Chunk chunk = factor.chunk(c);
#pragma unroll
        for (uint32_t run = 0; run < RUNS; ++run) {
            const float scale[2] = {factor.scale(chunk, 0, run), factor.scale(chunk, 1, run)};
            uint32_t codes[STEPS][4];
#pragma unroll
            for (uint32_t s = 0; s < STEPS; ++s) {
#pragma unroll
                for (uint32_t half = 0; half < 2; ++half) {
                    const uint2 pairs = factor.codes(chunk, half, run * STEPS + s);
                    codes[s][half] = pairs.x;
                    codes[s][half + 2] = pairs.y;
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
