// Head normalisation and rotary position embedding of the queries and keys of one token.
//
// One warp a head. A lane owns the pairs (i, i + head_dim / 2), so the rotation is in place without a barrier.
#include "warp.cuh"

/// RMS-normalises every query and key head, then rotates it by the position (half-split RoPE).
///
/// `qkv` is `[heads + 2 * kv_heads, head_dim]`: the query heads, the key heads, and the value heads, which stay as
/// they are. `q_norm` and `k_norm` are `[head_dim]`. Pair `i` turns by `position * turns[i]` whole turns (that is
/// `theta^(-2i/head_dim) / 2π`; in f64, so that far positions keep their angle), and is scaled by `magnitude`
/// (YaRN's attention factor; 1 without).
///
/// @grid    heads + kv_heads
/// @block   32
/// @require head_dim % 2 == 0
/// @len     qkv      == (heads + 2 * kv_heads) * head_dim
/// @len     q_norm   == head_dim
/// @len     k_norm   == head_dim
/// @len     turns    == head_dim / 2
/// @len     position == 1
/// @safe
__global__ void __launch_bounds__(32)
head_norm_rope(float* __restrict__ qkv, const float* __restrict__ q_norm, const float* __restrict__ k_norm,
               const double* __restrict__ turns, const uint32_t* __restrict__ position, uint32_t heads,
               uint32_t kv_heads, uint32_t head_dim, float eps, float magnitude) {
    float* head = qkv + size_t(blockIdx.x) * head_dim;
    const float* norm = blockIdx.x < heads ? q_norm : k_norm;

    float squares = 0.0f;
    for (uint32_t i = threadIdx.x; i < head_dim; i += WARP) squares += head[i] * head[i];
    const float scale = rsqrtf(warp_sum(squares) / float(head_dim) + eps);
    // Other lanes have read what this one writes now, and to exchange sums does not order memory.
    __syncwarp();

    const double at = double(*position);
    const uint32_t half = head_dim / 2;
    for (uint32_t i = threadIdx.x; i < half; i += WARP) {
        const double turned = at * turns[i];
        float sin, cos;
        sincospif(2.0f * float(turned - floor(turned)), &sin, &cos);
        const float a = head[i] * scale * norm[i];
        const float b = head[i + half] * scale * norm[i + half];
        head[i] = (a * cos - b * sin) * magnitude;
        head[i + half] = (b * cos + a * sin) * magnitude;
    }
}
