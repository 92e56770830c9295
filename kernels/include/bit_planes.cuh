// Products of bits on tensor cores: weights that are bits, or sums of a few, times activations as 16 planes of bits.
//
// An activation is a 16-bit integer, `q = round(x / step)` with `step = max |x| / 32767` over a group of 512. Plane n is bit
// n of each of them, in two's complement: `q = sum_n 2^n bit_n`, where bit 15 counts as -2^15. One `mma` takes 16 rows of
// 128 bits of weights as they are in memory, and 8 planes as the 8 columns of its other factor, and counts the ones that a
// row and a plane have in common. So no weight is unpacked, and what is lost of an activation is at most 2^-16 of the
// largest of its group.
//
// A lane has g = lane / 4 and t = lane % 4: of the weights word t of rows g and g + 8, of the planes word t of planes g and
// g + 8, of the counts planes 2t, 2t + 1 for row g, then for row g + 8. Word t is elements 32t to 32t + 31, the first in the
// lowest bit.
#pragma once

#include <cstdint>

#include "bit_weights.cuh"
#include "warp.cuh"

// A group of activations in shared memory: four chunks of 128.
struct __align__(16) Planes {
    // For chunks 0 and 1, and for 2 and 3, of each lane: word t of planes g and g + 8 of the one, then of the other.
    uint4 words[2][32];
    // Sums of the integers of each chunk; with HALVES those of the first 64, then those of the others. They are in place 0 of
    // four: the lanes of one t add them to what they count, those of others add the zeros in their place.
    int4 sums[2][4];
    float step;
};

// A zero that the compiler does not know, so that it is not written into PTX anew for each instruction.
__device__ inline int unknown_zero() {
    int zero;
    asm("mov.b32 %0, 0;" : "=r"(zero));
    return zero;
}

// Counts the ones that the rows of A (`first` is of row g, `second` of row g + 8) and the planes of B have in common.
__device__ inline void count_common(int (&counts)[4], uint32_t first, uint32_t second, uint32_t planes, int zero) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %7, %7, %7};"
        : "=r"(counts[0]), "=r"(counts[1]), "=r"(counts[2]), "=r"(counts[3])
        : "r"(first), "r"(second), "r"(planes), "r"(zero));
#else
    // Turing counts what differs: a & b are half of a + b - (a ^ b) ones. To differ from nothing is to be one.
    const auto different = [&](uint32_t a, uint32_t b, int& even, int& odd) {
        asm("mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc {%0, %1}, {%2}, {%3}, {%4, %4};"
            : "=r"(even), "=r"(odd)
            : "r"(a), "r"(b), "r"(zero));
    };
    int of_b[2];
    different(zero, planes, of_b[0], of_b[1]);
    const uint32_t rows[2] = {first, second};
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
        int of_a[2], differ[2];
        different(rows[half], zero, of_a[0], of_a[1]);
        different(rows[half], planes, differ[0], differ[1]);
        counts[2 * half] = (of_a[0] + of_b[0] - differ[0]) / 2;
        counts[2 * half + 1] = (of_a[1] + of_b[1] - differ[1]) / 2;
    }
#endif
}

// Two rows and columns of a matrix of bits change places: the bits of `a` whose number has the bit SHIFT, and those of `b`
// whose number has it not. LOW are the latter.
template <uint32_t SHIFT, uint32_t LOW>
__device__ inline void exchange(uint32_t& a, uint32_t& b) {
    constexpr uint32_t OF_C = 0xe4;  // the bit of the first where the third is set, otherwise that of the second
    const uint32_t first = of_three<OF_C>(a, b << SHIFT, LOW);
    b = of_three<OF_C>(a >> SHIFT, b, LOW);
    a = first;
}

// A number as large as the larger of two, whatever their signs; NaN if one is.
__device__ inline float larger(float a, float b) {
#if __CUDA_ARCH__ >= 860
    float of_both;
    asm("max.NaN.xorsign.abs.f32 %0, %1, %2;" : "=f"(of_both) : "f"(a), "f"(b));
    return of_both;
#else
    return __uint_as_float(max(__float_as_uint(a) & 0x7fffffffu, __float_as_uint(b) & 0x7fffffffu));
#endif
}

// The lower halves of two floats.
__device__ inline uint32_t lower_halves(float a, float b) {
    uint32_t halves;
    asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(halves) : "f"(a), "f"(b));
    return halves;
}

// The number of the lane whose own differs in these bits. (The compiler would write moves to integers and back into PTX.)
__device__ inline float of_lane(float x, uint32_t other) {
    float of_other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(of_other) : "f"(x), "r"(other));
    return of_other;
}

// Makes a group of activations planes. Each lane of a warp has 16 of them, 16 lane to 16 lane + 15.
template <bool HALVES>
__device__ inline void store_planes(const float (&x)[16], Planes& planes) {
    const uint32_t lane = threadIdx.x % WARP, chunk = lane / 8, part = lane % 8;
    float largest = x[0];
#pragma unroll
    for (uint32_t i = 1; i < 16; ++i) largest = larger(largest, x[i]);
#pragma unroll
    for (uint32_t other = 1; other < WARP; other *= 2) largest = larger(largest, of_lane(largest, other));
    const float limit = fabsf(largest);
    // What is too small to divide by is 0.
    const float inverse = limit >= 1e-30f ? __fdividef(32767.0f, limit) : 0.0f;

    // Integers: with 1.5 * 2^23 added they are the lower halves of floats. bits[i] are elements i and i + 8.
    uint32_t bits[8];
    int sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
        bits[i] = lower_halves(fmaf(x[i], inverse, 12582912.0f), fmaf(x[i + 8], inverse, 12582912.0f));
        sum = __dp2a_lo(int(bits[i]), 0x0101, sum);
    }
    // Three bits of the number of an element, which is that of its register, change places with three of the number of a
    // plane, which is that of a bit in its byte.
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) exchange<4, 0x0f0f0f0fu>(bits[i], bits[i + 4]);
#pragma unroll
    for (uint32_t i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) exchange<2, 0x33333333u>(bits[i], bits[i + 2]);
#pragma unroll
    for (uint32_t i = 0; i < 8; i += 2) exchange<1, 0x55555555u>(bits[i], bits[i + 1]);

    // Now bits[n] has planes n and n + 8 of 16 elements: of the first 8 in its bytes 0 and 1, of the others in 2 and 3. Two
    // lanes have a word; each takes every other plane.
    const bool odd = lane % 2;
    const uint32_t lower = odd ? 0x2064 : 0x6420, upper = odd ? 0x3175 : 0x7531;
    uint2* to = reinterpret_cast<uint2*>(planes.words[chunk / 2] + odd * 4 + part / 2) + chunk % 2;
#pragma unroll
    for (uint32_t i = 0; i < 8; i += 2) {
        const uint32_t own = odd ? bits[i + 1] : bits[i];
        const uint32_t others = __shfl_xor_sync(FULL_WARP, odd ? bits[i] : bits[i + 1], 1);
        to[i * 8] = {__byte_perm(own, others, lower), __byte_perm(own, others, upper)};
    }

#pragma unroll
    for (uint32_t other = 1; other < (HALVES ? 4 : 8); other *= 2) sum += __shfl_xor_sync(FULL_WARP, sum, other);
    // Each place of four is written by a lane: place 0 by one that has the sum.
    int* sums = reinterpret_cast<int*>(planes.sums[HALVES ? part / 4 : 0] + part % 4) + chunk;
    if (HALVES || part < 4) *sums = part % 4 == 0 ? sum : 0;
    if (lane == 0) planes.step = limit * (1.0f / 32767.0f);
}
