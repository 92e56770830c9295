// The gate of a SwiGLU feed-forward network (Shazeer, 2020).
#include <cstdint>

#include "silu.cuh"

/// `out = silu(gate) * up` for each row, with `silu(g) = g / (1 + e^-g)`.
///
/// `gate_up` is `[rows, 2, dim]`: the gate, then what it gates; `out` is `[rows, dim]`.
///
/// @grid    rows, div_ceil(dim, 256)
/// @block   256
/// @len     gate_up == rows * 2 * dim
/// @len     out     == rows * dim
/// @out     out
/// @safe
__global__ void __launch_bounds__(256)
silu_mul(const float* __restrict__ gate_up, float* __restrict__ out, uint32_t rows, uint32_t dim) {
    const size_t row = blockIdx.x, i = size_t(blockIdx.y) * 256 + threadIdx.x;
    if (i >= dim) return;
    const float* gates = gate_up + row * 2 * dim;
    out[row * dim + i] = silu(gates[i]) * gates[dim + i];
}
