// What comes between the projection of queries, keys and values and attention: bias, head norms, rotary position
// embedding, and the cache, in one launch.
//
// One warp a head and token. A head is read once, worked on in shared memory, where a lane owns pairs of elements, so
// that a rotation is in place without a barrier, and written once: queries back, keys and values to the cache.
#include "kv_cache.cuh"
#include "rope.cuh"
#include "warp.cuh"

/// Finishes the queries, keys and values of `tokens` tokens, the first of which is at `position[0]`: adds `bias`,
/// RMS-normalises query and key heads, rotates them by their position, leaves the queries in `qkv`, and stores keys and
/// values in the caches. Positions past `context` store nothing. In `qkv`, keys and values stay as they are.
///
/// `qkv` is `[tokens, heads + 2 * kv_heads, head_dim]`: the query heads, the key heads, the value heads; `bias` is as
/// the heads of one token, `q_norm` and `k_norm` are `[head_dim]`, and without them nothing is added or normalised.
/// Pairs are `(i, i + rotary_dim / 2)`, or `(2i, 2i + 1)` if `interleaved`; pair `i` turns by `position * turns[i]`
/// whole turns (that is `theta^(-2i/rotary_dim) / 2π`; in f64, so that far positions keep their angle), and is scaled
/// by `magnitude` (YaRN's attention factor; 1 without). Elements from `rotary_dim` on are not rotated.
///
/// The caches are `[kv_heads, context, head_dim]`. f16 elements are rounded; 8-bit ones are `round(x / scale)` with
/// `scale = max |x| / 127` over the head, which goes to `k_scales` and `v_scales`, `[kv_heads, context]`. f16 has no
/// scales and leaves these alone; 8-bit elements without them are stored with a scale of 1.
///
/// @grid    tokens, heads + 2 * kv_heads
/// @block   32
/// @require head_dim   <= 256
/// @require rotary_dim <= head_dim
/// @require rotary_dim % 2 == 0
/// @len     qkv      == tokens * (heads + 2 * kv_heads) * head_dim
/// @len     bias     == (heads + 2 * kv_heads) * head_dim
/// @len     q_norm   == head_dim
/// @len     k_norm   == head_dim
/// @len     turns    == rotary_dim / 2
/// @len     position == 1
/// @len     k_cache  == kv_heads * context * head_dim
/// @len     v_cache  == kv_heads * context * head_dim
/// @len     k_scales == kv_heads * context
/// @len     v_scales == kv_heads * context
/// @optional bias
/// @optional q_norm
/// @optional k_norm
/// @optional k_scales
/// @optional v_scales
/// @safe
template <class T>
__global__ void __launch_bounds__(32)
qkv_rope_store(float* __restrict__ qkv, const float* __restrict__ bias, const float* __restrict__ q_norm,
               const float* __restrict__ k_norm, const double* __restrict__ turns,
               const uint32_t* __restrict__ position, T* __restrict__ k_cache, T* __restrict__ v_cache,
               float* __restrict__ k_scales, float* __restrict__ v_scales, uint32_t tokens, uint32_t heads,
               uint32_t kv_heads, uint32_t head_dim, uint32_t rotary_dim, uint32_t context, bool interleaved, float eps,
               float magnitude) {
    __shared__ float head[MAX_HEAD_DIM];
    const uint32_t lane = threadIdx.x, row = blockIdx.y;
    const bool is_query = row < heads, is_value = row >= heads + kv_heads;
    const uint64_t at = uint64_t(*position) + blockIdx.x;
    if (!is_query && at >= context) return;

    float* of_qkv = qkv + (size_t(blockIdx.x) * gridDim.y + row) * head_dim;
    const float* of_bias = bias == nullptr ? nullptr : bias + size_t(row) * head_dim;
    float squares = 0.0f;
    for (uint32_t i = lane; i < head_dim; i += WARP) {
        const float x = of_bias == nullptr ? of_qkv[i] : of_qkv[i] + of_bias[i];
        head[i] = x;
        squares += x * x;
    }

    if (!is_value) {
        const float* norm = is_query ? q_norm : k_norm;
        const float scale = norm == nullptr ? 1.0f : rsqrtf(warp_sum(squares) / float(head_dim) + eps);
        // To exchange sums does not order memory: pairs are of elements that other lanes wrote.
        __syncwarp();
        const auto normed = [&](uint32_t i) { return norm == nullptr ? head[i] : head[i] * scale * norm[i]; };
        const uint32_t pairs = rotary_dim / 2;
        for (uint32_t i = lane; i < pairs; i += WARP) {
            const float2 turned = rotation(at, turns[i], magnitude);
            const uint32_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + pairs;
            const float a = normed(first), b = normed(second);
            head[first] = a * turned.x - b * turned.y;
            head[second] = b * turned.x + a * turned.y;
        }
        for (uint32_t i = rotary_dim + lane; i < head_dim; i += WARP) head[i] = normed(i);
    }
    __syncwarp();

    if (is_query) {
        for (uint32_t i = lane; i < head_dim; i += WARP) of_qkv[i] = head[i];
        return;
    }
    const uint32_t kv_head = row - heads - (is_value ? kv_heads : 0);
    const size_t slot = size_t(kv_head) * context + at;
    T* cache = (is_value ? v_cache : k_cache) + slot * head_dim;
    float inverse = 1.0f;
    if constexpr (KvElement<T>::SCALED) {
        float* scales = is_value ? v_scales : k_scales;
        if (scales != nullptr) {
            float largest = 0.0f;
            for (uint32_t i = lane; i < head_dim; i += WARP) largest = fmaxf(largest, fabsf(head[i]));
            largest = warp_max(largest);
            inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
            if (lane == 0) scales[slot] = largest / 127.0f;
        }
    }
    for (uint32_t i = lane; i < head_dim; i += WARP) cache[i] = KvElement<T>::from_float(head[i], inverse);
}

template __global__ void qkv_rope_store<__half>(float*, const float*, const float*, const float*, const double*,
                                                const uint32_t*, __half*, __half*, float*, float*, uint32_t, uint32_t,
                                                uint32_t, uint32_t, uint32_t, uint32_t, bool, float, float);
template __global__ void qkv_rope_store<int8_t>(float*, const float*, const float*, const float*, const double*,
                                                const uint32_t*, int8_t*, int8_t*, float*, float*, uint32_t, uint32_t,
                                                uint32_t, uint32_t, uint32_t, uint32_t, bool, float, float);
