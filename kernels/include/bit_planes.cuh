// Products of bits on tensor cores: weights that are bits, or sums of a few, times activations as 16 planes of bits.
//
// An activation is a 16-bit integer, `q = round(x / step)` with `step = max |x| / 32767` over a chunk of 128. Plane n is bit
// n of each of them, in two's complement: `q = sum_n 2^n bit_n`, where bit 15 counts as -2^15. One `mma` takes 16 rows of
// 128 bits of weights as they are in memory, and 8 planes as the 8 columns of its other factor, and counts the ones that a
// row and a plane have in common. So no weight is unpacked, and what is lost of an activation is at most 2^-16 of the
// largest of its chunk.
//
// A lane has g = lane / 4 and t = lane % 4: of the weights word t of rows g and g + 8, of the planes word t of planes g and
// g + 8, of the counts planes 2t, 2t + 1 for row g, then for row g + 8. Word t is elements 32t to 32t + 31, the first in the
// lowest bit.
#pragma once

#include <cstdint>

#include "warp.cuh"

// A chunk of activations in shared memory. Its length makes threads that write different chunks meet different banks.
struct __align__(16) Planes {
    // For each lane word t of planes g and g + 8.
    uint2 words[32];
    // For each t the sum of the 128 integers, the step (bits of a float), and the sums of the first 64 and of the others. The
    // sums are 0 but for t = 0, which counts them for all four.
    uint4 about[4];
};


// counts += ones of the rows of A (`first` of row g, `second` of row g + 8) and of the planes of B in common.
__device__ inline void count_common(int (&counts)[4], uint32_t first, uint32_t second, uint32_t planes) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(counts[0]), "+r"(counts[1]), "+r"(counts[2]), "+r"(counts[3])
        : "r"(first), "r"(second), "r"(planes));
#else
    // Turing counts what differs: a & b are half of a + b - (a ^ b) ones. To differ from nothing is to be one.
    const auto different = [](uint32_t a, uint32_t b, int& even, int& odd) {
        asm("mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc {%0, %1}, {%2}, {%3}, {%4, %4};"
            : "=r"(even), "=r"(odd)
            : "r"(a), "r"(b), "r"(0));
    };
    int of_b[2];
    different(0, planes, of_b[0], of_b[1]);
    const uint32_t rows[2] = {first, second};
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
        int of_a[2], differ[2];
        different(rows[half], 0, of_a[0], of_a[1]);
        different(rows[half], planes, differ[0], differ[1]);
        counts[2 * half] += (of_a[0] + of_b[0] - differ[0]) / 2;
        counts[2 * half + 1] += (of_a[1] + of_b[1] - differ[1]) / 2;
    }
#endif
}

// The bits of `a` that MASK has, and of `b` those that it has not.
template <uint32_t MASK>
__device__ inline uint32_t choose(uint32_t a, uint32_t b) {
    uint32_t chosen;
    asm("lop3.b32 %0, %1, %2, %3, 0xe4;" : "=r"(chosen) : "r"(a), "r"(b), "n"(MASK));
    return chosen;
}

// Two rows and columns of a matrix of bits change places: the bits of `a` whose number has the bit SHIFT, and those of `b`
// whose number has it not. LOW are the latter.
template <uint32_t SHIFT, uint32_t LOW>
__device__ inline void exchange(uint32_t& a, uint32_t& b) {
    const uint32_t first = choose<LOW>(a, b << SHIFT);
    b = choose<LOW>(a >> SHIFT, b);
    a = first;
}

// The bits of |x|, and the lower halves of two floats, of each first the lowest byte. (As instructions: the compiler would
// write a move of each float to an integer into PTX.)
__device__ inline uint32_t magnitude_bits(float x) {
    uint32_t bits;
    asm("and.b32 %0, %1, 0x7fffffff;" : "=r"(bits) : "f"(x));
    return bits;
}
__device__ inline uint32_t low_bytes_of(float a, float b) {
    uint32_t bytes;
    asm("prmt.b32 %0, %1, %2, 0x5140;" : "=r"(bytes) : "f"(a), "f"(b));
    return bytes;
}

// Makes 16 of the activations of a chunk planes; the eight threads of a chunk are neighbours, and thread `part` has
// elements 16 part to 16 part + 15. All threads of a warp come here.
__device__ inline void store_planes(const float (&x)[16], uint32_t part, Planes& planes) {
    // Of bits, so that an infinity or NaN is larger than any number and the step of its chunk says so.
    uint32_t largest = 0;
#pragma unroll
    for (uint32_t i = 0; i < 16; ++i) largest = max(largest, magnitude_bits(x[i]));
#pragma unroll
    for (uint32_t other = 1; other < 8; other *= 2) largest = max(largest, __shfl_xor_sync(FULL_WARP, largest, other));
    const float limit = __uint_as_float(largest);
    // What is too small to divide by is 0.
    const float inverse = limit >= 1e-30f ? __fdividef(32767.0f, limit) : 0.0f;

    // Integers: with 1.5 * 2^23 added they are the lowest bits of a float. Bytes then go where elements 0 to 7 and 8 to 15
    // have planes 0 to 7 side by side, and planes 8 to 15; the other three bits of a place change places below.
    uint32_t bits[8], low_bytes = 0;
    int high_bytes = 0;
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
        const float low = fmaf(x[i], inverse, 12582912.0f), high = fmaf(x[i + 8], inverse, 12582912.0f);
        bits[i] = low_bytes_of(low, high);
        low_bytes = __dp4a(bits[i], 0x00000101u, low_bytes);
        high_bytes = __dp4a(int(bits[i]), 0x01010000, high_bytes);
    }
    int sum = int(low_bytes) + 256 * high_bytes;
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) exchange<4, 0x0f0f0f0fu>(bits[i], bits[i + 4]);
#pragma unroll
    for (uint32_t i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) exchange<2, 0x33333333u>(bits[i], bits[i + 2]);
#pragma unroll
    for (uint32_t i = 0; i < 8; i += 2) exchange<1, 0x55555555u>(bits[i], bits[i + 1]);

    // Now bits[n] are planes n and n + 8 of 16 elements. Two threads have a word; each takes every other plane.
    const bool odd = part % 2;
    const uint32_t low_half = odd ? 0x1054 : 0x5410, high_half = odd ? 0x3276 : 0x7632;
#pragma unroll
    for (uint32_t i = 0; i < 8; i += 2) {
        const uint32_t own = odd ? bits[i + 1] : bits[i];
        const int others = __shfl_xor_sync(FULL_WARP, odd ? bits[i] : bits[i + 1], 1);
        planes.words[(i + odd) * 4 + part / 2] = {__byte_perm(own, others, low_half), __byte_perm(own, others, high_half)};
    }

    sum += __shfl_xor_sync(FULL_WARP, sum, 1);
    sum += __shfl_xor_sync(FULL_WARP, sum, 2);
    const int others = __shfl_xor_sync(FULL_WARP, sum, 4);
    if (part < 4) {
        const float step = limit * (1.0f / 32767.0f);
        const int first = part == 0 ? sum : 0, second = part == 0 ? others : 0;
        planes.about[part] = {uint32_t(first + second), __float_as_uint(step), uint32_t(first), uint32_t(second)};
    }
}
