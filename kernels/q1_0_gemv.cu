// Q1_0 matrix times vector, with float activations.
//
// A warp computes ROWS rows together, so that four activations loaded once serve all of them. In every block of 128
// weights a lane holds four: it takes its four sign bits from the block's words (eight lanes share a word) and adds
// the four activations with their signs flipped. Costs about 5 PTX instructions a weight; moves 18/128 bytes a weight.
#include "q1_0.cuh"
#include "warp.cuh"

constexpr uint32_t WARPS = 4;
constexpr uint32_t ROWS = 4;

// Calls `store(row, dot)` for each row of this warp, in a lane of its own.
template <class Store>
__device__ inline void gemv(const uint4* __restrict__ signs, const __half* __restrict__ scales,
                            const float* __restrict__ x, uint32_t rows, uint32_t blocks, Store store) {
    const uint32_t lane = threadIdx.x % WARP;
    const size_t first = (size_t(blockIdx.x) * WARPS + threadIdx.x / WARP) * ROWS;
    if (first >= rows) return;

    // Rows past the end read the last row instead, and are not stored.
    const uint32_t* row_signs[ROWS];
    const __half* row_scales[ROWS];
    for (uint32_t r = 0; r < ROWS; ++r) {
        const size_t row = min(first + r, size_t(rows) - 1);
        row_signs[r] = reinterpret_cast<const uint32_t*>(signs + row * blocks) + lane / 8;
        row_scales[r] = scales + row * blocks;
    }

    float sums[ROWS] = {};
    for (uint32_t b = 0; b < blocks; ++b) {
        const float4 v = reinterpret_cast<const float4*>(x)[size_t(b) * WARP + lane];
        for (uint32_t r = 0; r < ROWS; ++r) {
            const uint32_t word = row_signs[r][size_t(b) * Q1_0_WORDS] >> (lane % 8 * 4);
            const float dot = (flip_sign(v.x, word, 0) + flip_sign(v.y, word, 1)) +
                              (flip_sign(v.z, word, 2) + flip_sign(v.w, word, 3));
            sums[r] = fmaf(__half2float(row_scales[r][b]), dot, sums[r]);
        }
    }
    const float sum = warp_sum_of_four(sums);
    if (lane < ROWS && first + lane < rows) store(first + lane, sum);
}

/// Matrix times vector, `y = W x`, with `W` in Q1_0.
///
/// `signs` and `scales` are `[rows, blocks]`, `x` is `[blocks * 128]`, `y` is `[rows]`.
///
/// @grid    div_ceil(rows, 16)
/// @block   128
/// @len     signs  == rows * blocks
/// @len     scales == rows * blocks
/// @len     x      == blocks * 128
/// @align   x 16
/// @len     y      == rows
/// @out     y
/// @safe
__global__ void __launch_bounds__(WARPS * WARP)
q1_0_gemv(const uint4* __restrict__ signs, const __half* __restrict__ scales, const float* __restrict__ x,
          float* __restrict__ y, uint32_t rows, uint32_t blocks) {
    gemv(signs, scales, x, rows, blocks, [&](size_t row, float dot) { y[row] = dot; });
}

/// Matrix times vector added to what is there, `y += W x`, with `W` in Q1_0.
///
/// `signs` and `scales` are `[rows, blocks]`, `x` is `[blocks * 128]`, `y` is `[rows]`: the residual, in place.
///
/// @grid    div_ceil(rows, 16)
/// @block   128
/// @len     signs  == rows * blocks
/// @len     scales == rows * blocks
/// @len     x      == blocks * 128
/// @align   x 16
/// @len     y      == rows
/// @safe
__global__ void __launch_bounds__(WARPS * WARP)
q1_0_gemv_add(const uint4* __restrict__ signs, const __half* __restrict__ scales, const float* __restrict__ x,
              float* __restrict__ y, uint32_t rows, uint32_t blocks) {
    gemv(signs, scales, x, rows, blocks, [&](size_t row, float dot) { y[row] += dot; });
}
