// How weights are held on the device, and how a warp takes those that are numbers. (Those that are bits: bit_weights.cuh.)
//
// A matrix `[rows, chunks * 128]` is held in two arrays, `words [tiles, groups, 64 * WORDS]` of 32 bits, and
// `scales [tiles, groups, 64 * SCALES]` of f16: a tile is 16 rows, a group 4 chunks of 128 weights, and there are as many as
// cover the matrix. What is beyond the matrix is 0. So what a block takes of a matrix is one range of memory, and where
// anything is in a group is known when a kernel is compiled.
//
//   layout      words  scales  weight n of a chunk
//   Q1_0            4       1  the scale, negative where its bit is set
//   T1              7       1  (trit - 1) * scale
//   T2              8       1  (code of two bits - 1) * scale
//   T2Halves        8       2  the same, with a scale for the first 64 weights and one for the others
//   Q8_0           32       4  a signed byte at 8n, times the scale of its 32 weights
//   F16, BF16      64       0  16 bits at 16n
//   F32           128       0  word n
//
// The groups of the last four, which are numbers, are `[chunk, row, WORDS]` and `[chunk, row, SCALES]`, and bits are counted
// from the lowest of the first word. Each struct stands for one lane, which takes weights 4 lane to 4 lane + 3 of a chunk.
// The caller brings pointers to the chunk's words from `first_word` on, and to its scales from `first_scale` on. Weights are
// exact: what the file's format says they are.
//
// For tensor cores, where four weights are two pairs of f16, Q8_0 and F16 have them without their scale as well: `codes`,
// which are exact too, for RUN weights that share a scale (`scale`, of the chunk whose first scale is given).
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

constexpr uint32_t CHUNK = 128;
constexpr uint32_t TILE_ROWS = 16;
constexpr uint32_t GROUP_CHUNKS = 4;

// Groups of a row.
__device__ inline uint32_t groups_of(uint32_t chunks) { return chunks / GROUP_CHUNKS + (chunks % GROUP_CHUNKS != 0); }

// Where a chunk of a row is, among all chunks of a matrix of numbers: times WORDS or SCALES it is a place in the arrays.
__device__ inline size_t place_of(size_t row, uint32_t chunk, uint32_t chunks) {
    return (row / TILE_ROWS * groups_of(chunks) * GROUP_CHUNKS + chunk) * TILE_ROWS + row % TILE_ROWS;
}

// Two numbers as a pair of f16, the first in the lower half: the integers 0 to 1023 in the halves of `bits`, less LESS.
template <uint32_t LESS>
__device__ inline uint32_t half_pair(uint32_t bits) {
    // With the exponent of 1024 before it an integer is the number 1024 + integer.
    const uint32_t numbers = bits | 0x64006400u;
    const __half2 less = __half2half2(__ushort_as_half(0x6400 + LESS));
    const __half2 pair = __hsub2(*reinterpret_cast<const __half2*>(&numbers), less);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

struct Q8_0 {
    static constexpr uint32_t BITS = 0, WORDS = 32, SCALES = 4;

    __device__ explicit Q8_0(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane; }
    __device__ static uint32_t first_scale(uint32_t lane) { return lane / 8; }

    // The four bytes, as numbers.
    __device__ static float4 bytes(uint32_t word) {
        // 128 more, so that a byte is positive and can be the end of the number 2^23 + byte.
        const uint32_t raised = word ^ 0x80808080u;
        const auto value = [&](uint32_t n) {
            return __uint_as_float(__byte_perm(raised, 0x4b000000u, 0x7540 + n)) - 8388736.0f;
        };
        return {value(0), value(1), value(2), value(3)};
    }
    __device__ float4 operator()(const uint32_t* words, const __half* scales) const {
        const float4 w = bytes(*words);
        const float scale = __half2float(*scales);
        return {w.x * scale, w.y * scale, w.z * scale, w.w * scale};
    }
    // `sum` plus the products of the four weights and `v`.
    __device__ float dot(const uint32_t* words, const __half* scales, const float4& v, float sum) const {
        const float4 w = bytes(*words);
        return fmaf(fmaf(w.x, v.x, fmaf(w.y, v.y, fmaf(w.z, v.z, w.w * v.w))), __half2float(*scales), sum);
    }

    static constexpr uint32_t RUN = 32;
    __device__ static float scale(const __half* scales, uint32_t run) { return __half2float(scales[run]); }
    __device__ static uint2 codes(const uint32_t* words) {
        const uint32_t bytes = *words ^ 0x80808080u;
        return {half_pair<128>(__byte_perm(bytes, 0, 0x4140)), half_pair<128>(__byte_perm(bytes, 0, 0x4342))};
    }
};

__device__ inline float dot_of(const float4& w, const float4& v, float sum) {
    return fmaf(w.x, v.x, fmaf(w.y, v.y, fmaf(w.z, v.z, fmaf(w.w, v.w, sum))));
}

struct F16 {
    static constexpr uint32_t BITS = 0, WORDS = 64, SCALES = 0;

    __device__ explicit F16(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane * 2; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        const uint2 pair = *reinterpret_cast<const uint2*>(words);
        const auto value = [](uint32_t half) { return __half2float(__ushort_as_half(half)); };
        return {value(pair.x & 0xffff), value(pair.x >> 16), value(pair.y & 0xffff), value(pair.y >> 16)};
    }
    __device__ float dot(const uint32_t* words, const __half* scales, const float4& v, float sum) const {
        return dot_of((*this)(words, scales), v, sum);
    }

    static constexpr uint32_t RUN = 128;
    __device__ static float scale(const __half*, uint32_t) { return 1.0f; }
    __device__ static uint2 codes(const uint32_t* words) { return *reinterpret_cast<const uint2*>(words); }
};

struct BF16 {
    static constexpr uint32_t BITS = 0, WORDS = 64, SCALES = 0;

    __device__ explicit BF16(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane * 2; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        const uint2 pair = *reinterpret_cast<const uint2*>(words);
        const auto upper = [](uint32_t word) { return __uint_as_float(word & 0xffff0000u); };
        return {upper(pair.x << 16), upper(pair.x), upper(pair.y << 16), upper(pair.y)};
    }
    __device__ float dot(const uint32_t* words, const __half* scales, const float4& v, float sum) const {
        return dot_of((*this)(words, scales), v, sum);
    }
};

struct F32 {
    static constexpr uint32_t BITS = 0, WORDS = 128, SCALES = 0;

    __device__ explicit F32(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane * 4; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        return *reinterpret_cast<const float4*>(words);
    }
    __device__ float dot(const uint32_t* words, const __half* scales, const float4& v, float sum) const {
        return dot_of((*this)(words, scales), v, sum);
    }
};
