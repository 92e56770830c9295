// How weights are held on the device, and how a warp takes them.
//
// A matrix `[rows, chunks * 128]` is held in two arrays, `words [rows, chunks, WORDS]` of 32 bits, and
// `scales [rows, chunks, SCALES]` of f16, where SCALES may be 0. Bits are counted from the lowest of the first word.
//
//   layout      words  scales  weight n of a chunk
//   Q1_0            4       1  bit n, set where it is negative: the scale with that sign
//   T1              7       0  trits as in a block of PTQ1_0 (below), with the scale in the upper half of the last word
//   T2              8       1  a code of two bits at 2n: code - 1, times the scale
//   T2Halves        8       2  the same, with a scale for the first 64 weights and one for the others
//   Q8_0           32       4  a signed byte at 8n, times the scale of its 32 weights
//   F16, BF16      64       0  16 bits at 16n
//   F32           128       0  word n
//
// Each struct stands for one lane, which takes weights 4 lane to 4 lane + 3 of every chunk. The caller brings pointers to
// the chunk's words from FIRST WORD on, and to its scales from FIRST SCALE on (`first_word`, `first_scale`), so that these
// offsets are paid once a row. Weights come with their scale and are exact: what the file's format says they are.
//
// For tensor cores, where four weights are two pairs of f16, most layouts have them without their scale as well: `codes`,
// which are exact too, for RUN weights that share a scale (`scale`, of the chunk whose first word and scale are given).
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

constexpr uint32_t CHUNK = 128;

// Two numbers as a pair of f16, the first in the lower half: the integers 0 to 1023 in the halves of `bits`, less LESS.
template <uint32_t LESS>
__device__ inline uint32_t half_pair(uint32_t bits) {
    // With the exponent of 1024 before it an integer is the number 1024 + integer.
    const uint32_t numbers = bits | 0x64006400u;
    const __half2 less = __half2half2(__ushort_as_half(0x6400 + LESS));
    const __half2 pair = __hsub2(*reinterpret_cast<const __half2*>(&numbers), less);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

// A float made of bits, without the moves between registers that the compiler writes into PTX for `__uint_as_float`:
// (bits & MASK) ^ others.
template <uint32_t MASK>
__device__ inline float masked_xor(uint32_t bits, float others) {
    float result;
    asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=f"(result) : "r"(bits), "n"(MASK), "f"(others));
    return result;
}

// (code - 1) * scale, with the code in bits 21 and 22 of `bits` (others are masked). With the exponent of 2 before it the
// code is the number 2 + code / 2: (4 + code) * scale - 5 * scale is then one operation, and nothing in it is rounded.
struct Codes {
    float twice, less;
    __device__ explicit Codes(float scale) : twice(2.0f * scale), less(-5.0f * scale) {}
    __device__ float operator()(uint32_t bits) const { return fmaf(masked_xor<0x00600000>(bits, 2.0f), twice, less); }
};

struct Q1_0 {
    static constexpr uint32_t WORDS = 4, SCALES = 1;
    uint32_t up;

    // Eight lanes share a word. The bits of a lane come to the upper end, in their order.
    __device__ explicit Q1_0(uint32_t lane) : up(28 - lane % 8 * 4) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane / 8; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half* scales) const {
        const uint32_t bits = *words << up;
        const float scale = __half2float(*scales);
        const auto signed_by = [&](uint32_t word) { return masked_xor<0x80000000>(word, scale); };
        return {signed_by(bits << 3), signed_by(bits << 2), signed_by(bits << 1), signed_by(bits)};
    }

    static constexpr uint32_t RUN = 128;
    __device__ static float scale(const uint32_t*, const __half* scales, uint32_t) { return __half2float(*scales); }
    // 1 with the signs.
    __device__ uint2 codes(const uint32_t* words) const {
        const uint32_t bits = *words << up;
        const auto pair = [](uint32_t first, uint32_t second) {
            return (first & 0x8000u) | (second & 0x80000000u) | 0x3c003c00u;
        };
        return {pair(bits >> 13, bits << 2), pair(bits >> 15, bits)};
    }
};

struct T1 {
    static constexpr uint32_t WORDS = 7, SCALES = 0;
    // To the last word; which bytes make a pair of weights; by which power of three their trit comes to the top.
    uint32_t last, second_bytes, first_power, second_power;

    // Weights 0 to 79 are the trits of bytes 0 to 15: the first one of each, then the second one of each. 80 to 119 are
    // those of bytes 16 to 23, likewise. 120 to 127 are four trits of bytes 24 and 25, so the last two lanes take two
    // trits each. A byte is a fraction of 256 in base 3: times 3^n modulo 256, trit n is its first.
    __device__ explicit T1(uint32_t lane) : last(6 - first_word(lane)), second_bytes(lane < 30 ? 0x4342 : 0x4140) {
        const uint32_t trit = lane < 20 ? lane / 4 : lane < 30 ? (lane - 20) / 2 : (lane - 30) * 2;
        first_power = power(trit);
        second_power = lane < 30 ? first_power : power(trit + 1);
    }
    __device__ static uint32_t power(uint32_t n) { return n == 4 ? 81 : 0x1b090301u >> n * 8 & 0xff; }
    // Two bytes in the halves of a word, each with its trit in bits 8 and 9 of its half.
    __device__ static uint32_t trits(uint32_t word, uint32_t bytes, uint32_t power) {
        return ((__byte_perm(word, 0, bytes) * power) & 0x00ff00ffu) * 3;
    }
    __device__ static uint32_t first_word(uint32_t lane) { return lane < 20 ? lane % 4 : lane < 30 ? 4 + lane % 2 : 6; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        const uint32_t first = trits(*words, 0x4140, first_power);
        const uint32_t second = trits(*words, second_bytes, second_power);
        const Codes value(__half2float(__ushort_as_half(words[last] >> 16)));
        return {value(first << 13), value(first >> 3), value(second << 13), value(second >> 3)};
    }

    static constexpr uint32_t RUN = 128;
    __device__ static float scale(const uint32_t* words, const __half*, uint32_t) {
        return __half2float(__ushort_as_half(words[6] >> 16));
    }
    __device__ uint2 codes(const uint32_t* words) const {
        const auto pair = [&](uint32_t bytes, uint32_t power) {
            return half_pair<1>(trits(*words, bytes, power) >> 8 & 0x00030003u);
        };
        return {pair(0x4140, first_power), pair(second_bytes, second_power)};
    }
};

// Four lanes share a word.
struct T2 {
    static constexpr uint32_t WORDS = 8, SCALES = 1;
    uint32_t down;

    __device__ explicit T2(uint32_t lane) : down(lane % 4 * 8) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane / 4; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half* scales) const {
        const uint32_t codes = *words >> down;
        const Codes value(__half2float(*scales));
        return {value(codes << 21), value(codes << 19), value(codes << 17), value(codes << 15)};
    }

    static constexpr uint32_t RUN = 128;
    __device__ static float scale(const uint32_t*, const __half* scales, uint32_t run) { return __half2float(scales[run]); }
    __device__ uint2 codes(const uint32_t* words) const {
        const uint32_t bits = *words >> down;
        const auto pair = [](uint32_t bits) { return half_pair<1>((bits & 0x3u) | (bits << 14 & 0x30000u)); };
        return {pair(bits), pair(bits >> 4)};
    }
};

struct T2Halves : T2 {
    static constexpr uint32_t SCALES = 2, RUN = 64;
    using T2::T2;
    __device__ static uint32_t first_scale(uint32_t lane) { return lane / 16; }
};

struct Q8_0 {
    static constexpr uint32_t WORDS = 32, SCALES = 4;

    __device__ explicit Q8_0(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane; }
    __device__ static uint32_t first_scale(uint32_t lane) { return lane / 8; }

    __device__ float4 operator()(const uint32_t* words, const __half* scales) const {
        // 128 more, so that a byte is positive and can be the end of the number 2^23 + byte.
        const uint32_t bytes = *words ^ 0x80808080u;
        const float scale = __half2float(*scales);
        const auto value = [&](uint32_t n) {
            return (__uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7540 + n)) - 8388736.0f) * scale;
        };
        return {value(0), value(1), value(2), value(3)};
    }

    static constexpr uint32_t RUN = 32;
    __device__ static float scale(const uint32_t*, const __half* scales, uint32_t run) { return __half2float(scales[run]); }
    __device__ uint2 codes(const uint32_t* words) const {
        const uint32_t bytes = *words ^ 0x80808080u;
        return {half_pair<128>(__byte_perm(bytes, 0, 0x4140)), half_pair<128>(__byte_perm(bytes, 0, 0x4342))};
    }
};

struct F16 {
    static constexpr uint32_t WORDS = 64, SCALES = 0;

    __device__ explicit F16(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane * 2; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        const uint2 pair = *reinterpret_cast<const uint2*>(words);
        const auto value = [](uint32_t half) { return __half2float(__ushort_as_half(half)); };
        return {value(pair.x & 0xffff), value(pair.x >> 16), value(pair.y & 0xffff), value(pair.y >> 16)};
    }

    static constexpr uint32_t RUN = 128;
    __device__ static float scale(const uint32_t*, const __half*, uint32_t) { return 1.0f; }
    __device__ uint2 codes(const uint32_t* words) const { return *reinterpret_cast<const uint2*>(words); }
};

struct BF16 : F16 {
    using F16::F16;

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        const uint2 pair = *reinterpret_cast<const uint2*>(words);
        const auto upper = [](uint32_t word) { return __uint_as_float(word & 0xffff0000u); };
        return {upper(pair.x << 16), upper(pair.x), upper(pair.y << 16), upper(pair.y)};
    }
};

struct F32 {
    static constexpr uint32_t WORDS = 128, SCALES = 0;

    __device__ explicit F32(uint32_t) {}
    __device__ static uint32_t first_word(uint32_t lane) { return lane * 4; }
    __device__ static uint32_t first_scale(uint32_t) { return 0; }

    __device__ float4 operator()(const uint32_t* words, const __half*) const {
        return *reinterpret_cast<const float4*>(words);
    }
};
