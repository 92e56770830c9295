// Greedy choice of the next token.
#include "warp.cuh"

constexpr uint32_t THREADS = 1024;

// The larger of two values, the lower index where they are equal. NaN is never larger.
__device__ inline void take_larger(float& best, uint32_t& at, float other, uint32_t other_at) {
    if (other > best || (other == best && other_at < at)) best = other, at = other_at;
}

/// The index of the largest of `x`, the lowest where several are equal; NaN is passed over (0 if all are NaN).
///
/// `x` is `[len]`, `index` is `[1]`.
///
/// @grid    1
/// @block   1024
/// @require len >= 1
/// @len     x     == len
/// @len     index == 1
/// @out     index
/// @safe
__global__ void __launch_bounds__(THREADS)
argmax(const float* __restrict__ x, uint32_t* __restrict__ index, uint32_t len) {
    __shared__ float best_of[THREADS / WARP];
    __shared__ uint32_t at_of[THREADS / WARP];

    float best = -INFINITY;
    uint32_t at = 0xffffffffu;
    for (size_t i = threadIdx.x; i < len; i += THREADS) take_larger(best, at, x[i], uint32_t(i));
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2)
        take_larger(best, at, __shfl_xor_sync(FULL_WARP, best, offset), __shfl_xor_sync(FULL_WARP, at, offset));
    if (threadIdx.x % WARP == 0) best_of[threadIdx.x / WARP] = best, at_of[threadIdx.x / WARP] = at;
    __syncthreads();

    if (threadIdx.x == 0) {
        for (uint32_t w = 1; w < THREADS / WARP; ++w) take_larger(best, at, best_of[w], at_of[w]);
        *index = at < len ? at : 0;
    }
}
