// The gate of a SwiGLU feed-forward network (Shazeer, 2020).
#include <cstdint>

/// `out = silu(gate) * up`, with `silu(g) = g / (1 + e^-g)`.
///
/// `gate_up` is `[2, dim]`: the gate, then what it gates; `out` is `[dim]`.
///
/// @grid    div_ceil(dim, 256)
/// @block   256
/// @len     gate_up == 2 * dim
/// @len     out     == dim
/// @out     out
/// @safe
__global__ void __launch_bounds__(256)
silu_mul(const float* __restrict__ gate_up, float* __restrict__ out, uint32_t dim) {
    const size_t i = size_t(blockIdx.x) * 256 + threadIdx.x;
    if (i >= dim) return;
    const float gate = gate_up[i];
    out[i] = gate / (1.0f + expf(-gate)) * gate_up[size_t(dim) + i];
}
