// Products of bits on tensor cores: weights that are bits, or sums of a few, times activations as 16 planes of bits.
//
// An activation is a 16-bit integer, `q = round(x / step)` with `step = max |x| / 32767` over a group of 512. Plane n is bit
// n of each of them, in two's complement: `q = sum_n 2^n bit_n`, where bit 15 counts as -2^15. One `mma` takes 16 rows of
// 128 bits of weights as they are in memory, and 8 planes as the 8 columns of its other factor, and counts the ones that a
// row and a plane have in common. So no weight is unpacked, and what is lost of an activation is at most half a step, 2^-16 of
// the largest of its group.
//
// A lane has g = lane / 4 and t = lane % 4: of the weights word t of rows g and g + 8, of the planes word t of planes g and
// g + 8, of the counts planes 2t, 2t + 1 for row g, then for row g + 8. Word t is elements 32t to 32t + 31, the first in the
// lowest bit.
#pragma once

#include <cstdint>

#include "bit_weights.cuh"
#include "warp.cuh"

// A group of activations in shared memory: four chunks of 128.
// With HALVES there is a scale for the first 64 weights of a chunk, and one for the others.
template <bool HALVES>
struct __align__(16) Planes {
    // For chunks 0 and 1, and for 2 and 3, of each lane: word t of planes g and g + 8 of the one, then of the other. With
    // HALVES only words of the first half of a chunk, and zeros for the others, then the reverse.
    uint4 words[HALVES ? 2 : 1][2][32];
    // For the lanes of each t.
    struct OfLane {
        // BASE, and for t = 0 what a product is less than its counts, of each chunk or half of one.
        float4 less[HALVES ? 2 : 1];
        float step;
    } of_lane[4];
};

// With its bits, or it, added an integer from -2^22 to 2^22 - 1 becomes an f32 or is in the lower bits of one: BASE is
// 1.5 * 2^23. So counts begin with BASE.
constexpr float BASE = 12582912.0f;

// `a * FACTOR + b`. (Of a power of two the compiler would write two instructions.)
template <int FACTOR>
__device__ inline int times_plus(int a, int b) {
    int result;
    asm("mad.lo.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "n"(FACTOR), "r"(b));
    return result;
}

// The f32 with these bits, less another. (The compiler would write a move into PTX.)
__device__ inline float float_less(int bits, float less) {
    float difference;
    asm("sub.f32 %0, %1, %2;" : "=f"(difference) : "r"(bits), "f"(less));
    return difference;
}

// The ones that the rows of A (`first` is of row g, `second` of row g + 8) and the planes of B have in common, added to others.
__device__ inline void count_common(int (&counts)[4], const int* others, uint32_t first, uint32_t second, uint32_t planes) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, %10};"
        : "=r"(counts[0]), "=r"(counts[1]), "=r"(counts[2]), "=r"(counts[3])
        : "r"(first), "r"(second), "r"(planes), "r"(others[0]), "r"(others[1]), "r"(others[2]), "r"(others[3]));
#else
    // Turing counts what differs: a & b are half of a + b - (a ^ b) ones. To differ from nothing is to be one.
    const auto different = [&](uint32_t a, uint32_t b, int& even, int& odd) {
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
        counts[2 * half] = others[2 * half] + (of_a[0] + of_b[0] - differ[0]) / 2;
        counts[2 * half + 1] = others[2 * half + 1] + (of_a[1] + of_b[1] - differ[1]) / 2;
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

__device__ inline float reciprocal(float x) {
    float inverse;
    asm("rcp.approx.f32 %0, %1;" : "=f"(inverse) : "f"(x));
    return inverse;
}

// The lower halves of two floats.
__device__ inline uint32_t lower_halves(float a, float b) {
    uint32_t halves;
    asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(halves) : "f"(a), "f"(b));
    return halves;
}

// The largest magnitude in a warp, or SMALLEST if that is larger; NaN if one is. Magnitudes have the order of their bits.
__device__ inline float largest_in_warp(float x) {
    constexpr uint32_t SMALLEST = 0x0da24260;  // 1e-30: what is less is hard to divide by
    uint32_t bits = max(__float_as_uint(x) & 0x7fffffffu, SMALLEST);
#if __CUDA_ARCH__ >= 800
    asm volatile("redux.sync.max.u32 %0, %0, 0xffffffff;" : "+r"(bits));
#else
    bits = max(bits, of_lane<1>(bits));
    bits = max(bits, of_lane<2>(bits));
    bits = max(bits, of_lane<4>(bits));
    bits = max(bits, of_lane<8>(bits));
    bits = max(bits, of_lane<16>(bits));
#endif
    return __uint_as_float(bits);
}

// Makes a group of activations planes. Each lane of a warp has 16 of them, 16 lane to 16 lane + 15. A product is less than its
// counts by `less_of_sum` times the sum of activations.
template <bool HALVES>
__device__ inline void store_planes(const float (&x)[16], float less_of_sum, Planes<HALVES>& planes, uint32_t lane) {
    float largest = x[0];
#pragma unroll
    for (uint32_t i = 1; i < 16; ++i) largest = larger(largest, x[i]);
    const float limit = largest_in_warp(largest);
    // (A division that is approximate gives 0 for the largest limits.)
    const float inverse = 32767.0f * reciprocal(limit);

    // Integers: with BASE added they are the lower halves of floats. bits[i] are elements i and i + 8.
    uint32_t bits[8], sum = 0;
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
        bits[i] = lower_halves(fmaf(x[i], inverse, BASE), fmaf(x[i + 8], inverse, BASE));
        sum = __dp2a_lo(int(bits[i]), 0x0101, int(sum));
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
    const uint32_t odd = lane % 2;
    const uint32_t lower = odd ? 0x2064 : 0x6420, upper = odd ? 0x3175 : 0x7531;
    // (words[half][chunk / 2][odd * 4 + part / 2], and of its four words the first or last two.)
    const int in_half = times_plus<32>(lane & 16, times_plus<8>(lane & 6, times_plus<64>(odd, lane & 8)));
    const auto at = [&](int offset) { return reinterpret_cast<uint2*>(reinterpret_cast<char*>(planes.words) + offset); };
    uint2* const to = at(HALVES ? times_plus<256>(lane & 4, in_half) : in_half);
    uint2* const zeros = at(times_plus<256>(~lane & 4, in_half));
#pragma unroll
    for (uint32_t i = 0; i < 8; i += 2) {
        const uint32_t own = odd ? bits[i + 1] : bits[i];
        const uint32_t others = of_lane<1>(odd ? bits[i] : bits[i + 1]);
        to[i * 8] = {__byte_perm(own, others, lower), __byte_perm(own, others, upper)};
        if (HALVES) zeros[i * 8] = {};
    }

    sum += of_lane<1>(sum);
    sum += of_lane<2>(sum);
    if (!HALVES) sum += of_lane<4>(sum);
    // Each place of four is written by a lane: place 0 by one that has the sum. (Half a sum is rounded to an even integer.)
    const float less = lane % 4 == 0 ? fmaf(float(int(sum)), less_of_sum, BASE) : BASE;
    if (HALVES || lane % 8 < 4) {
        auto& of_lane = planes.of_lane[lane % 4];
        reinterpret_cast<float*>(of_lane.less + (HALVES ? lane % 8 / 4 : 0))[lane / 8] = less;
        if (lane < 4) of_lane.step = limit * (1.0f / 32767.0f);
    }
}
