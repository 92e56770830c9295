// Root-mean-square normalisation (Zhang and Sennrich, 2019).
//
// One block a row, which is read twice: once for the sum of squares, once (from cache) to be scaled.
#include "warp.cuh"

/// Root-mean-square normalisation of each row: `out = x / sqrt(mean(x²) + eps) * weight`.
///
/// `x` and `out` are `[rows, dim]`, `weight` is `[dim]`.
///
/// @grid    rows
/// @block   256
/// @len     x      == rows * dim
/// @len     weight == dim
/// @len     out    == rows * dim
/// @out     out
/// @safe
__global__ void __launch_bounds__(256)
rms_norm(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ out, uint32_t rows,
         uint32_t dim, float eps) {
    const size_t row = size_t(blockIdx.x) * dim;
    float squares = 0.0f;
    for (uint32_t i = threadIdx.x; i < dim; i += 256) squares += x[row + i] * x[row + i];
    const float scale = rsqrtf(block_sum<256>(squares) / float(dim) + eps);
    for (uint32_t i = threadIdx.x; i < dim; i += 256) out[row + i] = x[row + i] * scale * weight[i];
}
