// Reductions over a warp and over a block.
#pragma once

#include <cstdint>

constexpr unsigned FULL_WARP = 0xffffffffu;
constexpr unsigned WARP = 32;

// The sum of `value` over the 32 lanes of a warp, in every lane.
__device__ inline float warp_sum(float value) {
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2)
        value += __shfl_xor_sync(FULL_WARP, value, offset);
    return value;
}

// The sum of `value` over a block of `THREADS` threads, in every thread.
template <unsigned THREADS>
__device__ inline float block_sum(float value) {
    static_assert(THREADS % WARP == 0 && THREADS / WARP <= WARP);
    __shared__ float partial[THREADS / WARP];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
    __syncthreads();
    float total = 0.0f;
    for (unsigned w = 0; w < THREADS / WARP; ++w) total += partial[w];
    return total;
}
