// Attention of one token over the whole cache, with grouped-query heads. (Of several: attention_prefill.cu.)
//
// One block a query head. Its warps take turns at the positions, each with a running softmax (Milakov and
// Gimelshein, 2018): a lane holds every 32nd element of the head, a score is one warp reduction. The warps' partial
// results meet in shared memory at the end. The grid does not depend on the position, which is read from device
// memory. Reads two rows of the cache a position and query head: 4 * head_dim bytes of f16, 2 * head_dim + 8 of 8 bits.
#include "kv_cache.cuh"
#include "warp.cuh"

constexpr uint32_t WARPS = 8;
constexpr uint32_t PER_LANE = MAX_HEAD_DIM / WARP;

/// Attention of the current token: `out[h] = softmax(scale * q[h] · K[g]) V[g]` over positions `0..=position`,
/// where `g = h / (heads / kv_heads)` is the key and value head that query head `h` shares.
///
/// `qkv` is `[heads + 2 * kv_heads, head_dim]`, of which the queries are read; `k_cache` and `v_cache` are
/// `[kv_heads, context, head_dim]` and hold the current token already; `out` is `[heads, head_dim]`.
/// 8-bit caches have `k_scales` and `v_scales`, `[kv_heads, context]`, by which their elements are multiplied (by 1
/// without); f16 has none and does not look at them.
/// A position outside `context` attends to the whole cache.
///
/// @grid    heads
/// @block   256
/// @require heads % kv_heads == 0
/// @require head_dim <= 256
/// @require head_dim >= 1
/// @require context >= 1
/// @len     qkv      == (heads + 2 * kv_heads) * head_dim
/// @len     k_cache  == kv_heads * context * head_dim
/// @len     v_cache  == kv_heads * context * head_dim
/// @len     k_scales == kv_heads * context
/// @len     v_scales == kv_heads * context
/// @len     position == 1
/// @len     out      == heads * head_dim
/// @optional k_scales
/// @optional v_scales
/// @out     out
/// @safe
template <class T>
__global__ void __launch_bounds__(WARPS * WARP)
attention_decode(const float* __restrict__ qkv, const T* __restrict__ k_cache, const T* __restrict__ v_cache,
                 const float* __restrict__ k_scales, const float* __restrict__ v_scales,
                 const uint32_t* __restrict__ position, float* __restrict__ out, uint32_t heads, uint32_t kv_heads,
                 uint32_t head_dim, uint32_t context, float scale) {
    __shared__ float partial_out[WARPS][MAX_HEAD_DIM];
    __shared__ float partial_max[WARPS];
    __shared__ float partial_sum[WARPS];

    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t length = min(*position, context - 1) + 1;
    const size_t first = size_t(blockIdx.x / (heads / kv_heads)) * context;

    float q[PER_LANE], sum_v[PER_LANE] = {};
    for (uint32_t j = 0; j < PER_LANE; ++j) {
        const uint32_t i = j * WARP + lane;
        q[j] = i < head_dim ? qkv[size_t(blockIdx.x) * head_dim + i] * scale : 0.0f;
    }

    float max_score = -INFINITY, sum = 0.0f;
    for (uint32_t at = warp; at < length; at += WARPS) {
        const size_t row = (first + at) * head_dim;
        float score = 0.0f;
        for (uint32_t j = 0; j < PER_LANE; ++j) {
            const uint32_t i = j * WARP + lane;
            if (i < head_dim) score += q[j] * KvElement<T>::to_float(k_cache[row + i]);
        }
        score = warp_sum(score) * kv_scale<T>(k_scales, first + at);
        const float new_max = fmaxf(max_score, score);
        const float keep = expf(max_score - new_max), weight = expf(score - new_max);
        max_score = new_max;
        sum = sum * keep + weight;
        const float scaled = weight * kv_scale<T>(v_scales, first + at);
        for (uint32_t j = 0; j < PER_LANE; ++j) {
            const uint32_t i = j * WARP + lane;
            if (i < head_dim) sum_v[j] = sum_v[j] * keep + scaled * KvElement<T>::to_float(v_cache[row + i]);
        }
    }

    for (uint32_t j = 0; j < PER_LANE; ++j) partial_out[warp][j * WARP + lane] = sum_v[j];
    if (lane == 0) partial_max[warp] = max_score, partial_sum[warp] = sum;
    __syncthreads();

    float total_max = -INFINITY;
    for (uint32_t w = 0; w < WARPS; ++w) total_max = fmaxf(total_max, partial_max[w]);
    for (uint32_t i = threadIdx.x; i < head_dim; i += WARPS * WARP) {
        float value = 0.0f, total = 0.0f;
        for (uint32_t w = 0; w < WARPS; ++w) {
            const float factor = expf(partial_max[w] - total_max);
            value += factor * partial_out[w][i];
            total += factor * partial_sum[w];
        }
        out[size_t(blockIdx.x) * head_dim + i] = value / total;
    }
}

template __global__ void attention_decode<__half>(const float*, const __half*, const __half*, const float*,
                                                  const float*, const uint32_t*, float*, uint32_t, uint32_t, uint32_t,
                                                  uint32_t, float);
template __global__ void attention_decode<int8_t>(const float*, const int8_t*, const int8_t*, const float*,
                                                  const float*, const uint32_t*, float*, uint32_t, uint32_t, uint32_t,
                                                  uint32_t, float);
