// Appends one token's keys and values to the cache.
#include <cstdint>
#include <cuda_fp16.h>

/// Stores the key and value heads of one token in the cache at `position`, rounded to f16.
///
/// `qkv` is `[heads + 2 * kv_heads, head_dim]` (queries, keys, values); `k_cache` and `v_cache` are
/// `[kv_heads, context, head_dim]`. A position outside `context` stores nothing.
///
/// @grid    kv_heads
/// @block   128
/// @len     qkv      == (heads + 2 * kv_heads) * head_dim
/// @len     position == 1
/// @len     k_cache  == kv_heads * context * head_dim
/// @len     v_cache  == kv_heads * context * head_dim
/// @safe
__global__ void __launch_bounds__(128)
kv_store(const float* __restrict__ qkv, const uint32_t* __restrict__ position, __half* __restrict__ k_cache,
         __half* __restrict__ v_cache, uint32_t heads, uint32_t kv_heads, uint32_t head_dim, uint32_t context) {
    const uint32_t at = *position;
    if (at >= context) return;
    const float* k = qkv + (size_t(heads) + blockIdx.x) * head_dim;
    const float* v = k + size_t(kv_heads) * head_dim;
    const size_t row = (size_t(blockIdx.x) * context + at) * head_dim;
    for (uint32_t i = threadIdx.x; i < head_dim; i += 128) {
        k_cache[row + i] = __float2half(k[i]);
        v_cache[row + i] = __float2half(v[i]);
    }
}
