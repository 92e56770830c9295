// Causal attention of several tokens over the whole cache, with grouped-query heads, on tensor cores.
//
// A row is a query head of a token; all query heads that share a KV head are rows of one product, token by token. A
// warp has 16 rows. A block goes through the positions in tiles of 32, whose keys and values it loads into shared memory
// as f16 once for all of its rows, with a running softmax (Milakov and Gimelshein, 2018; Dao, 2023). Keys and values,
// and 8-bit codes, are exact in f16. Queries and weights are not, so each is the sum of two f16 and its products are two:
// the result is that of f32. Sums are f32. Scales of 8-bit keys multiply scores, those of values multiply weights.
// Heads over 128 elements are shared by two warps, which add up their scores through shared memory.
//
// 28 to 40 PTX instructions of threads a row and position, of which 8 are products (head_dim 128, f16); with f32
// multiplications it would be 256 for these alone. Reads the caches once a block, that is for 64 rows.
#include "kv_cache.cuh"
#include "mma.cuh"
#include "softmax.cuh"
#include "warp.cuh"

constexpr uint32_t WARPS = 4;
constexpr uint32_t THREADS = WARPS * WARP;
// Rows of a warp, and positions of a tile.
constexpr uint32_t ROWS = 16;
constexpr uint32_t KEYS = 32;

// Loads the first `count` rows of `cache` into a tile, and zeros where there is nothing to load.
template <uint32_t WIDTH, class T>
__device__ inline void load_tile(__half* tile, const T* cache, uint32_t count, uint32_t head_dim) {
    constexpr uint32_t STRIDE = WIDTH + 8, EIGHTS = WIDTH / 8, STEP = THREADS / EIGHTS;
    const bool aligned = head_dim % 8 == 0 && reinterpret_cast<size_t>(cache) % (8 * sizeof(T)) == 0;
    if (aligned) {
        const uint32_t first = threadIdx.x / EIGHTS, column = threadIdx.x % EIGHTS * 8;
        const T* from = cache + size_t(first) * head_dim + column;
        __half* to = tile + first * STRIDE + column;
#pragma unroll
        for (uint32_t row = 0; row < KEYS; row += STEP) {
            uint4 eight = {};
            if (first + row < count && column < head_dim) eight = KvElement<T>::load_eight(from);
            *reinterpret_cast<uint4*>(to + row * STRIDE) = eight;
            from += size_t(STEP) * head_dim;
        }
    } else {
        for (uint32_t i = threadIdx.x; i < KEYS * WIDTH; i += THREADS) {
            const uint32_t row = i / WIDTH, column = i % WIDTH;
            const bool there = row < count && column < head_dim;
            const size_t at = size_t(row) * head_dim + column;
            tile[row * STRIDE + column] = there ? KvElement<T>::to_half(cache[at]) : __half();
        }
    }
}

// The whole of the kernel, for heads of up to DIM * TEAM elements, of which each of TEAM warps has DIM.
template <uint32_t DIM, uint32_t TEAM, class T>
__device__ inline void attend(const float* __restrict__ qkv, const T* __restrict__ k_cache,
                              const T* __restrict__ v_cache, const float* __restrict__ k_scales,
                              const float* __restrict__ v_scales, uint32_t position, float* __restrict__ out,
                              uint32_t tokens, uint32_t heads, uint32_t kv_heads, uint32_t head_dim, uint32_t context,
                              float scale) {
    constexpr uint32_t WIDTH = DIM * TEAM, STRIDE = WIDTH + 8;
    extern __shared__ uint4 shared[];
    __half* k_tile = reinterpret_cast<__half*>(shared);                      // [KEYS, STRIDE]
    __half* v_tile = k_tile + KEYS * STRIDE;                                 // [KEYS, STRIDE]
    float* k_scale = reinterpret_cast<float*>(v_tile + KEYS * STRIDE);       // [KEYS]
    float* v_scale = k_scale + KEYS;                                         // [KEYS]
    float(*partial)[KEYS / 2][WARP] = reinterpret_cast<float(*)[KEYS / 2][WARP]>(v_scale + KEYS);  // [WARPS] of it

    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t g = lane / 4, t = lane % 4, first_dim = warp % TEAM * DIM;
    const uint32_t group = heads / kv_heads, kv_head = blockIdx.y;
    const size_t cache = size_t(kv_head) * context;
    // Of the rows of the first matrices that this lane gives.
    const uint32_t k_address = shared_address(k_tile + lane % 8 * STRIDE + first_dim + lane / 8 * 8);
    const uint32_t v_address = shared_address(v_tile + lane % 16 * STRIDE + first_dim + lane / 16 * 8);

    // Rows past the last one are computed as that one is, and not stored.
    const size_t rows = size_t(tokens) * group;
    const size_t block_row = size_t(blockIdx.x) * (WARPS / TEAM * ROWS), first_row = block_row + warp / TEAM * ROWS;
    const auto token_of = [&](size_t row) { return min(row, rows - 1) / group; };
    // The last position that a row sees.
    const auto limit_of = [&](size_t row) { return min(position + token_of(row), size_t(context) - 1); };
    const size_t limits[2] = {limit_of(first_row + g), limit_of(first_row + g + 8)};
    const size_t block_limit = limit_of(block_row + WARPS / TEAM * ROWS - 1);
    const size_t warp_limit = limit_of(first_row + ROWS - 1);

    uint32_t q_high[DIM / 16][4], q_low[DIM / 16][4];
    {
        const float factor = scale * LOG2_E;
        const float* queries[2];
        for (uint32_t r = 0; r < 2; ++r) {
            const size_t row = min(first_row + g + 8 * r, rows - 1);
            const size_t head = row / group * (heads + 2 * size_t(kv_heads)) + kv_head * group + row % group;
            queries[r] = qkv + head * head_dim;
        }
#pragma unroll
        for (uint32_t k = 0; k < DIM / 16; ++k) {
#pragma unroll
            for (uint32_t r = 0; r < 4; ++r) {
                const uint32_t i = first_dim + 16 * k + 2 * t + r / 2 * 8;
                const float a = i < head_dim ? queries[r % 2][i] * factor : 0.0f;
                const float b = i + 1 < head_dim ? queries[r % 2][i + 1] * factor : 0.0f;
                split(a, b, q_high[k][r], q_low[k][r]);
            }
        }
    }

    float mixed[DIM / 8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, sums[2] = {};
    for (size_t tile = 0; tile <= block_limit; tile += KEYS) {
        const uint32_t count = min(block_limit + 1 - tile, size_t(KEYS));
        __syncthreads();
        load_tile<WIDTH>(k_tile, k_cache + (cache + tile) * head_dim, count, head_dim);
        load_tile<WIDTH>(v_tile, v_cache + (cache + tile) * head_dim, count, head_dim);
        if (KvElement<T>::SCALED && threadIdx.x < 2 * KEYS) {
            const uint32_t key = threadIdx.x % KEYS;
            const float* scales = threadIdx.x < KEYS ? k_scales : v_scales;
            k_scale[threadIdx.x] = key < count ? kv_scale<T>(scales, cache + tile + key) : 0.0f;
        }
        __syncthreads();

        // Scores: of row g in places 0 and 1, of row g + 8 in places 2 and 3.
        const bool active = first_row < rows && tile <= warp_limit;
        float scores[KEYS / 8][4] = {};
        if (active) {
#pragma unroll
            for (uint32_t k = 0; k < DIM / 32; ++k) {
#pragma unroll
                for (uint32_t j = 0; j < KEYS / 8; ++j) {
                    uint32_t pairs[4];
                    load_matrices(pairs, k_address + 2 * (8 * j * STRIDE + 32 * k));
                    mma(scores[j], q_high[2 * k], pairs[0], pairs[1]);
                    mma(scores[j], q_low[2 * k], pairs[0], pairs[1]);
                    mma(scores[j], q_high[2 * k + 1], pairs[2], pairs[3]);
                    mma(scores[j], q_low[2 * k + 1], pairs[2], pairs[3]);
                }
            }
        }
        if constexpr (TEAM > 1) {
            if (active) {
                for (uint32_t i = 0; i < KEYS / 2; ++i) partial[warp][i][lane] = scores[i / 4][i % 4];
            }
            __syncthreads();
            if (active) {
                for (uint32_t i = 0; i < KEYS / 2; ++i) scores[i / 4][i % 4] += partial[warp ^ 1][i][lane];
            }
        }
        if (!active) continue;

        if constexpr (KvElement<T>::SCALED) {
#pragma unroll
            for (uint32_t i = 0; i < KEYS / 2; ++i) scores[i / 4][i % 4] *= k_scale[i / 4 * 8 + 2 * t + i % 2];
        }
        // Later positions than its own are not for a row: in the last tiles only.
        if (tile + KEYS - 1 > min(limits[0], limits[1])) {
#pragma unroll
            for (uint32_t i = 0; i < KEYS / 2; ++i) {
                if (tile + i / 4 * 8 + 2 * t + i % 2 > limits[i % 4 / 2]) scores[i / 4][i % 4] = -INFINITY;
            }
        }

        // The running softmax. Every row sees position 0, so its largest score is a number from the first tile on.
        float offset[2], keep[2];
#pragma unroll
        for (uint32_t r = 0; r < 2; ++r) {
            float most = largest[r];
#pragma unroll
            for (uint32_t j = 0; j < KEYS / 8; ++j) most = fmaxf(most, fmaxf(scores[j][2 * r], scores[j][2 * r + 1]));
            most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, 1));
            most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, 2));
            keep[r] = exp2_fast(largest[r] - most);
            largest[r] = most;
            offset[r] = most - HEADROOM;
            sums[r] *= keep[r];
        }
#pragma unroll
        for (uint32_t i = 0; i < DIM / 8 * 4; ++i) mixed[i / 4][i % 4] *= keep[i % 4 / 2];

        uint32_t w_high[KEYS / 16][4], w_low[KEYS / 16][4];
#pragma unroll
        for (uint32_t n = 0; n < KEYS / 4; ++n) {
            // A pair of sums is where a pair of the factor is: those of columns 8 and on come third and fourth.
            const uint32_t j = n / 2, r = n % 2;
            float a = exp2_fast(scores[j][2 * r] - offset[r]), b = exp2_fast(scores[j][2 * r + 1] - offset[r]);
            sums[r] += a + b;
            if constexpr (KvElement<T>::SCALED) {
                a *= v_scale[8 * j + 2 * t];
                b *= v_scale[8 * j + 2 * t + 1];
            }
            split(a, b, w_high[j / 2][j % 2 * 2 + r], w_low[j / 2][j % 2 * 2 + r]);
        }
#pragma unroll
        for (uint32_t k = 0; k < KEYS / 16; ++k) {
#pragma unroll
            for (uint32_t j = 0; j < DIM / 16; ++j) {
                uint32_t pairs[4];
                load_matrices_transposed(pairs, v_address + 2 * (16 * k * STRIDE + 16 * j));
                mma(mixed[2 * j], w_high[k], pairs[0], pairs[1]);
                mma(mixed[2 * j + 1], w_high[k], pairs[2], pairs[3]);
                mma(mixed[2 * j], w_low[k], pairs[0], pairs[1]);
                mma(mixed[2 * j + 1], w_low[k], pairs[2], pairs[3]);
            }
        }
    }

#pragma unroll
    for (uint32_t r = 0; r < 2; ++r) {
        float sum = sums[r];
        sum += __shfl_xor_sync(FULL_WARP, sum, 1);
        sum += __shfl_xor_sync(FULL_WARP, sum, 2);
        const float inverse = 1.0f / sum;
        const size_t row = first_row + g + 8 * r;
        if (row >= rows) continue;
        float* of_row = out + (row / group * heads + kv_head * group + row % group) * head_dim;
#pragma unroll
        for (uint32_t i = 0; i < DIM / 4; ++i) {
            const uint32_t column = first_dim + i / 2 * 8 + 2 * t + i % 2;
            if (column < head_dim) of_row[column] = mixed[i / 2][2 * r + i % 2] * inverse;
        }
    }
}

/// Causal attention of `tokens` tokens, the first of which is at `position[0]`. For token `i` and query head `h` it is
/// `out[i, h] = softmax(scale * q[i, h] · K[g]) V[g]` over positions `0..=position + i`, where
/// `g = h / (heads / kv_heads)` is the key and value head that query head `h` shares.
///
/// `qkv` is `[tokens, heads + 2 * kv_heads, head_dim]`, of which the queries are read; `k_cache` and `v_cache` are
/// `[kv_heads, context, head_dim]` and hold these tokens already; `out` is `[tokens, heads, head_dim]`.
/// 8-bit caches have `k_scales` and `v_scales`, `[kv_heads, context]`, by which their elements are multiplied (by 1
/// without); f16 has none and does not look at them.
/// A position outside `context` attends to the whole cache. Where an element of a query times `scale` is over 45,000
/// the result is no number.
///
/// @targets 75 80
/// @grid    div_ceil(tokens * (heads / kv_heads), 64 / div_ceil(head_dim, 128)), kv_heads
/// @block   128
/// @shared  256 + 128 * (128 * div_ceil(head_dim, 128) + 8) + 8192 * (div_ceil(head_dim, 128) - 1)
/// @require heads % kv_heads == 0
/// @require head_dim <= 256
/// @require head_dim >= 1
/// @require context >= 1
/// @len     qkv      == tokens * (heads + 2 * kv_heads) * head_dim
/// @len     k_cache  == kv_heads * context * head_dim
/// @len     v_cache  == kv_heads * context * head_dim
/// @len     k_scales == kv_heads * context
/// @len     v_scales == kv_heads * context
/// @len     position == 1
/// @len     out      == tokens * heads * head_dim
/// @optional k_scales
/// @optional v_scales
/// @out     out
/// @safe
template <class T>
__global__ void __launch_bounds__(THREADS)
attention_prefill(const float* __restrict__ qkv, const T* __restrict__ k_cache, const T* __restrict__ v_cache,
                  const float* __restrict__ k_scales, const float* __restrict__ v_scales,
                  const uint32_t* __restrict__ position, float* __restrict__ out, uint32_t tokens, uint32_t heads,
                  uint32_t kv_heads, uint32_t head_dim, uint32_t context, float scale) {
    if (head_dim <= 64) {
        attend<64, 1>(qkv, k_cache, v_cache, k_scales, v_scales, *position, out, tokens, heads, kv_heads, head_dim,
                      context, scale);
    } else if (head_dim <= 128) {
        attend<128, 1>(qkv, k_cache, v_cache, k_scales, v_scales, *position, out, tokens, heads, kv_heads, head_dim,
                       context, scale);
    } else {
        attend<128, 2>(qkv, k_cache, v_cache, k_scales, v_scales, *position, out, tokens, heads, kv_heads, head_dim,
                       context, scale);
    }
}

template __global__ void attention_prefill<__half>(const float*, const __half*, const __half*, const float*,
                                                   const float*, const uint32_t*, float*, uint32_t, uint32_t,
                                                   uint32_t, uint32_t, uint32_t, float);
template __global__ void attention_prefill<int8_t>(const float*, const int8_t*, const int8_t*, const float*,
                                                   const float*, const uint32_t*, float*, uint32_t, uint32_t,
                                                   uint32_t, uint32_t, uint32_t, float);
