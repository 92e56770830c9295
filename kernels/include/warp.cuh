// Reductions over a warp and over a block.
#pragma once

#include <cstdint>

constexpr unsigned FULL_WARP = 0xffffffffu;
constexpr unsigned WARP = 32;

// What the compiler does not know, so that it is not computed anew wherever it is needed.
__device__ inline int opaque(int value) {
    int same;
    asm("mov.b32 %0, %1;" : "=r"(same) : "r"(value));
    return same;
}
__device__ inline size_t opaque(size_t value) {
    size_t same;
    asm("mov.b64 %0, %1;" : "=l"(same) : "l"(value));
    return same;
}

// A zero that the assembler does not know either: the number of the first lane.
__device__ inline int unknown_zero(uint32_t lane) {
    int zero;
    asm volatile("shfl.sync.idx.b32 %0, %1, 0, 31, 0xffffffff;" : "=r"(zero) : "r"(lane));
    return zero;
}

// What the lane has whose number differs in the bits of OTHER. (The compiler would write moves into PTX.)
template <uint32_t OTHER>
__device__ inline float of_lane(float x) {
    float of_other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(of_other) : "f"(x), "n"(OTHER));
    return of_other;
}
template <uint32_t OTHER>
__device__ inline uint32_t of_lane(uint32_t x) {
    uint32_t of_other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(of_other) : "r"(x), "n"(OTHER));
    return of_other;
}

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
