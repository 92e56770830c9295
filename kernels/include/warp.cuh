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

// The largest `value` over the 32 lanes of a warp, in every lane.
__device__ inline float warp_max(float value) {
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, offset));
    return value;
}

// The sums of four values over a warp: that of `values[n]` in the lanes whose number is n modulo 4. Lanes swap what the
// other keeps, so this takes 6 shuffles instead of 20.
__device__ inline float warp_sum_of_four(const float (&values)[4]) {
    const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
    const float low = (odd ? values[1] : values[0]) + __shfl_xor_sync(FULL_WARP, odd ? values[0] : values[1], 1);
    const float high = (odd ? values[3] : values[2]) + __shfl_xor_sync(FULL_WARP, odd ? values[2] : values[3], 1);
    float sum = (upper ? high : low) + __shfl_xor_sync(FULL_WARP, upper ? low : high, 2);
    for (unsigned offset = 4; offset < WARP; offset *= 2) sum += __shfl_xor_sync(FULL_WARP, sum, offset);
    return sum;
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
