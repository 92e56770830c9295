// A kernel with as many rules as launchers of a model have. What it computes does not matter here.
#include <cstdint>

/// `out[r, i] = x[r, i] * weight[i] + bias[i] + residual[r, i]`
///
/// @grid  div_ceil(rows * dim, 256)
/// @block 256
/// @len   x == rows * dim
/// @len   residual == rows * dim
/// @len   weight == dim
/// @len   bias == dim
/// @len   out == rows * dim
/// @out   out
/// @safe
__global__ void scale_add(const float* __restrict__ x, const float* __restrict__ residual,
                          const float* __restrict__ weight, const float* __restrict__ bias, float* __restrict__ out,
                          uint32_t rows, uint32_t dim) {
    const uint64_t i = blockIdx.x * uint64_t{256} + threadIdx.x;
    if (i < uint64_t{rows} * dim) out[i] = x[i] * weight[i % dim] + bias[i % dim] + residual[i];
}
