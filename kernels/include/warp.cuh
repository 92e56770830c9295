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

// The sums of COUNT values over a warp: that of `values[n]` in the lanes whose number is n modulo COUNT. Lanes swap what
// the other keeps, so that 4 values take 6 shuffles instead of 20, and 32 take 31 instead of 160.
template <unsigned COUNT>
__device__ inline float warp_sums(const float (&values)[COUNT]) {
    static_assert(COUNT <= WARP && (COUNT & (COUNT - 1)) == 0);
    if constexpr (COUNT == 1) {
        return values[0];
    } else {
        constexpr unsigned HALF = COUNT / 2;
        const bool upper = threadIdx.x & HALF;
        float kept[HALF];
#pragma unroll
        for (unsigned n = 0; n < HALF; ++n)
            kept[n] = (upper ? values[n + HALF] : values[n]) +
                      __shfl_xor_sync(FULL_WARP, upper ? values[n] : values[n + HALF], HALF);
        return warp_sums(kept);
    }
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
